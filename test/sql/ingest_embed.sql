-- Claim: the built-in embedder gives the same vectors everywhere, of length 1, near each other for
-- texts that share words or parts of words.

-- These answers never change: embeddings are stored.
SELECT t, vdb.hash_embed(t, 8) FROM unnest(ARRAY['', '!', 'a', 'ab', 'The quick brown fox', 'café ÀÉ 漢字😀']) t;
SELECT md5(vector_send(vdb.hash_embed(repeat('lorem ipsum dolor sit amet ', 100), 16000)));

-- length 1, of as many dimensions as asked for
SELECT d, vector_dims(e), abs(vector_norm(e) - 1) < 1e-6 AS unit
FROM unnest(ARRAY[1, 2, 3, 100, 16000]) d, LATERAL (SELECT vdb.hash_embed('some words and 1 number', d) AS e) s;

-- never zero, however features cancel: an index by the cosine distance holds every text
SELECT count(*), min(vector_norm(vdb.hash_embed(i::text, 1))), min(vector_norm(vdb.hash_embed(i::text, 2))) > 0.9 AS two
FROM generate_series(1, 1000) i;
SELECT vdb.hash_embed('', 4) = vdb.hash_embed(E' \t.,;', 4) AS without_words;

-- case of ASCII letters, and what stands between words, make no difference; all else does
SELECT vdb.hash_embed('Hello, WORLD', 64) = vdb.hash_embed('hello world!', 64) AS same,
	vdb.hash_embed('É', 64) = vdb.hash_embed('é', 64) AS other_case,
	vdb.hash_embed('hello world', 64) = vdb.hash_embed('world hello', 64) AS other_order,
	vdb.hash_embed('ab', 64) = vdb.hash_embed('a b', 64) AS other_words,
	vdb.hash_embed('word', 64) = vdb.hash_embed('word word', 64) AS twice;

-- no locale has a say
SELECT vdb.hash_embed('ISTANBUL' COLLATE "C", 64) = vdb.hash_embed('istanbul', 64) AS same;

-- who is nearest to whom
CREATE TABLE texts (t text, e vector(256));
INSERT INTO texts SELECT t, vdb.hash_embed(t, 256) FROM unnest(ARRAY[
	'how to reset a forgotten password', 'resetting my password', 'delivery of orders to other countries',
	'when will my order be delivered', 'cancelling a subscription', 'the weather in spring']) t;
SELECT q, (SELECT t FROM texts ORDER BY e <=> vdb.hash_embed(q, 256), t LIMIT 1)
FROM unnest(ARRAY['password reset', 'has my order been delivered?', 'cancel subscriptions', 'spring weather']) q;
SELECT round((e <=> vdb.hash_embed('how to reset a forgotten password', 256))::numeric, 2) AS distance, t FROM texts ORDER BY 1, 2;
CREATE INDEX ON texts USING hnsw (e vector_cosine_ops);
INSERT INTO texts SELECT '', vdb.hash_embed('', 256);
SELECT live FROM vdb.check_index('texts_e_idx', true);
DROP TABLE texts;

-- arrays keep their shape and their nulls
SELECT vdb.hash_embed(ARRAY['a', NULL, 'b'], 2), vdb.hash_embed('{}'::text[], 2), vdb.hash_embed('[0:1][1:1]={{a},{b}}'::text[], 2);
SELECT (vdb.hash_embed(ARRAY['x', 'some words'], 32))[2] = vdb.hash_embed('some words', 32) AS same;
SELECT vdb.hash_embed(NULL, 2) IS NULL AS content, vdb.hash_embed('a', NULL) IS NULL AS dims, vdb.hash_embed(NULL::text[], 2) IS NULL AS contents;

-- limits
SELECT vdb.hash_embed('a', 0);
SELECT vdb.hash_embed('a', -1);
SELECT vdb.hash_embed('a', 16001);
SELECT vdb.hash_embed(ARRAY['a'], 16001);
SELECT vdb.hash_embed(array_fill(NULL::text, ARRAY[10]), 0);
SELECT vdb.hash_embed(array_fill('a'::text, ARRAY[20000]), 16000);

-- long texts can be cancelled
SET statement_timeout = '100ms';
SELECT vdb.hash_embed(repeat('lorem ipsum ', 4000000), 100);
RESET statement_timeout;

-- for indexes on expressions, and parallel plans
SELECT provolatile, proisstrict, proparallel FROM pg_proc WHERE proname = 'hash_embed';
