/*
 * ingest_plugin_private.h
 *	  What the files of the output plugin share: its options, and an event that is to be written.
 */
#ifndef VDB_INGEST_PLUGIN_PRIVATE_H
#define VDB_INGEST_PLUGIN_PRIVATE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* Values of the options `format`, `vectors` and `origin`, in the order in which messages list them. */
typedef enum VdbPluginFormat
{
	VDB_FORMAT_JSON,
	VDB_FORMAT_BINARY
} VdbPluginFormat;

typedef enum VdbPluginVectors
{
	VDB_VECTORS_FULL,
	VDB_VECTORS_BASE64,
	VDB_VECTORS_NONE
} VdbPluginVectors;

typedef enum VdbPluginOrigin
{
	VDB_ORIGIN_ANY,
	VDB_ORIGIN_NONE				/* nothing that arrived by replication */
} VdbPluginOrigin;

typedef struct VdbPluginOptions
{
	int			format;
	int			vectors;
	int			origin;
	List	   *tables;			/* patterns; NIL: all */
	List	   *columns;		/* likewise */
	bool		include_truncate;
	bool		include_messages;
	bool		include_xids;	/* in other lines than begin and commit, as the next two */
	bool		include_timestamp;
	bool		include_lsn;
	bool		include_types;
} VdbPluginOptions;

/* What happened; also the first byte of a message in the binary format. */
typedef enum VdbPluginAction
{
	VDB_ACTION_BEGIN = 'B',
	VDB_ACTION_INSERT = 'I',
	VDB_ACTION_UPDATE = 'U',
	VDB_ACTION_DELETE = 'D',
	VDB_ACTION_TRUNCATE = 'T',
	VDB_ACTION_MESSAGE = 'M',
	VDB_ACTION_COMMIT = 'C'
} VdbPluginAction;

typedef struct VdbPluginColumn
{
	const char *name;
	Oid			type;
	int32		typmod;
	bool		is_null;
	bool		is_unchanged;	/* out of line, and not in the log */
	Datum		value;			/* where neither */
} VdbPluginColumn;

typedef struct VdbPluginRow
{
	int			count;
	VdbPluginColumn columns[FLEXIBLE_ARRAY_MEMBER];
} VdbPluginRow;

/* What an action has no use for is zero. */
typedef struct VdbPluginEvent
{
	VdbPluginAction action;
	TransactionId xid;			/* invalid for a message outside transactions */
	XLogRecPtr	lsn;			/* of the change itself; in BEGIN and COMMIT of the commit */
	TimestampTz commit_time;

	/* BEGIN */
	const char *origin;			/* where the transaction comes from, or NULL */

	/* COMMIT */
	XLogRecPtr	end_lsn;		/* what to confirm */

	/* INSERT, UPDATE, DELETE, TRUNCATE */
	Oid			relid;
	const char *schema;
	const char *table;
	const VdbPluginRow *old_row;	/* or NULL, where the server logged none */
	const VdbPluginRow *new_row;

	/* TRUNCATE */
	bool		cascade;
	bool		restart_identity;

	/* MESSAGE */
	bool		is_transactional;
	const char *prefix;
	const char *content;
	Size		content_size;
} VdbPluginEvent;

/* ingest_plugin.c */
extern bool vdb_plugin_is_vector(Oid type);

/* vector.c, halfvec.c, sparsevec.c: by its output function a type of this extension is known */
extern Datum vdb_vector_out(PG_FUNCTION_ARGS);
extern Datum vdb_halfvec_out(PG_FUNCTION_ARGS);
extern Datum vdb_sparsevec_out(PG_FUNCTION_ARGS);

/* ingest_plugin_options.c */
extern void vdb_plugin_read_options(VdbPluginOptions *options, List *given);
extern bool vdb_plugin_wants_table(const VdbPluginOptions *options, const char *schema, Relation relation);
extern bool vdb_plugin_wants_column(const VdbPluginOptions *options, const char *schema,
									Relation relation, int i);

/* ingest_plugin_json.c */
extern void vdb_plugin_append_json(StringInfo out, const VdbPluginOptions *options,
								   const VdbPluginEvent *event);

/* ingest_plugin_binary.c */
extern void vdb_plugin_append_binary(StringInfo out, const VdbPluginEvent *event);

#endif							/* VDB_INGEST_PLUGIN_PRIVATE_H */
