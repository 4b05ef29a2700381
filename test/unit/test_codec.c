/*
 * test_codec.c
 *	  Unit test of src/quant: what the rotation, the node code and the hot code
 *	  promise, at every SIMD level that this machine has.  Prints TAP.
 *
 * The bounds of a distance are the promise that matters most: rows come back
 * in the operator's order only if no bound is ever wrong.  They are held
 * against the operators' own formulas over millions of pairs, among them those
 * where float sums lose most: nearly equal vectors far from the origin,
 * constant vectors, squares that underflow or overflow.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block_fixture.h"
#include "quant/codec.h"
#include "quant/rotate.h"
#include "tap.h"

/* ---- random numbers and memory ---- */

/* Uniform in (0, 1]. */
static double
random_uniform(void)
{
	return (random_u32() + 1.0) / 4294967296.0;
}

static double
random_normal(void)
{
	return sqrt(-2 * log(random_uniform())) * cos(6.283185307179586 * random_uniform());
}

static double
dot(size_t n, const float *a, const float *b)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) a[i] * b[i];
	return sum;
}

static const char *const metric_names[VDB_DENSE_METRICS] = {"l2", "ip", "cosine", "l1"};

#define SEED UINT64_C(0x123456789abcdef)

/* ---- data ---- */

typedef enum Kind
{
	KIND_NORMAL,
	KIND_HEAVY,					/* a ratio of normals: no variance */
	KIND_SPARSE,				/* one entry in ten */
	KIND_BYTES,					/* whole numbers 0 .. 255 */
	KIND_ONE,					/* a single entry */
	KIND_OFFSET,				/* mean 10000, spread 1 */
	KIND_CONSTANT,				/* all entries equal */
	KIND_STEPS,					/* the same in all vectors, up to a factor */
	KIND_SCALES,				/* lengths from 1e-25 to 1e18 in one set */
	KIND_HUGE,					/* 1e17 */
	KIND_SQUARES,				/* sums of squares just below overflow, or above */
	KIND_SUMS,					/* sums just below overflow, or above */
	KIND_OVERFLOW,				/* 1e30 */
	KIND_TINY,					/* 1e-21: squares are denormal */
	KIND_UNDERFLOW,				/* 1e-30 */
	KIND_DENORMAL,				/* 1e-40 */
	KIND_ZERO,
	NUM_KINDS
} Kind;

static const char *const kind_names[NUM_KINDS] = {
	"normal", "heavy", "sparse", "bytes", "one", "offset", "constant", "steps", "scales", "huge",
	"squares", "sums", "overflow", "tiny", "underflow", "denormal", "zero"
};

static double
random_entry(Kind kind)
{
	switch (kind)
	{
		case KIND_HEAVY:
			return random_normal() / (fabs(random_normal()) + 1e-3);
		case KIND_SPARSE:
			return random_u32() % 10 == 0 ? random_normal() : 0;
		case KIND_BYTES:
			return random_u32() % 256;
		case KIND_OFFSET:
			return 10000 + random_normal();
		case KIND_HUGE:
			return 1e17 * random_normal();
		case KIND_OVERFLOW:
			return 1e30 * random_normal();
		case KIND_TINY:
			return 1e-21 * random_normal();
		case KIND_UNDERFLOW:
			return 1e-30 * random_normal();
		case KIND_DENORMAL:
			return 1e-40 * random_normal();
		default:
			return random_normal();
	}
}

static void
fill_vector(Kind kind, size_t n, float *x)
{
	double		factor = random_normal();

	if (kind == KIND_SCALES)
		factor = pow(10, 43 * random_uniform() - 25);
	if (kind == KIND_SQUARES)
		factor = sqrt(FLT_MAX / n) * (0.5 + random_uniform());
	if (kind == KIND_SUMS)
		factor = FLT_MAX / n * (0.1 + 0.9 * random_uniform());
	for (size_t i = 0; i < n; i++)
	{
		switch (kind)
		{
			case KIND_CONSTANT:
				x[i] = (float) factor;
				break;
			case KIND_STEPS:
				x[i] = (float) (factor * (i % 7 + 0.1));
				break;
			case KIND_SCALES:
				x[i] = (float) (factor * random_normal());
				break;
			case KIND_SQUARES:
			case KIND_SUMS:
				x[i] = (float) (random_u32() % 8 == 0 ? -factor : factor);
				break;
			case KIND_ONE:
			case KIND_ZERO:
				x[i] = 0;
				break;
			default:
				x[i] = (float) random_entry(kind);
		}
	}
	if (kind == KIND_ONE)
		x[random_u32() % n] = (float) factor;
}

/* ---- rotation ---- */

static const size_t rotation_sizes[] = {8, 16, 24, 104, 128, 784, 1000, 1536, 16000};

#define NUM_ROTATION_SIZES (sizeof(rotation_sizes) / sizeof(rotation_sizes[0]))

/* Norms and inner products, of dense and of sparse vectors. */
static bool
check_rotation_keeps(size_t P)
{
	bool		passed = true;

	for (int trial = 0; trial < 20 && passed; trial++)
	{
		uint64_t	seed = SEED + trial;
		float	   *x;
		float	   *y;
		double		xx;
		double		yy;
		double		xy;

		if (is_left_out())
			continue;
		x = new_floats(P);
		y = new_floats(P);
		fill_vector(trial % 2 ? KIND_NORMAL : KIND_ONE, P, x);
		fill_vector(trial % 3 ? KIND_HEAVY : KIND_SPARSE, P, y);
		xx = dot(P, x, x);
		yy = dot(P, y, y);
		xy = dot(P, x, y);
		vdb_rotate(P, seed, x);
		vdb_rotate(P, seed, y);
		if (fabs(dot(P, x, x) - xx) > 1e-5 * xx || fabs(dot(P, y, y) - yy) > 1e-5 * yy ||
			fabs(dot(P, x, y) - xy) > 1e-5 * sqrt(xx * yy))
			passed = failure("P %zu trial %d: %g %g %g became %g %g %g", P, trial, xx, yy, xy,
							 dot(P, x, x), dot(P, y, y), dot(P, x, y));
		free(x);
		free(y);
	}
	return passed;
}

