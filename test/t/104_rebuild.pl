# Claims that an index which is built, rebuilt or given up while others write
# is right in the end, and that what an interrupted build leaves behind is in
# nobody's way: it can be dropped, or built again.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('rebuild', 'fsync = off', 'restart_after_crash = on');

load_words($node, 2000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE r (id serial PRIMARY KEY, v vector(100));
	INSERT INTO r (v) SELECT v FROM words));

# Whatever is done below, three sessions write, some hundred rows a second: as fast as
# they can, they would make most rows copies of others.
my $pick = "\\sleep 20 ms\n\\set w random(1, 2000)\n\\set r random(1, 2000)\n";
my %load = (
	'insert@5' => "$pick INSERT INTO r (v) SELECT v FROM words WHERE id = :w;\n",
	'update@2' => "$pick UPDATE r SET v = (SELECT v FROM words WHERE id = :w) WHERE id = :r;\n",
	'delete@3' => "$pick DELETE FROM r WHERE id = :r;\n",
	'rollback@1' => "$pick BEGIN;\nINSERT INTO r (v) SELECT v FROM words WHERE id = :w;\nROLLBACK;\n");
my $writers;

sub write_for
{
	my ($seconds) = @_;
	$writers = begin_pgbench($node, 3, $seconds, %load);
	return;
}

sub writers_succeed
{
	my ($when) = @_;
	ok(await_end($writers), "writers do not notice $when") or diag(${ $writers->{output} });
	return;
}

sub state_of
{
	my ($index) = @_;
	return $node->safe_psql('postgres',
		"SELECT indisready, indisvalid FROM pg_index WHERE indexrelid = to_regclass('$index')");
}

# --- to the end ------------------------------------------------------------------

write_for(10);
$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY r_v ON r USING hnsw (v vector_l2_ops)');
check_index($node, 'r_v', 'built while others write');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY r_v');
check_index($node, 'r_v', 'rebuilt concurrently');
$node->safe_psql('postgres', 'REINDEX INDEX r_v');
check_index($node, 'r_v', 'rebuilt');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) r');
$node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY r');
check_index($node, 'r_v', 'rebuilt with all of its table');

# with little memory a part of the rows is inserted into pages that nobody else sees
$node->safe_psql('postgres', "SET maintenance_work_mem = '1MB'; SET client_min_messages = error;
	REINDEX INDEX CONCURRENTLY r_v");
check_index($node, 'r_v', 'rebuilt with little memory');
$node->safe_psql('postgres', 'VACUUM FULL r');
check_index($node, 'r_v', 'after VACUUM FULL');
writers_succeed('builds');
check_index($node, 'r_v', 'at rest');
recall_at_least($node, 'r_v', 0.95, 'at rest');

# --- failing ----------------------------------------------------------------------

write_for(12);
for my $point (qw(hnsw-build-before-write hnsw-build-after-write))
{
	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=error';
		CREATE INDEX r_plain ON r USING hnsw (v vector_cosine_ops)");
	is(state_of('r_plain'), '', "$point: nothing is left of CREATE INDEX");
	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=error'; REINDEX INDEX r_v");
	is(state_of('r_v'), 't|t', "$point: nothing has happened to REINDEX's index");

	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=error';
		CREATE INDEX CONCURRENTLY r_bad ON r USING hnsw (v vector_cosine_ops)");
	is(state_of('r_bad'), 'f|f', "$point: an invalid index is left");
	psql_fails($node, "SELECT vdb.recall('r_bad')", '55000', 'index "r_bad" is not valid', "$point: recall");
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) r; ANALYZE r');
	$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY r_bad');
	is(state_of('r_bad'), 't|t', "$point: built again");
	check_index($node, 'r_bad', 'built again');

	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=error'; REINDEX INDEX CONCURRENTLY r_bad");
	is(state_of('r_bad') . ' ' . state_of('r_bad_ccnew'), 't|t f|f', "$point: the old index is still there");
	check_index($node, 'r_bad', 'not replaced');
	$node->safe_psql('postgres', 'DROP INDEX CONCURRENTLY r_bad_ccnew');
	$node->safe_psql('postgres', 'DROP INDEX CONCURRENTLY r_bad');
}

# An old snapshot holds up the last phase, in which the index is written to and
# not yet read.  Whoever gives up there leaves an index that is complete and
# stays so: declared valid by force, it is right.
for my $what ([ 'CREATE INDEX CONCURRENTLY', 'r_bad ON r USING hnsw (v vector_cosine_ops)', 'r_bad' ],
	[ 'REINDEX INDEX CONCURRENTLY', 'r_v', 'r_v_ccnew' ])
{
	my ($statement, $rest, $index) = @$what;

	for my $signal ('pg_cancel_backend', 'pg_terminate_backend')
	{
		my ($in, $out) = ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) > 0 FROM r;\n", '');
		my $reader = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);

		$reader->pump until $out =~ /t/;
		my $build = begin_psql($node, "$statement $rest");

		$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_progress_create_index
			WHERE phase = 'waiting for old snapshots'") or die 'the build does not wait';
		$node->safe_psql('postgres', "SELECT $signal(pid) FROM pg_stat_progress_create_index");
		await_end($build);
		$in .= "COMMIT;\n\\q\n";
		$reader->finish;
		is(state_of($index), 't|f', "$signal leaves what $statement made, invalid and written to");
		$node->safe_psql('postgres', 'INSERT INTO r (v) SELECT v FROM words WHERE id <= 20;
			DELETE FROM r WHERE id % 50 = 0');
		$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) r');
		$node->safe_psql('postgres',
			"UPDATE pg_index SET indisvalid = true WHERE indexrelid = '$index'::regclass");
		check_index($node, $index, "left by $signal");
		$node->safe_psql('postgres', "DROP INDEX CONCURRENTLY $index");
	}
}

$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY r_bad ON r USING hnsw (v vector_cosine_ops)');
writers_succeed('builds that fail');
check_index($node, 'r_bad', 'built at last');
check_index($node, 'r_v', 'at rest again');

# --- crashing ----------------------------------------------------------------------

for my $statement ('CREATE INDEX CONCURRENTLY r_new ON r USING hnsw (v vector_ip_ops)',
	'REINDEX INDEX CONCURRENTLY r_bad')
{
	my $index = $statement =~ /CREATE/ ? 'r_new' : 'r_bad_ccnew';

	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = 'hnsw-build-after-write=crash'; $statement");
	await_server($node);
	is(state_of($index), 'f|f', "a crash of $statement leaves an invalid index");
	$node->safe_psql('postgres', 'INSERT INTO r (v) SELECT v FROM words WHERE id <= 20; VACUUM r');
	if ($index eq 'r_new')
	{
		$node->safe_psql('postgres', 'REINDEX INDEX r_new');
		check_index($node, 'r_new', 'built again after a crash');
	}
	else
	{
		$node->safe_psql('postgres', 'DROP INDEX r_bad_ccnew; REINDEX INDEX CONCURRENTLY r_bad');
		check_index($node, 'r_bad', 'built again after a crash');
	}
}

$node->stop;
done_testing();
