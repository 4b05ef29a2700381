/*
 * exec_ranked.h
 *	  Rows in order of distance, as far as they are asked for.
 *
 * A row is its place in the table and a number that orders as the distance does: 16 bytes.
 * All are kept while they fit into the memory that is allowed, the nearest apart from the
 * others, so that who wants few pays for few.  What does not fit is forgotten, the farthest
 * first; who has read what was kept asks for the rows behind it, in another pass over all.
 */
#ifndef VDB_EXEC_RANKED_H
#define VDB_EXEC_RANKED_H

#include "storage/itemptr.h"
#include "utils/palloc.h"

/* Compared by key, then by place: no two rows are equal. */
typedef struct VdbRankedRow
{
	uint64		key;			/* see vdb_ranked_key */
	uint64		place;			/* block << 16 | offset */
} VdbRankedRow;

/* Rows that grow out of the memory of their context. */
typedef struct VdbRankedRows
{
	VdbRankedRow *rows;
	Size		count;
	Size		room;
} VdbRankedRows;

typedef struct VdbRanked
{
	MemoryContext context;		/* of all rows; the caller resets it, then forgets this */
	Size		first;			/* rows that are kept apart, up to twice as many */
	Size		limit;			/* rows that are kept beside them */
	VdbRankedRows near;			/* before the cut */
	VdbRankedRows far;
	VdbRankedRow cut;
	VdbRankedRow floor;			/* rows up to it are not wanted any more */
	bool		has_cut;
	bool		has_floor;
	bool		has_forgotten;	/* rows behind all that are kept */
	VdbRankedRow bound;			/* the last that is kept, then */

	VdbRankedRows *output;		/* NULL: a pass is going on */
	Size		next;			/* to be returned */
	Size		sorted;			/* the first so many are in order */
} VdbRanked;

/*
 * first: rows that will be read for certain, or nearly.  bytes: that all may take, about.
 * Allocates in the context.
 */
extern void vdb_ranked_init(VdbRanked *ranked, MemoryContext context, double first, Size bytes);

/* One row of a pass. */
extern void vdb_ranked_add(VdbRanked *ranked, VdbRankedRow row);

/*
 * The next row.  False where there is none: when *again is set, there may be others, and a pass
 * begins, in which every row is to be added once more.
 */
extern bool vdb_ranked_next(VdbRanked *ranked, VdbRankedRow *row, bool *again);

/* Rows up to this one are not wanted; before any is added. */
extern void vdb_ranked_skip(VdbRanked *ranked, VdbRankedRow row);

/* Rows farther away than this are forgotten at once; infinity as long as there are none. */
extern double vdb_ranked_limit(const VdbRanked *ranked);

/*
 * After a pass in which rows behind the last one that was added were left out, perhaps: another pass has them.  False where none
 * was added, so that all may have been left out.
 */
extern bool vdb_ranked_cut(VdbRanked *ranked);

/* Allows so many times the memory, but not more than these bytes; between passes. */
extern void vdb_ranked_widen(VdbRanked *ranked, Size times, Size bytes);

/* Begins to return rows again with the first; false where that takes another pass, which begins. */
extern bool vdb_ranked_rewind(VdbRanked *ranked);

/*
 * A row at a distance, which is what ORDER BY makes of a float8: -0 is 0, NaN comes after all
 * numbers and null after NaN.
 */
extern VdbRankedRow vdb_ranked_row(double distance, bool isnull, ItemPointer tid);
extern void vdb_ranked_place(const VdbRankedRow *row, ItemPointer tid);

static inline bool
vdb_ranked_is_before(const VdbRankedRow *a, const VdbRankedRow *b)
{
	return a->key != b->key ? a->key < b->key : a->place < b->place;
}

#endif							/* VDB_EXEC_RANKED_H */
