/*
 * graph_fixture.h
 *	  What the unit programs of the graph share: data, building a graph over it
 *	  in order or in threads, what is true of any graph, and recall.
 *
 * Graphs lie in heap blocks of exactly the size they ask for, full of garbage,
 * so that AddressSanitizer sees any access outside them and any reliance on
 * zeroed memory shows up as a broken graph.
 */
#ifndef VDB_TEST_GRAPH_FIXTURE_H
#define VDB_TEST_GRAPH_FIXTURE_H

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "finder_fixture.h"
#include "hnsw/hnsw_batch.h"
#include "tap.h"

/* ---- random numbers and memory ---- */

static inline double
random_normal(void)
{
	double		u = (random_u32() + 1.0) / 4294967296.0;
	double		v = random_u32() / 4294967296.0;

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* A heap block of exactly this size that starts on a cache line. */
static inline void *
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

#define MAX_DIMS 600

static inline void
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
	uint32_t	capacity;		/* 0: of all rows */
	uint32_t	threads;		/* 0: no others, and rows in order */
	bool		come_round;		/* marks, at half time */
	bool		above;			/* a graph of the layers above an index's lowest */
	bool		batch;			/* linked at once, by one thread where threads is 0 */
	int			finds;			/* of a batch: -1, a finder finds candidates; 0, leaves do; else it fails at this call */
} Shape;

/* Hundreds of rows make a graph; only in thousands does all happen that may. */
static inline uint32_t
share_of_rows(uint32_t rows)
{
	uint32_t	least = rows < 300 ? rows : 300;
	uint32_t	part = (uint32_t) share_of(rows);

	return part > least ? part : least;
}

/* The fields that most tests are about. */
#define SHAPE(me, ki, di, ro, em, ef) \
	.metric = (me), .kind = (ki), .dims = (di), .rows = share_of_rows(ro), .m = (em), \
	.ef_construction = (ef), .garbage = 0xA5

typedef struct Built
{
	VdbCodec	codec;
	float	   *center;
	float	   *coded;			/* by row: P floats */
	float	   *norms;			/* by row */
	char	   *memory;
	HnswGraph	graph;
	uint32_t   *row_of;			/* by node number */
	uint32_t	rows;
	uint32_t	next_row;		/* counts on past the last one */
	pthread_barrier_t start;
	HnswBatch	batch;
	int			finds;			/* of the shape */
	uint32_t	threads;
	char	   *batch_memory;
	char	   *batch_scratch;	/* of the leader */
	bool		connected;		/* what vdb_hnsw_batch_connect said */
	int			asked;			/* calls of finders */
	bool		misused;		/* one was asked again after it had failed */
} Built;

/* A participant, and what it works for. */
typedef struct Worker
{
	Built	   *built;
	char	   *scratch;
	HnswParticipant participant;
	pthread_t	thread;
} Worker;

static inline void
new_worker(Worker *worker, Built *built, uint64_t seed, int garbage)
{
	const HnswGraph *graph = &built->graph;

	worker->built = built;
	worker->scratch = new_block(vdb_hnsw_participant_bytes(graph->m, graph->ef_construction,
														   graph->capacity), garbage);
	vdb_hnsw_participant_init(&worker->participant, graph, seed, worker->scratch);
}

static inline bool
add_row(Worker *worker, uint32_t row)
{
	Built	   *built = worker->built;
	uint32_t	nid = vdb_hnsw_graph_encode(&built->graph,
											built->coded + (size_t) row * built->codec.P,
											built->norms[row]);

	if (nid == HNSW_NO_NODE)
		return false;
	vdb_hnsw_graph_link(&worker->participant, nid, false);
	built->row_of[nid] = row;
	return true;
}

/* Takes rows until there are no more, or no room. */
static inline void *
take_rows(void *argument)
{
	Worker	   *worker = argument;
	uint32_t	row;

	pthread_barrier_wait(&worker->built->start);
	while ((row = __atomic_fetch_add(&worker->built->next_row, 1, __ATOMIC_RELAXED)) <
		   worker->built->rows)
	{
		if (!add_row(worker, row))
			break;
	}
	return NULL;
}

/* Each node has a row, and no row two nodes. */
static inline bool
is_complete(const Built *built)
{
	uint32_t	count = built->graph.header->count;
	bool	   *seen = new_block(built->rows, 0);
	bool		passed = true;

	if (count != (built->rows < built->graph.capacity ? built->rows : built->graph.capacity))
		passed = failure("%u nodes", count);
	for (uint32_t nid = 0; nid < count && passed; nid++)
	{
		uint32_t	row = built->row_of[nid];

		if (row >= built->rows || seen[row])
			passed = failure("node %u is of row %u", nid, row);
		else
			seen[row] = true;
	}
	free(seen);
	return passed;
}

