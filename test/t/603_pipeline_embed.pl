# Claims that processes embed what waits, each trouble dealt with: poisoned rows, results that do not fit, too many
# requests, a model that is away or hangs, a definition that has gone wrong, one that reaches for what is not its
# owner's; and that none of these stops another pipeline.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VdbTest;

my $node = new_server('embedding', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'wal_level = logical');

sub sql { return $node->safe_psql('postgres', shift) }

sub comes_true
{
	my ($claim, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $claim);
}

# A source and a target of rows called this, and a pipeline whose function has such a body.
sub make_pipeline
{
	my ($name, $rows, $body, %how) = @_;
	my $arguments = join '', map { ", $_ => $how{$_}" } sort keys %how;

	sql(qq(
		CREATE TABLE ${name}_doc (id int PRIMARY KEY, body text);
		CREATE TABLE ${name}_chunk (id int PRIMARY KEY, embedding vector(2), source_hash text, model_version text, embedded_at timestamptz);
		CREATE SEQUENCE ${name}_calls;
		INSERT INTO ${name}_doc SELECT i, 'text ' || i FROM generate_series(1, $rows) i;
		CREATE FUNCTION ${name}_embed(texts text[]) RETURNS vector[] LANGUAGE plpgsql SET search_path = public AS \$\$
		DECLARE
			calls int := nextval('${name}_calls');
		BEGIN
			$body
			RETURN (SELECT array_agg(ARRAY[length(t), 1]::vector ORDER BY n) FROM unnest(texts) WITH ORDINALITY u(t, n));
		END \$\$;
		SELECT vdb.create_pipeline('$name', '${name}_doc', 'id', 'body', '${name}_chunk', embed => '${name}_embed(text[])' $arguments)));
	come($name);
	return;
}

# What capture does: all rows of the source wait.
sub come
{
	my ($name) = @_;

	sql(qq(
		INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due)
		SELECT p.id, d.id, pg_current_wal_lsn(), now(), now() FROM ${name}_doc d, vdb.pipeline p WHERE p.name = '$name'
		ON CONFLICT (pipeline, key) DO NOTHING));
	return;
}

sub calls { my ($name) = @_; return sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ${name}_calls"); }

# All rows have embeddings of what they are now, but for these.
sub is_made
{
	my ($name, $but) = @_;
	my $except = defined $but ? "WHERE d.id NOT IN ($but)" : '';

	return comes_true("$name: rows have embeddings",
		qq(SELECT count(*) > 0 AND bool_and(coalesce(c.embedding = ARRAY[length(body), 1]::vector AND
			source_hash = left(encode(sha256(convert_to(body, 'UTF8')), 'hex'), 32), false))
			FROM ${name}_doc d LEFT JOIN ${name}_chunk c USING (id) $except));
}

sub is_empty
{
	my ($name) = @_;
	return comes_true("$name: nothing waits",
		qq(SELECT count(q.key) = 0 FROM vdb.pipeline p LEFT JOIN vdb.ingest_queue q ON q.pipeline = p.id WHERE p.name = '$name'));
}

sub dead
{
	my ($name) = @_;
	return sql(qq(SELECT d.key, d.attempts, d.error FROM vdb.ingest_dead d JOIN vdb.pipeline p ON p.id = d.pipeline
		WHERE name = '$name' ORDER BY d.key));
}

# --- all is well ------------------------------------------------------------------

make_pipeline('well', 300, '', model_version => q('v1'));
is_made('well');
is_empty('well');
is(sql(q(SELECT count(*), min(model_version), count(embedded_at) FROM well_chunk)), '300|v1|300', 'with where they come from');
my $calls = calls('well');

cmp_ok($calls, '<=', 20, 'in batches');
come('well');
is_empty('well');
is(calls('well'), $calls, 'and what has not changed is not embedded again');
sql('DELETE FROM well_doc WHERE id > 100');
sql(q(INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due)
	SELECT p.id, i, '0/1', now(), now() FROM generate_series(101, 300) i, vdb.pipeline p ON CONFLICT DO NOTHING));
comes_true('what has gone is deleted', 'SELECT count(*) = 100 FROM well_chunk');

# --- rows at fault -----------------------------------------------------------------

# 64 rows: the batch, and two calls a level for six levels, and the row alone once more
make_pipeline('poison', 64, q(IF 'text 37' = ANY (texts) THEN RAISE 'it is bitter'; END IF;), max_attempts => 2);
is_made('poison', 37);
comes_true('a poisoned row is given up', q(SELECT count(*) = 1 FROM vdb.ingest_dead WHERE error = 'it is bitter'));
is(dead('poison'), '37|2|it is bitter', 'after so many attempts');
cmp_ok(calls('poison'), '<=', 16, 'and not so many calls');
is(sql(q(SELECT state, failures, last_error, last_error_at IS NOT NULL FROM vdb.pipeline WHERE name = 'poison')),
	'running|0|it is bitter|t', 'the pipeline goes on');
