/*
 * hnsw_build.c
 *	  CREATE INDEX: a graph in memory, then pages in one sweep (hnsw_write.c).
 *
 * The table is read once for the graph, after a small sample of it for the
 * center.  When maintenance_work_mem is full the graph is written, and rows
 * that are left are inserted into pages, still without WAL.  At the end the
 * whole fork is logged.
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

#include "hnsw/hnsw_private.h"
#include "testpoint.h"

/* Rows that determine the center, and how many blocks they come from. */
#define CENTER_ROWS 5000
#define CENTER_BLOCKS 300

/* Fewer rows than this say little about those to come: the center is zero. */
#define CENTER_MIN_ROWS 64

typedef struct HnswBuild
{
	Relation	heap;
	Relation	rel;
	IndexInfo  *info;
	const HnswSupport *support;
	HnswGeometry geometry;
	VdbCodec	codec;
	uint64		rotation_seed;
	float	   *center;
	float	   *vector;			/* scratch, P floats */
	MemoryContext row_context;	/* reset after each row */

	/* sampling */
	double	   *sum;
	int			sampled;
	int			block_rows;		/* taken from this block */
	int			block_limit;

	/* phase in memory */
	HnswGraph	graph;
	ItemPointerData *tids;
	bool		flushed;		/* the graph is on pages */
	HnswIndex  *index;			/* once it is */
	double		indexed;		/* rows */
} HnswBuild;

/* Dimensions of the indexed column, from its type modifier. */
static int
column_dims(Relation rel, const HnswSupport *support)
{
	int			dims = TupleDescAttr(rel->rd_att, 0)->atttypmod;

	if (dims < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare it as %s(n).", support->type_name)));
	if (dims > support->max_dims)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for hnsw index",
						support->max_dims)));
	return dims;
}

static void
init_geometry(Relation rel, const HnswSupport *support, HnswGeometry *g)
{
	const HnswOptions *options = vdb_hnsw_options(rel);
	int			dims = column_dims(rel, support);

	if (options->ef_construction < 2 * options->m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	if (!vdb_hnsw_geometry(g, support->metric, dims, options->m, options->ef_construction))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a node of %d dimensions with m = %d does not fit a page", dims, options->m),
				 errhint("Use a smaller m.")));
}

static uint64
random_seed(const HnswSupport *support)
{
	uint64		seed = 0;

	/* city-block distance does not survive a rotation */
	while (seed == 0 && support->metric != VDB_METRIC_L1)
		seed = pg_prng_uint64(&pg_global_prng_state);
	return seed;
}

/* A row's elements, or NULL for one that is not indexed. */
static const float *
row_elements(HnswBuild *build, Datum *values, bool *isnull)
{
	void	   *must_free;
	int			dims;
	const float *x;

	if (isnull[0])
		return NULL;
	x = build->support->elements(values[0], &dims, &must_free);
	if (dims != (int) build->geometry.dims)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", (int) build->geometry.dims, dims)));
	return x;
}

static void
sample_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	HnswBuild  *build = state;
	const float *x;
	MemoryContext old;

	/* a dead row's out-of-line value may be gone */
	if (!alive || build->block_rows >= build->block_limit)
		return;
	old = MemoryContextSwitchTo(build->row_context);
	x = row_elements(build, values, isnull);
	if (x != NULL)
	{
		vdb_codec_accumulate(&build->codec, x, build->vector, build->sum);
		build->sampled++;
		build->block_rows++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
}

/* Sets the center to the mean of a sample of the table. */
static void
find_center(HnswBuild *build)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(build->heap);
	int			target = Min(blocks, CENTER_BLOCKS);
	BlockSamplerData sampler;

	if (blocks == 0)
		return;
	build->sum = palloc0(build->geometry.P * sizeof(double));
	build->block_limit = (CENTER_ROWS + target - 1) / target;
	BlockSampler_Init(&sampler, blocks, target, pg_prng_uint32(&pg_global_prng_state));
	while (BlockSampler_HasMore(&sampler))
	{
		build->block_rows = 0;
		table_index_build_range_scan(build->heap, build->rel, build->info, false, true, false,
									 BlockSampler_Next(&sampler), 1, sample_row, build, NULL);
	}
	if (build->sampled >= CENTER_MIN_ROWS)
	{
		for (uint32 i = 0; i < build->geometry.P; i++)
		{
			double		mean = build->sum[i] / build->sampled;

			build->center[i] = isfinite((float) mean) ? (float) mean : 0;
		}
	}
	pfree(build->sum);
}

