/*
 * hnsw_tie.c
 *	  Vacuum's last look at the graph: tying nodes that cannot be reached.
 *
 * Lists that were repaired promise no path to everybody; the tree does, which was
 * mended (hnsw_tree.c).  All the same we look what the entry point leads to, and
 * tie the rest to it: nodes that an insert or a crash left alone.
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_edge.h"
#include "hnsw/hnsw_repair.h"
#include "pace.h"

/* Edges that tie a node to what the entry point leads to. */
#define TIES 2

/* To tie a node may cost another its last edge: look again, but not for ever. */
#define TIE_ROUNDS 4

/* What the entry point leads to. */
typedef struct Reach
{
	HnswVacuum *vacuum;
	HnswBits	reached;
	HnswBits	expanded;		/* reached, and its list was read */
	HnswBits	posts;			/* nodes that others were tied to */
	uint32		next_post;		/* nodes below were all asked in this round */
} Reach;

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
tie_to_candidates(Reach *reach, HnswChoice *choice)
{
	HnswIndex  *index = reach->vacuum->index;
	uint32		ties = 0;

	vdb_hnsw_sort_candidates(choice, 0);
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
			if (vdb_hnsw_prepare_query(reach->vacuum, edge->nid, &back))
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
tie_to_anyone(Reach *reach, HnswChoice *choice)
{
	HnswVacuum *vacuum = reach->vacuum;
	MemoryContext old = MemoryContextSwitchTo(vacuum->page_context);
	uint32		ties = 0;
	uint32		nid;

	while (ties == 0 &&
		   (nid = hnsw_bits_next(&reach->reached, &reach->posts, reach->next_post)) != HNSW_BITS_NONE)
	{
		vdb_pace();
		reach->next_post = nid + 1;
		choice->count = 0;
		vdb_hnsw_add_candidate(choice, (HnswEdge) {nid, HNSW_NO_REF, 0});
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
tie_node(Reach *reach, HnswChoice *choice, const HnswEdgeCopy *own)
{
	for (uint32 i = 0; i < own->count; i++)
		vdb_hnsw_add_candidate(choice, (HnswEdge) {own->nbr[i], HNSW_NO_REF, 0});
	if (tie_to_candidates(reach, choice) > 0)
		return true;
	choice->count = 0;
	vdb_hnsw_search_candidates(choice, &reach->reached);
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
		HnswChoice	choice;
		HnswEdgeCopy own;
		bool		live;

		vdb_pace();
		MemoryContextReset(vacuum->list_context);
		vdb_hnsw_init_edge_copy(&own, &vacuum->index->geometry);
		live = vdb_hnsw_copy_edges(vacuum->index, nid, &own);
		if (live && vdb_hnsw_waits(vacuum->index, nid, own.kept))
		{
			/* a merge will link it */
			nid++;
			continue;
		}
		if (live && vdb_hnsw_begin_choice(&choice, vacuum, nid, 0) &&
			vdb_hnsw_prepare_query(vacuum, nid, &choice.query) && tie_node(reach, &choice, &own))
			tied++;
		hnsw_bits_add(&reach->reached, nid);
		expand_reach(reach);
	}
	MemoryContextReset(vacuum->list_context);
	return tied;
}

/*
 * Needs to know all live nodes; where the sets do not fit the memory that
 * maintenance may use, we do without and rely on the tree, which was mended.
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
