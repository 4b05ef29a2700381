/*
 * codec.h
 *	  From a user's vectors to the codes of an index and to distances.
 *
 * A codec fixes how one index quantises; see README.md for the arithmetic.
 * There are three kinds, with one interface: dense vectors of floats, binary
 * vectors, sparse vectors.  Memory is the caller's everywhere: this folder
 * never allocates.
 *
 * A vector in code space is what a kind computes with:
 *	 dense		P floats: normalised, padded, rotated, centred
 *	 binary		P / 8 bytes
 *	 sparse		a VdbSparse
 */
#ifndef VDB_CODEC_H
#define VDB_CODEC_H

#include "distance/distance.h"
#include "quant/bfloat.h"

typedef enum VdbMetric
{
	VDB_METRIC_L2,
	VDB_METRIC_IP,				/* negative inner product */
	VDB_METRIC_COSINE,
	VDB_METRIC_L1,
	VDB_METRIC_HAMMING,			/* this and the next: binary vectors only */
	VDB_METRIC_JACCARD
} VdbMetric;

#define VDB_DENSE_METRICS 4		/* these are of dense and of sparse vectors */

typedef enum VdbCodecKind
{
	VDB_CODEC_DENSE,
	VDB_CODEC_BINARY,
	VDB_CODEC_SPARSE
} VdbCodecKind;

typedef struct VdbCodecOps VdbCodecOps;

/*
 * Scores are what the graph compares, smaller is nearer: the squared L2
 * distance (L2 and cosine, the latter between unit vectors), the negative
 * inner product, or the L1, Hamming or Jaccard distance.
 *
 * A codec holds pointers, so each process initialises its own.
 */
typedef struct VdbCodec
{
	const VdbCodecOps *ops;		/* of its kind */
	VdbCodecKind kind;
	VdbMetric	metric;
	uint32_t	dims;			/* of the user's vectors */
	uint32_t	P;				/* code dimensions: dims rounded up to 8; sparse:
								 * entries of a code */
	uint32_t	hot_bits;		/* of a code dimension */
	uint32_t	hot_bytes;		/* of a hot code: P * hot_bits / 8 */
	uint32_t	node_coarse;	/* dense: the last so many dimensions of a node code
								 * have 10 bits, the others 12 */
	uint32_t	hi_bytes;		/* of a node code's two parts; pair scores */
	uint32_t	lo_bytes;		/* read the first alone */
	size_t		vector_bytes;	/* of a decoded vector */

	/* dense only */
	uint64_t	seed;			/* of the rotation, 0 for none */
	const float *center;		/* P floats, already rotated */
	float		base;			/* constant part of a score */
} VdbCodec;

/*
 * What accompanies a node code.  Dense: the decoded vector is scale * v +
 * center.  Sparse: values are scale * v.  Binary: add is the number of ones.
 */
typedef struct VdbNodeFactors
{
	float		scale;
	float		add;			/* see README.md, "Scores" */
	float		residual;		/* upper bound of the norm of x - decoded(x):
								 * L2 norm, or L1 norm under that metric; a
								 * bfloat16 */
} VdbNodeFactors;

typedef struct VdbHotFactors
{
	float		add;
	float		rescale;
} VdbHotFactors;

/*
 * A vector prepared for being compared with codes.  The arrays are the
 * caller's; vdb_query_bytes() says how much `hot` needs.
 */
typedef struct VdbQuery
{
	const VdbCodec *codec;
	void	   *vector;			/* in code space */
	void	   *hot;			/* what hot scores look at; dense: VDB_HOT_BLOCK
								 * layout, sparse: a hash table */
	uint32_t	hot_mask;		/* sparse: of that table */
	float		add;			/* like VdbNodeFactors.add */
	float		norm;			/* what the transformation returned */
	double		error;			/* upper bound of what rounding did to the
								 * vector, in the norm of a residual */
	float		hot_const;		/* dense: hot score = hot_const + add - rescale * */
	float		hot_mult;		/* (hot_mult * I - hot_sum), I the integer */
	float		hot_sum;		/* inner product */
	int32_t		hot_total;		/* dense: sum of the integers that hot has */
} VdbQuery;

/* An interval that holds the operator's distance. */
typedef struct VdbBounds
{
	double		lower;
	double		upper;
} VdbBounds;

/*
 * What a kind of codec can do; call it through the functions below, which say
 * what each one means.
 */
