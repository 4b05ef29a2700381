-- Claims that the index of a partitioned table is an index of each partition,
-- whichever way it came there, and that a query over all merges their orders.

\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set ECHO none
\i :kinds
\set ECHO all

CREATE TABLE p (id int, v vector(64)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (101);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (101) TO (201);
INSERT INTO p SELECT i, life.numbers(i)::vector FROM generate_series(1, 200) i;
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops) WITH (m = 8);
CALL life.expect('p1_v_idx', 100);
CALL life.expect('p2_v_idx', 100);
SELECT relname, reloptions FROM pg_class WHERE relname ~ '^p\d?_v' ORDER BY 1;

-- all partitions in one order

CREATE FUNCTION over_all(OUT rows bigint, OUT differences bigint) LANGUAGE sql AS
$$
    SELECT max(c.rows), sum(c.differences)
    FROM generate_series(1001, 1003) n,
        LATERAL life.compare('p', 'p2_v_idx', 'v', 'true', '<->', life.value('vector_l2', n)) c
$$;
SELECT * FROM over_all();
SET enable_seqscan = off;
SET enable_sort = off;
SET plan_cache_mode = force_generic_plan;
PREPARE near_all AS SELECT id FROM p ORDER BY v <-> $1 LIMIT 3;
PREPARE near_few AS SELECT id FROM p WHERE id < 50 ORDER BY v <-> $1 LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE near_all(NULL);
EXPLAIN (COSTS OFF) EXECUTE near_few(NULL);
DEALLOCATE ALL;
RESET plan_cache_mode;
RESET enable_sort;
RESET enable_seqscan;

-- a new partition gets an index, one attached gets one or brings its own

CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (201) TO (251);
CREATE TABLE p4 (id int, v vector(64));
INSERT INTO p4 SELECT i, life.numbers(i)::vector FROM generate_series(251, 300) i;
ALTER TABLE p ATTACH PARTITION p4 FOR VALUES FROM (251) TO (301);
CREATE TABLE p5 (LIKE p);
INSERT INTO p5 SELECT i, life.numbers(i)::vector FROM generate_series(301, 350) i;
CREATE INDEX p5_own ON p5 USING hnsw (v vector_l2_ops) WITH (m = 4);
CREATE INDEX p5_other ON p5 USING hnsw (v vector_cosine_ops);
ALTER TABLE p ATTACH PARTITION p5 FOR VALUES FROM (301) TO (351);
SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'p_v'::regclass ORDER BY 1;
INSERT INTO p SELECT i, life.numbers(i)::vector FROM generate_series(201, 250) i;
CALL life.expect('p3_v_idx', 50);
CALL life.expect('p4_v_idx', 50);
CALL life.expect('p5_own', 50);
CALL life.expect('p5_other', 50);
SELECT * FROM over_all();

-- rows change their partition

UPDATE p SET id = id + 100 WHERE id BETWEEN 151 AND 170;
DELETE FROM p WHERE id % 10 = 0;
CALL life.expect('p2_v_idx', 72);
CALL life.expect('p4_v_idx', 63);
SELECT * FROM over_all();
VACUUM (INDEX_CLEANUP ON) p;
CALL life.expect('p2_v_idx', 72);
CALL life.expect('p4_v_idx', 63);
SELECT * FROM over_all();

-- partition by partition, or all at once

REINDEX INDEX p3_v_idx;
REINDEX TABLE p4;
REINDEX INDEX p_v;
REINDEX INDEX CONCURRENTLY p2_v_idx;
REINDEX TABLE CONCURRENTLY p;
CALL life.expect('p1_v_idx', 90);
CALL life.expect('p2_v_idx', 72);
CALL life.expect('p5_own', 45);
SELECT * FROM over_all();
TRUNCATE p3;
CALL life.expect('p3_v_idx', 0);
SELECT * FROM over_all();

-- a partition leaves with its index

ALTER TABLE p DETACH PARTITION p4;
CALL life.expect('p4_v_idx', 63);
INSERT INTO p4 SELECT i, life.numbers(i)::vector FROM generate_series(401, 410) i;
CALL life.expect('p4_v_idx', 73);
ALTER TABLE p DETACH PARTITION p5 CONCURRENTLY;
CALL life.expect('p5_own', 45);
DROP TABLE p3;
SELECT * FROM over_all();

-- an index made for the parent alone becomes valid when each partition's is attached

DROP INDEX p_v;
CREATE INDEX p_ip ON ONLY p USING hnsw (v vector_ip_ops);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_ip'::regclass;
CREATE INDEX CONCURRENTLY p1_ip ON p1 USING hnsw (v vector_ip_ops);
CREATE INDEX p2_l2 ON p2 USING hnsw (v vector_l2_ops);
CREATE INDEX p2_ip ON p2 USING hnsw (v vector_ip_ops);
ALTER INDEX p_ip ATTACH PARTITION p1_ip;
ALTER INDEX p_ip ATTACH PARTITION p2_l2;
ALTER INDEX p_ip ATTACH PARTITION p2_ip;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_ip'::regclass;
CALL life.expect('p1_ip', 90);
CALL life.expect('p2_ip', 72);
CALL life.expect('p2_l2', 72);
SELECT max(c.rows), sum(c.differences)
FROM generate_series(1001, 1003) n,
    LATERAL life.compare('p', 'p2_ip', 'v', 'true', '<#>', life.value('vector_ip', n)) c;
DROP INDEX p1_ip;

-- deeper

CREATE TABLE p6 PARTITION OF p FOR VALUES FROM (1001) TO (2001) PARTITION BY HASH (id);
CREATE TABLE p61 PARTITION OF p6 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p62 PARTITION OF p6 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO p SELECT i, life.numbers(i)::vector FROM generate_series(1001, 1100) i;
SELECT count(*) AS indexes FROM pg_partition_tree('p_ip') WHERE isleaf;
SELECT sum(live) FROM pg_partition_tree('p_ip') t, LATERAL vdb.check_index(t.relid, true) WHERE isleaf;
SELECT max(c.rows), sum(c.differences)
FROM generate_series(1001, 1003) n,
    LATERAL life.compare('p', 'p62_v_idx', 'v', 'true', '<#>', life.value('vector_ip', n)) c;

-- inheritance: each table has its own

CREATE TABLE a (id int, v vector(64));
CREATE TABLE b () INHERITS (a);
INSERT INTO a SELECT i, life.numbers(i)::vector FROM generate_series(1, 50) i;
INSERT INTO b SELECT i, life.numbers(i)::vector FROM generate_series(51, 100) i;
CREATE INDEX a_v ON a USING hnsw (v vector_l2_ops);
CREATE INDEX b_v ON b USING hnsw (v vector_l2_ops);
SELECT * FROM life.compare('a', 'b_v', 'v', 'true', '<->', life.value('vector_l2', 1001));

DROP TABLE b, a, p, p4, p5;
DROP FUNCTION over_all;
SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
