/*
 * gpu_server.c
 *	  The process that has the device: takes requests, has its thread answer them, and looks after the copies.
 *
 * Whatever goes wrong in the library ends this process at worst, and backends see that at once.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "gpu/gpu_private.h"

extern PGDLLEXPORT void vdb_gpu_server_worker(Datum arg);

/* Starting a device may take long, where there are many. */
#define PROBE_MS 60000

/* Copies of mirrors that are there no more are looked for so often, and what was too large is tried again. */
#define SWEEP_US 1000000
#define FORGET_US 60000000

typedef struct Server
{
	VdbGpuBatch batch;
	VdbGpuSlot *taken[VDB_GPU_SLOTS];	/* whose requests the batch has */
	int			taken_count;
	int8_t	   *questions;		/* copies of theirs: VDB_GPU_MAX_QUESTIONS of VDB_GPU_MAX_DIMS bytes */
	uint64		memory;			/* bytes that the device had for us when we came */
	uint64		loading;		/* the mirror whose copy is to be brought up to date, 0: none */
	VdbMoment	swept_at;
	VdbMoment	forgot_at;
} Server;

/* What the thread is asked first. */
typedef struct Probe
{
	VdbGpuDevice device;
	VdbGpuStatus status;
} Probe;

static void
probe(void *arg)
{
	Probe	   *asked = arg;

	asked->status = vdb_gpu_functions_of_library->probe(&asked->device);
}

