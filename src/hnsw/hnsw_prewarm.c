/*
 * hnsw_prewarm.c
 *	  What vdb.prewarm() reads of a graph.
 *
 * For each node that a search expands it weighs some twenty neighbours by their
 * hot slots, which are a small part of the index.  So their pages come first, then
 * those of layers above 0, where all searches begin, and then those of nodes.
 */
#include "postgres.h"

#include "hnsw/hnsw_private.h"

static bool
has_rows(void *index, uint32 extent)
{
	return !vdb_hnsw_is_upper(index, extent, NULL);
}

VdbPageLayout
vdb_hnsw_page_layout(Relation rel)
{
	HnswIndex  *index = vdb_hnsw_open(rel);
	uint32		pages = index->geometry.extent_pages;

	return (VdbPageLayout) {
		.first = vdb_hnsw_extent_block(&index->geometry, 0),
		.extents = index->extents,
		.extent_pages = pages,
		.kinds = {
			{.name = "hot", .of_rows = true, .first = 0, .end = 1},
			{.name = "upper", .of_rows = false, .first = 0, .end = pages},
			{.name = "node", .of_rows = true, .first = 1, .end = pages},
		},
		.has_rows = has_rows,
		.index = index,
	};
}
