/*
 * storage_toast.c
 *	  Values that are stored out of line, read one after the other.
 *
 * Only what the server stores in a heap, and does not compress, is read here: as it
 * does, by the same snapshot.  Whatever else a value is, and whatever is not as it
 * should be, is left to the server, which then says what is wrong.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_internals.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "storage/storage_hints.h"
#include "storage/storage_toast.h"

/* Columns of a table of values. */
enum
{
	CHUNK_ID = 1,
	CHUNK_SEQ,
	CHUNK_DATA
};

/*
 * Where a value began when it was read last.  To find that takes longer than to read it.
 * What is found there says itself whether it is the value: a place may have become another's, and
 * a value may have gone to another place.
 */
typedef struct PlaceHint
{
	Oid			rel;			/* table of values; InvalidOid: of none */
	Oid			value;
	ItemPointerData tid;
} PlaceHint;

/* A power of two.  A value's hint takes the place of another one's. */
#define PLACE_HINTS 65536

static PlaceHint *place_hints;

/* Memory of a chunk of the usual size. */
#define CHUNK_ROOM MAXALIGN(TOAST_MAX_CHUNK_SIZE + 36)

static PlaceHint *
hint_of(Oid rel, Oid value)
{
	if (place_hints == NULL)
		place_hints = MemoryContextAllocZero(TopMemoryContext, PLACE_HINTS * sizeof(PlaceHint));
	return &place_hints[murmurhash32(value ^ murmurhash32(rel)) % PLACE_HINTS];
}

static void
open_values(VdbToast *toast, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(toast->context);
	int			valid;

	toast->rel = table_open(relid, AccessShareLock);
	toast->blocks = RelationGetNumberOfBlocks(toast->rel);
	valid = toast_open_indexes(toast->rel, AccessShareLock, &toast->indexes, &toast->index_count);
	if (toast->rel->rd_tableam == GetHeapamTableAmRoutine())
	{
		toast->slot = table_slot_create(toast->rel, NULL);
		toast->scan = vdb_index_beginscan(toast->rel, toast->indexes[valid],
										  vdb_toast_snapshot(&toast->snapshot), 1, 0);
	}
	MemoryContextSwitchTo(old);
}

/* Lets go of the page of values that was read last. */
static void
release_page(VdbToast *toast)
{
	if (toast->locked)
		LockBuffer(toast->buffer, BUFFER_LOCK_UNLOCK);
	if (BufferIsValid(toast->buffer))
		ReleaseBuffer(toast->buffer);
	toast->locked = false;
	toast->buffer = InvalidBuffer;
}

/*
 * Is a block in the buffer next to that of the page before it?  Where pages were read or written one after the
 * other, it often is, and to see that takes less than to look into the table of buffers.
 */
static bool
is_in_next_buffer(VdbToast *toast, BlockNumber block)
{
	VdbLocator	locator = vdb_relation_locator(toast->rel);
	BufferTag	tag;

	if (toast->buffer <= 0 || toast->buffer >= NBuffers)
		return false;
	vdb_buffer_tag_init(&tag, &locator, MAIN_FORKNUM, block);
	return vdb_buffer_has(toast->buffer + 1, &tag);
}

/*
 * Asks for the page behind this one, and for what will be looked at first there: a page has its
 * rows from its end to its front.  Its buffer is found without the table of buffers then.
 */
static void
request_page(VdbToast *toast, BlockNumber block)
{
	toast->next_block = block;
	toast->next = InvalidBuffer;
	if (block >= toast->blocks)
		return;
	if (is_in_next_buffer(toast, block))
		toast->next = toast->buffer + 1;
	else
		toast->next = PrefetchBuffer(toast->rel, MAIN_FORKNUM, block).recent_buffer;
	if (!BufferIsValid(toast->next))
		return;
	vdb_prefetch(BufferGetBlock(toast->next), VDB_CACHE_LINE);
	vdb_prefetch((char *) BufferGetBlock(toast->next) + BLCKSZ - CHUNK_ROOM, CHUNK_ROOM);
}

