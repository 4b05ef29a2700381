/*
 * ivf_scan.c
 *	  Index scans: lists, then rows by their scan codes, then by their records, then
 *	  by themselves.
 *
 * A scan goes on in rounds.  A round looks at the scan codes of all rows in the lists
 * that are probed, and takes the nearest by estimate that no round before has taken;
 * their records bound the operator's distance, and where bounds overlap, the row is
 * measured.  When no row is left in these lists, more lists are probed, if the user
 * lets it.
 *
 * A scan holds no pin or lock between rows.  It needs an MVCC snapshot: a
 * row's identifier may be used again after it was copied out of the index.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/relscan.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index/index_exact.h"
#include "index/index_order.h"
#include "ivf/ivf_private.h"
#include "testpoint.h"

/* Rows that the first round is for; each further one is for twice as many. */
#define FIRST_ROWS 10
#define MAX_ROWS 100000

/* Candidates for each row of a round, before more lists are probed for it. */
#define ENOUGH_FACTOR 2

/* Rows that are refined beyond a factor: of few rows, estimates say little. */
#define REFINE_MORE 20

/* Rows that are put in order for each that a round is for, where records of all are looked at. */
#define ORDER_FACTOR 4

/*
 * Candidates that there is room for to begin with, and for each that a round will take
 * before others are left out.
 */
#define FIRST_CANDIDATES 256
#define CANDIDATES_FACTOR 4

/* A row that a round may take. */
typedef struct Candidate
{
	float		score;			/* estimated, or its record's */
	uint32		lane;			/* number of its lane */
	ItemPointerData tid;
	uint32		probe;			/* its list, as a place in IvfScan.probes */
} Candidate;

typedef struct IvfScan
{
	MemoryContext context;		/* of one rescan */
	IvfIndex   *index;
	const IvfSettings *settings;
	uint32		refine_factor;	/* rows refined for each that is returned; 0: all */
	bool		started;
	bool		complete;		/* nothing more to be looked at */
	bool		null_query;		/* no distance is known to anything */
	bool		empty;			/* no row can be the answer */
	bool		recheck;		/* keys say more than we look at */
	double		radius;			/* rows farther away are not wanted */
	bool		relaxed;		/* late rows are returned */
	Datum		query;			/* the user's value, not toasted; 0 if null */
	VdbFilter  *filter;			/* NULL: all rows are wanted */

	IvfRanking	ranking;
	const VdbKernels *kernels;	/* rounds are told apart by scores to the last bit */
	VdbQuery	refine;			/* the query, for records of rows */
	double		rounding;		/* of it, in a product with a code of length 1 */
	IvfProbe   *probes;			/* probed at present */
	uint32		probe_count;
	uint32		probe_room;
	uint32		probed;			/* lists, before them */

	Candidate  *candidates;		/* of this round */
	uint32		count;
	uint32		room;			/* of the array */
	uint32		rows;			/* that the next round is for */
	uint32		keep;			/* candidates that the round takes */
	float		bound;			/* no candidate is wanted whose score is greater */
	float		floor;			/* the greatest score of a row taken from these lists */
	uint32	   *edge;			/* lanes taken that have this score, ascending */
	uint32		edge_count;
	uint32		edge_room;
	bool		left_out;		/* were there more candidates than the round took? */

	/* where records of all rows are looked at */
	uint32		taken;			/* candidates, the first so many */
	double		cutoff;			/* no row is nearer that was not taken */
	float		worst_add;		/* greatest of what bounds of rows are made of */
	double		worst_residual;
	double		worst_length;

	bool		stale;			/* the lists are no longer what they were when ranked */

	VdbOrder	order;
	uint32		allowed;		/* rows that may be returned before the next round */
	uint32		yielded;		/* rows that were */

	ItemPointerData *returned;	/* these rows */
	uint32		returned_count;
	uint32		returned_room;
	uint32		sorted;			/* of them, the first so many: before the lists were ranked again */

	bool		has_last;
	double		last;			/* upper bound of the last row's distance */
	ItemPointerData last_tid;
	bool		last_exact;

	/* kept over rescans */
	VdbExact	exact;
	BlockNumber table_blocks;	/* the table has at least */
} IvfScan;

