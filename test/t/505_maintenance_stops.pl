# Claims that a rebuild by a worker can end at any point: it is cancelled, gives way to DROP INDEX or ALTER TABLE, or
# the server crashes; no half-built index stays, and the one there is is sound and finds what it should.
#
# Each stop point has a database of its own, in which a worker stands at it, so all are tried at once. Who keeps it
# there is a prepared transaction: it outlives a crash, and has no snapshot that a rebuild would wait for.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'stops', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'restart_after_crash = on',
	'vdb.maintenance_naptime = 1', 'vdb.maintenance_cost_delay = 0', 'vdb.maintenance_workers = 16',
	'max_worker_processes = 24', 'max_prepared_transactions = 40', 'maintenance_work_mem = 64MB');

sub sql { return $node->safe_psql(@_) }

# What a rebuild passes. Where a row is inserted, that is done while it stands at its build's end, so that it
# goes into the index when that is validated.
my $few = 'lists = 60, ';	# of ten rows each, so that one of them is not enough
my %build_end = (hnsw => 'hnsw-build-after-write', ivfpq => 'ivf-build-after-write');
my @builds = (
	{ point => 'worker-before-reindex', am => 'hnsw' },
	{ point => 'hnsw-build-before-write', am => 'hnsw' },
	{ point => 'hnsw-extend-after-pages', am => 'hnsw' },
	{ point => 'hnsw-build-before-merge', am => 'hnsw', rows => 6000, set => q(maintenance_work_mem = '1MB') },
	{ point => 'hnsw-build-after-write', am => 'hnsw' },
	{ point => 'hnsw-vacuum-after-bulkdelete', am => 'hnsw' },
	{ point => 'ivf-extend-after-pages', am => 'ivfpq', options => $few },
	{ point => 'ivf-build-after-write', am => 'ivfpq', options => $few });
my @inserts = (
	{ point => 'hnsw-insert-after-search', am => 'hnsw' },
	{ point => 'hnsw-insert-before-attach', am => 'hnsw', equal => 1 },
	{ point => 'hnsw-insert-after-node', am => 'hnsw' },
	{ point => 'hnsw-insert-after-edges', am => 'hnsw' },
	{ point => 'hnsw-insert-before-entry', am => 'hnsw' },
	{ point => 'hnsw-insert-after-pending', am => 'hnsw', options => 'fastupdate = on, ' },
	{ point => 'ivf-insert-chosen', am => 'ivfpq', options => $few },
	{ point => 'ivf-insert-second', am => 'ivfpq', rows => 1500, options => 'lists = 300, spill = 1, ' });
$_->{insert} = 1 for @inserts;

# What else there is is passed by others, or by parallel builds.
my @others = qw(
  hnsw-build-help-link hnsw-build-worker ivf-build-worker
  hnsw-link-before-parent hnsw-link-after-parent hnsw-link-before-edges
  hnsw-merge-before-narrow hnsw-merge-after-narrow ivf-lists-written ivf-lists-before-swap ivf-lists-swapped
  ivf-vacuum-before-free hnsw-vacuum-after-collect hnsw-vacuum-after-repair hnsw-vacuum-before-free
  hnsw-vacuum-after-free hnsw-vacuum-before-release hnsw-vacuum-by-ranges
  hnsw-check-before-rows ivf-check-before-rows hnsw-scan-at-dead-node hnsw-scan-before-postings
  hnsw-scan-before-descent hnsw-scan-after-search ivf-scan-ranked ivf-scan-taken
  worker-before-step worker-no-room compute-no-library
  mirror-found mirror-insert-coded mirror-load-created mirror-load-waited mirror-load-snapshot mirror-load-read mirror-passed
  gpu-claimed gpu-finder-asks);
my %source = map { $_ => 1 } grep { !/^ingest-/ } map { slurp_file($_) =~ /VDB_TESTPOINT(?:_IS)?\("([^"]+)"\)/g }
  glob "$FindBin::RealBin/../../src/*/*.c";

is_deeply([ sort keys %source ], [ sort @others, map { $_->{point} } @builds, @inserts ],
	'all stop points of the source, but those of pipelines, are known here');

# --- databases, all of one template -------------------------------------------

