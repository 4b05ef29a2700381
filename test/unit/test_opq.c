/*
 * test_opq.c
 *	  Unit test of learned rotations: that polar factors are orthogonal and the nearest
 *	  such matrices, that what is learned is a rotation after which products lose less, and
 *	  that vectors are rotated by a matrix alike everywhere.  Prints TAP.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "block_fixture.h"
#include "distance/distance.h"
#include "quant/opq.h"
#include "quant/rotate.h"
#include "tap.h"

static void
fill_normal(size_t n, float *x)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rough_normal();
}

static void
multiply(void *state, size_t dims, size_t m, const float *a, size_t n, const float *b, float *out)
{
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
			out[i * n + j] = vdb_kernels->inner_product(dims, a + i * dims, b + j * dims);
}

static void
pause_nowhere(void)
{
}

static const VdbOpqHost host = {.multiply = multiply, .pause = pause_nowhere};

/* The product of two rows, or, transposed, of two columns. */
static double
dot(size_t n, const float *a, size_t stride_a, const float *b, size_t stride_b)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) a[i * stride_a] * b[i * stride_b];
	return sum;
}

/* How far rows are from being orthonormal: the worst of their products. */
static double
worst_product(size_t n, const float *x)
{
	double		worst = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j <= i; j++)
			worst = fmax(worst, fabs(dot(n, x + i * n, 1, x + j * n, 1) - (i == j)));
	return worst;
}

/*
 * A matrix is its polar factor times one that is symmetric, and near to the identity where the matrix is
 * near to being orthogonal, as this one is.
 */
static bool
check_polar(size_t n)
{
	float	   *before = new_floats(n * n);
	float	   *factor = new_floats(n * n);
	float	   *scratch = new_floats(2 * n * n);
	double		asymmetry = 0;
	double		off = 0;
	double		worst;

	for (size_t i = 0; i < n; i++)
	{
		memset(factor, 0, n * sizeof(float));
		factor[i] = 1;
		vdb_rotate(n, 77, factor);
		for (size_t j = 0; j < n; j++)
			before[i * n + j] = factor[j] + 0.02f * rough_normal() / sqrtf((float) n);
	}
	memcpy(factor, before, n * n * sizeof(float));
	vdb_opq_polar(n, factor, &host, scratch);
	worst = worst_product(n, factor);
	for (size_t i = 0; i < n; i++)
	{
		for (size_t j = 0; j < n; j++)
		{
			double		value = dot(n, factor + i, n, before + j, n);

			asymmetry = fmax(asymmetry, fabs(value - dot(n, factor + j, n, before + i, n)));
			off = fmax(off, fabs(value - (i == j)));
		}
	}
	free(before);
	free(factor);
	free(scratch);
	return (worst < 1e-4 && asymmetry < 1e-4 && off < 0.1) ||
		failure("%zu dimensions: products off by %g, asymmetric by %g, off by %g", n, worst, asymmetry, off);
}

/* The mean square of what products leave of vectors, by the dimension. */
static double
distortion(VdbCodebook *book, float *values, float *sums, uint32_t n, const float *x)
{
	double		sum = 0;

	for (uint32_t part = 0; part < book->parts; part++)
	{
		uint32_t	first = vdb_codebook_first(book, part);

		vdb_codebook_train(book, part, n, x + first, book->dims, sums, values);
		for (uint32_t j = 0; j < n; j++)
		{
			const float *vector = x + (size_t) j * book->dims + first;
			int			nearest = vdb_codebook_nearest(book, part, vector, 1);

			for (uint32_t i = 0; i < vdb_codebook_width(book, part); i++)
				sum += pow((double) vector[i] - values[VDB_CODEBOOK_SIZE * (first + i) + nearest], 2);
		}
	}
	return sum / n / book->dims;
}

/*
 * Vectors of few directions that lie across all parts, and a little of all others: after the rotation,
 * which is one, products lose less by a share.
 */
