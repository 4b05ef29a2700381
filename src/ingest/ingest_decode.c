/*
 * ingest_decode.c
 *	  Reads the write-ahead log through a slot of this database's, in this process.
 *
 * The server's logical decoding calls back for each change of a transaction that has been
 * committed, in a transaction that it rolls back: nothing may be written meanwhile, so changes are
 * collected.  Its callbacks are replaced by those of this file after the context has been made for the
 * output plugin, whose name slots of ours bear.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest/ingest_decode.h"
#include "testpoint.h"
#include "worker/worker_module.h"

/* The output plugin that slots of ours are for. */
#define PLUGIN "vdb"

/* Records after which the clock is looked at. */
#define RECORDS_A_LOOK 256

static LogicalDecodingContext *decoding;
static ResourceOwner owner;
static HTAB *watched;
static VdbBatch *current;

/* Transactions whose commits were decoded and that were not over then. */
static TransactionId *unseen;
static int	unseen_count;
static int	unseen_room;

/* --- batches ------------------------------------------------------------------- */

#define BATCH_COLUMNS 6

static void
make_store(VdbBatch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->memory);

	/* it outlives the transaction in which changes are put into it */
	batch->store = tuplestore_begin_heap(false, true, work_mem);
	MemoryContextSwitchTo(old);
}

void
vdb_batch_init(VdbBatch *batch)
{
	MemoryContext old;

	memset(batch, 0, sizeof(*batch));
	batch->memory = AllocSetContextCreate(TopMemoryContext, "vdb ingest batch", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(TopMemoryContext);
	batch->desc = CreateTemplateTupleDesc(BATCH_COLUMNS);
	TupleDescInitBuiltinEntry(batch->desc, 1, "pipeline", INT4OID, -1, 0);
	TupleDescInitBuiltinEntry(batch->desc, 2, "kind", INT4OID, -1, 0);
	TupleDescInitBuiltinEntry(batch->desc, 3, "key", TEXTOID, -1, 0);
	/* any type's bytes, which nobody looks at as a text */
	TupleDescInitBuiltinEntry(batch->desc, 4, "value", TEXTOID, -1, 0);
	TupleDescInitBuiltinEntry(batch->desc, 5, "lsn", INT8OID, -1, 0);
	TupleDescInitBuiltinEntry(batch->desc, 6, "at", INT8OID, -1, 0);
	batch->slot = MakeSingleTupleTableSlot(batch->desc, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
	make_store(batch);
}

void
vdb_batch_clear(VdbBatch *batch)
{
	ExecClearTuple(batch->slot);
	if (batch->count > 0)
	{
		tuplestore_end(batch->store);
		MemoryContextReset(batch->memory);
		make_store(batch);
	}
	batch->count = 0;
	batch->end = InvalidXLogRecPtr;
}

void
vdb_batch_rewind(VdbBatch *batch)
{
	tuplestore_rescan(batch->store);
}

bool
vdb_batch_next(VdbBatch *batch, VdbChange *change)
{
	Datum		values[BATCH_COLUMNS];
	bool		isnull;
	MemoryContext old = MemoryContextSwitchTo(batch->memory);
	bool		more = tuplestore_gettupleslot(batch->store, true, false, batch->slot);

	/* what was read from disc is the slot's, which frees it with the next one: so it is not the caller's memory */
	MemoryContextSwitchTo(old);
	if (!more)
		return false;
	for (int i = 0; i < BATCH_COLUMNS; i++)
	{
		values[i] = slot_getattr(batch->slot, i + 1, &isnull);
		if (isnull)
			values[i] = (Datum) 0;
	}
	change->pipeline = DatumGetInt32(values[0]);
	change->kind = (VdbChangeKind) DatumGetInt32(values[1]);
	change->key = values[2] == (Datum) 0 ? NULL : TextDatumGetCString(values[2]);
	change->value = (struct varlena *) DatumGetPointer(values[3]);
	change->lsn = (XLogRecPtr) DatumGetInt64(values[4]);
	change->at = (TimestampTz) DatumGetInt64(values[5]);
	return true;
}

static void
add_change(ReorderBufferTXN *txn, const VdbWatch *watch, VdbChangeKind kind, const char *key,
		   struct varlena *value)
{
	Datum		values[BATCH_COLUMNS];
	bool		isnull[BATCH_COLUMNS] = {0};

	values[0] = Int32GetDatum(watch->pipeline->id);
	values[1] = Int32GetDatum((int32) kind);
	isnull[2] = key == NULL;
	values[2] = isnull[2] ? (Datum) 0 : CStringGetTextDatum(key);
	isnull[3] = value == NULL;
	values[3] = PointerGetDatum(value);
	values[4] = Int64GetDatum((int64) txn->final_lsn);
	values[5] = Int64GetDatum(vdb_reorder_commit_time(txn));
	tuplestore_putvalues(current->store, current->desc, values, isnull);
	current->count++;
}

/* --- callbacks ----------------------------------------------------------------- */

static bool
is_column(TupleDesc desc, AttrNumber number, const char *name)
{
	Form_pg_attribute column;

	if (number <= 0 || number > desc->natts)
		return false;
	column = TupleDescAttr(desc, number - 1);
	return !column->attisdropped && strcmp(NameStr(column->attname), name) == 0;
}

static AttrNumber
find_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (is_column(desc, i + 1, name))
			return i + 1;
	}
	return 0;
}

