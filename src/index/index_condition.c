/*
 * index_condition.c
 *	  Conditions that an index can look at although the server does not offer
 *	  them to it.
 *
 * Up to release 16 the server takes an index that is given "column = ANY (array)"
 * for a further column to return rows in no order, and up to 15 it knows of none but
 * its own indexes that they can look for a truth value.  We give such conditions to
 * a path of ours ourselves (the hook is in index_range.c); one that is given them
 * already is left alone.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"

#include "index/index.h"

static bool
is_given(const IndexPath *path, const RestrictInfo *condition)
{
	ListCell   *cell;

	foreach(cell, path->indexclauses)
	{
		if (lfirst_node(IndexClause, cell)->rinfo == condition)
			return true;
	}
	return false;
}

/* Is this "column = ANY (array)", or so, for a column of an index, from 0? */
static bool
is_any_of(const RestrictInfo *condition, const IndexOptInfo *index, int column)
{
	const ScalarArrayOpExpr *any = (const ScalarArrayOpExpr *) condition->clause;
	Node	   *array;

	if (!IsA(any, ScalarArrayOpExpr) || !any->useOr ||
		!match_index_to_operand(linitial(any->args), column, (IndexOptInfo *) index))
		return false;
	array = lsecond(any->args);
	return op_in_opfamily(any->opno, index->opfamily[column]) &&
		(!OidIsValid(index->indexcollations[column]) ||
		 index->indexcollations[column] == any->inputcollid) &&
		!contain_var_clause(array) && !contain_volatile_functions(array);
}

/*
 * Where a condition is that a column is true, or that it is false: "column =
 * truth"; else NULL.
 */
static Expr *
form_equality(const RestrictInfo *condition, const IndexOptInfo *index, int column)
{
	Node	   *clause = (Node *) condition->clause;
	bool		truth = true;

	if (!op_in_opfamily(BooleanEqualOperator, index->opfamily[column]))
		return NULL;
	if (is_notclause(clause))
	{
		truth = false;
		clause = (Node *) get_notclausearg((Expr *) clause);
	}
	else if (IsA(clause, BooleanTest) && (((BooleanTest *) clause)->booltesttype == IS_TRUE ||
										  ((BooleanTest *) clause)->booltesttype == IS_FALSE))
	{
		truth = ((BooleanTest *) clause)->booltesttype == IS_TRUE;
		clause = (Node *) ((BooleanTest *) clause)->arg;
	}
	if (!match_index_to_operand(clause, column, (IndexOptInfo *) index))
		return NULL;
	return make_opclause(BooleanEqualOperator, BOOLOID, false, copyObject((Expr *) clause),
						 (Expr *) makeBoolConst(truth, false), InvalidOid, InvalidOid);
}

static IndexClause *
form_clause(RestrictInfo *condition, RestrictInfo *qual, int column)
{
	IndexClause *clause = makeNode(IndexClause);

	clause->rinfo = condition;
	clause->indexquals = list_make1(qual);
	clause->lossy = false;
	clause->indexcol = column;
	clause->indexcols = NIL;
	return clause;
}

/* A condition as one of a column of an index, from 0; else NULL. */
static IndexClause *
match_condition(PlannerInfo *root, RestrictInfo *condition, const IndexOptInfo *index, int column)
{
	Expr	   *equality;

	if (is_any_of(condition, index, column))
		return form_clause(condition, condition, column);
	equality = form_equality(condition, index, column);
	if (equality == NULL)
		return NULL;
	set_opfuncid((OpExpr *) equality);
	return form_clause(condition, make_simple_restrictinfo(root, equality), column);
}

List *
vdb_index_find_conditions(PlannerInfo *root, const IndexPath *path)
{
	const IndexOptInfo *index = path->indexinfo;
	List	   *clauses = NIL;
	ListCell   *cell;

	foreach(cell, index->indrestrictinfo)
	{
		RestrictInfo *condition = lfirst_node(RestrictInfo, cell);
		IndexClause *clause = NULL;

		if (condition->pseudoconstant || is_given(path, condition) ||
			!restriction_is_securely_promotable(condition, index->rel))
			continue;
		for (int column = 1; column < index->nkeycolumns && clause == NULL; column++)
			clause = match_condition(root, condition, index, column);
		if (clause != NULL)
			clauses = lappend(clauses, clause);
	}
	return clauses;
}
