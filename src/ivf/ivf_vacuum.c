/*
 * ivf_vacuum.c
 *	  VACUUM: lanes of rows that are gone become free.
 *
 * A lane's record is cleared before the lane is free: from then on a new row may take
 * both.  A list keeps the groups that have room in a stack, whose links nobody follows who
 * looks for rows.
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ivf/ivf_private.h"
#include "mirror/mirror.h"
#include "pace.h"
#include "stats/stats.h"
#include "testpoint.h"

/* What one scan page has of lanes that are taken. */
typedef struct PageLanes
{
	uint32		groups;
	uint32	   *used;			/* of each group */
	uint32	   *lists;			/* whose groups these are */
	uint32	   *second;			/* where rows are in two lists, those that are no row's first */
	uint32	   *dead;			/* of all, those whose rows are gone */
	ItemPointerData *tids;		/* IVF_LANES for each group */
} PageLanes;

typedef struct Vacuum
{
	IndexVacuumInfo *info;
	IvfIndex   *index;
	MemoryContext page_context; /* reset after each scan page */
	PageLanes	lanes;
	double		rows;			/* left */
	double		removed;
} Vacuum;

/* A page of an extent that exists, read once: with a strategy, locked. */
static Buffer
read_page(Vacuum *vacuum, BlockNumber block, int lock)
{
	Buffer		buffer = ReadBufferExtended(vacuum->index->rel, MAIN_FORKNUM, block, RBM_NORMAL,
											vacuum->info->strategy);

	LockBuffer(buffer, lock);
	return buffer;
}

/* The address of a scan page's group. */
static inline IvfAddress
group_address(const IvfIndex *index, uint32 extent, uint32 page, uint32 slot, uint32 *number)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	*number = extent * shelf->extent_groups + page * shelf->page_groups + slot;
	return vdb_ivf_group_address(&index->geometry, shelf, *number);
}

/* Copies what a scan page says of its lanes. */
static void
copy_lanes(Vacuum *vacuum, uint32 extent, uint32 page)
{
	IvfIndex   *index = vacuum->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	PageLanes  *lanes = &vacuum->lanes;
	uint32		number;
	BlockNumber block = group_address(index, extent, page, 0, &number).block;
	Buffer		buffer = read_page(vacuum, block, BUFFER_LOCK_SHARE);

	vdb_page_check(index->rel, block, BufferGetPage(buffer), VDB_PAGE_IVF_ROWS, extent);
	lanes->groups = vdb_page_special(BufferGetPage(buffer))->used;
	if (lanes->groups > shelf->page_groups)
		vdb_page_corrupted(index->rel, block, "It counts more groups than it has.");
	lanes->used = palloc0(shelf->page_groups * sizeof(uint32));
	lanes->second = palloc0(shelf->page_groups * sizeof(uint32));
	lanes->dead = palloc0(shelf->page_groups * sizeof(uint32));
	lanes->lists = palloc0(shelf->page_groups * sizeof(uint32));
	lanes->tids = palloc(shelf->page_groups * IVF_LANES * sizeof(ItemPointerData));
	for (uint32 slot = 0; slot < lanes->groups; slot++)
	{
		IvfGroup   *group = vdb_ivf_page_group(BufferGetPage(buffer),
											   group_address(index, extent, page, slot, &number));

		lanes->used[slot] = group->used;
		lanes->lists[slot] = group->list;
		for (uint32 left = group->used; left != 0; left &= left - 1)
		{
			int			lane = __builtin_ctz(left);
			const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);

			memcpy(&lanes->tids[slot * IVF_LANES + lane], payload, sizeof(ItemPointerData));
			if (vdb_ivf_is_second(index, payload))
				lanes->second[slot] |= 1u << lane;
		}
	}
	UnlockReleaseBuffer(buffer);
}

