# Claims that pipelines are defined as they are asked for where the server is set up for them, that no two delete
# each other's rows, that a version of a model is filled beside the first, compared, promoted and
# retired, that a claim costs no more where the queue is long, and nothing is claimed by a definition that
# changes.  No process works on them here.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'pipelines', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'wal_level = logical', 'vdb.ingest = off');

sub sql { return $node->safe_psql('postgres', shift) }

# Claims that a statement fails, and how.
sub fails
{
	my ($claim, $sql, $error) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	ok($status != 0, $claim);
	return like($err, $error, "$claim: it says so");
}

sub notices
{
	my ($status, $out, $err) = $node->psql('postgres', shift);
	return $err;
}

sql(q(
	CREATE TABLE doc (id bigint PRIMARY KEY, body text, v vector(2), embedding vector(1), e2 vector(1), source_hash text);
	INSERT INTO doc SELECT i, 'text ' || i, ARRAY[i, 1] FROM generate_series(1, 200) i;
	CREATE TABLE chunk (id bigint PRIMARY KEY, embedding vector(2), source_hash text, model_version text, embedded_at timestamptz);
	CREATE TABLE copied (id bigint PRIMARY KEY, embedding halfvec);
	CREATE TABLE bare (id bigint PRIMARY KEY, embedding vector);
	CREATE FUNCTION embed(texts text[]) RETURNS vector[] LANGUAGE sql AS
		$$ SELECT array_agg(ARRAY[length(t), 1]::vector ORDER BY n) FROM unnest(texts) WITH ORDINALITY u(t, n) $$;
	CREATE FUNCTION queue_all(pipeline text) RETURNS void LANGUAGE sql AS
		$$ INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due)
			SELECT p.id, doc.id, '0/1', now(), now() FROM doc, vdb.pipeline p WHERE p.name = queue_all.pipeline $$;
	-- embeds as programs outside do, by the angle of a number and a factor
	CREATE PROCEDURE work(pipeline text, factor float8) LANGUAGE plpgsql AS $$
	DECLARE
		l bigint;
		k text[];
		c text[];
	BEGIN
		LOOP
			SELECT min(lease), array_agg(key), array_agg(content) INTO l, k, c FROM vdb.claim(pipeline, 50);
			EXIT WHEN l IS NULL;
			COMMIT;
			PERFORM vdb.complete(l, k, (SELECT array_agg(ARRAY[cos(substr(t, 6)::int * factor), sin(substr(t, 6)::int * factor)]::vector ORDER BY n)
				FROM unnest(c) WITH ORDINALITY u(t, n)));
			COMMIT;
		END LOOP;
	END $$));

# --- creating ------------------------------------------------------------------

is(sql(q(SELECT vdb.create_pipeline('f', 'doc', 'id', 'body', 'chunk', embed => 'embed(text[])', model_version => 'v1'))), '1', 'a number');
is(sql(q(SELECT name, owner = current_user::regrole, source, key, content, target, target_key, embedding, mode, embed, model_version,
	version_of, batch_size, timeout, max_attempts, queue_limit, state, load, load_after, failures FROM vdb.pipeline)),
	'f|t|doc|id|body|chunk|id|embedding|function|public.embed(pg_catalog.text[])|v1||64|00:01:00|5|1000000|running|source||0',
	'what it is');
sql(q(SELECT vdb.create_pipeline('c', 'doc', 'id', 'v', 'copied')));
is(sql(q(SELECT mode, embed FROM vdb.pipeline WHERE name = 'c')), 'copy|', 'a vector is copied');
like(notices(q(SELECT vdb.create_pipeline('o', 'doc', 'id', 'body', 'bare'))),
	qr/NOTICE:.*"?public\.bare.*\n.*Missing: source_hash text, model_version text, embedded_at timestamptz/s,
	'who makes it is told of columns of provenance');
is(sql(q(SELECT mode FROM vdb.pipeline WHERE name = 'o')), 'claim', 'where there is no function, programs outside embed');
fails('a name twice', q(SELECT vdb.create_pipeline('o', 'doc', 'id', 'body', 'bare')), qr/pipeline "o" already exists/);
fails('a target twice', q(SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'bare')), qr/is the target of another pipeline/);
sql(q(BEGIN; SELECT vdb.drop_pipeline('o'); SELECT vdb.create_pipeline('p', 'doc', 'id', 'body', 'bare'); ROLLBACK));
is(sql(q(SELECT string_agg(name, ' ' ORDER BY id) FROM vdb.pipeline)), 'f c o', 'commands are rolled back like any other');
sql(q(SELECT vdb.create_pipeline('s1', 'doc', 'id', 'body', 'doc')));
sql(q(SELECT vdb.create_pipeline('s2', 'doc', 'id', 'body', 'doc', embedding => 'e2')));
fails('a column of a table that is its own target twice', q(SELECT vdb.create_pipeline('s3', 'doc', 'id', 'body', 'doc', embedding => 'e2')),
	qr/is the target of another pipeline/);