/* A graph that fills maintenance_work_mem, or less for a small table. */
static void
init_graph(HnswBuild *build)
{
	const HnswGeometry *g = &build->geometry;
	Size		budget = (Size) maintenance_work_mem * 1024;
	Size		node = vdb_hnsw_graph_node_bytes(&build->codec, g->m) + sizeof(ItemPointerData);
	uint64		most = (uint64) RelationGetNumberOfBlocks(build->heap) * MaxHeapTuplesPerPage;
	uint64		capacity = Max(budget / node, 64);
	Size		bytes;
	char	   *memory;

	capacity = Min(capacity, Max(most, 64));
	capacity = Min(capacity, (uint64) g->max_extents * g->extent_slots);
	bytes = vdb_hnsw_graph_bytes(&build->codec, g->m, g->ef_construction, (uint32) capacity);
	memory = MemoryContextAllocHuge(CurrentMemoryContext, bytes + 64);
	vdb_hnsw_graph_init(&build->graph, &build->codec, g->m, g->ef_construction,
						(uint32) capacity, pg_prng_uint64(&pg_global_prng_state) | 1,
						(char *) TYPEALIGN(64, memory));
	build->tids = MemoryContextAllocHuge(CurrentMemoryContext, capacity * sizeof(ItemPointerData));
}

/* Turns the graph into pages. */
static void
flush_graph(HnswBuild *build)
{
	VDB_TESTPOINT("hnsw-build-before-write");
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_WRITE);
	build->index = vdb_hnsw_open(build->rel);
	vdb_hnsw_write_graph(build->index, &build->graph, build->tids);
	build->flushed = true;
}

static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	HnswBuild  *build = state;
	MemoryContext old = MemoryContextSwitchTo(build->row_context);
	const float *x = row_elements(build, values, isnull);

	if (x != NULL)
	{
		float		norm = vdb_codec_transform(&build->codec, x, build->vector);

		if (build->support->metric != VDB_METRIC_COSINE || norm > 0)
		{
			if (!build->flushed && build->graph.count == build->graph.capacity)
			{
				ereport(NOTICE,
						(errmsg("hnsw graph no longer fits into maintenance_work_mem after " INT64_FORMAT " tuples",
								(int64) build->indexed),
						 errdetail("Building will take significantly more time."),
						 errhint("Increase maintenance_work_mem to speed up builds.")));
				MemoryContextSwitchTo(old);
				flush_graph(build);
				pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LOAD);
				MemoryContextSwitchTo(build->row_context);
			}
			if (build->flushed)
				vdb_hnsw_insert_vector(build->index, build->vector, norm, tid,
									   vdb_hnsw_draw_layer(build->geometry.m), true);
			else
				build->tids[vdb_hnsw_graph_add(&build->graph, build->vector, norm)] = *tid;
			build->indexed++;
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) build->indexed);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
}

IndexBuildResult *
vdb_hnsw_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HnswBuild  *build = palloc0(sizeof(HnswBuild));

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	build->heap = heap;
	build->rel = rel;
	build->info = info;
	build->support = vdb_hnsw_support(rel);
	init_geometry(rel, build->support, &build->geometry);
	build->rotation_seed = random_seed(build->support);
	build->center = palloc0(build->geometry.P * sizeof(float));
	build->vector = palloc(build->geometry.P * sizeof(float));
	build->row_context = AllocSetContextCreate(context, "hnsw build row", ALLOCSET_DEFAULT_SIZES);
	vdb_codec_init(&build->codec, build->support->metric, build->geometry.dims,
				   build->rotation_seed, build->center);
	find_center(build);
	vdb_codec_init(&build->codec, build->support->metric, build->geometry.dims,
				   build->rotation_seed, build->center);
	vdb_hnsw_create_meta(rel, MAIN_FORKNUM, &build->geometry, build->support->metric,
						 build->rotation_seed, build->center);
	init_graph(build);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LOAD);
	result->heap_tuples = table_index_build_scan(heap, rel, info, true, true, build_row, build, NULL);
	if (!build->flushed)
		flush_graph(build);
	VDB_TESTPOINT("hnsw-build-after-write");
	if (RelationNeedsWAL(rel))
		log_newpage_range(rel, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(rel), true);
	result->index_tuples = build->indexed;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

void
vdb_hnsw_buildempty(Relation rel)
{
	const HnswSupport *support = vdb_hnsw_support(rel);
	HnswGeometry geometry;

	init_geometry(rel, support, &geometry);
	vdb_hnsw_create_meta(rel, INIT_FORKNUM, &geometry, support->metric, random_seed(support), NULL);
}
