/*
 * hnsw_insert.c
 *	  Adding one row to an index on pages.
 *
 * The order of steps makes a crash between any two of them harmless: first the
 * node with its own edges, which nothing leads to yet; then edges to it, one
 * page each; then its records on upper layers; last the entry point.
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

/* So many of a new node's nearest neighbours get an edge to it in any case. */
#define FORCED_EDGES 2

/* Edges of one layer, chosen before anything is written. */
typedef struct LayerEdges
{
	uint32		count;
	HnswEdge   *edges;
} LayerEdges;

int
vdb_hnsw_draw_layer(int m)
{
	double		uniform = 1 - pg_prng_double(&pg_global_prng_state);
	double		layer = -log(uniform) / log(m);

	return layer < HNSW_MAX_LAYER ? (int) layer : HNSW_MAX_LAYER;
}

uint32
vdb_hnsw_choose(const VdbCodec *codec, const float *scores, const float *const *vectors,
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

static int
compare_found(const void *a, const void *b)
{
	float		x = ((const HnswFound *) a)->score;
	float		y = ((const HnswFound *) b)->score;

	return x < y ? -1 : x > y;
}

/* Chooses a new node's edges on layer 0 from what a search found. */
static LayerEdges
choose_base(HnswSearch *search)
{
	const HnswGeometry *g = &search->index->geometry;
	uint32		count = search->found_count;
	float	   *scores = palloc(Max(count, 1) * sizeof(float));
	const float **vectors = palloc(Max(count, 1) * sizeof(float *));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	LayerEdges	layer;

	qsort(search->found, count, sizeof(HnswFound), compare_found);
	for (uint32 i = 0; i < count; i++)
	{
		scores[i] = search->found[i].score;
		vectors[i] = search->found[i].vector;
	}
	layer.count = vdb_hnsw_choose(&search->index->codec, scores, vectors, count, g->m, g->m, chosen);
	layer.edges = palloc(g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < layer.count; i++)
	{
		HnswFound  *found = &search->found[chosen[i]];

		layer.edges[i] = (HnswEdge) {found->nid, HNSW_NO_REF, found->score};
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
	const float **vectors = palloc(count * sizeof(float *));
	uint32	   *chosen = palloc(g->m * sizeof(uint32));
	LayerEdges	layer;

	for (uint32 i = 0; i < count; i++)
	{
		HnswCandidate *item = &search->pool.items[i];
		float	   *vector = palloc(g->P * sizeof(float));
		bool		usable = item->ref != HNSW_NO_REF && vdb_hnsw_load_vector(index, item->nid, vector);

		scores[i] = item->score;
		vectors[i] = usable ? vector : NULL;
	}
	layer.count = vdb_hnsw_choose(&index->codec, scores, vectors, count, g->m, g->m, chosen);
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
lock_free_slot(HnswIndex *index, Buffer *buffer, bool building)
{
	const HnswGeometry *g = &index->geometry;

	if (index->open_extent == HNSW_NO_EXTENT)
		vdb_hnsw_extend(index, false, HNSW_NO_EXTENT, building);
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
		vdb_hnsw_extend(index, false, extent, building);
	}
}

/*
 * Writes a node into a free slot: hot and node slot in one change.  Returns its
 * number and sets *generation.
 */
static uint32
write_node(HnswIndex *index, const float *vector, float norm, ItemPointer tid, int layer,
		   const LayerEdges *edges, bool building, uint32 *generation)
{
	const HnswGeometry *g = &index->geometry;
	int8_t	   *hi = palloc(g->P);
	uint8	   *lo = palloc(g->P / 2);
	uint8	   *code = palloc(index->codec.hot_bytes);
	float	   *decoded = palloc(g->P * sizeof(float));
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
	vdb_kernels->node_decode(g->P, factors.scale, hi, lo, decoded);
	hot_factors = vdb_encode_hot(&index->codec, decoded, code);

	nid = lock_free_slot(index, &hot_buffer, building);
	hot_address = vdb_hnsw_hot_address(g, nid);
	node_address = vdb_hnsw_node_address(g, nid);
	node_buffer = vdb_hnsw_read_node(index, node_address, BUFFER_LOCK_EXCLUSIVE);

	vdb_change_begin(&change, index->rel, building);
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
	node->count = edges->count;
	for (uint32 i = 0; i < edges->count; i++)
	{
		vdb_hnsw_node_nbr(node)[i] = edges->edges[i].nid;
		vdb_hnsw_node_length(g, node)[i] = vdb_hnsw_length_store(edges->edges[i].score);
	}
	if (g->node_bits != 0)
	{
		memcpy(vdb_hnsw_node_hi(g, node), hi, g->P);
		memcpy(vdb_hnsw_node_lo(g, node), lo, g->P / 2);
	}
	vdb_page_special(page)->used = Max(vdb_page_special(page)->used, node_address.slot + 1);
	vdb_page_cover(page, node_address.offset + g->node_stride);
	vdb_change_finish(&change);
	UnlockReleaseBuffer(node_buffer);
	UnlockReleaseBuffer(hot_buffer);
	return nid;
}

/*
 * Where a full list takes a new edge: the index of the edge to replace, or -1.
 * nbr and lengths are a copy of the list.
 */
static int
choose_replaced(HnswIndex *index, const VdbQuery *query, float score, const uint32 *nbr,
				const uint16 *lengths, uint32 count, bool force)
{
	int			longest = -1;
	int			occluded = -1;

	for (uint32 i = 0; i < count; i++)
	{
		float		length = vdb_hnsw_length_load(lengths[i]);
		float		between;

		if (!vdb_hnsw_nid_exists(index, nbr[i]))
			return (int) i;
		between = vdb_hnsw_score_hot(index, query, nbr[i]);
		if (length < score && between < score && !force)
			return -1;
		if (longest < 0 || length > vdb_hnsw_length_load(lengths[longest]))
			longest = (int) i;
		if (between < length && length > score &&
			(occluded < 0 || length > vdb_hnsw_length_load(lengths[occluded])))
			occluded = (int) i;
	}
	if (occluded >= 0)
		return occluded;
	if (longest >= 0 && (force || vdb_hnsw_length_load(lengths[longest]) > score))
		return longest;
	return -1;
}

bool
vdb_hnsw_add_edge(HnswIndex *index, uint32 from, const VdbQuery *query, uint32 to, float score,
				  bool force, bool building)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, from);
	uint32		max = 2 * g->m;
	uint32	   *nbr = palloc(max * sizeof(uint32));
	uint16	   *lengths = palloc(max * sizeof(uint16));
	bool		done = false;
	bool		added = false;

	/* decide on a copy, then look whether the list is still the same there */
	while (!done)
	{
		Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
		HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
		uint32		generation = node->generation;
		uint32		count = node->count;
		bool		live = node->state == HNSW_LIVE;
		int			at;

		if (count > max)
			vdb_page_corrupted(index->rel, a.block, "A node has too many neighbours.");
		memcpy(nbr, vdb_hnsw_node_nbr(node), count * sizeof(uint32));
		memcpy(lengths, vdb_hnsw_node_length(g, node), count * sizeof(uint16));
		UnlockReleaseBuffer(buffer);
		if (!live)
			break;
		for (uint32 i = 0; i < count && !added; i++)
			added = nbr[i] == to;
		if (added)
			break;
		at = (int) count;
		if (count == max)
			at = choose_replaced(index, query, score, nbr, lengths, count, force);
		if (at < 0)
			break;

		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
		node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
		if (node->state != HNSW_LIVE || node->generation != generation)
			done = true;
		else if (node->count == count &&
				 memcmp(nbr, vdb_hnsw_node_nbr(node), count * sizeof(uint32)) == 0)
		{
			VdbChange	change;

			vdb_change_begin(&change, index->rel, building);
			node = vdb_hnsw_page_node(vdb_change_page(&change, buffer, false), a);
			vdb_hnsw_node_nbr(node)[at] = to;
			vdb_hnsw_node_length(g, node)[at] = vdb_hnsw_length_store(score);
			node->count = Max(node->count, (uint16) (at + 1));
			vdb_change_finish(&change);
			done = added = true;
		}
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	pfree(nbr);
	pfree(lengths);
	return added;
}

/* Finds a free upper record and locks its page exclusively. */
static uint32
lock_free_record(HnswIndex *index, Buffer *buffer, bool building)
{
	const HnswGeometry *g = &index->geometry;

	if (index->open_upper == HNSW_NO_EXTENT)
		vdb_hnsw_extend(index, true, HNSW_NO_EXTENT, building);
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
		vdb_hnsw_extend(index, true, extent, building);
	}
}

