/*
 * exec_bound.h
 *	  Which rows may be as near to a query as the k-th nearest so far, by inner products that are
 *	  not exact.
 *
 * Pure C: no server header.  The claim is about what the operator returns, with its own rounding:
 * no row whose distance is the k-th's or less is left out, whoever computed the product.
 *
 * All three metrics come down to one comparison.  A row may be near enough unless
 *	 product < query.add + row.add - query.slope * row.length
 */
#ifndef VDB_EXEC_BOUND_H
#define VDB_EXEC_BOUND_H

#include "quant/codec.h"

/* Of one batch. */
typedef struct VdbBound
{
	VdbMetric	metric;			/* L2, IP or cosine */
	uint32_t	dims;
	double		error;			/* of a float32 sum of dims terms, relative to them */
	double		tiny;			/* of numbers that are too small for that */
	double		longest;		/* of the queries' lengths */
} VdbBound;

typedef struct VdbBoundRow
{
	double		add;			/* -infinity: the row must be measured */
	double		length;			/* not smaller than it is */
} VdbBoundRow;

typedef struct VdbBoundQuery
{
	double		square;			/* of its length, at least */
	double		length;			/* at most */
	double		add;			/* -infinity: all rows must be measured */
	double		slope;
} VdbBoundQuery;

extern void vdb_bound_init(VdbBound *bound, VdbMetric metric, uint32_t dims);

/* A query, before all rows; each row must be measured until a bound is set. */
extern void vdb_bound_init_query(VdbBound *bound, VdbBoundQuery *query, const float *x);

/* A row, after all queries. */
extern VdbBoundRow vdb_bound_row(const VdbBound *bound, const float *x);

/* The operator's distance of the k-th nearest row so far, which may be no number. */
extern void vdb_bound_set(const VdbBound *bound, VdbBoundQuery *query, double distance);

/* The numbers of those of n rows that must be measured, ascending, to out; returns how many. */
extern size_t vdb_bound_select(const VdbBoundQuery *query, size_t n, const float *products,
							   const VdbBoundRow *rows, uint32_t *out);

#endif							/* VDB_EXEC_BOUND_H */
