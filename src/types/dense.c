/*
 * dense.c
 *	  What vector and halfvec do alike: input and output, arithmetic, parts,
 *	  comparison, and the checks.
 *
 * Parsing is in vector_parse.c, the arithmetic of distances in
 * dense_distance.c, casts in dense_cast.c, aggregates in dense_agg.c.
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
#include "types/dense.h"
#include "types/vector_parse.h"

static Datum report_parse_error(const VdbDenseType *type, VdbVectorParseStatus status,
								const VdbVectorParse *parse,
								const char *text, Node *escontext);
static void report_bad_floats(const VdbDenseType *type, int dim, const float4 *x);
static void swap_elements(const VdbDenseType *type, int dim, const char *in, char *out);
static double get_l2_norm(int dim, const float4 *x);
static VdbDense *sum_target(FunctionCallInfo fcinfo, const VdbDenseType *type, VdbDense *a);

/* Allocates a value in the current memory context; its elements are unset. */
VdbDense *
vdb_dense_create(const VdbDenseType *type, int dim)
{
	Size		size = offsetof(VdbDense, x) + type->element_size * (Size) dim;
	VdbDense   *result = palloc(size);

	SET_VARSIZE(result, size);
	result->dim = dim;
	result->unused = 0;
	return result;
}

void
vdb_dense_report_damage(const VdbDenseType *type)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("damaged value of type %s", type->name)));
}

/* The elements as floats: in place, or a copy in the current memory context. */
const float4 *
vdb_dense_get_floats(const VdbDenseType *type, const VdbDense *a)
{
	float4	   *copy;

	if (type->to_floats == NULL)
		return (const float4 *) a->x;

	copy = palloc(sizeof(float4) * (Size) a->dim);
	type->to_floats(a->dim, a->x, copy);
	return copy;
}

/* A new value of dim floats, each rounded to what the type has. */
VdbDense *
vdb_dense_form(const VdbDenseType *type, int dim, const float4 *x)
{
	VdbDense   *result = vdb_dense_create(type, dim);

	if (type->from_floats == NULL)
		memcpy(result->x, x, sizeof(float4) * (Size) dim);
	else
		type->from_floats(dim, x, result->x);
	return result;
}

/*
 * Where to put floats that shall become the elements of result: in place, or in
 * the current memory context until vdb_dense_end_floats() frees it.
 */
float4 *
vdb_dense_begin_floats(const VdbDenseType *type, VdbDense *result)
{
	if (type->from_floats == NULL)
		return (float4 *) result->x;
	return palloc(sizeof(float4) * (Size) result->dim);
}

/* Stores them, each rounded to what the type has; x is no longer valid. */
void
vdb_dense_end_floats(const VdbDenseType *type, VdbDense *result, float4 *x)
{
	if (type->from_floats == NULL)
		return;
	type->from_floats(result->dim, x, result->x);
	pfree(x);
}

/* Raises unless dim is a possible number of dimensions. */
void
vdb_dense_check_dim(const VdbDenseType *type, int dim)
{
	if (dim < 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%s must have at least 1 dimension", type->name)));
	if (dim > VDB_DENSE_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s cannot have more than %d dimensions",
						type->name, VDB_DENSE_MAX_DIM)));
}

void
vdb_dense_check_same_dims(const VdbDenseType *type, int a, int b)
{
	if (a != b)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different %s dimensions %d and %d", type->name, a, b)));
}

/* Raises unless typmod is -1 (any) or dim. */
void
vdb_dense_check_typmod(int32 typmod, int dim)
{
	if (typmod != -1 && typmod != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));
}

/* Raises unless all floats are finite and remain so as elements of the type. */
void
vdb_dense_check_floats(const VdbDenseType *type, int dim, const float4 *x)
{
	for (int i = 0; i < dim; i++)
	{
		/* false for NaN, too */
		if (unlikely(!(fabsf(x[i]) < type->overflow)))
			report_bad_floats(type, dim, x);
	}
}