/* Turns to a page of values, and locks it; false when there is none. */
static bool
lock_page(VdbToast *toast, BlockNumber block)
{
	if (block >= toast->blocks)
		return false;
	if (BufferIsValid(toast->buffer) && BufferGetBlockNumber(toast->buffer) != block)
		release_page(toast);
	if (!BufferIsValid(toast->buffer))
	{
		if (BufferIsValid(toast->next) && toast->next_block == block &&
			ReadRecentBuffer(vdb_relation_locator(toast->rel), MAIN_FORKNUM, block, toast->next))
			toast->buffer = toast->next;
		else
			toast->buffer = ReadBuffer(toast->rel, block);
		if (toast->in_order)
			request_page(toast, block + 1);
	}
	if (!toast->locked)
		LockBuffer(toast->buffer, BUFFER_LOCK_SHARE);
	toast->locked = true;
	return true;
}

/* Ends the reading of one value. */
static void
end_value(VdbToast *toast)
{
	if (!toast->in_order)
		release_page(toast);
	else if (toast->locked)
	{
		LockBuffer(toast->buffer, BUFFER_LOCK_UNLOCK);
		toast->locked = false;
	}
}

/*
 * Takes a chunk, of the value's bytes those behind the first *done; false when it is not what it
 * should be.
 */
static bool
take_chunk(VdbToast *toast, HeapTuple tuple, int32 expected, char *bytes, Size size, Size *done)
{
	TupleDesc	desc = RelationGetDescr(toast->rel);
	bool		no_seq;
	bool		no_data;
	int32		seq = DatumGetInt32(heap_getattr(tuple, CHUNK_SEQ, desc, &no_seq));
	Pointer		chunk = DatumGetPointer(heap_getattr(tuple, CHUNK_DATA, desc, &no_data));

	if (no_seq || no_data || seq != expected || VARATT_IS_EXTERNAL(chunk) || VARATT_IS_COMPRESSED(chunk) ||
		VARSIZE_ANY_EXHDR(chunk) != Min(size - *done, TOAST_MAX_CHUNK_SIZE))
		return false;
	/* the next chunk is before this one in memory, unless none is wanted */
	if (toast->in_order || size - *done > TOAST_MAX_CHUNK_SIZE)
		vdb_prefetch((char *) tuple->t_data - CHUNK_ROOM, CHUNK_ROOM);
	memcpy(bytes + *done, VARDATA_ANY(chunk), VARSIZE_ANY_EXHDR(chunk));
	*done += VARSIZE_ANY_EXHDR(chunk);
	return true;
}

/*
 * The same of the chunk at a place, if one of that value is there, not deleted for all that it says
 * itself.  A snapshot of values sees what is deleted, too: it may be an older value's that had the same
 * number, and that no index leads to any more.
 */
static bool
take_chunk_at(VdbToast *toast, ItemPointerData tid, Oid value, int32 expected, char *bytes, Size size,
			  Size *done)
{
	OffsetNumber number = ItemPointerGetOffsetNumber(&tid);
	HeapTupleData tuple;
	Page		page;
	ItemId		item;
	bool		isnull;

	if (!lock_page(toast, ItemPointerGetBlockNumber(&tid)))
		return false;
	page = BufferGetPage(toast->buffer);
	if (PageIsNew(page) || number > PageGetMaxOffsetNumber(page))
		return false;
	item = PageGetItemId(page, number);
	if (!ItemIdIsNormal(item))
		return false;
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	tuple.t_len = ItemIdGetLength(item);
	tuple.t_self = tid;
	tuple.t_tableOid = RelationGetRelid(toast->rel);
	return (tuple.t_data->t_infomask & HEAP_XMAX_INVALID) != 0 &&
		DatumGetObjectId(heap_getattr(&tuple, CHUNK_ID, RelationGetDescr(toast->rel), &isnull)) == value &&
		!isnull &&
		HeapTupleSatisfiesVisibility(&tuple, vdb_toast_snapshot(&toast->snapshot), toast->buffer) &&
		take_chunk(toast, &tuple, expected, bytes, size, done);
}

/* The same of the chunk behind a place: on the same page, or the first one of the next. */
static bool
take_chunk_behind(VdbToast *toast, ItemPointer tid, Oid value, int32 expected, char *bytes, Size size,
				  Size *done)
{
	ItemPointerSetOffsetNumber(tid, OffsetNumberNext(ItemPointerGetOffsetNumber(tid)));
	if (take_chunk_at(toast, *tid, value, expected, bytes, size, done))
		return true;
	ItemPointerSet(tid, ItemPointerGetBlockNumber(tid) + 1, FirstOffsetNumber);
	return take_chunk_at(toast, *tid, value, expected, bytes, size, done);
}

/*
 * Reads a value's chunks from where they may be expected to be; false when they are not there.
 * The server writes one behind the other, and values behind each other in the order of their rows.
 */
