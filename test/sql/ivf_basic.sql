-- Claims that both inverted files return the rows a sequential scan returns, in the
-- same order, for every distance they know, and that none is lost for being equal to
-- others, far away, or alone in its list.

CREATE TABLE points (id int, v vector(24), h halfvec(24), b bit(200), c bit(200));
CREATE FUNCTION place(i int) RETURNS real[] IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg(sin(i * j * 1.7 + j)::real ORDER BY j) FROM generate_series(1, 24) j $$;
CREATE FUNCTION bits(i int) RETURNS bit(200) IMMUTABLE LANGUAGE sql AS
$$ SELECT ('x' || md5(i::text) || md5((i + 1)::text))::bit(200) $$;
INSERT INTO points SELECT i, place(i)::vector, place(i)::halfvec, bits(i), bits(i) FROM generate_series(1, 3000) i;
INSERT INTO points VALUES (10001);
INSERT INTO points SELECT 10002, v, v, 0::bit(200), 0::bit(200) FROM (SELECT array_fill(0, ARRAY[24])::vector AS v) s;
ANALYZE points;

CREATE INDEX flat_l2 ON points USING ivfflat (v) WITH (lists = 20);
CREATE INDEX flat_ip ON points USING ivfflat (v vector_ip_ops) WITH (lists = 20);
CREATE INDEX flat_cosine ON points USING ivfflat (h halfvec_cosine_ops) WITH (lists = 20);
CREATE INDEX flat_hamming ON points USING ivfflat (b bit_hamming_ops) WITH (lists = 20);
CREATE INDEX pq_hamming ON points USING ivfpq (c bit_hamming_ops);
CREATE INDEX pq_l2 ON points USING ivfpq (h halfvec_l2_ops) WITH (refine = 4);
CREATE INDEX pq_ip ON points USING ivfpq (h halfvec_ip_ops) WITH (refine = 8, lists = 11);
CREATE INDEX pq_cosine ON points USING ivfpq (v vector_cosine_ops) WITH (refine = heap, lists = 33);
SELECT relname, live, upper_records AS lists, unreachable FROM pg_class, vdb.check_index(oid, true)
WHERE relname ~ '^(flat|pq)_' ORDER BY 1;

SET enable_sort = off;
SET enable_seqscan = off;
SET ivfflat.probes = 40;
SET ivfpq.probes = 100;

-- the whole order, against the exact one: no row is missing, nor at a wrong place

CREATE FUNCTION differing(index text, col text, operator text, question int, howmany int) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
    distance text := format('%s %s %s', col, operator, format(CASE col WHEN 'v' THEN 'place(%s)::vector' WHEN 'h' THEN 'place(%s)::halfvec' ELSE 'bits(%s)' END, question));
    statement text := format('SELECT array_agg(d) FROM (SELECT %1$s AS d FROM points ORDER BY %1$s LIMIT %2$s) s WHERE d <> ''NaN''', distance, howmany);
    exact float8[];
    found float8[];
    plan json;
BEGIN
    SET LOCAL enable_sort = on;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_indexscan = off;
    EXECUTE statement INTO exact;
    SET LOCAL enable_sort = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_indexscan = on;
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO plan;
    IF position('"' || index || '"' IN plan::text) = 0 THEN
        RAISE EXCEPTION 'index % is not used', index USING DETAIL = plan::text;
    END IF;
    EXECUTE statement INTO found;
    RETURN (SELECT count(*) FROM unnest(exact, found) AS u (e, f) WHERE e IS DISTINCT FROM f);
END
$$;
CREATE TABLE orders (index name, col text, operator text);
INSERT INTO orders VALUES ('flat_l2', 'v', '<->'), ('flat_ip', 'v', '<#>'), ('flat_cosine', 'h', '<=>'),
    ('flat_hamming', 'b', '<~>'), ('pq_hamming', 'c', '<~>'), ('pq_l2', 'h', '<->'), ('pq_ip', 'h', '<#>'), ('pq_cosine', 'v', '<=>');
