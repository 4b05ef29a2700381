/*
 * gpu_shared.c
 *	  Shared memory of requests to the process that has the device.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "gpu/gpu_private.h"
#include "shmem.h"

VdbGpuShared *vdb_gpu_shared;

static Size
shared_bytes(void)
{
	return MAXALIGN(sizeof(VdbGpuShared)) +
		VDB_GPU_SLOTS * (VDB_GPU_SLOT_BYTES + VDB_GPU_SLOT_ROWS * sizeof(VdbMirrorFound));
}

/* What requests have is not touched, so that the system gives memory to those that are used. */
static void
init_shared(void *memory)
{
	VdbGpuShared *shared = memory;

	memset(shared, 0, sizeof(VdbGpuShared));

	/* the process may never come: where it ended for good before a crash, and on a standby */
	pg_atomic_init_u32(&shared->state, VDB_GPU_OFF);
	pg_atomic_init_u64(&shared->requests, 0);
	pg_atomic_init_u64(&shared->questions, 0);
	pg_atomic_init_u64(&shared->batches, 0);
	pg_atomic_init_u64(&shared->fallbacks, 0);
	pg_atomic_init_u64(&shared->bytes, 0);
	SpinLockInit(&shared->mutex);
}

void
vdb_gpu_share(void)
{
	static const VdbSharedPart part = {
		.name = "vdb gpu",
		.size = shared_bytes,
		.init = init_shared,
		.memory = (void **) &vdb_gpu_shared,
	};

	vdb_shmem_add(&part);
}

int8_t *
vdb_gpu_slot_questions(const VdbGpuSlot *slot)
{
	return (int8_t *) vdb_gpu_shared + MAXALIGN(sizeof(VdbGpuShared)) +
		(slot - vdb_gpu_shared->slots) * VDB_GPU_SLOT_BYTES;
}

VdbMirrorFound *
vdb_gpu_slot_rows(const VdbGpuSlot *slot)
{
	return (VdbMirrorFound *) (vdb_gpu_slot_questions(vdb_gpu_shared->slots) + VDB_GPU_SLOTS * VDB_GPU_SLOT_BYTES) +
		(slot - vdb_gpu_shared->slots) * VDB_GPU_SLOT_ROWS;
}

StaticAssertDecl(VDB_GPU_SLOT_ROWS * sizeof(VdbMirrorFound) >= 2 * sizeof(float) * VDB_GPU_SLOT_BYTES / 8,
				 "codes have 8 bytes at least");

float *
vdb_gpu_slot_add(const VdbGpuSlot *slot)
{
	return (float *) vdb_gpu_slot_rows(slot);
}

float *
vdb_gpu_slot_rescale(const VdbGpuSlot *slot)
{
	return vdb_gpu_slot_add(slot) + VDB_GPU_SLOT_BYTES / 8;
}

void
vdb_gpu_read_sets(uint64 *sets)
{
	SpinLockAcquire(&vdb_gpu_shared->mutex);
	memcpy(sets, vdb_gpu_shared->sets, sizeof(vdb_gpu_shared->sets));
	SpinLockRelease(&vdb_gpu_shared->mutex);
}

void
vdb_gpu_set_error(const char *text)
{
	SpinLockAcquire(&vdb_gpu_shared->mutex);
	strlcpy(vdb_gpu_shared->last_error, text, VDB_GPU_TEXT);
	SpinLockRelease(&vdb_gpu_shared->mutex);
}

void
vdb_gpu_read_texts(char *device, char *last_error)
{
	SpinLockAcquire(&vdb_gpu_shared->mutex);
	strlcpy(device, vdb_gpu_shared->device, VDB_GPU_TEXT);
	strlcpy(last_error, vdb_gpu_shared->last_error, VDB_GPU_TEXT);
	SpinLockRelease(&vdb_gpu_shared->mutex);
}
