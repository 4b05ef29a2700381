/*
 * hnsw_scan.c
 *	  Index scans: from what a search found to rows in exact order.
 *
 * A node code bounds the operator's distance.  Found nodes wait in a heap by
 * their lower bounds; the first one may be returned as soon as its upper bound
 * is no greater than every other lower bound.  Where intervals overlap, the
 * row itself is fetched and measured, so rows come back in the order of the
 * operator whatever the codes can tell apart.
 *
 * A scan may have a radius (index_range.c).  It ends when all lower bounds are
 * beyond; rows whose intervals the radius divides are returned, for the executor
 * to decide.
 *
 * A scan holds no pin or lock between rows.  It needs an MVCC snapshot: a
 * row's identifier may be used again after it was copied out of the index.
 */
#include "postgres.h"

#include <math.h>

#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "hnsw/hnsw_private.h"
#include "index/index_exact.h"
#include "stats/stats.h"
#include "testpoint.h"

/*
 * A search that goes on expands at most so many candidates before it looks at
 * the user's limits.  Its pool is a sorted array, which is slow when long.
 */
#define MAX_ROUND 256

#define NO_ROW PG_UINT32_MAX

typedef struct HnswScan
{
	VdbStatsScan stats;			/* first: see there */
	MemoryContext context;		/* of one rescan */
	HnswIndex  *index;
	HnswSearch	search;
	bool		started;
	bool		complete;		/* nothing more to be searched */
	bool		draining;		/* it goes no further than to what it has weighed */
	bool		cut_short;		/* there was more, beyond the user's limits */
	bool		null_query;		/* no distance is known to anything */
	bool		empty;			/* no row can be the answer */
	bool		recheck;		/* keys say more than we look at */
	double		radius;			/* rows farther away are not wanted */
	HnswIterativeScan iterative;	/* hnsw.iterative_scan when the scan began */
	Datum		query;			/* the user's value, not toasted; 0 if null */

	uint32	   *heap;			/* of indexes into search.found, by lower bound */
	uint32		heap_count;
	uint32		heap_size;
	uint32		taken;			/* found nodes that went into the heap */
	bool		calibrated;		/* it goes as far as the target asks for */
	double		target;			/* hnsw.target_recall when the scan began, */
	HnswCalibration calibration;	/* and what was known of the index then */
	uint32		ef;				/* of the search so far */
	uint32		allowed;		/* rows that search may yield */
	uint32		yielded;		/* of those, and what shares a node with one is none */
	uint32		same;			/* of the row returned last: index into search.found,
								 * or NO_ROW */

	bool		has_last;
	double		last;			/* upper bound of the last row's distance */
	double		last_lower;		/* nothing that was returned before it is farther than this */
	ItemPointerData last_tid;
	bool		last_exact;

	/* kept over rescans */
	VdbExact	exact;
	BlockNumber table_blocks;	/* the table has at least */
} HnswScan;

IndexScanDesc
vdb_hnsw_beginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	HnswScan   *so = palloc0(sizeof(HnswScan));

	so->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw scan", ALLOCSET_DEFAULT_SIZES);
	so->exact.memory = CurrentMemoryContext;
	scan->opaque = so;
	return scan;
}

void
vdb_hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScan   *so = scan->opaque;
	HnswScan	fresh = {
		.context = so->context,
		.exact = so->exact,
		.table_blocks = so->table_blocks
	};

	vdb_exact_reset(&so->exact);
	MemoryContextReset(so->context);
	fresh.stats = so->stats;
	*so = fresh;
	so->same = NO_ROW;
	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

void
vdb_hnsw_endscan(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;

	vdb_exact_end(&so->exact);
	MemoryContextDelete(so->context);
	pfree(so);
	scan->opaque = NULL;
}

/*
 * Raises when a row that was found is on a block which the table does not have: the
 * server, asked for it, would not blame the index.  A table that is being scanned
 * does not get shorter.
 */
