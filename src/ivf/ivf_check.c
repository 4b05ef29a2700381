/*
 * ivf_check.c
 *	  Does an inverted file keep its promises?
 *
 * Verifies the invariants of README.md, numbered I1 to I10 there and here.  Like amcheck,
 * it takes no lock that stands in the way of reads or writes.  Groups are read after
 * what leads to them, and rows of the table after the index, with a snapshot that is
 * older than that.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ivf/ivf_private.h"
#include "testpoint.h"

/* How far a factor may be from what it would be now, relative to the parts it is made of. */
#define FACTOR_TOLERANCE 1e-4

/* A row, and which of its lanes; without padding, as the key of a hash table is. */
typedef struct RowKey
{
	ItemPointerData tid;
	uint16		which;			/* IVF_FIRST_LANE, or IVF_SECOND_LANE */
} RowKey;

StaticAssertDecl(sizeof(RowKey) == sizeof(ItemPointerData) + sizeof(uint16), "RowKey has no padding");

/* A row, and a lane that has it. */
typedef struct RowLane
{
	RowKey		key;
	uint32		lane;
	uint32		list;
} RowLane;

typedef struct Check
{
	IvfIndex   *index;
	Relation	heap;
	VdbCheckCounts *counts;
	HTAB	   *rows;			/* RowLane; NULL: nobody asks */
	uint32		epoch;			/* whose lists have rows */
	uint32		lists;			/* so many */
	uint64		groups;			/* of rows, that lists lead to */
	MemoryContext row_context;
	IvfCoder	coder;
	float	   *centroid;		/* of `list`, */
	float	   *room;
	const float *turned;		/* and as scan codes have it */
	uint32		list;
} Check;

/*
 * On a primary lists do not change while we look: that is locked.  A standby replays what
 * changes them.
 */
static void
check_epoch(const Check *check)
{
	if (vdb_ivf_is_stale(check->index, check->epoch))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("lists of index \"%s\" have changed while it was checked",
						RelationGetRelationName(check->index->rel)),
				 errhint("Check it again.")));
}

static void
corrupted(const Check *check, BlockNumber block, const char *what)
{
	check_epoch(check);
	vdb_page_corrupted(check->index->rel, block, what);
}

/* The group of an address on its page, which is locked, copied. */
static void
copy_group(Check *check, IvfShelfKind kind, IvfAddress a, uint32 list, IvfGroup *copy)
{
	Buffer		buffer = vdb_ivf_read_scan_page(check->index, kind, a, BUFFER_LOCK_SHARE);
	IvfGroup   *group = vdb_ivf_find_group(buffer, a, list);

	if (group != NULL)
		memcpy(copy, group, vdb_ivf_shelf(check->index, kind)->group_stride);
	UnlockReleaseBuffer(buffer);
	if (group == NULL)
		corrupted(check, a.block, psprintf("List %u leads to a group that is not its own.", list));
}

/* I1: all pages of an extent are of its shelf, and have no more than they have room for. */
static void
check_extent(Check *check, uint32 extent, uint64 *used_groups)
{
	IvfIndex   *index = check->index;
	BlockNumber first = vdb_ivf_extent_block(&index->geometry, extent);
	const IvfShelf *shelf = NULL;

	for (uint32 i = 0; i < index->geometry.extent_pages; i++)
	{
		Buffer		buffer = ReadBuffer(index->rel, first + i);
		Page		page = BufferGetPage(buffer);

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (i == 0)
			shelf = vdb_ivf_shelf(index, vdb_page_special(page)->kind == VDB_PAGE_IVF_LISTS ?
								  IVF_LISTS : IVF_ROWS);
		vdb_page_check(index->rel, first + i, page,
					   i < shelf->scan_pages ? shelf->scan_kind : shelf->record_kind, extent);
		if (i < shelf->scan_pages && vdb_page_special(page)->used > shelf->page_groups)
			corrupted(check, first + i, "It counts more groups than it has.");
		if (i < shelf->scan_pages && shelf == vdb_ivf_shelf(index, IVF_ROWS))
			*used_groups += vdb_page_special(page)->used;
		UnlockReleaseBuffer(buffer);
	}
}