/* Every row and every column of the matrix, for sizes where that is cheap. */
static bool
check_rotation_matrix(size_t P)
{
	float	   *matrix = new_floats(P * P);
	bool		passed = true;

	memset(matrix, 0, P * P * sizeof(float));
	for (size_t i = 0; i < P; i++)
	{
		matrix[i * P + i] = 1;
		vdb_rotate(P, SEED, matrix + i * P);
	}
	for (size_t i = 0; i < P && passed; i++)
	{
		for (size_t j = 0; j < P && passed; j++)
		{
			double		rows = 0;
			double		columns = 0;

			for (size_t k = 0; k < P; k++)
			{
				rows += (double) matrix[i * P + k] * matrix[j * P + k];
				columns += (double) matrix[k * P + i] * matrix[k * P + j];
			}
			if (fabs(rows - (i == j)) > 1e-5 || fabs(columns - (i == j)) > 1e-5)
				passed = failure("P %zu (%zu, %zu): rows %g, columns %g", P, i, j, rows, columns);
		}
	}
	free(matrix);
	return passed;
}

/* A function of size and seed, the same at all levels; 0 changes nothing. */
static bool
check_rotation_function(size_t P)
{
	VdbSimdLevel best = vdb_kernels->level;
	float	   *x = new_floats(P);
	float	   *first = new_floats(P);
	float	   *again = new_floats(P);
	bool		passed = true;

	fill_vector(KIND_NORMAL, P, x);
	memcpy(first, x, P * sizeof(float));
	vdb_rotate(P, SEED, first);
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		memcpy(again, x, P * sizeof(float));
		vdb_rotate(P, SEED, again);
		if (memcmp(first, again, P * sizeof(float)) != 0)
			passed = failure("P %zu level %d: other bits", P, level);
	}
	vdb_distance_force(best);
	memcpy(again, x, P * sizeof(float));
	vdb_rotate(P, SEED + 1, again);
	if (memcmp(first, again, P * sizeof(float)) == 0)
		passed = failure("P %zu: the seed does not matter", P);
	memcpy(again, x, P * sizeof(float));
	vdb_rotate(P, 0, again);
	if (memcmp(x, again, P * sizeof(float)) != 0)
		passed = failure("P %zu: seed 0 changes something", P);
	free(x);
	free(first);
	free(again);
	return passed;
}

/*
 * Quantisation wants entries that look normal, whatever the input: a single
 * entry reaches all outputs and none takes most of it; of a sparse vector
 * nothing can be seen any more.
 */
static bool
check_rotation_spreads(size_t P)
{
	float	   *x = new_floats(P);
	bool		passed = true;

	for (int trial = 0; trial < 50 && passed; trial++)
	{
		double		norm;
		double		fourth = 0;
		double		largest = 0;
		size_t		reached = 0;

		if (is_left_out())
			continue;
		fill_vector(trial < 25 ? KIND_ONE : KIND_SPARSE, P, x);
		norm = sqrt(dot(P, x, x));
		vdb_rotate(P, SEED + trial, x);
		for (size_t i = 0; i < P; i++)
		{
			double		share = fabs(x[i] / norm);

			reached += share > 0;
			largest = fmax(largest, share);
			fourth += pow(share, 4) * P;
		}
		/* the kurtosis of normal numbers is 3 */
		if (reached < P * 9 / 10 || largest > 0.5 || (trial >= 25 && fourth > 4.5))
			passed = failure("P %zu trial %d: reaches %zu, largest %.3f, kurtosis %.2f", P, trial,
							 reached, largest, fourth);
	}
	free(x);
	return passed;
}

static void
check_rotation(void)
{
	for (size_t i = 0; i < NUM_ROTATION_SIZES; i++)
	{
		size_t		P = rotation_sizes[i];

		report(check_rotation_keeps(P), "rotation of %zu keeps norms and inner products", P);
		report(check_rotation_function(P), "rotation of %zu is a function of the seed", P);
		if (P <= 128)
			report(is_left_out() || check_rotation_matrix(P), "rotation of %zu is an orthonormal matrix", P);
		if (P >= 104)
			report(check_rotation_spreads(P), "rotation of %zu spreads what it gets", P);
	}
}

/* ---- a set of vectors and its codec ---- */

typedef struct Set
{
	VdbCodec	codec;
	float	   *center;
	uint32_t	count;
	float	   *raw;			/* dims floats each */
	float	   *coded;			/* P floats each: in code space */
	float	   *norms;
	VdbNodeFactors *factors;
	uint8_t    *hi;				/* P bytes each */
	uint8_t    *lo;				/* the codec's lo_bytes each */
} Set;

/* As many coarse dimensions as there are. */
#define ALL_COARSE UINT32_MAX

static void
init_codec(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint32_t coarse, const float *center)
{
	vdb_codec_init(codec, metric, dims, SEED, center);
	vdb_codec_set_node_coarse(codec, coarse < codec->P ? coarse : codec->P);
}

/* Like a build: the center is the mean, where that is finite. */
static void
find_center(Set *set)
{
	uint32_t	P = set->codec.P;
	float	   *scratch = new_floats(P);
	double	   *sum = new_block(P * sizeof(double));

	memset(sum, 0, P * sizeof(double));
	for (uint32_t i = 0; i < set->count; i++)
		vdb_codec_accumulate(&set->codec, set->raw + (size_t) i * set->codec.dims, scratch, sum);
	for (uint32_t i = 0; i < P; i++)
	{
		float		mean = (float) (sum[i] / set->count);

		set->center[i] = isfinite(mean) ? mean : 0;
	}
	init_codec(&set->codec, set->codec.metric, set->codec.dims, set->codec.node_coarse, set->center);
	free(scratch);
	free(sum);
}

