-- Claims that an index follows its table whichever way its rows are written:
-- upserts, cascades, triggers, HOT, TOAST, generated columns, several indexes.

\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set ECHO none
\i :kinds
\set ECHO all

-- upserts: an insertion that meets another row leaves nothing behind

CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, v vector(64)) WITH (fillfactor = 50);
CREATE INDEX t_l2 ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_ip ON t USING hnsw (v vector_ip_ops);
CREATE INDEX t_cosine ON t USING hnsw (v vector_cosine_ops);
CREATE INDEX t_l1 ON t USING hnsw (v vector_l1_ops);
CREATE INDEX t_few ON t USING hnsw (v vector_l2_ops) WITH (m = 4) WHERE n > 0;
INSERT INTO t SELECT i, 0, life.numbers(i)::vector FROM generate_series(1, 100) i;
INSERT INTO t SELECT i, 0, life.numbers(-i)::vector FROM generate_series(51, 120) i
ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = t.n + 1;
INSERT INTO t SELECT i, 0, life.numbers(i)::vector FROM generate_series(91, 130) i ON CONFLICT DO NOTHING;
MERGE INTO t USING (SELECT i, life.numbers(2 * i)::vector AS w FROM generate_series(121, 140) i) s ON t.id = s.i
WHEN MATCHED THEN UPDATE SET v = w
WHEN NOT MATCHED THEN INSERT VALUES (i, 0, w);
CALL life.expect('t_l2', 140);
CALL life.expect('t_ip', 140);
CALL life.expect('t_cosine', 140);
CALL life.expect('t_l1', 140);
CALL life.expect('t_few', 50);
SELECT live - (SELECT count(*) FROM t) AS old_versions FROM vdb.check_index('t_l2');

-- HOT updates give the index nothing to do; others do, also those of the predicate's column

SELECT live + attached AS live FROM vdb.check_index('t_l2') \gset
UPDATE t SET v = v WHERE id <= 20;
SELECT live + attached - :live AS added FROM vdb.check_index('t_l2');
UPDATE t SET n = n + 1 WHERE id BETWEEN 21 AND 40;
SELECT live + attached - :live AS added FROM vdb.check_index('t_l2');
UPDATE t SET v = life.numbers(id + 1)::vector WHERE id BETWEEN 41 AND 60;
SELECT live + attached - :live AS added FROM vdb.check_index('t_l2');
CALL life.expect('t_l2', 140);
CALL life.expect('t_few', 70);
VACUUM (INDEX_CLEANUP ON) t;
SELECT live FROM vdb.check_index('t_l2');
CALL life.expect('t_l2', 140);
CALL life.expect('t_ip', 140);
CALL life.expect('t_cosine', 140);
CALL life.expect('t_l1', 140);
CALL life.expect('t_few', 70);

-- vacuum without indexes, in parallel workers, and of nothing

DELETE FROM t WHERE id % 4 = 0;
VACUUM (INDEX_CLEANUP OFF) t;
SELECT live FROM vdb.check_index('t_l2', true);
CALL life.expect('t_l2', 105);
SET min_parallel_index_scan_size = 0;
VACUUM (INDEX_CLEANUP ON, PARALLEL 4) t;
RESET min_parallel_index_scan_size;
SELECT live, dead, unreachable FROM vdb.check_index('t_l2', true);
CALL life.expect('t_l2', 105);
CALL life.expect('t_ip', 105);
CALL life.expect('t_cosine', 105);
CALL life.expect('t_l1', 105);
CALL life.expect('t_few', 52);
VACUUM (INDEX_CLEANUP ON, FREEZE) t;
CALL life.expect('t_l2', 105);

-- an index made while a HOT chain is broken

DROP INDEX t_few;
BEGIN;
UPDATE t SET n = 2 WHERE id <= 20;
CREATE INDEX t_late ON t USING hnsw (v vector_l2_ops) WHERE n > 1;
COMMIT;
CALL life.expect('t_late', 15);
UPDATE t SET n = 3 WHERE id BETWEEN 11 AND 30;
CALL life.expect('t_late', 23);
VACUUM (INDEX_CLEANUP ON) t;
CALL life.expect('t_late', 23);
DROP TABLE t;

