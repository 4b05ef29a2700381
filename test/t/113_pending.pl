# Claims that a row which waits to be linked is neither lost nor returned twice: when
# the server crashes in the middle of linking it, when others write, merge, vacuum and
# build meanwhile, and on a standby.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my $node = new_server('pending',
	'restart_after_crash = on',
	'max_standby_streaming_delay = -1',
	"wal_consistency_checking = 'generic'");

load_words($node, 4000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (id serial, word int, v vector(100));
	INSERT INTO t (word, v) SELECT id, v FROM words WHERE id <= 1000;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_cosine_ops) WITH (m = 4, fastupdate = on);
	CREATE TABLE e (id serial, word int, v vector(100));
	CREATE INDEX e_v_idx ON e USING hnsw (v vector_cosine_ops) WITH (m = 4, fastupdate = on)));

my $merge = sub { "SELECT vdb.merge_pending('$_[0]_v_idx')" };
my $vacuum = 'VACUUM (INDEX_CLEANUP ON) t';
my $next = 1001;

sub counts
{
	my ($table) = @_;
	return $node->safe_psql('postgres', "SELECT pending, unreachable FROM vdb.check_index('${table}_v_idx', true)");
}

# How many of the last rows of a table are not the nearest to themselves.
sub missing
{
	my ($server, $table, $rows) = @_;
	return $server->safe_psql(
		'postgres', qq(
		SET enable_seqscan = off; SET hnsw.ef_search = 100;
		SELECT count(*) FROM (SELECT id, v FROM $table ORDER BY id DESC LIMIT $rows) a
		WHERE NOT EXISTS (SELECT FROM (SELECT v FROM $table b ORDER BY b.v <=> a.v LIMIT 1) n WHERE n.v = a.v)));
}

# How many rows a scan to the end does not return.
sub lost
{
	my ($server, $table) = @_;
	return $server->safe_psql(
		'postgres', qq(
		SET enable_seqscan = off; SET enable_sort = off; SET vdb.enable_exact_scan = off;
		SET hnsw.iterative_scan = relaxed_order; SET hnsw.max_scan_tuples = 1000000;
		SELECT count(*) FROM (SELECT id FROM $table EXCEPT SELECT id FROM
			(SELECT id FROM $table ORDER BY v <=> (SELECT v FROM words WHERE id = 1)) s) l));
}

# So many rows, each its own statement, that wait.
sub add_rows
{
	my ($table, $rows) = @_;
	my $last = $next + $rows - 1;

	$node->safe_psql('postgres', "INSERT INTO $table (word, v) SELECT id, v FROM words WHERE id BETWEEN $next AND $last");
	$next += $rows;
	return;
}

# --- a backend dies, or fails, at each step ---------------------------------------------

my @points = qw(hnsw-link-before-parent hnsw-link-after-parent hnsw-link-before-edges
  hnsw-insert-after-edges hnsw-insert-before-entry hnsw-merge-before-narrow hnsw-merge-after-narrow);

# e is empty: the first row is linked to nobody, and becomes the entry point
for (['crash', 't'], ['crash', 'e'], ['error', 't'])
{
	my ($how, $table) = @$_;

	for my $point (@points)
	{
		add_rows($table, 8);
		my ($status) = $node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=$how'; " . $merge->($table));

		isnt($status, 0, "$how of a merge at $point");
		await_server($node) if $how eq 'crash';
		check_index($node, "${table}_v_idx", "after that");
		is(missing($node, $table, 8), 0, 'no row is missing');

		# others come to what is half linked
		$node->safe_psql('postgres', "ALTER INDEX ${table}_v_idx SET (fastupdate = off)");
		add_rows($table, 8);
		$node->safe_psql('postgres', "ALTER INDEX ${table}_v_idx SET (fastupdate = on)");
		$node->safe_psql('postgres', $merge->($table));
		is(counts($table), '0|0', 'the next merge links all');
		is(missing($node, $table, 16), 0, 'no row is missing afterwards');
		$node->safe_psql('postgres', 'TRUNCATE e') if $table eq 'e' && $point =~ /before/;
	}
}
{
	my ($status) = $node->psql('postgres',
		"LOAD 'vdb'; SET vdb.stop_at = 'hnsw-insert-after-pending=crash'; INSERT INTO t (v) SELECT v FROM words WHERE id = 4000");
	isnt($status, 0, 'crash of an insert at hnsw-insert-after-pending');
	await_server($node);
	check_index($node, 't_v_idx', 'after that');
	$node->safe_psql('postgres', $vacuum);
	is(counts('t'), '0|0', 'VACUUM takes away the row that was not committed');
}

# --- what it costs --------------------------------------------------------------------------

