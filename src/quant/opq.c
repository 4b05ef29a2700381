/*
 * opq.c
 *	  Learning a rotation for products: the vectors' principal axes, dealt out to parts.
 *
 * Of vectors along whose axes values are independent and normally distributed, products lose
 * least when all parts have the same product of variances (Ge, He, Ke and Sun, 2013, the
 * parametric solution).  So each part gets an axis of the greatest variances, then one of the next,
 * and so on; and before that those of like variance, one for each part, are mixed evenly (a Hartley
 * transform).  Otherwise some few parts would have nearly all of a query, and tables, which have one
 * unit for all parts, would round the others away.  Axes are found by one-sided Jacobi rotations
 * (Hestenes, 1958): rows of the covariance are turned in pairs until all are orthogonal.
 *
 * To find codes and rotation in turn from there, as the paper does where values are not such, was
 * measured, and finds nothing better (docs/design/015-inverted-file.md).
 */
#include <math.h>
#include <string.h>

#include "distance/distance.h"
#include "quant/opq.h"

/* Vectors whose part of the covariance is computed at once. */
#define BLOCK 256

/* What is added to each variance, as a share of their mean, lest rows become nothing. */
#define RIDGE 0.1f

#define PI 3.14159265358979323846

/* How often all pairs of rows are turned at most, and the cosine that is left between them. */
#define SWEEPS 4
#define ORTHOGONAL 1e-3f

/* Steps to a polar factor: each squares the error. */
#define POLAR_STEPS 3

size_t
vdb_opq_scratch(uint32_t dims)
{
	return (2 * (size_t) dims + BLOCK + 1) * dims;
}

static void
transpose(size_t rows, size_t columns, const float *in, float *out)
{
	for (size_t i = 0; i < rows; i++)
	{
		for (size_t j = 0; j < columns; j++)
			out[j * rows + i] = in[i * columns + j];
	}
}

/* The sum of x x' of all vectors. */
static void
sum_squares(size_t P, uint32_t n, const float *x, const VdbOpqHost *host, float *scratch, float *out)
{
	float	   *columns = scratch;
	float	   *product = columns + BLOCK * P;

	memset(out, 0, P * P * sizeof(float));
	for (uint32_t first = 0; first < n; first += BLOCK)
	{
		uint32_t	count = n - first < BLOCK ? n - first : BLOCK;

		host->pause();
		transpose(count, P, x + first * P, columns);
		host->multiply(host->state, count, P, columns, P, columns, product);
		for (size_t i = 0; i < P * P; i++)
			out[i] += product[i];
	}
}

/* Turns two rows: (a, b) <- (cosine a - sine b, sine a + cosine b). */
static void
turn(size_t P, float cosine, float sine, float *restrict a, float *restrict b)
{
	for (size_t i = 0; i < P; i++)
	{
		float		before = a[i];

		a[i] = cosine * before - sine * b[i];
		b[i] = sine * before + cosine * b[i];
	}
}

/*
 * Turns a pair of rows so that they are orthogonal, and the axes that they belong to alike.  norm2: of
 * the rows, and then of what they become.  False where they were so.
 */
static bool
turn_pair(size_t P, float *a, float *b, float *axis_a, float *axis_b, float *norm2_a, float *norm2_b)
{
	float		product = vdb_kernels->inner_product(P, a, b);
	float		ratio;
	float		tangent;
	float		cosine;

	if (!(fabsf(product) > ORTHOGONAL * sqrtf(*norm2_a) * sqrtf(*norm2_b)))
		return false;
	ratio = (*norm2_b - *norm2_a) / (2 * product);
	tangent = copysignf(1, ratio) / (fabsf(ratio) + sqrtf(1 + ratio * ratio));
	cosine = 1 / sqrtf(1 + tangent * tangent);
	turn(P, cosine, cosine * tangent, a, b);
	turn(P, cosine, cosine * tangent, axis_a, axis_b);
	*norm2_a -= tangent * product;
	*norm2_b += tangent * product;
	return true;
}

