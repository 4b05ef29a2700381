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
	check_shape("groups, threads", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 20500, 12, 24),.threads = 4}, true);
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
