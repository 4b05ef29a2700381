/*
 * hnsw_batch.c
 *	  Linking all nodes of a graph at once.
 *
 * A node that is linked by itself is compared with a thousand others, which a
 * search comes upon all over memory.  Its neighbours are found more cheaply in
 * bulk: nodes are divided into small overlapping sets, *leaves*, and in each all
 * pairs are scored by a matrix product.  What a node finds nearest in its leaves
 * are its candidates; choosing edges among these, and giving edges back, is as in
 * hnsw_graph.c.  (Leaves compared exhaustively: Wang et al., 2013; for graphs
 * that are searched: HCNNG, Munoz et al., 2019.)
 *
 * Division has two levels.  The leader divides the nodes into *groups* whose
 * codes fit a processor's cache, each node into two; a participant takes a whole
 * group and divides it into leaves, each node into some.  Both levels take pivots
 * and weights, see hnsw_partition.h.
 *
 * Where there is a finder, which compares a code with many in less time than this
 * takes with few, it compares all pairs of a group; what leaves would find is among that.
 *
 * Candidates are kept where the list will be, which is as long as 2 m.
 */
#include <math.h>

#include "hnsw/hnsw_batch.h"
#include "hnsw/hnsw_partition.h"

#define ALIGN64(n) (((n) + 63) / 64 * 64)

/* Nodes of a group: on average, unless groups were more than these; and at most. */
#define GROUP_NODES 20000
#define MAX_GROUPS 1000
#define GROUP_SLACK 1.35

/* Nodes of a leaf, likewise. */
#define LEAF_NODES 256
#define MAX_LEAF_NODES 384

/* Leaves that a node goes into, in all its groups, with the usual ef_construction. */
#define FANOUT 16
#define USUAL_EF_CONSTRUCTION 64
#define MAX_FANOUT HNSW_MAX_FANOUT

/*
 * A node to which a leaf brings nothing is settled, where leaves have of late
 * brought something to a smaller share of their nodes than this; of the share, each
 * leaf makes a part.
 */
#define SETTLED_SHARE 0.25f
#define LEAF_PART (1.0f / 16)

/* Lists shorter than this hold too few candidates to choose from. */
#define MIN_M 12

/* Nodes that find the weights of groups and of leaves, for each; rounds. */
#define GROUP_SAMPLE 32
#define GROUP_ROUNDS 24
#define LEAF_SAMPLE 8
#define LEAF_ROUNDS 8

/* Rows whose scores are computed at a time, and scores of a sample, at most. */
#define BLOCK_ROWS 32
#define MAX_SAMPLE_SCORES (512 * 1024)

/* Nodes that are taken at a time in the stages after the first. */
#define CHUNK 512
#define NODES_PER_LOOK 16

/* Parts that nodes fall into, at most one for so many nodes, to be connected one by one. */
#define NODES_PER_PART 200

/* Where to look for a node that a part can be connected with. */
#define STARTS 64

/* A participant's memory, as vdb_hnsw_batch_scratch_bytes() reckons it. */
typedef struct Scratch
{
	char	   *pivots;
	float	   *scores;			/* of a sample or of rows with pivots, or of pairs of a leaf */
	uint32_t   *leaves;			/* members of each leaf, by where they are in the set */
	bool	   *idle;			/* of each of the set: the last of its leaves has brought it nothing */
	uint32_t   *nids;			/* of a leaf's nodes */
	uint8_t    *hi;				/* codes of rows, one after the other */
	VdbNodeFactors *factors;
	char	   *panel;			/* of a leaf */
	HnswCandidate *found;
	VdbNeighbor *neighbors;		/* of rows, 2 m and the row itself of each */
	size_t		stride;			/* of hi */
	uint32_t	most_leaves;	/* that there is room for */
} Scratch;

static inline uint32_t
take_work(HnswBatch *batch, HnswBatchStage stage)
{
	return __atomic_fetch_add(&batch->header->next[stage], 1, __ATOMIC_RELAXED);
}

static uint32_t
random_below(uint64_t *state, uint32_t limit)
{
	/* xorshift64* (Vigna, 2016) */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t) ((*state * UINT64_C(2685821657736338717) >> 32) * limit >> 32);
}

bool
vdb_hnsw_batch_serves(const VdbCodec *codec, uint32_t m)
{
	return m >= MIN_M && vdb_panel_multiplies(codec);
}

/* Leaves that a node goes into, of all of its groups together. */
static uint32_t
total_fanout(uint32_t ef_construction)
{
	uint32_t	fanout = (ef_construction * FANOUT + USUAL_EF_CONSTRUCTION / 2) / USUAL_EF_CONSTRUCTION;

	return fanout < 4 ? 4 : fanout > MAX_FANOUT ? MAX_FANOUT : fanout;
}

