# Claims that rows which wait to be linked are linked by a background worker: soon, where
# inserts come to the limit, and else when its time has come.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'maintenance_pending', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'autovacuum = off',
	'vdb.maintenance_naptime = 3600', 'vdb.maintenance_cost_delay = 0');

sub sql { return $node->safe_psql('postgres', shift) }

sub comes_true
{
	my ($claim, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $claim);
}

sql(q(
	CREATE TABLE ingest (id int, v vector(60));
	CREATE INDEX ingest_v ON ingest USING hnsw (v vector_l2_ops) WITH (fastupdate = on, pending_limit = 1000);
	CREATE FUNCTION ingest(first int, last int) RETURNS void LANGUAGE sql AS $$
		INSERT INTO ingest SELECT i, array_agg(sin(i * 0.37 * j) * 10 ORDER BY j)::vector
		FROM generate_series(first, last) i, generate_series(1, 60) j GROUP BY i $$;
	SELECT pg_reload_conf()));

# the first look at this database was without an index: the next is an hour away
sql('SELECT ingest(1, 100)');
sleep(3);
cmp_ok(sql(q(SELECT pending FROM vdb_stat_index WHERE indexrelname = 'ingest_v')), '>=', 100, 'a few rows wait');
sql('SELECT ingest(101, 3000)');
comes_true('so many that others are linked by their inserts are not left waiting for an hour',
	q(SELECT merged > 400 FROM vdb_stat_index WHERE indexrelname = 'ingest_v'));
is(sql(q(SELECT count(*) FROM vdb.check_index('ingest_v', true))), 1, 'the index is sound');
is(sql(q(
		SET enable_seqscan = off; SET hnsw.ef_search = 200;
		SELECT count(*) FROM ingest q, LATERAL (SELECT id FROM ingest ORDER BY v <-> q.v LIMIT 1) s
		WHERE q.id % 30 = 0 AND s.id = q.id)),
	100, 'and finds what was inserted');

# fewer than half of the limit are merged when the time of the database has come
sql('SELECT ingest(3001, 3100)');
$node->append_conf('postgresql.conf', 'vdb.maintenance_naptime = 1');
sql('SELECT pg_reload_conf()');
comes_true('a few rows are linked too', q(SELECT pending = 0 FROM vdb_stat_index WHERE indexrelname = 'ingest_v'));

# an index that is left out is left waiting
sql(q(ALTER INDEX ingest_v SET (maintenance = off)));
sql('SELECT ingest(3101, 3200)');
sleep(4);
cmp_ok(sql(q(SELECT pending FROM vdb_stat_index WHERE indexrelname = 'ingest_v')), '>', 0,
	'of an index with maintenance = off rows are not linked');
is(sql(q(SELECT count(*) > 0 FROM vdb.maintain('ingest_v') WHERE work = 'clean-up' AND done)), 't',
	'but by hand');
is(sql(q(SELECT pending FROM vdb_stat_index WHERE indexrelname = 'ingest_v')), 0, 'all of them');

# nor does anybody ask for a worker because of it
$node->append_conf('postgresql.conf', 'vdb.maintenance_naptime = 3600');
sql('SELECT pg_reload_conf()');
my $rounds = q(SELECT sum(rounds) FROM vdb_stat_worker WHERE kind = 'worker');
comes_true('no worker is at work', q(SELECT count(*) = 0 FROM vdb_stat_worker WHERE kind = 'worker' AND pid IS NOT NULL));
my $before = sql($rounds);
sql('SELECT ingest(3201, 4000)');
sleep(4);
is(sql($rounds), $before, 'no worker comes for an index that is left out');

$node->stop;
done_testing();
