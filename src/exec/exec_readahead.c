/*
 * exec_readahead.c
 *	  Reading ahead in a join, so that one pass over a mirror, or a table, answers many of its questions.
 *
 * A nested loop takes a row of its outer side, and asks its inner side with a column of that, again and again: one question
 * at a time.  The node VdbReadAhead, put between the loop and its outer side, reads some rows before they are asked for, more of them each
 * time, and an exact scan below the loop sees their questions here.  What it makes of that is its own affair: rows
 * that the loop gets are the same, in the same order.
 *
 * More rows of the outer side may be read than the loop asks for.  So nothing is read ahead in statements that change
 * something, lock rows, or call volatile functions.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/memutils.h"

#include "compat.h"
#include "exec/exec_private.h"
#include "exec/exec_readahead.h"

#define READAHEAD_NAME "VdbReadAhead"

/*
 * Rows that are read at a time, at most; and how many times as many as before.  The first is read by itself, since it may be all that
 * the loop asks for.  After that a pass takes hardly longer for eight questions than for one.
 */
#define MOST_ROWS 128
#define MORE_ROWS 8

/* Beyond those that the planner has given to the nodes of a plan; each parameter is set by one loop. */
#define FIRST_NODE_ID (1 << 24)

/* What a plan has in custom_private: numbers. */
enum
{
	AHEAD_PARAM,				/* that the loop sets */
	AHEAD_COLUMN				/* to this one of its outer side */
};

typedef struct ReadaheadScan
{
	CustomScanState css;		/* first: the server's */
	int			param;
	AttrNumber	column;
	VdbReadahead ahead;
	MinimalTuple *rows;			/* [ahead.count] */
	int			size;			/* of the next batch, rows */
	bool		ended;			/* the outer side has */
	MemoryContext batch_context;

	struct ReadaheadScan *next; /* of those of this process that are executed */
} ReadaheadScan;

static ReadaheadScan *executed;

static const CustomScanMethods readahead_methods;

/* --- the node ------------------------------------------------------------------------------- */

/* A MemoryContextCallback: of the plan's memory. */
static void
forget(void *state)
{
	for (ReadaheadScan **at = &executed; *at != NULL; at = &(*at)->next)
	{
		if (*at != state)
			continue;
		*at = (*at)->next;
		return;
	}
}

VdbReadahead *
vdb_readahead_find(const EState *estate, int param)
{
	for (ReadaheadScan *scan = executed; scan != NULL; scan = scan->next)
	{
		if (scan->css.ss.ps.state == estate && scan->param == param)
			return &scan->ahead;
	}
	return NULL;
}

static void
begin_scan(CustomScanState *css, EState *estate, int eflags)
{
	ReadaheadScan *scan = (ReadaheadScan *) css;
	CustomScan *plan = castNode(CustomScan, css->ss.ps.plan);
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	scan->param = list_nth_node(Integer, plan->custom_private, AHEAD_PARAM)->ival;
	scan->column = (AttrNumber) list_nth_node(Integer, plan->custom_private, AHEAD_COLUMN)->ival;
	outerPlanState(css) = ExecInitNode(outerPlan(plan), estate, eflags);
	scan->batch_context = AllocSetContextCreate(CurrentMemoryContext, "vdb rows read ahead", ALLOCSET_DEFAULT_SIZES);
	scan->rows = palloc(MOST_ROWS * sizeof(MinimalTuple));
	scan->ahead.questions = palloc(MOST_ROWS * sizeof(NullableDatum));
	scan->size = 1;
	scan->next = executed;
	executed = scan;
	*callback = (MemoryContextCallback) {.func = forget, .arg = scan};
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
}

/* Makes a row of the batch the loop's. */
static TupleTableSlot *
show_row(ReadaheadScan *scan, int row)
{
	TupleTableSlot *slot = scan->css.ss.ss_ScanTupleSlot;

	ExecForceStoreMinimalTuple(scan->rows[row], slot, false);
	return slot;
}