/* Groups that so many nodes are divided into at least. */
static uint32_t
least_groups(uint32_t nodes)
{
	uint32_t	groups = 2 * (nodes / GROUP_NODES) + 1;

	return groups > MAX_GROUPS ? MAX_GROUPS : groups;
}

/* And at most, for any number of participants: much smaller groups would find less. */
static uint32_t
most_groups(uint32_t nodes)
{
	uint32_t	least = least_groups(nodes);
	uint32_t	most = least + least / 7;

	return most > MAX_GROUPS ? MAX_GROUPS : most;
}

/*
 * Groups that so many nodes are divided into: if that takes few more, as many for
 * each participant, since all wait for the last one.
 */
static uint32_t
count_groups(uint32_t nodes, uint32_t participants)
{
	uint32_t	least = least_groups(nodes);
	uint32_t	more = participants - 1 - (least - 1) % participants;

	return more <= most_groups(nodes) - least ? least + more : least;
}

/* Most nodes of a group, of so many. */
static uint32_t
max_group(uint32_t nodes, uint32_t groups)
{
	return groups == 1 ? nodes : (uint32_t) (GROUP_SLACK * 2 * nodes / groups) + 1;
}

/* Of a group with this many nodes. */
static uint32_t
count_leaves(uint32_t nodes, uint32_t fanout)
{
	return (nodes * fanout + LEAF_NODES - 1) / LEAF_NODES;
}

/* Nodes, up to this capacity, of which there is only one group. */
static uint32_t
most_alone(uint32_t capacity)
{
	return capacity < GROUP_NODES ? capacity : GROUP_NODES - 1;
}

/*
 * The most nodes of a group, whatever the number of nodes up to this capacity.
 * Groups are largest just before there are two more of them, the first time most
 * of all.
 */
uint32_t
vdb_hnsw_batch_room(uint32_t capacity)
{
	uint32_t	few = capacity < 2 * GROUP_NODES ? capacity : 2 * GROUP_NODES - 1;
	uint32_t	all = max_group(capacity, least_groups(capacity));
	uint32_t	some = max_group(few, least_groups(few));
	uint32_t	room = most_alone(capacity);

	room = all > room ? all : room;
	return some > room ? some : room;
}

/* The most leaves of a group, likewise. */
static uint32_t
largest_leaves(uint32_t capacity, uint32_t fanout)
{
	uint32_t	one = count_leaves(most_alone(capacity), fanout);
	uint32_t	several = count_leaves(vdb_hnsw_batch_room(capacity), (fanout + 1) / 2);

	return one > several ? one : several;
}

size_t
vdb_hnsw_batch_bytes(uint32_t capacity)
{
	return ALIGN64(sizeof(HnswBatchHeader)) +
		ALIGN64((most_groups(capacity) + 2) * sizeof(uint32_t)) +
		ALIGN64(2 * (size_t) capacity * sizeof(uint32_t));
}

void
vdb_hnsw_batch_attach(HnswBatch *batch, const HnswGraph *graph, char *memory)
{
	batch->graph = graph;
	batch->header = (HnswBatchHeader *) memory;
	memory += ALIGN64(sizeof(HnswBatchHeader));
	batch->start = (uint32_t *) memory;
	memory += ALIGN64((most_groups(graph->capacity) + 2) * sizeof(uint32_t));
	batch->members = (uint32_t *) memory;
	batch->finder = NULL;
}

#define PLACE(field, bytes) \
	((field) = memory ? (void *) (memory + at) : NULL, at += ALIGN64(bytes))

static size_t
place_scratch(Scratch *scratch, const VdbCodec *codec, uint32_t m, uint32_t ef_construction,
			  uint32_t capacity, char *memory)
{
	uint32_t	leaves = largest_leaves(capacity, total_fanout(ef_construction));
	uint32_t	columns = leaves > MAX_LEAF_NODES ? leaves : MAX_LEAF_NODES;
	uint32_t	groups = most_groups(capacity);
	size_t		at = 0;

	scratch->stride = ALIGN64(codec->hi_bytes);
	scratch->most_leaves = leaves;
	PLACE(scratch->pivots, vdb_hnsw_pivots_bytes(codec, leaves > groups ? leaves : groups));
	PLACE(scratch->scores, (MAX_SAMPLE_SCORES + BLOCK_ROWS * columns) * sizeof(float));
	PLACE(scratch->leaves, (size_t) leaves * MAX_LEAF_NODES * sizeof(uint32_t));
	PLACE(scratch->idle, vdb_hnsw_batch_room(capacity) * sizeof(bool));
	PLACE(scratch->nids, MAX_LEAF_NODES * sizeof(uint32_t));
	PLACE(scratch->hi, MAX_LEAF_NODES * scratch->stride);
	PLACE(scratch->factors, MAX_LEAF_NODES * sizeof(VdbNodeFactors));
	PLACE(scratch->panel, vdb_panel_bytes(codec, MAX_LEAF_NODES));
	PLACE(scratch->found, (2 * m + 1) * sizeof(HnswCandidate));
	PLACE(scratch->neighbors, MAX_LEAF_NODES * (2 * m + 1) * sizeof(VdbNeighbor));
	return at;
}

