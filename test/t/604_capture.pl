# Claims that what pipelines copy or put into the queue follows the log: each kind of change, what was there
# before, transactions that are not visible yet, targets that are in the way, definitions and rights that change, slots
# that are lost; and that nothing is left of a pipeline that is gone.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_server(
	'capture', q(shared_preload_libraries = 'vdb'), 'wal_level = logical', 'max_worker_processes = 16',
	'vdb.maintenance = off', 'vdb.ingest_nap = 10', 'fsync = off',
	# what one transaction changes does not fit into it
	'work_mem = 64kB');

sub sql { return $node->safe_psql('postgres', shift) }

sub comes_true
{
	my ($claim, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $claim);
}

# The target has the source's rows, and no others.
sub follows
{
	my ($source, $target, $claim) = @_;
	return comes_true($claim, qq(
		SELECT count(*) = 0 FROM (SELECT * FROM $source WHERE v IS NOT NULL) s
		FULL JOIN $target t ON t.id = s.id WHERE s.v::vector IS DISTINCT FROM t.embedding));
}

# Commits that are synchronous wait for a standby that is not there.
sub hold_commits
{
	sql(q(ALTER SYSTEM SET synchronous_standby_names = 'nobody'));
	sql(q(SELECT pg_reload_conf()));
	return;
}

sub let_commits_go
{
	sql(q(ALTER SYSTEM RESET synchronous_standby_names));
	sql(q(SELECT pg_reload_conf()));
	return;
}

sub state_of
{
	my ($pipeline) = @_;
	return sql("SELECT state FROM vdb.pipeline WHERE name = '$pipeline'");
}

# --- a pipeline that copies ----------------------------------------------------

sql(q(
	CREATE FUNCTION place(i int) RETURNS real[] IMMUTABLE LANGUAGE sql AS
	$$ SELECT array_agg((i * 0.37 * j)::real ORDER BY j) FROM generate_series(1, 8) j $$;
	CREATE TABLE items (id bigint PRIMARY KEY, note text, v real[]);
	CREATE TABLE copies (id bigint PRIMARY KEY, embedding vector(8));
	CREATE INDEX ON copies USING hnsw (embedding vector_l2_ops);
	INSERT INTO items SELECT i, 'before', place(i) FROM generate_series(1, 2500) i));
is(sql(q(SELECT count(*) FROM pg_replication_slots)), '0', 'there is no slot');
$node->psql('postgres', q(BEGIN; SELECT vdb.create_pipeline('rolled_back', 'items', 'id', 'v', 'copies'); ROLLBACK));
sleep 1;
is(sql(q(SELECT count(*) FROM pg_replication_slots)), '0', 'nor after create_pipeline was rolled back');
sql(q(SELECT vdb.create_pipeline('copy', 'items', 'id', 'v', 'copies')));
follows('items', 'copies', 'what was there before is copied');
is(sql(q(SELECT slot_name = 'vdb_ingest_' || oid FROM pg_replication_slots, pg_database WHERE datname = 'postgres')),
	't', 'there is one slot');
comes_true('the load is over', q(SELECT load IS NULL FROM vdb.pipeline));

sql(q(INSERT INTO items SELECT i, 'new', place(i) FROM generate_series(2501, 2600) i));
follows('items', 'copies', 'INSERT');
sql(q(UPDATE items SET v = place(id::int + 1) WHERE id % 7 = 0));
follows('items', 'copies', 'UPDATE');
sql(q(DELETE FROM items WHERE id % 5 = 0));
follows('items', 'copies', 'DELETE');
sql(q(UPDATE items SET id = -id WHERE id % 11 = 0));
follows('items', 'copies', 'UPDATE of the key');
sql(q(UPDATE items SET v = NULL WHERE id % 13 = 0));
follows('items', 'copies', 'a content that is no more');
sql(q(COPY items FROM PROGRAM 'seq 3001 3500 | sed "s/.*/&\tcopied\t{&,1,2,3,4,5,6,7}/"'));
follows('items', 'copies', 'COPY');
sql(q(BEGIN; UPDATE items SET v = place(1) WHERE id < 100; DELETE FROM items WHERE id < 50; INSERT INTO items VALUES (1, '', place(5));
	SAVEPOINT a; DELETE FROM items; ROLLBACK TO a; UPDATE items SET id = 100000 WHERE id = 1; COMMIT));
follows('items', 'copies', 'one transaction, in its order');
sql(q(ALTER TABLE items REPLICA IDENTITY FULL; DELETE FROM items WHERE id % 17 = 0; UPDATE items SET id = id + 50000 WHERE id % 19 = 0));
follows('items', 'copies', 'REPLICA IDENTITY FULL');
sql(q(TRUNCATE items));
follows('items', 'copies', 'TRUNCATE');
sql(q(INSERT INTO items SELECT i, 'again', place(i) FROM generate_series(1, 500) i; TRUNCATE items; INSERT INTO items SELECT i, 'again', place(i) FROM generate_series(250, 700) i));
follows('items', 'copies', 'and what comes after it');
check_index($node, 'copies_embedding_idx', 'after that');

# one transaction that is larger than what is kept in memory
sql(q(INSERT INTO items SELECT i, 'many', place(i) FROM generate_series(1000, 13000) i));
follows('items', 'copies', 'a transaction of 12,001 rows');

# an index of the target finds what was written a moment ago
sql(q(INSERT INTO items VALUES (-1, 'near', '{1000,0,0,0,0,0,0,1000}')));
comes_true('a new row is found by the target\'s index', q(
	SELECT id = -1 FROM copies ORDER BY embedding <-> '[1000,0,0,0,0,0,0,1000]' LIMIT 1));

