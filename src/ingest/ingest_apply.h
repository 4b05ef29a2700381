/*
 * ingest_apply.h
 *	  What the capture process does with changes and with pages of a load, in its transactions.
 */
#ifndef VDB_INGEST_APPLY_H
#define VDB_INGEST_APPLY_H

#include "ingest/ingest_decode.h"

/*
 * Does what a batch asks for: puts keys into the queue, writes targets of pipelines that copy.  A row that
 * cannot be copied is dead; a target that is locked for long puts its pipeline off.  "*embed" is whether there
 * is something to embed now.  In a transaction with a snapshot.
 */
extern void vdb_ingest_apply(VdbBatch *batch, List *watches, bool *embed);

/*
 * Goes through the next page of what a pipeline has to go through, and notes how far it is; false if it has
 * to wait since the queue has enough, or somebody is changing the pipeline or has.  The same conditions.
 */
extern bool vdb_ingest_load_page(VdbWatch *watch, bool *embed);

/*
 * Counts a pipeline's entries of changes, or of what is gone through, up to one more than "most".  The latter are bounded
 * by themselves; if they counted as changes, one that comes meanwhile would have it all begin anew.  The same conditions.
 */
extern int64 vdb_ingest_depth(int pipeline, bool backfill, int64 most);

#endif							/* VDB_INGEST_APPLY_H */
