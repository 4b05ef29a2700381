/*
 * hnsw_parallel.c
 *	  Building an index with parallel workers: how many, their shared memory,
 *	  and what a worker does.
 *
 * The graph lies in a segment of its own, which is made before parallel mode is
 * entered, so that too little shared memory is no error.  The workers' context
 * holds the rest: how far the build is and the shared scan of the table.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_proc.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/sharedfileset.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "hnsw/hnsw_build.h"
#include "testpoint.h"

/* What a worker finds in its parallel context. */
#define KEY_SHARED 1
#define KEY_SCAN 2
#define KEY_QUERY_TEXT 3
#define KEY_WAL_USAGE 4
#define KEY_BUFFER_USAGE 5

/* Shared memory to leave for that context, for the leader and each worker. */
#define SPARE_BYTES (256 * 1024)

/*
 * A vector that a new one is compared with weighs as much as this part of a
 * page that is read: it is in memory.
 */
#define WEIGHT_OF_COMPARED 0.125

typedef struct HnswShared
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
	dsm_handle	graph;
	SharedFileSet files;
	HnswBuildState state;
} HnswShared;

struct HnswParallel
{
	ParallelContext *context;
	dsm_segment *segment;		/* the graph's */
	Snapshot	snapshot;
	HnswShared *shared;
	ParallelTableScanDesc scan;
	WalUsage   *wal_usage;
	BufferUsage *buffer_usage;
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
 * of the work is done in memory.  So here each row counts as well, for the
 * vectors that it is compared with.  The rest is as there.
 */
int
vdb_hnsw_plan_workers(Relation heap, const HnswIndex *index, IndexInfo *info, double rows)
{
	const HnswGeometry *g = &index->geometry;
	double		compared = (double) g->ef_construction * g->m * index->codec.hi_bytes / BLCKSZ;
	int			workers = RelationGetParallelWorkers(heap, -1);
	double		blocks;

	if (!IsUnderPostmaster || IsInParallelMode() || max_parallel_maintenance_workers == 0 ||
		heap->rd_rel->relpersistence == RELPERSISTENCE_TEMP || !is_parallel_safe_index(info))
		return 0;
	if (workers != -1)
		return Min(workers, max_parallel_maintenance_workers);
	workers = 0;
	blocks = count_blocks(heap) + rows * compared * WEIGHT_OF_COMPARED;
	for (double limit = Max(min_parallel_table_scan_size, 1);
		 blocks >= limit && workers < max_parallel_maintenance_workers; limit *= 3)
		workers++;
	while (workers > 0 && maintenance_work_mem / (workers + 1) < 32 * 1024)
		workers--;
	return workers;
}

/*
 * A segment of shared memory that belongs to the current resource owner, or
 * NULL and why there is none, in the current memory context.
 */
static dsm_segment *
create_segment(Size bytes, const char **reason)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ResourceOwner trial = ResourceOwnerCreate(owner, "hnsw build");
	dsm_segment *segment = NULL;

