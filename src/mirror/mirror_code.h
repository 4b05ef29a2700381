/*
 * mirror_code.h
 *	  What a mirror has of a row: a code of eight bits a dimension, and numbers that say how far the
 *	  vector may be from it.
 *
 * Pure C: no server header.  The claim is about what the operator returns, with its own rounding: no row's
 * distance is below its lower bound.
 */
#ifndef VDB_MIRROR_CODE_H
#define VDB_MIRROR_CODE_H

#include "quant/codec.h"

/* Rows that are looked at together. */
#define VDB_MIRROR_BLOCK 128

/* Of one row, beside its code. */
typedef struct VdbMirrorFactors
{
	float		add;			/* to its score, see quant/README.md; infinity: the row comes after all others */
	float		rescale;		/* of the code */
	float		residual;		/* the vector is no farther from what the code stands for, */
	float		length;			/* which is no longer than this */
} VdbMirrorFactors;

/* Rows one behind the other: columns of factors, and of codes, hot_bytes each. */
typedef struct VdbMirrorRows
{
	const float *add;
	const float *rescale;
	const float *residual;
	const float *length;
	const uint8_t *codes;
} VdbMirrorRows;

/* What bounds by the first product alone are computed with, here and on a device. */
typedef struct VdbMirrorRough
{
	float		constant;		/* of all scores */
	float		mult;			/* of products */
	float		unsure;			/* for each unit of a code's length: what the question's rest is, and what floats round */
	float		size;			/* what floats round of what is the question's */
	float		relative;		/* and of the largest term of a sum */
	float		residual_weight;	/* what a row's residual counts */
	float		error;			/* what the question's own is */
	float		center;			/* its length */
	int32_t		total;			/* what products have too much, twice */
	int32_t		is_product;		/* 1: the metric is that of inner products, 0: it is another one */
} VdbMirrorRough;

/* A question.  The memory that it takes, vdb_mirror_question_bytes, is the caller's. */
typedef struct VdbMirrorQuestion
{
	VdbQuery	query;			/* in eight bits a dimension, */
	VdbQuery	rest;			/* and what these leave, in eight more */
	double		rounding;		/* of both together, for each unit of a code's length */
	VdbMirrorRough rough;		/* vdb_query_levels(&query) is what a code is multiplied with */
} VdbMirrorQuestion;

/* Fills the codec of a mirror, which must be of dense vectors and not of L1. center: P floats that outlive it. */
extern void vdb_mirror_codec_init(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint64_t seed,
								  const float *center);

/* A row, which is a vector in code space and its norm: hot_bytes of code.  scratch: P floats. */
extern VdbMirrorFactors vdb_mirror_encode(const VdbCodec *codec, const float *x, float norm,
										  float *scratch, uint8_t *code);

/* Factors of a row that comes after all others, or, where its distance may be any, before them. */
extern VdbMirrorFactors vdb_mirror_last(void);
extern VdbMirrorFactors vdb_mirror_any(void);

extern size_t vdb_mirror_question_bytes(const VdbCodec *codec);

/* vector: P floats in code space, and their norm; must outlive the question, as the memory must. */
extern void vdb_mirror_ask(VdbMirrorQuestion *question, const VdbCodec *codec, float *vector, float norm,
						   void *memory);

/*
 * Products of questions, each as vdb_query_levels() says, one behind the other, with n rows, at most VDB_MIRROR_BLOCK:
 * products[i * n + j] of question i and row j.  panel: memory of vdb_mirror_panel_bytes.
 */
extern size_t vdb_mirror_panel_bytes(const VdbCodec *codec);
extern void vdb_mirror_products(const VdbCodec *codec, const VdbMirrorRows *rows, size_t n, size_t nq,
								const int8_t *levels, uint8_t *panel, int32_t *products);

/*
 * Those of n rows, at most VDB_MIRROR_BLOCK, whose lower bound of the distance is not above this: their numbers,
 * ascending, and these bounds.  Returns how many.
 *
 * A row's bound is the same in each call at one level of kernels.  products: of the question with these rows, or NULL.
 */
extern size_t vdb_mirror_select(const VdbMirrorQuestion *question, const VdbMirrorRows *rows, size_t n,
								const int32_t *products, double most, uint32_t *numbers, double *lower);

/*
 * Bounds of n rows, at most VDB_MIRROR_BLOCK, by the first product, in the space of code vectors: not above what
 * vdb_mirror_select says.  Of rows that come after all others it is not known.  products: as there.
 */
extern void vdb_mirror_bound_roughly(const VdbMirrorQuestion *question, const VdbMirrorRows *rows, size_t n,
									 const int32_t *products, float *bounds);

/* The rough bound that rows of this distance may have: those whose rough bound is above are farther away. */
extern float vdb_mirror_rough_limit(const VdbMirrorQuestion *question, double distance);

#endif							/* VDB_MIRROR_CODE_H */
