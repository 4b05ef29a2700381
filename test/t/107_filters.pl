# Claims that an index with further columns has each row's values however it was
# built, also in partitions and by several; that queries with conditions find what
# sorting finds; and that this is so on a standby, after a crash and in a dump.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('filters', "wal_consistency_checking = 'generic'",
	'max_parallel_maintenance_workers = 0', 'max_worker_processes = 16');

load_words($node, 6000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (id int, half bool, tenant int, word text, letters text[], v vector(100));
	INSERT INTO t SELECT id, id % 2 = 0, CASE WHEN id % 7 > 0 THEN id % 100 END, word, ARRAY[left(word, 1), right(word, 1)], v FROM words));

# Of the ten nearest to some words, the share that the index finds, by condition.
sub found
{
	my ($server, $condition) = @_;
	my $query = "SELECT w.id, s.id AS row FROM words w, LATERAL (
		SELECT id FROM t WHERE $condition ORDER BY t.v <=> w.v, id LIMIT 10) s WHERE w.id % 150 = 0";
	my $asked = $query =~ s/ORDER BY t.v <=> w.v, id/ORDER BY t.v <=> w.v/r;
	my $plan = $server->safe_psql('postgres', "SET enable_seqscan = off; EXPLAIN $asked");

	like($plan, qr/using t_v on t .*\n.*Index Cond/, "the index looks at $condition");
	unlike($plan, qr/Filter: \(\(?(half|tenant|word|letters)/, 'and nothing else does');
	return $server->safe_psql('postgres', "SET enable_seqscan = off; SET hnsw.ef_search = 100;
		CREATE TEMP TABLE f AS $asked; RESET enable_seqscan; SET enable_indexscan = off; CREATE TEMP TABLE e AS $query;
		SELECT avg((EXISTS (SELECT FROM f WHERE f = e))::int) FROM e");
}

sub finds_all
{
	my ($server, $when) = @_;

	check_index($server, 't_v', $when);
	for my $condition ('half', 'tenant = 5', 'tenant IN (1, 2, 3) AND NOT half', 'tenant IS NULL',
		"letters && '{x,q}'", 'tenant BETWEEN 10 AND 60')
	{
		cmp_ok(found($server, $condition), '>=', 0.97, "nearest rows with $condition $when");
	}
	return;
}

my $create = 'CREATE INDEX t_v ON t USING hnsw (v vector_cosine_ops, half, tenant, word, letters)';

for my $build (
	[ 'built in one piece', '' ],
	[ 'built in partitions', "SET maintenance_work_mem = '1MB';" ],
	[ 'built by several', 'SET max_parallel_maintenance_workers = 3; ALTER TABLE t SET (parallel_workers = 3);' ],
	[ 'built in partitions by several', "SET max_parallel_maintenance_workers = 3; SET maintenance_work_mem = '1MB';" ])
{
	my ($when, $settings) = @$build;

	$node->safe_psql('postgres', "DROP INDEX IF EXISTS t_v; $settings $create");
	check_index($node, 't_v', $when);
}
finds_all($node, 'built in partitions by several');
$node->safe_psql('postgres', "DROP INDEX t_v; $create");
finds_all($node, 'built in one piece');

# --- a standby ---------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 = 0');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
$node->safe_psql('postgres', "INSERT INTO t SELECT id, id % 4 = 0, id % 50, 'again', NULL, v FROM words WHERE id % 3 = 0");
$node->safe_psql('postgres', 'UPDATE t SET tenant = 5 WHERE id % 40 = 2');
catch_up($node, $standby);
check_index($standby, 't_v', 'on a standby');
for my $condition ('tenant = 5', "word = 'again'")
{
	my $query = "SET enable_seqscan = off; SELECT array_agg(id) FROM (SELECT id FROM t WHERE $condition
		ORDER BY v <=> (SELECT v FROM words WHERE id = 7) LIMIT 50) s";

	is($standby->safe_psql('postgres', $query), $node->safe_psql('postgres', $query),
		"a standby answers alike with $condition");
}
$standby->stop;

# --- a crash, and a dump -------------------------------------------------------------------

$node->stop('immediate');
$node->start;
finds_all($node, 'after a crash');

my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('again') ], 'restored');
is($node->safe_psql('again', "SELECT pg_get_indexdef('t_v'::regclass)"),
	'CREATE INDEX t_v ON public.t USING hnsw (v vector_cosine_ops, half, tenant, word, letters)',
	'a dump has the index');
is($node->safe_psql('again', "SELECT live FROM vdb.check_index('t_v', true)"), '6000', 'and it is complete');
done_testing();