sql('postgres', 'CREATE DATABASE model');
sql('model', q(
	CREATE EXTENSION vdb;
	CREATE FUNCTION place(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
	$$ SELECT array_agg(sin((i + 1) * 0.37 * j) * 10 ORDER BY j)::vector FROM generate_series(1, 24) j $$;
	CREATE TABLE t (id int, v vector(24))));

# What holds whoever comes to a stop point, and lets them go.
sub hold_at
{
	my ($database, $point) = @_;
	return "BEGIN; DO \$\$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('$point')); END \$\$;
		PREPARE TRANSACTION '$database $point'";
}

sub let_go_at
{
	my ($database, $point) = @_;
	return "ROLLBACK PREPARED '$database $point'";
}

# Claims that scripts succeed in the databases of all of these cases, at once, and what they print there. They and that
# may depend on the case.
sub all_do
{
	my ($claim, $script, $printed, @cases) = @_;
	my @sessions = map { begin_psql($node, ref $script ? [ $script->($_) ] : $script, $_->{database}) } @cases;

	for my $i (0 .. $#cases)
	{
		my $ended = await_end($sessions[$i]);

		is(($ended ? '' : 'error ') . ${ $sessions[$i]->{output} }, ref $printed ? $printed->($cases[$i]) : $printed,
			"$cases[$i]->{point}: $claim");
	}
	return;
}

sub make_databases
{
	my ($name, @cases) = @_;
	my $number = 0;

	for my $case (@cases)
	{
		$case->{database} = $name . $number++;
		sql('postgres', "CREATE DATABASE $case->{database} TEMPLATE model");
	}

	# a floor that is not reached where one node or list is looked at
	all_do('a database', sub {
		my ($case) = @_;
		my $database = $case->{database};
		my $points = join ',', $case->{point}, $case->{insert} ? $build_end{ $case->{am} } : ();
		my $set = $case->{set} ? "ALTER DATABASE $database SET $case->{set};" : '';

		return (qq(
			ALTER DATABASE $database SET hnsw.ef_search = 1;
			ALTER DATABASE $database SET hnsw.iterative_scan = off;
			ALTER DATABASE $database SET ivfpq.probes = 1;
			ALTER DATABASE $database SET ivfpq.iterative_scan = off;
			ALTER DATABASE $database SET vdb.maintenance_recall_floor = 1;
			ALTER DATABASE $database SET vdb.stop_at = '$points';
			$set
			INSERT INTO t SELECT i, place(i) FROM generate_series(1, @{[ $case->{rows} || 600 ]}) i),
			hold_at($database, $case->{point}));
	}, '', @cases);
	return;
}

# --- to a stop point, and what then -------------------------------------------

# Claims that in each of these databases a worker stands at its point.
sub stand_at
{
	my ($claim, %points) = @_;
	my $expected = join ',', map { "('$_', '$points{$_}')" } sort keys %points;
	my $missing = qq(
		SELECT string_agg(point, ', ') FROM (VALUES $expected) e (database, point)
		WHERE NOT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE a.datname = e.database AND a.query ~ '^vdb maintenance: reindex' AND NOT l.granted
				AND l.locktype = 'advisory' AND l.objid::bigint = hashtext(e.point)::bigint & 4294967295));

	return ok($node->poll_query_until('postgres', "SELECT ($missing) IS NULL"), $claim)
	  || diag('nobody stands at ' . sql('postgres', $missing));
}

my $inserted = 0;

# New indexes, which have no rests, and a worker at the point of each.
sub begin_rebuilds
{
	my ($when, @cases) = @_;

	all_do("$when: a new index", sub {
		my ($case) = @_;

		return (qq(
			SET client_min_messages = error;
			SET vdb.stop_at = '';
			DROP INDEX IF EXISTS t_v;
			CREATE INDEX t_v ON t USING $case->{am} (v vector_l2_ops) WITH (@{[ $case->{options} || '' ]} maintenance = on)),
			$case->{insert} ? hold_at($case->{database}, $build_end{ $case->{am} }) : ());
	}, '', @cases);
	sql('postgres', 'SELECT pg_reload_conf()');
	if ($cases[0]->{insert})
	{
		stand_at("$when: builds end", map { $_->{database} => $build_end{ $_->{am} } } @cases);
		$_->{vector} = $_->{equal} ? 'place(1)' : 'place(10000 + ' . $inserted++ . ')' for @cases;
		all_do("$when: a row", sub {
			my ($case) = @_;

			return ("SET vdb.stop_at = ''; INSERT INTO t VALUES (0, $case->{vector})",
				let_go_at($case->{database}, $build_end{ $case->{am} }));
		}, '', @cases);
	}
	return stand_at("$when: workers stand at their points", map { $_->{database} => $_->{point} } @cases);
}

sub leave_alone
{
	return all_do('the index is left alone', 'ALTER INDEX t_v SET (maintenance = off)', '', @_);
}

# Claims that nothing half-built is left, and what there is is as it should be.
sub are_right
{
	my ($when, $indexes, @cases) = @_;

	all_do("$when, nothing half-built is left", q(
		SET vdb.stop_at = '';
		DO $$ BEGIN
			FOR i IN 1..300 LOOP
				EXIT WHEN NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '_cc(new|old)');
				PERFORM pg_sleep(0.1);
			END LOOP;
		END $$;
		SELECT relname, indisvalid FROM pg_index JOIN pg_class c ON indexrelid = c.oid WHERE indrelid = 't'::regclass),
		$indexes ? "t_v|t\n" : '', @cases);
	return if !$indexes;
	all_do("$when, the index is right", sub {
		my ($case) = @_;

		return qq(
			SET vdb.stop_at = '';
			SELECT count(*) FROM vdb.check_index('t_v', true);
			SET hnsw.ef_search = 400;
			SET ivfpq.probes = 300;
			SET ivfpq.refine_factor = 100;
			SET enable_seqscan = off;
			SELECT recall >= 0.99 FROM vdb.recall('t_v', 10, 40);
			SELECT bool_or(id = 0) FROM (SELECT id FROM t ORDER BY v <-> @{[ $case->{vector} || 'place(0)' ]} LIMIT 10) x);
	}, sub { return shift->{insert} ? "1\nt\nt\n" : "1\nt\nf\n" }, @cases);
	return;
}

