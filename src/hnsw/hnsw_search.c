/*
 * hnsw_search.c
 *	  Walking the graph on pages: what scans and inserts share.
 *
 * Hot codes steer the walk: every neighbour is weighed by its estimate.  A
 * node that is expanded shows its fuller code in the same page access that
 * shows its neighbours, and its place in the pool is corrected by it.
 *
 * No lock is held between steps; a node page is share-locked while one node is
 * copied out of it, hot pages are only pinned.
 *
 * With a filter layer 0 is walked in another way (hnsw_search_filter.c).
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_search.h"
#include "testpoint.h"

/* Candidates whose node pages are asked for when one has to be read. */
#define COLD_BEAM 4

/* So many nodes ahead are fetched into the CPU's cache where their order is known. */
#define DRAIN_AHEAD 4

/* The worst estimate of those to come may be worse than that of those before, and rows closer than node codes tell. */
#define OVERRATED_MARGIN 1.25f

/* VACUUM hardly ever frees nodes that a search is about to read, twice in a row. */
#define GAP_TRIES 10

/*
 * Slots of a fresh visited set: neighbours weighed for each pool entry.  With a filter
 * several nodes are expanded for each that passes, as long as work is allowed.
 */
#define VISITED_FACTOR 32
#define VISITED_FACTOR_FILTERED 128

