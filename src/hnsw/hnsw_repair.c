/*
 * hnsw_repair.c
 *	  Vacuum's repair of the graph: lists learn to do without dead nodes.
 *
 * A live node u with an edge to a dead node w is given, in its place, live
 * neighbours of w near to u: the local rule of FreshDiskANN (Singh et al.,
 * 2021), with few candidates for each dead neighbour as in IP-DiskANN (Xu et
 * al., 2025).  That keeps neighbourhoods together but promises no path to
 * everybody, so afterwards we look what the entry point still leads to and tie
 * the rest to it.
 *
 * Inserts go on meanwhile.  Lists are chosen from copies, without any lock
 * held, and written back merged with what was added in between.  Edges of
 * concurrent inserts that lead to a dead node are left alone: an edge is a
 * hint.
 */
#include "postgres.h"

#include <math.h>

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hnsw/hnsw_private.h"

/* Candidates that one dead neighbour stands for. */
#define BRIDGES 3

/* Edges that tie a node to what the entry point leads to. */
#define TIES 2

/* To tie a node may cost another its last edge: look again, but not for ever. */
#define TIE_ROUNDS 4

/* A neighbour list away from its page. */
typedef struct EdgeList
{
	uint32		count;
	HnswEdge   *edges;			/* score is that of the page, if any */
} EdgeList;

/* A list that is to be written back to a slot of the page in work. */
typedef struct Repair
{
	uint32		number;			/* node number, or reference of the record */
	uint32		nid;
	uint32		generation;
	EdgeList	before;			/* what was read */
	EdgeList	after;
} Repair;

/* A node that may become a neighbour. */
typedef struct Candidate
{
	HnswEdge	edge;
	void	   *vector;
} Candidate;

/* The choice of one list. */
typedef struct Choice
{
	HnswVacuum *vacuum;
	uint32		nid;			/* whose list it is */
	int			layer;
	uint32		max;			/* edges of a list on this layer */
	VdbQuery	query;			/* its vector */
	Candidate  *candidates;
	uint32		count;
	uint32		size;
} Choice;

/* What the entry point leads to. */
typedef struct Reach
{
	HnswVacuum *vacuum;
	HnswBits	reached;
	HnswBits	expanded;		/* reached, and its list was read */
	HnswBits	posts;			/* nodes that others were tied to */
	uint32		next_post;		/* nodes below were all asked in this round */
} Reach;

static void repair_nodes(HnswVacuum *vacuum, uint32 extent);
static void repair_records(HnswVacuum *vacuum, uint32 extent);

void
vdb_hnsw_repair(HnswVacuum *vacuum)
{
	for (uint32 extent = 0; extent < vacuum->extents; extent++)
	{
		if (vdb_hnsw_vacuum_is_upper(vacuum, extent))
			repair_records(vacuum, extent);
		else
			repair_nodes(vacuum, extent);
	}
}

/* A node's list, in the current context. */
static EdgeList
load_node_list(HnswVacuum *vacuum, BlockNumber block, HnswNode *node)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	uint32	   *nbr = vdb_hnsw_node_nbr(node);
	uint16	   *lengths = vdb_hnsw_node_length(g, node);
	EdgeList	list;

	list.count = node->count;
	if (list.count > 2u * g->m)
		vdb_page_corrupted(vacuum->index->rel, block, "A node has too many neighbours.");
	list.edges = palloc(2 * g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < list.count; i++)
		list.edges[i] = (HnswEdge) {nbr[i], HNSW_NO_REF, vdb_hnsw_length_load(lengths[i])};
	return list;
}

/* A record's list, in the current context. */
static EdgeList
load_record_list(HnswVacuum *vacuum, BlockNumber block, HnswUpper *upper)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	HnswUpperEdge *nbr = vdb_hnsw_upper_nbr(upper);
	EdgeList	list;

	list.count = upper->count;
	if (list.count > g->m)
		vdb_page_corrupted(vacuum->index->rel, block, "A record has too many neighbours.");
	list.edges = palloc(g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < list.count; i++)
		list.edges[i] = (HnswEdge) {nbr[i].nid, nbr[i].ref, 0};
	return list;
}

