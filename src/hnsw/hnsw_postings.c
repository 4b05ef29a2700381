/*
 * hnsw_postings.c
 *	  Rows that share a node: attaching one, and reading those of a node.
 *
 * A row whose value and attributes are those of a node's row is no node of its
 * own, but an identifier in postings, to which the node leads and nothing else.
 * What the chain of a node's postings may look like to those who read and change
 * it at the same time is in docs/design/013-equal-rows.md; VACUUM's part is in
 * hnsw_release.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_private.h"
#include "testpoint.h"

/* Postings in which there may be room for a row, before new ones are made. */
#define POSTINGS_TRIES 8

/* A chain is never changed so often while one looks at it, unless it is damaged. */
#define MAX_RESTARTS 1000

bool
vdb_hnsw_node_is_equal(const HnswGeometry *g, HnswNode *node, const HnswNewRow *row)
{
	VdbNodeFactors f = vdb_hnsw_node_factors(node);

	return row->hash != 0 && node->hash == row->hash && memcmp(&f, &row->factors, sizeof(f)) == 0 &&
		(g->node_bits == 0 || (memcmp(vdb_hnsw_node_hi(g, node), row->hi, g->hi_bytes) == 0 &&
							   memcmp(vdb_hnsw_node_lo(g, node), row->lo, g->lo_bytes) == 0));
}

bool
vdb_hnsw_hot_is_equal(HnswIndex *index, uint32 nid, uint32 generation, const HnswNewRow *row)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_hot_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_hot(index, a);
	Page		page = BufferGetPage(buffer);
	HnswHot    *hot = vdb_hnsw_page_hot(page, a);
	bool		equal;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	equal = hot->generation == generation &&
		memcmp(vdb_hnsw_page_attributes(g, page, a), row->attributes, g->attr_bytes) == 0 &&
		memcmp(vdb_hnsw_hot_code(hot), vdb_hnsw_hot_code(row->hot), g->hot_bytes) == 0;
	UnlockReleaseBuffer(buffer);
	return equal;
}

/* A node that rows share, and what was read of it. */
typedef struct Owner
{
	uint32		nid;
	uint32		generation;
	ItemPointerData tid;		/* of its own row */
	uint32		first;			/* link to postings */
	bool		vacant;			/* there is room for an identifier */
} Owner;

/* Reads what a node leads to; false when it does not live any more. */
static bool
read_owner(HnswIndex *index, Owner *owner)
{
	HnswNode	node;

	vdb_hnsw_read_slot(index, owner->nid, &node);
	owner->tid = node.tid;
	owner->first = node.duplicates;
	owner->vacant = vdb_hnsw_is_vacated(&node);
	return node.state == HNSW_LIVE && node.generation == owner->generation;
}

/* Is a node what was read of it?  Its page is locked. */
static bool
owner_is_same(const HnswNode *node, const Owner *owner)
{
	return node->state == HNSW_LIVE && node->generation == owner->generation &&
		node->duplicates == owner->first && vdb_hnsw_is_vacated(node) == owner->vacant;
}

/* Are postings of a node, and sound?  Their page is locked. */
static bool
are_postings_of(HnswIndex *index, BlockNumber block, const HnswPostings *postings, uint32 owner,
				uint32 generation)
{
	if (postings->state != HNSW_POSTINGS || postings->owner != owner ||
		postings->owner_generation != generation)
		return false;
	if (postings->rows > vdb_hnsw_postings_room(&index->geometry) || postings->rank == 0)
		vdb_page_corrupted(index->rel, block, psprintf("The postings of node %u are damaged.", owner));
	return true;
}

/* The address of postings that a link leads to. */
static HnswAddress
postings_address(HnswIndex *index, uint32 link)
{
	if (!vdb_hnsw_nid_exists(index, link - 1))
		vdb_page_corrupted(index->rel, HNSW_META_BLOCK,
						   psprintf("Postings %u are led to, but do not exist.", link - 1));
	return vdb_hnsw_node_address(&index->geometry, link - 1);
}

