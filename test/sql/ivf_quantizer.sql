-- Claims that whatever the scan codes of an ivfpq index are made of, rows are found in exact
-- order, inserts, VACUUM and changes of lists lose none, and options that contradict each
-- other are refused.

CREATE TABLE points (id int, v vector(30), h halfvec(30), b bit(200));
CREATE FUNCTION place(i int) RETURNS real[] IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg(sin(i * j * 1.7 + j)::real ORDER BY j) FROM generate_series(1, 30) j $$;
CREATE FUNCTION bits(i int) RETURNS bit(200) IMMUTABLE LANGUAGE sql AS
$$ SELECT ('x' || md5(i::text) || md5((i + 1)::text))::bit(200) $$;
INSERT INTO points SELECT i, place(i)::vector, place(i)::halfvec, bits(i) FROM generate_series(1, 2000) i;
INSERT INTO points VALUES (10001);
INSERT INTO points SELECT 10002, v, v, 0::bit(200) FROM (SELECT array_fill(0, ARRAY[30])::vector AS v) s;
ANALYZE points;

-- each quantizer in turn, with every distance

CREATE TABLE kinds (name text, options text);
INSERT INTO kinds VALUES ('rabitq', 'quantizer = rabitq'), ('pq', 'quantizer = pq'), ('pq_few', 'quantizer = pq, pq_m = 1'),
    ('pq_uneven', 'quantizer = pq, pq_m = 7, refine = 4'), ('pq_most', 'quantizer = pq, pq_m = 32'),
    ('pq_heap', 'quantizer = pq, refine = heap'), ('sq8', 'quantizer = sq8'), ('sq8_said', 'quantizer = sq8, refine = 8'),
    ('none', 'quantizer = none'), ('opq', 'quantizer = opq'), ('opq_uneven', 'quantizer = opq, pq_m = 7, refine = 4'),
    ('opq_heap', 'quantizer = opq, refine = heap'), ('pq_anisotropic', 'quantizer = pq, anisotropic = 0.2'),
    ('opq_anisotropic', 'quantizer = opq, anisotropic = 0.99');
CREATE TABLE orders (col text, operator text, class text);
INSERT INTO orders VALUES ('v', '<->', 'vector_l2_ops'), ('v', '<#>', 'vector_ip_ops'), ('v', '<=>', 'vector_cosine_ops'),
    ('h', '<->', 'halfvec_l2_ops'), ('h', '<#>', 'halfvec_ip_ops'), ('h', '<=>', 'halfvec_cosine_ops'), ('b', '<~>', 'bit_hamming_ops');
CREATE FUNCTION nearest(col text, operator text, question int, howmany int) RETURNS float8[] LANGUAGE plpgsql AS
$$
DECLARE
    value text := CASE col WHEN 'v' THEN 'place(%s)::vector' WHEN 'h' THEN 'place(%s)::halfvec' ELSE 'bits(%s)' END;
    distance text := format('%s %s %s', col, operator, format(value, question));
    distances float8[];
BEGIN
    EXECUTE format('SELECT array_agg(d) FROM (SELECT %1$s AS d FROM points ORDER BY %1$s LIMIT %2$s) s WHERE d <> ''NaN''', distance, howmany)
    INTO distances;
    RETURN distances;
END
$$;
CREATE FUNCTION exactly(col text, operator text, question int, howmany int) RETURNS float8[] LANGUAGE sql
    SET enable_indexscan = off AS $$ SELECT nearest(col, operator, question, howmany) $$;
CREATE FUNCTION by_index(col text, operator text, question int, howmany int) RETURNS float8[] LANGUAGE sql
    SET enable_seqscan = off SET enable_sort = off AS $$ SELECT nearest(col, operator, question, howmany) $$;
CREATE FUNCTION differing(howmany int) RETURNS TABLE (kind text, differing bigint, live bigint, lists bigint) LANGUAGE plpgsql AS
$$
DECLARE
    k kinds;
    o orders;
