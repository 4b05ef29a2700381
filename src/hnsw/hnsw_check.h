/*
 * hnsw_check.h
 *	  What the parts of vdb.check_index() share: of pages, of postings, of rows.
 */
#ifndef VDB_HNSW_CHECK_H
#define VDB_HNSW_CHECK_H

#include "executor/tuptable.h"
#include "utils/snapshot.h"
#include "utils/tuplesort.h"

#include "hnsw/hnsw_private.h"

/* A row and the slot that has it, of a live node or of postings. */
typedef struct HnswNodeTid
{
	int64		tid;			/* block << 16 | offset */
	uint32		nid;
} HnswNodeTid;

/* A row that is looked for once more. */
typedef struct HnswMissing
{
	int64		tid;
	bool		found;
} HnswMissing;

typedef struct HnswCheck
{
	HnswIndex  *index;
	Buffer		meta;			/* pinned */
	Relation	heap;
	BufferAccessStrategy strategy;
	MemoryContext context;		/* reset after each page or row */
	uint32		extents;		/* there were when we started */
	uint32		nodes;			/* slots in them */
	HnswBits	upper;			/* extents of upper records */
	HnswBits	live;
	HnswBits	occupied;		/* nodes live or dead */
	HnswBits	postings;		/* slots of postings */
	HnswBits	led;			/* slots that something leads to as postings */
	HnswBits	waiting;		/* live nodes that nobody has linked yet */
	HnswBits	reached;
	HnswBits	expanded;		/* reached, and its list was read */
	Page	   *copies;			/* extent_pages pages of one extent */
	HnswPending pending;		/* when that was copied */
	VdbCheckCounts counts;

	/* rows in their order */
	Tuplesortstate *sort;
	TupleTableSlot *put_slot;
	TupleTableSlot *get_slot;
	HnswNodeTid		next;			/* not taken yet; tid < 0: there is none */

	/* of these, those of one block of the heap */
	BlockNumber heap_block;
	HnswNodeTid    *block_nodes;
	uint32		block_count;
	uint32		block_size;

	/* rows of the heap that were not where the index had them, or nowhere */
	HnswMissing *missing;
	uint32		missing_count;
} HnswCheck;

static inline void __attribute__((noreturn))
corrupted(HnswCheck *check, BlockNumber block, const char *what)
{
	vdb_page_corrupted(check->index->rel, block, what);
}

/* hnsw_check.c */
extern void vdb_hnsw_check_copy(HnswCheck *check, BlockNumber block, VdbPageKind kind, uint32 extent,
								Page copy);

/* Can a node number be one?  Extents may have been added since we started. */
extern bool vdb_hnsw_check_number(HnswCheck *check, uint32 nid);

/* What is said of a node, without its vector and edges. */
extern HnswNode vdb_hnsw_check_read(HnswCheck *check, uint32 nid);

/* hnsw_check_postings.c */

/* Checks postings, whose slots are of the same generation. */
extern void vdb_hnsw_check_postings(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot,
									HnswPostings *postings);

/* Checks what a live node leads to. */
extern void vdb_hnsw_check_first(HnswCheck *check, uint32 nid, const HnswNode *node);

/* When all extents were checked: does something lead to all postings? */
extern void vdb_hnsw_check_chains(HnswCheck *check);

/* hnsw_check_heap.c */
extern void vdb_hnsw_check_begin_rows(HnswCheck *check);
extern void vdb_hnsw_check_end_rows(HnswCheck *check);

/* Checks the identifier of a row, and remembers in which slot it is. */
extern void vdb_hnsw_check_put_row(HnswCheck *check, uint32 nid, BlockNumber block,
								   const ItemPointerData *tid);

/* I12, and with a snapshot I13: every row that it sees is indexed. */
extern void vdb_hnsw_check_rows(HnswCheck *check, Snapshot snapshot);

#endif							/* VDB_HNSW_CHECK_H */
