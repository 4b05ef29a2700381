-- What hnsw.target_recall makes of a scan: a build measures recall, and so does
-- vdb.calibrate(), with rows of the table or with queries of the user.
SET enable_seqscan = off;

CREATE TABLE t (id int, v vector(16));
INSERT INTO t SELECT n, (SELECT array_agg(sin(n * d * 12.9898) + n % 7) FROM generate_series(1, 16) d)::vector
	FROM generate_series(1, 3000) n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops) WITH (m = 6, ef_construction = 20);

-- a curve that rises, up to almost all

SELECT count(*) AS levels, min(ef_search) AS least, max(ef_search) AS most,
	bool_and(recall BETWEEN 0 AND 1) AS in_range, max(recall) > 0.95 AS reaches, max(recall_100) > 0.9 AS reaches_100
	FROM vdb.calibration('t_v');
SELECT count(*) AS falls FROM (SELECT recall - lag(recall) OVER w AS d, recall_100 - lag(recall_100) OVER w AS d_100
	FROM vdb.calibration('t_v') WINDOW w AS (ORDER BY ef_search)) s WHERE d < 0 OR d_100 < 0;

-- a target decides on ef_search, the more the higher it is; 0 leaves it alone

CREATE FUNCTION ef() RETURNS int LANGUAGE sql AS 'SELECT ef_search FROM vdb.recall(''t_v'', 10, 1)';
SET hnsw.ef_search = 777;
SELECT ef();
SET hnsw.target_recall = 0.5;
SELECT ef() AS half \gset
SET hnsw.target_recall = 0.95;
SELECT ef() AS much \gset
SET hnsw.target_recall = 1;
SELECT ef() AS all \gset
SELECT :half >= 10 AND :half <= :much AND :much < :all AND :all <= 1000 AS ascending;
SET hnsw.target_recall = 1.01;
SET hnsw.target_recall = -0.1;

-- the search is as good as that, for few rows and for many

SET hnsw.target_recall = 0.95;
SELECT recall >= 0.93 AS good FROM vdb.recall('t_v', 10, 300);
SELECT recall >= 0.93 AS good FROM vdb.recall('t_v', 100, 50);
SELECT recall >= 0.93 AS good FROM vdb.recall('t_v', 1, 300);

-- and returns as many rows as are asked for, each once and in order

CREATE TABLE answer (place serial, id int, d float8);
INSERT INTO answer (id, d) SELECT id, v <-> (SELECT v FROM t WHERE id = 5) FROM t
	ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1500;
SELECT count(*), count(DISTINCT id) FROM answer;
SELECT count(*) AS disorder FROM answer a JOIN answer b ON b.place = a.place + 1 AND b.d < a.d;
SELECT count(*) FROM (SELECT id FROM t WHERE id % 100 = 0 ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 20) s;

-- a search that stopped early goes on to what it left: no row is lost

SET hnsw.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 3000) s;
RESET hnsw.iterative_scan;

-- a scan that may not go on returns no fewer than ef_search says

SET hnsw.iterative_scan = off;
SET hnsw.ef_search = 200;
SELECT count(*) >= 200 AS enough FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1000) s;
RESET hnsw.iterative_scan;
RESET hnsw.ef_search;

-- the planner reckons with the same: a higher target costs more

CREATE FUNCTION cost(target float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	PERFORM set_config('hnsw.target_recall', target::text, true);
	EXECUTE 'EXPLAIN (FORMAT json) SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 10' INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Total Cost';
END $$;
SELECT cost(0.5) < cost(1) AS dearer;

-- queries of the user: of far away, and so a harder question

SELECT count(*), max(recall) > 0.5 AS fair FROM vdb.calibrate('t_v',
	(SELECT array_agg((SELECT array_agg(cos(n * d * 7.77) * 9) FROM generate_series(1, 16) d)::vector) FROM generate_series(1, 300) n));
SELECT count(*), max(recall) > 0.5 AS fair FROM vdb.calibration('t_v');
SELECT count(*), max(recall) > 0.95 AS reaches FROM vdb.calibrate('t_v');

-- queries that are none

SELECT count(*) FROM vdb.calibrate('t_v', ARRAY[]::vector[]);
SELECT count(*) FROM vdb.calibrate('t_v', (SELECT array_agg(v) FROM t WHERE id < 10));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill(NULL::vector, ARRAY[30]));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill('[1,2]'::vector, ARRAY[30]));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill('[1,2]'::halfvec, ARRAY[30]));
SELECT count(*) FROM vdb.calibrate('t_v', NULL::vector[]);
SELECT max(recall) > 0.95 AS kept FROM vdb.calibration('t_v');

