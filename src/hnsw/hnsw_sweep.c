/*
 * hnsw_sweep.c
 *	  All nodes that a filter lets pass, without the graph.
 *
 * A walk looks at as many nodes for each row that passes as there are nodes for
 * each that does, or at more where those that pass are elsewhere.  A sweep looks
 * at the attributes of all nodes, which lie side by side on hot pages, and weighs
 * those that pass: its time is known beforehand.  So a walk that is expected to take
 * longer gets no more than a quarter of that, in case what passes is near the question,
 * and one that turns out to take longer is given up.
 *
 * Hot pages are read as any search does, without locks where they are in memory;
 * what is found on them leads to node slots, which are locked.
 *
 * Nodes that wait to be linked are looked at in the same way, with a filter or without
 * one: no walk leads to them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_search.h"

/*
 * Extents whose attributes are looked at to learn how many nodes pass: at most so many,
 * and at least the second number, once so many nodes were seen that pass.
 */
#define SAMPLE_EXTENTS 32
#define LEAST_EXTENTS 8
#define ENOUGH_PASSING 64

/*
 * What things take, in scores of a neighbour: to get at a hot page, to look at a
 * node's attributes there, and to expand a node, whose neighbours' scores come on
 * top.  New ones among these, in a search.
 */
#define PAGE_WORK 2.0
#define LOOK_WORK 0.012
#define FRESH_NEIGHBORS 16

/* Bytes that a walk takes for each node it has weighed. */
#define WALK_BYTES 48

/* Hot pages that are on their way into the CPU's cache at a time. */
#define AHEAD 8

/* And from disc, where they are in no buffer. */
#define COLD_AHEAD 32

/* What is on a hot page, copied. */
typedef struct PageNodes
{
	uint32		used;
	uint32		count;			/* of those that pass */
	uint16	   *slots;			/* room for extent_slots */
	HnswCandidate *nodes;		/* the same */
} PageNodes;

/*
 * Keeps nodes whose number is in a range, which is what is asked for most often,
 * without a branch that nobody can foretell.
 */
#define KEEP_RANGE(type) \
	for (uint32 i = 0; i < count; i++) \
	{ \
		const uint8 *at = attributes + (Size) nodes[i] * stride; \
		type		number; \
		memcpy(&number, at + condition->offset, sizeof(type)); \
		nodes[kept] = nodes[i]; \
		kept += (type) (number - (type) condition->low) <= (type) (condition->high - condition->low) && \
			(at[condition->null_byte] >> condition->null_bit & 1) == 0; \
	}

/* Keeps those of some nodes of a page for which a condition holds; returns their number. */
static uint32
keep_holding(const VdbCondition *condition, const uint8 *attributes, uint32 stride, uint16 *nodes,
			 uint32 count)
{
	uint32		kept = 0;

	if (condition->kind != VDB_IN_RANGE)
	{
		for (uint32 i = 0; i < count; i++)
		{
			if (vdb_index_condition_holds(condition, attributes + (Size) nodes[i] * stride))
				nodes[kept++] = nodes[i];
		}
		return kept;
	}
	switch (condition->width)
	{
		case 1:
			KEEP_RANGE(uint8);
			break;
		case 2:
			KEEP_RANGE(uint16);
			break;
		case 4:
			KEEP_RANGE(uint32);
			break;
		default:
			KEEP_RANGE(uint64);
	}
	return kept;
}

/*
 * Collects the nodes of a page that pass, without a filter all.  What is there may be torn, if the
 * caller reads it without a pin, so no byte of it is used as an address.
 */
static void
collect_nodes(HnswSearch *search, uint32 extent, Page page, PageNodes *out)
{
	const HnswGeometry *g = &search->index->geometry;
	const VdbFilter *filter = search->filter;
	const VdbPageSpecial *special = vdb_page_special(page);
	const uint8 *attributes = (const uint8 *) page + HNSW_HOT_FIRST;

	out->used = special->kind == VDB_PAGE_HNSW_HOT ? Min(special->used, g->extent_slots) : 0;
	out->count = out->used;
	for (uint32 s = 0; s < out->count; s++)
		out->slots[s] = s;
	for (int i = 0; filter != NULL && i < filter->count; i++)
		out->count = keep_holding(&filter->conditions[i], attributes, g->attr_bytes, out->slots,
								  out->count);
	for (uint32 i = 0; i < out->count; i++)
		out->nodes[i].nid = extent * g->extent_slots + out->slots[i];
}

