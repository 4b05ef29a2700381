/*
 * index_named.c
 *	  Opening an index that a user names: for vdb.check_index(), vdb.recall(),
 *	  vdb.calibrate() and vdb.prewarm(); and locking its table, for vdb.maintain() and
 *	  vdb.load_mirror().
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "index/index.h"

/* How long a table's lock is asked for at most, s, and how often, ms. */
#define LOCK_SECONDS 60
#define LOCK_WAIT_MS 20

/* What to call an access method's indexes. */
static const char *
name_of(const VdbAccessMethod *method)
{
	return method != NULL ? method->name : "hnsw, ivfflat or ivfpq";
}

static void
check_index_is_ready(const VdbAccessMethod *method, Relation index)
{
	const VdbAccessMethod *found = vdb_index_method(index->rd_indam->amcostestimate);

	if (found == NULL || (method != NULL && found != method))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an %s index", RelationGetRelationName(index), name_of(method)),
				 errhint("Name an index made with USING %s.", name_of(method))));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary indexes of other sessions")));
	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
				 errdetail("Building it has not ended, or it failed."),
				 errhint("Drop it, or REINDEX it.")));
}

Relation
vdb_index_open_named(const VdbAccessMethod *method, Oid indexoid, LOCKMODE lock, Relation *heap)
{
	char		relkind = get_rel_relkind(indexoid);
	Oid			heapoid;
	Relation	index;

	if (relkind == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partitioned index", get_rel_name(indexoid)),
				 errhint("Name the partitions' indexes, one by one.")));
	heapoid = relkind == RELKIND_INDEX ? IndexGetRelation(indexoid, true) : InvalidOid;
	if (!OidIsValid(heapoid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 get_rel_name(indexoid) == NULL
				 ? errmsg("there is no index with OID %u", indexoid)
				 : errmsg("\"%s\" is not an index", get_rel_name(indexoid)),
				 errhint("Name an index made with USING %s.", name_of(method))));
	*heap = table_open(heapoid, AccessShareLock);
	index = index_open(indexoid, lock);
	check_index_is_ready(method, index);
	return index;
}

void
vdb_index_lock_for_upkeep(Relation index, Relation heap)
{
	int			limit_ms = LockTimeout > 0 ? Min(LockTimeout, LOCK_SECONDS * 1000) : LOCK_SECONDS * 1000;
	VdbMoment	end = vdb_clock_read() + (VdbMoment) limit_ms * 1000;

	while (!ConditionalLockRelation(heap, ShareUpdateExclusiveLock))
	{
		if (vdb_clock_read() >= end)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not obtain lock on table \"%s\" in %d ms", RelationGetRelationName(heap), limit_ms),
					 errdetail("VACUUM, a background worker, a concurrent build or somebody's LOCK TABLE has it, or waits for it."),
					 errhint("Try again when that has ended.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_WAIT_MS, PG_WAIT_LOCK);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}

	/* it may have been dropped, or built anew, meanwhile, and that may have ended half-way */
	check_index_is_ready(NULL, index);
}