/* Turns rows until they are orthogonal: then they are as long as the variances along the axes. */
static void
find_axes(size_t P, const VdbOpqHost *host, float *rows, float *norm2, float *axes)
{
	bool		turned = true;

	memset(axes, 0, P * P * sizeof(float));
	for (size_t i = 0; i < P; i++)
		axes[i * P + i] = 1;
	for (int sweep = 0; sweep < SWEEPS && turned; sweep++)
	{
		turned = false;
		for (size_t i = 0; i < P; i++)
			norm2[i] = vdb_kernels->inner_product(P, rows + i * P, rows + i * P);
		for (size_t i = 0; i < P; i++)
		{
			host->pause();
			for (size_t j = i + 1; j < P; j++)
				turned = turn_pair(P, rows + i * P, rows + j * P, axes + i * P, axes + j * P, &norm2[i],
								   &norm2[j]) || turned;
		}
	}
}

/* Newton-Schulz: x <- 3/2 x - 1/2 x x' x. */
void
vdb_opq_polar(size_t P, float *x, const VdbOpqHost *host, float *scratch)
{
	float	   *columns = scratch;
	float	   *product = columns + P * P;

	for (int step = 0; step < POLAR_STEPS; step++)
	{
		transpose(P, P, x, columns);
		host->multiply(host->state, P, P, x, P, x, product);
		host->multiply(host->state, P, P, product, P, columns, x);
		for (size_t i = 0; i < P; i++)
		{
			for (size_t j = 0; j < P; j++)
				x[i * P + j] = 1.5f * columns[j * P + i] - 0.5f * x[i * P + j];
		}
	}
}

/* The axis of the greatest variance among those not taken yet; norm2: of their rows, -1 then. */
static size_t
take_axis(size_t P, float *norm2)
{
	size_t		axis = 0;

	for (size_t i = 1; i < P; i++)
		axis = norm2[i] > norm2[axis] ? i : axis;
	norm2[axis] = -1;
	return axis;
}

/*
 * Mixes the next axes evenly, one for each part that has so many dimensions: what they become are
 * these dimensions, as rows of the rotation.
 */
static void
mix_axes(const VdbCodebook *book, uint32_t dimension, const VdbOpqHost *host, const float *axes,
		 float *norm2, uint32_t *taken, float *rotation)
{
	size_t		P = book->dims;
	uint32_t	count = 0;
	uint32_t	number = 0;

	for (uint32_t part = 0; part < book->parts; part++)
	{
		if (dimension < vdb_codebook_width(book, part))
			taken[count++] = (uint32_t) take_axis(P, norm2);
	}
	for (uint32_t part = 0; part < book->parts; part++)
	{
		float	   *row = rotation + (vdb_codebook_first(book, part) + dimension) * P;

		if (dimension >= vdb_codebook_width(book, part))
			continue;
		host->pause();
		memset(row, 0, P * sizeof(float));
		for (uint32_t j = 0; j < count; j++)
		{
			double		angle = 2 * PI * (double) ((uint64_t) number * j % count) / count;
			float		share = (float) ((cos(angle) + sin(angle)) / sqrt(count));

			for (size_t i = 0; i < P; i++)
				row[i] += share * axes[taken[j] * P + i];
		}
		number++;
	}
}

void
vdb_opq_learn(const VdbCodebook *book, uint32_t n, const float *x, const VdbOpqHost *host, float *scratch,
			  float *rotation)
{
	size_t		P = book->dims;
	float	   *rows = scratch;
	float	   *axes = rows + P * P;
	float	   *rest = axes + P * P;
	float	   *norm2 = rest + BLOCK * P;
	float		ridge = 0;

	/* while the covariance is summed up, the place of axes and rest is free */
	sum_squares(P, n, x, host, axes, rows);
	for (size_t i = 0; i < P; i++)
		ridge += RIDGE * rows[i * P + i] / (float) P;
	for (size_t i = 0; i < P; i++)
		rows[i * P + i] += ridge;
	find_axes(P, host, rows, norm2, axes);
	for (uint32_t dimension = 0; dimension * book->parts < P; dimension++)
		mix_axes(book, dimension, host, axes, norm2, (uint32_t *) rest, rotation);

	/* of so many turns it is the product that it is off by some 1e-4 */
	vdb_opq_polar(P, rotation, host, scratch);
}
