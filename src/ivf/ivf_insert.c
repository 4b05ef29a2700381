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
#include "testpoint.h"

Buffer
vdb_ivf_lock_list(IvfIndex *index, uint32 number, int lock, IvfAddress *a, IvfList *list)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	Buffer		buffer;
	IvfGroup   *group;

	*a = vdb_ivf_group_address(&index->geometry, shelf, number / IVF_LANES);
	buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, *a, lock);
	group = vdb_ivf_load_group(index, buffer, *a, IVF_ROOT);
	memcpy(list, vdb_ivf_group_payload(shelf, group, number % IVF_LANES), sizeof(*list));
	return buffer;
}

/* Has a patch write a row's record, if rows have any; returns the page, locked. */
static Buffer
patch_record(IvfIndex *index, VdbPatch *patch, uint32 group, uint32 lane, const IvfRecord *record)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a;
	Buffer		buffer;

	if (record == NULL)
		return InvalidBuffer;
	a = vdb_ivf_record_address(&index->geometry, shelf, group, lane);
	buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_EXCLUSIVE);
	vdb_ivf_patch_record(patch, shelf, buffer, a, record);
	return buffer;
}

static void
release(Buffer buffer)
{
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

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
	record = patch_record(index, &patch, number, __builtin_ctz(free_lanes), lane->record);
	vdb_patch_finish(&patch);
	release(record);
	UnlockReleaseBuffer(buffer);
	return true;
}

/*
 * A scan page of an extent with room for a group, locked, and that group's number;
 * InvalidBuffer when there is none.
 */
static Buffer
lock_room(IvfIndex *index, uint32 extent, uint32 *number, IvfAddress *a)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	for (uint32 page = 0; page < shelf->scan_pages; page++)
	{
		uint32		first = page * shelf->page_groups;
		Buffer		buffer;
		uint32		used;

		*a = vdb_ivf_group_address(&index->geometry, shelf, extent * shelf->extent_groups + first);
		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, *a, BUFFER_LOCK_EXCLUSIVE);
		used = vdb_page_special(BufferGetPage(buffer))->used;
		if (used < shelf->page_groups && first + used < shelf->extent_groups)
		{
			*number = extent * shelf->extent_groups + first + used;
			*a = vdb_ivf_group_address(&index->geometry, shelf, *number);
			return buffer;
		}
		UnlockReleaseBuffer(buffer);
	}
	return InvalidBuffer;
}

/*
 * Puts a row into a new group at the front of a list.  False, and the row is nowhere,
 * when the front is not this any more, VACUUM has made room meanwhile, or the open extent
 * had none: there is another one then.
 */
static bool
put_in_new_group(IvfIndex *index, uint32 list, uint32 head, const IvfLane *lane)
{
	const IvfShelf *lists = vdb_ivf_shelf(index, IVF_LISTS);
	const IvfShelf *rows = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		extent = index->open_extent[IVF_ROWS];
	IvfAddress	list_address;
	IvfAddress	a;
	IvfList		entry;
	uint32		number;
	Buffer		list_buffer;
	Buffer		buffer = InvalidBuffer;
	Buffer		record = InvalidBuffer;

	list_buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &list_address, &entry);
	if (entry.head == head && entry.roomy == IVF_NO_LINK && extent != IVF_NO_EXTENT)
		buffer = lock_room(index, extent, &number, &a);
	if (BufferIsValid(buffer))
	{
		VdbPatch	patch;

		entry.head = number;
		vdb_patch_begin(&patch, index->rel);
		vdb_ivf_patch_list(&patch, lists, list_buffer, list_address, list, &entry);
		vdb_ivf_patch_group(&patch, rows, buffer, a, list, head, lane);
		record = patch_record(index, &patch, number, 0, lane->record);
		vdb_patch_finish(&patch);
	}
	release(record);
	release(buffer);
	UnlockReleaseBuffer(list_buffer);
	if (BufferIsValid(buffer))
		return true;
	if (entry.head == head && entry.roomy == IVF_NO_LINK)
		vdb_ivf_extend(index, IVF_ROWS, extent, false);
	return false;
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
		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_EXCLUSIVE);
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

/* Puts a row into a list: at its front, where VACUUM made room, or in a new group. */
static void
put_in_list(IvfIndex *index, uint32 list, const IvfLane *lane)
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
		else if (put_in_new_group(index, list, entry.head, lane))
			return;
	}
}

/* The list whose centroid is the nearest to a row; decodes that to out. */
static uint32
choose_list(IvfIndex *index, float *vector, float norm, float *out)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfRanking	ranking;
	IvfProbe	probe;
	IvfAddress	a;
	Buffer		buffer;

	vdb_ivf_rank(&ranking, index, vector, norm, true);
	if (vdb_ivf_take_probes(&ranking, &probe, 1) == 0)
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are no lists.");
	a = vdb_ivf_record_address(&index->geometry, shelf, probe.list / IVF_LANES, probe.list % IVF_LANES);
	buffer = vdb_ivf_read_record_page(index, IVF_LISTS, a, BUFFER_LOCK_SHARE);
	vdb_ivf_decode_centroid(index, vdb_ivf_page_record(BufferGetPage(buffer), a), out);
	UnlockReleaseBuffer(buffer);
	return probe.list;
}

/* Gives an index that was made without a table, as one that a crash has emptied is, a list. */
static void
ensure_list(IvfIndex *index, IvfCoder *coder)
{
	IvfList		empty = {.head = IVF_NO_GROUP, .roomy = IVF_NO_LINK};
	IvfLane		lane;
	float	   *zero;

	if (index->lists > 0)
		return;
	zero = palloc0(index->codec.vector_bytes);
	lane = vdb_ivf_code_centroid(coder, zero);
	memcpy(coder->payload, &empty, sizeof(empty));
	vdb_ivf_add_first_list(index, &lane);
}

bool
vdb_ivf_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
			   IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	IvfIndex   *index;
	float	   *vector;
	float		norm;

	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "ivf insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	index = vdb_ivf_open(rel);
	vector = vdb_ivf_transform(index->support, &index->codec, values[0], &norm);
	if (vector != NULL)
	{
		float	   *centroid = palloc(index->codec.vector_bytes);
		IvfCoder	coder;
		IvfLane		lane;
		uint32		list;

		vdb_ivf_coder_init(&coder, index);
		ensure_list(index, &coder);
		list = choose_list(index, vector, norm, centroid);
		lane = vdb_ivf_code_row(&coder, vector, norm, centroid);
		memcpy(coder.payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull,
								  coder.payload + sizeof(ItemPointerData));
		put_in_list(index, list, &lane);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
