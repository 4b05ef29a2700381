/*
 * codec.c
 *	  What the kinds of codecs share: normalisation, and bounds from scores.
 */
#include "quant/codec_private.h"

/* Within these squares of norms the cosine operator's sums are sound. */
#define COSINE_MIN_NORM2 1e-33
#define COSINE_MAX_NORM2 1e37

double
vdb_codec_unit_factor(VdbMetric metric, double norm2, float *norm)
{
	if (metric != VDB_METRIC_COSINE)
	{
		*norm = (float) sqrt(norm2);
		return 1;
	}
	if (!(norm2 > 0))
	{
		*norm = 0;
		return 0;
	}
	*norm = norm2 > COSINE_MIN_NORM2 && norm2 < COSINE_MAX_NORM2 ? 1 : INFINITY;
	return 1 / sqrt(norm2);
}

VdbBounds
vdb_codec_interval(double lower, double upper)
{
	return (VdbBounds) {isnan(lower) ? -INFINITY : lower, isnan(upper) ? INFINITY : upper};
}

VdbBounds
vdb_codec_l2_bounds(VdbMetric metric, double score, double slack, double r, double relative)
{
	double		lower;
	double		upper;

	r += VDB_SHORT_LENGTH;
	lower = fmax(0, sqrt(fmax(0, score - slack)) - r) * (1 - relative);
	upper = (sqrt(fmax(0, score + slack)) + r) * (1 + relative);
	if (metric == VDB_METRIC_COSINE)
	{
		/* 1 - cos of unit vectors; the operator rounds around 1 */
		lower = fmax(0, lower * lower / 2 - 2 * relative);
		upper = upper * upper / 2 + 2 * relative;
	}
	else if (upper > VDB_LARGE_LENGTH)
		upper = INFINITY;
	return vdb_codec_interval(lower, upper);
}

VdbBounds
vdb_codec_l1_bounds(double score, double r, double relative)
{
	double		slack = r + relative * score;
	double		lower = fmax(0, score - slack) * (1 - relative);
	double		upper = (score + slack) * (1 + relative);

	return vdb_codec_interval(lower, upper > VDB_LARGE_SUM ? INFINITY : upper);
}
