/*
 * ingest_pipeline.c
 *	  Rows of vdb.pipeline, what their names stand for, and on whose behalf something is done.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "ingest/ingest_private.h"

/* What is found in the catalog by the names of functions in this library. */
#define VECTOR_INPUT "vdb_vector_in"
#define HALFVEC_INPUT "vdb_halfvec_in"

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
 * database without the extension, and a process of ours would trust what it says.
 */
static Oid
find_table(void)
{
	static Oid	known = InvalidOid;
	Oid			namespace = get_namespace_oid("vdb", true);
	Oid			table = OidIsValid(namespace) ? get_relname_relid("pipeline", namespace) : InvalidOid;

	if (!OidIsValid(table) || table == known)
		return table;
	if (!OidIsValid(getExtensionOfObject(RelationRelationId, table)))
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
	"wait_until, failures FROM vdb.pipeline "

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

VdbPipeline *
vdb_ingest_find_pipeline(const char *name, bool lock)
{
	static const Oid types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	List	   *found = read_pipelines(lock ? COLUMNS "WHERE name = $1::name FOR UPDATE" : COLUMNS "WHERE name = $1::name",
									   1, types, values);

	if (found == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", name)));
	return linitial(found);
}

VdbPipeline *
vdb_ingest_find_pipeline_by_id(int id, bool lock)
{
	static const Oid types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(id)};
	List	   *found = read_pipelines(lock ? COLUMNS "WHERE id = $1 FOR UPDATE" : COLUMNS "WHERE id = $1",
									   1, types, values);

	return found == NIL ? NULL : linitial(found);
}

static bool
is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
vdb_ingest_is_current(const VdbPipeline *pipeline)
{
	const VdbPipeline *now = vdb_ingest_find_pipeline_by_id(pipeline->id, false);

	return now != NULL && now->owner == pipeline->owner && is_same(now->content, pipeline->content) &&
		is_same(now->embed, pipeline->embed) && is_same(now->model_version, pipeline->model_version);
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
	VdbIdentity before;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	(void) vdb_ingest_run(sql, lengthof(types), types, values, nulls);
	vdb_ingest_come_back(&before);
	SPI_finish();
}

void
vdb_ingest_set_state(int pipeline, VdbPipelineState state, const char *reason)
{
	update("UPDATE vdb.pipeline SET state = $2, reason = $3 WHERE id = $1",
		   pipeline, state_names[state], reason);
	vdb_ingest_tell();
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

/* --- what names stand for ----------------------------------------------------- */

/* Is a type the one whose texts are read by this function of the library? */
static bool
is_type(Oid type, const char *input)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			function;
	bool		is = false;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	function = ((Form_pg_type) GETSTRUCT(tuple))->typinput;
	ReleaseSysCache(tuple);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		Datum		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);

		is = !isnull && strcmp(TextDatumGetCString(source), input) == 0;
	}
	ReleaseSysCache(tuple);
	return is;
}

bool
vdb_ingest_is_embedding_type(Oid type)
{
	return is_type(type, VECTOR_INPUT) || is_type(type, HALFVEC_INPUT);
}

static Oid
schema_of(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			namespace;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	namespace = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return namespace;
}

char *
vdb_ingest_type_schema(Oid type)
{
	return get_namespace_name(schema_of(type));
}

/* The type vector, which is where halfvec is. */
static Oid
find_vector_type(Oid sibling)
{
	if (is_type(sibling, VECTOR_INPUT))
		return sibling;
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("vector"),
						   ObjectIdGetDatum(schema_of(sibling)));
}

bool
vdb_ingest_is_text_type(Oid type)
{
	return TypeCategory(getBaseType(type)) == TYPCATEGORY_STRING;
}

static bool
is_copied_type(Oid type)
{
	return type == FLOAT4ARRAYOID || type == FLOAT8ARRAYOID || vdb_ingest_is_embedding_type(type);
}

/* A type's name that a text can be cast to without being cut off. */
static char *
name_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* By its schema, since it is used with a search path that has none but the server's. */
static char *
name_operator(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

static char *
name_table(Oid table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

/* Is a table there, of such a kind? */
static void
check_table(const VdbPipeline *pipeline, const char *what, Oid table, bool may_be_partitioned)
{
	char		kind = get_rel_relkind(table);

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the %s of pipeline \"%s\" does not exist", what, pipeline->name),
				 errdetail("There is no table with OID %u.", table)));
	if (kind == RELKIND_PARTITIONED_TABLE && !may_be_partitioned)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the %s of pipeline \"%s\" cannot be the partitioned table %s", what, pipeline->name,
						name_table(table)),
				 errhint("Create a pipeline for each partition, with a target of its own.")));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the %s of pipeline \"%s\" must be a table", what, pipeline->name),
				 errdetail("%s is none.", name_table(table))));
	if (get_rel_persistence(table) != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the %s of pipeline \"%s\" must be a table that is logged", what, pipeline->name),
				 errdetail("%s is temporary or unlogged.", name_table(table))));
}

/* A column's number and type; an error where there is none. */
static AttrNumber
find_column(const VdbPipeline *pipeline, Oid table, const char *name, Oid *type, int32 *typmod)
{
	AttrNumber	number = get_attnum(table, name);
	Oid			collation;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table %s does not exist", name, name_table(table)),
				 errdetail("Pipeline \"%s\" wants it.", pipeline->name)));
	get_atttypetypmodcoll(table, number, type, typmod, &collation);
	return number;
}

