/*
 * codec.h
 *	  From float vectors to the two codes of an index and to distances.
 *
 * A codec fixes how one index quantises; see README.md for the arithmetic.
 * Memory is the caller's everywhere: this folder never allocates.
 */
#ifndef VDB_CODEC_H
#define VDB_CODEC_H

#include "distance/distance.h"

typedef enum VdbMetric
{
	VDB_METRIC_L2,
	VDB_METRIC_IP,				/* negative inner product */
	VDB_METRIC_COSINE,
	VDB_METRIC_L1
} VdbMetric;

#define VDB_METRICS 4

/*
 * Scores are what the graph compares, smaller is nearer: the squared L2
 * distance (L2 and cosine, the latter between unit vectors), the negative
 * inner product, or the L1 distance.
 */
typedef struct VdbCodec
{
	VdbMetric	metric;
	uint32_t	dims;			/* of the user's vectors */
	uint32_t	P;				/* code dimensions: dims rounded up to 8 */
	uint32_t	hot_bits;		/* 2, 4 or 8 */
	uint32_t	hot_bytes;		/* of a hot code */
	uint64_t	seed;			/* of the rotation, 0 for none */
	const float *center;		/* P floats, already rotated */
	float		base;			/* constant part of a score */
} VdbCodec;

/* What accompanies a node code: the decoded vector is scale * v + center. */
typedef struct VdbNodeFactors
{
	float		scale;
	float		add;			/* see vdb_score() */
	float		residual;		/* upper bound of the norm of x - decoded(x):
								 * L2 norm, or L1 norm under that metric */
} VdbNodeFactors;

typedef struct VdbHotFactors
{
	float		add;
	float		rescale;
} VdbHotFactors;

/*
 * A vector prepared for being compared with codes.  The arrays are the
 * caller's; vdb_query_bytes() says how much the int8 part needs.
 */
typedef struct VdbQuery
{
	const VdbCodec *codec;
	float	   *vector;			/* P floats: rotated, centred */
	int8_t	   *hot;			/* VDB_HOT_BLOCK layout */
	float		add;			/* like VdbNodeFactors.add */
	float		norm;			/* what vdb_codec_transform returned */
	double		error;			/* upper bound of what rounding did to the
								 * vector, in the norm of a residual */
	float		hot_const;		/* hot score = hot_const + add - rescale * */
	float		hot_mult;		/* (hot_mult * I - hot_sum), I the integer */
	float		hot_sum;		/* inner product */
} VdbQuery;

/* An interval that holds the operator's distance. */
typedef struct VdbBounds
{
	double		lower;
	double		upper;
} VdbBounds;

/*
 * Fills everything but seed and center from the other fields' definitions.
 * `center` must outlive the codec.
 */
extern void vdb_codec_init(VdbCodec *codec, VdbMetric metric, uint32_t dims,
						   uint64_t seed, const float *center);

/* dims rounded up to the code's granularity */
extern uint32_t vdb_codec_padded(uint32_t dims);

/* bits a dimension of the hot code, from metric and padded dimensions */
extern uint32_t vdb_codec_hot_bits(VdbMetric metric, uint32_t P);

/*
 * The user's vector (dims floats; for cosine any length but zero) to code
 * space: normalised where the metric says so, padded, rotated, centred, into
 * out[P].  Returns its L2 norm before centring, which for cosine is 1, or 0 for
 * a zero vector, or infinity where the squares of x are no match for floats.
 */
extern float vdb_codec_transform(const VdbCodec *codec, const float *x, float *out);

/*
 * Like vdb_codec_transform without centring, added to sum[P]: how a build
 * finds the center.  scratch holds P floats.
 */
extern void vdb_codec_accumulate(const VdbCodec *codec, const float *x, float *scratch, double *sum);

/* x: P floats in code space, norm: what vdb_codec_transform returned. */
extern VdbNodeFactors vdb_encode_node(const VdbCodec *codec, const float *x, float norm,
									  int8_t *hi, uint8_t *lo);

/* x: P floats in code space, usually a decoded node code. */
extern VdbHotFactors vdb_encode_hot(const VdbCodec *codec, const float *x, uint8_t *code);

/* The vector a hot code stands for: P floats in code space. */
extern void vdb_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, float *out);

/*
 * Score between two vectors in code space, as exact as float sums are.
 */
extern float vdb_vector_score(const VdbCodec *codec, const float *a, const float *b);

/* Bytes of VdbQuery.hot */
extern size_t vdb_query_bytes(const VdbCodec *codec);

/*
 * Prepares query->vector (already filled, in code space) for hot and node
 * scores.  norm: what vdb_codec_transform returned.
 */
extern void vdb_query_prepare(VdbQuery *query, const VdbCodec *codec, float norm);

/* Estimated score of a hot code; FLT_MAX where it is no number. */
extern float vdb_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code);

/* Score of a node code, exact for the decoded vector up to rounding. */
extern float vdb_node_score(const VdbQuery *query, VdbNodeFactors f,
							const int8_t *hi, const uint8_t *lo);

/*
 * Score between two node codes by their hi planes alone, for building.
 */
extern float vdb_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const int8_t *a,
							VdbNodeFactors fb, const int8_t *b);

/*
 * Bounds of the operator's distance between the query and the vector behind a
 * node code, given its node score.  Allow for rounding here, in the rotation
 * and in the operator itself.
 */
extern VdbBounds vdb_node_bounds(const VdbQuery *query, VdbNodeFactors f, float score);

#endif							/* VDB_CODEC_H */
