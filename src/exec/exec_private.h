/*
 * exec_private.h
 *	  What the files of this folder know of each other.
 */
#ifndef VDB_EXEC_PRIVATE_H
#define VDB_EXEC_PRIVATE_H

#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/pathnodes.h"

#include "index/index.h"

/* What a plan has in custom_exprs, */
enum
{
	EXACT_ORDER,				/* the distance, an OpExpr */
	EXACT_CONDITIONS			/* of the table, a list, for EvalPlanQual */
};

/* and in custom_private: numbers */
enum
{
	EXACT_VALUE_ARGUMENT,		/* which argument of the operator is the row's, 0 or 1 */
	EXACT_PASSES,				/* a VdbExactPasses */
	EXACT_COLUMN,				/* of the table, the child's rows being its rows; 0: they are two columns */
	EXACT_FIRST,				/* rows that will be read for certain, or nearly; 0: not known */
	EXACT_MIRROR,				/* the index whose mirror is read in place of the child, if it is there; 0: none */
	EXACT_MIRROR_FIRST			/* like EXACT_FIRST, with those that conditions are likely to leave out */
};

/* What becomes of rows that memory does not hold. */
typedef enum VdbExactPasses
{
	EXACT_READS_AGAIN,			/* the child is read once more */
	EXACT_READS_ONCE,			/* they are not asked for */
	EXACT_KEEPS_ALL				/* memory holds all */
} VdbExactPasses;

/* What the child returns of a row, unless that is the row. */
enum
{
	EXACT_CHILD_TID,
	EXACT_CHILD_VALUE
};

/* exec_path.c */
extern bool vdb_mirror_is_enabled;	/* vdb.enable_mirror */
extern const CustomPathMethods vdb_exact_path_methods;

/* exec_scan.c */
extern const CustomScanMethods vdb_exact_scan_methods;

/* exec_block.h */
typedef struct VdbBatchQuery VdbBatchQuery;

/*
 * exec_batch_mirror.c: finds the nearest rows of all queries by a mirror of the index, to their `nearest`, in order; false
 * where there is none that can.  Rows are those that the active snapshot sees, which the user may read.
 */
extern bool vdb_batch_search_mirror(Relation heap, Relation index, const VdbSupport *support, VdbBatchQuery *queries,
									int count);

/* Raises unless the user may call an operator's function: nobody else asks who does not return it. */
extern void vdb_exec_check_function(Oid function);

#endif							/* VDB_EXEC_PRIVATE_H */
