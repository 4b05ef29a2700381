-- Claim: what is not a sparse vector is refused, with pgvector's messages and codes.

\set VERBOSITY terse

-- text
SELECT ''::sparsevec;
SELECT '1:1}/1'::sparsevec;
SELECT '[1,2]'::sparsevec;
SELECT '{'::sparsevec;
SELECT '{1'::sparsevec;
SELECT '{1:'::sparsevec;
SELECT '{1:1'::sparsevec;
SELECT '{1:1,'::sparsevec;
SELECT '{1:1,}/1'::sparsevec;
SELECT '{,1:1}/1'::sparsevec;
SELECT '{1:1 2:2}/2'::sparsevec;
SELECT '{1}/1'::sparsevec;
SELECT '{:1}/1'::sparsevec;
SELECT '{1:}/1'::sparsevec;
SELECT '{a:1}/1'::sparsevec;
SELECT '{1.0:1}/1'::sparsevec;
SELECT '{0x1:1}/1'::sparsevec;
SELECT '{1:a}/1'::sparsevec;
SELECT '{1:1}'::sparsevec;
SELECT '{1:1}1'::sparsevec;
SELECT '{1:1}/'::sparsevec;
SELECT '{1:1}/a'::sparsevec;
SELECT '{1:1}/1a'::sparsevec;
SELECT '{1:1}/1}'::sparsevec;
SELECT '{1:NaN}/1'::sparsevec;
SELECT '{1:1,2:-Infinity}/2'::sparsevec;
SELECT '{1:4e38}/1'::sparsevec;
SELECT '{1:-1e-46}/1'::sparsevec;

-- indices and dimensions
SELECT '{0:1}/1'::sparsevec;
SELECT '{-1:1}/1'::sparsevec;
SELECT '{2:1}/1'::sparsevec;
SELECT '{2147483648:1}/1'::sparsevec;
SELECT '{-9223372036854775809:1}/1'::sparsevec;
SELECT '{1:1,2:1,1:2}/2'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/-1'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT '{}/9223372036854775808'::sparsevec;
SELECT ('{' || string_agg(i || ':1', ',') || '}/16001')::sparsevec FROM generate_series(1, 16001) i;
SELECT '{}/2'::sparsevec(3);
SELECT '{}/1'::sparsevec(0);
SELECT '{}/1'::sparsevec(-1);
SELECT '{}/1'::sparsevec(1000000001);
SELECT '{}/1'::sparsevec(1, 2);
SELECT '{}/1'::sparsevec('a');

-- operands of different dimensions
SELECT '{}/2'::sparsevec <-> '{}/1';
SELECT '{}/2'::sparsevec <#> '{}/1';
SELECT '{}/2'::sparsevec <=> '{}/1';
SELECT '{}/2'::sparsevec <+> '{}/1';
SELECT sparsevec_l2_squared_distance('{}/2', '{}/1');
SELECT inner_product('{}/2'::sparsevec, '{}/1'::sparsevec);

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
		'''1''::sparsevec', '''{1}''::sparsevec', '''{}''::sparsevec', '''{}/''::sparsevec',
		'''{}/1x''::sparsevec', '''{1:nan}/1''::sparsevec', '''{1:inf}/1''::sparsevec',
		'''{1:1e40}/1''::sparsevec', '''{1:1e-50}/1''::sparsevec', '''{}/0''::sparsevec',
		'''{}/1000000001''::sparsevec', '''{2:1}/1''::sparsevec', '''{1:1,1:1}/1''::sparsevec',
		'''{}/2''::sparsevec(1)', '''{}/1''::sparsevec(0)', '''{}/1''::sparsevec(1,2)',
		'array_fill(1, ARRAY[16001])::sparsevec', '''{{1}}''::int[]::sparsevec',
		'''{NULL}''::int[]::sparsevec', '''{}/1''::sparsevec <-> ''{}/2''',
		'''{}/16001''::sparsevec::vector', '''{}/1000000000''::sparsevec::real[]']
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
\set wrong ''
\if :soft
SELECT pg_input_is_valid('{2:1,1:1}/2', 'sparsevec(2)') AS valid,
	(SELECT coalesce(string_agg(t, ' '), '') FROM unnest(ARRAY['{1:1}', '{}/3', '{}/0', '{}/1000000001', '{3:1}/2', '{1:1,1:1}/2']) t
		WHERE pg_input_is_valid(t, 'sparsevec(2)')) AS wrong \gset
\endif
SELECT :'valid' AS valid, :'wrong' AS wrong;

-- values as a damaged table may have them: dimensions, elements and length that do not go together
CREATE CAST (bytea AS sparsevec) WITHOUT FUNCTION;
CREATE CAST (sparsevec AS bytea) WITHOUT FUNCTION;
CREATE FUNCTION damage(vector sparsevec, place int, bytes bytea) RETURNS sparsevec LANGUAGE sql AS
	$$ SELECT overlay(vector::bytea PLACING bytes FROM place)::sparsevec $$;
SELECT '{1:1,2:2}/5'::sparsevec::bytea::sparsevec, damage('{1:1,2:2}/5', 1, '\x01010101');
SELECT damage('{1:1,2:2}/5', 1, '\x00000000');
\set VERBOSITY terse
SELECT damage('{1:1,2:2}/5', 1, '\xffffffff');
SELECT damage('{1:1,2:2}/5', 1, '\x7f7f7f7f');
SELECT damage('{1:1,2:2}/5', 5, '\x00000000');
SELECT damage('{1:1,2:2}/5', 5, '\xffffffff') <-> '{}/5';
SELECT damage('{1:1,2:2}/5', 5, '\x01010101') < '{}/5';
SELECT sparsevec_nnz(substr('{1:1,2:2}/5'::sparsevec::bytea, 1, 27)::sparsevec);
SELECT sum(('{1:1,2:2}/5'::sparsevec::bytea || '\x00')::sparsevec);
SELECT vector_dims('\x'::bytea::sparsevec);
SELECT vector_dims('\x0101010100000000'::bytea::sparsevec);
-- indices out of bounds or in disorder are not looked for when reading, and do no harm
SELECT v, v <-> '{1:1,2:2}/5' > 0 AS away, v = v AS same FROM damage('{1:1,2:2}/5', 13, '\x7f7f7f7f') v;
SELECT damage('{1:1,2:2}/5', 13, '\x7f7f7f7f')::vector;
SELECT damage('{1:1,2:2}/5', 13, '\xffffffff')::real[];
SELECT damage('{1:1,2:2}/5', 13, '\x7f7f7f7f')::float8[];
SELECT sparsevec_nnz(sum(v)) FROM (VALUES ('{3:1}/5'::sparsevec), (damage('{1:1,2:2}/5', 13, '\x7f7f7f7f')), ('{5:1}/5')) t (v);
DROP FUNCTION damage;
DROP CAST (bytea AS sparsevec);
DROP CAST (sparsevec AS bytea);
