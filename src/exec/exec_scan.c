/*
 * exec_scan.c
 *	  An exact search: the rows of a child in order of a distance.
 *
 * The child is read to its end, each row's distance is computed by the operator's own
 * function, and kept with the row's place (exec_ranked.h).  Rows that are returned are fetched
 * by their places, as the query's snapshot sees them, so they are what the child saw.
 *
 * Where an index of the table has a mirror, that tells which rows are worth measuring (exec_mirror.h), and the
 * child is not read.  It is there for when the mirror is not, or goes while it is read.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "compat.h"
#include "exec/exec_ahead.h"
#include "exec/exec_bitmap.h"
#include "exec/exec_mirror.h"
#include "exec/exec_private.h"
#include "exec/exec_ranked.h"
#include "exec/exec_readahead.h"
#include "index/index.h"
#include "storage/storage_hints.h"
#include "storage/storage_toast.h"

/* How many rows ahead a value is fetched into the cache, and what a row has beside it, about. */
#define PREFETCH_ROWS 4
#define ROW_OVERHEAD 40

typedef struct ExactScan
{
	CustomScanState css;		/* first: the server's */
	PlanState  *child;
	ExprState  *question;		/* the operator's other argument */
	ExprState  *conditions;		/* of a row that the child has not looked at */
	ExprState  *value_state;	/* what the distance is of, of such a row */
	FmgrInfo	function;		/* the operator's */
	FunctionCallInfo call;
	int			value;			/* which argument is the row's */
	AttrNumber	column;			/* of the table, see EXACT_COLUMN */
	bool		is_varlena;		/* and of what kind it is */
	bool		question_is_varlena;
	bool		reads_all;		/* the child returns each row of a page */
	VdbExactPasses behind;		/* what becomes of rows that memory does not hold */
	double		first;			/* rows that will be read, as far as known */
	double		mirror_first;	/* and of a mirror, until that many satisfy the conditions */

	MemoryContext search_context;	/* of one question: what is below */
	MemoryContext row_context;	/* reset after each row */
	bool		started;
	VdbRanked	ranked;
	bool		measured;		/* the pass has ended */

	Relation	index;			/* that may have a mirror; NULL: none is read */
	IndexFetchTableData *fetch;	/* of rows that it names */
	VdbExactMirror *mirror;		/* NULL: the child is read */
	uint64		mirror_passes;	/* of searches before this one */
	VdbReadahead *ahead;		/* questions that a join will ask; NULL: not known */
	uint64		ahead_batch;	/* of which searches were begun, in one pass */
	VdbExactMirror **ahead_mirrors; /* [ahead->count], NULL where one was not, or was taken */
	MemoryContext ahead_context;	/* of these, and of what a pass over the child has found for all: */
	const VdbSupport *support;	/* for that; NULL: there is none */
	const char *provider;		/* that computed in the last such pass */
	VdbAhead   *found_ahead;
	const VdbNearest *nearest;	/* what that is for this question; NULL: the child is read for it alone */
	int			nearest_next;	/* to be returned */
	VdbRankedRow last;			/* that was returned, if one was */
	bool		has_last;

	VdbToast	toast;			/* open while the child is read */
	MemoryContext value_context;	/* of that */
	uint64		distances;		/* computed in all */
	uint64		passes;
} ExactScan;

