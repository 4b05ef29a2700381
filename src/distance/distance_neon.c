/*
 * distance_neon.c
 *	  The kernels for AArch64 processors: one table for all of them, and one for
 *	  those with the dot product instructions of ARMv8.2.  The tables differ in
 *	  the kernels that multiply bytes.
 *
 * NEON is part of every AArch64 processor; the functions that need more carry
 * a target attribute.  On other architectures the file is empty.
 *
 * Ends of arrays: what does not fill a vector is put together from shorter
 * loads that stay, and where need be overlap, inside the array.  Nothing
 * outside an array is ever read.
 */
#include "distance_private.h"

#ifdef VDB_HAVE_ARM_KERNELS

#include <arm_neon.h>
#include <math.h>

/*
 * gcc knows these instructions from ARMv8.2 on, clang by their name.  Helpers
 * without this attribute are inlined where the attribute adds to what the whole
 * file is compiled for; none of those may insist on it.
 */
#if defined(__ARM_FEATURE_DOTPROD)
#define TARGET_DOTPROD
#elif defined(__clang__)
#define TARGET_DOTPROD __attribute__((target("dotprod")))
#else
#define TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/*
 * Loads and stores of floats go through bytes, for which compilers assume no
 * alignment.
 */
static inline float32x4_t
load_f32x4(const float *p)
{
	return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *) p));
}

static inline void
store_f32x4(float *p, float32x4_t x)
{
	vst1q_u8((uint8_t *) p, vreinterpretq_u8_f32(x));
}

/* The r floats at p, 1 <= r <= 3, and zeros. */
static inline float32x4_t
load_f32_upto3(const float *p, size_t r)
{
	uint64_t	low;
	uint64_t	high = 0;

	if (r == 1)
		low = vdb_distance_load_u32(p);
	else
	{
		low = vdb_distance_load_u64(p);
		if (r == 3)
			high = vdb_distance_load_u32(p + 2);
	}
	return vcombine_f32(vcreate_f32(low), vcreate_f32(high));
}

/* Four halfs as floats. */
static inline float32x4_t
load_half4(const uint16_t *p)
{
	return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *) p)));
}

/* The r halfs at p, 1 <= r <= 3, as floats, and zeros. */
static inline float32x4_t
load_half_upto3(const uint16_t *p, size_t r)
{
	return vcvt_f32_f16(vcreate_f16(vdb_distance_load_upto8(p, 2 * r)));
}

/* The r bytes at p, r <= 16, and zeros. */
static inline uint8x16_t
load_upto16(const void *p, size_t r)
{
	const uint8_t *b = p;
	uint64_t	low = 0;
	uint64_t	high = 0;

	if (r > 8)
	{
		low = vdb_distance_load_u64(b);
		high = vdb_distance_load_upto8(b + 8, r - 8);
	}
	else if (r > 0)
		low = vdb_distance_load_upto8(b, r);
	return vcombine_u8(vcreate_u8(low), vcreate_u8(high));
}

static inline float
sum4_f32(float32x4_t x0, float32x4_t x1, float32x4_t x2, float32x4_t x3)
{
	return vaddvq_f32(vaddq_f32(vaddq_f32(x0, x1), vaddq_f32(x2, x3)));
}

/*
 * sum += a * b over groups of four neighbours.  Written as the instruction,
 * since the intrinsic is not there in older versions of clang.
 */
TARGET_DOTPROD static inline int32x4_t
dot_s8(int32x4_t sum, int8x16_t a, int8x16_t b)
{
	__asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
	return sum;
}

/* ---- floats against floats, halfs against halfs ---- */

typedef enum Element
{
	ELEMENT_FLOAT,
	ELEMENT_HALF
} Element;

/* Elements i to i + 3 of an array. */
static ALWAYS_INLINE float32x4_t
load4(Element element, const void *array, size_t i)
{
	if (element == ELEMENT_HALF)
		return load_half4((const uint16_t *) array + i);
	return load_f32x4((const float *) array + i);
}

/* The r elements from number i on, 1 <= r <= 3, and zeros. */
static ALWAYS_INLINE float32x4_t
load_upto3(Element element, const void *array, size_t i, size_t r)
{
	if (element == ELEMENT_HALF)
		return load_half_upto3((const uint16_t *) array + i, r);
	return load_f32_upto3((const float *) array + i, r);
}

/*
 * Where loops are shared, what differs is a parameter: the element, the step.
 * It is a constant in every call, and inlining turns it back into plain code.
 */
typedef float32x4_t (*PairStep) (float32x4_t sum, float32x4_t a, float32x4_t b);

/* A sum over two arrays, in eight chains. */
static ALWAYS_INLINE float
sum_pairs(Element element, size_t n, const void *a, const void *b, PairStep step)
{
	float32x4_t s0 = vdupq_n_f32(0.0f);
	float32x4_t s1 = s0;
	float32x4_t s2 = s0;
	float32x4_t s3 = s0;
	float32x4_t s4 = s0;
	float32x4_t s5 = s0;
	float32x4_t s6 = s0;
	float32x4_t s7 = s0;
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		s0 = step(s0, load4(element, a, i), load4(element, b, i));
		s1 = step(s1, load4(element, a, i + 4), load4(element, b, i + 4));
		s2 = step(s2, load4(element, a, i + 8), load4(element, b, i + 8));
		s3 = step(s3, load4(element, a, i + 12), load4(element, b, i + 12));
		s4 = step(s4, load4(element, a, i + 16), load4(element, b, i + 16));
		s5 = step(s5, load4(element, a, i + 20), load4(element, b, i + 20));
		s6 = step(s6, load4(element, a, i + 24), load4(element, b, i + 24));
		s7 = step(s7, load4(element, a, i + 28), load4(element, b, i + 28));
	}
	if (i + 16 <= n)
	{
		s0 = step(s0, load4(element, a, i), load4(element, b, i));
		s1 = step(s1, load4(element, a, i + 4), load4(element, b, i + 4));
		s2 = step(s2, load4(element, a, i + 8), load4(element, b, i + 8));
		s3 = step(s3, load4(element, a, i + 12), load4(element, b, i + 12));
		i += 16;
	}
	if (i + 8 <= n)
	{
		s4 = step(s4, load4(element, a, i), load4(element, b, i));
		s5 = step(s5, load4(element, a, i + 4), load4(element, b, i + 4));
		i += 8;
	}
	if (i + 4 <= n)
	{
		s6 = step(s6, load4(element, a, i), load4(element, b, i));
		i += 4;
	}
	if (i < n)
		s7 = step(s7, load_upto3(element, a, i, n - i), load_upto3(element, b, i, n - i));
	return sum4_f32(vaddq_f32(s0, s4), vaddq_f32(s1, s5), vaddq_f32(s2, s6),
					vaddq_f32(s3, s7));
}

static inline float32x4_t
l2_step(float32x4_t sum, float32x4_t a, float32x4_t b)
{
	float32x4_t d = vsubq_f32(a, b);

	return vfmaq_f32(sum, d, d);
}

static inline float32x4_t
ip_step(float32x4_t sum, float32x4_t a, float32x4_t b)
{
	return vfmaq_f32(sum, a, b);
}

static inline float32x4_t
l1_step(float32x4_t sum, float32x4_t a, float32x4_t b)
{
	return vaddq_f32(sum, vabdq_f32(a, b));
}