/*
 * Raises for the first number out of range, else for the first NaN or infinity: an
 * array of numbers is converted before it is checked, in pgvector.
 */
static void
report_bad_floats(const VdbDenseType *type, int dim, const float4 *x)
{
	for (int i = 0; i < dim; i++)
	{
		if (fabsf(x[i]) >= type->overflow && !isinf(x[i]))
		{
			char		number[FLOAT_SHORTEST_DECIMAL_LEN];

			float_to_shortest_decimal_buf(x[i], number);
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s", number, type->name)));
		}
	}
	for (int i = 0; i < dim; i++)
	{
		if (isnan(x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in %s", type->name)));
		if (isinf(x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in %s", type->name)));
	}
}

/*
 * Input and output
 */

Datum
vdb_dense_in(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	float4		x[VDB_DENSE_MAX_DIM];
	VdbVectorParse parse;
	VdbVectorParseStatus status;

	status = vdb_vector_parse(text, strlen(text), x, VDB_DENSE_MAX_DIM,
							  type->overflow, &parse);
	if (status != VDB_VECTOR_PARSE_OK)
		return report_parse_error(type, status, &parse, text, fcinfo->context);

	if (typmod != -1 && typmod != parse.dim)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, parse.dim)));

	PG_RETURN_POINTER(vdb_dense_form(type, parse.dim, x));
}

/* Turns a failed parse into an error: a soft one where escontext asks for it. */
static Datum
report_parse_error(const VdbDenseType *type, VdbVectorParseStatus status,
				   const VdbVectorParse *parse, const char *text, Node *escontext)
{
	switch (status)
	{
		case VDB_VECTOR_PARSE_NO_BRACKET:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							type->name, text),
					 errdetail("Vector contents must start with \"[\".")));

		case VDB_VECTOR_PARSE_NO_COMMA:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							type->name, text),
					 errhint("Elements are separated by commas.")));

		case VDB_VECTOR_PARSE_JUNK:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							type->name, text),
					 errdetail("Junk after closing right brace.")));

		case VDB_VECTOR_PARSE_EMPTY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("%s must have at least 1 dimension", type->name)));

		case VDB_VECTOR_PARSE_TOO_MANY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("%s cannot have more than %d dimensions",
							type->name, VDB_DENSE_MAX_DIM)));

		case VDB_VECTOR_PARSE_RANGE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s",
							pnstrdup(parse->bad, parse->bad_len), type->name)));

		case VDB_VECTOR_PARSE_NAN:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in %s", type->name)));

		case VDB_VECTOR_PARSE_INFINITE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in %s", type->name)));

		case VDB_VECTOR_PARSE_SYNTAX:
		case VDB_VECTOR_PARSE_OK:
			break;
	}

	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"",
					type->name, text)));
}

Datum
vdb_dense_out(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	const float4 *x = vdb_dense_get_floats(type, a);
	char	   *result;
	char	   *p;

	/* FLOAT_SHORTEST_DECIMAL_LEN counts a NUL: that is the comma's place */
	result = palloc((Size) a->dim * FLOAT_SHORTEST_DECIMAL_LEN + 3);
	p = result;
	*p++ = '[';
	for (int i = 0; i < a->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(x[i], p);
	}
	*p++ = ']';
	*p = '\0';

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_CSTRING(result);
}

Datum
vdb_dense_typmod_in(FunctionCallInfo fcinfo, const VdbDenseType *type)
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
				 errmsg("dimensions for type %s must be at least 1", type->name)));
	if (*typmods > VDB_DENSE_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s cannot exceed %d",
						type->name, VDB_DENSE_MAX_DIM)));

	PG_RETURN_INT32(*typmods);
}

