/*
 * distance_avx2.c
 *	  The kernels for x86-64 processors with AVX2, FMA and F16C.
 *
 * Every function carries the target attribute, so the file needs no compiler
 * flag of its own and is harmless on processors without these instructions as
 * long as the dispatcher keeps its table out of use.  On other architectures
 * the file is empty.
 *
 * Ends of arrays: floats are read through maskload, which does not touch the
 * masked-off elements; bytes are read by loads that overlap inside the array.
 * Nothing outside an array is ever read.
 */
#include "distance_private.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))

#include "distance_sparse_private.h"

/* eight ones and eight zeros: a window into it is a mask of 0 .. 8 elements */
static const int32_t mask_window[16] = {
	-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0
};

/*
 * A window into it is a byte shuffle that moves a 16-byte vector down by 1 to
 * 16 bytes and fills with zeros.
 */
static const uint8_t shift_window[32] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	128, 128, 128, 128, 128, 128, 128, 128,
	128, 128, 128, 128, 128, 128, 128, 128
};

/* Mask whose first r of 8 elements are set, r <= 8. */
TARGET static inline __m256i
mask_first(size_t r)
{
	return _mm256_loadu_si256((const __m256i *) (mask_window + 8 - r));
}

TARGET static inline __m256
abs_ps(__m256 x)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

TARGET static inline float
sum_ps(__m256 x)
{
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(x),
							   _mm256_extractf128_ps(x, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	s = _mm_add_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

TARGET static inline float
sum4_ps(__m256 x0, __m256 x1, __m256 x2, __m256 x3)
{
	return sum_ps(_mm256_add_ps(_mm256_add_ps(x0, x1),
								_mm256_add_ps(x2, x3)));
}

TARGET static inline int32_t
sum_epi32(__m256i x)
{
	__m128i		s = _mm_add_epi32(_mm256_castsi256_si128(x),
								  _mm256_extracti128_si256(x, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	return _mm_cvtsi128_si32(s);
}

/* The r bytes at p, 1 <= r <= 15, zero-extended. */
TARGET static inline __m128i
load_upto15(const uint8_t *p, size_t r)
{
	if (r > 8)
		return _mm_set_epi64x((int64_t) (vdb_distance_load_u64(p + r - 8) >>
										 (8 * (16 - r))),
							  (int64_t) vdb_distance_load_u64(p));
	return _mm_cvtsi64_si128((int64_t) vdb_distance_load_upto8(p, r));
}

/* The r bytes at p, 1 <= r <= 31, zero-extended. */
TARGET static inline __m256i
load_upto31(const uint8_t *p, size_t r)
{
	__m128i		low;
	__m128i		high = _mm_setzero_si128();

	if (r >= 16)
	{
		__m128i		shift = _mm_loadu_si128((const __m128i *)
											(shift_window + 32 - r));

		low = _mm_loadu_si128((const __m128i *) p);
		high = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)
												(p + r - 16)), shift);
	}
	else
		low = load_upto15(p, r);
	return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* ---- float against float ---- */

/* sum (a[i] - b[i])^2 */
TARGET static float
avx2_l2_squared(size_t n, const float *a, const float *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	__m256		d0;
	__m256		d1;
	__m256		d2;
	__m256		d3;
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
		d1 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8),
						   _mm256_loadu_ps(b + i + 8));
		d2 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 16),
						   _mm256_loadu_ps(b + i + 16));
		d3 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 24),
						   _mm256_loadu_ps(b + i + 24));
		s0 = _mm256_fmadd_ps(d0, d0, s0);
		s1 = _mm256_fmadd_ps(d1, d1, s1);
		s2 = _mm256_fmadd_ps(d2, d2, s2);
		s3 = _mm256_fmadd_ps(d3, d3, s3);
	}
	for (; i + 8 <= n; i += 8)
	{
		d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
		s0 = _mm256_fmadd_ps(d0, d0, s0);
	}
	if (i < n)
	{
		__m256i		mask = mask_first(n - i);

		d1 = _mm256_sub_ps(_mm256_maskload_ps(a + i, mask),
						   _mm256_maskload_ps(b + i, mask));
		s1 = _mm256_fmadd_ps(d1, d1, s1);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum a[i] * b[i] */
TARGET static float
avx2_inner_product(size_t n, const float *a, const float *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i),
							 _mm256_loadu_ps(b + i), s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8),
							 _mm256_loadu_ps(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16),
							 _mm256_loadu_ps(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24),
							 _mm256_loadu_ps(b + i + 24), s3);
	}
	for (; i + 8 <= n; i += 8)
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i),
							 _mm256_loadu_ps(b + i), s0);
	if (i < n)
	{
		__m256i		mask = mask_first(n - i);

		s1 = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask),
							 _mm256_maskload_ps(b + i, mask), s1);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum |a[i] - b[i]| */
TARGET static float
avx2_l1(size_t n, const float *a, const float *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	__m256		d0;
	__m256		d1;
	__m256		d2;
	__m256		d3;
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
		d1 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8),
						   _mm256_loadu_ps(b + i + 8));
		d2 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 16),
						   _mm256_loadu_ps(b + i + 16));
		d3 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 24),
						   _mm256_loadu_ps(b + i + 24));
		s0 = _mm256_add_ps(s0, abs_ps(d0));
		s1 = _mm256_add_ps(s1, abs_ps(d1));
		s2 = _mm256_add_ps(s2, abs_ps(d2));
		s3 = _mm256_add_ps(s3, abs_ps(d3));
	}
	for (; i + 8 <= n; i += 8)
	{
		d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
		s0 = _mm256_add_ps(s0, abs_ps(d0));
	}
	if (i < n)
	{
		__m256i		mask = mask_first(n - i);

		d1 = _mm256_sub_ps(_mm256_maskload_ps(a + i, mask),
						   _mm256_maskload_ps(b + i, mask));
		s1 = _mm256_add_ps(s1, abs_ps(d1));
	}
	return sum4_ps(s0, s1, s2, s3);
}

/*
 * The three sums of cosine distance.  Three multiply-adds for two loads: bound
 * by their latency unless each sum has several chains.
 */
TARGET static VdbCosineParts
avx2_cosine(size_t n, const float *a, const float *b)
{
	VdbCosineParts parts;
	__m256		ip[3];
	__m256		aa[3];
	__m256		bb[3];
	__m256		a0;
	__m256		b0;
	size_t		i = 0;
	int			k;

	for (k = 0; k < 3; k++)
		ip[k] = aa[k] = bb[k] = _mm256_setzero_ps();

	for (; i + 24 <= n; i += 24)
	{
		__m256		a1 = _mm256_loadu_ps(a + i + 8);
		__m256		b1 = _mm256_loadu_ps(b + i + 8);
		__m256		a2 = _mm256_loadu_ps(a + i + 16);
		__m256		b2 = _mm256_loadu_ps(b + i + 16);

		a0 = _mm256_loadu_ps(a + i);
		b0 = _mm256_loadu_ps(b + i);
		ip[0] = _mm256_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm256_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm256_fmadd_ps(b0, b0, bb[0]);
		ip[1] = _mm256_fmadd_ps(a1, b1, ip[1]);
		aa[1] = _mm256_fmadd_ps(a1, a1, aa[1]);
		bb[1] = _mm256_fmadd_ps(b1, b1, bb[1]);
		ip[2] = _mm256_fmadd_ps(a2, b2, ip[2]);
		aa[2] = _mm256_fmadd_ps(a2, a2, aa[2]);
		bb[2] = _mm256_fmadd_ps(b2, b2, bb[2]);
	}
	for (; i + 8 <= n; i += 8)
	{
		a0 = _mm256_loadu_ps(a + i);
		b0 = _mm256_loadu_ps(b + i);
		ip[0] = _mm256_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm256_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm256_fmadd_ps(b0, b0, bb[0]);
	}
	if (i < n)
	{
		__m256i		mask = mask_first(n - i);

		a0 = _mm256_maskload_ps(a + i, mask);
		b0 = _mm256_maskload_ps(b + i, mask);
		ip[1] = _mm256_fmadd_ps(a0, b0, ip[1]);
		aa[1] = _mm256_fmadd_ps(a0, a0, aa[1]);
		bb[1] = _mm256_fmadd_ps(b0, b0, bb[1]);
	}
	parts.ip = sum_ps(_mm256_add_ps(_mm256_add_ps(ip[0], ip[1]), ip[2]));
	parts.aa = sum_ps(_mm256_add_ps(_mm256_add_ps(aa[0], aa[1]), aa[2]));
	parts.bb = sum_ps(_mm256_add_ps(_mm256_add_ps(bb[0], bb[1]), bb[2]));
	return parts;
}

