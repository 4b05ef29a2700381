/*
 * hnsw_edge.h
 *	  Giving nodes on pages edges to another one.
 */
#ifndef VDB_HNSW_EDGE_H
#define VDB_HNSW_EDGE_H

#include "hnsw/hnsw_private.h"

/* How much an edge is wanted by the node it leads to. */
typedef enum HnswClaim
{
	HNSW_CLAIM_SPARE,			/* only if no shorter one leads there */
	HNSW_CLAIM_GOOD,			/* of a list that is long only the same */
	HNSW_CLAIM_NEEDED,			/* if there is room, or another becomes superfluous */
	HNSW_CLAIM_TREE,			/* as an edge to keep, if the node has any left */
	HNSW_CLAIM_MUST				/* the same, beyond HNSW_MAX_KEPT */
} HnswClaim;

/* A neighbour list away from its page. */
typedef struct HnswEdgeCopy
{
	uint32		generation;
	uint16		count;
	uint16		kept;
	uint32	   *nbr;
	HnswLengths *lengths;
} HnswEdgeCopy;

/* An edge to a new node that another node is to have. */
typedef struct HnswEdgeChange
{
	uint32		from;
	uint32		generation;		/* of `from`, 0: any */
	float		score;
	HnswClaim	claim;
	HnswEdgeCopy list;			/* of `from`, when it was decided upon */
	uint32		at;				/* index in it that takes the edge */
	bool		made;
} HnswEdgeChange;

typedef enum HnswEdgeDecision
{
	HNSW_EDGE_IS_THERE,
	HNSW_EDGE_IS_REFUSED,
	HNSW_EDGE_IS_WANTED			/* as the change says now */
} HnswEdgeDecision;

/* Gives a copy of a list its memory, in the current context. */
extern void vdb_hnsw_init_edge_copy(HnswEdgeCopy *copy, const HnswGeometry *g);

/* Copies a node's list; false when the node is not live. */
extern bool vdb_hnsw_copy_edges(HnswIndex *index, uint32 nid, HnswEdgeCopy *copy);

/*
 * Decides whether and where a node takes an edge to node `to`, from a copy of its
 * list.  query: the vector of `to`.
 */
extern HnswEdgeDecision vdb_hnsw_decide_edge(HnswIndex *index, const VdbQuery *query, uint32 to,
											 HnswEdgeChange *change);

/* Makes changes whose lists are still what they were, and sorts them. */
extern void vdb_hnsw_write_edges(HnswIndex *index, uint32 to, HnswEdgeChange *changes,
								 uint32 count);

/*
 * Gives the live node `from`, if it is of this generation still (0: of any), an
 * edge to node `to` of this score.  query: the vector of `to`.  True when the
 * edge is there afterwards, and kept if that was claimed.
 */
extern bool vdb_hnsw_add_edge(HnswIndex *index, uint32 from, uint32 generation,
							  const VdbQuery *query, uint32 to, float score, HnswClaim claim);

#endif							/* VDB_HNSW_EDGE_H */
