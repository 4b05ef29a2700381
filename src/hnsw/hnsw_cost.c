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
 * Conditions on further columns of the index are looked at by the search, which
 * comes by others until it has found enough, or by a sweep over all of them
 * (hnsw_sweep.c).  What the executor filters counts in rows that the search finds.
 *
 * What is made of all this is in index_cost.c.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "access/genam.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#include "compat.h"
#include "hnsw/hnsw_private.h"
#include "index/index_cost.h"

/*
 * To get at a page that is cached, in units of cpu_operator_cost: for a
 * neighbour's hot slot, and for a node slot.  Neighbours are anywhere: of an index that
 * is larger than the CPU's cache, most have to come from memory.
 */
#define HOT_ACCESS_OPERATORS 12
#define NODE_ACCESS_OPERATORS 80
#define MEMORY_ACCESS_OPERATORS 200
#define CPU_CACHE_PAGES (32.0 * 1024 * 1024 / BLCKSZ)

/*
 * To compute with a code, in units of what the operator costs.  That one is a
 * constant which stands for vectors of any length, in their row or out of it,
 * and what competes with us is charged by it: a cost of our own that knew the
 * dimensions would compare like with unlike.
 */
#define HOT_SHARE 0.33
#define NODE_SHARE 1.0

/*
 * The same constant stands for vectors out of their row.  What competes with us fetches each of
 * those, which takes some ten times as long, while a search takes hardly longer.
 */
#define OUT_OF_LINE_SHARE 0.5
#define OUT_OF_LINE_DIMS 256

/* The share of a node's neighbours that a search has not seen before. */
#define FRESH_SHARE 0.5

/*
 * To look at the attributes of a node among all, in units of cpu_operator_cost, and
 * how many nodes are on a page.
 */
#define LOOK_OPERATORS 1.5
#define NODES_OF_A_PAGE 80

/* Memory that a scan takes for each row it has weighed, arrays half full. */
#define BYTES_PER_ROW 64

/* What the estimate depends on. */
typedef struct HnswScanModel
{
	VdbCostModel shared;		/* first: what its functions are given */
	double		m;
	HnswCalibration calibration;
	uint32		extents;
	double		hot_cost;		/* of weighing one neighbour, */
	double		in_order_cost;	/* and a node in a sweep */
	double		node_cost;		/* of expanding one node */
	double		look_cost;		/* of a node in a sweep */
} HnswScanModel;

static void init_model(HnswScanModel *model, PlannerInfo *root, IndexPath *path, Cost distance);
static bool is_out_of_line(PlannerInfo *root, const IndexOptInfo *info);
static void load_index(HnswScanModel *model, IndexPath *path);
static double rows_searched(const VdbCostModel *shared, double rows);
static Cost search_cost(const VdbCostModel *shared, double rows);
static Cost filtered_cost(const HnswScanModel *model, double rows);
static double rows_in_reach(double first);

void
vdb_hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					  Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	HnswScanModel model;
	VdbCosts	costs;
	QualCost	distance;

	if (vdb_cost_begin(&costs, root, path, &distance))
	{
		init_model(&model, root, path, distance.per_tuple);
		vdb_cost_finish(&costs, root, path, &model.shared, distance);
	}
	*startup = costs.startup;
	*total = costs.total;
	*selectivity = costs.selectivity;
	*correlation = 0;
	*pages = costs.pages;
}

static void
init_model(HnswScanModel *model, PlannerInfo *root, IndexPath *path, Cost distance)
{
	IndexOptInfo *info = path->indexinfo;
	Cost		operator = cpu_operator_cost;
	double		random_page;
	double		missing;
	double		in_memory;

	model->shared.rows = Max(1.0, info->tuples);
	model->shared.matching = Max(1.0, model->shared.rows * vdb_cost_selectivity(root, path));
	model->shared.pages = Max(1.0, info->pages);
	load_index(model, path);
	model->shared.in_reach = rows_in_reach(model->shared.first);
	model->shared.goes_on = hnsw_iterative_scan != HNSW_ITERATIVE_OFF;
	model->shared.searched = rows_searched;
	model->shared.cost = search_cost;

	/*
	 * An index like this is asked point questions all day, so as much of it
	 * as fits is in memory; to cost it as if each search started cold would
	 * leave it unused.
	 */
	get_tablespace_page_costs(info->reltablespace, &random_page, NULL);
	missing = Max(0.0, 1.0 - effective_cache_size / (model->shared.pages + info->rel->pages));
	if (is_out_of_line(root, info))
	{
		operator *= OUT_OF_LINE_SHARE;
		distance *= OUT_OF_LINE_SHARE;
	}
	in_memory = Max(0.0, 1.0 - CPU_CACHE_PAGES / model->shared.pages);
	model->in_order_cost = random_page * missing + operator * HOT_ACCESS_OPERATORS +
		distance * HOT_SHARE;
	model->hot_cost = model->in_order_cost + operator * MEMORY_ACCESS_OPERATORS * in_memory;
	model->node_cost = random_page * missing + operator * NODE_ACCESS_OPERATORS +
		distance * NODE_SHARE;
	model->look_cost = random_page * missing / NODES_OF_A_PAGE + cpu_operator_cost * LOOK_OPERATORS;
}

