/*
 * hnsw_build.h
 *	  What the files of a build share: how far it is, and one of those who work
 *	  on it.
 *
 * hnsw_build.c decides and leads; hnsw_fill.c is what each participant does,
 * rows of the table into the graph; hnsw_parallel.c has other processes do it
 * too; hnsw_write.c turns the graph into pages.  Where the graph would be larger
 * than memory, rows go to temporary files (hnsw_spill.c), and the graph is built
 * in partitions (hnsw_partition.c, hnsw_merge.c).
 */
#ifndef VDB_HNSW_BUILD_H
#define VDB_HNSW_BUILD_H

#include "access/tableam.h"
#include "port/atomics.h"
#include "storage/barrier.h"
#include "storage/dsm.h"
#include "storage/shm_toc.h"
#include "storage/spin.h"

#include "hnsw/hnsw_batch.h"
#include "hnsw/hnsw_private.h"
#include "hnsw/hnsw_spill.h"

/*
 * Of maintenance_work_mem, what sorting takes if the graph does not fit the
 * rest.
 */
#define HNSW_SORT_SHARE 0.125

/* What there is to do for those who link. */
typedef enum HnswLinkWork
{
	HNSW_LINK_DONE,				/* nothing any more */
	HNSW_LINK_NODES,			/* one node after the other */
	HNSW_LINK_STAGE				/* a stage of a batch */
} HnswLinkWork;

/* How far a build is; in memory that all of its processes see. */
typedef struct HnswBuildState
{
	Barrier		barrier;		/* all participants are attached */
	bool		spills;			/* constant: rows go to files from the first on */
	bool		full;			/* the graph had no room for one: known when all
								 * have met, as some may yet have to begin */
	pg_atomic_uint64 indexed;	/* rows */

	/* what participants are to do with nodes that have codes, see hnsw_link.c */
	bool		batch;			/* constant: that is done when all have one */
	HnswLinkWork work;
	HnswBatchStage stage;
	pg_atomic_uint32 next;		/* node, where they are linked one by one */
	uint32		end;
	bool		guests;

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
	int			number;			/* of a worker, from 0 */
	int			workers;		/* the leader's */
	FileSet    *files;			/* of workers; NULL where there are none */

	char	   *memory;			/* of the graph */
	HnswGraph	graph;
	ItemPointerData *tids;		/* by node number */
	uint8	   *attributes;		/* the same */
	HnswBatch	batch;
	char	   *batch_scratch;	/* NULL until it is needed */
	HnswParticipant participant;
	char	   *scratch;		/* of the participant */

	HnswRowFile rows;			/* that did not go into the graph */
	bool		spills;			/* they go there */
	int64		linked;			/* nodes of partitions that are done */
	MemoryContext context;		/* of the build */
	MemoryContext row_context;	/* reset after each row */
} HnswBuilder;

/* hnsw_fill.c */

/* Bytes of a graph with its row identifiers. */
extern Size vdb_hnsw_build_bytes(const HnswIndex *index, uint32 capacity);

/*
 * The nodes to make room for, where so many rows are expected and so many
 * participants fill the graph.
 */
extern uint32 vdb_hnsw_build_capacity(const HnswBuilder *builder, HnswRowEstimate rows,
									  int participants);

/* Of a build of so many rows, in a graph of such a capacity. */
extern void vdb_hnsw_build_state_init(HnswBuildState *state, const HnswBuilder *builder,
									  HnswRowEstimate rows, uint32 capacity, int participants);

/*
 * Gives a builder, whose first five fields are set, a graph in memory of
 * vdb_hnsw_build_bytes(), aligned to 64: an empty one of this capacity, or with
 * 0 the one that is there.
 */
extern void vdb_hnsw_builder_init(HnswBuilder *builder, uint32 capacity, char *memory);

/*
 * Gives a builder that has nothing in its graph a larger one, in private memory,
 * if that serves so many rows better than what it has, which other participants
 * share.  Returns whether it did.
 */
extern bool vdb_hnsw_builder_enlarge(HnswBuilder *builder, uint64 rows);

/* Waits until all participants are here. */
extern void vdb_hnsw_build_meet(HnswBuilder *builder);

/* Bytes of a row in a file. */
extern Size vdb_hnsw_build_row_bytes(const HnswIndex *index);

/* The name of a worker's file of rows. */
extern void vdb_hnsw_name_rows(char name[MAXPGPATH], int worker);

/*
 * Adds all rows of the table, or those that a shared scan has left for this
 * participant.  When it returns, there is nothing left to do for a worker, and
 * the leader's index is on pages.
 */
extern void vdb_hnsw_build_rows(HnswBuilder *builder, TableScanDesc scan);

/* hnsw_link.c */

/*
 * Links all nodes of the graph in memory, which have codes; the first `hosts` are
 * no guests.  By the leader, while the others are in vdb_hnsw_link_help(), which
 * returns after vdb_hnsw_link_end().
 */
extern void vdb_hnsw_link_all(HnswBuilder *builder, uint32 hosts);
extern void vdb_hnsw_link_help(HnswBuilder *builder);
extern void vdb_hnsw_link_end(HnswBuilder *builder);

/* Bytes that each participant needs for a batch. */
extern Size vdb_hnsw_link_scratch_bytes(const HnswIndex *index, uint32 capacity);

/* hnsw_merge.c */

/*
 * Builds the index from the rows in files.  The graph's memory is free to use,
 * and the other participants are in vdb_hnsw_link_help().
 */
extern void vdb_hnsw_build_merged(HnswBuilder *builder);

/* hnsw_parallel.c */

typedef struct HnswParallel HnswParallel;

/* Workers to ask for, where so many rows are expected. */
extern int	vdb_hnsw_plan_workers(Relation heap, const HnswIndex *index, IndexInfo *info,
								  double rows);

/*
 * Has workers begin to fill a graph for so many rows, and gives the builder its
 * part in that.  NULL, with nothing changed, when there is no
 * worker or no shared memory to be had.
 */
extern HnswParallel *vdb_hnsw_begin_parallel(HnswBuilder *builder, HnswRowEstimate rows,
											 int workers);

/* Joins the workers' scan of the table. */
extern TableScanDesc vdb_hnsw_join_scan(HnswParallel *parallel, HnswBuilder *builder);

/* Waits for the workers to exit, and keeps what they added up. */
extern void vdb_hnsw_end_parallel(HnswParallel *parallel, HnswBuilder *builder);

/* The entry point of a worker. */
extern PGDLLEXPORT void vdb_hnsw_build_worker(dsm_segment *context, shm_toc *toc);

#endif							/* VDB_HNSW_BUILD_H */
