/*
 * ingest_embed_worker.c
 *	  What a process of ours does to embed: a batch of each pipeline, in turn.
 *
 * Rows are leased in one transaction; the function is called, and what it returned stored, in the next;
 * what a failure changes is written in another one, after the one that failed was rolled back.  So a
 * process that is ended anywhere leaves leases, which run out.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "ingest/ingest_private.h"
#include "testpoint.h"

/* A lease is as long as a call may take, and then so much, ms. */
#define LEASE_MORE 30000

/* The breaker's first wait, and its longest, ms. */
#define FIRST_WAIT 500
#define LONGEST_WAIT 60000

/* So long do we wait for others at most, where no model is called, ms. */
#define SHORT_LIMIT 10000

/* What is waited where a model that had enough does not say how long, ms. */
#define FIRST_LIMIT_WAIT 1000

/* Rows that have been leased, and what they need. */
typedef struct Batch
{
	const VdbPipeline *pipeline;
	const VdbPipelineTypes *types;
	int64		lease;
	VdbClaimed *rows;
	int			count;
	bool		cut;			/* a part of what was tried before */
} Batch;

/*
 * Begins a transaction, which may take so long (ms) until its end: it may wait for a lock of somebody's, and
 * other pipelines have their turn.
 */
static void
begin_transaction(MemoryContext memory, int limit)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	enable_timeout_after(STATEMENT_TIMEOUT, limit);
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());

	/* what is found outlives the transaction */
	MemoryContextSwitchTo(memory);
}

static void
end_transaction(MemoryContext memory)
{
	PopActiveSnapshot();
	SPI_finish();
	disable_timeout(STATEMENT_TIMEOUT, false);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
}

/* Rolls back after an error, and returns it. */
static ErrorData *
recover(MemoryContext memory)
{
	ErrorData  *error;

	MemoryContextSwitchTo(memory);
	error = CopyErrorData();
	HOLD_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(memory);
	return error;
}

static int
lease_ms(const VdbPipeline *pipeline)
{
	return Min((int64) pipeline->timeout + LEASE_MORE, PG_INT32_MAX);
}

/* --- what a failure changes ------------------------------------------------------ */

static void
stop_pipeline(const VdbPipeline *pipeline, const char *reason)
{
	MemoryContext memory = CurrentMemoryContext;

	begin_transaction(memory, SHORT_LIMIT);
	vdb_ingest_set_state(pipeline->id, VDB_STATE_ERROR, reason);
	end_transaction(memory);
	ereport(LOG,
			(errmsg("pipeline \"%s\" has stopped: %s", pipeline->name, reason),
			 errhint("Put it right, and use vdb.resume_pipeline().")));
}

/* Waits that double, of a pipeline whose model is away or has had enough. */
static int
next_wait(const VdbPipeline *pipeline, int first)
{
	return Min((int64) first << Min(pipeline->failures, 20), LONGEST_WAIT);
}

static void
count_pipeline_failure(const VdbPipeline *pipeline)
{
	static const char *const sql = "UPDATE vdb.pipeline SET failures = failures + 1 WHERE id = $1";
	static const Oid types[] = {INT4OID};
	Datum		value = Int32GetDatum(pipeline->id);
	VdbIdentity before;

	vdb_ingest_become_keeper(&before);
	(void) vdb_ingest_run(sql, lengthof(types), types, &value, NULL);
	vdb_ingest_come_back(&before);
}

/* Gives a batch back; retry_after as vdb_ingest_fail_rows() has it. */
static void
give_back(const Batch *batch, const char *error, int retry_after)
{
	MemoryContext memory = CurrentMemoryContext;
	char	  **keys = palloc(sizeof(char *) * Max(batch->count, 1));

	for (int i = 0; i < batch->count; i++)
		keys[i] = batch->rows[i].key;
	begin_transaction(memory, SHORT_LIMIT);
	(void) vdb_ingest_fail_rows(batch->pipeline, batch->lease, keys, batch->count, error, retry_after);
	if (retry_after > 0)
		count_pipeline_failure(batch->pipeline);
	end_transaction(memory);
}

/* Both of a row that fails, and of a model that is away: it fails, and the pipeline waits. */
static void
give_back_and_wait(const Batch *batch, const char *error, int wait)
{
	Batch		none = *batch;

	give_back(batch, error, -1);
	none.count = 0;
	give_back(&none, error, wait);
}

typedef struct Parse
{
	char	   *text;
	Interval   *interval;
} Parse;

