/*
 * worker_watch.c
 *	  Who waits for a lock that a worker holds, and for how long.
 *
 * Workers ask for locks conditionally, but a rebuild holds one that ALTER TABLE waits for.
 * What a worker does has no point at which it could look behind itself, so the launcher
 * does.  It reads the table of locks as pg_locks does, and only while there are workers.
 *
 * A rebuild also waits for transactions that are older than itself to end.  If one of these
 * waits for its lock, that is a deadlock, and the server ends the transaction of who
 * notices first, after deadlock_timeout: the user's.  So we have to be faster than that.
 * And one of these may never end, while the rebuild keeps autovacuum off the table.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "storage/lock.h"
#include "utils/timestamp.h"

#include "worker/worker_private.h"

/* Signals the worker of a process number, if it still is one; false if it is not. */
static bool
signal_worker(int pid, int signal)
{
	bool		sent = false;

	LWLockAcquire(&vdb_worker_shared->lock, LW_SHARED);
	for (int i = VDB_LAUNCHER_PLACE + 1; i < VDB_PLACES; i++)
	{
		/* it cannot end as long as we hold the lock */
		if (vdb_worker_shared->places[i].pid == pid)
			sent = kill(pid, signal) == 0;
	}
	LWLockRelease(&vdb_worker_shared->lock);
	return sent;
}

/* The same, and says for whom and why. */
static void
send_away(int pid, int signal, const char *why, int for_whom)
{
	if (signal_worker(pid, signal))
		ereport(LOG,
				(errmsg("vdb worker %d gives way to process %d", pid, for_whom),
				 errdetail_internal("%s", why)));
}

/*
 * Is it one that looks after indexes?  Only those have locks for long.  0 is no process, but
 * a transaction that is prepared.
 */
static bool
is_worker(int pid)
{
	int			first = vdb_worker_kinds[VDB_KIND_MAINTENANCE].first_place;

	for (int i = first; pid != 0 && i < first + VDB_MAX_WORKERS; i++)
	{
		if (vdb_worker_shared->places[i].pid == pid)
			return true;
	}
	return false;
}

/* Ends all processes of ours in a database. */
static void
leave_database(Oid database, int for_whom)
{
	for (int i = VDB_LAUNCHER_PLACE + 1; i < VDB_PLACES; i++)
	{
		const VdbPlace *place = &vdb_worker_shared->places[i];
		int			pid = place->pid;

		if (pid != 0 && place->database == database)
			send_away(pid, SIGTERM, "It is in a database that is to be changed.", for_whom);
	}
}

static bool
holds_what_conflicts(const LockInstanceData *holder, LOCKMODE wanted)
{
	for (LOCKMODE mode = AccessShareLock; mode <= AccessExclusiveLock; mode++)
	{
		if ((holder->holdMask & LOCKBIT_ON(mode)) != 0 && DoLockModesConflict(wanted, mode))
			return true;
	}
	return false;
}

/* Cancels the workers that a process waits for. */
static void
give_way(const LockData *locks, const LockInstanceData *waiter)
{
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *holder = &locks->locks[i];

		if (is_worker(holder->leaderPid) && holder->leaderPid != waiter->leaderPid &&
			memcmp(&holder->locktag, &waiter->locktag, sizeof(LOCKTAG)) == 0 &&
			holds_what_conflicts(holder, waiter->waitLockMode))
			send_away(holder->leaderPid, SIGINT, "It has a lock that is waited for.", waiter->pid);
	}
}

/*
 * Is this a lock on a database of one who drops, moves, renames or copies it?  Who does
 * waits for others to leave, five seconds.
 */
static bool
wants_database(const LockInstanceData *lock)
{
	return lock->locktag.locktag_type == LOCKTAG_OBJECT &&
		lock->locktag.locktag_field2 == DatabaseRelationId &&
		(lock->waitLockMode >= ShareLock || lock->holdMask >= LOCKBIT_ON(ShareLock));
}

/*
 * Has somebody waited for so many milliseconds?  The server says by the time of day when a wait began.
 * Who waits since a time that is to come has the clock against him, and his way.
 */
static bool
has_waited(TimestampTz since, TimestampTz now, int ms)
{
	return since != 0 && (since > now || TimestampDifferenceExceeds(since, now, ms));
}

/* Is it a worker that has waited for too long itself?  Cancels it. */
static void
give_up(const LockInstanceData *waiter, TimestampTz now)
{
	/* the clock may have been set back */
	if (vdb_maintenance_wait_timeout > 0 && is_worker(waiter->leaderPid) && waiter->waitStart <= now &&
		has_waited(waiter->waitStart, now, vdb_maintenance_wait_timeout * 1000) &&
		signal_worker(waiter->leaderPid, SIGINT))
		ereport(LOG,
				(errmsg("vdb worker %d has waited for others for %d s, and gives up", waiter->leaderPid,
						vdb_maintenance_wait_timeout),
				 errdetail("It waits for transactions that are open in its database, or prepared."),
				 errhint("End them, or set \"vdb.maintenance_wait_timeout\".")));
}

void
vdb_worker_watch(void)
{
	LockData   *locks = GetLockStatusData();
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (wants_database(lock))
			leave_database(lock->locktag.locktag_field3, lock->pid);
		else if (lock->waitLockMode != NoLock && has_waited(lock->waitStart, now, vdb_maintenance_lock_wait))
		{
			give_way(locks, lock);
			give_up(lock, now);
		}
	}
}
