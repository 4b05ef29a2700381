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

#include "index/index.h"
#include "ivf/ivf.h"
#include "storage/storage_hints.h"
#include "storage/storage_patch.h"
#include "storage/storage_wal.h"

#define IVF_MIN_LISTS 1
#define IVF_MAX_LISTS 65536

/* Phases of CREATE INDEX after the server's own first one, see progress.h */
#define IVF_PHASE_KMEANS 2
#define IVF_PHASE_ASSIGN 3
#define IVF_PHASE_LOAD 4

/* Reloptions */
typedef struct IvfOptions
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	int			lists;			/* 0: by the number of rows */
	int			refine;			/* ivfpq: IvfRefine */
} IvfOptions;

typedef enum IvfRefine
{
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
	int			probes;
	int			iterative_scan; /* IvfIterativeScan */
	int			max_probes;
	int			refine_factor;	/* rows refined for each that is returned; 0: all */
} IvfSettings;

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
	VdbCodec	codec;			/* hot codes of it are those of centroids */
	VdbCodec	refine;			/* and of this one, those of rows, if they have any */
	VdbCodec	nearest;		/* by which rows find their lists: of L2 */
	VdbScanCodec scan;
	VdbScanCodec list_scan;		/* of centroids, for `nearest` */
	VdbHints	hints;

	/* as last read from the metapage */
	uint32		extents;
	uint32		open_extent[IVF_SHELVES];
	uint32		root;
	uint32		lists;
} IvfIndex;

static inline const IvfShelf *
vdb_ivf_shelf(const IvfIndex *index, IvfShelfKind kind)
{
	return &index->geometry.shelves[kind];
}

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
	float	   *residual;		/* P floats, as the next two */
	float	   *decoded;
	float	   *scratch;
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

/* How many lists there are, without opening the index. */
extern uint32 vdb_ivf_count_lists(Relation rel);

/* Writes the metapage and the center of a new index into an empty fork. */
extern void vdb_ivf_create_meta(Relation rel, ForkNumber fork, const IvfGeometry *geometry,
								const VdbCodec *codec, const IvfCoding *coding);

/* Says of a new index how many lists it has, and where they begin.  Nothing is logged. */
extern void vdb_ivf_set_lists(IvfIndex *index, uint32 root, uint32 lists);

/*
 * Makes sure that there is an extent that may take a group, when `full` was found full
 * (IVF_NO_EXTENT: there was none), and returns its number.  Locks the relation for
 * extension; the caller holds no content lock.
 */
extern uint32 vdb_ivf_extend(IvfIndex *index, IvfShelfKind kind, uint32 full, bool building);

/* Gives an index without lists its first one; a lane of the shelf of lists says what. */
extern void vdb_ivf_add_first_list(IvfIndex *index, const IvfLane *lane);

/* Does a group exist, as far as the metapage says? */
extern bool vdb_ivf_group_exists(IvfIndex *index, IvfShelfKind kind, uint32 group);

/*
 * Raises when so many groups of a shelf as were followed are more than there are.  Not to
 * be called with a page locked.
 */
extern void vdb_ivf_check_length(IvfIndex *index, IvfShelfKind kind, uint64 groups,
								 BlockNumber block);

/* A page of a shelf, pinned and locked; raises unless it is one. */
extern Buffer vdb_ivf_read_scan_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock);
extern Buffer vdb_ivf_read_record_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock);

/* The group of an address on its locked page; raises when it is not in use, or not of the list. */
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

/* ivf_code.c */
extern void vdb_ivf_coder_init(IvfCoder *coder, IvfIndex *index);

/*
 * Codes a row, x in code space, relative to its list's centroid.  norm: what the codec's
 * transformation returned.  The result points into the coder; its payload's tid and
 * attributes are the caller's to fill.
 */
extern IvfLane vdb_ivf_code_row(IvfCoder *coder, const float *x, float norm, const float *centroid);

/* Codes a centroid; what its record stands for is what it is from now on. */
extern IvfLane vdb_ivf_code_centroid(IvfCoder *coder, const float *centroid);

