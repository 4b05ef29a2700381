/*
 * rotate.c
 *	  Rotations: a seeded random one that costs O(P log P) and stores nothing, and any other,
 *	  by its matrix.
 *
 * Of the random one: four rounds of random signs and a Walsh-Hadamard transform.  Where P is no
 * power of two the transform covers the first 2^k entries in even rounds and
 * the last 2^k in odd ones, and a Givens step mixes entry i with entry
 * i + P/2, so that every input reaches every output.  This is the fast
 * Johnson-Lindenstrauss construction (Ailon and Chazelle, 2009) with the
 * two-window trick of the RaBitQ family of quantisers.
 */
#include <math.h>
#include <string.h>

#include "distance/distance.h"
#include "quant/rotate.h"

#define ROUNDS 4

/* The next 64 random bits of a splitmix64 generator. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

#define MINUS UINT32_C(0x80000000)

/* The signs of four entries, by four random bits. */
static const uint32_t sign_masks[16][4] = {
	{0, 0, 0, 0}, {MINUS, 0, 0, 0}, {0, MINUS, 0, 0}, {MINUS, MINUS, 0, 0},
	{0, 0, MINUS, 0}, {MINUS, 0, MINUS, 0}, {0, MINUS, MINUS, 0}, {MINUS, MINUS, MINUS, 0},
	{0, 0, 0, MINUS}, {MINUS, 0, 0, MINUS}, {0, MINUS, 0, MINUS}, {MINUS, MINUS, 0, MINUS},
	{0, 0, MINUS, MINUS}, {MINUS, 0, MINUS, MINUS}, {0, MINUS, MINUS, MINUS},
	{MINUS, MINUS, MINUS, MINUS}
};

static void
flip_four(const uint32_t *mask, float *x)
{
	uint32_t	bits[4];

	memcpy(bits, x, sizeof(bits));
	for (size_t i = 0; i < 4; i++)
		bits[i] ^= mask[i];
	memcpy(x, bits, sizeof(bits));
}

static void
flip_signs(size_t P, uint64_t *state, float *x)
{
	for (size_t i = 0; i < P; i += 8)
	{
		uint64_t	bits = next_random(state);

		flip_four(sign_masks[bits & 15], x + i);
		flip_four(sign_masks[bits >> 4 & 15], x + i + 4);
	}
}

static void
scale_by(size_t n, float factor, float *x)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= factor;
}

static void
mix_halves(size_t P, float *x)
{
	size_t		half = P / 2;
	const float r = 0.70710678118654752f;

	for (size_t i = 0; i < half; i++)
	{
		float		a = x[i];
		float		b = x[half + i];

		x[i] = (a + b) * r;
		x[half + i] = (a - b) * r;
	}
}

void
vdb_rotate(size_t P, uint64_t seed, float *x)
{
	uint64_t	state = seed;
	size_t		window = 1;

	if (seed == 0)
		return;
	while (window * 2 <= P)
		window *= 2;
	for (int round = 0; round < ROUNDS; round++)
	{
		float	   *part = round % 2 == 0 ? x : x + (P - window);

		flip_signs(P, &state, x);
		vdb_kernels->fht(window, part);
		scale_by(window, 1.0f / sqrtf((float) window), part);
		if (window != P)
			mix_halves(P, x);
	}
}

/* Rows of a matrix that are multiplied at once. */
#define ROWS 4

void
vdb_rotate_by(size_t P, const float *matrix, size_t n, const float *x, float *out)
{
	for (size_t row = 0; row < P; row += ROWS)
	{
		for (size_t j = 0; j < n; j++)
			vdb_kernels->rows4_ip(P, matrix + row * P, x + j * P, out + j * P + row);
	}
}

bool
vdb_rotate_is_sound(size_t P, const float *matrix)
{
	for (size_t row = 0; row < P; row++)
	{
		float		norm2 = vdb_kernels->inner_product(P, matrix + row * P, matrix + row * P);

		if (!(fabsf(norm2 - 1) < 1e-3f))
			return false;
	}
	return true;
}
