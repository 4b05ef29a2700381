/*
 * codec_dense.c
 *	  Dense vectors: encoding, preparing queries, distances with error bounds.
 *
 * What a code's bits mean is said in distance.h; the arithmetic behind the
 * factors is in README.md.
 */
#include "quant/codec_private.h"
#include "quant/rotate.h"

static const VdbCodecOps dense_ops;

#define NODE_MAX 2039			/* largest |v| of a node code: 16 * 127 + 7 */
#define NODE10_MAX 2036			/* and where some of it has 10 bits, a multiple of 4 */
#define HOT_FIT_ROUNDS 4

/*
 * Rounding of normalisation and rotation, relative to the norm: fewer than 80
 * roundings in a row for 16,000 dimensions.
 */
#define ROTATE_ERROR 5e-6

/*
 * Relative rounding error of two float sums of n terms together.  The scalar
 * kernels have at least 4 accumulators, or 2 in each of the three sums of the
 * cosine; the others at least 24.
 */
static inline double
sum_error(uint32_t n)
{
	double		lanes = vdb_kernels->level == VDB_SIMD_SCALAR ? 2 : 8;

	return (24 + n / lanes) * VDB_UNIT_ROUNDOFF;
}

double
vdb_codec_transform_error(const VdbCodec *codec, double norm, double size)
{
	double		error = 2 * VDB_UNIT_ROUNDOFF * size;

	if (codec->metric != VDB_METRIC_L1)
		error += ROTATE_ERROR * (norm + VDB_SHORT_LENGTH);
	return error;
}

uint32_t
vdb_codec_padded(uint32_t dims)
{
	return (dims + 7) / 8 * 8;
}

uint32_t
vdb_codec_hot_bits(VdbMetric metric, uint32_t P)
{
	if (P <= 64)
		return 8;
	if (P <= 256 || metric == VDB_METRIC_L1)
		return 4;
	return 2;
}

void
vdb_codec_init(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint64_t seed,
			   const float *center)
{
	uint32_t	P = vdb_codec_padded(dims);

	memset(codec, 0, sizeof(*codec));
	codec->ops = &dense_ops;
	codec->kind = VDB_CODEC_DENSE;
	codec->metric = metric;
	codec->dims = dims;
	codec->P = P;
	vdb_codec_set_hot_bits(codec, vdb_codec_hot_bits(metric, P));
	codec->hi_bytes = P;
	vdb_codec_set_node_coarse(codec, 0);
	codec->vector_bytes = P * sizeof(float);
	codec->seed = metric == VDB_METRIC_L1 ? 0 : seed;
	codec->center = center;
	if (metric == VDB_METRIC_IP && center != NULL)
		codec->base = -vdb_kernels->inner_product(P, center, center);
}

void
vdb_codec_set_node_coarse(VdbCodec *codec, uint32_t coarse)
{
	codec->node_coarse = coarse;
	codec->lo_bytes = (codec->P - coarse) / 2 + coarse / 4;
}

void
vdb_codec_set_hot_bits(VdbCodec *codec, uint32_t bits)
{
	codec->hot_bits = bits;
	codec->hot_bytes = codec->P * bits / 8;
}

/* Scales x to length 1 into out; returns what vdb_codec_transform does. */
static float
normalize(uint32_t n, const float *x, float *out)
{
	double		norm2 = 0;
	double		factor;
	float		norm;

	for (uint32_t i = 0; i < n; i++)
		norm2 += (double) x[i] * x[i];
	factor = vdb_codec_unit_factor(VDB_METRIC_COSINE, norm2, &norm);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (float) (x[i] * factor);
	return norm;
}

/*
 * Normalised where the metric says so, padded and rotated.  Returns what
 * vdb_codec_transform does.
 */
static float
rotate_vector(const VdbCodec *codec, const float *x, float *out)
{
	uint32_t	dims = codec->dims;
	float		norm = 0;

	if (codec->metric == VDB_METRIC_COSINE)
		norm = normalize(dims, x, out);
	else
		memcpy(out, x, dims * sizeof(float));
	memset(out + dims, 0, (codec->P - dims) * sizeof(float));
	vdb_rotate(codec->P, codec->seed, out);
	if (codec->metric != VDB_METRIC_COSINE)
		norm = sqrtf(vdb_kernels->inner_product(codec->P, out, out));
	return norm;
}

