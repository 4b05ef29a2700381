/*
 * ivf_upkeep.c
 *	  What state an inverted file is in, as far as some of its pages tell.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "ivf/ivf_private.h"

/* Adds up the rows, and the groups that there is room for, of an extent's page. */
static void
count_page(IvfIndex *index, uint32 extent, uint32 page, uint64 *rows, uint64 *groups)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		first = page * shelf->page_groups;
	uint32		room = Min(shelf->page_groups, shelf->extent_groups - first);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, extent * shelf->extent_groups + first);
	Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
	uint32		used = Min(vdb_page_special(BufferGetPage(buffer))->used, room);

	for (uint32 slot = 0; slot < used; slot++)
	{
		a = vdb_ivf_group_address(&index->geometry, shelf, extent * shelf->extent_groups + first + slot);
		*rows += pg_popcount32(vdb_ivf_page_group(BufferGetPage(buffer), a)->used);
	}
	*groups += room;
	UnlockReleaseBuffer(buffer);
}

/*
 * A new index's lists have half a group of no rows each, on average: what is wanted with few
 * rows a list.
 */
static double
measure_filled(IvfIndex *index)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		sample = Min(index->extents, VDB_UPKEEP_EXTENTS);
	uint32		of_rows = 0;
	uint64		rows = 0;
	uint64		groups = 0;
	double		all_groups;
	double		needed;

	for (uint32 i = 0; i < sample; i++)
	{
		uint32		extent = vdb_upkeep_extent(index->extents, i);

		if (!vdb_ivf_has_rows(index, extent, NULL))
			continue;
		of_rows++;
		count_page(index, extent, i % shelf->scan_pages, &rows, &groups);
	}
	if (groups == 0)
		return 1;
	all_groups = (double) index->extents * of_rows / sample * shelf->extent_groups;
	needed = all_groups * rows / groups / IVF_LANES + index->lists / 2.0;
	return Min(1, needed / all_groups);
}

void
vdb_ivf_upkeep(Relation rel, double rows, VdbUpkeep *result)
{
	IvfIndex   *index = vdb_ivf_open(rel);
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_SHARE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	UnlockReleaseBuffer(buffer);
	memset(result, 0, sizeof(*result));
	result->wanted = vdb_ivf_options(rel).maintenance;
	result->mirror = vdb_ivf_options(rel).mirror;
	result->unclean = meta.lists > 0 && vdb_ivf_has_changed(&meta, rows);
	result->outdated = vdb_ivf_is_outdated(&meta);
	result->calibrated = meta.lists == 0 || vdb_ivf_is_flat(rel) ||
		vdb_ivf_is_calibrated(&meta.calibration, meta.lists);
	result->filled = measure_filled(index);
}
