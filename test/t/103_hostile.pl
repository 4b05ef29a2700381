# Claims that an index whose file was damaged gives clear errors or rows, and
# never takes the server down.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

use constant BLCKSZ => 8192;

my $node = new_server('hostile', 'ignore_checksum_failure = on');

load_words($node, 2000);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (v vector(100), n int);
	INSERT INTO t SELECT v, id FROM words;
	CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops, n) WITH (m = 8);
	CHECKPOINT));

my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_v_idx')");
my $sound = slurp_file($file);
my $pages = length($sound) / BLCKSZ;

my $scan = 'SET enable_seqscan = off; SELECT count(*) FROM
	(SELECT FROM t ORDER BY v <-> (SELECT v FROM words WHERE id = 1) LIMIT 100) s';
my $walk = $scan =~ s/FROM t ORDER/FROM t WHERE n > 500 ORDER/r;
my $sweep = $scan =~ s/FROM t ORDER/FROM t WHERE n < 200 ORDER/r;
my $insert = 'INSERT INTO t SELECT v, id FROM words WHERE id = 1';

# Changes the file while the server is stopped.
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

# The kind of a page, from its special area.
sub kind
{
	my ($block) = @_;
	return unpack 'v', substr page($block), BLCKSZ - 12, 2;
}

my %first;
$first{ kind($_) } = $_ for reverse 0 .. $pages - 1;
my ($meta, $center, $hot, $node_page, $upper) = map { $first{$_} } 1 .. 5;

is($meta, 0, 'block 0 is the metapage');
ok(defined $center && defined $hot && defined $node_page && defined $upper,
	'there is a page of each kind');

# --- the metapage: nothing works, everything says why -----------------------------

my %bad_meta = (
	'another magic number' => [ with_bytes(0, 24, 'ABCD'), 'XX002', 'is not an hnsw index' ],
	'a version from the future' => [ with_bytes(0, 28, pack 'v', 99), '0A000', 'format version 99' ],
	'too many dimensions' => [ with_bytes(0, 48, pack 'V', 99_999), 'XX002', 'contradicts itself' ],
	'another length of attributes' => [ with_bytes(0, 60, pack 'v', 9), 'XX002', 'contradicts itself' ],
	'another m' => [ with_bytes(0, 52, pack 'v', 33), 'XX002', 'contradicts itself' ],
	'a page of zeros' => [ with_bytes(0, 0, "\0" x BLCKSZ), 'XX002', 't_v_idx' ],
	'a page of another kind' => [ with_bytes(0, 0, page($node_page)), 'XX002', 't_v_idx' ],
	'waiting nodes in extents that do not exist' => [ with_bytes(0, 24 + 76, pack 'VV', 1, 99_999), 'XX002', 't_v_idx' ],
	'an entry point that does not exist' => [ with_bytes(0, 24 + 64, pack 'V', 0x7fffffff), 'XX002', 't_v_idx' ]);

for my $what (sort keys %bad_meta)
{
	my ($bytes, $state, $text) = @{ $bad_meta{$what} };

	damage($bytes);
	psql_fails($node, $scan, $state, $text, "metapage with $what: scan");
	psql_fails($node, $insert, $state, $text, "metapage with $what: insert");
	psql_fails($node, "SELECT vdb.check_index('t_v_idx')", $state, $text, "metapage with $what: check");
}

# --- the other pages: a page of another kind in their place -----------------------

for my $target ($center, $hot, $node_page, $upper)
{
	my $other = $target == $hot ? $node_page : $hot;
	my %bad = (
		'zeros' => "\0" x BLCKSZ,
		'another kind' => page($other),
		'noise' => join('', map { pack 'V', $_ * 2654435761 % 2**32 } 1 .. BLCKSZ / 4));

	for my $what (sort keys %bad)
	{
		damage(with_bytes($target, 0, $bad{$what}));
		psql_fails($node, "SELECT vdb.check_index('t_v_idx')", 'XX00[12]', '',
			"block $target of kind @{[ kind($target) ]} with $what: check");
		for my $query ($scan, $walk, $sweep)
		{
			my ($status, $out, $err) = $node->psql('postgres', $query);
			ok($status == 0 || $err =~ /t_v_idx|page/, "block $target with $what: scan")
			  or diag($err);
		}
	}
}

