/*
 * ingest_version.c
 *	  Versions of a model: a pipeline beside the first, with a table of its own, that can take its place.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "compat.h"
#include "ingest/ingest_private.h"

/* What the first one is called as a version, if it has no model_version. */
#define NO_VERSION "initial"

#define MOST_SAMPLED 10000
#define MOST_NEIGHBOURS 1000

static char *
form_name(const char *pipeline, const char *version)
{
	char	   *name = psprintf("%s@%s", pipeline, version);

	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("\"%s\" is too long for a name", name),
				 errdetail("A version is a pipeline of that name, of less than %d bytes.", NAMEDATALEN)));
	return name;
}

static void
check_all_given(FunctionCallInfo fcinfo, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d must not be null", i + 1)));
	}
}

/*
 * The pipeline and its version, which the first two arguments name and the caller may change.
 */
static void
find_both(FunctionCallInfo fcinfo, VdbPipelineLock lock, VdbPipeline **pipeline, VdbPipeline **version)
{
	*pipeline = vdb_ingest_find_pipeline(NameStr(*PG_GETARG_NAME(0)), lock);
	vdb_ingest_require_owner(*pipeline);
	*version = vdb_ingest_find_pipeline(form_name((*pipeline)->name, text_to_cstring(PG_GETARG_TEXT_PP(1))), lock);
	vdb_ingest_require_owner(*version);
}

/* --- adding ----------------------------------------------------------------------- */

static void
check_can_have_versions(const VdbPipeline *pipeline)
{
	const char *why = NULL;

	if (pipeline->version_of != 0)
		why = "It is a version of another one itself.";
	else if (pipeline->mode == VDB_MODE_COPY)
		why = "It copies embeddings, and has no model.";
	else if (pipeline->source == pipeline->target)
		why = "Its source is its target, and a version has a table of its own to put in its place.";
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" cannot have versions", pipeline->name),
				 errdetail("%s", why)));
}

/*
 * vdb.add_pipeline_version(pipeline name, model_version text, embed regprocedure, target regclass): its number
 */
PG_FUNCTION_INFO_V1(vdb_ingest_add_version);
Datum
vdb_ingest_add_version(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline;
	VdbPipeline version;
	List	   *others;
	ListCell   *cell;

	check_all_given(fcinfo, 2);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("target must not be null")));
	pipeline = vdb_ingest_find_pipeline(NameStr(*PG_GETARG_NAME(0)), VDB_LOCK_STATE);
	vdb_ingest_require_owner(pipeline);
	check_can_have_versions(pipeline);
	version = *pipeline;
	version.id = 0;
	version.version_of = pipeline->id;
	version.model_version = text_to_cstring(PG_GETARG_TEXT_PP(1));
	version.name = form_name(pipeline->name, version.model_version);
	version.embed = PG_ARGISNULL(2) ? NULL : format_procedure_qualified(PG_GETARG_OID(2));
	version.mode = version.embed == NULL ? VDB_MODE_CLAIM : VDB_MODE_FUNCTION;
	version.target = PG_GETARG_OID(3);
	vdb_ingest_lock_definitions();
	others = vdb_ingest_list_pipelines();
	foreach(cell, others)
	{
		if (strcmp(((VdbPipeline *) lfirst(cell))->name, version.name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("pipeline \"%s\" already has a version \"%s\"", pipeline->name, version.model_version)));
	}
	if (pipeline->model_version != NULL && strcmp(pipeline->model_version, version.model_version) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is the version of pipeline \"%s\" itself", version.model_version, pipeline->name)));
	if (version.target == version.source)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a version needs a target of its own")));
	vdb_ingest_advise(&version, vdb_ingest_check_pipeline(&version));
	vdb_ingest_check_server();
	PG_RETURN_INT32(vdb_ingest_insert_pipeline(&version));
}

/* --- comparing -------------------------------------------------------------------- */

