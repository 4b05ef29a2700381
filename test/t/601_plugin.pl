# Claims that the output plugin tells everything that happens to the tables it was asked about, once,
# in order, and as JSON that a parser takes, or in the binary form that its file describes; and that
# it tells nothing else.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

# Nothing is preloaded: the server loads the library for the plugin alone.
my $node = new_server('plugin', 'wal_level = logical', 'fsync = off', 'max_prepared_transactions = 2',
	'logical_decoding_work_mem = 1MB', "timezone = 'UTC'", "datestyle = 'ISO, MDY'");
my $json = JSON::PP->new->allow_bignum(0)->boolean_values(0, 1);

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# --- who may be loaded -----------------------------------------------------------

if (sql("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'"))
{
	psql_fails($node, "SELECT pg_create_logical_replication_slot('s', 'vdb')", '42501',
		'vdb', 'the server refuses a plugin that is not in its list');
}
allow_output_plugin($node);

# --- reading a slot ----------------------------------------------------------------

sub make_slot
{
	my ($slot, $database) = @_;

	return sql("SELECT FROM pg_create_logical_replication_slot('$slot', 'vdb')", $database);
}

# The SQL that reads a slot; options as name => value.
sub read_slot
{
	my ($function, $slot, %options) = @_;
	my $list = join '', map { ", '$_', '$options{$_}'" } sort keys %options;

	return "pg_logical_slot_$function('$slot', NULL, NULL$list)";
}

# Lines that a slot has to tell; they stay there until forget() is called.
sub lines_of
{
	my ($slot, %options) = @_;
	my $database = delete $options{database};

	return split /\n/, sql('SELECT data FROM ' . read_slot('peek_changes', $slot, %options), $database);
}

sub forget
{
	my ($slot, $database) = @_;

	return sql("SELECT count(*) FROM pg_logical_slot_get_changes('$slot', NULL, NULL)", $database);
}

# The events of a slot, without begin and commit.
sub changes_of
{
	return grep { $_->{action} !~ /begin|commit/ } map { $json->decode($_) } lines_of(@_);
}

# Claims that SQL leads to these events, with these options.
sub leads_to
{
	my ($sql, $expected, $what, %options) = @_;

	sql($sql);
	is_deeply([ changes_of('s', %options) ], $expected, $what);
	forget('s');
	return;
}

sub change
{
	my ($action, $table, %more) = @_;
	return { action => $action, schema => 'public', table => $table, %more };
}

make_slot('s');

# --- transactions --------------------------------------------------------------------

sql('CREATE TABLE plain (id int PRIMARY KEY, t text)');
is(join("\n", lines_of('s')), '', 'a transaction that tells nothing has no begin and no commit');

