/*
 * codec_sparse.c
 *	  Sparse vectors: the largest values of each, 16 bits a value.
 *
 * A code is P indices (ascending, NO_INDEX past the last; uint16 where they are
 * small enough, else uint32) and P values (int16, in units of the factor scale).
 * What is left out is in the residual, so that bounds hold for vectors of any
 * length.  Sums are taken in double:
 * they are short, and lookups dominate them.
 */
#include "quant/codec_private.h"

#define NO_INDEX UINT32_MAX
#define VALUE_MAX 32767

/* Rounding of double sums, and of a score and its terms to float. */
#define RELATIVE_ERROR (8 * VDB_UNIT_ROUNDOFF)

/* A slot of a query's hash table. */
typedef struct Slot
{
	uint32_t	index;			/* NO_INDEX: empty */
	float		value;
} Slot;

static const VdbCodecOps sparse_ops;

static inline uint32_t
index_bytes(uint32_t dims)
{
	return dims <= UINT16_MAX ? sizeof(uint16_t) : sizeof(uint32_t);
}

void
vdb_codec_init_sparse(VdbCodec *codec, VdbMetric metric, uint32_t dims, uint32_t entries)
{
	memset(codec, 0, sizeof(*codec));
	codec->ops = &sparse_ops;
	codec->kind = VDB_CODEC_SPARSE;
	codec->metric = metric;
	codec->dims = dims;
	codec->P = entries;
	codec->hot_bits = 8 * (index_bytes(dims) + sizeof(int16_t));
	codec->hot_bytes = entries * codec->hot_bits / 8;
	codec->hi_bytes = codec->hot_bytes;
	codec->vector_bytes = vdb_sparse_size(entries);
}

float
vdb_codec_transform_sparse(const VdbCodec *codec, uint32_t count, const uint32_t *index,
						   const float *value, VdbSparse *out)
{
	double		norm2 = 0;
	double		factor;
	float		norm;

	out->count = count;
	out->reserved = 0;
	memcpy(vdb_sparse_index(out), index, count * sizeof(uint32_t));
	for (uint32_t i = 0; i < count; i++)
		norm2 += (double) value[i] * value[i];
	factor = vdb_codec_unit_factor(codec->metric, norm2, &norm);
	for (uint32_t i = 0; i < count; i++)
		vdb_sparse_value(out)[i] = (float) (value[i] * factor);
	return norm;
}

static inline uint32_t
code_index(const VdbCodec *codec, const uint8_t *code, uint32_t i)
{
	uint32_t	index;
	uint16_t	short_index;

	if (index_bytes(codec->dims) == sizeof(uint32_t))
	{
		memcpy(&index, code + i * sizeof(index), sizeof(index));
		return index;
	}
	memcpy(&short_index, code + i * sizeof(short_index), sizeof(short_index));
	return short_index == UINT16_MAX ? NO_INDEX : short_index;
}

static inline int16_t
code_value(const VdbCodec *codec, const uint8_t *code, uint32_t i)
{
	int16_t		value;

	memcpy(&value, code + codec->P * index_bytes(codec->dims) + i * sizeof(value), sizeof(value));
	return value;
}

/* index may be NO_INDEX, whose lower half stands for it too. */
static inline void
set_code(const VdbCodec *codec, uint8_t *code, uint32_t i, uint32_t index, int16_t value)
{
	uint16_t	short_index = (uint16_t) index;

	if (index_bytes(codec->dims) == sizeof(uint32_t))
		memcpy(code + i * sizeof(index), &index, sizeof(index));
	else
		memcpy(code + i * sizeof(short_index), &short_index, sizeof(short_index));
	memcpy(code + codec->P * index_bytes(codec->dims) + i * sizeof(value), &value, sizeof(value));
}

/* The bits of |x|, which are ordered as the numbers are. */
static inline uint32_t
magnitude(float x)
{
	uint32_t	bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x7FFFFFFF;
}

/*
 * The least magnitude that a code takes, such that fewer than `entries` values
 * are greater.  By bisection: an order would need memory.
 */
