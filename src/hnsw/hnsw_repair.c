/*
 * hnsw_repair.c
 *	  Vacuum's repair of the graph: lists learn to do without dead nodes.
 *
 * A live node u with an edge to a dead node w is given, in its place, live
 * neighbours of w near to u: the local rule of FreshDiskANN (Singh et al.,
 * 2021), with a limit of candidates for each dead neighbour as in IP-DiskANN (Xu
 * et al., 2025); and the nearest of those nodes that lead to u without u leading to
 * them (hnsw_inbound.c).  That keeps neighbourhoods together but promises no path to
 * everybody; the tree does, which gets edges in place of those it loses
 * (hnsw_tree.c).  Whether the entry point leads to everybody, all the same, is for
 * hnsw_tie.c.
 *
 * Nodes are compared by their codes, as in a build.  The codes of live nodes do
 * not change before they are freed, which nobody but VACUUM does, so they are
 * read without locks.
 *
 * Inserts go on meanwhile.  Lists are chosen from copies, without any lock
 * held, and written back merged with what was added in between.  Edges of
 * concurrent inserts that lead to a dead node are left alone: an edge is a
 * hint.
 */
#include "postgres.h"

#include <float.h>

#include "commands/vacuum.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_repair.h"
#include "pace.h"

/*
 * Nodes that come into consideration in place of one dead neighbour.  Three, as
 * in the paper, leave a graph that finds half a point less at once, and eight one
 * that finds half a point less after ten rounds.
 */
#define BRIDGES 16

/*
 * To a node that was inserted lead about m / 2 others, to one of a build m to 2 m.
 * With fewer than the first number of them it gets other edges of its own; with
 * fewer than the second, an edge from each list that it is a candidate for and that
 * has room.
 */
#define FEW_INBOUND(m) (m)
#define WANTED_INBOUND(m) ((m) + (m) / 4)

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
	int			layer;
	bool		wide;			/* few lead to it: all its neighbours are bridges */
	EdgeList	before;			/* what was read */
	uint32		bridge_lists;	/* of its bridges, what they lead to */
	EdgeList   *bridges;
	EdgeList	after;
	EdgeList	tree;			/* edges that the tree gets, on layer 0 */
} Repair;

static void repair_nodes(HnswVacuum *vacuum, uint32 extent);
static void repair_records(HnswVacuum *vacuum, uint32 extent);

