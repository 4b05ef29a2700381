# What the soak programs share: tables with an index of every type, traffic on
# them, and a module of functions that only these programs load.

package Soak;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

our @EXPORT = qw(
  portion soak_tables soak_traffic trim as_good_as_new load_soak_module
  new_sanitized_server
);

my $tree = abs_path(dirname(__FILE__) . '/../..');

# SHARE of a full run, at least one.
sub portion
{
	my ($full) = @_;
	my $part = int($full * ($ENV{SHARE} || 1));

	return $part < 1 ? 1 : $part;
}

# One table a type, with an index and so many rows made of word vectors.
sub soak_tables
{
	my ($node, $rows) = @_;
	my @tables = (
		{ name => 'dense', type => 'vector(100)', class => 'vector_cosine_ops', operator => '<=>',
			make => 'v' },
		{ name => 'half', type => 'halfvec(100)', class => 'halfvec_l2_ops', operator => '<->',
			make => 'v::halfvec' },
		{ name => 'bits', type => 'bit(100)', class => 'bit_hamming_ops', operator => '<~>',
			make => 'binary_quantize(v)' },
		{ name => 'sparse', type => 'sparsevec(100)', class => 'sparsevec_ip_ops', operator => '<#>',
			make => 'v::sparsevec' },
		# of so many dimensions that some are coarse in node codes
		{ name => 'wide', type => 'vector(1000)', class => 'vector_l2_ops', operator => '<->',
			make => 'v || v || v || v || v || v || v || v || v || v' });

	load_words($node);
	for my $table (@tables)
	{
		$node->safe_psql(
			'postgres', qq(
			CREATE TABLE $table->{name} (id serial PRIMARY KEY, v $table->{type});
			INSERT INTO $table->{name} (v) SELECT $table->{make} FROM words ORDER BY id LIMIT $rows;
			CREATE INDEX ON $table->{name} USING hnsw (v $table->{class}) WITH (m = 8)));
	}
	return @tables;
}

# pgbench scripts that read, insert, roll back, update, delete and vacuum.
sub soak_traffic
{
	my (@tables) = @_;
	my %traffic;

	for my $table (@tables)
	{
		my ($name, $operator, $make) = @$table{qw(name operator make)};
		my $w = "\\set w random(1, 12000)\n";
		my $value = "SELECT $make FROM words WHERE id = :w";

		$traffic{"${name}_read\@8"} = $w
		  . "SET enable_seqscan = off;\n"
		  . "SELECT 1 / (count(*) = 20)::int AS complete, 1 / bool_and(d >= before)::int AS ordered\n"
		  . "FROM (SELECT d, lag(d, 1, d) OVER () AS before FROM\n"
		  . "	(SELECT v $operator ($value) AS d FROM $name ORDER BY v $operator ($value) LIMIT 20) n) o;\n";
		$traffic{"${name}_insert\@6"} = "${w}INSERT INTO $name (v) $value;\n";
		$traffic{"${name}_rollback\@1"} = "${w}BEGIN;\nINSERT INTO $name (v) $value;\nROLLBACK;\n";
		$traffic{"${name}_update\@2"} = $w
		  . "UPDATE $name SET v = ($value) WHERE id = (SELECT id FROM $name OFFSET :w % 400 LIMIT 1);\n";
		$traffic{"${name}_delete\@5"} = "DELETE FROM $name WHERE id = (SELECT id FROM $name OFFSET floor(random() * 300)::int LIMIT 1);\n";
		$traffic{"${name}_vacuum\@1"} = "VACUUM (INDEX_CLEANUP ON) $name;\n";
	}
	return %traffic;
}

# Brings tables back to about so many rows, so that a long run stays one of the
# same size.
sub trim
{
	my ($node, $rows, @tables) = @_;

	for my $table (@tables)
	{
		$node->safe_psql('postgres',
			"DELETE FROM $table->{name} WHERE id IN (SELECT id FROM $table->{name} ORDER BY random() OFFSET $rows)");
		$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table->{name}");
	}
	return;
}

# Claims that an index finds as much as one that is built anew.
sub as_good_as_new
{
	my ($node, $table, $when) = @_;
	my $recall = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('$table->{name}_v_idx')");

	$node->safe_psql('postgres',
		"CREATE INDEX fresh ON $table->{name} USING hnsw (v $table->{class}) WITH (m = 8)");
	my $new = $node->safe_psql('postgres', "SELECT recall FROM vdb.recall('fresh')");
	$node->safe_psql('postgres', 'DROP INDEX fresh');
	return cmp_ok($recall, '>=', $new - 0.05, "recall of $table->{name} $when, against a new index's $new");
}

# Functions that flip bytes of pages and make hostile inputs.
sub load_soak_module
{
	my ($node) = @_;
	my $library = "$tree/test/soak/soak_module";

	$node->safe_psql(
		'postgres', qq(
		CREATE FUNCTION soak_flip(regclass, bigint) RETURNS text AS '$library' LANGUAGE C STRICT;
		CREATE FUNCTION soak_restore(regclass) RETURNS void AS '$library' LANGUAGE C STRICT;
		CREATE FUNCTION soak_inputs(text, text, bigint, bigint, OUT taken bigint, OUT refused bigint)
			AS '$library' LANGUAGE C STRICT));
	return;
}

# A server of a private installation whose vdb has been built with sanitizers.
sub new_sanitized_server
{
	my ($name) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir("installation_$name");
	my $source = PostgreSQL::Test::Utils::tempdir("source_$name");
	my ($bin, $runtime, $node);
	my @make = ('make', '-s', '-C', $source);

	IPC::Run::run([ "$tree/test/private_server", $folder ], '>', \$bin) or die 'no private installation';
	chomp $bin;
	IPC::Run::run([ 'cp', '-R', map({ "$tree/$_" } qw(Makefile vdb.control sql src)), $source ]) or die 'no copy';
	push @make, 'with_llvm=no', 'COPT=-fsanitize=address,undefined -fno-sanitize-recover=undefined';
	for my $step ([ $ENV{PG_CONFIG}, 'clean' ], [ $ENV{PG_CONFIG}, '-j4', 'all' ], [ "$bin/pg_config", 'install' ])
	{
		# the copy of the server has no headers
		my ($config, @goals) = @$step;

		IPC::Run::run([ @make, "PG_CONFIG=$config", @goals ]) or die "not made: @goals";
	}

	# the server itself has no sanitizer in it, so its runtime comes first
	IPC::Run::run([ 'gcc', '-print-file-name=libasan.so' ], '>', \$runtime) or die 'no sanitizer';
	chomp $runtime;
	IPC::Run::run([ 'gcc', '-shared', '-fPIC', '-o', "$source/no_messages.so", "$tree/test/soak/no_messages.c" ])
	  or die 'no messages';
	$node = PostgreSQL::Test::Cluster->new($name, install_path => dirname($bin));
	$node->init;
	$node->append_conf('postgresql.conf', "fsync = off\njit = off\n");
	{
		local $ENV{LD_PRELOAD} = abs_path($runtime) . " $source/no_messages.so";
		local $ENV{ASAN_OPTIONS} = 'detect_leaks=0:abort_on_error=1:log_to_syslog=0';
		$node->start;
	}
	return $node;
}

1;
