# Claims of the inverted files what 001_crash and 002_standby claim of graphs: whatever
# the server was doing when it crashed, every committed row is in the index, and a
# standby gives the primary's answers, also while it replays what the primary changes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my $primary = new_server('primary',
	'restart_after_crash = on',
	"wal_consistency_checking = 'generic'",
	'max_standby_streaming_delay = -1');
my @indexes = qw(t_flat t_pq t_spill t_opq);

load_words($primary, 4000);
$primary->safe_psql(
	'postgres', q(
	CREATE TABLE t (id serial, v vector(100));
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 1500;
	CREATE INDEX t_flat ON t USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	CREATE INDEX t_pq ON t USING ivfpq (v vector_cosine_ops, id) WITH (lists = 20);
	CREATE INDEX t_opq ON t USING ivfpq (v vector_ip_ops) WITH (lists = 20, quantizer = opq, anisotropic = 0.2);
	CREATE INDEX t_spill ON t USING ivfpq (v vector_l2_ops) WITH (lists = 20, spill = 1);
	CHECKPOINT));

my $insert = 'INSERT INTO t (v) SELECT v FROM words WHERE id = (SELECT 1 + floor(random() * 4000)::int)';
my $delete = 'DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1)';
my $vacuum = 'VACUUM (INDEX_CLEANUP ON) t';

sub still_sound
{
	my ($node, $when) = @_;
	check_index($node, $_, "$_ $when") for @indexes;
}

# A backend dies at a stop point and takes the others along.
sub crash_at
{
	my ($point, $sql) = @_;
	my ($status) = $primary->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=crash'; $sql");

	isnt($status, 0, "the server crashes at $point");
	await_server($primary);
	still_sound($primary, "after a crash at $point");
	$primary->safe_psql('postgres', "$insert; $insert; $delete");
}

my $many = 'INSERT INTO t (v) SELECT v FROM words WHERE id BETWEEN 1500 AND 2999';

crash_at('ivf-insert-chosen', $insert);
crash_at('ivf-insert-second', $insert);
crash_at('ivf-extend-after-pages', $many);
crash_at('ivf-vacuum-before-free', "DELETE FROM t WHERE id % 10 = 1; $vacuum");
crash_at('ivf-build-after-write', 'CREATE INDEX t_other ON t USING ivfpq (v)');
is($primary->safe_psql('postgres', q(SELECT to_regclass('t_other') IS NULL)), 't', 'no index after that crash');

# Lists are made anew: by VACUUM, of a table that has grown to many times what it was.
sub grow
{
	my ($spill) = @_;

	$primary->safe_psql(
		'postgres', qq(
		CREATE TABLE g (v vector(100));
		CREATE INDEX g_v ON g USING ivfpq (v) WITH (spill = $spill);
		INSERT INTO g SELECT v FROM words WHERE id <= 2000));
	return;
}

for my $crash (map { [ $_, 0 ], [ $_, 1 ] } qw(ivf-lists-written ivf-lists-before-swap ivf-lists-swapped))
{
	my ($point, $spill) = @$crash;

	grow($spill);
	crash_at($point, 'VACUUM g');
	is($primary->safe_psql('postgres', q(SELECT live FROM vdb.check_index('g_v', true))), 2000,
		"all rows are there once after a crash at $point, spill = $spill");
	$primary->safe_psql('postgres', 'INSERT INTO g SELECT v FROM words WHERE id > 2000; VACUUM g');
	is($primary->safe_psql('postgres', q(SELECT live, upper_records > 20 FROM vdb.check_index('g_v', true))),
		'4000|t', "VACUUM makes lists after a crash at $point");
	$primary->safe_psql('postgres', 'DROP TABLE g');
}

# The first list of all, after a crash has emptied an unlogged index.
$primary->safe_psql(
	'postgres', q(
	CREATE UNLOGGED TABLE u (v vector(100));
	INSERT INTO u SELECT v FROM words WHERE id <= 100;
	CREATE INDEX u_v ON u USING ivfpq (v)));
$primary->stop('immediate');
$primary->start;
$primary->safe_psql('postgres', 'INSERT INTO u SELECT v FROM words WHERE id <= 200');
is($primary->safe_psql('postgres', q(SELECT live FROM vdb.check_index('u_v', true))), 200,
	'an index that a crash emptied takes rows');

# Anywhere: four sessions insert and delete, a fifth vacuums.
my %load = ('insert@6' => "$insert;\n", 'delete@4' => "$delete;\n", 'vacuum@1' => "$vacuum;\n");

for my $round (1 .. 4)
{
	my $before = $primary->safe_psql('postgres', 'SELECT max(id) FROM t');
	my $bench = begin_pgbench($primary, 5, 60, %load);

	$primary->poll_query_until('postgres', "SELECT max(id) > $before FROM t") or die 'nothing was inserted';
	usleep(200_000 + int rand 600_000);
	if ($round % 2)
	{
		kill_and_start($primary);
	}
	else
	{
		$primary->stop('immediate');
		$primary->start;
	}
	await_end($bench);
	still_sound($primary, "after crash $round");
}

# A standby, while the primary changes as fast as it can.
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

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
	is($standby->safe_psql('postgres', $answers), $primary->safe_psql('postgres', $answers),
		"standby and primary answer alike $when");
	still_sound($standby, "on the standby $when");
}

# Its lists are made anew all the time.
my $grow = "INSERT INTO t (v) SELECT v FROM words WHERE id > 2000; VACUUM t;\n";
my $shrink = "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id DESC OFFSET 1000); VACUUM t;\n";

same_answers('after a backup');
my $writers = begin_pgbench($primary, 3, 5, 'insert@5' => "$insert;\n", 'delete@5' => "$delete;\n",
	'vacuum@1' => "$vacuum;\n", 'grow@1' => $grow, 'shrink@1' => $shrink);
my $readers = begin_pgbench($standby, 2, 5,
	'read' => "\\set w random(1, 4000)\n"
	  . "SET enable_seqscan = off;\n"
	  . "SELECT 1 / (count(*) = 10)::int AS complete, 1 / bool_and(d >= before)::int AS ordered\n"
	  . "FROM (SELECT d, lag(d, 1, d) OVER () AS before FROM\n"
	  . "	(SELECT v <=> (SELECT v FROM words WHERE id = :w) AS d FROM t\n"
	  . "	 ORDER BY v <=> (SELECT v FROM words WHERE id = :w) LIMIT 10) n) o;\n");

ok(await_end($readers), 'reads on the standby succeed while it replays') or diag(${ $readers->{output} });
ok(await_end($writers), 'writes on the primary succeed') or diag(${ $writers->{output} });
unlike(${ $readers->{output} }, qr/ERROR/, 'each answer on the standby is complete and in order');
same_answers('after heavy traffic');

$primary->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', "DELETE FROM t WHERE id % 7 = 0; $vacuum; $many");
still_sound($standby, 'on the new primary');
$standby->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|inconsistent page/, 'replay gave the pages that were logged')
  for $primary, $standby;
done_testing();
