# Claims that an index leaves nothing of a removed row on its pages, loses no
# room with its free space map, and goes with its table through two-phase
# commits, tablespaces, copied databases and builds without WAL.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('life', 'max_prepared_transactions = 5', 'allow_in_place_tablespaces = on');

make_kinds($node);
my @kinds = split /\n/, $node->safe_psql('postgres', 'SELECT name FROM life.kinds ORDER BY 1');
my @graphs = split /\n/, $node->safe_psql('postgres', q(SELECT name FROM life.kinds WHERE method = 'hnsw' ORDER BY 1));
my @lists = split /\n/, $node->safe_psql('postgres', q(SELECT name FROM life.kinds WHERE method <> 'hnsw' ORDER BY 1));

# --- what is removed is gone -----------------------------------------------------

$node->safe_psql('postgres', 'CALL life.fill(1, 120)');
for my $kind (@graphs)
{
	my $tids = "SELECT ctid FROM life.$kind WHERE id IN (7, 50, 111)";
	my %removed = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', $tids);
	my $before = read_pages($node, "life.${kind}_v");
	my @codes = map { @{ $_->{codes} } }
	  grep { $_->{state} == 1 && $removed{ $_->{tid} } } read_slots($before);

	cmp_ok(scalar @codes, '>=', 3, "$kind: codes of three rows are on the pages");
	is(scalar(grep { !/[^\0]/ || index($before, $_) < 0 } @codes), 0, "$kind: and are no zeros");
	$node->safe_psql('postgres', "DELETE FROM life.$kind WHERE id IN (7, 50, 111)");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$kind");

	my $after = read_pages($node, "life.${kind}_v");
	my @nodes = read_slots($after);

	is(scalar(grep { index($after, $_) >= 0 } @codes), 0, "$kind: after vacuum they are nowhere in the file");
	is(scalar(grep { $_->{state} == 0 && $_->{generation} > 0 } @nodes), 3, "$kind: three slots were freed");
	is(scalar(grep { $_->{state} == 0 && $_->{rest} =~ /[^\0]/ } @nodes),
		0, "$kind: a free slot has nothing but a generation");
}
for my $kind (@lists)
{
	my $index = "life.${kind}_v";
	my $tids = "SELECT ctid FROM life.$kind WHERE id IN (7, 50, 111)";
	my %removed = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', $tids);
	my @before = grep { $removed{ $_->{tid} } } read_lanes(read_pages($node, $index));

	is(scalar(grep { ($_->{code} eq '' || $_->{code} =~ /[^\0]/) && $_->{record} =~ /[^\0]/ } @before),
		3, "$kind: codes of three rows are on the pages");
	$node->safe_psql('postgres', "DELETE FROM life.$kind WHERE id IN (7, 50, 111)");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$kind");

	my %gone = map { $_->{number} => 1 } @before;
	my @after = grep { $gone{ $_->{number} } } read_lanes(read_pages($node, $index));
	is(scalar(grep { $_->{taken} || "$_->{payload}$_->{code}$_->{record}" =~ /[^\0]/ } @after),
		0, "$kind: after vacuum their lanes are free and have nothing");
}
kinds_are_right($node, 117, 'after three rows were removed');