float
vdb_codec_transform(const VdbCodec *codec, const float *x, float *out)
{
	float		norm = rotate_vector(codec, x, out);

	for (uint32_t i = 0; i < codec->P; i++)
		out[i] -= codec->center[i];
	return norm;
}

void
vdb_codec_accumulate(const VdbCodec *codec, const float *x, float *scratch, double *sum)
{
	rotate_vector(codec, x, scratch);
	for (uint32_t i = 0; i < codec->P; i++)
		sum[i] += scratch[i];
}

float
vdb_codec_score_add(const VdbCodec *codec, const float *x)
{
	if (codec->metric == VDB_METRIC_IP)
		return -vdb_kernels->inner_product(codec->P, x, codec->center);
	if (codec->metric != VDB_METRIC_L1)
		return vdb_kernels->inner_product(codec->P, x, x);
	return 0;
}

static float
largest_abs(uint32_t n, const float *x)
{
	float		largest = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		float		a = fabsf(x[i]);

		largest = a > largest ? a : largest;
	}
	return largest;
}

static size_t
dense_vector_size(const VdbCodec *codec, const void *x)
{
	return codec->vector_bytes;
}

/* What a vector's node code is, without its bits: sums over all dimensions. */
typedef struct NodeSums
{
	double		error2[VDB_CODEC_LANES];	/* of squares of what the code loses */
	double		error1[VDB_CODEC_LANES];	/* of its absolute values */
	double		norm2[VDB_CODEC_LANES];	/* the same two of what the code stands for */
	double		norm1[VDB_CODEC_LANES];
	double		cdot[VDB_CODEC_LANES];	/* its product with the center */
} NodeSums;

/* Codes VDB_CODEC_LANES values. */
static inline __attribute__((always_inline)) void
encode_node_lanes(int bits, const float *restrict x, const float *restrict center, float scale,
				  float inverse, uint8_t *restrict hi, uint8_t *restrict lo,
				  NodeSums *restrict sums)
{
	int32_t		biased[VDB_CODEC_LANES];

	for (int l = 0; l < VDB_CODEC_LANES; l++)
	{
		int32_t		v = bits == 12 ? vdb_round_within(x[l] * inverse, -NODE_MAX, NODE_MAX) :
			4 * vdb_round_within(x[l] * (0.25f * inverse), -NODE10_MAX / 4, NODE10_MAX / 4);
		double		decoded = (double) scale * v;
		double		error = x[l] - decoded;

		biased[l] = v + 8;
		sums->error2[l] += error * error;
		sums->error1[l] += fabs(error);
		sums->norm2[l] += decoded * decoded;
		sums->norm1[l] += fabs(decoded);
		sums->cdot[l] += decoded * center[l];
	}
	for (int l = 0; l < VDB_CODEC_LANES; l++)
		hi[l] = (uint8_t) (biased[l] >> 4);
	if (bits == 12)
	{
		for (int l = 0; l < VDB_CODEC_LANES; l += 2)
			lo[l / 2] = (uint8_t) ((biased[l] & 15) | (biased[l + 1] & 15) << 4);
	}
	else
	{
		for (int l = 0; l < VDB_CODEC_LANES; l += 4)
			lo[l / 4] = (uint8_t) ((biased[l] & 15) >> 2 | (biased[l + 1] & 15) |
								   (biased[l + 2] & 15) << 2 | (biased[l + 3] & 15) << 4);
	}
}

