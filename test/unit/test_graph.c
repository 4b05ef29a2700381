/*
 * test_graph.c
 *	  Unit test of the pure C part of src/hnsw: the pool of candidates and the
 *	  visited set against naive models, and the graph that a build makes in
 *	  memory.  Prints TAP.
 *
 * Pools, sets and graphs lie in heap blocks of exactly the size they ask for,
 * full of garbage, so that AddressSanitizer sees any access outside them and
 * any reliance on zeroed memory shows up as a broken graph.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw/hnsw_graph.h"
#include "tap.h"

/* ---- random numbers and memory ---- */

static double
random_normal(void)
{
	double		u = (random_u32() + 1.0) / 4294967296.0;
	double		v = random_u32() / 4294967296.0;

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* A heap block of exactly this size that starts on a cache line. */
static void *
new_block(size_t size, int garbage)
{
	void	   *block;

	if (posix_memalign(&block, 64, size) != 0)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	memset(block, garbage, size);
	return block;
}

/* ---- the pool ---- */

/* The same thing by the plainest code: a sorted array, searched from the front. */
typedef struct Model
{
	HnswCandidate items[300];
	uint32_t	capacity;
	uint32_t	size;
} Model;

static void
model_insert(Model *model, HnswCandidate item)
{
	uint32_t	at = 0;

	while (at < model->size && model->items[at].score <= item.score)
		at++;
	for (uint32_t i = model->size; i > at; i--)
		model->items[i] = model->items[i - 1];
	model->items[at] = item;
	model->size++;
}

static HnswCandidate
model_remove(Model *model, uint32_t at)
{
	HnswCandidate item = model->items[at];

	model->size--;
	for (uint32_t i = at; i < model->size; i++)
		model->items[i] = model->items[i + 1];
	return item;
}

/* Index of the first item that is not expanded, size if there is none. */
static uint32_t
model_peek(const Model *model)
{
	uint32_t	at = 0;

	while (at < model->size && model->items[at].expanded)
		at++;
	return at;
}

static bool
same_candidate(HnswCandidate a, HnswCandidate b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool
pool_is_model(const HnswPool *pool, const Model *model)
{
	if (pool->size != model->size || pool->next > model_peek(model))
		return failure("size %u next %u, where they are %u and %u", pool->size, pool->next,
					   model->size, model_peek(model));
	for (uint32_t i = 0; i < model->size; i++)
	{
		if (!same_candidate(pool->items[i], model->items[i]))
			return failure("item %u is node %u, not node %u", i, pool->items[i].nid,
						   model->items[i].nid);
	}
	return true;
}

/* One random operation on both. */
static bool
step_pool(HnswPool *pool, Model *model, uint32_t number)
{
	/* few different scores: ties are where orders differ */
	float		score = (float) (random_u32() % 40) - 20;
	HnswCandidate evicted = {0};
	HnswCandidate *best;
	uint32_t	at;

	switch (random_u32() % 8)
	{
		case 0:					/* an end of the search's step */
			at = model_peek(model);
			best = hnsw_pool_peek(pool);
			if ((best == NULL) != (at == model->size) ||
				(best != NULL && best - pool->items != (ptrdiff_t) at))
				return failure("peek differs");
			if (best != NULL)
				best->expanded = model->items[at].expanded = 1;
			return true;
		case 1:
			at = model_peek(model);
			best = hnsw_pool_peek(pool);
			if (best != NULL)
			{
				HnswCandidate item = model_remove(model, at);

				item.score = score;
				item.expanded = 1;
				model_insert(model, item);
				hnsw_pool_expand(pool, at, score);
			}
			return true;
		case 2:
			if (model->size > 0)
			{
				at = random_u32() % model->size;
				model_remove(model, at);
				hnsw_pool_remove(pool, at);
			}
			return true;
		default:
			{
				HnswCandidate item = {score, number, number * 7, random_u32() % 10 == 0};
				bool		full = model->size == model->capacity;
				bool		admits = !full || score < model->items[model->size - 1].score;

				if (hnsw_pool_admits(pool, score) != admits)
					return failure("admits differs");
				if (!admits)
					return true;
				if (hnsw_pool_insert(pool, item, &evicted) != full)
					return failure("insert does not tell an eviction");
				if (full && !same_candidate(model_remove(model, model->size - 1), evicted))
					return failure("another one was evicted");
				model_insert(model, item);
				return true;
			}
	}
}

static bool
check_pool(uint32_t capacity)
{
	HnswPool	pool;
	Model		model = {.capacity = capacity};
	bool		passed = true;
	HnswCandidate *items = new_block(capacity * sizeof(HnswCandidate), 0xA5);

	hnsw_pool_init(&pool, items, capacity);
	for (uint32_t i = 0; i < 20000 && passed; i++)
	{
		passed = step_pool(&pool, &model, i) && pool_is_model(&pool, &model);
		if (!passed)
			failure("capacity %u, step %u", capacity, i);
	}
	free(items);
	return passed;
}

/* ---- the visited set ---- */

/* Numbers up to 4095 and the same from the top, so that each fits a bitmap. */
static uint32_t
spread(uint32_t number)
{
	return number < 4096 ? number : HNSW_NO_NODE - 1 - (number - 4096);
}

static bool
add_visited(HnswVisited *visited, bool *known, uint32_t number)
{
	bool		fresh = !known[number];
	uint32_t	count = visited->count + fresh;

	if (hnsw_visited_is_full(visited) != (visited->count > visited->mask / 2))
		return failure("is_full is wrong at %u of %u", visited->count, visited->mask + 1);
	known[number] = true;
	if (hnsw_visited_add(visited, spread(number)) != fresh || visited->count != count)
		return failure("add is wrong for %u at %u of %u", spread(number), visited->count,
					   visited->mask + 1);
	return true;
}

/*
 * Fills a table until one slot is free.  The first quarter is numbers that
 * belong near its end, so that their run goes on at its start.
 */
static bool
check_visited(uint32_t slots)
{
	HnswVisited visited = {new_block(slots * sizeof(uint32_t), 0), slots - 1, 0};
	bool		known[8192] = {false};
	bool		passed = true;

	for (uint32_t number = 0; visited.count < slots / 4; number++)
	{
		if (hnsw_visited_hash(&visited, spread(number)) >= slots - (slots + 7) / 8)
			passed = add_visited(&visited, known, number) && passed;
	}
	if (slots >= 8 && visited.slots[0] == 0)
		passed = failure("no run around the end");
	while (visited.count < slots - 1 && passed)
		passed = add_visited(&visited, known, random_u32() % 8192);
	for (uint32_t number = 0; number < 8192 && passed; number++)
	{
		if (known[number])
			passed = add_visited(&visited, known, number);
	}
	free(visited.slots);
	return passed;
}

/* ---- data and graphs ---- */

typedef enum Kind
{
	KIND_CLUSTERED,
	KIND_NORMAL,
	KIND_IDENTICAL,
	KIND_HALF_IDENTICAL,
	KIND_PAIRS,					/* each vector several times over */
	KIND_OVERFLOW				/* scores that are no numbers */
} Kind;

#define MAX_DIMS 64

static void
fill_vector(Kind kind, uint32_t number, uint32_t dims, float *x)
{
	static float clusters[30][MAX_DIMS];
	uint32_t	cluster = random_u32() % 30;

	if (number == 0)
	{
		for (int i = 0; i < 30; i++)
		{
			for (int j = 0; j < MAX_DIMS; j++)
				clusters[i][j] = (float) random_normal();
		}
	}
	for (uint32_t i = 0; i < dims; i++)
	{
		switch (kind)
		{
			case KIND_CLUSTERED:
				x[i] = clusters[cluster][i] + 0.5f * (float) random_normal();
				break;
			case KIND_NORMAL:
				x[i] = (float) random_normal();
				break;
			case KIND_IDENTICAL:
				x[i] = clusters[0][i];
				break;
			case KIND_HALF_IDENTICAL:
				x[i] = number % 2 ? clusters[0][i] : (float) random_normal();
				break;
			case KIND_PAIRS:
				x[i] = clusters[number % 30][i] + (float) (number / 30 % 5) / 5;
				break;
			case KIND_OVERFLOW:
				x[i] = (number % 3 ? 1e30f : 1) * (float) random_normal();
				break;
		}
	}
}

static const char *const metric_names[VDB_DENSE_METRICS] = {"l2", "ip", "cosine", "l1"};

typedef struct Built
{
	VdbCodec	codec;
	float	   *center;
	float	   *coded;			/* P floats a node */
	char	   *memory;
	char	   *scratch;
	HnswGraph	graph;
	HnswParticipant participant;
} Built;

typedef struct Shape
{
	VdbMetric	metric;
	Kind		kind;
	uint32_t	dims;
	uint32_t	rows;
	uint32_t	m;
	uint32_t	ef_construction;
	int			garbage;		/* what memory is full of */
	uint32_t	upper_capacity; /* 0: as it comes */
	bool		come_round;		/* marks, at half time */
} Shape;

/* The fields that most tests are about. */
#define SHAPE(me, ki, di, ro, em, ef) \
	.metric = (me), .kind = (ki), .dims = (di), .rows = (ro), .m = (em), \
	.ef_construction = (ef), .garbage = 0xA5

/* Builds a graph to the last node it has room for. */
static void
build(Built *built, const Shape *shape)
{
	VdbCodec   *codec = &built->codec;
	uint32_t	P = vdb_codec_padded(shape->dims);
	float	   *raw = new_block(shape->dims * sizeof(float), 0);
	HnswParticipant *participant = &built->participant;

	random_state = 88172645463325252u;
	built->center = new_block(P * sizeof(float), 0);
	vdb_codec_init(codec, shape->metric, shape->dims, 99, built->center);
	built->memory = new_block(vdb_hnsw_graph_bytes(codec, shape->m, shape->rows), shape->garbage);
	vdb_hnsw_graph_init(&built->graph, codec, shape->m, shape->ef_construction, shape->rows,
						built->memory);
	built->scratch = new_block(vdb_hnsw_participant_bytes(shape->m, shape->ef_construction,
														  shape->rows), shape->garbage);
	vdb_hnsw_participant_init(participant, &built->graph, 7, built->scratch);
	if (shape->upper_capacity != 0)
		built->graph.upper_capacity = shape->upper_capacity;
	built->coded = new_block((size_t) shape->rows * P * sizeof(float), 0);
	for (uint32_t i = 0; i < shape->rows; i++)
	{
		float	   *x = built->coded + (size_t) i * P;
		float		norm;

		if (shape->come_round && i == shape->rows / 2)
		{
			/* as if the search with the next one's mark on layer 0 had seen all */
			participant->mark = (uint16_t) -built->graph.levels[built->graph.header->entry];
			for (uint32_t j = 0; j < i; j++)
				participant->marks[j] = 1;
		}
		fill_vector(shape->kind, i, shape->dims, raw);
		norm = vdb_codec_transform(codec, raw, x);
		if (vdb_hnsw_graph_add(participant, x, norm) != i)
			failure("node %u has another number", i);
	}
	free(raw);
}

static void
free_built(Built *built)
{
	free(built->center);
	free(built->coded);
	free(built->memory);
	free(built->scratch);
}

static float
pair_score(const HnswGraph *graph, uint32_t a, uint32_t b)
{
	return vdb_pair_score(graph->codec, graph->factors[a], vdb_hnsw_graph_hi(graph, a),
						  graph->factors[b], vdb_hnsw_graph_hi(graph, b));
}

static const HnswList *
list_on(const HnswGraph *graph, int layer, uint32_t nid)
{
	const HnswList *list = vdb_hnsw_graph_list(graph, nid);

	while (layer-- > 0)
		list = vdb_hnsw_graph_upper(graph, list->up);
	return list;
}

static bool
list_has(const HnswList *list, uint32_t nid)
{
	for (uint32_t i = 0; i < list->count; i++)
	{
		if (vdb_hnsw_list_nbr(list)[i] == nid)
			return true;
	}
	return false;
}

/* ---- what is true of any graph ---- */

static bool
check_list(const HnswGraph *graph, int layer, uint32_t nid)
{
	const HnswList *list = list_on(graph, layer, nid);
	uint32_t	max = layer == 0 ? 2 * graph->m : graph->m;

	if (list->count > max)
		return failure("node %u has %u neighbours on layer %d", nid, list->count, layer);
	for (uint32_t i = 0; i < list->count; i++)
	{
		uint32_t	nbr = vdb_hnsw_list_nbr(list)[i];
		float		score = vdb_hnsw_list_score(list, max)[i];

		if (nbr >= graph->header->count || nbr == nid || graph->levels[nbr] < layer)
			return failure("node %u has neighbour %u on layer %d", nid, nbr, layer);
		for (uint32_t j = 0; j < i; j++)
		{
			if (vdb_hnsw_list_nbr(list)[j] == nbr)
				return failure("node %u has neighbour %u twice on layer %d", nid, nbr, layer);
		}
		/* sums may depend on whose score it was */
		if (score != pair_score(graph, nid, nbr) && score != pair_score(graph, nbr, nid))
			return failure("the score of %u and %u on layer %d is %g, not %g", nid, nbr, layer,
						   score, pair_score(graph, nid, nbr));
	}
	return true;
}

/* Levels, list numbers and the entry point agree. */
static bool
check_levels(const HnswGraph *graph)
{
	uint32_t	lists = 0;
	int			top = 0;

	for (uint32_t nid = 0; nid < graph->header->count; nid++)
	{
		uint32_t	number = vdb_hnsw_graph_list(graph, nid)->up;
		int			level = 0;

		for (; number != HNSW_NO_NODE; number = vdb_hnsw_graph_upper(graph, number)->up)
		{
			if (number >= graph->header->upper_count || graph->upper_node[number] != nid)
				return failure("list %u is not of node %u", number, nid);
			level++;
		}
		if (level != graph->levels[nid] || level > HNSW_MAX_LAYER)
			return failure("node %u has %d lists, level %d", nid, level, graph->levels[nid]);
		lists += (uint32_t) level;
		top = level > top ? level : top;
	}
	if (lists != graph->header->upper_count || graph->header->upper_count > graph->upper_capacity)
		return failure("%u lists, count %u of %u", lists, graph->header->upper_count, graph->upper_capacity);
	if (graph->levels[graph->header->entry] != top)
		return failure("the entry point is on layer %d of %d", graph->levels[graph->header->entry], top);
	return true;
}

/* The nodes form a tree whose edges are in both lists: one leads to all. */
static bool
check_tree(const HnswGraph *graph)
{
	uint32_t	count = graph->header->count;
	uint32_t   *queue = new_block(count * sizeof(uint32_t), 0);
	uint32_t	reached = 0;
	bool		passed = true;

	for (uint32_t nid = 0; nid < count && passed; nid++)
	{
		uint32_t	parent = graph->parents[nid];

		if (parent == HNSW_NO_NODE && reached == 0)
			queue[reached++] = nid;
		else if (parent >= count || !list_has(vdb_hnsw_graph_list(graph, parent), nid) ||
				 !list_has(vdb_hnsw_graph_list(graph, nid), parent))
			passed = failure("node %u and its parent %u", nid, parent);
	}
	for (uint32_t i = 0; i < reached && passed; i++)
	{
		const HnswList *list = vdb_hnsw_graph_list(graph, queue[i]);
		uint32_t	children = 0;

		for (uint32_t j = 0; j < list->count; j++)
		{
			if (graph->parents[vdb_hnsw_list_nbr(list)[j]] == queue[i])
				queue[reached + children++] = vdb_hnsw_list_nbr(list)[j];
		}
		reached += children;
		if (children != graph->children[queue[i]] || children > graph->m / 4 + 3)
			passed = failure("node %u has %u children, counted as %u", queue[i], children,
							 graph->children[queue[i]]);
	}
	if (passed && reached != count)
		passed = failure("%u of %u nodes are reached", reached, count);
	free(queue);
	return passed;
}

static bool
check_graph(const HnswGraph *graph)
{
	for (uint32_t nid = 0; nid < graph->header->count; nid++)
	{
		for (int layer = 0; layer <= graph->levels[nid]; layer++)
		{
			if (!check_list(graph, layer, nid))
				return false;
		}
	}
	if (graph->header->count == 0)
		return graph->header->entry == HNSW_NO_NODE;
	return check_levels(graph) && check_tree(graph);
}

static void
check_shape(const char *name, Shape shape)
{
	Built		built;

	build(&built, &shape);
	report(vdb_hnsw_graph_add(&built.participant, built.coded, 0) == HNSW_NO_NODE &&
		   check_graph(&built.graph) && built.graph.header->count == shape.rows &&
		   (shape.upper_capacity == 0 || built.graph.header->upper_count <= shape.upper_capacity),
		   "%s: %u rows, %s, m %u, ef_construction %u", name, shape.rows, metric_names[shape.metric],
		   shape.m, shape.ef_construction);
	free_built(&built);
}

/* Equal lists, node by node. */
static bool
same_graphs(const HnswGraph *a, const HnswGraph *b)
{
	for (uint32_t nid = 0; nid < a->header->count; nid++)
	{
		if (a->levels[nid] != b->levels[nid])
			return false;
		for (int layer = 0; layer <= a->levels[nid]; layer++)
		{
			const HnswList *x = list_on(a, layer, nid);
			const HnswList *y = list_on(b, layer, nid);

			if (x->count != y->count ||
				memcmp(vdb_hnsw_list_nbr(x), vdb_hnsw_list_nbr(y), x->count * sizeof(uint32_t)) != 0)
				return failure("node %u differs on layer %d", nid, layer);
		}
	}
	return a->header->count == b->header->count;
}

/*
 * What was in memory does not matter, nor the instruction set (int8 inner
 * products are exact), nor that the marks of searches come round.
 */
static bool
check_function(void)
{
	const int	garbage[] = {0x00, 0xA5, 0xFF};
	Shape		shape = {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 32, 1500, 8, 40)};
	VdbSimdLevel best = vdb_kernels->level;
	Built		first;
	Built		again;
	bool		passed = true;

	build(&first, &shape);
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		shape.garbage = garbage[level];
		shape.come_round = true;
		build(&again, &shape);
		passed = same_graphs(&first.graph, &again.graph) && passed;
		free_built(&again);
	}
	vdb_distance_force(best);
	shape.garbage = 0xFF;
	build(&again, &shape);
	passed = same_graphs(&first.graph, &again.graph) && passed;
	free_built(&again);
	free_built(&first);
	return passed;
}