/* sum (a[i] - b[i])^2 */
static float
neon_l2_squared(size_t n, const float *a, const float *b)
{
	return sum_pairs(ELEMENT_FLOAT, n, a, b, l2_step);
}

/* sum a[i] * b[i] */
static float
neon_inner_product(size_t n, const float *a, const float *b)
{
	return sum_pairs(ELEMENT_FLOAT, n, a, b, ip_step);
}

/* sum |a[i] - b[i]| */
static float
neon_l1(size_t n, const float *a, const float *b)
{
	return sum_pairs(ELEMENT_FLOAT, n, a, b, l1_step);
}

/* sum (a[i] - b[i])^2 */
static float
neon_half_l2_squared(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_pairs(ELEMENT_HALF, n, a, b, l2_step);
}

/* sum a[i] * b[i] */
static float
neon_half_inner_product(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_pairs(ELEMENT_HALF, n, a, b, ip_step);
}

/* sum |a[i] - b[i]| */
static float
neon_half_l1(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_pairs(ELEMENT_HALF, n, a, b, l1_step);
}

typedef struct CosineSums
{
	float32x4_t ip;
	float32x4_t aa;
	float32x4_t bb;
} CosineSums;

static inline CosineSums
cosine_step(CosineSums sums, float32x4_t a, float32x4_t b)
{
	sums.ip = vfmaq_f32(sums.ip, a, b);
	sums.aa = vfmaq_f32(sums.aa, a, a);
	sums.bb = vfmaq_f32(sums.bb, b, b);
	return sums;
}

/* The three sums of cosine distance, in six chains each. */
static ALWAYS_INLINE VdbCosineParts
sum_cosine(Element element, size_t n, const void *a, const void *b)
{
	const float32x4_t zero = vdupq_n_f32(0.0f);
	VdbCosineParts parts;
	CosineSums	s0 = {zero, zero, zero};
	CosineSums	s1 = s0;
	CosineSums	s2 = s0;
	CosineSums	s3 = s0;
	CosineSums	s4 = s0;
	CosineSums	s5 = s0;
	size_t		i = 0;

	for (; i + 24 <= n; i += 24)
	{
		s0 = cosine_step(s0, load4(element, a, i), load4(element, b, i));
		s1 = cosine_step(s1, load4(element, a, i + 4), load4(element, b, i + 4));
		s2 = cosine_step(s2, load4(element, a, i + 8), load4(element, b, i + 8));
		s3 = cosine_step(s3, load4(element, a, i + 12), load4(element, b, i + 12));
		s4 = cosine_step(s4, load4(element, a, i + 16), load4(element, b, i + 16));
		s5 = cosine_step(s5, load4(element, a, i + 20), load4(element, b, i + 20));
	}
	for (; i + 8 <= n; i += 8)
	{
		s0 = cosine_step(s0, load4(element, a, i), load4(element, b, i));
		s1 = cosine_step(s1, load4(element, a, i + 4), load4(element, b, i + 4));
	}
	if (i + 4 <= n)
	{
		s2 = cosine_step(s2, load4(element, a, i), load4(element, b, i));
		i += 4;
	}
	if (i < n)
		s3 = cosine_step(s3, load_upto3(element, a, i, n - i), load_upto3(element, b, i, n - i));
	parts.ip = sum4_f32(vaddq_f32(s0.ip, s4.ip), vaddq_f32(s1.ip, s5.ip),
						s2.ip, s3.ip);
	parts.aa = sum4_f32(vaddq_f32(s0.aa, s4.aa), vaddq_f32(s1.aa, s5.aa),
						s2.aa, s3.aa);
	parts.bb = sum4_f32(vaddq_f32(s0.bb, s4.bb), vaddq_f32(s1.bb, s5.bb),
						s2.bb, s3.bb);
	return parts;
}

static VdbCosineParts
neon_cosine(size_t n, const float *a, const float *b)
{
	return sum_cosine(ELEMENT_FLOAT, n, a, b);
}

static VdbCosineParts
neon_half_cosine(size_t n, const uint16_t *a, const uint16_t *b)
{
	return sum_cosine(ELEMENT_HALF, n, a, b);
}

/* n halfs to floats */
static void
neon_half_to_float(size_t n, const uint16_t *in, float *out)
{
	size_t		i = 0;

	for (; i + 8 <= n; i += 8)
	{
		store_f32x4(out + i, load_half4(in + i));
		store_f32x4(out + i + 4, load_half4(in + i + 4));
	}
	for (; i < n; i++)
		vdb_distance_store_f32(out + i, vdb_distance_half_to_float(vdb_distance_load_u16(in + i)));
}

/* n floats to halfs */
static void
neon_float_to_half(size_t n, const float *in, uint16_t *out)
{
	size_t		i = 0;

	for (; i + 8 <= n; i += 8)
	{
		float16x4_t low = vcvt_f16_f32(load_f32x4(in + i));
		float16x8_t both = vcvt_high_f16_f32(low, load_f32x4(in + i + 4));

		vst1q_u8((uint8_t *) (out + i), vreinterpretq_u8_f16(both));
	}
	for (; i < n; i++)
		vdb_distance_store_u16(out + i, vdb_distance_float_to_half(vdb_distance_load_f32(in + i)));
}

/* ---- bit strings ---- */

typedef uint8x16_t (*BitOperation) (uint8x16_t a, uint8x16_t b);

/*
 * How many bits the operation leaves set.  A block of 64 bytes adds at most 64
 * to each of eight sums in uint16, so after this many the sums must be emptied:
 * 1000 * 64 is below 65536.
 */
#define BIT_RUN 1000

static ALWAYS_INLINE uint64_t
count_bits(size_t n, const uint8_t *a, const uint8_t *b, BitOperation operation)
{
	uint64_t	count = 0;
	size_t		blocks = n / 64;
	size_t		i = 0;

	while (blocks > 0)
	{
		size_t		run = blocks > BIT_RUN ? BIT_RUN : blocks;
		uint16x8_t	sums = vdupq_n_u16(0);

		blocks -= run;
		for (; run > 0; run--, i += 64)
		{
			uint8x16_t	c0 = vcntq_u8(operation(vld1q_u8(a + i), vld1q_u8(b + i)));
			uint8x16_t	c1 = vcntq_u8(operation(vld1q_u8(a + i + 16), vld1q_u8(b + i + 16)));
			uint8x16_t	c2 = vcntq_u8(operation(vld1q_u8(a + i + 32), vld1q_u8(b + i + 32)));
			uint8x16_t	c3 = vcntq_u8(operation(vld1q_u8(a + i + 48), vld1q_u8(b + i + 48)));

			sums = vpadalq_u8(sums, vaddq_u8(vaddq_u8(c0, c1), vaddq_u8(c2, c3)));
		}
		count += vaddlvq_u16(sums);
	}
	for (; i + 16 <= n; i += 16)
		count += vaddlvq_u8(vcntq_u8(operation(vld1q_u8(a + i), vld1q_u8(b + i))));
	if (i < n)
		count += vaddlvq_u8(vcntq_u8(operation(load_upto16(a + i, n - i),
											   load_upto16(b + i, n - i))));
	return count;
}

static inline uint8x16_t
bits_differ(uint8x16_t a, uint8x16_t b)
{
	return veorq_u8(a, b);
}

