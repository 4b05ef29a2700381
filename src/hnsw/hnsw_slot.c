/*
 * hnsw_slot.c
 *	  Slots for new nodes and new postings: finding one that is free, and taking
 *	  it.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_private.h"

uint32
vdb_hnsw_lock_free_slot(HnswIndex *index, Buffer *buffer, uint32 *generation)
{
	const HnswGeometry *g = &index->geometry;

	if (index->open_extent == HNSW_NO_EXTENT)
		vdb_hnsw_extend(index, false, HNSW_NO_EXTENT);
	for (;;)
	{
		uint32		extent = index->open_extent;
		uint32		nid = extent * g->extent_slots;
		Page		page;
		VdbPageSpecial *special;

		*buffer = vdb_hnsw_read_hot(index, vdb_hnsw_hot_address(g, nid));
		LockBuffer(*buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(*buffer);
		special = vdb_page_special(page);
		if (special->used > g->extent_slots || special->free > special->used)
			vdb_page_corrupted(index->rel, BufferGetBlockNumber(*buffer), "It counts more slots than it has.");
		if (special->free > 0)
		{
			/* from where the last one was; out of range if that is elsewhere */
			uint32		s = index->roomy_nid - nid;

			for (uint32 i = 0; i < special->used; i++, s++)
			{
				s = s < special->used ? s : 0;
				*generation = vdb_hnsw_page_hot(page, vdb_hnsw_hot_address(g, nid + s))->generation;
				if (*generation % 2 == 1)
				{
					*generation += 1;
					index->roomy_nid = nid + s;
					return nid + s;
				}
			}
			vdb_page_corrupted(index->rel, BufferGetBlockNumber(*buffer), "A free slot is counted but not there.");
		}
		if (special->used < g->extent_slots)
		{
			*generation = 2;
			return nid + special->used;
		}
		UnlockReleaseBuffer(*buffer);
		CHECK_FOR_INTERRUPTS();
		vdb_hnsw_extend(index, false, extent);
	}
}

void
vdb_hnsw_take_slot(HnswIndex *index, VdbPatch *patch, uint32 nid, Buffer hot_buffer,
				   const HnswHot *hot, Buffer node_buffer, const void *slot)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress hot_address = vdb_hnsw_hot_address(g, nid);
	HnswAddress node_address = vdb_hnsw_node_address(g, nid);
	VdbPageSpecial special;

	vdb_patch_write(patch, hot_buffer, hot_address.offset, hot, g->hot_stride);
	special = *vdb_page_special(BufferGetPage(hot_buffer));
	if (hot_address.slot < special.used)
		special.free--;
	else
		special.used = hot_address.slot + 1;
	vdb_patch_write(patch, hot_buffer, VDB_PAGE_END, &special, sizeof(special));
	vdb_patch_write(patch, node_buffer, node_address.offset, slot, g->node_stride);
	special = *vdb_page_special(BufferGetPage(node_buffer));
	special.used = Max(special.used, node_address.slot + 1);
	vdb_patch_write(patch, node_buffer, VDB_PAGE_END, &special, sizeof(special));
}