static inline bool
build_in_threads(Built *built, const Shape *shape)
{
	Worker	   *workers = new_block(shape->threads * sizeof(Worker), 0);

	pthread_barrier_init(&built->start, NULL, shape->threads);
	for (uint32_t i = 0; i < shape->threads; i++)
	{
		new_worker(&workers[i], built, 7 + i, shape->garbage);
		if (pthread_create(&workers[i].thread, NULL, take_rows, &workers[i]) != 0)
		{
			printf("Bail out! no thread\n");
			exit(1);
		}
	}
	for (uint32_t i = 0; i < shape->threads; i++)
	{
		pthread_join(workers[i].thread, NULL);
		free(workers[i].scratch);
	}
	pthread_barrier_destroy(&built->start);
	free(workers);
	return is_complete(built);
}

static inline bool
build_in_order(Built *built, const Shape *shape)
{
	Worker		worker;
	HnswParticipant *participant = &worker.participant;
	bool		passed = true;

	new_worker(&worker, built, 7, shape->garbage);
	for (uint32_t row = 0; row < shape->rows; row++)
	{
		if (shape->come_round && row == shape->rows / 2)
		{
			/* as if the search with the next one's mark on layer 0 had seen all */
			participant->mark = (uint16_t) -built->graph.levels[built->graph.header->entry];
			for (uint32_t j = 0; j < row; j++)
				participant->marks[j] = 1;
		}
		if (!add_row(&worker, row) || built->row_of[row] != row)
			passed = failure("row %u has another node", row);
	}
	if (shape->rows > 0 && add_row(&worker, 0))
		passed = failure("a full graph takes a node");
	free(worker.scratch);
	return passed;
}

static inline void
look_away(void *arg)
{
}

static const HnswWatch no_watch = {look_away, NULL};

/* What each participant of a batch does; the first leads. */
static inline void *
link_at_once(void *argument)
{
	Worker	   *worker = argument;
	Built	   *built = worker->built;
	HnswBatch	own = built->batch;
	HnswBatch  *batch = &own;
	TestFinder	finder;
	bool		leads = worker->scratch == built->batch_scratch;
	const HnswGraph *graph = &built->graph;
	char	   *scratch = new_block(vdb_hnsw_batch_scratch_bytes(graph->codec, graph->m,
																 graph->ef_construction, graph->capacity), 0x5A);

	if (built->finds != 0)
	{
		test_finder_init(&finder, graph->codec, vdb_hnsw_batch_room(graph->capacity), built->finds);
		batch->finder = &finder.finder;
	}
	if (leads)
		vdb_hnsw_batch_begin(batch, graph->header->count, built->threads, 7, scratch, &no_watch);
	for (int stage = 0; stage < HNSW_BATCH_STAGES; stage++)
	{
		pthread_barrier_wait(&built->start);
		if (leads && stage == HNSW_BATCH_ABOVE)
			vdb_hnsw_batch_choose_entry(batch);
		pthread_barrier_wait(&built->start);
		vdb_hnsw_batch_work(batch, &worker->participant, stage, scratch, &no_watch);
	}
	pthread_barrier_wait(&built->start);
	if (leads)
		built->connected = vdb_hnsw_batch_connect(batch, &worker->participant, &no_watch);

	if (built->finds != 0)
	{
		__atomic_fetch_add(&built->asked, finder.asked, __ATOMIC_RELAXED);
		if (finder.misused || (finder.failed && batch->finder != NULL))
			__atomic_store_n(&built->misused, true, __ATOMIC_RELAXED);
		free(finder.memory);
	}
	free(scratch);
	return NULL;
}

static inline bool
build_at_once(Built *built, const Shape *shape)
{
	const HnswGraph *graph = &built->graph;
	uint32_t	threads = shape->threads > 0 ? shape->threads : 1;
	Worker	   *workers = new_block(threads * sizeof(Worker), 0);

	for (uint32_t row = 0; row < shape->rows; row++)
	{
		uint32_t	nid = vdb_hnsw_graph_encode(graph, built->coded + (size_t) row * built->codec.P,
												built->norms[row]);

		built->row_of[nid] = row;
	}
	built->finds = shape->finds;
	built->threads = threads;
	built->asked = 0;
	built->misused = false;
	built->batch_memory = new_block(vdb_hnsw_batch_bytes(graph->capacity), 0xA5);
	vdb_hnsw_batch_attach(&built->batch, graph, built->batch_memory);
	pthread_barrier_init(&built->start, NULL, threads);
	for (uint32_t i = 0; i < threads; i++)
		new_worker(&workers[i], built, 7 + i, shape->garbage);
	built->batch_scratch = workers[0].scratch;
	for (uint32_t i = 0; i < threads; i++)
	{
		if (pthread_create(&workers[i].thread, NULL, link_at_once, &workers[i]) != 0)
		{
			printf("Bail out! no thread\n");
			exit(1);
		}
	}
	for (uint32_t i = 0; i < threads; i++)
	{
		pthread_join(workers[i].thread, NULL);
		free(workers[i].scratch);
	}
	pthread_barrier_destroy(&built->start);
	free(built->batch_memory);
	free(workers);
	return is_complete(built);
}

