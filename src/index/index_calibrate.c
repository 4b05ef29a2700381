/*
 * index_calibrate.c
 *	  vdb.calibrate() and vdb.calibration(): who may measure what recall scans have, with
 *	  which questions, and what is promised of it.
 *
 * How an index is measured is its access method's affair.  Where a user asks nothing,
 * questions are rows of the index, each of which its own search passes by, as if it were
 * not indexed: it would be too easy a question otherwise.
 *
 * What is kept is what may be promised: the mean less some standard errors of it.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "index/index_calibrate.h"
#include "stats/stats.h"

/* Questions of a user, at most. */
#define MAX_QUESTIONS 10000

/* Questions that a build takes time for: one for so many slots, in these bounds. */
#define BUILD_SLOTS_PER_QUESTION 16
#define BUILD_LEAST_QUESTIONS 64
#define BUILD_MOST_QUESTIONS 256

/* Slots that are looked at for each question, at most: many may have no row. */
#define MOST_DRAWS 16

/* Standard errors by which recall may be less than what was measured. */
#define CAUTION 2.0

uint32
vdb_calibrate_build_questions(uint64 slots)
{
	return (uint32) Min(Max(slots / BUILD_SLOTS_PER_QUESTION, BUILD_LEAST_QUESTIONS), BUILD_MOST_QUESTIONS);
}

/* Draws a slot of each part, and returns how many of them have rows. */
static uint64
draw_parts(uint64 slots, uint64 parts, pg_prng_state *random, bool only_try,
		   bool (*ask) (void *state, uint64 slot, bool only_try), void *state)
{
	uint64		asked = 0;

	for (uint64 i = 0; i < parts; i++)
	{
		CHECK_FOR_INTERRUPTS();
		asked += ask(state, pg_prng_uint64_range(random, slots * i / parts, slots * (i + 1) / parts - 1),
					 only_try);
	}
	return asked;
}

/* How many parts it takes is tried before. */
void
vdb_calibrate_draw(uint64 slots, uint32 wanted, uint64 seed,
				   bool (*ask) (void *state, uint64 slot, bool only_try), void *state)
{
	uint64		parts = Min(slots, wanted);
	uint64		found;
	pg_prng_state random;

	pg_prng_seed(&random, seed);
	found = draw_parts(slots, parts, &random, true, ask, state);
	parts = Min(slots, parts * Min(MOST_DRAWS, wanted / Max(found, 1)));
	draw_parts(slots, parts, &random, false, ask, state);
}

/*
 * Where next to nothing was missed, what is hard may not have come up: the error is no less
 * than if half of the answers to one question had been.
 */
uint16
vdb_calibrate_promise(double sum, double sum2, uint32 count, uint32 asked)
{
	double		n = Max(1, count);
	double		mean = sum / n;
	double		error = Max(sqrt(Max(0, sum2 / n - mean * mean) / n), 0.5 / asked);

	return (uint16) (Max(0, mean - CAUTION * error) * PG_UINT16_MAX);
}

double
vdb_calibrate_find_level(const uint16 *recall, int levels, double target)
{
	double		wanted = target * PG_UINT16_MAX;
	int			level = 0;

	while (level < levels - 1 && recall[level] < wanted)
		level++;
	if (level == 0 || recall[level] <= wanted)
		return level;
	return level - (recall[level] - wanted) / (recall[level] - recall[level - 1]);
}

/* --- functions ------------------------------------------------------------ */

/* Opens an index that has a target of recall. */
static Relation
open_index(Oid indexoid, LOCKMODE lock, Relation *heap, const VdbAccessMethod **method)
{
	Relation	index = vdb_index_open_named(NULL, indexoid, lock, heap);

	*method = vdb_index_method(index->rd_indam->amcostestimate);
	if ((*method)->calibrate == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s index \"%s\" cannot be calibrated", (*method)->name,
						RelationGetRelationName(index)),
				 errdetail("Scans of it look at as many lists as %s.probes says, whatever their recall.",
						   (*method)->name),
				 errhint("Measure its recall with vdb.recall(), or make the index USING ivfpq.")));
	return index;
}

