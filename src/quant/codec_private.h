/*
 * codec_private.h
 *	  What the kinds of codecs share.
 */
#ifndef VDB_CODEC_PRIVATE_H
#define VDB_CODEC_PRIVATE_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/codec.h"

#define VDB_UNIT_ROUNDOFF (FLT_EPSILON / 2)

/* The float square of a shorter vector may be wrong, or zero. */
#define VDB_SHORT_LENGTH 2e-20

/* Float sums below this do not overflow, nor do squares of lengths. */
#define VDB_LARGE_SUM 1e38
#define VDB_LARGE_LENGTH 1e19

/*
 * Factor that scales a vector of this squared norm to length 1 under cosine,
 * 1 under other metrics.  *norm: what a transformation returns then.
 */
extern double vdb_codec_unit_factor(VdbMetric metric, double norm2, float *norm);

/*
 * Bounds of the L2 or cosine distance of vectors whose decoded forms have this
 * squared distance.  slack: what it may be wrong by; r: how far the vectors may
 * be from their decoded forms; relative: rounding of the operator's sums.
 */
extern VdbBounds vdb_codec_l2_bounds(VdbMetric metric, double score, double slack, double r,
									 double relative);

/* The same of the L1 distance. */
extern VdbBounds vdb_codec_l1_bounds(double score, double r, double relative);

/*
 * Sums that codes depend on are made in eight lanes side by side, in every build the
 * same; dimensions are a multiple.
 */
#define VDB_CODEC_LANES 8

static inline double
vdb_codec_sum_lanes(const double *lanes)
{
	return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
		((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* The sum of squares of n floats. */
extern double vdb_codec_norm2(uint32_t n, const float *x);

/*
 * The step of the grid of 2^bits levels that n floats fit best, by their angle; 0 where
 * they are zeros.  *dot: their product with what their levels stand for in steps.  norm2:
 * of the floats.
 */
extern float vdb_codec_fit_step(uint32_t n, const float *x, uint32_t bits, double norm2,
								double *dot);

/* An interval without NaN. */
extern VdbBounds vdb_codec_interval(double lower, double upper);

#endif							/* VDB_CODEC_PRIVATE_H */