void
vdb_exec_check_function(Oid function)
{
	if (!vdb_may_execute(function, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	InvokeFunctionExecuteHook(function);
}

static void
begin_scan(CustomScanState *css, EState *estate, int eflags)
{
	ExactScan  *so = (ExactScan *) css;
	CustomScan *plan = castNode(CustomScan, css->ss.ps.plan);
	OpExpr	   *order = list_nth_node(OpExpr, plan->custom_exprs, EXACT_ORDER);
	Relation	rel = css->ss.ss_currentRelation;
	Oid			index;

	/* rows are the table's own, with their places: the server has made ready for any */
	ExecInitScanTupleSlot(estate, &css->ss, RelationGetDescr(rel), table_slot_callbacks(rel));
	ExecAssignScanProjectionInfo(&css->ss);

	so->child = ExecInitNode(linitial(plan->custom_plans), estate, eflags);
	css->custom_ps = list_make1(so->child);
	so->reads_all = IsA(so->child, SeqScanState) && so->child->qual == NULL;
	so->value = list_nth_node(Integer, plan->custom_private, EXACT_VALUE_ARGUMENT)->ival;
	so->behind = list_nth_node(Integer, plan->custom_private, EXACT_PASSES)->ival;
	so->column = list_nth_node(Integer, plan->custom_private, EXACT_COLUMN)->ival;
	if (so->column > 0 && so->child->ps_ProjInfo != NULL)
		elog(ERROR, "a scan below an exact one computes columns");
	so->first = list_nth_node(Integer, plan->custom_private, EXACT_FIRST)->ival;
	so->mirror_first = list_nth_node(Integer, plan->custom_private, EXACT_MIRROR_FIRST)->ival;
	so->is_varlena = get_typlen(exprType(list_nth(order->args, so->value))) == -1;
	so->question_is_varlena = get_typlen(exprType(list_nth(order->args, 1 - so->value))) == -1;
	so->question = ExecInitExpr(list_nth(order->args, 1 - so->value), &css->ss.ps);
	so->conditions = ExecInitQual(list_nth_node(List, plan->custom_exprs, EXACT_CONDITIONS), &css->ss.ps);

	so->value_state = ExecInitExpr(list_nth(order->args, so->value), &css->ss.ps);
	index = (Oid) list_nth_node(Integer, plan->custom_private, EXACT_MIRROR)->ival;
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
	{
		Param	   *param = list_nth(order->args, 1 - so->value);

		if (OidIsValid(index))
			so->index = index_open(index, AccessShareLock);
		/* a subplan may ask with the same parameter, of other rows each time: it has begun before the node did, and finds none */
		if (IsA(param, Param) && param->paramkind == PARAM_EXEC)
			so->ahead = vdb_readahead_find(estate, param->paramid);
		if (so->ahead != NULL && so->index == NULL)
			so->support = vdb_index_operator_support(order->opno);
		so->ahead_context = AllocSetContextCreate(CurrentMemoryContext, "vdb searches begun ahead", ALLOCSET_DEFAULT_SIZES);
	}

	vdb_exec_check_function(order->opfuncid);
	fmgr_info(order->opfuncid, &so->function);
	fmgr_info_set_expr((Node *) order, &so->function);
	so->call = palloc0(SizeForFunctionCallInfo(2));
	InitFunctionCallInfoData(*so->call, &so->function, 2, order->inputcollid, NULL, NULL);

	so->search_context = AllocSetContextCreate(CurrentMemoryContext, "vdb exact scan", ALLOCSET_DEFAULT_SIZES);
	so->row_context = AllocSetContextCreate(CurrentMemoryContext, "vdb exact scan row", ALLOCSET_DEFAULT_SIZES);
	so->value_context = AllocSetContextCreate(CurrentMemoryContext, "vdb exact scan values", ALLOCSET_SMALL_SIZES);
}

/*
 * Where there is a LIMIT, a pass keeps so many times the rows that it is for: most of those in a table are then forgotten at once,
 * and not written to memory, which takes a tenth of the time.  If others are wanted all the same, there is another pass.
 */
#define KEPT_IN_FIRST_PASS 64
#define FEW 64

/* Bytes.  The plan was made with another work_mem, perhaps. */
static Size
memory_for_rows(const ExactScan *so)
{
	Size		allowed = work_mem * (Size) 1024;

	switch (so->behind)
	{
		case EXACT_READS_AGAIN:
			break;
		case EXACT_READS_ONCE:
			return Max(allowed, (Size) so->first * 4 * sizeof(VdbRankedRow));
		case EXACT_KEEPS_ALL:
			return MaxAllocHugeSize;
	}
	return allowed;
}

/* Bytes, of the first pass. */
static Size
memory_for_first(const ExactScan *so)
{
	Size		bytes = memory_for_rows(so);

	if (so->behind != EXACT_READS_AGAIN || so->first == 0)
		return bytes;
	return Min(bytes, (Size) (so->first + FEW) * KEPT_IN_FIRST_PASS * sizeof(VdbRankedRow));
}

/*
 * A heap's page has its rows from its end to its front, so those that come next are before this one:
 * without being asked for, each would be waited for.  An address without a row does no harm.
 */
static inline void
prefetch_next(const ExactScan *so, NullableDatum value)
{
	const char *next = DatumGetPointer(value.value);
	Size		size;

	if (!so->reads_all || !so->is_varlena || value.isnull || !VARATT_IS_4B_U(next))
		return;
	size = VARSIZE_4B(next);
	next -= PREFETCH_ROWS * (size + ROW_OVERHEAD);
	vdb_prefetch(next, size);
}

/* The distance of a row's value, in the context of one row. */
static double
measure(ExactScan *so, NullableDatum value, bool *isnull)
{
	FunctionCallInfo call = so->call;
	double		distance;

	*isnull = so->function.fn_strict && (value.isnull || call->args[1 - so->value].isnull);
	if (*isnull)
		return 0;
	if (so->is_varlena && !value.isnull && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value.value)))
		value.value = vdb_toast_read(&so->toast, value.value);
	call->args[so->value] = value;
	call->isnull = false;
	distance = DatumGetFloat8(FunctionCallInvoke(call));
	*isnull = call->isnull;
	so->distances++;
	return distance;
}