static VdbNodeFactors
dense_encode_node(const VdbCodec *codec, const void *vector, float norm, uint8_t *hi, uint8_t *lo)
{
	const float *x = vector;
	uint32_t	P = codec->P;
	uint32_t	fine = P - codec->node_coarse;
	float		scale = largest_abs(P, x) / (float) (fine == P ? NODE_MAX : NODE10_MAX);
	float		inverse = scale > 0 ? 1.0f / scale : 0;
	NodeSums	sums = {0};
	double		error2;
	double		error1;
	double		norm2;
	double		rounding;
	VdbNodeFactors f;

	if (!isfinite(scale) || !isfinite(inverse))
	{
		scale = 0;
		inverse = 0;
	}
	for (uint32_t i = 0; i < fine; i += VDB_CODEC_LANES)
		encode_node_lanes(12, x + i, codec->center + i, scale, inverse, hi + i, lo + i / 2, &sums);
	for (uint32_t i = fine; i < P; i += VDB_CODEC_LANES)
		encode_node_lanes(10, x + i, codec->center + i, scale, inverse, hi + i,
						  lo + fine / 2 + (i - fine) / 4, &sums);
	error2 = vdb_codec_sum_lanes(sums.error2);
	error1 = vdb_codec_sum_lanes(sums.error1);
	norm2 = vdb_codec_sum_lanes(sums.norm2);
	f.scale = scale;
	if (codec->metric == VDB_METRIC_L1)
	{
		rounding = vdb_codec_transform_error(codec, norm, vdb_codec_sum_lanes(sums.norm1) + error1);
		f.residual = (float) (error1 * 1.0001 + rounding);
	}
	else
	{
		rounding = vdb_codec_transform_error(codec, norm, sqrt(norm2) + sqrt(error2));
		f.residual = (float) (sqrt(error2) * 1.0001 + rounding);
	}
	if (isnan(f.residual))
		f.residual = INFINITY;
	switch (codec->metric)
	{
		case VDB_METRIC_L2:
		case VDB_METRIC_COSINE:
			f.add = (float) norm2;
			break;
		case VDB_METRIC_IP:
			f.add = (float) -vdb_codec_sum_lanes(sums.cdot);
			break;
		default:
			f.add = 0;
	}
	return f;
}

static void
dense_decode_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				  void *out)
{
	float	   *x = out;
	uint32_t	coarse = codec->node_coarse;
	uint32_t	fine = codec->P - coarse;

	vdb_kernels->node12_decode(fine, f.scale, (const int8_t *) hi, lo, x);
	if (coarse > 0)
		vdb_kernels->node10_decode(coarse, f.scale, (const int8_t *) hi + fine,
								   lo + fine / 2, x + fine);
}

/*
 * Writes the levels of a hot code: each byte has as many as fit, of dimensions that
 * are hot_bytes apart.
 */
static inline __attribute__((always_inline)) void
write_levels(int bits, uint32_t hot_bytes, const float *restrict x, float inverse,
			 uint8_t *restrict code)
{
	for (uint32_t i = 0; i < hot_bytes; i++)
	{
		int32_t		byte = 0;

		for (int part = 0; part < 8 / bits; part++)
			byte |= vdb_hot_level(x[part * hot_bytes + i], inverse, (1 << bits) - 1) << part * bits;
		code[i] = (uint8_t) byte;
	}
}

double
vdb_codec_norm2(uint32_t n, const float *x)
{
	double		squares[VDB_CODEC_LANES] = {0};

	for (uint32_t i = 0; i < n; i += VDB_CODEC_LANES)
		for (int l = 0; l < VDB_CODEC_LANES; l++)
			squares[l] += (double) x[i + l] * x[i + l];
	return vdb_codec_sum_lanes(squares);
}

/*
 * Starts from the best step for a normal distribution (Max, 1960) and alternates
 * with least squares; eight bits are fine enough to span the largest value.
 */
float
vdb_codec_fit_step(uint32_t n, const float *x, uint32_t bits, double norm2, double *dot)
{
	int			top = (1 << bits) - 1;
	float		step;

	if (bits == 8)
		step = largest_abs(n, x) / top;
	else
		step = (float) (sqrt(norm2 / n) * (bits == 2 ? 0.498 : 0.168));
	for (int round = 0;; round++)
	{
		double		dots[VDB_CODEC_LANES];
		int32_t		v2[VDB_CODEC_LANES];	/* of at most 255, of 2,000 values */
		double		vv = 0;

		vdb_kernels->hot_fit(n, x, step > 0 ? 1 / step : 0, top, dots, v2);
		*dot = vdb_codec_sum_lanes(dots);
		for (int l = 0; l < VDB_CODEC_LANES; l++)
			vv += v2[l];
		if (bits == 8 || !(*dot > 0) || round == HOT_FIT_ROUNDS - 1)
			return step;
		step = (float) (*dot / vv);
	}
}

