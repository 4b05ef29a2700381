# What stands in for a device's library: test/gpu/test_gpu.c, which computes by itself and fails as it is told.
# VDB_GPU_LIBRARY=vdb_gpu has a real device looked at instead.

package GpuTest;

use strict;
use warnings;
use Exporter 'import';
use File::Spec;
use FindBin;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(gpu_library gpu_is_real fail_with);

my $faults;

sub gpu_is_real { return $ENV{VDB_GPU_LIBRARY} }

# What vdb.gpu_library is to be, of a server that is started after this was asked: it inherits where the library
# looks for its faults.
sub gpu_library
{
	$faults //= PostgreSQL::Test::Utils::tempdir() . '/fault';
	$ENV{VDB_GPU_FAULT} = $faults;
	return gpu_is_real() || File::Spec->rel2abs("$FindBin::RealBin/../gpu/test_gpu.so");
}

# Has a function of the library fail from now on, as "search slow"; none where that is empty.
sub fail_with
{
	my ($fault) = @_;
	unlink $faults;
	append_to_file($faults, $fault) if $fault;
	return;
}

1;
