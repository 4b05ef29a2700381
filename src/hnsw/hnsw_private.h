/*
 * hnsw_private.h
 *	  State shared inside this folder: an open index, a search, a build.
 */
#ifndef VDB_HNSW_PRIVATE_H
#define VDB_HNSW_PRIVATE_H

#include "access/amapi.h"
#include "access/genam.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "utils/float.h"

#include "hnsw/hnsw.h"
#include "hnsw/hnsw_bits.h"
#include "hnsw/hnsw_graph.h"
#include "index/index.h"
#include "index/index_calibrate.h"
#include "index/index_sample.h"
#include "storage/storage_hints.h"
#include "storage/storage_patch.h"
#include "storage/storage_wal.h"

/* Phases of CREATE INDEX after the server's own first one, see progress.h */
#define HNSW_PHASE_LOAD 2
#define HNSW_PHASE_MERGE 3
#define HNSW_PHASE_LINK 4
#define HNSW_PHASE_WRITE 5
#define HNSW_PHASE_CALIBRATE 6

/* Reloptions */
typedef struct HnswOptions
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int			m;
	int			ef_construction;
	bool		maintenance;	/* by the background worker */
	bool		mirror;			/* who makes a mirror, too */
	bool		fastupdate;
	int			pending_limit;
} HnswOptions;

typedef enum HnswIterativeScan
{
	HNSW_ITERATIVE_OFF,
	HNSW_ITERATIVE_RELAXED,
	HNSW_ITERATIVE_STRICT
} HnswIterativeScan;

/* Settings */
extern int	hnsw_ef_search;
extern double hnsw_target_recall;
extern int	hnsw_iterative_scan;
extern int	hnsw_max_scan_tuples;
extern double hnsw_scan_mem_multiplier;

/* Extents first..end - 1, in which there may be nodes that wait to be linked. */
typedef struct HnswPending
{
	uint32		first;
	uint32		end;
} HnswPending;

/*
 * An index as one backend knows it, kept from statement to statement.  What
 * cannot change while the incarnation is the same is cached, the rest is read
 * from the metapage by vdb_hnsw_open and vdb_hnsw_refresh.
 */
typedef struct HnswIndex
{
	Relation	rel;			/* the caller's, valid while it is open */
	const VdbSupport *support;
	const VdbAttributes *attributes;

	/* constant */
	uint64		incarnation;
	HnswGeometry geometry;
	VdbCodec	codec;
	VdbHints	hints;

	/* hints: where room was found last, so that nobody looks from the start */
	uint32		roomy_nid;
	uint32		roomy_ref;

	/* as last read from the metapage */
	uint32		extents;
	uint32		open_extent;
	uint32		open_upper;
	uint32		entry_nid;
	uint32		entry_ref;
	int			entry_layer;
	HnswPending pending;
	HnswCalibration calibration;
} HnswIndex;

/*
 * Estimates misplace a few candidates, so the pool of layer 0 keeps so many
 * more than ef_search asks for.  With a filter a walk goes on for so many nodes
 * instead, when the pool is settled.
 */
#define HNSW_POOL_SLACK 10

/* A row to be indexed, in the form that slots have it. */
typedef struct HnswNewRow
{
	ItemPointerData tid;
	uint32		hash;			/* of its value */
	VdbNodeFactors factors;
	uint8	   *hi;
	uint8	   *lo;
	HnswHot    *hot;			/* a whole slot; its generation comes last */
	const uint8 *attributes;
} HnswNewRow;

/*
 * A row as a search returns it.  Its tid is zeros where the node's own row has
 * gone, and others are left.
 */
typedef struct HnswFound
{
	double		lower;			/* bounds of the operator's distance, */
	double		upper;			/* equal once it is known exactly */
	uint32		nid;
	float		score;
	uint32		generation;
	ItemPointerData tid;
	float		residual;		/* of its code */
	uint16		kept;			/* of the node's edges */
	bool		exact;
	uint32		postings;		/* link to rows with the same value */
	struct HnswChain *chain;	/* how far they were read; NULL: not at all */
} HnswFound;

/* Nearest rows by which a search tells that it may stop. */
#define HNSW_STRETCH_ROWS 10