/* Codes stand for step * (2 u - top). */
VdbHotFactors
vdb_encode_hot(const VdbCodec *codec, const float *x, uint8_t *code)
{
	uint32_t	bits = codec->hot_bits;
	uint32_t	C = codec->hot_bytes;
	double		norm2 = vdb_codec_norm2(codec->P, x);
	double		dot;
	float		step = vdb_codec_fit_step(codec->P, x, bits, norm2, &dot);
	float		inverse = step > 0 ? 1 / step : 0;
	VdbHotFactors f;

	switch (bits)
	{
		case 2:
			write_levels(2, C, x, inverse, code);
			break;
		case 4:
			write_levels(4, C, x, inverse, code);
			break;
		default:
			write_levels(8, C, x, inverse, code);
	}
	if (codec->metric == VDB_METRIC_L1)
	{
		f.add = 0;
		f.rescale = step;
	}
	else
	{
		f.add = vdb_codec_score_add(codec, x);
		f.rescale = dot > 0 ? (float) (norm2 / dot) : 0;
	}
	return f;
}

static VdbHotFactors
dense_hot_of_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				  void *scratch, uint8_t *code)
{
	dense_decode_node(codec, f, hi, lo, scratch);
	return vdb_encode_hot(codec, scratch, code);
}

static void
dense_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, void *vector)
{
	float	   *out = vector;
	uint32_t	C = codec->hot_bytes;
	int			top = (1 << codec->hot_bits) - 1;

	/* a byte for each dimension: searches do this, of centroids */
	for (uint32_t i = 0; codec->hot_bits == 8 && i < C; i++)
		out[i] = f.rescale * (float) (2 * code[i] - top);
	for (uint32_t i = 0; codec->hot_bits != 8 && i < codec->P; i++)
	{
		int			u = code[i % C] >> (i / C * codec->hot_bits) & top;

		out[i] = f.rescale * (float) (2 * u - top);
	}
}

static float
dense_vector_score(const VdbCodec *codec, const void *a, const void *b)
{
	uint32_t	P = codec->P;
	float		score;

	switch (codec->metric)
	{
		case VDB_METRIC_L1:
			score = vdb_kernels->l1(P, a, b);
			break;
		case VDB_METRIC_IP:
			score = codec->base + vdb_codec_score_add(codec, a) + vdb_codec_score_add(codec, b) -
				vdb_kernels->inner_product(P, a, b);
			break;
		default:
			score = vdb_kernels->l2_squared(P, a, b);
	}
	return isnan(score) ? FLT_MAX : score;
}

static double
dense_vector_error(const VdbCodec *codec, const void *vector_a, const void *vector_b)
{
	const float *a = vector_a;
	const float *b = vector_b;
	bool		l1 = codec->metric == VDB_METRIC_L1;
	double		sum = 0;

	for (uint32_t i = 0; i < codec->P; i++)
	{
		double		error = (double) a[i] - b[i];

		sum += l1 ? fabs(error) : error * error;
	}
	return l1 ? sum : sqrt(sum);
}

/* Blocks of a hot code, see VDB_HOT_BLOCK. */
static inline uint32_t
hot_blocks(const VdbCodec *codec)
{
	return (codec->hot_bytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK;
}

static size_t
dense_query_bytes(const VdbCodec *codec, const void *x)
{
	return (size_t) hot_blocks(codec) * VDB_HOT_BLOCK * (8 / codec->hot_bits);
}

/* Rounds n values, scaled; returns the sum of the results. */
static int32_t
round_all(uint32_t n, const float *x, float inverse, int8_t *out)
{
	int32_t		sum = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		out[i] = (int8_t) vdb_round_within(x[i] * inverse, -127, 127);
		sum += out[i];
	}
	return sum;
}

/* A last partial block of n bytes starts at n - VDB_HOT_BLOCK: with so many that are counted already. */
static inline uint32_t
counted_again(uint32_t n)
{
	uint32_t	rest = n % VDB_HOT_BLOCK;

	return rest != 0 && n > rest ? VDB_HOT_BLOCK - rest : 0;
}

/*
 * One plane of a hot query from n values, n the bytes of a hot code, into the
 * blocks at out, which are zero.  Returns the sum of what it wrote.
 */
static int32_t
prepare_plane(uint32_t n, const float *x, float inverse, int8_t *out)
{
	uint32_t	whole = n / VDB_HOT_BLOCK * VDB_HOT_BLOCK;

	return round_all(whole, x, inverse, out) +
		round_all(n - whole, x + whole, inverse, out + whole + counted_again(n));
}

