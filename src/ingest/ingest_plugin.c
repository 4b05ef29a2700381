/*
 * ingest_plugin.c
 *	  An output plugin for logical decoding: what happened to tables, as JSON or in a binary form.
 *
 * Here are the callbacks, which turn what the server hands over into an event, and have a format
 * write it: ingest_plugin_json.c or ingest_plugin_binary.c.  Options and filters are in
 * ingest_plugin_options.c.
 *
 * Catalogs are seen as they were when the change was made; nothing may be written, and no table be
 * read.  A value out of line that did not change is not in the log, and so is named but never
 * fetched: the one that the table has today may be another one, or gone.  Transactions are written
 * when they have committed: those in progress are not streamed, and a prepared one is written when
 * its COMMIT PREPARED comes, which is what the server does for a plugin without such callbacks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "ingest/ingest_plugin_private.h"

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);

/* After so many changes of which none was written, the client is shown that we are alive. */
#define SKIPPED_CHANGES 100

typedef struct Plugin
{
	VdbPluginOptions options;
	MemoryContext event_context;	/* emptied after each event */
	int			skipped;
} Plugin;

static void start(LogicalDecodingContext *ctx, OutputPluginOptions *output, bool is_init);
static void begin_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
						 ReorderBufferChange *change);
static void write_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int count,
						   Relation relations[], ReorderBufferChange *change);
static void write_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
						  bool is_transactional, const char *prefix, Size size, const char *content);
static void end_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn);
static bool is_unwanted_origin(LogicalDecodingContext *ctx, RepOriginId origin);

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = start;
	callbacks->begin_cb = begin_transaction;
	callbacks->change_cb = write_change;
	callbacks->truncate_cb = write_truncate;
	callbacks->message_cb = write_message;
	callbacks->commit_cb = end_transaction;
	callbacks->filter_by_origin_cb = is_unwanted_origin;
}

static void
start(LogicalDecodingContext *ctx, OutputPluginOptions *output, bool is_init)
{
	Plugin	   *plugin = palloc0(sizeof(Plugin));

	vdb_plugin_read_options(&plugin->options, ctx->output_plugin_options);
	plugin->event_context = AllocSetContextCreate(ctx->context, "vdb output plugin event",
												  ALLOCSET_DEFAULT_SIZES);
	ctx->output_plugin_private = plugin;
	output->output_type = plugin->options.format == VDB_FORMAT_BINARY ?
		OUTPUT_PLUGIN_BINARY_OUTPUT : OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
}

/*
 * Whether values of the type, or elements of its values, are of a type of this extension: one
 * whose values are written by a function of this library.
 */
bool
vdb_plugin_is_vector(Oid type)
{
	Oid			element = get_base_element_type(type);
	Oid			output;
	bool		is_varlena;
	FmgrInfo	function;

	getTypeOutputInfo(OidIsValid(element) ? element : type, &output, &is_varlena);
	fmgr_info(output, &function);
	return function.fn_addr == vdb_vector_out || function.fn_addr == vdb_halfvec_out ||
		function.fn_addr == vdb_sparsevec_out;
}

static void
write_event(LogicalDecodingContext *ctx, const VdbPluginEvent *event)
{
	const Plugin *plugin = ctx->output_plugin_private;

	OutputPluginPrepareWrite(ctx, true);
	if (plugin->options.format == VDB_FORMAT_BINARY)
		vdb_plugin_append_binary(ctx->out, event);
	else
		vdb_plugin_append_json(ctx->out, &plugin->options, event);
	OutputPluginWrite(ctx, true);
}

/*
 * What is allocated for events goes to a context that is emptied after each callback.  An error
 * leaves it to whoever frees the decoding context.
 */
static MemoryContext
enter(LogicalDecodingContext *ctx)
{
	const Plugin *plugin = ctx->output_plugin_private;

	return MemoryContextSwitchTo(plugin->event_context);
}

static void
leave(LogicalDecodingContext *ctx, MemoryContext before)
{
	const Plugin *plugin = ctx->output_plugin_private;

	MemoryContextSwitchTo(before);
	MemoryContextReset(plugin->event_context);
}

/* A long run of changes that are not written must not look like a dead server. */
static void
skip_change(LogicalDecodingContext *ctx)
{
	Plugin	   *plugin = ctx->output_plugin_private;

	if (++plugin->skipped % SKIPPED_CHANGES == 0)
		OutputPluginUpdateProgress(ctx, false);
}

static VdbPluginEvent
make_event(VdbPluginAction action, const ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	VdbPluginEvent event = {.action = action, .lsn = lsn};

	if (txn != NULL)
	{
		event.xid = txn->xid;
		event.commit_time = txn->xact_time.commit_time;
	}
	return event;
}

/*
 * Transactions of which nothing is written have no BEGIN either, so it waits for the first event.
 * The transaction remembers by a pointer that is not NULL that it was written.
 */
static void
begin_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	txn->output_plugin_private = NULL;
}

static void
write_begin_once(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	VdbPluginEvent event = make_event(VDB_ACTION_BEGIN, txn, txn->final_lsn);
	char	   *origin;

	if (txn->output_plugin_private != NULL)
		return;
	if (txn->origin_id != InvalidRepOriginId && replorigin_by_oid(txn->origin_id, true, &origin))
		event.origin = origin;
	write_event(ctx, &event);
	txn->output_plugin_private = ctx->output_plugin_private;
}

static void
end_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	bool		is_begun = txn->output_plugin_private != NULL;
	MemoryContext before = enter(ctx);

	OutputPluginUpdateProgress(ctx, !is_begun);
	if (is_begun)
	{
		VdbPluginEvent event = make_event(VDB_ACTION_COMMIT, txn, commit_lsn);

		event.end_lsn = txn->end_lsn;
		write_event(ctx, &event);
	}
	leave(ctx, before);
}

