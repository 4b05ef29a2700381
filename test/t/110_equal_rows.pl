# Claims that rows share a node of a new index if their values and attributes are
# equal, and only then, however it is built; that it is hardly larger for them, and
# that each row is in it once.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'equal', 'fsync = off', 'maintenance_work_mem = 128MB', 'max_parallel_maintenance_workers = 3',
	'max_worker_processes = 8', 'max_parallel_workers = 8');

# The rows that are a node: that of its own, and those of its postings.
sub rows_of_node
{
	my ($of, $slots, $owner) = @_;
	my @rows = ($owner->{tid});
	my $rank = 0;

	for (my $next = $owner->{next}; $next != 0;)
	{
		my $slot = $slots->{ $next - 1 };

		return if !$slot || $slot->{state} != 3 || $slot->{owner} != $owner->{nid}
		  || $slot->{owner_generation} != 2 || $slot->{generation} != 2
		  || ($rank > 0 && ($slot->{rank} != $rank - 1 || $slot->{rows} != $slot->{room}))
		  || $slot->{rows} < 1 || $slot->{rows} > $slot->{room};
		push @rows, @{ $slot->{tids} };
		$rank = $slot->{rank};
		$next = $slot->{next};
		$of->{slots}++;
	}
	return $rank == ($owner->{next} != 0) ? @rows : ();
}

