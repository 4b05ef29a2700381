/*
 * hnsw_fill.c
 *	  What each participant of a build does: rows of the table into the graph,
 *	  then the graph into pages.
 *
 * They go from one to the other together, as soon as the table has no more rows
 * or the graph no more room.  In the latter case they go on and insert the rows
 * that are left into the pages.  Each row goes to one of the two and is counted
 * once: a row that found no room stays in the hands of its participant until
 * there are pages.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "hnsw/hnsw_build.h"
#include "testpoint.h"

static inline Size
graph_bytes(const HnswIndex *index, uint32 capacity)
{
	return TYPEALIGN(64, vdb_hnsw_graph_bytes(&index->codec, index->geometry.m, capacity));
}

Size
vdb_hnsw_build_bytes(const HnswIndex *index, uint32 capacity)
{
	return add_size(graph_bytes(index, capacity), mul_size(capacity, sizeof(ItemPointerData)));
}

uint32
vdb_hnsw_build_capacity(HnswBuilder *builder, double rows, int participants)
{
	const HnswGeometry *g = &builder->index->geometry;
	Size		node = vdb_hnsw_graph_node_bytes(&builder->index->codec, g->m, participants) +
		sizeof(ItemPointerData);
	double		most = (double) g->max_extents * g->extent_slots;
	double		fitting = (double) maintenance_work_mem * 1024 / node;

	builder->memory_is_limit = fitting < Min(rows, most);
	return (uint32) Max(64, Min(fitting, Min(rows, most)));
}

void
vdb_hnsw_build_state_init(HnswBuildState *state, int participants)
{
	memset(state, 0, sizeof(*state));
	BarrierInit(&state->barrier, 0);
	for (int i = 0; i < participants; i++)
		BarrierAttach(&state->barrier);
	pg_atomic_init_u64(&state->indexed, 0);
	SpinLockInit(&state->mutex);
}

void
vdb_hnsw_builder_init(HnswBuilder *builder, uint32 capacity, char *memory)
{
	const HnswIndex *index = builder->index;
	const HnswGeometry *g = &index->geometry;
	char	   *scratch;

	if (capacity > 0)
		vdb_hnsw_graph_init(&builder->graph, &index->codec, g->m, g->ef_construction, capacity, memory);
	else
		vdb_hnsw_graph_attach(&builder->graph, &index->codec, memory);
	capacity = builder->graph.capacity;
	builder->tids = (ItemPointerData *) (memory + graph_bytes(index, capacity));
	scratch = MemoryContextAllocHuge(CurrentMemoryContext,
									 vdb_hnsw_participant_bytes(g->m, g->ef_construction, capacity) + 64);
	vdb_hnsw_participant_init(&builder->participant, &builder->graph,
							  pg_prng_uint64(&pg_global_prng_state) | 1,
							  (char *) TYPEALIGN(64, scratch));
	builder->row_context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build row",
												 ALLOCSET_DEFAULT_SIZES);
}

static void
report_progress(HnswBuilder *builder)
{
	if (builder->leads)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
									 (int64) pg_atomic_read_u64(&builder->state->indexed));
}

/* Waits until all participants are here. */
static void
meet(HnswBuilder *builder)
{
	BarrierArriveAndWait(&builder->state->barrier, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
}

static void
report_full_graph(HnswBuilder *builder)
{
	if (builder->memory_is_limit)
		ereport(NOTICE,
				(errmsg("hnsw graph no longer fits into maintenance_work_mem after %u tuples",
						builder->graph.capacity),
				 errdetail("Building will take significantly more time."),
				 errhint("Increase maintenance_work_mem to speed up builds.")));
	else
		ereport(NOTICE,
				(errmsg("hnsw graph has no room for more than %u tuples", builder->graph.capacity),
				 errdetail("The table has more rows than a sample of its blocks suggested. Building will take more time.")));
}

/*
 * Turns the graph into pages, together with all others.  full: this one has a
 * row that found no room.
 */
static void
write_graph(HnswBuilder *builder, bool full)
{
	HnswBuildState *state = builder->state;
	HnswWriter	writer;

	if (full)
		state->full = true;
	meet(builder);
	if (builder->leads)
	{
		report_progress(builder);
		VDB_TESTPOINT("hnsw-build-before-write");
		if (state->full)
			report_full_graph(builder);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_WRITE);
	}
	vdb_hnsw_writer_init(&writer, builder->index);
	vdb_hnsw_write_nodes(&writer, &builder->graph, builder->tids, builder->leads);
	meet(builder);
	if (builder->leads)
	{
		vdb_hnsw_write_uppers(&writer, &builder->graph, NULL);
		if (state->full)
		{
			pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LOAD);
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, 0);
		}
	}
	meet(builder);
	builder->written = true;
}

/* Adds a vector in code space: to the graph as long as that has room. */
static void
add_vector(HnswBuilder *builder, const void *vector, float norm, ItemPointer tid)
{
	uint32		nid = HNSW_NO_NODE;

	if (!builder->written)
	{
		nid = vdb_hnsw_graph_add(&builder->participant, vector, norm);
		if (nid != HNSW_NO_NODE)
			builder->tids[nid] = *tid;
		else
			write_graph(builder, true);
	}
	if (nid == HNSW_NO_NODE)
	{
		/* others extend the index and move its entry point */
		vdb_hnsw_refresh(builder->index);
		vdb_hnsw_insert_vector(builder->index, vector, norm, tid,
							   vdb_hnsw_draw_layer(builder->index->geometry.m), true);
	}
	pg_atomic_fetch_add_u64(&builder->state->indexed, 1);
	report_progress(builder);
}

static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	HnswBuilder *builder = arg;
	HnswIndex  *index = builder->index;
	MemoryContext old;
	void	   *x;
	float		norm;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(builder->row_context);
	x = vdb_hnsw_transform(index->support, &index->codec, values[0], &norm);
	if (x != NULL)
		add_vector(builder, x, norm, tid);
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->row_context);
}

void
vdb_hnsw_build_rows(HnswBuilder *builder, TableScanDesc scan)
{
	HnswBuildState *state = builder->state;
	double		rows = table_index_build_scan(builder->heap, builder->index->rel, builder->info, true,
											  builder->leads, build_row, builder, scan);

	if (!builder->written)
		write_graph(builder, false);
	SpinLockAcquire(&state->mutex);
	state->heap_tuples += rows;
	state->broken_hot_chain |= builder->info->ii_BrokenHotChain;
	SpinLockRelease(&state->mutex);
}
