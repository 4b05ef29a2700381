# Claims that embeddings are there once and current whatever is killed, and when: processes at each of their
# stop points, and processes and the server at random while rows change (VDB_KILLS of them).

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my $kills = $ENV{VDB_KILLS} || 10;
my $node = new_server(
	'kills', q(shared_preload_libraries = 'vdb'), 'wal_level = logical', 'max_worker_processes = 16',
	'vdb.maintenance = off', 'vdb.ingest_nap = 10', 'restart_after_crash = on');

sub sql { return $node->safe_psql('postgres', shift) }

# Waits until a query, that may fail meanwhile, says t.
sub await
{
	my ($sql, $seconds) = @_;

	for (1 .. 20 * ($seconds || 60))
	{
		# a server that is not up yet may be done with psql before that was told what to ask
		my ($status, $out) = eval { $node->psql('postgres', $sql) };

		return 1 if defined $status && $status == 0 && $out eq 't';
		usleep(50_000);
	}
	return 0;
}

# Processes are killed at a point when they get there, from now on.
sub crash_at
{
	my ($point) = @_;

	sql("ALTER DATABASE postgres SET vdb.stop_at = '$point=crash'");
	sql(q(SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type LIKE 'vdb ingest%'));
	return;
}

sub crash_no_more
{
	for (1 .. 200)
	{
		return if ($node->psql('postgres', 'ALTER DATABASE postgres RESET vdb.stop_at'))[0] == 0;
		usleep(20_000);
	}
	die 'the server does not come back';
}

my $current = q(SELECT
	(SELECT count(*) = 0 FROM texts s FULL JOIN text_vectors t ON t.id = s.id WHERE vdb.hash_embed(s.body, 32) IS DISTINCT FROM t.embedding) AND
	(SELECT count(*) = 0 FROM numbers s FULL JOIN number_vectors t ON t.id = s.id WHERE s.v::vector IS DISTINCT FROM t.embedding) AND
	(SELECT count(*) = 0 FROM vdb.ingest_queue) AND (SELECT count(*) = 0 FROM vdb.ingest_dead));

sql(q(
	CREATE TABLE texts (id int PRIMARY KEY, body text);
	CREATE TABLE text_vectors (id int PRIMARY KEY, embedding vector(32), source_hash text, model_version text, embedded_at timestamptz);
	CREATE INDEX ON text_vectors USING hnsw (embedding vector_cosine_ops);
	CREATE TABLE numbers (id int PRIMARY KEY, v real[]);
	CREATE TABLE number_vectors (id int PRIMARY KEY, embedding vector(4));
	CREATE FUNCTION embed(text[]) RETURNS vector[] LANGUAGE sql AS 'SELECT vdb.hash_embed($1, 32)';
	INSERT INTO texts SELECT i, 'text number ' || i FROM generate_series(1, 300) i;
	INSERT INTO numbers SELECT i, ARRAY[i, 1, 2, 3] FROM generate_series(1, 300) i;
	SELECT vdb.create_pipeline('texts', 'texts', 'id', 'body', 'text_vectors', embed => 'embed(text[])', batch_size => 16, timeout => '2 s');
	SELECT vdb.create_pipeline('numbers', 'numbers', 'id', 'v', 'number_vectors')));
ok(await($current), 'what was there before is embedded');

# --- at stop points --------------------------------------------------------------

my $round = 0;
for my $point (qw(ingest-before-apply ingest-applied ingest-claimed ingest-embedded ingest-completed ingest-load-page))
{
	my $offset = -s $node->logfile;

	$round++;
	crash_at($point);
	$node->psql('postgres', qq(
		INSERT INTO texts SELECT i, 'more ' || i FROM generate_series(1000 * $round, 1000 * $round + 49) i;
		UPDATE texts SET body = body || ' changed' WHERE id < 20 * $round;
		DELETE FROM texts WHERE id BETWEEN 200 AND 200 + $round;
		INSERT INTO numbers SELECT i, ARRAY[i, 1, 2, 3] FROM generate_series(1000 * $round, 1000 * $round + 49) i;
		UPDATE numbers SET v[2] = v[2] + 1 WHERE id < 20 * $round;
		SELECT vdb.resync_pipeline(name) FROM vdb.pipeline));
	ok($node->wait_for_log(qr/was terminated by signal 9/, $offset), "a process is killed at $point");
	crash_no_more();
	ok(await($current), 'and all is embedded');
}

# a slot that was made, and nobody told
{
	my $offset;

	sql(q(SELECT vdb.drop_pipeline('numbers'); SELECT vdb.drop_pipeline('texts')));
	ok(await('SELECT count(*) = 0 FROM pg_replication_slots'), 'the slot is gone');
	crash_at('ingest-slot-created');
	sql(q(UPDATE texts SET body = 'unseen ' || id WHERE id < 100; DELETE FROM texts WHERE id = 100));
	$offset = -s $node->logfile;
	$node->psql('postgres', q(
		SELECT vdb.create_pipeline('texts', 'texts', 'id', 'body', 'text_vectors', embed => 'embed(text[])', batch_size => 16, timeout => '2 s');
		SELECT vdb.create_pipeline('numbers', 'numbers', 'id', 'v', 'number_vectors')));
	ok($node->wait_for_log(qr/was terminated by signal 9/, $offset), 'a process is killed when it has made a slot');
	crash_no_more();
	ok(await('SELECT count(*) = 2 FROM vdb.pipeline'), 'both pipelines are there') or
	  sql(q(SELECT vdb.create_pipeline('numbers', 'numbers', 'id', 'v', 'number_vectors') WHERE NOT EXISTS (SELECT FROM vdb.pipeline WHERE name = 'numbers')));
	ok(await($current), 'and all is gone through');
}

# --- at random ---------------------------------------------------------------------

my $load = q(
	\set id random(1, 400)
	\set what random(1, 10)
	\if :what < 5
	INSERT INTO texts VALUES (:id, 'text ' || random()) ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body;
	INSERT INTO numbers VALUES (:id, ARRAY[random(), 1, 2, 3]) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v;
	\elif :what < 8
	BEGIN; UPDATE texts SET body = body || ' more' WHERE id % 40 = :id % 40; UPDATE numbers SET v[1] = v[1] + 1 WHERE id % 40 = :id % 40; COMMIT;
	\else
	DELETE FROM texts WHERE id = :id; DELETE FROM numbers WHERE id = :id;
	\endif
);
my %done;
for my $kill (1 .. $kills)
{
	my $how = (qw(capture embedder immediate terminate))[rand 4];
	my $clients;

	await('SELECT true');
	$clients = begin_pgbench($node, 2, 3, load => $load);
	usleep(300_000 + rand 1_500_000);
	if ($how eq 'immediate')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $kind = $how eq 'embedder' ? 'embedder' : 'capture';
		my ($status, $pid) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb ingest $kind' LIMIT 1");

		kill($how eq 'terminate' ? 'TERM' : 'KILL', $pid) if $pid;
	}
	$done{$how}++;
	await_end($clients);
}
diag(join ', ', map { "$_ $done{$_}" } sort keys %done);
ok(await($current, 120), "after $kills kills every embedding is there, once, and current");
is(sql(q(SELECT count(*) = count(DISTINCT id) FROM text_vectors)), 't', 'once');
check_index($node, 'text_vectors_embedding_idx', 'after that');
is(sql(q(SELECT bool_and(state = 'running') FROM vdb.pipeline)), 't', 'pipelines run');

done_testing();
