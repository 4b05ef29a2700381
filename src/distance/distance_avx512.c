/*
 * distance_avx512.c
 *	  The kernels for x86-64 processors with AVX-512 F, BW, VL, DQ and VNNI.
 *
 * Every function carries the target attribute, so the file needs no compiler
 * flag of its own and is harmless on processors without these instructions as
 * long as the dispatcher keeps its table out of use.  On other architectures
 * the file is empty.
 *
 * Ends of arrays are read and written through masks; masked-off elements are
 * not touched.
 */
#include "distance_private.h"

#ifdef VDB_HAVE_X86_KERNELS

/*
 * The unit test that defines VDB_SIMDE includes this file after an emulation
 * of the intrinsics, so that the kernels can be tested on processors without
 * AVX-512.
 */
#ifdef VDB_SIMDE
#define TARGET
#else
#include <immintrin.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#endif

#include "distance_sparse_private.h"

/* Masks whose first r elements are set, r <= 16, 32 and 64. */
static inline uint16_t
mask16_first(size_t r)
{
	return (uint16_t) ((1u << r) - 1);
}

static inline uint64_t
mask64_first(size_t r)
{
	return r == 0 ? 0 : ~(uint64_t) 0 >> (64 - r);
}

/* How many elements a step of `step` has left at position i of n. */
static inline size_t
step_length(size_t n, size_t i, size_t step)
{
	return n - i < step ? n - i : step;
}

TARGET static inline float
sum_ps(__m512 x)
{
	__m256		upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
	__m256		s8 = _mm256_add_ps(_mm512_castps512_ps256(x), upper);
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(s8),
							   _mm256_extractf128_ps(s8, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	s = _mm_add_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

TARGET static inline float
sum4_ps(__m512 x0, __m512 x1, __m512 x2, __m512 x3)
{
	return sum_ps(_mm512_add_ps(_mm512_add_ps(x0, x1),
								_mm512_add_ps(x2, x3)));
}

TARGET static inline int32_t
sum_epi32(__m512i x)
{
	__m256i		s8 = _mm256_add_epi32(_mm512_castsi512_si256(x),
									  _mm512_extracti64x4_epi64(x, 1));
	__m128i		s = _mm_add_epi32(_mm256_castsi256_si128(s8),
								  _mm256_extracti128_si256(s8, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	return _mm_cvtsi128_si32(s);
}

/* ---- float against float ---- */

/* sum (a[i] - b[i])^2 */
TARGET static float
avx512_l2_squared(size_t n, const float *a, const float *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		__m512		d0 = _mm512_sub_ps(_mm512_loadu_ps(a + i),
									   _mm512_loadu_ps(b + i));
		__m512		d1 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 16),
									   _mm512_loadu_ps(b + i + 16));
		__m512		d2 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 32),
									   _mm512_loadu_ps(b + i + 32));
		__m512		d3 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 48),
									   _mm512_loadu_ps(b + i + 48));

		s0 = _mm512_fmadd_ps(d0, d0, s0);
		s1 = _mm512_fmadd_ps(d1, d1, s1);
		s2 = _mm512_fmadd_ps(d2, d2, s2);
		s3 = _mm512_fmadd_ps(d3, d3, s3);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));
		__m512		d = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, a + i),
									  _mm512_maskz_loadu_ps(mask, b + i));

		s0 = _mm512_fmadd_ps(d, d, s0);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum a[i] * b[i] */
TARGET static float
avx512_inner_product(size_t n, const float *a, const float *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i),
							 _mm512_loadu_ps(b + i), s0);
		s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16),
							 _mm512_loadu_ps(b + i + 16), s1);
		s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32),
							 _mm512_loadu_ps(b + i + 32), s2);
		s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48),
							 _mm512_loadu_ps(b + i + 48), s3);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));

		s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
							 _mm512_maskz_loadu_ps(mask, b + i), s0);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum |a[i] - b[i]| */
TARGET static float
avx512_l1(size_t n, const float *a, const float *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		__m512		d0 = _mm512_sub_ps(_mm512_loadu_ps(a + i),
									   _mm512_loadu_ps(b + i));
		__m512		d1 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 16),
									   _mm512_loadu_ps(b + i + 16));
		__m512		d2 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 32),
									   _mm512_loadu_ps(b + i + 32));
		__m512		d3 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 48),
									   _mm512_loadu_ps(b + i + 48));

		s0 = _mm512_add_ps(s0, _mm512_abs_ps(d0));
		s1 = _mm512_add_ps(s1, _mm512_abs_ps(d1));
		s2 = _mm512_add_ps(s2, _mm512_abs_ps(d2));
		s3 = _mm512_add_ps(s3, _mm512_abs_ps(d3));
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));
		__m512		d = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, a + i),
									  _mm512_maskz_loadu_ps(mask, b + i));

		s0 = _mm512_add_ps(s0, _mm512_abs_ps(d));
	}
	return sum4_ps(s0, s1, s2, s3);
}

/*
 * The three sums of cosine distance.  Three multiply-adds for two loads: bound
 * by their latency unless each sum has several chains.
 */
TARGET static VdbCosineParts
avx512_cosine(size_t n, const float *a, const float *b)
{
	VdbCosineParts parts;
	__m512		ip[3];
	__m512		aa[3];
	__m512		bb[3];
	__m512		a0;
	__m512		b0;
	size_t		i = 0;
	int			k;

	for (k = 0; k < 3; k++)
		ip[k] = aa[k] = bb[k] = _mm512_setzero_ps();

	for (; i + 48 <= n; i += 48)
	{
		__m512		a1 = _mm512_loadu_ps(a + i + 16);
		__m512		b1 = _mm512_loadu_ps(b + i + 16);
		__m512		a2 = _mm512_loadu_ps(a + i + 32);
		__m512		b2 = _mm512_loadu_ps(b + i + 32);

		a0 = _mm512_loadu_ps(a + i);
		b0 = _mm512_loadu_ps(b + i);
		ip[0] = _mm512_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm512_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm512_fmadd_ps(b0, b0, bb[0]);
		ip[1] = _mm512_fmadd_ps(a1, b1, ip[1]);
		aa[1] = _mm512_fmadd_ps(a1, a1, aa[1]);
		bb[1] = _mm512_fmadd_ps(b1, b1, bb[1]);
		ip[2] = _mm512_fmadd_ps(a2, b2, ip[2]);
		aa[2] = _mm512_fmadd_ps(a2, a2, aa[2]);
		bb[2] = _mm512_fmadd_ps(b2, b2, bb[2]);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));

		a0 = _mm512_maskz_loadu_ps(mask, a + i);
		b0 = _mm512_maskz_loadu_ps(mask, b + i);
		ip[0] = _mm512_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm512_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm512_fmadd_ps(b0, b0, bb[0]);
	}
	parts.ip = sum_ps(_mm512_add_ps(_mm512_add_ps(ip[0], ip[1]), ip[2]));
	parts.aa = sum_ps(_mm512_add_ps(_mm512_add_ps(aa[0], aa[1]), aa[2]));
	parts.bb = sum_ps(_mm512_add_ps(_mm512_add_ps(bb[0], bb[1]), bb[2]));
	return parts;
}

/* ---- half against half ---- */

/* Sixteen halfs as floats. */
TARGET static inline __m512
load_half(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p));
}

/* The halfs at p that the mask names, as floats; the others are zero. */
TARGET static inline __m512
load_half_masked(uint16_t mask, const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}

