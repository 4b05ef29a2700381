/*
 * vector_distance.c
 *	  What the distance operators compute, on plain floats.
 *
 * The SQL functions and the indexes share these, so an index that measures a
 * row gets the number the operator would return.  A sum too large for float4
 * gives Infinity or NaN, no error, as it does in pgvector.
 */
#include "postgres.h"

#include <math.h>

#include "distance/distance.h"
#include "types/vector.h"

double
vdb_vector_distance_l2(int dims, const float *a, const float *b)
{
	return sqrt((double) vdb_kernels->l2_squared(dims, a, b));
}

/* The negative inner product, so that smaller is nearer. */
double
vdb_vector_distance_ip(int dims, const float *a, const float *b)
{
	return (double) -vdb_kernels->inner_product(dims, a, b);
}

/* NaN when a vector is zero or a sum is out of range. */
double
vdb_vector_distance_cosine(int dims, const float *a, const float *b)
{
	VdbCosineParts parts = vdb_kernels->cosine(dims, a, b);
	double		similarity = (double) parts.ip / sqrt((double) parts.aa * (double) parts.bb);

	/* rounding may take it out of bounds; both tests let NaN pass */
	if (similarity > 1)
		similarity = 1;
	else if (similarity < -1)
		similarity = -1;
	return 1 - similarity;
}

double
vdb_vector_distance_l1(int dims, const float *a, const float *b)
{
	return (double) vdb_kernels->l1(dims, a, b);
}