static void
check_row(IndexScanDesc scan, const HnswFound *found, const ItemPointerData *tid)
{
	HnswScan   *so = scan->opaque;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (likely(block < so->table_blocks))
		return;
	so->table_blocks = RelationGetNumberOfBlocks(scan->heapRelation);
	if (block >= so->table_blocks)
		vdb_page_corrupted(scan->indexRelation,
						   vdb_hnsw_node_address(&so->index->geometry, found->nid).block,
						   psprintf("Node %u leads to row (%u,%u), which cannot exist.", found->nid,
									block, ItemPointerGetOffsetNumberNoCheck(tid)));
}

/* The operator's distance to the row at tid; false when the scan's snapshot sees none. */
static bool
measure(IndexScanDesc scan, ItemPointerData tid, double *distance)
{
	HnswScan   *so = scan->opaque;

	so->stats.now.exact++;
	return vdb_exact_measure(&so->exact, scan, tid, so->index->support, so->index->codec.dims,
							 so->query, distance);
}

static inline double
heap_key(const HnswScan *so, uint32 at)
{
	return so->search.found[so->heap[at]].lower;
}

static void
heap_swap(HnswScan *so, uint32 a, uint32 b)
{
	uint32		t = so->heap[a];

	so->heap[a] = so->heap[b];
	so->heap[b] = t;
}

static void
heap_sift_down(HnswScan *so, uint32 at)
{
	for (;;)
	{
		uint32		child = 2 * at + 1;

		if (child >= so->heap_count)
			return;
		if (child + 1 < so->heap_count && heap_key(so, child + 1) < heap_key(so, child))
			child++;
		if (heap_key(so, at) <= heap_key(so, child))
			return;
		heap_swap(so, at, child);
		at = child;
	}
}

static void
heap_pop(HnswScan *so)
{
	so->heap[0] = so->heap[--so->heap_count];
	heap_sift_down(so, 0);
}

/* Moves what the search found since the last call into the heap. */
static void
take_found(HnswScan *so)
{
	if (so->search.found_count > so->heap_size)
	{
		so->heap_size = so->search.found_count * 2;
		if (so->heap == NULL)
			so->heap = MemoryContextAllocHuge(so->context, (Size) so->heap_size * sizeof(uint32));
		else
			so->heap = repalloc_huge(so->heap, (Size) so->heap_size * sizeof(uint32));
	}
	for (; so->taken < so->search.found_count; so->taken++)
	{
		uint32		at = so->heap_count++;

		so->heap[at] = so->taken;
		while (at > 0 && heap_key(so, at) < heap_key(so, (at - 1) / 2))
		{
			heap_swap(so, at, (at - 1) / 2);
			at = (at - 1) / 2;
		}
	}
}

/* Puts the next row that shares the node of the first in its place, if there is one. */
static void
replace_first(HnswScan *so)
{
	HnswFound  *first = &so->search.found[so->heap[0]];

	VDB_TESTPOINT("hnsw-scan-before-postings");
	if (!vdb_hnsw_next_equal(&so->search, first, &first->tid))
		heap_pop(so);
}

/*
 * Keeps the query as the user gave it; returns it in code space.  Where there
 * is no such vector (null, or zero under cosine), any will do.
 */
static void *
load_query(IndexScanDesc scan, float *norm)
{
	HnswScan   *so = scan->opaque;
	const VdbCodec *codec = &so->index->codec;
	void	   *vector = NULL;

	*norm = 0;
	so->null_query = (scan->orderByData->sk_flags & SK_ISNULL) != 0;
	if (!so->null_query)
	{
		so->query = PointerGetDatum(PG_DETOAST_DATUM_COPY(scan->orderByData->sk_argument));
		vdb_index_check_dims(so->index->support, so->index->codec.dims, so->query);
		vector = vdb_index_transform(so->index->support, codec, so->query, norm);
	}
	return vector != NULL ? vector : palloc0(codec->vector_bytes);
}

