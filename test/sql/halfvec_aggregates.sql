-- Claim: avg and sum of half-precision vectors are right, alone, grouped, in windows and in workers.

SELECT avg(v), sum(v) FROM unnest('{"[1,2,3]","[3,5,7]"}'::halfvec[]) v;
SELECT avg(v), sum(v) FROM unnest('{"[1,2,3]",NULL,"[3,5,7]",NULL}'::halfvec[]) v;
SELECT avg(v), sum(v) FROM unnest('{}'::halfvec[]) v;
SELECT avg(v), sum(v) FROM unnest('{NULL}'::halfvec[]) v;
SELECT avg(v) FROM unnest('{"[65504]","[65504]"}'::halfvec[]) v;
SELECT sum(v) FROM unnest('{"[65504]","[65504]"}'::halfvec[]) v;
-- avg sums in double precision, sum in half precision, which 1 does not move from 2048
SELECT avg(v), sum(v) FROM (SELECT '[1]'::halfvec AS v FROM generate_series(1, 3000)) t;
SELECT sum(v) FROM unnest('{"[1,2]","[3]"}'::halfvec[]) v;
SELECT avg(v) FROM unnest('{"[1,2]","[3]"}'::halfvec[]) v;

CREATE TABLE t (i int, g int, v halfvec);
INSERT INTO t SELECT i, i % 3, ARRAY[i, -i, 0.5]::halfvec FROM generate_series(1, 9) i;
SELECT g, avg(v), sum(v), sum(v) FILTER (WHERE i > 5), sum(DISTINCT v), count(v) FROM t GROUP BY g ORDER BY g;
SELECT g, sum(v) FROM t GROUP BY ROLLUP (g) ORDER BY g;

-- the running state is changed in place: no row may see another's
SELECT i, sum(v) OVER w, avg(v) OVER w FROM t WINDOW w AS (ORDER BY i) ORDER BY i;
SELECT i, sum(v) OVER w, avg(v) OVER w FROM t
WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) ORDER BY i;
SELECT i, sum(v) OVER w, lag(s) OVER w FROM (SELECT i, v, sum(v) OVER (ORDER BY i) AS s FROM t) u
WINDOW w AS (ORDER BY i) ORDER BY i LIMIT 4;
-- nor may the table
SELECT sum(v) FROM t;
SELECT v FROM t ORDER BY i LIMIT 2;
SELECT sum(v) FROM (SELECT v FROM t WHERE i = 1) u;
SELECT v FROM t WHERE i = 1;
DROP TABLE t;

-- in workers, over values in the row and out of line
CREATE TABLE t (v halfvec(3), w halfvec);
INSERT INTO t SELECT ARRAY[1, i % 2, -0.25 * (i % 3)]::halfvec, array_fill((i % 2)::real, ARRAY[2000])::halfvec
FROM generate_series(1, 1500) i;
ALTER TABLE t SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT avg(v), sum(v) FROM t;
SELECT avg(v), sum(v), subvector(avg(w), 1, 2) AS avg_w, subvector(sum(w), 1999, 2) AS sum_w FROM t;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE t;

-- the support functions can be called with any array
SELECT halfvec_accum('{0}', '[1,2]'), halfvec_accum('{2,1,1}', '[1,2]'), halfvec_combine('{1,2}', '{3,4}');
SELECT halfvec_combine('{0}', '{3,4}'), halfvec_combine('{3,4}', '{0}'), halfvec_combine('{0}', '{0}');
SELECT halfvec_avg('{2,1,4}'), halfvec_avg('{0}'), halfvec_avg('[5:7]={2,1,4}');
\set VERBOSITY terse
SELECT halfvec_accum('{}', '[1]');
SELECT halfvec_accum('{NULL}', '[1]');
SELECT halfvec_accum('{{1}}', '[1]');
SELECT halfvec_accum('{1,2}', '[1,2]');
SELECT halfvec_accum('{1,Infinity}', '[1]');
SELECT halfvec_combine('{1,2}', '{1,2,3}');
SELECT halfvec_combine('{1,1.7e308}', '{1,1.7e308}');
SELECT halfvec_combine('{0}', array_fill(1::float8, ARRAY[16002]));
SELECT halfvec_avg('{1}');
SELECT halfvec_avg('{1,NaN}');
SELECT halfvec_avg('{1,1e300}');
SELECT halfvec_avg('{1,65520}');
SELECT halfvec_avg('{2,131038}');
SELECT halfvec_avg('{}');
SELECT halfvec_avg(array_fill(1::float8, ARRAY[16002]));

-- an addition outside of an aggregate leaves its arguments alone
CREATE TABLE t AS SELECT '[1,2]'::halfvec AS v;
SELECT v + '[1,1]', v FROM t;
DO $$
DECLARE
	a halfvec := '[1,2]';
	b halfvec;
BEGIN
	b := a + '[1,1]';
	RAISE INFO '% %', a, b;
END $$;
DROP TABLE t;