/* Weighs the nodes collected of a page, and leaves out slots without one. */
static void
weigh_nodes(HnswSearch *search, Page page, PageNodes *nodes)
{
	const HnswGeometry *g = &search->index->geometry;
	uint32		count = 0;

	for (uint32 i = 0; i < nodes->count; i++)
		vdb_prefetch(vdb_hnsw_page_hot(page, vdb_hnsw_hot_address(g, nodes->nodes[i].nid)), g->hot_stride);
	for (uint32 i = 0; i < nodes->count; i++)
	{
		uint32		nid = nodes->nodes[i].nid;
		HnswHot    *hot = vdb_hnsw_page_hot(page, vdb_hnsw_hot_address(g, nid));
		VdbHotFactors f = {hot->add, hot->rescale};

		if (vdb_hnsw_hot_is_node(hot))
			nodes->nodes[count++] = (HnswCandidate) {
				.nid = nid,
				.ref = vdb_hnsw_weighed_ref(hot->generation, HNSW_PASSES | HNSW_SWEPT),
				.score = vdb_hot_score(&search->query, f, vdb_hnsw_hot_code(hot))
			};
	}
	nodes->count = count;
}

/* Reads the nodes of an extent that pass, and their scores if they are to be weighed. */
static void
read_extent(HnswSearch *search, uint32 extent, bool weigh, PageNodes *nodes)
{
	HnswIndex  *index = search->index;
	BlockNumber block = vdb_hnsw_extent_block(&index->geometry, extent);
	Buffer		buffer;
	Page		page = vdb_hints_peek(&index->hints, block, &buffer);

	/* a page of no kind may be one that replay is about to fill */
	if (page != NULL && vdb_page_special(page)->kind != 0)
	{
		collect_nodes(search, extent, page, nodes);
		if (weigh)
			weigh_nodes(search, page, nodes);
		pg_read_barrier();
		if (vdb_hints_hold(&index->hints, block, buffer))
			return;
	}
	buffer = vdb_hints_read(&index->hints, index->rel, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (vdb_page_special(page)->kind != VDB_PAGE_HNSW_UPPER)
		vdb_page_check(index->rel, block, page, VDB_PAGE_HNSW_HOT, extent);
	collect_nodes(search, extent, page, nodes);
	if (weigh)
		weigh_nodes(search, page, nodes);
	UnlockReleaseBuffer(buffer);
}

/* Fetches the attributes of an extent's nodes into the CPU's cache. */
static inline void
prefetch_attributes(HnswIndex *index, uint32 extent)
{
	const HnswGeometry *g = &index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);

	vdb_hints_prefetch_special(&index->hints, block);
	vdb_hints_prefetch(&index->hints, block, HNSW_HOT_FIRST, g->hot_first - HNSW_HOT_FIRST);
}

static PageNodes
make_nodes(HnswSearch *search)
{
	PageNodes	nodes = {0};
	uint32		slots = search->index->geometry.extent_slots;

	nodes.slots = MemoryContextAlloc(search->context, slots * sizeof(uint16));
	nodes.nodes = MemoryContextAlloc(search->context, slots * sizeof(HnswCandidate));
	return nodes;
}

static void
free_nodes(PageNodes *nodes)
{
	pfree(nodes->slots);
	pfree(nodes->nodes);
}

/*
 * How far apart extents are that are looked at one after the other: by the golden
 * ratio, so that the first few are as evenly spread as all, and none comes twice.
 */
static uint32
sample_step(uint32 extents)
{
	uint32		step = Max((uint32) (extents * 0.618), 1);

	for (;; step++)
	{
		uint32		a = extents;
		uint32		b = step;

		while (b != 0)
		{
			uint32		rest = a % b;

			a = b;
			b = rest;
		}
		if (a == 1)
			return step;
	}
}

/* The i-th extent to be looked at. */
static inline uint32
sampled_extent(uint32 extents, uint32 step, uint32 i)
{
	return (uint32) ((uint64) i * step % extents);
}

