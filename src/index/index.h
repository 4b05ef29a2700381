/*
 * index.h
 *	  What the access methods of vectors have in common: operator classes, values,
 *	  conditions on further columns, and what the planner is told.
 */
#ifndef VDB_INDEX_H
#define VDB_INDEX_H

#include "access/amapi.h"
#include "access/tableam.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "index/index_filter.h"
#include "quant/codec.h"

/* Support function of an operator class: () -> internal, a VdbSupport */
#define VDB_SUPPORT_PROC 1
#define VDB_NUM_PROCS 2			/* VDB_ATTRIBUTE_PROC is the other */

/*
 * Operators of an operator class: the distance that rows are ordered by, and
 * "~<=", a bound on that distance: from the question that the order is about.
 */
#define VDB_ORDER_STRATEGY 1
#define VDB_RADIUS_STRATEGY 2
#define VDB_NUM_STRATEGIES 18	/* index_filter.h has the others */

/* What vdb.check_index() counts.  A list of an inverted file counts as an upper record. */
typedef struct VdbCheckCounts
{
	int64		live;			/* rows, or nodes of them */
	int64		dead;
	int64		free;			/* slots, or lanes */
	int64		upper_records;
	int64		edges;
	int64		dangling_edges;
	int64		unreachable;
	int64		attached;		/* rows that share another one's node */
	int64		pending;		/* live nodes that wait to be linked */
} VdbCheckCounts;

/* How far a scan begins to search, in the access method's own terms; 0 what it does not know. */
typedef struct VdbEffort
{
	int			ef_search;
	int			probes;
	int			refine_factor;
} VdbEffort;

typedef struct VdbCalibrated VdbCalibrated; /* index_calibrate.h */

/*
 * Pages that searches need for the same thing: the same ones of each extent that has rows,
 * or of each other one, which leads to them.
 */
typedef struct VdbPrewarmKind
{
	const char *name;
	bool		of_rows;
	uint32		first;			/* of an extent */
	uint32		end;
} VdbPrewarmKind;

#define VDB_PREWARM_KINDS 3

/* Where an index has what vdb.prewarm() reads.  An extent's first page is of one kind. */
typedef struct VdbPageLayout
{
	BlockNumber first;			/* of the extents, which follow each other */
	uint32		extents;
	uint32		extent_pages;
	VdbPrewarmKind kinds[VDB_PREWARM_KINDS];	/* what is needed most comes first */

	/* Has an extent rows?  Reads its first page, and raises where that is no extent's. */
	bool		(*has_rows) (void *index, uint32 extent);
	void	   *index;
} VdbPageLayout;

/* What can be seen of an index in a moment: of its metapage, and of some of its pages. */
typedef struct VdbUpkeep
{
	bool		wanted;			/* its option "maintenance" */
	bool		mirror;			/* its option "mirror" */
	bool		unclean;		/* what VACUUM does at its end has something to do */
	bool		calibrated;		/* or there is nothing to calibrate */
	bool		outdated;		/* what it was made by is not of the rows that there are now */
	double		filled;			/* of the room that it has for rows, as a share of what a new
								 * index would have filled */
} VdbUpkeep;

/* What the options are for. */
#define VDB_MAINTENANCE_OPTION "Whether the background worker looks after the index"
#define VDB_MIRROR_OPTION "Whether the background worker makes a mirror of the index where there is none"

/* Extents of an index that this is seen of, at most. */
#define VDB_UPKEEP_EXTENTS 32

/* Of so many extents, the number-th that is looked at: of all, or evenly spread. */
static inline uint32
vdb_upkeep_extent(uint32 extents, uint32 number)
{
	return (uint32) ((uint64) number * extents / Min(extents, VDB_UPKEEP_EXTENTS));
}

