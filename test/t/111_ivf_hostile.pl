# Claims that an inverted file that was damaged gives clear errors or rows, and
# never takes the server down, nor holds a session that is asked to end.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

use constant BLCKSZ => 8192;

my $node = new_server('hostile', 'ignore_checksum_failure = on', 'statement_timeout = 20s');

load_words($node, 2000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (v vector(100), n int);
	INSERT INTO t SELECT v, id FROM words;
	CREATE INDEX t_v_idx ON t USING ivfpq (v vector_l2_ops, n) WITH (lists = 8);
	CHECKPOINT));

my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_v_idx')");
my $sound = slurp_file($file);
my $pages = length($sound) / BLCKSZ;

my $scan = 'SET enable_seqscan = off; SELECT count(*) FROM
	(SELECT FROM t ORDER BY v <-> (SELECT v FROM words WHERE id = 1) LIMIT 100) s';
my $insert = 'INSERT INTO t SELECT v, id FROM words WHERE id = 1';
my $check = "SELECT vdb.check_index('t_v_idx', true)";
my $vacuum = 'DELETE FROM t WHERE n = 7; VACUUM (INDEX_CLEANUP ON) t';

# lists are counted, and most made anew
my $change = 'INSERT INTO t SELECT v, 8 FROM words WHERE id < 1000; VACUUM t; DELETE FROM t WHERE n = 8; VACUUM t';

sub damage
{
	my ($bytes) = @_;

	$node->stop;
	open my $out, '+<:raw', $file or die "$file: $!";
	truncate $out, 0;
	print $out $bytes;
	close $out;
	$node->start;
	return;
}

# The file with some bytes of a block replaced.
sub with_bytes
{
	my ($block, $offset, $bytes) = @_;
	my $changed = $sound;

	substr($changed, $block * BLCKSZ + $offset, length $bytes) = $bytes;
	return $changed;
}

sub page
{
	my ($block) = @_;
	return substr $sound, $block * BLCKSZ, BLCKSZ;
}

my %first;
$first{ unpack 'v', substr page($_), BLCKSZ - 12, 2 } = $_ for reverse 0 .. $pages - 1;
my ($meta, $center, $rows, $row_records, $lists, $list_records) = map { $first{$_} } 1, 2, 6 .. 9;

is(scalar(grep { defined } $meta, $center, $rows, $row_records, $lists, $list_records), 6,
	'there is a page of each kind');

# The root group is the first of its page, and so is the first group of rows.
my $group = 64;
my ($root) = unpack 'V', substr page(0), 24 + 64, 4;

# The first group of the first page of rows: those of an extent, and its number.
my $first_group = unpack('V', substr page(0), 24 + 44, 4) * unpack('V', substr page($rows), BLCKSZ - 16, 4);

my %bad = (
	'another magic number' => [ with_bytes(0, 24, 'ABCD'), 'is not an inverted file' ],
	'a version from the future' => [ with_bytes(0, 28, pack 'v', 99), 'format version 99' ],
	'too many dimensions' => [ with_bytes(0, 48, pack 'V', 99_999), 'contradicts itself' ],
	'codes of another length' => [ with_bytes(0, 52, pack 'v', 1), 'contradicts itself' ],
	'more lists than there are' => [ with_bytes(0, 24 + 68, pack 'V', 7), 'more lists than' ],
	'a root that cannot exist' => [ with_bytes(0, 24 + 64, pack 'V', 0x7ffffff0), 'beyond the index' ],
	'free groups that cannot exist' => [ with_bytes(0, 24 + 76, pack 'V', 0x7ffffff0), 'beyond the index' ],
	'a free group among lists' => [ with_bytes(0, 24 + 76, pack 'V', 0), 'of kind|belongs to|leads to lists' ],
	'a free group of a list' => [ with_bytes(0, 24 + 76, pack 'V', $first_group), 'not its own|said to be free' ],
	'lists in a circle' => [ with_bytes($lists, $group + 4, pack 'V', $root), 'more' ],
	'an empty circle' => [ with_bytes($lists, $group + 4, pack 'V2', $root, 0), 'More groups|A free lane' ],
	'a list page of zeros' => [ with_bytes($lists, 0, "\0" x BLCKSZ), 't_v_idx' ],
	'a list page of rows' => [ with_bytes($lists, 0, page($rows)), 'of kind|belongs to' ],
	'a center page of rows' => [ with_bytes($center, 0, page($rows)), 'of kind|belongs to' ],
	'list records of rows' => [ with_bytes($list_records, 0, page($row_records)), 'of kind|belongs to' ]);

