/*
 * index_cost.c
 *	  From what a search costs to what a path does, and whether it can answer at all.
 *
 * A scan is one search, paid before the first row comes out, and then a little for each
 * further row.  The executor takes rows until enough of them have passed the query's
 * other conditions, so what counts is LIMIT divided by the share of rows that pass.
 *
 * The planner interpolates between the first row (startup) and the last of all
 * rows (total).  Where it is known at which row the query will stop, total is
 * chosen so that the line passes through the cost of the rows read by then;
 * elsewhere, through the cost of the last row that a scan comes to.
 *
 * A scan ends at the user's limits, so it is no way to more rows than lie within: a
 * query that wants them would get a part of its answer and no word about it.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "index/index_cost.h"

/*
 * Added when rows are wanted that the scan will not come to: more than any
 * honest plan costs, less than the penalty of a plan type that the user has
 * disabled.
 */
#define OUT_OF_REACH_PENALTY 1.0e9

/* What LIMIT is taken for when it is a parameter. */
#define UNKNOWN_LIMIT 100

static double rows_wanted(PlannerInfo *root);
static bool is_ordered_select(PlannerInfo *root);
static bool has_unknown_limit(PlannerInfo *root);
static bool reads_all_rows(PlannerInfo *root);
static bool window_reads_all_rows(Node *node, void *context);
static bool is_out_of_reach(const VdbCostModel *model, double wanted, double passing);

/* The function of the distance operator. */
static Oid
order_function(IndexPath *path)
{
	OpExpr	   *order = linitial_node(OpExpr, path->indexorderbys);

	set_opfuncid(order);
	return order->opfuncid;
}

bool
vdb_cost_begin(VdbCosts *costs, PlannerInfo *root, IndexPath *path, QualCost *distance)
{
	distance->startup = 0;
	distance->per_tuple = 0;

	/* a search is for what is near to one thing */
	if (list_length(path->indexorderbys) != 1)
	{
		costs->startup = costs->total = get_float8_infinity();
		costs->selectivity = 0;
		costs->pages = 0;
#ifdef VDB_HAVE_DISABLED_NODES
		/* worse than a sequential scan that is disabled */
		path->path.disabled_nodes = 2;
#endif
		return false;
	}

	/* the question is evaluated once, the operator's function for each row */
	add_function_cost(root, order_function(path), linitial(path->indexorderbys), distance);
	return true;
}

double
vdb_cost_selectivity(PlannerInfo *root, IndexPath *path)
{
	List	   *conditions = NIL;
	ListCell   *cell;

	foreach(cell, path->indexclauses)
	{
		const IndexClause *clause = lfirst_node(IndexClause, cell);

		if (clause->indexcol > 0)
			conditions = list_append_unique_ptr(conditions, clause->rinfo);
	}
	return clauselist_selectivity(root, conditions, path->indexinfo->rel->relid, JOIN_INNER, NULL);
}

void
vdb_cost_finish(VdbCosts *costs, PlannerInfo *root, IndexPath *path, const VdbCostModel *model,
				QualCost distance)
{
	double		first = Min(model->first, model->matching);
	double		passing = Min(1.0, path->path.rows / model->matching);
	double		wanted = rows_wanted(root);
	double		rows;			/* of the index, read by then */
	double		fraction;		/* of all that pass, returned by then */
	Cost		run;

	costs->startup = index_other_operands_eval_cost(root, path->indexorderbys) +
		index_other_operands_eval_cost(root, get_quals_from_indexclauses(path->indexclauses)) +
		distance.startup + model->cost(model, first);
	if (wanted < path->path.rows && is_ordered_select(root))
	{
		rows = wanted / passing;
		fraction = has_unknown_limit(root) ? root->tuple_fraction : wanted / path->path.rows;
	}
	else
	{
		rows = Min(model->matching, model->in_reach);
		fraction = rows / model->matching;
	}
	run = model->cost(model, Max(first, model->searched(model, rows))) - model->cost(model, first) +
		distance.per_tuple * rows;
	costs->total = costs->startup + run / fraction;
	if (reads_all_rows(root))
		costs->startup = costs->total;

	if (is_out_of_reach(model, wanted, passing))
	{
		costs->startup += OUT_OF_REACH_PENALTY;
		costs->total += OUT_OF_REACH_PENALTY;
	}

	/* the planner adds the table's pages by this, and interpolates again */
	costs->selectivity = Min(1.0, model->rows / Max(1.0, path->indexinfo->rel->tuples)) *
		Min(1.0, rows / model->rows / fraction);
	costs->pages = model->pages;
}

