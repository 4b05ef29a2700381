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

/* A chain is never changed so often while one looks at it, unless it is damaged. */
#define MAX_RESTARTS 1000

bool
vdb_hnsw_node_is_equal(const HnswGeometry *g, HnswNode *node, const HnswNewRow *row)
{
	VdbNodeFactors f = vdb_hnsw_node_factors(node);

	return node->hash == row->hash && memcmp(&f, &row->factors, sizeof(f)) == 0 &&
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

/* Where postings are, of which node, and what they say of themselves. */
typedef struct Chain
{
	uint32		owner;
	uint32		generation;
	uint32		first;			/* link */
	bool		vacant;			/* the owner has room for an identifier */
} Chain;

/* Reads what a node leads to; false when it does not live any more. */
static bool
read_chain(HnswIndex *index, Chain *chain)
{
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, chain->owner);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	bool		lives = node->state == HNSW_LIVE && node->generation == chain->generation;

	chain->first = node->duplicates;
	chain->vacant = !ItemPointerIsValid(&node->tid);
	UnlockReleaseBuffer(buffer);
	return lives;
}

/* Is a node what was read of it?  Its page is locked. */
static bool
chain_is_same(HnswNode *node, const Chain *chain)
{
	return node->state == HNSW_LIVE && node->generation == chain->generation &&
		node->duplicates == chain->first && ItemPointerIsValid(&node->tid) == !chain->vacant;
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
fill_vacancy(HnswIndex *index, const Chain *chain, ItemPointer tid)
{
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, chain->owner);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	bool		same = chain_is_same(vdb_hnsw_page_node(BufferGetPage(buffer), a), chain);

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

/* Puts an identifier into the first postings, if they have room. */
static bool
append_row(HnswIndex *index, const Chain *chain, ItemPointer tid)
{
	HnswAddress a = postings_address(index, chain->first);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_EXCLUSIVE);
	HnswPostings *postings = vdb_hnsw_page_postings(BufferGetPage(buffer), a);
	bool		room = are_postings_of(index, a.block, postings, chain->owner, chain->generation) &&
		postings->rows < vdb_hnsw_postings_room(&index->geometry);

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
push_postings(HnswIndex *index, const Chain *chain, ItemPointer tid)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress owner_address = vdb_hnsw_node_address(g, chain->owner);
	Buffer		owner = vdb_hnsw_pin_node(index, owner_address);
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

	add_page(&pages, owner);
	if (chain->first != HNSW_NO_POSTINGS)
	{
		first_address = postings_address(index, chain->first);
		first = vdb_hnsw_pin_node(index, first_address);
		add_page(&pages, first);
	}
	nid = vdb_hnsw_lock_free_slot(index, &hot_buffer, &hot->generation);
	node_buffer = vdb_hnsw_pin_node(index, vdb_hnsw_node_address(g, nid));
	add_page(&pages, node_buffer);
	for (int i = 0; i < pages.count; i++)
		LockBuffer(pages.buffers[i], BUFFER_LOCK_EXCLUSIVE);

	/* the slot may be the node's own by now: then that is free */
	same = chain_is_same(vdb_hnsw_page_node(BufferGetPage(owner), owner_address), chain);
	if (same && first != InvalidBuffer)
	{
		HnswPostings *next = vdb_hnsw_page_postings(BufferGetPage(first), first_address);

		same = are_postings_of(index, first_address.block, next, chain->owner, chain->generation);
		rank = next->rank;
	}
	if (same && rank < PG_UINT32_MAX - 1)
	{
		uint32		link = nid + 1;
		VdbPatch	patch;

		memset(&hot->add, 0xFF, sizeof(hot->add));
		memset(&hot->rescale, 0xFF, sizeof(hot->rescale));
		postings->state = HNSW_POSTINGS;
		postings->generation = hot->generation;
		postings->next = chain->first;
		postings->owner = chain->owner;
		postings->owner_generation = chain->generation;
		postings->rank = rank + 1;
		postings->rows = 1;
		*vdb_hnsw_postings_tids(postings) = *tid;

		vdb_patch_begin(&patch, index->rel);
		vdb_hnsw_take_slot(index, &patch, nid, hot_buffer, hot, node_buffer, postings);
		vdb_patch_write(&patch, owner, owner_address.offset + offsetof(HnswNode, duplicates), &link,
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
	Chain		chain = {.owner = nid, .generation = generation};

	for (int tries = 0; tries < HNSW_ATTACH_TRIES && read_chain(index, &chain); tries++)
	{
		CHECK_FOR_INTERRUPTS();
		VDB_TESTPOINT("hnsw-insert-before-attach");
		if (chain.vacant)
		{
			if (fill_vacancy(index, &chain, tid))
				return true;
		}
		else if ((chain.first != HNSW_NO_POSTINGS && append_row(index, &chain, tid)) ||
				 push_postings(index, &chain, tid))
			return true;
	}
	return false;
}

/*
 * Reads postings into tids, which has room for a slot's.  Returns whether they are
 * of this node, and sets the rest then.
 */
static bool
read_postings(HnswIndex *index, uint32 link, const HnswFound *from, uint32 *rank, uint32 *next,
			  ItemPointerData *tids, uint32 *count)
{
	HnswAddress a = postings_address(index, link);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswPostings *postings = vdb_hnsw_page_postings(BufferGetPage(buffer), a);
	bool		are = are_postings_of(index, a.block, postings, from->nid, from->generation);

	if (are)
	{
		*rank = postings->rank;
		*next = postings->next;
		*count = postings->rows;
		memcpy(tids, vdb_hnsw_postings_tids(postings), *count * sizeof(ItemPointerData));
	}
	UnlockReleaseBuffer(buffer);
	return are;
}

void
vdb_hnsw_follow_postings(HnswSearch *search, uint32 at)
{
	HnswIndex  *index = search->index;
	HnswFound	from = search->found[at];
	uint32		link = from.postings;
	uint32		above = 0;		/* rank of those passed by last, 0: none */
	uint32		count = 0;
	int			restarts = 0;
	ItemPointerData *tids = MemoryContextAlloc(search->context,
											   vdb_hnsw_postings_room(&index->geometry) * sizeof(ItemPointerData));

	from.shared = true;
	from.postings = HNSW_NO_POSTINGS;
	while (link != HNSW_NO_POSTINGS && count == 0)
	{
		uint32		rank;
		uint32		next;

		CHECK_FOR_INTERRUPTS();
		if (read_postings(index, link, &from, &rank, &next, tids, &count) &&
			(above == 0 || rank < above))
		{
			link = next;
			if (rank >= from.rank)
			{
				/* read before, or newer */
				above = rank;
				count = 0;
			}
			else
				from.rank = rank;
		}
		else
		{
			/* others took their place: what is left is where the node leads to */
			Chain		chain = {.owner = from.nid, .generation = from.generation};

			if (++restarts > MAX_RESTARTS)
				vdb_page_corrupted(index->rel, vdb_hnsw_node_address(&index->geometry, from.nid).block,
								   psprintf("The postings of node %u do not end.", from.nid));
			link = read_chain(index, &chain) ? chain.first : HNSW_NO_POSTINGS;
			above = 0;
			count = 0;
		}
	}
	for (uint32 i = 0; i < count; i++)
	{
		HnswFound  *found = vdb_hnsw_append_found(search);

		*found = from;
		found->tid = tids[i];

		/* the last one leads on */
		if (i == count - 1)
			found->postings = link;
	}
	pfree(tids);
}
