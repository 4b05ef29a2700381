/*
 * mirror_private.h
 *	  What the files of this folder know of each other: the shared memory.
 *
 * Memory is given out in chunks of one size.  A mirror's chunks form a list, and each has a column for each
 * of a row's numbers, and one of codes.  Rows are added at the end, or where one was taken out; they are never moved, so a search
 * reads them without a lock.
 */
#ifndef VDB_MIRROR_PRIVATE_H
#define VDB_MIRROR_PRIVATE_H

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "compat.h"
#include "index/index.h"
#include "mirror/mirror.h"
#include "mirror/mirror_code.h"
#include "mirror/mirror_device.h"

#define VDB_MIRRORS 64			/* at most */
#define VDB_CHUNK_BYTES (256 * 1024)

/* The place of no row. */
#define VDB_NO_PLACE 0

typedef enum VdbMirrorState
{
	VDB_MIRROR_FREE,			/* of no index */
	VDB_MIRROR_LOADING,			/* rows are written to it, it is not searched yet */
	VDB_MIRROR_READY,
	VDB_MIRROR_LEAVING			/* of nobody any more; whoever reads it last frees it */
} VdbMirrorState;

/* Where a row is: a chunk, and its number there. */
typedef struct VdbMirrorSlot
{
	uint32		chunk;			/* VDB_NO_CHUNK: nowhere */
	uint32		row;
} VdbMirrorSlot;

struct VdbMirror
{
	/* under VdbMirrorShared.lock: changed with it exclusively held, but for atomics */
	VdbMirrorState state;
	uint64		generation;		/* no two mirrors have the same */
	Oid			database;
	Oid			index;
	Oid			tablespace;		/* and file: those of pg_class, for the database may go to another one and come back */
	Oid			file;
	VdbMetric	metric;
	uint32		dims;
	uint64		seed;			/* of the rotation */
	uint32		room;			/* rows of a chunk */
	uint32		center;			/* the chunk that has P floats */
	FullTransactionId horizon;	/* a snapshot that sees all before it sees no row that is missing */
	TimestampTz since;
	pg_atomic_uint32 pins;		/* searches that read its chunks */
	pg_atomic_uint64 used;		/* VdbMirrorShared.uses when it was searched last */
	pg_atomic_uint64 searches;
	pg_atomic_uint64 rows;		/* that have not been taken out */

	/* under `lock`, with the other one shared */
	LWLock		lock;
	uint32		first;			/* chunks of rows; a search goes from the first by VdbChunk.next */
	uint32		last;
	uint32		chunks;			/* how many, with that of the center */
	VdbMirrorSlot vacant;		/* rows that were taken out, a list: a slot's code has the next one */
};

/* A chunk is its mirror's who has it in a list. */
typedef struct VdbChunk
{
	pg_atomic_uint32 next;
	pg_atomic_uint32 rows;		/* that have been written */
	pg_atomic_uint64 version;	/* another one after each change of a row; never begins anew */
} VdbChunk;

typedef struct VdbMirrorShared
{
	LWLock		lock;			/* which mirrors there are */
	pg_atomic_uint32 count;		/* that are loading or ready */
	pg_atomic_uint64 uses;
	uint64		generations;
	VdbMirror	mirrors[VDB_MIRRORS];

	slock_t		mutex;			/* on what follows */
	uint32		total;			/* chunks there are */
	uint32		fresh;			/* the first that has never been used */
	uint32		freed;			/* a list of those that were given back */
	uint32		used;
	VdbChunk	chunks[FLEXIBLE_ARRAY_MEMBER];	/* then, aligned, as many times VDB_CHUNK_BYTES */
} VdbMirrorShared;

/* mirror_shared.c */

/* NULL where there is no memory for mirrors. */
extern VdbMirrorShared *vdb_mirror_shared;

/* Asks for the memory, bytes, which may be 0; from _PG_init. */
extern void vdb_mirror_share(Size bytes);

extern char *vdb_mirror_chunk(uint32 chunk);

/* Columns of a chunk, from a row on. */
extern pg_atomic_uint64 *vdb_mirror_places(const VdbMirror *mirror, uint32 chunk);
extern VdbMirrorRows vdb_mirror_rows(const VdbMirror *mirror, uint32 chunk, uint32 row);

/* The index entries' place of a row; false where it is nobody's. */
extern bool vdb_mirror_read_place(pg_atomic_uint64 *place, ItemPointer tid);

/* How many rows a chunk has, which have been written by now. */
extern uint32 vdb_mirror_count_rows(const VdbMirror *mirror, uint32 chunk);

/* How many rows fit a chunk, the bytes of a code being these. */
extern uint32 vdb_mirror_room(uint32 code_bytes);

/* An unused chunk, without rows, or VDB_NO_CHUNK. */
extern uint32 vdb_mirror_take_chunk(void);

/* The mirror of an index's files that is loading or ready, or NULL.  The caller holds the lock. */
extern VdbMirror *vdb_mirror_lookup(Relation index);

/* The mirror of this generation, if it is loading or ready, or NULL.  The same. */
extern VdbMirror *vdb_mirror_of(uint64 generation);

/* Gives a mirror up, whatever it is: it is found no more.  The caller holds the lock exclusively. */
extern void vdb_mirror_leave(VdbMirror *mirror);

/* Gives up all mirrors of an index, or, InvalidOid, of a database.  The same. */
extern void vdb_mirror_leave_all(Oid database, Oid index);

/* Gives up the mirror that has been used least lately, but not this one; false where there is none.  The same. */
extern bool vdb_mirror_evict(const VdbMirror *but);

/* Frees what a mirror that was given up has, unless somebody reads it.  The same. */
extern void vdb_mirror_free_unread(VdbMirror *mirror);

/* mirror_write.c */

/* A row to be stored, in the current context. */
typedef struct VdbMirrorNewRow
{
	uint64		place;
	VdbMirrorFactors factors;
	uint8	   *code;
} VdbMirrorNewRow;

/* Codes a row: null where it has no value. */
extern void vdb_mirror_code_row(const VdbSupport *support, const VdbCodec *codec, NullableDatum value,
								ItemPointer tid, VdbMirrorNewRow *row);

/*
 * Stores a row, unless the mirror is gone; false where there is no memory for it, not even that of others, if these may go:
 * then the mirror is given up.
 */
extern bool vdb_mirror_append(uint64 generation, const VdbMirrorNewRow *row, bool evict);

#endif							/* VDB_MIRROR_PRIVATE_H */