/* A key's column: the name of its type, and of the operator that finds rows by it. */
static void
resolve_key(const VdbPipeline *pipeline, Oid table, const char *name, char **type_name, char **equals)
{
	Oid			type;
	int32		typmod;
	TypeCacheEntry *entry;

	(void) find_column(pipeline, table, name, &type, &typmod);
	entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY | TYPECACHE_EQ_OPR);
	if (!OidIsValid(entry->btree_opf) || !OidIsValid(entry->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s cannot be a key", name, name_table(table)),
				 errdetail("Type %s has no order.", format_type_be(type))));
	*type_name = name_type(type);
	*equals = name_operator(entry->eq_opr);
}

/* Columns that are written where they are there have to be of a type that can be. */
static bool
has_column(Oid table, const char *name, bool (*is_fit) (Oid type))
{
	AttrNumber	number = get_attnum(table, name);

	return number > 0 && is_fit(get_atttype(table, number));
}

static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID;
}

static void
check_privileges(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	AclMode		wanted = types->same_table ? ACL_SELECT | ACL_UPDATE :
		ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(pipeline->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner of pipeline \"%s\" does not exist", pipeline->name),
				 errdetail("There is no role with OID %u.", pipeline->owner)));
	if (pg_class_aclcheck(pipeline->source, pipeline->owner, ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", types->source_name),
				 errdetail("The owner of pipeline \"%s\" needs the privilege SELECT.", pipeline->name)));
	if (pg_class_aclmask(pipeline->target, pipeline->owner, wanted, ACLMASK_ALL) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", types->target_name),
				 errdetail("The owner of pipeline \"%s\" needs the privileges %s.", pipeline->name,
						   types->same_table ? "SELECT and UPDATE" : "SELECT, INSERT, UPDATE and DELETE")));
	if (OidIsValid(types->embed) && !vdb_may_execute(types->embed, pipeline->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", pipeline->embed),
				 errdetail("The owner of pipeline \"%s\" needs the privilege EXECUTE.", pipeline->name)));
}

/* What the log has of a row is copied as it is, whoever may see it. */
static void
check_row_security(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	if (pipeline->mode == VDB_MODE_COPY &&
		check_enable_rls(pipeline->source, pipeline->owner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security hides rows of table %s", types->source_name),
				 errdetail("The owner of pipeline \"%s\" may not see all rows that it would copy.", pipeline->name),
				 errhint("Have the table's owner create the pipeline.")));
}

static void
resolve_function(const VdbPipeline *pipeline, VdbPipelineTypes *types)
{
	Oid			function;
	Oid			result;
	Oid		   *arguments;
	int			count;

	if (pipeline->embed == NULL)
		return;
	function = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(pipeline->embed)));
	result = get_func_signature(function, &arguments, &count);
	if (count != 1 || arguments[0] != TEXTARRAYOID || result != get_array_type(types->vector_type) ||
		get_func_retset(function) || get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot embed", pipeline->embed),
				 errdetail("It must take an array of text and return an array of vector."),
				 errhint("Wrap it in one that is declared as f(text[]) RETURNS vector[].")));
	types->embed = function;
}

static void
resolve_source(const VdbPipeline *pipeline, VdbPipelineTypes *types)
{
	int32		typmod;

	check_table(pipeline, "source", pipeline->source, false);
	types->source_name = name_table(pipeline->source);
	types->source = psprintf("ONLY %s", types->source_name);
	resolve_key(pipeline, pipeline->source, pipeline->key, &types->key_type, &types->key_equals);
	(void) find_column(pipeline, pipeline->source, pipeline->content, &types->content_type, &typmod);
	if (pipeline->mode == VDB_MODE_COPY ? !is_copied_type(types->content_type) :
		!vdb_ingest_is_text_type(types->content_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s is of type %s", pipeline->content, types->source_name,
						format_type_be(types->content_type)),
				 errdetail("Pipeline \"%s\" wants %s.", pipeline->name,
						   pipeline->mode == VDB_MODE_COPY ?
						   "vector, halfvec, real[] or double precision[], to copy it" : "text, to embed it")));
}

static void
resolve_target(const VdbPipeline *pipeline, VdbPipelineTypes *types)
{
	check_table(pipeline, "target", pipeline->target, true);
	types->same_table = pipeline->target == pipeline->source;
	types->target_name = name_table(pipeline->target);
	types->target = types->same_table ? types->source : types->target_name;
	resolve_key(pipeline, pipeline->target, pipeline->target_key,
				&types->target_key_type, &types->target_key_equals);
	(void) find_column(pipeline, pipeline->target, pipeline->embedding,
					   &types->embedding_type, &types->embedding_typmod);
	if (!vdb_ingest_is_embedding_type(types->embedding_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s is of type %s", pipeline->embedding,
						types->target_name, format_type_be(types->embedding_type)),
				 errdetail("Pipeline \"%s\" stores embeddings in columns of type vector or halfvec.",
						   pipeline->name)));
	types->vector_type = find_vector_type(types->embedding_type);
	types->has_model_version = has_column(pipeline->target, "model_version", vdb_ingest_is_text_type);
	types->has_source_hash = has_column(pipeline->target, "source_hash", vdb_ingest_is_text_type);
	types->has_embedded_at = has_column(pipeline->target, "embedded_at", is_time_type);
}

VdbPipelineTypes *
vdb_ingest_resolve(const VdbPipeline *pipeline)
{
	VdbPipelineTypes *types = palloc0(sizeof(VdbPipelineTypes));

	resolve_source(pipeline, types);
	resolve_target(pipeline, types);
	resolve_function(pipeline, types);
	check_privileges(pipeline, types);
	check_row_security(pipeline, types);
	return types;
}
