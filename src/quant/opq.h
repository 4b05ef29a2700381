/*
 * opq.h
 *	  A rotation after which products stand for vectors better, learned from some of them.
 *
 * Products code each part of a vector by itself, so they are as good as the axes along which
 * it is cut: optimised product quantisation (Ge, He, Ke and Sun, 2013).  Memory is the
 * caller's, as in codec.h, and so are products of matrices.
 */
#ifndef VDB_OPQ_H
#define VDB_OPQ_H

#include "quant/codebook.h"

/* Whom a long computation asks. */
typedef struct VdbOpqHost
{
	/*
	 * out[i * n + j] becomes the product of row i of a, of m, with row j of b, of n, all of
	 * `dims` floats.
	 */
	void		(*multiply) (void *state, size_t dims, size_t m, const float *a, size_t n,
							 const float *b, float *out);
	void		(*pause) (void);	/* called every few milliseconds; both may raise */
	void	   *state;
} VdbOpqHost;

/* Floats of scratch that learning a rotation takes. */
extern size_t vdb_opq_scratch(uint32_t dims);

/*
 * Brings a matrix of P * P floats that is nearly orthogonal, with products of rows off by less than
 * 0.1, to the orthogonal one that is nearest, its polar factor.  scratch: 2 * P * P floats.
 */
extern void vdb_opq_polar(size_t P, float *x, const VdbOpqHost *host, float *scratch);

/*
 * Fills a rotation of book->dims * book->dims floats (see rotate.h) for products of the book's
 * parts, from n vectors, one behind the other, which stay.
 */
extern void vdb_opq_learn(const VdbCodebook *book, uint32_t n, const float *x, const VdbOpqHost *host,
						  float *scratch, float *rotation);

#endif							/* VDB_OPQ_H */