/* What the search has looked at, for statistics. */
static void
collect_counts(VdbStatsScan *stats)
{
	const HnswScan *so = (const HnswScan *) stats;

	stats->now.candidates = so->search.found_count;
	stats->now.distances = so->search.weighed;
	stats->effort = so->ef;
}

static void
start(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	VdbFilter *filter;
	uint32		places;
	void	   *vector;
	float		norm;

	if (scan->numberOfOrderBys != 1)
		elog(ERROR, "cannot scan hnsw index without order");
	pgstat_count_index_scan(scan->indexRelation);
	vdb_count_index_search(scan);

	so->index = vdb_hnsw_open(scan->indexRelation);
	vector = load_query(scan, &norm);
	so->radius = vdb_index_load_radius(scan->keyData, scan->numberOfKeys, so->null_query,
									   &so->empty, &so->recheck);
	filter = vdb_index_form_filter(so->index->attributes, scan->keyData, scan->numberOfKeys);
	so->empty |= filter != NULL && filter->never;
	so->started = true;
	if (so->empty)
		return;
	vdb_hnsw_search_begin(&so->search, so->index, vector, norm);
	so->iterative = hnsw_iterative_scan;
	so->search.keep_overflow = so->iterative != HNSW_ITERATIVE_OFF;
	so->search.pending = so->index->pending;
	so->ef = vdb_hnsw_first_effort(&so->index->calibration, so->index->extents,
								   &so->search.stretch);
	so->target = hnsw_target_recall;
	so->calibration = so->index->calibration;
	so->calibrated = vdb_hnsw_effort(&so->calibration, so->index->extents, so->target, 1) > 0;
	if (hnsw_target_recall > 0 && !so->calibrated)
		ereport(DEBUG1,
				(errmsg_internal("hnsw.target_recall does not apply to index \"%s\": it is not calibrated",
								 RelationGetRelationName(scan->indexRelation))));
	VDB_TESTPOINT("hnsw-scan-before-descent");
	so->complete = !so->search.keep_overflow;
	so->search.filter = filter;
	places = so->ef;
	if (filter != NULL)
	{
		/*
		 * What a calibration says of ef is said of a pool with its slack; and
		 * where a search is the only one, that is for rows which have gone.
		 */
		if (so->calibrated || so->complete)
			places += HNSW_POOL_SLACK;
		places = Max(places, HNSW_POOL_SLACK);

		/* how near the nearest are that pass, no calibration knows */
		so->search.stretch = get_float4_infinity();
		vdb_hnsw_sweep_plan(&so->search, places);
	}
	vdb_hnsw_search_nearest(&so->search, places);
	take_found(so);
	if (so->complete)
		so->allowed = so->ef;
	else if (so->calibrated)
	{
		so->ef = Min(so->ef, so->search.walked);
		so->allowed = HNSW_STRETCH_ROWS;
	}
	else
		so->allowed = (so->ef + HNSW_POOL_SLACK) / 2;
	VDB_TESTPOINT("hnsw-scan-after-search");
}

/* Rows that the search has looked at.  What a filter does not let pass is none of them. */
static inline int64
visited_rows(const HnswScan *so)
{
	return so->search.filter != NULL ? so->search.found_count : so->search.weighed;
}

/* May the search go on, as far as the user's limits are concerned? */
static bool
within_limits(const HnswScan *so)
{
	double		limit = (double) work_mem * 1024 * hnsw_scan_mem_multiplier;

	return visited_rows(so) < hnsw_max_scan_tuples &&
		MemoryContextMemAllocated(so->context, true) < limit;
}

/*
 * For whoever wonders where the rest of an answer is.  An answer that is complete
 * without it never gets here.
 */
