/*
 * hnsw_graph.h
 *	  The graph in memory: how an index is built.
 *
 * Pure C over memory the caller gives in one piece; nodes refer to each other
 * by number, so the piece may lie anywhere, also in shared memory.
 */
#ifndef VDB_HNSW_GRAPH_H
#define VDB_HNSW_GRAPH_H

#include "hnsw/hnsw_pool.h"
#include "quant/codec.h"

/* One neighbour list; a node has one on layer 0, and one a layer above. */
typedef struct HnswList
{
	uint32_t	count;
	uint32_t	up;				/* number of the node's list one layer up, or
								 * HNSW_NO_NODE */
	/* followed by uint32_t nbr[max] and float score[max] */
} HnswList;

typedef struct HnswGraph
{
	const VdbCodec *codec;
	uint32_t	m;
	uint32_t	ef_construction;
	uint32_t	capacity;		/* nodes */
	uint32_t	count;
	uint32_t	upper_capacity; /* lists above layer 0 */
	uint32_t	upper_count;
	uint32_t	entry;			/* HNSW_NO_NODE while empty */
	int			entry_level;
	uint64_t	random;			/* state of the level generator */

	/* by node number */
	uint8_t    *hi;				/* node codes: hi_stride bytes each */
	uint8_t    *lo;				/* lo_bytes of the codec each */
	VdbNodeFactors *factors;
	uint8_t    *levels;
	uint16_t   *marks;			/* equals mark: seen by this search */
	uint32_t   *parents;		/* in the tree that keeps the graph connected */
	uint8_t    *children;		/* in that tree: how many */
	char	   *lists;			/* layer 0: list_stride bytes each */

	/* by list number */
	char	   *upper;			/* upper_stride bytes each */
	uint32_t   *upper_node;		/* whose list it is */

	size_t		hi_stride;
	size_t		list_stride;
	size_t		upper_stride;
	uint16_t	mark;

	/* scratch of one insertion */
	HnswCandidate *pool;		/* ef_construction */
	HnswCandidate *sorted;		/* 2 m + 1 */
	uint32_t   *fresh;			/* 2 m */
} HnswGraph;

/* Bytes one node takes on average, upper lists included. */
extern size_t vdb_hnsw_graph_node_bytes(const VdbCodec *codec, uint32_t m);

/* Bytes a graph for so many nodes takes, the struct itself not included. */
extern size_t vdb_hnsw_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t ef_construction,
								   uint32_t capacity);

/*
 * An empty graph over memory of vdb_hnsw_graph_bytes(), aligned to 64.  What
 * is in it does not matter, and it is touched as nodes come.
 * codec must outlive it.
 */
extern void vdb_hnsw_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
								uint32_t ef_construction, uint32_t capacity, uint64_t seed,
								char *memory);

/*
 * Adds a vector (in code space; norm as the transformation returned it) and
 * links it.  Returns its node number: numbers are given in order from
 * 0.  The graph must not be full.
 */
extern uint32_t vdb_hnsw_graph_add(HnswGraph *graph, const void *x, float norm);

/* Are two nodes parent and child in the tree that keeps layer 0 connected? */
static inline bool
vdb_hnsw_graph_is_tree_edge(const HnswGraph *graph, uint32_t a, uint32_t b)
{
	return graph->parents[a] == b || graph->parents[b] == a;
}

static inline const uint8_t *
vdb_hnsw_graph_hi(const HnswGraph *graph, uint32_t nid)
{
	return graph->hi + graph->hi_stride * nid;
}

static inline const uint8_t *
vdb_hnsw_graph_lo(const HnswGraph *graph, uint32_t nid)
{
	return graph->lo + (size_t) graph->codec->lo_bytes * nid;
}

static inline HnswList *
vdb_hnsw_graph_list(const HnswGraph *graph, uint32_t nid)
{
	return (HnswList *) (graph->lists + graph->list_stride * nid);
}

static inline HnswList *
vdb_hnsw_graph_upper(const HnswGraph *graph, uint32_t number)
{
	return (HnswList *) (graph->upper + graph->upper_stride * number);
}

static inline uint32_t *
vdb_hnsw_list_nbr(const HnswList *list)
{
	return (uint32_t *) (list + 1);
}

/* max: 2 m on layer 0, m above */
static inline float *
vdb_hnsw_list_score(const HnswList *list, uint32_t max)
{
	return (float *) ((uint32_t *) (list + 1) + max);
}

#endif							/* VDB_HNSW_GRAPH_H */
