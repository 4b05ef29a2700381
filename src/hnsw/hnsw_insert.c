/*
 * hnsw_insert.c
 *	  Adding one row to an index on pages.
 *
 * A row that is equal to that of a node joins it (hnsw_postings.c).  Any other
 * becomes a node.
 *
 * The order of steps makes a crash between any two of them harmless: first the
 * node with its own edges, which nothing leads to yet; then edges to it, one
 * page each; then its records on upper layers; last the entry point.
 *
 * Where the index has the option fastupdate, the node is all that is written, and it
 * waits to be linked (hnsw_pending.c).
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
#include "hnsw/hnsw_edge.h"
#include "mirror/mirror.h"
#include "stats/stats.h"
#include "testpoint.h"

/*
 * A parent away from what a search found: attempts, and the length of each.
 * The tree would have to be deeper than any for the steps not to suffice.
 */
#define WALKS 16
#define WALK_STEPS 1000

/*
 * Edges that a new node should get.  With fewer it is missed by searches that pass
 * near by, until VACUUM gives it more; more are left to lists that can do with them.
 */
#define WANTED_INBOUND(m) ((m) / 2)

/* Vacuum may take away once or twice what a new node is to be linked to. */
#define LINK_TRIES 100


/* Edges of one layer, chosen before anything is written. */
typedef struct LayerEdges
{
	uint32		count;			/* nodes that are to have an edge to the new one */
	uint32		own;			/* the first so many get one from it */
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

/*
 * Of `count` candidates sorted by score, chooses at most m: first those nearer
 * to the new node than to any chosen one, so many are *diverse, then the
 * nearest of the others.  Returns the number of indexes written to chosen[m].
 * A candidate that is not live any more is passed over.
 */
static uint32
choose_edges(HnswIndex *index, const HnswEdge *candidates, uint32 count, uint32 *chosen,
			 uint32 *diverse)
{
	const VdbCodec *codec = &index->codec;
	uint32		m = index->geometry.m;
	uint32		kept = 0;
	bool	   *left = palloc0(count * sizeof(bool));
	void	  **vectors = palloc(m * sizeof(void *));	/* of those chosen */
	void	   *vector = palloc(codec->vector_bytes);

	for (uint32 i = 0; i < count && kept < m; i++)
	{
		bool		nearest = true;

		if (!vdb_hnsw_load_vector(index, candidates[i].nid, vector))
			continue;
		for (uint32 j = 0; j < kept && nearest; j++)
			nearest = vdb_vector_score(codec, vector, vectors[j]) >= candidates[i].score;
		left[i] = !nearest;
		if (nearest)
		{
			vectors[kept] = vector;
			chosen[kept++] = i;
			vector = palloc(codec->vector_bytes);
		}
	}
	*diverse = kept;
	for (uint32 i = 0; i < count && kept < m; i++)
	{
		if (left[i])
			chosen[kept++] = i;
	}
	return kept;
}

/*
 * Chooses a new node's edges on layer 0 from what a search found.  Its own are
 * those that lead to different places, and the nearest others up to half a
 * list of m: with more, its list would be too full for the edges that nodes to
 * come deserve.
 */
static LayerEdges
choose_base(HnswSearch *search)
{
	const HnswGeometry *g = &search->index->geometry;
	uint32		count = search->found_count;
	HnswEdge   *candidates = palloc(count * sizeof(HnswEdge));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	LayerEdges	layer;

	vdb_hnsw_search_sort(search);
	for (uint32 i = 0; i < count; i++)
		candidates[i] = (HnswEdge) {search->found[i].nid, HNSW_NO_REF, search->found[i].score};
	layer.count = choose_edges(search->index, candidates, count, chosen, &layer.own);
	layer.own = Min(layer.count, Max(layer.own, (uint32) g->m / 2));
	layer.kept = 0;
	layer.edges = palloc(g->m * sizeof(HnswEdge));
	layer.generations = palloc(g->m * sizeof(uint32));

	/* the first that may be a parent comes first */
	for (uint32 i = 0; i < layer.count && layer.kept == 0; i++)
	{
		if (search->found[chosen[i]].kept < HNSW_MAX_KEPT(g->m))
		{
			uint32		parent = chosen[i];

			memmove(chosen + 1, chosen, i * sizeof(uint32));
			chosen[0] = parent;
			layer.kept = 1;
			layer.own += i >= layer.own;
		}
	}
	for (uint32 i = 0; i < layer.count; i++)
	{
		layer.edges[i] = candidates[chosen[i]];
		layer.generations[i] = search->found[chosen[i]].generation;
	}
	return layer;
}

/* The same on a layer above, from the pool of its search; all are its own. */
static LayerEdges
choose_upper(HnswSearch *search)
{
	HnswIndex  *index = search->index;
	const HnswGeometry *g = &index->geometry;
	HnswEdge   *candidates = palloc(search->pool.size * sizeof(HnswEdge));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	uint32		count = 0;
	uint32		diverse;
	LayerEdges	layer;

	for (uint32 i = 0; i < search->pool.size; i++)
	{
		HnswCandidate *item = &search->pool.items[i];

		if (item->ref != HNSW_NO_REF)
			candidates[count++] = (HnswEdge) {item->nid, item->ref, item->score};
	}
	layer.count = choose_edges(index, candidates, count, chosen, &diverse);
	layer.own = layer.count;
	layer.kept = 0;
	layer.generations = NULL;
	layer.edges = palloc(g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < layer.count; i++)
		layer.edges[i] = candidates[chosen[i]];
	return layer;
}

/*
 * Writes a node's own edges, except one to itself: the slot it got may be that
 * of a neighbour which was freed after it was chosen.
 */
static void
store_edges(const HnswGeometry *g, HnswNode *node, uint32 nid, const LayerEdges *edges)
{
	float	   *scores = palloc(2 * g->m * sizeof(float));
	uint32		count = 0;

	node->kept = edges->kept;
	for (uint32 i = 0; i < edges->own; i++)
	{
		if (edges->edges[i].nid == nid)
		{
			node->kept -= i < edges->kept;
			continue;
		}
		vdb_hnsw_node_nbr(node)[count] = edges->edges[i].nid;
		scores[count++] = edges->edges[i].score;
	}
	node->count = count;
	vdb_hnsw_lengths_store(vdb_hnsw_node_lengths(g, node), scores, count, 2 * g->m);
	pfree(scores);
}

/* Makes a row a node without edges, in the current context. */
static HnswNode *
form_node(const HnswGeometry *g, const HnswNewRow *row, int layer)
{
	HnswNode   *node = palloc0(g->node_stride);

	node->tid = row->tid;
	node->state = HNSW_LIVE;
	node->layer = layer;
	node->hash = row->hash;
	node->scale = row->factors.scale;
	node->add = row->factors.add;
	node->residual = vdb_bfloat_above(row->factors.residual);
	if (g->node_bits != 0)
	{
		memcpy(vdb_hnsw_node_hi(g, node), row->hi, g->hi_bytes);
		memcpy(vdb_hnsw_node_lo(g, node), row->lo, g->lo_bytes);
	}
	return node;
}

/*
 * Fills a free slot whose hot page is exclusively locked: hot and node slot in one
 * change.
 */
static void
fill_slot(HnswIndex *index, uint32 nid, uint32 generation, Buffer hot_buffer, const HnswNewRow *row,
		  HnswNode *node)
{
	const HnswGeometry *g = &index->geometry;
	Buffer		node_buffer = vdb_hnsw_read_node(index, vdb_hnsw_node_address(g, nid), BUFFER_LOCK_EXCLUSIVE);
	VdbPatch	patch;

	row->hot->generation = generation;
	node->generation = generation;
	vdb_patch_begin(&patch, index->rel);
	if (g->attr_bytes > 0)
		vdb_patch_write(&patch, hot_buffer,
						vdb_hnsw_attributes_offset(g, vdb_hnsw_hot_address(g, nid)),
						row->attributes, g->attr_bytes);
	vdb_hnsw_take_slot(index, &patch, nid, hot_buffer, row->hot, node_buffer, node);
	vdb_patch_finish(&patch);
	UnlockReleaseBuffer(node_buffer);
}

/* Writes a node into a free slot.  Returns its number and sets *generation. */
static uint32
write_node(HnswIndex *index, const HnswNewRow *row, int layer, const LayerEdges *edges,
		   uint32 *generation)
{
	HnswNode   *node = form_node(&index->geometry, row, layer);
	Buffer		hot_buffer;
	uint32		nid = vdb_hnsw_lock_free_slot(index, &hot_buffer, generation);

	store_edges(&index->geometry, node, nid, edges);
	fill_slot(index, nid, *generation, hot_buffer, row, node);
	UnlockReleaseBuffer(hot_buffer);
	return nid;
}

/*
 * The same of a node without edges, which will be found among those that wait.
 * False where there is no room for it among them.
 */
static bool
write_pending(HnswIndex *index, const HnswNewRow *row)
{
	uint32		most = vdb_hnsw_pending_extents(index);
	HnswNode   *node = form_node(&index->geometry, row, vdb_hnsw_draw_layer(index->geometry.m));
	Buffer		meta = vdb_hnsw_pin_meta(index);
	Buffer		hot_buffer;
	uint32		generation;
	uint32		nid = vdb_hnsw_lock_free_slot(index, &hot_buffer, &generation);
	bool		done = vdb_hnsw_widen_pending(index, meta, vdb_hnsw_extent_of(&index->geometry, nid), most);

	if (done)
		fill_slot(index, nid, generation, hot_buffer, row, node);
	UnlockReleaseBuffer(hot_buffer);
	ReleaseBuffer(meta);
	if ((!done || 2 * (index->pending.end - index->pending.first) >= most) &&
		vdb_hnsw_options(index->rel)->maintenance)
		vdb_index_ask_upkeep();
	return done;
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
		uint32		at = (index->roomy_ref - extent * g->upper_slots) / g->uppers_per_page;

		for (uint32 i = 0; i < g->extent_pages; i++, at++)
		{
			uint32		first;
			Page		page;
			VdbPageSpecial *special;

			at = at < g->extent_pages ? at : 0;
			first = extent * g->upper_slots + at * g->uppers_per_page;
			index->roomy_ref = first;
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
	VdbPatch	patch;
	VdbPageSpecial special = *vdb_page_special(BufferGetPage(buffer));
	HnswUpper  *upper = palloc0(g->upper_stride);

	upper->nid = nid;
	upper->generation = generation;
	upper->down = down;
	upper->layer = layer;
	for (uint32 i = 0; i < edges->own; i++)
	{
		if (edges->edges[i].nid != nid)
			vdb_hnsw_upper_nbr(upper)[upper->count++] = (HnswUpperEdge) {edges->edges[i].nid, edges->edges[i].ref};
	}
	if (a.slot < special.used)
		special.free--;
	else
		special.used = a.slot + 1;

	vdb_patch_begin(&patch, index->rel);
	vdb_patch_write(&patch, buffer, a.offset, upper, g->upper_stride);
	vdb_patch_write(&patch, buffer, VDB_PAGE_END, &special, sizeof(special));
	vdb_patch_finish(&patch);
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
		HnswUpperEdge edge = {to, to_ref};
		uint16		grown = Max(upper->count, (uint16) (at + 1));
		VdbPatch	patch;

		vdb_patch_begin(&patch, index->rel);
		vdb_patch_write(&patch, buffer, a.offset + offsetof(HnswUpper, count), &grown, sizeof(grown));
		vdb_patch_write(&patch, buffer, a.offset + sizeof(HnswUpper) + at * sizeof(edge), &edge,
						sizeof(edge));
		vdb_patch_finish(&patch);
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
	HnswEdgeCopy	copy;

	vdb_hnsw_init_edge_copy(&copy, g);
	for (int step = 0; step < WALK_STEPS; step++)
	{
		bool		live = vdb_hnsw_copy_edges(index, at, &copy);
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
 * Decides about the edge that the i-th of a new node's neighbours is to have to it.
 */
static HnswEdgeDecision
decide_chosen(HnswSearch *search, const LayerEdges *edges, uint32 i, uint32 nid, HnswClaim claim,
			  HnswEdgeChange *change)
{
	*change = (HnswEdgeChange) {
		.from = edges->edges[i].nid,
		.generation = edges->generations[i],
		.score = edges->edges[i].score,
		.claim = claim
	};
	vdb_hnsw_init_edge_copy(&change->list, &search->index->geometry);
	return vdb_hnsw_decide_edge(search->index, &search->query, nid, change);
}

/* Nobody, where a parent is asked for. */
static const HnswEdge no_parent = {HNSW_NO_NODE, HNSW_NO_REF, 0};

/*
 * Gives a new node's neighbours edges to it.  Unless it has a parent, the first that
 * has an edge left for the tree becomes that.  Returns the parent, no_parent if there is
 * none.  If many refuse, the nearest of them are asked again.
 */
static HnswEdge
add_chosen_edges(HnswSearch *search, const LayerEdges *edges, uint32 nid, HnswEdge parent)
{
	HnswIndex  *index = search->index;
	uint32		wanted = WANTED_INBOUND(index->geometry.m);
	HnswEdgeChange *changes = palloc(edges->count * sizeof(HnswEdgeChange));
	uint32	   *refused = palloc(edges->count * sizeof(uint32));
	uint32		refused_count = 0;
	uint32		got = 0;		/* edges that are there, or will be */
	uint32		count = 0;

	for (uint32 i = 0; i < edges->count; i++)
	{
		HnswEdgeDecision decision = HNSW_EDGE_IS_REFUSED;

		if (edges->edges[i].nid == nid)
			continue;
		if (parent.nid == HNSW_NO_NODE)
		{
			decision = decide_chosen(search, edges, i, nid, HNSW_CLAIM_TREE, &changes[count]);
			if (decision != HNSW_EDGE_IS_REFUSED)
				parent = edges->edges[i];
		}
		if (decision == HNSW_EDGE_IS_REFUSED)
			decision = decide_chosen(search, edges, i, nid, got < wanted ? HNSW_CLAIM_GOOD : HNSW_CLAIM_SPARE,
									 &changes[count]);
		if (decision == HNSW_EDGE_IS_REFUSED)
			refused[refused_count++] = i;
		else
			got++;
		if (decision == HNSW_EDGE_IS_WANTED)
			count++;
	}
	for (uint32 i = 0; i < refused_count && got < wanted; i++)
	{
		if (decide_chosen(search, edges, refused[i], nid, HNSW_CLAIM_NEEDED, &changes[count]) == HNSW_EDGE_IS_WANTED)
		{
			count++;
			got++;
		}
	}
	vdb_hnsw_write_edges(index, nid, changes, count);

	/* again for lists that others changed meanwhile */
	for (uint32 i = 0; i < count; i++)
	{
		HnswEdgeChange *change = &changes[i];

		if (!change->made &&
			!vdb_hnsw_add_edge(index, change->from, change->generation, &search->query, nid,
							   change->score, change->claim) &&
			change->claim == HNSW_CLAIM_TREE)
			parent.nid = HNSW_NO_NODE;
	}
	return parent;
}

/*
 * Gives a new node an edge from a parent: the nearest of what was found that has an
 * edge left for the tree, or one that the tree leads to from there.  Returns it, or
 * no_parent.
 */
static HnswEdge
find_parent(HnswSearch *search, uint32 nid)
{
	HnswIndex  *index = search->index;

	for (uint32 i = 0; i < search->found_count; i++)
	{
		HnswFound  *found = &search->found[i];

		if (found->nid != nid &&
			vdb_hnsw_add_edge(index, found->nid, found->generation, &search->query, nid,
							  found->score, HNSW_CLAIM_TREE))
			return (HnswEdge) {found->nid, HNSW_NO_REF, found->score};
	}
	return find_far_parent(search, nid);
}

/* Gives a new node the way back to its parent; its list has room. */
static void
add_way_back(HnswSearch *search, uint32 nid, HnswEdge parent)
{
	vdb_hnsw_add_edge(search->index, nid, 0, &search->query, parent.nid, parent.score, HNSW_CLAIM_MUST);
}

/*
 * Gives a new node's neighbours edges to it, and finds it a parent, one of them if
 * possible.  False when no node is left that could be one.
 */
static bool
add_edges(HnswSearch *search, const LayerEdges *edges, uint32 nid)
{
	HnswEdge	parent = add_chosen_edges(search, edges, nid, no_parent);

	if (parent.nid == HNSW_NO_NODE)
		parent = find_parent(search, nid);
	if (parent.nid == HNSW_NO_NODE)
		return false;
	if (edges->kept == 0 || edges->edges[0].nid != parent.nid)
		add_way_back(search, nid, parent);
	return true;
}

/*
 * Replaces a node's own edges.  Not where it has more of the tree than those that may
 * go: then others hang on it already.
 */
static void
rewrite_edges(HnswIndex *index, uint32 nid, uint32 generation, const LayerEdges *edges, uint32 may_go)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);

	if (node->state == HNSW_LIVE && node->generation == generation && node->kept <= may_go)
	{
		HnswNode   *copy = palloc(g->node_stride);
		int			counts = offsetof(HnswNode, count);
		int			lists = (char *) vdb_hnsw_node_nbr(copy) - (char *) copy;
		VdbPatch	patch;

		memcpy(copy, node, g->node_stride);
		store_edges(g, copy, nid, edges);
		vdb_patch_begin(&patch, index->rel);
		vdb_patch_write(&patch, buffer, a.offset + counts, (char *) copy + counts, 2 * sizeof(uint8));
		vdb_patch_write(&patch, buffer, a.offset + lists, (char *) copy + lists,
						2 * g->m * sizeof(uint32) + vdb_hnsw_lengths_bytes(2 * g->m));
		vdb_patch_finish(&patch);
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Forgets what a search found that is not linked itself: whoever hung on that would
 * hang on nothing.  An edge of a former life of its slot may have led there.
 */
static void
drop_unlinked(HnswSearch *search)
{
	uint32		count = 0;

	for (uint32 i = 0; i < search->found_count; i++)
	{
		if (vdb_hnsw_is_linked(search->found[i].nid, search->found[i].kept, search->entry_nid))
			search->found[count++] = search->found[i];
	}
	search->found_count = count;
}

/*
 * Links a node on layer 0 that is written already.  It has no edge of the tree, but for
 * those that may go, before it has the way back to its parent, whose edge to it is the
 * first.  Whatever interrupts us before leaves it a node that waits, if it was one, and
 * is done again when it is linked the next time.  False when no node is left that could be
 * the parent.
 */
static bool
link_base(HnswSearch *search, const LayerEdges *edges, uint32 nid, uint32 generation, uint32 may_go)
{
	LayerEdges	own = *edges;
	HnswEdge	parent;

	own.kept = 0;
	rewrite_edges(search->index, nid, generation, &own, may_go);
	VDB_TESTPOINT("hnsw-link-before-parent");
	parent = find_parent(search, nid);
	if (parent.nid == HNSW_NO_NODE)
		return false;
	VDB_TESTPOINT("hnsw-link-after-parent");
	add_way_back(search, nid, parent);
	VDB_TESTPOINT("hnsw-link-before-edges");
	add_chosen_edges(search, edges, nid, parent);
	return true;
}

/*
 * Has the search go on until it has found a node that is linked, or there is none.  Nodes
 * that are dead have places in the pool until they are expanded, so it may have refused
 * all that lead out from among them.  Says whether somebody has led to `nid` meanwhile.
 */
static bool
find_linked(HnswSearch *search, uint32 nid)
{
	bool		linked = false;

	for (;;)
	{
		for (uint32 i = 0; i < search->found_count; i++)
			linked |= search->found[i].nid == nid;
		drop_unlinked(search);
		if (search->found_count > 0 || search->overflow.count == 0)
			return linked;
		vdb_hnsw_search_resume(search, search->index->geometry.ef_construction);
	}
}

/*
 * Links a node that found no parent: its neighbours all died since it chose
 * them, or there were none.  Where there is nothing to link it to, it becomes
 * the entry point.  Two that do so at once would not find each other, so the
 * caller holds the page lock of the metapage.
 */
static void
link_again(HnswIndex *index, const void *vector, float norm, uint32 nid, uint32 generation,
		   uint32 may_go, uint32 ref, int layer)
{
	bool		linked = false;

	for (int tries = 0; !linked; tries++)
	{
		HnswSearch	search;
		LayerEdges	edges;
		uint32		others = 0;

		CHECK_FOR_INTERRUPTS();
		if (tries == LINK_TRIES)
			elog(ERROR, "found no node in index \"%s\" to link a new one to",
				 RelationGetRelationName(index->rel));
		vdb_hnsw_refresh(index);
		vdb_hnsw_search_begin(&search, index, vector, norm);
		search.keep_overflow = true;
		vdb_hnsw_search_nearest(&search, index->geometry.ef_construction);
		linked = find_linked(&search, nid);
		edges = choose_base(&search);
		for (uint32 i = 0; i < edges.count; i++)
			others += edges.edges[i].nid != nid;
		if (others > 0)
			linked |= link_base(&search, &edges, nid, generation, may_go);
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

/*
 * Searches for a new row's neighbours.  The search, which has begun, ends without
 * edges as soon as it comes to a node of an equal row, if one is sought.
 */
static void
find_edges(HnswSearch *search, int layer, NodeEdges *edges)
{
	const HnswGeometry *g = &search->index->geometry;

	memset(edges, 0, sizeof(*edges));
	vdb_hnsw_search_descend(search, layer);
	for (int l = Min(layer, search->entry_layer); l > 0 && search->pool.size > 0; l--)
	{
		vdb_hnsw_search_upper(search, l, g->ef_construction);
		edges->layers[l] = choose_upper(search);
		vdb_hnsw_search_down(search, l - 1);
	}
	vdb_hnsw_search_base(search, g->ef_construction);
	if (search->equal != HNSW_NO_NODE)
		return;
	drop_unlinked(search);
	edges->layers[0] = choose_base(search);
}

/*
 * Links a node, to which its neighbours on layer 0 lead, if it is linked there, on the
 * layers above; has it be the entry point, if it is higher than that.
 */
static void
link_above(HnswSearch *search, const void *vector, float norm, uint32 nid, uint32 generation,
		   int layer, const NodeEdges *edges, bool linked)
{
	HnswIndex  *index = search->index;
	uint32		ref = HNSW_NO_REF;

	VDB_TESTPOINT("hnsw-insert-after-edges");
	for (int l = 1; l <= layer; l++)
	{
		ref = write_upper(index, nid, generation, l, ref, &edges->layers[l]);
		for (uint32 i = 0; i < edges->layers[l].count; i++)
		{
			if (edges->layers[l].edges[i].nid != nid)
				add_upper_edge(index, &edges->layers[l].edges[i], l, nid, ref);
		}
	}
	VDB_TESTPOINT("hnsw-insert-before-entry");
	if (!linked)
	{
		LockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
		link_again(index, vector, norm, nid, generation, edges->layers[0].kept, ref, layer);
		UnlockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
	}
	else if (layer > search->entry_layer)
		vdb_hnsw_set_entry(index, nid, ref, layer, false);
}

/* Adds a row that no node stands for, given what a search found, as a node. */
static void
insert_node(HnswSearch *search, const void *vector, float norm, const HnswNewRow *row, int layer,
			const NodeEdges *edges)
{
	uint32		generation;
	uint32		nid = write_node(search->index, row, layer, &edges->layers[0], &generation);
	bool		linked;

	VDB_TESTPOINT("hnsw-insert-after-node");
	linked = add_edges(search, &edges->layers[0], nid);
	link_above(search, vector, norm, nid, generation, layer, edges, linked);
}

void
vdb_hnsw_link_pending(HnswIndex *index, uint32 nid, uint32 generation, int layer)
{
	void	   *vector = palloc(index->codec.vector_bytes);
	HnswSearch	search;
	NodeEdges	edges;
	bool		linked;

	if (!vdb_hnsw_load_vector(index, nid, vector))
		return;
	vdb_hnsw_search_begin(&search, index, vector, 0);
	search.absent = nid;
	find_edges(&search, layer, &edges);
	edges.layers[0].kept = 0;
	linked = edges.layers[0].count > 0 && link_base(&search, &edges.layers[0], nid, generation, 0);
	link_above(&search, vector, 0, nid, generation, layer, &edges, linked);
	vdb_hnsw_search_end(&search);
}

/* Encodes a row's vector, in the current context. */
static void
encode_row(HnswIndex *index, const void *vector, float norm, HnswNewRow *row)
{
	const VdbCodec *codec = &index->codec;
	VdbHotFactors factors;

	row->hi = palloc(codec->hi_bytes);
	row->lo = palloc(codec->lo_bytes);
	row->hot = palloc0(index->geometry.hot_stride);
	row->factors = vdb_encode_node(codec, vector, norm, row->hi, row->lo);

	/* the hot code stands for the node code, so that each proves the other */
	factors = vdb_hot_of_node(codec, row->factors, row->hi, row->lo, palloc(codec->vector_bytes),
							  vdb_hnsw_hot_code(row->hot));
	row->hot->add = factors.add;
	row->hot->rescale = factors.rescale;
}

/*
 * Adds a row, which has been encoded, by its vector (in code space): to the node of an
 * equal one, or as a node.  Uses memory of the current context.
 */
static void
insert_row(HnswIndex *index, const void *vector, float norm, HnswNewRow *row, int layer)
{
	bool		done = false;

	for (int tries = 0; !done; tries++)
	{
		HnswSearch	search;
		NodeEdges	edges;

		CHECK_FOR_INTERRUPTS();
		vdb_hnsw_search_begin(&search, index, vector, norm);
		search.sought = tries < HNSW_ATTACH_TRIES ? row : NULL;
		find_edges(&search, layer, &edges);
		VDB_TESTPOINT("hnsw-insert-after-search");
		if (search.equal != HNSW_NO_NODE)
			done = vdb_hnsw_attach(index, search.equal, search.equal_generation, &row->tid);
		else
		{
			insert_node(&search, vector, norm, row, layer, &edges);
			done = true;
		}
		vdb_hnsw_search_end(&search);
	}
}

bool
vdb_hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
				IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	HnswIndex  *index;
	Datum		value;
	void	   *vector;
	float		norm;

	vdb_mirror_insert(heap, rel, values[0], isnull[0], tid);
	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "hnsw insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	index = vdb_hnsw_open(rel);
	value = PointerGetDatum(PG_DETOAST_DATUM(values[0]));
	vector = vdb_index_transform(index->support, &index->codec, value, &norm);
	if (vector != NULL)
	{
		uint8	   *attributes = palloc(index->attributes->bytes);
		HnswNewRow	row = {
			.tid = *tid,
			.hash = vdb_hnsw_hash_value(index, vector, value),
			.attributes = attributes
		};

		vdb_index_form_attributes(index->attributes, values, isnull, attributes);
		encode_row(index, vector, norm, &row);
		if (vdb_hnsw_options(rel)->fastupdate && write_pending(index, &row))
			VDB_TESTPOINT("hnsw-insert-after-pending");
		else
			insert_row(index, vector, norm, &row, vdb_hnsw_draw_layer(index->geometry.m));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_add(RelationGetRelid(rel), VDB_STAT_INSERTS, vector != NULL);
	return false;
}
