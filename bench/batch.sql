-- batch.sql: exact queries a second, one by one and in batches, by what computes.
--
--   psql -v table=items -v column=embedding -v op='<->' -v queries=items_q -f bench/batch.sql
--   psql -v rows=69000 -v dims=784 -f bench/batch.sql
--
-- table    has the column, and an index of vdb's on it for the operator
-- queries  has (i, v): the query vectors, 128 or more
--
-- The second way makes a table batch_ROWS_DIMS of random numbers and keeps it for the next time.
-- One by one: ORDER BY distance LIMIT 10 by an exact scan, one process.  The median of five runs,
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

CREATE TEMP TABLE result (provider text, batch int, queries_per_second numeric(8,1));

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
	provider text;
	batch int;
	asked int;
	started timestamptz;
	seconds float8[];
BEGIN
	FOREACH provider IN ARRAY ARRAY['one by one', 'cpu', 'blas'] LOOP
		FOREACH batch IN ARRAY ARRAY[1, 8, 32, 128] LOOP
			seconds := '{}';
			FOR run IN 1..6 LOOP
				started := clock_timestamp();
				IF provider = 'one by one' THEN
					PERFORM count(n.d) FROM (SELECT v FROM %3$s ORDER BY i LIMIT batch) q
					CROSS JOIN LATERAL (SELECT %2$I %4$s q.v AS d FROM %1$s ORDER BY 1 LIMIT 10) n;
				ELSE
					PERFORM set_config('vdb.provider', provider, true);
					PERFORM count(distance) FROM vdb.search_batch(index,
						(SELECT array_agg(v) FROM (SELECT v FROM %3$s ORDER BY i LIMIT batch) q), 10);
				END IF;
				IF run > 1 THEN
					seconds := seconds || extract(epoch FROM clock_timestamp() - started)::float8;
				END IF;
			END LOOP;
			INSERT INTO result VALUES (provider, batch,
				batch / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest(seconds) s));
			EXIT WHEN provider = 'one by one';
		END LOOP;
	END LOOP;
END $do$ $$, :'table', :'column', :'queries', :'op') AS measure \gset

:measure;
SELECT provider, batch, queries_per_second,
	round(queries_per_second / (SELECT queries_per_second FROM result WHERE provider = 'one by one'), 1) AS "times one by one"
FROM result ORDER BY provider = 'one by one' DESC, provider DESC, batch;
