/*
 * dense_cast.c
 *	  Casts of vector and halfvec: between each other, to and from arrays of
 *	  numbers, and to a number of dimensions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "compat.h"
#include "types/dense.h"
#include "types/halfvec.h"
#include "types/number_array.h"
#include "types/vector.h"

static VdbDense *convert(FunctionCallInfo fcinfo, const VdbDenseType *from, const VdbDenseType *to);

/* The same value, or an error when it has not the dimensions asked for. */
PG_FUNCTION_INFO_V1(vdb_dense_enforce_typmod);
Datum
vdb_dense_enforce_typmod(PG_FUNCTION_ARGS)
{
	VdbDense   *a = (VdbDense *) PG_GETARG_VARLENA_P(0);

	vdb_dense_check_typmod(PG_GETARG_INT32(1), a->dim);
	PG_RETURN_POINTER(a);
}

PG_FUNCTION_INFO_V1(vdb_vector_to_halfvec);
Datum
vdb_vector_to_halfvec(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert(fcinfo, &vdb_vector_type, &vdb_halfvec_type));
}

PG_FUNCTION_INFO_V1(vdb_halfvec_to_vector);
Datum
vdb_halfvec_to_vector(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert(fcinfo, &vdb_halfvec_type, &vdb_vector_type));
}

static VdbDense *
convert(FunctionCallInfo fcinfo, const VdbDenseType *from, const VdbDenseType *to)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(from, 0);
	const float4 *x = vdb_dense_get_floats(from, a);

	vdb_dense_check_typmod(PG_GETARG_INT32(1), a->dim);
	vdb_dense_check_floats(to, a->dim, x);
	return vdb_dense_form(to, a->dim, x);
}

/* int4[], float4[], float8[] or numeric[] to a value of the type. */
Datum
vdb_dense_from_array(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = vdb_array_count_numbers(array);
	VdbDense   *result;
	float4	   *x;

	vdb_dense_check_dim(type, dim);
	vdb_dense_check_typmod(PG_GETARG_INT32(1), dim);

	result = vdb_dense_create(type, dim);
	x = vdb_dense_begin_floats(type, result);
	vdb_array_read_numbers(array, dim, x);
	vdb_dense_check_floats(type, dim, x);
	vdb_dense_end_floats(type, result, x);
	PG_RETURN_POINTER(result);
}

Datum
vdb_dense_to_float4(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	ArrayType  *result = vdb_array_create_floats(a->dim, FLOAT4OID);

	memcpy(ARR_DATA_PTR(result), vdb_dense_get_floats(type, a), sizeof(float4) * a->dim);
	PG_RETURN_ARRAYTYPE_P(result);
}

Datum
vdb_dense_to_float8(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 0);
	const float4 *x = vdb_dense_get_floats(type, a);
	ArrayType  *result = vdb_array_create_floats(a->dim, FLOAT8OID);
	float8	   *values = (float8 *) ARR_DATA_PTR(result);

	for (int i = 0; i < a->dim; i++)
		values[i] = x[i];
	PG_RETURN_ARRAYTYPE_P(result);
}
