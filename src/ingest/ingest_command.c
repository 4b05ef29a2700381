/*
 * ingest_command.c
 *	  vdb.create_pipeline() and what else is done with one.
 *
 * Commands write rows, and tell the processes that they have; these do what is to be done, make the slot, go
 * through the source.  So a command can be rolled back like any other.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest/ingest_private.h"

#define MOST_ROWS 10000
#define LONGEST_TIMEOUT_MS (24 * 3600 * 1000)

/* --- arguments ------------------------------------------------------------------ */

static char *
get_name(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(argument)));
}

static char *
get_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* A function as vdb.pipeline has it; NULL: none was given */
static char *
get_function(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : format_procedure_qualified(PG_GETARG_OID(argument));
}

void
vdb_ingest_check_given(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

double
vdb_ingest_interval_ms(const Interval *interval)
{
	return interval->time / 1000.0 +
		((double) interval->month * DAYS_PER_MONTH + interval->day) * (SECS_PER_DAY * 1000.0);
}

/* Puts numbers that were given, from this argument on, in the place of others. */
static void
get_limits(FunctionCallInfo fcinfo, int argument, VdbPipeline *pipeline)
{
	if (!PG_ARGISNULL(argument))
		pipeline->batch_size = PG_GETARG_INT32(argument);
	if (!PG_ARGISNULL(argument + 1))
	{
		const Interval *interval = PG_GETARG_INTERVAL_P(argument + 1);
		double		ms = vdb_ingest_interval_ms(interval);

		/* what is out of range is found below */
		pipeline->timeout = ms >= 1 && ms <= LONGEST_TIMEOUT_MS ? (int) ms : 0;
	}
	if (!PG_ARGISNULL(argument + 2))
		pipeline->max_attempts = PG_GETARG_INT32(argument + 2);
	if (!PG_ARGISNULL(argument + 3))
		pipeline->queue_limit = PG_GETARG_INT64(argument + 3);
}

static void
check_limits(const VdbPipeline *pipeline)
{
	const char *wrong = NULL;

	if (pipeline->batch_size < 1 || pipeline->batch_size > MOST_ROWS)
		wrong = psprintf("batch_size must be between 1 and %d", MOST_ROWS);
	else if (pipeline->timeout < 1)
		wrong = "timeout must be between 1 ms and one day";
	else if (pipeline->max_attempts < 1)
		wrong = "max_attempts must be positive";
	else if (pipeline->queue_limit < 1)
		wrong = "queue_limit must be positive";
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s", wrong)));
}

/* --- rows ----------------------------------------------------------------------- */

#define WRITTEN \
	"name, owner, source, key, content, target, target_key, embedding, mode, embed, model_version, " \
	"version_of, batch_size, timeout, max_attempts, queue_limit"

/* The values of these columns are parameters, in their order. */
#define VALUES \
	"$1::name, $2, $3, $4::name, $5::name, $6, $7::name, $8::name, $9, $10, $11, nullif($12, 0), $13, " \
	"$14 * '1 ms'::interval, $15, $16"

/* Runs a statement with the values of such a row as parameters. */
static void
write_row(const char *sql, const VdbPipeline *pipeline)
{
	static const Oid types[] = {
		TEXTOID, OIDOID, OIDOID, TEXTOID, TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		INT4OID, INT4OID, INT4OID, INT4OID, INT8OID
	};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types)];
	const char *texts[lengthof(types)] = {
		pipeline->name, NULL, NULL, pipeline->key, pipeline->content, NULL, pipeline->target_key,
		pipeline->embedding, vdb_ingest_mode_name(pipeline->mode), pipeline->embed, pipeline->model_version
	};

	for (int i = 0; i < lengthof(types); i++)
	{
		bool		missing = types[i] == TEXTOID && texts[i] == NULL;

		nulls[i] = missing ? 'n' : ' ';
		values[i] = types[i] == TEXTOID && !missing ? CStringGetTextDatum(texts[i]) : (Datum) 0;
	}
	values[1] = ObjectIdGetDatum(pipeline->owner);
	values[2] = ObjectIdGetDatum(pipeline->source);
	values[5] = ObjectIdGetDatum(pipeline->target);
	values[11] = Int32GetDatum(pipeline->version_of);
	values[12] = Int32GetDatum(pipeline->batch_size);
	values[13] = Int32GetDatum(pipeline->timeout);
	values[14] = Int32GetDatum(pipeline->max_attempts);
	values[15] = Int64GetDatum(pipeline->queue_limit);
	(void) vdb_ingest_run(sql, lengthof(types), types, values, nulls);
}

