/*
 * hnsw_pending.c
 *	  Nodes that wait to be linked: which are, and linking them.
 *
 * With the option fastupdate an insert writes a node and leaves it at that.  It is
 * in a range of extents that the metapage names, where scans look at all nodes.  To
 * merge is to link these nodes as an insert would have, extent by extent, and to take
 * each out of the range when nothing in it waits any more.  No row changes its slot.
 *
 * What meets a merge, and why nothing is missed or lost, is in
 * docs/design/018-pending-nodes.md.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "hnsw/hnsw_module.h"
#include "hnsw/hnsw_private.h"
#include "pace.h"
#include "stats/stats.h"
#include "testpoint.h"

/* A merge, in a context of its own. */
typedef struct Merge
{
	HnswIndex  *index;
	MemoryContext context;		/* of linking one node */
	Buffer		meta;			/* pinned */
	uint64		linked;
} Merge;

bool
vdb_hnsw_is_pending(const HnswIndex *index, uint32 nid, uint32 kept)
{
	uint32		extent = vdb_hnsw_extent_of(&index->geometry, nid);

	return !vdb_hnsw_is_linked(nid, kept, index->entry_nid) &&
		extent >= index->pending.first && extent < index->pending.end;
}

bool
vdb_hnsw_waits(HnswIndex *index, uint32 nid, uint32 kept)
{
	if (kept > 0)
		return false;
	vdb_hnsw_refresh(index);
	return vdb_hnsw_is_pending(index, nid, kept);
}

uint32
vdb_hnsw_pending_extents(const HnswIndex *index)
{
	uint32		slots = index->geometry.extent_slots;

	return (vdb_hnsw_options(index->rel)->pending_limit + slots - 1) / slots;
}

/* Links the nodes of an extent that wait for it. */
static void
link_extent(Merge *merge, uint32 extent)
{
	HnswIndex  *index = merge->index;
	const HnswGeometry *g = &index->geometry;

	for (uint32 nid = extent * g->extent_slots; nid < (extent + 1) * g->extent_slots; nid++)
	{
		HnswNode	node;
		MemoryContext old;

		vdb_pace();
		vdb_hnsw_read_slot(index, nid, &node);
		if (node.state != HNSW_LIVE || node.kept > 0)
			continue;

		/* the entry point may be another one by now */
		vdb_hnsw_refresh(index);
		if (vdb_hnsw_is_linked(nid, node.kept, index->entry_nid))
			continue;
		old = MemoryContextSwitchTo(merge->context);
		vdb_hnsw_link_pending(index, nid, node.generation, Min(node.layer, HNSW_MAX_LAYER));
		MemoryContextSwitchTo(old);
		MemoryContextReset(merge->context);
		merge->linked++;
	}
}

/* Does a node of an extent wait?  The caller sees to it that none is added. */
static bool
has_pending(Merge *merge, uint32 extent)
{
	HnswIndex  *index = merge->index;
	const HnswGeometry *g = &index->geometry;
	uint32		nid = extent * g->extent_slots;
	uint32		end = nid + g->extent_slots;
	bool		found = false;

	while (nid < end && !found)
	{
		Buffer		buffer = vdb_hnsw_read_node(index, vdb_hnsw_node_address(g, nid), BUFFER_LOCK_SHARE);

		for (uint32 next = Min(end, nid + g->nodes_per_page); nid < next; nid++)
		{
			HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), vdb_hnsw_node_address(g, nid));

			found |= node->state == HNSW_LIVE && !vdb_hnsw_is_linked(nid, node->kept, index->entry_nid);
		}
		UnlockReleaseBuffer(buffer);
	}
	return found;
}

/*
 * Takes an extent out of the range, unless a node in it waits.  A row can be put there
 * only under the exclusive lock of its hot page.
 */
static bool
pass_extent(Merge *merge, uint32 extent)
{
	HnswIndex  *index = merge->index;
	HnswAddress hot = vdb_hnsw_hot_address(&index->geometry, extent * index->geometry.extent_slots);
	Buffer		buffer = vdb_hnsw_read_hot(index, hot);
	bool		passed;

	vdb_hnsw_refresh(index);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	passed = !has_pending(merge, extent);
	if (passed)
		vdb_hnsw_narrow_pending(index, merge->meta, extent);
	UnlockReleaseBuffer(buffer);
	return passed;
}