/* What the child returned of a row. */
static NullableDatum
take_value(const ExactScan *so, TupleTableSlot *slot, ItemPointer *tid)
{
	NullableDatum value;

	if (so->column > 0)
	{
		value.value = slot_getattr(slot, so->column, &value.isnull);
		*tid = &slot->tts_tid;
		return value;
	}
	slot_getallattrs(slot);
	*tid = (ItemPointer) DatumGetPointer(slot->tts_values[EXACT_CHILD_TID]);
	return (NullableDatum) {slot->tts_values[EXACT_CHILD_VALUE], slot->tts_isnull[EXACT_CHILD_VALUE]};
}

/* A VdbExactMeasure: a row is fetched as an index scan does it. */
static bool
measure_place(void *state, ItemPointer tid, VdbRankedRow *row, double *distance)
{
	ExactScan  *so = state;
	ExprContext *econtext = so->css.ss.ps.ps_ExprContext;
	TupleTableSlot *slot = so->css.ss.ss_ScanTupleSlot;
	bool		call_again = false;
	bool		isnull;
	NullableDatum value;
	MemoryContext old;

	CHECK_FOR_INTERRUPTS();
	if (!table_index_fetch_tuple(so->fetch, tid, so->css.ss.ps.state->es_snapshot, slot, &call_again, NULL))
		return false;
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	if (!ExecQual(so->conditions, econtext))
	{
		InstrCountFiltered1(&so->css.ss.ps, 1);
		return false;
	}
	value.value = ExecEvalExprSwitchContext(so->value_state, econtext, &value.isnull);
	old = MemoryContextSwitchTo(so->row_context);
	*distance = measure(so, value, &isnull);
	MemoryContextSwitchTo(old);
	*row = vdb_ranked_row(*distance, isnull, &slot->tts_tid);
	MemoryContextReset(so->row_context);
	return true;
}

/* Begins a search by a question, which lives as long as the context. */
static VdbExactMirror *
begin_search(ExactScan *so, Datum question, Size bytes, MemoryContext context)
{
	return vdb_exact_mirror_begin(so->index, so->css.ss.ps.state->es_snapshot, question, so->mirror_first, bytes,
								  context, measure_place, so);
}

/* Begins searches by all questions that are known ahead, in one pass. */
static void
begin_ahead(ExactScan *so)
{
	VdbReadahead *ahead = so->ahead;
	Size		bytes = work_mem * (Size) 1024 / ahead->count;
	VdbExactMirror **begun;
	int			count = 0;
	MemoryContext old;

	MemoryContextReset(so->ahead_context);
	old = MemoryContextSwitchTo(so->ahead_context);
	so->ahead_mirrors = palloc0(ahead->count * sizeof(VdbExactMirror *));
	begun = palloc(ahead->count * sizeof(VdbExactMirror *));
	for (int i = 0; i < ahead->count; i++)
	{
		if (ahead->questions[i].isnull)
			continue;
		so->ahead_mirrors[i] = begin_search(so, PointerGetDatum(PG_DETOAST_DATUM_COPY(ahead->questions[i].value)), bytes,
											so->ahead_context);
		if (so->ahead_mirrors[i] != NULL)
			begun[count++] = so->ahead_mirrors[i];
	}
	if (count > 0 && vdb_exact_mirror_begin_all(begun, count))
		so->mirror_passes++;
	else
		memset(so->ahead_mirrors, 0, ahead->count * sizeof(VdbExactMirror *));
	MemoryContextSwitchTo(old);
	so->ahead_batch = ahead->batch;
}

