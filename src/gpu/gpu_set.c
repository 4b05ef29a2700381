/*
 * gpu_set.c
 *	  Sets of codes on the device, of backends that build indexes.
 *
 * All of this is run by the thread, which reads a request where it is: its slot is nobody else's until it is answered.
 */
#include "postgres.h"

#include "gpu/gpu_private.h"

typedef struct Set
{
	uint64		identifier;		/* 0: none */
	uint32		code_bytes;
	uint32		count;			/* of codes that were put */
	VdbGpuMirror *mirror;
} Set;

static Set	sets[VDB_GPU_SETS];

#define functions vdb_gpu_functions_of_library

uint64
vdb_gpu_set_bytes(void)
{
	uint64		bytes = 0;

	for (int i = 0; i < VDB_GPU_SETS; i++)
	{
		if (sets[i].mirror != NULL)
			bytes += functions->bytes(sets[i].mirror);
	}
	return bytes;
}

static void
empty(Set *set)
{
	if (set->mirror != NULL)
		functions->free(set->mirror);
	*set = (Set) {0};
}

static bool
is_wanted(const uint64 *wanted, uint64 identifier)
{
	for (int i = 0; i < VDB_GPU_SETS; i++)
	{
		if (wanted[i] == identifier)
			return true;
	}
	return false;
}

bool
vdb_gpu_set_sweep(const uint64 *wanted)
{
	bool		found = false;

	for (int i = 0; i < VDB_GPU_SETS; i++)
	{
		if (sets[i].identifier == 0 || is_wanted(wanted, sets[i].identifier))
			continue;
		empty(&sets[i]);
		found = true;
	}
	return found;
}

static Set *
find_set(uint64 identifier)
{
	for (int i = 0; i < VDB_GPU_SETS; i++)
	{
		if (sets[i].identifier == identifier)
			return &sets[i];
	}
	return NULL;
}

/* Sets that nobody wants go, and then copies of mirrors, which can be made again. */
static bool
make_room(const VdbGpuBatch *batch)
{
	return vdb_gpu_set_sweep(batch->sets) || vdb_gpu_copy_evict();
}

static VdbGpuOutcome
refuse(VdbGpuBatch *batch, VdbGpuRefusal refusal, const char *why)
{
	strlcpy(batch->error, why, VDB_GPU_TEXT);
	batch->refusal = refusal;
	return VDB_GPU_NOT_DONE;
}

/* The set of a request to put codes: a new one with its first codes, where it is not there. */
static VdbGpuStatus
provide_set(const VdbGpuBatch *batch, Set **result)
{
	const VdbGpuSlot *slot = batch->slot;
	Set		   *set = find_set(slot->generation);
	VdbGpuStatus status;

	*result = set;
	if (set != NULL && set->code_bytes == slot->code_bytes)
		return VDB_GPU_OK;
	if (set == NULL && slot->first == 0)
		set = find_set(0);
	if (set == NULL && slot->first == 0 && vdb_gpu_set_sweep(batch->sets))
		set = find_set(0);
	if (set == NULL || set->identifier != 0)
		return VDB_GPU_OK;
	do
		status = functions->create(slot->code_bytes, slot->count, &set->mirror);
	while (status == VDB_GPU_OUT_OF_MEMORY && make_room(batch));
	if (status != VDB_GPU_OK)
	{
		set->mirror = NULL;
		return status;
	}
	set->identifier = slot->generation;
	set->code_bytes = slot->code_bytes;
	*result = set;
	return VDB_GPU_OK;
}

static VdbGpuOutcome
put(VdbGpuBatch *batch)
{
	const VdbGpuSlot *slot = batch->slot;
	const float *add = vdb_gpu_slot_add(slot);
	VdbGpuRows	rows = {
		.add = add,
		.rescale = vdb_gpu_slot_rescale(slot),

		/* scores of pairs have neither: any numbers will do */
		.residual = add,
		.length = add,
		.codes = (const uint8_t *) vdb_gpu_slot_questions(slot)
	};
	Set		   *set;
	VdbGpuStatus status = provide_set(batch, &set);

	if (status == VDB_GPU_OK && set == NULL)
		return refuse(batch, VDB_GPU_GONE, "");
	if (status == VDB_GPU_OK)
	{
		do
			status = functions->write(set->mirror, slot->first, slot->nq, &rows);
		while (status == VDB_GPU_OUT_OF_MEMORY && make_room(batch));
	}
	while (status == VDB_GPU_OK && vdb_gpu_bytes() > batch->limit)
	{
		if (!make_room(batch))
			status = VDB_GPU_OUT_OF_MEMORY;
	}
	if (status == VDB_GPU_OUT_OF_MEMORY)
	{
		if (set != NULL)
			empty(set);
		return refuse(batch, VDB_GPU_TOO_LARGE, "codes of a build do not fit the memory of the device");
	}
	if (status != VDB_GPU_OK)
		return vdb_gpu_report_failure(batch, status);
	set->count = slot->first + slot->nq;
	return VDB_GPU_DONE;
}

static VdbGpuOutcome
find(VdbGpuBatch *batch)
{
	const VdbGpuSlot *slot = batch->slot;
	const int8_t *codes = vdb_gpu_slot_questions(slot);
	Set		   *set = find_set(slot->generation);

	/* once: when the device has not answered in time, the slot is somebody else's before this process has ended */
	uint32		nq = slot->nq;
	uint32		m = slot->m;
	VdbGpuFound *found;
	VdbGpuStatus status;

	if (set == NULL || set->code_bytes != slot->code_bytes || set->count != slot->count || m > set->count)
		return refuse(batch, VDB_GPU_GONE, "");
	found = malloc((Size) nq * m * sizeof(VdbGpuFound));
	if (found == NULL)
		return refuse(batch, VDB_GPU_ERROR, "out of memory");
	for (uint32 i = 0; i < nq; i++)
		batch->questions[i] = (VdbGpuQuestion) {codes + (Size) i * slot->code_bytes, slot->constants[i]};
	do
		status = functions->search(set->mirror, set->count, nq, batch->questions, m, found, batch->counts);
	while (status == VDB_GPU_OUT_OF_MEMORY && make_room(batch));
	for (Size i = 0; status == VDB_GPU_OK && i < (Size) nq * m; i++)
		batch->rows[i] = (VdbMirrorFound) {.row = found[i].row,.lower = found[i].lower};
	free(found);
	return status == VDB_GPU_OK ? VDB_GPU_DONE : vdb_gpu_report_failure(batch, status);
}

void
vdb_gpu_set_work(void *arg)
{
	VdbGpuBatch *batch = arg;

	batch->error[0] = '\0';

	/* who has given up its set meanwhile asks for nothing: room would be made by freeing that set */
	if (!is_wanted(batch->sets, batch->generation))
		batch->outcome = refuse(batch, VDB_GPU_GONE, "");
	else
		batch->outcome = batch->work == VDB_GPU_PUT ? put(batch) : find(batch);
	batch->bytes = vdb_gpu_bytes();
}
