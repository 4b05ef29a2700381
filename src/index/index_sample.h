/*
 * index_sample.h
 *	  Some rows of a table that is to be indexed, and how many there are.
 */
#ifndef VDB_INDEX_SAMPLE_H
#define VDB_INDEX_SAMPLE_H

#include "nodes/execnodes.h"
#include "utils/relcache.h"

/* How many rows of a table are to be indexed. */
typedef struct VdbRowEstimate
{
	double		expected;
	double		most;			/* hardly ever more */
} VdbRowEstimate;

/* Fewer rows than this say little about those to come. */
#define VDB_SAMPLE_MIN_ROWS 64

/* Blocks that tell what a table is like. */
#define VDB_SAMPLE_BLOCKS 300

/*
 * Hands about so many rows of a table, no null among them, to a function, from blocks drawn
 * at random: as many as that, or all there are.  There are never more than rows + blocks.
 * The function runs in memory that is reset after each row.  rows may be 0.
 */
extern VdbRowEstimate vdb_index_sample(Relation heap, Relation rel, IndexInfo *info, uint32 rows,
									   uint32 blocks, void (*take) (Datum value, void *state),
									   void *state);

#endif							/* VDB_INDEX_SAMPLE_H */
