# Claims that what is counted of an index is right to the last scan, whoever scans, and
# goes when it should.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('stats', "shared_preload_libraries = 'vdb'", 'wal_level = logical', 'hnsw.ef_search = 400',
	'ivfflat.probes = 4', 'ivfpq.probes = 4', 'enable_seqscan = off', 'restart_after_crash = on');

$node->safe_psql(
	'postgres', q(
	CREATE TABLE graph (id int, v vector(3));
	INSERT INTO graph SELECT i, ARRAY[i, i * 7 % 201, i * 13 % 199]::vector FROM generate_series(1, 200) i;
	CREATE TABLE flat AS SELECT * FROM graph;
	CREATE TABLE pq AS SELECT * FROM graph;
	CREATE INDEX ON graph USING hnsw (v vector_l2_ops);
	CREATE INDEX ON flat USING ivfflat (v vector_l2_ops) WITH (lists = 4);
	CREATE INDEX ON pq USING ivfpq (v vector_l2_ops) WITH (lists = 4)));

my @tables = qw(graph flat pq);
my $columns = 'scans, rows, candidates, distances, exact_distances, rounds, pages_hit + pages_read';

# Values of an index, or of all that it has of them.
sub stats_of
{
	my ($table, $what, $server) = @_;

	return ($server // $node)->safe_psql('postgres', "SELECT $what FROM vdb_stat_index WHERE relname = '$table'");
}

sub query_of
{
	my ($table, $what) = @_;

	return $node->safe_psql('postgres', "SELECT $what FROM vdb_stat_query WHERE relname = '$table'");
}

sub reset_all
{
	return $node->safe_psql('postgres', 'SELECT vdb_stat_reset()');
}

sub nearest
{
	my ($table, $rows) = @_;

	return "SELECT id FROM $table ORDER BY v <-> '[50,50,50]' LIMIT $rows";
}

# builds
for my $table (@tables)
{
	is(stats_of($table, 'scans, build_ms > 0, last_build > now() - interval \'1 hour\', last_vacuum IS NULL, dead IS NULL, recall IS NULL'),
		'0|t|t|t|t|t', "a build of $table is noted");
}

# one scan each: what is known beforehand, and the rest as the log has it
for my $table (@tables)
{
	my $lists = $table eq 'graph' ? 0 : 4;

	reset_all();
	is(stats_of($table, 'scans'), '', "nothing is known of $table after a reset");
	my $log = notices_of($node, "SET vdb.log_scan = on; SET client_min_messages = log; " . nearest($table, 10));
	like($log, qr/scan of index "${table}_v_idx": (ef_search 4\d\d|probes 4), rows 10,/, "a scan of $table is logged");
	my @logged = $log =~ /rows (\d+), candidates (\d+), distances (\d+), exact distances (\d+), rounds (\d+), pages hit (\d+), pages read (\d+), time ([\d.]+) ms/;
	is(stats_of($table, $columns), join('|', 1, @logged[ 0 .. 4 ], $logged[5] + $logged[6]), "a scan of $table is counted as it is logged");
	is($logged[1], 200, 'a graph of 200 rows has so many candidates') if !$lists;
	cmp_ok($logged[2], '>=', 199, 'and is weighed, but for where it began') if !$lists;
	is($logged[2], 204, "all rows and all lists of $table were looked at") if $lists;
	cmp_ok($logged[5] + $logged[6], '>', 0, "pages of $table were");
	is(query_of($table, 'count, buckets[19], le[19]'), '1|1|Infinity', "a scan of $table is in the histogram");
	is(query_of($table, "abs(sum * 1000 - $logged[7]) < 0.001"), 't', 'with the time that was logged');
	is(query_of($table, "(SELECT min(b) FROM unnest(le, buckets) AS x (b, n) WHERE n = 1) >= sum"), 't', 'in a bucket that it fits');
}

# the same in a plan, where the server has room for it
SKIP:
{
	skip 'EXPLAIN takes no lines of extensions before PostgreSQL 18', 4 if $node->pg_version < 18;
	for my $table (@tables)
	{
		reset_all();
		my $plan = $node->safe_psql('postgres', 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' . nearest($table, 10));
		my @shown = $plan =~ /(?:ef_search|probes): \d+\s+Candidates: (\d+)\s+Distances: (\d+)\s+Exact Distances: (\d+)\s+Rounds: (\d+)\s+Pages Hit: (\d+)\s+Pages Read: (\d+)/;
		is(stats_of($table, 'candidates, distances, exact_distances, rounds, pages_hit, pages_read'), join('|', @shown), "a plan of $table shows what is counted") or diag $plan;
	}
	my $plan = $node->safe_psql('postgres', 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(*) FROM generate_series(1, 7) i CROSS JOIN LATERAL
		(SELECT id FROM graph ORDER BY v <-> ARRAY[i, i, i]::vector LIMIT 3) g');
	like($plan, qr/Candidates: 1400\n/, 'and the sum of all rescans');
}

# sums
reset_all();
for my $table (@tables)
{
	my @one = split /\|/, stats_of_scan($table, 10);

	reset_all();
	my $run = begin_pgbench($node, 4, 2, $table => nearest($table, 10) . ";\n");
	await_end($run) or die ${ $run->{output} };
	my ($transactions) = ${ $run->{output} } =~ /actually processed: (\d+)/;
	cmp_ok($transactions, '>', 10, 'clients scan');
	is(stats_of($table, 'scans, rows, candidates, distances, exact_distances, rounds'),
		join('|', map { $_ * $transactions } @one[ 0 .. 5 ]), "scans of $table by four sessions add up");
	is(query_of($table, 'count'), $transactions, 'and so does the histogram');
	is(query_of($table, 'p50 <= p95 AND p95 <= p99 AND p50 > 0'), 't', 'which has quantiles in order');
}

sub stats_of_scan
{
	my ($table, $rows) = @_;

	reset_all();
	$node->safe_psql('postgres', nearest($table, $rows));
	return stats_of($table, $columns);
}

# scans that begin anew, that nobody finishes, and that an error ends
reset_all();
$node->safe_psql('postgres', 'SELECT count(*) FROM generate_series(1, 7) i CROSS JOIN LATERAL
	(SELECT id FROM graph ORDER BY v <-> ARRAY[i, i, i]::vector LIMIT 3) g');
is(stats_of('graph', 'scans, rows'), '7|21', 'each rescan is a scan');
reset_all();
$node->safe_psql('postgres', 'BEGIN; DECLARE c CURSOR FOR ' . nearest('flat', 100) . '; FETCH 5 FROM c; COMMIT');
is(stats_of('flat', 'scans, rows'), '1|5', 'a cursor counts what was fetched');
reset_all();
$node->psql('postgres', 'SET statement_timeout = 200; SELECT pg_sleep(10) FROM (' . nearest('pq', 5) . ' OFFSET 0) s');
is(stats_of('pq', 'scans, rows'), '1|1', 'a scan that was cancelled is counted');
is(query_of('pq', 'count, sum < 0.1'), '1|t', 'without the time that others took');
reset_all();
$node->safe_psql('postgres', "SET hnsw.ef_search = 10; " . nearest('graph', 150));
cmp_ok(stats_of('graph', 'rounds'), '>', 0, 'further rounds are counted');
is(stats_of('graph', 'rows'), 150, 'as are their rows');

# writing
reset_all();
for my $table (@tables)
{
	$node->safe_psql('postgres', "INSERT INTO $table VALUES (201, '[1,2,3]'), (202, NULL), (203, '[3,2,1]')");
	is(stats_of($table, 'scans, inserts'), '0|2', "inserts into $table are counted");
	$node->safe_psql('postgres', "DELETE FROM $table WHERE id <= 20");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table");
	is(stats_of($table, "dead, last_vacuum > now() - interval '1 hour'"), '20|t', "a VACUUM of $table is noted");
}
cmp_ok(stats_of('graph', 'repairs'), '>', 0, 'lists that VACUUM repaired are counted');
$node->safe_psql('postgres', 'CREATE TABLE grown (v vector(3)); CREATE INDEX ON grown USING ivfpq (v vector_l2_ops);
	INSERT INTO grown SELECT v FROM graph g, generate_series(1, 10) WHERE v IS NOT NULL; VACUUM grown');
is(stats_of('grown', 'repairs, dead'), '1|0', 'as is the list of an empty table that becomes several');
$node->safe_psql('postgres', 'DROP TABLE grown; REINDEX INDEX graph_v_idx');
is(stats_of('graph', 'last_build > since, inserts'), 't|2', 'a REINDEX keeps what was counted');

# recall
my $recall = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('flat_v_idx', 7)");
is(stats_of('flat', 'recall, recall_k, last_recall > since'), "$recall|7|t", 'a measured recall is kept');
$node->safe_psql('postgres', "SELECT FROM vdb.calibrate('pq_v_idx')");
is(stats_of('pq', 'recall IS NULL, last_calibration > since'), 't|t', 'the time of a calibration is kept');

# who may see what
$node->safe_psql('postgres', 'CREATE ROLE reader; CREATE ROLE auditor; GRANT pg_read_all_stats TO auditor; GRANT SELECT ON graph TO reader');
for my $view (qw(vdb_stat_index vdb_stat_query))
{
	is($node->safe_psql('postgres', "SET ROLE reader; SELECT string_agg(relname, ',') FROM $view"),
		'graph', "who may read a table sees its indexes in $view");
	is($node->safe_psql('postgres', "SET ROLE auditor; SELECT count(*) FROM $view"), 3, "and whoever may see all statistics those of $view");
}
psql_fails($node, 'SET ROLE reader; SELECT vdb_stat_reset()', '42501', 'permission denied', 'not everybody may reset all');
psql_fails($node, "SET ROLE reader; SELECT vdb_stat_reset('graph_v_idx')", '42501', 'permission denied', 'nor one index');
psql_fails($node, 'SET ROLE reader; SET vdb.log_scan = on', '42501', 'permission denied', 'nor fill the log');

# resets
$node->safe_psql('postgres', "SELECT vdb_stat_reset('graph_v_idx')");
is($node->safe_psql('postgres', "SELECT string_agg(relname, ',' ORDER BY relname) FROM vdb_stat_index"), 'flat,pq', 'one index is reset alone');
$node->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE postgres');
$node->safe_psql('other', nearest('graph', 10));
is($node->safe_psql('other', 'SELECT relname, scans FROM vdb_stat_index'), 'graph|1', 'each database sees its own');
reset_all();
is($node->safe_psql('postgres', 'SELECT count(*) FROM vdb_stat_index'), 0, 'all of a database are reset');
is($node->safe_psql('other', 'SELECT relname, scans FROM vdb_stat_index'), 'graph|1', 'and none of another one');

# a crash of a backend empties the shared memory, and counting goes on
$node->safe_psql('postgres', nearest('graph', 10));
my $pid = begin_held_backend();
kill 9, $pid;
await_server($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM vdb_stat_index'), 0, 'after a crash nothing is known');
$node->safe_psql('postgres', nearest('graph', 10));
is(stats_of('graph', 'scans, rows'), '1|10', 'and scans are counted');

sub begin_held_backend
{
	my $sleeper = begin_psql($node, "SET application_name = 'sleeper'; SELECT pg_sleep(600)");

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'sleeper'");
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'sleeper'");
}

# what pipelines did is reset apart
$node->safe_psql(
	'postgres', q(
	CREATE TABLE source (id int PRIMARY KEY, v real[]);
	CREATE TABLE target (id int PRIMARY KEY, embedding vector(2));
	INSERT INTO source SELECT i, ARRAY[i, 1] FROM generate_series(1, 5) i;
	SELECT vdb.create_pipeline('copy', 'source', 'id', 'v', 'target')));
sub ingest_is
{
	my ($values, $claim) = @_;

	return ok($node->poll_query_until('postgres', "SELECT captured || '|' || embedded FROM vdb_stat_ingest", $values), $claim);
}

ingest_is('0|5', 'what a pipeline did is counted');
$node->safe_psql('postgres', 'SELECT vdb_stat_reset()');
ingest_is('0|5', 'which is left where indexes are reset');
psql_fails($node, 'SET ROLE reader; SELECT vdb_stat_ingest_reset()', '42501', 'permission denied', 'not everybody may reset pipelines');
$node->safe_psql('other', 'SELECT vdb_stat_ingest_reset()');
ingest_is('0|5', 'and who does so in another database does not in this one');
$node->safe_psql('postgres', nearest('graph', 10) . '; SELECT vdb_stat_ingest_reset()');
ingest_is('0|0', 'it is forgotten');
is(stats_of('graph', 'scans'), 1, 'and nothing of indexes is');
$node->safe_psql('postgres', q(INSERT INTO source VALUES (6, '{6,1}')));
ingest_is('1|1', 'and counting goes on');
is($node->safe_psql('postgres', "SET ROLE reader; SELECT count(*) FROM vdb_stat_ingest"), 0, 'pipelines of others are not seen');
is($node->safe_psql('postgres', "SET ROLE auditor; SELECT count(*) FROM vdb_stat_ingest"), 1, 'but by who may see all statistics');

# a standby counts what is done there
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$standby->safe_psql('postgres', nearest('graph', 10) . ';' . nearest('pq', 3));
is(stats_of('graph', 'scans, rows', $standby), '1|10', 'a standby counts its own scans');
is(stats_of('pq', 'scans, rows', $standby), '1|3', 'of each index');
is(stats_of('pq', 'scans'), '', 'of which the primary knows nothing');
$standby->safe_psql('postgres', 'SELECT vdb_stat_reset()');
is(stats_of('graph', 'scans', $standby), '', 'and they can be reset there');
is($standby->safe_psql('postgres', 'SELECT name, state, wal_lag_bytes IS NULL, wal_lag_seconds IS NULL, queued, embedded FROM vdb_stat_ingest'),
	'copy|running|t|t|0|0', 'pipelines are seen there, at which nobody works');
$standby->stop;
$node->safe_psql('postgres', q(SELECT vdb.drop_pipeline('copy')));

# room for two
$node->append_conf('postgresql.conf', 'vdb.stat_indexes = 2');
$node->restart;
$node->safe_psql('postgres', nearest($_, 10)) for @tables;
is($node->safe_psql('postgres', "SELECT string_agg(relname, ',' ORDER BY relname) FROM vdb_stat_index"),
	'flat,graph', 'indexes that came first have the room');
is($node->safe_psql('postgres', 'SELECT * FROM vdb_stat_table()'), '2|2|1', 'what was not counted is');
$node->safe_psql('postgres', 'DROP TABLE graph');
$node->safe_psql('postgres', nearest('pq', 10));
is(stats_of('pq', 'scans'), 1, 'a dropped index makes room');
is($node->safe_psql('postgres', 'SELECT * FROM vdb_stat_table()'), '2|2|1', 'of one');
$node->safe_psql('postgres', 'SELECT vdb_stat_reset()');
$node->safe_psql('other', "SET client_min_messages = error; " . nearest($_, 1)) for qw(graph flat);
$node->safe_psql('postgres', nearest('pq', 10));
is(stats_of('pq', 'scans'), '', 'another database has the room');
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->safe_psql('postgres', nearest('pq', 10));
is(stats_of('pq', 'scans'), 1, 'until it is dropped');
is($node->safe_psql('postgres', 'SELECT * FROM vdb_stat_table()'), '2|1|2', 'with all that it had');

$node->stop;
done_testing();
