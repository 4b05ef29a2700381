/*
 * test_distance.c
 *	  Unit test of src/distance: every kernel of every level that this machine
 *	  has, against references computed in double precision (or exact integers)
 *	  by the plainest code possible, and against the scalar table.  Prints TAP.
 *
 * All inputs lie in heap buffers of exactly the size the contract names, at
 * various misalignments, so that a run under AddressSanitizer finds any read
 * or write outside them.
 *
 * test_distance_avx512_simde.c includes this file with VDB_SIMDE defined; then
 * the levels tested are the scalar one and the emulated AVX-512 one.
 */
#include "../../src/distance/distance_private.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tap.h"

/* ---- random numbers and buffers ---- */

/* Uniform in lower .. upper, both included. */
static int
random_int(int lower, int upper)
{
	return lower + (int) (random_u32() % (uint32_t) (upper - lower + 1));
}

/* A heap block whose last `size` bytes are the buffer at `data`. */
typedef struct Buffer
{
	void	   *block;
	void	   *data;
	size_t		size;
} Buffer;

static Buffer
buffer_new(size_t size, size_t offset)
{
	Buffer		buffer;

	buffer.block = malloc(size + offset);
	if (buffer.block == NULL)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	buffer.data = (char *) buffer.block + offset;
	buffer.size = size;
	memset(buffer.data, 0, size);
	return buffer;
}

static void
buffer_free(Buffer buffer)
{
	free(buffer.block);
}

static float
get_float(const Buffer *buffer, size_t i)
{
	float		f;

	memcpy(&f, (char *) buffer->data + i * sizeof(f), sizeof(f));
	return f;
}

static void
set_float(const Buffer *buffer, size_t i, float f)
{
	memcpy((char *) buffer->data + i * sizeof(f), &f, sizeof(f));
}

static const size_t offsets[] = {0, 4, 1, 13};

#define NUM_OFFSETS (sizeof(offsets) / sizeof(offsets[0]))

/* The lengths tested: all the short ones, then neighbours of round numbers. */
static const size_t ranges[][2] = {
	{0, 70}, {95, 130}, {255, 257}, {784, 784}, {1000, 1000}, {1536, 1536},
	{2000, 2000}
};

static size_t lengths[200];
static size_t num_lengths = 0;

static void
fill_lengths(void)
{
	size_t		i;
	size_t		n;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
	{
		for (n = ranges[i][0]; n <= ranges[i][1]; n++)
			lengths[num_lengths++] = n;
	}
}

typedef enum Pattern
{
	PATTERN_UNIFORM,			/* -1 .. 1 */
	PATTERN_ZERO,
	PATTERN_DENORMAL,			/* below FLT_MIN */
	PATTERN_MIXED,				/* exponents -40 .. 40 */
	PATTERN_POSITIVE			/* 0 .. 1, sums without cancellation */
} Pattern;

#define NUM_PATTERNS 5

static void
fill_floats(const Buffer *buffer, size_t n, Pattern pattern)
{
	size_t		i;

	for (i = 0; i < n; i++)
	{
		float		f = (float) random_int(-(1 << 24), 1 << 24) / (1 << 24);

		switch (pattern)
		{
			case PATTERN_UNIFORM:
				break;
			case PATTERN_ZERO:
				f = random_int(0, 1) != 0 ? 0.0f : -0.0f;
				break;
			case PATTERN_DENORMAL:
				f = ldexpf(f, -127);
				break;
			case PATTERN_MIXED:
				f = ldexpf(f, random_int(-40, 40));
				break;
			case PATTERN_POSITIVE:
				f = fabsf(f);
				break;
		}
		set_float(buffer, i, f);
	}
}

/*
 * Whether `got` may be the float sum of n terms: `exact` is the exact sum and
 * `absolute` that of the terms' absolute values.  Summing in any order errs by
 * less than n units of rounding of the latter; a term is itself the result of
 * a few roundings, each of which may instead lose half of the least denormal.
 */
static bool
near(double got, double exact, double absolute, size_t n)
{
	double		tolerance = (double) (n + 8) *
		(ldexp(absolute, -24) + ldexp(1.0, -149));

	return fabs(got - exact) <= tolerance;
}

/* ---- float against float ---- */

typedef enum FloatKernel
{
	FLOAT_L2,
	FLOAT_IP,
	FLOAT_L1,
	FLOAT_COSINE_IP,
	FLOAT_COSINE_AA,
	FLOAT_COSINE_BB
} FloatKernel;

static float
call_float(const VdbKernels *k, FloatKernel kernel, size_t n, const float *a,
		   const float *b)
{
	switch (kernel)
	{
		case FLOAT_L2:
			return k->l2_squared(n, a, b);
		case FLOAT_IP:
			return k->inner_product(n, a, b);
		case FLOAT_L1:
			return k->l1(n, a, b);
		case FLOAT_COSINE_IP:
			return k->cosine(n, a, b).ip;
		case FLOAT_COSINE_AA:
			return k->cosine(n, a, b).aa;
		case FLOAT_COSINE_BB:
			return k->cosine(n, a, b).bb;
	}
	return 0.0f;
}

static double
float_term(FloatKernel kernel, double a, double b)
{
	switch (kernel)
	{
		case FLOAT_L2:
			return (a - b) * (a - b);
		case FLOAT_IP:
		case FLOAT_COSINE_IP:
			return a * b;
		case FLOAT_L1:
			return fabs(a - b);
		case FLOAT_COSINE_AA:
			return a * a;
		case FLOAT_COSINE_BB:
			return b * b;
	}
	return 0.0;
}

static bool
check_float_case(const VdbKernels *k, FloatKernel kernel, size_t n,
				 const Buffer *a, const Buffer *b, int pattern)
{
	double		exact = 0.0;
	double		absolute = 0.0;
	double		got;
	double		scalar;
	size_t		i;

	for (i = 0; i < n; i++)
	{
		double		term = float_term(kernel, get_float(a, i),
									  get_float(b, i));

		exact += term;
		absolute += fabs(term);
	}
	got = call_float(k, kernel, n, a->data, b->data);
	scalar = call_float(&vdb_kernels_scalar, kernel, n, a->data, b->data);
	if (!near(got, exact, absolute, n) || !near(got, scalar, 2 * absolute, n))
		return failure("n %zu pattern %d: got %.9g, exact %.9g, scalar %.9g",
					   n, pattern, got, exact, scalar);
	return true;
}

/* Overflow to infinity, and NaN and infinity at every position. */
static bool
check_float_special(const VdbKernels *k, FloatKernel kernel)
{
	bool		uses_a = kernel != FLOAT_COSINE_BB;
	size_t		n;

	for (n = 1; n <= 140; n++)
	{
		Buffer		a = buffer_new(n * sizeof(float), 0);
		Buffer		b = buffer_new(n * sizeof(float), 4);
		const Buffer *special = uses_a ? &a : &b;
		size_t		i;
		float		got;

		for (i = 0; i < n; i++)
		{
			set_float(&a, i, FLT_MAX);
			set_float(&b, i, kernel == FLOAT_L2 || kernel == FLOAT_L1 ?
					  -FLT_MAX : FLT_MAX);
		}
		got = call_float(k, kernel, n, a.data, b.data);
		if (!isinf(got) || got < 0)
			return failure("n %zu: FLT_MAX gives %g", n, got);

		fill_floats(&a, n, PATTERN_POSITIVE);
		fill_floats(&b, n, PATTERN_POSITIVE);
		for (i = 0; i < n; i++)
		{
			float		saved_a = get_float(&a, i);
			float		saved_b = get_float(&b, i);

			if (is_left_out())
				continue;
			set_float(special, i, NAN);
			got = call_float(k, kernel, n, a.data, b.data);
			if (!isnan(got))
				return failure("n %zu: NaN at %zu gives %g", n, i, got);

			set_float(&a, i, 1.0f);
			set_float(&b, i, 1.0f);
			set_float(special, i, INFINITY);
			got = call_float(k, kernel, n, a.data, b.data);
			if (!isinf(got) || got < 0)
				return failure("n %zu: infinity at %zu gives %g", n, i, got);

			set_float(&a, i, saved_a);
			set_float(&b, i, saved_b);
		}
		buffer_free(a);
		buffer_free(b);
	}
	return true;
}

static bool
check_float(const VdbKernels *k, FloatKernel kernel)
{
	bool		passed = true;
	size_t		l;
	size_t		o;
	int			pattern;

	for (l = 0; l < num_lengths; l++)
	{
		size_t		n = lengths[l];

		for (o = 0; o < NUM_OFFSETS; o++)
		{
			Buffer		a = buffer_new(n * sizeof(float), offsets[o]);
			Buffer		b = buffer_new(n * sizeof(float),
									   offsets[NUM_OFFSETS - 1 - o]);

			for (pattern = 0; pattern < NUM_PATTERNS && passed; pattern++)
			{
				if (is_left_out())
					continue;
				fill_floats(&a, n, pattern);
				fill_floats(&b, n, pattern);
				passed = check_float_case(k, kernel, n, &a, &b, pattern);
			}
			buffer_free(a);
			buffer_free(b);
		}
	}
	return passed && check_float_special(k, kernel);
}