is(sql(q(SELECT vdb.retry_pipeline('poison'))), '1', 'it may be tried again');
sql(q(UPDATE poison_doc SET body = 'cured' WHERE id = 37));
come('poison');
is_made('poison');
is(dead('poison'), '', 'and lives');

make_pipeline('misfit', 20, q(
	IF 'text 3' = ANY (texts) THEN RETURN NULL; END IF;
	IF 'text 5' = ANY (texts) THEN RETURN array_fill(NULL::vector, ARRAY[cardinality(texts)]); END IF;
	IF 'text 7' = ANY (texts) THEN RETURN '{"[1,1]"}'::vector[] || array_fill('[1,1]'::vector, ARRAY[cardinality(texts)]); END IF;
	IF 'text 9' = ANY (texts) THEN RETURN array_fill('[1,1,1]'::vector, ARRAY[cardinality(texts)]); END IF;),
	max_attempts => 1, batch_size => 8);
is_made('misfit', '3, 5, 7, 9');
is_empty('misfit');
is(dead('misfit'), join("\n",
	'3|1|function public.misfit_embed(pg_catalog.text[]) returned null',
	'5|1|function public.misfit_embed(pg_catalog.text[]) returned null',
	'7|1|function public.misfit_embed(pg_catalog.text[]) returned 2 embeddings of 1 texts',
	'9|1|expected 2 dimensions, not 3'), 'a result that does not fit is the fault of a row');

# a variable without a value, in the words of PL/pgSQL
make_pipeline('unset', 6, q(IF 'text 3' = ANY (texts) THEN RAISE 'not assigned yet' USING ERRCODE = '55000'; END IF;), max_attempts => 1);
is_made('unset', 3);
is(dead('unset'), '3|1|not assigned yet', 'an error that waiting does not mend is not waited for');

# the target's
make_pipeline('refused', 10, '', max_attempts => 1);
is_made('refused');
# at once: the first copy of the source may list rows that have been embedded already, and these would come back between
sql('BEGIN; LOCK TABLE refused_chunk; DELETE FROM refused_chunk; ALTER TABLE refused_chunk ADD CHECK (id <> 4); COMMIT');
sql(q(UPDATE refused_doc SET body = body || '!'));
come('refused');
is_made('refused', 4);
comes_true('a row that the target refuses is given up',
	q(SELECT count(*) = 1 FROM vdb.ingest_dead d JOIN vdb.pipeline p ON p.id = d.pipeline
		WHERE name = 'refused' AND d.key = '4' AND d.error LIKE '%violates check constraint%'));

# --- a model that has enough, or is away ----------------------------------------------

# counted from before: it may have been refused twice when the statement that makes the pipeline returns
my $began = time;

make_pipeline('busy', 10, q(IF calls <= 3 THEN
	RAISE 'enough' USING ERRCODE = 'VD429', DETAIL = (ARRAY['0.2', '00:00:00.3', 'soon'])[calls]; END IF;), max_attempts => 1);
is_made('busy');
cmp_ok(time - $began, '>=', 1, 'who has enough is left alone');
is(dead('busy'), '', 'and nobody has failed');
is(sql(q(SELECT failures, last_error FROM vdb.pipeline WHERE name = 'busy')), '0|enough', 'which is said, and over');

make_pipeline('away', 10, q(IF calls <= 3 THEN
	RAISE 'away' USING ERRCODE = (ARRAY['VD503', '08006', '53300'])[calls]; END IF;), max_attempts => 1);
comes_true('who is away is waited for', q(SELECT failures > 0 AND wait_until > now() FROM vdb.pipeline WHERE name = 'away'));
is_made('away');
is(dead('away'), '', 'and nobody has failed then either');
is(sql(q(SELECT failures FROM vdb.pipeline WHERE name = 'away')), '0', 'which is over');

# One row that takes too long: of batches of 4, half of it, and alone, where it fails
make_pipeline('slow', 8, q(IF 'text 2' = ANY (texts) THEN PERFORM pg_sleep(60); END IF;),
	timeout => q('100 ms'), batch_size => 4, max_attempts => 1);
is_made('slow', 2);
comes_true('a row that takes too long is given up', q(SELECT count(*) = 1 FROM vdb.ingest_dead d JOIN vdb.pipeline p ON p.id = d.pipeline
	WHERE name = 'slow' AND d.key = '2' AND d.error LIKE '%statement timeout%'));

# --- a table that gives its name to another one ------------------------------------------

make_pipeline('swapped', 5, 'PERFORM pg_sleep(1);');
comes_true('the function is at work', 'SELECT is_called FROM swapped_calls');
sql(q(BEGIN; ALTER TABLE swapped_chunk RENAME TO swapped_mine; CREATE TABLE swapped_chunk (LIKE swapped_mine INCLUDING ALL); COMMIT));
comes_true('what it makes is stored in the table, whatever that is called', 'SELECT count(*) = 5 FROM swapped_mine');
is(sql('SELECT count(*) FROM swapped_chunk'), '0', 'and not in another one of its name');

