/*
 * exec_path.c
 *	  Where the planner is offered an exact search: for a table's rows in order of a distance.
 *
 * Whatever finds the rows of the table that a query wants, without that order, may be below the
 * node: a scan of the table, of an ordinary index, of a bitmap.  Conditions are its to look
 * at, row security among them, so nothing is computed of a row that may not be seen.
 *
 * Where an index has a mirror of the vectors, another path has that read in place of the child.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/sysattr.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "exec/exec_module.h"
#include "exec/exec_private.h"
#include "exec/exec_ranked.h"
#include "exec/exec_readahead.h"
#include "index/index.h"
#include "mirror/mirror.h"

static bool enabled = true;
bool		vdb_mirror_is_enabled = true;
static set_rel_pathlist_hook_type previous_hook;
static planner_hook_type previous_planner;

/*
 * May the distance be computed of rows that the query does not want?  A join leaves out rows behind the
 * node, which the server's plan measures none of: where numbers of dimensions differ, such a row would
 * raise an error, and so could an expression.
 */
static bool
is_safe_for_any(PlannerInfo *root, Node *value)
{
	return bms_membership(root->all_baserels) != BMS_MULTIPLE || (IsA(value, Var) && exprTypmod(value) >= 0);
}

/* Which argument is of the table's rows, if the other one is the same for all; else -1. */
static int
find_value(PlannerInfo *root, RelOptInfo *rel, OpExpr *order)
{
	for (int i = 0; i < 2; i++)
	{
		Node	   *value = list_nth(order->args, i);
		Node	   *question = list_nth(order->args, 1 - i);

		if (bms_equal(pull_varnos(root, value), rel->relids) && !contain_var_clause(question) &&
			!contain_subplans(value) && is_safe_for_any(root, value))
			return i;
	}
	return -1;
}

/* The distance that the query's rows are to be in order of, of rows of this table; else NULL. */
static OpExpr *
find_order(PlannerInfo *root, RelOptInfo *rel, int *value)
{
	PathKey    *key;
	EquivalenceMember *member;

	if (root->query_pathkeys == NIL)
		return NULL;
	key = linitial_node(PathKey, root->query_pathkeys);
	if (key->pk_opfamily != lookup_type_cache(FLOAT8OID, TYPECACHE_BTREE_OPFAMILY)->btree_opf ||
		!vdb_pathkey_ascends(key) || key->pk_nulls_first || key->pk_eclass->ec_has_volatile)
		return NULL;
	vdb_foreach_member(member, key->pk_eclass, rel->relids)
	{
		OpExpr	   *order = (OpExpr *) member->em_expr;

		if (member->em_is_const || !bms_equal(member->em_relids, rel->relids) || !IsA(order, OpExpr) ||
			list_length(order->args) != 2 || order->opresulttype != FLOAT8OID ||
			contain_volatile_functions((Node *) order) || expression_returns_set((Node *) order))
			continue;
		*value = find_value(root, rel, order);
		if (*value >= 0 && vdb_index_operator_support(order->opno) != NULL)
			return order;
	}
	return NULL;
}

/* Is this a path whose rows are those of the table, and say where they are? */
static bool
is_plain_scan(const Path *path)
{
	if (path->param_info != NULL)
		return false;
	switch (path->pathtype)
	{
		case T_SeqScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
			return true;
		case T_IndexScan:
			return ((const IndexPath *) path)->indexorderbys == NIL;
		default:
			return false;
	}
}

static Path *
find_cheapest(List *paths)
{
	Path	   *cheapest = NULL;
	ListCell   *cell;

	foreach(cell, paths)
	{
		Path	   *path = lfirst(cell);

		if (is_plain_scan(path) && (cheapest == NULL || compare_path_costs(path, cheapest, TOTAL_COST) < 0))
			cheapest = path;
	}
	return cheapest;
}

/* The same path, which returns where a row is, and the value whose distance is asked for. */
static Path *
copy_for_child(PlannerInfo *root, const Path *path, Expr *value)
{
	PathTarget *target = create_empty_pathtarget();
	Size		size;
	Path	   *copy;

	switch (nodeTag(path))
	{
		case T_IndexPath:
			size = sizeof(IndexPath);
			break;
		case T_BitmapHeapPath:
			size = sizeof(BitmapHeapPath);
			break;
		case T_TidPath:
			size = sizeof(TidPath);
			break;
		case T_TidRangePath:
			size = sizeof(TidRangePath);
			break;
		default:
			size = sizeof(Path);
	}
	copy = palloc(size);
	memcpy(copy, path, size);
	add_column_to_pathtarget(target, (Expr *) makeVar(path->parent->relid, SelfItemPointerAttributeNumber,
													  TIDOID, -1, InvalidOid, 0), 0);
	add_column_to_pathtarget(target, value, 0);
	copy->pathtarget = set_pathtarget_cost_width(root, target);
	return copy;
}

