-- Claim: sparse vectors, vectors and arrays convert into each other, with all elements checked.

SELECT ARRAY[1,0,2]::sparsevec, ARRAY[0,1.5]::sparsevec, '{0,-0,1.5}'::real[]::sparsevec, '{1e-3,0}'::float8[]::sparsevec;
SELECT '{16777217,0,2147483647}'::int[]::sparsevec, '{0.1,0,1e30}'::numeric[]::sparsevec, '[5:6]={1,2}'::int[]::sparsevec;
-- numbers too small for a float4 are zeros
SELECT '{1e-50,1,-1e-50}'::float8[]::sparsevec;
SELECT '[0,1.5,0,-2]'::vector::sparsevec, '[0,-0]'::vector::sparsevec, '{2:1.5,4:-2}/4'::sparsevec::vector, '{}/2'::sparsevec::vector;
SELECT '{2:1.5}/3'::sparsevec::real[], '{1:1.5,3:0.1}/3'::sparsevec::float8[], pg_typeof('{}/1'::sparsevec::real[]);
SELECT array_to_sparsevec(ARRAY[1,0], 2, true), sparsevec_to_float4('{1:1}/2', -1, false);
SELECT '{}/2'::sparsevec::sparsevec(2), ARRAY[1,0]::sparsevec(2), '[1,0]'::vector::sparsevec(2), '{}/2'::sparsevec::vector(2);

-- more dimensions than a vector has
SELECT sparsevec_nnz(a::sparsevec), vector_dims(a::sparsevec), a::sparsevec::real[] = a AS same
FROM (SELECT array_agg((i % 8 / 7)::real) AS a FROM generate_series(1, 100000) i) t;

\set VERBOSITY terse
SELECT '{}'::real[]::sparsevec;
SELECT '{{1},{2}}'::real[]::sparsevec;
SELECT '{1,NULL}'::int[]::sparsevec;
SELECT '{0,NaN}'::real[]::sparsevec;
SELECT '{-Infinity}'::float8[]::sparsevec;
SELECT '{1e40}'::float8[]::sparsevec;
SELECT '{1e40}'::numeric[]::sparsevec;
SELECT array_fill(1, ARRAY[16001])::sparsevec;
SELECT ARRAY[1,2]::sparsevec(3);
SELECT '{}/2'::sparsevec::sparsevec(3);
SELECT '[1,2]'::vector::sparsevec(3);
SELECT '{}/2'::sparsevec::vector(3);
SELECT '{}/16001'::sparsevec::vector;
SELECT '{}/1000000000'::sparsevec::real[];
SELECT '{}/1000000000'::sparsevec::float8[];
SELECT ARRAY['a']::sparsevec;

-- arrays and sparse vectors convert on assignment only, vectors to sparse ones anywhere
CREATE TABLE t (v sparsevec(2), w vector(2), a real[]);
INSERT INTO t (v) VALUES ('{1,0}'::int[]), ('{1,0}'::real[]), ('{1,0}'::float8[]), ('{1,0}'::numeric[]), ('[1,0]'::vector);
INSERT INTO t (v) VALUES (ARRAY[1,2,3]);
UPDATE t SET w = v, a = v;
SELECT DISTINCT * FROM t;
SELECT v <-> w, w <-> v FROM t LIMIT 1;
SELECT v <-> ARRAY[1,0] FROM t;
SELECT l2_distance(w, a) FROM t;
SELECT v + v FROM t;
DROP TABLE t;
