/*
 * storage_patch.h
 *	  A change of which the caller knows the bytes.
 *
 * A VdbChange hands out copies of pages and compares them with the pages to
 * find out what was changed.  Where that is a few bytes, telling is much
 * cheaper than finding out.  A patch is told: it becomes the same generic WAL
 * record, and until it is finished no page is touched.
 */
#ifndef VDB_STORAGE_PATCH_H
#define VDB_STORAGE_PATCH_H

#include "access/generic_xlog.h"
#include "lib/stringinfo.h"
#include "storage/bufmgr.h"

/* Pages of one record; what the server's replay has room for. */
#define VDB_PATCH_PAGES MAX_GENERIC_XLOG_PAGES

typedef struct VdbPatchPage
{
	Buffer		buffer;
	int			lower;			/* pd_lower afterwards */
	StringInfoData delta;		/* as replay reads it */
} VdbPatchPage;

typedef struct VdbPatch
{
	Relation	index;
	int			count;
	VdbPatchPage pages[VDB_PATCH_PAGES];
} VdbPatch;

/* Starts a patch of an index that is not being built. */
extern void vdb_patch_begin(VdbPatch *patch, Relation index);

/*
 * Has the patch write bytes at an offset of a page, which the caller holds
 * exclusively locked until the patch is finished.  Writes do not overlap.
 * pd_lower moves along.  Memory is of the current context.
 */
extern void vdb_patch_write(VdbPatch *patch, Buffer buffer, int offset, const void *bytes,
							int length);

/* Has what lies before an offset hold data: zeros, where nothing was written yet. */
extern void vdb_patch_cover(VdbPatch *patch, Buffer buffer, int end);

/* Writes all, in one record. Locks stay with the caller. */
extern void vdb_patch_finish(VdbPatch *patch);

#endif							/* VDB_STORAGE_PATCH_H */