/* ---- half against half ---- */

/* Eight halfs as floats. */
TARGET static inline __m256
load_half(const uint16_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p));
}

/* The r halfs at p, 1 <= r <= 7, as floats; the others are zero. */
TARGET static inline __m256
load_half_upto7(const uint16_t *p, size_t r)
{
	return _mm256_cvtph_ps(load_upto15((const uint8_t *) p, 2 * r));
}

/* sum (a[i] - b[i])^2 */
TARGET static float
avx2_half_l2_squared(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	__m256		d0;
	__m256		d1;
	__m256		d2;
	__m256		d3;
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		d0 = _mm256_sub_ps(load_half(a + i), load_half(b + i));
		d1 = _mm256_sub_ps(load_half(a + i + 8), load_half(b + i + 8));
		d2 = _mm256_sub_ps(load_half(a + i + 16), load_half(b + i + 16));
		d3 = _mm256_sub_ps(load_half(a + i + 24), load_half(b + i + 24));
		s0 = _mm256_fmadd_ps(d0, d0, s0);
		s1 = _mm256_fmadd_ps(d1, d1, s1);
		s2 = _mm256_fmadd_ps(d2, d2, s2);
		s3 = _mm256_fmadd_ps(d3, d3, s3);
	}
	for (; i + 8 <= n; i += 8)
	{
		d0 = _mm256_sub_ps(load_half(a + i), load_half(b + i));
		s0 = _mm256_fmadd_ps(d0, d0, s0);
	}
	if (i < n)
	{
		d1 = _mm256_sub_ps(load_half_upto7(a + i, n - i),
						   load_half_upto7(b + i, n - i));
		s1 = _mm256_fmadd_ps(d1, d1, s1);
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* sum a[i] * b[i] */
TARGET static float
avx2_half_inner_product(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		s0 = _mm256_fmadd_ps(load_half(a + i), load_half(b + i), s0);
		s1 = _mm256_fmadd_ps(load_half(a + i + 8), load_half(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(load_half(a + i + 16), load_half(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(load_half(a + i + 24), load_half(b + i + 24), s3);
	}
	for (; i + 8 <= n; i += 8)
		s0 = _mm256_fmadd_ps(load_half(a + i), load_half(b + i), s0);
	if (i < n)
		s1 = _mm256_fmadd_ps(load_half_upto7(a + i, n - i),
							 load_half_upto7(b + i, n - i), s1);
	return sum4_ps(s0, s1, s2, s3);
}

/* sum |a[i] - b[i]| */
TARGET static float
avx2_half_l1(size_t n, const uint16_t *a, const uint16_t *b)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	__m256		d0;
	__m256		d1;
	__m256		d2;
	__m256		d3;
	size_t		i = 0;

	for (; i + 32 <= n; i += 32)
	{
		d0 = _mm256_sub_ps(load_half(a + i), load_half(b + i));
		d1 = _mm256_sub_ps(load_half(a + i + 8), load_half(b + i + 8));
		d2 = _mm256_sub_ps(load_half(a + i + 16), load_half(b + i + 16));
		d3 = _mm256_sub_ps(load_half(a + i + 24), load_half(b + i + 24));
		s0 = _mm256_add_ps(s0, abs_ps(d0));
		s1 = _mm256_add_ps(s1, abs_ps(d1));
		s2 = _mm256_add_ps(s2, abs_ps(d2));
		s3 = _mm256_add_ps(s3, abs_ps(d3));
	}
	for (; i + 8 <= n; i += 8)
	{
		d0 = _mm256_sub_ps(load_half(a + i), load_half(b + i));
		s0 = _mm256_add_ps(s0, abs_ps(d0));
	}
	if (i < n)
	{
		d1 = _mm256_sub_ps(load_half_upto7(a + i, n - i),
						   load_half_upto7(b + i, n - i));
		s1 = _mm256_add_ps(s1, abs_ps(d1));
	}
	return sum4_ps(s0, s1, s2, s3);
}

/* The three sums of cosine distance. */
TARGET static VdbCosineParts
avx2_half_cosine(size_t n, const uint16_t *a, const uint16_t *b)
{
	VdbCosineParts parts;
	__m256		ip[3];
	__m256		aa[3];
	__m256		bb[3];
	__m256		a0;
	__m256		b0;
	size_t		i = 0;
	int			k;

	for (k = 0; k < 3; k++)
		ip[k] = aa[k] = bb[k] = _mm256_setzero_ps();

	for (; i + 24 <= n; i += 24)
	{
		__m256		a1 = load_half(a + i + 8);
		__m256		b1 = load_half(b + i + 8);
		__m256		a2 = load_half(a + i + 16);
		__m256		b2 = load_half(b + i + 16);

		a0 = load_half(a + i);
		b0 = load_half(b + i);
		ip[0] = _mm256_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm256_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm256_fmadd_ps(b0, b0, bb[0]);
		ip[1] = _mm256_fmadd_ps(a1, b1, ip[1]);
		aa[1] = _mm256_fmadd_ps(a1, a1, aa[1]);
		bb[1] = _mm256_fmadd_ps(b1, b1, bb[1]);
		ip[2] = _mm256_fmadd_ps(a2, b2, ip[2]);
		aa[2] = _mm256_fmadd_ps(a2, a2, aa[2]);
		bb[2] = _mm256_fmadd_ps(b2, b2, bb[2]);
	}
	for (; i + 8 <= n; i += 8)
	{
		a0 = load_half(a + i);
		b0 = load_half(b + i);
		ip[0] = _mm256_fmadd_ps(a0, b0, ip[0]);
		aa[0] = _mm256_fmadd_ps(a0, a0, aa[0]);
		bb[0] = _mm256_fmadd_ps(b0, b0, bb[0]);
	}
	if (i < n)
	{
		a0 = load_half_upto7(a + i, n - i);
		b0 = load_half_upto7(b + i, n - i);
		ip[1] = _mm256_fmadd_ps(a0, b0, ip[1]);
		aa[1] = _mm256_fmadd_ps(a0, a0, aa[1]);
		bb[1] = _mm256_fmadd_ps(b0, b0, bb[1]);
	}
	parts.ip = sum_ps(_mm256_add_ps(_mm256_add_ps(ip[0], ip[1]), ip[2]));
	parts.aa = sum_ps(_mm256_add_ps(_mm256_add_ps(aa[0], aa[1]), aa[2]));
	parts.bb = sum_ps(_mm256_add_ps(_mm256_add_ps(bb[0], bb[1]), bb[2]));
	return parts;
}

/* n halfs to floats */
TARGET static void
avx2_half_to_float(size_t n, const uint16_t *in, float *out)
{
	size_t		i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i, load_half(in + i));
	if (i < n)
		_mm256_maskstore_ps(out + i, mask_first(n - i),
							load_half_upto7(in + i, n - i));
}

/* n floats to halfs */
TARGET static void
avx2_float_to_half(size_t n, const float *in, uint16_t *out)
{
	size_t		i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *) (out + i),
						 _mm256_cvtps_ph(_mm256_loadu_ps(in + i),
										 _MM_FROUND_TO_NEAREST_INT));
	if (i < n)
	{
		__m128i		last = _mm256_cvtps_ph(_mm256_maskload_ps(in + i, mask_first(n - i)),
										   _MM_FROUND_TO_NEAREST_INT);

		memcpy(out + i, &last, (n - i) * sizeof(uint16_t));
	}
}