sql("BEGIN; INSERT INTO plain VALUES (1, 'one'); SAVEPOINT a; INSERT INTO plain VALUES (2, 'two'); ROLLBACK TO a;
	INSERT INTO plain VALUES (3, NULL); COMMIT");
my @told = map { $json->decode($_) } lines_of('s');
is(join(' ', map { $_->{action} } @told), 'begin insert insert commit', 'a transaction is told in order');
is_deeply([ map { $_->{new} } @told[ 1, 2 ] ], [ { id => 1, t => 'one' }, { id => 3, t => undef } ],
	'without what was rolled back');
is($told[0]{xid}, $told[3]{xid}, 'begin and commit say the transaction');
is($told[0]{lsn}, $told[3]{lsn}, 'and where it committed');
like($told[0]{timestamp}, qr/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\+00$/, 'and when');
is(sql("SELECT '$told[3]{end_lsn}'::pg_lsn > '$told[3]{lsn}'"), 't', 'commit says what to confirm');
is(join(' ', sort keys %{ $told[1] }), 'action new schema table', 'rows say no more than asked for');

@told = map { $json->decode($_) } lines_of('s', include_xids => 'on', include_lsn => 1, include_timestamp => 'true', include_types => 'yes');
is($told[1]{xid}, $told[0]{xid}, 'rows have the transaction where asked for');
is($told[1]{timestamp}, $told[0]{timestamp}, 'and its time');
is(sql("SELECT '$told[1]{lsn}'::pg_lsn < '$told[2]{lsn}' AND '$told[2]{lsn}'::pg_lsn < '$told[0]{lsn}'"), 't', 'and their own place in the log');
is_deeply($told[1]{types}, { id => 'integer', t => 'text' }, 'and their types');
forget('s');
is(join("\n", lines_of('s')), '', 'what was read is not told again');

sql("BEGIN; INSERT INTO plain VALUES (4, 'four'); PREPARE TRANSACTION 'p'");
is(scalar lines_of('s'), 0, 'a prepared transaction is not told');
leads_to("COMMIT PREPARED 'p'", [ change('insert', 'plain', new => { id => 4, t => 'four' }) ], 'until it commits');

# --- types -------------------------------------------------------------------------------

sql(q(
	CREATE TYPE mood AS ENUM ('sad', 'so so');
	CREATE DOMAIN meaning AS vector(2);
	CREATE DOMAIN whole AS int CHECK (VALUE > 0);
	CREATE TYPE pair AS (a int, b text);
	CREATE TABLE kinds (id int, i2 int2, i8 int8, o oid, f4 real, f8 float8, n numeric, b bool, t text,
		j json, jb jsonb, bin bytea, ts timestamptz, iv interval, a int[], m mood, w whole, p pair, c char(3),
		v vector(3), h halfvec(3), s sparsevec(5), d meaning, va vector[], vn vector)));
my @rows = (
	q[1, -2, 9007199254740993, 4000000000, 0.1, 1e300, 12345678901234567890.50, true, E'"\\\\ \n\t\x01/ é😀',
		E'{"a" :\n [1,\r\n2]}', '{"b": 1.50}', '\x00ff', '2026-01-02 03:04:05.678+00', '1 day 02:00', '{1,NULL,3}', 'so so', 7,
		'(1,"x y")', 'ab', '[1,-2.5,3e-10]', '[1,0.1,65504]', '{1:0.5,5:-2}/5', '[1,2]', '{"[1,2]","[3]"}', NULL],
	q[2, NULL, NULL, NULL, 'NaN', '-Infinity', 'Infinity', false, '', 'null', '"x"', '', 'infinity', NULL, '{}', NULL, NULL,
		NULL, NULL, NULL, NULL, '{}/5', NULL, NULL, '[0.333333333]']);
sql("INSERT INTO kinds VALUES ($_)") for @rows;

my %first = (
	head => q({"action":"insert","schema":"public","table":"kinds","new":{"id":1,"i2":-2,"i8":9007199254740993,)
	  . q("o":4000000000,"f4":0.1,"f8":1e+300,"n":12345678901234567890.50,"b":true,"t":"\"\\\\ \n\t\u0001/ é😀",)
	  . q("j":{"a" :  [1,  2]},"jb":{"b": 1.50},"bin":"\\\\x00ff","ts":"2026-01-02 03:04:05.678+00","iv":"1 day 02:00:00",)
	  . q("a":"{1,NULL,3}","m":"so so","w":7,"p":"(1,\"x y\")","c":"ab "),
	full => q(,"v":[1,-2.5,3e-10],"h":[1,0.099975586,65504],"s":"{1:0.5,5:-2}/5","d":[1,2],"va":"{\"[1,2]\",[3]}","vn":null}}),
	none => '}}');
my %second = (
	head => q({"action":"insert","schema":"public","table":"kinds","new":{"id":2,"i2":null,"i8":null,"o":null,"f4":"NaN",)
	  . q("f8":"-Infinity","n":"Infinity","b":false,"t":"","j":null,"jb":"x","bin":"\\\\x","ts":"infinity","iv":null,"a":"{}",)
	  . q("m":null,"w":null,"p":null,"c":null),
	full => q(,"v":null,"h":null,"s":"{}/5","d":null,"va":null,"vn":[0.33333334]}}),
	none => '}}');

# what the types' send functions give
my @sent = map { my %row; @row{qw(v h s d va vn)} = split /\|/, $_, -1; \%row }
  split /\n/, sql(q(SELECT concat_ws('|', VARIADIC ARRAY(SELECT coalesce('"' || translate(encode(x, 'base64'), E'\n', '') || '"', 'null')
	FROM unnest(ARRAY[vector_send(v), halfvec_send(h), sparsevec_send(s), vector_send(d::vector), array_send(va), vector_send(vn)]) x))
	FROM kinds ORDER BY id));
for my $row (0, 1)
{
	(\%first, \%second)[$row]->{base64} = ',' . join(',', map { "\"$_\":$sent[$row]{$_}" } qw(v h s d va vn)) . '}}';
}

for my $vectors (qw(full base64 none))
{
	# settings of the session that would make other text of the same values
	my $hostile = "SET datestyle = 'SQL, DMY'; SET intervalstyle = iso_8601; SET extra_float_digits = -3; SET bytea_output = escape;";
	my @lines = split /\n/, sql("$hostile SELECT data FROM " . read_slot('peek_changes', 's', vectors => $vectors)
		  . " WHERE data ~ 'insert'; SELECT 1.5e-7::float8 / 3, current_setting('datestyle')");

	is($lines[0], $first{head} . $first{$vectors}, "all types, vectors = $vectors");
	is($lines[1], $second{head} . $second{$vectors}, "nulls and what is no number, vectors = $vectors");
	is($lines[2], '5e-08|SQL, DMY', 'settings of the session stay');
	ok(eval { $json->decode($_) }, 'a parser takes it') for @lines[ 0, 1 ];
}
forget('s');

# --- which rows are known -----------------------------------------------------------------

sql(q(
	CREATE TABLE by_key (a int, b int, t text, PRIMARY KEY (b, a));
	CREATE TABLE by_index (a int NOT NULL, t text); CREATE UNIQUE INDEX by_index_a ON by_index (a);
	ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a;
	CREATE TABLE by_all (a int, t text); ALTER TABLE by_all REPLICA IDENTITY FULL;
	CREATE TABLE by_none (a int PRIMARY KEY, t text); ALTER TABLE by_none REPLICA IDENTITY NOTHING));
for my $table (qw(by_index by_all by_none))
{
	my %old = (by_index => { a => 2 }, by_all => { a => 2, t => undef }, by_none => undef);
	my @old = $old{$table} ? (old => $old{$table}) : ();

	leads_to("INSERT INTO $table VALUES (1, 'x')", [ change('insert', $table, new => { a => 1, t => 'x' }) ], "insert $table");
	leads_to("UPDATE $table SET t = NULL",
		[ change('update', $table, new => { a => 1, t => undef }, ($table eq 'by_all' ? (old => { a => 1, t => 'x' }) : ())) ],
		"update $table");
	leads_to("UPDATE $table SET a = 2",
		[ change('update', $table, new => { a => 2, t => undef },
			($table eq 'by_all' ? (old => { a => 1, t => undef }) : $table eq 'by_index' ? (old => { a => 1 }) : ())) ],
		"update the key of $table");
	leads_to("DELETE FROM $table", [ change('delete', $table, @old) ], "delete $table");
}
sql("INSERT INTO by_key VALUES (1, 2, 'x')");
forget('s');
leads_to("UPDATE by_key SET t = 'y'", [ change('update', 'by_key', new => { a => 1, b => 2, t => 'y' }) ], 'a key that stays is not told');
leads_to('UPDATE by_key SET b = 3', [ change('update', 'by_key', new => { a => 1, b => 3, t => 'y' }, old => { a => 1, b => 2 }) ], 'one that changes is');
leads_to('DELETE FROM by_key', [ change('delete', 'by_key', old => { a => 1, b => 3 }) ], 'and that of a row that goes');

# --- values out of line ---------------------------------------------------------------------

sql(q(
	CREATE TABLE wide (id int PRIMARY KEY, n int, t text, v vector);
	ALTER TABLE wide ALTER t SET STORAGE EXTERNAL;
	INSERT INTO wide SELECT 1, 1, repeat('x', 10000), array_agg(i)::vector FROM generate_series(1, 3000) i));
my ($wide) = changes_of('s');
is(length $wide->{new}{t}, 10000, 'a long value is told when it is new');
is_deeply($wide->{new}{v}, [ 1 .. 3000 ], 'as is a long vector');
ok(!exists $wide->{unchanged}, 'then nothing is unchanged');
forget('s');
leads_to('UPDATE wide SET n = 2', [ change('update', 'wide', new => { id => 1, n => 2 }, unchanged => [ 't', 'v' ]) ],
	'a long value that stays is named');
leads_to("UPDATE wide SET t = 'short'", [ change('update', 'wide', new => { id => 1, n => 2, t => 'short' }, unchanged => ['v']) ],
	'each for itself');
leads_to('UPDATE wide SET n = 3', [ change('update', 'wide', new => { id => 1, n => 3, t => 'short' }) ],
	'one that is not asked for is not named', vectors => 'none');
sql('ALTER TABLE wide REPLICA IDENTITY FULL; UPDATE wide SET n = 4');
($wide) = changes_of('s');
is_deeply([ $wide->{unchanged}, $wide->{old}{v} ], [ ['v'], [ 1 .. 3000 ] ], 'with the full identity the old row has it');
forget('s');

# --- tables that change ------------------------------------------------------------------------

leads_to(q(
	CREATE TABLE shifting (a int, gone text, twice int GENERATED ALWAYS AS (a * 2) STORED);
	INSERT INTO shifting VALUES (1, 'x');
	ALTER TABLE shifting DROP COLUMN gone;
	INSERT INTO shifting VALUES (2);
	ALTER TABLE shifting ADD COLUMN later vector(2) DEFAULT '[7,8]';
	ALTER TABLE shifting REPLICA IDENTITY FULL;
	DELETE FROM shifting WHERE a = 1;
	ALTER TABLE shifting ALTER later TYPE halfvec(2);
	ALTER TABLE shifting RENAME TO shifted;
	INSERT INTO shifted VALUES (3);
	DROP TABLE shifted),
	[
		change('insert', 'shifting', new => { a => 1, gone => 'x', twice => 2 }),
		change('insert', 'shifting', new => { a => 2, twice => 4 }),
		change('delete', 'shifting', old => { a => 1, twice => 2, later => [ 7, 8 ] }),
		change('insert', 'shifted', new => { a => 3, twice => 6, later => [ 7, 8 ] })
	],
	'tables are told as they were');

# from 18 on there are generated columns that are nowhere
if (sql('SHOW server_version_num') >= 180000)
{
	leads_to('CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO computed VALUES (1)',
		[ change('insert', 'computed', new => { a => 1 }) ], 'virtual columns are not told');
}

# --- truncate and messages -------------------------------------------------------------------------

sql('CREATE TABLE one (id serial PRIMARY KEY); CREATE TABLE two (id int REFERENCES one)');
leads_to('TRUNCATE one, two',
	[ map { change('truncate', $_, cascade => 0, restart_identity => 0) } qw(one two) ], 'truncate, a line a table');
leads_to('TRUNCATE one RESTART IDENTITY CASCADE',
	[ map { change('truncate', $_, cascade => 1, restart_identity => 1) } qw(one two) ], 'truncate with its options');
leads_to('TRUNCATE one, two', [ change('truncate', 'two', cascade => 0, restart_identity => 0) ], 'truncate of tables asked for', tables => 'public.two');
leads_to('TRUNCATE one, two', [], 'no truncate', include_truncate => 'off');

my $say = q(BEGIN; SELECT pg_logical_emit_message(true, 'p"x', 'in é'); SELECT pg_logical_emit_message(false, 'p', 'out');
	ROLLBACK; SELECT pg_logical_emit_message(true, 'p"x', 'in é'), pg_logical_emit_message(false, 'b', '\xff00'::bytea));
leads_to($say,
	[
		{ action => 'message', transactional => 0, prefix => 'p', content => 'out' },
		{ action => 'message', transactional => 0, prefix => 'b', content_base64 => encode_base64("\xff\0", '') },
		{ action => 'message', transactional => 1, prefix => 'p"x', content => 'in é' }
	],
	'messages, text or not');
leads_to($say, [], 'no messages', include_messages => 'false');

# --- which tables and columns --------------------------------------------------------------------------

sql(q(
	CREATE SCHEMA other; CREATE TABLE other.items (id int, v vector(1), secret text);
	CREATE TABLE items (id int, v vector(1), secret text); CREATE TABLE "odd.na*me,\x" (id int)));
my $fill = q(INSERT INTO items VALUES (1, '[1]', 'x'); INSERT INTO other.items VALUES (2, '[2]', 'y'); INSERT INTO "odd.na*me,\x" VALUES (3));
my %tables = (
	'public.items' => '1', '*.items' => '1 2', 'other.*' => '2', '*.*' => '1 2 3', ' public.items , other.items ' => '1 2',
	'public.i*m*' => '1', 'public.*s' => '1', 'public.item' => '', 'nobody.*' => '', '*p*.*' => '1 3', 'public.Items' => '',
	'public.odd\.na\*me\,\\\\x' => '3', 'public.odd\.na*' => '3', 'public.odd\.na\*' => '', 'public.**items**' => '1');
for my $tables (sort keys %tables)
{
	sql($fill);
	is(join(' ', map { $_->{new}{id} } changes_of('s', tables => $tables)), $tables{$tables}, "tables = $tables");
	forget('s');
}
my $items = sub { return change('insert', 'items', new => shift) };
leads_to($fill, [ $items->({ id => 1, v => [1] }) ], 'columns of a table', columns => 'public.items.id, public.items.v');
leads_to($fill, [ $items->({ id => 1 }), { %{ $items->({ id => 2 }) }, schema => 'other' }, change('insert', 'odd.na*me,\\x', new => { id => 3 }) ],
	'columns of any', columns => '*.*.id');
leads_to($fill, [ $items->({ secret => 'x' }) ], 'columns of tables', columns => '*.*.s*', tables => 'public.*');

# A filter that lets nothing through leaves no empty transaction behind either.
sql($fill);
is(scalar lines_of('s', tables => 'nobody.*'), 0, 'nothing at all is told of tables that nobody asked for');
forget('s');

# --- where it comes from ---------------------------------------------------------------------------------

my $replayed = q(
	SELECT pg_replication_origin_session_setup('far "away"');
	BEGIN; SELECT pg_replication_origin_xact_setup('0/AAAA', '2026-01-01'); INSERT INTO plain VALUES (%d); COMMIT;
	SELECT pg_replication_origin_session_reset(); INSERT INTO plain VALUES (%d));
sql(q(SELECT pg_replication_origin_create('far "away"')));
leads_to(sprintf($replayed, 100, 101), [ map { change('insert', 'plain', new => { id => $_, t => undef }) } 100, 101 ], 'any origin');
leads_to(sprintf($replayed, 102, 103), [ change('insert', 'plain', new => { id => 103, t => undef }) ], 'no origin', origin => 'none');
sql(sprintf($replayed, 104, 105));
is_deeply([ map { $_->{origin} } grep { $_->{action} eq 'begin' } map { $json->decode($_) } lines_of('s') ], [ 'far "away"', undef ], 'begin says where it comes from');
forget('s');

# --- options that there are not ----------------------------------------------------------------------------

my %bad = (
	"'colour', 'red'" => 'output plugin vdb has no option "colour".*Options are format, vectors',
	"'format', 'xml'" => 'invalid value for option "format" of output plugin vdb: "xml".*Valid values are json, binary',
	"'vectors', ''" => 'invalid value for option "vectors".*Valid values are full, base64, none',
	"'origin', 'some'" => 'invalid value for option "origin".*Valid values are any, none',
	"'include_lsn', 'perhaps'" => 'invalid value for option "include_lsn".*Valid values are on, off',
	"'tables', 'items'" => 'invalid value for option "tables".*: "items".*schema.table',
	"'tables', 'a.b.c'" => 'invalid value for option "tables"',
	"'tables', 'a.b,'" => 'invalid value for option "tables"',
	"'tables', ''" => 'invalid value for option "tables"',
	"'tables', '.b'" => 'invalid value for option "tables"',
	"'columns', 'a.b'" => 'invalid value for option "columns".*schema.table.column');
psql_fails($node, "SELECT * FROM pg_logical_slot_peek_changes('s', NULL, NULL, $_)", '22023', $bad{$_}, "options $_") for sort keys %bad;
psql_fails($node, q(SELECT * FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, 'format', 'binary', 'vectors', 'base64')),
	'22023', 'cannot be written as base64', 'base64 in the binary format');
