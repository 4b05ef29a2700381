# Claims that the server stops at once, in each mode, while workers are in the middle of each kind of work, for
# which they have the processor after whoever else wakes; and that when it starts again, what they left is sound, and
# their work is done.

use strict;
use warnings;
use FindBin;
use POSIX ();
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VdbTest;

# With such costs each kind of work takes longer than the test.
my $node = new_server(
	'shutdown', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'vdb.maintenance = off',
	'vdb.maintenance_naptime = 1', 'vdb.maintenance_cost_delay = 100', 'vdb.maintenance_cost_limit = 1',
	'vdb.maintenance_workers = 8', 'max_worker_processes = 12', 'max_prepared_transactions = 2');

sub sql { return $node->safe_psql(@_) }

# How long the scheduler lets a process go on beside others, nanoseconds; undef where it does not say, or cannot be
# asked for another slice.
sub slice
{
	my ($pid) = @_;
	my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/ or return undef;

	return undef if $major * 1000 + $minor < 6012;
	open(my $file, '<', "/proc/$pid/sched") or return undef;
	return (map { /^se\.slice\s*:\s*(\d+)/ ? $1 : () } <$file>)[0];
}

# Mostly empty: worth a rebuild.  What it counts is told before VACUUM tells that there are no dead rows: told after
# it, as by a session that ends slowly, a worker would be at a vacuum that lasts.
my $empty = q(
	INSERT INTO t SELECT i, place(i) FROM generate_series(1, 4000) i;
	CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
	DELETE FROM t WHERE id % 10 > 0;
	SELECT pg_stat_force_next_flush());

# What is done before, and what is to be seen in the end.
my %works = (
	vacuum => {
		before => q(
			INSERT INTO t SELECT i, place(i) FROM generate_series(1, 4000) i;
			CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
			DELETE FROM t WHERE id % 4 = 0) },
	'clean-up' => {
		before => q(
			CREATE INDEX t_v ON t USING ivfpq (v vector_l2_ops);
			INSERT INTO t SELECT i, place(i) FROM generate_series(1, 3000) i),
		after => q(SELECT upper_records > 10 FROM vdb.check_index('t_v')) },
	calibrate => {
		before => q(
			CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
			INSERT INTO t SELECT i, place(i) FROM generate_series(1, 3000) i),
		after => q(SELECT count(*) > 0 FROM vdb.calibration('t_v')) },
	recall => {
		before => q(
			ALTER DATABASE "recall" SET vdb.maintenance_recall_floor = 0.01;
			INSERT INTO t SELECT i, place(i) FROM generate_series(1, 3000) i;
			CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops)),
		after => q(SELECT recall > 0.5 FROM vdb_stat_index) },
	reindex => {
		before => $empty,
		vacuum => 1,
		after => q(SELECT pg_relation_size('t_v') < pg_relation_size('t')) },

	# of what a rebuild left that failed, while somebody is at the table
	drop => {
		before => qq($empty;
			ALTER DATABASE "drop" SET vdb.maintenance_cost_delay = 0;
			ALTER DATABASE "drop" SET vdb.stop_at = 'hnsw-build-after-write=error'),
		vacuum => 1,
		begin => q(BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; PREPARE TRANSACTION 'user'),
		end => q(ROLLBACK PREPARED 'user'; ALTER DATABASE "drop" RESET vdb.stop_at),
		after => q(SELECT count(*) = 0 FROM pg_class WHERE relname ~ '_cc(new|old)') });

for my $work (sort keys %works)
{
	my $steps = $works{$work};

	sql('postgres', qq(CREATE DATABASE "$work"));
	sql($work, qq(
		CREATE EXTENSION vdb;
		CREATE FUNCTION place(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
		\$\$ SELECT array_agg(sin(i * 0.37 * j) * 10 ORDER BY j)::vector FROM generate_series(1, 60) j \$\$;
		CREATE TABLE t (id int, v vector(60));
		$steps->{before}));
	sql($work, 'VACUUM (INDEX_CLEANUP ON) t') if $steps->{vacuum};
	sql($work, $steps->{begin}) if $steps->{begin};
}
$node->append_conf('postgresql.conf', 'vdb.maintenance = on');
$node->reload;
for my $mode (qw(smart fast immediate))
{
	my $begin;

	ok($node->poll_query_until('postgres', 'SELECT count(DISTINCT work) = ' . keys(%works) . ' FROM vdb_stat_worker'),
		'workers are at each kind of work')
	  or diag(sql('postgres', 'SELECT datname, work, last_error FROM vdb_stat_worker'));
	if ($mode eq 'smart')
	{
		my @slices = map { slice($_) // () } split "\n", sql('postgres', q(
			SELECT pid FROM vdb_stat_worker WHERE work IS NOT NULL));

	  SKIP:
		{
			skip 'slices of the processor cannot be asked for here', 1 if !@slices;
			is_deeply([ grep { $_ != 1e8 } @slices ], [], 'they have asked for the longest slices');
		}
	}
	$begin = time;
	$node->stop($mode);
	cmp_ok(time - $begin, '<', 5, "the server stops, $mode");
	$node->append_conf('postgresql.conf', 'vdb.maintenance_cost_delay = 0') if $mode eq 'immediate';
	$node->start;
}
for my $work (sort keys %works)
{
	my $steps = $works{$work};

	sql($work, $steps->{end}) if $steps->{end};
	ok($node->poll_query_until($work, $steps->{after}), "$work is done in the end") if $steps->{after};
	is(sql($work, q(SELECT count(*) FROM vdb.check_index('t_v', true))), 1, "$work: the index is sound");
}
$node->stop;
done_testing();