/* The list of a dead neighbour on a layer, empty when it is not there. */
static EdgeList
read_list(HnswVacuum *vacuum, HnswEdge edge, int layer)
{
	HnswIndex  *index = vacuum->index;
	EdgeList	list = {0, NULL};
	HnswAddress a;
	Buffer		buffer;

	if (layer == 0)
	{
		a = vdb_hnsw_node_address(&index->geometry, edge.nid);
		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
		list = load_node_list(vacuum, a.block, vdb_hnsw_page_node(BufferGetPage(buffer), a));
		UnlockReleaseBuffer(buffer);
	}
	else if (edge.ref != HNSW_NO_REF && vdb_hnsw_ref_exists(index, edge.ref))
	{
		HnswUpper  *upper;

		a = vdb_hnsw_upper_address(&index->geometry, edge.ref);
		buffer = vdb_hnsw_read_upper(index, a, BUFFER_LOCK_SHARE);
		upper = vdb_hnsw_page_upper(BufferGetPage(buffer), a);
		if (upper->nid == edge.nid && upper->layer == layer)
			list = load_record_list(vacuum, a.block, upper);
		UnlockReleaseBuffer(buffer);
	}
	return list;
}

static bool
list_has(EdgeList list, uint32 nid)
{
	for (uint32 i = 0; i < list.count; i++)
	{
		if (list.edges[i].nid == nid)
			return true;
	}
	return false;
}

static bool
list_has_dead(HnswVacuum *vacuum, EdgeList list)
{
	for (uint32 i = 0; i < list.count; i++)
	{
		if (hnsw_bits_has(&vacuum->dead, list.edges[i].nid))
			return true;
	}
	return false;
}

/* Prepares to choose neighbours for a node; false when it is not live. */
static bool
begin_choice(Choice *choice, HnswVacuum *vacuum, uint32 nid, int layer)
{
	HnswIndex  *index = vacuum->index;
	const HnswGeometry *g = &index->geometry;

	memset(choice, 0, sizeof(*choice));
	choice->vacuum = vacuum;
	choice->nid = nid;
	choice->layer = layer;
	choice->max = layer == 0 ? 2 * g->m : g->m;
	choice->size = 2 * choice->max;
	choice->candidates = palloc(choice->size * sizeof(Candidate));
	choice->query.vector = palloc(index->codec.vector_bytes);
	if (!vdb_hnsw_load_vector(index, nid, choice->query.vector))
		return false;
	choice->query.hot = palloc(vdb_query_bytes(&index->codec, choice->query.vector));
	/* the norm serves bounds alone, which nobody asks for here */
	vdb_query_prepare(&choice->query, &index->codec, 0);
	return true;
}

/* Adds a node to the candidates if it is live and there is room. */
static void
add_candidate(Choice *choice, HnswEdge edge)
{
	HnswIndex  *index = choice->vacuum->index;
	Candidate  *candidate = &choice->candidates[choice->count];

	if (choice->count == choice->size || edge.nid == choice->nid ||
		!vdb_hnsw_nid_exists(index, edge.nid))
		return;
	for (uint32 i = 0; i < choice->count; i++)
	{
		if (choice->candidates[i].edge.nid == edge.nid)
			return;
	}
	candidate->vector = palloc(index->codec.vector_bytes);
	candidate->edge = edge;
	if (!vdb_hnsw_load_vector(index, edge.nid, candidate->vector))
	{
		pfree(candidate->vector);
		return;
	}
	candidate->edge.score = vdb_vector_score(&index->codec, choice->query.vector, candidate->vector);
	if (!isnan(candidate->edge.score))
		choice->count++;
}

