/*
 * hnsw_repair.h
 *	  What VACUUM's repair of lists and its ties share: candidates for the list of a
 *	  node.
 */
#ifndef VDB_HNSW_REPAIR_H
#define VDB_HNSW_REPAIR_H

#include "hnsw/hnsw_private.h"

/* A node that is or may become a neighbour. */
typedef struct HnswChoiceNode
{
	HnswEdge	edge;
	VdbNodeFactors factors;		/* and where its code is, */
	const uint8 *hi;			/* NULL: not read yet */
} HnswChoiceNode;

/* The choice of one list. */
typedef struct HnswChoice
{
	HnswVacuum *vacuum;
	uint32		nid;			/* whose list it is */
	int			layer;
	uint32		max;			/* edges of a list on this layer */
	HnswChoiceNode base;		/* the node itself */
	VdbQuery	query;			/* its vector, once it is asked for */
	HnswChoiceNode *candidates;
	uint32		count;
	uint32		size;
} HnswChoice;

/*
 * Prepares to choose neighbours for a node; false when it is not live.  Memory for
 * this, and for what is done with the choice, comes from the current context.
 */
extern bool vdb_hnsw_begin_choice(HnswChoice *choice, HnswVacuum *vacuum, uint32 nid, int layer);

/* Adds a node to the candidates, with its score, if it is live and there is room. */
extern void vdb_hnsw_add_candidate(HnswChoice *choice, HnswEdge edge);

/*
 * Searches layer 0 for candidates: the nearest nodes, or with `of` those of
 * this set on the way to them.
 */
extern void vdb_hnsw_search_candidates(HnswChoice *choice, const HnswBits *of);

/* Sorts the candidates from the first on, the nearest first. */
extern void vdb_hnsw_sort_candidates(HnswChoice *choice, uint32 first);

/*
 * Prepares a query for a node's vector, in the current context; false when the node
 * is not live.
 */
extern bool vdb_hnsw_prepare_query(HnswVacuum *vacuum, uint32 nid, VdbQuery *query);

#endif							/* VDB_HNSW_REPAIR_H */