/* Asks of which lanes the rows are gone; true when there are any. */
static bool
find_dead(Vacuum *vacuum, IndexBulkDeleteCallback callback, void *callback_state)
{
	PageLanes  *lanes = &vacuum->lanes;
	bool		any = false;

	for (uint32 slot = 0; slot < lanes->groups; slot++)
	{
		for (uint32 left = lanes->used[slot]; left != 0; left &= left - 1)
		{
			int			lane = __builtin_ctz(left);
			double		row = (lanes->second[slot] >> lane & 1) == 0 ? 1 : 0;

			if (callback != NULL && callback(&lanes->tids[slot * IVF_LANES + lane], callback_state))
			{
				lanes->dead[slot] |= 1u << lane;
				any = true;
				vacuum->removed += row;
			}
			else
				vacuum->rows += row;
		}
	}
	return any;
}

/* Clears the records of dead lanes, page by page: they are in the order of their lanes. */
static void
clear_records(Vacuum *vacuum, uint32 extent, uint32 page)
{
	IvfIndex   *index = vacuum->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfRecord  *zero = palloc0(shelf->record_stride);
	Buffer		buffer = InvalidBuffer;
	VdbPatch	patch;

	for (uint32 slot = 0; slot < vacuum->lanes.groups; slot++)
	{
		uint32		number;

		group_address(index, extent, page, slot, &number);
		for (uint32 left = vacuum->lanes.dead[slot]; left != 0; left &= left - 1)
		{
			IvfAddress	a = vdb_ivf_record_address(&index->geometry, shelf, number, __builtin_ctz(left));

			if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != a.block)
			{
				if (BufferIsValid(buffer))
				{
					vdb_patch_finish(&patch);
					UnlockReleaseBuffer(buffer);
				}
				buffer = read_page(vacuum, a.block, BUFFER_LOCK_EXCLUSIVE);
				vdb_page_check(index->rel, a.block, BufferGetPage(buffer), VDB_PAGE_IVF_ROW_RECORDS, extent);
				vdb_patch_begin(&patch, index->rel);
			}
			vdb_ivf_patch_record(&patch, shelf, buffer, a, zero);
		}
	}
	if (BufferIsValid(buffer))
	{
		vdb_patch_finish(&patch);
		UnlockReleaseBuffer(buffer);
	}
}

/* Makes dead lanes free. */
static void
free_lanes(Vacuum *vacuum, uint32 extent, uint32 page)
{
	IvfIndex   *index = vacuum->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		number;
	BlockNumber block = group_address(index, extent, page, 0, &number).block;
	Buffer		buffer = read_page(vacuum, block, BUFFER_LOCK_EXCLUSIVE);
	VdbPatch	patch;

	vdb_page_check(index->rel, block, BufferGetPage(buffer), VDB_PAGE_IVF_ROWS, extent);
	vdb_patch_begin(&patch, index->rel);
	for (uint32 slot = 0; slot < vacuum->lanes.groups; slot++)
	{
		if (vacuum->lanes.dead[slot] != 0)
			vdb_ivf_patch_free(&patch, shelf, buffer, group_address(index, extent, page, slot, &number),
							   vacuum->lanes.dead[slot]);
	}
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(buffer);
}

/* Tells a list of a group that has room, unless it knows. */
static void
push_roomy(Vacuum *vacuum, uint32 list, uint32 number)
{
	IvfIndex   *index = vacuum->index;
	const IvfShelf *lists = vdb_ivf_shelf(index, IVF_LISTS);
	const IvfShelf *rows = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	list_address;
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, rows, number);
	IvfList		entry;
	Buffer		list_buffer;
	Buffer		buffer;
	IvfGroup   *group;

	if (!vdb_ivf_group_exists(index, IVF_LISTS, list / IVF_LANES))
		vdb_page_corrupted(index->rel, a.block, psprintf("A group is of list %u, which cannot exist.", list));
	list_buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &list_address, &entry);
	buffer = vdb_ivf_lock_rows(index, a, list_buffer);
	group = vdb_ivf_load_group(index, buffer, a, list);
	if (group->roomy == IVF_NO_LINK)
	{
		VdbPatch	patch;

		vdb_patch_begin(&patch, index->rel);
		vdb_ivf_patch_roomy(&patch, buffer, group,
							entry.roomy == IVF_NO_LINK ? IVF_LAST_LINK : entry.roomy);
		entry.roomy = number + 1;
		vdb_ivf_patch_list(&patch, lists, list_buffer, list_address, list, &entry);
		vdb_patch_finish(&patch);
	}
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(list_buffer);
}