void
vdb_hnsw_repair(HnswVacuum *vacuum)
{
	for (uint32 extent = 0; extent < vacuum->extents; extent++)
	{
		if (vdb_hnsw_is_upper(vacuum->index, extent, vacuum->info->strategy))
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
	const HnswLengths *lengths = vdb_hnsw_node_lengths(g, node);
	EdgeList	list;

	list.count = node->count;
	if (list.count > 2u * g->m)
		vdb_page_corrupted(vacuum->index->rel, block, "A node has too many neighbours.");
	list.edges = palloc(2 * g->m * sizeof(HnswEdge));
	for (uint32 i = 0; i < list.count; i++)
		list.edges[i] = (HnswEdge) {nbr[i], HNSW_NO_REF, vdb_hnsw_length_load(lengths, i)};
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

/* The list of a bridge on a layer, empty when it is not there. */
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

/*
 * Does the way to other neighbours lead over one of a list?  Over the dead, in whose
 * place they come; and where it is wide over those that are known to live.
 */
static bool
is_bridge(const HnswVacuum *vacuum, const Repair *repair, uint32 nid)
{
	return hnsw_bits_has(&vacuum->dead, nid) || (repair->wide && hnsw_bits_has(&vacuum->live, nid));
}

/*
 * Does a list have dead nodes?  The lists of its bridges are on their way into the
 * CPU's cache afterwards.
 */
static bool
fetch_bridges(HnswVacuum *vacuum, const Repair *repair)
{
	HnswIndex  *index = vacuum->index;
	bool		dead = false;

	for (uint32 i = 0; i < repair->before.count; i++)
	{
		uint32		nid = repair->before.edges[i].nid;

		if (is_bridge(vacuum, repair, nid))
		{
			HnswAddress a = vdb_hnsw_node_address(&index->geometry, nid);

			vdb_hints_prefetch(&index->hints, a.block, a.offset,
							   sizeof(HnswNode) + 2 * index->geometry.m * sizeof(uint32));
			dead = dead || hnsw_bits_has(&vacuum->dead, nid);
		}
	}
	return dead;
}

/* The copy of a live node's code, NULL when there is none. */
static inline HnswCode *
copied_code(HnswVacuum *vacuum, uint32 nid)
{
	return hnsw_bits_has(&vacuum->live, nid) ? vdb_hnsw_code_at(&vacuum->codes, nid) : NULL;
}

/*
 * Finds the code of a node, or reads it into the current context; false when it
 * is not live.  Those that lived when we started still do.
 */
static bool
load_code(HnswVacuum *vacuum, HnswChoiceNode *candidate)
{
	HnswIndex  *index = vacuum->index;
	uint32		nid = candidate->edge.nid;
	HnswCode   *code = copied_code(vacuum, nid);

	if (code != NULL)
	{
		candidate->factors = code->factors;
		candidate->hi = code->hi;
	}
	else
	{
		uint8	   *hi = palloc(index->codec.hi_bytes);

		if ((hnsw_bits_has(&vacuum->live, nid) &&
			 vdb_hnsw_peek_code(index, nid, &candidate->factors, hi)) ||
			vdb_hnsw_load_code(index, nid, &candidate->factors, hi))
			candidate->hi = hi;
	}
	return candidate->hi != NULL;
}

/* Has the CPU fetch what load_code() will find. */
static void
prefetch_code(HnswVacuum *vacuum, uint32 nid)
{
	HnswCode   *code = copied_code(vacuum, nid);

	if (code == NULL)
		vdb_hnsw_prefetch_code(vacuum->index, nid);
	else
		vdb_prefetch(code, vacuum->codes.stride);
}

/* The score between two nodes, whose codes were read. */
static inline float
score_pair(const HnswChoice *choice, const HnswChoiceNode *a, const HnswChoiceNode *b)
{
	return vdb_pair_score(&choice->vacuum->index->codec, a->factors, a->hi, b->factors, b->hi);
}

bool
vdb_hnsw_prepare_query(HnswVacuum *vacuum, uint32 nid, VdbQuery *query)
{
	HnswIndex  *index = vacuum->index;

	query->vector = palloc(index->codec.vector_bytes);
	if (!vdb_hnsw_load_vector(index, nid, query->vector))
		return false;
	query->hot = palloc(vdb_query_bytes(&index->codec, query->vector));
	/* the norm serves bounds alone, which nobody asks for here */
	vdb_query_prepare(query, &index->codec, 0);
	return true;
}

bool
vdb_hnsw_begin_choice(HnswChoice *choice, HnswVacuum *vacuum, uint32 nid, int layer)
{
	const HnswGeometry *g = &vacuum->index->geometry;

	memset(choice, 0, sizeof(*choice));
	choice->vacuum = vacuum;
	choice->nid = nid;
	choice->layer = layer;
	choice->max = layer == 0 ? 2 * g->m : g->m;
	choice->size = 3 * choice->max;
	choice->candidates = palloc(choice->size * sizeof(HnswChoiceNode));
	choice->base.edge.nid = nid;
	return load_code(vacuum, &choice->base);
}

/* Has the choice a query, now?  Not when the node is not live. */
static bool
has_query(HnswChoice *choice)
{
	return choice->query.hot != NULL ||
		vdb_hnsw_prepare_query(choice->vacuum, choice->nid, &choice->query);
}

/* Is there room for a candidate, which is none yet? */
static bool
is_wanted(const HnswChoice *choice, uint32 nid)
{
	if (choice->count == choice->size || nid == choice->nid ||
		!vdb_hnsw_nid_exists(choice->vacuum->index, nid))
		return false;
	for (uint32 i = 0; i < choice->count; i++)
	{
		if (choice->candidates[i].edge.nid == nid)
			return false;
	}
	return true;
}

void
vdb_hnsw_add_candidate(HnswChoice *choice, HnswEdge edge)
{
	HnswChoiceNode candidate = {.edge = edge};

	if (!is_wanted(choice, edge.nid) || !load_code(choice->vacuum, &candidate))
		return;
	candidate.edge.score = score_pair(choice, &choice->base, &candidate);
	choice->candidates[choice->count++] = candidate;
}

/*
 * Adds a neighbour that the list has, unless it is gone.  Its score is on the
 * page, on layer 0; its code is read when somebody asks for it.  Dead nodes whose
 * turn comes stay, as may those of which nothing is known.
 */
static void
add_neighbor(HnswChoice *choice, HnswEdge edge)
{
	HnswVacuum *vacuum = choice->vacuum;
	bool		stays = hnsw_bits_has(&vacuum->live, edge.nid) ||
		hnsw_bits_has(&vacuum->later, edge.nid) || !vacuum->knows_all;

	if (choice->layer != 0 || !stays)
	{
		vdb_hnsw_add_candidate(choice, edge);
		edge.score = FLT_MAX;
	}
	if (stays && is_wanted(choice, edge.nid))
		choice->candidates[choice->count++] = (HnswChoiceNode) {.edge = edge};
}

void
vdb_hnsw_search_candidates(HnswChoice *choice, const HnswBits *of)
{
	HnswSearch	search;

	if (!has_query(choice))
		return;
	vdb_hnsw_search_begin(&search, choice->vacuum->index, choice->query.vector, 0);
	vdb_hnsw_search_descend(&search, 0);
	vdb_hnsw_search_base(&search, choice->max);
	vdb_hnsw_search_sort(&search);
	for (uint32 i = 0; i < search.found_count; i++)
	{
		uint32		nid = search.found[i].nid;

		if (of == NULL || hnsw_bits_has(of, nid))
			vdb_hnsw_add_candidate(choice, (HnswEdge) {nid, HNSW_NO_REF, 0});
	}
	vdb_hnsw_search_end(&search);
}

static int
compare_candidates(const void *a, const void *b)
{
	float		x = ((const HnswChoiceNode *) a)->edge.score;
	float		y = ((const HnswChoiceNode *) b)->edge.score;

	return x < y ? -1 : x > y;
}

void
vdb_hnsw_sort_candidates(HnswChoice *choice, uint32 first)
{
	qsort(choice->candidates + first, choice->count - first, sizeof(HnswChoiceNode),
		  compare_candidates);
}

/*
 * Is a candidate, that has a code, nearer to the node than to any that is chosen
 * and nearer to it?  Of equal vectors only the first is.  chosen: by score; the
 * nearest are the likeliest to be in the way.
 */
static bool
is_diverse(HnswChoice *choice, const HnswChoiceNode *candidate, HnswChoiceNode **chosen, uint32 count)
{
	for (uint32 i = 0; i < count && chosen[i]->edge.score <= candidate->edge.score; i++)
	{
		if ((chosen[i]->hi != NULL || load_code(choice->vacuum, chosen[i])) &&
			score_pair(choice, candidate, chosen[i]) <= candidate->edge.score)
			return false;
	}
	return true;
}

/* Puts a candidate among those chosen, by score. */
static void
put_chosen(HnswChoiceNode **chosen, uint32 count, HnswChoiceNode *candidate)
{
	for (; count > 0 && chosen[count - 1]->edge.score > candidate->edge.score; count--)
		chosen[count] = chosen[count - 1];
	chosen[count] = candidate;
}

/*
 * Makes a list so long with candidates from the first on that are not taken, the
 * nearest first; with `wanted` only those to which fewer than so many lead.
 */
static void
fill_list(HnswChoice *choice, EdgeList *list, bool *taken, uint32 first, uint32 most, uint32 wanted)
{
	for (uint32 i = first; i < choice->count && list->count < most; i++)
	{
		HnswEdge	edge = choice->candidates[i].edge;

		if (taken[i] || (wanted > 0 && !vdb_hnsw_lacks_inbound(&choice->vacuum->inbound, wanted, edge.nid)))
			continue;
		taken[i] = true;
		list->edges[list->count++] = edge;
	}
}

/*
 * Chooses from the candidates, of which the first `had` are in the list: these
 * stay; added are diverse ones, as an insert does, the nearest first; then those
 * to which too few lead; then the nearest of the others, until the list is as long
 * as it was, or three quarters full if it is that of a node that too few lead to.  A quarter
 * of the list is left free of any: what is inserted later would find no room.
 */
static EdgeList
end_choice(HnswChoice *choice, const Repair *repair, uint32 had, MemoryContext context)
{
	uint32		count = choice->count;
	HnswChoiceNode **chosen = palloc(choice->max * sizeof(HnswChoiceNode *));
	bool	   *taken = palloc0(choice->size * sizeof(bool));
	uint32		three_quarters = choice->max * 3 / 4;
	uint32		before = repair->before.count;
	uint32		most = Max(three_quarters, before); /* no less than had */
	uint32		fill = repair->wide ? three_quarters : Min(three_quarters, Max(choice->max / 2, before));
	EdgeList	list = {0, MemoryContextAlloc(context, choice->max * sizeof(HnswEdge))};

	vdb_hnsw_sort_candidates(choice, had);
	for (uint32 i = 0; i < count && list.count < most; i++)
	{
		HnswChoiceNode *candidate = &choice->candidates[i];

		taken[i] = i < had || is_diverse(choice, candidate, chosen, list.count);
		if (taken[i])
		{
			put_chosen(chosen, list.count, candidate);
			list.edges[list.count++] = candidate->edge;
		}
	}
	if (choice->layer == 0)
		fill_list(choice, &list, taken, had, most, WANTED_INBOUND(choice->vacuum->index->geometry.m));
	fill_list(choice, &list, taken, had, fill, 0);
	for (uint32 i = Min(had, list.count); i < list.count && choice->layer == 0; i++)
		vdb_hnsw_count_inbound(&choice->vacuum->inbound, list.edges[i].nid);
	return list;
}

/*
 * Reads what the bridges of a list lead to: live nodes, none of them of the list
 * and none twice, whose hot slots are on their way into the CPU's cache afterwards.
 */
static void
read_bridges(HnswVacuum *vacuum, Repair *repair)
{
	HnswIndex  *index = vacuum->index;
	EdgeList	before = repair->before;
	HnswVisited seen = {.mask = 63};
	uint32		most = before.count + 1;

	repair->bridge_lists = 0;
	repair->bridges = palloc(Max(before.count, 1) * sizeof(EdgeList));
	for (uint32 i = 0; i < before.count; i++)
	{
		EdgeList   *list = &repair->bridges[repair->bridge_lists];

		if (!is_bridge(vacuum, repair, before.edges[i].nid))
			continue;
		*list = read_list(vacuum, before.edges[i], repair->layer);
		most += list->count;
		repair->bridge_lists++;
	}
	while (seen.mask / 2 < most)
		seen.mask = 2 * seen.mask + 1;
	seen.slots = palloc0((seen.mask + 1) * sizeof(uint32));
	hnsw_visited_add(&seen, repair->nid);
	for (uint32 i = 0; i < before.count; i++)
		hnsw_visited_add(&seen, before.edges[i].nid);
	for (uint32 i = 0; i < repair->bridge_lists; i++)
	{
		EdgeList   *list = &repair->bridges[i];
		uint32		count = list->count;

		list->count = 0;
		for (uint32 j = 0; j < count; j++)
		{
			HnswEdge	edge = list->edges[j];

			if (hnsw_bits_has(&vacuum->dead, edge.nid) || !vdb_hnsw_nid_exists(index, edge.nid) ||
				!hnsw_visited_add(&seen, edge.nid))
				continue;
			if (copied_code(vacuum, edge.nid) != NULL)
				prefetch_code(vacuum, edge.nid);
			else
				vdb_hnsw_prefetch_hot(index, edge.nid);
			list->edges[list->count++] = edge;
		}
	}
	pfree(seen.slots);
}

/* How near does a node look?  By a copy of its code, or else by its hot slot. */
static float
weigh(HnswChoice *choice, uint32 nid)
{
	HnswVacuum *vacuum = choice->vacuum;
	HnswIndex  *index = vacuum->index;
	HnswCode   *code = copied_code(vacuum, nid);

	if (code != NULL)
		return vdb_pair_score(&index->codec, choice->base.factors, choice->base.hi, code->factors, code->hi);
	if (!has_query(choice))
		return FLT_MAX;
	return vdb_hnsw_score_hot(index, &choice->query, nid);
}

/* Makes those bridges candidates that look nearest, some of each one's list. */
static void
add_bridges(HnswChoice *choice, const Repair *repair)
{
	HnswCandidate items[BRIDGES + 1];
	HnswPool	bridges;
	HnswCandidate evicted;

	hnsw_pool_init(&bridges, palloc((2 * choice->max + 1) * sizeof(HnswCandidate)), 2 * choice->max);
	for (uint32 i = 0; i < repair->bridge_lists; i++)
	{
		EdgeList	list = repair->bridges[i];
		HnswPool	nearest;

		hnsw_pool_init(&nearest, items, BRIDGES);
		for (uint32 j = 0; j < list.count; j++)
		{
			HnswCandidate item = {0, list.edges[j].nid, list.edges[j].ref, 0};

			item.score = weigh(choice, item.nid);
			if (hnsw_pool_admits(&nearest, item.score))
				hnsw_pool_insert(&nearest, item, &evicted);
		}
		for (uint32 j = 0; j < nearest.size; j++)
		{
			prefetch_code(choice->vacuum, nearest.items[j].nid);
			if (hnsw_pool_admits(&bridges, nearest.items[j].score))
				hnsw_pool_insert(&bridges, nearest.items[j], &evicted);
		}
	}
	for (uint32 i = 0; i < bridges.size; i++)
		vdb_hnsw_add_candidate(choice, (HnswEdge) {bridges.items[i].nid, bridges.items[i].ref, 0});
}

/* Makes those nodes candidates that lead to the node and are nearest to it. */
static void
add_inbound(HnswChoice *choice)
{
	const HnswInboundNode *nodes = vdb_hnsw_inbound_of(&choice->vacuum->inbound, choice->nid);

	for (int i = 0; nodes != NULL && i < HNSW_INBOUND && nodes[i].nid != HNSW_NO_NODE; i++)
		vdb_hnsw_add_candidate(choice, (HnswEdge) {nodes[i].nid, HNSW_NO_REF, 0});
}

/* What a list has of nodes that are not dead. */
static EdgeList
without_dead(HnswVacuum *vacuum, EdgeList list, MemoryContext context)
{
	EdgeList	rest = {0, MemoryContextAlloc(context, Max(list.count, 1) * sizeof(HnswEdge))};

	for (uint32 i = 0; i < list.count; i++)
	{
		if (!hnsw_bits_has(&vacuum->dead, list.edges[i].nid))
			rest.edges[rest.count++] = list.edges[i];
	}
	return rest;
}

/*
 * Chooses a list that does without dead nodes, and finds the scores of the edges
 * that the tree gets.  A node that is not live keeps what its list has: it is a
 * stepping stone until its own turn comes.  Results are in the page context.
 */
static void
choose_list(HnswVacuum *vacuum, Repair *repair)
{
	MemoryContext old = MemoryContextSwitchTo(vacuum->list_context);
	EdgeList	before = repair->before;
	HnswChoice	choice;

	vdb_pace();
	if (vdb_hnsw_begin_choice(&choice, vacuum, repair->nid, repair->layer))
	{
		uint32		had;

		for (uint32 i = 0; i < before.count; i++)
		{
			if (!hnsw_bits_has(&vacuum->dead, before.edges[i].nid))
				add_neighbor(&choice, before.edges[i]);
		}
		had = choice.count;
		if (repair->layer == 0)
			add_inbound(&choice);
		add_bridges(&choice, repair);
		if (repair->layer == 0 && choice.count < Min(before.count, choice.max / 2))
			vdb_hnsw_search_candidates(&choice, NULL);
		repair->after = end_choice(&choice, repair, had, vacuum->page_context);
		for (uint32 i = 0; i < repair->tree.count; i++)
		{
			HnswChoiceNode other = {.edge = repair->tree.edges[i]};

			if (load_code(vacuum, &other))
				repair->tree.edges[i].score = score_pair(&choice, &choice.base, &other);
		}
	}
	else
		repair->after = without_dead(vacuum, before, vacuum->page_context);
	MemoryContextSwitchTo(old);
	MemoryContextReset(vacuum->list_context);
}

/*
 * Chooses the lists of a page anew.  What is read of other pages for all of them
 * is asked of memory before the first is chosen, since waiting for it, one by
 * one, would take most of the time.
 */
static void
repair_lists(HnswVacuum *vacuum, Repair *repairs, int count)
{
	for (int i = 0; i < count; i++)
	{
		vdb_pace();
		read_bridges(vacuum, &repairs[i]);
	}
	for (int i = 0; i < count; i++)
		choose_list(vacuum, &repairs[i]);
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

/*
 * The tree's edges of a list: of the first `kept` those that lead to nodes that
 * are not dead, and those that the tree gets, while there is room.
 */
static EdgeList
mended_tree(HnswVacuum *vacuum, EdgeList now, uint32 kept, EdgeList mends)
{
	uint32		most = 2 * vacuum->index->geometry.m - 1;
	EdgeList	tree = {Min(kept, now.count), now.edges};

	tree = without_dead(vacuum, tree, vacuum->page_context);
	tree.edges = repalloc(tree.edges, (tree.count + mends.count + 1) * sizeof(HnswEdge));
	for (uint32 i = 0; i < mends.count && tree.count < most; i++)
	{
		if (!list_has(tree, mends.edges[i].nid))
			tree.edges[tree.count++] = mends.edges[i];
	}
	return tree;
}

/* Writes a list: the edges to be kept, then as many of the others as fit. */
static void
store_node_list(const HnswGeometry *g, HnswNode *node, EdgeList tree, EdgeList others)
{
	uint32	   *nbr = vdb_hnsw_node_nbr(node);
	float	   *scores = palloc(2 * g->m * sizeof(float));
	EdgeList	list = {0, palloc(2 * g->m * sizeof(HnswEdge))};

	for (uint32 i = 0; i < tree.count; i++)
		list.edges[list.count++] = tree.edges[i];
	for (uint32 i = 0; i < others.count && list.count < 2u * g->m; i++)
	{
		if (!list_has(tree, others.edges[i].nid))
			list.edges[list.count++] = others.edges[i];
	}

	memset(nbr, 0, 2 * g->m * sizeof(uint32));
	for (uint32 i = 0; i < list.count; i++)
	{
		nbr[i] = list.edges[i].nid;
		scores[i] = list.edges[i].score;
	}
	vdb_hnsw_lengths_store(vdb_hnsw_node_lengths(g, node), scores, list.count, 2 * g->m);
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

			if (vdb_hnsw_is_node(node) && node->generation == repair->generation)
			{
				EdgeList	now = load_node_list(vacuum, block, node);
				EdgeList	tree = mended_tree(vacuum, now, node->kept, repair->tree);

				store_node_list(g, node, tree, merge_lists(repair, now, 2 * g->m));
			}
		}
	}
	vdb_change_finish(&change);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	vacuum->repaired += count;
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

/* The edges that the tree gets at a node; nodes are asked for in their order. */
static EdgeList
take_tree_edges(HnswVacuum *vacuum, uint32 nid)
{
	HnswTree   *tree = &vacuum->tree;
	EdgeList	list = {0, NULL};
	Size		end;

	while (tree->next < tree->count && tree->edges[tree->next].from < nid)
		tree->next++;
	end = tree->next;
	while (end < tree->count && tree->edges[end].from == nid)
		end++;
	if (end > tree->next)
		list.edges = palloc((end - tree->next) * sizeof(HnswEdge));
	for (; tree->next < end; tree->next++)
		list.edges[list.count++] = (HnswEdge) {tree->edges[tree->next].to, HNSW_NO_REF, FLT_MAX};
	return list;
}

/* Repairs the nodes of one node page, first..end - 1. */
static void
repair_node_page(HnswVacuum *vacuum, uint32 extent, BlockNumber block, uint32 first, uint32 end)
{
	const HnswGeometry *g = &vacuum->index->geometry;
	Repair	   *repairs = palloc0((end - first) * sizeof(Repair));
	int			count = 0;
	Buffer		buffer;
	Page		copy = copy_page(vacuum, block, VDB_PAGE_HNSW_NODE, extent, &buffer);

	for (uint32 nid = first; nid < end; nid++)
	{
		HnswNode   *node = vdb_hnsw_page_node(copy, vdb_hnsw_node_address(g, nid));
		Repair	   *repair = &repairs[count];

		if (!vdb_hnsw_is_node(node) || hnsw_bits_has(&vacuum->dead, nid))
			continue;
		repair->number = repair->nid = nid;
		repair->generation = node->generation;
		repair->before = load_node_list(vacuum, block, node);
		repair->tree = take_tree_edges(vacuum, nid);
		/* the search of its insert has not seen all that is near */
		repair->wide = vdb_hnsw_lacks_inbound(&vacuum->inbound, FEW_INBOUND(g->m), nid);
		if (fetch_bridges(vacuum, repair) || repair->tree.count > 0)
			count++;
	}
	repair_lists(vacuum, repairs, count);
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
	Repair	   *repairs = palloc0(Max(used, 1) * sizeof(Repair));
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
		repair->layer = upper->layer;
		if (fetch_bridges(vacuum, repair))
			count++;
	}
	repair_lists(vacuum, repairs, count);
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
