/*
 * hnsw_graph.c
 *	  Building the graph in memory: levels, search, neighbour selection.
 *
 * Hierarchical navigable small worlds (Malkov and Yashunin, 2018) over node
 * codes: distances come from the hi planes alone, so a comparison reads P
 * bytes.  This file never touches a page; hnsw_build.c writes the result out.
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
	return ALIGN64(codec->P) + codec->P / 2 + sizeof(VdbNodeFactors) + 1 + sizeof(uint16_t) +
		list_bytes(2 * m) + (list_bytes(m) + sizeof(uint32_t)) / (m - 1) + 2;
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

	graph->hi_stride = ALIGN64(graph->codec->P);
	graph->list_stride = list_bytes(max);
	graph->upper_stride = list_bytes(graph->m);
	graph->upper_capacity = upper_lists(graph->m, graph->capacity);
	PLACE(hi, n * graph->hi_stride);
	PLACE(lo, n * (graph->codec->P / 2));
	PLACE(factors, n * sizeof(VdbNodeFactors));
	PLACE(levels, n);
	PLACE(marks, n * sizeof(uint16_t));
	PLACE(lists, n * graph->list_stride);
	PLACE(upper, graph->upper_capacity * graph->upper_stride);
	PLACE(upper_node, graph->upper_capacity * sizeof(uint32_t));
	PLACE(pool, (graph->ef_construction + 1) * sizeof(HnswCandidate));
	PLACE(chosen, (max + 1) * sizeof(HnswCandidate));
	PLACE(pruned, (max + 1) * sizeof(HnswCandidate));
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

/* A node's list on a layer; ref is its list number where layer > 0. */
static inline HnswList *
list_of(const HnswGraph *graph, int layer, uint32_t nid, uint32_t ref)
{
	return layer == 0 ? vdb_hnsw_graph_list(graph, nid) : vdb_hnsw_graph_upper(graph, ref);
}

/* Number of a node's list on a layer above 0. */
static uint32_t
upper_ref(const HnswGraph *graph, int layer, uint32_t nid)
{
	uint32_t	ref = vdb_hnsw_graph_list(graph, nid)->up;

	while (--layer > 0)
		ref = vdb_hnsw_graph_upper(graph, ref)->up;
	return ref;
}

static inline bool
mark_seen(HnswGraph *graph, uint32_t nid)
{
	if (graph->marks[nid] == graph->mark)
		return false;
	graph->marks[nid] = graph->mark;
	return true;
}

/*
 * Best-first search of one layer from the pool's items for the nodes nearest
 * to node `target`; the pool ends up with the nearest ones found.
 */
static void
search_layer(HnswGraph *graph, int layer, uint32_t target, HnswPool *pool)
{
	HnswCandidate *best;
	HnswCandidate evicted;

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
	while ((best = hnsw_pool_peek(pool)) != NULL)
	{
		const HnswList *list = list_of(graph, layer, best->nid,
									   layer > 0 ? upper_ref(graph, layer, best->nid) : 0);
		const uint32_t *nbr = vdb_hnsw_list_nbr(list);
		uint32_t	fresh[512];
		uint32_t	count = 0;

		best->expanded = 1;
		for (uint32_t i = 0; i < list->count; i++)
		{
			if (mark_seen(graph, nbr[i]))
			{
				fresh[count++] = nbr[i];
				__builtin_prefetch(vdb_hnsw_graph_hi(graph, nbr[i]));
				__builtin_prefetch(vdb_hnsw_graph_hi(graph, nbr[i]) + 64);
			}
		}
		for (uint32_t i = 0; i < count; i++)
		{
			HnswCandidate item = {score_between(graph, target, fresh[i]), fresh[i], 0, 0};

			if (hnsw_pool_admits(pool, item.score))
				hnsw_pool_insert(pool, item, &evicted);
		}
	}
}

/*
 * The heuristic of the paper's algorithm 4: of `count` candidates sorted by
 * score, keep at most max that are nearer to the base than to any kept one.
 * With `fill`, the nearest of the others take the places left.
 */
