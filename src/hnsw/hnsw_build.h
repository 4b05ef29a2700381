/*
 * hnsw_build.h
 *	  What the files of a build share: how far it is, and one of those who work
 *	  on it.
 *
 * hnsw_build.c decides and leads; hnsw_fill.c is what each participant does,
 * rows of the table into the graph; hnsw_parallel.c has other processes do it
 * too; hnsw_write.c turns the graph into pages.
 */
#ifndef VDB_HNSW_BUILD_H
#define VDB_HNSW_BUILD_H

#include "access/tableam.h"
#include "port/atomics.h"
#include "storage/barrier.h"
#include "storage/dsm.h"
#include "storage/shm_toc.h"
#include "storage/spin.h"

#include "hnsw/hnsw_private.h"

/* How far a build is; in memory that all of its processes see. */
typedef struct HnswBuildState
{
	Barrier		barrier;		/* all participants are attached */
	bool		full;			/* the graph: there are rows left for the pages */
	pg_atomic_uint64 indexed;	/* rows */

	slock_t		mutex;			/* for the rest, which participants add up */
	bool		broken_hot_chain;	/* see IndexInfo */
	double		heap_tuples;
} HnswBuildState;

/* One that works on it: the leader, or a worker. */
typedef struct HnswBuilder
{
	Relation	heap;
	IndexInfo  *info;
	HnswIndex  *index;
	HnswBuildState *state;
	bool		leads;
	bool		memory_is_limit;	/* of the graph's capacity; the leader knows */

	HnswGraph	graph;
	ItemPointerData *tids;		/* by node number */
	HnswParticipant participant;
	bool		written;		/* the graph is on pages: rows go there */
	MemoryContext row_context;	/* reset after each row */
} HnswBuilder;

/* hnsw_fill.c */

/* Bytes of a graph with its row identifiers. */
extern Size vdb_hnsw_build_bytes(const HnswIndex *index, uint32 capacity);

/*
 * The nodes to make room for, where so many rows are expected at most and so
 * many participants fill the graph.
 */
extern uint32 vdb_hnsw_build_capacity(HnswBuilder *builder, double rows, int participants);

extern void vdb_hnsw_build_state_init(HnswBuildState *state, int participants);

/*
 * Gives a builder, whose first five fields are set, a graph in memory of
 * vdb_hnsw_build_bytes(), aligned to 64: an empty one of this capacity, or with
 * 0 the one that is there.
 */
extern void vdb_hnsw_builder_init(HnswBuilder *builder, uint32 capacity, char *memory);

/*
 * Adds all rows of the table, or those that a shared scan has left for this
 * participant.  When it returns, the graph is on pages.
 */
extern void vdb_hnsw_build_rows(HnswBuilder *builder, TableScanDesc scan);

/* hnsw_parallel.c */

typedef struct HnswParallel HnswParallel;

/* Workers to ask for, where so many rows are expected. */
extern int	vdb_hnsw_plan_workers(Relation heap, const HnswIndex *index, IndexInfo *info,
								  double rows);

/*
 * Has workers begin to fill a graph for at most so many rows, and gives the
 * builder its part in that.  NULL, with nothing changed, when there is no
 * worker or no shared memory to be had.
 */
extern HnswParallel *vdb_hnsw_begin_parallel(HnswBuilder *builder, double rows, int workers);

/* Joins the workers' scan of the table. */
extern TableScanDesc vdb_hnsw_join_scan(HnswParallel *parallel, HnswBuilder *builder);

/* Waits for the workers to exit, and keeps what they added up. */
extern void vdb_hnsw_end_parallel(HnswParallel *parallel, HnswBuilder *builder);

/* The entry point of a worker. */
extern PGDLLEXPORT void vdb_hnsw_build_worker(dsm_segment *context, shm_toc *toc);

#endif							/* VDB_HNSW_BUILD_H */