/* ---- bit strings ---- */

/* How many bits of each byte are set: a table of 16 for each half of it. */
TARGET static inline __m256i
count_bits(__m256i x)
{
	const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3,
											1, 2, 2, 3, 2, 3, 3, 4,
											0, 1, 1, 2, 1, 2, 2, 3,
											1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i		low = _mm256_and_si256(x, nibble);
	__m256i		high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);

	return _mm256_add_epi8(_mm256_shuffle_epi8(counts, low),
						   _mm256_shuffle_epi8(counts, high));
}

/* Adds the bytes of x to four sums of 64 bits. */
TARGET static inline __m256i
add_bytes(__m256i sums, __m256i x)
{
	return _mm256_add_epi64(sums, _mm256_sad_epu8(x, _mm256_setzero_si256()));
}

TARGET static inline uint64_t
sum_epi64(__m256i x)
{
	__m128i		s = _mm_add_epi64(_mm256_castsi256_si128(x),
								  _mm256_extracti128_si256(x, 1));

	s = _mm_add_epi64(s, _mm_unpackhi_epi64(s, s));
	return (uint64_t) _mm_cvtsi128_si64(s);
}

TARGET static inline __m256i
load_bits(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *) p);
}

/* How many bits differ. */
TARGET static uint64_t
avx2_bit_hamming(size_t n, const uint8_t *a, const uint8_t *b)
{
	__m256i		sums = _mm256_setzero_si256();
	size_t		i = 0;
	int			k;

	/* four counts of up to 8 stay far below what a byte holds */
	for (; i + 128 <= n; i += 128)
	{
		__m256i		counts = _mm256_setzero_si256();

		for (k = 0; k < 128; k += 32)
			counts = _mm256_add_epi8(counts,
									 count_bits(_mm256_xor_si256(load_bits(a + i + k),
																 load_bits(b + i + k))));
		sums = add_bytes(sums, counts);
	}
	for (; i + 32 <= n; i += 32)
		sums = add_bytes(sums, count_bits(_mm256_xor_si256(load_bits(a + i),
														   load_bits(b + i))));
	if (i < n)
		sums = add_bytes(sums, count_bits(_mm256_xor_si256(load_upto31(a + i, n - i),
														   load_upto31(b + i, n - i))));
	return sum_epi64(sums);
}

/* How many bits are set in both, and how many in either. */
TARGET static VdbJaccardParts
avx2_bit_jaccard(size_t n, const uint8_t *a, const uint8_t *b)
{
	VdbJaccardParts parts;
	__m256i		both = _mm256_setzero_si256();
	__m256i		either = _mm256_setzero_si256();
	__m256i		x;
	__m256i		y;
	size_t		i = 0;
	int			k;

	for (; i + 128 <= n; i += 128)
	{
		__m256i		both_counts = _mm256_setzero_si256();
		__m256i		either_counts = _mm256_setzero_si256();

		for (k = 0; k < 128; k += 32)
		{
			x = load_bits(a + i + k);
			y = load_bits(b + i + k);
			both_counts = _mm256_add_epi8(both_counts,
										  count_bits(_mm256_and_si256(x, y)));
			either_counts = _mm256_add_epi8(either_counts,
											count_bits(_mm256_or_si256(x, y)));
		}
		both = add_bytes(both, both_counts);
		either = add_bytes(either, either_counts);
	}
	for (; i < n; i += 32)
	{
		x = n - i < 32 ? load_upto31(a + i, n - i) : load_bits(a + i);
		y = n - i < 32 ? load_upto31(b + i, n - i) : load_bits(b + i);
		both = add_bytes(both, count_bits(_mm256_and_si256(x, y)));
		either = add_bytes(either, count_bits(_mm256_or_si256(x, y)));
	}
	parts.both = sum_epi64(both);
	parts.either = sum_epi64(either);
	return parts;
}

/* ---- hot codes against hot queries ---- */

/*
 * maddubs multiplies unsigned by signed bytes and adds neighbours into int16,
 * which must not overflow.  With |q| <= 127 one result is at most
 *	 2 * 3 * 127 =  762 for 2-bit codes; the four planes of a block 3048,
 *	 2 * 15 * 127 = 3810 for 4-bit ones; the two planes of a block 7620.
 * So results of several blocks can be added up in int16 before they have to be
 * widened: 10 * 3048 = 30480 and 4 * 7620 = 30480, both below 32767.
 */
#define HOT2_RUN 10
#define HOT4_RUN 4

/* Code bytes of a last partial block, after the rule of VDB_HOT_BLOCK. */
TARGET static inline __m256i
hot_load_last(size_t cbytes, const uint8_t *code)
{
	if (cbytes >= VDB_HOT_BLOCK)
		return _mm256_loadu_si256((const __m256i *)
								  (code + cbytes - VDB_HOT_BLOCK));
	return load_upto31(code, cbytes);
}

/* One block of 2-bit codes: int16 sums of up to 3048. */
TARGET static inline __m256i
hot2_block(__m256i c, const int8_t *q, size_t plane)
{
	const __m256i three = _mm256_set1_epi8(3);
	__m256i		c0 = _mm256_and_si256(c, three);
	__m256i		c1 = _mm256_and_si256(_mm256_srli_epi16(c, 2), three);
	__m256i		c2 = _mm256_and_si256(_mm256_srli_epi16(c, 4), three);
	__m256i		c3 = _mm256_and_si256(_mm256_srli_epi16(c, 6), three);
	__m256i		m0;
	__m256i		m1;
	__m256i		m2;
	__m256i		m3;

	m0 = _mm256_maddubs_epi16(c0, _mm256_loadu_si256((const __m256i *) q));
	m1 = _mm256_maddubs_epi16(c1, _mm256_loadu_si256((const __m256i *)
													 (q + plane)));
	m2 = _mm256_maddubs_epi16(c2, _mm256_loadu_si256((const __m256i *)
													 (q + 2 * plane)));
	m3 = _mm256_maddubs_epi16(c3, _mm256_loadu_si256((const __m256i *)
													 (q + 3 * plane)));
	return _mm256_add_epi16(_mm256_add_epi16(m0, m1),
							_mm256_add_epi16(m2, m3));
}

/* One block of 4-bit codes: int16 sums of up to 7620. */
TARGET static inline __m256i
hot4_block(__m256i c, const int8_t *q, size_t plane)
{
	const __m256i fifteen = _mm256_set1_epi8(15);
	__m256i		c0 = _mm256_and_si256(c, fifteen);
	__m256i		c1 = _mm256_and_si256(_mm256_srli_epi16(c, 4), fifteen);
	__m256i		m0;
	__m256i		m1;

	m0 = _mm256_maddubs_epi16(c0, _mm256_loadu_si256((const __m256i *) q));
	m1 = _mm256_maddubs_epi16(c1, _mm256_loadu_si256((const __m256i *)
													 (q + plane)));
	return _mm256_add_epi16(m0, m1);
}