static Set
new_set(VdbMetric metric, uint32_t dims, uint32_t coarse, Kind kind, uint32_t count)
{
	Set			set;
	uint32_t	P = vdb_codec_padded(dims);

	set.center = new_floats(P);
	memset(set.center, 0, P * sizeof(float));
	init_codec(&set.codec, metric, dims, coarse, set.center);
	set.count = count;
	set.raw = new_floats((size_t) count * dims);
	set.coded = new_floats((size_t) count * P);
	set.norms = new_floats(count);
	set.factors = new_block(count * sizeof(VdbNodeFactors));
	set.hi = new_block((size_t) count * P);
	set.lo = new_block((size_t) count * set.codec.lo_bytes);
	for (uint32_t i = 0; i < count; i++)
		fill_vector(kind, dims, set.raw + (size_t) i * dims);
	find_center(&set);
	for (uint32_t i = 0; i < count; i++)
	{
		float	   *x = set.coded + (size_t) i * P;

		set.norms[i] = vdb_codec_transform(&set.codec, set.raw + (size_t) i * dims, x);
		set.factors[i] = vdb_encode_node(&set.codec, x, set.norms[i], set.hi + (size_t) i * P,
										 set.lo + (size_t) i * set.codec.lo_bytes);
	}
	return set;
}

static void
free_set(Set *set)
{
	free(set->center);
	free(set->raw);
	free(set->coded);
	free(set->norms);
	free(set->factors);
	free(set->hi);
	free(set->lo);
}

/* ---- node codes ---- */

/* What a code stands for is as near as the code says, and says not too much. */
static bool
check_node_set(const Set *set)
{
	uint32_t	P = set->codec.P;
	uint32_t	coarse = set->codec.node_coarse;
	bool		l1 = set->codec.metric == VDB_METRIC_L1;
	float	   *decoded = new_floats(P);
	bool		passed = true;

	for (uint32_t i = 0; i < set->count && passed; i++)
	{
		const float *x = set->coded + (size_t) i * P;
		VdbNodeFactors f = set->factors[i];
		double		error = 0;
		double		size = 0;
		double		largest = 0;
		double		expected;

		vdb_decode_node(&set->codec, f, set->hi + (size_t) i * P,
								 set->lo + (size_t) i * set->codec.lo_bytes, decoded);
		for (uint32_t j = 0; j < P; j++)
		{
			double		e = fabs((double) x[j] - decoded[j]);

			error += l1 ? e : e * e;
			size += l1 ? fabs((double) x[j]) : (double) x[j] * x[j];
			largest = fmax(largest, fabs((double) x[j]));
		}
		if (!l1)
		{
			error = sqrt(error);
			size = sqrt(size);
		}
		/* a vector that overflowed has a code that says nothing */
		if (isinf(f.residual) && !isfinite(error) && isfinite(f.scale) && !isnan(f.add))
			continue;
		if (isnan(f.scale) || isnan(f.add) || !(error <= f.residual))
			passed = failure("vector %u: error %g, residual %g", i, error, f.residual);

		/* half a step of 2036 to either side in each dimension, or of 509, and rounding */
		expected = largest / 2036 / 2 * (l1 ? P + 3.0 * coarse : sqrt(P + 15.0 * coarse)) +
			1e-5 * (size + set->norms[i]);
		if (largest > 1e-35 && set->norms[i] < FLT_MAX && !(f.residual <= expected * 1.01 + 1e-19))
			passed = failure("vector %u: residual %g where %g will do", i, f.residual, expected);
	}
	free(decoded);
	return passed;
}

static void
check_node_codes(void)
{
	static const uint32_t dims[] = {1, 8, 25, 100, 784, 1536};
	const size_t num_dims = sizeof(dims) / sizeof(dims[0]);

	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		for (int kind = 0; kind < NUM_KINDS; kind++)
		{
			bool		passed = true;

			for (size_t i = 0; i < 3 * num_dims; i++)
			{
				uint32_t	P = vdb_codec_padded(dims[i % num_dims]);
				uint32_t	coarse = i < num_dims ? 0 : i < 2 * num_dims ? P : P - P / 2 / 64 * 64;
				Set			set;

				if (is_left_out())
					continue;
				set = new_set((VdbMetric) metric, dims[i % num_dims], coarse, (Kind) kind, 20);
				if (!check_node_set(&set))
					passed = failure("%u dimensions, %u of them coarse", dims[i % num_dims], coarse);
				free_set(&set);
			}
			report(passed, "node codes of %s vectors, %s", kind_names[kind], metric_names[metric]);
		}
	}
}

/* ---- bounds ---- */

/* What the operator returns; a scan sorts NaN with infinity. */
static double
operator_distance(VdbMetric metric, uint32_t dims, const float *a, const float *b)
{
	double		distance;

	switch (metric)
	{
		case VDB_METRIC_L2:
			return sqrt((double) vdb_kernels->l2_squared(dims, a, b));
		case VDB_METRIC_IP:
			distance = -(double) vdb_kernels->inner_product(dims, a, b);
			break;
		case VDB_METRIC_COSINE:
			{
				VdbCosineParts p = vdb_kernels->cosine(dims, a, b);

				distance = (double) p.ip / sqrt((double) p.aa * (double) p.bb);
				distance = 1 - (distance > 1 ? 1 : distance < -1 ? -1 : distance);
				break;
			}
		default:
			return vdb_kernels->l1(dims, a, b);
	}
	return isnan(distance) ? INFINITY : distance;
}

typedef struct Tally
{
	uint64_t	pairs;
	uint64_t	violations;
	double		relative_width; /* sum over pairs, by the distance's scale */
	uint64_t	widths;
} Tally;

#define NUM_QUERIES 16

/*
 * A query for the set: one of its vectors, the same but for the last digits,
 * a small multiple of one, or a vector like them.
 */
static void
make_query(const Set *set, Kind kind, int number, float *query)
{
	uint32_t	dims = set->codec.dims;
	const float *x = set->raw + (size_t) (random_u32() % set->count) * dims;

	if (number < 8)
		memcpy(query, x, dims * sizeof(float));
	else
		fill_vector(kind, dims, query);
	if (number >= 4 && number < 8)
	{
		for (uint32_t i = 0; i < dims; i++)
			query[i] *= 1 + 1e-6f * (float) random_normal();
	}
	if (number == 8)
		memset(query, 0, dims * sizeof(float));
	if (number == 9 || number == 10)
	{
		for (uint32_t i = 0; i < dims; i++)
			query[i] *= number == 9 ? 1e-4f : 1e-25f;
	}
}

