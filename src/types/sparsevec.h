/*
 * sparsevec.h
 *	  The type sparsevec as other modules see it: its varlena and the checks that
 *	  every producer of one must make.
 */
#ifndef VDB_SPARSEVEC_H
#define VDB_SPARSEVEC_H

#include "fmgr.h"

#define VDB_SPARSEVEC_MAX_DIM 1000000000
#define VDB_SPARSEVEC_MAX_NNZ 16000

/*
 * The layout is pgvector's, on disk and in memory.  The indices count from 0,
 * ascend, and are below dim.  The nnz values follow them, all finite and none of
 * them zero; see vdb_sparsevec_values().
 */
typedef struct VdbSparsevec
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int32		dim;			/* 1 .. VDB_SPARSEVEC_MAX_DIM */
	int32		nnz;			/* 0 .. VDB_SPARSEVEC_MAX_NNZ, at most dim */
	int32		unused;			/* always zero */
	int32		indices[FLEXIBLE_ARRAY_MEMBER];
} VdbSparsevec;

#define VDB_SPARSEVEC_SIZE(nnz) \
	(offsetof(VdbSparsevec, indices) + (sizeof(int32) + sizeof(float4)) * (Size) (nnz))

static inline float4 *
vdb_sparsevec_values(const VdbSparsevec *vector)
{
	return (float4 *) (vector->indices + vector->nnz);
}

#define DatumGetVdbSparsevecP(d) vdb_sparsevec_detoast(d)
#define PG_GETARG_VDB_SPARSEVEC_P(n) DatumGetVdbSparsevecP(PG_GETARG_DATUM(n))

/* sparsevec.c */
extern VdbSparsevec *vdb_sparsevec_create(int dim, int nnz);
extern VdbSparsevec *vdb_sparsevec_detoast(Datum datum);
extern void vdb_sparsevec_check_dim(int dim);
extern void vdb_sparsevec_check_nnz(int nnz, int dim);
extern void vdb_sparsevec_check_same_dims(const VdbSparsevec *a, const VdbSparsevec *b);
extern void vdb_sparsevec_check_values(const VdbSparsevec *vector);
extern int	vdb_sparsevec_compare(const VdbSparsevec *a, const VdbSparsevec *b);

/* sparsevec_distance.c */
extern double vdb_sparsevec_distance_l2(const VdbSparsevec *a, const VdbSparsevec *b);
extern double vdb_sparsevec_distance_ip(const VdbSparsevec *a, const VdbSparsevec *b);
extern double vdb_sparsevec_distance_cosine(const VdbSparsevec *a, const VdbSparsevec *b);
extern double vdb_sparsevec_distance_l1(const VdbSparsevec *a, const VdbSparsevec *b);
extern double vdb_sparsevec_l2_squared(const VdbSparsevec *a, const VdbSparsevec *b);
extern double vdb_sparsevec_l2_norm(const VdbSparsevec *a);

#endif							/* VDB_SPARSEVEC_H */