/* What a search needs to get as far as to a node. */
typedef struct HnswReach
{
	uint32		pool;			/* its capacity */
	float		stretch;
} HnswReach;

/*
 * A search of layer 0 that can be continued.  All of its memory is in its own
 * context, a child of the one current at vdb_hnsw_search_begin.
 */
typedef struct HnswSearch
{
	HnswIndex  *index;
	MemoryContext context;
	VdbQuery	query;
	bool		keep_overflow;	/* remember what the pool refused (iteration) */
	uint32		absent;			/* a node to be passed by, or HNSW_NO_NODE */
	HnswPending pending;		/* extents to be looked at beside the walk */

	/* a search for a node of an equal row ends when it has come to one */
	const HnswNewRow *sought;	/* NULL: nobody asks */
	uint32		equal;			/* that node, HNSW_NO_NODE: none */
	uint32		equal_generation;

	/*
	 * Layer 0 is left when the nearest candidate is farther than the last of
	 * the nearest HNSW_STRETCH_ROWS found by more than this times the latter's
	 * score: what is left will hardly lead to nearer ones.  Infinity: never.
	 */
	float		stretch;

	/* it came to a slot whose node has gone since, and with it ways to others */
	bool		gap;
	uint32		from;			/* the node whose list was read last, on layer 0 */
	HnswVisited strays;			/* nodes that lead nowhere, though they were led to; no
								 * slots: there are none */
	HnswVisited known;			/* nodes found before it searched anew; no slots: it
								 * did not */

	/* entry point of the last descent */
	uint32		entry_nid;
	uint32		entry_ref;
	int			entry_layer;

	HnswPool	pool;
	uint32		walked;			/* the pool's size when the walk had ended */
	HnswVisited visited;
	HnswOverflow overflow;
	HnswFound  *found;			/* live nodes expanded, in that order */
	uint32		found_count;
	uint32		found_size;
	HnswReach  *reaches;		/* of what was found; NULL: nobody asks */
	uint32		reaches_size;
	HnswReach	reach;			/* of what is expanded */
	int64		weighed;		/* scores computed */
	float		overrated;		/* the most by which an estimate was above the score of
								 * a row that was found */
	float		settled;		/* what is left is farther, unless it is overrated by
								 * much more */

	/* with a filter, the overflow is all that waits to be expanded */
	const VdbFilter *filter;	/* NULL: all rows are wanted */
	double		work;			/* done so far, in scores that it takes as long as */
	double		work_limit;		/* at which a sweep is better */
	uint32		sweep_rows;		/* that a sweep keeps at most */
	bool		swept_short;	/* a sweep left out the farthest that pass */
	bool		swept;			/* what waits leads to nothing any more */

	uint8	   *whole_code;		/* scratch: a hot code */
	uint32	   *fresh;			/* scratch: 2 m node numbers */
	uint32	   *fresh_ref;
} HnswSearch;

/* A node's out-edge, chosen. */
typedef struct HnswEdge
{
	uint32		nid;
	uint32		ref;			/* on layers above 0 */
	float		score;
} HnswEdge;

/* hnsw.c */
extern Datum vdb_hnsw_handler(PG_FUNCTION_ARGS);
extern const VdbAccessMethod vdb_hnsw_method;
extern const HnswOptions *vdb_hnsw_options(Relation index);

/* hnsw_equal.c */

/*
 * A hash of an indexed value that is not toasted; vector: what it is in code space.
 * Nobody can foresee it, as it depends on a number drawn for the index.  0 where
 * the code leaves so much out that a hash must not decide what is equal.
 */
extern uint32 vdb_hnsw_hash_value(const HnswIndex *index, const void *vector, Datum value);

/* hnsw_index.c */
extern HnswIndex *vdb_hnsw_open(Relation rel);
extern void vdb_hnsw_refresh(HnswIndex *index);

/* A calibration without opening the index; returns the number of extents. */
extern uint32 vdb_hnsw_load_calibration(Relation rel, HnswCalibration *calibration);
extern void vdb_hnsw_set_calibration(HnswIndex *index, const HnswCalibration *calibration,
									 bool building);
extern void vdb_hnsw_create_meta(Relation rel, ForkNumber fork, const HnswGeometry *geometry,
								 const VdbCodec *codec);

/*
 * Fills a codec, but for the center, and the geometry from a metapage; false
 * when it contradicts itself or the operator classes.
 */
