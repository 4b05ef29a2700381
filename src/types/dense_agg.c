/*
 * dense_agg.c
 *	  The aggregate avg of vector and halfvec.  sum needs nothing but addition.
 *
 * The state is a float8 array: the number of values, then one sum for each
 * dimension.  It starts as {0}; the first value sets the dimensions.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/float.h"

#include "compat.h"
#include "types/dense.h"
#include "types/vector.h"

#define STATE_VALUES(state) ((float8 *) ARR_DATA_PTR(state))
#define STATE_DIM(state) (ARR_DIMS(state)[0] - 1)

static ArrayType *get_state(FunctionCallInfo fcinfo, int argno,
							const VdbDenseType *type, const char *step);
static ArrayType *create_state(int dim);

Datum
vdb_dense_accum(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	ArrayType  *state = get_state(fcinfo, 0, type, "accum");
	VdbDense   *a = PG_GETARG_VDB_DENSE_P(type, 1);
	const float4 *x = vdb_dense_get_floats(type, a);
	ArrayType  *result;
	float8	   *in = STATE_VALUES(state);
	float8	   *out;

	if (STATE_DIM(state) == 0)
	{
		result = create_state(a->dim);
		out = STATE_VALUES(result);
		out[0] = in[0] + 1;
		for (int i = 0; i < a->dim; i++)
			out[i + 1] = x[i];
		PG_RETURN_ARRAYTYPE_P(result);
	}

	vdb_dense_check_typmod(STATE_DIM(state), a->dim);

	/* the state of a running aggregate may be modified in place */
	result = AggCheckCallContext(fcinfo, NULL) ? state : create_state(a->dim);
	out = STATE_VALUES(result);
	out[0] = in[0] + 1;
	for (int i = 1; i <= a->dim; i++)
	{
		out[i] = in[i] + x[i - 1];
		if (unlikely(isinf(out[i])))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(result);
}

/*
 * Adds two states; one that has seen no value has no dimensions to compare.  Both
 * types have this function, which speaks of vectors, as it does in pgvector.
 */
PG_FUNCTION_INFO_V1(vdb_dense_combine);
Datum
vdb_dense_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *a = get_state(fcinfo, 0, &vdb_vector_type, "combine");
	ArrayType  *b = get_state(fcinfo, 1, &vdb_vector_type, "combine");
	ArrayType  *larger = STATE_DIM(a) == 0 ? b : a;
	int			dim = STATE_DIM(larger);
	ArrayType  *result;
	float8	   *out;

	if (dim > 0)
		vdb_dense_check_dim(&vdb_vector_type, dim);
	result = create_state(dim);
	out = STATE_VALUES(result);

	if (STATE_DIM(a) == 0 || STATE_DIM(b) == 0)
		memcpy(out, STATE_VALUES(larger), sizeof(float8) * (dim + 1));
	else
	{
		vdb_dense_check_typmod(STATE_DIM(a), STATE_DIM(b));
		for (int i = 1; i <= dim; i++)
		{
			out[i] = STATE_VALUES(a)[i] + STATE_VALUES(b)[i];
			if (unlikely(isinf(out[i])))
				float_overflow_error();
		}
	}
	out[0] = STATE_VALUES(a)[0] + STATE_VALUES(b)[0];
	PG_RETURN_ARRAYTYPE_P(result);
}

/* The final function: NULL for no values. */
Datum
vdb_dense_avg(FunctionCallInfo fcinfo, const VdbDenseType *type)
{
	ArrayType  *state = get_state(fcinfo, 0, type, "avg");
	float8	   *values = STATE_VALUES(state);
	VdbDense   *result;
	float4	   *mean;

	if (values[0] == 0)
		PG_RETURN_NULL();

	vdb_dense_check_dim(type, STATE_DIM(state));
	result = vdb_dense_create(type, STATE_DIM(state));
	mean = vdb_dense_begin_floats(type, result);
	for (int i = 0; i < result->dim; i++)
		mean[i] = values[i + 1] / values[0];
	vdb_dense_check_floats(type, result->dim, mean);
	vdb_dense_end_floats(type, result, mean);
	PG_RETURN_POINTER(result);
}

/*
 * Returns an argument after checking that it has the shape of a state: these
 * functions can be called from SQL with any array.
 */
static ArrayType *
get_state(FunctionCallInfo fcinfo, int argno, const VdbDenseType *type, const char *step)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(argno);

	if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 ||
		ARR_HASNULL(state) || ARR_ELEMTYPE(state) != FLOAT8OID)
		elog(ERROR, "%s_%s: expected state array", type->name, step);
	return state;
}

/* A state whose values are unset; dim is at most VDB_DENSE_MAX_DIM. */
static ArrayType *
create_state(int dim)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * (dim + 1);
	ArrayType  *state = palloc(size);

	SET_VARSIZE(state, size);
	state->ndim = 1;
	state->dataoffset = 0;
	state->elemtype = FLOAT8OID;
	ARR_DIMS(state)[0] = dim + 1;
	ARR_LBOUND(state)[0] = 1;
	return state;
}
