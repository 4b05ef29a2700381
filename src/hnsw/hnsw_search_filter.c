/*
 * hnsw_search_filter.c
 *	  The walk of layer 0 with a filter.
 *
 * Nodes that do not pass are stepping stones: they are expanded in their turn, but
 * have no place in the pool.  When that is full, and what waits is farther away, a
 * few more nodes of any kind are expanded, as many as a walk without a filter goes
 * beyond what it is asked for.  All that is weighed goes into the overflow, whose
 * heap says what to expand next, and a candidate's `ref` whether it passes.
 *
 * Nodes are read, and what comes of a search is kept, as without a filter
 * (hnsw_search.c).  All nodes that pass, without the graph, are for hnsw_sweep.c.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "hnsw/hnsw_search.h"

/* Reads the neighbours of a node that does not pass (not yet visited) into search->fresh. */
static uint32
read_list(HnswSearch *search, const HnswCandidate *item)
{
	HnswIndex  *index = search->index;
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, item->nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	uint32		count = node->state == HNSW_FREE ? 0 : node->count;

	if (count > 2u * index->geometry.m)
		vdb_page_corrupted(index->rel, a.block, "A node has too many neighbours.");
	search->gap |= vdb_hnsw_ends_way(search, node, item);
	memcpy(search->fresh, vdb_hnsw_node_nbr(node), count * sizeof(uint32));
	UnlockReleaseBuffer(buffer);
	search->from = item->nid;
	return vdb_hnsw_keep_fresh(search, count);
}

/* Gives a candidate that passes its place in the pool, if it has one there. */
static inline void
claim_place(HnswSearch *search, HnswCandidate item)
{
	if (hnsw_pool_admits(&search->pool, item.score))
		hnsw_pool_insert(&search->pool, item, &item);
}

/* Gives the pool's places to the nearest of those that wait. */
static void
claim_places(HnswSearch *search)
{
	search->pool.size = 0;
	search->pool.next = 0;
	for (uint32 i = 0; i < search->overflow.count; i++)
	{
		if ((search->overflow.items[i].ref & HNSW_PASSES) != 0)
			claim_place(search, search->overflow.items[i]);
	}
}

/* Takes a candidate's place in the pool away, if it has one there. */
static void
give_up_place(HnswSearch *search, const HnswCandidate *item)
{
	HnswPool   *pool = &search->pool;
	uint32		at = hnsw_pool_position(pool, item->score);

	while (at > 0 && pool->items[at - 1].score == item->score)
	{
		if (pool->items[--at].nid == item->nid)
		{
			hnsw_pool_remove(pool, at);
			return;
		}
	}
}

static void
weigh_filtered(HnswSearch *search, uint32 nid)
{
	HnswCandidate item = {.nid = nid};
	uint32		generation;
	bool		passes;

	item.score = vdb_hnsw_weigh(search->index, &search->query, search->filter, nid, &generation, &passes);
	if (unlikely(isnan(item.score)))
	{
		vdb_hnsw_note_missing(search, nid);
		return;
	}
	item.ref = vdb_hnsw_weighed_ref(generation, passes ? HNSW_PASSES : 0);
	if (passes)
		claim_place(search, item);
	vdb_hnsw_push_overflow(search, item);
	search->weighed++;
	search->work++;
}

/* Weighs so many nodes in search->fresh, which were prefetched. */
static void
weigh_fresh(HnswSearch *search, uint32 count)
{
	bool		requested = false;

	for (uint32 i = 0; i < count; i++)
	{
		HnswAddress a = vdb_hnsw_hot_address(&search->index->geometry, search->fresh[i]);

		if (unlikely(!requested && !vdb_hints_is_resident(&search->index->hints, a.block)))
		{
			vdb_hnsw_request_fresh(search, i, count);
			requested = true;
		}
		weigh_filtered(search, search->fresh[i]);
	}
}

/*
 * Fetches what is likely to be expanded next into the CPU's cache, while the
 * neighbours of this one are weighed.  What does not pass shows only its list.
 */
