# Claims that a device finds what the processor finds, whatever others do with the mirror meanwhile, and that nobody gets an
# error where it fails, hangs, is lost, or is not there.  VDB_GPU_LIBRARY=vdb_gpu has a real device looked at.

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

my $node = new_server('gpu', 'restart_after_crash = on', 'fsync = off', q(shared_preload_libraries = 'vdb'),
	'vdb.mirror_memory = 64MB', 'vdb.maintenance = off', 'vdb.gpu = on', "vdb.gpu_library = '$library'",
	'vdb.gpu_timeout = ' . (gpu_is_real() ? '5s' : '700ms'));

sub sql { return $node->safe_psql('postgres', shift) }

sub serves { return $node->poll_query_until('postgres', q(SELECT state = 'serving' FROM vdb_stat_gpu)) }

sub stat_of { return sql("SELECT $_[0] FROM vdb_stat_gpu") }

# Served, rows compared, differences.
sub check
{
	my ($index, $questions, $m) = @_;
	return sql("SELECT served, rows, differences FROM vdb.check_gpu('$index', $questions, $m)");
}

sub finds
{
	my ($claim, $index, $questions, $m, $rows) = @_;
	my $found = check($index, $questions, $m);
	return is($found, 't|' . ($rows // $questions * $m) . '|0', $claim);
}

sub falls_back
{
	is(check('t_i', 2, 10), 'f||', "$_[0]: it is done without the device");
	return is_right($_[0]);
}

# Exact searches, which ask the device first: the same with it and without.
my $exact = 'SET enable_indexscan = off; SET vdb.enable_exact_scan = off; SET enable_sort = off;';
my $plain = 'SET enable_indexscan = off; SET vdb.enable_exact_scan = off; SET vdb.enable_mirror = off;';

sub is_right
{
	my ($claim, $table, $distance, $index) = @_;
	$table //= 't';
	$distance //= 'v <-> q';
	$index //= 't_i';
	my $questions = "(SELECT array_agg(v) AS a FROM (SELECT v FROM $table WHERE v IS NOT NULL AND id % 50 = 7 ORDER BY id LIMIT 40) s) s, unnest(a) WITH ORDINALITY u(q, n)";
	(my $one = $distance) =~ s/\bq\b/(SELECT v FROM $table WHERE id = 57)/;
	my @queries = (
		"SELECT string_agg(d::text, ' ' ORDER BY d) FROM (SELECT $one AS d FROM $table ORDER BY $one LIMIT 20) s",
		"SELECT string_agg(coalesce(d::text, 'null'), ' ' ORDER BY i) FROM (SELECT d, row_number() OVER () AS i FROM
			(SELECT $one AS d FROM $table ORDER BY $one LIMIT 100000) s) s",
		"SELECT string_agg(n || ':' || d, ' ' ORDER BY n, d) FROM $questions, LATERAL (SELECT $distance AS d FROM $table ORDER BY $distance LIMIT 5) l",
		"SELECT string_agg(query_no || ':' || distance, ' ' ORDER BY query_no, distance) FROM
			vdb.search_batch('$index', (SELECT a FROM $questions LIMIT 1), 7)");

	is(sql("$exact " . join ';', @queries), sql("$plain " . join ';', @queries), "$claim: exact searches are right");
	return;
}

# --- the library that is installed, where there is no device ------------------------------------

{
	my $off = PostgreSQL::Test::Cluster->new('off');

	$off->init;
	$off->append_conf('postgresql.conf', "shared_preload_libraries = 'vdb'\nvdb.mirror_memory = 4MB\nvdb.gpu = on\n");
	$off->start;
	$off->safe_psql('postgres', q(CREATE EXTENSION vdb; CREATE TABLE t (v vector(3)); INSERT INTO t VALUES ('[1,2,3]');
		CREATE INDEX t_i ON t USING hnsw (v vector_l2_ops); SELECT vdb.load_mirror('t_i')));
	$off->poll_query_until('postgres', q(SELECT state = 'serving' OR last_error IS NOT NULL FROM vdb_stat_gpu));
	my $state = $off->safe_psql('postgres', 'SELECT state, last_error FROM vdb_stat_gpu');

	like($state, qr/^serving\||^off\|(no device: \w+|.*vdb_gpu\S* cannot open)/, 'there is a device, or the reason why there is none');
	is($off->safe_psql('postgres', q(SELECT served FROM vdb.check_gpu('t_i'))), $state =~ /^serving/ ? 't' : 'f', 'which is no error');
	$off->append_conf('postgresql.conf', "vdb.gpu_library = 'no_such_library'");
	$off->restart;
	$off->poll_query_until('postgres', q(SELECT state = 'serving' OR last_error IS NOT NULL FROM vdb_stat_gpu));
	like($off->safe_psql('postgres', 'SELECT state, last_error FROM vdb_stat_gpu'), qr/^off\|.*no_such_library/, 'a library that is not there');
	$off->append_conf('postgresql.conf', 'vdb.gpu = off');
	$off->restart;
	is($off->safe_psql('postgres', q(SELECT count(*) FROM vdb_stat_gpu)), '0', 'a server that wants none shows none');
	is($off->safe_psql('postgres', q(SELECT vdb.load_mirror('t_i'); SELECT served FROM vdb.check_gpu('t_i'))), "1\nf", 'and has none');
	$off->stop;
}

# --- what a search returns -----------------------------------------------------------------------

sql(q(
	CREATE TABLE t (id serial PRIMARY KEY, v vector(20));
	CREATE FUNCTION fresh(dims int) RETURNS vector LANGUAGE sql VOLATILE AS
		'SELECT array_agg(random() - .5)::vector FROM generate_series(1, dims)';
	INSERT INTO t (v) SELECT fresh(20) FROM generate_series(1, 12000);
	INSERT INTO t (v) SELECT v FROM t WHERE id <= 50;
	INSERT INTO t (v) SELECT NULL FROM generate_series(1, 5);
	INSERT INTO t (v) SELECT array_fill(0, ARRAY[20])::vector FROM generate_series(1, 5);
	CREATE INDEX t_i ON t USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	CREATE INDEX t_c ON t USING ivfflat (v vector_cosine_ops) WITH (lists = 10);
	CREATE INDEX t_p ON t USING ivfflat (v vector_ip_ops) WITH (lists = 10);
	CREATE INDEX t_h ON t USING ivfflat ((v::halfvec(20)) halfvec_l2_ops) WITH (lists = 10);
	CREATE TABLE w (id serial, v vector(777));
	INSERT INTO w (v) SELECT fresh(777) FROM generate_series(1, 700);
	CREATE INDEX w_i ON w USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	CREATE TABLE e (v vector(5));
	CREATE INDEX e_i ON e USING hnsw (v vector_l2_ops);
	CREATE TABLE far (id serial, v vector(8));
	INSERT INTO far (v) SELECT fresh(8) FROM generate_series(1, 2000);
	CREATE INDEX far_i ON far USING hnsw (v vector_ip_ops)));
ok(serves(), 'there is a device');
is(stat_of('device'), 'test device', 'which has a name') if !gpu_is_real();
psql_fails($node, q(SELECT * FROM vdb.check_gpu('t_i')), '55000', 'has no mirror.*Call vdb.load_mirror', 'an index without a mirror');
sql("SELECT vdb.load_mirror('$_')") for qw(t_i t_c t_p t_h w_i e_i);
finds('euclidean', 't_i', 16, 100);
finds('cosine', 't_c', 16, 100);
finds('inner product', 't_p', 16, 100);
finds('halfvec', 't_h', 16, 100);
finds('one question', 't_i', 1, 10);
finds('few questions', 't_i', 3, 10);
finds('some questions', 't_i', 30, 10);
finds('as many questions as there can be', 't_i', 128, 50);
finds('more, in parts', 't_i', 300, 20);
finds('one row', 't_i', 5, 1);
finds('as many rows as there can be', 't_i', 20, 2048);
finds('other dimensions', 'w_i', 10, 100);
finds('more than there are', 'w_i', 10, 1000, 7000);
finds('many of many', 'w_i', 128, 2048, 128 * 700);
finds('none', 'e_i', 10, 10, 0);
psql_fails($node, q(SELECT * FROM vdb.check_gpu('t_i', 0, 10)), '22023', 'between 1 and 1000', 'no question');
psql_fails($node, q(SELECT * FROM vdb.check_gpu('t_i', 1, 2049)), '22023', 'between 1 and 2048', 'too many rows');
psql_fails($node, q(CREATE ROLE ann; SET ROLE ann; SELECT * FROM vdb.check_gpu('t_i')), '42501', 'must be owner|permission denied', 'another user\'s index');
is(stat_of('requests > 15, questions > 700, batches > 15, fallbacks, bytes > 1000000, last_error'), 't|t|t|0|t|', 'all of it is counted');

# --- exact searches --------------------------------------------------------------------------------

{
	my $before = stat_of('questions');

	is_right('euclidean');
	cmp_ok(stat_of('questions'), '>=', $before + 81, 'by the device: one by one, in a join and in a batch');
	is_right('cosine', 't', 'v <=> q', 't_c');
	is_right('inner product', 't', 'v <#> q', 't_p');
	is_right('more rows than the first', 'w', 'v <-> q', 'w_i');
	is(stat_of('fallbacks'), '0', 'nothing is done twice');
	sql(q(SELECT vdb.load_mirror('far_i');
		INSERT INTO far (v) SELECT (SELECT array_agg(1e19 * (random() - .5)) FROM generate_series(1, 8) WHERE i > 0)::vector FROM generate_series(1, 6) i));
	is_right('rows of which nothing is known, some of which are the nearest', 'far', 'v <#> q', 'far_i');
	sql('DROP TABLE far');
	like(sql("$exact EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 57) LIMIT 10"),
		qr/Mirror Passes: 1\n\s+Distances: [12]\d\n/, 'few rows are measured');
}

# --- mirrors that change ---------------------------------------------------------------------------

sql('INSERT INTO t (v) SELECT fresh(20) FROM generate_series(1, 3)');
finds('rows that came', 't_i', 16, 100);
sql('DELETE FROM t WHERE id % 3 = 0');
sql('VACUUM (INDEX_CLEANUP ON) t');
finds('rows that went', 't_i', 16, 100);
sql('INSERT INTO t (v) SELECT fresh(20) FROM generate_series(1, 9000)');
finds('rows in their places, and new ones', 't_i', 16, 2000);
is_right('rows that came and went');
sql(q(SELECT vdb.drop_mirror('t_i'); SELECT vdb.load_mirror('t_i')));
finds('another mirror', 't_i', 16, 100);
sql(q(INSERT INTO e SELECT fresh(5) FROM generate_series(1, 10)));
finds('one that was empty', 'e_i', 10, 20, 100);

# all that is found goes before it is handed out
sql(q(
	CREATE TABLE g (id serial, v vector(2));
	INSERT INTO g (v) SELECT ('[' || i || ',1]')::vector FROM generate_series(1, 900) i;
	CREATE INDEX g_i ON g USING ivfflat (v vector_l2_ops) WITH (lists = 1);
	SELECT vdb.load_mirror('g_i')));
finds('one of which', 'g_i', 1, 10);
sql('DELETE FROM g WHERE id <= 600');
{
	my $holder = hold($node, 'mirror-found');
	my $reader = begin_held($node, 'mirror-found', 1, "$exact SELECT array_agg(id) FROM (SELECT id FROM g ORDER BY v <-> '[0,1]' LIMIT 5) s");

	sql('VACUUM (INDEX_CLEANUP ON) g');
	let_go($node, $holder);
	await_end($reader);
	like(${ $reader->{output} }, qr/^\{601,602,603,604,605\}$/m, 'all that was found goes: those behind it are found');
}
sql('DROP TABLE g');

my $bytes = stat_of('bytes');

sql(q(SELECT vdb.drop_mirror(i) FROM unnest('{t_c,t_p,t_h}'::regclass[]) i));
ok($node->poll_query_until('postgres', "SELECT bytes < $bytes FROM vdb_stat_gpu"), 'mirrors that go leave the device');

# a mirror that is more than is copied at once
sql(q(
	CREATE TABLE big (id serial, v vector(2000));
	INSERT INTO big (v) SELECT array_fill(i::real, ARRAY[2000])::vector FROM generate_series(1, 9000) i;
	CREATE INDEX big_i ON big USING ivfflat (v vector_l2_ops) WITH (lists = 1);
	SELECT vdb.load_mirror('big_i')));
is(check('big_i', 1, 10), 'f||', 'who asks first does not wait for it');
ok($node->poll_query_until('postgres', q(SELECT served AND differences = 0 FROM vdb.check_gpu('big_i', 1, 10))), 'soon it is there');

# memory: the one that was searched longest ago goes, and one that is too large never comes
finds('one that stays', 't_i', 1, 10);
$node->append_conf('postgresql.conf', 'vdb.gpu_memory = 4MB');
$node->reload;
sleep 0.3;
is(check('big_i', 1, 10), 't|10|0', 'one that is current is searched');
sql('INSERT INTO big (v) SELECT v FROM big WHERE id = 1');
is(check('big_i', 1, 10), 'f||', 'one that is written to is too large');
like(stat_of('last_error'), qr/does not fit the memory/, 'as is said');
cmp_ok(stat_of('bytes'), '<', 4 << 20, 'and leaves the device');
finds('others are served', 't_i', 1, 10);
$node->append_conf('postgresql.conf', 'vdb.gpu_memory = 0');
$node->reload;
ok($node->poll_query_until('postgres', q(SELECT served AND differences = 0 FROM vdb.check_gpu('big_i', 1, 10))), 'with more memory it comes back');
sql('DROP TABLE big');

# --- everybody at once --------------------------------------------------------------------------------

sql(q(
	CREATE FUNCTION expect_no_difference(questions int, m int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		c record;
	BEGIN
		SELECT * FROM vdb.check_gpu('t_i', questions, m) INTO c;
		IF c.differences > 0 THEN RAISE '% differences', c.differences; END IF;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
	END $$;
	CREATE FUNCTION load() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM vdb.load_mirror('t_i');
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		IF sqlerrm !~ 'dropped while' THEN RAISE; END IF;
	END $$));
my %work = (
	'one@6' => 'SELECT expect_no_difference(1, 20);',
	'some@4' => 'SELECT expect_no_difference(7, 200);',
	'writer@6' => '\set id random(1, 20000)
		BEGIN; INSERT INTO t (v) SELECT fresh(20) FROM generate_series(1, 3); DELETE FROM t WHERE id = :id OR id = :id + 1;
		UPDATE t SET v = fresh(20) WHERE id = :id + 2; COMMIT;',
	'vacuum@1' => 'SET client_min_messages = error; VACUUM (INDEX_CLEANUP ON, SKIP_LOCKED) t;',
	'load@1' => 'SELECT load();');
{
	my ($before, $served) = (stat_of('questions'), stat_of('fallbacks'));
	my $bench = begin_pgbench($node, 8, 8, %work);

	ok(await_end($bench), 'searches beside writers and VACUUM') or diag(${ $bench->{output} });
	unlike(${ $bench->{output} }, qr/aborted|ERROR/, 'without an error');
	cmp_ok(stat_of('questions'), '>', $before + 100, 'on the device');
	$bench = begin_pgbench($node, 6, 8, %work, 'drop@1' => q(SELECT vdb.drop_mirror('t_i');));
	ok(await_end($bench), 'and mirrors that come and go') or diag(${ $bench->{output} });
	unlike(${ $bench->{output} }, qr/aborted|ERROR/, 'without an error');
	sql(q(SELECT load()));
	ok($node->poll_query_until('postgres', q(SELECT served AND differences = 0 FROM vdb.check_gpu('t_i', 20, 100))), 'in the end');
	cmp_ok(stat_of('batches'), '<', stat_of('requests'), 'some went together');
}

# --- who waits --------------------------------------------------------------------------------------------

# a client that goes with a slot gives it back
{
	my (undef, undef, $err) = $node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = 'gpu-claimed=error';" .
		"SELECT * FROM vdb.check_gpu('t_i', 1, 10);\n" x 40, on_error_stop => 0);

	is(scalar(() = $err =~ /ERROR:.*gpu-claimed/g), 40, 'errors with a claim');
	finds('no slot is lost', 't_i', 1, 10);
}

SKIP:
{
	skip 'a device does not fail when it is told', 1 if gpu_is_real();

	# cancelled while the device is at it
	fail_with('search slow');
	{
		my (undef, undef, $err) = $node->psql('postgres', "SET statement_timeout = '10ms';" .
			"SELECT count(vdb.check_gpu('t_i', 128, 10)) FROM generate_series(1, 100);\n" x 40, on_error_stop => 0);

		is(scalar(() = $err =~ /canceling statement/g), 40, 'searches are cancelled');
	}
	for my $how (qw(cancel terminate))
	{
		for (1 .. 3)
		{
			my $client = begin_psql($node, q(SET application_name = 'waits'; SELECT count(vdb.check_gpu('t_i', 128, 10)) FROM generate_series(1, 100)));

			$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND state = 'active'));
			sleep 0.01;
			sql("SELECT pg_${how}_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
			await_end($client);
			like(${ $client->{output} }, $how eq 'cancel' ? qr/canceling statement/ : qr/terminating connection/, "$how ends a search") if $_ == 1;
		}
	}
	finds('slow answers are answers', 't_i', 4, 10);

	# mirrors that go leave the device also where it is never idle
	{
		sql(q(SELECT vdb.load_mirror('t_c')));
		$node->poll_query_until('postgres', q(SELECT served FROM vdb.check_gpu('t_c', 1, 10)));
		my $before = stat_of('bytes');
		my $bench = begin_pgbench($node, 6, 6, 'busy' => q(SELECT served FROM vdb.check_gpu('t_i', 1, 10);));

		sleep 1;
		sql(q(SELECT vdb.drop_mirror('t_c')));
		sleep 3;
		cmp_ok(stat_of('bytes'), '<', $before, 'mirrors that go leave a busy device');
		await_end($bench);
	}
	fail_with('');
	finds('and slots are all there', 't_i', 300, 10);

	# --- faults ---------------------------------------------------------------------------------------------

	my $fallbacks = stat_of('fallbacks');

	fail_with('search out_of_memory');
	falls_back('no memory for a search');
	is(stat_of('last_error'), 'test of search: out_of_memory', 'as is said');
	fail_with('search failed');
	falls_back('a search that fails');
	is(stat_of("last_error, state, fallbacks >= $fallbacks + 2"), 'test of search: failed|serving|t', 'it is said and counted, and the process stays');
	like(slurp_file($node->logfile), qr/LOG:  the device cannot be used: test of search: failed/, 'and logged');
	{
		my (undef, undef, $err) = $node->psql('postgres', q(SET client_min_messages = log; SELECT vdb.check_gpu('t_i', 1, 10)));

		unlike($err, qr/test of search/, 'where the client does not see it');
	}
	fail_with('');
	ok($node->poll_query_until('postgres', q(SELECT served AND differences = 0 FROM vdb.check_gpu('t_i', 1, 10))), 'afterwards it serves again');

	sql(q(INSERT INTO t (v) SELECT fresh(20)));
	fail_with('write failed');
	falls_back('a copy that fails');
	fail_with('');
	finds('is made up for', 't_i', 16, 10);
	sql(q(INSERT INTO t (v) SELECT fresh(20)));
	fail_with('write out_of_memory');
	falls_back('no memory for a copy');
	fail_with('create out_of_memory');
	sql(q(SELECT vdb.drop_mirror('t_i'); SELECT vdb.load_mirror('t_i')));
	falls_back('no memory for a mirror');
	fail_with('create failed');
	sql(q(SELECT vdb.drop_mirror('t_i'); SELECT vdb.load_mirror('t_i')));
	falls_back('a mirror that cannot be made');
	fail_with('');
	finds('and then can', 't_i', 16, 10);

	fail_with('search lost');
	falls_back('a device that is lost');
	is(stat_of('state, bytes, last_error'), 'restarting|0|test of search: lost', 'has the process begin again');
	falls_back('until then');
	fail_with('');
	ok(serves(), 'it comes back');
	finds('and finds', 't_i', 16, 10);

	fail_with('search hang');
	falls_back('a device that hangs');
	ok($node->poll_query_until('postgres', q(SELECT state = 'restarting' FROM vdb_stat_gpu)), 'has it begin again');
	like(stat_of('last_error'), qr/did not answer within 700 ms/, 'and that is said');
	fail_with('');
	ok(serves(), 'it comes back');
	finds('and finds', 't_i', 16, 10);

	# the server can be stopped meanwhile, and is sound afterwards
	fail_with('search hang');
	my $client = begin_psql($node, q(SELECT vdb.check_gpu('t_i', 1, 10)));
	sleep 0.3;
	$node->stop('fast');
	await_end($client);
	fail_with('probe hang');
	$node->start;
	unlike(slurp_file($node->logfile), qr/was not properly shut down/, 'a hang does not keep the server from ending');
	$node->poll_query_until('postgres', q(SELECT state = 'starting' FROM vdb_stat_gpu));
	sql('CREATE DATABASE other');
	my ($status) = $node->psql('postgres', q(SET statement_timeout = '20s'; DROP DATABASE other));

	is($status, 0, 'nor databases from being dropped');
	fail_with('probe failed');
	$node->restart;
	ok($node->poll_query_until('postgres', q(SELECT state = 'off' AND last_error IS NOT NULL FROM vdb_stat_gpu)), 'no device when the server begins');
	is(stat_of('last_error'), 'test of probe: failed', 'is said');
	fail_with('');
	$node->restart;
	sql(q(SELECT vdb.load_mirror('t_i')));
	ok(serves(), 'another time there is one');
}

# --- who ends ------------------------------------------------------------------------------------------------

finds('before the process ends', 't_i', 16, 10);
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vdb gpu server'));
ok($node->poll_query_until('postgres', q(SELECT state <> 'serving' FROM vdb_stat_gpu)), 'it is terminated');
is(check('t_i', 1, 10), 'f||', 'searches go on');
ok(serves(), 'it begins again');
finds('and finds', 't_i', 16, 10);

for my $who ('vdb gpu server', 'client backend')
{
	my $client = begin_psql($node, q(SELECT count(vdb.check_gpu('t_i', 100, 10)) FROM generate_series(1, 1000)));

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ 'generate_series' AND pid <> pg_backend_pid() AND state = 'active'));
	sleep 0.1;
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = '$who' AND pid <> pg_backend_pid()");
	kill 'KILL', $pid;
	await_end($client);
	await_server($node);
	ok(serves(), "$who killed: it is there again");
	sql(q(SELECT vdb.load_mirror('t_i')));
	finds('and finds', 't_i', 16, 10);
}
$node->stop;
done_testing();
