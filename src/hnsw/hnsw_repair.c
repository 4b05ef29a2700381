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
 * (hnsw_tree.c).  Afterwards we look what the entry point leads to, all the
 * same, and tie the rest to it.
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
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hnsw/hnsw_edge.h"

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
	int			layer;
	bool		wide;			/* few lead to it: all its neighbours are bridges */
	EdgeList	before;			/* what was read */
	uint32		bridge_lists;	/* of its bridges, what they lead to */
	EdgeList   *bridges;
	EdgeList	after;
	EdgeList	tree;			/* edges that the tree gets, on layer 0 */
} Repair;

/* A node that is or may become a neighbour. */
typedef struct Candidate
{
	HnswEdge	edge;
	VdbNodeFactors factors;		/* and where its code is, */
	const uint8 *hi;			/* NULL: not read yet */
} Candidate;

/* The choice of one list. */
typedef struct Choice
{
	HnswVacuum *vacuum;
	uint32		nid;			/* whose list it is */
	int			layer;
	uint32		max;			/* edges of a list on this layer */
	Candidate	base;			/* the node itself */
	VdbQuery	query;			/* its vector, once it is asked for */
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
load_code(HnswVacuum *vacuum, Candidate *candidate)
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
	{
		for (Size at = 0; at < vacuum->codes.stride; at += 64)
			__builtin_prefetch((char *) code + at);
	}
}

/* The score between two nodes, whose codes were read. */
static inline float
score_pair(const Choice *choice, const Candidate *a, const Candidate *b)
{
	return vdb_pair_score(&choice->vacuum->index->codec, a->factors, a->hi, b->factors, b->hi);
}

/*
 * Prepares a query for a node's vector, in the list context; false when the node
 * is not live.
 */
static bool
prepare_query(HnswVacuum *vacuum, uint32 nid, VdbQuery *query)
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

/* Prepares to choose neighbours for a node; false when it is not live. */
static bool
begin_choice(Choice *choice, HnswVacuum *vacuum, uint32 nid, int layer)
{
	const HnswGeometry *g = &vacuum->index->geometry;

	memset(choice, 0, sizeof(*choice));
	choice->vacuum = vacuum;
	choice->nid = nid;
	choice->layer = layer;
	choice->max = layer == 0 ? 2 * g->m : g->m;
	choice->size = 3 * choice->max;
	choice->candidates = palloc(choice->size * sizeof(Candidate));
	choice->base.edge.nid = nid;
	return load_code(vacuum, &choice->base);
}

/* Has the choice a query, now?  Not when the node is not live. */
static bool
has_query(Choice *choice)
{
	return choice->query.hot != NULL || prepare_query(choice->vacuum, choice->nid, &choice->query);
}

/* Is there room for a candidate, which is none yet? */
static bool
is_wanted(const Choice *choice, uint32 nid)
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

/* Adds a node to the candidates if it is live and there is room. */
static void
add_candidate(Choice *choice, HnswEdge edge)
{
	Candidate	candidate = {.edge = edge};

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
add_neighbor(Choice *choice, HnswEdge edge)
{
	HnswVacuum *vacuum = choice->vacuum;
	bool		stays = hnsw_bits_has(&vacuum->live, edge.nid) ||
		hnsw_bits_has(&vacuum->later, edge.nid) || !vacuum->knows_all;

	if (choice->layer != 0 || !stays)
	{
		add_candidate(choice, edge);
		edge.score = FLT_MAX;
	}
	if (stays && is_wanted(choice, edge.nid))
		choice->candidates[choice->count++] = (Candidate) {.edge = edge};
}

/*
 * Searches layer 0 for candidates: the nearest nodes, or with `of` those of
 * this set on the way to them.
 */
static void
search_candidates(Choice *choice, const HnswBits *of)
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
 * Is a candidate, that has a code, nearer to the node than to any that is chosen
 * and nearer to it?  Of equal vectors only the first is.  chosen: by score; the
 * nearest are the likeliest to be in the way.
 */
static bool
is_diverse(Choice *choice, const Candidate *candidate, Candidate **chosen, uint32 count)
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
put_chosen(Candidate **chosen, uint32 count, Candidate *candidate)
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
fill_list(Choice *choice, EdgeList *list, bool *taken, uint32 first, uint32 most, uint32 wanted)
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
 * as it was.  A quarter of the list is left free of any: what is inserted later
 * would find no room.
 */
static EdgeList
end_choice(Choice *choice, EdgeList before, uint32 had, MemoryContext context)
{
	uint32		count = choice->count;
	Candidate **chosen = palloc(choice->max * sizeof(Candidate *));
	bool	   *taken = palloc0(choice->size * sizeof(bool));
	uint32		three_quarters = choice->max * 3 / 4;
	uint32		most = Max(three_quarters, before.count);	/* no less than had */
	uint32		fill = Min(three_quarters, Max(choice->max / 2, before.count));
	EdgeList	list = {0, MemoryContextAlloc(context, choice->max * sizeof(HnswEdge))};

	qsort(choice->candidates + had, count - had, sizeof(Candidate), compare_candidates);
	for (uint32 i = 0; i < count && list.count < most; i++)
	{
		Candidate  *candidate = &choice->candidates[i];

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
weigh(Choice *choice, uint32 nid)
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
add_bridges(Choice *choice, const Repair *repair)
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
		add_candidate(choice, (HnswEdge) {bridges.items[i].nid, bridges.items[i].ref, 0});
}

/* Makes those nodes candidates that lead to the node and are nearest to it. */
static void
add_inbound(Choice *choice)
{
	const HnswInboundNode *nodes = vdb_hnsw_inbound_of(&choice->vacuum->inbound, choice->nid);

	for (int i = 0; nodes != NULL && i < HNSW_INBOUND && nodes[i].nid != HNSW_NO_NODE; i++)
		add_candidate(choice, (HnswEdge) {nodes[i].nid, HNSW_NO_REF, 0});
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
	Choice		choice;

	vdb_vacuum_delay_point();
	if (begin_choice(&choice, vacuum, repair->nid, repair->layer))
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
			search_candidates(&choice, NULL);
		repair->after = end_choice(&choice, before, had, vacuum->page_context);
		for (uint32 i = 0; i < repair->tree.count; i++)
		{
			Candidate	other = {.edge = repair->tree.edges[i]};

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
		vdb_vacuum_delay_point();
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

	if (!has_query(choice))
		return 0;
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
			if (prepare_query(reach->vacuum, edge->nid, &back))
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
 * and rely on the tree, which was mended.
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
		uint32		tied = tie_round(&reach);

		if (tied == 0)
			break;
		ereport(DEBUG1,
				(errmsg_internal("index \"%s\": tied %u nodes that could not be reached",
								 RelationGetRelationName(vacuum->index->rel), tied)));
	}
	pfree(reach.posts.words);
	pfree(reach.expanded.words);
	pfree(reach.reached.words);
	MemoryContextSwitchTo(old);
}
