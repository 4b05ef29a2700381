/*
 * index_parallel.h
 *	  Builds of an index by several processes: how many, and what they share.
 *
 * The leader begins, fills what is its own in the shared memory, and launches; workers open
 * the same table and index, and scan a part of the table each.  When all have exited, the
 * leader ends it.
 */
#ifndef VDB_INDEX_PARALLEL_H
#define VDB_INDEX_PARALLEL_H

#include "access/parallel.h"
#include "access/tableam.h"
#include "executor/instrument.h"
#include "nodes/execnodes.h"

/* What all participants add up of the scan.  Part of the access method's own, to be initialised. */
typedef struct VdbParallelScan
{
	slock_t		mutex;
	bool		broken_hot_chain;	/* see IndexInfo */
	double		heap_tuples;
} VdbParallelScan;

typedef struct VdbParallelShared VdbParallelShared;

/* A build as its leader or one of its workers knows it. */
typedef struct VdbParallel
{
	ParallelContext *context;	/* the leader's, else NULL */
	dsm_segment *segment;		/* of this memory */
	Snapshot	snapshot;		/* the leader's */
	VdbParallelShared *shared;
	void	   *own;			/* the access method's part */
	ParallelTableScanDesc scan;
	WalUsage   *wal_usage;
	BufferUsage *buffer_usage;
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
} VdbParallel;

/*
 * Workers that a build is to have, by the server's settings and the table's.  compared:
 * bytes of all vectors that rows are compared with.
 */
extern int	vdb_parallel_plan(Relation heap, IndexInfo *info, double compared);

/*
 * Enters parallel mode.  worker: the name of a function of this library.  own_bytes: of
 * shared memory for the access method; the result's `own`, zeros.  NULL when there is no
 * shared memory.
 */
extern VdbParallel *vdb_parallel_begin(Relation heap, Relation index, IndexInfo *info,
									   const char *worker, int workers, Size own_bytes);

/* Launches workers, and returns how many run.  Where none does, it is ended. */
extern int	vdb_parallel_launch(VdbParallel *parallel);

/* A scan of this participant's part of the table. */
extern TableScanDesc vdb_parallel_join_scan(VdbParallel *parallel);

/* Adds up what a participant's scan has seen. */
extern void vdb_parallel_note_scan(VdbParallelScan *scan, const IndexInfo *info, double heap_tuples);

/* Waits for the workers, and leaves parallel mode. */
extern void vdb_parallel_end(VdbParallel *parallel);

/* What a worker begins and ends with, given what it is called with.  Memory is of the current context. */
extern VdbParallel *vdb_parallel_worker_begin(dsm_segment *segment, shm_toc *toc);
extern void vdb_parallel_worker_end(VdbParallel *parallel);

#endif							/* VDB_INDEX_PARALLEL_H */