size_t
vdb_hnsw_batch_scratch_bytes(const VdbCodec *codec, uint32_t m, uint32_t ef_construction,
							 uint32_t capacity)
{
	Scratch		scratch;

	return place_scratch(&scratch, codec, m, ef_construction, capacity, NULL);
}

/* ---- dividing ---- */

/* Factors of a node's code by the graph's codec, or by half of it. */
static inline VdbNodeFactors
factors_of(const HnswGraph *graph, const VdbCodec *codec, uint32_t nid)
{
	bool		whole = codec->P == graph->codec->P;

	return whole ? graph->factors[nid] :
		vdb_panel_half_factors(codec, graph->factors[nid], vdb_hnsw_graph_hi(graph, nid));
}

/* Copies codes of nodes, by the graph's codec or half of it, to rows of the scratch, at most BLOCK_ROWS or a leaf. */
static void
gather_rows(const HnswGraph *graph, const VdbCodec *codec, const Scratch *scratch, const uint32_t *nids,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
	{
		scratch->factors[i] = factors_of(graph, codec, nids[i]);
		memcpy(scratch->hi + i * scratch->stride, vdb_hnsw_graph_hi(graph, nids[i]), codec->hi_bytes);
	}
}

/* Which nodes are divided: a list, or all of these numbers. */
typedef struct NodeSet
{
	const uint32_t *nids;		/* NULL: 0, 1, 2 and so on */
	uint32_t	count;
} NodeSet;

static inline uint32_t
node_of(const NodeSet *set, uint32_t at)
{
	return set->nids != NULL ? set->nids[at] : at;
}

/* Scores of nodes, BLOCK_ROWS at most, with each pivot. */
static void
score_nodes(const HnswGraph *graph, const Scratch *scratch, const HnswPivots *pivots,
			const uint32_t *nids, uint32_t count, float *scores)
{
	gather_rows(graph, pivots->panel.codec, scratch, nids, count);
	vdb_panel_scores(&pivots->panel, count, scratch->factors, scratch->hi, scratch->stride, scores);
}

/* Draws pivots of a set, and finds their weights with so many more nodes for each. */
static void
draw_pivots(const HnswGraph *graph, const Scratch *scratch, HnswPivots *pivots, const NodeSet *set,
			uint32_t sample_each, int rounds, uint64_t *seed, float *scores, size_t most_scores,
			const HnswWatch *watch)
{
	uint32_t	sample = pivots->count * sample_each;
	size_t		most = most_scores / pivots->count;
	uint32_t	nids[BLOCK_ROWS];

	/* one of each stretch of the set, so that no two are the same node */
	for (uint32_t i = 0; i < pivots->count; i++)
	{
		uint32_t	from = (uint32_t) ((uint64_t) set->count * i / pivots->count);
		uint32_t	to = (uint32_t) ((uint64_t) set->count * (i + 1) / pivots->count);
		uint32_t	nid = node_of(set, from + random_below(seed, to > from ? to - from : 1));

		vdb_panel_put(&pivots->panel, i, factors_of(graph, pivots->panel.codec, nid),
					  vdb_hnsw_graph_hi(graph, nid));
	}
	if (sample > most)
		sample = (uint32_t) most;
	if (pivots->count <= pivots->fanout)
		return;
	for (uint32_t first = 0; first < sample; first += BLOCK_ROWS)
	{
		uint32_t	count = sample - first < BLOCK_ROWS ? sample - first : BLOCK_ROWS;

		watch->look(watch->arg);
		for (uint32_t i = 0; i < count; i++)
			nids[i] = node_of(set, random_below(seed, set->count));
		score_nodes(graph, scratch, pivots, nids, count, scores + (size_t) first * pivots->count);
	}
	vdb_hnsw_pivots_balance(pivots, scores, sample, rounds);
}

/*
 * Divides all nodes into groups, each into two, whose numbers are kept in its
 * list until they are sorted; the second is HNSW_NO_NODE where there is none.
 * Counts members of group g in start[g + 1].
 */
