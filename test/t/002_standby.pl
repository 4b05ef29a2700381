# Claims that a standby gives the primary's answers, also while it replays what
# the primary changes, and takes its place.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $primary = new_server('primary',
	"wal_consistency_checking = 'generic'",
	'max_standby_streaming_delay = -1');

load_words($primary, 4000);
$primary->safe_psql(
	'postgres', q(
	CREATE TABLE t (id serial, v vector(100));
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 2000;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_cosine_ops) WITH (m = 8)));
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# The ten nearest to each of some words, through the index.
my $answers = q(
	SET enable_seqscan = off;
	SELECT w.id, array_agg(n.id ORDER BY n.nr)
	FROM words w CROSS JOIN LATERAL (
		SELECT t.id, row_number() OVER () AS nr
		FROM (SELECT id FROM t ORDER BY t.v <=> w.v LIMIT 10) t) n
	WHERE w.id % 80 = 0 GROUP BY w.id ORDER BY w.id);

sub same_answers
{
	my ($when) = @_;

	catch_up($primary, $standby);
	is($standby->safe_psql('postgres', $answers),
		$primary->safe_psql('postgres', $answers),
		"standby and primary answer alike $when");
	check_index($standby, 't_v_idx', "on the standby $when");
}

same_answers('after a build');
is($standby->safe_psql('postgres', "SET enable_seqscan = off;
	EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> (SELECT v FROM words WHERE id = 1) LIMIT 1") =~
	/Index Scan using t_v_idx/, 1, 'the standby uses the index');

$primary->safe_psql('postgres', 'INSERT INTO t (v) SELECT v FROM words WHERE id > 2000');
same_answers('after inserts');

$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 = 0');
same_answers('after deletes');

$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
same_answers('after vacuum');

my $size = index_size($primary, 't_v_idx');
$primary->safe_psql('postgres', 'INSERT INTO t (v) SELECT v FROM words WHERE id % 3 = 0');
same_answers('after slots were used again');
cmp_ok(index_size($primary, 't_v_idx'), '<=', $size * 1.05, 'slots were used again');

# What the primary measures, the standby has; it measures nothing itself.
my $curve = "SELECT array_agg(c) FROM vdb.calibration('t_v_idx') c";
$primary->safe_psql('postgres', "SELECT vdb.calibrate('t_v_idx')");
catch_up($primary, $standby);
is($standby->safe_psql('postgres', $curve), $primary->safe_psql('postgres', $curve), 'a calibration is replayed');
psql_fails($standby, "SELECT vdb.calibrate('t_v_idx')", '55000', 'recovery is in progress', 'calibrating on a standby');
$standby->safe_psql('postgres', "SELECT vdb.prewarm('t_v_idx')");

# The primary changes as fast as it can; the standby answers all the while.
my $writers = begin_pgbench($primary, 3, 8,
	'insert@5' => "\\set w random(1, 4000)\nINSERT INTO t (v) SELECT v FROM words WHERE id = :w;\n",
	'delete@5' => "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1);\n",
	'vacuum@1' => "VACUUM (INDEX_CLEANUP ON) t;\n");
my $readers = begin_pgbench($standby, 2, 8,
	'read' => "\\set w random(1, 4000)\n"
	  . "SET enable_seqscan = off;\n"
	  . "SELECT 1 / (count(*) = 10)::int AS complete, 1 / bool_and(d >= before)::int AS ordered\n"
	  . "FROM (SELECT d, lag(d, 1, d) OVER () AS before FROM\n"
	  . "	(SELECT v <=> (SELECT v FROM words WHERE id = :w) AS d FROM t\n"
	  . "	 ORDER BY v <=> (SELECT v FROM words WHERE id = :w) LIMIT 10) n) o;\n");

ok(await_end($readers), 'reads on the standby succeed while it replays')
  or diag(${ $readers->{output} });
ok(await_end($writers), 'writes on the primary succeed')
  or diag(${ $writers->{output} });
unlike(${ $readers->{output} }, qr/ERROR/, 'each answer on the standby is complete and in order');
same_answers('after heavy traffic');

$primary->stop('immediate');
$standby->promote;
check_index($standby, 't_v_idx', 'after promotion');
$standby->safe_psql(
	'postgres', q(
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 500;
	DELETE FROM t WHERE id % 7 = 0;
	VACUUM (INDEX_CLEANUP ON) t;
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 500));
check_index($standby, 't_v_idx', 'after writes on the new primary');
recall_at_least($standby, 't_v_idx', 0.93, 'on the new primary');

$standby->stop;
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|inconsistent page/,
	'replay gave the pages that were logged');
done_testing();
