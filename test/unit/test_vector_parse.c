/*
 * test_vector_parse.c
 *	  Claim: numbers are rounded exactly as strtof() rounds them, to the last
 *	  bit, and no text makes the parser read outside it.
 *
 *		cc -O2 -Isrc -o /tmp/t test/unit/test_vector_parse.c src/types/vector_parse.c -lm
 *		/tmp/t [share of the usual cases, 1 by default]
 *
 * Prints TAP.  Meant to be run under -fsanitize=address,undefined: each text
 * ends where an allocation ends.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "types/vector_parse.h"

#define MAX_TEXT 400
#define ROOM 8192				/* for the longest text */
#define MAX_DIM 16

static uint64_t
random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int
random_below(int limit)
{
	return (random_bits() >> 33) % limit;
}

static uint32_t
float_bits(float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static float
random_float(void)
{
	uint32_t	bits;
	float		value;

	do
	{
		bits = random_bits() >> 32;
		memcpy(&value, &bits, sizeof(value));
	} while (!isfinite(value));
	return value;
}

/*
 * A copy of size bytes and a NUL that ends where an allocation ends, so that a
 * sanitizer sees any excess.  It stays until the next call.
 */
static char *
copy_text(const char *text, size_t size)
{
	static char *room;
	char	   *copy;

	if (room == NULL)
		room = malloc(ROOM);
	if (room == NULL || size >= ROOM)
		exit(1);
	copy = room + ROOM - size - 1;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return copy;
}

/* Do strtof() and the parser read the same number and the same length? */
static int
agrees_in_place(const char *text, size_t size)
{
	char	   *expected_end;
	const char *end;
	float		expected;
	float		value = 0;
	VdbFloatClass class = VDB_FLOAT_FINITE;
	int			same;

	errno = 0;
	expected = strtof(text, &expected_end);
	end = vdb_float_parse(text, text + size, &value, &class);

	same = end == expected_end;
	if (same && end != text)
	{
		if (isnan(expected))
			same = class == VDB_FLOAT_NAN;
		else if (isinf(expected))
			same = class == (errno == ERANGE ? VDB_FLOAT_OVERFLOW : VDB_FLOAT_INFINITE);
		else
			same = class == VDB_FLOAT_FINITE && float_bits(value) == float_bits(expected);
	}
	if (!same)
		printf("# \"%s\": strtof %a (%d bytes), parser %a (%d bytes), class %d\n",
			   text, expected, (int) (expected_end - text), value,
			   (int) (end - text), (int) class);
	return same;
}

static int
agrees(const char *text)
{
	size_t		size = strlen(text);

	return agrees_in_place(copy_text(text, size), size);
}

/*
 * Shapes of random numbers
 */

static void
print_float9(char *text)
{
	sprintf(text, "%.9g", random_float());
}

static void
print_float_digits(char *text)
{
	sprintf(text, "%.*g", 1 + random_below(9), random_float());
}

static void
print_double17(char *text)
{
	sprintf(text, "%.17g", random_float() * (1 + 1e-7 * (random_below(2001) - 1000)));
}

static void
print_fixed(char *text)
{
	sprintf(text, "%.*f", random_below(20), (random_below(2000001) - 1000000) * 1e-6);
}

static void
print_digits(char *text)
{
	int			count = 1 + random_below(19);
	char	   *p = text;

	for (int i = 0; i < count; i++)
		*p++ = '0' + random_below(10);
	sprintf(p, "e%d", random_below(110) - 70);
}

static void
print_pointed_digits(char *text)
{
	int			before = random_below(12);
	int			after = random_below(24);
	char	   *p = text;

	if (random_below(2))
		*p++ = random_below(2) ? '-' : '+';
	for (int i = 0; i < before; i++)
		*p++ = '0' + random_below(10);
	*p++ = '.';
	for (int i = 0; i < after; i++)
		*p++ = '0' + random_below(10);
	*p = '\0';
	if (random_below(2))
		sprintf(p, "%c%+d", random_below(2) ? 'e' : 'E', random_below(100) - 60);
}

static void
print_long_digits(char *text)
{
	int			count = 20 + random_below(15);
	char	   *p = text;

	for (int i = 0; i < count; i++)
	{
		*p++ = '0' + random_below(10);
		if (i == count / 2 && random_below(2))
			*p++ = '.';
	}
	sprintf(p, "e%d", random_below(100) - 75);
}

/* The exact middle between two floats; half of the time not quite. */
static void
print_halfway(char *text)
{
	float		value = fabsf(random_float());
	double		middle;
	int			digits = random_below(2) ? 140 : 10 + random_below(9);

	if (random_below(2))
		value = (float) random_below(1 << 24) * (float) (1 << random_below(30));
	if (random_below(4) == 0)
		value = (float) random_below(1 << 24) / (float) (1 << random_below(24));
	middle = ((double) value + (double) nextafterf(value, FLT_MAX)) / 2;
	sprintf(text, "%.*g", digits, middle);
	if (random_below(2) && strchr(text, 'e') == NULL)
		strcat(text, strchr(text, '.') ? "0000000001" : ".0000000001");
}

/* Middles that have few digits, so that the fast paths must decide the tie. */
static void
print_short_halfway(char *text)
{
	uint64_t	odd = (UINT64_C(1) << 24) + random_below(1 << 24);
	int			shift = random_below(16);

	odd = 2 * odd + 1;
	if (random_below(2))
		sprintf(text, "%llu", (unsigned long long) (odd << shift));
	else
		sprintf(text, "%.*f", shift, (double) odd / (1 << shift));
}

static void
print_denormal(char *text)
{
	double		value = (random_bits() >> 11) * 0x1p-53 * 2.5e-38;

	sprintf(text, "%.*g", 1 + random_below(19), ldexp(value, -random_below(27)));
}

static void
print_largest(char *text)
{
	sprintf(text, "%.*e", 6 + random_below(13),
			3.4028235677973366e38 * (1 + (random_below(2001) - 1000) * 1e-10));
}

static void
print_integer(char *text)
{
	sprintf(text, "%lld", (long long) (int64_t) random_bits() >> random_below(64));
}

static void
print_zeros(char *text)
{
	int			count = random_below(40);
	char	   *p = text;

	for (int i = 0; i < count; i++)
		*p++ = '0';
	*p++ = '.';
	count = random_below(40);
	for (int i = 0; i < count; i++)
		*p++ = '0';
	sprintf(p, "%de%d", random_below(100000), random_below(80) - 20);
}

/* Not numbers, most of them. */
static void
print_noise(char *text)
{
	static const char letters[] = "00123459..--++eEexX,] \tinfatyNp";
	int			count = random_below(14);

	for (int i = 0; i < count; i++)
		*text++ = letters[random_below(sizeof(letters) - 1)];
	*text = '\0';
}

static const struct
{
	const char *name;
	void		(*print) (char *text);
}			shapes[] = {
	{"%.9g of any float", print_float9},
	{"1 to 9 digits of any float", print_float_digits},
	{"%.17g of doubles near a float", print_double17},
	{"fixed point", print_fixed},
	{"up to 19 digits and an exponent", print_digits},
	{"digits around a point", print_pointed_digits},
	{"20 to 34 digits", print_long_digits},
	{"halfway between floats", print_halfway},
	{"halfway between floats, few digits", print_short_halfway},
	{"denormals", print_denormal},
	{"around the largest float", print_largest},
	{"integers", print_integer},
	{"leading zeros", print_zeros},
	{"noise", print_noise}
};

static int
random_numbers_agree(void (*print) (char *text))
{
	char		text[MAX_TEXT];

	for (long i = 0; i < share_of(750000); i++)
	{
		print(text);
		if (!agrees(text))
			return 0;
	}
	return 1;
}

static void
test_known_numbers(void)
{
	static const char *const texts[] = {
		"0", "-0", "+0", "0.0", "-0e5", "1", "1.", ".5", "-.5e-1", "+1e+1",
		"1e", "1e+", "1e-", "1ex", "1.e5", ".e5", ".", "-", "+", "", "e5", "+-1",
		"- 1", " 1", "\t\n\v\f\r 1", "0x10", "0x1.8p3", "0x", "0xg", "0x.8", "00x1",
		"inf", "-inf", "infinity", "infx", "nan", "-nan", "nan(123)", "nan(",
		"1e38", "1e39", "-1e39", "1e40", "1e400", "1e99999999999999999999",
		"1e-99999999999999999999", "0e99999999999999999999", "3.4028235e38",
		"3.40282346638528859811704183484516925440e38", "3.4028235677973366e38",
		"3.40282356779733661637539395458142568447e38",
		"3.40282356779733661637539395458142568448e38", "3.4028236e38",
		"1.17549435e-38", "1.1754943e-38", "1.17549429e-38", "1e-45", "1.4e-45",
		"7.006492321624085e-46", "7.006492321624086e-46", "7e-46", "7.1e-46",
		"1e-46", "16777216", "16777217", "16777218", "16777219", "16777217.0000001",
		"8388608.5", "8388609.5", "8388609.4999999", "9007199254740993",
		"18446744073709551615", "18446744073709551616", "9999999999999999999",
		"99999999999999999999", "0.000000000000000000000000000000000000000000001",
		"100000000000000000000000000000000000000", "1_000", "1,000", "12345678",
		"123456789", "1234567812345678", "12345678.12345678", "1\x80", "12\xff"
	};
	int			ok = 1;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ok &= agrees(texts[i]);
	report(ok, "chosen numbers and non-numbers");
}

static void
test_very_long_numbers(void)
{
	static const int lengths[] = {18, 19, 20, 21, 998, 999, 1000, 1001, 5000};
	char		text[6000];
	int			ok = 1;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		int			length = lengths[i];

		memset(text, '0', length);
		text[0] = '.';
		sprintf(text + length, "123e%d", length);
		ok &= agrees(text);

		memset(text, '0', length);
		text[0] = '7';
		sprintf(text + length, "e-%d", length);
		ok &= agrees(text);

		memset(text, '9', length);
		sprintf(text + length, "e-%d", length);
		ok &= agrees(text);
	}
	report(ok, "numbers of up to 5,000 digits");
}