/* The binary form: int16 dim, int16 zero, the elements, in network byte order. */
Datum
vdb_dense_recv(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int16		dim;
	int16		unused;
	const char *source;
	VdbDense   *result;

	dim = pq_getmsgint(buf, sizeof(int16));
	unused = pq_getmsgint(buf, sizeof(int16));

	vdb_dense_check_dim(type, dim);
	vdb_dense_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	/* raises when fewer bytes are left, so nothing is allocated for a lie */
	source = pq_getmsgbytes(buf, dim * (int) type->element_size);
	result = vdb_dense_create(type, dim);
	swap_elements(type, dim, source, result->x);
	vdb_dense_check_floats(type, dim, vdb_dense_get_floats(type, result));

	PG_RETURN_POINTER(result);
}

Datum
vdb_dense_send(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	int			size = a->dim * (int) type->element_size;
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint16(&buf, a->dim);
	pq_sendint16(&buf, a->unused);
	enlargeStringInfo(&buf, size);
	swap_elements(type, a->dim, a->x, buf.data + buf.len);
	buf.len += size;

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* Between the byte order of this machine and that of the network. */
static void
swap_elements(const VdbDenseType *type, int dim, const char *in, char *out)
{
	if (type->element_size == sizeof(uint16))
	{
		for (int i = 0; i < dim; i++)
		{
			uint16		bits;

			memcpy(&bits, in + i * sizeof(bits), sizeof(bits));
			bits = pg_ntoh16(bits);
			memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
		}
	}
	else
	{
		Assert(type->element_size == sizeof(uint32));
		for (int i = 0; i < dim; i++)
		{
			uint32		bits;

			memcpy(&bits, in + i * sizeof(bits), sizeof(bits));
			bits = pg_ntoh32(bits);
			memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
		}
	}
}

/*
 * Properties and parts of one value
 */

/* Fetches no more than the head of a value that is stored out of line. */
PG_FUNCTION_INFO_V1(vdb_dense_dims);
Datum
vdb_dense_dims(PG_FUNCTION_ARGS)
{
	VdbDense   *head = (VdbDense *)
		PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0, offsetof(VdbDense, x) - VARHDRSZ);

	PG_RETURN_INT32(head->dim);
}

Datum
vdb_dense_l2_norm(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);

	PG_RETURN_FLOAT8(get_l2_norm(a->dim, vdb_dense_get_floats(type, a)));
}

/* Summed in double, in which no square of a float4 is out of range. */
static double
get_l2_norm(int dim, const float4 *x)
{
	double		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += (double) x[i] * (double) x[i];
	return sqrt(sum);
}

/* The zero vector stays as it is. */
Datum
vdb_dense_l2_normalize(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	const float4 *x = vdb_dense_get_floats(type, a);
	double		norm = get_l2_norm(a->dim, x);
	VdbDense   *result = vdb_dense_create(type, a->dim);
	float4	   *unit = vdb_dense_begin_floats(type, result);

	for (int i = 0; i < a->dim; i++)
		unit[i] = norm > 0 ? (float4) (x[i] / norm) : 0;
	vdb_dense_end_floats(type, result, unit);
	PG_RETURN_POINTER(result);
}