/* sum (a[i] - b[i])^2 */
TARGET static float
avx512_half_l2_squared(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		__m512		d0 = _mm512_sub_ps(load_half(a + i), load_half(b + i));
		__m512		d1 = _mm512_sub_ps(load_half(a + i + 16), load_half(b + i + 16));
		__m512		d2 = _mm512_sub_ps(load_half(a + i + 32), load_half(b + i + 32));
		__m512		d3 = _mm512_sub_ps(load_half(a + i + 48), load_half(b + i + 48));

		s0 = _mm512_fmadd_ps(d0, d0, s0);
		s1 = _mm512_fmadd_ps(d1, d1, s1);
		s2 = _mm512_fmadd_ps(d2, d2, s2);
		s3 = _mm512_fmadd_ps(d3, d3, s3);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));
		__m512		d = _mm512_sub_ps(load_half_masked(mask, a + i),
									  load_half_masked(mask, b + i));

		s0 = _mm512_fmadd_ps(d, d, s0);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum a[i] * b[i] */
TARGET static float
avx512_half_inner_product(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		s0 = _mm512_fmadd_ps(load_half(a + i), load_half(b + i), s0);
		s1 = _mm512_fmadd_ps(load_half(a + i + 16), load_half(b + i + 16), s1);
		s2 = _mm512_fmadd_ps(load_half(a + i + 32), load_half(b + i + 32), s2);
		s3 = _mm512_fmadd_ps(load_half(a + i + 48), load_half(b + i + 48), s3);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));

		s0 = _mm512_fmadd_ps(load_half_masked(mask, a + i),
							 load_half_masked(mask, b + i), s0);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum |a[i] - b[i]| */
TARGET static float
avx512_half_l1(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
	{
		__m512		d0 = _mm512_sub_ps(load_half(a + i), load_half(b + i));
		__m512		d1 = _mm512_sub_ps(load_half(a + i + 16), load_half(b + i + 16));
		__m512		d2 = _mm512_sub_ps(load_half(a + i + 32), load_half(b + i + 32));
		__m512		d3 = _mm512_sub_ps(load_half(a + i + 48), load_half(b + i + 48));

		s0 = _mm512_add_ps(s0, _mm512_abs_ps(d0));
		s1 = _mm512_add_ps(s1, _mm512_abs_ps(d1));
		s2 = _mm512_add_ps(s2, _mm512_abs_ps(d2));
		s3 = _mm512_add_ps(s3, _mm512_abs_ps(d3));
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));
		__m512		d = _mm512_sub_ps(load_half_masked(mask, a + i),
									  load_half_masked(mask, b + i));

		s0 = _mm512_add_ps(s0, _mm512_abs_ps(d));
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* The three sums of cosine distance. */
TARGET static VdbCosineParts
avx512_half_cosine(size_t n, const uint16_t *a, const uint16_t *b)
{
	VdbCosineParts parts;
	__m512		ip[3];
	__m512		aa[3];
	__m512		bb[3];
	__m512		a0;
	__m512		b0;
	size_t		i = 0;
	int			k;

	for (k = 0; k < 3; k++)
		ip[k] = aa[k] = bb[k] = _mm512_setzero_ps();

	for (; i + 48 <= n; i += 48)
	{
		__m512		a1 = load_half(a + i + 16);
		__m512		b1 = load_half(b + i + 16);
		__m512		a2 = load_half(a + i + 32);
		__m512		b2 = load_half(b + i + 32);

		a0 = load_half(a + i);
		b0 = load_half(b + i);
		ip[0] = _mm512_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm512_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm512_fmadd_ps(b0, b0, bb[0]);
		ip[1] = _mm512_fmadd_ps(a1, b1, ip[1]);
		aa[1] = _mm512_fmadd_ps(a1, a1, aa[1]);
		bb[1] = _mm512_fmadd_ps(b1, b1, bb[1]);
		ip[2] = _mm512_fmadd_ps(a2, b2, ip[2]);
		aa[2] = _mm512_fmadd_ps(a2, a2, aa[2]);
		bb[2] = _mm512_fmadd_ps(b2, b2, bb[2]);
	}
	for (; i < n; i += 16)
	{
		uint16_t	mask = mask16_first(step_length(n, i, 16));

		a0 = load_half_masked(mask, a + i);
		b0 = load_half_masked(mask, b + i);
		ip[0] = _mm512_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm512_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm512_fmadd_ps(b0, b0, bb[0]);
	}
	parts.ip = sum_ps(_mm512_add_ps(_mm512_add_ps(ip[0], ip[1]), ip[2]));
	parts.aa = sum_ps(_mm512_add_ps(_mm512_add_ps(aa[0], aa[1]), aa[2]));
	parts.bb = sum_ps(_mm512_add_ps(_mm512_add_ps(bb[0], bb[1]), bb[2]));
	return parts;
}

/* n halfs to floats */
TARGET static void
avx512_half_to_float(size_t n, const uint16_t *in, float *out)
{
	size_t		i = 0;

	for (; i + 16 <= n; i += 16)
		_mm512_storeu_ps(out + i, load_half(in + i));
	if (i < n)
	{
		uint16_t	mask = mask16_first(n - i);

		_mm512_mask_storeu_ps(out + i, mask, load_half_masked(mask, in + i));
	}
}

/* n floats to halfs */
TARGET static void
avx512_float_to_half(size_t n, const float *in, uint16_t *out)
{
	size_t		i = 0;

	for (; i + 16 <= n; i += 16)
		_mm256_storeu_si256((__m256i *) (out + i),
							_mm512_cvtps_ph(_mm512_loadu_ps(in + i),
											_MM_FROUND_TO_NEAREST_INT));
	if (i < n)
	{
		uint16_t	mask = mask16_first(n - i);

		_mm256_mask_storeu_epi16(out + i, mask,
								 _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, in + i),
												 _MM_FROUND_TO_NEAREST_INT));
	}
}

/* ---- bit strings ---- */

/* How many bits of each byte are set: a table of 16 for each half of it. */
TARGET static inline __m512i
count_bits(__m512i x)
{
	const __m512i counts = _mm512_set4_epi32(0x04030302, 0x03020201,
											 0x03020201, 0x02010100);
	const __m512i nibble = _mm512_set1_epi8(15);
	__m512i		low = _mm512_and_si512(x, nibble);
	__m512i		high = _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble);

	return _mm512_add_epi8(_mm512_shuffle_epi8(counts, low),
						   _mm512_shuffle_epi8(counts, high));
}

/* Adds the bytes of x to eight sums of 64 bits. */
TARGET static inline __m512i
add_bytes(__m512i sums, __m512i x)
{
	return _mm512_add_epi64(sums, _mm512_sad_epu8(x, _mm512_setzero_si512()));
}

TARGET static inline uint64_t
sum_epi64(__m512i x)
{
	__m256i		s4 = _mm256_add_epi64(_mm512_castsi512_si256(x),
									  _mm512_extracti64x4_epi64(x, 1));
	__m128i		s = _mm_add_epi64(_mm256_castsi256_si128(s4),
								  _mm256_extracti128_si256(s4, 1));

	s = _mm_add_epi64(s, _mm_unpackhi_epi64(s, s));
	return (uint64_t) _mm_cvtsi128_si64(s);
}

/* How many bits differ. */
TARGET static uint64_t
avx512_bit_hamming(size_t n, const uint8_t *a, const uint8_t *b)
{
	__m512i		sums = _mm512_setzero_si512();
	size_t		i = 0;

	for (; i + 64 <= n; i += 64)
		sums = add_bytes(sums, count_bits(_mm512_xor_si512(_mm512_loadu_si512(a + i),
														   _mm512_loadu_si512(b + i))));
	if (i < n)
	{
		uint64_t	mask = mask64_first(n - i);

		sums = add_bytes(sums, count_bits(_mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, a + i),
														   _mm512_maskz_loadu_epi8(mask, b + i))));
	}
	return sum_epi64(sums);
}

