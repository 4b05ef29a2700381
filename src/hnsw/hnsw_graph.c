/*
 * hnsw_graph.c
 *	  Building the graph in memory: levels, search, neighbour selection.
 *
 * Hierarchical navigable small worlds (Malkov and Yashunin, 2018) over node
 * codes: distances come from their hi parts alone, so a dense comparison reads
 * a byte a dimension.  This file never touches a page; hnsw_build.c writes the result out.
 *
 * The heuristic that prunes lists can cut a node off, and does so to most of a
 * set of equal vectors.  So the nodes also form a tree: each one but the first
 * has a parent among its neighbours on layer 0, and pruning keeps the edges
 * between parent and child in both directions.  Layer 0 is therefore always
 * strongly connected.
 */
#include <math.h>

#include "hnsw/hnsw_graph.h"

#define ALIGN64(n) (((n) + 63) / 64 * 64)

static inline size_t
list_bytes(uint32_t max)
{
	return sizeof(HnswList) + (size_t) max * (sizeof(uint32_t) + sizeof(float));
}

/* Lists above layer 0 expected among so many nodes, with room for luck. */
static inline uint32_t
upper_lists(uint32_t m, uint32_t nodes)
{
	double		expected = (double) nodes / (m - 1);

	return (uint32_t) (expected + 6 * sqrt(expected) + 16);
}

size_t
vdb_hnsw_graph_node_bytes(const VdbCodec *codec, uint32_t m)
{
	return ALIGN64(codec->hi_bytes) + codec->lo_bytes + sizeof(VdbNodeFactors) + sizeof(uint16_t) + 2 +
		sizeof(uint32_t) + list_bytes(2 * m) + (list_bytes(m) + sizeof(uint32_t)) / (m - 1) + 2;
}

/* Places the arrays of a graph in memory, or only adds up their bytes. */
static size_t
lay_out(HnswGraph *graph, char *memory)
{
	size_t		at = 0;
	size_t		n = graph->capacity;
	uint32_t	max = 2 * graph->m;

#define PLACE(field, bytes) \
	(graph->field = memory ? (void *) (memory + at) : NULL, at += ALIGN64(bytes))

	graph->hi_stride = ALIGN64(graph->codec->hi_bytes);
	graph->list_stride = list_bytes(max);
	graph->upper_stride = list_bytes(graph->m);
	graph->upper_capacity = upper_lists(graph->m, graph->capacity);
	PLACE(hi, n * graph->hi_stride);
	PLACE(lo, n * graph->codec->lo_bytes);
	PLACE(factors, n * sizeof(VdbNodeFactors));
	PLACE(levels, n);
	PLACE(marks, n * sizeof(uint16_t));
	PLACE(parents, n * sizeof(uint32_t));
	PLACE(children, n);
	PLACE(lists, n * graph->list_stride);
	PLACE(upper, graph->upper_capacity * graph->upper_stride);
	PLACE(upper_node, graph->upper_capacity * sizeof(uint32_t));
	PLACE(pool, graph->ef_construction * sizeof(HnswCandidate));
	PLACE(sorted, (max + 1) * sizeof(HnswCandidate));
	PLACE(fresh, max * sizeof(uint32_t));
#undef PLACE
	return at;
}

size_t
vdb_hnsw_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t ef_construction,
					 uint32_t capacity)
{
	HnswGraph	graph;

	memset(&graph, 0, sizeof(graph));
	graph.codec = codec;
	graph.m = m;
	graph.ef_construction = ef_construction;
	graph.capacity = capacity;
	return lay_out(&graph, NULL);
}

void
vdb_hnsw_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
					uint32_t ef_construction, uint32_t capacity, uint64_t seed, char *memory)
{
	memset(graph, 0, sizeof(*graph));
	graph->codec = codec;
	graph->m = m;
	graph->ef_construction = ef_construction;
	graph->capacity = capacity;
	graph->entry = HNSW_NO_NODE;
	graph->random = seed;
	lay_out(graph, memory);
}

