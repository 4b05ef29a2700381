/*
 * ivf_layout.c
 *	  How much of what fits a page.
 */
#include "postgres.h"

#include "ivf/ivf.h"

/* Bytes of a page for groups or records. */
#define PAGE_ROOM ((uint32) (VDB_PAGE_END - IVF_PAGE_FIRST))

/* The longest extent, in pages: it is added to an index at once. */
#define MAX_EXTENT_PAGES 8

/* Groups begin at a multiple, so that the numbers in them can be read as such. */
#define GROUP_ALIGN 16

static uint32
group_bytes(uint32 code_bytes, uint32 payload_bytes)
{
	return TYPEALIGN(GROUP_ALIGN, sizeof(IvfGroup) +
					 IVF_LANES * (2 * sizeof(float) + payload_bytes + code_bytes));
}

/* Bytes of a row's payload. */
static uint32
row_payload_bytes(const IvfCoding *coding)
{
	return sizeof(ItemPointerData) + coding->attr_bytes + (coding->spill ? 1 : 0);
}

uint32
vdb_ivf_max_code_bytes(const IvfCoding *coding)
{
	uint32		payload = Max(row_payload_bytes(coding), sizeof(IvfList));
	uint32		fixed = group_bytes(0, payload);

	return fixed > PAGE_ROOM ? 0 : (PAGE_ROOM - fixed) / IVF_LANES;
}

uint32
vdb_ivf_record_code_bytes(const VdbCodec *codec, uint32 bits)
{
	return (codec->P * bits + 7) / 8;
}

/* Groups of an extent of so many pages, of which the first are scan pages. */
static uint32
extent_groups(const IvfShelf *shelf, uint32 pages, uint32 scan_pages)
{
	uint32		groups = scan_pages * shelf->page_groups;

	if (shelf->record_bits == 0)
		return groups;
	return Min(groups, (pages - scan_pages) * shelf->page_records / IVF_LANES);
}

/* Divides an extent's pages so that it has the most groups. */
static void
divide_extent(IvfShelf *shelf, uint32 pages)
{
	shelf->extent_groups = 0;
	for (uint32 scan_pages = 1; scan_pages <= pages; scan_pages++)
	{
		uint32		groups = extent_groups(shelf, pages, scan_pages);

		if (groups > shelf->extent_groups)
		{
			shelf->extent_groups = groups;
			shelf->scan_pages = scan_pages;
		}
	}
}

/* Bytes of a code on a grid, and of a row's code. */
static uint32
grid_bytes(const IvfCoding *coding)
{
	return coding->scan_dims * coding->scan_bits / 8;
}

static uint32
row_code_bytes(const IvfCoding *coding)
{
	switch (coding->scan_kind)
	{
		case VDB_SCAN_GRID:
			return grid_bytes(coding);
		case VDB_SCAN_PRODUCT:
			return coding->scan_parts / 2;
		default:
			return 0;
	}
}

static bool
init_shelf(IvfShelf *shelf, const VdbCodec *codec, uint32 code_bytes, uint32 payload_bytes,
		   uint32 record_bits)
{
	shelf->code_bytes = code_bytes;
	shelf->payload_bytes = payload_bytes;
	shelf->record_bits = record_bits;
	shelf->group_stride = group_bytes(shelf->code_bytes, payload_bytes);
	shelf->page_groups = PAGE_ROOM / shelf->group_stride;
	shelf->record_stride = 0;
	shelf->page_records = 0;
	if (record_bits > 0)
	{
		shelf->record_stride = TYPEALIGN(sizeof(uint32), sizeof(IvfRecord) +
										 vdb_ivf_record_code_bytes(codec, record_bits));
		shelf->page_records = PAGE_ROOM / shelf->record_stride;
	}
	return shelf->page_groups > 0 && (record_bits == 0 || shelf->page_records > 0);
}

static uint32
float_pages(uint32 values)
{
	return (values + IVF_FLOATS_PER_PAGE - 1) / IVF_FLOATS_PER_PAGE;
}

bool
vdb_ivf_geometry(IvfGeometry *g, const VdbCodec *codec, const IvfCoding *coding)
{
	IvfShelf   *rows = &g->shelves[IVF_ROWS];
	IvfShelf   *lists = &g->shelves[IVF_LISTS];
	uint32		needed = 1;		/* pages of the shortest extent that has a group */
	uint32		best = 0;

	memset(g, 0, sizeof(*g));
	if (!init_shelf(rows, codec, row_code_bytes(coding), row_payload_bytes(coding), coding->refine_bits) ||
		!(init_shelf(lists, codec, grid_bytes(coding), sizeof(IvfList), IVF_CENTROID_BITS) ||
		  init_shelf(lists, codec, grid_bytes(coding), sizeof(IvfList), IVF_CENTROID_BITS / 2)))
		return false;
	rows->scan_kind = VDB_PAGE_IVF_ROWS;
	rows->record_kind = VDB_PAGE_IVF_ROW_RECORDS;
	lists->scan_kind = VDB_PAGE_IVF_LISTS;
	lists->record_kind = VDB_PAGE_IVF_LIST_RECORDS;
	for (int i = 0; i < IVF_SHELVES; i++)
	{
		uint32		records = g->shelves[i].page_records;

		if (g->shelves[i].record_bits > 0)
			needed = Max(needed, 1 + (IVF_LANES + records - 1) / records);
	}

	/* of lengths that do, the one with the most rows on a page */
	for (uint32 pages = needed; pages <= Max(needed, MAX_EXTENT_PAGES); pages++)
	{
		divide_extent(rows, pages);
		if (best == 0 || rows->extent_groups * g->extent_pages > best * pages)
		{
			best = rows->extent_groups;
			g->extent_pages = pages;
		}
	}
	divide_extent(rows, g->extent_pages);
	divide_extent(lists, g->extent_pages);
	g->center_values = codec->P;
	g->center_pages = float_pages(g->center_values);
	if (coding->scan_kind == VDB_SCAN_PRODUCT)
		g->codebook_values = vdb_codebook_values(codec->P);
	if (coding->rotated)
		g->codebook_values += codec->P * codec->P;
	g->codebook_pages = float_pages(g->codebook_values);
	g->max_extents = (MaxBlockNumber - 1 - g->center_pages - g->codebook_pages) / g->extent_pages;
	g->max_extents = Min(g->max_extents, PG_UINT32_MAX / IVF_LANES /
						 Max(rows->extent_groups, lists->extent_groups));
	return true;
}
