# Claims that a publication and its subscribers have the same vectors, bit for bit, as text and in
# binary, whatever is done to the rows; that indexes of the subscribers then find every row; and
# that neither a crash of theirs nor a column of another type loses one.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my @lines = ('max_connections = 30', 'max_worker_processes = 20', 'max_logical_replication_workers = 12',
	'max_sync_workers_per_subscription = 4');
my $publisher = new_server('publisher', @lines, 'wal_level = logical', 'max_wal_senders = 20', 'max_replication_slots = 20');

# Two subscribers, one of which gets text.  In the other, workers look after indexes meanwhile.
my %subscribers = (
	text => new_server('text', @lines),
	binary => new_server('binary', @lines, q(shared_preload_libraries = 'vdb'), 'vdb.maintenance_naptime = 1'));
my @modes = sort keys %subscribers;

sub publish { return $publisher->safe_psql('postgres', shift) }

sub on_subscribers
{
	my ($sql) = @_;

	$subscribers{$_}->safe_psql('postgres', $sql) for @modes;
	return;
}

sub on_all
{
	publish(@_);
	return on_subscribers(@_);
}

# A subscription of one of the two, NAME_text or NAME_binary, once it has its first rows.
sub subscribe
{
	my ($mode, $name, $publication, @options) = @_;
	my $node = $subscribers{$mode};
	my $source = $publisher->connstr . ' dbname=postgres';
	my $options = join ', ', 'binary = ' . ($mode eq 'binary' ? 'true' : 'false'), @options;

	$node->safe_psql('postgres',
		"CREATE SUBSCRIPTION ${name}_$mode CONNECTION '$source' PUBLICATION $publication WITH ($options)");
	$node->wait_for_subscription_sync($publisher, "${name}_$mode");
	return;
}

# What to compare: a query that sees each bit.
my %contents = (
	extremes => 'id, vector_send(v), halfvec_send(h), sparsevec_send(s)',
	wide => 'id, note, vector_send(v), halfvec_send(h), sparsevec_send(s), bit_send(b)',
	identified => 'id, vector_send(v), halfvec_send(h), sparsevec_send(s), bit_send(b)',
	t => 'id, word, vector_send(v)');

$contents{$_} = "SELECT count(*), md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT row($contents{$_})::text AS x FROM $_) s"
  for keys %contents;

# Claims that all subscribers have caught up and have what the publisher has.
sub same_rows
{
	my ($table, $when) = @_;

	for my $mode (@modes)
	{
		$publisher->wait_for_catchup("everything_$mode");
		is($subscribers{$mode}->safe_psql('postgres', $contents{$table}), publish($contents{$table}),
			"$table is the same in $mode mode $when");
	}
	return;
}

# The same of tables of all kinds, and that their indexes are right.
sub same_kinds
{
	my ($rows, $when) = @_;

	is(publish('SELECT count(*) FROM life.vector_l2'), $rows, "so many rows $when");
	same_rows('kinds', $when);
	kinds_are_right($subscribers{$_}, $rows, "in $_ mode $when") for @modes;
	return;
}

# --- tables -------------------------------------------------------------------

for my $node ($publisher, values %subscribers)
{
	make_kinds($node);
	$node->safe_psql(
		'postgres', q(
		CALL life.each('ALTER TABLE life.%I ADD PRIMARY KEY (id)');
		CREATE TABLE extremes (id int PRIMARY KEY, v vector(6), h halfvec(6), s sparsevec(1000000000));
		CREATE TABLE wide (id int PRIMARY KEY, note text, v vector(16000), h halfvec(16000), s sparsevec(16000), b bit(64000));
		CREATE TABLE identified (id int, v vector(3) NOT NULL, h halfvec(3) NOT NULL, s sparsevec(3) NOT NULL, b bit(3) NOT NULL);
		CREATE UNIQUE INDEX identified_key ON identified (v, h, s, b);
		ALTER TABLE identified REPLICA IDENTITY USING INDEX identified_key;
		CREATE TABLE t (id bigserial PRIMARY KEY, word int, v vector(100))));
}
$contents{kinds} = publish(
	q{SELECT string_agg(format('SELECT %1$L, count(*), md5(string_agg(id || encode(%2$s_send(v), ''hex''), '','' ORDER BY id)) FROM life.%1$I',
		name, split_part(type, '(', 1)), ' UNION ALL ' ORDER BY name) FROM life.kinds});