/* The levels are those of the paper: a share of 1 / m goes one layer up. */
static bool
check_level_shares(uint32_t m)
{
	Shape		shape = {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 4000, m, 2 * m)};
	uint32_t	above = 0;
	double		expected = (double) shape.rows / m;
	Built		built;

	build(&built, &shape);
	for (uint32_t nid = 0; nid < shape.rows; nid++)
		above += built.graph.levels[nid] > 0;
	free_built(&built);
	if (fabs(above - expected) > 4 * sqrt(expected))
		return failure("m %u: %u nodes above layer 0, expected %.0f", m, above, expected);
	return true;
}

/* What init_graph of a build reckons with is near what is really taken. */
static bool
check_bytes(void)
{
	static const uint32_t dims[] = {1, 25, 100, 128, 784, 16000};
	static const uint32_t ms[] = {2, 5, 16, 100};
	bool		passed = true;

	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
	{
		for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
		{
			VdbCodec	codec;
			double		bytes;
			double		reckoned;

			vdb_codec_init(&codec, VDB_METRIC_L2, dims[d], 1, NULL);
			bytes = (double) vdb_hnsw_graph_bytes(&codec, ms[i], 100000) +
				(double) 3 * vdb_hnsw_participant_bytes(ms[i], 1000, 100000);
			reckoned = 100000.0 * (double) vdb_hnsw_graph_node_bytes(&codec, ms[i], 3);
			if (bytes > reckoned * 1.02 || bytes < reckoned * 0.97)
				passed = failure("%u dimensions, m %u: %.0f bytes, reckoned %.0f", dims[d], ms[i],
								 bytes, reckoned);
		}
	}
	return passed;
}

