/*
 * ivf_group.c
 *	  Groups of rows: a list gets one, or gives one back.
 *
 * A list gets a group at its front: one that no list has, if there is any, else the next
 * slot of the open extent.
 */
#include "postgres.h"

#include "ivf/ivf_private.h"
#include "pace.h"

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

bool
vdb_ivf_copy_group(IvfIndex *index, IvfShelfKind kind, uint32 list, uint32 number, uint64 *groups,
				   IvfGroup *copy)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, kind);
	IvfAddress	a;
	Buffer		buffer;

	if (number == IVF_NO_GROUP)
		return false;
	vdb_pace();
	a = vdb_ivf_group_address(&index->geometry, shelf, number);
	if (!vdb_ivf_group_exists(index, kind, number))
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "A list leads beyond the index.");
	if (!vdb_ivf_may_have(index, kind, ++*groups))
		vdb_page_corrupted(index->rel, a.block, "More groups are led to than there are.");
	buffer = vdb_ivf_read_scan_page(index, kind, a, BUFFER_LOCK_SHARE);
	memcpy(copy, vdb_ivf_load_group(index, buffer, a, list), shelf->group_stride);
	UnlockReleaseBuffer(buffer);
	return true;
}

/* Has a patch write a row's record, if rows have any; returns the page, locked. */
Buffer
vdb_ivf_patch_row_record(IvfIndex *index, VdbPatch *patch, uint32 group, uint32 lane,
						 const IvfRecord *record)
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

Buffer
vdb_ivf_lock_rows(IvfIndex *index, IvfAddress a, Buffer list_buffer)
{
	if (a.block == BufferGetBlockNumber(list_buffer))
		vdb_page_corrupted(index->rel, a.block, "A list leads to lists as to rows.");
	return vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_EXCLUSIVE);
}

static void
release(Buffer buffer)
{
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

/*
 * Has the pages of a free group read, if it is one still.  Whoever adds a group or frees one waits for
 * who has locked the metapage, and shall not wait for the disc.
 */
static void
read_ahead(IvfIndex *index, uint32 number)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
		return;
	UnlockReleaseBuffer(vdb_ivf_read_scan_page(index, IVF_ROWS, vdb_ivf_group_address(&index->geometry, shelf, number),
											   BUFFER_LOCK_SHARE));
	if (shelf->record_bits > 0)
		UnlockReleaseBuffer(vdb_ivf_read_record_page(index, IVF_ROWS,
													 vdb_ivf_record_address(&index->geometry, shelf, number, 0),
													 BUFFER_LOCK_SHARE));
}

/*
 * A scan page of an extent with room for a group, locked, and that group's number;
 * InvalidBuffer when there is none.
 */
static Buffer
lock_room(IvfIndex *index, uint32 extent, Buffer list_buffer, uint32 *number, IvfAddress *a)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	for (uint32 page = 0; page < shelf->scan_pages; page++)
	{
		uint32		first = page * shelf->page_groups;
		Buffer		buffer;
		uint32		used;

		*a = vdb_ivf_group_address(&index->geometry, shelf, extent * shelf->extent_groups + first);
		buffer = vdb_ivf_lock_rows(index, *a, list_buffer);
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
 * The first group that no list has, its page locked, and its number; InvalidBuffer when
 * there is none.  What the metapage, which the caller has locked, will say then goes to
 * *meta.
 */
static Buffer
lock_free_group(IvfIndex *index, Buffer meta_buffer, Buffer list_buffer, IvfMeta *meta,
				uint32 *number, IvfAddress *a)
{
	Buffer		buffer;

	*meta = *vdb_ivf_page_meta(BufferGetPage(meta_buffer));
	if (meta->free_group == IVF_NO_GROUP)
		return InvalidBuffer;
	*number = meta->free_group;
	*a = vdb_ivf_group_address(&index->geometry, vdb_ivf_shelf(index, IVF_ROWS), *number);
	if (a->extent >= meta->extents)
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "Free groups lead beyond the index.");
	buffer = vdb_ivf_lock_rows(index, *a, list_buffer);
	meta->free_group = vdb_ivf_load_group(index, buffer, *a, IVF_NO_LIST)->next;
	return buffer;
}

