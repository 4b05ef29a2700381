/*
 * vector.h
 *	  The type vector as other modules see it: its varlena and the checks that
 *	  every producer of one must make.
 */
#ifndef VDB_VECTOR_H
#define VDB_VECTOR_H

#include "fmgr.h"
#include "utils/array.h"

#define VDB_VECTOR_MAX_DIM 16000

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

#define VDB_VECTOR_SIZE(dim) (offsetof(VdbVector, x) + sizeof(float4) * (Size) (dim))

#define DatumGetVdbVectorP(d) ((VdbVector *) PG_DETOAST_DATUM(d))
#define PG_GETARG_VDB_VECTOR_P(n) DatumGetVdbVectorP(PG_GETARG_DATUM(n))

/* vector.c */
extern VdbVector *vdb_vector_create(int dim);
extern void vdb_vector_check_dim(int dim);
extern void vdb_vector_check_same_dims(const VdbVector *a, const VdbVector *b);
extern void vdb_vector_check_typmod(int32 typmod, int dim);
extern void vdb_vector_check_elements(const VdbVector *vector);
extern int	vdb_vector_compare(const VdbVector *a, const VdbVector *b);
extern double vdb_vector_l2_norm(const VdbVector *a);

/* vector_cast.c */
extern int	vdb_array_count_numbers(ArrayType *array);
extern ArrayType *vdb_array_create_floats(int count);
extern void vdb_array_read_numbers(ArrayType *array, int count, float4 *x);

/* dense_distance.c */
extern double vdb_vector_distance_l2(int dims, const float *a, const float *b);
extern double vdb_vector_distance_ip(int dims, const float *a, const float *b);
extern double vdb_vector_distance_cosine(int dims, const float *a, const float *b);
extern double vdb_vector_distance_l1(int dims, const float *a, const float *b);

#endif							/* VDB_VECTOR_H */
