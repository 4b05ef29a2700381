/*
 * ingest_decode.h
 *	  The log of a database, as changes of the rows that pipelines watch.
 *
 * One process a database reads it, through a slot of its own, and says in the commit record of
 * what it does with them how far it got (a replication origin).
 */
#ifndef VDB_INGEST_DECODE_H
#define VDB_INGEST_DECODE_H

#include "executor/tuptable.h"
#include "utils/hsearch.h"
#include "utils/tuplestore.h"

#include "ingest/ingest_private.h"

/* A pipeline, and what it has come to. */
typedef struct VdbWatch
{
	VdbPipeline *pipeline;
	VdbPipelineTypes *types;	/* NULL: something is wrong with it */
	bool		active;			/* changes are of interest */
	bool		enqueued;		/* since its entries were counted */
	XLogRecPtr	load_from;		/* a load that is at its beginning waits until reading is there */

	/* columns in the tuples that are being decoded, as they were found last */
	AttrNumber	key;			/* 0: it is gone */
	AttrNumber	content;
	Oid			key_type;
	Oid			key_output;
} VdbWatch;

typedef enum VdbChangeKind
{
	VDB_CHANGE_LOOK = 'l',		/* look at the row as it is then */
	VDB_CHANGE_PUT = 'p',		/* the content is the value; NULL: there is none any more */
	VDB_CHANGE_DELETE = 'd',
	VDB_CHANGE_TRUNCATE = 't',	/* all rows are gone */
	VDB_CHANGE_BROKEN = 'b'		/* the key says what is wrong with the pipeline */
} VdbChangeKind;

typedef struct VdbChange
{
	int			pipeline;
	VdbChangeKind kind;
	char	   *key;
	struct varlena *value;
	XLogRecPtr	lsn;
	TimestampTz at;				/* it was committed */
} VdbChange;

/* Changes of whole transactions, in their order; on disc where they are many. */
typedef struct VdbBatch
{
	Tuplestorestate *store;
	TupleDesc	desc;
	TupleTableSlot *slot;
	MemoryContext memory;
	int64		count;
	XLogRecPtr	end;			/* of the last transaction; Invalid: none has ended */
	TimestampTz ended_at;		/* also of one without changes, and of one before this batch */
} VdbBatch;

extern void vdb_batch_init(VdbBatch *batch);
extern void vdb_batch_clear(VdbBatch *batch);
extern void vdb_batch_rewind(VdbBatch *batch);

/* The next change; false after the last one.  Its key is memory of the current context, its value the batch's, until the next call. */
extern bool vdb_batch_next(VdbBatch *batch, VdbChange *change);

/* Is there a slot of this database's from which decoding can go on? */
extern bool vdb_decode_has_slot(void);

/*
 * Begins to read where the origin says; with "create" makes the database's slot before, which is not there or of no
 * use.  Before a slot is made it must be known that all sources are to be gone through.
 */
extern void vdb_decode_open(bool create);

/* Ends reading, and drops slot and origin.  There may be none. */
extern void vdb_decode_drop(void);

/* What is watched from now on: a hash table of VdbWatchedTable. */
typedef struct VdbWatchedTable
{
	Oid			table;			/* the key */
	List	   *watches;
} VdbWatchedTable;

extern void vdb_decode_watch(HTAB *tables);

/*
 * Adds to a batch until it has "most" changes, until a time, or until there is no more log for now; then true.
 */
extern bool vdb_decode_more(VdbBatch *batch, int64 most, TimestampTz until);

/* How far it has been read. */
extern XLogRecPtr vdb_decode_position(void);

/* What is before this is not needed any more. */
extern void vdb_decode_confirm(XLogRecPtr lsn);
extern XLogRecPtr vdb_decode_confirmed(void);

/*
 * Are all transactions whose commits were decoded visible to snapshots that are taken from now on?  A
 * commit record is in the log before.
 */
extern bool vdb_decode_all_visible(void);

#endif							/* VDB_INGEST_DECODE_H */
