/*
 * ivf_private.h
 *	  State shared inside this folder: an open index, rows on their way into it, a
 *	  search.
 */
#ifndef VDB_IVF_PRIVATE_H
#define VDB_IVF_PRIVATE_H

#include "access/amapi.h"
#include "access/genam.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "storage/dsm.h"
#include "storage/shm_toc.h"
#include "utils/tuplesort.h"

#include "index/index.h"
#include "index/index_calibrate.h"
#include "index/index_exact.h"
#include "ivf/ivf.h"
#include "quant/cluster.h"
#include "storage/storage_hints.h"
#include "storage/storage_patch.h"
#include "storage/storage_wal.h"

#define IVF_MIN_LISTS 1
#define IVF_MAX_LISTS 65536

/* Phases of CREATE INDEX after the server's own first one, see progress.h */
#define IVF_PHASE_KMEANS 2
#define IVF_PHASE_ASSIGN 3
#define IVF_PHASE_LOAD 4
#define IVF_PHASE_CALIBRATE 5

/* Reloptions */
typedef struct IvfOptions
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int			lists;			/* 0: by the number of rows */
	int			refine;			/* ivfpq: IvfRefine */
	int			quantizer;		/* IvfQuantizer */
	int			parts;			/* of a product; 0: by the number of dimensions */
	double		anisotropic;	/* threshold of a product's loss, 0: none */
	int			spill;			/* further lists of a row: 0 or 1 */
	bool		maintenance;	/* by the background worker */
	bool		mirror;			/* who makes a mirror, too */
} IvfOptions;

/* What rows are looked at by first, all of them. */
typedef enum IvfQuantizer
{
	IVF_RABITQ,					/* scan codes on a grid */
	IVF_PQ,						/* scan codes that are products, */
	IVF_OPQ,					/* of vectors that were rotated for these */
	IVF_SQ8,					/* records of 8 bits a dimension, */
	IVF_NONE					/* or of 12 */
} IvfQuantizer;

typedef enum IvfRefine
{
	IVF_REFINE_UNSET = -1,
	IVF_REFINE_HEAP = 0,
	IVF_REFINE_4 = 4,
	IVF_REFINE_8 = 8,
	IVF_REFINE_12 = 12
} IvfRefine;

typedef enum IvfIterativeScan
{
	IVF_ITERATIVE_OFF,
	IVF_ITERATIVE_RELAXED,
	IVF_ITERATIVE_STRICT
} IvfIterativeScan;

/* How a scan of one of the two access methods goes about it. */
typedef struct IvfSettings
{
	int			probes;			/* lists; 0: as many as it was measured to take */
	int			iterative_scan; /* IvfIterativeScan */
	int			max_probes;
	int			refine_factor;	/* rows refined for each that is returned; 0 likewise */
	double		target_recall;	/* not 0: decides in place of probes and refine_factor */
} IvfSettings;

/* How far a scan looks. */
typedef struct IvfEffort
{
	uint32		probes;			/* lists */
	uint32		refine_factor;	/* of no use where there are no scan codes: then all are */
} IvfEffort;

/*
 * An index as one backend knows it, kept from statement to statement.  What
 * cannot change while the incarnation is the same is cached, the rest is read
 * from the metapage by vdb_ivf_open and vdb_ivf_refresh.
 */
typedef struct IvfIndex
{
	Relation	rel;			/* the caller's, valid while it is open */
	const VdbSupport *support;
	const VdbAttributes *attributes;

	/* constant */
	IvfGeometry geometry;
	bool		spill;			/* rows are in two lists */
	VdbCodec	codec;			/* hot codes of it are those of centroids */
	VdbCodec	refine;			/* and of this one, those of rows, if they have any */
	VdbCodec	nearest;		/* by which rows find their lists: of L2 */
	const float *rotation;		/* of vectors before they get scan codes, or NULL; see vdb_ivf_turn */
	VdbCodec	turned;			/* of vectors after that */
	VdbScanCodec scan;
	VdbScanCodec list_scan;		/* of centroids, for `nearest` */
	VdbHints	hints;

	/* as last read from the metapage */
	uint32		extents;
	uint32		open_extent[IVF_SHELVES];
	uint32		root;
	uint32		lists;
	uint32		epoch;
	uint32		free_group;
	IvfCalibration calibration;
} IvfIndex;

static inline const IvfShelf *
vdb_ivf_shelf(const IvfIndex *index, IvfShelfKind kind)
{
	return &index->geometry.shelves[kind];
}

