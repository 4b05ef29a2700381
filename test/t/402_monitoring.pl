# Claims that the files under docs/monitoring work: Debian's exporter and Prometheus scrape a
# server, and have what the views say; alerts fire when they should; a dashboard's questions have
# answers.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
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
my $node = new_server('monitored', "shared_preload_libraries = 'vdb'", 'enable_seqscan = off');
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
	my %values = metrics_of($page, $index);
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
like($page, qr/^vdb_stat_table_room\{.*\} 1000$/m, 'the room for statistics is exported');
unlike($page, qr/^pg_exporter_last_scrape_error\S* 1/m, 'nothing went wrong');

# Of an index: value by name of a metric, with the bound of a bucket.
sub metrics_of
{
	my ($text, $index) = @_;
	my %values;

	for (split /\n/, $text)
	{
		next unless /^(\w+)\{(.*indexrelname="$index".*)\} (\S+)$/;
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
my $rows = ask('vdb_index_rows_total{amname="ivfpq"}')->[0];
is($rows->{value}[1], 10, 'it has the value of the view');
is($rows->{metric}{datname}, 'postgres', 'with its database');

my $dashboard = JSON::PP->new->decode(slurp_file("$folder/dashboard.json"));
my %ids = map { $_->{id} => 1 } @{ $dashboard->{panels} };

is(scalar(keys %ids), scalar(@{ $dashboard->{panels} }), 'panels of the dashboard have an identifier each');
for my $panel (@{ $dashboard->{panels} })
{
	for my $target (@{ $panel->{targets} })
	{
		(my $question = $target->{expr}) =~ s/\$(datname|index)\b/.*/g;
		my $answer = ask($question);

		cmp_ok(scalar(@{ $answer // [] }), '>', 0, "\"$panel->{title}\" shows something");
	}
}

$node->stop;
done_testing();
