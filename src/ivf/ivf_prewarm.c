/*
 * ivf_prewarm.c
 *	  What vdb.prewarm() reads of an inverted file.
 *
 * A search ranks all lists, looks at the scan codes of all rows of some, and at the
 * records of some of these.
 */
#include "postgres.h"

#include "ivf/ivf_private.h"

static bool
has_rows(void *index, uint32 extent)
{
	return vdb_ivf_has_rows(index, extent, NULL);
}

VdbPageLayout
vdb_ivf_page_layout(Relation rel)
{
	IvfIndex   *index = vdb_ivf_open(rel);
	uint32		pages = index->geometry.extent_pages;
	uint32		scan_pages = vdb_ivf_shelf(index, IVF_ROWS)->scan_pages;

	return (VdbPageLayout) {
		.first = vdb_ivf_extent_block(&index->geometry, 0),
		.extents = index->extents,
		.extent_pages = pages,
		.kinds = {
			{.name = "lists", .of_rows = false, .first = 0, .end = pages},
			{.name = "scan", .of_rows = true, .first = 0, .end = scan_pages},
			{.name = "record", .of_rows = true, .first = scan_pages, .end = pages},
		},
		.has_rows = has_rows,
		.index = index,
	};
}
