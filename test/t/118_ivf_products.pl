# Claims of ivfpq indexes whose codes are products, on real word vectors: floors of recall with a
# learned rotation and with a loss that weighs, after builds, inserts, VACUUM, lists that were made
# anew and REINDEX; and when there is a rotation.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

my $node = new_server('products', 'fsync = off', 'maintenance_work_mem = 256MB');

load_words($node);

my $scan = 'SET ivfpq.probes = 60; SET ivfpq.refine_factor = 8';

# Has an index a rotation?
sub is_rotated
{
	my ($index) = @_;

	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node->safe_psql('postgres',
		"SELECT get_byte(pg_read_binary_file(pg_relation_filepath('$index'), 24 + 269, 1), 0)");
}

my %options = (
	pq => 'quantizer = pq',
	opq => 'quantizer = opq',
	pq_weighed => 'quantizer = pq, anisotropic = 0.2',
	opq_weighed => 'quantizer = opq, anisotropic = 0.2',
	opq_spill => 'quantizer = opq, spill = 1',
	opq_half => 'quantizer = opq');

for my $kind (sort keys %options)
{
	my $type = $kind eq 'opq_half' ? 'halfvec' : 'vector';

	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE $kind AS SELECT id, v::$type(100) FROM words WHERE id <= 8000;
		CREATE INDEX ${kind}_v ON $kind USING ivfpq (v ${type}_cosine_ops) WITH (lists = 100, $options{$kind})));
	is(is_rotated("${kind}_v"), $kind =~ /opq/ ? 1 : 0, "$kind has a rotation, or none");
	check_index($node, "${kind}_v", 'after a build');
	recall_at_least($node, "${kind}_v", 0.9, 'after a build', settings => $scan);
	$node->safe_psql(
		'postgres', qq(
		INSERT INTO $kind SELECT id, v::$type(100) FROM words WHERE id BETWEEN 8001 AND 9000;
		DELETE FROM $kind WHERE id % 5 = 0));
	check_index($node, "${kind}_v", 'after inserts');
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $kind");
	$node->safe_psql('postgres', "INSERT INTO $kind SELECT id, v::$type(100) FROM words WHERE id > 9000 AND id % 2 = 0");
	recall_at_least($node, "${kind}_v", 0.9, 'after churn', settings => $scan);
	check_index($node, "${kind}_v", 'after churn');
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $kind; REINDEX INDEX ${kind}_v");
	recall_at_least($node, "${kind}_v", 0.9, 'after REINDEX', settings => $scan);
	check_index($node, "${kind}_v", 'after REINDEX');
}

# An index of an empty table gets its lists from VACUUM, and its rotation from REINDEX.
$node->safe_psql(
	'postgres', q(
	CREATE TABLE grown (id int, v vector(100));
	CREATE INDEX grown_v ON grown USING ivfpq (v vector_ip_ops) WITH (quantizer = opq);
	INSERT INTO grown SELECT id, v FROM words WHERE id <= 6000;
	VACUUM grown));
is(is_rotated('grown_v'), 0, 'nothing is learned of an empty table');
check_index($node, 'grown_v', 'with lists of VACUUM');
recall_at_least($node, 'grown_v', 0.9, 'with lists of VACUUM', settings => $scan);
$node->safe_psql('postgres', 'REINDEX INDEX grown_v');
is(is_rotated('grown_v'), 1, 'REINDEX learns');
recall_at_least($node, 'grown_v', 0.9, 'after REINDEX', settings => $scan);

# Few rows of many blocks are as good to learn from.
$node->safe_psql(
	'postgres', q(
	CREATE TABLE sparse (id int, v vector(100), filler char(6000));
	ALTER TABLE sparse ALTER filler SET STORAGE PLAIN;
	INSERT INTO sparse SELECT id, v, '' FROM words WHERE id <= 6000;
	CREATE INDEX sparse_v ON sparse USING ivfpq (v vector_ip_ops) WITH (quantizer = opq) WHERE id % 10 = 0));
is(is_rotated('sparse_v'), 1, 'a partial index has a rotation');

# Where few rows are refined, a rotation that was learned finds more.
my %recall;
for my $kind (qw(pq opq))
{
	$node->safe_psql('postgres',
		"CREATE INDEX w ON words USING ivfpq (v vector_cosine_ops) WITH (lists = 50, quantizer = $kind, pq_m = 52)");
	$recall{$kind} = $node->safe_psql('postgres',
		q(SET ivfpq.probes = 50; SET ivfpq.refine_factor = 1; SELECT recall FROM vdb.recall('w', 10, 1000)));
	$node->safe_psql('postgres', 'DROP INDEX w');
}
note("recall with pq $recall{pq}, with opq $recall{opq}");
cmp_ok($recall{opq}, '>', $recall{pq} - 0.01, 'no less is found with a rotation');
done_testing();
