/*
 * hnsw_check_postings.c
 *	  vdb.check_index(): rows that share a node.
 *
 * Two facts make the postings of a node one chain, each of them in it once:
 * whatever leads to postings is their owner, or postings of the same owner with
 * a greater rank (so there is no circle); and something leads to each, while
 * nothing leads to more than one.
 *
 * Within a generation postings have the same owner and the same rank, what leads
 * to them changes.  They are there as long as their owner lives.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_check.h"

/* A node or postings, and what it leads to. */
typedef struct Leader
{
	uint32		nid;
	uint32		generation;
	uint32		owner;			/* itself, if it is the node */
	uint32		owner_generation;
	uint64		rank;			/* greater than those of what follows */
	uint32		link;
} Leader;

static Leader
node_leader(uint32 nid, const HnswNode *node)
{
	return (Leader) {
		.nid = nid,
		.generation = node->generation,
		.owner = nid,
		.owner_generation = node->generation,
		.rank = (uint64) PG_UINT32_MAX + 1,
		.link = node->duplicates
	};
}

static Leader
postings_leader(uint32 nid, const HnswPostings *postings)
{
	return (Leader) {
		.nid = nid,
		.generation = postings->generation,
		.owner = postings->owner,
		.owner_generation = postings->owner_generation,
		.rank = postings->rank,
		.link = postings->next
	};
}

/* What is said of postings, without their rows. */
static HnswPostings
read_postings(HnswCheck *check, uint32 nid)
{
	HnswNode	slot = vdb_hnsw_check_read(check, nid);
	HnswPostings postings;

	memcpy(&postings, &slot, sizeof(postings));
	return postings;
}

/* May postings follow? */
static bool
may_follow(const Leader *leader, const HnswPostings *postings)
{
	return postings->state == HNSW_POSTINGS && postings->owner == leader->owner &&
		postings->owner_generation == leader->owner_generation && postings->rank < leader->rank;
}

/*
 * I16: what leads somewhere leads to older postings of the same node.  False when
 * it does not any more; else these are in *postings.  They have been wrong all the
 * time if they are of the same generation before and after we look whether they
 * are still led to.
 */
static bool
check_link(HnswCheck *check, const Leader *leader, HnswPostings *postings)
{
	BlockNumber block = vdb_hnsw_node_address(&check->index->geometry, leader->nid).block;
	uint32		nid = leader->link - 1;
	HnswPostings now;

	if (!vdb_hnsw_check_number(check, nid))
		corrupted(check, block, psprintf("Slot %u cannot lead to postings %u.", leader->nid, nid));
	if (nid < check->nodes)
		hnsw_bits_add(&check->led, nid);
	*postings = read_postings(check, nid);
	if (may_follow(leader, postings))
		return true;
	now = read_postings(check, leader->nid);
	if (now.generation == leader->generation && now.next == leader->link &&
		read_postings(check, nid).generation == postings->generation)
		corrupted(check, block, psprintf("Slot %u leads to slot %u, which does not have older postings of node %u.",
										 leader->nid, nid, leader->owner));
	return false;
}

void
vdb_hnsw_check_first(HnswCheck *check, uint32 nid, const HnswNode *node)
{
	Leader		leader = node_leader(nid, node);
	HnswPostings first;

	if (leader.link != HNSW_NO_POSTINGS)
		(void) check_link(check, &leader, &first);
}

/* Is something that should be zeros something else? */
static bool
is_dirty(const void *bytes, Size count)
{
	const uint8 *byte = bytes;

	for (Size i = 0; i < count; i++)
	{
		if (byte[i] != 0)
			return true;
	}
	return false;
}

