/*
 * test_codec_sparse.c
 *	  Codes of sparse vectors: the operator's distance lies within the bounds,
 *	  whatever a code leaves out, and any bytes can be scored.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "tap.h"

#define VECTORS 60

static const char *const metric_names[VDB_DENSE_METRICS] = {"l2", "ip", "cosine", "l1"};

/* What values are like. */
typedef enum Kind
{
	KIND_USUAL,					/* a few large, many small */
	KIND_EQUAL,					/* ties wherever a code cuts off */
	KIND_SCALES,				/* every vector of another magnitude */
	KIND_DENORMAL,
	KIND_EXTREME,				/* near FLT_MAX */
	KINDS
} Kind;

static const char *const kind_names[KINDS] = {"usual", "equal", "scales", "denormal", "extreme"};

static double
random_unit(void)
{
	return (random_u32() + 0.5) / 4294967296.0;
}

static float
random_value(Kind kind, double factor)
{
	double		sign = random_u32() % 4 == 0 ? -1 : 1;

	switch (kind)
	{
		case KIND_EQUAL:
			return (float) sign;
		case KIND_DENORMAL:
			return (float) (sign * 1e-40 * (1 + 10 * random_unit()));
		case KIND_EXTREME:
			return (float) (sign * FLT_MAX * (0.1 + 0.9 * random_unit()));
		default:
			return (float) (sign * factor * exp(-4 * random_unit()));
	}
}

/* The user's vector: up to `most` values. */
static VdbSparse *
random_vector(Kind kind, uint32_t dims, uint32_t most)
{
	uint32_t	wanted = random_u32() % (most + 1);
	VdbSparse  *x = malloc(vdb_sparse_size(wanted));
	uint32_t	index[4096];
	float		value[4096];
	uint32_t	count = 0;
	double		factor = kind == KIND_SCALES ? pow(10, 60 * random_unit() - 30) : 1;
	uint32_t	step = dims / (wanted + 1);

	for (uint32_t at = 0; count < wanted && step > 0; at += step)
	{
		float		v = random_value(kind, factor);

		if (v == 0)
			continue;
		index[count] = at + random_u32() % step;
		value[count++] = v;
	}
	x->count = count;
	x->reserved = 0;
	memcpy(vdb_sparse_index(x), index, count * sizeof(uint32_t));
	memcpy(vdb_sparse_value(x), value, count * sizeof(float));
	return x;
}

/* The operator's distance, straight from the definition. */
static double
expected_distance(VdbMetric metric, const VdbSparse *a, const VdbSparse *b)
{
	double		ip = 0;
	double		aa = 0;
	double		bb = 0;
	double		l2 = 0;
	double		l1 = 0;
	uint32_t	i = 0;
	uint32_t	j = 0;

	while (i < a->count || j < b->count)
	{
		uint32_t	ai = i < a->count ? vdb_sparse_index(a)[i] : UINT32_MAX;
		uint32_t	bj = j < b->count ? vdb_sparse_index(b)[j] : UINT32_MAX;
		double		x = ai <= bj ? vdb_sparse_value(a)[i] : 0;
		double		y = bj <= ai ? vdb_sparse_value(b)[j] : 0;

		i += ai <= bj;
		j += bj <= ai;
		ip += x * y;
		aa += x * x;
		bb += y * y;
		l2 += (x - y) * (x - y);
		l1 += fabs(x - y);
	}
	switch (metric)
	{
		case VDB_METRIC_L2:
			return sqrt(l2);
		case VDB_METRIC_IP:
			return -ip;
		case VDB_METRIC_COSINE:
			return 1 - fmax(-1, fmin(1, ip / sqrt(aa * bb)));
		default:
			return l1;
	}
}

typedef struct Tally
{
	int			certain;		/* pairs whose bounds are tight */
	int			pairs;
} Tally;

static bool
check_pair(const VdbCodec *codec, const VdbSparse *raw_q, const VdbSparse *q, float q_norm,
		   const VdbSparse *raw_x, const VdbSparse *x, float x_norm, Tally *tally)
{
	uint8_t    *code = malloc(codec->hi_bytes);
	uint8_t    *again = malloc(codec->hi_bytes);
	VdbSparse  *decoded = malloc(codec->vector_bytes);
	VdbNodeFactors f = vdb_encode_node(codec, x, x_norm, code, NULL);
	VdbNodeFactors f2;
	VdbQuery	query = {.vector = (void *) q};
	double		distance = expected_distance(codec->metric, raw_q, raw_x);
	double		error;
	float		score;
	VdbBounds	bounds;
	bool		passed = true;

	query.hot = malloc(vdb_query_bytes(codec, q));
	vdb_query_prepare(&query, codec, q_norm);
	score = vdb_node_score(&query, f, code, NULL);
	bounds = vdb_node_bounds(&query, f, code, score);
	if (!(bounds.lower <= distance && distance <= bounds.upper) && !isnan(distance))
		passed = failure("distance %.9g is not within %.9g and %.9g", distance, bounds.lower,
						 bounds.upper);

	vdb_decode_node(codec, f, code, NULL, decoded);
	error = vdb_vector_error(codec, x, decoded);
	if (!(error <= f.residual * (1 + 1e-6)) && isfinite(error))
		passed = failure("off by %g, more than the residual %g", error, f.residual);

	/* a code is the code of what it stands for: vdb.check_index relies on it */
	f2 = vdb_encode_node(codec, decoded, 1, again, NULL);
	if (memcmp(code, again, codec->hi_bytes) != 0 ||
		!(fabs((double) f.add - f2.add) <= 1e-4 * f.add + FLT_MIN || isinf(f.add)))
		passed = failure("a decoded vector has another code");

	/* the three ways to a score agree */
	if (isfinite(score) && fabsf(score) < 1e37)
	{
		uint8_t    *code_q = malloc(codec->hi_bytes);
		VdbNodeFactors fq = vdb_encode_node(codec, q, q_norm, code_q, NULL);
		double		size = fabs((double) query.add) + fabs((double) f.add) + 1e4 * FLT_MIN;

		if (q->count <= codec->P && fabs(vdb_pair_score(codec, fq, code_q, f, code) - score) > 1e-3 * size)
			passed = failure("pair score %g, node score %g", vdb_pair_score(codec, fq, code_q, f, code), score);
		if (fabs(vdb_vector_score(codec, q, decoded) - score) > 1e-5 * size)
			passed = failure("vector score %g, node score %g", vdb_vector_score(codec, q, decoded), score);
		free(code_q);
	}
	tally->pairs++;
	tally->certain += bounds.upper - bounds.lower <= 0.02;
	free(query.hot);
	free(code);
	free(again);
	free(decoded);
	return passed;
}

