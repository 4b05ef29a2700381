/*
 * distance_scalar.c
 *	  The kernels in plain C: what every machine can run, and the reference
 *	  that the vector kernels are tested against.  No intrinsics here.
 *
 * Without -ffast-math a compiler may not reorder float additions, so the float
 * loops keep four accumulators by hand: enough independent chains to hide the
 * latency of an addition.
 */
#include "distance_private.h"

#include <math.h>

#define LOAD(p) vdb_distance_load_f32(p)

/* sum (a[i] - b[i])^2 */
static float
scalar_l2_squared(size_t n, const float *a, const float *b)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		i = 0;

	for (; i + 4 <= n; i += 4)
	{
		float		d0 = LOAD(a + i) - LOAD(b + i);
		float		d1 = LOAD(a + i + 1) - LOAD(b + i + 1);
		float		d2 = LOAD(a + i + 2) - LOAD(b + i + 2);
		float		d3 = LOAD(a + i + 3) - LOAD(b + i + 3);

		s0 += d0 * d0;
		s1 += d1 * d1;
		s2 += d2 * d2;
		s3 += d3 * d3;
	}
	for (; i < n; i++)
	{
		float		d = LOAD(a + i) - LOAD(b + i);

		s0 += d * d;
	}
	return (s0 + s1) + (s2 + s3);
}

/* sum a[i] * b[i] */
static float
scalar_inner_product(size_t n, const float *a, const float *b)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		i = 0;

	for (; i + 4 <= n; i += 4)
	{
		s0 += LOAD(a + i) * LOAD(b + i);
		s1 += LOAD(a + i + 1) * LOAD(b + i + 1);
		s2 += LOAD(a + i + 2) * LOAD(b + i + 2);
		s3 += LOAD(a + i + 3) * LOAD(b + i + 3);
	}
	for (; i < n; i++)
		s0 += LOAD(a + i) * LOAD(b + i);
	return (s0 + s1) + (s2 + s3);
}

/* sum |a[i] - b[i]| */
static float
scalar_l1(size_t n, const float *a, const float *b)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		i = 0;

	for (; i + 4 <= n; i += 4)
	{
		s0 += fabsf(LOAD(a + i) - LOAD(b + i));
		s1 += fabsf(LOAD(a + i + 1) - LOAD(b + i + 1));
		s2 += fabsf(LOAD(a + i + 2) - LOAD(b + i + 2));
		s3 += fabsf(LOAD(a + i + 3) - LOAD(b + i + 3));
	}
	for (; i < n; i++)
		s0 += fabsf(LOAD(a + i) - LOAD(b + i));
	return (s0 + s1) + (s2 + s3);
}

/* The three sums of cosine distance; two chains each make six in all. */
static VdbCosineParts
scalar_cosine(size_t n, const float *a, const float *b)
{
	VdbCosineParts parts;
	float		ip0 = 0.0f;
	float		ip1 = 0.0f;
	float		aa0 = 0.0f;
	float		aa1 = 0.0f;
	float		bb0 = 0.0f;
	float		bb1 = 0.0f;
	size_t		i = 0;

	for (; i + 2 <= n; i += 2)
	{
		float		a0 = LOAD(a + i);
		float		a1 = LOAD(a + i + 1);
		float		b0 = LOAD(b + i);
		float		b1 = LOAD(b + i + 1);

		ip0 += a0 * b0;
		ip1 += a1 * b1;
		aa0 += a0 * a0;
		aa1 += a1 * a1;
		bb0 += b0 * b0;
		bb1 += b1 * b1;
	}
	if (i < n)
	{
		float		a0 = LOAD(a + i);
		float		b0 = LOAD(b + i);

		ip0 += a0 * b0;
		aa0 += a0 * a0;
		bb0 += b0 * b0;
	}
	parts.ip = ip0 + ip1;
	parts.aa = aa0 + aa1;
	parts.bb = bb0 + bb1;
	return parts;
}

/* ---- half against half ---- */

/* Halfs are converted by the block, a loop that compilers vectorise. */
#define HALF_BLOCK 64

