-- types.sql: indexes on halves, on bits and on expressions, against each other and
-- against pgvector's: size, build, recall@10 and queries a second.
--
--   psql -v table=items -v queries=items_q -v dims=100 -v op='<=>' -v metric=cosine -f bench/types.sql
--
-- table    has (id, embedding vector(dims)); its indexes go
-- queries  has (i, v): the query vectors
-- op       what is asked for, metric its name in operator classes
--
-- Recall is that of the answer in single precision: what halving an element, or
-- leaving only its sign, costs is in it.  Of bits, the nearest 200 are put in order
-- by the vectors themselves.

\set ON_ERROR_STOP on
\pset footer off
SET max_parallel_workers_per_gather = 0;
SET max_parallel_maintenance_workers = 0;
SET jit = off;

CREATE TEMP TABLE truth AS
SELECT q.i, q.v, t.kth
FROM :queries q,
	 LATERAL (SELECT max(d) AS kth
			  FROM (SELECT embedding :op q.v AS d FROM :table ORDER BY 1 LIMIT 10) n) t;
CREATE TEMP TABLE result (index text, build_s numeric(6,1), size text, ef_search int,
						  recall_at_10 numeric(6,4), queries_per_second int);

CREATE PROCEDURE pg_temp.measure(name text, target text, nearest text, efs int[]) LANGUAGE plpgsql AS $$
DECLARE
	ef int;
	started timestamptz := clock_timestamp();
	build float8;
	seconds float8[];
	found int;
	asked int;
BEGIN
	EXECUTE format('CREATE INDEX types_idx ON %s USING hnsw (%s) WITH (m = 16, ef_construction = 64)',
				   current_setting('types.table'), target);
	build := extract(epoch FROM clock_timestamp() - started);
	SELECT count(*) INTO asked FROM truth;
	SET enable_seqscan = off;
	FOREACH ef IN ARRAY efs LOOP
		PERFORM set_config('hnsw.ef_search', ef::text, false);
		seconds := '{}';
		FOR run IN 1..6 LOOP
			started := clock_timestamp();
			EXECUTE format('SELECT count(s.d) FROM truth q, LATERAL (%s) s', nearest);
			-- the first one warms the caches
			IF run > 1 THEN
				seconds := seconds || extract(epoch FROM clock_timestamp() - started)::float8;
			END IF;
		END LOOP;
		EXECUTE format('SELECT count(*) FROM truth q, LATERAL (%s) s WHERE s.d <= q.kth + abs(q.kth) * 1e-5', nearest)
			INTO found;
		INSERT INTO result VALUES (name, build, pg_size_pretty(pg_relation_size('types_idx')), ef,
			found / (asked * 10.0),
			asked / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest(seconds) s));
	END LOOP;
	RESET enable_seqscan;
	DROP INDEX types_idx;
END $$;

SELECT set_config('types.table', :'table', false) AS "table" \gset
CALL pg_temp.measure('vector', format('embedding vector_%s_ops', :'metric'),
	format('SELECT embedding %s q.v AS d FROM %s ORDER BY embedding %1$s q.v LIMIT 10', :'op', :'table'),
	'{10,20,40,80,120,200}');
CALL pg_temp.measure('halfvec', format('(embedding::halfvec(%s)) halfvec_%s_ops', :'dims', :'metric'),
	format('SELECT embedding %1$s q.v AS d FROM %2$s ORDER BY embedding::halfvec(%3$s) %1$s q.v::halfvec(%3$s) LIMIT 10',
		   :'op', :'table', :'dims'),
	'{10,20,40,80,120,200}');
CALL pg_temp.measure('bit', format('(binary_quantize(embedding)::bit(%s)) bit_hamming_ops', :'dims'),
	format('SELECT embedding %1$s q.v AS d FROM (SELECT embedding FROM %2$s
			ORDER BY binary_quantize(embedding)::bit(%3$s) <~> binary_quantize(q.v)::bit(%3$s) LIMIT 200) n ORDER BY d LIMIT 10',
		   :'op', :'table', :'dims'),
	'{200,400}');
TABLE result;
