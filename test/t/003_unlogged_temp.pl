# Claims that indexes live and die with their tables: unlogged, temporary,
# truncated, rebuilt, built while others write.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server('lives', 'restart_after_crash = on');
my $all = 'SET enable_seqscan = off; SET hnsw.iterative_scan = relaxed_order;
	SET hnsw.max_scan_tuples = 1000000';

# Rows that an index scan for all of them returns.
sub rows_found
{
	my ($table) = @_;
	return "SELECT count(*) FROM (SELECT v FROM $table"
	  . " ORDER BY v <-> (SELECT v FROM words WHERE id = 1)) s";
}

load_words($node, 3000);

# --- unlogged ------------------------------------------------------------------

$node->safe_psql(
	'postgres', q(
	CREATE UNLOGGED TABLE u (id int, v vector(100));
	CREATE INDEX u_v_idx ON u USING hnsw (v vector_l2_ops);
	INSERT INTO u SELECT id, v FROM words WHERE id <= 500));
check_index($node, 'u_v_idx', 'while it is unlogged');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "$all; " . rows_found('u')), '0', 'an unlogged index is empty after a crash');
check_index($node, 'u_v_idx', 'after a crash');
$node->safe_psql('postgres', 'INSERT INTO u SELECT id, v FROM words WHERE id <= 500');
check_index($node, 'u_v_idx', 'filled again');
is($node->safe_psql('postgres', "$all; " . rows_found('u')), '500', 'and usable');
$node->restart;
is($node->safe_psql('postgres', "$all; " . rows_found('u')), '500', 'an orderly restart keeps it');
$node->safe_psql('postgres', 'ALTER TABLE u SET LOGGED');
$node->stop('immediate');
$node->start;
check_index($node, 'u_v_idx', 'logged, after a crash');
is($node->safe_psql('postgres', "$all; " . rows_found('u')), '500', 'what became logged survives a crash');

# --- temporary -----------------------------------------------------------------

is($node->safe_psql(
		'postgres', "$all;
		CREATE TEMP TABLE p (id int, v vector(100));
		INSERT INTO p SELECT id, v FROM words WHERE id <= 300;
		CREATE INDEX p_v_idx ON p USING hnsw (v vector_l2_ops);
		INSERT INTO p SELECT id, v FROM words WHERE id BETWEEN 301 AND 600;
		DELETE FROM p WHERE id % 2 = 0;
		VACUUM (INDEX_CLEANUP ON) p;
		INSERT INTO p SELECT id, v FROM words WHERE id BETWEEN 601 AND 700;
		SELECT FROM vdb.check_index('p_v_idx', true);
		" . rows_found('p')),
	'400', 'a temporary table');
is($node->safe_psql(
		'postgres', "$all;
		CREATE TEMP TABLE p (v vector(100)) ON COMMIT DELETE ROWS;
		CREATE INDEX p_v_idx ON p USING hnsw (v vector_l2_ops);
		BEGIN;
		INSERT INTO p SELECT v FROM words WHERE id <= 100;
		" . rows_found('p') . ";
		COMMIT;
		" . rows_found('p') . ";
		BEGIN;
		INSERT INTO p SELECT v FROM words WHERE id <= 50;
		" . rows_found('p') . ";
		SELECT FROM vdb.check_index('p_v_idx', true);
		COMMIT;"),
	"100\n0\n50", 'ON COMMIT DELETE ROWS empties the index in place');

# --- truncation ----------------------------------------------------------------

is($node->safe_psql(
		'postgres', "$all;
		BEGIN;
		CREATE TABLE c (v vector(100));
		CREATE INDEX c_v_idx ON c USING hnsw (v vector_l2_ops);
		INSERT INTO c SELECT v FROM words WHERE id <= 200;
		" . rows_found('c') . ";
		TRUNCATE c;
		" . rows_found('c') . ";
		INSERT INTO c SELECT v FROM words WHERE id <= 20;
		" . rows_found('c') . ";
		COMMIT;
		SELECT FROM vdb.check_index('c_v_idx', true);"),
	"200\n0\n20", 'TRUNCATE in the transaction that created the table');
is($node->safe_psql(
		'postgres', "$all;
		BEGIN;
		TRUNCATE c;
		INSERT INTO c SELECT v FROM words WHERE id <= 30;
		" . rows_found('c') . ";
		ROLLBACK;
		" . rows_found('c') . ";
		TRUNCATE c;
		" . rows_found('c')),
	"30\n20\n0", 'TRUNCATE rolled back, and committed');

# --- transactions --------------------------------------------------------------

is($node->safe_psql(
		'postgres', "$all;
		BEGIN;
		INSERT INTO c SELECT v FROM words WHERE id <= 10;
		SAVEPOINT one;
		INSERT INTO c SELECT v FROM words WHERE id BETWEEN 11 AND 50;
		" . rows_found('c') . ";
		ROLLBACK TO one;
		" . rows_found('c') . ";
		SAVEPOINT two;
		INSERT INTO c SELECT v FROM words WHERE id BETWEEN 51 AND 60;
		RELEASE two;
		COMMIT;
		" . rows_found('c') . ";
		SELECT FROM vdb.check_index('c_v_idx', true);"),
	"50\n10\n20", 'subtransactions');

# --- rebuilding ----------------------------------------------------------------

$node->safe_psql(
	'postgres', q(
	CREATE TABLE r (id serial, v vector(100));
	INSERT INTO r (v) SELECT v FROM words));

my $pick = "\\set w random(1, 3000)\n\\set r random(1, 3000)\n";
my %load = (
	'insert@5' => "$pick INSERT INTO r (v) SELECT v FROM words WHERE id = :w;\n",
	'update@2' => "$pick UPDATE r SET v = (SELECT v FROM words WHERE id = :w) WHERE id = :r;\n",
	'delete@3' => "$pick DELETE FROM r WHERE id = :r;\n");
my $writers = begin_pgbench($node, 2, 6, %load);

$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY r_v_idx ON r USING hnsw (v vector_l2_ops)');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY r_v_idx');
$node->safe_psql('postgres', 'REINDEX INDEX r_v_idx');
ok(await_end($writers), 'writers do not notice that an index is built')
  or diag(${ $writers->{output} });
check_index($node, 'r_v_idx', 'built and rebuilt while others wrote');
recall_at_least($node, 'r_v_idx', 0.95, 'built and rebuilt while others wrote');

$node->safe_psql('postgres', 'VACUUM FULL r');
check_index($node, 'r_v_idx', 'after VACUUM FULL');
$node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY r');
check_index($node, 'r_v_idx', 'after REINDEX TABLE CONCURRENTLY');

# a failed concurrent build leaves an invalid index, which is refused by name
$node->psql(
	'postgres', q(
	LOAD 'vdb';
	SET vdb.stop_at = 'hnsw-build-after-write=error';
	CREATE INDEX CONCURRENTLY r_bad ON r USING hnsw (v vector_cosine_ops)));
psql_fails($node, "SELECT vdb.recall('r_bad')", '55000', 'index "r_bad" is not valid', 'an invalid index');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY r_bad');
check_index($node, 'r_bad', 'after a failed build was repeated');

$node->stop;
done_testing();
