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
#include "common/hashfn.h"
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
#include "stats/stats.h"
#include "testpoint.h"

/* The first round is for few rows; each further one is for twice as many. */
#define MAX_ROWS 100000

/* Candidates for each row of a round, before more lists are probed for it. */
#define ENOUGH_FACTOR 2

/* Rows that are put in order for each that a round is for, where records of all are looked at. */
#define ORDER_FACTOR 4

/* A row that was taken by one of its two lanes. */
typedef struct TakenRow
{
	ItemPointerData tid;
	char		status;			/* simplehash's own */
} TakenRow;

#define SH_PREFIX taken
#define SH_ELEMENT_TYPE TakenRow
#define SH_KEY_TYPE ItemPointerData
#define SH_KEY tid
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) &(key), sizeof(ItemPointerData))
#define SH_EQUAL(tb, a, b) (memcmp(&(a), &(b), sizeof(ItemPointerData)) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct IvfScan
{
	VdbStatsScan stats;			/* first: see there */
	MemoryContext context;		/* of one rescan */
	IvfIndex   *index;
	const IvfSettings *settings;
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
	IvfEffort	effort;			/* of this round */
	IvfRefineQuery refine;
	IvfProbe   *probes;			/* probed at present */
	uint32		probe_count;
	uint32		probe_room;
	uint32		probed;			/* lists, before them */
	uint64		ranked;			/* lists in all */

	IvfNearest	nearest;		/* candidates of this round */
	bool		by_records;		/* all rows are looked at by their records */
	uint32		taken;			/* then, candidates that were taken: the first */
	double		cutoff;			/* and no other one is nearer */
	uint32		rows;			/* that the next round is for */
	float		floor;			/* the greatest score of a row taken from these lists */
	uint32	   *edge;			/* lanes taken that have their list's floor, ascending */
	uint32		edge_count;
	uint32		edge_room;

	taken_hash *rows_taken;		/* of all rounds; NULL: no row can be found twice */

	VdbOrder	order;
	uint32		allowed;		/* rows that may be returned before the next round */
	uint32		yielded;		/* rows that were */

	ItemPointerData *returned;	/* these rows */
	uint32		returned_count;
	uint32		returned_room;
	uint32		sorted;			/* of them, the first so many: before the lists were ranked again */

	bool		has_last;
	double		last;			/* upper bound of the last row's distance */
	double		last_lower;		/* nothing that was returned before it is farther than this */
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
	fresh.stats = so->stats;
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

static int
compare_lanes(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Has an earlier round taken this row? */
static bool
is_taken(const IvfScan *so, const IvfCandidate *candidate)
{
	float		floor = so->probes[candidate->probe].floor;

	if (candidate->score != floor)
		return candidate->score < floor;
	return so->edge_count > 0 &&
		bsearch(&candidate->lane, so->edge, so->edge_count, sizeof(uint32), compare_lanes) != NULL;
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

/* Was a row that is in two lists taken before? */
static bool
is_known(const IvfScan *so, const uint8 *payload)
{
	ItemPointerData tid;

	if (so->rows_taken == NULL)
		return false;
	memcpy(&tid, payload, sizeof(tid));
	return taken_lookup(so->rows_taken, tid) != NULL;
}

/* Is a row wanted by this round? */
static bool
is_wanted(void *state, const IvfCandidate *candidate, const uint8 *payload)
{
	const IvfScan *so = state;

	return !is_taken(so, candidate) && !was_returned(so, payload) && !is_known(so, payload) &&
		(so->filter == NULL || vdb_filter_passes(so->filter, payload + sizeof(ItemPointerData)));
}

/* What has been looked at, for statistics; the rest is counted on the way. */
static void
collect_counts(VdbStatsScan *stats)
{
	const IvfScan *so = (const IvfScan *) stats;

	stats->now.distances = so->ranked + so->nearest.looked;
	stats->effort = so->probed + so->probe_count;
}

static void
start(IndexScanDesc scan)
{
	IvfScan    *so = scan->opaque;
	void	   *vector;
	float		norm;

	if (scan->numberOfOrderBys != 1)
		elog(ERROR, "cannot scan an inverted file without order");
	pgstat_count_index_scan(scan->indexRelation);
	vdb_count_index_search(scan);

	so->index = vdb_ivf_open(scan->indexRelation);
	so->settings = vdb_ivf_settings(scan->indexRelation);
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
	vdb_ivf_rank(&so->ranking, so->index, vector, norm, false);
	so->ranked = so->ranking.lists;
	vdb_ivf_refine_prepare(&so->refine, so->index, vector, norm);
	so->by_records = so->index->scan.kind == VDB_SCAN_NOTHING;
	vdb_ivf_nearest_init(&so->nearest, &so->ranking, so->by_records ? &so->refine : NULL, is_wanted, so);
	if (so->index->spill)
		so->rows_taken = taken_create(so->context, 256, NULL);
	so->rows = VDB_FEW_ROWS;
	so->cutoff = INFINITY;
	if (so->settings->target_recall > 0 &&
		!vdb_ivf_is_calibrated(&so->index->calibration, so->ranking.lists))
		ereport(DEBUG1,
				(errmsg_internal("ivfpq.target_recall does not apply to index \"%s\": it is not calibrated",
								 RelationGetRelationName(scan->indexRelation))));
	VDB_TESTPOINT("ivf-scan-ranked");
}

/*
 * Bounds of a row's distance, by what its record says.  size: of its centroid; rounding: of the
 * score.  Whoever gives more than there is of any row gets bounds of all.
 */
static VdbBounds
row_bounds(const IvfScan *so, float add, double residual, double size, double length,
		   double rounding, float score)
{
	VdbBounds	bounds = vdb_codec_bounds(&so->refine.query, add, residual, size + length,
										  rounding * length, score);

	if (so->index->support->metric == VDB_METRIC_HAMMING)
	{
		bounds.lower *= bounds.lower;
		bounds.upper *= bounds.upper;
	}
	return bounds;
}

/* The same of a candidate, whose record is at an address of the locked page. */
static VdbBounds
refine_row(const IvfScan *so, const IvfCandidate *candidate, Buffer buffer, IvfAddress a)
{
	const IvfProbe *probe = &so->probes[candidate->probe];
	const IvfRecord *record = vdb_ivf_page_record(BufferGetPage(buffer), a);

	return row_bounds(so, record->add, vdb_bfloat_load(record->residual), probe->size,
					  vdb_bfloat_load(record->length), so->refine.rounding,
					  vdb_ivf_refine_score(&so->refine, so->index, probe, record));
}

#define PREFETCH_AHEAD 4

/* Moves candidates without records to the rows that wait to be returned. */
static void
take_unrefined(IvfScan *so)
{
	so->stats.now.candidates += so->nearest.count;
	for (uint32 i = 0; i < so->nearest.count; i++)
	{
		VdbFound	found = {.lower = -INFINITY, .upper = INFINITY, .tid = so->nearest.rows[i].tid};

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
	BlockNumber block = InvalidBlockNumber;
	Buffer		buffer = InvalidBuffer;

	so->stats.now.candidates += end - first;
	if (first < end && !vdb_ivf_record_is_resident(index, IVF_ROWS, so->nearest.rows[first].lane))
	{
		for (uint32 i = first; i < end; i++)
			vdb_ivf_request_record(index, IVF_ROWS, so->nearest.rows[i].lane);
	}
	for (uint32 i = first; i < end; i++)
	{
		const IvfCandidate *candidate = &so->nearest.rows[i];
		IvfAddress	a = vdb_ivf_lane_record(index, IVF_ROWS, candidate->lane);
		VdbFound	found = {.tid = candidate->tid};
		VdbBounds	bounds;

		if (i + PREFETCH_AHEAD < end)
			vdb_ivf_prefetch_record(index, IVF_ROWS, (candidate + PREFETCH_AHEAD)->lane);
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

/*
 * Leaves each row once among the candidates from one to before another, and none that was
 * taken before; returns where they end now.
 */
static uint32
drop_known(IvfScan *so, uint32 first, uint32 end)
{
	IvfCandidate *rows = so->nearest.rows;
	uint32		kept = first;

	if (so->rows_taken == NULL)
		return end;
	for (uint32 i = first; i < end; i++)
	{
		bool		known;

		(void) taken_insert(so->rows_taken, rows[i].tid, &known);
		if (!known)
			rows[kept++] = rows[i];
	}
	return kept;
}

/* Moves this round's candidates to the rows that wait to be returned. */
static void
take_candidates(IvfScan *so)
{
	so->nearest.count = drop_known(so, 0, so->nearest.count);
	if (vdb_ivf_shelf(so->index, IVF_ROWS)->record_bits > 0)
		take_refined(so, 0, so->nearest.count);
	else
		take_unrefined(so);
	so->nearest.count = 0;
}

/* Where records of all rows are looked at: have these lists any that were not taken? */
static bool
rows_are_left(const IvfScan *so)
{
	return so->taken < so->nearest.count || so->nearest.bound != INFINITY;
}

/*
 * Takes the nearest of the candidates that are left, where these are all rows of the lists,
 * and says beyond which distance the others may come in between.
 */
static void
take_nearest(IvfScan *so)
{
	const IvfNearest *nearest = &so->nearest;
	uint32		keep = (uint32) Min(vdb_ivf_lanes_refined(so->index, so->rows, ORDER_FACTOR),
									nearest->count - so->taken);
	float		farthest = -FLT_MAX;
	double		size = 0;

	vdb_ivf_nearest_select(&so->nearest, so->taken, keep);
	for (uint32 i = 0; i < keep; i++)
		farthest = Max(farthest, nearest->rows[so->taken + i].score);
	take_refined(so, so->taken, drop_known(so, so->taken, so->taken + keep));
	so->taken += keep;
	so->cutoff = INFINITY;
	if (rows_are_left(so))
	{
		for (uint32 i = 0; i < so->probe_count; i++)
			size = Max(size, so->probes[i].size);
		so->cutoff = row_bounds(so, nearest->worst_add, nearest->worst_residual, size,
								nearest->worst_length, so->refine.coarse_rounding, farthest).lower;
	}
}

/*
 * Remembers what was taken of the first `lists` lists, by the farthest: the first `count` of the
 * candidates.
 */
static void
raise_floor(IvfScan *so, uint32 count, uint32 lists)
{
	float		highest = -INFINITY;

	for (uint32 i = 0; i < count; i++)
		highest = Max(highest, so->nearest.rows[i].score);

	/* else the edge of lists whose floor is higher stays */
	if (highest > so->floor)
		so->edge_count = 0;
	so->floor = Max(so->floor, highest);
	for (uint32 i = 0; i < lists; i++)
		so->probes[i].floor = Max(so->probes[i].floor, highest);
	for (uint32 i = 0; i < count; i++)
	{
		if (so->nearest.rows[i].score != highest)
			continue;
		if (so->edge_count == so->edge_room)
		{
			so->edge_room = Max(2 * so->edge_room, 64);
			so->edge = so->edge == NULL ? palloc(so->edge_room * sizeof(uint32)) :
				repalloc_huge(so->edge, so->edge_room * sizeof(uint32));
		}
		so->edge[so->edge_count++] = so->nearest.rows[i].lane;
	}
	if (so->edge_count > 1)
		qsort(so->edge, so->edge_count, sizeof(uint32), compare_lanes);
}

/* How many lists more the user allows to be probed, at most as many as a scan is to begin with. */
static uint32
lists_allowed(const IvfScan *so)
{
	uint32		probed = so->probed + so->probe_count;
	uint32		most = (uint32) so->settings->max_probes;

	if (probed == 0)
		return so->effort.probes;
	if (so->settings->iterative_scan == IVF_ITERATIVE_OFF || probed >= most)
		return 0;
	return Min(so->effort.probes, most - probed);
}

/* Takes so many more lists, as far as the user allows, to those that are probed; returns how many. */
static uint32
add_lists(IvfScan *so, uint32 more)
{
	more = Min(more, Min(lists_allowed(so), so->ranking.count));
	if (more == 0)
		return 0;
	if (so->probe_count + more > so->probe_room)
	{
		so->probe_room = Max(2 * so->probe_room, so->probe_count + more);
		so->probes = so->probes == NULL ? palloc(so->probe_room * sizeof(IvfProbe)) :
			repalloc_huge(so->probes, so->probe_room * sizeof(IvfProbe));
	}
	more = vdb_ivf_take_probes(&so->ranking, so->probes + so->probe_count, more);
	for (uint32 i = 0; i < more; i++)
		so->probes[so->probe_count + i].floor = -INFINITY;
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
	return add_lists(so, so->effort.probes) > 0;
}

/* Adds to these lists, of which rows are left, what more rows than before take to be found. */
static void
widen_lists(IvfScan *so)
{
	uint32		probed = so->probed + so->probe_count;

	if (so->effort.probes > probed)
		add_lists(so, so->effort.probes - probed);
}

/*
 * Looks at the scan codes of all lists that are probed, of which nothing was taken yet,
 * and where they have too few rows that pass, of further ones: none is returned before
 * there are enough to choose from.
 */
static void
scan_lists(IvfScan *so)
{
	uint32		enough = (ENOUGH_FACTOR * so->rows) << so->index->spill;
	uint32		done = 0;

	do
	{
		for (; done < so->probe_count && !so->nearest.stale; done++)
			vdb_ivf_nearest_scan(&so->nearest, so->probes, done, so->probe_count);
	} while (!so->nearest.stale && so->floor == -INFINITY && so->nearest.bound == INFINITY &&
			 so->nearest.count + so->order.count < enough && add_lists(so, so->effort.probes) > 0);
}

/* Begins again with the lists that are in force now, leaving out what was returned. */
static void
rank_again(IvfScan *so)
{
	vdb_ivf_rank_again(&so->ranking);
	so->ranked += so->ranking.lists;
	so->nearest.stale = false;
	so->complete = false;
	so->nearest.left_out = false;
	so->taken = 0;
	so->cutoff = INFINITY;
	so->probed = 0;
	so->probe_count = 0;
	so->nearest.count = 0;
	so->order.count = 0;
	if (so->rows_taken != NULL)
		taken_reset(so->rows_taken);
	if (so->returned_count > 1)
		qsort(so->returned, so->returned_count, sizeof(ItemPointerData), compare_tids);
	so->sorted = so->returned_count;
}

/* One more round, of the nearest by estimate. */
static void
take_estimated(IvfScan *so)
{
	so->allowed = so->yielded + so->rows;
	vdb_ivf_nearest_begin(&so->nearest, (uint32) Min(vdb_ivf_lanes_refined(so->index, so->rows,
																		   so->effort.refine_factor),
													 PG_INT32_MAX));
	scan_lists(so);
	vdb_ivf_nearest_cut(&so->nearest);
	raise_floor(so, so->nearest.count, so->probe_count);
	take_candidates(so);
}

/*
 * One more round, of rows of which all records are looked at: of lists of which nothing was
 * looked at yet, or those that are left of the first `scanned` lists, and what the others add.  Rows
 * that there was no memory for are looked at once more when all that were kept are taken.
 */
static void
take_all(IvfScan *so, uint32 scanned)
{
	IvfNearest *nearest = &so->nearest;

	so->allowed = PG_UINT32_MAX;
	if (nearest->left_out && so->taken > 0)
		raise_floor(so, so->taken, scanned);
	vdb_ivf_nearest_drop(nearest, so->taken);
	so->taken = 0;
	if (nearest->count > 0)
	{
		for (; scanned < so->probe_count && !nearest->stale; scanned++)
			vdb_ivf_nearest_scan(nearest, so->probes, scanned, so->probe_count);
	}
	else
	{
		vdb_ivf_nearest_begin(nearest, vdb_ivf_nearest_affordable());
		scan_lists(so);
	}
	take_nearest(so);
	nearest->left_out = rows_are_left(so);
}

/* One more round. */
static void
go_on(IvfScan *so)
{
	uint32		scanned;

	vdb_stats_begin_round(&so->stats);

	/* rows that were returned count twice: what is found now of what was missed there is late */
	so->effort = vdb_ivf_effort(so->settings, &so->index->calibration, so->ranking.lists,
								2.0 * so->yielded + so->rows);
	scanned = so->probe_count;
	if (so->nearest.left_out)
		widen_lists(so);
	else if (!next_lists(so))
	{
		so->complete = true;
		return;
	}
	so->stats.now.rounds += so->rows > VDB_FEW_ROWS;
	if (so->by_records)
		take_all(so, scanned);
	else
		take_estimated(so);
	so->rows = Min(2 * so->rows, MAX_ROWS);
	VDB_TESTPOINT("ivf-scan-taken");

	/* what was read may have been another list's */
	if (so->nearest.stale || vdb_ivf_is_stale(so->index, so->ranking.epoch))
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

	so->stats.now.exact++;
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
	so->stats.now.exact++;
	if (vdb_exact_measure(&so->exact, scan, so->last_tid, so->index->support, so->index->codec.dims,
						  so->query, &distance))
		so->last = distance;
	else
		so->last = so->last_lower;	/* it is dead, so nobody has seen it */
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
		if (so->nearest.left_out && so->order.rows[0].upper > so->cutoff)
		{
			measure_last(scan);
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
		so->last_lower = first.lower;
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
		vdb_stats_begin_scan(&so->stats, scan->indexRelation, so->context, collect_counts, "probes");
	vdb_stats_enter(&so->stats);
	vdb_exact_check_snapshot(scan);
	if (!so->started)
		start(scan);
	found = !so->empty && next_row(scan);
	vdb_exact_rest(&so->exact);
	vdb_exact_check_snapshot(scan);

	/* a filter may let too much pass */
	scan->xs_recheck = so->filter != NULL || so->recheck;
	scan->xs_recheckorderby = false;
	MemoryContextSwitchTo(old);
	vdb_stats_leave(&so->stats, found);
	return found;
}
