/*
 * hnsw_edge.c
 *	  Giving nodes on pages edges to another one: what their lists give up for it,
 *	  and writing them.
 *
 * A list is decided upon from a copy, without a lock, and the decision holds only
 * if the list is the same under the exclusive lock.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_edge.h"

/*
 * Longer than this, a list takes a new edge that is good only if no shorter one
 * leads there.  That is a third fewer pages to change for an insert, and most of
 * those edges would soon be given up for others.
 */
#define EAGER_LIST(m) ((m) + (m) / 4)

void
vdb_hnsw_init_edge_copy(HnswEdgeCopy *copy, const HnswGeometry *g)
{
	copy->nbr = palloc(2 * g->m * sizeof(uint32));
	copy->lengths = palloc(vdb_hnsw_lengths_bytes(2 * g->m));
}

/* Is the estimated score of a neighbour less than a bound? */
static inline bool
is_nearer(HnswIndex *index, const VdbQuery *query, uint32 nid, float bound)
{
	return vdb_hnsw_nid_exists(index, nid) && vdb_hnsw_score_hot(index, query, nid) < bound;
}

/*
 * Does a list's shorter edge lead to a place that is nearer to the new node than
 * the list's owner, at this score, is?
 */
static bool
is_superfluous(HnswIndex *index, const VdbQuery *query, float score, const HnswEdgeCopy *copy)
{
	const HnswGeometry *g = &index->geometry;

	/* all on their way before the first is weighed */
	for (uint32 i = 0; i < copy->count; i++)
	{
		HnswAddress a = vdb_hnsw_hot_address(g, copy->nbr[i]);

		vdb_hints_prefetch(&index->hints, a.block, a.offset, g->hot_stride);
	}
	for (uint32 i = 0; i < copy->count; i++)
	{
		if (vdb_hnsw_length_load(copy->lengths, i) < score &&
			is_nearer(index, query, copy->nbr[i], score))
			return true;
	}
	return false;
}

/*
 * Where a full list takes a new edge of this score: the index of the edge to
 * give up, or -1.  That is the longest of those that the new edge makes
 * superfluous, or else the longest; never one to be kept, nor one that is
 * shorter than an edge that is only good.  For one that is superfluous itself, though
 * needed, only the former goes: among near copies all others would.
 */
static int
choose_replaced(HnswIndex *index, const VdbQuery *query, float score, const HnswEdgeCopy *copy,
				HnswClaim claim)
{
	float		longest_length = 0;
	float		occluded_length = score;
	int			longest = -1;
	int			occluded = -1;

	for (uint32 i = copy->kept; i < copy->count; i++)
	{
		float		length = vdb_hnsw_length_load(copy->lengths, i);

		if (!vdb_hnsw_nid_exists(index, copy->nbr[i]))
			return (int) i;
		if (longest < 0 || length > longest_length)
		{
			longest = (int) i;
			longest_length = length;
		}
		if (length > occluded_length && is_nearer(index, query, copy->nbr[i], length))
		{
			occluded = (int) i;
			occluded_length = length;
		}
	}
	if (occluded >= 0 || claim == HNSW_CLAIM_NEEDED)
		return occluded;
	return claim >= HNSW_CLAIM_TREE || longest_length > score ? longest : -1;
}

bool
vdb_hnsw_copy_edges(HnswIndex *index, uint32 nid, HnswEdgeCopy *copy)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	bool		live = node->state == HNSW_LIVE;

	if (node->count > 2u * g->m || node->kept > node->count)
		vdb_page_corrupted(index->rel, a.block, "A node has too many neighbours.");
	copy->generation = node->generation;
	copy->count = node->count;
	copy->kept = node->kept;
	memcpy(copy->nbr, vdb_hnsw_node_nbr(node), copy->count * sizeof(uint32));
	memcpy(copy->lengths, vdb_hnsw_node_lengths(g, node), vdb_hnsw_lengths_bytes(copy->count));
	UnlockReleaseBuffer(buffer);
	return live;
}

/* May a list refuse an edge that a shorter one makes superfluous? */
static bool
may_refuse(const HnswGeometry *g, const HnswEdgeChange *change)
{
	return change->claim == HNSW_CLAIM_SPARE ||
		(change->claim == HNSW_CLAIM_GOOD && change->list.count >= EAGER_LIST(g->m));
}

/* Is a node's list still what was copied? */
static bool
list_is_same(const HnswGeometry *g, HnswNode *node, const HnswEdgeCopy *copy)
{
	return node->state == HNSW_LIVE && node->generation == copy->generation &&
		node->count == copy->count && node->kept == copy->kept &&
		memcmp(copy->nbr, vdb_hnsw_node_nbr(node), copy->count * sizeof(uint32)) == 0 &&
		memcmp(copy->lengths, vdb_hnsw_node_lengths(g, node), vdb_hnsw_lengths_bytes(copy->count)) == 0;
}

