/*
 * hnsw_write.c
 *	  From nodes and graphs in memory to the pages of an index.
 *
 * Whoever made them, and however, is no concern of this file: it writes each
 * page in order, and logs nothing.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "utils/backend_progress.h"

#include "hnsw/hnsw_place.h"
#include "hnsw/hnsw_private.h"
#include "pace.h"

void
vdb_hnsw_writer_init(HnswWriter *writer, HnswIndex *index)
{
	writer->index = index;
	writer->slots = 0;
	writer->postings.rows = 0;
	writer->postings.tids = palloc(vdb_hnsw_postings_room(&index->geometry) * sizeof(ItemPointerData));
	writer->scratch = palloc(index->codec.vector_bytes);
	writer->scores = palloc(2 * index->geometry.m * sizeof(float));
}

static void
fill_hot(HnswWriter *writer, const HnswNewNode *from, Page page, HnswAddress a)
{
	const HnswGeometry *g = &writer->index->geometry;
	HnswHot    *hot = vdb_hnsw_page_hot(page, a);
	VdbHotFactors factors = vdb_hot_of_node(&writer->index->codec, from->factors, from->hi, from->lo,
											writer->scratch, vdb_hnsw_hot_code(hot));

	hot->generation = 2;
	hot->add = factors.add;
	hot->rescale = factors.rescale;
	memcpy(vdb_hnsw_page_attributes(g, page, a), from->attributes, g->attr_bytes);
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + g->hot_stride);
}

static void
fill_node(HnswWriter *writer, const HnswNewNode *from, Page page, HnswAddress a)
{
	const HnswGeometry *g = &writer->index->geometry;
	HnswNode   *node = vdb_hnsw_page_node(page, a);

	memset(node, 0, g->node_stride);
	node->tid = from->tid;
	node->state = HNSW_LIVE;
	node->layer = from->layer;
	node->generation = 2;
	node->duplicates = from->duplicates;
	node->hash = from->hash;
	node->scale = from->factors.scale;
	node->add = from->factors.add;
	node->residual = vdb_bfloat_above(from->factors.residual);
	node->count = from->count;
	node->kept = from->kept;
	for (uint32 i = 0; i < from->count; i++)
	{
		vdb_hnsw_node_nbr(node)[i] = from->edges[i].nid;
		writer->scores[i] = from->edges[i].score;
	}
	vdb_hnsw_lengths_store(vdb_hnsw_node_lengths(g, node), writer->scores, from->count, 2 * g->m);
	if (g->node_bits != 0)
	{
		memcpy(vdb_hnsw_node_hi(g, node), from->hi, g->hi_bytes);
		memcpy(vdb_hnsw_node_lo(g, node), from->lo, g->lo_bytes);
	}
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + g->node_stride);
}

/* Fills the hot slot of postings, whose code and attributes are zeros. */
static void
fill_postings_hot(HnswWriter *writer, Page page, HnswAddress a)
{
	HnswHot    *hot = vdb_hnsw_page_hot(page, a);

	hot->generation = 2;
	vdb_hnsw_mark_postings(hot);
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + writer->index->geometry.hot_stride);
}

static void
fill_postings(HnswWriter *writer, uint32 nid, const HnswNewPostings *from, Page page, HnswAddress a)
{
	const HnswGeometry *g = &writer->index->geometry;
	HnswPostings *postings = vdb_hnsw_page_postings(page, a);

	memset(postings, 0, g->node_stride);
	postings->state = HNSW_POSTINGS;
	postings->generation = 2;
	postings->next = from->rank > 1 ? nid : HNSW_NO_POSTINGS;	/* + 1: the slot before */
	postings->owner = from->owner;
	postings->owner_generation = 2;
	postings->rank = from->rank;
	postings->rows = from->rows;
	memcpy(vdb_hnsw_postings_tids(postings), from->tids, from->rows * sizeof(ItemPointerData));
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + g->node_stride);
}

/* Fills the two slots of a number, with a node or else postings, in an extent that exists. */
static void
put_slots(HnswWriter *writer, uint32 nid, const HnswNewNode *node, const HnswNewPostings *postings)
{
	HnswIndex  *index = writer->index;
	HnswAddress hot_address = vdb_hnsw_hot_address(&index->geometry, nid);
	HnswAddress node_address = vdb_hnsw_node_address(&index->geometry, nid);
	Buffer		hot_buffer = vdb_hnsw_read_hot(index, hot_address);
	Buffer		node_buffer;

	LockBuffer(hot_buffer, BUFFER_LOCK_EXCLUSIVE);
	node_buffer = vdb_hnsw_read_node(index, node_address, BUFFER_LOCK_EXCLUSIVE);
	if (node != NULL)
	{
		fill_hot(writer, node, BufferGetPage(hot_buffer), hot_address);
		fill_node(writer, node, BufferGetPage(node_buffer), node_address);
	}
	else
	{
		fill_postings_hot(writer, BufferGetPage(hot_buffer), hot_address);
		fill_postings(writer, nid, postings, BufferGetPage(node_buffer), node_address);
	}
	MarkBufferDirty(node_buffer);
	UnlockReleaseBuffer(node_buffer);
	MarkBufferDirty(hot_buffer);
	UnlockReleaseBuffer(hot_buffer);
}