struct VdbCodecOps
{
	size_t		(*vector_size) (const VdbCodec *codec, const void *x);
	float		(*vector_score) (const VdbCodec *codec, const void *a, const void *b);
	double		(*vector_error) (const VdbCodec *codec, const void *a, const void *b);
	VdbNodeFactors (*encode_node) (const VdbCodec *codec, const void *x, float norm,
								   uint8_t *hi, uint8_t *lo);
	void		(*decode_node) (const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi,
								const uint8_t *lo, void *out);
	VdbHotFactors (*hot_of_node) (const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi,
								  const uint8_t *lo, void *scratch, uint8_t *code);
	void		(*decode_hot) (const VdbCodec *codec, VdbHotFactors f, const uint8_t *code,
							   void *out);
	float		(*pair_score) (const VdbCodec *codec, VdbNodeFactors fa, const uint8_t *a,
							   VdbNodeFactors fb, const uint8_t *b);
	size_t		(*query_bytes) (const VdbCodec *codec, const void *x);
	void		(*query_prepare) (VdbQuery *query);
	float		(*hot_score) (const VdbQuery *query, VdbHotFactors f, const uint8_t *code);
	float		(*node_score) (const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi,
							   const uint8_t *lo);
	VdbBounds	(*node_bounds) (const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi,
								float score);
};

/* --- all kinds ------------------------------------------------------------ */

/*
 * Is a hot code all there is to know of a vector?  Then it is the node code
 * too, its hi part, and hot factors are the node's add and scale.
 */
static inline bool
vdb_codec_hot_is_whole(const VdbCodec *codec)
{
	return codec->kind != VDB_CODEC_DENSE;
}

/* Bytes of a vector in code space. */
static inline size_t
vdb_vector_size(const VdbCodec *codec, const void *x)
{
	return codec->ops->vector_size(codec, x);
}

/* Score between two vectors in code space, as exact as float sums are. */
static inline float
vdb_vector_score(const VdbCodec *codec, const void *a, const void *b)
{
	return codec->ops->vector_score(codec, a, b);
}

/* Norm of the difference of two vectors, in the norm of a residual. */
static inline double
vdb_vector_error(const VdbCodec *codec, const void *a, const void *b)
{
	return codec->ops->vector_error(codec, a, b);
}

/*
 * x: a vector in code space, norm: what the transformation returned.  hi and
 * lo: hi_bytes and lo_bytes.
 */
static inline VdbNodeFactors
vdb_encode_node(const VdbCodec *codec, const void *x, float norm, uint8_t *hi, uint8_t *lo)
{
	VdbNodeFactors f = codec->ops->encode_node(codec, x, norm, hi, lo);

	f.residual = vdb_bfloat_load(vdb_bfloat_above(f.residual));
	return f;
}

/* The vector that a node code stands for: vector_bytes. */
static inline void
vdb_decode_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				void *out)
{
	codec->ops->decode_node(codec, f, hi, lo, out);
}

/*
 * The hot code, hot_bytes, of what a node code stands for.  scratch:
 * vector_bytes.
 */
static inline VdbHotFactors
vdb_hot_of_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				void *scratch, uint8_t *code)
{
	return codec->ops->hot_of_node(codec, f, hi, lo, scratch, code);
}

/* The vector that a hot code stands for: vector_bytes. */
static inline void
vdb_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, void *out)
{
	codec->ops->decode_hot(codec, f, code, out);
}

/* Score between two node codes by their hi parts alone, for building. */
static inline float
vdb_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const uint8_t *a, VdbNodeFactors fb,
			   const uint8_t *b)
{
	return codec->ops->pair_score(codec, fa, a, fb, b);
}

/* Bytes of VdbQuery.hot for a vector in code space. */
static inline size_t
vdb_query_bytes(const VdbCodec *codec, const void *x)
{
	return codec->ops->query_bytes(codec, x);
}

/*
 * Prepares query->vector (already filled) for hot and node scores.  norm: what
 * the transformation returned; it serves bounds alone.
 */
static inline void
vdb_query_prepare(VdbQuery *query, const VdbCodec *codec, float norm)
{
	query->codec = codec;
	query->norm = norm;
	codec->ops->query_prepare(query);
}

/*
 * Estimated score of a hot code; FLT_MAX where it is no number.  The code may
 * be any bytes: it is read while others write it.
 */
static inline float
vdb_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code)
{
	return query->codec->ops->hot_score(query, f, code);
}

/* Score of a node code, exact for the decoded vector up to rounding. */
static inline float
vdb_node_score(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo)
{
	return query->codec->ops->node_score(query, f, hi, lo);
}

/*
 * Bounds of the operator's distance between the query and the vector behind a
 * node code, given its node score.  Allow for rounding here, on the way to code
 * space and in the operator itself.
 */
static inline VdbBounds
vdb_node_bounds(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, float score)
{
	return query->codec->ops->node_bounds(query, f, hi, score);
}

/* --- dense ---------------------------------------------------------------- */

/*
 * Fills a codec.  center (P floats) must outlive it; NULL where only sizes are
 * asked for.
 */
extern void vdb_codec_init(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint64_t seed,
						   const float *center);

/*
 * Has a codec that has coded nothing yet make node codes with 10 bits in the last
 * `coarse` of P dimensions, of which a multiple of VDB_NODE_STEP are left with 12.
 * vdb_codec_init sets 0.
 */
#define VDB_NODE_STEP 64		/* what the widest kernels take at once */
extern void vdb_codec_set_node_coarse(VdbCodec *codec, uint32_t coarse);