/* ---- recall ---- */

#define K 10

/* The K nearest nodes, by looking at all. */
static void
find_exactly(const Built *built, const float *query, uint32_t *nearest)
{
	uint32_t	P = built->codec.P;
	HnswCandidate items[K];
	HnswCandidate evicted;
	HnswPool	pool;

	hnsw_pool_init(&pool, items, K);
	for (uint32_t i = 0; i < built->graph.header->count; i++)
	{
		HnswCandidate item = {
			.score = vdb_vector_score(&built->codec, query, built->coded + (size_t) i * P),
			.nid = i
		};

		if (hnsw_pool_admits(&pool, item.score))
			hnsw_pool_insert(&pool, item, &evicted);
	}
	for (uint32_t i = 0; i < K; i++)
		nearest[i] = items[i].nid;
}

/* Greedy descent, then best-first search of layer 0: a scan in small. */
static void
search_graph(const Built *built, const float *query, uint32_t ef, HnswPool *pool)
{
	const HnswGraph *graph = &built->graph;
	uint32_t	P = built->codec.P;
	HnswVisited visited = {new_block(8192 * sizeof(uint32_t), 0), 8191, 0};
	HnswCandidate evicted;
	HnswCandidate *next;

#define SCORE(n) vdb_vector_score(&built->codec, query, built->coded + (size_t) (n) * P)

	HnswCandidate best = {.score = SCORE(graph->header->entry),.nid = graph->header->entry};

	for (int layer = graph->levels[best.nid]; layer > 0; layer--)
	{
		for (bool moved = true; moved;)
		{
			const HnswList *list = list_on(graph, layer, best.nid);

			moved = false;
			for (uint32_t i = 0; i < list->count; i++)
			{
				HnswCandidate item = {.score = SCORE(vdb_hnsw_list_nbr(list)[i]),
				.nid = vdb_hnsw_list_nbr(list)[i]};

				if (item.score < best.score)
				{
					best = item;
					moved = true;
				}
			}
		}
	}
	hnsw_pool_init(pool, pool->items, ef);
	hnsw_pool_insert(pool, best, &evicted);
	hnsw_visited_add(&visited, best.nid);
	while ((next = hnsw_pool_peek(pool)) != NULL)
	{
		const HnswList *list = vdb_hnsw_graph_list(graph, next->nid);

		next->expanded = 1;
		for (uint32_t i = 0; i < list->count; i++)
		{
			uint32_t	nid = vdb_hnsw_list_nbr(list)[i];
			HnswCandidate item = {.score = SCORE(nid),.nid = nid};

			if (hnsw_visited_add(&visited, nid) && hnsw_pool_admits(pool, item.score))
				hnsw_pool_insert(pool, item, &evicted);
		}
	}
#undef SCORE
	free(visited.slots);
}

