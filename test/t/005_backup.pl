# Claims that indexes are right on whatever is made of a server's files and its
# WAL: a backup taken while others write, a restore to a point in time, a
# standby fed from an archive, a new primary, an old one that is rewound.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use VdbTest;

my $primary = new_server('primary', "wal_consistency_checking = 'all'", 'wal_log_hints = on',
	'wal_keep_size = 1GB', 'max_standby_streaming_delay = -1');

$primary->enable_archiving;
$primary->restart;
load_words($primary, 2000);
make_kinds($primary);
$primary->safe_psql(
	'postgres', q(
	CALL life.fill(1, 100);
	CREATE TABLE t (id serial, v vector(100));
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 500;
	CREATE INDEX t_v ON t USING hnsw (v vector_cosine_ops) WITH (m = 4)));

# Traffic, not speed: every page is logged whole, and an old primary must find in
# wal_keep_size all that was written since it was left behind.
my $pick = "\\sleep 10 ms\n\\set w random(1, 2000)\n";
my %load = (
	'insert@5' => $pick . "INSERT INTO t (v) SELECT v FROM words WHERE id = :w;\n",
	'update@1' => $pick . "UPDATE t SET v = (SELECT v FROM words WHERE id = :w) WHERE id = :w;\n",
	'delete@3' => $pick . "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1);\n",
	'vacuum@1' => $pick . "VACUUM (INDEX_CLEANUP ON) t;\n");

sub vacuum_kinds
{
	my ($node) = @_;
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $_")
	  for split /\n/, $node->safe_psql('postgres', "SELECT 'life.' || name FROM life.kinds");
	return;
}

# What holds of every server that came from the primary.
sub still_sound
{
	my ($node, $rows, $when) = @_;

	kinds_are_right($node, $rows, $when);
	check_index($node, 't_v', $when);
	return;
}

sub new_rows_fit
{
	my ($node, $rows, $when) = @_;

	$node->safe_psql('postgres', 'CALL life.fill(901, 920); INSERT INTO t (v) SELECT v FROM words WHERE id <= 50');
	still_sound($node, $rows + 20, "$when, and written to");
	recall_at_least($node, 't_v', 0.85, $when, queries => 30);
	return;
}

# --- a backup while others write -----------------------------------------------------

my $writers = begin_pgbench($primary, 3, 6, %load);
sleep 1;
$primary->backup('moving');
ok(await_end($writers), 'sessions write while a backup is taken') or diag(${ $writers->{output} });

my $backup = PostgreSQL::Test::Cluster->new('backup');
$backup->init_from_backup($primary, 'moving');
$backup->append_conf('postgresql.conf', 'archive_mode = off');
$backup->start;
still_sound($backup, 100, 'in a backup taken while others write');
new_rows_fit($backup, 100, 'in a backup taken while others write');
$backup->stop;

# --- a point between two batches -------------------------------------------------------

$primary->safe_psql(
	'postgres', q(
	CALL life.fill(101, 150);
	CALL life.each('DELETE FROM life.%I WHERE id <= 20')));
my $rows_between = $primary->safe_psql('postgres',
	"SELECT count(*) FROM t; SELECT pg_create_restore_point('between')") =~ s/\n.*//sr;
$primary->safe_psql(
	'postgres', q(
	CALL life.fill(151, 200);
	DELETE FROM t WHERE id % 2 = 0;
	CREATE INDEX later ON t USING hnsw (v vector_l1_ops)));
vacuum_kinds($primary);
$primary->safe_psql(
	'postgres', q(
	VACUUM (INDEX_CLEANUP ON) t;));
$primary->safe_psql(
	'postgres', q(
	INSERT INTO t (v) SELECT v FROM words WHERE id % 3 = 0;
	REINDEX INDEX life.vector_ip_v;
	DROP INDEX later;
	SELECT pg_switch_wal()));

my $past = PostgreSQL::Test::Cluster->new('past');
$past->init_from_backup($primary, 'moving', has_restoring => 1, standby => 0);
$past->append_conf('postgresql.conf',
	"archive_mode = off\nrecovery_target_name = 'between'\nrecovery_target_action = promote");