/*
 * Finds a watch's columns in the table as it was then; false if there are none.  They may be others from one
 * change to the next, of one transaction too, and a description that was remembered may be gone, and another one be
 * where it was: so they are looked at each time.
 */
static bool
find_columns(Relation rel, VdbWatch *watch)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (!is_column(desc, watch->content, watch->pipeline->content))
		watch->content = find_column(desc, watch->pipeline->content);
	if (!is_column(desc, watch->key, watch->pipeline->key))
		watch->key = find_column(desc, watch->pipeline->key);
	if (watch->key > 0 && watch->key_type != TupleDescAttr(desc, watch->key - 1)->atttypid)
	{
		bool		varlena;

		watch->key_type = TupleDescAttr(desc, watch->key - 1)->atttypid;
		getTypeOutputInfo(watch->key_type, &watch->key_output, &varlena);
	}
	return watch->key > 0 && watch->content > 0;
}

/* A row's key as a text, or NULL. */
static char *
form_key(HeapTuple tuple, TupleDesc desc, const VdbWatch *watch)
{
	bool		isnull;
	Datum		key = heap_getattr(tuple, watch->key, desc, &isnull);

	return isnull ? NULL : OidOutputFunctionCall(watch->key_output, key);
}

/* Is a column's value one of which an UPDATE says nothing, since it is out of line and as before? */
static bool
is_untouched(HeapTuple tuple, TupleDesc desc, AttrNumber column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return !isnull && TupleDescAttr(desc, column - 1)->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

/* What is wrong with a pipeline whose source does not log the keys that rows had. */
#define NO_KEY "deleted rows cannot be identified: the replica identity of the source does not have the key"

/* A row that is there now, of a pipeline that copies. */
static void
put_row(ReorderBufferTXN *txn, HeapTuple tuple, TupleDesc desc, const VdbWatch *watch, const char *key)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, watch->content, desc, &isnull);
	Oid			type = TupleDescAttr(desc, watch->content - 1)->atttypid;

	if (watch->types->content_type != type)
		add_change(txn, watch, VDB_CHANGE_LOOK, key, NULL);
	else
		add_change(txn, watch, VDB_CHANGE_PUT, key, isnull ? NULL : PG_DETOAST_DATUM(value));
}