static bool
check_l2_squared(const VdbKernels *k)
{
	return check_float(k, FLOAT_L2);
}

static bool
check_inner_product(const VdbKernels *k)
{
	return check_float(k, FLOAT_IP);
}

static bool
check_l1(const VdbKernels *k)
{
	return check_float(k, FLOAT_L1);
}

static bool
check_cosine(const VdbKernels *k)
{
	return check_float(k, FLOAT_COSINE_IP) &&
		check_float(k, FLOAT_COSINE_AA) && check_float(k, FLOAT_COSINE_BB);
}

/* ---- half against half ---- */

#define HALF_INFINITY 0x7c00
#define HALF_NAN 0x7e00
#define HALF_MAX 0x7bff			/* 65504 */
#define HALF_SIGN 0x8000

static uint16_t
get_half(const Buffer *buffer, size_t i)
{
	uint16_t	half;

	memcpy(&half, (char *) buffer->data + i * sizeof(half), sizeof(half));
	return half;
}

static void
set_half(const Buffer *buffer, size_t i, uint16_t half)
{
	memcpy((char *) buffer->data + i * sizeof(half), &half, sizeof(half));
}

/* The number that the bits of a finite half stand for. */
static double
half_value(uint16_t half)
{
	int			exponent = half >> 10 & 31;
	int			mantissa = half & 0x3ff;
	double		value = exponent == 0 ? ldexp(mantissa, -24) :
		ldexp(1024 + mantissa, exponent - 25);

	return (half & HALF_SIGN) != 0 ? -value : value;
}

/* PATTERN_MIXED is any finite half. */
static void
fill_halfs(const Buffer *buffer, size_t n, Pattern pattern)
{
	size_t		i;

	for (i = 0; i < n; i++)
	{
		uint16_t	sign = (uint16_t) (random_int(0, 1) * HALF_SIGN);
		uint16_t	half = (uint16_t) random_int(0x2c00, 0x3c00);	/* 1/16 .. 1 */

		switch (pattern)
		{
			case PATTERN_UNIFORM:
				break;
			case PATTERN_ZERO:
				half = 0;
				break;
			case PATTERN_DENORMAL:
				half = (uint16_t) random_int(0, 0x3ff);
				break;
			case PATTERN_MIXED:
				half = (uint16_t) random_int(0, HALF_MAX);
				break;
			case PATTERN_POSITIVE:
				sign = 0;
				break;
		}
		set_half(buffer, i, sign | half);
	}
}

static float
call_half(const VdbKernels *k, FloatKernel kernel, size_t n, const Buffer *a,
		  const Buffer *b)
{
	const uint16_t *x = a->data;
	const uint16_t *y = b->data;

	switch (kernel)
	{
		case FLOAT_L2:
			return k->half_l2_squared(n, x, y);
		case FLOAT_IP:
			return k->half_inner_product(n, x, y);
		case FLOAT_L1:
			return k->half_l1(n, x, y);
		case FLOAT_COSINE_IP:
			return k->half_cosine(n, x, y).ip;
		case FLOAT_COSINE_AA:
			return k->half_cosine(n, x, y).aa;
		case FLOAT_COSINE_BB:
			return k->half_cosine(n, x, y).bb;
	}
	return 0.0f;
}

static bool
check_half_case(const VdbKernels *k, FloatKernel kernel, size_t n,
				const Buffer *a, const Buffer *b, int pattern)
{
	double		exact = 0.0;
	double		absolute = 0.0;
	double		got;
	double		scalar;
	size_t		i;

	for (i = 0; i < n; i++)
	{
		double		term = float_term(kernel, half_value(get_half(a, i)),
									  half_value(get_half(b, i)));

		exact += term;
		absolute += fabs(term);
	}
	got = call_half(k, kernel, n, a, b);
	scalar = call_half(&vdb_kernels_scalar, kernel, n, a, b);
	if (!near(got, exact, absolute, n) || !near(got, scalar, 2 * absolute, n))
		return failure("n %zu pattern %d: got %.9g, exact %.9g, scalar %.9g",
					   n, pattern, got, exact, scalar);
	return true;
}

/* The largest halfs overflow no float; NaN and infinity at every position. */
static bool
check_half_special(const VdbKernels *k, FloatKernel kernel)
{
	bool		uses_a = kernel != FLOAT_COSINE_BB;
	bool		differs = kernel == FLOAT_L2 || kernel == FLOAT_L1;
	size_t		n;

	for (n = 1; n <= 140; n++)
	{
		Buffer		a = buffer_new(n * sizeof(uint16_t), 0);
		Buffer		b = buffer_new(n * sizeof(uint16_t), 2);
		const Buffer *special = uses_a ? &a : &b;
		size_t		i;
		float		got;

		for (i = 0; i < n; i++)
		{
			set_half(&a, i, HALF_MAX);
			set_half(&b, i, HALF_MAX | (differs ? HALF_SIGN : 0));
		}
		if (!check_half_case(k, kernel, n, &a, &b, -1))
			return false;

		fill_halfs(&a, n, PATTERN_POSITIVE);
		fill_halfs(&b, n, PATTERN_POSITIVE);
		for (i = 0; i < n; i++)
		{
			uint16_t	saved = get_half(special, i);

			if (is_left_out())
				continue;
			set_half(special, i, HALF_NAN);
			got = call_half(k, kernel, n, &a, &b);
			if (!isnan(got))
				return failure("n %zu: NaN at %zu gives %g", n, i, got);

			set_half(special, i, HALF_INFINITY);
			got = call_half(k, kernel, n, &a, &b);
			if (!isinf(got) || got < 0)
				return failure("n %zu: infinity at %zu gives %g", n, i, got);

			set_half(special, i, saved);
		}
		buffer_free(a);
		buffer_free(b);
	}
	return true;
}

static bool
check_half(const VdbKernels *k, FloatKernel kernel)
{
	bool		passed = true;
	size_t		n;
	size_t		o;
	int			pattern;

	/* all lengths up to 200, then ever longer ones */
	for (n = 0; n <= 2000; n += n < 200 ? 1 : 3 * n / 7)
	{
		for (o = 0; o < NUM_OFFSETS; o++)
		{
			Buffer		a = buffer_new(n * sizeof(uint16_t), offsets[o]);
			Buffer		b = buffer_new(n * sizeof(uint16_t),
									   offsets[NUM_OFFSETS - 1 - o]);

			for (pattern = 0; pattern < NUM_PATTERNS && passed; pattern++)
			{
				if (is_left_out())
					continue;
				fill_halfs(&a, n, pattern);
				fill_halfs(&b, n, pattern);
				passed = check_half_case(k, kernel, n, &a, &b, pattern);
			}
			buffer_free(a);
			buffer_free(b);
		}
	}
	return passed && check_half_special(k, kernel);
}

static bool
check_half_l2_squared(const VdbKernels *k)
{
	return check_half(k, FLOAT_L2);
}

static bool
check_half_inner_product(const VdbKernels *k)
{
	return check_half(k, FLOAT_IP);
}

static bool
check_half_l1(const VdbKernels *k)
{
	return check_half(k, FLOAT_L1);
}

static bool
check_half_cosine(const VdbKernels *k)
{
	return check_half(k, FLOAT_COSINE_IP) &&
		check_half(k, FLOAT_COSINE_AA) && check_half(k, FLOAT_COSINE_BB);
}

/* ---- half to float and back ---- */

