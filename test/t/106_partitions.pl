# Claims that an index whose graph does not fit maintenance_work_mem is as good
# as one that does, whatever the data, and whether that was known before the
# first row was read or not; that it takes no more memory than it may, and that
# nothing is left of its files, whatever befalls it.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Find;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'partitions', 'fsync = off', 'restart_after_crash = on', 'maintenance_work_mem = 256MB',
	'max_parallel_maintenance_workers = 0', 'dynamic_shared_memory_type = mmap',
	'max_worker_processes = 16', 'max_parallel_workers = 16');

# What a statement says to its client: in how many partitions it built.
sub build
{
	my $err = notices_of($node, @_);

	unlike($err, qr/WARNING/, 'and nobody is warned');
	return ($err =~ /rows in (\d+) partitions/ ? $1 : 0, $err);
}

sub builds_in
{
	my ($least, $most, $sql, $when) = @_;
	my ($had) = build($sql);

	return ok($had >= $least && $had <= $most, "$least to $most partitions $when") || diag("$had");
}

# Nothing is left of a build: files, shared memory, processes.
sub nothing_is_left
{
	my ($when) = @_;
	my @left;

	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
	find(sub { push @left, $File::Find::name if -f && $File::Find::name =~ /pgsql_tmp/ },
		$node->data_dir . '/base');
	return is("@left", '', "no file is left $when");
}

sub rows_of
{
	my ($index) = @_;
	return $node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = '$index'");
}

# A build that waits at a stop point, and who keeps it there.
sub wait_at
{
	my ($point, $sql) = @_;
	my $holder = hold($node, $point);

	return ($holder, begin_held($node, $point, 1, "SET client_min_messages = error; $sql"));
}

load_words($node);
builds_in(0, 0, 'CREATE INDEX w ON words USING hnsw (v vector_l2_ops)', 'with memory enough');
my $whole = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('w', 10, 1500)");

# --- as good as in one piece -------------------------------------------------------------

for my $case ([ '4MB', 3, 6 ], [ '2MB', 6, 14 ], [ '1MB', 12, 30 ])
{
	my ($memory, $least, $most) = @$case;

	builds_in($least, $most, "SET maintenance_work_mem = '$memory'; REINDEX INDEX w", "with $memory");
	check_index($node, 'w', "built with $memory");
	recall_at_least($node, 'w', $whole - 0.01, "built with $memory", queries => 1500);
	is($node->safe_psql('postgres', "SELECT unreachable FROM vdb.check_index('w')"), '0',
		'every node is reachable');
	is(rows_of('w'), '12000', 'each row is counted once');
	nothing_is_left("with $memory");
}

# by several, who share the work of each partition
builds_in(3, 8, "SET max_parallel_maintenance_workers = 3; ALTER TABLE words SET (parallel_workers = 3);
	SET maintenance_work_mem = '4MB'; REINDEX INDEX w", 'by four');
check_index($node, 'w', 'built by four');
recall_at_least($node, 'w', $whole - 0.01, 'built by four', queries => 1500);
is(rows_of('w'), '12000', 'each row is counted once');
nothing_is_left('by four');
$node->safe_psql('postgres', 'ALTER TABLE words RESET (parallel_workers)');

# what is written and removed afterwards
$node->safe_psql('postgres', q(INSERT INTO words (word, v) SELECT 'again', v FROM words WHERE id % 10 = 0;
	DELETE FROM words WHERE id % 7 = 0 OR word = 'again'));
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) words');
check_index($node, 'w', 'after inserts, deletes and vacuum');
recall_at_least($node, 'w', $whole - 0.01, 'after inserts, deletes and vacuum', queries => 1500);

# --- other distances, types and lengths --------------------------------------------------

