/*
 * ingest_capture.c
 *	  The process that reads a database's log for its pipelines.
 *
 * Three things in turn: changes that have been decoded are applied in one transaction; sources that are to be gone
 * through are, a page at a time; and what pipelines there are is looked up again when they, or tables of theirs,
 * have changed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ingest/ingest_apply.h"
#include "ingest/ingest_decode.h"
#include "testpoint.h"
#include "worker/worker_module.h"

/* Changes that are applied at once, and how long they are collected, ms. */
#define BATCH_CHANGES 5000
#define BATCH_MS 200

/* From one look to the next: whether commits are visible; how much waits; ms. */
#define VISIBLE_MS 2
#define DEPTH_MS 5000

/* What nobody was interested in is confirmed so often, ms. */
#define CONFIRM_MS 1000

/* And for so long it is waited then until commits are visible, ms: a standby may be away. */
#define CONFIRM_WAIT_MS 100

/* Processes that begin at one position and fail there; then it is given up. */
#define MOST_STARTS 6

typedef struct Capture
{
	MemoryContext memory;		/* of what is watched */
	List	   *watches;
	HTAB	   *tables;
	VdbBatch	batch;
	VdbCaptureProgress progress;
	TimestampTz depth_at;
	TimestampTz confirmed_at;
	int			next_load;		/* whose turn it is to be gone through */
} Capture;

/* Something about pipelines, or tables, may be other than it was. */
static volatile bool outdated;
static HTAB *of_interest;

/* A callback: a table has changed, or any may have. */
static void
note_change(Datum arg, Oid table)
{
	if (!OidIsValid(table) || of_interest == NULL || hash_search(of_interest, &table, HASH_FIND, NULL) != NULL)
		outdated = true;
}

/* Another one: a role, or a membership of one, has changed, and with it what owners may do. */
static void
note_role_change(Datum arg, int cache, uint32 hash)
{
	outdated = true;
}

/* Do caches have rows of catalogs as they were when what is decoded was written? */
static bool in_history;

/* From now on the other ones are wanted. */
static void
change_times(bool history)
{
	bool		was_outdated = outdated;

	if (in_history == history)
		return;
	InvalidateSystemCaches();
	outdated = was_outdated;
	in_history = history;
}

