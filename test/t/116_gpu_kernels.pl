# Claims that the kernels of the library for CUDA find what integers and doubles say, on fresh random data.  A processor runs
# them, thread by thread, as gpu/emulated has it; what only a device can show, gpu/check does.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::RealBin/../..";
my $folder = PostgreSQL::Test::Utils::tempdir();

plan skip_all => 'needs g++: test/setup kernels' if system('command -v g++ >/dev/null 2>&1') != 0;
is(system("$tree/test/gpu/emulate", $folder, '-Wall', '-Werror'), 0, 'the library compiles for a processor');
is(system("cc -std=gnu11 -O2 -ffp-contract=off -Wall -Werror -I$tree/gpu -o $folder/check_gpu $tree/gpu/check_gpu.c -lm -ldl"), 0,
	'so does what checks it');
{
	my $output = `$folder/check_gpu $folder/emulated_gpu.so few`;

	is($?, 0, 'it finds what it should') or diag($output);
	cmp_ok(scalar(() = $output =~ /^ok - /mg), '>=', 20, 'in each case');
}
done_testing();
