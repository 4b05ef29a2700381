/*
 * hnsw_parallel.c
 *	  Building a graph with parallel workers: its shared memory, and what a worker
 *	  does.
 *
 * The graph lies in a segment of its own, which is made before parallel mode is
 * entered, so that too little shared memory is no error.  The workers' context
 * (index_parallel.h) holds how far the build is.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "storage/sharedfileset.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "hnsw/hnsw_build.h"
#include "testpoint.h"

/* Shared memory to leave for the parallel context, for the leader and each worker. */
#define SPARE_BYTES (256 * 1024)

/* What participants share beside the graph. */
typedef struct HnswShared
{
	dsm_handle	graph;
	SharedFileSet files;
	HnswBuildState state;
} HnswShared;

struct HnswParallel
{
	VdbParallel *build;
	dsm_segment *graph;
};

int
vdb_hnsw_plan_workers(Relation heap, const HnswIndex *index, IndexInfo *info, double rows)
{
	const HnswGeometry *g = &index->geometry;

	return vdb_parallel_plan(heap, info, rows * g->ef_construction * g->m * index->codec.hi_bytes);
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

/* Fills what participants share. */
static void
fill_shared(HnswParallel *parallel, HnswBuilder *builder, VdbRowEstimate rows, uint32 capacity,
			int workers)
{
	HnswShared *shared = parallel->build->own;

	shared->graph = dsm_segment_handle(parallel->graph);
	SharedFileSetInit(&shared->files, parallel->build->segment);
	vdb_hnsw_build_state_init(&shared->state, builder, rows, capacity, workers + 1);
	builder->state = &shared->state;
	builder->files = &shared->files.fs;
	vdb_hnsw_builder_init(builder, capacity, dsm_segment_address(parallel->graph));
}

HnswParallel *
vdb_hnsw_begin_parallel(HnswBuilder *builder, VdbRowEstimate rows, int workers)
{
	HnswParallel *parallel;
	uint32		capacity = vdb_hnsw_build_capacity(builder, rows, workers + 1);
	dsm_segment *graph = create_graph_segment(vdb_hnsw_build_bytes(builder->index, capacity), workers);

	if (graph == NULL)
		return NULL;
	parallel = palloc0(sizeof(HnswParallel));
	parallel->graph = graph;
	parallel->build = vdb_parallel_begin(builder->heap, builder->index->rel, builder->info,
										 "vdb_hnsw_build_worker", workers, sizeof(HnswShared));
	if (parallel->build != NULL)
	{
		fill_shared(parallel, builder, rows, capacity, workers);
		builder->workers = vdb_parallel_launch(parallel->build);
		builder->helpers = builder->workers;
	}
	if (builder->workers == 0)
	{
		dsm_detach(graph);
		pfree(parallel);
		builder->files = NULL;
		return NULL;
	}

	/* nobody is to wait for those that there are none of, or that cannot start */
	for (int i = builder->workers; i < parallel->build->context->nworkers; i++)
		BarrierDetach(&builder->state->barrier);
	WaitForParallelWorkersToAttach(parallel->build->context);
	ereport(DEBUG1,
			(errmsg_internal("building index \"%s\" with %d parallel workers, room for %u nodes",
							 RelationGetRelationName(builder->index->rel),
							 builder->workers,
							 capacity)));
	return parallel;
}

TableScanDesc
vdb_hnsw_join_scan(HnswParallel *parallel)
{
	return vdb_parallel_join_scan(parallel->build);
}

void
vdb_hnsw_end_parallel(HnswParallel *parallel, HnswBuilder *builder)
{
	HnswBuildState *state = palloc(sizeof(HnswBuildState));

	/* the memory goes with the context: nothing is written there any more once workers have exited */
	WaitForParallelWorkersToFinish(parallel->build->context);
	*state = *builder->state;
	builder->state = state;
	vdb_parallel_end(parallel->build);
	dsm_detach(parallel->graph);
	pfree(parallel);
}

/* What a worker does: as the leader, but for all that is done once. */
void
vdb_hnsw_build_worker(dsm_segment *context, shm_toc *toc)
{
	VdbParallel *parallel = vdb_parallel_worker_begin(context, toc);
	HnswShared *shared = parallel->own;
	HnswBuilder *builder = palloc0(sizeof(HnswBuilder));
	dsm_segment *graph;

	builder->heap = parallel->heap;
	builder->info = parallel->info;
	builder->index = vdb_hnsw_open(parallel->index);
	builder->number = ParallelWorkerNumber;
	builder->context = CurrentMemoryContext;
	SharedFileSetAttach(&shared->files, context);
	builder->files = &shared->files.fs;
	builder->state = &shared->state;
	graph = dsm_attach(shared->graph);
	if (graph == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not map dynamic shared memory segment")));
	vdb_hnsw_builder_init(builder, 0, dsm_segment_address(graph));
	VDB_TESTPOINT("hnsw-build-worker");
	vdb_hnsw_build_rows(builder, vdb_parallel_join_scan(parallel));
	dsm_detach(graph);
	vdb_parallel_worker_end(parallel);
}
