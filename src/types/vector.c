/*
 * vector.c
 *	  The SQL functions of the type vector: what dense.c, dense_agg.c and
 *	  dense_cast.c do for both types, and the distances.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"

#include "compat.h"
#include "distance/distance.h"
#include "types/dense.h"
#include "types/vector.h"

StaticAssertDecl(offsetof(VdbVector, x) == offsetof(VdbDense, x), "vector is a dense type");

static int	compare_floats(int dim, const void *a, const void *b);

const VdbDenseType vdb_vector_type = {
	.name = "vector",
	.element_size = sizeof(float4),
	.overflow = INFINITY,
	.underflow = 0,
	.compare = compare_floats
};

static int
compare_floats(int dim, const void *a, const void *b)
{
	const float4 *x = a;
	const float4 *y = b;

	for (int i = 0; i < dim; i++)
	{
		if (x[i] < y[i])
			return -1;
		if (x[i] > y[i])
			return 1;
	}
	return 0;
}

/*
 * Input and output
 */

VDB_DENSE_FUNCTION(vdb_vector_in, vdb_dense_in, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_out, vdb_dense_out, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_typmod_in, vdb_dense_typmod_in, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_recv, vdb_dense_recv, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_send, vdb_dense_send, vdb_vector_type)

/*
 * Casts
 */

VDB_DENSE_FUNCTION(vdb_array_to_vector, vdb_dense_from_array, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_to_float4, vdb_dense_to_float4, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_to_float8, vdb_dense_to_float8, vdb_vector_type)

/*
 * Properties and parts, arithmetic, aggregates
 */

VDB_DENSE_FUNCTION(vdb_vector_l2_norm, vdb_dense_l2_norm, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_l2_normalize, vdb_dense_l2_normalize, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_binary_quantize, vdb_dense_binary_quantize, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_subvector, vdb_dense_subvector, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_add, vdb_dense_add, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_sub, vdb_dense_sub, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_mul, vdb_dense_mul, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_concat, vdb_dense_concat, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_accum, vdb_dense_accum, vdb_vector_type)
VDB_DENSE_FUNCTION(vdb_vector_avg, vdb_dense_avg, vdb_vector_type)

/*
 * Comparison
 */

VDB_DENSE_COMPARISON(vdb_vector_lt, <, vdb_vector_type)
VDB_DENSE_COMPARISON(vdb_vector_le, <=, vdb_vector_type)
VDB_DENSE_COMPARISON(vdb_vector_eq, ==, vdb_vector_type)
VDB_DENSE_COMPARISON(vdb_vector_ne, !=, vdb_vector_type)
VDB_DENSE_COMPARISON(vdb_vector_ge, >=, vdb_vector_type)
VDB_DENSE_COMPARISON(vdb_vector_gt, >, vdb_vector_type)

PG_FUNCTION_INFO_V1(vdb_vector_cmp);
Datum
vdb_vector_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(vdb_dense_compare(fcinfo, &vdb_vector_type));
}

/*
 * Distances.  What they compute is in dense_distance.c, where indexes find it.
 */

/* The distance of the two arguments. */
static inline double
measure(FunctionCallInfo fcinfo, double (*distance) (int dims, const float *a, const float *b))
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_dense_check_same_dims(&vdb_vector_type, a->dim, b->dim);
	return distance(a->dim, a->x, b->x);
}

PG_FUNCTION_INFO_V1(vdb_vector_l2_distance);
Datum
vdb_vector_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_l2));
}

/* Orders as l2_distance does, without the square root. */
PG_FUNCTION_INFO_V1(vdb_vector_l2_squared_distance);
Datum
vdb_vector_l2_squared_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_l2_squared));
}

PG_FUNCTION_INFO_V1(vdb_vector_inner_product);
Datum
vdb_vector_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(-measure(fcinfo, vdb_vector_distance_ip));
}

PG_FUNCTION_INFO_V1(vdb_vector_negative_inner_product);
Datum
vdb_vector_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_ip));
}

PG_FUNCTION_INFO_V1(vdb_vector_cosine_distance);
Datum
vdb_vector_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_cosine));
}

PG_FUNCTION_INFO_V1(vdb_vector_l1_distance);
Datum
vdb_vector_l1_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_l1));
}

PG_FUNCTION_INFO_V1(vdb_vector_spherical_distance);
Datum
vdb_vector_spherical_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_vector_distance_spherical));
}
