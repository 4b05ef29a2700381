# Claims that pipelines go on where their database goes: on a standby that is promoted, in a dump that is restored,
# in a copy of the database; that a standby shows them and does nothing; and that rows which arrive by
# replication count as any others.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my @lines = (q(shared_preload_libraries = 'vdb'), 'wal_level = logical', 'max_worker_processes = 16', 'vdb.maintenance = off',
	'vdb.maintenance_naptime = 1', 'vdb.ingest_nap = 10');
my $node = new_server('first', @lines);

# All rows of a database have embeddings of what they are, and nothing else has.
sub follows
{
	my ($server, $database, $claim) = @_;
	return ok($server->poll_query_until($database, q(
		SELECT (SELECT count(*) = 0 FROM texts s FULL JOIN text_vectors t ON t.id = s.id
			WHERE public.vector_dims(t.embedding) IS DISTINCT FROM 16 OR vdb.hash_embed(s.body, 16) IS DISTINCT FROM t.embedding)
		AND (SELECT count(*) = 0 FROM numbers s FULL JOIN number_vectors t ON t.id = s.id WHERE s.v::vector IS DISTINCT FROM t.embedding))), $claim);
}

$node->safe_psql('postgres', q(
	CREATE TABLE texts (id int PRIMARY KEY, body text);
	CREATE TABLE text_vectors (id int PRIMARY KEY, embedding vector(16), source_hash text);
	CREATE TABLE numbers (id int PRIMARY KEY, v real[]);
	CREATE TABLE number_vectors (id int PRIMARY KEY, embedding vector(2));
	CREATE FUNCTION embed(text[]) RETURNS vector[] LANGUAGE sql AS 'SELECT vdb.hash_embed($1, 16)';
	INSERT INTO texts SELECT i, 'text ' || i FROM generate_series(1, 100) i;
	INSERT INTO numbers SELECT i, ARRAY[i, 1] FROM generate_series(1, 100) i;
	SELECT vdb.create_pipeline('texts', 'texts', 'id', 'body', 'text_vectors', embed => 'embed(text[])');
	SELECT vdb.create_pipeline('numbers', 'numbers', 'id', 'v', 'number_vectors')));
follows($node, 'postgres', 'embeddings are there');

# --- rows that arrive by replication --------------------------------------------------

$node->safe_psql('postgres', q(
	SELECT pg_replication_origin_create('elsewhere');
	SELECT pg_replication_origin_session_setup('elsewhere');
	SET session_replication_role = replica;
	INSERT INTO texts VALUES (1000, 'from elsewhere');
	UPDATE numbers SET v = '{7,7}' WHERE id = 7));
follows($node, 'postgres', 'rows of another origin are followed, without triggers');

# --- a standby -------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('second');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
catch_up($node, $standby);
is($standby->safe_psql('postgres', q(SELECT count(*), count(wal_lag_bytes) FROM vdb_stat_ingest)), '2|0', 'a standby shows pipelines');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'vdb ingest%')), '0', 'and does nothing');

# what the first one has not done when it dies
$node->safe_psql('postgres', q(ALTER DATABASE postgres SET vdb.ingest = off));
$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type LIKE 'vdb ingest%'));
$node->safe_psql('postgres', q(UPDATE texts SET body = body || ' changed' WHERE id % 3 = 0; DELETE FROM numbers WHERE id % 3 = 0; ALTER DATABASE postgres RESET vdb.ingest));
catch_up($node, $standby);
$node->stop('immediate');
$standby->promote;
follows($standby, 'postgres', 'promoted, it has all embeddings');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '1', 'by a slot of its own');
$standby->safe_psql('postgres', q(INSERT INTO texts VALUES (2000, 'new'); DELETE FROM texts WHERE id = 1; INSERT INTO numbers VALUES (2000, '{1,2}')));
follows($standby, 'postgres', 'and follows');

# --- a dump, and a copy -----------------------------------------------------------------

my $dump = $standby->basedir . '/dump.sql';
$standby->command_ok([ 'pg_dump', '-f', $dump, $standby->connstr('postgres') ], 'the database is dumped');
like(slurp_file($dump), qr/COPY vdb\.pipeline/, 'with its pipelines');
unlike(slurp_file($dump), qr/COPY vdb\.ingest_queue/, 'and without the queue');
$standby->safe_psql('postgres', 'CREATE DATABASE restored');
$standby->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $standby->connstr('restored') ], 'and restored');
follows($standby, 'restored', 'the restored one has embeddings');
$standby->safe_psql('restored', q(UPDATE texts SET body = 'restored ' || id; DELETE FROM numbers WHERE id < 50));
follows($standby, 'restored', 'and follows');
follows($standby, 'postgres', 'as does the first one');
is($standby->safe_psql('postgres', 'SELECT count(DISTINCT database) FROM pg_replication_slots'), '2', 'each has a slot');

# Who drops a database drops its pipelines first.
my ($status, $out, $err) = $standby->psql('postgres', 'DROP DATABASE restored');
like($err, qr/active logical replication slot/, 'a database with pipelines is not dropped unawares');
$standby->safe_psql('restored', q(SELECT vdb.drop_pipeline(name) FROM vdb.pipeline));
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_replication_slots WHERE database = 'restored')), 'without them');
$standby->safe_psql('postgres', 'DROP DATABASE restored');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_replication_origin)), '2', 'it is dropped, and no origin of it stays');

done_testing();
