/*
 * vector_parse.h
 *	  From the text form of vectors to floats, in plain C.
 */
#ifndef VDB_VECTOR_PARSE_H
#define VDB_VECTOR_PARSE_H

#include <stddef.h>

typedef enum VdbFloatClass
{
	VDB_FLOAT_FINITE,
	VDB_FLOAT_OVERFLOW,			/* a number too large for float32 */
	VDB_FLOAT_INFINITE,			/* spelt "inf" or "infinity" */
	VDB_FLOAT_NAN
} VdbFloatClass;

/*
 * Reads a number, correctly rounded to float32, at `text`.  The text ends at
 * `end`, where a NUL must stand; there may be others before it.  Accepts what
 * strtof() accepts in the C locale, including leading white space, "inf", "nan"
 * and hexadecimal numbers.  A number too small gives a denormal or a zero.
 *
 * Returns the first character not used, or `text` when there is no number.
 */
extern const char *vdb_float_parse(const char *text, const char *end,
								   float *value, VdbFloatClass *class);

typedef enum VdbVectorParseStatus
{
	VDB_VECTOR_PARSE_OK,
	VDB_VECTOR_PARSE_NO_BRACKET,	/* does not start with "[" */
	VDB_VECTOR_PARSE_SYNTAX,
	VDB_VECTOR_PARSE_NO_COMMA,	/* only white space before the next element */
	VDB_VECTOR_PARSE_JUNK,		/* something follows "]" */
	VDB_VECTOR_PARSE_EMPTY,		/* no element */
	VDB_VECTOR_PARSE_TOO_MANY,	/* more than max elements */
	VDB_VECTOR_PARSE_RANGE,		/* not below the limit; see bad, bad_len */
	VDB_VECTOR_PARSE_NAN,
	VDB_VECTOR_PARSE_INFINITE
} VdbVectorParseStatus;

typedef struct VdbVectorParse
{
	int			dim;			/* elements read */
	const char *bad;			/* the offending number */
	size_t		bad_len;
} VdbVectorParse;

/*
 * Reads "[1,2,3]" from the len bytes at text, which a NUL follows, into
 * out[max].  Magnitudes from limit on are out of range, as those are from which on
 * float32 has infinity; limit may be INFINITY.  The fields of *result are set as
 * the status asks for.
 */
extern VdbVectorParseStatus vdb_vector_parse(const char *text, size_t len,
											 float *out, int max, float limit,
											 VdbVectorParse *result);

#endif							/* VDB_VECTOR_PARSE_H */