extern bool vdb_hnsw_load_geometry(const HnswMeta *meta, const VdbSupport *support,
								   uint32 attr_bytes, VdbCodec *codec, HnswGeometry *geometry);
/*
 * Makes a node the entry point if its top layer is higher than that of the
 * present one, or if there is none.
 */
extern void vdb_hnsw_set_entry(HnswIndex *index, uint32 nid, uint32 ref, int layer, bool building);

/* Makes a node the entry point if that still is `old`; true when it was. */
extern bool vdb_hnsw_replace_entry(HnswIndex *index, uint32 old, uint32 nid, uint32 ref, int layer);

/* Pins the metapage. */
extern Buffer vdb_hnsw_pin_meta(HnswIndex *index);

/*
 * What range of extents may have pending nodes, now; meta: pinned.  The caller may
 * hold a hot page locked, as in the next two.
 */
extern HnswPending vdb_hnsw_read_pending(HnswIndex *index, Buffer meta);

/*
 * Has the range have an extent, whose hot page the caller holds exclusively locked:
 * so it stays there until that is unlocked.  False when it would have more than so many.
 */
extern bool vdb_hnsw_widen_pending(HnswIndex *index, Buffer meta, uint32 extent, uint32 most);

/*
 * Has the range do without an extent, if it begins with that.  None of its nodes
 * is pending, and the caller holds its hot page locked, if it has one.
 */
extern void vdb_hnsw_narrow_pending(HnswIndex *index, Buffer meta, uint32 extent);

/*
 * Makes sure that there is an extent that may take a node (or upper records),
 * when `full` was found full, and returns its number.
 */
extern uint32 vdb_hnsw_extend(HnswIndex *index, bool upper, uint32 full);

/*
 * For a build: appends an extent that is the caller's alone, unless there are
 * so many, and returns its number or HNSW_NO_EXTENT.  Nothing is logged.
 */
extern uint32 vdb_hnsw_append_extent(HnswIndex *index, bool upper, uint32 most);

/* hnsw_page.c */
extern Buffer vdb_hnsw_read_hot(HnswIndex *index, HnswAddress a);
extern Buffer vdb_hnsw_pin_node(HnswIndex *index, HnswAddress a);
extern Buffer vdb_hnsw_read_node(HnswIndex *index, HnswAddress a, int lock);
extern Buffer vdb_hnsw_read_upper(HnswIndex *index, HnswAddress a, int lock);

/* Copies what is said at the start of a slot, of a node or of postings, that exists. */
extern void vdb_hnsw_read_slot(HnswIndex *index, uint32 nid, HnswNode *node);
extern bool vdb_hnsw_nid_exists(HnswIndex *index, uint32 nid);
extern bool vdb_hnsw_ref_exists(HnswIndex *index, uint32 ref);

/*
 * Does an extent that exists hold records of layers above 0?  Its first page tells, read
 * with a strategy or NULL.
 */
extern bool vdb_hnsw_is_upper(HnswIndex *index, uint32 extent, BufferAccessStrategy strategy);
extern VdbNodeFactors vdb_hnsw_node_factors(const HnswNode *node);

/*
 * The estimated score of a node: HNSW_NO_SCORE, which is no number, of a slot that
 * is free or has postings.  score_hot() says then that it is as far as can be.
 * *generation is the slot's.
 */
#define HNSW_NO_SCORE get_float4_nan()
extern float vdb_hnsw_estimate(HnswIndex *index, const VdbQuery *query, uint32 nid, uint32 *generation);
extern float vdb_hnsw_score_hot(HnswIndex *index, const VdbQuery *query, uint32 nid);

/* The same if a hint leads to the slot; else false. */
extern bool vdb_hnsw_peek_hot(HnswIndex *index, const VdbQuery *query, uint32 nid, float *score,
							  uint32 *generation);

/*
 * The same, and whether a filter lets the node pass.  For a node whose row the
 * caller's snapshot sees the latter is certain: its attributes were there before
 * the snapshot was, and stay as long as it is.
 */
extern float vdb_hnsw_weigh(HnswIndex *index, const VdbQuery *query, const VdbFilter *filter,
							uint32 nid, uint32 *generation, bool *passes);

