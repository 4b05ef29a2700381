/*
 * exec_mirror.c
 *	  Rows in order of distance, found by a mirror of their vectors.
 *
 * A mirror tells of each row how far away it is at least.  Rows are measured in that order, and returned as soon as
 * nothing that has not been measured may be nearer (Hjaltason and Samet, 1999).  So there is no k here either: whoever asks for more has more
 * measured.  Of candidates only the nearest are kept; those behind them take another pass, which is cheap.
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "utils/memutils.h"

#include "exec/exec_mirror.h"

/* Candidates that are kept for each row that is asked for, and at least. */
#define CANDIDATES 4
#define FEWEST_CANDIDATES 256

/* A row that was measured and is still to be returned. */
typedef struct Measured
{
	pairingheap_node node;
	VdbRankedRow row;
	double		distance;
} Measured;

struct VdbExactMirror
{
	MemoryContext context;
	VdbMirrorSearch *search;
	VdbExactMeasure measure;
	void	   *state;
	uint32		few;			/* candidates of a first pass */
	Size		bytes;			/* that candidates may take, and rows that were measured */

	VdbRanked	candidates;		/* by their lower bounds, and the places of their index entries */
	VdbRankedRow candidate;		/* the next one, if there is one */
	bool		has_candidate;
	bool		pass_is_due;	/* no candidate is left; those behind `candidates.floor` need another pass */
	uint64		passes;
	pairingheap *measured;
	Size		measured_count;
	VdbRankedRow last;			/* that was returned, if one was */
	bool		has_last;
};

static int
compare_measured(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const VdbRankedRow *x = &pairingheap_const_container(Measured, node, a)->row;
	const VdbRankedRow *y = &pairingheap_const_container(Measured, node, b)->row;

	/* the nearest is on top */
	return vdb_ranked_is_before(x, y) ? 1 : vdb_ranked_is_before(y, x) ? -1 : 0;
}

VdbExactMirror *
vdb_exact_mirror_begin(Relation index, Snapshot snapshot, Datum question, double first, Size bytes,
					   MemoryContext context, VdbExactMeasure measure, void *state)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	VdbMirrorSearch *search = vdb_mirror_begin(index, snapshot, question);
	VdbExactMirror *mirror = NULL;

	if (search != NULL)
	{
		double		candidates = Max(CANDIDATES * first, FEWEST_CANDIDATES);

		mirror = palloc0(sizeof(VdbExactMirror));
		mirror->context = context;
		mirror->search = search;
		mirror->measure = measure;
		mirror->state = state;
		mirror->bytes = bytes;
		mirror->few = (uint32) Min(candidates, PG_INT32_MAX);
		mirror->measured = pairingheap_allocate(compare_measured, NULL);
		vdb_ranked_init(&mirror->candidates, context, first,
						(Size) Min(candidates * sizeof(VdbRankedRow), (double) bytes));
		mirror->pass_is_due = true;
	}
	MemoryContextSwitchTo(old);
	return mirror;
}

/* A VdbMirrorTake. */
static double
take_candidate(ItemPointer tid, double lower, void *state)
{
	VdbRanked  *candidates = &((VdbExactMirror *) state)->candidates;

	vdb_ranked_add(candidates, vdb_ranked_row(lower, false, tid));
	return vdb_ranked_limit(candidates);
}

/* Goes to the next candidate, if this pass has one more. */
static void
advance(VdbExactMirror *mirror)
{
	mirror->has_candidate = vdb_ranked_next(&mirror->candidates, &mirror->candidate, &mirror->pass_is_due);
}

/* What a pass is to find: candidates behind all those before. */
static VdbMirrorWanted
want_candidates(VdbExactMirror *mirror)
{
	if (mirror->passes++ > 0)
		vdb_ranked_widen(&mirror->candidates, 2, mirror->bytes);
	return (VdbMirrorWanted) {
		.search = mirror->search,
		.limit = vdb_ranked_limit(&mirror->candidates),
		.few = mirror->passes == 1 ? mirror->few : 0,
		.take = take_candidate,
		.state = mirror
	};
}