/* The centroid that a record stands for: P floats. */
extern void vdb_ivf_decode_centroid(const IvfIndex *index, const IvfRecord *record, float *out);

/* ivf_write.c */

/* Puts lanes into lists one after the other, in a build.  Nothing is logged. */
typedef struct IvfWriter
{
	IvfIndex   *index;
	IvfShelfKind kind;
	uint32		list;			/* whose lanes these are */
	uint32		first;			/* of its groups, */
	uint32		last;
	uint32		lanes;			/* taken in the last one */
	uint32		next_group;		/* of its extent */
	uint32		extent;			/* IVF_NO_EXTENT: none yet */
} IvfWriter;

extern void vdb_ivf_writer_init(IvfWriter *writer, IvfIndex *index, IvfShelfKind kind);

/* Begins a list: what is written next is its. */
extern void vdb_ivf_writer_begin(IvfWriter *writer, uint32 list);

/* Writes a lane and returns its number. */
extern uint32 vdb_ivf_write_lane(IvfWriter *writer, const IvfLane *lane);

/* Says in a list's lane where its groups begin. */
extern void vdb_ivf_write_list(IvfIndex *index, uint32 list, const IvfList *entry);

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

/* Tells a patch to make the next slot of a page a group with one lane, the first. */
extern void vdb_ivf_patch_group(VdbPatch *patch, const IvfShelf *shelf, Buffer buffer, IvfAddress a,
								uint32 list, uint32 next, const IvfLane *lane);

/* ivf_rank.c */

/* A list, as far as a search knows it. */
typedef struct IvfProbe
{
	float		score;			/* of its centroid: estimated, then as its record says */
	float		base;			/* of its rows' scores, once it is known exactly */
	float		size;			/* norm of the centroid, likewise */
	uint32		list;
	uint32		head;
} IvfProbe;

typedef struct IvfRanking
{
	IvfIndex   *index;
	VdbQuery	query;			/* for rows */
	VdbScanScale scale;			/* of the table */
	uint8	   *table;			/* for scan codes of rows */
	bool		by_product;		/* lists are ranked by inner product, not by distance */
	IvfProbe   *probes;			/* of all lists, a heap by score, but for those taken */
	uint32		count;
	float	   *centroid;		/* scratch: P floats */
} IvfRanking;

/*
 * Ranks all lists for a query in code space: as the metric does, or by distance as for a
 * row that looks for its own.  Memory is of the current context.
 */
extern void vdb_ivf_rank(IvfRanking *ranking, IvfIndex *index, void *vector, float norm,
						 bool by_distance);

/* Takes the nearest lists, at most so many; returns how many. */
extern uint32 vdb_ivf_take_probes(IvfRanking *ranking, IvfProbe *probes, uint32 count);

/* ivf_build.c */
extern IndexBuildResult *vdb_ivf_build(Relation heap, Relation rel, IndexInfo *info);
extern void vdb_ivf_buildempty(Relation rel);

/* ivf_train.c */

/* What is known of a table's rows before they are read. */
typedef struct IvfTraining
{
	double		rows;			/* expected */
	float	   *centroids;		/* count * P */
	uint32		count;
} IvfTraining;

/*
 * Chooses the codec's center and, given that the user asks for so many lists (0: by the
 * number of rows), their centroids, from a sample.  Memory is of the current context.
 */
extern void vdb_ivf_train(IvfTraining *training, VdbCodec *codec, const VdbSupport *support,
						  Relation heap, Relation rel, IndexInfo *info, uint32 lists);

/* ivf_insert.c */

/* The scan page of a list's lane, locked; its address, and what it says of the list. */
extern Buffer vdb_ivf_lock_list(IvfIndex *index, uint32 number, int lock, IvfAddress *a,
								IvfList *list);
extern bool vdb_ivf_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						   Relation heap, IndexUniqueCheck unique, bool unchanged,
						   IndexInfo *info);

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

/* ivf_cost.c */
extern void vdb_ivf_costestimate(const IvfSettings *settings, PlannerInfo *root, IndexPath *path,
								 Cost *startup, Cost *total, Selectivity *selectivity,
								 double *correlation, double *pages);

#endif							/* VDB_IVF_PRIVATE_H */
