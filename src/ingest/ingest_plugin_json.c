/*
 * ingest_plugin_json.c
 *	  The JSON format of the output plugin: an object a line for each event.
 *
 * A column is a JSON number, boolean, array or value where its type has one, else a string with
 * the text that the type has for it.  A line is written in the encoding of the database; where that
 * is not UTF-8, which JSON asks for, other characters than ASCII are written as \uXXXX, so that a line is
 * valid in both.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest/ingest_plugin_private.h"

static const char *
name_action(VdbPluginAction action)
{
	switch (action)
	{
		case VDB_ACTION_BEGIN:
			return "begin";
		case VDB_ACTION_INSERT:
			return "insert";
		case VDB_ACTION_UPDATE:
			return "update";
		case VDB_ACTION_DELETE:
			return "delete";
		case VDB_ACTION_TRUNCATE:
			return "truncate";
		case VDB_ACTION_MESSAGE:
			return "message";
		case VDB_ACTION_COMMIT:
			return "commit";
	}
	return NULL;				/* keep compiler quiet */
}

static void
append_string(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, ",\"%s\":", key);
	escape_json(out, value);
}

static void
append_bool(StringInfo out, const char *key, bool value)
{
	appendStringInfo(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void
append_lsn(StringInfo out, const char *key, XLogRecPtr lsn)
{
	appendStringInfo(out, ",\"%s\":\"%X/%X\"", key, LSN_FORMAT_ARGS(lsn));
}

/* As a string, with its quotes. */
static void
append_base64(StringInfo out, const char *data, int size)
{
	int			room = pg_b64_enc_len(size);
	int			length;

	appendStringInfoChar(out, '"');
	enlargeStringInfo(out, room);
	/* without a type: 18 has bytes here */
	length = pg_b64_encode((const void *) data, size, out->data + out->len, room);
	if (length < 0)
		elog(ERROR, "base64 of %d bytes does not fit", size);
	out->len += length;
	appendStringInfoChar(out, '"');
}

/* JSON text may have line breaks between its tokens, and nowhere else. */
static void
append_json_value(StringInfo out, const char *text)
{
	int			start = out->len;

	appendStringInfoString(out, text);
	for (char *c = out->data + start; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
}

/* Text of a number: but NaN and infinities are not numbers in JSON. */
static void
append_number(StringInfo out, const char *text)
{
	if (text[strlen(text) - 1] >= '0' && text[strlen(text) - 1] <= '9')
		appendStringInfoString(out, text);
	else
		escape_json(out, text);
}

static void
append_value(StringInfo out, const VdbPluginOptions *options, const VdbPluginColumn *column)
{
	Oid			output;
	bool		is_varlena;
	FmgrInfo	function;
	char	   *text;

	if (column->is_null)
	{
		appendStringInfoString(out, "null");
		return;
	}
	if (options->vectors == VDB_VECTORS_BASE64 && vdb_plugin_is_vector(column->type))
	{
		Oid			send;
		bytea	   *bytes;

		getTypeBinaryOutputInfo(column->type, &send, &is_varlena);
		bytes = OidSendFunctionCall(send, column->value);
		append_base64(out, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
		return;
	}

	getTypeOutputInfo(column->type, &output, &is_varlena);
	fmgr_info(output, &function);
	text = OutputFunctionCall(&function, column->value);
	switch (getBaseType(column->type))
	{
		case BOOLOID:
			appendStringInfoString(out, text[0] == 't' ? "true" : "false");
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			append_number(out, text);
			break;
		case JSONOID:
		case JSONBOID:
			append_json_value(out, text);
			break;
		default:
			/* what these write is an array of numbers, in JSON too */
			if (function.fn_addr == vdb_vector_out || function.fn_addr == vdb_halfvec_out)
				appendStringInfoString(out, text);
			else
				escape_json(out, text);
	}
	pfree(text);
}

/* An object of the columns that have a value in the log. */
static void
append_row(StringInfo out, const VdbPluginOptions *options, const char *key, const VdbPluginRow *row)
{
	const char *separator = "";

	appendStringInfo(out, ",\"%s\":{", key);
	for (int i = 0; i < row->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (row->columns[i].is_unchanged)
			continue;
		appendStringInfoString(out, separator);
		escape_json(out, row->columns[i].name);
		appendStringInfoChar(out, ':');
		append_value(out, options, &row->columns[i]);
		separator = ",";
	}
	appendStringInfoChar(out, '}');
}

/* An array of the names of those that have none; nothing if all have one. */
static void
append_unchanged(StringInfo out, const VdbPluginRow *row)
{
	const char *separator = ",\"unchanged\":[";
	const char *end = "";

	for (int i = 0; i < row->count; i++)
	{
		if (!row->columns[i].is_unchanged)
			continue;
		appendStringInfoString(out, separator);
		escape_json(out, row->columns[i].name);
		separator = ",";
		end = "]";
	}
	appendStringInfoString(out, end);
}

static void
append_types(StringInfo out, const VdbPluginRow *row)
{
	appendStringInfoString(out, ",\"types\":{");
	for (int i = 0; i < row->count; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		escape_json(out, row->columns[i].name);
		appendStringInfoChar(out, ':');
		escape_json(out, format_type_with_typemod(row->columns[i].type, row->columns[i].typmod));
	}
	appendStringInfoChar(out, '}');
}

static void
append_change(StringInfo out, const VdbPluginOptions *options, const VdbPluginEvent *event)
{
	const VdbPluginRow *last = event->new_row != NULL ? event->new_row : event->old_row;

	if (event->new_row != NULL)
	{
		append_row(out, options, "new", event->new_row);
		append_unchanged(out, event->new_row);
	}
	if (event->old_row != NULL)
		append_row(out, options, "old", event->old_row);
	if (options->include_types && last != NULL)
		append_types(out, last);
}

/* The content is a string if it is text, which nobody promises. */
static void
append_message(StringInfo out, const VdbPluginEvent *event)
{
	append_bool(out, "transactional", event->is_transactional);
	append_string(out, "prefix", event->prefix);
	if (pg_verify_mbstr(GetDatabaseEncoding(), event->content, event->content_size, true))
		append_string(out, "content", pnstrdup(event->content, event->content_size));
	else
	{
		appendStringInfoString(out, ",\"content_base64\":");
		append_base64(out, event->content, event->content_size);
	}
}

/*
 * Writes characters other than ASCII, from the place `start` on, as JSON does in ASCII.  They are
 * nowhere but in strings.
 */
static void
escape_characters(StringInfo out, int start)
{
	char	   *line = pnstrdup(out->data + start, out->len - start);
	const unsigned char *p = (const unsigned char *) pg_server_to_any(line, out->len - start, PG_UTF8);

	out->len = start;
	while (*p != '\0')
	{
		pg_wchar	code = utf8_to_unicode(p);

		if (code < 0x80)
			appendStringInfoCharMacro(out, (char) code);
		else if (code < 0x10000)
			appendStringInfo(out, "\\u%04x", (unsigned int) code);
		else
			appendStringInfo(out, "\\u%04x\\u%04x",
							 (unsigned int) (0xd800 + ((code - 0x10000) >> 10)),
							 (unsigned int) (0xdc00 + ((code - 0x10000) & 0x3ff)));
		p += pg_utf_mblen(p);
	}
}

/*
 * Appends the line of an event, without a line break.  Raises what the output function of a type
 * raises; what is allocated meanwhile is in the current memory context.
 */
void
vdb_plugin_append_json(StringInfo out, const VdbPluginOptions *options, const VdbPluginEvent *event)
{
	int			start = out->len;
	bool		is_bound = event->action == VDB_ACTION_BEGIN || event->action == VDB_ACTION_COMMIT;

	appendStringInfo(out, "{\"action\":\"%s\"", name_action(event->action));
	if (TransactionIdIsValid(event->xid) && (is_bound || options->include_xids))
		appendStringInfo(out, ",\"xid\":%u", event->xid);
	if (is_bound || options->include_lsn)
		append_lsn(out, "lsn", event->lsn);
	if (event->action == VDB_ACTION_COMMIT)
		append_lsn(out, "end_lsn", event->end_lsn);
	if (TransactionIdIsValid(event->xid) && (is_bound || options->include_timestamp))
		append_string(out, "timestamp", timestamptz_to_str(event->commit_time));
	if (event->origin != NULL)
		append_string(out, "origin", event->origin);
	if (event->table != NULL)
	{
		append_string(out, "schema", event->schema);
		append_string(out, "table", event->table);
	}

	if (event->action == VDB_ACTION_TRUNCATE)
	{
		append_bool(out, "cascade", event->cascade);
		append_bool(out, "restart_identity", event->restart_identity);
	}
	else if (event->action == VDB_ACTION_MESSAGE)
		append_message(out, event);
	else
		append_change(out, options, event);
	appendStringInfoChar(out, '}');

	/* of SQL_ASCII nobody knows the encoding: bytes stay as they are */
	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
		escape_characters(out, start);
}
