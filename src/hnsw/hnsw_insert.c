/*
 * hnsw_insert.c
 *	  Adding one row to an index on pages.
 *
 * The order of steps makes a crash between any two of them harmless: first the
 * node with its own edges, which nothing leads to yet; then edges to it, one
 * page each; then its records on upper layers; last the entry point.
 *
 * Lists are pruned as the graph grows, and pruning alone would cut off nodes,
 * among equal vectors most of them.  So every node has a parent: the edges
 * between the two are kept, both ways, as long as both live.
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hnsw/hnsw_private.h"
#include "testpoint.h"

/*
 * A parent away from what a search found: attempts, and the length of each.
 * The tree would have to be deeper than any for the steps not to suffice.
 */
#define WALKS 16
#define WALK_STEPS 1000

/* Vacuum may take away once or twice what a new node is to be linked to. */
#define LINK_TRIES 100

/* Edges of one layer, chosen before anything is written. */
typedef struct LayerEdges
{
	uint32		count;
	uint32		kept;			/* on layer 0: 1 if the first one leads to the parent
								 * to be */
	HnswEdge   *edges;
	uint32	   *generations;	/* on layer 0: of the nodes when they were chosen */
} LayerEdges;

int
vdb_hnsw_draw_layer(int m)
{
	double		uniform = 1 - pg_prng_double(&pg_global_prng_state);
	double		layer = -log(uniform) / log(m);

	return layer < HNSW_MAX_LAYER ? (int) layer : HNSW_MAX_LAYER;
}

uint32
vdb_hnsw_choose(const VdbCodec *codec, const float *scores, const void *const *vectors,
				uint32 count, uint32 max, uint32 fill, uint32 *chosen)
{
	uint32		kept = 0;
	uint32		diverse;
	bool	   *taken = palloc0(Max(count, 1) * sizeof(bool));

	for (uint32 i = 0; i < count && kept < max; i++)
	{
		bool		nearest = vectors[i] != NULL;

		for (uint32 j = 0; j < kept && nearest; j++)
			nearest = vdb_vector_score(codec, vectors[i], vectors[chosen[j]]) >= scores[i];
		if (nearest)
		{
			chosen[kept++] = i;
			taken[i] = true;
		}
	}
	diverse = kept;
	for (uint32 i = 0; i < count && kept < Min(max, Max(fill, diverse)); i++)
	{
		if (!taken[i] && vectors[i] != NULL)
			chosen[kept++] = i;
	}
	pfree(taken);
	return kept;
}

/* Chooses a new node's edges on layer 0 from what a search found. */
static LayerEdges
choose_base(HnswSearch *search)
{
	const HnswGeometry *g = &search->index->geometry;
	uint32		count = search->found_count;
	float	   *scores = palloc(Max(count, 1) * sizeof(float));
	const void **vectors = palloc(Max(count, 1) * sizeof(void *));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	LayerEdges	layer;

	vdb_hnsw_search_sort(search);
	for (uint32 i = 0; i < count; i++)
	{
		scores[i] = search->found[i].score;
		vectors[i] = search->found[i].vector;
	}
	layer.count = vdb_hnsw_choose(&search->index->codec, scores, vectors, count, g->m, g->m, chosen);
	layer.kept = 0;
	layer.edges = palloc(g->m * sizeof(HnswEdge));
	layer.generations = palloc(g->m * sizeof(uint32));

	/* the first that may be a parent comes first */
	for (uint32 i = 0; i < layer.count && layer.kept == 0; i++)
	{
		if (search->found[chosen[i]].kept < HNSW_MAX_KEPT(g->m))
		{
			uint32		parent = chosen[i];

			chosen[i] = chosen[0];
			chosen[0] = parent;
			layer.kept = 1;
		}
	}
	for (uint32 i = 0; i < layer.count; i++)
	{
		HnswFound  *found = &search->found[chosen[i]];

		layer.edges[i] = (HnswEdge) {found->nid, HNSW_NO_REF, found->score};
		layer.generations[i] = found->generation;
	}
	return layer;
}