static void
check_bounds_query(const Set *set, const float *raw, Kind kind, Tally *tally)
{
	const VdbCodec *codec = &set->codec;
	uint32_t	P = codec->P;
	VdbQuery	query;
	float		norm;

	query.vector = new_floats(P);
	query.hot = new_block(vdb_query_bytes(codec, query.vector));
	norm = vdb_codec_transform(codec, raw, query.vector);
	vdb_query_prepare(&query, codec, norm);
	for (uint32_t i = 0; i < set->count; i++)
	{
		double		exact = operator_distance(codec->metric, codec->dims, raw,
											  set->raw + (size_t) i * codec->dims);
		float		score = vdb_node_score(&query, set->factors[i], set->hi + (size_t) i * P,
										   set->lo + (size_t) i * set->codec.lo_bytes);
		VdbBounds	bounds = vdb_node_bounds(&query, set->factors[i], set->hi + (size_t) i * P, score);

		/* the angle to a zero vector is not asked for */
		if (codec->metric == VDB_METRIC_COSINE && (norm == 0 || set->norms[i] == 0))
			continue;
		tally->pairs++;
		if (!(bounds.lower <= exact && exact <= bounds.upper))
		{
			if (tally->violations++ < 3)
				failure("%s, %s, %u dimensions, %u coarse, %s: %.9g is not in [%.9g, %.9g]",
						metric_names[codec->metric], kind_names[kind], codec->dims, codec->node_coarse,
						vdb_distance_level_name(vdb_kernels->level), exact, bounds.lower,
						bounds.upper);
		}
		if (kind == KIND_NORMAL && codec->dims >= 100 && codec->node_coarse == 0 && exact > 0.5 && isfinite(bounds.upper))
		{
			tally->relative_width += (bounds.upper - bounds.lower) / exact;
			tally->widths++;
		}
	}
	free(query.vector);
	free(query.hot);
}

static void
check_bounds_set(VdbMetric metric, uint32_t dims, uint32_t coarse, Kind kind, Tally *tally)
{
	VdbSimdLevel best = vdb_kernels->level;
	uint32_t	count = 150000 / NUM_QUERIES / dims;
	Set			set;
	float	   *raw = new_floats(dims);

	count = (uint32_t) share_of(count > 450 ? 450 : count);
	count = count < 10 ? 10 : count;
	set = new_set(metric, dims, coarse, kind, count);
	for (int number = 0; number < NUM_QUERIES; number++)
	{
		make_query(&set, kind, number, raw);
		/* what one machine encoded is searched by another */
		for (int level = 0; level < VDB_SIMD_LEVELS; level++)
		{
			if (vdb_distance_force((VdbSimdLevel) level))
				check_bounds_query(&set, raw, kind, tally);
		}
		vdb_distance_force(best);
	}
	free(raw);
	free_set(&set);
}

/* Products that overflow and cancel: the operator's sum is no number. */
static bool
check_bounds_cancelling(void)
{
	const float raw[2] = {1e17f, 1e17f};
	Set			set = new_set(VDB_METRIC_IP, 2, 0, KIND_ZERO, 2);
	Tally		tally = {0};

	for (uint32_t i = 0; i < 2; i++)
	{
		set.raw[2 * i] = i ? 1e22f : -1e22f;
		set.raw[2 * i + 1] = -set.raw[2 * i];
		set.norms[i] = vdb_codec_transform(&set.codec, set.raw + 2 * i, set.coded + 8 * i);
		set.factors[i] = vdb_encode_node(&set.codec, set.coded + 8 * i, set.norms[i], set.hi + 8 * i,
										 set.lo + set.codec.lo_bytes * i);
	}
	check_bounds_query(&set, raw, KIND_OVERFLOW, &tally);
	free_set(&set);
	return tally.pairs == 2 && tally.violations == 0;
}

static void
check_bounds(void)
{
	static const struct
	{
		uint32_t	dims;
		uint32_t	coarse;
	}			shapes[] =
	{
		{1, 0}, {2, 0}, {3, 0}, {8, 0}, {25, 0}, {100, 0}, {784, 0}, {1536, 0}, {5000, 0}, {16000, 0},
		{3, ALL_COARSE}, {25, ALL_COARSE}, {100, 40}, {784, 208}, {3072, ALL_COARSE}
	};
	uint64_t	pairs = 0;
	int			levels = 0;

	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		for (int kind = 0; kind < NUM_KINDS; kind++)
		{
			Tally		tally = {0};

			for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
			{
				/* long vectors take most of the time */
				if (shapes[i].dims < 100 || !is_left_out())
					check_bounds_set((VdbMetric) metric, shapes[i].dims, shapes[i].coarse, (Kind) kind,
									 &tally);
			}
			report(tally.violations == 0, "bounds of %s vectors, %s", kind_names[kind],
				   metric_names[metric]);
			if (tally.violations > 0)
				failure("%llu violations", (unsigned long long) tally.violations);
			pairs += tally.pairs;

			/* bounds that are always true are easy to have: these are narrow */
			if (kind == KIND_NORMAL && metric != VDB_METRIC_IP && share == 1)
				report(tally.relative_width / tally.widths < 3e-3, "bounds are narrow, %s: %.2g",
					   metric_names[metric], tally.relative_width / tally.widths);
		}
	}
	report(check_bounds_cancelling(), "bounds where products overflow and cancel");
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
		levels += vdb_distance_table((VdbSimdLevel) level) != NULL;
	report(pairs >= (uint64_t) share_of(2000000 * levels), "bounds of %llu pairs were looked at",
		   (unsigned long long) pairs);
}

/* ---- hot codes ---- */

/* A codec of other hot bits than its dimensions would get. */
static VdbCodec
hot_codec(VdbMetric metric, uint32_t dims, uint32_t bits, const float *center)
{
	VdbCodec	codec;

	vdb_codec_init(&codec, metric, dims, SEED, center);
	codec.hot_bits = bits;
	codec.hot_bytes = codec.P * bits / 8;
	return codec;
}

/*
 * The layout of codes and queries, for codes of every length: queries of whole
 * numbers up to 127 lose nothing when they become int8, so the score is what
 * plain arithmetic over decoded entries says.
 */
