-- Claim: avg and sum of sparse vectors are right, alone, grouped, in windows and in workers.

SELECT avg(v), sum(v) FROM unnest('{"{1:1,3:3}/4","{2:5,3:7}/4"}'::sparsevec[]) v;
SELECT avg(v), sum(v) FROM unnest('{"{1:1}/2",NULL,"{1:3}/2",NULL,"{}/2"}'::sparsevec[]) v;
SELECT avg(v), sum(v) FROM unnest('{}'::sparsevec[]) v;
SELECT avg(v), sum(v) FROM unnest('{NULL}'::sparsevec[]) v;
SELECT avg(v), sum(v) FROM unnest('{"{}/3"}'::sparsevec[]) v;
-- what cancels out is gone, what was small is not lost
SELECT avg(v), sum(v) FROM unnest('{"{1:1,2:1}/2","{1:-1,2:1}/2"}'::sparsevec[]) v;
SELECT sum(v), avg(v) FROM unnest('{"{1:1e10}/1","{1:1}/1","{1:-1e10}/1"}'::sparsevec[]) v;
SELECT avg(v), sum(v) FROM unnest('{"{1:1e-45}/1","{}/1","{}/1"}'::sparsevec[]) v;
SELECT avg(v) FROM unnest('{"{1:3e38}/1","{1:3e38}/1"}'::sparsevec[]) v;
SELECT sum(v) FROM unnest('{"{1:3e38}/1","{1:3e38}/1"}'::sparsevec[]) v;
SELECT sum(v) FROM unnest('{"{}/2","{}/1"}'::sparsevec[]) v;
SELECT avg(v) FROM unnest('{"{}/2","{}/1"}'::sparsevec[]) v;

-- against sums of dense vectors, in all orders of arrival
CREATE TABLE t AS
SELECT i, i % 7 AS g, array_agg(CASE WHEN random() < 0.1 THEN floor(random() * 100 - 50) ELSE 0 END)::sparsevec AS v
FROM generate_series(1, 700) i, generate_series(1, 200) d GROUP BY i;
SELECT count(*) AS wrong FROM (SELECT g, sum(v) AS sparse, sum(v::vector) AS dense FROM t GROUP BY g) u
WHERE sparse::vector <> dense OR sparse <> dense::sparsevec;
SELECT count(*) AS wrong FROM (SELECT g, avg(v) AS sparse, avg(v::vector) AS dense FROM t GROUP BY g) u
WHERE sparse::vector <> dense;
SELECT count(DISTINCT s) FROM
	(SELECT sum(v ORDER BY i) FROM t UNION ALL SELECT sum(v ORDER BY -i) FROM t
	UNION ALL SELECT sum(v ORDER BY sparsevec_nnz(v)) FROM t UNION ALL SELECT sum(v ORDER BY v) FROM t) u (s);
SELECT sum(v) = sum(DISTINCT v) AS same FROM t;
DROP TABLE t;

CREATE TABLE t (i int, g int, v sparsevec);
INSERT INTO t SELECT i, i % 3, ARRAY[i, 0, -i, (i = 4)::int]::sparsevec FROM generate_series(1, 9) i;
SELECT g, avg(v), sum(v), sum(v) FILTER (WHERE i > 5), count(v) FROM t GROUP BY g ORDER BY g;
SELECT g, sum(v) FROM t GROUP BY ROLLUP (g) ORDER BY g;
-- no row may see another's state
SELECT i, sum(v) OVER w, avg(v) OVER w FROM t WINDOW w AS (ORDER BY i) ORDER BY i;
SELECT i, sum(v) OVER w, avg(v) OVER w FROM t
WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) ORDER BY i;
SELECT v FROM t ORDER BY i LIMIT 2;
DROP TABLE t;

-- in workers, over values in the row and out of line
CREATE TABLE t (v sparsevec(1000000), w sparsevec, none sparsevec);
INSERT INTO t SELECT ('{' || i || ':1,1000000:' || i || '}/1000000')::sparsevec, array_fill((i % 10)::real, ARRAY[600])::sparsevec
FROM generate_series(1, 3000) i;
ALTER TABLE t SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT avg(v), sum(w) FROM t;
SELECT sparsevec_nnz(sum(v)), sum(v) <#> '{1:1,3000:1,1000000:1}/1000000' AS ip, left(avg(v)::text, 30), right(avg(v)::text, 30),
	avg(w) <-> array_fill(4.5, ARRAY[600])::sparsevec AS l2, sum(none), avg(none) FROM t;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE t;

-- the result can have 16000 elements and no more, and so can what it is made of
SELECT sparsevec_nnz(sum(('{' || i || ':1}/1000000000')::sparsevec)) FROM generate_series(1, 16000) i;
SELECT sum(('{' || i || ':1}/1000000000')::sparsevec) FROM generate_series(1, 16001) i;
SELECT avg(v) FROM (SELECT array_agg(x)::sparsevec AS v FROM generate_series(1, 2) i, LATERAL
	(SELECT CASE WHEN (n <= 10000) = (i = 1) THEN 1 ELSE 0 END FROM generate_series(1, 20000) n) u (x) GROUP BY i) w;
