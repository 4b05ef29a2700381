/*
 * ingest_pipeline.c
 *	  Rows of vdb.pipeline, and on whose behalf something is done.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ingest/ingest_private.h"

static const char *const mode_names[] = {
	[VDB_MODE_FUNCTION] = "function",
	[VDB_MODE_CLAIM] = "claim",
	[VDB_MODE_COPY] = "copy",
};

static const char *const state_names[] = {
	[VDB_STATE_RUNNING] = "running",
	[VDB_STATE_PAUSED] = "paused",
	[VDB_STATE_ERROR] = "error",
	[VDB_STATE_OVERFLOW] = "overflow",
};

static const char *const load_names[] = {
	[VDB_LOAD_NONE] = "",
	[VDB_LOAD_SOURCE] = "source",
	[VDB_LOAD_ORPHANS] = "orphans",
};

const char *
vdb_ingest_mode_name(VdbPipelineMode mode)
{
	return mode_names[mode];
}

const char *
vdb_ingest_state_name(VdbPipelineState state)
{
	return state_names[state];
}

/* This transaction has changed pipelines. */
static bool told;

/* --- the extension's tables --------------------------------------------------- */

/*
 * The table of pipelines, InvalidOid where it is not there.  Somebody may give another table that name in a
 * database without the extension, even make it a member of an extension of theirs, and a process of ours would
 * trust what it says of its owners.
 */
static Oid
find_table(void)
{
	static Oid	known = InvalidOid;
	Oid			namespace = get_namespace_oid("vdb", true);
	Oid			table = OidIsValid(namespace) ? get_relname_relid("pipeline", namespace) : InvalidOid;
	Oid			extension;

	if (!OidIsValid(table) || table == known)
		return table;
	extension = getExtensionOfObject(RelationRelationId, table);
	if (!OidIsValid(extension) || extension != get_extension_oid("vdb", true))
		return InvalidOid;
	known = table;
	return table;
}

static Oid
get_table(void)
{
	Oid			table = find_table();

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"vdb\" is not in this database"),
				 errhint("Run CREATE EXTENSION vdb.")));
	return table;
}

bool
vdb_ingest_is_installed(void)
{
	return OidIsValid(find_table());
}

Oid
vdb_ingest_pipeline_table(void)
{
	return get_table();
}

/* A transaction that changed pipelines is over: there may have been none before. */
static void
ask_if_told(XactEvent event, void *arg)
{
	if (told && event == XACT_EVENT_COMMIT)
		vdb_ingest_ask_capture();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		told = false;
}

void
vdb_ingest_tell(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(ask_if_told, NULL);
	registered = true;
	told = true;
	CacheInvalidateRelcacheByRelid(get_table());
}

/* --- on whose behalf ---------------------------------------------------------- */

/* A setting, until the identity comes back. */
static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
become(Oid user, VdbIdentity *before)
{
	GetUserIdAndSecContext(&before->user, &before->context);
	before->nest_level = NewGUCNestLevel();
	SetUserIdAndSecContext(user, before->context | SECURITY_RESTRICTED_OPERATION);
	set("search_path", "pg_catalog, pg_temp");
}

void
vdb_ingest_become_owner(const VdbPipeline *pipeline, VdbIdentity *before)
{
	become(pipeline->owner, before);
}

void
vdb_ingest_become_keeper(VdbIdentity *before)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_table()));
	Oid			keeper;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for the table of pipelines");
	keeper = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	become(keeper, before);

	/*
	 * The queue is read by its keys, or from one end, of which the planner cannot know how far away the other
	 * one is.  It has no statistics for the same reason.
	 */
	set("enable_seqscan", "off");
	set("enable_bitmapscan", "off");
}

void
vdb_ingest_come_back(const VdbIdentity *before)
{
	AtEOXact_GUC(false, before->nest_level);
	SetUserIdAndSecContext(before->user, before->context);
}