# --- rows that cannot be copied -------------------------------------------------

sql(q(INSERT INTO items SELECT i, 'mixed', CASE WHEN i % 100 = 0 THEN '{1,2,3}' ELSE place(i) END FROM generate_series(70001, 70500) i));
comes_true('rows of other dimensions are given up', q(SELECT count(*) = 5 FROM vdb.ingest_dead));
like(sql(q(SELECT DISTINCT error FROM vdb.ingest_dead)), qr/expected 8 dimensions, not 3/, 'and why');
is(sql(q(SELECT count(*) FROM copies WHERE id > 70000)), '495', 'the others are there');
sql(q(UPDATE items SET v = place(1) WHERE id > 70000 AND id % 100 = 0));
follows('items', 'copies', 'when they are mended, they are copied');
is(sql(q(SELECT count(*) FROM vdb.ingest_dead)), '0', 'and are not dead any more');
sql(q(INSERT INTO items SELECT i, 'short', '{1,2,3}' FROM generate_series(80001, 80004) i));
comes_true('others are given up', q(SELECT count(*) = 4 FROM vdb.ingest_dead));
is(sql(q(SELECT last_error, queued FROM vdb_stat_ingest WHERE name = 'copy')), 'expected 8 dimensions, not 3|0', 'which is said');
sql(q(DELETE FROM items WHERE id = 80001));
comes_true('not when they are gone', q(SELECT count(*) = 3 FROM vdb.ingest_dead));
my $died = sql('SELECT max(died_at) FROM vdb.ingest_dead');
is(sql(q(SELECT vdb.retry_pipeline('copy'))), '3', 'all are tried again');
comes_true('and given up again', qq(SELECT count(*) = 3 AND min(died_at) > '$died' FROM vdb.ingest_dead));
is(sql(q(SELECT queued FROM vdb_stat_ingest WHERE name = 'copy')), '0', 'without a queue');
sql(q(CREATE TABLE kept AS TABLE items));
sql(q(BEGIN; TRUNCATE items; INSERT INTO items VALUES (80005, 'short', '{1,2,3}'); COMMIT));
comes_true('TRUNCATE leaves those that come after it',
	q(SELECT count(*) = 1 AND min(key) = '80005' FROM vdb.ingest_dead));
sql(q(DELETE FROM items));
sql(q(INSERT INTO items SELECT * FROM kept WHERE cardinality(v) = 8));
follows('items', 'copies', 'and the others come back');

# --- a queue that is full ----------------------------------------------------------

sql(q(
	CREATE TABLE crowd (id int PRIMARY KEY, body text);
	CREATE TABLE crowd_vectors (id int PRIMARY KEY, embedding vector(8), source_hash text);
	INSERT INTO crowd SELECT i, 'text' FROM generate_series(1, 2000) i));
my $inserted = sql('SELECT pg_current_wal_flush_lsn()');

comes_true('the log is read', qq(SELECT captured_lsn >= '$inserted' FROM vdb_stat_ingest WHERE name = 'copy'));
sql(q(SELECT vdb.create_pipeline('crowd', 'crowd', 'id', 'body', 'crowd_vectors', queue_limit => 100)));
comes_true('a source is gone through', q(SELECT backfill = 2000 AND load IS NULL FROM vdb_stat_ingest WHERE name = 'crowd'));
sql(q(INSERT INTO crowd SELECT i, 'text' FROM generate_series(3001, 3100) i));
comes_true('changes wait as well', q(SELECT queued = 100 FROM vdb_stat_ingest WHERE name = 'crowd'));
sql(q(SELECT pg_sleep(0.2)));
is(sql(q(SELECT state, load FROM vdb_stat_ingest WHERE name = 'crowd')), 'running|', 'as many as may, beside what is gone through');
sql(q(INSERT INTO crowd VALUES (3101, 'text')));
comes_true('one more is too many', q(SELECT state = 'overflow' FROM vdb_stat_ingest WHERE name = 'crowd'));
sql(q(SELECT vdb.drop_pipeline('crowd')));

# --- rows that are worked on when what was missed is gone through --------------------

sql(q(
	CREATE TABLE held (id int PRIMARY KEY, body text);
	CREATE TABLE held_vectors (id int PRIMARY KEY, embedding vector(2), source_hash text);
	INSERT INTO held SELECT i, 'text ' || i FROM generate_series(1, 3) i;
	SELECT vdb.create_pipeline('held', 'held', 'id', 'body', 'held_vectors')));
comes_true('rows are to be embedded', q(SELECT queued + backfill = 3 AND load IS NULL FROM vdb_stat_ingest WHERE name = 'held'));

# Leases all; returns the lease, keys and contents.
sub claim_held
{
	return split /\|/, sql(q(SELECT min(lease), string_agg(key || ': ' || content, ', ' ORDER BY key) FROM vdb.claim('held', lease => '1 day')));
}
my ($lease) = claim_held();
my $contents;

sql(q(ALTER TABLE held ALTER body TYPE text USING body || '!'));
comes_true('a statement rewrites them meanwhile',
	q(SELECT load IS NULL AND source_file = pg_relation_filenode('held') FROM vdb.pipeline WHERE name = 'held'));
is(sql("SELECT vdb.complete($lease, '{1,2,3}', array_fill('[1,1]'::vector, '{3}'))"), '3', 'the old texts\' embeddings are stored');
($lease, $contents) = claim_held();
is($contents, '1: text 1!, 2: text 2!, 3: text 3!', 'and all come again');

