/*
 * ingest_apply.c
 *	  What becomes of changes: keys in the queue, or rows of the target.
 *
 * Of changes of one key in a batch the last one counts.  All of a batch is done in one transaction; what
 * the target or its triggers refuse is rolled back alone, in halves, so that one row cannot stop the others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "ingest/ingest_apply.h"
#include "testpoint.h"

/* Changes of a pipeline that are written by one statement, at most, and their bytes. */
#define PILE_CHANGES 5000
#define PILE_BYTES (16 * 1024 * 1024)

/* Rows of a page of a load, and entries of backfill that are enough for a while. */
#define PAGE_ROWS 1000
#define BACKFILL_ENOUGH 10000

/* A pipeline whose target was in the way rests for this long. */
#define PUT_OFF_SECONDS 10

/* Changes of a pipeline that wait to be written. */
typedef struct Pile
{
	VdbWatch   *watch;
	MemoryContext memory;
	VdbChange  *changes;
	int			count;
	Size		bytes;
	int64		captured;
	bool		truncated;
	XLogRecPtr	lsn;			/* of the last one */
	TimestampTz since;			/* of the first one */
} Pile;

/* --- statements ------------------------------------------------------------------ */

static Datum
form_keys(const VdbChange *changes, int count)
{
	Datum	   *keys = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		keys[i] = CStringGetTextDatum(changes[i].key);
	return PointerGetDatum(construct_array(keys, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Values of the content's type as an array of the embedding's. */
static Datum
form_embeddings(const VdbPipelineTypes *types, const VdbChange *changes, int count)
{
	Datum	   *values = palloc(count * sizeof(Datum));
	Oid			function = InvalidOid;
	int16		length;
	bool		by_value;
	char		align;

	if (types->content_type != types->embedding_type)
	{
		CoercionPathType path = find_coercion_pathway(types->embedding_type, types->content_type,
													  COERCION_ASSIGNMENT, &function);

		if (path != COERCION_PATH_FUNC && path != COERCION_PATH_RELABELTYPE)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("%s cannot be stored as %s", format_type_be(types->content_type),
							format_type_be(types->embedding_type))));
	}
	for (int i = 0; i < count; i++)
	{
		values[i] = PointerGetDatum(changes[i].value);
		if (OidIsValid(function))
			values[i] = OidFunctionCall3(function, values[i], Int32GetDatum(-1), BoolGetDatum(false));
	}
	get_typlenbyvalalign(types->embedding_type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(values, count, types->embedding_type, length, by_value, align));
}

/* Columns that are written beside the embedding, where the target has them. */
static void
append_columns(StringInfo sql, const VdbPipelineTypes *types, const char *version, const char *embedded)
{
	if (types->has_model_version)
		appendStringInfoString(sql, version);
	if (types->has_embedded_at)
		appendStringInfoString(sql, embedded);
}

/* Writes key and value, two expressions over what FROM gives, to the target; $1 is the model's version. */
static char *
form_upsert(const VdbWatch *watch, const char *from, const char *key, const char *value)
{
	const VdbPipeline *pipeline = watch->pipeline;
	const VdbPipelineTypes *types = watch->types;
	const char *target_key = quote_identifier(pipeline->target_key);
	const char *embedding = quote_identifier(pipeline->embedding);
	StringInfoData sql;

	initStringInfo(&sql);
	if (types->same_table)
	{
		appendStringInfo(&sql, "UPDATE %s AS t SET %s = u.v", types->target, embedding);
		append_columns(&sql, types, ", model_version = $1", ", embedded_at = pg_catalog.now()");
		appendStringInfo(&sql, " FROM (SELECT %s AS k, %s AS v %s) AS u WHERE t.%s %s u.k",
						 key, value, from, target_key, types->target_key_equals);
		return sql.data;
	}
	appendStringInfo(&sql, "INSERT INTO %s AS t (%s, %s", types->target, target_key, embedding);
	append_columns(&sql, types, ", model_version", ", embedded_at");
	appendStringInfo(&sql, ") SELECT %s, %s", key, value);
	append_columns(&sql, types, ", $1", ", pg_catalog.now()");
	appendStringInfo(&sql, " %s ON CONFLICT (%s) DO UPDATE SET %s = EXCLUDED.%s", from, target_key, embedding, embedding);
	append_columns(&sql, types, ", model_version = EXCLUDED.model_version",
				   ", embedded_at = EXCLUDED.embedded_at");
	return sql.data;
}

static Datum
form_version(const VdbPipeline *pipeline, char *null)
{
	*null = pipeline->model_version == NULL ? 'n' : ' ';
	return pipeline->model_version == NULL ? (Datum) 0 : CStringGetTextDatum(pipeline->model_version);
}

static void
put_values(const VdbWatch *watch, const VdbChange *changes, int count)
{
	const VdbPipelineTypes *types = watch->types;
	char	   *sql = form_upsert(watch, "FROM unnest($2, $3) AS p(k, v)",
								  psprintf("p.k::%s", types->target_key_type), "p.v");
	Oid			argument_types[] = {TEXTOID, TEXTARRAYOID, get_array_type(types->embedding_type)};
	Datum		values[3];
	char		nulls[] = "   ";

	values[0] = form_version(watch->pipeline, &nulls[0]);
	values[1] = form_keys(changes, count);
	values[2] = form_embeddings(types, changes, count);
	vdb_ingest_count(watch->pipeline->id, VDB_INGEST_EMBEDDED,
					 vdb_ingest_run(sql, 3, argument_types, values, nulls));
}

/* Copies rows of which the log did not have all, as they are now. */
static void
look_at_rows(const VdbWatch *watch, const VdbChange *changes, int count)
{
	const VdbPipelineTypes *types = watch->types;
	const char *key = quote_identifier(watch->pipeline->key);
	const char *content = quote_identifier(watch->pipeline->content);
	char	   *from = psprintf("FROM %s AS s WHERE s.%s %s ANY ($2::%s[]) AND s.%s IS NOT NULL",
								types->source, key, types->key_equals, types->key_type, content);
	char	   *sql = form_upsert(watch, from, psprintf("s.%s", key), psprintf("s.%s", content));
	Oid			argument_types[] = {TEXTOID, TEXTARRAYOID};
	Datum		values[2];
	char		nulls[] = "  ";

	values[0] = form_version(watch->pipeline, &nulls[0]);
	values[1] = form_keys(changes, count);
	vdb_ingest_count(watch->pipeline->id, VDB_INGEST_EMBEDDED,
					 vdb_ingest_run(sql, 2, argument_types, values, nulls));
}

/* Rows that are gone, or have no content any more. */
static void
delete_rows(const VdbWatch *watch, const VdbChange *changes, int count)
{
	const VdbPipelineTypes *types = watch->types;
	const char *key = quote_identifier(watch->pipeline->target_key);
	const char *embedding = quote_identifier(watch->pipeline->embedding);
	Oid			argument_types[] = {TEXTARRAYOID};
	Datum		values[1];
	char	   *sql;

	values[0] = form_keys(changes, count);
	if (types->same_table)
		sql = psprintf("UPDATE %s AS t SET %s = NULL WHERE t.%s %s ANY ($1::%s[]) AND t.%s IS NOT NULL",
					   types->target, embedding, key, types->target_key_equals, types->target_key_type, embedding);
	else
		sql = psprintf("DELETE FROM %s AS t WHERE t.%s %s ANY ($1::%s[])",
					   types->target, key, types->target_key_equals, types->target_key_type);
	vdb_ingest_count(watch->pipeline->id, VDB_INGEST_DELETED, vdb_ingest_run(sql, 1, argument_types, values, NULL));
}

/* --- what may fail ------------------------------------------------------------------ */

/* Something that is done with some of a pipeline's changes, as its owner. */
typedef void (*Deed) (const VdbWatch *watch, const VdbChange *changes, int count);

typedef struct DeedState
{
	Deed		deed;
	const VdbWatch *watch;
	const VdbChange *changes;
	int			count;
} DeedState;

/*
 * A watch whose names are those of its tables until the end of the transaction: others may have got them since they were
 * looked up.  Values that were decoded are still of the type that the content had then.
 */
static VdbWatch
lock_tables(const VdbWatch *watch, LOCKMODE source, LOCKMODE target)
{
	VdbWatch	locked = *watch;

	locked.types = vdb_ingest_resolve_locked(watch->pipeline, source, target);
	locked.types->content_type = watch->types->content_type;
	return locked;
}

static void
do_deed(void *arg)
{
	const DeedState *state = arg;
	VdbWatch	locked = lock_tables(state->watch, state->deed == look_at_rows ? AccessShareLock : NoLock, RowExclusiveLock);
	VdbIdentity before;

	vdb_ingest_become_owner(locked.pipeline, &before);
	state->deed(&locked, state->changes, state->count);
	vdb_ingest_come_back(&before);
}

/*
 * An attempt at what users may have written a part of, as triggers and policies.  All others wait meanwhile, so it has the
 * time that a call has.
 */
static ErrorData *
attempt_in_time(const VdbPipeline *pipeline, void (*step) (void *arg), void *arg)
{
	ErrorData  *error;

	enable_timeout_after(STATEMENT_TIMEOUT, pipeline->timeout);
	error = vdb_ingest_attempt(step, arg);
	disable_timeout(STATEMENT_TIMEOUT, false);

	/* it may have ended when its time did */
	QueryCancelPending = false;
	return error;
}

/* Is it neither a row's fault nor the definition's? */
static bool
is_passing(const ErrorData *error)
{
	VdbBlame	blame = vdb_ingest_blame(error->sqlerrcode);

	return blame == VDB_BLAME_AWAY || blame == VDB_BLAME_LIMIT;
}

/* Nothing more is done for a pipeline until somebody has put it right. */
static void
stop(VdbWatch *watch, const char *reason)
{
	watch->active = false;
	vdb_ingest_set_state(watch->pipeline->id, VDB_STATE_ERROR, reason);
}

/* A row that is given up, and why. */
typedef struct Burial
{
	const VdbWatch *watch;
	const VdbChange *change;
	const ErrorData *error;
} Burial;

static void
do_bury(void *arg)
{
	const Burial *burial = arg;
	const VdbWatch *watch = burial->watch;
	const VdbChange *change = burial->change;
	const ErrorData *error = burial->error;
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[4];

	values[0] = Int32GetDatum(watch->pipeline->id);
	values[1] = CStringGetTextDatum(change->key);
	values[2] = CStringGetTextDatum(error->message);
	values[3] = TimestampTzGetDatum(change->at);
	vdb_ingest_run("INSERT INTO vdb.ingest_dead (pipeline, key, error, attempts, changed_at) VALUES ($1, $2, $3, 1, $4) "
		"ON CONFLICT (pipeline, key) DO UPDATE SET error = EXCLUDED.error, changed_at = EXCLUDED.changed_at, died_at = EXCLUDED.died_at",
		4, types, values, NULL);
	vdb_ingest_count(watch->pipeline->id, VDB_INGEST_FAILED, 1);
	vdb_ingest_count(watch->pipeline->id, VDB_INGEST_DEAD, 1);
}

/* A row is given up; if not even that can be written, as of a key that no index can hold, its pipeline is. */
static void
bury(VdbWatch *watch, const VdbChange *change, const ErrorData *error)
{
	Burial		burial = {.watch = watch, .change = change, .error = error};

	if (vdb_ingest_attempt(do_bury, &burial) != NULL)
		stop(watch, error->message);
}

/* What becomes of these rows, or of all if "changes" is NULL, is known anew. */
static void
do_forget_dead(void *arg)
{
	const DeedState *state = arg;
	Oid			types[] = {INT4OID, TEXTARRAYOID};
	Datum		values[2] = {Int32GetDatum(state->watch->pipeline->id)};

	if (state->changes == NULL)
	{
		vdb_ingest_run("DELETE FROM vdb.ingest_dead WHERE pipeline = $1", 1, types, values, NULL);
		return;
	}
	values[1] = form_keys(state->changes, state->count);
	vdb_ingest_run("DELETE FROM vdb.ingest_dead WHERE pipeline = $1 AND key = ANY ($2)", 2, types, values, NULL);
}

/* What cannot be done now is done when all of the source is gone through, later. */
static void
put_off(VdbWatch *watch, const ErrorData *error)
{
	watch->active = false;
	vdb_ingest_set_overflow(watch->pipeline->id, error->message, PUT_OFF_SECONDS);
	ereport(LOG,
			(errmsg("pipeline \"%s\" is put off: %s", watch->pipeline->name, error->message)));
}

/* What went wrong of a pipeline as a whole passes, or is to be put right. */
static void
set_aside(VdbWatch *watch, const ErrorData *error)
{
	if (is_passing(error))
		put_off(watch, error);
	else
		stop(watch, error->message);
}

static void
forget_dead(VdbWatch *watch, const VdbChange *changes, int count)
{
	DeedState	state = {.watch = watch, .changes = changes, .count = count};
	ErrorData  *error = vdb_ingest_attempt(do_forget_dead, &state);

	if (error != NULL)
		set_aside(watch, error);
}

/* Returns why the last one was given up of those that were, or NULL. */
static const ErrorData *
try_in_halves(VdbWatch *watch, Deed deed, const VdbChange *changes, int count)
{
	DeedState	state = {.deed = deed, .watch = watch, .changes = changes, .count = count};
	ErrorData  *error;
	const ErrorData *first;
	const ErrorData *second;

	if (count == 0 || !watch->active)
		return NULL;
	CHECK_FOR_INTERRUPTS();
	error = attempt_in_time(watch->pipeline, do_deed, &state);
	if (error == NULL)
		return NULL;
	if (vdb_ingest_blame(error->sqlerrcode) != VDB_BLAME_ROWS)
	{
		set_aside(watch, error);
		return NULL;
	}
	if (count == 1)
	{
		bury(watch, changes, error);
		return error;
	}
	first = try_in_halves(watch, deed, changes, count / 2);
	second = try_in_halves(watch, deed, changes + count / 2, count - count / 2);
	return second != NULL ? second : first;
}

/* The pipeline's row is written once, not for each row that is given up: thousands may be. */
static void
do_in_halves(VdbWatch *watch, Deed deed, const VdbChange *changes, int count)
{
	const ErrorData *error = try_in_halves(watch, deed, changes, count);

	if (error != NULL)
		vdb_ingest_note_error(watch->pipeline, error->message, true);
}

/* --- piles ------------------------------------------------------------------------- */

static int
compare_changes(const void *a, const void *b)
{
	const VdbChange *left = a;
	const VdbChange *right = b;
	int			result = strcmp(left->key, right->key);

	if (result != 0)
		return result;
	return left->pipeline - right->pipeline;
}

/* Leaves the last change of each key, in the order of keys. */
static int
take_last(VdbChange *changes, int count)
{
	int			left = 0;

	/* all are of one pipeline, so there is room for their order */
	for (int i = 0; i < count; i++)
		changes[i].pipeline = i;
	qsort(changes, count, sizeof(VdbChange), compare_changes);
	for (int i = 0; i < count; i++)
	{
		if (left > 0 && strcmp(changes[left - 1].key, changes[i].key) == 0)
			changes[left - 1] = changes[i];
		else
			changes[left++] = changes[i];
	}
	return left;
}

static void
enqueue(const VdbWatch *watch, const VdbChange *changes, int count, XLogRecPtr lsn, TimestampTz since, bool backfill)
{
	char	  **keys = palloc(count * sizeof(char *));

	for (int i = 0; i < count; i++)
		keys[i] = changes[i].key;
	(void) vdb_ingest_enqueue(watch->pipeline->id, keys, count, lsn, since, backfill);
}

static void
do_enqueue(void *arg)
{
	const Pile *pile = arg;

	enqueue(pile->watch, pile->changes, pile->count, pile->lsn, pile->since, false);
}

/* Who finishes entries may hold them for as long as the target is in the way. */
static void
enqueue_pile(Pile *pile, bool *embed)
{
	ErrorData  *error = vdb_ingest_attempt(do_enqueue, pile);

	if (error != NULL)
		set_aside(pile->watch, error);
	pile->watch->enqueued = true;
	*embed = *embed || pile->watch->pipeline->mode == VDB_MODE_FUNCTION;
}

/* Those of one kind first, of which the array is made anew. */
static int
part_changes(VdbChange *changes, int count, bool (*is_first) (const VdbChange *change))
{
	VdbChange  *others = palloc(count * sizeof(VdbChange));
	int			first = 0;
	int			left = 0;

	for (int i = 0; i < count; i++)
	{
		if (is_first(&changes[i]))
			changes[first++] = changes[i];
		else
			others[left++] = changes[i];
	}
	memcpy(changes + first, others, left * sizeof(VdbChange));
	return first;
}

static bool
has_value(const VdbChange *change)
{
	return change->kind == VDB_CHANGE_PUT && change->value != NULL;
}

static bool
is_look(const VdbChange *change)
{
	return change->kind == VDB_CHANGE_LOOK;
}

static void
copy_pile(Pile *pile)
{
	VdbWatch   *watch = pile->watch;
	int			put = part_changes(pile->changes, pile->count, has_value);
	int			look = part_changes(pile->changes + put, pile->count - put, is_look);
	TimestampTz now;

	forget_dead(watch, pile->changes, pile->count);

	/* first, since a key may be equal to another one whose text it is not: 1.0 that became 1.00 */
	do_in_halves(watch, delete_rows, pile->changes + put + look, pile->count - put - look);
	do_in_halves(watch, put_values, pile->changes, put);
	do_in_halves(watch, look_at_rows, pile->changes + put, look);
	if (!watch->active)
		return;
	now = GetCurrentTimestamp();
	for (int i = 0; i < put + look; i++)
		vdb_ingest_count_freshness(watch->pipeline->id, pile->changes[i].at, now);
}

static void
flush_pile(Pile *pile, bool *embed)
{
	MemoryContext old = MemoryContextSwitchTo(pile->memory);

	if (pile->count > 0 && pile->watch->active)
	{
		pile->count = take_last(pile->changes, pile->count);
		if (pile->watch->pipeline->mode == VDB_MODE_COPY)
			copy_pile(pile);
		else
			enqueue_pile(pile, embed);
	}
	vdb_ingest_count(pile->watch->pipeline->id, VDB_INGEST_CAPTURED, pile->captured);
	MemoryContextSwitchTo(old);
	MemoryContextReset(pile->memory);
	pile->changes = NULL;
	pile->count = 0;
	pile->bytes = 0;
	pile->captured = 0;
}

static void
pile_up(Pile *pile, const VdbChange *change, bool *embed)
{
	MemoryContext old = MemoryContextSwitchTo(pile->memory);
	VdbChange  *kept;

	if (pile->changes == NULL)
	{
		pile->changes = palloc(PILE_CHANGES * sizeof(VdbChange));
		pile->since = change->at;
	}
	kept = &pile->changes[pile->count++];
	*kept = *change;
	kept->key = pstrdup(change->key);
	pile->bytes += strlen(change->key);
	if (change->value != NULL)
	{
		Size		size = VARSIZE_ANY(change->value);

		kept->value = memcpy(palloc(size), change->value, size);
		pile->bytes += size;
	}
	pile->lsn = Max(pile->lsn, change->lsn);
	pile->since = Min(pile->since, change->at);
	MemoryContextSwitchTo(old);
	if (pile->count == PILE_CHANGES || pile->bytes >= PILE_BYTES)
		flush_pile(pile, embed);
}

/*
 * All rows are gone: entries that are worked on have to be looked at again, and the target to be gone
 * through.  If the source is, the target will be after that anyway.
 */
static void
do_note_truncated(void *arg)
{
	const Pile *pile = arg;
	const VdbPipeline *pipeline = pile->watch->pipeline;
	Oid			types[] = {INT4OID, LSNOID};
	Datum		values[] = {Int32GetDatum(pipeline->id), LSNGetDatum(pile->lsn)};

	/* in the order of keys, as everybody locks them */
	vdb_ingest_run("UPDATE vdb.ingest_queue q SET lsn = $2 FROM (SELECT key FROM vdb.ingest_queue "
				   "WHERE pipeline = $1 AND lsn < $2 ORDER BY key FOR UPDATE) k WHERE q.pipeline = $1 AND q.key = k.key",
				   2, types, values, NULL);
	if (pile->watch->types->same_table)
		return;

	/* somebody may have asked for all of the source since the pipeline was read */
	vdb_ingest_run("UPDATE vdb.pipeline SET load = 'orphans', load_after = NULL WHERE id = $1 AND load IS DISTINCT FROM 'source'",
				   1, types, values, NULL);
	vdb_ingest_tell();
}

static void
note_truncated(Pile *pile)
{
	ErrorData  *error = vdb_ingest_attempt(do_note_truncated, pile);

	if (error != NULL)
		set_aside(pile->watch, error);
}

static Pile *
find_pile(List **piles, int pipeline, List *watches)
{
	ListCell   *cell;
	Pile	   *pile;

	foreach(cell, *piles)
	{
		pile = lfirst(cell);
		if (pile->watch->pipeline->id == pipeline)
			return pile;
	}
	foreach(cell, watches)
	{
		VdbWatch   *watch = lfirst(cell);

		if (watch->pipeline->id != pipeline)
			continue;
		pile = palloc0(sizeof(Pile));
		pile->watch = watch;
		pile->memory = AllocSetContextCreate(CurrentMemoryContext, "vdb ingest pile", ALLOCSET_DEFAULT_SIZES);
		*piles = lappend(*piles, pile);
		return pile;
	}
	return NULL;
}

void
vdb_ingest_apply(VdbBatch *batch, List *watches, bool *embed)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "vdb ingest row", ALLOCSET_DEFAULT_SIZES);
	List	   *piles = NIL;
	ListCell   *cell;
	VdbChange	change;

	*embed = false;
	SPI_connect();
	vdb_batch_rewind(batch);
	for (;;)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		bool		more = vdb_batch_next(batch, &change);
		Pile	   *pile;

		MemoryContextSwitchTo(old);
		if (!more)
			break;
		CHECK_FOR_INTERRUPTS();
		pile = find_pile(&piles, change.pipeline, watches);
		if (pile == NULL || !pile->watch->active)
			continue;
		pile->captured++;
		if (change.kind == VDB_CHANGE_BROKEN)
			stop(pile->watch, change.key);
		else if (change.kind == VDB_CHANGE_TRUNCATE)
		{
			/* what was given up is gone, what comes after it is not */
			flush_pile(pile, embed);
			forget_dead(pile->watch, NULL, 0);
			pile->truncated = true;
			pile->lsn = Max(pile->lsn, change.lsn);
		}
		else
			pile_up(pile, &change, embed);
		MemoryContextReset(scratch);
	}
	foreach(cell, piles)
	{
		Pile	   *pile = lfirst(cell);

		flush_pile(pile, embed);
		if (pile->truncated && pile->watch->active)
			note_truncated(pile);
	}
	SPI_finish();
	MemoryContextDelete(scratch);
}

