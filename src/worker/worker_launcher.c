/*
 * worker_launcher.c
 *	  The process that starts a worker in each database, in turn.
 *
 * It is connected to no database, so that it needs none, and reads pg_database, which all
 * share.  What it knows of a database is in its own memory: a launcher that is started
 * again begins with all of them.
 */
#include "postgres.h"

#include <math.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "worker/worker_private.h"

/* A database without an index of ours is looked at once in so many rounds. */
#define NOTHING_ROUNDS 10

/* Who waits for workers is looked for at least so often, ms: who drops a database waits five seconds. */
#define LONGEST_WATCH 1000

/* When the next process of a kind is due in a database. */
typedef struct Turn
{
	int			failures;		/* in a row */
	int			rounds;			/* to wait from one to the next */
	bool		asked;			/* since then a session has asked for the next one */
	bool		was_asked;		/* as one had for the last one */
	int			in_vain;		/* those asked for that had nothing to do, in a row */
	VdbMoment	last;			/* one was there, or was to be; 0: none yet */
} Turn;

typedef struct Database
{
	Oid			oid;			/* the key */
	bool		listed;			/* in pg_database, when that was read last */
	Turn		turns[VDB_KINDS];
} Database;

typedef struct Launcher
{
	HTAB	   *databases;
	BackgroundWorkerHandle *handles[VDB_PLACES];	/* of workers that this process started */
	VdbMoment	listed_at;		/* 0: not yet */
	VdbMoment	watched_at;
	VdbMoment	start_after[VDB_KINDS]; /* no process was free */
	bool		said_full;		/* in the log */
	MemoryContext round_context;
} Launcher;

PGDLLEXPORT void vdb_launcher_worker(Datum arg);

/* Are so many milliseconds over since then? */
static bool
has_passed(VdbMoment since, long ms)
{
	return vdb_clock_read() - since >= (VdbMoment) ms * 1000;
}

/* A database's entry, which is made if there is none. */
static Database *
enter_database(Launcher *launcher, Oid oid)
{
	bool		found;
	Database   *database = hash_search(launcher->databases, &oid, HASH_ENTER, &found);

	if (!found)
	{
		*database = (Database) {.oid = oid};
		for (int kind = 0; kind < VDB_KINDS; kind++)
			database->turns[kind].rounds = 1;
	}
	database->listed = true;
	return database;
}

