# Claims floors of recall on real word vectors, for each distance: after a
# build, after inserts into an empty index, and after a dozen rounds of churn,
# which must not make the index grow either.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

my $node = new_server('recall', 'fsync = off', 'maintenance_work_mem = 256MB');

my %floor = (
	l2 => { build => 0.97, wide => 0.99, insert => 0.95, churn => 0.95 },
	ip => { build => 0.96, wide => 0.98, insert => 0.94, churn => 0.94 },
	cosine => { build => 0.97, wide => 0.99, insert => 0.95, churn => 0.95 },
	l1 => { build => 0.97, wide => 0.99, insert => 0.95, churn => 0.95 });

my %operator = (l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>');

load_words($node);

# Claims that a scan at its limit returns the nearest rows of all that it has weighed, and reads
# few others for that.
sub ends_at_limit
{
	my ($distance, $rows) = @_;
	my $ask = "SELECT id FROM words ORDER BY v $operator{$distance} (SELECT v FROM words WHERE id = 77)";
	my $log = notices_of(
		$node, qq(
		SET enable_seqscan = off; SET enable_sort = off; SET vdb.enable_exact_scan = off; SET jit = off;
		SET hnsw.max_scan_tuples = 4000;
		SET hnsw.iterative_scan = relaxed_order;
		CREATE TABLE weighed AS $ask LIMIT 100000;
		SET hnsw.iterative_scan = strict_order;
		SET vdb.log_scan = on; SET client_min_messages = log;
		CREATE TABLE returned AS $ask LIMIT $rows;
		CREATE TABLE returned_all AS $ask LIMIT 100000));
	my ($candidates, $distances) = $log =~ /rows $rows, candidates (\d+), distances (\d+)/;
	my $weighed = $node->safe_psql('postgres', 'SELECT count(*) FROM weighed');

	cmp_ok($weighed, '>=', 3800, "$distance: all rows that were weighed are returned to who asks for them");
	# by city-block distance, where nothing is rotated, estimates are worse, and half of them are
	cmp_ok($candidates, '<', $weighed * 0.75, "$distance: many of them are not read for $rows rows");
	cmp_ok($node->safe_psql('postgres', "
		SELECT count(*) FROM (SELECT w.id FROM weighed JOIN words w USING (id)
			ORDER BY w.v $operator{$distance} (SELECT v FROM words WHERE id = 77) LIMIT $rows) n JOIN returned USING (id)"),
		'>=', $rows * 0.99, "$distance: these are the nearest");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM returned_all'), '>=', $weighed * 0.99,
		"$distance: and in strict order hardly one is left out, up to the last");
	$node->safe_psql('postgres', 'DROP TABLE weighed, returned, returned_all');
	return;
}

for my $distance (sort keys %floor)
{
	my $floor = $floor{$distance};

	$node->safe_psql('postgres',
		"CREATE INDEX built_$distance ON words USING hnsw (v vector_${distance}_ops)");
	check_index($node, "built_$distance", 'after a build');
	recall_at_least($node, "built_$distance", $floor->{build}, 'after a build');
	recall_at_least($node, "built_$distance", $floor->{wide}, 'with ef_search = 100',
		settings => 'SET hnsw.ef_search = 100');
	ends_at_limit($distance, 400);
	$node->safe_psql('postgres', "DROP INDEX built_$distance");

	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE grown_$distance (id int, v vector(100));
		CREATE INDEX grown_${distance}_idx ON grown_$distance USING hnsw (v vector_${distance}_ops);
		INSERT INTO grown_$distance SELECT id, v FROM words WHERE id <= 5000));
	check_index($node, "grown_${distance}_idx", 'after inserts');
	recall_at_least($node, "grown_${distance}_idx", $floor->{insert}, 'after inserts');
}

# Each round a tenth of the rows goes and other words come.
for my $distance (sort keys %floor)
{
	my $table = "churn_$distance";
	my $index = "${table}_idx";

	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE $table (id int, v vector(100));
		INSERT INTO $table SELECT id, v FROM words WHERE id <= 4000;
		CREATE INDEX $index ON $table USING hnsw (v vector_${distance}_ops)));
	my $size = index_size($node, $index);

	for my $round (0 .. 11)
	{
		$node->safe_psql('postgres', "DELETE FROM $table WHERE id % 10 = $round % 10");
		$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table");
		$node->safe_psql(
			'postgres', qq(
			INSERT INTO $table
			SELECT 10 * (id / 10) + $round % 10, v FROM words
			WHERE id > 4000 + $round * 400 AND id <= 4400 + $round * 400));
	}
	check_index($node, $index, 'after churn');
	recall_at_least($node, $index, $floor{$distance}{churn}, 'after churn');
	cmp_ok(index_size($node, $index), '<=', $size * 1.2, "$index did not grow");
}

$node->stop;
done_testing();
