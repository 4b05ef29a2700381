/*
 * ivf_lists.c
 *	  Lists that no longer fit the rows are made anew.
 *
 * New lists are made beside the old ones, of the same rows, while both reads and inserts
 * go on.  Then the metapage's epoch is raised: at once the new ones are in force and the
 * old ones are not.  What is left of a change that was interrupted is no part of any
 * epoch, and cleared away before the next.  README.md argues why that is safe.
 *
 * Where rows are in two lists, and all are replaced, rows come by their first lanes and get
 * both.  Where some are, a lane comes by itself: the row's other one may be in a list that
 * stays.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "commands/vacuum.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "index/index_exact.h"
#include "ivf/ivf_private.h"
#include "pace.h"
#include "quant/cluster.h"
#include "stats/stats.h"
#include "testpoint.h"

/* Lists are counted when so large a share of the rows has come or gone. */
#define CHANGED_SHARE 0.2

/* A list is too large when it has so many times the rows that it was made of, and shall have. */
#define TOO_LARGE 2.0

/* All lists are made anew when there are so many times as many as there should be, */
#define TOO_MANY 4

/* or when they were made of so small a part of the rows, */
#define TRAINED_SHARE (1.0 / 16)

/*
 * or when so large a part of the rows is in lists that do not fit.  Many rows have come where there were
 * few, and the lists about them, which fit, are not where they should be either.
 */
#define UNFIT_SHARE 0.25

/* Lists are outdated when so many of the rows would be among those that new ones are made of. */
#define OUTDATED_SHARE 0.15

/* Rows that may be left for when inserts wait, and how often we look whether there are no more. */
#define FEW_LATE_ROWS 256
#define CATCH_UP_PASSES 8

/* A list of the index. */
typedef struct ListEntry
{
	uint32		number;
	IvfList		list;
	uint64		lanes;			/* of rows, counted */
	bool		chosen;			/* to be replaced */
} ListEntry;

/*
 * A group of a list that is replaced, the lanes whose rows the new ones have, and the group below it
 * in the stack of those with room: inserts take from the stack, and nobody else adds to it now.
 */
typedef struct SeenGroup
{
	uint32		number;
	uint32		list;
	uint32		lanes;
	uint32		roomy;
} SeenGroup;

typedef struct Change
{
	IvfIndex   *index;
	Relation	heap;
	VdbExact	exact;
	VdbCodec	l2;
	MemoryContext group_context;	/* reset after each group of rows */

	ListEntry  *entries;		/* of lists in force */
	uint32		count;
	uint64		rows;			/* of all these */
	uint64		lanes;			/* that these rows have */
	uint64		chosen_lanes;
	uint32		chosen;

	float	   *centroid;		/* of the list that is read, */
	uint32		centroid_list;	/* which is this one */
	IvfSample	sample;
	IvfTraining training;
	uint32	   *numbers;		/* of the new lists */
	IvfLoader  *loader;
	SeenGroup  *seen;
	uint32		seen_count;
	uint32		seen_room;
} Change;

/* A row of a list that is replaced. */
typedef void (*TakeRow) (Change *change, const IvfRow *row);

static void
add_entry(Change *change, uint32 number, const IvfList *list)
{
	/* a power of two: room for twice as many */
	if ((change->count & (change->count - 1)) == 0)
	{
		Size		bytes = Max(2 * (Size) change->count, 1) * sizeof(ListEntry);

		change->entries = change->entries == NULL ? palloc(bytes) :
			repalloc_huge(change->entries, bytes);
	}
	change->entries[change->count++] = (ListEntry) {.number = number, .list = *list};
}

/* Follows the groups of lists; returns the next one, and its page, locked, in *buffer. */
static IvfGroup *
lock_lists_group(IvfIndex *index, uint32 number, int lock, IvfAddress *a, Buffer *buffer)
{
	if (!vdb_ivf_group_exists(index, IVF_LISTS, number))
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "The lists lead beyond the index.");
	*a = vdb_ivf_group_address(&index->geometry, vdb_ivf_shelf(index, IVF_LISTS), number);
	*buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, *a, lock);
	return vdb_ivf_load_group(index, *buffer, *a, IVF_ROOT);
}