static inline uint8x16_t
bits_both(uint8x16_t a, uint8x16_t b)
{
	return vandq_u8(a, b);
}

static inline uint8x16_t
bits_either(uint8x16_t a, uint8x16_t b)
{
	return vorrq_u8(a, b);
}

/* How many bits differ. */
static uint64_t
neon_bit_hamming(size_t n, const uint8_t *a, const uint8_t *b)
{
	return count_bits(n, a, b, bits_differ);
}

/*
 * How many bits are set in both, and how many in either.  Counting costs more
 * than reading, so reading twice costs little.
 */
static VdbJaccardParts
neon_bit_jaccard(size_t n, const uint8_t *a, const uint8_t *b)
{
	VdbJaccardParts parts = {
		.both = count_bits(n, a, b, bits_both),
		.either = count_bits(n, a, b, bits_either)
	};

	return parts;
}

/* ---- sparse vectors: a merge takes one element at a time ---- */

static double
neon_sparse_l2_squared(size_t na, const int32_t *ai, const float *av,
					   size_t nb, const int32_t *bi, const float *bv)
{
	return vdb_kernels_scalar.sparse_l2_squared(na, ai, av, nb, bi, bv);
}

static double
neon_sparse_ip(size_t na, const int32_t *ai, const float *av,
			   size_t nb, const int32_t *bi, const float *bv)
{
	return vdb_kernels_scalar.sparse_ip(na, ai, av, nb, bi, bv);
}

static double
neon_sparse_l1(size_t na, const int32_t *ai, const float *av,
			   size_t nb, const int32_t *bi, const float *bv)
{
	return vdb_kernels_scalar.sparse_l1(na, ai, av, nb, bi, bv);
}

/* ---- hot codes against hot queries ---- */

static inline size_t
hot_blocks(size_t cbytes)
{
	return cbytes / VDB_HOT_BLOCK + (cbytes % VDB_HOT_BLOCK != 0);
}

/*
 * The code bytes of a block, after the rule of VDB_HOT_BLOCK.  Codes shorter
 * than a block, which few vectors have, are left to the scalar kernels.
 */
static inline uint8x16x2_t
hot_load(size_t cbytes, const uint8_t *code, size_t block)
{
	size_t		start = block * VDB_HOT_BLOCK;
	uint8x16x2_t c;

	if (start > cbytes - VDB_HOT_BLOCK)
		start = cbytes - VDB_HOT_BLOCK;
	c.val[0] = vld1q_u8(code + start);
	c.val[1] = vld1q_u8(code + start + 16);
	return c;
}

/*
 * Sums in int16, which must not overflow.  With |q| <= 127 a product is at most
 *	 3 * 127 =  381 for 2-bit codes; the four planes of half a block 1524,
 *	 15 * 127 = 1905 for 4-bit ones; the two planes of half a block 3810.
 * A lane of either half takes one such sum a block, so several blocks can be
 * added up before they have to be widened: 20 * 1524 = 30480 and 8 * 3810 =
 * 30480, both below 32767.
 */
#define HOT2_RUN 20
#define HOT4_RUN 8

/* Adds 16 products. */
static inline int16x8x2_t
add_products(int16x8x2_t sum, uint8x16_t u, const int8_t *q)
{
	int8x16_t	u8 = vreinterpretq_s8_u8(u);
	int8x16_t	q8 = vld1q_s8(q);

	sum.val[0] = vmlal_s8(sum.val[0], vget_low_s8(u8), vget_low_s8(q8));
	sum.val[1] = vmlal_high_s8(sum.val[1], u8, q8);
	return sum;
}

static inline int16x8x2_t
hot2_step(int16x8x2_t sum, uint8x16_t c, const int8_t *q, size_t plane)
{
	const uint8x16_t three = vdupq_n_u8(3);

	sum = add_products(sum, vandq_u8(c, three), q);
	sum = add_products(sum, vandq_u8(vshrq_n_u8(c, 2), three), q + plane);
	sum = add_products(sum, vandq_u8(vshrq_n_u8(c, 4), three), q + 2 * plane);
	return add_products(sum, vshrq_n_u8(c, 6), q + 3 * plane);
}

static inline int16x8x2_t
hot4_step(int16x8x2_t sum, uint8x16_t c, const int8_t *q, size_t plane)
{
	sum = add_products(sum, vandq_u8(c, vdupq_n_u8(15)), q);
	return add_products(sum, vshrq_n_u8(c, 4), q + plane);
}

typedef int16x8x2_t (*HotStep) (int16x8x2_t sum, uint8x16_t c, const int8_t *q, size_t plane);

/* Hot code against its query, summed in int16 over runs of so many blocks. */
static ALWAYS_INLINE int32_t
hot_sum(size_t cbytes, const int8_t *query, const uint8_t *code, size_t run,
			  HotStep step)
{
	size_t		blocks = hot_blocks(cbytes);
	size_t		plane = blocks * VDB_HOT_BLOCK;
	int32x4_t	sum = vdupq_n_s32(0);
	size_t		t = 0;

	while (t < blocks)
	{
		size_t		stop = blocks - t > run ? t + run : blocks;
		int16x8x2_t s0 = {{vdupq_n_s16(0), vdupq_n_s16(0)}};
		int16x8x2_t s1 = s0;

		for (; t < stop; t++)
		{
			uint8x16x2_t c = hot_load(cbytes, code, t);
			const int8_t *q = query + t * VDB_HOT_BLOCK;

			s0 = step(s0, c.val[0], q, plane);
			s1 = step(s1, c.val[1], q + 16, plane);
		}
		sum = vpadalq_s16(sum, s0.val[0]);
		sum = vpadalq_s16(sum, s0.val[1]);
		sum = vpadalq_s16(sum, s1.val[0]);
		sum = vpadalq_s16(sum, s1.val[1]);
	}
	return vaddvq_s32(sum);
}

/* Hot code of 2 bits a dimension against its query. */
static int32_t
neon_hot2_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot2_ip(cbytes, query, code);
	return hot_sum(cbytes, query, code, HOT2_RUN, hot2_step);
}

/* Hot code of 4 bits a dimension against its query. */
static int32_t
neon_hot4_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot4_ip(cbytes, query, code);
	return hot_sum(cbytes, query, code, HOT4_RUN, hot4_step);
}

static inline int32_t
sum4_s32(int32x4_t x0, int32x4_t x1, int32x4_t x2, int32x4_t x3)
{
	return vaddvq_s32(vaddq_s32(vaddq_s32(x0, x1), vaddq_s32(x2, x3)));
}

/* Adds 16 products.  Neither int8 nor uint8 holds both: they are widened. */
static inline int32x4x4_t
hot8_step(int32x4x4_t sum, uint8x16_t c, const int8_t *q)
{
	int8x16_t	q8 = vld1q_s8(q);
	int16x8_t	c0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(c)));
	int16x8_t	c1 = vreinterpretq_s16_u16(vmovl_high_u8(c));
	int16x8_t	q0 = vmovl_s8(vget_low_s8(q8));
	int16x8_t	q1 = vmovl_high_s8(q8);

	sum.val[0] = vmlal_s16(sum.val[0], vget_low_s16(c0), vget_low_s16(q0));
	sum.val[1] = vmlal_high_s16(sum.val[1], c0, q0);
	sum.val[2] = vmlal_s16(sum.val[2], vget_low_s16(c1), vget_low_s16(q1));
	sum.val[3] = vmlal_high_s16(sum.val[3], c1, q1);
	return sum;
}

