/*
 * vector_parse.c
 *	  From the text form of vectors to floats.
 *
 * Loading vectors as text is mostly number parsing, so this does it without
 * strtof() wherever a number has at most 19 significant digits: all that any
 * program prints.  Two ideas carry it.
 *
 * Digits are read eight bytes at a time: a few operations on a 64-bit word tell
 * how many of its bytes are digits, and three multiplications turn those into a
 * number, so there is no branch for each digit to be mispredicted.
 *
 * The decimal w * 10^q becomes a float32 by one division of doubles, whose error
 * seldom matters.  Where it might, or the power is out of a double's reach, w is
 * multiplied by a 128-bit approximation of 5^q (D. Lemire, "Number Parsing at a
 * Gigabyte per Second", 2021).  That this is exact for every 64-bit w, with no
 * case left to fall back on, is shown in N. Mushtak and D. Lemire, "Fast Number
 * Parsing Without Fallback", 2023.
 */
#include "types/vector_parse.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Where the compiler must not weigh size: the loop over the elements. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NO_INLINE __attribute__((noinline))

/* A number of up to 19 digits fits 64 bits. */
#define MAX_DIGITS 19

/* Longer ones are left to strtof(), so that no exponent overflows an int. */
#define MAX_LENGTH 1000
#define MAX_EXPONENT 100000

/*
 * With w < 10^19, w * 10^q is below half the least denormal, 7.0e-46, for all q
 * under MIN_POWER, and above the largest float for all q over MAX_POWER.
 */
#define MIN_POWER (-64)
#define MAX_POWER 38

/* The powers of ten for which w * 10^q can be halfway between two floats. */
#define MIN_TIE_POWER (-17)
#define MAX_TIE_POWER 10

#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define INFINITE_EXPONENT 255
#define INFINITY_BITS ((uint32_t) INFINITE_EXPONENT << MANTISSA_BITS)

/* Powers of ten up to this one are exact as doubles. */
#define MAX_EXACT_POWER 22

/* The bits that a double has more than a float, and their middle value. */
#define EXCESS_BITS ((UINT64_C(1) << 29) - 1)
#define HALFWAY_BITS (UINT64_C(1) << 28)
#define DOUBLE_ERROR 3

/*
 * 5^q for MIN_POWER <= q <= MAX_POWER, scaled by a power of two to 2^127 ..
 * 2^128 - 1.  It is exact for q >= 0 and rounded down for q < -27.  In between,
 * where 5^-q can divide w, it is rounded up: so a product that ought to be exact
 * comes out a little too large, never with all ones below.
 */
