-- Claims that an index follows inserts, updates, deletes and vacuum, uses freed
-- slots again, and forgives an operation that failed halfway.

CREATE TABLE t (id int PRIMARY KEY, note text, v vector(3)) WITH (fillfactor = 50);
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
INSERT INTO t SELECT i, '', ARRAY[i, i % 10, i % 3]::vector FROM generate_series(1, 300) i;

SET enable_seqscan = off;
CREATE VIEW nearest AS SELECT id, note FROM t ORDER BY v <-> '[100,0,1]' LIMIT 3;
TABLE nearest;

-- a row that moves is found at its new place only

UPDATE t SET v = '[0.5,0,0]' WHERE id = 100;
TABLE nearest;
SELECT id FROM t ORDER BY v <-> '[0.5,0,0]' LIMIT 1;

-- a row whose other columns change, with and without a new index entry

UPDATE t SET note = 'hot' WHERE id = 101;
UPDATE t SET note = 'cold', id = 1099 WHERE id = 99;
TABLE nearest;

-- deleted rows are gone, and rows behind them come forward

DELETE FROM t WHERE id IN (101, 1099);
TABLE nearest;
BEGIN;
DELETE FROM t;
TABLE nearest;
ROLLBACK;
TABLE nearest;
SELECT FROM vdb.check_index('t_v', true);

-- dead rows take nobody's place

DELETE FROM t WHERE id % 2 = 1;
SET hnsw.ef_search = 1;
SELECT count(*) FROM (TABLE nearest) s;
RESET hnsw.ef_search;
VACUUM (INDEX_CLEANUP ON) t;
TABLE nearest;
SELECT FROM vdb.check_index('t_v', true);

-- freed slots are used again

SELECT pg_relation_size('t_v') AS size \gset
INSERT INTO t SELECT i, '', ARRAY[i, i % 10, i % 3]::vector FROM generate_series(1, 300, 2) i;
SELECT pg_relation_size('t_v') = :size AS same_size;
TABLE nearest;
SELECT FROM vdb.check_index('t_v', true);

-- all gone, and all new

DELETE FROM t;
VACUUM (INDEX_CLEANUP ON) t;
TABLE nearest;
SELECT FROM vdb.check_index('t_v', true);
INSERT INTO t SELECT i, '', ARRAY[i, i % 10, i % 3]::vector FROM generate_series(1, 300) i;
SELECT pg_relation_size('t_v') <= :size AS no_larger;
SELECT FROM vdb.check_index('t_v', true);
SELECT recall >= 0.95 AS recall FROM vdb.recall('t_v');

-- stopped anywhere, an insert is as if it had never been

SET vdb.stop_at = 'hnsw-insert-after-search=error';
INSERT INTO t VALUES (1001, '', '[100,0,1]');
SET vdb.stop_at = 'hnsw-insert-after-node=error';
INSERT INTO t VALUES (1002, '', '[100,1,1]');
SET vdb.stop_at = 'hnsw-insert-after-edges=error';
INSERT INTO t VALUES (1003, '', '[100,2,1]');
SET vdb.stop_at = 'hnsw-insert-before-entry=error';
INSERT INTO t VALUES (1004, '', '[100,3,1]');
SET vdb.stop_at = 'hnsw-insert-before-attach=error';
INSERT INTO t VALUES (1005, '', '[100,0,1]');
SET vdb.stop_at = 'hnsw-extend-after-pages=error';
INSERT INTO t SELECT i, '', ARRAY[i, i % 10, i % 3]::vector FROM generate_series(301, 5000) i;
RESET vdb.stop_at;
SELECT FROM vdb.check_index('t_v', true);
TABLE nearest;
INSERT INTO t SELECT i, '', ARRAY[i, i % 10, i % 3]::vector FROM generate_series(301, 2000) i;
SELECT FROM vdb.check_index('t_v', true);
TABLE nearest;

-- stopped anywhere, a vacuum is completed by the next one

INSERT INTO t SELECT i, '', '[100,0,1]' FROM generate_series(6000, 6200, 2) i;
DELETE FROM t WHERE id % 2 = 0;
SET vdb.stop_at = 'hnsw-vacuum-before-release=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SET vdb.stop_at = 'hnsw-vacuum-after-bulkdelete=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SET vdb.stop_at = 'hnsw-vacuum-after-collect=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SET vdb.stop_at = 'hnsw-vacuum-after-repair=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SET vdb.stop_at = 'hnsw-vacuum-before-free=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SET vdb.stop_at = 'hnsw-vacuum-after-free=error';
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
RESET vdb.stop_at;
VACUUM (INDEX_CLEANUP ON) t;
SELECT FROM vdb.check_index('t_v', true);
SELECT id, round((v <-> '[100,0,1]')::numeric, 3) AS d FROM t ORDER BY v <-> '[100,0,1]', id LIMIT 3;
SELECT recall >= 0.95 AS recall FROM vdb.recall('t_v');

DROP VIEW nearest;
DROP TABLE t;
