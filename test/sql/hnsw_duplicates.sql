-- Claims that rows with an equal value share a node: they are found like others,
-- each once, cost little, and do not crowd out what is different.

SELECT setseed(0.5);
SET enable_seqscan = off;
SET client_min_messages = warning;
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 1000000;
SET work_mem = '64MB';
CREATE FUNCTION numbers(dims int) RETURNS real[] LANGUAGE sql VOLATILE AS
$$ SELECT array_agg(random()::real) FROM generate_series(1, dims) $$;

-- five copies of each: an index is as if there were one
CREATE TABLE words (n int, v vector(16));
INSERT INTO words SELECT i, numbers(16 + 0 * i)::vector FROM generate_series(1, 1500) i;
CREATE TABLE t (id serial, n int, v vector(16));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
INSERT INTO t (n, v) SELECT n, v FROM words, generate_series(1, 5) copy ORDER BY copy, n;
SELECT live, attached, unreachable FROM vdb.check_index('t_v', true);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> numbers(16)::vector) s;

CREATE FUNCTION found(tab regclass, operator text, rows int) RETURNS numeric LANGUAGE plpgsql AS
$$
DECLARE
	question text;
	right_d float8[];
	found_d float8[];
	hits int := 0;
	statement text;
BEGIN
	FOR q IN 1..60 LOOP
		question := numbers(16)::vector::text;
		statement := format('SELECT array_agg(d) FROM (SELECT v %s %L AS d FROM %s ORDER BY 1 LIMIT %s) s', operator, question, tab, rows);
		SET LOCAL enable_indexscan = off;
		SET LOCAL enable_seqscan = on;
		EXECUTE statement INTO right_d;
		SET LOCAL enable_indexscan = on;
		SET LOCAL enable_seqscan = off;
		EXECUTE statement INTO found_d;
		IF (SELECT bool_or(d < before) FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM unnest(found_d) WITH ORDINALITY u (d, n)) s) THEN
			RAISE EXCEPTION 'out of order: %', found_d;
		END IF;
		hits := hits + (SELECT count(*) FROM unnest(found_d) d WHERE d <= right_d[rows]);
	END LOOP;
	RETURN round(hits / (60.0 * rows), 2);
END
$$;

SET hnsw.ef_search = 40;
SELECT found('t', '<->', 10) >= 0.98 AS ten, found('t', '<->', 40) >= 0.98 AS forty;
SET hnsw.iterative_scan = off;
SELECT found('t', '<->', 10) >= 0.98 AS ten, found('t', '<->', 40) >= 0.98 AS forty;
SET hnsw.iterative_scan = strict_order;

-- versions that differ in other columns
CREATE INDEX t_n ON t (n);
SELECT pg_relation_size('t_v') AS size \gset
UPDATE t SET n = n + 1;
SELECT live, attached, unreachable FROM vdb.check_index('t_v');
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, unreachable FROM vdb.check_index('t_v', true);
UPDATE t SET n = n + 1;
VACUUM (INDEX_CLEANUP ON) t;
UPDATE t SET n = n + 1;
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, unreachable FROM vdb.check_index('t_v', true);
SELECT pg_relation_size('t_v') <= 1.6 * :size AS no_larger;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> numbers(16)::vector) s;

-- the first of them go, then all but the first, then all
DELETE FROM t WHERE id <= 1500;
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, dead, unreachable FROM vdb.check_index('t_v', true);
SELECT count(*), count(DISTINCT id), min(id) FROM (SELECT id FROM t ORDER BY v <-> numbers(16)::vector) s;
SELECT found('t', '<->', 10) >= 0.98 AS ten;
DELETE FROM t WHERE id > 3000;
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, dead, unreachable FROM vdb.check_index('t_v', true);
INSERT INTO t (n, v) SELECT n, v FROM words;
SELECT live, attached, unreachable FROM vdb.check_index('t_v', true);
DELETE FROM t;
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, dead, attached FROM vdb.check_index('t_v', true);
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> numbers(16)::vector) s;

