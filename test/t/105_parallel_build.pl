# Claims that an index built by several processes is as good as one built alone,
# that their number is what the server's settings and the table say, and that
# whatever befalls one of them ends the build in order: no row is lost or there
# twice, no memory stays behind, no process.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

# shared memory in files that can be looked at
my $node = new_server(
	'parallel', 'fsync = off', 'restart_after_crash = on', 'dynamic_shared_memory_type = mmap',
	'maintenance_work_mem = 256MB', 'max_parallel_maintenance_workers = 3',
	'max_worker_processes = 16', 'max_parallel_workers = 16');

# What a statement says to its client, and its workers: how many there were.
sub build
{
	my $err = notices_of($node, @_);
	return ($err =~ /with (\d+) parallel workers/ ? $1 : 0, $err);
}

sub builds_with
{
	my ($workers, $sql, $when) = @_;
	my ($had) = build($sql);

	return is($had, $workers, "$workers workers $when");
}

sub shared_memory
{
	my @files = glob $node->data_dir . '/pg_dynshmem/*';
	my $bytes = 0;

	$bytes += -s $_ for @files;
	return $bytes;
}

# Nothing is left of a build, whatever became of it.
my $idle = shared_memory();

sub nothing_is_left
{
	my ($when) = @_;

	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
	return is(shared_memory(), $idle, "no shared memory is left $when");
}

load_words($node);
$node->safe_psql('postgres', 'SET max_parallel_maintenance_workers = 0;
	CREATE INDEX alone ON words USING hnsw (v vector_l2_ops)');
my $alone = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('alone', 10, 1500)");

$node->safe_psql('postgres', 'DROP INDEX alone');

# --- as good as alone --------------------------------------------------------------

builds_with(3, 'CREATE INDEX w ON words USING hnsw (v vector_l2_ops)', 'as the work is');
check_index($node, 'w', 'built by four');
recall_at_least($node, 'w', $alone - 0.005, 'built by four', queries => 1500);
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'w'"),
	'12000', 'the index knows its rows');
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'words'"),
	'12000', 'the table too');
nothing_is_left('after a build');

for my $distance (qw(ip cosine l1))
{
	builds_with(3, "CREATE INDEX d ON words USING hnsw (v vector_${distance}_ops)", "for $distance");
	check_index($node, 'd', "built by four for $distance");
	$node->safe_psql('postgres', 'DROP INDEX d');
}

# other kinds of vectors, whose codes are not relative to anything
$node->safe_psql('postgres', 'CREATE TABLE kinds AS
	SELECT id, binary_quantize(v)::bit(100) AS b, v::sparsevec(100) AS s, v::halfvec(100) AS h FROM words;
	ALTER TABLE kinds SET (parallel_workers = 3)');
for my $kind ('b bit_hamming_ops', 's sparsevec_l2_ops', 'h halfvec_l2_ops')
{
	builds_with(3, "CREATE INDEX k ON kinds USING hnsw ($kind)", "for $kind");
	check_index($node, 'k', "built by four for $kind");
	$node->safe_psql('postgres', 'DROP INDEX k');
}

# lists: each row is in one, or in two, whoever read it, and is found as if one process had built them
$node->safe_psql('postgres', 'CREATE INDEX alone ON kinds USING ivfpq (h halfvec_l2_ops) WITH (lists = 100)');
my $one = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('alone', 10, 500)");
$node->safe_psql('postgres', 'DROP INDEX alone');
for my $lists ('ivfflat (h halfvec_l2_ops) WITH (lists = 50)', 'ivfpq (b bit_hamming_ops)',
	'ivfpq (h halfvec_l2_ops, id) WITH (lists = 100) WHERE id % 3 <> 0',
	'ivfpq (h halfvec_l2_ops) WITH (lists = 100, spill = 1)', 'ivfpq (h halfvec_l2_ops) WITH (lists = 100)')
{
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS l');
	builds_with(3, "CREATE INDEX l ON kinds USING $lists", "for $lists");
	check_index($node, 'l', "$lists, built by four");
}
recall_at_least($node, 'l', $one - 0.03, 'lists built by four', queries => 500);
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'l'"), '12000',
	'the index of lists knows its rows');
psql_fails($node, "LOAD 'vdb'; SET vdb.stop_at = 'ivf-build-worker=error'; REINDEX INDEX l", 'XX000', 'stopped at "ivf-build-worker"',
	'an error of a worker that makes lists');
nothing_is_left('after that');
check_index($node, 'l', 'as it was before that');

# --- how many ----------------------------------------------------------------------