/* Changes what a list's lane says of it. */
static void
set_died(IvfIndex *index, uint32 number, uint32 died)
{
	IvfAddress	a;
	IvfList		entry;
	Buffer		buffer = vdb_ivf_lock_list(index, number, BUFFER_LOCK_EXCLUSIVE, &a, &entry);
	VdbPatch	patch;

	entry.died = died;
	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_list(&patch, vdb_ivf_shelf(index, IVF_LISTS), buffer, a, number, &entry);
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(buffer);
}

/* Frees the groups of a list that is not in force, and then its lane. */
static void
remove_list(Change *change, uint32 number)
{
	IvfIndex   *index = change->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfAddress	a;
	IvfAddress	r = vdb_ivf_record_address(&index->geometry, shelf, number / IVF_LANES,
										   number % IVF_LANES);
	MemoryContext old = MemoryContextSwitchTo(change->group_context);
	IvfList		entry;
	Buffer		buffer;
	Buffer		record;
	VdbPatch	patch;

	while (vdb_ivf_free_group(index, number))
	{
		vdb_pace();
		MemoryContextReset(change->group_context);
	}
	buffer = vdb_ivf_lock_list(index, number, BUFFER_LOCK_EXCLUSIVE, &a, &entry);
	record = vdb_ivf_read_record_page(index, IVF_LISTS, r, BUFFER_LOCK_EXCLUSIVE);
	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_free(&patch, shelf, buffer, a, 1u << number % IVF_LANES);
	vdb_ivf_patch_record(&patch, shelf, record, r, palloc0(shelf->record_stride));
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(record);
	UnlockReleaseBuffer(buffer);
	MemoryContextSwitchTo(old);
	MemoryContextReset(change->group_context);
}

/* Reads which lists there are, and clears away what is left of an interrupted change. */
static void
read_lists(Change *change)
{
	IvfIndex   *index = change->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint64		groups = 0;

	for (uint32 number = index->root;
		 vdb_ivf_copy_group(index, IVF_LISTS, IVF_ROOT, number, &groups, copy); number = copy->next)
	{
		for (uint32 lanes = copy->used; lanes != 0; lanes &= lanes - 1)
		{
			int			lane = __builtin_ctz(lanes);
			uint32		list = vdb_ivf_lane_number(number, lane);
			IvfList		entry;

			memcpy(&entry, vdb_ivf_group_payload(shelf, copy, lane), sizeof(entry));
			if (!vdb_ivf_in_force(&entry, index->epoch))
			{
				remove_list(change, list);
				continue;
			}
			if (entry.died != IVF_NEVER)
			{
				entry.died = IVF_NEVER;
				set_died(index, list, IVF_NEVER);
			}
			add_entry(change, list, &entry);
		}
	}
	pfree(copy);
	if (change->count != index->lists)
		vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are more lists than it says, or fewer.");
}

/* What a list's lane says of it now. */
static IvfList
read_list(IvfIndex *index, uint32 list)
{
	IvfAddress	a;
	IvfList		entry;

	UnlockReleaseBuffer(vdb_ivf_lock_list(index, list, BUFFER_LOCK_SHARE, &a, &entry));
	return entry;
}

/* Where a list's groups begin now. */
static uint32
read_head(IvfIndex *index, uint32 list)
{
	return read_list(index, list).head;
}

/* Those of a group's lanes that are the first of their rows. */
static uint32
first_lanes(const IvfIndex *index, IvfGroup *group)
{
	uint32		first = group->used;

	for (uint32 lanes = index->spill ? group->used : 0; lanes != 0; lanes &= lanes - 1)
	{
		if (vdb_ivf_is_second(index, vdb_ivf_group_payload(vdb_ivf_shelf(index, IVF_ROWS), group,
														   __builtin_ctz(lanes))))
			first &= ~(lanes & -lanes);
	}
	return first;
}

/* Those of a replaced list's group that go to new ones. */
static uint32
moved_lanes(const Change *change, IvfGroup *group)
{
	return change->chosen == change->count ? first_lanes(change->index, group) : group->used;
}

