/*
 * index_recall.c
 *	  vdb.recall(): how many of the true nearest rows does an index find?
 *
 * A sample of the table's own rows is asked for its nearest other rows, twice:
 * by reading the table, once for all of them, and by scanning the index for
 * each.  Both see the same snapshot, and both measure distances with the
 * operator, so they can be compared by distance: a row as near as the last of
 * the true ones counts as right, whichever of several equal rows it is.  A row
 * is not asked for itself, which any index finds.
 *
 * The same table gives the same sample, so that settings can be compared.
 *
 * Neither reading goes through the planner.  Expressions and the predicate of
 * the index are evaluated as the table's owner, as when the index is built.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "portability/instr_time.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index/index.h"
#include "pace.h"
#include "stats/stats.h"

#define MAX_K 1000
#define MAX_QUERIES 10000

/* Any number will do, as long as it stays the same. */
#define SAMPLE_SEED 20240229

/* A row of the sample. */
typedef struct RecallQuery
{
	Datum		value;
	ItemPointerData tid;
	int			count;			/* distances known, at most k */
	double	   *nearest;		/* [k], a heap with the greatest on top */
} RecallQuery;

typedef struct Recall
{
	Relation	heap;
	Relation	index;
	Snapshot	snapshot;
	FmgrInfo	distance;		/* the operator's function */
	Oid			type;			/* of its arguments */
	Oid			collation;

	/* evaluates what is indexed of the row in slot */
	IndexInfo  *info;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;

	int			k;
	int			count;			/* of queries */
	RecallQuery *queries;
	VdbEffort	effort;			/* with which scans begin */
	double		exact_ms;		/* of all queries together */
	double		index_ms;
} Recall;

static double measure_recall(Recall *recall, int wanted);
static void check_permission(Relation heap);
static void become_owner(Relation heap);
static void init_evaluation(Recall *recall);
static bool read_value(Recall *recall, Datum *value);
static void draw_sample(Recall *recall, int wanted);
static void replace_query(Recall *recall, RecallQuery *query, Datum value);
static double measure_distance(Recall *recall, Datum value, Datum query);
static void answer_exactly(Recall *recall);
static void keep_nearest(RecallQuery *query, int k, double distance);
static double answer_by_index(Recall *recall);
static int	count_right(Recall *recall, IndexScanDesc scan, RecallQuery *query);
static void note_recall(Oid index, int k, double share);
static Datum form_result(FunctionCallInfo fcinfo, const Recall *recall, double share);

PG_FUNCTION_INFO_V1(vdb_index_recall);
Datum
vdb_index_recall(PG_FUNCTION_ARGS)
{
	Oid			indexoid = PG_GETARG_OID(0);
	int			k = PG_GETARG_INT32(1);
	int			wanted = PG_GETARG_INT32(2);
	Recall		recall = {0};
	double		share;
	Datum		result;

	if (k < 1 || k > MAX_K)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"k\" must be between 1 and %d", MAX_K)));
	if (wanted < 1 || wanted > MAX_QUERIES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"queries\" must be between 1 and %d", MAX_QUERIES)));

	recall.k = k;
	recall.index = vdb_index_open_named(NULL, indexoid, AccessShareLock, &recall.heap);
	check_permission(recall.heap);
	share = measure_recall(&recall, wanted);
	result = form_result(fcinfo, &recall, share);
	index_close(recall.index, AccessShareLock);
	table_close(recall.heap, AccessShareLock);
	PG_RETURN_DATUM(result);
}

double
vdb_index_measure_recall(Relation index, Relation heap, int k, int queries)
{
	Recall		recall = {.index = index, .heap = heap, .k = k};

	return measure_recall(&recall, queries);
}

/* Measures, with so many queries at most, as the table's owner. */
static double
measure_recall(Recall *recall, int wanted)
{
	Oid			save_userid;
	int			save_sec_context;
	int			save_nestlevel;
	double		share;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	save_nestlevel = NewGUCNestLevel();
	become_owner(recall->heap);

	recall->effort = vdb_index_method(recall->index->rd_indam->amcostestimate)->first_effort(recall->index);
	recall->snapshot = RegisterSnapshot(GetActiveSnapshot());
	init_evaluation(recall);
	draw_sample(recall, wanted);
	answer_exactly(recall);
	share = answer_by_index(recall);

	ExecDropSingleTupleTableSlot(recall->slot);
	FreeExecutorState(recall->estate);
	UnregisterSnapshot(recall->snapshot);
	AtEOXact_GUC(false, save_nestlevel);
	SetUserIdAndSecContext(save_userid, save_sec_context);
	note_recall(RelationGetRelid(recall->index), recall->k, share);
	return share;
}

