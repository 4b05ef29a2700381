/*
 * hnsw_place.h
 *	  Where the nodes of a graph in memory go on pages.
 */
#ifndef VDB_HNSW_PLACE_H
#define VDB_HNSW_PLACE_H

#include "hnsw/hnsw_batch.h"

/* Bytes of the memory that placing takes, in extents of so many slots. */
extern size_t vdb_hnsw_place_bytes(uint32_t m, uint32_t slots);

/*
 * Gives each node of a graph whose layer 0 is linked its place: order[i], i below the
 * number of nodes, is the node that is the i-th on pages.  By one participant, while no
 * other does anything; no list may be changed afterwards.
 */
extern void vdb_hnsw_place_nodes(const HnswGraph *graph, uint32_t slots, uint32_t *order,
								 char *memory, const HnswWatch *watch);

/* The place of a node, when all have one. */
static inline uint32_t
vdb_hnsw_place_of(const HnswGraph *graph, uint32_t nid)
{
	return vdb_hnsw_graph_list(graph, nid)->version & ~UINT32_C(0x80000000);
}

#endif							/* VDB_HNSW_PLACE_H */
