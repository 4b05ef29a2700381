/*
 * sparsevec.c
 *	  The type sparsevec: input and output, distances, comparison.
 *
 * Parsing is in sparsevec_parse.c, the arithmetic of distances in
 * sparsevec_distance.c, casts in sparsevec_cast.c, aggregates in
 * sparsevec_agg.c.  Messages and error codes are those of pgvector, which
 * applications match on.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "nodes/nodes.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "types/dense.h"
#include "types/sparsevec.h"
#include "types/sparsevec_parse.h"

/* An index or a number of dimensions in decimal, which has no sign. */
#define MAX_INTEGER_LENGTH 10

static Datum report_parse_error(VdbSparsevecParseStatus status,
								const VdbSparsevecParse *parse,
								const char *text, Node *escontext);
static bool check_dim_soft(int dim, Node *escontext);
static bool check_indices_soft(const VdbSparsevec *vector, Node *escontext);
static void sort_elements(int nnz, int32 *indices, float4 *values);
static int	compare_elements(const void *a, const void *b);
static int	compare_args(FunctionCallInfo fcinfo);

/* Allocates a vector in the current memory context; its elements are unset. */
VdbSparsevec *
vdb_sparsevec_create(int dim, int nnz)
{
	Size		size = VDB_SPARSEVEC_SIZE(nnz);
	VdbSparsevec *result = palloc(size);

	SET_VARSIZE(result, size);
	result->dim = dim;
	result->nnz = nnz;
	result->unused = 0;
	return result;
}

/*
 * The vector of a datum, detoasted if need be.  Raises unless its numbers of
 * dimensions and elements are possible and it is as long as they say, so that
 * nobody reads past its end.
 */
VdbSparsevec *
vdb_sparsevec_detoast(Datum datum)
{
	VdbSparsevec *vector = (VdbSparsevec *) PG_DETOAST_DATUM(datum);

	if (VARSIZE(vector) < VDB_SPARSEVEC_SIZE(0) ||
		vector->dim < 1 || vector->dim > VDB_SPARSEVEC_MAX_DIM ||
		vector->nnz < 0 || vector->nnz > VDB_SPARSEVEC_MAX_NNZ ||
		VARSIZE(vector) != VDB_SPARSEVEC_SIZE(vector->nnz))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged value of type %s", "sparsevec")));
	return vector;
}

/* Raises unless dim is a possible number of dimensions. */
void
vdb_sparsevec_check_dim(int dim)
{
	(void) check_dim_soft(dim, NULL);
}

/* Raises unless a vector of dim dimensions can have nnz elements. */
void
vdb_sparsevec_check_nnz(int nnz, int dim)
{
	if (nnz < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec cannot have negative number of elements")));
	if (nnz > VDB_SPARSEVEC_MAX_NNZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d non-zero elements",
						VDB_SPARSEVEC_MAX_NNZ)));
	if (nnz > dim)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more elements than dimensions")));
}

void
vdb_sparsevec_check_same_dims(const VdbSparsevec *a, const VdbSparsevec *b)
{
	if (a->dim != b->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different sparsevec dimensions %d and %d",
						a->dim, b->dim)));
}

