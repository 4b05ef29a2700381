/*
 * storage_hints.c
 *	  A backend's memory of which buffer held which block.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "storage/storage_hints.h"
#include "utils/memutils.h"
#include "utils/spccache.h"

#define LEAST_HINTS 64

void
vdb_hints_init(VdbHints *hints, Relation index, MemoryContext context)
{
	VdbLocator	locator = vdb_relation_locator(index);

	hints->mask = LEAST_HINTS - 1;
	hints->context = context;
	hints->buffers = MemoryContextAllocZero(context, LEAST_HINTS * sizeof(Buffer));
	vdb_buffer_tag_init(&hints->tag, &locator, MAIN_FORKNUM, 0);
}

/*
 * Remembers the buffer of a block.  Until there are as many hints as buffers, each
 * block has one of its own.
 */
static void
remember(VdbHints *hints, BlockNumber block, Buffer buffer)
{
	uint64		most = pg_nextpower2_32(Max(NBuffers, LEAST_HINTS));
	uint64		size = (uint64) hints->mask + 1;
	uint64		wanted = size;

	while (block >= wanted && wanted < most)
		wanted *= 2;
	if (wanted > size)
	{
		hints->buffers = repalloc_huge(hints->buffers, wanted * sizeof(Buffer));
		memset(hints->buffers + size, 0, (wanted - size) * sizeof(Buffer));
		hints->mask = (uint32) (wanted - 1);
	}
	*vdb_hints_at(hints, block) = buffer;
}

Buffer
vdb_hints_read(VdbHints *hints, Relation index, BlockNumber block)
{
	Buffer		buffer = *vdb_hints_at(hints, block);

	if (buffer > 0 && vdb_hints_hold(hints, block, buffer) &&
		ReadRecentBuffer(vdb_relation_locator(index), MAIN_FORKNUM, block, buffer))
		return buffer;
	buffer = ReadBuffer(index, block);
	remember(hints, block, buffer);
	return buffer;
}

void
vdb_hints_request(VdbHints *hints, Relation index, BlockNumber block)
{
	PrefetchBufferResult result;

	if (vdb_hints_is_resident(hints, block) || RelationUsesLocalBuffers(index) ||
		get_tablespace_io_concurrency(index->rd_rel->reltablespace) == 0)
		return;
	result = PrefetchBuffer(index, MAIN_FORKNUM, block);
	if (result.recent_buffer > 0)
		remember(hints, block, result.recent_buffer);
}
