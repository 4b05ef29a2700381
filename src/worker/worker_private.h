/*
 * worker_private.h
 *	  What the files of this folder share: the settings, the shared memory, and the steps of
 *	  looking after an index.
 */
#ifndef VDB_WORKER_PRIVATE_H
#define VDB_WORKER_PRIVATE_H

#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"
#include "storage/lwlock.h"

#include "clock.h"
#include "index/index.h"
#include "worker/worker_module.h"

/* Kinds of work. */
typedef enum VdbWork
{
	VDB_WORK_NONE,
	VDB_WORK_VACUUM,
	VDB_WORK_CLEAN_UP,
	VDB_WORK_CALIBRATE,
	VDB_WORK_RECALL,
	VDB_WORK_REINDEX,
	VDB_WORK_MIRROR,
	VDB_WORK_DROP,				/* what a rebuild left half-built */
	VDB_WORKS
} VdbWork;

/* worker.c: the settings */
extern bool vdb_maintenance;
extern int	vdb_maintenance_naptime;	/* s */
extern int	vdb_maintenance_workers;
extern double vdb_maintenance_cost_delay;	/* ms */
extern int	vdb_maintenance_cost_limit;
extern int	vdb_maintenance_lock_wait;	/* ms */
extern int	vdb_maintenance_wait_timeout;	/* s; 0: none */
extern double vdb_maintenance_recall_floor;
extern bool vdb_maintenance_reindex;

extern const char *vdb_work_name(VdbWork work);

/* Describes a process of ours to the server: what it calls, and what it is called. */
extern void vdb_worker_describe(BackgroundWorker *worker, const char *function, const char *name);

/* --- kinds of processes, worker.c ------------------------------------------- */

#define VDB_KINDS 4				/* at most */

/* The first one is those who look after indexes. */
#define VDB_KIND_MAINTENANCE 0

/* A kind, and the places that its processes have. */
typedef struct VdbKind
{
	const VdbWorkerKind *is;
	int			first_place;
} VdbKind;

extern VdbKind vdb_worker_kinds[VDB_KINDS];
extern int	vdb_worker_kind_count;

/* The kind whose place it is, -1 of the launcher's. */
extern int	vdb_worker_kind_of(int place);

/* --- shared memory, worker_shared.c ---------------------------------------- */

#define VDB_MAX_WORKERS 16		/* that look after indexes */
#define VDB_LAUNCHER_PLACE 0
#define VDB_PLACES 160

/* Indexes of which something is remembered, at most: of all databases. */
#define VDB_REMEMBERED 4096

typedef enum VdbPlaceState
{
	VDB_PLACE_FREE,
	VDB_PLACE_GIVEN,			/* to a worker that is about to begin */
	VDB_PLACE_TAKEN,
	VDB_PLACE_LEFT				/* the launcher has not looked at it since */
} VdbPlaceState;

/* A process, or the place of one. */
typedef struct VdbPlace
{
	VdbPlaceState state;
	uint32		generation;		/* how often it has been given */
	VdbOutcome	outcome;
	pid_t		pid;			/* 0: of nobody */
	Oid			database;
	VdbWork		work;
	Oid			index;
	char		index_name[2 * NAMEDATALEN];
	TimestampTz since;			/* it has been doing that */

	/* since the server began */
	int64		rounds;
	int64		done[VDB_WORKS];
	int64		failures;
	char		error[256];		/* the last one */
	TimestampTz error_at;
} VdbPlace;

/* One kind of work rests after errors, while the others go on. */
typedef struct VdbRest
{
	int			failures;		/* in a row */
	VdbMoment	until;			/* it is not done before */
} VdbRest;

/* What is remembered of an index from round to round. */
typedef struct VdbRemembered
{
	Oid			database;		/* InvalidOid: of none */
	Oid			index;
	VdbRest		rests[VDB_WORKS];	/* of VDB_WORK_NONE: of finding out what is due */
	VdbMoment	vacuum_after;
	VdbMoment	recall_after;	/* 0: it was not measured yet */
	int64		changes;		/* of the table, when recall was measured last */
	double		recall;			/* that came out; NaN: none */
	double		uncalibrated;	/* rows that were too few to calibrate with */
	bool		rebuilt;		/* and then */
	double		rebuilt_filled;
	double		rebuilt_recall;
} VdbRemembered;

/* Databases that sessions asked workers for, at most. */
#define VDB_ASKED 16

