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
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_private.h"
#include "testpoint.h"

typedef struct HnswBuild
{
	Relation	heap;
	Relation	rel;
	IndexInfo  *info;
	const HnswSupport *support;
	HnswGeometry geometry;
	VdbCodec	codec;
	MemoryContext context;		/* of the build */
	MemoryContext row_context;	/* reset after each row */

	/* phase in memory */
	HnswGraph	graph;
	HnswParticipant participant;
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

	/* accepted by the operator classes of bit, as one can stand for the other */
	if (TupleDescAttr(rel->rd_att, 0)->atttypid == VARBITOID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type not supported for hnsw index"),
				 errdetail("The length of type bit varying is not fixed."),
				 errhint("Use bit(n), or index an expression: ((column)::bit(n)).")));
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
init_geometry(Relation rel, const VdbCodec *codec, HnswGeometry *g)
{
	const HnswOptions *options = vdb_hnsw_options(rel);

	if (options->ef_construction < 2 * options->m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	if (!vdb_hnsw_geometry(g, codec, options->m, options->ef_construction))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a node of %u dimensions with m = %d does not fit a page", codec->dims,
						options->m),
				 errhint("Use a smaller m.")));
}

/* Memory on a cache line. */
static char *
alloc_aligned(Size bytes)
{
	return (char *) TYPEALIGN(64, MemoryContextAllocHuge(CurrentMemoryContext, bytes + 64));
}

/* A graph that fills maintenance_work_mem, or less for a small table. */
static void
init_graph(HnswBuild *build)
{
	const HnswGeometry *g = &build->geometry;
	Size		budget = (Size) maintenance_work_mem * 1024;
	Size		node = vdb_hnsw_graph_node_bytes(&build->codec, g->m, 1) + sizeof(ItemPointerData);
	uint64		most = (uint64) RelationGetNumberOfBlocks(build->heap) * MaxHeapTuplesPerPage;
	uint64		capacity = Max(budget / node, 64);

	capacity = Min(capacity, Max(most, 64));
	capacity = Min(capacity, (uint64) g->max_extents * g->extent_slots);
	vdb_hnsw_graph_init(&build->graph, &build->codec, g->m, g->ef_construction, (uint32) capacity,
						alloc_aligned(vdb_hnsw_graph_bytes(&build->codec, g->m, (uint32) capacity)));
	vdb_hnsw_participant_init(&build->participant, &build->graph,
							  pg_prng_uint64(&pg_global_prng_state) | 1,
							  alloc_aligned(vdb_hnsw_participant_bytes(g->m, g->ef_construction,
																	   (uint32) capacity)));
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

/* Adds a vector in code space: to the graph as long as that has room. */
static void
add_vector(HnswBuild *build, const void *vector, float norm, ItemPointer tid)
{
	uint32		nid = HNSW_NO_NODE;

	if (!build->flushed)
	{
		nid = vdb_hnsw_graph_add(&build->participant, vector, norm);
		if (nid == HNSW_NO_NODE)
		{
			MemoryContext old = MemoryContextSwitchTo(build->context);

			ereport(NOTICE,
					(errmsg("hnsw graph no longer fits into maintenance_work_mem after " INT64_FORMAT " tuples",
							(int64) build->indexed),
					 errdetail("Building will take significantly more time."),
					 errhint("Increase maintenance_work_mem to speed up builds.")));
			flush_graph(build);
			pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LOAD);
			MemoryContextSwitchTo(old);
		}
	}
	if (nid != HNSW_NO_NODE)
		build->tids[nid] = *tid;
	else
		vdb_hnsw_insert_vector(build->index, vector, norm, tid,
							   vdb_hnsw_draw_layer(build->geometry.m), true);
	build->indexed++;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) build->indexed);
}

static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	HnswBuild  *build = state;
	MemoryContext old = MemoryContextSwitchTo(build->row_context);
	void	   *x = NULL;
	float		norm;

	if (!isnull[0])
		x = vdb_hnsw_transform(build->support, &build->codec, values[0], &norm);
	if (x != NULL)
		add_vector(build, x, norm, tid);
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
	build->context = context;
	build->heap = heap;
	build->rel = rel;
	build->info = info;
	build->support = vdb_hnsw_support(rel);
	build->row_context = AllocSetContextCreate(context, "hnsw build row", ALLOCSET_DEFAULT_SIZES);
	vdb_hnsw_choose_codec(&build->codec, build->support, column_dims(rel, build->support), heap, rel,
						  info);
	init_geometry(rel, &build->codec, &build->geometry);
	vdb_hnsw_create_meta(rel, MAIN_FORKNUM, &build->geometry, &build->codec);
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
	VdbCodec	codec;

	vdb_hnsw_default_codec(&codec, support, column_dims(rel, support));
	init_geometry(rel, &codec, &geometry);
	vdb_hnsw_create_meta(rel, INIT_FORKNUM, &geometry, &codec);
}