SET ivfpq.refine_factor = 1000;
SELECT index, sum(differing(index, col, operator, q, 3001)) FROM orders, unnest(ARRAY[1, 5000, 5001]) q GROUP BY 1 ORDER BY 1;
SET ivfpq.refine_factor = 30;
SELECT index, sum(differing(index, col, operator, q, 20)) FROM orders, generate_series(6000, 6010) q GROUP BY 1 ORDER BY 1;
RESET ivfpq.refine_factor;

-- what an index finds is measured, of as many lists as a scan begins with

SELECT index, probes, ef_search, queries, recall > CASE WHEN index ~ 'flat' THEN 0.999 ELSE 0.95 END AS good
FROM orders, vdb.recall(index::text::regclass, 10, 50) ORDER BY 1;
SET ivfflat.probes = 1;
SET ivfpq.probes = 1;
SELECT index, probes, recall > 0.02 AND recall < 0.9 AS low FROM orders, vdb.recall(index::text::regclass, 10, 50)
WHERE index ~ 'hamming' ORDER BY 1;
SET ivfflat.probes = 40;
SET ivfpq.probes = 100;

-- NULL is not indexed; nor is a zero vector where it has no angle to anything

SET ivfflat.iterative_scan = relaxed_order;
SELECT count(*), count(*) FILTER (WHERE id = 10001) AS nulls, count(*) FILTER (WHERE id = 10002) AS zero
FROM (SELECT * FROM points ORDER BY v <-> place(1)::vector) s;
SELECT count(*), count(*) FILTER (WHERE id = 10001) AS nulls, count(*) FILTER (WHERE id = 10002) AS zero
FROM (SELECT * FROM points ORDER BY h <=> place(1)::halfvec) s;

-- no direction, no question: any order will do

SELECT count(*) FROM (SELECT * FROM points ORDER BY v <=> array_fill(0, ARRAY[24])::vector LIMIT 10) s;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> NULL LIMIT 10) s;
SELECT id FROM points ORDER BY v <-> '[1,2,3]' LIMIT 1;

-- a few lists hold few rows, unless the scan goes on

SET ivfflat.probes = 1;
SET ivfflat.iterative_scan = off;
SELECT count(*) < 3000 AS short FROM (SELECT * FROM points ORDER BY v <-> place(1)::vector) s;
SET ivfflat.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT * FROM points ORDER BY v <-> place(1)::vector) s;
SET ivfflat.max_probes = 2;
SELECT count(*) < 3000 AS short FROM (SELECT * FROM points ORDER BY v <-> place(1)::vector) s;
RESET ivfflat.max_probes;

-- a thousand equal rows: each once, whatever a round takes

SET ivfpq.iterative_scan = relaxed_order;
SET ivfpq.refine_factor = 2;
CREATE TABLE equal (id serial, v vector(24));
INSERT INTO equal (v) SELECT place(1)::vector FROM generate_series(1, 1000);
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(2, 500) i;
CREATE INDEX equal_v ON equal USING ivfpq (v) WITH (lists = 10);
SELECT count(*), count(DISTINCT id), max(d) FROM (SELECT id, v <-> place(1)::vector AS d FROM equal ORDER BY v <-> place(1)::vector LIMIT 1000) s;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM equal ORDER BY v <-> place(3)::vector LIMIT 1499) s;
SELECT live, unreachable FROM vdb.check_index('equal_v', true);

-- vectors beyond what floats can square, of which nothing is estimated

INSERT INTO equal (v) SELECT array_fill(x, ARRAY[24])::vector FROM unnest(ARRAY[1e20, -1e25, 1e-30, 3e38]::real[]) x;
SELECT count(*) FROM (SELECT id FROM equal ORDER BY v <-> place(3)::vector LIMIT 1503) s;
SELECT count(*) FROM (SELECT id FROM equal ORDER BY v <-> array_fill(1e25, ARRAY[24])::vector LIMIT 1503) s;
SELECT live FROM vdb.check_index('equal_v', true);

