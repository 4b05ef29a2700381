/*
 * codec.c
 *	  Encoding vectors, preparing queries, and distances with error bounds.
 *
 * What a code's bits mean is said in distance.h; the arithmetic behind the
 * factors is in README.md.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/rotate.h"

#define NODE_MAX 2039			/* largest |v| of a node code: 16 * 127 + 7 */
#define HOT_FIT_ROUNDS 4

/*
 * Relative rounding error allowed for a float sum of n terms in at least 8
 * parallel accumulators.
 */
static inline float
sum_error(uint32_t n)
{
	return (16.0f + (float) n / 8.0f) * (FLT_EPSILON / 2);
}

/* Rounding of the rotation, relative to the norm of what is rotated. */
#define ROTATE_ERROR 4e-6f

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

	codec->metric = metric;
	codec->dims = dims;
	codec->P = P;
	codec->hot_bits = vdb_codec_hot_bits(metric, P);
	codec->hot_bytes = P * codec->hot_bits / 8;
	codec->seed = metric == VDB_METRIC_L1 ? 0 : seed;
	codec->center = center;
	codec->base = 0;
	if (metric == VDB_METRIC_IP)
		codec->base = -vdb_kernels->inner_product(P, center, center);
}

/* Normalised where the metric says so, padded and rotated. */
static void
rotate_vector(const VdbCodec *codec, const float *x, float *out)
{
	uint32_t	dims = codec->dims;

	if (codec->metric == VDB_METRIC_COSINE)
	{
		double		norm2 = 0;
		double		inverse;

		for (uint32_t i = 0; i < dims; i++)
			norm2 += (double) x[i] * x[i];
		inverse = norm2 > 0 ? 1 / sqrt(norm2) : 0;
		for (uint32_t i = 0; i < dims; i++)
			out[i] = (float) (x[i] * inverse);
	}
	else
		memcpy(out, x, dims * sizeof(float));
	memset(out + dims, 0, (codec->P - dims) * sizeof(float));
	vdb_rotate(codec->P, codec->seed, out);
}

float
vdb_codec_transform(const VdbCodec *codec, const float *x, float *out)
{
	float		norm2;

	rotate_vector(codec, x, out);
	norm2 = vdb_kernels->inner_product(codec->P, out, out);
	for (uint32_t i = 0; i < codec->P; i++)
		out[i] -= codec->center[i];
	return sqrtf(norm2);
}

void
vdb_codec_accumulate(const VdbCodec *codec, const float *x, float *scratch, double *sum)
{
	rotate_vector(codec, x, scratch);
	for (uint32_t i = 0; i < codec->P; i++)
		sum[i] += scratch[i];
}

/* The term of a score that depends on one vector alone. */
static float
score_add(const VdbCodec *codec, const float *x)
{
	switch (codec->metric)
	{
		case VDB_METRIC_L2:
		case VDB_METRIC_COSINE:
			return vdb_kernels->inner_product(codec->P, x, x);
		case VDB_METRIC_IP:
			return -vdb_kernels->inner_product(codec->P, x, codec->center);
		case VDB_METRIC_L1:
			break;
	}
	return 0;
}

