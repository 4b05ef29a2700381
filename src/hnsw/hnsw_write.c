/*
 * hnsw_write.c
 *	  From a graph in memory to the pages of an index.
 *
 * Whoever filled the graph, and however, is no concern of this file: it reads a
 * finished graph, writes each page once and in order, and logs nothing.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_private.h"

typedef struct HnswWriter
{
	HnswIndex  *index;
	const HnswGraph *graph;
	const ItemPointerData *tids;	/* by node number */
	void	   *scratch;		/* a vector */
} HnswWriter;

/* Writes one node of the graph into its two slots. */
static void
write_node(HnswWriter *writer, uint32 nid, Page hot_page, Page node_page)
{
	const HnswGeometry *g = &writer->index->geometry;
	const HnswGraph *graph = writer->graph;
	HnswAddress hot_address = vdb_hnsw_hot_address(g, nid);
	HnswAddress node_address = vdb_hnsw_node_address(g, nid);
	HnswHot    *hot = vdb_hnsw_page_hot(hot_page, hot_address);
	HnswNode   *node = vdb_hnsw_page_node(node_page, node_address);
	const HnswList *list = vdb_hnsw_graph_list(graph, nid);
	const VdbNodeFactors *factors = &graph->factors[nid];
	VdbHotFactors hot_factors;

	hot_factors = vdb_hot_of_node(graph->codec, *factors, vdb_hnsw_graph_hi(graph, nid),
								  vdb_hnsw_graph_lo(graph, nid), writer->scratch,
								  vdb_hnsw_hot_code(hot));
	hot->generation = 2;
	hot->add = hot_factors.add;
	hot->rescale = hot_factors.rescale;
	vdb_page_special(hot_page)->used = hot_address.slot + 1;
	vdb_page_cover(hot_page, hot_address.offset + g->hot_stride);

	memset(node, 0, g->node_stride);
	node->tid = writer->tids[nid];
	node->state = HNSW_LIVE;
	node->layer = graph->levels[nid];
	node->generation = 2;
	node->scale = factors->scale;
	node->add = factors->add;
	node->residual = factors->residual;

	/* the tree's edges first */
	for (int tree = 1; tree >= 0; tree--)
	{
		for (uint32 i = 0; i < list->count; i++)
		{
			uint32		nbr = vdb_hnsw_list_nbr(list)[i];

			if (vdb_hnsw_graph_is_tree_edge(graph, nid, nbr) != (tree == 1))
				continue;
			vdb_hnsw_node_nbr(node)[node->count] = nbr;
			vdb_hnsw_node_length(g, node)[node->count++] =
				vdb_hnsw_length_store(vdb_hnsw_list_score(list, 2 * g->m)[i]);
			node->kept += tree;
		}
	}
	if (g->node_bits != 0)
	{
		memcpy(vdb_hnsw_node_hi(g, node), vdb_hnsw_graph_hi(graph, nid), g->hi_bytes);
		memcpy(vdb_hnsw_node_lo(g, node), vdb_hnsw_graph_lo(graph, nid), g->lo_bytes);
	}
	vdb_page_special(node_page)->used = node_address.slot + 1;
	vdb_page_cover(node_page, node_address.offset + g->node_stride);
}

/* Writes all nodes: extent after extent, so node numbers stay what they are. */
static void
write_nodes(HnswWriter *writer)
{
	HnswIndex  *index = writer->index;
	const HnswGeometry *g = &index->geometry;
	uint32		count = writer->graph->header->count;
	uint32		nid = 0;

	while (nid < count)
	{
		uint32		extent = vdb_hnsw_extend(index, false, index->open_extent, true);
		uint32		end = Min(count, (extent + 1) * g->extent_slots);
		Buffer		hot_buffer = vdb_hnsw_read_hot(index, vdb_hnsw_hot_address(g, nid));

		Assert(nid == extent * g->extent_slots);
		CHECK_FOR_INTERRUPTS();
		LockBuffer(hot_buffer, BUFFER_LOCK_EXCLUSIVE);
		while (nid < end)
		{
			HnswAddress a = vdb_hnsw_node_address(g, nid);
			Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);

			for (uint32 i = 0; i < g->nodes_per_page && nid < end; i++, nid++)
				write_node(writer, nid, BufferGetPage(hot_buffer), BufferGetPage(buffer));
			MarkBufferDirty(buffer);
			UnlockReleaseBuffer(buffer);
		}
		MarkBufferDirty(hot_buffer);
		UnlockReleaseBuffer(hot_buffer);
	}
}