/*
 * Lanes that are refined for so many rows to be returned: of few rows, estimates say little.
 * Where rows are in two lists, each may have both its lanes among them.
 */
static inline uint64
vdb_ivf_lanes_refined(const IvfIndex *index, uint64 rows, uint32 factor)
{
	return (rows * factor + 20) << index->spill;
}

/* Is a row's lane, of which this is the payload, the second one? */
static inline bool
vdb_ivf_is_second(const IvfIndex *index, const uint8 *payload)
{
	return index->spill && payload[vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes - 1] != IVF_FIRST_LANE;
}

/* Says in the payload of an index whose rows are in two lists which lane of its row it is. */
static inline void
vdb_ivf_set_which(const IvfIndex *index, uint8 *payload, uint8 which)
{
	payload[vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes - 1] = which;
}

/* A row that is to be coded. */
typedef struct IvfRow
{
	float	   *vector;			/* in code space: P floats */
	const float *turned;		/* as scan codes have it, see vdb_ivf_turn */
	float		norm;			/* what the codec's transformation returned */
	float		unsure;			/* how far the row's own vector may be from this */
	const uint8 *payload;		/* its identifier and attributes, and which lane it is */
} IvfRow;

/* What goes into a lane, and its record. */
typedef struct IvfLane
{
	VdbScanFactors factors;
	const uint8 *payload;
	const uint8 *code;			/* scan code */
	const IvfRecord *record;	/* record_stride bytes, or NULL */
} IvfLane;

/* Room for one row or centroid while it is coded. */
typedef struct IvfCoder
{
	IvfIndex   *index;
	float	   *residual;		/* P floats, as the next */
	float	   *decoded;
	float	   *scratch;		/* 2 * P floats */
	uint8	   *code;			/* of the scan code */
	uint8	   *payload;
	IvfRecord  *record;
} IvfCoder;

/* ivf.c */
extern const VdbAccessMethod vdb_ivfflat_method;
extern const VdbAccessMethod vdb_ivfpq_method;
extern bool vdb_ivf_is_flat(Relation index);
extern IvfOptions vdb_ivf_options(Relation index);
extern const IvfSettings *vdb_ivf_settings(Relation index);

/* ivf_index.c */

/*
 * Opens an index for use until the current memory context is reset.  The caller
 * holds the relation open, with a lock on it, for as long.
 */
extern IvfIndex *vdb_ivf_open(Relation rel);

/* Reads what may have changed since the index was opened. */
extern void vdb_ivf_refresh(IvfIndex *index);

/*
 * Vectors of code space as scan codes of rows have them: rotated, where a rotation was learned.  n
 * vectors, one behind the other, to `out`; or these themselves, where there is none.
 */
extern const float *vdb_ivf_turn(const IvfIndex *index, uint32 n, const float *x, float *out);

/* What an index is like, read without opening it. */
typedef struct IvfSummary
{
	uint32		lists;			/* in force */
	bool		scan_codes;		/* do rows have any? */
	bool		spilled;		/* are rows in two lists? */
	IvfCalibration calibration;
} IvfSummary;

extern void vdb_ivf_load_summary(Relation rel, IvfSummary *summary);
extern void vdb_ivf_set_calibration(IvfIndex *index, const IvfCalibration *calibration, bool building);

/*
 * Writes the metapage, the center and the codebook, if there is to be one, of a new index
 * into an empty fork.
 */
extern void vdb_ivf_create_meta(Relation rel, ForkNumber fork, const IvfGeometry *geometry,
								const VdbCodec *codec, const IvfCoding *coding,
								const float *codebook);

/*
 * Says of a new index what lists it has; and of how many rows, and how many the table has.
 * Nothing is logged.
 */
extern void vdb_ivf_set_lists(IvfIndex *index, uint32 root, uint32 lists);
extern void vdb_ivf_set_trained(IvfIndex *index, uint64 rows, uint64 table_rows);

/* The metapage, locked, and what has changed there read. */
extern Buffer vdb_ivf_lock_meta(IvfIndex *index, int lock);

/* Changes what the metapage, which is locked, says, as a change of its own; unlocks it. */
extern void vdb_ivf_write_meta(IvfIndex *index, Buffer buffer, const IvfMeta *meta, bool building);

/* Tells a patch the same, as a part of more. */
extern void vdb_ivf_patch_meta(VdbPatch *patch, Buffer buffer, const IvfMeta *meta);

/*
 * Is this epoch over?  If it is not, all that was read before of lists in force in it is
 * theirs; else some may have been another list's by then.
 */