static bool
check_learned(uint32_t dims, uint32_t parts, uint32_t n, double share_left)
{
	size_t		square = (size_t) dims * dims;
	float	   *axes = new_floats(square);
	float	   *values = new_floats(vdb_codebook_values(dims));
	float	   *sums = new_floats(vdb_codebook_values(dims));
	float	   *x = new_floats((size_t) n * dims);
	float	   *rotated = new_floats((size_t) n * dims);
	float	   *rotation = new_floats(square);
	float	   *scratch = new_floats(vdb_opq_scratch(dims));
	VdbCodebook book = {.dims = dims, .parts = parts, .values = values};
	double		lost;
	double		left;
	double		worst;

	fill_normal(square, axes);
	memset(x, 0, (size_t) n * dims * sizeof(float));
	for (uint32_t j = 0; j < n; j++)
	{
		for (uint32_t axis = 0; axis < dims; axis++)
		{
			float		length = rough_normal() * (axis < dims / 4 ? 1.0f : 0.1f) / sqrtf((float) dims);

			for (uint32_t i = 0; i < dims; i++)
				x[j * dims + i] += length * axes[axis * dims + i];
		}
	}
	lost = distortion(&book, values, sums, n, x);
	vdb_opq_learn(&book, n, x, &host, scratch, rotation);
	worst = worst_product(dims, rotation);
	vdb_rotate_by(dims, rotation, n, x, rotated);
	left = distortion(&book, values, sums, n, rotated);
	free(axes);
	free(values);
	free(sums);
	free(x);
	free(rotated);
	free(rotation);
	free(scratch);
	if (worst > 1e-4)
		return failure("products off by %g", worst);
	return left < share_left * lost || failure("%g are left of %g", left, lost);
}

/* Of vectors that say nothing a rotation is learned, too. */
static bool
check_nothing_learned(void)
{
	const uint32_t dims = 16;
	float		x[16 * 16] = {0};
	float		rotation[16 * 16];
	float	   *scratch = new_floats(vdb_opq_scratch(dims));
	VdbCodebook book = {.dims = dims, .parts = 4};
	double		worst;

	vdb_opq_learn(&book, 16, x, &host, scratch, rotation);
	free(scratch);
	worst = worst_product(dims, rotation);
	return worst < 1e-4 || failure("products off by %g", worst);
}

/* Products with a matrix, of vectors one by one and all at once; a hash (FNV-1a) of them. */
static bool
check_rotated(size_t P, uint64_t *hash)
{
	const size_t n = 5;
	float	   *matrix = new_floats(P * P);
	float	   *x = new_floats(n * P);
	float	   *out = new_floats(n * P);
	float	   *one = new_floats(P);
	bool		passed = true;

	fill_normal(P * P, matrix);
	fill_normal(n * P, x);
	vdb_rotate_by(P, matrix, n, x, out);
	*hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < n * P * sizeof(float); i++)
		*hash = (*hash ^ ((const uint8_t *) out)[i]) * UINT64_C(0x100000001b3);
	for (size_t j = 0; j < n; j++)
	{
		vdb_rotate_by(P, matrix, 1, x + j * P, one);
		passed = memcmp(one, out + j * P, P * sizeof(float)) == 0 && passed;
		for (size_t i = 0; i < P; i++)
			passed = fabs(one[i] - dot(P, matrix + i * P, 1, x + j * P, 1)) < 1e-4 * (double) P && passed;
	}
	free(matrix);
	free(x);
	free(out);
	free(one);
	return passed;
}

/* What is no rotation is told from one. */
static bool
check_sound(void)
{
	const size_t P = 24;
	float	   *matrix = new_floats(P * P);
	bool		passed;

	for (size_t i = 0; i < P * P; i++)
		matrix[i] = i % (P + 1) == 0;
	passed = vdb_rotate_is_sound(P, matrix);
	matrix[P + 1] = 1.1f;
	passed = !vdb_rotate_is_sound(P, matrix) && passed;
	matrix[P + 1] = NAN;
	passed = !vdb_rotate_is_sound(P, matrix) && passed;
	matrix[P + 1] = 1;
	matrix[P * P - 2] = INFINITY;
	passed = !vdb_rotate_is_sound(P, matrix) && passed;
	free(matrix);
	return passed;
}

int
main(int argc, char **argv)
{
	uint64_t	hash;

	read_share(argc, argv);
	vdb_distance_init();
	report(check_polar(8) && check_polar(104) && check_polar(256), "polar factors");
	report(check_learned(32, 8, 1000, 0.5) && check_learned(32, 16, 1000, 0.5) && check_learned(24, 10, 600, 0.5),
		   "rotations that are learned");
	report(check_nothing_learned(), "of nothing");
	report(check_sound(), "matrices that are no rotations");
	random_state = UINT64_C(0x123456789abcdef);
	report(check_rotated(8, &hash) && check_rotated(104, &hash), "products with a matrix");
	report(hash == UINT64_C(0xee16fdb170b25f33) || failure("0x%016llx", (unsigned long long) hash),
		   "they are those of every machine");
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
