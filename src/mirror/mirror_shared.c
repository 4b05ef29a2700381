/*
 * mirror_shared.c
 *	  Mirrors in shared memory: which there are, and which memory is whose.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/rel.h"

#include "mirror/mirror_private.h"
#include "shmem.h"

VdbMirrorShared *vdb_mirror_shared;

static uint32 chunk_count;

static Size
chunks_offset(void)
{
	return TYPEALIGN(PG_CACHE_LINE_SIZE,
					 add_size(offsetof(VdbMirrorShared, chunks), mul_size(chunk_count, sizeof(VdbChunk))));
}

static Size
shared_bytes(void)
{
	return add_size(add_size(chunks_offset(), mul_size(chunk_count, VDB_CHUNK_BYTES)), PG_CACHE_LINE_SIZE);
}

/* Chunks are not touched, so that the system gives memory to those alone that are used. */
static void
init_shared(void *memory)
{
	VdbMirrorShared *shared = memory;
	int			tranche = LWLockNewTrancheId();

	/* in the postmaster, whose children have the name from it */
	LWLockRegisterTranche(tranche, "vdb_mirror");
	memset(shared, 0, offsetof(VdbMirrorShared, chunks));
	LWLockInitialize(&shared->lock, tranche);
	pg_atomic_init_u32(&shared->count, 0);
	pg_atomic_init_u64(&shared->uses, 0);
	SpinLockInit(&shared->mutex);
	shared->total = chunk_count;
	shared->freed = VDB_NO_CHUNK;
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		VdbMirror  *mirror = &shared->mirrors[i];

		LWLockInitialize(&mirror->lock, tranche);
		pg_atomic_init_u32(&mirror->pins, 0);
		pg_atomic_init_u64(&mirror->used, 0);
		pg_atomic_init_u64(&mirror->searches, 0);
		pg_atomic_init_u64(&mirror->rows, 0);
	}
	for (uint32 i = 0; i < chunk_count; i++)
	{
		pg_atomic_init_u32(&shared->chunks[i].next, VDB_NO_CHUNK);
		pg_atomic_init_u32(&shared->chunks[i].rows, 0);
		pg_atomic_init_u64(&shared->chunks[i].version, 0);
	}
}

void
vdb_mirror_share(Size bytes)
{
	static const VdbSharedPart part = {
		.name = "vdb mirrors",
		.size = shared_bytes,
		.init = init_shared,
		.memory = (void **) &vdb_mirror_shared,
	};

	chunk_count = (uint32) Min(bytes / VDB_CHUNK_BYTES, VDB_NO_CHUNK - 1);
	if (chunk_count > 0)
		vdb_shmem_add(&part);
}

char *
vdb_mirror_chunk(uint32 chunk)
{
	char	   *chunks = (char *) vdb_mirror_shared + chunks_offset();

	Assert(chunk < vdb_mirror_shared->total);
	return (char *) TYPEALIGN(PG_CACHE_LINE_SIZE, chunks) + (Size) chunk * VDB_CHUNK_BYTES;
}

/* --- columns of a chunk: places, four of factors, codes --- */

#define FACTORS 4

uint32
vdb_mirror_room(uint32 code_bytes)
{
	uint32		room = VDB_CHUNK_BYTES / (sizeof(uint64) + FACTORS * sizeof(float) + code_bytes);

	/* each column begins at a cache line */
	return room > 16 ? room / 16 * 16 : room;
}

pg_atomic_uint64 *
vdb_mirror_places(const VdbMirror *mirror, uint32 chunk)
{
	return (pg_atomic_uint64 *) vdb_mirror_chunk(chunk);
}

VdbMirrorRows
vdb_mirror_rows(const VdbMirror *mirror, uint32 chunk, uint32 row)
{
	uint32		room = mirror->room;
	const float *factors = (const float *) (vdb_mirror_chunk(chunk) + room * sizeof(uint64));

	return (VdbMirrorRows) {
		.add = factors + row,
		.rescale = factors + room + row,
		.residual = factors + 2 * room + row,
		.length = factors + 3 * room + row,
		.codes = (const uint8 *) (factors + FACTORS * room) + (Size) row * vdb_mirror_code_bytes(mirror)
	};
}