extern bool vdb_ivf_is_stale(IvfIndex *index, uint32 epoch);

/*
 * A lock on the lists of an index, beside the relation's: see README.md.  False, where it
 * is not to wait, if it had to.
 */
#define IVF_LISTS_INSERT RowShareLock
#define IVF_LISTS_CHECK RowExclusiveLock
#define IVF_LISTS_CHANGE ShareRowExclusiveLock
#define IVF_LISTS_SWAP ExclusiveLock

extern bool vdb_ivf_lock_lists(Relation rel, LOCKMODE mode, bool wait);
extern void vdb_ivf_unlock_lists(Relation rel, LOCKMODE mode);

/*
 * Makes sure that there is an extent that may take a group, when `full` was found full
 * (IVF_NO_EXTENT: there was none), and returns its number.  Locks the relation for
 * extension; the caller holds no content lock.
 */
extern uint32 vdb_ivf_extend(IvfIndex *index, IvfShelfKind kind, uint32 full, bool building);

/* Gives an index without lists its first one; a lane of the shelf of lists says what. */
extern void vdb_ivf_add_first_list(IvfIndex *index, const IvfLane *lane);

/*
 * Adds a group of lists with one lane, the first; returns its number.  Only for who may
 * change lists.
 */
extern uint32 vdb_ivf_add_lists_group(IvfIndex *index, const IvfLane *lane);

/* Does a group exist, as far as the metapage says? */
extern bool vdb_ivf_group_exists(IvfIndex *index, IvfShelfKind kind, uint32 group);

/*
 * Is an extent one of rows?  Extents never change their kind.  Reads its first page, and
 * raises where that is no extent's.
 */
extern bool vdb_ivf_has_rows(IvfIndex *index, uint32 extent, BufferAccessStrategy strategy);

/* May there be so many groups of a shelf?  Whoever follows more goes in a circle. */
extern bool vdb_ivf_may_have(IvfIndex *index, IvfShelfKind kind, uint64 groups);

/* Where the record of a lane is, which is known by its number among all of the shelf. */
static inline IvfAddress
vdb_ivf_lane_record(const IvfIndex *index, IvfShelfKind kind, uint32 lane)
{
	return vdb_ivf_record_address(&index->geometry, vdb_ivf_shelf(index, kind), lane / IVF_LANES,
								  lane % IVF_LANES);
}

/* Has the CPU fetch it. */
static inline void
vdb_ivf_prefetch_record(const IvfIndex *index, IvfShelfKind kind, uint32 lane)
{
	IvfAddress	a = vdb_ivf_lane_record(index, kind, lane);

	vdb_hints_prefetch(&index->hints, a.block, a.offset, vdb_ivf_shelf(index, kind)->record_stride);
	vdb_hints_prefetch_special(&index->hints, a.block);
}

/* Its page, with a share lock, and the record on it. */
extern Buffer vdb_ivf_lock_record(IvfIndex *index, IvfShelfKind kind, uint32 lane,
								  const IvfRecord **record);

/* Asks the operating system for the page of a lane's record, if it is in no buffer. */
extern void vdb_ivf_request_record(IvfIndex *index, IvfShelfKind kind, uint32 lane);

/* Is the page of a record, as far as is known, in a buffer? */
extern bool vdb_ivf_record_is_resident(const IvfIndex *index, IvfShelfKind kind, uint32 lane);

/* A page of a shelf, pinned and locked; raises unless it is one. */
extern Buffer vdb_ivf_read_scan_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock);
extern Buffer vdb_ivf_read_record_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock);

/*
 * The group of an address on its locked page.  When it is not in use, or not of the list,
 * one returns NULL, and the other raises.
 */
extern IvfGroup *vdb_ivf_find_group(Buffer buffer, IvfAddress a, uint32 list);
extern IvfGroup *vdb_ivf_load_group(IvfIndex *index, Buffer buffer, IvfAddress a, uint32 list);

/* ivf_value.c */

/* Does an inverted file serve an operator class's distance? */
extern bool vdb_ivf_serves(const VdbSupport *support);

/* The metric of its codes: that of floats. */
extern VdbMetric vdb_ivf_metric(const VdbSupport *support);

/* For the rotation of a new index. */
extern uint64 vdb_ivf_random_seed(void);

/* A value's elements as floats, in the current context.  Raises when there are not `dims`. */
extern const float *vdb_ivf_elements(const VdbSupport *support, uint32 dims, Datum value);

/*
 * A value in code space, allocated in the current context; NULL for one that is not
 * indexed (a zero vector under cosine distance).  *norm: what the codec's transformation
 * returned.
 */
