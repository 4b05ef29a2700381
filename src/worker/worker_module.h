/*
 * worker_module.h
 *	  What the rest of the extension calls in this folder: the launcher keeps processes of
 *	  several kinds in databases, and each begins and ends alike.
 */
#ifndef VDB_WORKER_MODULE_H
#define VDB_WORKER_MODULE_H

/* Defines settings; where the library is preloaded, asks for a launcher.  From _PG_init. */
extern void vdb_worker_init(void);

/* A kind of process that the launcher keeps in databases.  Times are in s. */
typedef struct VdbWorkerKind
{
	const char *function;		/* that it begins with; exported */
	const char *name;			/* of its processes, in pg_stat_activity */
	const char *label;			/* in vdb_stat_worker */
	int			places;			/* processes at once, at most */
	const bool *enabled;
	const int  *limit;			/* processes at once */
	const int  *naptime;		/* from the end of one to the next in that database */
	const int  *retry;			/* the same after the first that failed; each one doubles it */
	int			longest_rest;	/* but not beyond this */
	int			asked_wait;		/* where sessions ask for one; each one that had nothing to do doubles it */

	/* how many there shall be in a database; NULL: one */
	int			(*wanted) (Oid database);

	/*
	 * Is there something for them to do in a database, as far as one can tell from without?  One at a
	 * time is sent where there may not be.  NULL: nobody can tell.
	 */
	bool		(*is_known) (Oid database);
} VdbWorkerKind;

/* Has the launcher keep one kind more; from _PG_init, before vdb_shmem_hook(). */
extern void vdb_worker_add_kind(const VdbWorkerKind *kind);

/* Has the launcher send one of a kind to this database soon. */
extern void vdb_worker_ask(const VdbWorkerKind *kind);

/* How a process's work ended. */
typedef enum VdbOutcome
{
	VDB_OUTCOME_FAILED,
	VDB_OUTCOME_DONE,
	VDB_OUTCOME_IDLE,			/* there was nothing to do */
	VDB_OUTCOME_NOTHING			/* nothing of ours in this database */
} VdbOutcome;

/*
 * What a process of a kind begins with: signals, its place, its database, and the settings of
 * vdb_worker_override_settings().  False if it is no longer wanted, and is to return.
 */
extern bool vdb_worker_begin(const char *appname);

/* How it has ended, if it does now. */
extern void vdb_worker_set_outcome(VdbOutcome outcome);

/* Counts an error, which vdb_stat_worker shows. */
extern void vdb_worker_count_failure(const char *message);

/* What each process of ours begins with, and does again when settings are read anew. */
extern void vdb_worker_override_settings(void);

/* Overrides settings, names and values, of those that this release has. */
extern void vdb_worker_override(const char *const (*settings)[2], int count);

/* Begins a transaction that is as old as it is, in pg_stat_activity as well. */
extern void vdb_worker_begin_transaction(void);

#endif							/* VDB_WORKER_MODULE_H */