/* Reads the next batch, which may be empty. */
static void
read_batch(ReadaheadScan *scan)
{
	VdbReadahead *ahead = &scan->ahead;
	Size		bytes = 0;

	ExecClearTuple(scan->css.ss.ss_ScanTupleSlot);
	MemoryContextReset(scan->batch_context);
	ahead->count = 0;
	ahead->current = -1;
	ahead->batch++;
	while (!scan->ended && ahead->count < scan->size && bytes < work_mem * (Size) 1024)
	{
		TupleTableSlot *slot = ExecProcNode(outerPlanState(scan));
		MemoryContext old;
		NullableDatum *question = &ahead->questions[ahead->count];

		scan->ended = TupIsNull(slot);
		if (scan->ended)
			break;
		old = MemoryContextSwitchTo(scan->batch_context);
		scan->rows[ahead->count] = ExecCopySlotMinimalTuple(slot);
		MemoryContextSwitchTo(old);
		bytes += scan->rows[ahead->count]->t_len;
		question->value = slot_getattr(show_row(scan, ahead->count), scan->column, &question->isnull);
		ahead->count++;
	}
	scan->size = Min(MORE_ROWS * scan->size, MOST_ROWS);
}

static TupleTableSlot *
execute_scan(CustomScanState *css)
{
	ReadaheadScan *scan = (ReadaheadScan *) css;
	VdbReadahead *ahead = &scan->ahead;

	CHECK_FOR_INTERRUPTS();
	if (ahead->current + 1 >= ahead->count)
		read_batch(scan);
	if (ahead->count == 0)
		return ExecClearTuple(css->ss.ss_ScanTupleSlot);
	return show_row(scan, ++ahead->current);
}

static void
end_scan(CustomScanState *css)
{
	ExecEndNode(outerPlanState(css));
}

static void
rescan(CustomScanState *css)
{
	ReadaheadScan *scan = (ReadaheadScan *) css;

	ExecClearTuple(css->ss.ss_ScanTupleSlot);
	scan->ahead.count = 0;
	scan->ahead.current = -1;
	scan->size = 1;
	scan->ended = false;
	if (outerPlanState(css)->chgParam == NULL)
		ExecReScan(outerPlanState(css));
}

static void
explain_scan(CustomScanState *css, List *ancestors, ExplainState *es)
{
	if (es->analyze)
		ExplainPropertyUInteger("Batches", NULL, ((ReadaheadScan *) css)->ahead.batch, es);
}

static Node *
create_scan_state(CustomScan *plan)
{
	static const CustomExecMethods methods = {
		.CustomName = READAHEAD_NAME,
		.BeginCustomScan = begin_scan,
		.ExecCustomScan = execute_scan,
		.EndCustomScan = end_scan,
		.ReScanCustomScan = rescan,
		.ExplainCustomScan = explain_scan
	};
	ReadaheadScan *scan = (ReadaheadScan *) newNode(sizeof(ReadaheadScan), T_CustomScanState);

	scan->css.methods = &methods;
	return (Node *) scan;
}

static const CustomScanMethods readahead_methods = {
	.CustomName = READAHEAD_NAME,
	.CreateCustomScanState = create_scan_state
};

/* --- in plans --------------------------------------------------------------------------------- */

/* The exact scan, if a plan returns its rows one by one; else NULL. */
static CustomScan *
find_exact_scan(Plan *plan)
{
	while (plan != NULL)
	{
		switch (nodeTag(plan))
		{
			case T_Limit:
			case T_Result:
			case T_Sort:
			case T_IncrementalSort:
			case T_Agg:
				plan = outerPlan(plan);
				break;
			case T_SubqueryScan:
				plan = ((SubqueryScan *) plan)->subplan;
				break;
			case T_CustomScan:
				return ((CustomScan *) plan)->methods == &vdb_exact_scan_methods ? (CustomScan *) plan : NULL;
			default:
				return NULL;
		}
	}
	return NULL;
}

