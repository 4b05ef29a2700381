/*
 * hnsw_cost.c
 *	  What an index scan will cost.
 *
 * A scan is one search for the nearest ef_search rows, paid before the first
 * row comes out, and then a little for each further row.  The executor takes
 * rows until enough of them have passed the query's other conditions, so what
 * counts is LIMIT divided by the share of rows that pass.  A scan that stops
 * at hnsw.max_scan_tuples before that is no cheaper for it: what counts is
 * what the rows that were wanted would cost.
 *
 * The planner interpolates between the first row (startup) and the last of all
 * rows (total).  Where LIMIT is known, total is chosen so that the line passes
 * through the cost of the rows that will be read.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "catalog/pg_am.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/rel.h"
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
 * Added when all rows are wanted: more than any honest plan costs, less than
 * the penalty of a plan type that the user has disabled.
 */
#define ALL_ROWS_PENALTY 1.0e9

/* What the estimate depends on. */
typedef struct HnswScanModel
{
	double		nodes;			/* in the index, at least 1 */
	double		pages;			/* of the index */
	double		m;
	double		hot_cost;		/* of weighing one neighbour */
	double		node_cost;		/* of expanding one node */
} HnswScanModel;

static void init_model(HnswScanModel *model, IndexPath *path, Cost distance);
static int	load_m(IndexPath *path);
static double search_cost(const HnswScanModel *model, double rows);
static double rows_to_read(PlannerInfo *root, IndexPath *path, double nodes);

void
vdb_hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					  Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	HnswScanModel model;
	QualCost	operand;
	double		first;
	double		rows;

	*correlation = 0;

	/* without an order there is nothing to search for */
	if (path->indexorderbys == NIL)
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

	cost_qual_eval(&operand, path->indexorderbys, root);
	init_model(&model, path, operand.per_tuple);
	first = Min(hnsw_ef_search, model.nodes);
	rows = Max(first, rows_to_read(root, path, model.nodes));

	*startup = operand.startup + search_cost(&model, first);
	*total = operand.startup + search_cost(&model, rows) + operand.per_tuple * rows;
	*total = *startup + (*total - *startup) * model.nodes / rows;
	if (root->limit_tuples < 0 && root->tuple_fraction == 0)
		*total += ALL_ROWS_PENALTY;

	*selectivity = Min(1.0, model.nodes / Max(1.0, path->indexinfo->rel->tuples));
	*pages = model.pages;
}

static void
init_model(HnswScanModel *model, IndexPath *path, Cost distance)
{
	IndexOptInfo *info = path->indexinfo;
	double		random_page;
	double		missing;

	model->nodes = Max(1.0, info->tuples);
	model->pages = Max(1.0, info->pages);
	model->m = load_m(path);

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
}

/* An index that exists in the planner alone has the default. */
static int
load_m(IndexPath *path)
{
	Relation	index;
	int			m;

	if (path->indexinfo->hypothetical)
		return HNSW_DEFAULT_M;
	index = index_open(path->indexinfo->indexoid, NoLock);
	m = vdb_hnsw_options(index)->m;
	index_close(index, NoLock);
	return m;
}

/* Of finding the nearest so many rows. */
static double
search_cost(const HnswScanModel *model, double rows)
{
	double		layers = log(model->nodes + 1) / log(model->m);
	double		weighed = model->m * layers + 2 * model->m * FRESH_SHARE * rows;

	return Min(weighed, model->nodes) * model->hot_cost + (layers + rows) * model->node_cost;
}

/*
 * Rows of the index that the executor will ask for: as many as LIMIT wants to
 * see pass, or all of them.
 */
static double
rows_to_read(PlannerInfo *root, IndexPath *path, double nodes)
{
	double		passing = Min(1.0, path->path.rows / nodes);

	if (root->limit_tuples < 0)
		return nodes;
	return Min(nodes, root->limit_tuples / passing);
}
