# Claims that builds have a device find the nearest codes, in all their processes, that what comes of it is as good as
# without, and that nobody sees more of a device that fails than a line in the log.  VDB_GPU_LIBRARY=vdb_gpu has a real one looked at.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use GpuTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use VdbTest;

my $library = gpu_library();

# there are no mirrors
my $node = new_server('gpu', 'restart_after_crash = on', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'vdb.maintenance = off',
	'vdb.gpu = on', "vdb.gpu_library = '$library'", 'vdb.gpu_timeout = ' . (gpu_is_real() ? '5s' : '2s'), 'max_parallel_maintenance_workers = 0');

sub sql { return $node->safe_psql('postgres', shift) }

sub serves { return $node->poll_query_until('postgres', q(SELECT state = 'serving' FROM vdb_stat_gpu)) }

sub stat_of { return sql("SELECT $_[0] FROM vdb_stat_gpu") }

# Where all of a group are compared, a node finds no less than in leaves.
my %definitions = (
	hnsw => 'hnsw (v vector_l2_ops) WITH (ef_construction = 40)',
	ivfpq => 'ivfpq (w vector_cosine_ops) WITH (lists = 270)',
	spill => 'ivfpq (w vector_l2_ops) WITH (lists = 270, spill = 1)',
	sphere => 'ivfflat (w vector_cosine_ops) WITH (lists = 270)'
);
my %least = (hnsw => 0.9, ivfpq => 0.6, spill => 0.8, sphere => 0.3);

# Builds an index, and looks at all of it; how many questions the device was asked.
sub build
{
	my ($kind, $set) = @_;
	my $before = stat_of('questions');

	$set //= '';
	sql("DROP INDEX IF EXISTS t_$kind; $set; CREATE INDEX t_$kind ON t USING $definitions{$kind}");
	return stat_of('questions') - $before;
}

sub is_sound
{
	my ($claim, $kind) = @_;

	is(sql("SELECT live FROM vdb.check_index('t_$kind', true)"), 3400, "$claim: $kind is whole");
	my $recall = sql("SET hnsw.ef_search = 60; SET ivfpq.probes = 8; SET ivfflat.probes = 8; SELECT recall FROM vdb.recall('t_$kind', 10, 50)");
	return cmp_ok($recall, '>=', $least{$kind}, "$claim: $kind finds what it should");
}

sql(q(
	SELECT setseed(.5);
	CREATE FUNCTION fresh(dims int) RETURNS vector LANGUAGE sql VOLATILE AS
		'SELECT array_agg(random() - .5)::vector FROM generate_series(1, dims)';
	CREATE TABLE t (id serial PRIMARY KEY, v vector(40), w vector(500));
	CREATE TABLE places AS SELECT i, fresh(500) AS w FROM generate_series(0, 99) i;
	INSERT INTO t (v, w) SELECT fresh(40), p.w + fresh(500) FROM generate_series(1, 3400) i JOIN places p ON p.i = i.i % 100));
ok(serves(), 'there is a device, without mirrors');

# --- with it and without -----------------------------------------------------------------------------------

is(build('hnsw', 'SET vdb.provider = cpu'), 0, 'who asks for the processor has it');
is_sound('by the processor', 'hnsw');
for my $kind (sort keys %definitions)
{
	cmp_ok(build($kind), '>=', 3400, "$kind asks for each row");
	is_sound('by the device', $kind);
}
cmp_ok(build('hnsw', 'SET vdb.provider = cuda'), '>=', 3400, 'who asks for the device has it');
cmp_ok(build('hnsw', 'SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0; ALTER TABLE t SET (parallel_workers = 2)'),
	'>=', 3400, 'with other processes');
is_sound('with other processes', 'hnsw');
cmp_ok(build('ivfpq', 'SET max_parallel_maintenance_workers = 2'), '>=', 3400, 'lists, with other processes');
is_sound('with other processes', 'ivfpq');
cmp_ok(build('hnsw', q(SET maintenance_work_mem = '1MB')), '>=', 0, 'in little memory');
is_sound('in little memory', 'hnsw');
sql('CREATE INDEX t_bits ON t USING hnsw ((binary_quantize(v)::bit(40)) bit_hamming_ops); DROP INDEX t_bits');
is(stat_of('fallbacks'), '0', 'nothing has failed');
ok($node->poll_query_until('postgres', 'SELECT bytes = 0 FROM vdb_stat_gpu'), 'and nothing stays on the device');

