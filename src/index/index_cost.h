/*
 * index_cost.h
 *	  What the planner is told of an index scan in order of a distance.
 */
#ifndef VDB_INDEX_COST_H
#define VDB_INDEX_COST_H

#include "nodes/pathnodes.h"

/* What an access method says of a scan of an index. */
typedef struct VdbCostModel VdbCostModel;
struct VdbCostModel
{
	double		rows;			/* of the index, at least 1 */
	double		matching;		/* of these, those that satisfy conditions on further
								 * columns; at least 1 */
	double		pages;			/* of the index */
	double		first;			/* rows that the first search is for */
	double		in_reach;		/* rows that a scan comes to */
	bool		goes_on;		/* may it, beyond the first search? */

	/* how far a scan has searched when it returns so many rows, in rows */
	double		(*searched) (const VdbCostModel *model, double rows);

	/* of finding the nearest so many rows */
	Cost		(*cost) (const VdbCostModel *model, double rows);
};

/* What an amcostestimate function returns, but for the correlation, which is 0. */
typedef struct VdbCosts
{
	Cost		startup;
	Cost		total;
	Selectivity selectivity;
	double		pages;
} VdbCosts;

/*
 * False where a path has no order, for which an index is of no use: the costs say so.
 * Else *distance is what the operator costs.
 */
extern bool vdb_cost_begin(VdbCosts *costs, PlannerInfo *root, IndexPath *path, QualCost *distance);

/*
 * The share of rows that satisfy the conditions on further columns.  One that
 * bounds the distance only ends the scan.
 */
extern double vdb_cost_selectivity(PlannerInfo *root, IndexPath *path);

extern void vdb_cost_finish(VdbCosts *costs, PlannerInfo *root, IndexPath *path,
							const VdbCostModel *model, QualCost distance);

#endif							/* VDB_INDEX_COST_H */