/* Hot code of 2 bits a dimension against its query. */
TARGET static int32_t
avx2_hot2_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	const __m256i ones = _mm256_set1_epi16(1);
	size_t		full = cbytes / VDB_HOT_BLOCK;
	bool		partial = cbytes % VDB_HOT_BLOCK != 0;
	size_t		plane = (full + partial) * VDB_HOT_BLOCK;
	__m256i		sum = _mm256_setzero_si256();
	size_t		t = 0;

	while (t < full)
	{
		size_t		stop = full - t > HOT2_RUN ? t + HOT2_RUN : full;
		__m256i		run = _mm256_setzero_si256();

		for (; t < stop; t++)
		{
			__m256i		c = _mm256_loadu_si256((const __m256i *)
											   (code + t * VDB_HOT_BLOCK));

			run = _mm256_add_epi16(run, hot2_block(c, query +
												   t * VDB_HOT_BLOCK, plane));
		}
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(run, ones));
	}
	if (partial)
	{
		__m256i		run = hot2_block(hot_load_last(cbytes, code),
									 query + full * VDB_HOT_BLOCK, plane);

		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(run, ones));
	}
	return sum_epi32(sum);
}

/* Hot code of 4 bits a dimension against its query. */
TARGET static int32_t
avx2_hot4_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	const __m256i ones = _mm256_set1_epi16(1);
	size_t		full = cbytes / VDB_HOT_BLOCK;
	bool		partial = cbytes % VDB_HOT_BLOCK != 0;
	size_t		plane = (full + partial) * VDB_HOT_BLOCK;
	__m256i		sum = _mm256_setzero_si256();
	size_t		t = 0;

	while (t < full)
	{
		size_t		stop = full - t > HOT4_RUN ? t + HOT4_RUN : full;
		__m256i		run = _mm256_setzero_si256();

		for (; t < stop; t++)
		{
			__m256i		c = _mm256_loadu_si256((const __m256i *)
											   (code + t * VDB_HOT_BLOCK));

			run = _mm256_add_epi16(run, hot4_block(c, query +
												   t * VDB_HOT_BLOCK, plane));
		}
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(run, ones));
	}
	if (partial)
	{
		__m256i		run = hot4_block(hot_load_last(cbytes, code),
									 query + full * VDB_HOT_BLOCK, plane);

		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(run, ones));
	}
	return sum_epi32(sum);
}

/* 16 code bytes times 16 query bytes, neighbours added. */
TARGET static inline __m256i
hot8_step(__m128i c, const int8_t *q)
{
	__m128i		q8 = _mm_loadu_si128((const __m128i *) q);

	return _mm256_madd_epi16(_mm256_cvtepu8_epi16(c),
							 _mm256_cvtepi8_epi16(q8));
}

/*
 * Hot code of 8 bits a dimension against its query.  A byte up to 255 would
 * saturate maddubs, so both sides are widened to int16 first.
 */
TARGET static int32_t
avx2_hot8_ip(size_t cbytes, const int8_t *query, const uint8_t *code)
{
	__m256i		s0 = _mm256_setzero_si256();
	__m256i		s1 = _mm256_setzero_si256();
	size_t		i = 0;

	for (; i + VDB_HOT_BLOCK <= cbytes; i += VDB_HOT_BLOCK)
	{
		const __m128i *c = (const __m128i *) (code + i);

		s0 = _mm256_add_epi32(s0, hot8_step(_mm_loadu_si128(c), query + i));
		s1 = _mm256_add_epi32(s1, hot8_step(_mm_loadu_si128(c + 1),
											query + i + 16));
	}
	if (i < cbytes)
	{
		__m256i		c = hot_load_last(cbytes, code);

		s0 = _mm256_add_epi32(s0, hot8_step(_mm256_castsi256_si128(c),
											query + i));
		s1 = _mm256_add_epi32(s1, hot8_step(_mm256_extracti128_si256(c, 1),
											query + i + 16));
	}
	return sum_epi32(_mm256_add_epi32(s0, s1));
}

/* ---- hot codes against float queries ---- */

/*
 * |q - scale * (2 * u - top)| for eight code values u.  2 * u - top is a small
 * integer, so the first multiply-add is exact.
 */
TARGET static inline __m256
hot_l1_step(__m256 q, __m256 scale, __m256i u, __m256 top)
{
	__m256		w = _mm256_fmsub_ps(_mm256_cvtepi32_ps(u),
									_mm256_set1_ps(2.0f), top);

	return abs_ps(_mm256_fnmadd_ps(scale, w, q));
}

/* City-block distance of a float query to a 4-bit hot code. */
TARGET static float
avx2_hot4_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	const __m256i fifteen = _mm256_set1_epi32(15);
	const __m256 top = _mm256_set1_ps(15.0f);
	__m256		vscale = _mm256_set1_ps(scale);
	size_t		cbytes = dims / 2;
	const float *q0 = q;
	const float *q1 = q + cbytes;
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256i		c;
	size_t		j = 0;

	for (; j + 8 <= cbytes; j += 8)
	{
		c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)
												 (code + j)));
		s0 = _mm256_add_ps(s0, hot_l1_step(_mm256_loadu_ps(q0 + j), vscale,
										   _mm256_and_si256(c, fifteen), top));
		s1 = _mm256_add_ps(s1, hot_l1_step(_mm256_loadu_ps(q1 + j), vscale,
										   _mm256_srli_epi32(c, 4), top));
	}
	if (j < cbytes)
	{
		size_t		r = cbytes - j;
		__m256i		mask = mask_first(r);
		__m256		d0;
		__m256		d1;

		c = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)
												   vdb_distance_load_upto8(code + j, r)));
		d0 = hot_l1_step(_mm256_maskload_ps(q0 + j, mask), vscale,
						 _mm256_and_si256(c, fifteen), top);
		d1 = hot_l1_step(_mm256_maskload_ps(q1 + j, mask), vscale,
						 _mm256_srli_epi32(c, 4), top);
		s0 = _mm256_add_ps(s0, _mm256_and_ps(d0, _mm256_castsi256_ps(mask)));
		s1 = _mm256_add_ps(s1, _mm256_and_ps(d1, _mm256_castsi256_ps(mask)));
	}
	return sum_ps(_mm256_add_ps(s0, s1));
}

/* City-block distance of a float query to an 8-bit hot code. */
TARGET static float
avx2_hot8_l1(size_t dims, const float *q, float scale, const uint8_t *code)
{
	const __m256 top = _mm256_set1_ps(255.0f);
	__m256		vscale = _mm256_set1_ps(scale);
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256i		c;
	size_t		d = 0;

	for (; d + 16 <= dims; d += 16)
	{
		c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)
												 (code + d)));
		s0 = _mm256_add_ps(s0, hot_l1_step(_mm256_loadu_ps(q + d), vscale,
										   c, top));
		c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)
												 (code + d + 8)));
		s1 = _mm256_add_ps(s1, hot_l1_step(_mm256_loadu_ps(q + d + 8), vscale,
										   c, top));
	}
	if (d + 8 <= dims)
	{
		c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)
												 (code + d)));
		s0 = _mm256_add_ps(s0, hot_l1_step(_mm256_loadu_ps(q + d), vscale,
										   c, top));
		d += 8;
	}
	if (d < dims)
	{
		size_t		r = dims - d;
		__m256i		mask = mask_first(r);
		__m256		d1;

		c = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)
												   vdb_distance_load_upto8(code + d, r)));
		d1 = hot_l1_step(_mm256_maskload_ps(q + d, mask), vscale, c, top);
		s1 = _mm256_add_ps(s1, _mm256_and_ps(d1, _mm256_castsi256_ps(mask)));
	}
	return sum_ps(_mm256_add_ps(s0, s1));
}