static void
report_cut_short(const HnswScan *so)
{
	const char *index = RelationGetRelationName(so->index->rel);

	if (visited_rows(so) >= hnsw_max_scan_tuples)
		ereport(DEBUG1,
				(errmsg("scan of index \"%s\" ended at hnsw.max_scan_tuples", index),
				 errdetail("It looked at %lld rows.", (long long) visited_rows(so)),
				 errhint("Raise hnsw.max_scan_tuples, or have another index find the rows.")));
	else
		ereport(DEBUG1,
				(errmsg("scan of index \"%s\" ended at its limit of memory", index),
				 errdetail("It looked at %lld rows.", (long long) visited_rows(so)),
				 errhint("Raise hnsw.scan_mem_multiplier or work_mem, or have another index find the rows.")));
}

/*
 * How many more candidates are to be expanded before so many rows may be
 * returned, of a scan with a calibration: as it says.
 */
static uint32
missing_effort(const HnswScan *so, uint32 rows)
{
	double		effort = vdb_hnsw_effort(&so->calibration, so->calibration.extents, so->target, rows);

	if (effort > so->ef)
		return (uint32) Min(effort - so->ef, PG_INT32_MAX);

	/* what was found is enough, unless it turned out not to be there any more */
	return so->heap_count > 0 ? 0 : Max(1, so->ef);
}

/*
 * Searches further after all rows that were allowed have been returned.  A
 * search that may go on yields only the nearer half of what it looked at: it
 * keeps ahead, so that few rows turn up too late for their place.  (The first rows
 * of one with a filter are more than half of what passed, since it has looked at
 * many others.)  A calibration knows how far it has to be ahead.
 */
static void
go_on(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;

	vdb_stats_begin_round(&so->stats);

	/* what comes now is compared with the last row: know its distance */
	if (so->has_last && !so->last_exact)
	{
		double		distance;

		if (measure(scan, so->last_tid, &distance))
			so->last = distance;
		else
			so->last = so->last_lower;	/* it is dead, so nobody has seen it */
		so->last_exact = true;
	}
	if (so->draining || !within_limits(so) || so->search.overflow.count == 0)
	{
		so->cut_short |= so->search.overflow.count > 0 || so->search.swept_short;
		vdb_hnsw_search_drain(&so->search, MAX_ROUND);
		so->draining = true;
		so->complete = so->search.overflow.count == 0;
	}
	else
	{
		uint32		rows = so->allowed + (so->allowed + 1) / 2;
		uint32		more = so->calibrated ? missing_effort(so, rows) : so->ef;
		uint32		done = 0;

		so->stats.now.rounds++;
		while (done < more && within_limits(so) && so->search.overflow.count > 0)
			done += vdb_hnsw_search_resume(&so->search, Min(more - done, MAX_ROUND));
		so->ef += done;
		so->allowed = so->calibrated ? rows : so->allowed + (done + 1) / 2;
	}
	take_found(so);
}

/*
 * Has the search to go on before another row is returned?  Where it has gone as far as
 * it may, what it has weighed is read in the order of estimates: until the first row is
 * nearer than what is left could be, by the worst estimate there has been.
 */
static bool
is_to_go_on(const HnswScan *so)
{
	if (so->complete)
		return false;
	if (so->heap_count == 0)
		return true;
	if (so->draining)
		return !(so->search.found[so->heap[0]].score <= so->search.settled);
	return so->yielded >= so->allowed;
}

/* Is a distance smaller than that of a row which has been returned? */
static bool
is_late(const HnswScan *so, double distance)
{
	return so->has_last && distance < so->last && !so->null_query &&
		so->iterative != HNSW_ITERATIVE_RELAXED;
}

/* Is all that was found and not returned farther away than is wanted? */
static bool
is_beyond(const HnswScan *so)
{
	return heap_key(so, 0) > so->radius;
}