psql_fails($node, q(SELECT * FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'format', 'binary')), '0A000', 'produces binary output',
	'the binary format as text');
for my $option (qw(format tables))
{
	$node->command_fails_like([ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 's', '--start', '--no-loop', '-f', '-', '-o', $option ],
		qr/option "$option" of output plugin vdb needs a value/, "$option without a value");
}

# --- the binary format ---------------------------------------------------------------------------------------

# Reads a message as ingest_plugin_binary.c describes it, from the front of a string.
sub read_message
{
	my ($bytes) = @_;
	my ($kind, $length) = unpack('a l>', substr($$bytes, 0, 5, ''));
	my $message = substr($$bytes, 0, $length, '');
	my %read = (action => $kind);

	(@read{qw(xid lsn time)}) = unpack('L> Q> q>', substr($message, 0, 20, ''));
	if ($kind eq 'B')
	{
		$read{origin} = unpack('Z*', $message);
	}
	elsif ($kind eq 'C')
	{
		$read{end_lsn} = unpack('Q>', $message);
	}
	elsif ($kind eq 'M')
	{
		(@read{qw(transactional prefix content)}) = unpack('C Z* l>/a', $message);
	}
	else
	{
		(@read{qw(relid schema table)}) = unpack('L> Z* Z*', $message);
		substr($message, 0, 6 + length("$read{schema}$read{table}"), '');
		while ((my $byte = substr($message, 0, 1, '')) =~ /[ON]/)
		{
			$read{$byte} = read_columns(\$message);
		}
		$read{left_over} = $message if length $message;
	}
	return \%read;
}