void
vdb_ingest_require_owner(const VdbPipeline *pipeline)
{
	if (has_privs_of_role(GetUserId(), pipeline->owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of pipeline \"%s\"", pipeline->name)));
}

/* --- rows --------------------------------------------------------------------- */

#define COLUMNS \
	"SELECT id, name::text, owner::oid, source::oid, key::text, content::text, target::oid, " \
	"target_key::text, embedding::text, mode, embed, model_version, version_of, batch_size, " \
	"(extract(epoch FROM timeout) * 1000)::bigint, max_attempts, queue_limit, state, load, load_after, " \
	"wait_until, failures, source_file, content_number::int FROM vdb.pipeline "

static Datum
read_column(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static Datum
read_value(int row, int column)
{
	bool		isnull;
	Datum		value = read_column(row, column, &isnull);

	if (isnull)
		elog(ERROR, "column %d of vdb.pipeline is null", column);
	return value;
}

/* NULL where there is none; memory of the current context */
static char *
read_text(int row, int column)
{
	bool		isnull;
	Datum		value = read_column(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int
find_name(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return i;
	}
	elog(ERROR, "vdb.pipeline has \"%s\", which is not known", name);
}

/* Memory of the current context, which is not SPI's. */
static VdbPipeline *
read_pipeline(int row)
{
	VdbPipeline *pipeline = palloc0(sizeof(VdbPipeline));
	char	   *load = read_text(row, 19);
	bool		isnull;
	int64		timeout;
	int			column = 1;

	pipeline->id = DatumGetInt32(read_value(row, column++));
	pipeline->name = read_text(row, column++);
	pipeline->owner = DatumGetObjectId(read_value(row, column++));
	pipeline->source = DatumGetObjectId(read_value(row, column++));
	pipeline->key = read_text(row, column++);
	pipeline->content = read_text(row, column++);
	pipeline->target = DatumGetObjectId(read_value(row, column++));
	pipeline->target_key = read_text(row, column++);
	pipeline->embedding = read_text(row, column++);
	pipeline->mode = find_name(read_text(row, column++), mode_names, lengthof(mode_names));
	pipeline->embed = read_text(row, column++);
	pipeline->model_version = read_text(row, column++);
	pipeline->version_of = DatumGetInt32(read_column(row, column++, &isnull));
	pipeline->batch_size = DatumGetInt32(read_value(row, column++));
	timeout = DatumGetInt64(read_value(row, column++));
	pipeline->timeout = (int) Min(timeout, PG_INT32_MAX);
	pipeline->max_attempts = DatumGetInt32(read_value(row, column++));
	pipeline->queue_limit = DatumGetInt64(read_value(row, column++));
	pipeline->state = find_name(read_text(row, column++), state_names, lengthof(state_names));
	pipeline->load = find_name(load == NULL ? "" : load, load_names, lengthof(load_names));
	column++;
	pipeline->load_after = read_text(row, column++);
	pipeline->wait_until = DatumGetTimestampTz(read_value(row, column++));
	pipeline->failures = DatumGetInt32(read_value(row, column++));
	pipeline->source_file = DatumGetObjectId(read_column(row, column++, &isnull));
	pipeline->content_number = DatumGetInt32(read_column(row, column++, &isnull));
	return pipeline;
}

/* Pipelines that a statement finds. */
static List *
read_pipelines(const char *sql, int count, const Oid *types, const Datum *values)
{
	MemoryContext memory = CurrentMemoryContext;
	List	   *pipelines = NIL;
	VdbIdentity before;
	MemoryContext spi;
	uint64		rows;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	rows = vdb_ingest_run(sql, count, types, values, NULL);
	vdb_ingest_come_back(&before);
	spi = MemoryContextSwitchTo(memory);
	for (uint64 i = 0; i < rows; i++)
		pipelines = lappend(pipelines, read_pipeline(i));
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return pipelines;
}

List *
vdb_ingest_list_pipelines(void)
{
	return read_pipelines(COLUMNS "ORDER BY id", 0, NULL, NULL);
}

/* Who claims has the row FOR KEY SHARE. */
static const char *const locks[] = {
	[VDB_LOCK_NONE] = "",
	[VDB_LOCK_STATE] = "FOR NO KEY UPDATE",
	[VDB_LOCK_DEFINITION] = "FOR UPDATE",
};

VdbPipeline *
vdb_ingest_find_pipeline(const char *name, VdbPipelineLock lock)
{
	static const Oid types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	List	   *found = read_pipelines(psprintf(COLUMNS "WHERE name = $1::name %s", locks[lock]), 1, types, values);

	if (found == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", name)));
	return linitial(found);
}

VdbPipeline *
vdb_ingest_find_pipeline_by_id(int id, VdbPipelineLock lock)
{
	static const Oid types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(id)};
	List	   *found = read_pipelines(psprintf(COLUMNS "WHERE id = $1 %s", locks[lock]), 1, types, values);

	return found == NIL ? NULL : linitial(found);
}

static bool
is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* A pipeline, locked without waiting; or NULL. */
static const VdbPipeline *
lock_if_free(int id, const char *lock)
{
	static const Oid types[] = {INT4OID};
	Datum		value = Int32GetDatum(id);
	List	   *found = read_pipelines(psprintf(COLUMNS "WHERE id = $1 %s SKIP LOCKED", lock), 1, types, &value);

	return found == NIL ? NULL : linitial(found);
}

/* Where the row of a pipeline is that a snapshot sees; false if it sees none. */
static bool
find_version(int id, Snapshot snapshot, ItemPointer place)
{
	static Oid	types[] = {INT4OID};
	Datum		value = Int32GetDatum(id);
	VdbIdentity before;
	bool		isnull;
	bool		found;
	int			result;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	PushActiveSnapshot(snapshot);
	result = SPI_execute_with_args("SELECT ctid FROM vdb.pipeline WHERE id = $1", 1, types, &value, NULL, true, 1);
	PopActiveSnapshot();
	vdb_ingest_come_back(&before);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read pipeline %d: %s", id, SPI_result_code_string(result));
	found = SPI_processed == 1;
	if (found)
		*place = *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return found;
}

/*
 * A lock for key share is granted of a row that has changed since the snapshot that a transaction sees throughout,
 * and one that is not would make all wait who note something in the row.
 */
static void
check_unchanged(const VdbPipeline *pipeline)
{
	ItemPointerData seen;
	ItemPointerData now;

	if (!find_version(pipeline->id, GetTransactionSnapshot(), &seen) ||
		!find_version(pipeline->id, GetLatestSnapshot(), &now) || !ItemPointerEquals(&seen, &now))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to pipeline \"%s\", which has changed since", pipeline->name),
				 errhint("Try the transaction again, or claim in one that is READ COMMITTED.")));
}

