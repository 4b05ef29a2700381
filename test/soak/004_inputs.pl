# Claims that 10 million hostile texts, binary messages and index options are
# taken or refused properly, under the address and undefined-behaviour
# sanitizers: what is taken reads back as itself, what is refused has an error
# code of its own.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Soak;
use VdbTest;

my $inputs = portion(10_000_000);
my @kinds = map { my $type = $_; map { [ $type, $_ ] } qw(text binary) } qw(vector halfvec sparsevec);
my $each = int($inputs / (@kinds + 1)) + 1;
my $node = new_sanitized_server('inputs');

$node->safe_psql('postgres', 'CREATE EXTENSION vdb');
load_soak_module($node);
for my $kind (@kinds, [ 'hnsw', 'options' ])
{
	my ($what, $form) = @$kind;
	my ($status, $out, $err) = $node->psql('postgres',
		"SELECT taken, refused, taken > 0 AND refused > 0 FROM soak_inputs('$what', '$form', $each, 42)");

	is("$status $err", '0 ', "$each of $what as $form");
	like($out, qr/\|t$/, "$what as $form: some are taken, some refused ($out)");
}
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|runtime error|AddressSanitizer/,
	'the sanitizers found nothing');
done_testing();