/* The number that is next, in an extent that exists. */
static uint32
next_number(HnswWriter *writer)
{
	HnswIndex  *index = writer->index;
	uint32		slots = index->geometry.extent_slots;
	uint32		nid = writer->slots++;

	if (nid % slots == 0)
	{
		uint32		extent = vdb_hnsw_append_extent(index, false, HNSW_NO_EXTENT);

		if (extent != nid / slots)
			elog(ERROR, "unexpected extent %u in index \"%s\", expected %u", extent,
				 RelationGetRelationName(index->rel), nid / slots);
		vdb_pace();
	}
	return nid;
}

void
vdb_hnsw_write_node(HnswWriter *writer, const HnswNewNode *node)
{
	put_slots(writer, next_number(writer), node, NULL);
}

void
vdb_hnsw_write_attached_end(HnswWriter *writer)
{
	if (writer->postings.rows > 0)
		put_slots(writer, next_number(writer), NULL, &writer->postings);
	writer->postings.rows = 0;
}

void
vdb_hnsw_write_attached(HnswWriter *writer, uint32 owner, const ItemPointerData *tid)
{
	HnswNewPostings *postings = &writer->postings;
	bool		same = postings->rows > 0 && postings->owner == owner;

	if (!same || postings->rows == vdb_hnsw_postings_room(&writer->index->geometry))
	{
		vdb_hnsw_write_attached_end(writer);
		postings->owner = owner;
		postings->rank = same ? postings->rank + 1 : 1;
	}
	postings->tids[postings->rows++] = *tid;
}

uint32
vdb_hnsw_copy_list(const HnswGraph *graph, uint32 nid, HnswOutEdge *edges, uint32 *kept)
{
	const HnswList *list = vdb_hnsw_graph_list(graph, nid);
	const uint32 *nbr = vdb_hnsw_list_nbr(list);
	const float *score = vdb_hnsw_list_score(list, vdb_hnsw_list_max(graph, 0));
	uint32		count = 0;

	for (int tree = 1; tree >= 0; tree--)
	{
		for (uint32 i = 0; i < list->count; i++)
		{
			if (vdb_hnsw_graph_is_tree_edge(graph, nid, nbr[i]) == (tree == 1))
				edges[count++] = (HnswOutEdge) {nbr[i], score[i]};
		}
		if (tree == 1)
			*kept = count;
	}
	return count;
}

void
vdb_hnsw_write_nodes(HnswWriter *writer, const HnswGraph *graph, const HnswNodeRows *rows,
					 bool report)
{
	HnswIndex  *index = writer->index;
	uint32		slots = index->geometry.extent_slots;
	uint32		count = graph->header->count;
	uint32		extents = count / slots + (count % slots != 0);
	uint32		extent;
	HnswOutEdge *edges = palloc(2 * graph->m * sizeof(HnswOutEdge));

	while ((extent = vdb_hnsw_append_extent(index, false, extents)) != HNSW_NO_EXTENT)
	{
		uint32		end = Min(count, (extent + 1) * slots);

		vdb_pace();
		for (uint32 place = extent * slots; place < end; place++)
		{
			uint32		nid = rows->order[place];
			HnswNewNode node = {
				.tid = rows->tids[nid],
				.hash = rows->hashes[nid],
				.duplicates = rows->postings != NULL ? rows->postings[nid] : HNSW_NO_POSTINGS,
				.layer = graph->levels[nid],
				.factors = graph->factors[nid],
				.hi = vdb_hnsw_graph_hi(graph, nid),
				.lo = vdb_hnsw_graph_lo(graph, nid),
				.attributes = rows->attributes + (Size) nid * index->geometry.attr_bytes,
				.edges = edges
			};
			uint32		kept;

			node.count = vdb_hnsw_copy_list(graph, nid, edges, &kept);
			node.kept = kept;
			for (uint32 i = 0; i < node.count; i++)
				edges[i].nid = vdb_hnsw_place_of(graph, edges[i].nid);
			put_slots(writer, place, &node, NULL);
		}
		if (report)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
										 Min(count, (int64) index->extents * slots));
	}
	writer->slots = count;
	pfree(edges);
}