static const struct
{
	uint64_t	hi;
	uint64_t	lo;
}			powers_of_five[MAX_POWER - MIN_POWER + 1] = {
	{UINT64_C(0xa87fea27a539e9a5), UINT64_C(0x3f2398d747b36224)},
	{UINT64_C(0xd29fe4b18e88640e), UINT64_C(0x8eec7f0d19a03aad)},
	{UINT64_C(0x83a3eeeef9153e89), UINT64_C(0x1953cf68300424ac)},
	{UINT64_C(0xa48ceaaab75a8e2b), UINT64_C(0x5fa8c3423c052dd7)},
	{UINT64_C(0xcdb02555653131b6), UINT64_C(0x3792f412cb06794d)},
	{UINT64_C(0x808e17555f3ebf11), UINT64_C(0xe2bbd88bbee40bd0)},
	{UINT64_C(0xa0b19d2ab70e6ed6), UINT64_C(0x5b6aceaeae9d0ec4)},
	{UINT64_C(0xc8de047564d20a8b), UINT64_C(0xf245825a5a445275)},
	{UINT64_C(0xfb158592be068d2e), UINT64_C(0xeed6e2f0f0d56712)},
	{UINT64_C(0x9ced737bb6c4183d), UINT64_C(0x55464dd69685606b)},
	{UINT64_C(0xc428d05aa4751e4c), UINT64_C(0xaa97e14c3c26b886)},
	{UINT64_C(0xf53304714d9265df), UINT64_C(0xd53dd99f4b3066a8)},
	{UINT64_C(0x993fe2c6d07b7fab), UINT64_C(0xe546a8038efe4029)},
	{UINT64_C(0xbf8fdb78849a5f96), UINT64_C(0xde98520472bdd033)},
	{UINT64_C(0xef73d256a5c0f77c), UINT64_C(0x963e66858f6d4440)},
	{UINT64_C(0x95a8637627989aad), UINT64_C(0xdde7001379a44aa8)},
	{UINT64_C(0xbb127c53b17ec159), UINT64_C(0x5560c018580d5d52)},
	{UINT64_C(0xe9d71b689dde71af), UINT64_C(0xaab8f01e6e10b4a6)},
	{UINT64_C(0x9226712162ab070d), UINT64_C(0xcab3961304ca70e8)},
	{UINT64_C(0xb6b00d69bb55c8d1), UINT64_C(0x3d607b97c5fd0d22)},
	{UINT64_C(0xe45c10c42a2b3b05), UINT64_C(0x8cb89a7db77c506a)},
	{UINT64_C(0x8eb98a7a9a5b04e3), UINT64_C(0x77f3608e92adb242)},
	{UINT64_C(0xb267ed1940f1c61c), UINT64_C(0x55f038b237591ed3)},
	{UINT64_C(0xdf01e85f912e37a3), UINT64_C(0x6b6c46dec52f6688)},
	{UINT64_C(0x8b61313bbabce2c6), UINT64_C(0x2323ac4b3b3da015)},
	{UINT64_C(0xae397d8aa96c1b77), UINT64_C(0xabec975e0a0d081a)},
	{UINT64_C(0xd9c7dced53c72255), UINT64_C(0x96e7bd358c904a21)},
	{UINT64_C(0x881cea14545c7575), UINT64_C(0x7e50d64177da2e54)},
	{UINT64_C(0xaa242499697392d2), UINT64_C(0xdde50bd1d5d0b9e9)},
	{UINT64_C(0xd4ad2dbfc3d07787), UINT64_C(0x955e4ec64b44e864)},
	{UINT64_C(0x84ec3c97da624ab4), UINT64_C(0xbd5af13bef0b113e)},
	{UINT64_C(0xa6274bbdd0fadd61), UINT64_C(0xecb1ad8aeacdd58e)},
	{UINT64_C(0xcfb11ead453994ba), UINT64_C(0x67de18eda5814af2)},
	{UINT64_C(0x81ceb32c4b43fcf4), UINT64_C(0x80eacf948770ced7)},
	{UINT64_C(0xa2425ff75e14fc31), UINT64_C(0xa1258379a94d028d)},
	{UINT64_C(0xcad2f7f5359a3b3e), UINT64_C(0x096ee45813a04330)},
	{UINT64_C(0xfd87b5f28300ca0d), UINT64_C(0x8bca9d6e188853fc)},
	{UINT64_C(0x9e74d1b791e07e48), UINT64_C(0x775ea264cf55347e)},
	{UINT64_C(0xc612062576589dda), UINT64_C(0x95364afe032a819e)},
	{UINT64_C(0xf79687aed3eec551), UINT64_C(0x3a83ddbd83f52205)},
	{UINT64_C(0x9abe14cd44753b52), UINT64_C(0xc4926a9672793543)},
	{UINT64_C(0xc16d9a0095928a27), UINT64_C(0x75b7053c0f178294)},
	{UINT64_C(0xf1c90080baf72cb1), UINT64_C(0x5324c68b12dd6339)},
	{UINT64_C(0x971da05074da7bee), UINT64_C(0xd3f6fc16ebca5e04)},
	{UINT64_C(0xbce5086492111aea), UINT64_C(0x88f4bb1ca6bcf585)},
	{UINT64_C(0xec1e4a7db69561a5), UINT64_C(0x2b31e9e3d06c32e6)},
	{UINT64_C(0x9392ee8e921d5d07), UINT64_C(0x3aff322e62439fd0)},
	{UINT64_C(0xb877aa3236a4b449), UINT64_C(0x09befeb9fad487c3)},
	{UINT64_C(0xe69594bec44de15b), UINT64_C(0x4c2ebe687989a9b4)},
	{UINT64_C(0x901d7cf73ab0acd9), UINT64_C(0x0f9d37014bf60a11)},
	{UINT64_C(0xb424dc35095cd80f), UINT64_C(0x538484c19ef38c95)},
	{UINT64_C(0xe12e13424bb40e13), UINT64_C(0x2865a5f206b06fba)},
	{UINT64_C(0x8cbccc096f5088cb), UINT64_C(0xf93f87b7442e45d4)},
	{UINT64_C(0xafebff0bcb24aafe), UINT64_C(0xf78f69a51539d749)},
	{UINT64_C(0xdbe6fecebdedd5be), UINT64_C(0xb573440e5a884d1c)},
	{UINT64_C(0x89705f4136b4a597), UINT64_C(0x31680a88f8953031)},
	{UINT64_C(0xabcc77118461cefc), UINT64_C(0xfdc20d2b36ba7c3e)},
	{UINT64_C(0xd6bf94d5e57a42bc), UINT64_C(0x3d32907604691b4d)},
	{UINT64_C(0x8637bd05af6c69b5), UINT64_C(0xa63f9a49c2c1b110)},
	{UINT64_C(0xa7c5ac471b478423), UINT64_C(0x0fcf80dc33721d54)},
	{UINT64_C(0xd1b71758e219652b), UINT64_C(0xd3c36113404ea4a9)},
	{UINT64_C(0x83126e978d4fdf3b), UINT64_C(0x645a1cac083126ea)},
	{UINT64_C(0xa3d70a3d70a3d70a), UINT64_C(0x3d70a3d70a3d70a4)},
	{UINT64_C(0xcccccccccccccccc), UINT64_C(0xcccccccccccccccd)},
	{UINT64_C(0x8000000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xa000000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xc800000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xfa00000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x9c40000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xc350000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xf424000000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x9896800000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xbebc200000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xee6b280000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x9502f90000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xba43b74000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xe8d4a51000000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x9184e72a00000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xb5e620f480000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xe35fa931a0000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x8e1bc9bf04000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xb1a2bc2ec5000000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xde0b6b3a76400000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x8ac7230489e80000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xad78ebc5ac620000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xd8d726b7177a8000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x878678326eac9000), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xa968163f0a57b400), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xd3c21bcecceda100), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x84595161401484a0), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xa56fa5b99019a5c8), UINT64_C(0x0000000000000000)},
	{UINT64_C(0xcecb8f27f4200f3a), UINT64_C(0x0000000000000000)},
	{UINT64_C(0x813f3978f8940984), UINT64_C(0x4000000000000000)},
	{UINT64_C(0xa18f07d736b90be5), UINT64_C(0x5000000000000000)},
	{UINT64_C(0xc9f2c9cd04674ede), UINT64_C(0xa400000000000000)},
	{UINT64_C(0xfc6f7c4045812296), UINT64_C(0x4d00000000000000)},
	{UINT64_C(0x9dc5ada82b70b59d), UINT64_C(0xf020000000000000)},
	{UINT64_C(0xc5371912364ce305), UINT64_C(0x6c28000000000000)},
	{UINT64_C(0xf684df56c3e01bc6), UINT64_C(0xc732000000000000)},
	{UINT64_C(0x9a130b963a6c115c), UINT64_C(0x3c7f400000000000)},
	{UINT64_C(0xc097ce7bc90715b3), UINT64_C(0x4b9f100000000000)},
	{UINT64_C(0xf0bdc21abb48db20), UINT64_C(0x1e86d40000000000)},
	{UINT64_C(0x96769950b50d88f4), UINT64_C(0x1314448000000000)}
};

