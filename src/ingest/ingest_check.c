/*
 * ingest_check.c
 *	  What a pipeline's tables must have, beside the columns that it names, and what the server must.
 *
 * It is looked at when somebody defines a pipeline or has it go on, not each time that
 * something is embedded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "ingest/ingest_private.h"

void
vdb_ingest_check_server(void)
{
	if (!vdb_ingest_is_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipelines need the library vdb to be preloaded"),
				 errhint("Add vdb to shared_preload_libraries, and restart the server.")));
	if (!XLogLogicalInfoActive())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipelines need wal_level to be logical"),
				 errhint("Set wal_level = logical, and restart the server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Pipelines are defined on the primary.")));
}

static void
check_is_ours_to_use(const char *what, Relation rel)
{
	if (IsCatalogRelation(rel) || RelationGetNamespace(rel) == get_namespace_oid("vdb", true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the %s of a pipeline cannot be \"%s\"", what, RelationGetRelationName(rel)),
				 errdetail("It is a table of the server's or of this extension.")));
}

/* Has a column a unique index of its own, that holds for all rows at all times? */
static bool
is_unique(Relation rel, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		found = false;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		found = found ||
			(index->indisunique && index->indisvalid && index->indimmediate && index->indnkeyatts == 1 &&
			 index->indkey.values[0] == column && heap_attisnull(tuple, Anum_pg_index_indpred, NULL));
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

static void
check_unique(Relation rel, const char *name)
{
	if (!is_unique(rel, get_attnum(RelationGetRelid(rel), name)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table \"%s\" is not unique", name, RelationGetRelationName(rel)),
				 errdetail("A key needs a unique index on it alone, that is neither partial nor deferrable."),
				 errhint("Make it the primary key, or CREATE UNIQUE INDEX.")));
}

/* A row that is deleted, or gets another key, must say in the log which key it had. */
static void
check_replica_identity(Relation rel, const char *key)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), key);
	Bitmapset  *columns;

	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return;
	columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	if (!bms_is_member(number - FirstLowInvalidHeapAttributeNumber, columns))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replica identity of table \"%s\" does not have column \"%s\"",
						RelationGetRelationName(rel), key),
				 errdetail("Without it, the log does not say which row was deleted."),
				 errhint("Make it the primary key, or use ALTER TABLE ... REPLICA IDENTITY USING INDEX, or FULL.")));
	bms_free(columns);
}

/* Texts of keys are read again by whoever works on them, with other settings, and in arrays. */
static void
check_key_type(const FormData_pg_attribute *column)
{
	Oid			type = getBaseType(column->atttypid);

	if (type == MONEYOID || OidIsValid(get_element_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be the key of a pipeline", NameStr(column->attname),
						format_type_be(column->atttypid)),
				 errhint("Use a number, a text or a UUID.")));
}

/* Each row would fail; of an array nobody knows. */
static void
check_dimensions(const VdbPipeline *pipeline, const VdbPipelineTypes *types, Form_pg_attribute content)
{
	if (pipeline->mode != VDB_MODE_COPY || content->atttypmod <= 0 || types->embedding_typmod <= 0 ||
		content->atttypmod == types->embedding_typmod)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of the source has %d dimensions, column \"%s\" of the target %d",
					pipeline->content, content->atttypmod, pipeline->embedding, types->embedding_typmod),
			 errhint("Have both the same.")));
}

static void
check_source(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	Relation	rel = table_open(pipeline->source, AccessShareLock);
	AttrNumber	key = get_attnum(pipeline->source, pipeline->key);
	AttrNumber	content = get_attnum(pipeline->source, pipeline->content);

	check_is_ours_to_use("source", rel);
	check_unique(rel, pipeline->key);
	if (!TupleDescAttr(RelationGetDescr(rel), key - 1)->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table \"%s\" may be null", pipeline->key, RelationGetRelationName(rel)),
				 errhint("ALTER TABLE ... ALTER COLUMN ... SET NOT NULL.")));
	check_key_type(TupleDescAttr(RelationGetDescr(rel), key - 1));
	check_replica_identity(rel, pipeline->key);

	/* such a column is not stored, nor in the log */
	if (pipeline->mode == VDB_MODE_COPY && TupleDescAttr(RelationGetDescr(rel), content - 1)->attgenerated == 'v')
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("column \"%s\" of table \"%s\" is virtual", pipeline->content, RelationGetRelationName(rel)),
				 errhint("Have it stored.")));
	check_dimensions(pipeline, types, TupleDescAttr(RelationGetDescr(rel), content - 1));
	table_close(rel, NoLock);
}