/* Weight of the inner product in a score. */
static inline float
ip_weight(const VdbCodec *codec)
{
	return codec->metric == VDB_METRIC_IP ? 1.0f : 2.0f;
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

VdbNodeFactors
vdb_encode_node(const VdbCodec *codec, const float *x, float norm, int8_t *hi, uint8_t *lo)
{
	uint32_t	P = codec->P;
	float		scale = largest_abs(P, x) / NODE_MAX;
	float		inverse = scale > 0 ? 1.0f / scale : 0;
	double		error2 = 0;
	double		error1 = 0;
	double		norm2 = 0;
	double		cdot = 0;
	VdbNodeFactors f;

	if (!isfinite(inverse))
	{
		scale = 0;
		inverse = 0;
	}
	memset(lo, 0, P / 2);
	for (uint32_t i = 0; i < P; i++)
	{
		float		scaled = x[i] * inverse;
		int			v = (int) lrintf(fmaxf(-NODE_MAX, fminf(NODE_MAX, scaled)));
		int			biased = v + 8;
		double		decoded = (double) scale * v;
		double		error = x[i] - decoded;

		hi[i] = (int8_t) (biased >> 4);
		lo[i / 2] |= (uint8_t) ((biased & 15) << (i % 2 * 4));
		error2 += error * error;
		error1 += fabs(error);
		norm2 += decoded * decoded;
		cdot += decoded * codec->center[i];
	}
	f.scale = scale;
	if (codec->metric == VDB_METRIC_L1)
		f.residual = (float) (error1 * 1.0001) + sum_error(P) * norm;
	else
		f.residual = (float) (sqrt(error2) * 1.0001) + ROTATE_ERROR * norm;
	switch (codec->metric)
	{
		case VDB_METRIC_L2:
		case VDB_METRIC_COSINE:
			f.add = (float) norm2;
			break;
		case VDB_METRIC_IP:
			f.add = (float) -cdot;
			break;
		default:
			f.add = 0;
	}
	return f;
}

VdbHotFactors
vdb_encode_hot(const VdbCodec *codec, const float *x, uint8_t *code)
{
	uint32_t	P = codec->P;
	uint32_t	bits = codec->hot_bits;
	uint32_t	C = codec->hot_bytes;
	int			top = (1 << bits) - 1;
	double		norm2 = 0;
	double		step;
	double		dot = 0;
	VdbHotFactors f;

	for (uint32_t i = 0; i < P; i++)
		norm2 += (double) x[i] * x[i];

	/*
	 * Codes stand for step * (2 u - top).  Start from the best step for a
	 * normal distribution (Max, 1960) and alternate with least squares; eight
	 * bits are fine enough to span the largest value.
	 */
	if (bits == 8)
		step = largest_abs(P, x) / top;
	else
		step = sqrt(norm2 / P) * (bits == 2 ? 0.498 : 0.168);
	for (int round = 0; round < HOT_FIT_ROUNDS; round++)
	{
		double		inverse = step > 0 ? 1 / step : 0;
		double		vv = 0;

		dot = 0;
		memset(code, 0, C);
		for (uint32_t i = 0; i < P; i++)
		{
			double		level = (x[i] * inverse + top) * 0.5;
			int			u = (int) (fmax(0, fmin(top, level)) + 0.5);
			int			v = 2 * u - top;

			code[i % C] |= (uint8_t) (u << (i / C * bits));
			dot += (double) x[i] * v;
			vv += (double) v * v;
		}
		if (bits == 8 || !(dot > 0))
			break;
		if (round < HOT_FIT_ROUNDS - 1)
			step = dot / vv;
	}
	if (codec->metric == VDB_METRIC_L1)
	{
		f.add = 0;
		f.rescale = (float) step;
	}
	else
	{
		f.add = score_add(codec, x);
		f.rescale = dot > 0 ? (float) (norm2 / dot) : 0;
	}
	return f;
}

void
vdb_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, float *out)
{
	uint32_t	C = codec->hot_bytes;
	int			top = (1 << codec->hot_bits) - 1;

	for (uint32_t i = 0; i < codec->P; i++)
	{
		int			u = code[i % C] >> (i / C * codec->hot_bits) & top;

		out[i] = f.rescale * (float) (2 * u - top);
	}
}

float
vdb_vector_score(const VdbCodec *codec, const float *a, const float *b)
{
	uint32_t	P = codec->P;
	float		score;

	switch (codec->metric)
	{
		case VDB_METRIC_L1:
			score = vdb_kernels->l1(P, a, b);
			break;
		case VDB_METRIC_IP:
			score = codec->base + score_add(codec, a) + score_add(codec, b) -
				vdb_kernels->inner_product(P, a, b);
			break;
		default:
			score = vdb_kernels->l2_squared(P, a, b);
	}
	return isnan(score) ? FLT_MAX : score;
}