/* Offers those live neighbours of a dead node that look nearest. */
static void
add_bridges(Choice *choice, EdgeList before, HnswEdge dead, HnswPool *bridges)
{
	HnswVacuum *vacuum = choice->vacuum;
	HnswIndex  *index = vacuum->index;
	EdgeList	members = read_list(vacuum, dead, choice->layer);
	HnswCandidate items[BRIDGES + 1];
	HnswPool	nearest;
	HnswCandidate evicted;

	hnsw_pool_init(&nearest, items, BRIDGES);
	for (uint32 i = 0; i < members.count; i++)
	{
		HnswEdge   *edge = &members.edges[i];
		HnswCandidate item = {0, edge->nid, edge->ref, 0};

		if (edge->nid == choice->nid || hnsw_bits_has(&vacuum->dead, edge->nid) ||
			!vdb_hnsw_nid_exists(index, edge->nid) || list_has(before, edge->nid))
			continue;
		item.score = vdb_hnsw_score_hot(index, &choice->query, edge->nid);
		if (hnsw_pool_admits(&nearest, item.score))
			hnsw_pool_insert(&nearest, item, &evicted);
	}
	for (uint32 i = 0; i < nearest.size; i++)
	{
		bool		known = false;

		for (uint32 j = 0; j < bridges->size && !known; j++)
			known = bridges->items[j].nid == nearest.items[i].nid;
		if (!known && hnsw_pool_admits(bridges, nearest.items[i].score))
			hnsw_pool_insert(bridges, nearest.items[i], &evicted);
	}
}

/*
 * Searches layer 0 for candidates: the nearest nodes, or with `of` those of
 * this set on the way to them.
 */
static void
search_candidates(Choice *choice, const HnswBits *of)
{
	HnswSearch	search;

	vdb_hnsw_search_begin(&search, choice->vacuum->index, choice->query.vector, 0);
	vdb_hnsw_search_descend(&search, 0);
	vdb_hnsw_search_base(&search, choice->max);
	vdb_hnsw_search_sort(&search);
	for (uint32 i = 0; i < search.found_count; i++)
	{
		uint32		nid = search.found[i].nid;

		if (of == NULL || hnsw_bits_has(of, nid))
			add_candidate(choice, (HnswEdge) {nid, HNSW_NO_REF, 0});
	}
	vdb_hnsw_search_end(&search);
}

static int
compare_candidates(const void *a, const void *b)
{
	float		x = ((const Candidate *) a)->edge.score;
	float		y = ((const Candidate *) b)->edge.score;

	return x < y ? -1 : x > y;
}

/*
 * Chooses from the candidates: diverse ones, as an insert does; then what the
 * list had; then the nearest of what it had not, until it is about as long as
 * it was.  A quarter is left free of those, for inserts to come.
 */
static EdgeList
end_choice(Choice *choice, EdgeList before, MemoryContext context)
{
	uint32		count = choice->count;
	float	   *scores = palloc(choice->size * sizeof(float));
	const void **vectors = palloc(choice->size * sizeof(void *));
	uint32	   *chosen = palloc(choice->max * sizeof(uint32));
	bool	   *taken = palloc0(choice->size * sizeof(bool));
	uint32		fill = Max(choice->max / 2, Min(before.count, choice->max * 3 / 4));
	uint32		kept;
	EdgeList	list;

	qsort(choice->candidates, count, sizeof(Candidate), compare_candidates);
	for (uint32 i = 0; i < count; i++)
	{
		scores[i] = choice->candidates[i].edge.score;
		vectors[i] = choice->candidates[i].vector;
	}
	kept = vdb_hnsw_choose(&choice->vacuum->index->codec, scores, vectors, count, choice->max, 0,
						   chosen);
	for (uint32 i = 0; i < kept; i++)
		taken[chosen[i]] = true;
	for (uint32 i = 0; i < count && kept < choice->max; i++)
	{
		if (!taken[i] && list_has(before, choice->candidates[i].edge.nid))
		{
			chosen[kept++] = i;
			taken[i] = true;
		}
	}
	for (uint32 i = 0; i < count && kept < fill; i++)
	{
		if (!taken[i])
			chosen[kept++] = i;
	}
	list.count = kept;
	list.edges = MemoryContextAlloc(context, choice->max * sizeof(HnswEdge));
	for (uint32 i = 0; i < kept; i++)
		list.edges[i] = choice->candidates[chosen[i]].edge;
	return list;
}

/*
 * Chooses a list that does without dead nodes.  False when the node is not
 * live.  The result is in the page context.
 */