sub read_columns
{
	my ($message) = @_;
	my %row;

	for (1 .. unpack('s>', substr($$message, 0, 2, '')))
	{
		my ($name, $type, $modifier, $form) = unpack('Z* L> l> a', $$message);
		my $value;

		substr($$message, 0, length($name) + 10, '');
		$value = substr($$message, 0, unpack('l>', substr($$message, 0, 4, '')), '') if $form =~ /[bt]/;
		$row{$name} = [ $type, $modifier, $form, $value ];
	}
	return \%row;
}

sub messages_of
{
	my ($slot, %options) = @_;
	my $hex = sql("SELECT encode(data, 'hex') FROM " . read_slot('peek_binary_changes', $slot, format => 'binary', %options));
	my @messages;

	for my $line (split /\n/, $hex)
	{
		my $bytes = pack 'H*', $line;

		push @messages, read_message(\$bytes);
		is(length $bytes, 0, 'a message is as long as it says');
	}
	return @messages;
}

my $user = sql('SELECT current_user');
sql(qq(
	TRUNCATE by_all; CREATE TABLE unsent (a aclitem, b aclitem[]);
	BEGIN;
	INSERT INTO by_all VALUES (5, NULL);
	UPDATE by_all SET t = 'é';
	UPDATE wide SET n = 5;
	INSERT INTO unsent VALUES ('$user=r/$user', '{$user=r/$user}');
	SELECT pg_logical_emit_message(true, 'p', '\\x00ff'::bytea);
	TRUNCATE by_all RESTART IDENTITY;
	COMMIT));
