# Claims that indexes of unlogged and temporary tables live and die with them.

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

# Numbers of files come round.  A temporary index may get that of a permanent
# one: their names differ in the backend's number, and in one session both are
# used.
$node->safe_psql('postgres', 'REINDEX INDEX u_v_idx');
my $number = $node->safe_psql('postgres', "SELECT pg_relation_filenode('u_v_idx')");

$node->stop;
command_ok([ 'pg_resetwal', '-o', $number - 20, $node->data_dir ], 'numbers come round');
$node->start;
is($node->safe_psql(
		'postgres', "$all;
		CREATE TEMP TABLE p (id int, v vector(100));
		INSERT INTO p SELECT id, v FROM words WHERE id <= 20;
		" . join(';', (rows_found('u')) x 6) . ";
		DO \$\$
		BEGIN
			FOR i IN 1 .. 40 LOOP
				CREATE INDEX p_v_idx ON p USING hnsw (v vector_l2_ops);
				EXIT WHEN pg_relation_filenode('p_v_idx') = $number;
				DROP INDEX p_v_idx;
			END LOOP;
		END \$\$;
		SELECT pg_relation_filenode('p_v_idx') = pg_relation_filenode('u_v_idx');
		" . rows_found('p') . ';
		INSERT INTO p SELECT id, v FROM words WHERE id BETWEEN 21 AND 30;
		' . rows_found('p') . ';
		' . rows_found('u') . ";
		SELECT FROM vdb.check_index('p_v_idx', true);
		SELECT FROM vdb.check_index('u_v_idx', true)"),
	"500\n" x 6 . "t\n20\n30\n500", 'two indexes whose files have the same number');
check_index($node, 'u_v_idx', 'beside another of its number');

$node->stop;
done_testing();