IndexScanDesc
vdb_ivf_beginscan(Relation rel, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(rel, nkeys, norderbys);
	IvfScan    *so = palloc0(sizeof(IvfScan));

	so->context = AllocSetContextCreate(CurrentMemoryContext, "ivf scan", ALLOCSET_DEFAULT_SIZES);
	so->exact.memory = CurrentMemoryContext;
	scan->opaque = so;
	return scan;
}

void
vdb_ivf_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	IvfScan    *so = scan->opaque;
	IvfScan		fresh = {
		.context = so->context,
		.exact = so->exact,
		.table_blocks = so->table_blocks
	};

	vdb_exact_reset(&so->exact);
	MemoryContextReset(so->context);
	*so = fresh;
	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

void
vdb_ivf_endscan(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;

	vdb_exact_end(&so->exact);
	MemoryContextDelete(so->context);
	pfree(so);
	scan->opaque = NULL;
}

/*
 * Keeps the query as the user gave it; returns it in code space.  Where there
 * is no such vector (null, or zero under cosine), any will do.
 */
static void *
load_query(IndexScanDesc scan, float *norm)
{
	IvfScan    *so = scan->opaque;
	void	   *vector = NULL;

	*norm = 0;
	so->null_query = (scan->orderByData->sk_flags & SK_ISNULL) != 0;
	if (!so->null_query)
	{
		so->query = PointerGetDatum(PG_DETOAST_DATUM_COPY(scan->orderByData->sk_argument));
		vdb_index_check_dims(so->index->support, so->index->codec.dims, so->query);
		vector = vdb_ivf_transform(so->index->support, &so->index->codec, so->query, norm);
	}
	return vector != NULL ? vector : palloc0(so->index->codec.vector_bytes);
}

/* Prepares a query, which has the vector already, for records of rows. */
static void
prepare_refine(IvfScan *so, void *vector, float norm)
{
	const VdbCodec *codec = &so->index->refine;

	so->refine.vector = vector;
	so->refine.hot = palloc(vdb_query_bytes(codec, vector));
	vdb_query_prepare(&so->refine, codec, norm);

	/* hot scores round each coordinate of the query to a multiple of this, twice */
	if (vdb_ivf_shelf(so->index, IVF_ROWS)->record_bits != IVF_REFINE_12)
		so->rounding = 0.5 * so->refine.hot_mult * sqrt(codec->P) / 2;
}

static void
start(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;
	void	   *vector;
	float		norm;

	if (scan->numberOfOrderBys != 1)
		elog(ERROR, "cannot scan an inverted file without order");
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		elog(ERROR, "non-MVCC snapshots are not supported with inverted files");
	pgstat_count_index_scan(scan->indexRelation);
	vdb_count_index_search(scan);

	so->index = vdb_ivf_open(scan->indexRelation);
	so->settings = vdb_ivf_settings(scan->indexRelation);
	so->refine_factor = so->index->scan.kind == VDB_SCAN_NOTHING ? 0 : so->settings->refine_factor;
	vector = load_query(scan, &norm);
	so->radius = vdb_index_load_radius(scan->keyData, scan->numberOfKeys, so->null_query, &so->empty,
									   &so->recheck);
	so->filter = vdb_index_form_filter(so->index->attributes, scan->keyData, scan->numberOfKeys);
	so->empty |= so->filter != NULL && so->filter->never;
	so->started = true;
	if (so->empty)
		return;
	so->relaxed = so->settings->iterative_scan == IVF_ITERATIVE_RELAXED;
	so->order.context = so->context;
	so->kernels = vdb_kernels;
	vdb_ivf_rank(&so->ranking, so->index, vector, norm, false);
	prepare_refine(so, vector, norm);
	so->rows = FIRST_ROWS;
	so->cutoff = INFINITY;
	VDB_TESTPOINT("ivf-scan-ranked");
}

/* Moves the `keep` candidates of the least scores to the front (Hoare's quickselect). */
static void
select_nearest(Candidate *candidates, uint32 count, uint32 keep)
{
	int64		low = 0;
	int64		high = (int64) count - 1;
	int64		last = (int64) keep - 1;

	while (low < high)
	{
		float		pivot = candidates[low + (high - low) / 2].score;
		int64		i = low;
		int64		j = high;

		while (i <= j)
		{
			Candidate	moved;

			while (candidates[i].score < pivot)
				i++;
			while (pivot < candidates[j].score)
				j--;
			if (i > j)
				break;
			moved = candidates[i];
			candidates[i++] = candidates[j];
			candidates[j--] = moved;
		}
		if (last <= j)
			high = j;
		else if (last >= i)
			low = i;
		else
			break;
	}
}