static bool
check_hot_layout_case(VdbMetric metric, uint32_t P, uint32_t bits)
{
	float	   *zero = new_floats(P);
	VdbCodec	codec;
	VdbQuery	query;
	uint8_t    *code;
	float	   *x = new_floats(P);
	float	   *decoded = new_floats(P);
	VdbHotFactors f;
	double		expected = 0;
	double		size = 0;
	double		got;
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(metric, P, bits, zero);
	code = new_block(codec.hot_bytes);
	query.vector = new_floats(P);
	query.hot = new_block(vdb_query_bytes(&codec, query.vector));
	for (uint32_t i = 0; i < P; i++)
		((float *) query.vector)[i] = (float) ((int) (random_u32() % 255) - 127);
	((float *) query.vector)[random_u32() % P] = 127;
	fill_vector(KIND_NORMAL, P, x);
	f = vdb_encode_hot(&codec, x, code);
	vdb_decode_hot(&codec, f, code, decoded);
	vdb_query_prepare(&query, &codec, sqrtf((float) dot(P, query.vector, query.vector)));
	got = vdb_hot_score(&query, f, code);
	switch (metric)
	{
		case VDB_METRIC_L1:
			for (uint32_t i = 0; i < P; i++)
				expected += fabs((double) ((float *) query.vector)[i] - decoded[i]);
			size = expected;
			break;
		case VDB_METRIC_IP:
			expected = -dot(P, query.vector, decoded);
			break;
		default:
			expected = dot(P, query.vector, query.vector) + f.add - 2 * dot(P, query.vector, decoded);
	}
	for (uint32_t i = 0; i < P; i++)
		size += fabs((double) ((float *) query.vector)[i]) * (fabs((double) ((float *) query.vector)[i]) +
												  fabs((double) f.rescale) * (1 << bits) * 2);
	if (fabs(got - expected) > 1e-6 * size)
		passed = failure("%s, P %u, %u bits, %s: score %.9g, expected %.9g", metric_names[metric], P,
						 bits, vdb_distance_level_name(vdb_kernels->level), got, expected);
	free(zero);
	free(x);
	free(decoded);
	free(code);
	free(query.vector);
	free(query.hot);
	return passed;
}

/*
 * Products of a query with a code are no farther from the truth than they say, and with what
 * rounding left of the query a hundred times nearer.
 */
static bool
check_hot_products_case(VdbMetric metric, uint32_t P, uint32_t bits)
{
	float	   *zero = new_floats(P);
	float	   *x = new_floats(P);
	float	   *decoded = new_floats(P);
	VdbCodec	codec;
	VdbQuery	queries[2];
	uint8_t    *code;
	VdbHotFactors f;
	double		expected;
	double		size;
	double		length;
	double		got = 0;
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(metric, P, bits, zero);
	code = new_block(codec.hot_bytes);
	for (int i = 0; i < 2; i++)
	{
		queries[i].vector = new_floats(P);
		queries[i].hot = new_block(vdb_query_bytes(&codec, queries[i].vector));
	}
	fill_vector(KIND_NORMAL, P, queries[0].vector);
	fill_vector(KIND_NORMAL, P, x);
	f = vdb_encode_hot(&codec, x, code);
	vdb_decode_hot(&codec, f, code, decoded);
	length = sqrt(dot(P, decoded, decoded));
	size = sqrt(dot(P, queries[0].vector, queries[0].vector)) * length;
	expected = vdb_codec_ip_weight(&codec) * dot(P, queries[0].vector, decoded);
	for (int i = 0; i < 2; i++)
	{
		if (i == 1)
			vdb_query_rest(&queries[0], queries[1].vector);
		vdb_query_prepare(&queries[i], &codec, 1);
		got += vdb_query_product(&queries[i], f.rescale, code);
		if (!(fabs(got - expected) <= vdb_query_rounding(&queries[i]) * length + 1e-6 * size))
			passed = failure("%s, P %u, %u bits, %s, part %d: product %.9g, expected %.9g", metric_names[metric],
							 P, bits, vdb_distance_level_name(vdb_kernels->level), i, got, expected);
	}
	if (!(vdb_query_rounding(&queries[1]) < vdb_query_rounding(&queries[0]) / 100))
		passed = failure("P %u, %u bits: rounding %.9g of %.9g", P, bits,
						 vdb_query_rounding(&queries[1]), vdb_query_rounding(&queries[0]));
	for (int i = 0; i < 2; i++)
	{
		free(queries[i].vector);
		free(queries[i].hot);
	}
	free(zero);
	free(x);
	free(decoded);
	free(code);
	return passed;
}

/* A check of codes of a metric, of so many dimensions and bits. */
typedef bool (*HotCase) (VdbMetric metric, uint32_t P, uint32_t bits);

/* Makes it for all lengths and bits, on all levels. */
static bool
check_hot_cases(VdbMetric metric, HotCase check)
{
	VdbSimdLevel best = vdb_kernels->level;
	bool		passed = true;

	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		for (uint32_t P = 8; P <= 1600; P += P < 600 ? 8 : 40)
		{
			for (uint32_t bits = metric == VDB_METRIC_L1 ? 4 : 2; bits <= 8; bits *= 2)
				passed = (is_left_out() || check(metric, P, bits)) && passed;
		}
	}
	vdb_distance_force(best);
	return passed;
}

/*
 * How good estimates are.  With D the quantiser's mean squared error for unit
 * variance (Max, 1960: equally spaced levels), the code's direction v makes
 * <x,v>^2 = (1 - D) |x|^2 |v|^2, so the rescaled inner product with a vector of
 * any other direction errs by sqrt(D / ((1 - D) P)) of the norms, without
 * bias, and correlates with the true one by sqrt(1 - D).  Eight bits span the
 * largest entry, 4.5 deviations at most here; the int8 query errs as much
 * again.
 */
