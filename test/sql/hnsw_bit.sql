-- Indexes on bit: Hamming and Jaccard distance, exact and in order.
SET enable_seqscan = off;
SELECT setseed(0.5);

CREATE TABLE bits (id serial, b bit(100));
INSERT INTO bits (b)
SELECT string_agg((random() < 0.1 + g % 8 / 10.0)::int::text, '')::bit(100)
FROM generate_series(1, 400) g, generate_series(1, 100) GROUP BY g;
INSERT INTO bits (b) VALUES (NULL), (repeat('0', 100)::bit(100)), (repeat('1', 100)::bit(100));

CREATE INDEX bits_hamming ON bits USING hnsw (b bit_hamming_ops);
CREATE INDEX bits_jaccard ON bits USING hnsw (b bit_jaccard_ops);

-- Do the first rows of an index scan have the distances that they should have?
CREATE FUNCTION bits_agree(operator text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	query bit(100);
	by_index float8[];
	by_sort float8[];
	agreed bool := true;
BEGIN
	FOR query IN SELECT b FROM bits WHERE id % 20 = 2 LOOP
		EXECUTE format('SELECT array_agg(d) FROM (SELECT b %s $1 AS d FROM bits ORDER BY b %1$s $1 LIMIT 50) r', operator)
			INTO by_index USING query;
		EXECUTE format('SELECT (array_agg(d ORDER BY d))[1:50] FROM (SELECT b %s $1 AS d FROM bits WHERE b IS NOT NULL OFFSET 0) r', operator)
			INTO by_sort USING query;
		agreed := agreed AND by_index = by_sort;
	END LOOP;
	RETURN agreed;
END $$;

SET hnsw.ef_search = 400;
EXPLAIN (COSTS OFF) SELECT id FROM bits ORDER BY b <~> repeat('1', 100)::bit(100) LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM bits ORDER BY repeat('1', 100)::bit(100) <%> b LIMIT 3;
SELECT bits_agree('<~>'), bits_agree('<%>');
SELECT live FROM vdb.check_index('bits_hamming', true);
SELECT live FROM vdb.check_index('bits_jaccard', true);

-- after changes
DELETE FROM bits WHERE id % 3 = 0;
VACUUM bits;
INSERT INTO bits (b) SELECT b >> 3 FROM bits WHERE id % 3 = 1;
UPDATE bits SET b = ~b WHERE id % 5 = 0;
SELECT bits_agree('<~>'), bits_agree('<%>');
SELECT dangling_edges, unreachable FROM vdb.check_index('bits_hamming', true);
SELECT dangling_edges, unreachable FROM vdb.check_index('bits_jaccard', true);

-- a query that is null, or of another length
SELECT count(*) FROM (SELECT FROM bits ORDER BY b <~> NULL LIMIT 5) r;
SELECT id FROM bits ORDER BY b <~> B'101' LIMIT 1;
DROP TABLE bits;
DROP FUNCTION bits_agree;

-- the longest that an index takes, of which one fills a page
CREATE TABLE long_bits (b bit(64000));
INSERT INTO long_bits SELECT repeat(substr('0110010111010', g, 4), 16000)::bit(64000) FROM generate_series(1, 9) g;
CREATE INDEX ON long_bits USING hnsw (b bit_hamming_ops);
SELECT live FROM vdb.check_index('long_bits_b_idx', true);
SELECT b <~> repeat('0110', 16000)::bit(64000) AS d FROM long_bits ORDER BY d LIMIT 3;
DROP TABLE long_bits;

-- what cannot be indexed
CREATE TABLE other_bits (a bit(64001), b varbit(100), c bit varying, d bit);
CREATE INDEX ON other_bits USING hnsw (a bit_hamming_ops);
CREATE INDEX ON other_bits USING hnsw (b bit_hamming_ops);
CREATE INDEX ON other_bits USING hnsw (c bit_jaccard_ops);
CREATE INDEX ON other_bits USING hnsw ((c::bit(64)) bit_jaccard_ops);
CREATE INDEX ON other_bits USING hnsw (d bit_hamming_ops);
DROP TABLE other_bits;

-- an expression: binary quantisation, then the exact order of a few
CREATE TABLE words (id serial, v vector(16));
INSERT INTO words (v) SELECT array_agg(random() - 0.5)::vector FROM generate_series(1, 16 * 200) i GROUP BY i % 200;
CREATE INDEX ON words USING hnsw ((binary_quantize(v)::bit(16)) bit_hamming_ops);
EXPLAIN (COSTS OFF)
SELECT id FROM (
	SELECT id, v FROM words ORDER BY binary_quantize(v)::bit(16) <~> binary_quantize('[1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8]'::vector) LIMIT 40
) nearest ORDER BY v <=> '[1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8]' LIMIT 5;
SELECT count(*) FROM (
	SELECT id FROM words ORDER BY binary_quantize(v)::bit(16) <~> binary_quantize('[1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8]'::vector) LIMIT 200
) r;
SELECT live, attached FROM vdb.check_index('words_binary_quantize_idx', true);
DROP TABLE words;