/* I2: a lane that is taken has finite factors, one that is free an infinite add and no payload. */
static void
check_lane(Check *check, const IvfShelf *shelf, BlockNumber block, IvfGroup *group, uint32 lane)
{
	float		add = vdb_ivf_group_add(group)[lane];
	const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);

	if ((group->used >> lane & 1) != 0)
	{
		if (!isfinite(add) || !isfinite(vdb_ivf_group_scale(group)[lane]))
			corrupted(check, block, "A lane that is taken has factors that are no numbers.");
		return;
	}
	if (add != INFINITY)
		corrupted(check, block, "A free lane can be found.");
	for (uint32 i = 0; i < shelf->payload_bytes; i++)
	{
		if (payload[i] != 0)
			corrupted(check, block, "A free lane has a payload.");
	}
}

/* Does a lane still have this row? */
static bool
lane_has(Check *check, const RowLane *entry)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, entry->lane / IVF_LANES);
	Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
	IvfGroup   *group = vdb_ivf_load_group(index, buffer, a, entry->list);
	bool		same = memcmp(vdb_ivf_group_payload(shelf, group, entry->lane % IVF_LANES), &entry->key.tid,
							  sizeof(ItemPointerData)) == 0;

	UnlockReleaseBuffer(buffer);
	return same;
}

/* Notes whose a lane is. */
static void
note_row(Check *check, BlockNumber block, const uint8 *payload, uint32 lane, uint32 list)
{
	IvfIndex   *index = check->index;
	RowKey		key = {.which = IVF_FIRST_LANE};
	RowLane    *entry;
	bool		found;

	memcpy(&key.tid, payload, sizeof(key.tid));
	if (!ItemPointerIsValid(&key.tid))
		corrupted(check, block, "A lane that is taken has no row.");
	if (index->spill)
		key.which = payload[vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes - 1];
	if (key.which > IVF_SECOND_LANE)
		corrupted(check, block, "A lane is neither the first nor the second of its row.");
	if (key.which == IVF_FIRST_LANE)
		check->counts->live++;
	if (check->rows == NULL)
		return;
	entry = hash_search(check->rows, &key, HASH_ENTER, &found);

	/* VACUUM may have freed the first, and another row have come in its place and here */
	if (found && lane_has(check, entry))
		corrupted(check, block, psprintf("Row (%u,%u) has two%s lanes.",
										 ItemPointerGetBlockNumber(&key.tid),
										 ItemPointerGetOffsetNumber(&key.tid),
										 !index->spill ? "" :
										 key.which == IVF_FIRST_LANE ? " first" : " second"));
	entry->lane = lane;
	entry->list = list;
}

/*
 * I3: groups that a list leads to are in use and its own, and there are not too many.
 * Rows of a list that is not in force are another one's.
 */
static void
check_list(Check *check, uint32 list, uint32 head, bool in_force)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfGroup   *copy = palloc(shelf->group_stride);

	for (uint32 number = head; number != IVF_NO_GROUP; number = copy->next)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
			corrupted(check, IVF_META_BLOCK, psprintf("List %u leads beyond the index.", list));
		if (!vdb_ivf_may_have(index, IVF_ROWS, ++check->groups))
			corrupted(check, a.block, "More groups are led to than there are.");
		copy_group(check, IVF_ROWS, a, list, copy);
		for (uint32 lane = 0; lane < IVF_LANES; lane++)
		{
			check_lane(check, shelf, a.block, copy, lane);
			if ((copy->used >> lane & 1) == 0)
				check->counts->free++;
			else if (in_force)
				note_row(check, a.block, vdb_ivf_group_payload(shelf, copy, lane),
						 vdb_ivf_lane_number(number, lane), list);
		}
	}
	pfree(copy);
}

