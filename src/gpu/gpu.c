/*
 * gpu.c
 *	  Settings, the registration of the process, and what vdb_stat_gpu shows.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "gpu/gpu_private.h"
#include "mirror/mirror.h"

#define RESTART_SECONDS 5

char	   *vdb_gpu_library;
int			vdb_gpu_memory;
int			vdb_gpu_batch_wait;
int			vdb_gpu_timeout;

static bool gpu;

static void
define_settings(void)
{
	DefineCustomBoolVariable("vdb.gpu",
							 "Starts a process that searches mirrors, and helps to build indexes, on a device.",
							 NULL,
							 &gpu,
							 false,
							 PGC_POSTMASTER,
							 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("vdb.gpu_library",
							   "Sets the library that this process uses the device by.",
							   "A name is of the server's folder of libraries.",
							   &vdb_gpu_library,
							   "vdb_gpu",
							   PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.gpu_memory",
							"Sets how much of the device's memory is for copies of mirrors, and for builds.",
							"0 is nine tenths of what is unused when the process starts, and more is not used.",
							&vdb_gpu_memory,
							0,
							0,
							INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.gpu_batch_wait",
							"Sets for how many microseconds a search waits for others that are about to be asked for.",
							NULL,
							&vdb_gpu_batch_wait,
							50,
							0,
							10000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.gpu_timeout",
							"Sets how long a search on the device may take.",
							"A search that takes longer is done without the device, and the process starts again.",
							&vdb_gpu_timeout,
							1000,
							1,
							600000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

void
vdb_gpu_init(void)
{
	static const VdbMirrorDevice device = {
		.serves = vdb_gpu_serves,
		.search = vdb_gpu_search,
		.most = VDB_GPU_ROWS
	};
	BackgroundWorker worker = {
		.bgw_name = "vdb gpu server",
		.bgw_type = "vdb gpu server",
		.bgw_library_name = "vdb",
		.bgw_function_name = "vdb_gpu_server_worker",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_SECONDS
	};

	if (!process_shared_preload_libraries_in_progress)
		return;
	define_settings();
	if (!gpu || IsBinaryUpgrade)
		return;
	vdb_gpu_share();
	vdb_mirror_hook_device(&device);
	vdb_compute_hook_device(&vdb_gpu_provider);
	RegisterBackgroundWorker(&worker);
}

static const char *
state_name(VdbGpuState state)
{
	switch (state)
	{
		case VDB_GPU_STARTING:
			return "starting";
		case VDB_GPU_SERVING:
			return "serving";
		case VDB_GPU_RESTARTING:
			return "restarting";
		default:
			return "off";
	}
}

/* A text, or null where it is empty. */
static Datum
text_datum(const char *text, bool *isnull)
{
	*isnull = text[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

#define STAT_COLUMNS 8

/* vdb.gpu_stat() */
PG_FUNCTION_INFO_V1(vdb_gpu_stat);
Datum
vdb_gpu_stat(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbGpuShared *shared = vdb_gpu_shared;
	char		device[VDB_GPU_TEXT];
	char		last_error[VDB_GPU_TEXT];
	Datum		values[STAT_COLUMNS];
	bool		isnull[STAT_COLUMNS] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (shared == NULL)
		return (Datum) 0;
	vdb_gpu_read_texts(device, last_error);
	values[0] = text_datum(device, &isnull[0]);
	values[1] = CStringGetTextDatum(state_name(pg_atomic_read_u32(&shared->state)));
	values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->requests));
	values[3] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->questions));
	values[4] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->batches));
	values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->fallbacks));
	values[6] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->bytes));

	/* it may have paths */
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		last_error[0] = '\0';
	values[7] = text_datum(last_error, &isnull[7]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	return (Datum) 0;
}
