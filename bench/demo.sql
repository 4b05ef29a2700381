-- What `make demo` shows, once the table words is loaded.  Run by demo.sh with
-- psql; it stops at the first error or at the first claim that does not hold.

\set QUIET on
\set ON_ERROR_STOP on
\pset border 1
\pset footer off
SET client_min_messages = warning;

-- Figures worth a line in the table at the end.
CREATE TEMP TABLE figures (nr serial, what text, figure text);

\echo
\echo 'An index for cosine distance'
\echo '----------------------------'
SELECT clock_timestamp() AS begun \gset
\set ECHO queries
CREATE INDEX words_embedding_idx ON words USING hnsw (embedding vector_cosine_ops);
\set ECHO none
INSERT INTO figures (what, figure)
VALUES
    ('rows', (SELECT to_char(count(*), 'FM999,999') FROM words)),
    ('table', (SELECT pg_size_pretty(pg_table_size('words')))),
    ('index', (SELECT pg_size_pretty(pg_relation_size('words_embedding_idx')))),
    ('index build', to_char(extract(epoch FROM clock_timestamp() - :'begun'), 'FM990.00 "s"'));

\echo
\echo 'The words nearest to "king"'
\echo '---------------------------'
\set ECHO queries
SELECT word, round((embedding <=> (SELECT embedding FROM words WHERE word = 'king'))::numeric, 3) AS distance
FROM words
ORDER BY embedding <=> (SELECT embedding FROM words WHERE word = 'king')
LIMIT 6;
EXPLAIN (COSTS OFF)
SELECT word FROM words
ORDER BY embedding <=> (SELECT embedding FROM words WHERE word = 'king')
LIMIT 6;
\set ECHO none

\echo 'Some more, and sums of vectors'
\echo '------------------------------'
CREATE TEMP TABLE questions AS
SELECT word AS question, embedding FROM words
WHERE word IN ('paris', 'physics', 'guitar', 'monday')
UNION ALL
SELECT 'king - man + woman', k.embedding - m.embedding + w.embedding
FROM words k, words m, words w
WHERE k.word = 'king' AND m.word = 'man' AND w.word = 'woman'
UNION ALL
SELECT 'paris - france + italy', p.embedding - f.embedding + i.embedding
FROM words p, words f, words i
WHERE p.word = 'paris' AND f.word = 'france' AND i.word = 'italy';

SELECT question, string_agg(word, ', ' ORDER BY distance) AS "nearest words"
FROM questions q
CROSS JOIN LATERAL (
    SELECT word, embedding <=> q.embedding AS distance
    FROM words
    ORDER BY embedding <=> q.embedding
    LIMIT 7) AS nearest
WHERE word <> ALL (string_to_array(question, ' '))
GROUP BY question
ORDER BY question LIKE '% %', question;

\echo 'How many of the ten nearest does the index find, and how fast?'
\echo '(200 questions that are no rows of the table: sums of two words)'
\echo '---------------------------------------------------------------'
CREATE TEMP TABLE sample AS
SELECT a.word || ' + ' || b.word AS question, a.embedding + b.embedding AS embedding
FROM (SELECT *, row_number() OVER (ORDER BY md5(word)) AS nr FROM words) a
JOIN (SELECT *, row_number() OVER (ORDER BY md5(word) DESC) AS nr FROM words) b USING (nr)
WHERE nr <= 200;
CREATE TEMP TABLE answers (method text, question text, words text[], ms float8);

-- Answers all questions of the sample, each as a statement of its own, so that
-- the settings of the moment decide on the plan.
CREATE FUNCTION pg_temp.answer_as(method text) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    question record;
    begun timestamptz;
    found text[];
BEGIN
    FOR question IN SELECT * FROM sample LOOP
        begun := clock_timestamp();
        EXECUTE 'SELECT array_agg(word) FROM
                 (SELECT word FROM words ORDER BY embedding <=> $1 LIMIT 10) AS nearest'
            INTO found USING question.embedding;
        INSERT INTO answers
        VALUES (method, question.question, found,
                extract(epoch FROM clock_timestamp() - begun) * 1000);
    END LOOP;
END
$$;

SET enable_indexscan = off;
SELECT FROM pg_temp.answer_as('exact, no index') \g /dev/null
SET enable_indexscan = on;
SET enable_seqscan = off;
SET hnsw.ef_search = 10;
SELECT FROM pg_temp.answer_as('hnsw, ef_search  10') \g /dev/null
SET hnsw.ef_search = 40;
SELECT FROM pg_temp.answer_as('hnsw, ef_search  40') \g /dev/null
SET hnsw.ef_search = 100;
SELECT FROM pg_temp.answer_as('hnsw, ef_search 100') \g /dev/null
RESET hnsw.ef_search;
RESET enable_seqscan;

CREATE TEMP VIEW methods AS
SELECT a.method,
    avg((SELECT count(*) FROM unnest(a.words) AS w WHERE w = ANY (e.words)) / 10.0) AS recall,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY a.ms)::numeric AS median,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY a.ms)::numeric AS p95
FROM answers a JOIN answers e ON a.question = e.question AND e.method LIKE 'exact%'
GROUP BY a.method;

SELECT method, round(recall, 4) AS "recall@10",
    round(median, 3) AS "median ms", round(p95, 3) AS "95% within ms"
FROM methods ORDER BY method;
INSERT INTO figures (what, figure)
SELECT 'recall@10 at default settings', round(recall, 4)::text FROM methods WHERE method LIKE '% 40'
UNION ALL
SELECT 'median time of a query', round(median, 3) || ' ms' FROM methods WHERE method LIKE '% 40'
UNION ALL
SELECT 'without the index', 'about ' || round(e.median / h.median, -1) || ' times that'
FROM methods h, methods e WHERE h.method LIKE '% 40' AND e.method LIKE 'exact%';

\echo 'A row is found as soon as it is inserted'
\echo '-----------------------------------------'
SELECT k.embedding + q.embedding AS between
FROM words k, words q WHERE k.word = 'king' AND q.word = 'queen' \gset

PREPARE nearest_three AS
SELECT string_agg(word, ', ') AS found
FROM (SELECT word FROM words ORDER BY embedding <=> :'between' LIMIT 3) AS nearest;

EXECUTE nearest_three \gset before_
INSERT INTO words VALUES ('(new) between king and queen', :'between');
EXECUTE nearest_three \gset inserted_
DELETE FROM words WHERE word LIKE '(new)%';
EXECUTE nearest_three \gset deleted_
SELECT * FROM (VALUES
    ('before', :'before_found'),
    ('after INSERT', :'inserted_found'),
    ('after DELETE', :'deleted_found')) AS live (moment, "nearest to king + queen");

\echo 'In short'
\echo '--------'
\pset tuples_only on
SELECT what, figure FROM figures ORDER BY nr;
\pset tuples_only off

-- A demo that shows the wrong thing must not look like a success.
DO
$$
BEGIN
    ASSERT (SELECT count(*) FROM answers) = 800, 'not every question was answered';
    ASSERT (SELECT min(recall) FROM methods WHERE method ~ '(40|100)$') > 0.9, 'recall is below 0.9';
END
$$;
SELECT (:'inserted_found' LIKE '(new)%' AND :'deleted_found' = :'before_found') AS live \gset
\if :live
\else
\echo 'the index did not follow an insert or a delete'
SELECT 1 / 0 AS failed;
\endif