/*
 * Of those that pass, how many rows the query takes at least: as many as LIMIT
 * says, here or in a query around this one, or all of them (infinity).
 */
static double
rows_wanted(PlannerInfo *root)
{
	/* none of them may stop, but not all do: LIMIT does not count */
	if (reads_all_rows(root))
		return get_float8_infinity();
	if (root->limit_tuples >= 0)
		return root->limit_tuples;
	if (root->tuple_fraction >= 1)
		return root->tuple_fraction;
	if (has_unknown_limit(root))
		return UNKNOWN_LIMIT;

	/* a cursor may be closed early, and it may not */
	return get_float8_infinity();
}

/* Is a LIMIT that this query has a parameter, or something else not known yet? */
static bool
has_unknown_limit(PlannerInfo *root)
{
	return root->parse->limitCount != NULL && root->limit_tuples < 0 &&
		root->tuple_fraction > 0 && root->tuple_fraction < 1;
}

/*
 * Does LIMIT stop this very scan?  Not where rows are joined, grouped, sorted
 * otherwise or made several of on their way.
 */
static bool
is_ordered_select(PlannerInfo *root)
{
	Query	   *parse = root->parse;

	if (bms_membership(root->all_baserels) != BMS_SINGLETON)
		return false;
	if (root->limit_tuples >= 0)
		return true;
	return has_unknown_limit(root) && !parse->hasAggs && parse->groupClause == NIL &&
		parse->groupingSets == NIL && parse->distinctClause == NIL && !parse->hasWindowFuncs &&
		!parse->hasTargetSRFs && parse->havingQual == NULL;
}

/* Is the last row needed for the first result? */
static bool
reads_all_rows(PlannerInfo *root)
{
	Query	   *parse = root->parse;

	if (parse->hasAggs || parse->groupClause != NIL || parse->groupingSets != NIL)
		return true;

	/* an order for a window, and another one for the result */
	if (!pathkeys_contained_in(root->sort_pathkeys, root->query_pathkeys))
		return true;
	return parse->hasWindowFuncs && window_reads_all_rows((Node *) parse->targetList, parse);
}

/* Does a window function look at rows far behind the current one? */
static bool
window_reads_all_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, WindowFunc))
	{
		WindowFunc *func = (WindowFunc *) node;
		WindowClause *window = list_nth(((Query *) context)->windowClause, func->winref - 1);

		switch (func->winfnoid)
		{
			case F_ROW_NUMBER:
			case F_RANK_:
			case F_DENSE_RANK_:
			case F_LAG_ANYELEMENT:
			case F_LAG_ANYELEMENT_INT4:
			case F_LAG_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE:
			case F_LEAD_ANYELEMENT:
			case F_LEAD_ANYELEMENT_INT4:
			case F_LEAD_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE:
				break;
			case F_NTILE:
			case F_PERCENT_RANK_:
			case F_CUME_DIST_:
				return true;
			default:
				/* without an order, all rows are peers of the first */
				if (window->orderClause == NIL ||
					(window->frameOptions & FRAMEOPTION_END_UNBOUNDED_FOLLOWING))
					return true;
		}
	}
	return expression_tree_walker(node, window_reads_all_rows, context);
}

/*
 * Would a scan end at the user's limits before it has found what is wanted?
 * Where few rows pass, there may be fewer near the query than on average, so
 * two standard deviations are added to the rows that must be read.
 */
static bool
is_out_of_reach(const VdbCostModel *model, double wanted, double passing)
{
	double		rows = model->matching;

	if (!isinf(wanted))
	{
		/* whoever forbids a scan to go on knows that it ends */
		if (!model->goes_on)
			return false;
		rows = (wanted + 2 * sqrt(wanted * (1 - passing))) / passing;
	}
	return Min(rows, model->matching) > model->in_reach;
}
