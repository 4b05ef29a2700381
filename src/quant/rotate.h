/*
 * rotate.h
 *	  A seeded random rotation that costs O(P log P) and stores nothing.
 */
#ifndef VDB_ROTATE_H
#define VDB_ROTATE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Rotates x in place.  P is a multiple of 8.  The map is orthonormal (norms
 * and inner products are kept up to float rounding) and depends on (P, seed)
 * only.  seed 0 is the identity.
 */
extern void vdb_rotate(size_t P, uint64_t seed, float *x);

#endif							/* VDB_ROTATE_H */
