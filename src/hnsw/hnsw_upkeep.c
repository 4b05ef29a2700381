/*
 * hnsw_upkeep.c
 *	  What state a graph is in, as far as some of its pages tell; and cleaning up without
 *	  VACUUM's other half.
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/vacuum.h"
#include "utils/rel.h"

#include "compat.h"
#include "hnsw/hnsw_module.h"
#include "hnsw/hnsw_private.h"

/* Slots of an extent that are in use, of those that its hot page has. */
static uint32
count_used(HnswIndex *index, uint32 extent)
{
	BlockNumber block = vdb_hnsw_extent_block(&index->geometry, extent);
	Buffer		buffer = ReadBuffer(index->rel, block);
	const VdbPageSpecial *special = vdb_page_special(BufferGetPage(buffer));
	uint32		used;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	vdb_page_check(index->rel, block, BufferGetPage(buffer), VDB_PAGE_HNSW_HOT, extent);
	used = special->used - Min(special->used, special->free);
	UnlockReleaseBuffer(buffer);
	return Min(used, (uint32) index->geometry.extent_slots);
}

/* Has one of the extent's node pages, the number-th, the node of a dead row? */
static bool
has_dead_node(HnswIndex *index, uint32 extent, uint32 number)
{
	const HnswGeometry *g = &index->geometry;
	uint32		page = number % g->node_pages;
	uint32		first = extent * g->extent_slots + page * g->nodes_per_page;
	uint32		end = Min(first + g->nodes_per_page, (extent + 1) * g->extent_slots);
	BlockNumber block = vdb_hnsw_extent_block(g, extent) + 1 + page;
	Buffer		buffer = ReadBuffer(index->rel, block);
	bool		dead = false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	vdb_page_check(index->rel, block, BufferGetPage(buffer), VDB_PAGE_HNSW_NODE, extent);
	for (uint32 nid = first; nid < end && !dead; nid++)
		dead = vdb_hnsw_page_node(BufferGetPage(buffer), vdb_hnsw_node_address(g, nid))->state == HNSW_DEAD;
	UnlockReleaseBuffer(buffer);
	return dead;
}

/*
 * How full some of the extents are, as a share of their slots, and whether there are nodes of dead
 * rows: a VACUUM that is interrupted leaves them, and one that is at work has a lock.
 */
static bool
look_at_extents(HnswIndex *index, double *filled)
{
	uint32		sample = Min(index->extents, VDB_UPKEEP_EXTENTS);
	uint64		used = 0;
	uint64		room = 0;
	bool		dead = false;

	for (uint32 i = 0; i < sample; i++)
	{
		uint32		extent = vdb_upkeep_extent(index->extents, i);

		if (vdb_hnsw_is_upper(index, extent, NULL))
			continue;
		used += count_used(index, extent);
		room += index->geometry.extent_slots;
		dead = dead || has_dead_node(index, extent, i);
	}
	*filled = room > 0 ? (double) used / room : 1;
	return dead;
}

void
vdb_hnsw_upkeep(Relation rel, double rows, VdbUpkeep *result)
{
	HnswIndex  *index = vdb_hnsw_open(rel);

	memset(result, 0, sizeof(*result));
	result->wanted = vdb_hnsw_options(rel)->maintenance;
	result->mirror = vdb_hnsw_options(rel)->mirror;
	result->calibrated = index->extents == 0 ||
		vdb_hnsw_is_calibrated(&index->calibration, index->extents);
	result->unclean = look_at_extents(index, &result->filled) || index->pending.first < index->pending.end;
}

/* Links rows that wait for it; all of the index is read where something else is to be done. */
void
vdb_hnsw_clean_up(Relation rel, double rows)
{
	Relation	heap;
	IndexVacuumInfo info = {0};
	double		filled;

	(void) vdb_hnsw_merge_pending(rel);
	if (!look_at_extents(vdb_hnsw_open(rel), &filled))
		return;
	heap = table_open(rel->rd_index->indrelid, NoLock);
	info.index = rel;
	vdb_vacuum_info_set_heap(&info, heap);
	info.estimated_count = true;
	info.num_heap_tuples = rows;
	info.message_level = DEBUG2;
	info.strategy = GetAccessStrategy(BAS_VACUUM);
	(void) vdb_hnsw_vacuumcleanup(&info, NULL);
	FreeAccessStrategy(info.strategy);
	table_close(heap, NoLock);
}
