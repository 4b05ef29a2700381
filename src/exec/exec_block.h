/*
 * exec_block.h
 *	  Rows that are measured against all queries of a batch, a block at a time.
 */
#ifndef VDB_EXEC_BLOCK_H
#define VDB_EXEC_BLOCK_H

#include "compute/compute.h"
#include "exec/exec_bound.h"
#include "exec/exec_nearest.h"
#include "exec/exec_private.h"
#include "index/index.h"
#include "storage/storage_toast.h"

/* One query of a batch; `bound` is the block's. */
struct VdbBatchQuery
{
	int			number;			/* its place in the user's array, from 1 */
	Datum		value;			/* not toasted */
	VdbNearest	nearest;
	VdbBoundQuery bound;
};

typedef struct VdbBlock
{
	const VdbSupport *support;
	uint32		dims;
	VdbBatchQuery *queries;
	int			query_count;

	/* rows of the block */
	int			room;
	int			count;
	uint64		distances;		/* measured in all */
	Size		bytes;			/* of their values */
	Datum	   *values;
	ItemPointerData *tids;
	uint32	   *selected;		/* that are to be measured for a query */
	MemoryContext values_context;	/* reset after each block */
	MemoryContext row_context;	/* reset after each row */
	VdbToast	toast;

	/* where the distance follows from an inner product; else provider is NULL */
	const VdbProvider *provider;
	float	   *query_floats;	/* [query_count x dims] */
	float	   *floats;			/* [room x dims] */
	float	   *products;		/* [a tile of queries x count] */
	VdbBound	bound;
	VdbBoundRow *bounds;
} VdbBlock;

/*
 * For queries of these dimensions, which have no rows yet but room for them.
 * Allocates in the current context, to which what is below the block belongs.
 */
extern void vdb_block_init(VdbBlock *block, const VdbSupport *support, uint32 dims,
						   VdbBatchQuery *queries, int query_count);

/* A row and its value, which is not null; false, and it is left out, where that has other dimensions. */
extern bool vdb_block_add(VdbBlock *block, ItemPointer tid, Datum value);

/* After the last row: each query has its nearest ones, in order. */
extern void vdb_block_finish(VdbBlock *block);

#endif							/* VDB_EXEC_BLOCK_H */
