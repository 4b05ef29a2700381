-- Claims that rows are leased, finished and given back as they should be: what is due first comes first, what
-- is gone or unchanged is dealt with, what has changed meanwhile comes again, who fails too often is given up.

\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE ROLE vdb_ann;
CREATE ROLE vdb_bob;
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."doc ""s""" ("the id" bigint PRIMARY KEY, "Body" varchar(100));
CREATE TABLE "Odd schema".chunk ("Key" int PRIMARY KEY, "E" vector(2), source_hash text, model_version varchar(10),
	embedded_at timestamptz);
INSERT INTO "Odd schema"."doc ""s""" SELECT i, 'text ' || i FROM generate_series(1, 9) i;
GRANT USAGE ON SCHEMA "Odd schema" TO vdb_ann;
GRANT SELECT ON "Odd schema"."doc ""s""" TO vdb_ann;
GRANT SELECT, INSERT, UPDATE, DELETE ON "Odd schema".chunk TO vdb_ann;
INSERT INTO vdb.pipeline (id, name, owner, source, key, content, target, target_key, embedding, mode, model_version,
	batch_size, timeout, max_attempts, queue_limit, load)
	VALUES (101, 'ann', 'vdb_ann', '"Odd schema"."doc ""s"""', 'the id', 'Body', '"Odd schema".chunk', 'Key', 'E', 'claim',
	'v1', 64, '1 min', 3, 1000, NULL);

-- what the log brings: keys, in this order
CREATE FUNCTION come(keys text[], lsn pg_lsn DEFAULT '0/10', backfill bool DEFAULT false) RETURNS void LANGUAGE sql AS $$
	INSERT INTO vdb.ingest_queue AS q (pipeline, key, lsn, changed_at, backfill, due)
		SELECT 101, key, come.lsn, t, come.backfill, t
		FROM unnest(keys) WITH ORDINALITY u(key, n), LATERAL (SELECT clock_timestamp() - interval '1 min' + n * interval '1 s') c(t)
	ON CONFLICT (pipeline, key) DO UPDATE SET lsn = excluded.lsn
$$;
CREATE VIEW waits AS SELECT key, lsn, backfill, attempts, lease IS NOT NULL AS leased, due <= clock_timestamp() AS due
	FROM vdb.ingest_queue WHERE pipeline = 101 ORDER BY key;
CREATE VIEW made AS SELECT "Key", "E", model_version, embedded_at > now() - interval '1 min' AS new,
	source_hash = left(encode(sha256(convert_to("Body", 'UTF8')), 'hex'), 32) AS current
	FROM "Odd schema".chunk LEFT JOIN "Odd schema"."doc ""s""" ON "the id" = "Key" ORDER BY "Key";

-- in order: live ones by their time, then backfill; as many as are wanted, once

SELECT come('{9,8}', backfill => true);
SELECT come('{3,1,2,4}');
SELECT lease AS l FROM vdb.claim('ann', 3) LIMIT 1 \gset
SELECT * FROM waits;
SELECT lease > :l AS later, key, content FROM vdb.claim('ann', 2);
SELECT key, content FROM vdb.claim('ann');
SELECT count(*) FROM vdb.claim('ann');

-- finishing, by those who have the lease

SELECT vdb.complete(:l, '{1,2,3,8}', '{"[1,1]","[2,2]","[3,3]","[8,8]"}');
SELECT * FROM made;
SELECT * FROM waits;
SELECT vdb.complete(:l, '{1,2,3}', '{"[5,5]","[5,5]","[5,5]"}');
SELECT vdb.fail(:l, '{1,2,3}', 'late');
SELECT vdb.complete(:l, '{}', '{}');

-- leases that run out

UPDATE vdb.ingest_queue SET due = now();
SELECT lease AS m, count(*) FROM vdb.claim('ann') GROUP BY lease \gset
SELECT vdb.complete(:m, '{4,8,9}', '{"[4,4]","[8,8]","[9,9]"}');
SELECT * FROM waits;

-- unchanged: text and version of the model are the same, and there is an embedding

SELECT come('{1,2,3,4,8,9}');
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'another' WHERE "the id" = 1;
UPDATE "Odd schema".chunk SET model_version = 'v0' WHERE "Key" = 2;
UPDATE "Odd schema".chunk SET "E" = NULL WHERE "Key" = 3;
UPDATE "Odd schema".chunk SET source_hash = NULL WHERE "Key" = 4;
SELECT lease AS l FROM vdb.claim('ann', lease => '1 day') LIMIT 1 \gset
SELECT * FROM waits;
SELECT vdb.complete(:l, '{4,3,2,1}', '{"[4,5]","[3,5]","[2,5]","[1,5]"}');
SELECT * FROM made;

-- gone, or with nothing to embed

SELECT come('{1,2,77}');
DELETE FROM "Odd schema"."doc ""s""" WHERE "the id" = 1;
UPDATE "Odd schema"."doc ""s""" SET "Body" = NULL WHERE "the id" = 2;
SELECT * FROM vdb.claim('ann');
SELECT * FROM made;
SELECT * FROM waits;