static void
count_rows(Change *change)
{
	IvfIndex   *index = change->index;
	IvfGroup   *copy = palloc(vdb_ivf_shelf(index, IVF_ROWS)->group_stride);
	uint64		groups = 0;

	for (uint32 i = 0; i < change->count; i++)
	{
		ListEntry  *entry = &change->entries[i];
		uint32		number = read_head(index, entry->number);

		for (; vdb_ivf_copy_group(index, IVF_ROWS, entry->number, number, &groups, copy); number = copy->next)
		{
			entry->lanes += __builtin_popcount(copy->used);
			change->rows += __builtin_popcount(first_lanes(index, copy));
		}
		change->lanes += entry->lanes;
	}
	pfree(copy);
}

/* Chooses lists, all or those that do not fit; `each`: lanes that a list should have. */
static void
choose(Change *change, double each, bool all)
{
	change->chosen = 0;
	change->chosen_lanes = 0;
	for (uint32 i = 0; i < change->count; i++)
	{
		ListEntry  *entry = &change->entries[i];

		entry->chosen = all || entry->lanes == 0 ||
			entry->lanes > TOO_LARGE * Max(entry->list.rows, each);
		if (entry->chosen)
		{
			change->chosen++;
			change->chosen_lanes += entry->lanes;
		}
	}
}

/* Chooses the lists to be replaced, and how many shall take their place. */
static uint32
choose_lists(Change *change, uint64 trained_rows)
{
	uint32		wanted = vdb_ivf_options(change->index->rel).lists;
	uint32		lists = vdb_ivf_ideal_lists(change->rows, wanted);
	double		lanes_of_row = (double) change->lanes / change->rows;
	double		each = (double) change->lanes / lists;
	bool		all = lists > 1 && trained_rows < change->rows * TRAINED_SHARE;
	uint32		count;
	uint32		affordable;

	/* a table has shrunk: how few rows a list may have is the user's own choice otherwise */
	if (wanted == 0 && change->count > TOO_MANY * lists)
		all = true;
	choose(change, each, all);
	if (!all && change->chosen_lanes > change->lanes * UNFIT_SHARE)
		choose(change, each, true);
	if (change->chosen_lanes == 0)
		return 0;

	/* better no new lists than, for want of memory, no more than there are */
	count = vdb_ivf_ideal_lists(change->chosen_lanes / lanes_of_row,
								Max((uint32) (change->chosen_lanes / each + 0.5), 1));
	affordable = vdb_ivf_affordable_lists(&change->l2, count);
	if (affordable < count && affordable <= change->chosen)
	{
		ereport(DEBUG1,
				(errmsg_internal("lists of index \"%s\" stay as they are: maintenance_work_mem is enough for %u of %u",
								 RelationGetRelationName(change->index->rel), affordable, count)));
		change->chosen = 0;
	}
	return affordable;
}

/*
 * A row's vector: that of the table, if the row may still be visible to anybody there, whose
 * value out of line is there then too.  Of others the index knows about where they are,
 * which is good enough until VACUUM removes them: they may be visible on a standby.
 */
static void
load_vector(Change *change, Snapshot snapshot, uint32 lane, IvfRow *row)
{
	IvfIndex   *index = change->index;
	ItemPointerData tid;

	memcpy(&tid, row->payload, sizeof(tid));
	row->unsure = 0;
	row->vector = vdb_ivf_fetch_vector(index, &change->exact, change->heap, snapshot, tid, &row->norm);
	if (row->vector != NULL)
		return;
	row->vector = palloc(index->codec.vector_bytes);
	memcpy(row->vector, change->centroid, index->codec.vector_bytes);
	if (vdb_ivf_shelf(index, IVF_ROWS)->record_bits > 0)
		vdb_ivf_load_row_record(index, lane, change->centroid, row);
	row->norm = sqrtf(vdb_kernels->inner_product(index->codec.P, row->vector, row->vector));
}

