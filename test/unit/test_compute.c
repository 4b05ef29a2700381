/*
 * test_compute.c
 *	  The products of provider "cpu" are as near to the true ones as callers rely on, at every
 *	  level of kernels, for any number of vectors and numbers of any size.
 *
 * All memory is in blocks of exactly the size that the contract names.
 */
#include <math.h>

#include "compute/compute.h"
#include "distance/distance.h"
#include "tap.h"

typedef enum Kind
{
	KIND_UNIFORM,
	KIND_ALL_SIGNS,				/* terms that cancel */
	KIND_MAGNITUDES,			/* from one that vanishes to one that nearly overflows */
	KIND_TINY,					/* most products are too small for float32 */
	KINDS
} Kind;

static float
random_element(Kind kind)
{
	float		unit = (float) (random_u32() + 1.0f) / 4294967296.0f;

	switch (kind)
	{
		case KIND_UNIFORM:
			return unit;
		case KIND_ALL_SIGNS:
			return random_u32() % 2 ? 1000 + unit : -1000 - unit;
		case KIND_MAGNITUDES:
			return ldexpf(unit - 0.5f, (int) (random_u32() % 100) - 60);
		default:
			return ldexpf(unit - 0.5f, -60 - (int) (random_u32() % 80));
	}
}

static float *
random_vectors(Kind kind, size_t dims, size_t n)
{
	float	   *x = malloc(dims * n * sizeof(float));

	for (size_t i = 0; i < dims * n; i++)
		x[i] = random_element(kind);
	return x;
}

static long double
true_product(size_t dims, const float *a, const float *b)
{
	long double sum = 0;

	for (size_t i = 0; i < dims; i++)
		sum += (long double) a[i] * b[i];
	return sum;
}

static bool
is_within_bound(Kind kind, size_t dims, size_t nq, size_t n)
{
	float	   *queries = random_vectors(kind, dims, nq);
	float	   *rows = random_vectors(kind, dims, n);
	float	   *out = malloc(nq * n * sizeof(float));
	bool		sound = vdb_compute_cpu.inner_products(dims, nq, queries, n, rows, out) == NULL;

	for (size_t i = 0; i < nq && sound; i++)
	{
		for (size_t j = 0; j < n && sound; j++)
		{
			const float *a = queries + i * dims;
			const float *b = rows + j * dims;
			double		lengths = sqrt((double) true_product(dims, a, a)) * sqrt((double) true_product(dims, b, b));
			long double error = fabsl(out[i * n + j] - true_product(dims, a, b));

			if (!(lengths <= VDB_COMPUTE_MOST))
				sound = failure("lengths of product %g", lengths);
			else if (!(error <= vdb_compute_error(dims, lengths, 1)))
				sound = failure("kind %d, %zu dimensions: off by %Lg", kind, dims, error);
		}
	}
	free(queries);
	free(rows);
	free(out);
	return sound;
}

int
main(int argc, char **argv)
{
	static const size_t dims[] = {1, 2, 3, 7, 8, 15, 17, 31, 33, 64, 100, 257, 784, 2000, 16000};
	const char *why_not;

	read_share(argc, argv);
	vdb_distance_init();
	report(vdb_compute_cpu.is_available(&why_not), "the provider is always there");
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		bool		sound = true;

		if (!vdb_distance_force(level))
			continue;
		for (Kind kind = 0; kind < KINDS; kind++)
		{
			for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
			{
				for (int round = 0; round < 6 * share + 1; round++)
					sound &= is_within_bound(kind, dims[i], 1 + random_u32() % 5, 1 + random_u32() % 40);
			}
		}
		report(sound, "%s: products are within the bound", vdb_distance_level_name(level));
	}
	return tests_failed > 0;
}
