/*
 * hnsw_pool.h
 *	  The small structures that graph searches need: a bounded pool of candidates
 *	  sorted by score, what it refused, and a set of the node numbers seen.
 *
 * Pure C and inline: the builder's search over memory and the scan's search
 * over pages share it.  A sorted array beats heaps up to a few hundred
 * candidates: an insertion is a binary search and a short memmove, and the
 * best candidate that is not expanded yet is found by a cursor.
 */
#ifndef VDB_HNSW_POOL_H
#define VDB_HNSW_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define HNSW_MAX_LAYER 15
#define HNSW_NO_NODE UINT32_MAX

typedef struct HnswCandidate
{
	float		score;			/* never NaN */
	uint32_t	nid;
	uint32_t	ref;			/* record of an upper layer; on layer 0 see hnsw_search.h */
	uint32_t	expanded;		/* 0 or 1 */
} HnswCandidate;

typedef struct HnswPool
{
	HnswCandidate *items;		/* sorted by score, room for capacity */
	uint32_t	capacity;		/* at least 1 */
	uint32_t	size;
	uint32_t	next;			/* no item before it is unexpanded */
} HnswPool;

/* Empties a pool over the caller's array. */
static inline void
hnsw_pool_init(HnswPool *pool, HnswCandidate *items, uint32_t capacity)
{
	pool->items = items;
	pool->capacity = capacity;
	pool->size = 0;
	pool->next = 0;
}

/* Would a candidate of this score enter the pool? */
static inline bool
hnsw_pool_admits(const HnswPool *pool, float score)
{
	return pool->size < pool->capacity || score < pool->items[pool->size - 1].score;
}

