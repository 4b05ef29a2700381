-- Claims that an index scan returns the rows a sequential scan returns, in the
-- same order, for every distance and for rows that cannot be compared.

CREATE TABLE points (id int, v vector(3));
INSERT INTO points SELECT i, ARRAY[sin(i), cos(i * 3), sin(i * 7)]::vector FROM generate_series(1, 500) i;
INSERT INTO points VALUES (1001, NULL), (1002, '[0,0,0]'), (1003, '[2,0,0]'), (1004, '[2,0,0]');
ANALYZE points;

CREATE INDEX points_l2 ON points USING hnsw (v vector_l2_ops);
CREATE INDEX points_ip ON points USING hnsw (v vector_ip_ops);
CREATE INDEX points_cosine ON points USING hnsw (v vector_cosine_ops);
CREATE INDEX points_l1 ON points USING hnsw (v vector_l1_ops);

SET enable_sort = off;
SET enable_seqscan = off;
SET hnsw.ef_search = 400;

-- all four, the constant on either side

EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY v <-> '[1,2,3]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY v <#> '[1,2,3]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY '[1,2,3]' <=> v LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY '[1,2,3]' <+> v LIMIT 3;
SELECT id, round((v <-> '[1,2,3]')::numeric, 4) FROM points ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT id, round((v <#> '[1,2,3]')::numeric, 4) FROM points ORDER BY v <#> '[1,2,3]' LIMIT 5;
SELECT id, round((v <=> '[1,2,3]')::numeric, 4) FROM points ORDER BY '[1,2,3]' <=> v LIMIT 5;
SELECT id, round((v <+> '[1,2,3]')::numeric, 4) FROM points ORDER BY '[1,2,3]' <+> v LIMIT 5;

-- equal rows are both there

SELECT id FROM (SELECT id FROM points ORDER BY v <-> '[2,0,0]' LIMIT 2) s ORDER BY id;

-- the whole order, against the exact one

CREATE FUNCTION differing(operator text, question vector) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
    statement text := format('SELECT array_agg(d) FROM (SELECT v %s $1 AS d FROM points ORDER BY v %1$s $1 LIMIT 100) s', operator);
    exact float8[];
    found float8[];
BEGIN
    SET LOCAL enable_sort = on;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_indexscan = off;
    EXECUTE statement INTO exact USING question;
    SET LOCAL enable_sort = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_indexscan = on;
    EXECUTE statement INTO found USING question;
    RETURN (SELECT count(*) FROM unnest(exact, found) AS u (e, f) WHERE e IS DISTINCT FROM f);
END
$$;
SELECT o AS operator, sum(differing(o, q))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) o,
    unnest(ARRAY['[0.1,0.2,0.3]', '[-1,5,0]', '[0,0,1]', '[-0.5,0.5,-0.5]']::vector[]) q
GROUP BY o ORDER BY o;
DROP FUNCTION differing;

-- NULL is not indexed; nor is a zero vector where it has no angle to anything

SET hnsw.max_scan_tuples = 100000;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*), count(*) FILTER (WHERE v IS NULL) AS nulls, count(*) FILTER (WHERE id = 1002) AS zero
FROM (SELECT * FROM points ORDER BY v <-> '[0,0,0]') s;
SELECT count(*), count(*) FILTER (WHERE v IS NULL) AS nulls, count(*) FILTER (WHERE id = 1002) AS zero
FROM (SELECT * FROM points ORDER BY v <=> '[1,0,0]') s;

-- no direction, no question: any order will do

SELECT count(*) FROM (SELECT * FROM points ORDER BY v <=> '[0,0,0]' LIMIT 10) s;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> NULL LIMIT 10) s;

-- more rows than ef_search

SET hnsw.ef_search = 10;
SET hnsw.iterative_scan = strict_order;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> '[1,1,1]' LIMIT 100) s;
SET hnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> '[1,1,1]' LIMIT 100) s;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> '[1,1,1]' LIMIT 100) s;

-- a filter that few rows pass

SET hnsw.iterative_scan = strict_order;
SELECT count(*) FROM (SELECT * FROM points WHERE id % 50 = 0 ORDER BY v <-> '[1,1,1]' LIMIT 5) s;
SET hnsw.iterative_scan = off;
SELECT count(*) < 5 AS incomplete FROM (SELECT * FROM points WHERE id % 50 = 0 ORDER BY v <-> '[1,1,1]' LIMIT 5) s;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT * FROM points WHERE id % 50 = 0 ORDER BY v <-> '[1,1,1]' LIMIT 5) s;

-- limits of the iteration

SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 1;
SELECT count(*) < 504 AS incomplete FROM (SELECT * FROM points ORDER BY v <-> '[1,1,1]') s;
RESET hnsw.max_scan_tuples;

-- no row comes twice, however long the iteration

SELECT count(*) = count(DISTINCT id) AS once FROM (SELECT id FROM points ORDER BY v <-> '[1,1,1]') s;

-- a cursor goes on where it stopped

RESET hnsw.ef_search;
BEGIN;
DECLARE near CURSOR FOR SELECT id, round((v <-> '[2,0.1,0]')::numeric, 3) AS d FROM points ORDER BY v <-> '[2,0.1,0]';
MOVE 2 IN near;
FETCH 3 FROM near;
MOVE 100 IN near;
FETCH 1 FROM near;
COMMIT;

-- as the inner side of a join: another question for each outer row

SELECT q.id, n.id AS nearest
FROM points q CROSS JOIN LATERAL (
    SELECT id FROM points p WHERE p.id <> q.id ORDER BY p.v <-> q.v LIMIT 1) n
WHERE q.id IN (1, 2, 3, 1003) ORDER BY q.id;

-- an index on an expression, and on some rows

CREATE TABLE docs (id int, lang text, a real[]);
INSERT INTO docs SELECT i, CASE i % 2 WHEN 0 THEN 'de' ELSE 'en' END, ARRAY[i, i % 7] FROM generate_series(1, 100) i;
CREATE INDEX docs_a ON docs USING hnsw ((a::vector(2)) vector_l2_ops) WHERE lang = 'de';
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE lang = 'de' ORDER BY a::vector(2) <-> '[10.2,3]' LIMIT 3;
SELECT id FROM docs WHERE lang = 'de' ORDER BY a::vector(2) <-> '[10.2,3]' LIMIT 3;
SELECT recall, k, queries FROM vdb.recall('docs_a', 5, 20);
DROP TABLE docs;

-- an empty table

CREATE TABLE nobody (v vector(3));
CREATE INDEX nobody_v ON nobody USING hnsw (v vector_l2_ops);
SELECT * FROM nobody ORDER BY v <-> '[1,2,3]' LIMIT 1;
SELECT recall, queries FROM vdb.recall('nobody_v');
INSERT INTO nobody VALUES ('[1,2,3]');
SELECT * FROM nobody ORDER BY v <-> '[1,2,3]' LIMIT 1;
SELECT recall, queries FROM vdb.recall('nobody_v');
DROP TABLE nobody;

SELECT indexrelid::regclass, amvalidate(indclass[0]), (vdb.recall(indexrelid)).recall > 0.95 AS recall
FROM pg_index WHERE indrelid = 'points'::regclass ORDER BY 1;

DROP TABLE points;
