# Claims that an index answers the same while its pages have to be read as when
# they are in memory, and that vdb.prewarm() puts there what fits: all of it, or
# first what searches look at most.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Test::More;
use VdbTest;

my $node = new_server('cold', 'fsync = off', 'autovacuum = off', 'shared_buffers = 64MB');

load_words($node, 6000);
$node->safe_psql(
	'postgres', q(
	CREATE INDEX words_v ON words USING hnsw (v vector_cosine_ops);
	CREATE TABLE tenants AS SELECT id, v FROM words;
	CREATE INDEX tenants_v ON tenants USING hnsw (v vector_cosine_ops, id);
	CREATE TABLE bits AS SELECT id, binary_quantize(v)::bit(100) AS v FROM words;
	CREATE INDEX bits_v ON bits USING hnsw (v bit_hamming_ops);
	CREATE TABLE listed AS SELECT id, v FROM words;
	CREATE INDEX listed_v ON listed USING ivfpq (v vector_cosine_ops) WITH (refine = 12, lists = 400);
	CHECKPOINT));

my $answers = q(
	SET enable_seqscan = off;
	SELECT q.id, array_agg(s.id) FROM (SELECT id, v FROM words WHERE id % 60 = 0) q,
		LATERAL (SELECT w.id FROM words w ORDER BY w.v <=> q.v LIMIT 10) s GROUP BY 1 ORDER BY 1;
	SELECT q.id, array_agg(s.id) FROM (SELECT id, v FROM words WHERE id % 60 = 0) q,
		LATERAL (SELECT w.id FROM tenants w WHERE w.id > 2000 ORDER BY w.v <=> q.v LIMIT 10) s GROUP BY 1 ORDER BY 1;
	SELECT q.id, array_agg(s.id) FROM (SELECT id, v FROM words WHERE id % 600 = 0) q,
		LATERAL (SELECT w.id FROM tenants w WHERE w.id BETWEEN 1000 AND 1200 ORDER BY w.v <=> q.v LIMIT 10) s GROUP BY 1 ORDER BY 1;
	SELECT q.id, array_agg(s.d) FROM (SELECT id, v FROM bits WHERE id % 60 = 0) q,
		LATERAL (SELECT b.v <~> q.v AS d FROM bits b ORDER BY d LIMIT 10) s GROUP BY 1 ORDER BY 1;
	SELECT q.id, array_agg(s.id) FROM (SELECT id, v FROM words WHERE id % 60 = 0) q,
		LATERAL (SELECT l.id FROM listed l ORDER BY l.v <=> q.v LIMIT 10) s GROUP BY 1 ORDER BY 1;);
my $warm = $node->safe_psql('postgres', $answers);

for my $concurrency (0, 1, 16)
{
	restart_with('64MB', $concurrency);
	is($node->safe_psql('postgres', $answers), $warm, "cold, effective_io_concurrency = $concurrency");
	is($node->safe_psql('postgres', $answers), $warm, "warm, effective_io_concurrency = $concurrency");

	# pages come and go while a search is under way
	restart_with('512kB', $concurrency);
	is($node->safe_psql('postgres', $answers), $warm, "never warm, effective_io_concurrency = $concurrency");
}

# There is room for all.
for my $concurrency (0, 10)
{
	for my $index ('words_v', 'listed_v')
	{
		restart_with('64MB', 1, "maintenance_io_concurrency = $concurrency");
		my $pages = prewarm($index);
		cmp_ok($pages * 8192, '>', index_size($node, $index) - 4 * 8192, "all pages of $index are read, $concurrency ahead");
		my $before = blocks_read($index);
		cmp_ok($before, '>=', $pages, 'each of them once');
		$node->safe_psql('postgres', $answers);
		cmp_ok(blocks_read($index) - $before, '<=', 4, 'none is read again');
	}
}
my ($lists, $scan) = map { prewarm('listed_v', $_) } 'lists', 'scan';

# There is not: hot pages are there, or lists and then scan codes, and a part of the others.
restart_with('1MB', 1);
is(prewarm($_), 128 - 128 / 8, "as many pages of $_ are read as fit") for 'words_v', 'listed_v';
cmp_ok(prewarm('words_v', 'hot'), '>', 5, 'hot pages are among them');
is(prewarm('listed_v', 'lists'), $lists, 'all pages of lists are among them');
is(prewarm('listed_v', 'scan'), $scan, 'and all scan pages');
restart_with('256kB', 1);
is(prewarm('listed_v', 'lists'), $lists, 'lists come first');

$node->stop;
done_testing();

sub restart_with
{
	my ($buffers, $concurrency, $more) = @_;

	$node->append_conf('postgresql.conf',
		"shared_buffers = $buffers\neffective_io_concurrency = $concurrency\n" . ($more // '') . "\n");
	$node->restart;
	return;
}

# How many pages of an index are read, of one kind or of all.
sub prewarm
{
	my ($index, $kind) = @_;
	my $where = $kind ? "WHERE kind = '$kind'" : '';

	return $node->safe_psql('postgres', "SELECT sum(pages) FROM vdb.prewarm('$index') $where");
}

# Blocks of an index that were not in shared buffers when they were asked for.
sub blocks_read
{
	my ($index) = @_;

	return $node->safe_psql(
		'postgres', qq(
		SELECT pg_stat_force_next_flush();
		SELECT idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = '$index')) =~ s/^\s+//r;
}
