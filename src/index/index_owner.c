/*
 * index_owner.c
 *	  Running what is a table owner's code as the owner: an index's expressions.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "compat.h"
#include "index/index.h"

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
