-- Claim: what is not a vector is refused, with pgvector's messages and codes.

\set VERBOSITY terse

-- text
SELECT ''::vector;
SELECT '1,2'::vector;
SELECT '{1,2}'::vector;
SELECT '['::vector;
SELECT '[1'::vector;
SELECT '[1,'::vector;
SELECT '[1,]'::vector;
SELECT '[,1]'::vector;
SELECT '[1,,2]'::vector;
SELECT '[1 2]'::vector;
SELECT '[1;2]'::vector;
SELECT '[a]'::vector;
SELECT '[1a]'::vector;
SELECT '[1e]'::vector;
SELECT '[- 1]'::vector;
SELECT '[0x]'::vector;
SELECT '[]'::vector;
SELECT '[ ] '::vector;
SELECT '[1]2'::vector;
SELECT '[1]]'::vector;
SELECT '[NaN]'::vector;
SELECT '[1,inf]'::vector;
SELECT '[-Infinity]'::vector;
SELECT '[1,4e38]'::vector;
SELECT '[3.4028236e38]'::vector;
SELECT '[-1e99999999999 ,1]'::vector;
SELECT ('[1' || repeat(',1', 16000) || ']')::vector;

-- dimensions
SELECT '[1,2]'::vector(3);
SELECT '[1]'::vector(0);
SELECT '[1]'::vector(-1);
SELECT '[1]'::vector(16001);
SELECT '[1]'::vector(1, 2);
SELECT '[1]'::vector('a');

-- operands of different dimensions
SELECT '[1,2]'::vector <-> '[1]';
SELECT '[1,2]'::vector <#> '[1]';
SELECT '[1,2]'::vector <=> '[1]';
SELECT '[1,2]'::vector <+> '[1]';
SELECT vector_l2_squared_distance('[1,2]', '[1]');
SELECT vector_spherical_distance('[1,2]', '[1]');
SELECT inner_product('[1,2]'::vector, '[1]'::vector);
SELECT '[1,2]'::vector + '[1]';
SELECT '[1,2]'::vector - '[1]';
SELECT '[1,2]'::vector * '[1]';

-- results out of range
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[3e38]'::vector - '[-3e38]';
SELECT '[3e38]'::vector * '[2]';
SELECT '[1e-30]'::vector * '[1e-30]';
SELECT '[1]'::vector || array_fill(1::real, ARRAY[16000])::vector;
SELECT subvector('[1,2,3]'::vector, 4, 1);
SELECT subvector('[1,2,3]'::vector, 1, 0);
SELECT subvector('[1,2,3]'::vector, 0, 1);
SELECT subvector('[1,2,3]'::vector, 2, -1);

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
		'''1''::vector', '''[1]x''::vector', '''[1''::vector', '''[]''::vector',
		'''[nan]''::vector', '''[1e40]''::vector', '''[1,2]''::vector(1)',
		'''[1]''::vector(0)', '''[1]''::vector(1,2)',
		'array_fill(1, ARRAY[16001])::vector', '''{{1}}''::int[]::vector',
		'''{NULL}''::int[]::vector', '''[1]''::vector <-> ''[1,2]''',
		'''[3e38]''::vector * ''[3e38]''']
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
\set short f
\if :soft
SELECT pg_input_is_valid('[1,2]', 'vector(2)') AS valid,
	pg_input_is_valid('[1,2', 'vector') AS broken,
	pg_input_is_valid('[1,2]', 'vector(3)') AS short \gset
\endif
SELECT :'valid' AS valid, :'broken' AS broken, :'short' AS short;

-- values that are not as long as their dimensions say, as a damaged table may have them; 514 is 0x0202
-- in either byte order
CREATE CAST (bytea AS vector) WITHOUT FUNCTION;
SELECT vector_norm(('\x02020000' || decode(repeat('00', 4 * 514), 'hex'))::vector);
\set VERBOSITY terse
SELECT vector_norm(('\x02020000' || decode(repeat('00', 4 * 514 - 1), 'hex'))::vector);
SELECT vector_norm(('\x02020000' || decode(repeat('00', 4 * 514 + 1), 'hex'))::vector);
SELECT vector_norm('\x'::bytea::vector), vector_norm('\x0202'::bytea::vector);
SELECT '\x00000000'::bytea::vector <-> '[1]';
SELECT '[1]'::vector < '\x80800000'::bytea::vector;
SELECT '\x02020000'::bytea::vector;
DROP CAST (bytea AS vector);

-- numbers as numpy prints them

\set VERBOSITY default
SELECT '[1.0 2.0
 3.0]'::vector;
SELECT '[1 a]'::vector;
