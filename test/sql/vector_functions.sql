-- Claim: distances, arithmetic and the functions on one vector give the right values.

-- distances
SELECT l2_distance('[0,0]'::vector, '[3,4]'), '[0,0]'::vector <-> '[3,4]';
SELECT inner_product('[1,2]'::vector, '[3,4]'), '[1,2]'::vector <#> '[3,4]';
SELECT cosine_distance('[1,0]'::vector, '[0,2]'), '[1,1]'::vector <=> '[-3,-3]';
SELECT l1_distance('[0,0]'::vector, '[3,-4]'), '[0,0]'::vector <+> '[3,-4]';
SELECT vector_l2_squared_distance('[0,0]', '[3,4]'), vector_negative_inner_product('[1,2]', '[3,4]');
SELECT vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[1,0]', '[-1,0]');

-- rounding does not take a cosine out of bounds
SELECT min(v <=> v) >= 0 AND max(v <=> v) < 1e-6 AS near_zero,
	max(v <=> v * array_fill(-1, ARRAY[3])::vector) <= 2 AS at_most_two
FROM (SELECT ARRAY[random() - 0.5, random() - 0.5, i]::vector AS v FROM generate_series(1, 1000) i) t;

-- what cannot be computed is no error
SELECT '[0,0]'::vector <=> '[1,1]', '[3e38]'::vector <=> '[3e38]';
SELECT '[3e38]'::vector <-> '[-3e38]', '[3e38]'::vector <+> '[-3e38]';
SELECT '[3e38]'::vector <#> '[3e38]', inner_product('[3e38,3e38]'::vector, '[3e38,-3e38]'::vector);
SELECT vector_spherical_distance('[2]', '[2]'), vector_spherical_distance('[2]', '[-2]');

-- all lengths, against arithmetic in SQL
SELECT count(*) AS wrong
FROM (SELECT d, array_agg(x ORDER BY i)::vector AS v, array_agg(y ORDER BY i)::vector AS w,
		sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip, sum(abs(x - y)) AS l1,
		1 - sum(x * y) / sqrt(sum(x ^ 2) * sum(y ^ 2)) AS cosine, sqrt(sum(x ^ 2)) AS norm
	FROM (SELECT d, i, sin(d * 1000 + i) AS x, cos(d * 77 + i * i) AS y
		FROM generate_series(1, 130) d, generate_series(1, d) i) t
	GROUP BY d) u
WHERE abs((v <-> w) - l2) > 1e-4 OR abs((v <#> w) + ip) > 1e-4 OR abs((v <+> w) - l1) > 1e-4
	OR abs((v <=> w) - cosine) > 1e-5 OR abs(vector_norm(v) - norm) > 1e-5;

-- one vector
SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'), vector_norm('[0]');
SELECT vector_norm('[2e38,2e38]')::real, vector_norm('[1e-45]')::real;
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector), l2_normalize('[3e38]'::vector);
SELECT binary_quantize('[1,0,-1,-0,1e-45]'::vector);
SELECT binary_quantize('[1,-1,1,-1,1,-1,1,-1,1,1]'::vector), length(binary_quantize('[1,2,3]'::vector));
SELECT subvector('[1,2,3,4,5]'::vector, 2, 3), subvector('[1,2,3,4,5]'::vector, 4, 9),
	subvector('[1,2,3,4,5]'::vector, -1, 4);
SELECT subvector('[1,2,3]'::vector, 2, 2147483647), subvector('[1,2,3]'::vector, -2147483645, 2147483647);

-- arithmetic
SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]';
SELECT '[1,2]'::vector || '[3]';
SELECT '[1e-40]'::vector + '[-1e-40]', '[0]'::vector * '[1e-45]', '[1e-20]'::vector * '[1e-20]';

-- nothing in, nothing out
SELECT NULL::vector <-> '[1]', '[1]'::vector + NULL, vector_dims(NULL::vector);

-- distances commute, so that an index can serve either side
SELECT oprname FROM pg_operator
WHERE oprleft = 'vector'::regtype AND oprresult = 'float8'::regtype AND oprcom <> oid;

-- all of it can run in workers, and depends on nothing but its arguments
SELECT oid::regprocedure FROM pg_proc
WHERE probin = '$libdir/vdb' AND 'vector'::regtype = ANY (proargtypes::oid[] || prorettype)
	AND NOT (proparallel = 's' AND provolatile = 'i' AND proisstrict);
