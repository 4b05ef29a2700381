/*
 * hnsw_fill.c
 *	  What each participant of a build does: codes of the table's rows into the
 *	  graph, then nodes are linked, then the graph goes to pages.
 *
 * They go from one to the other together.  Before nodes are linked, when the table
 * has no more rows, the leader has equal ones share a node.
 *
 * Where the graph has no room for all rows, they go to temporary files as codes,
 * of each participant one, and the graph is built from there in partitions.
 * Mostly that is known before the first row is read.  If it turns out later, the
 * leader empties the graph into its file, and all go on from there.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "hnsw/hnsw_build.h"
#include "pace.h"
#include "testpoint.h"

static inline Size
graph_bytes(const HnswIndex *index, uint32 capacity)
{
	return TYPEALIGN(64, vdb_hnsw_graph_bytes(&index->codec, index->geometry.m, capacity));
}

static inline Size
tids_bytes(uint32 capacity)
{
	return TYPEALIGN(64, mul_size(capacity, sizeof(ItemPointerData)));
}

static inline Size
hashes_bytes(uint32 capacity)
{
	return TYPEALIGN(64, mul_size(capacity, sizeof(uint32)));
}

static inline Size
attributes_bytes(const HnswIndex *index, uint32 capacity)
{
	return TYPEALIGN(64, mul_size(capacity, index->geometry.attr_bytes));
}

Size
vdb_hnsw_build_bytes(const HnswIndex *index, uint32 capacity)
{
	Size		bytes = graph_bytes(index, capacity);

	bytes = add_size(bytes, tids_bytes(capacity));
	bytes = add_size(bytes, hashes_bytes(capacity));
	bytes = add_size(bytes, attributes_bytes(index, capacity));
	return add_size(bytes, vdb_hnsw_batch_bytes(capacity));
}

Size
vdb_hnsw_build_row_bytes(const HnswIndex *index)
{
	return vdb_hnsw_row_bytes(&index->codec, index->geometry.attr_bytes);
}

/* Bytes of a node, with what participants have for each. */
static double
node_bytes(const HnswIndex *index, int participants)
{
	return vdb_hnsw_graph_node_bytes(&index->codec, index->geometry.m, participants) +
		sizeof(ItemPointerData) + sizeof(uint32) + index->geometry.attr_bytes + 2 * sizeof(uint32);
}

/*
 * What participants need to link nodes at once, or 0 where they are linked one by
 * one: in little memory, which the graph shall have, or if lists are short.
 */
static double
batch_bytes(const HnswIndex *index, int participants)
{
	double		memory = maintenance_work_mem * 1024.0;
	double		bytes = (double) participants *
		vdb_hnsw_link_scratch_bytes(index, (uint32) Min(memory / node_bytes(index, participants), 1e9));

	return vdb_hnsw_batch_serves(&index->codec, index->geometry.m) && bytes < memory / 4 ? bytes : 0;
}

/* Nodes of a graph in a share of maintenance_work_mem. */
static double
graph_capacity(const HnswBuilder *builder, double share, int participants)
{
	double		memory = maintenance_work_mem * 1024.0;

	return (memory - batch_bytes(builder->index, participants)) * share /
		node_bytes(builder->index, participants);
}

uint32
vdb_hnsw_build_capacity(const HnswBuilder *builder, VdbRowEstimate rows, int participants)
{
	const HnswGeometry *g = &builder->index->geometry;
	double		wanted = Min(rows.most, (double) g->max_extents * g->extent_slots);

	if (graph_capacity(builder, 1, participants) < wanted)
		wanted = graph_capacity(builder, 1 - HNSW_SORT_SHARE, participants);
	return (uint32) Max(64, wanted);
}

void
vdb_hnsw_build_state_init(HnswBuildState *state, const HnswBuilder *builder, VdbRowEstimate rows,
						  uint32 capacity, int participants)
{
	memset(state, 0, sizeof(*state));
	BarrierInit(&state->barrier, 0);
	for (int i = 0; i < participants; i++)
		BarrierAttach(&state->barrier);
	state->spills = rows.expected > capacity;
	state->batch = batch_bytes(builder->index, participants) > 0;
	pg_atomic_init_u64(&state->indexed, 0);
	pg_atomic_init_u32(&state->next, 0);
	SpinLockInit(&state->scan.mutex);
}

