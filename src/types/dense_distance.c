/*
 * dense_distance.c
 *	  What the distance operators of vector and halfvec compute, on plain
 *	  floats and halfs.
 *
 * The SQL functions and the indexes share these, so an index that measures a
 * row gets the number the operator would return.  A sum too large for float4
 * gives Infinity or NaN, no error, as it does in pgvector; one of halfs cannot
 * be.
 */
#include "postgres.h"

#include <math.h>

#include "distance/distance.h"
#include "types/halfvec.h"
#include "types/vector.h"

static double finish_cosine(VdbCosineParts parts);
static double find_angle(double similarity);
static double limit_similarity(double similarity);

double
vdb_vector_distance_l2(int dims, const float *a, const float *b)
{
	return sqrt((double) vdb_kernels->l2_squared(dims, a, b));
}

double
vdb_vector_distance_l2_squared(int dims, const float *a, const float *b)
{
	return (double) vdb_kernels->l2_squared(dims, a, b);
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
	return finish_cosine(vdb_kernels->cosine(dims, a, b));
}

double
vdb_vector_distance_l1(int dims, const float *a, const float *b)
{
	return (double) vdb_kernels->l1(dims, a, b);
}

double
vdb_vector_distance_spherical(int dims, const float *a, const float *b)
{
	return find_angle(vdb_kernels->inner_product(dims, a, b));
}

double
vdb_halfvec_distance_l2(int dims, const uint16 *a, const uint16 *b)
{
	return sqrt((double) vdb_kernels->half_l2_squared(dims, a, b));
}

double
vdb_halfvec_distance_l2_squared(int dims, const uint16 *a, const uint16 *b)
{
	return (double) vdb_kernels->half_l2_squared(dims, a, b);
}

/* The negative inner product, so that smaller is nearer. */
double
vdb_halfvec_distance_ip(int dims, const uint16 *a, const uint16 *b)
{
	return (double) -vdb_kernels->half_inner_product(dims, a, b);
}

/* NaN when a vector is zero. */
double
vdb_halfvec_distance_cosine(int dims, const uint16 *a, const uint16 *b)
{
	return finish_cosine(vdb_kernels->half_cosine(dims, a, b));
}

double
vdb_halfvec_distance_l1(int dims, const uint16 *a, const uint16 *b)
{
	return (double) vdb_kernels->half_l1(dims, a, b);
}

double
vdb_halfvec_distance_spherical(int dims, const uint16 *a, const uint16 *b)
{
	return find_angle(vdb_kernels->half_inner_product(dims, a, b));
}

static double
finish_cosine(VdbCosineParts parts)
{
	return 1 - limit_similarity((double) parts.ip / sqrt((double) parts.aa * (double) parts.bb));
}

/*
 * The angle between two unit vectors as a fraction of pi.  Whether they are
 * unit vectors is not checked.
 */
static double
find_angle(double similarity)
{
	return acos(limit_similarity(similarity)) / M_PI;
}

/* Rounding may take it out of bounds; both tests let NaN pass. */
static double
limit_similarity(double similarity)
{
	if (similarity > 1)
		return 1;
	if (similarity < -1)
		return -1;
	return similarity;
}
