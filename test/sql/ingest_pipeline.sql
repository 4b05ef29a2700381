-- Claims that commands for pipelines say what is wrong with what they are given, and ask whether the caller
-- may.  The library is not preloaded here, which is what they find wrong last.

\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE FUNCTION embed(texts text[]) RETURNS vector[] LANGUAGE sql AS
$$ SELECT array_agg(ARRAY[length(t), 1, 0]::vector ORDER BY n) FROM unnest(texts) WITH ORDINALITY u(t, n) $$;
CREATE TABLE doc (id bigint PRIMARY KEY, body text, number int, v real[]);
CREATE TABLE chunk (id bigint PRIMARY KEY, embedding vector(3), source_hash text, model_version text,
	embedded_at timestamptz);

-- all is well but for the server

SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'v', 'chunk');
SELECT count(*) FROM vdb.pipeline;

-- arguments

SELECT vdb.create_pipeline(NULL, 'doc', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', NULL, 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embedding => NULL);
SELECT vdb.create_pipeline('', 'doc', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p@2', 'doc', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', batch_size => 0);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', batch_size => 10001);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', timeout => '0');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', timeout => '1 month');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', max_attempts => 0);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', queue_limit => 0);

-- columns

SELECT vdb.create_pipeline('p', 'doc', 'nix', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'nix', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'nix', 'chunk', embed => 'embed(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'ctid', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'number', 'chunk', embed => 'embed(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'number', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'number', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'v', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', target_key => 'nix');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', target_key => 'source_hash');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embedding => 'nix');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embedding => 'source_hash');

-- dimensions of what is copied, where both are declared

CREATE TABLE four (id bigint PRIMARY KEY, v vector(4), any_v vector, h halfvec(3));
SELECT vdb.create_pipeline('p', 'four', 'id', 'v', 'chunk');
SELECT vdb.create_pipeline('p', 'four', 'id', 'any_v', 'chunk');
SELECT vdb.create_pipeline('p', 'four', 'id', 'h', 'chunk');
DROP TABLE four;

-- keys: unique, of all rows, at all times, never null, and in the log

CREATE TABLE partly (a int, b int NOT NULL, c int NOT NULL, d int NOT NULL, e int NOT NULL, body text);
CREATE UNIQUE INDEX partly_a ON partly (a);
CREATE UNIQUE INDEX partly_b ON partly (b) WHERE b > 0;
CREATE UNIQUE INDEX partly_c ON partly (c, b);
ALTER TABLE partly ADD CONSTRAINT partly_d UNIQUE (d) DEFERRABLE;
CREATE UNIQUE INDEX partly_e ON partly (e);
SELECT vdb.create_pipeline('p', 'partly', 'a', 'body', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'partly', 'b', 'body', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'partly', 'c', 'body', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'partly', 'd', 'body', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'partly', 'e', 'body', 'chunk', target_key => 'id');
ALTER TABLE partly REPLICA IDENTITY FULL;
SELECT vdb.create_pipeline('p', 'partly', 'e', 'body', 'chunk', target_key => 'id');
ALTER TABLE partly REPLICA IDENTITY USING INDEX partly_e;
SELECT vdb.create_pipeline('p', 'partly', 'e', 'body', 'chunk', target_key => 'id');
ALTER TABLE partly REPLICA IDENTITY NOTHING;
SELECT vdb.create_pipeline('p', 'partly', 'e', 'body', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'partly', target_key => 'e');
DROP TABLE partly;

-- tables