/* Hot code of 8 bits a dimension against its query. */
static int32_t
neon_hot8_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	const int32x4_t zero = vdupq_n_s32(0);
	int32x4x4_t s = {{zero, zero, zero, zero}};
	size_t		t;

	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot8_ip(cbytes, query, code);
	for (t = 0; t < hot_blocks(cbytes); t++)
	{
		uint8x16x2_t c = hot_load(cbytes, code, t);

		s = hot8_step(s, c.val[0], query + t * VDB_HOT_BLOCK);
		s = hot8_step(s, c.val[1], query + t * VDB_HOT_BLOCK + 16);
	}
	return sum4_s32(s.val[0], s.val[1], s.val[2], s.val[3]);
}

/* ---- the same with the dot product instructions ---- */

typedef int32x4x4_t (*DotStep) (int32x4x4_t sum, uint8x16_t c, const int8_t *q, size_t plane);

/* Up to four vectors of sums, with two chains each. */
TARGET_DOTPROD static ALWAYS_INLINE int32x4x4_t
dotprod_hot_sum(size_t cbytes, const int8_t *query, const uint8_t *code, DotStep step)
{
	const int32x4_t zero = vdupq_n_s32(0);
	size_t		blocks = hot_blocks(cbytes);
	size_t		plane = blocks * VDB_HOT_BLOCK;
	int32x4x4_t s0 = {{zero, zero, zero, zero}};
	int32x4x4_t s1 = s0;
	size_t		t;

	for (t = 0; t < blocks; t++)
	{
		uint8x16x2_t c = hot_load(cbytes, code, t);
		const int8_t *q = query + t * VDB_HOT_BLOCK;

		s0 = step(s0, c.val[0], q, plane);
		s1 = step(s1, c.val[1], q + 16, plane);
	}
	s0.val[0] = vaddq_s32(s0.val[0], s1.val[0]);
	s0.val[1] = vaddq_s32(s0.val[1], s1.val[1]);
	s0.val[2] = vaddq_s32(s0.val[2], s1.val[2]);
	s0.val[3] = vaddq_s32(s0.val[3], s1.val[3]);
	return s0;
}

/*
 * Planes 1 and 2 stay where they are in the byte, 4 and 16 times their value,
 * which their sums make up for in the end.  16384 bytes * 48 * 127 is far from
 * an overflow.
 */
TARGET_DOTPROD static inline int32x4x4_t
dotprod_hot2_step(int32x4x4_t sum, uint8x16_t c, const int8_t *q, size_t plane)
{
	int8x16_t	c0 = vreinterpretq_s8_u8(vandq_u8(c, vdupq_n_u8(0x03)));
	int8x16_t	c1 = vreinterpretq_s8_u8(vandq_u8(c, vdupq_n_u8(0x0c)));
	int8x16_t	c2 = vreinterpretq_s8_u8(vandq_u8(c, vdupq_n_u8(0x30)));
	int8x16_t	c3 = vreinterpretq_s8_u8(vshrq_n_u8(c, 6));

	sum.val[0] = dot_s8(sum.val[0], c0, vld1q_s8(q));
	sum.val[1] = dot_s8(sum.val[1], c1, vld1q_s8(q + plane));
	sum.val[2] = dot_s8(sum.val[2], c2, vld1q_s8(q + 2 * plane));
	sum.val[3] = dot_s8(sum.val[3], c3, vld1q_s8(q + 3 * plane));
	return sum;
}

/* Hot code of 2 bits a dimension against its query. */
TARGET_DOTPROD static int32_t
dotprod_hot2_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	int32x4x4_t s;

	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot2_ip(cbytes, query, code);
	s = dotprod_hot_sum(cbytes, query, code, dotprod_hot2_step);
	return sum4_s32(s.val[0], vshrq_n_s32(s.val[1], 2),
					vshrq_n_s32(s.val[2], 4), s.val[3]);
}

TARGET_DOTPROD static inline int32x4x4_t
dotprod_hot4_step(int32x4x4_t sum, uint8x16_t c, const int8_t *q, size_t plane)
{
	int8x16_t	c0 = vreinterpretq_s8_u8(vandq_u8(c, vdupq_n_u8(15)));
	int8x16_t	c1 = vreinterpretq_s8_u8(vshrq_n_u8(c, 4));

	sum.val[0] = dot_s8(sum.val[0], c0, vld1q_s8(q));
	sum.val[1] = dot_s8(sum.val[1], c1, vld1q_s8(q + plane));
	return sum;
}

/* Hot code of 4 bits a dimension against its query. */
TARGET_DOTPROD static int32_t
dotprod_hot4_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	int32x4x4_t s;

	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot4_ip(cbytes, query, code);
	s = dotprod_hot_sum(cbytes, query, code, dotprod_hot4_step);
	return vaddvq_s32(vaddq_s32(s.val[0], s.val[1]));
}

/*
 * sdot takes signed bytes only: the code is taken less 128, and the second sum
 * is that of the query, of which 128 times are missing.  Both are at most
 * 65536 * 127 * 128, below 2^31.
 */
TARGET_DOTPROD static inline int32x4x4_t
dotprod_hot8_step(int32x4x4_t sum, uint8x16_t c, const int8_t *q, size_t plane)
{
	int8x16_t	q8 = vld1q_s8(q);
	int8x16_t	c8 = vreinterpretq_s8_u8(veorq_u8(c, vdupq_n_u8(128)));

	(void) plane;
	sum.val[0] = dot_s8(sum.val[0], c8, q8);
	sum.val[1] = dot_s8(sum.val[1], vdupq_n_s8(1), q8);
	return sum;
}

/* Hot code of 8 bits a dimension against its query. */
TARGET_DOTPROD static int32_t
dotprod_hot8_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	int32x4x4_t s;

	if (cbytes < VDB_HOT_BLOCK)
		return vdb_kernels_scalar.hot8_ip(cbytes, query, code);
	s = dotprod_hot_sum(cbytes, query, code, dotprod_hot8_step);
	return vaddvq_s32(s.val[0]) + 128 * vaddvq_s32(s.val[1]);
}

/* ---- small whole numbers against float queries ---- */

static inline float32x4x2_t
floats_s16(int16x8_t v)
{
	float32x4x2_t f;

	f.val[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(v)));
	f.val[1] = vcvtq_f32_s32(vmovl_high_s16(v));
	return f;
}

/* Adds q[k] * v[k] for eight numbers. */
static inline float32x4x2_t
add_ip(float32x4x2_t sum, const float *q, int16x8_t v)
{
	float32x4x2_t f = floats_s16(v);

	sum.val[0] = vfmaq_f32(sum.val[0], load_f32x4(q), f.val[0]);
	sum.val[1] = vfmaq_f32(sum.val[1], load_f32x4(q + 4), f.val[1]);
	return sum;
}

