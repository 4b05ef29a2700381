-- Claims that the planner takes the index for every shape of query that it can
-- answer, and for no other.  hnsw_plan_size says from which size of table on,
-- hnsw_query that the answers are right.

-- All but ten rows have no vector, which the planner does not know.
CREATE TABLE kind (id int PRIMARY KEY, name text, v vector(3));
INSERT INTO kind SELECT i, 'kind ' || i, ARRAY[i, i, 1] FROM generate_series(0, 99) i;
CREATE TABLE item (id int PRIMARY KEY, kind int NOT NULL, price float8, v vector(3));
INSERT INTO item SELECT i, i % 100, i, CASE WHEN i <= 10 THEN ARRAY[i, i, i]::vector END
FROM generate_series(1, 20000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
VACUUM ANALYZE kind, item;

-- A plan in short: how tables are scanned, and what sorts or merges.
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    line text;
    nodes text[];
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ '(Scan|Sort|Append|Gather)\y' AND line !~ '(Subquery|CTE) Scan|Sort Key' THEN
            nodes := nodes || substring(line FROM '([A-Z]\w+( \w+)*? on \w+|[A-Z].*)');
        END IF;
    END LOOP;
    RETURN array_to_string(nodes, ' < ');
END
$$;

CREATE FUNCTION question() RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT '[1,2,3]'::vector $$;
CREATE FUNCTION stable_question() RETURNS vector LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN '[1,2,3]'; END $$;
CREATE FUNCTION volatile_question() RETURNS vector LANGUAGE plpgsql VOLATILE AS
$$ BEGIN RETURN '[1,2,3]'; END $$;

-- the question: a value, on either side, computed once

SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY '[1,2,3]' <-> v LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '{1,2,3}'::real[]::vector LIMIT 10$$);
SELECT plan($$SELECT id, v <-> '[1,2,3]' AS distance FROM item ORDER BY distance LIMIT 10$$);
SELECT plan($$SELECT id, v <-> '[1,2,3]' AS distance FROM item ORDER BY 2 LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> question() LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> stable_question() LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> (SELECT v FROM kind WHERE id = 1) LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> (SELECT avg(v) FROM kind) LIMIT 10$$);

-- one that is dear to compute: once for the index or an exact scan, for each row for a sort

CREATE FUNCTION dear_question() RETURNS vector LANGUAGE plpgsql STABLE COST 1000000 AS
$$ BEGIN RETURN '[1,2,3]'; END $$;
CREATE TABLE few (id int, v vector(3));
INSERT INTO few SELECT i, ARRAY[i, i, i] FROM generate_series(1, 50) i;
CREATE INDEX few_v ON few USING hnsw (v vector_l2_ops);
ANALYZE few;
SELECT plan($$SELECT id FROM few ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM few ORDER BY v <-> dear_question() LIMIT 10$$);
SET vdb.enable_exact_scan = off;
SELECT plan($$SELECT id FROM few ORDER BY v <-> dear_question() LIMIT 10$$);
RESET vdb.enable_exact_scan;
DROP TABLE few;
DROP FUNCTION dear_question;

-- one that may be another for each row

SELECT plan($$SELECT id FROM item ORDER BY v <-> volatile_question() LIMIT 10$$);
SELECT plan($$SELECT i.id FROM item i, kind k WHERE k.id = 1 ORDER BY i.v <-> k.v LIMIT 10$$);

-- the order: the operator's own, ascending, with nulls last

SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' DESC LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' NULLS FIRST LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <=> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY l2_distance(v, '[1,2,3]') LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY 1 - (v <-> '[1,2,3]') DESC LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY (v <-> '[1,2,3]') + 0 LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]', v <-> '[3,2,1]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]', v <-> '[1,2,3]' LIMIT 10$$);

-- A second column in the order is sorted by within equal distances from
-- release 17 on; before, a server cannot use an index of this kind for it.

SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]', id LIMIT 10$$) =
    CASE WHEN current_setting('server_version_num')::int >= 170000
        THEN 'Incremental Sort < Index Scan using item_v on item'
        ELSE 'Incremental Sort < Custom Scan (VdbExactScan) on item < Seq Scan on item' END AS "as the release can";

-- conditions, joins, subqueries