/* Writes a node's record on one layer above 0; returns its reference. */
static uint32
write_upper(HnswIndex *index, uint32 nid, uint32 generation, int layer, uint32 down,
			const LayerEdges *edges, bool building)
{
	const HnswGeometry *g = &index->geometry;
	Buffer		buffer;
	uint32		ref = lock_free_record(index, &buffer, building);
	HnswAddress a = vdb_hnsw_upper_address(g, ref);
	VdbChange	change;
	Page		page;
	HnswUpper  *upper;

	vdb_change_begin(&change, index->rel, building);
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
	upper->count = edges->count;
	for (uint32 i = 0; i < edges->count; i++)
		vdb_hnsw_upper_nbr(upper)[i] = (HnswUpperEdge) {edges->edges[i].nid, edges->edges[i].ref};
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
add_upper_edge(HnswIndex *index, const HnswEdge *from, int layer, uint32 to, uint32 to_ref,
			   bool building)
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

	at = (int) count;
	if (count == g->m)
	{
		VdbQuery	query;
		float		longest = from->score;

		at = -1;
		query.vector = palloc(g->P * sizeof(float));
		query.hot = palloc(vdb_query_bytes(&index->codec));
		if (vdb_hnsw_load_vector(index, from->nid, query.vector))
		{
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

		vdb_change_begin(&change, index->rel, building);
		upper = vdb_hnsw_page_upper(vdb_change_page(&change, buffer, false), a);
		vdb_hnsw_upper_nbr(upper)[at] = (HnswUpperEdge) {to, to_ref};
		upper->count = Max(upper->count, (uint16) (at + 1));
		vdb_change_finish(&change);
	}
	UnlockReleaseBuffer(buffer);
}

/* Gives a new node's neighbours an edge to it; true when one took it. */
static bool
add_edges(HnswSearch *search, const LayerEdges *edges, uint32 nid, bool building)
{
	bool		linked = false;

	for (uint32 i = 0; i < edges->count; i++)
		linked |= vdb_hnsw_add_edge(search->index, edges->edges[i].nid, &search->query, nid,
									edges->edges[i].score, i < FORCED_EDGES, building);
	return linked;
}

/*
 * Links a node whose neighbours all died since it chose them.  False when
 * there is nothing to link it to.
 */
static bool
link_again(HnswIndex *index, const float *vector, float norm, uint32 nid, bool building)
{
	for (;;)
	{
		HnswSearch	search;
		LayerEdges	edges;
		bool		linked = false;

		CHECK_FOR_INTERRUPTS();
		vdb_hnsw_refresh(index);
		vdb_hnsw_search_begin(&search, index, vector, norm);
		search.keep_vectors = true;
		vdb_hnsw_search_descend(&search, 0);
		vdb_hnsw_search_base(&search, index->geometry.ef_construction);

		/* somebody else may have led here meanwhile */
		for (uint32 i = 0; i < search.found_count; i++)
			linked |= search.found[i].nid == nid;
		edges = choose_base(&search);
		if (!linked)
			linked = add_edges(&search, &edges, nid, building);
		vdb_hnsw_search_end(&search);
		if (linked || edges.count == 0)
			return linked;
	}
}

/*
 * Searches and writes.  Returns false, having written nothing, when no live
 * node was found and `alone` does not allow for that.
 */
static bool
link_vector(HnswIndex *index, const float *vector, float norm, ItemPointer tid, int layer,
			bool alone, bool building)
{
	const HnswGeometry *g = &index->geometry;
	LayerEdges	layers[HNSW_MAX_LAYER + 1];
	HnswSearch	search;
	uint32		nid;
	uint32		generation;
	uint32		ref = HNSW_NO_REF;
	bool		linked;

	memset(layers, 0, sizeof(layers));
	vdb_hnsw_search_begin(&search, index, vector, norm);
	search.keep_vectors = true;
	vdb_hnsw_search_descend(&search, layer);
	for (int l = Min(layer, index->entry_layer); l > 0 && search.pool.size > 0; l--)
	{
		vdb_hnsw_search_upper(&search, l, g->ef_construction);
		layers[l] = choose_upper(&search);
		vdb_hnsw_search_down(&search, l - 1);
	}
	vdb_hnsw_search_base(&search, g->ef_construction);
	layers[0] = choose_base(&search);
	if (search.found_count == 0 && !alone)
	{
		vdb_hnsw_search_end(&search);
		return false;
	}
	VDB_TESTPOINT("hnsw-insert-after-search");

	nid = write_node(index, vector, norm, tid, layer, &layers[0], building, &generation);
	VDB_TESTPOINT("hnsw-insert-after-node");
	linked = add_edges(&search, &layers[0], nid, building);
	VDB_TESTPOINT("hnsw-insert-after-edges");
	for (int l = 1; l <= layer; l++)
	{
		ref = write_upper(index, nid, generation, l, ref, &layers[l], building);
		for (uint32 i = 0; i < layers[l].count; i++)
			add_upper_edge(index, &layers[l].edges[i], l, nid, ref, building);
	}
	VDB_TESTPOINT("hnsw-insert-before-entry");
	if (!linked && search.found_count > 0)
		linked = link_again(index, vector, norm, nid, building);
	if (layer > index->entry_layer || !linked)
		vdb_hnsw_set_entry(index, nid, ref, layer, !linked, building);
	vdb_hnsw_search_end(&search);
	return true;
}

/*
 * Adds a vector (P floats in code space) for the row tid.  Uses memory of the
 * current context.
 */
void
vdb_hnsw_insert_vector(HnswIndex *index, const float *vector, float norm, ItemPointer tid,
					   int layer, bool building)
{
	if (link_vector(index, vector, norm, tid, layer, false, building))
		return;

	/*
	 * Nothing to link to: this row becomes the entry point.  Two that do so at
	 * once would not find each other, so they take turns.
	 */
	if (!building)
		LockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
	vdb_hnsw_refresh(index);
	link_vector(index, vector, norm, tid, layer, true, building);
	if (!building)
		UnlockPage(index->rel, HNSW_META_BLOCK, ExclusiveLock);
}

bool
vdb_hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
				IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	HnswIndex  *index;
	float	   *vector;
	float		norm;

	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "hnsw insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	index = vdb_hnsw_open(rel);
	vector = palloc(index->geometry.P * sizeof(float));
	if (vdb_hnsw_transform(index, values[0], vector, &norm))
		vdb_hnsw_insert_vector(index, vector, norm, tid, vdb_hnsw_draw_layer(index->geometry.m),
							   false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