/* Answers a request, or gives its slot back; what is not the process's stays as it is. */
static void
end_request(VdbGpuSlot *slot, VdbGpuSlotState state, VdbGpuRefusal refusal)
{
	Latch	   *latch = NULL;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	if (slot->state == VDB_GPU_SLOT_ABANDONED)
		slot->state = VDB_GPU_SLOT_FREE;
	else if (slot->state == VDB_GPU_SLOT_WAITING || slot->state == VDB_GPU_SLOT_TAKEN)
	{
		slot->refusal = refusal;
		slot->state = state;
		latch = slot->latch;
	}
	SpinLockRelease(&vdb_gpu_shared->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

/* Nobody takes requests any more: those who wait are told, and who comes later sees it. */
static void
refuse_all(VdbGpuState state)
{
	pg_atomic_write_u32(&vdb_gpu_shared->state, state);
	for (int i = 0; i < VDB_GPU_SLOTS; i++)
		end_request(&vdb_gpu_shared->slots[i], VDB_GPU_SLOT_REFUSED, VDB_GPU_NO_SERVER);
	pg_atomic_write_u64(&vdb_gpu_shared->bytes, 0);
}

/* When the process ends, however that comes: with code 0 it is not started again. */
static void
leave(int code, Datum unused)
{
	refuse_all(code == 0 ? VDB_GPU_OFF : VDB_GPU_RESTARTING);
}

/* The thread does not answer: what it was asked is refused as the process ends. */
static void
give_up_thread(void)
{
	if (!ShutdownRequestPending)
	{
		char	   *text = psprintf("the device did not answer within %d ms", vdb_gpu_timeout);

		vdb_gpu_set_error(text);
		ereport(LOG, (errmsg("the vdb gpu server ends: %s", text)));
	}
	proc_exit(1);
}

static bool
is_any_claimed(void)
{
	bool		found = false;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	for (int i = 0; i < VDB_GPU_SLOTS && !found; i++)
		found = vdb_gpu_shared->slots[i].state == VDB_GPU_SLOT_CLAIMED;
	SpinLockRelease(&vdb_gpu_shared->mutex);
	return found;
}

/* Can this request be answered with those that the batch has? */
static bool
is_joining(const VdbGpuBatch *batch, const VdbGpuSlot *slot)
{
	return slot->work == VDB_GPU_SEARCH && slot->generation == batch->generation &&
		slot->nq <= VDB_GPU_MAX_QUESTIONS - batch->nq;
}

/* The request that has waited longest, of those that join the batch where there is one; NULL: none. */
static VdbGpuSlot *
take_request(const VdbGpuBatch *batch)
{
	VdbGpuSlot *first = NULL;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	for (int i = 0; i < VDB_GPU_SLOTS; i++)
	{
		VdbGpuSlot *slot = &vdb_gpu_shared->slots[i];

		if (slot->state == VDB_GPU_SLOT_WAITING && (batch == NULL || is_joining(batch, slot)) &&
			(first == NULL || slot->ticket < first->ticket))
			first = slot;
	}
	if (first != NULL)
		first->state = VDB_GPU_SLOT_TAKEN;
	SpinLockRelease(&vdb_gpu_shared->mutex);
	return first;
}

static void
add_request(Server *server, VdbGpuSlot *slot)
{
	VdbGpuBatch *batch = &server->batch;
	int8_t	   *to = server->questions + (Size) batch->nq * VDB_GPU_MAX_DIMS;

	batch->work = slot->work;
	batch->slot = slot;
	batch->generation = slot->generation;
	batch->code_bytes = slot->code_bytes;
	batch->m = Max(batch->m, slot->m);

	/* what is asked of a set is read where it is */
	for (uint32 i = 0; i < slot->nq && slot->work == VDB_GPU_SEARCH; i++)
	{
		memcpy(to, vdb_gpu_slot_questions(slot) + (Size) i * slot->code_bytes, slot->code_bytes);
		batch->questions[batch->nq++] = (VdbGpuQuestion) {to, slot->constants[i]};
		to += VDB_GPU_MAX_DIMS;
	}
	server->taken[server->taken_count++] = slot;
	pg_atomic_fetch_add_u64(&vdb_gpu_shared->requests, 1);
	if (slot->work != VDB_GPU_PUT)
		pg_atomic_fetch_add_u64(&vdb_gpu_shared->questions, slot->nq);
}

/*
 * Takes a request of a set; or those of one mirror that are there, and waits a moment for those who are about to come.
 * False: there is none.
 */
static bool
take_batch(Server *server)
{
	VdbGpuBatch *batch = &server->batch;
	VdbGpuSlot *slot = take_request(NULL);
	VdbMoment	end;

	server->taken_count = 0;
	batch->nq = 0;
	batch->m = 0;
	if (slot == NULL)
		return false;
	add_request(server, slot);
	pg_atomic_fetch_add_u64(&vdb_gpu_shared->batches, 1);
	if (slot->work != VDB_GPU_SEARCH)
		return true;
	for (end = vdb_clock_read() + vdb_gpu_batch_wait; is_any_claimed() && vdb_clock_read() < end;)
		pg_usleep(5);
	while ((slot = take_request(batch)) != NULL)
		add_request(server, slot);
	return true;
}

/* How much may be on the device. */
static uint64
memory_limit(const Server *server)
{
	/* a part is left for what searches take */
	uint64		most = server->memory / 10 * 9;

	return vdb_gpu_memory == 0 ? most : Min(most, (uint64) vdb_gpu_memory * 1024 * 1024);
}

/* The batch is done by the thread, or not. */
static void
note_outcome(const VdbGpuBatch *batch)
{
	if (batch->error[0] != '\0')
	{
		vdb_gpu_set_error(batch->error);
		ereport(LOG, (errmsg("the vdb gpu server failed: %s", batch->error)));
	}
	if (batch->outcome == VDB_GPU_BROKEN)
		proc_exit(1);
}

/* Has the thread do what is asked of a set. */
static void
run_set_work(VdbGpuBatch *batch)
{
	vdb_gpu_read_sets(batch->sets);
	if (!vdb_gpu_thread_call(vdb_gpu_set_work, batch, vdb_gpu_timeout))
		give_up_thread();
	pg_atomic_write_u64(&vdb_gpu_shared->bytes, batch->bytes);
}

/* Has the thread bring a copy up to date, and search it if there are questions. */
static void
run_search(VdbGpuBatch *batch)
{
	VdbMirror  *mirror = vdb_mirror_pin(batch->generation);
	bool		ended = false;

	batch->pinned = mirror;
	if (mirror == NULL)
		return;
	PG_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(mirror));
	{
		if (batch->nq == 0 || batch->code_bytes == vdb_mirror_code_bytes(mirror))
		{
			ended = vdb_gpu_thread_call(vdb_gpu_copy_search, batch, vdb_gpu_timeout);

			/* ends the process; the thread may read the mirror until it is gone, and has it give nothing to anybody */
			if (!ended)
				give_up_thread();
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(mirror));
	vdb_mirror_unpin(mirror);
	if (ended)
		pg_atomic_write_u64(&vdb_gpu_shared->bytes, batch->bytes);
}

static void
run_batch(Server *server)
{
	VdbGpuBatch *batch = &server->batch;

	batch->limit = memory_limit(server);
	batch->outcome = VDB_GPU_NOT_DONE;
	batch->refusal = VDB_GPU_GONE;
	batch->error[0] = '\0';
	if (batch->work != VDB_GPU_SEARCH)
	{
		run_set_work(batch);
		note_outcome(batch);
		return;
	}
	run_search(batch);
	note_outcome(batch);
	server->loading = batch->outcome == VDB_GPU_NOT_DONE && batch->refusal == VDB_GPU_LOADING ? batch->generation :
		server->loading == batch->generation ? 0 : server->loading;
}

static void
answer(Server *server)
{
	const VdbGpuBatch *batch = &server->batch;
	uint32		first = 0;

	for (int i = 0; i < server->taken_count; i++)
	{
		VdbGpuSlot *slot = server->taken[i];

		/* nothing is found for what is put */
		for (uint32 j = 0; batch->outcome == VDB_GPU_DONE && batch->work != VDB_GPU_PUT && j < slot->nq; j++)
		{
			slot->counts[j] = Min(batch->counts[first + j], slot->m);
			memcpy(vdb_gpu_slot_rows(slot) + (Size) j * slot->m, batch->rows + (Size) (first + j) * batch->m,
				   slot->counts[j] * sizeof(VdbMirrorFound));
		}
		first += slot->nq;
		end_request(slot, batch->outcome == VDB_GPU_DONE ? VDB_GPU_SLOT_ANSWERED : VDB_GPU_SLOT_REFUSED, batch->refusal);
	}
}

/* Frees the copies of mirrors that are there no more, and the sets of backends that have ended what they did. */
static void
sweep(Server *server)
{
	VdbGpuSweep swept = {0};
	uint64		generations[lengthof(swept.generations)];
	uint32		count = vdb_gpu_copy_list(generations, lengthof(generations));

	for (uint32 i = 0; i < count; i++)
	{
		VdbMirror  *mirror = vdb_mirror_pin(generations[i]);

		if (mirror == NULL)
			continue;
		vdb_mirror_unpin(mirror);
		swept.generations[swept.count++] = generations[i];
	}
	vdb_gpu_read_sets(swept.sets);
	server->swept_at = vdb_clock_read();
	swept.forget = server->swept_at - server->forgot_at >= FORGET_US;
	if (swept.forget)
		server->forgot_at = server->swept_at;
	if (!vdb_gpu_thread_call(vdb_gpu_copy_sweep, &swept, vdb_gpu_timeout))
		give_up_thread();
	pg_atomic_write_u64(&vdb_gpu_shared->bytes, swept.bytes);
}

static void
take_interrupts(Server *server)
{
	CHECK_FOR_INTERRUPTS();

	/* not 0, so that a process that was ended, and not with the server, begins again */
	if (ShutdownRequestPending)
		proc_exit(1);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		server->forgot_at = 0;
		server->swept_at = 0;
	}
}

/* Gets a device, or ends the process for good: why is seen in vdb_stat_gpu. */
static void
begin(Server *server)
{
	Probe		asked;
	const char *failure = vdb_gpu_thread_begin();

	if (failure == NULL)
	{
		if (!vdb_gpu_thread_call(probe, &asked, PROBE_MS))
			give_up_thread();
		failure = asked.status == VDB_GPU_OK ? NULL : vdb_gpu_functions_of_library->last_error();
	}
	if (failure != NULL)
	{
		vdb_gpu_set_error(failure);
		ereport(LOG, (errmsg("the vdb gpu server ends: %s", failure)));
		proc_exit(0);
	}
	server->memory = asked.device.unused;
	SpinLockAcquire(&vdb_gpu_shared->mutex);
	strlcpy(vdb_gpu_shared->device, asked.device.name, VDB_GPU_TEXT);
	vdb_gpu_shared->server = MyLatch;
	SpinLockRelease(&vdb_gpu_shared->mutex);
	pg_atomic_write_u32(&vdb_gpu_shared->state, VDB_GPU_SERVING);
	ereport(LOG, (errmsg("the vdb gpu server has %s", asked.device.name)));
}

void
vdb_gpu_server_worker(Datum arg)
{
	Server	   *server;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("vdb gpu server");

	/* of one that ended before, if there was one */
	refuse_all(VDB_GPU_STARTING);
	before_shmem_exit(leave, 0);
	server = MemoryContextAllocZero(TopMemoryContext, sizeof(Server));
	server->questions = MemoryContextAlloc(TopMemoryContext, VDB_GPU_MAX_QUESTIONS * VDB_GPU_MAX_DIMS);
	server->batch.rows = MemoryContextAlloc(TopMemoryContext, VDB_GPU_MAX_QUESTIONS * VDB_GPU_MAX_FOUND * sizeof(VdbMirrorFound));
	begin(server);
	for (;;)
	{
		take_interrupts(server);

		/* also where there is always something to do */
		if (vdb_clock_read() - server->swept_at >= SWEEP_US)
			sweep(server);
		if (take_batch(server))
		{
			run_batch(server);
			answer(server);
		}
		else if (server->loading != 0)
		{
			server->batch.work = VDB_GPU_SEARCH;
			server->batch.generation = server->loading;
			run_batch(server);
			if (server->batch.outcome != VDB_GPU_DONE && server->batch.refusal != VDB_GPU_LOADING)
				server->loading = 0;
		}
		else
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, SWEEP_US / 1000, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
	}
}