# --- a page header that the server takes for sound, and replay would not -----------

my ($open) = grep { kind($_) == 3 } reverse 0 .. $pages - 1;
damage(with_bytes($open, 14, pack 'v', 8000));
psql_fails($node, $insert, 'XX002', 'header is damaged', 'a page with a gap before its end: insert');
damage(with_bytes($open, 12, pack 'v', 32));
psql_fails($node, $insert, 'XX002', 'less is written than there is', 'a page that ends before its slots: insert');

# --- rows that the table does not have ----------------------------------------------

my $stride = unpack 'v', substr $sound, 24 + 40, 2;
my $elsewhere = $sound;
for my $block (grep { kind($_) == 4 } 0 .. $pages - 1)
{
	for my $slot (map { $block * BLCKSZ + 32 + $stride * $_ } 0 .. int(8144 / $stride) - 1)
	{
		# of live nodes
		substr($elsewhere, $slot, 2) = pack 'v', 0xABCD if substr($elsewhere, $slot + 6, 1) eq "\1";
	}
}
damage($elsewhere);
psql_fails($node, $_, 'XX002', 'row \(\d+,\d+\), which cannot exist', 'rows of blocks that are not there: scan')
  for $scan, $walk, $sweep;
psql_fails($node, "SELECT vdb.check_index('t_v_idx')", 'XX002', 'which cannot exist', 'rows of blocks that are not there: check');

# --- attributes ---------------------------------------------------------------------

damage(with_bytes($hot, 65, 'word'));
psql_fails($node, "SELECT vdb.check_index('t_v_idx', true)", 'XX002', 'does not have the attributes', 'attributes of other rows: check');
damage(with_bytes($hot, 64, chr 2));
psql_fails($node, "SELECT vdb.check_index('t_v_idx')", 'XX002', 'cannot be null', 'a column too many is null: check');

# --- a file that is too short ------------------------------------------------------

damage(substr $sound, 0, int($pages / 2) * BLCKSZ);
psql_fails($node, "SELECT vdb.check_index('t_v_idx')", 'XX00[0-2]', '', 'half a file: check');
my ($status, $out, $err) = $node->psql('postgres', $scan);
ok($status == 0 || $err =~ /t_v_idx|could not read block/, 'half a file: scan') or diag($err);
damage('');
psql_fails($node, $scan, 'XX00[0-2]', '', 'an empty file: scan');
psql_fails($node, $insert, 'XX00[0-2]', '', 'an empty file: insert');

# --- bytes flipped anywhere: an error or an answer, and nobody dies ---------------

srand 20240229;
for my $round (1 .. 25)
{
	my $changed = $sound;

	for (1 .. 40)
	{
		# past the page header: that the server itself checks
		my $at = int(rand $pages) * BLCKSZ + 24 + int rand BLCKSZ - 24;
		substr($changed, $at, 1) = chr int rand 256;
	}
	damage($changed);
	for my $sql ($scan, $walk, $sweep, $insert, 'DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)',
		'VACUUM (INDEX_CLEANUP ON) t', "SELECT vdb.check_index('t_v_idx')", $scan)
	{
		my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; $sql", timeout => 60);
		next if $status == 0 || $err =~ /ERROR/ && $err !~ /statement timeout|server closed|invalid memory alloc/;
		fail("round $round: $sql");
		diag($err);
	}
}

# --- and back ---------------------------------------------------------------------

$node->safe_psql('postgres', 'REINDEX INDEX t_v_idx');
check_index($node, 't_v_idx', 'after REINDEX');
recall_at_least($node, 't_v_idx', 0.95, 'after REINDEX');

# --- rows that share a node ---------------------------------------------------------

$node->safe_psql(
	'postgres', q(
	CREATE TABLE c (v vector(100));
	CREATE INDEX c_v_idx ON c USING hnsw (v vector_l2_ops) WITH (m = 8);
	INSERT INTO c SELECT v FROM words WHERE id <= 100;
	INSERT INTO c SELECT v FROM words, generate_series(1, 200) WHERE id = 1));