publish(
	q(CALL life.each('DROP INDEX life."%s_v"');
	DO $$ BEGIN
		EXECUTE (SELECT 'CREATE PUBLICATION everything FOR TABLE extremes, wide, identified, t, '
			|| string_agg(format('life.%I', name), ', ') FROM life.kinds);
	END $$));

# Rows that are there before, and come with the first copy.
load_words($publisher, 4000);
publish(
	q(CALL life.fill(1, 60);
	INSERT INTO t (word, v) SELECT id, v FROM words WHERE id <= 1000;
	INSERT INTO extremes VALUES
		(1, '[1e-45,-0,3.4028235e38,-3.4028235e38,1.1754942e-38,0.1]', '[5.9604645e-8,-0,65504,-65504,6.097555e-5,0.1]',
			'{1:1e-45,2:-3.4028235e38,1000000000:0.1}/1000000000'),
		(2, '[0,0,0,0,0,0]', '[0,0,0,0,0,0]', '{}/1000000000'),
		(3, NULL, NULL, NULL)));
subscribe($_, 'everything', 'everything') for @modes;
same_kinds(60, 'after the first copy');
same_rows($_, 'after the first copy') for qw(extremes t);

# --- what is done to rows, of all kinds --------------------------------------------

publish('CALL life.fill(61, 100)');
same_kinds(100, 'after INSERT');

publish(
	q(CALL life.each('UPDATE life.%1$I a SET v = b.v FROM life.%1$I b WHERE b.id = a.id + 1 AND a.id %% 3 = 0');
	CALL life.each('UPDATE life.%I SET id = id + 1000 WHERE id %% 10 = 0');
	CALL life.each('DELETE FROM life.%I WHERE id %% 4 = 0')));
same_kinds(75, 'after UPDATE and DELETE by primary key');

# Rows are found by all that they contain, which takes operators for equality.  Of two that are equal, one goes.
publish(q(CALL life.each('ALTER TABLE life.%I REPLICA IDENTITY FULL')));
on_all(q(CALL life.each('ALTER TABLE life.%1$I DROP CONSTRAINT "%1$s_pkey"')));
publish(
	q(CALL life.each('INSERT INTO life.%1$I SELECT * FROM life.%1$I WHERE id = 7');
	CALL life.each('UPDATE life.%1$I a SET v = b.v FROM life.%1$I b WHERE b.id = a.id + 2 AND a.id < 30');
	CALL life.each('UPDATE life.%I SET id = -id WHERE id > 80');
	CALL life.each('DELETE FROM life.%1$I WHERE ctid = (SELECT min(ctid) FROM life.%1$I WHERE id = 7)');
	CALL life.each('DELETE FROM life.%I WHERE id BETWEEN 40 AND 60')));
same_kinds(61, 'after UPDATE and DELETE with REPLICA IDENTITY FULL');

publish(q(CALL life.each('TRUNCATE life.%I')));
same_kinds(0, 'after TRUNCATE');
publish('BEGIN; CALL life.fill(1, 30); SAVEPOINT a; CALL life.fill(31, 40); ROLLBACK TO a; CALL life.fill(41, 50); COMMIT');
same_kinds(40, 'after a transaction that took part of itself back');

# --- values ---------------------------------------------------------------------

publish(
	q(SELECT setseed(0.5);
	CREATE FUNCTION numbers(low int, high int, i int) RETURNS real[] VOLATILE LANGUAGE sql AS
	$$ SELECT array_agg((CASE WHEN random() < 0.5 THEN -1 ELSE 1 END * (0.5 + random() / 2) * 10 ^ (low + random() * (high - low)))::real)
		FROM generate_series(1, 6) $$;
	INSERT INTO extremes SELECT i, numbers(-44, 38, i)::vector, numbers(-7, 4, i)::halfvec,
		format('{1:%s,999999999:%s}/1000000000', n[1], n[2])::sparsevec
	FROM generate_series(4, 1000) i, LATERAL numbers(-44, 38, i) n));
same_rows('extremes', 'after numbers of all sizes');
publish(q(UPDATE extremes SET h = '[-0,-0,-0,-0,-0,-0]', v = '[-0,-0,-0,-0,-0,-0]' WHERE id = 2; UPDATE extremes SET v = NULL, s = NULL WHERE id % 5 = 0));
same_rows('extremes', 'after nulls and zeros');

publish(
	q(INSERT INTO wide SELECT i, 'first', v::vector, v::halfvec, v::vector::sparsevec, repeat('01', 32000)::bit(64000)
	FROM generate_series(1, 3) i, LATERAL (SELECT array_agg(sin(i * j)) AS v FROM generate_series(1, 16000) j) s));