BEGIN
    FOR k IN TABLE kinds LOOP
        kind := k.name;
        differing := 0;
        FOR o IN TABLE orders LOOP
            CONTINUE WHEN k.options ~ 'anisotropic' AND o.operator NOT IN ('<#>', '<=>');
            EXECUTE format('CREATE INDEX i ON points USING ivfpq (%s %s) WITH (lists = 12, %s)', o.col, o.class, k.options);
            differing := differing + (SELECT count(*) FROM unnest(ARRAY[1, 3000, 3001]) q,
                unnest(exactly(o.col, o.operator, q, howmany), by_index(o.col, o.operator, q, howmany)) AS u (e, f) WHERE e IS DISTINCT FROM f);
            SELECT c.live, c.upper_records INTO live, lists FROM vdb.check_index('i', true) c;
            DROP INDEX i;
        END LOOP;
        RETURN NEXT;
    END LOOP;
END
$$;
SET ivfpq.probes = 12;
SET ivfpq.refine_factor = 1000;
SELECT kind, differing, lists FROM differing(2001);
SET ivfpq.refine_factor = 50;
SELECT kind, differing < CASE WHEN kind ~ 'pq' THEN 150 WHEN kind = 'rabitq' THEN 10 ELSE 1 END AS few FROM differing(20);
RESET ivfpq.refine_factor;

-- an index of an empty table, inserts, VACUUM and the lists that come of it

CREATE TABLE t (id serial, n int DEFAULT 7, v vector(30));
CREATE INDEX t_pq ON t USING ivfpq (v vector_l2_ops, n) WITH (quantizer = pq);
CREATE INDEX t_opq ON t USING ivfpq (v vector_cosine_ops, n) WITH (quantizer = opq, anisotropic = 0.1);
CREATE INDEX t_sq8 ON t USING ivfpq (v vector_ip_ops, n) WITH (quantizer = sq8);
CREATE INDEX t_none ON t USING ivfpq (v vector_cosine_ops, n) WITH (quantizer = none);
CREATE FUNCTION reached() RETURNS TABLE (name text, live bigint, lists bigint, l2 bigint, ip bigint, cosine bigint) LANGUAGE sql
    SET enable_seqscan = off SET enable_sort = off SET ivfpq.iterative_scan = relaxed_order AS
