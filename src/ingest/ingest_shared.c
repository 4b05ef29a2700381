/*
 * ingest_shared.c
 *	  What processes that work on pipelines have in shared memory: what was counted, how far
 *	  each database's log has been read, and who is to be woken.
 *
 * It is lost with the server, as all statistics are; what must not be lost is in tables.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ingest/ingest_private.h"
#include "shmem.h"
#include "stats/stats.h"

/* Pipelines that are counted, and databases whose log is read, at most. */
#define MOST_PIPELINES 512
#define MOST_DATABASES 64

/* Seconds from a change to its embedding: the upper ends of what is counted together. */
#define BUCKETS 13
static const double bounds[BUCKETS] = {
	.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600, INFINITY
};

typedef struct Counters
{
	Oid			database;		/* InvalidOid: of nobody */
	int			pipeline;
	pg_atomic_uint64 values[VDB_INGEST_STATS];
	pg_atomic_uint64 fresh[BUCKETS];
	pg_atomic_uint64 fresh_us;
} Counters;

typedef struct Progress
{
	Oid			database;		/* InvalidOid: of none */
	VdbCaptureProgress at;
	bool		begun;			/* since the server was started */
	XLogRecPtr	start;			/* where a process began to read */
	int			starts;			/* so many, in a row, there */
	ConditionVariable work;		/* there is something to embed */
} Progress;

typedef struct Shared
{
	LWLock		lock;			/* over who has which place, and progress */
	Counters	counters[MOST_PIPELINES];
	Progress	progress[MOST_DATABASES];
} Shared;

static Shared *shared;

static Size
shared_size(void)
{
	return sizeof(Shared);
}

static void
init_shared(void *memory)
{
	Shared	   *fresh = memory;
	int			tranche = LWLockNewTrancheId();

	/* in the postmaster, whose children have the name from it */
	LWLockRegisterTranche(tranche, "vdb_ingest");
	memset(fresh, 0, sizeof(*fresh));
	LWLockInitialize(&fresh->lock, tranche);
	for (int i = 0; i < MOST_DATABASES; i++)
		ConditionVariableInit(&fresh->progress[i].work);
}

void
vdb_ingest_share(void)
{
	static const VdbSharedPart part = {
		.name = "vdb ingest",
		.size = shared_size,
		.init = init_shared,
		.memory = (void **) &shared,
	};

	vdb_shmem_add(&part);
}

bool
vdb_ingest_is_preloaded(void)
{
	return shared != NULL;
}

/* --- counters ---------------------------------------------------------------- */

static Counters *
find_counters(int pipeline, bool make)
{
	Counters   *found = NULL;

	for (int i = 0; i < MOST_PIPELINES; i++)
	{
		Counters   *counters = &shared->counters[i];

		if (counters->database == MyDatabaseId && counters->pipeline == pipeline)
			return counters;
		if (found == NULL && counters->database == InvalidOid)
			found = counters;
	}
	if (!make || found == NULL)
		return NULL;
	found->pipeline = pipeline;
	for (int i = 0; i < VDB_INGEST_STATS; i++)
		pg_atomic_init_u64(&found->values[i], 0);
	for (int i = 0; i < BUCKETS; i++)
		pg_atomic_init_u64(&found->fresh[i], 0);
	pg_atomic_init_u64(&found->fresh_us, 0);
	found->database = MyDatabaseId;
	return found;
}

/* A pipeline's counters, with the lock held; NULL where nothing is kept.  What has no place is not counted. */
static Counters *
lock_counters(int pipeline)
{
	Counters   *counters;

	if (shared == NULL)
		return NULL;
	LWLockAcquire(&shared->lock, LW_SHARED);
	counters = find_counters(pipeline, false);
	if (counters != NULL)
		return counters;
	LWLockRelease(&shared->lock);
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	counters = find_counters(pipeline, true);
	if (counters == NULL)
		LWLockRelease(&shared->lock);
	return counters;
}

