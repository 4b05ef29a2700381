/*
 * halfvec.c
 *	  The SQL functions of the type halfvec: what dense.c, dense_agg.c and
 *	  dense_cast.c do for both types, and the distances.
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "distance/distance.h"
#include "types/dense.h"
#include "types/halfvec.h"

StaticAssertDecl(offsetof(VdbHalfvec, x) == offsetof(VdbDense, x), "halfvec is a dense type");

static void halfs_to_floats(int dim, const void *x, float4 *floats);
static void floats_to_halfs(int dim, const float4 *floats, void *x);
static int	compare_halfs(int dim, const void *a, const void *b);

/*
 * The largest half is 65504 and the next would be 65536; the least is 2^-24.  What
 * is halfway goes to the one whose last bit is zero: to infinity, to 0.
 */
const VdbDenseType vdb_halfvec_type = {
	.name = "halfvec",
	.element_size = sizeof(uint16),
	.overflow = 65520,
	.underflow = 0x1p-25f,
	.to_floats = halfs_to_floats,
	.from_floats = floats_to_halfs,
	.compare = compare_halfs
};

static void
halfs_to_floats(int dim, const void *x, float4 *floats)
{
	vdb_kernels->half_to_float(dim, x, floats);
}

static void
floats_to_halfs(int dim, const float4 *floats, void *x)
{
	vdb_kernels->float_to_half(dim, floats, x);
}

/* An integer for each half, in their order: 0 for both zeros. */
static inline int
half_rank(uint16 half)
{
	int			magnitude = half & 0x7fff;

	return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static int
compare_halfs(int dim, const void *a, const void *b)
{
	const uint16 *x = a;
	const uint16 *y = b;

	for (int i = 0; i < dim; i++)
	{
		int			difference = half_rank(x[i]) - half_rank(y[i]);

		if (difference != 0)
			return difference < 0 ? -1 : 1;
	}
	return 0;
}

/*
 * Input and output
 */

VDB_DENSE_FUNCTION(vdb_halfvec_in, vdb_dense_in, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_out, vdb_dense_out, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_typmod_in, vdb_dense_typmod_in, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_recv, vdb_dense_recv, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_send, vdb_dense_send, vdb_halfvec_type)

/*
 * Casts
 */

VDB_DENSE_FUNCTION(vdb_array_to_halfvec, vdb_dense_from_array, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_to_float4, vdb_dense_to_float4, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_to_float8, vdb_dense_to_float8, vdb_halfvec_type)

/*
 * Properties and parts, arithmetic, aggregates
 */

VDB_DENSE_FUNCTION(vdb_halfvec_l2_norm, vdb_dense_l2_norm, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_l2_normalize, vdb_dense_l2_normalize, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_binary_quantize, vdb_dense_binary_quantize, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_subvector, vdb_dense_subvector, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_add, vdb_dense_add, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_sub, vdb_dense_sub, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_mul, vdb_dense_mul, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_concat, vdb_dense_concat, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_accum, vdb_dense_accum, vdb_halfvec_type)
VDB_DENSE_FUNCTION(vdb_halfvec_avg, vdb_dense_avg, vdb_halfvec_type)

/*
 * Comparison
 */

VDB_DENSE_COMPARISON(vdb_halfvec_lt, <, vdb_halfvec_type)
VDB_DENSE_COMPARISON(vdb_halfvec_le, <=, vdb_halfvec_type)
VDB_DENSE_COMPARISON(vdb_halfvec_eq, ==, vdb_halfvec_type)
VDB_DENSE_COMPARISON(vdb_halfvec_ne, !=, vdb_halfvec_type)
VDB_DENSE_COMPARISON(vdb_halfvec_ge, >=, vdb_halfvec_type)
VDB_DENSE_COMPARISON(vdb_halfvec_gt, >, vdb_halfvec_type)

PG_FUNCTION_INFO_V1(vdb_halfvec_cmp);
Datum
vdb_halfvec_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(vdb_dense_compare(fcinfo, &vdb_halfvec_type));
}

/*
 * Distances.  What they compute is in dense_distance.c, where indexes find it.
 */

/* The distance of the two arguments. */
static inline double
measure(FunctionCallInfo fcinfo, double (*distance) (int dims, const uint16 *a, const uint16 *b))
{
	VdbHalfvec  *a = PG_GETARG_VDB_HALFVEC_P(0);
	VdbHalfvec  *b = PG_GETARG_VDB_HALFVEC_P(1);

	vdb_dense_check_same_dims(&vdb_halfvec_type, a->dim, b->dim);
	return distance(a->dim, a->x, b->x);
}

PG_FUNCTION_INFO_V1(vdb_halfvec_l2_distance);
Datum
vdb_halfvec_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_l2));
}

/* Orders as l2_distance does, without the square root. */
PG_FUNCTION_INFO_V1(vdb_halfvec_l2_squared_distance);
Datum
vdb_halfvec_l2_squared_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_l2_squared));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_inner_product);
Datum
vdb_halfvec_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(-measure(fcinfo, vdb_halfvec_distance_ip));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_negative_inner_product);
Datum
vdb_halfvec_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_ip));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_cosine_distance);
Datum
vdb_halfvec_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_cosine));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_l1_distance);
Datum
vdb_halfvec_l1_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_l1));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_spherical_distance);
Datum
vdb_halfvec_spherical_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(measure(fcinfo, vdb_halfvec_distance_spherical));
}