/* Every text that is cut short is still read like strtof() reads it. */
static void
test_truncated_numbers(void)
{
	char		text[MAX_TEXT];
	int			ok = 1;

	for (int i = 0; i < share_of(20000) && ok; i++)
	{
		print_pointed_digits(text);
		for (size_t size = strlen(text) + 1; size-- > 0;)
		{
			text[size] = '\0';
			ok &= agrees(text);
		}
	}
	report(ok, "truncated numbers");
}

/* A NUL inside the text ends a number as any other character does. */
static void
test_embedded_nul(void)
{
	static const char text[] = "12345\0" "678.5";
	int			ok = 1;

	for (size_t size = 5; size < sizeof(text); size++)
		ok &= agrees_in_place(copy_text(text, size), size);
	report(ok, "number with a NUL inside");
}

static VdbVectorParseStatus
parse_vector(const char *text, size_t size, float *out, VdbVectorParse *result)
{
	char	   *copy = copy_text(text, size);
	VdbVectorParseStatus status;

	status = vdb_vector_parse(copy, size, out, MAX_DIM, INFINITY, result);
	if (status == VDB_VECTOR_PARSE_RANGE)
		result->bad = text + (result->bad - copy);
	return status;
}

static void
test_vectors(void)
{
	static const struct
	{
		const char *text;
		VdbVectorParseStatus status;
		int			dim;
	}			cases[] = {
		{"[1]", VDB_VECTOR_PARSE_OK, 1},
		{"[1,2,3]", VDB_VECTOR_PARSE_OK, 3},
		{" \t\n\v\f\r[ 1 \t, \n2\v]\f\r ", VDB_VECTOR_PARSE_OK, 2},
		{"[0x10,.5,5.,+1]", VDB_VECTOR_PARSE_OK, 4},
		{"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", VDB_VECTOR_PARSE_OK, 16},
		{"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,x", VDB_VECTOR_PARSE_TOO_MANY, 0},
		{"", VDB_VECTOR_PARSE_NO_BRACKET, 0},
		{"1,2", VDB_VECTOR_PARSE_NO_BRACKET, 0},
		{"{1}", VDB_VECTOR_PARSE_NO_BRACKET, 0},
		{"[1,2\n  -3]", VDB_VECTOR_PARSE_NO_COMMA, 0},
		{"[1 a]", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[1 ", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[1", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[1,", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[1,]", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[,1]", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[1 2]", VDB_VECTOR_PARSE_NO_COMMA, 0},
		{"[1e]", VDB_VECTOR_PARSE_SYNTAX, 0},
		{"[]", VDB_VECTOR_PARSE_EMPTY, 0},
		{"[ ]x", VDB_VECTOR_PARSE_EMPTY, 0},
		{"[1]x", VDB_VECTOR_PARSE_JUNK, 0},
		{"[1]]", VDB_VECTOR_PARSE_JUNK, 0},
		{"[nan]", VDB_VECTOR_PARSE_NAN, 0},
		{"[-infinity]", VDB_VECTOR_PARSE_INFINITE, 0},
		{"[1,-4e38]", VDB_VECTOR_PARSE_RANGE, 0}
	};
	int			ok = 1;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		float		out[MAX_DIM];
		VdbVectorParse result;
		VdbVectorParseStatus status;
		int			same;

		status = parse_vector(cases[i].text, strlen(cases[i].text), out, &result);
		same = status == cases[i].status;
		if (status == VDB_VECTOR_PARSE_OK)
			same &= result.dim == cases[i].dim;
		if (status == VDB_VECTOR_PARSE_RANGE)
			same &= result.bad_len == 5 && memcmp(result.bad, "-4e38", 5) == 0;
		if (!same)
			printf("# \"%s\": status %d\n", cases[i].text, (int) status);
		ok &= same;
	}
	report(ok, "status of vectors");
}

/* From the limit on a magnitude is out of range; "inf" stays infinite. */
static void
test_limit(void)
{
	static const struct
	{
		const char *text;
		VdbVectorParseStatus status;
	}			cases[] = {
		{"[65519.99,-65519.99]", VDB_VECTOR_PARSE_OK},
		{"[1, 65520 ]", VDB_VECTOR_PARSE_RANGE},
		{"[-0x1.fff8p15 ,nan]", VDB_VECTOR_PARSE_RANGE},
		{"[3e38]", VDB_VECTOR_PARSE_RANGE},
		{"[4e38]", VDB_VECTOR_PARSE_RANGE},
		{"[-inf]", VDB_VECTOR_PARSE_INFINITE},
		{"[nan]", VDB_VECTOR_PARSE_NAN}
	};
	int			ok = 1;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		float		out[MAX_DIM];
		VdbVectorParse result;
		VdbVectorParseStatus status;

		status = vdb_vector_parse(cases[i].text, strlen(cases[i].text), out, MAX_DIM,
								  65520.0f, &result);
		if (status != cases[i].status)
			ok = 0, printf("# \"%s\": status %d\n", cases[i].text, (int) status);
		if (i == 1)
			ok &= result.bad == cases[i].text + 4 && result.bad_len == 5;
	}
	report(ok, "limit of magnitudes");
}