static inline void
convert_half_block(const uint16_t *restrict in, float *restrict out)
{
	int			i;

	for (i = 0; i < HALF_BLOCK; i++)
		vdb_distance_store_f32(out + i, vdb_distance_half_to_float(vdb_distance_load_u16(in + i)));
}

/* The up to HALF_BLOCK halfs at position i of n as floats, zeros after the last. */
static inline void
load_half_block(size_t n, size_t i, const uint16_t *in, float *out)
{
	uint16_t	last[HALF_BLOCK] = {0};

	if (i + HALF_BLOCK <= n)
	{
		convert_half_block(in + i, out);
		return;
	}
	memcpy(last, in + i, (n - i) * sizeof(uint16_t));
	convert_half_block(last, out);
}

/* n halfs to floats */
static void
scalar_half_to_float(size_t n, const uint16_t *in, float *out)
{
	float		last[HALF_BLOCK];
	size_t		i = 0;

	for (; i + HALF_BLOCK <= n; i += HALF_BLOCK)
		convert_half_block(in + i, out + i);
	if (i < n)
	{
		load_half_block(n, i, in, last);
		memcpy(out + i, last, (n - i) * sizeof(float));
	}
}

/* n floats to halfs */
static void
scalar_float_to_half(size_t n, const float *in, uint16_t *out)
{
	size_t		i;

	for (i = 0; i < n; i++)
		vdb_distance_store_u16(out + i, vdb_distance_float_to_half(LOAD(in + i)));
}

/*
 * Sums over halfs are left to the float kernels, block after block.  The zeros
 * after the last half add nothing.  Adding up the blocks rounds once for each,
 * which is less than chains of n / 4 or n / 2 terms would.
 */
static inline float
sum_half_blocks(float (*kernel) (size_t n, const float *a, const float *b),
				size_t n, const uint16_t *a, const uint16_t *b)
{
	float		x[HALF_BLOCK];
	float		y[HALF_BLOCK];
	float		sum = 0.0f;
	size_t		i;

	for (i = 0; i < n; i += HALF_BLOCK)
	{
		load_half_block(n, i, a, x);
		load_half_block(n, i, b, y);
		sum += kernel(HALF_BLOCK, x, y);
	}
	return sum;
}

static float
scalar_half_l2_squared(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_half_blocks(scalar_l2_squared, n, a, b);
}

static float
scalar_half_inner_product(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_half_blocks(scalar_inner_product, n, a, b);
}

static float
scalar_half_l1(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_half_blocks(scalar_l1, n, a, b);
}

static VdbCosineParts
scalar_half_cosine(size_t n, const uint16_t *a, const uint16_t *b)
{
	float		x[HALF_BLOCK];
	float		y[HALF_BLOCK];
	VdbCosineParts sum = {0.0f, 0.0f, 0.0f};
	size_t		i;

	for (i = 0; i < n; i += HALF_BLOCK)
	{
		VdbCosineParts parts;

		load_half_block(n, i, a, x);
		load_half_block(n, i, b, y);
		parts = scalar_cosine(HALF_BLOCK, x, y);
		sum.ip += parts.ip;
		sum.aa += parts.aa;
		sum.bb += parts.bb;
	}
	return sum;
}

/* ---- bit strings ---- */

/* How many bits are set; for processors without an instruction for it. */
static inline uint64_t
count_bits(uint64_t x)
{
	x -= (x >> 1) & UINT64_C(0x5555555555555555);
	x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
	x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (x * UINT64_C(0x0101010101010101)) >> 56;
}

/* The r bytes at p, r < 8, and zeros. */
static inline uint64_t
load_upto7(const uint8_t *p, size_t r)
{
	uint64_t	x = 0;

	memcpy(&x, p, r);
	return x;
}