sql(q(SELECT vdb.drop_pipeline('s1'), vdb.drop_pipeline('s2'), vdb.drop_pipeline('c')));

# Two that create at once: the second one waits, and sees the first.
{
	my $first = begin_psql($node, q(BEGIN; SELECT vdb.create_pipeline('at once', 'doc', 'id', 'v', 'copied'); SELECT pg_sleep(1); COMMIT;));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
	fails('a target twice at once', q(SELECT vdb.create_pipeline('at the same time', 'doc', 'id', 'v', 'copied')),
		qr/is the target of another pipeline/);
	await_end($first);
}
sql(q(SELECT vdb.drop_pipeline('at once')));

# --- versions ------------------------------------------------------------------

sql(q(
	SELECT vdb.drop_pipeline('f');
	SELECT vdb.drop_pipeline('o');
	SELECT vdb.create_pipeline('doc', 'doc', 'id', 'body', 'chunk', model_version => 'v1', batch_size => 7);
	UPDATE vdb.pipeline SET load = NULL;
	CREATE TABLE chunk_2 (LIKE chunk INCLUDING ALL);
	CREATE TABLE chunk_3 (id bigint PRIMARY KEY, embedding halfvec(2));
	CREATE SCHEMA elsewhere;
	CREATE TABLE elsewhere.chunk (LIKE chunk INCLUDING ALL)));
fails('the same version', q(SELECT vdb.add_pipeline_version('doc', 'v1', NULL, 'chunk_2')), qr/"v1" is the version of pipeline "doc" itself/);
fails('the same table', q(SELECT vdb.add_pipeline_version('doc', 'v2', NULL, 'chunk')), qr/is the target of another pipeline/);
fails('its source', q(SELECT vdb.add_pipeline_version('doc', 'v2', NULL, 'doc')), qr/a version needs a target of its own/);
fails('a long name', q(SELECT vdb.add_pipeline_version('doc', repeat('v', 60), NULL, 'chunk_2')), qr/is too long for a name/);
fails('no name', q(SELECT vdb.add_pipeline_version('doc', NULL, NULL, 'chunk_2')), qr/must not be null/);
fails('none such', q(SELECT vdb.promote_pipeline_version('doc', 'v2')), qr/pipeline "doc\@v2" does not exist/);
sql(q(SELECT vdb.add_pipeline_version('doc', 'v2', NULL, 'chunk_2')));
sql(q(SELECT vdb.add_pipeline_version('doc', 'v3', 'embed(text[])', 'chunk_3')));
is(sql(q(SELECT v.name, v.mode, v.model_version, v.batch_size, v.load, b.name FROM vdb.pipeline v JOIN vdb.pipeline b ON b.id = v.version_of ORDER BY 1)),
	"doc\@v2|claim|v2|7|source|doc\ndoc\@v3|function|v3|7|source|doc", 'versions are pipelines like theirs');
fails('a version of a version', q(SELECT vdb.add_pipeline_version('doc@v2', 'v3', NULL, 'elsewhere.chunk')), qr/cannot have versions/);
fails('one that is there', q(SELECT vdb.add_pipeline_version('doc', 'v2', NULL, 'elsewhere.chunk')), qr/already has a version "v2"/);
fails('to drop what has versions', q(SELECT vdb.drop_pipeline('doc')), qr/as it has versions/);

sql(q(SELECT queue_all('doc')));
sql(q(CALL work('doc', 0.001)));
is(sql(q(SELECT compared, overlap FROM vdb.compare_pipeline_versions('doc', 'v2'))), '0|', 'nothing to compare yet');
fails('to promote what is gone through', q(SELECT vdb.promote_pipeline_version('doc', 'v2')), qr/does not have all embeddings yet\n.*being gone through/);
sql(q(UPDATE vdb.pipeline SET load = NULL));
sql(q(SELECT queue_all('doc@v2')));
fails('to promote what has a queue', q(SELECT vdb.promote_pipeline_version('doc', 'v2')), qr/Rows wait to be embedded/);
sql(q(CALL work('doc@v2', 0.001)));
is(sql(q(SELECT compared, overlap FROM vdb.compare_pipeline_versions('doc', 'v2'))), '100|1', 'the same neighbours');
is(sql(q(SELECT compared, overlap FROM vdb.compare_pipeline_versions('doc', 'v2', sample => 3, k => 1000, operator => '<->'))), '3|1',
	'more neighbours than there are');