void
vdb_ingest_count(int pipeline, VdbIngestStat what, uint64 count)
{
	Counters   *counters = count == 0 ? NULL : lock_counters(pipeline);

	if (counters == NULL)
		return;
	pg_atomic_fetch_add_u64(&counters->values[what], count);
	LWLockRelease(&shared->lock);
}

void
vdb_ingest_count_freshness(int pipeline, TimestampTz changed_at, TimestampTz now)
{
	Counters   *counters = lock_counters(pipeline);
	int64		us = Max(now - changed_at, 0);
	int			bucket = 0;

	if (counters == NULL)
		return;
	while (us / 1e6 > bounds[bucket])
		bucket++;
	pg_atomic_fetch_add_u64(&counters->fresh[bucket], 1);
	pg_atomic_fetch_add_u64(&counters->fresh_us, us);
	LWLockRelease(&shared->lock);
}

void
vdb_ingest_forget_counters(const List *but)
{
	if (shared == NULL)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MOST_PIPELINES; i++)
	{
		Counters   *counters = &shared->counters[i];

		if (counters->database == MyDatabaseId && !list_member_int(but, counters->pipeline))
			counters->database = InvalidOid;
	}
	LWLockRelease(&shared->lock);
}

/* --- how far the log has been read -------------------------------------------- */

/* A database's place; with "make", one that nobody has any more if there is none.  The lock is held. */
static Progress *
find_progress(Oid database, bool make)
{
	Progress   *found = NULL;

	for (int i = 0; i < MOST_DATABASES; i++)
	{
		Progress   *progress = &shared->progress[i];

		if (progress->database == database)
			return progress;
		if (found == NULL && progress->at.pid == 0)
			found = progress;
	}
	if (!make || found == NULL)
		return NULL;
	found->database = database;
	found->begun = false;
	found->starts = 0;
	memset(&found->at, 0, sizeof(found->at));
	return found;
}

bool
vdb_ingest_report(const VdbCaptureProgress *at)
{
	Progress   *progress;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	progress = find_progress(MyDatabaseId, true);
	if (progress != NULL)
		progress->at = *at;
	LWLockRelease(&shared->lock);
	return progress != NULL;
}

int
vdb_ingest_note_start(XLogRecPtr position)
{
	Progress   *progress;
	int			starts = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	progress = find_progress(MyDatabaseId, true);
	if (progress != NULL)
	{
		progress->starts = progress->start == position ? progress->starts + 1 : 1;
		progress->start = position;
		starts = progress->starts;
	}
	LWLockRelease(&shared->lock);
	return starts;
}

bool
vdb_ingest_has_begun(void)
{
	Progress   *progress;
	bool		begun;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	progress = find_progress(MyDatabaseId, true);
	begun = progress == NULL || progress->begun;
	LWLockRelease(&shared->lock);
	return begun;
}

void
vdb_ingest_note_begun(void)
{
	Progress   *progress;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	progress = find_progress(MyDatabaseId, true);
	if (progress != NULL)
		progress->begun = true;
	LWLockRelease(&shared->lock);
}

bool
vdb_ingest_read_progress(Oid database, VdbCaptureProgress *at)
{
	Progress   *progress;

	if (shared == NULL)
		return false;
	LWLockAcquire(&shared->lock, LW_SHARED);
	progress = find_progress(database, false);
	if (progress != NULL)
		*at = progress->at;
	LWLockRelease(&shared->lock);
	return progress != NULL && at->pid != 0;
}

/* The place of this database does not move as long as its capture process is there. */
static ConditionVariable *
work_of_database(void)
{
	Progress   *progress;

	LWLockAcquire(&shared->lock, LW_SHARED);
	progress = find_progress(MyDatabaseId, false);
	LWLockRelease(&shared->lock);
	return progress == NULL ? NULL : &progress->work;
}

void
vdb_ingest_wake_embedders(void)
{
	ConditionVariable *work = shared == NULL ? NULL : work_of_database();

	if (work != NULL)
		ConditionVariableBroadcast(work);
}

