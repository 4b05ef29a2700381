/*
 * hnsw_vacuum.c
 *	  Taking dead rows out of an index: marking, and giving slots back.
 *
 * ambulkdelete takes the identifiers of dead rows out of postings, of which it
 * frees those without rows (hnsw_release.c), and only marks nodes: a dead row's
 * node stays a stepping stone.  It may run several times in one VACUUM, in a
 * worker that keeps nothing but the statistics, so what it marked is collected
 * anew by amvacuumcleanup, which has the graph repaired (hnsw_repair.c, hnsw_tie.c) and only
 * then frees what nothing leads to any more.
 *
 * Every step leaves an index that is complete by itself; to be interrupted
 * between any two costs space and time, until the next VACUUM.  See README.md
 * for what scans and inserts may see meanwhile.
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "storage/indexfsm.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "hnsw/hnsw_module.h"
#include "hnsw/hnsw_private.h"
#include "mirror/mirror.h"
#include "pace.h"
#include "stats/stats.h"
#include "testpoint.h"

/* Half of it is enough for sets of 5 million nodes. */
#define LEAST_MEMORY ((Size) 8 * 1024 * 1024)

/*
 * Where fewer than one node of so many is dead, copying all codes takes longer
 * than it saves.
 */
#define FEW_DEAD 200

/* Rows of which a page can have identifiers at most. */
#define MAX_PAGE_ROWS (BLCKSZ / sizeof(ItemPointerData))

/* A row that is dead. */
typedef struct DeadRow
{
	uint32		nid;			/* the slot that it is in */
	uint32		at;				/* where in postings; of a node 0 */
} DeadRow;

/* One pass over all rows. */
typedef struct Marking
{
	HnswVacuum *vacuum;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;
	IndexBulkDeleteResult *stats;
	DeadRow		dead[MAX_PAGE_ROWS];	/* on the page in work, in order */
	int			count;
} Marking;

/* How many nodes of a range are dead. */
typedef struct Dead
{
	uint32		nodes;
	uint32		linked;			/* of these, to so many something may lead */
} Dead;

static void begin_vacuum(HnswVacuum *vacuum, IndexVacuumInfo *info);
static void end_vacuum(HnswVacuum *vacuum);
static void mark_page(Marking *marking, uint32 extent, int number);
static void vacuum_range(HnswVacuum *vacuum, uint32 first, uint32 count);
static uint32 range_extents(HnswVacuum *vacuum);
static void collect_extent(HnswVacuum *vacuum, uint32 extent, Dead *dead);
static bool lacks_entry(HnswVacuum *vacuum);
static void replace_entry(HnswVacuum *vacuum);
static void free_records(HnswVacuum *vacuum);
static void free_nodes(HnswVacuum *vacuum, uint32 first, uint32 count);

/* Node slots on the number-th node page of an extent. */
static inline uint32
page_nodes(const HnswGeometry *g, int number)
{
	return Min((uint32) g->nodes_per_page, (uint32) g->extent_slots - (uint32) number * g->nodes_per_page);
}

/*
 * Extents added after the start hold rows that were inserted after it, which
 * are neither dead to this VACUUM nor missed by the validation of CREATE INDEX
 * CONCURRENTLY: that asks for rows visible to a snapshot taken before.
 */
IndexBulkDeleteResult *
vdb_hnsw_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
					IndexBulkDeleteCallback callback, void *callback_state)
{
	HnswVacuum	vacuum;
	Marking		marking;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	begin_vacuum(&vacuum, info);
	marking.vacuum = &vacuum;
	marking.callback = callback;
	marking.callback_state = callback_state;
	marking.stats = stats;
	stats->estimated_count = false;
	stats->num_index_tuples = 0;
	for (uint32 extent = 0; extent < vacuum.extents; extent++)
	{
		if (vdb_hnsw_is_upper(vacuum.index, extent, info->strategy))
			continue;
		for (int i = 0; i < vacuum.index->geometry.node_pages; i++)
			mark_page(&marking, extent, i);
	}
	vdb_hnsw_release_all(&vacuum);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	end_vacuum(&vacuum);
	vdb_mirror_remove(info->index, callback, callback_state);
	VDB_TESTPOINT("hnsw-vacuum-after-bulkdelete");
	return stats;
}

