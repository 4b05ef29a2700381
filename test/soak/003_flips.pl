# Claims that a page with flipped bytes gives an answer or a clear error, never
# a crash, an endless loop or an absurd allocation: 10,000 pages, one after the
# other, each read, written to, vacuumed and checked.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Soak;
use VdbTest;

my $pages = portion(10_000);
my $node = new_server('flips', 'fsync = off', 'max_parallel_maintenance_workers = 0');
my @tables = soak_tables($node, 300);
my ($detected, $done) = (0, 0);

load_soak_module($node);

# What each page goes through.  An error is an answer, if it is one of ours or
# the server's own for a page that cannot be one.
sub script
{
	my ($table, $seed) = @_;
	my ($name, $operator) = @$table{qw(name operator)};

	return qq(
		\\echo page $seed of $name
		SELECT soak_flip('${name}_v_idx', $seed);
		SELECT count(*) FROM (SELECT FROM $name ORDER BY v $operator (SELECT v FROM $name LIMIT 1 OFFSET $seed % 100) LIMIT 50) r;
		INSERT INTO $name (v) SELECT v FROM $name LIMIT 1 OFFSET $seed % 50;
		DELETE FROM $name WHERE id = (SELECT max(id) FROM $name);
		@{[ $seed % 10 == 0 ? "VACUUM (INDEX_CLEANUP ON) $name;" : '' ]}
		SELECT 'undetected' FROM vdb.check_index('${name}_v_idx');
		SELECT soak_restore('${name}_v_idx');
		@{[ $seed % 25 == 0 ? "REINDEX INDEX ${name}_v_idx;" : '' ]});
}

while ($done < $pages)
{
	my $table = $tables[ $done / 500 % @tables ];
	my $count = $pages - $done < 500 ? $pages - $done : 500;
	my $sql = "SET enable_seqscan = off; SET statement_timeout = '60s';\n"
	  . join '', map { script($table, $done + $_) } 1 .. $count;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres') ],
		'<', \$sql, '>', \$out, '2>', \$err);
	$done += $count;
	is(scalar(() = $out =~ /^page \d/mg), $count, "$done pages of $table->{name}: the session lives");
	my @strange = grep { /ERROR:/ && !/ERROR:  (?:XX00[012]|22\w\w\w|0A000: .* has format version)/ || /invalid memory alloc|lost|closed the connection/ } split /\n/, $err;
	is("@strange[0 .. ($#strange < 4 ? $#strange : 4)]", '', "$done pages of $table->{name}: errors are clear");
	$detected += $count - (() = $out =~ /^undetected$/mg);
}
note("$detected of $done flips were detected by vdb.check_index");
cmp_ok($detected, '>=', $done / 2, 'most flips are detected');
for my $table (@tables)
{
	$node->safe_psql('postgres', "REINDEX INDEX $table->{name}_v_idx");
	check_index($node, "$table->{name}_v_idx", 'after REINDEX');
}
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no process died');
done_testing();