/* How many bits differ. */
static uint64_t
scalar_bit_hamming(size_t n, const uint8_t *a, const uint8_t *b)
{
	uint64_t	s = 0;
	size_t		i = 0;

	for (; i + 8 <= n; i += 8)
		s += count_bits(vdb_distance_load_u64(a + i) ^ vdb_distance_load_u64(b + i));
	if (i < n)
		s += count_bits(load_upto7(a + i, n - i) ^ load_upto7(b + i, n - i));
	return s;
}

/* How many bits are set in both, and how many in either. */
static VdbJaccardParts
scalar_bit_jaccard(size_t n, const uint8_t *a, const uint8_t *b)
{
	VdbJaccardParts parts = {0, 0};
	size_t		i = 0;

	for (; i < n; i += 8)
	{
		uint64_t	x = n - i < 8 ? load_upto7(a + i, n - i) : vdb_distance_load_u64(a + i);
		uint64_t	y = n - i < 8 ? load_upto7(b + i, n - i) : vdb_distance_load_u64(b + i);

		parts.both += count_bits(x & y);
		parts.either += count_bits(x | y);
	}
	return parts;
}

/* ---- sparse vectors ---- */

/*
 * When one vector has this many times the elements of the other, its indices
 * are searched instead of read.
 */
#define SPARSE_GALLOP_RATIO 8

static ALWAYS_INLINE double
sparse_term(SparseMetric metric, float a, float b)
{
	double		d = (double) a - (double) b;

	switch (metric)
	{
		case SPARSE_L2:
			return d * d;
		case SPARSE_IP:
			return (double) a * (double) b;
		case SPARSE_L1:
			return fabs(d);
	}
	return 0;
}

/* The terms of n elements that the other vector does not have. */
static ALWAYS_INLINE double
sum_unmatched(SparseMetric metric, size_t n, const float *v)
{
	double		s0 = 0;
	double		s1 = 0;
	double		s2 = 0;
	double		s3 = 0;
	size_t		i = 0;

	if (metric == SPARSE_IP)
		return 0;
	for (; i + 4 <= n; i += 4)
	{
		s0 += sparse_term(metric, LOAD(v + i), 0);
		s1 += sparse_term(metric, LOAD(v + i + 1), 0);
		s2 += sparse_term(metric, LOAD(v + i + 2), 0);
		s3 += sparse_term(metric, LOAD(v + i + 3), 0);
	}
	for (; i < n; i++)
		s0 += sparse_term(metric, LOAD(v + i), 0);
	return (s0 + s1) + (s2 + s3);
}

static inline int32_t
load_index(const int32_t *p)
{
	return (int32_t) vdb_distance_load_u32(p);
}

