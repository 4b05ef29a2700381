/*
 * gpu_client.c
 *	  What a backend does to have the device do something: a request, and a wait; and searches of mirrors.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/wait_event.h"

#include "gpu/gpu_private.h"
#include "testpoint.h"

StaticAssertDecl(sizeof(VdbGpuConstants) == sizeof(VdbMirrorRough), "a device computes with what a mirror does");
StaticAssertDecl(VDB_GPU_LENGTH == 0 && VDB_GPU_PRODUCT == 1, "kinds are what is_product says");
StaticAssertDecl(VDB_GPU_ROWS == VDB_GPU_MAX_FOUND, "so many rows are found");

/* In this session it was said. */
static bool reported[VDB_GPU_REFUSALS];

bool
vdb_gpu_serves(void)
{
	return vdb_gpu_shared != NULL && pg_atomic_read_u32(&vdb_gpu_shared->state) == VDB_GPU_SERVING;
}

VdbGpuSlot *
vdb_gpu_claim(void)
{
	VdbGpuSlot *claimed = NULL;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	for (int i = 0; i < VDB_GPU_SLOTS && claimed == NULL; i++)
	{
		VdbGpuSlot *slot = &vdb_gpu_shared->slots[i];

		if (slot->state != VDB_GPU_SLOT_FREE)
			continue;
		slot->state = VDB_GPU_SLOT_CLAIMED;
		claimed = slot;
	}
	SpinLockRelease(&vdb_gpu_shared->mutex);
	return claimed;
}

void
vdb_gpu_release(int code, Datum slot_datum)
{
	VdbGpuSlot *slot = (VdbGpuSlot *) DatumGetPointer(slot_datum);

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	slot->state = slot->state == VDB_GPU_SLOT_TAKEN ? VDB_GPU_SLOT_ABANDONED : VDB_GPU_SLOT_FREE;
	SpinLockRelease(&vdb_gpu_shared->mutex);
}

static void
fill_in(VdbGpuSlot *slot, uint64 generation, uint32 nq, const VdbMirrorQuestion *const *questions, uint32 m)
{
	uint32		bytes = questions[0]->query.codec->hot_bytes;

	slot->work = VDB_GPU_SEARCH;
	slot->generation = generation;
	slot->nq = nq;
	slot->m = m;
	slot->code_bytes = bytes;
	for (uint32 i = 0; i < nq; i++)
	{
		vdb_query_levels(&questions[i]->query, vdb_gpu_slot_questions(slot) + (Size) i * bytes);
		memcpy(&slot->constants[i], &questions[i]->rough, sizeof(VdbGpuConstants));
	}
}

/* Hands a request over; false where nobody would take it. */
static bool
post(VdbGpuSlot *slot)
{
	Latch	   *server = NULL;

	slot->latch = MyLatch;

	/* who ends says so first, and then looks for requests */
	SpinLockAcquire(&vdb_gpu_shared->mutex);
	if (vdb_gpu_serves())
	{
		slot->ticket = vdb_gpu_shared->tickets++;
		slot->state = VDB_GPU_SLOT_WAITING;
		server = vdb_gpu_shared->server;
	}
	SpinLockRelease(&vdb_gpu_shared->mutex);
	if (server != NULL)
		SetLatch(server);
	return server != NULL;
}

static VdbGpuSlotState
read_state(const VdbGpuSlot *slot)
{
	VdbGpuSlotState state;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	state = slot->state;
	SpinLockRelease(&vdb_gpu_shared->mutex);
	return state;
}

/* Is the request answered in time? */
static bool
await(VdbGpuSlot *slot, VdbGpuRefusal *refusal)
{
	VdbMoment	end = vdb_clock_read() + vdb_gpu_timeout * (VdbMoment) 1000;

	for (;;)
	{
		VdbGpuSlotState state = read_state(slot);
		VdbMoment	now = vdb_clock_read();

		*refusal = state == VDB_GPU_SLOT_REFUSED ? slot->refusal : VDB_GPU_LATE;
		if (state == VDB_GPU_SLOT_ANSWERED || state == VDB_GPU_SLOT_REFUSED || now >= end)
			return state == VDB_GPU_SLOT_ANSWERED;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) (end - now) / 1000 + 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
vdb_gpu_ask(VdbGpuSlot *slot, VdbGpuRefusal *refusal)
{
	*refusal = VDB_GPU_NO_SERVER;
	return post(slot) && await(slot, refusal);
}

/* So many questions as fit a request. */
static bool
search_part(uint64 generation, uint32 nq, const VdbMirrorQuestion *const *questions, uint32 m, VdbMirrorFound *rows,
			uint32 *counts, VdbGpuRefusal *refusal)
{
	VdbGpuSlot *slot = vdb_gpu_claim();
	bool		answered = false;

	*refusal = VDB_GPU_BUSY;
	if (slot == NULL)
		return false;
	PG_ENSURE_ERROR_CLEANUP(vdb_gpu_release, PointerGetDatum(slot));
	{
		VDB_TESTPOINT("gpu-claimed");
		fill_in(slot, generation, nq, questions, m);
		answered = vdb_gpu_ask(slot, refusal);
		if (answered)
		{
			memcpy(rows, vdb_gpu_slot_rows(slot), (Size) nq * m * sizeof(VdbMirrorFound));
			memcpy(counts, slot->counts, nq * sizeof(uint32));
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(vdb_gpu_release, PointerGetDatum(slot));
	vdb_gpu_release(0, PointerGetDatum(slot));
	return answered;
}

void
vdb_gpu_note_refusal(VdbGpuRefusal refusal)
{
	char		device[VDB_GPU_TEXT];
	char		last_error[VDB_GPU_TEXT];

	pg_atomic_fetch_add_u64(&vdb_gpu_shared->fallbacks, 1);

	/* what ends by itself is not worth saying */
	if (reported[refusal] || refusal == VDB_GPU_LOADING || refusal == VDB_GPU_GONE || refusal == VDB_GPU_BUSY)
		return;
	reported[refusal] = true;
	vdb_gpu_read_texts(device, last_error);

	/* not for the client: it may have paths */
	ereport(LOG_SERVER_ONLY,
			(refusal == VDB_GPU_LATE ?
			 errmsg("the device took longer than \"vdb.gpu_timeout\"") :
			 errmsg("the device cannot be used: %s", last_error),
			 errdetail("What it was to do is done without it.  Further such failures in this session are not logged.")));
}

bool
vdb_gpu_search(uint64 generation, uint32 nq, const VdbMirrorQuestion *const *questions, uint32 m, VdbMirrorFound *rows,
			   uint32 *counts)
{
	uint32		most;

	if (vdb_gpu_shared == NULL || nq == 0)
		return false;
	Assert(m > 0 && m <= VDB_GPU_ROWS);
	most = Min(VDB_GPU_SLOT_BYTES / questions[0]->query.codec->hot_bytes, VDB_GPU_SLOT_ROWS / m);
	most = Min(most, VDB_GPU_MAX_QUESTIONS);
	for (uint32 first = 0; first < nq; first += most)
	{
		VdbGpuRefusal refusal;

		if (search_part(generation, Min(nq - first, most), questions + first, m, rows + (Size) first * m, counts + first,
						&refusal))
			continue;
		vdb_gpu_note_refusal(refusal);
		return false;
	}
	return true;
}
