/*
 * worker_shared.c
 *	  What the launcher and workers have in shared memory: who does what, and what is
 *	  remembered of indexes.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/float.h"
#include "utils/timestamp.h"

#include "shmem.h"
#include "worker/worker_private.h"

VdbWorkerShared *vdb_worker_shared;

/* This process's place, if it has one. */
static VdbPlace *mine;
static uint32 my_generation;

static Size
shared_size(void)
{
	return sizeof(VdbWorkerShared);
}

static void
init_shared(void *memory)
{
	VdbWorkerShared *shared = memory;
	int			tranche = LWLockNewTrancheId();

	/* in the postmaster, whose children have the name from it */
	LWLockRegisterTranche(tranche, "vdb_maintenance");
	memset(shared, 0, sizeof(*shared));
	LWLockInitialize(&shared->lock, tranche);
}

/* Where too many were asked for, each has its turn as always. */
static void
ask(int kind)
{
	VdbWorkerShared *shared = vdb_worker_shared;
	struct Latch *launcher;
	int			vacant = -1;
	bool		asked = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	launcher = shared->launcher;
	for (int i = 0; i < VDB_ASKED; i++)
	{
		if (shared->asked[i].database == MyDatabaseId && shared->asked[i].kind == kind)
			asked = true;
		else if (vacant < 0 && shared->asked[i].database == InvalidOid)
			vacant = i;
	}
	if (!asked && vacant >= 0)
		shared->asked[vacant] = (VdbAsked) {.database = MyDatabaseId, .kind = kind};
	LWLockRelease(&shared->lock);

	/* if it has died, this is nobody's latch or another process's, which looks and sleeps on */
	if (launcher != NULL)
		SetLatch(launcher);
}

static void
ask_upkeep(void)
{
	/* a database may have it off */
	if (vdb_maintenance)
		ask(VDB_KIND_MAINTENANCE);
}

void
vdb_worker_ask(const VdbWorkerKind *kind)
{
	for (int i = 0; vdb_worker_shared != NULL && i < vdb_worker_kind_count; i++)
	{
		if (vdb_worker_kinds[i].is == kind)
			ask(i);
	}
}

void
vdb_worker_listen(void)
{
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	vdb_worker_shared->launcher = MyLatch;
	LWLockRelease(&vdb_worker_shared->lock);
}

VdbAsked
vdb_worker_take_asked(void)
{
	VdbAsked	asked = {InvalidOid};

	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < VDB_ASKED && asked.database == InvalidOid; i++)
	{
		asked = vdb_worker_shared->asked[i];
		vdb_worker_shared->asked[i].database = InvalidOid;
	}
	LWLockRelease(&vdb_worker_shared->lock);
	return asked;
}

void
vdb_worker_share(void)
{
	static const VdbSharedPart part = {
		.name = "vdb maintenance",
		.size = shared_size,
		.init = init_shared,
		.memory = (void **) &vdb_worker_shared,
	};

	vdb_shmem_add(&part);
	vdb_index_hook_upkeep(ask_upkeep);
}

/* Copies as much of a text as fits, in whole characters. */
static void
copy_text(char *out, Size size, const char *text)
{
	int			length = pg_mbcliplen(text, strlen(text), (int) size - 1);

	memcpy(out, text, length);
	out[length] = '\0';
}

/* A callback at the process's end. */
static void
leave_place(int code, Datum arg)
{
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	if (mine->generation == my_generation)
	{
		mine->state = VDB_PLACE_LEFT;
		mine->pid = 0;
		mine->work = VDB_WORK_NONE;
		mine->index = InvalidOid;
		mine->since = 0;
	}
	LWLockRelease(&vdb_worker_shared->lock);
	mine = NULL;
}

