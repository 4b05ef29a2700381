-- Claim: vectors are read and written as text, and vector(n) holds n dimensions.

SELECT '[1,2,3]'::vector;
SELECT ' [ 1 ,  2,3 ]  '::vector;
SELECT E'\t[\n1,\r2]\f'::vector;
SELECT '[-1.5,+2.,.5,-0,0]'::vector;
SELECT '[0.1,1e-5,1E5,1e+06,123456789]'::vector;

-- the shortest text that reads back as the same number
SELECT '[0.30000001192092896,16777217,3.14159274101257324219]'::vector;
SELECT '[3.4028235e38,-3.4028235e38,1.1754944e-38]'::vector;

-- halfway between two numbers: to even
SELECT '[16777217,16777219,8388608.5,8388609.5]'::vector;
SELECT '[16777217.000000001,16777218.999999999]'::vector;

-- numbers too small become denormal or zero
SELECT '[1e-40,1e-45,1.4e-45,7e-46,-7e-46,1e-400]'::vector;

-- hexadecimal, as in C
SELECT '[0x10,-0x1.8p3,0X1P-2]'::vector;

-- more digits than matter
SELECT '[0.1000000000000000000000000000000000000000000001]'::vector;
SELECT ('[1' || repeat('0', 1200) || 'e-1200,.' || repeat('0', 1200) || '1e1201]')::vector;

-- text and back keeps every bit
SELECT count(*) AS changed
FROM (SELECT ('[' || string_agg(((random() - 0.5) * 10 ^ (random() * 70 - 35))::real::text, ',') || ']')::vector AS v
	FROM generate_series(1, 20000) i GROUP BY i % 200) t
WHERE vector_send(v) <> vector_send(v::text::vector);

-- dimensions of the column
CREATE TABLE t (v vector(3), w vector, a vector(2)[]);
INSERT INTO t VALUES ('[1,2,3]', '[1]', '{"[1,2]","[3,4]"}');
INSERT INTO t VALUES (NULL, '[1,2]', '{NULL}');
INSERT INTO t VALUES ('[1,2]', NULL, NULL);
INSERT INTO t VALUES ('[1,2,3,4]'::vector, NULL, NULL);
INSERT INTO t VALUES (NULL, NULL, '{"[1]"}');
UPDATE t SET v = w WHERE w = '[1]';
SELECT * FROM t;
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;
ALTER TABLE t ALTER w TYPE vector(1);
DELETE FROM t WHERE v IS NULL;
ALTER TABLE t ALTER w TYPE vector(1);
DROP TABLE t;

-- the largest vector, stored out of line
CREATE TABLE t (v vector(16000));
INSERT INTO t SELECT ('[' || string_agg(i::text, ',' ORDER BY i) || ']')::vector FROM generate_series(1, 16000) i;
SELECT vector_dims(v), subvector(v, 15998, 3), length(v::text), pg_column_size(v) FROM t;
DROP TABLE t;
