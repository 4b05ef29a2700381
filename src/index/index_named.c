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
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "index/index.h"

/* How often a table's lock is asked for, ms, and after how many times it is looked who has it. */
#define LOCK_WAIT_MS 20
#define LOOK_EVERY 10

/* What of a wait event says which of its class it is. */
#define WAIT_EVENT_NUMBER 0x00FFFFFF

/* How long one who has it may wait for locks himself, s. */
#define BLOCKED_SECONDS 5

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

/* Does the process wait for a lock of any kind, or ask for one as we do here? */
static bool
waits_for_lock(int pid)
{
	PGPROC	   *process = BackendPidGetProc(pid);
	uint32		event = process != NULL ? *(volatile uint32 *) &process->wait_event_info : 0;

	return (event & ~WAIT_EVENT_NUMBER) == PG_WAIT_LOCK;
}

/*
 * Is one who keeps us from locking a table blocked himself: has he got it locked and waits, or does he wait
 * for it with a mode for which we may stand in his way?
 */
static bool
holder_is_blocked(const LOCKTAG *table)
{
	LockData   *locks = GetLockStatusData();
	bool		blocked = false;

	for (int i = 0; i < locks->nelements && !blocked; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		blocked = memcmp(&lock->locktag, table, sizeof(LOCKTAG)) == 0 && lock->pid != MyProcPid &&
			(lock->waitLockMode > ShareUpdateExclusiveLock ||
			 (lock->holdMask >= LOCKBIT_ON(ShareUpdateExclusiveLock) && waits_for_lock(lock->pid)));
	}
	pfree(locks->locks);
	pfree(locks);
	return blocked;
}

/* Raises what the server does where a lock is not had in time. */
static void
lock_not_available(Relation heap, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not obtain lock on table \"%s\"", RelationGetRelationName(heap)),
			 errdetail("VACUUM, a background worker or a concurrent build is at work on it, %s.", why),
			 errhint("Try again when that has ended.")));
}

void
vdb_index_lock_for_upkeep(Relation heap)
{
	VdbMoment	began = vdb_clock_read();
	VdbMoment	free_at = began;	/* when nobody who has it was blocked */
	LOCKTAG		table;

	SET_LOCKTAG_RELATION(table, heap->rd_lockInfo.lockRelId.dbId, heap->rd_lockInfo.lockRelId.relId);
	for (int asked = 1; !ConditionalLockRelation(heap, ShareUpdateExclusiveLock); asked++)
	{
		VdbMoment	now = vdb_clock_read();

		if (LockTimeout > 0 && now - began >= (VdbMoment) LockTimeout * 1000)
			lock_not_available(heap, "for longer than \"lock_timeout\"");
		if (asked % LOOK_EVERY == 0 && !holder_is_blocked(&table))
			free_at = now;
		if (now - free_at >= (VdbMoment) BLOCKED_SECONDS * USECS_PER_SEC)
			lock_not_available(heap, "and waits for others");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_WAIT_MS, PG_WAIT_LOCK);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