void
vdb_hnsw_builder_init(HnswBuilder *builder, uint32 capacity, char *memory)
{
	const HnswIndex *index = builder->index;
	const HnswGeometry *g = &index->geometry;

	builder->memory = memory;
	if (capacity > 0)
		vdb_hnsw_graph_init(&builder->graph, &index->codec, g->m, g->ef_construction, capacity, memory);
	else
		vdb_hnsw_graph_attach(&builder->graph, &index->codec, memory);
	capacity = builder->graph.capacity;
	memory += graph_bytes(index, capacity);
	builder->tids = (ItemPointerData *) memory;
	memory += tids_bytes(capacity);
	builder->hashes = (uint32 *) memory;
	memory += hashes_bytes(capacity);
	builder->attributes = (uint8 *) memory;
	memory += attributes_bytes(index, capacity);
	vdb_hnsw_batch_attach(&builder->batch, &builder->graph, memory);
	builder->scratch = MemoryContextAllocHuge(builder->context,
											  vdb_hnsw_participant_bytes(g->m, g->ef_construction, capacity) + 64);
	vdb_hnsw_participant_init(&builder->participant, &builder->graph,
							  pg_prng_uint64(&pg_global_prng_state) | 1,
							  (char *) TYPEALIGN(64, builder->scratch));
	if (builder->row_context == NULL)
		builder->row_context = AllocSetContextCreate(builder->context, "hnsw build row",
													 ALLOCSET_DEFAULT_SIZES);
}

bool
vdb_hnsw_builder_enlarge(HnswBuilder *builder, uint64 rows)
{
	HnswIndex  *index = builder->index;
	uint32		present = builder->graph.capacity;
	double		most = graph_capacity(builder, 1 - HNSW_SORT_SHARE, 1);
	uint32		capacity = (uint32) Min((double) rows, Max(0, most - present));
	char	   *memory;

	/* one process with much memory is better than several with next to none */
	if (capacity <= present || (builder->workers > 0 && capacity / 2 < present))
		return false;
	pfree(builder->scratch);
	memory = MemoryContextAllocHuge(builder->context, vdb_hnsw_build_bytes(index, capacity) + 64);
	vdb_hnsw_builder_init(builder, capacity, (char *) TYPEALIGN(64, memory));
	return true;
}

void
vdb_hnsw_build_meet(HnswBuilder *builder)
{
	BarrierArriveAndWait(&builder->state->barrier, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
}

void
vdb_hnsw_name_rows(char name[MAXPGPATH], int worker)
{
	snprintf(name, MAXPGPATH, "rows%d", worker);
}

/* Has rows go to a file from now on. */
static void
begin_spilling(HnswBuilder *builder)
{
	Size		row_bytes = vdb_hnsw_build_row_bytes(builder->index);
	MemoryContext old = MemoryContextSwitchTo(builder->context);

	if (builder->leads)
		vdb_hnsw_rows_create(&builder->rows, row_bytes);
	else
	{
		char		name[MAXPGPATH];

		vdb_hnsw_name_rows(name, builder->number);
		vdb_hnsw_rows_create_shared(&builder->rows, row_bytes, builder->files, name);
	}
	builder->spills = true;
	MemoryContextSwitchTo(old);
}

/* A row of the table on its way into the graph or a file. */
typedef struct TableRow
{
	ItemPointer tid;
	uint32		hash;			/* of the value */
	const void *vector;			/* in code space */
	float		norm;			/* as the transformation returned it */
	const uint8 *attributes;
} TableRow;

static void
spill_row(HnswBuilder *builder, const TableRow *from)
{
	const VdbCodec *codec = &builder->index->codec;
	HnswRow    *row = builder->rows.row;

	row->tid = *from->tid;
	row->hash = from->hash;
	row->factors = vdb_encode_node(codec, from->vector, from->norm, vdb_hnsw_row_hi(row),
								   vdb_hnsw_row_lo(codec, row));
	memcpy(vdb_hnsw_row_attributes(codec, row), from->attributes, builder->index->geometry.attr_bytes);
	vdb_hnsw_rows_write(&builder->rows);
}

/* Empties the graph into the leader's file. */
static void
spill_graph(HnswBuilder *builder)
{
	const HnswGraph *graph = &builder->graph;
	const VdbCodec *codec = graph->codec;
	Size		attr_bytes = builder->index->geometry.attr_bytes;
	HnswRow    *row = builder->rows.row;

	for (uint32 nid = 0; nid < graph->header->count; nid++)
	{
		vdb_pace();
		row->tid = builder->tids[nid];
		row->hash = builder->hashes[nid];
		row->factors = graph->factors[nid];
		memcpy(vdb_hnsw_row_hi(row), vdb_hnsw_graph_hi(graph, nid), codec->hi_bytes);
		memcpy(vdb_hnsw_row_lo(codec, row), vdb_hnsw_graph_lo(graph, nid), codec->lo_bytes);
		memcpy(vdb_hnsw_row_attributes(codec, row), builder->attributes + nid * attr_bytes, attr_bytes);
		vdb_hnsw_rows_write(&builder->rows);
	}
}

/* Turns the graph into pages, together with all others. */
static void
write_graph(HnswBuilder *builder)
{
	HnswNodeRows rows = {
		.tids = builder->tids,
		.hashes = builder->hashes,
		.postings = vdb_hnsw_postings_links(builder),
		.attributes = builder->attributes,
		.order = vdb_hnsw_order(builder)
	};
	int64		all = (int64) builder->graph.header->count + builder->state->attached;
	HnswWriter	writer;

	if (builder->leads)
	{
		VDB_TESTPOINT("hnsw-build-before-write");
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_WRITE);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, all);
	}
	vdb_hnsw_writer_init(&writer, builder->index);
	vdb_hnsw_write_nodes(&writer, &builder->graph, &rows, builder->leads);
	vdb_hnsw_build_meet(builder);
	if (builder->leads)
	{
		vdb_hnsw_write_all_attached(&writer, builder);
		vdb_hnsw_write_uppers(&writer, &builder->graph, NULL);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, all);
	}
}