CREATE VIEW doc_view AS SELECT * FROM doc;
CREATE TEMP TABLE doc_temp (id bigint PRIMARY KEY, body text);
CREATE UNLOGGED TABLE doc_unlogged (id bigint PRIMARY KEY, body text, embedding vector);
CREATE TABLE doc_parts (id bigint PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE doc_part PARTITION OF doc_parts FOR VALUES FROM (0) TO (10);
SELECT vdb.create_pipeline('p', 'doc_view', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc_temp', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc_unlogged', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc_parts', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc_part', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'doc_view');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'doc_unlogged');
SELECT vdb.create_pipeline('p', 'pg_class', 'relpages', 'relname', 'chunk', target_key => 'id');
SELECT vdb.create_pipeline('p', 'vdb.pipeline', 'id', 'reason', 'chunk');
SELECT vdb.create_pipeline('p', 4294967295::oid::regclass, 'id', 'body', 'chunk');
CREATE TABLE chunk_parts (id bigint PRIMARY KEY, embedding vector(3)) PARTITION BY RANGE (id);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk_parts');
DROP VIEW doc_view;
DROP TABLE doc_temp, doc_unlogged, doc_parts, chunk_parts;

-- targets

CREATE TABLE other (id text PRIMARY KEY, embedding halfvec(3), title text NOT NULL);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'other');
ALTER TABLE other ALTER id TYPE int USING id::int;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'other');
ALTER TABLE other ALTER title SET DEFAULT '', ADD FOREIGN KEY (id) REFERENCES doc DEFERRABLE INITIALLY DEFERRED;
\set VERBOSITY terse
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'other');
\set VERBOSITY default
ALTER TABLE other ALTER CONSTRAINT other_id_fkey NOT DEFERRABLE;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'other');
DROP TABLE other;

-- a table that is its own target

CREATE TABLE own (id int PRIMARY KEY, other int UNIQUE, body text, v vector(3), embedding halfvec(3));
SELECT vdb.create_pipeline('p', 'own', 'id', 'body', 'own');
ALTER TABLE own ADD source_hash text;
SELECT vdb.create_pipeline('p', 'own', 'id', 'body', 'own');
SELECT vdb.create_pipeline('p', 'own', 'id', 'body', 'own', target_key => 'other');
SELECT vdb.create_pipeline('p', 'own', 'id', 'v', 'own');
SELECT vdb.create_pipeline('p', 'own', 'id', 'v', 'own', embedding => 'v');
DROP TABLE own;

-- functions

CREATE FUNCTION embed_one(a text) RETURNS vector LANGUAGE sql AS $$ SELECT '[1,2,3]'::vector $$;
CREATE FUNCTION embed_half(a text[]) RETURNS halfvec[] LANGUAGE sql AS $$ SELECT '{"[1,2,3]"}'::halfvec[] $$;
CREATE FUNCTION embed_set(a text[]) RETURNS SETOF vector[] LANGUAGE sql AS $$ SELECT '{"[1,2,3]"}'::vector[] $$;
CREATE AGGREGATE embed_all(text[]) (SFUNC = array_cat, STYPE = text[]);
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed_one(text)');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed_half(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed_set(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed_all(text[])');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'v', 'chunk', embed => 'embed(text[])');
DROP FUNCTION embed_one, embed_half, embed_set;
DROP AGGREGATE embed_all(text[]);

-- privileges: of the one who creates it

CREATE ROLE vdb_ann;
CREATE ROLE vdb_bob;
REVOKE EXECUTE ON FUNCTION embed FROM PUBLIC;
SET ROLE vdb_ann;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
RESET ROLE;
GRANT SELECT ON doc TO vdb_ann;
GRANT SELECT, INSERT, UPDATE ON chunk TO vdb_ann;
SET ROLE vdb_ann;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
RESET ROLE;
GRANT DELETE ON chunk TO vdb_ann;
SET ROLE vdb_ann;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
RESET ROLE;
GRANT EXECUTE ON FUNCTION embed TO vdb_ann;
SET ROLE vdb_ann;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
RESET ROLE;

-- rows that the owner may not see cannot be copied

ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
SET ROLE vdb_ann;
SELECT vdb.create_pipeline('p', 'doc', 'id', 'v', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])');
RESET ROLE;
ALTER TABLE doc DISABLE ROW LEVEL SECURITY;