static void
parse_interval(void *arg)
{
	Parse	   *parse = arg;

	parse->interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(parse->text),
															ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* How long the model wants to be left alone, ms, as the error's detail says: seconds or an interval; -1: not. */
static int
read_retry_after(char *detail)
{
	Parse		parse = {.text = detail};
	double		ms;
	char	   *end;

	if (detail == NULL)
		return -1;
	ms = strtod(detail, &end) * 1000;
	if (end == detail || *end != '\0')
	{
		MemoryContext memory = CurrentMemoryContext;

		begin_transaction(memory, SHORT_LIMIT);
		(void) vdb_ingest_try(parse_interval, &parse);
		end_transaction(memory);
		if (parse.interval == NULL)
			return -1;
		ms = parse.interval->time / 1000.0 +
			((double) parse.interval->month * DAYS_PER_MONTH + parse.interval->day) * (SECS_PER_DAY * 1000.0);
	}
	return ms >= 0 && ms <= PG_INT32_MAX ? (int) Max(ms, 1) : -1;
}

/*
 * A batch is half as large each time that a call is in vain.  So a call that takes too long because there is
 * much to do ends in time, and of a row that takes too long the next one is rid.
 */
static int
batch_size(const VdbPipeline *pipeline)
{
	return Max(pipeline->batch_size >> Min(pipeline->failures, 30), 1);
}

/* Is a row tried alone, of those that had been tried together? */
static bool
is_alone(const VdbPipeline *pipeline)
{
	return batch_size(pipeline) == 1 && pipeline->batch_size > 1;
}

/* --- a batch ----------------------------------------------------------------------- */

/* What the function returned, if it is one vector for each row. */
static Datum *
read_embeddings(const Batch *batch, ArrayType *array)
{
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *embeddings;
	int			count = 0;

	if (array == NULL || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("function %s returned null", batch->pipeline->embed),
				 errhint("It has to return an array with an embedding of each text.")));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &embeddings, NULL, &count);
	if (count != batch->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("function %s returned %d embeddings of %d texts", batch->pipeline->embed,
						count, batch->count),
				 errhint("It has to return an array with an embedding of each text.")));
	return embeddings;
}

/* Calls the function, as the pipeline's owner; as many vectors as rows. */
static Datum *
call_function(const Batch *batch)
{
	static const Oid types[] = {TEXTARRAYOID};
	const char *function = get_func_name(batch->types->embed);
	const char *namespace = get_namespace_name(get_func_namespace(batch->types->embed));
	Datum	   *contents = palloc(sizeof(Datum) * batch->count);
	Datum		value;
	Datum		result;
	VdbIdentity before;
	bool		isnull;

	/* it was looked up when the batch was claimed */
	if (function == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist", batch->pipeline->embed)));
	for (int i = 0; i < batch->count; i++)
		contents[i] = CStringGetTextDatum(batch->rows[i].content);
	value = PointerGetDatum(construct_array(contents, batch->count, TEXTOID, -1, false, TYPALIGN_INT));
	vdb_ingest_become_owner(batch->pipeline, &before);
	(void) vdb_ingest_run(psprintf("SELECT %s($1)", quote_qualified_identifier(namespace, function)),
						  lengthof(types), types, &value, NULL);
	vdb_ingest_come_back(&before);
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return read_embeddings(batch, isnull ? NULL : DatumGetArrayTypeP(result));
}

/* Embeds and stores a batch, in a transaction. */
static void
embed(const Batch *batch, MemoryContext memory)
{
	char	  **keys = palloc(sizeof(char *) * batch->count);
	TimestampTz began = GetCurrentTimestamp();
	Datum	   *embeddings;

	for (int i = 0; i < batch->count; i++)
		keys[i] = batch->rows[i].key;
	if (batch->cut)
	{
		begin_transaction(memory, SHORT_LIMIT);
		vdb_ingest_extend_lease(batch->pipeline, batch->lease, keys, batch->count, lease_ms(batch->pipeline));
		end_transaction(memory);
	}
	begin_transaction(memory, batch->pipeline->timeout);
	embeddings = call_function(batch);
	VDB_TESTPOINT("ingest-embedded");

	/* its table may have been renamed while the function was at work */
	(void) vdb_ingest_complete_rows(batch->pipeline, vdb_ingest_resolve_locked(batch->pipeline, NoLock, RowExclusiveLock),
									batch->lease, keys, embeddings, batch->count);
	end_transaction(memory);
	VDB_TESTPOINT("ingest-completed");
	vdb_ingest_count(batch->pipeline->id, VDB_INGEST_BATCH_MS,
					 TimestampDifferenceMilliseconds(began, GetCurrentTimestamp()));
}

static bool embed_safely(const Batch *batch, MemoryContext memory);

/* One half of a batch, and the other. */
static bool
embed_halves(const Batch *batch, MemoryContext memory)
{
	Batch		first = *batch;
	Batch		second = *batch;

	first.cut = second.cut = true;
	first.count = batch->count / 2;
	second.rows = batch->rows + first.count;
	second.count = batch->count - first.count;
	if (embed_safely(&first, memory))
		return embed_safely(&second, memory);
	give_back(&second, NULL, 0);
	return false;
}

/*
 * Deals with the error of a batch; returns whether there is any use in going on with other rows.
 */
static bool
deal_with(const Batch *batch, ErrorData *error, MemoryContext memory)
{
	const VdbPipeline *pipeline = batch->pipeline;
	int			wait;

	switch (vdb_ingest_blame(error->sqlerrcode))
	{
		case VDB_BLAME_ROWS:
			if (batch->count > 1)
				return embed_halves(batch, memory);
			give_back(batch, error->message, -1);
			return true;
		case VDB_BLAME_AWAY:
			wait = next_wait(pipeline, FIRST_WAIT);
			if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && is_alone(pipeline))
				give_back_and_wait(batch, error->message, wait);
			else
				give_back(batch, error->message, wait);
			return false;
		case VDB_BLAME_LIMIT:
			wait = read_retry_after(error->detail);
			vdb_ingest_count(pipeline->id, VDB_INGEST_RATE_LIMITED, 1);
			give_back(batch, error->message, wait >= 0 ? wait : next_wait(pipeline, FIRST_LIMIT_WAIT));
			return false;
		case VDB_BLAME_DEFINITION:
			give_back(batch, error->message, 0);
			stop_pipeline(pipeline, error->message);
			return false;
	}
	pg_unreachable();
}

