/*
 * vector_agg.c
 *	  The aggregate avg(vector).  sum(vector) needs nothing but vector addition.
 *
 * The state is a float8 array: the number of vectors, then one sum for each
 * dimension.  It starts as {0}; the first vector sets the dimensions.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/float.h"

#include "compat.h"
#include "types/vector.h"

#define STATE_VALUES(state) ((float8 *) ARR_DATA_PTR(state))
#define STATE_DIM(state) (ARR_DIMS(state)[0] - 1)

static ArrayType *get_state(FunctionCallInfo fcinfo, int argno,
							const char *caller);
static ArrayType *create_state(int dim);

PG_FUNCTION_INFO_V1(vdb_vector_accum);
Datum
vdb_vector_accum(PG_FUNCTION_ARGS)
{
	ArrayType  *state = get_state(fcinfo, 0, "vector_accum");
	VdbVector  *vector = PG_GETARG_VDB_VECTOR_P(1);
	ArrayType  *result;
	float8	   *in = STATE_VALUES(state);
	float8	   *out;

	if (STATE_DIM(state) == 0)
	{
		result = create_state(vector->dim);
		out = STATE_VALUES(result);
		out[0] = in[0] + 1;
		for (int i = 0; i < vector->dim; i++)
			out[i + 1] = vector->x[i];
		PG_RETURN_ARRAYTYPE_P(result);
	}

	vdb_vector_check_typmod(STATE_DIM(state), vector->dim);

	/* the state of a running aggregate may be modified in place */
	result = AggCheckCallContext(fcinfo, NULL) ? state : create_state(vector->dim);
	out = STATE_VALUES(result);
	out[0] = in[0] + 1;
	for (int i = 1; i <= vector->dim; i++)
	{
		out[i] = in[i] + vector->x[i - 1];
		if (unlikely(isinf(out[i])))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(result);
}

/* Adds two states; one that has seen no vector has no dimensions to compare. */
PG_FUNCTION_INFO_V1(vdb_vector_combine);
Datum
vdb_vector_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *a = get_state(fcinfo, 0, "vector_combine");
	ArrayType  *b = get_state(fcinfo, 1, "vector_combine");
	ArrayType  *larger = STATE_DIM(a) == 0 ? b : a;
	int			dim = STATE_DIM(larger);
	ArrayType  *result = create_state(dim);
	float8	   *out = STATE_VALUES(result);

	if (STATE_DIM(a) == 0 || STATE_DIM(b) == 0)
		memcpy(out, STATE_VALUES(larger), sizeof(float8) * (dim + 1));
	else
	{
		vdb_vector_check_typmod(STATE_DIM(a), STATE_DIM(b));
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

/* The final function: NULL for no vectors. */
PG_FUNCTION_INFO_V1(vdb_vector_avg);
Datum
vdb_vector_avg(PG_FUNCTION_ARGS)
{
	ArrayType  *state = get_state(fcinfo, 0, "vector_avg");
	float8	   *values = STATE_VALUES(state);
	VdbVector  *result;

	if (values[0] == 0)
		PG_RETURN_NULL();

	vdb_vector_check_dim(STATE_DIM(state));
	result = vdb_vector_create(STATE_DIM(state));
	for (int i = 0; i < result->dim; i++)
		result->x[i] = values[i + 1] / values[0];
	vdb_vector_check_elements(result);
	PG_RETURN_POINTER(result);
}

/*
 * Returns an argument after checking that it has the shape of a state: these
 * functions can be called from SQL with any array.
 */
static ArrayType *
get_state(FunctionCallInfo fcinfo, int argno, const char *caller)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(argno);

	if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 ||
		ARR_HASNULL(state) || ARR_ELEMTYPE(state) != FLOAT8OID)
		elog(ERROR, "%s: expected state array", caller);
	return state;
}

/* A state whose values are unset. */
static ArrayType *
create_state(int dim)
{
	Size		size;
	ArrayType  *state;

	if (dim > 0)
		vdb_vector_check_dim(dim);
	size = ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * (dim + 1);
	state = palloc(size);
	SET_VARSIZE(state, size);
	state->ndim = 1;
	state->dataoffset = 0;
	state->elemtype = FLOAT8OID;
	ARR_DIMS(state)[0] = dim + 1;
	ARR_LBOUND(state)[0] = 1;
	return state;
}
