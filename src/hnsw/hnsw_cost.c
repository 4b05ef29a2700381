/*
 * hnsw_cost.c
 *	  What an index scan will cost, and whether it can answer at all.
 *
 * A scan is one search for the nearest ef_search rows, or as many as
 * hnsw.target_recall asks for, paid before the first
 * row comes out, and then a little for each further row.  The executor takes
 * rows until enough of them have passed the query's other conditions, so what
 * counts is LIMIT divided by the share of rows that pass.
 *
 * The planner interpolates between the first row (startup) and the last of all
 * rows (total).  Where it is known at which row the query will stop, total is
 * chosen so that the line passes through the cost of the rows read by then;
 * elsewhere, through the cost of the last row that a scan comes to.
 *
 * Conditions on further columns of the index are looked at by the search, which
 * comes by others until it has found enough, or by a sweep over all of them
 * (hnsw_sweep.c).  What the executor filters counts in rows that the search finds.
 *
 * A scan ends at the user's limits, hnsw.max_scan_tuples and memory, so it is
 * no way to more rows than lie within: a query that wants them would get a
 * part of its answer and no word about it.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "compat.h"
#include "hnsw/hnsw_private.h"

/*
 * To get at a page that is cached, in units of cpu_operator_cost: for a
 * neighbour's hot slot, and for a node slot.
 */
#define HOT_ACCESS_OPERATORS 12
#define NODE_ACCESS_OPERATORS 80

/*
 * To compute with a code, in units of what the operator costs.  That one is a
 * constant which stands for vectors of any length, in their row or out of it,
 * and what competes with us is charged by it: a cost of our own that knew the
 * dimensions would compare like with unlike.
 */
#define HOT_SHARE 0.33
#define NODE_SHARE 1.0

/* The share of a node's neighbours that a search has not seen before. */
#define FRESH_SHARE 0.5

/*
 * Added when rows are wanted that the scan will not come to: more than any
 * honest plan costs, less than the penalty of a plan type that the user has
 * disabled.
 */
#define OUT_OF_REACH_PENALTY 1.0e9

/*
 * To look at the attributes of a node among all, in units of cpu_operator_cost, and
 * how many nodes are on a page.
 */
#define LOOK_OPERATORS 1.5
#define NODES_OF_A_PAGE 80

/* Memory that a scan takes for each row it has weighed, arrays half full. */
#define BYTES_PER_ROW 64

/* What LIMIT is taken for when it is a parameter. */
#define UNKNOWN_LIMIT 100

/* What the estimate depends on. */
typedef struct HnswScanModel
{
	double		nodes;			/* in the index, at least 1 */
	double		matching;		/* of these, those that the search looks for; at least
								 * 1 */
	double		pages;			/* of the index */
	double		m;
	double		first;			/* rows that the first search is for */
	HnswCalibration calibration;
	uint32		extents;
	double		hot_cost;		/* of weighing one neighbour */
	double		node_cost;		/* of expanding one node */
	double		look_cost;		/* of a node in a sweep */
} HnswScanModel;

static Oid	order_function(IndexPath *path);
static void init_model(HnswScanModel *model, PlannerInfo *root, IndexPath *path, Cost distance);
static double index_selectivity(PlannerInfo *root, IndexPath *path);
static void load_index(HnswScanModel *model, IndexPath *path);
static double rows_searched(const HnswScanModel *model, double rows);
static double search_cost(const HnswScanModel *model, double rows);
static double filtered_cost(const HnswScanModel *model, double rows);
static double rows_wanted(PlannerInfo *root);
static bool is_ordered_select(PlannerInfo *root);
static bool has_unknown_limit(PlannerInfo *root);
static bool reads_all_rows(PlannerInfo *root);
static bool window_reads_all_rows(Node *node, void *context);
static bool is_out_of_reach(PlannerInfo *root, const HnswScanModel *model, double wanted,
							double passing);
static double rows_in_reach(const HnswScanModel *model);

void
vdb_hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					  Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	HnswScanModel model;
	QualCost	distance = {0, 0};
	double		passing;
	double		wanted;
	double		first;
	double		rows;			/* of the index, read by then */
	double		fraction;		/* of all that pass, returned by then */
	Cost		run;

	*correlation = 0;

	/* a search is for what is near to one thing */
	if (list_length(path->indexorderbys) != 1)
	{
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*pages = 0;
#ifdef VDB_HAVE_DISABLED_NODES
		/* worse than a sequential scan that is disabled */
		path->path.disabled_nodes = 2;
#endif
		return;
	}

	/* the question is evaluated once, the operator's function for each row */
	add_function_cost(root, order_function(path), linitial(path->indexorderbys), &distance);
	init_model(&model, root, path, distance.per_tuple);
	first = Min(model.first, model.matching);
	passing = Min(1.0, path->path.rows / model.matching);
	wanted = rows_wanted(root);

	*startup = index_other_operands_eval_cost(root, path->indexorderbys) +
		index_other_operands_eval_cost(root, get_quals_from_indexclauses(path->indexclauses)) +
		distance.startup + search_cost(&model, first);
	if (wanted < path->path.rows && is_ordered_select(root))
	{
		rows = wanted / passing;
		fraction = has_unknown_limit(root) ? root->tuple_fraction : wanted / path->path.rows;
	}
	else
	{
		rows = Min(model.matching, rows_in_reach(&model));
		fraction = rows / model.matching;
	}
	run = search_cost(&model, Max(first, rows_searched(&model, rows))) - search_cost(&model, first) +
		distance.per_tuple * rows;
	*total = *startup + run / fraction;
	if (reads_all_rows(root))
		*startup = *total;

	if (is_out_of_reach(root, &model, wanted, passing))
	{
		*startup += OUT_OF_REACH_PENALTY;
		*total += OUT_OF_REACH_PENALTY;
	}

	/* the planner adds the table's pages by this, and interpolates again */
	*selectivity = Min(1.0, model.nodes / Max(1.0, path->indexinfo->rel->tuples)) *
		Min(1.0, rows / model.nodes / fraction);
	*pages = model.pages;
}