/*
 * Reads all of the index even when nothing was deleted: a VACUUM before may
 * have been interrupted.
 */
IndexBulkDeleteResult *
vdb_hnsw_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	HnswVacuum	vacuum;
	uint32		step;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	begin_vacuum(&vacuum, info);
	step = range_extents(&vacuum);
	vacuum.knows_all = step >= vacuum.extents;
	for (uint32 first = 0; first < vacuum.extents; first += step)
		vacuum_range(&vacuum, first, Min(step, vacuum.extents - first));
	IndexFreeSpaceMapVacuum(info->index);
	(void) vdb_hnsw_merge_pending(info->index);

	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	stats->pages_free = vacuum.empty_pages;
	stats->estimated_count = false;
	stats->num_index_tuples = vacuum.row_count;
	/* rows inserted meanwhile were counted here but not there */
	if (!info->estimated_count && stats->num_index_tuples > info->num_heap_tuples)
		stats->num_index_tuples = info->num_heap_tuples;
	vdb_stats_note(RelationGetRelid(info->index), VDB_STAT_DEAD, (uint64) stats->tuples_removed,
				   VDB_STAT_LAST_VACUUM);
	vdb_stats_add(RelationGetRelid(info->index), VDB_STAT_REPAIRS, vacuum.repaired);
	end_vacuum(&vacuum);
	return stats;
}

/* Opens the index in a context of its own, which becomes the current one. */
static void
begin_vacuum(HnswVacuum *vacuum, IndexVacuumInfo *info)
{
	memset(vacuum, 0, sizeof(*vacuum));
	vacuum->info = info;
	vacuum->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw vacuum",
											ALLOCSET_DEFAULT_SIZES);
	vacuum->page_context = AllocSetContextCreate(vacuum->context, "hnsw vacuum page",
												 ALLOCSET_DEFAULT_SIZES);
	vacuum->list_context = AllocSetContextCreate(vacuum->context, "hnsw vacuum list",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(vacuum->context);
	vacuum->index = vdb_hnsw_open(info->index);
	vacuum->extents = vacuum->index->extents;
}

static void
end_vacuum(HnswVacuum *vacuum)
{
	MemoryContextSwitchTo(MemoryContextGetParent(vacuum->context));
	MemoryContextDelete(vacuum->context);
}

/*
 * A page in sequential order, pinned and locked.  Lists are followed through
 * the index's hints instead.
 */
Buffer
vdb_hnsw_vacuum_page(HnswVacuum *vacuum, BlockNumber block, VdbPageKind kind, uint32 extent,
					 int lock)
{
	Relation	rel = vacuum->index->rel;
	Buffer		buffer;

	vdb_pace();
	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, vacuum->info->strategy);
	LockBuffer(buffer, lock);
	vdb_page_check(rel, block, BufferGetPage(buffer), kind, extent);
	return buffer;
}

/* Rows in postings, which are on a page of this number. */
static uint32
postings_rows(HnswVacuum *vacuum, BlockNumber block, const HnswPostings *postings)
{
	if (postings->rows > vdb_hnsw_postings_room(&vacuum->index->geometry))
		vdb_page_corrupted(vacuum->index->rel, block,
						   psprintf("There cannot be postings of %u rows.", postings->rows));
	return postings->rows;
}

/* Asks about a row, and remembers it if it is dead. */
static void
ask_about(Marking *marking, ItemPointer tid, uint32 nid, uint32 at)
{
	if (marking->callback(tid, marking->callback_state))
		marking->dead[marking->count++] = (DeadRow) {nid, at};
	else
		marking->stats->num_index_tuples++;
}

/*
 * Asks about all rows of a page that is share-locked.  Postings without rows may
 * be there since a VACUUM before was interrupted, and nodes without a row of their
 * own since they had more than one.
 */
