-- Claim: vectors and arrays convert into each other, with all elements checked.

SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2.5]::vector, '{1.5,-0}'::real[]::vector, '{1e-3}'::float8[]::vector;
SELECT '[1,2.5]'::vector::real[], pg_typeof('[1]'::vector::real[]);
SELECT '{16777217,2147483647}'::int[]::vector, '{0.1,1e30}'::numeric[]::vector;
SELECT '{1e-50,-1e-50}'::float8[]::vector;
SELECT '[5:6]={1,2}'::int[]::vector;
SELECT array_to_vector(ARRAY[1,2], 2, true), vector_to_float4('[1,2]', -1, false);
SELECT '[1,2]'::vector::vector(2), ARRAY[1,2]::vector(2);

\set VERBOSITY terse
SELECT '{}'::real[]::vector;
SELECT '{{1},{2}}'::real[]::vector;
SELECT '{1,NULL}'::int[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{-Infinity}'::float8[]::vector;
SELECT '{1e40}'::float8[]::vector;
SELECT '{1e40}'::numeric[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT array_fill(1, ARRAY[16001])::vector;
SELECT ARRAY[1,2]::vector(3);
SELECT '[1,2]'::vector::vector(3);
SELECT ARRAY['a']::vector;

-- arrays convert on assignment only, vectors to real[] anywhere
CREATE TABLE t (v vector(2));
CREATE TABLE u (a real[]);
INSERT INTO t VALUES ('{1,2}'::int[]), ('{1,2}'::real[]), ('{1,2}'::float8[]), ('{1,2}'::numeric[]);
INSERT INTO t VALUES (ARRAY[1,2,3]);
INSERT INTO u SELECT v FROM t;
SELECT count(*) FROM t JOIN u ON a = v::real[] WHERE a = '{1,2}';
SELECT v <-> ARRAY[1,2] FROM t;
DROP TABLE t, u;
