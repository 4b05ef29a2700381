/*
 * panel.c
 *	  Scores of many pairs of codes at once.
 *
 * Dense codes under every metric but L1 are multiplied by the panel kernels.
 * For all others the panel has plain copies of the codes, and pairs are scored
 * one by one.
 */
#include "quant/codec_private.h"
#include "quant/panel.h"

#define PANEL_ALIGN 64

/*
 * Codes of the panel and plain codes whose products are made, and lie on the
 * stack, before they become scores: multiples of what the kernels take at once.
 * Few plain codes would mean reading the panel often.
 */
#define PART_CODES (16 * VDB_PANEL_ROWS)
#define PART_PLAIN 12

static inline size_t
align_up(size_t bytes)
{
	return (bytes + PANEL_ALIGN - 1) / PANEL_ALIGN * PANEL_ALIGN;
}

bool
vdb_panel_multiplies(const VdbCodec *codec)
{
	return codec->kind == VDB_CODEC_DENSE && codec->metric != VDB_METRIC_L1;
}

VdbCodec
vdb_panel_half(const VdbCodec *codec)
{
	VdbCodec	half = *codec;
	uint32_t	dims = vdb_codec_padded(codec->P / 2);

	if (vdb_panel_multiplies(codec) && codec->metric != VDB_METRIC_IP && codec->seed != 0 &&
		codec->P > VDB_HALF_LEAST)
		half.P = half.hi_bytes = dims > VDB_HALF_LEAST ? dims : VDB_HALF_LEAST;
	return half;
}

VdbNodeFactors
vdb_panel_half_factors(const VdbCodec *half, VdbNodeFactors factors, const uint8_t *hi)
{
	const int8_t *a = (const int8_t *) hi;

	/* the norm of these dimensions, so that a code's score with itself is 0 */
	factors.add = vdb_panel_factor(half, factors) * factors.scale * (float) vdb_kernels->i8_ip(half->P, a, a) / 2;
	return factors;
}

/* Bytes of the arrays `scale` and `add`, each. */
static inline size_t
array_bytes(uint32_t count)
{
	return align_up((size_t) count * sizeof(float));
}

static inline size_t
codes_bytes(const VdbCodec *codec, uint32_t count)
{
	if (vdb_panel_multiplies(codec))
		return 2 * array_bytes(count) + vdb_distance_panel_bytes(codec->P, count);
	return (size_t) count * codec->hi_bytes;
}

size_t
vdb_panel_bytes(const VdbCodec *codec, uint32_t count)
{
	return align_up(count * sizeof(VdbNodeFactors)) + codes_bytes(codec, count);
}

void
vdb_panel_init(VdbPanel *panel, const VdbCodec *codec, uint32_t count, char *memory)
{
	panel->codec = codec;
	panel->kernels = vdb_kernels;
	panel->count = count;
	panel->factors = (VdbNodeFactors *) memory;
	memory += align_up(count * sizeof(VdbNodeFactors));
	panel->scale = NULL;
	panel->add = NULL;
	if (vdb_panel_multiplies(codec))
	{
		/* to the ends of their arrays, since whole vectors are computed */
		memset(memory, 0, 2 * array_bytes(count));
		panel->scale = (float *) memory;
		panel->add = (float *) (memory + array_bytes(count));
		memory += 2 * array_bytes(count);
	}
	panel->codes = memory;
}

void
vdb_panel_put(VdbPanel *panel, uint32_t i, VdbNodeFactors factors, const uint8_t *hi)
{
	const VdbCodec *codec = panel->codec;

	panel->factors[i] = factors;
	if (vdb_panel_multiplies(codec))
	{
		panel->scale[i] = factors.scale;
		panel->add[i] = factors.add;
		panel->kernels->panel_put(codec->P, panel->codes, i, (const int8_t *) hi);
	}
	else
		memcpy((uint8_t *) panel->codes + (size_t) i * codec->hi_bytes, hi, codec->hi_bytes);
}

