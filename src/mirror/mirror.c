/*
 * mirror.c
 *	  Settings, vdb.load_mirror(), vdb.drop_mirror(), and what vdb_stat_mirror shows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "mirror/mirror_private.h"

static int	mirror_memory;		/* MB */
static object_access_hook_type next_hook;

/* The hook.  What is dropped takes its mirrors along; where that is taken back, a mirror is all that was lost. */
static void
leave_dropped(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (next_hook != NULL)
		next_hook(access, class, object, subobject, arg);
	if (access != OAT_DROP || subobject != 0 || vdb_mirror_shared == NULL ||
		(class != RelationRelationId && class != DatabaseRelationId))
		return;
	LWLockAcquire(&vdb_mirror_shared->lock, LW_EXCLUSIVE);
	if (class == DatabaseRelationId)
		vdb_mirror_leave_all(object, InvalidOid);
	else
		vdb_mirror_leave_all(MyDatabaseId, object);
	LWLockRelease(&vdb_mirror_shared->lock);
}

void
vdb_mirror_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("vdb.mirror_memory",
							"Sets how much shared memory is for mirrors of indexes.",
							"Exact searches read a mirror in place of the table.",
							&mirror_memory,
							0,
							0,
							INT_MAX,
							PGC_POSTMASTER,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	vdb_mirror_share((Size) mirror_memory * 1024 * 1024);
	if (mirror_memory > 0)
	{
		next_hook = object_access_hook;
		object_access_hook = leave_dropped;
	}
}

bool
vdb_mirror_is_asked_for(void)
{
	return mirror_memory > 0;
}

/* Opens an index whose mirror the user may make or drop, and its table. */
static Relation
open_index(Oid indexoid, Relation *heap)
{
	Relation	index;

	if (vdb_mirror_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no memory for mirrors"),
				 errhint("Add vdb to \"shared_preload_libraries\", set \"vdb.mirror_memory\", and restart the server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errdetail("Nothing tells a standby's mirror of new rows.")));
	if (!vdb_snapshots_keep_rows())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no mirrors where \"old_snapshot_threshold\" is set"),
				 errdetail("A snapshot that is too old would miss rows without being told.")));
	index = vdb_index_open_named(NULL, indexoid, AccessShareLock, heap);
	if (!vdb_may_maintain(indexoid, RelationGetRelid(*heap), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	return index;
}

/* vdb.load_mirror(index regclass): rows */
PG_FUNCTION_INFO_V1(vdb_mirror_load_named);
Datum
vdb_mirror_load_named(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = open_index(PG_GETARG_OID(0), &heap);
	double		rows = 0;
	uint32		dims;

	vdb_index_lock_for_upkeep(index, heap);
	vdb_mirror_load(heap, index, true);
	(void) vdb_mirror_find(index, &rows, &dims);
	index_close(index, NoLock);
	table_close(heap, NoLock);
	PG_RETURN_INT64((int64) rows);
}

/* vdb.drop_mirror(index regclass): was there one? */
PG_FUNCTION_INFO_V1(vdb_mirror_drop_named);
Datum
vdb_mirror_drop_named(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = open_index(PG_GETARG_OID(0), &heap);
	double		rows;
	uint32		dims;
	bool		found = vdb_mirror_find(index, &rows, &dims);

	vdb_mirror_forget(index);
	CacheInvalidateRelcache(heap);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_BOOL(found);
}

static const char *
state_name(VdbMirrorState state)
{
	switch (state)
	{
		case VDB_MIRROR_LOADING:
			return "loading";
		case VDB_MIRROR_READY:
			return "ready";
		default:
			return "leaving";
	}
}

#define STAT_COLUMNS 7

static void
put_mirror(FunctionCallInfo fcinfo, VdbMirror *mirror)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[STAT_COLUMNS];
	bool		isnull[STAT_COLUMNS] = {0};

	values[0] = ObjectIdGetDatum(mirror->database);
	values[1] = ObjectIdGetDatum(mirror->index);
	values[2] = CStringGetTextDatum(state_name(mirror->state));
	values[3] = Int64GetDatum((int64) pg_atomic_read_u64(&mirror->rows));
	values[4] = Int64GetDatum((int64) mirror->chunks * VDB_CHUNK_BYTES);
	values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&mirror->searches));
	isnull[6] = mirror->state == VDB_MIRROR_LOADING;
	values[6] = TimestampTzGetDatum(mirror->since);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* vdb.mirror_stat() */
PG_FUNCTION_INFO_V1(vdb_mirror_stat);
Datum
vdb_mirror_stat(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; vdb_mirror_shared != NULL && i < VDB_MIRRORS; i++)
	{
		VdbMirror	copy;

		LWLockAcquire(&vdb_mirror_shared->lock, LW_SHARED);
		copy = vdb_mirror_shared->mirrors[i];
		LWLockRelease(&vdb_mirror_shared->lock);
		if (copy.state != VDB_MIRROR_FREE)
			put_mirror(fcinfo, &copy);
	}
	return (Datum) 0;
}