/* Gives the rows of some lanes of a list's group to a function. */
static void
take_lanes(Change *change, uint32 list, uint32 number, IvfGroup *group, uint32 lanes, TakeRow take)
{
	const IvfShelf *shelf = vdb_ivf_shelf(change->index, IVF_ROWS);
	MemoryContext old;
	SnapshotData snapshot;

	if (lanes == 0)
		return;
	if (change->centroid_list != list)
		vdb_ivf_load_centroid(change->index, list, change->centroid);
	change->centroid_list = list;
	old = MemoryContextSwitchTo(change->group_context);
	vdb_ivf_init_snapshot(&snapshot, change->heap);
	for (; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		IvfRow		row = {.payload = vdb_ivf_group_payload(shelf, group, lane)};

		load_vector(change, &snapshot, vdb_ivf_lane_number(number, lane), &row);
		take(change, &row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(change->group_context);
}

static void
sample_row(Change *change, const IvfRow *row)
{
	vdb_ivf_sample_add(&change->sample, row->vector, row->norm);
}

/* Rows of the lists that are replaced, drawn at random, for k-means. */
static void
take_sample(Change *change, uint32 lists)
{
	IvfIndex   *index = change->index;
	IvfGroup   *copy = palloc(vdb_ivf_shelf(index, IVF_ROWS)->group_stride);
	uint64		wanted = vdb_ivf_sample_rows(lists);
	uint64		moved = change->chosen == change->count ? change->rows : change->chosen_lanes;
	uint64		groups = 0;

	vdb_ivf_sample_init(&change->sample, &change->l2, (uint32) Min(wanted, moved));
	for (uint32 i = 0; i < change->count; i++)
	{
		const ListEntry *entry = &change->entries[i];
		uint32		number;

		if (!entry->chosen)
			continue;
		number = read_head(index, entry->number);
		for (; vdb_ivf_copy_group(index, IVF_ROWS, entry->number, number, &groups, copy); number = copy->next)
		{
			uint32		drawn = 0;

			/* each lane with the probability with which the sample will be full at the end */
			for (uint32 lanes = moved_lanes(change, copy); lanes != 0; lanes &= lanes - 1)
			{
				if (pg_prng_double(&pg_global_prng_state) * moved < wanted)
					drawn |= lanes & -lanes;
			}
			take_lanes(change, entry->number, number, copy, drawn, sample_row);
		}
	}
	pfree(copy);
}

/*
 * A lane of the shelf of lists that is free, its group and pages locked.  *group: where to
 * look first.  InvalidBuffer: there is none.
 */
static Buffer
lock_free_lane(IvfIndex *index, uint32 *group, IvfAddress *a, int *lane)
{
	uint64		groups = 0;

	while (*group != IVF_NO_GROUP)
	{
		Buffer		buffer;
		IvfGroup   *found;

		if (!vdb_ivf_may_have(index, IVF_LISTS, ++groups))
			vdb_page_corrupted(index->rel, IVF_META_BLOCK, "More groups are led to than there are.");
		found = lock_lists_group(index, *group, BUFFER_LOCK_EXCLUSIVE, a, &buffer);
		if (found->used != PG_UINT32_MAX)
		{
			*lane = __builtin_ctz(~found->used);
			return buffer;
		}
		*group = found->next;
		UnlockReleaseBuffer(buffer);
	}
	return InvalidBuffer;
}

/* Writes a new list, which is not in force yet.  *group: where to look for a free lane. */
static uint32
write_new_list(IvfIndex *index, uint32 *group, const IvfLane *lane)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfAddress	a;
	IvfAddress	r;
	Buffer		buffer;
	Buffer		record;
	VdbPatch	patch;
	int			number;

	buffer = lock_free_lane(index, group, &a, &number);
	if (!BufferIsValid(buffer))
	{
		*group = vdb_ivf_add_lists_group(index, lane);
		return vdb_ivf_lane_number(*group, 0);
	}
	r = vdb_ivf_record_address(&index->geometry, shelf, *group, number);
	record = vdb_ivf_read_record_page(index, IVF_LISTS, r, BUFFER_LOCK_EXCLUSIVE);
	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_lane(&patch, shelf, buffer, a, number, lane);
	vdb_ivf_patch_record(&patch, shelf, record, r, lane->record);
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(record);
	UnlockReleaseBuffer(buffer);
	return vdb_ivf_lane_number(*group, number);
}

/* Writes the new lists, empty ones, and makes the centroids what they are from now on. */
static void
write_new_lists(Change *change)
{
	IvfIndex   *index = change->index;
	uint32		group = index->root;
	IvfCoder	coder;

	vdb_ivf_coder_init(&coder, index);
	change->numbers = palloc(Max(change->training.count, 1) * sizeof(uint32));
	for (uint32 i = 0; i < change->training.count; i++)
	{
		float	   *centroid = change->training.centroids + (Size) i * index->codec.P;
		IvfLane		lane = vdb_ivf_code_centroid(&coder, centroid, index->epoch + 1);

		vdb_pace();
		change->numbers[i] = write_new_list(index, &group, &lane);
		vdb_ivf_decode_centroid(index, lane.record, centroid);
	}
}

static void
load_row(Change *change, const IvfRow *row)
{
	vdb_ivf_load_row(change->loader, row);
}

static int
compare_seen(const void *a, const void *b)
{
	uint32		x = ((const SeenGroup *) a)->number;
	uint32		y = ((const SeenGroup *) b)->number;

	return x < y ? -1 : x > y;
}

/* Remembers that the rows of a group are taken. */
static void
note_seen(Change *change, uint32 number, uint32 list, const IvfGroup *group)
{
	if (change->seen_count == change->seen_room)
	{
		change->seen_room = Max(2 * change->seen_room, 1024);
		change->seen = change->seen == NULL ? palloc(change->seen_room * sizeof(SeenGroup)) :
			repalloc_huge(change->seen, change->seen_room * sizeof(SeenGroup));
	}
	change->seen[change->seen_count++] = (SeenGroup) {number, list, group->used, group->roomy};
}

/* That of the first `count` groups seen which has a number; NULL: none. */
static SeenGroup *
find_seen(const Change *change, uint32 count, uint32 number)
{
	SeenGroup	key = {.number = number};

	return count == 0 ? NULL : bsearch(&key, change->seen, count, sizeof(SeenGroup), compare_seen);
}

/*
 * Takes the rows of a list from one of its groups to before the first of `count` groups seen, which
 * is returned; NULL: to the end.  Adds to *taken how many lanes these groups have.
 */
static SeenGroup *
take_groups(Change *change, uint32 list, uint32 number, uint32 count, IvfGroup *copy, uint64 *taken)
{
	uint64		groups = 0;
	SeenGroup  *seen = find_seen(change, count, number);

	while (seen == NULL && vdb_ivf_copy_group(change->index, IVF_ROWS, list, number, &groups, copy))
	{
		take_lanes(change, list, number, copy, moved_lanes(change, copy), load_row);
		note_seen(change, number, list, copy);
		*taken += __builtin_popcount(copy->used);
		number = copy->next;
		seen = find_seen(change, count, number);
	}
	return seen;
}

static void
sort_seen(Change *change)
{
	if (change->seen_count > 1)
		qsort(change->seen, change->seen_count, sizeof(SeenGroup), compare_seen);
}

/* Takes the rows of the lists that are replaced. */
static void
take_rows(Change *change)
{
	IvfGroup   *copy = palloc(vdb_ivf_shelf(change->index, IVF_ROWS)->group_stride);
	uint64		taken = 0;

	for (uint32 i = 0; i < change->count; i++)
	{
		uint32		list = change->entries[i].number;

		if (change->entries[i].chosen)
			(void) take_groups(change, list, read_head(change->index, list), 0, copy, &taken);
	}
	sort_seen(change);
	pfree(copy);
}

/* Takes the rows that have come to a group since it was seen; returns how many lanes. */
static uint64
take_fresh(Change *change, SeenGroup *seen, IvfGroup *copy)
{
	uint64		groups = 0;
	uint32		fresh;

	if (seen->lanes == PG_UINT32_MAX)
		return 0;
	(void) vdb_ivf_copy_group(change->index, IVF_ROWS, seen->list, seen->number, &groups, copy);
	fresh = copy->used & ~seen->lanes;
	take_lanes(change, seen->list, seen->number, copy, moved_lanes(change, copy) & fresh, load_row);
	seen->lanes |= fresh;
	return __builtin_popcount(fresh);
}

/*
 * The same of the groups that were on a list's stack of those with room, from the one on top then to
 * the one that is now.
 */
static uint64
take_roomy(Change *change, uint32 then, uint32 now, uint32 count, IvfGroup *copy)
{
	uint64		taken = 0;
	uint32		steps = 0;

	for (uint32 link = then; link != IVF_NO_LINK && link != IVF_LAST_LINK;)
	{
		SeenGroup  *seen = find_seen(change, count, link - 1);

		if (seen == NULL || seen->roomy == IVF_NO_LINK || ++steps > count)
			vdb_page_corrupted(change->index->rel, IVF_META_BLOCK,
							   psprintf("Group %u has no place among those with room.", link - 1));
		taken += take_fresh(change, seen, copy);
		if (link == now)
			break;
		link = seen->roomy;
	}
	return taken;
}

/*
 * Takes the rows that have come to these lists since they were looked at: inserts take lanes of
 * the first group, then of those with room from the top of the stack, then add groups at the front.
 * first: rows came while groups were seen, so all that had room are looked at, and each list's stack
 * is known from now on.  Returns how many lanes had come.
 */
static uint64
take_late_rows(Change *change, bool first)
{
	IvfGroup   *copy = palloc(vdb_ivf_shelf(change->index, IVF_ROWS)->group_stride);
	uint32		count = change->seen_count;
	uint64		taken = 0;

	for (uint32 i = 0; i < change->count; i++)
	{
		ListEntry  *entry = &change->entries[i];
		IvfList		then = entry->list;
		SeenGroup  *front;

		if (!entry->chosen)
			continue;
		entry->list = read_list(change->index, entry->number);
		front = take_groups(change, entry->number, entry->list.head, count, copy, &taken);
		if (!first)
		{
			if (front != NULL)
				taken += take_fresh(change, front, copy);
			taken += take_roomy(change, then.roomy, entry->list.roomy, count, copy);
		}
	}
	for (uint32 i = 0; i < count && first; i++)
		taken += take_fresh(change, &change->seen[i], copy);
	sort_seen(change);
	pfree(copy);
	return taken;
}

/*
 * Takes late rows until few come while it does so: those that are left are taken while inserts
 * wait, and who waits long cancels us.
 *
 * An insert may have read of a list, before VACUUM pushed groups onto its stack, which group has room: it would
 * put a row below the top.  So those that are on their way are waited for before all groups are looked at.
 */
static void
catch_up(Change *change)
{
	uint64		taken;
	int			passes = 0;

	vdb_ivf_lock_lists(change->index->rel, IVF_LISTS_SWAP, true);
	vdb_ivf_unlock_lists(change->index->rel, IVF_LISTS_SWAP);
	do
	{
		taken = take_late_rows(change, passes == 0);
		vdb_ivf_loader_end(change->loader);
	} while (taken > FEW_LATE_ROWS && ++passes < CATCH_UP_PASSES);
}

/* Lists without rows, of which some may have come since, stay if they have. */
static void
spare_lists(Change *change)
{
	IvfIndex   *index = change->index;
	IvfGroup   *copy = palloc(vdb_ivf_shelf(index, IVF_ROWS)->group_stride);
	uint64		groups = 0;

	for (uint32 i = 0; i < change->count; i++)
	{
		ListEntry  *entry = &change->entries[i];
		uint32		number;

		if (!entry->chosen)
			continue;
		number = read_head(index, entry->number);
		for (; entry->chosen && vdb_ivf_copy_group(index, IVF_ROWS, entry->number, number, &groups, copy); number = copy->next)
			entry->chosen = copy->used == 0;
		if (!entry->chosen)
		{
			set_died(index, entry->number, IVF_NEVER);
			change->chosen--;
		}
	}
	pfree(copy);
}

/* Raises the epoch: the new lists are in force, and the old ones are not. */
static void
swap_lists(Change *change)
{
	IvfIndex   *index = change->index;
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.epoch++;
	meta.lists = change->count - change->chosen + change->training.count;
	if (change->chosen == change->count)
	{
		/* what was measured of other lists says nothing of these */
		memset(&meta.calibration, 0, sizeof(meta.calibration));
		meta.trained_rows = change->rows;
		meta.removed_rows = 0;
	}
	else if (change->lanes > 0)
	{
		double		share = (double) change->chosen_lanes / change->lanes;

		meta.trained_rows = (uint64) (share * change->rows + (1 - share) * meta.trained_rows);
	}
	vdb_ivf_write_meta(index, buffer, &meta, false);
}

/*
 * The centroids of the new lists and behind them, if there is memory, those of so many that
 * stay: one of these may be where the row of a second lane has its first.
 */
static const float *
load_others(Change *change, uint32 *others)
{
	IvfIndex   *index = change->index;
	uint32		count = change->training.count;
	Size		all = count + change->count - change->chosen;
	float	   *centroids;

	if (vdb_cluster_bytes(&change->l2, all) + all * index->codec.vector_bytes > vdb_index_maintenance_memory())
		return change->training.centroids;
	centroids = MemoryContextAllocHuge(CurrentMemoryContext, all * index->codec.vector_bytes);
	memcpy(centroids, change->training.centroids, (Size) count * index->codec.vector_bytes);
	for (uint32 i = 0; i < change->count; i++)
	{
		vdb_pace();
		if (!change->entries[i].chosen)
			vdb_ivf_load_centroid(index, change->entries[i].number,
								  centroids + (Size) (count + (*others)++) * index->codec.P);
	}
	return centroids;
}

/* Gets ready to load the rows of lists that are replaced. */
static void
begin_loading(Change *change)
{
	IvfLoad		how = {.count = change->training.count, .by_lane = change->chosen < change->count};
	const float *centroids = change->training.centroids;

	if (change->index->spill && how.by_lane)
		centroids = load_others(change, &how.others);
	change->loader = vdb_ivf_loader_begin(change->index, centroids, change->numbers, &how);
}

/* Finds centroids for so many lists in a sample of the rows. */
static void
find_centroids(Change *change, uint32 lists)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf lists sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	take_sample(change, lists);
	MemoryContextSwitchTo(old);
	vdb_ivf_cluster(&change->training, &change->sample, lists,
					vdb_ivf_on_sphere(change->index->rel, change->index->codec.metric));
	MemoryContextDelete(context);
}