/*
 * Are the vectors out of their rows?  Then the width that ANALYZE has found is that of a
 * pointer.  The index has a column, or its values cast to another type.
 */
static bool
is_out_of_line(PlannerInfo *root, const IndexOptInfo *info)
{
	const Node *key = (const Node *) linitial_node(TargetEntry, info->indextlist)->expr;
	const Var  *column = (const Var *) strip_implicit_coercions((Node *) key);

	if (IsA(column, FuncExpr) && ((const FuncExpr *) column)->funcformat == COERCE_EXPLICIT_CAST)
		column = linitial(((const FuncExpr *) column)->args);
	return IsA(column, Var) && column->varattno > 0 && exprTypmod(key) >= OUT_OF_LINE_DIMS &&
		get_typlen(column->vartype) == -1 &&
		get_attavgwidth(planner_rt_fetch(info->rel->relid, root)->relid, column->varattno) == TOAST_POINTER_SIZE;
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
	model->shared.first = vdb_hnsw_first_effort(&model->calibration, model->extents, &stretch);
}

/* How far a scan has searched when it returns so many rows. */
static double
rows_searched(const VdbCostModel *shared, double rows)
{
	const HnswScanModel *model = (const HnswScanModel *) shared;
	double		effort;

	/* one that does not go on returns all that it has found */
	if (!shared->goes_on && rows <= shared->first)
		return Min(Max(shared->first, 1), shared->matching);
	effort = vdb_hnsw_effort(&model->calibration, model->extents, hnsw_target_recall, rows);

	/* only the nearer half of what was found has found its place */
	if (effort == 0)
		effort = 2 * rows - HNSW_POOL_SLACK;
	return Min(Max(effort, rows), shared->matching);
}

/* Of finding the nearest so many rows. */
static Cost
search_cost(const VdbCostModel *shared, double rows)
{
	const HnswScanModel *model = (const HnswScanModel *) shared;
	double		layers = log(shared->rows + 1) / log(model->m);
	double		of_each = 2 * model->m * FRESH_SHARE;
	double		weighed = model->m * layers + of_each * rows;

	if (shared->matching < shared->rows)
		return filtered_cost(model, rows);

	/* at the user's limits a scan weighs no more, but reads what it has weighed */
	if (shared->goes_on)
		weighed = Min(weighed, Max(of_each * shared->first, shared->in_reach));
	return Min(weighed, shared->rows) * model->hot_cost + (layers + rows) * model->node_cost;
}

/*
 * The same with conditions on further columns: by a walk that comes by all that is as
 * near, or by a sweep.
 */
static Cost
filtered_cost(const HnswScanModel *model, double rows)
{
	double		passed = Min(rows / model->shared.matching, 1.0) * model->shared.rows;
	double		walk = Min(2 * model->m * FRESH_SHARE * passed, model->shared.rows) * model->hot_cost +
		passed * model->node_cost;
	double		sweep = model->shared.rows * model->look_cost + model->shared.matching * model->in_order_cost +
		rows * model->node_cost;

	return Min(walk, sweep);
}

/* Rows of the index that a scan returns before it ends at the user's limits. */
static double
rows_in_reach(double first)
{
	double		in_memory = work_mem * 1024.0 * hnsw_scan_mem_multiplier / BYTES_PER_ROW;

	if (hnsw_iterative_scan == HNSW_ITERATIVE_OFF)
		return first;
	return Max(first, Min(hnsw_max_scan_tuples, in_memory));
}
