/*
 * storage_hints.c
 *	  A backend's memory of which buffer held which block.
 */
#include "postgres.h"

#include "storage/storage_hints.h"
#include "utils/memutils.h"
#include "utils/spccache.h"

void
vdb_hints_init(VdbHints *hints, Relation index, MemoryContext context)
{
	VdbLocator	locator = vdb_relation_locator(index);

	hints->buffers = NULL;
	hints->size = 0;
	hints->context = context;
	vdb_buffer_tag_init(&hints->tag, &locator, MAIN_FORKNUM, 0);
}

static void
grow(VdbHints *hints, BlockNumber block)
{
	Size		size = Max((Size) block + 1, Min((Size) hints->size * 2, (Size) MaxBlockNumber + 1));

	size = Max(size, 64);
	if (hints->buffers == NULL)
		hints->buffers = MemoryContextAllocHuge(hints->context, size * sizeof(Buffer));
	else
		hints->buffers = repalloc_huge(hints->buffers, size * sizeof(Buffer));
	memset(hints->buffers + hints->size, 0, (size - hints->size) * sizeof(Buffer));
	hints->size = (BlockNumber) Min(size, (Size) MaxBlockNumber);
}

Buffer
vdb_hints_read(VdbHints *hints, Relation index, BlockNumber block)
{
	Buffer		buffer;

	if (unlikely(block >= hints->size))
		grow(hints, block);
	buffer = hints->buffers[block];
	if (buffer > 0 && vdb_hints_hold(hints, block, buffer) &&
		ReadRecentBuffer(vdb_relation_locator(index), MAIN_FORKNUM, block, buffer))
		return buffer;
	buffer = ReadBuffer(index, block);
	hints->buffers[block] = buffer;
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
	{
		if (unlikely(block >= hints->size))
			grow(hints, block);
		hints->buffers[block] = result.recent_buffer;
	}
}
