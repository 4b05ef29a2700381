/*
 * vector.c
 *	  The type vector: input and output, distances, arithmetic, comparison.
 *
 * Parsing is in vector_parse.c, the arithmetic of distances in
 * dense_distance.c, casts in vector_cast.c, aggregates in vector_agg.c.
 * Messages and error codes are those of pgvector, which applications match on.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "nodes/nodes.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/float.h"
#include "utils/varbit.h"

#include "compat.h"
#include "distance/distance.h"
#include "types/vector.h"
#include "types/vector_parse.h"

static Datum report_parse_error(VdbVectorParseStatus status,
								const VdbVectorParse *parse,
								const char *text, Node *escontext);
static VdbVector *sum_target(FunctionCallInfo fcinfo, VdbVector *a);
static int	compare_args(FunctionCallInfo fcinfo);

/* Allocates a vector in the current memory context; its elements are unset. */
VdbVector *
vdb_vector_create(int dim)
{
	Size		size = VDB_VECTOR_SIZE(dim);
	VdbVector  *result = palloc(size);

	SET_VARSIZE(result, size);
	result->dim = dim;
	result->unused = 0;
	return result;
}

/* Raises unless dim is a possible number of dimensions. */
void
vdb_vector_check_dim(int dim)
{
	if (dim < 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vector must have at least 1 dimension")));
	if (dim > VDB_VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("vector cannot have more than %d dimensions",
						VDB_VECTOR_MAX_DIM)));
}

void
vdb_vector_check_same_dims(const VdbVector *a, const VdbVector *b)
{
	if (a->dim != b->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different vector dimensions %d and %d",
						a->dim, b->dim)));
}

/* Raises unless typmod is -1 (any) or dim. */
void
vdb_vector_check_typmod(int32 typmod, int dim)
{
	if (typmod != -1 && typmod != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));
}

/* Raises unless all elements are finite. */
void
vdb_vector_check_elements(const VdbVector *vector)
{
	for (int i = 0; i < vector->dim; i++)
	{
		if (isnan(vector->x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in vector")));
		if (isinf(vector->x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in vector")));
	}
}

/*
 * Input and output
 */

PG_FUNCTION_INFO_V1(vdb_vector_in);
Datum
vdb_vector_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	float4		x[VDB_VECTOR_MAX_DIM];
	VdbVectorParse parse;
	VdbVectorParseStatus status;
	VdbVector  *result;

	status = vdb_vector_parse(text, strlen(text), x, VDB_VECTOR_MAX_DIM, &parse);
	if (status != VDB_VECTOR_PARSE_OK)
		return report_parse_error(status, &parse, text, fcinfo->context);

	if (typmod != -1 && typmod != parse.dim)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, parse.dim)));

	result = vdb_vector_create(parse.dim);
	memcpy(result->x, x, sizeof(float4) * parse.dim);
	PG_RETURN_POINTER(result);
}

/* Turns a failed parse into an error: a soft one where escontext asks for it. */
static Datum
report_parse_error(VdbVectorParseStatus status, const VdbVectorParse *parse,
				   const char *text, Node *escontext)
{
	switch (status)
	{
		case VDB_VECTOR_PARSE_NO_BRACKET:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"vector", text),
					 errdetail("Vector contents must start with \"[\".")));

		case VDB_VECTOR_PARSE_JUNK:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"vector", text),
					 errdetail("Junk after closing right brace.")));

		case VDB_VECTOR_PARSE_EMPTY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("vector must have at least 1 dimension")));

		case VDB_VECTOR_PARSE_TOO_MANY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("vector cannot have more than %d dimensions",
							VDB_VECTOR_MAX_DIM)));

		case VDB_VECTOR_PARSE_RANGE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s",
							pnstrdup(parse->bad, parse->bad_len), "vector")));

		case VDB_VECTOR_PARSE_NAN:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in vector")));

		case VDB_VECTOR_PARSE_INFINITE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in vector")));

		case VDB_VECTOR_PARSE_SYNTAX:
		case VDB_VECTOR_PARSE_OK:
			break;
	}

	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"",
					"vector", text)));
}

PG_FUNCTION_INFO_V1(vdb_vector_out);
Datum
vdb_vector_out(PG_FUNCTION_ARGS)
{
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(0);
	char	   *result;
	char	   *p;

	/* FLOAT_SHORTEST_DECIMAL_LEN counts a NUL: that is the comma's place */
	result = palloc((Size) vector->dim * FLOAT_SHORTEST_DECIMAL_LEN + 3);
	p = result;
	*p++ = '[';
	for (int i = 0; i < vector->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(vector->x[i], p);
	}
	*p++ = ']';
	*p = '\0';

	PG_FREE_IF_COPY(vector, 0);
	PG_RETURN_CSTRING(result);
}