/* Raises unless all values are finite. */
void
vdb_sparsevec_check_values(const VdbSparsevec *vector)
{
	const float4 *values = vdb_sparsevec_values(vector);

	for (int i = 0; i < vector->nnz; i++)
	{
		if (isnan(values[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in sparsevec")));
		if (isinf(values[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in sparsevec")));
	}
}

/*
 * Input and output
 */

PG_FUNCTION_INFO_V1(vdb_sparsevec_in);
Datum
vdb_sparsevec_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	int32		indices[VDB_SPARSEVEC_MAX_NNZ];
	float4		values[VDB_SPARSEVEC_MAX_NNZ];
	VdbSparsevecParse parse;
	VdbSparsevecParseStatus status;
	VdbSparsevec *result;

	status = vdb_sparsevec_parse(text, strlen(text), indices, values,
								 VDB_SPARSEVEC_MAX_NNZ, &parse);
	if (status != VDB_SPARSEVEC_PARSE_OK)
		return report_parse_error(status, &parse, text, fcinfo->context);

	if (!check_dim_soft(parse.dim, fcinfo->context))
		return (Datum) 0;
	if (typmod != -1 && typmod != parse.dim)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, parse.dim)));

	if (!parse.ascending)
		sort_elements(parse.nnz, indices, values);
	result = vdb_sparsevec_create(parse.dim, parse.nnz);
	memcpy(result->indices, indices, sizeof(int32) * parse.nnz);
	memcpy(vdb_sparsevec_values(result), values, sizeof(float4) * parse.nnz);
	if (!check_indices_soft(result, fcinfo->context))
		return (Datum) 0;

	PG_RETURN_POINTER(result);
}

/* Turns a failed parse into an error: a soft one where escontext asks for it. */
static Datum
report_parse_error(VdbSparsevecParseStatus status, const VdbSparsevecParse *parse,
				   const char *text, Node *escontext)
{
	switch (status)
	{
		case VDB_SPARSEVEC_PARSE_NO_BRACE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"sparsevec", text),
					 errdetail("Vector contents must start with \"{\".")));

		case VDB_SPARSEVEC_PARSE_NO_DIM:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"sparsevec", text),
					 errdetail("Unexpected end of input.")));

		case VDB_SPARSEVEC_PARSE_JUNK:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"sparsevec", text),
					 errdetail("Junk after closing.")));

		case VDB_SPARSEVEC_PARSE_TOO_MANY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("sparsevec cannot have more than %d non-zero elements",
							VDB_SPARSEVEC_MAX_NNZ)));

		case VDB_SPARSEVEC_PARSE_RANGE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s",
							pnstrdup(parse->bad, parse->bad_len), "sparsevec")));

		case VDB_SPARSEVEC_PARSE_NAN:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in sparsevec")));

		case VDB_SPARSEVEC_PARSE_INFINITE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in sparsevec")));

		case VDB_SPARSEVEC_PARSE_SYNTAX:
		case VDB_SPARSEVEC_PARSE_OK:
			break;
	}

	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"",
					"sparsevec", text)));
}

/* False after a soft error; raises where escontext asks for none. */
static bool
check_dim_soft(int dim, Node *escontext)
{
	if (dim < 1)
		ereturn(escontext, false,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec must have at least 1 dimension")));
	if (dim > VDB_SPARSEVEC_MAX_DIM)
		ereturn(escontext, false,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d dimensions",
						VDB_SPARSEVEC_MAX_DIM)));
	return true;
}

/*
 * Are the indices in range, ascending and without duplicates?  False after a soft
 * error; raises where escontext asks for none.
 */
static bool
check_indices_soft(const VdbSparsevec *vector, Node *escontext)
{
	int32		previous = -1;

	for (int i = 0; i < vector->nnz; i++)
	{
		int32		index = vector->indices[i];

		if (index < 0 || index >= vector->dim)
			ereturn(escontext, false,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("sparsevec index out of bounds")));
		if (index < previous)
			ereturn(escontext, false,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("sparsevec indices must be in ascending order")));
		if (index == previous)
			ereturn(escontext, false,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("sparsevec indices must not contain duplicates")));
		previous = index;
	}
	return true;
}

/* An element as one number: the upper half is its index, in order if unsigned. */
#define ELEMENT_INDEX_SHIFT 32
#define INDEX_SIGN PG_INT32_MIN

/* Sorts by index. */
static void
sort_elements(int nnz, int32 *indices, float4 *values)
{
	uint64	   *elements = palloc(sizeof(uint64) * nnz);

	for (int i = 0; i < nnz; i++)
	{
		uint32		bits;

		memcpy(&bits, &values[i], sizeof(bits));
		elements[i] = (uint64) (uint32) (indices[i] ^ INDEX_SIGN) << ELEMENT_INDEX_SHIFT | bits;
	}
	qsort(elements, nnz, sizeof(uint64), compare_elements);
	for (int i = 0; i < nnz; i++)
	{
		uint32		bits = (uint32) elements[i];

		indices[i] = (int32) (elements[i] >> ELEMENT_INDEX_SHIFT) ^ INDEX_SIGN;
		memcpy(&values[i], &bits, sizeof(bits));
	}
	pfree(elements);
}

