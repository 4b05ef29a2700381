/*
 * ingest_resolve.c
 *	  What a pipeline's names stand for now.
 *
 * It is asked before each batch, so it looks only at caches of the catalog, and locks no more than what is asked for.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "ingest/ingest_private.h"

/* What is found in the catalog by the names of functions in this library. */
#define VECTOR_INPUT "vdb_vector_in"
#define HALFVEC_INPUT "vdb_halfvec_in"

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

/* A name that was looked up.  Who drops what has it may do so from one look to the next. */
static const char *
quote_found(const char *name)
{
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("what a pipeline names was dropped at this moment")));
	return quote_identifier(name);
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
	name = psprintf("OPERATOR(%s.%s)", quote_found(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

static char *
name_table(Oid table)
{
	return psprintf("%s.%s", quote_found(get_namespace_name(get_rel_namespace(table))), quote_found(get_rel_name(table)));
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

/* What to do about a column that is not there, which an argument of vdb.create_pipeline() names. */
static const char *
advise_column(const VdbPipeline *pipeline, const char *argument)
{
	if (pipeline->id == 0)
		return psprintf("Name another one by the argument \"%s\".", argument);
	if (strcmp(argument, "content") == 0)
		return "Name another one by vdb.alter_pipeline(), or rename it back.";
	return "Rename it back, or drop the pipeline and create it anew.";
}

/* A column's number and type; an error where there is none. */
static AttrNumber
find_column(const VdbPipeline *pipeline, Oid table, const char *argument, const char *name, Oid *type, int32 *typmod)
{
	AttrNumber	number = get_attnum(table, name);
	Oid			collation;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table %s does not exist", name, name_table(table)),
				 errdetail("Pipeline \"%s\" wants it.", pipeline->name),
				 errhint("%s", advise_column(pipeline, argument))));
	get_atttypetypmodcoll(table, number, type, typmod, &collation);
	return number;
}

/* A key's column: the name of its type, and of the operators that find rows by it, and those that come after. */
static TypeCacheEntry *
resolve_key(const VdbPipeline *pipeline, Oid table, const char *argument, const char *name,
			char **type_name, char **equals, char **after)
{
	Oid			type;
	int32		typmod;
	TypeCacheEntry *entry;

	(void) find_column(pipeline, table, argument, name, &type, &typmod);
	entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY | TYPECACHE_EQ_OPR | TYPECACHE_GT_OPR);
	if (!OidIsValid(entry->btree_opf) || !OidIsValid(entry->eq_opr) || !OidIsValid(entry->gt_opr))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s cannot be a key", name, name_table(table)),
				 errdetail("Type %s has no order.", format_type_be(type))));
	*type_name = name_type(type);
	*equals = name_operator(entry->eq_opr);
	*after = name_operator(entry->gt_opr);
	return entry;
}

/* The operator that compares keys of the source with those of the target. */
static void
resolve_keys(const VdbPipeline *pipeline, VdbPipelineTypes *types)
{
	TypeCacheEntry *source = resolve_key(pipeline, pipeline->source, "key", pipeline->key,
										 &types->key_type, &types->key_equals, &types->key_after);
	TypeCacheEntry *target = resolve_key(pipeline, pipeline->target, "target_key", pipeline->target_key,
										 &types->target_key_type, &types->target_key_equals, &types->target_key_after);
	Oid			equals = get_opfamily_member(source->btree_opf, source->btree_opintype, target->btree_opintype,
											 BTEqualStrategyNumber);

	if (source->btree_opf != target->btree_opf || !OidIsValid(equals))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("keys of the source are of type %s, those of the target of type %s",
						format_type_be(source->type_id), format_type_be(target->type_id)),
				 errhint("Use types that can be compared with each other.")));
	types->keys_equal = name_operator(equals);
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
	(void) find_column(pipeline, pipeline->source, "content", pipeline->content, &types->content_type, &typmod);
	if (pipeline->mode == VDB_MODE_COPY ? !is_copied_type(types->content_type) :
		!vdb_ingest_is_text_type(types->content_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s is of type %s", pipeline->content, types->source_name,
						format_type_be(types->content_type)),
				 errdetail("Pipeline \"%s\" wants %s.", pipeline->name,
						   pipeline->mode == VDB_MODE_COPY ?
						   "vector, halfvec, real[] or double precision[], to copy it" : "text, to embed it"),
				 pipeline->mode == VDB_MODE_COPY ? 0 :
				 is_copied_type(types->content_type) ? errhint("To have it copied, leave out \"embed\".") :
				 errhint("A generated column may hold it as text.")));
}

static void
resolve_target(const VdbPipeline *pipeline, VdbPipelineTypes *types)
{
	check_table(pipeline, "target", pipeline->target, true);
	types->same_table = pipeline->target == pipeline->source;
	types->target_name = name_table(pipeline->target);
	types->target = types->same_table ? types->source : types->target_name;
	(void) find_column(pipeline, pipeline->target, "embedding", pipeline->embedding,
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
	resolve_keys(pipeline, types);
	resolve_function(pipeline, types);
	check_privileges(pipeline, types);
	check_row_security(pipeline, types);
	return types;
}

VdbPipelineTypes *
vdb_ingest_resolve_locked(const VdbPipeline *pipeline, LOCKMODE source, LOCKMODE target)
{
	if (source != NoLock)
		LockRelationOid(pipeline->source, source);
	if (target != NoLock)
		LockRelationOid(pipeline->target, target);
	return vdb_ingest_resolve(pipeline);
}
