/*
 * worker_statement.c
 *	  Statements that cannot be part of a transaction: VACUUM, REINDEX CONCURRENTLY, and
 *	  DROP INDEX CONCURRENTLY of what a rebuild left.
 *
 * They are run as the server runs a user's.  Before that, locks on the table, and the index, are
 * taken for the session, conditionally, so that the statement waits for none.  An error gives
 * them back.
 *
 * REINDEX goes by name.  The locks keep who would rename the index, or have its table in another
 * schema, but not who renames schemas, which takes no lock on what is in them.  So the index that
 * the server found is looked at when it makes another one of it, before that is committed: is it
 * of our table?  All indexes of a table are in one schema, where ours alone has its name.
 *
 * A rebuild first commits an index without content.  That one is marked in the same
 * transaction, by a dependency on the extension like that of ALTER INDEX ... DEPENDS ON
 * EXTENSION.  The server swaps dependencies when it swaps the indexes, so the mark is on
 * whichever is to go.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "testpoint.h"
#include "worker/worker_private.h"

/* The extension that the next index of a rebuild is to depend on, its table, and that index. */
static Oid	mark_extension = InvalidOid;
static Oid	marked_heap;
static Oid	marked_index = InvalidOid;
static object_access_hook_type next_hook;

/* The table of an index whose row was written by this command. */
static Oid
table_of_new_index(Oid index)
{
	Relation	rel = table_open(IndexRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			heap = InvalidOid;

	ScanKeyInit(&key, Anum_pg_index_indexrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(index));
	scan = systable_beginscan(rel, IndexRelidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		heap = ((Form_pg_index) GETSTRUCT(tuple))->indrelid;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return heap;
}

/* The hook.  The first relation that such a REINDEX creates is the index. */
static void
mark_index(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (next_hook != NULL)
		next_hook(access, class, object, subobject, arg);
	if (access == OAT_POST_CREATE && class == RelationRelationId && OidIsValid(mark_extension))
	{
		ObjectAddress index;
		ObjectAddress extension;

		ObjectAddressSet(index, RelationRelationId, object);
		ObjectAddressSet(extension, ExtensionRelationId, mark_extension);
		mark_extension = InvalidOid;
		marked_index = object;
		if (table_of_new_index(object) != marked_heap)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("the index to be rebuilt has another name by now")));
		recordDependencyOn(&index, &extension, DEPENDENCY_AUTO_EXTENSION);
	}
}

/* From now on, the next index is marked; the extension is that of its access method. */
static void
mark_next_index(Oid heap, Oid access_method)
{
	static bool hooked = false;

	marked_heap = heap;
	marked_index = InvalidOid;
	if (!hooked)
	{
		next_hook = object_access_hook;
		object_access_hook = mark_index;
		hooked = true;
	}
	mark_extension = getExtensionOfObject(AccessMethodRelationId, access_method);
	if (!OidIsValid(mark_extension))
		elog(ERROR, "access method %u belongs to no extension", access_method);
}

/* Of an index that exists. */
static Oid
access_method_of(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	Oid			method;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", index);
	method = ((Form_pg_class) GETSTRUCT(tuple))->relam;
	ReleaseSysCache(tuple);
	return method;
}

/* Does a name end as the server ends those of indexes that REINDEX CONCURRENTLY makes? */
static bool
is_transient_name(const char *name)
{
	int			length = strlen(name);

	while (length > 0 && name[length - 1] >= '0' && name[length - 1] <= '9')
		length--;
	return length >= 6 && (strncmp(name + length - 6, "_ccnew", 6) == 0 ||
						   strncmp(name + length - 6, "_ccold", 6) == 0);
}

bool
vdb_worker_is_leftover(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	const char *name = get_rel_name(index);
	bool		valid;
	Oid			extension;

	if (!HeapTupleIsValid(tuple))
		return false;
	valid = ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
	ReleaseSysCache(tuple);
	if (valid || name == NULL || !is_transient_name(name))
		return false;
	extension = getExtensionOfObject(AccessMethodRelationId, access_method_of(index));
	return OidIsValid(extension) &&
		list_member_oid(getAutoExtensionsOfObject(RelationRelationId, index), extension);
}

/* Locks a table or an index for the session; false if somebody is in the way, or it is gone. */
static bool
lock_for_session(Oid rel)
{
	LockRelId	id = {.relId = rel, .dbId = MyDatabaseId};

	if (!ConditionalLockRelationOid(rel, ShareUpdateExclusiveLock) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rel)))
		return false;
	LockRelationIdForSession(&id, ShareUpdateExclusiveLock);
	return true;
}