/*
 * Builds a graph, by default to the last node it has room for.  False when
 * nodes do not get the numbers that they should.
 */
static inline bool
build(Built *built, const Shape *shape)
{
	VdbCodec   *codec = &built->codec;
	uint32_t	P = vdb_codec_padded(shape->dims);
	uint32_t	capacity = shape->capacity != 0 ? shape->capacity : shape->rows;
	float	   *raw = new_block(shape->dims * sizeof(float), 0);

	random_state = 88172645463325252u;
	built->center = new_block(P * sizeof(float), 0);
	vdb_codec_init(codec, shape->metric, shape->dims, 99, built->center);
	built->coded = new_block((size_t) shape->rows * P * sizeof(float), 0);
	built->norms = new_block(shape->rows * sizeof(float), 0);
	built->rows = shape->rows;
	for (uint32_t row = 0; row < shape->rows; row++)
	{
		fill_vector(shape->kind, row, shape->dims, raw);
		built->norms[row] = vdb_codec_transform(codec, raw, built->coded + (size_t) row * P);
	}
	free(raw);

	if (shape->above)
	{
		built->memory = new_block(vdb_hnsw_upper_graph_bytes(codec, shape->m, capacity), shape->garbage);
		vdb_hnsw_upper_graph_init(&built->graph, codec, shape->m, shape->ef_construction, capacity,
								  built->memory);
	}
	else
	{
		built->memory = new_block(vdb_hnsw_graph_bytes(codec, shape->m, capacity), shape->garbage);
		vdb_hnsw_graph_init(&built->graph, codec, shape->m, shape->ef_construction, capacity,
							built->memory);
	}
	if (shape->upper_capacity != 0)
		built->graph.upper_capacity = shape->upper_capacity;
	built->row_of = new_block(capacity * sizeof(uint32_t), 0xFF);
	built->next_row = 0;
	if (shape->batch)
		return build_at_once(built, shape);
	return shape->threads > 0 ? build_in_threads(built, shape) : build_in_order(built, shape);
}

static inline void
free_built(Built *built)
{
	free(built->center);
	free(built->coded);
	free(built->norms);
	free(built->memory);
	free(built->row_of);
}

static inline float
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

static inline bool
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

static inline bool
check_list(const HnswGraph *graph, int layer, uint32_t nid)
{
	const HnswList *list = list_on(graph, layer, nid);
	uint32_t	max = layer == 0 && graph->bottom == 0 ? 2 * graph->m : graph->m;

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
static inline bool
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
		if (level != graph->levels[nid] || level + (int) graph->bottom > HNSW_MAX_LAYER)
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
static inline bool
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
			if (graph->parents[vdb_hnsw_list_nbr(list)[j]] == queue[i] && reached + children < count)
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

static inline bool
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
	return check_levels(graph) && (graph->bottom > 0 || check_tree(graph));
}

/* ---- recall ---- */

#define K 10

/* The K nearest nodes, by looking at all. */
static inline void
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
			.score = vdb_vector_score(&built->codec, query, built->coded + (size_t) built->row_of[i] * P),
			.nid = i
		};

		if (hnsw_pool_admits(&pool, item.score))
			hnsw_pool_insert(&pool, item, &evicted);
	}
	for (uint32_t i = 0; i < K; i++)
		nearest[i] = items[i].nid;
}

/* Greedy descent, then best-first search of layer 0: a scan in small. */
static inline void
search_graph(const Built *built, const float *query, uint32_t ef, HnswPool *pool)
{
	const HnswGraph *graph = &built->graph;
	uint32_t	P = built->codec.P;
	HnswVisited visited = {new_block(8192 * sizeof(uint32_t), 0), 8191, 0};
	HnswCandidate evicted;
	HnswCandidate *next;

#define SCORE(n) \
	vdb_vector_score(&built->codec, query, built->coded + (size_t) built->row_of[n] * P)

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

/* The share of the true neighbours that searches with this ef find. */
static inline double
measure_recall(const Built *built, const Shape *shape, uint32_t ef)
{
	const int	queries = 100;
	HnswPool	pool;
	float	   *query = new_block(built->codec.P * sizeof(float), 0);
	float		raw[MAX_DIMS];
	uint32_t	hits = 0;

	pool.items = new_block(ef * sizeof(HnswCandidate), 0xA5);
	for (int q = 1; q <= queries; q++)
	{
		uint32_t	nearest[K];

		fill_vector(shape->kind, q, shape->dims, raw);
		vdb_codec_transform(&built->codec, raw, query);
		find_exactly(built, query, nearest);
		search_graph(built, query, ef, &pool);
		for (uint32_t i = 0; i < K && i < pool.size; i++)
		{
			for (uint32_t j = 0; j < K; j++)
				hits += pool.items[i].nid == nearest[j];
		}
	}
	free(query);
	free(pool.items);
	return (double) hits / queries / K;
}

#endif							/* VDB_TEST_GRAPH_FIXTURE_H */