static void
assign_groups(HnswBatch *batch, const Scratch *scratch, HnswPivots *pivots, float *scores,
			  const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	count = batch->header->count;

	for (uint32_t first = 0; first < count; first += BLOCK_ROWS)
	{
		uint32_t	rows = count - first < BLOCK_ROWS ? count - first : BLOCK_ROWS;
		uint32_t	nids[BLOCK_ROWS];

		watch->look(watch->arg);
		for (uint32_t i = 0; i < rows; i++)
			nids[i] = first + i;
		score_nodes(graph, scratch, pivots, nids, rows, scores);
		for (uint32_t i = 0; i < rows; i++)
		{
			uint32_t   *chosen = vdb_hnsw_list_nbr(vdb_hnsw_graph_list(graph, nids[i]));

			chosen[1] = HNSW_NO_NODE;
			vdb_hnsw_pivots_assign(pivots, scores + (size_t) i * pivots->count, chosen);
			for (int g = 0; g < 2; g++)
			{
				if (chosen[g] != HNSW_NO_NODE)
					batch->start[chosen[g] + 1]++;
			}
		}
	}
}

/* Sorts nodes by group: of each the members one after the other. */
static void
sort_members(HnswBatch *batch)
{
	const HnswGraph *graph = batch->graph;
	HnswBatchHeader *header = batch->header;

	/* start[g + 1] counts on from where group g begins, to where it ends */
	for (uint32_t g = header->groups; g > 0; g--)
		batch->start[g] = batch->start[g - 1];
	batch->start[0] = 0;
	for (uint32_t g = 1; g <= header->groups; g++)
		batch->start[g] += batch->start[g - 1];
	for (uint32_t nid = 0; nid < header->count; nid++)
	{
		const uint32_t *chosen = vdb_hnsw_list_nbr(vdb_hnsw_graph_list(graph, nid));

		for (int g = 0; g < 2; g++)
		{
			if (chosen[g] != HNSW_NO_NODE)
				batch->members[batch->start[chosen[g] + 1]++] = nid;
		}
	}
}

/* Divides the nodes into more groups than one. */
static void
divide_nodes(HnswBatch *batch, const Scratch *scratch, uint64_t seed, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	HnswBatchHeader *header = batch->header;
	NodeSet		all = {NULL, header->count};
	HnswPivots	pivots;

	/*
	 * Scores are where members will be, two of a node: a group has thousands of
	 * nodes, so there is room for more than those of a block with each.
	 */
	float	   *scores = (float *) batch->members;
	size_t		most = 2 * (size_t) header->count - BLOCK_ROWS * header->groups;

	vdb_hnsw_pivots_init(&pivots, graph->codec, header->groups, 2, max_group(header->count, header->groups),
						 scratch->pivots);
	draw_pivots(graph, scratch, &pivots, &all, GROUP_SAMPLE, GROUP_ROUNDS, &seed, scores, most, watch);
	assign_groups(batch, scratch, &pivots, scores, watch);
	sort_members(batch);
}

void
vdb_hnsw_batch_begin(HnswBatch *batch, uint32_t hosts, uint32_t participants, uint64_t seed,
					 char *memory, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	HnswBatchHeader *header = batch->header;
	uint32_t	count = graph->header->count;
	uint32_t	fanout = total_fanout(graph->ef_construction);
	Scratch		scratch;

	*header = (HnswBatchHeader) {.hosts = hosts,.count = count,.groups = count_groups(count, participants)};
	header->fanout = header->groups > 1 ? (fanout + 1) / 2 : fanout;
	memset(batch->start, 0, (header->groups + 2) * sizeof(uint32_t));
	if (header->groups > 1)
	{
		place_scratch(&scratch, graph->codec, graph->m, graph->ef_construction, graph->capacity,
					  memory);
		divide_nodes(batch, &scratch, seed, watch);
		return;
	}
	for (uint32_t nid = 0; nid < count; nid++)
		batch->members[nid] = nid;
	batch->start[1] = count;
}

/* ---- candidates ---- */

/*
 * Adds a candidate to those found, sorted and at most `most`; returns how many
 * there are.
 */
static inline uint32_t
note_found(HnswCandidate *found, uint32_t count, uint32_t most, float score, uint32_t nid)
{
	uint32_t	at = count < most ? count++ : most - 1;

	for (; at > 0 && found[at - 1].score > score; at--)
		found[at] = found[at - 1];
	found[at] = (HnswCandidate) {.score = score,.nid = nid};
	return count;
}

/*
 * Compares one node of a leaf with the others, whose scores these are.  Its
 * nearest are in most of its leaves: those that it knows are passed over first.
 * Returns whether it has found any that it did not know.
 */