/* Puts the new lists in force.  Inserts wait, so nothing here does. */
static void
swap(Change *change)
{
	bool		delays = VacuumCostActive;

	vdb_ivf_lock_lists(change->index->rel, IVF_LISTS_SWAP, true);
	VacuumCostActive = false;
	if (change->loader != NULL)
	{
		vdb_ivf_loader_alone(change->loader);
		take_late_rows(change, false);
		vdb_ivf_loader_end(change->loader);
	}
	else
		spare_lists(change);
	if (change->chosen > 0)
		swap_lists(change);
	VacuumCostActive = delays;
	vdb_ivf_unlock_lists(change->index->rel, IVF_LISTS_SWAP);
}

/* Replaces the lists that were chosen by so many new ones, or about. */
static void
replace_lists(Change *change, uint32 lists)
{
	IvfIndex   *index = change->index;

	if (lists > 0)
	{
		find_centroids(change, lists);

		/* of a sample without rows nothing is known but that there are rows */
		if (change->training.count == 0)
			return;
	}
	write_new_lists(change);
	for (uint32 i = 0; i < change->count; i++)
	{
		if (change->entries[i].chosen)
			set_died(index, change->entries[i].number, index->epoch + 1);
	}
	if (change->training.count > 0)
	{
		begin_loading(change);
		take_rows(change);
		vdb_ivf_loader_write(change->loader);
		VDB_TESTPOINT("ivf-lists-written");
		catch_up(change);
	}
	VDB_TESTPOINT("ivf-lists-before-swap");
	swap(change);
	vdb_stats_add(RelationGetRelid(index->rel), VDB_STAT_REPAIRS, change->chosen);
	VDB_TESTPOINT("ivf-lists-swapped");
	for (uint32 i = 0; i < change->count; i++)
	{
		if (change->entries[i].chosen)
			remove_list(change, change->entries[i].number);
	}
}

