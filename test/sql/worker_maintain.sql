-- Claims that vdb.maintain() does what an index needs, or says that it needs what a function
-- cannot do; that it is for who may look after the index; and that without preloading there is
-- no worker, and the index option changes nothing.

SELECT count(*) FROM vdb_stat_worker;

CREATE TABLE t (id serial, v vector(24));
ALTER TABLE t SET (autovacuum_enabled = off);
CREATE FUNCTION place(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg(sin(i * 0.37 * j) * 10 ORDER BY j)::vector FROM generate_series(1, 24) j $$;
CREATE INDEX t_ivf ON t USING ivfpq (v vector_l2_ops);
CREATE INDEX t_flat ON t USING ivfflat (v vector_l2_ops) WITH (lists = 20, maintenance = off);
CREATE INDEX t_hnsw ON t USING hnsw (v vector_l2_ops) WITH (maintenance = off);

-- nothing is due of what is empty

SELECT * FROM vdb.maintain('t_ivf');
SELECT * FROM vdb.maintain('t_flat');
SELECT * FROM vdb.maintain('t_hnsw');

-- lists, and what recall they have

INSERT INTO t (v) SELECT place(i) FROM generate_series(1, 2000) i;
SELECT pg_stat_force_next_flush();
ANALYZE t;
SELECT * FROM vdb.maintain('t_ivf');
SELECT * FROM vdb.maintain('t_flat');
SELECT * FROM vdb.maintain('t_hnsw');
SELECT upper_records > 10 AS lists FROM vdb.check_index('t_ivf', true);
SELECT upper_records AS lists FROM vdb.check_index('t_flat', true);
SELECT count(*) > 0 AS calibrated FROM vdb.calibration('t_hnsw');

-- once

SELECT * FROM vdb.maintain('t_ivf');
SELECT * FROM vdb.maintain('t_flat');
SELECT * FROM vdb.maintain('t_hnsw');

-- in a transaction that has written rows, and whose end takes them back

INSERT INTO t (v) SELECT place(i) FROM generate_series(2001, 4000) i;
SELECT pg_stat_force_next_flush();
ANALYZE t;
BEGIN;
INSERT INTO t (v) SELECT place(i) FROM generate_series(4001, 4200) i;
SELECT work, done FROM vdb.maintain('t_flat');
SELECT count(*) FROM (SELECT FROM t ORDER BY v <-> place(1) LIMIT 5) x;
ROLLBACK;
SELECT live >= 4000 AS live FROM vdb.check_index('t_flat', true);
VACUUM t;

-- in subtransactions: one that is taken back with its rows, and one that ends in an error

CREATE TABLE s (v vector(24));
ALTER TABLE s SET (autovacuum_enabled = off);
CREATE INDEX s_ivf ON s USING ivfpq (v vector_l2_ops);
INSERT INTO s SELECT place(i) FROM generate_series(1, 1000) i;
SELECT pg_stat_force_next_flush();
ANALYZE s;
LOAD 'vdb';
SET vdb.stop_at = 'ivf-lists-before-swap=error';
BEGIN;
SAVEPOINT a;
INSERT INTO s SELECT place(i) FROM generate_series(1001, 1200) i;
SELECT work, done FROM vdb.maintain('s_ivf');
ROLLBACK TO a;
RESET vdb.stop_at;
SAVEPOINT b;
INSERT INTO s SELECT place(i) FROM generate_series(1001, 1200) i;
SELECT work, done FROM vdb.maintain('s_ivf');
SELECT count(*) FROM (SELECT FROM s ORDER BY v <-> place(1100) LIMIT 5) x;
ROLLBACK TO b;
SELECT count(*) FROM (SELECT FROM s ORDER BY v <-> place(1100) LIMIT 5) x;
COMMIT;
SELECT upper_records > 10 AS lists FROM vdb.check_index('s_ivf', true);
VACUUM (INDEX_CLEANUP ON) s;
SELECT live FROM vdb.check_index('s_ivf', true);
DROP TABLE s;

-- dead rows, and nodes of dead rows

DELETE FROM t WHERE id % 2 = 0;
SELECT pg_stat_force_next_flush();
ANALYZE t;
SELECT * FROM vdb.maintain('t_hnsw');
LOAD 'vdb';
SET vdb.stop_at = 'hnsw-vacuum-before-free=error';
\set SHOW_CONTEXT never
VACUUM (INDEX_CLEANUP ON) t;
\set SHOW_CONTEXT errors
RESET vdb.stop_at;
SELECT dead > 0 AS dead FROM vdb.check_index('t_hnsw');
SELECT * FROM vdb.maintain('t_hnsw');
SELECT dead, unreachable FROM vdb.check_index('t_hnsw', true);

-- recall

SET vdb.maintenance_recall_floor = 1;
SET hnsw.ef_search = 1;
SET hnsw.iterative_scan = off;
SELECT work, done, reason ~ '^recall is 0\.|^a floor' AS reason FROM vdb.maintain('t_hnsw') WHERE work IN ('recall', 'reindex');
RESET hnsw.iterative_scan;
RESET hnsw.ef_search;
RESET vdb.maintenance_recall_floor;

-- options and privileges

ALTER INDEX t_hnsw SET (maintenance = on);
ALTER INDEX t_hnsw SET (maintenance = perhaps);
ALTER INDEX t_hnsw RESET (maintenance);
CREATE ROLE vdb_guest;
GRANT SELECT ON t TO vdb_guest;
SET ROLE vdb_guest;
SELECT * FROM vdb.maintain('t_hnsw');
RESET ROLE;
SELECT * FROM vdb.maintain('t');
CREATE INDEX t_id ON t (id);
SELECT * FROM vdb.maintain('t_id');
SET vdb.maintenance_naptime = 5;

DROP TABLE t;
DROP FUNCTION place;
DROP ROLE vdb_guest;
