/*
 * dense_cast.c
 *	  Casts of dense vectors: to and from arrays of numbers, and to a number of
 *	  dimensions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "compat.h"
#include "types/dense.h"
#include "types/number_array.h"

/* The same value, or an error when it has not the dimensions asked for. */
PG_FUNCTION_INFO_V1(vdb_dense_enforce_typmod);
Datum
vdb_dense_enforce_typmod(PG_FUNCTION_ARGS)
{
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(0);

	vdb_dense_check_typmod(PG_GETARG_INT32(1), a->dim);
	PG_RETURN_POINTER(a);
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
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(0);
	ArrayType  *result = vdb_array_create_floats(a->dim, FLOAT4OID);

	memcpy(ARR_DATA_PTR(result), vdb_dense_get_floats(type, a), sizeof(float4) * a->dim);
	PG_RETURN_ARRAYTYPE_P(result);
}
