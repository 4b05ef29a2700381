# Claims that the files under docs/monitoring work: Debian's exporter and Prometheus scrape a
# server, and have what the views say; alerts fire when they should; a dashboard's questions have
# answers.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use GpuTest;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdbTest;

my @programs = qw(prometheus promtool prometheus-postgres-exporter);
my @missing = grep { my $program = $_; !grep { -x "$_/$program" } split /:/, $ENV{PATH} } @programs;

plan skip_all => "not installed: @missing (test/setup monitoring)" if @missing;

my $folder = "$FindBin::RealBin/../../docs/monitoring";
my $web = HTTP::Tiny->new(timeout => 10);
my @running;

# of what is begun below; Cluster's own block stops the server
END { local $?; $_->kill_kill for @running }

# rules
command_ok([ 'promtool', 'check', 'rules', "$folder/rules.yaml" ], 'the rules are rules');
command_ok([ 'promtool', 'test', 'rules', "$folder/rules_test.yaml" ], 'alerts fire when they should, and not before');

# a server, an exporter that sees no table, and Prometheus
my $library = gpu_library();
my $node = new_server('monitored', "shared_preload_libraries = 'vdb'", 'wal_level = logical', 'enable_seqscan = off',
	'vdb.mirror_memory = 4MB', 'vdb.gpu = on', "vdb.gpu_library = '$library'");
$node->safe_psql(
	'postgres', q(
	CREATE ROLE exporter LOGIN IN ROLE pg_monitor;
	CREATE TABLE items (id int, v vector(3));
	INSERT INTO items SELECT i, ARRAY[i, i * 7 % 201, i * 13 % 199]::vector FROM generate_series(1, 200) i;
	CREATE INDEX items_graph ON items USING hnsw (v vector_l2_ops);
	CREATE TABLE others AS SELECT * FROM items;
	CREATE INDEX others_lists ON others USING ivfpq (v vector_l2_ops) WITH (lists = 4);
	DELETE FROM items WHERE id <= 10;
	VACUUM (INDEX_CLEANUP ON) items;
	SELECT FROM vdb.recall('items_graph')));
$node->safe_psql('postgres', join ';', map { "SELECT id FROM $_ ORDER BY v <-> '[9,9,9]' LIMIT 5" } (qw(items) x 3, qw(others) x 2));

# a mirror, and a device that has been asked
$node->poll_query_until('postgres', q(SELECT state = 'serving' FROM vdb_stat_gpu)) or die 'there is no device';
$node->safe_psql('postgres', q(SELECT vdb.load_mirror('items_graph'); SELECT FROM vdb.check_gpu('items_graph', 3, 10)));

# a pipeline that has embedded, found a row that cannot be, and has nothing left to do; and one that is paused
$node->safe_psql(
	'postgres', q(
	CREATE FUNCTION embed(texts text[]) RETURNS vector[] LANGUAGE plpgsql SET search_path = public AS
	$$ BEGIN
		IF 'poison' = ANY (texts) THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '22000'; END IF;
		RETURN vdb.hash_embed(texts, 8);
	END $$;
	CREATE TABLE notes (id int PRIMARY KEY, body text);
	CREATE TABLE note_vectors (id int PRIMARY KEY, embedding vector(8), source_hash text, model_version text, embedded_at timestamptz);
	CREATE TABLE paused_vectors (LIKE note_vectors INCLUDING ALL);
	INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 20) i;
	SELECT vdb.create_pipeline('notes', 'notes', 'id', 'body', 'note_vectors', embed => 'embed(text[])', model_version => '1',
		max_attempts => 1);
	SELECT vdb.create_pipeline('paused', 'notes', 'id', 'body', 'paused_vectors', model_version => '1', queue_limit => 500)));
$node->poll_query_until('postgres', q(SELECT sum(embedded) = 20 AND sum(backfill) = 20 AND count(load) = 0 FROM vdb_stat_ingest))
  or die 'what was there is not gone through';
$node->safe_psql('postgres', q(SELECT vdb.pause_pipeline('paused'); INSERT INTO notes VALUES (21, 'new'), (22, 'poison'); UPDATE notes SET body = body WHERE id = 1));
$node->poll_query_until('postgres', q(SELECT (embedded, skipped, dead) = (21, 1, 1) AND queued = 0 FROM vdb_stat_ingest WHERE name = 'notes'))
  or die 'changes are not embedded';
$node->poll_query_until('postgres', q(SELECT queued = 3 FROM vdb_stat_ingest WHERE name = 'paused')) or die 'changes are not queued';

my $exporter = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
my $prometheus = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
my $data = PostgreSQL::Test::Utils::tempdir('prometheus');