/* The same for a change to its metapage. */
static Relation
open_for_calibration(Oid indexoid, Relation *heap, const VdbAccessMethod **method)
{
	Relation	index;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("An index is calibrated on the primary; a standby has the result.")));
	index = open_index(indexoid, RowExclusiveLock, heap, method);
	if (!vdb_may_maintain(indexoid, RelationGetRelid(*heap), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	return index;
}

/* A number, or null where the access method has no such thing. */
static Datum
form_number(int number, bool *isnull)
{
	*isnull = number == 0;
	return Int32GetDatum(number);
}

/* ef_search, recall, recall_100, probes, refine_factor: one row for each level */
static void
form_result(FunctionCallInfo fcinfo, const VdbCalibrated *calibrated)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int level = 0; level < calibrated->count; level++)
	{
		const VdbEffort *effort = &calibrated->efforts[level];
		Datum		values[5];
		bool		isnull[5] = {0};

		values[0] = form_number(effort->ef_search, &isnull[0]);
		values[1] = Float8GetDatum(calibrated->recall[0][level]);
		values[2] = Float8GetDatum(calibrated->recall[1][level]);
		values[3] = form_number(effort->probes, &isnull[3]);
		values[4] = form_number(effort->refine_factor, &isnull[4]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
}

bool
vdb_index_run_calibration(Relation index, Relation heap, const Datum *queries, int count, bool wait,
						  VdbCalibrated *result)
{
	VdbFormerUser former;
	bool		done;

	vdb_index_become_owner(heap, &former);
	done = vdb_index_method(index->rd_indam->amcostestimate)->calibrate(index, heap, queries, count, wait, result);
	vdb_index_come_back(&former);
	return done;
}

/* Measures, and returns what was measured. */
static void
calibrate(FunctionCallInfo fcinfo, Relation index, Relation heap, const Datum *queries, int count)
{
	VdbCalibrated calibrated = {0};

	(void) vdb_index_run_calibration(index, heap, queries, count, true, &calibrated);
	if (calibrated.count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" cannot be calibrated", RelationGetRelationName(index)),
				 errdetail("There are %u queries to measure recall with, at least %d are needed.",
						   calibrated.questions, VDB_MIN_QUESTIONS),
				 errhint("Calibrate it when its table has more rows.")));
	vdb_stats_set(RelationGetRelid(index), VDB_STAT_LAST_CALIBRATION, GetCurrentTimestamp());

	/* a transaction without a number would end before the record is flushed */
	ForceSyncCommit();
	form_result(fcinfo, &calibrated);
}

/* vdb.calibrate(index regclass) */
PG_FUNCTION_INFO_V1(vdb_index_calibrate);
Datum
vdb_index_calibrate(PG_FUNCTION_ARGS)
{
	const VdbAccessMethod *method;
	Relation	heap;
	Relation	index = open_for_calibration(PG_GETARG_OID(0), &heap, &method);

	calibrate(fcinfo, index, heap, NULL, 0);
	index_close(index, RowExclusiveLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}

/* A user's vectors; raises unless they are values of the indexed type. */
static Datum *
take_queries(Relation index, ArrayType *queries, int *count)
{
	Oid			type = ARR_ELEMTYPE(queries);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *values;

	if (type != index->rd_opcintype[0])
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("index \"%s\" is of type %s, queries are of type %s",
						RelationGetRelationName(index), format_type_be(index->rd_opcintype[0]),
						format_type_be(type)),
				 errhint("Cast the queries to the indexed type.")));
	if (array_contains_nulls(queries))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("queries must not contain nulls")));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(queries, type, length, by_value, align, &values, NULL, count);
	if (*count < VDB_MIN_QUESTIONS || *count > MAX_QUESTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of queries must be between %d and %d, not %d", VDB_MIN_QUESTIONS,
						MAX_QUESTIONS, *count)));
	return values;
}

/* vdb.calibrate(index regclass, queries anyarray) */
PG_FUNCTION_INFO_V1(vdb_index_calibrate_for);
Datum
vdb_index_calibrate_for(PG_FUNCTION_ARGS)
{
	const VdbAccessMethod *method;
	Relation	heap;
	Relation	index = open_for_calibration(PG_GETARG_OID(0), &heap, &method);
	int			count;
	Datum	   *queries = take_queries(index, PG_GETARG_ARRAYTYPE_P(1), &count);

	calibrate(fcinfo, index, heap, queries, count);
	index_close(index, RowExclusiveLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}

/* vdb.calibration(index regclass): what a scan goes by, if it goes by a target */
PG_FUNCTION_INFO_V1(vdb_index_calibration);
Datum
vdb_index_calibration(PG_FUNCTION_ARGS)
{
	const VdbAccessMethod *method;
	Relation	heap;
	Relation	index = open_index(PG_GETARG_OID(0), AccessShareLock, &heap, &method);
	VdbCalibrated calibrated = {0};

	method->calibration(index, &calibrated);
	form_result(fcinfo, &calibrated);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}