builds_with(1, 'SET max_parallel_maintenance_workers = 1; REINDEX INDEX w', 'at most one');
builds_with(0, 'SET max_parallel_maintenance_workers = 0; REINDEX INDEX w', 'none allowed');
builds_with(1, "SET maintenance_work_mem = '64MB'; REINDEX INDEX w", 'of 32 MB each');
builds_with(0, "SET maintenance_work_mem = '63MB'; REINDEX INDEX w", 'where memory is for one');
builds_with(0, 'SET max_parallel_workers = 0; REINDEX INDEX w', 'where there are none to be had');
builds_with(2, 'SET max_parallel_workers = 2; REINDEX INDEX w', 'where there are fewer than asked for');
check_index($node, 'w', 'built by fewer than planned');
builds_with(0, "SET min_parallel_table_scan_size = '1GB'; REINDEX INDEX w", 'for a table called small');
builds_with(2, 'ALTER TABLE words SET (parallel_workers = 2); REINDEX INDEX w', 'as the table says');
builds_with(0, 'ALTER TABLE words SET (parallel_workers = 0); REINDEX INDEX w', 'as the table says');
builds_with(0, 'ALTER TABLE words RESET (parallel_workers);
	CREATE TEMP TABLE x AS SELECT * FROM words; CREATE INDEX ON x USING hnsw (v vector_l2_ops)',
	'for a temporary table');