static void
add_row(ReorderBufferTXN *txn, HeapTuple old, HeapTuple new, TupleDesc desc, const VdbWatch *watch)
{
	char	   *old_key = old == NULL ? NULL : form_key(old, desc, watch);

	/* a key that is out of line is always in the old row, and what the new one points at may have been removed */
	char	   *key = new == NULL ? NULL :
		is_untouched(new, desc, watch->key) ? old_key : form_key(new, desc, watch);
	bool		copies = watch->pipeline->mode == VDB_MODE_COPY;
	bool		moved = old_key != NULL && (key == NULL || strcmp(old_key, key) != 0);
	bool		untouched = new != NULL && is_untouched(new, desc, watch->content);

	if (old_key == NULL && key == NULL)
		add_change(txn, watch, VDB_CHANGE_BROKEN, NO_KEY, NULL);
	if (moved)
		add_change(txn, watch, copies ? VDB_CHANGE_DELETE : VDB_CHANGE_LOOK, old_key, NULL);
	if (key == NULL || (untouched && !moved))
		return;
	if (copies && !untouched)
		put_row(txn, new, desc, watch, key);
	else
		add_change(txn, watch, VDB_CHANGE_LOOK, key, NULL);
}

/* Would the log say which key a row had that now has another one? */
static bool
tells_old_key(Relation rel, const VdbWatch *watch)
{
	return rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ||
		bms_is_member(watch->key - FirstLowInvalidHeapAttributeNumber, RelationGetIdentityKeyBitmap(rel));
}

static List *
watches_of(Oid table)
{
	VdbWatchedTable *found = watched == NULL ? NULL : hash_search(watched, &table, HASH_FIND, NULL);

	return found == NULL ? NIL : found->watches;
}

/*
 * Is it what this process has written itself, of a pipeline that copies onto its own source?  In others, what a trigger of
 * a target writes is a change like any other, and what they write themselves is not of this process.
 */
static bool
is_own(const ReorderBufferTXN *txn, const VdbWatch *watch)
{
	return watch->pipeline->mode == VDB_MODE_COPY && watch->types->same_table &&
		txn->origin_id == replorigin_session_origin;
}

static void
collect_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel, ReorderBufferChange *change)
{
	static MemoryContext scratch = NULL;
	TupleDesc	desc = RelationGetDescr(rel);
	MemoryContext old;
	ListCell   *cell;

	if (watches_of(RelationGetRelid(rel)) == NIL)
		return;
	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext, "vdb ingest change", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	foreach(cell, watches_of(RelationGetRelid(rel)))
	{
		VdbWatch   *watch = lfirst(cell);

		if (!watch->active || is_own(txn, watch))
			continue;
		if (!find_columns(rel, watch))
			add_change(txn, watch, VDB_CHANGE_BROKEN,
					   psprintf("table %s has no column \"%s\"", watch->types->source,
								watch->key > 0 ? watch->pipeline->content : watch->pipeline->key), NULL);
		else if (change->action == REORDER_BUFFER_CHANGE_UPDATE && change->data.tp.oldtuple == NULL &&
				 !tells_old_key(rel, watch))
			add_change(txn, watch, VDB_CHANGE_BROKEN, NO_KEY, NULL);
		else
			add_row(txn, vdb_change_tuple(change->data.tp.oldtuple), vdb_change_tuple(change->data.tp.newtuple),
					desc, watch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
}

static void
collect_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int count, Relation rels[],
				 ReorderBufferChange *change)
{
	for (int i = 0; i < count; i++)
	{
		ListCell   *cell;

		foreach(cell, watches_of(RelationGetRelid(rels[i])))
		{
			VdbWatch   *watch = lfirst(cell);

			if (watch->active)
				add_change(txn, watch, VDB_CHANGE_TRUNCATE, NULL, NULL);
		}
	}
}

static void
begin_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
}