static uint32_t
float_bits(float f)
{
	uint32_t	bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float
float_from_bits(uint32_t bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* The float of any half, NaN made quiet. */
static uint32_t
expected_float_bits(uint16_t half)
{
	uint32_t	sign = (uint32_t) (half & HALF_SIGN) << 16;
	uint32_t	mantissa = half & 0x3ff;

	if ((half & HALF_INFINITY) != HALF_INFINITY)
		return float_bits((float) half_value(half));
	return sign | (mantissa == 0 ? 0x7f800000 : 0x7fc00000 | mantissa << 13);
}

/* The half nearest to any float: a multiple of the unit that its exponent has. */
static uint16_t
expected_half(float f)
{
	uint16_t	sign = (uint16_t) (float_bits(f) >> 16 & HALF_SIGN);
	double		magnitude = fabs((double) f);
	int			exponent;

	if (isnan(f))
		return sign | HALF_NAN | (float_bits(f) >> 13 & 0x3ff);
	if (magnitude >= 65520.0)
		return sign | HALF_INFINITY;
	exponent = magnitude < ldexp(1.0, -14) ? -14 : ilogb(magnitude);
	return sign | (uint16_t) (((exponent + 14) << 10) +
							  (int) nearbyint(ldexp(magnitude, 10 - exponent)));
}

/* Every half, in calls of the lengths 0 to 200 and at all offsets. */
static bool
check_half_to_float(const VdbKernels *k)
{
	uint32_t	half = 0;
	size_t		n = 0;

	while (half <= UINT16_MAX)
	{
		Buffer		in = buffer_new(n * sizeof(uint16_t), offsets[n % NUM_OFFSETS]);
		Buffer		out = buffer_new(n * sizeof(float), offsets[n / 4 % NUM_OFFSETS]);
		size_t		i;

		for (i = 0; i < n; i++)
			set_half(&in, i, (uint16_t) (half + i));
		k->half_to_float(n, in.data, out.data);
		for (i = 0; i < n; i++)
		{
			uint32_t	expected = expected_float_bits((uint16_t) (half + i));

			if (float_bits(get_float(&out, i)) != expected)
				return failure("%04x: got %08x, want %08x",
							   (unsigned) (uint16_t) (half + i),
							   float_bits(get_float(&out, i)), expected);
		}
		buffer_free(in);
		buffer_free(out);
		half += n;
		n = (n + 1) % 201;
	}
	return true;
}

static bool
check_float_to_half_case(const VdbKernels *k, const Buffer *in, size_t n, size_t offset)
{
	Buffer		out = buffer_new(n * sizeof(uint16_t), offset);
	bool		passed = true;
	size_t		i;

	k->float_to_half(n, in->data, out.data);
	for (i = 0; i < n && passed; i++)
	{
		float		f = get_float(in, i);

		if (get_half(&out, i) != expected_half(f))
			passed = failure("n %zu, %08x: got %04x, want %04x", n,
							 float_bits(f), get_half(&out, i), expected_half(f));
	}
	buffer_free(out);
	return passed;
}

/*
 * Each half, what is halfway to the next one, and the floats beside these, of
 * both signs; then random bits in calls of all lengths.
 */
static bool
check_float_to_half(const VdbKernels *k)
{
	size_t		n;
	size_t		i;
	uint32_t	half;

	for (half = 0; half < HALF_INFINITY; half++)
	{
		float		value = (float) half_value((uint16_t) half);
		float		halfway = half == HALF_MAX ? 65520.0f :
			(float) ((half_value((uint16_t) half) + half_value((uint16_t) (half + 1))) / 2);
		const float cases[] = {
			value, nextafterf(value, INFINITY), nextafterf(halfway, 0.0f),
			halfway, nextafterf(halfway, INFINITY)
		};
		Buffer		in = buffer_new(10 * sizeof(float), 0);
		bool		passed;

		for (i = 0; i < 5; i++)
		{
			set_float(&in, i, cases[i]);
			set_float(&in, 5 + i, -cases[i]);
		}
		passed = is_left_out() || check_float_to_half_case(k, &in, 10, 0);
		buffer_free(in);
		if (!passed)
			return false;
	}

	for (n = 0; n <= 2000; n++)
	{
		size_t		length = n % 201;
		Buffer		in = buffer_new(length * sizeof(float), offsets[n % NUM_OFFSETS]);
		bool		passed;

		for (i = 0; i < length; i++)
		{
			uint32_t	bits = random_u32();

			/* mostly exponents that a half has */
			if (random_int(0, 3) != 0)
				bits = (bits & 0x807fffff) | (uint32_t) random_int(100, 144) << 23;
			set_float(&in, i, float_from_bits(bits));
		}
		passed = is_left_out() || check_float_to_half_case(k, &in, length, offsets[n / 4 % NUM_OFFSETS]);
		buffer_free(in);
		if (!passed)
			return false;
	}
	return true;
}

/* ---- bit strings ---- */

typedef enum BitPattern
{
	BIT_RANDOM,
	BIT_ONES,
	BIT_ZEROS,
	BIT_OPPOSITE,				/* each bit in one of the two */
	BIT_SINGLE					/* one bit in all */
} BitPattern;

#define NUM_BIT_PATTERNS 5

static void
fill_bits(size_t n, uint8_t *a, uint8_t *b, BitPattern pattern)
{
	size_t		i;

	for (i = 0; i < n; i++)
	{
		a[i] = pattern == BIT_ONES ? 255 : (uint8_t) random_u32();
		b[i] = pattern == BIT_ONES ? 255 : (uint8_t) random_u32();
		if (pattern == BIT_OPPOSITE)
			b[i] = (uint8_t) ~a[i];
		if (pattern == BIT_ZEROS || pattern == BIT_SINGLE)
			a[i] = b[i] = 0;
	}
	if (n > 0 && pattern == BIT_SINGLE)
		a[random_int(0, (int) n - 1)] = (uint8_t) (1 << random_int(0, 7));
}

static uint64_t
count_ones(unsigned byte)
{
	uint64_t	ones = 0;

	for (; byte != 0; byte >>= 1)
		ones += byte & 1;
	return ones;
}

static bool
check_bit_case(const VdbKernels *k, size_t n, size_t offset, BitPattern pattern)
{
	Buffer		a = buffer_new(n, offset);
	Buffer		b = buffer_new(n, offset + 1);
	const uint8_t *x = a.data;
	const uint8_t *y = b.data;
	uint64_t	differ = 0;
	uint64_t	both = 0;
	uint64_t	either = 0;
	uint64_t	hamming;
	VdbJaccardParts jaccard;
	size_t		i;

	fill_bits(n, a.data, b.data, pattern);
	for (i = 0; i < n; i++)
	{
		differ += count_ones(x[i] ^ y[i]);
		both += count_ones(x[i] & y[i]);
		either += count_ones(x[i] | y[i]);
	}
	hamming = k->bit_hamming(n, x, y);
	jaccard = k->bit_jaccard(n, x, y);
	buffer_free(a);
	buffer_free(b);
	if (hamming != differ || jaccard.both != both || jaccard.either != either)
		return failure("n %zu pattern %d: got %llu, %llu, %llu, exact %llu, %llu, %llu",
					   n, (int) pattern, (unsigned long long) hamming,
					   (unsigned long long) jaccard.both,
					   (unsigned long long) jaccard.either,
					   (unsigned long long) differ, (unsigned long long) both,
					   (unsigned long long) either);
	return true;
}

static bool
check_bit(const VdbKernels *k)
{
	int			pattern;
	size_t		l;
	size_t		o;

	for (pattern = 0; pattern < NUM_BIT_PATTERNS; pattern++)
	{
		for (l = 0; l < num_lengths; l++)
		{
			for (o = 0; o < NUM_OFFSETS; o++)
			{
				if (!is_left_out() &&
					!check_bit_case(k, lengths[l], offsets[o], pattern))
					return false;
			}
		}
		if (!check_bit_case(k, 1000000, 1, pattern))
			return false;
	}
	return true;
}

/* ---- sparse vectors ---- */

typedef struct Sparse
{
	size_t		n;
	Buffer		indices;
	Buffer		values;
} Sparse;

static int32_t
get_index(const Sparse *v, size_t i)
{
	int32_t		index;

	memcpy(&index, (char *) v->indices.data + i * sizeof(index), sizeof(index));
	return index;
}

static void
set_index(const Sparse *v, size_t i, int32_t index)
{
	memcpy((char *) v->indices.data + i * sizeof(index), &index, sizeof(index));
}

/* Room for n elements, whose indices are unset. */
static Sparse
sparse_new(size_t n, size_t offset, Pattern pattern)
{
	Sparse		v;
	size_t		i;

	v.n = n;
	v.indices = buffer_new(n * sizeof(int32_t), offset);
	v.values = buffer_new(n * sizeof(float), offset + 1);
	fill_floats(&v.values, n, pattern);
	for (i = 0; i < n; i++)
	{
		if (get_float(&v.values, i) == 0)
			set_float(&v.values, i, 1);
	}
	return v;
}

static void
sparse_free(Sparse v)
{
	buffer_free(v.indices);
	buffer_free(v.values);
}

/*
 * Indices for a vector: n of first .. first + n - 1 + gaps, all such choices
 * being equally likely; so without gaps the vector is dense.
 */
static void
choose_indices(const Sparse *v, int32_t first, int gaps)
{
	int			left = (int) v->n;
	int			places = left + gaps;
	size_t		i = 0;
	int32_t		index;

	for (index = first; left > 0; index++, places--)
	{
		if (random_int(1, places) <= left)
		{
			set_index(v, i++, index);
			left--;
		}
	}
}

typedef double (*SparseKernel) (size_t, const int32_t *, const float *,
								size_t, const int32_t *, const float *);

typedef enum SparseTest
{
	TEST_SPARSE_L2,
	TEST_SPARSE_IP,
	TEST_SPARSE_L1
} SparseTest;

static SparseKernel
sparse_kernel(const VdbKernels *k, SparseTest test)
{
	return test == TEST_SPARSE_L2 ? k->sparse_l2_squared :
		test == TEST_SPARSE_IP ? k->sparse_ip : k->sparse_l1;
}

static double
sparse_exact_term(SparseTest test, double a, double b)
{
	return test == TEST_SPARSE_L2 ? (a - b) * (a - b) :
		test == TEST_SPARSE_IP ? a * b : fabs(a - b);
}

/*
 * The plainest way: each element of one looks through all of the other.  Every
 * term and the sum are in double, so only their order may make a difference.
 */
static bool
check_sparse_pair(const VdbKernels *k, const Sparse *a, const Sparse *b,
				  const char *what)
{
	int			test;

	for (test = TEST_SPARSE_L2; test <= TEST_SPARSE_L1; test++)
	{
		double		exact = 0;
		double		absolute = 0;
		double		got;
		size_t		i;
		size_t		j;

		for (i = 0; i < a->n; i++)
		{
			double		other = 0;
			double		term;

			for (j = 0; j < b->n; j++)
			{
				if (get_index(b, j) == get_index(a, i))
					other = get_float(&b->values, j);
			}
			term = sparse_exact_term(test, get_float(&a->values, i), other);
			exact += term;
			absolute += fabs(term);
		}
		for (j = 0; j < b->n; j++)
		{
			bool		matched = false;
			double		term;

			for (i = 0; i < a->n; i++)
				matched = matched || get_index(a, i) == get_index(b, j);
			term = matched ? 0 : sparse_exact_term(test, 0, get_float(&b->values, j));
			exact += term;
			absolute += fabs(term);
		}
		got = sparse_kernel(k, test) (a->n, a->indices.data, a->values.data,
									  b->n, b->indices.data, b->values.data);
		if (!(fabs(got - exact) <= ldexp(absolute * (double) (a->n + b->n + 8), -53)))
			return failure("%s, %zu and %zu elements, kernel %d: got %.17g, exact %.17g",
						   what, a->n, b->n, test, got, exact);
	}
	return true;
}

/* Lengths of a and b: short ones of all kinds, and each on its own. */
static const size_t sparse_lengths[] = {
	0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 129, 300
};

#define NUM_SPARSE_LENGTHS (sizeof(sparse_lengths) / sizeof(sparse_lengths[0]))

/* From nothing in common to everything. */
static const int sparse_gaps[] = {0, 1, 3, 10, 100, 5000};

#define NUM_SPARSE_GAPS (sizeof(sparse_gaps) / sizeof(sparse_gaps[0]))

static bool
check_sparse_lengths(const VdbKernels *k, size_t na, size_t nb, int round)
{
	Pattern		pattern = round % 2 != 0 ? PATTERN_MIXED : PATTERN_UNIFORM;
	Sparse		a = sparse_new(na, offsets[round % NUM_OFFSETS], pattern);
	Sparse		b = sparse_new(nb, offsets[(round + 1) % NUM_OFFSETS], pattern);
	bool		passed = true;
	size_t		g;

	for (g = 0; g < NUM_SPARSE_GAPS && passed; g++)
	{
		choose_indices(&a, 0, sparse_gaps[g]);
		choose_indices(&b, 0, sparse_gaps[g]);
		passed = check_sparse_pair(k, &a, &b, "random");
	}

	/* one after the other, with and without a common end, at both limits */
	choose_indices(&a, 0, 0);
	choose_indices(&b, (int32_t) na, 0);
	passed = passed && check_sparse_pair(k, &a, &b, "a before b");
	choose_indices(&b, na > 0 ? (int32_t) na - 1 : 0, 0);
	passed = passed && check_sparse_pair(k, &a, &b, "a touches b");
	choose_indices(&b, (int32_t) (INT32_MAX - nb), 0);
	passed = passed && check_sparse_pair(k, &a, &b, "b at the end");
	choose_indices(&a, (int32_t) (INT32_MAX - na), 0);
	passed = passed && check_sparse_pair(k, &a, &b, "both at the end");

	/* even against odd indices */
	for (g = 0; g < na; g++)
		set_index(&a, g, (int32_t) (2 * g));
	for (g = 0; g < nb; g++)
		set_index(&b, g, (int32_t) (2 * g + 1));
	passed = passed && check_sparse_pair(k, &a, &b, "alternating");

	sparse_free(a);
	sparse_free(b);
	return passed;
}

/* A vector is at no distance from itself, whatever the order of summation. */
static bool
check_sparse_same(const VdbKernels *k, size_t n)
{
	Sparse		a = sparse_new(n, 4, PATTERN_MIXED);
	bool		passed;

	choose_indices(&a, 0, 1000);
	passed = k->sparse_l2_squared(n, a.indices.data, a.values.data,
								  n, a.indices.data, a.values.data) == 0 &&
		k->sparse_l1(n, a.indices.data, a.values.data,
					 n, a.indices.data, a.values.data) == 0;
	if (!passed)
		failure("%zu elements: away from itself", n);
	sparse_free(a);
	return passed;
}

static bool
check_sparse(const VdbKernels *k)
{
	size_t		l;
	size_t		m;

	for (l = 0; l < NUM_SPARSE_LENGTHS; l++)
	{
		for (m = 0; m < NUM_SPARSE_LENGTHS; m++)
		{
			if (!is_left_out() &&
				!check_sparse_lengths(k, sparse_lengths[l], sparse_lengths[m],
									  (int) (l + m)))
				return false;
		}
		if (!check_sparse_same(k, sparse_lengths[l]))
			return false;
	}
	return check_sparse_lengths(k, 20, 4000, 0) &&
		check_sparse_lengths(k, 4000, 1, 1);
}

/* ---- hot codes ---- */

/* Packs code values u into the plane-strided code, dimension by dimension. */
static Buffer
hot_pack(int bits, size_t cbytes, const int *u, size_t offset)
{
	Buffer		code = buffer_new(cbytes, offset);
	size_t		dims = cbytes * 8 / (size_t) bits;
	size_t		d;

	for (d = 0; d < dims; d++)
	{
		size_t		plane = d / cbytes;

		((uint8_t *) code.data)[d % cbytes] |=
			(uint8_t) (u[d] << (plane * (size_t) bits));
	}
	return code;
}

/* Lays out the query q, in dimension order, as VDB_HOT_BLOCK's comment says. */
static Buffer
hot_query(int bits, size_t cbytes, const int *q, size_t offset)
{
	size_t		planes = 8 / (size_t) bits;
	size_t		blocks = cbytes / 32 + (cbytes % 32 != 0 ? 1 : 0);
	Buffer		query = buffer_new(planes * blocks * 32, offset);
	int8_t	   *out = query.data;
	size_t		p;
	size_t		t;
	size_t		i;

	for (p = 0; p < planes; p++)
	{
		for (t = 0; t < blocks; t++)
		{
			bool		partial = cbytes < 32 * t + 32;
			size_t		start = !partial ? 32 * t :
				cbytes >= 32 ? cbytes - 32 : 0;

			for (i = 0; i < 32; i++)
			{
				size_t		byte = start + i;
				bool		counted = byte < 32 * t;

				if (byte < cbytes && !counted)
					out[(p * blocks + t) * 32 + i] =
						(int8_t) q[p * cbytes + byte];
			}
		}
	}
	return query;
}

typedef int32_t (*HotKernel) (size_t, const int8_t *, const uint8_t *);

static HotKernel
hot_kernel(const VdbKernels *k, int bits)
{
	return bits == 2 ? k->hot2_ip : bits == 4 ? k->hot4_ip : k->hot8_ip;
}

typedef enum HotPattern
{
	HOT_RANDOM,
	HOT_ALL_MAX,				/* greatest code, q = 127 */
	HOT_ALL_MIN,				/* greatest code, q = -127 */
	HOT_BYTE_SIGNS,				/* greatest code, q = 127, -127, 127 ... */
	HOT_RUN_SIGNS				/* signs that change every 5 dimensions */
} HotPattern;

#define NUM_HOT_PATTERNS 5

static bool
check_hot_case(const VdbKernels *k, int bits, size_t cbytes, size_t offset,
			   HotPattern pattern)
{
	size_t		dims = cbytes * 8 / (size_t) bits;
	int			top = (1 << bits) - 1;
	int		   *u = malloc((dims + 1) * sizeof(int));
	int		   *q = malloc((dims + 1) * sizeof(int));
	int64_t		exact = 0;
	int32_t		got;
	int32_t		scalar;
	Buffer		code;
	Buffer		query;
	size_t		d;

	for (d = 0; d < dims; d++)
	{
		u[d] = top;
		q[d] = 127;
		switch (pattern)
		{
			case HOT_RANDOM:
				u[d] = random_int(0, top);
				q[d] = random_int(-127, 127);
				break;
			case HOT_ALL_MAX:
				break;
			case HOT_ALL_MIN:
				q[d] = -127;
				break;
			case HOT_BYTE_SIGNS:
				q[d] = d % 2 != 0 ? -127 : 127;
				break;
			case HOT_RUN_SIGNS:
				q[d] = d / 5 % 2 != 0 ? -127 : 127;
				break;
		}
		exact += (int64_t) u[d] * q[d];
	}
	code = hot_pack(bits, cbytes, u, offset);
	query = hot_query(bits, cbytes, q, offset + 1);
	got = hot_kernel(k, bits) (cbytes, query.data, code.data);
	scalar = hot_kernel(&vdb_kernels_scalar, bits) (cbytes, query.data,
													code.data);
	buffer_free(code);
	buffer_free(query);
	free(u);
	free(q);
	if (got != exact || got != scalar)
		return failure("bytes %zu pattern %d: got %d, exact %lld, scalar %d",
					   cbytes, pattern, got, (long long) exact, scalar);
	return true;
}

static bool
check_hot(const VdbKernels *k, int bits)
{
	int			pattern;
	size_t		l;
	size_t		o;

	for (pattern = 0; pattern < NUM_HOT_PATTERNS; pattern++)
	{
		for (l = 0; l < num_lengths; l++)
		{
			for (o = 0; o < NUM_OFFSETS; o++)
			{
				if (!is_left_out() &&
					!check_hot_case(k, bits, lengths[l], offsets[o], pattern))
					return false;
			}
		}
		if (!check_hot_case(k, bits, 65536 * (size_t) bits / 8, 1, pattern))
			return false;
	}
	return true;
}

static bool
check_hot2_ip(const VdbKernels *k)
{
	return check_hot(k, 2);
}

static bool
check_hot4_ip(const VdbKernels *k)
{
	return check_hot(k, 4);
}

static bool
check_hot8_ip(const VdbKernels *k)
{
	return check_hot(k, 8);
}

/*
 * Scales for the l1 kernels: ordinary ones, zero, one whose products are
 * denormal, and one large enough to drown the query.
 */
static const float scales[] = {0.037f, -1.5f, 0.0f, 1e-41f, 1e20f};

#define NUM_SCALES (sizeof(scales) / sizeof(scales[0]))

static float
call_hot_l1(const VdbKernels *k, int bits, size_t dims, const Buffer *q,
			float scale, const Buffer *code)
{
	return (bits == 4 ? k->hot4_l1 : k->hot8_l1) (dims, q->data, scale,
												  code->data);
}

static bool
check_hot_l1_case(const VdbKernels *k, int bits, size_t cbytes, size_t offset,
				  int pattern, float scale)
{
	size_t		dims = cbytes * 8 / (size_t) bits;
	int			top = (1 << bits) - 1;
	int		   *u = malloc((dims + 1) * sizeof(int));
	Buffer		q = buffer_new(dims * sizeof(float), offset);
	Buffer		code;
	double		exact = 0.0;
	double		absolute = 0.0;
	double		got;
	double		scalar;
	bool		passed = true;
	size_t		d;

	fill_floats(&q, dims, pattern);
	for (d = 0; d < dims; d++)
	{
		double		w;

		u[d] = random_int(0, 9) == 0 ? random_int(0, 1) * top :
			random_int(0, top);
		w = (double) scale * (2 * u[d] - top);
		exact += fabs((double) get_float(&q, d) - w);
		absolute += fabs((double) get_float(&q, d)) + fabs(w);
	}
	code = hot_pack(bits, cbytes, u, offset + 1);
	got = call_hot_l1(k, bits, dims, &q, scale, &code);
	scalar = call_hot_l1(&vdb_kernels_scalar, bits, dims, &q, scale, &code);
	if (!near(got, exact, absolute, dims) ||
		!near(got, scalar, 2 * absolute, dims))
		passed = failure("dims %zu pattern %d scale %g: got %.9g, "
						 "exact %.9g, scalar %.9g",
						 dims, pattern, scale, got, exact, scalar);

	/* NaN at the ends and somewhere between */
	for (d = 0; d < dims && passed; d += 1 + (dims > 200 ? 97 : 0))
	{
		float		saved = get_float(&q, d);

		set_float(&q, d, NAN);
		if (!isnan(call_hot_l1(k, bits, dims, &q, scale, &code)))
			passed = failure("dims %zu: NaN at %zu lost", dims, d);
		set_float(&q, d, saved);
	}
	buffer_free(code);
	buffer_free(q);
	free(u);
	return passed;
}

static bool
check_hot_l1(const VdbKernels *k, int bits)
{
	int			pattern;
	size_t		l;
	size_t		s;

	for (pattern = 0; pattern < NUM_PATTERNS; pattern++)
	{
		for (l = 0; l < num_lengths; l++)
		{
			for (s = 0; s < NUM_SCALES; s++)
			{
				if (!is_left_out() &&
					!check_hot_l1_case(k, bits, lengths[l],
									   offsets[(l + s) % NUM_OFFSETS],
									   pattern, scales[s]))
					return false;
			}
		}
	}
	return true;
}

static bool
check_hot4_l1(const VdbKernels *k)
{
	return check_hot_l1(k, 4);
}

static bool
check_hot8_l1(const VdbKernels *k)
{
	return check_hot_l1(k, 8);
}

/* ---- node codes ---- */

#define NODE_MIN (-2056)
#define NODE_MAX 2039

/* Random values v, extremes among them, and their packed code of so many bits. */
static void
node_random(int bits, size_t dims, size_t offset, int *v, Buffer *hi, Buffer *lo)
{
	int			step = bits == 12 ? 1 : 4;
	size_t		together = (size_t) (8 / (bits - 8));	/* dimensions in a byte of lo */
	size_t		d;

	*hi = buffer_new(dims, offset);
	*lo = buffer_new(dims / together, offset + 1);
	for (d = 0; d < dims; d++)
	{
		int			low;

		v[d] = random_int(NODE_MIN, NODE_MAX);
		if (random_int(0, 7) == 0)
			v[d] = random_int(0, 1) != 0 ? NODE_MIN : NODE_MAX;
		low = (v[d] - NODE_MIN) % 16 / step;
		v[d] -= (v[d] - NODE_MIN) % step;
		((int8_t *) hi->data)[d] = (int8_t) ((v[d] + 8 - low * step) / 16);
		((uint8_t *) lo->data)[d / together] |=
			(uint8_t) (low << (d % together * (size_t) (bits - 8)));
	}
}

typedef enum NodeKernel
{
	NODE_IP,
	NODE_L1
} NodeKernel;

static float
call_node(const VdbKernels *k, NodeKernel kernel, int bits, size_t dims,
		  const Buffer *q, float scale, const Buffer *hi, const Buffer *lo)
{
	if (kernel == NODE_IP)
		return (bits == 12 ? k->node12_ip : k->node10_ip) (dims, q->data, hi->data, lo->data);
	return (bits == 12 ? k->node12_l1 : k->node10_l1) (dims, q->data, scale, hi->data, lo->data);
}

static bool
check_node_case(const VdbKernels *k, NodeKernel kernel, int bits, size_t dims,
				size_t offset, int pattern, float scale)
{
	int		   *v = malloc((dims + 1) * sizeof(int));
	Buffer		q = buffer_new(dims * sizeof(float), offset);
	Buffer		hi;
	Buffer		lo;
	double		exact = 0.0;
	double		absolute = 0.0;
	double		got;
	double		scalar;
	bool		passed = true;
	size_t		d;

	node_random(bits, dims, offset, v, &hi, &lo);
	fill_floats(&q, dims, pattern);
	for (d = 0; d < dims; d++)
	{
		double		qd = get_float(&q, d);

		if (kernel == NODE_IP)
		{
			exact += qd * v[d];
			absolute += fabs(qd * v[d]);
		}
		else
		{
			exact += fabs(qd - (double) scale * v[d]);
			absolute += fabs(qd) + fabs((double) scale * v[d]);
		}
	}
	got = call_node(k, kernel, bits, dims, &q, scale, &hi, &lo);
	scalar = call_node(&vdb_kernels_scalar, kernel, bits, dims, &q, scale, &hi, &lo);
	if (!near(got, exact, absolute, dims) ||
		!near(got, scalar, 2 * absolute, dims))
		passed = failure("dims %zu pattern %d scale %g: got %.9g, "
						 "exact %.9g, scalar %.9g",
						 dims, pattern, scale, got, exact, scalar);

	for (d = 0; d < dims && passed; d += 1 + (dims > 200 ? 97 : 0))
	{
		float		saved = get_float(&q, d);

		set_float(&q, d, NAN);
		if (!isnan(call_node(k, kernel, bits, dims, &q, scale, &hi, &lo)))
			passed = failure("dims %zu: NaN at %zu lost", dims, d);
		set_float(&q, d, saved);
	}
	buffer_free(hi);
	buffer_free(lo);
	buffer_free(q);
	free(v);
	return passed;
}

static bool
check_node(const VdbKernels *k, NodeKernel kernel, int bits)
{
	size_t		num_scales = kernel == NODE_IP ? 1 : NUM_SCALES;
	int			pattern;
	size_t		l;
	size_t		s;

	for (pattern = 0; pattern < NUM_PATTERNS; pattern++)
	{
		for (l = 0; l < num_lengths; l++)
		{
			if (lengths[l] * (size_t) (bits - 8) % 8 != 0)
				continue;
			for (s = 0; s < num_scales; s++)
			{
				if (!is_left_out() &&
					!check_node_case(k, kernel, bits, lengths[l],
									 offsets[(l / 2 + s) % NUM_OFFSETS],
									 pattern, scales[s]))
					return false;
			}
		}
	}
	return true;
}

static bool
check_node12_ip(const VdbKernels *k)
{
	return check_node(k, NODE_IP, 12);
}

static bool
check_node10_ip(const VdbKernels *k)
{
	return check_node(k, NODE_IP, 10);
}

static bool
check_node12_l1(const VdbKernels *k)
{
	return check_node(k, NODE_L1, 12);
}

static bool
check_node10_l1(const VdbKernels *k)
{
	return check_node(k, NODE_L1, 10);
}

/* One rounding per element, so all levels must give the same floats. */
static bool
check_node_decode(const VdbKernels *k, int bits)
{
	size_t		l;
	size_t		s;

	for (l = 0; l < num_lengths; l++)
	{
		size_t		dims = lengths[l];

		if (dims * (size_t) (bits - 8) % 8 != 0)
			continue;
		for (s = 0; s < NUM_SCALES; s++)
		{
			size_t		offset = offsets[(l / 2 + s) % NUM_OFFSETS];
			int		   *v = malloc((dims + 1) * sizeof(int));
			Buffer		out = buffer_new(dims * sizeof(float), offset);
			Buffer		hi;
			Buffer		lo;
			size_t		d;

			node_random(bits, dims, offset, v, &hi, &lo);
			(bits == 12 ? k->node12_decode : k->node10_decode)
				(dims, scales[s], hi.data, lo.data, out.data);
			for (d = 0; d < dims; d++)
			{
				float		want = scales[s] * (float) v[d];

				if (get_float(&out, d) != want)
					return failure("dims %zu, %zu: got %.9g, want %.9g",
								   dims, d, get_float(&out, d), want);
			}
			buffer_free(hi);
			buffer_free(lo);
			buffer_free(out);
			free(v);
		}
	}
	return true;
}

static bool
check_node12_decode(const VdbKernels *k)
{
	return check_node_decode(k, 12);
}

static bool
check_node10_decode(const VdbKernels *k)
{
	return check_node_decode(k, 10);
}

/* ---- encoding a hot code ---- */

static bool
check_hot_fit_case(const VdbKernels *k, size_t dims, int32_t top, Pattern pattern, float inverse,
				   size_t offset)
{
	Buffer		x = buffer_new(dims * sizeof(float), offset);
	double		dots[8] = {1, 2, 3, 4, 5, 6, 7, 8};	/* of no meaning */
	int32_t		squares[8] = {8, 7, 6, 5, 4, 3, 2, 1};
	double		want_dots[8] = {0};
	int32_t		want_squares[8] = {0};
	bool		same;

	fill_floats(&x, dims, pattern);
	for (size_t d = 0; d < dims; d++)
	{
		/* each operation rounds to a float */
		volatile float place = get_float(&x, d) * inverse;
		long		level;

		place = place + (float) top;
		place = place * 0.5f;
		level = place < 0 ? 0 : place > (float) top ? top : lrintf(place);
		want_dots[d % 8] += (double) get_float(&x, d) * (double) (2 * level - top);
		want_squares[d % 8] += (int32_t) ((2 * level - top) * (2 * level - top));
	}
	k->hot_fit(dims, x.data, inverse, top, dots, squares);
	same = memcmp(dots, want_dots, sizeof(dots)) == 0 && memcmp(squares, want_squares, sizeof(squares)) == 0;
	buffer_free(x);
	return same || failure("dims %zu, top %d, pattern %d, inverse %g: not the same sums",
						   dims, top, (int) pattern, inverse);
}

static bool
check_hot_fit(const VdbKernels *k)
{
	static const int32_t tops[] = {3, 15, 255};
	static const float inverses[] = {0.0f, 1.0f, 2.0f, 3.7f, 100.0f, 1e-3f};

	for (size_t l = 0; l < num_lengths; l++)
	{
		for (size_t i = 0; lengths[l] % 8 == 0 && i < 3 * 6 * NUM_PATTERNS; i++)
		{
			if (!check_hot_fit_case(k, lengths[l], tops[i % 3], i / 18, inverses[i / 3 % 6],
									offsets[(i + l) % NUM_OFFSETS]))
				return false;
		}
	}
	return true;
}

static bool
check_nearest_case(const VdbKernels *k, size_t dims, Pattern pattern, float factor, size_t offset)
{
	Buffer		x = buffer_new(dims * sizeof(float), offset);
	Buffer		values = buffer_new(16 * dims * sizeof(float), offset);
	float		sums[16] = {0};
	uint32_t	best = 0;
	uint32_t	got;

	fill_floats(&x, dims, pattern);
	fill_floats(&values, 16 * dims, PATTERN_UNIFORM);
	for (size_t d = 0; d < dims; d++)
	{
		/* some of the 16 are alike, and each operation rounds to a float */
		volatile float value = get_float(&x, d) * factor;

		set_float(&values, 16 * d + 11, get_float(&values, 16 * d + 3));
		set_float(&values, 16 * d + 15, get_float(&values, 16 * d + 3));
		for (int i = 0; i < 16; i++)
		{
			volatile float apart = value - get_float(&values, 16 * d + (size_t) i);

			apart = apart * apart;
			sums[i] += apart;
		}
	}
	for (uint32_t i = 1; i < 16; i++)
		best = sums[i] < sums[best] ? i : best;
	got = k->nearest_of_16(dims, x.data, factor, values.data);
	buffer_free(x);
	buffer_free(values);
	return got == best || failure("dims %zu, pattern %d, factor %g: %u, not %u", dims, (int) pattern, factor, got, best);
}

static bool
check_nearest(const VdbKernels *k)
{
	static const float factors[] = {1.0f, 0.37f, 0.0f, -20.0f, 1e38f, INFINITY};

	for (size_t l = 0; l < num_lengths && lengths[l] <= 70; l++)
	{
		for (size_t i = 0; i < 6 * 6 * NUM_PATTERNS; i++)
		{
			if (!check_nearest_case(k, lengths[l], (Pattern) (i % NUM_PATTERNS), factors[i % 6], offsets[(i + l) % NUM_OFFSETS]))
				return false;
		}
	}
	return true;
}

static bool
check_rows4_case(const VdbKernels *k, size_t dims, Pattern pattern, size_t offset)
{
	Buffer		rows = buffer_new(4 * dims * sizeof(float), offset);
	Buffer		x = buffer_new(dims * sizeof(float), offset);
	float		got[4];
	bool		passed = true;

	fill_floats(&rows, 4 * dims, PATTERN_UNIFORM);
	fill_floats(&x, dims, pattern);
	k->rows4_ip(dims, (const float *) rows.data, (const float *) x.data, got);
	for (size_t r = 0; r < 4; r++)
	{
		volatile float lanes[8] = {0};
		volatile float sums[4];
		volatile float even;
		volatile float odd;
		volatile float all;

		/* each operation rounds to a float */
		for (size_t d = 0; d < dims; d++)
		{
			volatile float product = get_float(&rows, r * dims + d) * get_float(&x, d);

			lanes[d % 8] += product;
		}
		for (int l = 0; l < 4; l++)
			sums[l] = lanes[l] + lanes[l + 4];
		even = sums[0] + sums[2];
		odd = sums[1] + sums[3];
		all = even + odd;
		passed = passed && (got[r] == all || (isnan(got[r]) && isnan(all)));
	}
	buffer_free(rows);
	buffer_free(x);
	return passed || failure("dims %zu, pattern %d", dims, (int) pattern);
}

static bool
check_rows4(const VdbKernels *k)
{
	for (size_t dims = 0; dims <= 1000; dims += dims < 80 ? 8 : 104)
	{
		for (size_t i = 0; i < 6 * NUM_PATTERNS; i++)
		{
			if (!check_rows4_case(k, dims, (Pattern) (i % NUM_PATTERNS), offsets[i % NUM_OFFSETS]))
				return false;
		}
	}
	return true;
}

static bool
check_select_case(const VdbKernels *k, size_t n, float bound, size_t offset)
{
	Buffer		scores = buffer_new(n * sizeof(float), offset);
	uint32_t   *out = malloc(n * sizeof(uint32_t));
	size_t		count;
	size_t		want = 0;
	bool		right = true;

	fill_floats(&scores, n, PATTERN_UNIFORM);
	for (size_t i = 0; i < n; i++)
	{
		int			kind = random_int(0, 15);

		if (kind < 4)
			set_float(&scores, i, kind == 0 ? bound : kind == 1 ? NAN : kind == 2 ? INFINITY : -INFINITY);
	}
	count = k->select_below(n, scores.data, bound, out);
	for (size_t i = 0; i < n && right; i++)
	{
		if (get_float(&scores, i) < bound)
			right = want < count && out[want++] == i;
	}
	right = right && want == count;
	buffer_free(scores);
	free(out);
	return right || failure("n %zu, bound %g: not those below", n, bound);
}

static bool
check_select_below(const VdbKernels *k)
{
	static const float bounds[] = {0.0f, -0.5f, 0.9f, INFINITY, -INFINITY, NAN};

	for (size_t l = 0; l < num_lengths; l++)
	{
		for (size_t i = 0; i < 6; i++)
		{
			if (!check_select_case(k, lengths[l], bounds[i], offsets[(i + l) % NUM_OFFSETS]))
				return false;
		}
	}
	return true;
}

/* ---- scan groups ---- */

/* Values of factors that a lane may have beside numbers. */
static void
spoil_lanes(const Buffer *factors)
{
	static const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f};

	for (size_t i = 0; i < 4; i++)
		set_float(factors, (size_t) random_int(0, VDB_SCAN_LANES - 1), odd[i]);
}

/* Is a lane's score what its table entries sum up to, and its bit as its score? */
static bool
scan_lane_is_right(size_t bytes, const Buffer *table, const Buffer *group, VdbScanScale s,
				   size_t lane, double add, double scale, float score, bool below)
{
	const uint8_t *t = table->data;
	uint32_t	sum = 0;
	double		exact;
	double		size;

	for (size_t b = 0; b < bytes; b++)
	{
		uint8_t		code = ((uint8_t *) group->data)[vdb_distance_scan_place(bytes, lane, b)];

		sum += t[16 * b + code % 16] + t[16 * (bytes + b) + code / 16];
	}
	exact = add - scale * ((double) s.unit * sum + s.low);
	size = fabs(add) + fabs(scale) * (fabs((double) s.unit * sum) + fabs(s.low));
	if (below != (score < s.bound))
		return failure("bytes %zu lane %zu: bit %d of score %g, bound %g", bytes, lane, below, score, s.bound);
	if (!isfinite(size))
		return isfinite(score) ? failure("bytes %zu lane %zu: %g of what is no number", bytes, lane, score) : true;
	return fabs(score - exact) <= size * 4 * FLT_EPSILON ||
		failure("bytes %zu lane %zu: got %g, exact %g", bytes, lane, score, exact);
}

static bool
check_scan_case(const VdbKernels *k, size_t bytes, int most, VdbScanScale s, size_t offset)
{
	Buffer		table = buffer_new(32 * bytes, offset);
	Buffer		group = buffer_new(32 * bytes, offset + 1);
	Buffer		add = buffer_new(VDB_SCAN_LANES * sizeof(float), offset);
	Buffer		scale = buffer_new(VDB_SCAN_LANES * sizeof(float), offset);
	Buffer		scores = buffer_new(VDB_SCAN_LANES * sizeof(float), offset);
	uint32_t	below;
	bool		right = true;

	for (size_t i = 0; i < 32 * bytes; i++)
	{
		((uint8_t *) table.data)[i] = (uint8_t) (most > 0 ? most : random_int(0, VDB_SCAN_MOST));
		((uint8_t *) group.data)[i] = (uint8_t) random_int(0, 255);
	}
	fill_floats(&add, VDB_SCAN_LANES, PATTERN_UNIFORM);
	fill_floats(&scale, VDB_SCAN_LANES, PATTERN_UNIFORM);
	spoil_lanes(&add);
	if (random_int(0, 3) == 0)
		spoil_lanes(&scale);
	below = k->scan_below(bytes, table.data, group.data, add.data, scale.data, s, scores.data);
	for (size_t lane = 0; lane < VDB_SCAN_LANES && right; lane++)
		right = scan_lane_is_right(bytes, &table, &group, s, lane, get_float(&add, lane),
								   get_float(&scale, lane), get_float(&scores, lane),
								   (below >> lane & 1) != 0);
	buffer_free(table);
	buffer_free(group);
	buffer_free(add);
	buffer_free(scale);
	buffer_free(scores);
	return right;
}

static bool
check_scan_below(const VdbKernels *k)
{
	static const VdbScanScale scales[] = {
		{1.0f, 0.0f, 0.0f}, {0.01f, -3.0f, 0.5f}, {1e-3f, 0.25f, INFINITY},
		{1.0f, -100.0f, -INFINITY}, {0.5f, 1.0f, NAN}
	};

	for (size_t l = 0; l < num_lengths; l++)
	{
		for (size_t i = 0; i < 10; i++)
		{
			if (!check_scan_case(k, lengths[l], i < 2 ? VDB_SCAN_MOST : 0, scales[i % 5],
								 offsets[(i + l) % NUM_OFFSETS]))
				return false;
		}
	}
	return true;
}

/* ---- int8 against int8 ---- */

/* Fills with random values, or with all `value` unless that is 0. */
static Buffer
int8_new(size_t n, size_t offset, int value)
{
	Buffer		buffer = buffer_new(n, offset);
	size_t		i;

	for (i = 0; i < n; i++)
		((int8_t *) buffer.data)[i] = (int8_t) (value != 0 ? value :
												random_int(-128, 127));
	return buffer;
}

static bool
check_i8_ip_case(const VdbKernels *k, size_t n, size_t offset, int av, int bv)
{
	Buffer		a = int8_new(n, offset, av);
	Buffer		b = int8_new(n, offset + 1, bv);
	int64_t		exact = 0;
	int32_t		got;
	size_t		i;

	for (i = 0; i < n; i++)
		exact += ((int8_t *) a.data)[i] * ((int8_t *) b.data)[i];
	got = k->i8_ip(n, a.data, b.data);
	buffer_free(a);
	buffer_free(b);
	if (got != exact)
		return failure("n %zu values %d %d: got %d, exact %lld", n, av, bv,
					   got, (long long) exact);
	return true;
}

static bool
check_i8_ip(const VdbKernels *k)
{
	static const int values[][2] = {
		{0, 0}, {127, 127}, {-128, -128}, {-128, 127}, {127, -128}, {-1, 127}
	};
	size_t		p;
	size_t		l;
	size_t		o;

	for (p = 0; p < sizeof(values) / sizeof(values[0]); p++)
	{
		for (l = 0; l < num_lengths; l++)
		{
			for (o = 0; o < NUM_OFFSETS; o++)
			{
				if (!is_left_out() &&
					!check_i8_ip_case(k, lengths[l], offsets[o], values[p][0],
									  values[p][1]))
					return false;
			}
		}
		if (!check_i8_ip_case(k, 65536, 1, values[p][0], values[p][1]))
			return false;
	}
	return true;
}

/*
 * n plain rows and `rows` of a panel, all of this value, or random ones for 0.
 * Around the plain rows, which are `gap` bytes apart, and in what the panel has
 * beyond its rows, lie bytes that must not matter; where the kernels may not even
 * look there is nothing.
 */
static bool
check_panel_case(const VdbKernels *k, size_t dims, size_t rows, size_t n, size_t gap,
				 size_t offset, int av, int bv)
{
	size_t		stride = dims + gap;
	Buffer		a = int8_new(n > 0 ? (n - 1) * stride + dims : 0, offset, av);
	Buffer		b = int8_new(rows * dims, offset + 1, bv);
	Buffer		panel = int8_new(vdb_distance_panel_bytes(dims, rows), offset, 0);
	Buffer		out = buffer_new(n * rows * sizeof(int32_t), offset / 4 * 4);
	Buffer		row = buffer_new(dims, offset);
	const int32_t *got = out.data;
	bool		passed = true;

	for (size_t i = 0; i + 1 < n; i++)
		memset((int8_t *) a.data + i * stride + dims, 0x55, gap);
	/* the rows in any order */
	for (size_t j = 0; j < rows; j++)
	{
		size_t		at = rows - 1 - (j + rows / 3) % rows;

		memcpy(row.data, (int8_t *) b.data + at * dims, dims);
		k->panel_put(dims, panel.data, at, row.data);
	}
	k->panel_ip(dims, rows, panel.data, n, a.data, stride, out.data);
	for (size_t i = 0; i < n && passed; i++)
	{
		for (size_t j = 0; j < rows && passed; j++)
		{
			int32_t		exact = vdb_kernels_scalar.i8_ip(dims, (int8_t *) a.data + i * stride,
														 (int8_t *) b.data + j * dims);

			if (got[i * rows + j] != exact)
				passed = failure("dims %zu row %zu of %zu, panel row %zu of %zu, values %d %d: "
								 "got %d, exact %d", dims, i, n, j, rows, av, bv,
								 got[i * rows + j], exact);
		}
	}
	buffer_free(a);
	buffer_free(b);
	buffer_free(panel);
	buffer_free(out);
	buffer_free(row);
	return passed;
}

/* Emulated instructions take long: of those, one in so many. */
#ifdef VDB_SIMDE
#define PANEL_EVERY 11
#else
#define PANEL_EVERY 1
#endif

/* All numbers of rows around what a kernel takes at once, and some of dims. */
static bool
check_panel(const VdbKernels *k)
{
	static const int values[][2] = {
		{0, 0}, {127, 127}, {-128, -128}, {-128, 127}, {127, -128}, {0, -128}, {-128, 0}
	};
	static const size_t dims[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 31, 63, 66, 104, 129, 511, 512, 513, 1537};
	static const size_t many[][2] = {{5, 64}, {13, 65}, {37, 250}, {25, 300}};
	const size_t num_values = sizeof(values) / sizeof(values[0]);
	size_t		c = 0;

	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
	{
		for (size_t rows = 0; rows <= 50; rows++)
		{
			for (size_t n = 0; n <= 26; n += 1 + random_u32() % 3)
			{
				const int  *v = values[c++ % num_values];

				/* the small ones, the neighbours of blocks, and some of the rest */
				if (is_left_out() || c % PANEL_EVERY != 0 || (dims[d] > 70 && rows > 2 && rows % 16 > 1 && c % 7 != 0))
					continue;
				if (!check_panel_case(k, dims[d], rows, n, c % 3 * 5, offsets[c % NUM_OFFSETS],
									  v[0], v[1]))
					return false;
			}
		}
		for (size_t m = 0; m < sizeof(many) / sizeof(many[0]); m++)
			if (!is_left_out() && !check_panel_case(k, dims[d], many[m][1], many[m][0], 8, 1, 0, 0))
				return false;
	}
	for (size_t p = 0; p < num_values; p++)
		if (!check_panel_case(k, 65536, 2, 3, 1, 1, values[p][0], values[p][1]) ||
			!check_panel_case(k, 65535, 17, 5, 1, 1, values[p][0], values[p][1]))
			return false;
	return true;
}

/* A row of a panel is written without touching others. */
static bool
check_panel_put(const VdbKernels *k)
{
	for (size_t dims = 0; dims <= 70; dims++)
	{
		size_t		rows = 1 + random_u32() % 40;
		size_t		size = vdb_distance_panel_bytes(dims, rows);
		Buffer		whole = buffer_new(size, 0);
		Buffer		again = buffer_new(size, 0);
		Buffer		a = int8_new(rows * dims, 1, 0);

		for (size_t j = 0; j < rows; j++)
			k->panel_put(dims, whole.data, j, (int8_t *) a.data + j * dims);
		for (size_t j = rows; j-- > 0;)
			k->panel_put(dims, again.data, j, (int8_t *) a.data + j * dims);
		if (memcmp(whole.data, again.data, size) != 0)
			return failure("dims %zu rows %zu: the order of rows matters", dims, rows);
		buffer_free(whole);
		buffer_free(again);
		buffer_free(a);
	}
	return true;
}

static bool
check_i8_l1(const VdbKernels *k)
{
	size_t		l;
	size_t		s;

	for (l = 0; l < num_lengths; l++)
	{
		size_t		n = lengths[l];

		for (s = 0; s < NUM_SCALES; s++)
		{
			float		sa = scales[s];
			float		sb = scales[(s + l) % NUM_SCALES];
			Buffer		a = int8_new(n, offsets[s % NUM_OFFSETS], 0);
			Buffer		b = int8_new(n, offsets[l % NUM_OFFSETS], 0);
			double		exact = 0.0;
			double		absolute = 0.0;
			double		got;
			double		scalar;
			size_t		i;

			for (i = 0; i < n; i++)
			{
				double		wa = (double) sa * ((int8_t *) a.data)[i];
				double		wb = (double) sb * ((int8_t *) b.data)[i];

				exact += fabs(wa - wb);
				absolute += fabs(wa) + fabs(wb);
			}
			got = k->i8_l1(n, sa, a.data, sb, b.data);
			scalar = vdb_kernels_scalar.i8_l1(n, sa, a.data, sb, b.data);
			buffer_free(a);
			buffer_free(b);
			if (!near(got, exact, absolute, n) ||
				!near(got, scalar, 2 * absolute, n))
				return failure("n %zu scales %g %g: got %.9g, exact %.9g, "
							   "scalar %.9g", n, sa, sb, got, exact, scalar);
		}
	}
	return true;
}

/* ---- Walsh-Hadamard transform ---- */

/*
 * Against the matrix itself, entry (i, j) being +1 or -1 by the parity of the
 * bits i and j share; and bit for bit against the scalar kernel.
 */
static bool
check_fht_case(const VdbKernels *k, size_t n, size_t offset, int pattern)
{
	Buffer		x = buffer_new(n * sizeof(float), offset);
	Buffer		got = buffer_new(n * sizeof(float), offset);
	Buffer		scalar = buffer_new(n * sizeof(float), offset);
	double		absolute = 0.0;
	bool		passed = true;
	size_t		i;
	size_t		j;

	fill_floats(&x, n, pattern);
	memcpy(got.data, x.data, x.size);
	memcpy(scalar.data, x.data, x.size);
	k->fht(n, got.data);
	vdb_kernels_scalar.fht(n, scalar.data);

	for (i = 0; i < n; i++)
		absolute += fabs((double) get_float(&x, i));
	for (i = 0; i < n && passed; i++)
	{
		double		exact = 0.0;

		for (j = 0; j < n; j++)
			exact += __builtin_parityll(i & j) ? -get_float(&x, j) :
				get_float(&x, j);
		if (!near(get_float(&got, i), exact, absolute, n))
			passed = failure("n %zu pattern %d, %zu: got %.9g, exact %.9g",
							 n, pattern, i, get_float(&got, i), exact);
	}
	if (memcmp(got.data, scalar.data, got.size) != 0)
		passed = failure("n %zu pattern %d: not the scalar bits", n, pattern);
	buffer_free(x);
	buffer_free(got);
	buffer_free(scalar);
	return passed;
}

static bool
check_fht(const VdbKernels *k)
{
	size_t		n;
	size_t		o;
	int			pattern;

	for (n = 1; n <= 2048; n *= 2)
	{
		for (o = 0; o < (n > 512 ? 1 : NUM_OFFSETS); o++)
		{
			for (pattern = 0; pattern < NUM_PATTERNS; pattern++)
			{
				if (!is_left_out() &&
					!check_fht_case(k, n, offsets[o], pattern))
					return false;
			}
		}
	}
	return true;
}

/* ---- dispatch ---- */

#ifndef VDB_SIMDE

/* Before vdb_distance_init() is called for the first time. */
static void
check_dispatch_start(void)
{
	report(vdb_kernels == &vdb_kernels_scalar,
		   "vdb_kernels is scalar before init");
}

/* Levels below the best one are there, unless they are another architecture's. */
static bool
is_foreign(int level)
{
#if defined(__aarch64__)
	return level == VDB_SIMD_AVX2 || level == VDB_SIMD_AVX512;
#else
	return level == VDB_SIMD_NEON || level == VDB_SIMD_NEON_DOTPROD;
#endif
}

static void
check_dispatch(void)
{
	VdbSimdLevel best = vdb_distance_best();
	bool		passed = true;
	int			level;

	vdb_distance_init();
	vdb_distance_init();
	report(vdb_kernels != NULL && vdb_kernels->level == best,
		   "init picks the best level");

	/* one past the last level is never supported */
	for (level = 0; level <= VDB_SIMD_LEVELS; level++)
	{
		const VdbKernels *before = vdb_kernels;

		if (level <= (int) best && !is_foreign(level))
			continue;
		if (vdb_distance_table((VdbSimdLevel) level) != NULL ||
			vdb_distance_force((VdbSimdLevel) level) ||
			vdb_kernels != before)
			passed = failure("level %d", level);
	}
	report(passed, "forcing an unsupported level changes nothing");

	passed = true;
	for (level = 0; level <= (int) best; level++)
	{
		const VdbKernels *table = vdb_distance_table((VdbSimdLevel) level);

		if (is_foreign(level))
			continue;
		if (table == NULL || (int) table->level != level ||
			!vdb_distance_force((VdbSimdLevel) level) || vdb_kernels != table)
			passed = failure("level %d", level);
	}
	report(passed, "forcing a supported level");

	(void) vdb_distance_force(VDB_SIMD_SCALAR);
	vdb_distance_init();
	report(vdb_kernels->level == best, "init undoes force");

	report(strcmp(vdb_distance_level_name(VDB_SIMD_SCALAR), "scalar") == 0 &&
		   strcmp(vdb_distance_level_name(VDB_SIMD_AVX2), "avx2") == 0 &&
		   strcmp(vdb_distance_level_name(VDB_SIMD_AVX512), "avx512") == 0 &&
		   strcmp(vdb_distance_level_name(VDB_SIMD_NEON), "neon") == 0 &&
		   strcmp(vdb_distance_level_name(VDB_SIMD_NEON_DOTPROD), "neon_dotprod") == 0,
		   "level names");
}

#endif							/* VDB_SIMDE */

static const struct
{
	const char *name;
	bool		(*check) (const VdbKernels *);
}			checks[] =
{
	{"l2_squared", check_l2_squared},
	{"inner_product", check_inner_product},
	{"l1", check_l1},
	{"cosine", check_cosine},
	{"half_l2_squared", check_half_l2_squared},
	{"half_inner_product", check_half_inner_product},
	{"half_l1", check_half_l1},
	{"half_cosine", check_half_cosine},
	{"half_to_float", check_half_to_float},
	{"float_to_half", check_float_to_half},
	{"bit_hamming, bit_jaccard", check_bit},
	{"sparse", check_sparse},
	{"hot2_ip", check_hot2_ip},
	{"hot4_ip", check_hot4_ip},
	{"hot8_ip", check_hot8_ip},
	{"hot4_l1", check_hot4_l1},
	{"hot8_l1", check_hot8_l1},
	{"node12_ip", check_node12_ip},
	{"node10_ip", check_node10_ip},
	{"node12_l1", check_node12_l1},
	{"node10_l1", check_node10_l1},
	{"node12_decode", check_node12_decode},
	{"node10_decode", check_node10_decode},
	{"i8_ip", check_i8_ip},
	{"i8_l1", check_i8_l1},
	{"hot_fit", check_hot_fit},
	{"nearest_of_16", check_nearest},
	{"rows4_ip", check_rows4},
	{"select_below", check_select_below},
	{"scan_below", check_scan_below},
	{"panel_put", check_panel_put},
	{"panel_ip", check_panel},
	{"fht", check_fht}
};

static void
check_table(const VdbKernels *k, const char *level)
{
	size_t		i;

	for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		report(checks[i].check(k), "%s %s", checks[i].name, level);
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	fill_lengths();

#ifdef VDB_SIMDE
	check_table(&vdb_kernels_scalar, "scalar");
	check_table(&vdb_kernels_avx512, "avx512, emulated");
#else
	{
		int			level;

		check_dispatch_start();
		for (level = 0; level < VDB_SIMD_LEVELS; level++)
		{
			const VdbKernels *k = vdb_distance_table((VdbSimdLevel) level);

			if (k != NULL)
				check_table(k, vdb_distance_level_name((VdbSimdLevel) level));
		}
		check_dispatch();
	}
#endif

	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
