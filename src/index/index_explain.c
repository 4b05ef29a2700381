/*
 * index_explain.c
 *	  How far scans of our indexes looked, for EXPLAIN (ANALYZE) where the server lets an
 *	  extension say so.
 *
 * A parallel worker's scans are its own: shown are those of the process that explains.
 */
#include "postgres.h"

#include "index/index.h"
#include "utils/rel.h"

#include "compat.h"
#include "stats/stats.h"

#ifdef VDB_HAVE_EXPLAIN_NODES

#include "commands/explain.h"

static explain_per_node_hook_type next_explain;

/* The scan of a plan's node, if it is one of our indexes; else NULL. */
static IndexScanDesc
find_scan(PlanState *node)
{
	IndexScanDesc scan;

	if (!IsA(node, IndexScanState))
		return NULL;
	scan = castNode(IndexScanState, node)->iss_ScanDesc;
	if (scan == NULL || vdb_index_method(scan->indexRelation->rd_indam->amcostestimate) == NULL)
		return NULL;
	return scan;
}

static void
explain_node(PlanState *node, List *ancestors, const char *relationship, const char *plan_name,
			 ExplainState *es)
{
	IndexScanDesc scan = es->analyze ? find_scan(node) : NULL;
	VdbScanCounts counts;

	if (next_explain != NULL)
		next_explain(node, ancestors, relationship, plan_name, es);
	if (scan == NULL || vdb_stats_sum_scan(scan->opaque, &counts) == 0)
		return;
	ExplainPropertyUInteger(((VdbStatsScan *) scan->opaque)->effort_name, NULL,
							((VdbStatsScan *) scan->opaque)->effort, es);
	ExplainPropertyUInteger("Candidates", NULL, counts.candidates, es);
	ExplainPropertyUInteger("Distances", NULL, counts.distances, es);
	ExplainPropertyUInteger("Exact Distances", NULL, counts.exact, es);
	ExplainPropertyUInteger("Rounds", NULL, counts.rounds, es);
	ExplainPropertyUInteger("Pages Hit", NULL, counts.pages_hit, es);
	ExplainPropertyUInteger("Pages Read", NULL, counts.pages_read, es);
}

void
vdb_index_hook_explain(void)
{
	next_explain = explain_per_node_hook;
	explain_per_node_hook = explain_node;
}

#else

void
vdb_index_hook_explain(void)
{
}

#endif							/* VDB_HAVE_EXPLAIN_NODES */