/* How many bits are set in both, and how many in either. */
TARGET static VdbJaccardParts
avx512_bit_jaccard(size_t n, const uint8_t *a, const uint8_t *b)
{
	VdbJaccardParts parts;
	__m512i		both = _mm512_setzero_si512();
	__m512i		either = _mm512_setzero_si512();
	size_t		i;

	for (i = 0; i < n; i += 64)
	{
		uint64_t	mask = mask64_first(step_length(n, i, 64));
		__m512i		x = _mm512_maskz_loadu_epi8(mask, a + i);
		__m512i		y = _mm512_maskz_loadu_epi8(mask, b + i);

		both = add_bytes(both, count_bits(_mm512_and_si512(x, y)));
		either = add_bytes(either, count_bits(_mm512_or_si512(x, y)));
	}
	parts.both = sum_epi64(both);
	parts.either = sum_epi64(either);
	return parts;
}

/* ---- hot codes against hot queries ---- */

/*
 * dpbusd adds four products of unsigned and signed bytes into int32 without
 * saturation, so a plane need not be shifted down: its code bits are masked
 * where they are, which multiplies its sum by 4, 16 or 64, and the sums are
 * shifted once at the end.  A lane's sum is a multiple of its factor, so that
 * is exact, and it cannot overflow: the largest, the upper plane of 4-bit codes
 * of 65536 dimensions, is below 32768 * 240 * 127 < 2^30 over all lanes
 * together.
 *
 * The blocks of a query are contiguous within a plane, so two full blocks make
 * one 64-byte step.  What remains is taken block by block, in the lower half of
 * a register.
 *
 * A code is loaded by instructions no wider than what is wanted of it.  A
 * masked load of 64 bytes reads nothing behind its mask, but it does wait for
 * the second of the cache lines that it spans, and behind a code lies a code
 * that nobody prefetched.
 */

/* The start of block `block` and the number of its bytes. */
static inline size_t
hot_last_block(size_t cbytes, size_t start, size_t *bytes)
{
	*bytes = VDB_HOT_BLOCK;
	if (start + VDB_HOT_BLOCK <= cbytes)
		return start;
	if (cbytes >= VDB_HOT_BLOCK)
		return cbytes - VDB_HOT_BLOCK;
	*bytes = cbytes;
	return 0;
}

/* Loads n bytes of a code, 1 <= n <= VDB_HOT_BLOCK; the others become zero. */
TARGET static inline __m512i
hot_load_block(const uint8_t *code, size_t n)
{
	__m128i		low;
	__m128i		high = _mm_setzero_si128();

	if (n == VDB_HOT_BLOCK)
		return _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *) code));
	low = _mm_maskz_loadu_epi8(mask16_first(n < 16 ? n : 16), code);
	if (n > 16)
		high = _mm_maskz_loadu_epi8(mask16_first(n - 16), code + 16);
	return _mm512_zextsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
}

/* Size of one plane of the query for a code of cbytes bytes. */
static inline size_t
hot_plane_size(size_t cbytes)
{
	return (cbytes + VDB_HOT_BLOCK - 1) / VDB_HOT_BLOCK * VDB_HOT_BLOCK;
}

/*
 * Adds up the planes of 2-bit code bytes c under the query bytes at q, of which
 * those in the mask count.
 */
TARGET static inline void
hot2_step(__m512i s[4], __m512i c, uint64_t mask, const int8_t *q,
		  size_t plane)
{
	__m512i		q0 = _mm512_maskz_loadu_epi8(mask, q);
	__m512i		q1 = _mm512_maskz_loadu_epi8(mask, q + plane);
	__m512i		q2 = _mm512_maskz_loadu_epi8(mask, q + 2 * plane);
	__m512i		q3 = _mm512_maskz_loadu_epi8(mask, q + 3 * plane);
	__m512i		c0 = _mm512_and_si512(c, _mm512_set1_epi8(0x03));
	__m512i		c1 = _mm512_and_si512(c, _mm512_set1_epi8(0x0c));
	__m512i		c2 = _mm512_and_si512(c, _mm512_set1_epi8(0x30));
	__m512i		c3 = _mm512_and_si512(c, _mm512_set1_epi8(-64));

	s[0] = _mm512_dpbusd_epi32(s[0], c0, q0);
	s[1] = _mm512_dpbusd_epi32(s[1], c1, q1);
	s[2] = _mm512_dpbusd_epi32(s[2], c2, q2);
	s[3] = _mm512_dpbusd_epi32(s[3], c3, q3);
}

/* Hot code of 2 bits a dimension against its query. */
TARGET static int32_t
avx512_hot2_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	size_t		plane = hot_plane_size(cbytes);
	__m512i		s[4];
	size_t		i = 0;
	int			k;

	for (k = 0; k < 4; k++)
		s[k] = _mm512_setzero_si512();

	for (; i + 64 <= cbytes; i += 64)
		hot2_step(s, _mm512_loadu_si512(code + i), ~(uint64_t) 0, query + i,
				  plane);
	for (; i < cbytes; i += VDB_HOT_BLOCK)
	{
		size_t		n;
		size_t		start = hot_last_block(cbytes, i, &n);

		hot2_step(s, hot_load_block(code + start, n), mask64_first(n), query + i,
				  plane);
	}

	s[0] = _mm512_add_epi32(s[0], _mm512_srai_epi32(s[1], 2));
	s[2] = _mm512_add_epi32(_mm512_srai_epi32(s[2], 4),
							_mm512_srai_epi32(s[3], 6));
	return sum_epi32(_mm512_add_epi32(s[0], s[2]));
}

/* Adds up the planes of 4-bit code bytes c under the query bytes at q. */
TARGET static inline void
hot4_step(__m512i s[2], __m512i c, uint64_t mask, const int8_t *q,
		  size_t plane)
{
	__m512i		q0 = _mm512_maskz_loadu_epi8(mask, q);
	__m512i		q1 = _mm512_maskz_loadu_epi8(mask, q + plane);
	__m512i		c0 = _mm512_and_si512(c, _mm512_set1_epi8(0x0f));
	__m512i		c1 = _mm512_and_si512(c, _mm512_set1_epi8(-16));

	s[0] = _mm512_dpbusd_epi32(s[0], c0, q0);
	s[1] = _mm512_dpbusd_epi32(s[1], c1, q1);
}

/* Hot code of 4 bits a dimension against its query. */
TARGET static int32_t
avx512_hot4_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	size_t		plane = hot_plane_size(cbytes);
	__m512i		s[2];
	__m512i		t[2];
	size_t		i = 0;

	s[0] = s[1] = t[0] = t[1] = _mm512_setzero_si512();

	for (; i + 128 <= cbytes; i += 128)
	{
		hot4_step(s, _mm512_loadu_si512(code + i), ~(uint64_t) 0, query + i,
				  plane);
		hot4_step(t, _mm512_loadu_si512(code + i + 64), ~(uint64_t) 0,
				  query + i + 64, plane);
	}
	if (i + 64 <= cbytes)
	{
		hot4_step(s, _mm512_loadu_si512(code + i), ~(uint64_t) 0, query + i,
				  plane);
		i += 64;
	}
	for (; i < cbytes; i += VDB_HOT_BLOCK)
	{
		size_t		n;
		size_t		start = hot_last_block(cbytes, i, &n);

		hot4_step(t, hot_load_block(code + start, n), mask64_first(n), query + i,
				  plane);
	}

	s[0] = _mm512_add_epi32(s[0], t[0]);
	s[1] = _mm512_add_epi32(s[1], t[1]);
	return sum_epi32(_mm512_add_epi32(s[0], _mm512_srai_epi32(s[1], 4)));
}