/* Leaves out all but the nearest candidates, and bounds those to come. */
static void
cut_candidates(IvfScan *so)
{
	if (so->count <= so->keep)
		return;
	select_nearest(so->candidates, so->count, so->keep);
	so->count = so->keep;
	so->left_out = true;
	so->bound = so->candidates[0].score;
	for (uint32 i = 1; i < so->count; i++)
		so->bound = Max(so->bound, so->candidates[i].score);
}

/* Makes room for another candidate: by leaving others out, when there are a few times too many. */
static void
make_room(IvfScan *so)
{
	if (so->count / CANDIDATES_FACTOR >= so->keep)
		cut_candidates(so);
	else
	{
		so->room = Max(2 * so->room, FIRST_CANDIDATES);
		if (so->candidates == NULL)
			so->candidates = palloc(so->room * sizeof(Candidate));
		else
			so->candidates = repalloc_huge(so->candidates, (Size) so->room * sizeof(Candidate));
	}
}

static int
compare_lanes(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Has an earlier round taken this row? */
static bool
is_taken(const IvfScan *so, float score, uint32 lane)
{
	if (score != so->floor)
		return score < so->floor;
	return so->edge_count > 0 &&
		bsearch(&lane, so->edge, so->edge_count, sizeof(uint32), compare_lanes) != NULL;
}

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

/* Was a row returned before the lists were ranked again? */
static bool
was_returned(const IvfScan *so, const uint8 *payload)
{
	ItemPointerData tid;

	if (so->sorted == 0)
		return false;
	memcpy(&tid, payload, sizeof(tid));
	return bsearch(&tid, so->returned, so->sorted, sizeof(ItemPointerData), compare_tids) != NULL;
}

/*
 * Considers the lanes of a group, whose page is locked, that the bits say; base is what
 * its list adds to their scores.
 */
static void
consider_lanes(IvfScan *so, uint32 probe, float base, uint32 number, IvfGroup *group,
			   const float *scores, uint32 lanes)
{
	const IvfShelf *shelf = vdb_ivf_shelf(so->index, IVF_ROWS);

	for (; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);
		float		score = scores[lane] + base;
		Candidate  *candidate;

		if (score > so->bound || is_taken(so, score, vdb_ivf_lane_number(number, lane)) ||
			was_returned(so, payload) ||
			(so->filter != NULL && !vdb_filter_passes(so->filter, payload + sizeof(ItemPointerData))))
			continue;
		if (so->count == so->room)
			make_room(so);
		candidate = &so->candidates[so->count++];
		candidate->score = score;
		candidate->lane = vdb_ivf_lane_number(number, lane);
		memcpy(&candidate->tid, payload, sizeof(ItemPointerData));
		candidate->probe = probe;
	}
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
doubt_list(IvfScan *so, BlockNumber block, const char *what)
{
	if (!vdb_ivf_is_stale(so->index, so->ranking.epoch))
		vdb_page_corrupted(so->index->rel, block, what);
	so->stale = true;
}

/* The score of a row's record, whose page is locked. */
static float
record_score(const IvfScan *so, const IvfProbe *probe, const IvfRecord *record)
{
	const VdbCodec *codec = &so->index->refine;
	const uint8 *code = vdb_ivf_record_code((IvfRecord *) record);

	if (vdb_ivf_shelf(so->index, IVF_ROWS)->record_bits == IVF_REFINE_12)
		return probe->base + record->add - vdb_codec_ip_weight(codec) * record->scale *
			vdb_kernels->node12_ip(codec->P, so->refine.vector, (const int8 *) code,
								   code + codec->hi_bytes);
	return probe->base + record->add + vdb_hot_score(&so->refine, (VdbHotFactors)
													  {.rescale = record->scale}, code) -
		so->refine.hot_const;
}

/*
 * Considers all rows of a group, whose page is locked, by their records.  A score that
 * overflowed says nothing: such rows come first, and will be measured.
 */
static void
consider_records(IvfScan *so, uint32 probe, uint32 number, IvfGroup *group)
{
	IvfIndex   *index = so->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	Buffer		buffer = InvalidBuffer;

	for (uint32 lanes = group->used; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane);
		IvfAddress	a = vdb_ivf_record_address(&index->geometry, shelf, number, lane);
		const IvfRecord *record;
		Candidate  *candidate;

		if (was_returned(so, payload) ||
			(so->filter != NULL && !vdb_filter_passes(so->filter, payload + sizeof(ItemPointerData))))
			continue;
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != a.block)
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
		}
		if (so->count == so->room)
			make_room(so);
		record = vdb_ivf_page_record(BufferGetPage(buffer), a);
		candidate = &so->candidates[so->count++];
		candidate->score = record_score(so, &so->probes[probe], record);
		candidate->lane = vdb_ivf_lane_number(number, lane);
		memcpy(&candidate->tid, payload, sizeof(ItemPointerData));
		candidate->probe = probe;
		if (!isfinite(candidate->score))
			candidate->score = -FLT_MAX;
		else
		{
			so->worst_add = Max(so->worst_add, record->add);
			so->worst_residual = Max(so->worst_residual, vdb_bfloat_load(record->residual));
			so->worst_length = Max(so->worst_length, vdb_bfloat_load(record->length));
		}
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