static bool
choose_list(HnswVacuum *vacuum, uint32 nid, int layer, EdgeList before, EdgeList *after)
{
	MemoryContext old = MemoryContextSwitchTo(vacuum->list_context);
	Choice		choice;
	bool		live;

	vdb_vacuum_delay_point();
	live = begin_choice(&choice, vacuum, nid, layer);
	if (live)
	{
		HnswPool	bridges;

		hnsw_pool_init(&bridges, palloc((choice.max + 1) * sizeof(HnswCandidate)), choice.max);
		for (uint32 i = 0; i < before.count; i++)
		{
			if (hnsw_bits_has(&vacuum->dead, before.edges[i].nid))
				add_bridges(&choice, before, before.edges[i], &bridges);
			else
				add_candidate(&choice, before.edges[i]);
		}
		for (uint32 i = 0; i < bridges.size; i++)
			add_candidate(&choice, (HnswEdge) {bridges.items[i].nid, bridges.items[i].ref, 0});
		if (layer == 0 && choice.count < Min(before.count, choice.max / 2))
			search_candidates(&choice, NULL);
		*after = end_choice(&choice, before, vacuum->page_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(vacuum->list_context);
	return live;
}

/*
 * What a list should be now: what was chosen, and what was added to the page
 * since we read it.
 */
static EdgeList
merge_lists(const Repair *repair, EdgeList now, uint32 max)
{
	EdgeList	merged = {0, palloc(max * sizeof(HnswEdge))};

	for (uint32 i = 0; i < now.count; i++)
	{
		uint32		nid = now.edges[i].nid;

		if (!list_has(repair->before, nid) && !list_has(repair->after, nid))
			merged.edges[merged.count++] = now.edges[i];
	}
	for (uint32 i = 0; i < repair->after.count && merged.count < max; i++)
		merged.edges[merged.count++] = repair->after.edges[i];
	return merged;
}

/* The tree's edges of a list, the first `kept`, that lead to live nodes. */
static EdgeList
live_tree(HnswVacuum *vacuum, EdgeList now, uint32 kept)
{
	EdgeList	tree = {0, palloc(Max(now.count, 1) * sizeof(HnswEdge))};

	for (uint32 i = 0; i < Min(kept, now.count); i++)
	{
		if (!hnsw_bits_has(&vacuum->dead, now.edges[i].nid))
			tree.edges[tree.count++] = now.edges[i];
	}
	return tree;
}

/* Writes a list: the edges to be kept, then as many of the others as fit. */
static void
store_node_list(const HnswGeometry *g, HnswNode *node, EdgeList tree, EdgeList others)
{
	uint32	   *nbr = vdb_hnsw_node_nbr(node);
	uint16	   *lengths = vdb_hnsw_node_length(g, node);
	EdgeList	list = {0, palloc(2 * g->m * sizeof(HnswEdge))};

	for (uint32 i = 0; i < tree.count; i++)
		list.edges[list.count++] = tree.edges[i];
	for (uint32 i = 0; i < others.count && list.count < 2u * g->m; i++)
	{
		if (!list_has(tree, others.edges[i].nid))
			list.edges[list.count++] = others.edges[i];
	}

	memset(nbr, 0, 2 * g->m * sizeof(uint32));
	memset(lengths, 0, 2 * g->m * sizeof(uint16));
	for (uint32 i = 0; i < list.count; i++)
	{
		nbr[i] = list.edges[i].nid;
		lengths[i] = vdb_hnsw_length_store(list.edges[i].score);
	}
	node->count = list.count;
	node->kept = tree.count;
}

static void
store_record_list(const HnswGeometry *g, HnswUpper *upper, EdgeList list)
{
	HnswUpperEdge *nbr = vdb_hnsw_upper_nbr(upper);

	memset(nbr, 0, g->m * sizeof(HnswUpperEdge));
	for (uint32 i = 0; i < list.count; i++)
		nbr[i] = (HnswUpperEdge) {list.edges[i].nid, list.edges[i].ref};
	upper->count = list.count;
}

/*
 * Writes lists back to a page that is pinned but not locked, in one change,
 * except where the slot has another owner now.
 */
static void
write_lists(HnswVacuum *vacuum, Buffer buffer, const Repair *repairs, int count, bool upper)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	BlockNumber block = BufferGetBlockNumber(buffer);
	VdbChange	change;
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	vdb_change_begin(&change, vacuum->index->rel, false);
	page = vdb_change_page(&change, buffer, false);
	for (int i = 0; i < count; i++)
	{
		const Repair *repair = &repairs[i];

		if (upper)
		{
			HnswUpper  *record = vdb_hnsw_page_upper(page, vdb_hnsw_upper_address(g, repair->number));

			if (record->nid == repair->nid && record->generation == repair->generation)
				store_record_list(g, record, merge_lists(repair, load_record_list(vacuum, block, record), g->m));
		}
		else
		{
			HnswNode   *node = vdb_hnsw_page_node(page, vdb_hnsw_node_address(g, repair->number));

			if (node->state == HNSW_LIVE && node->generation == repair->generation)
			{
				EdgeList	now = load_node_list(vacuum, block, node);
				EdgeList	tree = live_tree(vacuum, now, node->kept);

				store_node_list(g, node, tree, merge_lists(repair, now, 2 * g->m));
			}
		}
	}
	vdb_change_finish(&change);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/* A page of the index, unlocked but pinned in *buffer, and a copy of it. */
static Page
copy_page(HnswVacuum *vacuum, BlockNumber block, VdbPageKind kind, uint32 extent, Buffer *buffer)
{
	char	   *copy = palloc(BLCKSZ);

	*buffer = vdb_hnsw_vacuum_page(vacuum, block, kind, extent, BUFFER_LOCK_SHARE);
	memcpy(copy, BufferGetPage(*buffer), BLCKSZ);
	LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
	return copy;
}

/* Repairs the nodes of one node page, first..end - 1. */
static void
repair_node_page(HnswVacuum *vacuum, uint32 extent, BlockNumber block, uint32 first, uint32 end)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	Repair	   *repairs = palloc((end - first) * sizeof(Repair));
	int			count = 0;
	Buffer		buffer;
	Page		copy = copy_page(vacuum, block, VDB_PAGE_HNSW_NODE, extent, &buffer);

	for (uint32 nid = first; nid < end; nid++)
	{
		HnswNode   *node = vdb_hnsw_page_node(copy, vdb_hnsw_node_address(g, nid));
		Repair	   *repair = &repairs[count];

		if (node->state != HNSW_LIVE)
			continue;
		repair->number = repair->nid = nid;
		repair->generation = node->generation;
		repair->before = load_node_list(vacuum, block, node);
		if (list_has_dead(vacuum, repair->before) &&
			choose_list(vacuum, nid, 0, repair->before, &repair->after))
			count++;
	}
	if (count > 0)
		write_lists(vacuum, buffer, repairs, count, false);
	ReleaseBuffer(buffer);
}

static void
repair_nodes(HnswVacuum *vacuum, uint32 extent)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	MemoryContext old = MemoryContextSwitchTo(vacuum->page_context);
	uint32		end = (extent + 1) * g->extent_slots;

	for (uint32 first = extent * g->extent_slots; first < end; first += g->nodes_per_page)
	{
		HnswAddress a = vdb_hnsw_node_address(g, first);

		repair_node_page(vacuum, extent, a.block, first, Min(end, first + g->nodes_per_page));
		MemoryContextReset(vacuum->page_context);
	}
	MemoryContextSwitchTo(old);
}