/*
 * Copies a node's hot slot under its page's lock: where that is the whole code,
 * it is the node's if the generation is this, and then the result is true.
 */
extern bool vdb_hnsw_read_whole(HnswIndex *index, uint32 nid, uint32 generation,
								VdbHotFactors *f, uint8 *code);

/*
 * Decodes a live node's vector into the codec's vector_bytes.  False when the
 * slot is not in use (any more).
 */
extern bool vdb_hnsw_load_vector(HnswIndex *index, uint32 nid, void *out);

/*
 * Copies a code's hi part and its factors out of a node slot, if that has it, or
 * a hot slot, if that has the whole code.
 */
extern void vdb_hnsw_copy_node_code(const HnswGeometry *g, HnswNode *node, VdbNodeFactors *f,
									uint8 *hi);
extern void vdb_hnsw_copy_hot_code(const HnswGeometry *g, HnswHot *hot, VdbNodeFactors *f,
								   uint8 *hi);

/*
 * The hi part of a live node's code, hi_bytes, and its factors but for the
 * residual.  False when the slot is not in use (any more).
 */
extern bool vdb_hnsw_load_code(HnswIndex *index, uint32 nid, VdbNodeFactors *f, uint8 *hi);

/*
 * The same without pin or lock, of a node that exists, lives, and cannot cease
 * to while the caller looks: its code does not change then.  False when the
 * slot must be read the long way.
 */
extern bool vdb_hnsw_peek_code(HnswIndex *index, uint32 nid, VdbNodeFactors *f, uint8 *hi);

/* Have the CPU fetch what the next look at a node's hot slot, or code, will read. */
extern void vdb_hnsw_prefetch_hot(HnswIndex *index, uint32 nid);
extern void vdb_hnsw_prefetch_code(HnswIndex *index, uint32 nid);

/* hnsw_search.c */
extern void vdb_hnsw_search_begin(HnswSearch *search, HnswIndex *index, const void *vector,
								  float norm);
extern void vdb_hnsw_search_end(HnswSearch *search);

/*
 * Searches layer 0 with a pool of ef, from the entry point down.  Looks again
 * when it came upon nothing because the entry point was just replaced.  With a
 * filter the pool has room for nodes that pass and no others; that is planned before
 * (hnsw_sweep.c).
 */
extern void vdb_hnsw_search_nearest(HnswSearch *search, uint32 ef);

/*
 * Greedy descent from the entry point to the layer above `layer`: the pool
 * then holds the one start of that layer, or nothing when the index is empty.
 */
extern void vdb_hnsw_search_descend(HnswSearch *search, int layer);

/* Best-first search of one layer > 0 with a pool of ef. */
extern void vdb_hnsw_search_upper(HnswSearch *search, int layer, uint32 ef);

/* Turns the pool of layer `layer` + 1 into starts of layer `layer`. */
extern void vdb_hnsw_search_down(HnswSearch *search, int layer);

/* Best-first search of layer 0 with a pool of ef, from the pool's starts. */
extern void vdb_hnsw_search_base(HnswSearch *search, uint32 ef);

/*
 * Goes on with a fresh pool for `count` more, from the nearest of those that
 * were refused before.  Returns how many there were; with a filter, how many rows it
 * has found.
 */
extern uint32 vdb_hnsw_search_resume(HnswSearch *search, uint32 count);

/* Which nodes were found, in the search's context. */
extern HnswVisited vdb_hnsw_search_remember(HnswSearch *search);

/*
 * Reads the nearest `count` of the nodes that were weighed but not expanded, and goes
 * nowhere from there: no other search comes after it.  Sets search->settled.
 */
extern void vdb_hnsw_search_drain(HnswSearch *search, uint32 count);

/* Sorts what was found by score, nearest first. */
extern void vdb_hnsw_search_sort(HnswSearch *search);

/* hnsw_sweep.c */

/* To expand a node takes as long as so many scores, apart from its neighbours'. */
#define HNSW_EXPANSION_WORK 8.0

/*
 * Sets up how a search with a filter, for ef rows, is to go about it; before its
 * first step.
 */
extern void vdb_hnsw_sweep_plan(HnswSearch *search, uint32 ef);

/*
 * Weighs all nodes that a filter lets pass.  What waited to be expanded is
 * replaced by the nearest of them that were not found before.
 */
