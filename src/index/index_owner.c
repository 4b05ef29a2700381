/*
 * index_owner.c
 *	  What is a table owner's code, an index's expressions: whether there is any, and running it as
 *	  the owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "index/index.h"

/* Is a function written in a language of which the server is not sure what its code does? */
static bool
is_users(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			language;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	return language != INTERNALlanguageId && language != ClanguageId;
}

static bool
find_users_code(Node *node, void *context)
{
	/* a domain's conditions may call anything */
	return node != NULL &&
		(IsA(node, CoerceToDomain) || check_functions_in_node(node, is_users, context) ||
		 expression_tree_walker(node, find_users_code, context));
}

bool
vdb_index_has_users_code(Relation index)
{
	bool		isnull;
	Datum		expressions = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indexprs, &isnull);

	/* as they were written: what the relation cache has was simplified, by calling what is immutable */
	return !isnull && find_users_code(stringToNode(TextDatumGetCString(expressions)), NULL);
}

void
vdb_index_become_owner(Relation heap, VdbFormerUser *former)
{
	GetUserIdAndSecContext(&former->user, &former->security);
	SetUserIdAndSecContext(heap->rd_rel->relowner, former->security | SECURITY_RESTRICTED_OPERATION);
	former->nest = NewGUCNestLevel();
	RestrictSearchPath();
}

void
vdb_index_come_back(const VdbFormerUser *former)
{
	AtEOXact_GUC(false, former->nest);
	SetUserIdAndSecContext(former->user, former->security);
}