bool
vdb_ingest_share_as_read(const VdbPipeline *pipeline)
{
	const VdbPipeline *now = lock_if_free(pipeline->id, "FOR KEY SHARE");

	if (now != NULL && IsolationUsesXactSnapshot())
		check_unchanged(pipeline);
	return now != NULL && now->owner == pipeline->owner && is_same(now->content, pipeline->content) &&
		is_same(now->embed, pipeline->embed) && is_same(now->model_version, pipeline->model_version);
}

bool
vdb_ingest_lock_as_read(const VdbPipeline *pipeline, VdbPipelineLock lock)
{
	const VdbPipeline *now = lock_if_free(pipeline->id, locks[lock]);

	return now != NULL && now->state == pipeline->state && now->load == pipeline->load &&
		is_same(now->load_after, pipeline->load_after) && now->owner == pipeline->owner &&
		is_same(now->content, pipeline->content);
}

uint64
vdb_ingest_run_as_keeper(const char *sql, int count, const Oid *types, const Datum *values, const char *nulls)
{
	VdbIdentity before;
	uint64		rows;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	rows = vdb_ingest_run(sql, count, types, values, nulls);
	vdb_ingest_come_back(&before);
	SPI_finish();
	return rows;
}

/* Changes a pipeline's row. */
static void
update(const char *sql, int pipeline, const char *first, const char *second)
{
	static const Oid types[] = {INT4OID, TEXTOID, TEXTOID};
	Datum		values[] = {
		Int32GetDatum(pipeline),
		first == NULL ? (Datum) 0 : CStringGetTextDatum(first),
		second == NULL ? (Datum) 0 : CStringGetTextDatum(second)
	};
	char		nulls[] = {' ', first == NULL ? 'n' : ' ', second == NULL ? 'n' : ' '};

	(void) vdb_ingest_run_as_keeper(sql, lengthof(types), types, values, nulls);
}

