-- vdb.prewarm() reads every page of an index that searches look at, and says how
-- many of which kind.
CREATE TABLE t (id int, v vector(32));
INSERT INTO t SELECT n, (SELECT array_agg(sin(n * d * 12.9898)) FROM generate_series(1, 32) d)::vector
	FROM generate_series(1, 3000) n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
SELECT kind, pages > 0 AS some, bytes = pages * current_setting('block_size')::int AS bytes FROM vdb.prewarm('t_v');

-- all but the metapage and the center

SELECT sum(bytes) = pg_relation_size('t_v') - 2 * current_setting('block_size')::int AS whole FROM vdb.prewarm('t_v');

-- nothing to read

CREATE TABLE nobody (v bit(8));
CREATE INDEX nobody_v ON nobody USING hnsw (v bit_hamming_ops);
SELECT * FROM vdb.prewarm('nobody_v');
DROP TABLE nobody;

-- a temporary table's pages are in buffers of the session

CREATE TEMP TABLE own AS SELECT * FROM t;
CREATE INDEX own_v ON own USING hnsw (v vector_l2_ops);
SELECT sum(bytes) = pg_relation_size('own_v') - 2 * current_setting('block_size')::int AS whole FROM vdb.prewarm('own_v');
DROP TABLE own;

-- no index of ours, and a table that one may not read

SELECT vdb.prewarm('t');
SELECT vdb.prewarm(0);
CREATE INDEX t_id ON t (id);
SELECT vdb.prewarm('t_id');
CREATE TABLE parts (v vector(3)) PARTITION BY LIST (vector_dims(v));
CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
SELECT vdb.prewarm('parts_v');
DROP TABLE parts;
CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT vdb.prewarm('t_v');
RESET ROLE;
GRANT SELECT ON t TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT count(*) FROM vdb.prewarm('t_v');
RESET ROLE;
DROP TABLE t;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
DROP ROLE vdb_somebody;