/* Makes a graph of the rows, whose codes are there, together with all others. */
static void
link_graph(HnswBuilder *builder)
{
	if (!builder->leads)
	{
		vdb_hnsw_link_help(builder);
		return;
	}
	vdb_hnsw_share_nodes(builder);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_LINK);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, builder->graph.header->count);
	vdb_hnsw_link_all(builder, builder->graph.header->count);
	vdb_hnsw_place_all(builder);
	vdb_hnsw_place_postings(builder);
	vdb_hnsw_link_end(builder);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, builder->graph.header->count);
}

/*
 * Ends filling the graph, together with all others: either they all come here
 * when they are out of rows, or one has a row that found no room.
 */
static void
leave_graph(HnswBuilder *builder, bool full)
{
	if (full)
		builder->state->full = true;
	vdb_hnsw_build_meet(builder);
	if (builder->state->full)
	{
		begin_spilling(builder);
		if (builder->leads)
			spill_graph(builder);
		return;
	}
	link_graph(builder);
	write_graph(builder);
}

static void
add_row(HnswBuilder *builder, const TableRow *row)
{
	Size		attr_bytes = builder->index->geometry.attr_bytes;
	uint64		before;

	if (!builder->spills)
	{
		uint32		nid = vdb_hnsw_graph_encode(&builder->graph, row->vector, row->norm);

		if (nid != HNSW_NO_NODE)
		{
			builder->tids[nid] = *row->tid;
			builder->hashes[nid] = row->hash;
			memcpy(builder->attributes + nid * attr_bytes, row->attributes, attr_bytes);
		}
		else
			leave_graph(builder, true);
	}
	if (builder->spills)
		spill_row(builder, row);
	before = pg_atomic_fetch_add_u64(&builder->state->indexed, 1);
	if (builder->leads)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) before + 1);
}

static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	HnswBuilder *builder = arg;
	HnswIndex  *index = builder->index;
	MemoryContext old;
	Datum		value;
	TableRow	row = {.tid = tid};

	/* an automatic rebuild reads no faster than it may */
	vdb_pace();
	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(builder->row_context);
	value = PointerGetDatum(PG_DETOAST_DATUM(values[0]));
	row.vector = vdb_index_transform(index->support, &index->codec, value, &row.norm);
	if (row.vector != NULL)
	{
		uint8	   *attributes = palloc(index->attributes->bytes);

		vdb_index_form_attributes(index->attributes, values, isnull, attributes);
		row.hash = vdb_hnsw_hash_value(index, row.vector, value);
		row.attributes = attributes;
		add_row(builder, &row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->row_context);
}

/* Has the index built from what all participants wrote to files. */
static void
merge_rows(HnswBuilder *builder)
{
	if (!builder->leads)
		vdb_hnsw_rows_export(&builder->rows);
	vdb_hnsw_build_meet(builder);
	if (builder->leads)
		vdb_hnsw_build_merged(builder);
	else
	{
		vdb_hnsw_link_help(builder);
		BarrierDetach(&builder->state->barrier);
	}
}

void
vdb_hnsw_build_rows(HnswBuilder *builder, TableScanDesc scan)
{
	HnswBuildState *state = builder->state;
	double		rows;

	if (state->spills)
		begin_spilling(builder);
	rows = table_index_build_scan(builder->heap, builder->index->rel, builder->info, true,
								  builder->leads, build_row, builder, scan);
	if (!builder->spills)
		leave_graph(builder, false);
	if (builder->spills)
		merge_rows(builder);
	vdb_parallel_note_scan(&state->scan, builder->info, rows);
}