/*
 * Does the scan end when the turn of a row comes that is beyond the radius?
 *
 * In strict order it does.  Without a radius it would return that row, or
 * another one that is beyond, and leave out whatever turns up nearer afterwards:
 * all that it could still return is farther away.  By now the search has gone
 * ahead as far as it does for any row.
 *
 * Who has asked for late rows gets those within the radius, as far as the user's
 * limits go.  What is beyond is passed over as if it had been returned, but
 * neither measured nor looked at by the executor.
 */
static bool
ends_at_radius(const HnswScan *so)
{
	return so->iterative != HNSW_ITERATIVE_RELAXED || so->complete;
}

/*
 * Is the first found row's place certain without measuring it?  One that shares its
 * node is measured for all that do.
 */
static bool
first_is_certain(const HnswScan *so, const HnswFound *first)
{
	if (first->exact || so->null_query)
		return true;
	if (first->postings != HNSW_NO_POSTINGS || is_late(so, first->lower))
		return false;
	for (uint32 child = 1; child <= 2 && child < so->heap_count; child++)
	{
		if (first->upper > heap_key(so, child))
			return false;
	}
	return true;
}

/*
 * The next row that shares the node of the row returned last: it is as far away,
 * and no search was needed to find it.
 */
static bool
next_same(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;

	if (so->same == NO_ROW)
		return false;
	VDB_TESTPOINT("hnsw-scan-before-postings");
	if (vdb_hnsw_next_equal(&so->search, &so->search.found[so->same], &scan->xs_heaptid))
	{
		check_row(scan, &so->search.found[so->same], &scan->xs_heaptid);
		return true;
	}
	so->same = NO_ROW;
	return false;
}

bool
vdb_hnsw_gettuple(IndexScanDesc scan, ScanDirection dir)
{
	HnswScan   *so = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(so->context);
	bool		result = false;

	if (!so->started)
		vdb_stats_begin_scan(&so->stats, scan->indexRelation, so->context, collect_counts, "ef_search");
	vdb_stats_enter(&so->stats);
	vdb_exact_check_snapshot(scan);
	if (!so->started)
		start(scan);
	while (!so->empty)
	{
		HnswFound  *first;

		CHECK_FOR_INTERRUPTS();
		if (next_same(scan))
		{
			result = true;
			break;
		}
		if (is_to_go_on(so))
		{
			go_on(scan);
			continue;
		}
		if (so->yielded >= so->allowed || so->heap_count == 0)
		{
			if (so->heap_count == 0 || so->iterative == HNSW_ITERATIVE_OFF)
			{
				if (so->cut_short)
					report_cut_short(so);
				break;
			}
		}
		if (is_beyond(so))
		{
			if (ends_at_radius(so))
				break;
			heap_pop(so);
			so->yielded++;
			continue;
		}
		first = &so->search.found[so->heap[0]];
		if (!ItemPointerIsValid(&first->tid))
		{
			replace_first(so);
			continue;
		}
		check_row(scan, first, &first->tid);
		if (!first_is_certain(so, first))
		{
			double		distance;

			if (measure(scan, first->tid, &distance))
			{
				first->lower = first->upper = distance;
				first->exact = true;
				heap_sift_down(so, 0);
			}
			else
				replace_first(so);
			continue;
		}
		if (is_late(so, first->upper))
		{
			heap_pop(so);
			continue;
		}
		so->has_last = true;
		so->last = first->upper;
		so->last_lower = first->lower;
		so->last_exact = first->exact;
		so->last_tid = first->tid;
		so->yielded++;
		so->same = so->heap[0];
		heap_pop(so);
		scan->xs_heaptid = first->tid;
		result = true;
		break;
	}

	vdb_exact_rest(&so->exact);
	vdb_exact_check_snapshot(scan);

	/* a filter may let too much pass */
	scan->xs_recheck = so->search.filter != NULL || so->recheck;
	scan->xs_recheckorderby = false;
	MemoryContextSwitchTo(old);
	vdb_stats_leave(&so->stats, result);
	return result;
}
