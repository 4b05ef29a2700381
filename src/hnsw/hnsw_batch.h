/*
 * hnsw_batch.h
 *	  Linking all nodes of a graph at once, from codes that are there.
 *
 * Plain C over memory of the caller, like hnsw_graph.h.  The stages follow each
 * other; in each one all participants take part, and all must have left it
 * before the next begins.
 */
#ifndef VDB_HNSW_BATCH_H
#define VDB_HNSW_BATCH_H

#include "hnsw/hnsw_graph.h"
#include "quant/finder.h"

typedef enum HnswBatchStage
{
	HNSW_BATCH_PREPARE,			/* levels and empty lists */
	HNSW_BATCH_ABOVE,			/* layers above 0, from the entry point down */
	HNSW_BATCH_GATHER,			/* candidates, by comparing all pairs of leaves, or groups */
	HNSW_BATCH_PRUNE,			/* edges, chosen among them */
	HNSW_BATCH_RECIPROCATE		/* the same edges the other way */
} HnswBatchStage;

#define HNSW_BATCH_STAGES (HNSW_BATCH_RECIPROCATE + 1)

/* Fewer nodes are linked one by one. */
#define HNSW_BATCH_MIN_NODES 2000

/* What begins a batch's memory. */
typedef struct HnswBatchHeader
{
	uint32_t	hosts;			/* nodes before this number are no guests */
	uint32_t	count;			/* of all nodes */
	uint32_t	groups;
	uint32_t	fanout;			/* leaves of its group that a node goes into */
	uint32_t	next[HNSW_BATCH_STAGES];	/* work given out; atomic */
} HnswBatchHeader;

/* Where one process finds its parts. */
typedef struct HnswBatch
{
	const HnswGraph *graph;
	HnswBatchHeader *header;
	uint32_t   *start;			/* of each group among the members, and the end */
	uint32_t   *members;		/* two for each node; later, of a leader, scratch */
	VdbFinder  *finder;			/* who finds candidates in a group; NULL: leaves do */
} HnswBatch;

/* Called now and then, at least every ten thousand scores or so; may not return. */
typedef struct HnswWatch
{
	void		(*look) (void *arg);
	void	   *arg;
} HnswWatch;

/*
 * May an index of these parameters be built so?  Pairs of codes that kernels do not
 * multiply are not cheaper in bulk.
 */
extern bool vdb_hnsw_batch_serves(const VdbCodec *codec, uint32_t m);

/* Bytes of a batch for so many nodes at most. */
extern size_t vdb_hnsw_batch_bytes(uint32_t capacity);

/* Bytes of the scratch of one participant; of the leader's for begin(). */
extern size_t vdb_hnsw_batch_scratch_bytes(const VdbCodec *codec, uint32_t m,
										   uint32_t ef_construction, uint32_t capacity);

/* The most codes of a set that a finder is given, of so many nodes. */
extern uint32_t vdb_hnsw_batch_room(uint32_t capacity);

/* A view of a batch in memory of vdb_hnsw_batch_bytes(), aligned to 64; without a finder, which may be set. */
extern void vdb_hnsw_batch_attach(HnswBatch *batch, const HnswGraph *graph, char *memory);

/*
 * Begins to link the nodes of the graph, all of which have codes; the first
 * `hosts` are no guests.  By one participant, while no other does anything;
 * participants: how many there are, at least 1.  scratch:
 * vdb_hnsw_batch_scratch_bytes(), aligned to 64.
 */
extern void vdb_hnsw_batch_begin(HnswBatch *batch, uint32_t hosts, uint32_t participants, uint64_t seed,
								 char *scratch, const HnswWatch *watch);

/* Takes part in a stage until there is nothing left to take. */
extern void vdb_hnsw_batch_work(HnswBatch *batch, HnswParticipant *participant,
								HnswBatchStage stage, char *scratch, const HnswWatch *watch);

/* How many nodes a stage has been given out for, at least. */
extern uint32_t vdb_hnsw_batch_progress(const HnswBatch *batch, HnswBatchStage stage);

/*
 * Chooses the entry point, when nodes have levels.  By one participant, between
 * PREPARE and ABOVE.
 */
extern void vdb_hnsw_batch_choose_entry(HnswBatch *batch);

/*
 * After all stages: makes the tree that keeps layer 0 connected.  By one
 * participant.  False when the data are such that the nodes fall into many
 * parts: then the graph is empty again, but for its codes, and nodes must be
 * linked one by one.
 */
extern bool vdb_hnsw_batch_connect(HnswBatch *batch, HnswParticipant *participant,
								   const HnswWatch *watch);

#endif							/* VDB_HNSW_BATCH_H */
