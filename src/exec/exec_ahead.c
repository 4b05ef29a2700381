/*
 * exec_ahead.c
 *	  Questions that are known ahead, answered together by one pass over a table's rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "exec/exec_ahead.h"

VdbAhead *
vdb_ahead_begin(const VdbSupport *support, const NullableDatum *questions, int count, int k)
{
	VdbAhead   *ahead = palloc0(sizeof(VdbAhead));
	uint32		dims = 0;
	int			taken = 0;

	if ((uint64) count * k > work_mem * (uint64) 1024 / sizeof(VdbNearRow))
		return NULL;
	ahead->places = palloc(count * sizeof(int));
	ahead->queries = palloc0(count * sizeof(VdbBatchQuery));
	for (int i = 0; i < count; i++)
	{
		VdbBatchQuery *query = &ahead->queries[taken];

		ahead->places[i] = -1;
		if (questions[i].isnull)
			continue;
		query->value = PointerGetDatum(PG_DETOAST_DATUM_COPY(questions[i].value));
		if (taken == 0)
			dims = support->dims(query->value);
		if (support->dims(query->value) != dims)
			continue;
		query->nearest = (VdbNearest) {.k = k,.rows = palloc(k * sizeof(VdbNearRow))};
		ahead->places[i] = taken++;
	}
	if (taken < 2)
		return NULL;
	vdb_block_init(&ahead->block, support, dims, ahead->queries, taken);
	return ahead;
}

bool
vdb_ahead_add(VdbAhead *ahead, ItemPointer tid, NullableDatum value)
{
	if (value.isnull)
		ahead->has_nulls = true;
	else if (!vdb_block_add(&ahead->block, tid, value.value))
	{
		vdb_toast_close(&ahead->block.toast);
		return false;
	}
	return true;
}

void
vdb_ahead_finish(VdbAhead *ahead)
{
	vdb_block_finish(&ahead->block);
}

const VdbNearest *
vdb_ahead_nearest(const VdbAhead *ahead, int question)
{
	int			place = ahead->places[question];

	return place < 0 ? NULL : &ahead->queries[place].nearest;
}
