/*
 * index_range.c
 *	  A bound on the very distance that rows are ordered by,
 *	  WHERE v <-> q < r ORDER BY v <-> q, becomes a key of the scan.
 *
 * Rows come in order of distance, so a scan that knows r ends where they pass
 * it.  The server cannot tell it: an index is offered conditions of the form
 * "column operator constant", and this one has a distance in the column's
 * place.  Once the server has made its paths, we therefore look among a table's
 * conditions for those that bound the order of a path of ours, and give that
 * path a condition of the proper form which follows from them: "v ~<= r", the
 * distance from the scan's own question may be r or less.  (At the same place paths
 * are given conditions on further columns that the server keeps from them,
 * index_condition.c.)
 *
 * That condition promises nothing.  The index leaves out what is certainly
 * farther away, the executor filters by the query's own condition as it did
 * before, so < and <= need not be told apart.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parse_coerce.h"
#include "utils/lsyscache.h"

#include "index/index.h"

static set_rel_pathlist_hook_type previous_hook;

static void bound_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte);
static IndexPath *bound_path(PlannerInfo *root, IndexPath *path);
static Node *find_radius(PlannerInfo *root, const IndexPath *path, const RestrictInfo *condition);
static bool is_distance(const Node *expr, const OpExpr *order);
static IndexClause *form_clause(PlannerInfo *root, const IndexPath *path, Oid operator,
								RestrictInfo *condition, Node *radius);

/*
 * Installed for good: the library is loaded once a session knows an index of
 * ours, since the server has called the handler by then.  That is before it
 * makes paths for the index.
 */
void
vdb_index_hook_planner(void)
{
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = bound_paths;
}

/*
 * In place of "~<=", which the server calls in one place only: where a row has
 * been waited for (FOR UPDATE), it looks again whether the new version passes
 * the conditions of the index.  Without the question nothing can be said against
 * it; the query's own condition is looked at next.
 */
PG_FUNCTION_INFO_V1(vdb_index_may_be_within);
Datum
vdb_index_may_be_within(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/* A set_rel_pathlist_hook.  Children of a partitioned table come here as well. */
static void
bound_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	List	   *bounded = NIL;
	ListCell   *cell;

	if (previous_hook)
		previous_hook(root, rel, rti, rte);

	/* the same path with one condition more takes the place of that without */
	foreach(cell, rel->pathlist)
	{
		IndexPath  *path = IsA(lfirst(cell), IndexPath) ?
			bound_path(root, lfirst_node(IndexPath, cell)) : NULL;

		if (path != NULL)
		{
			bounded = lappend(bounded, path);
			rel->pathlist = foreach_delete_current(rel->pathlist, cell);
		}
	}
	foreach(cell, bounded)
		add_path(rel, lfirst(cell));
}

/*
 * A path that ends at the query's bounds, and knows all conditions that it can look
 * at; NULL where there are none but those that it knows.
 */
static IndexPath *
bound_path(PlannerInfo *root, IndexPath *path)
{
	IndexOptInfo *index = path->indexinfo;
	List	   *clauses;
	Oid			operator;
	ListCell   *cell;

	if (vdb_index_method(index->amcostestimate) == NULL || list_length(path->indexorderbys) != 1 ||
		path->path.pathkeys == NIL || path->path.param_info != NULL)
		return NULL;

	/* an operator class of somebody's own may do without */
	operator = get_opfamily_member(index->opfamily[0], index->opcintype[0], FLOAT8OID,
								   VDB_RADIUS_STRATEGY);
	clauses = vdb_index_find_conditions(root, path);

	/*
	 * A condition of row security or of a view may have to be looked at before
	 * these.  It is: nothing is computed from a row but what its place in the
	 * order takes, and the radius, like the question, comes from no row.
	 */
	foreach(cell, OidIsValid(operator) ? index->indrestrictinfo : NIL)
	{
		RestrictInfo *condition = lfirst_node(RestrictInfo, cell);
		Node	   *radius = find_radius(root, path, condition);

		if (radius != NULL)
			clauses = lappend(clauses, form_clause(root, path, operator, condition, radius));
	}
	if (clauses == NIL)
		return NULL;
	return create_index_path(root, index, list_concat_copy(path->indexclauses, clauses),
							 path->indexorderbys, path->indexorderbycols, path->path.pathkeys,
							 path->indexscandir, false, NULL, 1.0, false);
}

/* What a condition says that the distance is below, as a float8; else NULL. */
static Node *
find_radius(PlannerInfo *root, const IndexPath *path, const RestrictInfo *condition)
{
	const OpExpr *order = linitial_node(OpExpr, path->indexorderbys);
	const OpExpr *clause = (const OpExpr *) condition->clause;
	Node	   *distance;
	Node	   *radius;

	if (!IsA(clause, OpExpr) || list_length(clause->args) != 2)
		return NULL;
	switch (get_op_opfamily_strategy(clause->opno,
									 linitial_node(PathKey, path->path.pathkeys)->pk_opfamily))
	{
		case BTLessStrategyNumber:
		case BTLessEqualStrategyNumber:
			distance = linitial(clause->args);
			radius = lsecond(clause->args);
			break;
		case BTGreaterStrategyNumber:
		case BTGreaterEqualStrategyNumber:
			distance = lsecond(clause->args);
			radius = linitial(clause->args);
			break;
		default:
			return NULL;
	}
	if (!is_distance(distance, order) || contain_var_clause(radius) ||
		contain_volatile_functions(radius))
		return NULL;

	/* a real is compared with a distance without a cast, and is exact as one */
	radius = coerce_to_target_type(NULL, radius, exprType(radius), FLOAT8OID, -1,
								   COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	return radius == NULL ? NULL : eval_const_expressions(root, radius);
}

/* Is this the distance of the order?  The column may be on either side. */
static bool
is_distance(const Node *expr, const OpExpr *order)
{
	const OpExpr *distance = (const OpExpr *) expr;

	if (!IsA(distance, OpExpr) || list_length(distance->args) != 2)
		return false;
	if (equal(distance, order))
		return true;
	return get_commutator(distance->opno) == order->opno &&
		equal(linitial(distance->args), lsecond(order->args)) &&
		equal(lsecond(distance->args), linitial(order->args));
}

/* "v ~<= r" in place of a condition, which stays as a filter. */
static IndexClause *
form_clause(PlannerInfo *root, const IndexPath *path, Oid operator, RestrictInfo *condition,
			Node *radius)
{
	const OpExpr *order = linitial_node(OpExpr, path->indexorderbys);
	IndexClause *clause = makeNode(IndexClause);
	Expr	   *within = make_opclause(operator, BOOLOID, false, copyObject(linitial(order->args)),
									   (Expr *) radius, InvalidOid, InvalidOid);

	set_opfuncid((OpExpr *) within);
	clause->rinfo = condition;
	clause->indexquals = list_make1(make_simple_restrictinfo(root, within));
	clause->lossy = true;
	clause->indexcol = 0;
	clause->indexcols = NIL;
	return clause;
}
