# Claims that VACUUM leaves an index nearly as good as one built on the rows that
# are left, however many went and however much memory it had: sound, and connected
# by what mends the tree, so that nothing is left to tie.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

my $node = new_server('vacuum', 'fsync = off');
my $by_ranges = "LOAD 'vdb'; SET vdb.stop_at = 'hnsw-vacuum-by-ranges'";

load_words($node);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE questions AS SELECT v FROM words WHERE id % 20 = 0;
	CREATE TABLE many_questions AS SELECT l2_normalize(v) AS v FROM words WHERE id % 12 = 0;
	CREATE FUNCTION found(name text, questions text) RETURNS float8 LANGUAGE plpgsql AS $$
	DECLARE
		share float8;
	BEGIN
		EXECUTE format('CREATE TEMP TABLE truth AS SELECT q.v, t.kth FROM %I q, LATERAL (
			SELECT max(d) AS kth FROM (SELECT w.v <-> q.v AS d FROM %I w ORDER BY 1 LIMIT 10) n) t', questions, name);
		SET LOCAL enable_seqscan = off;
		SET LOCAL hnsw.ef_search = 20;
		EXECUTE format('SELECT avg((SELECT count(*) FILTER (WHERE d <= kth) FROM (
			SELECT w.v <-> q.v AS d FROM %I w ORDER BY w.v <-> q.v LIMIT 10) s)) / 10 FROM truth q', name)
			INTO share;
		DROP TABLE truth;
		RETURN share;
	END $$));

# What part of the ten nearest rows an index finds for questions that are no rows.
sub finds
{
	my ($table, $questions) = @_;
	return $node->safe_psql('postgres', "SET enable_indexscan = off; SELECT found('$table', '$questions')");
}

sub is_connected
{
	my ($index, $when) = @_;
	return is($node->safe_psql('postgres', "SELECT dead, unreachable FROM vdb.check_index('$index', true)"),
		'0|0', "$index is connected $when");
}

for my $case (
	[ 'fifth', 'id % 5 = 0', 0.01, '' ],
	[ 'most', 'id % 10 <> 7', 0.03, '' ],
	[ 'together', 'v <-> (SELECT v FROM words WHERE id = 1) < 6', 0.03, '' ],
	[ 'pages', 'id % 5 = 0', 0.01, "SET maintenance_work_mem = '1MB'" ],
	[ 'ranges', 'id % 5 = 0', 0.01, $by_ranges ],
	[ 'ranges_most', 'id % 10 <> 7', 0.03, $by_ranges ])
{
	my ($table, $condition, $less, $setting) = @$case;

	$node->safe_psql('postgres', "CREATE TABLE $table AS SELECT id, v FROM words WHERE id % 20 <> 0;
		CREATE INDEX ${table}_v ON $table USING hnsw (v vector_l2_ops);
		DELETE FROM $table WHERE $condition");

	my $said = notices_of($node, "SET log_error_verbosity = terse; $setting; VACUUM (INDEX_CLEANUP ON) $table");

	unlike($said, qr/could not be reached/, "$table: no node had to be tied");
	is_connected("${table}_v", 'after VACUUM');

	my $mended = finds($table, 'questions');

	$node->safe_psql('postgres', "REINDEX INDEX ${table}_v");
	cmp_ok($mended, '>=', finds($table, 'questions') - $less, "$table: finds what an index built anew finds");
}

# rows come and go, a tenth in a round, until all are of those that came
$node->safe_psql('postgres', 'CREATE TABLE units AS SELECT id, l2_normalize(v)::vector(100) AS v FROM words WHERE id % 12 <> 0;
	CREATE TABLE churned AS SELECT id, v FROM units WHERE id % 11 <> 0;
	CREATE INDEX churned_v ON churned USING hnsw (v vector_l2_ops)');
for my $round (1 .. 10)
{
	$node->safe_psql('postgres', "DELETE FROM churned WHERE id % 11 = $round;
		VACUUM (INDEX_CLEANUP ON) churned;
		INSERT INTO churned SELECT id, v FROM units WHERE id % 11 = $round - 1");
}
is_connected('churned_v', 'after ten rounds');

my @nodes = grep { $_->{state} == 1 } read_slots(read_pages($node, 'churned_v'));
my %inbound;

$inbound{$_}++ for map { @{ $_->{neighbours} } } @nodes;
cmp_ok(scalar(grep { ($inbound{ $_->{nid} } // 0) < 8 } @nodes), '<=', 0.005 * @nodes,
	'to few nodes lead fewer than an insert sees to')
  or diag('of ' . @nodes);

my $churned = finds('churned', 'many_questions');

$node->safe_psql('postgres', 'REINDEX INDEX churned_v');
cmp_ok($churned, '>=', finds('churned', 'many_questions') - 0.025, 'ten rounds lose little');

# rows that are inserted afterwards use what was freed
my $size = index_size($node, 'fifth_v');

$node->safe_psql('postgres', 'DELETE FROM fifth WHERE id % 5 = 1; VACUUM (INDEX_CLEANUP ON) fifth;
	INSERT INTO fifth SELECT id, v FROM words WHERE id % 5 = 1 AND id % 20 <> 0');
cmp_ok(index_size($node, 'fifth_v'), '<=', 1.05 * $size, 'the index did not grow');
is_connected('fifth_v', 'after inserts');

# other kinds of codes, and lists as short as can be
$node->safe_psql('postgres', 'CREATE TABLE bits AS SELECT id, binary_quantize(v)::bit(100) AS b, v::sparsevec(100) AS s FROM words;
	CREATE INDEX bits_b ON bits USING hnsw (b bit_hamming_ops) WITH (m = 4);
	CREATE INDEX bits_s ON bits USING hnsw (s sparsevec_l2_ops);
	DELETE FROM bits WHERE id % 3 = 0');
notices_of($node, "SET maintenance_work_mem = '64MB'; VACUUM (INDEX_CLEANUP ON, PARALLEL 0) bits");
is_connected($_, 'after VACUUM') for qw(bits_b bits_s);
notices_of($node, "DELETE FROM bits WHERE id % 3 = 1; SET maintenance_work_mem = '1MB'; VACUUM (INDEX_CLEANUP ON, PARALLEL 0) bits");
is_connected($_, 'after VACUUM with little memory') for qw(bits_b bits_s);

$node->stop;
done_testing();
