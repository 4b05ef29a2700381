/*
 * mirror_write.c
 *	  Rows come into mirrors, and go: what access methods tell of their indexes.
 *
 * A row is complete before its transaction can commit, so whoever sees the row sees that, by the locks that taking a
 * snapshot takes.  Where a search reads a row that is just being written, its snapshot does not see it, nor the one that
 * was in the same place before: VACUUM took that out, which no snapshot sees any more.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "mirror/mirror_private.h"
#include "testpoint.h"

static uint64
place_of(ItemPointer tid)
{
	return (uint64) ItemPointerGetBlockNumber(tid) << 16 | ItemPointerGetOffsetNumber(tid);
}

/* May this index have a mirror at all?  Quickly. */
static bool
is_mirrored(Relation index)
{
	return vdb_mirror_is_any() && index->rd_rel->relpersistence != RELPERSISTENCE_TEMP;
}

void
vdb_mirror_code_row(const VdbSupport *support, const VdbCodec *codec, NullableDatum value, ItemPointer tid,
					VdbMirrorNewRow *row)
{
	float		norm;
	float	   *vector = value.isnull ? NULL : vdb_index_transform(support, codec, value.value, &norm);

	row->place = place_of(tid);
	row->code = palloc0(codec->hot_bytes);

	/* nulls come last, and so do distances that are no number, of zero vectors under cosine */
	row->factors = vector == NULL ? vdb_mirror_last() :
		vdb_mirror_encode(codec, vector, norm, palloc(codec->vector_bytes), row->code);
}

/* Where a slot that is vacant has the next one. */
static VdbMirrorSlot *
next_vacant(const VdbMirror *mirror, VdbMirrorSlot slot)
{
	return (VdbMirrorSlot *) vdb_mirror_rows(mirror, slot.chunk, slot.row).codes;
}

/* A slot for a new row; it is nowhere where there is no chunk to be had.  The caller holds the mirror's lock. */
static VdbMirrorSlot
take_slot(VdbMirror *mirror)
{
	VdbChunk   *last = &vdb_mirror_shared->chunks[mirror->last];
	VdbMirrorSlot slot = mirror->vacant;
	uint32		chunk;

	if (slot.chunk != VDB_NO_CHUNK)
	{
		mirror->vacant = *next_vacant(mirror, slot);
		return slot;
	}
	if (pg_atomic_read_u32(&last->rows) < mirror->room)
		return (VdbMirrorSlot) {mirror->last, pg_atomic_read_u32(&last->rows)};
	chunk = vdb_mirror_take_chunk();
	if (chunk == VDB_NO_CHUNK)
		return (VdbMirrorSlot) {VDB_NO_CHUNK, 0};
	pg_write_barrier();
	pg_atomic_write_u32(&last->next, chunk);
	mirror->last = chunk;
	mirror->chunks++;
	return (VdbMirrorSlot) {chunk, 0};
}

/* Copies of a chunk are out of date from now on.  After what was written: this is a barrier. */
static void
note_change(uint32 chunk)
{
	pg_atomic_fetch_add_u64(&vdb_mirror_shared->chunks[chunk].version, 1);
}

/* The place is last: a search that finds it finds the rest, if it may see the row. */
static void
write_row(VdbMirror *mirror, VdbMirrorSlot slot, const VdbMirrorNewRow *row)
{
	VdbMirrorRows rows = vdb_mirror_rows(mirror, slot.chunk, slot.row);
	pg_atomic_uint32 *count = &vdb_mirror_shared->chunks[slot.chunk].rows;

	*(float *) rows.add = row->factors.add;
	*(float *) rows.rescale = row->factors.rescale;
	*(float *) rows.residual = row->factors.residual;
	*(float *) rows.length = row->factors.length;
	memcpy((uint8 *) rows.codes, row->code, vdb_mirror_code_bytes(mirror));
	pg_write_barrier();
	pg_atomic_write_u64(&vdb_mirror_places(mirror, slot.chunk)[slot.row], row->place);
	if (slot.row == pg_atomic_read_u32(count))
	{
		pg_write_barrier();
		pg_atomic_write_u32(count, slot.row + 1);
	}
	note_change(slot.chunk);
	pg_atomic_fetch_add_u64(&mirror->rows, 1);
}

/* Stores a row; false where there is no chunk to be had. */
static bool
store(uint64 generation, const VdbMirrorNewRow *row)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirror  *mirror;
	bool		stored = true;

	LWLockAcquire(&shared->lock, LW_SHARED);
	mirror = vdb_mirror_of(generation);
	if (mirror != NULL)
	{
		VdbMirrorSlot slot;

		LWLockAcquire(&mirror->lock, LW_EXCLUSIVE);
		slot = take_slot(mirror);
		stored = slot.chunk != VDB_NO_CHUNK;
		if (stored)
			write_row(mirror, slot, row);
		LWLockRelease(&mirror->lock);
	}
	LWLockRelease(&shared->lock);
	return stored;
}

