/*
 * ivf_cost.c
 *	  What a scan of an inverted file will cost.
 *
 * A scan ranks all lists, looks at the scan codes of the rows in those that are probed,
 * and refines some; all that comes before the first row.  Where few rows satisfy conditions
 * on further columns, it probes more lists.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#include "index/index_cost.h"
#include "ivf/ivf_private.h"

/* To look at a scan code, in units of cpu_operator_cost. */
#define SCAN_OPERATORS 0.05

/* To refine a row, in units of what the operator costs: see hnsw_cost.c. */
#define REFINE_SHARE 0.5

/* Lists of an index that exists in the planner alone: each of so many rows. */
#define HYPOTHETICAL_ROWS 300

typedef struct IvfCostModel
{
	VdbCostModel shared;		/* first: what its functions are given */
	const IvfSettings *settings;
	bool		by_records;		/* all rows are looked at by their records */
	int			lanes;			/* of a row */
	IvfCalibration calibration;
	double		lists;
	double		scan_cost;		/* of a lane's scan code */
	double		refine_cost;	/* of a row */
} IvfCostModel;

/* How far a scan looks for so many rows: as settings say, or the target. */
static IvfEffort
effort_for(const IvfCostModel *model, double rows)
{
	return vdb_ivf_effort(model->settings, &model->calibration, (uint32) model->lists,
						  model->shared.goes_on ? rows : VDB_FEW_ROWS);
}

/* Lists that are probed until so many rows were found. */
static double
lists_probed(const IvfCostModel *model, double rows)
{
	double		each = model->shared.matching / model->lists;
	double		needed = rows / each;
	double		probes = effort_for(model, rows).probes;

	if (!model->shared.goes_on)
		return Min(probes, model->lists);
	return Min(Max(probes, Min(needed, model->settings->max_probes)), model->lists);
}

static double
rows_searched(const VdbCostModel *shared, double rows)
{
	return Min(rows, shared->matching);
}

static Cost
search_cost(const VdbCostModel *shared, double rows)
{
	const IvfCostModel *model = (const IvfCostModel *) shared;
	double		share = lists_probed(model, rows) / model->lists;
	double		factor = model->by_records ? 0 : effort_for(model, rows).refine_factor;
	double		refined = shared->matching * model->lanes * share;

	if (factor > 0)
		refined = Min(refined, factor * rows);
	return model->lists * model->scan_cost + shared->rows * model->lanes * share * model->scan_cost +
		refined * model->refine_cost;
}

static void
init_model(IvfCostModel *model, const IvfSettings *settings, PlannerInfo *root, IndexPath *path,
		   Cost distance)
{
	IndexOptInfo *info = path->indexinfo;
	double		random_page;
	double		missing;
	double		probed;

	memset(&model->calibration, 0, sizeof(model->calibration));
	model->settings = settings;
	model->by_records = false;
	model->lanes = 1;
	model->shared.rows = Max(1.0, info->tuples);
	model->shared.matching = Max(1.0, model->shared.rows * vdb_cost_selectivity(root, path));
	model->shared.pages = Max(1.0, info->pages);
	model->lists = Max(1.0, model->shared.rows / HYPOTHETICAL_ROWS);
	if (!info->hypothetical)
	{
		Relation	index = index_open(info->indexoid, NoLock);
		IvfSummary	summary;

		vdb_ivf_load_summary(index, &summary);
		model->lists = Max(1.0, summary.lists);
		model->by_records = !summary.scan_codes;
		model->lanes = summary.spilled ? 2 : 1;
		model->calibration = summary.calibration;
		index_close(index, NoLock);
	}
	model->shared.goes_on = settings->iterative_scan != IVF_ITERATIVE_OFF;
	probed = model->shared.goes_on ? settings->max_probes : effort_for(model, VDB_FEW_ROWS).probes;
	model->shared.first = VDB_FEW_ROWS;
	model->shared.in_reach = model->shared.matching * Min(1.0, probed / model->lists);
	model->shared.searched = rows_searched;
	model->shared.cost = search_cost;

	/* most of it is in memory, see hnsw_cost.c; what is not is read in order */
	get_tablespace_page_costs(info->reltablespace, &random_page, NULL);
	missing = Max(0.0, 1.0 - effective_cache_size / (model->shared.pages + info->rel->pages));
	model->scan_cost = cpu_operator_cost * SCAN_OPERATORS +
		seq_page_cost * missing * model->shared.pages / (model->shared.rows * model->lanes);
	model->refine_cost = distance * REFINE_SHARE + random_page * missing;
}

void
vdb_ivf_costestimate(const IvfSettings *settings, PlannerInfo *root, IndexPath *path, Cost *startup,
					 Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	IvfCostModel model;
	VdbCosts	costs;
	QualCost	distance;

	if (vdb_cost_begin(&costs, root, path, &distance))
	{
		init_model(&model, settings, root, path, distance.per_tuple);
		vdb_cost_finish(&costs, root, path, &model.shared, distance);
	}
	*startup = costs.startup;
	*total = costs.total;
	*selectivity = costs.selectivity;
	*correlation = 0;
	*pages = costs.pages;
}