static void
check_recall(VdbMetric metric, double floor)
{
	Shape		shape = {SHAPE(metric, KIND_CLUSTERED, 32, 3000, 16, 64)};
	const int	queries = 100;
	Built		built;
	HnswPool	pool;
	float	   *query;
	float		raw[32];
	uint32_t	hits = 0;

	build(&built, &shape);
	pool.items = new_block(100 * sizeof(HnswCandidate), 0xA5);
	query = new_block(built.codec.P * sizeof(float), 0);
	for (int q = 1; q <= queries; q++)
	{
		uint32_t	nearest[K];

		fill_vector(KIND_CLUSTERED, q, 32, raw);
		vdb_codec_transform(&built.codec, raw, query);
		find_exactly(&built, query, nearest);
		search_graph(&built, query, 100, &pool);
		for (uint32_t i = 0; i < K && i < pool.size; i++)
		{
			for (uint32_t j = 0; j < K; j++)
				hits += pool.items[i].nid == nearest[j];
		}
	}
	report(hits >= floor * queries * K, "recall %.3f at ef 100, %s", (double) hits / queries / K,
		   metric_names[metric]);
	free(query);
	free(pool.items);
	free_built(&built);
}

int
main(void)
{
	static const uint32_t capacities[] = {1, 2, 3, 10, 64, 257};
	static const uint32_t slots[] = {2, 8, 64, 512, 4096};

	vdb_distance_init();
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++)
		report(check_pool(capacities[i]), "pool of %u", capacities[i]);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		report(check_visited(slots[i]), "visited set of %u slots", slots[i]);
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		VdbMetric	me = (VdbMetric) metric;

		check_shape("clustered", (Shape) {SHAPE(me, KIND_CLUSTERED, 32, 3000, 16, 64)});
		check_shape("identical", (Shape) {SHAPE(me, KIND_IDENTICAL, 32, 500, 16, 64)});
		check_shape("half identical", (Shape) {SHAPE(me, KIND_HALF_IDENTICAL, 32, 1000, 16, 64)});
		check_shape("smallest m", (Shape) {SHAPE(me, KIND_CLUSTERED, 32, 2000, 2, 4)});
		check_shape("overflow", (Shape) {SHAPE(me, KIND_OVERFLOW, 32, 500, 8, 32)});
		check_recall(me, 0.95);
	}
	check_shape("more identical than a pool's neighbours hold",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 6000, 5, 10)});
	check_shape("identical, smallest m", (Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 2000, 2, 4)});
	check_shape("several of each", (Shape) {SHAPE(VDB_METRIC_COSINE, KIND_PAIRS, 32, 3000, 8, 32)});
	check_shape("largest m", (Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 32, 700, 100, 200)});
	check_shape("largest of both", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 1500, 100, 1000)});
	check_shape("largest m, identical", (Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 16, 1500, 100, 200)});
	check_shape("fewer rows than m", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 5, 100, 200)});
	check_shape("one row", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 1, 16, 64)});
	check_shape("no row", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 0, 16, 64)});
	check_shape("no list above layer 0 is left",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 2000, 4, 16),.upper_capacity = 5});
	check_shape("marks come round",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 1000, 8, 32),.come_round = true});
	report(check_function(), "a graph is a function of its vectors and seed");
	report(check_level_shares(2) && check_level_shares(16) && check_level_shares(100),
		   "shares of the levels");
	report(check_bytes(), "bytes a node");
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
