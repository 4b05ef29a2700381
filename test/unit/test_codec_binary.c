/*
 * test_codec_binary.c
 *	  Codes of binary vectors: every score is the operator's distance.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "tap.h"

#define VECTORS 40

/* The distance as its definition says. */
static double
expected_distance(VdbMetric metric, uint32_t dims, const uint8_t *a, const uint8_t *b)
{
	uint32_t	both = 0;
	uint32_t	either = 0;

	for (uint32_t i = 0; i < dims; i++)
	{
		bool		in_a = a[i / 8] >> (7 - i % 8) & 1;
		bool		in_b = b[i / 8] >> (7 - i % 8) & 1;

		both += in_a && in_b;
		either += in_a || in_b;
	}
	if (metric == VDB_METRIC_HAMMING)
		return either - both;
	return both == 0 ? 1 : 1 - (double) both / either;
}

/* Bits past the last are zero, as in the server's values. */
static void
fill(uint32_t dims, uint8_t *bits)
{
	uint32_t	density = random_u32() % 9;

	memset(bits, 0, (dims + 7) / 8);
	for (uint32_t i = 0; i < dims; i++)
	{
		if (random_u32() % 8 < density)
			bits[i / 8] |= (uint8_t) (0x80 >> i % 8);
	}
}

static bool
check_pair(const VdbCodec *codec, const uint8_t *a, const uint8_t *b)
{
	size_t		bytes = codec->hot_bytes;
	uint8_t    *code_a = malloc(bytes);
	uint8_t    *code_b = malloc(bytes);
	uint8_t    *hot = malloc(bytes);
	uint8_t    *decoded = malloc(codec->vector_bytes);
	double		distance = expected_distance(codec->metric, codec->dims, a, b);
	VdbNodeFactors fa = vdb_encode_node(codec, a, 0, code_a, NULL);
	VdbNodeFactors fb = vdb_encode_node(codec, b, 0, code_b, NULL);
	VdbHotFactors hf = vdb_hot_of_node(codec, fb, code_b, NULL, NULL, hot);
	VdbQuery	query = {.vector = (void *) a};
	VdbBounds	bounds;
	bool		passed;

	vdb_query_prepare(&query, codec, 0);
	bounds = vdb_node_bounds(&query, fb, code_b, vdb_node_score(&query, fb, code_b, NULL));
	vdb_decode_hot(codec, hf, hot, decoded);
	passed = bounds.lower == distance && bounds.upper == distance &&
		vdb_hot_score(&query, hf, hot) == (float) distance &&
		vdb_vector_score(codec, a, b) == (float) distance &&
		vdb_pair_score(codec, fa, code_a, fb, code_b) == (float) distance &&
		vdb_vector_error(codec, decoded, b) == 0;
	if (!passed)
		passed = failure("%u dimensions: %g, bounds %g to %g", codec->dims, distance, bounds.lower,
						 bounds.upper);
	free(code_a);
	free(code_b);
	free(hot);
	free(decoded);
	return passed;
}

static bool
check_dims(VdbMetric metric, uint32_t dims)
{
	VdbCodec	codec;
	uint8_t    *vectors;
	uint8_t    *raw;
	bool		passed = true;

	vdb_codec_init_binary(&codec, metric, dims);
	vectors = malloc(VECTORS * codec.vector_bytes);
	raw = malloc((dims + 7) / 8);
	for (int i = 0; i < VECTORS; i++)
	{
		fill(dims, raw);
		vdb_codec_transform_binary(&codec, raw, vectors + i * codec.vector_bytes);
	}
	for (int i = 0; i < VECTORS && passed; i++)
	{
		for (int j = 0; j < VECTORS && passed; j++)
			passed = is_left_out() || check_pair(&codec, vectors + i * codec.vector_bytes,
												 vectors + j * codec.vector_bytes);
	}
	free(vectors);
	free(raw);
	return passed;
}

int
main(int argc, char **argv)
{
	const uint32_t dims[] = {1, 7, 8, 9, 64, 100, 1536, 64000};

	read_share(argc, argv);
	vdb_distance_init();
	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
	{
		report(check_dims(VDB_METRIC_HAMMING, dims[i]), "Hamming, %u bits", dims[i]);
		report(check_dims(VDB_METRIC_JACCARD, dims[i]), "Jaccard, %u bits", dims[i]);
	}
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
