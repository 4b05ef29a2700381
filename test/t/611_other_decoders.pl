# Claims that vectors come through decoders that are not the server's: wal2json prints each so that
# it is read back to the bit, and pglogical brings them into a table with indexes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my @libraries = qw(wal2json pglogical pglogical_output);
chomp(my $folder = `'$ENV{PG_CONFIG}' --pkglibdir`);
my @missing = grep { !-e "$folder/$_.so" } @libraries;

plan skip_all => "not installed: @missing (test/setup decoders)" if @missing;

my @lines = ('wal_level = logical', 'max_connections = 30', 'max_worker_processes = 20', 'track_commit_timestamp = on',
	q(shared_preload_libraries = 'pglogical, vdb'));
my $provider = new_server('provider', @lines);

sub sql { return $provider->safe_psql('postgres', shift) }

# --- which decoders a server allows ---------------------------------------------------

SKIP:
{
	skip 'this release allows any', 3 if sql(q(SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries')) == 0;

	my $create = q(SELECT pg_create_logical_replication_slot('refused', 'wal2json'));
	psql_fails($provider, $create, '42501', 'wal2json', 'a decoder that is not in the list');

	# the list in quotes is one name
	$provider->safe_psql('postgres', q(ALTER SYSTEM SET output_plugin_libraries = 'pgoutput, wal2json'));
	$provider->restart;
	psql_fails($provider, $create, '42501', 'wal2json', 'a list that is quoted as one');

	sql('ALTER SYSTEM SET output_plugin_libraries = pgoutput, wal2json, pglogical_output');
	$provider->restart;
}

# --- wal2json ------------------------------------------------------------------------------

my %types = (v => 'vector(5)', h => 'halfvec(5)', s => 'sparsevec(1000000)', b => 'bit(70)', w => 'vector(3000)');
my $columns = join ', ', map { "$_ $types{$_}" } sort keys %types;

sql(qq(
	CREATE TABLE items (id int PRIMARY KEY, note text, $columns);
	CREATE TABLE identified (id int, v vector(5), w vector(3000));
	ALTER TABLE identified REPLICA IDENTITY FULL));

# The changes since the last time, as both formats tell them: of each its kind, its table, its columns,
# and those that say which row it was.
my %slots = (1 => 'first', 2 => 'second');
sql("SELECT pg_create_logical_replication_slot('$slots{$_}', 'wal2json')") for sort keys %slots;

sub changes
{
	my ($format) = @_;
	my @lines = split /\n/, sql("SELECT data FROM pg_logical_slot_get_changes('$slots{$format}', NULL, NULL, 'format-version', '$format')");
	my @told = map { JSON::PP->new->decode($_) } @lines;

	return map { in_columns($_) } map { @{ $_->{change} } } @told if $format == 1;
	return map { by_name($_) } grep { $_->{action} =~ /[IUDT]/ } @told;
}

sub in_columns
{
	my ($change) = @_;
	my ($row, $old) = ({}, {});

	@$row{ @{ $change->{columnnames} } } = @{ $change->{columnvalues} } if $change->{columnnames};
	@$old{ @{ $change->{oldkeys}{keynames} } } = @{ $change->{oldkeys}{keyvalues} } if $change->{oldkeys};
	return { kind => uc substr($change->{kind}, 0, 1), table => $change->{table}, row => $row, old => $old };
}

sub by_name
{
	my ($change) = @_;
	my ($row, $old) = map { +{ map { $_->{name} => $_->{value} } @{ $_ // [] } } } @$change{qw(columns identity)};

	return { kind => $change->{action}, table => $change->{table}, row => $row, old => $old };
}

# Claims that the texts of a row's columns are read back as what the table has.
sub same_values
{
	my ($row, $what, %of) = @_;

	for my $name (sort keys %of)
	{
		my ($type) = $types{$name} =~ /^(\w+)/;

		is(sql("SELECT ${type}_send('$row->{$name}'::$types{$name}) = ${type}_send($of{$name})"), 't', "$what: $name is read back");
	}
	return;
}

my %values = (
	v => q('[1e-45,-0,3.4028235e38,0.1,-1.1754942e-38]'::vector(5)),
	h => q('[5.9604645e-8,-0,65504,0.1,-6.097555e-5]'::halfvec(5)),
	s => q('{1:1e-45,7:-3.4028235e38,1000000:0.1}/1000000'::sparsevec(1000000)),
	b => q(repeat('1001101', 10)::bit(70)),
	w => q((SELECT array_agg(sin(i)) FROM generate_series(1, 3000) i)::vector(3000)));
my %all = map { $_ => $_ } keys %types;
my $list = join ', ', map { $values{$_} } sort keys %types;

sql("INSERT INTO items VALUES (1, 'first', $list), (2, NULL, NULL, NULL, NULL, NULL, NULL)");
sql("UPDATE items SET note = 'second' WHERE id = 1");
sql("UPDATE items SET id = 3, v = '[5,4,3,2,1]' WHERE id = 1");
sql("INSERT INTO identified SELECT id, v, w FROM items");
sql("DELETE FROM identified WHERE id = 3");
sql("TRUNCATE identified");

for my $format (1, 2)
{
	my @changes = changes($format);
	my ($what, $new) = ("format $format", q('[5,4,3,2,1]'::vector(5)));

	is(join(' ', map { "$_->{kind}:$_->{table}" } grep { $_->{kind} ne 'T' } @changes),
		'I:items I:items U:items U:items I:identified I:identified D:identified', "$what tells each change") or next;
	same_values($changes[0]{row}, "$what, INSERT", %values);
	is(scalar(grep { defined } @{ $changes[1]{row} }{ keys %types }), 0, "$what: nulls are null");

	is($changes[2]{row}{note}, 'second', "$what tells what was changed");
	is(exists $changes[2]{row}{w}, '', "$what leaves out a vector out of line that was not");
	same_values($changes[2]{row}, "$what, UPDATE", map { $_ => $values{$_} } qw(v h s b));
	is("$changes[3]{old}{id} $changes[3]{row}{id}", '1 3', "$what tells a new key");
	same_values($changes[3]{row}, "$what, UPDATE of the key", v => $new);
	same_values($changes[6]{old}, "$what, DELETE with REPLICA IDENTITY FULL", v => $new, w => $values{w});
}
sql("SELECT pg_drop_replication_slot('$slots{$_}')") for sort keys %slots;

# --- pglogical -----------------------------------------------------------------------------------

my $subscriber = new_server('subscriber', @lines);
my $tables = q(
	CREATE EXTENSION pglogical;
	CREATE TABLE t (id int PRIMARY KEY, note text, v vector(100), h halfvec(100), s sparsevec(100), b bit(100));
	CREATE TABLE wide (id int PRIMARY KEY, note text, v vector(16000)););
my $rows = q(INSERT INTO t SELECT id, word, v, v::halfvec, v::sparsevec, binary_quantize(v) FROM words WHERE id);
my @indexes = qw(t_graph t_pending t_lists t_halves t_sparse t_bits);

load_words($provider, 3000);
sql(qq($tables
	SELECT pglogical.create_node('provider', '@{[ $provider->connstr ]} dbname=postgres');
	SELECT pglogical.replication_set_add_table('default', 't');
	SELECT pglogical.replication_set_add_table('default', 'wide');
	$rows <= 1000;
	INSERT INTO wide SELECT i, 'first', v FROM generate_series(1, 2) i, LATERAL (SELECT array_agg(cos(i * j))::vector AS v FROM generate_series(1, 16000) j) s));
$subscriber->safe_psql(
	'postgres', qq($tables
	CREATE INDEX t_graph ON t USING hnsw (v vector_cosine_ops) WITH (m = 8);
	CREATE INDEX t_pending ON t USING hnsw (v vector_l1_ops) WITH (m = 8, fastupdate = on);
	CREATE INDEX t_lists ON t USING ivfpq (v vector_l2_ops);
	CREATE INDEX t_halves ON t USING ivfpq (h halfvec_l2_ops);
	CREATE INDEX t_sparse ON t USING hnsw (s sparsevec_l2_ops) WITH (m = 8);
	CREATE INDEX t_bits ON t USING hnsw (b bit_hamming_ops) WITH (m = 8);
	SELECT pglogical.create_node('subscriber', '@{[ $subscriber->connstr ]} dbname=postgres');
	SELECT pglogical.create_subscription('vectors', '@{[ $provider->connstr ]} dbname=postgres', '{default}')));
$subscriber->safe_psql('postgres', q(SELECT pglogical.wait_for_subscription_sync_complete('vectors')));

sub same_rows
{
	my ($when) = @_;
	my @queries = map { "SELECT count(*), md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT row($_)::text AS x FROM " }
	  ('id, note, vector_send(v), halfvec_send(h), sparsevec_send(s), bit_send(b)', 'id, note, vector_send(v)');

	sql('SELECT pglogical.wait_slot_confirm_lsn(NULL, NULL)');
	is($subscriber->safe_psql('postgres', "$queries[0] t) s"), sql("$queries[0] t) s"), "rows are the same $when");
	is($subscriber->safe_psql('postgres', "$queries[1] wide) s"), sql("$queries[1] wide) s"), "so are wide ones $when");
	check_index($subscriber, $_, $when) for @indexes;
	return;
}

same_rows('after the first copy');
sql("$rows > 1000");
sql(q(
	UPDATE t SET v = v + v WHERE id % 3 = 0;
	UPDATE t SET note = upper(note), b = ~b WHERE id % 5 = 0;
	UPDATE t SET id = id + 10000 WHERE id % 100 = 1;
	DELETE FROM t WHERE id % 7 = 0;
	UPDATE wide SET note = 'second' WHERE id = 1;
	UPDATE wide SET v = v + v WHERE id = 2));
same_rows('after changes');

# how many rows a scan of lists refines was measured last when the background worker came by, perhaps of a third of them
$subscriber->safe_psql('postgres', "SELECT vdb.calibrate('$_')") for qw(t_lists t_halves);
recall_at_least($subscriber, $_, 0.97, 'after changes', settings => 'SET hnsw.ef_search = 200; SET ivfpq.probes = 20') for @indexes;

$subscriber->stop('immediate');
$subscriber->start;
sql("UPDATE t SET h = h + h; $rows % 14 = 7");
same_rows('after a crash');
sql('TRUNCATE t');
same_rows('after TRUNCATE');

$_->stop for $subscriber, $provider;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|terminated by signal/, $_->name . ' does not crash') for $subscriber, $provider;
done_testing();
