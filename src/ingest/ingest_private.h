/*
 * ingest_private.h
 *	  What the files of this folder share: pipelines, the queue, counters.
 *
 * The tables are described in docs/design/020-ingest.md, and made in the extension's script.
 */
#ifndef VDB_INGEST_PRIVATE_H
#define VDB_INGEST_PRIVATE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* --- settings, ingest.c ------------------------------------------------------ */

extern bool vdb_ingest;			/* do processes work on pipelines? */
extern int	vdb_ingest_workers; /* that embed, in a database */
extern int	vdb_ingest_nap;		/* ms, from one look at the log to the next */
extern int	vdb_ingest_max_wal; /* MB, that may be kept for a capture that cannot go on */

/* What processes of ours begin with, and do again when settings are read anew. */
extern void vdb_ingest_override_settings(void);

/* Interrupts, and settings that were changed; outside a transaction. */
extern void vdb_ingest_take_interrupts(void);

/* Has the launcher start what this database lacks. */
extern void vdb_ingest_ask_capture(void);
extern void vdb_ingest_ask_embedders(void);

/* --- the log, ingest_decode.c, and what is done with it, ingest_capture.c ------ */

/* The name of a database's slot, and of its replication origin. */
extern void vdb_ingest_name_slot(Oid database, char name[NAMEDATALEN]);

/* Reads this database's log as long as there are pipelines; false if there were none. */
extern bool vdb_ingest_capture(void);

/* --- processes that embed, ingest_embed_worker.c ------------------------------- */

/* Works on what is due of each pipeline with a function; false if nothing was. */
extern bool vdb_ingest_embed_round(void);

/* --- statements, ingest_statement.c ------------------------------------------- */

/* A statement has no more parameters. */
#define VDB_STATEMENT_ARGS 16

/*
 * Runs a statement, which is kept prepared, and returns how many rows it gave or changed; they are in
 * SPI_tuptable.  It sees what is committed when it begins, at the isolation level of most.  In a
 * transaction, connected to SPI; the memory context stays what it is.  "nulls" as SPI has it, NULL: none.
 */
extern uint64 vdb_ingest_run(const char *sql, int count, const Oid *types, const Datum *values,
							 const char *nulls);

/* --- arguments of functions, ingest_command.c ---------------------------------- */

/* An error if an argument, called so, is null. */
extern void vdb_ingest_check_given(FunctionCallInfo fcinfo, int argument, const char *name);

/* An interval's length in ms, months having thirty days; it may be negative, or huge. */
extern double vdb_ingest_interval_ms(const Interval *interval);

/* --- pipelines, ingest_pipeline.c -------------------------------------------- */

typedef enum VdbPipelineMode
{
	VDB_MODE_FUNCTION,			/* processes of ours call a function */
	VDB_MODE_CLAIM,				/* programs outside embed */
	VDB_MODE_COPY				/* the content is the embedding */
} VdbPipelineMode;

typedef enum VdbPipelineState
{
	VDB_STATE_RUNNING,
	VDB_STATE_PAUSED,
	VDB_STATE_ERROR,
	VDB_STATE_OVERFLOW
} VdbPipelineState;

typedef enum VdbLoad
{
	VDB_LOAD_NONE,
	VDB_LOAD_SOURCE,			/* all rows of the source */
	VDB_LOAD_ORPHANS			/* rows of the target that the source no longer has */
} VdbLoad;

/* A row of vdb.pipeline. */
typedef struct VdbPipeline
{
	int			id;
	char	   *name;
	Oid			owner;
	Oid			source;
	char	   *key;
	char	   *content;
	Oid			target;
	char	   *target_key;
	char	   *embedding;
	VdbPipelineMode mode;
	char	   *embed;			/* as regprocedure prints it, with its schema; NULL: none */
	char	   *model_version;	/* may be NULL */
	int			version_of;		/* 0: of none */
	int			batch_size;
	int			timeout;		/* ms */
	int			max_attempts;
	int64		queue_limit;
	VdbPipelineState state;
	VdbLoad		load;
	char	   *load_after;		/* NULL: from the beginning */
	TimestampTz wait_until;
	int			failures;
	Oid			source_file;	/* when it was looked at; InvalidOid: it has not been, in this database */
	int			content_number;
} VdbPipeline;