uint32
vdb_ivf_add_group(IvfIndex *index, uint32 list, uint32 head, const IvfLane *lane)
{
	const IvfShelf *lists = vdb_ivf_shelf(index, IVF_LISTS);
	const IvfShelf *rows = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		extent = index->open_extent[IVF_ROWS];
	IvfAddress	list_address;
	IvfAddress	a;
	IvfMeta		meta;
	IvfList		entry;
	uint32		number = IVF_NO_GROUP;
	Buffer		meta_buffer = InvalidBuffer;
	Buffer		list_buffer;
	Buffer		buffer = InvalidBuffer;
	Buffer		record = InvalidBuffer;
	bool		as_found;

	if (index->free_group != IVF_NO_GROUP)
	{
		read_ahead(index, index->free_group);
		meta_buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	}
	list_buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &list_address, &entry);
	as_found = entry.head == head && entry.roomy == IVF_NO_LINK;
	if (as_found && BufferIsValid(meta_buffer))
		buffer = lock_free_group(index, meta_buffer, list_buffer, &meta, &number, &a);
	else if (as_found && extent != IVF_NO_EXTENT)
		buffer = lock_room(index, extent, list_buffer, &number, &a);
	if (BufferIsValid(buffer))
	{
		VdbPatch	patch;

		entry.head = number;
		vdb_patch_begin(&patch, index->rel);
		if (BufferIsValid(meta_buffer))
			vdb_ivf_patch_meta(&patch, meta_buffer, &meta);
		vdb_ivf_patch_list(&patch, lists, list_buffer, list_address, list, &entry);
		vdb_ivf_patch_group(&patch, rows, buffer, a, list, head, lane);
		if (lane != NULL)
			record = vdb_ivf_patch_row_record(index, &patch, number, 0, lane->record);
		vdb_patch_finish(&patch);
	}
	release(record);
	release(buffer);
	UnlockReleaseBuffer(list_buffer);
	release(meta_buffer);
	if (as_found && !BufferIsValid(buffer) && !BufferIsValid(meta_buffer))
		vdb_ivf_extend(index, IVF_ROWS, extent, false);
	return number;
}

bool
vdb_ivf_free_group(IvfIndex *index, uint32 list)
{
	const IvfShelf *lists = vdb_ivf_shelf(index, IVF_LISTS);
	const IvfShelf *rows = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	list_address;
	IvfAddress	a;
	IvfList		entry;
	IvfMeta		meta;
	uint32		number;
	Buffer		meta_buffer;
	Buffer		list_buffer;
	Buffer		buffer;
	VdbPatch	patch;

	UnlockReleaseBuffer(vdb_ivf_lock_list(index, list, BUFFER_LOCK_SHARE, &list_address, &entry));
	number = entry.head;
	if (number == IVF_NO_GROUP)
		return false;
	if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "A list leads beyond the index.");

	/* of no row is anything left in a group without a list */
	vdb_ivf_write_records(index, IVF_ROWS, number, palloc0(IVF_LANES * rows->record_stride), IVF_LANES, false);
	read_ahead(index, number);
	meta_buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	list_buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &list_address, &entry);
	meta = *vdb_ivf_page_meta(BufferGetPage(meta_buffer));
	a = vdb_ivf_group_address(&index->geometry, rows, number);
	buffer = vdb_ivf_lock_rows(index, a, list_buffer);
	entry.head = vdb_ivf_load_group(index, buffer, a, list)->next;
	entry.roomy = IVF_NO_LINK;
	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_group(&patch, rows, buffer, a, IVF_NO_LIST, meta.free_group, NULL);
	meta.free_group = number;
	vdb_ivf_patch_meta(&patch, meta_buffer, &meta);
	vdb_ivf_patch_list(&patch, lists, list_buffer, list_address, list, &entry);
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(list_buffer);
	UnlockReleaseBuffer(meta_buffer);
	return true;
}