/* The same of all groups of a scan page of which lanes were freed. */
static void
push_all_roomy(Vacuum *vacuum, uint32 extent, uint32 page)
{
	for (uint32 slot = 0; slot < vacuum->lanes.groups; slot++)
	{
		uint32		number;

		group_address(vacuum->index, extent, page, slot, &number);
		if (vacuum->lanes.dead[slot] != 0)
			push_roomy(vacuum, vacuum->lanes.lists[slot], number);
	}
}

/* Goes through all rows; with a callback, removes those of which it says so. */
static void
pass_rows(Vacuum *vacuum, IndexBulkDeleteCallback callback, void *callback_state)
{
	IvfIndex   *index = vacuum->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	for (uint32 extent = 0; extent < index->extents; extent++)
	{
		if (!vdb_ivf_has_rows(index, extent, vacuum->info->strategy))
			continue;
		for (uint32 page = 0; page < shelf->scan_pages; page++)
		{
			MemoryContext old = MemoryContextSwitchTo(vacuum->page_context);

			vdb_pace();
			copy_lanes(vacuum, extent, page);
			if (find_dead(vacuum, callback, callback_state))
			{
				if (shelf->record_bits > 0)
					clear_records(vacuum, extent, page);
				VDB_TESTPOINT("ivf-vacuum-before-free");
				free_lanes(vacuum, extent, page);
				push_all_roomy(vacuum, extent, page);
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(vacuum->page_context);
		}
	}
}

/* Adds up in the metapage what was removed since lists were counted. */
static void
note_removed(Vacuum *vacuum)
{
	Buffer		buffer = vdb_ivf_lock_meta(vacuum->index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.removed_rows += (uint64) vacuum->removed;
	vdb_ivf_write_meta(vacuum->index, buffer, &meta, false);
}

static void
begin_vacuum(Vacuum *vacuum, IndexVacuumInfo *info)
{
	memset(vacuum, 0, sizeof(*vacuum));
	vacuum->info = info;
	vacuum->index = vdb_ivf_open(info->index);
	vacuum->page_context = AllocSetContextCreate(CurrentMemoryContext, "ivf vacuum page",
												 ALLOCSET_DEFAULT_SIZES);
}

IndexBulkDeleteResult *
vdb_ivf_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				   IndexBulkDeleteCallback callback, void *callback_state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Vacuum		vacuum;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	old = MemoryContextSwitchTo(context);
	begin_vacuum(&vacuum, info);
	pass_rows(&vacuum, callback, callback_state);
	if (vacuum.removed > 0)
		note_removed(&vacuum);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_mirror_remove(info->index, callback, callback_state);
	stats->tuples_removed += vacuum.removed;
	stats->num_index_tuples = vacuum.rows;
	stats->estimated_count = false;
	return stats;
}

IndexBulkDeleteResult *
vdb_ivf_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = true;
	}

	/* users' code is run where others heed its snapshot, and where it may fail: by a worker or vdb.maintain() */
	if (!vdb_index_has_users_code(info->index))
		vdb_ivf_fit_lists(info->index, Max(info->num_heap_tuples, 0));

	/* copies of an interrupted change were counted as well */
	if (!info->estimated_count)
		stats->num_index_tuples = Min(stats->num_index_tuples, info->num_heap_tuples);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	vdb_stats_note(RelationGetRelid(info->index), VDB_STAT_DEAD, (uint64) stats->tuples_removed,
				   VDB_STAT_LAST_VACUUM);
	return stats;
}