static void
begin(void)
{
	change_times(false);
	vdb_worker_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
end(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();

	/* autovacuum is to know of what was written */
	pgstat_report_stat(false);
}

/* --- what is watched --------------------------------------------------------------- */

static void
resolve(void *arg)
{
	VdbWatch   *watch = arg;

	watch->types = vdb_ingest_resolve(watch->pipeline);
}

/* Looks up what a pipeline's names stand for; if it cannot be, the pipeline is in error, if it ever could. */
static void
resolve_or_refuse(VdbWatch *watch)
{
	ErrorData  *error = vdb_ingest_attempt(resolve, watch);

	if (error == NULL)
	{
		vdb_ingest_note_source(watch->pipeline);
		return;
	}
	watch->types = NULL;

	/* while a dump is read, keys and functions come after the pipelines; whoever makes them has this looked at again */
	if (OidIsValid(watch->pipeline->source_file))
		vdb_ingest_set_state(watch->pipeline->id, VDB_STATE_ERROR, error->message);
	else
		vdb_ingest_note_reason(watch->pipeline->id, error->message);
}

/*
 * Is a pipeline to be told of changes?  If it is paused and will have to be gone through from the beginning,
 * as those that copy are when they are resumed, it is not.
 */
static bool
is_active(const VdbPipeline *pipeline)
{
	return pipeline->state == VDB_STATE_RUNNING ||
		(pipeline->state == VDB_STATE_PAUSED && pipeline->mode != VDB_MODE_COPY &&
		 (pipeline->load != VDB_LOAD_SOURCE || pipeline->load_after != NULL));
}

static void
add_interest(HTAB *tables, Oid table, VdbWatch *watch)
{
	bool		found;
	VdbWatchedTable *entry = hash_search(tables, &table, HASH_ENTER, &found);

	if (!found)
		entry->watches = NIL;
	if (watch != NULL)
		entry->watches = lappend(entry->watches, watch);
}

/* Is a pipeline to be gone through from the beginning? */
static bool
is_at_beginning(const VdbPipeline *pipeline)
{
	return pipeline->load != VDB_LOAD_NONE && pipeline->load_after == NULL;
}

/*
 * Where a load that is at its beginning may begin, if that was found out before, of the same table and column; or Invalid.
 *
 * A table's new definition is seen before the log that led to it has been read.  A load that began at once could copy
 * rows that a statement had rewritten, and changes from before it would then be put over them.  So it begins when the
 * commit record of the transaction that first looked has been read.
 */
static XLogRecPtr
known_load_from(List *watches, const VdbPipeline *pipeline)
{
	ListCell   *cell;

	foreach(cell, watches)
	{
		const VdbWatch *watch = lfirst(cell);

		if (watch->pipeline->id == pipeline->id)
			return is_at_beginning(watch->pipeline) && watch->pipeline->source_file == pipeline->source_file &&
				watch->pipeline->content_number == pipeline->content_number ? watch->load_from : InvalidXLogRecPtr;
	}
	return InvalidXLogRecPtr;
}

/*
 * Entries and dead letters of pipelines that were dropped while they were being written, or by a transaction that could
 * not see them.  This process alone writes them without a lock on the pipeline.
 */
static void
clear_dropped(void *arg)
{
	(void) vdb_ingest_run_as_keeper("DELETE FROM vdb.ingest_queue q WHERE NOT EXISTS "
									"(SELECT FROM vdb.pipeline p WHERE p.id = q.pipeline)", 0, NULL, NULL, NULL);
	(void) vdb_ingest_run_as_keeper("DELETE FROM vdb.ingest_dead d WHERE NOT EXISTS "
									"(SELECT FROM vdb.pipeline p WHERE p.id = d.pipeline)", 0, NULL, NULL, NULL);
}

/* May there be any: is one that was watched no more, or was nobody here to see that? */
static bool
is_one_gone(const Capture *capture, const List *identifiers)
{
	ListCell   *cell;

	foreach(cell, capture->watches)
	{
		const VdbWatch *watch = lfirst(cell);

		if (!list_member_int(identifiers, watch->pipeline->id))
			return true;
	}
	return capture->memory == NULL;
}

/* Looks up pipelines; false if there are none. */
static bool
look_up(Capture *capture)
{
	MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "vdb ingest pipelines", ALLOCSET_DEFAULT_SIZES);
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(VdbWatchedTable), .hcxt = memory};
	List	   *pipelines = NIL;
	List	   *watches = NIL;
	List	   *identifiers = NIL;
	ListCell   *cell;
	HTAB	   *tables;
	bool		begins = false;
	bool		installed;
	int			embedders = 0;

	outdated = false;
	begin();
	installed = vdb_ingest_is_installed();
	MemoryContextSwitchTo(memory);
	tables = hash_create("vdb ingest tables", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (installed)
	{
		pipelines = vdb_ingest_list_pipelines();
		add_interest(tables, vdb_ingest_pipeline_table(), NULL);
	}
	foreach(cell, pipelines)
	{
		VdbPipeline *pipeline = lfirst(cell);
		VdbWatch   *watch = palloc0(sizeof(VdbWatch));

		watch->pipeline = pipeline;
		if (pipeline->state != VDB_STATE_ERROR)
			resolve_or_refuse(watch);
		watch->active = watch->types != NULL && is_active(pipeline);
		watch->enqueued = true;
		watches = lappend(watches, watch);
		identifiers = lappend_int(identifiers, pipeline->id);
		add_interest(tables, pipeline->source, watch);
		add_interest(tables, pipeline->target, NULL);
		if (watch->active && pipeline->mode == VDB_MODE_FUNCTION)
			embedders = vdb_ingest_workers;
		watch->load_from = known_load_from(capture->watches, pipeline);
		begins = begins || (is_at_beginning(pipeline) && watch->load_from == InvalidXLogRecPtr);
	}

	/* who has some of them locked is not waited for long: they are tried again when a process begins */
	if (installed && is_one_gone(capture, identifiers))
		(void) vdb_ingest_attempt(clear_dropped, NULL);

	/* without, there is no commit record */
	if (begins)
		(void) GetCurrentTransactionId();
	end();
	foreach(cell, begins ? watches : NIL)
	{
		VdbWatch   *watch = lfirst(cell);

		if (is_at_beginning(watch->pipeline) && watch->load_from == InvalidXLogRecPtr)
			watch->load_from = XactLastCommitEnd;
	}
	vdb_decode_watch(tables);
	of_interest = tables;
	if (capture->memory != NULL)
		MemoryContextDelete(capture->memory);
	capture->memory = memory;
	capture->watches = watches;
	capture->tables = tables;
	vdb_ingest_forget_counters(identifiers);
	if (capture->progress.embedders != embedders)
	{
		capture->progress.embedders = embedders;
		capture->depth_at = 0;
	}
	MemoryContextSwitchTo(TopMemoryContext);
	return pipelines != NIL;
}

