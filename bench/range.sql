-- range.sql: what it saves that a scan ends at the query's own bound on the
-- distance.  Times WHERE v <-> q < r ORDER BY v <-> q LIMIT k, and the same with a bound that the index does not see, (v <-> q) + 0 < r.
--
--   psql -v rows=1000000 -v dims=32 -f bench/range.sql
--
-- Makes the table range_ROWS_DIMS and keeps it for the next time: random numbers,
-- the hardest there is for a graph.  Milliseconds are means over 20 questions,
-- the best of three runs of each, with everything in memory and with planning;
-- rows are means too, of the so many that there are within r.

\set ON_ERROR_STOP on
\pset footer off
\timing off
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SELECT format('range_%s_%s', :rows, :dims) AS table \gset
SELECT to_regclass(:'table') IS NULL AS missing \gset

\if :missing
SELECT setseed(0.5) \g /dev/null
CREATE TABLE :table (id int, v vector(:dims));
INSERT INTO :table
SELECT i, ARRAY(SELECT random() FROM generate_series(1, :dims) WHERE i > 0)::real[]::vector
FROM generate_series(1, :rows) i;
CREATE INDEX ON :table USING hnsw (v vector_l2_ops);
VACUUM ANALYZE :table;
\endif

-- Questions, and the distances of what is nearest to them.
CREATE TEMP TABLE question AS
SELECT i, ARRAY(SELECT random() FROM generate_series(1, :dims) WHERE i > 0)::real[]::vector AS v
FROM (SELECT setseed(0.7)) s, generate_series(1, 20) i;
CREATE TEMP TABLE near AS
SELECT i, n, d
FROM question q, LATERAL (
	SELECT row_number() OVER (ORDER BY d) AS n, d
	FROM (SELECT t.v <-> q.v AS d FROM :table t ORDER BY (t.v <-> q.v) + 0 LIMIT 1001) s) s;

-- Half way between two rows, so that it does not matter whether a bound is strict.
CREATE FUNCTION pg_temp.radius(question int, within int) RETURNS float8 LANGUAGE sql AS
$$ SELECT avg(d) / CASE within WHEN 0 THEN 2 ELSE 1 END FROM near WHERE i = question AND n IN (within, within + 1) $$;

CREATE FUNCTION pg_temp.measure("table" text, within int, tail text, hidden bool, OUT ms numeric, OUT rows numeric)
LANGUAGE plpgsql AS
$$
DECLARE
	question record;
	query text;
	begun timestamptz;
	best float8;
	number bigint;
BEGIN
	ms := 0;
	rows := 0;
	FOR question IN SELECT i, v FROM question LOOP
		query := format('SELECT count(*) FROM (SELECT id FROM %I WHERE (v <-> %L)%s < %L::float8 ORDER BY v <-> %2$L %5$s) s',
			"table", question.v, CASE WHEN hidden THEN ' + 0' END, pg_temp.radius(question.i, within), tail);
		best := NULL;
		FOR run IN 1..3 LOOP
			begun := clock_timestamp();
			EXECUTE query INTO number;
			best := least(best, extract(epoch FROM clock_timestamp() - begun) * 1000);
		END LOOP;
		ms := ms + best;
		rows := rows + number;
	END LOOP;
	ms := round(ms / 20, CASE WHEN ms < 200 THEN 2 ELSE 0 END);
	rows := round(rows / 20, 1);
END
$$;

SELECT within, tail AS "limit", plain.ms AS "ms without", bounded.ms AS "ms with",
	plain.rows AS "rows without", bounded.rows AS "rows with"
FROM (VALUES (0, 'LIMIT 10'), (5, 'LIMIT 10'), (20, 'LIMIT 10'), (100, 'LIMIT 1000')) c (within, tail),
	pg_temp.measure(:'table', within, tail, true) plain,
	pg_temp.measure(:'table', within, tail, false) bounded;