/* An access method, known by the one thing that both relations and paths know of it. */
typedef struct VdbAccessMethod
{
	const char *name;
	amcostestimate_function costestimate;

	/*
	 * Raises ERRCODE_INDEX_CORRUPTED for the first promise that an index does not keep;
	 * with a snapshot, also of the rows that it sees.  Uses memory of the current
	 * context.
	 */
	void		(*check) (Relation index, Relation heap, Snapshot snapshot, VdbCheckCounts *counts);

	/* of a scan that begins now */
	VdbEffort	(*first_effort) (Relation index);

	/*
	 * Measures what recall scans have, with a user's values of the indexed type, or with
	 * rows (NULL), and keeps it, if that were enough questions.  False where something is in
	 * the way and we do not wait.  NULL: there is no target of recall.  Uses memory of the
	 * current context.
	 */
	bool		(*calibrate) (Relation index, Relation heap, const Datum *queries, int count, bool wait,
							  VdbCalibrated *result);

	/* what was measured, if scans go by it */
	void		(*calibration) (Relation index, VdbCalibrated *result);

	/* valid until the current memory context is reset */
	VdbPageLayout (*page_layout) (Relation index);

	/*
	 * Says what state an index is in, which an ordinary lock on it suffices for.  rows: of the
	 * table, as far as is known.
	 */
	void		(*upkeep) (Relation index, double rows, VdbUpkeep *result);

	/*
	 * Does what VACUUM does of an index at its end.  The caller holds ShareUpdateExclusiveLock
	 * on the table, as VACUUM does.  Uses memory of the current context.
	 */
	void		(*clean_up) (Relation index, double rows);
} VdbAccessMethod;

/* A value of an indexed type, taken apart for its codec. */
typedef struct VdbValue
{
	uint32		count;			/* elements: dims, or the non-zero ones */
	const float *elements;		/* dense, sparse */
	const uint32 *index;		/* sparse: from 0, ascending */
	const uint8 *bits;			/* binary */
} VdbValue;

/*
 * What an operator class says about its type and its distance.  The functions
 * take values that are not toasted, and use the current memory context.
 */
typedef struct VdbSupport
{
	const char *type_name;		/* for messages */
	VdbCodecKind kind;
	VdbMetric	metric;
	int			max_dims;
	uint32		(*dims) (Datum value);
	VdbValue	(*read) (Datum value);

	/* what the operator returns for two values of the same dimensions */
	double		(*distance) (Datum a, Datum b);
} VdbSupport;

/* index_method.c */

/* Makes an access method known, for good; from _PG_init. */
extern void vdb_index_register(const VdbAccessMethod *method);

/* The access method that has this function, if it is one of ours; else NULL. */
extern const VdbAccessMethod *vdb_index_method(amcostestimate_function costestimate);

/*
 * Asks for the indexes of this database to be looked after soon, where there are workers who
 * do that; at most once a second.  What is called sets a latch, and raises nothing.
 */
extern void vdb_index_ask_upkeep(void);
extern void vdb_index_hook_upkeep(void (*ask) (void));

/* index_support.c */
extern const VdbSupport *vdb_index_support(Relation index);

/* That of an operator by which an access method of ours orders rows; NULL where it is not such. */
extern const VdbSupport *vdb_index_operator_support(Oid operator);

/* Dimensions of the indexed column, from its type modifier; raises where they cannot be indexed. */
extern int	vdb_index_column_dims(Relation rel, const VdbSupport *support);

/* Bytes that whoever maintains an index may use. */
extern Size vdb_index_maintenance_memory(void);

/* For the rotation of a new index's vectors; 0 for none. */
extern uint64 vdb_index_random_seed(const VdbSupport *support);

/*
 * Fills a codec for an operator class.  entries: of a sparse code, else 0.  node_coarse:
 * of a dense one, else 0.
 */
extern void vdb_index_init_codec(VdbCodec *codec, const VdbSupport *support, uint32 dims,
								 uint32 entries, uint32 node_coarse, uint64 seed,
								 const float *center);

/*
 * A value taken apart, in the current context.  Raises when its dimensions
 * are not these.
 */
extern VdbValue vdb_index_read_value(const VdbSupport *support, uint32 dims, Datum value);

/* Raises of a question of other dimensions than the index's what the operator would. */
extern void vdb_index_check_dims(const VdbSupport *support, uint32 dims, Datum query);

/*
 * The value of an indexed row in code space, allocated in the current context;
 * NULL for one that is not indexed (a zero vector under cosine distance).
 * *norm: what the codec's transformation returned.  Raises when its dimensions
 * are not the codec's.
 */
extern void *vdb_index_transform(const VdbSupport *support, const VdbCodec *codec, Datum value,
								 float *norm);

/*
 * Calls a support function, () -> internal, of a column's operator class, the
 * column being counted from 1; NULL where it has none.
 */
extern const void *vdb_index_call_support(Relation index, int column, int number);

/* index_check.c */