/* The value at p when it is wanted, else zero; without a branch. */
static inline float
load_if(bool wanted, const float *p)
{
	uint32_t	bits = vdb_distance_load_u32(p) & -(uint32_t) wanted;
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/*
 * Which of n ascending indices is the first that is not less than wanted; n if
 * there is none.  It is expected near the beginning: steps double until it is
 * passed, then halve.
 */
static inline size_t
find_index(size_t n, const int32_t *indices, int32_t wanted)
{
	size_t		low = 0;		/* all before are less */
	size_t		step = 1;
	size_t		count;

	while (step <= n - low && load_index(indices + low + step - 1) < wanted)
	{
		low += step;
		step *= 2;
	}

	/* it is one of the next count, or follows them */
	count = step <= n - low ? step - 1 : n - low;
	while (count > 0)
	{
		size_t		half = (count + 1) / 2;

		low += load_index(indices + low + half - 1) < wanted ? half : 0;
		count -= half;
	}
	return low;
}

/* For a vector with few elements against one with many. */
static ALWAYS_INLINE double
gallop_sparse(SparseMetric metric,
			  size_t few, const int32_t *fi, const float *fv,
			  size_t many, const int32_t *mi, const float *mv)
{
	double		s = 0;
	size_t		j = 0;
	size_t		i;

	for (i = 0; i < few; i++)
	{
		int32_t		index = load_index(fi + i);
		size_t		passed = find_index(many - j, mi + j, index);

		s += sum_unmatched(metric, passed, mv + j);
		j += passed;
		if (j < many && load_index(mi + j) == index)
			s += sparse_term(metric, LOAD(fv + i), LOAD(mv + j++));
		else
			s += sparse_term(metric, LOAD(fv + i), 0);
	}
	return s + sum_unmatched(metric, many - j, mv + j);
}

/*
 * Each step takes the least index there is from the vectors that have it.  Which
 * of them do cannot be foreseen, so nothing branches on it.
 */
static ALWAYS_INLINE double
merge_sparse(SparseMetric metric,
			 size_t na, const int32_t *ai, const float *av,
			 size_t nb, const int32_t *bi, const float *bv)
{
	double		s = 0;
	size_t		i = 0;
	size_t		j = 0;

	if (na / SPARSE_GALLOP_RATIO >= nb)
		return gallop_sparse(metric, nb, bi, bv, na, ai, av);
	if (nb / SPARSE_GALLOP_RATIO >= na)
		return gallop_sparse(metric, na, ai, av, nb, bi, bv);

	while (i < na && j < nb)
	{
		int32_t		x = load_index(ai + i);
		int32_t		y = load_index(bi + j);

		s += sparse_term(metric, load_if(x <= y, av + i), load_if(y <= x, bv + j));
		i += x <= y;
		j += y <= x;
	}
	return s + sum_unmatched(metric, na - i, av + i) +
		sum_unmatched(metric, nb - j, bv + j);
}

/* sum (a[i] - b[i])^2 */
static double
scalar_sparse_l2_squared(size_t na, const int32_t *ai, const float *av,
						 size_t nb, const int32_t *bi, const float *bv)
{
	return merge_sparse(SPARSE_L2, na, ai, av, nb, bi, bv);
}

/* sum a[i] * b[i] */
static double
scalar_sparse_ip(size_t na, const int32_t *ai, const float *av,
				 size_t nb, const int32_t *bi, const float *bv)
{
	return merge_sparse(SPARSE_IP, na, ai, av, nb, bi, bv);
}

/* sum |a[i] - b[i]| */
static double
scalar_sparse_l1(size_t na, const int32_t *ai, const float *av,
				 size_t nb, const int32_t *bi, const float *bv)
{
	return merge_sparse(SPARSE_L1, na, ai, av, nb, bi, bv);
}

/*
 * Where block number `block` of a code of `cbytes` bytes starts, and how many
 * bytes it has, after the rule of VDB_HOT_BLOCK.
 */
static inline size_t
hot_block_start(size_t cbytes, size_t block, size_t *length)
{
	size_t		start = block * VDB_HOT_BLOCK;

	*length = VDB_HOT_BLOCK;
	if (start + VDB_HOT_BLOCK <= cbytes)
		return start;
	if (cbytes >= VDB_HOT_BLOCK)
		return cbytes - VDB_HOT_BLOCK;
	*length = cbytes;
	return 0;
}

/* Hot code of 2 bits a dimension against its query. */
static int32_t
scalar_hot2_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	size_t		blocks = (cbytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK;
	size_t		plane = blocks * VDB_HOT_BLOCK;
	int32_t		s0 = 0;
	int32_t		s1 = 0;
	int32_t		s2 = 0;
	int32_t		s3 = 0;
	size_t		t;

	for (t = 0; t < blocks; t++)
	{
		size_t		length;
		const uint8_t *c = code + hot_block_start(cbytes, t, &length);
		const int8_t *q = query + t * VDB_HOT_BLOCK;
		size_t		i;

		for (i = 0; i < length; i++)
		{
			s0 += q[i] * (c[i] & 3);
			s1 += q[plane + i] * ((c[i] >> 2) & 3);
			s2 += q[2 * plane + i] * ((c[i] >> 4) & 3);
			s3 += q[3 * plane + i] * (c[i] >> 6);
		}
	}
	return s0 + s1 + s2 + s3;
}

/* Hot code of 4 bits a dimension against its query. */
static int32_t
scalar_hot4_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	size_t		blocks = (cbytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK;
	size_t		plane = blocks * VDB_HOT_BLOCK;
	int32_t		s0 = 0;
	int32_t		s1 = 0;
	size_t		t;

	for (t = 0; t < blocks; t++)
	{
		size_t		length;
		const uint8_t *c = code + hot_block_start(cbytes, t, &length);
		const int8_t *q = query + t * VDB_HOT_BLOCK;
		size_t		i;

		for (i = 0; i < length; i++)
		{
			s0 += q[i] * (c[i] & 15);
			s1 += q[plane + i] * (c[i] >> 4);
		}
	}
	return s0 + s1;
}

/* Hot code of 8 bits a dimension against its query. */
static int32_t
scalar_hot8_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	size_t		blocks = (cbytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK;
	int32_t		s = 0;
	size_t		t;

	for (t = 0; t < blocks; t++)
	{
		size_t		length;
		const uint8_t *c = code + hot_block_start(cbytes, t, &length);
		const int8_t *q = query + t * VDB_HOT_BLOCK;
		size_t		i;

		for (i = 0; i < length; i++)
			s += q[i] * c[i];
	}
	return s;
}

/* City-block distance of a float query to a 4-bit hot code. */
static float
scalar_hot4_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	size_t		cbytes = dims / 2;
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		j = 0;

	for (; j + 2 <= cbytes; j += 2)
	{
		s0 += fabsf(LOAD(q + j) - scale * (float) (2 * (code[j] & 15) - 15));
		s1 += fabsf(LOAD(q + cbytes + j) -
				  scale * (float) (2 * (code[j] >> 4) - 15));
		s2 += fabsf(LOAD(q + j + 1) -
				  scale * (float) (2 * (code[j + 1] & 15) - 15));
		s3 += fabsf(LOAD(q + cbytes + j + 1) -
				  scale * (float) (2 * (code[j + 1] >> 4) - 15));
	}
	if (j < cbytes)
	{
		s0 += fabsf(LOAD(q + j) - scale * (float) (2 * (code[j] & 15) - 15));
		s1 += fabsf(LOAD(q + cbytes + j) -
				  scale * (float) (2 * (code[j] >> 4) - 15));
	}
	return (s0 + s1) + (s2 + s3);
}