static uint32_t
select_neighbors(const HnswGraph *graph, const HnswCandidate *candidates, uint32_t count,
				 uint32_t max, bool fill, HnswCandidate *chosen)
{
	uint32_t	kept = 0;
	uint32_t	spare = 0;

	for (uint32_t i = 0; i < count && kept < max; i++)
	{
		bool		nearest = true;

		for (uint32_t j = 0; j < kept && nearest; j++)
			nearest = score_between(graph, candidates[i].nid, chosen[j].nid) >= candidates[i].score;
		if (nearest)
			chosen[kept++] = candidates[i];
		else if (fill && spare < max)
			graph->pruned[spare++] = candidates[i];
	}
	for (uint32_t i = 0; i < spare && kept < max; i++)
		chosen[kept++] = graph->pruned[i];
	return kept;
}

static int
compare_candidates(const HnswCandidate *a, const HnswCandidate *b)
{
	return a->score < b->score ? -1 : a->score > b->score;
}

static void
sort_candidates(HnswCandidate *items, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
	{
		HnswCandidate item = items[i];
		uint32_t	j = i;

		for (; j > 0 && compare_candidates(&item, &items[j - 1]) < 0; j--)
			items[j] = items[j - 1];
		items[j] = item;
	}
}

/* Adds `from` to a list of at most max, pruning the list when it is full. */
static void
add_reverse_edge(HnswGraph *graph, HnswList *list, uint32_t max, uint32_t from, float score)
{
	uint32_t   *nbr = vdb_hnsw_list_nbr(list);
	float	   *scores = vdb_hnsw_list_score(list, max);
	HnswCandidate *all = graph->pool;
	uint32_t	count = list->count;

	if (count < max)
	{
		nbr[count] = from;
		scores[count] = score;
		list->count++;
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		all[i] = (HnswCandidate) {scores[i], nbr[i], 0, 0};
	all[count] = (HnswCandidate) {score, from, 0, 0};
	sort_candidates(all, count + 1);
	count = select_neighbors(graph, all, count + 1, max, false, graph->chosen);
	for (uint32_t i = 0; i < count; i++)
	{
		nbr[i] = graph->chosen[i].nid;
		scores[i] = graph->chosen[i].score;
	}
	list->count = count;
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

uint32_t
vdb_hnsw_graph_add(HnswGraph *graph, const float *x, float norm)
{
	uint32_t	nid = graph->count++;
	int			level = allocate_lists(graph, nid, draw_level(graph));
	uint32_t	links[2 * 100];
	float		scores[2 * 100];
	HnswPool	pool;

	graph->factors[nid] = vdb_encode_node(graph->codec, x, norm,
										  graph->hi + graph->hi_stride * nid,
										  graph->lo + (size_t) graph->codec->P / 2 * nid);
	graph->levels[nid] = (uint8_t) level;
	graph->marks[nid] = 0;
	if (graph->entry == HNSW_NO_NODE)
	{
		graph->entry = nid;
		graph->entry_level = level;
		return nid;
	}
	hnsw_pool_init(&pool, graph->pool, 1);
	pool.items[0] = (HnswCandidate) {score_between(graph, nid, graph->entry), graph->entry, 0, 0};
	pool.size = 1;
	for (int layer = graph->entry_level; layer >= 0; layer--)
	{
		uint32_t	max = layer == 0 ? 2 * graph->m : graph->m;
		uint32_t	count;
		HnswList   *own;

		if (layer <= level)
			pool.capacity = graph->ef_construction;
		search_layer(graph, layer, nid, &pool);
		if (layer > level)
			continue;
		count = select_neighbors(graph, pool.items, pool.size, graph->m, true, graph->chosen);
		own = list_of(graph, layer, nid, layer > 0 ? upper_ref(graph, layer, nid) : 0);
		for (uint32_t i = 0; i < count; i++)
		{
			links[i] = vdb_hnsw_list_nbr(own)[i] = graph->chosen[i].nid;
			scores[i] = vdb_hnsw_list_score(own, max)[i] = graph->chosen[i].score;
		}
		own->count = count;
		/* the pool is the next layer's start: keep it out of the pruning */
		{
			HnswCandidate saved[1000];
			memcpy(saved, pool.items, pool.size * sizeof(HnswCandidate));
			for (uint32_t i = 0; i < count; i++)
			{
				uint32_t	ref = layer > 0 ? upper_ref(graph, layer, links[i]) : 0;

				add_reverse_edge(graph, list_of(graph, layer, links[i], ref), max, nid, scores[i]);
			}
			memcpy(pool.items, saved, pool.size * sizeof(HnswCandidate));
		}
	}
	if (level > graph->entry_level)
	{
		graph->entry = nid;
		graph->entry_level = level;
	}
	return nid;
}
