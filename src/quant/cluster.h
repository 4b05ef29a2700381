/*
 * cluster.h
 *	  Centroids of a sample, by k-means, and the nearest centroid of any vector.
 *
 * Lloyd's algorithm (1982) on node codes.  All pairs are scored by their upper planes
 * and a panel, which takes a small part of the time of float products and moves a
 * centroid by less than its members' number does.  A caller drives it by the block, and
 * may look for interrupts between two of them:
 *
 *	 init, then a seed for each centroid, and vdb_cluster_next()
 *	 in each round, for all blocks of the sample, vdb_cluster_assign() and
 *	 vdb_cluster_gather(), then vdb_cluster_next()
 *
 * Distances are Euclidean, whatever the index's metric: the codec is one of L2, of the
 * same vectors in code space.  Memory is the caller's, as in codec.h.
 */
#ifndef VDB_CLUSTER_H
#define VDB_CLUSTER_H

#include "quant/finder.h"
#include "quant/panel.h"

/* Codes that are assigned at once, at most. */
#define VDB_CLUSTER_BLOCK 256

typedef struct VdbClusters
{
	const VdbCodec *codec;
	uint32_t	count;
	bool		on_sphere;		/* centroids are directions: as long as a unit vector */
	float	   *centroids;		/* count * P */
	float	   *sums;			/* of members gathered since the last round: count * P */
	uint32_t   *sizes;			/* how many these are, */
	uint32_t   *members;		/* and how many they were before vdb_cluster_next() */
	VdbPanel	panel;
	char	   *panel_memory;
	float	   *scores;			/* scratch: VDB_CLUSTER_BLOCK * count */
	uint32_t   *below;			/* scratch: count */
	uint8_t    *codes;			/* scratch: VDB_CLUSTER_BLOCK node codes, */
	VdbNodeFactors *factors;	/* and theirs */

	VdbFinder  *finder;			/* NULL: codes are assigned by the panel */
	uint32_t	wanted;			/* centroids that it finds for each code */
	VdbNeighbor *found;			/* VDB_CLUSTER_BLOCK times as many */
	bool		is_found;		/* of the block that was assigned last */
} VdbClusters;

/*
 * Set after vdb_cluster_init, on_sphere has the vectors, which are of length 1 before the
 * center is taken away, divided by their directions alone (spherical k-means, Dhillon and
 * Modha, 2001): then lists are as pgvector's.
 */
extern size_t vdb_cluster_bytes(const VdbCodec *codec, uint32_t count);

/* memory: vdb_cluster_bytes(), aligned to 64. */
extern void vdb_cluster_init(VdbClusters *clusters, const VdbCodec *codec, uint32_t count,
							 char *memory);

/*
 * Has a finder assign codes, as long as it can.  Before the first vdb_cluster_next().  It is asked for
 * `wanted` centroids of each code, for vdb_cluster_nearest() to choose from.  found: VDB_CLUSTER_BLOCK
 * times as many.
 */
extern void vdb_cluster_use_finder(VdbClusters *clusters, VdbFinder *finder, uint32_t wanted, VdbNeighbor *found);

/* Makes a code, that of one of the sample, the first centroid i. */
extern void vdb_cluster_seed(VdbClusters *clusters, uint32_t i, VdbNodeFactors factors,
							 const uint8_t *hi, const uint8_t *lo);

/*
 * The nearest centroid of each of n codes, n <= VDB_CLUSTER_BLOCK, which are `stride`
 * apart.  nearest: what it may be, a number below count, as the last round said, or 0;
 * and what it is.
 */
extern void vdb_cluster_assign(VdbClusters *clusters, uint32_t n,
							   const VdbNodeFactors *factors, const uint8_t *hi, size_t stride,
							   uint32_t *nearest);

/*
 * The centroids nearest to code i of those assigned last, at most so many of the first
 * `count` ones, the nearest first; returns how many.  Where a finder is used, `count` is that of all
 * clusters, and no more than it was to be asked for are there.
 */
extern uint32_t vdb_cluster_nearest(const VdbClusters *clusters, uint32_t i, uint32_t count,
									uint32_t most, uint32_t *out);

/* Adds codes to the sums of the clusters that they were assigned to. */
extern void vdb_cluster_gather(VdbClusters *clusters, uint32_t n, const VdbNodeFactors *factors,
							   const uint8_t *hi, size_t stride, const uint32_t *nearest);

/*
 * Moves all centroids to the means of what was gathered, and forgets that.  A cluster
 * without members gets half of the largest one's place, as in FAISS.  Returns how many
 * clusters had members.
 */
extern uint32_t vdb_cluster_next(VdbClusters *clusters);

#endif							/* VDB_CLUSTER_H */
