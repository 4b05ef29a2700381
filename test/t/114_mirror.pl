# Claims that an exact search by a mirror of an index returns what one of the table returns: whatever others do with
# the table and the mirror meanwhile, when a snapshot is older than the mirror, when places are used again, and when the
# mirror goes in the middle of it.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('mirror', 'restart_after_crash = on', 'fsync = off',
	q(shared_preload_libraries = 'vdb'), 'vdb.mirror_memory = 4MB', 'vdb.maintenance = off', 'max_prepared_transactions = 2');

sub sql { return $node->safe_psql('postgres', shift) }

# --- what a search returns ------------------------------------------------------------------

sql(q(
	CREATE TABLE t (id serial PRIMARY KEY, r int, v vector(20));
	CREATE TABLE q AS SELECT i AS id, (SELECT array_agg(random() - .5) FROM generate_series(1, 20) WHERE i > 0)::vector AS v
		FROM generate_series(1, 5) i;
	CREATE FUNCTION fresh() RETURNS vector LANGUAGE sql VOLATILE AS
		'SELECT array_agg(random() - .5)::vector FROM generate_series(1, 20)';
	INSERT INTO t (r, v) SELECT i % 100, fresh() FROM generate_series(1, 3000) i;
	INSERT INTO t (r, v) SELECT i % 100, v FROM t, generate_series(1, 2) i WHERE id <= 20;
	INSERT INTO t (r, v) SELECT 1, NULL FROM generate_series(1, 5);
	INSERT INTO t (r, v) SELECT 2, array_fill(0, ARRAY[20])::vector FROM generate_series(1, 5);
	CREATE INDEX t_i ON t USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	CREATE INDEX t_h ON t USING hnsw (v vector_cosine_ops) WITH (m = 4, ef_construction = 20);
	CREATE INDEX t_p ON t USING ivfpq (v vector_ip_ops);
	CREATE INDEX t_e ON t USING hnsw ((v::halfvec(20)) halfvec_l2_ops) WITH (m = 4, ef_construction = 20);
	CREATE INDEX t_w ON t USING ivfflat ((l2_normalize(v)::vector(20)) vector_l2_ops) WITH (lists = 10) WHERE r < 50;
	ANALYZE t));

# Costs would have small tables read where all rows are wanted.
my $mirrored = 'SET enable_indexscan = off; SET enable_sort = off; SET vdb.enable_exact_scan = off; ';
my $plain = 'SET enable_indexscan = off; SET vdb.enable_exact_scan = off; SET vdb.enable_mirror = off; ';

