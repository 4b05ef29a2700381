/*
 * test_batch.c
 *	  Unit test of linking all nodes of a graph at once.  Prints TAP.
 *
 * The result must be a graph like any other: all that test_graph claims of one
 * that is built node by node holds, recall included.
 */
#include "graph_fixture.h"

static void
check_shape(const char *name, Shape shape, bool connects)
{
	Built		built;
	bool		passed;

	shape.batch = true;
	passed = build(&built, &shape);
	if (passed && connects && !built.connected)
		passed = failure("nodes fell into too many parts");
	if (passed && built.connected)
		passed = check_graph(&built.graph);
	if (shape.finds != 0 && (built.misused || built.asked == 0))
		passed = failure("finders were asked %d times, %s", built.asked, built.misused ? "one after it had failed" : "none");
	report(passed, "%s: %u rows, %s, m %u, ef_construction %u, %u threads", name, shape.rows,
		   metric_names[shape.metric], shape.m, shape.ef_construction, shape.threads);
	free_built(&built);
}

/* As good as node by node. */
static void
check_recall(Shape shape, uint32_t ef)
{
	Built		built;
	double		alone;
	double		batch;

	build(&built, &shape);
	alone = measure_recall(&built, &shape, ef);
	free_built(&built);
	shape.batch = true;
	build(&built, &shape);
	batch = measure_recall(&built, &shape, ef);
	free_built(&built);
	report(batch > alone - 0.02, "recall %.3f at ef %u, node by node %.3f, %s", batch, ef, alone,
		   metric_names[shape.metric]);
}

/* Where all of a group are compared, lists are no worse than where leaves are. */
static void
check_finder(Shape shape, uint32_t ef)
{
	Built		built;
	double		leaves;
	double		finder;

	shape.batch = true;
	build(&built, &shape);
	leaves = measure_recall(&built, &shape, ef);
	free_built(&built);
	shape.finds = -1;
	build(&built, &shape);
	finder = measure_recall(&built, &shape, ef);
	report(finder > leaves - 0.01 && built.asked > 0, "recall %.3f at ef %u with a finder, by leaves %.3f, %s", finder, ef,
		   leaves, metric_names[shape.metric]);
	free_built(&built);
}

static uint64_t products;
static VdbKernels counting;

static void
count_products(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a, size_t stride, int32_t *out)
{
	products += rows * n;
	vdb_distance_table(counting.level)->panel_ip(dims, rows, panel, n, a, stride, out);
}

/* Pairs of codes that are multiplied to build a graph, for each row. */
static double
count_pairs(Shape shape)
{
	const VdbKernels *kernels = vdb_kernels;
	Built		built;

	counting = *kernels;
	counting.panel_ip = count_products;
	vdb_kernels = &counting;
	products = 0;
	shape.batch = true;
	build(&built, &shape);
	free_built(&built);
	vdb_kernels = kernels;
	return (double) products / shape.rows;
}

/* Where leaves soon bring most nodes nothing, as few dimensions do, less is compared. */
static void
check_settled(void)
{
	double		few = count_pairs((Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 4, 10000, 16, 64)});
	double		many = count_pairs((Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 64, 10000, 16, 64)});

	report(few < 0.8 * many, "%.0f pairs a row of 4 dimensions, of 64 %.0f", few, many);
	check_recall((Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 4, 10000, 16, 64)}, 20);
}

/*
 * Divides nodes: each must be in two groups, and of these there are so many for
 * each participant, if that is few more.  With more dimensions than a group has
 * nodes, pivots are larger than the list of members.  Codes are noise, as it would
 * take minutes to make vectors.
 */
