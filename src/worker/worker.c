/*
 * worker.c
 *	  Settings of maintenance, the launcher's registration, and what all its processes do.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "worker/worker_module.h"
#include "worker/worker_private.h"

/* The longest rest of a database in which workers fail, s. */
#define LONGEST_REST 3600

/*
 * From one worker to the next where sessions ask for one, s: what they ask for may be what
 * a worker cannot do.
 */
#define ASKED_WAIT 2

/* The launcher is started again after so many seconds when it has died. */
#define RESTART_SECONDS 5

bool		vdb_maintenance;
int			vdb_maintenance_naptime;
int			vdb_maintenance_workers;
double		vdb_maintenance_cost_delay;
int			vdb_maintenance_cost_limit;
int			vdb_maintenance_lock_wait;
int			vdb_maintenance_wait_timeout;
double		vdb_maintenance_recall_floor;
bool		vdb_maintenance_reindex;

VdbKind		vdb_worker_kinds[VDB_KINDS];
int			vdb_worker_kind_count;

static const char *const work_names[VDB_WORKS] = {
	[VDB_WORK_VACUUM] = "vacuum",
	[VDB_WORK_CLEAN_UP] = "clean-up",
	[VDB_WORK_CALIBRATE] = "calibrate",
	[VDB_WORK_RECALL] = "recall",
	[VDB_WORK_REINDEX] = "reindex",
	[VDB_WORK_MIRROR] = "mirror",
	[VDB_WORK_DROP] = "drop",
};

const char *
vdb_work_name(VdbWork work)
{
	return work_names[work];
}

static void
define_settings(void)
{
	DefineCustomBoolVariable("vdb.maintenance",
							 "Has background workers look after indexes.",
							 "They run where the library is in shared_preload_libraries.",
							 &vdb_maintenance, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.maintenance_naptime",
							"Sets the time from one look over a database to the next.", NULL,
							&vdb_maintenance_naptime, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.maintenance_workers",
							"Sets how many workers look after indexes at once.",
							"Each is in one database.",
							&vdb_maintenance_workers, 2, 1, VDB_MAX_WORKERS, PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomRealVariable("vdb.maintenance_cost_delay",
							 "Sets how long a worker sleeps when it has used up its cost limit.", NULL,
							 &vdb_maintenance_cost_delay, 0.5, 0, 100, PGC_SUSET, GUC_UNIT_MS,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.maintenance_cost_limit",
							"Sets what reading and writing may cost before a worker sleeps.",
							"Costs are those of vacuum_cost_page_hit, vacuum_cost_page_miss and vacuum_cost_page_dirty.",
							&vdb_maintenance_cost_limit, 50, 1, 10000, PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.maintenance_lock_wait",
							"Sets how long others wait for a lock of a worker's before it gives way.",
							"It is looked twice as often. Keep it below deadlock_timeout.",
							&vdb_maintenance_lock_wait, 500, 10, 3600000, PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.maintenance_wait_timeout",
							"Sets how long a worker waits for others before it gives up what it does; 0 waits for ever.",
							"A rebuild waits for the transactions that are open in its database.",
							&vdb_maintenance_wait_timeout, 300, 0, 86400, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomRealVariable("vdb.maintenance_recall_floor",
							 "Sets the recall below which a worker rebuilds an index; 0 leaves it unmeasured.",
							 "It is measured at the settings that the database has, which reads the table twice.",
							 &vdb_maintenance_recall_floor, 0, 0, 1, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.maintenance_reindex",
							 "Lets workers rebuild indexes.",
							 "What is rebuilt concurrently needs room for both.",
							 &vdb_maintenance_reindex, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

void
vdb_worker_override(const char *const (*settings)[2], int count)
{
	for (int i = 0; i < count; i++)
	{
		/* not all releases have all of them */
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* What autovacuum sees to as well: what a database's or the server's settings might break. */
void
vdb_worker_override_settings(void)
{
	char		delay[32];
	char		limit[32];
	const char *const settings[][2] = {
		{"search_path", ""},
		{"zero_damaged_pages", "false"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"event_triggers", "off"},
		{"max_parallel_maintenance_workers", "0"},
		{"vacuum_cost_delay", delay},
		{"vacuum_cost_limit", limit},
	};

	/* a standby that is away is not to keep a table locked */
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	snprintf(delay, sizeof(delay), "%g", vdb_maintenance_cost_delay);
	snprintf(limit, sizeof(limit), "%d", vdb_maintenance_cost_limit);
	vdb_worker_override(settings, lengthof(settings));
}

void
vdb_worker_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

void
vdb_worker_describe(BackgroundWorker *worker, const char *function, const char *name)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "vdb", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, name, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, name, sizeof(worker->bgw_type));
}

void
vdb_worker_add_kind(const VdbWorkerKind *kind)
{
	int			first_place = VDB_LAUNCHER_PLACE + 1;

	for (int i = 0; i < vdb_worker_kind_count; i++)
		first_place += vdb_worker_kinds[i].is->places;
	if (vdb_worker_kind_count == VDB_KINDS || first_place + kind->places > VDB_PLACES)
		elog(ERROR, "too many kinds of processes, or places");
	vdb_worker_kinds[vdb_worker_kind_count++] = (VdbKind) {.is = kind, .first_place = first_place};
}

int
vdb_worker_kind_of(int place)
{
	int			kind = -1;

	for (int i = 0; i < vdb_worker_kind_count; i++)
	{
		if (place >= vdb_worker_kinds[i].first_place)
			kind = i;
	}
	return kind;
}

void
vdb_worker_init(void)
{
	static const VdbWorkerKind maintenance = {
		.function = "vdb_database_worker",
		.name = "vdb maintenance worker",
		.label = "worker",
		.places = VDB_MAX_WORKERS,
		.enabled = &vdb_maintenance,
		.limit = &vdb_maintenance_workers,
		.naptime = &vdb_maintenance_naptime,
		.retry = &vdb_maintenance_naptime,
		.longest_rest = LONGEST_REST,
		.asked_wait = ASKED_WAIT,
	};
	BackgroundWorker launcher;

	define_settings();
	vdb_worker_add_kind(&maintenance);

	/* pg_upgrade wants nobody else to write */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	vdb_worker_share();
	vdb_worker_describe(&launcher, "vdb_launcher_worker", "vdb maintenance launcher");
	launcher.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&launcher);
}