int
vdb_ingest_insert_pipeline(const VdbPipeline *pipeline)
{
	VdbIdentity before;
	bool		isnull;
	int			id;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	write_row("INSERT INTO vdb.pipeline (" WRITTEN ") VALUES (" VALUES ") RETURNING id", pipeline);
	vdb_ingest_come_back(&before);
	id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	vdb_ingest_tell();
	return id;
}

/* Runs a statement with the pipeline's number; returns how many rows it changed. */
static uint64
run_for(const char *sql, const VdbPipeline *pipeline)
{
	static const Oid types[] = {INT4OID};
	Datum		value = Int32GetDatum(pipeline->id);

	return vdb_ingest_run_as_keeper(sql, lengthof(types), types, &value, NULL);
}

void
vdb_ingest_lock_definitions(void)
{
	/* against itself alone */
	LockRelationOid(get_relname_relid("pipeline", get_namespace_oid("vdb", false)), ShareUpdateExclusiveLock);
}

/* The pipeline that the first argument names, locked, which the caller may change. */
static VdbPipeline *
get_own_pipeline(FunctionCallInfo fcinfo, VdbPipelineLock lock)
{
	VdbPipeline *pipeline;

	vdb_ingest_check_given(fcinfo, 0, "pipeline");
	pipeline = vdb_ingest_find_pipeline(NameStr(*PG_GETARG_NAME(0)), lock);
	vdb_ingest_require_owner(pipeline);
	return pipeline;
}

/* --- creating ------------------------------------------------------------------- */

static void
check_name(const char *name)
{
	List	   *others = vdb_ingest_list_pipelines();
	ListCell   *cell;

	if (name[0] == '\0' || strchr(name, '@') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" cannot be the name of a pipeline", name),
				 errdetail("It has a character, and no @, which parts it from the version of a model.")));
	foreach(cell, others)
	{
		if (strcmp(((VdbPipeline *) lfirst(cell))->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("pipeline \"%s\" already exists", name)));
	}
}

/* Who embeds, as far as the columns tell. */
static VdbPipelineMode
derive_mode(const VdbPipeline *pipeline)
{
	Oid			type = get_atttype(pipeline->source, get_attnum(pipeline->source, pipeline->content));

	if (pipeline->embed != NULL)
		return VDB_MODE_FUNCTION;

	/* where there is no such column, that is said later */
	return OidIsValid(type) && vdb_ingest_is_text_type(type) ? VDB_MODE_CLAIM : VDB_MODE_COPY;
}

void
vdb_ingest_advise(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	StringInfoData missing;

	if (pipeline->mode == VDB_MODE_COPY)
		return;
	initStringInfo(&missing);
	if (!types->has_source_hash)
		appendStringInfoString(&missing, ", source_hash text");
	if (!types->has_model_version)
		appendStringInfoString(&missing, ", model_version text");
	if (!types->has_embedded_at)
		appendStringInfoString(&missing, ", embedded_at timestamptz");
	if (missing.len == 0)
		return;
	ereport(NOTICE,
			(errmsg("table %s does not have all columns that say where an embedding comes from", types->target_name),
			 errdetail("Missing: %s.", missing.data + 2),
			 types->has_source_hash ? 0 :
			 errhint("With source_hash, a text that has not changed is not embedded again.")));
}

