/*
 * mirror_device.h
 *	  What a copy of a mirror on a device is made of, and kept current with.
 *
 * A chunk has a version, which is another one after each change of its rows.  Whoever reads the version, and then the
 * rows, has all that was there when he read the version.  Of a row that was being written he may have anything; the
 * version that follows says so.
 */
#ifndef VDB_MIRROR_DEVICE_H
#define VDB_MIRROR_DEVICE_H

#include "utils/relcache.h"

#include "mirror/mirror_code.h"

#define VDB_NO_CHUNK PG_UINT32_MAX

typedef struct VdbMirror VdbMirror;

/* A row that a device found, and its rough bound, as vdb_mirror_bound_roughly has it. */
typedef struct VdbMirrorFound
{
	uint32		chunk;
	uint32		row;
	float		lower;
} VdbMirrorFound;

/* What has a device search mirrors. */
typedef struct VdbMirrorDevice
{
	/* is it there?  Takes no lock. */
	bool		(*serves) (void);

	/* see vdb_gpu_search() */
	bool		(*search) (uint64 generation, uint32 nq, const VdbMirrorQuestion *const *questions, uint32 m,
						   VdbMirrorFound *rows, uint32 *counts);
	uint32		most;			/* rows of a question */
} VdbMirrorDevice;

/* Has searches of mirrors ask a device first. */
extern void vdb_mirror_hook_device(const VdbMirrorDevice *device);

/* The generation of an index's mirror, which no other has; 0 where there is none that is searched.  Takes an LWLock. */
extern uint64 vdb_mirror_generation(Relation index);

/*
 * Pins the mirror of this generation, NULL where it is there no more; its chunks stay until vdb_mirror_unpin, which is to be
 * called whatever happens.  Both take an LWLock for a moment.
 */
extern VdbMirror *vdb_mirror_pin(uint64 generation);
extern void vdb_mirror_unpin(VdbMirror *mirror);

/* The same, for PG_ENSURE_ERROR_CLEANUP. */
extern void vdb_mirror_unpin_datum(int code, Datum mirror);

/* --- of one that is pinned; no locks, no memory, nothing is raised, so any thread may call these ------------- */

/* Bytes of a code, and rows of a chunk, which are a multiple of 16 or fewer. */
extern uint32 vdb_mirror_code_bytes(const VdbMirror *mirror);
extern uint32 vdb_mirror_chunk_rows(const VdbMirror *mirror);

/* The chunks in order, which does not change; new ones come at the end.  VDB_NO_CHUNK: no more. */
extern uint32 vdb_mirror_first_chunk(const VdbMirror *mirror);
extern uint32 vdb_mirror_next_chunk(uint32 chunk);

extern uint64 vdb_mirror_version(uint32 chunk);

/*
 * All rows that fit a chunk, where they are, but for the first column, which is copied to `add`: rows that are not there come
 * after all others.  Others write to them.
 */
extern VdbMirrorRows vdb_mirror_read_chunk(const VdbMirror *mirror, uint32 chunk, float *add);

/*
 * The versions of the first n chunks, at a moment when no row is being written: where they are the same later, no row has
 * changed.  Returns how many chunks there are, which may be more or fewer than n.  Takes the mirror's lock.
 */
extern uint32 vdb_mirror_read_versions(VdbMirror *mirror, uint64 *versions, uint32 n);

/* --- of one that is pinned, or with the lock of all mirrors ---------------------------------------------- */

/* Fills a codec for rows and questions; it has a copy of the center, in the current context. */
extern void vdb_mirror_get_codec(const VdbMirror *mirror, VdbCodec *codec);

#endif							/* VDB_MIRROR_DEVICE_H */