extern float *vdb_ivf_transform(const VdbSupport *support, const VdbCodec *codec, Datum value,
								float *norm);

/* A snapshot that sees all versions of rows which anybody may still see. */
extern void vdb_ivf_init_snapshot(Snapshot snapshot, Relation heap);

/* The same of a row's value; NULL also where the snapshot sees no version of it. */
extern float *vdb_ivf_fetch_vector(const IvfIndex *index, VdbExact *exact, Relation heap,
								   Snapshot snapshot, ItemPointerData tid, float *norm);

/* ivf_code.c */
extern void vdb_ivf_coder_init(IvfCoder *coder, IvfIndex *index);

/*
 * Codes a row relative to its list's centroid, which is given as scan codes have it, too.  The result
 * points into the coder and the row.
 */
extern IvfLane vdb_ivf_code_row(IvfCoder *coder, const IvfRow *row, const float *centroid,
								const float *turned);

/*
 * Codes a centroid; what its record stands for is what it is from now on.  The payload is that of a
 * list without rows that is in force from an epoch on.
 */
extern IvfLane vdb_ivf_code_centroid(IvfCoder *coder, const float *centroid, uint32 born);

/* The centroids of all lists in force, count * P, and the lists' numbers.  In the current context. */
extern uint32 vdb_ivf_load_centroids(IvfIndex *index, float **centroids, uint32 **lists);

/* The centroid that a record stands for: P floats. */
extern void vdb_ivf_decode_centroid(const IvfIndex *index, const IvfRecord *record, float *out);

/* What a row's record stands for: P floats, as far from the row as it says. */
extern void vdb_ivf_decode_row(const IvfIndex *index, const IvfRecord *record,
							   const float *centroid, float *out);

/* ivf_write.c */

/*
 * Puts lanes into lists one after the other, a group at a time.  Nobody else looks at
 * these lists yet.
 */
typedef struct IvfWriter
{
	IvfIndex   *index;
	IvfShelfKind kind;
	bool		building;		/* nothing is logged */
	uint32		list;			/* whose lanes these are */
	uint32		first;			/* of its groups */
	uint32		current;		/* group whose lanes wait to be written, or IVF_NO_GROUP */
	uint32		lanes;			/* that wait */
	IvfGroup   *group;
	uint8	   *records;		/* IVF_LANES * record_stride */
	uint32		next_group;		/* of its extent, while building */
	uint32		extent;			/* IVF_NO_EXTENT: none yet */
} IvfWriter;

extern void vdb_ivf_writer_init(IvfWriter *writer, IvfIndex *index, IvfShelfKind kind, bool building);

/* Begins a list, one without rows: what is written next is its. */
extern void vdb_ivf_writer_begin(IvfWriter *writer, uint32 list);

/* Writes a lane and returns its number. */
extern uint32 vdb_ivf_write_lane(IvfWriter *writer, const IvfLane *lane);

/*
 * Ends a list: writes what waits, and says in its own lane where its groups begin, and how many
 * lanes they have.
 */
extern void vdb_ivf_writer_end_list(IvfWriter *writer, uint32 lanes);

/* Writes what waits, and frees memory. */
extern void vdb_ivf_writer_end(IvfWriter *writer);

/*
 * Writes the records of a group's first lanes, one after the other, record_stride bytes each, if
 * lanes of the shelf have any.
 */
extern void vdb_ivf_write_records(IvfIndex *index, IvfShelfKind kind, uint32 group,
								  const uint8 *records, uint32 lanes, bool building);

/* Tells a patch what makes a lane one that is taken, and what its record is. */
extern void vdb_ivf_patch_lane(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
							   uint32 number, const IvfLane *lane);
extern void vdb_ivf_patch_record(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer,
								 IvfAddress a, const IvfRecord *record);

/* Tells a patch what a list's lane says of it, or a group of the next one with room. */
extern void vdb_ivf_patch_list(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
							   uint32 list, const IvfList *entry);
extern void vdb_ivf_patch_roomy(VdbPatch *patch, Buffer buffer, const IvfGroup *group,
								uint32 link);

/* Tells a patch what frees lanes, bits of a group, and clears all that is said of them. */
extern void vdb_ivf_patch_free(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
							   uint32 lanes);

/* Tells a patch to make a slot of a page a group with one lane, the first, or none (NULL). */
extern void vdb_ivf_patch_group(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
								uint32 list, uint32 next, const IvfLane *lane);

/* ivf_rank.c */

