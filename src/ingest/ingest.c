/*
 * ingest.c
 *	  Settings, and the two kinds of processes: one a database that reads the log, and some
 *	  that embed.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ingest/ingest_module.h"
#include "ingest/ingest_private.h"
#include "worker/worker_module.h"

/* From one try to the next where a process fails, s: at first, and at most. */
#define FIRST_RETRY 1
#define LONGEST_REST 60

/* Processes that have nothing to do look so often whether that is still so, ms. */
#define EMBEDDER_NAP 200

/* A lock that is waited for longer puts a pipeline off. */
#define LOCK_TIMEOUT "1s"

#define MOST_WORKERS 16

bool		vdb_ingest;
int			vdb_ingest_workers;
int			vdb_ingest_nap;
int			vdb_ingest_max_wal;

PGDLLEXPORT void vdb_ingest_capture_worker(Datum arg);
PGDLLEXPORT void vdb_ingest_embed_worker(Datum arg);

static const int naptime = 60;
static const int no_naptime = 1;
static const int retry = FIRST_RETRY;
static const int limit = 64;

/* A database with a slot of ours has pipelines. */
static bool
has_slot(Oid database)
{
	char		name[NAMEDATALEN];
	ReplicationSlot *slot;

	vdb_ingest_name_slot(database, name);
	slot = SearchNamedReplicationSlot(name, true);
	return slot != NULL && slot->data.database == database;
}

/* As many as the process that reads the log says. */
static int
wanted_embedders(Oid database)
{
	VdbCaptureProgress at;

	return vdb_ingest_read_progress(database, &at) ? at.embedders : 0;
}

static const VdbWorkerKind capture = {
	.function = "vdb_ingest_capture_worker",
	.name = "vdb ingest capture",
	.label = "capture",
	.places = 64,
	.enabled = &vdb_ingest,
	.limit = &limit,
	.naptime = &naptime,
	.retry = &retry,
	.longest_rest = LONGEST_REST,
	.asked_wait = 0,
	.is_known = has_slot,
};

static const VdbWorkerKind embedder = {
	.function = "vdb_ingest_embed_worker",
	.name = "vdb ingest embedder",
	.label = "embedder",
	.places = 64,
	.enabled = &vdb_ingest,
	.limit = &limit,
	.naptime = &no_naptime,
	.retry = &retry,
	.longest_rest = LONGEST_REST,
	.asked_wait = 0,
	.wanted = wanted_embedders,
};

void
vdb_ingest_ask_capture(void)
{
	vdb_worker_ask(&capture);
}

void
vdb_ingest_ask_embedders(void)
{
	vdb_worker_ask(&embedder);
}

void
vdb_ingest_override_settings(void)
{
	/*
	 * What is confirmed must be durable; texts of keys must be the same whatever the database's settings;
	 * and a slot of ours must be allowed, in this process.
	 */
	static const char *const settings[][2] = {
		{"synchronous_commit", "local"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"output_plugin_libraries", "vdb"},
		{"vacuum_cost_delay", "0"},

		/* who waits for one pipeline's table keeps the others waiting */
		{"lock_timeout", LOCK_TIMEOUT},
	};

	vdb_worker_override_settings();
	vdb_worker_override(settings, lengthof(settings));
}

void
vdb_ingest_take_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		vdb_ingest_override_settings();
	}
}

/* What ends a process is seen in vdb_stat_worker. */
static void
note_error(void)
{
	ErrorData  *error;

	MemoryContextSwitchTo(TopMemoryContext);
	error = CopyErrorData();
	vdb_worker_count_failure(error->message);
}

void
vdb_ingest_capture_worker(Datum arg)
{
	volatile bool found = false;

	if (!vdb_worker_begin("vdb ingest"))
		return;
	vdb_ingest_override_settings();
	PG_TRY();
	{
		/* a database may have it off */
		if (vdb_ingest)
			found = vdb_ingest_capture();
	}
	PG_CATCH();
	{
		note_error();
		PG_RE_THROW();
	}
	PG_END_TRY();
	vdb_worker_set_outcome(found ? VDB_OUTCOME_DONE : VDB_OUTCOME_NOTHING);
}

void
vdb_ingest_embed_worker(Datum arg)
{
	if (!vdb_worker_begin("vdb ingest"))
		return;
	vdb_ingest_override_settings();
	PG_TRY();
	{
		while (vdb_ingest && wanted_embedders(MyDatabaseId) > 0)
		{
			vdb_ingest_take_interrupts();
			if (!vdb_ingest_embed_round())
				vdb_ingest_await_work(EMBEDDER_NAP);
		}
	}
	PG_CATCH();
	{
		note_error();
		PG_RE_THROW();
	}
	PG_END_TRY();
	vdb_worker_set_outcome(VDB_OUTCOME_DONE);
}

void
vdb_ingest_init(void)
{
	DefineCustomBoolVariable("vdb.ingest",
							 "Has background processes work on pipelines.",
							 "They run where the library is in shared_preload_libraries.",
							 &vdb_ingest, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.ingest_workers",
							"Sets how many processes embed in a database at once.", NULL,
							&vdb_ingest_workers, 2, 1, MOST_WORKERS, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.ingest_nap",
							"Sets the time from one look at the write-ahead log to the next.", NULL,
							&vdb_ingest_nap, 50, 1, 10000, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.ingest_max_wal",
							"Sets how far reading the write-ahead log may fall behind before sources are gone through instead.",
							"-1 is half of max_slot_wal_keep_size where that is set, and 1 GB elsewhere.",
							&vdb_ingest_max_wal, -1, -1, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_MB, NULL, NULL, NULL);
	vdb_ingest_share();
	vdb_worker_add_kind(&capture);
	vdb_worker_add_kind(&embedder);
}