/* Looks at the rows of a list: by their scan codes, or where all are refined by their records. */
static void
scan_list(IvfScan *so, uint32 probe)
{
	IvfIndex   *index = so->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		list = so->probes[probe].list;
	uint32		number = so->probes[probe].head;
	float		base = isfinite(so->probes[probe].base) ? so->probes[probe].base : 0;
	uint64		groups = 0;

	while (number != IVF_NO_GROUP && !so->stale)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
		BlockNumber block = a.block;
		bool		found = true;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_ROWS, number))
			vdb_page_corrupted(index->rel, IVF_META_BLOCK, "A list leads beyond the index.");
		if (!vdb_ivf_may_have(index, IVF_ROWS, ++groups))
		{
			doubt_list(so, block, "More groups are led to than there are.");
			break;
		}
		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
		for (uint32 i = 0; i < shelf->page_groups && number != IVF_NO_GROUP && a.block == block; i++)
		{
			IvfGroup   *group = vdb_ivf_find_group(buffer, a, list);
			VdbScanScale scale = so->ranking.scale;
			float		scores[IVF_LANES];
			uint32		lanes;

			found = group != NULL;
			if (!found)
				break;
			if (group->next != IVF_NO_GROUP)
				prefetch_group(index, group->next);
			else if (probe + 1 < so->probe_count && so->probes[probe + 1].head != IVF_NO_GROUP)
				prefetch_group(index, so->probes[probe + 1].head);

			if (so->refine_factor == 0)
				consider_records(so, probe, number, group);
			else
			{
				/* a little more, as sums with the base are rounded */
				scale.bound = isfinite(so->bound) ?
					so->bound - base + (fabsf(so->bound) + fabsf(base)) * 4 * FLT_EPSILON : INFINITY;
				lanes = so->kernels->scan_below(shelf->code_bytes, so->ranking.table,
												vdb_ivf_group_codes(group), vdb_ivf_group_add(group),
												vdb_ivf_group_scale(group), scale, scores);
				consider_lanes(so, probe, base, number, group, scores, lanes & group->used);
			}
			number = group->next;
			if (number != IVF_NO_GROUP)
				a = vdb_ivf_group_address(&index->geometry, shelf, number);
		}
		UnlockReleaseBuffer(buffer);
		if (!found)
			doubt_list(so, block, psprintf("List %u leads to a group that is not its own.", list));
	}
}

/*
 * Bounds of a row's distance, by what its record says.  size: of its centroid; whoever gives
 * more than there is of any row gets bounds of all.
 */
static VdbBounds
row_bounds(const IvfScan *so, float add, double residual, double size, double length, float score)
{
	VdbBounds	bounds = vdb_codec_bounds(&so->refine, add, residual, size + length,
										  so->rounding * length, score);

	if (so->index->support->metric == VDB_METRIC_HAMMING)
	{
		bounds.lower *= bounds.lower;
		bounds.upper *= bounds.upper;
	}
	return bounds;
}