/* How many rows memory holds. */
static double
rows_in_memory(void)
{
	return work_mem * 1024.0 / sizeof(VdbRankedRow);
}

/*
 * Of what the operator costs in an expression: without the executor's steps, and values out of line by a reader that stays open, a
 * distance takes half of the time (340,000 x 100: 24 ms beside the scan, and 51 below a sort; 68 x 784: .055 and .14).
 */
#define SHARE_OF_DISTANCE 0.5

/*
 * The question costs once.  A row costs part of what the operator does, and next to nothing to be kept.  One that
 * is returned is fetched once more, from a page that was read a moment ago, unless there are too many.  What
 * memory does not hold takes more passes: each returns from half of that to all.
 */
static void
set_costs(PlannerInfo *root, CustomPath *path, const Path *child, OpExpr *order, int value)
{
	QualCost	question;
	QualCost	distance = {0, 0};
	double		rows = child->rows;
	double		most = rows_in_memory();
	Cost		fetch = path->path.parent->pages > effective_cache_size ? random_page_cost : cpu_tuple_cost;

	cost_qual_eval_node(&question, list_nth(order->args, 1 - value), root);
	set_opfuncid(order);
	add_function_cost(root, order->opfuncid, (Node *) order, &distance);
	path->path.rows = rows;
	vdb_path_copy_disabled(&path->path, child);
	path->path.startup_cost = child->total_cost + question.startup + question.per_tuple +
		distance.startup + rows * distance.per_tuple * SHARE_OF_DISTANCE;
	path->path.total_cost = path->path.startup_cost + rows * (cpu_tuple_cost + fetch);
	if (rows > most)
		path->path.total_cost += path->path.startup_cost * rows / (0.75 * most);
}

/*
 * Is it certain that no more rows are asked for than LIMIT says?  What it says may be an estimate; joins
 * leave rows out, and further sort keys take all that are as far as the last.
 */
static bool
is_limit_of_rows(PlannerInfo *root)
{
	const Query *query = root->parse;

	return root->limit_tuples > 0 && query->limitOption == LIMIT_OPTION_COUNT && IsA(query->limitCount, Const) &&
		(query->limitOffset == NULL || IsA(query->limitOffset, Const)) &&
		list_length(root->query_pathkeys) == 1 && bms_membership(root->all_baserels) == BMS_SINGLETON;
}

/*
 * Rows that several processes share are returned to each of them once, so what is forgotten cannot be
 * read again: may that be all that memory does not hold, or is all likely to fit?
 */
static bool
is_once_enough(PlannerInfo *root, const Path *child)
{
	double		most = rows_in_memory();

	return is_limit_of_rows(root) ? root->limit_tuples <= most / 4 : child->rows <= most / 2;
}

/* An index with a mirror. */
typedef struct Mirror
{
	Oid			index;			/* InvalidOid: there is none */
	double		rows;
	uint32		dims;
} Mirror;

/* Is there a mirror of an index, which the planner has locked? */
static bool
read_mirror(Oid indexoid, Mirror *mirror)
{
	Relation	index = index_open(indexoid, NoLock);

	if (vdb_mirror_find(index, &mirror->rows, &mirror->dims))
		mirror->index = indexoid;
	index_close(index, NoLock);
	return OidIsValid(mirror->index);
}

/* The index of the table, with a mirror, that orders all rows that are wanted by this distance. */
static Mirror
find_mirror(RelOptInfo *rel, OpExpr *order, int value)
{
	Mirror		mirror = {InvalidOid};
	ListCell   *cell;

	if (!vdb_mirror_is_enabled || !vdb_mirror_is_any())
		return mirror;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst(cell);

		if (!index->hypothetical && vdb_index_method(index->amcostestimate) != NULL &&
			(index->indpred == NIL || index->predOK) &&
			SearchSysCacheExists3(AMOPOPID, ObjectIdGetDatum(order->opno), CharGetDatum(AMOP_ORDER),
								  ObjectIdGetDatum(index->opfamily[0])) &&
			match_index_to_operand(list_nth(order->args, value), 0, index) &&
			read_mirror(index->indexoid, &mirror))
			return mirror;
	}
	return mirror;
}

/*
 * What things in memory cost, in units of the server's costs, of which a scan of a table in memory takes 24,000 for 42 ms: a
 * row of a mirror, a dimension of it, and a row of the table that is found by its place (.15 us and more).
 */