sub bytes_of
{
	my ($table, $first) = @_;
	my $rows = join '', map { "INSERT INTO $table (word, v) SELECT id, v FROM words WHERE id = $_;\n" } $first .. $first + 99;
	my $now = 'SELECT pg_current_wal_insert_lsn()';

	$node->safe_psql('postgres', 'CHECKPOINT; INSERT INTO t (word, v) SELECT id, v FROM words WHERE id <= 50');
	my ($from, $to) = split /\n/, $node->safe_psql('postgres', "$now;\n$rows$now");
	return $node->safe_psql('postgres', "SELECT ('$to'::pg_lsn - '$from') / 100");
}
$node->safe_psql('postgres', 'ALTER SYSTEM SET full_page_writes = off; ALTER SYSTEM RESET wal_consistency_checking');
$node->safe_psql('postgres', "ALTER SYSTEM SET wal_consistency_checking = ''");
$node->reload;
$node->safe_psql('postgres', 'CREATE TABLE plain (LIKE t INCLUDING DEFAULTS)');
cmp_ok(bytes_of('t', 3000) - bytes_of('plain', 3000), '<', 600, 'a row of 100 dimensions costs the log about a slot');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET full_page_writes');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET wal_consistency_checking');
$node->reload;

# --- a standby ----------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

my $answers = q(SET enable_seqscan = off;
	SELECT w.id, (SELECT array_agg(word) FROM (SELECT word FROM t ORDER BY t.v <=> w.v LIMIT 5) s)
	FROM words w WHERE id % 40 = 0 ORDER BY 1);

for my $step ('waiting', 'linked')
{
	add_rows('t', 200) if $step eq 'waiting';
	$node->safe_psql('postgres', $merge->('t')) if $step eq 'linked';
	catch_up($node, $standby);
	is($standby->safe_psql('postgres', $answers), $node->safe_psql('postgres', $answers), "a standby has rows that are $step");
	is(missing($standby, 't', 200), 0, 'all of them');
	check_index($standby, 't_v_idx', "on a standby with rows that are $step");
}
psql_fails($standby, $merge->('t'), '55000', 'recovery is in progress', 'merging on a standby');

# --- all at once: rows come, go and are linked, identifiers are used again, indexes are built -----

my $pick = "\\set w random(1, 4000)\n";
my %load = (
	'insert@8' => "$pick INSERT INTO t (word, v) SELECT id, v FROM words WHERE id = :w;\n",
	'delete@6' => "$pick DELETE FROM t WHERE id IN (SELECT id FROM t WHERE word = :w LIMIT 1);\n",
	'rollback@1' => "$pick BEGIN;\nINSERT INTO t (word, v) SELECT id, v FROM words WHERE id = :w;\nROLLBACK;\n",
	'merge@1' => $merge->('t') . ";\n",
	'vacuum@1' => "$vacuum;\n",
	# what a transaction has inserted it finds, and each row once; as linked rows are found with a chance, of many
	'found@4' => "$pick SET enable_seqscan = off;\nSET hnsw.ef_search = 400;\nBEGIN;\nINSERT INTO t (word, v) SELECT id, v FROM words WHERE id = :w;\n"
	  . "SELECT 1 / (max(word) FILTER (WHERE nr = 1) IS NOT NULL AND count(DISTINCT id) = count(*) AND bool_or(word = :w))::int AS found\n"
	  . "FROM (SELECT id, word, row_number() OVER () AS nr FROM (SELECT id, word FROM t\n"
	  . "	ORDER BY v <=> (SELECT v FROM words WHERE id = :w) LIMIT 20) l) s;\nCOMMIT;\n");
my $writers = begin_pgbench($node, 5, 8, %load);

for my $statement ('CREATE INDEX CONCURRENTLY t_l2_idx ON t USING hnsw (v vector_l2_ops) WITH (fastupdate)',
	'REINDEX INDEX CONCURRENTLY t_l2_idx', 'REINDEX INDEX CONCURRENTLY t_v_idx')
{
	$node->safe_psql('postgres', $statement);
	check_index($node, $_, "after $statement") for $statement =~ /(t_\w+_idx)/g;
}
ok(await_end($writers), 'each row was found by who had inserted it, once') or diag(${ $writers->{output} });
unlike(${ $writers->{output} }, qr/ERROR/, 'nobody saw an error');
for my $index ('t_v_idx', 't_l2_idx')
{
	check_index($node, $index, 'after the load');
	$node->safe_psql('postgres', "SELECT vdb.merge_pending('$index')");
	is($node->safe_psql('postgres', "SELECT pending FROM vdb.check_index('$index', true)"), 0, "all of $index is linked");
	recall_at_least($node, $index, 0.85, 'after the load');
}
catch_up($node, $standby);
is($standby->safe_psql('postgres', $answers), $node->safe_psql('postgres', $answers), 'the standby answers alike');
check_index($standby, 't_v_idx', 'on the standby after the load');
$standby->stop;

for my $round (1 .. 3)
{
	my $bench = begin_pgbench($node, 5, 60, %load);

	usleep(700_000 + int rand 600_000);
	kill_and_start($node);
	await_end($bench);
	check_index($node, $_, "after crash $round under load") for 't_v_idx', 't_l2_idx';
	is(lost($node, 't'), 0, 'no row is missing');
	cmp_ok(missing($node, 't', 100), '<=', 2, 'and hardly one is not the nearest to itself, with so few edges');
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|inconsistent page/, 'replay gave the pages that were logged');
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|inconsistent page/, 'and on the standby');
done_testing();
