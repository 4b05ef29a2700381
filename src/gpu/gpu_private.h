/*
 * gpu_private.h
 *	  What the files of this folder share: settings, requests in shared memory, and copies of mirrors on the device.
 */
#ifndef VDB_GPU_PRIVATE_H
#define VDB_GPU_PRIVATE_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

#include "clock.h"
#include "compute/compute.h"
#include "gpu/gpu.h"
#include "gpu/vdb_gpu.h"
#include "mirror/mirror_device.h"

/* gpu.c: settings */
extern char *vdb_gpu_library;
extern int	vdb_gpu_memory;		/* MB; 0: as much as there is */
extern int	vdb_gpu_batch_wait; /* us */
extern int	vdb_gpu_timeout;	/* ms */

/* --- shared memory, gpu_shared.c ------------------------------------------------ */

#define VDB_GPU_SLOTS 32
#define VDB_GPU_SLOT_BYTES (128 * 1024)	/* of questions, in a request */
#define VDB_GPU_SLOT_ROWS (32 * 1024)	/* that may be found, likewise */
#define VDB_GPU_SETS 64
#define VDB_GPU_TEXT 256

typedef enum VdbGpuSlotState
{
	VDB_GPU_SLOT_FREE,
	VDB_GPU_SLOT_CLAIMED,		/* a backend fills it in */
	VDB_GPU_SLOT_WAITING,
	VDB_GPU_SLOT_TAKEN,			/* by the server process */
	VDB_GPU_SLOT_ABANDONED,		/* and the backend does not wait any more: the process frees it */
	VDB_GPU_SLOT_ANSWERED,
	VDB_GPU_SLOT_REFUSED
} VdbGpuSlotState;

/* Why a backend has to do it. */
typedef enum VdbGpuRefusal
{
	VDB_GPU_NO_SERVER,
	VDB_GPU_BUSY,				/* all slots are taken */
	VDB_GPU_LATE,				/* the time is over */
	VDB_GPU_LOADING,
	VDB_GPU_GONE,				/* the mirror */
	VDB_GPU_TOO_LARGE,			/* for the device */
	VDB_GPU_ERROR,				/* see last_error */
	VDB_GPU_REFUSALS
} VdbGpuRefusal;

/* What is asked for. */
typedef enum VdbGpuWork
{
	VDB_GPU_SEARCH,				/* of a mirror */
	VDB_GPU_PUT,				/* codes into a set */
	VDB_GPU_FIND				/* the nearest codes of a set */
} VdbGpuWork;

/* What is not under the mutex is the backend's where it is claimed, answered or refused, the process's where it is taken. */
typedef struct VdbGpuSlot
{
	VdbGpuSlotState state;		/* under the mutex, as is the ticket */
	uint64		ticket;			/* requests are answered in this order */
	VdbGpuRefusal refusal;
	Latch	   *latch;			/* of the backend */
	VdbGpuWork	work;
	uint64		generation;		/* of a mirror, or the identifier of a set */
	uint32		nq;				/* questions, or codes that are put */
	uint32		m;				/* rows to be found for each */
	uint32		code_bytes;
	uint32		first;			/* PUT: number in the set */
	uint32		count;			/* PUT, FIND: codes of the set, when all are there */
	VdbGpuConstants constants[VDB_GPU_MAX_QUESTIONS];
	uint32		counts[VDB_GPU_MAX_QUESTIONS];
} VdbGpuSlot;

typedef enum VdbGpuState
{
	VDB_GPU_STARTING,
	VDB_GPU_SERVING,
	VDB_GPU_RESTARTING,			/* it ended, and will be started again */
	VDB_GPU_OFF					/* it ended for good, or has not begun */
} VdbGpuState;

typedef struct VdbGpuShared
{
	/* read without a lock */
	pg_atomic_uint32 state;		/* a VdbGpuState */
	pg_atomic_uint64 requests;
	pg_atomic_uint64 questions;
	pg_atomic_uint64 batches;
	pg_atomic_uint64 fallbacks;
	pg_atomic_uint64 bytes;		/* on the device */

	slock_t		mutex;			/* on what follows */
	uint64		sets[VDB_GPU_SETS]; /* identifiers of those that backends have, 0: none */
	uint64		last_set;
	Latch	   *server;			/* NULL: there was none yet */
	uint64		tickets;
	char		device[VDB_GPU_TEXT];
	char		last_error[VDB_GPU_TEXT];
	VdbGpuSlot	slots[VDB_GPU_SLOTS];	/* then their questions, and their rows */
} VdbGpuShared;

/* NULL where no device is asked for */
extern VdbGpuShared *vdb_gpu_shared;

/* Asks for the memory; from _PG_init. */
extern void vdb_gpu_share(void);

extern int8_t *vdb_gpu_slot_questions(const VdbGpuSlot *slot);
extern VdbMirrorFound *vdb_gpu_slot_rows(const VdbGpuSlot *slot);

