/*
 * codec_binary.c
 *	  Binary vectors: the code is the vector, so every score is exact.
 */
#include "quant/codec_private.h"

static const VdbCodecOps binary_ops;

void
vdb_codec_init_binary(VdbCodec *codec, VdbMetric metric, uint32_t dims)
{
	memset(codec, 0, sizeof(*codec));
	codec->ops = &binary_ops;
	codec->kind = VDB_CODEC_BINARY;
	codec->metric = metric;
	codec->dims = dims;
	codec->P = vdb_codec_padded(dims);
	codec->hot_bits = 1;
	codec->hot_bytes = codec->P / 8;
	codec->hi_bytes = codec->hot_bytes;
	codec->vector_bytes = codec->hot_bytes;
}

void
vdb_codec_transform_binary(const VdbCodec *codec, const uint8_t *bits, uint8_t *out)
{
	memcpy(out, bits, codec->hot_bytes);
}

/* The operator's distance, with its own arithmetic. */
static double
distance(const VdbCodec *codec, const uint8_t *a, const uint8_t *b)
{
	VdbJaccardParts parts;

	if (codec->metric == VDB_METRIC_HAMMING)
		return (double) vdb_kernels->bit_hamming(codec->hot_bytes, a, b);
	parts = vdb_kernels->bit_jaccard(codec->hot_bytes, a, b);
	if (parts.both == 0)
		return 1;
	return 1 - (double) parts.both / (double) parts.either;
}

static size_t
binary_vector_size(const VdbCodec *codec, const void *x)
{
	return codec->vector_bytes;
}

static float
binary_vector_score(const VdbCodec *codec, const void *a, const void *b)
{
	return (float) distance(codec, a, b);
}

static double
binary_vector_error(const VdbCodec *codec, const void *a, const void *b)
{
	return (double) vdb_kernels->bit_hamming(codec->hot_bytes, a, b);
}

static VdbNodeFactors
binary_encode_node(const VdbCodec *codec, const void *x, float norm, uint8_t *hi, uint8_t *lo)
{
	float		ones = (float) vdb_kernels->bit_jaccard(codec->hot_bytes, x, x).both;

	memcpy(hi, x, codec->hot_bytes);
	return (VdbNodeFactors) {.add = ones};
}

static void
binary_decode_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				   void *out)
{
	memcpy(out, hi, codec->hot_bytes);
}

static VdbHotFactors
binary_hot_of_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				   void *scratch, uint8_t *code)
{
	memcpy(code, hi, codec->hot_bytes);
	return (VdbHotFactors) {.add = f.add, .rescale = f.scale};
}

static void
binary_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, void *out)
{
	memcpy(out, code, codec->hot_bytes);
}

static float
binary_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const uint8_t *a, VdbNodeFactors fb,
				  const uint8_t *b)
{
	return (float) distance(codec, a, b);
}

static size_t
binary_query_bytes(const VdbCodec *codec, const void *x)
{
	return 0;
}

static void
binary_query_prepare(VdbQuery *query)
{
	query->error = 0;
}

static float
binary_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code)
{
	return (float) distance(query->codec, query->vector, code);
}

static float
binary_node_score(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo)
{
	return (float) distance(query->codec, query->vector, hi);
}

/* Computed again, as a float cannot hold every Jaccard distance. */
static VdbBounds
binary_node_bounds(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, float score)
{
	double		exact = distance(query->codec, query->vector, hi);

	return (VdbBounds) {exact, exact};
}

static const VdbCodecOps binary_ops = {
	.vector_size = binary_vector_size,
	.vector_score = binary_vector_score,
	.vector_error = binary_vector_error,
	.encode_node = binary_encode_node,
	.decode_node = binary_decode_node,
	.hot_of_node = binary_hot_of_node,
	.decode_hot = binary_decode_hot,
	.pair_score = binary_pair_score,
	.query_bytes = binary_query_bytes,
	.query_prepare = binary_query_prepare,
	.hot_score = binary_hot_score,
	.node_score = binary_node_score,
	.node_bounds = binary_node_bounds,
};
