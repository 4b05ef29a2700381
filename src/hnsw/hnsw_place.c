/*
 * hnsw_place.c
 *	  Where the nodes of a graph in memory go on pages: neighbours together.
 *
 * An extent is filled with nodes that have as many edges with those already in it
 * as can be had: the next one is always the node to which most lead.  An extent
 * begins with what the one before leads to most often, or, where that leads
 * nowhere new, with the node of the smallest number.  (Gorder, Wei et al., 2016,
 * has a window that moves where this has an extent.)  The time is proportional to
 * the number of edges.
 *
 * When all nodes are linked, the versions of their lists are free: while a node
 * waits for its place, its version counts the edges to it, and then it is its
 * place.
 */
#include "hnsw/hnsw_place.h"

#define PLACED UINT32_C(0x80000000)
#define NOBODY UINT32_MAX
#define NODES_PER_LOOK 1024

/* An edge to a node; those that were its last, when as many led there, are in one chain. */
typedef struct Edge
{
	uint32_t	to;
	uint32_t	next;
} Edge;

/* An extent that is being filled. */
typedef struct Extent
{
	const HnswGraph *graph;
	Edge	   *edges;			/* that lead from its nodes to others */
	uint32_t	count;
	uint32_t   *chains;			/* by number of edges, 1 to `most` */
	uint32_t	most;			/* edges to a node that count */
	uint32_t	longest;		/* no chain above it has an edge */
} Extent;

static inline uint32_t *
version_of(const HnswGraph *graph, uint32_t nid)
{
	return &vdb_hnsw_graph_list(graph, nid)->version;
}

size_t
vdb_hnsw_place_bytes(uint32_t m, uint32_t slots)
{
	return (size_t) slots * 2 * m * sizeof(Edge) + (slots + 1) * sizeof(uint32_t);
}

static void
begin_extent(Extent *extent)
{
	for (uint32_t i = 0; i < extent->count; i++)
	{
		uint32_t   *version = version_of(extent->graph, extent->edges[i].to);

		if ((*version & PLACED) == 0)
			*version = 0;
	}
	for (uint32_t i = 0; i <= extent->most; i++)
		extent->chains[i] = NOBODY;
	extent->count = 0;
	extent->longest = 0;
}

/* The node that has no place yet and to which most edges lead, or NOBODY. */
static uint32_t
take_nearest(Extent *extent)
{
	for (; extent->longest > 0; extent->longest--)
	{
		uint32_t   *chain = &extent->chains[extent->longest];

		while (*chain != NOBODY)
		{
			const Edge *edge = &extent->edges[*chain];

			/* it may have a place by now, or be in a longer chain as well */
			*chain = edge->next;
			if (*version_of(extent->graph, edge->to) == extent->longest)
				return edge->to;
		}
	}
	return NOBODY;
}

static void
put_node(Extent *extent, uint32_t nid, uint32_t place)
{
	const HnswList *list = vdb_hnsw_graph_list(extent->graph, nid);

	*version_of(extent->graph, nid) = PLACED | place;
	for (uint32_t i = 0; i < list->count; i++)
	{
		uint32_t	nbr = vdb_hnsw_list_nbr(list)[i];
		uint32_t   *version = version_of(extent->graph, nbr);

		if ((*version & PLACED) != 0 || *version == extent->most)
			continue;
		(*version)++;
		extent->edges[extent->count] = (Edge) {nbr, extent->chains[*version]};
		extent->chains[*version] = extent->count++;
		if (*version > extent->longest)
			extent->longest = *version;
	}
}

void
vdb_hnsw_place_nodes(const HnswGraph *graph, uint32_t slots, uint32_t *order, char *memory,
					 const HnswWatch *watch)
{
	uint32_t	count = graph->header->count;
	uint32_t	lowest = 0;
	Extent		extent = {
		.graph = graph,
		.edges = (Edge *) memory,
		.chains = (uint32_t *) (memory + (size_t) slots * 2 * graph->m * sizeof(Edge)),
		.most = slots
	};

	for (uint32_t nid = 0; nid < count; nid++)
		*version_of(graph, nid) = 0;
	begin_extent(&extent);
	for (uint32_t place = 0; place < count; place++)
	{
		uint32_t	nid = take_nearest(&extent);

		if (place % NODES_PER_LOOK == 0)
			watch->look(watch->arg);
		if (place % slots == 0)
			begin_extent(&extent);
		while (nid == NOBODY)
		{
			if ((*version_of(graph, lowest) & PLACED) == 0)
				nid = lowest;
			lowest++;
		}
		put_node(&extent, nid, place);
		order[place] = nid;
	}
}
