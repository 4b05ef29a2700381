/*
 * exec_block.c
 *	  Rows that are measured against all queries of a batch, a block at a time.
 *
 * A block stays in the processor's cache while all queries meet it.  Where the distance follows
 * from an inner product, a provider computes these for the whole block, and the operator's
 * function only measures rows that may be among the nearest by it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "exec/exec_block.h"

/* Of rows, as floats. */
#define BLOCK_BYTES (256 * 1024)
#define BLOCK_ROWS 1024

/* Queries of which products are kept at a time. */
#define QUERY_TILE 128

static bool
is_by_product(const VdbSupport *support)
{
	return support->kind == VDB_CODEC_DENSE && support->metric != VDB_METRIC_L1;
}

/* The floats of a vector, to `out`. */
static void
copy_floats(const VdbBlock *block, Datum value, float *out)
{
	memcpy(out, block->support->read(value).elements, block->dims * sizeof(float));
}

static void
init_products(VdbBlock *block)
{
	int			count = block->query_count;

	block->room = Min(BLOCK_BYTES / (block->dims * sizeof(float)), BLOCK_ROWS);
	block->provider = vdb_compute_choose(count);
	block->query_floats = MemoryContextAllocHuge(CurrentMemoryContext, (Size) count * block->dims * sizeof(float));
	block->floats = palloc((Size) block->room * block->dims * sizeof(float));
	block->products = palloc((Size) Min(count, QUERY_TILE) * block->room * sizeof(float));
	block->bounds = palloc(block->room * sizeof(VdbBoundRow));
	vdb_bound_init(&block->bound, block->support->metric, block->dims);
	for (int i = 0; i < count; i++)
	{
		float	   *floats = block->query_floats + (Size) i * block->dims;

		copy_floats(block, block->queries[i].value, floats);
		vdb_bound_init_query(&block->bound, &block->queries[i].bound, floats);
	}
}

void
vdb_block_init(VdbBlock *block, const VdbSupport *support, uint32 dims, VdbBatchQuery *queries, int query_count)
{
	memset(block, 0, sizeof(*block));
	block->support = support;
	block->dims = dims;
	block->queries = queries;
	block->query_count = query_count;
	block->room = BLOCK_ROWS;
	if (is_by_product(support))
		init_products(block);
	block->values = palloc(block->room * sizeof(Datum));
	block->tids = palloc(block->room * sizeof(ItemPointerData));
	block->selected = palloc(block->room * sizeof(uint32));
	block->values_context = GenerationContextCreate(CurrentMemoryContext, "vdb block values", BLOCK_BYTES, BLOCK_BYTES,
													BLOCK_BYTES);
	block->row_context = AllocSetContextCreate(CurrentMemoryContext, "vdb block row", ALLOCSET_DEFAULT_SIZES);
	block->toast.context = CurrentMemoryContext;
	block->toast.in_order = true;
}

/* Measures the block's rows that may be among a query's nearest, by its products with all of them. */
static void
measure_for(VdbBlock *block, VdbBatchQuery *query, const float *products)
{
	bool		changed = false;
	size_t		count = block->count;

	if (products != NULL)
		count = vdb_bound_select(&query->bound, count, products, block->bounds, block->selected);
	block->distances += count;
	for (size_t i = 0; i < count; i++)
	{
		size_t		row = products != NULL ? block->selected[i] : i;
		double		distance = block->support->distance(block->values[row], query->value);

		changed |= vdb_nearest_add(&query->nearest, (VdbNearRow) {distance, block->tids[row]});
	}
	if (changed && products != NULL && query->nearest.count == query->nearest.k)
		vdb_bound_set(&block->bound, &query->bound, query->nearest.rows[0].distance);
}

static void
measure_block(VdbBlock *block)
{
	for (int first = 0; first < block->query_count; first += QUERY_TILE)
	{
		int			tile = Min(block->query_count - first, QUERY_TILE);

		CHECK_FOR_INTERRUPTS();
		if (block->provider != NULL)
			vdb_compute_inner_products(&block->provider, block->dims, tile,
									   block->query_floats + (Size) first * block->dims, block->count,
									   block->floats, block->products);
		for (int i = 0; i < tile; i++)
			measure_for(block, &block->queries[first + i],
						block->provider == NULL ? NULL : block->products + (Size) i * block->count);
	}
	block->count = 0;
	block->bytes = 0;
	MemoryContextReset(block->values_context);
}

bool
vdb_block_add(VdbBlock *block, ItemPointer tid, Datum value)
{
	MemoryContext old = MemoryContextSwitchTo(block->row_context);
	Size		size;

	value = vdb_toast_read(&block->toast, value);
	if (block->support->dims(value) != block->dims)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	if (block->provider != NULL)
	{
		float	   *floats = block->floats + (Size) block->count * block->dims;

		copy_floats(block, value, floats);
		block->bounds[block->count] = vdb_bound_row(&block->bound, floats);
	}
	size = VARSIZE_ANY(DatumGetPointer(value));
	MemoryContextSwitchTo(block->values_context);
	block->values[block->count] = datumCopy(value, false, -1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(block->row_context);
	block->tids[block->count++] = *tid;
	block->bytes += size;
	if (block->count == block->room || block->bytes >= BLOCK_BYTES)
		measure_block(block);
	return true;
}

void
vdb_block_finish(VdbBlock *block)
{
	if (block->count > 0)
		measure_block(block);
	vdb_toast_close(&block->toast);
	for (int i = 0; i < block->query_count; i++)
		vdb_nearest_sort(&block->queries[i].nearest);
}