builds_with(0, 'CREATE TABLE few AS SELECT * FROM words LIMIT 100;
	CREATE INDEX ON few USING hnsw (v vector_l2_ops)', 'for few rows');

# from 18 on, the server finds none of our functions with such a path
if ($node->pg_version < 18)
{
	for my $path ('/nowhere', '$libdir')
	{
		$node->append_conf('postgresql.conf', "dynamic_library_path = '$path'");
		$node->reload;
		$node->poll_query_until('postgres',
			"SELECT current_setting('dynamic_library_path') = '$path'");
		builds_with(3, 'REINDEX INDEX w', "where libraries are looked for in $path");
	}
}

# values out of line: there is next to no heap, and as much to do
$node->safe_psql('postgres', q(
	CREATE TABLE far (v vector(500));
	ALTER TABLE far ALTER v SET STORAGE EXTERNAL;
	ALTER TABLE far SET (toast_tuple_target = 128);
	INSERT INTO far SELECT v || v || v || v || v FROM words LIMIT 1000));
builds_with(2, 'CREATE INDEX far_v ON far USING hnsw (v vector_l2_ops)', 'for what is out of line');
check_index($node, 'far_v', 'over values out of line');

# --- expressions -------------------------------------------------------------------

$node->safe_psql('postgres', q(
	CREATE FUNCTION head(v vector) RETURNS vector(50) IMMUTABLE PARALLEL SAFE LANGUAGE sql
		AS 'SELECT subvector(v, 1, 50)';
	CREATE FUNCTION unsafe(v vector) RETURNS vector(50) IMMUTABLE PARALLEL UNSAFE LANGUAGE sql
		AS 'SELECT subvector(v, 1, 50)';
	CREATE FUNCTION tail(v vector) RETURNS vector(50) IMMUTABLE PARALLEL RESTRICTED LANGUAGE plpgsql
		AS 'BEGIN RETURN subvector(v, 51, 50); END';
	CREATE FUNCTION fails(v vector, id int) RETURNS vector(50) IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql
		AS 'BEGIN RETURN subvector(v, 1, 50 + 1 / (id - 7777) * 0); END';
	CREATE FUNCTION fails_in_worker(v vector) RETURNS vector(50) IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
		BEGIN
			IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'parallel worker' THEN
				RAISE 'a worker''s own error' USING ERRCODE = 'VDB01';
			END IF;
			RETURN subvector(v, 1, 50);
		END $$));
builds_with(2, 'CREATE INDEX e ON words USING hnsw ((head(v)::vector(50)) vector_l2_ops)
	WHERE id % 3 <> 0', 'for an expression and a condition');
check_index($node, 'e', 'over an expression');
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'e'"),
	'8000', 'the condition holds in workers too');
builds_with(0, 'CREATE INDEX u ON words USING hnsw ((unsafe(v)::vector(50)) vector_l2_ops)',
	'for an expression that is not parallel safe');
builds_with(0, 'CREATE INDEX p ON words USING hnsw ((tail(v)::vector(50)) vector_l2_ops)',
	'for one that is restricted to the leader');
my ($workers, $error) = build('CREATE INDEX f ON words USING hnsw ((fails(v, id)::vector(50)) vector_l2_ops)',
	fails => 1);
like($error, qr/ERROR:  division by zero/, 'an error is reported, whoever met it');
psql_fails($node, 'CREATE INDEX f ON words USING hnsw ((fails_in_worker(v)::vector(50)) vector_l2_ops)',
	'VDB01', 'a worker.s own error', 'an error that only workers meet');
nothing_is_left('after an error');
$node->safe_psql('postgres', 'DROP INDEX e, u, p');

# --- rows that no sample speaks of ---------------------------------------------------

# a condition that few blocks meet, and most samples have none or one of them
$node->safe_psql('postgres', 'CREATE TABLE log (id int, v vector(3)) WITH (fillfactor = 10, parallel_workers = 1);
	INSERT INTO log SELECT g, ARRAY[g % 101, g % 37, g / 600.0] FROM generate_series(1, 60000) g');
unlike(join('', map { (build('CREATE INDEX log_v ON log USING hnsw (v vector_l2_ops) WHERE id > 59800;
			DROP INDEX log_v'))[1] } 1 .. 10),
	qr/in \d+ partitions/, 'there is room for rows that are all in a few blocks');

# --- groups, one more than there would be, so that both processes have as many ----------

build('CREATE INDEX log_v ON log USING hnsw (v vector_l2_ops)');
check_index($node, 'log_v', 'linked in eight groups');
recall_at_least($node, 'log_v', 0.98, 'linked in eight groups', queries => 500);
$node->safe_psql('postgres', 'DROP INDEX log_v');

# --- memory --------------------------------------------------------------------------

# Anonymous memory of a process and what it has in files, in kB.
sub private_memory
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/status" or return 0;
	my ($kb) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$in>;
	close $in;
	return $kb || 0;
}

# by rule this little memory is for one process
$node->safe_psql('postgres', 'ALTER TABLE words SET (parallel_workers = 3)');
{
	my $limit = 20 * 1024;
	my $holder = hold($node, 'hnsw-build-before-write');
	my $builder = begin_held($node, 'hnsw-build-before-write', 1,
		"SET maintenance_work_mem = '${limit}kB'; SET client_min_messages = error;
		CREATE INDEX big ON words USING hnsw (v vector_l2_ops) WITH (m = 80, ef_construction = 160)");
	my $kb = (shared_memory() - $idle) / 1024;
	my $plain = begin_psql($node, "SET application_name = 'plain'; LOAD 'vdb'; SELECT count(*) FROM words; SELECT pg_sleep(600)");

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'plain' AND wait_event = 'PgSleep'");
	my $common = private_memory($node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE application_name = 'plain'"));
	my @pids = split /\n/, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
		WHERE application_name = 'builder' OR backend_type = 'parallel worker'");

	is(scalar @pids, 4, 'four processes fill the graph');
	$kb += private_memory($_) - $common for @pids;
	cmp_ok($kb, '>', $limit * 0.8, 'they use the memory that they may');
	cmp_ok($kb, '<', $limit * 1.1, 'and no more');
	$node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'plain'");
	await_end($plain);
	let_go($node, $holder);
	ok(await_end($builder), 'a build that was held goes on') or diag(${ $builder->{output} });
	check_index($node, 'big', 'that was held');
	$node->safe_psql('postgres', 'DROP INDEX big');
}

# --- interrupted -----------------------------------------------------------------------

# by an error of a worker
psql_fails($node, "LOAD 'vdb'; SET vdb.stop_at = 'hnsw-build-worker=error'; REINDEX INDEX w",
	'XX000', 'stopped at "hnsw-build-worker"', 'an error in a worker');
nothing_is_left('after an error in a worker');

# by the user, while workers have begun, and while the graph is complete
for my $stop ([ 'hnsw-build-worker', 3 ], [ 'hnsw-build-before-write', 1 ])
{
	my ($point, $waiting) = @$stop;

	for my $how (
		[ "pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'builder'
			AND backend_type = 'client backend'", 'canceling statement due to user request' ],
		[ "pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker' LIMIT 1",
			'terminating .*due to administrator command' ])
	{
		my ($signal, $message) = @$how;
		my $holder = hold($node, $point);
		my $builder = begin_held($node, $point, $waiting, 'REINDEX INDEX w');

		is($node->safe_psql('postgres', 'SELECT phase, blocks_total - blocks_done, tuples_done
				FROM pg_stat_progress_create_index'),
			'building index: linking nodes|0|12000', 'progress of all is told')
		  if $point eq 'hnsw-build-before-write';
		$node->safe_psql('postgres', "SELECT $signal");
		# a leader that is held learns of a worker's end when it goes on
		let_go($node, $holder) if $signal =~ /terminate/;
		ok(!await_end($builder), "a build ends at $point");
		like(${ $builder->{output} }, qr/$message/, "and says why: $message");
		let_go($node, $holder) if $signal =~ /cancel/;
		nothing_is_left("after $message");
		check_index($node, 'w', "after $message");
	}
}

# by the end of a process
$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = 'hnsw-build-worker=crash';
	CREATE INDEX crashed ON words USING hnsw (v vector_l2_ops)");
await_server($node);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'crashed'"), '0',
	'no index after a worker crashed');
check_index($node, 'w', 'after a worker crashed');
$idle = shared_memory();
builds_with(3, 'REINDEX INDEX w', 'after a crash');

# --- beside writers, and tables of other kinds --------------------------------------------

$node->safe_psql('postgres', 'CREATE TABLE r (id serial PRIMARY KEY, v vector(100));
	INSERT INTO r (v) SELECT v FROM words WHERE id <= 4000;
	ALTER TABLE r SET (parallel_workers = 2)');

my $pick = "\\set w random(1, 12000)\n\\set r random(1, 4000)\n";
my $writers = begin_pgbench($node, 3, 6,
	'insert@5' => "$pick INSERT INTO r (v) SELECT v FROM words WHERE id = :w;\n",
	'update@2' => "$pick UPDATE r SET v = (SELECT v FROM words WHERE id = :w) WHERE id = :r;\n",
	'delete@3' => "$pick DELETE FROM r WHERE id = :r;\n");

builds_with(2, 'CREATE INDEX CONCURRENTLY r_v ON r USING hnsw (v vector_l2_ops)', 'while others write');
check_index($node, 'r_v', 'built by three while others write');
builds_with(2, 'REINDEX INDEX CONCURRENTLY r_v', 'again');
check_index($node, 'r_v', 'rebuilt by three while others write');
builds_with(2, "SET maintenance_work_mem = '1MB'; REINDEX INDEX r_v", 'with little memory');
ok(await_end($writers), 'writers do not notice') or diag(${ $writers->{output} });
check_index($node, 'r_v', 'at rest');
recall_at_least($node, 'r_v', 0.95, 'at rest');

$node->safe_psql('postgres', 'DELETE FROM r WHERE id % 2 = 0; VACUUM (INDEX_CLEANUP ON) r;
	INSERT INTO r (v) SELECT v FROM words WHERE id > 10000');
check_index($node, 'r_v', 'built by three and vacuumed');

builds_with(3, 'CREATE UNLOGGED TABLE u AS SELECT * FROM words; ALTER TABLE u SET (parallel_workers = 3);
	CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops)', 'for an unlogged table');
check_index($node, 'u_v', 'of an unlogged table');
builds_with(3, 'ALTER TABLE u SET LOGGED', 'for a table that becomes logged');
$node->stop('immediate');
$node->start;
check_index($node, 'u_v', 'that became logged, after a crash');
check_index($node, 'w', 'after a crash');
$node->stop;

# --- too little shared memory --------------------------------------------------------------

# no file of this server may be larger than 24 MB
my $poor = new_server('poor', 'fsync = off', 'max_parallel_maintenance_workers = 2',
	'maintenance_work_mem = 256MB', 'max_wal_size = 100MB');

$poor->safe_psql('postgres', q(
	CREATE TABLE z (v vector(2));
	INSERT INTO z SELECT '[0,0]' FROM generate_series(1, 30000);
	INSERT INTO z SELECT ARRAY[cos(g), sin(g)] FROM generate_series(1, 500) g;
	ALTER TABLE z SET (parallel_workers = 2)));
$poor->stop;
for my $type (qw(posix mmap))
{
	$poor->append_conf('postgresql.conf', "dynamic_shared_memory_type = $type");
	system_or_bail('bash', '-c', 'ulimit -f 24576; exec "$@"', 'bash', 'pg_ctl', '-w', '-D',
		$poor->data_dir, '-l', $poor->logfile, 'start');
	my ($status, $out, $err) = $poor->psql('postgres',
		'CREATE INDEX z_v ON z USING hnsw (v vector_cosine_ops) WITH (m = 100, ef_construction = 200)');

	is($status, 0, "$type: too little shared memory is no error");
	like($err, qr/WARNING:  not enough shared memory .*DETAIL: .* kB are needed: .*HINT:  Enlarge/s,
		"$type: but a warning");
	check_index($poor, 'z_v', "$type: built alone for want of shared memory");
	is($poor->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'z_v'"), '500',
		"$type: and complete");
	$poor->safe_psql('postgres', 'DROP INDEX z_v');
	system_or_bail('pg_ctl', '-D', $poor->data_dir, '-m', 'fast', 'stop');
}

done_testing();