/*
 * Scores of a plain code and VDB_PANEL_ROWS of the panel, from their products, by
 * the roundings of dense_pair_score().  fixed: the base of a score and the plain
 * code's add; factor: what it and the metric multiply products by.
 */
static inline void
turn_products(float fixed, float factor, const float *restrict add, const float *restrict scale,
			  const int32_t *restrict product, float *restrict out)
{
	for (uint32_t j = 0; j < VDB_PANEL_ROWS; j++)
	{
		float		score = fixed + add[j] - factor * scale[j] * (float) product[j];

		out[j] = score != score ? FLT_MAX : score;
	}
}

float
vdb_panel_constant(const VdbCodec *codec, VdbNodeFactors factors)
{
	return codec->base + factors.add;
}

float
vdb_panel_factor(const VdbCodec *codec, VdbNodeFactors factors)
{
	return vdb_codec_ip_weight(codec) * 256 * factors.scale;
}

/* All scores of a plain code and `count` of the panel, from their products. */
static void
score_products(const VdbCodec *codec, VdbNodeFactors f, uint32_t count, const float *add,
			   const float *scale, const int32_t *product, float *out)
{
	float		fixed = vdb_panel_constant(codec, f);
	float		factor = vdb_panel_factor(codec, f);
	uint32_t	j = 0;

	for (; j + VDB_PANEL_ROWS <= count; j += VDB_PANEL_ROWS)
		turn_products(fixed, factor, add + j, scale + j, product + j, out + j);
	if (j < count)
	{
		int32_t		last_product[VDB_PANEL_ROWS] = {0};
		float		last_out[VDB_PANEL_ROWS];

		memcpy(last_product, product + j, (count - j) * sizeof(int32_t));
		turn_products(fixed, factor, add + j, scale + j, last_product, last_out);
		memcpy(out + j, last_out, (count - j) * sizeof(float));
	}
}

static void
score_dense(const VdbPanel *panel, uint32_t from, uint32_t n, const VdbNodeFactors *factors,
			const uint8_t *hi, size_t stride, float *out)
{
	uint32_t	P = panel->codec->P;
	int32_t		products[PART_PLAIN * PART_CODES];

	for (uint32_t i = 0; i < n; i += PART_PLAIN)
	{
		uint32_t	plain = n - i < PART_PLAIN ? n - i : PART_PLAIN;

		for (uint32_t j = from; j < panel->count; j += PART_CODES)
		{
			uint32_t	codes = panel->count - j < PART_CODES ? panel->count - j : PART_CODES;

			panel->kernels->panel_ip(P, codes, (uint8_t *) panel->codes +
									 vdb_distance_panel_bytes(P, j), plain,
									 (const int8_t *) hi + i * stride, stride, products);
			for (uint32_t k = 0; k < plain; k++)
				score_products(panel->codec, factors[i + k], codes, panel->add + j,
							   panel->scale + j, products + k * codes,
							   out + (size_t) (i + k) * panel->count + j);
		}
	}
}

void
vdb_panel_scores_from(const VdbPanel *panel, uint32_t from, uint32_t n, const VdbNodeFactors *factors,
					  const uint8_t *hi, size_t stride, float *out)
{
	const VdbCodec *codec = panel->codec;

	if (vdb_panel_multiplies(codec))
	{
		score_dense(panel, from, n, factors, hi, stride, out);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = from; j < panel->count; j++)
			out[(size_t) i * panel->count + j] =
				vdb_pair_score(codec, factors[i], hi + i * stride, panel->factors[j],
							   (const uint8_t *) panel->codes + (size_t) j * codec->hi_bytes);
}

void
vdb_panel_scores(const VdbPanel *panel, uint32_t n, const VdbNodeFactors *factors,
				 const uint8_t *hi, size_t stride, float *out)
{
	vdb_panel_scores_from(panel, 0, n, factors, hi, stride, out);
}