/*
 * vdb.create_pipeline(name name, source regclass, key name, content name, target regclass,
 * embed regprocedure, target_key name, embedding name, model_version text, batch_size integer,
 * timeout interval, max_attempts integer, queue_limit bigint): its number
 */
PG_FUNCTION_INFO_V1(vdb_ingest_create_pipeline);
Datum
vdb_ingest_create_pipeline(PG_FUNCTION_ARGS)
{
	static const char *const needed[] = {"name", "source", "key", "content", "target"};
	VdbPipeline *pipeline = palloc0(sizeof(VdbPipeline));

	for (int i = 0; i < lengthof(needed); i++)
		vdb_ingest_check_given(fcinfo, i, needed[i]);
	vdb_ingest_check_given(fcinfo, 7, "embedding");
	pipeline->name = get_name(fcinfo, 0);
	pipeline->owner = GetUserId();
	pipeline->source = PG_GETARG_OID(1);
	pipeline->key = get_name(fcinfo, 2);
	pipeline->content = get_name(fcinfo, 3);
	pipeline->target = PG_GETARG_OID(4);
	pipeline->embed = get_function(fcinfo, 5);
	pipeline->target_key = PG_ARGISNULL(6) ? pipeline->key : get_name(fcinfo, 6);
	pipeline->embedding = get_name(fcinfo, 7);
	pipeline->model_version = get_text(fcinfo, 8);
	get_limits(fcinfo, 9, pipeline);
	check_limits(pipeline);
	pipeline->mode = derive_mode(pipeline);
	vdb_ingest_lock_definitions();
	check_name(pipeline->name);
	vdb_ingest_advise(pipeline, vdb_ingest_check_pipeline(pipeline));
	vdb_ingest_check_server();
	PG_RETURN_INT32(vdb_ingest_insert_pipeline(pipeline));
}

/* --- altering ------------------------------------------------------------------- */

static bool
differs(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

/* Who gives a pipeline to somebody must be able to act for them. */
static Oid
get_new_owner(FunctionCallInfo fcinfo, int argument, Oid owner)
{
	if (PG_ARGISNULL(argument))
		return owner;
	vdb_check_may_become(GetUserId(), PG_GETARG_OID(argument));
	return PG_GETARG_OID(argument);
}

/*
 * Has a pipeline begin anew: what somebody works on by the old definition is not stored as if
 * it were of the new one.
 */
static void
begin_anew(const VdbPipeline *pipeline)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change what pipeline \"%s\" embeds in a transaction that sees one snapshot throughout",
						pipeline->name),
				 errdetail("What others have claimed since would be stored as if it were of the new definition."),
				 errhint("Use the isolation level READ COMMITTED.")));

	/* in the order of keys, as everybody locks them */
	(void) run_for("UPDATE vdb.ingest_queue q SET lease = NULL, leased_at = NULL, leased_lsn = NULL, "
				   "leased_hash = NULL, due = changed_at FROM (SELECT key FROM vdb.ingest_queue "
				   "WHERE pipeline = $1 AND lease IS NOT NULL ORDER BY key FOR UPDATE) k "
				   "WHERE q.pipeline = $1 AND q.key = k.key", pipeline);
	vdb_ingest_set_load(pipeline->id, VDB_LOAD_SOURCE, NULL);
}

/*
 * vdb.alter_pipeline(name name, content name, embed regprocedure, model_version text, owner regrole,
 * batch_size integer, timeout interval, max_attempts integer, queue_limit bigint); null: as it is
 */
