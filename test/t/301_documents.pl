# Claims that the examples in the documents do what the text says: each SQL
# block of a document runs, one after the other, in a database like that of
# `make demo`, and prints what the block after it shows, if there is one.  And
# that the tables of settings and options say what the library declares.

use strict;
use warnings;
use File::Basename qw(basename);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $top = "$FindBin::RealBin/../..";
my $node = new_server('documents', "shared_preload_libraries = 'vdb'", 'fsync = off', 'maintenance_work_mem = 256MB',
	'wal_level = logical', 'vdb.mirror_memory = 64MB');

allow_output_plugin($node);

# Fewer words than in the demo do where no answer is shown.
make_words('words', 0);
make_words('few_words', 4000);
run_document("$top/README.md", 'words', 6);
run_document("$top/docs/queries.md", 'few_words', 25);
run_document("$top/docs/configuration.md", 'few_words', 4);
run_document("$top/docs/sql.md", 'few_words', 4);
run_document("$top/docs/operations.md", 'few_words', 9);
run_document("$top/docs/ingest.md", 'few_words', 1);

check_names(map { "$top/$_" } qw(README.md docs/queries.md docs/configuration.md docs/sql.md docs/operations.md docs/ingest.md));
check_settings("$top/README.md");
check_settings("$top/docs/configuration.md");
check_options("$top/README.md");
check_options("$top/docs/configuration.md");

$node->stop;
done_testing();

# A database with the table that `make demo` makes, of so many rows at most.
sub make_words
{
	my ($database, $rows) = @_;

	load_words($node, $rows);
	$node->safe_psql(
		'postgres', q(
		ALTER TABLE words DROP COLUMN id;
		ALTER TABLE words RENAME v TO embedding;
		ALTER TABLE words ADD PRIMARY KEY (word);
		CREATE INDEX words_embedding_idx ON words USING hnsw (embedding vector_cosine_ops);
		VACUUM ANALYZE words));
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE postgres");
	$node->safe_psql('postgres', 'DROP TABLE words');
	return;
}

# Runs the examples of a document, of which there are so many at least, in a
# copy of a database and one session.
sub run_document
{
	my ($file, $database, $least) = @_;
	my @examples = grep { $_->{sql} !~ /^CREATE TABLE words /m } examples($file);
	my $name = basename($file, '.md');
	my $script = "\\pset footer off\n\\set VERBOSITY terse\n";
	my ($out, $err) = ('', '');

	cmp_ok(scalar @examples, '>=', $least, "$name has examples");
	$script .= "\\echo [$_]\n$examples[$_]{sql}\n" for 0 .. $#examples;
	$script .= "\\echo [end]\n";

	$node->safe_psql('postgres', "CREATE DATABASE demo TEMPLATE $database");
	IPC::Run::run(
		[ 'psql', '-XqA', '-P', 'format=aligned', '-d', $node->connstr('demo') ],
		'<', \$script, '>', \$out, '2>&1');
	# without pipelines there is no slot, which would keep the database
	$node->safe_psql('demo', 'DROP EXTENSION IF EXISTS vdb CASCADE');
	$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_replication_slots)) or die "$name leaves a slot";
	$node->safe_psql('postgres', 'DROP DATABASE demo');

	for my $i (0 .. $#examples)
	{
		my $what = "$name, line $examples[$i]{line}";
		my $next = $i < $#examples ? $i + 1 : 'end';
		my ($got) = $out =~ /^\[$i\]\n(.*?)^\[$next\]$/ms;

		$got = 'no end' unless defined $got;
		unlike($got, qr/ERROR|FATAL|WARNING|no end/, "$what runs");
		is(neat($got), neat($examples[$i]{shown}), "$what shows this")
		  if defined $examples[$i]{shown};
	}
	return;
}

# Blocks of SQL, each with the block of no language that follows it at once.
sub examples
{
	my ($file) = @_;
	my @examples;
	my $text = slurp_file($file);

	while ($text =~ /^```sql\n(.*?)^```\n(?:```\n(.*?)^```$)?/msg)
	{
		my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);

		push @examples, { sql => $1, shown => $2, line => $line };
	}
	return @examples;
}

# Blanks at the ends of lines, and lines that hold nothing, do not count.  Nor
# does how wide a plan's heading is, which depends on its longest line.
sub neat
{
	my ($text) = @_;

	$text =~ s/^ *QUERY PLAN *\n-+$/QUERY PLAN/mg;
	$text =~ s/ +$//mg;
	$text =~ s/\n+/\n/g;
	$text =~ s/^\n|\n$//g;
	return $text;
}

# Claims that these documents can be followed one after the other in one
# database: none creates what another one creates.
sub check_names
{
	my %documents;

	for my $file (@_)
	{
		for my $example (examples($file))
		{
			$documents{$1}{ basename($file) } = 1
			  while $example->{sql} =~ /^CREATE (?:TEMP )?(?:TABLE|INDEX|FUNCTION)(?: CONCURRENTLY)? (?!ON )(\w+)/mg;
		}
	}
	is_deeply([ grep { keys %{ $documents{$_} } > 1 } sort keys %documents ],
		[], 'each name is created in one document');
	return;
}

# Rows of the tables whose first column is called this, as lists of cells.
sub table_rows
{
	my ($file, $heading) = @_;
	my $text = slurp_file($file);
	my @rows;

	while ($text =~ /^\| $heading \|.*\n\|[- :|]+\n((?:\|.*\n)+)/mg)
	{
		push @rows, map { s/[`,]//gr } split /\n/, $1;
	}
	return map { [ map { s/^ +| +$//gr } (split /\|/)[ 1 .. 3 ] ] } @rows;
}

sub check_settings
{
	my ($file) = @_;
	my %declared = map { my ($name, @rest) = split /\t/; $name => join ' | ', @rest }
	  split /\n/, $node->safe_psql(
		'postgres', q(
		LOAD 'vdb';
		SELECT concat_ws(E'\t', name, boot_val, coalesce(array_to_string(enumvals, ' '), min_val || ' to ' || max_val,
			CASE vartype WHEN 'bool' THEN 'off on' ELSE 'a name' END))
		FROM pg_settings WHERE name ~ '^(hnsw|vdb)\.'));
	my %said = map { $_->[0] => join ' | ', $_->[1], $_->[2] =~ s/ - / to /r =~ s/ and up/ to 2147483647/r }
	  grep { $_->[0] ne 'vdb.stop_at' } table_rows($file, 'setting');

	# PostgreSQL's own have no column for values
	delete @said{ grep { !/^(hnsw|vdb)\./ } keys %said };
	is_deeply(\%said, \%declared, basename($file) . ' has every setting, its default and its values');
	return;
}

sub check_options
{
	my ($file) = @_;
	my @options = table_rows($file, 'option');

	is(join(' ', map { $_->[0] } @options), 'm ef_construction fastupdate pending_limit', basename($file) . ' has every option');
	for my $option (@options)
	{
		my ($name, $default, $range) = @$option;
		my ($min, $max) = $range =~ /^(\d+) (?:to|-) (\d+)/;
		my $said = defined $min ? qr/between "$min" and "$max"/ : qr/boolean option "$name"/;
		my (undef, undef, $err) = $node->psql('postgres',
			"CREATE TEMP TABLE t (v vector(3)); CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH ($name = 1000000)");

		like($err, $said, basename($file) . ": $name is $range");
	}
	return;
}
