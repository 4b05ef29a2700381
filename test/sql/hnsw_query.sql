-- Claims that a query gives the same answer with an hnsw index as without, in
-- whatever shape it is asked.  The search looks at many more rows than it must
-- (hnsw.ef_search), so that no difference is the approximation's.
SET vdb.enable_exact_scan = off;

CREATE FUNCTION pseudorandom(i int, dims int) RETURNS vector LANGUAGE sql IMMUTABLE AS
$$
SELECT array_agg(x - floor(x))::vector
FROM generate_series(1, dims) j, LATERAL (SELECT sin(i * 12.9898 + j * 78.233) * 43758.5453 AS x) s
$$;
CREATE FUNCTION question() RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT '[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]'::vector $$;
CREATE FUNCTION stable_question() RETURNS vector LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN question(); END $$;

CREATE TABLE kind (id int PRIMARY KEY, name text, v vector(8));
INSERT INTO kind SELECT i, 'kind ' || i, pseudorandom(-i, 8) FROM generate_series(1, 50) i;
CREATE TABLE item (id int PRIMARY KEY, kind int, v vector(8));
INSERT INTO item SELECT i, i % 50 + 1, pseudorandom(i, 8) FROM generate_series(1, 3000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
VACUUM ANALYZE kind, item;
SET hnsw.ef_search = 200;

CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    exact text;
    found text;
    plan text := '';
    line text;
BEGIN
    SET LOCAL enable_indexscan = off;
    EXECUTE 'SELECT array_agg(q)::text FROM (' || query || ') q' INTO exact;
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_sort = off;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        plan := plan || line;
    END LOOP;
    EXECUTE 'SELECT array_agg(q)::text FROM (' || query || ') q' INTO found;
    RESET enable_seqscan;
    RESET enable_bitmapscan;
    RESET enable_sort;
    IF found IS DISTINCT FROM exact THEN
        RETURN format(E'%s\nbut exactly %s', found, exact);
    END IF;
    RETURN CASE WHEN plan ~ 'Index Scan using \w*_v(_idx)? ' THEN 'same' ELSE 'same, without the index' END;
END
$$;

-- LIMIT below, at and above hnsw.ef_search, up to all rows; OFFSET

SELECT n, compare(format('SELECT id FROM item ORDER BY v <-> question() LIMIT %s', n))
FROM unnest(ARRAY[0, 1, 10, 199, 200, 201, 500, 2999, 3000, 10000]) n;
SELECT n, compare(format('SELECT id FROM item ORDER BY v <-> question() LIMIT 10 OFFSET %s', n))
FROM unnest(ARRAY[0, 10, 195, 1000, 2995, 3000]) n;
SELECT compare('SELECT id FROM item ORDER BY v <-> question()');
SELECT compare('SELECT id FROM item ORDER BY v <-> question() FETCH FIRST 10 ROWS WITH TIES');
SELECT compare('SELECT id FROM item ORDER BY v <-> question() LIMIT (SELECT 10)');

-- the question

SELECT compare('SELECT id FROM item ORDER BY question() <-> v LIMIT 10');
SELECT compare('SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> stable_question() LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> (SELECT v FROM kind WHERE id = 3) LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> (SELECT avg(v) FROM kind) LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> ARRAY[.1,.2,.3,.4,.5,.6,.7,.8]::vector LIMIT 10');

SELECT count(*) FROM (SELECT id FROM item ORDER BY v <-> NULL LIMIT 10) s;

-- conditions: of any selectivity, on the distance itself, on no row

SELECT compare('SELECT id FROM item WHERE kind <= 25 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE kind = 7 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE kind = 7 ORDER BY v <-> question() LIMIT 100');
SELECT compare('SELECT id FROM item WHERE id = 777 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE kind > 50 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question()');
SELECT compare('SELECT id FROM item WHERE v <-> question() < 0 ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE v <-> question() BETWEEN 0.6 AND 0.7 ORDER BY v <-> question() LIMIT 10');

-- joins

SELECT compare('SELECT i.id, k.name FROM item i JOIN kind k ON k.id = i.kind ORDER BY i.v <-> question() LIMIT 10');
SELECT compare('SELECT i.id FROM item i JOIN kind k ON k.id = i.kind WHERE k.name LIKE ''%7'' ORDER BY i.v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item i WHERE EXISTS (SELECT FROM kind k WHERE k.id = i.kind AND k.name LIKE ''%7'') ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item i WHERE NOT EXISTS (SELECT FROM kind k WHERE k.id = i.kind AND k.name LIKE ''%7'') ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id FROM item WHERE kind NOT IN (SELECT id FROM kind WHERE name LIKE ''%7'') ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT k.id, n.id FROM kind k, LATERAL (SELECT id FROM item i ORDER BY i.v <-> k.v LIMIT 3) n');
SELECT compare('SELECT k.id, n.id FROM kind k LEFT JOIN LATERAL (SELECT id FROM item i WHERE i.kind = k.id ORDER BY i.v <-> k.v LIMIT 2) n ON true');
SELECT compare('SELECT k.id, (SELECT id FROM item i ORDER BY i.v <-> k.v LIMIT 1) FROM kind k');
SELECT compare('SELECT a.id, n.id FROM (SELECT * FROM item ORDER BY v <-> question() LIMIT 5) a, LATERAL (SELECT id FROM item b WHERE b.id <> a.id ORDER BY b.v <-> a.v LIMIT 2) n');

-- subqueries, unions, aggregates, windows

SELECT compare('SELECT * FROM (SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 50) s WHERE d > 0.5');
SELECT compare('SELECT id FROM (SELECT id FROM item ORDER BY v <-> question() OFFSET 0) s WHERE id % 2 = 0 LIMIT 10');
SELECT compare('(SELECT id FROM item ORDER BY v <-> question() LIMIT 3) UNION ALL (SELECT id FROM item ORDER BY v <-> (SELECT v FROM kind WHERE id = 3) LIMIT 3)');
SELECT compare('WITH n AS MATERIALIZED (SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 20) SELECT id FROM n WHERE id % 2 = 0 ORDER BY d');
SELECT compare('SELECT min(v <-> question()) FROM item');
SELECT compare('SELECT min(v <-> question()), max(v <-> question()) FROM item');
SELECT compare('SELECT kind, min(d) FROM (SELECT kind, v <-> question() AS d FROM item ORDER BY d LIMIT 100) s GROUP BY kind ORDER BY 2 LIMIT 5');
SELECT compare('SELECT DISTINCT ON (kind) kind, id FROM item ORDER BY kind, v <-> question()');
SELECT compare('SELECT id, rank() OVER (ORDER BY v <-> question()) FROM item ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id, count(*) OVER () FROM item ORDER BY v <-> question() LIMIT 10');
SELECT compare('SELECT id, rank() OVER (ORDER BY v <-> question()) FROM item ORDER BY id LIMIT 10');
SELECT compare('SELECT * FROM (SELECT id, row_number() OVER (ORDER BY v <-> question()) AS n FROM item) s WHERE n <= 10');

-- partitions, merged in order

CREATE TABLE part (id int, v vector(8)) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 2);
CREATE INDEX ON part USING hnsw (v vector_l2_ops);
INSERT INTO part SELECT id, v FROM item;
ANALYZE part;
SELECT n, compare(format('SELECT id FROM part ORDER BY v <-> question() LIMIT %s', n))
FROM unnest(ARRAY[10, 500, 3000]) n;
SELECT compare('SELECT id FROM part WHERE id % 100 = 7 ORDER BY v <-> question() LIMIT 20');
SELECT compare('SELECT id FROM (SELECT id, v FROM part_0 UNION ALL SELECT id, v FROM part_2) u ORDER BY v <-> question() LIMIT 300');
DROP TABLE part;

