/*
 * mirror.h
 *	  Copies of indexed vectors in shared memory, which exact searches read in place of the table.
 *
 * A mirror belongs to an index and has a row for each of the table's rows that the index is of, those
 * with nulls and others that the index itself leaves out among them.  It is there where somebody asked for it, within
 * vdb.mirror_memory; without that, or where the library is not preloaded, all of this does nothing.
 */
#ifndef VDB_MIRROR_H
#define VDB_MIRROR_H

#include "access/genam.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* mirror.c: defines settings and asks for shared memory; from _PG_init. */
extern void vdb_mirror_init(void);

/* Is there to be memory for mirrors?  After that, in _PG_init as well. */
extern bool vdb_mirror_is_asked_for(void);

/* --- for access methods: mirror_write.c ----------------------------------------------------- */

/*
 * A new row of an index, from aminsert: before the inserting transaction can commit.  May be called for a row
 * whose transaction fails later.  Takes LWLocks for moments; raises what reading the value raises, and where a serialisable
 * reader missed the row that should not.
 */
extern void vdb_mirror_insert(Relation heap, Relation index, Datum value, bool isnull, ItemPointer tid);

/* Takes out rows for which the callback returns true: from ambulkdelete, before it returns. */
extern void vdb_mirror_remove(Relation index, IndexBulkDeleteCallback callback, void *state);

/* An index is about to be built anew in the same files, so what is known of it does not hold: from ambuild. */
extern void vdb_mirror_forget(Relation index);

/* --- for the planner and for scans: mirror_search.c ------------------------------------------- */

/* Is there any mirror, of an index of whichever database? */
extern bool vdb_mirror_is_any(void);

/* Is there a mirror of an index?  How many rows it has, of how many dimensions. */
extern bool vdb_mirror_find(Relation index, double *rows, uint32 *dims);

typedef struct VdbMirrorSearch VdbMirrorSearch;

/*
 * A search by a question, which is of the index's type, not toasted, and lives as long as the search.  NULL where there
 * is no mirror, or it does not have all that the snapshot sees, or the question is none that it can answer: then
 * the table is to be read.  Allocates in the current context.
 */
extern VdbMirrorSearch *vdb_mirror_begin(Relation index, Snapshot snapshot, Datum question);

/*
 * Takes a row, and a lower bound of what the operator returns for it, which may be infinite.  Returns the bound up to which
 * rows are wanted from now on.  Called with no lock; allocates, if at all, outside of the current context.
 */
typedef double (*VdbMirrorTake) (ItemPointer tid, double lower, void *state);

/* What a pass is to find for one of its searches. */
typedef struct VdbMirrorWanted
{
	VdbMirrorSearch *search;
	double		limit;			/* rows whose bound is not above this; the pass changes it */
	uint32		few;			/* not 0: so many of the nearest would do, or fewer, */
	bool		cut;			/* which the pass says: none behind the last of those that it handed out were looked at */
	VdbMirrorTake take;
	void	   *state;
} VdbMirrorWanted;

/*
 * Hands out all rows that are wanted: each that the snapshot sees, perhaps twice, and others that it does not see.  A row
 * that it sees has the same bound in each pass of a search.  One pass serves many searches, count >= 1, that began with the
 * same mirror.  False where it is there no more, or is another one, perhaps after some rows: then what was handed out is to
 * be forgotten.
 */
extern bool vdb_mirror_pass(VdbMirrorWanted *wanted, int count);

/* --- for workers: mirror_load.c --------------------------------------------------------------- */

/* Could an index have a mirror that it has not, here and now? */
extern bool vdb_mirror_may_be_made(Relation index);

/*
 * Makes a mirror of an index, if there is none; the caller holds ShareUpdateExclusiveLock on the table.  Waits for all
 * transactions that write to the table.  evict: others may have to go for it.  Raises where an index cannot have one, or there is
 * no room, and in a transaction that has written.
 */
extern void vdb_mirror_load(Relation heap, Relation index, bool evict);

#endif							/* VDB_MIRROR_H */