# neighbours by a number that is folded: half of them are others
sql(q(UPDATE chunk_2 SET embedding = ARRAY[cos(abs(id - 100) * 0.001), sin(abs(id - 100) * 0.001)]));
my $overlap = sql(q(SELECT overlap FROM vdb.compare_pipeline_versions('doc', 'v2', 200)));

cmp_ok($overlap, '>', 0.2, 'some neighbours are the same');
cmp_ok($overlap, '<', 0.8, 'and some are not');
sql(q(CREATE INDEX ON chunk USING hnsw (embedding vector_cosine_ops)));
cmp_ok(abs(sql(q(SELECT overlap FROM vdb.compare_pipeline_versions('doc', 'v2', 200))) - $overlap), '<', 0.1, 'so an index says, too');
fails('another operator', q(SELECT * FROM vdb.compare_pipeline_versions('doc', 'v2', operator => '=')), qr/not an operator that orders vectors/);
fails('no sample', q(SELECT * FROM vdb.compare_pipeline_versions('doc', 'v2', 0)), qr/sample must be between/);
fails('no neighbours', q(SELECT * FROM vdb.compare_pipeline_versions('doc', 'v2', k => 1001)), qr/k must be between/);

my $ids = sql(q(SELECT string_agg(id::text, ' ' ORDER BY name) FROM vdb.pipeline WHERE name <> 'doc@v3'));
my $tables = sql(q(SELECT 'chunk'::regclass::oid, 'chunk_2'::regclass::oid));

sql(q(SELECT vdb.promote_pipeline_version('doc', 'v2')));
is(sql(q(SELECT name, target, model_version FROM vdb.pipeline ORDER BY name)),
	"doc|chunk|v2\ndoc\@v1|chunk_2|v1\ndoc\@v3|chunk_3|v3", 'names are swapped');
is(sql(q(SELECT string_agg(id::text, ' ' ORDER BY name DESC) FROM vdb.pipeline WHERE name <> 'doc@v3')), $ids, 'and numbers are not');
is(sql(q(SELECT 'chunk_2'::regclass::oid, 'chunk'::regclass::oid)), $tables, 'nor tables');
is(sql(q(SELECT count(DISTINCT version_of), count(version_of), min(version_of) = (SELECT id FROM vdb.pipeline WHERE name = 'doc') FROM vdb.pipeline)),
	'1|2|t', 'all others are its versions now');
is(sql(q(SELECT DISTINCT model_version FROM chunk)), 'v2', 'who asks by name gets the new ones');
sql(q(SELECT vdb.promote_pipeline_version('doc', 'v1')));
is(sql(q(SELECT DISTINCT model_version FROM chunk)), 'v1', 'and the old ones, promoted back');
is(sql(q(SELECT string_agg(name, ' ' ORDER BY name) FROM vdb.pipeline)), 'doc doc@v2 doc@v3', 'by the old names');

sql(q(CREATE ROLE ann LOGIN));
sql(q(GRANT ALL ON SCHEMA public, elsewhere TO ann));
sql(q(GRANT SELECT ON doc TO ann));
sql(q(GRANT SELECT, INSERT, UPDATE, DELETE ON chunk, chunk_2, chunk_3, elsewhere.chunk TO ann));
sql(q(SELECT vdb.alter_pipeline(name, owner => 'ann') FROM vdb.pipeline));
sql(q(UPDATE vdb.pipeline SET load = NULL));
fails('to promote tables that are not yours', q(SET ROLE ann; SELECT vdb.promote_pipeline_version('doc', 'v2', force => true)),
	qr/must be owner of table chunk/);
fails('to drop one that is not yours', q(SET ROLE ann; SELECT vdb.retire_pipeline_version('doc', 'v2', drop_target => true)),
	qr/must be owner of table chunk_2/);
sql(q(SET ROLE ann; SELECT vdb.retire_pipeline_version('doc', 'v2')));
is(sql(q(SELECT count(*) FROM chunk_2)), '200', 'to retire leaves the table');
sql(q(SELECT vdb.retire_pipeline_version('doc', 'v3', drop_target => true)));
is(sql(q(SELECT to_regclass('chunk_3'), count(*) FROM vdb.pipeline)), '|1', 'or not');
sql(q(SELECT vdb.add_pipeline_version('doc', 'v4', NULL, 'elsewhere.chunk')));
fails('to promote a table elsewhere', q(SELECT vdb.promote_pipeline_version('doc', 'v4', force => true)), qr/not in one schema/);