extern void vdb_hnsw_sweep(HnswSearch *search);

/*
 * Weighs all nodes of search->pending that a filter, if there is one, lets pass.
 * Returns them, *count of them, in the search's context.
 */
extern HnswCandidate *vdb_hnsw_sweep_pending(HnswSearch *search, uint32 *count);

/* hnsw_sample.c */

/* A codec for an index that is created without a sample. */
extern void vdb_hnsw_default_codec(VdbCodec *codec, const VdbSupport *support, uint32 dims);

/*
 * A codec chosen from a sample of the table, and how many rows that suggests.
 * Its center is in the current context.  info: for evaluating what is indexed.
 */
extern VdbRowEstimate vdb_hnsw_choose_codec(VdbCodec *codec, const VdbSupport *support,
											 uint32 dims, Relation heap, Relation rel,
											 IndexInfo *info);

/* hnsw_build.c */
extern IndexBuildResult *vdb_hnsw_build(Relation heap, Relation index, IndexInfo *info);
extern void vdb_hnsw_buildempty(Relation index);

/* hnsw_write.c */

/* A node on its way to a page. */
typedef struct HnswNewNode
{
	ItemPointerData tid;
	uint32		hash;			/* of the value */
	uint32		duplicates;		/* link to postings */
	uint8		layer;			/* topmost */
	uint16		count;			/* edges on layer 0 */
	uint16		kept;			/* of these, the first so many */
	VdbNodeFactors factors;
	const uint8 *hi;
	const uint8 *lo;
	const uint8 *attributes;
	const HnswOutEdge *edges;
} HnswNewNode;

/* Postings on their way to a page: those of a rank come right after the older ones. */
typedef struct HnswNewPostings
{
	uint32		owner;
	uint32		rank;			/* 1: the oldest */
	uint32		rows;
	ItemPointerData *tids;
} HnswNewPostings;

/* What there is of nodes beside a graph, by number of the node. */
typedef struct HnswNodeRows
{
	const ItemPointerData *tids;
	const uint32 *hashes;
	const uint32 *postings;		/* links to them; NULL: there are none */
	const uint8 *attributes;
	const uint32 *order;		/* in which nodes go to pages, hnsw_place.h */
} HnswNodeRows;

/*
 * Fills an index that has no extent yet, and that nobody else uses until the
 * build is over.  Nothing is logged.
 */
typedef struct HnswWriter
{
	HnswIndex  *index;
	uint32		slots;			/* written */
	HnswNewPostings postings;	/* to be written; no rows: there are none */
	void	   *scratch;		/* a vector */
	float	   *scores;			/* of a list's edges */
} HnswWriter;

extern void vdb_hnsw_writer_init(HnswWriter *writer, HnswIndex *index);

/* Writes the node that is next: their numbers are 0, 1, 2 and so on. */
extern void vdb_hnsw_write_node(HnswWriter *writer, const HnswNewNode *node);

/*
 * When all nodes are written: writes rows that share a node, those of one after the
 * other, to postings in the slots that follow.  What begins the chain of a node is the
 * last of its slots.  The end writes what is left.
 */
extern void vdb_hnsw_write_attached(HnswWriter *writer, uint32 owner, const ItemPointerData *tid);
extern void vdb_hnsw_write_attached_end(HnswWriter *writer);

/* Slots that a node's rows need which share it. */
static inline uint32
vdb_hnsw_postings_slots(const HnswGeometry *g, uint32 rows)
{
	uint32		room = vdb_hnsw_postings_room(g);

	return rows / room + (rows % room != 0);
}

/*
 * When all nodes are written: writes a graph's layers above the index's layer
 * 0, and the entry point.  nids: the index's number of each of the graph's
 * nodes, NULL where that is its place.
 */
extern void vdb_hnsw_write_uppers(HnswWriter *writer, const HnswGraph *graph, const uint32 *nids);

/*
 * Copies a node's list on layer 0 of a graph, edges of the tree first, to
 * edges[2 m].  Returns its length, and in *kept the number of the tree's.
 */
extern uint32 vdb_hnsw_copy_list(const HnswGraph *graph, uint32 nid, HnswOutEdge *edges,
								 uint32 *kept);