/* --- loads -------------------------------------------------------------------------- */

int64
vdb_ingest_depth(int pipeline, bool backfill, int64 most)
{
	Oid			types[] = {INT4OID, INT8OID};
	Datum		values[] = {Int32GetDatum(pipeline), Int64GetDatum(most + 1)};
	bool		isnull;
	int64		depth;

	SPI_connect();
	vdb_ingest_run(backfill ?
				   "SELECT count(*) FROM (SELECT FROM vdb.ingest_queue WHERE pipeline = $1 AND backfill LIMIT $2) q" :
				   "SELECT count(*) FROM (SELECT FROM vdb.ingest_queue WHERE pipeline = $1 AND NOT backfill LIMIT $2) q",
				   2, types, values, NULL);
	depth = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return depth;
}

/* Keys of a page, in their order, and which of them are of interest. */
typedef struct LoadPage
{
	VdbChange  *changes;
	int			count;
	int			read;			/* keys in all */
	char	   *last;
} LoadPage;

/*
 * The query gets the last key, or NULL, and the number of rows; and gives keys and whether they count.  Keys become
 * texts as in what is decoded, by their type's output: a cast to text would not have a character(n)'s blanks.
 */
static void
read_page(const VdbWatch *watch, const char *sql, int rows, LoadPage *page)
{
	const VdbPipeline *pipeline = watch->pipeline;
	Oid			types[] = {TEXTOID, INT4OID};
	Datum		values[] = {(Datum) 0, Int32GetDatum(rows)};
	char		nulls[] = "  ";
	VdbIdentity before;

	if (pipeline->load_after == NULL)
		nulls[0] = 'n';
	else
		values[0] = CStringGetTextDatum(pipeline->load_after);
	vdb_ingest_become_owner(pipeline, &before);
	page->read = (int) vdb_ingest_run(sql, 2, types, values, nulls);
	vdb_ingest_come_back(&before);
	page->count = 0;
	page->changes = palloc0(Max(page->read, 1) * sizeof(VdbChange));
	for (int i = 0; i < page->read; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		char	   *key = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull)))
			page->changes[page->count++] = (VdbChange) {.kind = VDB_CHANGE_LOOK, .key = key, .at = GetCurrentTimestamp()};
		page->last = key;
	}
}

