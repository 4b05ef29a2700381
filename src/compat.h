/*
 * compat.h
 *	  Every test of PG_VERSION_NUM in the project lives here.
 */
#ifndef VDB_COMPAT_H
#define VDB_COMPAT_H

/*
 * 16 moved the varlena macros out of postgres.h and gave input functions soft
 * errors.  Before that an input function can only raise.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "varatt.h"
#else
#define ereturn(context, dummy_value, ...) \
	do { \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#endif

/* 18 can show the version of a loaded library in pg_get_loaded_modules(). */
#if PG_VERSION_NUM >= 180000
#define VDB_MODULE_MAGIC(ver) PG_MODULE_MAGIC_EXT(.name = "vdb", .version = ver)
#else
#define VDB_MODULE_MAGIC(ver) PG_MODULE_MAGIC
#endif

/* 16 renamed the identity of a relation's files. */
#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"
typedef RelFileLocator VdbLocator;
#define vdb_relation_locator(rel) ((rel)->rd_locator)
#define vdb_locator_number(locator) ((locator).relNumber)
#define vdb_buffer_tag_init(tag, locator, fork, block) InitBufferTag(tag, locator, fork, block)
#define vdb_buffer_tags_equal(a, b) BufferTagsEqual(a, b)
#else
#include "storage/relfilenode.h"
typedef RelFileNode VdbLocator;
#define vdb_relation_locator(rel) ((rel)->rd_node)
#define vdb_locator_number(locator) ((locator).relNode)
#define vdb_buffer_tag_init(tag, locator, fork, block) INIT_BUFFERTAG(*(tag), *(locator), fork, block)
#define vdb_buffer_tags_equal(a, b) BUFFERTAGS_EQUAL(*(a), *(b))
#endif

/* 18 lets an access method count its searches for EXPLAIN. */
#if PG_VERSION_NUM >= 180000
#define vdb_index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys)
#define vdb_count_index_search(scan) \
	do { if ((scan)->instrument) (scan)->instrument->nsearches++; } while (0)
#else
#define vdb_index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#define vdb_count_index_search(scan) ((void) 0)
#endif

/* 16 folded the checks of ownership and of privileges of each catalog into one. */
#if PG_VERSION_NUM >= 160000
#define vdb_owns_relation(relid, role) object_ownercheck(RelationRelationId, relid, role)
#define vdb_may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define vdb_owns_relation(relid, role) pg_class_ownercheck(relid, role)
#define vdb_may_execute(function, role) (pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* 16 tells who may act as a role from who has its privileges.  Both raise an error. */
#if PG_VERSION_NUM >= 160000
#define vdb_check_may_become(member, role) check_can_set_role(member, role)
#else
#define vdb_check_may_become(member, role) check_is_member_of_role(member, role)
#endif

/* 17 lets others than the owner look after a table. */
#if PG_VERSION_NUM >= 170000
#define vdb_may_maintain(index, heap, role) \
	(pg_class_aclcheck(heap, role, ACL_MAINTAIN) == ACLCHECK_OK)
#else
#define vdb_may_maintain(index, heap, role) vdb_owns_relation(index, role)
#endif

/* 17 made maintenance run with a search path that nobody can prepare. */
#if PG_VERSION_NUM < 170000
#define RestrictSearchPath() ((void) 0)
#endif

/* 17 wants to know of an access method whether it builds in parallel. */
#if PG_VERSION_NUM >= 170000
#define vdb_am_set_canbuildparallel(am) ((am)->amcanbuildparallel = true)
#else
#define vdb_am_set_canbuildparallel(am) ((void) 0)
#endif

/* 18 has ANALYZE say that it is the one that waits. */
#if PG_VERSION_NUM >= 180000
#define vdb_vacuum_delay_point() vacuum_delay_point(false)
#else
#define vdb_vacuum_delay_point() vacuum_delay_point()
#endif

/*
 * Begins to count what reading and writing costs, as VACUUM does, by the session's settings;
 * 16 made these something that may change meanwhile.
 */
#if PG_VERSION_NUM >= 160000
#define vdb_begin_vacuum_costs() (VacuumUpdateCosts(), VacuumCostBalance = 0)
#else
#define vdb_begin_vacuum_costs() \
	(VacuumCostActive = (VacuumCostDelay > 0), VacuumCostBalance = 0)
#endif

/* 16 tells an access method which table is vacuumed. */
#if PG_VERSION_NUM >= 160000
#define vdb_vacuum_info_set_heap(info, heap) ((info)->heaprel = (heap))
#else
#define vdb_vacuum_info_set_heap(info, heap) ((void) 0)
#endif

/* Before 17, VACUUM may be allowed to take rows that old snapshots see; these are told when they read such a page. */
#if PG_VERSION_NUM >= 170000
#define vdb_snapshots_keep_rows() true
#define vdb_snapshot_is_too_old(heap, snapshot) false
#define ERRCODE_SNAPSHOT_TOO_OLD ERRCODE_INTERNAL_ERROR	/* which no snapshot is */
#else
#include "catalog/catalog.h"
#define vdb_snapshots_keep_rows() (!OldSnapshotThresholdActive())
#define vdb_snapshot_is_too_old(heap, snapshot) \
	(OldSnapshotThresholdActive() && !XLogRecPtrIsInvalid((snapshot)->lsn) && RelationAllowsEarlyPruning(heap) && \
	 (snapshot)->whenTaken < GetOldSnapshotThresholdTimestamp())
#endif

/* 18 has one snapshot for values out of line; before, each has the oldest one's age. */
#if PG_VERSION_NUM >= 180000
#define vdb_toast_snapshot(memory) ((void) (memory), get_toast_snapshot())
#else
#define vdb_toast_snapshot(memory) (init_toast_snapshot(memory), (memory))
#endif

