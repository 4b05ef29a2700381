# Claims that a scan by a snapshot whose rows VACUUM was allowed to take is an error, as it
# is of the server's own indexes, and no short answer.  Before 17.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

plan skip_all => 'this release has no old_snapshot_threshold' if `'$ENV{PG_CONFIG}' --version` =~ /(\d+)/ && $1 >= 17;

my $node = new_server('old', 'fsync = off', 'autovacuum = off', 'old_snapshot_threshold = 0');
my %indexes = (graph => 'hnsw (v vector_l2_ops)', lists => 'ivfflat (v vector_l2_ops) WITH (lists = 4)');

for my $name (sort keys %indexes)
{
	$node->safe_psql('postgres', "CREATE TABLE $name (id int, v vector(2));
		INSERT INTO $name SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 300) i;
		CREATE INDEX ON $name USING $indexes{$name}");
}

# zero is for tests: a snapshot is old after five seconds
my $ask = q(SELECT count(*) FROM (SELECT id FROM %s ORDER BY v <-> '[0,0]' LIMIT 300) s);
my %readers = map {
	my $again = sprintf $ask, $_;

	$_ => begin_psql($node, [ 'SET enable_seqscan = off; SET hnsw.ef_search = 400; SET ivfflat.probes = 4',
			'BEGIN ISOLATION LEVEL REPEATABLE READ', $again, $again, q(SELECT pg_sleep(9)), $again ]);
} sort keys %indexes;

$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$node->safe_psql('postgres', "DELETE FROM $_ WHERE id <= 100") for sort keys %indexes;
sleep 7;
$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $_") for sort keys %indexes;
for my $name (sort keys %indexes)
{
	is(await_end($readers{$name}), '', "a $name search by an old snapshot fails");
	like(${ $readers{$name}{output} }, qr/^300\n300\n.*ERROR:  snapshot too old\nDETAIL:  VACUUM may have taken/s, "and says why: $name");
	is($node->safe_psql('postgres', 'SET enable_seqscan = off; SET ivfflat.probes = 4; SET hnsw.ef_search = 400; ' . sprintf $ask, $name), '200', "a new one finds what is left: $name");
}
$node->stop;
done_testing();