same_rows('wide', 'after rows of as many dimensions as there may be');

# What is out of line and was not changed is not sent again: what the subscriber has there stays.
on_subscribers(q(UPDATE wide SET v = (SELECT array_agg(1) FROM generate_series(1, 16000)) WHERE id = 1));
publish(q(UPDATE wide SET note = 'second', b = ~b WHERE id = 1));
for my $mode (@modes)
{
	$publisher->wait_for_catchup("everything_$mode");
	is($subscribers{$mode}->safe_psql('postgres', q(SELECT note, vector_norm(v)::numeric(9,4), get_bit(b, 0) FROM wide WHERE id = 1)),
		'second|126.4911|1', "a vector out of line that was not changed is not sent in $mode mode");
}
publish('UPDATE wide SET v = v + v WHERE id <= 2');
same_rows('wide', 'after such vectors were changed');
publish(
	q(ALTER TABLE wide REPLICA IDENTITY FULL;
	UPDATE wide SET note = 'third' WHERE id = 2;
	UPDATE wide SET h = NULL WHERE id = 1;
	DELETE FROM wide WHERE id = 3));
same_rows('wide', 'with REPLICA IDENTITY FULL');

publish(
	q(INSERT INTO identified SELECT i, ARRAY[i, 1, -0.0]::vector, ARRAY[1, i, 2]::halfvec, format('{2:%s}/3', i)::sparsevec, i::bit(3)
		FROM generate_series(1, 6) i;
	UPDATE identified SET id = 20 WHERE v = '[2,1,0]';
	UPDATE identified SET h = '[9,9,9]' WHERE h = '[1,3,2]';
	UPDATE identified SET s = '{1:9}/3', b = B'000' WHERE id = 4;
	DELETE FROM identified WHERE b = B'101'));
same_rows('identified', 'with vectors as REPLICA IDENTITY USING INDEX');
is(publish('SELECT count(*) FROM identified'), 5, 'of which one was deleted');

# --- columns and conditions --------------------------------------------------------

publish('CREATE TABLE narrow (id int PRIMARY KEY, title text, v vector(3), h halfvec(3))');
$subscribers{text}->safe_psql('postgres', q(
	CREATE TABLE narrow (h halfvec(3) DEFAULT '[7,7,7]', v vector(3), id int PRIMARY KEY);
	CREATE INDEX ON narrow USING hnsw (v vector_l2_ops)));
$subscribers{binary}->safe_psql('postgres', q(
	CREATE TABLE narrow (id int PRIMARY KEY, v vector(3) DEFAULT '[7,7,7]', title text);
	CREATE INDEX ON narrow USING hnsw (v vector_l2_ops)));
publish(
	q(CREATE PUBLICATION with_vector FOR TABLE narrow (id, v) WHERE (id < 100);
	CREATE PUBLICATION without_vector FOR TABLE narrow (id, title);
	INSERT INTO narrow VALUES (1, 'one', '[1,1,1]', '[1,1,1]'), (101, 'filtered', '[1,2,3]', NULL)));
subscribe('text', 'narrow', 'with_vector');
subscribe('binary', 'narrow', 'without_vector');
publish(
	q(INSERT INTO narrow VALUES (2, 'two', '[2,2,2]', '[2,2,2]'), (102, 'filtered', '[2,2,2]', NULL);
	UPDATE narrow SET v = '[3,3,3]' WHERE id = 1;
	UPDATE narrow SET id = 3 WHERE id = 101));
$publisher->wait_for_catchup("narrow_$_") for @modes;
is($subscribers{text}->safe_psql('postgres', q(SET enable_seqscan = off; SELECT id, v, h FROM narrow ORDER BY v <-> '[3,3,3]')),
	"1|[3,3,3]|[7,7,7]\n2|[2,2,2]|[7,7,7]\n3|[1,2,3]|[7,7,7]", 'a column list has a vector and leaves another out');
is($subscribers{binary}->safe_psql('postgres', 'SELECT id, v, title FROM narrow ORDER BY id'),
	"1|[7,7,7]|one\n2|[7,7,7]|two\n3|[7,7,7]|filtered\n102|[7,7,7]|filtered", 'a column list leaves vectors out');

# what the server says to conditions with types and operators that are not its own
psql_fails($publisher, q(CREATE PUBLICATION near FOR TABLE narrow WHERE (v <-> '[1,1,1]' < 1)),
	'0A000', 'User-defined operators are not allowed', 'a publication with an operator of vectors');
