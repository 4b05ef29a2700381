/*
 * gpu_copy.c
 *	  Copies of mirrors on the device, kept current chunk by chunk.
 *
 * Rows of the copy are those of the mirror's chunks one behind the other, each chunk with as many as fit.  A chunk is written
 * again where its version is not the one that was copied.  The version is read before the rows, so what a search looks at has all that was
 * in the mirror before it; docs/design/023-gpu.md has the argument.
 *
 * All of this is run by the thread: no function of the server's is called here, but for those that read memory.
 */
#include "postgres.h"

#include <math.h>

#include "gpu/gpu_private.h"

/* As many as there can be mirrors. */
#define COPIES lengthof(((VdbGpuSweep *) NULL)->generations)

/* Chunks that are written while a search waits, at most. */
#define CHUNKS_AT_ONCE 64

typedef struct Copy
{
	uint64		generation;		/* 0: none */
	VdbGpuMirror *mirror;		/* NULL: too large for the device */
	uint32		chunk_rows;
	uint32		chunks;			/* that are there, */
	uint32		room;			/* and for which there is room in these: */
	uint32	   *numbers;		/* which they are in shared memory */
	uint64	   *versions;		/* that were copied */
	uint64		used;			/* `uses` when it was searched last */
} Copy;

static Copy copies[COPIES];
static uint64 uses;

#define functions vdb_gpu_functions_of_library

uint64
vdb_gpu_bytes(void)
{
	uint64		bytes = vdb_gpu_set_bytes();

	for (int i = 0; i < COPIES; i++)
	{
		if (copies[i].mirror != NULL)
			bytes += functions->bytes(copies[i].mirror);
	}
	return bytes;
}

/* Gives back what it has; that it is too large may be remembered. */
static void
empty(Copy *copy)
{
	if (copy->mirror != NULL)
		functions->free(copy->mirror);
	free(copy->numbers);
	free(copy->versions);
	*copy = (Copy) {.generation = copy->generation};
}

/* Makes room: the copy that has been used least lately goes, but not this one. */
static bool
evict(const Copy *but)
{
	Copy	   *victim = NULL;

	for (int i = 0; i < COPIES; i++)
	{
		Copy	   *copy = &copies[i];

		if (copy->mirror != NULL && copy != but && (victim == NULL || copy->used < victim->used))
			victim = copy;
	}
	if (victim == NULL)
		return false;
	empty(victim);
	victim->generation = 0;
	return true;
}

bool
vdb_gpu_copy_evict(void)
{
	return evict(NULL);
}

static Copy *
find_copy(uint64 generation)
{
	for (int i = 0; i < COPIES; i++)
	{
		if (copies[i].generation == generation)
			return &copies[i];
	}
	return NULL;
}

static VdbGpuOutcome
refuse(VdbGpuBatch *batch, VdbGpuRefusal refusal)
{
	batch->refusal = refusal;
	return VDB_GPU_NOT_DONE;
}

VdbGpuOutcome
vdb_gpu_report_failure(VdbGpuBatch *batch, VdbGpuStatus status)
{
	strlcpy(batch->error, functions->last_error(), VDB_GPU_TEXT);
	batch->refusal = VDB_GPU_ERROR;
	return status == VDB_GPU_LOST || status == VDB_GPU_NO_DEVICE ? VDB_GPU_BROKEN : VDB_GPU_NOT_DONE;
}

/* There is no room for it, and nobody else who could go. */
static VdbGpuOutcome
give_up(VdbGpuBatch *batch, Copy *copy)
{
	empty(copy);
	strlcpy(batch->error, "a mirror does not fit the memory of the device", VDB_GPU_TEXT);
	return refuse(batch, VDB_GPU_TOO_LARGE);
}

/* Room for what is known of one more chunk. */
static bool
provide_room(Copy *copy)
{
	uint32		room = copy->room == 0 ? 256 : copy->room * 2;
	uint32	   *numbers;
	uint64	   *versions;

	if (copy->chunks < copy->room)
		return true;
	numbers = realloc(copy->numbers, room * sizeof(uint32));
	if (numbers != NULL)
		copy->numbers = numbers;
	versions = realloc(copy->versions, room * sizeof(uint64));
	if (versions != NULL)
		copy->versions = versions;
	if (numbers == NULL || versions == NULL)
		return false;
	copy->room = room;
	return true;
}

/* Makes an empty copy. */
static VdbGpuOutcome
create_copy(VdbGpuBatch *batch, Copy *copy)
{
	VdbGpuStatus status;
	uint64		rows = 0;

	copy->chunk_rows = vdb_mirror_chunk_rows(batch->pinned);
	for (uint32 chunk = vdb_mirror_first_chunk(batch->pinned); chunk != VDB_NO_CHUNK; chunk = vdb_mirror_next_chunk(chunk))
		rows += copy->chunk_rows;
	do
		status = functions->create(vdb_mirror_code_bytes(batch->pinned), (uint32) Min(rows, PG_UINT32_MAX), &copy->mirror);
	while (status == VDB_GPU_OUT_OF_MEMORY && evict(copy));
	if (status == VDB_GPU_OK)
		return VDB_GPU_DONE;
	copy->mirror = NULL;
	if (status == VDB_GPU_OUT_OF_MEMORY)
		return give_up(batch, copy);
	copy->generation = 0;
	return vdb_gpu_report_failure(batch, status);
}

