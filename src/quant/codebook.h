/*
 * codebook.h
 *	  A product quantiser of 4 bits a part: 16 centroids for each, and k-means for them.
 *
 * A vector is cut into parts of consecutive dimensions, as equal in length as can be, and
 * each part is coded by the nearest of its own centroids (Jegou, Douze and Schmid, 2011).
 * What is coded has one length, that of a vector whose dimensions have a mean square of 1.
 * Memory is the caller's, as in codec.h.
 */
#ifndef VDB_CODEBOOK_H
#define VDB_CODEBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Centroids of a part: what 4 bits tell apart. */
#define VDB_CODEBOOK_SIZE 16

typedef struct VdbCodebook
{
	uint32_t	dims;			/* of a vector */
	uint32_t	parts;			/* an even number, at most dims */
	const float *values;		/* of each dimension those of the centroids of its part */
} VdbCodebook;

/* Floats of a codebook. */
static inline size_t
vdb_codebook_values(uint32_t dims)
{
	return (size_t) VDB_CODEBOOK_SIZE * dims;
}

/* Where a part begins, and the one before it ends. */
static inline uint32_t
vdb_codebook_first(const VdbCodebook *book, uint32_t part)
{
	return (uint32_t) ((uint64_t) part * book->dims / book->parts);
}

/* Dimensions of a part. */
static inline uint32_t
vdb_codebook_width(const VdbCodebook *book, uint32_t part)
{
	return vdb_codebook_first(book, part + 1) - vdb_codebook_first(book, part);
}

/* Are all values such as centroids can have? */
extern bool vdb_codebook_is_sound(const VdbCodebook *book);

/* The centroid of a part that is nearest to x, of that part, scaled by a factor. */
extern int	vdb_codebook_nearest(const VdbCodebook *book, uint32_t part, const float *x,
								 float factor);

/* Products of x, of a part, with all centroids of that. */
extern void vdb_codebook_products(const VdbCodebook *book, uint32_t part, const float *x,
								  float *out);

/*
 * Makes the centroids of a part, among `values`, which are the book's, the means of
 * clusters of n vectors, n >= VDB_CODEBOOK_SIZE, in no order.  x: of the first vector,
 * this part; the others are `stride` floats apart.  sums: scratch, as many as values of
 * the part.
 */
extern void vdb_codebook_train(const VdbCodebook *book, uint32_t part, uint32_t n, const float *x,
							   size_t stride, float *sums, float *values);

/*
 * What stands for vectors of which nothing is known: rotated at random, their entries are
 * as good as normally distributed.  The same n floats every time.
 */
extern void vdb_codebook_normal(size_t n, float *out);

#endif							/* VDB_CODEBOOK_H */
