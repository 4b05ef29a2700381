/*
 * index_order.c
 *	  A binary heap of rows with bounds.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "index/index_order.h"

#define FIRST_SIZE 128

static void
sift_down(VdbOrder *order, uint32 at)
{
	VdbFound	moved = order->rows[at];

	for (;;)
	{
		uint32		child = 2 * at + 1;

		if (child >= order->count)
			break;
		if (child + 1 < order->count && order->rows[child + 1].lower < order->rows[child].lower)
			child++;
		if (moved.lower <= order->rows[child].lower)
			break;
		order->rows[at] = order->rows[child];
		at = child;
	}
	order->rows[at] = moved;
}

void
vdb_order_push(VdbOrder *order, const VdbFound *row)
{
	uint32		at = order->count;

	if (order->count == order->size)
	{
		order->size = Max(2 * order->size, FIRST_SIZE);
		if (order->rows == NULL)
			order->rows = MemoryContextAllocHuge(order->context, (Size) order->size * sizeof(VdbFound));
		else
			order->rows = repalloc_huge(order->rows, (Size) order->size * sizeof(VdbFound));
	}
	order->count++;
	while (at > 0 && row->lower < order->rows[(at - 1) / 2].lower)
	{
		order->rows[at] = order->rows[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	order->rows[at] = *row;
}

void
vdb_order_pop(VdbOrder *order)
{
	order->rows[0] = order->rows[--order->count];
	if (order->count > 0)
		sift_down(order, 0);
}

void
vdb_order_measured(VdbOrder *order, double distance)
{
	order->rows[0].lower = distance;
	order->rows[0].upper = distance;
	order->rows[0].exact = true;
	sift_down(order, 0);
}

bool
vdb_order_is_certain(const VdbOrder *order)
{
	for (uint32 child = 1; child <= 2 && child < order->count; child++)
	{
		if (order->rows[0].upper > order->rows[child].lower)
			return false;
	}
	return true;
}