static void
unlock_for_session(Oid rel)
{
	LockRelId	id = {.relId = rel, .dbId = MyDatabaseId};

	UnlockRelationIdForSession(&id, ShareUpdateExclusiveLock);
}

/* The same of both; where it is false of the index, the table is not locked. */
static bool
lock_both_for_session(Oid heap, Oid index)
{
	if (!lock_for_session(heap))
		return false;
	if (lock_for_session(index))
		return true;
	unlock_for_session(heap);
	return false;
}

static void
unlock_both_for_session(Oid heap, Oid index)
{
	unlock_for_session(index);
	unlock_for_session(heap);
}

/* Runs a utility statement, as the server does one that a user sends. */
static void
run_statement(Node *statement, const char *text)
{
	PlannedStmt *planned = makeNode(PlannedStmt);
	MemoryContext memory = CurrentMemoryContext;

	planned->commandType = CMD_UTILITY;
	planned->utilityStmt = statement;
	planned->stmt_location = -1;

	/* what outlives the statement's transactions is made in here */
	PortalContext = memory;
	vdb_worker_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(memory);
	ProcessUtility(planned, text, false, PROCESS_UTILITY_TOPLEVEL, NULL, NULL, None_Receiver, NULL);
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
}

bool
vdb_worker_vacuum(Oid heap)
{
	VacuumStmt *statement = makeNode(VacuumStmt);
	MemoryContext memory = CurrentMemoryContext;
	bool		locked;

	/* the statement does not say whether it was in anybody's way */
	vdb_worker_begin_transaction();
	locked = lock_for_session(heap);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	if (!locked)
		return false;
	statement->is_vacuumcmd = true;
	statement->rels = list_make1(makeVacuumRelation(NULL, heap, NIL));
	statement->options = list_make3(makeDefElem("skip_locked", NULL, -1),
									makeDefElem("index_cleanup", (Node *) makeString("on"), -1),
									makeDefElem("truncate", (Node *) makeString("off"), -1));
	run_statement((Node *) statement, "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF)");
	vdb_worker_begin_transaction();
	unlock_for_session(heap);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return true;
}

bool
vdb_worker_reindex(Oid heap, Oid index, Oid *made)
{
	ReindexStmt *statement = makeNode(ReindexStmt);
	MemoryContext memory = CurrentMemoryContext;
	bool		locked;

	*made = InvalidOid;
	vdb_worker_begin_transaction();
	locked = lock_both_for_session(heap, index);
	if (locked)
	{
		MemoryContext old = MemoryContextSwitchTo(memory);

		statement->kind = REINDEX_OBJECT_INDEX;
		statement->relation = makeRangeVar(get_namespace_name(get_rel_namespace(index)),
										   get_rel_name(index), -1);
		statement->params = list_make1(makeDefElem("concurrently", NULL, -1));
		MemoryContextSwitchTo(old);
		VDB_TESTPOINT("worker-before-reindex");
		mark_next_index(heap, access_method_of(index));
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	if (!locked)
		return false;

	/* reading the table is slowed down as VACUUM is */
	vdb_begin_vacuum_costs();
	PG_TRY();
	{
		run_statement((Node *) statement, "REINDEX INDEX CONCURRENTLY");
	}
	PG_FINALLY();
	{
		VacuumCostActive = false;
		mark_extension = InvalidOid;
		*made = marked_index;
	}
	PG_END_TRY();
	vdb_worker_begin_transaction();
	unlock_both_for_session(heap, index);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return true;
}

bool
vdb_worker_drop_leftover(Oid heap, Oid index)
{
	MemoryContext memory = CurrentMemoryContext;
	bool		locked;
	bool		leftover;

	vdb_worker_begin_transaction();
	locked = lock_both_for_session(heap, index);
	leftover = locked && vdb_worker_is_leftover(index);
	if (leftover)
	{
		ObjectAddresses *objects;
		ObjectAddress address;

		/* they are to outlive the transactions of the DROP */
		MemoryContextSwitchTo(memory);
		objects = new_object_addresses();
		ObjectAddressSet(address, RelationRelationId, index);
		add_exact_object_address(&address, objects);
		PushActiveSnapshot(GetTransactionSnapshot());
		performMultipleDeletions(objects, DROP_RESTRICT, PERFORM_DELETION_CONCURRENTLY);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
	}
	if (locked)
		unlock_both_for_session(heap, index);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return leftover;
}