PG_FUNCTION_INFO_V1(vdb_vector_typmod_in);
Datum
vdb_vector_typmod_in(PG_FUNCTION_ARGS)
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
				 errmsg("dimensions for type vector must be at least 1")));
	if (*typmods > VDB_VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type vector cannot exceed %d",
						VDB_VECTOR_MAX_DIM)));

	PG_RETURN_INT32(*typmods);
}

/* The binary form: int16 dim, int16 zero, dim float4, in network byte order. */
PG_FUNCTION_INFO_V1(vdb_vector_recv);
Datum
vdb_vector_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int16		dim;
	int16		unused;
	const char *source;
	VdbVector  *result;

	dim = pq_getmsgint(buf, sizeof(int16));
	unused = pq_getmsgint(buf, sizeof(int16));

	vdb_vector_check_dim(dim);
	vdb_vector_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	/* raises when fewer bytes are left, so nothing is allocated for a lie */
	source = pq_getmsgbytes(buf, dim * (int) sizeof(float4));
	result = vdb_vector_create(dim);
	for (int i = 0; i < dim; i++)
	{
		uint32		bits;

		memcpy(&bits, source + i * sizeof(bits), sizeof(bits));
		bits = pg_ntoh32(bits);
		memcpy(&result->x[i], &bits, sizeof(bits));
	}
	vdb_vector_check_elements(result);

	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(vdb_vector_send);
