-- Claim: the binary form of vectors goes out and in unchanged, and bad ones are refused.

\getenv folder PG_ABS_BUILDDIR
\set file :folder '/results/vector_copy.bin'

SELECT vector_send('[1,-2,0.5]'), vector_send('[-0]');

CREATE TABLE t (i int, v vector(3), w vector);
INSERT INTO t VALUES (1, '[0,0,0]', '[1]'), (2, '[1,-2,3]', NULL), (3, NULL, '[1e-45,3.4028235e38]'),
	(4, '[1,1,1]', array_fill(0.5, ARRAY[16000])::vector);
CREATE TABLE u (LIKE t);
COPY t TO :'file' (FORMAT binary);
COPY u FROM :'file' (FORMAT binary);
SELECT count(*) FROM t JOIN u USING (i)
WHERE vector_send(t.v) IS NOT DISTINCT FROM vector_send(u.v)
	AND vector_send(t.w) IS NOT DISTINCT FROM vector_send(u.w);

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
CREATE TABLE t (v vector);
\set VERBOSITY terse
\set SHOW_CONTEXT never

CALL write_row(:'file', '\x00020000' || float4send(1) || float4send(2));
COPY t FROM :'file' (FORMAT binary);
-- unused is not zero
CALL write_row(:'file', '\x00020001' || float4send(1) || float4send(2));
COPY t FROM :'file' (FORMAT binary);
-- 0, -1 and 16001 dimensions
CALL write_row(:'file', '\x00000000');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\xffff0000' || float4send(1));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x3e810000' || float4send(1));
COPY t FROM :'file' (FORMAT binary);
-- fewer and more elements than announced, half an element, half a header
CALL write_row(:'file', '\x00030000' || float4send(1) || float4send(2));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x00010000' || float4send(1) || float4send(2));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x000100003f80');
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x0001');
COPY t FROM :'file' (FORMAT binary);
-- not finite
CALL write_row(:'file', '\x00020000' || float4send(1) || float4send('NaN'));
COPY t FROM :'file' (FORMAT binary);
CALL write_row(:'file', '\x00020000' || float4send('-Infinity') || float4send(1));
COPY t FROM :'file' (FORMAT binary);

SELECT * FROM t;

-- dimensions of the column
CREATE TABLE u (v vector(3));
CALL write_row(:'file', '\x00020000' || float4send(1) || float4send(2));
COPY u FROM :'file' (FORMAT binary);
DROP TABLE t, u;
DROP PROCEDURE write_row;
