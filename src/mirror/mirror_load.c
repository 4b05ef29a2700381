/*
 * mirror_load.c
 *	  Making a mirror of an index while others write to its table.
 *
 * First the mirror is there, empty, and whoever inserts a row stores it. Transactions that may have inserted one without that are
 * waited for. Then the table is read, as a snapshot taken after that sees it: rows come twice that were
 * inserted between, which searches know. It is how CREATE INDEX CONCURRENTLY does it.
 *
 * The table's lock keeps VACUUM out, which would take rows out that are stored later, and anybody else who makes a
 * mirror of the index.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/spin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "index/index_sample.h"
#include "mirror/mirror_private.h"
#include "testpoint.h"

/* Rows that the center is the mean of, about. */
#define CENTER_ROWS 2000
#define CENTER_BLOCKS 200

typedef struct Loading
{
	Relation	index;
	const VdbSupport *support;
	VdbCodec	codec;
	uint64		generation;
	bool		evict;
	MemoryContext row_context;	/* reset after each row */
} Loading;

/* The mean of a sample, in code space. */
typedef struct Mean
{
	const VdbSupport *support;
	VdbCodec	codec;			/* without a center */
	double	   *sum;
	double		count;
} Mean;

/* Why an index of this kind cannot have a mirror; NULL: it can. */
static const char *
find_obstacle(Relation index)
{
	const VdbSupport *support = vdb_index_support(index);

	if (support->kind != VDB_CODEC_DENSE || support->metric == VDB_METRIC_L1)
		return "Mirrors are of type vector or halfvec, by Euclidean distance, inner product or cosine distance.";
	if (index->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return "It is temporary.";
	return NULL;
}

static void
add_to_mean(Datum value, void *state)
{
	Mean	   *mean = state;
	VdbValue	v = vdb_index_read_value(mean->support, mean->codec.dims, value);

	vdb_codec_accumulate(&mean->codec, v.elements, palloc(mean->codec.vector_bytes), mean->sum);
	mean->count++;
}

/* P floats; *rows: how many there are to be, about. */
static float *
find_center(Relation heap, Relation index, const VdbSupport *support, uint32 dims, uint64 seed, double *rows)
{
	uint32		P = vdb_codec_padded(dims);
	float	   *center = palloc0(P * sizeof(float));
	IndexInfo  *info = BuildIndexInfo(index);
	Mean		mean = {.support = support, .sum = palloc0(P * sizeof(double))};

	vdb_mirror_codec_init(&mean.codec, support->metric, dims, seed, center);
	info->ii_Concurrent = true;
	*rows = vdb_index_sample(heap, index, info, CENTER_ROWS, CENTER_BLOCKS, add_to_mean, &mean).expected;
	for (uint32 i = 0; i < P && mean.count > 0; i++)
	{
		float		x = (float) (mean.sum[i] / mean.count);

		center[i] = isfinite(x) ? x : 0;
	}
	return center;
}

/* Is anybody still to free what he reads? */
static bool
is_any_leaving(void)
{
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		if (vdb_mirror_shared->mirrors[i].state == VDB_MIRROR_LEAVING)
			return true;
	}
	return false;
}

static uint32
count_free_chunks(void)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	uint32		count;

	SpinLockAcquire(&shared->mutex);
	count = shared->total - shared->used;
	SpinLockRelease(&shared->mutex);
	return count;
}

static VdbMirror *
find_free(void)
{
	for (int i = 0; i < VDB_MIRRORS; i++)
	{
		if (vdb_mirror_shared->mirrors[i].state == VDB_MIRROR_FREE)
			return &vdb_mirror_shared->mirrors[i];
	}
	return NULL;
}

