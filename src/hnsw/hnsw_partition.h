/*
 * hnsw_partition.h
 *	  Which vectors of a large table go into the same graph.
 *
 * A table whose graph does not fit memory is built in partitions, each of which
 * does.  A partition is what is nearest to one of some vectors of the table, the
 * pivots.  Every vector goes into two: it is a host in the partition of its
 * nearest pivot, and a guest in that of the next, so that partitions overlap
 * where they meet.  The idea is DiskANN's (Subramanya et al., 2019), which takes
 * centroids of k-means; pivots need nothing but scores, so they serve codes of
 * every kind and all metrics.
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

#include "quant/codec.h"

/* Codes of a sample's vectors. */
typedef struct HnswCodeSample
{
	const VdbCodec *codec;
	uint32_t	count;
	VdbNodeFactors *factors;
	uint8_t    *hi;				/* hi_bytes of the codec each */
} HnswCodeSample;

typedef struct HnswPivots
{
	HnswCodeSample codes;		/* the first so many of the sample */
	float	   *weights;
	uint32_t   *sizes;			/* hosts and guests, so far */
	uint32_t	limit;			/* of each size */
} HnswPivots;

/* Sample rows from which the weight of each pivot is found. */
#define HNSW_SAMPLE_PER_PIVOT 32

/*
 * Makes the first `count` of a sample pivots, and finds weights that divide all
 * of the sample evenly.  weights and sizes have room for count numbers each; the
 * sample must outlive the pivots, its first `count` codes do.  limit: most
 * vectors of a partition.  interrupt: called now and then.
 */
extern void vdb_hnsw_pivots_init(HnswPivots *pivots, const HnswCodeSample *sample,
								 uint32_t count, float *weights, uint32_t *sizes,
								 uint32_t limit, void (*interrupt) (void));

/*
 * Assigns a vector: *guest is another partition than *host if there are several
 * with room, else the same.  count * limit must be at least twice the number of
 * vectors that are assigned, or this number where there is one partition.
 */
extern void vdb_hnsw_pivots_assign(HnswPivots *pivots, VdbNodeFactors factors, const uint8_t *hi,
								   uint32_t *host, uint32_t *guest);

#endif							/* VDB_HNSW_PARTITION_H */
