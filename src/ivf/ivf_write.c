/*
 * ivf_write.c
 *	  Putting lanes and records into pages: in a build in their order, later by patches.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "ivf/ivf_private.h"

/* Makes an empty group, in place; every lane is free. */
static void
init_group(const IvfShelf *shelf, IvfGroup *group, uint32 list, uint32 next)
{
	memset(group, 0, shelf->group_stride);
	group->list = list;
	group->next = next;
	for (int lane = 0; lane < IVF_LANES; lane++)
		vdb_ivf_group_add(group)[lane] = INFINITY;
}

/* Fills a lane of a group in place. */
static void
fill_lane(const IvfShelf *shelf, IvfGroup *group, uint32 number, const IvfLane *lane)
{
	uint8	   *codes = vdb_ivf_group_codes(group);

	group->used |= 1u << number;
	vdb_ivf_group_add(group)[number] = lane->factors.add;
	vdb_ivf_group_scale(group)[number] = lane->factors.scale;
	memcpy(vdb_ivf_group_payload(shelf, group, number), lane->payload, shelf->payload_bytes);
	for (uint32 b = 0; b < shelf->code_bytes; b++)
		codes[vdb_distance_scan_place(shelf->code_bytes, number, b)] = lane->code[b];
}

void
vdb_ivf_writer_init(IvfWriter *writer, IvfIndex *index, IvfShelfKind kind, bool building)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, kind);

	memset(writer, 0, sizeof(*writer));
	writer->index = index;
	writer->kind = kind;
	writer->building = building;
	writer->extent = IVF_NO_EXTENT;
	writer->group = palloc(shelf->group_stride);
	writer->records = palloc0(Max(IVF_LANES * shelf->record_stride, 1));
	writer->list = IVF_ROOT;
	writer->first = IVF_NO_GROUP;
	writer->current = IVF_NO_GROUP;
}

void
vdb_ivf_write_records(IvfIndex *index, IvfShelfKind kind, uint32 group, const uint8 *records,
					  uint32 lanes, bool building)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, kind);
	uint32		lane = 0;

	while (shelf->record_bits > 0 && lane < lanes)
	{
		IvfAddress	a = vdb_ivf_record_address(&index->geometry, shelf, group, lane);
		uint32		count = Min(shelf->page_records - a.slot, lanes - lane);
		Buffer		buffer = vdb_ivf_read_record_page(index, kind, a, BUFFER_LOCK_EXCLUSIVE);
		VdbChange	change;
		Page		page;

		vdb_change_begin(&change, index->rel, building);
		page = vdb_change_page(&change, buffer, false);
		memcpy(vdb_ivf_page_record(page, a), records + lane * shelf->record_stride,
			   count * shelf->record_stride);
		vdb_page_cover(page, a.offset + count * shelf->record_stride);
		vdb_change_finish(&change);
		UnlockReleaseBuffer(buffer);
		lane += count;
	}
}

/* Writes the group whose lanes wait: it is where nobody else looks yet. */
static void
flush_group(IvfWriter *writer)
{
	IvfIndex   *index = writer->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, writer->kind);
	IvfAddress	a;
	Buffer		buffer;
	VdbChange	change;
	Page		page;

	if (writer->current == IVF_NO_GROUP)
		return;
	vdb_ivf_write_records(index, writer->kind, writer->current, writer->records, writer->lanes,
						  writer->building);
	a = vdb_ivf_group_address(&index->geometry, shelf, writer->current);
	buffer = vdb_ivf_read_scan_page(index, writer->kind, a, BUFFER_LOCK_EXCLUSIVE);
	vdb_change_begin(&change, index->rel, writer->building);
	page = vdb_change_page(&change, buffer, false);
	memcpy(vdb_ivf_page_group(page, a), writer->group, shelf->group_stride);
	vdb_page_special(page)->used = Max(vdb_page_special(page)->used, a.slot + 1);
	vdb_page_cover(page, a.offset + shelf->group_stride);
	vdb_change_finish(&change);
	UnlockReleaseBuffer(buffer);
	writer->current = IVF_NO_GROUP;
}

