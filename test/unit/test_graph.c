/*
 * test_graph.c
 *	  Unit test of the pure C part of src/hnsw: the pool of candidates, what it
 *	  refused and the visited set against naive models, and the graph that a build
 *	  makes in memory.  Prints TAP.
 *
 * Pools and sets lie in heap blocks of exactly the size they ask for, like
 * graphs (graph_fixture.h).
 */
#include "graph_fixture.h"

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

/* ---- what a pool refused ---- */

/* Adds, orders and takes candidates at random, beside an array in any order. */
static bool
check_overflow(uint32_t size)
{
	HnswOverflow overflow = {.items = new_block(size * sizeof(HnswCandidate), 0xA5),.size = size};
	Model		model = {.capacity = size};
	bool		passed = true;

	for (uint32_t i = 0; i < 20000 && passed; i++)
	{
		uint32_t	choice = random_u32() % 16;

		if (choice == 0)
			hnsw_overflow_order(&overflow);
		else if (choice < (i / 1000 % 2 == 0 ? 5u : 11u) && model.size > 0)
		{
			HnswCandidate nearest = hnsw_overflow_pop(&overflow);
			uint32_t	at = 0;

			while (at < model.size && !same_candidate(model.items[at], nearest))
				at++;
			passed = at < model.size || failure("step %u: no such candidate", i);
			for (uint32_t j = 0; j < model.size && passed; j++)
				passed = model.items[j].score >= nearest.score || failure("step %u: one is nearer", i);
			if (passed)
				model_remove(&model, at);
		}
		else if (model.size < size)
		{
			HnswCandidate item = {(float) (random_u32() % 40) - 20, i, i * 7, 0};

			overflow.items[overflow.count++] = item;
			model.items[model.size++] = item;
		}
		if (overflow.count != model.size || overflow.ordered > overflow.count)
			passed = failure("step %u: %u of %u", i, overflow.count, model.size);
	}
	free(overflow.items);
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

static void
check_shape(const char *name, Shape shape)
{
	Built		built;

	report(build(&built, &shape) && check_graph(&built.graph) && built.graph.header->count == shape.rows &&
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
		shape.garbage = garbage[level % 3];
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

/* Codes instead of vectors make the same graph. */
static bool
check_codes(void)
{
	Shape		shape = {SHAPE(VDB_METRIC_COSINE, KIND_CLUSTERED, 32, 1500, 8, 40)};
	Built		first;
	Built		again;
	Worker		worker;
	bool		passed = true;

	build(&first, &shape);
	shape.capacity = shape.rows;
	shape.rows = 0;
	build(&again, &shape);
	new_worker(&worker, &again, 7, 0xA5);
	for (uint32_t nid = 0; nid < shape.capacity && passed; nid++)
	{
		if (vdb_hnsw_graph_put(&again.graph, first.graph.factors[nid],
							   vdb_hnsw_graph_hi(&first.graph, nid)) != nid)
			passed = failure("code %u has another number", nid);
	}
	if (vdb_hnsw_graph_put(&again.graph, first.graph.factors[0],
						   vdb_hnsw_graph_hi(&first.graph, 0)) != HNSW_NO_NODE)
		passed = failure("a full graph takes a code");
	for (uint32_t nid = 0; nid < shape.capacity; nid++)
		vdb_hnsw_graph_link(&worker.participant, nid, false);
	passed = passed && same_graphs(&first.graph, &again.graph);
	free(worker.scratch);
	free_built(&again);
	free_built(&first);
	return passed;
}

/* Guests are found like others, and change nothing of the tree. */
static bool
check_guests(Kind kind, uint32_t m)
{
	Shape		shape = {SHAPE(VDB_METRIC_L2, kind, 16, 3000, m, 4 * m)};
	uint32_t	hosts = shape.rows / 2;
	Built		first;
	Built		again;
	Worker		worker;
	const HnswGraph *graph = &again.graph;
	uint32_t	led_to = 0;
	bool		passed;

	build(&first, &shape);
	shape.capacity = shape.rows;
	shape.rows = 0;
	build(&again, &shape);
	new_worker(&worker, &again, 7, 0xA5);
	for (uint32_t nid = 0; nid < shape.capacity; nid++)
		vdb_hnsw_graph_put(graph, first.graph.factors[nid], vdb_hnsw_graph_hi(&first.graph, nid));
	for (uint32_t nid = 0; nid < shape.capacity; nid++)
		vdb_hnsw_graph_link(&worker.participant, nid, nid >= hosts);

	/* the hosts' tree is whole without them */
	graph->header->count = hosts;
	passed = check_tree(graph);
	graph->header->count = shape.capacity;
	passed = passed && check_levels(graph);
	for (uint32_t nid = 0; nid < shape.capacity && passed; nid++)
	{
		const HnswList *list = vdb_hnsw_graph_list(graph, nid);

		for (int layer = 0; layer <= graph->levels[nid] && passed; layer++)
			passed = check_list(graph, layer, nid);
		if (nid >= hosts && graph->parents[nid] != HNSW_NO_NODE)
			passed = failure("guest %u has a parent", nid);
		for (uint32_t i = 0; i < list->count && nid < hosts; i++)
			led_to += vdb_hnsw_list_nbr(list)[i] >= hosts;
	}
	if (passed && led_to == 0)
		passed = failure("no edge leads from a host to a guest");
	free(worker.scratch);
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

static void
check_recall(VdbMetric metric, double floor)
{
	Shape		shape = {SHAPE(metric, KIND_CLUSTERED, 32, 3000, 16, 64)};
	Built		built;
	double		recall;

	build(&built, &shape);
	recall = measure_recall(&built, &shape, 100);
	report(recall >= floor, "recall %.3f at ef 100, %s", recall, metric_names[metric]);
	free_built(&built);
}

int
main(int argc, char **argv)
{
	static const uint32_t capacities[] = {1, 2, 3, 10, 64, 257};
	static const uint32_t slots[] = {2, 8, 64, 512, 4096};

	read_share(argc, argv);
	vdb_distance_init();
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++)
	{
		report(check_pool(capacities[i]), "pool of %u", capacities[i]);
		report(check_overflow(capacities[i]), "refused by a pool, %u", capacities[i]);
	}
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
	check_shape("layers above the lowest",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 32, 3000, 8, 32),.above = true});
	check_shape("layers above the lowest, smallest m",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_HALF_IDENTICAL, 16, 6000, 2, 4),.above = true});
	check_shape("marks come round",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 1000, 8, 32),.come_round = true});
	report(check_function(), "a graph is a function of its vectors and seed");
	report(check_codes(), "a graph of codes is that of their vectors");
	report(check_guests(KIND_CLUSTERED, 16), "guests, clustered");
	report(check_guests(KIND_HALF_IDENTICAL, 5), "guests, half identical");
	report(check_guests(KIND_PAIRS, 2), "guests, several of each, smallest m");
	report(check_level_shares(2) && check_level_shares(16) && check_level_shares(100),
		   "shares of the levels");
	report(check_bytes(), "bytes a node");
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