/* Makes an empty mirror that has these and is being loaded; false where there are no chunks for it. */
static bool
create_in(VdbMirror *mirror, const Loading *loading, const float *center)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	const VdbCodec *codec = &loading->codec;

	mirror->center = vdb_mirror_take_chunk();
	mirror->first = vdb_mirror_take_chunk();
	mirror->state = VDB_MIRROR_LEAVING;
	if (mirror->center == VDB_NO_CHUNK || mirror->first == VDB_NO_CHUNK)
	{
		vdb_mirror_free_unread(mirror);
		return false;
	}
	memcpy(vdb_mirror_chunk(mirror->center), center, codec->vector_bytes);
	mirror->generation = ++shared->generations;
	mirror->database = MyDatabaseId;
	mirror->index = RelationGetRelid(loading->index);
	mirror->tablespace = loading->index->rd_rel->reltablespace;
	mirror->file = loading->index->rd_rel->relfilenode;
	mirror->metric = codec->metric;
	mirror->dims = codec->dims;
	mirror->seed = codec->seed;
	mirror->room = vdb_mirror_room(codec->hot_bytes);
	mirror->last = mirror->first;
	mirror->chunks = 2;
	mirror->vacant = (VdbMirrorSlot) {VDB_NO_CHUNK, 0};
	pg_atomic_write_u64(&mirror->rows, 0);
	pg_atomic_write_u64(&mirror->searches, 0);
	pg_atomic_write_u64(&mirror->used, pg_atomic_add_fetch_u64(&shared->uses, 1));
	mirror->state = VDB_MIRROR_LOADING;
	pg_atomic_fetch_add_u32(&shared->count, 1);
	return true;
}

/* Makes the mirror where there is room for so many chunks; others go for it, if they may. */
static bool
create(Loading *loading, const float *center, double chunks)
{
	VdbMirrorShared *shared = vdb_mirror_shared;

	for (;;)
	{
		VdbMirror  *mirror;
		bool		created = false;
		bool		goes_on = false;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		vdb_mirror_leave_all(MyDatabaseId, RelationGetRelid(loading->index));	/* of files that it had before */
		mirror = find_free();
		if (mirror != NULL && count_free_chunks() >= chunks)
			created = create_in(mirror, loading, center);
		if (created)
			loading->generation = mirror->generation;
		else
			goes_on = (loading->evict && vdb_mirror_evict(NULL)) || is_any_leaving();
		LWLockRelease(&shared->lock);
		if (created || !goes_on)
			return created;

		/* searches that read what was given up end soon */
		pg_usleep(1000);
	}
}

/* An IndexBuildCallback. */
static void
load_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Loading    *loading = state;
	MemoryContext old = MemoryContextSwitchTo(loading->row_context);
	VdbMirrorNewRow row;

	vdb_mirror_code_row(loading->support, &loading->codec, (NullableDatum) {values[0], isnull[0]}, tid, &row);
	if (!vdb_mirror_append(loading->generation, &row, loading->evict))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("the mirror of index \"%s\" does not fit into \"vdb.mirror_memory\"",
						RelationGetRelationName(loading->index)),
				 errhint("Raise \"vdb.mirror_memory\", or drop other mirrors.")));
	MemoryContextSwitchTo(old);
	MemoryContextReset(loading->row_context);
}

/* Ends loading: the mirror is ready, if it is there yet, and has what such a snapshot sees; or it goes. */
static bool
end_loading(uint64 generation, bool ready, FullTransactionId horizon)
{
	VdbMirror  *mirror;

	LWLockAcquire(&vdb_mirror_shared->lock, LW_EXCLUSIVE);
	mirror = vdb_mirror_of(generation);
	if (mirror != NULL && ready)
	{
		mirror->horizon = horizon;
		mirror->since = GetCurrentTimestamp();
		mirror->state = VDB_MIRROR_READY;
	}
	else if (mirror != NULL)
		vdb_mirror_leave(mirror);
	LWLockRelease(&vdb_mirror_shared->lock);
	return mirror != NULL;
}

/* A cleanup function. */
static void
give_up(int code, Datum generation)
{
	(void) end_loading(DatumGetUInt64(generation), false, InvalidFullTransactionId);
}