/* The function of the distance operator. */
static Oid
order_function(IndexPath *path)
{
	OpExpr	   *order = linitial_node(OpExpr, path->indexorderbys);

	set_opfuncid(order);
	return order->opfuncid;
}

static void
init_model(HnswScanModel *model, PlannerInfo *root, IndexPath *path, Cost distance)
{
	IndexOptInfo *info = path->indexinfo;
	double		random_page;
	double		missing;

	model->nodes = Max(1.0, info->tuples);
	model->matching = Max(1.0, model->nodes * index_selectivity(root, path));
	model->pages = Max(1.0, info->pages);
	load_index(model, path);

	/*
	 * An index like this is asked point questions all day, so as much of it
	 * as fits is in memory; to cost it as if each search started cold would
	 * leave it unused.
	 */
	get_tablespace_page_costs(info->reltablespace, &random_page, NULL);
	missing = Max(0.0, 1.0 - effective_cache_size / (model->pages + info->rel->pages));
	model->hot_cost = random_page * missing + cpu_operator_cost * HOT_ACCESS_OPERATORS +
		distance * HOT_SHARE;
	model->node_cost = random_page * missing + cpu_operator_cost * NODE_ACCESS_OPERATORS +
		distance * NODE_SHARE;
	model->look_cost = random_page * missing / NODES_OF_A_PAGE + cpu_operator_cost * LOOK_OPERATORS;
}

/*
 * The share of rows that satisfy the conditions on further columns.  One that
 * bounds the distance only ends the scan.
 */
static double
index_selectivity(PlannerInfo *root, IndexPath *path)
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

/* What the index itself says; one that exists in the planner alone has defaults. */
static void
load_index(HnswScanModel *model, IndexPath *path)
{
	float		stretch;

	memset(&model->calibration, 0, sizeof(model->calibration));
	model->m = HNSW_DEFAULT_M;
	model->extents = 0;
	if (!path->indexinfo->hypothetical)
	{
		Relation	index = index_open(path->indexinfo->indexoid, NoLock);

		model->m = vdb_hnsw_options(index)->m;
		if (hnsw_target_recall > 0)
			model->extents = vdb_hnsw_load_calibration(index, &model->calibration);
		index_close(index, NoLock);
	}
	model->first = vdb_hnsw_first_effort(&model->calibration, model->extents, &stretch);
}

/* How far a scan has searched when it returns so many rows. */
static double
rows_searched(const HnswScanModel *model, double rows)
{
	double		effort = vdb_hnsw_effort(&model->calibration, model->extents, hnsw_target_recall,
										 rows);

	return Min(Max(effort, rows), model->matching);
}

/* Of finding the nearest so many rows. */
static double
search_cost(const HnswScanModel *model, double rows)
{
	double		layers = log(model->nodes + 1) / log(model->m);
	double		weighed = model->m * layers + 2 * model->m * FRESH_SHARE * rows;

	if (model->matching < model->nodes)
		return filtered_cost(model, rows);
	return Min(weighed, model->nodes) * model->hot_cost + (layers + rows) * model->node_cost;
}

/*
 * The same with conditions on further columns: by a walk that comes by all that is as
 * near, or by a sweep.
 */
static double
filtered_cost(const HnswScanModel *model, double rows)
{
	double		passed = Min(rows / model->matching, 1.0) * model->nodes;
	double		walk = Min(2 * model->m * FRESH_SHARE * passed, model->nodes) * model->hot_cost +
		passed * model->node_cost;
	double		sweep = model->nodes * model->look_cost + model->matching * model->hot_cost +
		rows * model->node_cost;

	return Min(walk, sweep);
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
is_out_of_reach(PlannerInfo *root, const HnswScanModel *model, double wanted, double passing)
{
	double		rows = model->matching;

	if (!isinf(wanted))
	{
		/* whoever forbids a scan to go on knows that it ends */
		if (hnsw_iterative_scan == HNSW_ITERATIVE_OFF)
			return false;
		rows = (wanted + 2 * sqrt(wanted * (1 - passing))) / passing;
	}
	return Min(rows, model->matching) > rows_in_reach(model);
}

/* Rows of the index that a scan returns before it ends at the user's limits. */
static double
rows_in_reach(const HnswScanModel *model)
{
	double		in_memory = work_mem * 1024.0 * hnsw_scan_mem_multiplier / BYTES_PER_ROW;

	if (hnsw_iterative_scan == HNSW_ITERATIVE_OFF)
		return model->first;
	return Max(model->first, Min(hnsw_max_scan_tuples, in_memory));
}