TARGET static uint32_t
avx2_nearest_of_16(size_t dims, const float *x, float factor, const float *values)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		least;
	uint32_t	equal;

	for (size_t d = 0; d < dims; d++)
	{
		__m256		value = _mm256_set1_ps(vdb_distance_load_f32(x + d) * factor);
		__m256		d0 = _mm256_sub_ps(value, _mm256_loadu_ps(values + 16 * d));
		__m256		d1 = _mm256_sub_ps(value, _mm256_loadu_ps(values + 16 * d + 8));

		s0 = _mm256_add_ps(s0, _mm256_mul_ps(d0, d0));
		s1 = _mm256_add_ps(s1, _mm256_mul_ps(d1, d1));
	}
	least = _mm256_min_ps(s0, s1);
	least = _mm256_min_ps(least, _mm256_permute2f128_ps(least, least, 1));
	least = _mm256_min_ps(least, _mm256_permute_ps(least, 0x4E));
	least = _mm256_min_ps(least, _mm256_permute_ps(least, 0xB1));
	equal = (uint32_t) _mm256_movemask_ps(_mm256_cmp_ps(s0, least, _CMP_EQ_OQ)) |
		(uint32_t) _mm256_movemask_ps(_mm256_cmp_ps(s1, least, _CMP_EQ_OQ)) << 8;
	return equal == 0 ? 0 : (uint32_t) __builtin_ctz(equal);
}

TARGET static float
avx2_sum_lanes(__m256 sums)
{
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

TARGET static void
avx2_rows4_ip(size_t dims, const float *rows, const float *x, float *out)
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
	out[0] = avx2_sum_lanes(s0);
	out[1] = avx2_sum_lanes(s1);
	out[2] = avx2_sum_lanes(s2);
	out[3] = avx2_sum_lanes(s3);
}

TARGET static void
avx2_hot_fit(size_t dims, const float *x, float inverse, int32_t top, double *dots,
			 int32_t *squares)
{
	const __m256i low = _mm256_set1_epi32(VDB_ROUNDER_BITS);
	const __m256i high = _mm256_set1_epi32(VDB_ROUNDER_BITS + top);
	const __m256i vtop = _mm256_set1_epi32(top);
	const __m256 vinverse = _mm256_set1_ps(inverse);
	const __m256 ftop = _mm256_set1_ps((float) top);
	__m256d		d0 = _mm256_setzero_pd();
	__m256d		d1 = _mm256_setzero_pd();
	__m256i		s = _mm256_setzero_si256();

	for (size_t d = 0; d < dims; d += 8)
	{
		__m256		value = _mm256_loadu_ps(x + d);
		__m256		place = _mm256_mul_ps(_mm256_add_ps(_mm256_mul_ps(value, vinverse), ftop),
										  _mm256_set1_ps(0.5f));
		__m256i		bits = _mm256_castps_si256(_mm256_add_ps(place, _mm256_set1_ps(VDB_ROUNDER)));
		__m256i		v;

		bits = _mm256_min_epi32(_mm256_max_epi32(bits, low), high);
		v = _mm256_sub_epi32(_mm256_slli_epi32(_mm256_sub_epi32(bits, low), 1), vtop);
		d0 = _mm256_add_pd(d0, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(value)),
											 _mm256_cvtepi32_pd(_mm256_castsi256_si128(v))));
		d1 = _mm256_add_pd(d1, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(value, 1)),
											 _mm256_cvtepi32_pd(_mm256_extracti128_si256(v, 1))));
		s = _mm256_add_epi32(s, _mm256_mullo_epi32(v, v));
	}
	_mm256_storeu_pd(dots, d0);
	_mm256_storeu_pd(dots + 4, d1);
	_mm256_storeu_si256((__m256i *) squares, s);
}

/* ---- node codes ---- */

/* The lo plane of 32 dimensions as 12 bits have it, as vdb_distance_load_lo8. */
TARGET static ALWAYS_INLINE __m128i
load_lo32(int bits, const uint8_t *lo)
{
	__m128i		l;

	if (bits == 12)
		return _mm_loadu_si128((const __m128i *) lo);
	l = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *) lo));
	l = _mm_and_si128(_mm_or_si128(l, _mm_slli_epi16(l, 4)), _mm_set1_epi8(0x0f));
	l = _mm_and_si128(_mm_or_si128(l, _mm_slli_epi16(l, 2)), _mm_set1_epi8(0x33));
	return _mm_slli_epi16(l, 2);
}

/*
 * Decodes 32 dimensions into v, in order.
 *
 * The bytes are first spread so that the lower lane of every register holds
 * dimensions 8j .. 8j + 3 and the upper lane 8j + 4 .. 8j + 7, for j = 0 .. 3;
 * all later unpacking, which stays within lanes, then ends in plain order.
 * With the hi byte made unsigned, a byte pair (nibble << 4, hi + 128) is a
 * 16-bit number w = 16 * (v + 2056).  Under the exponent of 2^19, where the
 * lowest mantissa bit weighs 1/16, it is the float 2^19 + v + 2056, and one
 * exact subtraction leaves v.
 */
TARGET static ALWAYS_INLINE void
node_decode32(int bits, const int8_t *hi, const uint8_t *lo, __m256 v[4])
{
	const __m256i spread_hi = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
	const __m256i spread_lo = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13,
											   0, 1, 4, 5, 8, 9, 12, 13,
											   2, 3, 6, 7, 10, 11, 14, 15,
											   2, 3, 6, 7, 10, 11, 14, 15);
	const __m256i magic = _mm256_set1_epi16(0x4900);
	const __m256 bias = _mm256_set1_ps(524288.0f + 2056.0f);
	__m256i		h = _mm256_loadu_si256((const __m256i *) hi);
	__m256i		l = _mm256_broadcastsi128_si256(load_lo32(bits, lo));
	__m256i		w0;
	__m256i		w1;

	h = _mm256_permutevar8x32_epi32(h, spread_hi);
	h = _mm256_xor_si256(h, _mm256_set1_epi8(-128));

	/* low nibbles shifted up, then high nibbles where they are, by turns */
	l = _mm256_shuffle_epi8(l, spread_lo);
	l = _mm256_unpacklo_epi8(_mm256_slli_epi16(l, 4), l);
	l = _mm256_and_si256(l, _mm256_set1_epi8(-16));

	w0 = _mm256_unpacklo_epi8(l, h);
	w1 = _mm256_unpackhi_epi8(l, h);
	v[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(w0, magic));
	v[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(w0, magic));
	v[2] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(w1, magic));
	v[3] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(w1, magic));
	v[0] = _mm256_sub_ps(v[0], bias);
	v[1] = _mm256_sub_ps(v[1], bias);
	v[2] = _mm256_sub_ps(v[2], bias);
	v[3] = _mm256_sub_ps(v[3], bias);
}

/* Decodes 8 dimensions. */
TARGET static ALWAYS_INLINE __m256
node_decode8(int bits, const int8_t *hi, const uint8_t *lo)
{
	const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
	__m256i		h = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) hi));
	__m256i		l = _mm256_set1_epi32((int32_t) vdb_distance_load_lo8(bits, lo));

	h = _mm256_sub_epi32(_mm256_slli_epi32(h, 4), _mm256_set1_epi32(8));
	l = _mm256_and_si256(_mm256_srlv_epi32(l, shifts), _mm256_set1_epi32(15));
	return _mm256_cvtepi32_ps(_mm256_add_epi32(h, l));
}

