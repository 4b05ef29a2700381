/*
 * halfvec.h
 *	  The type halfvec as other modules see it: its varlena and its distances.
 */
#ifndef VDB_HALFVEC_H
#define VDB_HALFVEC_H

#include "fmgr.h"

#include "types/dense.h"

#define VDB_HALFVEC_MAX_DIM VDB_DENSE_MAX_DIM

/*
 * The layout is pgvector's, on disk and in memory.  Elements are the bits of
 * IEEE 754 binary16, finite; dim is 1 .. VDB_HALFVEC_MAX_DIM.  To floats and
 * back: vdb_kernels->half_to_float and float_to_half.
 */
typedef struct VdbHalfvec
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int16		dim;
	int16		unused;			/* always zero */
	uint16		x[FLEXIBLE_ARRAY_MEMBER];
} VdbHalfvec;

#define DatumGetVdbHalfvecP(d) ((VdbHalfvec *) vdb_dense_detoast(&vdb_halfvec_type, d))
#define PG_GETARG_VDB_HALFVEC_P(n) DatumGetVdbHalfvecP(PG_GETARG_DATUM(n))

/* halfvec.c */
extern const VdbDenseType vdb_halfvec_type;

/* dense_distance.c */
extern double vdb_halfvec_distance_l2(int dims, const uint16 *a, const uint16 *b);
extern double vdb_halfvec_distance_l2_squared(int dims, const uint16 *a, const uint16 *b);
extern double vdb_halfvec_distance_ip(int dims, const uint16 *a, const uint16 *b);
extern double vdb_halfvec_distance_cosine(int dims, const uint16 *a, const uint16 *b);
extern double vdb_halfvec_distance_l1(int dims, const uint16 *a, const uint16 *b);
extern double vdb_halfvec_distance_spherical(int dims, const uint16 *a, const uint16 *b);

#endif							/* VDB_HALFVEC_H */
