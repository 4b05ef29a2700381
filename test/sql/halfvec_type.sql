-- Claim: half-precision vectors are read and written as text, and halfvec(n) holds n dimensions.

SELECT '[1,2,3]'::halfvec;
SELECT ' [ 1 ,  2,3 ]  '::halfvec;
SELECT E'\t[\n1,\r2]\f'::halfvec;
SELECT '[-1.5,+2.,.5,-0,0,0x10]'::halfvec;

-- eleven bits of precision; the text is that of the same number as a real
SELECT '[0.1,1e-5,3.14159,2049,2051,12345]'::halfvec;
SELECT '[0.1]'::halfvec::text::halfvec = '[0.1]', '[0.1]'::halfvec::vector::text = '[0.1]'::halfvec::text;

-- halfway between two numbers: to even
SELECT '[2049,2051,4098,4102,1.00048828125,1.00146484375]'::halfvec;
-- a number is first rounded to a real, which may put it halfway
SELECT '[2049.00001,2049.0002]'::halfvec;

-- the largest, the least, and what is too small
SELECT '[65504,-65504,65519,65519.99]'::halfvec;
SELECT '[6.1035e-05,6.0976e-05,5.9604645e-08,-5.9604645e-08]'::halfvec;
SELECT '[2.9802323e-08,2.9802322e-08,-1e-8,1e-46,1e-400]'::halfvec;

-- every number there is, from its value as text to its bits and back
CREATE TABLE t AS
SELECT ('[' || value || ']')::halfvec AS v, '\x00010000' || int2send((bits - sign * 32768)::int2) AS sent
FROM generate_series(0, 31743) bits, generate_series(0, 1) sign,
	LATERAL (SELECT CASE WHEN sign = 0 THEN '' ELSE '-' END ||
		CASE WHEN bits < 1024 THEN bits * 2 ^ -24 ELSE (1024 + bits % 1024) * 2 ^ (bits / 1024 - 25) END AS value) u;
SELECT count(*), count(DISTINCT v) FROM t;
SELECT count(*) AS wrong FROM t
WHERE halfvec_send(v) <> sent OR halfvec_send(v::text::halfvec) <> sent OR halfvec_send(v::vector::halfvec) <> sent
	OR halfvec_send(v::real[]::halfvec) <> sent OR halfvec_send(v::float8[]::halfvec) <> sent;
DROP TABLE t;

-- dimensions of the column
CREATE TABLE t (v halfvec(3), w halfvec, a halfvec(2)[]);
INSERT INTO t VALUES ('[1,2,3]', '[1]', '{"[1,2]","[3,4]"}');
INSERT INTO t VALUES (NULL, '[1,2]', '{NULL}');
INSERT INTO t VALUES ('[1,2]', NULL, NULL);
INSERT INTO t VALUES ('[1,2,3,4]'::halfvec, NULL, NULL);
INSERT INTO t VALUES (NULL, NULL, '{"[1]"}');
UPDATE t SET v = w WHERE w = '[1]';
SELECT * FROM t;
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;
ALTER TABLE t ALTER w TYPE halfvec(1);
DELETE FROM t WHERE v IS NULL;
ALTER TABLE t ALTER w TYPE halfvec(1);
DROP TABLE t;

-- a column of vectors becomes one of half the size
CREATE TABLE t (v vector(3));
INSERT INTO t VALUES ('[1,2,3]'), ('[0.1,0.2,0.3]'), (NULL);
ALTER TABLE t ALTER v TYPE halfvec(3);
SELECT v, pg_column_size(v) FROM t;
DROP TABLE t;

-- the largest half-precision vector, stored out of line
CREATE TABLE t (v halfvec(16000));
INSERT INTO t SELECT ('[' || string_agg(i::text, ',' ORDER BY i) || ']')::halfvec FROM generate_series(1, 16000) i;
SELECT vector_dims(v), subvector(v, 2045, 8), length(v::text), pg_column_size(v) FROM t;
DROP TABLE t;
