/*
 * mirror_device.c
 *	  What is needed of a mirror for a copy of it on a device.
 */
#include "postgres.h"

#include <math.h>

#include "mirror/mirror_private.h"

uint64
vdb_mirror_generation(Relation index)
{
	VdbMirror  *mirror;
	uint64		generation = 0;

	if (vdb_mirror_shared == NULL)
		return 0;
	LWLockAcquire(&vdb_mirror_shared->lock, LW_SHARED);
	mirror = vdb_mirror_lookup(index);
	if (mirror != NULL && mirror->state == VDB_MIRROR_READY)
		generation = mirror->generation;
	LWLockRelease(&vdb_mirror_shared->lock);
	return generation;
}

VdbMirror *
vdb_mirror_pin(uint64 generation)
{
	VdbMirror  *mirror;

	LWLockAcquire(&vdb_mirror_shared->lock, LW_SHARED);
	mirror = vdb_mirror_of(generation);
	if (mirror != NULL)
		pg_atomic_fetch_add_u32(&mirror->pins, 1);
	LWLockRelease(&vdb_mirror_shared->lock);
	return mirror;
}

void
vdb_mirror_unpin(VdbMirror *mirror)
{
	bool		is_last = pg_atomic_sub_fetch_u32(&mirror->pins, 1) == 0;

	/* who gives it up looks at the pins with the lock, so one of us sees that nobody reads it */
	if (!is_last || mirror->state != VDB_MIRROR_LEAVING)
		return;
	LWLockAcquire(&vdb_mirror_shared->lock, LW_EXCLUSIVE);
	vdb_mirror_free_unread(mirror);
	LWLockRelease(&vdb_mirror_shared->lock);
}

void
vdb_mirror_unpin_datum(int code, Datum mirror)
{
	vdb_mirror_unpin((VdbMirror *) DatumGetPointer(mirror));
}

uint32
vdb_mirror_code_bytes(const VdbMirror *mirror)
{
	return vdb_codec_padded(mirror->dims);
}

uint32
vdb_mirror_chunk_rows(const VdbMirror *mirror)
{
	return mirror->room;
}

uint32
vdb_mirror_first_chunk(const VdbMirror *mirror)
{
	return mirror->first;
}

uint32
vdb_mirror_next_chunk(uint32 chunk)
{
	uint32		next = pg_atomic_read_u32(&vdb_mirror_shared->chunks[chunk].next);

	pg_read_barrier();
	return next;
}

uint64
vdb_mirror_version(uint32 chunk)
{
	uint64		version = pg_atomic_read_u64(&vdb_mirror_shared->chunks[chunk].version);

	pg_read_barrier();
	return version;
}

uint32
vdb_mirror_read_versions(VdbMirror *mirror, uint64 *versions, uint32 n)
{
	uint32		count = 0;

	LWLockAcquire(&mirror->lock, LW_SHARED);
	for (uint32 chunk = mirror->first; chunk != VDB_NO_CHUNK; chunk = vdb_mirror_next_chunk(chunk))
	{
		if (count < n)
			versions[count] = vdb_mirror_version(chunk);
		count++;
	}
	LWLockRelease(&mirror->lock);
	return count;
}

VdbMirrorRows
vdb_mirror_read_chunk(const VdbMirror *mirror, uint32 chunk, float *add)
{
	VdbMirrorRows rows = vdb_mirror_rows(mirror, chunk, 0);
	pg_atomic_uint64 *places = vdb_mirror_places(mirror, chunk);
	uint32		count = vdb_mirror_count_rows(mirror, chunk);

	for (uint32 i = 0; i < mirror->room; i++)
		add[i] = i < count && pg_atomic_read_u64(&places[i]) != VDB_NO_PLACE ? rows.add[i] : INFINITY;
	rows.add = add;
	return rows;
}

void
vdb_mirror_get_codec(const VdbMirror *mirror, VdbCodec *codec)
{
	Size		bytes = vdb_codec_padded(mirror->dims) * sizeof(float);
	float	   *center = palloc(bytes);

	memcpy(center, vdb_mirror_chunk(mirror->center), bytes);
	vdb_mirror_codec_init(codec, mirror->metric, mirror->dims, mirror->seed, center);
}
