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

/* Dense codes: weight of the inner product in a score. */
static inline float
vdb_codec_ip_weight(const VdbCodec *codec)
{
	return codec->metric == VDB_METRIC_IP ? 1.0f : 2.0f;
}

/* An interval without NaN. */
extern VdbBounds vdb_codec_interval(double lower, double upper);

#endif							/* VDB_CODEC_PRIVATE_H */