/* Whoever may read all of the table may know what the index finds of it. */
static void
check_permission(Relation heap)
{
	AclResult	acl = pg_class_aclcheck(RelationGetRelid(heap), GetUserId(), ACL_SELECT);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(heap));
	if (check_enable_rls(RelationGetRelid(heap), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", RelationGetRelationName(heap)),
				 errdetail("Row-level security hides rows from you that recall is measured on.")));
}

/* Undone by the caller, or by the end of the transaction. */
static void
become_owner(Relation heap)
{
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(heap->rd_rel->relowner, sec_context | SECURITY_RESTRICTED_OPERATION);

	/* the owner's functions must not find the caller's in their way */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
init_evaluation(Recall *recall)
{
	Oid			opfamily = recall->index->rd_opfamily[0];
	Oid			operator;

	recall->type = recall->index->rd_opcintype[0];
	recall->collation = recall->index->rd_indcollation[0];
	operator = get_opfamily_member(opfamily, recall->type, recall->type, 1);
	if (!OidIsValid(operator))
		elog(ERROR, "operator family %u has no distance for type %u", opfamily, recall->type);
	fmgr_info(get_opcode(operator), &recall->distance);

	recall->info = BuildIndexInfo(recall->index);
	recall->estate = CreateExecutorState();
	recall->predicate = ExecPrepareQual(recall->info->ii_Predicate, recall->estate);
	recall->slot = table_slot_create(recall->heap, NULL);
	GetPerTupleExprContext(recall->estate)->ecxt_scantuple = recall->slot;
}

/*
 * What is indexed of the row in the slot, detoasted.  False when nothing is.
 * The result lives until the next call.
 */
static bool
read_value(Recall *recall, Datum *value)
{
	ExprContext *context = GetPerTupleExprContext(recall->estate);
	MemoryContext old;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	vdb_pace();
	ResetExprContext(context);
	if (!ExecQual(recall->predicate, context))
		return false;
	FormIndexDatum(recall->info, recall->slot, recall->estate, values, isnull);
	if (isnull[0])
		return false;
	old = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	*value = PointerGetDatum(PG_DETOAST_DATUM(values[0]));
	MemoryContextSwitchTo(old);
	return true;
}

/* Draws as many rows as are wanted and there are, each equally likely. */
static void
draw_sample(Recall *recall, int wanted)
{
	/* always from the first block: the order decides who is drawn */
	TableScanDesc scan = table_beginscan_strat(recall->heap, recall->snapshot, 0, NULL, true, false);
	pg_prng_state random;
	uint64		seen = 0;
	Datum		value;

	pg_prng_seed(&random, SAMPLE_SEED);
	recall->queries = palloc0(wanted * sizeof(RecallQuery));
	while (table_scan_getnextslot(scan, ForwardScanDirection, recall->slot))
	{
		uint64		place;

		/* a vector without a distance to itself (zero, under cosine) has none at all */
		if (!read_value(recall, &value) || isnan(measure_distance(recall, value, value)))
			continue;
		place = pg_prng_uint64_range(&random, 0, seen++);
		if (recall->count < wanted)
			place = recall->count++;
		if (place < (uint64) wanted)
			replace_query(recall, &recall->queries[place], value);
	}
	table_endscan(scan);
	for (int i = 0; i < recall->count; i++)
		recall->queries[i].nearest = palloc(recall->k * sizeof(double));
}

/* Makes the row in the slot the query in this place of the sample. */
static void
replace_query(Recall *recall, RecallQuery *query, Datum value)
{
	if (DatumGetPointer(query->value) != NULL)
		pfree(DatumGetPointer(query->value));
	query->value = datumCopy(value, false, -1);
	query->tid = recall->slot->tts_tid;
}

static double
measure_distance(Recall *recall, Datum value, Datum query)
{
	return DatumGetFloat8(FunctionCall2Coll(&recall->distance, recall->collation, value, query));
}

/* Reads the table once and keeps the k smallest distances of each query. */
static void
answer_exactly(Recall *recall)
{
	TableScanDesc scan = table_beginscan(recall->heap, recall->snapshot, 0, NULL);
	instr_time	begin;
	instr_time	end;
	Datum		value;

	INSTR_TIME_SET_CURRENT(begin);
	while (table_scan_getnextslot(scan, ForwardScanDirection, recall->slot))
	{
		MemoryContext old;

		if (!read_value(recall, &value))
			continue;
		old = MemoryContextSwitchTo(GetPerTupleMemoryContext(recall->estate));
		for (int i = 0; i < recall->count; i++)
		{
			RecallQuery *query = &recall->queries[i];
			double		distance = measure_distance(recall, value, query->value);

			if (!isnan(distance) && !ItemPointerEquals(&query->tid, &recall->slot->tts_tid))
				keep_nearest(query, recall->k, distance);
		}
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	recall->exact_ms = INSTR_TIME_GET_MILLISEC(end);
}

static void
keep_nearest(RecallQuery *query, int k, double distance)
{
	double	   *heap = query->nearest;
	int			at;

	if (query->count < k)
	{
		/* sift up */
		for (at = query->count++; at > 0 && heap[(at - 1) / 2] < distance; at = (at - 1) / 2)
			heap[at] = heap[(at - 1) / 2];
	}
	else if (distance < heap[0])
	{
		/* sift down from the place of the greatest */
		at = 0;
		for (;;)
		{
			int			child = 2 * at + 1;

			if (child >= k)
				break;
			if (child + 1 < k && heap[child + 1] > heap[child])
				child++;
			if (heap[child] <= distance)
				break;
			heap[at] = heap[child];
			at = child;
		}
	}
	else
		return;
	heap[at] = distance;
}

/* Asks the index each query; returns the share of the true answers found. */
static double
answer_by_index(Recall *recall)
{
	IndexScanDesc scan = vdb_index_beginscan(recall->heap, recall->index, recall->snapshot, 0, 1);
	int64		true_answers = 0;
	int64		right = 0;

	for (int i = 0; i < recall->count; i++)
	{
		RecallQuery *query = &recall->queries[i];

		right += count_right(recall, scan, query);
		true_answers += query->count;
	}
	index_endscan(scan);
	return true_answers > 0 ? (double) right / true_answers : get_float8_nan();
}

/*
 * The number of rows among the first k that the index returns, other than the
 * query itself, that belong among the nearest k.
 */
static int
count_right(Recall *recall, IndexScanDesc scan, RecallQuery *query)
{
	ScanKeyData order;
	instr_time	begin;
	instr_time	end;
	int			returned = 0;
	int			right = 0;

	ScanKeyEntryInitialize(&order, SK_ORDER_BY, 1, 1, recall->type, recall->collation,
						   recall->distance.fn_oid, query->value);
	INSTR_TIME_SET_CURRENT(begin);
	index_rescan(scan, NULL, 0, &order, 1);
	while (returned < query->count &&
		   index_getnext_slot(scan, ForwardScanDirection, recall->slot))
	{
		Datum		value;

		if (ItemPointerEquals(&query->tid, &recall->slot->tts_tid))
			continue;
		returned++;
		if (read_value(recall, &value) &&
			measure_distance(recall, value, query->value) <= query->nearest[0])
			right++;
	}
	ExecClearTuple(recall->slot);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	recall->index_ms += INSTR_TIME_GET_MILLISEC(end);
	return right;
}

/* For statistics, if it could be measured. */
static void
note_recall(Oid index, int k, double share)
{
	if (isnan(share))
		return;
	vdb_stats_set_share(index, VDB_STAT_RECALL, share);
	vdb_stats_note(index, VDB_STAT_RECALL_K, k, VDB_STAT_LAST_RECALL);
}

/* recall, k, queries, ef_search, exact_ms, index_ms, probes */
static Datum
form_result(FunctionCallInfo fcinfo, const Recall *recall, double share)
{
	TupleDesc	desc;
	Datum		values[7];
	bool		isnull[7] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	isnull[0] = isnan(share);
	isnull[3] = recall->effort.ef_search == 0;
	isnull[6] = recall->effort.probes == 0;
	isnull[4] = isnull[5] = recall->count == 0;
	values[0] = Float8GetDatum(share);
	values[1] = Int32GetDatum(recall->k);
	values[2] = Int32GetDatum(recall->count);
	values[3] = Int32GetDatum(recall->effort.ef_search);
	values[4] = Float8GetDatum(recall->exact_ms / Max(1, recall->count));
	values[5] = Float8GetDatum(recall->index_ms / Max(1, recall->count));
	values[6] = Int32GetDatum(recall->effort.probes);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}