append_to_file("$data/prometheus.yml", <<"END");
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ['$folder/rules.yaml']
scrape_configs:
  - job_name: postgres
    static_configs: [{ targets: ['$exporter'] }]
END

{
	local $ENV{DATA_SOURCE_NAME} = 'user=exporter dbname=postgres sslmode=disable host=' . $node->host . ' port=' . $node->port;
	begin_program('exporter', 'prometheus-postgres-exporter', "--web.listen-address=$exporter",
		"--extend.query-path=$folder/queries.yaml", '--disable-default-metrics', '--disable-settings-metrics');
}
begin_program('prometheus', 'prometheus', "--config.file=$data/prometheus.yml", "--storage.tsdb.path=$data/tsdb",
	"--web.listen-address=$prometheus");

sub begin_program
{
	my ($name, @command) = @_;

	return push @running, IPC::Run::start(\@command, '<', \undef, '>&', "$data/$name.log");
}

sub get_page
{
	my ($url) = @_;

	for (1 .. 300)
	{
		my $answer = $web->get($url);

		return $answer->{content} if $answer->{success};
		usleep(100_000);
	}
	die "no answer from $url: " . join "\n", map { slurp_file($_) } glob "$data/*.log";
}

# a scrape: every value of the views, by the metric that it became
my $page = get_page("http://$exporter/metrics");

for my $index (qw(items_graph others_lists))
{
	my %values = metrics_of($page, indexrelname => $index);
	my ($json) = $node->safe_psql('postgres', "SELECT to_jsonb(s) FROM vdb_stat_index s WHERE indexrelname = '$index'");
	my $expected = JSON::PP->new->decode($json);

	for my $name (qw(scans rows candidates distances exact_distances rounds pages_hit pages_read inserts repairs))
	{
		is($values{"vdb_index_${name}_total"} + 0, $expected->{$name}, "$name of $index are exported");
	}
	cmp_ok(abs($values{vdb_index_build_seconds} - $expected->{build_ms} / 1000), '<', 1e-6, "so is the time of its build");
	is($values{vdb_index_size_bytes} + 0, index_size($node, $index), 'so is its size');
	is($values{vdb_query_duration_seconds_count}, $expected->{scans}, 'its histogram has all scans');
	is($values{'vdb_query_duration_seconds_bucket{+Inf}'}, $expected->{scans}, 'in the last bucket');
	is(scalar(grep { /_bucket/ } keys %values), 19, 'of 19');
	is($values{vdb_index_recall}, $index eq 'items_graph' ? $expected->{recall} : 'NaN', 'recall is exported if it was measured');
	is($values{vdb_index_dead_rows}, $index eq 'items_graph' ? 10 : 'NaN', 'so are the rows that VACUUM took out');
}
{
	my %values = metrics_of($page, indexrelname => 'items_graph');
	my ($json) = $node->safe_psql('postgres', "SELECT to_jsonb(s) FROM vdb_stat_mirror s WHERE indexrelname = 'items_graph'");
	my $expected = JSON::PP->new->decode($json);

	is($values{vdb_mirror_ready}, 1, 'a mirror is exported');
	is($values{"vdb_mirror_$_"} + 0, $expected->{$_}, "with its $_") for qw(rows bytes);
	is($values{vdb_mirror_searches_total} + 0, $expected->{searches}, 'and its searches');

	%values = metrics_of($page, device => 'test device');
	($json) = $node->safe_psql('postgres', 'SELECT to_jsonb(s) FROM vdb_stat_gpu s');
	$expected = JSON::PP->new->decode($json);
	is($values{vdb_gpu_serving}, 1, 'a device is exported');
	cmp_ok($expected->{questions}, '>=', 3, 'which was asked');
	is($values{"vdb_gpu_${_}_total"} + 0, $expected->{$_}, "with its $_") for qw(requests questions batches fallbacks);
	is($values{vdb_gpu_bytes} + 0, $expected->{bytes}, 'and its memory');
}
like($page, qr/^vdb_stat_table_room\{.*\} 1000$/m, 'the room for statistics is exported');
unlike($page, qr/^pg_exporter_last_scrape_error\S* 1/m, 'nothing went wrong');