/* What lists are estimated by. */
typedef struct IvfListTable
{
	VdbScanScale scale;
	uint8	   *entries;
	const float *add;			/* of all lanes, in place of their own; NULL: their own */
	float		base;			/* of all scores: they are squared distances */
} IvfListTable;

/* A list, as far as a search knows it. */
typedef struct IvfProbe
{
	float		score;			/* of its centroid: estimated, then as its record says */
	float		base;			/* of its rows' scores, once it is known exactly */
	float		size;			/* norm of the centroid, likewise */
	uint32		list;
	uint32		head;
	float		floor;			/* a scan has taken all its rows of lesser scores */
} IvfProbe;

typedef struct IvfRanking
{
	IvfIndex   *index;
	VdbQuery	query;			/* for rows */
	VdbScanScale scale;			/* of the table */
	uint8	   *table;			/* for scan codes of rows */
	bool		by_distance;	/* for a row that looks for its own list */
	bool		by_product;		/* lists are ranked by inner product, not by distance */
	IvfListTable list_table;
	uint32		epoch;			/* in which they were in force, */
	uint32		lists;			/* so many */
	IvfProbe   *probes;			/* of all lists but those taken, in no order */
	uint32		count;
	float	   *centroid;		/* scratch: P floats */
} IvfRanking;

/*
 * Ranks all lists for a query in code space: as the metric does, or by distance as for a
 * row that looks for its own.  Memory is of the current context.
 */
extern void vdb_ivf_rank(IvfRanking *ranking, IvfIndex *index, void *vector, float norm,
						 bool by_distance);

/* Ranks the lists that are in force now for the same query. */
extern void vdb_ivf_rank_again(IvfRanking *ranking);

/*
 * Takes the nearest lists, at most so many; returns how many.  Whether they are what they
 * were when they were ranked is for the caller to ask (vdb_ivf_is_stale).
 */
extern uint32 vdb_ivf_take_probes(IvfRanking *ranking, IvfProbe *probes, uint32 count);

/* ivf_record.c */

/* The centroid of a list: P floats. */
extern void vdb_ivf_load_centroid(IvfIndex *index, uint32 list, float *out);

/*
 * Fills a row's vector, P floats, with what the record of its lane stands for, and says how far
 * that may be from it.
 */
extern void vdb_ivf_load_row_record(IvfIndex *index, uint32 lane, const float *centroid, IvfRow *row);

/* A query, for records of rows. */
typedef struct IvfRefineQuery
{
	VdbQuery	query;
	VdbQuery	rest;			/* what rounding leaves of it, where records are hot codes */
	double		rounding;		/* of scores, for each unit of the length of a record's code */
	double		coarse_rounding;	/* of coarse ones */
} IvfRefineQuery;

/* vector: in code space, stays where it is.  Memory is of the current context. */
extern void vdb_ivf_refine_prepare(IvfRefineQuery *refine, const IvfIndex *index, void *vector,
								   float norm);

/*
 * The score of a row's record, whose page is locked; the coarse one may take less time, where
 * records of all rows are looked at.
 */
extern float vdb_ivf_refine_score(const IvfRefineQuery *refine, const IvfIndex *index,
								  const IvfProbe *probe, const IvfRecord *record);
extern float vdb_ivf_coarse_score(const IvfRefineQuery *refine, const IvfIndex *index,
								  const IvfProbe *probe, const IvfRecord *record);

/* ivf_nearest.c */

/* A row that may be among the nearest. */
typedef struct IvfCandidate
{
	float		score;			/* estimated */
	uint32		lane;			/* number of its lane */
	ItemPointerData tid;
	uint32		probe;			/* its list, as a place among those probed */
} IvfCandidate;

/* Is a row wanted, of which all but the identifier is known?  Its page is locked. */
typedef bool (*IvfWanted) (void *state, const IvfCandidate *candidate, const uint8 *payload);

/* The rows nearest by estimate, of lists that are scanned one after the other. */
typedef struct IvfNearest
{
	IvfRanking *ranking;
	const IvfRefineQuery *refine;	/* rows are looked at by their records; NULL: not so */
	const VdbKernels *kernels;	/* scores are told apart to the last bit */
	IvfWanted	wanted;
	void	   *state;
	IvfGroup   *copy;			/* of a group whose records are looked at */
	IvfCandidate *rows;
	uint32		count;
	uint32		room;			/* of the array */
	uint32		keep;			/* of the rows so many are wanted */
	float		bound;			/* none is wanted whose score is greater */
	bool		left_out;		/* were there more? */
	bool		stale;			/* the lists are no longer what they were when ranked */
	uint64		looked;			/* rows looked at, of all lists */

	/* greatest of what bounds of rows are made of, where records are looked at */
	float		worst_add;
	double		worst_residual;
	double		worst_length;
} IvfNearest;