/* Number of a node's list on a layer above 0 in the graph. */
static uint32
list_number(const HnswGraph *graph, uint32 nid, int layer)
{
	uint32		number = vdb_hnsw_graph_list(graph, nid)->up;

	while (--layer > 0)
		number = vdb_hnsw_graph_upper(graph, number)->up;
	return number;
}

/*
 * Writes the lists above layer 0 as records of upper extents.  first: number
 * of the first of these extents; list j becomes the j-th record.
 */
static void
write_uppers(HnswWriter *writer, uint32 first)
{
	const HnswGraph *graph = writer->graph;
	HnswIndex  *index = writer->index;
	const HnswGeometry *g = &index->geometry;
	uint32		count = graph->header->upper_count;
	uint32		base = first * g->upper_slots;

	for (uint32 written = 0; written < count;)
	{
		vdb_hnsw_extend(index, true, index->open_upper, true);
		CHECK_FOR_INTERRUPTS();
		for (int p = 0; p < g->extent_pages && written < count; p++)
		{
			Buffer		buffer = vdb_hnsw_read_upper(index, vdb_hnsw_upper_address(g, base + written),
													 BUFFER_LOCK_EXCLUSIVE);
			Page		page = BufferGetPage(buffer);

			for (int i = 0; i < g->uppers_per_page && written < count; i++, written++)
			{
				HnswAddress a = vdb_hnsw_upper_address(g, base + written);
				HnswUpper  *upper = vdb_hnsw_page_upper(page, a);
				const HnswList *list = vdb_hnsw_graph_upper(graph, written);
				uint32		nid = graph->upper_node[written];
				int			layer = 1;

				while (list_number(graph, nid, layer) != written)
					layer++;
				memset(upper, 0, g->upper_stride);
				upper->nid = nid;
				upper->generation = 2;
				upper->down = layer == 1 ? HNSW_NO_REF : base + list_number(graph, nid, layer - 1);
				upper->layer = layer;
				upper->count = list->count;
				for (uint32 n = 0; n < list->count; n++)
				{
					uint32		nbr = vdb_hnsw_list_nbr(list)[n];

					vdb_hnsw_upper_nbr(upper)[n].nid = nbr;
					vdb_hnsw_upper_nbr(upper)[n].ref = base + list_number(graph, nbr, layer);
				}
				vdb_page_special(page)->used = a.slot + 1;
				vdb_page_cover(page, a.offset + g->upper_stride);
			}
			MarkBufferDirty(buffer);
			UnlockReleaseBuffer(buffer);
		}
	}
}

void
vdb_hnsw_write_graph(HnswIndex *index, const HnswGraph *graph, const ItemPointerData *tids)
{
	const HnswGeometry *g = &index->geometry;
	uint32		entry = graph->header->entry;
	HnswWriter	writer = {.index = index, .graph = graph, .tids = tids};

	writer.scratch = palloc(graph->codec->vector_bytes);
	write_nodes(&writer);
	if (entry != HNSW_NO_NODE)
	{
		uint32		first = index->extents;
		uint32		ref = HNSW_NO_REF;
		int			level = graph->levels[entry];

		write_uppers(&writer, first);
		if (level > 0)
			ref = first * g->upper_slots + list_number(graph, entry, level);
		vdb_hnsw_set_entry(index, entry, ref, level, true);
	}
	pfree(writer.scratch);
}