/* "key > the last one", with all that belongs to it, of a table's alias.  What is null is no key, and would come last. */
static char *
form_after(const VdbWatch *watch, const char *alias, const char *key, const char *after, const char *type)
{
	if (watch->pipeline->load_after == NULL)
		return psprintf("%s.%s IS NOT NULL", alias, quote_identifier(key));
	return psprintf("%s.%s %s $1::%s", alias, quote_identifier(key), after, type);
}

static void
read_source_page(const VdbWatch *watch, LoadPage *page)
{
	const VdbPipeline *pipeline = watch->pipeline;
	const char *key = quote_identifier(pipeline->key);

	read_page(watch,
			  psprintf("SELECT s.%s, true FROM %s AS s WHERE %s ORDER BY s.%s LIMIT $2", key, watch->types->source,
					   form_after(watch, "s", pipeline->key, watch->types->key_after, watch->types->key_type), key),
			  PAGE_ROWS, page);
}

static void
read_target_page(const VdbWatch *watch, LoadPage *page)
{
	const VdbPipeline *pipeline = watch->pipeline;
	const char *key = quote_identifier(pipeline->key);
	const char *target_key = quote_identifier(pipeline->target_key);

	read_page(watch,
			  psprintf("SELECT p.k, NOT EXISTS (SELECT FROM %s AS s WHERE s.%s %s p.k AND s.%s IS NOT NULL) "
					   "FROM (SELECT t.%s AS k FROM %s AS t WHERE %s ORDER BY t.%s LIMIT $2) AS p ORDER BY p.k",
					   watch->types->source, key, watch->types->keys_equal, quote_identifier(pipeline->content),
					   target_key, watch->types->target,
					   form_after(watch, "t", pipeline->target_key, watch->types->target_key_after,
								  watch->types->target_key_type), target_key),
			  PAGE_ROWS, page);
}