/* Cut or damaged texts: any status will do, reading outside will not. */
static void
test_damaged_vectors(void)
{
	static const char whole[] =
		" [0.0123456789,-1.2345678e-05,12345678,1234567890123456789012,0.12] ";
	float		out[MAX_DIM];
	VdbVectorParse result;
	char		text[sizeof(whole)];
	int			ok = 1;

	for (size_t size = 0; size < sizeof(whole) - 3; size++)
		ok &= parse_vector(whole, size, out, &result) != VDB_VECTOR_PARSE_OK;
	report(ok, "truncated vectors");

	for (int i = 0; i < share_of(200000); i++)
	{
		memcpy(text, whole, sizeof(whole));
		for (int j = random_below(4); j >= 0; j--)
			text[random_below(sizeof(whole) - 1)] = random_bits() >> 40;
		(void) parse_vector(text, sizeof(whole) - 1, out, &result);
	}
	report(1, "damaged vectors");

	memcpy(text, "[1,2]\0,3]", 10);
	report(parse_vector(text, 9, out, &result) == VDB_VECTOR_PARSE_JUNK,
		   "vector followed by a NUL");
	memcpy(text, "[1,\0 2]", 8);
	report(parse_vector(text, 7, out, &result) == VDB_VECTOR_PARSE_SYNTAX,
		   "vector with a NUL inside");
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	test_known_numbers();
	test_very_long_numbers();
	test_truncated_numbers();
	test_embedded_nul();
	test_vectors();
	test_limit();
	test_damaged_vectors();
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		report(random_numbers_agree(shapes[i].print), "%s", shapes[i].name);

	printf("1..%d\n", tests_run);
	return tests_failed > 0;
}
