/*
 * ivf_nearest.c
 *	  The rows of lists that are nearest by their scan codes, or by their records where
 *	  there are no such codes.
 *
 * Lists are scanned one after the other, and what is farther than so many rows found
 * before is left out by the kernel.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

#include "ivf/ivf_private.h"

#define SELECT_NAME select_nearest
#define SELECT_TYPE IvfCandidate
#define SELECT_LESS(a, b) ((a)->score < (b)->score)
#include "quant/select.h"

/*
 * Rows that there is room for to begin with, and for each that is wanted before others are
 * left out.
 */
#define FIRST_ROOM 256
#define ROOM_FACTOR 4

/* Rows that are kept however little memory there is. */
#define FEWEST_KEPT 256

void
vdb_ivf_nearest_init(IvfNearest *nearest, IvfRanking *ranking, const IvfRefineQuery *refine,
					 IvfWanted wanted, void *state)
{
	memset(nearest, 0, sizeof(*nearest));
	nearest->ranking = ranking;
	nearest->refine = refine;
	nearest->kernels = vdb_kernels;
	if (refine != NULL)
		nearest->copy = palloc(vdb_ivf_shelf(ranking->index, IVF_ROWS)->group_stride);
	nearest->wanted = wanted;
	nearest->state = state;
}

void
vdb_ivf_nearest_begin(IvfNearest *nearest, uint32 keep)
{
	nearest->keep = keep;
	nearest->count = 0;
	nearest->bound = INFINITY;
	nearest->left_out = false;
}

uint32
vdb_ivf_nearest_affordable(void)
{
	Size		rows = work_mem * (Size) 1024 / sizeof(IvfCandidate);

	/* others are left out late, and room is doubled */
	rows /= 2 * ROOM_FACTOR;
	return (uint32) Min(Max(rows, FEWEST_KEPT), PG_INT32_MAX / (2 * ROOM_FACTOR));
}

void
vdb_ivf_nearest_drop(IvfNearest *nearest, uint32 first)
{
	nearest->count -= first;
	if (first > 0 && nearest->count > 0)
		memmove(nearest->rows, nearest->rows + first, nearest->count * sizeof(IvfCandidate));
}

void
vdb_ivf_nearest_select(IvfNearest *nearest, uint32 first, uint32 keep)
{
	if (keep < nearest->count - first)
		select_nearest(nearest->rows + first, nearest->count - first, keep);
}

void
vdb_ivf_nearest_cut(IvfNearest *nearest)
{
	if (nearest->count <= nearest->keep)
		return;
	select_nearest(nearest->rows, nearest->count, nearest->keep);
	nearest->count = nearest->keep;
	nearest->left_out = true;
	nearest->bound = nearest->rows[0].score;
	for (uint32 i = 1; i < nearest->count; i++)
		nearest->bound = Max(nearest->bound, nearest->rows[i].score);
}

/* Makes room for another row: by leaving others out, when there are a few times too many. */
static void
make_room(IvfNearest *nearest)
{
	if (nearest->count / ROOM_FACTOR >= nearest->keep)
		vdb_ivf_nearest_cut(nearest);
	else
	{
		nearest->room = Max(2 * nearest->room, FIRST_ROOM);
		if (nearest->rows == NULL)
			nearest->rows = palloc(nearest->room * sizeof(IvfCandidate));
		else
			nearest->rows = repalloc_huge(nearest->rows, (Size) nearest->room * sizeof(IvfCandidate));
	}
}

static inline void
add_row(IvfNearest *nearest, const IvfCandidate *candidate)
{
	if (nearest->count == nearest->room)
		make_room(nearest);

	/* that may have left out what is nearer */
	if (candidate->score <= nearest->bound)
		nearest->rows[nearest->count++] = *candidate;
}

/*
 * Considers the lanes of a group, whose page is locked, that the bits say; base is what
 * its list adds to their scores.
 */
static void
consider_lanes(IvfNearest *nearest, uint32 probe, float base, uint32 number, IvfGroup *group,
			   const float *scores, uint32 lanes)
{
	const IvfShelf *shelf = vdb_ivf_shelf(nearest->ranking->index, IVF_ROWS);

	for (; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);
		IvfCandidate candidate = {
			.score = scores[lane] + base,
			.lane = vdb_ivf_lane_number(number, lane),
			.probe = probe
		};

		if (candidate.score > nearest->bound || !nearest->wanted(nearest->state, &candidate, payload))
			continue;
		memcpy(&candidate.tid, payload, sizeof(ItemPointerData));
		add_row(nearest, &candidate);
	}
}

/*
 * Considers all rows of a group by their records.  A score that overflowed says nothing: such
 * rows come first, and will be measured.
 */
static void
consider_records(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, uint32 number,
				 IvfGroup *group)
{
	IvfIndex   *index = nearest->ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	Buffer		buffer = InvalidBuffer;

	for (uint32 lanes = group->used; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);
		IvfAddress	a = vdb_ivf_record_address(&index->geometry, shelf, number, lane);
		IvfCandidate candidate = {.lane = vdb_ivf_lane_number(number, lane), .probe = probe};
		const IvfRecord *record;
		uint32		next = lanes & (lanes - 1);
		bool		beyond;

		if (next != 0)
			vdb_ivf_prefetch_record(index, IVF_ROWS, vdb_ivf_lane_number(number, __builtin_ctz(next)));
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != a.block)
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
		}
		record = vdb_ivf_page_record(BufferGetPage(buffer), a);
		candidate.score = vdb_ivf_coarse_score(nearest->refine, index, &probes[probe], record);
		if (!isfinite(candidate.score) || candidate.score == FLT_MAX)
			candidate.score = -FLT_MAX;
		beyond = candidate.score > nearest->bound;
		if (!beyond && !nearest->wanted(nearest->state, &candidate, payload))
			continue;
		if (candidate.score != -FLT_MAX)
		{
			nearest->worst_add = Max(nearest->worst_add, record->add);
			nearest->worst_residual = Max(nearest->worst_residual, vdb_bfloat_load(record->residual));
			nearest->worst_length = Max(nearest->worst_length, vdb_bfloat_load(record->length));
		}
		if (beyond)
			continue;
		memcpy(&candidate.tid, payload, sizeof(ItemPointerData));
		add_row(nearest, &candidate);
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