# --- a long queue ------------------------------------------------------------------

# Nobody has analyzed it: a claim reads it from its end, and does not sort it.
sql(q(INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due)
	SELECT p.id, i, '0/1', now(), now() FROM generate_series(1, 100000) i, vdb.pipeline p WHERE p.name = 'doc'));
my $plan = sql(q(EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM vdb.claim('doc')));
my ($hit) = $plan =~ /"Shared Hit Blocks": (\d+)/;
my ($read) = $plan =~ /"Shared Read Blocks": (\d+)/;

cmp_ok($hit + $read, '<', 2200, 'a claim of a long queue reads little of it');

# --- a definition that changes beside a claim ---------------------------------------

# What is claimed by the old one while somebody changes it would be stored as if it were of the new one.
sql(q(DELETE FROM vdb.ingest_queue));
sql(q(VACUUM vdb.ingest_queue));
sql(q(UPDATE chunk SET source_hash = NULL));
sql(q(SELECT queue_all('doc')));
{
	my $holder = hold($node, 'altered');
	my $alter = begin_psql($node, q(BEGIN; SELECT vdb.alter_pipeline('doc', model_version => 'v5');
		SELECT pg_advisory_lock_shared(hashtext('altered')); COMMIT));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
	is(sql(q(SELECT count(*) FROM vdb.claim('doc'))), '0', 'nothing is claimed by a definition that somebody changes');
	let_go($node, $holder);
	await_end($alter);
}
{
	my $holder = hold($node, 'claimed');
	my $claim = begin_psql($node, q(BEGIN; SELECT count(*) FROM vdb.claim('doc', 10);
		SELECT pg_advisory_lock_shared(hashtext('claimed')); COMMIT));
	my $alter;

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
	is(sql(q(SET lock_timeout = '5 s'; SELECT vdb.pause_pipeline('doc'), vdb.resume_pipeline('doc'), vdb.resync_pipeline('doc'), vdb.retry_pipeline('doc'))),
		'|||0', 'who stops a pipeline, or has it go on, does not wait for claims');
	$alter = begin_psql($node, q(SELECT vdb.alter_pipeline('doc', model_version => 'v6')));
	ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)),
		'who changes it waits for claims');
	let_go($node, $holder);
	await_end($claim);
	await_end($alter);
	is(sql(q(SELECT count(lease), count(*) FROM vdb.ingest_queue)), '0|200', 'and takes their leases away');
}

# A transaction that sees one snapshot throughout sees rows of before something was missed, and is gone through.
{
	my $holder = hold($node, 'seen');
	my $claim = begin_psql($node, q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM doc;
		SELECT pg_advisory_lock_shared(hashtext('seen')); SELECT count(*) FROM vdb.claim('doc'); COMMIT));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
	sql(q(SELECT vdb.resync_pipeline('doc')));
	let_go($node, $holder);
	await_end($claim);
	like(${ $claim->{output} }, qr/could not serialize access/, 'nothing is claimed where a pipeline has changed since a snapshot');
}

# Who claims by one, and keeps that open, is not waited for by who stops the pipeline, nor by what processes note there.
{
	my $holder = hold($node, 'open');
	my $claim = begin_psql($node, q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM vdb.claim('doc');
		SELECT pg_advisory_lock_shared(hashtext('open')); COMMIT));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
	sql(q(SET lock_timeout = '1s'; SELECT vdb.pause_pipeline('doc'); SELECT vdb.resume_pipeline('doc')));
	is(sql(q(SELECT state FROM vdb.pipeline WHERE name = 'doc')), 'running', 'an open claim by one snapshot holds up no command');
	let_go($node, $holder);
	await_end($claim);
	unlike(${ $claim->{output} }, qr/ERROR/, 'and is made');
}

# Nor does it see the leases of now.
fails('a definition that changes where one snapshot is seen throughout',
	q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT vdb.alter_pipeline('doc', model_version => 'v7'); COMMIT), qr/sees one snapshot throughout/);

# --- a server that is not set up -------------------------------------------------

$node->append_conf('postgresql.conf', 'wal_level = replica');
$node->restart;
fails('wal_level', q(SELECT vdb.create_pipeline('c', 'doc', 'id', 'v', 'copied')), qr/need wal_level to be logical/);

$node->stop;
done_testing();