/* Adds what is new in pg_database and removes what is gone. */
static void
list_databases(Launcher *launcher)
{
	HASH_SEQ_STATUS all;
	Database   *database;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	hash_seq_init(&all, launcher->databases);
	while ((database = hash_seq_search(&all)) != NULL)
		database->listed = false;

	vdb_worker_begin_transaction();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* a template is copied, which a worker in it would be in the way of; -2: half dropped */
		if (form->datallowconn && !form->datistemplate && form->datconnlimit != -2)
			(void) enter_database(launcher, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	hash_seq_init(&all, launcher->databases);
	while ((database = hash_seq_search(&all)) != NULL)
	{
		if (!database->listed)
		{
			vdb_worker_forget(database->oid, NIL);
			hash_search(launcher->databases, &database->oid, HASH_REMOVE, NULL);
		}
	}
	launcher->listed_at = vdb_clock_read();
	vdb_worker_set_outcome(VDB_OUTCOME_DONE);
}

/* When a kind's turn comes again in a database. */
static VdbMoment
due_time(const VdbWorkerKind *kind, const Turn *turn)
{
	double		wait = (double) *kind->naptime * turn->rounds;

	if (turn->asked)
		wait = Min(wait, ldexp(kind->asked_wait, Min(turn->in_vain, 20)));
	if (turn->failures > 0)
		wait = Max(*kind->retry, Min(ldexp(*kind->retry, Min(turn->failures, 20)), kind->longest_rest));
	return turn->last == 0 ? 0 : turn->last + (VdbMoment) (wait * USECS_PER_SEC);
}

static void
note_end(Launcher *launcher, int kind, Oid oid, VdbOutcome outcome)
{
	Database   *database = hash_search(launcher->databases, &oid, HASH_FIND, NULL);
	Turn	   *turn;

	if (database == NULL)
		return;
	turn = &database->turns[kind];
	turn->last = vdb_clock_read();
	turn->failures = outcome == VDB_OUTCOME_FAILED ? turn->failures + 1 : 0;
	turn->rounds = outcome == VDB_OUTCOME_NOTHING ? NOTHING_ROUNDS : 1;
	turn->in_vain = turn->was_asked && outcome != VDB_OUTCOME_DONE ? turn->in_vain + 1 : 0;
}

/*
 * Has a worker that was to take this place ended before it did?  Of one that another
 * launcher started nobody can tell: such a place is taken back, and the worker leaves.
 */
static bool
never_came(Launcher *launcher, int place)
{
	pid_t		pid;

	return launcher->handles[place] == NULL ||
		GetBackgroundWorkerPid(launcher->handles[place], &pid) == BGWH_STOPPED;
}

/* Frees places of a kind that processes left; returns how many are not free. */
static int
reap_workers(Launcher *launcher, int kind)
{
	int			first = vdb_worker_kinds[kind].first_place;
	int			busy = 0;

	for (int i = first; i < first + vdb_worker_kinds[kind].is->places; i++)
	{
		VdbPlace   *place = &vdb_worker_shared->places[i];
		VdbPlaceState state;
		VdbOutcome	outcome = VDB_OUTCOME_FAILED;
		bool		ended;

		LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
		state = place->state;
		ended = state == VDB_PLACE_LEFT || (state == VDB_PLACE_GIVEN && never_came(launcher, i));
		if (state == VDB_PLACE_LEFT)
			outcome = place->outcome;
		if (ended)
			place->state = VDB_PLACE_FREE;
		LWLockRelease(&vdb_worker_shared->lock);

		if (ended)
		{
			note_end(launcher, kind, place->database, outcome);
			if (launcher->handles[i] != NULL)
				pfree(launcher->handles[i]);
			launcher->handles[i] = NULL;
		}
		else
			busy += state != VDB_PLACE_FREE;
	}
	return busy;
}

/* How many of a kind are in a database, and whether one is where there may be nothing for it. */
static int
count_serving(int kind, Oid database, bool *scouting)
{
	const VdbWorkerKind *is = vdb_worker_kinds[kind].is;
	int			first = vdb_worker_kinds[kind].first_place;
	int			count = 0;

	*scouting = false;
	for (int i = first; i < first + is->places; i++)
	{
		const VdbPlace *place = &vdb_worker_shared->places[i];

		/* only this process gives and frees places */
		if (place->state == VDB_PLACE_FREE)
			continue;
		count += place->database == database;
		*scouting = *scouting || (is->is_known != NULL && !is->is_known(place->database));
	}
	return count;
}

/* Shall there be one more of a kind in a database? */
static bool
is_wanted(int kind, const Database *database)
{
	const VdbWorkerKind *is = vdb_worker_kinds[kind].is;
	int			wanted = is->wanted == NULL ? 1 : is->wanted(database->oid);
	bool		scouting;

	return count_serving(kind, database->oid, &scouting) < wanted &&
		(!scouting || database->turns[kind].asked || is->is_known(database->oid));
}

/* The database in which a kind has been due for the longest, and when it will be in the next. */
static Database *
find_due(Launcher *launcher, int kind, VdbMoment now, VdbMoment *next)
{
	HASH_SEQ_STATUS all;
	Database   *database;
	Database   *found = NULL;

	*next = VDB_NEVER;
	hash_seq_init(&all, launcher->databases);
	while ((database = hash_seq_search(&all)) != NULL)
	{
		VdbMoment	due = due_time(vdb_worker_kinds[kind].is, &database->turns[kind]);

		if (due >= *next || !is_wanted(kind, database))
			continue;
		*next = due;
		found = due <= now ? database : NULL;
	}
	return found;
}

/* Gives a free place away, to a worker that is to begin. */
static VdbAssignment
give_place(int number, Oid database)
{
	VdbPlace   *place = &vdb_worker_shared->places[number];
	VdbAssignment assignment = {.place = number, .database = database};

	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	place->state = VDB_PLACE_GIVEN;
	place->database = database;
	assignment.generation = ++place->generation;
	LWLockRelease(&vdb_worker_shared->lock);
	return assignment;
}

/* One of a kind's, -1 where there is none. */
static int
find_free_place(int kind)
{
	int			first = vdb_worker_kinds[kind].first_place;

	for (int i = first; i < first + vdb_worker_kinds[kind].is->places; i++)
	{
		if (vdb_worker_shared->places[i].state == VDB_PLACE_FREE)
			return i;
	}
	return -1;
}

/* Starts a worker in a database; false if the server has no process free. */
static bool
start_worker(Launcher *launcher, Database *database, int kind, int number)
{
	BackgroundWorker worker;
	VdbAssignment assignment = give_place(number, database->oid);
	MemoryContext old;
	bool		started;

	database->turns[kind].was_asked = database->turns[kind].asked;
	database->turns[kind].asked = false;
	vdb_worker_describe(&worker, vdb_worker_kinds[kind].is->function, vdb_worker_kinds[kind].is->name);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &assignment, sizeof(assignment));
	StaticAssertStmt(sizeof(assignment) <= BGW_EXTRALEN, "an assignment fits bgw_extra");

	old = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &launcher->handles[number]);
	MemoryContextSwitchTo(old);
	if (!started)
	{
		LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
		vdb_worker_shared->places[number].state = VDB_PLACE_FREE;
		LWLockRelease(&vdb_worker_shared->lock);
	}
	return started;
}

