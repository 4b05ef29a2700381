/*
 * index_target.c
 *	  Keeps the executor from computing distances that nobody reads.
 *
 * ORDER BY makes the distance a column of the plan, hidden from the user.  A
 * scan of ours returns rows in that order without it, yet the executor computes
 * it for each row: it fetches both vectors, from TOAST tables where they are
 * long, and throws the result away.  So once a statement is planned, a hidden
 * distance under a LIMIT is replaced by a null, which EXPLAIN VERBOSE shows.
 *
 * LIMIT is the last step of a query: what it hides (resjunk), nobody above it
 * reads.  It reads that itself in one case, WITH TIES.  Where rows are locked,
 * the step before it is not the scan, and the plan is left alone.
 */
#include "postgres.h"

#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "index/index.h"

static planner_hook_type previous_planner;

/*
 * Is this an index of ours?  Planning has locked it; one that does not exist was made up by a
 * tool that wants to know its plan.
 */
static bool
is_our_index(Oid indexoid)
{
	Relation	index = RelationIdGetRelation(indexoid);
	bool		ours;

	if (index == NULL)
		return false;
	ours = index->rd_indam != NULL && vdb_index_method(index->rd_indam->amcostestimate) != NULL;
	RelationClose(index);
	return ours;
}

/* The distance that a scan of ours orders its rows by; NULL of other plans. */
static Node *
find_order(const Plan *plan)
{
	if (plan == NULL)
		return NULL;
	if (IsA(plan, IndexScan))
	{
		const IndexScan *scan = (const IndexScan *) plan;

		return scan->indexorderbyorig != NIL && is_our_index(scan->indexid) ?
			linitial(scan->indexorderbyorig) : NULL;
	}
	if (IsA(plan, CustomScan) &&
		strcmp(((const CustomScan *) plan)->methods->CustomName, VDB_EXACT_SCAN_NAME) == 0)
		return linitial(((const CustomScan *) plan)->custom_exprs);
	return NULL;
}

/* Replaces distances that a LIMIT over such a scan hides by nulls. */
static void
drop_hidden_distances(Plan *plan)
{
	const Limit *limit = (const Limit *) plan;
	Plan	   *scan;
	Node	   *order;
	ListCell   *cell;

	if (!IsA(plan, Limit))
		return;
	scan = outerPlan(limit);
	order = find_order(scan);
	if (limit->limitOption != LIMIT_OPTION_COUNT || order == NULL)
		return;
	foreach(cell, limit->plan.targetlist)
	{
		TargetEntry *column = lfirst_node(TargetEntry, cell);
		Var		   *var = (Var *) column->expr;
		TargetEntry *distance;

		if (!column->resjunk || !IsA(var, Var) || var->varno != OUTER_VAR || var->varattno <= 0 ||
			var->varattno > list_length(scan->targetlist))
			continue;
		distance = list_nth_node(TargetEntry, scan->targetlist, var->varattno - 1);
		if (equal(distance->expr, order))
			distance->expr = (Expr *) makeNullConst(exprType(order), exprTypmod(order), exprCollation(order));
	}
}

static PlannedStmt *
plan_statement(Query *query, const char *text, int cursor_options, ParamListInfo params)
{
	PlannedStmt *statement;

	if (previous_planner != NULL)
		statement = previous_planner(query, text, cursor_options, params);
	else
		statement = standard_planner(query, text, cursor_options, params);
	vdb_index_walk_plans(statement, drop_hidden_distances);
	return statement;
}

void
vdb_index_hook_plans(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_statement;
}
