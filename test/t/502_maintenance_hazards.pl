# Claims that background workers do no harm: users who wait for them have their way, nothing
# half-built stays, and they survive whatever befalls them, their databases and the server.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VdbTest;

my $node = new_server(
	'hazards', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'restart_after_crash = on',
	'vdb.maintenance_naptime = 1', 'vdb.ingest = off', 'vdb.maintenance_cost_delay = 0', 'max_worker_processes = 16');

sub sql { return $node->safe_psql('postgres', shift) }

sub comes_true
{
	my ($claim, $sql, $database) = @_;
	return ok($node->poll_query_until($database || 'postgres', $sql), $claim);
}

sub await_rounds
{
	my ($rounds) = @_;
	my $now = sql(q(SELECT sum(rounds) FROM vdb_stat_worker WHERE kind = 'worker'));

	return $node->poll_query_until('postgres',
		"SELECT sum(rounds) >= $now + $rounds FROM vdb_stat_worker WHERE kind = 'worker'");
}

# Claims that a statement succeeds, and how long it takes at most.
sub takes_at_most
{
	my ($seconds, $sql, $claim) = @_;
	my $begin = time;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	is("$status $err", '0 ', "$claim succeeds");
	return cmp_ok(time - $begin, '<', $seconds, "$claim takes less than $seconds s");
}

my $at_work = q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ '^vdb maintenance: reindex' AND wait_event = 'advisory');