static void
dense_query_prepare(VdbQuery *query)
{
	const VdbCodec *codec = query->codec;
	const float *vector = query->vector;
	int8_t	   *hot = query->hot;
	uint32_t	C = codec->hot_bytes;
	size_t		plane = (size_t) hot_blocks(codec) * VDB_HOT_BLOCK;
	float		scale = largest_abs(codec->P, vector) / 127;
	float		inverse = scale > 0 ? 1.0f / scale : 0;
	double		norm1 = 0;
	double		norm2 = 0;
	int32_t		sum = 0;

	if (!isfinite(inverse))
		inverse = 0;
	query->add = vdb_codec_score_add(codec, vector);
	memset(hot, 0, dense_query_bytes(codec, vector));
	for (uint32_t i = 0; i < codec->P; i += C)
	{
		sum += prepare_plane(C, vector + i, inverse, hot);
		hot += plane;
	}
	for (uint32_t i = 0; i < codec->P; i++)
	{
		norm1 += fabs((double) vector[i]);
		norm2 += (double) vector[i] * vector[i];
	}
	query->error = vdb_codec_transform_error(codec, query->norm,
									codec->metric == VDB_METRIC_L1 ? norm1 : sqrt(norm2));
	query->hot_const = codec->base + query->add;
	query->hot_mult = vdb_codec_ip_weight(codec) * scale * 2;
	query->hot_total = sum;
	query->hot_sum = vdb_codec_ip_weight(codec) * scale * (float) ((1 << codec->hot_bits) - 1) * (float) sum;
}

/* The product of integers: of the query with the numbers of steps that a code has. */
static inline int32_t
hot_product(const VdbQuery *query, const uint8_t *code)
{
	const VdbCodec *codec = query->codec;

	switch (codec->hot_bits)
	{
		case 2:
			return vdb_kernels->hot2_ip(codec->hot_bytes, query->hot, code);
		case 4:
			return vdb_kernels->hot4_ip(codec->hot_bytes, query->hot, code);
		default:
			return vdb_kernels->hot8_ip(codec->hot_bytes, query->hot, code);
	}
}

static float
dense_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code)
{
	const VdbCodec *codec = query->codec;
	float		score;

	if (codec->metric == VDB_METRIC_L1)
		score = (codec->hot_bits == 4 ? vdb_kernels->hot4_l1 : vdb_kernels->hot8_l1)
			(codec->P, query->vector, f.rescale, code);
	else
		score = query->hot_const + f.add -
			f.rescale * (query->hot_mult * (float) hot_product(query, code) - query->hot_sum);
	return isnan(score) ? FLT_MAX : score;
}

double
vdb_query_product(const VdbQuery *query, float rescale, const uint8_t *code)
{
	int			top = (1 << query->codec->hot_bits) - 1;

	/* hot_mult is that of two halves of a step */
	return (double) rescale * query->hot_mult *
		((double) hot_product(query, code) - 0.5 * top * query->hot_total);
}

double
vdb_query_rounding(const VdbQuery *query)
{
	/* half a step in each coordinate, hot_mult being two */
	return 0.25 * query->hot_mult * sqrt(query->codec->P);
}

/* Where a hot query has what belongs to byte `at` of a code. */
static inline uint32_t
hot_place(const VdbCodec *codec, uint32_t at)
{
	uint32_t	whole = codec->hot_bytes / VDB_HOT_BLOCK * VDB_HOT_BLOCK;

	return at < whole ? at : at + counted_again(codec->hot_bytes);
}

void
vdb_query_levels(const VdbQuery *query, int8_t *out)
{
	for (uint32_t i = 0; i < query->codec->P; i++)
		out[i] = ((const int8_t *) query->hot)[hot_place(query->codec, i)];
}

void
vdb_query_rest(const VdbQuery *query, float *out)
{
	const VdbCodec *codec = query->codec;
	const float *vector = query->vector;
	uint32_t	C = codec->hot_bytes;
	size_t		plane = (size_t) hot_blocks(codec) * VDB_HOT_BLOCK;
	float		scale = query->hot_mult / (2 * vdb_codec_ip_weight(codec));

	for (uint32_t i = 0; i < codec->P; i++)
	{
		const int8_t *hot = (const int8_t *) query->hot + i / C * plane;

		out[i] = vector[i] - scale * hot[hot_place(codec, i % C)];
	}
}

