/*
 * hnsw_release.c
 *	  Vacuum gives back postings without rows.
 *
 * Nothing but a chain leads to postings, so their slot can be freed as soon as
 * what led to them leads to what they led to, in one record.  A node whose own
 * row has gone as well is dead when its chain ends so.
 *
 * Such a node and postings of one row would be two slots for that row: it moves
 * into the node, and its postings are given back like those without rows.
 *
 * Only VACUUM takes anything out of a chain, and there is no other: what is
 * read of it holds, except that an insert may put postings before the first or
 * rows into any.  So we look again under the locks, and begin again at the node
 * if something came in between.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_private.h"
#include "pace.h"
#include "testpoint.h"

/* Nodes that are noted before their chains are gone through, at least. */
#define MANY_NOTED 16384

/* Node slots that a page can hold at most. */
#define MAX_PAGE_NODES (BLCKSZ / sizeof(HnswNode))

/* Room is left by vdb_hnsw_release_many(). */
void
vdb_hnsw_note_chain(HnswVacuum *vacuum, uint32 owner)
{
	/* those of one chain often lie side by side */
	if (vacuum->noted_count > 0 && vacuum->noted[vacuum->noted_count - 1] == owner)
		return;
	vacuum->noted[vacuum->noted_count++] = owner;
}

/*
 * Can the row of postings move into their node?  They are all that a node has whose
 * own row has gone.  Only the oldest postings give a row away, so that a scan knows
 * of which slot a row is that it meets in a node (see vdb_hnsw_next_equal()).
 */
static bool
is_last_row(const HnswNode *node, uint32 leader, const HnswPostings *postings)
{
	return leader == postings->owner && vdb_hnsw_is_vacated(node) && postings->rows == 1 &&
		postings->rank == 1 && postings->next == HNSW_NO_POSTINGS;
}

/*
 * Frees postings that a node or newer postings lead to, without rows or of the last
 * row of a node, which moves into that; seen: what was read of them.  False when
 * that is not so any more.
 */
static bool
release_postings(HnswVacuum *vacuum, uint32 nid, const HnswPostings *seen, uint32 leader)
{
	HnswIndex  *index = vacuum->index;
	const HnswGeometry *g = &index->geometry;
	HnswAddress own = vdb_hnsw_node_address(g, nid);
	HnswAddress leading = vdb_hnsw_node_address(g, leader);
	Buffer		hot_buffer = vdb_hnsw_read_hot(index, vdb_hnsw_hot_address(g, nid));
	Buffer		own_buffer = vdb_hnsw_pin_node(index, own);
	Buffer		leading_buffer = vdb_hnsw_pin_node(index, leading);
	Buffer		first = own.block <= leading.block ? own_buffer : leading_buffer;
	Buffer		second = own.block <= leading.block ? leading_buffer : own_buffer;
	HnswPostings *postings = vdb_hnsw_page_postings(BufferGetPage(own_buffer), own);
	HnswNode   *led_by;
	bool		released;

	VDB_TESTPOINT("hnsw-vacuum-before-release");
	LockBuffer(hot_buffer, BUFFER_LOCK_EXCLUSIVE);
	LockBuffer(first, BUFFER_LOCK_EXCLUSIVE);
	if (second != first)
		LockBuffer(second, BUFFER_LOCK_EXCLUSIVE);

	led_by = vdb_hnsw_page_node(BufferGetPage(leading_buffer), leading);
	released = postings->generation == seen->generation && led_by->duplicates == nid + 1 &&
		(postings->rows == 0 || is_last_row(led_by, leader, postings));
	if (released)
	{
		VdbChange	change;
		Page		hot_page;
		Page		first_page;
		Page		second_page;
		HnswNode   *node;

		vdb_change_begin(&change, index->rel, false);
		hot_page = vdb_change_page(&change, hot_buffer, false);
		first_page = vdb_change_page(&change, first, false);
		second_page = second != first ? vdb_change_page(&change, second, false) : first_page;
		node = vdb_hnsw_page_node(leading_buffer == first ? first_page : second_page, leading);
		node->duplicates = seen->next;
		if (postings->rows > 0)
			node->tid = vdb_hnsw_postings_tids(postings)[0];
		if (leader == seen->owner && vdb_hnsw_is_vacated(node) && seen->next == HNSW_NO_POSTINGS)
			node->state = HNSW_DEAD;
		vdb_hnsw_free_slot(g, hot_page, own_buffer == first ? first_page : second_page, nid);
		vdb_change_finish(&change);
	}

	if (second != first)
		LockBuffer(second, BUFFER_LOCK_UNLOCK);
	LockBuffer(first, BUFFER_LOCK_UNLOCK);
	UnlockReleaseBuffer(hot_buffer);
	ReleaseBuffer(own_buffer);
	ReleaseBuffer(leading_buffer);
	return released;
}

