-- churn.sql: what is left of an index's recall and size as rows come and go, and
-- what does VACUUM take?  Runs alike against vdb and against pgvector.
--
--   psql -v source=words -v column=v -v op='<=>' -v opclass=vector_cosine_ops -f bench/churn.sql
--
-- Makes tables whose names begin with churn: 300 rows of the source are questions
-- (-v questions=300), of the others one of eleven is away, and the rest is indexed.
-- A round deletes a tenth of the rows at random, vacuums, and inserts as many:
-- those that were away, while the deleted ones are away until the next round.
-- After ten rounds (-v rounds=10), and after a fifth was deleted at once, the index
-- is built anew for comparison.
--
-- ms: of the step; mb: size of the index afterwards; found: the share of the ten
-- nearest rows that is found, at some values of hnsw.ef_search (-v efs=20,40,100);
-- per_second: how many questions are answered, at each, the better of two runs.
-- -v am=ivfpq -v knob=probes: the index is one of lists, and efs are of ivfpq.probes.  -v short=1 ends
-- before the fifth.

\set ON_ERROR_STOP on
\pset footer off
\timing off
\if :{?rounds}
\else
	\set rounds 10
\endif
\if :{?questions}
\else
	\set questions 300
\endif
\if :{?efs}
\else
	\set efs 20,40,100
\endif
\if :{?am}
\else
	\set am hnsw
\endif
\if :{?knob}
\else
	\set knob ef_search
\endif
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SELECT setseed(0.5) \g /dev/null

DROP TABLE IF EXISTS churn, churn_away, churn_gone, churn_steps, churn_questions;
CREATE TABLE churn AS SELECT row_number() OVER (ORDER BY random()) AS id, :column AS v FROM :source;
CREATE TABLE churn_questions AS SELECT v FROM churn WHERE id <= :questions;
DELETE FROM churn WHERE id <= :questions;
CREATE TABLE churn_gone AS SELECT * FROM churn LIMIT 0;
CREATE TABLE churn_away AS SELECT * FROM churn WHERE id % 11 = 0;
DELETE FROM churn WHERE id % 11 = 0;
CREATE TABLE churn_steps (at int GENERATED ALWAYS AS IDENTITY, step text, begun timestamptz,
	ms int, mb numeric(9,1), found numeric(6,4)[], per_second int[]);
VACUUM ANALYZE churn;

CREATE PROCEDURE pg_temp.begin(step text) LANGUAGE sql AS
	'INSERT INTO churn_steps (step, begun) VALUES (step, clock_timestamp())';
CREATE PROCEDURE pg_temp.finish() LANGUAGE sql AS
	'UPDATE churn_steps SET ms = 1000 * extract(epoch FROM clock_timestamp() - begun),
		mb = pg_relation_size(to_regclass(''churn_v'')) / 1e6
	 WHERE ms IS NULL';

-- takes a share of the rows away; brings back those that were away before
CREATE PROCEDURE pg_temp.take(share float8) LANGUAGE sql AS $$
	WITH taken AS (
		DELETE FROM churn WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM churn ORDER BY random() LIMIT (SELECT share * count(*) FROM churn)))
		RETURNING *)
	INSERT INTO churn_gone SELECT * FROM taken
$$;
CREATE PROCEDURE pg_temp.bring() LANGUAGE sql AS $$
	INSERT INTO churn SELECT * FROM churn_away;
	TRUNCATE churn_away;
	INSERT INTO churn_away SELECT * FROM churn_gone;
	TRUNCATE churn_gone
$$;

-- tells for the last step how much is found
SELECT format($$
CREATE PROCEDURE pg_temp.ask() LANGUAGE plpgsql AS $do$
DECLARE
	ef int;
	share float8;
	shares float8[];
	started timestamptz;
	seconds float8;
	speeds float8[];
BEGIN
	PERFORM set_config('enable_indexscan', 'off', true);
	PERFORM set_config('enable_seqscan', 'on', true);
	CREATE TEMP TABLE truth ON COMMIT DROP AS
	SELECT q.v, t.kth
	FROM churn_questions q,
		 LATERAL (SELECT max(d) AS kth FROM (SELECT c.v %1$s q.v AS d FROM churn c ORDER BY 1 LIMIT 10) n) t;
	PERFORM set_config('enable_indexscan', 'on', true);
	PERFORM set_config('enable_seqscan', 'off', true);
	FOREACH ef IN ARRAY ARRAY[%2$s] LOOP
		PERFORM set_config(%3$L, ef::text, true);
		SELECT count(*) / (10.0 * (SELECT count(*) FROM truth)) INTO share
		FROM truth q, LATERAL (SELECT c.v %1$s q.v AS d FROM churn c ORDER BY c.v %1$s q.v LIMIT 10) s
		WHERE s.d <= q.kth + abs(q.kth) * 1e-5;
		shares := shares || share;
		seconds := 'infinity';
		FOR run IN 1..2 LOOP
			started := clock_timestamp();
			PERFORM count(s.id) FROM truth q, LATERAL (SELECT c.id FROM churn c ORDER BY c.v %1$s q.v LIMIT 10) s;
			seconds := least(seconds, extract(epoch FROM clock_timestamp() - started));
		END LOOP;
		speeds := speeds || (SELECT count(*) FROM truth) / seconds;
	END LOOP;
	UPDATE churn_steps SET found = shares, per_second = speeds
	WHERE at = (SELECT max(at) FROM churn_steps);
END $do$ $$, :'op', :'efs', :'am' || '.' || :'knob') AS ask \gset
:ask;

CALL pg_temp.begin('CREATE INDEX');
CREATE INDEX churn_v ON churn USING :am (v :opclass);
CALL pg_temp.finish();
CALL pg_temp.ask();

SELECT statement
FROM generate_series(1, :rounds) round, unnest(ARRAY['CALL pg_temp.take(0.1)',
	'CALL pg_temp.begin(''VACUUM, a tenth'')', 'VACUUM churn', 'CALL pg_temp.finish()',
	'CALL pg_temp.begin(''INSERT, a tenth'')', 'CALL pg_temp.bring()', 'CALL pg_temp.finish()'])
	WITH ORDINALITY s (statement, at)
ORDER BY round, at \gexec
CALL pg_temp.ask();
CALL pg_temp.begin('REINDEX');
REINDEX INDEX churn_v;
CALL pg_temp.finish();
CALL pg_temp.ask();

\if :{?short}
\else
TRUNCATE churn_away;
CALL pg_temp.take(0.2);
CALL pg_temp.begin('VACUUM, a fifth');
VACUUM churn;
CALL pg_temp.finish();
CALL pg_temp.ask();
CALL pg_temp.begin('REINDEX');
REINDEX INDEX churn_v;
CALL pg_temp.finish();
CALL pg_temp.ask();
INSERT INTO churn_away SELECT * FROM churn_gone;
TRUNCATE churn_gone;
CALL pg_temp.begin('INSERT, a fifth');
CALL pg_temp.bring();
CALL pg_temp.finish();
CALL pg_temp.ask();
\endif

SELECT step, ms, mb, found, per_second FROM churn_steps ORDER BY at;