my @slots = read_slots(read_pages($node, 'c_v_idx'));
my @chain = sort { $b->{rank} <=> $a->{rank} } grep { $_->{state} == 3 } @slots;
my ($owner) = grep { $_->{state} == 1 && $_->{next} == $chain[0]{nid} + 1 } @slots;
my ($single) = grep { $_->{state} == 1 && $_->{next} == 0 } @slots;

cmp_ok(scalar @chain, '>=', 4, 'a chain of several');

# vacuum will find the newest postings empty, and go through the chain
$node->safe_psql('postgres', "DELETE FROM c WHERE ctid = ANY('{"
	  . join(',', map { "\"$_\"" } @{ $chain[0]{tids} }) . "}'::tid[]); CHECKPOINT");
$file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('c_v_idx')");
$sound = slurp_file($file);
$pages = length($sound) / BLCKSZ;

# Where the node slot of a number lies: its block, and the offset in it.
sub slot_address
{
	my ($nid) = @_;
	my ($stride, $slots, $node_pages, $center) = unpack 'x64 v x2 v2 V', $sound;
	my $per_page = int(8144 / $stride);
	my $number = $nid % $slots;

	return (2 + $center + int($nid / $slots) * (1 + $node_pages) + int($number / $per_page),
		32 + $number % $per_page * $stride);
}

# The file with some bytes of a slot replaced.
sub with_slot
{
	my ($slot, $offset, $bytes) = @_;
	my ($block, $at) = slot_address($slot->{nid});

	return with_bytes($block, $at + $offset, $bytes);
}

# A row identifier as it is stored.
sub bytes_of
{
	my ($block, $offset) = shift =~ /(\d+),(\d+)/;
	return pack 'v3', $block >> 16, $block & 0xFFFF, $offset;
}

my $few = 'SET enable_seqscan = off; SET hnsw.ef_search = 400; SELECT count(*) FROM
	(SELECT FROM c ORDER BY v <-> (SELECT v FROM words WHERE id = 1) LIMIT 250) s';
my %bad_chains = (
	'a circle' => [ with_slot($chain[-1], 12, pack 'V', $chain[0]{nid} + 1), 'does not have older postings', 'does not have older postings' ],
	'a link to nowhere' => [ with_slot($chain[1], 12, pack 'V', 0x7fffffff), 'cannot lead to', 'cannot exist' ],
	'a link past all extents' => [ with_slot($chain[1], 12, pack 'V', 0xffffffff), 'cannot lead to', 'cannot exist' ],
	'a link to a node' => [ with_slot($chain[1], 12, pack 'V', $single->{nid} + 1), 'does not have older postings', 'does not have older postings' ],
	'a node that leads to itself' => [ with_slot($owner, 12, pack 'V', $owner->{nid} + 1), 'does not have older postings', 'does not have older postings' ],
	'an owner that cannot exist' => [ with_slot($chain[0], 16, pack 'V', 0x7fffffff), 'which cannot exist|does not have older', 'cannot exist' ],
	'an owner without such postings' => [ with_slot($chain[0], 16, pack 'V', $single->{nid}), 'does not live|does not have older', undef ],
	'an owner of another life' => [ with_slot($chain[0], 20, pack 'V', 77), 'does not live|does not have older', 'does not have older postings' ],
	'no rank' => [ with_slot($chain[1], 24, pack 'V', 0), 'no rank|older postings', 'does not have older postings' ],
	'too great a rank' => [ with_slot($chain[2], 24, pack 'V', 99), 'older postings', 'does not have older postings' ],
	'too many rows' => [ with_slot($chain[1], 28, pack 'v', 9999), 'cannot have 9999 rows', 'cannot be postings of 9999 rows' ],
	'fewer rows' => [ with_slot($chain[1], 28, pack 'v', 1), 'something beside their rows', undef ],
	'edges' => [ with_slot($chain[1], 30, pack 'v', 3), 'something beside their rows', undef ],
	'a row twice' => [ with_slot($chain[1], 32, bytes_of($chain[2]{tids}[0])), 'are both of row', undef ],
	'a row twice in a slot' => [ with_slot($chain[1], 32, bytes_of($chain[1]{tids}[1])), 'are both of row', undef ],
	'postings that nothing leads to' => [ with_slot($owner, 12, pack 'V', $chain[1]{nid} + 1), 'are not among', undef ],
	'no row' => [ with_slot($single, 0, "\0" x 6), 'has no row', undef ],
	'a row that cannot exist' => [ with_slot($chain[1], 32, pack 'v3', 0, 30000, 1), 'cannot exist', undef ],
	'another hash' => [ with_slot($owner, 16, pack 'V', 12345), 'another value', undef ]);