/* Blocks of a hot code, see VDB_HOT_BLOCK. */
static inline uint32_t
hot_blocks(const VdbCodec *codec)
{
	return (codec->hot_bytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK;
}

size_t
vdb_query_bytes(const VdbCodec *codec)
{
	return (size_t) hot_blocks(codec) * VDB_HOT_BLOCK * (8 / codec->hot_bits);
}

void
vdb_query_prepare(VdbQuery *query, const VdbCodec *codec, float norm)
{
	uint32_t	C = codec->hot_bytes;
	uint32_t	T = hot_blocks(codec);
	float		scale = largest_abs(codec->P, query->vector) / 127;
	float		inverse = scale > 0 ? 1.0f / scale : 0;
	int32_t		sum = 0;

	if (!isfinite(inverse))
		inverse = 0;
	query->codec = codec;
	query->norm = norm;
	query->add = score_add(codec, query->vector);
	memset(query->hot, 0, vdb_query_bytes(codec));
	for (uint32_t i = 0; i < codec->P; i++)
	{
		float		scaled = query->vector[i] * inverse;
		int8_t		value = (int8_t) lrintf(fmaxf(-127, fminf(127, scaled)));
		uint32_t	byte = i % C;
		uint32_t	plane = i / C;
		uint32_t	block = byte / VDB_HOT_BLOCK;
		uint32_t	start = block * VDB_HOT_BLOCK;

		/* a last partial block starts at C - 32 */
		if (start + VDB_HOT_BLOCK > C && C >= VDB_HOT_BLOCK)
			start = C - VDB_HOT_BLOCK;
		query->hot[(size_t) plane * T * VDB_HOT_BLOCK + block * VDB_HOT_BLOCK + (byte - start)] = value;
		sum += value;
	}
	query->hot_const = codec->base + query->add;
	query->hot_mult = ip_weight(codec) * scale * 2;
	query->hot_sum = ip_weight(codec) * scale * (float) ((1 << codec->hot_bits) - 1) * (float) sum;
}

float
vdb_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code)
{
	const VdbCodec *codec = query->codec;
	float		score;

	if (codec->metric == VDB_METRIC_L1)
		score = (codec->hot_bits == 4 ? vdb_kernels->hot4_l1 : vdb_kernels->hot8_l1)
			(codec->P, query->vector, f.rescale, code);
	else
	{
		int32_t		ip;

		switch (codec->hot_bits)
		{
			case 2:
				ip = vdb_kernels->hot2_ip(codec->hot_bytes, query->hot, code);
				break;
			case 4:
				ip = vdb_kernels->hot4_ip(codec->hot_bytes, query->hot, code);
				break;
			default:
				ip = vdb_kernels->hot8_ip(codec->hot_bytes, query->hot, code);
		}
		score = query->hot_const + f.add - f.rescale * (query->hot_mult * (float) ip - query->hot_sum);
	}
	return isnan(score) ? FLT_MAX : score;
}

float
vdb_node_score(const VdbQuery *query, VdbNodeFactors f, const int8_t *hi, const uint8_t *lo)
{
	const VdbCodec *codec = query->codec;
	float		score;

	if (codec->metric == VDB_METRIC_L1)
		score = vdb_kernels->node_l1(codec->P, query->vector, f.scale, hi, lo);
	else
		score = codec->base + query->add + f.add - ip_weight(codec) * f.scale *
			vdb_kernels->node_ip(codec->P, query->vector, hi, lo);
	return isnan(score) ? FLT_MAX : score;
}

float
vdb_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const int8_t *a,
			   VdbNodeFactors fb, const int8_t *b)
{
	float		score;

	/* a hi plane alone stands for 16 times its value */
	if (codec->metric == VDB_METRIC_L1)
		score = vdb_kernels->i8_l1(codec->P, 16 * fa.scale, a, 16 * fb.scale, b);
	else
		score = codec->base + fa.add + fb.add - ip_weight(codec) * 256 * fa.scale * fb.scale *
			(float) vdb_kernels->i8_ip(codec->P, a, b);
	return isnan(score) ? FLT_MAX : score;
}

VdbBounds
vdb_node_bounds(const VdbQuery *query, VdbNodeFactors f, float score)
{
	const VdbCodec *codec = query->codec;
	double		relative = sum_error(codec->P);
	double		r = (double) f.residual + ROTATE_ERROR * (double) query->norm;
	double		lower;
	double		upper;
	VdbBounds	bounds;

	switch (codec->metric)
	{
		case VDB_METRIC_L2:
		case VDB_METRIC_COSINE:
			{
				double		slack = relative * ((double) query->add + f.add);

				lower = sqrt(fmax(0, score - slack)) - r;
				upper = sqrt(fmax(0, score + slack)) + r;
				lower = fmax(0, lower) * (1 - relative);
				upper = upper * (1 + relative);
				if (codec->metric == VDB_METRIC_COSINE)
				{
					/* 1 - cos of unit vectors; the operator rounds around 1 */
					lower = fmax(0, lower * lower / 2 - 2 * relative);
					upper = upper * upper / 2 + 2 * relative;
				}
				break;
			}
		case VDB_METRIC_IP:
			{
				double		x = sqrt(fabs((double) codec->base)) + NODE_MAX * (double) f.scale *
					sqrt(codec->P);
				double		slack = query->norm * (double) f.residual + 4 * relative * query->norm * x +
					ROTATE_ERROR * query->norm * x;

				lower = score - slack;
				upper = score + slack;
				break;
			}
		default:
			{
				double		slack = (double) f.residual + relative * (score + 4 * query->norm);

				lower = fmax(0, score - slack);
				upper = score + slack;
			}
	}

	/* whatever overflowed proves nothing */
	bounds.lower = isnan(lower) || !isfinite(score) || score == FLT_MAX ? -INFINITY : lower;
	bounds.upper = isnan(upper) || !isfinite(score) || score == FLT_MAX ? INFINITY : upper;
	return bounds;
}