	/* what a failure leaves behind belongs to an owner that goes */
	CurrentResourceOwner = trial;
	*reason = "too many dynamic shared memory segments";
	PG_TRY();
	{
		segment = dsm_create(bytes, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*reason = CopyErrorData()->message;
		FlushErrorState();
	}
	PG_END_TRY();
	if (segment != NULL)
		dsm_pin_mapping(segment);
	CurrentResourceOwner = owner;
	ResourceOwnerRelease(trial, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(trial, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(trial, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(trial);
	if (segment != NULL)
		dsm_unpin_mapping(segment);

	/* it may have been a request to cancel */
	CHECK_FOR_INTERRUPTS();
	return segment;
}

/*
 * A segment for the graph, with enough left for the rest of what workers need.
 * NULL, after a warning, when there is too little.
 */
static dsm_segment *
create_graph_segment(Size bytes, int workers)
{
	const char *reason;
	dsm_segment *segment = create_segment(bytes, &reason);

	if (segment != NULL)
	{
		dsm_segment *spare = create_segment(SPARE_BYTES * (workers + 1), &reason);

		if (spare != NULL)
		{
			dsm_detach(spare);
			return segment;
		}
		dsm_detach(segment);
	}
	ereport(WARNING,
			(errmsg("not enough shared memory to build the index in parallel"),
			 errdetail("%zu kB are needed: %s", bytes / 1024, reason),
			 errhint("Enlarge shared memory (on Linux usually /dev/shm), or decrease maintenance_work_mem or max_parallel_maintenance_workers. The index is built by one process.")));
	return NULL;
}

/* Says what the parallel context is to hold. */
static void
estimate_context(ParallelContext *context, Relation heap, Snapshot snapshot)
{
	shm_toc_estimator *e = &context->estimator;

	shm_toc_estimate_chunk(e, sizeof(HnswShared));
	shm_toc_estimate_chunk(e, table_parallelscan_estimate(heap, snapshot));
	shm_toc_estimate_chunk(e, mul_size(sizeof(WalUsage), context->nworkers));
	shm_toc_estimate_chunk(e, mul_size(sizeof(BufferUsage), context->nworkers));
	shm_toc_estimate_keys(e, 4);
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
fill_context(HnswParallel *parallel, HnswBuilder *builder, dsm_handle graph, VdbRowEstimate rows,
			 uint32 capacity)
{
	ParallelContext *context = parallel->context;
	HnswShared *shared = allocate(context, KEY_SHARED, sizeof(HnswShared));

	shared->heap = RelationGetRelid(builder->heap);
	shared->index = RelationGetRelid(builder->index->rel);
	shared->concurrent = builder->info->ii_Concurrent;
	shared->graph = graph;
	SharedFileSetInit(&shared->files, context->seg);
	vdb_hnsw_build_state_init(&shared->state, builder, rows, capacity, context->nworkers + 1);
	parallel->shared = shared;
	parallel->scan = allocate(context, KEY_SCAN,
							  table_parallelscan_estimate(builder->heap, parallel->snapshot));
	table_parallelscan_initialize(builder->heap, parallel->scan, parallel->snapshot);
	parallel->wal_usage = allocate(context, KEY_WAL_USAGE,
								   mul_size(sizeof(WalUsage), context->nworkers));
	parallel->buffer_usage = allocate(context, KEY_BUFFER_USAGE,
									  mul_size(sizeof(BufferUsage), context->nworkers));
	if (debug_query_string != NULL)
		strcpy(allocate(context, KEY_QUERY_TEXT, strlen(debug_query_string) + 1), debug_query_string);
}

/* Takes down what vdb_hnsw_begin_parallel set up, when all workers have exited. */
static void
destroy_parallel(HnswParallel *parallel)
{
	if (IsMVCCSnapshot(parallel->snapshot))
		UnregisterSnapshot(parallel->snapshot);
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	dsm_detach(parallel->segment);
	pfree(parallel);
}

HnswParallel *
vdb_hnsw_begin_parallel(HnswBuilder *builder, VdbRowEstimate rows, int workers)
{
	HnswParallel *parallel;
	ParallelContext *context;
	uint32		capacity = vdb_hnsw_build_capacity(builder, rows, workers + 1);
	dsm_segment *segment = create_graph_segment(vdb_hnsw_build_bytes(builder->index, capacity),
												workers);

	if (segment == NULL)
		return NULL;
	parallel = palloc0(sizeof(HnswParallel));
	EnterParallelMode();
	/* named as in the extension's own functions: the server may look elsewhere for other names */
	context = CreateParallelContext("$libdir/vdb", "vdb_hnsw_build_worker", workers);
	parallel->context = context;
	parallel->segment = segment;

	/* rows that died recently belong into an index that is not built concurrently */
	parallel->snapshot = builder->info->ii_Concurrent ?
		RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	estimate_context(context, builder->heap, parallel->snapshot);
	InitializeParallelDSM(context);
	if (context->seg != NULL)
	{
		fill_context(parallel, builder, dsm_segment_handle(segment), rows, capacity);
		builder->state = &parallel->shared->state;
		builder->files = &parallel->shared->files.fs;
		vdb_hnsw_builder_init(builder, capacity, dsm_segment_address(segment));
		LaunchParallelWorkers(context);
	}
	if (context->nworkers_launched == 0)
	{
		destroy_parallel(parallel);
		builder->files = NULL;
		return NULL;
	}
	builder->workers = context->nworkers_launched;

	/* nobody is to wait for those that there are none of, or that cannot start */
	for (int i = context->nworkers_launched; i < context->nworkers; i++)
		BarrierDetach(&builder->state->barrier);
	WaitForParallelWorkersToAttach(context);
	ereport(DEBUG1,
			(errmsg_internal("building index \"%s\" with %d parallel workers, room for %u nodes",
							 RelationGetRelationName(builder->index->rel),
							 context->nworkers_launched,
							 capacity)));
	return parallel;
}

TableScanDesc
vdb_hnsw_join_scan(HnswParallel *parallel, HnswBuilder *builder)
{
	return table_beginscan_parallel(builder->heap, parallel->scan);
}

void
vdb_hnsw_end_parallel(HnswParallel *parallel, HnswBuilder *builder)
{
	HnswBuildState *state = palloc(sizeof(HnswBuildState));

	WaitForParallelWorkersToFinish(parallel->context);
	for (int i = 0; i < parallel->context->nworkers_launched; i++)
		InstrAccumParallelQuery(&parallel->buffer_usage[i], &parallel->wal_usage[i]);
	*state = *builder->state;
	builder->state = state;
	destroy_parallel(parallel);
}

/* What a worker does: as the leader, but for all that is done once. */
void
vdb_hnsw_build_worker(dsm_segment *context, shm_toc *toc)
{
	HnswShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	WalUsage   *wal_usage = shm_toc_lookup(toc, KEY_WAL_USAGE, false);
	BufferUsage *buffer_usage = shm_toc_lookup(toc, KEY_BUFFER_USAGE, false);
	LOCKMODE	heap_lock = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE	index_lock = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	HnswBuilder *builder = palloc0(sizeof(HnswBuilder));
	dsm_segment *segment;
	Relation	rel;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY_TEXT, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);

	builder->heap = table_open(shared->heap, heap_lock);
	rel = index_open(shared->index, index_lock);
	builder->info = BuildIndexInfo(rel);
	builder->info->ii_Concurrent = shared->concurrent;
	builder->index = vdb_hnsw_open(rel);
	builder->number = ParallelWorkerNumber;
	builder->context = CurrentMemoryContext;
	SharedFileSetAttach(&shared->files, context);
	builder->files = &shared->files.fs;
	builder->state = &shared->state;
	segment = dsm_attach(shared->graph);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not map dynamic shared memory segment")));
	vdb_hnsw_builder_init(builder, 0, dsm_segment_address(segment));
	VDB_TESTPOINT("hnsw-build-worker");

	InstrStartParallelQuery();
	vdb_hnsw_build_rows(builder,
						table_beginscan_parallel(builder->heap, shm_toc_lookup(toc, KEY_SCAN, false)));
	InstrEndParallelQuery(&buffer_usage[ParallelWorkerNumber], &wal_usage[ParallelWorkerNumber]);

	dsm_detach(segment);
	index_close(rel, index_lock);
	table_close(builder->heap, heap_lock);
}