/* refine: the query for records, where rows are looked at by these; NULL: by their scan codes. */
extern void vdb_ivf_nearest_init(IvfNearest *nearest, IvfRanking *ranking,
								 const IvfRefineQuery *refine, IvfWanted wanted, void *state);

/* Forgets all rows, and wants so many others.  The array stays. */
extern void vdb_ivf_nearest_begin(IvfNearest *nearest, uint32 keep);

/* How many rows may be wanted, for their array to fit work_mem. */
extern uint32 vdb_ivf_nearest_affordable(void);

/* Drops the first so many rows: others may come. */
extern void vdb_ivf_nearest_drop(IvfNearest *nearest, uint32 first);

/*
 * Looks at the scan codes of a list, one of so many that are probed, or of a group of it.
 * Memory is of the current context.
 */
extern void vdb_ivf_nearest_scan(IvfNearest *nearest, const IvfProbe *probes, uint32 probe, uint32 count);
extern void vdb_ivf_nearest_look(IvfNearest *nearest, const IvfProbe *probes, uint32 probe,
								 uint32 number, IvfGroup *group);

/* Moves the nearest so many of the rows behind the first ones to the front of these. */
extern void vdb_ivf_nearest_select(IvfNearest *nearest, uint32 first, uint32 keep);

/* Leaves out all but the nearest, and bounds those to come. */
extern void vdb_ivf_nearest_cut(IvfNearest *nearest);

/* ivf_effort.c */

/* Is a calibration one of the index as it is, that has so many lists? */
extern bool vdb_ivf_is_calibrated(const IvfCalibration *calibration, uint32 lists);

/* How many of so many lists a level is, 0 to IVF_CALIBRATED_LEVELS - 1: from one to all. */
extern uint32 vdb_ivf_level_probes(uint32 lists, double level);

/* How far a scan of an index that has so many lists looks before it returns so many rows. */
extern IvfEffort vdb_ivf_effort(const IvfSettings *settings, const IvfCalibration *calibration,
								uint32 lists, double rows);

/* ivf_calibrate.c */

/*
 * Measures an index whose lists nobody changes meanwhile, if scans of it may have a target.
 * building: nothing is logged.
 */
extern void vdb_ivf_calibrate_lists(IvfIndex *index, Relation heap, bool building);

/* Callbacks of VdbAccessMethod. */
extern bool vdb_ivf_calibrate(Relation rel, Relation heap, const Datum *queries, int count, bool wait,
							  VdbCalibrated *result);
extern void vdb_ivf_calibration(Relation rel, VdbCalibrated *result);

/* ivf_build.c */

/* The entry point of a worker. */
extern PGDLLEXPORT void vdb_ivf_build_worker(dsm_segment *segment, shm_toc *toc);
extern IndexBuildResult *vdb_ivf_build(Relation heap, Relation rel, IndexInfo *info);
extern void vdb_ivf_buildempty(Relation rel);

/* ivf_train.c */

/* What is known of a table's rows before they are read. */
typedef struct IvfTraining
{
	double		rows;			/* expected */
	float	   *centroids;		/* count * P */
	uint32		count;
	uint32		wanted_residuals;	/* of the sample: what is left when centroids are */
	float	   *residuals;		/* taken away, in one length: residual_count * P */
	uint32		residual_count;
} IvfTraining;

/*
 * Chooses the codec's center and, given that the user asks for so many lists (0: by the
 * number of rows), their centroids, from a sample.  Memory is of the current context.
 */
extern void vdb_ivf_train(IvfTraining *training, VdbCodec *codec, const VdbSupport *support,
						  Relation heap, Relation rel, IndexInfo *info, uint32 lists);

/* How many lists so many rows should have.  wanted: by the user, or 0. */
extern uint32 vdb_ivf_ideal_lists(double rows, uint32 wanted);

/*
 * So many lists, or as many as the memory for maintenance is enough for.  l2: a codec of L2
 * of the same vectors.
 */
extern uint32 vdb_ivf_affordable_lists(const VdbCodec *l2, uint32 lists);

/* Rows that lists are found from, as codes; memory is of the current context. */
typedef struct IvfSample
{
	const VdbCodec *l2;
	VdbNodeFactors *factors;
	uint8	   *codes;			/* hi_bytes + lo_bytes each */
	uint32		rows;
	uint32		room;
} IvfSample;