-- rows that go with others

CREATE TABLE owners (id int PRIMARY KEY);
CREATE TABLE t (owner int REFERENCES owners ON DELETE CASCADE ON UPDATE CASCADE, id serial, v vector(64));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
INSERT INTO owners SELECT generate_series(1, 10);
INSERT INTO t (owner, v) SELECT i % 10 + 1, life.numbers(i)::vector FROM generate_series(1, 200) i;
DELETE FROM owners WHERE id <= 3;
CALL life.expect('t_v', 140);
UPDATE owners SET id = id + 100;
CALL life.expect('t_v', 140);
VACUUM (INDEX_CLEANUP ON) t;
CALL life.expect('t_v', 140);
TRUNCATE owners CASCADE;
CALL life.expect('t_v', 0);
DROP TABLE t, owners;

-- triggers, defaults and generated columns make the vector

CREATE TABLE t (id int PRIMARY KEY, a real[], v vector(64) GENERATED ALWAYS AS (a::vector) STORED, w vector(64));
CREATE FUNCTION set_w() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.w := life.numbers(-NEW.id)::vector; RETURN NEW; END $$;
CREATE TRIGGER set_w BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION set_w();
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_w ON t USING hnsw (w vector_cosine_ops);
INSERT INTO t (id, a) SELECT i, life.numbers(i) FROM generate_series(1, 100) i;
UPDATE t SET a = life.numbers(id + 500) WHERE id <= 30;
UPDATE t SET id = id + 1000 WHERE id > 80;
CALL life.expect('t_v', 100);
CALL life.expect('t_w', 100);
DROP TABLE t;
DROP FUNCTION set_w;

-- vectors out of line, compressed and not

CREATE TABLE t (id int, v vector(1000));
INSERT INTO t SELECT i, (SELECT array_agg(sin(i * j) ORDER BY j) FROM generate_series(1, 1000) j)::vector FROM generate_series(1, 40) i;
ALTER TABLE t ALTER v SET STORAGE EXTENDED;
INSERT INTO t SELECT i, array_fill(sin(i), ARRAY[1000])::vector FROM generate_series(41, 80) i;
SELECT count(*) FILTER (WHERE pg_column_size(v) > 4000) AS plain, count(*) FILTER (WHERE pg_column_size(v) < 1000) AS compressed FROM t;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
ALTER TABLE t ALTER v SET STORAGE MAIN;
INSERT INTO t SELECT id + 100, v FROM t WHERE id % 2 = 0;
UPDATE t SET v = v WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
VACUUM (INDEX_CLEANUP ON) t;
SELECT sum(c.rows) AS rows, sum(c.differences) AS differences
FROM t q, LATERAL life.compare('t', 't_v', 'v', 'true', '<->', q.v::text) c WHERE q.id IN (1, 42);
SELECT FROM vdb.check_index('t_v', true);
DROP TABLE t;

-- rows of many kinds of writer in one transaction

CREATE TABLE t (id int, v vector(64));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
BEGIN;
WITH i AS (INSERT INTO t SELECT i, life.numbers(i)::vector FROM generate_series(1, 50) i RETURNING *)
INSERT INTO t SELECT id + 100, life.numbers(1)::vector - v FROM i;
DO $$
BEGIN
    FOR i IN 1 .. 50 LOOP
        BEGIN
            INSERT INTO t VALUES (200 + i, life.numbers(200 + i)::vector);
            PERFORM 1 / (i % 2);
        EXCEPTION WHEN division_by_zero THEN
        END;
    END LOOP;
END $$;
DELETE FROM t WHERE id < 20;
CALL life.expect('t_v', 106);
COMMIT;
CALL life.expect('t_v', 106);
DROP TABLE t;

SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