/* 18 lets extensions add lines to a plan's nodes, and declares what writes them apart. */
#if PG_VERSION_NUM >= 180000
#define VDB_HAVE_EXPLAIN_NODES
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* 18 counts disabled plan nodes instead of adding a huge cost. */
#if PG_VERSION_NUM >= 180000
#define VDB_HAVE_DISABLED_NODES
#endif

/* The same of a path that has the other one below it. */
#ifdef VDB_HAVE_DISABLED_NODES
#define vdb_path_copy_disabled(path, child) ((path)->disabled_nodes = (child)->disabled_nodes)
#define vdb_path_clear_disabled(path) ((path)->disabled_nodes = 0)
#else
#define vdb_path_copy_disabled(path, child) ((void) 0)
#define vdb_path_clear_disabled(path) ((void) 0)
#endif

/* 18 keeps expressions of child tables apart, and says of an order what it means. */
#if PG_VERSION_NUM >= 180000
#define vdb_foreach_member(member, eclass, relids) \
	for (EquivalenceMemberIterator members, \
		 *ready = (setup_eclass_member_iterator(&members, (eclass), (relids)), NULL); \
		 ((member) = eclass_member_iterator_next(&members)) != NULL || ready != NULL;)
#define vdb_pathkey_ascends(key) ((key)->pk_cmptype == COMPARE_LT)
#else
#define vdb_foreach_member(member, eclass, relids) \
	for (int number = 0; \
		 number < list_length((eclass)->ec_members) && \
		 ((member) = list_nth((eclass)->ec_members, number), true); \
		 number++)
#define vdb_pathkey_ascends(key) ((key)->pk_strategy == BTLessStrategyNumber)
#endif

/* 17 asks statistics how long an array is. */
#if PG_VERSION_NUM >= 170000
#define vdb_estimate_array_length(root, array) estimate_array_length(root, array)
#else
#define vdb_estimate_array_length(root, array) ((double) estimate_array_length(array))
#endif

/* 16 keeps why a slot is of no use, 15 only that. */
#if PG_VERSION_NUM >= 160000
#define vdb_slot_is_lost(slot) ((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define vdb_slot_is_lost(slot) ((slot)->data.invalidated_at != InvalidXLogRecPtr)
#endif

/* 17 has slots that standbys keep; 18 may refuse to take one that is of no use. */
#if PG_VERSION_NUM >= 170000
#define vdb_slot_create(name, persistency) \
	ReplicationSlotCreate(name, true, persistency, false, false, false)
#else
#define vdb_slot_create(name, persistency) ReplicationSlotCreate(name, true, persistency, false)
#endif
#if PG_VERSION_NUM >= 180000
#define vdb_slot_acquire(name) ReplicationSlotAcquire(name, true, true)
#else
#define vdb_slot_acquire(name) ReplicationSlotAcquire(name, true)
#endif

/* 16 lets several processes work for an origin. */
#if PG_VERSION_NUM >= 160000
#define vdb_origin_session_setup(origin) replorigin_session_setup(origin, 0)
#else
#define vdb_origin_session_setup(origin) replorigin_session_setup(origin)
#endif

#define vdb_reorder_commit_time(txn) ((txn)->xact_time.commit_time)

/* 17 hands changed rows to an output plugin without a wrapper. */
#if PG_VERSION_NUM >= 170000
#define vdb_change_tuple(change_tuple) (change_tuple)
#else
#define vdb_change_tuple(change_tuple) ((change_tuple) ? &(change_tuple)->tuple : NULL)
#endif

/* 18 has generated columns that are computed when they are read, and are null in a row. */
#if PG_VERSION_NUM >= 180000
#define vdb_attribute_is_virtual(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define vdb_attribute_is_virtual(attribute) false
#endif

/*
 * The next page of a bitmap, and the first rows on it, `size` at most: none where the bitmap has kept
 * no more than the page.  18 takes rows out by themselves.
 */
#include "nodes/tidbitmap.h"
#if PG_VERSION_NUM >= 180000
typedef TBMPrivateIterator VdbBitmapIterator;
#define vdb_bitmap_begin(bitmap) tbm_begin_private_iterate(bitmap)
#define vdb_bitmap_end(iterator) tbm_end_private_iterate(iterator)
static inline bool
vdb_bitmap_next(VdbBitmapIterator *iterator, BlockNumber *block, OffsetNumber *rows, int size, int *count)
{
	TBMIterateResult page;

	if (!tbm_private_iterate(iterator, &page))
		return false;
	*block = page.blockno;
	*count = page.lossy ? 0 : Min(tbm_extract_page_tuple(&page, rows, size), size);
	return true;
}
#else
typedef TBMIterator VdbBitmapIterator;
#define vdb_bitmap_begin(bitmap) tbm_begin_iterate(bitmap)
#define vdb_bitmap_end(iterator) tbm_end_iterate(iterator)
static inline bool
vdb_bitmap_next(VdbBitmapIterator *iterator, BlockNumber *block, OffsetNumber *rows, int size, int *count)
{
	TBMIterateResult *page = tbm_iterate(iterator);

	if (page == NULL)
		return false;
	*block = page->blockno;
	*count = Max(0, Min(page->ntuples, size));
	memcpy(rows, page->offsets, *count * sizeof(OffsetNumber));
	return true;
}
#endif

/*
 * storage_patch.c writes what generic_redo() reads, in those releases where that
 * was looked up and tested.
 */
#if PG_VERSION_NUM < 190000
#define VDB_GENERIC_REDO_IS_KNOWN
#endif

#endif							/* VDB_COMPAT_H */