my @messages = messages_of('s', columns => '*.*.*');
my ($at) = grep { $messages[$_]{action} eq 'B' && $messages[ $_ + 1 ]{action} eq 'I' } 0 .. $#messages - 1;
my @one = @messages[ $at .. $#messages ];
my %oid = map { split /\|/ } split /\n/, sql(q(SELECT typname, oid FROM pg_type WHERE typname IN ('int4', 'text', 'vector', 'aclitem', '_aclitem')));
is(join(' ', map { $_->{action} } @one), 'B I U U I M T C', 'messages of a transaction');
cmp_ok(abs($one[0]{time} / 1000000 + 946684800 - time), '<', 60, 'with the time');
is(scalar(grep { $_->{xid} != $one[0]{xid} } @one), 0, 'and the transaction');
is_deeply($one[1]{N}, { a => [ $oid{int4}, -1, 'b', pack 'l>', 5 ], t => [ $oid{text}, -1, 'n', undef ] }, 'a new row');
is_deeply([ @{ $one[2] }{qw(O N)} ],
	[ $one[1]{N}, { a => $one[1]{N}{a}, t => [ $oid{text}, -1, 'b', "\xc3\xa9" ] } ], 'an old one and a new one');
is_deeply($one[3]{N}{v}, [ $oid{vector}, -1, 'u', undef ], 'a value that did not change');
is($one[3]{O}{v}[3], pack('s> s> (f>)*', 3000, 0, 1 .. 3000), 'a vector as its type sends it');
is_deeply([ map { $_->[2] } @{ $one[4]{N} }{qw(a b)} ], [ 't', 't' ], 'a type that cannot send is text');
is_deeply([ @{ $one[5] }{qw(transactional prefix content)} ], [ 1, 'p', "\0\xff" ], 'a message');
is_deeply([ @{ $one[6] }{qw(schema table)} ], [ 'public', 'by_all' ], 'a truncate');
is($one[7]{lsn}, $one[0]{lsn}, 'a commit');
ok($one[7]{end_lsn} > $one[7]{lsn}, 'and its end');
is(scalar(grep { exists $_->{left_over} } @messages), 0, 'nothing is left over');
forget('s');

# --- the streaming protocol ------------------------------------------------------------------------------------

# What pg_recvlogical writes from a slot, up to now.
sub receive
{
	my ($slot, $database, %options) = @_;
	my $end = sql('SELECT pg_logical_emit_message(true, \'end\', \'\'); SELECT pg_current_wal_lsn()') =~ s/^.*\n//r;

	return scalar $node->pg_recvlogical_upto($database, $slot, $end, $PostgreSQL::Test::Utils::timeout_default, %options);
}

make_slot('r');
sql(q(INSERT INTO items SELECT i, ARRAY[i]::vector, 'x' FROM generate_series(1, 1000) i; INSERT INTO plain VALUES (200, 'é')));
my @received = map { $json->decode($_) } split /\n/, receive('r', 'postgres', tables => 'public.items', include_messages => 'off');
is(join(' ', map { $_->{new}{id} } grep { $_->{action} eq 'insert' } @received), join(' ', 1 .. 1000), 'pg_recvlogical gets each row once, in order');
is(scalar @received, 1002, 'and no other table');
sql('DELETE FROM items WHERE id = 1000; INSERT INTO items VALUES (1001)');
@received = map { $json->decode($_) } split /\n/, receive('r', 'postgres', tables => 'public.items', include_messages => 'off');
is(join(' ', map { $_->{action} } @received), 'begin delete commit begin insert commit', 'and goes on where it was');
my $stream = receive('r', 'postgres', format => 'binary', include_messages => 'off');
is($stream, '', 'nothing happens, nothing is received');
sql("INSERT INTO items VALUES (1002, '[1.5]'), (1003, '[2.5]')");
$stream = receive('r', 'postgres', format => 'binary', include_messages => 'off');
my @streamed;
while (length $stream)
{
	push @streamed, read_message(\$stream);
	is(substr($stream, 0, 1, ''), "\n", 'pg_recvlogical ends a line after a message');
}
is(join(' ', map { $_->{action} } @streamed), 'B I I C', 'pg_recvlogical gets the binary format');
is($streamed[2]{N}{v}[3], pack('s> s> f>', 1, 0, 2.5), 'with what it asked for');

sql('INSERT INTO items VALUES (1004)');
$node->command_like([ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'r', '--start', '--no-loop', '-f', '-',
		'--endpos', sql('SELECT pg_current_wal_lsn()'), '-o', 'include_lsn' ],
	qr/"insert","lsn":".*"new":\{"id":1004,/, 'an option without a value is on');

# --- other encodings, and a database without the extension ---------------------------------------------------------

sql("CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
for my $database (qw(latin1 ascii))
{
	my $client = $database eq 'latin1' ? q(SET client_encoding = 'UTF8';) : '';

	make_slot("in_$database", $database);

	# who inserts flushes the log, which a message of no transaction does not
	sql(qq($client CREATE TABLE "caf\xc3\xa9" (t text, j jsonb, "\xc3\xb1" int);
		SELECT pg_logical_emit_message(false, '\xc3\xb1', '\xc3\xb1');
		INSERT INTO "caf\xc3\xa9" VALUES ('\xc3\xbc', '["\xc3\xbc"]', 1)), $database);
	for my $line (
		join("\n", lines_of("in_$database", database => $database)),
		receive("in_$database", $database))
	{
		my @told = map { $json->decode($_) } split /\n/, $line;
		my @letters = $database eq 'latin1' ? ("caf\x{e9}", "\x{fc}", "\x{f1}") : ("caf\xc3\xa9", "\xc3\xbc", "\xc3\xb1");

		unlike($line, qr/[\x80-\xff]/, "a line of $database is ASCII") if $database eq 'latin1';
		is_deeply([ grep { $_->{action} eq 'insert' } @told ],
			[ change('insert', $letters[0], new => { t => $letters[1], j => [ $letters[1] ], $letters[2] => 1 }) ], "a row of $database");
		is_deeply([ grep { $_->{action} eq 'message' && $_->{prefix} ne 'end' } @told ],
			[ { action => 'message', transactional => 0, prefix => $letters[2], content => $letters[2] } ], "a message of $database");
	}
}

# --- large transactions ----------------------------------------------------------------------------------------------

# The most memory that this session has had, and has now, in kB.
my $peak = q((regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::int);

sql('CREATE TABLE many (id int PRIMARY KEY, v vector(64), t text)');
forget('s');
sql(q(INSERT INTO many SELECT i, (SELECT array_agg(sin(i + j)) FROM generate_series(1, 64) j)::real[]::vector, md5(i::text) FROM generate_series(1, 40000) i));
for my $format (qw(json binary))
{
	my $function = $format eq 'json' ? 'peek_changes' : 'peek_binary_changes';
	my ($rows, $grown) = split /\|/, sql(qq(
		SELECT FROM @{[ read_slot($function, 's', format => $format, tables => 'nobody.*') ]};
		CREATE TEMP TABLE before AS SELECT $peak AS kb;
		CREATE TEMP TABLE told AS SELECT count(*) FROM @{[ read_slot($function, 's', format => $format) ]};
		SELECT count, $peak - kb FROM told, before));

	is($rows, 40002, "40,000 rows in one transaction are told, $format");
	cmp_ok($grown, '<', 16384, "in bounded memory, $format");
}

# Who gives up gets an answer at once, and loses nothing.
psql_fails($node, q(SET statement_timeout = '200ms'; SELECT count(*) FROM pg_logical_slot_get_changes('s', NULL, NULL)),
	'57014', 'statement timeout', 'reading can be cancelled');
is(forget('s'), 40002, 'and begins anew');

# A walsender shows that it lives while it skips a transaction for longer than it may be silent.
sql("ALTER SYSTEM SET wal_sender_timeout = '1s'");
$node->reload;
sql(join '; ', 'BEGIN', ('UPDATE many SET t = t') x 3, 'COMMIT', 'INSERT INTO plain VALUES (300)');
@received = map { $json->decode($_) } split /\n/, receive('r', 'postgres', tables => 'public.plain', include_messages => 'off');
is(join(' ', map { $_->{action} } @received), 'begin insert commit', 'a long transaction of other tables is skipped');

$node->stop;
done_testing();
