/*
 * index_plan.c
 *	  Going through a finished plan.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/plannodes.h"

#include "index/index.h"

static void walk_plan(Plan *plan, void (*visit) (Plan *plan));

static void
walk_list(List *plans, void (*visit) (Plan *plan))
{
	ListCell   *cell;

	foreach(cell, plans)
		walk_plan(lfirst(cell), visit);
}

static void
walk_plan(Plan *plan, void (*visit) (Plan *plan))
{
	if (plan == NULL)
		return;
	check_stack_depth();
	visit(plan);
	if (IsA(plan, Append))
		walk_list(((Append *) plan)->appendplans, visit);
	else if (IsA(plan, MergeAppend))
		walk_list(((MergeAppend *) plan)->mergeplans, visit);
	else if (IsA(plan, SubqueryScan))
		walk_plan(((SubqueryScan *) plan)->subplan, visit);
	walk_plan(outerPlan(plan), visit);
	walk_plan(innerPlan(plan), visit);
}

void
vdb_index_walk_plans(PlannedStmt *statement, void (*visit) (Plan *plan))
{
	walk_plan(statement->planTree, visit);
	walk_list(statement->subplans, visit);
}