PG_FUNCTION_INFO_V1(vdb_ingest_alter_pipeline);
Datum
vdb_ingest_alter_pipeline(PG_FUNCTION_ARGS)
{
	VdbPipeline *old = get_own_pipeline(fcinfo, VDB_LOCK_DEFINITION);
	VdbPipeline new = *old;
	StringInfoData sql;
	VdbIdentity before;

	if (!PG_ARGISNULL(1))
		new.content = get_name(fcinfo, 1);
	if (!PG_ARGISNULL(2))
		new.embed = get_function(fcinfo, 2);
	if (!PG_ARGISNULL(3))
		new.model_version = get_text(fcinfo, 3);
	new.owner = get_new_owner(fcinfo, 4, old->owner);
	get_limits(fcinfo, 5, &new);
	check_limits(&new);
	if (new.embed != NULL && old->mode == VDB_MODE_CLAIM)
		new.mode = VDB_MODE_FUNCTION;
	vdb_ingest_lock_definitions();
	(void) vdb_ingest_check_pipeline(&new);
	if (differs(new.embed, old->embed) && !differs(new.model_version, old->model_version))
		ereport(NOTICE,
				(errmsg("rows of pipeline \"%s\" that have embeddings keep them until they change", old->name),
				 errhint("Give it another model_version as well, and all are embedded again.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE vdb.pipeline SET (" WRITTEN ") = (" VALUES ") WHERE id = %d", old->id);
	SPI_connect();
	vdb_ingest_become_keeper(&before);
	write_row(sql.data, &new);
	vdb_ingest_come_back(&before);
	SPI_finish();
	if (differs(new.content, old->content) || differs(new.embed, old->embed) ||
		differs(new.model_version, old->model_version))
		begin_anew(&new);
	vdb_ingest_tell();
	PG_RETURN_VOID();
}

/* --- stopping and going on ------------------------------------------------------- */

/* vdb.pause_pipeline(name name) */
PG_FUNCTION_INFO_V1(vdb_ingest_pause_pipeline);
Datum
vdb_ingest_pause_pipeline(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline = get_own_pipeline(fcinfo, VDB_LOCK_STATE);

	/* what was not queued meanwhile is not forgotten with the state */
	if (pipeline->state == VDB_STATE_ERROR || pipeline->state == VDB_STATE_OVERFLOW)
		vdb_ingest_set_load(pipeline->id, VDB_LOAD_SOURCE, NULL);
	vdb_ingest_set_state(pipeline->id, VDB_STATE_PAUSED, NULL);
	PG_RETURN_VOID();
}

/* vdb.resume_pipeline(name name) */
PG_FUNCTION_INFO_V1(vdb_ingest_resume_pipeline);
Datum
vdb_ingest_resume_pipeline(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline = get_own_pipeline(fcinfo, VDB_LOCK_STATE);

	(void) vdb_ingest_check_pipeline(pipeline);
	(void) run_for("UPDATE vdb.pipeline SET wait_until = '-infinity', failures = 0 WHERE id = $1", pipeline);
	if (pipeline->state == VDB_STATE_ERROR || pipeline->state == VDB_STATE_OVERFLOW ||
		(pipeline->state == VDB_STATE_PAUSED && pipeline->mode == VDB_MODE_COPY))
		vdb_ingest_set_load(pipeline->id, VDB_LOAD_SOURCE, NULL);
	vdb_ingest_set_state(pipeline->id, VDB_STATE_RUNNING, NULL);
	PG_RETURN_VOID();
}

/* vdb.resync_pipeline(name name) */
PG_FUNCTION_INFO_V1(vdb_ingest_resync_pipeline);
Datum
vdb_ingest_resync_pipeline(PG_FUNCTION_ARGS)
{
	vdb_ingest_set_load(get_own_pipeline(fcinfo, VDB_LOCK_STATE)->id, VDB_LOAD_SOURCE, NULL);
	PG_RETURN_VOID();
}

/* vdb.retry_pipeline(name name): how many keys are tried again */
PG_FUNCTION_INFO_V1(vdb_ingest_retry_pipeline);
Datum
vdb_ingest_retry_pipeline(PG_FUNCTION_ARGS)
{
	/* any change that comes, be it of before, is later than the LSN that they get */
	static const char *const enqueue =
		"WITH given_up AS (DELETE FROM vdb.ingest_dead WHERE pipeline = $1 RETURNING key) "
		"INSERT INTO vdb.ingest_queue (pipeline, key, lsn, changed_at, due) "
		"SELECT $1, key, '0/0', clock_timestamp(), clock_timestamp() FROM given_up "
		"ORDER BY key "
		"ON CONFLICT (pipeline, key) DO NOTHING";
	VdbPipeline *pipeline = get_own_pipeline(fcinfo, VDB_LOCK_STATE);
	uint64		count;

	if (pipeline->mode == VDB_MODE_COPY)
	{
		/* there is no queue; those that fail again are given up again */
		count = run_for("DELETE FROM vdb.ingest_dead WHERE pipeline = $1", pipeline);
		if (count > 0)
			vdb_ingest_set_load(pipeline->id, VDB_LOAD_SOURCE, NULL);
	}
	else
		count = run_for(enqueue, pipeline);
	vdb_ingest_tell();
	PG_RETURN_INT64(count);
}

/* --- dropping -------------------------------------------------------------------- */

void
vdb_ingest_delete_pipeline(const VdbPipeline *pipeline)
{
	List	   *others = vdb_ingest_list_pipelines();
	ListCell   *cell;

	foreach(cell, others)
	{
		const VdbPipeline *other = lfirst(cell);

		if (other->version_of == pipeline->id)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop pipeline \"%s\", as it has versions", pipeline->name),
					 errdetail("One is \"%s\".", other->name),
					 errhint("Use vdb.retire_pipeline_version(), or drop it, first.")));
	}

	/* in the order of keys, as everybody locks them */
	(void) run_for("DELETE FROM vdb.ingest_queue q USING (SELECT key FROM vdb.ingest_queue WHERE pipeline = $1 "
				   "ORDER BY key FOR UPDATE) k WHERE q.pipeline = $1 AND q.key = k.key", pipeline);
	(void) run_for("DELETE FROM vdb.ingest_dead WHERE pipeline = $1", pipeline);
	(void) run_for("DELETE FROM vdb.pipeline WHERE id = $1", pipeline);
	vdb_ingest_tell();
}