void
vdb_ivf_writer_begin(IvfWriter *writer, uint32 list)
{
	flush_group(writer);
	writer->list = list;
	writer->first = IVF_NO_GROUP;
}

/* The number of the next group of a new index. */
static uint32
next_group(IvfWriter *writer)
{
	uint32		extent_groups = vdb_ivf_shelf(writer->index, writer->kind)->extent_groups;

	if (writer->extent == IVF_NO_EXTENT || writer->next_group == extent_groups)
	{
		writer->extent = vdb_ivf_extend(writer->index, writer->kind,
										writer->index->open_extent[writer->kind], true);
		writer->next_group = 0;
	}
	return writer->extent * extent_groups + writer->next_group++;
}

/*
 * Begins a group: of a new index behind the list's last one, so that they are read in the
 * order of pages; else at its front, as an insert does.
 */
static void
begin_group(IvfWriter *writer)
{
	const IvfShelf *shelf = vdb_ivf_shelf(writer->index, writer->kind);
	uint32		number;

	if (writer->building)
	{
		number = next_group(writer);
		if (writer->current != IVF_NO_GROUP)
			writer->group->next = number;
		flush_group(writer);
		init_group(shelf, writer->group, writer->list, IVF_NO_GROUP);
		if (writer->first == IVF_NO_GROUP)
			writer->first = number;
	}
	else
	{
		flush_group(writer);
		do
		{
			CHECK_FOR_INTERRUPTS();
			number = vdb_ivf_add_group(writer->index, writer->list, writer->first, NULL);
		} while (number == IVF_NO_GROUP);
		init_group(shelf, writer->group, writer->list, writer->first);
		writer->first = number;
	}
	writer->current = number;
	writer->lanes = 0;
}

uint32
vdb_ivf_write_lane(IvfWriter *writer, const IvfLane *lane)
{
	const IvfShelf *shelf = vdb_ivf_shelf(writer->index, writer->kind);

	if (writer->current == IVF_NO_GROUP || writer->lanes == IVF_LANES)
		begin_group(writer);
	fill_lane(shelf, writer->group, writer->lanes, lane);
	if (lane->record != NULL)
		memcpy(writer->records + writer->lanes * shelf->record_stride, lane->record, shelf->record_stride);
	return vdb_ivf_lane_number(writer->current, writer->lanes++);
}

void
vdb_ivf_writer_end(IvfWriter *writer)
{
	flush_group(writer);
	pfree(writer->group);
	pfree(writer->records);
}

/* Says in a list's lane where its groups begin, which has room, and how many lanes they have. */
static void
write_list(IvfIndex *index, uint32 list, uint32 head, uint32 roomy, uint32 lanes, bool building)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfAddress	a;
	IvfList		entry;
	Buffer		buffer = vdb_ivf_lock_list(index, list, BUFFER_LOCK_EXCLUSIVE, &a, &entry);
	VdbChange	change;
	Page		page;

	entry.head = head;
	entry.roomy = roomy;
	entry.rows = lanes;
	vdb_change_begin(&change, index->rel, building);
	page = vdb_change_page(&change, buffer, false);
	memcpy(vdb_ivf_group_payload(shelf, vdb_ivf_page_group(page, a), list % IVF_LANES), &entry, sizeof(entry));
	vdb_change_finish(&change);
	UnlockReleaseBuffer(buffer);
}

void
vdb_ivf_writer_end_list(IvfWriter *writer, uint32 lanes)
{
	uint32		roomy = IVF_NO_LINK;

	/* inserts look at the first group: of another one that has room they have to be told */
	if (writer->current != writer->first && writer->lanes < IVF_LANES)
	{
		writer->group->roomy = IVF_LAST_LINK;
		roomy = writer->current + 1;
	}
	flush_group(writer);
	write_list(writer->index, writer->list, writer->first, roomy, lanes, writer->building);
}

