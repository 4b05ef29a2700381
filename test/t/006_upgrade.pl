# Claims that pg_upgrade carries indexes over as they are: the files are the
# same, right, and can be changed.  From a server of this release to another
# one of it; and, where VDB_OLD_BINDIR names the programs of a server of an
# earlier release in which vdb is installed, from that one, in link mode.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $new_bindir = scalar_output('pg_config', '--bindir');

sub scalar_output
{
	my ($output) = run_command([@_]);
	return $output;
}

# A cluster that others can be upgraded to and from: the same everywhere.
sub init_cluster
{
	my ($name, $bindir) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name,
		$bindir eq $new_bindir ? () : (install_path => dirname($bindir)));
	my ($major) = scalar_output("$bindir/postgres", '--version') =~ / (\d+)/;

	# checksums are on unless told otherwise from 18 on
	$node->init(extra => [ '--no-locale', '--encoding=UTF8', $major >= 18 ? '--no-data-checksums' : () ]);
	$node->append_conf('postgresql.conf', "autovacuum = off\njit = off\nshared_buffers = 64MB");
	return $node;
}

# All indexes, where they are, and the number drawn when each was built.
my $identity = q(
	SELECT indexrelid::regclass, pg_relation_filenode(indexrelid), pg_relation_size(indexrelid),
		pg_read_binary_file(pg_relation_filepath(indexrelid), 32, 8)
	FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
	WHERE amname = 'hnsw' AND relkind = 'i' ORDER BY 1);

sub fill_old
{
	my ($node) = @_;

	$node->safe_psql('postgres', 'CREATE EXTENSION vdb');
	make_kinds($node);
	load_words($node, 1000);
	$node->safe_psql(
		'postgres', q(
		CALL life.fill(1, 150);
		CALL life.each('DELETE FROM life.%I WHERE id %% 3 = 0');
		CREATE INDEX words_v ON words USING hnsw (v vector_cosine_ops) WITH (m = 8, ef_construction = 32);
		CREATE UNLOGGED TABLE u AS SELECT * FROM words WHERE id <= 200;
		CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops);
		CREATE TABLE p (id int, v vector(100)) PARTITION BY HASH (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE p2 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops);
		INSERT INTO p SELECT id, v FROM words;
		CREATE TABLE wide (id int, v vector(6000));
		INSERT INTO wide SELECT i, array_fill(i, ARRAY[6000])::vector FROM generate_series(1, 20) i;
		CREATE INDEX wide_v ON wide USING hnsw (v vector_l2_ops) WHERE id > 5));
	$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $_")
	  for split /\n/, $node->safe_psql('postgres', "SELECT 'life.' || name FROM life.kinds");
	$node->safe_psql('postgres', 'CALL life.fill(151, 180)');
	return;
}

sub all_sound
{
	my ($node, $when) = @_;

	check_index($node, $_, $when) for qw(words_v u_v p1_v_idx p2_v_idx wide_v);
	return;
}

sub upgrade
{
	my ($name, $old_bindir, @mode) = @_;
	my $old = init_cluster("old_$name", $old_bindir);
	my $new = init_cluster("new_$name", $new_bindir);
	my ($before, $recall);

	$old->start;
	fill_old($old);
	kinds_are_right($old, 130, "on the old server, $name");
	all_sound($old, "on the old server, $name");
	$old->restart;
	$before = $old->safe_psql('postgres', $identity);
	$old->stop;

	chdir $PostgreSQL::Test::Utils::tmp_check;
	command_ok(
		[ 'pg_upgrade', '--no-sync', @mode, '-b', $old_bindir, '-B', $new_bindir,
			'-d', $old->data_dir, '-D', $new->data_dir, '-s', $new->host,
			'-p', $old->port, '-P', $new->port ],
		"pg_upgrade, $name")
	  or diag(map { (split /^/, slurp_file($_))[ -10 .. -1 ] }
		  glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_{dump_*,internal,server}.log');

	$new->start;
	is($new->safe_psql('postgres', $identity), $before, "the files are the same, $name");
	kinds_are_right($new, 130, "upgraded, $name");
	all_sound($new, "upgraded, $name");
	recall_at_least($new, 'words_v', 0.95, "upgraded, $name");

	$new->safe_psql('postgres', "CALL life.fill(201, 240); CALL life.each('DELETE FROM life.%I WHERE id < 61')");
	$new->safe_psql(
		'postgres', q(
		UPDATE words SET v = (SELECT v FROM words w WHERE w.id = 1001 - words.id) WHERE id % 5 = 0;
		INSERT INTO u SELECT * FROM words WHERE id > 900;
		DELETE FROM p WHERE id > 500));
	$new->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON)');
	kinds_are_right($new, 130, "changed after the upgrade, $name");
	all_sound($new, "changed after the upgrade, $name");
	$new->stop('immediate');
	$new->start;
	kinds_are_right($new, 130, "after a crash after the upgrade, $name");
	all_sound($new, "after a crash after the upgrade, $name");
	is($new->safe_psql('postgres', 'SELECT count(*) FROM u'), '0', "the unlogged table is empty, $name");
	$new->safe_psql('postgres', 'REINDEX DATABASE postgres');
	all_sound($new, "rebuilt after the upgrade, $name");
	$new->stop;
	return;
}

upgrade('copy', $new_bindir);

SKIP:
{
	my $old_bindir = $ENV{VDB_OLD_BINDIR};

	skip 'VDB_OLD_BINDIR names no server of an earlier release', 1 unless $old_bindir;
	upgrade('link', $old_bindir, '--link');
}

done_testing();