for my $what (sort keys %bad_chains)
{
	my ($bytes, $check, $vacuum) = @{ $bad_chains{$what} };

	damage($bytes);
	psql_fails($node, "SELECT vdb.check_index('c_v_idx', true)", 'XX002', $check, "$what: check");
	psql_fails($node, 'VACUUM (INDEX_CLEANUP ON) c', 'XX002', $vacuum, "$what: vacuum") if $vacuum;
	for my $step ([ 'scan', $few ], [ 'insert', 'INSERT INTO c SELECT v FROM words WHERE id = 1' ])
	{
		my ($name, $sql) = @$step;
		my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; $sql", timeout => 60);
		ok($status == 0 || $err =~ /ERROR:  index "c_v_idx"|could not read block 30000/, "$what: $name") or diag($err);
	}
}
for my $round (1 .. 15)
{
	my $changed = $sound;

	for my $slot (@chain, $owner)
	{
		my $with = with_slot($slot, 6 + int rand 32, chr int rand 256);

		$changed ^= $sound ^ $with if int(rand 3) == 0;
	}
	damage($changed);
	for my $sql ($few, 'INSERT INTO c SELECT v FROM words WHERE id = 1', 'DELETE FROM c WHERE ctid = (SELECT max(ctid) FROM c)',
		'VACUUM (INDEX_CLEANUP ON) c', "SELECT vdb.check_index('c_v_idx')", $few)
	{
		my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; $sql", timeout => 60);
		next if $status == 0 || $err =~ /ERROR/ && $err !~ /statement timeout|server closed|invalid memory alloc/;
		fail("chains, round $round: $sql");
		diag($err);
	}
}
$node->safe_psql('postgres', 'REINDEX INDEX c_v_idx');
check_index($node, 'c_v_idx', 'after REINDEX');

# --- edges to nowhere: VACUUM follows none ------------------------------------------

$node->safe_psql(
	'postgres', q(
	CREATE TABLE e AS SELECT id, v FROM words WHERE id <= 2000;
	CREATE INDEX e_v_idx ON e USING hnsw (v vector_l2_ops) WITH (m = 8);
	INSERT INTO e SELECT id, v FROM words WHERE id BETWEEN 2001 AND 3000;
	DELETE FROM e WHERE id % 5 = 0;
	CHECKPOINT));
$file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('e_v_idx')");
$sound = slurp_file($file);

my $changed = $sound;
my $bad_edges = 0;

for my $slot (grep { $_->{state} == 1 } read_slots($sound))
{
	my ($block, $at) = slot_address($slot->{nid});
	my ($count, $kept) = unpack 'x30 C2', substr($sound, $block * BLCKSZ + $at, 32);

	next if $count == $kept;
	substr($changed, $block * BLCKSZ + $at + 32 + 4 * ($count - 1), 4) = pack 'V', 0x7fffffff;
	$bad_edges++;
}
cmp_ok($bad_edges, '>', 1000, 'edges lead to nowhere');
damage($changed);
is($node->psql('postgres', 'VACUUM (INDEX_CLEANUP ON) e'), 0, 'VACUUM comes to its end');

# --- lengths of edges that cannot be: VACUUM and inserts go on, the check tells ---------

