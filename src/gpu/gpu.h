/*
 * gpu.h
 *	  Searches of mirrors on a device, which one process of the server does for all.
 *
 * Where there is no device, or the process cannot do it, the caller computes the same himself.
 */
#ifndef VDB_GPU_H
#define VDB_GPU_H

#include "mirror/mirror_code.h"
#include "mirror/mirror_device.h"

/* Rows of a question, at most. */
#define VDB_GPU_ROWS 2048

/* Defines settings, and asks for memory and a process; from _PG_init, after vdb_mirror_init. */
extern void vdb_gpu_init(void);

/* Is there a process that has a device?  Takes no lock. */
extern bool vdb_gpu_serves(void);

/*
 * Has the device find, for each question, those m rows (at most VDB_GPU_ROWS) of the mirror of this generation that have the
 * smallest rough bounds; smallest first, of equal ones those that are first in the mirror.  All that was in the mirror before the
 * call is looked at, and perhaps some of what came later; rows that were taken out may be among the rows.  Rows that come after all
 * others never are.  rows: m for each question; counts: how many there are, which is fewer than m where there are no more.
 *
 * Returns false where the caller has to do it: there is no device, it is busy, it does not have the mirror yet, it failed,
 * or it took longer than vdb.gpu_timeout.  Why is logged once in a session, and counted.
 *
 * The caller holds a pin on the mirror, so that chunks are what they were, and no lock.  Waits, and may be interrupted.
 */
extern bool vdb_gpu_search(uint64 generation, uint32 nq, const VdbMirrorQuestion *const *questions, uint32 m,
						   VdbMirrorFound *rows, uint32 *counts);

#endif							/* VDB_GPU_H */