static float
dense_node_score(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi_part, const uint8_t *lo)
{
	const int8_t *hi = (const int8_t *) hi_part;
	const VdbCodec *codec = query->codec;
	const float *q = query->vector;
	uint32_t	coarse = codec->node_coarse;
	uint32_t	fine = codec->P - coarse;
	float		score;

	if (codec->metric == VDB_METRIC_L1)
	{
		score = vdb_kernels->node12_l1(fine, q, f.scale, hi, lo);
		if (coarse > 0)
			score += vdb_kernels->node10_l1(coarse, q + fine, f.scale, hi + fine, lo + fine / 2);
	}
	else
	{
		float		ip = vdb_kernels->node12_ip(fine, q, hi, lo);

		if (coarse > 0)
			ip += vdb_kernels->node10_ip(coarse, q + fine, hi + fine, lo + fine / 2);
		score = codec->base + query->add + f.add - vdb_codec_ip_weight(codec) * f.scale * ip;
	}
	return isnan(score) ? FLT_MAX : score;
}

static float
dense_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const uint8_t *hi_a,
				 VdbNodeFactors fb, const uint8_t *hi_b)
{
	const int8_t *a = (const int8_t *) hi_a;
	const int8_t *b = (const int8_t *) hi_b;
	float		score;

	/* a hi plane alone stands for 16 times its value */
	if (codec->metric == VDB_METRIC_L1)
		score = vdb_kernels->i8_l1(codec->P, 16 * fa.scale, a, 16 * fb.scale, b);
	else
		score = codec->base + fa.add + fb.add - vdb_codec_ip_weight(codec) * 256 * fa.scale * fb.scale *
			(float) vdb_kernels->i8_ip(codec->P, a, b);
	return isnan(score) ? FLT_MAX : score;
}

VdbBounds
vdb_codec_bounds(const VdbQuery *query, float add, double residual, double size, double slack,
				 float score)
{
	const VdbCodec *codec = query->codec;
	double		relative = sum_error(codec->P);

	/* what overflowed proves nothing */
	if (!isfinite(score) || score == FLT_MAX)
		return (VdbBounds) {-INFINITY, INFINITY};
	if (codec->metric == VDB_METRIC_IP)
	{
		double		c = sqrt(fabs((double) codec->base)) + VDB_SHORT_LENGTH;
		double		q = ((double) query->norm + VDB_SHORT_LENGTH) * (1 + relative);
		double		x = c + size + residual;

		slack += q * residual + x * query->error + 2 * relative * (q + 2 * c) * x +
			VDB_SHORT_LENGTH * VDB_SHORT_LENGTH;
		if (!(q * x < VDB_LARGE_SUM))
			slack = INFINITY;
		return vdb_codec_interval(score - slack, score + slack);
	}
	slack += relative * ((double) query->add + add + 2 * sqrt(fmax(query->add, 0)) * size);
	if (isnan(slack))
		slack = INFINITY;
	return vdb_codec_l2_bounds(codec->metric, score, slack, residual + query->error, relative);
}

static VdbBounds
dense_node_bounds(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, float score)
{
	const VdbCodec *codec = query->codec;

	if (codec->metric == VDB_METRIC_L1 && isfinite(score) && score != FLT_MAX)
		return vdb_codec_l1_bounds(score, f.residual + query->error, sum_error(codec->P));

	/* under other metrics the code has one part, whose norm `add` tells */
	return vdb_codec_bounds(query, f.add, f.residual, codec->metric == VDB_METRIC_IP ?
							NODE_MAX * (double) f.scale * sqrt(codec->P) : 0, 0, score);
}

static const VdbCodecOps dense_ops = {
	.vector_size = dense_vector_size,
	.vector_score = dense_vector_score,
	.vector_error = dense_vector_error,
	.encode_node = dense_encode_node,
	.decode_node = dense_decode_node,
	.hot_of_node = dense_hot_of_node,
	.decode_hot = dense_decode_hot,
	.pair_score = dense_pair_score,
	.query_bytes = dense_query_bytes,
	.query_prepare = dense_query_prepare,
	.hot_score = dense_hot_score,
	.node_score = dense_node_score,
	.node_bounds = dense_node_bounds,
};
