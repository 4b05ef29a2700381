-- What ivfpq.target_recall makes of a scan: a build measures recall, and so does
-- vdb.calibrate(), with rows of the table or with queries of the user; VACUUM does where it
-- has made all lists anew.
SET enable_seqscan = off;

CREATE TABLE t (id int, v vector(16));
INSERT INTO t SELECT n, (SELECT array_agg(sin(n * d * 12.9898) + n % 7) FROM generate_series(1, 16) d)::vector
	FROM generate_series(1, 3000) n;
CREATE INDEX t_v ON t USING ivfpq (v vector_l2_ops) WITH (lists = 60);

-- a curve that rises, from one list to all

SELECT count(*) > 10 AS levels, min(probes) AS least, max(probes) AS most, count(DISTINCT probes) = count(*) AS each_once,
	bool_and(recall BETWEEN 0 AND 1) AS in_range, max(recall) > 0.95 AS reaches, max(recall_100) > 0.9 AS reaches_100,
	min(refine_factor) >= 1 AS refines, count(ef_search) AS graphs
	FROM vdb.calibration('t_v');
SELECT count(*) AS falls FROM (SELECT recall - lag(recall) OVER w AS d, recall_100 - lag(recall_100) OVER w AS d_100,
	refine_factor - lag(refine_factor) OVER w AS d_factor
	FROM vdb.calibration('t_v') WINDOW w AS (ORDER BY probes)) s WHERE d < 0 OR d_100 < 0 OR d_factor < 0;

-- a target decides on the lists probed, the more the higher it is; 0 leaves them alone

CREATE FUNCTION probes() RETURNS int LANGUAGE sql AS 'SELECT probes FROM vdb.recall(''t_v'', 10, 1)';
SET ivfpq.probes = 33;
SELECT probes();
SET ivfpq.target_recall = 0.3;
SELECT probes() AS little \gset
SET ivfpq.target_recall = 0.95;
SELECT probes() AS much \gset
SET ivfpq.target_recall = 1;
SELECT probes() AS all \gset
SELECT :little < :much AND :much < :all AND :all = 60 AS ascending;
SET ivfpq.target_recall = 1.01;
SET ivfpq.target_recall = -0.1;

-- the scan is as good as that, for few rows and for many

SET ivfpq.target_recall = 0.95;
SELECT recall >= 0.93 AS good FROM vdb.recall('t_v', 10, 300);
SELECT recall >= 0.85 AS good FROM vdb.recall('t_v', 100, 50);
SELECT recall >= 0.93 AS good FROM vdb.recall('t_v', 1, 300);

-- and returns as many rows as are asked for, each once and in order

CREATE TABLE answer (place serial, id int, d float8);
INSERT INTO answer (id, d) SELECT id, v <-> (SELECT v FROM t WHERE id = 5) FROM t
	ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1500;
SELECT count(*), count(DISTINCT id) FROM answer;
SELECT count(*) AS disorder FROM answer a JOIN answer b ON b.place = a.place + 1 AND b.d < a.d;
SELECT count(*) FROM (SELECT id FROM t WHERE id % 100 = 0 ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 20) s;

-- lists that are added for more rows have rows nearer than those taken before: none is lost

SET ivfpq.iterative_scan = relaxed_order;
SET ivfpq.target_recall = 0.5;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 3000) s;
SET ivfpq.target_recall = 1;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 3000) s;
SET ivfpq.target_recall = 0.95;
RESET ivfpq.iterative_scan;

-- and they are the nearest of those left

SET ivfpq.target_recall = 0.8;
CREATE FUNCTION mean_recall() RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	total float8 := 0;
BEGIN
	-- no two builds are alike
	FOR i IN 1..4 LOOP
		REINDEX INDEX t_v;
		total := total + recall FROM vdb.recall('t_v', 100, 100);
	END LOOP;
	RETURN total / 4;
END $$;
SELECT mean_recall() >= 0.7 AS good;
SET ivfpq.target_recall = 0.95;

-- nor does a scan that may not go on look at fewer lists than ivfpq.probes says

SET ivfpq.iterative_scan = off;
SET ivfpq.target_recall = 0.3;
SELECT probes();
RESET ivfpq.iterative_scan;
RESET ivfpq.probes;

-- the planner reckons with the same: a higher target costs more

CREATE FUNCTION cost(target float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	PERFORM set_config('ivfpq.target_recall', target::text, true);
	EXECUTE 'EXPLAIN (FORMAT json) SELECT id FROM t ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 10' INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Total Cost';
END $$;
SELECT cost(0.3) <= cost(0.95) AND cost(0.95) < cost(1) AS dearer;
SET ivfpq.target_recall = 0.95;

-- queries of the user: of far away, and so a harder question

SELECT count(*) > 10 AS levels, max(recall) > 0.5 AS fair FROM vdb.calibrate('t_v',
	(SELECT array_agg((SELECT array_agg(cos(n * d * 7.77) * 9) FROM generate_series(1, 16) d)::vector) FROM generate_series(1, 300) n));
SELECT max(recall) > 0.5 AS fair FROM vdb.calibration('t_v');
SELECT max(recall) > 0.95 AS reaches FROM vdb.calibrate('t_v');

-- queries that are none

SELECT count(*) FROM vdb.calibrate('t_v', ARRAY[]::vector[]);
SELECT count(*) FROM vdb.calibrate('t_v', (SELECT array_agg(v) FROM t WHERE id < 10));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill(NULL::vector, ARRAY[30]));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill('[1,2]'::vector, ARRAY[30]));
SELECT count(*) FROM vdb.calibrate('t_v', array_fill('[1,2]'::halfvec, ARRAY[30]));
SELECT max(recall) > 0.95 AS kept FROM vdb.calibration('t_v');

