-- Claim: the binary form of half-precision vectors goes out and in unchanged, and bad ones are refused.

\getenv folder PG_ABS_BUILDDIR
\set file :folder '/results/halfvec_copy.bin'

SELECT halfvec_send('[1,-2,0.5]'), halfvec_send('[-0]');

CREATE TABLE t (i int, v halfvec(3), w halfvec);
INSERT INTO t VALUES (1, '[0,0,0]', '[1]'), (2, '[1,-2,3]', NULL), (3, NULL, '[6e-8,65504]'),
	(4, '[1,1,1]', array_fill(0.5, ARRAY[16000])::halfvec);
CREATE TABLE u (LIKE t);
COPY t TO :'file' (FORMAT binary);
COPY u FROM :'file' (FORMAT binary);
SELECT count(*) FROM t JOIN u USING (i)
WHERE halfvec_send(t.v) IS NOT DISTINCT FROM halfvec_send(u.v)
	AND halfvec_send(t.w) IS NOT DISTINCT FROM halfvec_send(u.w);

-- as text
TRUNCATE u;
COPY t TO :'file';
COPY u FROM :'file';
SELECT i, v, left(w::text, 30) FROM u ORDER BY i;
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
CREATE TABLE t (v halfvec);
\set VERBOSITY terse
\set SHOW_CONTEXT never

CALL write_row(:'file', '\x000200003c004000');
COPY t FROM :'file' (FORMAT binary);
-- unused is not zero
CALL write_row(:'file', '\x000200013c004000');
COPY t FROM :'file' (FORMAT binary);
-- 0, -1 and 16001 dimensions
CALL write_row(:'file', '\x00000000');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\xffff00003c00');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x3e8100003c00');
COPY t FROM :'file' (FORMAT binary);
-- fewer and more elements than announced, half an element, half a header
CALL write_row(:'file', '\x000300003c004000');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x000100003c004000');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x000100003c');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x0001');
COPY t FROM :'file' (FORMAT binary);
-- not finite
CALL write_row(:'file', '\x000200003c007e00');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x00020000fc003c00');
COPY t FROM :'file' (FORMAT binary);

SELECT * FROM t;

-- dimensions of the column
CREATE TABLE u (v halfvec(3));
CALL write_row(:'file', '\x000200003c004000');
COPY u FROM :'file' (FORMAT binary);
DROP TABLE t, u;
DROP PROCEDURE write_row;