#define MIRROR_ROW_COST (0.2 * cpu_operator_cost)
#define MIRROR_DIMENSION_COST (cpu_operator_cost / 64)
#define PLACE_COST (15 * cpu_tuple_cost)

static Cost
mirror_pass_cost(const Mirror *mirror)
{
	return mirror->rows * (MIRROR_ROW_COST + mirror->dims * MIRROR_DIMENSION_COST);
}

/* Which share of a mirror's rows satisfies the conditions? */
static double
share_of_mirror(const Mirror *mirror, double rows)
{
	return Min(Max(rows, 1) / Max(mirror->rows, 1), 1);
}

/*
 * Do conditions leave so few rows, which an ordinary index finds, that measuring these takes less than a look at all of
 * the mirror?  Both as if in memory: by what the server charges for pages it would always be the mirror.
 */
static bool
are_few_for_mirror(const Mirror *mirror, const Path *child)
{
	return child->pathtype != T_SeqScan &&
		child->rows * (PLACE_COST + mirror->dims * 8 * MIRROR_DIMENSION_COST) < mirror_pass_cost(mirror);
}

/*
 * All rows of the mirror are looked at, and those that are returned are fetched twice and measured, with others
 * that conditions leave out.
 */
static void
set_mirror_costs(PlannerInfo *root, CustomPath *path, OpExpr *order, int value, const Mirror *mirror)
{
	RelOptInfo *rel = path->path.parent;
	QualCost	question;
	QualCost	distance = {0, 0};
	Cost		fetch = rel->pages > effective_cache_size ? random_page_cost : PLACE_COST;
	Cost		row;

	/* the child is not read */
	vdb_path_clear_disabled(&path->path);
	cost_qual_eval_node(&question, list_nth(order->args, 1 - value), root);
	add_function_cost(root, order->opfuncid, (Node *) order, &distance);
	row = fetch + cpu_tuple_cost + rel->baserestrictcost.per_tuple + distance.per_tuple;
	path->path.startup_cost = question.startup + question.per_tuple + rel->baserestrictcost.startup + distance.startup +
		mirror_pass_cost(mirror);
	path->path.total_cost = path->path.startup_cost +
		path->path.rows * (row / share_of_mirror(mirror, path->path.rows) + fetch);
}

static CustomPath *
form_path(PlannerInfo *root, RelOptInfo *rel, const Path *scan, OpExpr *order, int value, const Mirror *mirror)
{
	CustomPath *path = makeNode(CustomPath);
	Path	   *child = copy_for_child(root, scan, list_nth(order->args, value));
	double		first = 0;
	double		mirror_first = 0;

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.parallel_safe = rel->consider_parallel && child->parallel_safe &&
		is_parallel_safe(root, (Node *) order);
	path->path.parallel_workers = child->parallel_workers;
	path->path.pathkeys = list_make1(linitial(root->query_pathkeys));
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_paths = list_make1(child);
	if (root->limit_tuples > 0)
	{
		first = Min(root->limit_tuples, PG_INT32_MAX);
		mirror_first = mirror == NULL ? first : Min(first / share_of_mirror(mirror, scan->rows), PG_INT32_MAX);
	}
	path->custom_private = list_make4(order, makeInteger(value),
									  makeInteger(!scan->parallel_aware ? EXACT_READS_AGAIN :
												  is_limit_of_rows(root) ? EXACT_READS_ONCE : EXACT_KEEPS_ALL),
									  list_make3(makeInteger((int) first),
												 makeInteger(mirror == NULL ? 0 : (int) mirror->index),
												 makeInteger((int) mirror_first)));
	path->methods = &vdb_exact_path_methods;
	set_costs(root, path, child, order, value);
	if (mirror != NULL)
		set_mirror_costs(root, path, order, value, mirror);
	return path;
}