-- orders that are not the index's

SELECT compare('SELECT id FROM item ORDER BY v <-> question() DESC LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> question() NULLS FIRST LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <=> question() LIMIT 10');
SELECT compare('SELECT id FROM item ORDER BY v <-> question(), v <-> (SELECT v FROM kind WHERE id = 3) LIMIT 10');

-- A merge join goes back to where equal distances began, which a scan cannot.

SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT compare($$SELECT a.id, b.id FROM (SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 100) a
    JOIN (SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 200) b USING (d) ORDER BY d, 1, 2$$);
RESET enable_hashjoin;
RESET enable_nestloop;

-- Equal distances: each row once, in whatever order.  Where there are many, whole
-- groups may turn up after farther rows; relaxed_order returns them nevertheless.

CREATE TABLE equal (id int, v vector(2));
INSERT INTO equal SELECT i, '[1,2]' FROM generate_series(1, 2000) i;
CREATE INDEX equal_v ON equal USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SELECT n, (SELECT count(DISTINCT id) FROM (SELECT id FROM equal ORDER BY v <-> '[0,0]' LIMIT n) s)
FROM unnest(ARRAY[1, 200, 500, 2000, 3000]) n;
TRUNCATE equal;
INSERT INTO equal SELECT i, ARRAY[i % 10, 0] FROM generate_series(1, 2000) i;
REINDEX INDEX equal_v;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(DISTINCT id) FROM (SELECT id FROM equal ORDER BY v <-> '[0,0]' LIMIT 2000) s;
RESET hnsw.iterative_scan;
RESET enable_seqscan;
DROP TABLE equal;

