/*
 * sparsevec_agg.c
 *	  The aggregates sum(sparsevec) and avg(sparsevec).
 *
 * The state is a sparse vector of doubles that has every index seen so far, with
 * the number of vectors.  It has at most VDB_SPARSEVEC_MAX_NNZ elements, as the
 * result could not have more: so it takes at most 200 kB, whatever is summed.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "utils/float.h"

#include "compat.h"
#include "types/sparsevec.h"

typedef struct SparsevecSum
{
	int64		count;			/* vectors */
	int32		dim;
	int			nnz;
	int			room;			/* for so many elements */
	int32	   *indices;
	float8	   *sums;
} SparsevecSum;

#define INITIAL_ROOM 64

static MemoryContext get_agg_context(FunctionCallInfo fcinfo);
static SparsevecSum *create_sum(MemoryContext context, int32 dim, int room);
static void add_elements(SparsevecSum *sum, int nnz, const int32 *indices, const float8 *values);
static int	find_index(const SparsevecSum *sum, int start, int32 index);
static void insert_elements(SparsevecSum *sum, int count, const int32 *indices, const float8 *values);
static Datum form_result(FunctionCallInfo fcinfo, bool is_average);

PG_FUNCTION_INFO_V1(vdb_sparsevec_accum);
Datum
vdb_sparsevec_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = get_agg_context(fcinfo);
	SparsevecSum *sum = PG_ARGISNULL(0) ? NULL : (SparsevecSum *) PG_GETARG_POINTER(0);
	VdbSparsevec *vector;
	const float4 *values;
	float8	   *doubles;

	if (PG_ARGISNULL(1))
	{
		if (sum == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(sum);
	}

	vector = PG_GETARG_VDB_SPARSEVEC_P(1);
	if (sum == NULL)
		sum = create_sum(context, vector->dim, vector->nnz);
	else if (sum->dim != vector->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different sparsevec dimensions %d and %d",
						sum->dim, vector->dim)));

	values = vdb_sparsevec_values(vector);
	doubles = palloc(sizeof(float8) * vector->nnz);
	for (int i = 0; i < vector->nnz; i++)
		doubles[i] = values[i];
	add_elements(sum, vector->nnz, vector->indices, doubles);
	sum->count++;
	pfree(doubles);
	PG_FREE_IF_COPY(vector, 1);
	PG_RETURN_POINTER(sum);
}

/* Adds the second state to the first, or to a new one. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_combine);
Datum
vdb_sparsevec_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = get_agg_context(fcinfo);
	SparsevecSum *sum = PG_ARGISNULL(0) ? NULL : (SparsevecSum *) PG_GETARG_POINTER(0);
	SparsevecSum *other = PG_ARGISNULL(1) ? NULL : (SparsevecSum *) PG_GETARG_POINTER(1);

	if (other == NULL)
	{
		if (sum == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(sum);
	}

	if (sum == NULL)
		sum = create_sum(context, other->dim, other->nnz);
	else if (sum->dim != other->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different sparsevec dimensions %d and %d",
						sum->dim, other->dim)));

	add_elements(sum, other->nnz, other->indices, other->sums);
	sum->count += other->count;
	PG_RETURN_POINTER(sum);
}

/* From one process of a parallel query to another. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_serialize);
Datum
vdb_sparsevec_serialize(PG_FUNCTION_ARGS)
{
	SparsevecSum *sum = (SparsevecSum *) PG_GETARG_POINTER(0);
	StringInfoData buf;

	(void) get_agg_context(fcinfo);
	pq_begintypsend(&buf);
	pq_sendint64(&buf, sum->count);
	pq_sendint32(&buf, sum->dim);
	pq_sendint32(&buf, sum->nnz);
	for (int i = 0; i < sum->nnz; i++)
		pq_sendint32(&buf, sum->indices[i]);
	for (int i = 0; i < sum->nnz; i++)
		pq_sendfloat8(&buf, sum->sums[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(vdb_sparsevec_deserialize);
Datum
vdb_sparsevec_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *serialized = PG_GETARG_BYTEA_PP(0);
	StringInfoData buf;
	int64		count;
	int32		dim;
	int			nnz;
	SparsevecSum *sum;

	(void) get_agg_context(fcinfo);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(serialized), VARSIZE_ANY_EXHDR(serialized));

	count = pq_getmsgint64(&buf);
	dim = pq_getmsgint(&buf, sizeof(int32));
	nnz = pq_getmsgint(&buf, sizeof(int32));
	vdb_sparsevec_check_nnz(nnz, dim);

	sum = create_sum(CurrentMemoryContext, dim, nnz);
	sum->count = count;
	sum->nnz = nnz;
	for (int i = 0; i < nnz; i++)
		sum->indices[i] = pq_getmsgint(&buf, sizeof(int32));
	for (int i = 0; i < nnz; i++)
		sum->sums[i] = pq_getmsgfloat8(&buf);
	pq_getmsgend(&buf);
	pfree(buf.data);
	PG_RETURN_POINTER(sum);
}

/* NULL for no vectors. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_sum);
Datum
vdb_sparsevec_sum(PG_FUNCTION_ARGS)
{
	return form_result(fcinfo, false);
}

/* NULL for no vectors. */
PG_FUNCTION_INFO_V1(vdb_sparsevec_avg);
Datum
vdb_sparsevec_avg(PG_FUNCTION_ARGS)
{
	return form_result(fcinfo, true);
}