/* What a pipeline's names stand for now. */
typedef struct VdbPipelineTypes
{
	char	   *source;			/* names as SQL has them, quoted and with schemas, the source with ONLY */
	char	   *source_name;	/* without */
	char	   *target;			/* that of the source, where it is the same table */
	char	   *target_name;
	char	   *key_type;		/* of the source's key, to cast a text to */
	char	   *target_key_type;
	char	   *key_equals;		/* operators, as SQL has them */
	char	   *target_key_equals;
	char	   *keys_equal;		/* of the source's key and the target's */
	char	   *key_after;		/* in the order of keys */
	char	   *target_key_after;
	Oid			content_type;
	Oid			vector_type;
	Oid			embedding_type;	/* that, or halfvec */
	int32		embedding_typmod;	/* dimensions; -1: any */
	Oid			embed;			/* the function; InvalidOid: none */
	bool		same_table;
	bool		has_model_version;	/* columns of the target that are written where they are there */
	bool		has_source_hash;
	bool		has_embedded_at;
} VdbPipelineTypes;

/* Is the extension there?  In a transaction. */
extern bool vdb_ingest_is_installed(void);

/* The table of pipelines, whose invalidation says that they have changed. */
extern Oid	vdb_ingest_pipeline_table(void);

/* How a pipeline's row is locked until the end of the transaction. */
typedef enum VdbPipelineLock
{
	VDB_LOCK_NONE,
	VDB_LOCK_STATE,				/* to change what state it is in, beside claims */
	VDB_LOCK_DEFINITION			/* to change what it is, when claims are over */
} VdbPipelineLock;

/*
 * All pipelines, in the order of their identifiers; or one, by name (an error where there is none) or number, locked.
 * In a transaction, connected to SPI or not; memory of the current context.
 */
extern List *vdb_ingest_list_pipelines(void);
extern VdbPipeline *vdb_ingest_find_pipeline(const char *name, VdbPipelineLock lock);
extern VdbPipeline *vdb_ingest_find_pipeline_by_id(int id, VdbPipelineLock lock);	/* or NULL */

/*
 * Has a pipeline's definition stay as it was read until the end of the transaction, so that who changes it sees what leases
 * there are by the old one.  False if it has changed already, or somebody is at it, who is not waited for.
 */
extern bool vdb_ingest_share_as_read(const VdbPipeline *pipeline);

/*
 * Locks a pipeline's row, but without waiting; false if somebody else has it, or has changed what is to be gone through,
 * or how, since it was read.
 */
extern bool vdb_ingest_lock_as_read(const VdbPipeline *pipeline, VdbPipelineLock lock);

/* As the table has them. */
extern const char *vdb_ingest_mode_name(VdbPipelineMode mode);
extern const char *vdb_ingest_state_name(VdbPipelineState state);

/* vector or halfvec?  text, or like it? */
extern bool vdb_ingest_is_embedding_type(Oid type);
extern bool vdb_ingest_is_text_type(Oid type);
extern char *vdb_ingest_type_schema(Oid type);

/*
 * Looks up what a pipeline's names stand for.  Raises an error, as a user wants to read it, where a
 * table, a column or a function is gone, is of a type that cannot be, or is not the owner's to use.
 */
extern VdbPipelineTypes *vdb_ingest_resolve(const VdbPipeline *pipeline);	/* ingest_resolve.c */

/*
 * The same, with those of the two tables locked that are read or written, as who does that locks them.  So the names that
 * statements have stay those of these tables to the end of the transaction, whoever swaps names.
 */
extern VdbPipelineTypes *vdb_ingest_resolve_locked(const VdbPipeline *pipeline, LOCKMODE source, LOCKMODE target);

/*
 * The same, and looks at what else its tables must have.  Raises an error where they do not.
 */
extern VdbPipelineTypes *vdb_ingest_check_pipeline(const VdbPipeline *pipeline);	/* ingest_check.c */

/* An error where the server is not set up for pipelines. */
extern void vdb_ingest_check_server(void);

/* --- commands, ingest_command.c */

/* Says of which columns of provenance the target has none. */
extern void vdb_ingest_advise(const VdbPipeline *pipeline, const VdbPipelineTypes *types);

/* One definition at a time is checked and written, to the end of the transaction. */
extern void vdb_ingest_lock_definitions(void);

/* Returns its number.  Processes are told. */
extern int	vdb_ingest_insert_pipeline(const VdbPipeline *pipeline);

/* With what waits and what was given up; an error where it has versions.  Processes are told. */
extern void vdb_ingest_delete_pipeline(const VdbPipeline *pipeline);

