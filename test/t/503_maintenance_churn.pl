# Claims that indexes stay as good and as small as new ones while rows come and go, with no command
# of anybody's, and that they would not without workers; and that nobody sees an error meanwhile,
# nor while an index is rebuilt.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use List::Util qw(min);
use Test::More;
use VdbTest;

my $rows = 5000;
my $node = new_server(
	'churn', 'fsync = off', q(shared_preload_libraries = 'vdb'), 'vdb.maintenance_naptime = 1',
	'vdb.maintenance_cost_delay = 0', 'maintenance_work_mem = 128MB');

sub sql { return $node->safe_psql('postgres', shift) }

# The same rows twice: one table is looked after.
load_words($node, 2 * $rows);
sql(qq(
	SELECT pg_reload_conf();
	ALTER TABLE words RENAME TO pool;
	CREATE TABLE kept AS SELECT id, v FROM pool WHERE id <= $rows;
	CREATE TABLE left_alone AS SELECT id, v FROM pool WHERE id <= $rows));
my %indexes = (kept => 'on', left_alone => 'off');
for my $table (sort keys %indexes)
{
	sql(qq(
		CREATE INDEX ${table}_hnsw ON $table USING hnsw (v vector_cosine_ops) WITH (maintenance = $indexes{$table});
		CREATE INDEX ${table}_ivf ON $table USING ivfpq (v vector_cosine_ops) WITH (maintenance = $indexes{$table})));
}

my %size = map { $_ => index_size($node, $_) } map { ("${_}_hnsw", "${_}_ivf") } keys %indexes;

# Ten hours of a table of which a tenth changes in each, in two steps: each time another part of the pool.
my $reader = begin_pgbench($node, 1, 50, read => q(
\set q random(1, 5000)
SELECT id FROM kept ORDER BY v <=> (SELECT v FROM pool WHERE id = :q) LIMIT 10;
));

for my $step (1 .. 20)
{
	for my $table (sort keys %indexes)
	{
		my $part = $rows / 20;

		sql(qq(DELETE FROM $table WHERE ctid IN (SELECT ctid FROM $table ORDER BY md5(id::text || '$step') LIMIT $part)));
		sql(qq(INSERT INTO $table SELECT p.id, p.v FROM pool p ORDER BY md5(p.id::text || 'new$step') LIMIT $part));
	}
	$node->poll_query_until('postgres', q(SELECT n_dead_tup < 300 FROM pg_stat_all_tables WHERE relname = 'kept'))
	  or die 'nobody vacuums';
}
ok(await_end($reader), 'who reads meanwhile sees no error') or diag(${ $reader->{output} });

# The lists were made of rows that have gone.
ok($node->poll_query_until('postgres', 'SELECT sum(reindexes) > 0 FROM vdb_stat_worker'), 'lists of other rows are made anew');

# And are made anew until some rounds have gone by without: a busy machine's workers are behind.
for (1 .. 60)
{
	my ($rounds, $made) = split /\|/, sql('SELECT sum(rounds), sum(reindexes) FROM vdb_stat_worker');

	$node->poll_query_until('postgres', "SELECT sum(rounds) >= $rounds + 3 FROM vdb_stat_worker") or die 'no more rounds';
	last if sql('SELECT sum(reindexes) FROM vdb_stat_worker') == $made;
}

for my $kind (qw(hnsw ivf))
{
	my $kept = index_size($node, "kept_$kind") / $size{"kept_$kind"};
	my $left = index_size($node, "left_alone_$kind") / $size{"left_alone_$kind"};

	cmp_ok($kept, '<', 1.3, "$kind: less than 1.3 times as large as when it was new");
	cmp_ok($left, '>', 1.5, "$kind: without workers, 1.5 times and more");
	note "$kind: kept $kept, left alone $left";
}

# Beside new indexes of the same rows, which are not all alike.
my ($kept, @new) = map {
	sql('REINDEX TABLE kept') if $_;
	+{ map { $_ => sql("SET ivfpq.probes = 20; SELECT recall FROM vdb.recall('kept_$_', 10, 2000)") } qw(hnsw ivf) }
} 0 .. 3;

for my $kind (qw(hnsw ivf))
{
	my $new = min(map { $_->{$kind} } @new);

	cmp_ok($kept->{$kind}, '>=', $new - 0.005, "$kind: recall is a new one's within .005");
	note "$kind: kept $kept->{$kind}, new $new";
}

# --- a rebuild, with one who reads and one who writes ------------------------

my $before = sql('SELECT sum(reindexes) FROM vdb_stat_worker');
my $users = begin_pgbench($node, 2, 20,
	'reads@5' => q(
\set q random(1, 5000)
SELECT id FROM kept ORDER BY v <=> (SELECT v FROM pool WHERE id = :q) LIMIT 10;
),
	'writes@5' => q(
\set q random(1, 5000)
INSERT INTO kept SELECT id, v FROM pool WHERE id = :q;
\sleep 10 ms
));

sql('DELETE FROM kept WHERE id % 12 > 0');
ok($node->poll_query_until('postgres', "SELECT sum(reindexes) > $before FROM vdb_stat_worker"),
	'an index is rebuilt while others work with it');
ok(await_end($users), 'and nobody sees an error') or diag(${ $users->{output} });
check_index($node, "kept_$_", 'in the end') for qw(hnsw ivf);
$node->stop;
done_testing();