/* Hot code of 8 bits a dimension against its query. */
TARGET static int32_t
avx512_hot8_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	__m512i		s0 = _mm512_setzero_si512();
	__m512i		s1 = _mm512_setzero_si512();
	__m512i		s2 = _mm512_setzero_si512();
	__m512i		s3 = _mm512_setzero_si512();
	size_t		i = 0;

	for (; i + 256 <= cbytes; i += 256)
	{
		s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(code + i),
								 _mm512_loadu_si512(query + i));
		s1 = _mm512_dpbusd_epi32(s1, _mm512_loadu_si512(code + i + 64),
								 _mm512_loadu_si512(query + i + 64));
		s2 = _mm512_dpbusd_epi32(s2, _mm512_loadu_si512(code + i + 128),
								 _mm512_loadu_si512(query + i + 128));
		s3 = _mm512_dpbusd_epi32(s3, _mm512_loadu_si512(code + i + 192),
								 _mm512_loadu_si512(query + i + 192));
	}
	for (; i + 64 <= cbytes; i += 64)
		s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(code + i),
								 _mm512_loadu_si512(query + i));
	for (; i < cbytes; i += VDB_HOT_BLOCK)
	{
		size_t		n;
		size_t		start = hot_last_block(cbytes, i, &n);

		s1 = _mm512_dpbusd_epi32(s1, hot_load_block(code + start, n),
								 _mm512_maskz_loadu_epi8(mask64_first(n), query + i));
	}
	return sum_epi32(_mm512_add_epi32(_mm512_add_epi32(s0, s1),
									  _mm512_add_epi32(s2, s3)));
}

/* ---- hot codes against float queries ---- */

/*
 * |q - scale * (2 * u - top)| for sixteen code values u.  2 * u - top is a
 * small integer, so the first multiply-add is exact.
 */
TARGET static inline __m512
hot_l1_step(__m512 q, __m512 scale, __m512i u, __m512 top)
{
	__m512		w = _mm512_fmsub_ps(_mm512_cvtepi32_ps(u),
									_mm512_set1_ps(2.0f), top);

	return _mm512_abs_ps(_mm512_fnmadd_ps(scale, w, q));
}

/* City-block distance of a float query to a 4-bit hot code. */
TARGET static float
avx512_hot4_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	const __m512i fifteen = _mm512_set1_epi32(15);
	const __m512 top = _mm512_set1_ps(15.0f);
	__m512		vscale = _mm512_set1_ps(scale);
	size_t		cbytes = dims / 2;
	const float *q0 = q;
	const float *q1 = q + cbytes;
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	size_t		j;

	for (j = 0; j < cbytes; j += 16)
	{
		uint16_t	mask = mask16_first(step_length(cbytes, j, 16));
		__m512i		c = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, code + j));
		__m512		d0 = hot_l1_step(_mm512_maskz_loadu_ps(mask, q0 + j), vscale,
									 _mm512_and_si512(c, fifteen), top);
		__m512		d1 = hot_l1_step(_mm512_maskz_loadu_ps(mask, q1 + j), vscale,
									 _mm512_srli_epi32(c, 4), top);

		s0 = _mm512_mask_add_ps(s0, mask, s0, d0);
		s1 = _mm512_mask_add_ps(s1, mask, s1, d1);
	}
	return sum_ps(_mm512_add_ps(s0, s1));
}

/* City-block distance of a float query to an 8-bit hot code. */
TARGET static float
avx512_hot8_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	const __m512 top = _mm512_set1_ps(255.0f);
	__m512		vscale = _mm512_set1_ps(scale);
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512i		c;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		c = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)
												 (code + d)));
		s0 = _mm512_add_ps(s0, hot_l1_step(_mm512_loadu_ps(q + d), vscale,
										   c, top));
		c = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)
												 (code + d + 16)));
		s1 = _mm512_add_ps(s1, hot_l1_step(_mm512_loadu_ps(q + d + 16),
										   vscale, c, top));
	}
	for (; d < dims; d += 16)
	{
		uint16_t	mask = mask16_first(step_length(dims, d, 16));

		c = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, code + d));
		s0 = _mm512_mask_add_ps(s0, mask, s0,
								hot_l1_step(_mm512_maskz_loadu_ps(mask, q + d),
											vscale, c, top));
	}
	return sum_ps(_mm512_add_ps(s0, s1));
}

TARGET static void
avx512_hot_fit(size_t dims, const float *x, float inverse, int32_t top, double *dots,
			   int32_t *squares)
{
	const __m256i low = _mm256_set1_epi32(VDB_ROUNDER_BITS);
	const __m256i high = _mm256_set1_epi32(VDB_ROUNDER_BITS + top);
	const __m256i vtop = _mm256_set1_epi32(top);
	const __m256 vinverse = _mm256_set1_ps(inverse);
	const __m256 ftop = _mm256_set1_ps((float) top);
	__m512d		sum = _mm512_setzero_pd();
	__m256i		s = _mm256_setzero_si256();

	/* eight at a time: each sum is that of every eighth, in their order */
	for (size_t d = 0; d < dims; d += 8)
	{
		__m256		value = _mm256_loadu_ps(x + d);
		__m256		place = _mm256_mul_ps(_mm256_add_ps(_mm256_mul_ps(value, vinverse), ftop),
										  _mm256_set1_ps(0.5f));
		__m256i		bits = _mm256_castps_si256(_mm256_add_ps(place, _mm256_set1_ps(VDB_ROUNDER)));
		__m256i		v;

		bits = _mm256_min_epi32(_mm256_max_epi32(bits, low), high);
		v = _mm256_sub_epi32(_mm256_slli_epi32(_mm256_sub_epi32(bits, low), 1), vtop);
		sum = _mm512_add_pd(sum, _mm512_mul_pd(_mm512_cvtps_pd(value), _mm512_cvtepi32_pd(v)));
		s = _mm256_add_epi32(s, _mm256_mullo_epi32(v, v));
	}
	_mm512_storeu_pd(dots, sum);
	_mm256_storeu_si256((__m256i *) squares, s);
}

/* ---- node codes ---- */

/* The lo plane of 64 dimensions as 12 bits have it, as vdb_distance_load_lo8. */
TARGET static ALWAYS_INLINE __m256i
load_lo64(int bits, const uint8_t *lo)
{
	__m256i		l;

	if (bits == 12)
		return _mm256_loadu_si256((const __m256i *) lo);
	l = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *) lo));
	l = _mm256_and_si256(_mm256_or_si256(l, _mm256_slli_epi16(l, 4)), _mm256_set1_epi8(0x0f));
	l = _mm256_and_si256(_mm256_or_si256(l, _mm256_slli_epi16(l, 2)), _mm256_set1_epi8(0x33));
	return _mm256_slli_epi16(l, 2);
}

/* The same of r dimensions, 1 <= r <= 16; bits behind them are unspecified. */
TARGET static ALWAYS_INLINE __m128i
load_lo16(int bits, const uint8_t *lo, size_t r)
{
	__m128i		l;

	if (bits == 12)
		return _mm_maskz_loadu_epi8(mask16_first((r + 1) / 2), lo);
	l = _mm_cvtepu8_epi16(_mm_maskz_loadu_epi8(mask16_first((r + 3) / 4), lo));
	l = _mm_and_si128(_mm_or_si128(l, _mm_slli_epi16(l, 4)), _mm_set1_epi8(0x0f));
	l = _mm_and_si128(_mm_or_si128(l, _mm_slli_epi16(l, 2)), _mm_set1_epi8(0x33));
	return _mm_slli_epi16(l, 2);
}

