# Claims that the dump of a database that used pgvector restores unchanged where
# pgvector's alias is installed, and that the database then holds and answers
# what it did: with its indexes and without.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my ($node) = new_server_with_alias('restored', 'wal_level = logical');

my $pgvector = "$FindBin::RealBin/../pgvector";
my $dump = slurp_file("$pgvector/dump.sql");

# Restores a dump, which must raise nothing.
sub restores
{
	my ($sql, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	is("$status $err", '0 ', $name);
	return;
}

restores($dump, 'the dump restores');

# Of so few rows an exact search would be sooner, by an index of another kind.
my $with_indexes = 'SET enable_seqscan = off; SET enable_sort = off; SET vdb.enable_exact_scan = off';

my $questions = slurp_file("$pgvector/questions.sql");
my $answers = slurp_file("$pgvector/answers.out");

sub answers_are_the_same
{
	my ($database, $settings, $how) = @_;

	is($node->safe_psql($database, "$settings;\n$questions") . "\n",
		$answers, "the database answers as before $how");
	return;
}

answers_are_the_same('pgvector_dump', 'SET enable_indexscan = off', 'without its indexes');
answers_are_the_same('pgvector_dump', $with_indexes, 'with its indexes');

my @indexes = split /\n/, $node->safe_psql('pgvector_dump', q{
	SELECT i.oid::regclass FROM pg_class i JOIN pg_am a ON a.oid = i.relam
	WHERE a.amname = 'hnsw' AND i.relkind = 'i' ORDER BY 1});

cmp_ok(scalar(@indexes), '>=', 20, 'its indexes are there');
sub were_used
{
	my ($method) = @_;

	is($node->safe_psql('pgvector_dump', qq{
		SELECT indexrelname FROM pg_stat_user_indexes
		WHERE idx_scan = 0 AND indexrelid IN
			(SELECT i.oid FROM pg_class i JOIN pg_am a ON a.oid = i.relam WHERE a.amname = '$method')}),
		'', "each index of $method was used");
	return;
}

# Where both could, the planner takes lists, since these are few rows.
were_used('ivfflat');
$node->safe_psql('pgvector_dump', q{
	DO $$ BEGIN EXECUTE (
		SELECT string_agg('DROP INDEX ' || i.oid::regclass, ';') FROM pg_class i JOIN pg_am a ON a.oid = i.relam
		WHERE a.amname = 'ivfflat' AND i.relkind = 'i'); END $$});
answers_are_the_same('pgvector_dump', $with_indexes, 'without its lists');
were_used('hnsw');
for my $index (@indexes)
{
	is($node->psql('pgvector_dump', "SELECT FROM vdb.check_index('$index', true)"),
		0, "$index is sound");
}

# Constraints hold as before.
for my $case (
	[ 'INSERT INTO app.items (id, title, embedding) SELECT 999, title, embedding FROM app.items LIMIT 1',
		qr/unique constraint "items_once"/ ],
	[ q{INSERT INTO app.items (id, title, embedding) VALUES (999, '', '[0,0,0,0,0,0,0,0]')},
		qr/check constraint "items_not_empty"/ ],
	[ q{INSERT INTO app.items (id, title, embedding) VALUES (999, '', '[1]')},
		qr/expected 8 dimensions, not 1/ ],
	[ q{INSERT INTO app.items (id, title, embedding) VALUES (999, '', '[0,0,0,0,0,0,0,1001]')},
		qr/too long/ ],
	[ q{SELECT '[1,1,1]'::app.direction}, qr/check constraint "direction_check"/ ])
{
	my ($sql, $text) = @$case;

	my ($status, $out, $err) = $node->psql('pgvector_dump', $sql);
	like($err, $text, "refused: $text");
}

# What was restored can be dumped and restored once more.
my $file = $node->basedir . '/again.dump';

$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr('pgvector_dump') ],
	'the database can be dumped');
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', $node->connstr('again'), $file ],
	'and restored by two jobs');
$node->safe_psql('postgres', 'ALTER DATABASE again SET hnsw.ef_search = 200; ALTER DATABASE again SET ivfflat.probes = 5');
answers_are_the_same('again', $with_indexes, 'after that');

# Without the alias, with the name changed.
$dump =~ s/^(CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) vector /$1 vdb /mg;
$dump =~ s/pgvector_dump/renamed/g;
restores($dump, 'the dump restores into vdb');
answers_are_the_same('renamed', $with_indexes, 'in vdb');

done_testing();