/* Node code against a float query: sum q[d] * v[d]. */
TARGET static ALWAYS_INLINE float
node_ip(int bits, size_t dims, const float *q, const int8_t *hi, const uint8_t *lo)
{
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		__m256		v[4];

		node_decode32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(q + d), v[0], s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(q + d + 8), v[1], s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(q + d + 16), v[2], s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(q + d + 24), v[3], s3);
	}
	for (; d + 8 <= dims; d += 8)
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(q + d),
							 node_decode8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d)), s0);
	for (; d < dims; d++)
		tail += vdb_distance_load_f32(q + d) *
			(float) vdb_distance_node_value(bits, hi, lo, d);
	return sum4_ps(s0, s1, s2, s3) + tail;
}

/* Node code against a float query: sum |q[d] - scale * v[d]|. */
TARGET static ALWAYS_INLINE float
node_l1(int bits, size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo)
{
	__m256		vscale = _mm256_set1_ps(scale);
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	__m256		s2 = _mm256_setzero_ps();
	__m256		s3 = _mm256_setzero_ps();
	float		tail = 0.0f;
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		__m256		v[4];

		node_decode32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		v[0] = _mm256_fnmadd_ps(vscale, v[0], _mm256_loadu_ps(q + d));
		v[1] = _mm256_fnmadd_ps(vscale, v[1], _mm256_loadu_ps(q + d + 8));
		v[2] = _mm256_fnmadd_ps(vscale, v[2], _mm256_loadu_ps(q + d + 16));
		v[3] = _mm256_fnmadd_ps(vscale, v[3], _mm256_loadu_ps(q + d + 24));
		s0 = _mm256_add_ps(s0, abs_ps(v[0]));
		s1 = _mm256_add_ps(s1, abs_ps(v[1]));
		s2 = _mm256_add_ps(s2, abs_ps(v[2]));
		s3 = _mm256_add_ps(s3, abs_ps(v[3]));
	}
	for (; d + 8 <= dims; d += 8)
	{
		__m256		v = node_decode8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d));

		v = _mm256_fnmadd_ps(vscale, v, _mm256_loadu_ps(q + d));
		s0 = _mm256_add_ps(s0, abs_ps(v));
	}
	for (; d < dims; d++)
		tail += fabsf(vdb_distance_load_f32(q + d) - scale *
					  (float) vdb_distance_node_value(bits, hi, lo, d));
	return sum4_ps(s0, s1, s2, s3) + tail;
}

/* Node code to floats. */
TARGET static ALWAYS_INLINE void
node_decode(int bits, size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out)
{
	__m256		vscale = _mm256_set1_ps(scale);
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		__m256		v[4];

		node_decode32(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d), v);
		_mm256_storeu_ps(out + d, _mm256_mul_ps(vscale, v[0]));
		_mm256_storeu_ps(out + d + 8, _mm256_mul_ps(vscale, v[1]));
		_mm256_storeu_ps(out + d + 16, _mm256_mul_ps(vscale, v[2]));
		_mm256_storeu_ps(out + d + 24, _mm256_mul_ps(vscale, v[3]));
	}
	for (; d + 8 <= dims; d += 8)
	{
		__m256		v = node_decode8(bits, hi + d, lo + vdb_distance_lo_bytes(bits, d));

		_mm256_storeu_ps(out + d, _mm256_mul_ps(vscale, v));
	}
	for (; d < dims; d++)
		vdb_distance_store_f32(out + d, scale *
							   (float) vdb_distance_node_value(bits, hi, lo, d));
}

NODE_KERNELS(avx2, TARGET, 12);
NODE_KERNELS(avx2, TARGET, 10);

/* ---- int8 against int8 ---- */

/* The 16 int8 at p as int16. */
TARGET static inline __m256i
load_epi8_epi16(const int8_t *p)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) p));
}

/*
 * sum a[d] * b[d], exact.  Both factors are signed and may be -128, which
 * rules out the maddubs tricks; they are widened and multiplied as int16.
 */
TARGET static int32_t
avx2_i8_ip(size_t dims, const int8_t *a, const int8_t *b)
{
	__m256i		s0 = _mm256_setzero_si256();
	__m256i		s1 = _mm256_setzero_si256();
	size_t		d = 0;

	for (; d + 32 <= dims; d += 32)
	{
		s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(load_epi8_epi16(a + d),
													load_epi8_epi16(b + d)));
		s1 = _mm256_add_epi32(s1,
							  _mm256_madd_epi16(load_epi8_epi16(a + d + 16),
												load_epi8_epi16(b + d + 16)));
	}
	if (d + 16 <= dims)
	{
		s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(load_epi8_epi16(a + d),
													load_epi8_epi16(b + d)));
		d += 16;
	}
	if (d < dims)
	{
		size_t		r = dims - d;
		size_t		r0 = r > 8 ? 8 : r;
		__m128i		a16;
		__m128i		b16;

		a16 = _mm_cvtsi64_si128((int64_t) vdb_distance_load_upto8(a + d, r0));
		b16 = _mm_cvtsi64_si128((int64_t) vdb_distance_load_upto8(b + d, r0));
		if (r > 8)
		{
			a16 = _mm_insert_epi64(a16,
								   (int64_t) vdb_distance_load_upto8(a + d + 8, r - 8), 1);
			b16 = _mm_insert_epi64(b16,
								   (int64_t) vdb_distance_load_upto8(b + d + 8, r - 8), 1);
		}
		s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(_mm256_cvtepi8_epi16(a16),
													_mm256_cvtepi8_epi16(b16)));
	}
	return sum_epi32(_mm256_add_epi32(s0, s1));
}

/* |sa * a - sb * b| for the eight int8 in the lower half of a and b. */
TARGET static inline __m256
i8_l1_step(__m256 sa, __m128i a, __m256 sb, __m128i b)
{
	__m256		fa = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(a));
	__m256		fb = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));

	return abs_ps(_mm256_fmsub_ps(sa, fa, _mm256_mul_ps(sb, fb)));
}

/* sum |sa * a[d] - sb * b[d]| */
TARGET static float
avx2_i8_l1(size_t dims, float sa, const int8_t *a, float sb, const int8_t *b)
{
	__m256		vsa = _mm256_set1_ps(sa);
	__m256		vsb = _mm256_set1_ps(sb);
	__m256		s0 = _mm256_setzero_ps();
	__m256		s1 = _mm256_setzero_ps();
	size_t		d = 0;

	for (; d + 16 <= dims; d += 16)
	{
		__m128i		va = _mm_loadu_si128((const __m128i *) (a + d));
		__m128i		vb = _mm_loadu_si128((const __m128i *) (b + d));

		s0 = _mm256_add_ps(s0, i8_l1_step(vsa, va, vsb, vb));
		s1 = _mm256_add_ps(s1, i8_l1_step(vsa, _mm_unpackhi_epi64(va, va),
										  vsb, _mm_unpackhi_epi64(vb, vb)));
	}
	if (d + 8 <= dims)
	{
		__m128i		va = _mm_loadl_epi64((const __m128i *) (a + d));
		__m128i		vb = _mm_loadl_epi64((const __m128i *) (b + d));

		s0 = _mm256_add_ps(s0, i8_l1_step(vsa, va, vsb, vb));
		d += 8;
	}
	if (d < dims)
	{
		size_t		r = dims - d;
		__m256		mask = _mm256_castsi256_ps(mask_first(r));
		__m128i		va = _mm_cvtsi64_si128((int64_t) vdb_distance_load_upto8(a + d, r));
		__m128i		vb = _mm_cvtsi64_si128((int64_t) vdb_distance_load_upto8(b + d, r));

		s1 = _mm256_add_ps(s1, _mm256_and_ps(mask,
											 i8_l1_step(vsa, va, vsb, vb)));
	}
	return sum_ps(_mm256_add_ps(s0, s1));
}