/* Exponentially distributed with mean 1 / ln m, capped. */
static int
draw_level(HnswGraph *graph)
{
	double		uniform;
	int			level;

	/* xorshift64* (Vigna, 2016) */
	graph->random ^= graph->random >> 12;
	graph->random ^= graph->random << 25;
	graph->random ^= graph->random >> 27;
	uniform = ((double) (graph->random * UINT64_C(2685821657736338717) >> 11) + 1) / 9007199254740993.0;
	level = (int) (-log(uniform) / log(graph->m));
	return level < HNSW_MAX_LAYER ? level : HNSW_MAX_LAYER;
}

static inline float
score_between(const HnswGraph *graph, uint32_t a, uint32_t b)
{
	return vdb_pair_score(graph->codec,
						  graph->factors[a], vdb_hnsw_graph_hi(graph, a),
						  graph->factors[b], vdb_hnsw_graph_hi(graph, b));
}

/* A node's list on a layer it has. */
static inline HnswList *
list_of(const HnswGraph *graph, int layer, uint32_t nid)
{
	HnswList   *list = vdb_hnsw_graph_list(graph, nid);

	while (layer-- > 0)
		list = vdb_hnsw_graph_upper(graph, list->up);
	return list;
}

/* Notes that the present search has seen a node; false when it had. */
static inline bool
mark_seen(HnswGraph *graph, uint32_t nid)
{
	if (graph->marks[nid] == graph->mark)
		return false;
	graph->marks[nid] = graph->mark;
	return true;
}

/*
 * Starts a search: `target` and what the pool holds count as seen, and all of
 * the pool is to be expanded.
 */
static void
begin_search(HnswGraph *graph, uint32_t target, HnswPool *pool)
{
	if (++graph->mark == 0)
	{
		memset(graph->marks, 0, graph->count * sizeof(uint16_t));
		graph->mark = 1;
	}
	mark_seen(graph, target);
	for (uint32_t i = 0; i < pool->size; i++)
	{
		pool->items[i].expanded = 0;
		mark_seen(graph, pool->items[i].nid);
	}
	pool->next = 0;
}

/*
 * Best-first search of one layer from the pool's items for the nodes nearest
 * to node `target`; the pool ends up with the nearest ones found.
 */
static void
search_layer(HnswGraph *graph, int layer, uint32_t target, HnswPool *pool)
{
	uint32_t   *fresh = graph->fresh;
	HnswCandidate *best;
	HnswCandidate evicted;

	begin_search(graph, target, pool);
	while ((best = hnsw_pool_peek(pool)) != NULL)
	{
		const HnswList *list = list_of(graph, layer, best->nid);
		const uint32_t *nbr = vdb_hnsw_list_nbr(list);
		uint32_t	count = 0;

		best->expanded = 1;
		for (uint32_t i = 0; i < list->count; i++)
		{
			if (mark_seen(graph, nbr[i]))
			{
				fresh[count++] = nbr[i];
				/* the CPU sees by itself how a longer code goes on */
				__builtin_prefetch(vdb_hnsw_graph_hi(graph, nbr[i]));
				__builtin_prefetch(vdb_hnsw_graph_hi(graph, nbr[i]) + 64);
			}
		}
		for (uint32_t i = 0; i < count; i++)
		{
			HnswCandidate item = {.score = score_between(graph, target, fresh[i]), .nid = fresh[i]};

			if (hnsw_pool_admits(pool, item.score))
				hnsw_pool_insert(pool, item, &evicted);
		}
	}
}

static inline void
append_edge(HnswList *list, uint32_t max, uint32_t nid, float score)
{
	vdb_hnsw_list_nbr(list)[list->count] = nid;
	vdb_hnsw_list_score(list, max)[list->count] = score;
	list->count++;
}