for my $what (sort keys %bad)
{
	my ($bytes, $text) = @{ $bad{$what} };

	damage($bytes);
	my ($status, undef, $error) = $node->psql('postgres', $check);
	like($error, qr/$text/, "$what: check");
	for my $sql ($scan, $insert, $change)
	{
		($status, undef, $error) = $node->psql('postgres', $sql);
		like($error, qr/$text|^$/, "$what: an error or rows");
		unlike($error, qr/timeout|terminat|closed the connection/, "$what: it ends");
	}
}

# Pages of rows: what fails depends on what is asked for, but nothing crashes or hangs.
my $noise = join('', map { pack 'V', $_ * 2654435761 % 2**32 } 1 .. BLCKSZ / 4);
my %bad_rows = (
	'of zeros' => with_bytes($rows, 0, "\0" x BLCKSZ),
	'of noise' => with_bytes($rows, 0, $noise),
	'with groups of noise' => with_bytes($rows, 64, substr $noise, 0, BLCKSZ - 64 - 16),
	'whose group is another list\'s' => with_bytes($rows, $group, pack 'V', 5),
	'whose group leads to itself' => with_bytes($rows, $group + 4, pack 'V', $first_group),
	'that counts too many groups' => with_bytes($rows, BLCKSZ - 10, pack 'v', 60_000),
	'with records of noise' => with_bytes($row_records, 64, substr $noise, 0, BLCKSZ - 64 - 16),
	'with a stack that leads nowhere' => with_bytes($rows, $group + 12, pack 'V', 0x7ffffff0));

for my $what (sort keys %bad_rows)
{
	damage($bad_rows{$what});
	for my $sql ($scan, $insert, $check, $vacuum, $scan, $change, $scan)
	{
		my ($status, undef, $error) = $node->psql('postgres', "SET ivfpq.probes = 8; $sql");
		like($error, qr/^$|corrupted|not in index|invalid page/, "rows $what: an error or an answer");
	}
}

# vdb.prewarm() looks at the first page of each extent, and at no block that is not there.
my %bad_extents = (
	'more extents than the file has' => [ with_bytes(0, 24 + 52, pack 'V', 100_000), '100000 extents need' ],
	'a first page of zeros' => [ with_bytes($rows, 0, "\0" x BLCKSZ), 'was not written by' ],
	'a first page of records' => [ with_bytes($rows, 0, page($row_records)), 'of kind' ]);

for my $what (sort keys %bad_extents)
{
	my ($bytes, $text) = @{ $bad_extents{$what} };

	damage($bytes);
	psql_fails($node, "SELECT vdb.prewarm('t_v_idx')", 'XX002', $text, "prewarm: $what");
}

# A codebook, with a rotation behind it: what cannot be one is refused, and of what can be, scores are numbers.
damage($sound);
$node->safe_psql(
	'postgres', q(
	DROP INDEX t_v_idx;
	CREATE INDEX t_v_idx ON t USING ivfpq (v vector_l2_ops, n) WITH (lists = 8, quantizer = opq);
	CHECKPOINT));