/* the 16-bit words of lo bytes in the order node_decode64 wants */
static const uint16_t spread_lo[32] = {
	0, 4, 8, 12, 0, 4, 8, 12, 1, 5, 9, 13, 1, 5, 9, 13,
	2, 6, 10, 14, 2, 6, 10, 14, 3, 7, 11, 15, 3, 7, 11, 15
};

/*
 * Decodes 64 dimensions into v, in order.
 *
 * The bytes are first spread so that lane k of every register holds dimensions
 * 16j + 4k .. 16j + 4k + 3, for j = 0 .. 3; all later unpacking, which stays
 * within lanes, then ends in plain order.  With the hi byte made unsigned, a
 * byte pair (nibble << 4, hi + 128) is a 16-bit number w = 16 * (v + 2056).
 * Under the exponent of 2^19, where the lowest mantissa bit weighs 1/16, it is
 * the float 2^19 + v + 2056, and one exact subtraction leaves v.
 */
TARGET static ALWAYS_INLINE void
node_decode64(int bits, const int8_t *hi, const uint8_t *lo, __m512 v[4])
{
	const __m512i spread_hi = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13,
												2, 6, 10, 14, 3, 7, 11, 15);
	const __m512i magic = _mm512_set1_epi16(0x4900);
	const __m512 bias = _mm512_set1_ps(524288.0f + 2056.0f);
	__m512i		h = _mm512_loadu_si512(hi);
	__m512i		l = _mm512_castsi256_si512(load_lo64(bits, lo));
	__m512i		w0;
	__m512i		w1;

	h = _mm512_permutexvar_epi32(spread_hi, h);
	h = _mm512_xor_si512(h, _mm512_set1_epi8(-128));

	/* low nibbles shifted up, then high nibbles where they are, by turns */
	l = _mm512_permutexvar_epi16(_mm512_loadu_si512(spread_lo), l);
	l = _mm512_unpacklo_epi8(_mm512_slli_epi16(l, 4), l);
	l = _mm512_and_si512(l, _mm512_set1_epi8(-16));

	w0 = _mm512_unpacklo_epi8(l, h);
	w1 = _mm512_unpackhi_epi8(l, h);
	v[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(w0, magic));
	v[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(w0, magic));
	v[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(w1, magic));
	v[3] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(w1, magic));
	v[0] = _mm512_sub_ps(v[0], bias);
	v[1] = _mm512_sub_ps(v[1], bias);
	v[2] = _mm512_sub_ps(v[2], bias);
	v[3] = _mm512_sub_ps(v[3], bias);
}

/*
 * Decodes r dimensions, 1 <= r <= 16.  v = 16 * hi + (lo - 8), where a table
 * in a register turns the nibble into lo - 8; the lookup reads only the lowest
 * four bits of its index.  Elements from r on are unspecified but finite.
 */
TARGET static ALWAYS_INLINE __m512
node_decode16(int bits, const int8_t *hi, const uint8_t *lo, size_t r)
{
	const __m512 nibble = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1,
										 0, 1, 2, 3, 4, 5, 6, 7);
	const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28,
											 0, 4, 8, 12, 16, 20, 24, 28);
	__m128i		h = _mm_maskz_loadu_epi8(mask16_first(r), hi);
	__m128i		l = load_lo16(bits, lo, r);
	__m512i		pairs;

	/* the first four bytes of lo for dimensions 0 .. 7, the next for 8 .. 15 */
	pairs = _mm512_mask_set1_epi32(_mm512_set1_epi32(_mm_cvtsi128_si32(l)),
								   0xff00, _mm_extract_epi32(l, 1));
	return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(h)),
						   _mm512_set1_ps(16.0f),
						   _mm512_permutexvar_ps(_mm512_srlv_epi32(pairs, shifts),
												 nibble));
}

/* Node code against a float query: sum q[d] * v[d]. */
TARGET static ALWAYS_INLINE float
node_ip(int bits, size_t dims, const float *q, const int8_t *hi, const uint8_t *lo)
{
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		d = 0;

	for (; d + 64 <= dims; d += 64)
	{
		__m512		v[4];

		node_decode64(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		s0 = _mm512_fmadd_ps(_mm512_loadu_ps(q + d), v[0], s0);
		s1 = _mm512_fmadd_ps(_mm512_loadu_ps(q + d + 16), v[1], s1);
		s2 = _mm512_fmadd_ps(_mm512_loadu_ps(q + d + 32), v[2], s2);
		s3 = _mm512_fmadd_ps(_mm512_loadu_ps(q + d + 48), v[3], s3);
	}
	for (; d < dims; d += 16)
	{
		size_t		r = step_length(dims, d, 16);
		__m512		v = node_decode16(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), r);

		s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask16_first(r), q + d), v,
							 s0);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* Node code against a float query: sum |q[d] - scale * v[d]|. */
TARGET static ALWAYS_INLINE float
node_l1(int bits, size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo)
{
	__m512		vscale = _mm512_set1_ps(scale);
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	__m512		s2 = _mm512_setzero_ps();
	__m512		s3 = _mm512_setzero_ps();
	size_t		d = 0;

	for (; d + 64 <= dims; d += 64)
	{
		__m512		v[4];

		node_decode64(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		v[0] = _mm512_fnmadd_ps(vscale, v[0], _mm512_loadu_ps(q + d));
		v[1] = _mm512_fnmadd_ps(vscale, v[1], _mm512_loadu_ps(q + d + 16));
		v[2] = _mm512_fnmadd_ps(vscale, v[2], _mm512_loadu_ps(q + d + 32));
		v[3] = _mm512_fnmadd_ps(vscale, v[3], _mm512_loadu_ps(q + d + 48));
		s0 = _mm512_add_ps(s0, _mm512_abs_ps(v[0]));
		s1 = _mm512_add_ps(s1, _mm512_abs_ps(v[1]));
		s2 = _mm512_add_ps(s2, _mm512_abs_ps(v[2]));
		s3 = _mm512_add_ps(s3, _mm512_abs_ps(v[3]));
	}
	for (; d < dims; d += 16)
	{
		size_t		r = step_length(dims, d, 16);
		uint16_t	mask = mask16_first(r);
		__m512		v = node_decode16(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), r);

		v = _mm512_fnmadd_ps(vscale, v, _mm512_maskz_loadu_ps(mask, q + d));
		s0 = _mm512_mask_add_ps(s0, mask, s0, _mm512_abs_ps(v));
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* Node code to floats. */
TARGET static ALWAYS_INLINE void
node_decode(int bits, size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out)
{
	__m512		vscale = _mm512_set1_ps(scale);
	size_t		d = 0;

	for (; d + 64 <= dims; d += 64)
	{
		__m512		v[4];

		node_decode64(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		_mm512_storeu_ps(out + d, _mm512_mul_ps(vscale, v[0]));
		_mm512_storeu_ps(out + d + 16, _mm512_mul_ps(vscale, v[1]));
		_mm512_storeu_ps(out + d + 32, _mm512_mul_ps(vscale, v[2]));
		_mm512_storeu_ps(out + d + 48, _mm512_mul_ps(vscale, v[3]));
	}
	for (; d < dims; d += 16)
	{
		size_t		r = step_length(dims, d, 16);
		__m512		v = node_decode16(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), r);

		_mm512_mask_storeu_ps(out + d, mask16_first(r),
							  _mm512_mul_ps(vscale, v));
	}
}

NODE_KERNELS(avx512, TARGET, 12);
NODE_KERNELS(avx512, TARGET, 10);

/* ---- int8 against int8 ---- */

/*
 * sum a[d] * b[d], exact.  dpbusd wants one unsigned factor, so a + 128 stands
 * in for a and 128 * sum b is taken off again, which is a dpbusd of its own.
 * Both sums stay below 65536 * 255 * 128 < 2^31.  Masked-off elements of b are
 * zero and count in neither.
 */
TARGET static int32_t
avx512_i8_ip(size_t dims, const int8_t *a, const int8_t *b)
{
	const __m512i bias = _mm512_set1_epi8(-128);
	__m512i		s0 = _mm512_setzero_si512();
	__m512i		s1 = _mm512_setzero_si512();
	__m512i		b0 = _mm512_setzero_si512();
	__m512i		b1 = _mm512_setzero_si512();
	__m512i		va;
	__m512i		vb;
	size_t		d = 0;

	for (; d + 128 <= dims; d += 128)
	{
		va = _mm512_xor_si512(_mm512_loadu_si512(a + d), bias);
		vb = _mm512_loadu_si512(b + d);
		s0 = _mm512_dpbusd_epi32(s0, va, vb);
		b0 = _mm512_dpbusd_epi32(b0, bias, vb);
		va = _mm512_xor_si512(_mm512_loadu_si512(a + d + 64), bias);
		vb = _mm512_loadu_si512(b + d + 64);
		s1 = _mm512_dpbusd_epi32(s1, va, vb);
		b1 = _mm512_dpbusd_epi32(b1, bias, vb);
	}
	for (; d < dims; d += 64)
	{
		uint64_t	mask = mask64_first(step_length(dims, d, 64));

		va = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, a + d), bias);
		vb = _mm512_maskz_loadu_epi8(mask, b + d);
		s0 = _mm512_dpbusd_epi32(s0, va, vb);
		b0 = _mm512_dpbusd_epi32(b0, bias, vb);
	}
	return sum_epi32(_mm512_sub_epi32(_mm512_add_epi32(s0, s1),
									  _mm512_add_epi32(b0, b1)));
}