/* A group that no list has, copied; false when a list has got it meanwhile. */
static bool
copy_free_group(Check *check, IvfAddress a, IvfGroup *copy)
{
	IvfIndex   *index = check->index;
	uint32		first = index->free_group;
	Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
	IvfGroup   *group = vdb_ivf_find_group(buffer, a, IVF_NO_LIST);

	if (group != NULL)
		memcpy(copy, group, vdb_ivf_shelf(index, IVF_ROWS)->group_stride);
	UnlockReleaseBuffer(buffer);
	if (group != NULL)
		return true;
	vdb_ivf_refresh(index);
	if (index->free_group == first)
		corrupted(check, a.block, "A group of a list is said to be free.");
	return false;
}

/* I10: groups of no list have no rows.  Returns how many there are. */
static uint64
check_free_groups(Check *check)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint32		number = index->free_group;
	uint64		groups = 0;

	while (number != IVF_NO_GROUP)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
			corrupted(check, IVF_META_BLOCK, "Free groups lead beyond the index.");
		if (!vdb_ivf_may_have(index, IVF_ROWS, ++groups))
			corrupted(check, a.block, "More groups are led to than there are.");
		if (!copy_free_group(check, a, copy))
		{
			number = index->free_group;
			groups = 0;
			continue;
		}
		if (copy->used != 0)
			corrupted(check, a.block, "A group that no list has has rows.");
		for (uint32 lane = 0; lane < IVF_LANES; lane++)
			check_lane(check, shelf, a.block, copy, lane);
		number = copy->next;
	}
	check->counts->free += groups * IVF_LANES;
	pfree(copy);
	return groups;
}

/* I9: groups that are said to have room are in use, and of the list that says so. */
static void
check_roomy(Check *check, uint32 list, uint32 link)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint64		groups = 0;

	while (link != IVF_NO_LINK && link != IVF_LAST_LINK)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, link - 1);

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_ROWS, link - 1))
			corrupted(check, IVF_META_BLOCK, psprintf("List %u finds room beyond the index.", list));
		if (!vdb_ivf_may_have(index, IVF_ROWS, ++groups))
			corrupted(check, a.block, "More groups are led to than there are.");
		copy_group(check, IVF_ROWS, a, list, copy);
		link = copy->roomy;
	}
	pfree(copy);
}

/* Has check->centroid be that of a list. */
static void
load_centroid(Check *check, uint32 list)
{
	vdb_ivf_load_centroid(check->index, list, check->centroid);
	check->turned = vdb_ivf_turn(check->index, 1, check->centroid, check->room);
	check->list = list;
}

static inline bool
is_near(float a, float b, float size)
{
	return a == b || (isnan(a) && isnan(b)) || fabsf(a - b) <= FACTOR_TOLERANCE * (fabsf(a) + fabsf(b) + size);
}

/* Squares of all that products in a row's factors are made of. */
static float
squares(const Check *check, const float *x)
{
	const VdbCodec *codec = &check->index->codec;

	return vdb_kernels->inner_product(codec->P, x, x) +
		vdb_kernels->inner_product(codec->P, check->centroid, check->centroid) +
		vdb_kernels->inner_product(codec->P, codec->center, codec->center);
}

/*
 * Is a lane of a group what it would be now?  Sums of floats differ between instruction
 * sets; parts: what they are sums of.
 */
static bool
is_coded_so(const IvfShelf *shelf, IvfGroup *group, uint32 lane, const IvfLane *expected,
			float parts)
{
	const uint8 *codes = vdb_ivf_group_codes(group);

	for (uint32 b = 0; b < shelf->code_bytes; b++)
	{
		if (codes[vdb_distance_scan_place(shelf->code_bytes, lane, b)] != expected->code[b])
			return false;
	}
	return is_near(vdb_ivf_group_add(group)[lane], expected->factors.add, parts) &&
		is_near(vdb_ivf_group_scale(group)[lane], expected->factors.scale, 0);
}