/* The same of a candidate, whose record is at an address of the locked page. */
static VdbBounds
refine_row(const IvfScan *so, const Candidate *candidate, Buffer buffer, IvfAddress a)
{
	const IvfProbe *probe = &so->probes[candidate->probe];
	const IvfRecord *record = vdb_ivf_page_record(BufferGetPage(buffer), a);

	return row_bounds(so, record->add, vdb_bfloat_load(record->residual), probe->size,
					  vdb_bfloat_load(record->length), record_score(so, probe, record));
}

/* Has the CPU fetch a candidate's record. */
static inline void
prefetch_record(IvfScan *so, const Candidate *candidate)
{
	const IvfShelf *shelf = vdb_ivf_shelf(so->index, IVF_ROWS);
	IvfAddress	a = vdb_ivf_record_address(&so->index->geometry, shelf, candidate->lane / IVF_LANES,
										   candidate->lane % IVF_LANES);

	vdb_hints_prefetch(&so->index->hints, a.block, a.offset, shelf->record_stride);
	vdb_hints_prefetch_special(&so->index->hints, a.block);
}

#define PREFETCH_AHEAD 4

/* Moves candidates without records to the rows that wait to be returned. */
static void
take_unrefined(IvfScan *so)
{
	for (uint32 i = 0; i < so->count; i++)
	{
		VdbFound	found = {.lower = -INFINITY, .upper = INFINITY, .tid = so->candidates[i].tid};

		vdb_order_push(&so->order, &found);
	}
}

/*
 * Refines candidates from one to before another, and moves them to the rows that wait to
 * be returned.  A page is locked once for those in turn whose records are on it.
 */