/* ---- panels ---- */

/* A tile: so many plain rows, against a block of the panel, in registers. */
#define PANEL_TILE 6

/* The plain rows of a tile are widened, so many dimensions at a time. */
#define PANEL_DIMS 512

/* Two dimensions of the rows of a block are widened to two vectors. */
#define PANEL_STEP (2 * VDB_PANEL_ROWS)

static void
avx2_panel_put(size_t dims, uint8_t *panel, size_t row, const int8_t *a)
{
	vdb_distance_panel_put(dims, panel, row, a, 2, 0);
}

/*
 * Widens dims elements, at most PANEL_DIMS, and adds zeros up to an even number,
 * which a multiple of 16 includes.
 */
TARGET static void
panel_widen(size_t dims, const int8_t *a, int16_t *wide)
{
	size_t		d = 0;

	for (; d + 16 <= dims; d += 16)
		_mm256_storeu_si256((__m256i *) (wide + d), load_epi8_epi16(a + d));
	if (d < dims)
		_mm256_storeu_si256((__m256i *) (wide + d), _mm256_cvtepi8_epi16(
			load_upto15((const uint8_t *) a + d, dims - d)));
}

#define PANEL_ROWS_UPTO(nr, DO) \
	do { \
		DO(0); DO(1); \
		if (nr > 2) \
		{ \
			DO(2); DO(3); DO(4); DO(5); \
		} \
	} while (0)

/*
 * Products of nr rows, 2 or PANEL_TILE, with a block.  wide: their dims elements,
 * to an even number, with PANEL_DIMS from one to the next.  Written are `used`
 * rows of out, of each the first elements, one for each bit in the masks, or
 * added to what is there.  Sums stay within 65536 * 128 * 128 = 2^30.
 */
TARGET static ALWAYS_INLINE void
panel_tile(int nr, size_t dims, const uint8_t *panel, const int16_t *wide, size_t used,
		   int32_t *out, size_t stride, bool add, __m256i mask_p, __m256i mask_q)
{
#define DECLARE(r) \
	__m256i		p##r = _mm256_setzero_si256(); \
	__m256i		q##r = p##r

	DECLARE(0);
	DECLARE(1);
	DECLARE(2);
	DECLARE(3);
	DECLARE(4);
	DECLARE(5);

	for (size_t d = 0; d < dims; d += 2, panel += PANEL_STEP)
	{
		__m256i		vp = load_epi8_epi16((const int8_t *) panel);
		__m256i		vq = load_epi8_epi16((const int8_t *) panel + 16);
		__m256i		v;

#define MULTIPLY(r) \
		v = _mm256_set1_epi32((int32_t) vdb_distance_load_u32(wide + d + r * PANEL_DIMS)); \
		p##r = _mm256_add_epi32(p##r, _mm256_madd_epi16(vp, v)); \
		q##r = _mm256_add_epi32(q##r, _mm256_madd_epi16(vq, v))

		PANEL_ROWS_UPTO(nr, MULTIPLY);
	}

#define STORE(r) \
	if (r < used) \
	{ \
		int32_t    *o = out + r * stride; \
		\
		if (add) \
		{ \
			p##r = _mm256_add_epi32(p##r, _mm256_maskload_epi32(o, mask_p)); \
			q##r = _mm256_add_epi32(q##r, _mm256_maskload_epi32(o + 8, mask_q)); \
		} \
		_mm256_maskstore_epi32(o, mask_p, p##r); \
		_mm256_maskstore_epi32(o + 8, mask_q, q##r); \
	} \
	(void) 0

	PANEL_ROWS_UPTO(nr, STORE);
#undef DECLARE
#undef MULTIPLY
#undef STORE
}

/* sum a[d] * b[d], exact */
TARGET static void
avx2_panel_ip(size_t dims, size_t rows, const uint8_t *panel, size_t n, const int8_t *a,
			  size_t stride, int32_t *out)
{
	int16_t		wide[PANEL_TILE * PANEL_DIMS];
	size_t		block = vdb_distance_panel_bytes(dims, 1);
	size_t		used;

	for (size_t i = 0; i < n; i += used)
	{
		used = n - i < PANEL_TILE ? n - i : PANEL_TILE;
		for (size_t d = 0; d == 0 || d < dims; d += PANEL_DIMS)
		{
			size_t		length = dims - d < PANEL_DIMS ? dims - d : PANEL_DIMS;

			for (size_t r = 0; r < used; r++)
				panel_widen(length, a + (i + r) * stride + d, wide + r * PANEL_DIMS);
			for (size_t j = 0; j < rows; j += VDB_PANEL_ROWS)
			{
				const uint8_t *p = panel + j / VDB_PANEL_ROWS * block + d * VDB_PANEL_ROWS;
				size_t		left = rows - j;
				__m256i		mask_p = mask_first(left < 8 ? left : 8);
				__m256i		mask_q = mask_first(left < 8 ? 0 : left < 16 ? left - 8 : 8);
				int32_t    *o = out + i * rows + j;

				if (used > 2)
					panel_tile(PANEL_TILE, length, p, wide, used, o, rows, d > 0, mask_p, mask_q);
				else
					panel_tile(2, length, p, wide, used, o, rows, d > 0, mask_p, mask_q);
			}
		}
	}
}

/* ---- scan groups ---- */

/*
 * Bytes of a code after which sums leave 16 bits: what a byte adds is at most
 * 2 * VDB_SCAN_MOST = 254, and 256 * 254 is less than 2^16.
 */
#define SCAN_BYTES 256

/*
 * Looks up both halves of two bytes of 16 lanes, a byte in each half of the
 * registers, and adds them to sums of 16 bits: the odd lanes' to *odd, and to *all
 * the even lanes' with 2^8 times the odd ones'.
 */
TARGET static inline void
scan_add(__m256i codes, __m256i lower, __m256i upper, __m256i *all, __m256i *odd)
{
	const __m256i half = _mm256_set1_epi8(15);
	__m256i		low = _mm256_shuffle_epi8(lower, _mm256_and_si256(codes, half));
	__m256i		high = _mm256_shuffle_epi8(upper, _mm256_and_si256(_mm256_srli_epi16(codes, 4), half));
	__m256i		sum = _mm256_add_epi8(low, high);

	*all = _mm256_add_epi16(*all, sum);
	*odd = _mm256_add_epi16(*odd, _mm256_srli_epi16(sum, 8));
}

/* The sum of the halves of a register. */
TARGET static inline __m128i
scan_halves(__m256i x)
{
	return _mm_add_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

/* The 16 bytes of one byte of a code, or of its table, in the first half of a register. */
TARGET static inline __m256i
scan_single(const uint8_t *p)
{
	return _mm256_inserti128_si256(_mm256_setzero_si256(), _mm_loadu_si128((const __m128i *) p), 0);
}

/* Adds the sums of 16 lanes, in their order, to sums[2]. */
TARGET static inline void
scan_collect(__m256i all, __m256i odd, __m256i *sums)
{
	__m128i		evens = scan_halves(_mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8)));
	__m128i		odds = scan_halves(odd);

	sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(evens, odds)));
	sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(evens, odds)));
}