static bool
note_row(HnswParticipant *participant, const Scratch *scratch, const uint32_t *nids,
		 uint32_t count, uint32_t row, const float *scores)
{
	uint32_t	max = vdb_hnsw_list_max(participant->graph, 0);
	uint32_t	version;
	const HnswListCopy *known = vdb_hnsw_graph_look(participant, nids[row], &version);
	float		worst = known->count == max ? known->score[max - 1] : INFINITY;
	uint32_t	better[MAX_LEAF_NODES];
	uint32_t	some = (uint32_t) vdb_kernels->select_below(count, scores, worst, better);
	uint32_t	found = 0;

	for (uint32_t b = 0; b < some; b++)
	{
		uint32_t	i = better[b];

		if (scores[i] < worst && i != row && !vdb_hnsw_list_has(known, nids[i]))
		{
			found = note_found(scratch->found, found, max, scores[i], nids[i]);
			if (found == max && scratch->found[max - 1].score < worst)
				worst = scratch->found[max - 1].score;
		}
	}
	if (found > 0)
		vdb_hnsw_graph_merge(participant, nids[row], version, scratch->found, found);
	return found > 0;
}

_Static_assert(BLOCK_ROWS % VDB_PANEL_ROWS == 0, "blocks of a leaf begin where those of its panel do");
_Static_assert(MAX_LEAF_NODES * MAX_LEAF_NODES <= MAX_SAMPLE_SCORES, "scores of a leaf fit those of a sample");

/*
 * Of scores of rows with the nodes of a leaf, a row of each, copies those of some
 * rows, which begin on the diagonal, with rows after them to where these have them.
 */
static void
mirror_rows(float *scores, uint32_t size, uint32_t first, uint32_t rows, uint32_t end)
{
	for (uint32_t j = first + rows; j < end; j++)
		for (uint32_t i = first; i < first + rows; i++)
			scores[(size_t) j * size + i] = scores[(size_t) i * size + j];
}

/* Puts idle members of a leaf last; returns how many are not. */
static uint32_t
put_idle_last(const bool *idle, uint32_t *members, uint32_t count)
{
	uint32_t	busy = 0;

	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	member = members[i];

		if (!idle[member])
		{
			members[i] = members[busy];
			members[busy++] = member;
		}
	}
	return busy;
}

/*
 * Compares nodes of a leaf with each other, but settled ones, which others still
 * find, look at none; nodes of two blocks are scored once for both.  members: where its nodes are
 * in the set; their order changes.  *share: of their nodes, those to which leaves
 * have brought something of late.
 */
