/*
 * sparsevec_distance.c
 *	  What the distance operators compute on sparse vectors.
 *
 * The SQL functions and the indexes share these, so an index that measures a
 * row gets the number the operator would return.  Sums are taken in double, in
 * which neither a square of a float4 nor 32,000 of them are out of range.
 */
#include "postgres.h"

#include <math.h>

#include "distance/distance.h"
#include "types/sparsevec.h"

static double sum_squares(const VdbSparsevec *a);

double
vdb_sparsevec_l2_squared(const VdbSparsevec *a, const VdbSparsevec *b)
{
	return vdb_kernels->sparse_l2_squared(a->nnz, a->indices, vdb_sparsevec_values(a),
										  b->nnz, b->indices, vdb_sparsevec_values(b));
}

double
vdb_sparsevec_distance_l2(const VdbSparsevec *a, const VdbSparsevec *b)
{
	return sqrt(vdb_sparsevec_l2_squared(a, b));
}

/* The negative inner product, so that smaller is nearer. */
double
vdb_sparsevec_distance_ip(const VdbSparsevec *a, const VdbSparsevec *b)
{
	return -vdb_kernels->sparse_ip(a->nnz, a->indices, vdb_sparsevec_values(a),
								   b->nnz, b->indices, vdb_sparsevec_values(b));
}

/* NaN when a vector is zero. */
double
vdb_sparsevec_distance_cosine(const VdbSparsevec *a, const VdbSparsevec *b)
{
	double		similarity = -vdb_sparsevec_distance_ip(a, b) /
		sqrt(sum_squares(a) * sum_squares(b));

	/* rounding may take it out of bounds; both tests let NaN pass */
	if (similarity > 1)
		similarity = 1;
	else if (similarity < -1)
		similarity = -1;
	return 1 - similarity;
}

double
vdb_sparsevec_distance_l1(const VdbSparsevec *a, const VdbSparsevec *b)
{
	return vdb_kernels->sparse_l1(a->nnz, a->indices, vdb_sparsevec_values(a),
								  b->nnz, b->indices, vdb_sparsevec_values(b));
}

double
vdb_sparsevec_l2_norm(const VdbSparsevec *a)
{
	return sqrt(sum_squares(a));
}

/* The squared distance to the zero vector. */
static double
sum_squares(const VdbSparsevec *a)
{
	return vdb_kernels->sparse_l2_squared(a->nnz, a->indices, vdb_sparsevec_values(a),
										  0, NULL, NULL);
}
