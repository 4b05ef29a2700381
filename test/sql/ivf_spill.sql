-- Claims that an ivfpq index with spill = 1, which has its rows in two lists, returns each of them
-- once and in order whatever it scans and refines by, through inserts, deletes, VACUUM and
-- lists that change, and that its calibration holds.

CREATE FUNCTION place(i int) RETURNS vector(24) IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg((hashint4(i * 100 + j) / 2147483648.0)::real ORDER BY j)::vector FROM generate_series(1, 24) j $$;
CREATE TABLE points (id serial, n int, v vector(24));
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(1, 2500) i;
INSERT INTO points (n, v) SELECT i % 10, place(77) FROM generate_series(1, 200) i;
INSERT INTO points (n, v) VALUES (1, NULL);
ANALYZE points;

-- Rows in the order of an operator, by the index: how many, how many different ones, is any out of
-- order, and how many of the first hundred are farther than they should be.

CREATE FUNCTION found(operator text, condition text DEFAULT 'true')
RETURNS TABLE (found bigint, different bigint, disorder bigint, wrong bigint) LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS
$$
DECLARE
    scan text := format('SELECT id, row_number() OVER () AS nr, v %s place(5001) AS d FROM
        (SELECT id, v FROM points WHERE v IS NOT NULL AND %s ORDER BY v %1$s place(5001) LIMIT 100000) s', operator, condition);
    exact text := format('SELECT row_number() OVER (ORDER BY v %s place(5001)) AS nr, v %1$s place(5001) AS d
        FROM (SELECT v FROM points WHERE v IS NOT NULL AND %s OFFSET 0) s', operator, condition);
BEGIN
    RETURN QUERY EXECUTE format('WITH scan AS MATERIALIZED (%s), exact AS (%s)
        SELECT count(s.id), count(DISTINCT s.id),
            (SELECT count(*) FROM (SELECT d, lag(d) OVER (ORDER BY nr) AS before FROM scan) o WHERE d < before),
            count(*) FILTER (WHERE s.nr <= 100 AND s.d > e.d) FROM scan s LEFT JOIN exact e USING (nr)', scan, exact);
END
$$;
CREATE TABLE kinds (name text, options text);
INSERT INTO kinds VALUES ('rabitq', 'refine = 8'), ('4 bits', 'refine = 4'), ('heap', 'refine = heap'), ('pq', 'quantizer = pq'), ('opq', 'quantizer = opq'),
    ('sq8', 'quantizer = sq8'), ('none', 'quantizer = none');
CREATE TABLE orders (operator text, opclass text);
INSERT INTO orders VALUES ('<->', 'vector_l2_ops'), ('<#>', 'vector_ip_ops'), ('<=>', 'vector_cosine_ops');
CREATE TABLE modes (name text, probes text, factor text, iterative text, condition text);
INSERT INTO modes VALUES ('all', '30', '100', 'strict_order', 'true'), ('all', '30', '100', 'strict_order', 'n IN (3, 4)'),
    ('each', '1', '1', 'relaxed_order', 'true'), ('each', '1', '1', 'relaxed_order', 'n = 3'),
    ('strict', '1', '1', 'strict_order', 'true'), ('some', '7', '1', 'off', 'true'), ('some', '7', '8', 'off', 'n = 3');
CREATE FUNCTION all_kinds()
RETURNS TABLE (name text, opclass text, live bigint, mode text, condition text, found bigint, different bigint, disorder bigint, wrong bigint) LANGUAGE plpgsql AS
$$
DECLARE
    k record;
    m modes;
BEGIN
    FOR k IN SELECT * FROM kinds, orders LOOP
        EXECUTE format('CREATE INDEX i ON points USING ivfpq (v %s, n) WITH (lists = 30, spill = 1, %s)', k.opclass, k.options);
        FOR m IN TABLE modes LOOP
            PERFORM set_config('ivfpq.probes', m.probes, true), set_config('ivfpq.refine_factor', m.factor, true),
                set_config('ivfpq.iterative_scan', m.iterative, true);
            RETURN QUERY SELECT k.name, k.opclass, c.live, m.name, m.condition, f.* FROM vdb.check_index('i', true) c, found(k.operator, m.condition) f;
        END LOOP;
        DROP INDEX i;
    END LOOP;
END
$$;

-- all lists at once; one after the other, few rows at a time; some

CREATE TABLE answers AS SELECT * FROM all_kinds();
SELECT count(*) AS answers, count(*) FILTER (WHERE live = 2700) AS complete, count(*) FILTER (WHERE found = different) AS each_once FROM answers;
SELECT mode, condition, count(*) FILTER (WHERE found = CASE condition WHEN 'true' THEN 2700 WHEN 'n = 3' THEN 270 ELSE 540 END) AS complete
FROM answers WHERE mode IN ('all', 'each') GROUP BY 1, 2 ORDER BY mode, condition COLLATE "C";
SELECT count(*) FILTER (WHERE disorder > 0) AS disorder, count(*) FILTER (WHERE mode = 'all' AND wrong > 0) AS wrong,
    count(*) FILTER (WHERE mode = 'some' AND found >= 2700) AS too_many FROM answers WHERE mode <> 'each';

-- a distance to nothing, and one that ends a scan

SET enable_seqscan = off;
CREATE INDEX points_v ON points USING ivfpq (v vector_l2_ops) WITH (lists = 30, spill = 1);
SET ivfpq.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM points ORDER BY v <-> NULL LIMIT 10000) s;
SET ivfpq.probes = 30;
SELECT count(*) = (SELECT count(*) FROM points WHERE (v <-> place(77)) + 0 < 2) AS complete, count(*) = count(DISTINCT id) AS once
FROM (SELECT id FROM points WHERE v <-> place(77) < 2 ORDER BY v <-> place(77) LIMIT 10000) s;
RESET ivfpq.probes;
RESET ivfpq.iterative_scan;

-- the index counts rows, not lanes, and has twice the lanes of another

CREATE INDEX points_once ON points USING ivfpq (v vector_l2_ops) WITH (lists = 30);
SELECT relname, reltuples, live FROM pg_class, vdb.check_index(oid) WHERE relname IN ('points_v', 'points_once') ORDER BY 1;
SELECT pg_relation_size('points_v') > 1.2 * pg_relation_size('points_once') AS twice;
DELETE FROM points WHERE id <= 500;
VACUUM points;
SELECT relname, reltuples, live FROM pg_class, vdb.check_index(oid, true) WHERE relname IN ('points_v', 'points_once') ORDER BY 1;
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(10001, 10500) i;
UPDATE points SET n = n + 10, v = place(id) WHERE id BETWEEN 1000 AND 1300;
VACUUM points;
SELECT relname, reltuples, live FROM pg_class, vdb.check_index(oid, true) WHERE relname IN ('points_v', 'points_once') ORDER BY 1;
SET ivfpq.probes = 30;
SELECT * FROM found('<->');
RESET ivfpq.probes;

-- an option that was altered counts when the index is made again

ALTER INDEX points_v SET (spill = 0);
ALTER INDEX points_once SET (spill = 1);
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(20001, 22500) i;
SELECT live FROM vdb.check_index('points_v', true) UNION ALL SELECT live FROM vdb.check_index('points_once', true);
SELECT pg_relation_size('points_v') > 1.2 * pg_relation_size('points_once') AS twice;
REINDEX INDEX points_v;
REINDEX INDEX CONCURRENTLY points_once;
SELECT live FROM vdb.check_index('points_v', true) UNION ALL SELECT live FROM vdb.check_index('points_once', true);
SELECT pg_relation_size('points_once') > 1.2 * pg_relation_size('points_v') AS twice;
DROP INDEX points_v, points_once;
CREATE INDEX CONCURRENTLY points_later ON points USING ivfpq (v vector_cosine_ops) WITH (lists = 30, spill = 1);
SELECT live FROM vdb.check_index('points_later', true);
DROP TABLE points;

-- an index of an empty table has one list, and of each row one lane; VACUUM gives both

CREATE TABLE points (id serial, n int, v vector(24));
CREATE INDEX t_v ON points USING ivfpq (v vector_l2_ops) WITH (spill = 1);
CREATE INDEX t_once ON points USING ivfpq (v vector_l2_ops);
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(1, 2000) i;
SELECT relname, live, upper_records FROM pg_class, vdb.check_index(oid, true) WHERE relname IN ('t_v', 't_once') ORDER BY 1;
SELECT pg_relation_size('t_v') <= pg_relation_size('t_once') AS once;
VACUUM points;
SELECT relname, live, upper_records > 20 AS lists FROM pg_class, vdb.check_index(oid, true) WHERE relname IN ('t_v', 't_once') ORDER BY 1;
SET ivfpq.probes = 1000;
SET ivfpq.iterative_scan = relaxed_order;
SELECT found, different FROM found('<->');

-- lists that have grown are divided, others stay, and rows are in both

INSERT INTO points (n, v) SELECT 1, place(i) * array_fill(0.02, ARRAY[24])::vector + place(1) FROM generate_series(1, 1500) i;
VACUUM points;
SELECT live, upper_records > 30 AS more FROM vdb.check_index('t_v', true);
SELECT found, different FROM found('<->');
DELETE FROM points WHERE n = 1;
VACUUM points;
SELECT live FROM vdb.check_index('t_v', true);
SELECT found, different FROM found('<->');

-- no second lane where rows are left for one list alone

DELETE FROM points WHERE id > 50;
VACUUM points;
SELECT live, upper_records FROM vdb.check_index('t_v', true);
SELECT found, different FROM found('<->');
TRUNCATE points;
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(1, 1000) i;
REINDEX TABLE points;
SELECT live FROM vdb.check_index('t_v', true);
SELECT found, different FROM found('<->');
RESET ivfpq.probes;
RESET ivfpq.iterative_scan;

-- calibrated: what is promised of questions, less a little, is what scans find that look as far

TRUNCATE points;
INSERT INTO points (n, v) SELECT i % 10, place(i) FROM generate_series(1, 6000) i;
CREATE TABLE questions AS SELECT q.v, (SELECT array_agg(id) FROM (SELECT id FROM points ORDER BY (points.v <-> q.v) + 0 LIMIT 10) e) AS nearest
    FROM (SELECT place(i) AS v FROM generate_series(7001, 7200) i OFFSET 0) q;
CREATE FUNCTION recall(probes int, factor int) RETURNS float8 LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM set_config('ivfpq.probes', probes::text, true), set_config('ivfpq.refine_factor', factor::text, true);
    RETURN (SELECT avg((SELECT count(*) FROM (SELECT id FROM points ORDER BY points.v <-> q.v LIMIT 10) a WHERE id = ANY (nearest))) / 10 FROM questions q);
END
$$;
DROP INDEX t_once;
CREATE FUNCTION promises() RETURNS TABLE (levels bigint, kept bigint, too_low bigint) LANGUAGE sql AS
$$
    SELECT count(*), count(*) FILTER (WHERE found > recall - 0.01), count(*) FILTER (WHERE found > recall + 0.06)
    FROM (SELECT recall(probes, refine_factor) AS found, recall
        FROM vdb.calibrate('t_v', (SELECT array_agg(v) FROM questions)) WHERE probes IN (2, 5, 11, 29)) c
$$;
REINDEX INDEX t_v;
SELECT * FROM promises();
ALTER INDEX t_v SET (refine = heap);
REINDEX INDEX t_v;
SELECT max(recall) > 0.95 AS all, min(recall) < 0.5 AS rising FROM vdb.calibration('t_v');
SELECT * FROM promises();
ALTER INDEX t_v SET (quantizer = sq8, refine = 8);
REINDEX INDEX t_v;
SELECT * FROM promises();

-- unlogged, and with nothing in it

CREATE UNLOGGED TABLE u (v vector(24));
CREATE INDEX u_v ON u USING ivfpq (v) WITH (spill = 1);
SELECT count(*) FROM (SELECT FROM u ORDER BY v <-> place(1) LIMIT 10) s;
INSERT INTO u SELECT v FROM points LIMIT 100;
SELECT live FROM vdb.check_index('u_v', true);

-- what is refused

CREATE INDEX ON u USING ivfpq (v) WITH (spill = 2);
CREATE INDEX ON u USING ivfpq (v) WITH (spill = -1);
CREATE INDEX ON u USING ivfflat (v) WITH (spill = 1);
DROP TABLE points, u, kinds, orders, modes, answers, questions;
DROP FUNCTION place, found, all_kinds, recall, promises;