/* Adds |q[k] - scale * v[k]| for eight numbers. */
static inline float32x4x2_t
add_l1(float32x4x2_t sum, const float *q, float scale, int16x8_t v)
{
	float32x4x2_t f = floats_s16(v);

	f.val[0] = vfmsq_n_f32(load_f32x4(q), f.val[0], scale);
	f.val[1] = vfmsq_n_f32(load_f32x4(q + 4), f.val[1], scale);
	sum.val[0] = vaddq_f32(sum.val[0], vabsq_f32(f.val[0]));
	sum.val[1] = vaddq_f32(sum.val[1], vabsq_f32(f.val[1]));
	return sum;
}

static inline float32x4x2_t
zero_f32x4x2(void)
{
	float32x4x2_t zero = {{vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}};

	return zero;
}

static inline float
sum4_f32x2(float32x4x2_t x0, float32x4x2_t x1, float32x4x2_t x2, float32x4x2_t x3)
{
	return sum4_f32(vaddq_f32(x0.val[0], x0.val[1]),
					vaddq_f32(x1.val[0], x1.val[1]),
					vaddq_f32(x2.val[0], x2.val[1]),
					vaddq_f32(x3.val[0], x3.val[1]));
}

/* 2 * u - 15 for eight code values u. */
static inline int16x8_t
hot4_values(uint8x8_t u)
{
	int8x8_t	twice = vreinterpret_s8_u8(vadd_u8(u, u));

	return vsubl_s8(twice, vdup_n_s8(15));
}

/* City-block distance of a float query to a 4-bit hot code. */
static float
neon_hot4_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	const uint8x16_t fifteen = vdupq_n_u8(15);
	size_t		cbytes = dims / 2;
	const float *q0 = q;
	const float *q1 = q + cbytes;
	float32x4x2_t s0 = zero_f32x4x2();
	float32x4x2_t s1 = s0;
	float32x4x2_t s2 = s0;
	float32x4x2_t s3 = s0;
	float		tail = 0.0f;
	size_t		j = 0;

	for (; j + 16 <= cbytes; j += 16)
	{
		uint8x16_t	c = vld1q_u8(code + j);
		uint8x16_t	u0 = vandq_u8(c, fifteen);
		uint8x16_t	u1 = vshrq_n_u8(c, 4);

		s0 = add_l1(s0, q0 + j, scale, hot4_values(vget_low_u8(u0)));
		s1 = add_l1(s1, q0 + j + 8, scale, hot4_values(vget_high_u8(u0)));
		s2 = add_l1(s2, q1 + j, scale, hot4_values(vget_low_u8(u1)));
		s3 = add_l1(s3, q1 + j + 8, scale, hot4_values(vget_high_u8(u1)));
	}
	if (j + 8 <= cbytes)
	{
		uint8x8_t	c = vld1_u8(code + j);

		s0 = add_l1(s0, q0 + j, scale,
					hot4_values(vand_u8(c, vget_low_u8(fifteen))));
		s2 = add_l1(s2, q1 + j, scale, hot4_values(vshr_n_u8(c, 4)));
		j += 8;
	}
	for (; j < cbytes; j++)
	{
		int			u0 = code[j] & 15;
		int			u1 = code[j] >> 4;

		tail += fabsf(vdb_distance_load_f32(q0 + j) - scale * (float) (2 * u0 - 15));
		tail += fabsf(vdb_distance_load_f32(q1 + j) - scale * (float) (2 * u1 - 15));
	}
	return sum4_f32x2(s0, s1, s2, s3) + tail;
}

/* 2 * u - 255 for the eight code values at p. */
static inline int16x8_t
hot8_values(const uint8_t *p)
{
	int16x8_t	twice = vreinterpretq_s16_u16(vshll_n_u8(vld1_u8(p), 1));

	return vsubq_s16(twice, vdupq_n_s16(255));
}

/* City-block distance of a float query to an 8-bit hot code. */
static float
neon_hot8_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	float32x4x2_t s0 = zero_f32x4x2();
	float32x4x2_t s1 = s0;
	float32x4x2_t s2 = s0;
	float32x4x2_t s3 = s0;
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		s0 = add_l1(s0, q + d, scale, hot8_values(code + d));
		s1 = add_l1(s1, q + d + 8, scale, hot8_values(code + d + 8));
		s2 = add_l1(s2, q + d + 16, scale, hot8_values(code + d + 16));
		s3 = add_l1(s3, q + d + 24, scale, hot8_values(code + d + 24));
	}
	for (; d + 8 <= dims; d += 8)
		s0 = add_l1(s0, q + d, scale, hot8_values(code + d));
	for (; d < dims; d++)
		tail += fabsf(vdb_distance_load_f32(q + d) - scale * (float) (2 * code[d] - 255));
	return sum4_f32x2(s0, s1, s2, s3) + tail;
}

/* ---- node codes ---- */

/* The values of 16 dimensions: 16 * hi, and a nibble less 8. */
static inline int16x8x2_t
node_values16(const int8_t *hi, uint8x16_t nibbles)
{
	int8x16_t	h = vld1q_s8(hi);
	int8x16_t	l = vreinterpretq_s8_u8(vsubq_u8(nibbles, vdupq_n_u8(8)));
	int16x8x2_t v;

	v.val[0] = vaddw_s8(vshll_n_s8(vget_low_s8(h), 4), vget_low_s8(l));
	v.val[1] = vaddw_high_s8(vshll_high_n_s8(h, 4), l);
	return v;
}

/* The lo plane of 32 dimensions as 12 bits have it, as vdb_distance_load_lo8. */
static ALWAYS_INLINE uint8x16_t
load_lo32(int bits, const uint8_t *lo)
{
	uint16x8_t	l;

	if (bits == 12)
		return vld1q_u8(lo);
	l = vmovl_u8(vld1_u8(lo));
	l = vandq_u16(vorrq_u16(l, vshlq_n_u16(l, 4)), vdupq_n_u16(0x0f0f));
	l = vandq_u16(vorrq_u16(l, vshlq_n_u16(l, 2)), vdupq_n_u16(0x3333));
	return vreinterpretq_u8_u16(vshlq_n_u16(l, 2));
}

/* Decodes 32 dimensions, in order. */
static ALWAYS_INLINE int16x8x4_t
node_values32(int bits, const int8_t *hi, const uint8_t *lo)
{
	uint8x16_t	bytes = load_lo32(bits, lo);
	uint8x16_t	even = vandq_u8(bytes, vdupq_n_u8(15));
	uint8x16_t	odd = vshrq_n_u8(bytes, 4);
	int16x8x2_t v0 = node_values16(hi, vzip1q_u8(even, odd));
	int16x8x2_t v1 = node_values16(hi + 16, vzip2q_u8(even, odd));
	int16x8x4_t v = {{v0.val[0], v0.val[1], v1.val[0], v1.val[1]}};

	return v;
}

/* Decodes 8 dimensions. */
static ALWAYS_INLINE int16x8_t
node_values8(int bits, const int8_t *hi, const uint8_t *lo)
{
	uint8x8_t	bytes = vcreate_u8(vdb_distance_load_lo8(bits, lo));
	uint8x8_t	even = vand_u8(bytes, vdup_n_u8(15));
	uint8x8_t	odd = vshr_n_u8(bytes, 4);
	int8x8_t	l = vreinterpret_s8_u8(vsub_u8(vzip1_u8(even, odd), vdup_n_u8(8)));

	return vaddw_s8(vshll_n_s8(vld1_s8(hi), 4), l);
}

