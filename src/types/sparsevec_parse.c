/*
 * sparsevec_parse.c
 *	  From the text form of sparse vectors to indices and floats.
 *
 * Values are read as those of dense vectors are, by vdb_float_parse(); integers
 * as strtol() reads them.
 */
#include "types/sparsevec_parse.h"

#include "types/vector_parse.h"

/* So far digits are added up: more than any int32, and no overflow with one more. */
#define MAX_INTEGER INT64_C(1000000000000)

static const char *read_integer(const char *p, int32_t *value);
static bool is_spelt_zero(const char *p, const char *end);

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline const char *
skip_space(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

VdbSparsevecParseStatus
vdb_sparsevec_parse(const char *text, size_t len, int32_t *indices, float *values,
					int max, VdbSparsevecParse *result)
{
	const char *end = text + len;
	const char *p = skip_space(text);
	const char *next;
	int64_t		previous = INT64_MIN;
	int			nnz = 0;

	if (*p != '{')
		return VDB_SPARSEVEC_PARSE_NO_BRACE;
	result->ascending = true;

	p = skip_space(p + 1);
	while (*p != '}')
	{
		int32_t		index;
		float		value;
		VdbFloatClass class;

		next = read_integer(p, &index);
		if (next == p)
			return VDB_SPARSEVEC_PARSE_SYNTAX;
		p = skip_space(next);
		if (*p != ':')
			return VDB_SPARSEVEC_PARSE_SYNTAX;

		p = skip_space(p + 1);
		next = vdb_float_parse(p, end, &value, &class);
		if (next == p)
			return VDB_SPARSEVEC_PARSE_SYNTAX;
		if (class == VDB_FLOAT_OVERFLOW ||
			(value == 0 && !is_spelt_zero(p, next)))
		{
			result->bad = p;
			result->bad_len = next - p;
			return VDB_SPARSEVEC_PARSE_RANGE;
		}
		if (class == VDB_FLOAT_NAN)
			return VDB_SPARSEVEC_PARSE_NAN;
		if (class == VDB_FLOAT_INFINITE)
			return VDB_SPARSEVEC_PARSE_INFINITE;

		if (value != 0)
		{
			if (nnz == max)
				return VDB_SPARSEVEC_PARSE_TOO_MANY;
			if (index == INT32_MIN)
				index++;
			indices[nnz] = index - 1;
			values[nnz] = value;
			nnz++;
			if (index <= previous)
				result->ascending = false;
			previous = index;
		}

		p = skip_space(next);
		if (*p == ',')
		{
			p = skip_space(p + 1);
			/* another element must follow: here "}" is none */
			if (*p == '}')
				return VDB_SPARSEVEC_PARSE_SYNTAX;
		}
		else if (*p != '}')
			return VDB_SPARSEVEC_PARSE_SYNTAX;
	}

	p = skip_space(p + 1);
	if (*p != '/')
		return VDB_SPARSEVEC_PARSE_NO_DIM;
	p = skip_space(p + 1);
	next = read_integer(p, &result->dim);
	if (next == p)
		return VDB_SPARSEVEC_PARSE_SYNTAX;
	if (skip_space(next) != end)
		return VDB_SPARSEVEC_PARSE_JUNK;
	result->nnz = nnz;
	return VDB_SPARSEVEC_PARSE_OK;
}

/*
 * Reads a decimal integer, with or without a sign, at p.  Returns the first
 * character not used, or p when there is no number.
 */
static const char *
read_integer(const char *p, int32_t *value)
{
	const char *digit = p;
	int64_t		n = 0;

	if (*digit == '-' || *digit == '+')
		digit++;
	if (*digit < '0' || *digit > '9')
		return p;

	for (; *digit >= '0' && *digit <= '9'; digit++)
	{
		if (n < MAX_INTEGER)
			n = n * 10 + (*digit - '0');
	}
	if (*p == '-')
		n = -n;
	*value = n > INT32_MAX ? INT32_MAX : n < INT32_MIN ? INT32_MIN : (int32_t) n;
	return digit;
}

/*
 * Is the number from p to end, which became a zero, one?  Else it was too small
 * for a float.
 */
static bool
is_spelt_zero(const char *p, const char *end)
{
	char		exponent = 'e';

	for (; p < end; p++)
	{
		char		c = *p;

		if (c == 'x' || c == 'X')
			exponent = 'p';		/* from here on e is a digit */
		else if ((c | 0x20) == exponent)
			return true;
		else if ((c >= '1' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'))
			return false;
	}
	return true;
}