static void
ask_page(Marking *marking, BlockNumber block, Page page, uint32 first, uint32 end)
{
	const HnswGeometry *g = &marking->vacuum->index->geometry;

	marking->count = 0;
	for (uint32 nid = first; nid < end; nid++)
	{
		HnswAddress a = vdb_hnsw_node_address(g, nid);
		HnswNode   *node = vdb_hnsw_page_node(page, a);

		if (node->state == HNSW_LIVE)
		{
			if (vdb_hnsw_is_vacated(node))
				vdb_hnsw_note_chain(marking->vacuum, nid);
			else
				ask_about(marking, &node->tid, nid, 0);
		}
		else if (node->state == HNSW_POSTINGS)
		{
			HnswPostings *postings = vdb_hnsw_page_postings(page, a);
			uint32		rows = postings_rows(marking->vacuum, block, postings);

			for (uint32 i = 0; i < rows; i++)
				ask_about(marking, &vdb_hnsw_postings_tids(postings)[i], nid, i);
			if (rows == 0)
				vdb_hnsw_note_chain(marking->vacuum, postings->owner);
		}
	}
}

/* Takes rows out of postings: those that are left move up. */
static void
remove_rows(HnswVacuum *vacuum, BlockNumber block, HnswPostings *postings, const DeadRow *dead,
			int count)
{
	ItemPointerData *tids = vdb_hnsw_postings_tids(postings);
	uint32		rows = postings_rows(vacuum, block, postings);
	uint32		left = 0;
	int			next = 0;

	for (uint32 i = 0; i < rows; i++)
	{
		if (next < count && dead[next].at == i)
			next++;
		else
			tids[left++] = tids[i];
	}
	memset(tids + left, 0, (rows - left) * sizeof(ItemPointerData));
	postings->rows = left;
	if (left == 0)
		vdb_hnsw_note_chain(vacuum, postings->owner);
}

/*
 * Removes dead rows, of one page that is exclusively locked.  Since we asked
 * about them rows may have been added, to a node as well, but none moved: only
 * VACUUM takes rows out or ends a node's life, and there is no other.
 */
static void
mark_rows(Marking *marking, Buffer buffer)
{
	HnswVacuum *vacuum = marking->vacuum;
	const DeadRow *dead = marking->dead;
	const DeadRow *end = dead + marking->count;
	VdbChange	change;
	Page		page;

	vdb_change_begin(&change, vacuum->index->rel, false);
	page = vdb_change_page(&change, buffer, false);
	while (dead < end)
	{
		HnswAddress a = vdb_hnsw_node_address(&vacuum->index->geometry, dead->nid);
		HnswNode   *node = vdb_hnsw_page_node(page, a);
		int			count = 1;

		while (dead + count < end && dead[count].nid == dead->nid)
			count++;
		if (node->state == HNSW_POSTINGS)
			remove_rows(vacuum, a.block, vdb_hnsw_page_postings(page, a), dead, count);
		else if (node->duplicates == HNSW_NO_POSTINGS)
			node->state = HNSW_DEAD;
		else
		{
			memset(&node->tid, 0, sizeof(node->tid));
			vdb_hnsw_note_chain(vacuum, dead->nid);
		}
		dead += count;
	}
	vdb_change_finish(&change);
	marking->stats->tuples_removed += marking->count;
}

/* Asks about all rows of a page, and removes those that are dead. */
static void
mark_page(Marking *marking, uint32 extent, int number)
{
	HnswVacuum *vacuum = marking->vacuum;
	const HnswGeometry *g = &vacuum->index->geometry;
	uint32		first = extent * g->extent_slots + (uint32) number * g->nodes_per_page;
	BlockNumber block = vdb_hnsw_extent_block(g, extent) + 1 + number;
	Buffer		buffer;

	vdb_hnsw_release_many(vacuum, vdb_index_maintenance_memory() / 8);
	buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_NODE, extent, BUFFER_LOCK_SHARE);
	ask_page(marking, block, BufferGetPage(buffer), first, first + page_nodes(g, number));
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (marking->count > 0)
	{
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		mark_rows(marking, buffer);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	ReleaseBuffer(buffer);
}

/*
 * Bytes that sets of nodes, and what mends the tree, may take.  A few bits a node
 * are so little that less than LEAST_MEMORY is not worth what it costs.
 */
static Size
memory_limit(void)
{
	return Max(vdb_index_maintenance_memory(), LEAST_MEMORY);
}

/*
 * Sets of nodes that there are at a time: the dead, those whose turn comes, the
 * live, and three of the search for what can be reached.
 */
#define SETS 6