-- an index of an empty table takes rows, and finds them

TRUNCATE equal RESTART IDENTITY;
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(1, 2000) i;
SELECT id FROM equal ORDER BY v <-> place(1234)::vector LIMIT 1;
SELECT live, upper_records AS lists FROM vdb.check_index('equal_v', true);

-- a long list does not grow by churn, wherever in it rows go

ALTER INDEX equal_v SET (lists = 1);
SELECT pg_relation_size('equal_v') AS size \gset
DELETE FROM equal WHERE id % 50 < 10;
VACUUM (INDEX_CLEANUP ON) equal;
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(1, 2000) i WHERE i % 50 < 10;
DELETE FROM equal WHERE id % 50 BETWEEN 20 AND 29;
VACUUM (INDEX_CLEANUP ON) equal;
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(1, 2000) i WHERE i % 50 BETWEEN 20 AND 29;
SELECT pg_relation_size('equal_v') - :size AS grown, live, free FROM vdb.check_index('equal_v', true);
TRUNCATE equal RESTART IDENTITY;
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(1, 2000) i;
ALTER INDEX equal_v SET (lists = 10);
REINDEX INDEX equal_v;
SELECT live, upper_records AS lists FROM vdb.check_index('equal_v', true);

-- rows come and go: the lanes of those that are gone are taken again

SELECT pg_relation_size('equal_v') AS size \gset
DELETE FROM equal WHERE id % 4 = 0;
VACUUM (INDEX_CLEANUP ON) equal;
SELECT live FROM vdb.check_index('equal_v', true);
INSERT INTO equal (v) SELECT place(i)::vector FROM generate_series(1, 2000) i WHERE i % 4 = 0;
SELECT live FROM vdb.check_index('equal_v', true);
SELECT pg_relation_size('equal_v') - :size <= 65536 AS an_extent_at_most;

-- an insert goes to the list that a build would have put the row in, whatever rows are asked for by

CREATE FUNCTION scattered(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg((1 + i % 9)::float8 * hashint4(i * 24 + j) ORDER BY j)::vector FROM generate_series(1, 24) j $$;
CREATE TABLE again (id int, v vector(24));
INSERT INTO again SELECT i, scattered(i) FROM generate_series(1, 4000) i;
CREATE INDEX ON again USING ivfpq (v vector_l2_ops) WITH (lists = 30);
CREATE INDEX ON again USING ivfpq (v vector_ip_ops) WITH (lists = 30);
CREATE INDEX ON again USING ivfpq (v vector_cosine_ops) WITH (lists = 30);
SET ivfpq.probes = 3;
CREATE VIEW answers AS
SELECT '<->' AS operator, q, n.id FROM generate_series(5001, 5200) q, LATERAL (SELECT id FROM again ORDER BY v <-> scattered(q) LIMIT 10) n
UNION ALL
SELECT '<#>', q, n.id FROM generate_series(5001, 5200) q, LATERAL (SELECT id FROM again ORDER BY v <#> scattered(q) LIMIT 10) n
UNION ALL
SELECT '<=>', q, n.id FROM generate_series(5001, 5200) q, LATERAL (SELECT id FROM again ORDER BY v <=> scattered(q) LIMIT 10) n;
CREATE TABLE of_built AS SELECT * FROM answers;
DELETE FROM again;
VACUUM (INDEX_CLEANUP ON) again;
INSERT INTO again SELECT i, scattered(i) FROM generate_series(1, 4000) i;
SELECT operator, count(answers) / 2000.0 > 0.93 AS alike FROM of_built LEFT JOIN answers USING (operator, q, id)
GROUP BY 1 ORDER BY 1;
DROP VIEW answers;

DROP TABLE points, equal, orders, again, of_built;
DROP FUNCTION scattered;
DROP FUNCTION differing;
DROP FUNCTION place, bits;