/* |sa * a - sb * b| for sixteen int8 each. */
TARGET static inline __m512
i8_l1_step(__m512 sa, __m128i a, __m512 sb, __m128i b)
{
	__m512		fa = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(a));
	__m512		fb = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b));

	return _mm512_abs_ps(_mm512_fmsub_ps(sa, fa, _mm512_mul_ps(sb, fb)));
}

/* sum |sa * a[d] - sb * b[d]| */
TARGET static float
avx512_i8_l1(size_t dims, float sa, const int8_t *a, float sb, const int8_t *b)
{
	__m512		vsa = _mm512_set1_ps(sa);
	__m512		vsb = _mm512_set1_ps(sb);
	__m512		s0 = _mm512_setzero_ps();
	__m512		s1 = _mm512_setzero_ps();
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		s0 = _mm512_add_ps(s0,
						   i8_l1_step(vsa, _mm_loadu_si128((const __m128i *)
														   (a + d)),
									  vsb, _mm_loadu_si128((const __m128i *)
														   (b + d))));
		s1 = _mm512_add_ps(s1,
						   i8_l1_step(vsa, _mm_loadu_si128((const __m128i *)
														   (a + d + 16)),
									  vsb, _mm_loadu_si128((const __m128i *)
														   (b + d + 16))));
	}
	for (; d < dims; d += 16)
	{
		uint16_t	mask = mask16_first(step_length(dims, d, 16));
		__m512		v = i8_l1_step(vsa, _mm_maskz_loadu_epi8(mask, a + d),
								   vsb, _mm_maskz_loadu_epi8(mask, b + d));

		s0 = _mm512_mask_add_ps(s0, mask, s0, v);
	}
	return sum_ps(_mm512_add_ps(s0, s1));
}

/* ---- panels ---- */

/*
 * A tile: so many plain rows, against two blocks of the panel.  Its 24 sums stay
 * in registers, and each load serves for at least two products.
 */
#define PANEL_TILE 12

/* The plain rows of a tile are copied, so many dimensions at a time. */
#define PANEL_DIMS 512

/* Four dimensions of the rows of a block are one vector. */
#define PANEL_STEP (4 * VDB_PANEL_ROWS)

/*
 * As in i8_ip, 128 is added to the one factor, here the panel's, and comes off
 * again as 128 times the sum of the other.
 */
static void
avx512_panel_put(size_t dims, uint8_t *panel, size_t row, const int8_t *a)
{
	vdb_distance_panel_put(dims, panel, row, a, 4, 0x80808080);
}

/*
 * Copies dims elements, at most PANEL_DIMS, and zeros up to a multiple of four,
 * which a multiple of 64 includes.  Returns -128 times their sum.
 */
TARGET static int32_t
panel_copy(size_t dims, const int8_t *a, int8_t *copy)
{
	const __m512i bias = _mm512_set1_epi8(-128);
	__m512i		s = _mm512_setzero_si512();
	size_t		d = 0;

	for (; d < dims; d += 64)
	{
		__m512i		v = _mm512_maskz_loadu_epi8(mask64_first(step_length(dims, d, 64)), a + d);

		_mm512_storeu_si512(copy + d, v);
		s = _mm512_dpbusd_epi32(s, bias, v);
	}
	return -sum_epi32(s);
}

#define PANEL_ROWS_UPTO(nr, DO) \
	do { \
		DO(0); DO(1); DO(2); DO(3); \
		if (nr > 4) \
		{ \
			DO(4); DO(5); DO(6); DO(7); DO(8); DO(9); DO(10); DO(11); \
		} \
	} while (0)

/*
 * Products of nr rows, 4 or PANEL_TILE, with two blocks.  copy: their dims
 * elements, to a multiple of four, with PANEL_DIMS from one to the next; start:
 * what to add to the sums of a row, as from panel_copy.  Written are `used` rows of
 * out, of each as many elements as the masks have bits, or added to what is there.
 *
 * All sums, also those on the way, stay within 65536 * 128 * 128 = 2^30: `start`
 * and the products so far are together those of what the panel stands for, less
 * 128 times the rest of the row.
 */
