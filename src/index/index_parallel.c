/*
 * index_parallel.c
 *	  Parallel builds: what does not depend on the access method.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "index/index_parallel.h"

/* What a worker finds in its parallel context. */
#define KEY_SHARED 1
#define KEY_OWN 2
#define KEY_SCAN 3
#define KEY_QUERY_TEXT 4
#define KEY_WAL_USAGE 5
#define KEY_BUFFER_USAGE 6

/*
 * A page of vectors that rows are compared with weighs as much as this part of one that is
 * read: it is in memory.
 */
#define WEIGHT_OF_COMPARED 0.125

struct VdbParallelShared
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
};

/* May the expressions and the condition of an index be evaluated in workers? */
static bool
is_parallel_safe_index(IndexInfo *info)
{
	Query	   *query = makeNode(Query);

	/* a query is what the planner's function takes; it looks at all that is in it */
	query->commandType = CMD_SELECT;
	query->targetList = list_concat_copy(info->ii_Expressions, info->ii_Predicate);
	return max_parallel_hazard(query) == PROPARALLEL_SAFE;
}

/* Blocks of a table, its out-of-line values included. */
static double
count_blocks(Relation heap)
{
	double		blocks = RelationGetNumberOfBlocks(heap);

	if (OidIsValid(heap->rd_rel->reltoastrelid))
	{
		Relation	toast = table_open(heap->rd_rel->reltoastrelid, AccessShareLock);

		blocks += RelationGetNumberOfBlocks(toast);
		table_close(toast, AccessShareLock);
	}
	return blocks;
}

/*
 * The server's own rule, plan_create_index_workers, knows the size of the heap
 * alone, which says little about a build: values may lie elsewhere, and most
 * of the work is done in memory.  So here that counts as well.  The rest is as there.
 */
int
vdb_parallel_plan(Relation heap, IndexInfo *info, double compared)
{
	int			workers = RelationGetParallelWorkers(heap, -1);
	double		blocks;

	if (!IsUnderPostmaster || IsInParallelMode() || max_parallel_maintenance_workers == 0 ||
		heap->rd_rel->relpersistence == RELPERSISTENCE_TEMP || !is_parallel_safe_index(info))
		return 0;
	if (workers != -1)
		return Min(workers, max_parallel_maintenance_workers);
	workers = 0;
	blocks = count_blocks(heap) + compared / BLCKSZ * WEIGHT_OF_COMPARED;
	for (double limit = Max(min_parallel_table_scan_size, 1);
		 blocks >= limit && workers < max_parallel_maintenance_workers; limit *= 3)
		workers++;
	while (workers > 0 && maintenance_work_mem / (workers + 1) < 32 * 1024)
		workers--;
	return workers;
}

/* Says what the parallel context is to hold. */
static void
estimate_context(ParallelContext *context, Relation heap, Snapshot snapshot, Size own_bytes)
{
	shm_toc_estimator *e = &context->estimator;

	shm_toc_estimate_chunk(e, sizeof(VdbParallelShared));
	shm_toc_estimate_chunk(e, own_bytes);
	shm_toc_estimate_chunk(e, table_parallelscan_estimate(heap, snapshot));
	shm_toc_estimate_chunk(e, mul_size(sizeof(WalUsage), context->nworkers));
	shm_toc_estimate_chunk(e, mul_size(sizeof(BufferUsage), context->nworkers));
	shm_toc_estimate_keys(e, 5);
	if (debug_query_string != NULL)
	{
		shm_toc_estimate_chunk(e, strlen(debug_query_string) + 1);
		shm_toc_estimate_keys(e, 1);
	}
}

/* Room in the parallel context under a key. */
static void *
allocate(ParallelContext *context, uint64 key, Size bytes)
{
	void	   *chunk = shm_toc_allocate(context->toc, bytes);

	shm_toc_insert(context->toc, key, chunk);
	return chunk;
}

static void
fill_context(VdbParallel *parallel, Size own_bytes)
{
	ParallelContext *context = parallel->context;

	parallel->shared = allocate(context, KEY_SHARED, sizeof(VdbParallelShared));
	parallel->shared->heap = RelationGetRelid(parallel->heap);
	parallel->shared->index = RelationGetRelid(parallel->index);
	parallel->shared->concurrent = parallel->info->ii_Concurrent;
	parallel->own = allocate(context, KEY_OWN, own_bytes);
	memset(parallel->own, 0, own_bytes);
	parallel->scan = allocate(context, KEY_SCAN,
							  table_parallelscan_estimate(parallel->heap, parallel->snapshot));
	table_parallelscan_initialize(parallel->heap, parallel->scan, parallel->snapshot);
	parallel->wal_usage = allocate(context, KEY_WAL_USAGE,
								   mul_size(sizeof(WalUsage), context->nworkers));
	parallel->buffer_usage = allocate(context, KEY_BUFFER_USAGE,
									  mul_size(sizeof(BufferUsage), context->nworkers));
	if (debug_query_string != NULL)
		strcpy(allocate(context, KEY_QUERY_TEXT, strlen(debug_query_string) + 1), debug_query_string);
}

