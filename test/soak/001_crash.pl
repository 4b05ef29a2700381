# Claims that wherever a server crashes while it writes, builds and vacuums
# indexes of every type, each committed row is in its index afterwards.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Soak;
use VdbTest;

my $rounds = portion(200);
my $node = new_server('crashes', "wal_consistency_checking = 'generic'");
my @tables = soak_tables($node, 500);
my %traffic = soak_traffic(@tables);
my $lost = 0;

for my $round (1 .. $rounds)
{
	my $before = $node->safe_psql('postgres', "SELECT max(id) FROM $tables[0]{name}");
	my $bench = begin_pgbench($node, 4, 60, %traffic);
	my $table = $tables[ $round % @tables ];
	my $build = begin_psql($node, "CREATE INDEX another ON $table->{name} USING hnsw (v $table->{class})");

	usleep(100_000 + int rand 900_000);
	if ($round % 2)
	{
		kill_and_start($node);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	await_end($bench);
	await_end($build);
	$lost++ if $node->safe_psql('postgres', "SELECT max(id) FROM $tables[0]{name}") > $before;
	check_index($node, "$_->{name}_v_idx", "after crash $round") for @tables;
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS another');
	$node->safe_psql('postgres', 'CHECKPOINT') if $round % 3 == 0;
	trim($node, 2000, @tables) if $round % 20 == 0;
}
cmp_ok($lost, '>=', $rounds / 2, "in $lost of $rounds rounds there was something to lose");

for my $table (@tables)
{
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table->{name}");
	check_index($node, "$table->{name}_v_idx", 'after a last vacuum');
	as_good_as_new($node, $table, 'after all crashes');
}
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|inconsistent page/, 'replay found the pages that were logged');
done_testing();