/* Node code against a float query: sum q[d] * v[d]. */
static ALWAYS_INLINE float
node_ip(int bits, size_t dims, const float *q, const int8_t *hi, const uint8_t *lo)
{
	float32x4x2_t s0 = zero_f32x4x2();
	float32x4x2_t s1 = s0;
	float32x4x2_t s2 = s0;
	float32x4x2_t s3 = s0;
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		int16x8x4_t v = node_values32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d));

		s0 = add_ip(s0, q + d, v.val[0]);
		s1 = add_ip(s1, q + d + 8, v.val[1]);
		s2 = add_ip(s2, q + d + 16, v.val[2]);
		s3 = add_ip(s3, q + d + 24, v.val[3]);
	}
	for (; d + 8 <= dims; d += 8)
		s0 = add_ip(s0, q + d,
					node_values8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d)));
	for (; d < dims; d++)
		tail += vdb_distance_load_f32(q + d) *
			(float) vdb_distance_node_value(bits, hi, lo, d);
	return sum4_f32x2(s0, s1, s2, s3) + tail;
}

/* Node code against a float query: sum |q[d] - scale * v[d]|. */
static ALWAYS_INLINE float
node_l1(int bits, size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo)
{
	float32x4x2_t s0 = zero_f32x4x2();
	float32x4x2_t s1 = s0;
	float32x4x2_t s2 = s0;
	float32x4x2_t s3 = s0;
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		int16x8x4_t v = node_values32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d));

		s0 = add_l1(s0, q + d, scale, v.val[0]);
		s1 = add_l1(s1, q + d + 8, scale, v.val[1]);
		s2 = add_l1(s2, q + d + 16, scale, v.val[2]);
		s3 = add_l1(s3, q + d + 24, scale, v.val[3]);
	}
	for (; d + 8 <= dims; d += 8)
		s0 = add_l1(s0, q + d, scale,
					node_values8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d)));
	for (; d < dims; d++)
		tail += fabsf(vdb_distance_load_f32(q + d) - scale *
					  (float) vdb_distance_node_value(bits, hi, lo, d));
	return sum4_f32x2(s0, s1, s2, s3) + tail;
}

static inline void
store_scaled(float *out, float scale, int16x8_t v)
{
	float32x4x2_t f = floats_s16(v);

	store_f32x4(out, vmulq_n_f32(f.val[0], scale));
	store_f32x4(out + 4, vmulq_n_f32(f.val[1], scale));
}

/* Node code to floats. */
static ALWAYS_INLINE void
node_decode(int bits, size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out)
{
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		int16x8x4_t v = node_values32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d));

		store_scaled(out + d, scale, v.val[0]);
		store_scaled(out + d + 8, scale, v.val[1]);
		store_scaled(out + d + 16, scale, v.val[2]);
		store_scaled(out + d + 24, scale, v.val[3]);
	}
	for (; d + 8 <= dims; d += 8)
		store_scaled(out + d, scale,
					 node_values8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d)));
	for (; d < dims; d++)
		vdb_distance_store_f32(out + d, scale *
							   (float) vdb_distance_node_value(bits, hi, lo, d));
}

NODE_KERNELS(neon, , 12);
NODE_KERNELS(neon, , 10);

/* ---- int8 against int8 ---- */

/* Adds 16 products.  Two of them may not fit into int16, so none are added. */
static inline int32x4x2_t
i8_ip_step(int32x4x2_t sum, int8x16_t a, int8x16_t b)
{
	sum.val[0] = vpadalq_s16(sum.val[0], vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	sum.val[1] = vpadalq_s16(sum.val[1], vmull_high_s8(a, b));
	return sum;
}

/* sum a[d] * b[d], exact */
static int32_t
neon_i8_ip(size_t dims, const int8_t *a, const int8_t *b)
{
	int32x4x2_t s0 = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
	int32x4x2_t s1 = s0;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		s0 = i8_ip_step(s0, vld1q_s8(a + d), vld1q_s8(b + d));
		s1 = i8_ip_step(s1, vld1q_s8(a + d + 16), vld1q_s8(b + d + 16));
	}
	if (d + 16 <= dims)
	{
		s0 = i8_ip_step(s0, vld1q_s8(a + d), vld1q_s8(b + d));
		d += 16;
	}
	if (d < dims)
		s1 = i8_ip_step(s1, vreinterpretq_s8_u8(load_upto16(a + d, dims - d)),
						vreinterpretq_s8_u8(load_upto16(b + d, dims - d)));
	return sum4_s32(s0.val[0], s0.val[1], s1.val[0], s1.val[1]);
}

/* sum a[d] * b[d], exact */
TARGET_DOTPROD static int32_t
dotprod_i8_ip(size_t dims, const int8_t *a, const int8_t *b)
{
	int32x4_t	s0 = vdupq_n_s32(0);
	int32x4_t	s1 = s0;
	int32x4_t	s2 = s0;
	int32x4_t	s3 = s0;
	size_t		d = 0;

	for (; d + 64 <= dims; d += 64)
	{
		s0 = dot_s8(s0, vld1q_s8(a + d), vld1q_s8(b + d));
		s1 = dot_s8(s1, vld1q_s8(a + d + 16), vld1q_s8(b + d + 16));
		s2 = dot_s8(s2, vld1q_s8(a + d + 32), vld1q_s8(b + d + 32));
		s3 = dot_s8(s3, vld1q_s8(a + d + 48), vld1q_s8(b + d + 48));
	}
	for (; d + 16 <= dims; d += 16)
		s0 = dot_s8(s0, vld1q_s8(a + d), vld1q_s8(b + d));
	if (d < dims)
		s1 = dot_s8(s1, vreinterpretq_s8_u8(load_upto16(a + d, dims - d)),
					vreinterpretq_s8_u8(load_upto16(b + d, dims - d)));
	return sum4_s32(s0, s1, s2, s3);
}

/* Adds |sa * a[k] - sb * b[k]| for eight numbers. */
static inline float32x4x2_t
i8_l1_step(float32x4x2_t sum, float sa, const int8_t *a, float sb, const int8_t *b)
{
	float32x4x2_t fa = floats_s16(vmovl_s8(vld1_s8(a)));
	float32x4x2_t fb = floats_s16(vmovl_s8(vld1_s8(b)));

	fa.val[0] = vfmsq_n_f32(vmulq_n_f32(fa.val[0], sa), fb.val[0], sb);
	fa.val[1] = vfmsq_n_f32(vmulq_n_f32(fa.val[1], sa), fb.val[1], sb);
	sum.val[0] = vaddq_f32(sum.val[0], vabsq_f32(fa.val[0]));
	sum.val[1] = vaddq_f32(sum.val[1], vabsq_f32(fa.val[1]));
	return sum;
}

/* sum |sa * a[d] - sb * b[d]| */
static float
neon_i8_l1(size_t dims, float sa, const int8_t *a, float sb, const int8_t *b)
{
	float32x4x2_t s0 = zero_f32x4x2();
	float32x4x2_t s1 = s0;
	float32x4x2_t s2 = s0;
	float32x4x2_t s3 = s0;
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		s0 = i8_l1_step(s0, sa, a + d, sb, b + d);
		s1 = i8_l1_step(s1, sa, a + d + 8, sb, b + d + 8);
		s2 = i8_l1_step(s2, sa, a + d + 16, sb, b + d + 16);
		s3 = i8_l1_step(s3, sa, a + d + 24, sb, b + d + 24);
	}
	for (; d + 8 <= dims; d += 8)
		s0 = i8_l1_step(s0, sa, a + d, sb, b + d);
	for (; d < dims; d++)
		tail += fabsf(sa * (float) a[d] - sb * (float) b[d]);
	return sum4_f32x2(s0, s1, s2, s3) + tail;
}