/*
 * Embeds a batch, or finds out why not; returns whether there is any use in going on with other rows.
 * Memory of the context goes when the pipeline's turn ends.
 */
static bool
embed_safely(const Batch *batch, MemoryContext memory)
{
	ErrorData  *volatile error = NULL;

	CHECK_FOR_INTERRUPTS();
	PG_TRY();
	{
		embed(batch, memory);
	}
	PG_CATCH();
	{
		error = recover(memory);
	}
	PG_END_TRY();
	return error == NULL || deal_with(batch, error, memory);
}

/* Leases rows, in a transaction; returns whether anything was due. */
static bool
claim(Batch *batch, MemoryContext memory)
{
	VdbPipeline *pipeline;
	int			seen = 0;

	begin_transaction(memory, SHORT_LIMIT);

	/* other pipelines may have had a long turn since it was read */
	pipeline = vdb_ingest_find_pipeline_by_id(batch->pipeline->id, VDB_LOCK_NONE);
	if (pipeline != NULL && pipeline->mode == VDB_MODE_FUNCTION && vdb_ingest_may_embed(pipeline))
	{
		batch->pipeline = pipeline;
		batch->types = vdb_ingest_resolve_locked(pipeline, AccessShareLock, AccessShareLock);
		batch->rows = vdb_ingest_claim_rows(pipeline, batch->types, batch_size(pipeline), lease_ms(pipeline),
											&batch->lease, &batch->count, &seen);
	}
	end_transaction(memory);
	return seen > 0;
}

/* A pipeline's turn; returns whether anything was due. */
static bool
attend(const VdbPipeline *pipeline, MemoryContext memory)
{
	Batch		batch = {.pipeline = pipeline};
	ErrorData  *volatile error = NULL;
	volatile bool due = false;

	if (!vdb_ingest_may_embed(pipeline))
		return false;
	PG_TRY();
	{
		due = claim(&batch, memory);
	}
	PG_CATCH();
	{
		error = recover(memory);
	}
	PG_END_TRY();
	if (error != NULL)
	{
		batch = (Batch) {.pipeline = pipeline};
		if (vdb_ingest_blame(error->sqlerrcode) == VDB_BLAME_AWAY)
			give_back(&batch, error->message, next_wait(pipeline, FIRST_WAIT));
		else
			stop_pipeline(pipeline, error->message);
		return true;
	}
	if (batch.count > 0)
	{
		VDB_TESTPOINT("ingest-claimed");
		embed_safely(&batch, memory);
	}
	return due;
}

/* The same, where not even that can be written: leases end by themselves. */
static bool
attend_safely(const VdbPipeline *pipeline, MemoryContext memory)
{
	volatile bool due = false;

	PG_TRY();
	{
		due = attend(pipeline, memory);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		(void) recover(memory);
	}
	PG_END_TRY();
	return due;
}

/* None, where the extension is not in this database, or goes at this moment. */
static List *
list_pipelines(MemoryContext memory)
{
	List	   *volatile pipelines = NIL;

	PG_TRY();
	{
		begin_transaction(memory, SHORT_LIMIT);
		if (vdb_ingest_is_installed())
			pipelines = vdb_ingest_list_pipelines();
		end_transaction(memory);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		(void) recover(memory);
		pipelines = NIL;
	}
	PG_END_TRY();
	return pipelines;
}

bool
vdb_ingest_embed_round(void)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "vdb pipelines", ALLOCSET_DEFAULT_SIZES);
	MemoryContext turn = AllocSetContextCreate(memory, "vdb pipeline", ALLOCSET_DEFAULT_SIZES);
	List	   *pipelines = list_pipelines(memory);
	bool		any = false;
	ListCell   *cell;

	foreach(cell, pipelines)
	{
		const VdbPipeline *pipeline = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (pipeline->mode != VDB_MODE_FUNCTION)
			continue;
		MemoryContextSwitchTo(turn);
		any = attend_safely(pipeline, turn) || any;
		MemoryContextSwitchTo(memory);
		MemoryContextReset(turn);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);

	/* autovacuum is to know of what has left the queue */
	pgstat_report_stat(false);
	return any;
}
