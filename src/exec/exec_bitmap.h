/*
 * exec_bitmap.h
 *	  Pages that a bitmap scan will come to, on their way into the CPU's cache.
 */
#ifndef VDB_EXEC_BITMAP_H
#define VDB_EXEC_BITMAP_H

#include "nodes/execnodes.h"
#include "storage/itemptr.h"

#include "compat.h"

#define VDB_BITMAP_PAGES 16		/* so many ahead, a power of two */
#define VDB_BITMAP_ROWS 4		/* of a page, at most */

typedef struct VdbBitmapPage
{
	BlockNumber block;
	Buffer		buffer;
	int			count;			/* of rows */
	OffsetNumber rows[VDB_BITMAP_ROWS];
} VdbBitmapPage;

/* One pass over a bitmap scan. */
typedef struct VdbBitmapAhead
{
	BitmapHeapScanState *scan;	/* NULL: there is nothing to be done */
	VdbBitmapIterator *iterator;	/* beside that of the scan; NULL before the first row */
	BlockNumber current;		/* block that the scan has come to */
	int			missing;		/* pages in turn that were in no buffer */
	bool		ended;			/* there are no more pages to be looked for */
	uint32		passed;			/* pages that the scan has come to, */
	uint32		opened;			/* whose rows were asked for, */
	uint32		found;			/* and that were found: pages[i % VDB_BITMAP_PAGES] */
	VdbBitmapPage pages[VDB_BITMAP_PAGES];
} VdbBitmapAhead;

/*
 * Begins a pass over a node's rows.  Where that is no bitmap scan of a heap, by this process alone, the
 * other functions do nothing.
 */
extern void vdb_bitmap_ahead_begin(VdbBitmapAhead *ahead, PlanState *node);

extern void vdb_bitmap_ahead_move(VdbBitmapAhead *ahead, BlockNumber block);

/* The scan has returned a row of this block. */
static inline void
vdb_bitmap_ahead_step(VdbBitmapAhead *ahead, BlockNumber block)
{
	if (ahead->scan != NULL && block != ahead->current)
		vdb_bitmap_ahead_move(ahead, block);
}

/* Before the scan is scanned again or ended. */
extern void vdb_bitmap_ahead_end(VdbBitmapAhead *ahead);

#endif							/* VDB_EXEC_BITMAP_H */
