-- Claim: distances, arithmetic and the functions on one half-precision vector give the right values,
-- with every instruction set.

-- distances
SELECT l2_distance('[0,0]'::halfvec, '[3,4]'), '[0,0]'::halfvec <-> '[3,4]';
SELECT inner_product('[1,2]'::halfvec, '[3,4]'), '[1,2]'::halfvec <#> '[3,4]';
SELECT cosine_distance('[1,0]'::halfvec, '[0,2]'), '[1,1]'::halfvec <=> '[-3,-3]';
SELECT l1_distance('[0,0]'::halfvec, '[3,-4]'), '[0,0]'::halfvec <+> '[3,-4]';
SELECT halfvec_l2_squared_distance('[0,0]', '[3,4]'), halfvec_negative_inner_product('[1,2]', '[3,4]');
SELECT halfvec_spherical_distance('[1,0]', '[0,1]'), halfvec_spherical_distance('[1,0]', '[-1,0]');

-- rounding does not take a cosine out of bounds
SELECT min(v <=> v) >= 0 AND max(v <=> v) < 1e-6 AS near_zero,
	max(v <=> v * array_fill(-1, ARRAY[3])::halfvec) <= 2 AS at_most_two
FROM (SELECT ARRAY[random() - 0.5, random() - 0.5, i]::halfvec AS v FROM generate_series(1, 1000) i) t;

-- the largest and the least numbers: no sum is out of range
SELECT '[65504]'::halfvec <-> '[-65504]', '[65504]'::halfvec <+> '[-65504]', '[65504]'::halfvec <#> '[65504]';
SELECT '[65504,65504]'::halfvec <=> '[65504,-65504]', '[6e-8]'::halfvec <=> '[6e-8]';
SELECT ('[6e-8,0]'::halfvec <-> '[0,0]')::real, ('[6e-8]'::halfvec <+> '[-6e-8]')::real;
SELECT '[0,0]'::halfvec <=> '[1,1]';
SELECT halfvec_spherical_distance('[2]', '[2]'), halfvec_spherical_distance('[2]', '[-2]');

-- all lengths at every instruction set that the processor has, against the same numbers as vectors
CREATE TABLE t AS
SELECT d, array_agg(sin(d * 1000 + i) ORDER BY i)::halfvec AS v, array_agg(cos(d * 77 + i * i) ORDER BY i)::halfvec AS w
FROM generate_series(1, 200) d, generate_series(1, d) i GROUP BY d;
CREATE FUNCTION count_wrong(level text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('vdb.simd', level, true);
	RETURN count(*) FROM t
	WHERE abs((v <-> w) - (v::vector <-> w::vector)) > 1e-5 * d OR abs((v <#> w) - (v::vector <#> w::vector)) > 1e-5 * d
		OR abs((v <+> w) - (v::vector <+> w::vector)) > 1e-5 * d OR abs((v <=> w) - (v::vector <=> w::vector)) > 1e-5
		OR abs(l2_norm(v) - vector_norm(v::vector)) > 0
		OR v + w <> (v::vector + w::vector)::halfvec OR v - w <> (v::vector - w::vector)::halfvec
		OR v::text <> v::vector::text OR v <> v::vector::halfvec OR v::real[]::halfvec <> v;
EXCEPTION WHEN feature_not_supported THEN
	RETURN 0;
END $$;
SELECT level, count_wrong(level) FROM pg_settings, unnest(enumvals) level WHERE name = 'vdb.simd';
DROP FUNCTION count_wrong;
DROP TABLE t;

-- one vector
SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[0]'::halfvec);
SELECT l2_norm('[65504,65504]'::halfvec)::real, l2_norm('[6e-8]'::halfvec)::real;
SELECT l2_normalize('[3,4]'::halfvec), l2_normalize('[0,0]'::halfvec), l2_normalize('[65504]'::halfvec),
	l2_normalize('[6e-8,-6e-8]'::halfvec);
SELECT binary_quantize('[1,0,-1,-0,6e-8]'::halfvec);
SELECT binary_quantize('[1,-1,1,-1,1,-1,1,-1,1,1]'::halfvec), length(binary_quantize('[1,2,3]'::halfvec));
SELECT subvector('[1,2,3,4,5]'::halfvec, 2, 3), subvector('[1,2,3,4,5]'::halfvec, 4, 9),
	subvector('[1,2,3,4,5]'::halfvec, -1, 4);
SELECT subvector('[1,2,3]'::halfvec, 2, 2147483647), subvector('[1,2,3]'::halfvec, -2147483645, 2147483647);

-- arithmetic
SELECT '[1,2,3]'::halfvec + '[4,5,6]', '[1,2,3]'::halfvec - '[4,5,6]', '[1,2,3]'::halfvec * '[4,5,6]';
SELECT '[1,2]'::halfvec || '[3]';
SELECT '[6e-8]'::halfvec + '[-6e-8]', '[0]'::halfvec * '[6e-8]', '[2048]'::halfvec + '[1]', '[2048]'::halfvec + '[3]';

-- nothing in, nothing out
SELECT NULL::halfvec <-> '[1]', '[1]'::halfvec + NULL, vector_dims(NULL::halfvec);

-- distances commute, so that an index can serve either side
SELECT oprname FROM pg_operator
WHERE oprleft = 'halfvec'::regtype AND oprresult = 'float8'::regtype AND oprcom <> oid;

-- all of it can run in workers, and depends on nothing but its arguments
SELECT oid::regprocedure FROM pg_proc
WHERE probin = '$libdir/vdb' AND 'halfvec'::regtype = ANY (proargtypes::oid[] || prorettype)
	AND NOT (proparallel = 's' AND provolatile = 'i' AND proisstrict);
