# Claims of an index whose rows are in two lists that each row has two lanes, in lists of its
# own, after builds, inserts, VACUUM, a crash in between and lists that were made anew; and that a
# scan of as many lists finds more.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

my $node = new_server('spill', 'restart_after_crash = on', 'maintenance_work_mem = 256MB');

# The lanes that are taken, by row and by which of its lanes they are.
sub rows_of
{
	my ($index) = @_;
	my %rows;

	for my $lane (grep { $_->{taken} } read_lanes(read_pages($node, $index)))
	{
		push @{ $rows{ $lane->{tid} }[unpack 'C', substr($lane->{payload}, -1)] }, $lane->{list};
	}
	return %rows;
}

# Claims that so many rows have a first and a second lane each, and at most so many both in one list.
sub lanes_are_right
{
	my ($index, $rows, $most_together, $when) = @_;
	my %rows = rows_of($index);
	my @twice = grep { $_->[0] && $_->[1] && @{ $_->[0] } == 1 && @{ $_->[1] } == 1 } values %rows;
	my $together = grep { $_->[0][0] == $_->[1][0] } @twice;

	is(scalar(keys %rows), $rows, "$index: all rows have lanes $when");
	is(scalar(@twice), $rows, "$index: and two of them $when");
	cmp_ok($together, '<=', $most_together, "$index: in different lists $when");
	return check_index($node, $index, $when);
}

load_words($node);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE t (id serial, v vector(100));
	INSERT INTO t (v) SELECT v FROM words WHERE id <= 6000;
	CREATE INDEX t_v ON t USING ivfpq (v vector_l2_ops) WITH (lists = 60, spill = 1)));
lanes_are_right('t_v', 6000, 0, 'after a build');
$node->safe_psql('postgres', 'INSERT INTO t (v) SELECT v FROM words WHERE id BETWEEN 6001 AND 6500');
lanes_are_right('t_v', 6500, 0, 'after inserts');

# a crash between the lanes of a row
my ($status) = $node->psql('postgres',
	"LOAD 'vdb'; SET vdb.stop_at = 'ivf-insert-second=crash'; INSERT INTO t (v) SELECT v FROM words WHERE id = 7000");
isnt($status, 0, 'the server crashes');
await_server($node);
check_index($node, 't_v', 'after a crash');
$node->safe_psql('postgres', 'INSERT INTO t (v) SELECT v FROM words WHERE id = 7000');
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT max(id) = (SELECT max(id) FROM t) FROM
	(SELECT t.id FROM t ORDER BY t.v <-> (SELECT v FROM words WHERE id = 7000) LIMIT 1) s'), 't', 'the row is found that was lost then');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 5 = 0');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
lanes_are_right('t_v', $node->safe_psql('postgres', 'SELECT count(*) FROM t'), 0, 'after VACUUM');

# rows enough come for lists to be looked at, many of them to one place; some lists are replaced: both lanes of a row may end in one, and do where it has no better place
my $lists = "SELECT upper_records FROM vdb.check_index('t_v')";
my $before = $node->safe_psql('postgres', $lists);
$node->safe_psql(
	'postgres', q(
	INSERT INTO t (v) SELECT (SELECT v FROM words WHERE id = 5) + array_fill(i / 10000.0, ARRAY[100])::vector
		+ w.v * array_fill(0.2, ARRAY[100])::vector FROM generate_series(1, 700) i, words w WHERE w.id = 7000 + i;
	INSERT INTO t (v) SELECT v FROM words WHERE id > 11000;
	VACUUM t));
my $after = $node->safe_psql('postgres', $lists);
cmp_ok($after, '>', $before, 'lists that have grown are replaced');
lanes_are_right('t_v', $node->safe_psql('postgres', 'SELECT count(*) FROM t'), 60, 'when some lists were replaced');

# an index of an empty table has one list, and its rows one lane each, until it gets more
$node->safe_psql(
	'postgres', q(
	CREATE TABLE e (v vector(100));
	CREATE INDEX e_v ON e USING ivfpq (v vector_cosine_ops) WITH (spill = 1);
	INSERT INTO e SELECT v FROM words WHERE id <= 4000));
my %rows = rows_of('e_v');
is(scalar(grep { !$_->[1] } values %rows), 4000, 'no row is twice in one list');
$node->safe_psql('postgres', 'VACUUM e');
lanes_are_right('e_v', 4000, 0, 'when all lists were replaced');
$node->safe_psql('postgres', 'INSERT INTO e SELECT v FROM words; VACUUM e');
lanes_are_right('e_v', 16000, 0, 'when they were again');

# as many lists, more found
my %recall;
for my $spill (0, 1)
{
	$node->safe_psql('postgres',
		"CREATE INDEX w ON words USING ivfpq (v vector_cosine_ops) WITH (lists = 200, spill = $spill)");
	$recall{$spill} = $node->safe_psql('postgres',
		q(SET ivfpq.probes = 8; SET ivfpq.refine_factor = 30; SELECT recall FROM vdb.recall('w', 10, 500)));
	$node->safe_psql('postgres', 'DROP INDEX w');
}
cmp_ok($recall{1}, '>', $recall{0} + 0.03, 'more is found');
done_testing();
