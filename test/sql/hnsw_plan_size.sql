-- Claims that the planner takes the fastest way that returns every row asked
-- for, by the size of the table, the share of rows that pass a filter and
-- LIMIT.  What is fastest was measured: see bench/README.md.
--
-- A plan depends on what the planner knows of a table: its rows, pages and
-- statistics, the index's options.  All but ten rows have no vector and so no
-- place in the index, which makes a table of 1,000,000 rows one of a second.

SET max_parallel_workers_per_gather = 0;

-- A row takes as many bytes as one with a vector: 32 dimensions in the row
-- itself, 768 in a place of their own, of which the row knows the address.
-- Statistics are a sample's: of the usual 30,000 rows, one in a thousand is
-- wrong by as much as a plan below is away from the next.
CREATE PROCEDURE make_table(name text, number int, pad int, dims int) LANGUAGE plpgsql AS
$$
BEGIN
    EXECUTE format('CREATE UNLOGGED TABLE %I (id int, f float8, g float8, pad text, v vector(%s))', name, dims);
    EXECUTE format('INSERT INTO %I SELECT i, 2, 2, NULL, array_fill(i, ARRAY[%s]) FROM generate_series(1, 10) i',
                   name, dims);
    EXECUTE format('CREATE INDEX %I ON %I USING hnsw (v vector_l2_ops)', name || '_v', name);
    EXECUTE format('INSERT INTO %I SELECT i, x, x, %L, NULL '
                   'FROM (SELECT i, i * 0.61803398875 - floor(i * 0.61803398875) AS x '
                         'FROM generate_series(11, %s) i) s', name, repeat('x', pad), number);
    EXECUTE format('CREATE INDEX %I ON %I (g)', name || '_g', name);
    EXECUTE format('ALTER TABLE %I ALTER f SET STATISTICS 400, ALTER g SET STATISTICS 400', name);
    EXECUTE format('ANALYZE %I', name);
END
$$;

-- How rows are found: by the vectors, by the filter's index, or all of them.
CREATE FUNCTION way(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ 'Index Scan using \w+_v ' THEN
            RETURN 'vectors';
        ELSIF line ~ 'Index Scan (using|on) \w+_g\y' THEN
            RETURN 'filter';
        ELSIF line ~ 'Seq Scan' THEN
            RETURN 'all';
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION ways(name text, dims int)
RETURNS TABLE (filter text, "1" text, "10" text, "100" text, "1000" text, "no limit" text)
LANGUAGE sql AS
$$
SELECT filter, way(query || ' LIMIT 1'), way(query || ' LIMIT 10'), way(query || ' LIMIT 100'),
    way(query || ' LIMIT 1000'), way(query)
FROM unnest(ARRAY['true', 'f < 0.5', 'f < 0.05', 'f < 0.005', 'f < 0.0005',
                  'g < 0.5', 'g < 0.05', 'g < 0.005', 'g < 0.0005']) filter,
    format('SELECT id FROM %I WHERE %s ORDER BY v <-> %L', name, filter, array_fill(1, ARRAY[dims])::vector) query
$$;

CALL make_table('inline_100', 100, 140, 3);
CALL make_table('inline_10000', 10000, 140, 3);
CALL make_table('inline_1000000', 1000000, 140, 3);
CALL make_table('toasted_100', 100, 17, 768);
CALL make_table('toasted_10000', 10000, 17, 768);

SELECT * FROM ways('inline_100', 3);
SELECT * FROM ways('toasted_100', 768);
SELECT * FROM ways('inline_10000', 3);
SELECT * FROM ways('toasted_10000', 768);
SELECT * FROM ways('inline_1000000', 3);

-- More rows than a scan comes to before it ends at the user's limits are not
-- taken from the index: some would be missing.

CREATE FUNCTION way_of(tail text) RETURNS text LANGUAGE sql AS
$$
SELECT way('SELECT id FROM inline_1000000 WHERE ' || tail)
$$;

SELECT way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 20000$$) AS "20000",
    way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 20001$$) AS "20001",
    way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 10 OFFSET 19990$$) AS "after 19990",
    way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 10 OFFSET 19991$$) AS "after 19991";
SELECT way_of($$f < 0.002 ORDER BY v <-> '[1,2,3]' LIMIT 10$$) AS "10 of 2000",
    way_of($$f < 0.001 ORDER BY v <-> '[1,2,3]' LIMIT 20$$) AS "20 of 1000";