/* ---- panels ---- */

/* sum a[d] * b[d], exact */
static void
neon_panel_ip(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a,
			  size_t stride, int32_t *out)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < rows; j++)
			out[i * rows + j] = neon_i8_ip(dims, a + i * stride,
										   (const int8_t *) panel + j * dims);
}

/* Four dimensions of the rows of a block are four vectors of four rows. */
#define PANEL_STEP (4 * VDB_PANEL_ROWS)

/* Plain rows that are multiplied at once. */
#define PANEL_TILE 4

static void
dotprod_panel_put(size_t dims, uint8_t *panel, size_t row, const int8_t *a)
{
	vdb_distance_panel_put(dims, panel, row, a, 4, 0);
}

/* Adds the products of four dimensions of one plain row with 16 of the panel. */
TARGET_DOTPROD static inline int32x4x4_t
panel_step(int32x4x4_t sum, int8x16x4_t p, uint32_t a)
{
	int8x16_t	v = vreinterpretq_s8_u32(vdupq_n_u32(a));

	sum.val[0] = dot_s8(sum.val[0], p.val[0], v);
	sum.val[1] = dot_s8(sum.val[1], p.val[1], v);
	sum.val[2] = dot_s8(sum.val[2], p.val[2], v);
	sum.val[3] = dot_s8(sum.val[3], p.val[3], v);
	return sum;
}

static inline int8x16x4_t
load_panel(const uint8_t *p)
{
	const int8_t *s = (const int8_t *) p;
	int8x16x4_t v = {{vld1q_s8(s), vld1q_s8(s + 16), vld1q_s8(s + 32), vld1q_s8(s + 48)}};

	return v;
}

static inline void
store_panel(int32_t *out, int32x4x4_t sum, size_t rows)
{
	int32_t		all[VDB_PANEL_ROWS];

	vst1q_s32(all, sum.val[0]);
	vst1q_s32(all + 4, sum.val[1]);
	vst1q_s32(all + 8, sum.val[2]);
	vst1q_s32(all + 12, sum.val[3]);
	memcpy(out, all, (rows < VDB_PANEL_ROWS ? rows : VDB_PANEL_ROWS) * sizeof(int32_t));
}

/*
 * sum a[d] * b[d], exact.  Of fewer plain rows than a tile has, the last is
 * multiplied more than once.
 */
