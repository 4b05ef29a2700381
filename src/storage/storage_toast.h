/*
 * storage_toast.h
 *	  Values that are stored out of line, read one after the other.
 *
 * The server opens the table of such values, its index, and a scan of that for each
 * value anew, which takes as long as reading the value.  A reader keeps them open, and a backend remembers
 * where values that were read begin.
 */
#ifndef VDB_STORAGE_TOAST_H
#define VDB_STORAGE_TOAST_H

#include "access/genam.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* All zero but for the first two: nothing is open. */
typedef struct VdbToast
{
	MemoryContext context;		/* the caller's, for all that is below and what the scan
								 * allocates; lives until the reader is closed */
	bool		in_order;		/* values are read one behind the other, and soon: a page may stay
								 * pinned between calls, and the next value is looked for behind it */
	Relation	rel;
	BlockNumber blocks;			/* it has at least, while it is open */
	Relation   *indexes;
	int			index_count;
	IndexScanDesc scan;			/* NULL: not a heap */
	TupleTableSlot *slot;
	SnapshotData snapshot;
	ItemPointerData last;		/* the last chunk that was read */
	bool		has_last;
	Buffer		buffer;			/* of its page, perhaps */
	Buffer		next;			/* where the next page was a moment ago */
	BlockNumber next_block;
	bool		locked;
	struct varlena *value;		/* what was read last */
	Size		size;			/* of its memory */
} VdbToast;

/*
 * A value as plain varlena.  It may lie in the reader's memory, until the next call, or
 * in that of the row, or is allocated in the current context.
 *
 * Opens under the current resource owner, which closes all after an error.  Holds
 * AccessShareLock on the table of values and its indexes while it is open; no lock on a page
 * after a call, nor a pin but where that is allowed.  Raises what reading such a value raises.
 */
extern Datum vdb_toast_read(VdbToast *toast, Datum value);

extern void vdb_toast_close(VdbToast *toast);

#endif							/* VDB_STORAGE_TOAST_H */
