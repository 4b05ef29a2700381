-- vdb.prewarm() reads every page of an inverted file that searches look at, and says
-- how many of which kind.
CREATE TABLE t (id int, v vector(32));
INSERT INTO t SELECT n, (SELECT array_agg(sin(n * d * 12.9898)) FROM generate_series(1, 32) d)::vector
	FROM generate_series(1, 3000) n;
CREATE INDEX t_pq ON t USING ivfpq (v vector_l2_ops, id) WITH (lists = 50);
CREATE INDEX t_heap ON t USING ivfpq (v vector_l2_ops) WITH (lists = 50, refine = heap);
CREATE INDEX t_flat ON t USING ivfflat (v vector_l2_ops) WITH (lists = 50);
SELECT kind, pages > 0 AS some, bytes = pages * current_setting('block_size')::int AS bytes FROM vdb.prewarm('t_pq');
SELECT kind, pages > 0 AS some FROM vdb.prewarm('t_flat');

-- rows without records

SELECT kind, pages > 0 AS some FROM vdb.prewarm('t_heap');

-- all but the metapage and the center

CREATE FUNCTION whole(index regclass) RETURNS boolean LANGUAGE sql AS
$$ SELECT sum(bytes) = pg_relation_size(index) - 2 * current_setting('block_size')::int FROM vdb.prewarm(index) $$;
SELECT whole('t_pq') AS pq, whole('t_heap') AS heap, whole('t_flat') AS flat;

-- what came later, too

INSERT INTO t SELECT id + 3000, v FROM t;
SELECT whole('t_pq') AS pq, whole('t_heap') AS heap, whole('t_flat') AS flat;

-- no rows, then the first one

CREATE TABLE nobody (v bit(8));
CREATE INDEX nobody_pq ON nobody USING ivfpq (v bit_hamming_ops);
CREATE INDEX nobody_flat ON nobody USING ivfflat (v bit_hamming_ops);
SELECT kind, pages > 0 AS some FROM vdb.prewarm('nobody_pq');
SELECT kind, pages > 0 AS some FROM vdb.prewarm('nobody_flat');
INSERT INTO nobody VALUES (B'10101010');
SELECT kind, pages > 0 AS some FROM vdb.prewarm('nobody_pq');
SELECT whole('nobody_pq') AS pq, whole('nobody_flat') AS flat;
DROP TABLE nobody;

-- a temporary table's pages are in buffers of the session

CREATE TEMP TABLE own AS SELECT * FROM t;
CREATE INDEX own_v ON own USING ivfpq (v vector_l2_ops);
SELECT whole('own_v');
DROP TABLE own;

-- a partitioned index, and a table that one may not read

CREATE TABLE parts (v vector(3)) PARTITION BY LIST (vector_dims(v));
CREATE INDEX parts_v ON parts USING ivfpq (v vector_l2_ops);
SELECT vdb.prewarm('parts_v');
DROP TABLE parts;
CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT vdb.prewarm('t_pq');
SELECT vdb.prewarm('t_flat');
RESET ROLE;
GRANT SELECT ON t TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT count(*) FROM vdb.prewarm('t_pq');
SELECT count(*) FROM vdb.prewarm('t_flat');
RESET ROLE;
DROP FUNCTION whole;
DROP TABLE t;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
DROP ROLE vdb_somebody;