# Claims that the nodes of an index are the different values of an expression over
# its table, that each stands for the rows with that value, and how many slots of
# postings that takes.  apart: as many nodes more are allowed.
sub shares
{
	my ($index, $table, $key, $postings, $when, %how) = @_;
	my %keys = map { split /\|/, $_, 2 } split /\n/,
	  $node->safe_psql('postgres', "SELECT ctid, md5(($key)::text) FROM $table WHERE v IS NOT NULL");
	my %slots = map { $_->{nid} => $_ } read_slots(read_pages($node, $index));
	my @nodes = grep { $_->{state} == 1 } values %slots;
	my %of = (slots => 0);
	my %seen;
	my %values;
	my $wrong = 0;
	my $apart = 0;

	for my $owner (@nodes)
	{
		my @rows = rows_of_node(\%of, \%slots, $owner);
		my @values = do { my %v = map { ($keys{$_} // 'none') => 1 } @rows; keys %v };

		$wrong++ if @values != 1 || $owner->{hash} == 0;
		$apart++ if @values == 1 && $values{ $values[0] }++;
		$seen{$_}++ for @rows;
	}
	is($wrong, 0, "$when: each node stands for equal rows");
	cmp_ok($apart, '<=', $how{apart} || 0, "$when: and for all of them");
	is(join(' ', scalar keys %seen, scalar(grep { $_ != 1 } values %seen)), scalar(keys %keys) . ' 0',
		"$when: each row is there once");
	is($of{slots}, $postings, "$when: $postings slots of postings") if defined $postings;
	return is(scalar(grep { $_->{state} == 3 } values %slots), $of{slots}, "$when: all are in chains");
}

load_words($node, 2000);
$node->safe_psql('postgres', q(
	CREATE TABLE copies (id int, v vector(100), tenant int);
	INSERT INTO copies SELECT id, v, c FROM words, generate_series(1, 5) c ORDER BY c, id;
	CREATE TABLE chains (id int, v vector(100), tenant int);
	INSERT INTO chains SELECT id, v, c % 2 FROM words, generate_series(1, 386) c WHERE id <= 5;
	INSERT INTO chains SELECT id, v, 1 FROM words WHERE id > 1990;
	CREATE TABLE scaled (id int, v vector(100));
	INSERT INTO scaled SELECT id, (SELECT array_agg(x * f ORDER BY i) FROM unnest(v::real[]) WITH ORDINALITY u(x, i))::vector
		FROM words, unnest('{1, 3, 1}'::real[]) f WHERE id <= 300;
	ANALYZE));

# --- which rows share ---------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE INDEX words_v ON words USING hnsw (v vector_l2_ops);
	CREATE INDEX copies_v ON copies USING hnsw (v vector_l2_ops)');
shares('words_v', 'words', 'v', 0, 'rows that differ');
shares('copies_v', 'copies', 'v', 2000, 'five of each');
cmp_ok(index_size($node, 'copies_v'), '<', 2.2 * index_size($node, 'words_v'),
	'five of each take a slot more for each');
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 'copies_v'"),
	'10000', 'all rows are counted');
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT string_agg(id::text || tenant, $$ $$ ORDER BY tenant)
		FROM (SELECT id, tenant FROM copies ORDER BY v <-> (SELECT v FROM words WHERE id = 7) LIMIT 5) found'),
	'71 72 73 74 75', 'a search returns all five');
recall_at_least($node, 'words_v', 0.9, 'rows that differ');

$node->safe_psql('postgres', 'CREATE INDEX scaled_v ON scaled USING hnsw (v vector_cosine_ops)');
shares('scaled_v', 'scaled', 'v', 300, 'same direction, other length');
$node->safe_psql('postgres', 'CREATE INDEX tenants ON copies USING hnsw (v vector_l2_ops, tenant)');
shares('tenants', 'copies', '(v, tenant)', 0, 'other tenants');
$node->safe_psql('postgres', 'DROP INDEX tenants; CREATE INDEX tenants ON copies USING hnsw (v vector_l2_ops, (tenant % 2))');
shares('tenants', 'copies', '(v, tenant % 2)', 4000, 'two tenants');

# --- chains ----------------------------------------------------------------------------

# 49 rows fit a slot, and 53 where a further column leaves no gain in coarse codes
$node->safe_psql('postgres', 'CREATE INDEX chains_v ON chains USING hnsw (v vector_l2_ops);
	CREATE INDEX chains_t ON chains USING hnsw (v vector_l2_ops, tenant)');
shares('chains_v', 'chains', 'v', 40, 'chains of eight');
shares('chains_t', 'chains', '(v, tenant)', 40, 'two chains of four');
$node->safe_psql('postgres', 'CREATE TABLE one AS SELECT v, 1 AS tenant FROM words, generate_series(1, 50) WHERE id = 1;
	CREATE INDEX one_v ON one USING hnsw (v vector_l2_ops)');
shares('one_v', 'one', 'v', 1, 'a full slot');
$node->safe_psql('postgres', 'INSERT INTO one SELECT * FROM one LIMIT 1; REINDEX INDEX one_v');
shares('one_v', 'one', 'v', 2, 'one more');

# --- codes of every kind ------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE TABLE kinds AS SELECT id, binary_quantize(v)::bit(100) AS b,
	v::sparsevec(100) AS s, v::halfvec(100) AS h, v FROM copies');
for my $kind ([qw(v vector_l1_ops)], [qw(b bit_hamming_ops)], [qw(s sparsevec_l2_ops)], [qw(h halfvec_ip_ops)],
	[ 'v', 'vector_l2_ops) WITH (m = 8' ])
{
	my ($column, $class) = @$kind;

	$node->safe_psql('postgres', "CREATE INDEX k ON kinds USING hnsw ($column $class)");
	shares('k', 'kinds', $column, undef, $class);
	$node->safe_psql('postgres', 'DROP INDEX k');
}

# --- several participants, and files ----------------------------------------------------------

$node->safe_psql('postgres', 'ALTER TABLE copies SET (parallel_workers = 3);
	ALTER TABLE chains SET (parallel_workers = 3)');
like(notices_of($node, 'REINDEX INDEX copies_v'), qr/with 3 parallel workers, room/, 'built by four');
shares('copies_v', 'copies', 'v', 2000, 'five of each, built by four');
$node->safe_psql('postgres', 'REINDEX INDEX chains_t');
shares('chains_t', 'chains', '(v, tenant)', 40, 'two chains of four, built by four');

for my $workers (0, 3)
{
	$node->safe_psql('postgres', "ALTER TABLE copies SET (parallel_workers = $workers)");
	like(notices_of($node, "SET maintenance_work_mem = '2MB'; REINDEX INDEX copies_v"),
		qr/rows in \d\d? partitions/, "built in partitions with $workers workers");
	# Once a partition is full, whatever equals its rows goes to another one: as many values
	# as it holds are parted, by chance none or most of them.  If none were shared, it
	# were four times as many as there are values.
	shares('copies_v', 'copies', 'v', undef, "five of each, in partitions, $workers workers", apart => 1000);
	check_index($node, 'copies_v', "of five of each, in partitions, $workers workers");
	recall_at_least($node, 'copies_v', 0.9, "of five of each, in partitions, $workers workers");
}
like(notices_of($node, "SET maintenance_work_mem = '1MB'; REINDEX INDEX tenants; REINDEX INDEX chains_t"),
	qr/rows in \d partitions/, 'in partitions with a further column');
shares('tenants', 'copies', '(v, tenant % 2)', undef, 'two tenants, in partitions', apart => 2000);
shares('chains_t', 'chains', '(v, tenant)', undef, 'two chains of four, in partitions', apart => 10);

# more rows than a sample suggested: they leave the graph for files, with their hashes
$node->safe_psql('postgres', q(CREATE FUNCTION is_loading(id int) RETURNS bool IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_stat_clear_snapshot();
			RETURN EXISTS (SELECT FROM pg_stat_progress_create_index WHERE phase = 'building index: loading tuples');
		END $$;
	CREATE TABLE late (id int, v vector(100)) WITH (parallel_workers = 2);
	INSERT INTO late SELECT id, v FROM copies WHERE id <= 300));
my $late = 'CREATE INDEX late_v ON late USING hnsw (v vector_l2_ops) WHERE is_loading(id)';

like(notices_of($node, "SET max_parallel_maintenance_workers = 0; $late"),
	qr/of 1500 rows in 1 partitions/, 'more rows than a sample suggested');
shares('late_v', 'late', 'v', 300, 'more rows than a sample suggested');
$node->safe_psql('postgres', 'DROP INDEX late_v');
{
	# workers may not look at rows before the leader says that it is loading
	my $holder = hold($node, 'hnsw-build-worker');
	my $builder = begin_held($node, 'hnsw-build-worker', 2,
		"SET client_min_messages = error; SET max_parallel_maintenance_workers = 2; $late");

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE application_name = 'builder' AND wait_event = 'ParallelCreateIndexScan'");
	let_go($node, $holder);
	ok(await_end($builder), 'built by three') or diag(${ $builder->{output} });
	shares('late_v', 'late', 'v', 300, 'more rows than a sample suggested, built by three');
}

$node->safe_psql('postgres', 'CREATE UNLOGGED TABLE kept AS SELECT id, v FROM copies;
	CREATE INDEX kept_v ON kept USING hnsw (v vector_l2_ops)');
$node->restart; # what is unlogged is written out by that alone
shares('kept_v', 'kept', 'v', 2000, 'unlogged');
$node->safe_psql('postgres', 'DELETE FROM copies WHERE id <= 100; VACUUM copies;
	REINDEX INDEX CONCURRENTLY copies_v');
shares('copies_v', 'copies', 'v', 1900, 'built concurrently');

$node->stop;

done_testing();
