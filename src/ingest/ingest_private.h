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
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "utils/relcache.h"

/* --- settings, ingest.c ------------------------------------------------------ */

extern bool vdb_ingest;			/* do processes work on pipelines? */
extern int	vdb_ingest_workers; /* that embed, in a database */
extern int	vdb_ingest_nap;		/* ms, from one look at the log to the next */
extern int	vdb_ingest_max_wal; /* MB, that may be kept for a capture that cannot go on */

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
} VdbPipeline;

/* What a pipeline's names stand for now. */
typedef struct VdbPipelineTypes
{
	char	   *source;			/* names as SQL has them, quoted and with schemas */
	char	   *target;
	char	   *key_type;		/* of the source's key, to cast a text to */
	char	   *target_key_type;
	Oid			content_type;
	Oid			embedding_type;
	int32		embedding_typmod;
	bool		same_table;
	bool		has_model_version;	/* columns of the target that are written where they are there */
	bool		has_source_hash;
	bool		has_embedded_at;
} VdbPipelineTypes;

/* Is the extension there?  In a transaction. */
extern bool vdb_ingest_is_installed(void);

/*
 * All pipelines, in the order of their identifiers; or one, by name (an error where there is
 * none), with its row locked until the end of the transaction if "lock".  In a transaction, connected to SPI
 * or not; memory of the current context.
 */
extern List *vdb_ingest_list_pipelines(void);
extern VdbPipeline *vdb_ingest_find_pipeline(const char *name, bool lock);

/*
 * Looks up what a pipeline's names stand for.  Raises an error, as a user wants to read it, where a
 * table, a column or a function is gone, is of a type that cannot be, or is not the owner's to use.
 */
extern VdbPipelineTypes *vdb_ingest_resolve(const VdbPipeline *pipeline);

/*
 * A pipeline's state is written; "reason" may be NULL.  Processes are told when the transaction is committed.
 */
extern void vdb_ingest_set_state(int pipeline, VdbPipelineState state, const char *reason);
extern void vdb_ingest_set_load(int pipeline, VdbLoad load, const char *after);

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

/* --- the queue, ingest_queue.c ------------------------------------------------ */

/*
 * Puts keys into the queue, or moves those that are there: they get the LSN, if it is later than
 * theirs, and are no longer backfill unless all of this is.  "keys" are texts, of count, without two that are
 * equal; they are sorted in place.  In a transaction, connected to SPI, as the keeper.
 * Returns how many there had not been.
 */
extern int64 vdb_ingest_enqueue(int pipeline, char **keys, int count, XLogRecPtr lsn,
								TimestampTz changed_at, bool backfill);

/* A row that is to be embedded. */
typedef struct VdbClaimed
{
	char	   *key;
	char	   *content;
} VdbClaimed;

/*
 * Leases at most "count" rows for so long (ms); those that are gone or unchanged are dealt with and
 * not among them.  "*seen" is how many entries were looked at: 0 means that nothing is due.  In a transaction, connected to SPI,
 * memory of the current context.
 */
extern VdbClaimed *vdb_ingest_claim_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types,
										 int count, int lease_ms, int64 *lease, int *claimed, int *seen);

/*
 * Stores embeddings, one of each key, of those keys that still have this lease, and returns how
 * many.  "embeddings" are datums of type vector, none of them NULL.  The same conditions.
 */
extern int	vdb_ingest_complete_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types,
									 int64 lease, char **keys, Datum *embeddings, int count);

/*
 * Gives back keys that have this lease.  With retry_after (ms) of 0 or more, nobody has failed and the
 * pipeline waits so long; with -1, the rows have failed once more, and are dead when that is
 * once too often.  The same conditions.
 */
extern int	vdb_ingest_fail_rows(const VdbPipeline *pipeline, int64 lease, char **keys, int count,
								 const char *error, int retry_after);

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

/* Add up in shared memory since the server began; nothing where the library is not preloaded. */
extern void vdb_ingest_count(int pipeline, VdbIngestStat what, uint64 count);

/* One row's time from its change to its embedding. */
extern void vdb_ingest_count_freshness(int pipeline, TimestampTz changed_at, TimestampTz now);

/* Wakes processes of this database that embed, after a commit. */
extern void vdb_ingest_wake_embedders(void);

#endif							/* VDB_INGEST_PRIVATE_H */
