/*
 * sparsevec_parse.h
 *	  From the text form of sparse vectors to indices and floats, in plain C.
 */
#ifndef VDB_SPARSEVEC_PARSE_H
#define VDB_SPARSEVEC_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum VdbSparsevecParseStatus
{
	VDB_SPARSEVEC_PARSE_OK,
	VDB_SPARSEVEC_PARSE_NO_BRACE,	/* does not start with "{" */
	VDB_SPARSEVEC_PARSE_SYNTAX,
	VDB_SPARSEVEC_PARSE_NO_DIM,		/* no "/" after "}" */
	VDB_SPARSEVEC_PARSE_JUNK,		/* something follows the dimensions */
	VDB_SPARSEVEC_PARSE_TOO_MANY,	/* more than max elements */
	VDB_SPARSEVEC_PARSE_RANGE,		/* too large or too small; see bad, bad_len */
	VDB_SPARSEVEC_PARSE_NAN,
	VDB_SPARSEVEC_PARSE_INFINITE
} VdbSparsevecParseStatus;

typedef struct VdbSparsevecParse
{
	int32_t		dim;
	int			nnz;			/* elements read, zeros apart */
	bool		ascending;		/* are the indices, without duplicates? */
	const char *bad;			/* the offending number */
	size_t		bad_len;
} VdbSparsevecParse;

/*
 * Reads "{1:1.5,3:2}/5" from the len bytes at text, which a NUL follows, into
 * indices[max] and values[max].  Indices count from 1 in the text and from 0
 * afterwards; they stay in the order of the text, and neither they nor the
 * dimensions are checked.  What is out of the range of an int32 becomes the
 * nearest that is within.  Zeros are left out.  The fields of *result are set as
 * the status asks for.
 */
extern VdbSparsevecParseStatus vdb_sparsevec_parse(const char *text, size_t len,
												   int32_t *indices, float *values,
												   int max,
												   VdbSparsevecParse *result);

#endif							/* VDB_SPARSEVEC_PARSE_H */
