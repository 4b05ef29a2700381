/*
 * hnsw_tree.c
 *	  What becomes of the tree on layer 0 when nodes die.
 *
 * Dead nodes that the tree's edges connect are one hole in it.  Without them it
 * falls into as many parts as there are live nodes around the hole, one in each
 * part; a path through these makes it a tree again.  So what is to be known of a
 * hole are the lists of its dead nodes, and nothing of the rest of the index.
 *
 * The edges found here are written when the lists of their nodes are repaired
 * (hnsw_repair.c).  Nobody writes to the list of a dead node, so what was read
 * of it holds.
 *
 * Where memory for edges is short, the dead nodes that were not looked at yet
 * are left for later: until then they are nodes beside a hole like any others.
 */
#include "postgres.h"


#include "hnsw/hnsw_private.h"
#include "pace.h"

/* Lists for whose edges there always is memory. */
#define LEAST_LISTS 8

/* Dead nodes of a hole that are yet to be looked at. */
typedef struct Pending
{
	uint32	   *nids;
	Size		count;
	Size		size;
} Pending;

typedef struct Mender
{
	HnswVacuum *vacuum;
	HnswBits	seen;			/* dead nodes that were pending once */
	Pending		pending;
	uint32	   *neighbors;		/* scratch: a list */
	uint32		before;			/* the last node around this hole */
	Size		most;			/* edges that there is memory for */
	bool		full;			/* no more holes */
} Mender;

/* Makes room in an array. */
static void
grow(Mender *mender, void **array, Size *size, Size width)
{
	*size = Max(1024, *size * 2);
	if (*array == NULL)
		*array = MemoryContextAllocHuge(mender->vacuum->context, *size * width);
	else
		*array = repalloc_huge(*array, *size * width);
}

/* A dead node is to be looked at, if it was not. */
static void
add_pending(Mender *mender, uint32 nid)
{
	Pending    *pending = &mender->pending;

	if (hnsw_bits_has(&mender->seen, nid))
		return;
	if (pending->count == pending->size)
		grow(mender, (void **) &pending->nids, &pending->size, sizeof(uint32));
	hnsw_bits_add(&mender->seen, nid);
	pending->nids[pending->count++] = nid;
}

/*
 * Is there memory for what one more dead node may bring: edges to all of its
 * neighbours, or these as pending nodes, which may each be an edge yet?
 */
static bool
has_room(Mender *mender)
{
	Size		list = 2 * mender->vacuum->index->geometry.m;

	return mender->vacuum->tree.count + 2 * (mender->pending.count + list) <= mender->most;
}

/* A node beside the hole: the path goes on to it. */
static void
extend_path(Mender *mender, uint32 nid)
{
	HnswTree   *tree = &mender->vacuum->tree;

	if (mender->before != HNSW_NO_NODE && mender->before != nid)
	{
		if (tree->count + 2 > tree->size)
			grow(mender, (void **) &tree->edges, &tree->size, sizeof(HnswTreeEdge));
		tree->edges[tree->count++] = (HnswTreeEdge) {mender->before, nid};
		tree->edges[tree->count++] = (HnswTreeEdge) {nid, mender->before};
	}
	mender->before = nid;
}

/* Copies the tree's edges of a dead node to the scratch; returns their number. */
static uint32
read_tree_edges(Mender *mender, uint32 nid)
{
	HnswIndex  *index = mender->vacuum->index;
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	uint32		count = node->kept;

	if (count > node->count || node->count > 2u * index->geometry.m)
		vdb_page_corrupted(index->rel, a.block, "A node has too many neighbours.");
	memcpy(mender->neighbors, vdb_hnsw_node_nbr(node), count * sizeof(uint32));
	UnlockReleaseBuffer(buffer);
	return count;
}

/*
 * May the path lead to a node?  Not where its slot was freed: that has no list
 * which could lead on.
 */
static bool
is_beside(Mender *mender, uint32 nid)
{
	HnswVacuum *vacuum = mender->vacuum;
	HnswNode	node;

	if (vacuum->knows_all || hnsw_bits_has(&vacuum->live, nid))
		return hnsw_bits_has(&vacuum->live, nid);
	if (!vdb_hnsw_nid_exists(vacuum->index, nid))
		return false;
	vdb_hnsw_read_slot(vacuum->index, nid, &node);
	return vdb_hnsw_is_node(&node);
}

/*
 * Goes around the hole that a dead node belongs to, or around a part of it that
 * there is memory for: then dead nodes next to that are on the path, and none of
 * them may be taken for dead before it is written.
 */
static void
mend_hole(Mender *mender, uint32 start)
{
	HnswVacuum *vacuum = mender->vacuum;
	Pending    *pending = &mender->pending;

	mender->before = HNSW_NO_NODE;
	add_pending(mender, start);
	while (pending->count > 0 && has_room(mender))
	{
		uint32		count;

		vdb_pace();
		count = read_tree_edges(mender, pending->nids[--pending->count]);
		for (uint32 i = 0; i < count; i++)
		{
			uint32		nid = mender->neighbors[i];

			if (hnsw_bits_has(&vacuum->dead, nid))
				add_pending(mender, nid);
			else if (is_beside(mender, nid))
				extend_path(mender, nid);
		}
	}
	mender->full = pending->count > 0;
	while (pending->count > 0)
	{
		uint32		nid = pending->nids[--pending->count];

		hnsw_bits_remove(&mender->seen, nid);
		extend_path(mender, nid);
	}
}

static int
compare_edges(const void *a, const void *b)
{
	uint32		x = ((const HnswTreeEdge *) a)->from;
	uint32		y = ((const HnswTreeEdge *) b)->from;

	return x < y ? -1 : x > y;
}

void
vdb_hnsw_mend_tree(HnswVacuum *vacuum, Size memory)
{
	HnswTree   *tree = &vacuum->tree;
	HnswBits   *later = &vacuum->later;
	Size		words = hnsw_bits_bytes(vacuum->dead.count) / sizeof(uint64);
	Mender		mender = {.vacuum = vacuum,.seen = vacuum->dead};
	uint32		nid = 0;

	memset(tree, 0, sizeof(*tree));
	mender.most = Max(memory / 2 / sizeof(HnswTreeEdge), LEAST_LISTS * 4 * vacuum->index->geometry.m);
	mender.seen.words = MemoryContextAllocExtended(vacuum->context, words * sizeof(uint64),
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	mender.neighbors = MemoryContextAlloc(vacuum->context,
										  2 * vacuum->index->geometry.m * sizeof(uint32));
	while (!mender.full &&
		   (nid = hnsw_bits_next(&vacuum->dead, &mender.seen, nid)) != HNSW_BITS_NONE)
		mend_hole(&mender, nid++);
	if (tree->count > 0)
		qsort(tree->edges, tree->count, sizeof(HnswTreeEdge), compare_edges);

	/* those seen are dead now, the others are later */
	for (Size i = 0; i < words; i++)
	{
		later->words[i] = vacuum->dead.words[i] & ~mender.seen.words[i];
		vacuum->dead.words[i] = mender.seen.words[i];
	}
	if (mender.pending.nids != NULL)
		pfree(mender.pending.nids);
	pfree(mender.neighbors);
	pfree(mender.seen.words);
}