sql(q(ALTER TABLE held RENAME body TO text));
comes_true('changes are missed', q(SELECT state = 'error' FROM vdb.pipeline WHERE name = 'held'));
sql(q(DELETE FROM held WHERE id = 1; UPDATE held SET text = 'new' WHERE id = 2));
$inserted = sql('SELECT pg_current_wal_flush_lsn()');
comes_true('which are in the log', qq(SELECT captured_lsn >= '$inserted' FROM vdb_stat_ingest WHERE name = 'copy'));
sql(q(ALTER TABLE held RENAME text TO body));
sql(q(SELECT vdb.resume_pipeline('held')));
comes_true('the source is gone through', q(SELECT state = 'running' AND load IS NULL FROM vdb.pipeline WHERE name = 'held'));
is(sql("SELECT vdb.complete($lease, '{1,2,3}', array_fill('[2,2]'::vector, '{3}'))"), '3', 'what was leased before is stored');
($lease, $contents) = claim_held();
is($contents, '2: new', 'and comes again if it changed');
is(sql(q(SELECT string_agg(id::text, ' ' ORDER BY id) FROM held_vectors)), '2 3', 'or is deleted if it is gone');

# Who has claimed and has not committed has read rows as well, and no lease of his is seen.
sql(q(INSERT INTO held VALUES (4, 'text 4')));
comes_true('a row is queued', q(SELECT queued > 0 FROM vdb_stat_ingest WHERE name = 'held'));
my $claimer = begin_psql($node, q(SET application_name = 'holder'; BEGIN; SELECT count(*) FROM vdb.claim('held'); SELECT pg_sleep(600)));
comes_true('a claim is open', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'));
sql(q(SELECT vdb.pause_pipeline('held'), vdb.resume_pipeline('held'), vdb.resync_pipeline('held')));
sleep(1);
is(sql(q(SELECT state, load, load_after FROM vdb.pipeline WHERE name = 'held')), 'running|source|', 'a load waits for it');
let_go($node, $claimer);
comes_true('and no longer', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'held'));

# Who drops it by a snapshot does not see what was put into the queue since.
my $holder = hold($node, 'drop');
my $dropper = begin_psql($node, q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM held;
	SELECT pg_advisory_lock_shared(hashtext('drop')); SELECT vdb.drop_pipeline('held'); COMMIT));