/* A column of the target that a pipeline writes. */
static bool
is_written(const VdbPipeline *pipeline, const VdbPipelineTypes *types, const char *name)
{
	return strcmp(name, pipeline->target_key) == 0 || strcmp(name, pipeline->embedding) == 0 ||
		(types->has_source_hash && strcmp(name, "source_hash") == 0) ||
		(types->has_embedded_at && strcmp(name, "embedded_at") == 0) ||
		(types->has_model_version && pipeline->model_version != NULL && strcmp(name, "model_version") == 0);
}

/* A row that only has what a pipeline writes must be one. */
static void
check_other_columns(const VdbPipeline *pipeline, const VdbPipelineTypes *types, Relation rel)
{
	TupleDesc	columns = RelationGetDescr(rel);

	/* that may give them a value */
	if (rel->trigdesc != NULL && rel->trigdesc->trig_insert_before_row)
		return;
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);

		if (column->attisdropped || !column->attnotnull || column->atthasdef || column->attidentity != '\0' ||
			is_written(pipeline, types, NameStr(column->attname)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table \"%s\" needs a value that a pipeline does not give it",
						NameStr(column->attname), RelationGetRelationName(rel)),
				 errhint("Give it a default, or let it be null.")));
	}
}

/* What is put off to the end of a transaction would run as another user there. */
static void
check_triggers(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tginitdeferred)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("table \"%s\" has a trigger or constraint that is deferred",
							RelationGetRelationName(rel)),
					 errdetail("It is \"%s\".", trigger->tgname),
					 errhint("Make it INITIALLY IMMEDIATE.")));
	}
}

/* Loops are what a table that is its own target is prone to. */
static void
check_same_table(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	if (strcmp(pipeline->key, pipeline->target_key) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key and target_key of a table that is its own target must be the same column")));
	if (strcmp(pipeline->content, pipeline->embedding) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("content and embedding are the same column, \"%s\"", pipeline->content)));
	if (pipeline->mode != VDB_MODE_COPY && !types->has_source_hash)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table %s has no column \"source_hash\" of type text", types->source_name),
				 errdetail("Where a table is its own target, that column tells a new text from a new embedding."),
				 errhint("ALTER TABLE %s ADD COLUMN source_hash text.", types->source_name)));
}

static void
check_target(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	Relation	rel = table_open(pipeline->target, AccessShareLock);

	check_is_ours_to_use("target", rel);
	if (types->same_table)
		check_same_table(pipeline, types);
	else
	{
		check_unique(rel, pipeline->target_key);
		check_other_columns(pipeline, types, rel);
		check_triggers(rel);
	}
	table_close(rel, NoLock);
}

/*
 * Rows of a target that its source does not have are deleted, so it must not be the target of another
 * one; of a table that is its own, each column may be.
 */
static void
check_is_free(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	List	   *others = vdb_ingest_list_pipelines();
	ListCell   *cell;

	foreach(cell, others)
	{
		const VdbPipeline *other = lfirst(cell);

		if (other->id == pipeline->id || other->target != pipeline->target)
			continue;
		if (types->same_table && other->source == other->target &&
			strcmp(other->embedding, pipeline->embedding) != 0)
		{
			/* what our processes write to such a table does not call for more, so the second would not see the first */
			if (strcmp(other->embedding, pipeline->content) == 0 || strcmp(other->content, pipeline->embedding) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_IN_USE),
						 errmsg("pipelines of one table cannot follow each other"),
						 errdetail("Pipeline \"%s\" writes column \"%s\" from column \"%s\".",
								   other->name, other->embedding, other->content),
						 errhint("Give one of them another table as its target.")));
			continue;
		}
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table %s is the target of another pipeline", types->target_name),
				 errdetail("Each deletes rows there that its own source does not have."),
				 errhint("Give each pipeline a target of its own.")));
	}
}

VdbPipelineTypes *
vdb_ingest_check_pipeline(const VdbPipeline *pipeline)
{
	VdbPipelineTypes *types = vdb_ingest_resolve(pipeline);

	check_source(pipeline, types);
	check_target(pipeline, types);
	check_is_free(pipeline, types);
	return types;
}