/* Writes a chunk, which was the number-th when it was looked at. */
static VdbGpuOutcome
write_chunk(VdbGpuBatch *batch, Copy *copy, uint32 number, uint32 chunk)
{
	VdbMirrorRows rows;
	VdbGpuStatus status;
	float	   *add = malloc(copy->chunk_rows * sizeof(float));

	if (add == NULL)
		return refuse(batch, VDB_GPU_ERROR);
	rows = vdb_mirror_read_chunk(batch->pinned, chunk, add);
	do
		status = functions->write(copy->mirror, number * copy->chunk_rows, copy->chunk_rows,
								  &(VdbGpuRows) {rows.add, rows.rescale, rows.residual, rows.length, rows.codes});
	while (status == VDB_GPU_OUT_OF_MEMORY && evict(copy));
	free(add);
	while (status == VDB_GPU_OK && vdb_gpu_bytes() > batch->limit)
	{
		if (!evict(copy))
			status = VDB_GPU_OUT_OF_MEMORY;
	}
	if (status == VDB_GPU_OUT_OF_MEMORY)
		return give_up(batch, copy);
	return status == VDB_GPU_OK ? VDB_GPU_DONE : vdb_gpu_report_failure(batch, status);
}

/* Has the copy have what the mirror has, if that is not too much at once. */
static VdbGpuOutcome
update_copy(VdbGpuBatch *batch, Copy *copy)
{
	uint32		number = 0;
	uint32		written = 0;

	for (uint32 chunk = vdb_mirror_first_chunk(batch->pinned); chunk != VDB_NO_CHUNK; chunk = vdb_mirror_next_chunk(chunk))
	{
		uint64		version = vdb_mirror_version(chunk);

		if (number == copy->chunks || version != copy->versions[number])
		{
			VdbGpuOutcome outcome;

			if (written++ == CHUNKS_AT_ONCE)
				return refuse(batch, VDB_GPU_LOADING);
			if (!provide_room(copy) || (uint64) (number + 1) * copy->chunk_rows > PG_UINT32_MAX)
				return give_up(batch, copy);
			outcome = write_chunk(batch, copy, number, chunk);
			if (outcome != VDB_GPU_DONE)
				return outcome;
			copy->numbers[number] = chunk;
			copy->versions[number] = version;
			copy->chunks = Max(copy->chunks, number + 1);
		}
		number++;
	}
	return VDB_GPU_DONE;
}

/* Says where rows are in shared memory; those that come after all others are left out, and they are last. */
static void
place_rows(VdbGpuBatch *batch, const Copy *copy, const VdbGpuFound *found)
{
	for (uint32 i = 0; i < batch->nq; i++)
	{
		for (uint32 j = 0; j < batch->counts[i]; j++)
		{
			VdbGpuFound row = found[(Size) i * batch->m + j];

			if (!(row.lower < INFINITY))
				batch->counts[i] = j;
			else
				batch->rows[(Size) i * batch->m + j] = (VdbMirrorFound) {
					copy->numbers[row.row / copy->chunk_rows], row.row % copy->chunk_rows, row.lower
				};
		}
	}
}

static VdbGpuOutcome
search_copy(VdbGpuBatch *batch, const Copy *copy)
{
	VdbGpuFound *found = malloc((Size) batch->nq * batch->m * sizeof(VdbGpuFound));
	VdbGpuStatus status;

	if (found == NULL)
		return refuse(batch, VDB_GPU_ERROR);
	do
		status = functions->search(copy->mirror, copy->chunks * copy->chunk_rows, batch->nq, batch->questions, batch->m,
								   found, batch->counts);
	while (status == VDB_GPU_OUT_OF_MEMORY && evict(copy));
	if (status == VDB_GPU_OK)
		place_rows(batch, copy, found);
	free(found);
	return status == VDB_GPU_OK ? VDB_GPU_DONE : vdb_gpu_report_failure(batch, status);
}

static VdbGpuOutcome
search_batch(VdbGpuBatch *batch)
{
	Copy	   *copy = find_copy(batch->generation);
	VdbGpuOutcome outcome = VDB_GPU_DONE;

	if (copy != NULL && copy->mirror == NULL)
		return refuse(batch, VDB_GPU_TOO_LARGE);
	if (copy == NULL)
	{
		copy = find_copy(0);
		if (copy == NULL)
			return refuse(batch, VDB_GPU_BUSY);
		copy->generation = batch->generation;
		outcome = create_copy(batch, copy);
	}
	if (outcome == VDB_GPU_DONE)
	{
		copy->used = ++uses;
		outcome = update_copy(batch, copy);
	}
	return outcome == VDB_GPU_DONE && batch->nq > 0 ? search_copy(batch, copy) : outcome;
}

void
vdb_gpu_copy_search(void *arg)
{
	VdbGpuBatch *batch = arg;

	batch->error[0] = '\0';
	batch->outcome = search_batch(batch);
	batch->bytes = vdb_gpu_bytes();
}

uint32
vdb_gpu_copy_list(uint64 *generations, uint32 n)
{
	uint32		count = 0;

	for (int i = 0; i < COPIES && count < n; i++)
	{
		if (copies[i].generation != 0)
			generations[count++] = copies[i].generation;
	}
	return count;
}

void
vdb_gpu_copy_sweep(void *arg)
{
	VdbGpuSweep *sweep = arg;

	for (int i = 0; i < COPIES; i++)
	{
		bool		is_refused = copies[i].generation != 0 && copies[i].mirror == NULL;
		bool		stays = copies[i].generation == 0;

		for (uint32 j = 0; j < sweep->count && !stays; j++)
			stays = sweep->generations[j] == copies[i].generation;
		if (stays && !(is_refused && sweep->forget))
			continue;
		empty(&copies[i]);
		copies[i].generation = 0;
	}
	(void) vdb_gpu_set_sweep(sweep->sets);
	sweep->bytes = vdb_gpu_bytes();
}
