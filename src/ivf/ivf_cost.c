/*
 * ivf_cost.c
 *	  What a scan of an inverted file will cost.
 *
 * A scan ranks all lists, looks at the scan codes of the rows in those that are probed,
 * and refines some; all that comes before the first row.  A row costs little more then.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "compat.h"
#include "ivf/ivf_private.h"

/* To look at a scan code, and to refine a row, in units of cpu_operator_cost. */
#define SCAN_OPERATORS 0.05
#define REFINE_OPERATORS 1.0

/* Rows for which the first round refines. */
#define FIRST_ROWS 10

void
vdb_ivf_costestimate(const IvfSettings *settings, IndexPath *path, Cost *startup, Cost *total,
					 Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	double		rows = Max(1.0, info->tuples);
	double		lists;
	double		share;
	double		scanned;
	double		refined;
	double		random_page;
	Relation	index;

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
	index = index_open(info->indexoid, NoLock);
	lists = Max(1, vdb_ivf_count_lists(index));
	index_close(index, NoLock);
	share = Min(1.0, settings->probes / lists);
	scanned = rows * share;
	refined = settings->refine_factor == 0 ? scanned :
		Min(scanned, FIRST_ROWS * (double) settings->refine_factor);
	get_tablespace_page_costs(info->reltablespace, &random_page, NULL);
	*startup = cpu_operator_cost * (SCAN_OPERATORS * (lists + scanned) + REFINE_OPERATORS * refined) +
		random_page * Min(1.0, settings->probes) +
		seq_page_cost * info->pages * share * Min(1.0, info->pages * share / Max(1.0, effective_cache_size));
	*total = *startup + cpu_index_tuple_cost * scanned;
	*selectivity = share;
	*pages = info->pages * share;
}