# the same of rows that share a node: in postings, and in the nodes themselves; not of those that
# wait to be linked, each of which is a node
for my $kind (grep { !/_pending$/ } @graphs)
{
	my $index = "life.${kind}_v";
	my @nodes = grep { $_->{state} == 1 } read_slots(read_pages($node, $index));

	$node->safe_psql('postgres', "INSERT INTO life.$kind SELECT k.* FROM life.$kind k, generate_series(1, 3)");

	my @slots = read_slots(read_pages($node, $index));
	my @attached = map { @{ $_->{tids} } } grep { $_->{state} == 3 } @slots;
	my %removed = map { $attached[$_] => 1 } grep { $_ % 2 } 0 .. $#attached;

	$removed{ $_->{tid} } = 1 for @nodes[0 .. 9];
	cmp_ok(scalar @attached, '>=', 100, "$kind: rows share a node");
	$node->safe_psql('postgres', "DELETE FROM life.$kind WHERE ctid = ANY('{"
		  . join(',', map { "\"$_\"" } keys %removed) . "}'::tid[])");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$kind");

	@slots = read_slots(read_pages($node, $index));
	my @left = map { ($_->{tid}, @{ $_->{tids} // [] }) } grep { $_->{state} != 0 } @slots;
	my %left = map { $_ => 1 } @left;
	is(scalar(grep { $removed{$_} } @left), 0, "$kind: after vacuum those removed are in no slot");
	is(scalar(grep { !$removed{$_} && !$left{$_} } @attached), 0, "$kind: those that are left are there");
	is(scalar(grep { $_->{state} == 0 && $_->{rest} =~ /[^\0]/ } @slots),
		0, "$kind: the slots of postings that went have nothing but a generation");
	check_index($node, $index, 'after some of the rows that share a node went');
	$node->safe_psql('postgres', "DELETE FROM life.$kind a USING life.$kind b WHERE a.id = b.id AND a.ctid > b.ctid");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$kind");
	@slots = read_slots(read_pages($node, $index));
	is(scalar(grep { $_->{state} == 3 } @slots), 0, "$kind: where a node's own row went, the last that shares it is in its place");
	is(scalar(grep { $_->{state} == 0 && $_->{rest} =~ /[^\0]/ } @slots),
		0, "$kind: and nowhere else");
	check_index($node, $index, 'after all but one of the rows that share a node went');
}
kinds_are_right($node, 117, 'after their copies went');

# --- a lost free space map --------------------------------------------------------

$node->safe_psql('postgres', "CALL life.fill(201, 600); CALL life.each('DELETE FROM life.%I WHERE id %% 2 = 0')");
$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$_") for @kinds;
my %size = map { $_ => index_size($node, "life.${_}_v") } @kinds;
my @maps = map { $node->data_dir . "/${_}_fsm" } map {
	$node->safe_psql('postgres', "SELECT pg_relation_filepath('life.${_}_v')") } @kinds;

$node->stop('immediate');
unlink @maps;
$node->start;
$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$_") for @kinds;
$node->safe_psql('postgres', 'CALL life.fill(701, 950)');
is(index_size($node, "life.${_}_v"), $size{$_}, "$_: room is found again after the map was lost") for @graphs;
kinds_are_right($node, 508, 'after the free space map was lost');

# --- two-phase commit --------------------------------------------------------------

$node->safe_psql('postgres', "CALL life.each('TRUNCATE life.%I'); CALL life.fill(1, 50)");
my $fill = 'CALL life.fill(51, 100)';
my $create = 'CREATE INDEX twice ON life.vector_l2 USING hnsw (v vector_l2_ops)';

for my $end ('COMMIT', 'ROLLBACK')
{
	my $rows = $end eq 'COMMIT' ? 100 : 50;

	$node->safe_psql('postgres', "BEGIN; $fill; PREPARE TRANSACTION 'fill'");
	kinds_are_right($node, 50, 'with a prepared transaction');
	$node->stop('immediate');
	$node->start;
	kinds_are_right($node, 50, 'with a transaction prepared before a crash');
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$_") for @kinds;
	kinds_are_right($node, 50, 'vacuumed while it is in doubt');
	$node->safe_psql('postgres', "$end PREPARED 'fill'");
	kinds_are_right($node, $rows, "after $end PREPARED");
	$node->stop('immediate');
	$node->start;
	kinds_are_right($node, $rows, "after $end PREPARED and a crash");
	$node->safe_psql('postgres', "CALL life.each('DELETE FROM life.%I WHERE id > 50')");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$_") for @kinds;

	# an index, a truncation and a removal
	$node->safe_psql('postgres', "BEGIN; DROP INDEX life.vector_l2_v; $create; "
		  . 'INSERT INTO life.vector_l2 SELECT i, life.numbers(i)::vector FROM generate_series(51, 60) i; '
		  . "TRUNCATE life.vector_l1; PREPARE TRANSACTION 'create'");
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', "SELECT to_regclass('life.twice') IS NULL"),
		't', 'nobody sees a prepared index');
	$node->safe_psql('postgres', "$end PREPARED 'create'");
	$node->stop('immediate') if $end eq 'COMMIT';
	$node->start if $end eq 'COMMIT';
	if ($end eq 'COMMIT')
	{
		expect_rows($node, 'life.twice', 60, 'created in a prepared transaction');
		expect_rows($node, 'life.vector_l1_v', 0, 'truncated in a prepared transaction');
		$node->safe_psql('postgres', 'DROP INDEX life.twice; DELETE FROM life.vector_l2 WHERE id > 50; '
			  . 'CREATE INDEX vector_l2_v ON life.vector_l2 USING hnsw (v vector_l2_ops); '
			  . 'INSERT INTO life.vector_l1 SELECT * FROM life.vector_ip');
	}
	kinds_are_right($node, 50, "after $end PREPARED of what was created");
}

# --- tablespaces and databases -------------------------------------------------------

$node->safe_psql('postgres', "CREATE TABLESPACE $_ LOCATION ''") for qw(one two three);
for my $kind (@kinds)
{
	$node->safe_psql('postgres', "ALTER INDEX life.${kind}_v SET TABLESPACE one");
}
$node->safe_psql('postgres', 'CALL life.fill(51, 70)');
kinds_are_right($node, 70, 'in another tablespace');
$node->stop('immediate');
$node->start;
kinds_are_right($node, 70, 'in another tablespace, after a crash');
$node->safe_psql('postgres', "CALL life.each('REINDEX (TABLESPACE two) TABLE life.%I')");
$node->safe_psql('postgres', "CALL life.each('ALTER TABLE life.%I SET TABLESPACE one')");
kinds_are_right($node, 70, 'rebuilt in a third one');
$node->safe_psql('postgres', 'ALTER INDEX ALL IN TABLESPACE two SET TABLESPACE pg_default');
$node->safe_psql('postgres', 'CREATE INDEX there ON life.vector_l2 USING hnsw (v vector_l2_ops) TABLESPACE two');
expect_rows($node, 'life.there', 70, 'created in a tablespace');
$node->safe_psql('postgres', 'DROP INDEX life.there');
$node->safe_psql('postgres', "SET temp_tablespaces = 'two'; CREATE TEMP TABLE p AS SELECT * FROM life.vector_l2;
	CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops); INSERT INTO p SELECT * FROM life.vector_l2;
	CALL life.expect('p_v', 140)");

# a copy of the database, in both ways, while the original goes on
for my $strategy ('file_copy', 'wal_log')
{
	$node->safe_psql('template1', "CREATE DATABASE $strategy TEMPLATE postgres STRATEGY $strategy");
	$node->safe_psql('postgres', "CALL life.fill(71, 80)");
	$node->stop('immediate');
	$node->start;
	$node->safe_psql($strategy, 'CALL life.fill(101, 110)');
	is($node->safe_psql($strategy, 'CALL life.expect_each(80); SELECT 1'), '1', "a database copied by $strategy");
	kinds_are_right($node, 80, "beside its copy by $strategy");
	$node->safe_psql('postgres', "CALL life.each('DELETE FROM life.%I WHERE id > 70')");
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) life.$_") for @kinds;
}
$node->safe_psql('postgres', 'ALTER DATABASE wal_log SET TABLESPACE three');
$node->stop('immediate');
$node->start;
is($node->safe_psql('wal_log', 'CALL life.expect_each(80); SELECT 1'), '1', 'a database moved to a tablespace');
$node->safe_psql('postgres', 'ALTER DATABASE file_copy SET TABLESPACE three');
$node->safe_psql('file_copy', 'CALL life.fill(111, 115)');
is($node->safe_psql('file_copy', 'CALL life.expect_each(85); SELECT 1'), '1', 'another, and filled there');

# --- all at once ----------------------------------------------------------------------

$node->safe_psql('postgres', 'REINDEX SYSTEM postgres');
kinds_are_right($node, 70, 'after REINDEX SYSTEM');
$node->safe_psql('postgres', 'REINDEX DATABASE postgres');
kinds_are_right($node, 70, 'after REINDEX DATABASE');
$node->safe_psql('postgres', 'REINDEX DATABASE CONCURRENTLY postgres');
kinds_are_right($node, 70, 'after REINDEX DATABASE CONCURRENTLY');
$node->command_ok([ 'reindexdb', '-j', '2', '--concurrently', '-S', 'life', 'postgres' ], 'reindexdb');
$node->command_ok([ 'vacuumdb', '-f', '-z', 'postgres' ], 'vacuumdb');
kinds_are_right($node, 70, 'after reindexdb and vacuumdb');

# --- no WAL ---------------------------------------------------------------------------

$node->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0\nwal_skip_threshold = '8kB'");
$node->restart;
for my $threshold ('0', '1GB')
{
	$node->safe_psql('postgres', "SET wal_skip_threshold = '$threshold'; BEGIN;
		CALL life.each('CREATE TABLE life.%I_copy AS SELECT * FROM life.%1\$I');
		CREATE INDEX copy_v ON life.vector_l2_copy USING hnsw (v vector_l2_ops);
		INSERT INTO life.vector_l2_copy SELECT * FROM life.vector_l2;
		SAVEPOINT a; INSERT INTO life.vector_l2_copy SELECT * FROM life.vector_l2; ROLLBACK TO a;
		CALL life.each('TRUNCATE life.%I'); CALL life.fill(1, 30); COMMIT");
	$node->stop('immediate');
	$node->start;
	expect_rows($node, 'life.copy_v', 140, "created without WAL, threshold $threshold, after a crash");
	kinds_are_right($node, 30, "truncated without WAL, threshold $threshold, after a crash");
	$node->safe_psql('postgres', "CALL life.each('DROP TABLE life.%I_copy'); CALL life.fill(31, 70)");
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no process died');
done_testing();