bool
vdb_mirror_append(uint64 generation, const VdbMirrorNewRow *row, bool evict)
{
	VdbMirrorShared *shared = vdb_mirror_shared;

	while (!store(generation, row))
	{
		VdbMirror  *mirror;
		bool		freed;

		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		mirror = vdb_mirror_of(generation);
		freed = mirror != NULL && evict && vdb_mirror_evict(mirror);
		if (mirror != NULL && !freed)
			vdb_mirror_leave(mirror);
		LWLockRelease(&shared->lock);
		if (!freed)
			return false;
	}
	return true;
}

/* The mirror of an index; 0 where there is none.  codec: what it takes to code a row of it, or NULL. */
static uint64
find_mirror(Relation index, VdbCodec *codec)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirror  *mirror;
	uint64		generation = 0;

	LWLockAcquire(&shared->lock, LW_SHARED);
	mirror = vdb_mirror_lookup(index);
	if (mirror != NULL)
	{
		generation = mirror->generation;
		if (codec != NULL)
			vdb_mirror_get_codec(mirror, codec);
	}
	LWLockRelease(&shared->lock);
	return generation;
}

void
vdb_mirror_insert(Relation heap, Relation index, Datum value, bool isnull, ItemPointer tid)
{
	MemoryContext context;
	MemoryContext old;
	VdbCodec	codec;
	uint64		generation;
	VdbMirrorNewRow row;

	if (!is_mirrored(index))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "vdb mirror", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	generation = find_mirror(index, &codec);
	if (generation != 0)
	{
		vdb_mirror_code_row(vdb_index_support(index), &codec, (NullableDatum) {value, isnull}, tid, &row);
		VDB_TESTPOINT("mirror-insert-coded");
		if (!vdb_mirror_append(generation, &row, true))
			ereport(LOG,
					(errmsg("the mirror of index \"%s\" is given up", RelationGetRelationName(index)),
					 errdetail("A new row does not fit."),
					 errhint("Raise \"vdb.mirror_memory\".")));

		/* who locked the table after the row had come to it has read the mirror before, perhaps */
		CheckForSerializableConflictIn(heap, NULL, InvalidBlockNumber);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Of one chunk, under the mirror's lock. */
static void
remove_from(VdbMirror *mirror, uint32 chunk, IndexBulkDeleteCallback callback, void *state)
{
	pg_atomic_uint64 *places = vdb_mirror_places(mirror, chunk);
	uint32		rows = vdb_mirror_count_rows(mirror, chunk);

	for (uint32 i = 0; i < rows; i++)
	{
		VdbMirrorSlot slot = {chunk, i};
		ItemPointerData tid;

		if (!vdb_mirror_read_place(&places[i], &tid) || !callback(&tid, state))
			continue;
		pg_atomic_write_u64(&places[i], VDB_NO_PLACE);
		pg_write_barrier();
		*next_vacant(mirror, slot) = mirror->vacant;
		mirror->vacant = slot;
		note_change(chunk);
		pg_atomic_fetch_sub_u64(&mirror->rows, 1);
	}
}

void
vdb_mirror_remove(Relation index, IndexBulkDeleteCallback callback, void *state)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	uint64		generation = is_mirrored(index) ? find_mirror(index, NULL) : 0;
	uint32		chunk = VDB_NO_CHUNK;
	bool		begun = false;

	if (generation == 0)
		return;

	/* chunk by chunk: the mirror may be given up meanwhile, but it is not made anew while the table is locked */
	while (!begun || chunk != VDB_NO_CHUNK)
	{
		VdbMirror  *mirror;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(&shared->lock, LW_SHARED);
		mirror = vdb_mirror_of(generation);
		if (mirror == NULL)
			chunk = VDB_NO_CHUNK;
		else
		{
			LWLockAcquire(&mirror->lock, LW_EXCLUSIVE);
			if (!begun)
				chunk = mirror->first;
			remove_from(mirror, chunk, callback, state);
			chunk = vdb_mirror_next_chunk(chunk);
			LWLockRelease(&mirror->lock);
		}
		LWLockRelease(&shared->lock);
		begun = true;
	}
}

void
vdb_mirror_forget(Relation index)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirror  *mirror;

	if (!is_mirrored(index))
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mirror = vdb_mirror_lookup(index);
	if (mirror != NULL)
		vdb_mirror_leave(mirror);
	LWLockRelease(&shared->lock);
}