TARGET_DOTPROD static void
dotprod_panel_ip(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a,
				 size_t stride, int32_t *out)
{
	const int32x4x4_t zero = {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
	size_t		block = vdb_distance_panel_bytes(dims, 1);

	for (size_t i = 0; i < n; i += PANEL_TILE)
	{
		size_t		last = n - i < PANEL_TILE ? n - i - 1 : PANEL_TILE - 1;
		const int8_t *a0 = a + i * stride;
		const int8_t *a1 = a0 + (last < 1 ? last : 1) * stride;
		const int8_t *a2 = a0 + (last < 2 ? last : 2) * stride;
		const int8_t *a3 = a0 + last * stride;

		for (size_t j = 0; j < rows; j += VDB_PANEL_ROWS)
		{
			const uint8_t *p = panel + j / VDB_PANEL_ROWS * block;
			int32_t    *o = out + i * rows + j;
			int32x4x4_t s0 = zero;
			int32x4x4_t s1 = zero;
			int32x4x4_t s2 = zero;
			int32x4x4_t s3 = zero;
			size_t		d = 0;

			for (; d + 4 <= dims; d += 4, p += PANEL_STEP)
			{
				int8x16x4_t v = load_panel(p);

				s0 = panel_step(s0, v, vdb_distance_load_u32(a0 + d));
				s1 = panel_step(s1, v, vdb_distance_load_u32(a1 + d));
				s2 = panel_step(s2, v, vdb_distance_load_u32(a2 + d));
				s3 = panel_step(s3, v, vdb_distance_load_u32(a3 + d));
			}
			if (d < dims)
			{
				size_t		r = dims - d;
				int8x16x4_t v = load_panel(p);

				s0 = panel_step(s0, v, (uint32_t) vdb_distance_load_upto8(a0 + d, r));
				s1 = panel_step(s1, v, (uint32_t) vdb_distance_load_upto8(a1 + d, r));
				s2 = panel_step(s2, v, (uint32_t) vdb_distance_load_upto8(a2 + d, r));
				s3 = panel_step(s3, v, (uint32_t) vdb_distance_load_upto8(a3 + d, r));
			}
			store_panel(o, s0, rows - j);
			if (last >= 1)
				store_panel(o + rows, s1, rows - j);
			if (last >= 2)
				store_panel(o + 2 * rows, s2, rows - j);
			if (last >= 3)
				store_panel(o + 3 * rows, s3, rows - j);
		}
	}
}

/* ---- scan groups ---- */

/*
 * Bytes of a code after which sums leave 16 bits: what a byte adds is at most
 * 2 * VDB_SCAN_MOST = 254, and 256 * 254 is less than 2^16.
 */
#define SCAN_BYTES 256

/* Adds what `count` bytes of 16 lanes stand for to their sums. */
static inline void
scan_add(size_t count, const uint8_t *lower, const uint8_t *upper, const uint8_t *codes,
		 uint32x4_t *sums)
{
	uint16x8_t	first = vdupq_n_u16(0);
	uint16x8_t	second = vdupq_n_u16(0);

	for (size_t b = 0; b < 16 * count; b += 16)
	{
		uint8x16_t	code = vld1q_u8(codes + b);
		uint8x16_t	sum = vaddq_u8(vqtbl1q_u8(vld1q_u8(lower + b), vandq_u8(code, vdupq_n_u8(15))),
								   vqtbl1q_u8(vld1q_u8(upper + b), vshrq_n_u8(code, 4)));

		first = vaddw_u8(first, vget_low_u8(sum));
		second = vaddw_u8(second, vget_high_u8(sum));
	}
	sums[0] = vaddw_u16(sums[0], vget_low_u16(first));
	sums[1] = vaddw_u16(sums[1], vget_high_u16(first));
	sums[2] = vaddw_u16(sums[2], vget_low_u16(second));
	sums[3] = vaddw_u16(sums[3], vget_high_u16(second));
}

static uint32_t
neon_scan_below(size_t bytes, const uint8_t *table, const uint8_t *group, const float *add,
				const float *scale, VdbScanScale s, float *scores)
{
	static const uint32_t lane_bits[4] = {1, 2, 4, 8};
	uint32x4_t	sums[8];
	uint32_t	below = 0;

	for (int i = 0; i < 8; i++)
		sums[i] = vdupq_n_u32(0);
	for (size_t start = 0; start < bytes; start += SCAN_BYTES)
	{
		size_t		count = bytes - start < SCAN_BYTES ? bytes - start : SCAN_BYTES;
		const uint8_t *lower = table + 16 * start;
		const uint8_t *upper = lower + 16 * bytes;
		const uint8_t *codes = group + 16 * start;

		scan_add(count, lower, upper, codes, sums);
		scan_add(count, lower, upper, codes + 16 * bytes, sums + 4);
	}
	for (int i = 0; i < 8; i++)
	{
		float32x4_t product = vfmaq_f32(vdupq_n_f32(s.low), vcvtq_f32_u32(sums[i]),
										vdupq_n_f32(s.unit));
		float32x4_t score = vfmsq_f32(load_f32x4(add + 4 * i), load_f32x4(scale + 4 * i), product);
		uint32x4_t	less = vcltq_f32(score, vdupq_n_f32(s.bound));

		store_f32x4(scores + 4 * i, score);
		below |= vaddvq_u32(vandq_u32(less, vld1q_u32(lane_bits))) << 4 * i;
	}
	return below;
}

/* ---- Walsh-Hadamard transform ---- */

/*
 * Strides 1 and 2 inside a register.  Each is one multiply-add by +-1, which
 * rounds exactly as the addition or subtraction it stands for.
 */
static inline float32x4_t
fht_inside(float32x4_t x)
{
	const float32x4_t sign1 = {1, -1, 1, -1};
	const float32x4_t sign2 = {1, 1, -1, -1};

	x = vfmaq_f32(vrev64q_f32(x), x, sign1);
	return vfmaq_f32(vextq_f32(x, x, 2), x, sign2);
}

/* Two levels across four registers, stored to x, x + h, x + 2h, x + 3h. */
static inline void
fht_store4(float *x, size_t h, float32x4_t a, float32x4_t b, float32x4_t c,
		   float32x4_t d)
{
	float32x4_t ab = vaddq_f32(a, b);
	float32x4_t a_b = vsubq_f32(a, b);
	float32x4_t cd = vaddq_f32(c, d);
	float32x4_t c_d = vsubq_f32(c, d);

	store_f32x4(x, vaddq_f32(ab, cd));
	store_f32x4(x + h, vaddq_f32(a_b, c_d));
	store_f32x4(x + 2 * h, vsubq_f32(ab, cd));
	store_f32x4(x + 3 * h, vsubq_f32(a_b, c_d));
}

/*
 * Walsh-Hadamard transform: strides below 16 in registers, then two levels a
 * sweep.  The additions are those of the scalar kernel, so the bits are too.
 */
static void
neon_fht(size_t n, float *x)
{
	size_t		h;
	size_t		i;
	size_t		j;

	if (n < 16)
	{
		vdb_kernels_scalar.fht(n, x);
		return;
	}

	for (i = 0; i < n; i += 16)
		fht_store4(x + i, 4,
				   fht_inside(load_f32x4(x + i)),
				   fht_inside(load_f32x4(x + i + 4)),
				   fht_inside(load_f32x4(x + i + 8)),
				   fht_inside(load_f32x4(x + i + 12)));

	for (h = 16; 4 * h <= n; h *= 4)
	{
		for (i = 0; i < n; i += 4 * h)
		{
			for (j = i; j < i + h; j += 4)
				fht_store4(x + j, h,
						   load_f32x4(x + j),
						   load_f32x4(x + j + h),
						   load_f32x4(x + j + 2 * h),
						   load_f32x4(x + j + 3 * h));
		}
	}
	if (2 * h <= n)
	{
		for (j = 0; j < h; j += 4)
		{
			float32x4_t a = load_f32x4(x + j);
			float32x4_t b = load_f32x4(x + j + h);

			store_f32x4(x + j, vaddq_f32(a, b));
			store_f32x4(x + j + h, vsubq_f32(a, b));
		}
	}
}

const VdbKernels vdb_kernels_neon = {
	.level = VDB_SIMD_NEON,
	.l2_squared = neon_l2_squared,
	.inner_product = neon_inner_product,
	.l1 = neon_l1,
	.cosine = neon_cosine,
	.half_l2_squared = neon_half_l2_squared,
	.half_inner_product = neon_half_inner_product,
	.half_l1 = neon_half_l1,
	.half_cosine = neon_half_cosine,
	.half_to_float = neon_half_to_float,
	.float_to_half = neon_float_to_half,
	.bit_hamming = neon_bit_hamming,
	.bit_jaccard = neon_bit_jaccard,
	.sparse_l2_squared = neon_sparse_l2_squared,
	.sparse_ip = neon_sparse_ip,
	.sparse_l1 = neon_sparse_l1,
	.hot2_ip = neon_hot2_ip,
	.hot4_ip = neon_hot4_ip,
	.hot8_ip = neon_hot8_ip,
	.hot4_l1 = neon_hot4_l1,
	.hot8_l1 = neon_hot8_l1,
	.hot_fit = vdb_distance_plain_hot_fit,
	.node12_ip = neon_node12_ip,
	.node10_ip = neon_node10_ip,
	.node12_l1 = neon_node12_l1,
	.node10_l1 = neon_node10_l1,
	.node12_decode = neon_node12_decode,
	.node10_decode = neon_node10_decode,
	.i8_ip = neon_i8_ip,
	.i8_l1 = neon_i8_l1,
	.panel_put = vdb_distance_plain_panel_put,
	.panel_ip = neon_panel_ip,
	.nearest_of_16 = vdb_distance_plain_nearest_of_16,
	.rows4_ip = vdb_distance_plain_rows4_ip,
	.select_below = vdb_distance_plain_select_below,
	.scan_below = neon_scan_below,
	.fht = neon_fht
};

const VdbKernels vdb_kernels_neon_dotprod = {
	.level = VDB_SIMD_NEON_DOTPROD,
	.l2_squared = neon_l2_squared,
	.inner_product = neon_inner_product,
	.l1 = neon_l1,
	.cosine = neon_cosine,
	.half_l2_squared = neon_half_l2_squared,
	.half_inner_product = neon_half_inner_product,
	.half_l1 = neon_half_l1,
	.half_cosine = neon_half_cosine,
	.half_to_float = neon_half_to_float,
	.float_to_half = neon_float_to_half,
	.bit_hamming = neon_bit_hamming,
	.bit_jaccard = neon_bit_jaccard,
	.sparse_l2_squared = neon_sparse_l2_squared,
	.sparse_ip = neon_sparse_ip,
	.sparse_l1 = neon_sparse_l1,
	.hot2_ip = dotprod_hot2_ip,
	.hot4_ip = dotprod_hot4_ip,
	.hot8_ip = dotprod_hot8_ip,
	.hot4_l1 = neon_hot4_l1,
	.hot8_l1 = neon_hot8_l1,
	.hot_fit = vdb_distance_plain_hot_fit,
	.node12_ip = neon_node12_ip,
	.node10_ip = neon_node10_ip,
	.node12_l1 = neon_node12_l1,
	.node10_l1 = neon_node10_l1,
	.node12_decode = neon_node12_decode,
	.node10_decode = neon_node10_decode,
	.i8_ip = dotprod_i8_ip,
	.i8_l1 = neon_i8_l1,
	.panel_put = dotprod_panel_put,
	.panel_ip = dotprod_panel_ip,
	.nearest_of_16 = vdb_distance_plain_nearest_of_16,
	.rows4_ip = vdb_distance_plain_rows4_ip,
	.select_below = vdb_distance_plain_select_below,
	.scan_below = neon_scan_below,
	.fht = neon_fht
};

#endif							/* VDB_HAVE_ARM_KERNELS */
