# Claims that CREATE EXTENSION vector, with pgvector's alias installed, creates
# what pgvector creates and what the extension vdb creates; and that the alias
# comes and goes without touching a file of pgvector's.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my ($node, $pg_config) = new_server_with_alias('alias');

sub folder
{
	my ($which) = @_;
	my $out = `'$pg_config' --$which`;

	chomp $out;
	return $out;
}

# What make says, and whether it succeeded.
sub make
{
	my ($target) = @_;
	my $output = '';
	my $done = IPC::Run::run(
		[ 'make', '-s', "PG_CONFIG=$pg_config", 'ALIAS_DIR=' . $node->basedir . '/alias', $target ],
		'>&', \$output);

	return ($done, $output);
}

sub new_database
{
	my ($name, $sql) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, $sql);
	return;
}

sub fails_with
{
	my ($database, $sql, $text, $name) = @_;
	my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$sql");

	return like($err, $text, $name);
}

# --- the extension -----------------------------------------------------------

new_database('vdb', 'CREATE EXTENSION vdb');
new_database('alias', 'CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public');

my ($status, $out, $err) =
  $node->psql('alias', 'CREATE EXTENSION IF NOT EXISTS vector; ALTER EXTENSION vector UPDATE');
is($status, 0, 'the extension can be created again and updated');
like($err, qr/extension "vector" already exists, skipping/, 'which it is said to exist');
like($err, qr/version "0\.8\.\d+" of extension "vector" is already installed/, 'and to be current');

like($node->safe_psql('alias', "SELECT extversion FROM pg_extension WHERE extname = 'vector'"),
	qr/^0\.8\.\d{3,}$/, "its version is of pgvector's series 0.8, and not a release of pgvector");
fails_with('vdb', "CREATE DATABASE x; \\c x\nCREATE EXTENSION vector VERSION '0.8.0'",
	qr/no installation script nor update path for version "0.8.0"/, 'another version is refused');

new_database('elsewhere', 'CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions');
is($node->safe_psql('elsewhere',
		"SELECT extensions.l2_distance('[1,2]'::extensions.vector, '[4,6]')"),
	'5', 'it can live in another schema');

is($node->safe_psql('alias', q{
	CREATE TABLE t AS SELECT ARRAY[i, i * i % 17, i % 5]::vector(3) AS v
	FROM generate_series(1, 200) i;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops);
	SELECT live FROM vdb.check_index('t_v_idx', true)}),
	'200', 'the functions of management are there');

# --- the same objects --------------------------------------------------------

# Everything that belongs to an extension, and what its operator classes hold.
my $members = q{
	SELECT i.type || ' ' || i.identity
	FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i
	WHERE (d.refclassid, d.refobjid, d.deptype) IN
		(SELECT 'pg_extension'::regclass, oid, 'e'::"char" FROM pg_extension WHERE extname = '%s')
	UNION ALL
	SELECT format('support function %s of %s', p.amproc, p.amprocfamily)
	FROM (SELECT amproc::regprocedure, opfname AS amprocfamily
		FROM pg_amproc JOIN pg_opfamily f ON f.oid = amprocfamily WHERE f.oid >= 16384) p
	ORDER BY 1};
is($node->safe_psql('alias', sprintf($members, 'vector')),
	$node->safe_psql('vdb', sprintf($members, 'vdb')),
	'the alias has exactly the objects of vdb');

my $facts = "$FindBin::RealBin/../pgvector";
my @ours = split /\n/, $node->safe_psql('alias', slurp_file("$facts/objects.sql"));
my @pgvectors = split /\n/, slurp_file("$facts/objects.out");

# What pgvector's operator classes call is pgvector's own affair.
@pgvectors = grep { !/^function (hnsw|ivfflat)_\w+_support\(/ } @pgvectors;

my %is_ours = map { $_ => 1 } @ours;
cmp_ok(scalar(@pgvectors), '>=', 198, 'there are objects to compare with');
is_deeply([ grep { !$is_ours{$_} } @pgvectors ],
	[], 'every object of pgvector is there, with its signature');

# --- one of the two in a database --------------------------------------------

my $one = qr/42710.*"vdb" and "vector" cannot be in one database/s;

fails_with('alias', 'CREATE EXTENSION vdb', $one, 'vdb is refused where the alias is');
fails_with('vdb', 'CREATE EXTENSION vector', $one, 'the alias is refused where vdb is');
fails_with('vdb', 'CREATE SCHEMA s; CREATE EXTENSION vector SCHEMA s',
	$one, 'in another schema too');

# --- installing --------------------------------------------------------------

my $extension = folder('sharedir') . '/extension';
my @alias = glob "$extension/vector*";
my $library = folder('pkglibdir') . '/vector.so';
my ($done, $said);

is(@alias, 2, 'the alias is a control file and a script');

append_to_file("$extension/vector--0.7.9.sql", "/* made from vdb */\n");
($done, $said) = make('install-pgvector-alias');
ok($done, 'the alias can be installed again') or diag($said);
is_deeply([ glob "$extension/vector*" ], \@alias, 'and takes away what an earlier one left');

for my $theirs ($library, "$extension/vector--0.8.7.sql")
{
	append_to_file($theirs, "another extension's\n");
	($done, $said) = make('install-pgvector-alias');
	ok(!$done, "not where $theirs is");
	like($said, qr/pgvector is installed here and keeps its name: there is \Q$theirs\E/, 'which make says');
	unlink $theirs;
}

append_to_file("$extension/vector--0.8.7.sql", "another extension's\n");
($done, $said) = make('uninstall-pgvector-alias');
ok($done, 'the alias can be uninstalled') or diag($said);
is_deeply([ glob "$extension/vector*" ],
	["$extension/vector--0.8.7.sql"], "pgvector's files stay");

append_to_file("$extension/vector.control", "another extension's\n");
($done, $said) = make('install-pgvector-alias');
ok(!$done, "a control file of pgvector's is in the way too");
is(slurp_file("$extension/vector.control"), "another extension's\n", 'and is left as it was');

unlink glob "$extension/vector*";
append_to_file("$extension/vector--0.7.9.sql", "/* made from vdb */\n");
($done, $said) = make('uninstall');
ok($done, 'vdb can be uninstalled') or diag($said);
is_deeply([ glob "$extension/{vector,vdb}*" ], [], 'which takes the alias away as well');

done_testing();