static void
note_unseen(TransactionId xid)
{
	if (unseen_count == unseen_room)
	{
		unseen_room = Max(64, unseen_room * 2);
		unseen = unseen == NULL ?
			MemoryContextAlloc(TopMemoryContext, unseen_room * sizeof(TransactionId)) :
			repalloc(unseen, unseen_room * sizeof(TransactionId));
	}
	unseen[unseen_count++] = xid;
}

static void
end_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit)
{
	if (TransactionIdIsInProgress(txn->xid))
		note_unseen(txn->xid);
	current->ended_at = vdb_reorder_commit_time(txn);
	if (current->count > 0)
		current->end = txn->end_lsn;
}

bool
vdb_decode_all_visible(void)
{
	int			left = 0;

	for (int i = 0; i < unseen_count; i++)
	{
		if (TransactionIdIsInProgress(unseen[i]))
			unseen[left++] = unseen[i];
	}
	unseen_count = left;
	return left == 0;
}

/* --- slot and origin ------------------------------------------------------------ */

void
vdb_ingest_name_slot(Oid database, char name[NAMEDATALEN])
{
	snprintf(name, NAMEDATALEN, "vdb_ingest_%u", database);
}

/* Reads a page of the log, if it is there; never waits. */
static int
read_page(XLogReaderState *state, XLogRecPtr page, int wanted, XLogRecPtr record, char *buffer)
{
	TimeLineID	timeline;
	XLogRecPtr	flushed = GetFlushRecPtr(&timeline);
	WALReadError error;
	int			count = XLOG_BLCKSZ;

	if (page + wanted > flushed)
		return -1;
	if (page + XLOG_BLCKSZ > flushed)
		count = flushed - page;
	if (!WALRead(state, buffer, page, count, timeline, &error))
		WALReadRaiseError(&error);
	return count;
}

/*
 * Transactions that were running when the slot was made: those that had written their commit
 * record before are not decoded, and may not be visible yet.
 */
static void
note_running(void)
{
	TransactionId xid;
	TransactionId next;

	vdb_worker_begin_transaction();

	/* a snapshot does not list those that are later than all that are over */
	xid = GetTransactionSnapshot()->xmin;
	next = ReadNextTransactionId();
	while (xid != next)
	{
		if (TransactionIdIsInProgress(xid))
			note_unseen(xid);
		TransactionIdAdvance(xid);
	}
	CommitTransactionCommand();
}

static void
create_slot(const char *name)
{
	LogicalDecodingContext *initial;

	vdb_worker_begin_transaction();

	/* transactions that are running are waited for, however long they are; given back with the transaction */
	(void) set_config_option("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);

	/* it is gone if this fails */
	vdb_slot_create(name, RS_EPHEMERAL);
	initial = CreateInitDecodingContext(PLUGIN, NIL, false, InvalidXLogRecPtr,
										XL_ROUTINE(.page_read = read_local_xlog_page,
												   .segment_open = wal_segment_open,
												   .segment_close = wal_segment_close),
										NULL, NULL, NULL);
	DecodingContextFindStartpoint(initial);
	FreeDecodingContext(initial);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	CommitTransactionCommand();
	VDB_TESTPOINT("ingest-slot-created");
}

/* Takes up the origin, and returns how far it is. */
static XLogRecPtr
set_up_origin(const char *name)
{
	RepOriginId origin;

	if (replorigin_session_origin == InvalidRepOriginId)
	{
		vdb_worker_begin_transaction();
		origin = replorigin_by_name(name, true);
		if (origin == InvalidRepOriginId)
			origin = replorigin_create(name);
		CommitTransactionCommand();
		vdb_origin_session_setup(origin);
		replorigin_session_origin = origin;
	}
	return replorigin_session_get_progress(false);
}

/*
 * The context is made in a transaction, as the catalog is asked whether the plugin may be used.  Made outside one
 * it would also say that this process needs no rows to be kept for its snapshots, and it has some of its own.
 */
static void
begin_decoding(const char *name)
{
	XLogRecPtr	start = set_up_origin(name);

	vdb_worker_begin_transaction();
	MemoryContextSwitchTo(TopMemoryContext);
	decoding = CreateDecodingContext(start, NIL, false,
									 XL_ROUTINE(.page_read = read_page,
												.segment_open = wal_segment_open,
												.segment_close = wal_segment_close),
									 NULL, NULL, NULL);
	CommitTransactionCommand();
	decoding->callbacks = (OutputPluginCallbacks) {
		.begin_cb = begin_transaction,
		.change_cb = collect_change,
		.truncate_cb = collect_truncate,
		.commit_cb = end_transaction,
	};
	decoding->streaming = false;
	decoding->twophase = false;
	XLogBeginRead(decoding->reader, MyReplicationSlot->data.restart_lsn);
}

/* This database's slot, or NULL. */
static ReplicationSlot *
find_slot(const char *name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (slot != NULL && slot->data.database != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" is of another database", name),
				 errhint("Drop it with pg_drop_replication_slot().")));
	return slot;
}