-- tables of the extension are nobody's

SET ROLE vdb_ann;
SELECT count(*) FROM vdb.pipeline;
SELECT count(*) FROM vdb.ingest_queue;
SELECT count(*) FROM vdb.ingest_dead;
SELECT nextval('vdb.ingest_lease');
RESET ROLE;

-- commands, on pipelines written by hand

INSERT INTO vdb.pipeline (name, owner, source, key, content, target, target_key, embedding, mode, embed, model_version,
	batch_size, timeout, max_attempts, queue_limit, state, load)
	VALUES ('ann', 'vdb_ann', 'doc', 'id', 'body', 'chunk', 'id', 'embedding', 'function', 'public.embed(text[])', 'v1',
	64, '1 min', 5, 1000, 'error', NULL);
-- as a dump would, of how far it was elsewhere
SELECT state, load FROM vdb.pipeline;
-- by a trigger that is of no use on other tables, nor to others
CREATE TABLE like_it (state bigint, reason text, load path, load_after text, source_file oid, content_number smallint);
CREATE TRIGGER inserted BEFORE INSERT ON like_it FOR EACH ROW EXECUTE FUNCTION vdb.pipeline_inserted();
INSERT INTO like_it DEFAULT VALUES;
SELECT * FROM like_it;
DROP TABLE like_it;
SET ROLE vdb_ann;
CREATE TEMP TABLE like_it (state text);
CREATE TRIGGER inserted BEFORE INSERT ON like_it FOR EACH ROW EXECUTE FUNCTION vdb.pipeline_inserted();
RESET ROLE;
DROP TABLE like_it;
UPDATE vdb.pipeline SET load = NULL;
CREATE TABLE keyed (id int[] PRIMARY KEY, price money UNIQUE NOT NULL, body text);
CREATE TABLE keyed_e (id int[] PRIMARY KEY, price money UNIQUE, embedding vector(2));
SELECT vdb.create_pipeline('keyed', 'keyed', 'id', 'body', 'keyed_e');
SELECT vdb.create_pipeline('keyed', 'keyed', 'price', 'body', 'keyed_e');
DROP TABLE keyed, keyed_e;
CREATE VIEW state AS SELECT name, owner, content, mode, embed, model_version, batch_size, timeout, max_attempts,
	queue_limit, state, reason, load, wait_until, failures FROM vdb.pipeline ORDER BY id;
SELECT vdb.create_pipeline('ann', 'doc', 'id', 'body', 'chunk');
SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'chunk');
SET ROLE vdb_bob;
SELECT vdb.alter_pipeline('ann', batch_size => 10);
SELECT vdb.pause_pipeline('ann');
SELECT vdb.resume_pipeline('ann');
SELECT vdb.resync_pipeline('ann');
SELECT vdb.retry_pipeline('ann');
SELECT vdb.drop_pipeline('ann');
SELECT vdb.add_pipeline_version('ann', 'v2', NULL, 'chunk');
SELECT vdb.compare_pipeline_versions('ann', 'v2');
SELECT vdb.promote_pipeline_version('ann', 'v2');
SELECT vdb.retire_pipeline_version('ann', 'v2');
SELECT * FROM vdb.claim('ann');
RESET ROLE;
SELECT vdb.alter_pipeline('nix');
SELECT vdb.pause_pipeline('nix');
SELECT vdb.pause_pipeline(NULL);
SELECT vdb.drop_pipeline('nix');