TARGET static ALWAYS_INLINE void
panel_tile(int nr, size_t dims, const uint8_t *p, const uint8_t *q, const int8_t *copy,
		   const int32_t *start, size_t used, int32_t *out, size_t stride, bool add,
		   uint16_t mask_p, uint16_t mask_q)
{
#define DECLARE(r) \
	__m512i		p##r = _mm512_set1_epi32(start[r < nr ? r : 0]); \
	__m512i		q##r = p##r

	DECLARE(0);
	DECLARE(1);
	DECLARE(2);
	DECLARE(3);
	DECLARE(4);
	DECLARE(5);
	DECLARE(6);
	DECLARE(7);
	DECLARE(8);
	DECLARE(9);
	DECLARE(10);
	DECLARE(11);

	for (size_t d = 0; d < dims; d += 4, p += PANEL_STEP, q += PANEL_STEP)
	{
		__m512i		vp = _mm512_loadu_si512(p);
		__m512i		vq = _mm512_loadu_si512(q);
		__m512i		v;

#define MULTIPLY(r) \
		v = _mm512_set1_epi32((int32_t) vdb_distance_load_u32(copy + d + r * PANEL_DIMS)); \
		p##r = _mm512_dpbusd_epi32(p##r, vp, v); \
		q##r = _mm512_dpbusd_epi32(q##r, vq, v)

		PANEL_ROWS_UPTO(nr, MULTIPLY);
	}

#define STORE(r) \
	if (r < used) \
	{ \
		int32_t    *o = out + r * stride; \
		\
		if (add) \
		{ \
			p##r = _mm512_add_epi32(p##r, _mm512_maskz_loadu_epi32(mask_p, o)); \
			q##r = _mm512_add_epi32(q##r, _mm512_maskz_loadu_epi32(mask_q, o + 16)); \
		} \
		_mm512_mask_storeu_epi32(o, mask_p, p##r); \
		_mm512_mask_storeu_epi32(o + 16, mask_q, q##r); \
	} \
	(void) 0

	PANEL_ROWS_UPTO(nr, STORE);
#undef DECLARE
#undef MULTIPLY
#undef STORE
}

/* sum a[d] * b[d], exact */
TARGET static void
avx512_panel_ip(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a,
				size_t stride, int32_t *out)
{
	int8_t		copy[PANEL_TILE * PANEL_DIMS];
	int32_t		start[PANEL_TILE] = {0};
	size_t		block = vdb_distance_panel_bytes(dims, 1);
	size_t		used;

	for (size_t i = 0; i < n; i += used)
	{
		used = step_length(n, i, PANEL_TILE);
		for (size_t d = 0; d == 0 || d < dims; d += PANEL_DIMS)
		{
			size_t		length = step_length(dims, d, PANEL_DIMS);

			for (size_t r = 0; r < used; r++)
				start[r] = panel_copy(length, a + (i + r) * stride + d, copy + r * PANEL_DIMS);
			for (size_t j = 0; j < rows; j += 2 * VDB_PANEL_ROWS)
			{
				const uint8_t *p = panel + j / VDB_PANEL_ROWS * block + d * VDB_PANEL_ROWS;
				bool		second = rows - j > VDB_PANEL_ROWS;
				const uint8_t *q = second ? p + block : p;
				uint16_t	mask_p = mask16_first(step_length(rows, j, 16));
				uint16_t	mask_q = second ? mask16_first(step_length(rows, j + 16, 16)) : 0;
				int32_t    *o = out + i * rows + j;

				if (used > 4)
					panel_tile(PANEL_TILE, length, p, q, copy, start, used, o, rows, d > 0,
							   mask_p, mask_q);
				else
					panel_tile(4, length, p, q, copy, start, used, o, rows, d > 0,
							   mask_p, mask_q);
			}
		}
	}
}

TARGET static uint32_t
avx512_nearest_of_16(size_t dims, const float *x, float factor, const float *values)
{
	__m512		sums = _mm512_setzero_ps();
	__m256		least;
	uint32_t	equal;

	for (size_t d = 0; d < dims; d++)
	{
		__m512		apart = _mm512_sub_ps(_mm512_set1_ps(vdb_distance_load_f32(x + d) * factor),
										  _mm512_loadu_ps(values + 16 * d));

		sums = _mm512_add_ps(sums, _mm512_mul_ps(apart, apart));
	}
	least = _mm256_min_ps(_mm512_castps512_ps256(sums),
						  _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sums), 1)));
	least = _mm256_min_ps(least, _mm256_permute2f128_ps(least, least, 1));
	least = _mm256_min_ps(least, _mm256_permute_ps(least, 0x4E));
	least = _mm256_min_ps(least, _mm256_permute_ps(least, 0xB1));
	equal = _mm512_cmp_ps_mask(sums, _mm512_set1_ps(_mm256_cvtss_f32(least)), _CMP_EQ_OQ);
	return equal == 0 ? 0 : (uint32_t) __builtin_ctz(equal);
}

TARGET static float
avx512_sum_lanes(__m256 sums)
{
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

TARGET static void
avx512_rows4_ip(size_t dims, const float *rows, const float *x, float *out)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();

	for (size_t d = 0; d < dims; d += 8)
	{
		__m256		value = _mm256_loadu_ps(x + d);
		const float *at = rows + d;

		s0 = _mm256_add_ps(s0, _mm256_mul_ps(_mm256_loadu_ps(at), value));
		s1 = _mm256_add_ps(s1, _mm256_mul_ps(_mm256_loadu_ps(at + dims), value));
		s2 = _mm256_add_ps(s2, _mm256_mul_ps(_mm256_loadu_ps(at + 2 * dims), value));
		s3 = _mm256_add_ps(s3, _mm256_mul_ps(_mm256_loadu_ps(at + 3 * dims), value));
	}
	out[0] = avx512_sum_lanes(s0);
	out[1] = avx512_sum_lanes(s1);
	out[2] = avx512_sum_lanes(s2);
	out[3] = avx512_sum_lanes(s3);
}

TARGET static size_t
avx512_select_below(size_t n, const float *scores, float bound, uint32_t *out)
{
	const __m512i step = _mm512_set1_epi32(16);
	__m512i		number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512		vbound = _mm512_set1_ps(bound);
	size_t		count = 0;

	for (size_t i = 0; i < n; i += 16)
	{
		uint16_t	present = mask16_first(step_length(n, i, 16));
		uint16_t	below = _mm512_cmp_ps_mask(_mm512_maskz_loadu_ps(present, scores + i), vbound,
											   _CMP_LT_OQ);
		size_t		some;

		below &= present;
		some = (size_t) __builtin_popcount(below);
		/* compressed in a register: to memory, some processors take it word by word */
		_mm512_mask_storeu_epi32(out + count, mask16_first(some),
								 _mm512_maskz_compress_epi32(below, number));
		count += some;
		number = _mm512_add_epi32(number, step);
	}
	return count;
}

/* ---- scan groups ---- */

/*
 * Bytes of a code after which sums leave 16 bits: what a byte adds is at most
 * 2 * VDB_SCAN_MOST = 254, and 256 * 254 is less than 2^16.
 */
#define SCAN_BYTES 256

/*
 * Looks up both halves of four bytes of 16 lanes, a byte in each quarter of the
 * registers, and adds them to sums of 16 bits: the odd lanes' to *odd, and to *all
 * the even lanes' with 2^8 times the odd ones'.
 */
TARGET static inline void
scan_add(__m512i codes, __m512i lower, __m512i upper, __m512i *all, __m512i *odd)
{
	const __m512i half = _mm512_set1_epi8(15);
	__m512i		low = _mm512_shuffle_epi8(lower, _mm512_and_si512(codes, half));
	__m512i		high = _mm512_shuffle_epi8(upper, _mm512_and_si512(_mm512_srli_epi16(codes, 4), half));
	__m512i		sum = _mm512_add_epi8(low, high);

	*all = _mm512_add_epi16(*all, sum);
	*odd = _mm512_add_epi16(*odd, _mm512_srli_epi16(sum, 8));
}

/* The sum of the quarters of a register. */
TARGET static inline __m128i
scan_quarters(__m512i x)
{
	__m256i		y = _mm256_add_epi16(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));

	return _mm_add_epi16(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

/* The sums of 16 lanes, in their order. */
TARGET static inline __m512i
scan_sums(__m512i all, __m512i odd)
{
	__m128i		evens = scan_quarters(_mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)));
	__m128i		odds = scan_quarters(odd);

	return _mm512_cvtepu16_epi32(_mm256_inserti128_si256(
			_mm256_castsi128_si256(_mm_unpacklo_epi16(evens, odds)),
			_mm_unpackhi_epi16(evens, odds), 1));
}