/* Rows that a sample for so many lists should have. */
extern uint32 vdb_ivf_sample_rows(uint32 lists);
extern void vdb_ivf_sample_init(IvfSample *sample, const VdbCodec *l2, uint32 room);

/* Takes a row, in code space, unless the sample is full. */
extern void vdb_ivf_sample_add(IvfSample *sample, const float *vector, float norm);

/*
 * Has whoever does it faster than the processor assign codes to clusters, if there is such; `wanted` as of
 * vdb_cluster_use_finder().  Memory is of the current context.
 */
extern void vdb_ivf_use_finder(VdbClusters *clusters, uint32 wanted);

/* The centroids of at most so many lists (k-means), in the current context. */
extern void vdb_ivf_cluster(IvfTraining *training, const IvfSample *sample, uint32 lists,
							bool on_sphere);

/*
 * Are an index's centroids directions?  Whoever comes from pgvector keeps the probes that
 * gave a recall there, so lists are to be as there.
 */
extern bool vdb_ivf_on_sphere(Relation rel, VdbMetric metric);

/* ivf_codebook.c */

/* Fills in how the user wants the scan codes of rows, of vectors of P dimensions. */
extern void vdb_ivf_choose_scan(IvfCoding *coding, Relation rel, uint32 P);

/* The fewest residuals that a rotation of vectors of P dimensions is learned from. */
extern uint32 vdb_ivf_rotation_rows(uint32 P);

/*
 * How many residuals a new index's codebook is made of; 0: there is none.  Raises where there is not
 * memory enough to learn a rotation of the table.
 */
extern uint32 vdb_ivf_codebook_sample(const IvfCoding *coding, Relation heap, Relation rel, uint32 P);

/*
 * The values of a new index's codebook, and of its rotation behind them, in the current context; NULL
 * where there is no codebook.  Residuals are rotated.  Where they are too few for a rotation, there is
 * none, and the coding says so.
 */
extern float *vdb_ivf_make_codebook(IvfCoding *coding, uint32 P, IvfTraining *training);

/* ivf_spill.c */

/* Lists nearest to a row, among them the first, from which its second one is chosen. */
#define IVF_SPILL_LISTS 8

/* A row that has its first list, and looks for the second. */
typedef struct IvfSpill
{
	uint32		P;
	const float *vector;		/* in code space, stays where it is, as does the index */
	float	   *residual;		/* to the first list's centroid: P floats, as the next */
	float	   *other;			/* to another one's */
	float		norm2;			/* of the first */
} IvfSpill;

/* Memory for such a search, of the current context; it serves for one row after the other. */
extern void vdb_ivf_spill_init(IvfSpill *spill, const IvfIndex *index);
extern void vdb_ivf_spill_begin(IvfSpill *spill, const float *vector, const float *first);

/* How ill a list of this centroid makes up for what the first one misses. */
extern float vdb_ivf_spill_loss(IvfSpill *spill, const float *centroid);

/* ivf_load.c */

/* Many rows on their way into lists. */
typedef struct IvfLoader IvfLoader;

/* A sort of rows by several processes. */
typedef struct IvfSharedSort
{
	Sharedsort *sort;
	int			processes;
} IvfSharedSort;

/* How rows are loaded. */
typedef struct IvfLoad
{
	uint32		count;			/* of lists that take rows */
	uint32		others;			/* that do not; their centroids are behind those of the former */
	bool		by_lane;		/* of a row that is in two lists each lane comes by itself */
	bool		building;		/* nothing is logged */
	const IvfSharedSort *shared;	/* this is one of the processes; NULL: the only one */
} IvfLoad;

/*
 * Begins to take rows for lists of these numbers and centroids (P floats each), which stay
 * where they are.  Memory is of the current context.
 */
extern IvfLoader *vdb_ivf_loader_begin(IvfIndex *index, const float *centroids,
									   const uint32 *lists, const IvfLoad *load);

/*
 * Takes a row, and copies it.  Where rows are in two lists it gets both its lanes, if there
 * are two lists; or, if lanes come by themselves, the one that its payload says.
 */
extern void vdb_ivf_load_row(IvfLoader *loader, const IvfRow *row);

/* Leaves the rows that one of several processes has taken to the one that merges them. */
extern void vdb_ivf_loader_share(IvfLoader *loader);

/* Takes what all processes, which are done, have left; to be written then. */
extern void vdb_ivf_loader_merge(IvfLoader *loader, const IvfSharedSort *shared);