/*
 * In place of writing them one by one: writes all nodes of a graph, all of which have
 * a place.  Several processes may do so at once, each with a writer, and each writes
 * some of them; one reports progress.  When all have, what is written next comes after them.
 */
extern void vdb_hnsw_write_nodes(HnswWriter *writer, const HnswGraph *graph,
								 const HnswNodeRows *rows, bool report);

/* hnsw_slot.c */

/*
 * Finds a free node slot and locks its hot page exclusively: the page is in
 * *buffer.  Returns the slot's number, and the generation that it is to have.
 */
extern uint32 vdb_hnsw_lock_free_slot(HnswIndex *index, Buffer *buffer, uint32 *generation);

/* Has a patch fill both slots and count them; both pages are locked. */
extern void vdb_hnsw_take_slot(HnswIndex *index, VdbPatch *patch, uint32 nid, Buffer hot_buffer,
							   const HnswHot *hot, Buffer node_buffer, const void *slot);

/* hnsw_postings.c */

/* So often others may come first. */
#define HNSW_ATTACH_TRIES 3

/*
 * Is a row equal to that of a node?  First as far as the node slot tells, whose
 * page is locked; then by the hot slot, which is locked meanwhile.
 */
extern bool vdb_hnsw_node_is_equal(const HnswGeometry *g, HnswNode *node, const HnswNewRow *row);
extern bool vdb_hnsw_hot_is_equal(HnswIndex *index, uint32 nid, uint32 generation,
								  const HnswNewRow *row);

/*
 * Attaches a row to the node of an equal one.  False when that does not live any
 * more, or others always came first.
 */
extern bool vdb_hnsw_attach(HnswIndex *index, uint32 nid, uint32 generation, ItemPointer tid);

/*
 * Sets *tid to the next row that shares the node of a row found; false when there
 * is none left.  Of a slot of postings all rows are read at once.
 */
extern bool vdb_hnsw_next_equal(HnswSearch *search, HnswFound *found, ItemPointerData *tid);

/* hnsw_insert.c */
extern bool vdb_hnsw_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
							Relation heap, IndexUniqueCheck unique, bool unchanged,
							IndexInfo *info);
extern int	vdb_hnsw_draw_layer(int m);

/*
 * Links a node that waits for it, from its code.  The caller sees to it that the node
 * does not die meanwhile.  Uses memory of the current context.
 */
extern void vdb_hnsw_link_pending(HnswIndex *index, uint32 nid, uint32 generation, int layer);

/* hnsw_pending.c */

/*
 * Does a live node wait to be linked, as far as the index was read?  kept: its edges of
 * the tree.
 */
extern bool vdb_hnsw_is_pending(const HnswIndex *index, uint32 nid, uint32 kept);

/* The same as far as the metapage says now; for a caller that holds no lock. */
extern bool vdb_hnsw_waits(HnswIndex *index, uint32 nid, uint32 kept);

/* Extents that as many slots as the option says take up. */
extern uint32 vdb_hnsw_pending_extents(const HnswIndex *index);

/* Is a live node linked?  Whoever has an edge of the tree is, and the entry point. */
static inline bool
vdb_hnsw_is_linked(uint32 nid, uint32 kept, uint32 entry_nid)
{
	return kept > 0 || nid == entry_nid;
}

/* hnsw_effort.c */

/* Sizes of a search for which recall is measured, and among how many rows. */
extern const uint16 vdb_hnsw_calibrated_ef[HNSW_CALIBRATED_LEVELS];
extern const uint16 vdb_hnsw_calibrated_rows[HNSW_CALIBRATED_ROWS];

/* Is a calibration one of the index as it is, that has so many extents? */
extern bool vdb_hnsw_is_calibrated(const HnswCalibration *calibration, uint32 extents);

/*
 * The size of a search after which a scan may return so many rows, if there is a
 * target, a value of hnsw.target_recall, and a calibration; else 0.
 */
extern double vdb_hnsw_effort(const HnswCalibration *calibration, uint32 extents, double target,
							  double rows);

/*
 * The size with which a scan begins, of that or hnsw.ef_search, and the stretch
 * with which it stops; it does not stop where the target is out of reach.  A scan
 * that may not go on returns as many rows as it finds, so it searches no less than
 * hnsw.ef_search and does not stop either.
 */