$file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_v_idx')");
$sound = slurp_file($file);
my ($codebook, @rotation) = grep { unpack('v', substr page($_), BLCKSZ - 12, 2) == 10 } 0 .. length($sound) / BLCKSZ - 1;
is(scalar(@rotation), 6, 'there are pages of the codebook');
my %bad_codebooks = (
	'of another kind of code' => [ with_bytes(0, 24 + 256, pack 'V', 0), 'contradicts itself' ],
	'of a kind that there is not' => [ with_bytes(0, 24 + 256, pack 'V', 3), 'contradicts itself' ],
	'of an odd number of parts' => [ with_bytes(0, 24 + 260, pack 'V', 25), 'contradicts itself' ],
	'of more parts than dimensions' => [ with_bytes(0, 24 + 260, pack 'V', 106), 'contradicts itself' ],
	'of fewer parts' => [ with_bytes(0, 24 + 260, pack 'V', 2), 'contradicts itself' ],
	'without its rotation' => [ with_bytes(0, 24 + 269, "\0"), 'contradicts itself' ],
	'with two rotations' => [ with_bytes(0, 24 + 269, "\2"), 'contradicts itself' ],
	'of a threshold too great' => [ with_bytes(0, 24 + 272, pack 'f', 1), 'contradicts itself' ],
	'of a threshold that is none' => [ with_bytes(0, 24 + 272, pack 'f', 'nan'), 'contradicts itself' ],
	'with a rotation of zeros' => [ with_bytes($rotation[3], 32, "\0" x 4096), 'changes lengths' ],
	'with a rotation that is none' => [ with_bytes($rotation[3], 400, pack 'f', 'inf'), 'changes lengths' ],
	'with another rotation' => [ with_bytes($rotation[3], 32 + 416, substr page($rotation[3]), 32, 416), 't_v_idx' ],
	'of more pages' => [ with_bytes(0, 24 + 264, pack 'V', 1000), 'contradicts itself' ],
	'of zeros' => [ with_bytes($codebook, 0, "\0" x BLCKSZ), 't_v_idx' ],
	'of the center' => [ with_bytes($codebook, 0, page($codebook - 1)), 'of kind' ],
	'with a value that is none' => [ with_bytes($codebook, 32, pack 'f', 'nan'), 'no centroid has' ],
	'with a value out of reach' => [ with_bytes($codebook, 96, pack 'f', 1e30), 'no centroid has' ],
	'with other values' => [ with_bytes($codebook, 32, "\0" x 4096), 'does not have the code' ]);

for my $what (sort keys %bad_codebooks)
{
	my ($bytes, $text) = @{ $bad_codebooks{$what} };

	damage($bytes);
	my ($status, undef, $error) = $node->psql('postgres', $check);
	like($error, qr/$text/, "codebook $what: check");
	for my $sql ($scan, $insert, $vacuum)
	{
		($status, undef, $error) = $node->psql('postgres', $sql);
		like($error, qr/$text|^$/, "codebook $what: an error or rows");
	}
}

# Rows in two lists: what says which of both lanes one is, and that there are two.
damage($sound);
$node->safe_psql(
	'postgres', q(
	DROP INDEX t_v_idx;
	CREATE INDEX t_v_idx ON t USING ivfpq (v vector_l2_ops, n) WITH (lists = 8, spill = 1);
	CHECKPOINT));
$file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_v_idx')");
$sound = slurp_file($file);
my ($bits, undef, $dims, $attributes) = unpack 'v2 V v', substr page(0), 24 + 28, 10;
my ($groups) = grep { unpack('v', substr page($_), BLCKSZ - 12, 2) == 6 } 0 .. length($sound) / BLCKSZ - 1;
my $which = $group + 272 + 32 * $dims * $bits / 8 + 6 + $attributes;
my ($is_second) = unpack 'C', substr page($groups), $which, 1;
my %bad_lanes = (
	'in three lists' => [ with_bytes(0, 24 + 268, "\2"), 'contradicts itself' ],
	'in one list' => [ with_bytes(0, 24 + 268, "\0"), 't_v_idx' ],
	'with a third lane' => [ with_bytes($groups, $which, "\3"), 'neither the first nor the second' ],
	'with one lane twice' => [ with_bytes($groups, $which, pack 'C', 1 - $is_second), 'has two (first|second) lanes' ]);

for my $what (sort keys %bad_lanes)
{
	my ($bytes, $text) = @{ $bad_lanes{$what} };

	damage($bytes);
	my ($status, undef, $error) = $node->psql('postgres', $check);
	like($error, qr/$text/, "rows $what: check");
	for my $sql ($scan, $insert, $vacuum, $change)
	{
		($status, undef, $error) = $node->psql('postgres', $sql);
		like($error, qr/^$|corrupted|not in index|invalid page/, "rows $what: an error or rows");
	}
}
damage($sound);
$node->safe_psql('postgres', 'REINDEX INDEX t_v_idx');
check_index($node, 't_v_idx', 'rebuilt');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'the server stayed up');
$node->stop;
done_testing();