bool
vdb_worker_take_place(const VdbAssignment *assignment)
{
	VdbPlace   *place = &vdb_worker_shared->places[assignment->place];
	bool		ours;

	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	ours = place->state == VDB_PLACE_GIVEN && place->generation == assignment->generation;
	if (ours)
	{
		place->state = VDB_PLACE_TAKEN;
		place->outcome = VDB_OUTCOME_FAILED;
		place->pid = MyProcPid;
		place->database = assignment->database;
		place->since = GetCurrentTimestamp();
	}
	LWLockRelease(&vdb_worker_shared->lock);
	if (ours)
	{
		mine = place;
		my_generation = assignment->generation;
		before_shmem_exit(leave_place, 0);
	}
	return ours;
}

bool
vdb_worker_begin(const char *appname)
{
	VdbAssignment assignment;

	memcpy(&assignment, MyBgworkerEntry->bgw_extra, sizeof(assignment));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!vdb_worker_take_place(&assignment))
		return false;
	BackgroundWorkerInitializeConnectionByOid(assignment.database, InvalidOid, 0);
	pgstat_report_appname(appname);
	vdb_worker_override_settings();
	return true;
}

void
vdb_worker_say(VdbWork work, Oid index, const char *name)
{
	if (mine == NULL)
		return;
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	mine->work = work;
	mine->index = index;
	copy_text(mine->index_name, sizeof(mine->index_name), name);
	mine->since = GetCurrentTimestamp();
	LWLockRelease(&vdb_worker_shared->lock);
	if (work == VDB_WORK_NONE)
		pgstat_report_activity(STATE_IDLE, NULL);
	else
	{
		char	   *text = psprintf("vdb maintenance: %s of index %s", vdb_work_name(work), name);

		pgstat_report_activity(STATE_RUNNING, text);
		pfree(text);
	}
}

void
vdb_worker_count(VdbWork work)
{
	if (mine == NULL)
		return;
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	mine->done[work]++;
	LWLockRelease(&vdb_worker_shared->lock);
}

void
vdb_worker_count_failure(const char *message)
{
	if (mine == NULL)
		return;
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	mine->failures++;
	copy_text(mine->error, sizeof(mine->error), message);
	mine->error_at = GetCurrentTimestamp();
	LWLockRelease(&vdb_worker_shared->lock);
}

void
vdb_worker_set_outcome(VdbOutcome outcome)
{
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	mine->outcome = outcome;
	mine->rounds++;
	LWLockRelease(&vdb_worker_shared->lock);
}

VdbRemembered *
vdb_worker_remember(Oid index)
{
	static bool said_full = false;
	VdbRemembered *found = NULL;

	if (mine == NULL)
		return NULL;
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < VDB_REMEMBERED; i++)
	{
		VdbRemembered *entry = &vdb_worker_shared->remembered[i];

		if (entry->database == MyDatabaseId && entry->index == index)
		{
			found = entry;
			break;
		}
		if (found == NULL && entry->database == InvalidOid)
			found = entry;
	}
	if (found != NULL && found->database == InvalidOid)
		*found = (VdbRemembered) {
			.database = MyDatabaseId,
			.index = index,
			.recall = get_float8_nan(),
			.rebuilt_recall = get_float8_nan()
		};
	LWLockRelease(&vdb_worker_shared->lock);
	if (found == NULL && !said_full)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("there are more than %d indexes of vdb in all databases", VDB_REMEMBERED),
				 errdetail("Of some of them only the lists are looked after."),
				 errhint("Set the option maintenance of others to off, or vdb.maintenance of a database.")));
	said_full = said_full || found == NULL;
	return found;
}

void
vdb_worker_forget(Oid database, const List *but)
{
	LWLockAcquire(&vdb_worker_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < VDB_REMEMBERED; i++)
	{
		VdbRemembered *entry = &vdb_worker_shared->remembered[i];

		if (entry->database == database && !list_member_oid(but, entry->index))
			memset(entry, 0, sizeof(*entry));
	}
	LWLockRelease(&vdb_worker_shared->lock);
}