/*
 * Is a candidate nearer to the base than to any node of the list?  Of equal
 * vectors only the first is, so they cannot fill a list.
 */
static inline bool
is_diverse(const HnswGraph *graph, const HnswList *list, const HnswCandidate *c)
{
	for (uint32_t i = 0; i < list->count; i++)
	{
		if (score_between(graph, c->nid, vdb_hnsw_list_nbr(list)[i]) <= c->score)
			return false;
	}
	return true;
}

/*
 * Fills a new node's list of at most max with up to m of the pool: those that
 * the heuristic of the paper's algorithm 4 keeps, then the nearest others.
 */
static void
choose_neighbors(const HnswGraph *graph, const HnswPool *pool, HnswList *list, uint32_t max)
{
	uint32_t	diverse;

	for (uint32_t i = 0; i < pool->size && list->count < graph->m; i++)
	{
		if (is_diverse(graph, list, &pool->items[i]))
			append_edge(list, max, pool->items[i].nid, pool->items[i].score);
	}
	diverse = list->count;
	for (uint32_t i = 0, next = 0; i < pool->size && list->count < graph->m; i++)
	{
		/* the diverse ones stand in the order of the pool */
		if (next < diverse && vdb_hnsw_list_nbr(list)[next] == pool->items[i].nid)
			next++;
		else
			append_edge(list, max, pool->items[i].nid, pool->items[i].score);
	}
}

/*
 * May a node have one more child?  Few nodes use up their share of the tree,
 * but without a limit the neighbours of a hub would all be its children.
 */
static inline bool
may_have_child(const HnswGraph *graph, uint32_t nid)
{
	uint32_t	edges = graph->children[nid] + (graph->parents[nid] != HNSW_NO_NODE);

	return edges < graph->m / 4 + 3;
}

/*
 * Adds `from` to a list of node `base`.  A full list is pruned: it keeps the
 * tree's edges on layer 0, and of the others those that the heuristic keeps.
 */
static void
add_reverse_edge(HnswGraph *graph, int layer, uint32_t base, uint32_t from, float score)
{
	HnswList   *list = list_of(graph, layer, base);
	uint32_t	max = layer == 0 ? 2 * graph->m : graph->m;
	uint32_t	reserved = 0;
	HnswPool	all;
	HnswCandidate evicted;

	if (list->count < max)
	{
		append_edge(list, max, from, score);
		return;
	}
	hnsw_pool_init(&all, graph->sorted, max + 1);
	for (uint32_t i = 0; i < max; i++)
	{
		HnswCandidate item = {.score = vdb_hnsw_list_score(list, max)[i],
		.nid = vdb_hnsw_list_nbr(list)[i]};

		hnsw_pool_insert(&all, item, &evicted);
	}
	hnsw_pool_insert(&all, (HnswCandidate) {.score = score, .nid = from}, &evicted);
	for (uint32_t i = 0; i < all.size && layer == 0; i++)
		reserved += vdb_hnsw_graph_is_tree_edge(graph, base, all.items[i].nid);
	list->count = 0;
	for (uint32_t i = 0; i < all.size; i++)
	{
		HnswCandidate *c = &all.items[i];
		bool		keep;

		if (layer == 0 && vdb_hnsw_graph_is_tree_edge(graph, base, c->nid))
		{
			keep = true;
			reserved--;
		}
		else
			keep = list->count + reserved < max && is_diverse(graph, list, c);
		if (keep)
			append_edge(list, max, c->nid, c->score);
	}
}

/*
 * A descendant that may have one more child, or the node itself.  `path`: a
 * number that says which way to go down, so that the tree grows evenly.
 */
static uint32_t
find_descendant(const HnswGraph *graph, uint32_t nid, uint32_t path)
{
	while (!may_have_child(graph, nid))
	{
		const uint32_t *nbr = vdb_hnsw_list_nbr(vdb_hnsw_graph_list(graph, nid));
		uint32_t	skip = path % graph->children[nid];

		path /= graph->children[nid];
		while (graph->parents[*nbr] != nid || skip-- > 0)
			nbr++;
		nid = *nbr;
	}
	return nid;
}

