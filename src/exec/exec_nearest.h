/*
 * exec_nearest.h
 *	  The k rows nearest to one query, of those that were seen.
 */
#ifndef VDB_EXEC_NEAREST_H
#define VDB_EXEC_NEAREST_H

#include "storage/itemptr.h"

/* Compared by distance, as float8's < does it, with NaN last, and then by place: no two rows are equal. */
typedef struct VdbNearRow
{
	double		distance;
	ItemPointerData tid;
} VdbNearRow;

typedef struct VdbNearest
{
	int			k;
	int			count;
	VdbNearRow *rows;			/* [k], the caller's; a heap with the farthest on top */
} VdbNearest;

/* True if the row is one of the k, for now; else nothing changes. */
extern bool vdb_nearest_add(VdbNearest *nearest, VdbNearRow row);

/* The nearest first; after that none can be added. */
extern void vdb_nearest_sort(VdbNearest *nearest);

#endif							/* VDB_EXEC_NEAREST_H */
