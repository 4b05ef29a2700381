/*
 * test_bound.c
 *	  Rows that are as near as the bound, by what the operator returns, are never left out, whatever
 *	  a provider's products are within what it promises; and most of the others are.
 */
#include <stdlib.h>

#include "compute/compute.h"
#include "exec/exec_bound.h"
#include "tap.h"
#include "vector_fixture.h"

#define ROWS 200

/*
 * A product as a provider may return it: the least that it promises.  Where it promises nothing,
 * the worst of all.
 */
static float
least_product(uint32_t dims, const float *a, const float *b)
{
	long double product = 0;
	long double aa = 0;
	long double bb = 0;
	double		lengths;

	for (uint32_t i = 0; i < dims; i++)
	{
		product += (long double) a[i] * b[i];
		aa += (long double) a[i] * a[i];
		bb += (long double) b[i] * b[i];
	}
	lengths = (double) (sqrtl(aa) * sqrtl(bb));
	if (!(lengths <= VDB_COMPUTE_MOST))
		return -INFINITY;

	/* not farther off by its own rounding */
	product -= vdb_compute_error(dims, lengths, 1);
	return (float) product < product ? nextafterf((float) product, INFINITY) : (float) product;
}

/* Adds how many rows were selected, and how many had to be. */
static bool
keeps_near_rows(Kind kind, VdbMetric metric, uint32_t dims, size_t *selected, size_t *needed)
{
	float	   *query = malloc(dims * sizeof(float));
	float	   *rows = malloc(ROWS * dims * sizeof(float));
	float		products[ROWS];
	double		distances[ROWS];
	VdbBoundRow bounds[ROWS];
	uint32_t	out[ROWS];
	VdbBound	bound;
	VdbBoundQuery bound_query;
	bool		sound;

	vdb_bound_init(&bound, metric, dims);
	fill_vector(kind, dims, query);
	vdb_bound_init_query(&bound, &bound_query, query);
	for (int j = 0; j < ROWS; j++)
	{
		float	   *row = rows + j * dims;

		fill_vector(kind, dims, row);
		if (random_u32() % 50 == 0)
			memcpy(row, query, dims * sizeof(float));
		bounds[j] = vdb_bound_row(&bound, row);
		products[j] = least_product(dims, query, row);
		distances[j] = operator_distance(metric, dims, row, query);
	}
	sound = vdb_bound_select(&bound_query, ROWS, products, bounds, out) == ROWS;
	for (int k = 0; k < ROWS && sound; k += 10)
	{
		size_t		count;
		size_t		next = 0;

		vdb_bound_set(&bound, &bound_query, distances[k]);
		count = vdb_bound_select(&bound_query, ROWS, products, bounds, out);
		for (int j = 0; j < ROWS && sound; j++)
		{
			bool		is_selected = next < count && out[next] == j;
			bool		is_needed = isnan(distances[k]) || distances[j] <= distances[k];

			next += is_selected;
			*selected += is_selected;
			*needed += is_needed;
			if (is_needed && !is_selected)
				sound = failure("%u dimensions: distance %g is left out by %g", dims, distances[j], distances[k]);
		}
	}
	free(query);
	free(rows);
	return sound;
}

int
main(int argc, char **argv)
{
	static const uint32_t dims[] = {1, 2, 3, 8, 33, 100, 784, 3000};

	read_share(argc, argv);
	vdb_distance_init();
	for (VdbMetric metric = VDB_METRIC_L2; metric <= VDB_METRIC_COSINE; metric++)
	{
		for (Kind kind = 0; kind < KINDS; kind++)
		{
			bool		sound = true;
			size_t		selected = 0;
			size_t		needed = 0;

			for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
			{
				for (int round = 0; round < 8 * share + 1 && sound; round++)
					sound = keeps_near_rows(kind, metric, dims[i], &selected, &needed);
			}
			report(sound, "%s, %s: rows that are near enough are kept, %zu for %zu", metric_names[metric], kind_names[kind],
				   selected, needed);
			if (kind == KIND_NORMAL)
				report(selected < needed * 1.1, "%s, %s: few others are", metric_names[metric], kind_names[kind]);
		}
	}
	return tests_failed > 0;
}
