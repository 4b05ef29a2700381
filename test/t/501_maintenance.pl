# Claims that indexes are looked after where the library is preloaded: dead rows go, lists and
# calibrations come, recall is measured, indexes that are mostly empty are rebuilt; that an index
# can be left out, and that what is done can be seen.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'maintenance', 'fsync = off', q(shared_preload_libraries = 'vdb'),
	'vdb.maintenance_naptime = 1', 'vdb.maintenance_cost_delay = 0');

sub sql { return $node->safe_psql('postgres', shift) }

sub comes_true
{
	my ($claim, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $claim);
}

# Waits for so many rounds of the worker to begin and end.
sub await_rounds
{
	my ($rounds) = @_;
	my $now = sql(q(SELECT sum(rounds) FROM vdb_stat_worker WHERE kind = 'worker'));

	return $node->poll_query_until('postgres',
		"SELECT sum(rounds) >= $now + $rounds FROM vdb_stat_worker WHERE kind = 'worker'");
}

# a database that has just got the extension is looked at in ten rounds, or when settings are read
sql(q(
	CREATE FUNCTION place(i int) RETURNS vector IMMUTABLE LANGUAGE sql AS
	$$ SELECT array_agg(sin(i * 0.37 * j) * 10 ORDER BY j)::vector FROM generate_series(1, 60) j $$;
	SELECT pg_reload_conf()));

# --- first lists, first calibration -----------------------------------------

sql(q(
	CREATE TABLE lists (id int, v vector(60));
	CREATE INDEX lists_ivf ON lists USING ivfpq (v vector_l2_ops);
	CREATE INDEX lists_hnsw ON lists USING hnsw (v vector_l2_ops);
	INSERT INTO lists SELECT i, place(i) FROM generate_series(1, 3000) i));
comes_true('an index that was made empty gets lists',
	q(SELECT upper_records > 10 FROM vdb.check_index('lists_ivf', true)));
comes_true("$_ is calibrated", "SELECT count(*) > 0 FROM vdb.calibration('$_')")
  for qw(lists_ivf lists_hnsw);
cmp_ok(sql(q(SELECT sum(clean_ups) FROM vdb_stat_worker)), '<=', 2,
	'which are counted once, or twice where the first time was before the statistics came');

# --- dead rows ---------------------------------------------------------------

# One statement, so that the session's statistics are not in question: it sends them when it ends.
sql('DELETE FROM lists WHERE id % 3 = 0');
comes_true('dead rows go',
	q(SELECT n_dead_tup = 0 FROM pg_stat_all_tables WHERE relname = 'lists'));
comes_true('out of the index as well',
	q(SELECT live = 2000 AND dead = 0 AND free >= 1000 FROM vdb.check_index('lists_hnsw', true)));
is(sql(q(SELECT sum(vacuums) FROM vdb_stat_worker)), '1', 'in one VACUUM for both indexes');

# --- an index that is left out -----------------------------------------------

sql(q(
	CREATE TABLE alone (id int, v vector(60));
	CREATE INDEX alone_hnsw ON alone USING hnsw (v vector_l2_ops) WITH (maintenance = off);
	CREATE INDEX alone_flat ON alone USING ivfflat (v vector_l2_ops) WITH (maintenance = off);
	CREATE INDEX alone_ivf ON alone USING ivfpq (v vector_l2_ops) WITH (maintenance = off);
	INSERT INTO alone SELECT i, place(i) FROM generate_series(1, 1000) i));
sql('DELETE FROM alone WHERE id % 2 = 0');
await_rounds(3);
is(sql(q(SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'alone')), '500',
	'maintenance = off leaves dead rows alone');
is(sql(q(SELECT count(*) FROM vdb.calibration('alone_hnsw'))), '0', 'and the calibration');
sql('ALTER INDEX alone_ivf SET (maintenance = on)');
comes_true('on again, it does not',
	q(SELECT n_dead_tup = 0 FROM pg_stat_all_tables WHERE relname = 'alone'));

# --- an index that is mostly empty -------------------------------------------

sql(q(
	CREATE TABLE large (id int, v vector(60));
	INSERT INTO large SELECT i, place(i) FROM generate_series(1, 6000) i;
	CREATE INDEX large_hnsw ON large USING hnsw (v vector_l2_ops)));
my $size = index_size($node, 'large_hnsw');
my $whole = sql(q(SELECT sum(reindexes) FROM vdb_stat_worker));

is($whole, '0', 'no index was rebuilt so far');
sql('DELETE FROM large WHERE id % 10 > 0');
comes_true('an index of which a tenth is in use is rebuilt',
	"SELECT pg_relation_size('large_hnsw') < $size / 5");
check_index($node, 'large_hnsw', 'after that');
comes_true('and nothing else is left of that',
	q(SELECT count(*) = 1 FROM pg_index WHERE indrelid = 'large'::regclass));
await_rounds(3);
is(sql(q(SELECT sum(reindexes) FROM vdb_stat_worker)), '1', 'once');
is(sql(q(SELECT count(*) FROM pg_depend WHERE deptype = 'x')), '0', 'the mark has gone with the old index');

# --- recall ------------------------------------------------------------------

my $before = sql(q(SELECT sum(reindexes) FROM vdb_stat_worker));

