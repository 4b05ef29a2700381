/*
 * exec_ahead.h
 *	  Questions that are known ahead, answered together by one pass over a table's rows.
 */
#ifndef VDB_EXEC_AHEAD_H
#define VDB_EXEC_AHEAD_H

#include "exec/exec_block.h"

typedef struct VdbAhead
{
	VdbBlock	block;
	VdbBatchQuery *queries;
	int		   *places;			/* of each question among the queries; -1: it is not one of them */
	bool		has_nulls;		/* there are rows without a value */
} VdbAhead;

/*
 * Makes ready to find the k rows nearest to each question.  NULL where one by one is as well: there are not two questions
 * of the same dimensions, or their rows would take more than work_mem.  Allocates in the current context, to which contexts
 * below it belong.
 */
extern VdbAhead *vdb_ahead_begin(const VdbSupport *support, const NullableDatum *questions, int count, int k);

/* A row; false where it has other dimensions than the questions: the operator is to say so, and nothing more is to be done here. */
extern bool vdb_ahead_add(VdbAhead *ahead, ItemPointer tid, NullableDatum value);

/* After the last row. */
extern void vdb_ahead_finish(VdbAhead *ahead);

/* What was found for a question, nearest first: k rows, or all that have a value.  NULL where it is to be asked by itself. */
extern const VdbNearest *vdb_ahead_nearest(const VdbAhead *ahead, int question);

#endif							/* VDB_EXEC_AHEAD_H */
