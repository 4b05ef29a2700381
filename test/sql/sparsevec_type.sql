-- Claim: sparse vectors are read and written as text, and sparsevec(n) holds n dimensions.

SELECT '{1:1.5,3:3.5}/5'::sparsevec;
SELECT ' { 1 :  1.5 ,  3:3.5 } / 5  '::sparsevec, E'{\t1\n:\r1\f}\x0b/1'::sparsevec;
SELECT '{}/5'::sparsevec, '{ }/1000000000'::sparsevec, '{1000000000:1}/1000000000'::sparsevec;
SELECT '{1:-1.5,2:+2.,3:.5,4:1e-5,5:1E5,6:1e+06,7:123456789}/7'::sparsevec;
SELECT '{+1:1,0002:2}/+3'::sparsevec;

-- in any order; zeros are not kept, whatever their index
SELECT '{3:3,1:1,2:2}/3'::sparsevec, '{1:0,2:1,3:-0}/3'::sparsevec, '{9:0,-9:0,9:0}/3'::sparsevec;
SELECT ('{' || string_agg(i || ':' || i % 2, ',') || '}/20000')::sparsevec = array_agg(i % 2 ORDER BY i)::sparsevec AS same
FROM generate_series(1, 20000) i;

-- the shortest text that reads back as the same number
SELECT '{1:0.30000001192092896,2:16777217,3:3.14159274101257324219}/3'::sparsevec;
SELECT '{1:3.4028235e38,2:-3.4028235e38,3:1.1754944e-38,4:1e-45,5:0x1.8p3}/5'::sparsevec;

-- text and back keeps every bit, in whatever order the text is
SELECT count(*) AS changed
FROM (SELECT ('{' || string_agg(i || ':' || ((random() - 0.5) * 10 ^ (random() * 70 - 35))::real, ',') || '}/9000')::sparsevec AS v
	FROM generate_series(1, 9000) i GROUP BY i % 90) t
WHERE sparsevec_send(v) <> sparsevec_send(v::text::sparsevec);
SELECT count(*) AS wrong
FROM (SELECT ('{' || string_agg(i || ':' || i, ',' ORDER BY random()) || '}/5000')::sparsevec AS v,
		('{' || string_agg(i || ':' || i, ',' ORDER BY i) || '}/5000')::sparsevec AS w
	FROM generate_series(1, 5000) i GROUP BY i % 50) t
WHERE v <> w;

-- dimensions of the column
CREATE TABLE t (v sparsevec(3), w sparsevec, a sparsevec(2)[]);
INSERT INTO t VALUES ('{1:1,3:3}/3', '{}/1', '{"{1:1}/2","{2:4}/2"}');
INSERT INTO t VALUES (NULL, '{1:1}/2', '{NULL}');
INSERT INTO t VALUES ('{1:1}/2', NULL, NULL);
INSERT INTO t VALUES ('{1:1}/4'::sparsevec, NULL, NULL);
INSERT INTO t VALUES (NULL, NULL, '{"{}/1"}');
UPDATE t SET v = w WHERE w = '{}/1';
SELECT * FROM t;
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;
ALTER TABLE t ALTER w TYPE sparsevec(1);
DELETE FROM t WHERE v IS NULL;
ALTER TABLE t ALTER w TYPE sparsevec(1);
DROP TABLE t;

-- the largest vector, stored out of line
CREATE TABLE t (v sparsevec(1000000000));
INSERT INTO t SELECT ('{' || string_agg(i * 62500 || ':' || i, ',') || '}/1000000000')::sparsevec FROM generate_series(1, 16000) i;
SELECT vector_dims(v), sparsevec_nnz(v), length(v::text), right(v::text, 40), pg_column_size(v) FROM t;
DROP TABLE t;