static void
init_visited(HnswVisited *visited, MemoryContext context, uint64 expected)
{
	uint64		slots = 1024;

	while (slots < expected * 2 && slots < UINT64CONST(1) << 30)
		slots *= 2;
	visited->slots = MemoryContextAllocExtended(context, slots * sizeof(uint32),
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	visited->mask = (uint32) (slots - 1);
	visited->count = 0;
}

/* Adds a node number to a set of the search's, growing it when needed; false if it is there. */
static inline bool
add_visited(HnswSearch *search, HnswVisited *visited, uint32 nid)
{
	if (unlikely(hnsw_visited_is_full(visited)))
	{
		HnswVisited old = *visited;

		init_visited(visited, search->context, (uint64) old.mask + 1);
		for (uint32 i = 0; i <= old.mask; i++)
		{
			if (old.slots[i] != 0)
				hnsw_visited_add(visited, old.slots[i] - 1);
		}
		pfree(old.slots);
	}
	return hnsw_visited_add(visited, nid);
}

static inline bool
visit(HnswSearch *search, uint32 nid)
{
	return add_visited(search, &search->visited, nid);
}

/* Makes the visited set a new one, in which a node that is to be passed by is. */
static void
begin_visited(HnswSearch *search, uint64 expected)
{
	if (search->visited.slots != NULL)
		pfree(search->visited.slots);
	init_visited(&search->visited, search->context, expected);
	if (search->absent != HNSW_NO_NODE)
		visit(search, search->absent);
}

void
vdb_hnsw_search_begin(HnswSearch *search, HnswIndex *index, const void *vector, float norm)
{
	const HnswGeometry *g = &index->geometry;
	Size		bytes = vdb_vector_size(&index->codec, vector);
	MemoryContext old;

	memset(search, 0, sizeof(*search));
	search->index = index;
	search->absent = HNSW_NO_NODE;
	search->equal = HNSW_NO_NODE;
	search->stretch = get_float4_infinity();
	search->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw search",
											ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(search->context);
	search->query.vector = palloc(bytes);
	memcpy(search->query.vector, vector, bytes);
	search->query.hot = palloc(vdb_query_bytes(&index->codec, vector));
	vdb_query_prepare(&search->query, &index->codec, norm);
	search->fresh = palloc(2 * g->m * sizeof(uint32));
	search->fresh_ref = palloc(2 * g->m * sizeof(uint32));
	MemoryContextSwitchTo(old);
}

void
vdb_hnsw_search_end(HnswSearch *search)
{
	MemoryContextDelete(search->context);
}

/* Makes room for a pool of so many candidates, keeping what is in it. */
static void
size_pool(HnswSearch *search, uint32 capacity)
{
	HnswPool   *pool = &search->pool;

	if (capacity > pool->capacity || pool->items == NULL)
	{
		Size		bytes = (capacity + 1) * sizeof(HnswCandidate);

		if (pool->items == NULL)
			pool->items = MemoryContextAlloc(search->context, bytes);
		else
			pool->items = repalloc_huge(pool->items, bytes);
	}
	pool->capacity = capacity;
}

void
vdb_hnsw_grow_overflow(HnswSearch *search)
{
	HnswOverflow *overflow = &search->overflow;
	uint32		size = Max(256, overflow->size * 2);

	if (overflow->items == NULL)
		overflow->items = MemoryContextAlloc(search->context, size * sizeof(HnswCandidate));
	else
		overflow->items = repalloc_huge(overflow->items, (Size) size * sizeof(HnswCandidate));
	overflow->size = size;
}

/* Offers a weighed candidate to the pool. */
static inline void
offer(HnswSearch *search, HnswCandidate item)
{
	HnswCandidate evicted = item;

	if (!hnsw_pool_admits(&search->pool, item.score))
	{
		if (search->keep_overflow)
			vdb_hnsw_push_overflow(search, item);
	}
	else if (hnsw_pool_insert(&search->pool, item, &evicted) && search->keep_overflow &&
			 !evicted.expanded)
		vdb_hnsw_push_overflow(search, evicted);
}

/*
 * Is a neighbour one to be weighed: does it exist, and is it seen for the first
 * time?  If so, what is read of it is on its way into the CPU's cache afterwards.
 */
static inline bool
is_fresh(HnswSearch *search, uint32 nid)
{
	HnswIndex  *index = search->index;
	HnswAddress a = vdb_hnsw_hot_address(&index->geometry, nid);

	if ((unlikely(a.extent >= index->extents) && !vdb_hnsw_nid_exists(index, nid)) ||
		!visit(search, nid))
		return false;
	vdb_hints_prefetch(&index->hints, a.block, a.offset, index->geometry.hot_stride);
	if (search->filter != NULL)
		vdb_hints_prefetch(&index->hints, a.block, vdb_hnsw_attributes_offset(&index->geometry, a),
						   index->geometry.attr_bytes);
	return true;
}

void
vdb_hnsw_request_fresh(HnswSearch *search, uint32 first, uint32 count)
{
	HnswIndex  *index = search->index;

	for (uint32 i = first; i < count; i++)
		vdb_hints_request(&index->hints, index->rel,
						  vdb_hnsw_hot_address(&index->geometry, search->fresh[i]).block);
}

void
vdb_hnsw_note_missing(HnswSearch *search, uint32 nid)
{
	HnswIndex  *index = search->index;
	HnswAddress a;
	Buffer		buffer;
	HnswNode   *node;
	bool		leads = false;

	if (search->from == HNSW_NO_NODE)
		return;
	a = vdb_hnsw_node_address(&index->geometry, search->from);
	buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	for (uint32 i = 0; vdb_hnsw_is_node(node) && i < Min(node->count, 2u * index->geometry.m); i++)
		leads |= vdb_hnsw_node_nbr(node)[i] == nid;
	UnlockReleaseBuffer(buffer);
	search->gap |= !leads;
}

bool
vdb_hnsw_note_stray(HnswSearch *search, uint32 nid)
{
	if (search->strays.slots == NULL)
		init_visited(&search->strays, search->context, 0);
	return add_visited(search, &search->strays, nid);
}

/*
 * Weighs the fresh nodes found by an expansion, on layer 0 or above, which were prefetched,
 * and offers them to the pool.
 */
static inline void
weigh_fresh(HnswSearch *search, uint32 count, bool base)
{
	HnswIndex  *index = search->index;
	bool		requested = false;

	for (uint32 i = 0; i < count; i++)
	{
		HnswCandidate item;
		uint32		generation;

		if (unlikely(!vdb_hnsw_peek_hot(index, &search->query, search->fresh[i], &item.score, &generation)))
		{
			if (!requested)
				vdb_hnsw_request_fresh(search, i, count);
			requested = true;
			item.score = vdb_hnsw_estimate(index, &search->query, search->fresh[i], &generation);
		}
		if (unlikely(isnan(item.score)))
		{
			vdb_hnsw_note_missing(search, search->fresh[i]);
			continue;
		}
		item.nid = search->fresh[i];
		item.ref = base ? vdb_hnsw_weighed_ref(generation, 0) : search->fresh_ref[i];
		item.expanded = 0;
		offer(search, item);
	}
	search->weighed += count;
}

/*
 * Copies the neighbours of a record of an upper layer that were not seen yet
 * to the scratch arrays; returns their number.  A record that is not what the
 * reference said (freed, or used again) has none.
 */
static uint32
read_upper(HnswSearch *search, const HnswCandidate *from, int layer)
{
	HnswIndex  *index = search->index;
	const HnswGeometry *g = &index->geometry;
	HnswAddress a;
	Buffer		buffer;
	HnswUpper  *upper;
	uint32		count = 0;
	uint32		fresh = 0;

	search->from = HNSW_NO_NODE;
	if (from->ref == HNSW_NO_REF || !vdb_hnsw_ref_exists(index, from->ref))
		return 0;
	a = vdb_hnsw_upper_address(g, from->ref);
	buffer = vdb_hnsw_read_upper(index, a, BUFFER_LOCK_SHARE);
	upper = vdb_hnsw_page_upper(BufferGetPage(buffer), a);
	if (upper->nid == from->nid && upper->layer == layer)
	{
		HnswUpperEdge *nbr = vdb_hnsw_upper_nbr(upper);

		if (upper->count > g->m)
			vdb_page_corrupted(index->rel, a.block, "A record has too many neighbours.");
		for (; count < upper->count; count++)
		{
			search->fresh[count] = nbr[count].nid;
			search->fresh_ref[count] = nbr[count].ref;
		}
	}
	UnlockReleaseBuffer(buffer);
	for (uint32 i = 0; i < count; i++)
	{
		if (is_fresh(search, search->fresh[i]))
		{
			search->fresh[fresh] = search->fresh[i];
			search->fresh_ref[fresh++] = search->fresh_ref[i];
		}
	}
	return fresh;
}

void
vdb_hnsw_search_descend(HnswSearch *search, int layer)
{
	HnswIndex  *index = search->index;
	HnswCandidate at;

	size_pool(search, 1);
	search->pool.size = 0;
	search->pool.next = 0;

	/* what the metapage says now; the index may be refreshed on the way */
	search->entry_nid = index->entry_nid;
	search->entry_ref = index->entry_ref;
	search->entry_layer = index->entry_layer;
	if (search->entry_nid == HNSW_NO_NODE)
		return;
	if (!vdb_hnsw_nid_exists(index, search->entry_nid))
		vdb_page_corrupted(index->rel, HNSW_META_BLOCK, "The entry point does not exist.");
	at.nid = search->entry_nid;
	at.ref = search->entry_ref;
	at.expanded = 0;
	at.score = vdb_hnsw_score_hot(index, &search->query, at.nid);
	hnsw_pool_insert(&search->pool, at, &at);
	for (int l = search->entry_layer; l > layer; l--)
	{
		vdb_hnsw_search_upper(search, l, 1);
		vdb_hnsw_search_down(search, l - 1);
	}
}

void
vdb_hnsw_search_upper(HnswSearch *search, int layer, uint32 ef)
{
	HnswCandidate *best;

	size_pool(search, ef);
	begin_visited(search, (uint64) ef * VISITED_FACTOR);
	search->pool.next = 0;
	for (uint32 i = 0; i < search->pool.size; i++)
	{
		search->pool.items[i].expanded = 0;
		visit(search, search->pool.items[i].nid);
	}
	while ((best = hnsw_pool_peek(&search->pool)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		best->expanded = 1;
		weigh_fresh(search, read_upper(search, best, layer), false);
	}
}

void
vdb_hnsw_search_down(HnswSearch *search, int layer)
{
	HnswIndex  *index = search->index;
	HnswPool   *pool = &search->pool;

	for (uint32 i = 0; i < pool->size; i++)
	{
		HnswCandidate *item = &pool->items[i];
		HnswAddress a;
		Buffer		buffer;
		HnswUpper  *upper;
		uint32		down = HNSW_NO_REF;

		if (layer > 0 && item->ref != HNSW_NO_REF && vdb_hnsw_ref_exists(index, item->ref))
		{
			a = vdb_hnsw_upper_address(&index->geometry, item->ref);
			buffer = vdb_hnsw_read_upper(index, a, BUFFER_LOCK_SHARE);
			upper = vdb_hnsw_page_upper(BufferGetPage(buffer), a);
			if (upper->nid == item->nid && upper->layer == layer + 1)
				down = upper->down;
			UnlockReleaseBuffer(buffer);
		}
		item->ref = down;
		item->expanded = 0;
	}
	pool->next = 0;
}

/* Appends a node to what was found. */
static HnswFound *
append_found(HnswSearch *search)
{
	if (search->found_count == search->found_size)
	{
		uint32		size = Max(128, search->found_size * 2);

		if (search->found == NULL)
			search->found = MemoryContextAlloc(search->context, size * sizeof(HnswFound));
		else
			search->found = repalloc_huge(search->found, (Size) size * sizeof(HnswFound));
		search->found_size = size;
	}
	return &search->found[search->found_count++];
}

/*
 * Takes score and bounds of a found node from its hot slot, where that holds
 * the whole code.  If the node has another life by now, nothing is known of it:
 * its row is dead.
 */
static void
read_whole(HnswSearch *search, HnswFound *found, float *score)
{
	HnswIndex  *index = search->index;
	VdbHotFactors hot;

	if (search->whole_code == NULL)
		search->whole_code = MemoryContextAlloc(search->context, index->geometry.hot_bytes);
	if (vdb_hnsw_read_whole(index, found->nid, found->generation, &hot, search->whole_code))
	{
		VdbNodeFactors f = {hot.rescale, hot.add, found->residual};
		VdbBounds	bounds;

		*score = vdb_node_score(&search->query, f, search->whole_code, NULL);
		bounds = vdb_node_bounds(&search->query, f, search->whole_code, *score);
		found->score = *score;
		found->lower = bounds.lower;
		found->upper = bounds.upper;
		found->exact = bounds.lower == bounds.upper;
	}
}

/*
 * Has the operating system read the node pages of the candidates that are to be
 * expanded next, as far as is known now.  Most will be: one is dropped only for
 * nearer ones.
 */
static void
request_nodes(HnswSearch *search)
{
	HnswIndex  *index = search->index;
	const HnswPool *pool = &search->pool;
	uint32		requested = 0;

	for (uint32 i = pool->next; i < pool->size && requested < COLD_BEAM; i++)
	{
		if (pool->items[i].expanded)
			continue;
		vdb_hints_request(&index->hints, index->rel,
						  vdb_hnsw_node_address(&index->geometry, pool->items[i].nid).block);
		requested++;
	}
}

/* What vdb_hnsw_keep_fresh does, in line: here is where a walk spends its time. */
static inline uint32
keep_fresh(HnswSearch *search, uint32 count)
{
	uint32		fresh = 0;

	for (uint32 i = 0; i < count; i++)
	{
		uint32		nbr = search->fresh[i];

		if (is_fresh(search, nbr))
			search->fresh[fresh++] = nbr;
	}
	return fresh;
}

uint32
vdb_hnsw_keep_fresh(HnswSearch *search, uint32 count)
{
	return keep_fresh(search, count);
}

/*
 * Learns how good estimates are, from a row's score by its node code.  Where there is no such code, or
 * its sums overflow, nothing is known of that.
 */
static inline void
note_estimate(HnswSearch *search, float estimate, const HnswFound *found)
{
	if (isinf(found->lower))
		search->overrated = get_float4_infinity();
	else if (estimate < FLT_MAX && estimate - found->score > search->overrated)
		search->overrated = estimate - found->score;
}

HnswState
vdb_hnsw_search_read_node(HnswSearch *search, const HnswCandidate *item, float *score, uint32 *fresh)
{
	HnswIndex  *index = search->index;
	uint32		nid = item->nid;
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	HnswFound  *found = append_found(search);
	Buffer		buffer;
	HnswNode   *node;
	HnswState	state = HNSW_FREE;
	float		estimate = *score;
	uint32		count;
	bool		equal = false;

	if (unlikely(!vdb_hints_is_resident(&index->hints, a.block)))
		request_nodes(search);
	buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	if (vdb_hnsw_is_weighed(node, item))
		state = node->state;
	count = state == HNSW_FREE ? 0 : node->count;
	if (count > 2u * g->m)
		vdb_page_corrupted(index->rel, a.block, "A node has too many neighbours.");
	memcpy(search->fresh, vdb_hnsw_node_nbr(node), count * sizeof(uint32));
	search->gap |= vdb_hnsw_ends_way(search, node, item);
	if (state != HNSW_FREE)
	{
		VdbNodeFactors f = vdb_hnsw_node_factors(node);

		if (g->node_bits != 0)
			*score = vdb_node_score(&search->query, f, vdb_hnsw_node_hi(g, node),
									vdb_hnsw_node_lo(g, node));
		if (state == HNSW_LIVE)
		{
			VdbBounds	bounds = {-get_float8_infinity(), get_float8_infinity()};

			if (g->node_bits != 0)
				bounds = vdb_node_bounds(&search->query, f, vdb_hnsw_node_hi(g, node), *score);
			found->tid = node->tid;
			found->nid = nid;
			found->score = *score;
			found->lower = bounds.lower;
			found->upper = bounds.upper;
			found->generation = node->generation;
			found->kept = node->kept;
			found->exact = false;
			found->residual = f.residual;
			found->postings = node->duplicates;
			found->chain = NULL;
			equal = search->sought != NULL && vdb_hnsw_node_is_equal(g, node, search->sought);
		}
	}
	UnlockReleaseBuffer(buffer);
	if (equal && vdb_hnsw_hot_is_equal(index, nid, found->generation, search->sought))
	{
		search->equal = nid;
		search->equal_generation = found->generation;
	}
	if (state != HNSW_LIVE || (search->known.slots != NULL && hnsw_visited_has(&search->known, nid)))
		search->found_count--;
	else if (vdb_codec_hot_is_whole(&index->codec))
		read_whole(search, found, score);
	if (state == HNSW_LIVE)
		note_estimate(search, estimate, found);

	if (state == HNSW_DEAD)
		VDB_TESTPOINT("hnsw-scan-at-dead-node");
	search->from = nid;
	*fresh = search->swept ? 0 : keep_fresh(search, count);
	return state;
}

/*
 * Fetches the slot of the node that is likely to be expanded next into the
 * CPU's cache, while the neighbours of this one are weighed.
 */
static inline void
prefetch_next(HnswSearch *search)
{
	HnswCandidate *next = hnsw_pool_peek(&search->pool);

	if (next != NULL)
		vdb_hnsw_prefetch_node(search, next->nid, search->index->geometry.node_stride);
}

/*
 * How much farther the nearest candidate is than the last of the first rows, in
 * terms of the latter's score.  Scores may be negative.
 */
static inline float
stretch_of(const HnswPool *pool, float score)
{
	float		last = pool->items[HNSW_STRETCH_ROWS - 1].score;

	return score > last ? (score - last) / fabsf(last) : 0;
}

/* Is the nearest candidate, of this score, too far to be worth a step? */
static inline bool
is_stretched(const HnswSearch *search, float score)
{
	const HnswPool *pool = &search->pool;

	float		last;

	/* what comes before the candidate has been expanded */
	if (pool->next < HNSW_STRETCH_ROWS)
		return false;
	last = pool->items[HNSW_STRETCH_ROWS - 1].score;
	return score - last > search->stretch * fabsf(last);
}

/*
 * Notes with which pool and stretch a search comes to expand the candidate at
 * index `at`: where it is found, it is the next one.
 */
static void
note_reach(HnswSearch *search, uint32 at, float score)
{
	search->reach.pool = Max(search->reach.pool, at + 1);
	if (at >= HNSW_STRETCH_ROWS)
		search->reach.stretch = Max(search->reach.stretch, stretch_of(&search->pool, score));
	if (search->found_count >= search->reaches_size)
	{
		search->reaches_size = 2 * search->found_count + 256;
		search->reaches = repalloc_huge(search->reaches, search->reaches_size * sizeof(HnswReach));
	}
	search->reaches[search->found_count] = search->reach;
}

/* Expands candidates until the pool holds none that is worth it. */
static void
expand_pool(HnswSearch *search)
{
	HnswPool   *pool = &search->pool;
	HnswCandidate *best;

	while ((best = hnsw_pool_peek(pool)) != NULL)
	{
		float		score = best->score;
		uint32		at = (uint32) (best - pool->items);
		uint32		fresh;

		CHECK_FOR_INTERRUPTS();
		if (is_stretched(search, best->score))
			break;
		if (unlikely(search->reaches != NULL))
			note_reach(search, at, best->score);

		/* a node that is no row must not take a row's place */
		if (vdb_hnsw_search_read_node(search, best, &score, &fresh) == HNSW_LIVE)
			hnsw_pool_expand(pool, at, score);
		else
			hnsw_pool_remove(pool, at);
		if (search->equal != HNSW_NO_NODE)
			break;
		prefetch_next(search);
		weigh_fresh(search, fresh, true);
	}
}

/*
 * After a search that stopped early: what it left in the pool joins what the pool
 * refused.  Whoever goes on has seen the nearest rows, and wants others.
 */
static void
leave_pool(HnswSearch *search)
{
	HnswPool   *pool = &search->pool;

	for (uint32 i = pool->next; i < pool->size && search->keep_overflow; i++)
	{
		if (!pool->items[i].expanded)
			vdb_hnsw_push_overflow(search, pool->items[i]);
	}
	pool->size = pool->next;
	search->stretch = get_float4_infinity();
}

void
vdb_hnsw_search_base(HnswSearch *search, uint32 ef)
{
	HnswPool   *pool = &search->pool;

	size_pool(search, search->filter != NULL ? ef : ef + HNSW_POOL_SLACK);
	if (search->filter != NULL)
		begin_visited(search, Min((uint64) pool->capacity * VISITED_FACTOR_FILTERED,
								  (uint64) search->work_limit));
	else
		begin_visited(search, (uint64) pool->capacity * VISITED_FACTOR);

	/* what upper layers refused may be met here again */
	search->overflow.count = 0;
	search->overflow.ordered = 0;
	search->reach = (HnswReach) {0};
	pool->next = 0;
	if (search->filter != NULL)
	{
		vdb_hnsw_search_filtered(search);
		return;
	}
	for (uint32 i = 0; i < pool->size; i++)
	{
		pool->items[i].expanded = 0;
		visit(search, pool->items[i].nid);
	}
	expand_pool(search);

	/*
	 * The node that the descent came to need not lead everywhere, the entry
	 * point does.
	 */
	if (search->entry_nid != HNSW_NO_NODE && visit(search, search->entry_nid))
	{
		search->fresh[0] = search->entry_nid;
		search->from = HNSW_NO_NODE;
		weigh_fresh(search, 1, true);
		expand_pool(search);
	}
	leave_pool(search);
}

/*
 * Looks at the nodes that wait to be linked, when the walk has ended: among those it
 * would not get by.  They take their places in the pool, or wait for a search that goes
 * on, like what the walk has weighed.
 */
static void
search_pending(HnswSearch *search)
{
	HnswCandidate *items;
	uint32		count;
	uint32		fresh = 0;

	/* a sweep has seen all nodes */
	if (search->pending.first >= search->pending.end || search->swept)
		return;
	items = vdb_hnsw_sweep_pending(search, &count);
	for (uint32 i = 0; i < count; i++)
	{
		if (!visit(search, items[i].nid))
			continue;
		items[fresh] = items[i];
		if (unlikely(isnan(items[i].score)))
			items[fresh].score = FLT_MAX;
		fresh++;
	}
	search->reach = (HnswReach) {0};
	if (search->filter != NULL)
		vdb_hnsw_search_more_filtered(search, items, fresh);
	else
	{
		for (uint32 i = 0; i < fresh; i++)
		{
			items[i].expanded = 0;
			offer(search, items[i]);
		}
		expand_pool(search);
	}
	pfree(items);
}

/*
 * VACUUM frees nodes when all lists do without them, but a search may have read the
 * lists before.  Then it begins again, while nothing of it was used.
 */
static bool
is_cut_off(HnswSearch *search, int tries)
{
	bool		gap = search->gap && tries < GAP_TRIES;

	search->gap = false;
	if (gap)
		search->found_count = 0;
	return gap;
}

void
vdb_hnsw_search_nearest(HnswSearch *search, uint32 ef)
{
	HnswIndex  *index = search->index;
	float		stretch = search->stretch;

	for (int tries = 0;; tries++)
	{
		CHECK_FOR_INTERRUPTS();
		search->stretch = stretch;
		vdb_hnsw_search_descend(search, 0);
		vdb_hnsw_search_base(search, ef);
		/* a sweep needs no way to what it finds */
		if (search->swept)
			break;
		if (is_cut_off(search, tries))
		{
			vdb_hnsw_refresh(index);
			continue;
		}

		/* a single node may be one that waits, in the slot of a former entry point */
		if (search->found_count > 1)
			break;
		vdb_hnsw_refresh(index);
		if (index->entry_nid == search->entry_nid)
			break;
		search->found_count = 0;
	}
	search->walked = search->pool.size;
	search_pending(search);
}

HnswVisited
vdb_hnsw_search_remember(HnswSearch *search)
{
	HnswVisited found = {.mask = 1023};

	while (search->found_count > found.mask / 2)
		found.mask = 2 * found.mask + 1;
	found.slots = MemoryContextAllocExtended(search->context, ((Size) found.mask + 1) * sizeof(uint32),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < search->found_count; i++)
		hnsw_visited_add(&found, search->found[i].nid);
	return found;
}

/*
 * The same when rows have been used: searches anew for `count` more than were
 * found, and leaves those out.
 */
static void
search_across(HnswSearch *search, uint32 count)
{
	for (int tries = 0; search->gap && tries < GAP_TRIES; tries++)
	{
		CHECK_FOR_INTERRUPTS();
		if (search->known.slots != NULL)
			pfree(search->known.slots);
		search->known = vdb_hnsw_search_remember(search);
		search->gap = false;
		vdb_hnsw_refresh(search->index);
		vdb_hnsw_search_descend(search, 0);
		vdb_hnsw_search_base(search, search->found_count + count);
		search_pending(search);
	}
	search->gap = false;
}

uint32
vdb_hnsw_search_resume(HnswSearch *search, uint32 count)
{
	HnswPool   *pool = &search->pool;

	size_pool(search, count);
	pool->size = 0;
	pool->next = 0;
	if (search->filter != NULL)
		return vdb_hnsw_search_resume_filtered(search, count);
	while (pool->size < count && search->overflow.count > 0)
		pool->items[pool->size++] = hnsw_overflow_pop(&search->overflow);
	count = pool->size;
	expand_pool(search);
	search_across(search, count);
	return count;
}

void
vdb_hnsw_search_drain(HnswSearch *search, uint32 count)
{
	HnswOverflow *overflow = &search->overflow;
	HnswPool   *pool = &search->pool;

	/* nodes are read for themselves alone, not for where they lead */
	search->swept = true;
	size_pool(search, count);
	pool->size = 0;
	pool->next = 0;
	while (pool->size < count && overflow->count > 0)
	{
		HnswCandidate item = hnsw_overflow_pop(overflow);

		CHECK_FOR_INTERRUPTS();
		item.expanded = 0;
		if (search->filter == NULL || (item.ref & HNSW_PASSES) != 0)
			pool->items[pool->size++] = item;
	}
	for (; pool->next < pool->size; pool->next++)
	{
		float		score = pool->items[pool->next].score;
		uint32		fresh;

		CHECK_FOR_INTERRUPTS();
		if (pool->next + DRAIN_AHEAD < pool->size)
			vdb_hnsw_prefetch_node(search, pool->items[pool->next + DRAIN_AHEAD].nid,
								   search->index->geometry.node_stride);
		vdb_hnsw_search_read_node(search, &pool->items[pool->next], &score, &fresh);
	}
	search->settled = overflow->count > 0 ? overflow->items[0].score - OVERRATED_MARGIN * search->overrated :
		get_float4_infinity();
}

static int
compare_found(const void *a, const void *b)
{
	float		x = ((const HnswFound *) a)->score;
	float		y = ((const HnswFound *) b)->score;

	return x < y ? -1 : x > y;
}

void
vdb_hnsw_search_sort(HnswSearch *search)
{
	qsort(search->found, search->found_count, sizeof(HnswFound), compare_found);
}
