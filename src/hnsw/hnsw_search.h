/*
 * hnsw_search.h
 *	  What the two walks of layer 0 share: that of all nodes, and the one with a
 *	  filter.
 *
 * Both find their way over search->fresh: nodes that a list leads to, and of these
 * those that are seen for the first time.
 */
#ifndef VDB_HNSW_SEARCH_H
#define VDB_HNSW_SEARCH_H

#include "hnsw/hnsw_private.h"

/* hnsw_search.c */
extern void vdb_hnsw_grow_overflow(HnswSearch *search);

/*
 * Adds to what the pool refused.  That is most of what a search weighs: here, since
 * it is done for every one.
 */
static inline void
vdb_hnsw_push_overflow(HnswSearch *search, HnswCandidate item)
{
	HnswOverflow *overflow = &search->overflow;

	if (unlikely(overflow->count == overflow->size))
		vdb_hnsw_grow_overflow(search);
	overflow->items[overflow->count++] = item;
}

/* Fetches the first bytes of a node's slot into the CPU's cache. */
static inline void
vdb_hnsw_prefetch_node(HnswSearch *search, uint32 nid, uint32 bytes)
{
	HnswIndex  *index = search->index;
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, nid);

	vdb_hints_prefetch_special(&index->hints, a.block);
	vdb_hints_prefetch(&index->hints, a.block, a.offset, bytes);
}

/*
 * What a candidate of layer 0 keeps in place of a record's reference: the generation that
 * its slot had when it was weighed, which is even, twice that, and these.  HNSW_NO_REF,
 * which has them all, where it came from a layer above.
 */
#define HNSW_PASSES 1u			/* a filter */
#define HNSW_SWEPT 2u			/* no list led to it, so it may wait to be linked */

static inline uint32
vdb_hnsw_weighed_ref(uint32 generation, uint32 flags)
{
	return generation << 1 | flags;
}

/*
 * Does a slot have the node that was weighed?  Another one is of a row that came later, so
 * no snapshot of ours sees it; its place is not where it was taken to be, and its list leads
 * elsewhere.  No node is of generation 0: replay was about to fill the page.
 */
static inline bool
vdb_hnsw_is_weighed(const HnswNode *node, const HnswCandidate *item)
{
	uint32		flags = HNSW_PASSES | HNSW_SWEPT;
	uint32		weighed = item->ref | flags;

	return vdb_hnsw_is_node(node) &&
		(item->ref == HNSW_NO_REF || weighed == flags || weighed == vdb_hnsw_weighed_ref(node->generation, flags));
}

/* Remembers a node that leads nowhere, though it was led to; false if it is known. */
extern bool vdb_hnsw_note_stray(HnswSearch *search, uint32 nid);

/*
 * Is there no way on from a candidate because the node that was meant has gone?  It is not
 * the one that was weighed, or it waits to be linked, while a list led to it: that list meant
 * another one.  (Where a search that begins again comes to the latter once more, it is
 * an edge that was left over.)  Then there is a gap.  The entry point may lead nowhere.
 */
static inline bool
vdb_hnsw_ends_way(HnswSearch *search, const HnswNode *node, const HnswCandidate *item)
{
	if (!vdb_hnsw_is_weighed(node, item))
		return true;
	return node->count == 0 && (item->ref & HNSW_SWEPT) == 0 && item->nid != search->entry_nid &&
		vdb_hnsw_note_stray(search, item->nid);
}

/*
 * Reads a node: its neighbours (not yet visited) into search->fresh, and
 * itself, when it is live, into what was found.  Returns its state and sets
 * *score; the estimate stays where there is no fuller code.
 */
extern HnswState vdb_hnsw_search_read_node(HnswSearch *search, const HnswCandidate *item, float *score,
										   uint32 *fresh);

/* Of so many nodes in search->fresh, keeps those to be weighed; returns their number. */
extern uint32 vdb_hnsw_keep_fresh(HnswSearch *search, uint32 count);

/*
 * Has the operating system read the hot pages of fresh nodes, first..count - 1, that
 * are in no buffer, all of them before one is waited for.
 */
extern void vdb_hnsw_request_fresh(HnswSearch *search, uint32 first, uint32 count);

/*
 * A slot has no node that was led to: is that an edge that was left over, or has
 * VACUUM repaired the list and freed the node since we read it?  Then there is a gap.
 */
extern void vdb_hnsw_note_missing(HnswSearch *search, uint32 nid);

/* hnsw_search_filter.c */

/*
 * Searches layer 0 from the pool's start and the entry point.  The pool has its room,
 * and nothing was visited.
 */
extern void vdb_hnsw_search_filtered(HnswSearch *search);

/* Goes on with more candidates that pass, when the walk has ended. */
extern void vdb_hnsw_search_more_filtered(HnswSearch *search, const HnswCandidate *items, uint32 count);

/* Goes on with an empty pool of `count`.  Returns how many rows were found. */
extern uint32 vdb_hnsw_search_resume_filtered(HnswSearch *search, uint32 count);

#endif							/* VDB_HNSW_SEARCH_H */
