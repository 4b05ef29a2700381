/*
 * vector.h
 *	  The type vector as other modules see it: its varlena and its distances.
 */
#ifndef VDB_VECTOR_H
#define VDB_VECTOR_H

#include "fmgr.h"

#include "types/dense.h"

#define VDB_VECTOR_MAX_DIM VDB_DENSE_MAX_DIM

/*
 * The layout is pgvector's, on disk and in memory.  Elements are finite; dim
 * is 1 .. VDB_VECTOR_MAX_DIM.
 */
typedef struct VdbVector
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int16		dim;
	int16		unused;			/* always zero */
	float4		x[FLEXIBLE_ARRAY_MEMBER];
} VdbVector;

#define DatumGetVdbVectorP(d) ((VdbVector *) vdb_dense_detoast(&vdb_vector_type, d))
#define PG_GETARG_VDB_VECTOR_P(n) DatumGetVdbVectorP(PG_GETARG_DATUM(n))

/* vector.c */
extern const VdbDenseType vdb_vector_type;

/* dense_distance.c */
extern double vdb_vector_distance_l2(int dims, const float *a, const float *b);
extern double vdb_vector_distance_l2_squared(int dims, const float *a, const float *b);
extern double vdb_vector_distance_ip(int dims, const float *a, const float *b);
extern double vdb_vector_distance_cosine(int dims, const float *a, const float *b);
extern double vdb_vector_distance_l1(int dims, const float *a, const float *b);
extern double vdb_vector_distance_spherical(int dims, const float *a, const float *b);

#endif							/* VDB_VECTOR_H */
