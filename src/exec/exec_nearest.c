/*
 * exec_nearest.c
 *	  The k rows nearest to one query: a heap.
 */
#include "postgres.h"

#include "utils/float.h"

#include "exec/exec_nearest.h"

static int
compare_rows(const void *a, const void *b)
{
	const VdbNearRow *x = a;
	const VdbNearRow *y = b;
	int			order = float8_cmp_internal(x->distance, y->distance);

	if (order == 0)
		order = ItemPointerCompare(unconstify(ItemPointerData *, &x->tid), unconstify(ItemPointerData *, &y->tid));
	return order;
}

static inline bool
is_nearer(const VdbNearRow *a, const VdbNearRow *b)
{
	return compare_rows(a, b) < 0;
}

bool
vdb_nearest_add(VdbNearest *nearest, VdbNearRow row)
{
	VdbNearRow *rows = nearest->rows;
	size_t		at;

	if (nearest->count < nearest->k)
	{
		for (at = nearest->count++; at > 0 && is_nearer(&rows[(at - 1) / 2], &row); at = (at - 1) / 2)
			rows[at] = rows[(at - 1) / 2];
	}
	else if (is_nearer(&row, &rows[0]))
	{
		at = 0;
		for (;;)
		{
			size_t		child = 2 * at + 1;

			if (child >= nearest->k)
				break;
			if (child + 1 < nearest->k && is_nearer(&rows[child], &rows[child + 1]))
				child++;
			if (!is_nearer(&row, &rows[child]))
				break;
			rows[at] = rows[child];
			at = child;
		}
	}
	else
		return false;
	rows[at] = row;
	return true;
}

void
vdb_nearest_sort(VdbNearest *nearest)
{
	qsort(nearest->rows, nearest->count, sizeof(VdbNearRow), compare_rows);
}
