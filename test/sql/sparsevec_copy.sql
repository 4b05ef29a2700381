-- Claim: the binary form of sparse vectors goes out and in unchanged, and bad ones are refused.

\getenv folder PG_ABS_BUILDDIR
\set file :folder '/results/sparsevec_copy.bin'

SELECT sparsevec_send('{1:1,7:-2}/7'), sparsevec_send('{}/1000000000');

CREATE TABLE t (i int, v sparsevec(3), w sparsevec);
INSERT INTO t VALUES (1, '{}/3', '{}/1'), (2, '{1:1,2:-2,3:3}/3', NULL), (3, NULL, '{5:1e-45,1000:3.4028235e38}/1000'),
	(4, '{2:1}/3', array_fill(0.5, ARRAY[16000])::sparsevec);
CREATE TABLE u (LIKE t);
COPY t TO :'file' (FORMAT binary);
COPY u FROM :'file' (FORMAT binary);
SELECT count(*) FROM t JOIN u USING (i)
WHERE sparsevec_send(t.v) IS NOT DISTINCT FROM sparsevec_send(u.v)
	AND sparsevec_send(t.w) IS NOT DISTINCT FROM sparsevec_send(u.w);

-- as text
TRUNCATE u;
COPY t TO :'file';
COPY u FROM :'file';
SELECT i, v, left(w::text, 40) FROM u ORDER BY i;
DROP TABLE t, u;

-- a file with one row of one column: the given bytes
CREATE PROCEDURE write_row(file text, value bytea) LANGUAGE plpgsql AS $$
DECLARE
	header bytea := '\x5047434f50590aff0d0a00' || int4send(0) || int4send(0);
	id oid := lo_from_bytea(0, header || int2send(1::int2) || int4send(length(value)) || value
		|| int2send((-1)::int2));
BEGIN
	PERFORM lo_export(id, file);
	PERFORM lo_unlink(id);
END $$;
-- dimensions, elements, unused, indices, values
CREATE FUNCTION form(dim int, nnz int, unused int, indices int[], vals real[]) RETURNS bytea LANGUAGE sql AS $$
	SELECT int4send(dim) || int4send(nnz) || int4send(unused)
		|| (SELECT coalesce(string_agg(int4send(i), '' ORDER BY n), '') FROM unnest(indices) WITH ORDINALITY u (i, n))
		|| (SELECT coalesce(string_agg(float4send(v), '' ORDER BY n), '') FROM unnest(vals) WITH ORDINALITY u (v, n))
$$;
CREATE TABLE t (v sparsevec);
\set VERBOSITY terse
\set SHOW_CONTEXT never

CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
-- unused is not zero
CALL write_row(:'file', form(5, 2, 1, '{0,4}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
-- 0, -1 and 1000000001 dimensions
CALL write_row(:'file', form(0, 0, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(-1, 0, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(1000000001, 0, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
-- -1, 16001 and more elements than dimensions
CALL write_row(:'file', form(5, -1, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(20000, 16001, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(1, 2, 0, '{0,1}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(2147483647, 2147483647, 0, '{}', '{}'));
COPY t FROM :'file' (FORMAT binary);
-- fewer and more elements than announced, half an element, half a header
CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{1}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 1, 0, '{0,4}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 1, 0, '{0}', '{}') || '\x3f80');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x000000010000');
COPY t FROM :'file' (FORMAT binary);
-- indices out of bounds, in disorder, twice
CALL write_row(:'file', form(5, 2, 0, '{-1,4}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{0,5}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{4,0}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{4,4}', '{1,2}'));
COPY t FROM :'file' (FORMAT binary);
-- zero, not finite
CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{1,0}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{-0,1}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{1,NaN}'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', form(5, 2, 0, '{0,4}', '{-Infinity,1}'));
COPY t FROM :'file' (FORMAT binary);

SELECT * FROM t;

-- dimensions of the column
CREATE TABLE u (v sparsevec(3));
CALL write_row(:'file', form(2, 0, 0, '{}', '{}'));
COPY u FROM :'file' (FORMAT binary);
DROP TABLE t, u;
DROP PROCEDURE write_row;
DROP FUNCTION form;