static void
compare_leaf(HnswParticipant *participant, const Scratch *scratch, const NodeSet *set, uint32_t *members,
			 uint32_t count, float *share, const HnswWatch *watch)
{
	const HnswGraph *graph = participant->graph;
	uint32_t	rows = *share < SETTLED_SHARE ? put_idle_last(scratch->idle, members, count) : count;
	uint32_t   *nids = scratch->nids;
	uint32_t	finders = 0;
	VdbPanel	panel;

	if (rows == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		nids[i] = set->nids[members[i]];
	vdb_panel_init(&panel, graph->codec, count, scratch->panel);
	gather_rows(graph, graph->codec, scratch, nids, count);
	for (uint32_t i = 0; i < count; i++)
		vdb_panel_put(&panel, i, scratch->factors[i], scratch->hi + i * scratch->stride);
	for (uint32_t first = 0; first < rows; first += BLOCK_ROWS)
	{
		uint32_t	some = rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS;

		watch->look(watch->arg);
		vdb_panel_scores_from(&panel, first, some, scratch->factors + first, scratch->hi + first * scratch->stride,
							  scratch->stride, scratch->scores + (size_t) first * count);
		mirror_rows(scratch->scores, count, first, some, rows);
		for (uint32_t i = first; i < first + some; i++)
		{
			bool		finds;

			if (i + HNSW_LISTS_AHEAD < rows)
				vdb_hnsw_graph_expect_list(graph, nids[i + HNSW_LISTS_AHEAD]);
			finds = note_row(participant, scratch, nids, count, i, scratch->scores + (size_t) i * count);
			scratch->idle[members[i]] = !finds;
			finders += finds;
		}
	}
	*share += ((float) finders / (float) count - *share) * LEAF_PART;
}

/* Adds what a finder has found near a node; most of it is known from the group before. */
static void
note_neighbors(HnswParticipant *participant, const Scratch *scratch, const uint32_t *nids, uint32_t row,
			   const VdbNeighbor *neighbors, uint32_t count)
{
	uint32_t	max = vdb_hnsw_list_max(participant->graph, 0);
	uint32_t	version;
	const HnswListCopy *known = vdb_hnsw_graph_look(participant, nids[row], &version);
	float		worst = known->count == max ? known->score[max - 1] : INFINITY;
	uint32_t	found = 0;

	for (uint32_t i = 0; i < count && found < max && neighbors[i].score < worst; i++)
	{
		uint32_t	nid = nids[neighbors[i].number];

		if (nid != nids[row] && !vdb_hnsw_list_has(known, nid))
			scratch->found[found++] = (HnswCandidate) {.score = neighbors[i].score,.nid = nid};
	}
	if (found > 0)
		vdb_hnsw_graph_merge(participant, nids[row], version, scratch->found, found);
}

/* Rows from this one on that fit the scratch, and where their codes are then. */
static uint32_t
gather_part(const HnswGraph *graph, const Scratch *scratch, const NodeSet *set, uint32_t first, VdbCodes *codes)
{
	uint32_t	rows = set->count - first < MAX_LEAF_NODES ? set->count - first : MAX_LEAF_NODES;

	gather_rows(graph, graph->codec, scratch, set->nids + first, rows);
	*codes = (VdbCodes) {scratch->factors, scratch->hi, scratch->stride};
	return rows;
}

/* Has the finder compare all nodes of a set with each other; false where it cannot. */
static bool
find_in_set(HnswBatch *batch, HnswParticipant *participant, const Scratch *scratch, const NodeSet *set,
			const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	VdbFinder  *finder = batch->finder;
	uint32_t	wanted = vdb_hnsw_list_max(graph, 0) + 1;
	uint32_t	rows;
	VdbCodes	codes;

	if (wanted > finder->most)
		return false;
	for (uint32_t first = 0; first < set->count; first += rows)
	{
		watch->look(watch->arg);
		rows = gather_part(graph, scratch, set, first, &codes);
		if (!finder->put(finder, set->count, first, rows, codes))
			return false;
	}
	for (uint32_t first = 0; first < set->count; first += rows)
	{
		watch->look(watch->arg);
		rows = gather_part(graph, scratch, set, first, &codes);
		if (!finder->find(finder, rows, codes, wanted, scratch->neighbors))
			return false;
		for (uint32_t i = 0; i < rows; i++)
			note_neighbors(participant, scratch, set->nids, first + i, scratch->neighbors + (size_t) i * wanted, wanted);
	}
	return true;
}

/* Compares nodes of a set: all with each other, or those of its leaves. */
static void
compare_set(HnswBatch *batch, HnswParticipant *participant, const Scratch *scratch,
			const NodeSet *set, uint32_t fanout, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	wanted = count_leaves(set->count, fanout);
	uint32_t	leaves = wanted < scratch->most_leaves ? wanted : scratch->most_leaves;
	float	   *scores = scratch->scores + MAX_SAMPLE_SCORES;
	VdbCodec	half = vdb_panel_half(graph->codec);
	HnswPivots	pivots;
	float		share = 1;

	memset(scratch->idle, false, set->count * sizeof(bool));
	if (set->count <= MAX_LEAF_NODES)
	{
		for (uint32_t i = 0; i < set->count; i++)
			scratch->leaves[i] = i;
		compare_leaf(participant, scratch, set, scratch->leaves, set->count, &share, watch);
		return;
	}
	if (batch->finder != NULL && find_in_set(batch, participant, scratch, set, watch))
		return;
	batch->finder = NULL;
	vdb_hnsw_pivots_init(&pivots, &half, leaves, fanout, MAX_LEAF_NODES, scratch->pivots);
	draw_pivots(graph, scratch, &pivots, set, LEAF_SAMPLE, LEAF_ROUNDS, &participant->random,
				scratch->scores, MAX_SAMPLE_SCORES, watch);
	for (uint32_t first = 0; first < set->count; first += BLOCK_ROWS)
	{
		uint32_t	rows = set->count - first < BLOCK_ROWS ? set->count - first : BLOCK_ROWS;

		watch->look(watch->arg);
		score_nodes(graph, scratch, &pivots, set->nids + first, rows, scores);
		for (uint32_t i = 0; i < rows; i++)
		{
			uint32_t	chosen[HNSW_MAX_FANOUT];
			uint32_t	count = vdb_hnsw_pivots_assign(&pivots, scores + (size_t) i * leaves, chosen);

			for (uint32_t c = 0; c < count; c++)
				scratch->leaves[(size_t) chosen[c] * MAX_LEAF_NODES + pivots.sizes[chosen[c]] - 1] =
					first + i;
		}
	}
	for (uint32_t leaf = 0; leaf < leaves; leaf++)
		compare_leaf(participant, scratch, set, scratch->leaves + (size_t) leaf * MAX_LEAF_NODES,
					 pivots.sizes[leaf], &share, watch);
}

/* ---- the stages ---- */

static void
work_on_node(HnswBatch *batch, HnswParticipant *participant, HnswBatchStage stage, uint32_t nid)
{
	switch (stage)
	{
		case HNSW_BATCH_PREPARE:
			vdb_hnsw_graph_prepare(participant, nid, nid >= batch->header->hosts);
			break;
		case HNSW_BATCH_PRUNE:
			vdb_hnsw_graph_prune(participant, nid);
			break;
		case HNSW_BATCH_RECIPROCATE:
			vdb_hnsw_graph_reciprocate(participant, nid);
			break;
		case HNSW_BATCH_ABOVE:
			vdb_hnsw_graph_link_above(participant, nid);
			break;
		case HNSW_BATCH_GATHER:
			break;
	}
}

void
vdb_hnsw_batch_work(HnswBatch *batch, HnswParticipant *participant, HnswBatchStage stage,
					char *memory, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	const HnswBatchHeader *header = batch->header;
	Scratch		scratch;
	uint32_t	number;

	place_scratch(&scratch, graph->codec, graph->m, graph->ef_construction, graph->capacity, memory);
	while (stage == HNSW_BATCH_GATHER && (number = take_work(batch, stage)) < header->groups)
	{
		NodeSet		group = {batch->members + batch->start[number],
		batch->start[number + 1] - batch->start[number]};

		if (group.count > 0)
			compare_set(batch, participant, &scratch, &group, header->fanout, watch);
	}
	while (stage != HNSW_BATCH_GATHER && (number = take_work(batch, stage)) <= (header->count - 1) / CHUNK)
	{
		uint32_t	end = header->count - number * CHUNK < CHUNK ? header->count : (number + 1) * CHUNK;

		for (uint32_t nid = number * CHUNK; nid < end; nid++)
		{
			if (nid % NODES_PER_LOOK == 0)
				watch->look(watch->arg);
			work_on_node(batch, participant, stage, nid);
		}
	}
}

uint32_t
vdb_hnsw_batch_progress(const HnswBatch *batch, HnswBatchStage stage)
{
	const HnswBatchHeader *header = batch->header;
	uint64_t	given = __atomic_load_n(&header->next[stage], __ATOMIC_RELAXED);
	uint64_t	units = stage == HNSW_BATCH_GATHER ? header->groups : header->count / CHUNK + 1;

	return (uint32_t) (given < units ? given * header->count / units : header->count);
}

void
vdb_hnsw_batch_choose_entry(HnswBatch *batch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	entry = 0;

	for (uint32_t nid = 1; nid < batch->header->hosts; nid++)
	{
		if (graph->levels[nid] > graph->levels[entry])
			entry = nid;
	}
	graph->header->entry = entry;
}

/* ---- the tree ---- */

/* The part of a node: its number is that of one of its nodes. */
static uint32_t
part_of(uint32_t *parts, uint32_t nid)
{
	while (parts[nid] != nid)
		nid = parts[nid] = parts[parts[nid]];
	return nid;
}

/*
 * Makes `to` the next edge of the tree in the list of a node, where these come
 * first.  A full list that does not have it gives up its longest other one.
 */
static void
put_tree_edge(const HnswGraph *graph, uint32_t nid, uint32_t to, float score)
{
	HnswList   *list = vdb_hnsw_graph_list(graph, nid);
	uint32_t	max = vdb_hnsw_list_max(graph, 0);
	uint32_t   *nbr = vdb_hnsw_list_nbr(list);
	float	   *scores = vdb_hnsw_list_score(list, max);
	uint32_t	front = graph->children[nid]++;
	uint32_t	at = front;

	while (at < list->count && nbr[at] != to)
		at++;
	if (at == list->count && list->count < max)
		list->count++;
	else if (at == list->count)
	{
		at = front;
		for (uint32_t i = front; i < list->count; i++)
			at = scores[i] > scores[at] ? i : at;
	}
	nbr[at] = nbr[front];
	scores[at] = scores[front];
	nbr[front] = to;
	scores[front] = score;
}

/* Connects two parts by an edge between two nodes. */
static void
connect_parts(const HnswGraph *graph, uint32_t *parts, uint32_t a, uint32_t b, float score)
{
	put_tree_edge(graph, a, b, score);
	put_tree_edge(graph, b, a, score);
	parts[part_of(parts, a)] = part_of(parts, b);
}

/*
 * Connects what edges connect, as far as nodes may have more edges of the tree;
 * returns how many parts are left.
 */
static uint32_t
connect_by_edges(HnswBatch *batch, uint32_t *parts, uint32_t limit, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	hosts = batch->header->hosts;
	uint32_t	left = hosts;

	for (uint32_t nid = 0; nid < hosts; nid++)
		parts[nid] = nid;
	for (uint32_t nid = 0; nid < hosts && left > 1; nid++)
	{
		const HnswList *list = vdb_hnsw_graph_list(graph, nid);

		if (nid % 1024 == 0)
			watch->look(watch->arg);
		for (uint32_t i = graph->children[nid]; i < list->count && graph->children[nid] < limit; i++)
		{
			uint32_t	nbr = vdb_hnsw_list_nbr(list)[i];

			if (nbr < hosts && graph->children[nbr] < limit && part_of(parts, nid) != part_of(parts, nbr))
			{
				connect_parts(graph, parts, nid, nbr, vdb_hnsw_list_score(list, vdb_hnsw_list_max(graph, 0))[i]);
				left--;
			}
		}
	}
	return left;
}

/*
 * The nearest node found in another part than a node's own that may have one more
 * edge of the tree; any such node, where none is found.
 */
static uint32_t
find_in_other_part(HnswBatch *batch, HnswParticipant *participant, uint32_t *parts, uint32_t nid,
				   uint32_t limit)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	hosts = batch->header->hosts;
	uint32_t	part = part_of(parts, nid);
	HnswCandidate evicted;
	HnswPool	pool;
	uint32_t	other;

	hnsw_pool_init(&pool, participant->pool, graph->ef_construction);
	for (uint32_t i = 0; i < STARTS; i++)
	{
		HnswCandidate item = {.nid = random_below(&participant->random, hosts)};

		item.score = vdb_hnsw_graph_score(graph, nid, item.nid);
		if (part_of(parts, item.nid) != part && hnsw_pool_admits(&pool, item.score))
			hnsw_pool_insert(&pool, item, &evicted);
	}
	vdb_hnsw_graph_search(participant, 0, nid, &pool);
	for (uint32_t i = 0; i < pool.size; i++)
	{
		other = pool.items[i].nid;
		if (other < hosts && graph->children[other] < limit && part_of(parts, other) != part)
			return other;
	}

	/* every part has a node with at most one edge of the tree */
	other = random_below(&participant->random, hosts);
	while (graph->children[other] >= limit || part_of(parts, other) == part)
		other = (other + 1) % hosts;
	return other;
}

