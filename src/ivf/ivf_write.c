/*
 * ivf_write.c
 *	  Putting lanes and records into pages: in a build in their order, later by patches.
 */
#include "postgres.h"

#include <math.h>

#include "ivf/ivf_private.h"

void
vdb_ivf_writer_init(IvfWriter *writer, IvfIndex *index, IvfShelfKind kind)
{
	memset(writer, 0, sizeof(*writer));
	writer->index = index;
	writer->kind = kind;
	writer->extent = IVF_NO_EXTENT;
	vdb_ivf_writer_begin(writer, IVF_ROOT);
}

void
vdb_ivf_writer_begin(IvfWriter *writer, uint32 list)
{
	writer->list = list;
	writer->first = IVF_NO_GROUP;
	writer->last = IVF_NO_GROUP;
	writer->lanes = IVF_LANES;
}

/* Makes an empty group of a slot of a page, in place; every lane is free. */
static void
init_group(const IvfShelf *shelf, IvfGroup *group, uint32 list, uint32 next)
{
	memset(group, 0, shelf->group_stride);
	group->list = list;
	group->next = next;
	for (int lane = 0; lane < IVF_LANES; lane++)
		vdb_ivf_group_add(group)[lane] = INFINITY;
}

/* Begins a group, behind the list's last one if there is one. */
static void
add_group(IvfWriter *writer)
{
	IvfIndex   *index = writer->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, writer->kind);
	uint32		number;
	IvfAddress	a;
	Buffer		buffer;
	Page		page;

	if (writer->extent == IVF_NO_EXTENT || writer->next_group == shelf->extent_groups)
	{
		writer->extent = vdb_ivf_extend(index, writer->kind, index->open_extent[writer->kind], true);
		writer->next_group = 0;
	}
	number = writer->extent * shelf->extent_groups + writer->next_group++;
	a = vdb_ivf_group_address(&index->geometry, shelf, number);
	buffer = vdb_ivf_read_scan_page(index, writer->kind, a, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	init_group(shelf, vdb_ivf_page_group(page, a), writer->list, IVF_NO_GROUP);
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + shelf->group_stride);
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);

	if (writer->last != IVF_NO_GROUP)
	{
		a = vdb_ivf_group_address(&index->geometry, shelf, writer->last);
		buffer = vdb_ivf_read_scan_page(index, writer->kind, a, BUFFER_LOCK_EXCLUSIVE);
		vdb_ivf_load_group(index, buffer, a, writer->list)->next = number;
		MarkBufferDirty(buffer);
		UnlockReleaseBuffer(buffer);
	}
	else
		writer->first = number;
	writer->last = number;
	writer->lanes = 0;
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

uint32
vdb_ivf_write_lane(IvfWriter *writer, const IvfLane *lane)
{
	IvfIndex   *index = writer->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, writer->kind);
	IvfAddress	a;
	Buffer		buffer;

	if (writer->lanes == IVF_LANES)
		add_group(writer);
	a = vdb_ivf_group_address(&index->geometry, shelf, writer->last);
	buffer = vdb_ivf_read_scan_page(index, writer->kind, a, BUFFER_LOCK_EXCLUSIVE);
	fill_lane(shelf, vdb_ivf_load_group(index, buffer, a, writer->list), writer->lanes, lane);
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	if (lane->record != NULL)
	{
		a = vdb_ivf_record_address(&index->geometry, shelf, writer->last, writer->lanes);
		buffer = vdb_ivf_read_record_page(index, writer->kind, a, BUFFER_LOCK_EXCLUSIVE);
		memcpy(vdb_ivf_page_record(BufferGetPage(buffer), a), lane->record, shelf->record_stride);
		vdb_page_cover(BufferGetPage(buffer), a.offset + shelf->record_stride);
		MarkBufferDirty(buffer);
		UnlockReleaseBuffer(buffer);
	}
	return vdb_ivf_lane_number(writer->last, writer->lanes++);
}

void
vdb_ivf_write_list(IvfIndex *index, uint32 list, const IvfList *entry)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, list / IVF_LANES);
	Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, a, BUFFER_LOCK_EXCLUSIVE);
	IvfGroup   *group = vdb_ivf_load_group(index, buffer, a, IVF_ROOT);

	memcpy(vdb_ivf_group_payload(shelf, group, list % IVF_LANES), entry, sizeof(IvfList));
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
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
	fill_lane(shelf, group, 0, lane);
	vdb_patch_write(patch, buffer, a.offset, group, shelf->group_stride);
	special.used = a.slot + 1;
	vdb_patch_write(patch, buffer, VDB_PAGE_END, &special, sizeof(special));
	pfree(group);
}