/* Puts an identifier where that of the node's own row was. */
static bool
fill_vacancy(HnswIndex *index, const Owner *owner, ItemPointer tid)
{
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, owner->nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	bool		same = owner_is_same(vdb_hnsw_page_node(BufferGetPage(buffer), a), owner);

	if (same)
	{
		VdbPatch	patch;

		vdb_patch_begin(&patch, index->rel);
		vdb_patch_write(&patch, buffer, a.offset + offsetof(HnswNode, tid), tid, sizeof(*tid));
		vdb_patch_finish(&patch);
	}
	UnlockReleaseBuffer(buffer);
	return same;
}

/* Puts an identifier into postings, if they have room; else *next is the link to older ones. */
static bool
append_row(HnswIndex *index, const Owner *owner, uint32 link, ItemPointer tid, uint32 *next)
{
	HnswAddress a = postings_address(index, link);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	HnswPostings *postings = vdb_hnsw_page_postings(BufferGetPage(buffer), a);
	bool		are = are_postings_of(index, a.block, postings, owner->nid, owner->generation);
	bool		room = are && postings->rows < vdb_hnsw_postings_room(&index->geometry);

	*next = are ? postings->next : HNSW_NO_POSTINGS;
	if (room)
	{
		uint16		rows = postings->rows + 1;
		VdbPatch	patch;

		vdb_patch_begin(&patch, index->rel);
		vdb_patch_write(&patch, buffer, a.offset + offsetof(HnswPostings, rows), &rows, sizeof(rows));
		vdb_patch_write(&patch, buffer,
						a.offset + sizeof(HnswPostings) + postings->rows * sizeof(ItemPointerData),
						tid, sizeof(*tid));
		vdb_patch_finish(&patch);
	}
	UnlockReleaseBuffer(buffer);
	return room;
}

/*
 * Puts an identifier into one of the first postings of a chain, if they have room:
 * VACUUM may have made some in older ones.
 */
static bool
fill_postings(HnswIndex *index, const Owner *owner, ItemPointer tid)
{
	uint32		link = owner->first;
	bool		done = false;

	for (int i = 0; i < POSTINGS_TRIES && link != HNSW_NO_POSTINGS && !done; i++)
		done = append_row(index, owner, link, tid, &link);
	return done;
}

/* Pages that are locked together, in the order of their blocks. */
typedef struct LockedPages
{
	int			count;
	Buffer		buffers[3];		/* pinned */
} LockedPages;

/* Adds a pinned page, unless it is there, and then gives up the pin. */
static void
add_page(LockedPages *pages, Buffer buffer)
{
	int			at = pages->count;

	for (int i = 0; i < pages->count; i++)
	{
		if (pages->buffers[i] == buffer)
		{
			ReleaseBuffer(buffer);
			return;
		}
	}
	for (; at > 0 && BufferGetBlockNumber(pages->buffers[at - 1]) > BufferGetBlockNumber(buffer); at--)
		pages->buffers[at] = pages->buffers[at - 1];
	pages->buffers[at] = buffer;
	pages->count++;
}

/*
 * Makes new postings the first of a chain.  The pages of all nodes are pinned
 * before the hot page is locked, but for that of the slot, which is of the same
 * extent; and locked after it.
 */