/* First index whose score is greater. */
static inline uint32_t
hnsw_pool_position(const HnswPool *pool, float score)
{
	uint32_t	low = 0;
	uint32_t	high = pool->size;

	while (low < high)
	{
		uint32_t	middle = (low + high) / 2;

		if (pool->items[middle].score <= score)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Inserts a candidate that the pool admits.  When that pushes the last one
 * out, it is copied to *evicted and true is returned.
 */
static inline bool
hnsw_pool_insert(HnswPool *pool, HnswCandidate item, HnswCandidate *evicted)
{
	uint32_t	at = hnsw_pool_position(pool, item.score);
	bool		full = pool->size == pool->capacity;

	if (full)
		*evicted = pool->items[--pool->size];
	memmove(pool->items + at + 1, pool->items + at, (pool->size - at) * sizeof(HnswCandidate));
	pool->items[at] = item;
	pool->size++;
	if (!item.expanded && at < pool->next)
		pool->next = at;
	return full;
}

/* The nearest unexpanded candidate, NULL when there is none. */
static inline HnswCandidate *
hnsw_pool_peek(HnswPool *pool)
{
	while (pool->next < pool->size && pool->items[pool->next].expanded)
		pool->next++;
	return pool->next < pool->size ? &pool->items[pool->next] : NULL;
}

/* Takes the candidate at index `at` out. */
static inline void
hnsw_pool_remove(HnswPool *pool, uint32_t at)
{
	pool->size--;
	memmove(pool->items + at, pool->items + at + 1, (pool->size - at) * sizeof(HnswCandidate));
	if (at < pool->next)
		pool->next--;
}

/*
 * Gives the candidate at index `at` a new score and marks it expanded: what a
 * search learns when it reads the fuller code.
 */
static inline void
hnsw_pool_expand(HnswPool *pool, uint32_t at, float score)
{
	HnswCandidate item = pool->items[at];
	uint32_t	to;

	item.score = score;
	item.expanded = 1;
	pool->size--;
	memmove(pool->items + at, pool->items + at + 1, (pool->size - at) * sizeof(HnswCandidate));
	to = hnsw_pool_position(pool, score);
	memmove(pool->items + to + 1, pool->items + to, (pool->size - to) * sizeof(HnswCandidate));
	pool->items[to] = item;
	pool->size++;
	pool->next = to < at ? pool->next : at;
}

/*
 * What a pool refused or gave up.  That is most of what a search weighs, and few
 * searches ever ask for it: no order is made before it is needed.
 */
typedef struct HnswOverflow
{
	HnswCandidate *items;
	uint32_t	ordered;		/* the first so many are a heap, nearest on top */
	uint32_t	count;			/* the others wait until one is asked for */
	uint32_t	size;			/* there is room for */
} HnswOverflow;

/* Makes all of it a heap with the nearest candidate on top. */
static inline void
hnsw_overflow_order(HnswOverflow *overflow)
{
	HnswCandidate *heap = overflow->items;

	for (; overflow->ordered < overflow->count; overflow->ordered++)
	{
		uint32_t	at = overflow->ordered;
		HnswCandidate item = heap[at];

		for (; at > 0 && item.score < heap[(at - 1) / 2].score; at = (at - 1) / 2)
			heap[at] = heap[(at - 1) / 2];
		heap[at] = item;
	}
}

/* Takes the nearest candidate, of one at least. */
static inline HnswCandidate
hnsw_overflow_pop(HnswOverflow *overflow)
{
	HnswCandidate *heap = overflow->items;
	HnswCandidate nearest;
	HnswCandidate item;
	uint32_t	at = 0;

	hnsw_overflow_order(overflow);
	nearest = heap[0];
	item = heap[--overflow->count];
	overflow->ordered = overflow->count;
	for (;;)
	{
		uint32_t	child = 2 * at + 1;

		if (child + 1 < overflow->count && heap[child + 1].score < heap[child].score)
			child++;
		if (child >= overflow->count || item.score <= heap[child].score)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = item;
	return nearest;
}

/*
 * A set of node numbers: open addressing over a power of two of slots that
 * hold nid + 1, so that zeroed memory is the empty set.
 */
typedef struct HnswVisited
{
	uint32_t   *slots;
	uint32_t	mask;			/* slots - 1 */
	uint32_t	count;
} HnswVisited;

/* Slot index where the search for a node number starts. */
static inline uint32_t
hnsw_visited_hash(const HnswVisited *visited, uint32_t nid)
{
	return (uint32_t) ((nid * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & visited->mask;
}

/* Adds a node number; false when it was there. */
static inline bool
hnsw_visited_add(HnswVisited *visited, uint32_t nid)
{
	uint32_t	at = hnsw_visited_hash(visited, nid);

	while (visited->slots[at] != 0)
	{
		if (visited->slots[at] == nid + 1)
			return false;
		at = (at + 1) & visited->mask;
	}
	visited->slots[at] = nid + 1;
	visited->count++;
	return true;
}

/* Is a node number in a set? */
static inline bool
hnsw_visited_has(const HnswVisited *visited, uint32_t nid)
{
	uint32_t	at = hnsw_visited_hash(visited, nid);

	while (visited->slots[at] != 0 && visited->slots[at] != nid + 1)
		at = (at + 1) & visited->mask;
	return visited->slots[at] != 0;
}

/* Is the next addition to wait until the owner has grown the table? */
static inline bool
hnsw_visited_is_full(const HnswVisited *visited)
{
	return visited->count > visited->mask / 2;
}

/* Keeps a candidate if it is one of the nearest so many, in a heap with the farthest on top. */
static inline void
hnsw_heap_keep(HnswCandidate *kept, uint32_t *count, uint32_t most, HnswCandidate item)
{
	uint32_t	at;

	if (*count < most)
	{
		for (at = (*count)++; at > 0 && kept[(at - 1) / 2].score < item.score; at = (at - 1) / 2)
			kept[at] = kept[(at - 1) / 2];
		kept[at] = item;
		return;
	}
	if (item.score >= kept[0].score)
		return;
	for (at = 0;;)
	{
		uint32_t	child = 2 * at + 1;

		if (child + 1 < most && kept[child + 1].score > kept[child].score)
			child++;
		if (child >= most || kept[child].score <= item.score)
			break;
		kept[at] = kept[child];
		at = child;
	}
	kept[at] = item;
}

#endif							/* VDB_HNSW_POOL_H */
