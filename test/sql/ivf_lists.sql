-- Claims that lists follow the rows: an index of a table that was empty, or small, gets lists
-- from VACUUM when there are rows for them, lists that have grown are divided, those without
-- rows go, and no row is lost or found twice over it.

CREATE TABLE t (id serial, n int DEFAULT 7, v vector(24));
CREATE INDEX t_v ON t USING ivfpq (v vector_l2_ops, n);
CREATE FUNCTION place(a int, b int DEFAULT 0) RETURNS vector IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg(sin(a * 0.37 * i) * 10 + sin(b * 1.7 * i) ORDER BY i)::vector FROM generate_series(1, 24) i $$;
CREATE FUNCTION reached() RETURNS TABLE (live bigint, lists bigint, found bigint, ids bigint)
LANGUAGE sql SET enable_seqscan = off SET ivfpq.iterative_scan = relaxed_order AS
$$
    SELECT c.live, c.upper_records, s.*
    FROM vdb.check_index('t_v', true) c,
        (SELECT count(*), count(DISTINCT id)
         FROM (SELECT id FROM t WHERE n = 7 ORDER BY v <-> place(5) LIMIT 100000) o) s
$$;

-- an index of an empty table

INSERT INTO t (v) SELECT place(i % 40, i) FROM generate_series(1, 100) i;
SELECT * FROM reached();
VACUUM t;
SELECT * FROM reached();
INSERT INTO t (v) SELECT place(i % 40, i) FROM generate_series(101, 4000) i;
VACUUM t;
SELECT live, lists BETWEEN 30 AND 62 AS lists, found, ids FROM reached();

-- as long as little changes, no list does

SELECT pg_relation_size('t_v') AS size \gset
SELECT lists FROM reached() \gset
VACUUM t;
DELETE FROM t WHERE id % 10 = 0;
VACUUM t;
SELECT live, lists = :lists AS same_lists, found, ids, pg_relation_size('t_v') = :size AS same_size FROM reached();

-- rows that come to one place: the list there is divided

INSERT INTO t (v) SELECT place(3, i) FROM generate_series(1, 3000) i;
VACUUM t;
SELECT live, lists > :lists AS more_lists, found, ids FROM reached();

-- a place is left by its rows: lists without any go

SELECT lists FROM reached() \gset
DELETE FROM t WHERE v <-> place(3) < 10;
VACUUM t;
SELECT live = (SELECT count(*) FROM t) AS all, lists < :lists AS fewer_lists, found = live AS found, ids = live AS once FROM reached();

-- what is left over is used again

SELECT pg_relation_size('t_v') AS size \gset
INSERT INTO t (v) SELECT place(i % 40, i) FROM generate_series(1, 3000) i;
VACUUM t;
SELECT pg_relation_size('t_v') <= :size AS no_larger;
SELECT live = (SELECT count(*) FROM t) AS all, found = live AS found, ids = live AS once FROM reached();

-- nothing is left; later, few rows

DELETE FROM t;
VACUUM t;
SELECT live, found, ids FROM reached();
INSERT INTO t (v) SELECT place(i % 40, i) FROM generate_series(1, 300) i;
VACUUM t;
SELECT live, lists <= 16 AS few_lists, found, ids FROM reached();

-- the same of ivfflat, whose number of lists the user chooses; of rows that are null, or have no
-- direction; and of values that an expression makes

CREATE TABLE e (id serial, a real[]);
CREATE INDEX e_v ON e USING ivfflat ((a::vector(24)) vector_cosine_ops) WITH (lists = 20);
INSERT INTO e (a) SELECT place(i % 40, i)::real[] FROM generate_series(1, 3000) i;
INSERT INTO e (a) SELECT NULL FROM generate_series(1, 100);
INSERT INTO e (a) SELECT array_fill(0::real, ARRAY[24]) FROM generate_series(1, 100);
VACUUM e;
SELECT live, upper_records BETWEEN 10 AND 20 AS lists FROM vdb.check_index('e_v', true);
SET enable_seqscan = off;
SET ivfflat.probes = 20;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM e ORDER BY a::vector(24) <=> place(9) LIMIT 10000) s;

-- rows that are long enough to be stored elsewhere, of a table of which a part is indexed

CREATE TABLE w (id serial, v vector(1000));
ALTER TABLE w ALTER v SET STORAGE EXTERNAL;
CREATE INDEX w_v ON w USING ivfpq (v vector_l2_ops) WITH (refine = heap) WHERE id % 2 = 0;
INSERT INTO w (v) SELECT array_fill(i % 9, ARRAY[1000])::vector FROM generate_series(1, 1000) i;
VACUUM w;
SELECT live, upper_records > 1 AS lists FROM vdb.check_index('w_v', true);

-- a function of a user's, which may fail, is none of VACUUM's

CREATE TABLE u (id serial, v vector(24));
ALTER TABLE u SET (autovacuum_enabled = off);
CREATE FUNCTION read(v vector) RETURNS vector IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('test.fail', true) = 'on' THEN
		RAISE EXCEPTION 'no value can be read';
	END IF;
	RETURN v;
END $$;
CREATE INDEX u_v ON u USING ivfpq ((read(v)::vector(24)) vector_l2_ops);
INSERT INTO u (v) SELECT place(i % 40, i) FROM generate_series(1, 3000) i;
SET test.fail = on;
VACUUM u;
SELECT work FROM vdb.maintain('u_v') WHERE work = 'clean-up';
SET test.fail = off;
SELECT upper_records AS lists FROM vdb.check_index('u_v', true);
SELECT work, done FROM vdb.maintain('u_v') WHERE work = 'clean-up';
SELECT live, upper_records > 1 AS lists FROM vdb.check_index('u_v', true);

DROP TABLE t, e, w, u;
DROP FUNCTION reached, place, read;