static int
get_number(FunctionCallInfo fcinfo, int argument, int most, const char *name)
{
	int			number = PG_GETARG_INT32(argument);

	if (number < 1 || number > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 and %d", name, most)));
	return number;
}

/* The extension's operator of that name, as SQL has it. */
static char *
form_operator(const VdbPipelineTypes *types, const char *name)
{
	static const char *const names[] = {"<=>", "<->", "<#>", "<+>"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return psprintf("OPERATOR(%s.%s)", quote_identifier(vdb_ingest_type_schema(types->vector_type)), name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not an operator that orders vectors", name),
			 errhint("Use <=>, <->, <#> or <+>.")));
}

/* Keys of the nearest neighbours of a row, which is t, in its table. */
static char *
form_neighbours(const VdbPipeline *pipeline, const VdbPipelineTypes *types, const char *row, const char *operator)
{
	const char *key = quote_identifier(pipeline->target_key);
	const char *embedding = quote_identifier(pipeline->embedding);

	return psprintf("ARRAY(SELECT n.%s::text FROM %s n WHERE NOT n.%s %s %s.%s ORDER BY n.%s %s %s.%s LIMIT $2)",
					key, types->target, key, types->target_key_equals, row, key, embedding, operator, row, embedding);
}

static char *
form_comparison(const VdbPipeline *a, const VdbPipeline *b, const char *operator_name)
{
	VdbPipelineTypes *a_types = vdb_ingest_resolve(a);
	VdbPipelineTypes *b_types = vdb_ingest_resolve(b);
	const char *key = quote_identifier(a->target_key);
	const char *embedding = quote_identifier(a->embedding);
	const char *operator = form_operator(a_types, operator_name);

	return psprintf("SELECT count(*)::int, "
					"avg((SELECT count(*) FROM unnest(r.of_a) k WHERE k = ANY (r.of_b))::float8 "
					"/ greatest(cardinality(r.of_a), cardinality(r.of_b))) "
					"FROM (SELECT %s AS of_a, %s AS of_b "
					"FROM (SELECT a.%s FROM %s a JOIN %s b ON b.%s %s a.%s::%s "
					"WHERE a.%s IS NOT NULL AND b.%s IS NOT NULL ORDER BY random() LIMIT $1) s "
					"JOIN %s a ON a.%s %s s.%s JOIN %s b ON b.%s %s s.%s::%s) r "
					"WHERE greatest(cardinality(r.of_a), cardinality(r.of_b)) > 0",
					form_neighbours(a, a_types, "a", operator), form_neighbours(b, b_types, "b", operator),
					key, a_types->target, b_types->target, key, b_types->target_key_equals, key,
					b_types->target_key_type,
					embedding, embedding,
					a_types->target, key, a_types->target_key_equals, key,
					b_types->target, key, b_types->target_key_equals, key, b_types->target_key_type);
}

/*
 * vdb.compare_pipeline_versions(pipeline name, model_version text, sample integer, k integer, operator text):
 * compared integer, overlap double precision
 */
PG_FUNCTION_INFO_V1(vdb_ingest_compare_versions);
Datum
vdb_ingest_compare_versions(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, INT4OID};
	TupleDesc	columns;
	VdbPipeline *pipeline;
	VdbPipeline *version;
	VdbIdentity before;
	Datum		values[2];
	bool		nulls[2];
	char	   *sql;
	HeapTuple	result;

	check_all_given(fcinfo, 5);
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(get_number(fcinfo, 2, MOST_SAMPLED, "sample"));
	values[1] = Int32GetDatum(get_number(fcinfo, 3, MOST_NEIGHBOURS, "k"));
	find_both(fcinfo, VDB_LOCK_NONE, &pipeline, &version);
	sql = form_comparison(pipeline, version, text_to_cstring(PG_GETARG_TEXT_PP(4)));
	SPI_connect();
	vdb_ingest_become_owner(pipeline, &before);
	(void) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
	vdb_ingest_come_back(&before);
	for (int i = 0; i < lengthof(values); i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	SPI_finish();
	result = heap_form_tuple(BlessTupleDesc(columns), values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}

/* --- promoting --------------------------------------------------------------------- */

static void
check_is_filled(const VdbPipeline *version)
{
	static const Oid types[] = {INT4OID};
	Datum		value = Int32GetDatum(version->id);
	VdbIdentity before;
	uint64		waiting;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	waiting = vdb_ingest_run("SELECT FROM vdb.ingest_queue WHERE pipeline = $1 LIMIT 1",
							 lengthof(types), types, &value, NULL);
	vdb_ingest_come_back(&before);
	SPI_finish();
	if (version->state == VDB_STATE_RUNNING && version->load == VDB_LOAD_NONE && waiting == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("version \"%s\" does not have all embeddings yet", version->name),
			 version->state != VDB_STATE_RUNNING ?
			 errdetail("Its state is %s.", vdb_ingest_state_name(version->state)) :
			 version->load != VDB_LOAD_NONE ? errdetail("Its source is being gone through.") :
			 errdetail("Rows wait to be embedded."),
			 errhint("Wait, or promote it with force => true.")));
}

/* As the caller, who must own it. */
static void
rename_table(const char *schema, const char *from, const char *to)
{
	char	   *sql = psprintf("ALTER TABLE %s RENAME TO %s", quote_qualified_identifier(schema, from),
							   quote_identifier(to));
	int			result = SPI_execute(sql, false, 0);

	if (result != SPI_OK_UTILITY)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
}

static void
swap_tables(const VdbPipeline *pipeline, const VdbPipeline *version)
{
	Oid			namespace = get_rel_namespace(pipeline->target);
	char	   *schema = get_namespace_name(namespace);
	char	   *name = get_rel_name(pipeline->target);
	char	   *version_name = get_rel_name(version->target);
	char	   *between = psprintf("vdb_promoted_%u", pipeline->target);

	if (name == NULL || version_name == NULL || get_rel_namespace(version->target) != namespace)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the targets of \"%s\" and \"%s\" are not in one schema", pipeline->name, version->name),
				 errdetail("To promote a version is to swap their names.")));
	SPI_connect();
	rename_table(schema, name, between);
	rename_table(schema, version_name, name);
	rename_table(schema, between, version_name);
	SPI_finish();
}

