# What the TAP tests share: a server with the extension and real vectors in it,
# load in the background, and the checks every one of them ends with.

package VdbTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use File::Spec;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_server new_server_with_alias load_words check_index recall_at_least
  begin_psql begin_pgbench await_end hold let_go begin_held notices_of
  kill_and_start await_server catch_up psql_fails allow_output_plugin
  index_size make_kinds expect_rows kinds_are_right read_pages read_slots read_lanes
);

# Word vectors shipped with the project: word, tab, 100 numbers.
my $words = File::Spec->rel2abs(
	dirname(__FILE__) . '/../../bench/datasets/glove-12k-100.tsv.gz');

# A started server that has the extension, with lines for its configuration.
sub new_server
{
	my ($name, @lines) = @_;
	my $node = start_server(PostgreSQL::Test::Cluster->new($name), @lines);

	$node->safe_psql('postgres', 'CREATE EXTENSION vdb');
	return $node;
}

# A started server of a private installation, in which pgvector's alias is
# installed and no extension created; and the pg_config of that installation.
sub new_server_with_alias
{
	my ($name, @lines) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir("installation_$name");
	my ($bin, $node);

	IPC::Run::run([ dirname(__FILE__) . '/../private_server', $folder ], '>', \$bin)
	  or die 'no private installation';
	chomp $bin;
	$node = PostgreSQL::Test::Cluster->new($name, install_path => dirname($bin));
	return (start_server($node, @lines), "$bin/pg_config");
}

sub start_server
{
	my ($node, @lines) = @_;

	$node->init(allows_streaming => 1);
	$node->append_conf(
		'postgresql.conf', join "\n",
		'autovacuum = off',
		'jit = off',
		'max_wal_size = 1GB',
		'shared_buffers = 64MB',
		"log_min_messages = info",
		"log_statement = none",
		@lines, '');
	$node->start;
	return $node;
}

# The table words (id, word, v), of so many rows at most.
sub load_words
{
	my ($node, $rows) = @_;
	my $program = "gzip -dc $words";

	$program .= " | head -n $rows" if $rows;
	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE words (id serial, word text, v vector(100));
		COPY words (word, v) FROM PROGRAM '$program';
		ALTER TABLE words ADD PRIMARY KEY (id);
		ANALYZE words));
	return;
}

# Claims that the index satisfies its invariants and holds every row.
sub check_index
{
	my ($node, $index, $when) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"SELECT FROM vdb.check_index('$index', true)");

	return is("$status $err", '0 ', "$index satisfies its invariants $when");
}

# Claims a recall, measured on so many rows, of so many nearest neighbours.
sub recall_at_least
{
	my ($node, $index, $floor, $when, %how) = @_;
	my $settings = $how{settings} || '';
	my $k = $how{k} || 10;
	my $queries = $how{queries} || 100;
	my $recall = $node->safe_psql('postgres',
		"$settings; SELECT recall FROM vdb.recall('$index', $k, $queries)");

	return cmp_ok($recall, '>=', $floor, "recall\@$k of $index $when");
}

# A table and an index of every kind there is: see life/.
sub make_kinds
{
	my ($node) = @_;

	for my $file (qw(kinds tables))
	{
		$node->safe_psql('postgres', slurp_file(dirname(__FILE__) . "/../life/$file.sql"));
	}
	return;
}

# Claims that an index is sound and gives the answers of exact search, and that
# these are so many rows.
sub expect_rows
{
	my ($node, $index, $rows, $when) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "CALL life.expect('$index', $rows)");

	return is("$status $err", '0 ', "$index $when");
}

# Claims that of the indexes of every kind.
sub kinds_are_right
{
	my ($node, $rows, $when) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "CALL life.expect_each($rows)");

	return is("$status $err", '0 ', "indexes of every kind $when");
}

sub index_size
{
	my ($node, $index) = @_;
	return $node->safe_psql('postgres', "SELECT pg_relation_size('$index')");
}

# The bytes of an index, as they are in its file after a checkpoint.
sub read_pages
{
	my ($node, $index) = @_;
	my $path = $node->safe_psql('postgres', "CHECKPOINT; SELECT pg_relation_filepath('$index')");

	return slurp_file($node->data_dir . "/$path");
}