static void
check_groups(uint32_t dims, uint32_t rows, uint32_t participants, uint32_t groups)
{
	VdbCodec	codec;
	HnswGraph	graph;
	HnswBatch	batch;
	float	   *center = new_block(dims * sizeof(float), 0);
	char	   *memory;
	char	   *batch_memory;
	char	   *scratch;
	uint32_t   *seen = new_block(rows * sizeof(uint32_t), 0);
	uint32_t	wrong = 0;

	vdb_codec_init(&codec, VDB_METRIC_L2, dims, 99, center);
	memory = new_block(vdb_hnsw_graph_bytes(&codec, 12, rows), 0);
	vdb_hnsw_graph_init(&graph, &codec, 12, 16, rows, memory);
	graph.header->count = rows;
	for (uint32_t nid = 0; nid < rows; nid++)
	{
		uint8_t    *hi = (uint8_t *) vdb_hnsw_graph_hi(&graph, nid);

		graph.factors[nid] = (VdbNodeFactors) {.scale = 1,.add = (float) (nid % 1000)};
		for (uint32_t i = nid % 7; i < codec.hi_bytes; i += 7)
			hi[i] = (uint8_t) (nid * 31 + i);
	}
	batch_memory = new_block(vdb_hnsw_batch_bytes(rows), 0);
	scratch = new_block(vdb_hnsw_batch_scratch_bytes(&codec, 12, 16, rows), 0x5A);
	vdb_hnsw_batch_attach(&batch, &graph, batch_memory);
	vdb_hnsw_batch_begin(&batch, rows, participants, 7, scratch, &no_watch);
	for (uint32_t i = 0; i < batch.start[batch.header->groups]; i++)
		seen[batch.members[i]]++;
	for (uint32_t nid = 0; nid < rows; nid++)
		wrong += seen[nid] != 2;
	report(batch.header->groups == groups && wrong == 0, "%u groups for %u participants, %u nodes are not in two",
		   batch.header->groups, participants, wrong);
	free(center);
	free(memory);
	free(batch_memory);
	free(scratch);
	free(seen);
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		VdbMetric	me = (VdbMetric) metric;

		check_shape("one group", (Shape) {SHAPE(me, KIND_CLUSTERED, 16, 2500, 16, 64)}, true);
		check_recall((Shape) {SHAPE(me, KIND_CLUSTERED, 32, 3000, 16, 64)}, 40);
		check_recall((Shape) {SHAPE(me, KIND_NORMAL, 16, 3000, 16, 64)}, 60);
	}
	check_recall((Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 600, 5000, 16, 32)}, 40);
	check_finder((Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 3000, 16, 64)}, 60);
	check_finder((Shape) {SHAPE(VDB_METRIC_COSINE, KIND_CLUSTERED, 32, 3000, 16, 64)}, 40);
	check_shape("a finder", (Shape) {SHAPE(VDB_METRIC_IP, KIND_CLUSTERED, 16, 2500, 16, 64),.finds = -1}, true);
	check_shape("a finder, pairs", (Shape) {SHAPE(VDB_METRIC_L2, KIND_PAIRS, 16, 3000, 16, 64),.finds = -1,.threads = 3}, false);
	check_shape("a finder that is lost while it is filled", (Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 2500, 16, 64),.finds = 3}, true);
	check_shape("a finder that is lost while it finds", (Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 2500, 16, 64),.finds = 9}, true);
	check_shape("groups, threads, finders", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 20500, 12, 24),.finds = -1,.threads = 2}, true);
	check_shape("groups, threads", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 20500, 12, 24),.threads = 4}, true);
	check_shape("one group, room for several", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 19990, 12, 24),.capacity = 20050,.finds = -1}, true);
	check_shape("room for more rows", (Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 39990, 12, 28),.capacity = 41000}, false);
	check_settled();
	check_groups(11000, 20100, 2, 3);
	check_groups(16, 60100, 2, 8);
	check_groups(16, 60100, 3, 7);
	check_shape("several of each, threads", (Shape) {SHAPE(VDB_METRIC_L2, KIND_PAIRS, 16, 3000, 16, 64),.threads = 8}, false);
	check_shape("identical", (Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 3000, 16, 64)}, false);
	check_shape("half identical", (Shape) {SHAPE(VDB_METRIC_IP, KIND_HALF_IDENTICAL, 8, 3000, 16, 64)}, false);
	check_shape("overflow", (Shape) {SHAPE(VDB_METRIC_L2, KIND_OVERFLOW, 16, 3000, 16, 64)}, false);
	check_shape("largest m", (Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 800, 100, 200)}, true);
	check_shape("largest of both", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 800, 100, 1000)}, true);
	check_shape("no more than a leaf", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 200, 16, 64)}, true);
	check_shape("one row", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 1, 16, 64)}, true);
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