-- changed while somebody works on it: stored, and due again

SELECT come('{5,6}');
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'new' WHERE "the id" = 5;
SELECT come('{5}', '0/20');
SELECT vdb.complete(:l, '{5,6}', '{"[5,5]","[6,6]"}');
SELECT * FROM made WHERE "Key" IN (5, 6);
SELECT * FROM waits;
SELECT lease AS l, content FROM vdb.claim('ann') \gset
SELECT vdb.complete(:l, '{5}', '{"[5,6]"}');
SELECT * FROM made WHERE "Key" = 5;
SELECT count(*) FROM waits;

-- failing, as often as may be

SELECT come('{7,8}');
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'poison' WHERE "the id" IN (7, 8);
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.fail(:l, '{7}', 'it is bitter');
SELECT * FROM waits;
SELECT last_error FROM vdb.pipeline WHERE id = 101;
SELECT count(*) FROM vdb.claim('ann');
UPDATE vdb.ingest_queue SET due = now() WHERE key = '7';
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.fail(:l, '{7}', 'it is sour');
UPDATE vdb.ingest_queue SET due = now();
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.fail(:l, '{7,8}', 'it is sweet');
SELECT * FROM waits;
SELECT key, error, attempts FROM vdb.ingest_dead WHERE pipeline = 101;

-- what changed while it failed has not failed, and a newer change takes it out of the dead

SELECT come('{7}', '0/30');
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT key FROM vdb.ingest_dead WHERE pipeline = 101;
SELECT come('{7}', '0/40');
SELECT vdb.fail(:l, '{7}', 'it is old');
SELECT * FROM waits;

-- too many requests: nobody has failed, and all wait

SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.fail(:l, '{7}', 'too many', '1 hour');
SELECT * FROM waits;
SELECT count(*) FROM vdb.claim('ann');
SELECT wait_until > now() + interval '59 min' AS waits, last_error FROM vdb.pipeline WHERE id = 101;
UPDATE vdb.pipeline SET wait_until = now(), failures = 4 WHERE id = 101;
UPDATE vdb.ingest_queue SET due = now();
SELECT lease AS l, count(*) FROM vdb.claim('ann') GROUP BY lease \gset
SELECT vdb.complete(:l, '{7,8}', '{"[7,7]","[8,9]"}');
SELECT failures FROM vdb.pipeline WHERE id = 101;
SELECT count(*) FROM waits;

-- what is wrong with what is given

SELECT come('{3}', '0/50');
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'three' WHERE "the id" = 3;
SELECT * FROM vdb.claim('nix');
SELECT * FROM vdb.claim(NULL);
SELECT * FROM vdb.claim('ann', 0);
SELECT * FROM vdb.claim('ann', 10001);
SELECT * FROM vdb.claim('ann', NULL);
SELECT * FROM vdb.claim('ann', lease => '0');
SELECT * FROM vdb.claim('ann', lease => '-1 day');
SELECT * FROM vdb.claim('ann', lease => '2 days');
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.complete(7, '{3}', '{"[1,2]"}');
SELECT vdb.complete(-7, '{3}', '{"[1,2]"}');
SELECT vdb.complete(:l, '{3,4}', '{"[1,2]"}');
SELECT vdb.complete(:l, '{3}', '{"[1,2,3]"}');
SELECT vdb.complete(:l, '{3,3}', '{"[1,2]","[1,2]"}');
SELECT vdb.complete(:l, '{3,NULL}', '{"[1,2]","[1,2]"}');
SELECT vdb.complete(:l, '{3}', '{NULL}');
SELECT vdb.complete(NULL, '{3}', '{"[1,2]"}');
SELECT vdb.complete(:l, NULL, '{"[1,2]"}');
SELECT vdb.complete(:l, '{3}', NULL);
SELECT vdb.fail(7, '{3}', 'why');
SELECT vdb.fail(:l, NULL, 'why');
SELECT vdb.fail(:l, '{NULL}', 'why');
SELECT vdb.fail(:l, '{3}', NULL);
SELECT vdb.fail(:l, '{3}', 'why', '-1 s');

-- whose it is

SET ROLE vdb_bob;
SELECT * FROM vdb.claim('ann');
SELECT vdb.complete(:l, '{3}', '{"[1,2]"}');
SELECT vdb.fail(:l, '{3}', 'why');
RESET ROLE;
GRANT vdb_ann TO vdb_bob;
SET ROLE vdb_bob;
SELECT vdb.complete(:l, '{3}', '{"[3,4]"}');
RESET ROLE;
REVOKE SELECT ON "Odd schema"."doc ""s""" FROM vdb_ann;
SELECT * FROM vdb.claim('ann');
GRANT SELECT ON "Odd schema"."doc ""s""" TO vdb_ann;

-- pipelines that do not go on

SELECT come('{3}', '0/60');
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'drei' WHERE "the id" = 3;
UPDATE vdb.pipeline SET state = 'paused' WHERE id = 101;
SELECT * FROM vdb.claim('ann');
UPDATE vdb.pipeline SET state = 'error' WHERE id = 101;
SELECT * FROM vdb.claim('ann');
UPDATE vdb.pipeline SET state = 'overflow' WHERE id = 101;
SELECT key, content FROM vdb.claim('ann');
UPDATE vdb.pipeline SET state = 'running' WHERE id = 101;

