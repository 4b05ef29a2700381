/*
 * gpu_finder.c
 *	  A backend's finder on the device: a set of codes there, and requests to find the nearest of it.
 *
 * A set has an identifier in shared memory as long as the backend wants it.  The process makes it when codes are put, and
 * frees it when its identifier is there no more.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "gpu/gpu_private.h"
#include "quant/panel.h"
#include "testpoint.h"

/*
 * A code is found in a set of fewer products than these by the processor in the time that a request takes for it, one of so
 * many; an estimate.
 */
#define FEWEST_PRODUCTS (1 << 17)

typedef struct GpuFinder
{
	VdbFinder	finder;
	const VdbCodec *codec;
	uint64		identifier;		/* of the set */
	uint32		count;			/* of its codes */
	MemoryContextCallback callback;
} GpuFinder;

/* Takes an identifier for a set; 0 where there are as many as there can be. */
static uint64
claim_set(void)
{
	uint64		identifier = 0;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	for (int i = 0; i < VDB_GPU_SETS && identifier == 0; i++)
	{
		if (vdb_gpu_shared->sets[i] == 0)
			vdb_gpu_shared->sets[i] = identifier = ++vdb_gpu_shared->last_set;
	}
	SpinLockRelease(&vdb_gpu_shared->mutex);
	return identifier;
}

static void
release_set(void *arg)
{
	GpuFinder  *finder = arg;

	SpinLockAcquire(&vdb_gpu_shared->mutex);
	for (int i = 0; i < VDB_GPU_SETS; i++)
	{
		if (vdb_gpu_shared->sets[i] == finder->identifier)
			vdb_gpu_shared->sets[i] = 0;
	}
	SpinLockRelease(&vdb_gpu_shared->mutex);
}

/* Fills in what a request to put codes has, and what is asked of each code. */
static void
fill_in(VdbGpuSlot *slot, const GpuFinder *finder, uint32 n, VdbCodes codes)
{
	uint32		P = finder->codec->P;
	int8_t	   *to = vdb_gpu_slot_questions(slot);

	slot->generation = finder->identifier;
	slot->code_bytes = P;
	slot->count = finder->count;
	slot->nq = n;
	for (uint32 i = 0; i < n; i++)
	{
		VdbNodeFactors f = codes.factors[i];
		const int8_t *code = (const int8_t *) codes.hi + i * codes.stride;

		if (slot->work == VDB_GPU_PUT)
		{
			uint8	   *unsigned_code = (uint8 *) to + (Size) i * P;

			for (uint32 d = 0; d < P; d++)
				unsigned_code[d] = (uint8) (code[d] + 128);
			vdb_gpu_slot_add(slot)[i] = f.add;
			vdb_gpu_slot_rescale(slot)[i] = f.scale;
		}
		else
		{
			int32		sum = 0;

			memcpy(to + (Size) i * P, code, P);
			for (uint32 d = 0; d < P; d++)
				sum += code[d];
			slot->constants[i] = (VdbGpuConstants) {
				.constant = vdb_panel_constant(finder->codec, f), .mult = vdb_panel_factor(finder->codec, f),
				.total = 128 * sum, .kind = VDB_GPU_PAIR
			};
		}
	}
}