typedef struct VdbAsked
{
	Oid			database;		/* InvalidOid: nobody */
	int			kind;
} VdbAsked;

typedef struct VdbWorkerShared
{
	LWLock		lock;			/* over all that follows */
	VdbAsked	asked[VDB_ASKED];
	struct Latch *launcher;		/* NULL: there was none yet */
	VdbPlace	places[VDB_PLACES];

	/* one database's are its worker's to change, who alone gives and frees them */
	VdbRemembered remembered[VDB_REMEMBERED];
} VdbWorkerShared;

/* What a worker is started with. */
typedef struct VdbAssignment
{
	int			place;
	uint32		generation;
	Oid			database;
} VdbAssignment;

/* NULL where the library is not preloaded */
extern VdbWorkerShared *vdb_worker_shared;

extern void vdb_worker_share(void);

/* Takes a place, and gives it back when the process ends; false if it is no longer ours. */
extern bool vdb_worker_take_place(const VdbAssignment *assignment);

/*
 * Says to whom it may concern, in pg_stat_activity as well, what is done from now on; where
 * the process has a place.
 */
extern void vdb_worker_say(VdbWork work, Oid index, const char *name);
extern void vdb_worker_count(VdbWork work);

/* The launcher can be asked from now on. */
extern void vdb_worker_listen(void);

/* What somebody asked for; the database is InvalidOid when there is nothing else. */
extern VdbAsked vdb_worker_take_asked(void);

/*
 * What is remembered of an index of this database; NULL where there is no room, which is logged once in
 * a process's life, or of a process that is none of ours.
 */
extern VdbRemembered *vdb_worker_remember(Oid index);

/* Forgets what is remembered of all indexes of a database but these. */
extern void vdb_worker_forget(Oid database, const List *but);

/* --- one index, worker_index.c ---------------------------------------------- */

/* An index, and what it needs. */
typedef struct VdbPatient
{
	const VdbAccessMethod *method;
	Relation	heap;
	Relation	index;
	VdbRemembered *remembered;	/* NULL: nothing is, or can be */
	bool		by_hand;		/* vdb.maintain(): what is due is said, whenever it was before */
	double		rows;			/* of the table */
	double		dead;			/* rows */
	VdbUpkeep	state;
	bool		has_room;		/* on disc, for another one */
	char	   *due[VDB_WORKS];	/* why, or NULL: it is not due */
} VdbPatient;

/* Fills in what is due of an index that is open.  Uses memory of the current context. */
extern void vdb_worker_examine(VdbPatient *patient);

/*
 * Does one kind of work, of those that can be done in anybody's transaction, with
 * ShareUpdateExclusiveLock on the table and RowExclusiveLock on the index.  The measuring of
 * recall may find that a rebuild is due.
 */
extern void vdb_worker_treat(VdbPatient *patient, VdbWork work);

/*
 * Remembers that an index is what a rebuild of another has given, whatever that is: this is not tried again.
 * Then, what it was, by measuring.
 */
extern void vdb_worker_expect_rebuilt(const VdbPatient *former, VdbRemembered *remembered);
extern void vdb_worker_note_rebuilt(VdbPatient *patient);

/* Remembers not to vacuum too soon again a table whose dead rows somebody may still see. */
extern void vdb_worker_note_vacuumed(VdbPatient *patient);

/* --- statements of their own, worker_statement.c ---------------------------- */

/* These begin and end transactions: outside any.  Memory of the current context is used. */

/* VACUUM of a table; false if somebody has a lock on it that is in the way. */
extern bool vdb_worker_vacuum(Oid heap);

/*
 * REINDEX INDEX CONCURRENTLY; false if somebody has a lock that is in the way.  *made: the index that takes the
 * other's place, also where an error comes when it has, else InvalidOid.  What an error leaves half-built is
 * marked.
 */
extern bool vdb_worker_reindex(Oid heap, Oid index, Oid *made);

/* Is an index one that such a rebuild left?  In a transaction. */
extern bool vdb_worker_is_leftover(Oid index);

/* DROP INDEX CONCURRENTLY of one; false if somebody has a lock that is in the way. */
extern bool vdb_worker_drop_leftover(Oid heap, Oid index);

/* --- who waits for us, worker_watch.c --------------------------------------- */

/*
 * Cancels workers that others have waited for too long, and those that have waited for too long
 * themselves; ends those in whose database nobody may be.
 */
extern void vdb_worker_watch(void);

#endif							/* VDB_WORKER_PRIVATE_H */
