/*
 * mirror_search.c
 *	  Searches of a mirror: which snapshots it is good for, and passes over its rows.
 *
 * A pass holds no lock.  What it reads stays where it is: the mirror is pinned, and rows are not moved.
 */
#include "postgres.h"

#include <math.h>

#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "mirror/mirror_private.h"
#include "testpoint.h"

struct VdbMirrorSearch
{
	uint64		generation;
	const VdbKernels *kernels;	/* that bounds are computed with */
	VdbCodec	codec;
	VdbMirrorQuestion question;
	VdbMirror  *pinned;			/* during a pass */
};

bool
vdb_mirror_find(Oid index, double *rows, uint32 *dims)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	bool		found = false;

	if (shared == NULL || pg_atomic_read_u32(&shared->count) == 0)
		return false;
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < VDB_MIRRORS && !found; i++)
	{
		VdbMirror  *mirror = &shared->mirrors[i];

		if (mirror->state != VDB_MIRROR_READY || mirror->database != MyDatabaseId || mirror->index != index)
			continue;
		found = true;
		*rows = (double) pg_atomic_read_u64(&mirror->rows);
		*dims = mirror->dims;
	}
	LWLockRelease(&shared->lock);
	return found;
}

/*
 * Does the mirror have all rows that the snapshot sees?  It lacks rows that had been deleted when it was made.  Who
 * deleted them had ended by then, so a snapshot for which all of that time are in the past does not see them either.
 */
static bool
has_all(const VdbMirror *mirror, Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (!IsMVCCSnapshot(snapshot) || snapshot->takenDuringRecovery)
		return false;
	if (snapshot->xmin > XidFromFullTransactionId(next))
		epoch--;
	return FullTransactionIdFollowsOrEquals(FullTransactionIdFromEpochAndXid(epoch, snapshot->xmin), mirror->horizon);
}

/* Codes the question; false where there is no order by it. */
static bool
ask(VdbMirrorSearch *search, const VdbSupport *support, Datum value)
{
	float		norm;
	float	   *vector;

	if (support->dims(value) != search->codec.dims)
		return false;			/* the operator says what there is to say */
	vector = vdb_index_transform(support, &search->codec, value, &norm);
	if (vector == NULL)
		return false;
	vdb_mirror_ask(&search->question, &search->codec, vector, norm, palloc(vdb_mirror_question_bytes(&search->codec)));
	return true;
}

VdbMirrorSearch *
vdb_mirror_begin(Relation index, Snapshot snapshot, Datum question)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirrorSearch *search = NULL;
	VdbMirror  *mirror;

	if (shared == NULL || RecoveryInProgress())
		return NULL;
	LWLockAcquire(&shared->lock, LW_SHARED);
	mirror = vdb_mirror_lookup(vdb_relation_locator(index));
	if (mirror != NULL && mirror->state == VDB_MIRROR_READY && has_all(mirror, snapshot))
	{
		search = palloc0(sizeof(VdbMirrorSearch));
		search->generation = mirror->generation;
		search->kernels = vdb_kernels;
		vdb_mirror_codec_init(&search->codec, mirror->metric, mirror->dims, mirror->seed, vdb_mirror_copy_center(mirror));
		pg_atomic_write_u64(&mirror->used, pg_atomic_add_fetch_u64(&shared->uses, 1));
		pg_atomic_fetch_add_u64(&mirror->searches, 1);
	}
	LWLockRelease(&shared->lock);
	if (search != NULL && !ask(search, vdb_index_support(index), question))
		return NULL;
	return search;
}

/* Pins the mirror, if it is still there. */
static bool
pin(VdbMirrorSearch *search)
{
	LWLockAcquire(&vdb_mirror_shared->lock, LW_SHARED);
	search->pinned = vdb_mirror_of(search->generation);
	if (search->pinned != NULL)
		pg_atomic_fetch_add_u32(&search->pinned->pins, 1);
	LWLockRelease(&vdb_mirror_shared->lock);
	return search->pinned != NULL;
}

/* A cleanup function. */
static void
unpin(int code, Datum search_datum)
{
	VdbMirrorSearch *search = (VdbMirrorSearch *) DatumGetPointer(search_datum);
	VdbMirror  *mirror = search->pinned;
	bool		is_last = pg_atomic_sub_fetch_u32(&mirror->pins, 1) == 0;

	/* who gives it up looks at the pins with the lock, so one of us sees that nobody reads it */
	if (!is_last || mirror->state != VDB_MIRROR_LEAVING)
		return;
	LWLockAcquire(&vdb_mirror_shared->lock, LW_EXCLUSIVE);
	vdb_mirror_free_unread(mirror);
	LWLockRelease(&vdb_mirror_shared->lock);
}

static void
pass_chunk(VdbMirrorSearch *search, uint32 chunk, double *limit, VdbMirrorTake take, void *state)
{
	VdbMirror  *mirror = search->pinned;
	pg_atomic_uint64 *places = vdb_mirror_places(mirror, chunk);
	uint32		count = Min(pg_atomic_read_u32(&vdb_mirror_shared->chunks[chunk].rows), mirror->room);

	pg_read_barrier();
	for (uint32 first = 0; first < count; first += VDB_MIRROR_BLOCK)
	{
		VdbMirrorRows rows = vdb_mirror_rows(mirror, &search->codec, chunk, first);
		uint32		numbers[VDB_MIRROR_BLOCK];
		double		lower[VDB_MIRROR_BLOCK];
		size_t		near = vdb_mirror_select(&search->question, &rows, Min(count - first, VDB_MIRROR_BLOCK), *limit,
											 numbers, lower);

		for (size_t i = 0; i < near; i++)
		{
			uint64		place = pg_atomic_read_u64(&places[first + numbers[i]]);
			ItemPointerData tid;

			if (place == VDB_NO_PLACE || lower[i] > *limit)
				continue;
			ItemPointerSet(&tid, (BlockNumber) (place >> 16), (OffsetNumber) place);
			*limit = take(&tid, lower[i], state);
		}
	}
}

static void
pass_all(VdbMirrorSearch *search, double limit, VdbMirrorTake take, void *state)
{
	for (uint32 chunk = search->pinned->first; chunk != VDB_NO_CHUNK;)
	{
		CHECK_FOR_INTERRUPTS();
		pass_chunk(search, chunk, &limit, take, state);
		chunk = pg_atomic_read_u32(&vdb_mirror_shared->chunks[chunk].next);
		pg_read_barrier();
	}
	VDB_TESTPOINT("mirror-passed");
}

bool
vdb_mirror_pass(VdbMirrorSearch *search, double limit, VdbMirrorTake take, void *state)
{
	/* bounds of two levels of kernels are not the same */
	if (search->kernels != vdb_kernels || !pin(search))
		return false;
	PG_ENSURE_ERROR_CLEANUP(unpin, PointerGetDatum(search));
	{
		pass_all(search, limit, take, state);
	}
	PG_END_ENSURE_ERROR_CLEANUP(unpin, PointerGetDatum(search));
	unpin(0, PointerGetDatum(search));
	return true;
}
