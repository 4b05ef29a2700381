-- Claims that rows which wait to be linked are found by the very next query, by
-- every kind of it, once each and in order, before, while and after they are
-- linked; and that the index is then as good as one of ordinary inserts.

\set ECHO none
\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\i :kinds
\set ECHO all
SET enable_seqscan = off;
CREATE TABLE t (id int, g int, v vector(64));
CREATE PROCEDURE fill(first int, last int) LANGUAGE sql AS
$$ INSERT INTO t SELECT i, i % 10, life.numbers(i)::vector FROM generate_series(first, last) i $$;
CREATE FUNCTION near(i int) RETURNS int LANGUAGE sql AS
$$ SELECT id FROM t ORDER BY v <-> life.numbers(i)::vector LIMIT 1 $$;

-- an empty index, in which nothing but waiting rows is

CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, g) WITH (fastupdate = on);
CREATE FUNCTION state(OUT live bigint, OUT dead bigint, OUT edges bigint, OUT unreachable bigint, OUT pending bigint)
LANGUAGE sql AS 'SELECT live, dead, edges, unreachable, pending FROM vdb.check_index(''t_v'', true)';
CALL fill(1, 1);
SELECT near(1), near(7);
CALL fill(2, 200);
SELECT count(*) FROM generate_series(1, 200) i WHERE near(i) <> i;
SELECT * FROM state();
SELECT * FROM life.compare('t', 't_v', 'v', 'true', '<->', life.numbers(1001)::vector::text);
SELECT * FROM life.compare('t', 't_v', 'v', 'g = 3', '<->', life.numbers(1001)::vector::text);
SELECT vdb.merge_pending('t_v');
SELECT live, dead, edges > 1000 AS linked, unreachable, pending FROM state();
SELECT vdb.merge_pending('t_v');
SELECT * FROM life.compare('t', 't_v', 'v', 'true', '<->', life.numbers(1001)::vector::text);

-- beside a graph: strict order, conditions, a radius, relaxed order, few rows, none

CALL fill(201, 500);
SELECT pending FROM state();
SELECT count(*) FROM generate_series(1, 500) i WHERE near(i) <> i;
SELECT count(*) AS questions, sum(differences) AS differences
FROM generate_series(1001, 1005) i, unnest(ARRAY['true', 'g = 3', 'g < 5', 'id > 200', 'id <= 200']) condition,
    LATERAL life.compare('t', 't_v', 'v', condition, '<->', life.numbers(i)::vector::text);
CREATE FUNCTION within(i int, r float8) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM (SELECT id FROM t WHERE v <-> life.numbers(i)::vector < r ORDER BY v <-> life.numbers(i)::vector) s $$;
SET hnsw.ef_search = 1000;
SELECT count(*), sum(a - b) AS differences
FROM generate_series(1001, 1010) i, LATERAL within(i, 7.8) a,
    LATERAL (SELECT count(*) AS b FROM t WHERE (v <-> life.numbers(i)::vector) + 0 < 7.8) s;
SET hnsw.iterative_scan = relaxed_order;
SET hnsw.ef_search = 10;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> life.numbers(1001)::vector) s;
SET hnsw.iterative_scan = strict_order;
SELECT count(DISTINCT id) = count(*) AS once FROM (SELECT id FROM t ORDER BY v <-> life.numbers(1001)::vector) s;
SET hnsw.iterative_scan = off;
SELECT count(*), count(*) FILTER (WHERE id > 200) > 0 AS waiting
FROM (SELECT id FROM t ORDER BY v <-> life.numbers(1001)::vector) s;
RESET hnsw.iterative_scan;
RESET hnsw.ef_search;

-- a search that stops early stops walking, and no more

SELECT max(recall) > 0.95 AS reaches FROM vdb.calibrate('t_v');
SET hnsw.target_recall = 0.5;
SELECT count(*) FROM generate_series(201, 500) i WHERE near(i) <> i;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> life.numbers(1001)::vector LIMIT 500) s;
RESET hnsw.iterative_scan;
RESET hnsw.target_recall;

-- rows and versions that go while they wait; a rollback; the next VACUUM frees them without
-- repair, and links the others

UPDATE t SET v = life.numbers(id + 1000)::vector WHERE id BETWEEN 301 AND 320;
DELETE FROM t WHERE id BETWEEN 401 AND 450;
BEGIN;
CALL fill(501, 520);
SELECT near(510);
ROLLBACK;
SELECT near(1310), count(*) AS wrong FROM generate_series(401, 450) i WHERE near(i) = i;
SELECT pending FROM state();
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, dead, unreachable, pending FROM state();
SELECT * FROM life.compare('t', 't_v', 'v', 'true', '<->', life.numbers(1001)::vector::text);

-- slots are used again, to which edges of former nodes may lead

DELETE FROM t WHERE id % 2 = 0;
VACUUM (INDEX_CLEANUP ON) t;
CALL fill(601, 700);
ALTER INDEX t_v SET (fastupdate = off);
CALL fill(701, 800);
SELECT live, unreachable, pending > 0 AS wait FROM state();
SELECT count(*) FROM generate_series(601, 800) i WHERE near(i) <> i;
SELECT vdb.merge_pending('t_v') > 0 AS merged;
SELECT live, unreachable, pending FROM state();