Datum
vdb_vector_send(PG_FUNCTION_ARGS)
{
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint16(&buf, vector->dim);
	pq_sendint16(&buf, vector->unused);
	for (int i = 0; i < vector->dim; i++)
		pq_sendfloat4(&buf, vector->x[i]);

	PG_FREE_IF_COPY(vector, 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * Distances.  What they compute is in dense_distance.c, where indexes find it.
 */

PG_FUNCTION_INFO_V1(vdb_vector_l2_distance);
Datum
vdb_vector_l2_distance(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_vector_distance_l2(a->dim, a->x, b->x));
}

/* Orders as l2_distance does, without the square root. */
PG_FUNCTION_INFO_V1(vdb_vector_l2_squared_distance);
Datum
vdb_vector_l2_squared_distance(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8((double) vdb_kernels->l2_squared(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(vdb_vector_inner_product);
Datum
vdb_vector_inner_product(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8(-vdb_vector_distance_ip(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(vdb_vector_negative_inner_product);
Datum
vdb_vector_negative_inner_product(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_vector_distance_ip(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(vdb_vector_cosine_distance);
Datum
vdb_vector_cosine_distance(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_vector_distance_cosine(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(vdb_vector_l1_distance);
Datum
vdb_vector_l1_distance(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);

	vdb_vector_check_same_dims(a, b);
	PG_RETURN_FLOAT8(vdb_vector_distance_l1(a->dim, a->x, b->x));
}

/*
 * The angle between two unit vectors as a fraction of pi.  Whether they are
 * unit vectors is not checked.
 */
PG_FUNCTION_INFO_V1(vdb_vector_spherical_distance);
Datum
vdb_vector_spherical_distance(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	double		similarity;

	vdb_vector_check_same_dims(a, b);
	similarity = -vdb_vector_distance_ip(a->dim, a->x, b->x);
	if (similarity > 1)
		similarity = 1;
	else if (similarity < -1)
		similarity = -1;
	PG_RETURN_FLOAT8(acos(similarity) / M_PI);
}

/*
 * Properties and parts of one vector
 */

PG_FUNCTION_INFO_V1(vdb_vector_dims);
Datum
vdb_vector_dims(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);

	PG_RETURN_INT32(a->dim);
}

/* Summed in double, in which no square of a float4 is out of range. */
double
vdb_vector_l2_norm(const VdbVector *a)
{
	double		sum = 0;

	for (int i = 0; i < a->dim; i++)
		sum += (double) a->x[i] * (double) a->x[i];
	return sqrt(sum);
}

PG_FUNCTION_INFO_V1(vdb_vector_norm);
Datum
vdb_vector_norm(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);

	PG_RETURN_FLOAT8(vdb_vector_l2_norm(a));
}

/* The zero vector stays as it is. */
PG_FUNCTION_INFO_V1(vdb_vector_l2_normalize);
Datum
vdb_vector_l2_normalize(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	double		norm = vdb_vector_l2_norm(a);
	VdbVector  *result = vdb_vector_create(a->dim);

	for (int i = 0; i < a->dim; i++)
		result->x[i] = norm > 0 ? (float4) (a->x[i] / norm) : 0;
	PG_RETURN_POINTER(result);
}

/* One bit an element: is it positive? */
PG_FUNCTION_INFO_V1(vdb_vector_binary_quantize);
Datum
vdb_vector_binary_quantize(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	Size		size = VARBITTOTALLEN(a->dim);
	VarBit	   *result = palloc0(size);
	bits8	   *bits = VARBITS(result);

	SET_VARSIZE(result, size);
	VARBITLEN(result) = a->dim;
	for (int i = 0; i < a->dim; i++)
		bits[i / 8] |= (a->x[i] > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}

/* Elements start .. start + count - 1, counted from 1, as far as they exist. */
PG_FUNCTION_INFO_V1(vdb_vector_subvector);
Datum
vdb_vector_subvector(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	int64		start = PG_GETARG_INT32(1);
	int64		end = start + PG_GETARG_INT32(2);
	VdbVector  *result;

	start = Max(start, 1);
	end = Min(end, (int64) a->dim + 1);
	vdb_vector_check_dim(start < end ? (int) (end - start) : 0);

	result = vdb_vector_create(end - start);
	memcpy(result->x, a->x + start - 1, sizeof(float4) * result->dim);
	PG_RETURN_POINTER(result);
}

/*
 * Arithmetic, element by element
 */

/* Also the transition function of sum(vector). */
PG_FUNCTION_INFO_V1(vdb_vector_add);
Datum
vdb_vector_add(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	VdbVector  *result;

	vdb_vector_check_same_dims(a, b);
	result = sum_target(fcinfo, a);
	for (int i = 0; i < a->dim; i++)
	{
		result->x[i] = a->x[i] + b->x[i];
		if (unlikely(isinf(result->x[i])))
			float_overflow_error();
	}
	PG_RETURN_POINTER(result);
}

/*
 * Where to put a + b: over a when a is the running state of an aggregate, which
 * may be modified in place, else into a new vector.
 */
static VdbVector *
sum_target(FunctionCallInfo fcinfo, VdbVector *a)
{
	if (AggCheckCallContext(fcinfo, NULL))
		return a;
	return vdb_vector_create(a->dim);
}

PG_FUNCTION_INFO_V1(vdb_vector_sub);
Datum
vdb_vector_sub(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	VdbVector  *result;

	vdb_vector_check_same_dims(a, b);
	result = vdb_vector_create(a->dim);
	for (int i = 0; i < a->dim; i++)
	{
		result->x[i] = a->x[i] - b->x[i];
		if (unlikely(isinf(result->x[i])))
			float_overflow_error();
	}
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(vdb_vector_mul);
Datum
vdb_vector_mul(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	VdbVector  *result;

	vdb_vector_check_same_dims(a, b);
	result = vdb_vector_create(a->dim);
	for (int i = 0; i < a->dim; i++)
	{
		result->x[i] = a->x[i] * b->x[i];
		if (unlikely(isinf(result->x[i])))
			float_overflow_error();
		if (unlikely(result->x[i] == 0) && a->x[i] != 0 && b->x[i] != 0)
			float_underflow_error();
	}
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(vdb_vector_concat);
Datum
vdb_vector_concat(PG_FUNCTION_ARGS)
{
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	int			dim = a->dim + b->dim;
	VdbVector  *result;

	vdb_vector_check_dim(dim);
	result = vdb_vector_create(dim);
	memcpy(result->x, a->x, sizeof(float4) * a->dim);
	memcpy(result->x + a->dim, b->x, sizeof(float4) * b->dim);
	PG_RETURN_POINTER(result);
}

/*
 * Comparison: lexicographic, a prefix before what it is a prefix of, -0 equal
 * to 0.
 */

int
vdb_vector_compare(const VdbVector *a, const VdbVector *b)
{
	int			dim = Min(a->dim, b->dim);

	for (int i = 0; i < dim; i++)
	{
		if (a->x[i] < b->x[i])
			return -1;
		if (a->x[i] > b->x[i])
			return 1;
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
	VdbVector  *a = PG_GETARG_VDB_VECTOR_P(0);
	VdbVector  *b = PG_GETARG_VDB_VECTOR_P(1);
	int			result = vdb_vector_compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

PG_FUNCTION_INFO_V1(vdb_vector_lt);
Datum
vdb_vector_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_le);
Datum
vdb_vector_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_eq);
Datum
vdb_vector_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_ne);
Datum
vdb_vector_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_ge);
Datum
vdb_vector_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_gt);
Datum
vdb_vector_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

PG_FUNCTION_INFO_V1(vdb_vector_cmp);
Datum
vdb_vector_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}
