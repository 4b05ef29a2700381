/*
 * exec_bound.c
 *	  Which rows may be near enough, by inner products that are not exact.
 *
 * Let e be `error`, (dims + 2) * 2^-23.  A float32 sum of dims products, in any order, is within
 * half of that of the true one, relative to the sum of the products' magnitudes; so is a sum of
 * dims squares of differences, the three roundings of each included.  So each e below is twice
 * what it must be, which also pays for what double rounds here.
 *
 * With q, x the vectors, p' a provider's product and p the true one, |p' - p| <= e |q| |x|; d is the
 * k-th distance.  The operator's distance is d or less only if
 *
 *	L2		(|q|^2 + |x|^2 - 2 p) (1 - e) <= d^2
 *			p' >= (|q|^2 - d^2 / (1 - e)) / 2 + |x|^2 / 2 - e |q| |x|
 *	IP		p + e |q| |x| >= -d
 *			p' >= -d - 2 e |q| |x|
 *	cosine	p / (|q| |x|) + 3 e >= 1 - d, the operator's three sums being e off
 *			p' >= (1 - d - 4 e) |q| |x|, and twice these for what the lengths are off
 *
 * Where a sum may be out of range, or a length is too small for cosine's sums to be as exact as that,
 * nothing is known, and the row or the query is measured.
 */
#include <math.h>

#include "compute/compute.h"
#include "exec/exec_bound.h"

/* Cosine: |x|^2 must be between these.  From the lesser on numbers that are too small do not count. */
#define LEAST_SQUARE 0x1p-90
#define MOST_SQUARE 0x1p126

void
vdb_bound_init(VdbBound *bound, VdbMetric metric, uint32_t dims)
{
	bound->metric = metric;
	bound->dims = dims;
	bound->tiny = vdb_compute_error(dims, 0, 0);
	bound->error = vdb_compute_error(dims, 1, 1) - bound->tiny;
	bound->longest = 0;
}

/* The square of a vector's length: what it is at least; false where nothing is known. */
static bool
measure_square(const VdbBound *bound, const float *x, double *least, double *length)
{
	double		square = vdb_kernels->inner_product(bound->dims, x, x);

	*least = fmax(square * (1 - bound->error) - bound->tiny, 0);
	*length = sqrt(square * (1 + bound->error) + bound->tiny);
	return isfinite(square) &&
		(bound->metric != VDB_METRIC_COSINE || (square >= LEAST_SQUARE && square <= MOST_SQUARE));
}

void
vdb_bound_init_query(VdbBound *bound, VdbBoundQuery *query, const float *x)
{
	/* a slope of NaN stays, and no comparison with it is true */
	if (!measure_square(bound, x, &query->square, &query->length))
		query->length = NAN;
	query->add = -INFINITY;
	query->slope = 0;
	bound->longest = fmax(bound->longest, query->length);
}

VdbBoundRow
vdb_bound_row(const VdbBound *bound, const float *x)
{
	VdbBoundRow row;
	double		square;

	if (!measure_square(bound, x, &square, &row.length) || row.length * bound->longest > VDB_COMPUTE_MOST)
		return (VdbBoundRow) {-INFINITY, 0};
	row.add = bound->metric == VDB_METRIC_L2 ? square / 2 : 0;
	return row;
}

void
vdb_bound_set(const VdbBound *bound, VdbBoundQuery *query, double distance)
{
	double		error = bound->error;

	switch (bound->metric)
	{
		case VDB_METRIC_L2:
			query->add = (query->square - (distance * distance + bound->tiny) / (1 - error)) / 2 - bound->tiny;
			query->slope = error * query->length;
			break;
		case VDB_METRIC_IP:
			query->add = -distance - 2 * bound->tiny;
			query->slope = 2 * error * query->length;
			break;
		default:
			query->add = -bound->tiny;
			query->slope = (8 * error - (1 - distance)) * query->length;
	}
}

size_t
vdb_bound_select(const VdbBoundQuery *query, size_t n, const float *products, const VdbBoundRow *rows, uint32_t *out)
{
	size_t		count = 0;

	for (size_t j = 0; j < n; j++)
	{
		out[count] = (uint32_t) j;
		count += !(products[j] < query->add + rows[j].add - query->slope * rows[j].length);
	}
	return count;
}