/* City-block distance of a float query to an 8-bit hot code. */
static float
scalar_hot8_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		d = 0;

	for (; d + 4 <= dims; d += 4)
	{
		s0 += fabsf(LOAD(q + d) - scale * (float) (2 * code[d] - 255));
		s1 += fabsf(LOAD(q + d + 1) - scale * (float) (2 * code[d + 1] - 255));
		s2 += fabsf(LOAD(q + d + 2) - scale * (float) (2 * code[d + 2] - 255));
		s3 += fabsf(LOAD(q + d + 3) - scale * (float) (2 * code[d + 3] - 255));
	}
	for (; d < dims; d++)
		s0 += fabsf(LOAD(q + d) - scale * (float) (2 * code[d] - 255));
	return (s0 + s1) + (s2 + s3);
}

/* Node code against a float query: sum q[d] * v[d]. */
static ALWAYS_INLINE float
node_ip(int bits, size_t dims, const float *q, const int8_t *hi, const uint8_t *lo)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		d = 0;

	for (; d + 4 <= dims; d += 4)
	{
		s0 += LOAD(q + d) * (float) vdb_distance_node_value(bits, hi, lo, d);
		s1 += LOAD(q + d + 1) * (float) vdb_distance_node_value(bits, hi, lo, d + 1);
		s2 += LOAD(q + d + 2) * (float) vdb_distance_node_value(bits, hi, lo, d + 2);
		s3 += LOAD(q + d + 3) * (float) vdb_distance_node_value(bits, hi, lo, d + 3);
	}
	for (; d < dims; d++)
		s0 += LOAD(q + d) * (float) vdb_distance_node_value(bits, hi, lo, d);
	return (s0 + s1) + (s2 + s3);
}