-- very many of one: a scan reads as much as it is asked for
CREATE TABLE same (id serial, v vector(16));
CREATE INDEX same_v ON same USING hnsw (v vector_l2_ops);
INSERT INTO same (v) SELECT array_fill(1, ARRAY[16])::vector FROM generate_series(1, 5000);
INSERT INTO same (v) SELECT array_fill(2, ARRAY[16])::vector FROM generate_series(1, 10);
SELECT live, attached FROM vdb.check_index('same_v', true);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM same ORDER BY v <-> array_fill(0, ARRAY[16])::vector) s;
CREATE FUNCTION buffers(query text) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int;
END
$$;
SELECT buffers('SELECT id FROM same ORDER BY v <-> array_fill(0, ARRAY[16])::vector LIMIT 5') < 40 AS few;

-- in a circle around them nothing is lost, and nothing else is in it
SELECT count(*) FROM (SELECT FROM same WHERE v <-> array_fill(0, ARRAY[16])::vector < 5 ORDER BY v <-> array_fill(0, ARRAY[16])::vector) s;

-- what is only as good as equal is a node: in the same direction, or of other columns
CREATE TABLE ways (id serial, tenant int, v vector(3));
CREATE INDEX ways_v ON ways USING hnsw (v vector_cosine_ops);
CREATE INDEX ways_tenant ON ways USING hnsw (v vector_l2_ops, tenant);
INSERT INTO ways (tenant, v) SELECT i % 4, (ARRAY['[1,2,2]', '[3,6,6]', '[2,4,4]'])[i % 3 + 1]::vector FROM generate_series(1, 120) i;
SELECT live, attached FROM vdb.check_index('ways_v', true);
SELECT live, attached FROM vdb.check_index('ways_tenant', true);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM ways ORDER BY v <=> '[1,0,0]') s;
SELECT tenant, count(*) FROM (SELECT tenant FROM ways WHERE tenant = 3 ORDER BY v <-> '[1,2,2]') s GROUP BY 1;

-- a sweep meets postings
DROP INDEX ways_v;
INSERT INTO ways (tenant, v) SELECT 100 + i % 2, ARRAY[i, i, i]::vector FROM generate_series(1, 3000) i;
INSERT INTO ways (tenant, v) SELECT 200, ARRAY[i % 3, 7, 7]::vector FROM generate_series(1, 30) i;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM ways WHERE tenant = 200 ORDER BY v <-> '[3000,3000,3000]') s;
SELECT count(*) FROM (SELECT id FROM ways WHERE tenant <= 0 ORDER BY v <-> '[3000,3000,3000]') s;

-- other types
CREATE TABLE others (id serial, b bit(64), s sparsevec(100), h halfvec(16));
CREATE INDEX others_b ON others USING hnsw (b bit_hamming_ops);
CREATE INDEX others_j ON others USING hnsw (b bit_jaccard_ops);
CREATE INDEX others_s ON others USING hnsw (s sparsevec_l2_ops);
CREATE INDEX others_h ON others USING hnsw (h halfvec_l1_ops);
INSERT INTO others (b, s, h)
SELECT ('x' || md5((i % 50)::text))::bit(64), format('{1:%s,%s:2}/100', i % 50 + 1, i % 7 + 2)::sparsevec, array_fill(i % 50, ARRAY[16])::halfvec
FROM generate_series(1, 500) i;
SELECT i, c.live, c.attached FROM unnest(ARRAY['others_b', 'others_j', 'others_s', 'others_h']) i, vdb.check_index(i::regclass, true) c;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM others ORDER BY b <~> B'1'::bit(64)) s;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM others ORDER BY s <-> '{1:3}/100') s;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM others ORDER BY h <+> array_fill(7, ARRAY[16])::halfvec) s;

DROP TABLE words, t, same, ways, others;
DROP FUNCTION numbers, found, buffers;
