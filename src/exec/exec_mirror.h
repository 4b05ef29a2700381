/*
 * exec_mirror.h
 *	  Rows in order of distance, found by a mirror of their vectors.
 */
#ifndef VDB_EXEC_MIRROR_H
#define VDB_EXEC_MIRROR_H

#include "exec/exec_ranked.h"
#include "mirror/mirror.h"

/*
 * Fetches the row whose index entries have this place, and measures it; false where there is none that the query
 * wants.  *distance is what the operator returned; *row has that, and the place of the version that is seen.
 */
typedef bool (*VdbExactMeasure) (void *state, ItemPointer tid, VdbRankedRow *row, double *distance);

typedef enum VdbExactStep
{
	VDB_EXACT_ROW,
	VDB_EXACT_END,
	VDB_EXACT_GONE				/* the mirror is, or memory for rows; rows that were returned were right */
} VdbExactStep;

typedef struct VdbExactMirror VdbExactMirror;

/*
 * Begins a search; NULL where no mirror can answer it (vdb_mirror_begin).  The question lives as long as the context, in
 * which all is allocated.  first: rows that will be read for certain, or nearly.  bytes: that candidates may take, and rows that
 * were measured as much again.
 */
extern VdbExactMirror *vdb_exact_mirror_begin(Relation index, Snapshot snapshot, Datum question, double first,
											  Size bytes, MemoryContext context,
											  VdbExactMeasure measure, void *state);

/*
 * Has the first pass of many searches, which have not begun, be one.  False where the mirror is gone: so will be what each
 * returns.
 */
extern bool vdb_exact_mirror_begin_all(VdbExactMirror **mirrors, int count);

/* The next row, all that are as near being told apart by their places. */
extern VdbExactStep vdb_exact_mirror_next(VdbExactMirror *mirror, VdbRankedRow *row, double *distance);

/* How often the mirror was read. */
extern uint64 vdb_exact_mirror_passes(const VdbExactMirror *mirror);

#endif							/* VDB_EXEC_MIRROR_H */