/* --- turns -------------------------------------------------------------------------- */

static void
report(Capture *capture)
{
	capture->progress.pid = MyProcPid;
	capture->progress.captured = vdb_decode_position();
	capture->progress.confirmed = vdb_decode_confirmed();
	if (!vdb_ingest_report(&capture->progress))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have pipelines")));
}

/* Waits until a snapshot sees all that has been decoded, so long (ms) at most, or, with 0, as long as it takes; does it? */
static bool
await_visible(int most)
{
	TimestampTz began = GetCurrentTimestamp();

	while (!vdb_decode_all_visible())
	{
		if (most > 0 && TimestampDifferenceExceeds(began, GetCurrentTimestamp(), most))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, VISIBLE_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		vdb_ingest_take_interrupts();
	}
	return true;
}

static void
apply(Capture *capture)
{
	VdbBatch   *batch = &capture->batch;
	bool		embed;

	(void) await_visible(0);
	VDB_TESTPOINT("ingest-before-apply");
	begin();
	vdb_ingest_apply(batch, capture->watches, &embed);
	replorigin_session_origin_lsn = batch->end;
	replorigin_session_origin_timestamp = batch->ended_at;

	/* what is confirmed must be in a commit record, though nothing else may have been written */
	(void) GetCurrentTransactionId();
	end();
	VDB_TESTPOINT("ingest-applied");
	if (embed)
		vdb_ingest_wake_embedders();
	vdb_decode_confirm(batch->end);
	vdb_batch_clear(batch);
}

/* Goes through a page of the next pipeline that has something to be gone through; false if none has. */
static bool
load(Capture *capture)
{
	int			count = list_length(capture->watches);

	for (int i = 0; i < count; i++)
	{
		VdbWatch   *watch = list_nth(capture->watches, (capture->next_load + i) % count);
		bool		embed;
		bool		loaded;

		if (!watch->active || watch->pipeline->state != VDB_STATE_RUNNING || watch->pipeline->load == VDB_LOAD_NONE)
			continue;
		if (is_at_beginning(watch->pipeline) && vdb_decode_position() < watch->load_from)
			continue;
		(void) await_visible(0);
		begin();
		loaded = vdb_ingest_load_page(watch, &embed);

		/* what was read before must not come again, over what was loaded after it */
		replorigin_session_origin_lsn = vdb_decode_position();
		end();
		if (embed)
			vdb_ingest_wake_embedders();
		if (loaded)
		{
			capture->next_load = (capture->next_load + i + 1) % count;
			return true;
		}
	}
	return false;
}

/* Does more wait in a pipeline's queue than may?  Does little enough again? */
static void
weigh(VdbWatch *watch, TimestampTz now)
{
	VdbPipeline *pipeline = watch->pipeline;

	if (watch->types == NULL)
		return;
	if (pipeline->state == VDB_STATE_OVERFLOW)
	{
		const VdbPipeline *current = vdb_ingest_find_pipeline_by_id(pipeline->id, VDB_LOCK_STATE);

		if (current != NULL && current->state == VDB_STATE_OVERFLOW && current->wait_until <= now &&
			vdb_ingest_depth(pipeline->id, false, pipeline->queue_limit / 2) <= pipeline->queue_limit / 2)
			vdb_ingest_set_state(pipeline->id, VDB_STATE_RUNNING, NULL);
	}
	else if (watch->active && watch->enqueued && pipeline->mode != VDB_MODE_COPY)
	{
		watch->enqueued = false;
		if (vdb_ingest_depth(pipeline->id, false, pipeline->queue_limit) > pipeline->queue_limit)
		{
			watch->active = false;
			vdb_ingest_set_overflow(pipeline->id, psprintf("more than " INT64_FORMAT " rows waited", pipeline->queue_limit), 0);
		}
	}
}

static void
weigh_all(Capture *capture)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	if (!TimestampDifferenceExceeds(capture->depth_at, now, DEPTH_MS))
		return;
	capture->depth_at = now;
	begin();
	foreach(cell, capture->watches)
		weigh(lfirst(cell), now);
	end();
	if (capture->progress.embedders > 0)
		vdb_ingest_ask_embedders();
}

