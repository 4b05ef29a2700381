-- Claim: Hamming and Jaccard distances of bit strings are right.

SELECT hamming_distance('111', '100'), B'111' <~> B'100', hamming_distance('1', '1');
SELECT jaccard_distance('1110', '1000'), B'1110' <%> B'0111', jaccard_distance('1', '1');

-- nothing in common, nothing at all
SELECT jaccard_distance('1100', '0011'), jaccard_distance('00', '00'), jaccard_distance('', '');
SELECT hamming_distance('1100', '0011'), hamming_distance('00', '00'), hamming_distance('', '');

-- bit varying converts
SELECT B'101'::varbit <~> B'110', B'101'::varbit <%> B'110'::varbit;

-- lengths must agree
\set SHOW_CONTEXT never
DO $$
DECLARE
	statement text;
	code text;
BEGIN
	FOREACH statement IN ARRAY ARRAY['B''111'' <~> B''11''', 'B''11'' <%> B''111''',
		'hamming_distance(B''1'', B''10'')', 'jaccard_distance(B'''', B''0'')']
	LOOP
		BEGIN
			EXECUTE 'SELECT ' || statement;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
			RAISE INFO '% % [%]', code, statement, SQLERRM;
		END;
	END LOOP;
END $$;

-- all lengths, against counting in SQL, at each level
CREATE TABLE t AS
SELECT n, string_agg(CASE WHEN sin(n * 1000 + i) > 0.2 THEN '1' ELSE '0' END, '')::varbit AS a,
	string_agg(CASE WHEN cos(i * i + n) > 0 THEN '1' ELSE '0' END, '')::varbit AS b
FROM generate_series(1, 600) n, generate_series(1, n) i GROUP BY n;
CREATE FUNCTION ones(varbit) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT length(replace($1::text, '0', '')) $$;
SET vdb.simd = scalar;
SELECT count(*) AS wrong FROM t
WHERE a <~> b <> ones(a # b) OR abs((a <%> b) - (1 - ones(a & b)::float8 / greatest(ones(a | b), 1))) > 1e-15;
SET vdb.simd = auto;
SELECT count(*) AS wrong FROM t
WHERE a <~> b <> ones(a # b) OR abs((a <%> b) - (1 - ones(a & b)::float8 / greatest(ones(a | b), 1))) > 1e-15;
RESET vdb.simd;
DROP FUNCTION ones;
DROP TABLE t;

-- values stored out of line, and longer than any vector
CREATE TABLE t (b bit varying);
INSERT INTO t SELECT repeat('1000001100', 100000 + i)::varbit FROM generate_series(0, 1) i;
ALTER TABLE t ALTER b SET STORAGE external;
SELECT x.b <~> ~y.b AS hamming, x.b <%> y.b AS jaccard FROM t x, t y WHERE length(x.b) = length(y.b);
DROP TABLE t;

-- the order of rows
CREATE TABLE t (i int, b bit(4));
INSERT INTO t VALUES (1, '0000'), (2, '1000'), (3, '1110'), (4, NULL), (5, '1111');
SELECT i, b <~> '1100' AS hamming, b <%> '1100' AS jaccard FROM t ORDER BY 3, 2, 1;
INSERT INTO t VALUES (6, '111');
DROP TABLE t;

-- they commute, so that an index can serve either side, and can run in workers
SELECT oprname FROM pg_operator o JOIN pg_proc p ON p.oid = oprcode
WHERE probin = '$libdir/vdb' AND oprleft = 'bit'::regtype AND oprright = oprleft AND oprcom <> o.oid;
SELECT oid::regprocedure FROM pg_proc
WHERE probin = '$libdir/vdb' AND 'bit'::regtype = ANY (proargtypes::oid[])
	AND NOT (proparallel = 's' AND provolatile = 'i' AND proisstrict);