/* I4: the scan code of a list is that of the centroid that its record stands for. */
static void
check_centroid(Check *check, BlockNumber block, IvfGroup *group, uint32 list)
{
	IvfLane		expected;

	load_centroid(check, list);
	expected.code = check->coder.code;
	memset(check->coder.decoded, 0, check->index->codec.vector_bytes);
	expected.factors = vdb_scan_encode(&check->index->list_scan, check->centroid, check->coder.decoded,
									   check->coder.scratch, check->coder.code);
	if (!is_coded_so(vdb_ivf_shelf(check->index, IVF_LISTS), group, list % IVF_LANES, &expected,
					 squares(check, check->centroid)))
		corrupted(check, block, psprintf("List %u is found by another centroid than its own.", list));
}

/* I5: there are as many lists as the metapage says. */
static void
check_lists(Check *check)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint64		groups = 0;

	for (uint32 number = index->root; number != IVF_NO_GROUP; number = copy->next)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_LISTS, number))
			corrupted(check, IVF_META_BLOCK, "The lists lead beyond the index.");
		if (!vdb_ivf_may_have(index, IVF_LISTS, ++groups))
			corrupted(check, a.block, "More groups are led to than there are.");
		copy_group(check, IVF_LISTS, a, IVF_ROOT, copy);
		for (uint32 lane = 0; lane < IVF_LANES; lane++)
		{
			IvfList		entry;
			bool		in_force;

			check_lane(check, shelf, a.block, copy, lane);
			if ((copy->used >> lane & 1) == 0)
				continue;
			memcpy(&entry, vdb_ivf_group_payload(shelf, copy, lane), sizeof(entry));
			in_force = vdb_ivf_in_force(&entry, check->epoch);
			if (in_force && check->counts->upper_records++ == check->lists)
				corrupted(check, a.block, "There are more lists than the metapage says.");
			check_centroid(check, a.block, copy, vdb_ivf_lane_number(number, lane));
			check_list(check, vdb_ivf_lane_number(number, lane), entry.head, in_force);
			check_roomy(check, vdb_ivf_lane_number(number, lane), entry.roomy);
		}
	}
	if (check->counts->upper_records != check->lists)
		corrupted(check, IVF_META_BLOCK, "There are fewer lists than it says.");
	pfree(copy);
}

/* I7, I8: the lane of a row has its code, its attributes, and its record. */
static void
check_row_lane(Check *check, const RowLane *entry, Datum *values, bool *isnull, const IvfRow *row)
{
	IvfIndex   *index = check->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		number = entry->lane / IVF_LANES;
	uint32		lane = entry->lane % IVF_LANES;
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint8	   *attributes = palloc(index->attributes->bytes);
	IvfLane		expected;

	copy_group(check, IVF_ROWS, a, entry->list, copy);
	if (entry->list != check->list)
		load_centroid(check, entry->list);
	expected = vdb_ivf_code_row(&check->coder, row, check->centroid, check->turned);
	if (!is_coded_so(shelf, copy, lane, &expected, squares(check, row->vector)))
		corrupted(check, a.block, psprintf("Lane %u does not have the code of its row (%u,%u).",
										   entry->lane, ItemPointerGetBlockNumber(&entry->key.tid),
										   ItemPointerGetOffsetNumber(&entry->key.tid)));
	vdb_index_form_attributes(index->attributes, values, isnull, attributes);
	if (memcmp(attributes, vdb_ivf_group_payload(shelf, copy, lane) + sizeof(ItemPointerData),
			   index->attributes->bytes) != 0)
		corrupted(check, a.block, psprintf("Lane %u does not have the attributes of its row (%u,%u).",
										   entry->lane, ItemPointerGetBlockNumber(&entry->key.tid),
										   ItemPointerGetOffsetNumber(&entry->key.tid)));
	if (expected.record != NULL)
	{
		const IvfRecord *record;
		Buffer		buffer;
		bool		same;

		a = vdb_ivf_record_address(&index->geometry, shelf, number, lane);
		buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
		record = vdb_ivf_page_record(BufferGetPage(buffer), a);
		same = memcmp(record + 1, expected.record + 1,
					  vdb_ivf_record_code_bytes(&index->refine, shelf->record_bits)) == 0 &&
			is_near(record->scale, expected.record->scale, 0) &&
			is_near(record->add, expected.record->add, squares(check, row->vector));
		UnlockReleaseBuffer(buffer);
		if (!same)
			corrupted(check, a.block, psprintf("The record of lane %u is not that of its row (%u,%u).",
											   entry->lane, ItemPointerGetBlockNumber(&entry->key.tid),
											   ItemPointerGetOffsetNumber(&entry->key.tid)));
	}
}