static uint32_t
least_magnitude(const VdbSparse *x, uint32_t entries)
{
	const float *value = vdb_sparse_value(x);
	uint32_t	low = 0;		/* so many or more are at least as great */
	uint32_t	high = 0x80000000;	/* fewer are */

	while (high - low > 1)
	{
		uint32_t	middle = low + (high - low) / 2;
		uint32_t	count = 0;

		for (uint32_t i = 0; i < x->count; i++)
			count += magnitude(value[i]) >= middle;
		if (count >= entries)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The value that a coded one stands for, rounded as a decoded vector's are. */
static inline float
decode(float scale, int value)
{
	return scale * value;
}

static size_t
sparse_vector_size(const VdbCodec *codec, const void *x)
{
	return vdb_sparse_size(((const VdbSparse *) x)->count);
}

/* What a score needs of one vector: see README.md. */
static inline double
term(VdbMetric metric, double value)
{
	return metric == VDB_METRIC_L1 ? fabs(value) : value * value;
}

/* Adds what a common index contributes to a score beyond the terms. */
static inline double
common(VdbMetric metric, double a, double b)
{
	return metric == VDB_METRIC_L1 ? fabs(a - b) - fabs(a) - fabs(b) : a * b;
}

/* A score from the terms of both vectors and what they have in common. */
static inline float
score_of(VdbMetric metric, double terms, double shared)
{
	double		score;

	if (metric == VDB_METRIC_IP)
		score = -shared;
	else if (metric == VDB_METRIC_L1)
		score = terms + shared;
	else
		score = terms - 2 * shared;
	return isfinite(score) && fabs(score) < FLT_MAX ? (float) score : FLT_MAX;
}

static VdbNodeFactors
sparse_encode_node(const VdbCodec *codec, const void *vector, float norm, uint8_t *hi, uint8_t *lo)
{
	const VdbSparse *x = vector;
	const uint32_t *index = vdb_sparse_index(x);
	const float *value = vdb_sparse_value(x);
	uint32_t	entries = codec->P;
	uint32_t	least = x->count > entries ? least_magnitude(x, entries) : 0;
	uint32_t	equal = 0;		/* values of the least magnitude still to be taken */
	uint32_t	largest = 0;
	uint32_t	count = 0;
	float		greatest;
	double		size = 0;
	double		lost = 0;
	VdbNodeFactors f;

	for (uint32_t i = 0; i < x->count; i++)
	{
		uint32_t	m = magnitude(value[i]);

		largest = m > largest ? m : largest;
		count += m > least;
	}
	equal = entries - count;
	memcpy(&greatest, &largest, sizeof(greatest));

	/* a denormal unit would overflow what is divided by it */
	f.scale = greatest / VALUE_MAX;
	if (f.scale < FLT_MIN)
		f.scale = 0;
	count = 0;
	for (uint32_t i = 0; i < x->count; i++)
	{
		uint32_t	m = magnitude(value[i]);
		double		decoded = 0;

		if (m > least || (m == least && equal > 0))
		{
			int			v = f.scale > 0 ? (int) lrintf(value[i] / f.scale) : 0;

			equal -= m == least;
			v = v > VALUE_MAX ? VALUE_MAX : v < -VALUE_MAX ? -VALUE_MAX : v;
			decoded = decode(f.scale, v);
			set_code(codec, hi, count++, index[i], (int16_t) v);
		}
		size += term(codec->metric, decoded);
		lost += term(codec->metric, value[i] - decoded);
	}
	while (count < entries)
		set_code(codec, hi, count++, NO_INDEX, 0);

	f.add = (float) size;
	if (codec->metric != VDB_METRIC_L1)
		lost = sqrt(lost) + VDB_SHORT_LENGTH;

	/* normalisation rounds each value once */
	f.residual = (float) ((lost + 2 * VDB_UNIT_ROUNDOFF * (codec->metric == VDB_METRIC_COSINE)) *
						  (1 + 1e-6));
	if (norm > FLT_MAX || isnan(f.residual))
		f.residual = INFINITY;
	return f;
}

static void
sparse_decode_hot(const VdbCodec *codec, VdbHotFactors f, const uint8_t *code, void *vector)
{
	VdbSparse  *out = vector;

	out->count = 0;
	out->reserved = 0;
	while (out->count < codec->P && code_index(codec, code, out->count) != NO_INDEX)
		out->count++;
	for (uint32_t i = 0; i < out->count; i++)
	{
		vdb_sparse_index(out)[i] = code_index(codec, code, i);
		vdb_sparse_value(out)[i] = decode(f.rescale, code_value(codec, code, i));
	}
}

static void
sparse_decode_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				   void *out)
{
	sparse_decode_hot(codec, (VdbHotFactors) {.rescale = f.scale}, hi, out);
}

static VdbHotFactors
sparse_hot_of_node(const VdbCodec *codec, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo,
				   void *scratch, uint8_t *code)
{
	memcpy(code, hi, codec->hot_bytes);
	return (VdbHotFactors) {.add = f.add, .rescale = f.scale};
}

static float
sparse_vector_score(const VdbCodec *codec, const void *x, const void *y)
{
	const VdbSparse *a = x;
	const VdbSparse *b = y;
	double		terms = 0;
	double		shared = 0;
	uint32_t	i = 0;
	uint32_t	j = 0;

	for (uint32_t k = 0; k < a->count; k++)
		terms += term(codec->metric, vdb_sparse_value(a)[k]);
	for (uint32_t k = 0; k < b->count; k++)
		terms += term(codec->metric, vdb_sparse_value(b)[k]);
	while (i < a->count && j < b->count)
	{
		uint32_t	ai = vdb_sparse_index(a)[i];
		uint32_t	bj = vdb_sparse_index(b)[j];

		if (ai == bj)
			shared += common(codec->metric, vdb_sparse_value(a)[i], vdb_sparse_value(b)[j]);
		i += ai <= bj;
		j += bj <= ai;
	}
	return score_of(codec->metric, terms, shared);
}

static double
sparse_vector_error(const VdbCodec *codec, const void *x, const void *y)
{
	const VdbSparse *a = x;
	const VdbSparse *b = y;
	double		sum = 0;
	uint32_t	i = 0;
	uint32_t	j = 0;

	/* a damaged vector may have any index, even NO_INDEX */
	while (i < a->count || j < b->count)
	{
		uint32_t	ai = i < a->count ? vdb_sparse_index(a)[i] : NO_INDEX;
		uint32_t	bj = j < b->count ? vdb_sparse_index(b)[j] : NO_INDEX;
		double		error = 0;

		if (i < a->count && ai <= bj)
			error += vdb_sparse_value(a)[i++];
		if (j < b->count && bj <= ai)
			error -= vdb_sparse_value(b)[j++];
		sum += term(codec->metric, error);
	}
	return codec->metric == VDB_METRIC_L1 ? sum : sqrt(sum);
}

static float
sparse_pair_score(const VdbCodec *codec, VdbNodeFactors fa, const uint8_t *a, VdbNodeFactors fb,
				  const uint8_t *b)
{
	double		shared = 0;
	uint32_t	i = 0;
	uint32_t	j = 0;

	while (i < codec->P && j < codec->P)
	{
		uint32_t	ai = code_index(codec, a, i);
		uint32_t	bj = code_index(codec, b, j);

		if (ai == bj)
		{
			if (ai == NO_INDEX)
				break;
			shared += common(codec->metric, decode(fa.scale, code_value(codec, a, i)),
							 decode(fb.scale, code_value(codec, b, j)));
		}
		i += ai <= bj;
		j += bj <= ai;
	}
	return score_of(codec->metric, (double) fa.add + fb.add, shared);
}

/* Slots of a query's table: at most a quarter are in use. */
static uint32_t
table_slots(const VdbSparse *x)
{
	uint32_t	slots = 16;

	while (slots / 4 < x->count)
		slots *= 2;
	return slots;
}

static size_t
sparse_query_bytes(const VdbCodec *codec, const void *x)
{
	return table_slots(x) * sizeof(Slot);
}

/* Multiplicative hashing (Knuth): the upper bits of the product. */
static inline uint32_t
home_slot(uint32_t index, uint32_t mask)
{
	return (uint32_t) ((uint64_t) (index * UINT32_C(2654435769)) * ((uint64_t) mask + 1) >> 32);
}

static void
sparse_query_prepare(VdbQuery *query)
{
	const VdbSparse *x = query->vector;
	Slot	   *table = query->hot;
	double		size = 0;
	double		norm2 = 0;

	query->hot_mask = table_slots(x) - 1;
	for (uint32_t i = 0; i <= query->hot_mask; i++)
		table[i] = (Slot) {NO_INDEX, 0};
	for (uint32_t i = 0; i < x->count; i++)
	{
		float		value = vdb_sparse_value(x)[i];
		uint32_t	at = home_slot(vdb_sparse_index(x)[i], query->hot_mask);

		while (table[at].index != NO_INDEX)
			at = (at + 1) & query->hot_mask;
		table[at] = (Slot) {vdb_sparse_index(x)[i], value};
		size += term(query->codec->metric, value);
		norm2 += (double) value * value;
	}
	query->add = (float) size;
	query->norm = (float) sqrt(norm2);
	query->error = query->codec->metric == VDB_METRIC_COSINE ? 2 * VDB_UNIT_ROUNDOFF : 0;
}

static float
sparse_hot_score(const VdbQuery *query, VdbHotFactors f, const uint8_t *code)
{
	const VdbCodec *codec = query->codec;
	const Slot *table = query->hot;
	uint32_t	mask = query->hot_mask;
	double		shared = 0;

	for (uint32_t i = 0; i < codec->P; i++)
	{
		uint32_t	index = code_index(codec, code, i);
		uint32_t	at;

		if (index == NO_INDEX)
			break;
		at = home_slot(index, mask);
		while (table[at].index != index && table[at].index != NO_INDEX)
			at = (at + 1) & mask;
		if (table[at].index == index)
			shared += common(codec->metric, table[at].value,
							 decode(f.rescale, code_value(codec, code, i)));
	}
	return score_of(codec->metric, (double) query->add + f.add, shared);
}

static float
sparse_node_score(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, const uint8_t *lo)
{
	return sparse_hot_score(query, (VdbHotFactors) {.add = f.add, .rescale = f.scale}, hi);
}

static VdbBounds
sparse_node_bounds(const VdbQuery *query, VdbNodeFactors f, const uint8_t *hi, float score)
{
	VdbMetric	metric = query->codec->metric;
	double		terms = (double) query->add + f.add;

	/* what overflowed proves nothing */
	if (!isfinite(score) || score == FLT_MAX || !isfinite(terms) || !(query->norm <= FLT_MAX))
		return (VdbBounds) {-INFINITY, INFINITY};
	if (metric == VDB_METRIC_L1)
	{
		double		slack = f.residual + RELATIVE_ERROR * terms;

		return vdb_codec_l1_bounds(score, slack, RELATIVE_ERROR);
	}
	if (metric == VDB_METRIC_IP)
	{
		double		q = (double) query->norm + VDB_SHORT_LENGTH;
		double		x = sqrt(f.add) + f.residual + VDB_SHORT_LENGTH;
		double		slack = q * f.residual * (1 + RELATIVE_ERROR) + RELATIVE_ERROR * q * x;

		return vdb_codec_interval(score - slack, score + slack);
	}
	return vdb_codec_l2_bounds(metric, score, RELATIVE_ERROR * terms,
							   f.residual + query->error, RELATIVE_ERROR);
}

static const VdbCodecOps sparse_ops = {
	.vector_size = sparse_vector_size,
	.vector_score = sparse_vector_score,
	.vector_error = sparse_vector_error,
	.encode_node = sparse_encode_node,
	.decode_node = sparse_decode_node,
	.hot_of_node = sparse_hot_of_node,
	.decode_hot = sparse_decode_hot,
	.pair_score = sparse_pair_score,
	.query_bytes = sparse_query_bytes,
	.query_prepare = sparse_query_prepare,
	.hot_score = sparse_hot_score,
	.node_score = sparse_node_score,
	.node_bounds = sparse_node_bounds,
};
