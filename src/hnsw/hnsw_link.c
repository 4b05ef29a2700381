/*
 * hnsw_link.c
 *	  Linking the nodes of a graph that has their codes, by all participants of a
 *	  build: at once (hnsw_batch.c), or one after the other; and giving them their
 *	  places.
 *
 * The leader says what is to be done next, all meet, do their part, and meet
 * again.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "common/pg_prng.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "compute/compute.h"
#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_place.h"
#include "pace.h"
#include "testpoint.h"

/*
 * Of the nodes that a batch links, how many its first stages stand for in the
 * progress that is reported, in tenths.
 */
static const int stage_tenths[HNSW_BATCH_STAGES] = {
	[HNSW_BATCH_ABOVE] = 1,
	[HNSW_BATCH_GATHER] = 6,
	[HNSW_BATCH_PRUNE] = 2,
	[HNSW_BATCH_RECIPROCATE] = 1
};

Size
vdb_hnsw_link_scratch_bytes(const HnswIndex *index, uint32 capacity)
{
	const HnswGeometry *g = &index->geometry;

	return vdb_hnsw_batch_scratch_bytes(&index->codec, g->m, g->ef_construction, capacity);
}

/* What a batch calls now and then. */
static void
look(void *arg)
{
	HnswBuilder *builder = arg;
	HnswBuildState *state = builder->state;

	vdb_pace();
	if (builder->leads && state->work == HNSW_LINK_STAGE)
	{
		int			done = 0;
		uint32		now = vdb_hnsw_batch_progress(&builder->batch, state->stage);

		for (int stage = 0; stage < (int) state->stage; stage++)
			done += stage_tenths[stage];
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, builder->linked +
									 ((int64) builder->graph.header->count * done +
									  (int64) now * stage_tenths[state->stage]) / 10);
	}
}

/* This participant's memory for a batch. */
static char *
batch_scratch(HnswBuilder *builder)
{
	if (builder->batch_scratch == NULL)
		builder->batch_scratch = MemoryContextAllocHuge(builder->context,
														vdb_hnsw_link_scratch_bytes(builder->index, builder->graph.capacity) + 64);
	return (char *) TYPEALIGN(64, builder->batch_scratch);
}

/* Sees to this participant's finder, when there is first something to be found. */
static void
provide_finder(HnswBuilder *builder)
{
	MemoryContext old = MemoryContextSwitchTo(builder->context);

	if (!builder->has_finder)
		builder->batch.finder = vdb_compute_make_finder(&builder->index->codec,
														vdb_hnsw_batch_room(builder->graph.capacity));
	builder->has_finder = true;
	MemoryContextSwitchTo(old);
}

static void
link_nodes(HnswBuilder *builder)
{
	HnswBuildState *state = builder->state;
	uint32		nid;

	while ((nid = pg_atomic_fetch_add_u32(&state->next, 1)) < state->end)
	{
		vdb_pace();
		vdb_hnsw_graph_link(&builder->participant, nid, state->guests);
		if (builder->leads && nid % 128 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, builder->linked + nid);
	}
}

/* One participant's part of what is to be done. */
static void
do_part(HnswBuilder *builder)
{
	HnswBuildState *state = builder->state;
	HnswWatch	watch = {look, builder};

	if (state->work == HNSW_LINK_NODES)
	{
		link_nodes(builder);
		return;
	}
	if (state->stage == HNSW_BATCH_GATHER)
		provide_finder(builder);
	vdb_hnsw_batch_work(&builder->batch, &builder->participant, state->stage,
						batch_scratch(builder), &watch);
}

/* Has all do what is set. */
static void
do_by_all(HnswBuilder *builder, HnswLinkWork work)
{
	builder->state->work = work;
	vdb_hnsw_build_meet(builder);
	do_part(builder);
	vdb_hnsw_build_meet(builder);
}

void
vdb_hnsw_link_help(HnswBuilder *builder)
{
	HnswBuildState *state = builder->state;

	for (;;)
	{
		vdb_hnsw_build_meet(builder);
		if (state->work == HNSW_LINK_DONE)
			break;
		VDB_TESTPOINT("hnsw-build-help-link");

		/* the leader may have made another graph in the same memory */
		vdb_hnsw_graph_attach(&builder->graph, &builder->index->codec, builder->memory);
		do_part(builder);
		vdb_hnsw_build_meet(builder);
	}
	vdb_hnsw_build_meet(builder);
}

void
vdb_hnsw_link_end(HnswBuilder *builder)
{
	builder->state->work = HNSW_LINK_DONE;
	vdb_hnsw_build_meet(builder);

	/* the leader may go on to link alone: all have read that before */
	vdb_hnsw_build_meet(builder);
	builder->helpers = 0;
}

/* Links the nodes from `first` up to `end`, one after the other. */
static void
link_range(HnswBuilder *builder, uint32 first, uint32 end, bool guests)
{
	HnswBuildState *state = builder->state;

	if (first == end)
		return;
	pg_atomic_write_u32(&state->next, first);
	state->end = end;
	state->guests = guests;
	do_by_all(builder, HNSW_LINK_NODES);
}

/* Links all nodes at once; false when the data are not for that. */
static bool
link_batch(HnswBuilder *builder, uint32 hosts)
{
	HnswWatch	watch = {look, builder};

	vdb_hnsw_batch_begin(&builder->batch, hosts, builder->helpers + 1,
						 pg_prng_uint64(&pg_global_prng_state) | 1, batch_scratch(builder), &watch);
	for (int stage = 0; stage < HNSW_BATCH_STAGES; stage++)
	{
		builder->state->stage = stage;
		if (stage == HNSW_BATCH_ABOVE)
			vdb_hnsw_batch_choose_entry(&builder->batch);
		do_by_all(builder, HNSW_LINK_STAGE);
	}
	return vdb_hnsw_batch_connect(&builder->batch, &builder->participant, &watch);
}

void
vdb_hnsw_link_all(HnswBuilder *builder, uint32 hosts)
{
	const HnswGraph *graph = &builder->graph;
	uint32		count = graph->header->count;

	/* layers above an index's lowest are few, and have no tree */
	if (!builder->state->batch || graph->bottom != 0 || hosts < HNSW_BATCH_MIN_NODES ||
		!link_batch(builder, hosts))
	{
		link_range(builder, 0, hosts, false);
		link_range(builder, hosts, count, true);
	}
	builder->linked += count;
}

static void
look_for_interrupts(void *arg)
{
	vdb_pace();
}

void
vdb_hnsw_place_all(HnswBuilder *builder)
{
	uint32		slots = builder->index->geometry.extent_slots;
	HnswWatch	watch = {look_for_interrupts, NULL};
	char	   *memory = MemoryContextAllocHuge(builder->context,
												vdb_hnsw_place_bytes(builder->graph.m, slots));

	vdb_hnsw_place_nodes(&builder->graph, slots, vdb_hnsw_order(builder), memory, &watch);
	pfree(memory);
}