static int
compare_elements(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_out);
Datum
vdb_sparsevec_out(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	const float4 *values = vdb_sparsevec_values(vector);
	char	   *result;
	char	   *p;

	/*
	 * An element: index, colon, value and the comma, whose place is the NUL that
	 * FLOAT_SHORTEST_DECIMAL_LEN counts.  Around them braces, slash and a NUL.
	 */
	result = palloc((Size) vector->nnz * (MAX_INTEGER_LENGTH + 1 + FLOAT_SHORTEST_DECIMAL_LEN) +
					MAX_INTEGER_LENGTH + 4);
	p = result;
	*p++ = '{';
	for (int i = 0; i < vector->nnz; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += pg_ultoa_n((uint32) vector->indices[i] + 1, p);
		*p++ = ':';
		p += float_to_shortest_decimal_bufn(values[i], p);
	}
	*p++ = '}';
	*p++ = '/';
	p += pg_ultoa_n(vector->dim, p);
	*p = '\0';

	PG_FREE_IF_COPY(vector, 0);
	PG_RETURN_CSTRING(result);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_typmod_in);
Datum
vdb_sparsevec_typmod_in(PG_FUNCTION_ARGS)
{
	int			count;
	int32	   *typmods = ArrayGetIntegerTypmods(PG_GETARG_ARRAYTYPE_P(0), &count);

	if (count != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier")));
	if (*typmods < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type sparsevec must be at least 1")));
	if (*typmods > VDB_SPARSEVEC_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type sparsevec cannot exceed %d",
						VDB_SPARSEVEC_MAX_DIM)));

	PG_RETURN_INT32(*typmods);
}

/*
 * The binary form: int32 dim, int32 nnz, int32 zero, nnz int32 indices from 0,
 * nnz float4 values, in network byte order.
 */
PG_FUNCTION_INFO_V1(vdb_sparsevec_recv);
Datum
vdb_sparsevec_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int32		dim;
	int32		nnz;
	int32		unused;
	const char *source;
	VdbSparsevec *result;
	const float4 *values;

	dim = pq_getmsgint(buf, sizeof(int32));
	nnz = pq_getmsgint(buf, sizeof(int32));
	unused = pq_getmsgint(buf, sizeof(int32));

	vdb_sparsevec_check_dim(dim);
	vdb_sparsevec_check_nnz(nnz, dim);
	vdb_dense_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	/* raises when fewer bytes are left, so nothing is allocated for a lie */
	source = pq_getmsgbytes(buf, 2 * nnz * (int) sizeof(uint32));
	result = vdb_sparsevec_create(dim, nnz);

	/* the values follow the indices here as there */
	for (int i = 0; i < 2 * nnz; i++)
	{
		uint32		bits;

		memcpy(&bits, source + i * sizeof(bits), sizeof(bits));
		bits = pg_ntoh32(bits);
		memcpy(&result->indices[i], &bits, sizeof(bits));
	}
	(void) check_indices_soft(result, NULL);
	vdb_sparsevec_check_values(result);
	values = vdb_sparsevec_values(result);
	for (int i = 0; i < nnz; i++)
	{
		if (values[i] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("binary representation of sparsevec cannot contain zero values")));
	}

	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_send);
