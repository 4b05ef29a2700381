/*
 * index_exact.c
 *	  Rows, fetched to be measured.
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index/index_exact.h"

static void
begin_fetch(VdbExact *exact, Relation heap, Relation index)
{
	MemoryContext old = MemoryContextSwitchTo(exact->memory);

	exact->toast.context = CurrentMemoryContext;
	exact->slot = table_slot_create(heap, NULL);
	exact->context = AllocSetContextCreate(CurrentMemoryContext, "vdb exact distance",
										   ALLOCSET_DEFAULT_SIZES);
	if (index->rd_index->indkey.values[0] == 0)
	{
		exact->info = BuildIndexInfo(index);
		exact->estate = CreateExecutorState();
		GetPerTupleExprContext(exact->estate)->ecxt_scantuple = exact->slot;
	}
	exact->fetch = table_index_fetch_begin(heap);
	MemoryContextSwitchTo(old);
}

/* The indexed value of the row in the slot. */
static Datum
read_indexed(VdbExact *exact, Relation index, bool *isnull)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnulls[INDEX_MAX_KEYS];

	if (exact->info == NULL)
		return slot_getattr(exact->slot, index->rd_index->indkey.values[0], isnull);
	FormIndexDatum(exact->info, exact->slot, exact->estate, values, isnulls);
	*isnull = isnulls[0];
	return values[0];
}

/*
 * Fetches a row's version that a snapshot sees into the slot: of several, as snapshots of
 * other kinds than MVCC see, the last.  An index that was made over a chain of versions with
 * different values has the last one's.
 */
static bool
fetch_version(VdbExact *exact, Relation heap, Snapshot snapshot, ItemPointerData tid)
{
	bool		call_again = false;
	bool		all_dead = false;
	ItemPointerData last;

	if (!table_index_fetch_tuple(exact->fetch, &tid, snapshot, exact->slot, &call_again, &all_dead))
		return false;
	if (!call_again)
		return true;
	do
		last = exact->slot->tts_tid;
	while (call_again &&
		   table_index_fetch_tuple(exact->fetch, &tid, snapshot, exact->slot, &call_again, &all_dead));

	/* what was tried last may have left half of itself there */
	ExecClearTuple(exact->slot);
	return table_tuple_fetch_row_version(heap, &last, SnapshotAny, exact->slot);
}

bool
vdb_exact_fetch(VdbExact *exact, Relation heap, Relation index, Snapshot snapshot,
				ItemPointerData tid, Datum *value)
{
	bool		isnull;
	MemoryContext old;

	if (exact->fetch == NULL)
		begin_fetch(exact, heap, index);
	if (!fetch_version(exact, heap, snapshot, tid))
		return false;
	old = MemoryContextSwitchTo(exact->context);
	*value = read_indexed(exact, index, &isnull);
	if (!isnull)
		*value = vdb_toast_read(&exact->toast, *value);
	MemoryContextSwitchTo(old);
	if (isnull)
		vdb_exact_release(exact);
	return !isnull;
}

void
vdb_exact_release(VdbExact *exact)
{
	if (exact->estate != NULL)
		ResetPerTupleExprContext(exact->estate);
	MemoryContextReset(exact->context);
	ExecClearTuple(exact->slot);
}

void
vdb_exact_rest(VdbExact *exact)
{
	if (exact->fetch != NULL)
		table_index_fetch_reset(exact->fetch);
}

void
vdb_exact_check_snapshot(IndexScanDesc scan)
{
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		elog(ERROR, "index \"%s\" supports no snapshots but MVCC's", RelationGetRelationName(scan->indexRelation));
	if (vdb_snapshot_is_too_old(scan->heapRelation, scan->xs_snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_SNAPSHOT_TOO_OLD),
				 errmsg("snapshot too old"),
				 errdetail("VACUUM may have taken rows that it sees out of index \"%s\", as \"old_snapshot_threshold\" is set.",
						   RelationGetRelationName(scan->indexRelation))));
}

bool
vdb_exact_measure(VdbExact *exact, IndexScanDesc scan, ItemPointerData tid,
				  const VdbSupport *support, uint32 dims, Datum question, double *distance)
{
	bool		measured = false;
	Datum		value;
	MemoryContext old;

	if (!vdb_exact_fetch(exact, scan->heapRelation, scan->indexRelation, scan->xs_snapshot, tid, &value))
		return false;
	old = MemoryContextSwitchTo(exact->context);
	if (support->dims(value) == dims)
	{
		*distance = question == 0 ? get_float8_infinity() : support->distance(value, question);
		if (isnan(*distance))
			*distance = get_float8_infinity();
		measured = true;
	}
	MemoryContextSwitchTo(old);
	vdb_exact_release(exact);
	return measured;
}

void
vdb_exact_reset(VdbExact *exact)
{
	if (exact->fetch != NULL)
		table_index_fetch_reset(exact->fetch);
}

void
vdb_exact_end(VdbExact *exact)
{
	if (exact->fetch == NULL)
		return;
	ExecDropSingleTupleTableSlot(exact->slot);
	table_index_fetch_end(exact->fetch);
	vdb_toast_close(&exact->toast);
	if (exact->estate != NULL)
		FreeExecutorState(exact->estate);
	MemoryContextDelete(exact->context);
}