/* vdb.drop_pipeline(name name) */
PG_FUNCTION_INFO_V1(vdb_ingest_drop_pipeline);
Datum
vdb_ingest_drop_pipeline(PG_FUNCTION_ARGS)
{
	vdb_ingest_delete_pipeline(get_own_pipeline(fcinfo, VDB_LOCK_DEFINITION));
	PG_RETURN_VOID();
}

/*
 * A trigger, before a row is inserted: those that a dump has are pipelines as well, but how far they were was so in another
 * database.
 */
PG_FUNCTION_INFO_V1(vdb_ingest_pipeline_inserted);
Datum
vdb_ingest_pipeline_inserted(PG_FUNCTION_ARGS)
{
	static const char *const progress[] = {"state", "reason", "load", "load_after", "source_file", "content_number"};
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	int			columns[lengthof(progress)];
	Datum		values[lengthof(progress)] = {0};
	bool		nulls[lengthof(progress)];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is a trigger's, before a row is inserted")));

	/* columns of these names may be of any type elsewhere */
	if (RelationGetRelid(trigger->tg_relation) != vdb_ingest_pipeline_table())
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" is not that of pipelines", RelationGetRelationName(trigger->tg_relation))));
	desc = RelationGetDescr(trigger->tg_relation);
	for (int i = 0; i < lengthof(progress); i++)
	{
		columns[i] = SPI_fnumber(desc, progress[i]);
		nulls[i] = true;
	}
	values[0] = CStringGetTextDatum(vdb_ingest_state_name(VDB_STATE_RUNNING));
	values[2] = CStringGetTextDatum("source");
	nulls[0] = nulls[2] = false;
	vdb_ingest_tell();
	return PointerGetDatum(heap_modify_tuple_by_cols(trigger->tg_trigtuple, desc, lengthof(progress), columns, values, nulls));
}