/* Merges an extent; false when a node of it could not be linked. */
static bool
merge_extent(Merge *merge, uint32 extent)
{
	if (vdb_hnsw_is_upper(merge->index, extent, NULL))
	{
		vdb_hnsw_narrow_pending(merge->index, merge->meta, extent);
		return true;
	}

	/* once for each row that may be put there meanwhile */
	for (uint32 i = 0; i <= merge->index->geometry.extent_slots; i++)
	{
		link_extent(merge, extent);
		VDB_TESTPOINT("hnsw-merge-before-narrow");
		if (pass_extent(merge, extent))
			return true;
	}
	return false;
}

/*
 * Merges the range as it is at the start.  If an insert has it begin before that
 * meanwhile, it stays as long as it is until the next merge.
 */
uint64
vdb_hnsw_merge_pending(Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Merge		merge = {.index = vdb_hnsw_open(rel)};
	HnswPending pending = merge.index->pending;

	merge.context = AllocSetContextCreate(context, "hnsw merge node", ALLOCSET_DEFAULT_SIZES);
	merge.meta = vdb_hnsw_pin_meta(merge.index);
	for (uint32 extent = pending.first; extent < pending.end; extent++)
	{
		if (!merge_extent(&merge, extent))
		{
			ereport(DEBUG1,
					(errmsg_internal("index \"%s\": a node of extent %u could not be linked",
									 RelationGetRelationName(rel), extent)));
			break;
		}
		VDB_TESTPOINT("hnsw-merge-after-narrow");
	}
	ReleaseBuffer(merge.meta);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_add(RelationGetRelid(rel), VDB_STAT_MERGED, merge.linked);
	return merge.linked;
}

/*
 * vdb.merge_pending(index regclass): null if VACUUM, another merge or a concurrent build is
 * at work on the table.  To wait for it with a snapshot could be to wait for who waits for
 * that.
 */
PG_FUNCTION_INFO_V1(vdb_hnsw_merge_named);
Datum
vdb_hnsw_merge_named(PG_FUNCTION_ARGS)
{
	Oid			indexoid = PG_GETARG_OID(0);
	Relation	heap;
	Relation	index;
	uint64		linked = 0;
	bool		locked;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Rows are linked on the primary; a standby finds them before and after.")));
	index = vdb_index_open_named(&vdb_hnsw_method, indexoid, RowExclusiveLock, &heap);
	if (!vdb_may_maintain(indexoid, RelationGetRelid(heap), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	locked = ConditionalLockRelation(heap, ShareUpdateExclusiveLock);
	if (locked)
	{
		linked = vdb_hnsw_merge_pending(index);
		UnlockRelation(heap, ShareUpdateExclusiveLock);
	}
	else
		ereport(NOTICE,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("skipping merge of index \"%s\": lock of table \"%s\" is not available",
						RelationGetRelationName(index), RelationGetRelationName(heap))));
	index_close(index, RowExclusiveLock);
	table_close(heap, AccessShareLock);
	if (!locked)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) linked);
}

/*
 * vdb.pending(index regclass): how many rows wait at most; null of another access method, of one
 * that the user may not know about, or where the index is locked, as nobody who only looks
 * shall wait for a rebuild.
 */
PG_FUNCTION_INFO_V1(vdb_hnsw_pending_named);
Datum
vdb_hnsw_pending_named(PG_FUNCTION_ARGS)
{
	Oid			oid = PG_GETARG_OID(0);
	Relation	index;
	bool		ours;
	uint64		pending = 0;

	if (!vdb_stats_may_see(oid) || !ConditionalLockRelationOid(oid, AccessShareLock))
		PG_RETURN_NULL();
	index = try_relation_open(oid, NoLock);
	ours = index != NULL && index->rd_rel->relkind == RELKIND_INDEX && index->rd_index->indisvalid &&
		vdb_index_method(index->rd_indam->amcostestimate) == &vdb_hnsw_method;
	if (ours)
		pending = vdb_hnsw_pending(index);
	if (index != NULL)
		relation_close(index, NoLock);
	UnlockRelationOid(oid, AccessShareLock);
	if (!ours)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) pending);
}