/* Can such a scan answer many questions in one pass?  It has a mirror, or is to return so many rows that its child finds for all. */
static bool
is_for_many(const CustomScan *scan, const NestLoop *loop)
{
	const Plan *child = linitial(scan->custom_plans);
	ListCell   *cell;

	if (list_nth_node(Integer, scan->custom_private, EXACT_MIRROR)->ival != 0)
		return true;
	if (list_nth_node(Integer, scan->custom_private, EXACT_FIRST)->ival == 0 ||
		list_nth_node(Integer, scan->custom_private, EXACT_PASSES)->ival != EXACT_READS_AGAIN)
		return false;
	foreach(cell, loop->nestParams)
	{
		if (bms_is_member(lfirst_node(NestLoopParam, cell)->paramno, child->extParam))
			return false;
	}
	return true;
}

/* The parameter that such a scan has for a question; NULL where it has something else. */
static Param *
find_question(const CustomScan *scan)
{
	OpExpr	   *order = list_nth_node(OpExpr, scan->custom_exprs, EXACT_ORDER);
	int			value = list_nth_node(Integer, scan->custom_private, EXACT_VALUE_ARGUMENT)->ival;
	Param	   *question = list_nth(order->args, 1 - value);

	return IsA(question, Param) && question->paramkind == PARAM_EXEC ? question : NULL;
}

/* A node between a loop and its outer side, whose rows it returns. */
static Plan *
form_readahead(Plan *outer, int param, AttrNumber column)
{
	CustomScan *scan = makeNode(CustomScan);
	ListCell   *cell;

	scan->scan.plan = (Plan) {
		.type = T_CustomScan,
		.startup_cost = outer->startup_cost,
		.total_cost = outer->total_cost,
		.plan_rows = outer->plan_rows,
		.plan_width = outer->plan_width,
		.parallel_safe = outer->parallel_safe,
		.plan_node_id = FIRST_NODE_ID + param,
		.lefttree = outer,
		.extParam = outer->extParam,
		.allParam = outer->allParam
	};
	foreach(cell, outer->targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Expr	   *below = (Expr *) makeVarFromTargetEntry(OUTER_VAR, entry);
		Expr	   *above = (Expr *) makeVarFromTargetEntry(INDEX_VAR, entry);

		scan->custom_scan_tlist = lappend(scan->custom_scan_tlist,
										  makeTargetEntry(below, entry->resno, entry->resname, entry->resjunk));
		scan->scan.plan.targetlist = lappend(scan->scan.plan.targetlist,
											 makeTargetEntry(above, entry->resno, entry->resname, entry->resjunk));
	}
	scan->custom_private = list_make2(makeInteger(param), makeInteger(column));
	scan->methods = &readahead_methods;
	return &scan->scan.plan;
}

/* Puts such a node into a loop that asks an exact scan with a column of its outer side. */
static void
add_to_loop(Plan *plan)
{
	NestLoop   *loop = (NestLoop *) plan;
	CustomScan *scan = IsA(plan, NestLoop) ? find_exact_scan(innerPlan(plan)) : NULL;
	Param	   *question = scan == NULL ? NULL : find_question(scan);
	ListCell   *cell;

	if (question == NULL || !is_for_many(scan, loop))
		return;
	foreach(cell, loop->nestParams)
	{
		NestLoopParam *param = lfirst_node(NestLoopParam, cell);

		if (param->paramno != question->paramid || param->paramval->varattno <= 0)
			continue;
		outerPlan(loop) = form_readahead(outerPlan(loop), param->paramno, param->paramval->varattno);
		return;
	}
}

void
vdb_readahead_add(PlannedStmt *statement)
{
	vdb_index_walk_plans(statement, add_to_loop);
}

void
vdb_readahead_init(void)
{
	RegisterCustomScanMethods(&readahead_methods);
}