static void
take_refined(IvfScan *so, uint32 first, uint32 end)
{
	IvfIndex   *index = so->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	BlockNumber block = InvalidBlockNumber;
	Buffer		buffer = InvalidBuffer;

	for (uint32 i = first; i < end; i++)
	{
		const Candidate *candidate = &so->candidates[i];
		IvfAddress	a = vdb_ivf_record_address(&index->geometry, shelf, candidate->lane / IVF_LANES,
											   candidate->lane % IVF_LANES);
		VdbFound	found = {.tid = candidate->tid};
		VdbBounds	bounds;

		if (i + PREFETCH_AHEAD < end)
			prefetch_record(so, candidate + PREFETCH_AHEAD);
		if (a.block != block)
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			CHECK_FOR_INTERRUPTS();
			buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
			block = a.block;
		}
		bounds = refine_row(so, candidate, buffer, a);
		found.lower = bounds.lower;
		found.upper = bounds.upper;
		vdb_order_push(&so->order, &found);
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

/* Moves this round's candidates to the rows that wait to be returned. */
static void
take_candidates(IvfScan *so)
{
	if (vdb_ivf_shelf(so->index, IVF_ROWS)->record_bits > 0)
		take_refined(so, 0, so->count);
	else
		take_unrefined(so);
	so->count = 0;
}

/*
 * Takes the nearest of the candidates that are left, where these are all rows of the lists,
 * and says beyond which distance the others may come in between.
 */
static void
take_nearest(IvfScan *so)
{
	uint32		left = so->count - so->taken;
	uint32		keep = (uint32) Min((uint64) so->rows * ORDER_FACTOR + REFINE_MORE, left);
	float		farthest = -FLT_MAX;
	double		size = 0;

	if (keep < left)
		select_nearest(so->candidates + so->taken, left, keep);
	take_refined(so, so->taken, so->taken + keep);
	for (uint32 i = 0; i < keep; i++)
		farthest = Max(farthest, so->candidates[so->taken + i].score);
	so->taken += keep;
	so->cutoff = INFINITY;
	if (so->taken < so->count)
	{
		for (uint32 i = 0; i < so->probe_count; i++)
			size = Max(size, so->probes[i].size);
		so->cutoff = row_bounds(so, so->worst_add, so->worst_residual, size, so->worst_length, farthest).lower;
	}
}

/* Remembers what was taken of these lists, by the farthest. */
static void
raise_floor(IvfScan *so)
{
	float		highest = so->floor;

	for (uint32 i = 0; i < so->count; i++)
		highest = Max(highest, so->candidates[i].score);
	if (highest > so->floor)
		so->edge_count = 0;
	so->floor = highest;
	for (uint32 i = 0; i < so->count; i++)
	{
		if (so->candidates[i].score != highest)
			continue;
		if (so->edge_count == so->edge_room)
		{
			so->edge_room = Max(2 * so->edge_room, 64);
			so->edge = so->edge == NULL ? palloc(so->edge_room * sizeof(uint32)) :
				repalloc_huge(so->edge, so->edge_room * sizeof(uint32));
		}
		so->edge[so->edge_count++] = so->candidates[i].lane;
	}
	if (so->edge_count > 1)
		qsort(so->edge, so->edge_count, sizeof(uint32), compare_lanes);
}

/* How many lists more the user allows to be probed, at most as many as a scan begins with. */
static uint32
lists_allowed(const IvfScan *so)
{
	uint32		probed = so->probed + so->probe_count;
	uint32		most = (uint32) so->settings->max_probes;

	if (probed == 0)
		return so->settings->probes;
	if (so->settings->iterative_scan == IVF_ITERATIVE_OFF || probed >= most)
		return 0;
	return Min((uint32) so->settings->probes, most - probed);
}

/* Takes more lists to those that are probed; returns how many. */
static uint32
add_lists(IvfScan *so)
{
	uint32		more = Min(lists_allowed(so), so->ranking.count);

	if (more == 0)
		return 0;
	if (so->probe_count + more > so->probe_room)
	{
		so->probe_room = Max(2 * so->probe_room, so->probe_count + more);
		so->probes = so->probes == NULL ? palloc(so->probe_room * sizeof(IvfProbe)) :
			repalloc_huge(so->probes, so->probe_room * sizeof(IvfProbe));
	}
	more = vdb_ivf_take_probes(&so->ranking, so->probes + so->probe_count, more);
	so->probe_count += more;
	return more;
}

/* Turns to the next lists; false when there are none. */
static bool
next_lists(IvfScan *so)
{
	so->probed += so->probe_count;
	so->probe_count = 0;
	so->floor = -INFINITY;
	so->edge_count = 0;
	return add_lists(so) > 0;
}

/*
 * Looks at the scan codes of all lists that are probed, of which nothing was taken yet,
 * and where they have too few rows that pass, of further ones: none is returned before
 * there are enough to choose from.
 */
static void
scan_lists(IvfScan *so)
{
	uint32		done = 0;

	do
	{
		for (; done < so->probe_count && !so->stale; done++)
			scan_list(so, done);
	} while (!so->stale && so->floor == -INFINITY && so->count + so->order.count < ENOUGH_FACTOR * so->rows &&
			 add_lists(so) > 0);
}

/* Begins again with the lists that are in force now, leaving out what was returned. */
static void
rank_again(IvfScan *so)
{
	vdb_ivf_rank_again(&so->ranking);
	so->stale = false;
	so->complete = false;
	so->left_out = false;
	so->taken = 0;
	so->cutoff = INFINITY;
	so->probed = 0;
	so->probe_count = 0;
	so->count = 0;
	so->order.count = 0;
	if (so->returned_count > 1)
		qsort(so->returned, so->returned_count, sizeof(ItemPointerData), compare_tids);
	so->sorted = so->returned_count;
}

/* One more round, of the nearest by estimate. */
static void
take_estimated(IvfScan *so)
{
	so->keep = (uint32) Min((uint64) so->rows * so->refine_factor + REFINE_MORE, PG_INT32_MAX);
	so->allowed = so->yielded + so->rows;
	so->left_out = false;
	so->count = 0;
	so->bound = INFINITY;
	scan_lists(so);
	cut_candidates(so);
	raise_floor(so);
	take_candidates(so);
}

/* One more round, of rows of which all records are looked at. */
static void
take_all(IvfScan *so)
{
	so->keep = PG_INT32_MAX;
	so->allowed = PG_UINT32_MAX;
	if (!so->left_out)
	{
		so->count = 0;
		so->taken = 0;
		scan_lists(so);
	}
	take_nearest(so);
	so->left_out = so->taken < so->count;
}

/* One more round. */
static void
go_on(IvfScan *so)
{
	if (!so->left_out && !next_lists(so))
	{
		so->complete = true;
		return;
	}
	if (so->refine_factor > 0)
		take_estimated(so);
	else
		take_all(so);
	so->rows = Min(2 * so->rows, MAX_ROWS);
	VDB_TESTPOINT("ivf-scan-taken");

	/* what was read may have been another list's */
	if (so->stale || vdb_ivf_is_stale(so->index, so->ranking.epoch))
		rank_again(so);
}

/* Remembers a row that is returned, in case the lists are ranked again. */
static void
note_returned(IvfScan *so, const ItemPointerData *tid)
{
	if (so->returned_count == so->returned_room)
	{
		so->returned_room = Max(2 * so->returned_room, 64);
		so->returned = so->returned == NULL ? palloc(so->returned_room * sizeof(ItemPointerData)) :
			repalloc_huge(so->returned, (Size) so->returned_room * sizeof(ItemPointerData));
	}
	so->returned[so->returned_count++] = *tid;
}

/* Is a distance smaller than that of a row which has been returned? */
static bool
is_late(const IvfScan *so, double distance)
{
	return so->has_last && distance < so->last && !so->null_query && !so->relaxed;
}

/*
 * Raises when a row that was found is on a block which the table does not have: the
 * server, asked for it, would not blame the index.  A table that is being scanned
 * does not get shorter.
 */
static void
check_row(IndexScanDesc scan, const ItemPointerData *tid)
{
	IvfScan    *so = scan->opaque;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (likely(block < so->table_blocks))
		return;
	so->table_blocks = RelationGetNumberOfBlocks(scan->heapRelation);
	if (block >= so->table_blocks || !ItemPointerIsValid(tid))
		vdb_page_corrupted(scan->indexRelation, IVF_META_BLOCK,
						   psprintf("It leads to row (%u,%u), which cannot exist.", block,
									ItemPointerGetOffsetNumberNoCheck(tid)));
}

/* Is the first row's place certain without measuring it? */
static bool
first_is_certain(const IvfScan *so)
{
	const VdbFound *first = &so->order.rows[0];

	return first->exact || so->null_query ||
		(!is_late(so, first->lower) && vdb_order_is_certain(&so->order));
}

/* Measures the first row, and puts it in its place, or drops it. */
static void
measure_first(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;
	double		distance;

	if (vdb_exact_measure(&so->exact, scan, so->order.rows[0].tid, so->index->support,
						  so->index->codec.dims, so->query, &distance))
		vdb_order_measured(&so->order, distance);
	else
		vdb_order_pop(&so->order);
}

/*
 * Measures the row returned last, if only bounds of its distance are known: what a further
 * round finds is late where it is nearer than that, not where it is nearer than the bound.
 */
static void
measure_last(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;
	double		distance;

	if (!so->has_last || so->last_exact || so->relaxed || so->null_query)
		return;
	if (vdb_exact_measure(&so->exact, scan, so->last_tid, so->index->support, so->index->codec.dims,
						  so->query, &distance))
		so->last = distance;
	so->last_exact = true;
}

/*
 * The next row, when its turn has come; false when there is none.  A row beyond the
 * radius ends a scan in strict order: see hnsw/README.md.
 */
static bool
next_row(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;

	for (;;)
	{
		VdbFound	first;

		CHECK_FOR_INTERRUPTS();
		if ((so->yielded >= so->allowed || so->order.count == 0) && !so->complete)
		{
			measure_last(scan);
			go_on(so);
			continue;
		}
		if (so->order.count == 0)
			return false;

		/* rows that were left out may come before it */
		if (so->left_out && so->order.rows[0].upper > so->cutoff)
		{
			go_on(so);
			continue;
		}
		if (so->order.rows[0].lower > so->radius)
		{
			if (!so->relaxed || so->complete)
				return false;
			vdb_order_pop(&so->order);
			so->yielded++;
			continue;
		}
		check_row(scan, &so->order.rows[0].tid);
		if (!first_is_certain(so))
		{
			measure_first(scan);
			continue;
		}
		first = so->order.rows[0];
		vdb_order_pop(&so->order);
		if (is_late(so, first.upper))
			continue;
		so->has_last = true;
		so->last = first.upper;
		so->last_tid = first.tid;
		so->last_exact = first.exact;
		so->yielded++;
		note_returned(so, &first.tid);
		scan->xs_heaptid = first.tid;
		return true;
	}
}

bool
vdb_ivf_gettuple(IndexScanDesc scan, ScanDirection dir)
{
	IvfScan    *so = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(so->context);
	bool		found;

	if (!so->started)
		start(scan);
	found = !so->empty && next_row(scan);

	/* a filter may let too much pass */
	scan->xs_recheck = so->filter != NULL || so->recheck;
	scan->xs_recheckorderby = false;
	MemoryContextSwitchTo(old);
	return found;
}