/* Number of a node's list on a layer above 0 of the graph. */
static uint32
list_number(const HnswGraph *graph, uint32 nid, int layer)
{
	uint32		number = vdb_hnsw_graph_list(graph, nid)->up;

	while (--layer > 0)
		number = vdb_hnsw_graph_upper(graph, number)->up;
	return number;
}

/*
 * Number of a node's record on a layer above 0 of the index.  A graph without
 * the index's layer 0 has one for each node, and then those of its own layers.
 */
static uint32
record_number(const HnswGraph *graph, uint32 nid, int layer)
{
	if (graph->bottom == 0)
		return list_number(graph, nid, layer);
	if (layer == 1)
		return nid;
	return graph->header->count + list_number(graph, nid, layer - 1);
}

/* Whose record this is, and on which layer of the index. */
static uint32
record_node(const HnswGraph *graph, uint32 number, int *layer)
{
	uint32		own = graph->bottom == 0 ? 0 : graph->header->count;
	uint32		nid = number < own ? number : graph->upper_node[number - own];

	*layer = 1;
	while (record_number(graph, nid, *layer) != number)
		(*layer)++;
	return nid;
}

static inline const HnswList *
record_list(const HnswGraph *graph, uint32 number)
{
	uint32		own = graph->bottom == 0 ? 0 : graph->header->count;

	return number < own ? vdb_hnsw_graph_list(graph, number) : vdb_hnsw_graph_upper(graph, number - own);
}

/* The index's number of a node of a graph. */
static inline uint32
index_nid(const HnswGraph *graph, const uint32 *nids, uint32 nid)
{
	return nids != NULL ? nids[nid] : vdb_hnsw_place_of(graph, nid);
}

/* Writes record `number`; base: reference of record 0. */
static void
fill_record(const HnswGeometry *g, const HnswGraph *graph, const uint32 *nids, uint32 base,
			uint32 number, Page page)
{
	HnswAddress a = vdb_hnsw_upper_address(g, base + number);
	HnswUpper  *upper = vdb_hnsw_page_upper(page, a);
	const HnswList *list = record_list(graph, number);
	int			layer;
	uint32		nid = record_node(graph, number, &layer);

	memset(upper, 0, g->upper_stride);
	upper->nid = index_nid(graph, nids, nid);
	upper->generation = 2;
	upper->down = layer == 1 ? HNSW_NO_REF : base + record_number(graph, nid, layer - 1);
	upper->layer = layer;
	upper->count = list->count;
	for (uint32 n = 0; n < list->count; n++)
	{
		uint32		nbr = vdb_hnsw_list_nbr(list)[n];

		vdb_hnsw_upper_nbr(upper)[n].nid = index_nid(graph, nids, nbr);
		vdb_hnsw_upper_nbr(upper)[n].ref = base + record_number(graph, nbr, layer);
	}
	vdb_page_special(page)->used = a.slot + 1;
	vdb_page_cover(page, a.offset + g->upper_stride);
}

void
vdb_hnsw_write_uppers(HnswWriter *writer, const HnswGraph *graph, const uint32 *nids)
{
	HnswIndex  *index = writer->index;
	const HnswGeometry *g = &index->geometry;
	uint32		entry = graph->header->entry;
	uint32		count = graph->header->upper_count;
	uint32		base;
	int			top;

	if (entry == HNSW_NO_NODE)
		return;
	vdb_hnsw_refresh(index);
	base = index->extents * g->upper_slots;
	if (graph->bottom != 0)
		count += graph->header->count;
	for (uint32 written = 0; written < count;)
	{
		vdb_hnsw_append_extent(index, true, HNSW_NO_EXTENT);
		vdb_pace();
		for (int p = 0; p < g->extent_pages && written < count; p++)
		{
			Buffer		buffer = vdb_hnsw_read_upper(index, vdb_hnsw_upper_address(g, base + written),
													 BUFFER_LOCK_EXCLUSIVE);

			for (int i = 0; i < g->uppers_per_page && written < count; i++)
				fill_record(g, graph, nids, base, written++, BufferGetPage(buffer));
			MarkBufferDirty(buffer);
			UnlockReleaseBuffer(buffer);
		}
	}
	top = graph->levels[entry] + graph->bottom;
	vdb_hnsw_set_entry(index, index_nid(graph, nids, entry),
					   top > 0 ? base + record_number(graph, entry, top) : HNSW_NO_REF, top, true);
}
