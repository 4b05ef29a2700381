/*
 * hnsw_build.c
 *	  CREATE INDEX: a graph in memory, then pages in one sweep.
 *
 * The table is read once for the graph, after a small sample of it for the
 * codec.  At the end the whole fork is logged.
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "hnsw/hnsw_build.h"
#include "mirror/mirror.h"
#include "stats/stats.h"
#include "testpoint.h"

/* Chooses the geometry, and with it the codec's node_coarse. */
static void
init_geometry(Relation rel, VdbCodec *codec, HnswGeometry *g)
{
	const HnswOptions *options = vdb_hnsw_options(rel);
	uint32		attr_bytes = vdb_index_attributes(rel, CurrentMemoryContext)->bytes;

	if (options->ef_construction < 2 * options->m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	if (!vdb_hnsw_choose_geometry(g, codec, options->m, options->ef_construction, attr_bytes))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a node of %u dimensions with m = %d does not fit a page", codec->dims,
						options->m),
				 attr_bytes > 0 ? errdetail("Further columns take %u bytes.", attr_bytes) : 0,
				 errhint("Use a smaller m.")));
}

/* Gives a builder a graph in private memory. */
static void
init_alone(HnswBuilder *builder, VdbRowEstimate rows)
{
	uint32		capacity = vdb_hnsw_build_capacity(builder, rows, 1);
	Size		bytes = vdb_hnsw_build_bytes(builder->index, capacity);
	char	   *memory = MemoryContextAllocHuge(CurrentMemoryContext, bytes + 64);

	builder->state = palloc(sizeof(HnswBuildState));
	vdb_hnsw_build_state_init(builder->state, builder, rows, capacity, 1);
	vdb_hnsw_builder_init(builder, capacity, (char *) TYPEALIGN(64, memory));
}

/* Indexes the rows of the table, alone or with workers. */
static void
index_rows(HnswBuilder *builder, VdbRowEstimate rows)
{
	HnswParallel *parallel = NULL;
	int			workers = vdb_hnsw_plan_workers(builder->heap, builder->index, builder->info,
												rows.expected);

	if (workers > 0)
		parallel = vdb_hnsw_begin_parallel(builder, rows, workers);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LOAD);
	if (parallel != NULL)
	{
		vdb_hnsw_build_rows(builder, vdb_hnsw_join_scan(parallel));
		vdb_hnsw_end_parallel(parallel, builder);
	}
	else
	{
		init_alone(builder, rows);
		vdb_hnsw_build_rows(builder, NULL);
	}
}

IndexBuildResult *
vdb_hnsw_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const VdbSupport *support = vdb_index_support(rel);
	HnswBuilder *builder = palloc0(sizeof(HnswBuilder));
	HnswGeometry geometry;
	VdbRowEstimate rows;
	VdbCodec	codec;
	instr_time	begun;

	INSTR_TIME_SET_CURRENT(begun);
	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	vdb_mirror_forget(rel);
	rows = vdb_hnsw_choose_codec(&codec, support, vdb_index_column_dims(rel, support), heap, rel, info);
	init_geometry(rel, &codec, &geometry);
	vdb_hnsw_create_meta(rel, MAIN_FORKNUM, &geometry, &codec);

	builder->heap = heap;
	builder->info = info;
	builder->index = vdb_hnsw_open(rel);
	builder->leads = true;
	builder->context = context;
	index_rows(builder, rows);
	VDB_TESTPOINT("hnsw-build-after-write");
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_CALIBRATE);
	vdb_hnsw_calibrate_build(builder->index);
	vdb_log_new_index(rel);
	info->ii_BrokenHotChain = builder->state->scan.broken_hot_chain;
	result->heap_tuples = builder->state->scan.heap_tuples;
	result->index_tuples = (double) pg_atomic_read_u64(&builder->state->indexed);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_note_build(RelationGetRelid(rel), begun);
	return result;
}

void
vdb_hnsw_buildempty(Relation rel)
{
	const VdbSupport *support = vdb_index_support(rel);
	HnswGeometry geometry;
	VdbCodec	codec;

	vdb_hnsw_default_codec(&codec, support, vdb_index_column_dims(rel, support));
	init_geometry(rel, &codec, &geometry);
	vdb_hnsw_create_meta(rel, INIT_FORKNUM, &geometry, &codec);
}