$$
    SELECT relname, c.live, c.upper_records,
        (SELECT count(DISTINCT id) FROM (SELECT id FROM t WHERE n = 7 ORDER BY v <-> place(5)::vector LIMIT 100000) s),
        (SELECT count(DISTINCT id) FROM (SELECT id FROM t WHERE n = 7 ORDER BY v <#> place(5)::vector LIMIT 100000) s),
        (SELECT count(DISTINCT id) FROM (SELECT id FROM t WHERE n = 7 ORDER BY v <=> place(5)::vector LIMIT 100000) s)
    FROM pg_class, vdb.check_index(oid, true) c WHERE relname ~ '^t_(pq|opq|sq8|none)$' ORDER BY 1
$$;
SELECT * FROM reached();
INSERT INTO t (v) SELECT place(i)::vector FROM generate_series(1, 100) i;
SELECT * FROM reached();
INSERT INTO t (v) SELECT place(i)::vector FROM generate_series(101, 3000) i;
VACUUM t;
SELECT name, live, lists > 20 AS lists, l2, ip, cosine FROM reached();
DELETE FROM t WHERE id % 3 = 0;
VACUUM t;
SELECT name, live, l2, ip, cosine FROM reached();
REINDEX TABLE t;
SELECT name, live, l2, ip, cosine FROM reached();

-- refine_factor says nothing where all rows are refined

SET enable_seqscan = off;
SET enable_sort = off;
SET ivfpq.probes = 1000;
SET ivfpq.refine_factor = 1;
DROP INDEX t_pq;
CREATE INDEX t_sq8_l2 ON t USING ivfpq (v vector_l2_ops) WITH (quantizer = sq8);
SELECT array_agg(id) = (SELECT array_agg(id ORDER BY d) FROM (SELECT id, place(4000)::vector <-> v AS d FROM t ORDER BY d, id LIMIT 50) e) AS exact
FROM (SELECT id FROM t ORDER BY v <-> place(4000)::vector LIMIT 50) s;
RESET ivfpq.refine_factor;
RESET ivfpq.probes;

-- an unlogged table has the codebook in its initial fork, too

CREATE UNLOGGED TABLE u (v vector(30));
CREATE INDEX u_pq ON u USING ivfpq (v) WITH (quantizer = pq, pq_m = 10);
INSERT INTO u SELECT v FROM t;
SELECT live FROM vdb.check_index('u_pq', true);

-- the fewer parts, the smaller an index; nothing is stored for nobody

CREATE INDEX size_pq ON points USING ivfpq (v) WITH (lists = 1, refine = heap, quantizer = pq);
CREATE INDEX size_few ON points USING ivfpq (v) WITH (lists = 1, refine = heap, quantizer = pq, pq_m = 2);
CREATE INDEX size_8 ON points USING ivfpq (v) WITH (lists = 1);
CREATE INDEX size_sq8 ON points USING ivfpq (v) WITH (lists = 1, quantizer = sq8);
SELECT pg_relation_size('size_few') < pg_relation_size('size_pq') AS few,
    pg_relation_size('size_sq8') < pg_relation_size('size_8') AS sq8;

-- a rotation that memory does not suffice for is asked for where there are rows to learn from
CREATE TABLE emptied (v vector(2000));
SET maintenance_work_mem = '1MB';
CREATE INDEX emptied_opq ON emptied USING ivfpq (v vector_l2_ops) WITH (quantizer = opq);
INSERT INTO emptied SELECT array_fill(i, ARRAY[2000])::vector FROM generate_series(1, 3) i;
REINDEX INDEX emptied_opq;
TRUNCATE emptied;
RESET maintenance_work_mem;
DROP TABLE emptied;

-- what is refused

CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = lsq);
CREATE INDEX ON t USING ivfpq (v) WITH (pq_m = 4);
CREATE INDEX ON t USING ivfpq (v vector_ip_ops) WITH (anisotropic = 0.2);
CREATE INDEX ON t USING ivfpq (v vector_ip_ops) WITH (quantizer = pq, anisotropic = 1);
CREATE INDEX ON t USING ivfpq (v vector_ip_ops) WITH (quantizer = pq, anisotropic = -0.1);
CREATE INDEX ON t USING ivfpq (v vector_l2_ops) WITH (quantizer = opq, anisotropic = 0.2);
CREATE INDEX ON points USING ivfpq (b bit_hamming_ops) WITH (quantizer = pq, anisotropic = 0.2);
CREATE TABLE wide (v vector(2001));
CREATE INDEX ON wide USING ivfpq (v vector_l2_ops) WITH (quantizer = opq);
SET maintenance_work_mem = '1MB';
CREATE INDEX ON points USING ivfpq (b bit_hamming_ops) WITH (quantizer = opq);
RESET maintenance_work_mem;
DROP TABLE wide;
CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = pq, pq_m = -1);
CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = pq, pq_m = 33);
CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = sq8, pq_m = 4);
CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = sq8, refine = 12);
CREATE INDEX ON t USING ivfpq (v) WITH (quantizer = none, refine = heap);
CREATE INDEX ON t USING ivfflat (v) WITH (quantizer = pq);
ALTER INDEX t_sq8 SET (refine = 4);
DROP TABLE points, kinds, orders, t, u;
DROP FUNCTION place, bits, nearest, exactly, by_index, differing, reached;

-- a session remembers an index, and not what it was before it was made anew
CREATE TABLE known (v vector(3));
CREATE INDEX known_v ON known USING ivfpq (v vector_l2_ops);
REINDEX INDEX CONCURRENTLY known_v;
REINDEX INDEX known_v;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'ivf index';
DROP TABLE known;