/* Calls back for each row of the table that the snapshot sees, as a build of the index would. */
extern void vdb_index_scan_rows(Relation heap, Relation index, Snapshot snapshot,
								IndexBuildCallback callback, void *state);

/* index_named.c */

/*
 * Opens the table, with the lock of a reader, and then the index that a user
 * names, with this one.  Raises unless it is one of the access method's (NULL: of any of
 * ours) and can be used;
 * what the user may do with it is for the caller to ask.
 */
extern Relation vdb_index_open_named(const VdbAccessMethod *method, Oid indexoid, LOCKMODE lock,
									 Relation *heap);

/*
 * Locks its table with ShareUpdateExclusiveLock, as what changes indexes needs it, until the transaction
 * ends.  It asks for it again and again, not in the queue: to wait there with a snapshot can be a deadlock with
 * a concurrent build, which waits for snapshots, and the server could end the build.  Raises after a minute, or
 * lock_timeout if that is less; and where the index can be used no more.
 */
extern void vdb_index_lock_for_upkeep(Relation index, Relation heap);

/* index_calibrate.c */

/*
 * Calls `calibrate` of an index's access method, which has one, as the table's owner: an
 * index's expressions are the owner's code.  The caller holds RowExclusiveLock on the index.
 */
extern bool vdb_index_run_calibration(Relation index, Relation heap, const Datum *queries, int count,
									  bool wait, VdbCalibrated *result);

/* index_recall.c */

/*
 * The share of the true nearest k rows that an index finds, at the present settings, of so
 * many rows of the table that the active snapshot sees; NaN where there are none.  Runs what is
 * code of the table's owner as the owner.
 */
extern double vdb_index_measure_recall(Relation index, Relation heap, int k, int queries);

/* index_attribute.c */

/*
 * An array's elements and their type, in the current context; returns how many there
 * are, nulls among them.
 */
extern int	vdb_index_take_apart(Datum array, Oid *type, Datum **elements, bool **nulls);

/* Signatures of an array's elements, nulls left out, in the current context. */
extern uint64 *vdb_index_signatures(Datum array, Oid collation, uint32 *count);

/* index_filter.c; what it says of further columns is in index_filter.h */

/*
 * The radius that a scan's keys give, infinity where they give none.  NaN is greater
 * than every number, so it bounds nothing.  Sets *empty where no row can pass, and
 * *recheck where keys say more than is looked at.
 */
extern double vdb_index_load_radius(const ScanKeyData *keys, int count, bool null_query,
									bool *empty, bool *recheck);

/* index_condition.c */

/* Conditions to be given to a path of an index, as a list of IndexClause. */
extern List *vdb_index_find_conditions(PlannerInfo *root, const IndexPath *path);

/* index_validate.c */

/* An amvalidate callback. */
extern bool vdb_index_validate(Oid opclassoid);

/* The node of exact searches, whose first expression is the distance: src/exec. */
#define VDB_EXACT_SCAN_NAME "VdbExactScan"

/* index_range.c, index_target.c */

/*
 * Has the planner ask us about conditions on distances.  The last steps of
 * _PG_init: if one after them failed, the next try would hook us to ourselves.
 */
extern void vdb_index_hook_planner(void);

/* Has finished plans leave out distances that nobody reads.  The same holds. */
extern void vdb_index_hook_plans(void);

/* index_owner.c */

/*
 * What an index's expressions do, they do as the table's owner, restricted, as the server has them evaluated.  From one to the
 * other in one (sub)transaction; an error ends it by itself.
 */
typedef struct VdbFormerUser
{
	Oid			user;
	int			security;
	int			nest;
} VdbFormerUser;

/* Do an index's expressions call functions in other languages than C?  The server's own are in C. */
extern bool vdb_index_has_users_code(Relation index);
extern void vdb_index_become_owner(Relation heap, VdbFormerUser *former);
extern void vdb_index_come_back(const VdbFormerUser *former);

/* index_plan.c */

/*
 * Has a function visit the nodes of a finished plan, each before those below it, which it may change.  What is below
 * a custom scan, or a node of a kind that no search of ours is below, is left out.
 */
extern void vdb_index_walk_plans(PlannedStmt *statement, void (*visit) (Plan *plan));

/* index_explain.c */

/* Has EXPLAIN (ANALYZE) say how far scans looked, where the server asks (18).  The same holds. */
extern void vdb_index_hook_explain(void);

#endif							/* VDB_INDEX_H */
