/*
 * test_graph_threads.c
 *	  Unit test of building a graph by several participants at once: threads
 *	  here, processes in a server.  Prints TAP.
 *
 * More threads than processors, so that some are descheduled at any place,
 * with locks held; small lists and equal vectors, so that they meet.
 */
#include "graph_fixture.h"

static void
check_shape(const char *name, Shape shape)
{
	Built		built;

	report(build(&built, &shape) && check_graph(&built.graph),
		   "%s: %u rows, %s, m %u, ef_construction %u, %u threads", name, shape.rows,
		   metric_names[shape.metric], shape.m, shape.ef_construction, shape.threads);
	free_built(&built);
}

/* Several find an empty graph, again and again. */
static bool
check_starts(Kind kind, uint32_t rows)
{
	Shape		shape = {SHAPE(VDB_METRIC_L2, kind, 8, rows, 2, 4),.threads = 4};
	bool		passed = true;

	for (int i = 0; i < 200 && passed; i++)
	{
		Built		built;

		passed = build(&built, &shape) && check_graph(&built.graph);
		free_built(&built);
	}
	return passed;
}

/*
 * Nodes that are added at once do not see each other; that costs next to nothing.
 * How they meet depends on how threads are scheduled, so several graphs tell: one
 * cluster that a few queries do not come to is two points of a single one's recall.
 */
static void
check_recall(VdbMetric metric)
{
	const int	graphs = 4;
	Shape		shape = {SHAPE(metric, KIND_CLUSTERED, 32, 2000, 8, 32)};
	Built		built;
	double		alone;
	double		together = 0;

	build(&built, &shape);
	alone = measure_recall(&built, &shape, 20);
	free_built(&built);
	shape.threads = 4;
	for (int i = 0; i < graphs; i++)
	{
		build(&built, &shape);
		together += measure_recall(&built, &shape, 20) / graphs;
		free_built(&built);
	}
	report(together > alone - 0.02, "recall %.3f, by one alone %.3f, %s", together, alone,
		   metric_names[metric]);
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	check_shape("clustered",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 1500, 8, 32),.threads = 4});
	check_shape("identical",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 1000, 5, 10),.threads = 8});
	check_shape("identical, smallest m",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 1000, 2, 4),.threads = 8});
	check_shape("half identical",
				(Shape) {SHAPE(VDB_METRIC_IP, KIND_HALF_IDENTICAL, 8, 1000, 4, 16),.threads = 4});
	check_shape("smallest m",
				(Shape) {SHAPE(VDB_METRIC_COSINE, KIND_NORMAL, 16, 1500, 2, 4),.threads = 8});
	check_shape("overflow",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_OVERFLOW, 16, 500, 4, 16),.threads = 4});
	check_shape("largest m",
				(Shape) {SHAPE(VDB_METRIC_L1, KIND_CLUSTERED, 8, 500, 100, 200),.threads = 3});
	check_shape("many threads",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 600, 4, 8),.threads = 32});
	check_shape("less room than rows", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 500, 4, 8),
				.threads = 4,.capacity = 300});
	check_shape("no list above layer 0 is left",
				(Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 500, 2, 4),.threads = 4,
				.upper_capacity = 5});
	report(check_starts(KIND_NORMAL, 4), "the first node of each of four");
	report(check_starts(KIND_IDENTICAL, 12), "the first three of each of four, identical");
	check_recall(VDB_METRIC_L2);
	check_recall(VDB_METRIC_IP);
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