static const uint64_t powers_of_ten[9] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000
};

static const double exact_powers[MAX_EXACT_POWER + 1] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13,
	1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};

/* A decimal number as it stands in the text: digits * 10^power. */
typedef struct Decimal
{
	uint64_t	digits;
	int			power;
	uint32_t	sign;			/* the sign bit of a float */
} Decimal;

static ALWAYS_INLINE const char *parse_float(const char *text, const char *end,
											 float *value, VdbFloatClass *class);
static ALWAYS_INLINE const char *read_decimal(const char *p, const char *end, Decimal *number);
static inline const char *read_digits(const char *p, const char *end, uint64_t *digits);
static inline uint64_t load_bytes(const char *p, const char *end);
static NO_INLINE uint64_t load_last_bytes(const char *p, const char *end);
static inline uint64_t find_others(uint64_t bytes);
static inline uint64_t convert_digits(uint64_t bytes, int count);
static int	count_leading_zeros(const char *p);
static const char *read_exponent(const char *p, int *exponent);
static uint32_t round_decimal(const Decimal *number);
static inline void multiply_by_power(uint64_t w, int q, uint64_t *high, uint64_t *low);
static inline uint32_t form_float(uint32_t sign, uint32_t exponent, uint32_t mantissa);
static const char *parse_with_strtof(const char *text, float *value, VdbFloatClass *class);

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline const char *
skip_space(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

static inline bool
is_letter(char c)
{
	return (unsigned char) ((c | 0x20) - 'a') < 26;
}

/* Does another number stand here, after white space? */
static NO_INLINE bool
lacks_comma(const char *p, const char *end)
{
	float		value;
	VdbFloatClass class;

	return is_space(p[-1]) && vdb_float_parse(p, end, &value, &class) != p;
}

VdbVectorParseStatus
vdb_vector_parse(const char *text, size_t len, float *out, int max, float limit,
				 VdbVectorParse *result)
{
	const char *end = text + len;
	const char *p = skip_space(text);
	int			dim = 0;

	if (*p != '[')
		return VDB_VECTOR_PARSE_NO_BRACKET;
	p = skip_space(p + 1);
	if (*p == ']')
		return VDB_VECTOR_PARSE_EMPTY;

	for (;;)
	{
		VdbFloatClass class;
		const char *next;

		if (dim == max)
			return VDB_VECTOR_PARSE_TOO_MANY;

		p = skip_space(p);
		next = parse_float(p, end, &out[dim], &class);
		if (next == p)
			return VDB_VECTOR_PARSE_SYNTAX;
		if (class == VDB_FLOAT_FINITE && fabsf(out[dim]) >= limit)
			class = VDB_FLOAT_OVERFLOW;
		switch (class)
		{
			case VDB_FLOAT_FINITE:
				break;
			case VDB_FLOAT_OVERFLOW:
				result->bad = p;
				result->bad_len = next - p;
				return VDB_VECTOR_PARSE_RANGE;
			case VDB_FLOAT_INFINITE:
				return VDB_VECTOR_PARSE_INFINITE;
			case VDB_FLOAT_NAN:
				return VDB_VECTOR_PARSE_NAN;
		}
		dim++;

		p = skip_space(next);
		if (*p != ',')
			break;
		p++;
	}

	if (*p != ']')
		return lacks_comma(p, end) ? VDB_VECTOR_PARSE_NO_COMMA : VDB_VECTOR_PARSE_SYNTAX;
	if (skip_space(p + 1) != end)
		return VDB_VECTOR_PARSE_JUNK;
	result->dim = dim;
	return VDB_VECTOR_PARSE_OK;
}

const char *
vdb_float_parse(const char *text, const char *end, float *value,
				VdbFloatClass *class)
{
	return parse_float(text, end, value, class);
}

/*
 * See vdb_float_parse().  Most numbers take one division of doubles.  The digits
 * are rounded once to become a double, the quotient once more, so it is off by
 * less than DOUBLE_ERROR units of its last place.  Rounding it to float is then
 * right, unless halfway between two floats lies that near.
 */
static ALWAYS_INLINE const char *
parse_float(const char *text, const char *end, float *value,
			VdbFloatClass *class)
{
	Decimal		number;
	const char *next = read_decimal(text, end, &number);
	uint32_t	bits;

	if (next == NULL)
		return parse_with_strtof(text, value, class);

	if (number.digits <= INT64_MAX &&
		number.power <= 0 && number.power >= -MAX_EXACT_POWER)
	{
		double		quotient = (double) (int64_t) number.digits / exact_powers[-number.power];
		uint64_t	quotient_bits;

		memcpy(&quotient_bits, &quotient, sizeof(quotient));
		if (((quotient_bits - HALFWAY_BITS + DOUBLE_ERROR) & EXCESS_BITS) > 2 * DOUBLE_ERROR)
		{
			*value = (float) quotient;
			memcpy(&bits, value, sizeof(bits));
			bits |= number.sign;
			memcpy(value, &bits, sizeof(bits));
			*class = VDB_FLOAT_FINITE;
			return next;
		}
	}

	bits = round_decimal(&number);
	memcpy(value, &bits, sizeof(bits));
	*class = bits << 1 == INFINITY_BITS << 1 ? VDB_FLOAT_OVERFLOW : VDB_FLOAT_FINITE;
	return next;
}

/*
 * Reads [+-]digits[.digits][e[+-]digits].  Returns NULL when the text is not of
 * this form or has too many digits for *number.
 */
static ALWAYS_INLINE const char *
read_decimal(const char *p, const char *end, Decimal *number)
{
	const char *start;
	ptrdiff_t	length;
	int			power = 0;

	/* signs are hard to predict: no branch */
	number->sign = (uint32_t) (*p == '-') << 31;
	p += (*p == '-') | (*p == '+');

	/* one digit before the point is so usual that it has its own way */
	start = p;
	number->digits = 0;
	if (is_digit(p[0]) && !is_digit(p[1]))
		number->digits = *p++ - '0';
	else
		p = read_digits(p, end, &number->digits);
	length = p - start;

	if (*p == '.')
	{
		const char *fraction = p + 1;

		p = read_digits(fraction, end, &number->digits);
		length += p - fraction;
		power = -(int) (p - fraction);
	}

	if ((size_t) length - 1 >= MAX_DIGITS &&
		(length == 0 || length > MAX_LENGTH ||
		 length - count_leading_zeros(start) > MAX_DIGITS))
		return NULL;

	if (is_letter(*p))
	{
		int			exponent = 0;

		if (*p == 'x' || *p == 'X')
			return NULL;
		if (*p == 'e' || *p == 'E')
			p = read_exponent(p, &exponent);
		power += exponent;
	}
	number->power = power;
	return p;
}

/*
 * Appends the digits at p to *digits, which wraps when there are too many.  The
 * loop runs on what the branch predictor can guess: whether eight more digits
 * follow; the number of the last few is computed, not tested.
 */
static inline const char *
read_digits(const char *p, const char *end, uint64_t *digits)
{
	for (;;)
	{
		uint64_t	bytes = load_bytes(p, end);
		uint64_t	others = find_others(bytes);
		int			count;

		if (others != 0)
		{
			count = __builtin_ctzll(others) / 8;
			*digits = *digits * powers_of_ten[count] + convert_digits(bytes, count);
			return p + count;
		}
		*digits = *digits * 100000000 + convert_digits(bytes, 8);
		p += 8;
	}
}

/* The zeros that precede the first other digit of a number, or all of them. */
static int
count_leading_zeros(const char *p)
{
	int			count = 0;

	for (; *p == '0' || *p == '.'; p++)
		count += *p == '0';
	return count;
}

/*
 * Reads the exponent at the "e" at p.  An "e" that no digit follows is none:
 * then p is returned.  From MAX_EXPONENT on, where even MAX_LENGTH zeros cannot
 * bring a number back into range, values are not told apart.
 */
static const char *
read_exponent(const char *p, int *exponent)
{
	const char *digit = p + 1;
	bool		negative = *digit == '-';

	if (*digit == '-' || *digit == '+')
		digit++;
	if (!is_digit(*digit))
		return p;

	for (; is_digit(*digit); digit++)
		if (*exponent < MAX_EXPONENT)
			*exponent = *exponent * 10 + (*digit - '0');
	if (negative)
		*exponent = -*exponent;
	return digit;
}

/*
 * The eight bytes at p, the first in the lowest place; bytes past the end of the
 * text are zero.
 */
static inline uint64_t
load_bytes(const char *p, const char *end)
{
	uint64_t	bytes;

	if (end - p < 8)
		return load_last_bytes(p, end);
	memcpy(&bytes, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	bytes = __builtin_bswap64(bytes);
#endif
	return bytes;
}

/* Out of line: its buffer would cost the caller a store for each number. */
static NO_INLINE uint64_t
load_last_bytes(const char *p, const char *end)
{
	uint64_t	bytes = 0;

	for (int shift = 0; p < end; p++, shift += 8)
		bytes |= (uint64_t) (unsigned char) *p << shift;
	return bytes;
}

/* The top bit of each byte that is not a digit. */
static inline uint64_t
find_others(uint64_t bytes)
{
	/* '0' .. '9' become 0 .. 9; adding 0x76 sets the top bit from 10 on */
	uint64_t	values = bytes ^ UINT64_C(0x3030303030303030);
	uint64_t	sums = (values & UINT64_C(0x7f7f7f7f7f7f7f7f)) +
		UINT64_C(0x7676767676767676);

	return (sums | values) & UINT64_C(0x8080808080808080);
}

/* The number that the lowest count bytes spell, count being 0 to 8. */
static inline uint64_t
convert_digits(uint64_t bytes, int count)
{
	uint64_t	n = bytes ^ UINT64_C(0x3030303030303030);

	/* move the digits up, so that zeros precede them; not by 64 at once */
	if (count < 8)
		n = n << (56 - 8 * count) << 8;

	/* join digits to pairs, then pairs to fours and fours to eight */
	n = n * 10 + (n >> 8);
	return ((n & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
			((n >> 16) & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >> 32;
}

/* The bits of the nearest float, ties to even. */
static uint32_t
round_decimal(const Decimal *number)
{
	uint64_t	w = number->digits;
	int			q = number->power;
	int			shift;
	uint64_t	high;
	uint64_t	low;
	uint64_t	mantissa;
	int			exponent;
	int			excess;

	if (w == 0 || q < MIN_POWER)
		return form_float(number->sign, 0, 0);
	if (q > MAX_POWER)
		return form_float(number->sign, INFINITE_EXPONENT, 0);

	shift = __builtin_clzll(w);
	multiply_by_power(w << shift, q, &high, &low);

	/* keep the mantissa and one bit, which says which way to round */
	excess = (int) (high >> 63) + 64 - MANTISSA_BITS - 3;
	mantissa = high >> excess;

	/* floor(q * log2(10)) is (q * 217706) >> 16 for all q in the table */
	exponent = ((q * 217706) >> 16) + 63 + (int) (high >> 63) - shift + EXPONENT_BIAS;

	if (exponent <= 0)
	{
		/* a denormal has fewer bits; no tie is possible among them */
		if (1 - exponent >= 64)
			return form_float(number->sign, 0, 0);
		mantissa >>= 1 - exponent;
		mantissa = (mantissa + (mantissa & 1)) >> 1;
		/* rounding up may have made it the least normal number */
		return form_float(number->sign, mantissa >> MANTISSA_BITS, mantissa);
	}

	/*
	 * Exactly halfway and the even neighbour is below: do not round up.  A tie
	 * shows as zeros in all the bits shifted out.
	 */
	if (low <= 1 && q >= MIN_TIE_POWER && q <= MAX_TIE_POWER &&
		(mantissa & 3) == 1 && mantissa << excess == high)
		mantissa--;

	mantissa = (mantissa + (mantissa & 1)) >> 1;
	if (mantissa >> (MANTISSA_BITS + 1) != 0)
	{
		mantissa >>= 1;
		exponent++;
	}
	if (exponent >= INFINITE_EXPONENT)
		return form_float(number->sign, INFINITE_EXPONENT, 0);
	return form_float(number->sign, exponent, mantissa);
}

/*
 * The upper 128 bits of w * 5^q, w having its top bit set.  The low half of the
 * power is used only when the bits that decide the rounding could depend on it.
 */
static inline void
multiply_by_power(uint64_t w, int q, uint64_t *high, uint64_t *low)
{
	uint64_t	undecided = UINT64_MAX >> (MANTISSA_BITS + 3);
	unsigned __int128 product;

	product = (unsigned __int128) w * powers_of_five[q - MIN_POWER].hi;
	*high = product >> 64;
	*low = product;

	if ((*high & undecided) == undecided)
	{
		product = (unsigned __int128) w * powers_of_five[q - MIN_POWER].lo;
		*low += product >> 64;
		*high += *low < (uint64_t) (product >> 64);
	}
}

/* The bits of mantissa above MANTISSA_BITS are ignored. */
static inline uint32_t
form_float(uint32_t sign, uint32_t exponent, uint32_t mantissa)
{
	return sign | exponent << MANTISSA_BITS | (mantissa & ((1u << MANTISSA_BITS) - 1));
}

/* For all that read_decimal() declines.  errno is left as it was. */
static const char *
parse_with_strtof(const char *text, float *value, VdbFloatClass *class)
{
	int			saved_errno = errno;
	char	   *next;

	errno = 0;
	*value = strtof(text, &next);
	if (isnan(*value))
		*class = VDB_FLOAT_NAN;
	else if (!isinf(*value))
		*class = VDB_FLOAT_FINITE;
	else
		*class = errno == ERANGE ? VDB_FLOAT_OVERFLOW : VDB_FLOAT_INFINITE;
	errno = saved_errno;
	return next;
}