/*
 * Extents whose nodes are dealt with at once.  Half of the memory is for what
 * mends the tree.
 */
static uint32
range_extents(HnswVacuum *vacuum)
{
	Size		nodes = memory_limit() / 2 / SETS * BITS_PER_BYTE;

	if (VDB_TESTPOINT_IS("hnsw-vacuum-by-ranges"))
		return vacuum->extents / 4 + 1;
	return (uint32) Max(1, Min(nodes / vacuum->index->geometry.extent_slots, vacuum->extents));
}

/* An empty set of nodes, in the vacuum's context. */
static void
init_set(HnswVacuum *vacuum, HnswBits *set, uint32 first, uint32 count)
{
	set->first = first;
	set->count = count;
	set->words = MemoryContextAllocExtended(vacuum->context, hnsw_bits_bytes(count),
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* Repairs the graph around the dead nodes, those whose turn it is. */
static void
repair_graph(HnswVacuum *vacuum, uint32 dead)
{
	Size		used = SETS * hnsw_bits_bytes(vacuum->dead.count);
	Size		for_tree = memory_limit() - Min(memory_limit(), used);

	if (VDB_TESTPOINT_IS("hnsw-vacuum-by-ranges"))
		for_tree = 0;
	vdb_hnsw_mend_tree(vacuum, for_tree);
	used += vacuum->tree.size * sizeof(HnswTreeEdge);
	if (dead >= vacuum->live.count / FEW_DEAD && used < vdb_index_maintenance_memory())
	{
		vdb_hnsw_remember_inbound(vacuum, (vdb_index_maintenance_memory() - used) / 2);
		used += vacuum->inbound.count * HNSW_INBOUND_BYTES;
		vdb_hnsw_copy_codes(vacuum, vdb_index_maintenance_memory() - used);
	}
	vdb_hnsw_repair(vacuum);
	vdb_hnsw_free_codes(vacuum);
	vdb_hnsw_forget_inbound(vacuum);
	if (vacuum->tree.edges != NULL)
		pfree(vacuum->tree.edges);
}

/* Takes those dead nodes whose turn comes; false when there is none. */
static bool
take_later(HnswVacuum *vacuum)
{
	memcpy(vacuum->dead.words, vacuum->later.words, hnsw_bits_bytes(vacuum->dead.count));
	memset(vacuum->later.words, 0, hnsw_bits_bytes(vacuum->dead.count));
	return hnsw_bits_next(&vacuum->dead, NULL, 0) != HNSW_BITS_NONE;
}

/*
 * Repairs the graph around the dead nodes of some extents, and frees them: all
 * at once, unless memory is short.  Only when no dead node is left in the tree
 * can be seen what it does not lead to.
 */
static void
vacuum_range(HnswVacuum *vacuum, uint32 first, uint32 count)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	Dead		dead = {0};
	bool		more;

	init_set(vacuum, &vacuum->dead, first * g->extent_slots, count * g->extent_slots);
	init_set(vacuum, &vacuum->later, first * g->extent_slots, count * g->extent_slots);
	init_set(vacuum, &vacuum->live, first * g->extent_slots, count * g->extent_slots);
	for (uint32 extent = first; extent < first + count; extent++)
		collect_extent(vacuum, extent, &dead);
	VDB_TESTPOINT("hnsw-vacuum-after-collect");
	if (dead.nodes > 0 || lacks_entry(vacuum))
		replace_entry(vacuum);
	do
	{
		if (dead.linked > 0)
			repair_graph(vacuum, dead.nodes);
		more = hnsw_bits_next(&vacuum->later, NULL, 0) != HNSW_BITS_NONE;
		if (!more)
			vdb_hnsw_tie_unreached(vacuum);
		VDB_TESTPOINT("hnsw-vacuum-after-repair");
		if (dead.nodes > 0)
		{
			free_records(vacuum);
			VDB_TESTPOINT("hnsw-vacuum-before-free");
			free_nodes(vacuum, first, count);
			VDB_TESTPOINT("hnsw-vacuum-after-free");
		}
	} while (more && take_later(vacuum));
	pfree(vacuum->live.words);
	pfree(vacuum->later.words);
	pfree(vacuum->dead.words);
}

/*
 * Tells the free space map of a node extent with room.  The map is not logged,
 * so every VACUUM tells it again.
 */
static void
publish_extent(HnswVacuum *vacuum, uint32 extent)
{
	RecordFreeIndexPage(vacuum->index->rel,
						vdb_hnsw_extent_block(&vacuum->index->geometry, extent));
}

/* Has a node extent room?  The one that inserts know of does not count. */
static bool
is_room_unknown(HnswVacuum *vacuum, uint32 extent)
{
	HnswIndex  *index = vacuum->index;
	Buffer		buffer;
	VdbPageSpecial *special;
	bool		room;

	if (extent == index->open_extent)
		return false;
	buffer = vdb_hnsw_vacuum_page(vacuum, vdb_hnsw_extent_block(&index->geometry, extent),
								  VDB_PAGE_HNSW_HOT, extent, BUFFER_LOCK_SHARE);
	special = vdb_page_special(BufferGetPage(buffer));
	room = special->free > 0 || special->used < index->geometry.extent_slots;
	UnlockReleaseBuffer(buffer);
	return room;
}

/*
 * Adds the nodes of an extent to the sets, and counts the dead ones.  A live node whose own row
 * has gone is one like others.  Publishes room that is there already.
 */
static void
collect_extent(HnswVacuum *vacuum, uint32 extent, Dead *dead)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	bool		upper = vdb_hnsw_is_upper(vacuum->index, extent, vacuum->info->strategy);
	uint32		nid = extent * g->extent_slots;
	uint32		live = 0;
	uint32		postings = 0;

	if (!upper && is_room_unknown(vacuum, extent))
		publish_extent(vacuum, extent);
	for (int i = 0; i < g->node_pages && !upper; i++)
	{
		BlockNumber block = vdb_hnsw_extent_block(g, extent) + 1 + i;
		Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_NODE, extent,
												  BUFFER_LOCK_SHARE);

		for (uint32 end = nid + page_nodes(g, i); nid < end; nid++)
		{
			HnswAddress a = vdb_hnsw_node_address(g, nid);
			HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);

			if (node->state == HNSW_LIVE)
			{
				hnsw_bits_add(&vacuum->live, nid);
				live++;
				vacuum->row_count += vdb_hnsw_is_vacated(node) ? 0 : 1;
			}
			else if (node->state == HNSW_DEAD)
			{
				hnsw_bits_add(&vacuum->dead, nid);
				dead->nodes++;
				/* one that was never linked has not had a list */
				if (node->count > 0 || !vdb_hnsw_is_pending(vacuum->index, nid, node->kept))
					dead->linked++;
			}
			else if (node->state == HNSW_POSTINGS)
			{
				postings++;
				vacuum->row_count += vdb_hnsw_page_postings(BufferGetPage(buffer), a)->rows;
			}
		}
		UnlockReleaseBuffer(buffer);
	}
	vacuum->live_count += live;
	if (!upper && live == 0 && postings == 0)
		vacuum->empty_pages += g->extent_pages;
}