/* Repairs the records of one page of an upper extent, first..first + used - 1. */
static void
repair_record_page(HnswVacuum *vacuum, uint32 extent, BlockNumber block, uint32 first)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	Buffer		buffer;
	Page		copy = copy_page(vacuum, block, VDB_PAGE_HNSW_UPPER, extent, &buffer);
	uint32		used = Min(vdb_page_special(copy)->used, g->uppers_per_page);
	Repair	   *repairs = palloc(Max(used, 1) * sizeof(Repair));
	int			count = 0;

	for (uint32 ref = first; ref < first + used; ref++)
	{
		HnswUpper  *upper = vdb_hnsw_page_upper(copy, vdb_hnsw_upper_address(g, ref));
		Repair	   *repair = &repairs[count];

		if (upper->nid == HNSW_NO_NODE || hnsw_bits_has(&vacuum->dead, upper->nid) ||
			!vdb_hnsw_nid_exists(vacuum->index, upper->nid))
			continue;
		repair->number = ref;
		repair->nid = upper->nid;
		repair->generation = upper->generation;
		repair->before = load_record_list(vacuum, block, upper);
		if (list_has_dead(vacuum, repair->before) &&
			choose_list(vacuum, upper->nid, upper->layer, repair->before, &repair->after))
			count++;
	}
	if (count > 0)
		write_lists(vacuum, buffer, repairs, count, true);
	ReleaseBuffer(buffer);
}