comes_true('it waits', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'));
my $queued = sql(q(SELECT count(*) FROM vdb.ingest_queue));
sql(q(INSERT INTO held SELECT i, 'text' FROM generate_series(100, 199) i));
comes_true('rows are queued', qq(SELECT count(*) = $queued + 100 FROM vdb.ingest_queue));
let_go($node, $holder);
await_end($dropper);
is(sql(q(SELECT count(*) FROM vdb.pipeline WHERE name = 'held')), '0', 'it is dropped');
comes_true('and its entries with it', q(SELECT count(*) = 0 FROM vdb.ingest_queue q WHERE NOT EXISTS (SELECT FROM vdb.pipeline p WHERE p.id = q.pipeline)));

# --- long values that an update leaves alone -------------------------------------

sql(q(
	CREATE TABLE long (id text PRIMARY KEY, note text, v vector(3000));
	ALTER TABLE long ALTER v SET STORAGE EXTERNAL;
	CREATE TABLE long_copies (id text PRIMARY KEY, embedding vector(3000));
	CREATE FUNCTION long_place(i int) RETURNS vector LANGUAGE sql AS
	$$ SELECT array_agg((i * 0.37 * j)::real ORDER BY j)::vector FROM generate_series(1, 3000) j $$;
	INSERT INTO long SELECT 'row ' || i, '', long_place(i) FROM generate_series(1, 20) i;
	SELECT vdb.create_pipeline('long', 'long', 'id', 'v', 'long_copies')));
follows('long', 'long_copies', 'values out of line');
my $captured = sql(q(SELECT captured FROM vdb_stat_ingest WHERE name = 'long'));
sql(q(UPDATE long SET note = 'other'));
sql(q(INSERT INTO long SELECT 'row ' || i, '', long_place(i) FROM generate_series(21, 30) i));
follows('long', 'long_copies', 'and new ones');
is(sql(q(SELECT captured FROM vdb_stat_ingest WHERE name = 'long')) - $captured, '10',
	'an update that left them alone was of no interest');
sql(q(UPDATE long SET id = 'moved ' || id WHERE id LIKE '%1%'));
follows('long', 'long_copies', 'rows are moved whose values the log does not have');
sql(q(SELECT vdb.drop_pipeline('long')));

# --- a pipeline onto its own table ------------------------------------------------

sql(q(
	CREATE TABLE own (id int PRIMARY KEY, v real[], embedding vector(8));
	INSERT INTO own SELECT i, place(i) FROM generate_series(1, 100) i;
	SELECT vdb.create_pipeline('own', 'own', 'id', 'v', 'own')));
comes_true('a table\'s own column is written', q(SELECT count(*) = 0 FROM own WHERE v::vector IS DISTINCT FROM embedding));
sql(q(UPDATE own SET v = place(id + 1); DELETE FROM own WHERE id < 10; UPDATE own SET v = NULL WHERE id = 50));
comes_true('and follows', q(SELECT count(*) = 0 FROM own WHERE v::vector IS DISTINCT FROM embedding));
$captured = sql(q(SELECT captured FROM vdb_stat_ingest WHERE name = 'own'));
sleep 1;
is(sql(q(SELECT captured FROM vdb_stat_ingest WHERE name = 'own')), $captured, 'what it writes does not call for more');
sql(q(SELECT vdb.drop_pipeline('own')));

# what a trigger of another one's target writes there is not its own
sql(q(
	CREATE TABLE heard (id int PRIMARY KEY, body text, embedding vector(8), source_hash text);
	CREATE TABLE said (id int PRIMARY KEY, v real[]);
	CREATE TABLE said_copies (id int PRIMARY KEY, embedding vector(8));
	CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO public.heard VALUES (NEW.id, 'text'); RETURN NULL; END $$;
	CREATE TRIGGER hear AFTER INSERT ON said_copies FOR EACH ROW EXECUTE FUNCTION hear();
	SELECT vdb.create_pipeline('heard', 'heard', 'id', 'body', 'heard');
	SELECT vdb.create_pipeline('said', 'said', 'id', 'v', 'said_copies')));
comes_true('a table has a trigger that writes into the source of another pipeline',
	q(SELECT bool_and(load IS NULL) FROM vdb.pipeline WHERE name IN ('heard', 'said')));
sql(q(INSERT INTO said VALUES (1, place(1))));
comes_true('what that writes is followed as well',
	q(SELECT count(*) = 1 FROM vdb.ingest_queue q JOIN vdb.pipeline p ON p.id = q.pipeline WHERE p.name = 'heard' AND q.key = '1'));
sql(q(SELECT vdb.drop_pipeline('heard'), vdb.drop_pipeline('said')));

# --- commits that are decoded before they are visible ------------------------------

hold_commits();
my $waiting = begin_psql($node, q(SET synchronous_commit = on; UPDATE items SET v = place(77) WHERE id = 300; ));
comes_true('a commit waits for a standby', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
my $look = begin_psql($node, q(SET synchronous_commit = local; CREATE TABLE late_copies (id bigint PRIMARY KEY, embedding vector(8));
	SELECT vdb.create_pipeline('late', 'items', 'id', 'v', 'late_copies')));
await_end($look);
sleep 2;
is(sql(q(SELECT count(*) FROM late_copies)), '0', 'nobody looks at rows meanwhile');
let_commits_go();
await_end($waiting);
follows('items', 'copies', 'that change is copied');
follows('items', 'late_copies', 'and is in what a new pipeline found');
sql(q(SELECT vdb.drop_pipeline('late')));

# What concerns nobody is waited for where that is confirmed, but not for long.
hold_commits();
$waiting = begin_psql($node, q(SET synchronous_commit = on; CREATE TABLE of_nobody ()));
comes_true('a commit that concerns nobody waits', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
sleep 2;
$inserted = sql(q(SET synchronous_commit = local; CREATE TABLE of_nobody_either (); SELECT pg_current_wal_flush_lsn()));
comes_true('the log is read on', qq(SELECT captured_lsn >= '$inserted' FROM vdb_stat_ingest WHERE name = 'copy'));
let_commits_go();
await_end($waiting);

# A rewrite is known of before changes that precede it are decoded: what is copied then must not be overwritten by these.
sql(q(
	CREATE TABLE shifted (id int PRIMARY KEY, v real[]);
	CREATE TABLE shifted_copies (id int PRIMARY KEY, embedding vector(8));
	INSERT INTO shifted SELECT i, place(i) FROM generate_series(1, 5000) i;
	SELECT vdb.create_pipeline('shifted', 'shifted', 'id', 'v', 'shifted_copies')));
follows('shifted', 'shifted_copies', 'another one is copied');
comes_true('the load is over', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'shifted'));
hold_commits();
$waiting = begin_psql($node, q(SET synchronous_commit = on; UPDATE items SET v = place(78) WHERE id = 300; ));
comes_true('a commit waits', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
sql(qq(SET synchronous_commit = local; UPDATE shifted SET v = place(id + $_))) for 1 .. 8;
sql(q(SET synchronous_commit = local; ALTER TABLE shifted ALTER v TYPE real[] USING v[2:8] || v[1:1]));
let_commits_go();
await_end($waiting);
follows('shifted', 'shifted_copies', 'rows that were changed, and then rewritten');
sql(q(SELECT vdb.drop_pipeline('shifted')));

# The same where a load could begin already, and waits for another one, whose turn it is.
sql(q(
	CREATE TABLE gate ();
	CREATE FUNCTION await_gate() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NEW; END $$;
	CREATE TABLE ahead (id int PRIMARY KEY, v real[]);
	CREATE TABLE ahead_copies (id int PRIMARY KEY, embedding vector(8));
	CREATE TRIGGER await_gate BEFORE INSERT ON ahead_copies FOR EACH ROW EXECUTE FUNCTION await_gate();
	INSERT INTO ahead VALUES (1, place(1));
	INSERT INTO gate DEFAULT VALUES;
	SELECT vdb.create_pipeline('ahead', 'ahead', 'id', 'v', 'ahead_copies');
	SELECT vdb.create_pipeline('shifted', 'shifted', 'id', 'v', 'shifted_copies')));
comes_true('there are two', q(SELECT bool_and(load IS NULL) FROM vdb.pipeline));
sql(q(DELETE FROM gate; SELECT vdb.resync_pipeline('ahead'), vdb.resync_pipeline('shifted')));
comes_true('one goes first',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture' AND wait_event = 'PgSleep'));
is(sql(q(SELECT load, load_after FROM vdb.pipeline WHERE name = 'shifted')), 'source|', 'the other waits');
sql(qq(UPDATE shifted SET v = place(id + $_))) for 1 .. 8;
sql(q(ALTER TABLE shifted ALTER v TYPE real[] USING v[2:8] || v[1:1]));
sql(q(INSERT INTO gate DEFAULT VALUES));
follows('ahead', 'ahead_copies', 'and on');
follows('shifted', 'shifted_copies', 'so does the other, whose rows were changed and rewritten');
sql(q(SELECT vdb.drop_pipeline('shifted'), vdb.drop_pipeline('ahead'); DELETE FROM gate));

# --- a target that is in the way ----------------------------------------------------

sql(q(CREATE TABLE other_items (id int PRIMARY KEY, v real[]); CREATE TABLE other_copies (id int PRIMARY KEY, embedding vector(8));
	SELECT vdb.create_pipeline('other', 'other_items', 'id', 'v', 'other_copies')));
my $locker = begin_psql($node, q(BEGIN; LOCK copies; SELECT pg_sleep(600)));
comes_true('a target is locked', q(SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'copies'::regclass AND granted));
sql(q(INSERT INTO items VALUES (80000, 'locked', place(8)); INSERT INTO other_items VALUES (1, place(1))));
comes_true('its pipeline is put off', q(SELECT state = 'overflow' FROM vdb.pipeline WHERE name = 'copy'));
follows('other_items', 'other_copies', 'others go on');
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^BEGIN; LOCK'));
await_end($locker);
follows('items', 'copies', 'when it is free again, all is copied');

# what users wrote and that does not end: a trigger, and a policy
sql(q(
	CREATE TABLE endless (id int PRIMARY KEY, v real[]);
	CREATE TABLE endless_copies (id int PRIMARY KEY, embedding vector(8));
	CREATE FUNCTION wait_on() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
	CREATE TRIGGER wait_on BEFORE INSERT ON endless_copies FOR EACH ROW EXECUTE FUNCTION wait_on();
	SELECT vdb.create_pipeline('endless', 'endless', 'id', 'v', 'endless_copies', timeout => '200 ms')));
comes_true('a pipeline whose target has a trigger', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'endless'));
sql(q(INSERT INTO endless VALUES (1, place(1)); INSERT INTO other_items VALUES (9, place(9))));
comes_true('that does not end is put off',
	q(SELECT state = 'overflow' AND reason LIKE '%statement timeout' FROM vdb.pipeline WHERE name = 'endless'));
follows('other_items', 'other_copies', 'others go on');
sql(q(
	SELECT vdb.drop_pipeline('endless');
	CREATE ROLE reader;
	CREATE TABLE veiled (id int PRIMARY KEY, body text);
	CREATE TABLE veiled_vectors (id int PRIMARY KEY, embedding vector(8), source_hash text);
	INSERT INTO veiled VALUES (1, 'text');
	ALTER TABLE veiled ENABLE ROW LEVEL SECURITY;
	CREATE POLICY slow ON veiled USING (pg_sleep(600) IS NOT NULL);
	GRANT SELECT ON veiled TO reader;
	GRANT SELECT, INSERT, UPDATE, DELETE ON veiled_vectors TO reader;
	SET ROLE reader;
	SELECT vdb.create_pipeline('veiled', 'veiled', 'id', 'body', 'veiled_vectors', timeout => '200 ms')));
comes_true('so is one whose source cannot be gone through in time',
	q(SELECT state = 'overflow' AND reason LIKE '%statement timeout' FROM vdb.pipeline WHERE name = 'veiled'));
sql(q(SELECT vdb.drop_pipeline('veiled'); INSERT INTO other_items VALUES (10, place(10))));
follows('other_items', 'other_copies', 'others go on then as well');

# one that gives its name away while a batch waits for it, and whose name another table has then
$locker = begin_psql($node, q(
	BEGIN;
	ALTER TABLE other_copies RENAME TO my_copies;
	CREATE TABLE other_copies (LIKE my_copies INCLUDING ALL);
	DO $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'my_copies'::regclass AND NOT granted) LOOP
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $$;
	COMMIT));
comes_true('a target is renamed',
	q(SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'other_copies'::regclass AND granted));
sql(q(UPDATE other_items SET v = place(7)));
await_end($locker);
follows('other_items', 'my_copies', 'rows are copied into the table, whatever that is called');
is(sql('SELECT count(*) FROM other_copies'), '0', 'and not into another one of its name');
sql(q(DROP TABLE other_copies; ALTER TABLE my_copies RENAME TO other_copies));

# --- definitions that change ----------------------------------------------------------

sql(q(ALTER TABLE other_items ADD extra int; INSERT INTO other_items VALUES (2, place(2), 1);
	ALTER TABLE other_items DROP extra; INSERT INTO other_items VALUES (3, place(3))));
follows('other_items', 'other_copies', 'columns come and go');
sql(q(ALTER TABLE other_items ALTER v TYPE real[] USING v[2:8] || v[1:1]));
follows('other_items', 'other_copies', 'a statement rewrites all rows, and logs none');
sql(q(BEGIN; ALTER TABLE other_items ADD n real[] DEFAULT '{8,7,6,5,4,3,2,1}'; ALTER TABLE other_items DROP v; ALTER TABLE other_items RENAME n TO v; COMMIT));
follows('other_items', 'other_copies', 'another column takes the content\'s name');
sql(q(ALTER TABLE other_items RENAME v TO w; INSERT INTO other_items VALUES (4, place(4)); INSERT INTO items VALUES (80001, '', place(9))));
comes_true('a column that is renamed is an error of that pipeline', q(SELECT state = 'error' FROM vdb.pipeline WHERE name = 'other'));
like(sql(q(SELECT reason FROM vdb.pipeline WHERE name = 'other')), qr/column "v" of table .* does not exist|has no column "v"/, 'which says why');
follows('items', 'copies', 'others go on');
sql(q(ALTER TABLE other_items RENAME w TO v; SELECT vdb.resume_pipeline('other')));
follows('other_items', 'other_copies', 'when it is mended and resumed, all is copied');
sql(q(DROP TABLE other_items));
comes_true('a source that is dropped is one as well', q(SELECT state = 'error' FROM vdb.pipeline WHERE name = 'other'));
sql(q(SELECT vdb.drop_pipeline('other')));

# all of a source is asked for while TRUNCATE of it is applied, after what a trigger keeps waiting
sql(q(
	CREATE TABLE kept_up (id int PRIMARY KEY, v real[]);
	CREATE TABLE kept_up_copies (id int PRIMARY KEY, embedding vector(8));
	CREATE TRIGGER await_gate BEFORE INSERT ON kept_up_copies FOR EACH ROW EXECUTE FUNCTION await_gate();
	CREATE TABLE emptied (id int PRIMARY KEY, v real[]);
	CREATE TABLE emptied_copies (id int PRIMARY KEY, embedding vector(8));
	SELECT vdb.create_pipeline('kept up', 'kept_up', 'id', 'v', 'kept_up_copies');
	SELECT vdb.create_pipeline('emptied', 'emptied', 'id', 'v', 'emptied_copies')));
comes_true('two pipelines', q(SELECT bool_and(load IS NULL) FROM vdb.pipeline WHERE name IN ('kept up', 'emptied')));
sql(q(BEGIN; INSERT INTO kept_up VALUES (1, place(1)); TRUNCATE emptied; INSERT INTO emptied VALUES (1, place(1)); COMMIT));
comes_true('an application is kept up',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture' AND wait_event = 'PgSleep'));
my $embedded = sql(q(SELECT embedded FROM vdb_stat_ingest WHERE name = 'emptied'));
sql(q(SELECT vdb.resync_pipeline('emptied'); INSERT INTO gate DEFAULT VALUES));
comes_true('the source is gone through, and not the target alone: its row is written by the log and again',
	qq(SELECT embedded >= $embedded + 2 FROM vdb_stat_ingest WHERE name = 'emptied'));
sql(q(SELECT vdb.drop_pipeline('kept up'), vdb.drop_pipeline('emptied')));

# --- rights that change ------------------------------------------------------------------

sql(q(
	CREATE ROLE readers;
	CREATE ROLE copier BYPASSRLS IN ROLE readers;
	CREATE TABLE guarded (id int PRIMARY KEY, v real[]);
	CREATE TABLE guarded_copies (id int PRIMARY KEY, embedding vector(8));
	ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
	INSERT INTO guarded VALUES (1, place(1));
	GRANT SELECT ON guarded TO readers;
	GRANT SELECT, INSERT, UPDATE, DELETE ON guarded_copies TO copier;
	SET ROLE copier;
	SELECT vdb.create_pipeline('guarded', 'guarded', 'id', 'v', 'guarded_copies')));
follows('guarded', 'guarded_copies', 'an owner may read what is copied');
comes_true('and it is', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'guarded'));
sql(q(ALTER ROLE copier NOBYPASSRLS));
comes_true('an owner that rows are hidden from stops its pipeline',
	q(SELECT state = 'error' AND reason LIKE 'row-level security hides rows %' FROM vdb.pipeline WHERE name = 'guarded'));
sql(q(ALTER ROLE copier BYPASSRLS; SELECT vdb.resume_pipeline('guarded'); INSERT INTO guarded VALUES (2, place(2))));
follows('guarded', 'guarded_copies', 'who sees them again goes on');
comes_true('with all of them', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'guarded'));
sql(q(REVOKE readers FROM copier));
comes_true('so does one that has left those who may read',
	q(SELECT state = 'error' AND reason = 'permission denied for table public.guarded' FROM vdb.pipeline WHERE name = 'guarded'));
sql(q(INSERT INTO guarded VALUES (3, place(3)); INSERT INTO items VALUES (80012, '', place(12))));
follows('items', 'copies', 'others go on');
is(sql(q(SELECT count(*) FROM guarded_copies)), '2', 'and nothing more is copied');
sql(q(SELECT vdb.drop_pipeline('guarded')));

# --- keys --------------------------------------------------------------------------------

sql(q(
	CREATE TABLE numbers (id numeric PRIMARY KEY, v real[]);
	CREATE TABLE number_copies (id numeric PRIMARY KEY, embedding vector(8));
	INSERT INTO numbers SELECT i, place(i) FROM generate_series(1, 10) i;
	SELECT vdb.create_pipeline('numbers', 'numbers', 'id', 'v', 'number_copies')));
follows('numbers', 'number_copies', 'keys that are numbers');
sql(q(UPDATE numbers SET id = id::numeric(10, 2), v = place(id::int + 1); INSERT INTO numbers VALUES (11, place(11))));
follows('numbers', 'number_copies', 'and are written otherwise');
sql(q(SELECT vdb.drop_pipeline('numbers')));

my $reader = sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture'));
sql(q(
	CREATE TABLE typed (id text PRIMARY KEY, content text);
	CREATE TABLE typed_vectors (id text PRIMARY KEY, embedding vector(8));
	SELECT vdb.create_pipeline('typed', 'typed', 'id', 'content', 'typed_vectors')));
comes_true('a pipeline whose key is a text', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'typed'));
sql(q(BEGIN; INSERT INTO typed VALUES ('1', 'a');
	ALTER TABLE typed ALTER id TYPE int USING id::int; INSERT INTO typed VALUES (2, 'b'), (3, 'c'); COMMIT;
	INSERT INTO items VALUES (80010, '', place(10))));