/* A slot, also where all are taken: a build that is to go on without the device loses more than searches take.  NULL: none became free. */
static VdbGpuSlot *
await_slot(void)
{
	VdbMoment	end = vdb_clock_read() + vdb_gpu_timeout * (VdbMoment) 1000;
	VdbGpuSlot *slot;

	while ((slot = vdb_gpu_claim()) == NULL && vdb_gpu_serves() && vdb_clock_read() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return slot;
}

/* Copies what was found; false where it cannot be that. */
static bool
take_found(const GpuFinder *finder, const VdbGpuSlot *slot, Size count, VdbNeighbor *out)
{
	for (Size i = 0; i < count; i++)
	{
		const VdbMirrorFound *found = &vdb_gpu_slot_rows(slot)[i];

		if (found->row >= finder->count)
		{
			vdb_gpu_set_error("the device found a code that there is not");
			return false;
		}
		out[i] = (VdbNeighbor) {found->row, found->lower};
	}
	return true;
}

/* One request; out: m for each code, of those that are to be found. */
static bool
ask(const GpuFinder *finder, VdbGpuWork work, uint32 first, uint32 n, VdbCodes codes, uint32 m, VdbNeighbor *out)
{
	VdbGpuSlot *slot = await_slot();
	VdbGpuRefusal refusal = VDB_GPU_BUSY;
	bool		answered = false;

	if (slot != NULL)
	{
		PG_ENSURE_ERROR_CLEANUP(vdb_gpu_release, PointerGetDatum(slot));
		{
			slot->work = work;
			slot->first = first;
			slot->m = m;
			fill_in(slot, finder, n, codes);
			VDB_TESTPOINT("gpu-finder-asks");
			answered = vdb_gpu_ask(slot, &refusal);
			if (answered && !take_found(finder, slot, (Size) n * m, out))
			{
				answered = false;
				refusal = VDB_GPU_ERROR;
			}
		}
		PG_END_ENSURE_ERROR_CLEANUP(vdb_gpu_release, PointerGetDatum(slot));
		vdb_gpu_release(0, PointerGetDatum(slot));
	}
	if (!answered)
		vdb_gpu_note_refusal(refusal);
	return answered;
}

static bool
put(VdbFinder *base, uint32 count, uint32 first, uint32 n, VdbCodes codes)
{
	GpuFinder  *finder = (GpuFinder *) base;
	uint32		most = VDB_GPU_SLOT_BYTES / finder->codec->P;

	finder->count = count;
	for (uint32 i = 0; i < n; i += most)
	{
		VdbCodes	part = {codes.factors + i, codes.hi + i * codes.stride, codes.stride};

		if (!ask(finder, VDB_GPU_PUT, first + i, Min(most, n - i), part, 0, NULL))
			return false;
	}
	return true;
}

static bool
find(VdbFinder *base, uint32 n, VdbCodes codes, uint32 m, VdbNeighbor *out)
{
	const GpuFinder *finder = (const GpuFinder *) base;
	uint32		most = Min(VDB_GPU_SLOT_BYTES / finder->codec->P, VDB_GPU_SLOT_ROWS / m);

	most = Min(most, VDB_GPU_MAX_QUESTIONS);
	for (uint32 i = 0; i < n; i += most)
	{
		VdbCodes	part = {codes.factors + i, codes.hi + i * codes.stride, codes.stride};

		if (!ask(finder, VDB_GPU_FIND, 0, Min(most, n - i), part, m, out + (Size) i * m))
			return false;
	}
	return true;
}

static VdbFinder *
make_finder(const VdbCodec *codec, uint32_t room)
{
	GpuFinder  *finder;
	uint64		identifier;

	if (codec->P % 8 != 0 || codec->P > VDB_GPU_MAX_DIMS || (uint64) room * codec->P < FEWEST_PRODUCTS)
		return NULL;
	finder = palloc0(sizeof(GpuFinder));
	identifier = claim_set();
	if (identifier == 0)
	{
		pfree(finder);
		return NULL;
	}
	finder->finder = (VdbFinder) {.most = VDB_GPU_MAX_FOUND, .put = put, .find = find};
	finder->codec = codec;
	finder->identifier = identifier;
	finder->callback = (MemoryContextCallback) {.func = release_set, .arg = finder};
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &finder->callback);
	return &finder->finder;
}

static bool
is_available(const char **why_not)
{
	*why_not = "there is no device";
	return vdb_gpu_serves();
}

const VdbProvider vdb_gpu_provider = {
	.name = "cuda",
	.is_available = is_available,
	.make_finder = make_finder
};