# The lanes of all rows of an inverted file, in groups that are in use. Of each: number, whether it
# is taken, its list, row identifier, payload, scan code, if rows have any, and record.
sub read_lanes
{
	my ($pages) = @_;
	my %meta;
	my @lanes;

	(@meta{qw(dims scan_bits refine_bits scan_dims attributes extent_pages center groups lists extents)}) =
	  unpack('x48 V v2 V v2 V4', $pages);
	my ($scan_kind, $parts, $codebook, $spill) = unpack('x280 V3 C', $pages);
	my $code = ($meta{scan_dims} * $meta{scan_bits} / 8, $parts / 2, 0)[$scan_kind];
	my $payload = 6 + $meta{attributes} + $spill;
	my $stride = 16 * int((16 + 32 * (8 + $code + $payload) + 15) / 16);
	my $per_page = int((8176 - 64) / $stride);
	my $length = 4 * int((12 + int((8 * int(($meta{dims} + 7) / 8) * $meta{refine_bits} + 7) / 8) + 3) / 4);
	my $records = int((8176 - 64) / $length);
	my $kind = sub { unpack 'v', substr($pages, $_[0] * 8192 + 8180, 2) };

	for my $extent (0 .. $meta{extents} - 1)
	{
		my $first = 1 + $meta{center} + $codebook + $extent * $meta{extent_pages};

		# scan pages of rows are of kind 6, and record pages of kind 7
		next if $kind->($first) != 6;
		my ($scan_pages) = grep { $kind->($first + $_) == 7 } 1 .. $meta{extent_pages} - 1;
		for my $group (0 .. $meta{groups} - 1)
		{
			my $page = $first + int($group / $per_page);
			my $bytes = substr($pages, $page * 8192 + 64 + $group % $per_page * $stride, $stride);

			next if $group % $per_page >= unpack('v', substr($pages, $page * 8192 + 8182, 2));
			for my $lane (0 .. 31)
			{
				my $own = substr($bytes, 272 + 32 * $code + $lane * $payload, $payload);
				my $at = $group * 32 + $lane;

				push @lanes, {
					number => ($extent * $meta{groups} + $group) * 32 + $lane,
					taken => unpack('x8 V', $bytes) >> $lane & 1,
					list => unpack('V', $bytes),
					tid => (tids(substr($own, 0, 6)))[0],
					payload => $own,
					code => join('', map { substr($bytes, 272 + (int($lane / 16) * $code + $_) * 16 + $lane % 16, 1) } 0 .. $code - 1),
					record => substr($pages, ($first + $scan_pages + int($at / $records)) * 8192 + 64 + $at % $records * $length, $length)
				};
			}
		}
	}
	return @lanes;
}

# The slots of all nodes of an index.  Of each: number, row identifier, state, generation,
# link to postings, hash, neighbours, what follows the header of its hot slot and the lists of its
# node slot, and all that a free slot has not; of postings their fields and identifiers.
sub read_slots
{
	my ($pages) = @_;
	my %meta;
	my @slots;

	(@meta{qw(m attributes hot_stride node_stride slots node_pages center extents)}) =
	  unpack('x52 v x6 v3 x2 v2 V2', $pages);
	my $bytes = $meta{attributes};
	my $hot_first = 64 + 64 * int(($bytes * $meta{slots} + 63) / 64);
	my $per_page = int(8144 / $meta{node_stride});
	for my $extent (0 .. $meta{extents} - 1)
	{
		my $first = 1 + $meta{center} + $extent * (1 + $meta{node_pages});

		# a hot page is of kind 3
		next if unpack('v', substr($pages, $first * 8192 + 8180, 2)) != 3;
		for my $number (0 .. $meta{slots} - 1)
		{
			my $hot = substr($pages, $first * 8192 + $hot_first + $number * $meta{hot_stride}, $meta{hot_stride});
			my $attributes = substr($pages, $first * 8192 + 64 + $number * $bytes, $bytes);
			my $node = substr($pages, ($first + 1 + int($number / $per_page)) * 8192
				  + 32 + $number % $per_page * $meta{node_stride}, $meta{node_stride});
			my ($state, $generation, $next, $hash) = unpack('x6 C x V3', $node);
			my $slot = {
				nid => $extent * $meta{slots} + $number,
				state => $state,
				generation => $generation,
				next => $next,
				hash => $hash,
				codes => [ grep { length } substr($hot, 12), substr($node, 36 + 10 * $meta{m}) ],
				rest => $attributes . substr($hot, 4) . substr($node, 0, 8) . substr($node, 12) };

			($slot->{tid}) = tids(substr($node, 0, 6));
			$slot->{neighbours} = [ unpack 'V' . unpack('x30 C', $node), substr($node, 32) ] if $state == 1;
			if ($state == 3)
			{
				(@$slot{qw(owner owner_generation rank rows)}) = unpack('x16 V3 v', $node);
				$slot->{tids} = [ tids(substr($node, 32, 6 * $slot->{rows})) ];
				$slot->{room} = int(($meta{node_stride} - 32) / 6);
			}
			push @slots, $slot;
		}
	}
	return @slots;
}

# Row identifiers as the server writes them.
sub tids
{
	my @numbers = unpack('v*', shift);
	my @tids;

	push @tids, sprintf('(%d,%d)', shift(@numbers) * 65536 + shift(@numbers), shift @numbers) while @numbers;
	return @tids;
}

# A psql that runs a script on its own, in the database postgres or another one; or a list of scripts, each of
# which is a transaction where it does not say otherwise.
sub begin_psql
{
	my ($node, $script, $database) = @_;
	my @commands = map { ('-c', $_) } ref $script ? @$script : $script;
	my $output = '';
	my $run = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database || 'postgres'),
			@commands ],
		'<', \undef, '>&', \$output);

	return { run => $run, output => \$output };
}