Datum
vdb_sparsevec_send(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	const float4 *values = vdb_sparsevec_values(vector);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint32(&buf, vector->dim);
	pq_sendint32(&buf, vector->nnz);
	pq_sendint32(&buf, vector->unused);
	for (int i = 0; i < vector->nnz; i++)
		pq_sendint32(&buf, vector->indices[i]);
	for (int i = 0; i < vector->nnz; i++)
		pq_sendfloat4(&buf, values[i]);

	PG_FREE_IF_COPY(vector, 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * Distances.  What they compute is in sparsevec_distance.c, where indexes find it.
 */

PG_FUNCTION_INFO_V1(vdb_sparsevec_l2_distance);
Datum
vdb_sparsevec_l2_distance(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_sparsevec_distance_l2(a, b));
}

/* Orders as l2_distance does, without the square root. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_l2_squared_distance);
Datum
vdb_sparsevec_l2_squared_distance(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_sparsevec_l2_squared(a, b));
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_inner_product);
Datum
vdb_sparsevec_inner_product(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(-vdb_sparsevec_distance_ip(a, b));
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_negative_inner_product);
Datum
vdb_sparsevec_negative_inner_product(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_sparsevec_distance_ip(a, b));
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_cosine_distance);
Datum
vdb_sparsevec_cosine_distance(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_sparsevec_distance_cosine(a, b));
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_l1_distance);
Datum
vdb_sparsevec_l1_distance(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);

	vdb_sparsevec_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_sparsevec_distance_l1(a, b));
}

/*
 * Properties of one vector
 */

PG_FUNCTION_INFO_V1(vdb_sparsevec_dims);
Datum
vdb_sparsevec_dims(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);

	PG_RETURN_INT32(a->dim);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_nnz);
Datum
vdb_sparsevec_nnz(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);

	PG_RETURN_INT32(a->nnz);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_norm);
Datum
vdb_sparsevec_norm(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);

	PG_RETURN_FLOAT8(vdb_sparsevec_l2_norm(a));
}

/*
 * The zero vector stays as it is.  An element that becomes too small for a float4
 * goes.
 */
PG_FUNCTION_INFO_V1(vdb_sparsevec_l2_normalize);
Datum
vdb_sparsevec_l2_normalize(PG_FUNCTION_ARGS)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	const float4 *values = vdb_sparsevec_values(a);
	double		norm = vdb_sparsevec_l2_norm(a);
	int			nnz = 0;
	VdbSparsevec *result;
	float4	   *out;

	for (int i = 0; i < a->nnz; i++)
		nnz += (float4) (values[i] / norm) != 0;

	result = vdb_sparsevec_create(a->dim, nnz);
	out = vdb_sparsevec_values(result);
	for (int i = 0, j = 0; j < nnz; i++)
	{
		float4		value = (float4) (values[i] / norm);

		if (value != 0)
		{
			result->indices[j] = a->indices[i];
			out[j++] = value;
		}
	}
	PG_RETURN_POINTER(result);
}

/*
 * Comparison: lexicographic, as of the dense vectors that these stand for, a
 * prefix before what it is a prefix of.
 */

int
vdb_sparsevec_compare(const VdbSparsevec *a, const VdbSparsevec *b)
{
	const float4 *av = vdb_sparsevec_values(a);
	const float4 *bv = vdb_sparsevec_values(b);
	int			dim = Min(a->dim, b->dim);
	int			i = 0;
	int			ai;
	int			bi;

	while (i < a->nnz && i < b->nnz && a->indices[i] == b->indices[i] && av[i] == bv[i])
		i++;

	/* at the lesser of these the first difference is; one may have a zero there */
	ai = i < a->nnz ? a->indices[i] : dim;
	bi = i < b->nnz ? b->indices[i] : dim;
	if (Min(ai, bi) < dim)
	{
		float4		x = ai <= bi ? av[i] : 0;
		float4		y = bi <= ai ? bv[i] : 0;

		return (x > y) - (x < y);
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/*
 * Compares the two arguments.  Detoasted copies are freed: a btree build calls
 * this in a context that lives as long as the sort.
 */
static int
compare_args(FunctionCallInfo fcinfo)
{
	VdbSparsevec *a = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbSparsevec *b = PG_GETARG_VDB_SPARSEVEC_P(1);
	int			result = vdb_sparsevec_compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_lt);
Datum
vdb_sparsevec_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_le);
Datum
vdb_sparsevec_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_eq);
Datum
vdb_sparsevec_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_ne);
Datum
vdb_sparsevec_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_ge);
Datum
vdb_sparsevec_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_gt);
Datum
vdb_sparsevec_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_cmp);
Datum
vdb_sparsevec_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}
