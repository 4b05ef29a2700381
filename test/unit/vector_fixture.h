/*
 * vector_fixture.h
 *	  Vectors of all kinds, and what the operators return of them.
 */
#ifndef VDB_TEST_VECTOR_FIXTURE_H
#define VDB_TEST_VECTOR_FIXTURE_H

#include <math.h>
#include <string.h>

#include "quant/codec.h"
#include "tap.h"

typedef enum Kind
{
	KIND_NORMAL,
	KIND_CLOSE,					/* far from the origin, and near to each other */
	KIND_MAGNITUDES,			/* each vector of another length */
	KIND_EDGES,					/* lengths at which something is out of range, or nearly */
	KIND_ELEMENTS,				/* each element of another size */
	KIND_FEW,					/* one element of each vector */
	KINDS
} Kind;

static const char *const kind_names[] = {"normal", "close", "magnitudes", "edges", "elements", "few"};
static const char *const metric_names[] = {"l2", "ip", "cosine"};

static float
random_normal(void)
{
	double		u = (random_u32() + 1.0) / 4294967296.0;
	double		v = random_u32() / 4294967296.0;

	return (float) (sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* A number of any magnitude that a vector may have. */
static float
scaled(double x, int exponent)
{
	double		y = ldexp(x, exponent);

	return (float) fmax(fmin(y, 3.4e38), -3.4e38);
}

static void
fill_vector(Kind kind, uint32_t dims, float *x)
{
	static const int edges[] = {-149, -140, -126, -75, -64, -63, -46, -45, -44, 0, 60, 62, 63, 64, 126};
	int			exponent = 0;

	if (kind == KIND_MAGNITUDES)
		exponent = (int) (random_u32() % 80) - 40;
	if (kind == KIND_EDGES)
		exponent = edges[random_u32() % (sizeof(edges) / sizeof(edges[0]))];
	for (uint32_t i = 0; i < dims; i++)
	{
		if (kind == KIND_ELEMENTS)
			exponent = (int) (random_u32() % 120) - 60;
		x[i] = scaled(random_normal(), exponent);
		if (kind == KIND_CLOSE)
			x[i] = 1000 + x[i] * 1e-3f;
	}
	if (kind == KIND_FEW)
	{
		float		one = x[0];

		memset(x, 0, dims * sizeof(float));
		x[random_u32() % dims] = one;
	}
	if (kind == KIND_EDGES && random_u32() % 20 == 0)
		memset(x, 0, dims * sizeof(float));
}

/* What the operators compute, in types/dense_distance.c. */
static double
operator_distance(VdbMetric metric, uint32_t dims, const float *a, const float *b)
{
	VdbCosineParts parts;
	double		similarity;

	if (metric == VDB_METRIC_L2)
		return sqrt((double) vdb_kernels->l2_squared(dims, a, b));
	if (metric == VDB_METRIC_IP)
		return (double) -vdb_kernels->inner_product(dims, a, b);
	parts = vdb_kernels->cosine(dims, a, b);
	similarity = (double) parts.ip / sqrt((double) parts.aa * (double) parts.bb);
	return 1 - (similarity > 1 ? 1 : similarity < -1 ? -1 : similarity);
}

#endif							/* VDB_TEST_VECTOR_FIXTURE_H */
