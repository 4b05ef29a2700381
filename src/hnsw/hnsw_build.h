/*
 * hnsw_build.h
 *	  What the files of a build share: how far it is, and one of those who work
 *	  on it.
 *
 * hnsw_build.c decides and leads; hnsw_fill.c is what each participant does,
 * rows of the table into the graph; hnsw_parallel.c has other processes do it
 * too; hnsw_equal.c has equal rows share a node; hnsw_link.c links nodes;
 * hnsw_write.c turns the graph into pages.  Where the graph would be larger
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
#include "index/index_parallel.h"

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

	/* of the rows in the graph, those that share the node of an equal one */
	uint32		attached;

	/* what participants are to do with nodes that have codes, see hnsw_link.c */
	bool		batch;			/* constant: they may be linked at once */
	HnswLinkWork work;
	HnswBatchStage stage;
	pg_atomic_uint32 next;		/* node, where they are linked one by one */
	uint32		end;
	bool		guests;

	VdbParallelScan scan;
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
	int			helpers;		/* of them, who link nodes with it */
	FileSet    *files;			/* of workers; NULL where there are none */

	char	   *memory;			/* of the graph */
	HnswGraph	graph;
	ItemPointerData *tids;		/* by node number */
	uint32	   *hashes;			/* of values, the same; of rows that share a node
								 * then its number */
	uint8	   *attributes;		/* the same */
	HnswBatch	batch;
	char	   *batch_scratch;	/* NULL until it is needed */
	bool		has_finder;		/* the batch, unless there was none, or it failed */
	HnswParticipant participant;
	char	   *scratch;		/* of the participant */

	HnswRowFile rows;			/* that did not go into the graph */
	bool		spills;			/* they go there */
	int64		linked;			/* nodes of partitions that are done */
	MemoryContext context;		/* of the build */
	MemoryContext row_context;	/* reset after each row */
} HnswBuilder;

/* hnsw_fill.c */

/* Bytes of a graph with what there is of its rows. */
extern Size vdb_hnsw_build_bytes(const HnswIndex *index, uint32 capacity);

/*
 * The nodes to make room for, where so many rows are expected and so many
 * participants fill the graph.
 */
extern uint32 vdb_hnsw_build_capacity(const HnswBuilder *builder, VdbRowEstimate rows,
									  int participants);

/* Of a build of so many rows, in a graph of such a capacity. */
extern void vdb_hnsw_build_state_init(HnswBuildState *state, const HnswBuilder *builder,
									  VdbRowEstimate rows, uint32 capacity, int participants);

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

/* hnsw_equal.c */

/*
 * A hash of a row: of its value, whose hash this is, and its attributes, as a value may
 * be that of many nodes of different attributes.
 */
extern uint32 vdb_hnsw_hash_row(const HnswIndex *index, uint32 hash, const uint8 *attributes);

/*
 * The number of a row that is equal to the one of this number and was looked for
 * before, else that itself; codes, hashes and attributes are there.  Rows that were
 * looked for are forgotten when that is asked for, as it must be at first, and when a
 * batch begins.
 */
extern uint32 vdb_hnsw_find_equal(HnswBuilder *builder, uint32 row);
extern void vdb_hnsw_forget_rows(HnswBuilder *builder);

/*
 * Has equal rows in the graph, none of which is linked, share a node: the graph then
 * has as many nodes as rows differ.  By the leader, while no other does anything.
 */
extern void vdb_hnsw_share_nodes(HnswBuilder *builder);

/*
 * Decides where the rows that share nodes go.  By the leader, when all nodes are
 * linked; then the links to postings, by number of the node, can be asked for.  These
 * are NULL where no rows share a node.
 */
extern void vdb_hnsw_place_postings(HnswBuilder *builder);
extern const uint32 *vdb_hnsw_postings_links(const HnswBuilder *builder);

/* Writes them there, when all nodes are written.  By the leader. */
extern void vdb_hnsw_write_all_attached(HnswWriter *writer, const HnswBuilder *builder);

/* hnsw_link.c */

/*
 * Links all nodes of the graph in memory, which have codes; the first `hosts` are
 * no guests.  By the leader, while the others are in vdb_hnsw_link_help(), which
 * returns after vdb_hnsw_link_end().
 */
extern void vdb_hnsw_link_all(HnswBuilder *builder, uint32 hosts);
extern void vdb_hnsw_link_help(HnswBuilder *builder);
extern void vdb_hnsw_link_end(HnswBuilder *builder);

/*
 * Gives each node of the graph its place on pages, when all are linked.  By the leader;
 * then the order in which they go there can be asked for.
 */
extern void vdb_hnsw_place_all(HnswBuilder *builder);

/* It lies behind what the rows that share nodes take of a batch's memory. */
static inline uint32 *
vdb_hnsw_order(const HnswBuilder *builder)
{
	return builder->batch.members + builder->graph.capacity;
}

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
extern HnswParallel *vdb_hnsw_begin_parallel(HnswBuilder *builder, VdbRowEstimate rows,
											 int workers);

/* Joins the workers' scan of the table. */
extern TableScanDesc vdb_hnsw_join_scan(HnswParallel *parallel);

/* Waits for the workers to exit, and keeps what they added up. */
extern void vdb_hnsw_end_parallel(HnswParallel *parallel, HnswBuilder *builder);

/* The entry point of a worker. */
extern PGDLLEXPORT void vdb_hnsw_build_worker(dsm_segment *context, shm_toc *toc);

#endif							/* VDB_HNSW_BUILD_H */