/* I15: postings have rows and nothing else. */
static void
check_slots(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot, HnswPostings *postings)
{
	const HnswGeometry *g = &check->index->geometry;
	Size		used = sizeof(HnswPostings) + postings->rows * sizeof(ItemPointerData);
	uint32		factors[2];

	if (postings->rows > vdb_hnsw_postings_room(g))
		corrupted(check, block, psprintf("Postings %u cannot have %u rows.", nid, postings->rows));
	if (postings->layer != 0 || postings->neighbours != 0 ||
		is_dirty(postings->reserved, sizeof(postings->reserved)) ||
		is_dirty((char *) postings + used, g->node_stride - used))
		corrupted(check, block, psprintf("Postings %u have something beside their rows.", nid));
	if (postings->rank == 0)
		corrupted(check, block, psprintf("Postings %u have no rank.", nid));
	StaticAssertStmt(sizeof(factors) == sizeof(HnswHot) - offsetof(HnswHot, add), "two factors");
	memcpy(factors, &hot->add, sizeof(factors));
	if (factors[0] != HNSW_HOT_POSTINGS || factors[1] != HNSW_HOT_POSTINGS ||
		is_dirty(hot + 1, g->hot_stride - sizeof(HnswHot)))
		corrupted(check, block, psprintf("The hot slot of postings %u is another's.", nid));
}

/* I16: postings are of a node that lives as long as they are there. */
static void
check_owner(HnswCheck *check, uint32 nid, BlockNumber block, const HnswPostings *postings)
{
	HnswNode	owner;

	if (!vdb_hnsw_check_number(check, postings->owner))
		corrupted(check, block, psprintf("Postings %u are of node %u, which cannot exist.", nid, postings->owner));
	owner = vdb_hnsw_check_read(check, postings->owner);
	if ((owner.state != HNSW_LIVE || owner.generation != postings->owner_generation) &&
		read_postings(check, nid).generation == postings->generation)
		corrupted(check, block, psprintf("Postings %u are of node %u, generation %u, which does not live.",
										 nid, postings->owner, postings->owner_generation));
}

void
vdb_hnsw_check_postings(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot,
						HnswPostings *postings)
{
	Leader		leader = postings_leader(nid, postings);
	HnswPostings next;

	check_slots(check, nid, block, hot, postings);
	check_owner(check, nid, block, postings);
	if (leader.link != HNSW_NO_POSTINGS)
		(void) check_link(check, &leader, &next);
	for (uint32 i = 0; i < postings->rows; i++)
		vdb_hnsw_check_put_row(check, nid, block, &vdb_hnsw_postings_tids(postings)[i]);
	check->counts.attached += postings->rows;
	hnsw_bits_add(&check->postings, nid);
}

/*
 * Goes along the chain that postings should be in.  While they are there, whatever
 * we come to before them was newer when we were led to it, and if its slot has
 * postings of the same node since, these are newer still: so to come to older
 * ones, or to the end, is to know that they are not in the chain.  True when that
 * is so; false when they are, or *changed.
 */
static bool
is_lost(HnswCheck *check, uint32 nid, const HnswPostings *postings, bool *changed)
{
	HnswNode	owner = vdb_hnsw_check_read(check, postings->owner);
	Leader		leader = node_leader(postings->owner, &owner);
	HnswPostings next;

	*changed = false;
	if (owner.state != HNSW_LIVE || owner.generation != postings->owner_generation)
		return true;
	while (leader.link != HNSW_NO_POSTINGS && leader.rank > postings->rank)
	{
		uint32		follower = leader.link - 1;

		CHECK_FOR_INTERRUPTS();
		if (follower == nid)
		{
			hnsw_bits_add(&check->led, nid);
			return false;
		}
		if (!check_link(check, &leader, &next))
		{
			*changed = true;
			return false;
		}
		leader = postings_leader(follower, &next);
	}
	return true;
}

/*
 * I16: postings are in the chain of their owner.  What nothing was seen to lead to
 * may have been put there, or got another leader, since that was looked at.
 */
void
vdb_hnsw_check_chains(HnswCheck *check)
{
	uint32		nid = hnsw_bits_next(&check->postings, &check->led, 0);

	for (; nid != HNSW_BITS_NONE; nid = hnsw_bits_next(&check->postings, &check->led, nid + 1))
	{
		HnswPostings postings;
		bool		lost;
		bool		changed;

		do
		{
			postings = read_postings(check, nid);
			if (postings.state != HNSW_POSTINGS || !vdb_hnsw_check_number(check, postings.owner))
				break;
			lost = is_lost(check, nid, &postings, &changed);
			if (lost && read_postings(check, nid).generation == postings.generation)
				corrupted(check, vdb_hnsw_node_address(&check->index->geometry, nid).block,
						  psprintf("Postings %u are not among those of node %u.", nid, postings.owner));
		} while (changed);
	}
}
