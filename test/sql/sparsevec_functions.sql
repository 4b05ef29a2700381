-- Claim: distances and the functions on one sparse vector give the right values.

-- distances
SELECT l2_distance('{}/2'::sparsevec, '{1:3,2:4}/2'), '{1:3}/9'::sparsevec <-> '{9:4}/9';
SELECT inner_product('{1:1,2:2}/3'::sparsevec, '{2:4,3:5}/3'), '{1:1,2:2}/3'::sparsevec <#> '{2:4,3:5}/3';
SELECT cosine_distance('{1:1}/2'::sparsevec, '{2:2}/2'), '{1:1,2:1}/2'::sparsevec <=> '{1:-3,2:-3}/2';
SELECT l1_distance('{}/2'::sparsevec, '{1:3,2:-4}/2'), '{1:3}/9'::sparsevec <+> '{1:1,9:-4}/9';
SELECT sparsevec_l2_squared_distance('{1:3}/9', '{9:4}/9'), sparsevec_negative_inner_product('{1:1,2:2}/2', '{1:3,2:4}/2');

-- a vector is at no distance from itself; rounding does not take a cosine out of bounds
SELECT max(v <-> v), max(v <+> v), min(v <=> v) >= 0 AND max(v <=> v) < 1e-15 AS near_zero
FROM (SELECT ARRAY[random() - 0.5, 0, random() - 0.5, i]::sparsevec AS v FROM generate_series(1, 1000) i) t;

-- zero vectors; sums that a float4 could not hold
SELECT '{}/2'::sparsevec <=> '{1:1,2:1}/2', '{}/2'::sparsevec <=> '{}/2', '{}/2'::sparsevec <-> '{}/2';
SELECT '{1:3e38}/1'::sparsevec <-> '{1:-3e38}/1', '{1:3e38}/1'::sparsevec <+> '{1:-3e38}/1';
SELECT '{1:3e38}/1'::sparsevec <#> '{1:3e38}/1', '{1:3e38}/1'::sparsevec <=> '{1:3e38}/1';
SELECT '{1:1e-45}/1'::sparsevec <-> '{}/1', '{1:1e-45}/1'::sparsevec <=> '{1:1e-45}/1';

-- against dense vectors in double precision, whatever the lengths and what they share, at each level
CREATE TABLE dense AS
SELECT d, share, array_agg(x ORDER BY i) AS x, array_agg(y ORDER BY i) AS y,
	sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip, sum(abs(x - y)) AS l1,
	1 - sum(x * y) / nullif(sqrt(sum(x ^ 2) * sum(y ^ 2)), 0) AS cosine, sqrt(sum(x ^ 2)) AS norm
FROM (SELECT d, share, i,
		CASE WHEN i % share < share - 1 THEN sin(d * 1000 + i)::real::float8 ELSE 0 END AS x,
		CASE WHEN i % share > 0 OR i = 1 THEN cos(d * 77 + i * i)::real::float8 ELSE 0 END AS y
	FROM unnest(ARRAY[1, 2, 3, 7, 8, 9, 16, 17, 40, 64, 100, 129, 300]) d,
		unnest(ARRAY[2, 3, 10, 40, 1000]) share, generate_series(1, d) i) t
GROUP BY d, share;
CREATE TABLE sparse AS SELECT *, x::sparsevec AS v, y::sparsevec AS w FROM dense;
CREATE VIEW wrong AS
SELECT count(*) AS wrong, min(sparsevec_nnz(v)), max(sparsevec_nnz(v)) FROM sparse
WHERE abs((v <-> w) - l2) > 1e-12 OR abs((v <#> w) + ip) > 1e-12 OR abs((v <+> w) - l1) > 1e-12
	OR abs((w <-> v) - l2) > 1e-12 OR abs((w <#> v) + ip) > 1e-12 OR abs((w <+> v) - l1) > 1e-12
	OR abs((v <=> w) - cosine) > 1e-12 OR abs(l2_norm(v) - norm) > 1e-12;
SET vdb.simd = scalar;
SELECT * FROM wrong;
SET vdb.simd = auto;
SELECT * FROM wrong;
RESET vdb.simd;
SELECT count(*), min(sparsevec_nnz(v)), max(sparsevec_nnz(v)) FROM sparse;
DROP VIEW wrong;
DROP TABLE dense, sparse;

-- a few elements against many
SELECT few <-> many AS l2, few <#> many AS ip, many <+> few AS l1
FROM (SELECT array_agg(1)::sparsevec AS many FROM generate_series(1, 16000)) m,
	(VALUES ('{}/16000'::sparsevec), ('{1:1}/16000'), ('{16000:2}/16000'), ('{5:1,800:1,801:3,15999:1}/16000')) f (few);

-- one vector
SELECT vector_dims('{}/5'::sparsevec), sparsevec_nnz('{}/5'), sparsevec_nnz('{1:1,3:2}/5');
SELECT l2_norm('{1:3,9:4}/9'::sparsevec), l2_norm('{}/1'::sparsevec), l2_norm('{1:2e38,2:2e38}/2'::sparsevec)::real;
SELECT l2_normalize('{1:3,9:4}/9'::sparsevec), l2_normalize('{}/2'::sparsevec), l2_normalize('{2:3e38}/2'::sparsevec);
-- an element that becomes too small goes
SELECT l2_normalize('{1:3e38,2:1e-37,3:3e38,4:1e-45}/5'::sparsevec);

-- nothing in, nothing out
SELECT NULL::sparsevec <-> '{}/1', l2_norm(NULL::sparsevec), sparsevec_nnz(NULL);

-- distances commute, so that an index can serve either side
SELECT oprname FROM pg_operator
WHERE oprleft = 'sparsevec'::regtype AND oprresult = 'float8'::regtype AND oprcom <> oid;

-- all of it can run in workers, and depends on nothing but its arguments
SELECT oid::regprocedure FROM pg_proc
WHERE probin = '$libdir/vdb' AND 'sparsevec'::regtype = ANY (proargtypes::oid[] || prorettype)
	AND NOT (proparallel = 's' AND provolatile = 'i');
SELECT oid::regprocedure FROM pg_proc
WHERE probin = '$libdir/vdb' AND 'sparsevec'::regtype = ANY (proargtypes::oid[]) AND NOT proisstrict;
