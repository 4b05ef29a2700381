/*
 * dense.h
 *	  What the types vector and halfvec have in common: a varlena with all
 *	  elements one after the other, and functions that do the same for both.
 *
 * The functions compute with floats.  A vector's elements are floats; those of a
 * halfvec are converted before and after, which the description of the type says
 * how to do.
 */
#ifndef VDB_DENSE_H
#define VDB_DENSE_H

#include "fmgr.h"

#include "compat.h"

#define VDB_DENSE_MAX_DIM 16000

/* Either type's varlena; the elements are as the type has them. */
typedef struct VdbDense
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int16		dim;			/* 1 .. VDB_DENSE_MAX_DIM */
	int16		unused;			/* always zero */
	char		x[FLEXIBLE_ARRAY_MEMBER];
} VdbDense;

typedef struct VdbDenseType
{
	const char *name;
	Size		element_size;

	/* the least number that rounds to infinity, the largest one that rounds to 0 */
	float4		overflow;
	float4		underflow;

	/* conversions of dim elements; NULL where elements are floats */
	void		(*to_floats) (int dim, const void *x, float4 *floats);
	void		(*from_floats) (int dim, const float4 *floats, void *x);

	/* -1, 0 or 1, as the dim elements of a sort before, like or after those of b */
	int			(*compare) (int dim, const void *a, const void *b);
} VdbDenseType;

extern void vdb_dense_report_damage(const VdbDenseType *type);

/*
 * The value in one piece, perhaps a copy.  Raises unless it is as long as its
 * number of dimensions says: no function reads past an end.
 */
static inline VdbDense *
vdb_dense_detoast(const VdbDenseType *type, Datum value)
{
	VdbDense   *a = (VdbDense *) PG_DETOAST_DATUM(value);

	if (unlikely(VARSIZE(a) < offsetof(VdbDense, x) || a->dim < 1 ||
				 VARSIZE(a) != offsetof(VdbDense, x) + type->element_size * a->dim))
		vdb_dense_report_damage(type);
	return a;
}

#define PG_GETARG_VDB_DENSE_P(type, n) vdb_dense_detoast(type, PG_GETARG_DATUM(n))

/* Defines the SQL function `name` as what `function` does with values of `type`. */
#define VDB_DENSE_FUNCTION(name, function, type) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return function(fcinfo, &(type)); \
	}

/* The same for a comparison: `operator` is one of C's. */
#define VDB_DENSE_COMPARISON(name, operator, type) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		PG_RETURN_BOOL(vdb_dense_compare(fcinfo, &(type)) operator 0); \
	}

/* dense.c */
extern VdbDense *vdb_dense_create(const VdbDenseType *type, int dim);
extern VdbDense *vdb_dense_form(const VdbDenseType *type, int dim, const float4 *x);
extern const float4 *vdb_dense_get_floats(const VdbDenseType *type, const VdbDense *a);
extern float4 *vdb_dense_begin_floats(const VdbDenseType *type, VdbDense *result);
extern void vdb_dense_end_floats(const VdbDenseType *type, VdbDense *result, float4 *x);

extern void vdb_dense_check_dim(const VdbDenseType *type, int dim);
extern void vdb_dense_check_same_dims(const VdbDenseType *type, int a, int b);
extern void vdb_dense_check_typmod(int32 typmod, int dim);
extern void vdb_dense_check_floats(const VdbDenseType *type, int dim, const float4 *x);

extern Datum vdb_dense_in(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_out(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_typmod_in(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_recv(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_send(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_l2_norm(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_l2_normalize(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_binary_quantize(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_subvector(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_add(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_sub(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_mul(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_concat(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern int	vdb_dense_compare(FunctionCallInfo fcinfo, const VdbDenseType *type);

/* dense_agg.c */
extern Datum vdb_dense_accum(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_avg(FunctionCallInfo fcinfo, const VdbDenseType *type);

/* dense_cast.c */
extern Datum vdb_dense_from_array(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_to_float4(FunctionCallInfo fcinfo, const VdbDenseType *type);
extern Datum vdb_dense_to_float8(FunctionCallInfo fcinfo, const VdbDenseType *type);

#endif							/* VDB_DENSE_H */