-- an index that is empty, or has grown by more than its own size since, goes by ef_search

CREATE TABLE grows (id int, v vector(16));
CREATE INDEX grows_v ON grows USING hnsw (v vector_l2_ops);
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT count(*) FROM vdb.calibrate('grows_v');
INSERT INTO grows SELECT id, v FROM t WHERE id <= 500;
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT ef_search FROM vdb.recall('grows_v', 10, 1);
SELECT count(*) FROM vdb.calibrate('grows_v');
SELECT ef_search <> 40 AS calibrated FROM vdb.recall('grows_v', 10, 1);
INSERT INTO grows SELECT id, v FROM t WHERE id > 500;
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT ef_search FROM vdb.recall('grows_v', 10, 1);
SET client_min_messages = debug1;
SELECT id FROM grows ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1;
RESET client_min_messages;
REINDEX INDEX grows_v;
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT FROM vdb.check_index('grows_v', true);

-- most rows are gone: those that are left are asked, dead nodes are no answers

DELETE FROM grows WHERE id % 10 > 0;
SELECT max(recall) > 0.9 AS reaches FROM vdb.calibrate('grows_v');
VACUUM grows;
SELECT max(recall) > 0.9 AS reaches FROM vdb.calibrate('grows_v');
SELECT recall >= 0.93 AS good FROM vdb.recall('grows_v', 10, 100);
DROP TABLE grows;

-- each type, and each way that codes are kept: whole in hot slots, or too long for node slots

CREATE FUNCTION try(column_type text, ops text, expression text, rows int) RETURNS TABLE (good bool, asked bool)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE u (v %s)', column_type);
	EXECUTE format('INSERT INTO u SELECT %s FROM t WHERE id <= %s', expression, rows);
	EXECUTE format('CREATE INDEX u_v ON u USING hnsw (v %s)', ops);
	SELECT recall >= 0.93 INTO good FROM vdb.recall('u_v', 10, 100);
	EXECUTE 'SELECT max(recall) > 0.9 FROM vdb.calibrate(''u_v'', (SELECT array_agg(v) FROM (SELECT v FROM u LIMIT 100) s))' INTO asked;
	DROP TABLE u;
	RETURN NEXT;
END $$;
SELECT * FROM try('vector(16)', 'vector_ip_ops', 'v', 1000);
SELECT * FROM try('vector(16)', 'vector_cosine_ops', 'v', 1000);
SELECT * FROM try('vector(16)', 'vector_l1_ops', 'v', 1000);
SELECT * FROM try('halfvec(16)', 'halfvec_l2_ops', 'v', 1000);
SELECT * FROM try('halfvec(4000)', 'halfvec_l2_ops', '(SELECT array_agg(sin(id * d * 0.77)) FROM generate_series(1, 4000) d)::halfvec', 100);
SELECT * FROM try('sparsevec(16)', 'sparsevec_l2_ops', 'v::sparsevec', 1000);
SELECT * FROM try('sparsevec(16)', 'sparsevec_cosine_ops', 'v::sparsevec', 1000);
SELECT * FROM try('bit(64)', 'bit_hamming_ops', '(hashint8(id)::bit(32) || hashint8(id / 3)::bit(32))::bit(64)', 1000);
SELECT * FROM try('bit(64)', 'bit_jaccard_ops', '(hashint8(id)::bit(32) || hashint8(id / 3)::bit(32))::bit(64)', 1000);

-- equal rows: whichever is found is right

SELECT * FROM try('vector(16)', 'vector_l2_ops', '(SELECT v FROM t s WHERE s.id = t.id % 5 + 1)', 1000);
SELECT * FROM try('vector(16)', 'vector_l2_ops', 'array_fill(1, ARRAY[16])::vector', 1000);

-- whose index it is

CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
GRANT SELECT ON t TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT count(*) FROM vdb.calibrate('t_v');
SELECT count(*) FROM vdb.calibrate('t_v', array_fill(NULL::vector, ARRAY[30]));
SELECT count(*) FROM vdb.calibration('t_v');
RESET ROLE;
ALTER TABLE t OWNER TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT count(*) FROM vdb.calibrate('t_v');
RESET ROLE;
SELECT count(*) FROM vdb.calibrate('t');
SELECT count(*) FROM vdb.calibrate(0);
CREATE INDEX t_id ON t (id);
SELECT count(*) FROM vdb.calibrate('t_id');
SELECT count(*) FROM vdb.calibration('t_id');

DROP TABLE t, answer;
DROP FUNCTION ef, cost, try;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
DROP ROLE vdb_somebody;
RESET hnsw.target_recall;
RESET enable_seqscan;