# Rows of a query as id and distance, those of equal distance in order of id.
sub rows_of
{
	my ($settings, $distance, $rest) = @_;
	return sql("$settings SELECT string_agg(id || ':' || coalesce(d::text, 'null'), ' ' ORDER BY n, id) FROM
		(SELECT id, d, dense_rank() OVER (ORDER BY d) AS n, row_number() OVER () FROM (SELECT id, $distance AS d FROM $rest) a) b");
}

# Of those that are as far as the last of them, a limit takes any.
sub distances_of
{
	my ($settings, $distance, $rest) = @_;
	return sql("$settings SELECT string_agg(coalesce(d::text, 'null'), ' ' ORDER BY d) FROM (SELECT $distance AS d FROM $rest) a");
}

sub is_mirrored
{
	my ($distance, $from, $limit) = @_;
	my $plan = sql("$mirrored EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT id FROM $from ORDER BY $distance LIMIT $limit");

	return $plan =~ /Mirror Passes: (\d+)/ ? $1 : -1;
}

# Is the order that in which rows come?
sub is_in_order
{
	my ($distance, $from) = @_;
	return sql("$mirrored SELECT count(*) FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM
		(SELECT $distance AS d, row_number() OVER () AS n FROM (SELECT * FROM $from ORDER BY $distance) a) b) c WHERE before > d");
}

sub same
{
	my ($claim, $distance, $from, $limit, $passes) = @_;
	my $rest = "$from ORDER BY $distance";

	cmp_ok(is_mirrored($distance, $from, $limit), '>=', $passes // 1, "$claim: by the mirror");
	is(rows_of($mirrored, $distance, $rest), rows_of($plain, $distance, $rest), "$claim: all rows");
	is(distances_of($mirrored, $distance, "$rest LIMIT $limit"), distances_of($plain, $distance, "$rest LIMIT $limit"), "$claim: the nearest");
	is(is_in_order($distance, $from), 0, "$claim: in order");
	return;
}

my $question = '(SELECT v FROM q WHERE id = 1)';

is(sql("SELECT vdb.load_mirror('$_')"), $_ eq 't_w' ? '1520' : '3050', "$_ has a mirror") for qw(t_i t_h t_p t_e);
same('euclidean', "v <-> $question", 't', 10);
same('cosine', "v <=> $question", 't', 10);
same('inner product', "v <#> $question", 't', 10);
same('halfvec', "v::halfvec(20) <-> $question\::halfvec(20)", 't', 10);
same('a condition', "v <-> $question", 't WHERE r = 17', 10);
same('nulls and zeros', "v <=> $question", 't WHERE r IN (1, 2)', 100);
same('further away than any', "v <-> $question", 't', 2990);
is(sql('SELECT count(*) FROM vdb_stat_mirror WHERE state = $$ready$$ AND searches > 0'), '4', 'searches are counted');

sql('SELECT vdb.drop_mirror($$t_i$$)');
cmp_ok(sql("SELECT vdb.load_mirror('t_w')"), '>', 1000, 'a partial index has a mirror');
same('a partial index', "l2_normalize(v)::vector(20) <-> $question", 't WHERE r < 50', 10);
is(is_mirrored("l2_normalize(v)::vector(20) <-> $question", 't WHERE r < 60', 10), -1, 'which does not do for other rows');
is(sql(q(SELECT vdb.drop_mirror('t_w'), vdb.drop_mirror('t_w'))), 't|f', 'a mirror goes once');
sql(q(SELECT vdb.drop_mirror(indexrelid) FROM vdb_stat_mirror; SELECT vdb.load_mirror('t_i')));

is(sql("$mirrored SET plan_cache_mode = force_generic_plan;
	PREPARE s(int, int) AS SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = \$1) LIMIT \$2) x;
	EXECUTE s(30, 1); EXECUTE s(31, 1); EXECUTE s(0, 0)"), "{30}\n{31}\n", 'a plan for any question');
is(sql("$mirrored SELECT string_agg(n.id::text, ' ' ORDER BY a.id) FROM (SELECT * FROM t WHERE id BETWEEN 40 AND 60) a,
	LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n"), join(' ', 40 .. 60), 'a question for each row of a table');
like(sql("$mirrored EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM (SELECT * FROM t WHERE id BETWEEN 40 AND 60) a,
	LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n"), qr/VdbReadAhead.*Batches: 4\n.*Mirror: t_i\n\s+Mirror Passes: 3\n/s,
	'by a pass for the first, eight, and the other twelve');

# Joins, with the mirror and without: each row of one, with the questions around it, in any order.
for (['conditions', 't a', 'b.r = a.r AND b.id <> a.id', 'a.id % 12 = 0', 3],
	['nulls, and questions of which some are none', '(SELECT id, r, CASE WHEN id % 4 > 0 THEN v END AS v FROM t OFFSET 0) a', 'true', 'a.id > 2900', 4],
	['an array', '(SELECT n AS id, v, 1 AS r FROM unnest((SELECT array_agg(v ORDER BY id) FROM t WHERE id < 200)) WITH ORDINALITY u(v, n)) a', 'true', 'true', 2],
	['a join within a join', 't c, LATERAL (SELECT * FROM t d WHERE d.r = c.r AND d.id BETWEEN 10 AND 400 AND c.id IN (15, 16, 17)) a', 'b.r <> c.r', 'c.id < 20', 2],
	['all rows', 't a', 'b.r = a.r', 'a.id IN (5, 6, 7)', 100])
{
	my ($claim, $outer, $on, $where, $k) = @$_;
	my $query = "SELECT string_agg(concat(a.id, ':', n.id, ':', n.d), ' ' ORDER BY a.id, n.d, n.id) FROM $outer,
		LATERAL (SELECT id, b.v <-> a.v AS d FROM t b WHERE $on ORDER BY b.v <-> a.v LIMIT $k) n WHERE $where AND n.d > 0";
	my $nested = 'SET enable_hashjoin = off; SET enable_mergejoin = off; SET work_mem = $$256kB$$;';

	like(sql("$mirrored $nested EXPLAIN $query"), qr/VdbReadAhead.*Mirror: t_i/s, "$claim: read ahead");
	is(sql("$mirrored $nested $query"), sql("$plain $nested $query"), "$claim: the same rows");
}
for (['rows are locked', 'SELECT a.id FROM t a, LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n FOR UPDATE OF a'],
	['rows of a subquery are locked', 'SELECT a.id FROM (SELECT * FROM t FOR UPDATE) a, LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n LIMIT 1'],
	['those of a WITH', 'WITH a AS (SELECT * FROM t FOR SHARE) SELECT a.id FROM a, LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n LIMIT 1'],
	['something is volatile', 'SELECT random() FROM t a, LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n'])
{
	unlike(sql("$mirrored EXPLAIN $_->[1]"), qr/VdbReadAhead/, "$_->[0]: not read ahead");
}
psql_fails($node, "$mirrored SELECT * FROM unnest(ARRAY['[1,2]', '[2,3]', '[1,2]']::vector[]) q, LATERAL (SELECT id FROM t b ORDER BY b.v <-> q LIMIT 1) n",
	'22000', 'different vector dimensions 20 and 2', 'questions of other dimensions');
is(sql("$mirrored BEGIN; DECLARE c CURSOR FOR SELECT n.id FROM (SELECT * FROM t WHERE id BETWEEN 40 AND 60) a,
	LATERAL (SELECT id FROM t b ORDER BY b.v <-> a.v LIMIT 1) n; FETCH 5 FROM c; SELECT vdb.drop_mirror('t_i'); FETCH 100 FROM c"),
	join("\n", 40 .. 44, 't', 45 .. 60), 'the mirror goes in the middle of a join');
sql(q(SELECT vdb.load_mirror('t_i')));
psql_fails($node, "$mirrored SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1", '22000', 'different vector dimensions 20 and 2',
	'a question of other dimensions');
is(sql("$mirrored SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> NULL) s"), '3050', 'no question');

# plans are made anew when a mirror comes or goes
is(sql("$mirrored SET plan_cache_mode = force_generic_plan; PREPARE s AS SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 30) LIMIT 1;
	SELECT vdb.drop_mirror('t_i'); EXPLAIN (COSTS OFF) EXECUTE s; SELECT vdb.load_mirror('t_i'); EXPLAIN (COSTS OFF) EXECUTE s;") =~ /^t\n((?!Mirror).)*\n3050\n.*Mirror: t_i/s,
	'1', 'prepared statements know of a mirror');

# --- many questions at once ----------------------------------------------------------------------

# Rows of a batch, of which the last ones may be as far as others.
sub batch
{
	my ($settings, $index, $questions, $k) = @_;
	return sql("$settings SELECT string_agg(query_no || ':' || distance || CASE WHEN ties THEN '' ELSE key::text END, ' ' ORDER BY query_no, distance, key) FROM
		(SELECT *, distance = max(distance) OVER (PARTITION BY query_no) AS ties
			FROM vdb.search_batch('$index', (SELECT array_agg($questions) FROM t WHERE v IS NOT NULL AND id % 29 = 0), $k)) b");
}

sub searches { my ($index) = @_; return sql("SELECT searches FROM vdb_stat_mirror WHERE indexrelname = '$index'") }

for (['t_i', 'v', 10], ['t_i', 'v', 1], ['t_i', 'v', 2000], ['t_h', 'v ORDER BY id DESC', 10], ['t_e', 'v::halfvec(20)', 7], ['t_w', 'v', 5])
{
	my ($index, $questions, $k) = @$_;

	sql("SELECT vdb.load_mirror('$index'); SET work_mem = '16MB'");
	my $before = searches($index);
	my $big = q(SET work_mem = '16MB';);

	is(batch($big, $index, $questions, $k), batch("$big SET vdb.enable_mirror = off;", $index, $questions, $k), "a batch of $index, k = $k");
	cmp_ok(searches($index), '>=', $before + 104, 'by its mirror');
}
is(sql('SELECT sum(query_no) FROM vdb.search_batch($$t_h$$, ARRAY[$$[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]$$, (SELECT v FROM t WHERE id = 1)]::vector[], 2)'),
	'6', 'a question that no mirror can answer is one for the table');
sql(q(SELECT vdb.drop_mirror(indexrelid) FROM vdb_stat_mirror WHERE indexrelname <> 't_i'; DROP INDEX t_e, t_w));

# rows that are all measured before one is returned take no more memory than they may
sql(q(CREATE TABLE far (id serial, v vector(2)); INSERT INTO far (v) SELECT '[1,2]' FROM generate_series(1, 10);
	INSERT INTO far (v) SELECT NULL FROM generate_series(1, 5000); CREATE INDEX far_i ON far USING hnsw (v vector_l2_ops);
	SELECT vdb.load_mirror('far_i')));
my $far = q(SET work_mem = '64kB'; SELECT count(*), count(DISTINCT id), max(id) FILTER (WHERE n <= 10) FROM
	(SELECT id, row_number() OVER () AS n FROM (SELECT id FROM far ORDER BY v <-> '[1,1]') a) b);
is(sql("$mirrored $far"), '5010|5010|10', 'rows that memory does not hold');
like(sql("$mirrored " . $far =~ s/SELECT/EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT/r), qr/Mirror Passes: [1-9].*\n\s+Passes: [1-9]/s, 'come from the table');
sql('DROP TABLE far');

# where conditions leave out most rows a first pass is for more, and an ordinary index that finds the few does without
sql(q(CREATE TABLE many (r int, s int, v vector(20)); INSERT INTO many SELECT i % 1000, i % 1000, fresh() FROM generate_series(1, 20000) i;
	CREATE INDEX many_r ON many (r); CREATE INDEX many_i ON many USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 20);
	SELECT vdb.load_mirror('many_i'); ANALYZE many));
my $planned = sub { sql("SET enable_indexscan = off; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM many WHERE $_[0] ORDER BY v <-> (SELECT v FROM q WHERE id = 1) LIMIT 10") };
like($planned->('s < 20'), qr/Mirror: many_i\n\s+Mirror Passes: 1\n/, 'a pass is for rows that conditions leave out, too');
like($planned->('r < 400'), qr/Mirror: many_i\n/, 'many rows that an index finds');
like($planned->('r < 2'), qr/VdbExactScan\)((?!Mirror).)*Bitmap/s, 'few rows that an index finds are measured');
sql('DROP TABLE many');

# a cursor goes on where others change the table, and where the mirror goes
is(sql("$mirrored BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 100);
	FETCH 1 FROM c; DELETE FROM t WHERE id < 3000; SELECT vdb.drop_mirror('t_i'); MOVE 2000 FROM c;
	CREATE TEMP TABLE rest (id int); ROLLBACK"), "100\nt", 'a cursor, the mirror of which goes');
sql(q(SELECT vdb.load_mirror('t_i')));
is(sql("$mirrored BEGIN; DECLARE c CURSOR FOR SELECT v <-> $question, id FROM t ORDER BY v <-> $question; FETCH 5 FROM c;
	SAVEPOINT s; SELECT vdb.drop_mirror('t_i'); FETCH ALL FROM c"),
	sql("$plain SELECT v <-> $question, id FROM t ORDER BY v <-> $question, ctid LIMIT 5; SELECT 't';
		SELECT v <-> $question, id FROM t ORDER BY v <-> $question, ctid OFFSET 5"), 'the rest is what it would have been');
sql(q(SELECT vdb.load_mirror('t_i')));

# --- rows that come and go --------------------------------------------------------------------

sub is_right
{
	my ($claim) = @_;
	return same($claim, "v <-> $question", 't', 20);
}

sql('INSERT INTO t (r, v) SELECT 5, v FROM q; INSERT INTO t (r, v) VALUES (6, NULL)');
is_right('inserts');
sql('BEGIN; INSERT INTO t (r, v) SELECT 5, v FROM q; SAVEPOINT s; INSERT INTO t (r, v) SELECT 5, v FROM q; ROLLBACK TO s; COMMIT');
sql('BEGIN; INSERT INTO t (r, v) SELECT 5, v FROM q; ROLLBACK');
is_right('rows that were taken back');
sql('UPDATE t SET r = r + 1 WHERE id % 3 = 0; UPDATE t SET r = r + 1 WHERE id % 3 = 0');
is_right('updates of another column');
sql('UPDATE t SET v = fresh() WHERE id % 5 = 0');
is_right('updates');
sql('DELETE FROM t WHERE id % 7 = 0');
is_right('deletes');
sql('VACUUM (INDEX_CLEANUP ON) t');
is(sql(q(SELECT rows FROM vdb_stat_mirror WHERE indexrelname = 't_i')), sql('SELECT count(*) FROM t'), 'VACUUM takes out what is dead');
my $bytes = sql(q(SELECT bytes FROM vdb_stat_mirror WHERE indexrelname = 't_i'));

for (1 .. 4)
{
	sql('INSERT INTO t (r, v) SELECT 7, fresh() FROM generate_series(1, 500); DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 500)');
	sql('VACUUM (INDEX_CLEANUP ON) t');
}
is_right('places that are used again');
cmp_ok(sql(q(SELECT bytes FROM vdb_stat_mirror WHERE indexrelname = 't_i')), '<=', $bytes + 262144, 'so is their memory');

# a reader between VACUUM and those who use the places
{
	my $before = rows_of($plain, "v <-> $question", "t ORDER BY v <-> $question");
	my $holder = hold($node, 'mirror-passed');
	my $reader = begin_held($node, 'mirror-passed', 1, "$mirrored SELECT string_agg(id || ':' || coalesce(d::text, 'null'), ' ' ORDER BY n, id) FROM
		(SELECT id, d, dense_rank() OVER (ORDER BY d) AS n FROM (SELECT id, v <-> $question AS d FROM t ORDER BY v <-> $question) a) b");

	sql('INSERT INTO t (r, v) SELECT 8, fresh() FROM generate_series(1, 200); DELETE FROM t WHERE id % 11 = 0; UPDATE t SET v = fresh() WHERE id % 13 = 0');
	sql('VACUUM (INDEX_CLEANUP ON) t');
	sql('INSERT INTO t (r, v) SELECT 8, v FROM q, generate_series(1, 200)');
	let_go($node, $holder);
	await_end($reader);
	like(${ $reader->{output} }, qr/^\Q$before\E$/m, 'a reader whose rows go, and whose places others take');
	is_right('and afterwards');
}

# a reader that is there between a row's coming to the table and to the mirror does not see it, which a transaction
# whose rows it has to see before must not rely on
{
	my $last = '(SELECT max(id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM q WHERE id = 2) LIMIT 1) s)';
	my $holder = hold($node, 'mirror-insert-coded');
	my $writer = begin_held($node, 'mirror-insert-coded', 1, "COMMIT; BEGIN ISOLATION LEVEL SERIALIZABLE; $mirrored
		INSERT INTO t (r, v) SELECT 14, v FROM q WHERE id = 2 AND $last IS NOT NULL; COMMIT");

	sql("BEGIN ISOLATION LEVEL SERIALIZABLE; $mirrored INSERT INTO t (r, v) SELECT 14, v FROM q WHERE id = 2 AND $last IS NOT NULL; COMMIT");
	let_go($node, $holder);
	await_end($writer);
	like(${ $writer->{output} }, qr/could not serialize access/, 'serialisable transactions that do not see each other');
	is_right('of which one is there');
}

# nor does one that searches by many questions at once, the first of which, a null, has read another way
{
	sql(q(CREATE TABLE s (r int, v vector(2)); INSERT INTO s SELECT i / 100, ('[' || i || ',1]')::vector FROM generate_series(1, 3000) i;
		CREATE INDEX s_r ON s (r); CREATE INDEX s_i ON s USING ivfflat (v vector_l2_ops) WITH (lists = 1); ANALYZE s;
		SELECT vdb.load_mirror('s_i')));
	my $join = "SELECT 'found ' || count(*) FROM (VALUES (1, NULL::vector(2)), (29, '[1,1]'), (29, '[2,1]')) a(r, v),
		LATERAL (SELECT r FROM s b WHERE b.r = a.r ORDER BY b.v <-> a.v LIMIT 9) n";
	my $serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE; $mirrored SET enable_seqscan = off";

	like(sql("$serializable; EXPLAIN (COSTS OFF) $join"), qr/VdbReadAhead.*Bitmap/s, 'a join that reads ahead, over an index');
	my $holder = hold($node, 'mirror-passed');
	my $reader = begin_held($node, 'mirror-passed', 1, "COMMIT; $serializable; $join; INSERT INTO s VALUES (2, '[0,0]'); COMMIT");

	sql(q(BEGIN ISOLATION LEVEL SERIALIZABLE; SET enable_indexonlyscan = off; SELECT count(*) FROM s; INSERT INTO s VALUES (29, '[1,1]'); COMMIT));
	let_go($node, $holder);
	await_end($reader);
	like(${ $reader->{output} }, qr/could not serialize access/, 'serialisable transactions, one of which searches many at once');
	sql('DROP TABLE s');
}

# --- while it is loaded -------------------------------------------------------------------------

for my $point (qw(mirror-load-created mirror-load-waited mirror-load-snapshot mirror-load-read))
{
	sql(q(SELECT vdb.drop_mirror('t_i')));
	my $holder = hold($node, $point);
	my $loader = begin_held($node, $point, 1, q(SELECT vdb.load_mirror('t_i')));

	# who computes in another way rounds numbers of a row in another way
	sql('SET vdb.simd = scalar; INSERT INTO t (r, v) SELECT 9, v FROM q; DELETE FROM t WHERE id IN (SELECT min(id) FROM t); UPDATE t SET r = 10, v = fresh() WHERE id % 40 = 0');
	let_go($node, $holder);
	await_end($loader);
	is_right("changed at $point");
	my ($status) = $node->psql('postgres', "SELECT vdb.drop_mirror('t_i'); LOAD 'vdb'; SET vdb.stop_at = '$point=error'; SELECT vdb.load_mirror('t_i')");

	isnt($status, 0, "error at $point");
	is(sql(q(SELECT count(*) FROM vdb_stat_mirror)), 0, 'leaves nothing');
	sql(q(SELECT vdb.load_mirror('t_i')));
	is_right('and loading works afterwards');
}

# writers that began before it are waited for, even prepared ones
{
	sql(q(SELECT vdb.drop_mirror('t_i')));
	sql(q(BEGIN; INSERT INTO t (r, v) SELECT 11, v FROM q; PREPARE TRANSACTION 'p'));
	my $loader = begin_psql($node, q(SELECT vdb.load_mirror('t_i')));

	ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock')), 'loading waits for a writer');
	sql(q(INSERT INTO t (r, v) SELECT 12, v FROM q));
	is(sql(q(SELECT state, rows FROM vdb_stat_mirror)), 'loading|5', 'others write to it meanwhile');
	sql(q(COMMIT PREPARED 'p'));
	await_end($loader);
	is_right('rows of writers that were waited for');
}

# what a transaction has deleted would be missing if it failed, and what a command has inserted in any case
{
	my $load = q(SELECT vdb.load_mirror('t_i'));

	sql(q(SELECT vdb.drop_mirror('t_i')));
	for my $script ("BEGIN; DELETE FROM t WHERE id < 1000; $load; ROLLBACK", "BEGIN; SAVEPOINT s; DELETE FROM t WHERE id < 1000; $load",
		"BEGIN; DELETE FROM t WHERE id < 1000; SAVEPOINT s; $load",
		q(INSERT INTO t (r, v) SELECT 13, v FROM q WHERE CASE WHEN id = 3 THEN vdb.load_mirror('t_i') > 0 ELSE true END))
	{
		psql_fails($node, $script, '25001', 'cannot be loaded in a transaction that has written', $script);
	}
	sql(q(SELECT vdb.load_mirror('t_i')));
	is_right('who has not written loads it');
}

# a snapshot that sees rows which were gone when it was loaded
{
	sql(q(SELECT vdb.drop_mirror('t_i')));
	my $all = sql('SELECT count(*) FROM t');
	my $holder = hold($node, 'old');
	my $old = begin_psql($node, "BEGIN ISOLATION LEVEL REPEATABLE READ; $mirrored SELECT 'has ' || count(*) FROM t;
		DO 'BEGIN PERFORM pg_advisory_lock_shared(hashtext(\$\$old\$\$)); END';
		SELECT 'finds ' || count(*) FROM (SELECT id FROM t ORDER BY v <-> $question) s;
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT id FROM t ORDER BY v <-> $question LIMIT 5");

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
	sql('DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 100)');
	sql(q(SELECT vdb.load_mirror('t_i')));
	let_go($node, $holder);
	await_end($old);
	like(${ $old->{output} }, qr/^has $all\s+finds $all\s.*Mirror Passes: 0/s, 'an older snapshot reads the table');
	is_right('a newer one does not');
}

# --- ends ------------------------------------------------------------------------------------------

{
	my $holder = hold($node, 'mirror-passed');
	my @readers = map { begin_held($node, 'mirror-passed', $_, "$mirrored SELECT id FROM t ORDER BY v <-> $question LIMIT 5") } 1 .. 2;

	is(sql(q(SELECT vdb.drop_mirror('t_i'); SELECT state FROM vdb_stat_mirror)), "t\nleaving", 'a mirror that is read stays until then');
	sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' ORDER BY pid LIMIT 1));
	sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' ORDER BY pid DESC LIMIT 1));
	await_end($_) for @readers;
	ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM vdb_stat_mirror)), 'whoever is cancelled or terminated gives it back');
	let_go($node, $holder);
	sql(q(SELECT vdb.load_mirror('t_i')));
	is_right('another one takes its place');
}

# what is made anew has no mirror
sql('REINDEX INDEX t_i');
is(is_mirrored("v <-> $question", 't', 5), -1, 'REINDEX leaves the mirror behind');
sql('INSERT INTO t (r, v) SELECT 1, v FROM q');
is(sql(q(SELECT vdb.load_mirror('t_i') = (SELECT count(*) FROM t))), 't', 'another one has the rows that there are');
is(sql(q(SELECT count(*) FROM vdb_stat_mirror)), '1', 'and takes its place');
sql('VACUUM FULL t');
is(is_mirrored("v <-> $question", 't', 5), -1, 'VACUUM FULL leaves it behind, too');
sql(q(SELECT vdb.load_mirror('t_i'); BEGIN; TRUNCATE t; INSERT INTO t (r, v) SELECT 1, v FROM q; ROLLBACK));
is_right('a TRUNCATE that was taken back');
sql('ALTER TABLE t ALTER v TYPE vector(20)');
is(sql(q(SELECT vdb.load_mirror('t_i') = (SELECT count(*) FROM t))), 't', 'an index that has a dropped one\'s files');
is(sql(q(SELECT indexrelname FROM vdb_stat_mirror)), 't_i', 'has a mirror of its own');
sql('INSERT INTO t (r, v) SELECT 1, v FROM q');
is_right('with all rows');

# a database that lies elsewhere for a time has other paths meanwhile
sql(q(SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''));
sql('CREATE DATABASE moved');
$node->safe_psql('moved', q(CREATE EXTENSION vdb; CREATE TABLE m (v vector(2)); INSERT INTO m VALUES ('[1,2]');
	CREATE INDEX m_i ON m USING hnsw (v vector_l2_ops); SELECT vdb.load_mirror('m_i')));
sql('ALTER DATABASE moved SET TABLESPACE elsewhere');
$node->safe_psql('moved', q(INSERT INTO m VALUES ('[1,3]')));
sql('ALTER DATABASE moved SET TABLESPACE pg_default');
is($node->safe_psql('moved', "$mirrored SELECT count(*) FROM (SELECT * FROM m ORDER BY v <-> '[1,1]') s"), '2',
	'rows that come while a database lies elsewhere');
sql('DROP DATABASE moved');
is(sql('SELECT count(*) FROM vdb.mirror_stat()'), '1', 'a database takes its mirrors along when it goes');
sql(q(CREATE TABLE gone (v vector(2)); CREATE INDEX gone_i ON gone USING hnsw (v vector_l2_ops); CREATE INDEX gone_j ON gone USING ivfflat (v vector_l2_ops)));
sql(q(SELECT vdb.load_mirror('gone_i'), vdb.load_mirror('gone_j')));
is(sql('DROP INDEX gone_i; SELECT count(*) FROM vdb.mirror_stat()'), '2', 'so does an index');
is(sql('DROP TABLE gone; SELECT count(*) FROM vdb.mirror_stat()'), '1', 'and a table');
sql('DROP TABLESPACE elsewhere');

sub mirrors { return sql(q(SELECT string_agg(indexrelname, ' ' ORDER BY indexrelname) FROM vdb_stat_mirror WHERE state = 'ready')) }

# --- memory ------------------------------------------------------------------------------------------

sql(q(
	SELECT vdb.drop_mirror(indexrelid) FROM vdb_stat_mirror WHERE indexrelname IS NOT NULL;
	CREATE TABLE big (id serial, v vector(200));
	INSERT INTO big (v) SELECT (SELECT array_agg(random()) FROM generate_series(1, 200) WHERE i > 0)::vector FROM generate_series(1, 10000) i;
	CREATE INDEX big_i ON big USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	CREATE TABLE huge AS SELECT id, v FROM big, generate_series(1, 3);
	CREATE INDEX huge_i ON huge USING ivfflat (v vector_l2_ops) WITH (lists = 10);
	SELECT vdb.load_mirror('t_i'); SELECT vdb.load_mirror('t_p'); SELECT vdb.load_mirror('t_h')));
is_right('before memory is short');
sql(q(SELECT vdb.load_mirror('big_i')));
is(mirrors(), 'big_i t_h t_i', 'the one that was searched longest ago goes');
psql_fails($node, q(SELECT vdb.load_mirror('huge_i')), '53200', 'does not fit into "vdb.mirror_memory".*It takes about.*Raise', 'a mirror larger than all');
is(mirrors(), 'big_i t_h t_i', 'for which nobody has to go');

my $all = 'SELECT count(DISTINCT id) FROM (SELECT id FROM big ORDER BY v <-> (SELECT v FROM big WHERE id = 1) LIMIT 40000) s';

sql('INSERT INTO big (v) SELECT v FROM big WHERE id <= 3000');
is(mirrors(), 'big_i t_i', 'rows that come have others go');
is(sql("$mirrored $all"), '13000', 'and are all there');
like(sql("$mirrored EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $all"), qr/Mirror Passes: [1-9]/, 'by the mirror');
sql('INSERT INTO big (v) SELECT v FROM big');
is(mirrors(), '', 'in the end it goes itself');
like(slurp_file($node->logfile), qr/the mirror of index "big_i" is given up/, 'which is logged');
is(sql("SET enable_indexscan = off; $all"), '26000', 'and no row with it');
sql(q(DROP TABLE big, huge; SELECT vdb.load_mirror('t_i')));
is_right('the memory is there again');

# --- who may, and where it cannot be ------------------------------------------------------------------

sql(q(
	CREATE ROLE ann; CREATE TABLE b (v bit(8), w vector(3)); CREATE INDEX b_i ON b USING hnsw (v bit_hamming_ops);
	CREATE INDEX b_l ON b USING hnsw (w vector_l1_ops)));
psql_fails($node, q(SET ROLE ann; SELECT vdb.load_mirror('t_i')), '42501', 'must be owner|permission denied', 'another user\'s index');
psql_fails($node, q(SELECT vdb.load_mirror('b_i')), '0A000', 'cannot have a mirror.*Mirrors are of type vector or halfvec', 'bits');
psql_fails($node, q(SELECT vdb.load_mirror('b_l')), '0A000', 'cannot have a mirror', 'city-block distance');
psql_fails($node, q(CREATE TEMP TABLE m (v vector(3)); CREATE INDEX m_i ON m USING hnsw (v vector_l2_ops); SELECT vdb.load_mirror('m_i')),
	'0A000', 'It is temporary', 'a temporary table');
psql_fails($node, q(SELECT vdb.load_mirror('t_pkey')), '42809', 'is not an hnsw, ivfflat or ivfpq index', 'another kind of index');

# conditions that the user cannot see past are looked at first
sql(q(
	CREATE FUNCTION leak(vector) RETURNS vector LANGUAGE plpgsql COST .0001 AS 'BEGIN RAISE NOTICE $$seen$$; RETURN $1; END';
	ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (r = 5); GRANT SELECT ON t, q TO ann));
is(sql("SET ROLE ann; $mirrored SELECT count(*), min(r), max(r) FROM (SELECT * FROM t ORDER BY v <-> $question) s"),
	sql('SELECT count(*), 5, 5 FROM t WHERE r = 5'), 'rows that are not for a user are not for him here');
is(sql(q(SET ROLE ann; SELECT count(*) FROM vdb.search_batch('t_i', ARRAY[(SELECT v FROM q WHERE id = 1)], 1000))),
	sql('SELECT count(*) FROM t WHERE r = 5 AND v IS NOT NULL'), 'nor in a batch');
sql('ALTER TABLE t DISABLE ROW LEVEL SECURITY');
psql_fails($node, q(REVOKE SELECT ON t FROM ann; SET ROLE ann; SELECT count(*) FROM vdb.search_batch('t_i', ARRAY[array_fill(0, ARRAY[20])::vector], 1)),
	'42501', 'permission denied for table t', 'nor may he ask a mirror of a table that he may not read');
sql('GRANT SELECT ON t TO ann');

# --- everybody at once -----------------------------------------------------------------------------------

sql(q(
	SELECT vdb.drop_mirror(indexrelid) FROM vdb_stat_mirror WHERE indexrelname IS NOT NULL;
	CREATE FUNCTION compare() RETURNS void LANGUAGE plpgsql SET enable_indexscan = off SET enable_bitmapscan = off AS $$
	DECLARE
		question vector := fresh();
		here text;
		there text;
		statement text := 'SELECT string_agg(id::text, $a$ $a$ ORDER BY d, id) FROM (SELECT id, d FROM (SELECT id, v <-> $1 AS d FROM t ORDER BY v <-> $1 LIMIT 50) a
			WHERE d < (SELECT max(v <-> $1) FROM (SELECT v FROM t ORDER BY v <-> $1 LIMIT 50) b)) c';
	BEGIN
		SET LOCAL vdb.enable_exact_scan = off; SET LOCAL vdb.enable_mirror = on;
		EXECUTE statement INTO here USING question;
		SET LOCAL vdb.enable_mirror = off;
		EXECUTE statement INTO there USING question;
		IF here IS DISTINCT FROM there THEN RAISE '% by the mirror, % by the table', here, there; END IF;
	END $$;

	-- one that is loaded may be dropped before it is ready
	CREATE FUNCTION load() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM vdb.load_mirror('t_i');
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		IF sqlerrm !~ 'dropped while' THEN RAISE; END IF;
	END $$));
{
	my $bench = begin_pgbench($node, 8, 8,
		'reader@6' => 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT compare(); SELECT compare(); COMMIT;',
		'writer@6' => '\set id random(1, 6000)
			BEGIN; INSERT INTO t (r, v) SELECT 20, fresh() FROM generate_series(1, 3); DELETE FROM t WHERE id = :id OR id = :id + 1;
			UPDATE t SET v = fresh() WHERE id = :id + 2; UPDATE t SET r = r + 1 WHERE id = :id + 3; COMMIT;',
		'mind@1' => 'BEGIN; INSERT INTO t (r, v) SELECT 21, fresh() FROM generate_series(1, 20); ROLLBACK;',
		'vacuum@2' => 'SET client_min_messages = error; VACUUM (INDEX_CLEANUP ON, SKIP_LOCKED) t;',
		'load@2' => 'SELECT load();',
		'drop@1' => q(SELECT vdb.drop_mirror('t_i');));

	ok(await_end($bench), 'readers, writers, VACUUM, and mirrors that come and go') or diag(${ $bench->{output} });
	unlike(${ $bench->{output} }, qr/aborted|ERROR/, 'without an error');

	my ($transactions) = ${ $bench->{output} } =~ /SQL script \d+: \S*reader\S*\n.*?- (\d+) transactions/s
		or die 'no count of transactions';
	cmp_ok(sql(q(SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 't_i')), '>', $transactions / 2,
		'by mirrors, at least one search of four');
	sql(q(SELECT vdb.load_mirror('t_i')));
	is_right('in the end');

	# what was inserted while it was loaded may be there twice
	sql(q(SELECT vdb.drop_mirror('t_i'); SELECT vdb.load_mirror('t_i'); DELETE FROM t WHERE id % 2 = 0; VACUUM (INDEX_CLEANUP ON) t));
	is(sql(q(SELECT rows FROM vdb_stat_mirror WHERE indexrelname = 't_i')), sql('SELECT count(*) FROM t'), 'a new one has as many rows as there are');
}

# --- an option that has workers see to it -------------------------------------------------------------------

is(sql(q(SELECT vdb.drop_mirror('t_i'); ALTER INDEX t_i SET (mirror = on); SELECT work, done, reason FROM vdb.maintain('t_i') WHERE work = 'mirror')),
	"t\nmirror|t|it has none", 'vdb.maintain makes a mirror');
is(sql(q(SELECT count(*) FROM vdb.maintain('t_i') WHERE work = 'mirror')), '0', 'once');
$node->append_conf('postgresql.conf', "vdb.maintenance = on\nvdb.maintenance_naptime = 1");
$node->restart;
ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM vdb_stat_mirror WHERE indexrelname = 't_i' AND state = 'ready')),
	'after a restart a worker does');
is(sql('SELECT sum(mirrors) FROM vdb_stat_worker'), '1', 'which is counted');
is_right('what it made');
$node->append_conf('postgresql.conf', 'vdb.maintenance = off');
$node->reload;

# --- a crash, and a standby ---------------------------------------------------------------------------------

$node->psql('postgres', "LOAD 'vdb'; SET vdb.stop_at = 'mirror-insert-coded=crash'; INSERT INTO t (r, v) SELECT 1, v FROM q");
await_server($node);
is(sql('SELECT count(*) FROM vdb_stat_mirror'), '0', 'a crash leaves no mirror');
is(rows_of($mirrored, "v <-> $question", "t ORDER BY v <-> $question"), rows_of($plain, "v <-> $question", "t ORDER BY v <-> $question"), 'and all rows');
$node->backup('b');
{
	my $standby = PostgreSQL::Test::Cluster->new('standby');

	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	psql_fails($standby, q(SELECT vdb.load_mirror('t_i')), '55000', 'recovery is in progress', 'a standby has no mirrors');
	$standby->promote;
	is($standby->safe_psql('postgres', q(SELECT vdb.load_mirror('t_i') = count(*) FROM t)), 't', 'a primary has');
	is($standby->safe_psql('postgres', "$mirrored SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE r = 20 AND id = (SELECT max(id) FROM t WHERE r = 20)) LIMIT 1"),
		$standby->safe_psql('postgres', 'SELECT max(id) FROM t WHERE r = 20'), 'that was a standby');
	$standby->stop;
}

# --- where snapshots may become too old ---------------------------------------------------------------------

SKIP:
{
	skip 'old_snapshot_threshold is no more', 2 if sql('SHOW server_version_num') >= 170000;
	$node->append_conf('postgresql.conf', 'old_snapshot_threshold = 1min');
	$node->restart;
	psql_fails($node, q(SELECT vdb.load_mirror('t_i')), '55000', 'no mirrors where "old_snapshot_threshold" is set', 'snapshots that may become too old');
	$node->append_conf('postgresql.conf', 'old_snapshot_threshold = -1');
}

# --- without memory for it -----------------------------------------------------------------------------------

$node->append_conf('postgresql.conf', 'vdb.mirror_memory = 0');
$node->restart;
psql_fails($node, q(SELECT vdb.load_mirror('t_i')), '55000', 'there is no memory for mirrors.*Add vdb to "shared_preload_libraries", set "vdb.mirror_memory"', 'no memory');
is(sql(q(INSERT INTO t (r, v) SELECT 1, v FROM q; SELECT count(*) FROM vdb_stat_mirror)), '0', 'and no mirrors');
$node->stop;
done_testing();