static inline void
prefetch_next(HnswSearch *search)
{
	const HnswGeometry *g = &search->index->geometry;
	const HnswOverflow *overflow = &search->overflow;

	if (overflow->count > 0)
		vdb_hnsw_prefetch_node(search, overflow->items[0].nid,
							   (overflow->items[0].ref & HNSW_PASSES) != 0 ? g->node_stride :
							   sizeof(HnswNode) + 2 * g->m * sizeof(uint32));
}

/* Expands a candidate; true when it is a row that passes. */
static bool
expand_filtered(HnswSearch *search, HnswCandidate item)
{
	bool		found = false;
	uint32		fresh;

	search->work += HNSW_EXPANSION_WORK;
	if ((item.ref & HNSW_PASSES) == 0)
		fresh = read_list(search, &item);
	else
	{
		float		score = item.score;

		/* the fuller code corrects its place; what is no row has none */
		give_up_place(search, &item);
		found = vdb_hnsw_search_read_node(search, &item, &score, &fresh) == HNSW_LIVE;
		item.score = score;
		item.expanded = 1;
		if (found)
			claim_place(search, item);
	}
	prefetch_next(search);
	weigh_fresh(search, fresh);
	return found;
}

/* Is nothing that waits as near as the farthest in a full pool? */
static bool
is_settled(const HnswSearch *search)
{
	const HnswPool *pool = &search->pool;

	return pool->size == pool->capacity &&
		search->overflow.items[0].score > pool->items[pool->size - 1].score;
}

/*
 * Expands what waits, the nearest first, until the pool is settled and `slack` more
 * have been expanded.  Where that takes too long, all nodes that pass are made to wait,
 * and only those.  Returns how many rows were found.
 */
static uint32
settle_pool(HnswSearch *search, uint32 slack)
{
	HnswOverflow *overflow = &search->overflow;
	uint32		found = 0;

	for (hnsw_overflow_order(overflow); overflow->count > 0; hnsw_overflow_order(overflow))
	{
		bool		settled = is_settled(search);

		CHECK_FOR_INTERRUPTS();
		if (settled && slack-- == 0)
			break;
		if (!settled && !search->swept && search->work > search->work_limit)
		{
			vdb_hnsw_sweep(search);
			claim_places(search);
		}
		else
			found += expand_filtered(search, hnsw_overflow_pop(overflow));
	}
	return found;
}

void
vdb_hnsw_search_filtered(HnswSearch *search)
{
	HnswPool   *pool = &search->pool;
	uint32		count = 0;

	/* the node that the descent came to need not lead everywhere */
	if (pool->size > 0)
		search->fresh[count++] = pool->items[0].nid;
	if (search->entry_nid != HNSW_NO_NODE)
		search->fresh[count++] = search->entry_nid;
	pool->size = 0;
	search->from = HNSW_NO_NODE;
	weigh_fresh(search, vdb_hnsw_keep_fresh(search, count));
	settle_pool(search, HNSW_POOL_SLACK);
}

void
vdb_hnsw_search_more_filtered(HnswSearch *search, const HnswCandidate *items, uint32 count)
{
	for (uint32 i = 0; i < count; i++)
	{
		claim_place(search, items[i]);
		vdb_hnsw_push_overflow(search, items[i]);
	}
	settle_pool(search, 0);
}

uint32
vdb_hnsw_search_resume_filtered(HnswSearch *search, uint32 count)
{
	uint32		found = 0;

	if (search->swept)
	{
		/* what waits leads nowhere, and its order is known */
		for (uint32 i = 0; i < count && search->overflow.count > 0; i++)
		{
			CHECK_FOR_INTERRUPTS();
			found += expand_filtered(search, hnsw_overflow_pop(&search->overflow));
		}
		return found;
	}
	claim_places(search);
	found = settle_pool(search, 0);
	if (search->gap && !search->swept)
	{
		/* a sweep needs no way to what is left */
		vdb_hnsw_sweep(search);
		claim_places(search);
		found += settle_pool(search, 0);
	}
	return found;
}