static bool
push_postings(HnswIndex *index, const Owner *owner, ItemPointer tid)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress owner_address = vdb_hnsw_node_address(g, owner->nid);
	Buffer		owner_buffer = vdb_hnsw_pin_node(index, owner_address);
	HnswAddress first_address = {0};
	Buffer		first = InvalidBuffer;
	LockedPages pages = {0};
	HnswHot    *hot = palloc0(g->hot_stride);
	HnswPostings *postings = palloc0(g->node_stride);
	uint32		rank = 0;
	Buffer		hot_buffer;
	Buffer		node_buffer;
	uint32		nid;
	bool		same;

	add_page(&pages, owner_buffer);
	if (owner->first != HNSW_NO_POSTINGS)
	{
		first_address = postings_address(index, owner->first);
		first = vdb_hnsw_pin_node(index, first_address);
		add_page(&pages, first);
	}
	nid = vdb_hnsw_lock_free_slot(index, &hot_buffer, &hot->generation);
	node_buffer = vdb_hnsw_pin_node(index, vdb_hnsw_node_address(g, nid));
	add_page(&pages, node_buffer);
	for (int i = 0; i < pages.count; i++)
		LockBuffer(pages.buffers[i], BUFFER_LOCK_EXCLUSIVE);

	/* the slot may be the node's own by now: then that is free */
	same = owner_is_same(vdb_hnsw_page_node(BufferGetPage(owner_buffer), owner_address), owner);
	if (same && first != InvalidBuffer)
	{
		HnswPostings *next = vdb_hnsw_page_postings(BufferGetPage(first), first_address);

		same = are_postings_of(index, first_address.block, next, owner->nid, owner->generation);
		rank = next->rank;
	}
	if (same && rank < PG_UINT32_MAX - 1)
	{
		uint32		link = nid + 1;
		VdbPatch	patch;

		vdb_hnsw_mark_postings(hot);
		postings->state = HNSW_POSTINGS;
		postings->generation = hot->generation;
		postings->next = owner->first;
		postings->owner = owner->nid;
		postings->owner_generation = owner->generation;
		postings->rank = rank + 1;
		postings->rows = 1;
		*vdb_hnsw_postings_tids(postings) = *tid;

		vdb_patch_begin(&patch, index->rel);
		vdb_hnsw_take_slot(index, &patch, nid, hot_buffer, hot, node_buffer, postings);
		vdb_patch_write(&patch, owner_buffer, owner_address.offset + offsetof(HnswNode, duplicates), &link,
						sizeof(link));
		vdb_patch_finish(&patch);
	}
	for (int i = pages.count - 1; i >= 0; i--)
		UnlockReleaseBuffer(pages.buffers[i]);
	UnlockReleaseBuffer(hot_buffer);
	return same && rank < PG_UINT32_MAX - 1;
}

bool
vdb_hnsw_attach(HnswIndex *index, uint32 nid, uint32 generation, ItemPointer tid)
{
	Owner		owner = {.nid = nid, .generation = generation};

	for (int tries = 0; tries < HNSW_ATTACH_TRIES && read_owner(index, &owner); tries++)
	{
		CHECK_FOR_INTERRUPTS();
		VDB_TESTPOINT("hnsw-insert-before-attach");
		if (owner.vacant)
		{
			if (fill_vacancy(index, &owner, tid))
				return true;
		}
		else if (fill_postings(index, &owner, tid) || push_postings(index, &owner, tid))
			return true;
	}
	return false;
}

/* How far the rows that share a node were read. */
typedef struct HnswChain
{
	ItemPointerData own;		/* what the node had, before them */
	bool		ended;			/* all were read, and the node again */
	uint32		link;			/* where the next ones are */
	uint32		rank;			/* of those read last: the next have a lower one */
	uint32		at;				/* row that is next in tids */
	uint32		count;
	ItemPointerData tids[FLEXIBLE_ARRAY_MEMBER];	/* of one slot */
} HnswChain;

/*
 * Reads a slot of postings that a link leads to, if they are of this node.  Their
 * rows go to the chain if they are older than what was read before.
 */
