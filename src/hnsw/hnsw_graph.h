/*
 * hnsw_graph.h
 *	  The graph in memory: how an index is built.
 *
 * Pure C over memory the caller gives in one piece; nodes refer to each other
 * by number, so the piece may lie anywhere, also in memory that several
 * processes share.  Each of those that fill the graph, at the same time if
 * they like, is a participant with a view of its own (HnswGraph) and scratch
 * memory of its own (HnswParticipant).
 */
#ifndef VDB_HNSW_GRAPH_H
#define VDB_HNSW_GRAPH_H

#include "hnsw/hnsw_pool.h"
#include "quant/codec.h"

/*
 * One neighbour list; a node has one on layer 0, and one a layer above.
 *
 * As soon as its node can be found, a list is changed only by way of its
 * version: it is odd while the list is being written, and another one
 * afterwards.  When nothing changes any more, it is the node's place (hnsw_place.h).
 * `up` never changes.
 */
typedef struct HnswList
{
	uint32_t	version;
	uint32_t	count;
	uint32_t	up;				/* number of the node's list one layer up, or
								 * HNSW_NO_NODE */
	/* followed by uint32_t nbr[max] and float score[max] */
} HnswList;

/* An edge of layer 0 away from its list. */
typedef struct HnswOutEdge
{
	uint32_t	nid;
	float		score;
} HnswOutEdge;

/* What begins a graph's memory. */
typedef struct HnswGraphHeader
{
	/* constant */
	uint32_t	m;
	uint32_t	ef_construction;
	uint32_t	capacity;		/* nodes */
	uint32_t	upper_capacity; /* lists above layer 0 */
	uint32_t	bottom;			/* layer of the index that layer 0 is: 0 or 1 */

	/* changed by atomic operations */
	uint32_t	count;			/* node numbers given out */
	uint32_t	upper_count;	/* list numbers given out */
	uint32_t	entry;			/* a node of the highest level, HNSW_NO_NODE while
								 * the graph is empty */
} HnswGraphHeader;

/* Where one process finds the parts of a graph. */
typedef struct HnswGraph
{
	const VdbCodec *codec;
	HnswGraphHeader *header;
	uint32_t	m;				/* as in the header */
	uint32_t	ef_construction;
	uint32_t	capacity;
	uint32_t	upper_capacity;
	uint32_t	bottom;

	/* by node number; written before a node can be found, but for children */
	uint8_t    *hi;				/* node codes: hi_stride bytes each */
	uint8_t    *lo;				/* lo_bytes of the codec each */
	VdbNodeFactors *factors;
	uint8_t    *levels;
	uint32_t   *parents;		/* in the tree that keeps the graph connected */
	uint8_t    *children;		/* in that tree: how many; atomic */
	char	   *lists;			/* layer 0: list_stride bytes each */

	/* by list number */
	char	   *upper;			/* upper_stride bytes each */
	uint32_t   *upper_node;		/* whose list it is */

	size_t		hi_stride;
	size_t		list_stride;
	size_t		upper_stride;
} HnswGraph;

/* A list away from the graph. */
typedef struct HnswListCopy
{
	uint32_t	count;
	uint32_t   *nbr;			/* 2 m */
	float	   *score;			/* 2 m */
} HnswListCopy;

/* Is a node in it?  Made for vectors: all edges are looked at, by the block. */
static inline bool
vdb_hnsw_list_has(const HnswListCopy *list, uint32_t nid)
{
	enum
	{
		BLOCK = 16
	};
	uint32_t	at = 0;
	uint32_t	has = 0;

	for (; at + BLOCK <= list->count; at += BLOCK)
	{
		for (int i = 0; i < BLOCK; i++)
			has |= list->nbr[at + i] == nid;
	}
	for (; at < list->count; at++)
		has |= list->nbr[at] == nid;
	return has != 0;
}

/* One of those that add nodes to a graph: a process, or a thread of a test. */
typedef struct HnswParticipant
{
	const HnswGraph *graph;
	uint64_t	random;			/* state of the level generator */
	uint16_t   *marks;			/* by node number; equals mark: seen by this search */
	uint16_t	mark;

	/* scratch of one insertion */
	HnswCandidate *pool;		/* ef_construction */
	HnswCandidate *sorted;		/* 2 m + 1 */
	uint32_t   *fresh;			/* 2 m */
	HnswListCopy own;			/* of the new node */
	HnswListCopy other;			/* of a node that it comes by */
} HnswParticipant;

/*
 * Bytes one node takes on average: upper lists and the marks of so many
 * participants included.
 */
extern size_t vdb_hnsw_graph_node_bytes(const VdbCodec *codec, uint32_t m, uint32_t participants);

/* Bytes of a graph for so many nodes, header included. */
extern size_t vdb_hnsw_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t capacity);

/*
 * Makes an empty graph in memory of vdb_hnsw_graph_bytes(), aligned to 64, and
 * a view of it.  What is in it does not matter, and it is touched as nodes
 * come.  codec must outlive the view.
 */
extern void vdb_hnsw_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
								uint32_t ef_construction, uint32_t capacity, char *memory);

/*
 * The same for a graph whose layer 0 is an index's layer 1, without those
 * nodes that are on no higher layer.  It needs no tree, and all of its lists
 * have at most m edges.
 */
extern size_t vdb_hnsw_upper_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t capacity);
extern void vdb_hnsw_upper_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
									  uint32_t ef_construction, uint32_t capacity, char *memory);

/* A view of a graph that one of these made; codec: an equal one. */
extern void vdb_hnsw_graph_attach(HnswGraph *graph, const VdbCodec *codec, char *memory);