sql(q(
	ALTER INDEX lists_ivf SET (maintenance = off);
	ALTER INDEX alone_ivf SET (maintenance = off);
	ALTER INDEX large_hnsw SET (maintenance = off);
	ALTER DATABASE postgres SET hnsw.ef_search = 1;
	ALTER DATABASE postgres SET hnsw.iterative_scan = off;
	ALTER DATABASE postgres SET default_transaction_read_only = on;
	ALTER DATABASE postgres SET vdb.maintenance_recall_floor = 0.9));
comes_true('an index that finds too little is rebuilt, whatever else the database has set',
	"SELECT sum(reindexes) = $before + 1 FROM vdb_stat_worker");
comes_true('what that gave is measured', 'SELECT sum(recalls) >= 1 FROM vdb_stat_worker');
await_rounds(4);
is(sql('SELECT sum(reindexes) FROM vdb_stat_worker'), $before + 1,
	'and where that does not help, it is not done again');
$node->safe_psql('postgres', q(
	SET default_transaction_read_only = off;
	ALTER DATABASE postgres RESET ALL));

# --- what can be seen --------------------------------------------------------

my $holder = hold($node, 'worker-before-step');

sql(q(ALTER DATABASE postgres SET vdb.stop_at = 'worker-before-step'));
sql(q(
	CREATE TABLE seen (id int, v vector(60));
	CREATE INDEX "Seen" ON seen USING ivfpq (v vector_l2_ops);
	INSERT INTO seen SELECT i, place(i) FROM generate_series(1, 1000) i));
comes_true('pg_stat_activity says what is done',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'vdb maintenance worker'
	  AND application_name = 'vdb maintenance' AND query = 'vdb maintenance: clean-up of index public."Seen"'));
is(sql(q(SELECT kind, datname, work, indexrelid::regclass, index FROM vdb_stat_worker
	WHERE work IS NOT NULL)), 'worker|postgres|clean-up|"Seen"|public."Seen"', 'so does vdb_stat_worker');
is(sql(q(CREATE ROLE guest; SET ROLE guest;
	SELECT kind, work, index, last_error FROM vdb_stat_worker WHERE work IS NOT NULL)),
	'worker|clean-up||', 'names only to who may see them');

# --- cancelled by a user -----------------------------------------------------

sql(q(SELECT pg_cancel_backend(pid) FROM vdb_stat_worker WHERE work IS NOT NULL));
comes_true('a worker that is cancelled says so',
	q(SELECT count(*) = 1 FROM vdb_stat_worker WHERE failures > 0 AND last_error ~ 'cancel'));
sql(q(ALTER DATABASE postgres RESET vdb.stop_at));
let_go($node, $holder);
comes_true('and comes back after a rest', q(SELECT upper_records > 5 FROM vdb.check_index('"Seen"')));

# --- an index whose code fails -----------------------------------------------

sql(q(
	CREATE TABLE failing (id int, v vector(60));
	CREATE FUNCTION bad(v vector) RETURNS vector(60) IMMUTABLE LANGUAGE plpgsql AS
	$$ BEGIN
		IF pg_catalog.current_setting('search_path') !~ 'public' THEN
			RAISE 'not in a worker, %', current_user;
		END IF;
		RETURN v;
	END $$;
	GRANT CREATE ON SCHEMA public TO guest; ALTER TABLE failing OWNER TO guest;
	CREATE INDEX failing_ivf ON failing USING ivfpq ((bad(v)::vector(60)) vector_l2_ops);
	INSERT INTO failing SELECT i, place(i) FROM generate_series(1, 500) i));
comes_true("an index's code runs as its owner, with a path that nobody can prepare",
	q(SELECT count(*) = 1 FROM vdb_stat_worker WHERE last_error ~ 'not in a worker, guest$'));
sql('INSERT INTO seen SELECT i, place(i) FROM generate_series(1, 4000) i');
comes_true('its errors do not keep others from their turn',
	q(SELECT upper_records > 20 FROM vdb.check_index('"Seen"')));
ok($node->log_contains('not in a worker'), 'they are in the log');

# --- settings ----------------------------------------------------------------

sql('DROP TABLE failing');
$node->append_conf('postgresql.conf', 'vdb.maintenance = off');
$node->reload;
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM vdb_stat_worker WHERE kind = 'worker' AND pid IS NOT NULL));
sql('DELETE FROM seen WHERE id % 2 = 0');
my $rounds = sql(q(SELECT sum(rounds) FROM vdb_stat_worker WHERE kind = 'worker'));
my $looks = sql(q(SELECT rounds FROM vdb_stat_worker WHERE kind = 'launcher'));
$node->poll_query_until('postgres', "SELECT rounds > $looks + 2 FROM vdb_stat_worker WHERE kind = 'launcher'");
is(sql(q(SELECT sum(rounds) FROM vdb_stat_worker WHERE kind = 'worker')), $rounds,
	'vdb.maintenance = off starts no worker');
$node->append_conf('postgresql.conf', 'vdb.maintenance = on');
$node->reload;
comes_true('on again, it does', q(SELECT n_dead_tup = 0 FROM pg_stat_all_tables WHERE relname = 'seen'));

check_index($node, $_, 'in the end') for qw(lists_ivf lists_hnsw alone_hnsw alone_ivf large_hnsw "Seen");
$node->stop;
done_testing();