/* Where states live.  Raises outside of an aggregate. */
static MemoryContext
get_agg_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

/* A state without vectors and with room for that many elements, or some more. */
static SparsevecSum *
create_sum(MemoryContext context, int32 dim, int room)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	SparsevecSum *sum = palloc(sizeof(SparsevecSum));

	sum->count = 0;
	sum->dim = dim;
	sum->nnz = 0;
	sum->room = Max(room, INITIAL_ROOM);
	sum->indices = palloc(sizeof(int32) * sum->room);
	sum->sums = palloc(sizeof(float8) * sum->room);
	MemoryContextSwitchTo(caller);
	return sum;
}

/* Adds a vector whose indices ascend. */
static void
add_elements(SparsevecSum *sum, int nnz, const int32 *indices, const float8 *values)
{
	int32	   *new_indices = palloc(sizeof(int32) * nnz);
	float8	   *new_values = palloc(sizeof(float8) * nnz);
	int			count = 0;
	int			place = 0;

	for (int i = 0; i < nnz; i++)
	{
		place = find_index(sum, place, indices[i]);
		if (place < sum->nnz && sum->indices[place] == indices[i])
			sum->sums[place++] += values[i];
		else
		{
			new_indices[count] = indices[i];
			new_values[count++] = values[i];
		}
	}
	if (count > 0)
		insert_elements(sum, count, new_indices, new_values);
	pfree(new_indices);
	pfree(new_values);
}

/* The first place from start on whose index is not less, or the end. */
static int
find_index(const SparsevecSum *sum, int start, int32 index)
{
	int			end = sum->nnz;

	/* vectors that are alike have them side by side */
	if (start < end && sum->indices[start] >= index)
		return start;
	while (start < end)
	{
		int			middle = start + (end - start) / 2;

		if (sum->indices[middle] < index)
			start = middle + 1;
		else
			end = middle;
	}
	return start;
}

/* Adds elements whose indices ascend and are not there yet. */
static void
insert_elements(SparsevecSum *sum, int count, const int32 *indices, const float8 *values)
{
	int			nnz = sum->nnz + count;
	int			from = sum->nnz - 1;
	int			to = nnz - 1;

	vdb_sparsevec_check_nnz(nnz, sum->dim);
	if (nnz > sum->room)
	{
		sum->room = Min(Max(nnz, 2 * sum->room), VDB_SPARSEVEC_MAX_NNZ);
		sum->indices = repalloc(sum->indices, sizeof(int32) * sum->room);
		sum->sums = repalloc(sum->sums, sizeof(float8) * sum->room);
	}

	/* from the end, so that nothing is overwritten that is still to be moved */
	for (int i = count - 1; i >= 0; to--)
	{
		bool		is_new = from < 0 || sum->indices[from] < indices[i];

		sum->indices[to] = is_new ? indices[i] : sum->indices[from];
		sum->sums[to] = is_new ? values[i] : sum->sums[from];
		if (is_new)
			i--;
		else
			from--;
	}
	sum->nnz = nnz;
}

/*
 * The sum as a sparsevec, divided by the number of vectors if is_average.  An
 * element that is zero, or too small for a float4, is left out; one that is too
 * large is an error.  The state stays as it is: a window function goes on with it.
 */
static Datum
form_result(FunctionCallInfo fcinfo, bool is_average)
{
	SparsevecSum *sum = PG_ARGISNULL(0) ? NULL : (SparsevecSum *) PG_GETARG_POINTER(0);
	float8		divisor;
	int			nnz = 0;
	VdbSparsevec *result;
	float4	   *values;

	if (sum == NULL)
		PG_RETURN_NULL();

	divisor = is_average ? (float8) sum->count : 1;
	for (int i = 0; i < sum->nnz; i++)
	{
		float4		value = (float4) (sum->sums[i] / divisor);

		if (isinf(value))
			float_overflow_error();
		nnz += value != 0;
	}

	result = vdb_sparsevec_create(sum->dim, nnz);
	values = vdb_sparsevec_values(result);
	for (int i = 0, j = 0; j < nnz; i++)
	{
		float4		value = (float4) (sum->sums[i] / divisor);

		if (value != 0)
		{
			result->indices[j] = sum->indices[i];
			values[j++] = value;
		}
	}
	PG_RETURN_POINTER(result);
}
