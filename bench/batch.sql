-- batch.sql: exact queries a second, one by one and in batches, by what computes.
--
--   psql -v table=items -v column=embedding -v op='<->' -v queries=items_q -f bench/batch.sql
--   psql -v rows=69000 -v dims=784 -f bench/batch.sql
--
-- table    has the column, and an index of vdb's on it for the operator
-- queries  has (i, v): the query vectors, 128 or more
--
-- Where the server has memory for mirrors (vdb.mirror_memory), the same by a mirror, which is dropped afterwards.
--
-- The second way makes a table batch_ROWS_DIMS of random numbers and keeps it for the next time.
-- One by one: ORDER BY distance LIMIT 10 by an exact scan, a statement each, one process.  In a join: LATERAL.  The median of five runs,
-- after one that warms the caches.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET enable_indexscan = off;

\if :{?rows}
SELECT format('batch_%s_%s', :rows, :dims) AS table, format('batch_%s_%s_q', :rows, :dims) AS queries \gset
\set column v
\set op <->
SELECT to_regclass(:'table') IS NULL AS missing \gset
\if :missing
CREATE TABLE :table AS
SELECT i, (SELECT array_agg(random() + 0 * i * j) FROM generate_series(1, :dims) j)::real[]::vector(:dims) AS v
FROM generate_series(1, :rows) i;
CREATE TABLE :queries AS
SELECT i, (SELECT array_agg(random() + 0 * i * j) FROM generate_series(1, :dims) j)::real[]::vector(:dims) AS v
FROM generate_series(1, 128) i;
CREATE INDEX ON :table USING ivfflat (v vector_l2_ops) WITH (lists = 1);
VACUUM ANALYZE :table, :queries;
\endif
\endif

CREATE TEMP TABLE result (n serial, way text, batch int, queries_per_second numeric(8,1));

SELECT format($$
DO $do$
DECLARE
	index regclass := (
		SELECT x.indexrelid FROM pg_index x
		JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0] AND a.attname = %2$L
		JOIN pg_opclass c ON c.oid = x.indclass[0]
		JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 1 AND o.amoppurpose = 'o'
		JOIN pg_operator p ON p.oid = o.amopopr AND p.oprname = %4$L
		WHERE x.indrelid = %1$L::regclass LIMIT 1);
	ways text[] := ARRAY['one by one', 'in a join', 'cpu', 'blas'];
	way text;
	batch int;
	query record;
	started timestamptz;
	seconds float8[];
	results result[];			-- a mirror is not loaded in a transaction that has written
BEGIN
	IF coalesce(current_setting('vdb.mirror_memory', true), '0') <> '0' THEN
		PERFORM vdb.drop_mirror(index);
		ways := ways || ARRAY['mirror, one by one', 'mirror, in a join', 'mirror'];
	END IF;
	FOREACH way IN ARRAY ways LOOP
		IF way = 'mirror, one by one' THEN
			PERFORM vdb.load_mirror(index);
		END IF;
		FOREACH batch IN ARRAY CASE WHEN way ~ 'one by one' THEN ARRAY[8] ELSE ARRAY[8, 32, 128] END LOOP
			seconds := '{}';
			FOR run IN 1..6 LOOP
				started := clock_timestamp();
				IF way ~ 'one by one' THEN
					FOR query IN SELECT v FROM %3$s ORDER BY i LIMIT batch LOOP
						PERFORM count(d) FROM (SELECT %2$I %4$s query.v AS d FROM %1$s ORDER BY 1 LIMIT 10) n;
					END LOOP;
				ELSIF way ~ 'join' THEN
					PERFORM set_config('vdb.provider', 'auto', true);
					PERFORM count(n.d) FROM (SELECT v FROM %3$s ORDER BY i LIMIT batch) q
					CROSS JOIN LATERAL (SELECT %2$I %4$s q.v AS d FROM %1$s ORDER BY 1 LIMIT 10) n;
				ELSE
					PERFORM set_config('vdb.provider', CASE way WHEN 'mirror' THEN 'cpu' ELSE way END, true);
					PERFORM count(distance) FROM vdb.search_batch(index,
						(SELECT array_agg(v) FROM (SELECT v FROM %3$s ORDER BY i LIMIT batch) q), 10);
				END IF;
				IF run > 1 THEN
					seconds := seconds || extract(epoch FROM clock_timestamp() - started)::float8;
				END IF;
			END LOOP;
			results := results || ROW(0, way, batch,
				batch / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest(seconds) s))::result;
		END LOOP;
	END LOOP;
	IF 'mirror' = ANY (ways) THEN
		PERFORM vdb.drop_mirror(index);
	END IF;
	INSERT INTO result (way, batch, queries_per_second) SELECT r.way, r.batch, r.queries_per_second FROM unnest(results) r;
END $do$ $$, :'table', :'column', :'queries', :'op') AS measure \gset

:measure;
SELECT way, batch, queries_per_second,
	round(queries_per_second / (SELECT queries_per_second FROM result WHERE way = 'one by one'), 1) AS "times one by one"
FROM result ORDER BY n;
