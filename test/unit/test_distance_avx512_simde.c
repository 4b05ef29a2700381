/*
 * test_distance_avx512_simde.c
 *	  Runs the checks of test_distance.c on the AVX-512 kernels on machines
 *	  that have no AVX-512, by compiling distance_avx512.c against SIMDe's
 *	  emulation of the intrinsics.  Link it with distance_scalar.c alone, and
 *	  compile it with -Wno-psabi: vectors wider than the target's registers
 *	  are passed by value on purpose.
 *
 * What it proves is the logic of the kernels, not that a compiler accepts them
 * with the real intrinsics, which the ordinary build shows.
 */
#define VDB_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES

#include <simde/x86/fma.h>
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

#include "../../src/distance/distance_private.h"

/*
 * Intrinsics that SIMDe 0.7 lacks, element by element after the manufacturer's
 * definition.  The masked loads and stores touch no masked-off element, so an
 * address sanitizer sees exactly the accesses of the real instructions.
 */
static inline __m512
shim_mm512_maskz_loadu_ps(uint16_t mask, const void *p)
{
	float		lanes[16];
	int			i;

	for (i = 0; i < 16; i++)
	{
		lanes[i] = 0.0f;
		if ((mask >> i & 1) != 0)
			memcpy(&lanes[i], (const char *) p + 4 * i, 4);
	}
	return _mm512_loadu_ps(lanes);
}

static inline void
shim_mm512_mask_storeu_ps(void *p, uint16_t mask, __m512 x)
{
	float		lanes[16];
	int			i;

	_mm512_storeu_ps(lanes, x);
	for (i = 0; i < 16; i++)
	{
		if ((mask >> i & 1) != 0)
			memcpy((char *) p + 4 * i, &lanes[i], 4);
	}
}

static inline __m512i
shim_mm512_maskz_loadu_epi32(uint16_t mask, const void *p)
{
	return _mm512_castps_si512(shim_mm512_maskz_loadu_ps(mask, p));
}

static inline void
shim_mm512_mask_storeu_epi32(void *p, uint16_t mask, __m512i x)
{
	shim_mm512_mask_storeu_ps(p, mask, _mm512_castsi512_ps(x));
}

static inline __m512i
shim_mm512_maskz_loadu_epi8(uint64_t mask, const void *p)
{
	uint8_t		bytes[64];
	int			i;

	for (i = 0; i < 64; i++)
		bytes[i] = (mask >> i & 1) != 0 ? ((const uint8_t *) p)[i] : 0;
	return _mm512_loadu_si512(bytes);
}

static inline __m128i
shim_mm_maskz_loadu_epi8(uint16_t mask, const void *p)
{
	uint8_t		bytes[16];
	int			i;

	for (i = 0; i < 16; i++)
		bytes[i] = (mask >> i & 1) != 0 ? ((const uint8_t *) p)[i] : 0;
	return _mm_loadu_si128((const __m128i *) bytes);
}

static inline __m512i
shim_mm512_srai_epi32(__m512i x, int count)
{
	int32_t		lanes[16];
	int			i;

	_mm512_storeu_si512(lanes, x);
	for (i = 0; i < 16; i++)
		lanes[i] >>= count;
	return _mm512_loadu_si512(lanes);
}

static inline __m512
shim_mm512_cvtepi32_ps(__m512i x)
{
	int32_t		lanes[16];
	float		floats[16];
	int			i;

	_mm512_storeu_si512(lanes, x);
	for (i = 0; i < 16; i++)
		floats[i] = (float) lanes[i];
	return _mm512_loadu_ps(floats);
}

static inline __m512i
shim_mm512_cvtepu16_epi32(__m256i x)
{
	uint16_t	shorts[16];
	int32_t		lanes[16];
	int			i;

	_mm256_storeu_si256((__m256i *) shorts, x);
	for (i = 0; i < 16; i++)
		lanes[i] = shorts[i];
	return _mm512_loadu_si512(lanes);
}

/* SIMDe's adds signed numbers, which overflow. */
static inline __m512i
shim_mm512_add_epi8(__m512i x, __m512i y)
{
	uint8_t		a[64];
	uint8_t		b[64];
	int			i;

	_mm512_storeu_si512(a, x);
	_mm512_storeu_si512(b, y);
	for (i = 0; i < 64; i++)
		a[i] = (uint8_t) (a[i] + b[i]);
	return _mm512_loadu_si512(a);
}

static inline __m512i
shim_mm512_add_epi16(__m512i x, __m512i y)
{
	uint16_t	a[32];
	uint16_t	b[32];
	int			i;

	_mm512_storeu_si512(a, x);
	_mm512_storeu_si512(b, y);
	for (i = 0; i < 32; i++)
		a[i] = (uint16_t) (a[i] + b[i]);
	return _mm512_loadu_si512(a);
}

static inline __m512i
shim_mm512_sub_epi16(__m512i x, __m512i y)
{
	uint16_t	a[32];
	uint16_t	b[32];
	int			i;

	_mm512_storeu_si512(a, x);
	_mm512_storeu_si512(b, y);
	for (i = 0; i < 32; i++)
		a[i] = (uint16_t) (a[i] - b[i]);
	return _mm512_loadu_si512(a);
}

static inline __m512i
shim_mm512_cvtepi8_epi32(__m128i x)
{
	int8_t		bytes[16];
	int32_t		lanes[16];
	int			i;

	_mm_storeu_si128((__m128i *) bytes, x);
	for (i = 0; i < 16; i++)
		lanes[i] = bytes[i];
	return _mm512_loadu_si512(lanes);
}