void
vdb_ivf_nearest_look(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, uint32 number,
					 IvfGroup *group)
{
	float		base = isfinite(probes[probe].base) ? probes[probe].base : 0;
	VdbScanScale scale = nearest->ranking->scale;
	float		scores[IVF_LANES];
	uint32		lanes;

	nearest->looked += group->used == PG_UINT32_MAX ? IVF_LANES : __builtin_popcount(group->used);
	if (nearest->refine != NULL)
	{
		consider_records(nearest, probes, probe, number, group);
		return;
	}

	/* a little more, as sums with the base are rounded */
	scale.bound = isfinite(nearest->bound) ?
		nearest->bound - base + (fabsf(nearest->bound) + fabsf(base)) * 4 * FLT_EPSILON : INFINITY;
	lanes = nearest->kernels->scan_below(vdb_ivf_shelf(nearest->ranking->index, IVF_ROWS)->code_bytes,
										 nearest->ranking->table, vdb_ivf_group_codes(group),
										 vdb_ivf_group_add(group), vdb_ivf_group_scale(group), scale,
										 scores);
	consider_lanes(nearest, probe, base, number, group, scores, lanes & group->used);
}

/* Has the CPU fetch a group that is looked at next, but for its payloads. */
static inline void
prefetch_group(const IvfIndex *index, uint32 number)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);

	vdb_hints_prefetch(&index->hints, a.block, a.offset,
					   sizeof(IvfGroup) + IVF_LANES * (2 * sizeof(float) + shelf->code_bytes));
	if (a.slot == 0)
		vdb_hints_prefetch_special(&index->hints, a.block);
}

/*
 * Something is not as a list in force has it: raises, unless the lists have changed since
 * they were ranked.
 */
static void
doubt_list(IvfNearest *nearest, BlockNumber block, const char *what)
{
	IvfIndex   *index = nearest->ranking->index;

	if (!vdb_ivf_is_stale(index, nearest->ranking->epoch))
		vdb_page_corrupted(index->rel, block, what);
	nearest->stale = true;
}

/*
 * Looks at the scan codes of a list's groups that follow each other on a locked page, and
 * releases it.  *number: the first, then the one that comes after them.  False when a group is not
 * the list's.
 */
static bool
look_at_codes(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, uint32 count, Buffer buffer,
			  uint32 *number)
{
	IvfIndex   *index = nearest->ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, *number);
	BlockNumber block = a.block;
	bool		found = true;

	for (uint32 i = 0; i < shelf->page_groups && *number != IVF_NO_GROUP && a.block == block; i++)
	{
		IvfGroup   *group = vdb_ivf_find_group(buffer, a, probes[probe].list);

		found = group != NULL;
		if (!found)
			break;
		if (group->next != IVF_NO_GROUP)
			prefetch_group(index, group->next);
		else if (probe + 1 < count && probes[probe + 1].head != IVF_NO_GROUP)
			prefetch_group(index, probes[probe + 1].head);
		vdb_ivf_nearest_look(nearest, probes, probe, *number, group);
		*number = group->next;
		if (*number != IVF_NO_GROUP)
			a = vdb_ivf_group_address(&index->geometry, shelf, *number);
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/*
 * The same for the records of one group, which are on other pages: meanwhile nobody shall wait for
 * this one.  What is said of copies of identifiers in README.md holds for that of a group.
 */
static bool
look_at_records(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, Buffer buffer, uint32 *number)
{
	IvfIndex   *index = nearest->ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, *number);
	IvfGroup   *group = vdb_ivf_find_group(buffer, a, probes[probe].list);

	if (group != NULL)
		memcpy(nearest->copy, group, shelf->group_stride);
	UnlockReleaseBuffer(buffer);
	if (group == NULL)
		return false;
	vdb_ivf_nearest_look(nearest, probes, probe, *number, nearest->copy);
	*number = nearest->copy->next;
	return true;
}

void
vdb_ivf_nearest_scan(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, uint32 count)
{
	IvfIndex   *index = nearest->ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		number = probes[probe].head;
	uint64		groups = 0;

	while (number != IVF_NO_GROUP && !nearest->stale)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
		bool		found;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
			vdb_page_corrupted(index->rel, IVF_META_BLOCK, "A list leads beyond the index.");
		if (!vdb_ivf_may_have(index, IVF_ROWS, ++groups))
		{
			doubt_list(nearest, a.block, "More groups are led to than there are.");
			break;
		}
		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
		found = nearest->refine != NULL ?
			look_at_records(nearest, probes, probe, buffer, &number) :
			look_at_codes(nearest, probes, probe, count, buffer, &number);
		if (!found)
			doubt_list(nearest, a.block, psprintf("List %u leads to a group that is not its own.",
												  probes[probe].list));
	}
}