HnswEdgeDecision
vdb_hnsw_decide_edge(HnswIndex *index, const VdbQuery *query, uint32 to, HnswEdgeChange *change)
{
	const HnswGeometry *g = &index->geometry;
	HnswEdgeCopy   *list = &change->list;
	uint32		max = 2 * g->m;
	uint32		most = change->claim == HNSW_CLAIM_MUST ? max - 1 : HNSW_MAX_KEPT(g->m);
	bool		keep = change->claim >= HNSW_CLAIM_TREE;
	int			at = 0;

	/* not the one that was chosen where the slot was used again */
	change->made = false;
	if (!vdb_hnsw_copy_edges(index, change->from, list) ||
		(change->generation != 0 && list->generation != change->generation))
		return HNSW_EDGE_IS_REFUSED;
	while (at < list->count && list->nbr[at] != to)
		at++;
	if (at < (keep ? list->kept : list->count))
		return HNSW_EDGE_IS_THERE;
	if (keep && list->kept >= most)
		return HNSW_EDGE_IS_REFUSED;
	if (may_refuse(g, change) && is_superfluous(index, query, change->score, list))
		return HNSW_EDGE_IS_REFUSED;
	if (at == (int) max)
		at = choose_replaced(index, query, change->score, list, change->claim);
	if (at < 0)
		return HNSW_EDGE_IS_REFUSED;
	change->at = (uint32) at;
	return HNSW_EDGE_IS_WANTED;
}

/*
 * Puts an edge at index `at` of a list, or with `keep` at the end of those to
 * be kept, moving the one there to `at`.
 */
static void
put_edge(HnswEdgeCopy *list, uint32 at, uint32 to, float score, bool keep)
{
	list->count = Max(list->count, (uint16) (at + 1));
	if (keep)
	{
		list->nbr[at] = list->nbr[list->kept];
		list->lengths->codes[at] = list->lengths->codes[list->kept];
		at = list->kept++;
	}
	list->nbr[at] = to;
	vdb_hnsw_length_put(list->lengths, at, list->count, score);
}

/*
 * Adds a change to a patch, if the node's list is what it was.  Its page is
 * locked.
 */
static void
patch_edge(HnswIndex *index, VdbPatch *patch, Buffer buffer, uint32 to, HnswEdgeChange *change)
{
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, change->from);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	HnswEdgeCopy   *list = &change->list;
	int			lengths = (char *) vdb_hnsw_node_lengths(&index->geometry, node) - (char *) node;
	uint8		counts[2];

	StaticAssertStmt(offsetof(HnswNode, kept) == offsetof(HnswNode, count) + sizeof(uint8),
					 "a list's counts are written at once");
	if (!list_is_same(&index->geometry, node, list))
		return;
	put_edge(list, change->at, to, change->score, change->claim >= HNSW_CLAIM_TREE);
	counts[0] = list->count;
	counts[1] = list->kept;
	vdb_patch_write(patch, buffer, a.offset + offsetof(HnswNode, count), counts, sizeof(counts));
	vdb_patch_write(patch, buffer, a.offset + sizeof(HnswNode), list->nbr,
					list->count * sizeof(uint32));
	vdb_patch_write(patch, buffer, a.offset + lengths, list->lengths, vdb_hnsw_lengths_bytes(list->count));
	change->made = true;
}

/* In the order in which their pages are locked. */
static int
compare_changes(const void *a, const void *b)
{
	uint32		x = ((const HnswEdgeChange *) a)->from;
	uint32		y = ((const HnswEdgeChange *) b)->from;

	return x < y ? -1 : x > y;
}

/*
 * One record for as many pages as one takes.  All pages of a record are pinned
 * before the first is locked, and locked in the order of their blocks.
 */
void
vdb_hnsw_write_edges(HnswIndex *index, uint32 to, HnswEdgeChange *changes, uint32 count)
{
	qsort(changes, count, sizeof(HnswEdgeChange), compare_changes);
	for (uint32 first = 0, next; first < count; first = next)
	{
		Buffer		buffers[VDB_PATCH_PAGES];
		BlockNumber blocks[VDB_PATCH_PAGES];
		int			pages = 0;
		int			page = 0;
		VdbPatch	patch;

		for (next = first; next < count; next++)
		{
			HnswAddress a = vdb_hnsw_node_address(&index->geometry, changes[next].from);

			if (pages > 0 && blocks[pages - 1] == a.block)
				continue;
			if (pages == VDB_PATCH_PAGES)
				break;
			buffers[pages] = vdb_hnsw_pin_node(index, a);
			blocks[pages++] = a.block;
		}
		for (int i = 0; i < pages; i++)
			LockBuffer(buffers[i], BUFFER_LOCK_EXCLUSIVE);
		vdb_patch_begin(&patch, index->rel);
		for (uint32 i = first; i < next; i++)
		{
			while (blocks[page] != vdb_hnsw_node_address(&index->geometry, changes[i].from).block)
				page++;
			patch_edge(index, &patch, buffers[page], to, &changes[i]);
		}
		vdb_patch_finish(&patch);
		for (int i = 0; i < pages; i++)
			UnlockReleaseBuffer(buffers[i]);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
vdb_hnsw_add_edge(HnswIndex *index, uint32 from, uint32 generation, const VdbQuery *query,
				  uint32 to, float score, HnswClaim claim)
{
	HnswEdgeChange change = {.from = from, .generation = generation, .score = score, .claim = claim};
	HnswEdgeDecision decision;

	vdb_hnsw_init_edge_copy(&change.list, &index->geometry);
	while ((decision = vdb_hnsw_decide_edge(index, query, to, &change)) == HNSW_EDGE_IS_WANTED)
	{
		vdb_hnsw_write_edges(index, to, &change, 1);
		if (change.made)
			return true;
	}
	return decision == HNSW_EDGE_IS_THERE;
}
