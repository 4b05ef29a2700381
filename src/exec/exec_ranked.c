/*
 * exec_ranked.c
 *	  Rows in order of distance, as far as they are asked for.
 */
#include "postgres.h"

#include <math.h>

#include "utils/memutils.h"

#include "exec/exec_ranked.h"

#define FEWEST_FIRST 64
#define FEWEST_KEPT 256

#define KEY_NAN (PG_UINT64_MAX - 1)
#define KEY_NULL PG_UINT64_MAX

#define SELECT_NAME select_rows
#define SELECT_TYPE VdbRankedRow
#define SELECT_LESS(a, b) vdb_ranked_is_before(a, b)
#include "quant/select.h"

static int
compare_rows(const void *a, const void *b)
{
	return vdb_ranked_is_before(a, b) ? -1 : vdb_ranked_is_before(b, a);
}

VdbRankedRow
vdb_ranked_row(double distance, bool isnull, ItemPointer tid)
{
	VdbRankedRow row = {
		.place = (uint64) ItemPointerGetBlockNumber(tid) << 16 | ItemPointerGetOffsetNumber(tid)
	};
	uint64		bits;

	if (isnull)
		row.key = KEY_NULL;
	else if (isnan(distance))
		row.key = KEY_NAN;
	else
	{
		/* as unsigned numbers, negative ones are in reverse order and behind the others */
		distance += 0.0;		/* -0 */
		memcpy(&bits, &distance, sizeof(bits));
		row.key = bits >> 63 ? ~bits : bits | UINT64CONST(1) << 63;
	}
	return row;
}

void
vdb_ranked_place(const VdbRankedRow *row, ItemPointer tid)
{
	ItemPointerSet(tid, (BlockNumber) (row->place >> 16), (OffsetNumber) row->place);
}

/* The distance of a row that has one. */
static double
distance_of(const VdbRankedRow *row)
{
	uint64		bits = row->key >> 63 ? row->key & ~(UINT64CONST(1) << 63) : ~row->key;
	double		distance;

	memcpy(&distance, &bits, sizeof(distance));
	return distance;
}

void
vdb_ranked_init(VdbRanked *ranked, MemoryContext context, double first, Size bytes)
{
	Size		limit = bytes / sizeof(VdbRankedRow);

	memset(ranked, 0, sizeof(*ranked));
	ranked->context = context;
	ranked->limit = Max(Min(limit, MaxAllocHugeSize / sizeof(VdbRankedRow)), FEWEST_KEPT);
	ranked->first = (Size) Min(Max(first, FEWEST_FIRST), ranked->limit / 4);
}

/* Makes room for one more; false where the limit forbids it. */
static bool
make_room(VdbRanked *ranked, VdbRankedRows *rows, Size limit)
{
	Size		room = Min(Max(2 * rows->room, FEWEST_KEPT), limit);

	if (rows->count < rows->room)
		return true;
	if (rows->count >= limit)
		return false;
	rows->rows = rows->rows == NULL ?
		MemoryContextAllocHuge(ranked->context, room * sizeof(VdbRankedRow)) :
		repalloc_huge(rows->rows, room * sizeof(VdbRankedRow));
	rows->room = room;
	return true;
}

/* The last of the first so many rows, which come before the others. */
static VdbRankedRow
last_of(const VdbRankedRows *rows, Size count)
{
	VdbRankedRow last = rows->rows[0];

	for (Size i = 1; i < count; i++)
	{
		if (vdb_ranked_is_before(&last, &rows->rows[i]))
			last = rows->rows[i];
	}
	return last;
}

/* Forgets the farther half. */
static void
forget_half(VdbRanked *ranked)
{
	VdbRankedRows *far = &ranked->far;
	Size		keep = far->count / 2;

	select_rows(far->rows, far->count, keep);
	ranked->bound = last_of(far, keep);
	ranked->has_forgotten = true;
	far->count = keep;
}

static void
add_far(VdbRanked *ranked, VdbRankedRow row)
{
	if (ranked->has_forgotten && vdb_ranked_is_before(&ranked->bound, &row))
		return;
	if (!make_room(ranked, &ranked->far, ranked->limit))
	{
		forget_half(ranked);
		if (vdb_ranked_is_before(&ranked->bound, &row))
			return;
	}
	ranked->far.rows[ranked->far.count++] = row;
}