static bool
check_hot_quality(uint32_t P, uint32_t bits)
{
	const double span = 4.5 / 127.5;
	const double distortion = bits == 2 ? 0.1188 : bits == 4 ? 0.01154 : span * span / 12 * 2;
	const double theory = sqrt(distortion / (1 - distortion) / P);
	const int	trials = 6000;
	float	   *zero = new_floats(P);
	VdbCodec	codec;
	VdbQuery	query;
	uint8_t    *code;
	float	   *x = new_floats(P);
	double		sum = 0;
	double		sum2 = 0;
	double		tt = 0;
	double		ee = 0;
	double		te = 0;
	double		t1 = 0;
	double		e1 = 0;
	double		rms;
	double		mean;
	double		correlation;
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(VDB_METRIC_L2, P, bits, zero);
	code = new_block(codec.hot_bytes);
	query.vector = new_floats(P);
	query.hot = new_block(vdb_query_bytes(&codec, query.vector));
	for (int t = 0; t < trials; t++)
	{
		VdbHotFactors f;
		double		ip;
		double		scale;
		double		estimate;

		if (t % 100 == 0)
		{
			fill_vector(KIND_NORMAL, P, query.vector);
			vdb_query_prepare(&query, &codec, 0);
		}
		fill_vector(KIND_NORMAL, P, x);
		f = vdb_encode_hot(&codec, x, code);
		scale = sqrt(dot(P, x, x) * dot(P, query.vector, query.vector));
		ip = dot(P, x, query.vector) / scale;
		estimate = ((double) query.add + f.add - vdb_hot_score(&query, f, code)) / 2 / scale;
		sum += estimate - ip;
		sum2 += (estimate - ip) * (estimate - ip);
		t1 += ip;
		e1 += estimate;
		tt += ip * ip;
		ee += estimate * estimate;
		te += ip * estimate;
	}
	rms = sqrt(sum2 / trials);
	mean = sum / trials;
	correlation = (te - t1 * e1 / trials) /
		sqrt((tt - t1 * t1 / trials) * (ee - e1 * e1 / trials));
	if (rms > 1.1 * theory)
		passed = failure("error %g of the norms where theory says %g", rms, theory);
	if (fabs(mean) > 4 * theory / sqrt(trials) + 2e-6)
		passed = failure("biased by %g of the norms", mean);
	if (correlation < sqrt(1 - distortion) - 0.004)
		passed = failure("correlation %g where theory says %g", correlation, sqrt(1 - distortion));
	free(zero);
	free(x);
	free(code);
	free(query.vector);
	free(query.hot);
	return passed;
}

/* A vector that points where the code does is estimated without any error. */
static bool
check_hot_self(uint32_t P, uint32_t bits)
{
	float	   *zero = new_floats(P);
	VdbCodec	codec;
	uint8_t    *code;
	float	   *x = new_floats(P);
	float	   *decoded = new_floats(P);
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(VDB_METRIC_L2, P, bits, zero);
	code = new_block(codec.hot_bytes);
	for (int kind = 0; kind < NUM_KINDS && passed; kind++)
	{
		VdbHotFactors f;
		double		xx;

		if (kind == KIND_TINY || kind == KIND_UNDERFLOW || kind == KIND_DENORMAL)
			continue;
		fill_vector((Kind) kind, P, x);
		f = vdb_encode_hot(&codec, x, code);
		vdb_decode_hot(&codec, f, code, decoded);
		xx = dot(P, x, x);
		if (fabs(dot(P, x, decoded) - xx) > 1e-5 * xx)
			passed = failure("P %u, %u bits, %s: <x,x> is %g, estimated %g", P, bits,
							 kind_names[kind], xx, dot(P, x, decoded));
	}
	free(zero);
	free(x);
	free(decoded);
	free(code);
	return passed;
}

/* The same bytes and factors every time, whatever was in the buffer. */
static bool
check_hot_pure(VdbMetric metric, uint32_t P, uint32_t bits)
{
	float	   *zero = new_floats(P);
	VdbCodec	codec;
	uint8_t    *first;
	uint8_t    *again;
	float	   *x = new_floats(P);
	float	   *decoded = new_floats(P);
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(metric, P, bits, zero);
	first = new_block(codec.hot_bytes);
	again = new_block(codec.hot_bytes);
	for (int kind = 0; kind < NUM_KINDS && passed; kind++)
	{
		VdbHotFactors a;
		VdbHotFactors b;

		fill_vector((Kind) kind, P, x);
		memset(again, 0xFF, codec.hot_bytes);
		a = vdb_encode_hot(&codec, x, first);
		b = vdb_encode_hot(&codec, x, again);
		if (memcmp(first, again, codec.hot_bytes) != 0 || memcmp(&a, &b, sizeof(a)) != 0)
			passed = failure("P %u, %u bits, %s: not the same twice", P, bits, kind_names[kind]);
		if (isnan(a.add) || isnan(a.rescale))
			passed = failure("P %u, %u bits, %s: factors %g %g", P, bits, kind_names[kind], a.add,
							 a.rescale);
		if (kind != KIND_NORMAL)
			continue;

		/* what a code stands for has that code */
		vdb_decode_hot(&codec, a, first, decoded);
		b = vdb_encode_hot(&codec, decoded, again);
		if (memcmp(first, again, codec.hot_bytes) != 0 ||
			fabsf(a.rescale - b.rescale) > 1e-5f * a.rescale)
			passed = failure("P %u, %u bits: a decoded code is encoded otherwise", P, bits);
	}
	free(zero);
	free(x);
	free(decoded);
	free(first);
	free(again);
	return passed;
}

