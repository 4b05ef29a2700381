-- Claim: half-precision vectors, vectors, sparse vectors and arrays convert into each other, with all
-- elements checked.

SELECT ARRAY[1,2,3]::halfvec, ARRAY[1.5,2.5]::halfvec, '{1.5,-0}'::real[]::halfvec, '{1e-3}'::float8[]::halfvec;
SELECT '[1,2.5]'::halfvec::real[], pg_typeof('[1]'::halfvec::real[]);
SELECT '[1,0.1]'::halfvec::float8[], '[1,0.1]'::vector::float8[], pg_typeof('[1]'::halfvec::float8[]);
SELECT '{2049,65519}'::int[]::halfvec, '{0.1,6e4}'::numeric[]::halfvec;
SELECT '{1e-50,-1e-50}'::float8[]::halfvec, '{1e-8,-1e-8}'::real[]::halfvec;
SELECT '[5:6]={1,2}'::int[]::halfvec;
SELECT array_to_halfvec(ARRAY[1,2], 2, true), halfvec_to_float4('[1,2]', -1, false), halfvec_to_float8('[1,2]', -1, false);
SELECT '[1,2]'::halfvec::halfvec(2), ARRAY[1,2]::halfvec(2);

-- vectors, sparse vectors
SELECT '[1,0.1,1e-8]'::vector::halfvec, '[1,0.1]'::halfvec::vector, '[1,2]'::vector::halfvec(2), '[1,2]'::halfvec::vector(2);
SELECT '[0,1.5,0,-0]'::halfvec::sparsevec, '{2:0.1,4:1e-8}/4'::sparsevec::halfvec, '{}/2'::sparsevec::halfvec(2);

\set VERBOSITY terse
SELECT '{}'::real[]::halfvec;
SELECT '{{1},{2}}'::real[]::halfvec;
SELECT '{1,NULL}'::int[]::halfvec;
SELECT '{NaN}'::real[]::halfvec;
SELECT '{-Infinity}'::float8[]::halfvec;
SELECT '{65520}'::int[]::halfvec;
SELECT '{1,-65520}'::real[]::halfvec;
SELECT '{1e40}'::float8[]::halfvec;
SELECT '{1e40}'::numeric[]::halfvec;
SELECT '{65520}'::numeric[]::halfvec;
SELECT '{NaN}'::numeric[]::halfvec;
-- what is out of range is found first
SELECT '{NaN,65520}'::real[]::halfvec;
SELECT array_fill(1, ARRAY[16001])::halfvec;
SELECT ARRAY[1,2]::halfvec(3);
SELECT '[1,2]'::halfvec::halfvec(3);
SELECT ARRAY['a']::halfvec;
SELECT '[1,2]'::vector::halfvec(3);
SELECT '[1,2]'::halfvec::vector(3);
SELECT '[1,65520]'::vector::halfvec;
SELECT '[-3e38]'::vector::halfvec;
SELECT '{1:65520}/1'::sparsevec::halfvec;
SELECT '{}/16001'::sparsevec::halfvec;
SELECT '{}/2'::sparsevec::halfvec(3);
SELECT '[1,0]'::halfvec::sparsevec(3);

-- arrays convert on assignment only, and half-precision vectors to arrays and vectors likewise
CREATE TABLE t (v halfvec(2));
CREATE TABLE u (a real[], b float8[], v vector(2));
INSERT INTO t VALUES ('{1,2}'::int[]), ('{1,2}'::real[]), ('{1,2}'::float8[]), ('{1,2}'::numeric[]);
INSERT INTO t VALUES (ARRAY[1,2,3]);
INSERT INTO u SELECT v, v, v FROM t;
INSERT INTO t SELECT v FROM u;
SELECT count(*) FROM t;
SELECT DISTINCT * FROM u;
SELECT v <-> ARRAY[1,2] FROM t;
SELECT v = ARRAY[1::real,2] FROM t;

-- where both types meet, half precision is enough: vectors become halfvec
SELECT pg_typeof(COALESCE(u.v, t.v)), u.v <-> t.v, u.v = t.v FROM t, u LIMIT 1;
SELECT count(*) FROM u WHERE v = '[1,2]'::halfvec;
DROP TABLE t, u;

-- which casts there are, and when they apply
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
WHERE 'halfvec'::regtype IN (castsource, casttarget)
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