extern uint32 vdb_hnsw_first_effort(const HnswCalibration *calibration, uint32 extents,
									float *stretch);

/* hnsw_calibrate.c */

/* Measures a new index that nobody else uses yet.  Nothing is logged. */
extern void vdb_hnsw_calibrate_build(HnswIndex *index);

/* Callbacks of VdbAccessMethod. */
extern bool vdb_hnsw_calibrate(Relation index, Relation heap, const Datum *queries, int count, bool wait,
							   VdbCalibrated *result);
extern void vdb_hnsw_calibration(Relation index, VdbCalibrated *result);

/* hnsw_scan.c */
extern IndexScanDesc vdb_hnsw_beginscan(Relation index, int nkeys, int norderbys);
extern void vdb_hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
							int norderbys);
extern bool vdb_hnsw_gettuple(IndexScanDesc scan, ScanDirection dir);
extern void vdb_hnsw_endscan(IndexScanDesc scan);

/* Two nodes between which the tree gets an edge. */
typedef struct HnswTreeEdge
{
	uint32		from;
	uint32		to;
} HnswTreeEdge;

/* Edges that keep the tree in one piece when dead nodes go. */
typedef struct HnswTree
{
	HnswTreeEdge *edges;		/* by `from`, each both ways */
	Size		count;
	Size		size;
	Size		next;			/* of those, the next to be written */
} HnswTree;

/* A node's code, to be compared with others. */
typedef struct HnswCode
{
	VdbNodeFactors factors;
	uint8		hi[FLEXIBLE_ARRAY_MEMBER];
} HnswCode;

/* Codes of live nodes, first..first + count - 1. */
typedef struct HnswCodes
{
	void	   *memory;
	char	   *codes;
	Size		stride;
	uint32		first;
	uint32		count;
} HnswCodes;

/* Where the code of a node is, or would be; NULL for those not in there. */
static inline HnswCode *
vdb_hnsw_code_at(const HnswCodes *codes, uint32 nid)
{
	uint32		at = nid - codes->first;

	return at < codes->count ? (HnswCode *) (codes->codes + at * codes->stride) : NULL;
}

/* Of the nodes that lead to a node, so many nearest are remembered. */
#define HNSW_INBOUND 8

typedef struct HnswInboundNode
{
	uint32		nid;			/* HNSW_NO_NODE: there is none */
	float		score;
} HnswInboundNode;

/* The same of nodes first..first + count - 1, the nearest first. */
typedef struct HnswInbound
{
	void	   *memory;
	HnswInboundNode *nodes;
	uint8	   *degrees;		/* how many lead to a node, or 255; NULL: not known */
	uint32		first;
	uint32		count;
} HnswInbound;

/* Bytes that this takes for each node. */
#define HNSW_INBOUND_BYTES (HNSW_INBOUND * sizeof(HnswInboundNode) + sizeof(uint8))

/* Those of a node; NULL for one that is not in there. */
static inline HnswInboundNode *
vdb_hnsw_inbound_of(const HnswInbound *inbound, uint32 nid)
{
	uint32		at = nid - inbound->first;

	return at < inbound->count ? inbound->nodes + (Size) at * HNSW_INBOUND : NULL;
}

/* Has one more node come to lead to a node? */
static inline void
vdb_hnsw_count_inbound(HnswInbound *inbound, uint32 nid)
{
	uint32		at = nid - inbound->first;

	if (inbound->degrees != NULL && at < inbound->count && inbound->degrees[at] < PG_UINT8_MAX)
		inbound->degrees[at]++;
}

/* Do fewer lead to a node than are wanted?  No where that is not known. */
static inline bool
vdb_hnsw_lacks_inbound(const HnswInbound *inbound, uint32 wanted, uint32 nid)
{
	uint32		at = nid - inbound->first;

	return inbound->degrees != NULL && at < inbound->count && inbound->degrees[at] < wanted;
}

