/*
 * hnsw_inbound.c
 *	  Which nodes lead to a node, as far as vacuum remembers them.
 *
 * An insert leaves out edges to the new node that a list could do without, since
 * each is a page to be changed and logged.  VACUUM writes most lists anyway; a
 * node that leads to another one and is near to it is what the other one's list
 * may have been spared.  So each live node remembers the nearest of those, and
 * how many there are: to a node that was inserted lead few.
 */
#include "postgres.h"

#include "hnsw/hnsw_private.h"

/* What memory begins at: a node's are on one line of the CPU's cache. */
#define LINE 64

StaticAssertDecl(sizeof(HnswInboundNode) * HNSW_INBOUND == LINE, "a node's are a line");

/* Remembers that a node leads to another one, at this score, if it is one of the nearest. */
static void
remember(HnswInboundNode *nodes, uint32 nid, float score)
{
	uint32		at = HNSW_INBOUND;

	while (at > 0 && (nodes[at - 1].nid == HNSW_NO_NODE || score < nodes[at - 1].score))
		at--;
	if (at == HNSW_INBOUND)
		return;
	memmove(nodes + at + 1, nodes + at, (HNSW_INBOUND - 1 - at) * sizeof(HnswInboundNode));
	nodes[at] = (HnswInboundNode) {nid, score};
}

/* Remembers where the nodes of a list lead. */
static void
remember_list(HnswVacuum *vacuum, BlockNumber block, uint32 nid, HnswNode *node)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	const uint32 *nbr = vdb_hnsw_node_nbr(node);
	const HnswLengths *lengths = vdb_hnsw_node_lengths(g, node);

	if (node->count > 2u * g->m)
		vdb_page_corrupted(vacuum->index->rel, block, "A node has too many neighbours.");
	for (uint32 i = 0; i < node->count; i++)
		__builtin_prefetch(vdb_hnsw_inbound_of(&vacuum->inbound, nbr[i]), 1);
	for (uint32 i = 0; i < node->count; i++)
	{
		HnswInboundNode *nodes = vdb_hnsw_inbound_of(&vacuum->inbound, nbr[i]);

		if (nodes != NULL && nbr[i] != nid)
		{
			remember(nodes, nid, vdb_hnsw_length_load(lengths, i));
			vdb_hnsw_count_inbound(&vacuum->inbound, nbr[i]);
		}
	}
}

/* Remembers the lists of live nodes of one node extent. */
static void
remember_extent(HnswVacuum *vacuum, uint32 extent)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	uint32		first = extent * g->extent_slots;
	uint32		end = first + g->extent_slots;

	for (int i = 0; i < g->node_pages; i++)
	{
		BlockNumber block = vdb_hnsw_extent_block(g, extent) + 1 + i;
		Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_NODE, extent,
												  BUFFER_LOCK_SHARE);
		uint32		next = Min(end, first + g->nodes_per_page);

		for (uint32 nid = hnsw_bits_next(&vacuum->live, NULL, first); nid < next;
			 nid = hnsw_bits_next(&vacuum->live, NULL, nid + 1))
			remember_list(vacuum, block, nid,
						  vdb_hnsw_page_node(BufferGetPage(buffer), vdb_hnsw_node_address(g, nid)));
		UnlockReleaseBuffer(buffer);
		first = next;
	}
}

void
vdb_hnsw_remember_inbound(HnswVacuum *vacuum, Size memory)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	HnswInbound *inbound = &vacuum->inbound;
	uint32		first = vdb_hnsw_extent_of(g, vacuum->live.first);
	uint32		extents = vacuum->live.count / g->extent_slots;
	Size		bytes = (Size) vacuum->live.count * LINE;

	memset(inbound, 0, sizeof(*inbound));
	if (memory < (Size) vacuum->live.count * HNSW_INBOUND_BYTES + LINE)
		return;
	inbound->memory = MemoryContextAllocHuge(vacuum->context, bytes + LINE);
	inbound->nodes = (HnswInboundNode *) TYPEALIGN(LINE, (uintptr_t) inbound->memory);
	/* of a part of the lists the numbers are no good */
	if (vacuum->knows_all)
		inbound->degrees = MemoryContextAllocExtended(vacuum->context, vacuum->live.count,
													  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	inbound->first = vacuum->live.first;
	inbound->count = vacuum->live.count;
	memset(inbound->nodes, 0xFF, bytes);
	for (uint32 i = 0; i < extents; i++)
	{
		if (!vdb_hnsw_is_upper(vacuum->index, first + i, vacuum->info->strategy))
			remember_extent(vacuum, first + i);
	}
}

void
vdb_hnsw_forget_inbound(HnswVacuum *vacuum)
{
	if (vacuum->inbound.memory != NULL)
	{
		pfree(vacuum->inbound.memory);
		if (vacuum->inbound.degrees != NULL)
			pfree(vacuum->inbound.degrees);
	}
	memset(&vacuum->inbound, 0, sizeof(vacuum->inbound));
}