/* A possible entry point. */
typedef struct Entry
{
	uint32		nid;
	uint32		ref;
	int			layer;
} Entry;

static bool
node_is_live(HnswVacuum *vacuum, uint32 nid)
{
	HnswIndex  *index = vacuum->index;
	HnswNode	node;

	if (nid == HNSW_NO_NODE || !vdb_hnsw_nid_exists(index, nid))
		return false;
	vdb_hnsw_read_slot(index, nid, &node);
	return node.state == HNSW_LIVE;
}

/*
 * Are there live nodes that no entry point leads to?  An insert whose
 * neighbours all died between its search and its writing may leave one.
 */
static bool
lacks_entry(HnswVacuum *vacuum)
{
	vdb_hnsw_refresh(vacuum->index);
	return vacuum->live_count > 0 && !node_is_live(vacuum, vacuum->index->entry_nid);
}

/* Makes *entry the highest live node of an upper extent, if higher. */
static void
find_entry_in_records(HnswVacuum *vacuum, uint32 extent, Entry *entry)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	char	   *copy = MemoryContextAlloc(vacuum->page_context, BLCKSZ);

	for (int i = 0; i < g->extent_pages; i++)
	{
		BlockNumber block = vdb_hnsw_extent_block(g, extent) + i;
		uint32		ref = extent * g->upper_slots + (uint32) i * g->uppers_per_page;
		Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_UPPER, extent,
												  BUFFER_LOCK_SHARE);
		uint32		used;

		memcpy(copy, BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
		used = Min(vdb_page_special(copy)->used, g->uppers_per_page);
		for (uint32 end = ref + used; ref < end; ref++)
		{
			HnswUpper  *upper = vdb_hnsw_page_upper(copy, vdb_hnsw_upper_address(g, ref));

			if (upper->nid != HNSW_NO_NODE && upper->layer > entry->layer &&
				upper->layer <= HNSW_MAX_LAYER && node_is_live(vacuum, upper->nid))
				*entry = (Entry) {upper->nid, ref, upper->layer};
		}
	}
	MemoryContextReset(vacuum->page_context);
}

