-- Claim: what is not a half-precision vector is refused, with pgvector's messages and codes.

\set VERBOSITY terse

-- text
SELECT ''::halfvec;
SELECT '1,2'::halfvec;
SELECT '{1,2}'::halfvec;
SELECT '['::halfvec;
SELECT '[1'::halfvec;
SELECT '[1,'::halfvec;
SELECT '[1,]'::halfvec;
SELECT '[,1]'::halfvec;
SELECT '[1,,2]'::halfvec;
SELECT '[1 2]'::halfvec;
SELECT '[a]'::halfvec;
SELECT '[1e]'::halfvec;
SELECT '[]'::halfvec;
SELECT '[ ] '::halfvec;
SELECT '[1]2'::halfvec;
SELECT '[1]]'::halfvec;
SELECT '[NaN]'::halfvec;
SELECT '[1,inf]'::halfvec;
SELECT '[-Infinity]'::halfvec;
SELECT '[1,65520]'::halfvec;
SELECT '[ -65520.0 ]'::halfvec;
SELECT '[65519.999999]'::halfvec;
SELECT '[4e38]'::halfvec;
SELECT ('[1' || repeat(',1', 16000) || ']')::halfvec;

-- dimensions
SELECT '[1,2]'::halfvec(3);
SELECT '[1]'::halfvec(0);
SELECT '[1]'::halfvec(-1);
SELECT '[1]'::halfvec(16001);
SELECT '[1]'::halfvec(1, 2);
SELECT '[1]'::halfvec('a');

-- operands of different dimensions
SELECT '[1,2]'::halfvec <-> '[1]';
SELECT '[1,2]'::halfvec <#> '[1]';
SELECT '[1,2]'::halfvec <=> '[1]';
SELECT '[1,2]'::halfvec <+> '[1]';
SELECT halfvec_l2_squared_distance('[1,2]', '[1]');
SELECT halfvec_spherical_distance('[1,2]', '[1]');
SELECT inner_product('[1,2]'::halfvec, '[1]'::halfvec);
SELECT '[1,2]'::halfvec + '[1]';
SELECT '[1,2]'::halfvec - '[1]';
SELECT '[1,2]'::halfvec * '[1]';

-- results out of range
SELECT '[65504]'::halfvec + '[16]';
SELECT '[65504]'::halfvec + '[15.99]';
SELECT '[-65504]'::halfvec - '[16]';
SELECT '[256]'::halfvec * '[-256]';
SELECT '[0.00024414062]'::halfvec * '[-0.00012207031]';
SELECT '[0.00024414062]'::halfvec * '[-0.00012219]';
SELECT '[1]'::halfvec || array_fill(1::real, ARRAY[16000])::halfvec;
SELECT subvector('[1,2,3]'::halfvec, 4, 1);
SELECT subvector('[1,2,3]'::halfvec, 1, 0);
SELECT subvector('[1,2,3]'::halfvec, 0, 1);
SELECT subvector('[1,2,3]'::halfvec, 2, -1);

-- codes and details
\set VERBOSITY default
\set SHOW_CONTEXT never
DO $$
DECLARE
	statement text;
	code text;
	detail text;
BEGIN
	FOREACH statement IN ARRAY ARRAY[
		'''1''::halfvec', '''[1]x''::halfvec', '''[1''::halfvec', '''[]''::halfvec',
		'''[nan]''::halfvec', '''[1,65520]''::halfvec', '''[1,2]''::halfvec(1)',
		'''[1]''::halfvec(0)', '''[1]''::halfvec(1,2)',
		'array_fill(1, ARRAY[16001])::halfvec', '''{{1}}''::int[]::halfvec',
		'''{NULL}''::int[]::halfvec', '''{65520}''::int[]::halfvec', '''[65520]''::vector::halfvec',
		'''[1]''::halfvec <-> ''[1,2]''', '''[65504]''::halfvec * ''[2]''', '''[1e-5]''::halfvec * ''[1e-5]''']
	LOOP
		BEGIN
			EXECUTE 'SELECT ' || statement;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL;
			RAISE INFO '% % [%]%', code, statement, SQLERRM, coalesce(' ' || nullif(detail, ''), '');
		END;
	END LOOP;
END $$;

-- from 16 on, errors of input are soft
SELECT current_setting('server_version_num')::int >= 160000 AS soft \gset
\set valid t
\set broken f
\set large f
\set short f
\if :soft
SELECT pg_input_is_valid('[1,2]', 'halfvec(2)') AS valid,
	pg_input_is_valid('[1,2', 'halfvec') AS broken,
	pg_input_is_valid('[65520]', 'halfvec') AS large,
	pg_input_is_valid('[1,2]', 'halfvec(3)') AS short \gset
\endif
SELECT :'valid' AS valid, :'broken' AS broken, :'large' AS large, :'short' AS short;

-- values that are not as long as their dimensions say, as a damaged table may have them; 514 is 0x0202
-- in either byte order
CREATE CAST (bytea AS halfvec) WITHOUT FUNCTION;
SELECT l2_norm(('\x02020000' || decode(repeat('00', 2 * 514), 'hex'))::halfvec);
\set VERBOSITY terse
SELECT l2_norm(('\x02020000' || decode(repeat('00', 2 * 514 - 1), 'hex'))::halfvec);
SELECT l2_norm(('\x02020000' || decode(repeat('00', 2 * 514 + 1), 'hex'))::halfvec);
SELECT l2_norm('\x'::bytea::halfvec), l2_norm('\x0202'::bytea::halfvec);
SELECT '\x00000000'::bytea::halfvec <-> '[1]';
SELECT '[1]'::halfvec < '\x80800000'::bytea::halfvec;
SELECT '\x02020000'::bytea::halfvec;
DROP CAST (bytea AS halfvec);

-- numbers as numpy prints them

\set VERBOSITY default
SELECT '[1.0 2.0
 3.0]'::halfvec;
SELECT '[1 a]'::halfvec;
