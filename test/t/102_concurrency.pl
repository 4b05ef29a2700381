# Claims that sessions which read, insert, update, delete, vacuum and calibrate at
# once leave a sound index, that it is sound at any moment, and that every answer
# meanwhile is complete and in order.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('traffic', 'fsync = off');
my $random_word = 'SELECT v FROM words WHERE id = :w';
my %traffic = (
	'read@8' => "\\set w random(1, 6000)\n"
	  . "\\set target random(0, 9)\n"
	  . "SET enable_seqscan = off;\n"
	  . "SET hnsw.target_recall = 0.:target;\n"
	  . "SELECT 1 / (count(*) = 20)::int AS complete, 1 / bool_and(d >= before)::int AS ordered\n"
	  . "FROM (SELECT d, lag(d, 1, d) OVER () AS before FROM\n"
	  . "	(SELECT v <-> ($random_word) AS d FROM t ORDER BY v <-> ($random_word) LIMIT 20) n) o;\n",
	'insert@6' => "\\set w random(1, 6000)\nINSERT INTO t (v) $random_word;\n",
	'rollback@1' => "\\set w random(1, 6000)\nBEGIN;\nINSERT INTO t (v) $random_word;\nROLLBACK;\n",
	'update@2' => "\\set w random(1, 6000)\n"
	  . "UPDATE t SET v = ($random_word) WHERE id = (SELECT id FROM t OFFSET :w % 500 LIMIT 1);\n",
	'delete@4' => "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1);\n",
	'copy@2' => "\\set w random(1, 5)\nINSERT INTO t (v) SELECT v FROM words, generate_series(1, 40) WHERE id = :w;\n",
	'uncopy@1' => "\\set w random(1, 5)\nDELETE FROM t WHERE v = ($random_word);\n",
	'check@1' => "SELECT FROM vdb.check_index('t_v_idx', true);\n",
	'vacuum@1' => "VACUUM (INDEX_CLEANUP ON) t;\n",
	'calibrate@1' => "SELECT count(*) FROM vdb.calibrate('t_v_idx');\n");

load_words($node, 6000);

for my $m (4, 16)
{
	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE t (id serial PRIMARY KEY, v vector(100));
		INSERT INTO t (v) SELECT v FROM words WHERE id <= 1000;
		CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops) WITH (m = $m)));
	my $bench = begin_pgbench($node, 6, 8, %traffic);

	ok(await_end($bench), "m = $m: all sessions succeed");
	unlike(${ $bench->{output} }, qr/ERROR/, "m = $m: each answer is complete and in order")
	  or diag(${ $bench->{output} });
	check_index($node, 't_v_idx', 'after traffic');
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
	check_index($node, 't_v_idx', 'after a last vacuum');
	my $recall = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('t_v_idx')");
	$node->safe_psql('postgres', 'REINDEX INDEX t_v_idx');
	my $new = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('t_v_idx')");
	cmp_ok($recall, '>=', $new - 0.05, "m = $m: recall after traffic, against a new index's $new");
	$node->safe_psql('postgres', 'DROP TABLE t');
}

# Everybody inserts into an empty index at once: all rows must find each other.
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (v vector(100));
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops)));
my @inserters = map {
	begin_psql($node, "INSERT INTO t SELECT v FROM words WHERE id % 6 = $_ AND id <= 1200")
} 0 .. 5;

ok(await_end($_), 'an inserter succeeds') for @inserters;
check_index($node, 't_v_idx', 'filled by six sessions at once');
recall_at_least($node, 't_v_idx', 0.97, 'filled by six sessions at once');

# Emptied and filled again, the index forgets who was there.
$node->safe_psql('postgres', 'DELETE FROM t');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
check_index($node, 't_v_idx', 'emptied');
$node->safe_psql('postgres', 'INSERT INTO t SELECT v FROM words WHERE id <= 600');
check_index($node, 't_v_idx', 'filled again');
recall_at_least($node, 't_v_idx', 0.97, 'filled again');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no process died');
done_testing();