for my $distance (qw(ip cosine l1))
{
	builds_in(6, 14, "SET maintenance_work_mem = '2MB';
		CREATE INDEX d ON words USING hnsw (v vector_${distance}_ops)", "for $distance");
	check_index($node, 'd', "for $distance");
	recall_at_least($node, 'd', 0.9, "for $distance") unless $distance eq 'ip';
	$node->safe_psql('postgres', 'DROP INDEX d');
}

$node->safe_psql('postgres', 'CREATE TABLE kinds AS
	SELECT id, binary_quantize(v)::bit(100) AS b, v::sparsevec(100) AS s, v::halfvec(100) AS h FROM words');
for my $kind ('b bit_hamming_ops', 'b bit_jaccard_ops', 's sparsevec_l2_ops', 's sparsevec_ip_ops', 'h halfvec_l2_ops')
{
	builds_in(3, 40, "SET maintenance_work_mem = '2MB'; CREATE INDEX k ON kinds USING hnsw ($kind)",
		"for $kind");
	check_index($node, 'k', "for $kind");
	$node->safe_psql('postgres', 'DROP INDEX k');
}

# graphs of hardly a hundred nodes
$node->safe_psql('postgres', q(CREATE TABLE long (v vector(6000));
	INSERT INTO long SELECT (v::real[] || array_fill(id::real, ARRAY[5900]))::vector
	FROM words WHERE id <= 300));
builds_in(6, 9, "SET maintenance_work_mem = '1MB'; CREATE INDEX long_v ON long USING hnsw (v vector_l2_ops)",
	'of long vectors');
check_index($node, 'long_v', 'of few and long vectors');

# --- data without structure ----------------------------------------------------------------

for my $case (
	[ 'equal', "ARRAY[1, 2, 3]" ],
	[ 'ten', 'ARRAY[g % 10, 2, 3]' ],
	[ 'line', 'ARRAY[g, 0, 0]' ],
	[ 'overflow', "ARRAY[g * 1e34, 1e38, -1e38]" ],
	[ 'clusters', 'ARRAY[(g % 3) * 1e6 + random(), (g % 2) * 1e6 + random(), random()]' ])
{
	my ($name, $vector) = @$case;

	$node->safe_psql('postgres', "CREATE TABLE $name AS SELECT g AS id, ($vector)::real[]::vector(3) AS v
		FROM generate_series(1, 8000) g");
	for my $m (2, 16)
	{
		builds_in(3, 40, "SET maintenance_work_mem = '1MB';
			CREATE INDEX ${name}_v ON $name USING hnsw (v vector_l2_ops) WITH (m = $m)", "of $name, m = $m");
		check_index($node, "${name}_v", "of $name, m = $m");
		is($node->safe_psql('postgres', "SELECT unreachable FROM vdb.check_index('${name}_v')"), '0',
			'every node is reachable');
		$node->safe_psql('postgres', "DROP INDEX ${name}_v");
	}
}

# --- fewer rows than a sample suggested -------------------------------------------------------

# zero vectors have no direction, so they are not indexed
$node->safe_psql('postgres', q(CREATE TABLE nothing (id int, v vector(100));
	INSERT INTO nothing SELECT g, array_fill(0, ARRAY[100])::vector FROM generate_series(1, 8000) g));
for my $workers (0, 2)
{
	$node->safe_psql('postgres', "ALTER TABLE nothing SET (parallel_workers = $workers)");
	builds_in(0, 0, "SET max_parallel_maintenance_workers = 2; SET maintenance_work_mem = '1MB';
		CREATE INDEX nothing_v ON nothing USING hnsw (v vector_cosine_ops)", "of no rows, $workers workers");
	is(rows_of('nothing_v'), '0', 'no row is counted');
	$node->safe_psql('postgres', "INSERT INTO nothing SELECT id, v FROM words WHERE id <= 10");
	is($node->safe_psql('postgres', "SET enable_seqscan = off;
			SELECT count(*) FROM (SELECT FROM nothing ORDER BY v <=> (SELECT v FROM words LIMIT 1) LIMIT 20) found"),
		$node->safe_psql('postgres', "SELECT count(*) FROM words WHERE id <= 10"),
		'the index takes rows');
	check_index($node, 'nothing_v', "that was built of no rows, $workers workers");
	nothing_is_left("of no rows, $workers workers");
	$node->safe_psql('postgres', 'DROP INDEX nothing_v; DELETE FROM nothing WHERE id <= 10 AND vector_norm(v) > 0');
}

# --- more rows than a sample suggested --------------------------------------------------------

# all in a few of many blocks, so that hardly a sample has any
$node->safe_psql('postgres', 'CREATE TABLE uneven (id int, pad text, v vector(100));
	ALTER TABLE uneven ALTER pad SET STORAGE PLAIN;
	INSERT INTO uneven SELECT g, repeat($$x$$, 6000), NULL FROM generate_series(1, 20000) g;
	INSERT INTO uneven SELECT id, NULL, v FROM words WHERE id <= 1500');
my $indexed = $node->safe_psql('postgres', 'SELECT count(v) FROM uneven');

for my $workers (0, 3)
{
	$node->safe_psql('postgres', "ALTER TABLE uneven SET (parallel_workers = $workers)");
	builds_in(0, 1, "SET max_parallel_maintenance_workers = 3;
		CREATE INDEX uneven_v ON uneven USING hnsw (v vector_l2_ops)", 'where memory is enough');
	check_index($node, 'uneven_v', "over a table of which no sample speaks, $workers workers");
	recall_at_least($node, 'uneven_v', 0.95, "over a table of which no sample speaks, $workers workers");
	is(rows_of('uneven_v'), $indexed, 'each row is counted once');
	nothing_is_left("of a table of which no sample speaks, $workers workers");
	$node->safe_psql('postgres', 'DROP INDEX uneven_v');
}

# --- a worker that comes late ----------------------------------------------------------------

# The condition holds only when workers are there, so the sample has no row.
$node->safe_psql('postgres', q(
	CREATE FUNCTION is_loading(id int) RETURNS bool IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_stat_clear_snapshot();
			RETURN EXISTS (SELECT FROM pg_stat_progress_create_index WHERE phase = 'building index: loading tuples');
		END $$;
	CREATE TABLE late (id int, v vector(4000)) WITH (parallel_workers = 2);
	INSERT INTO late SELECT id, (v::real[] || array_fill(id::real, ARRAY[3900]))::vector
	FROM words WHERE id <= 300));
{
	my ($holder, $builder) = wait_at('hnsw-build-worker', "SET statement_timeout = '60s';
		SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 2;
		CREATE INDEX late_v ON late USING hnsw (v vector_l2_ops) WHERE is_loading(id)");

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE application_name = 'builder' AND wait_event = 'ParallelCreateIndexScan'");
	let_go($node, $holder);
	ok(await_end($builder), 'workers may begin when the graph is full already') or diag(${ $builder->{output} });
	is(rows_of('late_v'), $node->safe_psql('postgres', 'SELECT count(*) FROM late'),
		'each row is counted once');
	is($node->safe_psql('postgres', "SELECT unreachable FROM vdb.check_index('late_v')"), '0',
		'every node is reachable');
	nothing_is_left('of workers that began late');
}

# --- memory --------------------------------------------------------------------------------------

# Anonymous memory of a process and what it has mapped from files of the server, in kB.
sub memory_of
{
	my ($pid) = @_;
	my $kb = 0;

	open my $in, '<', "/proc/$pid/status" or return 0;
	while (my $line = <$in>) { $kb += $1 if $line =~ /^RssAnon:\s+(\d+)/ }
	close $in;
	return $kb;
}

{
	my $limit = 16 * 1024;
	my ($holder, $builder) = wait_at('hnsw-build-before-write', "SET maintenance_work_mem = '${limit}kB';
		CREATE INDEX big ON words USING hnsw (v vector_l2_ops) WITH (m = 100, ef_construction = 200)");
	my $plain = begin_psql($node, "SET application_name = 'plain'; LOAD 'vdb'; SELECT count(*) FROM words; SELECT pg_sleep(600)");

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'plain' AND wait_event = 'PgSleep'");
	my ($built, $common) = map { memory_of($node->safe_psql('postgres',
				"SELECT pid FROM pg_stat_activity WHERE application_name = '$_'")) } qw(builder plain);

	cmp_ok($built - $common, '<', $limit * 1.1, 'no more memory than allowed');
	cmp_ok($built - $common, '>', $limit * 0.4, 'but as much as serves');
	is($node->safe_psql('postgres', 'SELECT phase, tuples_done >= tuples_total * 0.99 FROM pg_stat_progress_create_index'),
		'building index: building partitions|t', 'progress is told to the end');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'plain'");
	await_end($plain);
	let_go($node, $holder);
	ok(await_end($builder), 'a build that was held goes on') or diag(${ $builder->{output} });
	check_index($node, 'big', 'that was held');
	$node->safe_psql('postgres', 'DROP INDEX big');
}

# --- ends before the end ---------------------------------------------------------------------------

my $small = "SET maintenance_work_mem = '4MB'; SET max_parallel_maintenance_workers = 3";

$node->safe_psql('postgres', 'ALTER TABLE words SET (parallel_workers = 3)');
psql_fails($node, "SET temp_file_limit = '500kB'; $small; REINDEX INDEX w", '53400',
	'temporary file size exceeds', 'files that may not be that large');
nothing_is_left('where files may not be that large');
for my $point (qw(hnsw-build-worker hnsw-build-before-merge hnsw-build-help-link hnsw-build-before-write))
{
	psql_fails($node, "LOAD 'vdb'; SET vdb.stop_at = '$point=error'; $small; REINDEX INDEX w",
		'XX000', "stopped at \"$point\"", "an error at $point");
	nothing_is_left("after an error at $point");
	check_index($node, 'w', "after an error at $point");

	my ($holder, $builder) = wait_at($point, "$small; REINDEX INDEX w");

	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'builder' AND backend_type = 'client backend'");
	ok(!await_end($builder), "a build is cancelled at $point");
	like(${ $builder->{output} }, qr/canceling statement due to user request/, 'and says why');
	let_go($node, $holder);
	nothing_is_left("after a build was cancelled at $point");
}
for my $point (qw(hnsw-build-before-merge hnsw-build-help-link))
{
	$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = '$point=crash'; $small;
		CREATE INDEX crashed ON words USING hnsw (v vector_l2_ops)");
	await_server($node);
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'crashed'"), '0',
		"no index after a crash at $point");
	check_index($node, 'w', "after a crash at $point");
	nothing_is_left("after a crash at $point");
}

# --- through the log -----------------------------------------------------------------------------------

$node->safe_psql('postgres', "$small; CREATE UNLOGGED TABLE u AS SELECT * FROM words;
	CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops); REINDEX INDEX CONCURRENTLY w");
check_index($node, 'u_v', 'of an unlogged table');
$node->stop('immediate');
$node->start;
check_index($node, 'w', 'built in partitions, after a crash');
check_index($node, 'u_v', 'emptied by the crash');
$node->stop;

done_testing();
