/*
 * hnsw_partition.h
 *	  Which vectors go together: partitions of about equal size that overlap.
 *
 * A partition is what is nearest to one of some of the vectors, the pivots.
 * Every vector goes into several: into that of its nearest pivot, that of the
 * next, and so on, so that partitions overlap where they meet.  The idea is that
 * of the builds of DiskANN (Subramanya et al., 2019), which takes centroids of
 * k-means; pivots need nothing but scores, so they serve codes of every kind and
 * all metrics.
 *
 * Partitions must be of about equal size, whatever the data.  So each pivot has a
 * weight that is added to its scores, and the weights are found on a sample: that
 * of a crowded pivot rises, that of a lonely one falls.  (Regions that differ
 * from those of the nearest pivots by additive weights can have any sizes one
 * likes: Aurenhammer, Hoffmann and Aronov, 1998.)  What is left of the imbalance
 * is cut off by a limit.
 *
 * Pure C over memory of the caller.
 */
#ifndef VDB_HNSW_PARTITION_H
#define VDB_HNSW_PARTITION_H

#include "quant/panel.h"

/* Most partitions that a vector goes into. */
#define HNSW_MAX_FANOUT 32

typedef struct HnswPivots
{
	VdbPanel	panel;
	uint32_t	count;			/* of partitions */
	uint32_t	fanout;			/* partitions that each vector goes into */
	uint32_t	limit;			/* of each size */
	float	   *weights;
	uint32_t   *sizes;			/* of partitions, so far */
} HnswPivots;

/* Bytes of so many pivots. */
extern size_t vdb_hnsw_pivots_bytes(const VdbCodec *codec, uint32_t count);

/*
 * Makes pivots, whose codes are to be put into the panel next.  memory:
 * vdb_hnsw_pivots_bytes(), aligned to 64.
 */
extern void vdb_hnsw_pivots_init(HnswPivots *pivots, const VdbCodec *codec, uint32_t count,
								 uint32_t fanout, uint32_t limit, char *memory);

/*
 * Finds weights that divide a sample evenly, in so many rounds.  scores: of all
 * of the sample (rows) with each of the pivots (columns), as the panel computes
 * them.
 */
extern void vdb_hnsw_pivots_balance(HnswPivots *pivots, const float *scores, uint32_t sample,
									int rounds);

/*
 * Assigns a vector; scores: of it with each pivot.  Writes the numbers of its
 * partitions to chosen[fanout], the nearest first, and returns how many: all, or
 * fewer when no more have room.
 */
extern uint32_t vdb_hnsw_pivots_assign(HnswPivots *pivots, const float *scores, uint32_t *chosen);

#endif							/* VDB_HNSW_PARTITION_H */