/* A node of the part that most nodes are in, if it has the half (Boyer and Moore, 1991). */
static uint32_t
find_majority(uint32_t *parts, uint32_t count)
{
	uint32_t	candidate = 0;
	uint32_t	votes = 0;

	for (uint32_t nid = 0; nid < count; nid++)
	{
		if (votes == 0)
			candidate = nid;
		if (part_of(parts, nid) == part_of(parts, candidate))
			votes++;
		else
			votes--;
	}
	return candidate;
}

/*
 * Connects the parts that are left, each with what is near it.  The part that has
 * most of the nodes does not look for others: they come to it, most in the first
 * round.
 */
static void
connect_rest(HnswBatch *batch, HnswParticipant *participant, uint32_t *parts, uint32_t left,
			 uint32_t limit, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	hosts = batch->header->hosts;
	uint32_t	center = find_majority(parts, hosts);

	for (uint32_t nid = 0; left > 1; nid = (nid + 1) % hosts)
	{
		uint32_t	other;

		if (graph->children[nid] >= limit || part_of(parts, nid) == part_of(parts, center))
			continue;
		watch->look(watch->arg);
		other = find_in_other_part(batch, participant, parts, nid, limit);
		connect_parts(graph, parts, nid, other, vdb_hnsw_graph_score(graph, nid, other));
		left--;
	}
}

