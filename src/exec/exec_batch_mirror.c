/*
 * exec_batch_mirror.c
 *	  The nearest rows of a batch of queries, found by a mirror of their vectors.
 *
 * One pass over the mirror serves a tile of queries; then each has its candidates measured.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "exec/exec_block.h"
#include "exec/exec_mirror.h"

/* Queries of one pass. */
#define TILE 128

/* What measures rows for all queries. */
typedef struct Reader
{
	Relation	heap;
	Snapshot	snapshot;
	const VdbSupport *support;
	IndexInfo  *info;			/* what the index is of */
	EState	   *estate;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	VdbToast	toast;
	MemoryContext tile_context;	/* reset after each tile */
	const VdbBatchQuery *query;	/* that rows are measured for */
} Reader;

/* A VdbExactMeasure. */
static bool
measure_row(void *state, ItemPointer tid, VdbRankedRow *row, double *distance)
{
	Reader	   *reader = state;
	MemoryContext old;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	bool		call_again = false;

	CHECK_FOR_INTERRUPTS();
	if (!table_index_fetch_tuple(reader->fetch, tid, reader->snapshot, reader->slot, &call_again, NULL))
		return false;
	ResetPerTupleExprContext(reader->estate);
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(reader->estate));
	FormIndexDatum(reader->info, reader->slot, reader->estate, values, isnull);
	if (!isnull[0])
	{
		Datum		value = vdb_toast_read(&reader->toast, values[0]);

		*distance = reader->support->distance(value, reader->query->value);
		*row = vdb_ranked_row(*distance, false, &reader->slot->tts_tid);
	}
	MemoryContextSwitchTo(old);
	return !isnull[0];
}

/* Takes the nearest of a query that has candidates; false where the mirror is gone. */
static bool
take_nearest(Reader *reader, VdbExactMirror *mirror, VdbBatchQuery *query)
{
	VdbNearest *nearest = &query->nearest;
	VdbExactStep step = VDB_EXACT_ROW;

	reader->query = query;
	while (nearest->count < nearest->k)
	{
		VdbRankedRow row;
		VdbNearRow *out = &nearest->rows[nearest->count];

		step = vdb_exact_mirror_next(mirror, &row, &out->distance);
		if (step != VDB_EXACT_ROW)
			break;
		vdb_ranked_place(&row, &out->tid);
		nearest->count++;
	}
	return step != VDB_EXACT_GONE;
}

static bool
search_tile(Reader *reader, Relation index, VdbBatchQuery *queries, int count)
{
	VdbExactMirror *mirrors[TILE];
	Size		bytes = work_mem * (Size) 1024 / count;

	for (int i = 0; i < count; i++)
	{
		mirrors[i] = vdb_exact_mirror_begin(index, reader->snapshot, queries[i].value, queries[i].nearest.k,
											bytes, reader->tile_context, measure_row, reader);
		if (mirrors[i] == NULL)
			return false;
	}
	if (!vdb_exact_mirror_begin_all(mirrors, count))
		return false;
	for (int i = 0; i < count; i++)
	{
		if (!take_nearest(reader, mirrors[i], &queries[i]))
			return false;
	}
	return true;
}

/* Opens what is closed by close_reader(), and after an error by the server. */
static void
open_reader(Reader *reader, Relation heap, Relation index, const VdbSupport *support)
{
	memset(reader, 0, sizeof(*reader));
	reader->heap = heap;
	reader->snapshot = GetActiveSnapshot();
	reader->support = support;
	reader->info = BuildIndexInfo(index);
	reader->estate = CreateExecutorState();
	reader->slot = table_slot_create(heap, NULL);
	GetPerTupleExprContext(reader->estate)->ecxt_scantuple = reader->slot;
	reader->fetch = table_index_fetch_begin(heap);
	reader->toast.context = CurrentMemoryContext;
	reader->tile_context = AllocSetContextCreate(CurrentMemoryContext, "vdb batch tile", ALLOCSET_DEFAULT_SIZES);
}

static void
close_reader(Reader *reader)
{
	vdb_toast_close(&reader->toast);
	table_index_fetch_end(reader->fetch);
	ExecDropSingleTupleTableSlot(reader->slot);
	FreeExecutorState(reader->estate);
	MemoryContextDelete(reader->tile_context);
}

bool
vdb_batch_search_mirror(Relation heap, Relation index, const VdbSupport *support, VdbBatchQuery *queries, int count)
{
	Reader		reader;
	bool		found = true;

	open_reader(&reader, heap, index, support);
	PredicateLockRelation(heap, reader.snapshot);
	for (int first = 0; first < count && found; first += TILE)
	{
		found = search_tile(&reader, index, queries + first, Min(count - first, TILE));
		MemoryContextReset(reader.tile_context);
	}
	close_reader(&reader);

	/* the table has them all, from the first on */
	for (int i = 0; i < count && !found; i++)
		queries[i].nearest.count = 0;
	if (found)
		pgstat_count_index_scan(index);
	return found;
}