static inline __m512i
shim_mm512_cvtepu8_epi32(__m128i x)
{
	uint8_t		bytes[16];
	int32_t		lanes[16];
	int			i;

	_mm_storeu_si128((__m128i *) bytes, x);
	for (i = 0; i < 16; i++)
		lanes[i] = bytes[i];
	return _mm512_loadu_si512(lanes);
}

static inline __m256i
shim_mm256_maskz_loadu_epi16(uint16_t mask, const void *p)
{
	uint16_t	words[16];
	int			i;

	for (i = 0; i < 16; i++)
	{
		words[i] = 0;
		if ((mask >> i & 1) != 0)
			memcpy(&words[i], (const char *) p + 2 * i, 2);
	}
	return _mm256_loadu_si256((const __m256i *) words);
}

static inline void
shim_mm256_mask_storeu_epi16(void *p, uint16_t mask, __m256i x)
{
	uint16_t	words[16];
	int			i;

	_mm256_storeu_si256((__m256i *) words, x);
	for (i = 0; i < 16; i++)
	{
		if ((mask >> i & 1) != 0)
			memcpy((char *) p + 2 * i, &words[i], 2);
	}
}

/* The scalar conversions, which the test proves, give the instructions' bits. */
static inline __m512
shim_mm512_cvtph_ps(__m256i x)
{
	uint16_t	words[16];
	float		floats[16];
	int			i;

	_mm256_storeu_si256((__m256i *) words, x);
	for (i = 0; i < 16; i++)
		floats[i] = vdb_distance_half_to_float(words[i]);
	return _mm512_loadu_ps(floats);
}

/* Rounds to nearest whatever is asked for, as nothing else is. */
static inline __m256i
shim_mm512_cvtps_ph(__m512 x, int rounding)
{
	float		floats[16];
	uint16_t	words[16];
	int			i;

	(void) rounding;
	_mm512_storeu_ps(floats, x);
	for (i = 0; i < 16; i++)
		words[i] = vdb_distance_float_to_half(floats[i]);
	return _mm256_loadu_si256((const __m256i *) words);
}

static inline __m512i
shim_mm512_zextsi256_si512(__m256i x)
{
	uint8_t		bytes[64] = {0};

	_mm256_storeu_si256((__m256i *) bytes, x);
	return _mm512_loadu_si512(bytes);
}

static inline __m512d
shim_mm512_cvtps_pd(__m256 x)
{
	float		floats[8];
	double		doubles[8];

	_mm256_storeu_ps(floats, x);
	for (int i = 0; i < 8; i++)
		doubles[i] = floats[i];
	return _mm512_loadu_pd(doubles);
}

static inline __m512d
shim_mm512_cvtepi32_pd(__m256i x)
{
	int32_t		ints[8];
	double		doubles[8];

	_mm256_storeu_si256((__m256i *) ints, x);
	for (int i = 0; i < 8; i++)
		doubles[i] = ints[i];
	return _mm512_loadu_pd(doubles);
}

#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_maskz_loadu_epi32
#undef _mm512_mask_storeu_epi32
#undef _mm512_maskz_loadu_epi8
#undef _mm_maskz_loadu_epi8
#undef _mm512_srai_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi8_epi32
#undef _mm512_sub_epi16
#undef _mm512_add_epi16
#undef _mm512_add_epi8
#undef _mm512_cvtepu8_epi32
#undef _mm256_maskz_loadu_epi16
#undef _mm256_mask_storeu_epi16
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_zextsi256_si512
#define _mm512_maskz_loadu_ps(mask, p) shim_mm512_maskz_loadu_ps(mask, p)
#define _mm512_mask_storeu_ps(p, mask, x) shim_mm512_mask_storeu_ps(p, mask, x)
#define _mm512_maskz_loadu_epi32(mask, p) shim_mm512_maskz_loadu_epi32(mask, p)
#define _mm512_mask_storeu_epi32(p, mask, x) shim_mm512_mask_storeu_epi32(p, mask, x)
#define _mm512_maskz_loadu_epi8(mask, p) shim_mm512_maskz_loadu_epi8(mask, p)
#define _mm_maskz_loadu_epi8(mask, p) shim_mm_maskz_loadu_epi8(mask, p)
#define _mm512_srai_epi32(x, count) shim_mm512_srai_epi32(x, count)
#define _mm512_cvtepi32_ps(x) shim_mm512_cvtepi32_ps(x)
#define _mm512_add_epi8(x, y) shim_mm512_add_epi8(x, y)
#define _mm512_add_epi16(x, y) shim_mm512_add_epi16(x, y)
#define _mm512_sub_epi16(x, y) shim_mm512_sub_epi16(x, y)
#define _mm512_cvtepi8_epi32(x) shim_mm512_cvtepi8_epi32(x)
#define _mm512_cvtepu16_epi32(x) shim_mm512_cvtepu16_epi32(x)
#define _mm512_cvtepu8_epi32(x) shim_mm512_cvtepu8_epi32(x)
#define _mm256_maskz_loadu_epi16(mask, p) shim_mm256_maskz_loadu_epi16(mask, p)
#define _mm256_mask_storeu_epi16(p, mask, x) shim_mm256_mask_storeu_epi16(p, mask, x)
#define _mm512_cvtph_ps(x) shim_mm512_cvtph_ps(x)
#define _mm512_cvtps_ph(x, rounding) shim_mm512_cvtps_ph(x, rounding)
#define _mm512_cvtps_pd(x) shim_mm512_cvtps_pd(x)
#define _mm512_cvtepi32_pd(x) shim_mm512_cvtepi32_pd(x)
#define _mm512_zextsi256_si512(x) shim_mm512_zextsi256_si512(x)

#include "../../src/distance/distance_avx512.c"
#include "test_distance.c"