/* Bytes of a participant's scratch memory. */
extern size_t vdb_hnsw_participant_bytes(uint32_t m, uint32_t ef_construction, uint32_t capacity);

/*
 * Makes a participant over memory of vdb_hnsw_participant_bytes(), aligned to
 * 64.  graph must outlive it; seed: not 0, another one for each.
 */
extern void vdb_hnsw_participant_init(HnswParticipant *participant, const HnswGraph *graph,
									  uint64_t seed, char *memory);

/*
 * Nodes are added in two steps, each of which several participants may take at the
 * same time.
 *
 * encode: gives a vector (in code space; norm as the transformation returned it) the
 * next number, from 0, and keeps its code; HNSW_NO_NODE when the graph is full.  put:
 * the same for one that is encoded already; the lo part of its code is not kept.
 *
 * link: links a node of such a number, each node by one participant.  When it returns,
 * those of smaller numbers need not be linked; who reads the graph must know that all
 * are.  guest: the node is in the tree of another graph, and stays out of this one's.
 * All that are none must be linked before the first that is.
 */
extern uint32_t vdb_hnsw_graph_encode(const HnswGraph *graph, const void *x, float norm);
extern uint32_t vdb_hnsw_graph_put(const HnswGraph *graph, VdbNodeFactors factors,
								   const uint8_t *hi);
extern void vdb_hnsw_graph_link(HnswParticipant *participant, uint32_t nid, bool guest);

/*
 * Best-first search of one layer from the pool's items for the nodes nearest
 * to node `target`; the pool ends up with the nearest ones found.
 */
extern void vdb_hnsw_graph_search(HnswParticipant *participant, int layer, uint32_t target,
								  HnswPool *pool);

/*
 * Chooses up to m of the pool as a new node's neighbours: those that the
 * heuristic of the paper's algorithm 4 keeps, then the nearest others.
 */
extern void vdb_hnsw_graph_choose(const HnswGraph *graph, const HnswPool *pool, HnswListCopy *list);

/*
 * What linking all nodes at once is made of, in this order; hnsw_batch.c calls
 * each for every node, in any order and by any participant, before the next.
 *
 * prepare: lists of a level drawn, empty, and no parent.  link_above: links the
 * node on the layers above 0, from the entry point, which must be a node of the
 * highest level.  look: a copy of its list of layer 0, the participant's `other`,
 * and its version.  merge: takes what was found near the node (sorted, at most
 * 2 m) among the nearest in that list, which is as long as it can be and sorted;
 * after a look, whose version this is.  prune: chooses m of these, and adds some that lead far away.
 * reciprocate: gives those edges back to the node.
 */
extern void vdb_hnsw_graph_prepare(HnswParticipant *participant, uint32_t nid, bool guest);
extern void vdb_hnsw_graph_link_above(HnswParticipant *participant, uint32_t nid);
extern const HnswListCopy *vdb_hnsw_graph_look(HnswParticipant *participant, uint32_t nid,
											   uint32_t *version);
extern void vdb_hnsw_graph_merge(HnswParticipant *participant, uint32_t nid, uint32_t version,
								 const HnswCandidate *found, uint32_t count);
extern void vdb_hnsw_graph_prune(HnswParticipant *participant, uint32_t nid);
extern void vdb_hnsw_graph_reciprocate(HnswParticipant *participant, uint32_t nid);
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

/*
 * Edges of the tree that a node may have, to its parent and its children.  Few
 * nodes use up their share, but without a limit the neighbours of a hub would
 * all be its children.
 */
static inline uint32_t
vdb_hnsw_graph_tree_limit(const HnswGraph *graph)
{
	return graph->m / 4 + 3;
}

/* Score between two nodes, by their codes. */
static inline float
vdb_hnsw_graph_score(const HnswGraph *graph, uint32_t a, uint32_t b)
{
	return vdb_pair_score(graph->codec,
						  graph->factors[a], vdb_hnsw_graph_hi(graph, a),
						  graph->factors[b], vdb_hnsw_graph_hi(graph, b));
}

static inline HnswList *
vdb_hnsw_graph_list(const HnswGraph *graph, uint32_t nid)
{
	return (HnswList *) (graph->lists + graph->list_stride * nid);
}

/* How many lists ahead one is asked for. */
#define HNSW_LISTS_AHEAD 3

/* Asks for a node's list on layer 0, which will be read soon; it may be that of any node, far away in memory. */
static inline void
vdb_hnsw_graph_expect_list(const HnswGraph *graph, uint32_t nid)
{
	const char *list = graph->lists + graph->list_stride * nid;

	for (size_t at = 0; at < graph->list_stride; at += 64)
		__builtin_prefetch(list + at);
	__builtin_prefetch(list + graph->list_stride - 1);
}

/* Asks for a node's code; the CPU sees by itself how a longer one goes on. */
static inline void
vdb_hnsw_graph_expect_code(const HnswGraph *graph, uint32_t nid)
{
	__builtin_prefetch(vdb_hnsw_graph_hi(graph, nid));
	__builtin_prefetch(vdb_hnsw_graph_hi(graph, nid) + 64);
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

/* Most edges of a list on a layer of the graph. */
static inline uint32_t
vdb_hnsw_list_max(const HnswGraph *graph, int layer)
{
	return layer == 0 && graph->bottom == 0 ? 2 * graph->m : graph->m;
}

/* max: of the list's layer */
static inline float *
vdb_hnsw_list_score(const HnswList *list, uint32_t max)
{
	return (float *) ((uint32_t *) (list + 1) + max);
}

#endif							/* VDB_HNSW_GRAPH_H */