/* No process is free: a kind waits for a round in all databases.  Says so once. */
static void
await_process(Launcher *launcher, int kind, VdbMoment now)
{
	launcher->start_after[kind] = now + (VdbMoment) Min(*vdb_worker_kinds[kind].is->naptime, vdb_maintenance_naptime) * USECS_PER_SEC;
	if (launcher->said_full)
		return;
	launcher->said_full = true;
	vdb_worker_count_failure("no background worker process is free");
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker process is free for vdb"),
			 errdetail("It is tried again from time to time; this is not said again until one was free."),
			 errhint("You may need to increase max_worker_processes.")));
}

/*
 * Starts as many of a kind as are due and allowed, beside those that are busy, and counts them;
 * returns when the next one will be due.
 */
static VdbMoment
start_workers(Launcher *launcher, int kind, int *busy)
{
	const VdbWorkerKind *is = vdb_worker_kinds[kind].is;
	VdbMoment	now = vdb_clock_read();
	VdbMoment	next = VDB_NEVER;
	Database   *database;

	if (!*is->enabled)
		return next;
	if (now < launcher->start_after[kind])
		return launcher->start_after[kind];
	while (*busy < Min(*is->limit, is->places) &&
		   (database = find_due(launcher, kind, now, &next)) != NULL)
	{
		int			number = find_free_place(kind);

		if (number < 0)
			break;
		if (!start_worker(launcher, database, kind, number))
		{
			await_process(launcher, kind, now);
			return launcher->start_after[kind];
		}
		launcher->said_full = false;
		(*busy)++;
	}

	/* where all are busy, one of them wakes us when it ends */
	return *busy < Min(*is->limit, is->places) ? next : VDB_NEVER;
}

/* Sleeps until something is to be done, at the latest when databases are to be listed. */
static void
nap(Launcher *launcher, VdbMoment next, long watch)
{
	VdbMoment	list = launcher->listed_at + vdb_maintenance_naptime * USECS_PER_SEC;
	long		ms = (long) ((Min(next, list) - vdb_clock_read()) / 1000) + 1;

	if (watch > 0)
		ms = Min(ms, watch);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(ms, 1),
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* The settings may be what workers failed by, or a database may have been given the extension. */
static void
forget_rests(Launcher *launcher)
{
	HASH_SEQ_STATUS all;
	Database   *database;

	memset(launcher->start_after, 0, sizeof(launcher->start_after));
	hash_seq_init(&all, launcher->databases);
	while ((database = hash_seq_search(&all)) != NULL)
	{
		for (int kind = 0; kind < VDB_KINDS; kind++)
		{
			database->turns[kind].failures = 0;
			database->turns[kind].rounds = 1;
			database->turns[kind].in_vain = 0;
		}
	}
}

/* What was asked for is due soon, unless workers fail there.  A database may be new. */
static void
take_asked(Launcher *launcher)
{
	VdbAsked	asked;

	while ((asked = vdb_worker_take_asked()).database != InvalidOid)
		enter_database(launcher, asked.database)->turns[asked.kind].asked = true;
}

static void
take_interrupts(Launcher *launcher)
{
	CHECK_FOR_INTERRUPTS();

	/* not 0, so that a launcher that was ended, and not with the server, begins again */
	if (ShutdownRequestPending)
		proc_exit(1);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		vdb_worker_override_settings();
		forget_rests(launcher);
	}
}

static void
init_launcher(Launcher *launcher)
{
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(Database)};

	memset(launcher, 0, sizeof(*launcher));
	control.hcxt = TopMemoryContext;
	launcher->databases = hash_create("vdb databases", 32, &control,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	launcher->round_context = AllocSetContextCreate(TopMemoryContext, "vdb launcher",
													ALLOCSET_DEFAULT_SIZES);
}

void
vdb_launcher_worker(Datum arg)
{
	Launcher	launcher;
	VdbAssignment assignment = give_place(VDB_LAUNCHER_PLACE, InvalidOid);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	(void) vdb_worker_take_place(&assignment);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("vdb maintenance");
	vdb_worker_override_settings();
	init_launcher(&launcher);
	vdb_worker_listen();

	for (;;)
	{
		VdbMoment	next = VDB_NEVER;
		long		watch = Min(vdb_maintenance_lock_wait / 2, LONGEST_WATCH);
		int			busy = 0;

		MemoryContextSwitchTo(launcher.round_context);
		MemoryContextReset(launcher.round_context);
		take_interrupts(&launcher);
		if (launcher.listed_at == 0 || has_passed(launcher.listed_at, vdb_maintenance_naptime * 1000L))
			list_databases(&launcher);
		MemoryContextSwitchTo(launcher.round_context);
		take_asked(&launcher);
		for (int kind = 0; kind < vdb_worker_kind_count; kind++)
		{
			int			of_kind = reap_workers(&launcher, kind);
			VdbMoment	due = start_workers(&launcher, kind, &of_kind);

			next = Min(next, due);
			busy += of_kind;
		}
		if (busy > 0 && has_passed(launcher.watched_at, watch))
		{
			vdb_worker_watch();
			launcher.watched_at = vdb_clock_read();
		}
		nap(&launcher, next, busy > 0 ? watch : 0);
	}
}
