/*
 * index_order.h
 *	  Rows that were found, in the order in which a scan may return them.
 *
 * Each has bounds of the operator's distance.  The first by its lower bound may be
 * returned as soon as its upper bound is no greater than all other lower bounds.
 */
#ifndef VDB_INDEX_ORDER_H
#define VDB_INDEX_ORDER_H

#include "storage/itemptr.h"
#include "utils/palloc.h"

typedef struct VdbFound
{
	double		lower;			/* bounds of the operator's distance, */
	double		upper;			/* equal once it is known exactly */
	ItemPointerData tid;
	bool		exact;
} VdbFound;

/* A heap by lower bound. */
typedef struct VdbOrder
{
	MemoryContext context;
	VdbFound   *rows;
	uint32		count;
	uint32		size;
} VdbOrder;

extern void vdb_order_push(VdbOrder *order, const VdbFound *row);

/* Takes the first away. */
extern void vdb_order_pop(VdbOrder *order);

/* Says that the distance of the first is known. */
extern void vdb_order_measured(VdbOrder *order, double distance);

/* Is the first one's upper bound no greater than the others' lower bounds? */
extern bool vdb_order_is_certain(const VdbOrder *order);

#endif							/* VDB_INDEX_ORDER_H */