# Claims that of a database in which an index is being rebuilt a dump has that index once, and can be restored.
sub dump_is_whole
{
	my ($database) = @_;
	my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr($database) ]);
	my $indexes = () = $dump =~ /^CREATE INDEX/mg;

	is(sql($database, q(SELECT relname FROM pg_depend JOIN pg_class c ON objid = c.oid WHERE deptype = 'x')),
		't_v_ccnew', 'the index that is being built has a mark');
	is($indexes, 1, 'a dump has one index');
	unlike($dump, qr/DEPENDS ON EXTENSION/, 'without a mark');
	sql('postgres', 'CREATE DATABASE restored');
	sql('restored', $dump);
	is(sql('restored', q(SELECT indisvalid FROM pg_index WHERE indexrelid = 't_v'::regclass)), 't',
		'which is there when it is restored');
	sql('postgres', 'DROP DATABASE restored');
	return;
}

for my $batch ([ build => @builds ], [ insert => @inserts ])
{
	my ($name, @cases) = @$batch;

	make_databases($name, @cases);

	begin_rebuilds('to be cancelled', @cases);
	dump_is_whole(map { $_->{database} } grep { $_->{point} eq 'hnsw-build-after-write' } @cases) if $name eq 'build';
	sql('postgres', q(SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query ~ '^vdb maintenance: reindex'));
	leave_alone(@cases);
	are_right('cancelled', 1, @cases);

	begin_rebuilds('to give way to ALTER TABLE', @cases);
	all_do('ALTER TABLE succeeds', 'ALTER TABLE t ADD COLUMN n int', '', @cases);
	leave_alone(@cases);
	are_right('when a column was added', 1, @cases);

	begin_rebuilds('to give way to DROP INDEX', @cases);
	all_do('DROP INDEX succeeds', 'DROP INDEX t_v', '', @cases);
	are_right('when the index was dropped', 0, @cases);

	begin_rebuilds('to be killed', @cases);
	kill 9, sql('postgres', q(SELECT pid FROM pg_stat_activity WHERE query ~ '^vdb maintenance: reindex' LIMIT 1));
	await_server($node);
	leave_alone(@cases);
	are_right('after a crash', 1, @cases);

	all_do('it ends', sub { my ($case) = @_; return let_go_at($case->{database}, $case->{point}) }, '', @cases);
	sql('postgres', "DROP DATABASE $_->{database} WITH (FORCE)") for @cases;
}

# --- an index that has another name by now -------------------------------------

sql('postgres', 'CREATE DATABASE renamed TEMPLATE model');
sql('renamed', q(
	ALTER DATABASE renamed SET hnsw.ef_search = 1;
	ALTER DATABASE renamed SET hnsw.iterative_scan = off;
	ALTER DATABASE renamed SET vdb.maintenance_recall_floor = 1;
	ALTER DATABASE renamed SET vdb.stop_at = 'worker-before-reindex';
	CREATE SCHEMA one; CREATE TABLE one.t AS SELECT i AS id, place(i)::vector(24) AS v FROM generate_series(1, 300) i;
	CREATE SCHEMA two; CREATE TABLE two.t AS TABLE one.t;
	CREATE INDEX t_v ON two.t USING hnsw (v vector_l2_ops) WITH (maintenance = off)));
sql('renamed', hold_at('renamed', 'worker-before-reindex'));
sql('renamed', 'CREATE INDEX t_v ON one.t USING hnsw (v vector_l2_ops); SELECT pg_reload_conf()');
stand_at('a worker is about to rebuild an index', renamed => 'worker-before-reindex');
my $oids = q(SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE relname = 't_v');
my $before = sql('renamed', $oids);
sql('renamed', 'ALTER SCHEMA one RENAME TO three; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA three RENAME TO two');
sql('renamed', let_go_at('renamed', 'worker-before-reindex'));
ok($node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM vdb_stat_worker WHERE last_error ~ 'another name by now')),
	'which has another name when it begins');
is(sql('renamed', $oids), $before, 'so nothing is rebuilt');
sql('renamed', 'ALTER DATABASE renamed RESET vdb.stop_at');
ok($node->poll_query_until('renamed', q(SELECT count(*) = 0 FROM pg_class WHERE relname ~ '_cc(new|old)')),
	'and nothing left');
ok($node->poll_query_until('renamed', "SELECT 'two.t_v'::regclass::oid <> ALL ('$before'::oid[])"),
	'until it is found by its new name');
ok(index($before, sql('renamed', q(SELECT 'one.t_v'::regclass::oid))) >= 0, 'and the other one never is');
$node->stop;
done_testing();