$past->start;
$past->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'the past does not end';
still_sound($past, 130, 'restored to a point between two batches');
is($past->safe_psql('postgres', "SELECT count(*) FROM t; SELECT to_regclass('later') IS NULL"),
	"$rows_between\nt", 'it is that point');
new_rows_fit($past, 130, 'on another timeline');
$past->stop;
still_sound($primary, 180, 'on the primary, which went on');

# --- standbys: from the archive, and from the stream --------------------------------------

my $archived = PostgreSQL::Test::Cluster->new('archived');
$archived->init_from_backup($primary, 'moving', has_restoring => 1, standby => 1);
$archived->start;

my $next = PostgreSQL::Test::Cluster->new('next');
$next->init_from_backup($primary, 'moving', has_streaming => 1);
$next->start;

$writers = begin_pgbench($primary, 3, 4, %load);
$primary->safe_psql('postgres', 'CALL life.fill(201, 220)');
$primary->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY t_v');
ok(await_end($writers), 'sessions write while standbys follow') or diag(${ $writers->{output} });
my $lsn = $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('end'); SELECT pg_switch_wal()");
$archived->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'")
  or die 'the archive does not arrive';
still_sound($archived, 200, 'on a standby fed from the archive');
$archived->promote;
new_rows_fit($archived, 200, 'on a standby fed from the archive, promoted');
$archived->stop;

# --- a new primary, while the old one still writes ------------------------------------------

catch_up($primary, $next);
$writers = begin_pgbench($primary, 3, 5, %load);
sleep 2;
$next->promote;
still_sound($next, 200, 'promoted in the middle of traffic');
my $more = begin_pgbench($next, 2, 3, %load);

# the old one goes its own way, over the same rows and slots
$primary->safe_psql('postgres', "CALL life.each('DELETE FROM life.%I WHERE id > 150')");
vacuum_kinds($primary);
$primary->safe_psql('postgres', 'CALL life.fill(301, 390)');
$primary->safe_psql('postgres', 'REINDEX INDEX life.vector_cosine_v');
ok(await_end($writers), 'the old primary goes on writing') or diag(${ $writers->{output} });
ok(await_end($more), 'the new one is written to') or diag(${ $more->{output} });
still_sound($primary, 220, 'on the old primary');
$next->safe_psql('postgres', "CALL life.each('DELETE FROM life.%I WHERE id <= 50')");
vacuum_kinds($next);
$next->safe_psql('postgres', 'CALL life.fill(401, 440)');
still_sound($next, 210, 'on the new primary');

# --- the old one comes back -------------------------------------------------------------------

$primary->stop;
$next->safe_psql('postgres', 'CHECKPOINT');
command_checks_all(
	[ 'pg_rewind', '--target-pgdata', $primary->data_dir, '--source-server', $next->connstr('postgres'),
		'--config-file', $primary->data_dir . '/postgresql.conf', '--no-sync' ],
	0, [], [ qr/servers diverged/, qr/Done!/ ], 'pg_rewind of the old primary');

# it brought the settings of the other along
$primary->append_conf('postgresql.conf', "\nport = " . $primary->port . "\n");
$primary->append_conf('postgresql.conf', "unix_socket_directories = '" . $primary->host . "'\n");
$primary->append_conf('postgresql.conf', "archive_mode = off\n");
$primary->enable_streaming($next);
$primary->set_standby_mode;
$primary->start;
$next->safe_psql('postgres', 'CALL life.fill(441, 450); INSERT INTO t (v) SELECT v FROM words WHERE id <= 100');
catch_up($next, $primary);
still_sound($primary, 220, 'on the old primary, rewound');
is($primary->safe_psql('postgres', 'SELECT count(*), sum(id) FROM t'),
	$next->safe_psql('postgres', 'SELECT count(*), sum(id) FROM t'), 'and its rows are those of the new one');
$next->stop;
$primary->promote;
new_rows_fit($primary, 220, 'on the old primary, promoted once more');
$primary->stop;

unlike(slurp_file($_->logfile), qr/PANIC|TRAP|inconsistent page|terminated by signal/,
	'replay gave ' . $_->name . ' the pages that were logged')
  for ($primary, $backup, $past, $archived, $next);
done_testing();