static void
repair_records(HnswVacuum *vacuum, uint32 extent)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	MemoryContext old = MemoryContextSwitchTo(vacuum->page_context);
	BlockNumber block = vdb_hnsw_extent_block(g, extent);

	for (int i = 0; i < g->extent_pages; i++)
	{
		repair_record_page(vacuum, extent, block + i,
						   extent * g->upper_slots + (uint32) i * g->uppers_per_page);
		MemoryContextReset(vacuum->page_context);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Reads the lists of the reached nodes on one node page, and takes what their
 * edges of the tree lead to for reached: other edges may be given up later.
 * Nodes that are not live lead nowhere.
 */
static void
expand_page(Reach *reach, uint32 nid)
{
	HnswVacuum *vacuum = reach->vacuum;
	const HnswGeometry *g = &vacuum->index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	uint32		first = nid - a.slot;
	uint32		end = Min(first + g->nodes_per_page, (a.extent + 1) * g->extent_slots);
	Buffer		buffer = vdb_hnsw_vacuum_page(vacuum, a.block, VDB_PAGE_HNSW_NODE, a.extent,
											  BUFFER_LOCK_SHARE);

	while ((nid = hnsw_bits_next(&reach->reached, &reach->expanded, first)) < end)
	{
		HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), vdb_hnsw_node_address(g, nid));
		uint32	   *nbr = vdb_hnsw_node_nbr(node);

		hnsw_bits_add(&reach->expanded, nid);
		if (node->state != HNSW_LIVE)
			continue;
		for (uint32 i = 0; i < Min(node->kept, 2u * g->m); i++)
			hnsw_bits_add(&reach->reached, nbr[i]);
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Expands whatever is reached, in sweeps over the index: few are needed, as a
 * sweep goes on from what it finds ahead of it.
 */
static void
expand_reach(Reach *reach)
{
	uint32		nid = hnsw_bits_next(&reach->reached, &reach->expanded, 0);

	while (nid != HNSW_BITS_NONE)
	{
		for (; nid != HNSW_BITS_NONE;
			 nid = hnsw_bits_next(&reach->reached, &reach->expanded, nid + 1))
			expand_page(reach, nid);
		nid = hnsw_bits_next(&reach->reached, &reach->expanded, 0);
	}
}

/* Gives candidates, the nearest first, an edge to this node; returns how many. */
static uint32
tie_to_candidates(Reach *reach, Choice *choice)
{
	HnswIndex  *index = reach->vacuum->index;
	uint32		ties = 0;

	qsort(choice->candidates, choice->count, sizeof(Candidate), compare_candidates);
	for (uint32 i = 0; i < choice->count && ties < TIES; i++)
	{
		HnswEdge   *edge = &choice->candidates[i].edge;

		/* the second edge that a node gives up could be the one it got here */
		if (hnsw_bits_has(&reach->reached, edge->nid) && !hnsw_bits_has(&reach->posts, edge->nid) &&
			vdb_hnsw_add_edge(index, edge->nid, 0, &choice->query, choice->nid, edge->score,
							  HNSW_CLAIM_MUST))
		{
			VdbQuery	back;

			/* an edge of the tree leads both ways */
			back.vector = choice->candidates[i].vector;
			back.hot = palloc(vdb_query_bytes(&index->codec, back.vector));
			vdb_query_prepare(&back, &index->codec, 0);
			vdb_hnsw_add_edge(index, choice->nid, 0, &back, edge->nid, edge->score,
							  HNSW_CLAIM_MUST);
			hnsw_bits_add(&reach->posts, edge->nid);
			ties++;
		}
	}
	return ties;
}

/* Ties a node to the first reached node that has an edge left for it. */
static bool
tie_to_anyone(Reach *reach, Choice *choice)
{
	HnswVacuum *vacuum = reach->vacuum;
	MemoryContext old = MemoryContextSwitchTo(vacuum->page_context);
	uint32		ties = 0;
	uint32		nid;

	while (ties == 0 &&
		   (nid = hnsw_bits_next(&reach->reached, &reach->posts, reach->next_post)) != HNSW_BITS_NONE)
	{
		vdb_vacuum_delay_point();
		reach->next_post = nid + 1;
		choice->count = 0;
		add_candidate(choice, (HnswEdge) {nid, HNSW_NO_REF, 0});
		ties = tie_to_candidates(reach, choice);
		MemoryContextReset(vacuum->page_context);
	}
	MemoryContextSwitchTo(old);
	return ties > 0;
}

/*
 * Ties a node to nodes that were reached: its neighbours, or those a search
 * for it comes by, or anyone.
 */
static bool
tie_node(Reach *reach, Choice *choice, EdgeList own)
{
	for (uint32 i = 0; i < own.count; i++)
		add_candidate(choice, own.edges[i]);
	if (tie_to_candidates(reach, choice) > 0)
		return true;
	choice->count = 0;
	search_candidates(choice, &reach->reached);
	if (tie_to_candidates(reach, choice) > 0)
		return true;
	return tie_to_anyone(reach, choice);
}

/*
 * Finds what the entry point leads to, and ties the rest to it.  Returns how
 * many nodes that took.
 */
static uint32
tie_round(Reach *reach)
{
	HnswVacuum *vacuum = reach->vacuum;
	Size		bytes = hnsw_bits_bytes(reach->reached.count);
	uint32		nid = 0;
	uint32		tied = 0;

	memset(reach->reached.words, 0, bytes);
	memset(reach->expanded.words, 0, bytes);
	reach->next_post = 0;
	vdb_hnsw_refresh(vacuum->index);
	if (vacuum->index->entry_nid == HNSW_NO_NODE)
		return 0;
	hnsw_bits_add(&reach->reached, vacuum->index->entry_nid);
	expand_reach(reach);
	while ((nid = hnsw_bits_next(&vacuum->live, &reach->reached, nid)) != HNSW_BITS_NONE)
	{
		Choice		choice;
		EdgeList	own;

		vdb_vacuum_delay_point();
		own = read_list(vacuum, (HnswEdge) {nid, HNSW_NO_REF, 0}, 0);
		if (begin_choice(&choice, vacuum, nid, 0) && tie_node(reach, &choice, own))
			tied++;
		hnsw_bits_add(&reach->reached, nid);
		expand_reach(reach);
		MemoryContextReset(vacuum->list_context);
	}
	return tied;
}

/*
 * Makes every live node reachable over live nodes.  Needs to know all of them;
 * where the sets do not fit the memory that maintenance may use, we do without
 * and rely on the repair of lists alone.
 */
void
vdb_hnsw_tie_unreached(HnswVacuum *vacuum)
{
	Size		bytes = hnsw_bits_bytes(vacuum->live.count);
	MemoryContext old;
	Reach		reach;

	if (!vacuum->knows_all)
	{
		ereport(vacuum->info->message_level,
				(errmsg("index \"%s\": did not look for nodes that cannot be reached any more",
						RelationGetRelationName(vacuum->index->rel)),
				 errhint("Raise maintenance_work_mem.")));
		return;
	}
	old = MemoryContextSwitchTo(vacuum->list_context);
	reach.vacuum = vacuum;
	reach.reached = reach.expanded = reach.posts = vacuum->live;
	reach.reached.words = MemoryContextAllocHuge(vacuum->context, bytes);
	reach.expanded.words = MemoryContextAllocHuge(vacuum->context, bytes);
	reach.posts.words = MemoryContextAllocHuge(vacuum->context, bytes);
	memset(reach.posts.words, 0, bytes);
	for (int round = 0; round < TIE_ROUNDS; round++)
	{
		if (tie_round(&reach) == 0)
			break;
	}
	pfree(reach.posts.words);
	pfree(reach.expanded.words);
	pfree(reach.reached.words);
	MemoryContextSwitchTo(old);
}
