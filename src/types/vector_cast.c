/*
 * vector_cast.c
 *	  Casts between vector and arrays, and from vector to vector(n); reading and
 *	  making arrays of numbers, which other types share.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "types/vector.h"

static void read_numeric_elements(ArrayType *array, float4 *x);

/* vector to vector(n): the same value, or an error. */
PG_FUNCTION_INFO_V1(vdb_vector_enforce_typmod);
Datum
vdb_vector_enforce_typmod(PG_FUNCTION_ARGS)
{
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(0);

	vdb_vector_check_typmod(PG_GETARG_INT32(1), vector->dim);
	PG_RETURN_POINTER(vector);
}

/* int4[], float4[], float8[] or numeric[] to vector(n). */
PG_FUNCTION_INFO_V1(vdb_array_to_vector);
Datum
vdb_array_to_vector(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = vdb_array_count_numbers(array);
	VdbVector  *result;

	vdb_vector_check_dim(dim);
	vdb_vector_check_typmod(PG_GETARG_INT32(1), dim);

	result = vdb_vector_create(dim);
	vdb_array_read_numbers(array, dim, result->x);
	vdb_vector_check_elements(result);

	PG_RETURN_POINTER(result);
}

/* The number of elements; raises unless the array has one dimension and no nulls. */
int
vdb_array_count_numbers(ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("array must be 1-D")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array must not contain nulls")));
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/*
 * Converts the count elements of an array that vdb_array_count_numbers() let
 * pass.  They may turn out infinite or NaN.
 */
void
vdb_array_read_numbers(ArrayType *array, int count, float4 *x)
{
	const char *data = ARR_DATA_PTR(array);

	/* an array without nulls stores fixed-width elements back to back */
	switch (ARR_ELEMTYPE(array))
	{
		case INT4OID:
			for (int i = 0; i < count; i++)
				x[i] = ((const int32 *) data)[i];
			break;
		case FLOAT4OID:
			memcpy(x, data, sizeof(float4) * count);
			break;
		case FLOAT8OID:
			for (int i = 0; i < count; i++)
				x[i] = ((const float8 *) data)[i];
			break;
		case NUMERICOID:
			read_numeric_elements(array, x);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("unsupported array type")));
	}
}

static void
read_numeric_elements(ArrayType *array, float4 *x)
{
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *elements;
	int			count;

	get_typlenbyvalalign(NUMERICOID, &typlen, &typbyval, &typalign);
	deconstruct_array(array, NUMERICOID, typlen, typbyval, typalign,
					  &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		x[i] = DatumGetFloat4(DirectFunctionCall1(numeric_float4, elements[i]));
}

/* vector to float4[] */
PG_FUNCTION_INFO_V1(vdb_vector_to_float4);
Datum
vdb_vector_to_float4(PG_FUNCTION_ARGS)
{
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(0);
	ArrayType  *result = vdb_array_create_floats(vector->dim);

	memcpy(ARR_DATA_PTR(result), vector->x, sizeof(float4) * vector->dim);
	PG_RETURN_ARRAYTYPE_P(result);
}

/* A float4[] of count zeros.  Raises if the server allows no array so large. */
ArrayType *
vdb_array_create_floats(int count)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + sizeof(float4) * (Size) count;
	ArrayType  *array;

	if (count > MaxArraySize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("array size exceeds the maximum allowed (%d)",
						(int) MaxArraySize)));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	return array;
}