/* Is a node live, and not one that nobody has linked yet? */
static bool
may_be_entry(HnswVacuum *vacuum, uint32 nid)
{
	HnswNode	node;

	vdb_hnsw_read_slot(vacuum->index, nid, &node);
	return node.state == HNSW_LIVE && !vdb_hnsw_waits(vacuum->index, nid, node.kept);
}

/* Makes *entry the first live node of a node extent that does not wait, if it is none yet. */
static void
find_entry_in_nodes(HnswVacuum *vacuum, uint32 extent, Entry *entry)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	uint32		first = extent * g->extent_slots;

	for (uint32 i = 0; i < g->extent_slots && entry->nid == HNSW_NO_NODE; i++)
	{
		if (i % g->nodes_per_page == 0)
			vdb_pace();
		if (may_be_entry(vacuum, first + i))
			*entry = (Entry) {first + i, HNSW_NO_REF, 0};
	}
}

/* A live node of the highest layer there is. */
static Entry
find_entry(HnswVacuum *vacuum)
{
	Entry		entry = {HNSW_NO_NODE, HNSW_NO_REF, 0};
	uint32		extents = vacuum->index->extents;

	for (uint32 extent = 0; extent < extents; extent++)
	{
		if (vdb_hnsw_is_upper(vacuum->index, extent, vacuum->info->strategy))
			find_entry_in_records(vacuum, extent, &entry);
	}
	for (uint32 extent = 0; extent < extents && entry.nid == HNSW_NO_NODE; extent++)
	{
		if (!vdb_hnsw_is_upper(vacuum->index, extent, vacuum->info->strategy))
			find_entry_in_nodes(vacuum, extent, &entry);
	}
	return entry;
}

/*
 * Replaces the entry point unless it is live.  Inserts may replace it as well:
 * whatever is there in the end was looked at.  Without a live node there is no
 * entry point, and after saying so we look once more: a node inserted before
 * was told that there is one, a node inserted after makes itself the one.
 */
static void
replace_entry(HnswVacuum *vacuum)
{
	HnswIndex  *index = vacuum->index;

	for (;;)
	{
		uint32		old;
		Entry		entry;

		vdb_hnsw_refresh(index);
		old = index->entry_nid;
		if (node_is_live(vacuum, old))
			return;
		entry = find_entry(vacuum);
		if (old == HNSW_NO_NODE && entry.nid == HNSW_NO_NODE)
			return;
		vdb_hnsw_replace_entry(index, old, entry.nid, entry.ref, entry.layer);
	}
}

/* Frees the records of dead nodes on one page. */
static void
free_page_records(HnswVacuum *vacuum, uint32 extent, int number)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent) + number;
	uint32		first = extent * g->upper_slots + (uint32) number * g->uppers_per_page;
	Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_UPPER, extent,
											  BUFFER_LOCK_EXCLUSIVE);
	uint32		used = Min(vdb_page_special(BufferGetPage(buffer))->used, g->uppers_per_page);
	VdbChange	change;
	Page		page;
	uint32		freed = 0;

	vdb_change_begin(&change, vacuum->index->rel, false);
	page = vdb_change_page(&change, buffer, false);
	for (uint32 ref = first; ref < first + used; ref++)
	{
		HnswUpper  *upper = vdb_hnsw_page_upper(page, vdb_hnsw_upper_address(g, ref));

		if (upper->nid == HNSW_NO_NODE || !hnsw_bits_has(&vacuum->dead, upper->nid))
			continue;
		memset(upper, 0, g->upper_stride);
		upper->nid = HNSW_NO_NODE;
		vdb_page_special(page)->free++;
		freed++;
	}
	if (freed > 0)
		vdb_change_finish(&change);
	else
		vdb_change_abort(&change);
	UnlockReleaseBuffer(buffer);
}

