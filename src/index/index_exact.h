/*
 * index_exact.h
 *	  What the operator returns for a row of the table, measured.
 */
#ifndef VDB_INDEX_EXACT_H
#define VDB_INDEX_EXACT_H

#include "access/relscan.h"
#include "nodes/execnodes.h"

#include "index/index.h"
#include "storage/storage_toast.h"

/* Fetches rows, for a scan or others; all zero but for the memory: nothing is open. */
typedef struct VdbExact
{
	MemoryContext memory;		/* of the caller, over rescans */
	IndexFetchTableData *fetch; /* NULL until the first use */
	TupleTableSlot *slot;
	IndexInfo  *info;			/* for expressions, else NULL */
	EState	   *estate;
	VdbToast	toast;
	MemoryContext context;		/* reset after each row */
} VdbExact;

/*
 * The operator's distance between the row at tid and the question, 0 for null, from
 * which all is infinitely far.  False when no version of the row is visible to the scan's
 * snapshot, or none of a vector of these dimensions.  Uses memory of the current context.
 */
extern bool vdb_exact_measure(VdbExact *exact, IndexScanDesc scan, ItemPointerData tid,
							  const VdbSupport *support, uint32 dims, Datum question,
							  double *distance);

/*
 * Raises unless VACUUM keeps what a scan's snapshot sees: nodes and lanes of rows that it has
 * taken are gone, or another row's.  To be asked before pages are read and after.
 */
extern void vdb_exact_check_snapshot(IndexScanDesc scan);

/*
 * The indexed value of a row of an index's table, of the last version that a snapshot of any
 * kind sees.  It is not toasted, and there until the row is released, which is to be done when
 * true was returned.
 */
extern bool vdb_exact_fetch(VdbExact *exact, Relation heap, Relation index, Snapshot snapshot,
							ItemPointerData tid, Datum *value);
extern void vdb_exact_release(VdbExact *exact);

/* Lets go of the page that the last row was on: before a scan returns one. */
extern void vdb_exact_rest(VdbExact *exact);

/* Before the scan starts anew, and when it ends. */
extern void vdb_exact_reset(VdbExact *exact);
extern void vdb_exact_end(VdbExact *exact);

#endif							/* VDB_INDEX_EXACT_H */
