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
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
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

/* The bytes of a chunk; NULL when a chunk does not look like that. */
static const char *
chunk_bytes(TupleTableSlot *slot, Size *size)
{
	bool		isnull;
	Pointer		chunk = DatumGetPointer(slot_getattr(slot, CHUNK_DATA, &isnull));

	if (isnull || VARATT_IS_EXTERNAL(chunk) || VARATT_IS_COMPRESSED(chunk))
		return NULL;
	*size = VARSIZE_ANY_EXHDR(chunk);
	return VARDATA_ANY(chunk);
}

/*
 * Takes a chunk, of the value's bytes those behind the first *done; false when it is not what it
 * should be.
 */
static bool
take_chunk(TupleTableSlot *slot, int32 expected, char *bytes, Size size, Size *done)
{
	bool		isnull;
	int32		seq = DatumGetInt32(slot_getattr(slot, CHUNK_SEQ, &isnull));
	Size		length;
	const char *chunk = chunk_bytes(slot, &length);

	if (isnull || seq != expected || chunk == NULL || length != Min(size - *done, TOAST_MAX_CHUNK_SIZE))
		return false;
	memcpy(bytes + *done, chunk, length);
	*done += length;
	return true;
}

/*
 * Is the row in the slot, of a heap, not deleted, for all that it says itself?  A snapshot of values sees
 * what is deleted, too: it may be an older value's that had the same number, and that no
 * index leads to any more.
 */
static bool
is_kept(TupleTableSlot *slot)
{
	const HeapTupleTableSlot *row = (const HeapTupleTableSlot *) slot;

	return (row->tuple->t_data->t_infomask & HEAP_XMAX_INVALID) != 0;
}

/* The same of the chunk at a place, if one of that value is there. */
static bool
take_chunk_at(VdbToast *toast, ItemPointerData tid, Oid value, int32 expected, char *bytes, Size size,
			  Size *done)
{
	bool		isnull;

	return ItemPointerGetBlockNumber(&tid) < toast->blocks &&
		table_tuple_fetch_row_version(toast->rel, &tid, vdb_toast_snapshot(&toast->snapshot), toast->slot) &&
		is_kept(toast->slot) &&
		DatumGetObjectId(slot_getattr(toast->slot, CHUNK_ID, &isnull)) == value && !isnull &&
		take_chunk(toast->slot, expected, bytes, size, done);
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
	else if (toast->has_last)
	{
		tid = toast->last;
		sound = take_chunk_behind(toast, &tid, pointer->va_valueid, 0, bytes, size, &done);
	}
	else
		return false;
	for (int32 expected = 1; sound && done < size; expected++)
		sound = take_chunk_behind(toast, &tid, pointer->va_valueid, expected, bytes, size, &done);
	ExecClearTuple(toast->slot);
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
		sound = take_chunk(toast->slot, expected++, bytes, size, &done);
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