/* Is this question, as the join gave it, one of several that are known? */
static bool
is_known_ahead(const ExactScan *so, Datum question)
{
	const VdbReadahead *ahead = so->ahead;

	return ahead != NULL && ahead->count >= 2 && ahead->current >= 0 && !ahead->questions[ahead->current].isnull &&
		ahead->questions[ahead->current].value == question;
}

/* The search that was begun ahead by a question, as the join gave it; NULL where there is none. */
static VdbExactMirror *
take_ahead(ExactScan *so, Datum question)
{
	VdbReadahead *ahead = so->ahead;
	VdbExactMirror *mirror;

	if (!is_known_ahead(so, question))
		return NULL;
	if (so->ahead_batch != ahead->batch)
		begin_ahead(so);
	mirror = so->ahead_mirrors[ahead->current];
	so->ahead_mirrors[ahead->current] = NULL;

	/* its first pass, which it counts, was that of all */
	if (mirror != NULL)
		so->mirror_passes--;
	return mirror;
}

/*
 * Begins to search the mirror for the question; NULL where there is none, or it cannot answer.  given: the question before it
 * was copied.
 */
static VdbExactMirror *
begin_mirror(ExactScan *so, Datum given)
{
	NullableDatum *question = &so->call->args[1 - so->value];
	Relation	rel = so->css.ss.ss_currentRelation;
	VdbExactMirror *mirror;

	if (so->index == NULL || question->isnull)
		return NULL;

	/* a sequential scan would do this, and the mirror stands for one; searches begun ahead read it at once */
	PredicateLockRelation(rel, so->css.ss.ps.state->es_snapshot);
	mirror = take_ahead(so, given);
	if (mirror == NULL)
		mirror = begin_search(so, question->value, work_mem * (Size) 1024, so->search_context);
	if (mirror == NULL)
		return NULL;
	if (so->fetch == NULL)
		so->fetch = table_index_fetch_begin(rel);
	so->toast.context = so->value_context;
	so->toast.in_order = false;
	pgstat_count_index_scan(so->index);
	return mirror;
}

/* Gives up what a search of the mirror has open. */
static void
end_mirror(ExactScan *so)
{
	if (so->mirror == NULL)
		return;
	so->mirror_passes += vdb_exact_mirror_passes(so->mirror);
	so->mirror = NULL;
	table_index_fetch_reset(so->fetch);
	vdb_toast_close(&so->toast);
}

/* Has one pass over the child find the nearest rows for all questions that are known ahead, if they can be found so. */
static void
measure_ahead(ExactScan *so)
{
	VdbReadahead *ahead = so->ahead;
	VdbBitmapAhead pages;
	TupleTableSlot *slot;
	MemoryContext old;

	MemoryContextReset(so->ahead_context);
	old = MemoryContextSwitchTo(so->ahead_context);
	so->found_ahead = vdb_ahead_begin(so->support, ahead->questions, ahead->count, (int) so->first);
	MemoryContextSwitchTo(old);
	so->ahead_batch = ahead->batch;
	if (so->found_ahead == NULL)
		return;
	so->passes++;
	vdb_bitmap_ahead_begin(&pages, so->child);
	while (slot = ExecProcNode(so->child), !TupIsNull(slot))
	{
		ItemPointer tid;
		NullableDatum value = take_value(so, slot, &tid);

		CHECK_FOR_INTERRUPTS();
		vdb_bitmap_ahead_step(&pages, ItemPointerGetBlockNumber(tid));
		prefetch_next(so, value);
		if (vdb_ahead_add(so->found_ahead, tid, value))
			continue;
		so->found_ahead = NULL;
		break;
	}
	vdb_bitmap_ahead_end(&pages);
	if (so->found_ahead != NULL)
	{
		old = MemoryContextSwitchTo(so->ahead_context);
		vdb_ahead_finish(so->found_ahead);
		MemoryContextSwitchTo(old);
		so->distances += so->found_ahead->block.distances;
		so->provider = so->found_ahead->block.provider == NULL ? "operator" : so->found_ahead->block.provider->name;
	}

	/* to be read for one question, where more is wanted */
	ExecReScan(so->child);
}

