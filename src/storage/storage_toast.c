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

static void
open_values(VdbToast *toast, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(toast->context);
	int			valid;

	toast->rel = table_open(relid, AccessShareLock);
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
		bool		isnull;
		int32		seq = DatumGetInt32(slot_getattr(toast->slot, CHUNK_SEQ, &isnull));
		Size		length;
		const char *chunk = chunk_bytes(toast->slot, &length);

		sound = !isnull && seq == expected++ && chunk != NULL &&
			length == Min(size - done, TOAST_MAX_CHUNK_SIZE);
		if (sound)
		{
			memcpy(bytes + done, chunk, length);
			done += length;
		}
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
	if (!read_chunks(toast, &pointer, VARDATA(toast->value), size))
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