/* Frees the records of dead nodes, before their numbers can be used again. */
static void
free_records(HnswVacuum *vacuum)
{
	for (uint32 extent = 0; extent < vacuum->extents; extent++)
	{
		if (!vdb_hnsw_is_upper(vacuum->index, extent, vacuum->info->strategy))
			continue;
		for (int i = 0; i < vacuum->index->geometry.extent_pages; i++)
			free_page_records(vacuum, extent, i);
	}
}

void
vdb_hnsw_free_slot(const HnswGeometry *g, Page hot_page, Page node_page, uint32 nid)
{
	HnswAddress a = vdb_hnsw_hot_address(g, nid);
	HnswHot    *hot = vdb_hnsw_page_hot(hot_page, a);
	HnswNode   *node = vdb_hnsw_page_node(node_page, vdb_hnsw_node_address(g, nid));
	uint32		generation = node->generation + 1;

	memset(hot, 0, g->hot_stride);
	memset(vdb_hnsw_page_attributes(g, hot_page, a), 0, g->attr_bytes);
	memset(node, 0, g->node_stride);
	hot->generation = generation;
	node->generation = generation;
	vdb_page_special(hot_page)->free++;
}

/* Frees the dead nodes of one node page, given its hot page. */
static uint32
free_page_nodes(HnswVacuum *vacuum, uint32 extent, int number)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);
	uint32		first = extent * g->extent_slots + (uint32) number * g->nodes_per_page;
	uint32		end = first + page_nodes(g, number);
	uint32		nid = hnsw_bits_next(&vacuum->dead, NULL, first);
	Buffer		hot_buffer;
	Buffer		node_buffer;
	VdbChange	change;
	Page		hot_page;
	Page		node_page;
	uint32		freed = 0;

	if (nid >= end)
		return 0;
	hot_buffer = vdb_hnsw_vacuum_page(vacuum, block, VDB_PAGE_HNSW_HOT, extent,
									  BUFFER_LOCK_EXCLUSIVE);
	node_buffer = ReadBufferExtended(vacuum->index->rel, MAIN_FORKNUM, block + 1 + number,
									 RBM_NORMAL, vacuum->info->strategy);
	LockBuffer(node_buffer, BUFFER_LOCK_EXCLUSIVE);
	vdb_page_check(vacuum->index->rel, block + 1 + number, BufferGetPage(node_buffer),
				   VDB_PAGE_HNSW_NODE, extent);

	vdb_change_begin(&change, vacuum->index->rel, false);
	hot_page = vdb_change_page(&change, hot_buffer, false);
	node_page = vdb_change_page(&change, node_buffer, false);
	for (; nid < end; nid = hnsw_bits_next(&vacuum->dead, NULL, nid + 1))
	{
		if (vdb_hnsw_page_node(node_page, vdb_hnsw_node_address(g, nid))->state != HNSW_DEAD)
			continue;
		vdb_hnsw_free_slot(g, hot_page, node_page, nid);
		freed++;
	}
	vdb_change_finish(&change);
	UnlockReleaseBuffer(node_buffer);
	UnlockReleaseBuffer(hot_buffer);
	return freed;
}

/* Frees the dead nodes of some extents.  Nothing of the graph leads to them. */
static void
free_nodes(HnswVacuum *vacuum, uint32 first, uint32 count)
{
	for (uint32 extent = first; extent < first + count; extent++)
	{
		uint32		freed = 0;

		if (hnsw_bits_next(&vacuum->dead, NULL, extent * vacuum->index->geometry.extent_slots) >=
			(extent + 1) * vacuum->index->geometry.extent_slots)
			continue;
		for (int i = 0; i < vacuum->index->geometry.node_pages; i++)
			freed += free_page_nodes(vacuum, extent, i);
		if (freed > 0)
			publish_extent(vacuum, extent);
	}
}