static bool
check_set(VdbMetric metric, Kind kind, uint32_t entries, uint32_t most, Tally *tally)
{
	uint32_t	dims = kind == KIND_EQUAL ? 100 : entries == 16 ? UINT16_MAX : 1000000000;
	VdbSparse  *raw[VECTORS];
	VdbSparse  *x[VECTORS];
	float		norms[VECTORS];
	VdbCodec	codec;
	bool		passed = true;

	vdb_codec_init_sparse(&codec, metric, dims, entries);
	for (int i = 0; i < VECTORS; i++)
	{
		raw[i] = random_vector(kind, dims, most);
		/* a near twin now and then */
		if (i % 4 == 1 && raw[i - 1]->count > 0)
		{
			free(raw[i]);
			raw[i] = malloc(vdb_sparse_size(raw[i - 1]->count));
			memcpy(raw[i], raw[i - 1], vdb_sparse_size(raw[i - 1]->count));
			vdb_sparse_value(raw[i])[0] *= 0.999f;
		}
		x[i] = malloc(vdb_sparse_size(raw[i]->count));
		norms[i] = vdb_codec_transform_sparse(&codec, raw[i]->count, vdb_sparse_index(raw[i]),
											  vdb_sparse_value(raw[i]), x[i]);
	}
	for (int i = 0; i < VECTORS && passed; i++)
	{
		for (int j = 0; j < VECTORS && passed; j++)
		{
			if ((metric == VDB_METRIC_COSINE && (norms[i] == 0 || norms[j] == 0)) || is_left_out())
				continue;
			passed = check_pair(&codec, raw[i], x[i], norms[i], raw[j], x[j], norms[j], tally);
		}
	}
	for (int i = 0; i < VECTORS; i++)
	{
		free(raw[i]);
		free(x[i]);
	}
	return passed;
}

/* Hot slots are read while they are written: any bytes give some score. */
static bool
check_any_bytes(VdbMetric metric)
{
	VdbCodec	codec;
	VdbSparse  *q = random_vector(KIND_USUAL, 1000, 100);
	VdbQuery	query = {.vector = q};
	uint8_t    *code;
	VdbSparse  *decoded;
	bool		passed = true;

	vdb_codec_init_sparse(&codec, metric, 1000, 64);
	query.hot = malloc(vdb_query_bytes(&codec, q));
	vdb_query_prepare(&query, &codec, 1);
	code = malloc(codec.hot_bytes);
	decoded = malloc(codec.vector_bytes);
	for (int round = 0; round < 2000 && passed; round++)
	{
		VdbHotFactors f;
		uint32_t	bits[2] = {random_u32(), random_u32()};

		memcpy(&f, bits, sizeof(f));
		for (uint32_t i = 0; i < codec.hot_bytes; i++)
			code[i] = (uint8_t) (round % 2 == 0 ? random_u32() : random_u32() % 4 == 0 ? 1 : 0);
		passed = !isnan(vdb_hot_score(&query, f, code));
		vdb_decode_hot(&codec, f, code, decoded);
		if (isnan(vdb_vector_score(&codec, q, decoded)))
			passed = false;
	}
	free(query.hot);
	free(code);
	free(decoded);
	free(q);
	return passed;
}

/* A damaged row may have the index that stands for none: nothing is read past an end. */
static bool
check_any_index(VdbMetric metric)
{
	VdbCodec	codec;
	VdbSparse  *a = random_vector(KIND_USUAL, 1000, 100);
	VdbSparse  *b = random_vector(KIND_USUAL, 1000, 100);
	bool		passed;

	vdb_codec_init_sparse(&codec, metric, 1000, 64);
	for (uint32_t i = 0; i < a->count; i++)
		vdb_sparse_index(a)[i] = UINT32_MAX;
	passed = vdb_vector_error(&codec, a, b) > 0 && vdb_vector_error(&codec, b, a) > 0;
	free(a);
	free(b);
	return passed;
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		for (int kind = 0; kind < KINDS; kind++)
		{
			Tally		tally = {0};
			bool		passed = check_set(metric, kind, 128, 100, &tally) &&
			check_set(metric, kind, 16, 90, &tally) && check_set(metric, kind, 8, 8, &tally);

			report(passed, "bounds hold, %s, %s values", metric_names[metric], kind_names[kind]);
		}
		{
			Tally		tally = {0};

			check_set(metric, KIND_USUAL, 128, 100, &tally);
			report(tally.pairs > 0 && tally.certain == tally.pairs,
				   "bounds are tight where nothing is left out, %s (%d of %d)", metric_names[metric],
				   tally.certain, tally.pairs);
		}
		report(check_any_bytes(metric), "any bytes can be scored, %s", metric_names[metric]);
		report(check_any_index(metric), "any index can be compared, %s", metric_names[metric]);
	}
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
