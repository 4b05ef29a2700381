/*
 * worker_statement.c
 *	  Statements that cannot be part of a transaction: VACUUM, REINDEX CONCURRENTLY, and
 *	  DROP INDEX CONCURRENTLY of what a rebuild left.
 *
 * They are run as the server runs a user's.  Before those that name an index, locks on it
 * and its table are taken for the session, conditionally, so that the statement waits for none
 * and the name stays what it is.  An error gives them back.
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
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "worker/worker_private.h"

/* The extension that the next index of a rebuild is to depend on, and that index. */
static Oid	mark_extension = InvalidOid;
static Oid	marked_index = InvalidOid;
static object_access_hook_type next_hook;

/*
 * The hook.  The new index's row is not visible yet, so nothing can be asked of it; but the
 * first relation that such a REINDEX creates is the index.
 */
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
		recordDependencyOn(&index, &extension, DEPENDENCY_AUTO_EXTENSION);
	}
}

/* From now on, the next index is marked; the extension is that of its access method. */
static void
mark_next_index(Oid access_method)
{
	static bool hooked = false;

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
	bool		valid;
	Oid			extension;

	if (!HeapTupleIsValid(tuple))
		return false;
	valid = ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
	ReleaseSysCache(tuple);
	if (valid || !is_transient_name(get_rel_name(index)))
		return false;
	extension = getExtensionOfObject(AccessMethodRelationId, access_method_of(index));
	return OidIsValid(extension) &&
		list_member_oid(getAutoExtensionsOfObject(RelationRelationId, index), extension);
}

/* Locks both for the session; false if somebody is in the way, or the index is gone. */
static bool
lock_for_session(Oid heap, Oid index, LockRelId *heap_lock, LockRelId *index_lock)
{
	if (!ConditionalLockRelationOid(heap, ShareUpdateExclusiveLock) ||
		!ConditionalLockRelationOid(index, ShareUpdateExclusiveLock) ||
		!SearchSysCacheExists1(INDEXRELID, ObjectIdGetDatum(index)))
		return false;
	*heap_lock = (LockRelId) {.relId = heap, .dbId = MyDatabaseId};
	*index_lock = (LockRelId) {.relId = index, .dbId = MyDatabaseId};
	LockRelationIdForSession(heap_lock, ShareUpdateExclusiveLock);
	LockRelationIdForSession(index_lock, ShareUpdateExclusiveLock);
	return true;
}

static void
unlock_for_session(LockRelId *heap_lock, LockRelId *index_lock)
{
	UnlockRelationIdForSession(index_lock, ShareUpdateExclusiveLock);
	UnlockRelationIdForSession(heap_lock, ShareUpdateExclusiveLock);
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

void
vdb_worker_vacuum(Oid heap)
{
	VacuumStmt *statement = makeNode(VacuumStmt);

	statement->is_vacuumcmd = true;
	statement->rels = list_make1(makeVacuumRelation(NULL, heap, NIL));
	statement->options = list_make3(makeDefElem("skip_locked", NULL, -1),
									makeDefElem("index_cleanup", (Node *) makeString("on"), -1),
									makeDefElem("truncate", (Node *) makeString("off"), -1));
	run_statement((Node *) statement, "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF)");
}

Oid
vdb_worker_reindex(Oid heap, Oid index)
{
	ReindexStmt *statement = makeNode(ReindexStmt);
	MemoryContext memory = CurrentMemoryContext;
	LockRelId	heap_lock;
	LockRelId	index_lock;
	bool		locked;

	vdb_worker_begin_transaction();
	locked = lock_for_session(heap, index, &heap_lock, &index_lock);
	if (locked)
	{
		MemoryContext old = MemoryContextSwitchTo(memory);

		statement->kind = REINDEX_OBJECT_INDEX;
		statement->relation = makeRangeVar(get_namespace_name(get_rel_namespace(index)),
										   get_rel_name(index), -1);
		statement->params = list_make1(makeDefElem("concurrently", NULL, -1));
		MemoryContextSwitchTo(old);
		mark_next_index(access_method_of(index));
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	if (!locked)
		return InvalidOid;

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
	}
	PG_END_TRY();
	vdb_worker_begin_transaction();
	unlock_for_session(&heap_lock, &index_lock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return marked_index;
}

bool
vdb_worker_drop_leftover(Oid heap, Oid index)
{
	MemoryContext memory = CurrentMemoryContext;
	LockRelId	heap_lock;
	LockRelId	index_lock;
	bool		locked;

	vdb_worker_begin_transaction();
	locked = lock_for_session(heap, index, &heap_lock, &index_lock) && vdb_worker_is_leftover(index);
	if (locked)
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
		unlock_for_session(&heap_lock, &index_lock);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return locked;
}