/* The same on a layer above, from the pool of its search. */
static LayerEdges
choose_upper(HnswSearch *search)
{
	HnswIndex  *index = search->index;
	const HnswGeometry *g = &index->geometry;
	uint32		count = search->pool.size;
	float	   *scores = palloc(count * sizeof(float));
	const void **vectors = palloc(count * sizeof(void *));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	LayerEdges	layer;

	for (uint32 i = 0; i < count; i++)
	{
		HnswCandidate *item = &search->pool.items[i];
		void	   *vector = palloc(index->codec.vector_bytes);
		bool		usable = item->ref != HNSW_NO_REF && vdb_hnsw_load_vector(index, item->nid, vector);

		scores[i] = item->score;
		vectors[i] = usable ? vector : NULL;
	}
	layer.count = vdb_hnsw_choose(&index->codec, scores, vectors, count, g->m, g->m, chosen);
	layer.kept = 0;
	layer.generations = NULL;
	layer.edges = palloc(g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < layer.count; i++)
	{
		HnswCandidate *item = &search->pool.items[chosen[i]];

		layer.edges[i] = (HnswEdge) {item->nid, item->ref, item->score};
	}
	return layer;
}

/*
 * Finds a free node slot and locks its hot page exclusively.  Returns the node
 * number; the page is in *buffer.
 */