/*
 * Gives a new node its parent: its nearest neighbour that may have one more
 * child.  Among very many equal vectors none may; then one of their
 * descendants becomes a neighbour too.
 */
static void
choose_parent(HnswGraph *graph, uint32_t nid, HnswList *list)
{
	const uint32_t *nbr = vdb_hnsw_list_nbr(list);
	uint32_t	parent = HNSW_NO_NODE;

	for (uint32_t i = 0; i < list->count && parent == HNSW_NO_NODE; i++)
	{
		if (may_have_child(graph, nbr[i]))
			parent = nbr[i];
	}
	if (parent == HNSW_NO_NODE)
	{
		parent = find_descendant(graph, nbr[0], nid);
		append_edge(list, 2 * graph->m, parent, score_between(graph, nid, parent));
	}
	graph->parents[nid] = parent;
	graph->children[parent]++;
}

/* Room for a new node's lists above layer 0; returns the level it gets. */
static int
allocate_lists(HnswGraph *graph, uint32_t nid, int level)
{
	uint32_t   *link = &vdb_hnsw_graph_list(graph, nid)->up;
	int			layer = 0;

	vdb_hnsw_graph_list(graph, nid)->count = 0;
	while (layer < level && graph->upper_count < graph->upper_capacity)
	{
		uint32_t	number = graph->upper_count++;

		*link = number;
		graph->upper_node[number] = nid;
		vdb_hnsw_graph_upper(graph, number)->count = 0;
		link = &vdb_hnsw_graph_upper(graph, number)->up;
		layer++;
	}
	*link = HNSW_NO_NODE;
	return layer;
}

/* Links a new node on one layer, both ways, to the best of the pool. */
static void
link_node(HnswGraph *graph, int layer, uint32_t nid, const HnswPool *pool)
{
	uint32_t	max = layer == 0 ? 2 * graph->m : graph->m;
	HnswList   *list = list_of(graph, layer, nid);

	choose_neighbors(graph, pool, list, max);
	if (layer == 0)
		choose_parent(graph, nid, list);
	for (uint32_t i = 0; i < list->count; i++)
		add_reverse_edge(graph, layer, vdb_hnsw_list_nbr(list)[i], nid,
						 vdb_hnsw_list_score(list, max)[i]);
}

uint32_t
vdb_hnsw_graph_add(HnswGraph *graph, const void *x, float norm)
{
	uint32_t	nid = graph->count++;
	int			level = allocate_lists(graph, nid, draw_level(graph));
	HnswPool	pool;

	graph->factors[nid] = vdb_encode_node(graph->codec, x, norm,
										  graph->hi + graph->hi_stride * nid,
										  graph->lo + (size_t) graph->codec->lo_bytes * nid);
	graph->levels[nid] = (uint8_t) level;
	graph->marks[nid] = 0;
	graph->parents[nid] = HNSW_NO_NODE;
	graph->children[nid] = 0;
	if (graph->entry == HNSW_NO_NODE)
	{
		graph->entry = nid;
		graph->entry_level = level;
		return nid;
	}
	hnsw_pool_init(&pool, graph->pool, 1);
	pool.items[0] = (HnswCandidate) {.score = score_between(graph, nid, graph->entry),
		.nid = graph->entry};
	pool.size = 1;
	for (int layer = graph->entry_level; layer >= 0; layer--)
	{
		if (layer <= level)
			pool.capacity = graph->ef_construction;
		search_layer(graph, layer, nid, &pool);
		if (layer <= level)
			link_node(graph, layer, nid, &pool);
	}
	if (level > graph->entry_level)
	{
		graph->entry = nid;
		graph->entry_level = level;
	}
	return nid;
}