/* What vacuum knows of an index while it works on it. */
typedef struct HnswVacuum
{
	IndexVacuumInfo *info;
	HnswIndex  *index;
	MemoryContext context;		/* of the whole call */
	MemoryContext page_context; /* of work on one page */
	MemoryContext list_context; /* of work on one neighbour list */
	uint32		extents;		/* there were when it started */
	HnswBits	dead;			/* of a range of nodes, those to be freed */
	HnswBits	later;			/* of the same range, dead nodes whose turn comes */
	HnswBits	live;			/* of the same range */
	bool		knows_all;		/* the range is all there were at the start */
	HnswTree	tree;			/* of the same range, what mends it */
	HnswInbound inbound;		/* of the live, or of none */
	HnswCodes	codes;			/* of some of the live */
	double		live_count;		/* nodes, over all ranges */
	double		row_count;		/* that nodes and postings have */
	BlockNumber empty_pages;	/* in extents without a node or postings */
	uint64		repaired;		/* lists written */
	uint32	   *noted;			/* nodes that may have postings to give back */
	uint32		noted_count;
	uint32		noted_size;
} HnswVacuum;

/* hnsw_vacuum.c */
extern Buffer vdb_hnsw_vacuum_page(HnswVacuum *vacuum, BlockNumber block, VdbPageKind kind,
								   uint32 extent, int lock);

/*
 * Clears all that pages have of a node, or of postings, but its slots' generation:
 * both are free then.
 */
extern void vdb_hnsw_free_slot(const HnswGeometry *g, Page hot_page, Page node_page, uint32 nid);
extern IndexBulkDeleteResult *vdb_hnsw_bulkdelete(IndexVacuumInfo *info,
												  IndexBulkDeleteResult *stats,
												  IndexBulkDeleteCallback callback,
												  void *callback_state);
extern IndexBulkDeleteResult *vdb_hnsw_vacuumcleanup(IndexVacuumInfo *info,
													 IndexBulkDeleteResult *stats);

/* hnsw_release.c */

/* Notes a node that has postings without rows, as such postings say, or no row of its own. */
extern void vdb_hnsw_note_chain(HnswVacuum *vacuum, uint32 owner);

/*
 * Frees the postings without rows of the nodes that were noted, and moves the last
 * row of a node's postings into it, if its own has gone.  release_many(), while rows
 * are still asked about, does the former when more nodes were noted than fit in so
 * many bytes; what cannot move then waits for the next VACUUM.  It comes before each
 * page, for which it makes room, with no lock held.
 */
extern void vdb_hnsw_release_all(HnswVacuum *vacuum);
extern void vdb_hnsw_release_many(HnswVacuum *vacuum, Size memory);

/* hnsw_tree.c */

/*
 * Finds what the tree needs to do without the nodes in vacuum->dead, in about so
 * many bytes.  Dead nodes for which that is not enough go to vacuum->later.
 */
extern void vdb_hnsw_mend_tree(HnswVacuum *vacuum, Size memory);

/* hnsw_codes.c */

/* Copies codes of nodes in vacuum->live, in at most so many bytes. */
extern void vdb_hnsw_copy_codes(HnswVacuum *vacuum, Size memory);
extern void vdb_hnsw_free_codes(HnswVacuum *vacuum);

/* hnsw_inbound.c */

/* Remembers what leads to nodes in vacuum->live, if so many bytes suffice. */
extern void vdb_hnsw_remember_inbound(HnswVacuum *vacuum, Size memory);
extern void vdb_hnsw_forget_inbound(HnswVacuum *vacuum);

/* hnsw_repair.c */

/* Makes every list of a live node do without the nodes in vacuum->dead. */
extern void vdb_hnsw_repair(HnswVacuum *vacuum);

/* hnsw_tie.c */

/* Makes every live node reachable from the entry point over live nodes. */
extern void vdb_hnsw_tie_unreached(HnswVacuum *vacuum);

/* hnsw_check.c */
extern void vdb_hnsw_check(Relation index, Relation heap, Snapshot snapshot, VdbCheckCounts *counts);

/* hnsw_prewarm.c */
extern VdbPageLayout vdb_hnsw_page_layout(Relation rel);

/* hnsw_upkeep.c */
extern void vdb_hnsw_upkeep(Relation rel, double rows, VdbUpkeep *result);
extern void vdb_hnsw_clean_up(Relation rel, double rows);

/* hnsw_cost.c */
extern void vdb_hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
								  Cost *startup, Cost *total, Selectivity *selectivity,
								  double *correlation, double *pages);

#endif							/* VDB_HNSW_PRIVATE_H */
