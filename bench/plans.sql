-- plans.sql: does the planner choose the fastest way to the nearest rows?  Times
-- each way by the share of rows that pass a filter and by LIMIT.
--
--   psql -v rows=1000000 -v dims=32 -f bench/plans.sql
--
-- Makes the table plans_ROWS_DIMS and keeps it for the next time: points around
-- 200 centers, with a number between 0 and 1 twice, f without an index and g with
-- one.  Ways: `vectors`, the hnsw index and what it yields filtered; `filter`, the
-- index on g and a sort; `all`, the table and a sort.  Times are milliseconds, the
-- best of five runs with everything in memory, with planning; a count in brackets
-- is what came back where that was too little.

\set ON_ERROR_STOP on
\pset footer off
\timing off
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SELECT format('plans_%s_%s', :rows, :dims) AS table \gset
SELECT to_regclass(:'table') IS NULL AS missing \gset

\if :missing
SELECT setseed(0.5) \g /dev/null
CREATE TABLE :table (id int, f float8, g float8, v vector(:dims));
INSERT INTO :table
SELECT i, share, share, (
	SELECT array_agg(sin(center * j * 0.37) + 0.4 * sin(i * (j % 16 + 1) * 0.73) + 0.2 * sin(i * j * 78.233))
	FROM generate_series(1, :dims) j)::real[]::vector
FROM (SELECT i, random() AS share, floor(200 * random()) AS center
	  FROM generate_series(1, :rows) i) s;
CREATE INDEX ON :table USING hnsw (v vector_l2_ops);
CREATE INDEX ON :table (g);
VACUUM ANALYZE :table;
\endif
SELECT v AS question FROM :table WHERE id = 3 \gset

-- The way of a plan.
CREATE FUNCTION pg_temp.way(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Index Scan using \w+_v_idx ' THEN
			RETURN 'vectors';
		ELSIF line ~ 'Index Scan (using|on) \w+_g_idx\y' THEN
			RETURN 'filter';
		ELSIF line ~ 'Seq Scan' THEN
			RETURN 'all';
		END IF;
	END LOOP;
END
$$;

-- Milliseconds and rows of a query answered in a certain way; null if it cannot be.
CREATE FUNCTION pg_temp.measure(query text, way text, OUT ms numeric, OUT rows int) LANGUAGE plpgsql AS
$$
DECLARE
	begun timestamptz;
	took numeric;
BEGIN
	PERFORM set_config('enable_seqscan', CASE WHEN way = 'all' THEN 'on' ELSE 'off' END, true),
		set_config('enable_bitmapscan', CASE WHEN way = 'filter' THEN 'on' ELSE 'off' END, true),
		set_config('enable_indexscan', CASE WHEN way = 'vectors' THEN 'on' ELSE 'off' END, true),
		set_config('enable_sort', CASE WHEN way = 'vectors' THEN 'off' ELSE 'on' END, true);
	IF pg_temp.way(query) = way THEN
		FOR run IN 1..5 LOOP
			begun := clock_timestamp();
			EXECUTE 'SELECT count(id) FROM (' || query || ') s' INTO rows;
			took := extract(epoch FROM clock_timestamp() - begun) * 1000;
			ms := least(ms, took);
			EXIT WHEN took > 1000;
		END LOOP;
	END IF;
	PERFORM set_config(name, 'on', true)
	FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_indexscan', 'enable_sort']) name;
END
$$;

CREATE TEMP TABLE result AS
SELECT nr, filter, "limit", pg_temp.way(query) AS planner, v.ms AS vectors, v.rows AS vectors_found,
	f.ms AS filter_ms, a.ms AS all_ms, a.rows AS all_found
FROM unnest(ARRAY['true', 'f < 0.5', 'f < 0.05', 'f < 0.005', 'f < 0.0005',
				  'g < 0.5', 'g < 0.05', 'g < 0.005', 'g < 0.0005']) WITH ORDINALITY filters (filter, nr)
CROSS JOIN unnest(ARRAY[1, 10, 100, 1000]) "limit"
CROSS JOIN LATERAL format('SELECT id FROM %I WHERE %s ORDER BY v <-> %L LIMIT %s',
						  :'table', filter, :'question', "limit") query
CROSS JOIN LATERAL pg_temp.measure(query, 'vectors') v
CROSS JOIN LATERAL pg_temp.measure(query, 'filter') f
CROSS JOIN LATERAL pg_temp.measure(query, 'all') a;

SELECT filter, "limit", planner,
	round(vectors, 2) || CASE WHEN vectors_found < all_found THEN format(' (%s)', vectors_found) ELSE '' END AS vectors,
	round(filter_ms, 2) AS filter, round(all_ms, 2) AS "all",
	round(CASE planner WHEN 'vectors' THEN vectors WHEN 'filter' THEN filter_ms ELSE all_ms END
		  / least(CASE WHEN vectors_found = all_found THEN vectors END, filter_ms, all_ms), 1) AS "times the best"
FROM result ORDER BY nr, "limit";