bool
vdb_decode_has_slot(void)
{
	char		name[NAMEDATALEN];
	ReplicationSlot *slot;

	vdb_ingest_name_slot(MyDatabaseId, name);
	slot = find_slot(name);
	return slot != NULL && !vdb_slot_is_lost(slot);
}

void
vdb_decode_open(bool create)
{
	char		name[NAMEDATALEN];

	CheckLogicalDecodingRequirements();
	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "vdb ingest");
	CurrentResourceOwner = owner;
	vdb_ingest_name_slot(MyDatabaseId, name);
	if (create)
	{
		if (find_slot(name) != NULL)
			ReplicationSlotDrop(name, true);
		create_slot(name);
		note_running();
	}
	CurrentResourceOwner = owner;
	vdb_slot_acquire(name);
	begin_decoding(name);
}

static void
close_slot(void)
{
	if (decoding == NULL)
		return;
	CurrentResourceOwner = owner;
	FreeDecodingContext(decoding);
	decoding = NULL;
	ReplicationSlotRelease();
}

void
vdb_decode_drop(void)
{
	char		name[NAMEDATALEN];

	close_slot();
	vdb_ingest_name_slot(MyDatabaseId, name);
	if (find_slot(name) != NULL)
		ReplicationSlotDrop(name, true);
	if (replorigin_session_origin != InvalidRepOriginId)
	{
		replorigin_session_reset();
		replorigin_session_origin = InvalidRepOriginId;
		replorigin_session_origin_lsn = InvalidXLogRecPtr;
	}
	vdb_worker_begin_transaction();
	replorigin_drop_by_name(name, true, true);
	CommitTransactionCommand();
}

/* --- reading ------------------------------------------------------------------- */

void
vdb_decode_watch(HTAB *tables)
{
	watched = tables;
}

bool
vdb_decode_more(VdbBatch *batch, int64 most, TimestampTz until)
{
	bool		all = false;

	current = batch;
	for (int i = 1; batch->count < most; i++)
	{
		char	   *error = NULL;
		XLogRecord *record;

		CHECK_FOR_INTERRUPTS();
		CurrentResourceOwner = owner;
		record = XLogReadRecord(decoding->reader, &error);
		if (error != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the write-ahead log could not be read: %s", error)));
		all = record == NULL;
		if (all)
			break;
		LogicalDecodingProcessRecord(decoding, decoding->reader);
		if (i % RECORDS_A_LOOK == 0 && GetCurrentTimestamp() >= until)
			break;
	}
	CurrentResourceOwner = owner;
	return all;
}

XLogRecPtr
vdb_decode_position(void)
{
	return decoding->reader->EndRecPtr;
}

void
vdb_decode_confirm(XLogRecPtr lsn)
{
	LogicalConfirmReceivedLocation(lsn);
}

XLogRecPtr
vdb_decode_confirmed(void)
{
	return MyReplicationSlot->data.confirmed_flush;
}