sql(q(
	CREATE FUNCTION place(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
	$$ SELECT array_agg(sin(i * 0.37 * j) * 10 ORDER BY j)::vector FROM generate_series(1, 60) j $$;
	SELECT pg_reload_conf()));

# A table with an index that is worth a rebuild, and left alone; returns its size.
sub make_sparse_table
{
	my ($table) = @_;

	sql(qq(
		CREATE TABLE $table (id int, v vector(60));
		INSERT INTO $table SELECT i, place(i) FROM generate_series(1, 4000) i;
		CREATE INDEX ${table}_hnsw ON $table USING hnsw (v vector_l2_ops) WITH (maintenance = off);
		DELETE FROM $table WHERE id % 10 > 0));
	sql("VACUUM (INDEX_CLEANUP ON) $table");
	return index_size($node, "${table}_hnsw");
}

# Who holds workers back has a snapshot, so they are vacuumed before.
make_sparse_table($_) for qw(altered waited dropped cancelled roomless killed);

# A worker waits in a rebuild of its index.
sub begin_rebuild
{
	my ($table) = @_;

	sql(q(ALTER DATABASE postgres SET vdb.stop_at = 'hnsw-build-after-write'));
	sql("ALTER INDEX ${table}_hnsw SET (maintenance = on)");
	return comes_true("a rebuild of an index of $table begins", $at_work);
}

sub end_rebuild
{
	my ($table, $when) = @_;

	sql(q(ALTER DATABASE postgres RESET vdb.stop_at));
	comes_true("nothing half-built is left $when",
		q(SELECT count(*) = 0 FROM pg_class WHERE relname ~ '_cc(new|old)' AND relname !~ '^own'));
	return;
}

# --- what is a user's own ----------------------------------------------------

sql(q(
	CREATE TABLE own (id int, v vector(60));
	INSERT INTO own SELECT i, place(i) FROM generate_series(1, 500) i;
	CREATE INDEX own_hnsw ON own USING hnsw (v vector_l2_ops)));
my (undef, undef, $err) = $node->psql('postgres', q(
	LOAD 'vdb';
	SET vdb.stop_at = 'hnsw-build-after-write=error';
	REINDEX INDEX CONCURRENTLY own_hnsw), on_error_stop => 0);
like($err, qr/stopped at/, "a user's own rebuild fails");

# --- users who wait ----------------------------------------------------------

my $holder = hold($node, 'hnsw-build-after-write');

begin_rebuild('altered');
takes_at_most(3, 'ALTER TABLE altered ADD COLUMN n int', 'ALTER TABLE during a rebuild');
end_rebuild('altered', 'after it');
is(sql(q(SELECT indisvalid FROM pg_index WHERE indexrelid = 'altered_hnsw'::regclass)), 't',
	'and the index is as it was');
sql('DROP TABLE altered');

begin_rebuild('waited');
takes_at_most(3, 'BEGIN; SELECT count(*) FROM waited; LOCK waited IN SHARE UPDATE EXCLUSIVE MODE; COMMIT',
	'a transaction that the rebuild would wait for');
end_rebuild('waited', 'after it');
sql('DROP TABLE waited');

begin_rebuild('dropped');
takes_at_most(3, 'DROP INDEX dropped_hnsw', 'DROP INDEX during a rebuild');
end_rebuild('dropped', 'after it');
is(sql(q(SELECT count(*) FROM pg_index WHERE indrelid = 'dropped'::regclass)), '0', 'the index is gone');
sql('DROP TABLE dropped');

begin_rebuild('cancelled');
sql(q(SELECT pg_cancel_backend(pid) FROM vdb_stat_worker WHERE work = 'reindex'));
end_rebuild('cancelled', 'after it was cancelled');
sql('DROP TABLE cancelled');

# --- no room on disc -----------------------------------------------------------

sql(q(ALTER DATABASE postgres SET vdb.stop_at = 'worker-no-room'));
sql('ALTER INDEX roomless_hnsw SET (maintenance = on)');
comes_true('an index is not rebuilt where there is no room, which is told',
	q(SELECT count(*) = 1 FROM vdb_stat_worker WHERE last_error ~ 'not enough room .* public.roomless_hnsw'));
sql('DROP TABLE roomless');

# --- a worker is killed -------------------------------------------------------

begin_rebuild('killed');
my $worker = sql(q(SELECT pid FROM vdb_stat_worker WHERE work = 'reindex'));
my $size = index_size($node, 'killed_hnsw');

kill 9, $worker;
await_server($node);
await_end($holder);
end_rebuild('killed', 'after a worker was killed');
comes_true('and the index is rebuilt after all', "SELECT pg_relation_size('killed_hnsw') < $size / 2");
check_index($node, 'killed_hnsw', 'after that');
is(sql(q(SELECT count(*) FROM pg_class WHERE relname ~ '^own_hnsw_ccnew')), '1',
	"what a user's own rebuild left is still there");

# --- the launcher ends --------------------------------------------------------

my $launcher = sql(q(SELECT pid FROM vdb_stat_worker WHERE kind = 'launcher'));

sql("SELECT pg_terminate_backend($launcher)");
comes_true('a launcher that is ended comes again',
	"SELECT count(*) = 1 FROM vdb_stat_worker WHERE kind = 'launcher' AND pid <> $launcher");
await_rounds(2);
pass('and starts workers');

# --- a table that is locked -----------------------------------------------------

sql(q(
	CREATE TABLE locked (v vector(3));
	CREATE INDEX locked_ivf ON locked USING ivfpq (v vector_l2_ops)));
my $locker = begin_psql($node, q(SET application_name = 'holder'; BEGIN; LOCK TABLE locked;
	INSERT INTO locked SELECT array[i, sin(i), cos(i)]::vector FROM generate_series(1, 500) i;
	SELECT pg_sleep(600)));
comes_true('a table is locked', q(SELECT count(*) > 0 FROM pg_locks
	WHERE relation = 'locked'::regclass AND mode = 'AccessExclusiveLock'));
await_rounds(2);
pass('and workers do not wait for it');
is(sql('SELECT sum(failures) FROM vdb_stat_worker'), '0', 'nor is that a failure');
let_go($node, $locker);
sql('DROP TABLE locked');

# what is not done because of a lock is due in the next round, not when the rows that stay were seen ten rounds ago
sql(q(
	CREATE TABLE busy (id int, v vector(3));
	INSERT INTO busy SELECT i, array[i, sin(i), cos(i)]::vector FROM generate_series(1, 500) i;
	CREATE INDEX busy_hnsw ON busy USING hnsw (v vector_l2_ops)));
$locker = begin_psql($node, q(SET application_name = 'holder'; BEGIN;
	LOCK TABLE busy IN SHARE UPDATE EXCLUSIVE MODE; SELECT pg_sleep(600)));
comes_true('a table is locked against VACUUM alone', q(SELECT count(*) > 0 FROM pg_locks
	WHERE relation = 'busy'::regclass AND mode = 'ShareUpdateExclusiveLock'));
psql_fails($node, q(SET lock_timeout = '500ms'; SELECT * FROM vdb.maintain('busy_hnsw')), '55P03',
	'could not obtain lock on table "busy" in 500 ms', 'vdb.maintain waits for it as long as it may');
my $vacuums = sql('SELECT sum(vacuums) FROM vdb_stat_worker');
sql('DELETE FROM busy WHERE id % 2 = 0');
await_rounds(4);
is(sql('SELECT sum(vacuums) FROM vdb_stat_worker'), $vacuums, 'no VACUUM is counted');
let_go($node, $locker);
my $free = time;
comes_true('nor is it put off', q(SELECT n_dead_tup = 0 FROM pg_stat_all_tables WHERE relname = 'busy'));
cmp_ok(time - $free, '<', 6, 'for long');

# a concurrent build waits for the snapshot of vdb.maintain, which waits for its lock: the build wins
$locker = begin_psql($node, q(SET application_name = 'holder'; BEGIN; INSERT INTO busy VALUES (0, '[1,0,0]');
	SELECT pg_sleep(600)));
comes_true('a transaction has written', q(SELECT count(*) > 0 FROM pg_locks
	WHERE relation = 'busy'::regclass AND mode = 'RowExclusiveLock'));
my $build = begin_psql($node, 'CREATE INDEX CONCURRENTLY busy_id ON busy (id)');
comes_true('a build waits for it', q(SELECT count(*) > 0 FROM pg_stat_progress_create_index
	WHERE relid = 'busy'::regclass AND phase = 'waiting for writers before build'));
my $maintain = begin_psql($node, q(SET application_name = 'maintain'; SET lock_timeout = '5s';
	SELECT * FROM vdb.maintain('busy_hnsw')));
comes_true('vdb.maintain waits for the build', q(SELECT count(*) > 0 FROM pg_stat_activity
	WHERE application_name = 'maintain' AND wait_event_type = 'Lock'));
let_go($node, $locker);
ok(!await_end($maintain), 'vdb.maintain gives up');
like(${ $maintain->{output} }, qr/could not obtain lock on table "busy" in 5000 ms/, 'and says why');
ok(await_end($build), 'and the build ends') or diag(${ $build->{output} });
is(sql(q(SELECT indisvalid FROM pg_index WHERE indexrelid = 'busy_id'::regclass)), 't', 'well');
sql('DROP TABLE busy');

# --- databases ----------------------------------------------------------------

sql('CREATE DATABASE without');
sql('CREATE DATABASE template_only IS_TEMPLATE true');
sql('CREATE DATABASE closed ALLOW_CONNECTIONS false');
my $idle = q(SELECT string_agg(xact_commit::text, ' ' ORDER BY datname) FROM pg_stat_database
	WHERE datname IN ('template_only', 'template1', 'closed'));
my $commits = sql($idle);
comes_true('a database without vdb is looked at',
	q(SELECT xact_commit > 0 FROM pg_stat_database WHERE datname = 'without'));
await_rounds(4);
cmp_ok(sql(q(SELECT xact_commit FROM pg_stat_database WHERE datname = 'without')), '<', 4,
	'but seldom');
is(sql($idle), $commits, 'templates, and those without connections, are not');
is(sql(q(SELECT sum(failures) FROM vdb_stat_worker)), '0', 'nothing of that is a failure');

# A worker is in a database that is dropped: its index has an expression that takes long.
sub make_slow_database
{
	my ($name) = @_;

	sql("CREATE DATABASE $name");
	$node->safe_psql($name, q(
		CREATE EXTENSION vdb;
		CREATE FUNCTION slow(v vector) RETURNS vector(3) IMMUTABLE LANGUAGE plpgsql AS
		$$ BEGIN
			IF pg_catalog.current_setting('search_path') !~ 'public' THEN PERFORM pg_catalog.pg_sleep(0.1); END IF;
			RETURN v;
		END $$;
		CREATE TABLE t (v vector(3));
		CREATE INDEX t_ivf ON t USING ivfpq ((slow(v)::vector(3)) vector_l2_ops);
		INSERT INTO t SELECT array[i, sin(i), cos(i)]::vector FROM generate_series(1, 3000) i));
	sql('SELECT pg_reload_conf()');
	return comes_true("a worker is in the database $name",
		"SELECT count(*) = 1 FROM vdb_stat_worker WHERE datname = '$name' AND work IS NOT NULL");
}

make_slow_database('gone');
takes_at_most(5, 'DROP DATABASE gone', 'DROP DATABASE');
make_slow_database('copied');
takes_at_most(5, 'CREATE DATABASE copy TEMPLATE copied', 'a copy of a database');
sql('DROP DATABASE copied WITH (FORCE)');
sql('DROP DATABASE copy WITH (FORCE)');
await_rounds(2);
pass('workers go on');

# --- many databases -------------------------------------------------------------

my $many = $ENV{VDB_DATABASES} || 12;

sql('CREATE DATABASE many');
$node->safe_psql('many', q(
	CREATE EXTENSION vdb;
	CREATE TABLE t (v vector(3));
	CREATE INDEX t_ivf ON t USING ivfpq (v vector_l2_ops) WITH (lists = 8);
	INSERT INTO t SELECT array[i, sin(i), cos(i)]::vector FROM generate_series(1, 200) i;
	ALTER DATABASE many IS_TEMPLATE true));
$node->safe_psql('postgres', "CREATE DATABASE many_$_ TEMPLATE many") for 1 .. $many;
for my $i (1 .. $many)
{
	$node->poll_query_until("many_$i", q(SELECT upper_records > 1 FROM vdb.check_index('t_ivf')))
	  or die "many_$i is forgotten";
}
pass("each of $many databases has its turn");
sql('ALTER DATABASE many IS_TEMPLATE false');

# --- work that fails, or is in vain ------------------------------------------------

# to measure recall fails: the index is rebuilt all the same
my $failing = make_sparse_table('failing');

sql(q(ALTER DATABASE postgres SET vdb.maintenance_recall_floor = 0.01));
sql(q(ALTER DATABASE postgres SET vdb.stop_at = 'worker-before-step=error'));
sql('ALTER INDEX failing_hnsw SET (maintenance = on)');
comes_true('where one kind of work fails, another is done', "SELECT pg_relation_size('failing_hnsw') < $failing / 2");
cmp_ok(sql(q(SELECT count(*) FROM vdb_stat_worker WHERE last_error ~ 'worker-before-step')), '>', 0, 'and the error is told');
sql(q(ALTER DATABASE postgres RESET vdb.stop_at));

# no two rows compare: that recall is measured once
sql('DROP TABLE failing, killed, own');
my $recalls = 'SELECT sum(recalls) FROM vdb_stat_worker';
my $before = sql($recalls);
sql(q(
	CREATE TABLE nulls (id int, v vector(3));
	INSERT INTO nulls SELECT i FROM generate_series(1, 100) i;
	CREATE INDEX nulls_ivf ON nulls USING ivfpq (v vector_l2_ops)));
comes_true('recall is measured', "SELECT ($recalls) > $before");
await_rounds(4);
is(sql($recalls), $before + 1, 'once, where it cannot be');
sql(q(ALTER DATABASE postgres RESET vdb.maintenance_recall_floor));
sql('DROP TABLE nulls');

# a transaction that does not end
my $endless = make_sparse_table('endless');
my $writer = begin_psql($node, q(SET application_name = 'holder'; BEGIN;
	INSERT INTO endless VALUES (0, place(0)); SELECT pg_sleep(600)));

comes_true('a transaction is open', q(SELECT count(*) > 0 FROM pg_locks
	WHERE relation = 'endless'::regclass AND mode = 'RowExclusiveLock'));
sql('ALTER SYSTEM SET vdb.maintenance_wait_timeout = 1');
sql('SELECT pg_reload_conf()');
sql('ALTER INDEX endless_hnsw SET (maintenance = on)');
comes_true('a rebuild does not wait for it for ever', q(SELECT count(*) > 0 FROM vdb_stat_worker WHERE last_error ~ 'canceling statement'));
like(slurp_file($node->logfile), qr/has waited for others for 1 s, and gives up/, 'which the log says');
let_go($node, $writer);
comes_true('and is tried again', "SELECT pg_relation_size('endless_hnsw') < $endless / 2");
sql('ALTER SYSTEM RESET vdb.maintenance_wait_timeout');
sql('SELECT pg_reload_conf()');
sql('DROP TABLE endless');

# --- a standby -------------------------------------------------------------------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
sql(q(CREATE TABLE late (v vector(3)); CREATE INDEX late_ivf ON late USING ivfpq (v vector_l2_ops) WITH (maintenance = off);
	INSERT INTO late SELECT array[i, sin(i), cos(i)]::vector FROM generate_series(1, 1000) i;
	ALTER INDEX late_ivf SET (maintenance = on)));
catch_up($node, $standby);
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^vdb')), '0',
	'on a standby there is no launcher');
like(($standby->psql('postgres', q(SELECT vdb.maintain('late_ivf'))))[2], qr/recovery is in progress/,
	'and vdb.maintain says why it does nothing');
$node->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', q(SELECT upper_records > 1 FROM vdb.check_index('late_ivf'))),
	'when it is promoted, indexes are looked after');
$standby->stop;

# --- no process is free -----------------------------------------------------------

$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
$node->start;
comes_true('where no process is free, that is told',
	q(SELECT last_error ~ 'no background worker process' FROM vdb_stat_worker WHERE kind = 'launcher'));
comes_true('the launcher goes on', q(SELECT rounds > 4 FROM vdb_stat_worker WHERE kind = 'launcher'));
my $said = () = slurp_file($node->logfile) =~ /no background worker process is free/g;
is($said, 1, 'and the log has it once');
$node->stop;
done_testing();
