/*
 * test_place.c
 *	  Unit test of giving the nodes of a graph their places.  Prints TAP.
 *
 * Each node must have one place, whatever the graph; and neighbours must come
 * together, or there is no point in it.
 */
#include "graph_fixture.h"

#include "hnsw/hnsw_place.h"

/* The share of edges that do not leave an extent, when nodes lie in some order. */
static double
share_inside(const HnswGraph *graph, uint32_t slots, bool placed)
{
	uint32_t	count = graph->header->count;
	double		edges = 0;
	double		inside = 0;

	for (uint32_t nid = 0; nid < count; nid++)
	{
		const HnswList *list = vdb_hnsw_graph_list(graph, nid);
		uint32_t	own = placed ? vdb_hnsw_place_of(graph, nid) : nid;

		for (uint32_t i = 0; i < list->count; i++)
		{
			uint32_t	nbr = vdb_hnsw_list_nbr(list)[i];
			uint32_t	other = placed ? vdb_hnsw_place_of(graph, nbr) : nbr;

			inside += own / slots == other / slots;
		}
		edges += list->count;
	}
	return edges > 0 ? inside / edges : 0;
}

static bool
check_places(const HnswGraph *graph, uint32_t slots, double gain)
{
	uint32_t	count = graph->header->count;
	uint32_t   *order = new_block(count * sizeof(uint32_t) + 1, 0xA5);
	char	   *memory = new_block(vdb_hnsw_place_bytes(graph->m, slots), 0x5A);
	double		before = share_inside(graph, slots, false);
	double		after;
	bool		passed = true;

	vdb_hnsw_place_nodes(graph, slots, order, memory, &no_watch);
	for (uint32_t i = 0; i < count && passed; i++)
	{
		if (order[i] >= count || vdb_hnsw_place_of(graph, order[i]) != i)
			passed = failure("place %u is of node %u", i, order[i]);
	}
	after = share_inside(graph, slots, true);
	if (passed && after < gain * before)
		passed = failure("%.3f of the edges stay in an extent, %.3f before", after, before);
	free(order);
	free(memory);
	return passed;
}

static void
check_shape(const char *name, Shape shape, uint32_t slots, double gain)
{
	Built		built;
	bool		passed = build(&built, &shape);

	report(passed && check_places(&built.graph, slots, gain), "%s, extents of %u", name, slots);
	free_built(&built);
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	check_shape("clusters", (Shape) {SHAPE(VDB_METRIC_L2, KIND_CLUSTERED, 16, 3000, 16, 64),.batch = true}, 40, 4);
	check_shape("no clusters", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 3000, 16, 64),.batch = true}, 40, 4);
	check_shape("linked one by one", (Shape) {SHAPE(VDB_METRIC_COSINE, KIND_NORMAL, 16, 2000, 8, 64)}, 60, 3);
	check_shape("few edges", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 1000, 2, 16)}, 30, 2);
	check_shape("largest m", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 16, 800, 100, 200)}, 50, 1);
	check_shape("equal rows", (Shape) {SHAPE(VDB_METRIC_L2, KIND_IDENTICAL, 8, 1000, 16, 64)}, 40, 1);
	check_shape("a slot each", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 400, 16, 64)}, 1, 0);
	check_shape("one extent", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 300, 16, 64)}, 400, 1);
	check_shape("one row", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 1, 16, 64)}, 40, 0);
	check_shape("no row", (Shape) {SHAPE(VDB_METRIC_L2, KIND_NORMAL, 8, 0, 16, 64),.capacity = 1}, 40, 0);
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