/* One bit an element: is it positive? */
Datum
vdb_dense_binary_quantize(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	const float4 *x = vdb_dense_get_floats(type, a);
	Size		size = VARBITTOTALLEN(a->dim);
	VarBit	   *result = palloc0(size);
	bits8	   *bits = VARBITS(result);

	SET_VARSIZE(result, size);
	VARBITLEN(result) = a->dim;
	for (int i = 0; i < a->dim; i++)
		bits[i / 8] |= (x[i] > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}

/* Elements start .. start + count - 1, counted from 1, as far as they exist. */
Datum
vdb_dense_subvector(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	int64		start = PG_GETARG_INT32(1);
	int64		end = start + PG_GETARG_INT32(2);
	VdbDense   *result;

	start = Max(start, 1);
	end = Min(end, (int64) a->dim + 1);
	vdb_dense_check_dim(type, start < end ? (int) (end - start) : 0);

	result = vdb_dense_create(type, end - start);
	memcpy(result->x, a->x + type->element_size * (start - 1),
		   type->element_size * result->dim);
	PG_RETURN_POINTER(result);
}

/*
 * Arithmetic, element by element
 */

/* Also the transition function of sum. */
Datum
vdb_dense_add(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	VdbDense   *b = PG_GETARG_VDB_DENSE_P(type, 1);
	const float4 *x = vdb_dense_get_floats(type, a);
	const float4 *y = vdb_dense_get_floats(type, b);
	VdbDense   *result;
	float4	   *sum;

	vdb_dense_check_same_dims(type, a->dim, b->dim);
	result = sum_target(fcinfo, type, a);
	sum = vdb_dense_begin_floats(type, result);
	for (int i = 0; i < a->dim; i++)
	{
		sum[i] = x[i] + y[i];
		if (unlikely(fabsf(sum[i]) >= type->overflow))
			float_overflow_error();
	}
	vdb_dense_end_floats(type, result, sum);
	PG_RETURN_POINTER(result);
}

/*
 * Where to put a + b: over a when a is the running state of an aggregate, which
 * may be modified in place, else into a new value.
 */
static VdbDense *
sum_target(FunctionCallInfo fcinfo, const VdbDenseType *type, VdbDense *a)
{
	if (AggCheckCallContext(fcinfo, NULL))
		return a;
	return vdb_dense_create(type, a->dim);
}

Datum
vdb_dense_sub(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	VdbDense   *b = PG_GETARG_VDB_DENSE_P(type, 1);
	const float4 *x = vdb_dense_get_floats(type, a);
	const float4 *y = vdb_dense_get_floats(type, b);
	VdbDense   *result;
	float4	   *difference;

	vdb_dense_check_same_dims(type, a->dim, b->dim);
	result = vdb_dense_create(type, a->dim);
	difference = vdb_dense_begin_floats(type, result);
	for (int i = 0; i < a->dim; i++)
	{
		difference[i] = x[i] - y[i];
		if (unlikely(fabsf(difference[i]) >= type->overflow))
			float_overflow_error();
	}
	vdb_dense_end_floats(type, result, difference);
	PG_RETURN_POINTER(result);
}

Datum
vdb_dense_mul(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	VdbDense   *b = PG_GETARG_VDB_DENSE_P(type, 1);
	const float4 *x = vdb_dense_get_floats(type, a);
	const float4 *y = vdb_dense_get_floats(type, b);
	VdbDense   *result;
	float4	   *product;

	vdb_dense_check_same_dims(type, a->dim, b->dim);
	result = vdb_dense_create(type, a->dim);
	product = vdb_dense_begin_floats(type, result);
	for (int i = 0; i < a->dim; i++)
	{
		product[i] = x[i] * y[i];
		if (unlikely(fabsf(product[i]) >= type->overflow))
			float_overflow_error();
		if (unlikely(fabsf(product[i]) <= type->underflow) && x[i] != 0 && y[i] != 0)
			float_underflow_error();
	}
	vdb_dense_end_floats(type, result, product);
	PG_RETURN_POINTER(result);
}

Datum
vdb_dense_concat(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	VdbDense   *b = PG_GETARG_VDB_DENSE_P(type, 1);
	int			dim = a->dim + b->dim;
	Size		size = type->element_size * a->dim;
	VdbDense   *result;

	vdb_dense_check_dim(type, dim);
	result = vdb_dense_create(type, dim);
	memcpy(result->x, a->x, size);
	memcpy(result->x + size, b->x, type->element_size * b->dim);
	PG_RETURN_POINTER(result);
}

/*
 * Compares the two arguments: lexicographic, a prefix before what it is a prefix
 * of, -0 equal to 0.  Detoasted copies are freed: a btree build calls this in a
 * context that lives as long as the sort.
 */
int
vdb_dense_compare(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	VdbDense   *b = PG_GETARG_VDB_DENSE_P(type, 1);
	int			result = type->compare(Min(a->dim, b->dim), a->x, b->x);

	if (result == 0)
		result = (a->dim > b->dim) - (a->dim < b->dim);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}