/* Writes all rows taken so far; returns how many.  What is taken later is written one by one. */
extern uint64 vdb_ivf_loader_write(IvfLoader *loader);

/* From now on inserts wait for what is taken: they are not to wait for a device as well. */
extern void vdb_ivf_loader_alone(IvfLoader *loader);
extern void vdb_ivf_loader_end(IvfLoader *loader);

/* ivf_group.c */

/* The scan page of a list's lane, locked; its address, and what it says of the list. */
extern Buffer vdb_ivf_lock_list(IvfIndex *index, uint32 number, int lock, IvfAddress *a,
								IvfList *list);

/* A group of a list of rows, or of the list of lists, copied; returns false after the last one. */
extern bool vdb_ivf_copy_group(IvfIndex *index, IvfShelfKind kind, uint32 list, uint32 number,
							   uint64 *groups, IvfGroup *copy);

/*
 * A scan page of rows, locked by who has locked a list's page: raises where damage leads
 * to that one, on which we would wait for ourselves.
 */
extern Buffer vdb_ivf_lock_rows(IvfIndex *index, IvfAddress a, Buffer list_buffer);

/* Has a patch write a row's record, unless it is NULL; returns the page, locked. */
extern Buffer vdb_ivf_patch_row_record(IvfIndex *index, VdbPatch *patch, uint32 group, uint32 lane,
									   const IvfRecord *record);

/*
 * Gives a list a new group at its front, with one row or none (NULL); returns its number.
 * IVF_NO_GROUP, and nothing is changed, when the front is not `head` any more, VACUUM has
 * made room meanwhile, or there was no group to be had: then there is one now.
 */
extern uint32 vdb_ivf_add_group(IvfIndex *index, uint32 list, uint32 head, const IvfLane *lane);

/*
 * Takes its first group from a list that is not in force; false when it has none.
 * Only one at a time.
 */
extern bool vdb_ivf_free_group(IvfIndex *index, uint32 list);

/* ivf_insert.c */

/* Puts a row into a list: at its front, where VACUUM made room, or in a new group. */
extern void vdb_ivf_put_in_list(IvfIndex *index, uint32 list, const IvfLane *lane);
extern bool vdb_ivf_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						   Relation heap, IndexUniqueCheck unique, bool unchanged,
						   IndexInfo *info);

/* ivf_lists.c */

/*
 * Makes the lists fit the rows that there are now, if they no longer do: trains the index
 * of a table that was small, divides lists that have grown, and does away with those that
 * have no rows.  rows: the table has, as far as the caller knows, who holds
 * ShareUpdateExclusiveLock on it.
 */
extern void vdb_ivf_fit_lists(Relation rel, double rows);

/* Has so much changed since lists were counted that some may not fit? */
extern bool vdb_ivf_has_changed(const IvfMeta *meta, double rows);

/* Would lists that are made anew lie better, because they are made of the rows that there were when they were counted? */
extern bool vdb_ivf_is_outdated(const IvfMeta *meta);

/* ivf_upkeep.c */
extern void vdb_ivf_upkeep(Relation rel, double rows, VdbUpkeep *result);

/* ivf_scan.c */
extern IndexScanDesc vdb_ivf_beginscan(Relation rel, int nkeys, int norderbys);
extern void vdb_ivf_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						   int norderbys);
extern bool vdb_ivf_gettuple(IndexScanDesc scan, ScanDirection dir);
extern void vdb_ivf_endscan(IndexScanDesc scan);

/* ivf_vacuum.c */
extern IndexBulkDeleteResult *vdb_ivf_bulkdelete(IndexVacuumInfo *info,
												 IndexBulkDeleteResult *stats,
												 IndexBulkDeleteCallback callback,
												 void *callback_state);
extern IndexBulkDeleteResult *vdb_ivf_vacuumcleanup(IndexVacuumInfo *info,
													IndexBulkDeleteResult *stats);

/* ivf_check.c */
extern void vdb_ivf_check(Relation rel, Relation heap, Snapshot snapshot, VdbCheckCounts *counts);

/* ivf_prewarm.c */
extern VdbPageLayout vdb_ivf_page_layout(Relation rel);

/* ivf_cost.c */
extern void vdb_ivf_costestimate(const IvfSettings *settings, PlannerInfo *root, IndexPath *path,
								 Cost *startup, Cost *total, Selectivity *selectivity,
								 double *correlation, double *pages);

#endif							/* VDB_IVF_PRIVATE_H */