TARGET static uint32_t
avx512_scan_below(size_t bytes, const uint8_t *table, const uint8_t *group, const float *add,
				  const float *scale, VdbScanScale s, float *scores)
{
	__m512i		sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
	uint32_t	below = 0;

	for (size_t start = 0; start < bytes; start += SCAN_BYTES)
	{
		size_t		end = start + step_length(bytes, start, SCAN_BYTES);
		__m512i		all[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
		__m512i		odd[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};

		for (size_t b = start; b < end; b += 4)
		{
			uint64_t	present = mask64_first(16 * step_length(end, b, 4));
			__m512i		lower = _mm512_maskz_loadu_epi8(present, table + 16 * b);
			__m512i		upper = _mm512_maskz_loadu_epi8(present, table + 16 * (bytes + b));

			for (int i = 0; i < 2; i++)
				scan_add(_mm512_maskz_loadu_epi8(present, group + 16 * (i * bytes + b)), lower, upper,
						 &all[i], &odd[i]);
		}
		for (int i = 0; i < 2; i++)
			sums[i] = _mm512_add_epi32(sums[i], scan_sums(all[i], odd[i]));
	}
	for (int i = 0; i < 2; i++)
	{
		__m512		product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i]), _mm512_set1_ps(s.unit),
											  _mm512_set1_ps(s.low));
		__m512		score = _mm512_fnmadd_ps(_mm512_loadu_ps(scale + 16 * i), product,
											 _mm512_loadu_ps(add + 16 * i));

		_mm512_storeu_ps(scores + 16 * i, score);
		below |= (uint32_t) _mm512_cmp_ps_mask(score, _mm512_set1_ps(s.bound), _CMP_LT_OQ) << 16 * i;
	}
	return below;
}

/* ---- Walsh-Hadamard transform ---- */

/* One stride inside a register: x +- its neighbour, by an exact +-1. */
TARGET static inline __m512
fht_stride(__m512 x, __m512i neighbour, __m512 sign)
{
	return _mm512_fmadd_ps(x, sign, _mm512_permutexvar_ps(neighbour, x));
}

/* Strides 1, 2, 4 and 8 inside a register. */
TARGET static inline __m512
fht_inside(__m512 x)
{
	x = fht_stride(x,
				   _mm512_setr_epi32(1, 0, 3, 2, 5, 4, 7, 6,
									 9, 8, 11, 10, 13, 12, 15, 14),
				   _mm512_setr_ps(1, -1, 1, -1, 1, -1, 1, -1,
								  1, -1, 1, -1, 1, -1, 1, -1));
	x = fht_stride(x,
				   _mm512_setr_epi32(2, 3, 0, 1, 6, 7, 4, 5,
									 10, 11, 8, 9, 14, 15, 12, 13),
				   _mm512_setr_ps(1, 1, -1, -1, 1, 1, -1, -1,
								  1, 1, -1, -1, 1, 1, -1, -1));
	x = fht_stride(x,
				   _mm512_setr_epi32(4, 5, 6, 7, 0, 1, 2, 3,
									 12, 13, 14, 15, 8, 9, 10, 11),
				   _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1,
								  1, 1, 1, 1, -1, -1, -1, -1));
	return fht_stride(x,
					  _mm512_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15,
										0, 1, 2, 3, 4, 5, 6, 7),
					  _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1,
									 -1, -1, -1, -1, -1, -1, -1, -1));
}

/* Two levels across four registers, stored to x, x + h, x + 2h, x + 3h. */
TARGET static inline void
fht_store4(float *x, size_t h, __m512 a, __m512 b, __m512 c, __m512 d)
{
	__m512		ab = _mm512_add_ps(a, b);
	__m512		a_b = _mm512_sub_ps(a, b);
	__m512		cd = _mm512_add_ps(c, d);
	__m512		c_d = _mm512_sub_ps(c, d);

	_mm512_storeu_ps(x, _mm512_add_ps(ab, cd));
	_mm512_storeu_ps(x + h, _mm512_add_ps(a_b, c_d));
	_mm512_storeu_ps(x + 2 * h, _mm512_sub_ps(ab, cd));
	_mm512_storeu_ps(x + 3 * h, _mm512_sub_ps(a_b, c_d));
}

/*
 * Walsh-Hadamard transform: strides below 64 in registers, then two levels a
 * sweep.  The additions are those of the scalar kernel, so the bits are too.
 */
TARGET static void
avx512_fht(size_t n, float *x)
{
	size_t		h;
	size_t		i;
	size_t		j;

	if (n < 16)
	{
		vdb_kernels_scalar.fht(n, x);
		return;
	}

	if (n < 64)
	{
		for (i = 0; i < n; i += 16)
			_mm512_storeu_ps(x + i, fht_inside(_mm512_loadu_ps(x + i)));
		h = 16;
	}
	else
	{
		for (i = 0; i < n; i += 64)
			fht_store4(x + i, 16,
					   fht_inside(_mm512_loadu_ps(x + i)),
					   fht_inside(_mm512_loadu_ps(x + i + 16)),
					   fht_inside(_mm512_loadu_ps(x + i + 32)),
					   fht_inside(_mm512_loadu_ps(x + i + 48)));
		h = 64;
	}

	for (; 4 * h <= n; h *= 4)
	{
		for (i = 0; i < n; i += 4 * h)
		{
			for (j = i; j < i + h; j += 16)
				fht_store4(x + j, h,
						   _mm512_loadu_ps(x + j),
						   _mm512_loadu_ps(x + j + h),
						   _mm512_loadu_ps(x + j + 2 * h),
						   _mm512_loadu_ps(x + j + 3 * h));
		}
	}
	if (2 * h <= n)
	{
		for (j = 0; j < h; j += 16)
		{
			__m512		a = _mm512_loadu_ps(x + j);
			__m512		b = _mm512_loadu_ps(x + j + h);

			_mm512_storeu_ps(x + j, _mm512_add_ps(a, b));
			_mm512_storeu_ps(x + j + h, _mm512_sub_ps(a, b));
		}
	}
}

const VdbKernels vdb_kernels_avx512 = {
	.level = VDB_SIMD_AVX512,
	.l2_squared = avx512_l2_squared,
	.inner_product = avx512_inner_product,
	.l1 = avx512_l1,
	.cosine = avx512_cosine,
	.half_l2_squared = avx512_half_l2_squared,
	.half_inner_product = avx512_half_inner_product,
	.half_l1 = avx512_half_l1,
	.half_cosine = avx512_half_cosine,
	.half_to_float = avx512_half_to_float,
	.float_to_half = avx512_float_to_half,
	.bit_hamming = avx512_bit_hamming,
	.bit_jaccard = avx512_bit_jaccard,
	.sparse_l2_squared = block_sparse_l2_squared,
	.sparse_ip = block_sparse_ip,
	.sparse_l1 = block_sparse_l1,
	.hot2_ip = avx512_hot2_ip,
	.hot4_ip = avx512_hot4_ip,
	.hot8_ip = avx512_hot8_ip,
	.hot4_l1 = avx512_hot4_l1,
	.hot8_l1 = avx512_hot8_l1,
	.hot_fit = avx512_hot_fit,
	.node12_ip = avx512_node12_ip,
	.node10_ip = avx512_node10_ip,
	.node12_l1 = avx512_node12_l1,
	.node10_l1 = avx512_node10_l1,
	.node12_decode = avx512_node12_decode,
	.node10_decode = avx512_node10_decode,
	.i8_ip = avx512_i8_ip,
	.i8_l1 = avx512_i8_l1,
	.panel_put = avx512_panel_put,
	.panel_ip = avx512_panel_ip,
	.nearest_of_16 = avx512_nearest_of_16,
	.rows4_ip = avx512_rows4_ip,
	.select_below = avx512_select_below,
	.scan_below = avx512_scan_below,
	.fht = avx512_fht
};

#endif							/* VDB_HAVE_X86_KERNELS */