follows('items', 'copies', 'that becomes a number in a transaction');
is(sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture')), $reader, 'which the process survives');
sql(q(SELECT vdb.drop_pipeline('typed')));

sql(q(
	CREATE TABLE bytes (id bytea PRIMARY KEY, content text);
	CREATE TABLE byte_vectors (id bytea PRIMARY KEY, embedding vector(8));
	SELECT vdb.create_pipeline('bytes', 'bytes', 'id', 'content', 'byte_vectors')));
comes_true('a pipeline whose key is bytes', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'bytes'));
sql(q(INSERT INTO bytes SELECT decode(string_agg(md5(i::text), ''), 'hex'), 'long' FROM generate_series(1, 120) i;
	INSERT INTO items VALUES (80011, '', place(11))));
comes_true('one whose text no index can hold is an error of that pipeline',
	q(SELECT state = 'error' FROM vdb.pipeline WHERE name = 'bytes'));
follows('items', 'copies', 'others go on');
is(sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture')), $reader, 'in the same process');
sql(q(SELECT vdb.drop_pipeline('bytes')));

# rows without a key: of a target, and of a source that nobody has looked at, as its pipeline was restored
sql(q(
	CREATE TABLE nameless (id int UNIQUE, v real[]);
	CREATE TABLE nameless_copies (id int UNIQUE, embedding vector(8));
	INSERT INTO nameless VALUES (1, place(1)), (NULL, place(2));
	INSERT INTO nameless_copies SELECT NULLIF(i, 3), place(i)::vector FROM generate_series(2, 3) i;
	CREATE TABLE named (id int PRIMARY KEY, body text);
	CREATE TABLE named_vectors (id int UNIQUE, embedding vector(8), source_hash text);
	INSERT INTO named VALUES (1, 'text');
	INSERT INTO named_vectors SELECT NULLIF(i, 3), place(i)::vector FROM generate_series(2, 3) i));
$inserted = sql('SELECT pg_current_wal_flush_lsn()');
comes_true('tables have rows without a key', qq(SELECT captured_lsn >= '$inserted' FROM vdb_stat_ingest WHERE name = 'copy'));
sql(q(
	INSERT INTO vdb.pipeline (name, owner, source, key, content, target, target_key, embedding, mode, batch_size, timeout, max_attempts, queue_limit)
		VALUES ('nameless', current_user::regrole, 'nameless', 'id', 'v', 'nameless_copies', 'id', 'embedding', 'copy', 64, '1 min', 5, 1000);
	SELECT vdb.create_pipeline('named', 'named', 'id', 'body', 'named_vectors')));
comes_true('they are gone through', q(SELECT bool_and(load IS NULL) FROM vdb.pipeline WHERE name IN ('nameless', 'named')));
is(sql(q(SELECT string_agg(coalesce(id::text, 'none'), ' ' ORDER BY id) FROM nameless_copies)), '1 none', 'such a row is neither copied nor deleted');
is(sql(q(SELECT string_agg(q.key, ' ' ORDER BY q.key) FROM vdb.ingest_queue q JOIN vdb.pipeline p ON p.id = q.pipeline WHERE p.name = 'named')),
	'1 2', 'nor does it wait');
is(sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture')), $reader, 'in the same process');
sql(q(SELECT vdb.drop_pipeline('nameless'), vdb.drop_pipeline('named')));

# --- paused ------------------------------------------------------------------------------

sql(q(SELECT vdb.pause_pipeline('copy')));
sql(q(DELETE FROM items WHERE id < 1500; INSERT INTO items VALUES (80002, '', place(2))));
sleep 1;
is(sql(q(SELECT count(*) FROM copies WHERE id = 80002)), '0', 'nothing is copied while it is paused');
sql(q(SELECT vdb.resume_pipeline('copy')));
follows('items', 'copies', 'it is when it is resumed');

# one that cannot be queued for meanwhile
sql(q(SELECT vdb.create_pipeline('crowd', 'crowd', 'id', 'body', 'crowd_vectors')));
comes_true('a source is gone through', q(SELECT load IS NULL FROM vdb.pipeline WHERE name = 'crowd'));
sql(q(SELECT vdb.pause_pipeline('crowd')));
$locker = begin_psql($node, q(BEGIN; UPDATE vdb.ingest_queue SET due = due WHERE key = '1'; SELECT pg_sleep(600)));
comes_true('an entry is locked', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^BEGIN; UPDATE vdb' AND wait_event = 'PgSleep'));
sql(q(UPDATE crowd SET body = 'other' WHERE id = 1));
comes_true('its pipeline stays paused, and will be gone through',
	q(SELECT state = 'paused' AND load = 'source' FROM vdb.pipeline WHERE name = 'crowd'));
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^BEGIN; UPDATE vdb'));
await_end($locker);
sql(q(SELECT vdb.resume_pipeline('crowd')));
comes_true('as it is when it is resumed', q(SELECT state = 'running' AND load IS NULL FROM vdb.pipeline WHERE name = 'crowd'));
sql(q(SELECT vdb.drop_pipeline('crowd')));

# --- the log -------------------------------------------------------------------------------

sql(q(CREATE TABLE elsewhere AS SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i));
my $flushed = sql(q(SELECT pg_current_wal_flush_lsn()));
comes_true('what concerns nobody is not kept', qq(SELECT confirmed_flush_lsn >= '$flushed' FROM pg_replication_slots));

# Nor is it while rows are copied: a target that is slow, and a load of as many pages as take half a minute.
sql(q(
	CREATE TABLE slow (seconds float8);
	INSERT INTO slow VALUES (0.5);
	CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(seconds) FROM public.slow; RETURN NULL; END $$;
	CREATE TABLE long_items (id int PRIMARY KEY, v real[]);
	CREATE TABLE slow_copies (id int PRIMARY KEY, embedding vector(2));
	CREATE TRIGGER be_slow BEFORE INSERT ON slow_copies FOR EACH STATEMENT EXECUTE FUNCTION be_slow();
	INSERT INTO long_items SELECT i, ARRAY[i, 1] FROM generate_series(1, 60000) i;
	SELECT vdb.create_pipeline('slow', 'long_items', 'id', 'v', 'slow_copies')));
comes_true('rows are gone through', q(SELECT load_after IS NOT NULL FROM vdb.pipeline WHERE name = 'slow'));
$flushed = sql(q(SELECT pg_current_wal_flush_lsn()));
comes_true('nor is what they are copied by', qq(
	SELECT confirmed_flush_lsn >= '$flushed' AND load = 'source' FROM pg_replication_slots, vdb.pipeline WHERE name = 'slow'));
sql(q(DELETE FROM slow));
follows('long_items', 'slow_copies', 'then all is copied');
sql(q(SELECT vdb.drop_pipeline('slow')));

# a slot that is lost
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vdb ingest capture'));
my $lost = 0;
for (1 .. 100)
{
	$lost = ($node->psql('postgres', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots)))[0] == 0
	  && sql(q(SELECT count(*) FROM pg_replication_slots)) eq '0';
	last if $lost;
}
ok($lost, 'the slot is dropped behind its back');
sql(q(DELETE FROM items WHERE id < 2000; INSERT INTO items VALUES (80003, '', place(2)); UPDATE items SET v = place(3) WHERE id = 3000));
follows('items', 'copies', 'all is gone through');
comes_true('a new one is made', q(SELECT count(*) = 1 FROM pg_replication_slots WHERE active));

# reading that is too far behind
my $loads = sql(q(SELECT count(*) FROM vdb.pipeline));
sql(q(ALTER SYSTEM SET vdb.ingest_max_wal = 1));
hold_commits();
$waiting = begin_psql($node, q(SET synchronous_commit = on; INSERT INTO items VALUES (80004, '', place(4))));
comes_true('a commit waits', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
sql(q(SET synchronous_commit = local; INSERT INTO elsewhere SELECT i, repeat('y', 1000) FROM generate_series(1, 40000) i));
let_commits_go();
await_end($waiting);
ok($node->wait_for_log(qr/too far behind/), 'reading leaps where it is too far behind');
sql(q(ALTER SYSTEM RESET vdb.ingest_max_wal; ));
sql(q(SELECT pg_reload_conf()));
follows('items', 'copies', 'and all is gone through');

# --- nothing is left ------------------------------------------------------------------------

sql(q(SELECT vdb.drop_pipeline('copy')));
comes_true('the last pipeline takes the slot with it', q(SELECT count(*) = 0 FROM pg_replication_slots));
comes_true('and the origin', q(SELECT count(*) = 0 FROM pg_replication_origin));
comes_true('and the process', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'vdb ingest%'));

# A slot is made in steps, each of which waits for transactions that were there before. What is committed between the
# last two is not decoded.
my $first = begin_psql($node, q(SET application_name = 'first'; BEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep(600)));
comes_true('a transaction is there', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'first' AND wait_event = 'PgSleep'));
sql(q(SELECT vdb.create_pipeline('copy', 'items', 'id', 'v', 'copies')));
my $waits = q(SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid), pg_stat_activity w
	WHERE l.locktype = 'transactionid' AND NOT l.granted AND a.backend_type = 'vdb ingest capture'
	AND w.application_name = '%s' AND l.transactionid = w.backend_xid);
comes_true('who makes a slot waits for it', sprintf($waits, 'first'));
my $second = begin_psql($node, q(SET application_name = 'second'; BEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep(600)));
comes_true('another one is there', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'second' AND wait_event = 'PgSleep'));
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'first'));
await_end($first);
comes_true('who makes a slot waits for that', sprintf($waits, 'second'));
hold_commits();
$waiting = begin_psql($node, q(SET synchronous_commit = on; UPDATE items SET v = place(79) WHERE id = 3000; ));
comes_true('a commit waits', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'second'));
await_end($second);
comes_true('a slot is made', q(SELECT count(*) = 1 FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NOT NULL));
sleep 1;
is(sql(q(SELECT load, load_after FROM vdb.pipeline)), 'source|', 'nobody looks at rows meanwhile');
let_commits_go();
await_end($waiting);
follows('items', 'copies', 'what was not decoded is in what was found');
sql(q(DROP EXTENSION vdb CASCADE));
comes_true('the extension takes them with it', q(SELECT count(*) = 0 FROM pg_replication_slots));
comes_true('the origin as well', q(SELECT count(*) = 0 FROM pg_replication_origin));

done_testing();
