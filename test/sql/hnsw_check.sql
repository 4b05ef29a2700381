-- Claims that vdb.check_index accepts sound indexes of every kind, and names
-- what it is not for.

CREATE TABLE t (id int, v vector(3));
INSERT INTO t SELECT i, ARRAY[sin(i), cos(i * 3), sin(i * 7)]::vector FROM generate_series(1, 1000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
CREATE INDEX t_few ON t USING hnsw (v vector_cosine_ops) WHERE id <= 10;
CREATE INDEX t_expr ON t USING hnsw (((v * '[1,2,3]')::vector(3)) vector_ip_ops);
CREATE INDEX t_id ON t (id);

SELECT FROM vdb.check_index('t_v');
SELECT FROM vdb.check_index('t_v', true);
SELECT FROM vdb.check_index('t_few', true);
SELECT FROM vdb.check_index('t_expr', true);

-- rows that only some snapshots see

BEGIN;
INSERT INTO t SELECT i, ARRAY[sin(i), cos(i * 3), sin(i * 7)]::vector FROM generate_series(1001, 1100) i;
UPDATE t SET v = '[0,0,0]' WHERE id <= 5;
DELETE FROM t WHERE id > 1050;
SELECT FROM vdb.check_index('t_v', true);
SELECT FROM vdb.check_index('t_few', true);
ROLLBACK;
SELECT FROM vdb.check_index('t_v', true);
SELECT FROM vdb.check_index('t_few', true);

-- something else

SELECT FROM vdb.check_index('t_id');
SELECT FROM vdb.check_index(0);
SELECT FROM vdb.check_index(NULL);
CREATE TABLE parts (v vector(3)) PARTITION BY LIST (vector_dims(v));
CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
SELECT FROM vdb.check_index('parts_v');
DROP TABLE parts;

-- somebody else

CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT FROM vdb.check_index('t_v');
RESET ROLE;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
DROP ROLE vdb_somebody;

DROP TABLE t;
