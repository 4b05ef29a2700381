# Claims that an inserted row costs the write-ahead log little: no more bytes than
# are new, in few records, which replay as the primary's pages were.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('insert_wal', 'full_page_writes = off');

load_words($node, 3000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE plain (v vector(100));
	CREATE TABLE t (v vector(100));
	INSERT INTO t SELECT v FROM words WHERE id <= 2000;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_cosine_ops)));

# Where in the log the insertion of 500 rows, one by one, began and ended.
sub insert_rows
{
	my ($table) = @_;
	my $rows = join '', map { "INSERT INTO $table SELECT v FROM words WHERE id = $_;\n" } 2001 .. 2500;
	my $now = 'SELECT pg_current_wal_insert_lsn()';

	$node->safe_psql('postgres', 'CHECKPOINT');
	return split /\n/, $node->safe_psql('postgres', "$now;\n$rows$now");
}

sub bytes_a_row
{
	my ($from, $to) = @_;
	return $node->safe_psql('postgres', "SELECT ('$to'::pg_lsn - '$from') / 500");
}

my ($from, $to) = insert_rows('t');
my $bytes = bytes_a_row($from, $to) - bytes_a_row(insert_rows('plain'));

cmp_ok($bytes, '<', 1000, 'a row of 100 dimensions costs the index less than 1,000 bytes');
note("bytes a row: $bytes");

my ($dump) = run_command([ $node->config_data('--bindir') . '/pg_waldump',
		'--path' => $node->data_dir . '/pg_wal', '--start' => $from, '--end' => $to, '--rmgr' => 'Generic' ]);
my @records = split /\n/, $dump;

cmp_ok(scalar @records, '<', 500 * 7, 'and less than seven records');
note('records a row: ' . @records / 500);
is(scalar(grep { /blkref #4/ } @records), 0, 'none with more pages than replay knows');
is(scalar(grep { /blkref #3/ } @records) > 500, 1, 'many with as many');

# Without a checkpoint since: all of it is replayed.
$node->stop('immediate');
$node->start;
check_index($node, 't_v_idx', 'after replay');
recall_at_least($node, 't_v_idx', 0.95, 'after replay');
done_testing();