/* How far reading may be behind what is written, in bytes. */
static uint64
most_behind(void)
{
	const char *keep = GetConfigOption("max_slot_wal_keep_size", false, false);

	if (vdb_ingest_max_wal >= 0)
		return (uint64) vdb_ingest_max_wal * 1024 * 1024;
	return strcmp(keep, "-1") == 0 ? UINT64CONST(1) << 30 : (uint64) max_slot_wal_keep_size_mb * 1024 * 1024 / 2;
}

/* Marks all sources, as nothing is known of what a slot that is not there has missed. */
static void
mark_sources(void)
{
	ListCell   *cell;

	begin();
	foreach(cell, vdb_ingest_list_pipelines())
		vdb_ingest_set_load(((VdbPipeline *) lfirst(cell))->id, VDB_LOAD_SOURCE, NULL);
	end();
}

/* Who embedded when the server stopped, or was killed, does so no more. */
static void
release_leases(void)
{
	if (vdb_ingest_has_begun())
		return;
	begin();
	SPI_connect();
	vdb_ingest_release_leases();
	SPI_finish();
	end();
	vdb_ingest_note_begun();
}

/* Begins anew at the end of the log. */
static void
leap(Capture *capture, const char *why)
{
	ereport(LOG,
			(errmsg("reading the write-ahead log for pipelines %s, so all sources are gone through", why)));
	mark_sources();
	vdb_batch_clear(&capture->batch);
	vdb_decode_drop();
	vdb_decode_open(true);
	outdated = true;
}

/* Confirms what was decoded and concerned nobody, if that is due. */
static void
confirm(Capture *capture)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(capture->confirmed_at, now, CONFIRM_MS) ||
		vdb_decode_confirmed() >= vdb_decode_position())
		return;

	/* which transactions are not visible yet would not be known to a process that begins after them */
	capture->confirmed_at = now;
	if (await_visible(CONFIRM_WAIT_MS))
		vdb_decode_confirm(vdb_decode_position());
}

/* There is no more log for now. */
static void
idle(Capture *capture)
{
	report(capture);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, vdb_ingest_nap, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* A callback at the process's end. */
static void
leave(int code, Datum arg)
{
	VdbCaptureProgress nobody = {0};

	(void) vdb_ingest_report(&nobody);
}

static void
take_turns(Capture *capture)
{
	while (vdb_ingest)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz before;
		bool		all;
		bool		loaded;

		vdb_ingest_take_interrupts();
		AcceptInvalidationMessages();
		if (outdated && !look_up(capture))
			break;
		report(capture);
		weigh_all(capture);
		if (GetFlushRecPtr(NULL) - vdb_decode_position() > most_behind())
		{
			leap(capture, "is too far behind");
			continue;
		}
		change_times(true);
		all = vdb_decode_more(&capture->batch, BATCH_CHANGES, TimestampTzPlusMilliseconds(now, BATCH_MS));
		before = all ? now : capture->batch.ended_at;
		if (capture->batch.count > 0)
			apply(capture);
		capture->progress.caught_up_at = Max(before, capture->progress.caught_up_at);
		loaded = load(capture);
		confirm(capture);
		if (all && !loaded)
			idle(capture);
	}
}

bool
vdb_ingest_capture(void)
{
	Capture		capture = {0};
	bool		any;

	CacheRegisterRelcacheCallback(note_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, note_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, note_role_change, (Datum) 0);
	pgstat_report_activity(STATE_RUNNING, "vdb ingest: reads the write-ahead log");
	any = look_up(&capture);
	if (any)
	{
		bool		has_slot = vdb_decode_has_slot();

		if (!has_slot)
			mark_sources();
		before_shmem_exit(leave, (Datum) 0);
		release_leases();
		vdb_batch_init(&capture.batch);

		/* one that is lost only now is seen when it is read, and this process begins anew */
		vdb_decode_open(!has_slot);
		outdated = true;
		if (vdb_ingest_note_start(vdb_decode_confirmed()) >= MOST_STARTS)
			leap(&capture, "does not get on");
		take_turns(&capture);
	}
	if (vdb_ingest)
		vdb_decode_drop();
	pgstat_report_activity(STATE_IDLE, NULL);
	return any;
}
