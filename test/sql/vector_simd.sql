-- Claim: vdb.simd chooses the instruction set, and distances do not depend on it.

LOAD 'vdb';
SHOW vdb.simd;
SELECT vartype, enumvals, context FROM pg_settings WHERE name = 'vdb.simd';
SET vdb.simd = sse2;
SET vdb.no_such_setting = 1;

CREATE TABLE t AS
SELECT d, array_agg(sin(d * 1000 + i) ORDER BY i)::vector AS v, array_agg(cos(i * i) ORDER BY i)::vector AS w
FROM generate_series(1, 300) d, generate_series(1, d) i GROUP BY d;

SET vdb.simd = scalar;
SHOW vdb.simd;
CREATE TABLE u AS SELECT d, v <-> w AS l2, v <#> w AS ip, v <=> w AS cosine, v <+> w AS l1 FROM t;
SET vdb.simd = auto;
SELECT count(*) AS wrong FROM t JOIN u USING (d)
WHERE abs((v <-> w) - l2) > 1e-4 OR abs((v <#> w) - ip) > 1e-4
	OR abs((v <=> w) - cosine) > 1e-5 OR abs((v <+> w) - l1) > 1e-4;

RESET vdb.simd;
SHOW vdb.simd;
DROP TABLE t, u;