static uint32
lock_free_slot(HnswIndex *index, Buffer *buffer)
{
	const HnswGeometry *g = &index->geometry;

	if (index->open_extent == HNSW_NO_EXTENT)
		vdb_hnsw_extend(index, false, HNSW_NO_EXTENT);
	for (;;)
	{
		uint32		extent = index->open_extent;
		uint32		nid = extent * g->extent_slots;
		Page		page;
		VdbPageSpecial *special;

		*buffer = vdb_hnsw_read_hot(index, vdb_hnsw_hot_address(g, nid));
		LockBuffer(*buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(*buffer);
		special = vdb_page_special(page);
		if (special->used > g->extent_slots || special->free > special->used)
			vdb_page_corrupted(index->rel, BufferGetBlockNumber(*buffer), "It counts more slots than it has.");
		if (special->free > 0)
		{
			for (uint32 s = 0; s < special->used; s++)
			{
				if (vdb_hnsw_page_hot(page, vdb_hnsw_hot_address(g, nid + s))->generation % 2 == 1)
					return nid + s;
			}
			vdb_page_corrupted(index->rel, BufferGetBlockNumber(*buffer), "A free slot is counted but not there.");
		}
		if (special->used < g->extent_slots)
			return nid + special->used;
		UnlockReleaseBuffer(*buffer);
		CHECK_FOR_INTERRUPTS();
		vdb_hnsw_extend(index, false, extent);
	}
}

/*
 * Writes a node's own edges, except one to itself: the slot it got may be that
 * of a neighbour which was freed after it was chosen.
 */
static void
store_edges(const HnswGeometry *g, HnswNode *node, uint32 nid, const LayerEdges *edges)
{
	uint32		count = 0;

	node->kept = edges->kept;
	for (uint32 i = 0; i < edges->count; i++)
	{
		if (edges->edges[i].nid == nid)
		{
			node->kept -= i < edges->kept;
			continue;
		}
		vdb_hnsw_node_nbr(node)[count] = edges->edges[i].nid;
		vdb_hnsw_node_length(g, node)[count] = vdb_hnsw_length_store(edges->edges[i].score);
		count++;
	}
	node->count = count;
}

/*
 * Writes a node into a free slot: hot and node slot in one change.  Returns its
 * number and sets *generation.
 */
static uint32
write_node(HnswIndex *index, const void *vector, float norm, ItemPointer tid, int layer,
		   const LayerEdges *edges, uint32 *generation)
{
	const HnswGeometry *g = &index->geometry;
	uint8	   *hi = palloc(index->codec.hi_bytes);
	uint8	   *lo = palloc(index->codec.lo_bytes);
	uint8	   *code = palloc(index->codec.hot_bytes);
	void	   *scratch = palloc(index->codec.vector_bytes);
	VdbNodeFactors factors = vdb_encode_node(&index->codec, vector, norm, hi, lo);
	VdbHotFactors hot_factors;
	Buffer		hot_buffer;
	Buffer		node_buffer;
	HnswAddress hot_address;
	HnswAddress node_address;
	VdbChange	change;
	Page		page;
	HnswHot    *hot;
	HnswNode   *node;
	uint32		nid;

	/* the hot code stands for the node code, so that each proves the other */
	hot_factors = vdb_hot_of_node(&index->codec, factors, hi, lo, scratch, code);

	nid = lock_free_slot(index, &hot_buffer);
	hot_address = vdb_hnsw_hot_address(g, nid);
	node_address = vdb_hnsw_node_address(g, nid);
	node_buffer = vdb_hnsw_read_node(index, node_address, BUFFER_LOCK_EXCLUSIVE);

	vdb_change_begin(&change, index->rel, false);
	page = vdb_change_page(&change, hot_buffer, false);
	hot = vdb_hnsw_page_hot(page, hot_address);
	if (hot_address.slot < vdb_page_special(page)->used)
		vdb_page_special(page)->free--;
	else
		vdb_page_special(page)->used = hot_address.slot + 1;
	*generation = (hot->generation | 1) + 1;
	hot->generation = *generation;
	hot->add = hot_factors.add;
	hot->rescale = hot_factors.rescale;
	memcpy(vdb_hnsw_hot_code(hot), code, index->codec.hot_bytes);
	vdb_page_cover(page, hot_address.offset + g->hot_stride);

	page = vdb_change_page(&change, node_buffer, false);
	node = vdb_hnsw_page_node(page, node_address);
	memset(node, 0, g->node_stride);
	node->tid = *tid;
	node->state = HNSW_LIVE;
	node->layer = layer;
	node->generation = *generation;
	node->scale = factors.scale;
	node->add = factors.add;
	node->residual = factors.residual;
	store_edges(g, node, nid, edges);
	if (g->node_bits != 0)
	{
		memcpy(vdb_hnsw_node_hi(g, node), hi, g->hi_bytes);
		memcpy(vdb_hnsw_node_lo(g, node), lo, g->lo_bytes);
	}
	vdb_page_special(page)->used = Max(vdb_page_special(page)->used, node_address.slot + 1);
	vdb_page_cover(page, node_address.offset + g->node_stride);
	vdb_change_finish(&change);
	UnlockReleaseBuffer(node_buffer);
	UnlockReleaseBuffer(hot_buffer);
	return nid;
}

/* A neighbour list away from its page. */
typedef struct EdgeCopy
{
	uint32		generation;
	uint32		count;
	uint32		kept;
	uint32	   *nbr;
	uint16	   *lengths;
} EdgeCopy;

/*
 * Where a full list takes a new edge: the index of the edge to give up, or -1.
 * That is none of those to be kept.
 */
static int
choose_replaced(HnswIndex *index, const VdbQuery *query, float score, const EdgeCopy *copy,
				HnswClaim claim)
{
	int			longest = -1;
	int			occluded = -1;

	for (uint32 i = 0; i < copy->count; i++)
	{
		float		length = vdb_hnsw_length_load(copy->lengths[i]);
		bool		exists = vdb_hnsw_nid_exists(index, copy->nbr[i]);
		float		between = exists ? vdb_hnsw_score_hot(index, query, copy->nbr[i]) : 0;

		if (exists && length < score && between < score && claim == HNSW_CLAIM_GOOD)
			return -1;
		if (i < copy->kept)
			continue;
		if (!exists)
			return (int) i;
		if (longest < 0 || length > vdb_hnsw_length_load(copy->lengths[longest]))
			longest = (int) i;
		if (between < length && length > score &&
			(occluded < 0 || length > vdb_hnsw_length_load(copy->lengths[occluded])))
			occluded = (int) i;
	}
	if (occluded >= 0)
		return occluded;
	if (longest >= 0 &&
		(claim != HNSW_CLAIM_GOOD || vdb_hnsw_length_load(copy->lengths[longest]) > score))
		return longest;
	return -1;
}

/* Copies a node's list; false when the node is not live. */
static bool
copy_edges(HnswIndex *index, uint32 nid, EdgeCopy *copy)
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
	memcpy(copy->lengths, vdb_hnsw_node_length(g, node), copy->count * sizeof(uint16));
	UnlockReleaseBuffer(buffer);
	return live;
}

/* Is a node's list still what was copied? */
static bool
list_is_same(const HnswNode *node, const EdgeCopy *copy)
{
	return node->count == copy->count && node->kept == copy->kept &&
		memcmp(copy->nbr, vdb_hnsw_node_nbr((HnswNode *) node), copy->count * sizeof(uint32)) == 0;
}

/*
 * Puts an edge at index `at` of a list, or with `keep` at the end of those to
 * be kept, moving the one there to `at`.
 */
