/*
 * storage_hints.h
 *	  Reading a buffer by remembering where it was.
 *
 * A lookup in the shared buffer table is a chain of dependent cache misses.  A
 * backend that remembers the buffer a block was in can have the server check
 * that the block is still there instead (ReadRecentBuffer), and can start to
 * fetch its bytes before asking.  A hint is never wrong, only useless.
 *
 * Bytes that are themselves no more than a hint can be read without any pin
 * (vdb_hints_peek): the buffer's tag is compared before and after.
 */
#ifndef VDB_STORAGE_HINTS_H
#define VDB_STORAGE_HINTS_H

#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/storage_page.h"
#include "utils/rel.h"

#include "compat.h"

/*
 * There are no more hints than buffers: of a larger index blocks share them, and
 * the tag tells whose it is.
 */
typedef struct VdbHints
{
	Buffer	   *buffers;		/* by vdb_hints_at(); InvalidBuffer where unknown */
	uint32		mask;			/* hints - 1, a power of two less 1 */
	MemoryContext context;
	BufferTag	tag;			/* of the relation; the block is filled in */
} VdbHints;

extern void vdb_hints_init(VdbHints *hints, Relation index, MemoryContext context);

/* The place of a block's hint. */
static inline Buffer *
vdb_hints_at(const VdbHints *hints, BlockNumber block)
{
	return &hints->buffers[block & hints->mask];
}

/*
 * Pins a block's buffer and returns it, unlocked.  The fork is the main one.
 * May do I/O and raises what ReadBuffer raises.
 */
extern Buffer vdb_hints_read(VdbHints *hints, Relation index, BlockNumber block);

/*
 * Buffers used less than this are read the long way, which counts the use, so
 * that blocks in demand stay in memory although peeks leave no trace.
 */
#define VDB_HINTS_MIN_USAGE 2

/* Does the shared buffer still hold this block, and is it in demand? */
static inline bool
vdb_hints_hold(const VdbHints *hints, BlockNumber block, Buffer buffer)
{
	BufferDesc *descriptor = GetBufferDescriptor(buffer - 1);
	BufferTag	tag = hints->tag;
	uint32		state = pg_atomic_read_u32(&descriptor->state);

	tag.blockNum = block;
	pg_read_barrier();
	return (state & BM_VALID) != 0 && BUF_STATE_GET_USAGECOUNT(state) >= VDB_HINTS_MIN_USAGE &&
		vdb_buffer_tags_equal(&descriptor->tag, &tag);
}

/*
 * The page of a block, without a pin, when a hint leads to it; else NULL.
 * What is read there may be torn, and belongs to the block only if
 * vdb_hints_hold() says so afterwards.  Use no byte of it as an address.
 */
static inline Page
vdb_hints_peek(const VdbHints *hints, BlockNumber block, Buffer *buffer)
{
	*buffer = *vdb_hints_at(hints, block);
	if (*buffer <= 0 || !vdb_hints_hold(hints, block, *buffer))
		return NULL;
	pg_read_barrier();
	return (Page) BufferGetBlock(*buffer);
}

/* Has a buffer, of those that are shared, what the tag says?  It may be another's at once, without a pin. */
static inline bool
vdb_buffer_has(Buffer buffer, const BufferTag *tag)
{
	BufferDesc *descriptor = GetBufferDescriptor(buffer - 1);

	return (pg_atomic_read_u32(&descriptor->state) & BM_VALID) != 0 &&
		vdb_buffer_tags_equal(&descriptor->tag, tag);
}

#define VDB_CACHE_LINE 64

/* Asks for some memory, wherever it is, that will be read soon. */
static inline void
vdb_prefetch(const void *begin, Size size)
{
	for (Size at = 0; at < size; at += VDB_CACHE_LINE)
		__builtin_prefetch((const char *) begin + at);
}

/* Is a block, as far as a hint says, in a shared buffer? */
static inline bool
vdb_hints_is_resident(const VdbHints *hints, BlockNumber block)
{
	Buffer		buffer = *vdb_hints_at(hints, block);
	BufferTag	tag = hints->tag;

	if (buffer <= 0)
		return false;
	tag.blockNum = block;
	return vdb_buffer_has(buffer, &tag);
}

/*
 * Asks the operating system for a block that is in no buffer, unless the user has
 * set effective_io_concurrency to 0.  Remembers the buffer of one that is.  Of a
 * temporary relation nothing is remembered or asked for.
 */
extern void vdb_hints_request(VdbHints *hints, Relation index, BlockNumber block);

/*
 * Starts to bring `bytes` bytes at `offset` of a block into the CPU's cache,
 * when a hint says where they may be.
 */
static inline void
vdb_hints_prefetch(const VdbHints *hints, BlockNumber block, uint32 offset, uint32 bytes)
{
	Buffer		buffer = *vdb_hints_at(hints, block);

	if (buffer > 0)
	{
		const char *at = (const char *) BufferGetBlock(buffer) + offset;
		const char *end = at + bytes;

		__builtin_prefetch(GetBufferDescriptor(buffer - 1));
		for (at -= (uintptr_t) at % 64; at < end; at += 64)
			__builtin_prefetch(at);
	}
}

/* The same for the end of a page, by which it is checked. */
static inline void
vdb_hints_prefetch_special(const VdbHints *hints, BlockNumber block)
{
	vdb_hints_prefetch(hints, block, BLCKSZ - sizeof(VdbPageSpecial), sizeof(VdbPageSpecial));
}

#endif							/* VDB_STORAGE_HINTS_H */
