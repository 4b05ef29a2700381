/*
 * storage_wal.c
 *	  Page changes, with and without WAL.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "pace.h"
#include "storage/bufmgr.h"
#include "storage/storage_wal.h"
#include "utils/rel.h"

/* Pages of a new index that are logged without a look at others. */
#define LOGGED_AT_ONCE 128

void
vdb_change_begin(VdbChange *change, Relation index, bool building)
{
	change->index = index;
	change->state = building ? NULL : GenericXLogStart(index);
	change->count = 0;
}

Page
vdb_change_page(VdbChange *change, Buffer buffer, bool fresh)
{
	if (change->count == MAX_GENERIC_XLOG_PAGES)
		elog(ERROR, "too many pages in one change");
	change->buffers[change->count++] = buffer;
	if (change->state == NULL)
		return BufferGetPage(buffer);
	return GenericXLogRegisterBuffer(change->state, buffer, fresh ? GENERIC_XLOG_FULL_IMAGE : 0);
}

void
vdb_change_finish(VdbChange *change)
{
	if (change->state != NULL)
		GenericXLogFinish(change->state);
	else
	{
		for (int i = 0; i < change->count; i++)
			MarkBufferDirty(change->buffers[i]);
	}
}

void
vdb_log_new_index(Relation index)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	if (!RelationNeedsWAL(index))
		return;
	for (BlockNumber first = 0; first < blocks; first += LOGGED_AT_ONCE)
	{
		vdb_pace();
		log_newpage_range(index, MAIN_FORKNUM, first, Min(first + LOGGED_AT_ONCE, blocks), true);
	}
}

void
vdb_change_abort(VdbChange *change)
{
	if (change->state != NULL)
		GenericXLogAbort(change->state);
}