SELECT plan($$SELECT id FROM item WHERE price < 10000 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item WHERE v <-> '[1,2,3]' < 5 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item WHERE id = 7 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT i.id, k.name FROM item i JOIN kind k ON k.id = i.kind ORDER BY i.v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item i WHERE NOT EXISTS (SELECT FROM kind k WHERE k.id = i.kind AND name = 'kind 7') ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT k.id, n.id FROM kind k, LATERAL (SELECT id FROM item i ORDER BY i.v <-> k.v LIMIT 3) n$$);
SELECT plan($$SELECT k.id, n.id FROM kind k LEFT JOIN LATERAL (SELECT id FROM item i WHERE price > 50 ORDER BY i.v <-> k.v LIMIT 3) n ON true$$);
SELECT plan($$SELECT (SELECT id FROM item i ORDER BY i.v <-> k.v LIMIT 1) FROM kind k$$);
SELECT plan($$SELECT id FROM kind WHERE id = ANY (ARRAY(SELECT kind FROM item ORDER BY v <-> '[1,2,3]' LIMIT 3))$$);
SELECT plan($$SELECT avg(price) FROM (SELECT price FROM item ORDER BY v <-> '[1,2,3]' LIMIT 10) s$$);
SELECT plan($$WITH n AS MATERIALIZED (SELECT id, v <-> '[1,2,3]' AS d FROM item ORDER BY d LIMIT 10) SELECT id FROM n WHERE d < 5$$);
SELECT plan($$SELECT id FROM (SELECT id, price FROM item ORDER BY v <-> '[1,2,3]' OFFSET 0) s WHERE price < 10000 LIMIT 10$$);
SELECT plan($$(SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 3) UNION ALL (SELECT id FROM item ORDER BY v <-> '[3,2,1]' LIMIT 3)$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 3 FOR UPDATE$$);
SELECT plan($$DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 3)$$);

-- all rows, in order or not

SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]'$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' OFFSET 10$$);
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT NULL$$);
SELECT plan($$SELECT id FROM item$$);
SELECT plan($$SELECT max(id) FROM item$$);
SELECT plan($$SELECT id FROM item WHERE v <-> '[1,2,3]' < 1$$);
SELECT plan($$SELECT count(*) FROM (SELECT id FROM item ORDER BY v <-> '[1,2,3]' OFFSET 0) s$$);
SELECT plan($$SELECT DISTINCT ON (kind) id FROM item ORDER BY kind, v <-> '[1,2,3]'$$);

-- the nearest one, though there is no LIMIT to see

SELECT plan($$SELECT min(v <-> '[1,2,3]') FROM item$$);
SELECT plan($$SELECT EXISTS (SELECT FROM (SELECT id FROM item ORDER BY v <-> '[1,2,3]' OFFSET 0) s)$$);

-- Told to, the planner uses the index for all rows too, but not without an
-- order, never for a bitmap, and never in place of the table.

SET enable_seqscan = off;
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]'$$);
SELECT plan($$SELECT v FROM item$$);
SELECT plan($$SELECT v FROM item WHERE v = '[1,2,3]'$$);
RESET enable_seqscan;
SET enable_indexscan = off;
SELECT plan($$SELECT v FROM item ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
RESET enable_indexscan;

-- a parallel worker may scan it, but several do not share one scan

SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SELECT plan($$SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id, (SELECT i.id FROM item i ORDER BY i.v <-> k.v LIMIT 1) FROM kind k$$);
RESET min_parallel_table_scan_size;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;

-- an index on a part of the table, and on an expression

DROP INDEX item_v;
CREATE INDEX item_part_v ON item USING hnsw (v vector_l2_ops) WHERE kind < 50;
SELECT plan($$SELECT id FROM item WHERE kind < 50 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item WHERE kind < 20 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item WHERE kind < 51 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
DROP INDEX item_part_v;

CREATE INDEX item_unit_v ON item USING hnsw ((l2_normalize(v)::vector(3)) vector_l2_ops);
SELECT plan($$SELECT id FROM item ORDER BY l2_normalize(v)::vector(3) <-> '[1,0,0]' LIMIT 10$$);
SELECT plan($$SELECT id FROM item ORDER BY l2_normalize(v) <-> '[1,0,0]' LIMIT 10$$);
DROP INDEX item_unit_v;

-- partitions and other unions are merged in order

CREATE TABLE part (id int, region text, v vector(3)) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF part FOR VALUES IN ('b');
CREATE INDEX ON part USING hnsw (v vector_l2_ops);
INSERT INTO part SELECT i, substr('ab', i % 2 + 1, 1), CASE WHEN i <= 10 THEN ARRAY[i, i, i]::vector END
FROM generate_series(1, 20000) i;
ANALYZE part;
SELECT plan($$SELECT id FROM part ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM part WHERE region = 'a' ORDER BY v <-> '[1,2,3]' LIMIT 10$$);
SELECT plan($$SELECT id FROM (SELECT id, v FROM part_a UNION ALL SELECT id, v FROM part_b) u ORDER BY v <-> '[1,2,3]' LIMIT 10$$);

DROP TABLE item, kind, part;
DROP FUNCTION plan, question, stable_question, volatile_question;
