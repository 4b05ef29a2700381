/*
 * ingest_plugin_binary.c
 *	  The binary format of the output plugin: a message for each event, values as types send them.
 *
 * All numbers are in network order.  Strings end with a zero byte; they, and text in values, are in the
 * client_encoding of the session.  A message tells all that is needed to read it, and where it ends:
 *
 *	kind		byte: B, I, U, D, T, M, C
 *	length		int32, of what follows it
 *	xid			int32, 0 for a message outside transactions
 *	lsn			int64, of the change; of the commit in B and C
 *	time		int64, of the commit: microseconds since 2000-01-01 00:00 UTC; 0 with xid 0
 *
 * and then
 *
 *	B			string: name of the replication origin, empty where there is none
 *	C			int64: LSN after the commit, which is the one to confirm
 *	I, U, D		int32: OID of the table; string: schema; string: table; rows; byte: 0
 *	T			int32, string, string as above; byte: 1 for CASCADE + 2 for RESTART IDENTITY
 *	M			byte: 1 if transactional; string: prefix; int32: length of content; content
 *
 * A row is a byte, 'N' for the new one or 'O' for the old one, an int16 with the number of columns,
 * and for each
 *
 *	name		string
 *	type		int32, OID
 *	modifier	int32, -1 for none
 *	form		byte: n null, u unchanged and not in the log, b as sent, t as text, where the type
 *				cannot send
 *	length		int32, and that many bytes, for b and t
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "ingest/ingest_plugin_private.h"

/* Whether the type has a function that sends its values; that of an array needs that of its elements. */
static bool
has_send_function(Oid type)
{
	Oid			element = get_base_element_type(type);
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		has;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	has = OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typsend);
	ReleaseSysCache(tuple);
	return has && (!OidIsValid(element) || has_send_function(element));
}

static void
append_value(StringInfo out, const VdbPluginColumn *column)
{
	Oid			function;
	bool		is_varlena;

	if (has_send_function(column->type))
	{
		bytea	   *bytes;

		getTypeBinaryOutputInfo(column->type, &function, &is_varlena);
		bytes = OidSendFunctionCall(function, column->value);
		pq_sendbyte(out, 'b');
		pq_sendint32(out, VARSIZE(bytes) - VARHDRSZ);
		pq_sendbytes(out, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
		pfree(bytes);
	}
	else
	{
		char	   *text;

		getTypeOutputInfo(column->type, &function, &is_varlena);
		text = pg_server_to_client(OidOutputFunctionCall(function, column->value), -1);
		pq_sendbyte(out, 't');
		pq_sendint32(out, strlen(text));
		pq_sendbytes(out, text, strlen(text));
	}
}

static void
append_row(StringInfo out, char kind, const VdbPluginRow *row)
{
	pq_sendbyte(out, kind);
	pq_sendint16(out, row->count);
	for (int i = 0; i < row->count; i++)
	{
		const VdbPluginColumn *column = &row->columns[i];

		CHECK_FOR_INTERRUPTS();
		pq_sendstring(out, column->name);
		pq_sendint32(out, column->type);
		pq_sendint32(out, column->typmod);
		if (column->is_null)
			pq_sendbyte(out, 'n');
		else if (column->is_unchanged)
			pq_sendbyte(out, 'u');
		else
			append_value(out, column);
	}
}

static void
append_table(StringInfo out, const VdbPluginEvent *event)
{
	pq_sendint32(out, event->relid);
	pq_sendstring(out, event->schema);
	pq_sendstring(out, event->table);
}

/*
 * Appends the message of an event.  Raises what the send function of a type raises, and when the
 * message would be longer than a gigabyte; what is allocated meanwhile is in the current memory context.
 */
void
vdb_plugin_append_binary(StringInfo out, const VdbPluginEvent *event)
{
	int			length_at;
	uint32		length;

	pq_sendbyte(out, event->action);
	length_at = out->len;
	pq_sendint32(out, 0);		/* known at the end */
	pq_sendint32(out, event->xid);
	pq_sendint64(out, event->lsn);
	pq_sendint64(out, event->commit_time);

	switch (event->action)
	{
		case VDB_ACTION_BEGIN:
			pq_sendstring(out, event->origin ? event->origin : "");
			break;
		case VDB_ACTION_COMMIT:
			pq_sendint64(out, event->end_lsn);
			break;
		case VDB_ACTION_INSERT:
		case VDB_ACTION_UPDATE:
		case VDB_ACTION_DELETE:
			append_table(out, event);
			if (event->old_row != NULL)
				append_row(out, 'O', event->old_row);
			if (event->new_row != NULL)
				append_row(out, 'N', event->new_row);
			pq_sendbyte(out, 0);
			break;
		case VDB_ACTION_TRUNCATE:
			append_table(out, event);
			pq_sendbyte(out, (event->cascade ? 1 : 0) | (event->restart_identity ? 2 : 0));
			break;
		case VDB_ACTION_MESSAGE:
			pq_sendbyte(out, event->is_transactional ? 1 : 0);
			pq_sendstring(out, event->prefix);
			pq_sendint32(out, event->content_size);
			pq_sendbytes(out, event->content, event->content_size);
			break;
	}

	length = pg_hton32(out->len - length_at - sizeof(length));
	memcpy(out->data + length_at, &length, sizeof(length));
}