static void
end_pass(VdbExactMirror *mirror, const VdbMirrorWanted *wanted)
{
	/* none of those that were found may be there any more: then all rows are still to be looked at */
	if (wanted->cut && !vdb_ranked_cut(&mirror->candidates))
		mirror->pass_is_due = true;
	else
		advance(mirror);
}

/* Reads the mirror; false where it is gone. */
static bool
pass(VdbExactMirror *mirror)
{
	VdbMirrorWanted wanted = want_candidates(mirror);

	if (!vdb_mirror_pass(&wanted, 1))
		return false;
	end_pass(mirror, &wanted);
	return true;
}

bool
vdb_exact_mirror_begin_all(VdbExactMirror **mirrors, int count)
{
	VdbMirrorWanted *wanted = MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(VdbMirrorWanted));
	bool		passed;

	for (int i = 0; i < count; i++)
		wanted[i] = want_candidates(mirrors[i]);
	passed = vdb_mirror_pass(wanted, count);
	for (int i = 0; i < count && passed; i++)
		end_pass(mirrors[i], &wanted[i]);
	pfree(wanted);
	return passed;
}

static void
measure_candidate(VdbExactMirror *mirror)
{
	ItemPointerData tid;
	VdbRankedRow row;
	double		distance;

	vdb_ranked_place(&mirror->candidate, &tid);
	if (mirror->measure(mirror->state, &tid, &row, &distance))
	{
		Measured   *measured = MemoryContextAlloc(mirror->context, sizeof(Measured));

		measured->row = row;
		measured->distance = distance;
		pairingheap_add(mirror->measured, &measured->node);
		mirror->measured_count++;
	}
	advance(mirror);
}

/*
 * Takes the nearest row that has been measured; false where it was returned before.  One that the mirror has twice is
 * measured twice, at the same distance, which neither bound is above: both are here before one is taken.
 */
static bool
take_measured(VdbExactMirror *mirror, VdbRankedRow *row, double *distance)
{
	Measured   *nearest = pairingheap_container(Measured, node, pairingheap_remove_first(mirror->measured));
	bool		is_new = !mirror->has_last || vdb_ranked_is_before(&mirror->last, &nearest->row);

	*row = mirror->last = nearest->row;
	*distance = nearest->distance;
	mirror->has_last = true;
	mirror->measured_count--;
	pfree(nearest);
	return is_new;
}

/*
 * Are there more rows to be kept than memory holds?  They are as far away as the next candidate may be, as nulls are from
 * everything, and whoever reads the table keeps the nearest alone.
 */
static bool
is_full(const VdbExactMirror *mirror)
{
	return mirror->measured_count > Max(mirror->bytes / sizeof(Measured), FEWEST_CANDIDATES);
}

VdbExactStep
vdb_exact_mirror_next(VdbExactMirror *mirror, VdbRankedRow *row, double *distance)
{
	for (;;)
	{
		bool		is_more = mirror->has_candidate || mirror->pass_is_due;
		uint64		least = mirror->has_candidate ? mirror->candidate.key :
			mirror->candidates.has_floor ? mirror->candidates.floor.key : 0;

		if (!pairingheap_is_empty(mirror->measured))
		{
			Measured   *nearest = pairingheap_container(Measured, node, pairingheap_first(mirror->measured));

			if (!is_more || nearest->row.key < least)
			{
				if (take_measured(mirror, row, distance))
					return VDB_EXACT_ROW;
				continue;
			}
		}
		if (is_full(mirror))
			return VDB_EXACT_GONE;
		else if (mirror->has_candidate)
			measure_candidate(mirror);
		else if (!mirror->pass_is_due)
			return VDB_EXACT_END;
		else if (!pass(mirror))
			return VDB_EXACT_GONE;
	}
}

uint64
vdb_exact_mirror_passes(const VdbExactMirror *mirror)
{
	return mirror->passes;
}