/*
 * I6: each row that our snapshot sees has a first lane, and maybe a second one; a callback of the
 * table's scan.
 */
static void
check_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Check	   *check = state;
	MemoryContext old = MemoryContextSwitchTo(check->row_context);
	IvfRow		row = {0};

	if (!isnull[0])
		row.vector = vdb_ivf_transform(check->index->support, &check->index->codec, values[0], &row.norm);
	if (row.vector != NULL)
	{
		RowKey		key = {.tid = *tid, .which = IVF_FIRST_LANE};
		const RowLane *entry = hash_search(check->rows, &key, HASH_FIND, NULL);

		row.turned = vdb_ivf_turn(check->index, 1, row.vector, palloc(check->index->codec.vector_bytes));
		if (entry == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INDEX_CORRUPTED),
					 errmsg("row (%u,%u) of table \"%s\" is not in index \"%s\"",
							ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
							RelationGetRelationName(check->heap), RelationGetRelationName(check->index->rel)),
					 errhint("Please REINDEX it.")));
		check_row_lane(check, entry, values, isnull, &row);
		key.which = IVF_SECOND_LANE;
		entry = hash_search(check->rows, &key, HASH_FIND, NULL);
		if (entry != NULL)
			check_row_lane(check, entry, values, isnull, &row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->row_context);
}

void
vdb_ivf_check(Relation rel, Relation heap, Snapshot snapshot, VdbCheckCounts *counts)
{
	Check		check = {.heap = heap, .counts = counts, .list = IVF_NO_GROUP};
	uint64		used_groups = 0;
	uint64		free_groups;

	vdb_ivf_lock_lists(rel, IVF_LISTS_CHECK, true);
	check.index = vdb_ivf_open(rel);
	check.epoch = check.index->epoch;
	check.lists = check.index->lists;
	check.row_context = AllocSetContextCreate(CurrentMemoryContext, "ivf check row",
											  ALLOCSET_DEFAULT_SIZES);
	check.centroid = palloc(check.index->codec.vector_bytes);
	check.room = palloc(check.index->codec.vector_bytes);
	vdb_ivf_coder_init(&check.coder, check.index);
	if (snapshot != NULL)
	{
		HASHCTL		control = {
			.keysize = sizeof(RowKey),
			.entrysize = sizeof(RowLane),
			.hcxt = CurrentMemoryContext
		};

		check.rows = hash_create("rows of an index", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	for (uint32 extent = 0; extent < check.index->extents; extent++)
		check_extent(&check, extent, &used_groups);
	free_groups = check_free_groups(&check);
	check_lists(&check);
	if (check.groups + free_groups < used_groups)
		corrupted(&check, IVF_META_BLOCK, "There are groups that no list leads to.");
	VDB_TESTPOINT("ivf-check-before-rows");
	if (snapshot != NULL)
		vdb_index_scan_rows(heap, rel, snapshot, check_row, &check);
	vdb_ivf_unlock_lists(rel, IVF_LISTS_CHECK);
}
