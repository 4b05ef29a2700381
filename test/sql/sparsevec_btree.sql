-- Claim: sparse vectors are ordered as the dense vectors they stand for, in sorts, indexes and merges.

SELECT '{1:1,2:2}/2'::sparsevec < '{1:1,2:3}/2', '{1:1}/2'::sparsevec < '{1:1}/3', '{1:2}/1'::sparsevec < '{1:1,2:9}/2';
SELECT '{}/1'::sparsevec <= '{}/1', '{}/1'::sparsevec >= '{}/1', '{1:1}/1'::sparsevec > '{2:5}/2', '{}/1'::sparsevec <> '{}/2';
SELECT sparsevec_cmp('{3:1}/3', '{2:1}/3'), sparsevec_cmp('{3:1}/3', '{2:-1}/3'), sparsevec_cmp('{}/3', '{}/3');
-- an element past the end of the other is no element of the common part
SELECT sparsevec_cmp('{3:-1}/3', '{}/2'), sparsevec_cmp('{}/2', '{3:-1}/3'), sparsevec_cmp('{2:-1}/3', '{}/2'), sparsevec_cmp('{2:-1}/2', '{3:1}/3');

-- every pair of vectors of up to three dimensions
CREATE TABLE t AS
SELECT a::vector AS dense, a::sparsevec AS sparse
FROM (SELECT ARRAY[x] FROM generate_series(-1, 1) x
	UNION ALL SELECT ARRAY[x, y] FROM generate_series(-1, 1) x, generate_series(-1, 1) y
	UNION ALL SELECT ARRAY[x, y, z] FROM generate_series(-1, 1) x, generate_series(-1, 1) y, generate_series(-1, 1) z) u (a);
SELECT count(*) AS pairs, count(*) FILTER (WHERE sparsevec_cmp(a.sparse, b.sparse) <> vector_cmp(a.dense, b.dense)) AS wrong
FROM t a, t b;
SELECT count(*) AS wrong FROM t a, t b
WHERE (a.sparse < b.sparse) <> (a.dense < b.dense) OR (a.sparse <= b.sparse) <> (a.dense <= b.dense)
	OR (a.sparse = b.sparse) <> (a.dense = b.dense) OR (a.sparse <> b.sparse) <> (a.dense <> b.dense)
	OR (a.sparse >= b.sparse) <> (a.dense >= b.dense) OR (a.sparse > b.sparse) <> (a.dense > b.dense);
DROP TABLE t;

CREATE TABLE t (i int, v sparsevec);
INSERT INTO t VALUES (1, '{1:1,3:3}/3'), (2, '{1:1}/2'), (3, '{1:-1}/1'), (4, '{2:10}/2'), (5, NULL), (6, '{}/1');
SELECT v FROM t ORDER BY v;
SELECT v FROM t ORDER BY v DESC NULLS LAST;
CREATE INDEX t_v ON t (v);
SET enable_seqscan = off;
SET enable_sort = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT i FROM t WHERE v > '{}/1' ORDER BY v;
SELECT i FROM t WHERE v > '{}/1' ORDER BY v;
SELECT i FROM t WHERE v = '{1:1}/2';
SELECT i FROM t WHERE v IN ('{1:-1}/1', '{}/1') ORDER BY v;
SELECT i FROM t WHERE v <= '{}/1' ORDER BY v DESC;
EXPLAIN (COSTS off) SELECT i FROM t WHERE '{}/1' < v;
RESET enable_seqscan;
RESET enable_sort;
RESET enable_bitmapscan;
CREATE UNIQUE INDEX t_u ON t (v);
INSERT INTO t VALUES (7, '{1:0}/1');
INSERT INTO t VALUES (7, '{1:1}/2') ON CONFLICT (v) DO UPDATE SET i = 70;
SELECT i FROM t WHERE v = '{1:1}/2';
DROP TABLE t;

-- equal vectors join by merge; there is no hash
CREATE TABLE t (v sparsevec(2));
INSERT INTO t SELECT ARRAY[i % 10, i % 3]::sparsevec FROM generate_series(1, 100) i;
SELECT count(*) FROM t a JOIN t b USING (v);
SELECT v, count(*) FROM t GROUP BY v ORDER BY v LIMIT 3;
DROP TABLE t;

-- a build over out-of-line values, and over equal ones
CREATE TABLE t (i int, v sparsevec);
INSERT INTO t SELECT i, array_fill((i % 50 + 1)::real, ARRAY[300])::sparsevec FROM generate_series(1, 500) i;
CREATE INDEX ON t (v);
SET enable_seqscan = off;
SELECT count(*), min(i) FROM t WHERE v = array_fill(8::real, ARRAY[300])::sparsevec;
RESET enable_seqscan;
DROP TABLE t;