/* What a pass for many questions has found for this one; NULL where there was none. */
static const VdbNearest *
find_nearest(ExactScan *so, Datum question)
{
	if (so->support == NULL || so->first == 0 || !is_known_ahead(so, question))
		return NULL;
	if (so->ahead_batch != so->ahead->batch)
		measure_ahead(so);
	return so->found_ahead == NULL ? NULL : vdb_ahead_nearest(so->found_ahead, so->ahead->current);
}

/* The next row by what was found ahead; false where the child is to be read, behind the rows that were returned. */
static bool
next_found_ahead(ExactScan *so, VdbRankedRow *row, bool *ended)
{
	const VdbNearest *nearest = so->nearest;

	*ended = false;
	if (so->nearest_next < nearest->count)
	{
		VdbNearRow *found = &nearest->rows[so->nearest_next++];

		*row = vdb_ranked_row(found->distance, false, &found->tid);
		return true;
	}

	/* there were no others, and none whose distance is null */
	*ended = nearest->count < nearest->k && !so->found_ahead->has_nulls;
	if (*ended)
		return true;
	so->nearest = NULL;
	if (so->has_last)
		vdb_ranked_skip(&so->ranked, so->last);
	return false;
}

/* Evaluates the question, and makes ready for rows. */
static void
start_search(ExactScan *so)
{
	ExprContext *econtext = so->css.ss.ps.ps_ExprContext;
	NullableDatum *question = &so->call->args[1 - so->value];
	Datum		given;
	MemoryContext old;

	MemoryContextReset(so->search_context);
	vdb_ranked_init(&so->ranked, so->search_context, so->first, memory_for_first(so));
	question->value = ExecEvalExprSwitchContext(so->question, econtext, &question->isnull);
	given = question->value;
	if (!question->isnull && so->question_is_varlena)
	{
		old = MemoryContextSwitchTo(so->search_context);
		question->value = PointerGetDatum(PG_DETOAST_DATUM_COPY(question->value));
		MemoryContextSwitchTo(old);
	}
	so->has_last = false;
	so->started = true;
	so->measured = false;
	so->mirror = begin_mirror(so, given);
	so->nearest = find_nearest(so, given);
	so->nearest_next = 0;
}

/* Reads the child to its end. */
static void
measure_all(ExactScan *so)
{
	TupleTableSlot *slot;
	VdbBitmapAhead pages;

	so->passes++;
	so->toast.context = so->value_context;
	so->toast.in_order = true;
	vdb_bitmap_ahead_begin(&pages, so->child);
	while (slot = ExecProcNode(so->child), !TupIsNull(slot))
	{
		MemoryContext old = MemoryContextSwitchTo(so->row_context);
		ItemPointer tid;
		NullableDatum value = take_value(so, slot, &tid);
		double		distance;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		vdb_bitmap_ahead_step(&pages, ItemPointerGetBlockNumber(tid));
		prefetch_next(so, value);
		distance = measure(so, value, &isnull);
		MemoryContextSwitchTo(old);
		vdb_ranked_add(&so->ranked, vdb_ranked_row(distance, isnull, tid));
		MemoryContextReset(so->row_context);
	}
	vdb_bitmap_ahead_end(&pages);
	vdb_toast_close(&so->toast);
	so->measured = true;
}

/* The next row by the mirror; false where the child is to be read, behind the rows that were returned. */
static bool
next_mirrored(ExactScan *so, VdbRankedRow *row, bool *ended)
{
	double		distance;
	VdbExactStep step = vdb_exact_mirror_next(so->mirror, row, &distance);

	*ended = step == VDB_EXACT_END;
	if (step != VDB_EXACT_GONE)
		return true;
	end_mirror(so);
	if (so->has_last)
		vdb_ranked_skip(&so->ranked, so->last);
	return false;
}

/* The next row by the child. */
static bool
next_measured(ExactScan *so, VdbRankedRow *row)
{
	bool		again;

	for (;;)
	{
		if (!so->measured)
			measure_all(so);
		if (vdb_ranked_next(&so->ranked, row, &again))
			return true;
		if (!again || so->behind == EXACT_READS_ONCE)
			return false;
		vdb_ranked_widen(&so->ranked, KEPT_IN_FIRST_PASS, memory_for_rows(so));
		ExecReScan(so->child);
		so->measured = false;
	}
}

