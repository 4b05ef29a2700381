/*
 * mirror_code.c
 *	  Rows of a mirror: coding them, and bounds of their distances.
 *
 * A row's bound is vdb_codec_bounds() of the score by a question of 15 bits a dimension, which takes two
 * products.  Most rows are seen to be too far away by the first one alone: its score is off by no more than the
 * rest of the question, so a bound by it, with all that the other one allows for, is not above that.
 *
 *	L2, cosine	sqrt(score - unsure) - residual - error, in code space
 *	IP			score - unsure - |q| residual - |x| error
 *
 * It is computed in floats, for many rows at a time.  What they round is a few units in the last place of the largest
 * of what is added, `size` and its like; sixteen times that is taken off.
 */
#include <float.h>
#include <math.h>

#include "mirror/mirror_code.h"

#define BITS 8
#define TOP 255

/* What floats round, relative to the largest term of a sum. */
#define FLOATS (32 * FLT_EPSILON)

/* Less than any length that counts, and so great that no square of one is out of range. */
#define TINY 1e-18f
#define LONGEST 1e18f

void
vdb_mirror_codec_init(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint64_t seed, const float *center)
{
	vdb_codec_init(codec, metric, dims, seed, center);
	vdb_codec_set_hot_bits(codec, BITS);
}

VdbMirrorFactors
vdb_mirror_last(void)
{
	return (VdbMirrorFactors) {.add = INFINITY};
}

VdbMirrorFactors
vdb_mirror_any(void)
{
	return (VdbMirrorFactors) {.residual = INFINITY};
}

VdbMirrorFactors
vdb_mirror_encode(const VdbCodec *codec, const float *x, float norm, float *scratch, uint8_t *code)
{
	VdbHotFactors f = vdb_encode_hot(codec, x, code);
	VdbMirrorFactors row;
	double		length;
	double		residual;

	vdb_decode_hot(codec, f, code, scratch);
	length = sqrt(fmax(vdb_kernels->inner_product(codec->P, scratch, scratch), 0)) * 1.001;
	residual = vdb_vector_error(codec, x, scratch) * 1.0001;
	residual += vdb_codec_transform_error(codec, norm, length + residual);
	row.add = vdb_codec_score_add(codec, scratch);
	row.rescale = f.rescale;
	row.residual = (float) residual * 1.000001f;
	row.length = (float) length;

	/* where a sum may be out of range, a distance may be any */
	if (row.length + row.residual + norm < LONGEST && isfinite(row.add) && isfinite(row.rescale))
		return row;
	return vdb_mirror_any();
}

/* Of each of the two parts of a question. */
static size_t
part_bytes(const VdbCodec *codec)
{
	return (vdb_query_bytes(codec, NULL) + 63) / 64 * 64;
}

size_t
vdb_mirror_question_bytes(const VdbCodec *codec)
{
	return 2 * part_bytes(codec) + codec->vector_bytes;
}

static void
prepare(VdbQuery *query, const VdbCodec *codec, float *vector, float norm, void *hot)
{
	query->vector = vector;
	query->hot = hot;
	vdb_query_prepare(query, codec, norm);
}

void
vdb_mirror_ask(VdbMirrorQuestion *question, const VdbCodec *codec, float *vector, float norm, void *memory)
{
	VdbMirrorRough *rough = &question->rough;
	float	   *rest = memory;
	uint8_t    *hot = (uint8_t *) memory + codec->vector_bytes;
	double		length;
	double		size;
	double		relative = FLOATS + (24 + codec->P / 2.0) * FLT_EPSILON;
	double		weight = vdb_codec_ip_weight(codec);

	prepare(&question->query, codec, vector, norm, hot);
	vdb_query_rest(&question->query, rest);
	prepare(&question->rest, codec, rest, norm, hot + part_bytes(codec));
	question->rounding = vdb_query_rounding(&question->rest);

	/* by one product the other one is left out, and then both roundings count */
	length = sqrt(fmax(vdb_kernels->inner_product(codec->P, vector, vector), 0)) * 1.001;
	*rough = (VdbMirrorRough) {
		.constant = codec->base + question->query.add,
		.mult = question->query.hot_mult / 2,
		.unsure = (float) (vdb_query_rounding(&question->query) + question->rounding + relative * 2 * weight * length),
		.relative = (float) relative,
		.residual_weight = 1.000001f,
		.error = (float) question->query.error * 1.000001f,
		.center = sqrtf(fabsf(codec->base)) + TINY,
		.total = TOP * question->query.hot_total,
		.is_product = codec->metric == VDB_METRIC_IP
	};
	size = fabs((double) question->query.add) + norm;
	if (rough->is_product)
	{
		double		center = sqrt(fabs((double) codec->base));
		double		both = norm + 2 * center;

		rough->residual_weight = (float) ((norm + TINY) * 1.0001 + 4 * relative * both);
		rough->unsure += (float) (relative * 4 * both);
		size += 4 * both * (center + TINY) + fabs((double) codec->base);
	}
	rough->size = size < (double) LONGEST * LONGEST && norm < LONGEST ?
		(float) (relative * size + (double) TINY * TINY) : INFINITY;
}

size_t
vdb_mirror_panel_bytes(const VdbCodec *codec)
{
	return vdb_distance_panel_bytes(codec->P, VDB_MIRROR_BLOCK) + codec->P;
}

/* A panel's codes are signed: of levels u it has u - TOP / 2, rounded up. */
#define SIGNED_ZERO 128

