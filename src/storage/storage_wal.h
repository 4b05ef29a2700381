/*
 * storage_wal.h
 *	  The one way to change a page of an index.
 *
 * A change takes up to four pages that the caller holds exclusively locked.
 * Where the index is being built the pages are changed in place and logged
 * when the build is over; otherwise the change is one generic WAL record.
 * That difference exists here and nowhere else.
 */
#ifndef VDB_STORAGE_WAL_H
#define VDB_STORAGE_WAL_H

#include "access/generic_xlog.h"
#include "storage/bufmgr.h"

typedef struct VdbChange
{
	Relation	index;
	GenericXLogState *state;	/* NULL while building */
	int			count;
	Buffer		buffers[MAX_GENERIC_XLOG_PAGES];
} VdbChange;

/* Starts a change; `building`: no WAL. */
extern void vdb_change_begin(VdbChange *change, Relation index, bool building);

/*
 * The page to modify in place of the buffer's.  `fresh`: it will be formatted
 * from nothing, so all of it is logged.
 */
extern Page vdb_change_page(VdbChange *change, Buffer buffer, bool fresh);

/* Makes the change: all of its pages or none. Locks stay with the caller. */
extern void vdb_change_finish(VdbChange *change);

/*
 * Gives a change up before any of its pages was modified (while building, the
 * pages are the real ones).
 */
extern void vdb_change_abort(VdbChange *change);

/* Logs all pages of an index that was built without WAL; at the pace of pace.h, with no lock held. */
extern void vdb_log_new_index(Relation index);

#endif							/* VDB_STORAGE_WAL_H */