void
vdb_hnsw_sweep_plan(HnswSearch *search, uint32 ef)
{
	uint32		extents = search->index->extents;
	uint32		sample = Min(extents, SAMPLE_EXTENTS);
	uint32		step = extents > 0 ? sample_step(extents) : 0;
	PageNodes	nodes = make_nodes(search);
	double		used = 0;
	double		passing = 0;
	double		memory = (double) work_mem * 1024 * hnsw_scan_mem_multiplier;
	double		factor;
	double		walk;
	uint32		read = 0;

	for (uint32 i = 0; i < Min(sample, AHEAD); i++)
		prefetch_attributes(search->index, sampled_extent(extents, step, i));
	while (read < sample && (read < LEAST_EXTENTS || passing < ENOUGH_PASSING))
	{
		if (read + AHEAD < sample)
			prefetch_attributes(search->index, sampled_extent(extents, step, read + AHEAD));
		read_extent(search, sampled_extent(extents, step, read), false, &nodes);
		used += nodes.used;
		passing += nodes.count;
		read++;
	}
	free_nodes(&nodes);
	factor = read > 0 ? (double) extents / read : 0;
	walk = (ef * used / Max(passing, 0.5) + HNSW_POOL_SLACK) * (HNSW_EXPANSION_WORK + FRESH_NEIGHBORS);
	search->work_limit = extents * PAGE_WORK + factor * (used * LOOK_WORK + passing);
	if (walk > search->work_limit)
		search->work_limit /= 4;
	search->work_limit = Min(search->work_limit, memory / WALK_BYTES);
	search->sweep_rows = (uint32) Max(ef, Min(hnsw_max_scan_tuples, memory / 2 / sizeof(HnswCandidate)));
}

/*
 * Reads and weighs the nodes of an extent that pass, on a way that ends before
 * `end`: what comes next is on its way into memory and into the CPU's cache.
 */
static void
read_on(HnswSearch *search, uint32 extent, uint32 end, PageNodes *nodes)
{
	HnswIndex  *index = search->index;

	CHECK_FOR_INTERRUPTS();
	if (extent + COLD_AHEAD < end)
		vdb_hints_request(&index->hints, index->rel,
						  vdb_hnsw_extent_block(&index->geometry, extent + COLD_AHEAD));
	if (extent + AHEAD < end)
		prefetch_attributes(index, extent + AHEAD);
	read_extent(search, extent, true, nodes);
}

/* Has the operating system read the first pages of such a way. */
static void
request_first(HnswSearch *search, uint32 first, uint32 end)
{
	HnswIndex  *index = search->index;

	for (uint32 extent = first; extent < Min(end, first + COLD_AHEAD); extent++)
		vdb_hints_request(&index->hints, index->rel, vdb_hnsw_extent_block(&index->geometry, extent));
}

HnswCandidate *
vdb_hnsw_sweep_pending(HnswSearch *search, uint32 *count)
{
	HnswPending pending = search->pending;
	Size		slots = (Size) (pending.end - pending.first) * search->index->geometry.extent_slots;
	HnswCandidate *weighed = MemoryContextAllocHuge(search->context, slots * sizeof(HnswCandidate));
	PageNodes	nodes = make_nodes(search);

	*count = 0;
	request_first(search, pending.first, pending.end);
	for (uint32 extent = pending.first; extent < pending.end; extent++)
	{
		read_on(search, extent, pending.end, &nodes);
		memcpy(weighed + *count, nodes.nodes, nodes.count * sizeof(HnswCandidate));
		*count += nodes.count;
	}
	free_nodes(&nodes);
	return weighed;
}

void
vdb_hnsw_sweep(HnswSearch *search)
{
	HnswIndex  *index = search->index;
	HnswVisited found = vdb_hnsw_search_remember(search);
	PageNodes	nodes = make_nodes(search);
	uint32		size = 256;
	uint32		count = 0;
	HnswCandidate *kept;

	pfree(search->visited.slots);
	search->visited = found;
	if (search->overflow.items != NULL)
		pfree(search->overflow.items);
	kept = MemoryContextAlloc(search->context, size * sizeof(HnswCandidate));
	request_first(search, 0, index->extents);
	for (uint32 extent = 0; extent < index->extents; extent++)
	{
		read_on(search, extent, index->extents, &nodes);
		search->weighed += nodes.count;
		for (uint32 i = 0; i < nodes.count; i++)
		{
			if (search->found_count > 0 && hnsw_visited_has(&found, nodes.nodes[i].nid))
				continue;
			if (count == size && size < search->sweep_rows)
			{
				size = Min(size * 2, search->sweep_rows);
				kept = repalloc_huge(kept, (Size) size * sizeof(HnswCandidate));
			}
			search->swept_short |= count == search->sweep_rows;
			hnsw_heap_keep(kept, &count, Min(size, search->sweep_rows), nodes.nodes[i]);
		}
	}
	free_nodes(&nodes);
	search->overflow = (HnswOverflow) {.items = kept,.count = count,.size = size};
	search->swept = true;
}