/* What is put: codes instead of questions, and instead of rows two columns. */
extern float *vdb_gpu_slot_add(const VdbGpuSlot *slot);
extern float *vdb_gpu_slot_rescale(const VdbGpuSlot *slot);

/* The identifiers of the sets that backends have, 0 for none, VDB_GPU_SETS of them. */
extern void vdb_gpu_read_sets(uint64 *sets);

/* Notes what went wrong; and reads it, VDB_GPU_TEXT bytes. */
extern void vdb_gpu_set_error(const char *text);
extern void vdb_gpu_read_texts(char *device, char *last_error);

/* --- a backend's requests, gpu_client.c ------------------------------------------- */

/* A slot for a request; NULL where all are taken. */
extern VdbGpuSlot *vdb_gpu_claim(void);

/* Gives it back, also in the middle; a cleanup function. */
extern void vdb_gpu_release(int code, Datum slot);

/* Hands a request over, and waits for the answer; false: why is in *refusal.  Raises what interrupts raise. */
extern bool vdb_gpu_ask(VdbGpuSlot *slot, VdbGpuRefusal *refusal);

/* Counts that the device did not do it, and says why, once in a session, where that is worth saying. */
extern void vdb_gpu_note_refusal(VdbGpuRefusal refusal);

/* gpu_finder.c: what builds find nearest codes by. */
extern const VdbProvider vdb_gpu_provider;

/* --- the thread, gpu_thread.c: the process's alone ------------------------------------ */

/* What a library's table is, once it is open. */
extern const VdbGpuFunctions *vdb_gpu_functions_of_library;

/* Opens the library, and starts the thread.  NULL, or what went wrong, in the current context. */
extern const char *vdb_gpu_thread_begin(void);

/*
 * Has the thread call a function, and waits for that, at most so long.  False where it takes longer, or the process is to end:
 * then the thread is lost, and the process has to end.
 */
extern bool vdb_gpu_thread_call(void (*function) (void *), void *arg, int timeout_ms);

/* --- copies on the device, gpu_copy.c: all of these by the thread, which allocates with malloc ---------- */

typedef enum VdbGpuOutcome
{
	VDB_GPU_DONE,
	VDB_GPU_NOT_DONE,			/* for the reason in `refusal` */
	VDB_GPU_BROKEN				/* likewise, and the process has to end */
} VdbGpuOutcome;

/* Questions to a mirror or a set, and the answers. */
typedef struct VdbGpuBatch
{
	VdbGpuWork	work;
	const VdbGpuSlot *slot;		/* of work on a set, */
	uint64		sets[VDB_GPU_SETS]; /* and those that are wanted */
	uint64		generation;
	VdbMirror  *pinned;
	uint64		limit;			/* bytes that may be on the device */
	uint32		nq;				/* 0: only bring the copy up to date */
	uint32		m;
	VdbGpuQuestion questions[VDB_GPU_MAX_QUESTIONS];
	uint32		code_bytes;		/* of these */

	VdbGpuOutcome outcome;
	VdbGpuRefusal refusal;
	char		error[VDB_GPU_TEXT];	/* empty: nothing went wrong */
	uint64		bytes;			/* on the device, afterwards */
	uint32		counts[VDB_GPU_MAX_QUESTIONS];
	VdbMirrorFound *rows;			/* m for each */
} VdbGpuBatch;

/* Brings a copy up to date, part of it where that is much; and searches it where it is.  arg: a VdbGpuBatch. */
extern void vdb_gpu_copy_search(void *arg);

/* Puts codes into a set, or finds the nearest of one.  arg: a VdbGpuBatch.  gpu_set.c. */
extern void vdb_gpu_set_work(void *arg);

/* Frees all sets but these, VDB_GPU_SETS of them.  Returns whether there were any. */
extern bool vdb_gpu_set_sweep(const uint64 *wanted);

/* What went wrong in the library, as an outcome. */
extern VdbGpuOutcome vdb_gpu_report_failure(VdbGpuBatch *batch, VdbGpuStatus status);

/* Frees the copy of a mirror, that which has been used least lately; false: there is none. */
extern bool vdb_gpu_copy_evict(void);

/* Bytes on the device: of copies and sets, and of sets alone. */
extern uint64 vdb_gpu_bytes(void);
extern uint64 vdb_gpu_set_bytes(void);

/* Which copies there are: to be called by anybody while the thread is idle. */
extern uint32 vdb_gpu_copy_list(uint64 *generations, uint32 n);

/* Frees copies, all but these, and sets.  arg: */
typedef struct VdbGpuSweep
{
	uint64		generations[64];
	uint32		count;
	uint64		sets[VDB_GPU_SETS]; /* and sets: these stay */
	bool		forget;			/* which mirrors were too large */
	uint64		bytes;			/* on the device, afterwards */
} VdbGpuSweep;
extern void vdb_gpu_copy_sweep(void *arg);

#endif							/* VDB_GPU_PRIVATE_H */