psql_fails($publisher, q(CREATE PUBLICATION there FOR TABLE narrow WHERE (v IS NOT NULL)),
	'0A000', 'User-defined types are not allowed', 'a publication with a condition on a vector');

# --- columns of different types -------------------------------------------------------

# Subscribes to rows that the subscriber's column cannot have, and stops at the error. Returns
# where the transaction ends, which is in the log.
sub stops_at_error
{
	my ($mode, $their_type, $our_type, $value, $error) = @_;
	my $node = $subscribers{$mode};
	my $what = "$their_type to $our_type in $mode mode";
	my $end;

	publish("CREATE TABLE loose (id int PRIMARY KEY, v $their_type); CREATE PUBLICATION loose FOR TABLE loose");
	$node->safe_psql('postgres', "CREATE TABLE loose (id int PRIMARY KEY, v $our_type)");
	subscribe($mode, 'loose', 'loose', 'disable_on_error = true');
	publish("INSERT INTO loose VALUES (1, $value)");
	publish("INSERT INTO loose VALUES (2, NULL)");
	ok($node->poll_query_until('postgres', "SELECT NOT subenabled FROM pg_subscription WHERE subname = 'loose_$mode'"),
		"$what: the subscription stops");
	like(slurp_file($node->logfile), $error, "$what: why is in the log");
	($end) = slurp_file($node->logfile) =~ /.*relation "public.loose".*finished at ([0-9A-F\/]+)/s;
	return $end;
}

# Claims what the subscriber has once it goes on, and cleans up.
sub goes_on
{
	my ($mode, $remedy, $rows, $claim) = @_;
	my $node = $subscribers{$mode};

	$node->safe_psql('postgres', "$remedy; ALTER SUBSCRIPTION loose_$mode ENABLE");
	$publisher->wait_for_catchup("loose_$mode");
	is($node->safe_psql('postgres', 'SELECT id, v FROM loose ORDER BY id'), $rows, $claim);
	$node->safe_psql('postgres', "DROP SUBSCRIPTION loose_$mode");
	$node->safe_psql('postgres', 'DROP TABLE loose');
	publish('DROP PUBLICATION loose; DROP TABLE loose');
	return;
}

my $end = stops_at_error('text', 'text', 'vector(3)', q('1 2 3'), qr/invalid input syntax for type vector: "1 2 3".*relation "public.loose"/s);
goes_on('text', "ALTER SUBSCRIPTION loose_text SKIP (lsn = '$end')", '2|', 'text that is no vector is skipped by its transaction');

stops_at_error('text', 'real[]', 'vector(3)', q('{1,2,3}'), qr/invalid input syntax for type vector: "\{1,2,3\}"/);
goes_on('text', 'ALTER TABLE loose ALTER v TYPE real[]', "1|{1,2,3}\n2|", 'an array comes as an array');

stops_at_error('text', 'vector', 'vector(3)', q('[1,2,3,4]'), qr/expected 3 dimensions, not 4/);
goes_on('text', 'ALTER TABLE loose ALTER v TYPE vector(4)', "1|[1,2,3,4]\n2|", 'another number of dimensions comes once the column allows it');

stops_at_error('binary', 'vector(3)', 'halfvec(3)', q('[1,2,3]'), qr/ERROR:.*relation "public.loose" column "v"/s);
goes_on('binary', 'ALTER SUBSCRIPTION loose_binary SET (binary = false)', "1|[1,2,3]\n2|", 'a vector comes to a column of halves as text');

publish(q(CREATE TABLE loose (id int PRIMARY KEY, v text); CREATE PUBLICATION loose FOR TABLE loose; INSERT INTO loose VALUES (1, '[1, 2, 3]')));
$subscribers{text}->safe_psql('postgres', 'CREATE TABLE loose (id int PRIMARY KEY, v vector(3))');
subscribe('text', 'loose', 'loose');
publish(q(INSERT INTO loose VALUES (2, '[3,4,5]')));
goes_on('text', '', "1|[1,2,3]\n2|[3,4,5]", 'text that is a vector comes as one');

# --- crashes under load, into indexes -------------------------------------------------

on_subscribers(
	q(CREATE INDEX t_graph ON t USING hnsw (v vector_cosine_ops) WITH (m = 8);
	CREATE INDEX t_pending ON t USING hnsw (v vector_l1_ops) WITH (m = 8, fastupdate = on, pending_limit = 256);
	CREATE INDEX t_lists ON t USING ivfpq (v vector_l2_ops) WITH (lists = 20)));