void
vdb_ingest_set_state(int pipeline, VdbPipelineState state, const char *reason)
{
	update("UPDATE vdb.pipeline SET state = $2, reason = $3 WHERE id = $1",
		   pipeline, state_names[state], reason);
	vdb_ingest_tell();
}

void
vdb_ingest_set_overflow(int pipeline, const char *reason, int seconds)
{
	static const char *const sql =
		"UPDATE vdb.pipeline SET state = CASE state WHEN 'running' THEN 'overflow' ELSE state END, "
		"reason = CASE state WHEN 'running' THEN $2 ELSE reason END, load = 'source', load_after = NULL, "
		"wait_until = greatest(wait_until, clock_timestamp() + $3 * interval '1 s') WHERE id = $1";
	static const Oid types[] = {INT4OID, TEXTOID, INT4OID};
	Datum		values[] = {Int32GetDatum(pipeline), CStringGetTextDatum(reason), Int32GetDatum(seconds)};

	(void) vdb_ingest_run_as_keeper(sql, lengthof(types), types, values, NULL);
	vdb_ingest_tell();
}

void
vdb_ingest_note_reason(int pipeline, const char *reason)
{
	static const Oid types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(pipeline), CStringGetTextDatum(reason)};

	(void) vdb_ingest_run_as_keeper("UPDATE vdb.pipeline SET reason = $2 WHERE id = $1 AND reason IS DISTINCT FROM $2",
									lengthof(types), types, values, NULL);
}

static Oid
file_of(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid			file;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return file;
}

void
vdb_ingest_note_source(VdbPipeline *pipeline)
{
	static const Oid types[] = {INT4OID, OIDOID, INT4OID};
	Oid			file = file_of(pipeline->source);
	int			number = get_attnum(pipeline->source, pipeline->content);
	Datum		values[] = {Int32GetDatum(pipeline->id), ObjectIdGetDatum(file), Int32GetDatum(number)};

	if (file == pipeline->source_file && number == pipeline->content_number)
		return;
	(void) vdb_ingest_run_as_keeper("UPDATE vdb.pipeline SET source_file = $2, content_number = $3, reason = NULL WHERE id = $1",
									lengthof(types), types, values, NULL);
	if (OidIsValid(pipeline->source_file))
	{
		vdb_ingest_set_load(pipeline->id, VDB_LOAD_SOURCE, NULL);
		pipeline->load = VDB_LOAD_SOURCE;
		pipeline->load_after = NULL;
	}
	pipeline->source_file = file;
	pipeline->content_number = number;
}

void
vdb_ingest_set_load(int pipeline, VdbLoad load, const char *after)
{
	update("UPDATE vdb.pipeline SET load = $2, load_after = $3 WHERE id = $1",
		   pipeline, load == VDB_LOAD_NONE ? NULL : load_names[load], after);

	/* who goes through it knows how far it is */
	if (after == NULL)
		vdb_ingest_tell();
}
