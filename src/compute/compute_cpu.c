/*
 * compute_cpu.c
 *	  The provider that is always there: the kernels for a pair of vectors.
 */
#include "compute/compute.h"
#include "distance/distance.h"

/* Rows that meet all queries before the next ones do: half of a usual first-level cache. */
#define TILE_BYTES 16384

static bool
is_available(const char **why_not)
{
	return true;
}

static const char *
inner_products(size_t dims, size_t nq, const float *queries, size_t n, const float *rows, float *out)
{
	size_t		tile = TILE_BYTES / (dims * sizeof(float));

	if (tile == 0)
		tile = 1;
	for (size_t first = 0; first < n; first += tile)
	{
		size_t		end = n - first < tile ? n : first + tile;

		for (size_t i = 0; i < nq; i++)
		{
			for (size_t j = first; j < end; j++)
				out[i * n + j] = vdb_kernels->inner_product(dims, queries + i * dims, rows + j * dims);
		}
	}
	return NULL;
}

const VdbProvider vdb_compute_cpu = {
	.name = "cpu",
	.is_available = is_available,
	.inner_products = inner_products
};
