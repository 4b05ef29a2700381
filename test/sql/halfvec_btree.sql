-- Claim: half-precision vectors are ordered element by element, in sorts, indexes and merges.

SELECT '[1,2]'::halfvec < '[1,3]', '[1,2]'::halfvec < '[1,2,0]', '[2]'::halfvec < '[1,9]', '[1]'::halfvec < '[1]';
SELECT '[1]'::halfvec <= '[1]', '[1]'::halfvec >= '[1]', '[1]'::halfvec > '[0,5]', '[1]'::halfvec <> '[1,0]';
SELECT '[0]'::halfvec = '[-0]', halfvec_cmp('[0]', '[-0]');
SELECT '[-6e-8]'::halfvec < '[-0]', '[-2]'::halfvec < '[-1]', '[-1]'::halfvec < '[6e-8]', '[6e-8]'::halfvec < '[65504]';
SELECT halfvec_cmp('[1,2]', '[1,3]'), halfvec_cmp('[1,2,3]', '[1,2]'), halfvec_cmp('[1]', '[1]');

CREATE TABLE t (i int, v halfvec);
INSERT INTO t VALUES (1, '[1,2,3]'), (2, '[1,2]'), (3, '[-1]'), (4, '[1,10]'), (5, NULL), (6, '[0]');
SELECT v FROM t ORDER BY v;
SELECT v FROM t ORDER BY v DESC NULLS LAST;
SELECT min(v::text), count(DISTINCT v) FROM t;

CREATE INDEX t_v ON t (v);
SET enable_seqscan = off;
SET enable_sort = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT i FROM t WHERE v > '[0]' ORDER BY v;
SELECT i FROM t WHERE v > '[0]' ORDER BY v;
SELECT i FROM t WHERE v = '[1,2]';
SELECT i FROM t WHERE v IN ('[-1]', '[0]') ORDER BY v;
SELECT i FROM t WHERE v <= '[0]' ORDER BY v DESC;
EXPLAIN (COSTS off) SELECT i FROM t WHERE '[0]' < v;
RESET enable_seqscan;
RESET enable_sort;
RESET enable_bitmapscan;

CREATE UNIQUE INDEX t_u ON t (v);
INSERT INTO t VALUES (7, '[-0]');
INSERT INTO t VALUES (7, '[1,2]') ON CONFLICT (v) DO UPDATE SET i = 70;
SELECT i FROM t WHERE v = '[1,2]';
DROP TABLE t;

-- equal ones join by merge; there is no hash
CREATE TABLE t (v halfvec(2));
INSERT INTO t SELECT ARRAY[i % 10, i % 3]::halfvec FROM generate_series(1, 100) i;
SELECT count(*) FROM t a JOIN t b USING (v);
SELECT v, count(*) FROM t GROUP BY v ORDER BY v LIMIT 3;
DROP TABLE t;

-- a build over out-of-line values, and over equal ones
CREATE TABLE t (i int, v halfvec);
INSERT INTO t SELECT i, array_fill((i % 50)::real, ARRAY[1300])::halfvec FROM generate_series(1, 500) i;
CREATE INDEX ON t (v);
SET enable_seqscan = off;
SELECT count(*), min(i) FROM t WHERE v = array_fill(7::real, ARRAY[1300])::halfvec;
RESET enable_seqscan;
DROP TABLE t;

-- selectivity of <> is that of what is left
CREATE TABLE t (v halfvec(1));
INSERT INTO t SELECT ARRAY[i % 2]::halfvec FROM generate_series(1, 1000) i;
ANALYZE t;
CREATE FUNCTION estimated_rows(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$;
SELECT estimated_rows($$SELECT FROM t WHERE v = '[1]'$$), estimated_rows($$SELECT FROM t WHERE v <> '[7]'$$),
	estimated_rows($$SELECT FROM t WHERE v < '[5]'$$);
DROP FUNCTION estimated_rows;
DROP TABLE t;