static void
note_page(const VdbWatch *watch, const LoadPage *page)
{
	VdbLoad		load = watch->pipeline->load;
	const char *after = page->last;

	if (page->read < PAGE_ROWS)
	{
		/* that was the last one */
		load = load == VDB_LOAD_SOURCE && !watch->types->same_table ? VDB_LOAD_ORPHANS : VDB_LOAD_NONE;
		after = NULL;
	}
	vdb_ingest_set_load(watch->pipeline->id, load, after);
	watch->pipeline->load = load;
	watch->pipeline->load_after = after == NULL ? NULL : MemoryContextStrdup(GetMemoryChunkContext(watch->pipeline), after);
}

/*
 * Rows of which something was missed may have been read before, by somebody who works on them, and finds at the end that
 * they have changed.  The LSN is later than that of all that was decoded, and earlier than that of all that comes.
 */
static void
move_leased(const VdbPipeline *pipeline)
{
	Oid			types[] = {INT4OID, LSNOID};
	Datum		values[] = {Int32GetDatum(pipeline->id), LSNGetDatum(vdb_decode_position() - 1)};

	/* in the order of keys, as everybody locks them */
	vdb_ingest_run("UPDATE vdb.ingest_queue q SET lsn = $2 FROM (SELECT key FROM vdb.ingest_queue "
				   "WHERE pipeline = $1 AND lsn < $2 AND lease IS NOT NULL ORDER BY key FOR UPDATE) k "
				   "WHERE q.pipeline = $1 AND q.key = k.key", 2, types, values, NULL);
}

