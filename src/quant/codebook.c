/*
 * codebook.c
 *	  Product quantisers: the nearest centroids, products, and k-means.
 *
 * Codes are the same on every machine.
 */
#include <math.h>
#include <string.h>

#include "distance/distance.h"
#include "quant/codebook.h"

#define K VDB_CODEBOOK_SIZE

_Static_assert(K == 16, "a kernel finds the nearest of so many");

#define ROUNDS 15

/* No entry of a vector that is coded is greater, whatever its dimensions. */
#define LARGEST_VALUE 256.0f

bool
vdb_codebook_is_sound(const VdbCodebook *book)
{
	for (size_t i = 0; i < vdb_codebook_values(book->dims); i++)
	{
		if (!(fabsf(book->values[i]) <= LARGEST_VALUE))
			return false;
	}
	return true;
}

static inline const float *
part_values(const VdbCodebook *book, uint32_t part)
{
	return book->values + vdb_codebook_values(vdb_codebook_first(book, part));
}

int
vdb_codebook_nearest(const VdbCodebook *book, uint32_t part, const float *x, float factor)
{
	return (int) vdb_kernels->nearest_of_16(vdb_codebook_width(book, part), x, factor, part_values(book, part));
}

void
vdb_codebook_products(const VdbCodebook *book, uint32_t part, const float *x, float *out)
{
	const float *values = part_values(book, part);
	uint32_t	width = vdb_codebook_width(book, part);
	float		products[K] = {0};

	for (uint32_t i = 0; i < width; i++)
	{
		for (int k = 0; k < K; k++)
			products[k] += x[i] * values[i * K + k];
	}
	memcpy(out, products, sizeof(products));
}

/* Vectors far apart in the sample are the first centroids. */
static void
seed_part(uint32_t width, uint32_t n, const float *x, size_t stride, float *values)
{
	for (int k = 0; k < K; k++)
	{
		const float *chosen = x + (size_t) ((uint64_t) k * n / K) * stride;

		for (uint32_t i = 0; i < width; i++)
			values[i * K + k] = chosen[i];
	}
}

/* Moves centroids to the means of their members; those without any stay. */
static void
move_centroids(uint32_t width, const uint32_t *members, const float *sums, float *values)
{
	for (uint32_t i = 0; i < width * K; i++)
	{
		if (members[i % K] > 0)
			values[i] = sums[i] / (float) members[i % K];
	}
}

void
vdb_codebook_train(const VdbCodebook *book, uint32_t part, uint32_t n, const float *x, size_t stride,
				   float *sums, float *values)
{
	uint32_t	width = vdb_codebook_width(book, part);
	float	   *own = values + vdb_codebook_values(vdb_codebook_first(book, part));

	seed_part(width, n, x, stride, own);
	for (int round = 0; round < ROUNDS; round++)
	{
		uint32_t	members[K] = {0};

		memset(sums, 0, vdb_codebook_values(width) * sizeof(float));
		for (uint32_t j = 0; j < n; j++)
		{
			const float *vector = x + j * stride;
			int			nearest = vdb_codebook_nearest(book, part, vector, 1);

			members[nearest]++;
			for (uint32_t i = 0; i < width; i++)
				sums[i * K + nearest] += vector[i];
		}
		move_centroids(width, members, sums, own);
	}
}

void
vdb_codebook_normal(size_t n, float *out)
{
	uint64_t	state = 1;

	/* of twelve numbers between 0 and 1 the sum has variance 1 (Knuth's MMIX generator) */
	for (size_t i = 0; i < n; i++)
	{
		double		sum = -6;

		for (int k = 0; k < 12; k++)
		{
			state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			sum += (double) (state >> 33) / 2147483648.0;
		}
		out[i] = (float) sum;
	}
}