-- an index that is empty goes by ivfpq.probes; VACUUM makes its lists anew, and measures them

CREATE TABLE grows (id int, v vector(16));
CREATE INDEX grows_v ON grows USING ivfpq (v vector_l2_ops);
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT count(*) FROM vdb.calibrate('grows_v');
INSERT INTO grows SELECT id, v FROM t;
SELECT count(*) FROM vdb.calibration('grows_v');
SELECT probes FROM vdb.recall('grows_v', 10, 1);
SET client_min_messages = debug1;
SELECT count(*) FROM (SELECT FROM grows ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1) s;
RESET client_min_messages;
SELECT count(*) FROM vdb.calibrate('grows_v');
VACUUM grows;
SELECT count(*) > 10 AS levels, max(probes) = (SELECT upper_records FROM vdb.check_index('grows_v')) AS all_lists,
	max(recall) > 0.95 AS reaches FROM vdb.calibration('grows_v');
SELECT recall >= 0.93 AS good FROM vdb.recall('grows_v', 10, 300);
SELECT FROM vdb.check_index('grows_v', true);

-- what was measured is kept where no lists change, and rows are vacuumed away

SELECT count(*) AS kept FROM vdb.calibration('grows_v') \gset
DELETE FROM grows WHERE id % 10 = 0;
VACUUM grows;
SELECT count(*) = :kept AS kept FROM vdb.calibration('grows_v');

-- so few rows are left that all lists are made anew, too few to measure with

DELETE FROM grows WHERE id > 15;
VACUUM grows;
SELECT count(*) FROM vdb.calibration('grows_v');
\set VERBOSITY terse
SELECT count(*) FROM vdb.calibrate('grows_v');
\set VERBOSITY default
DROP TABLE grows;

-- each type, and each way that rows are looked at again

CREATE FUNCTION try(column_type text, ops text, expression text, refine text) RETURNS TABLE (good bool, asked bool)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE u (v %s)', column_type);
	EXECUTE format('INSERT INTO u SELECT %s FROM t WHERE id <= 2000', expression);
	EXECUTE format('CREATE INDEX u_v ON u USING ivfpq (v %s) WITH (refine = %s)', ops, refine);
	SELECT recall >= 0.85 INTO good FROM vdb.recall('u_v', 10, 500);
	EXECUTE 'SELECT max(recall) > 0.9 FROM vdb.calibrate(''u_v'', (SELECT array_agg(v) FROM (SELECT v FROM u LIMIT 100) s))' INTO asked;
	DROP TABLE u;
	RETURN NEXT;
END $$;
SELECT * FROM try('vector(16)', 'vector_l2_ops', 'v', '12');
SELECT * FROM try('vector(16)', 'vector_l2_ops', 'v', '4');
SELECT * FROM try('vector(16)', 'vector_l2_ops', 'v', 'heap');
SELECT * FROM try('vector(16)', 'vector_ip_ops', 'v', '8');
SELECT * FROM try('vector(16)', 'vector_ip_ops', 'v', 'heap');
SELECT * FROM try('vector(16)', 'vector_cosine_ops', 'v', '8');
SELECT * FROM try('vector(16)', 'vector_cosine_ops', 'v', 'heap');
SELECT * FROM try('halfvec(16)', 'halfvec_l2_ops', 'v', '8');
SELECT * FROM try('bit(64)', 'bit_hamming_ops', '(hashint8(id)::bit(32) || hashint8(id / 3)::bit(32))::bit(64)', '8');

-- equal rows: whichever is found is right

SELECT * FROM try('vector(16)', 'vector_l2_ops', '(SELECT v FROM t s WHERE s.id = t.id % 5 + 1)', '8');
SELECT * FROM try('vector(16)', 'vector_l2_ops', 'array_fill(1, ARRAY[16])::vector', '8');

-- an expression's function is called as the table's owner

CREATE FUNCTION whom(v vector) RETURNS vector IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'vdb_somebody' THEN
		RAISE EXCEPTION 'called as %', current_user;
	END IF;
	RETURN v;
END $$;
CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
GRANT USAGE, CREATE ON SCHEMA public TO vdb_somebody;
CREATE TABLE owned (v vector(16));
INSERT INTO owned SELECT v FROM t WHERE id <= 200;
ALTER TABLE owned OWNER TO vdb_somebody;
CREATE INDEX owned_v ON owned USING ivfpq ((whom(v)::vector(16)) vector_l2_ops) WITH (refine = heap);
SELECT count(*) > 0 AS calibrated FROM vdb.calibrate('owned_v');
DROP TABLE owned;
DROP FUNCTION whom;

-- whose index it is

GRANT SELECT ON t TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT count(*) FROM vdb.calibrate('t_v');
SELECT count(*) > 10 AS levels FROM vdb.calibration('t_v');
RESET ROLE;

-- ivfflat has no target

CREATE INDEX t_flat ON t USING ivfflat (v vector_l2_ops) WITH (lists = 20);
SELECT count(*) FROM vdb.calibrate('t_flat');
SELECT count(*) FROM vdb.calibrate('t_flat', (SELECT array_agg(v) FROM t WHERE id < 100));
SELECT count(*) FROM vdb.calibration('t_flat');

-- ten of few rows are farther away than of many: VACUUM measures that

DELETE FROM t WHERE id % 10 <> 0;
VACUUM t;
RESET ivfpq.target_recall;
SELECT recall > 0.9 AS still_found FROM vdb.recall('t_v', 10, 200);

DROP TABLE t, answer;
DROP FUNCTION probes, cost, try, mean_recall;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
REVOKE USAGE, CREATE ON SCHEMA public FROM vdb_somebody;
DROP ROLE vdb_somebody;
RESET ivfpq.target_recall;
RESET enable_seqscan;