static void
rename_pipeline(const VdbPipeline *pipeline, const char *name)
{
	static const Oid types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(pipeline->id), CStringGetTextDatum(name)};

	(void) vdb_ingest_run("UPDATE vdb.pipeline SET name = $2::name WHERE id = $1",
						  lengthof(types), types, values, NULL);
}

/* The version becomes the pipeline, and the pipeline, with all its versions, a version of it. */
static void
swap_pipelines(const VdbPipeline *pipeline, const VdbPipeline *version)
{
	static const Oid types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(pipeline->id), Int32GetDatum(version->id)};
	const char *old_version = pipeline->model_version != NULL ? pipeline->model_version : NO_VERSION;
	VdbIdentity before;

	SPI_connect();
	vdb_ingest_become_keeper(&before);
	rename_pipeline(version, psprintf("@%d", version->id));
	rename_pipeline(pipeline, form_name(pipeline->name, old_version));
	rename_pipeline(version, pipeline->name);
	(void) vdb_ingest_run("UPDATE vdb.pipeline SET version_of = CASE id WHEN $2 THEN NULL ELSE $2 END "
						  "WHERE version_of = $1 OR id IN ($1, $2)", lengthof(types), types, values, NULL);
	vdb_ingest_come_back(&before);
	SPI_finish();
	vdb_ingest_tell();
}

/* vdb.promote_pipeline_version(pipeline name, model_version text, force boolean) */
PG_FUNCTION_INFO_V1(vdb_ingest_promote_version);
Datum
vdb_ingest_promote_version(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline;
	VdbPipeline *version;

	check_all_given(fcinfo, 3);
	find_both(fcinfo, VDB_LOCK_DEFINITION, &pipeline, &version);
	if (!PG_GETARG_BOOL(2))
		check_is_filled(version);
	swap_tables(pipeline, version);
	swap_pipelines(pipeline, version);
	PG_RETURN_VOID();
}

/* vdb.retire_pipeline_version(pipeline name, model_version text, drop_target boolean) */
PG_FUNCTION_INFO_V1(vdb_ingest_retire_version);
Datum
vdb_ingest_retire_version(PG_FUNCTION_ARGS)
{
	VdbPipeline *pipeline;
	VdbPipeline *version;

	check_all_given(fcinfo, 3);
	find_both(fcinfo, VDB_LOCK_DEFINITION, &pipeline, &version);
	vdb_ingest_delete_pipeline(version);
	if (PG_GETARG_BOOL(2) && OidIsValid(get_rel_namespace(version->target)))
	{
		char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(version->target)),
													   get_rel_name(version->target));
		int			result;

		SPI_connect();
		result = SPI_execute(psprintf("DROP TABLE %s", table), false, 0);
		if (result != SPI_OK_UTILITY)
			elog(ERROR, "could not drop %s: %s", table, SPI_result_code_string(result));
		SPI_finish();
	}
	PG_RETURN_VOID();
}
