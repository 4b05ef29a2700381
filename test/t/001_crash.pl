# Claims that whatever the server was doing when it crashed, every committed
# row is in the index afterwards and the index is as good as before.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my $node = new_server('crash',
	'restart_after_crash = on',
	"wal_consistency_checking = 'generic'");

load_words($node, 4000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (id serial, v vector(100));
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 1000;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_cosine_ops) WITH (m = 4);
	CHECKPOINT));

my $insert = 'INSERT INTO t (v) SELECT v FROM words WHERE id = (SELECT 1 + floor(random() * 4000)::int)';
my $delete = 'DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1)';
my $vacuum = 'VACUUM (INDEX_CLEANUP ON) t';

# What holds after each crash, and that the index can be used and changed.
sub still_sound
{
	my ($when) = @_;

	check_index($node, 't_v_idx', $when);
	recall_at_least($node, 't_v_idx', 0.9, $when, queries => 50);
	$node->safe_psql('postgres', "$insert; $insert; $delete");
}

# A backend dies at a stop point and takes the others along.
sub crash_at
{
	my ($point, $sql) = @_;
	my ($status) = $node->psql('postgres',
		"LOAD 'vdb'; SET vdb.stop_at = '$point=crash'; $sql");

	isnt($status, 0, "the server crashes at $point");
	await_server($node);
	still_sound("after a crash at $point");
}

# no row has this value, so it becomes a node
my $different = 'INSERT INTO t (v) SELECT array_agg(random())::vector FROM generate_series(1, 100)';
my $many = 'INSERT INTO t (v) SELECT v FROM words WHERE id BETWEEN 1000 AND 1999';
my $few = 'DELETE FROM t WHERE id % 10 = ';
my $copies = 'INSERT INTO t (v) SELECT v FROM words, generate_series(1, 100) WHERE id = 3999';
my $uncopy = 'DELETE FROM t WHERE v = (SELECT v FROM words WHERE id = 3999)';

crash_at('hnsw-insert-after-search', $different);
crash_at('hnsw-insert-after-node', $different);
crash_at('hnsw-insert-after-edges', $different);
crash_at('hnsw-insert-before-entry', $different);
crash_at('hnsw-insert-before-attach', $copies);
crash_at('hnsw-extend-after-pages', $many);
crash_at('hnsw-vacuum-before-release', "$copies; $uncopy; $vacuum");
crash_at('hnsw-vacuum-after-bulkdelete', "${few}1; $vacuum");
crash_at('hnsw-vacuum-after-collect', "${few}2; $vacuum");
crash_at('hnsw-vacuum-after-repair', "${few}3; $vacuum");
crash_at('hnsw-vacuum-before-free', "${few}4; $vacuum");
crash_at('hnsw-vacuum-after-free', "${few}5; $vacuum");

# A build that does not end leaves nothing behind that anybody sees.
for my $point (qw(hnsw-build-before-write hnsw-build-after-write))
{
	crash_at($point, 'CREATE INDEX t_l2 ON t USING hnsw (v vector_l2_ops)');
	is($node->safe_psql('postgres', "SELECT to_regclass('t_l2') IS NULL"),
		't', "no index after a crash at $point");
}

# Anywhere: four sessions insert and delete, a fifth vacuums, a sixth builds.
my %load = ('insert@6' => "$insert;\n", 'delete@4' => "$delete;\n", 'vacuum@1' => "$vacuum;\n",
	'copies@1' => "$copies;\n", 'uncopy@1' => "$uncopy;\n");

for my $round (1 .. 12)
{
	my $before = $node->safe_psql('postgres', 'SELECT max(id) FROM t');
	my $bench = begin_pgbench($node, 5, 60, %load);
	# a build makes insertions wait
	$node->poll_query_until('postgres', "SELECT max(id) > $before FROM t")
	  or die "nothing was inserted";
	my $build = begin_psql($node, 'CREATE INDEX t_l2 ON t USING hnsw (v vector_l2_ops)');

	usleep(200_000 + int rand 600_000);
	if ($round % 2)
	{
		kill_and_start($node);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	await_end($bench);
	await_end($build);
	cmp_ok($node->safe_psql('postgres', 'SELECT max(id) FROM t'),
		'>', $before, "round $round had something to lose");
	still_sound("after crash $round");
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS t_l2');
	$node->safe_psql('postgres', 'CHECKPOINT') if $round % 3 == 0;
}

$node->safe_psql('postgres', $vacuum);
check_index($node, 't_v_idx', 'after a last vacuum');
recall_at_least($node, 't_v_idx', 0.9, 'after a last vacuum');
$node->safe_psql('postgres', 'REINDEX INDEX t_v_idx');
check_index($node, 't_v_idx', 'after REINDEX');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|inconsistent page/,
	'replay found the pages that were logged');
done_testing();