# A pgbench with so many clients for so many seconds; scripts as name => text,
# where the name may end in @weight.
sub begin_pgbench
{
	my ($node, $clients, $seconds, %scripts) = @_;
	my @files;
	my $output = '';

	for my $name (sort keys %scripts)
	{
		my ($file, $weight) = split /@/, $name;
		my $path = $node->basedir . "/$file.sql";

		PostgreSQL::Test::Utils::append_to_file($path, '') unless -e $path;
		open my $out, '>', $path or die "$path: $!";
		print $out $scripts{$name};
		close $out;
		push @files, '-f', defined $weight ? "$path\@$weight" : $path;
	}

	# what it prints is short (-d would mean debugging): the pipe is read at the end
	my $run = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', $seconds, @files, $node->connstr('postgres') ],
		'<', \undef, '>&', \$output);

	return { run => $run, output => \$output };
}

# Waits for a program begun above; returns true when it succeeded.
sub await_end
{
	my ($program) = @_;
	return $program->{run}->finish;
}

# A session that keeps others waiting at a stop point, until it is let go.
sub hold
{
	my ($node, $point) = @_;
	my $holder = begin_psql($node, "SET application_name = 'holder';
		SELECT pg_advisory_lock(hashtext('$point')); SELECT pg_sleep(600)");

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted");
	return $holder;
}

sub let_go
{
	my ($node, $holder) = @_;

	$node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'");
	await_end($holder);
	return;
}

# Begins a script in a session of the name `builder`, and waits until so many
# processes, at least, stand at a stop point that is held.
sub begin_held
{
	my ($node, $point, $waiting, $sql) = @_;
	my $builder = begin_psql($node, "LOAD 'vdb'; SET application_name = 'builder';
		SET vdb.stop_at = '$point'; $sql");

	$node->poll_query_until('postgres',
		"SELECT count(*) >= $waiting FROM pg_stat_activity WHERE wait_event = 'advisory'")
	  or die "nobody came to $point: ${ $builder->{output} }";
	return $builder;
}

# Claims that a statement succeeds, or fails; what the server says meanwhile.
sub notices_of
{
	my ($node, $sql, %how) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET client_min_messages = debug1; $sql");

	is($status, $how{fails} ? 3 : 0, $how{fails} ? "fails: $sql" : $sql) or diag($err);
	return $err;
}

# The process that started this one, 0 when it has gone.
sub parent_of
{
	my ($pid) = @_;

	open my $status, '<', "/proc/$pid/status" or return 0;
	my ($parent) = map { /^PPid:\s+(\d+)/ } <$status>;
	return $parent || 0;
}

# Ends a server as a power failure would, its backends included, and starts it
# again.  The postmaster stands still while its children are counted: one that it
# forked afterwards would wait for ever for a lock of one that was killed.
sub kill_and_start
{
	my ($node) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

	kill 'STOP', $postmaster;
	usleep(1000) until slurp_file("/proc/$postmaster/status") =~ /^State:\s+T/m;
	my @children = grep { parent_of($_) == $postmaster } map { m{(\d+)} } glob '/proc/[0-9]*';
	$node->kill9;
	kill 9, @children;

	# the shared memory is free when the last backend has gone
	for (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		$node->kill9;
		usleep(100_000);
	}
	die 'the server does not start: ' . substr(slurp_file($node->logfile), -1000);
}

# Waits until a server that restarts itself after a crash, one that was not waited for
# before, answers again.  The one that a backend dies under answers as well, until it
# notices; so its log has to say first that it begins anew.  The psql reads nothing: one
# that is turned away may be gone before it was written to.
my %restarts;

sub await_server
{
	my ($node) = @_;
	my @psql = ('psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', 'SELECT');

	for (1 .. 600)
	{
		my $seen = () = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g;

		if ($seen > ($restarts{ $node->name } // 0) &&
			IPC::Run::run(\@psql, '<', \undef, '>', \my $out, '2>', \my $err))
		{
			$restarts{ $node->name } = $seen;
			return;
		}
		usleep(100_000);
	}
	die 'the server did not come back';
}

# Waits until a standby has replayed all that the primary has done.  What VACUUM, a merge or a
# calibration wrote last is not flushed when it ends, and wait_for_catchup looks at what is
# flushed: another segment of the log is begun first.
sub catch_up
{
	my ($primary, $standby) = @_;

	$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$primary->wait_for_catchup($standby);
	return;
}

# Has the server load our output plugin. Since August 2026 it has a list of those that it may.
sub allow_output_plugin
{
	my ($node) = @_;

	return if !$node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'");
	$node->safe_psql('postgres', 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, vdb');
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('output_plugin_libraries') ~ 'vdb'")
	  or die 'the list of output plugins does not change';
	return;
}

# Claims that a statement fails with this SQLSTATE and text, and that the
# server answers afterwards.
sub psql_fails
{
	my ($node, $sql, $state, $text, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	like($err, qr/$state.*$text/s, $name);
	return is($node->safe_psql('postgres', 'SELECT 1'), '1', "$name: the server stays up");
}

1;
