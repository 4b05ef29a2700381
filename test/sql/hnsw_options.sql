-- Claims that storage parameters and settings have pgvector's names, defaults
-- and ranges.

CREATE TABLE t (v vector(3));

CREATE INDEX t_default ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_given ON t USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 10);
SELECT relname, reloptions FROM pg_class WHERE relname IN ('t_default', 't_given') ORDER BY 1;
ALTER INDEX t_given SET (m = 5);
REINDEX INDEX t_given;
ALTER INDEX t_given RESET (m, ef_construction);
REINDEX INDEX t_given;
DROP INDEX t_default, t_given;

CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 1);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 101);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = none);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 3);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 1001);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 31);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 100);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (lists = 10);

-- the ends of the ranges

CREATE INDEX t_low ON t USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
CREATE INDEX t_high ON t USING hnsw (v vector_l2_ops) WITH (m = 100, ef_construction = 1000);
INSERT INTO t SELECT ARRAY[sin(i), cos(i * 3), sin(i * 7)]::vector FROM generate_series(1, 200) i;
REINDEX INDEX t_low;
REINDEX INDEX t_high;
INSERT INTO t SELECT ARRAY[sin(i), cos(i * 3), sin(i * 7)]::vector FROM generate_series(201, 400) i;
SELECT FROM vdb.check_index('t_low', true);
SELECT FROM vdb.check_index('t_high', true);
SELECT recall > 0.5 AS low FROM vdb.recall('t_low');
SELECT recall > 0.99 AS high FROM vdb.recall('t_high');

-- settings

SHOW hnsw.ef_search;
SHOW hnsw.iterative_scan;
SHOW hnsw.max_scan_tuples;
SHOW hnsw.scan_mem_multiplier;
SET hnsw.ef_search = 0;
SET hnsw.ef_search = 1001;
SET hnsw.ef_search = 1000;
SET hnsw.iterative_scan = on;
SET hnsw.max_scan_tuples = 0;
SET hnsw.scan_mem_multiplier = 0.9;
SET hnsw.scan_mem_multiplier = 1001;
SET hnsw.probes = 1;
RESET ALL;

-- the stop points of the tests are the superuser's

SHOW vdb.stop_at;
SET vdb.stop_at = 'somewhere=else';
SET vdb.stop_at = '=error';
SET vdb.stop_at = 'hnsw-insert-after-node=error';
INSERT INTO t VALUES ('[1,2,3]');
RESET vdb.stop_at;
CREATE ROLE vdb_somebody;
SET ROLE vdb_somebody;
SET vdb.stop_at = 'hnsw-insert-after-node=crash';
RESET ROLE;
DROP ROLE vdb_somebody;

DROP TABLE t;
