-- Claims that node codes have coarse dimensions where one node more fits a page by
-- them, and only there; and that rows come in exact order nevertheless.
SET enable_seqscan = off;
SET hnsw.ef_search = 400;
SELECT setseed(0.5);

CREATE EXTENSION pageinspect;
CREATE TABLE shapes (metric text, dims int);
INSERT INTO shapes VALUES ('l2', 100), ('l2', 512), ('l2', 640), ('l2', 768), ('l1', 768), ('l2', 1024), ('l1', 1024),
    ('l2', 1536), ('l2', 3072), ('l2', 6000), ('l2', 6400);
CREATE FUNCTION pages(metric text, dims int, OUT coarse int, OUT pages bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE shape (v vector(%s))', dims);
	INSERT INTO shape SELECT array_fill(i, ARRAY[dims])::vector FROM generate_series(1, 420) i;
	EXECUTE format('CREATE INDEX shape_v ON shape USING hnsw (v vector_%s_ops)', metric);
	PERFORM vdb.check_index('shape_v', true);
	pages := pg_relation_size('shape_v') / current_setting('block_size')::int;
	coarse := get_byte(get_raw_page('shape_v', 0), 24 + 220) + 256 * get_byte(get_raw_page('shape_v', 0), 24 + 221);
	DROP TABLE shape;
END $$;
SELECT metric, dims, p.* FROM shapes, pages(metric, dims) p ORDER BY dims, metric;
DROP TABLE shapes;
DROP FUNCTION pages;
DROP EXTENSION pageinspect;

-- near one another, at the limit of what coarse codes tell apart
CREATE TABLE wide (id int, v vector(3072));
INSERT INTO wide
SELECT g, array_agg(sin(i * 0.37) + random() * 0.001)::vector
FROM generate_series(1, 300) g, generate_series(1, 3072) i GROUP BY g;
CREATE INDEX wide_l2 ON wide USING hnsw (v vector_l2_ops);
CREATE INDEX wide_ip ON wide USING hnsw (v vector_ip_ops);
CREATE INDEX wide_cosine ON wide USING hnsw (v vector_cosine_ops);
CREATE INDEX wide_l1 ON wide USING hnsw (v vector_l1_ops);

CREATE FUNCTION wide_agree(operator text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	query vector;
	by_index float8[];
	by_sort float8[];
	agreed bool := true;
BEGIN
	FOR query IN SELECT v FROM wide WHERE id % 30 = 1 LOOP
		EXECUTE format('SELECT array_agg(d) FROM (SELECT v %s $1 AS d FROM wide ORDER BY v %1$s $1 LIMIT 50) r', operator)
			INTO by_index USING query;
		EXECUTE format('SELECT (array_agg(d ORDER BY d))[1:50] FROM (SELECT v %s $1 AS d FROM wide OFFSET 0) r', operator)
			INTO by_sort USING query;
		agreed := agreed AND by_index = by_sort;
	END LOOP;
	RETURN agreed;
END $$;
SELECT wide_agree('<->') AS l2, wide_agree('<#>') AS ip, wide_agree('<=>') AS cosine, wide_agree('<+>') AS l1;

-- after changes
DELETE FROM wide WHERE id % 3 = 0;
VACUUM wide;
INSERT INTO wide SELECT id + 300, v FROM wide WHERE id % 4 = 1;
SELECT wide_agree('<->') AS l2, wide_agree('<#>') AS ip, wide_agree('<=>') AS cosine, wide_agree('<+>') AS l1;
SELECT i.name, c.dangling_edges, c.unreachable
FROM unnest('{wide_l2,wide_ip,wide_cosine,wide_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;
DROP TABLE wide;
DROP FUNCTION wide_agree;

-- so wide that a node has no code but the hot one: a scan at its limit returns what it has weighed all the same
CREATE TABLE wider (id int, v vector(6400));
INSERT INTO wider SELECT g, array_agg(power(0.02 + 0.98 * random(), 20))::real[]::vector
FROM generate_series(1, 900) g, generate_series(1, 6400) i GROUP BY g;
CREATE INDEX wider_v ON wider USING hnsw (v vector_ip_ops);
SET enable_seqscan = off;
SET enable_sort = off;
SET vdb.enable_exact_scan = off;
SET hnsw.ef_search = 10;
SET hnsw.max_scan_tuples = 400;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) AS weighed FROM (SELECT id FROM wider ORDER BY v <#> (SELECT v FROM wider WHERE id = 7) LIMIT 10000) s \gset
SET hnsw.iterative_scan = strict_order;
SELECT count(*) AS returned, bool_and(d >= before) AS ordered
FROM (SELECT d, lag(d, 1, d) OVER () AS before
	FROM (SELECT v <#> (SELECT v FROM wider WHERE id = 7) AS d FROM wider
		ORDER BY v <#> (SELECT v FROM wider WHERE id = 7) LIMIT 10000) s) s \gset
SELECT :weighed > 350 AS enough, :returned > :weighed * 0.97 AS complete, :'ordered' AS ordered;
RESET ALL;
DROP TABLE wider;