/* The offset on its page of something in a group. */
static inline int
offset_of(Buffer buffer, const void *part)
{
	return (int) ((const char *) part - (const char *) BufferGetPage(buffer));
}

void
vdb_ivf_patch_lane(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
				   uint32 number, const IvfLane *lane)
{
	IvfGroup   *group = vdb_ivf_page_group(BufferGetPage(buffer), a);
	const uint8 *codes = vdb_ivf_group_codes(group);
	uint32		used = group->used | 1u << number;

	vdb_patch_write(patch, buffer, offset_of(buffer, &group->used), &used, sizeof(used));
	vdb_patch_write(patch, buffer, offset_of(buffer, vdb_ivf_group_add(group) + number),
					&lane->factors.add, sizeof(float));
	vdb_patch_write(patch, buffer, offset_of(buffer, vdb_ivf_group_scale(group) + number),
					&lane->factors.scale, sizeof(float));
	vdb_patch_write(patch, buffer, offset_of(buffer, vdb_ivf_group_payload(shelf, group, number)),
					lane->payload, shelf->payload_bytes);
	for (uint32 b = 0; b < shelf->code_bytes; b++)
		vdb_patch_write(patch, buffer,
						offset_of(buffer, codes + vdb_distance_scan_place(shelf->code_bytes, number, b)),
						&lane->code[b], 1);
}

void
vdb_ivf_patch_list(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a, uint32 list,
				   const IvfList *entry)
{
	IvfGroup   *group = vdb_ivf_page_group(BufferGetPage(buffer), a);

	vdb_patch_write(patch, buffer,
					offset_of(buffer, vdb_ivf_group_payload(shelf, group, list % IVF_LANES)), entry,
					sizeof(IvfList));
}

void
vdb_ivf_patch_roomy(VdbPatch *patch, Buffer buffer, const IvfGroup *group, uint32 link)
{
	vdb_patch_write(patch, buffer, offset_of(buffer, &group->roomy), &link, sizeof(link));
}

void
vdb_ivf_patch_free(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a, uint32 lanes)
{
	IvfGroup   *group = vdb_ivf_page_group(BufferGetPage(buffer), a);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint8	   *codes = vdb_ivf_group_codes(copy);

	memcpy(copy, group, shelf->group_stride);
	copy->used &= ~lanes;
	for (; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);

		vdb_ivf_group_add(copy)[lane] = INFINITY;
		vdb_ivf_group_scale(copy)[lane] = 0;
		memset(vdb_ivf_group_payload(shelf, copy, lane), 0, shelf->payload_bytes);
		for (uint32 b = 0; b < shelf->code_bytes; b++)
			codes[vdb_distance_scan_place(shelf->code_bytes, lane, b)] = 0;
	}
	vdb_patch_write(patch, buffer, a.offset, copy, shelf->group_stride);
	pfree(copy);
}

void
vdb_ivf_patch_record(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
					 const IvfRecord *record)
{
	/* records of lanes before it, which may be free */
	vdb_patch_cover(patch, buffer, a.offset);
	vdb_patch_write(patch, buffer, a.offset, record, shelf->record_stride);
}

void
vdb_ivf_patch_group(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a, uint32 list,
					uint32 next, const IvfLane *lane)
{
	VdbPageSpecial special = *vdb_page_special(BufferGetPage(buffer));
	IvfGroup   *group = palloc(shelf->group_stride);

	init_group(shelf, group, list, next);
	if (lane != NULL)
		fill_lane(shelf, group, 0, lane);
	vdb_patch_write(patch, buffer, a.offset, group, shelf->group_stride);
	special.used = Max(special.used, a.slot + 1);
	vdb_patch_write(patch, buffer, VDB_PAGE_END, &special, sizeof(special));
	pfree(group);
}