/* Takes down what vdb_parallel_begin set up, when all workers have exited. */
static void
destroy_parallel(VdbParallel *parallel)
{
	if (IsMVCCSnapshot(parallel->snapshot))
		UnregisterSnapshot(parallel->snapshot);
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	pfree(parallel);
}

VdbParallel *
vdb_parallel_begin(Relation heap, Relation index, IndexInfo *info, const char *worker, int workers,
				   Size own_bytes)
{
	VdbParallel *parallel = palloc0(sizeof(VdbParallel));

	parallel->heap = heap;
	parallel->index = index;
	parallel->info = info;
	EnterParallelMode();
	/* named as in the extension's own functions: the server may look elsewhere for other names */
	parallel->context = CreateParallelContext("$libdir/vdb", worker, workers);

	/* rows that died recently belong into an index that is not built concurrently */
	parallel->snapshot = info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	estimate_context(parallel->context, heap, parallel->snapshot, own_bytes);
	InitializeParallelDSM(parallel->context);
	parallel->segment = parallel->context->seg;
	if (parallel->segment == NULL)
	{
		destroy_parallel(parallel);
		return NULL;
	}
	fill_context(parallel, own_bytes);
	return parallel;
}

int
vdb_parallel_launch(VdbParallel *parallel)
{
	int			launched;

	LaunchParallelWorkers(parallel->context);
	launched = parallel->context->nworkers_launched;
	if (launched == 0)
		destroy_parallel(parallel);
	return launched;
}

TableScanDesc
vdb_parallel_join_scan(VdbParallel *parallel)
{
	return table_beginscan_parallel(parallel->heap, parallel->scan);
}

void
vdb_parallel_note_scan(VdbParallelScan *scan, const IndexInfo *info, double heap_tuples)
{
	SpinLockAcquire(&scan->mutex);
	scan->heap_tuples += heap_tuples;
	scan->broken_hot_chain |= info->ii_BrokenHotChain;
	SpinLockRelease(&scan->mutex);
}

void
vdb_parallel_end(VdbParallel *parallel)
{
	WaitForParallelWorkersToFinish(parallel->context);
	for (int i = 0; i < parallel->context->nworkers_launched; i++)
		InstrAccumParallelQuery(&parallel->buffer_usage[i], &parallel->wal_usage[i]);
	destroy_parallel(parallel);
}

VdbParallel *
vdb_parallel_worker_begin(dsm_segment *segment, shm_toc *toc)
{
	VdbParallel *parallel = palloc0(sizeof(VdbParallel));
	VdbParallelShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY_TEXT, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	parallel->segment = segment;
	parallel->shared = shared;
	parallel->own = shm_toc_lookup(toc, KEY_OWN, false);
	parallel->scan = shm_toc_lookup(toc, KEY_SCAN, false);
	parallel->wal_usage = shm_toc_lookup(toc, KEY_WAL_USAGE, false);
	parallel->buffer_usage = shm_toc_lookup(toc, KEY_BUFFER_USAGE, false);
	parallel->heap = table_open(shared->heap, shared->concurrent ? ShareUpdateExclusiveLock : ShareLock);
	parallel->index = index_open(shared->index, shared->concurrent ? RowExclusiveLock : AccessExclusiveLock);
	parallel->info = BuildIndexInfo(parallel->index);
	parallel->info->ii_Concurrent = shared->concurrent;
	InstrStartParallelQuery();
	return parallel;
}

void
vdb_parallel_worker_end(VdbParallel *parallel)
{
	InstrEndParallelQuery(&parallel->buffer_usage[ParallelWorkerNumber],
						  &parallel->wal_usage[ParallelWorkerNumber]);
	index_close(parallel->index, parallel->shared->concurrent ? RowExclusiveLock : AccessExclusiveLock);
	table_close(parallel->heap, parallel->shared->concurrent ? ShareUpdateExclusiveLock : ShareLock);
}