/* Has hot codes, none of which there are yet, be of so many bits a dimension: 2, 4 or 8. */
extern void vdb_codec_set_hot_bits(VdbCodec *codec, uint32_t bits);

/*
 * Bounds of the operator's distance between the query and a vector, given the score of
 * a vector x that a code stands for, which is no farther from it than `residual`.  add:
 * of x; size: no less than the norms of the parts of x together, products with which the
 * score is the sum of (0 for one part, but under inner product); slack: what the score may
 * be wrong by besides.  Not for L1.
 */
extern VdbBounds vdb_codec_bounds(const VdbQuery *query, float add, double residual, double size,
								  double slack, float score);

/*
 * How far rounding may have moved a vector on its way to code space and back, in the
 * norm of the metric.  norm: what vdb_codec_transform returned; size: of the result.
 */
extern double vdb_codec_transform_error(const VdbCodec *codec, double norm, double size);

/* The term of a score that depends on one vector alone. */
extern float vdb_codec_score_add(const VdbCodec *codec, const float *x);

/* What an inner product counts in a score. */
static inline float
vdb_codec_ip_weight(const VdbCodec *codec)
{
	return codec->metric == VDB_METRIC_IP ? 1.0f : 2.0f;
}

/* dims rounded up to the code's granularity */
extern uint32_t vdb_codec_padded(uint32_t dims);

/* bits a dimension of the hot code, from metric and padded dimensions */
extern uint32_t vdb_codec_hot_bits(VdbMetric metric, uint32_t P);

/*
 * The user's vector (dims floats; for cosine any length but zero) to code
 * space, out[P].  Returns its L2 norm before centring, which for cosine is 1,
 * or 0 for a zero vector, or infinity where the squares of x are no match for
 * floats.
 */
extern float vdb_codec_transform(const VdbCodec *codec, const float *x, float *out);

/*
 * Like vdb_codec_transform without centring, added to sum[P]: how a build
 * finds the center.  scratch holds P floats.
 */
extern void vdb_codec_accumulate(const VdbCodec *codec, const float *x, float *scratch, double *sum);

/* The hot code of P floats in code space, usually a decoded node code. */
extern VdbHotFactors vdb_encode_hot(const VdbCodec *codec, const float *x, uint8_t *code);

/*
 * What rounding has left of a prepared query's vector: out[P].  If that is prepared in its
 * turn, products of both with a code are one of the query in 15 bits a coordinate.
 */
extern void vdb_query_rest(const VdbQuery *query, float *out);

/* The integers that a query of 8 bits was rounded to, in the order of dimensions: out[P]. */
extern void vdb_query_levels(const VdbQuery *query, int8_t *out);

/* The product of a prepared query with a hot code, times what it counts in a score. */
extern double vdb_query_product(const VdbQuery *query, float rescale, const uint8_t *code);

/* By how much that may be wrong, for each unit of the length of what the code stands for. */
extern double vdb_query_rounding(const VdbQuery *query);

/* --- binary --------------------------------------------------------------- */

/* metric: Hamming or Jaccard */
extern void vdb_codec_init_binary(VdbCodec *codec, VdbMetric metric, uint32_t dims);

/* (dims + 7) / 8 bytes with unused bits zero, to code space. */
extern void vdb_codec_transform_binary(const VdbCodec *codec, const uint8_t *bits, uint8_t *out);

/* --- sparse --------------------------------------------------------------- */

typedef struct VdbSparse
{
	uint32_t	count;			/* followed by uint32_t index[count], ascending, */
	uint32_t	reserved;		/* and float value[count] */
} VdbSparse;

/* Entries of a code; more are possible, fewer lose more of a vector. */
#define VDB_SPARSE_MIN_ENTRIES 8

static inline size_t
vdb_sparse_size(uint32_t count)
{
	return sizeof(VdbSparse) + (size_t) count * (sizeof(uint32_t) + sizeof(float));
}

static inline uint32_t *
vdb_sparse_index(const VdbSparse *x)
{
	return (uint32_t *) (x + 1);
}

static inline float *
vdb_sparse_value(const VdbSparse *x)
{
	return (float *) (vdb_sparse_index(x) + x->count);
}

/*
 * metric: any but Hamming and Jaccard.  A code has the `entries` largest of a
 * vector's values (even, at least VDB_SPARSE_MIN_ENTRIES).
 */
extern void vdb_codec_init_sparse(VdbCodec *codec, VdbMetric metric, uint32_t dims,
								  uint32_t entries);

/*
 * count indices (ascending, from 0) with their values to code space: out has
 * vdb_sparse_size(count) bytes.  Returns what vdb_codec_transform does.
 */
extern float vdb_codec_transform_sparse(const VdbCodec *codec, uint32_t count,
										const uint32_t *index, const float *value, VdbSparse *out);

#endif							/* VDB_CODEC_H */