# VACUUM makes lists anew, and while inserts wait for it, it waits for nobody
sql('CREATE TABLE s AS SELECT i AS id, fresh(8000 + 0 * i)::vector(8000) AS v FROM generate_series(1, 1300) i');
sql('CREATE TABLE grown AS SELECT * FROM s WHERE id <= 60; CREATE INDEX grown_v ON grown USING ivfpq (v vector_l2_ops) WITH (lists = 20)');
sql('INSERT INTO grown SELECT * FROM s');
my $built = stat_of('questions');
my $holder = hold($node, 'ivf-lists-before-swap');
my $vacuum = begin_psql($node, [ "SET vdb.stop_at = 'ivf-lists-before-swap'", 'VACUUM grown' ]);
ok($node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory')), 'VACUUM has new lists');
my $asked = stat_of('questions');
cmp_ok($asked - $built, '>=', 1300, 'and has asked for each row');
sql('INSERT INTO grown SELECT * FROM s WHERE id <= 10');
let_go($node, $holder);
await_end($vacuum);
is(stat_of('questions'), $asked, 'rows that came meanwhile are not asked for');
is(sql(q(SELECT live FROM vdb.check_index('grown_v', true))), 1370, 'and they are there');

# builds that fail with a slot in hand: there are 32, and 64 sets
{
	my (undef, undef, $err) = $node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = 'gpu-finder-asks=error';" .
		"CREATE INDEX t_fails ON t USING $definitions{hnsw};" x 70, on_error_stop => 0);

	is(scalar(() = $err =~ /ERROR:.*gpu-finder-asks/g), 70, 'builds that fail while they ask');
	cmp_ok(build('hnsw'), '>=', 3400, 'leave slots and sets to others');
}

# --- faults --------------------------------------------------------------------------------------------

SKIP:
{
	skip 'a real device does not fail as it is told', 1 if gpu_is_real();
	for my $fault ('create out_of_memory', 'create failed', 'write out_of_memory', 'write failed', 'search out_of_memory', 'search failed')
	{
		my $fallbacks = stat_of('fallbacks');

		fail_with($fault);
		for my $kind (qw(hnsw spill))
		{
			is(build($kind), $fault =~ /^search/ ? 128 : 0, "$fault: $kind asks once") if $kind eq 'hnsw';
			build($kind) if $kind ne 'hnsw';
			is_sound($fault, $kind);
		}
		cmp_ok(stat_of('fallbacks'), '>', $fallbacks, "$fault: it is counted");
	}
	like(slurp_file($node->logfile), qr/LOG:  the device cannot be used: test of search: failed/, 'and logged');

	# one that fails in the middle
	fail_with('search slow');
	my $builder = begin_psql($node, "DROP INDEX t_hnsw; CREATE INDEX t_hnsw ON t USING $definitions{hnsw}");
	$node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ 'CREATE INDEX t_hnsw' AND pid <> pg_backend_pid()));
	my $before = stat_of('questions');
	$node->poll_query_until('postgres', "SELECT questions > $before + 300 FROM vdb_stat_gpu");
	fail_with('search failed');
	await_end($builder);
	is_sound('failing in the middle', 'hnsw');

	# lost, and in the middle of that there is a new process that knows of no set
	fail_with('search lost');
	build('hnsw');
	is_sound('a device that is lost', 'hnsw');
	fail_with('');
	ok(serves(), 'it comes back');
	cmp_ok(build('hnsw'), '>=', 3400, 'and is asked again');
	fail_with('search hang');
	build('spill');
	is_sound('a device that hangs', 'spill');
	fail_with('');
	ok(serves(), 'it comes back');

	# cancelled while the device is at it
	fail_with('search slow');
	my ($status, undef, $err) = $node->psql('postgres',
		"SET statement_timeout = '400ms'; CREATE INDEX t_slow ON t USING $definitions{hnsw}");
	isnt($status, 0, 'a build that is cancelled');
	like($err, qr/statement timeout/, 'ends');
	fail_with('');
	ok($node->poll_query_until('postgres', 'SELECT bytes = 0 FROM vdb_stat_gpu'), 'and leaves nothing on the device');
	cmp_ok(build('hnsw'), '>=', 3400, 'and no slot');

	# there is room for so much
	$node->safe_psql('postgres', q(ALTER SYSTEM SET vdb.gpu_memory = '1MB'));
	$node->reload;
	ok($node->poll_query_until('postgres', q(SELECT current_setting('vdb.gpu_memory') = '1MB')), 'a device of one megabyte');
	cmp_ok(build('hnsw'), '>=', 3400, 'has room for small codes');
	sql('CREATE TABLE large (v vector(500)); INSERT INTO large SELECT fresh(500) FROM generate_series(1, 3000)');
	sql('CREATE INDEX large_v ON large USING hnsw (v vector_l2_ops)');
	is(sql(q(SELECT live FROM vdb.check_index('large_v', true))), 3000, 'and not for large ones');
	like(stat_of('last_error'), qr/do not fit/, 'as is said');
}
$node->stop;
done_testing();