# --- a definition that goes wrong ------------------------------------------------------

make_pipeline('other', 10, '');
is_made('other');
make_pipeline('broken', 10, '');
is_made('broken');
sql('ALTER TABLE broken_doc RENAME body TO text');
come('broken');
comes_true('a column that is gone stops a pipeline', q(SELECT state = 'error' FROM vdb.pipeline WHERE name = 'broken'));
like(sql(q(SELECT reason FROM vdb.pipeline WHERE name = 'broken')), qr/column "body" of table public\.broken_doc does not exist/,
	'for a reason');
sql(q(UPDATE other_doc SET body = 'new ' || id));
come('other');
is_made('other');
sql('ALTER TABLE broken_doc RENAME text TO body');
sql(q(UPDATE broken_doc SET body = 'new ' || id));
come('broken');
is(sql(q(SELECT state FROM vdb.pipeline WHERE name = 'broken')), 'error', 'until it is resumed');
sql(q(SELECT vdb.resume_pipeline('broken')));
is_made('broken');
sql('ALTER FUNCTION broken_embed RENAME TO mended_embed');
sql(q(UPDATE broken_doc SET body = 'newer ' || id));
come('broken');
comes_true('so does a function', q(SELECT state = 'error' AND reason LIKE '%broken_embed%does not exist' FROM vdb.pipeline WHERE name = 'broken'));
sql('ALTER FUNCTION mended_embed RENAME TO broken_embed');
sql(q(SELECT vdb.resume_pipeline('broken')));
is_made('broken');

# dropped while it is called, with a batch that is to be called again in halves
sql('CREATE TABLE gone_gate ()');
make_pipeline('gone', 2, q(WHILE NOT EXISTS (SELECT FROM gone_gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RAISE 'none of these';));
comes_true('a function is at work', 'SELECT is_called FROM gone_calls');
sql('DROP FUNCTION gone_embed; INSERT INTO gone_gate DEFAULT VALUES');
comes_true('one that is dropped meanwhile stops its pipeline, and no more',
	q(SELECT state = 'error' AND reason IN (
		'function public.gone_embed(pg_catalog.text[]) does not exist',		-- who called it says so
		'function "public.gone_embed(pg_catalog.text[])" does not exist')	-- who looked it up
	FROM vdb.pipeline WHERE name = 'gone'));

sql('ALTER TABLE broken_chunk DROP CONSTRAINT broken_chunk_pkey');
sql(q(UPDATE broken_doc SET body = 'newest ' || id));
come('broken');
comes_true('and an index', q(SELECT state = 'error' AND reason LIKE 'there is no unique%' FROM vdb.pipeline WHERE name = 'broken'));
is(dead('broken'), '', 'no row has failed');
my ($status, $out, $err) = $node->psql('postgres', q(SELECT vdb.resume_pipeline('broken')));

like($err, qr/column "id" of table "broken_chunk" is not unique/, 'resume says what is wrong still');

# a target that somebody has locked is waited for, but not for ever
{
	my $locker = begin_psql($node, q(BEGIN; LOCK TABLE broken_chunk; SELECT pg_sleep(600)));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
	sql(q(UPDATE vdb.pipeline SET state = 'running' WHERE name = 'broken'));
	come('broken');
	sql(q(UPDATE other_doc SET body = 'newer ' || id));
	come('other');
	is_made('other');
	comes_true('a lock of somebody is waited for, but not for ever', q(SELECT failures > 0 FROM vdb.pipeline WHERE name = 'broken'));
	sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
	await_end($locker);
	sql('ALTER TABLE broken_chunk ADD PRIMARY KEY (id)');
	sql(q(SELECT vdb.resume_pipeline('broken')));
	is_made('broken');
}

# --- whose it is -------------------------------------------------------------------------

sql(q(
	CREATE ROLE ann;
	CREATE TABLE treasure (t text)));
make_pipeline('ann', 3, q(INSERT INTO treasure VALUES ('mine');));
is_made('ann');
sql(q(
	TRUNCATE treasure;
	GRANT SELECT ON ann_doc TO ann;
	GRANT SELECT, INSERT, UPDATE, DELETE ON ann_chunk TO ann;
	GRANT USAGE ON SEQUENCE ann_calls TO ann;
	SELECT vdb.alter_pipeline('ann', owner => 'ann');
	UPDATE ann_doc SET body = 'new ' || id));
come('ann');
comes_true('what the owner may not do, the function may not',
	q(SELECT state = 'error' AND reason = 'permission denied for table treasure' FROM vdb.pipeline WHERE name = 'ann'));
is(sql('SELECT count(*) FROM treasure'), '0', 'and did not');

$node->stop;
done_testing();