-- rows that are equal to one that waits are nodes of their own; all are found

ALTER INDEX t_v SET (fastupdate = on);
INSERT INTO t SELECT 900 + i, 0, life.numbers(900)::vector FROM generate_series(1, 30) i;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> life.numbers(900)::vector LIMIT 30) s WHERE id > 900;
SELECT vdb.merge_pending('t_v');
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> life.numbers(900)::vector LIMIT 30) s WHERE id > 900;
SELECT live, unreachable, pending FROM state();

CREATE FUNCTION rest(c refcursor, OUT rows int, OUT different bigint) LANGUAGE plpgsql AS $$
DECLARE
	one int;
	ids int[];
BEGIN
	LOOP
		FETCH c INTO one;
		EXIT WHEN NOT FOUND;
		ids := ids || one;
	END LOOP;
	rows := cardinality(ids);
	different := (SELECT count(DISTINCT i) FROM unnest(ids) i);
END $$;

-- a cursor is open while the rows are linked that it has not come to

TRUNCATE t;
CALL fill(1, 300);
BEGIN;
SET LOCAL hnsw.iterative_scan = relaxed_order;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> life.numbers(1001)::vector;
FETCH 2 FROM c;
SELECT vdb.merge_pending('t_v');
SELECT * FROM rest('c');
COMMIT;

-- the limit: slots, in whole extents; what is beyond is linked at once

CREATE TABLE u (id int, v vector(64));
CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops) WITH (fastupdate, pending_limit = 64);
INSERT INTO u SELECT i, life.numbers(i)::vector FROM generate_series(1, 1000) i;
SELECT pending BETWEEN 64 AND 200 AS limited, live, unreachable FROM vdb.check_index('u_v', true);
ALTER INDEX u_v SET (pending_limit = 1000);
INSERT INTO u SELECT i, life.numbers(i)::vector FROM generate_series(1001, 1100) i;
SELECT pending > 100 AS more, live, unreachable FROM vdb.check_index('u_v', true);
ALTER INDEX u_v SET (pending_limit = 64);
SELECT pending AS before FROM vdb.check_index('u_v') \gset
INSERT INTO u SELECT i, life.numbers(i)::vector FROM generate_series(1101, 1110) i;
SELECT pending = :before AS full, live, unreachable FROM vdb.check_index('u_v', true);
ALTER INDEX u_v RESET (fastupdate, pending_limit);
VACUUM (INDEX_CLEANUP ON) u;
SELECT pending, live, unreachable FROM vdb.check_index('u_v', true);

-- merged by VACUUM, an index finds what one finds into which the rows were inserted

CREATE TABLE w (id int, v vector(64));
CREATE INDEX w_v ON w USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32);
CREATE TABLE x (LIKE w);
CREATE INDEX x_v ON x USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32, fastupdate, pending_limit = 65536);
INSERT INTO w SELECT i, life.numbers(i)::vector FROM generate_series(1, 3000) i;
INSERT INTO x SELECT * FROM w WHERE id <= 100;
SELECT vdb.merge_pending('x_v');
INSERT INTO x SELECT * FROM w WHERE id > 100;
SELECT recall >= 0.99 AS all FROM vdb.recall('x_v');
VACUUM (INDEX_CLEANUP ON) x;
SELECT live, unreachable, pending, upper_records > 200 AS above FROM vdb.check_index('x_v', true);
SET hnsw.ef_search = 60;
SELECT round(recall::numeric, 3) AS inserted FROM vdb.recall('w_v', 10, 500) \gset
SELECT round(recall::numeric, 3) AS merged FROM vdb.recall('x_v', 10, 500) \gset
SELECT :merged > :inserted - 0.03 AS as_good;
RESET hnsw.ef_search;

-- all rows that are linked die: the entry point is one that waited

DELETE FROM x;
INSERT INTO x SELECT * FROM w WHERE id <= 50;
VACUUM (INDEX_CLEANUP ON) x;
SELECT live, dead, unreachable, pending FROM vdb.check_index('x_v', true);
SELECT count(*) FROM (SELECT id FROM x ORDER BY v <-> life.numbers(1001)::vector) s;

-- options and who may

ALTER INDEX t_v SET (pending_limit = 63);
ALTER INDEX t_v SET (pending_limit = 65537);
ALTER INDEX t_v SET (fastupdate = sometimes);
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (fastupdate = on);
CREATE INDEX t_i ON t USING ivfflat (v vector_l2_ops) WITH (lists = 1);
SELECT vdb.merge_pending('t_i');
SELECT vdb.merge_pending('t');
SELECT vdb.merge_pending(NULL);
CREATE ROLE vdb_stranger;
SET ROLE vdb_stranger;
SELECT vdb.merge_pending('t_v');
RESET ROLE;
DROP ROLE vdb_stranger;

DROP TABLE t, u, w, x;
DROP FUNCTION near, within, state, rest;
DROP PROCEDURE fill;
SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
