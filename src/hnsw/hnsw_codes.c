/*
 * hnsw_codes.c
 *	  Codes of live nodes in memory of vacuum's own.
 *
 * To repair a list takes the codes of some fifty nodes all over the index.  On
 * pages each of them costs a walk through the processor's page tables, in most
 * of the time that a repair takes: 8 kB pages are many, and shared buffers
 * usually consist of 4 kB pages of memory.  So codes are copied, in the order of
 * the pages, to one piece of memory for which large pages are asked for.  What
 * does not fit is read from pages.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "hnsw/hnsw_private.h"

/* What memory begins at, and each code in it. */
#define HUGE_PAGE ((Size) 2 * 1024 * 1024)
#define CODE_ALIGN 64

/* Copies the codes of live nodes on one page; hot: codes are in hot slots. */
static void
copy_page_codes(HnswVacuum *vacuum, uint32 extent, BlockNumber block, uint32 nid, uint32 end,
				bool hot)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, block,
											  hot ? VDB_PAGE_HNSW_HOT : VDB_PAGE_HNSW_NODE,
											  extent, BUFFER_LOCK_SHARE);

	for (nid = hnsw_bits_next(&vacuum->live, NULL, nid); nid < end;
		 nid = hnsw_bits_next(&vacuum->live, NULL, nid + 1))
	{
		HnswCode   *code = vdb_hnsw_code_at(&vacuum->codes, nid);

		if (code == NULL)
			break;
		if (hot)
			vdb_hnsw_copy_hot_code(g, vdb_hnsw_page_hot(BufferGetPage(buffer), vdb_hnsw_hot_address(g, nid)),
								   &code->factors, code->hi);
		else
			vdb_hnsw_copy_node_code(g, vdb_hnsw_page_node(BufferGetPage(buffer), vdb_hnsw_node_address(g, nid)),
									&code->factors, code->hi);
	}
	UnlockReleaseBuffer(buffer);
}

/* Copies the codes of live nodes of one node extent. */
static void
copy_extent_codes(HnswVacuum *vacuum, uint32 extent)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);
	uint32		first = extent * g->extent_slots;
	uint32		end = first + g->extent_slots;

	if (g->node_bits == 0)
		copy_page_codes(vacuum, extent, block, first, end, true);
	for (int i = 0; i < g->node_pages && g->node_bits != 0; i++)
	{
		uint32		nid = first + (uint32) i * g->nodes_per_page;

		copy_page_codes(vacuum, extent, block + 1 + i, nid, Min(end, nid + g->nodes_per_page), false);
	}
}

void
vdb_hnsw_copy_codes(HnswVacuum *vacuum, Size memory)
{
	HnswIndex  *index = vacuum->index;
	const HnswGeometry *g = &index->geometry;
	HnswCodes  *codes = &vacuum->codes;
	uint32		first = vdb_hnsw_extent_of(g, vacuum->live.first);
	uint32		extents = vacuum->live.count / g->extent_slots;
	Size		bytes;

	memset(codes, 0, sizeof(*codes));
	codes->first = vacuum->live.first;
	codes->stride = TYPEALIGN(CODE_ALIGN, sizeof(HnswCode) + index->codec.hi_bytes);
	if (memory < 2 * HUGE_PAGE || (g->node_bits == 0 && !vdb_codec_hot_is_whole(&index->codec)))
		return;
	bytes = Min(memory - HUGE_PAGE, (Size) vacuum->live.count * codes->stride);
	codes->memory = MemoryContextAllocHuge(vacuum->context, bytes + HUGE_PAGE);
	codes->codes = (char *) TYPEALIGN(HUGE_PAGE, (uintptr_t) codes->memory);
	codes->count = (uint32) (bytes / codes->stride);
#ifdef MADV_HUGEPAGE
	/* a wish, which the system may not grant */
	(void) madvise(codes->codes, bytes, MADV_HUGEPAGE);
#endif
	for (uint32 i = 0; i < extents && i * g->extent_slots < codes->count; i++)
	{
		if (!vdb_hnsw_is_upper(vacuum->index, first + i, vacuum->info->strategy))
			copy_extent_codes(vacuum, first + i);
	}
}

void
vdb_hnsw_free_codes(HnswVacuum *vacuum)
{
	if (vacuum->codes.memory != NULL)
		pfree(vacuum->codes.memory);
	memset(&vacuum->codes, 0, sizeof(vacuum->codes));
}