/* |q[d] - scale * v[d]| */
static ALWAYS_INLINE float
node_term_l1(int bits, const float *q, float scale, const int8_t *hi, const uint8_t *lo, size_t d)
{
	return fabsf(LOAD(q + d) - scale * (float) vdb_distance_node_value(bits, hi, lo, d));
}

/* Node code against a float query: sum |q[d] - scale * v[d]|. */
static ALWAYS_INLINE float
node_l1(int bits, size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		d = 0;

	for (; d + 4 <= dims; d += 4)
	{
		s0 += node_term_l1(bits, q, scale, hi, lo, d);
		s1 += node_term_l1(bits, q, scale, hi, lo, d + 1);
		s2 += node_term_l1(bits, q, scale, hi, lo, d + 2);
		s3 += node_term_l1(bits, q, scale, hi, lo, d + 3);
	}
	for (; d < dims; d++)
		s0 += node_term_l1(bits, q, scale, hi, lo, d);
	return (s0 + s1) + (s2 + s3);
}

/* Node code to floats. */
static ALWAYS_INLINE void
node_decode(int bits, size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out)
{
	for (size_t d = 0; d < dims; d++)
		vdb_distance_store_f32(out + d, scale *
							   (float) vdb_distance_node_value(bits, hi, lo, d));
}

NODE_KERNELS(scalar, , 12);
NODE_KERNELS(scalar, , 10);

/* sum a[d] * b[d], exact */
static int32_t
scalar_i8_ip(size_t dims, const int8_t *a, const int8_t *b)
{
	int32_t		s = 0;
	size_t		d;

	for (d = 0; d < dims; d++)
		s += a[d] * b[d];
	return s;
}

/* sum |sa * a[d] - sb * b[d]| */
static float
scalar_i8_l1(size_t dims, float sa, const int8_t *a, float sb, const int8_t *b)
{
	float		s0 = 0.0f;
	float		s1 = 0.0f;
	float		s2 = 0.0f;
	float		s3 = 0.0f;
	size_t		d = 0;

	for (; d + 4 <= dims; d += 4)
	{
		s0 += fabsf(sa * (float) a[d] - sb * (float) b[d]);
		s1 += fabsf(sa * (float) a[d + 1] - sb * (float) b[d + 1]);
		s2 += fabsf(sa * (float) a[d + 2] - sb * (float) b[d + 2]);
		s3 += fabsf(sa * (float) a[d + 3] - sb * (float) b[d + 3]);
	}
	for (; d < dims; d++)
		s0 += fabsf(sa * (float) a[d] - sb * (float) b[d]);
	return (s0 + s1) + (s2 + s3);
}

/* sum a[d] * b[d], exact, of a plain row with four of the panel at a time */
static void
scalar_panel_ip(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a,
				size_t stride, int32_t *out)
{
	for (; n > 0; n--, a += stride, out += rows)
	{
		const int8_t *b = (const int8_t *) panel;
		size_t		j = 0;

		for (; j + 4 <= rows; j += 4, b += 4 * dims)
		{
			int32_t		s0 = 0;
			int32_t		s1 = 0;
			int32_t		s2 = 0;
			int32_t		s3 = 0;

			for (size_t d = 0; d < dims; d++)
			{
				s0 += a[d] * b[d];
				s1 += a[d] * b[dims + d];
				s2 += a[d] * b[2 * dims + d];
				s3 += a[d] * b[3 * dims + d];
			}
			out[j] = s0;
			out[j + 1] = s1;
			out[j + 2] = s2;
			out[j + 3] = s3;
		}
		for (; j < rows; j++, b += dims)
			out[j] = scalar_i8_ip(dims, a, b);
	}
}