for my $pipeline (qw(notes paused))
{
	my %values = metrics_of($page, pipeline => $pipeline);
	my ($json) = $node->safe_psql('postgres', "SELECT to_jsonb(s) FROM vdb_stat_ingest s WHERE name = '$pipeline'");
	my $expected = JSON::PP->new->decode($json);

	for my $name (qw(captured embedded skipped deleted failed dead retries rate_limited batches))
	{
		is($values{"vdb_ingest_${name}_total"} + 0, $expected->{$name}, "$name of $pipeline are exported");
	}
	cmp_ok(abs($values{vdb_ingest_batch_seconds_total} - $expected->{batch_ms} / 1000), '<', 1e-6, 'so is the time of its batches');
	is($values{vdb_ingest_queued_rows} + 0, $expected->{queued}, 'so is what waits');
	is($values{vdb_ingest_backfill_rows} + 0, $expected->{backfill}, 'of either kind');
	is($values{vdb_ingest_queue_limit_rows} + 0, $expected->{queue_limit}, 'and what may');
	is($values{vdb_ingest_dead_letter_rows} + 0, $expected->{dead_letters}, 'so is what is given up');
	is(join(' ', grep { $values{"vdb_ingest_state_$_"} } qw(running paused error overflow)), $expected->{state}, 'it is in one state');
	is($values{vdb_ingest_capture_running}, 1, 'its log is read');
	like($values{"vdb_ingest_wal_lag_$_"}, qr/^\d/, "it is known how many $_ behind") for qw(bytes seconds);
	cmp_ok($values{vdb_ingest_wal_lag_seconds}, '<', 60, 'which are few');
	is($values{vdb_ingest_freshness_seconds_count} + 0, $expected->{freshness_buckets}[-1], 'its histogram has all that was embedded');
	is($values{'vdb_ingest_freshness_seconds_bucket{+Inf}'} + 0, $expected->{freshness_buckets}[-1], 'in the last bucket');
	is(scalar(grep { /_bucket/ } keys %values), scalar(@{ $expected->{freshness_bounds} }), 'of as many as there are');
}
my %notes = metrics_of($page, pipeline => 'notes');
my %paused = metrics_of($page, pipeline => 'paused');
is($notes{vdb_ingest_oldest_seconds} + 0, 0, 'nothing grows old where nothing waits');
cmp_ok($paused{vdb_ingest_oldest_seconds}, '>', 0, 'but where it does');
cmp_ok($notes{vdb_ingest_freshness_seconds_count}, '>=', 1, 'a row that changed was timed');
is($paused{vdb_ingest_embedded_total} + 0, 0, 'of a pipeline that did nothing it is said that it was nothing');

# Of an index or a pipeline: value by name of a metric, with the bound of a bucket.
sub metrics_of
{
	my ($text, $label, $called) = @_;
	my %values;

	for (split /\n/, $text)
	{
		next unless /^(\w+)\{(.*\b$label="$called".*)\} (\S+)$/;
		my ($name, $labels, $value) = ($1, $2, $3);
		$name .= "{$1}" if $labels =~ /\ble="([^"]*)"/;
		$values{$name} = $value;
	}
	return %values;
}

# Prometheus has it, and answers what the dashboard asks
sub ask
{
	my ($question) = @_;
	my $query = $web->www_form_urlencode({ query => $question });
	my $answer = $web->get("http://$prometheus/api/v1/query?$query");

	return $answer->{success} ? JSON::PP->new->decode($answer->{content})->{data}{result} : undef;
}

# The answer to a question, when it has so many results: rates take two scrapes, rules one more.
sub await_results
{
	my ($question, $count) = @_;

	for (1 .. 300)
	{
		my $answer = ask($question);

		return $answer if @{ $answer // [] } == $count;
		usleep(100_000);
	}
	return [];
}

get_page("http://$prometheus/-/ready");
is(scalar(@{ await_results('rate(vdb_index_scans_total[1m])', 2) }), 2, 'Prometheus has scraped the exporter');
is(scalar(@{ await_results('vdb:query_duration_seconds:p95', 2) }), 2, 'percentiles are recorded for each index');
is(scalar(@{ await_results('vdb:ingest_freshness_seconds:p99', 2) }), 2, 'and for each pipeline');
my $rows = ask('vdb_index_rows_total{amname="ivfpq"}')->[0];
is($rows->{value}[1], 10, 'it has the value of the view');
is($rows->{metric}{datname}, 'postgres', 'with its database');

my $dashboard = JSON::PP->new->decode(slurp_file("$folder/dashboard.json"));
my %ids = map { $_->{id} => 1 } @{ $dashboard->{panels} };

is(scalar(keys %ids), scalar(@{ $dashboard->{panels} }), 'panels of the dashboard have an identifier each');
for my $panel (@{ $dashboard->{panels} })
{
	# a row has none
	for my $target (@{ $panel->{targets} // [] })
	{
		(my $question = $target->{expr}) =~ s/\$(datname|index|pipeline)\b/.*/g;
		my $answer = ask($question);

		cmp_ok(scalar(@{ $answer // [] }), '>', 0, "\"$panel->{title}\" shows something");
	}
}

$node->stop;
done_testing();