/* Scores are never NaN, whatever bytes a page shows. */
static bool
check_scores_are_numbers(VdbMetric metric, uint32_t dims)
{
	static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0, 1};
	const int	num_odd = sizeof(odd) / sizeof(odd[0]);
	uint32_t	P = vdb_codec_padded(dims);
	float	   *zero = new_floats(P);
	float	   *x = new_floats(P);
	VdbCodec	codec;
	VdbQuery	query;
	uint8_t    *code;
	uint8_t    *hi = new_block(P);
	uint8_t    *lo = new_block(P / 2);
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	vdb_codec_init(&codec, metric, dims, SEED, zero);
	code = new_block(codec.hot_bytes);
	query.vector = new_floats(P);
	query.hot = new_block(vdb_query_bytes(&codec, query.vector));
	for (int in = 0; in < num_odd; in++)
	{
		fill_vector(KIND_NORMAL, P, query.vector);
		((float *) query.vector)[P / 2] = odd[in];
		vdb_query_prepare(&query, &codec, 1);
		for (int a = 0; a < num_odd; a++)
		{
			for (int b = 0; b < num_odd; b++)
			{
				VdbHotFactors hot = {odd[a], odd[b]};
				VdbNodeFactors node = {odd[a], odd[b], 1};
				float		s1 = vdb_hot_score(&query, hot, code);
				float		s2 = vdb_node_score(&query, node, hi, lo);
				float		s3 = vdb_pair_score(&codec, node, hi, node, hi);
				VdbBounds	bounds = vdb_node_bounds(&query, node, hi, s2);

				if (isnan(s1) || isnan(s2) || isnan(s3) || isnan(bounds.lower) || isnan(bounds.upper))
					passed = failure("%s, %u dimensions, factors %g %g: %g %g %g [%g %g]",
									 metric_names[metric], dims, odd[a], odd[b], s1, s2, s3,
									 bounds.lower, bounds.upper);
				if (metric != VDB_METRIC_L1 && isnan(odd[a]) && (s1 != FLT_MAX || s2 != FLT_MAX))
					passed = failure("a factor NaN scores %g %g", s1, s2);
			}
		}
		memcpy(x, query.vector, P * sizeof(float));
		if (isnan(vdb_vector_score(&codec, x, query.vector)))
			passed = failure("a vector with %g scores NaN", odd[in]);
	}
	free(zero);
	free(x);
	free(hi);
	free(lo);
	free(code);
	free(query.vector);
	free(query.hot);
	return passed;
}

/* Scores of pairs, which builds compare, against plain arithmetic. */
static bool
check_pair_scores(VdbMetric metric, uint32_t dims)
{
	Set			set = new_set(metric, dims, 0, KIND_NORMAL, 40);
	uint32_t	P = set.codec.P;
	bool		passed = true;

	for (uint32_t i = 0; i < set.count && passed; i++)
	{
		for (uint32_t j = 0; j < set.count && passed; j++)
		{
			const float *x = set.coded + (size_t) i * P;
			const float *y = set.coded + (size_t) j * P;
			VdbNodeFactors fx = set.factors[i];
			VdbNodeFactors fy = set.factors[j];
			float		score = vdb_pair_score(&set.codec, fx, set.hi + (size_t) i * P, fy,
											   set.hi + (size_t) j * P);
			float		back = vdb_pair_score(&set.codec, fy, set.hi + (size_t) j * P, fx,
											  set.hi + (size_t) i * P);
			double		allowed = 0;

			/* a hi plane is off by at most half of its own step of 16 */
			for (uint32_t k = 0; k < P; k++)
			{
				if (metric == VDB_METRIC_L1)
					allowed += 8.6 * (fx.scale + fy.scale);
				else
					allowed += 2 * (8.6 * fx.scale * fabsf(y[k]) + 8.6 * fy.scale * fabsf(x[k]) +
									74 * fx.scale * fy.scale);
			}
			allowed += 1e-5 * (1 + fabsf(score) + fabsf(fx.add) + fabsf(fy.add));
			if (fabs((double) score - vdb_vector_score(&set.codec, x, y)) > allowed)
				passed = failure("%s, %u dimensions: pair %.9g, vectors %.9g, allowed %g",
								 metric_names[metric], dims, score, vdb_vector_score(&set.codec, x, y),
								 allowed);
			if (fabsf(score - back) > 1e-5f * (1 + fabsf(score) + fabsf(fx.add) + fabsf(fy.add)))
				passed = failure("%s, %u dimensions: %.9g one way, %.9g the other",
								 metric_names[metric], dims, score, back);
		}
	}
	free_set(&set);
	return passed;
}

static void
check_hot_codes(void)
{
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		bool		pairs = true;
		bool		numbers = true;

		report(check_hot_cases((VdbMetric) metric, check_hot_layout_case), "hot scores of every length, %s",
			   metric_names[metric]);
		if (metric != VDB_METRIC_L1)
			report(check_hot_cases((VdbMetric) metric, check_hot_products_case), "products with hot codes, %s", metric_names[metric]);
		for (uint32_t dims = 1; dims <= 1000; dims = dims * 2 + 1)
		{
			pairs = (is_left_out() || check_pair_scores((VdbMetric) metric, dims)) && pairs;
			numbers = check_scores_are_numbers((VdbMetric) metric, dims) && numbers;
		}
		report(pairs, "pair scores, %s", metric_names[metric]);
		report(numbers, "scores are never NaN, %s", metric_names[metric]);
	}
	for (uint32_t bits = 2; bits <= 8; bits *= 2)
	{
		report((is_left_out() || check_hot_quality(104, bits)) &&
			   (is_left_out() || check_hot_quality(384, bits)),
			   "hot estimates are as good as theory, %u bits", bits);
		report(check_hot_self(8, bits) && check_hot_self(104, bits) && check_hot_self(1536, bits),
			   "hot estimate of a vector with itself, %u bits", bits);
		report(check_hot_pure(VDB_METRIC_L2, 104, bits) && check_hot_pure(VDB_METRIC_IP, 784, bits) &&
			   (bits == 2 || check_hot_pure(VDB_METRIC_L1, 104, bits)),
			   "hot codes are a function of the vector, %u bits", bits);
	}
}

/* ---- what is the same on every machine ---- */