static uint32_t
scalar_scan_below(size_t bytes, const uint8_t *table, const uint8_t *group, const float *add,
				  const float *scale, VdbScanScale s, float *scores)
{
	const uint8_t *upper = table + 16 * bytes;
	uint32_t	sums[VDB_SCAN_LANES] = {0};
	uint32_t	below = 0;

	for (size_t half = 0; half < VDB_SCAN_LANES; half += 16)
	{
		const uint8_t *codes = group + half * bytes;

		for (size_t b = 0; b < 16 * bytes; b += 16)
		{
			for (size_t l = 0; l < 16; l++)
				sums[half + l] += (uint32_t) (table[b + codes[b + l] % 16] + upper[b + codes[b + l] / 16]);
		}
	}
	for (size_t l = 0; l < VDB_SCAN_LANES; l++)
	{
		float		product = s.unit * (float) sums[l] + s.low;
		float		score = vdb_distance_load_f32(add + l) - vdb_distance_load_f32(scale + l) * product;

		vdb_distance_store_f32(scores + l, score);
		below |= (uint32_t) (score < s.bound) << l;
	}
	return below;
}

/*
 * Walsh-Hadamard transform.  Two levels are done in one sweep over memory; the
 * additions are those of the one-level-at-a-time algorithm, strides ascending,
 * which every level of this folder keeps so that all give the same bits.
 */
static void
scalar_fht(size_t n, float *x)
{
	size_t		h = 1;
	size_t		i;
	size_t		j;

	for (; 4 * h <= n; h *= 4)
	{
		for (i = 0; i < n; i += 4 * h)
		{
			for (j = i; j < i + h; j++)
			{
				float		a = LOAD(x + j);
				float		b = LOAD(x + j + h);
				float		c = LOAD(x + j + 2 * h);
				float		d = LOAD(x + j + 3 * h);
				float		ab = a + b;
				float		a_b = a - b;
				float		cd = c + d;
				float		c_d = c - d;

				vdb_distance_store_f32(x + j, ab + cd);
				vdb_distance_store_f32(x + j + h, a_b + c_d);
				vdb_distance_store_f32(x + j + 2 * h, ab - cd);
				vdb_distance_store_f32(x + j + 3 * h, a_b - c_d);
			}
		}
	}
	if (2 * h <= n)
	{
		for (j = 0; j < h; j++)
		{
			float		a = LOAD(x + j);
			float		b = LOAD(x + j + h);

			vdb_distance_store_f32(x + j, a + b);
			vdb_distance_store_f32(x + j + h, a - b);
		}
	}
}

const VdbKernels vdb_kernels_scalar = {
	.level = VDB_SIMD_SCALAR,
	.l2_squared = scalar_l2_squared,
	.inner_product = scalar_inner_product,
	.l1 = scalar_l1,
	.cosine = scalar_cosine,
	.half_l2_squared = scalar_half_l2_squared,
	.half_inner_product = scalar_half_inner_product,
	.half_l1 = scalar_half_l1,
	.half_cosine = scalar_half_cosine,
	.half_to_float = scalar_half_to_float,
	.float_to_half = scalar_float_to_half,
	.bit_hamming = scalar_bit_hamming,
	.bit_jaccard = scalar_bit_jaccard,
	.sparse_l2_squared = scalar_sparse_l2_squared,
	.sparse_ip = scalar_sparse_ip,
	.sparse_l1 = scalar_sparse_l1,
	.hot2_ip = scalar_hot2_ip,
	.hot4_ip = scalar_hot4_ip,
	.hot8_ip = scalar_hot8_ip,
	.hot4_l1 = scalar_hot4_l1,
	.hot8_l1 = scalar_hot8_l1,
	.hot_fit = vdb_distance_plain_hot_fit,
	.node12_ip = scalar_node12_ip,
	.node10_ip = scalar_node10_ip,
	.node12_l1 = scalar_node12_l1,
	.node10_l1 = scalar_node10_l1,
	.node12_decode = scalar_node12_decode,
	.node10_decode = scalar_node10_decode,
	.i8_ip = scalar_i8_ip,
	.i8_l1 = scalar_i8_l1,
	.panel_put = vdb_distance_plain_panel_put,
	.panel_ip = scalar_panel_ip,
	.nearest_of_16 = vdb_distance_plain_nearest_of_16,
	.rows4_ip = vdb_distance_plain_rows4_ip,
	.select_below = vdb_distance_plain_select_below,
	.scan_below = scalar_scan_below,
	.fht = scalar_fht
};