/*
 * Goes along the chain of a node and frees postings without rows; those of its last
 * row too if rows may move.  False when something was put in between, so that not
 * all may have been found.
 */
static bool
release_chain(HnswVacuum *vacuum, uint32 owner, bool may_move)
{
	HnswIndex  *index = vacuum->index;
	const HnswGeometry *g = &index->geometry;
	uint64		rank = (uint64) PG_UINT32_MAX + 1;
	uint32		leader = owner;
	uint32		link;
	HnswNode	node;

	vdb_hnsw_read_slot(index, owner, &node);
	link = node.duplicates;
	if (node.state != HNSW_LIVE)
		vdb_page_corrupted(index->rel, vdb_hnsw_node_address(g, owner).block,
						   psprintf("Postings are of node %u, which does not live.", owner));
	while (link != HNSW_NO_POSTINGS)
	{
		uint32		nid = link - 1;
		HnswNode	slot;
		HnswPostings postings;

		vdb_pace();
		if (!vdb_hnsw_nid_exists(index, nid))
			vdb_page_corrupted(index->rel, vdb_hnsw_node_address(g, leader).block,
							   psprintf("Slot %u leads to postings %u, which cannot exist.", leader, nid));
		vdb_hnsw_read_slot(index, nid, &slot);
		memcpy(&postings, &slot, sizeof(postings));
		if (postings.state != HNSW_POSTINGS || postings.owner != owner ||
			postings.owner_generation != node.generation || postings.rank == 0 || postings.rank >= rank)
			vdb_page_corrupted(index->rel, vdb_hnsw_node_address(g, nid).block,
							   psprintf("Slot %u leads to slot %u, which does not have older postings of node %u.",
										leader, nid, owner));
		if (postings.rows > 0 && !(may_move && is_last_row(&node, leader, &postings)))
			leader = nid;
		else if (!release_postings(vacuum, nid, &postings, leader))
			return false;
		rank = postings.rank;
		link = postings.next;
	}
	return true;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Leaves each node once in what is noted. */
static void
sort_noted(HnswVacuum *vacuum)
{
	uint32		count = 0;

	qsort(vacuum->noted, vacuum->noted_count, sizeof(uint32), compare_numbers);
	for (uint32 i = 0; i < vacuum->noted_count; i++)
	{
		if (count == 0 || vacuum->noted[count - 1] != vacuum->noted[i])
			vacuum->noted[count++] = vacuum->noted[i];
	}
	vacuum->noted_count = count;
}

static void
release_noted(HnswVacuum *vacuum, bool may_move)
{
	HnswIndex  *index = vacuum->index;

	if (vacuum->noted_count > 0)
		sort_noted(vacuum);
	for (uint32 i = 0; i < vacuum->noted_count; i++)
	{
		uint32		owner = vacuum->noted[i];

		if (!vdb_hnsw_nid_exists(index, owner))
			vdb_page_corrupted(index->rel, HNSW_META_BLOCK,
							   psprintf("Postings are of node %u, which cannot exist.", owner));
		while (!release_chain(vacuum, owner, may_move))
			CHECK_FOR_INTERRUPTS();
	}
	vacuum->noted_count = 0;
}

/*
 * A row that moves into its node before it was asked about, while the node was
 * already, would not be asked about: so rows move when all were.
 */
void
vdb_hnsw_release_all(HnswVacuum *vacuum)
{
	release_noted(vacuum, true);
}

/*
 * A long chain may be noted over and over, and is gone through as a whole: that
 * waits until many different ones are.
 */
void
vdb_hnsw_release_many(HnswVacuum *vacuum, Size memory)
{
	uint32		many = Max(MANY_NOTED, Min(memory / sizeof(uint32), PG_INT32_MAX / 2));

	if (VDB_TESTPOINT_IS("hnsw-vacuum-by-ranges"))
		many = 1;
	if (vacuum->noted_count >= many)
	{
		sort_noted(vacuum);
		if (vacuum->noted_count > many / 2)
			release_noted(vacuum, false);
	}
	if (vacuum->noted == NULL)
	{
		vacuum->noted_size = MANY_NOTED + MAX_PAGE_NODES;
		vacuum->noted = MemoryContextAlloc(vacuum->context, vacuum->noted_size * sizeof(uint32));
	}
	else if (vacuum->noted_count + MAX_PAGE_NODES > vacuum->noted_size)
	{
		vacuum->noted_size = Min(2 * vacuum->noted_size, many + MAX_PAGE_NODES);
		vacuum->noted = repalloc_huge(vacuum->noted, (Size) vacuum->noted_size * sizeof(uint32));
	}
}