/* The next row; an ExecScanAccessMtd. */
static TupleTableSlot *
next_row(ScanState *ss)
{
	ExactScan  *so = (ExactScan *) ss;
	TupleTableSlot *slot = ss->ss_ScanTupleSlot;
	VdbRankedRow row;
	ItemPointerData tid;
	bool		ended;

	if (!so->started)
		start_search(so);
	if (!(so->mirror != NULL && next_mirrored(so, &row, &ended)) &&
		!(so->nearest != NULL && next_found_ahead(so, &row, &ended)))
		ended = !next_measured(so, &row);
	if (ended)
		return ExecClearTuple(slot);
	so->last = row;
	so->has_last = true;
	vdb_ranked_place(&row, &tid);
	if (!table_tuple_fetch_row_version(ss->ss_currentRelation, &tid, ss->ps.state->es_snapshot, slot))
		elog(ERROR, "row (%u,%u) of table \"%s\" has gone", ItemPointerGetBlockNumber(&tid),
			 ItemPointerGetOffsetNumber(&tid), RelationGetRelationName(ss->ss_currentRelation));
	return slot;
}

/* Does another version of a row belong to the result?  An ExecScanRecheckMtd. */
static bool
recheck_row(ScanState *ss, TupleTableSlot *slot)
{
	ExprContext *econtext = ss->ps.ps_ExprContext;

	econtext->ecxt_scantuple = slot;
	return ExecQual(((ExactScan *) ss)->conditions, econtext);
}

static TupleTableSlot *
execute_scan(CustomScanState *css)
{
	return ExecScan(&css->ss, next_row, recheck_row);
}

static void
end_scan(CustomScanState *css)
{
	ExactScan  *so = (ExactScan *) css;

	end_mirror(so);
	vdb_toast_close(&so->toast);
	if (so->fetch != NULL)
		table_index_fetch_end(so->fetch);
	if (so->index != NULL)
		index_close(so->index, NoLock);
	ExecEndNode(so->child);
}

static void
rescan(CustomScanState *css)
{
	ExactScan  *so = (ExactScan *) css;
	bool		same = css->ss.ps.chgParam == NULL && so->measured;

	ExecScanReScan(&css->ss);
	if (css->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(so->child, css->ss.ps.chgParam);

	/* the same question again, and all that it takes is there */
	if (same && vdb_ranked_rewind(&so->ranked))
		return;
	end_mirror(so);
	if (so->child->chgParam == NULL)
		ExecReScan(so->child);
	if (!same)
		so->started = false;
	so->measured = false;
}

static void
explain_scan(CustomScanState *css, List *ancestors, ExplainState *es)
{
	ExactScan  *so = (ExactScan *) css;
	CustomScan *plan = castNode(CustomScan, css->ss.ps.plan);
	List	   *context = set_deparse_context_plan(es->deparse_cxt, &plan->scan.plan, ancestors);
	Oid			index = (Oid) list_nth_node(Integer, plan->custom_private, EXACT_MIRROR)->ival;
	uint64		mirror_passes = so->mirror_passes;

	ExplainPropertyText("Order By", deparse_expression(list_nth(plan->custom_exprs, EXACT_ORDER), context,
													   es->verbose || list_length(es->rtable) > 1, false), es);
	if (OidIsValid(index))
		ExplainPropertyText("Mirror", get_rel_name(index), es);
	if (!es->analyze)
		return;
	if (so->mirror != NULL)
		mirror_passes += vdb_exact_mirror_passes(so->mirror);
	if (OidIsValid(index))
		ExplainPropertyUInteger("Mirror Passes", NULL, mirror_passes, es);
	ExplainPropertyUInteger("Distances", NULL, so->distances, es);
	if (so->provider != NULL)
		ExplainPropertyText("Provider", so->provider, es);
	ExplainPropertyUInteger("Passes", NULL, so->passes, es);
}

static Node *
create_scan_state(CustomScan *plan)
{
	static const CustomExecMethods methods = {
		.CustomName = VDB_EXACT_SCAN_NAME,
		.BeginCustomScan = begin_scan,
		.ExecCustomScan = execute_scan,
		.EndCustomScan = end_scan,
		.ReScanCustomScan = rescan,
		.ExplainCustomScan = explain_scan
	};
	ExactScan  *so = (ExactScan *) newNode(sizeof(ExactScan), T_CustomScanState);

	so->css.methods = &methods;
	return (Node *) so;
}

const CustomScanMethods vdb_exact_scan_methods = {
	.CustomName = VDB_EXACT_SCAN_NAME,
	.CreateCustomScanState = create_scan_state
};
