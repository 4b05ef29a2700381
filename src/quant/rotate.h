/*
 * rotate.h
 *	  Rotations: a seeded random one that costs O(P log P) and stores nothing, and any other,
 *	  by its matrix.
 */
#ifndef VDB_ROTATE_H
#define VDB_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Rotates x in place.  P is a multiple of 8.  The map is orthonormal (norms
 * and inner products are kept up to float rounding) and depends on (P, seed)
 * only.  seed 0 is the identity.
 */
extern void vdb_rotate(size_t P, uint64_t seed, float *x);

/* Vectors of more dimensions are not rotated by a matrix: that costs P * P, and as much memory. */
#define VDB_ROTATE_MAX_DIMS 2000

/*
 * Rotates n vectors, one behind the other, by a matrix of P * P floats: a row of it for each
 * dimension of the result.  The same to the last bit on every machine, and for vectors one by one.
 */
extern void vdb_rotate_by(size_t P, const float *matrix, size_t n, const float *x, float *out);

/* Are the rows of a matrix as long as those of a rotation are? */
extern bool vdb_rotate_is_sound(size_t P, const float *matrix);

#endif							/* VDB_ROTATE_H */
