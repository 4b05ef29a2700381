/*
 * storage_hints.h
 *	  Reading a buffer by remembering where it was.
 *
 * A lookup in the shared buffer table is a chain of dependent cache misses.  A
 * backend that remembers the buffer a block was in can have the server check
 * that the block is still there instead (ReadRecentBuffer), and can start to
 * fetch its bytes before asking.  A hint is never wrong, only useless.
 */
#ifndef VDB_STORAGE_HINTS_H
#define VDB_STORAGE_HINTS_H

#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

typedef struct VdbHints
{
	Buffer	   *buffers;		/* by block number; InvalidBuffer where unknown */
	BlockNumber size;
	MemoryContext context;
	uint32		reads;			/* drives the refresh of usage counts */
} VdbHints;

extern void vdb_hints_init(VdbHints *hints, MemoryContext context);
extern void vdb_hints_free(VdbHints *hints);

/*
 * Pins a block's buffer and returns it, unlocked.  The fork is the main one.
 * May do I/O and raises what ReadBuffer raises.
 */
extern Buffer vdb_hints_read(VdbHints *hints, Relation index, BlockNumber block);

/*
 * Starts to bring `bytes` bytes at `offset` of a block into the CPU's cache,
 * when a hint says where they may be.
 */
static inline void
vdb_hints_prefetch(const VdbHints *hints, BlockNumber block, uint32 offset, uint32 bytes)
{
	Buffer		buffer = block < hints->size ? hints->buffers[block] : InvalidBuffer;

	if (buffer > 0)
	{
		const char *at = (const char *) BufferGetBlock(buffer) + offset;

		__builtin_prefetch(GetBufferDescriptor(buffer - 1), 1);
		for (uint32 i = 0; i < bytes; i += 64)
			__builtin_prefetch(at + i);
		__builtin_prefetch(at + bytes - 1);
	}
}

#endif							/* VDB_STORAGE_HINTS_H */
