/*
 * index_target.c
 *	  Keeps the executor from computing distances that nobody reads.
 *
 * ORDER BY makes the distance a column of the plan, hidden from the user.  An
 * index scan returns rows in that order without it, yet the executor computes
 * it for each row: it fetches both vectors, from TOAST tables where they are
 * long, and throws the result away.  So once a statement is planned, a hidden
 * distance under a LIMIT is replaced by a null, which EXPLAIN VERBOSE shows.
 *
 * LIMIT is the last step of a query: what it hides (resjunk), nobody above it
 * reads.  It reads that itself in one case, WITH TIES.  Where rows are locked,
 * the step before it is not the scan, and the plan is left alone.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "index/index.h"

static planner_hook_type previous_planner;

/*
 * Is this a scan of one of our indexes?  Planning has locked it; one that does
 * not exist was made up by a tool that wants to know its plan.
 */
static bool
is_our_scan(const Plan *plan)
{
	Relation	index;
	bool		ours;

	if (!IsA(plan, IndexScan) || ((const IndexScan *) plan)->indexorderbyorig == NIL)
		return false;
	index = RelationIdGetRelation(((const IndexScan *) plan)->indexid);
	if (index == NULL)
		return false;
	ours = index->rd_indam != NULL && vdb_index_method(index->rd_indam->amcostestimate) != NULL;
	RelationClose(index);
	return ours;
}

/* Replaces a column of an index scan by a null if it is what orders the scan. */
static void
drop_distance(IndexScan *scan, TargetEntry *column)
{
	Node	   *value = (Node *) column->expr;

	if (equal(value, linitial(scan->indexorderbyorig)))
		column->expr = (Expr *) makeNullConst(exprType(value), exprTypmod(value),
											  exprCollation(value));
}

/* The same for all columns that a LIMIT over an index scan hides. */
static void
drop_hidden_distances(const Limit *limit)
{
	Plan	   *scan = outerPlan(limit);
	ListCell   *cell;

	if (limit->limitOption != LIMIT_OPTION_COUNT || scan == NULL || !is_our_scan(scan))
		return;
	foreach(cell, limit->plan.targetlist)
	{
		TargetEntry *column = lfirst_node(TargetEntry, cell);
		Var		   *var = (Var *) column->expr;

		if (column->resjunk && IsA(var, Var) && var->varno == OUTER_VAR && var->varattno > 0 &&
			var->varattno <= list_length(scan->targetlist))
			drop_distance((IndexScan *) scan,
						  list_nth_node(TargetEntry, scan->targetlist, var->varattno - 1));
	}
}

static void walk_plan(Plan *plan);

static void
walk_plans(List *plans)
{
	ListCell   *cell;

	foreach(cell, plans)
		walk_plan(lfirst(cell));
}

static void
walk_plan(Plan *plan)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	if (IsA(plan, Limit))
		drop_hidden_distances((Limit *) plan);
	if (IsA(plan, Append))
		walk_plans(((Append *) plan)->appendplans);
	else if (IsA(plan, MergeAppend))
		walk_plans(((MergeAppend *) plan)->mergeplans);
	else if (IsA(plan, SubqueryScan))
		walk_plan(((SubqueryScan *) plan)->subplan);
	walk_plan(outerPlan(plan));
	walk_plan(innerPlan(plan));
}

static PlannedStmt *
plan_statement(Query *query, const char *text, int cursor_options, ParamListInfo params)
{
	PlannedStmt *statement;

	if (previous_planner != NULL)
		statement = previous_planner(query, text, cursor_options, params);
	else
		statement = standard_planner(query, text, cursor_options, params);
	walk_plan(statement->planTree);
	walk_plans(statement->subplans);
	return statement;
}

void
vdb_index_hook_plans(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_statement;
}