/*
 * A pipeline's state is written; "reason" may be NULL.  Processes are told when the transaction is committed.
 */
extern void vdb_ingest_set_state(int pipeline, VdbPipelineState state, const char *reason);
extern void vdb_ingest_set_load(int pipeline, VdbLoad load, const char *after);

/*
 * Changes are not noted any more: a pipeline that runs overflows, for so long at least, and its source will be gone through.
 * One that somebody has paused stays so, and its source will be when it goes on.
 */
extern void vdb_ingest_set_overflow(int pipeline, const char *reason, int seconds);

/* Runs a statement on the extension's tables, as vdb_ingest_run() does, not connected to SPI; returns its rows' number. */
extern uint64 vdb_ingest_run_as_keeper(const char *sql, int count, const Oid *types, const Datum *values,
									   const char *nulls);

/*
 * Notes what the source is now, of a pipeline that was looked at; a table that has been rewritten since, or whose content
 * is another column, is gone through.
 */
extern void vdb_ingest_note_source(VdbPipeline *pipeline);

/* Says why a pipeline cannot be worked on yet, which is not its fault.  Nobody is told. */
extern void vdb_ingest_note_reason(int pipeline, const char *reason);

/* Tells all processes of this database at the end of the transaction that pipelines have changed. */
extern void vdb_ingest_tell(void);

/*
 * What user's code does, it does as somebody, restricted, with a search path nobody can prepare.
 * From begin to end in one (sub)transaction; an error ends it by itself.
 */
typedef struct VdbIdentity
{
	Oid			user;
	int			context;
	int			nest_level;
} VdbIdentity;

extern void vdb_ingest_become_owner(const VdbPipeline *pipeline, VdbIdentity *before);

/* The one whose the extension's tables are. */
extern void vdb_ingest_become_keeper(VdbIdentity *before);
extern void vdb_ingest_come_back(const VdbIdentity *before);

/* Is the current user the pipeline's owner, or a member?  If not, an error. */
extern void vdb_ingest_require_owner(const VdbPipeline *pipeline);

/* --- errors, ingest_failure.c -------------------------------------------------- */

/* Whose fault an error is. */
typedef enum VdbBlame
{
	VDB_BLAME_ROWS,				/* of one of them, which is to be found */
	VDB_BLAME_AWAY,				/* the model or the server cannot now */
	VDB_BLAME_LIMIT,			/* too much was asked for */
	VDB_BLAME_DEFINITION		/* what the pipeline names is not as it has to be */
} VdbBlame;

extern VdbBlame vdb_ingest_blame(int sqlerrcode);

/*
 * Takes a step in a subtransaction; NULL, or what went wrong.  Memory of the current context.
 */
extern ErrorData *vdb_ingest_attempt(void (*step) (void *arg), void *arg);

/*
 * Takes a step in a subtransaction.  If it raises an error that is the fault of a row, what it did is undone
 * and the error's message is returned, in memory of the current context; other errors go on.  NULL: it
 * was taken.
 */
extern char *vdb_ingest_try(void (*step) (void *arg), void *arg);

/* --- the queue, ingest_queue.c ------------------------------------------------ */

/*
 * Puts keys into the queue, or moves those that are there: they get the LSN, if it is later than
 * theirs, and are no longer backfill unless all of this is.  "keys" are texts, of count, without two that are
 * equal; they are sorted in place.  In a transaction, connected to SPI, as the keeper.
 * Returns how many there had not been.
 */
extern int64 vdb_ingest_enqueue(int pipeline, char **keys, int count, XLogRecPtr lsn,
								TimestampTz changed_at, bool backfill);

/* Is anything to be embedded now, as far as the pipeline's row says? */
extern bool vdb_ingest_may_embed(const VdbPipeline *pipeline);

/* A lease is the pipeline's number, and below it so many bits of its own. */
#define VDB_LEASE_BITS 32

/* A row that is to be embedded. */
typedef struct VdbClaimed
{
	char	   *key;
	char	   *content;
} VdbClaimed;

/*
 * Leases at most "count" rows for so long (ms); those that are gone or unchanged are dealt with and
 * not among them.  "*seen" is how many entries were looked at: 0 means that nothing is due, or the definition is not as
 * it was read.  In a transaction, connected to SPI, memory of the current context.
 */
extern VdbClaimed *vdb_ingest_claim_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types,
										 int count, int lease_ms, int64 *lease, int *claimed, int *seen);