static bool
read_expected(VdbToast *toast, const struct varatt_external *pointer, char *bytes, Size size)
{
	const PlaceHint *hint = hint_of(pointer->va_toastrelid, pointer->va_valueid);
	ItemPointerData tid = hint->tid;
	Size		done = 0;
	bool		sound;

	if (hint->rel == pointer->va_toastrelid && hint->value == pointer->va_valueid)
		sound = take_chunk_at(toast, tid, pointer->va_valueid, 0, bytes, size, &done);
	else if (toast->in_order && toast->has_last)
	{
		tid = toast->last;
		sound = take_chunk_behind(toast, &tid, pointer->va_valueid, 0, bytes, size, &done);
	}
	else
		return false;
	for (int32 expected = 1; sound && done < size; expected++)
		sound = take_chunk_behind(toast, &tid, pointer->va_valueid, expected, bytes, size, &done);
	end_value(toast);
	if (sound)
		toast->last = tid;
	return sound;
}

/* Reads a value's chunks; false when they are not what they should be. */
static bool
read_chunks(VdbToast *toast, const struct varatt_external *pointer, char *bytes, Size size)
{
	/* a scan of an index remembers what it allocates, until it ends */
	MemoryContext old = MemoryContextSwitchTo(toast->context);
	ScanKeyData key;
	int32		expected = 0;
	Size		done = 0;
	bool		sound = true;

	ScanKeyInit(&key, CHUNK_ID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(pointer->va_valueid));
	(void) vdb_toast_snapshot(&toast->snapshot);
	index_rescan(toast->scan, &key, 1, NULL, 0);
	while (sound && index_getnext_slot(toast->scan, ForwardScanDirection, toast->slot))
	{
		if (expected == 0)
			*hint_of(pointer->va_toastrelid, pointer->va_valueid) =
				(PlaceHint) {pointer->va_toastrelid, pointer->va_valueid, toast->slot->tts_tid};
		sound = take_chunk(toast, ((HeapTupleTableSlot *) toast->slot)->tuple, expected++, bytes, size, &done);
		toast->last = toast->slot->tts_tid;
		toast->has_last = true;
	}

	/* a scan that has come to its end has no pin */
	if (!sound)
		index_rescan(toast->scan, &key, 1, NULL, 0);
	ExecClearTuple(toast->slot);
	MemoryContextSwitchTo(old);
	return sound && done == size;
}

Datum
vdb_toast_read(VdbToast *toast, Datum value)
{
	struct varlena *attr = (struct varlena *) DatumGetPointer(value);
	struct varatt_external pointer;
	Size		size;

	if (!VARATT_IS_EXTERNAL_ONDISK(attr))
		return PointerGetDatum(PG_DETOAST_DATUM(value));
	VARATT_EXTERNAL_GET_POINTER(pointer, attr);
	if (VARATT_EXTERNAL_IS_COMPRESSED(pointer))
		return PointerGetDatum(PG_DETOAST_DATUM(value));
	if (toast->rel == NULL)
		open_values(toast, pointer.va_toastrelid);
	if (toast->scan == NULL || pointer.va_toastrelid != RelationGetRelid(toast->rel))
		return PointerGetDatum(PG_DETOAST_DATUM(value));

	size = VARATT_EXTERNAL_GET_EXTSIZE(pointer);
	if (toast->size < size + VARHDRSZ)
	{
		if (toast->value != NULL)
			pfree(toast->value);
		toast->value = NULL;
		toast->size = 0;
		toast->value = MemoryContextAlloc(toast->context, size + VARHDRSZ);
		toast->size = size + VARHDRSZ;
	}
	SET_VARSIZE(toast->value, size + VARHDRSZ);
	if (!read_expected(toast, &pointer, VARDATA(toast->value), size) &&
		!read_chunks(toast, &pointer, VARDATA(toast->value), size))
		return PointerGetDatum(PG_DETOAST_DATUM(value));
	return PointerGetDatum(toast->value);
}

void
vdb_toast_close(VdbToast *toast)
{
	if (toast->rel == NULL)
		return;
	release_page(toast);
	if (toast->scan != NULL)
	{
		index_endscan(toast->scan);
		ExecDropSingleTupleTableSlot(toast->slot);
	}
	toast_close_indexes(toast->indexes, toast->index_count, AccessShareLock);
	table_close(toast->rel, AccessShareLock);
	if (toast->value != NULL)
		pfree(toast->value);
	memset(toast, 0, sizeof(*toast));
}