/* Remembers that rows were counted, when the table had so many. */
static void
note_counted(Change *change, double rows)
{
	Buffer		buffer = vdb_ivf_lock_meta(change->index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	/* any row is as likely to have gone as another */
	if (change->rows > 0)
		meta.trained_rows = (uint64) ((double) meta.trained_rows * change->rows / (change->rows + meta.removed_rows));
	meta.lists_rows = change->rows;
	meta.counted_rows = (uint64) rows;
	meta.removed_rows = 0;
	vdb_ivf_write_meta(change->index, buffer, &meta, false);
}

bool
vdb_ivf_has_changed(const IvfMeta *meta, double rows)
{
	double		changed = Max(rows - meta->counted_rows, meta->counted_rows - rows) + meta->removed_rows;

	return changed > CHANGED_SHARE * meta->counted_rows;
}

/*
 * Centroids lie best for the rows that they were made of.  In a large table these are a small part
 * of all.  In a small one they are all, and when some of the rows are others, which have come in
 * their place or beside them, a scan finds less than it might: one in a hundred, when all are.  Rows are
 * counted when a fifth has changed, and then they are enough.
 */
bool
vdb_ivf_is_outdated(const IvfMeta *meta)
{
	double		rows = (double) meta->lists_rows;
	double		sampled = Min(vdb_ivf_sample_rows(meta->lists), rows);

	return meta->lists > 1 && rows > 0 && sampled * (1 - meta->trained_rows / rows) > OUTDATED_SHARE * rows;
}

/* Had an index about so many rows when it was calibrated?  The nearest ten of fewer are farther away. */
static bool
is_calibration_of(const IvfCalibration *calibration, uint64 rows)
{
	double		then = vdb_bfloat_load(calibration->rows);

	return then == 0 || (rows >= then / 2 && rows <= then * 2);
}

static void
fit_lists(Change *change, double rows)
{
	IvfIndex   *index = change->index;
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_SHARE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));
	uint32		lists;

	UnlockReleaseBuffer(buffer);
	if (meta.lists == 0 || meta.epoch >= IVF_NEVER - 1)
		return;
	read_lists(change);
	if (!vdb_ivf_has_changed(&meta, rows))
		return;
	count_rows(change);
	if (change->rows > 0)
	{
		lists = choose_lists(change, meta.trained_rows);
		if (change->chosen > 0)
			replace_lists(change, lists);

		/* it is not where all lists are new, nor where an interrupted VACUUM made them so */
		vdb_ivf_refresh(index);
		if (index->calibration.queries == 0 || !is_calibration_of(&index->calibration, change->rows))
			vdb_ivf_calibrate_lists(index, change->heap, false);
	}
	note_counted(change, rows);
}

void
vdb_ivf_fit_lists(Relation rel, double rows)
{
	MemoryContext context;
	MemoryContext old;
	Change		change = {0};

	/* who checks the index does not want its lists to change: the next VACUUM is in time */
	if (!vdb_ivf_lock_lists(rel, IVF_LISTS_CHANGE, false))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "ivf lists", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	change.index = vdb_ivf_open(rel);
	change.heap = table_open(rel->rd_index->indrelid, NoLock);
	change.exact.memory = context;
	change.group_context = AllocSetContextCreate(context, "ivf lists group", ALLOCSET_DEFAULT_SIZES);
	change.centroid = palloc(change.index->codec.vector_bytes);
	change.centroid_list = IVF_NO_LIST;
	vdb_codec_init(&change.l2, VDB_METRIC_L2, change.index->codec.dims, change.index->codec.seed,
				   change.index->codec.center);
	fit_lists(&change, rows);
	vdb_exact_end(&change.exact);
	table_close(change.heap, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_ivf_unlock_lists(rel, IVF_LISTS_CHANGE);
}