static void
put_edge(const HnswGeometry *g, HnswNode *node, uint32 at, uint32 to, float score, bool keep)
{
	uint32	   *nbr = vdb_hnsw_node_nbr(node);
	uint16	   *lengths = vdb_hnsw_node_length(g, node);

	node->count = Max(node->count, (uint16) (at + 1));
	if (keep)
	{
		nbr[at] = nbr[node->kept];
		lengths[at] = lengths[node->kept];
		at = node->kept++;
	}
	nbr[at] = to;
	lengths[at] = vdb_hnsw_length_store(score);
}

bool
vdb_hnsw_add_edge(HnswIndex *index, uint32 from, uint32 generation, const VdbQuery *query,
				  uint32 to, float score, HnswClaim claim)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, from);
	uint32		max = 2 * g->m;
	uint32		most = claim == HNSW_CLAIM_MUST ? max - 1 : HNSW_MAX_KEPT(g->m);
	bool		keep = claim != HNSW_CLAIM_GOOD;
	EdgeCopy	copy;

	copy.nbr = palloc(max * sizeof(uint32));
	copy.lengths = palloc(max * sizeof(uint16));

	/* decide on a copy, then look whether the list is still the same there */
	while (copy_edges(index, from, &copy))
	{
		int			at = 0;
		Buffer		buffer;
		HnswNode   *node;
		bool		same;

		/* the slot was used again: what was chosen is no more */
		if (generation != 0 && copy.generation != generation)
			return false;
		while (at < (int) copy.count && copy.nbr[at] != to)
			at++;
		if (at < (int) (keep ? copy.kept : copy.count))
			return true;
		if (keep && copy.kept >= most)
			return false;
		if (at == (int) max)
			at = choose_replaced(index, query, score, &copy, claim);
		if (at < 0)
			return false;

		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
		node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
		if (node->state != HNSW_LIVE || node->generation != copy.generation)
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
		same = list_is_same(node, &copy);
		if (same)
		{
			VdbChange	change;

			vdb_change_begin(&change, index->rel, false);
			node = vdb_hnsw_page_node(vdb_change_page(&change, buffer, false), a);
			put_edge(g, node, at, to, score, keep);
			vdb_change_finish(&change);
		}
		UnlockReleaseBuffer(buffer);
		if (same)
			return true;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/* Finds a free upper record and locks its page exclusively. */
static uint32
lock_free_record(HnswIndex *index, Buffer *buffer)
{
	const HnswGeometry *g = &index->geometry;

	if (index->open_upper == HNSW_NO_EXTENT)
		vdb_hnsw_extend(index, true, HNSW_NO_EXTENT);
	for (;;)
	{
		uint32		extent = index->open_upper;

		for (uint32 i = 0; i < g->extent_pages; i++)
		{
			uint32		first = extent * g->upper_slots + i * g->uppers_per_page;
			Page		page;
			VdbPageSpecial *special;

			*buffer = vdb_hnsw_read_upper(index, vdb_hnsw_upper_address(g, first),
										  BUFFER_LOCK_EXCLUSIVE);
			page = BufferGetPage(*buffer);
			special = vdb_page_special(page);
			if (special->used > g->uppers_per_page || special->free > special->used)
				vdb_page_corrupted(index->rel, BufferGetBlockNumber(*buffer), "It counts more records than it has.");
			for (uint32 s = 0; special->free > 0 && s < special->used; s++)
			{
				if (vdb_hnsw_page_upper(page, vdb_hnsw_upper_address(g, first + s))->nid == HNSW_NO_NODE)
					return first + s;
			}
			if (special->used < g->uppers_per_page)
				return first + special->used;
			UnlockReleaseBuffer(*buffer);
		}
		CHECK_FOR_INTERRUPTS();
		vdb_hnsw_extend(index, true, extent);
	}
}

/* Writes a node's record on one layer above 0; returns its reference. */
static uint32
write_upper(HnswIndex *index, uint32 nid, uint32 generation, int layer, uint32 down,
			const LayerEdges *edges)
{
	const HnswGeometry *g = &index->geometry;
	Buffer		buffer;
	uint32		ref = lock_free_record(index, &buffer);
	HnswAddress a = vdb_hnsw_upper_address(g, ref);
	VdbChange	change;
	Page		page;
	HnswUpper  *upper;

	vdb_change_begin(&change, index->rel, false);
	page = vdb_change_page(&change, buffer, false);
	upper = vdb_hnsw_page_upper(page, a);
	if (a.slot < vdb_page_special(page)->used)
		vdb_page_special(page)->free--;
	else
		vdb_page_special(page)->used = a.slot + 1;
	memset(upper, 0, g->upper_stride);
	upper->nid = nid;
	upper->generation = generation;
	upper->down = down;
	upper->layer = layer;
	for (uint32 i = 0; i < edges->count; i++)
	{
		if (edges->edges[i].nid != nid)
			vdb_hnsw_upper_nbr(upper)[upper->count++] = (HnswUpperEdge) {edges->edges[i].nid, edges->edges[i].ref};
	}
	vdb_page_cover(page, a.offset + g->upper_stride);
	vdb_change_finish(&change);
	UnlockReleaseBuffer(buffer);
	return ref;
}

/*
 * Gives the record `from` of a layer above 0 an edge to node `to`.  Scores are
 * not stored there, so a full list weighs its members against `to` by the
 * estimate from the record's own node.
 */
static void
add_upper_edge(HnswIndex *index, const HnswEdge *from, int layer, uint32 to, uint32 to_ref)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_upper_address(g, from->ref);
	Buffer		buffer;
	HnswUpper  *upper;
	HnswUpperEdge *copy = palloc(g->m * sizeof(HnswUpperEdge));
	uint32		count;
	int			at;

	buffer = vdb_hnsw_read_upper(index, a, BUFFER_LOCK_SHARE);
	upper = vdb_hnsw_page_upper(BufferGetPage(buffer), a);
	if (upper->count > g->m)
		vdb_page_corrupted(index->rel, a.block, "A record has too many neighbours.");
	if (upper->nid != from->nid || upper->layer != layer)
	{
		UnlockReleaseBuffer(buffer);
		return;
	}
	count = upper->count;
	memcpy(copy, vdb_hnsw_upper_nbr(upper), count * sizeof(HnswUpperEdge));
	UnlockReleaseBuffer(buffer);

	/* an edge that is there may lead to a record of a former life */
	at = 0;
	while (at < (int) count && copy[at].nid != to)
		at++;
	if (at == (int) g->m)
	{
		VdbQuery	query;
		float		longest = from->score;

		at = -1;
		query.vector = palloc(index->codec.vector_bytes);
		if (vdb_hnsw_load_vector(index, from->nid, query.vector))
		{
			query.hot = palloc(vdb_query_bytes(&index->codec, query.vector));
			vdb_query_prepare(&query, &index->codec, 0);
			for (uint32 i = 0; i < count; i++)
			{
				float		score = vdb_hnsw_nid_exists(index, copy[i].nid) ?
				vdb_hnsw_score_hot(index, &query, copy[i].nid) : get_float4_infinity();

				if (score > longest)
				{
					longest = score;
					at = (int) i;
				}
			}
		}
		if (at < 0)
			return;
	}
	buffer = vdb_hnsw_read_upper(index, a, BUFFER_LOCK_EXCLUSIVE);
	upper = vdb_hnsw_page_upper(BufferGetPage(buffer), a);
	if (upper->nid == from->nid && upper->layer == layer && upper->count == count &&
		memcmp(copy, vdb_hnsw_upper_nbr(upper), count * sizeof(HnswUpperEdge)) == 0)
	{
		VdbChange	change;

		vdb_change_begin(&change, index->rel, false);
		upper = vdb_hnsw_page_upper(vdb_change_page(&change, buffer, false), a);
		vdb_hnsw_upper_nbr(upper)[at] = (HnswUpperEdge) {to, to_ref};
		upper->count = Max(upper->count, (uint16) (at + 1));
		vdb_change_finish(&change);
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Goes along the tree from a node, away from where it came, until it meets a
 * live one that may have one more edge of the tree.  Those it passes all have
 * many, so it soon does.  Returns HNSW_NO_NODE when it gets stuck at a slot
 * that was freed meanwhile, or where vacuum closed a circle.
 */
static uint32
walk_tree(HnswIndex *index, uint32 at, uint32 nid, uint32 *generation)
{
	const HnswGeometry *g = &index->geometry;
	uint32		before = HNSW_NO_NODE;
	EdgeCopy	copy;

	copy.nbr = palloc(2 * g->m * sizeof(uint32));
	copy.lengths = palloc(2 * g->m * sizeof(uint16));
	for (int step = 0; step < WALK_STEPS; step++)
	{
		bool		live = copy_edges(index, at, &copy);
		uint32		ways = 0;

		CHECK_FOR_INTERRUPTS();
		*generation = copy.generation;
		if (live && at != nid && copy.kept < HNSW_MAX_KEPT(g->m))
			return at;
		for (uint32 i = 0; i < copy.kept; i++)
		{
			if (copy.nbr[i] != before && vdb_hnsw_nid_exists(index, copy.nbr[i]))
				copy.nbr[ways++] = copy.nbr[i];
		}
		if (ways == 0)
			break;
		before = at;
		at = copy.nbr[pg_prng_uint32(&pg_global_prng_state) % ways];
	}
	return HNSW_NO_NODE;
}

/*
 * Finds a new node a parent away from what its search found: all of that has
 * as many edges of the tree as it may, as happens among many equal vectors.
 */
static HnswEdge
find_far_parent(HnswSearch *search, uint32 nid)
{
	HnswIndex  *index = search->index;
	void	   *vector = palloc(index->codec.vector_bytes);

	for (uint32 i = 0; i < WALKS && search->found_count > 0; i++)
	{
		uint32		start = search->found[i % search->found_count].nid;
		HnswEdge	edge = {HNSW_NO_NODE, HNSW_NO_REF, 0};
		uint32		generation;

		edge.nid = walk_tree(index, start, nid, &generation);
		if (edge.nid == HNSW_NO_NODE || !vdb_hnsw_load_vector(index, edge.nid, vector))
			continue;
		edge.score = vdb_vector_score(&index->codec, search->query.vector, vector);
		if (vdb_hnsw_add_edge(index, edge.nid, generation, &search->query, nid, edge.score,
							  HNSW_CLAIM_TREE))
			return edge;
	}
	return (HnswEdge) {HNSW_NO_NODE, HNSW_NO_REF, 0};
}

/*
 * Gives a new node's neighbours edges to it, and finds it a parent: the nearest
 * of them, or of all that were found, that has an edge left for the tree; or
 * one that the tree leads to from there.
 * Returns the parent, HNSW_NO_NODE when no node is left that could be one.
 */
static uint32
add_edges(HnswSearch *search, const LayerEdges *edges, uint32 nid)
{
	HnswIndex  *index = search->index;
	HnswEdge	parent = {HNSW_NO_NODE, HNSW_NO_REF, 0};

	for (uint32 i = 0; i < edges->count; i++)
	{
		const HnswEdge *edge = &edges->edges[i];
		uint32		generation = edges->generations[i];

		if (edge->nid == nid)
			continue;
		if (parent.nid == HNSW_NO_NODE &&
			vdb_hnsw_add_edge(index, edge->nid, generation, &search->query, nid, edge->score,
							  HNSW_CLAIM_TREE))
			parent = *edge;
		else
			vdb_hnsw_add_edge(index, edge->nid, generation, &search->query, nid, edge->score,
							  HNSW_CLAIM_GOOD);
	}
	for (uint32 i = 0; i < search->found_count && parent.nid == HNSW_NO_NODE; i++)
	{
		HnswFound  *found = &search->found[i];

		if (found->nid != nid &&
			vdb_hnsw_add_edge(index, found->nid, found->generation, &search->query, nid,
							  found->score, HNSW_CLAIM_TREE))
			parent = (HnswEdge) {found->nid, HNSW_NO_REF, found->score};
	}
	if (parent.nid == HNSW_NO_NODE)
		parent = find_far_parent(search, nid);

	/* the way back; a new node's list has room */
	if (parent.nid != HNSW_NO_NODE && (edges->kept == 0 || edges->edges[0].nid != parent.nid))
		vdb_hnsw_add_edge(index, nid, 0, &search->query, parent.nid, parent.score, HNSW_CLAIM_MUST);
	return parent.nid;
}

/* Replaces a node's own edges; it may have got others meanwhile. */
static void
rewrite_edges(HnswIndex *index, uint32 nid, uint32 generation, const LayerEdges *edges)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);

	if (node->state == HNSW_LIVE && node->generation == generation)
	{
		VdbChange	change;

		vdb_change_begin(&change, index->rel, false);
		node = vdb_hnsw_page_node(vdb_change_page(&change, buffer, false), a);
		store_edges(g, node, nid, edges);
		vdb_change_finish(&change);
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Links a node that found no parent: its neighbours all died since it chose
 * them, or there were none.  Where there is nothing to link it to, it becomes
 * the entry point.  Two that do so at once would not find each other, so the
 * caller holds the page lock of the metapage.
 */
static void
link_again(HnswIndex *index, const void *vector, float norm, uint32 nid, uint32 generation,
		   uint32 ref, int layer)
{
	bool		linked = false;

	for (int tries = 0; !linked; tries++)
	{
		HnswSearch	search;
		LayerEdges	edges;

		CHECK_FOR_INTERRUPTS();
		if (tries == LINK_TRIES)
			elog(ERROR, "found no node in index \"%s\" to link a new one to",
				 RelationGetRelationName(index->rel));
		vdb_hnsw_refresh(index);
		vdb_hnsw_search_begin(&search, index, vector, norm);
		search.keep_vectors = true;
		vdb_hnsw_search_nearest(&search, index->geometry.ef_construction);

		/* somebody else may have led here meanwhile */
		for (uint32 i = 0; i < search.found_count; i++)
			linked |= search.found[i].nid == nid;
		edges = choose_base(&search);
		if (edges.count > (linked ? 1 : 0))
		{
			rewrite_edges(index, nid, generation, &edges);
			linked |= add_edges(&search, &edges, nid) != HNSW_NO_NODE;
		}
		else if (!linked)
			linked = vdb_hnsw_replace_entry(index, search.entry_nid, nid, ref, layer);
		vdb_hnsw_search_end(&search);
	}
}

/* Edges of a new node on each layer. */
typedef struct NodeEdges
{
	LayerEdges	layers[HNSW_MAX_LAYER + 1];
} NodeEdges;

/* Searches for a new node's neighbours; the search is left open. */
static void
find_edges(HnswSearch *search, HnswIndex *index, const void *vector, float norm, int layer,
		   NodeEdges *edges)
{
	const HnswGeometry *g = &index->geometry;

	memset(edges, 0, sizeof(*edges));
	vdb_hnsw_search_begin(search, index, vector, norm);
	search->keep_vectors = true;
	vdb_hnsw_search_descend(search, layer);
	for (int l = Min(layer, search->entry_layer); l > 0 && search->pool.size > 0; l--)
	{
		vdb_hnsw_search_upper(search, l, g->ef_construction);
		edges->layers[l] = choose_upper(search);
		vdb_hnsw_search_down(search, l - 1);
	}
	vdb_hnsw_search_base(search, g->ef_construction);
	edges->layers[0] = choose_base(search);
}

/*
 * Adds a vector (in code space) for the row tid.  Uses memory of the
 * current context.
 */
void
vdb_hnsw_insert_vector(HnswIndex *index, const void *vector, float norm, ItemPointer tid,
					   int layer)
{
	HnswSearch	search;
	NodeEdges	edges;
	uint32		nid;
	uint32		generation;
	uint32		ref = HNSW_NO_REF;
	bool		linked;

	find_edges(&search, index, vector, norm, layer, &edges);
	VDB_TESTPOINT("hnsw-insert-after-search");
	nid = write_node(index, vector, norm, tid, layer, &edges.layers[0], &generation);
	VDB_TESTPOINT("hnsw-insert-after-node");
	linked = add_edges(&search, &edges.layers[0], nid) != HNSW_NO_NODE;
	VDB_TESTPOINT("hnsw-insert-after-edges");
	for (int l = 1; l <= layer; l++)
	{
		ref = write_upper(index, nid, generation, l, ref, &edges.layers[l]);
		for (uint32 i = 0; i < edges.layers[l].count; i++)
		{
			if (edges.layers[l].edges[i].nid != nid)
				add_upper_edge(index, &edges.layers[l].edges[i], l, nid, ref);
		}
	}
	VDB_TESTPOINT("hnsw-insert-before-entry");
	if (!linked)
	{
		LockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
		link_again(index, vector, norm, nid, generation, ref, layer);
		UnlockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
	}
	else if (layer > search.entry_layer)
		vdb_hnsw_set_entry(index, nid, ref, layer, false);
	vdb_hnsw_search_end(&search);
}

bool
vdb_hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
				IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	HnswIndex  *index;
	void	   *vector;
	float		norm;

	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "hnsw insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	index = vdb_hnsw_open(rel);
	vector = vdb_hnsw_transform(index->support, &index->codec, values[0], &norm);
	if (vector != NULL)
		vdb_hnsw_insert_vector(index, vector, norm, tid, vdb_hnsw_draw_layer(index->geometry.m));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