void
vdb_ingest_await_work(long ms)
{
	ConditionVariable *work = work_of_database();

	if (work == NULL)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		return;
	}
	ConditionVariablePrepareToSleep(work);
	(void) ConditionVariableTimedSleep(work, ms, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* --- what is shown ------------------------------------------------------------- */

#define COUNTER_COLUMNS (VDB_INGEST_STATS + 5)

/* A row of what was counted; NULL: nothing was. */
static void
put_counters(FunctionCallInfo fcinfo, Counters *counters)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	static Counters nothing;
	uint64		cumulative[BUCKETS];
	Datum		bound_datums[BUCKETS];
	Datum		bucket_datums[BUCKETS];
	Datum		values[COUNTER_COLUMNS];
	bool		isnull[COUNTER_COLUMNS] = {0};
	int			i = 0;

	if (counters == NULL)
		counters = &nothing;
	for (int what = 0; what < VDB_INGEST_STATS; what++)
		values[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&counters->values[what]));
	for (int bucket = 0; bucket < BUCKETS; bucket++)
	{
		cumulative[bucket] = pg_atomic_read_u64(&counters->fresh[bucket]) +
			(bucket == 0 ? 0 : cumulative[bucket - 1]);
		bound_datums[bucket] = Float8GetDatum(bounds[bucket]);
		bucket_datums[bucket] = Int64GetDatum((int64) cumulative[bucket]);
	}
	values[i++] = PointerGetDatum(construct_array(bound_datums, BUCKETS, FLOAT8OID, sizeof(float8),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[i++] = PointerGetDatum(construct_array(bucket_datums, BUCKETS, INT8OID, sizeof(int64),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[i++] = Float8GetDatum(pg_atomic_read_u64(&counters->fresh_us) / 1e6);
	for (int q = 0; q < 2; q++)
	{
		isnull[i] = cumulative[BUCKETS - 1] == 0;
		values[i] = Float8GetDatum(isnull[i] ? 0 : vdb_stats_quantile(bounds, cumulative, BUCKETS, q == 0 ? .5 : .99));
		i++;
	}
	Assert(i == COUNTER_COLUMNS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* vdb.ingest_counters(pipeline): one row, or none where nothing is kept */
PG_FUNCTION_INFO_V1(vdb_ingest_counters);
Datum
vdb_ingest_counters(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	if (shared == NULL)
		return (Datum) 0;
	LWLockAcquire(&shared->lock, LW_SHARED);
	put_counters(fcinfo, find_counters(PG_GETARG_INT32(0), false));
	LWLockRelease(&shared->lock);
	return (Datum) 0;
}

/* vdb_stat_ingest_reset(): who may is for the script to say */
PG_FUNCTION_INFO_V1(vdb_ingest_reset);
Datum
vdb_ingest_reset(PG_FUNCTION_ARGS)
{
	if (shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no statistics to reset"),
				 errdetail("They are kept where the library is loaded when the server starts."),
				 errhint("Add vdb to shared_preload_libraries, and restart the server.")));
	vdb_ingest_forget_counters(NIL);
	PG_RETURN_VOID();
}

/* vdb.capture_progress(): of this database's log; one row, or none */
PG_FUNCTION_INFO_V1(vdb_ingest_progress);
Datum
vdb_ingest_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbCaptureProgress at;
	Datum		values[4];
	bool		isnull[4] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (!vdb_ingest_read_progress(MyDatabaseId, &at))
		return (Datum) 0;
	values[0] = Int32GetDatum(at.pid);
	isnull[1] = at.captured == InvalidXLogRecPtr;
	values[1] = LSNGetDatum(at.captured);
	isnull[2] = at.confirmed == InvalidXLogRecPtr;
	values[2] = LSNGetDatum(at.confirmed);
	isnull[3] = at.caught_up_at == 0;
	values[3] = TimestampTzGetDatum(at.caught_up_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	return (Datum) 0;
}