/*
 * Says of each node who its parent is: walks the tree from the first one.  Until
 * then children[] counts all edges of the tree.
 */
static void
direct_tree(HnswBatch *batch, uint32_t *queue, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	reached = 1;

	queue[0] = 0;
	for (uint32_t i = 0; i < reached; i++)
	{
		uint32_t	nid = queue[i];
		const uint32_t *nbr = vdb_hnsw_list_nbr(vdb_hnsw_graph_list(graph, nid));

		if (i % 1024 == 0)
			watch->look(watch->arg);
		for (uint32_t e = 0; e < graph->children[nid]; e++)
		{
			if (nbr[e] != graph->parents[nid])
			{
				graph->parents[nbr[e]] = nid;
				queue[reached++] = nbr[e];
			}
		}
	}
	for (uint32_t nid = 1; nid < batch->header->hosts; nid++)
		graph->children[nid]--;
}

/* Forgets all about edges. */
static void
reset_graph(const HnswGraph *graph)
{
	graph->header->upper_count = 0;
	graph->header->entry = HNSW_NO_NODE;
}

bool
vdb_hnsw_batch_connect(HnswBatch *batch, HnswParticipant *participant, const HnswWatch *watch)
{
	const HnswGraph *graph = batch->graph;
	uint32_t	hosts = batch->header->hosts;
	uint32_t	limit = vdb_hnsw_graph_tree_limit(graph);
	uint32_t	left;

	left = connect_by_edges(batch, batch->members, limit, watch);
	if (left - 1 > hosts / NODES_PER_PART)
	{
		reset_graph(graph);
		return false;
	}
	connect_rest(batch, participant, batch->members, left, limit, watch);
	direct_tree(batch, batch->members + hosts, watch);
	return true;
}