/*
 * Says in the pipeline's row why rows have failed.  If "late", entries or rows of targets are locked already, and it is
 * not said where somebody has that row locked.  Connected to SPI, as whoever may write it.
 */
extern void vdb_ingest_note_error(const VdbPipeline *pipeline, const char *error, bool late);

/*
 * Stores embeddings, one of each key, of those keys that still have this lease, and returns how
 * many.  "embeddings" are datums of type vector, none of them NULL.  An error if one has other dimensions
 * than the column.  The same conditions.
 */
extern int	vdb_ingest_complete_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types,
									 int64 lease, char **keys, Datum *embeddings, int count);

/*
 * Has the lease of such keys end so long (ms) from now.  The same conditions.
 */
extern void vdb_ingest_extend_lease(const VdbPipeline *pipeline, int64 lease, char **keys, int count,
									int lease_ms);

/*
 * Gives back keys that have this lease, be there none.  With retry_after (ms) of 0 or more, nobody has failed
 * and the pipeline waits so long, for the reason "error", or NULL; with -1, the rows have failed once more, and
 * are dead when that is once too often.  The same conditions.
 */
extern int	vdb_ingest_fail_rows(const VdbPipeline *pipeline, int64 lease, char **keys, int count,
								 const char *error, int retry_after);

/* --- processes that embed, ingest_embed_worker.c ------------------------------- */

/*
 * Embeds a batch of each pipeline that has a function and something that is due; returns whether there was
 * any.  Not in a transaction, in a process that has STATEMENT_TIMEOUT.  Errors of a pipeline are dealt with.
 */
extern bool vdb_ingest_embed_round(void);

/*
 * Ends leases of processes of ours, all of which are gone: the server has been started since.  The same
 * conditions, as the keeper.
 */
extern void vdb_ingest_release_leases(void);

/* --- counters, ingest_shared.c ------------------------------------------------ */

typedef enum VdbIngestStat
{
	VDB_INGEST_CAPTURED,		/* changes that were decoded */
	VDB_INGEST_EMBEDDED,
	VDB_INGEST_SKIPPED,			/* unchanged, by hash */
	VDB_INGEST_DELETED,
	VDB_INGEST_FAILED,
	VDB_INGEST_DEAD,
	VDB_INGEST_RETRIES,
	VDB_INGEST_RATE_LIMITED,
	VDB_INGEST_BATCHES,
	VDB_INGEST_BATCH_MS,		/* in all */
	VDB_INGEST_STATS
} VdbIngestStat;

/* Is the library in shared_preload_libraries? */
extern bool vdb_ingest_is_preloaded(void);

/* Add up in shared memory since the server began; nothing where the library is not preloaded. */
extern void vdb_ingest_count(int pipeline, VdbIngestStat what, uint64 count);

/* One row's time from its change to its embedding. */
extern void vdb_ingest_count_freshness(int pipeline, TimestampTz changed_at, TimestampTz now);

/* Asks for shared memory, from _PG_init. */
extern void vdb_ingest_share(void);

/* Forgets the counters of this database's pipelines but these; of all, if the list is NIL. */
extern void vdb_ingest_forget_counters(const List *but);

/* How far a database's log has been read. */
typedef struct VdbCaptureProgress
{
	int			pid;			/* 0: nobody reads it */
	int			embedders;		/* that there shall be */
	XLogRecPtr	captured;
	XLogRecPtr	confirmed;
	TimestampTz caught_up_at;	/* what was committed before has been dealt with */
} VdbCaptureProgress;

/* Of this database; false if there is no room. */
extern bool vdb_ingest_report(const VdbCaptureProgress *at);

/*
 * Notes that a process begins to read at a position; how many have done so in a row, since the server was started,
 * and got no further.
 */
extern int	vdb_ingest_note_start(XLogRecPtr position);

/* Has a process of this database done, since the server was started, what is to be done once?  Notes that. */
extern bool vdb_ingest_has_begun(void);
extern void vdb_ingest_note_begun(void);

/* False where nobody reads it. */
extern bool vdb_ingest_read_progress(Oid database, VdbCaptureProgress *at);

/* Wakes processes of this database that embed, after a commit; and how they wait. */
extern void vdb_ingest_wake_embedders(void);
extern void vdb_ingest_await_work(long ms);

#endif							/* VDB_INGEST_PRIVATE_H */