-- Prepared: the same plan for each value, among them those of other types and
-- null.

SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE FUNCTION answer(question text, number text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    ids int[];
    id int;
BEGIN
    FOR id IN EXECUTE format('EXECUTE nearest (%s, %s)', question, number) LOOP
        ids := ids || id;
    END LOOP;
    RETURN ids;
END
$$;
PREPARE nearest (vector, bigint) AS SELECT id FROM item ORDER BY v <-> $1 LIMIT $2;
EXPLAIN (COSTS OFF) EXECUTE nearest (question(), 3);
SELECT answer('question()', '3') AS "vector", answer($$'[.1,.2,.3,.4,.5,.6,.7,.8]'$$, '3') AS "unknown",
    answer('ARRAY[.1,.2,.3,.4,.5,.6,.7,.8]', '3') AS "array";
EXECUTE nearest ('[.1,.2,.3,.4,.5,.6,.7,.8]'::text::vector, 3);
EXECUTE nearest ('[1,2]', 3);
SELECT cardinality(answer('NULL', '3')::int[]) AS rows;
SELECT cardinality(answer('question()', 'NULL')::int[]) AS rows;
EXECUTE nearest (question(), 0);
EXECUTE nearest (question(), -1);
DEALLOCATE nearest;
PREPARE nearest (text, bigint) AS SELECT id FROM item ORDER BY v <-> $1::vector LIMIT $2;
SELECT answer($$'[.1,.2,.3,.4,.5,.6,.7,.8]'$$, '3') AS "text";
EXECUTE nearest ('one', 3);
DEALLOCATE nearest;
PREPARE nearest (real[], bigint) AS SELECT id FROM item ORDER BY v <-> $1::vector LIMIT $2;
SELECT answer('ARRAY[.1,.2,.3,.4,.5,.6,.7,.8]', '3') AS "real[]";
DEALLOCATE nearest;
PREPARE nearest AS SELECT id FROM item ORDER BY v <-> $1 LIMIT $2;
SELECT name, parameter_types FROM pg_prepared_statements WHERE name = 'nearest';
DEALLOCATE nearest;
RESET plan_cache_mode;

-- Dimensions are checked by either plan.

SELECT id FROM item ORDER BY v <-> '[1,2]' LIMIT 1;
RESET enable_seqscan;
RESET enable_sort;
SET enable_indexscan = off;
SELECT id FROM item ORDER BY v <-> '[1,2]' LIMIT 1;
RESET enable_indexscan;

-- A scan that may not go on ends after hnsw.ef_search rows of the index.

SET enable_seqscan = off;
SET hnsw.ef_search = 40;
SET hnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT id FROM item ORDER BY v <-> question() LIMIT 100) s;
SELECT count(*) < 10 AS "less than all" FROM (SELECT id FROM item WHERE kind = 7 ORDER BY v <-> question() LIMIT 10) s;
RESET hnsw.iterative_scan;
SELECT count(*) FROM (SELECT id FROM item ORDER BY v <-> question() LIMIT 100) s;
SELECT count(*) FROM (SELECT id FROM item WHERE kind = 7 ORDER BY v <-> question() LIMIT 10) s;

-- One that may ends at the user's limits, even if no row ever passes.

SET enable_sort = off;
SET hnsw.max_scan_tuples = 300;
SELECT count(*) BETWEEN 300 AND 2000 AS limited FROM (SELECT id FROM item ORDER BY v <-> question()) s;
SELECT count(*) FROM (SELECT id FROM item WHERE v <-> question() < 0 ORDER BY v <-> question() LIMIT 1) s;
RESET ALL;

DROP TABLE item, kind;
DROP FUNCTION pseudorandom, question, stable_question, compare, answer;