TARGET static uint32_t
avx2_scan_below(size_t bytes, const uint8_t *table, const uint8_t *group, const float *add,
				const float *scale, VdbScanScale s, float *scores)
{
	const __m256i zero = _mm256_setzero_si256();
	const uint8_t *second = group + 16 * bytes;
	__m256i		sums[4] = {zero, zero, zero, zero};
	uint32_t	below = 0;

	for (size_t start = 0; start < bytes; start += SCAN_BYTES)
	{
		size_t		end = bytes - start < SCAN_BYTES ? bytes : start + SCAN_BYTES;
		size_t		b = start;
		__m256i		all[2] = {zero, zero};
		__m256i		odd[2] = {zero, zero};

		for (; b + 2 <= end; b += 2)
		{
			__m256i		lower = _mm256_loadu_si256((const __m256i *) (table + 16 * b));
			__m256i		upper = _mm256_loadu_si256((const __m256i *) (table + 16 * (bytes + b)));

			scan_add(_mm256_loadu_si256((const __m256i *) (group + 16 * b)), lower, upper,
					 &all[0], &odd[0]);
			scan_add(_mm256_loadu_si256((const __m256i *) (second + 16 * b)), lower, upper,
					 &all[1], &odd[1]);
		}
		if (b < end)
		{
			__m256i		lower = scan_single(table + 16 * b);
			__m256i		upper = scan_single(table + 16 * (bytes + b));

			scan_add(scan_single(group + 16 * b), lower, upper, &all[0], &odd[0]);
			scan_add(scan_single(second + 16 * b), lower, upper, &all[1], &odd[1]);
		}
		scan_collect(all[0], odd[0], sums);
		scan_collect(all[1], odd[1], sums + 2);
	}
	for (int i = 0; i < 4; i++)
	{
		__m256		product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i]), _mm256_set1_ps(s.unit),
											  _mm256_set1_ps(s.low));
		__m256		score = _mm256_fnmadd_ps(_mm256_loadu_ps(scale + 8 * i), product,
											 _mm256_loadu_ps(add + 8 * i));

		_mm256_storeu_ps(scores + 8 * i, score);
		below |= (uint32_t) _mm256_movemask_ps(_mm256_cmp_ps(score, _mm256_set1_ps(s.bound), _CMP_LT_OQ)) << 8 * i;
	}
	return below;
}

/* ---- Walsh-Hadamard transform ---- */

/*
 * Strides 1, 2 and 4 inside a register.  Each is one multiply-add by +-1,
 * which rounds exactly as the addition or subtraction it stands for.
 */
TARGET static inline __m256
fht_inside(__m256 x)
{
	const __m256 sign1 = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
	const __m256 sign2 = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
	const __m256 sign4 = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);

	x = _mm256_fmadd_ps(x, sign1, _mm256_permute_ps(x, 0xb1));
	x = _mm256_fmadd_ps(x, sign2, _mm256_permute_ps(x, 0x4e));
	return _mm256_fmadd_ps(x, sign4, _mm256_permute2f128_ps(x, x, 1));
}

/* Two levels across four registers, stored to x, x + h, x + 2h, x + 3h. */
TARGET static inline void
fht_store4(float *x, size_t h, __m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256		ab = _mm256_add_ps(a, b);
	__m256		a_b = _mm256_sub_ps(a, b);
	__m256		cd = _mm256_add_ps(c, d);
	__m256		c_d = _mm256_sub_ps(c, d);

	_mm256_storeu_ps(x, _mm256_add_ps(ab, cd));
	_mm256_storeu_ps(x + h, _mm256_add_ps(a_b, c_d));
	_mm256_storeu_ps(x + 2 * h, _mm256_sub_ps(ab, cd));
	_mm256_storeu_ps(x + 3 * h, _mm256_sub_ps(a_b, c_d));
}

/*
 * Walsh-Hadamard transform: strides below 32 in registers, then two levels a
 * sweep.  The additions are those of the scalar kernel, so the bits are too.
 */
TARGET static void
avx2_fht(size_t n, float *x)
{
	size_t		h;
	size_t		i;
	size_t		j;

	if (n < 8)
	{
		vdb_kernels_scalar.fht(n, x);
		return;
	}

	if (n < 32)
	{
		for (i = 0; i < n; i += 8)
			_mm256_storeu_ps(x + i, fht_inside(_mm256_loadu_ps(x + i)));
		h = 8;
	}
	else
	{
		for (i = 0; i < n; i += 32)
			fht_store4(x + i, 8,
					   fht_inside(_mm256_loadu_ps(x + i)),
					   fht_inside(_mm256_loadu_ps(x + i + 8)),
					   fht_inside(_mm256_loadu_ps(x + i + 16)),
					   fht_inside(_mm256_loadu_ps(x + i + 24)));
		h = 32;
	}

	for (; 4 * h <= n; h *= 4)
	{
		for (i = 0; i < n; i += 4 * h)
		{
			for (j = i; j < i + h; j += 8)
				fht_store4(x + j, h,
						   _mm256_loadu_ps(x + j),
						   _mm256_loadu_ps(x + j + h),
						   _mm256_loadu_ps(x + j + 2 * h),
						   _mm256_loadu_ps(x + j + 3 * h));
		}
	}
	if (2 * h <= n)
	{
		for (j = 0; j < h; j += 8)
		{
			__m256		a = _mm256_loadu_ps(x + j);
			__m256		b = _mm256_loadu_ps(x + j + h);

			_mm256_storeu_ps(x + j, _mm256_add_ps(a, b));
			_mm256_storeu_ps(x + j + h, _mm256_sub_ps(a, b));
		}
	}
}

const VdbKernels vdb_kernels_avx2 = {
	.level = VDB_SIMD_AVX2,
	.l2_squared = avx2_l2_squared,
	.inner_product = avx2_inner_product,
	.l1 = avx2_l1,
	.cosine = avx2_cosine,
	.half_l2_squared = avx2_half_l2_squared,
	.half_inner_product = avx2_half_inner_product,
	.half_l1 = avx2_half_l1,
	.half_cosine = avx2_half_cosine,
	.half_to_float = avx2_half_to_float,
	.float_to_half = avx2_float_to_half,
	.bit_hamming = avx2_bit_hamming,
	.bit_jaccard = avx2_bit_jaccard,
	.sparse_l2_squared = block_sparse_l2_squared,
	.sparse_ip = block_sparse_ip,
	.sparse_l1 = block_sparse_l1,
	.hot2_ip = avx2_hot2_ip,
	.hot4_ip = avx2_hot4_ip,
	.hot8_ip = avx2_hot8_ip,
	.hot4_l1 = avx2_hot4_l1,
	.hot8_l1 = avx2_hot8_l1,
	.hot_fit = avx2_hot_fit,
	.node12_ip = avx2_node12_ip,
	.node10_ip = avx2_node10_ip,
	.node12_l1 = avx2_node12_l1,
	.node10_l1 = avx2_node10_l1,
	.node12_decode = avx2_node12_decode,
	.node10_decode = avx2_node10_decode,
	.i8_ip = avx2_i8_ip,
	.i8_l1 = avx2_i8_l1,
	.panel_put = avx2_panel_put,
	.panel_ip = avx2_panel_ip,
	.nearest_of_16 = avx2_nearest_of_16,
	.rows4_ip = avx2_rows4_ip,
	.select_below = vdb_distance_plain_select_below,
	.scan_below = avx2_scan_below,
	.fht = avx2_fht
};

#endif							/* __x86_64__ */