static bool
read_postings(HnswIndex *index, const HnswFound *found, uint32 link, uint32 *rank, uint32 *next)
{
	HnswChain  *chain = found->chain;
	HnswAddress a = postings_address(index, link);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswPostings *postings = vdb_hnsw_page_postings(BufferGetPage(buffer), a);
	bool		are = are_postings_of(index, a.block, postings, found->nid, found->generation);

	if (are)
	{
		*rank = postings->rank;
		*next = postings->next;
		if (*rank < chain->rank)
		{
			chain->rank = *rank;
			chain->at = 0;
			chain->count = postings->rows;
			memcpy(chain->tids, vdb_hnsw_postings_tids(postings), chain->count * sizeof(ItemPointerData));
		}
	}
	UnlockReleaseBuffer(buffer);
	return are;
}

/* Is a row among those read last? */
static bool
was_read(const HnswChain *chain, ItemPointerData *tid)
{
	for (uint32 i = 0; i < chain->count; i++)
	{
		if (ItemPointerCompare((ItemPointer) &chain->tids[i], tid) == 0)
			return true;
	}
	return false;
}

/*
 * VACUUM may have moved a row into the node, whose own had gone, out of postings
 * that were there when we read the node.  If we have not come to them, this is
 * where it is.  They were of rank 1, the last there is: so if we have, it is among
 * the rows read last.  Any other row that the node has by now was put there since,
 * and is not one that our snapshot sees.
 */
static void
read_node_again(HnswIndex *index, const HnswFound *found)
{
	HnswChain  *chain = found->chain;
	Owner		owner = {.nid = found->nid, .generation = found->generation};

	chain->ended = true;
	if (read_owner(index, &owner) && !owner.vacant && ItemPointerCompare(&owner.tid, &chain->own) != 0 &&
		!was_read(chain, &owner.tid))
	{
		chain->tids[0] = owner.tid;
		chain->at = 0;
		chain->count = 1;
	}
}

/* Goes on to the next postings of a chain that have rows. */
static void
read_chain_on(HnswIndex *index, const HnswFound *found)
{
	HnswChain  *chain = found->chain;
	uint32		above = 0;		/* rank of those passed by last, 0: none */
	int			restarts = 0;

	while (chain->link != HNSW_NO_POSTINGS && chain->at == chain->count)
	{
		uint32		rank;
		uint32		next;

		CHECK_FOR_INTERRUPTS();
		if (read_postings(index, found, chain->link, &rank, &next) && (above == 0 || rank < above))
		{
			/* those of a greater rank were read before, or are newer */
			above = rank;
			chain->link = next;
		}
		else
		{
			/* others took their place: what is left is where the node leads to */
			Owner		owner = {.nid = found->nid, .generation = found->generation};

			if (++restarts > MAX_RESTARTS)
				vdb_page_corrupted(index->rel, vdb_hnsw_node_address(&index->geometry, found->nid).block,
								   psprintf("The postings of node %u do not end.", found->nid));
			chain->link = read_owner(index, &owner) ? owner.first : HNSW_NO_POSTINGS;
			above = 0;
		}
	}
	if (chain->at == chain->count && !chain->ended)
		read_node_again(index, found);
}

bool
vdb_hnsw_next_equal(HnswSearch *search, HnswFound *found, ItemPointerData *tid)
{
	HnswChain  *chain = found->chain;

	if (found->postings == HNSW_NO_POSTINGS)
		return false;
	if (chain == NULL)
	{
		Size		room = vdb_hnsw_postings_room(&search->index->geometry) * sizeof(ItemPointerData);

		chain = found->chain = MemoryContextAlloc(search->context, sizeof(HnswChain) + room);
		chain->own = found->tid;
		chain->ended = false;
		chain->link = found->postings;
		chain->rank = PG_UINT32_MAX;
		chain->at = chain->count = 0;
	}
	if (chain->at == chain->count)
		read_chain_on(search->index, found);
	if (chain->at == chain->count)
	{
		pfree(chain);
		found->chain = NULL;
		found->postings = HNSW_NO_POSTINGS;
		return false;
	}
	*tid = chain->tids[chain->at++];
	return true;
}
