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

#include "index/index_exact.h"

static void
begin_fetch(VdbExact *exact, IndexScanDesc scan)
{
	MemoryContext old = MemoryContextSwitchTo(exact->memory);

	exact->toast.context = CurrentMemoryContext;
	exact->slot = table_slot_create(scan->heapRelation, NULL);
	exact->context = AllocSetContextCreate(CurrentMemoryContext, "vdb exact distance",
										   ALLOCSET_DEFAULT_SIZES);
	if (scan->indexRelation->rd_index->indkey.values[0] == 0)
	{
		exact->info = BuildIndexInfo(scan->indexRelation);
		exact->estate = CreateExecutorState();
		GetPerTupleExprContext(exact->estate)->ecxt_scantuple = exact->slot;
	}
	exact->fetch = table_index_fetch_begin(scan->heapRelation);
	MemoryContextSwitchTo(old);
}

/* The indexed value of the row in the slot. */
static Datum
read_indexed(VdbExact *exact, IndexScanDesc scan, bool *isnull)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnulls[INDEX_MAX_KEYS];

	if (exact->info == NULL)
		return slot_getattr(exact->slot, scan->indexRelation->rd_index->indkey.values[0], isnull);
	FormIndexDatum(exact->info, exact->slot, exact->estate, values, isnulls);
	*isnull = isnulls[0];
	return values[0];
}

bool
vdb_exact_measure(VdbExact *exact, IndexScanDesc scan, ItemPointerData tid,
				  const VdbSupport *support, uint32 dims, Datum question, double *distance)
{
	bool		call_again = false;
	bool		all_dead = false;
	bool		isnull;
	Datum		value;
	MemoryContext old;

	if (exact->fetch == NULL)
		begin_fetch(exact, scan);
	if (!table_index_fetch_tuple(exact->fetch, &tid, scan->xs_snapshot, exact->slot,
								 &call_again, &all_dead))
		return false;
	old = MemoryContextSwitchTo(exact->context);
	value = read_indexed(exact, scan, &isnull);
	if (!isnull)
	{
		value = vdb_toast_read(&exact->toast, value);
		if (support->dims(value) != dims)
			isnull = true;
		else if (question == 0)
			*distance = get_float8_infinity();
		else
			*distance = support->distance(value, question);
	}
	MemoryContextSwitchTo(old);
	if (exact->estate != NULL)
		ResetPerTupleExprContext(exact->estate);
	MemoryContextReset(exact->context);
	ExecClearTuple(exact->slot);
	if (!isnull && isnan(*distance))
		*distance = get_float8_infinity();
	return !isnull;
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
