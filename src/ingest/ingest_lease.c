/*
 * ingest_lease.c
 *	  vdb.claim(), vdb.complete() and vdb.fail(): the queue as programs outside have it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest/ingest_private.h"

#define MOST_ROWS 10000
#define LONGEST_LEASE_MS (24 * 3600 * 1000)

/* A time of this or that length, in ms. */
static int
get_ms(const Interval *interval, int64 least, const char *name)
{
	double		ms = vdb_ingest_interval_ms(interval);

	if (!(ms >= least && ms <= LONGEST_LEASE_MS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errdetail("It is between " INT64_FORMAT " ms and one day.", least)));
	return (int) ms;
}

static void
check_mode(const VdbPipeline *pipeline)
{
	if (pipeline->mode == VDB_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" has nothing to embed", pipeline->name),
				 errdetail("It copies column \"%s\" to the target.", pipeline->content)));
}

/* vdb.claim(pipeline name, n integer, lease interval): lease, key, content */
PG_FUNCTION_INFO_V1(vdb_ingest_claim);
Datum
vdb_ingest_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbPipeline *pipeline;
	VdbClaimed *rows;
	int			lease_ms;
	int64		lease;
	int			claimed;
	int			seen;

	InitMaterializedSRF(fcinfo, 0);
	vdb_ingest_check_given(fcinfo, 0, "pipeline");
	vdb_ingest_check_given(fcinfo, 1, "n");
	vdb_ingest_check_given(fcinfo, 2, "lease");
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > MOST_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be between 1 and %d", MOST_ROWS)));
	lease_ms = get_ms(PG_GETARG_INTERVAL_P(2), 1, "lease");
	pipeline = vdb_ingest_find_pipeline(NameStr(*PG_GETARG_NAME(0)), VDB_LOCK_NONE);
	vdb_ingest_require_owner(pipeline);
	check_mode(pipeline);
	if (!vdb_ingest_may_embed(pipeline))
		return (Datum) 0;
	SPI_connect();
	rows = vdb_ingest_claim_rows(pipeline, vdb_ingest_resolve_locked(pipeline, AccessShareLock, AccessShareLock),
								 PG_GETARG_INT32(1), lease_ms, &lease, &claimed, &seen);
	for (int i = 0; i < claimed; i++)
	{
		Datum		values[] = {
			Int64GetDatum(lease), CStringGetTextDatum(rows[i].key), CStringGetTextDatum(rows[i].content)
		};
		bool		nulls[lengthof(values)] = {0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

/* The pipeline a lease is of, which the caller may work on. */
static VdbPipeline *
find_leased(int64 lease)
{
	VdbPipeline *pipeline = vdb_ingest_find_pipeline_by_id((int) (lease >> VDB_LEASE_BITS), VDB_LOCK_NONE);

	if (pipeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("lease " INT64_FORMAT " does not exist", lease),
				 errhint("Leases come from vdb.claim().")));
	vdb_ingest_require_owner(pipeline);
	return pipeline;
}

/* An array's elements, none of which may be null. */
static Datum *
read_array(ArrayType *array, const char *name, int *count)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *elements;

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", name)));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &elements, NULL, count);
	return elements;
}

static char **
read_keys(ArrayType *array, int *count)
{
	Datum	   *elements = read_array(array, "keys", count);
	char	  **keys = palloc(sizeof(char *) * Max(*count, 1));

	for (int i = 0; i < *count; i++)
		keys[i] = TextDatumGetCString(elements[i]);
	return keys;
}

/* vdb.complete(lease bigint, keys text[], embeddings vector[]): how many had this lease */
PG_FUNCTION_INFO_V1(vdb_ingest_complete);
Datum
vdb_ingest_complete(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline;
	char	  **keys;
	Datum	   *embeddings;
	int			count;
	int			embedding_count;
	int			done;

	vdb_ingest_check_given(fcinfo, 0, "lease");
	vdb_ingest_check_given(fcinfo, 1, "keys");
	vdb_ingest_check_given(fcinfo, 2, "embeddings");
	pipeline = find_leased(PG_GETARG_INT64(0));
	keys = read_keys(PG_GETARG_ARRAYTYPE_P(1), &count);
	embeddings = read_array(PG_GETARG_ARRAYTYPE_P(2), "embeddings", &embedding_count);
	if (count != embedding_count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("there must be as many embeddings as keys"),
				 errdetail("There are %d keys and %d embeddings.", count, embedding_count)));
	SPI_connect();
	done = vdb_ingest_complete_rows(pipeline, vdb_ingest_resolve_locked(pipeline, NoLock, RowExclusiveLock),
									PG_GETARG_INT64(0), keys, embeddings, count);
	SPI_finish();
	PG_RETURN_INT32(done);
}

/* vdb.fail(lease bigint, keys text[], error text, retry_after interval): how many had this lease */
PG_FUNCTION_INFO_V1(vdb_ingest_fail);
Datum
vdb_ingest_fail(PG_FUNCTION_ARGS)
{
	int			retry_after = -1;
	VdbPipeline *pipeline;
	char	  **keys;
	int			count;
	int			failed;

	vdb_ingest_check_given(fcinfo, 0, "lease");
	vdb_ingest_check_given(fcinfo, 1, "keys");
	vdb_ingest_check_given(fcinfo, 2, "error");
	if (!PG_ARGISNULL(3))
		retry_after = get_ms(PG_GETARG_INTERVAL_P(3), 0, "retry_after");
	pipeline = find_leased(PG_GETARG_INT64(0));
	keys = read_keys(PG_GETARG_ARRAYTYPE_P(1), &count);
	SPI_connect();
	failed = vdb_ingest_fail_rows(pipeline, PG_GETARG_INT64(0), keys, count,
								  text_to_cstring(PG_GETARG_TEXT_PP(2)), retry_after);
	SPI_finish();
	PG_RETURN_INT32(failed);
}