my %operators = (t_graph => '<=>', t_pending => '<+>', t_lists => '<->');

# Claims that each row is found through an index by a scan to the end, once, and all but one in a thousand as the nearest to themselves.
sub every_row_is_found
{
	my ($mode, $index, $when) = @_;
	my $node = $subscribers{$mode};
	my $operator = $operators{$index};
	my $settings = 'SET enable_seqscan = off; SET enable_sort = off; SET hnsw.ef_search = 200; SET hnsw.iterative_scan = relaxed_order;'
	  . 'SET hnsw.max_scan_tuples = 1000000; SET ivfpq.probes = 1000; SET ivfpq.iterative_scan = relaxed_order;';
	my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM t');

	like($node->safe_psql('postgres', "$settings EXPLAIN SELECT id FROM t ORDER BY v $operator (SELECT v FROM t LIMIT 1)"),
		qr/using $index/, "$index is used");
	is($node->safe_psql('postgres', "$settings SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v $operator (SELECT v FROM t LIMIT 1)) s"),
		"$rows|$rows", "$index returns each row once in $mode mode $when");
	cmp_ok($node->safe_psql('postgres', "$settings SELECT count(*) FROM t a WHERE NOT EXISTS
		(SELECT FROM (SELECT v FROM t b ORDER BY b.v $operator a.v LIMIT 1) n WHERE n.v = a.v)"),
		'<=', $rows / 1000, "$index finds rows as the nearest to themselves in $mode mode $when");
	return;
}

sub all_is_well
{
	my ($when) = @_;

	same_rows('t', $when);
	for my $mode (@modes)
	{
		for my $index (sort keys %operators)
		{
			check_index($subscribers{$mode}, $index, "in $mode mode $when");
			every_row_is_found($mode, $index, $when);
		}
	}
	return;
}

my $file = $publisher->basedir . '/rows';
publish(
	qq(COPY (SELECT nextval('t_id_seq'), id, v FROM words WHERE id BETWEEN 1001 AND 1500) TO '$file';
	COPY t FROM '$file';
	COPY (SELECT nextval('t_id_seq'), id, v FROM words WHERE id BETWEEN 1501 AND 2000) TO '$file' WITH (FORMAT binary);
	COPY t FROM '$file' WITH (FORMAT binary);
	COPY (SELECT id, v FROM words WHERE id BETWEEN 2001 AND 2020) TO '$file'));
all_is_well('after COPY');

my $pick = "\\sleep 10 ms\n\\set w random(1, 4000)\n";
my $load_ends = time + 12;
my $load = begin_pgbench($publisher, 4, 12,
	'insert@6' => "${pick}INSERT INTO t (word, v) SELECT id, v FROM words WHERE id = :w;\n",
	'update@3' => "${pick}UPDATE t SET v = w.v, word = w.id FROM words w WHERE w.id = :w AND t.id = (SELECT id FROM t ORDER BY random() LIMIT 1);\n",
	'delete@3' => "${pick}DELETE FROM t WHERE id = (SELECT id FROM t ORDER BY random() LIMIT 1);\n",
	'copy@1' => "${pick}COPY t (word, v) FROM '$file';\n");
my $seen = 0;
my $crashes = 0;

# A slow machine has fewer of them.
while ($crashes < 6 && time < $load_ends)
{
	my $node = $subscribers{ $modes[ $crashes % 2 ] };
	my $last = $node->safe_psql('postgres', 'SELECT max(id) FROM t');

	if ($last <= $seen)
	{
		usleep(20_000);
		next;
	}
	$seen = $last;
	usleep(100_000 + int rand 1_000_000);
	$node->stop(++$crashes % 3 ? 'immediate' : 'fast');
	$node->start;
}
cmp_ok($crashes, '>=', 2, 'both subscribers crash while rows come');
ok(await_end($load), 'the publisher writes all the while') or diag(${ $load->{output} });
all_is_well('after crashes of the subscribers under load');

$publisher->stop('immediate');
$publisher->start;
publish('INSERT INTO t (word, v) SELECT id, v FROM words WHERE id > 3000 AND id % 2 = 0');
all_is_well('after a crash of the publisher');

on_subscribers('VACUUM (INDEX_CLEANUP ON) t');
all_is_well('after VACUUM');

for my $node ($publisher, values %subscribers)
{
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|identify an equality operator|terminated by signal/, $node->name . ' has nothing to complain of');
}
done_testing();
