/*
 * ivf_insert.c
 *	  A new row: its list, its codes, a lane.  Where rows are in two lists, all that twice.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ivf/ivf_private.h"
#include "mirror/mirror.h"
#include "stats/stats.h"
#include "testpoint.h"

/* Puts a row into a free lane of a group; false when there is none. */
static bool
put_in_group(IvfIndex *index, uint32 list, uint32 number, const IvfLane *lane)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
	Buffer		buffer;
	Buffer		record;
	IvfGroup   *group;
	uint32		free_lanes;
	VdbPatch	patch;

	if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "A list leads beyond the index.");
	buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_EXCLUSIVE);
	group = vdb_ivf_load_group(index, buffer, a, list);
	free_lanes = ~group->used;
	if (free_lanes == 0)
	{
		UnlockReleaseBuffer(buffer);
		return false;
	}
	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_lane(&patch, shelf, buffer, a, __builtin_ctz(free_lanes), lane);
	record = vdb_ivf_patch_row_record(index, &patch, number, __builtin_ctz(free_lanes), lane->record);
	vdb_patch_finish(&patch);
	if (BufferIsValid(record))
		UnlockReleaseBuffer(record);
	UnlockReleaseBuffer(buffer);
	return true;
}

/* Takes a group without room off the list's stack of those with room, if it is on top. */
static void
pop_roomy(IvfIndex *index, uint32 list, uint32 link)
{
	const IvfShelf *lists = vdb_ivf_shelf(index, IVF_LISTS);
	const IvfShelf *rows = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	list_address;
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, rows, link - 1);
	IvfList		entry;
	Buffer		list_buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &list_address, &entry);
	Buffer		buffer;
	IvfGroup   *group;

	if (entry.roomy == link)
	{
		buffer = vdb_ivf_lock_rows(index, a, list_buffer);
		group = vdb_ivf_load_group(index, buffer, a, list);
		if (group->used == PG_UINT32_MAX)
		{
			VdbPatch	patch;

			entry.roomy = group->roomy == IVF_LAST_LINK ? IVF_NO_LINK : group->roomy;
			vdb_patch_begin(&patch, index->rel);
			vdb_ivf_patch_list(&patch, lists, list_buffer, list_address, list, &entry);
			vdb_ivf_patch_roomy(&patch, buffer, group, IVF_NO_LINK);
			vdb_patch_finish(&patch);
		}
		UnlockReleaseBuffer(buffer);
	}
	UnlockReleaseBuffer(list_buffer);
}

void
vdb_ivf_put_in_list(IvfIndex *index, uint32 list, const IvfLane *lane)
{
	for (;;)
	{
		IvfAddress	a;
		IvfList		entry;

		CHECK_FOR_INTERRUPTS();
		UnlockReleaseBuffer(vdb_ivf_lock_list(index, list, BUFFER_LOCK_SHARE, &a, &entry));
		VDB_TESTPOINT("ivf-insert-chosen");
		if (entry.head != IVF_NO_GROUP && put_in_group(index, list, entry.head, lane))
			return;
		if (entry.roomy != IVF_NO_LINK)
		{
			if (put_in_group(index, list, entry.roomy - 1, lane))
				return;
			pop_roomy(index, list, entry.roomy);
		}
		else if (vdb_ivf_add_group(index, list, entry.head, lane) != IVF_NO_GROUP)
			return;
	}
}

/*
 * Of lists that are near to a row the one that is best for its second lane, given the
 * centroid of its first one; decodes that of the former to out.
 */
static uint32
choose_second(IvfIndex *index, const IvfRow *row, const IvfProbe *probes, uint32 count,
			  const float *first, float *out)
{
	float	   *centroid = palloc(index->codec.vector_bytes);
	uint32		best = 0;
	float		least = INFINITY;
	IvfSpill	spill;

	vdb_ivf_spill_init(&spill, index);
	vdb_ivf_spill_begin(&spill, row->vector, first);
	for (uint32 i = 0; i < count; i++)
	{
		float		loss;

		vdb_ivf_load_centroid(index, probes[i].list, centroid);
		loss = vdb_ivf_spill_loss(&spill, centroid);
		if (i == 0 || loss < least)
		{
			best = i;
			least = loss;
			memcpy(out, centroid, index->codec.vector_bytes);
		}
	}
	return probes[best].list;
}

/*
 * The list whose centroid is the nearest to a row, and where rows are in two, and there are
 * two, the second one; decodes their centroids to out, 2 * P.  Returns how many.
 */
static uint32
choose_lists(IvfIndex *index, const IvfRow *row, uint32 *lists, float *out)
{
	IvfProbe	probes[IVF_SPILL_LISTS];
	uint32		count;
	IvfRanking	ranking;

	vdb_ivf_rank(&ranking, index, row->vector, row->norm, true);
	count = vdb_ivf_take_probes(&ranking, probes, index->spill ? IVF_SPILL_LISTS : 1);
	if (count == 0)
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are no lists.");
	lists[0] = probes[0].list;
	vdb_ivf_load_centroid(index, lists[0], out);
	if (count == 1)
		return 1;
	lists[1] = choose_second(index, row, probes + 1, count - 1, out, out + index->codec.P);
	return 2;
}

/* Gives an index that was made without a table, as one that a crash has emptied is, a list. */
static void
add_first_list(IvfIndex *index)
{
	IvfCoder	coder;
	IvfLane		lane;

	vdb_ivf_coder_init(&coder, index);
	lane = vdb_ivf_code_centroid(&coder, palloc0(index->codec.vector_bytes), 0);
	vdb_ivf_add_first_list(index, &lane);
}

bool
vdb_ivf_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
			   IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	IvfIndex   *index;
	IvfRow		row = {0};

	vdb_mirror_insert(heap, rel, values[0], isnull[0], tid);
	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "ivf insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);

	/* first of all: what is read of the lists then stays */
	vdb_ivf_lock_lists(rel, IVF_LISTS_INSERT, true);
	index = vdb_ivf_open(rel);
	row.vector = vdb_ivf_transform(index->support, &index->codec, values[0], &row.norm);
	if (row.vector != NULL)
	{
		float	   *centroids = palloc(2 * index->codec.vector_bytes);
		float	   *room = palloc(3 * index->codec.vector_bytes);
		const float *turned;
		IvfCoder	coder;
		uint32		lists[2];
		uint32		count;

		vdb_ivf_coder_init(&coder, index);
		memcpy(coder.payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull,
								  coder.payload + sizeof(ItemPointerData));
		if (index->lists == 0)
			add_first_list(index);
		count = choose_lists(index, &row, lists, centroids);
		row.payload = coder.payload;
		row.turned = vdb_ivf_turn(index, 1, row.vector, room);
		turned = vdb_ivf_turn(index, count, centroids, room + index->codec.P);
		for (uint32 i = 0; i < count; i++)
		{
			IvfLane		lane = vdb_ivf_code_row(&coder, &row, centroids + i * index->codec.P,
											turned + i * index->codec.P);

			if (i > 0)
			{
				VDB_TESTPOINT("ivf-insert-second");
				vdb_ivf_set_which(index, coder.payload, IVF_SECOND_LANE);
			}
			vdb_ivf_put_in_list(index, lists[i], &lane);
		}
	}
	vdb_ivf_unlock_lists(rel, IVF_LISTS_INSERT);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_add(RelationGetRelid(rel), VDB_STAT_INSERTS, row.vector != NULL);
	return false;
}