-- one row whose fault an error is: the others are claimed

UPDATE vdb.ingest_queue SET due = now();
SELECT come('{4,x5,6,7}', '0/70');
UPDATE "Odd schema"."doc ""s""" SET "Body" = "Body" || '!' WHERE "the id" IN (4, 6);
CREATE TABLE "Odd schema".refers (id int REFERENCES "Odd schema".chunk);
INSERT INTO "Odd schema".refers VALUES (7);
DELETE FROM "Odd schema"."doc ""s""" WHERE "the id" = 7;
SELECT key, content FROM vdb.claim('ann');
SELECT key, leased, attempts, due FROM waits;
SELECT last_error FROM vdb.pipeline WHERE id = 101;
DROP TABLE "Odd schema".refers;
DELETE FROM vdb.ingest_queue;

-- what the owner's trigger may not do, and what it finds

CREATE FUNCTION "Odd schema".climb() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE INFO '% in %', current_user, current_setting('search_path');
	SET LOCAL search_path = public;
	RESET ROLE;
	RETURN new;
END $$;
CREATE TRIGGER climb BEFORE INSERT ON "Odd schema".chunk FOR EACH ROW EXECUTE FUNCTION "Odd schema".climb();
SELECT come('{9}', '0/80');
UPDATE "Odd schema"."doc ""s""" SET "Body" = 'nine' WHERE "the id" = 9;
SELECT lease AS l FROM vdb.claim('ann') LIMIT 1 \gset
SELECT vdb.complete(:l, '{9}', '{"[9,9]"}');
SELECT current_user = session_user AS same, current_setting('search_path');
DROP TRIGGER climb ON "Odd schema".chunk;

-- operators that somebody puts in the way

CREATE FUNCTION always(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = always);
SET search_path = public, pg_catalog;
SELECT vdb.complete(:l, '{9}', '{"[9,9]"}');
RESET search_path;
DROP OPERATOR public.= (text, text);
DROP FUNCTION always;
SELECT * FROM made WHERE "Key" = 9;

-- without columns of provenance, and into halfvec; keys that are equal though their texts are not

CREATE TABLE plain (k numeric PRIMARY KEY, t text);
CREATE TABLE plain_e (k numeric PRIMARY KEY, embedding halfvec);
INSERT INTO plain VALUES (1.0, 'one');
INSERT INTO vdb.pipeline (id, name, owner, source, key, content, target, target_key, embedding, mode, batch_size, timeout,
	max_attempts, queue_limit, load)
	VALUES (102, 'plain', current_user::regrole, 'plain', 'k', 't', 'plain_e', 'k', 'embedding', 'claim', 64, '1 min', 3, 1000, NULL);
INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due) SELECT 102, k, '0/1', now(), now() FROM unnest('{1,1.0,1.00}'::text[]) k;
SELECT lease AS l FROM vdb.claim('plain') LIMIT 1 \gset
SELECT vdb.complete(:l, '{1,1.0,1.00}', '{"[1,2,3]","[1,2,3]","[1,2,3]"}');
SELECT * FROM plain_e;
DELETE FROM plain;
INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due) VALUES (102, '1', '0/1', now(), now());
SELECT * FROM vdb.claim('plain');
SELECT * FROM plain_e;

-- a table that is its own target

CREATE TABLE own (id int PRIMARY KEY, body text, embedding vector(1), source_hash text, model_version text);
INSERT INTO own VALUES (1, 'one', NULL, NULL), (2, 'two', NULL, NULL), (3, NULL, '[3]', 'hash');
INSERT INTO vdb.pipeline (id, name, owner, source, key, content, target, target_key, embedding, mode, batch_size, timeout,
	max_attempts, queue_limit, load)
	VALUES (103, 'own', current_user::regrole, 'own', 'id', 'body', 'own', 'id', 'embedding', 'claim', 64, '1 min', 3, 1000, NULL);
INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due) SELECT 103, id, '0/1', now(), now() FROM own;
SELECT lease AS l FROM vdb.claim('own') LIMIT 1 \gset
DELETE FROM own WHERE id = 2;
SELECT vdb.complete(:l, '{1,2}', '{"[1]","[2]"}');
SELECT id, body, embedding, source_hash IS NOT NULL AS hash FROM own ORDER BY id;
INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due) SELECT 103, id, '0/2', now(), now() FROM own;
SELECT * FROM vdb.claim('own');
SELECT count(*) FROM vdb.ingest_queue;

-- what is copied is not embedded

UPDATE vdb.pipeline SET mode = 'copy' WHERE id = 103;
SELECT * FROM vdb.claim('own');

DROP VIEW waits, made;
DROP FUNCTION come;
DELETE FROM vdb.pipeline;
DROP TABLE own, plain, plain_e;
DROP SCHEMA "Odd schema" CASCADE;
DROP ROLE vdb_ann, vdb_bob;