void
vdb_mirror_products(const VdbCodec *codec, const VdbMirrorRows *rows, size_t n, size_t nq, const int8_t *levels,
					uint8_t *panel, int32_t *products)
{
	uint32_t	P = codec->P;
	int8_t	   *row = (int8_t *) panel + vdb_distance_panel_bytes(P, VDB_MIRROR_BLOCK);

	for (size_t j = 0; j < n; j++)
	{
		/* eight at a time, which P is a multiple of */
		for (uint32_t d = 0; d < P; d += sizeof(uint64_t))
		{
			uint64_t	levels_of;

			memcpy(&levels_of, rows->codes + j * P + d, sizeof(levels_of));
			levels_of ^= 0x8080808080808080u;
			memcpy(row + d, &levels_of, sizeof(levels_of));
		}
		vdb_kernels->panel_put(P, panel, j, row);
	}
	vdb_kernels->panel_ip(P, n, panel, nq, levels, P, products);
}

/* Twice a question's products with levels, less what their middle comes to: of each row. */
static void
find_products(const VdbMirrorQuestion *question, const VdbMirrorRows *rows, size_t n, const int32_t *given, int32_t *out)
{
	const VdbQuery *query = &question->query;
	uint32_t	bytes = query->codec->hot_bytes;
	int32_t		total = question->rough.total;

	if (given != NULL)
	{
		for (size_t i = 0; i < n; i++)
			out[i] = 2 * given[i] + 2 * SIGNED_ZERO * query->hot_total - total;
		return;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = 2 * vdb_kernels->hot8_ip(bytes, query->hot, rows->codes + i * bytes) - total;
}

/*
 * Apart from who makes the products, so that a compiler sees that no array is another one's.  In code space where the
 * metric is L2 or cosine.
 */
static void
bound_by(const VdbMirrorRough *rough, const VdbMirrorRows *rows, size_t n, const int32_t *restrict products,
		 float *restrict bounds)
{
	const float *restrict add = rows->add;
	const float *restrict rescale = rows->rescale;
	const float *restrict residual = rows->residual;
	const float *restrict length = rows->length;
	float		constant = rough->constant;
	float		mult = rough->mult;
	float		center = rough->center;
	float		weight = rough->residual_weight;
	float		error = rough->error;
	float		unsure = rough->unsure;
	float		relative = rough->relative;
	float		size = rough->size;

	for (size_t i = 0; i < n; i++)
		bounds[i] = constant + add[i] - rescale[i] * (mult * (float) products[i]) -
			(unsure * length[i] + size + relative * fabsf(add[i]));
	if (rough->is_product)
	{
		for (size_t i = 0; i < n; i++)
			bounds[i] -= weight * residual[i] + error * (center + length[i] + residual[i]) * 1.0001f;
	}
	else
	{
		for (size_t i = 0; i < n; i++)
			bounds[i] = sqrtf(bounds[i] > 0 ? bounds[i] : 0) - weight * residual[i] - error - TINY;
	}

	/* what overflowed proves nothing */
	for (size_t i = 0; i < n; i++)
		bounds[i] = bounds[i] == bounds[i] ? bounds[i] : -INFINITY;
}

void
vdb_mirror_bound_roughly(const VdbMirrorQuestion *question, const VdbMirrorRows *rows, size_t n, const int32_t *given,
						 float *bounds)
{
	int32_t		products[VDB_MIRROR_BLOCK];

	find_products(question, rows, n, given, products);
	bound_by(&question->rough, rows, n, products, bounds);
}

float
vdb_mirror_rough_limit(const VdbMirrorQuestion *question, double distance)
{
	float		relative = question->rough.relative;
	float		bound;

	/* the operator's rounding around 1 is taken off */
	if (question->query.codec->metric == VDB_METRIC_COSINE)
		distance = sqrt(2 * (fmax(distance, 0) + 2 * relative));
	bound = (float) distance;
	return bound + fabsf(bound) * relative + TINY;
}

size_t
vdb_mirror_select(const VdbMirrorQuestion *question, const VdbMirrorRows *rows, size_t n, const int32_t *given,
				  double most, uint32_t *numbers, double *lower)
{
	const VdbQuery *query = &question->query;
	const VdbCodec *codec = query->codec;
	float		rough[VDB_MIRROR_BLOCK];
	uint32_t	near[VDB_MIRROR_BLOCK];
	size_t		near_count = n;
	size_t		count = 0;

	/* first of all come those of which nothing is known */
	if (most < INFINITY && most > -INFINITY)
	{
		vdb_mirror_bound_roughly(question, rows, n, given, rough);
		near_count = vdb_kernels->select_below(n, rough, vdb_mirror_rough_limit(question, most), near);
	}
	else
	{
		for (size_t i = 0; i < n; i++)
			near[i] = (uint32_t) i;
	}
	for (size_t j = 0; j < near_count; j++)
	{
		uint32_t	i = near[j];
		const uint8_t *code = rows->codes + (size_t) i * codec->hot_bytes;
		double		bound = INFINITY;

		if (rows->add[i] < INFINITY)
		{
			double		product = vdb_query_product(query, rows->rescale[i], code) +
				vdb_query_product(&question->rest, rows->rescale[i], code);

			bound = vdb_codec_bounds(query, rows->add[i], rows->residual[i], rows->length[i],
									 question->rounding * rows->length[i],
									 (float) ((double) codec->base + query->add + rows->add[i] - product)).lower;
		}
		if (bound > most)
			continue;
		numbers[count] = i;
		lower[count++] = bound;
	}
	return count;
}