bool
vdb_mirror_read_place(pg_atomic_uint64 *place, ItemPointer tid)
{
	uint64		read = pg_atomic_read_u64(place);

	if (read == VDB_NO_PLACE)
		return false;
	ItemPointerSet(tid, (BlockNumber) (read >> 16), (OffsetNumber) read);
	return true;
}

uint32
vdb_mirror_count_rows(const VdbMirror *mirror, uint32 chunk)
{
	uint32		count = Min(pg_atomic_read_u32(&vdb_mirror_shared->chunks[chunk].rows), mirror->room);

	pg_read_barrier();
	return count;
}

uint32
vdb_mirror_take_chunk(void)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	uint32		chunk;

	SpinLockAcquire(&shared->mutex);
	chunk = shared->freed;
	if (chunk != VDB_NO_CHUNK)
		shared->freed = pg_atomic_read_u32(&shared->chunks[chunk].next);
	else if (shared->fresh < shared->total)
		chunk = shared->fresh++;
	if (chunk != VDB_NO_CHUNK)
		shared->used++;
	SpinLockRelease(&shared->mutex);
	if (chunk != VDB_NO_CHUNK)
	{
		pg_atomic_write_u32(&shared->chunks[chunk].next, VDB_NO_CHUNK);
		pg_atomic_write_u32(&shared->chunks[chunk].rows, 0);
	}
	return chunk;
}

static void
free_chunk(uint32 chunk)
{
	VdbMirrorShared *shared = vdb_mirror_shared;

	SpinLockAcquire(&shared->mutex);
	pg_atomic_write_u32(&shared->chunks[chunk].next, shared->freed);
	shared->freed = chunk;
	shared->used--;
	SpinLockRelease(&shared->mutex);
}

static bool
is_found(const VdbMirror *mirror)
{
	return mirror->state == VDB_MIRROR_LOADING || mirror->state == VDB_MIRROR_READY;
}

VdbMirror *
vdb_mirror_lookup(Relation index)
{
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		VdbMirror  *mirror = &vdb_mirror_shared->mirrors[i];

		if (is_found(mirror) && mirror->database == MyDatabaseId && mirror->tablespace == index->rd_rel->reltablespace &&
			mirror->file == index->rd_rel->relfilenode)
			return mirror;
	}
	return NULL;
}

VdbMirror *
vdb_mirror_of(uint64 generation)
{
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		VdbMirror  *mirror = &vdb_mirror_shared->mirrors[i];

		if (is_found(mirror) && mirror->generation == generation)
			return mirror;
	}
	return NULL;
}

void
vdb_mirror_free_unread(VdbMirror *mirror)
{
	uint32		next;

	if (mirror->state != VDB_MIRROR_LEAVING || pg_atomic_read_u32(&mirror->pins) > 0)
		return;
	for (uint32 chunk = mirror->first; chunk != VDB_NO_CHUNK; chunk = next)
	{
		next = pg_atomic_read_u32(&vdb_mirror_shared->chunks[chunk].next);
		free_chunk(chunk);
	}
	if (mirror->center != VDB_NO_CHUNK)
		free_chunk(mirror->center);
	mirror->state = VDB_MIRROR_FREE;
}

void
vdb_mirror_leave(VdbMirror *mirror)
{
	if (!is_found(mirror))
		return;
	mirror->state = VDB_MIRROR_LEAVING;

	/* also so that who unpins it now sees that it is to be freed, or we see that it is not pinned */
	pg_atomic_fetch_sub_u32(&vdb_mirror_shared->count, 1);
	vdb_mirror_free_unread(mirror);
}

void
vdb_mirror_leave_all(Oid database, Oid index)
{
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		VdbMirror  *mirror = &vdb_mirror_shared->mirrors[i];

		if (mirror->database == database && (mirror->index == index || !OidIsValid(index)))
			vdb_mirror_leave(mirror);
	}
}

bool
vdb_mirror_evict(const VdbMirror *but)
{
	VdbMirror  *victim = NULL;

	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		VdbMirror  *mirror = &vdb_mirror_shared->mirrors[i];

		if (mirror->state == VDB_MIRROR_READY && mirror != but &&
			(victim == NULL || pg_atomic_read_u64(&mirror->used) < pg_atomic_read_u64(&victim->used)))
			victim = mirror;
	}
	if (victim != NULL)
		vdb_mirror_leave(victim);
	return victim != NULL;
}
