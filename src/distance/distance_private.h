/*
 * distance_private.h
 *	  What the files of this folder share among themselves: the names of the
 *	  kernel tables and the few scalar helpers that the vector files need for
 *	  the ends of their loops.  Nobody outside includes it.
 */
#ifndef VDB_DISTANCE_PRIVATE_H
#define VDB_DISTANCE_PRIVATE_H

#include "distance.h"

#include <string.h>

extern const VdbKernels vdb_kernels_scalar;

/*
 * VDB_SIMDE is set only by the unit test that runs the AVX-512 kernels through
 * an emulation; see README.md.
 */
#if defined(__x86_64__) || defined(VDB_SIMDE)
#define VDB_HAVE_X86_KERNELS
extern const VdbKernels vdb_kernels_avx2;
extern const VdbKernels vdb_kernels_avx512;
#endif

/*
 * Float access without an alignment promise.  Compiles to the plain load or
 * store wherever the machine allows one.
 */
static inline float
vdb_distance_load_f32(const float *p)
{
	float		f;

	memcpy(&f, p, sizeof(f));
	return f;
}

/* The same for 32 and 64 bits of anything. */
static inline uint32_t
vdb_distance_load_u32(const void *p)
{
	uint32_t	v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t
vdb_distance_load_u64(const void *p)
{
	uint64_t	v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
vdb_distance_store_f32(float *p, float f)
{
	memcpy(p, &f, sizeof(f));
}

/* The value v of dimension d of a node code. */
static inline int32_t
vdb_distance_node_value(const int8_t *hi, const uint8_t *lo, size_t d)
{
	return 16 * hi[d] + ((lo[d / 2] >> (d % 2 * 4)) & 15) - 8;
}

#endif							/* VDB_DISTANCE_PRIVATE_H */