static void
load_rows(Relation heap, Loading *loading)
{
	LOCKTAG		table;
	Snapshot	snapshot;
	FullTransactionId horizon;

	VDB_TESTPOINT("mirror-load-created");
	SET_LOCKTAG_RELATION(table, heap->rd_lockInfo.lockRelId.dbId, heap->rd_lockInfo.lockRelId.relId);
	WaitForLockers(table, ShareLock, false);
	VDB_TESTPOINT("mirror-load-waited");
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	horizon = ReadNextFullTransactionId();
	VDB_TESTPOINT("mirror-load-snapshot");
	vdb_index_scan_rows(heap, loading->index, snapshot, load_row, loading);
	UnregisterSnapshot(snapshot);
	VDB_TESTPOINT("mirror-load-read");
	if (!end_loading(loading->generation, true, horizon))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the mirror of index \"%s\" was dropped while it was loaded",
						RelationGetRelationName(loading->index))));
}

static bool
is_there(Relation index)
{
	bool		found;

	LWLockAcquire(&vdb_mirror_shared->lock, LW_SHARED);
	found = vdb_mirror_lookup(index) != NULL;
	LWLockRelease(&vdb_mirror_shared->lock);
	return found;
}

/*
 * Rows that this transaction has deleted are not seen by the snapshot that is taken, nor are those that the command in
 * progress has inserted.  Both would be missing, the former if it failed.
 */
static void
check_transaction(Relation index)
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("the mirror of index \"%s\" cannot be loaded in a transaction that has written", RelationGetRelationName(index)),
				 errhint("Commit, and load it then.")));
}

static void
make(Relation heap, Relation index, bool evict)
{
	Loading		loading = {
		.index = index,
		.support = vdb_index_support(index),
		.evict = evict,
		.row_context = AllocSetContextCreate(CurrentMemoryContext, "vdb mirror row", ALLOCSET_DEFAULT_SIZES)
	};
	const char *obstacle = find_obstacle(index);
	uint64		seed;
	uint32		dims;
	float	   *center;
	double		rows;
	double		chunks;

	if (obstacle != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" cannot have a mirror", RelationGetRelationName(index)),
				 errdetail("%s", obstacle)));
	check_transaction(index);
	seed = vdb_index_random_seed(loading.support);
	dims = vdb_index_column_dims(index, loading.support);
	center = find_center(heap, index, loading.support, dims, seed, &rows);
	vdb_mirror_codec_init(&loading.codec, loading.support->metric, dims, seed, center);
	chunks = ceil(rows / vdb_mirror_room(loading.codec.hot_bytes)) + 2;
	if (chunks > vdb_mirror_shared->total && evict)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("the mirror of index \"%s\" does not fit into \"vdb.mirror_memory\"", RelationGetRelationName(index)),
				 errdetail("It takes about %.0f MB.", ceil(chunks * VDB_CHUNK_BYTES / (1024 * 1024))),
				 errhint("Raise \"vdb.mirror_memory\".")));
	if (!create(&loading, center, chunks))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("there is no room for the mirror of index \"%s\"", RelationGetRelationName(index)),
				 errhint("Raise \"vdb.mirror_memory\", or drop other mirrors.")));
	PG_ENSURE_ERROR_CLEANUP(give_up, UInt64GetDatum(loading.generation));
	{
		load_rows(heap, &loading);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up, UInt64GetDatum(loading.generation));
}

bool
vdb_mirror_may_be_made(Relation index)
{
	return vdb_mirror_shared != NULL && !RecoveryInProgress() && vdb_snapshots_keep_rows() && find_obstacle(index) == NULL &&
		!is_there(index);
}

void
vdb_mirror_load(Relation heap, Relation index, bool evict)
{
	MemoryContext context;
	MemoryContext old;
	VdbFormerUser former;

	if (is_there(index))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "vdb mirror", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	vdb_index_become_owner(heap, &former);
	make(heap, index, evict);
	CacheInvalidateRelcache(heap);	/* plans were made without it */
	vdb_index_come_back(&former);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