/* Of bytes; FNV-1a. */
static uint64_t
add_to_hash(uint64_t hash, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ ((const uint8_t *) bytes)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/*
 * A hash of codes and of those factors that do not come from kernels that sum.
 * The vectors are made without the C library's functions, which differ.
 */
static uint64_t
hash_codes(VdbMetric metric, uint32_t dims, uint32_t coarse)
{
	uint32_t	P = vdb_codec_padded(dims);
	uint64_t	hash = UINT64_C(0xcbf29ce484222325);
	uint64_t	saved = random_state;
	float	   *center = new_floats(P);
	float	   *raw = new_floats(dims);
	float	   *x = new_floats(P);
	float	   *scratch = new_floats(P);
	uint8_t    *hi = new_block(P);
	VdbCodec	codec;
	uint8_t    *lo;
	uint8_t    *hot;

	random_state = SEED;
	for (uint32_t i = 0; i < P; i++)
		center[i] = (float) (int) (random_u32() % 2001 - 1000) / 8192;
	init_codec(&codec, metric, dims, coarse, center);
	lo = new_block(codec.lo_bytes);
	hot = new_block(codec.hot_bytes);
	for (int vector = 0; vector < 20; vector++)
	{
		VdbNodeFactors f;
		VdbHotFactors h;

		/* from whole numbers to those that take all digits */
		for (uint32_t i = 0; i < dims; i++)
			raw[i] = (float) (int32_t) random_u32() / (float) (UINT64_C(1) << (32 - vector));
		vdb_codec_transform(&codec, raw, x);
		f = vdb_encode_node(&codec, x, 1, hi, lo);
		h = vdb_hot_of_node(&codec, f, hi, lo, scratch, hot);
		hash = add_to_hash(hash, hi, P);
		hash = add_to_hash(hash, lo, codec.lo_bytes);
		hash = add_to_hash(hash, &f, sizeof(f));
		hash = add_to_hash(hash, hot, codec.hot_bytes);
		hash = add_to_hash(hash, &h.rescale, sizeof(h.rescale));
	}
	random_state = saved;
	free(center);
	free(raw);
	free(x);
	free(scratch);
	free(hi);
	free(lo);
	free(hot);
	return hash;
}

/* Where one changes, indexes made before hold other codes than this version makes. */
static const struct
{
	VdbMetric	metric;
	uint32_t	dims;
	uint32_t	coarse;
	uint64_t	hash;
}			hashes[] =
{
	{VDB_METRIC_L2, 25, 0, UINT64_C(0x3c23787c381fd4b2)},
	{VDB_METRIC_L2, 100, 0, UINT64_C(0x69843558d2de5888)},
	{VDB_METRIC_L2, 1536, 0, UINT64_C(0xda01913a183f69c5)},
	{VDB_METRIC_IP, 784, 0, UINT64_C(0x6ba8eb5bf45e6d5a)},
	{VDB_METRIC_COSINE, 384, 0, UINT64_C(0xf2484fe87d93863a)},
	{VDB_METRIC_L1, 50, 0, UINT64_C(0x670bdee2507f9607)},
	{VDB_METRIC_L1, 100, 0, UINT64_C(0xee6cca6200fe7658)},
	{VDB_METRIC_L2, 784, 208, UINT64_C(0xc157d27f3c788b6d)},
	{VDB_METRIC_COSINE, 3072, ALL_COARSE, UINT64_C(0x21a1dc2de9c2f174)},
	{VDB_METRIC_L1, 50, ALL_COARSE, UINT64_C(0xb8637de36d4d3dc9)},
};

static bool
check_hash(VdbMetric metric, uint32_t dims, uint32_t coarse, uint64_t expected)
{
	VdbSimdLevel best = vdb_kernels->level;
	bool		passed = true;

	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		uint64_t	hash;

		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		hash = hash_codes(metric, dims, coarse);
		if (hash != expected)
			passed = failure("%s: 0x%016llx", vdb_distance_level_name((VdbSimdLevel) level),
							 (unsigned long long) hash);
	}
	vdb_distance_force(best);
	return passed;
}

/*
 * Entries in the middle between two codes, multiples of 5 up to 255 * 5, go to
 * the even one: a fused multiply-add knows that a fifth is not quite a float, and
 * rounds some of them down.
 */
static bool
check_hot_middles(void)
{
	const uint32_t P = 512;
	float	   *zero = new_floats(P);
	float	   *x = new_floats(P);
	VdbCodec	codec;
	uint8_t    *code;
	bool		passed = true;

	memset(zero, 0, P * sizeof(float));
	codec = hot_codec(VDB_METRIC_L2, P, 8, zero);
	code = new_block(codec.hot_bytes);
	for (uint32_t i = 0; i < P; i++)
		x[i] = 5 * (float) ((int) (i < 511 ? i : 510) - 255);
	vdb_encode_hot(&codec, x, code);
	for (uint32_t i = 0; i < P && passed; i++)
	{
		uint32_t	halves = i < 511 ? i : 510;

		if (code[i] != (halves + (halves >> 1 & 1)) / 2)
			passed = failure("%g is coded as %d", x[i], code[i]);
	}
	free(zero);
	free(x);
	free(code);
	return passed;
}

static void
check_same_everywhere(void)
{
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		report(check_hash(hashes[i].metric, hashes[i].dims, hashes[i].coarse, hashes[i].hash),
			   "codes of %u dimensions%s are those of every machine, %s", hashes[i].dims,
			   hashes[i].coarse > 0 ? ", coarse," : "", metric_names[hashes[i].metric]);
	report(check_hot_middles(), "middles between codes are rounded to even on every machine");
}

/* ---- the codec's constants ---- */

static void
check_constants(void)
{
	bool		passed = true;

	for (uint32_t dims = 1; dims <= 16000; dims++)
	{
		for (int metric = 0; metric < VDB_DENSE_METRICS && passed; metric++)
		{
			float		center[8] = {0};
			uint32_t	P = vdb_codec_padded(dims);
			VdbCodec	codec;

			/* only the inner product looks at the center here */
			if ((metric == VDB_METRIC_IP && dims > 8) || is_left_out())
				continue;
			vdb_codec_init(&codec, (VdbMetric) metric, dims, SEED, center);
			if (P % 8 != 0 || P < dims || P >= dims + 8 || codec.P != P ||
				codec.hot_bits != vdb_codec_hot_bits((VdbMetric) metric, P) ||
				codec.hot_bytes * 8 != P * codec.hot_bits ||
				(codec.seed == 0) != (metric == VDB_METRIC_L1) ||
				vdb_query_bytes(&codec, NULL) < P || vdb_query_bytes(&codec, NULL) % VDB_HOT_BLOCK != 0)
				passed = failure("%u dimensions, %s", dims, metric_names[metric]);
		}
	}
	report(passed, "constants of codecs");
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	check_constants();
	check_rotation();
	check_node_codes();
	check_hot_codes();
	check_same_everywhere();
	check_bounds();
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
