# Claims that indexes which four clients read and change for an hour stay sound,
# as good as new ones, and of a bounded size.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Soak;
use VdbTest;

my $seconds = portion(3600);
my $pauses = 12;
my $node = new_server('churn', 'fsync = off', 'max_parallel_maintenance_workers = 0');
my @tables = soak_tables($node, 3000);
my %traffic = soak_traffic(@tables);
my %size = map { $_->{name} => index_size($node, "$_->{name}_v_idx") } @tables;

for my $pause (1 .. $pauses)
{
	my $bench = begin_pgbench($node, 4, 1 + int($seconds / $pauses), %traffic);

	ok(await_end($bench), "part $pause of $pauses: all sessions succeed");
	unlike(${ $bench->{output} }, qr/ERROR/, "part $pause: each answer is complete and in order")
	  or diag(${ $bench->{output} });
	for my $table (@tables)
	{
		check_index($node, "$table->{name}_v_idx", "after part $pause");
		$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table->{name}");
		check_index($node, "$table->{name}_v_idx", "vacuumed after part $pause");
		as_good_as_new($node, $table, "after part $pause");
	}
	trim($node, 3000, @tables);
}
for my $table (@tables)
{
	cmp_ok(index_size($node, "$table->{name}_v_idx"), '<=', 3 * $size{ $table->{name} },
		"the size of $table->{name}'s index is bounded");
}
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no process died');
done_testing();
