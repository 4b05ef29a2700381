/*
 * number_array.c
 *	  Reading and making arrays of numbers, for the casts of every type.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "types/number_array.h"

static void read_numeric_elements(ArrayType *array, float4 *x);

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

/*
 * A float4[] or float8[] of count zeros.  Raises if the server allows no array so
 * large.
 */
ArrayType *
vdb_array_create_floats(int count, Oid element_type)
{
	Size		element_size = element_type == FLOAT8OID ? sizeof(float8) : sizeof(float4);
	Size		size = ARR_OVERHEAD_NONULLS(1) + element_size * (Size) count;
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
	array->elemtype = element_type;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	return array;
}
