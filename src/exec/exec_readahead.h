/*
 * exec_readahead.h
 *	  Rows that a join is going to ask the nearest rows of: questions known ahead.
 */
#ifndef VDB_EXEC_READAHEAD_H
#define VDB_EXEC_READAHEAD_H

#include "nodes/execnodes.h"
#include "nodes/plannodes.h"

/* Rows that were read from the outer side of a join, of which it has one.  They stay until the next batch. */
typedef struct VdbReadahead
{
	uint64		batch;			/* the number of this one, from 1 */
	int			count;
	int			current;		/* the join's */
	NullableDatum *questions;	/* [count] */
} VdbReadahead;

/*
 * Has joins whose inner side is an exact scan that asks with a column of the outer one read ahead there.  After planning; the
 * plan's rows are the same.
 */
extern void vdb_readahead_add(PlannedStmt *statement);

/* What is read ahead for a parameter of a plan that is executed; NULL: nothing.  Lives as long as that. */
extern VdbReadahead *vdb_readahead_find(const EState *estate, int param);

/* Makes the node known; from _PG_init. */
extern void vdb_readahead_init(void);

#endif							/* VDB_EXEC_READAHEAD_H */