/* Does a page's pipeline have to have no claims that are open, and its leases be moved, first? */
static bool
is_first_of_queue(const VdbPipeline *pipeline)
{
	return pipeline->load == VDB_LOAD_SOURCE && pipeline->load_after == NULL && pipeline->mode != VDB_MODE_COPY;
}

typedef struct LoadState
{
	VdbWatch   *watch;
	bool		embed;
} LoadState;

static void
do_load_page(void *arg)
{
	LoadState  *state = arg;
	VdbWatch   *watch = state->watch;
	const VdbPipeline *pipeline = watch->pipeline;
	bool		source = pipeline->load == VDB_LOAD_SOURCE;
	VdbWatch	locked = lock_tables(watch, AccessShareLock,
									 pipeline->mode == VDB_MODE_COPY ? RowExclusiveLock : source ? NoLock : AccessShareLock);
	LoadPage	page = {0};

	if (is_first_of_queue(pipeline))
		move_leased(pipeline);
	if (source)
		read_source_page(&locked, &page);
	else
		read_target_page(&locked, &page);
	VDB_TESTPOINT("ingest-load-page");
	if (pipeline->mode == VDB_MODE_COPY)
	{
		forget_dead(watch, page.changes, page.count);
		do_in_halves(watch, source ? look_at_rows : delete_rows, page.changes, page.count);
	}
	else if (page.count > 0)
	{
		enqueue(watch, page.changes, page.count, InvalidXLogRecPtr, GetCurrentTimestamp(), source);
		state->embed = pipeline->mode == VDB_MODE_FUNCTION;
	}
	if (watch->active)
		note_page(watch, &page);
}

bool
vdb_ingest_load_page(VdbWatch *watch, bool *embed)
{
	const VdbPipeline *pipeline = watch->pipeline;
	LoadState	state = {.watch = watch};
	ErrorData  *error;

	*embed = false;
	if (pipeline->mode != VDB_MODE_COPY &&
		vdb_ingest_depth(pipeline->id, true, BACKFILL_ENOUGH) >= BACKFILL_ENOUGH)
		return false;

	/* who alters it, or has all gone through again, must not find that undone by the note of how far this page went */
	if (!vdb_ingest_lock_as_read(pipeline, is_first_of_queue(pipeline) ? VDB_LOCK_DEFINITION : VDB_LOCK_STATE))
		return false;
	SPI_connect();
	error = attempt_in_time(pipeline, do_load_page, &state);
	if (error != NULL)
		set_aside(watch, error);
	SPI_finish();
	*embed = state.embed;
	return true;
}
