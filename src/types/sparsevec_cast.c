/*
 * sparsevec_cast.c
 *	  Casts between sparsevec and vector and arrays, and from sparsevec to
 *	  sparsevec(n).
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"

#include "compat.h"
#include "types/sparsevec.h"
#include "types/vector.h"

static VdbSparsevec *form_sparsevec(int dim, const float4 *x);
static void scatter_values(const VdbSparsevec *vector, float4 *x);

/* sparsevec to sparsevec(n): the same value, or an error. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_enforce_typmod);
Datum
vdb_sparsevec_enforce_typmod(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);

	vdb_vector_check_typmod(PG_GETARG_INT32(1), vector->dim);
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
	vdb_vector_check_typmod(PG_GETARG_INT32(1), dim);

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
	ArrayType  *result = vdb_array_create_floats(vector->dim);

	scatter_values(vector, (float4 *) ARR_DATA_PTR(result));
	PG_RETURN_ARRAYTYPE_P(result);
}

/* vector to sparsevec(n) */
PG_FUNCTION_INFO_V1(vdb_vector_to_sparsevec);
Datum
vdb_vector_to_sparsevec(PG_FUNCTION_ARGS)
{
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(0);

	vdb_vector_check_typmod(PG_GETARG_INT32(1), vector->dim);
	PG_RETURN_POINTER(form_sparsevec(vector->dim, vector->x));
}

/* sparsevec to vector(n) */
PG_FUNCTION_INFO_V1(vdb_sparsevec_to_vector);
Datum
vdb_sparsevec_to_vector(PG_FUNCTION_ARGS)
{
	VdbSparsevec *vector = PG_GETARG_VDB_SPARSEVEC_P(0);
	VdbVector  *result;

	vdb_vector_check_dim(vector->dim);
	vdb_vector_check_typmod(PG_GETARG_INT32(1), vector->dim);

	result = vdb_vector_create(vector->dim);
	memset(result->x, 0, sizeof(float4) * vector->dim);
	scatter_values(vector, result->x);
	PG_RETURN_POINTER(result);
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
	{
		int32		index = vector->indices[i];

		/* nobody but a broken disk makes such a value, but this is a write */
		if (index < 0 || index >= vector->dim)
			elog(ERROR, "sparsevec index %d is not within %d dimensions",
				 index, vector->dim);
		x[index] = values[i];
	}
}