SET hnsw.max_scan_tuples = 200000;
SET work_mem = '16MB';
SELECT way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 50000$$) AS "50000";
SET work_mem = '1MB';
SELECT way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 50000$$) AS "50000, little memory";
SET hnsw.scan_mem_multiplier = 16;
SELECT way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 50000$$) AS "50000, enough memory";
RESET ALL;
SET max_parallel_workers_per_gather = 0;

-- Who forbids a scan to go on wants no more than hnsw.ef_search rows of the
-- index, except where there is no LIMIT.

SET hnsw.iterative_scan = off;
SELECT way_of($$true ORDER BY v <-> '[1,2,3]' LIMIT 100$$) AS "100",
    way_of($$f < 0.0005 ORDER BY v <-> '[1,2,3]' LIMIT 10$$) AS "10 of 500",
    way_of($$true ORDER BY v <-> '[1,2,3]'$$) AS "no limit",
    way($$DECLARE c CURSOR FOR SELECT id FROM inline_1000000 ORDER BY v <-> '[1,2,3]'$$) AS "cursor";
RESET hnsw.iterative_scan;

-- A cursor without LIMIT may be read to its end.

SELECT name, way(format($$DECLARE c CURSOR FOR SELECT id FROM %I ORDER BY v <-> '[1,2,3]'$$, name))
    AS "no limit",
    way(format($$DECLARE c CURSOR FOR SELECT id FROM %I ORDER BY v <-> '[1,2,3]' LIMIT 500$$, name))
    AS "500"
FROM unnest(ARRAY['inline_100', 'inline_10000', 'inline_1000000']) name;

-- Nor does LIMIT stop a query before the last row where it counts or sorts
-- them otherwise.

SELECT function, way(format($$SELECT %s FROM inline_1000000 ORDER BY v <-> '[1,2,3]' LIMIT 10$$, function))
FROM unnest(ARRAY[
    'count(*) OVER ()',
    $$count(*) OVER (ORDER BY v <-> '[1,2,3]')$$,
    $$sum(id) OVER (ORDER BY v <-> '[1,2,3]' ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)$$,
    $$rank() OVER (ORDER BY v <-> '[1,2,3]')$$,
    $$lag(id) OVER (ORDER BY v <-> '[1,2,3]')$$,
    $$ntile(4) OVER (ORDER BY v <-> '[1,2,3]')$$,
    $$rank() OVER (ORDER BY v <-> '[1,2,3]'), count(*) OVER ()$$,
    'generate_series(1, 2)']) function;
SELECT way($$SELECT id, rank() OVER (ORDER BY v <-> '[1,2,3]') FROM inline_1000000 ORDER BY id LIMIT 10$$);
SELECT way($$SELECT v <-> '[1,2,3]' AS d, count(*) FROM inline_1000000 GROUP BY d ORDER BY d LIMIT 10$$);
SELECT way($$SELECT max(d) FROM (SELECT v <-> '[1,2,3]' AS d FROM inline_1000000 ORDER BY d OFFSET 0) s$$);
SELECT way($$SELECT min(v <-> '[1,2,3]') FROM inline_1000000$$) AS "min",
    way($$SELECT max(v <-> '[1,2,3]') FROM inline_1000000$$) AS "max";

-- A plan for every value of a parameter: the share of rows that pass is that
-- of an average value.

SET plan_cache_mode = force_generic_plan;
PREPARE nearest (vector, int) AS
    SELECT id FROM inline_1000000 ORDER BY v <-> $1 LIMIT $2;
PREPARE nearest_below (vector, int, float8) AS
    SELECT id FROM inline_1000000 WHERE f < $3 ORDER BY v <-> $1 LIMIT $2;
PREPARE nearest_equal (vector, int, float8) AS
    SELECT id FROM inline_1000000 WHERE g = $3 ORDER BY v <-> $1 LIMIT $2;
SELECT way($$EXECUTE nearest ('[1,2,3]', 10)$$),
    way($$EXECUTE nearest_below ('[1,2,3]', 10, 0.5)$$),
    way($$EXECUTE nearest_equal ('[1,2,3]', 10, 0.5)$$);
DEALLOCATE ALL;
RESET plan_cache_mode;

DROP TABLE inline_100, inline_10000, inline_1000000, toasted_100, toasted_10000;
DROP FUNCTION ways, way_of, way;
DROP PROCEDURE make_table;
