/*
 * ivf_insert.c
 *	  A new row: its list, its codes, a lane.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ivf/ivf_private.h"
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

/* The list whose centroid is the nearest to a row; decodes that to out. */
static uint32
choose_list(IvfIndex *index, const IvfRow *row, float *out)
{
	IvfRanking	ranking;
	IvfProbe	probe;

	vdb_ivf_rank(&ranking, index, row->vector, row->norm, true);
	if (vdb_ivf_take_probes(&ranking, &probe, 1) == 0)
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are no lists.");
	vdb_ivf_load_centroid(index, probe.list, out);
	return probe.list;
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
		float	   *centroid = palloc(index->codec.vector_bytes);
		IvfCoder	coder;
		IvfLane		lane;
		uint32		list;

		vdb_ivf_coder_init(&coder, index);
		memcpy(coder.payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull,
								  coder.payload + sizeof(ItemPointerData));
		if (index->lists == 0)
			add_first_list(index);
		list = choose_list(index, &row, centroid);
		row.payload = coder.payload;
		lane = vdb_ivf_code_row(&coder, &row, centroid);
		vdb_ivf_put_in_list(index, list, &lane);
	}
	vdb_ivf_unlock_lists(rel, IVF_LISTS_INSERT);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_add(RelationGetRelid(rel), VDB_STAT_INSERTS, row.vector != NULL);
	return false;
}
