-- engine.sql: queries per second inside the server, and recall, at several
-- values of hnsw.ef_search.  Runs alike against vdb and against pgvector.
--
--   psql -v table=items -v queries=items_q -v op='<->' -f bench/engine.sql
--
-- table    has (id, embedding) and an hnsw index for the operator
-- queries  has (i, v): the query vectors
--
-- One statement joins all queries to the search through LATERAL, so that no
-- round trip is measured; the median of five runs counts.  A row is right when
-- its distance is at most that of the tenth exact one.

\set ON_ERROR_STOP on
\pset footer off
\timing off
SET max_parallel_workers_per_gather = 0;
SET jit = off;

SET enable_indexscan = off;
CREATE TEMP TABLE truth AS
SELECT q.i, q.v, t.kth
FROM :queries q,
	 LATERAL (SELECT max(d) AS kth
			  FROM (SELECT embedding :op q.v AS d FROM :table ORDER BY 1 LIMIT 10) n) t;
SET enable_indexscan = on;
SET enable_seqscan = off;

CREATE TEMP TABLE result (ef_search int, recall_at_10 numeric(6,4), queries_per_second int);

SELECT format($$
DO $do$
DECLARE
	ef int;
	started timestamptz;
	seconds float8[];
	found int;
	asked int;
BEGIN
	SELECT count(*) INTO asked FROM truth;
	FOREACH ef IN ARRAY ARRAY[10, 20, 40, 80, 120, 200, 400, 800] LOOP
		PERFORM set_config('hnsw.ef_search', ef::text, false);
		seconds := '{}';
		FOR run IN 1..6 LOOP
			started := clock_timestamp();
			PERFORM count(s.id) FROM truth q, LATERAL (
				SELECT id FROM %1$s ORDER BY embedding %2$s q.v LIMIT 10) s;
			-- the first one warms the caches
			IF run > 1 THEN
				seconds := seconds || extract(epoch FROM clock_timestamp() - started)::float8;
			END IF;
		END LOOP;
		SELECT count(*) INTO found FROM truth q, LATERAL (
			SELECT embedding %2$s q.v AS d FROM %1$s ORDER BY embedding %2$s q.v LIMIT 10) s
		WHERE s.d <= q.kth + abs(q.kth) * 1e-5;
		INSERT INTO result VALUES (ef, found / (asked * 10.0),
			asked / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest(seconds) s));
	END LOOP;
END $do$ $$, :'table', :'op') AS measure \gset

:measure;
TABLE result;
