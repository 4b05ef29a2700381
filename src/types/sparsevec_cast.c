/*
 * sparsevec_cast.c
 *	  Casts between sparsevec and vector, halfvec and arrays, and from sparsevec
 *	  to sparsevec(n).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "compat.h"
#include "types/dense.h"
#include "types/halfvec.h"
#include "types/number_array.h"
#include "types/sparsevec.h"
#include "types/vector.h"

static VdbSparsevec *convert_from_dense(FunctionCallInfo fcinfo, const VdbDenseType *type);
static VdbDense *convert_to_dense(FunctionCallInfo fcinfo, const VdbDenseType *type);
static VdbSparsevec *form_sparsevec(int dim, const float4 *x);
static void scatter_values(const VdbSparsevec *vector, float4 *x);
static int	get_index(const VdbSparsevec *vector, int i);

/* sparsevec to sparsevec(n): the same value, or an error. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_enforce_typmod);
Datum
vdb_sparsevec_enforce_typmod(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);

	vdb_dense_check_typmod(PG_GETARG_INT32(1), vector->dim);
	PG_RETURN_POINTER(vector);
}

/* int4[], float4[], float8[] or numeric[] to sparsevec(n). */
PG_FUNCTION_INFO_V1(vdb_array_to_sparsevec);
Datum
vdb_array_to_sparsevec(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = vdb_array_count_numbers(array);
	float4	   *x;
	VdbSparsevec *result;

	vdb_sparsevec_check_dim(dim);
	vdb_dense_check_typmod(PG_GETARG_INT32(1), dim);

	x = palloc(sizeof(float4) * dim);
	vdb_array_read_numbers(array, dim, x);
	result = form_sparsevec(dim, x);
	vdb_sparsevec_check_values(result);

	pfree(x);
	PG_RETURN_POINTER(result);
}

/* sparsevec to float4[] */
PG_FUNCTION_INFO_V1(vdb_sparsevec_to_float4);
Datum
vdb_sparsevec_to_float4(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	ArrayType  *result = vdb_array_create_floats(vector->dim, FLOAT4OID);

	scatter_values(vector, (float4 *) ARR_DATA_PTR(result));
	PG_RETURN_ARRAYTYPE_P(result);
}

/* sparsevec to float8[] */
PG_FUNCTION_INFO_V1(vdb_sparsevec_to_float8);
Datum
vdb_sparsevec_to_float8(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	const float4 *values = vdb_sparsevec_values(vector);
	ArrayType  *result = vdb_array_create_floats(vector->dim, FLOAT8OID);
	float8	   *x = (float8 *) ARR_DATA_PTR(result);

	for (int i = 0; i < vector->nnz; i++)
		x[get_index(vector, i)] = values[i];
	PG_RETURN_ARRAYTYPE_P(result);
}

/* vector to sparsevec(n) */
PG_FUNCTION_INFO_V1(vdb_vector_to_sparsevec);
Datum
vdb_vector_to_sparsevec(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert_from_dense(fcinfo, &vdb_vector_type));
}

/* sparsevec to vector(n) */
PG_FUNCTION_INFO_V1(vdb_sparsevec_to_vector);
Datum
vdb_sparsevec_to_vector(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert_to_dense(fcinfo, &vdb_vector_type));
}

/* halfvec to sparsevec(n) */
PG_FUNCTION_INFO_V1(vdb_halfvec_to_sparsevec);
Datum
vdb_halfvec_to_sparsevec(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert_from_dense(fcinfo, &vdb_halfvec_type));
}

/* sparsevec to halfvec(n) */
PG_FUNCTION_INFO_V1(vdb_sparsevec_to_halfvec);
Datum
vdb_sparsevec_to_halfvec(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert_to_dense(fcinfo, &vdb_halfvec_type));
}

static VdbSparsevec *
convert_from_dense(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);

	vdb_dense_check_typmod(PG_GETARG_INT32(1), a->dim);
	return form_sparsevec(a->dim, vdb_dense_get_floats(type, a));
}

static VdbDense *
convert_to_dense(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbDense   *result;
	float4	   *x;

	vdb_dense_check_dim(type, vector->dim);
	vdb_dense_check_typmod(PG_GETARG_INT32(1), vector->dim);

	result = vdb_dense_create(type, vector->dim);
	x = vdb_dense_begin_floats(type, result);
	memset(x, 0, sizeof(float4) * vector->dim);
	scatter_values(vector, x);
	vdb_dense_check_floats(type, vector->dim, x);
	vdb_dense_end_floats(type, result, x);
	return result;
}

/* The vector with the elements x[dim], zeros left out. */
static VdbSparsevec *
form_sparsevec(int dim, const float4 *x)
{
	int			nnz = 0;
	VdbSparsevec *result;
	float4	   *values;

	for (int i = 0; i < dim; i++)
		nnz += x[i] != 0;
	vdb_sparsevec_check_nnz(nnz, dim);

	result = vdb_sparsevec_create(dim, nnz);
	values = vdb_sparsevec_values(result);
	for (int i = 0, j = 0; j < nnz; i++)
	{
		if (x[i] != 0)
		{
			result->indices[j] = i;
			values[j++] = x[i];
		}
	}
	return result;
}

/* Writes the values to their places in x, which has all dimensions. */
static void
scatter_values(const VdbSparsevec *vector, float4 *x)
{
	const float4 *values = vdb_sparsevec_values(vector);

	for (int i = 0; i < vector->nnz; i++)
		x[get_index(vector, i)] = values[i];
}

/* The index of element i.  It is about to be written to: a damaged one raises. */
static int
get_index(const VdbSparsevec *vector, int i)
{
	int32		index = vector->indices[i];

	if (index < 0 || index >= vector->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged value of type %s", "sparsevec")));
	return index;
}