/* Moves the farther half of those that are kept apart to the others. */
static void
cut_near(VdbRanked *ranked)
{
	VdbRankedRows *near = &ranked->near;

	select_rows(near->rows, near->count, ranked->first);
	ranked->cut = last_of(near, ranked->first);
	ranked->has_cut = true;
	for (Size i = ranked->first; i < near->count; i++)
		add_far(ranked, near->rows[i]);
	near->count = ranked->first;
}

void
vdb_ranked_add(VdbRanked *ranked, VdbRankedRow row)
{
	VdbRankedRows *near = &ranked->near;

	if (ranked->has_floor && !vdb_ranked_is_before(&ranked->floor, &row))
		return;
	if (ranked->has_cut && !vdb_ranked_is_before(&row, &ranked->cut))
	{
		add_far(ranked, row);
		return;
	}
	if (!make_room(ranked, near, 2 * ranked->first))
	{
		cut_near(ranked);
		if (!vdb_ranked_is_before(&row, &ranked->cut))
		{
			add_far(ranked, row);
			return;
		}
	}
	near->rows[near->count++] = row;
}

/* Sorts some more rows, twice as many each time. */
static void
sort_more(VdbRanked *ranked)
{
	VdbRankedRow *rest = ranked->output->rows + ranked->sorted;
	Size		count = ranked->output->count - ranked->sorted;
	Size		more = Min(count, Max(ranked->first, ranked->sorted));

	if (more < count)
		select_rows(rest, count, more);
	qsort(rest, more, sizeof(VdbRankedRow), compare_rows);
	ranked->sorted += more;
}

static void
begin_output(VdbRanked *ranked, VdbRankedRows *rows)
{
	ranked->output = rows;
	ranked->next = 0;
	ranked->sorted = 0;
}

static void
begin_pass(VdbRanked *ranked)
{
	ranked->near.count = 0;
	ranked->far.count = 0;
	ranked->has_cut = false;
	ranked->has_forgotten = false;
	ranked->output = NULL;
}

bool
vdb_ranked_next(VdbRanked *ranked, VdbRankedRow *row, bool *again)
{
	*again = false;
	if (ranked->output == NULL)
		begin_output(ranked, &ranked->near);
	if (ranked->next == ranked->near.count && ranked->output == &ranked->near)
		begin_output(ranked, &ranked->far);
	if (ranked->next == ranked->output->count)
	{
		*again = ranked->has_forgotten;
		if (*again)
		{
			ranked->floor = ranked->bound;
			ranked->has_floor = true;
			begin_pass(ranked);
		}
		return false;
	}
	if (ranked->next == ranked->sorted)
		sort_more(ranked);
	*row = ranked->output->rows[ranked->next++];
	return true;
}

bool
vdb_ranked_rewind(VdbRanked *ranked)
{
	if (!ranked->has_floor)
	{
		ranked->output = NULL;
		return true;
	}
	ranked->has_floor = false;
	begin_pass(ranked);
	return false;
}

void
vdb_ranked_skip(VdbRanked *ranked, VdbRankedRow row)
{
	ranked->floor = row;
	ranked->has_floor = true;
}

double
vdb_ranked_limit(const VdbRanked *ranked)
{
	return ranked->has_forgotten && ranked->bound.key < KEY_NAN ? distance_of(&ranked->bound) : INFINITY;
}

bool
vdb_ranked_cut(VdbRanked *ranked)
{
	VdbRankedRows *rows = ranked->far.count > 0 ? &ranked->far : &ranked->near;

	/* those that are kept apart come before all others */
	if (rows->count == 0)
		return false;
	ranked->bound = last_of(rows, rows->count);
	ranked->has_forgotten = true;
	return true;
}

void
vdb_ranked_widen(VdbRanked *ranked, Size times, Size bytes)
{
	Size		limit = Min(times * ranked->limit, Min(bytes, MaxAllocHugeSize) / sizeof(VdbRankedRow));

	ranked->limit = Max(ranked->limit, limit);
}