/*
 * The columns of a row that are chosen; NULL where there is no row.  A key that was logged without
 * the rest of its row has nulls in place of that, which are left out.
 */
static const VdbPluginRow *
read_row(const VdbPluginOptions *options, const char *schema, Relation relation, HeapTuple tuple,
		 bool is_key)
{
	TupleDesc	desc = RelationGetDescr(relation);
	VdbPluginRow *row;
	Datum	   *values;
	bool	   *nulls;

	if (tuple == NULL)
		return NULL;

	row = palloc0(offsetof(VdbPluginRow, columns) + sizeof(VdbPluginColumn) * desc->natts);
	values = palloc(sizeof(Datum) * desc->natts);
	nulls = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(tuple, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		VdbPluginColumn *column = &row->columns[row->count];

		if ((is_key && nulls[i]) || !vdb_plugin_wants_column(options, schema, relation, i))
			continue;
		column->name = NameStr(attribute->attname);
		column->type = attribute->atttypid;
		column->typmod = attribute->atttypmod;
		column->is_null = nulls[i];
		column->is_unchanged = !nulls[i] && attribute->attlen == -1 &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[i]));
		column->value = values[i];
		row->count++;
	}
	return row;
}

/*
 * Makes text of dates, numbers and bytes the same whatever the session has set.  What is changed
 * is set back by AtEOXact_GUC(true, ...) of the result, or by the end of the transaction.
 */
static int
fix_settings(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"},
		{"intervalstyle", "postgres"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"},
	};
	const bool	is_other[] = {
		DateStyle != USE_ISO_DATES,
		IntervalStyle != INTSTYLE_POSTGRES,
		extra_float_digits < 1,
		bytea_output != BYTEA_OUTPUT_HEX,
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
	{
		if (is_other[i])
			(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
	return level;
}

static VdbPluginAction
action_of(const ReorderBufferChange *change)
{
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			return VDB_ACTION_INSERT;
		case REORDER_BUFFER_CHANGE_UPDATE:
			return VDB_ACTION_UPDATE;
		case REORDER_BUFFER_CHANGE_DELETE:
			return VDB_ACTION_DELETE;
		default:
			elog(ERROR, "unexpected kind of change: %d", (int) change->action);
	}
}

static void
write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
			 ReorderBufferChange *change)
{
	const Plugin *plugin = ctx->output_plugin_private;
	const VdbPluginOptions *options = &plugin->options;
	MemoryContext before = enter(ctx);
	const char *schema = get_namespace_name(RelationGetNamespace(relation));

	if (vdb_plugin_wants_table(options, schema, relation))
	{
		bool		is_key = relation->rd_rel->relreplident != REPLICA_IDENTITY_FULL;
		VdbPluginEvent event = make_event(action_of(change), txn, change->lsn);
		int			level = fix_settings();

		write_begin_once(ctx, txn);
		event.relid = RelationGetRelid(relation);
		event.schema = schema;
		event.table = RelationGetRelationName(relation);
		event.old_row = read_row(options, schema, relation, vdb_change_tuple(change->data.tp.oldtuple), is_key);
		event.new_row = read_row(options, schema, relation, vdb_change_tuple(change->data.tp.newtuple), false);
		write_event(ctx, &event);
		AtEOXact_GUC(true, level);
	}
	else
		skip_change(ctx);
	leave(ctx, before);
}

/* An event for each table, as there is one for each row. */
static void
write_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int count, Relation relations[],
			   ReorderBufferChange *change)
{
	const Plugin *plugin = ctx->output_plugin_private;
	MemoryContext before;

	if (!plugin->options.include_truncate)
		return;

	before = enter(ctx);
	for (int i = 0; i < count; i++)
	{
		const char *schema = get_namespace_name(RelationGetNamespace(relations[i]));
		VdbPluginEvent event = make_event(VDB_ACTION_TRUNCATE, txn, change->lsn);

		if (!vdb_plugin_wants_table(&plugin->options, schema, relations[i]))
			continue;
		write_begin_once(ctx, txn);
		event.relid = RelationGetRelid(relations[i]);
		event.schema = schema;
		event.table = RelationGetRelationName(relations[i]);
		event.cascade = change->data.truncate.cascade;
		event.restart_identity = change->data.truncate.restart_seqs;
		write_event(ctx, &event);
	}
	leave(ctx, before);
}

/*
 * A message outside transactions comes without one of ours as well, but converting text to UTF-8
 * asks catalogs.
 */
static void
write_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn, bool is_transactional,
			  const char *prefix, Size size, const char *content)
{
	const Plugin *plugin = ctx->output_plugin_private;
	VdbPluginEvent event = make_event(VDB_ACTION_MESSAGE, is_transactional ? txn : NULL, lsn);
	bool		is_alone = !IsTransactionState() && GetDatabaseEncoding() != PG_UTF8;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext before;

	if (!plugin->options.include_messages)
		return;

	if (is_alone)
		StartTransactionCommand();
	before = enter(ctx);
	if (is_transactional)
		write_begin_once(ctx, txn);
	event.is_transactional = is_transactional;
	event.prefix = prefix;
	event.content = content;
	event.content_size = size;
	write_event(ctx, &event);
	leave(ctx, before);
	if (is_alone)
	{
		AbortCurrentTransaction();
		MemoryContextSwitchTo(caller);
	}
}

/* As pgoutput's: a change has an origin if it arrived by replication. */
static bool
is_unwanted_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	const Plugin *plugin = ctx->output_plugin_private;

	return plugin->options.origin == VDB_ORIGIN_NONE && origin != InvalidRepOriginId;
}