/* A set_rel_pathlist_hook.  Children of a partitioned table come here as well. */
static void
offer_exact_scan(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	OpExpr	   *order;
	Path	   *child;
	int			value;

	if (previous_hook)
		previous_hook(root, rel, rti, rte);
	if ((!enabled && !vdb_mirror_is_enabled) || rte->rtekind != RTE_RELATION || rte->inh || rte->tablesample != NULL ||
		(rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_MATVIEW) || IS_DUMMY_REL(rel))
		return;
	order = find_order(root, rel, &value);

	/* in another pass other rows would be seen */
	if (order == NULL || contain_volatile_functions((Node *) extract_actual_clauses(rel->baserestrictinfo, false)))
		return;

	/* else a child below conditions that no row decides would leave it out */
	rel->attr_needed[SelfItemPointerAttributeNumber - rel->min_attr] =
		bms_union(rel->attr_needed[SelfItemPointerAttributeNumber - rel->min_attr], rel->relids);
	child = find_cheapest(rel->pathlist);
	if (child != NULL)
	{
		Mirror		mirror = find_mirror(rel, order, value);
		CustomPath *read = enabled ? form_path(root, rel, child, order, value, NULL) : NULL;
		CustomPath *mirrored = OidIsValid(mirror.index) && !are_few_for_mirror(&mirror, child) ?
			form_path(root, rel, child, order, value, &mirror) : NULL;

		/* adding one may free the child's path, of which it has a copy */
		if (read != NULL)
			add_path(rel, &read->path);
		if (mirrored != NULL)
			add_path(rel, &mirrored->path);
	}
	child = enabled ? find_cheapest(rel->partial_pathlist) : NULL;
	if (child != NULL && is_once_enough(root, child))
	{
		CustomPath *path = form_path(root, rel, child, order, value, NULL);

		if (path->path.parallel_safe)
			add_partial_path(rel, &path->path);
	}
}

/*
 * Has the child return the table's rows as they are, which spares it a step for each, if the value is a
 * column; returns which, or 0 where that cannot be.  The place is a part of such a row.
 */
static AttrNumber
leave_whole(PlannerInfo *root, RelOptInfo *rel, Plan *child, const Node *value)
{
	List	   *columns;

	if (!IsA(value, Var) || ((const Var *) value)->varattno <= 0 ||
		!(IsA(child, SeqScan) || IsA(child, BitmapHeapScan) || IsA(child, IndexScan)))
		return 0;
	columns = build_physical_tlist(root, rel);
	if (columns == NIL)
		return 0;
	child->targetlist = columns;
	return ((const Var *) value)->varattno;
}

/* A PlanCustomPath method. */
static Plan *
plan_exact_scan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses,
				List *children)
{
	CustomScan *scan = makeNode(CustomScan);
	OpExpr	   *order = linitial_node(OpExpr, path->custom_private);
	Integer    *value = lsecond_node(Integer, path->custom_private);
	AttrNumber	column = leave_whole(root, rel, linitial(children), list_nth(order->args, value->ival));

	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = rel->relid;
	scan->flags = path->flags;
	scan->custom_plans = children;
	scan->custom_exprs = list_make2(order, extract_actual_clauses(clauses, false));
	scan->custom_private = list_concat(list_make3(value, lthird(path->custom_private), makeInteger(column)),
									   lfourth(path->custom_private));
	scan->methods = &vdb_exact_scan_methods;
	return &scan->scan.plan;
}

const CustomPathMethods vdb_exact_path_methods = {
	.CustomName = VDB_EXACT_SCAN_NAME,
	.PlanCustomPath = plan_exact_scan
};

void
vdb_exec_init(void)
{
	DefineCustomBoolVariable("vdb.enable_exact_scan",
							 "Enables the planner's use of exact scans of tables in order of a distance.",
							 NULL,
							 &enabled,
							 true,
							 PGC_USERSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.enable_mirror",
							 "Enables the planner's use of exact scans of mirrors in order of a distance.",
							 NULL,
							 &vdb_mirror_is_enabled,
							 true,
							 PGC_USERSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);
	RegisterCustomScanMethods(&vdb_exact_scan_methods);
	vdb_readahead_init();
}

/*
 * May rows be read that nobody asks for?  Looked at before the planner changes the query.  One of a single table has no join, and is
 * not gone through.
 */
static bool
may_read_ahead(Query *query)
{
	return (enabled || (vdb_mirror_is_enabled && vdb_mirror_is_any())) && query->commandType == CMD_SELECT &&
		(list_length(query->rtable) > 1 || query->hasSubLinks || query->setOperations != NULL) &&
		!query->hasModifyingCTE && !contain_volatile_functions((Node *) query);
}

/* A planner_hook. */
static PlannedStmt *
plan_statement(Query *query, const char *text, int cursor_options, ParamListInfo params)
{
	bool		ahead = may_read_ahead(query);
	PlannedStmt *statement = previous_planner != NULL ? previous_planner(query, text, cursor_options, params) :
		standard_planner(query, text, cursor_options, params);

	/* these are of its subqueries, too */
	if (ahead && statement->rowMarks == NIL)
		vdb_readahead_add(statement);
	return statement;
}

void
vdb_exec_hook_planner(void)
{
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = offer_exact_scan;
	previous_planner = planner_hook;
	planner_hook = plan_statement;
}