my ($live) = grep { $_->{state} == 1 } read_slots($sound);
my ($live_block, $live_at) = slot_address($live->{nid});
for my $bounds ([ 0x3F80, 0 ], [ 0, 0x7F80 ], [ 0x7FC0, 0x7FC0 ])
{
	# behind 2m = 16 neighbours
	damage(with_bytes($live_block, $live_at + 32 + 4 * 16, pack 'v2', @$bounds));
	psql_fails($node, "SELECT vdb.check_index('e_v_idx')", 'XX002', 'impossible lengths', "lengths from @$bounds: check");
	$node->safe_psql('postgres', 'INSERT INTO e SELECT id, v FROM words WHERE id BETWEEN 1 AND 300');
	is($node->psql('postgres', 'DELETE FROM e WHERE id % 7 = 0; VACUUM (INDEX_CLEANUP ON) e'), 0,
		"lengths from @$bounds: inserts and VACUUM come to their end");
}

# --- values out of line that are gone: the server's own error --------------------------

$node->safe_psql(
	'postgres', q(
	CREATE TABLE far AS SELECT id, array_fill(1 + id / 1e6, ARRAY[600])::vector(600) AS v FROM generate_series(1, 50) id;
	CREATE INDEX far_v_idx ON far USING hnsw (v vector_l2_ops);
	CHECKPOINT));
my $nearest = 'SET enable_seqscan = off; SELECT count(*) FROM
	(SELECT FROM far ORDER BY v <-> array_fill(1, ARRAY[600])::vector LIMIT 20) s';
is($node->safe_psql('postgres', $nearest), 20, 'rows out of line are found');
$file = $node->data_dir . '/' . $node->safe_psql('postgres',
	q(SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'far'::regclass));
damage("\0" x length slurp_file($file));
psql_fails($node, $nearest, 'XX00[01]', 'missing chunk number 0', 'a value that is gone');

# --- values whose identifiers were used before: dead entries lead to them first ---------

# Hints in an index that its entries are dead are not logged, and may be lost.
sub without_hints
{
	my ($bytes) = @_;

	for my $block (0 .. length($bytes) / BLCKSZ - 1)
	{
		my $lower = unpack 'v', substr $bytes, $block * BLCKSZ + 12, 2;

		for (my $at = $block * BLCKSZ + 24; $at < $block * BLCKSZ + $lower; $at += 4)
		{
			my $item = unpack 'V', substr $bytes, $at, 4;

			substr($bytes, $at, 4) = pack 'V', $item & ~(2 << 15) if ($item >> 15 & 3) == 3;
		}
	}
	return $bytes;
}

# as far from each other all, so that each is measured
my $fill = 'INSERT INTO again SELECT id, array_agg((d = id)::int)::vector
	FROM generate_series(1, 40) id, generate_series(1, 1000) d GROUP BY id';
$node->safe_psql('postgres', "CREATE TABLE again (id int, v vector(1000)); $fill LIMIT 1");
my $values = $node->safe_psql('postgres', "SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'again'::regclass");
my $next = 1 + $node->safe_psql('postgres', "SELECT max(chunk_id) FROM $values");
$node->safe_psql('postgres', "BEGIN; $fill; ROLLBACK");
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP off, TRUNCATE off) again');
$node->stop;
system_or_bail('pg_resetwal', '-o', $next, '-D', $node->data_dir);
$node->start;
$node->safe_psql('postgres', "$fill; CREATE INDEX again_v_idx ON again USING hnsw (v vector_l2_ops); CHECKPOINT");
is($node->safe_psql('postgres', "SELECT count(DISTINCT chunk_id) FROM $values WHERE chunk_id BETWEEN $next AND $next + 39"),
	40, 'identifiers of values are used again');
$file = $node->data_dir . '/' . $node->safe_psql('postgres',
	"SELECT pg_relation_filepath(indexrelid) FROM pg_index WHERE indrelid = '$values'::regclass");
my $hinted = slurp_file($file);
isnt(without_hints($hinted), $hinted, 'there are dead entries');
damage(without_hints($hinted));
is($node->safe_psql(
		'postgres', q(
	SET enable_seqscan = off;
	SELECT count(DISTINCT id) FROM (
		SELECT id FROM again ORDER BY v <-> (SELECT v FROM again WHERE id = 7 LIMIT 1) LIMIT 41) s,
		LATERAL (SELECT array_agg(md5((g + id)::text)) AS a FROM generate_series(1, 800) g) t
	WHERE (SELECT bool_and(a[g] = md5((g + id)::text)) FROM generate_series(1, 800) g))), 40, 'rows with such values are found');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no process died');
done_testing();