\x
SET ROLE vdb_ann;
SELECT vdb.alter_pipeline('ann', batch_size => 10, timeout => '5 s', max_attempts => 2, queue_limit => 7);
SELECT vdb.alter_pipeline('ann', batch_size => 0);
SELECT vdb.alter_pipeline('ann', content => 'number');
SELECT vdb.alter_pipeline('ann', owner => 'vdb_bob');
RESET ROLE;
SELECT * FROM state;
SELECT vdb.alter_pipeline('ann', model_version => 'v2');
SELECT load FROM state;
SELECT vdb.alter_pipeline('ann', embed => 'embed_by_another(text[])');
CREATE FUNCTION embed_by_another(texts text[]) RETURNS vector[] LANGUAGE sql AS $$ SELECT embed(texts) $$;
SELECT vdb.alter_pipeline('ann', embed => 'embed_by_another(text[])');
SELECT vdb.alter_pipeline('ann', owner => 'vdb_bob');
GRANT SELECT ON doc TO vdb_bob;
GRANT SELECT, INSERT, UPDATE, DELETE ON chunk TO vdb_bob;
SELECT vdb.alter_pipeline('ann', owner => 'vdb_bob');
SELECT * FROM state;
\x

-- pausing and resuming: what was not queued is not forgotten

UPDATE vdb.pipeline SET load = NULL, failures = 3, wait_until = 'infinity';
SELECT vdb.pause_pipeline('ann');
SELECT state, load FROM state;
SELECT vdb.resume_pipeline('ann');
SELECT state, load, failures, wait_until FROM state;
UPDATE vdb.pipeline SET state = 'overflow';
SELECT vdb.resume_pipeline('ann');
SELECT state, load FROM state;
UPDATE vdb.pipeline SET state = 'overflow', load = NULL;
SELECT vdb.pause_pipeline('ann');
SELECT state, load FROM state;
UPDATE vdb.pipeline SET state = 'error', reason = 'it was so', load = NULL;
ALTER TABLE doc RENAME body TO text;
SELECT vdb.resume_pipeline('ann');
ALTER TABLE doc RENAME text TO body;
SELECT vdb.resume_pipeline('ann');
SELECT state, reason, load FROM state;
UPDATE vdb.pipeline SET load = NULL;
SELECT vdb.resync_pipeline('ann');
SELECT load FROM state;

-- dead letters are tried again, and are due before any change that is to come

INSERT INTO vdb.ingest_dead (pipeline, key, error, attempts, changed_at)
	SELECT id, k, 'it is', 5, now() FROM vdb.pipeline, unnest('{a,b}'::text[]) k;
SELECT vdb.retry_pipeline('ann');
SELECT key, lsn, backfill, attempts, due <= now() AS due FROM vdb.ingest_queue ORDER BY key;
SELECT vdb.retry_pipeline('ann');

-- dropping takes all along but the target

INSERT INTO vdb.pipeline (name, owner, source, key, content, target, target_key, embedding, mode, version_of,
	batch_size, timeout, max_attempts, queue_limit)
	SELECT 'ann@v2', owner, source, key, content, target, key, embedding, 'claim', id, 64, '1 min', 5, 1000 FROM vdb.pipeline;
INSERT INTO vdb.ingest_dead (pipeline, key, error, attempts, changed_at) SELECT id, 'c', 'it is', 5, now() FROM vdb.pipeline;
SET ROLE vdb_bob;
SELECT * FROM vdb.ingest_dead;
SELECT pipeline, key, error, attempts FROM vdb.dead_letters ORDER BY pipeline COLLATE "C";
SET ROLE vdb_ann;
SELECT count(*) FROM vdb.dead_letters;
RESET ROLE;
SELECT name, wait_until FROM vdb_stat_ingest ORDER BY name COLLATE "C";
SELECT vdb.drop_pipeline('ann');
SELECT vdb.drop_pipeline('ann@v2');
SELECT vdb.drop_pipeline('ann');
SELECT count(*) FROM vdb.pipeline;
SELECT count(*) FROM vdb.ingest_queue;
SELECT count(*) FROM vdb.ingest_dead;

DROP VIEW state;
DROP TABLE doc, chunk;
DROP FUNCTION embed, embed_by_another;
DROP ROLE vdb_ann, vdb_bob;
