/*
 * hnsw_graph.c
 *	  Building the graph in memory: levels, search, neighbour selection.
 *
 * Hierarchical navigable small worlds (Malkov and Yashunin, 2018) over node
 * codes: distances come from their hi parts alone, so a dense comparison reads
 * a byte a dimension.  This file never touches a page; hnsw_write.c writes the
 * result out.
 *
 * Several participants may add nodes at the same time, in threads or in
 * processes that share the memory.  None ever waits for more than the copying
 * of a list:
 *
 * - A node is private until the first edge to it is stored.  Before that its
 *   code, its level, its lists on all layers and its parent are; storing an
 *   edge releases them to whoever reads it.
 * - Edges to it are stored from layer 0 upward, and it becomes the entry point
 *   last.  So who finds a node on a layer finds it on those below.
 * - Lists are copied and compared by version, see HnswList.  What a list is to
 *   be is decided upon a copy, and stored if the list is still the same.
 *
 * The heuristic that prunes lists can cut a node off, and does so to most of a
 * set of equal vectors.  So the nodes also form a tree: each one but the first
 * has a parent among its neighbours on layer 0, and pruning keeps the edges
 * between parent and child in both directions.  Layer 0 is therefore always
 * strongly connected.  That it holds whoever adds what:
 *
 * - A node gets its parent while it is private, and keeps it.  So whether an
 *   edge of a list is of the tree never changes while the edge can be seen, and
 *   two who decide about a list at once agree on it.
 * - The edge from the parent is the first that is stored.  So every node that
 *   can be found is a child already in its parent's list, and since the parent
 *   had been found before, by induction the first node leads to it.
 * - The edge to the parent is in the node's own list before anybody sees that.
 * - How many children a node may have is enforced when one is taken on, by a
 *   compare-and-swap, before the edge is stored; a list has room for all of
 *   them and more.
 * - Only one node is ever made the entry point of an empty graph; others that
 *   tried find it.
 * - Guests, which are in the tree of another graph, are linked one by one only
 *   when all that belong to this one are.  They have no parent and are nobody's, and a list's
 *   edges of the tree are kept whatever guests come to it.
 */
#include <math.h>
#include <sched.h>
#include <time.h>

#include "hnsw/hnsw_graph.h"

#define ALIGN64(n) (((n) + 63) / 64 * 64)

/* In a batch: one of so many nodes has that many edges that lead far away. */
#define LEADING_OUT_OF 4
#define LEADING_OUT_EDGES 2

/* Number of children that no node may have more of. */
#define NO_CHILDREN UINT8_MAX

static inline size_t
list_bytes(uint32_t max)
{
	return sizeof(HnswList) + (size_t) max * (sizeof(uint32_t) + sizeof(float));
}

/* Lists above layer 0 expected among so many nodes, with room for luck. */
static inline uint32_t
upper_lists(uint32_t m, uint32_t nodes)
{
	double		expected = (double) nodes / (m - 1);

	return (uint32_t) (expected + 6 * sqrt(expected) + 16);
}

size_t
vdb_hnsw_graph_node_bytes(const VdbCodec *codec, uint32_t m, uint32_t participants)
{
	return ALIGN64(codec->hi_bytes) + codec->lo_bytes + sizeof(VdbNodeFactors) + 2 + sizeof(uint32_t) +
		list_bytes(2 * m) + (list_bytes(m) + sizeof(uint32_t)) / (m - 1) + 2 +
		participants * sizeof(uint16_t);
}

/* Gives a field of a structure its place in memory, or only counts its bytes. */
#define PLACE(field, bytes) \
	((field) = memory ? (void *) (memory + at) : NULL, at += ALIGN64(bytes))

/* Places the parts of a graph, whose constants are known. */
static size_t
place_graph(HnswGraph *graph, char *memory)
{
	size_t		at = 0;
	size_t		n = graph->capacity;

	graph->hi_stride = ALIGN64(graph->codec->hi_bytes);
	graph->list_stride = list_bytes(vdb_hnsw_list_max(graph, 0));
	graph->upper_stride = list_bytes(graph->m);
	PLACE(graph->header, sizeof(HnswGraphHeader));
	PLACE(graph->hi, n * graph->hi_stride);
	PLACE(graph->lo, n * graph->codec->lo_bytes);
	PLACE(graph->factors, n * sizeof(VdbNodeFactors));
	PLACE(graph->levels, n);
	PLACE(graph->parents, n * sizeof(uint32_t));
	PLACE(graph->children, n);
	PLACE(graph->lists, n * graph->list_stride);
	PLACE(graph->upper, graph->upper_capacity * graph->upper_stride);
	PLACE(graph->upper_node, graph->upper_capacity * sizeof(uint32_t));
	return at;
}

/* Places a participant's scratch. */
static size_t
place_participant(HnswParticipant *participant, uint32_t m, uint32_t ef_construction,
				  uint32_t capacity, char *memory)
{
	size_t		at = 0;
	uint32_t	max = 2 * m;

	PLACE(participant->marks, capacity * sizeof(uint16_t));
	PLACE(participant->pool, ef_construction * sizeof(HnswCandidate));
	PLACE(participant->sorted, (max + 1) * sizeof(HnswCandidate));
	PLACE(participant->fresh, max * sizeof(uint32_t));
	PLACE(participant->own.nbr, max * sizeof(uint32_t));
	PLACE(participant->own.score, max * sizeof(float));
	PLACE(participant->other.nbr, max * sizeof(uint32_t));
	PLACE(participant->other.score, max * sizeof(float));
	return at;
}

static size_t
graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t capacity, uint32_t bottom)
{
	HnswGraph	graph = {
		.codec = codec,
		.m = m,
		.capacity = capacity,
		.upper_capacity = upper_lists(m, capacity),
		.bottom = bottom
	};

	return place_graph(&graph, NULL);
}

size_t
vdb_hnsw_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t capacity)
{
	return graph_bytes(codec, m, capacity, 0);
}

size_t
vdb_hnsw_upper_graph_bytes(const VdbCodec *codec, uint32_t m, uint32_t capacity)
{
	return graph_bytes(codec, m, capacity, 1);
}

size_t
vdb_hnsw_participant_bytes(uint32_t m, uint32_t ef_construction, uint32_t capacity)
{
	HnswParticipant participant;

	return place_participant(&participant, m, ef_construction, capacity, NULL);
}

static void
init_graph(HnswGraph *graph, const VdbCodec *codec, uint32_t m, uint32_t ef_construction,
		   uint32_t capacity, uint32_t bottom, char *memory)
{
	*(HnswGraphHeader *) memory = (HnswGraphHeader) {
		.m = m,
		.ef_construction = ef_construction,
		.capacity = capacity,
		.upper_capacity = upper_lists(m, capacity),
		.bottom = bottom,
		.entry = HNSW_NO_NODE
	};
	vdb_hnsw_graph_attach(graph, codec, memory);
}

void
vdb_hnsw_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
					uint32_t ef_construction, uint32_t capacity, char *memory)
{
	init_graph(graph, codec, m, ef_construction, capacity, 0, memory);
}

void
vdb_hnsw_upper_graph_init(HnswGraph *graph, const VdbCodec *codec, uint32_t m,
						  uint32_t ef_construction, uint32_t capacity, char *memory)
{
	init_graph(graph, codec, m, ef_construction, capacity, 1, memory);
}

void
vdb_hnsw_graph_attach(HnswGraph *graph, const VdbCodec *codec, char *memory)
{
	const HnswGraphHeader *header = (const HnswGraphHeader *) memory;

	graph->codec = codec;
	graph->m = header->m;
	graph->ef_construction = header->ef_construction;
	graph->capacity = header->capacity;
	graph->upper_capacity = header->upper_capacity;
	graph->bottom = header->bottom;
	place_graph(graph, memory);
}

void
vdb_hnsw_participant_init(HnswParticipant *participant, const HnswGraph *graph, uint64_t seed,
						  char *memory)
{
	participant->graph = graph;
	participant->random = seed;
	participant->mark = 0;
	place_participant(participant, graph->m, graph->ef_construction, graph->capacity, memory);
	memset(participant->marks, 0, graph->capacity * sizeof(uint16_t));
}

/* ---- what participants share ---- */

/*
 * Passes time until somebody else has done his step.  He may have been
 * descheduled in it, so after some tries give him the processor.
 */
static void
back_off(uint32_t tries)
{
	if (tries < 50)
	{
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ volatile("isb");
#endif
	}
	else if (tries < 100)
		sched_yield();
	else
	{
		struct timespec pause = {0, 100 * 1000};

		nanosleep(&pause, NULL);
	}
}

/* The next number of a counter, HNSW_NO_NODE when all are given out. */
static uint32_t
take_number(uint32_t *counter, uint32_t capacity)
{
	uint32_t	number = __atomic_load_n(counter, __ATOMIC_RELAXED);

	while (number < capacity &&
		   !__atomic_compare_exchange_n(counter, &number, number + 1, true, __ATOMIC_RELAXED,
										__ATOMIC_RELAXED))
		;
	return number < capacity ? number : HNSW_NO_NODE;
}

/*
 * Copies a list as it stood at one moment; returns its version then.
 *
 * Loading each word acquires, so that the version is loaded the second time
 * after all of them, and storing each releases, so that whoever loads a word
 * sees that the list is being written.  A node's number comes with what was
 * stored about it before.
 */
static uint32_t
copy_list(const HnswList *list, uint32_t max, HnswListCopy *copy)
{
	const uint32_t *nbr = vdb_hnsw_list_nbr(list);
	const float *score = vdb_hnsw_list_score(list, max);

	for (uint32_t tries = 0;; tries++)
	{
		uint32_t	version = __atomic_load_n(&list->version, __ATOMIC_ACQUIRE);

		if (version % 2 == 0)
		{
			copy->count = __atomic_load_n(&list->count, __ATOMIC_ACQUIRE);
			for (uint32_t i = 0; i < copy->count; i++)
			{
				copy->nbr[i] = __atomic_load_n(&nbr[i], __ATOMIC_ACQUIRE);
				__atomic_load(&score[i], &copy->score[i], __ATOMIC_ACQUIRE);
			}
			if (__atomic_load_n(&list->version, __ATOMIC_RELAXED) == version)
				return version;
		}
		back_off(tries);
	}
}

/*
 * Stores what a list of this version is to be, from index `first` on.  False
 * when it is of another version by now.
 */
static bool
replace_list(HnswList *list, uint32_t max, uint32_t version, const HnswListCopy *copy,
			 uint32_t first)
{
	uint32_t   *nbr = vdb_hnsw_list_nbr(list);
	float	   *score = vdb_hnsw_list_score(list, max);

	if (!__atomic_compare_exchange_n(&list->version, &version, version + 1, false,
									 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	for (uint32_t i = first; i < copy->count; i++)
	{
		__atomic_store_n(&nbr[i], copy->nbr[i], __ATOMIC_RELEASE);
		__atomic_store(&score[i], &copy->score[i], __ATOMIC_RELEASE);
	}
	__atomic_store_n(&list->count, copy->count, __ATOMIC_RELEASE);
	__atomic_store_n(&list->version, version + 2, __ATOMIC_RELEASE);
	return true;
}

/* Fills the list of a node that nobody can find yet. */
static void
store_list(HnswList *list, uint32_t max, const HnswListCopy *copy)
{
	list->count = copy->count;
	memcpy(vdb_hnsw_list_nbr(list), copy->nbr, copy->count * sizeof(uint32_t));
	memcpy(vdb_hnsw_list_score(list, max), copy->score, copy->count * sizeof(float));
}

/* Takes on one more child for a node, if it may have one. */
static bool
adopt_child(const HnswGraph *graph, uint32_t nid)
{
	uint32_t	limit = vdb_hnsw_graph_tree_limit(graph) - (graph->parents[nid] != HNSW_NO_NODE);
	uint8_t		children = __atomic_load_n(&graph->children[nid], __ATOMIC_RELAXED);

	while (children < limit)
	{
		if (__atomic_compare_exchange_n(&graph->children[nid], &children, children + 1, true,
										__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

/*
 * Makes a linked node the entry point if it reaches higher.  Of several that
 * reach as high the first stays; on the layers above the former entry point
 * they know nothing of each other.
 */
static void
raise_entry(const HnswGraph *graph, uint32_t nid)
{
	uint32_t	entry = __atomic_load_n(&graph->header->entry, __ATOMIC_ACQUIRE);

	while (graph->levels[nid] > graph->levels[entry] &&
		   !__atomic_compare_exchange_n(&graph->header->entry, &entry, nid, true,
										__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

/* ---- one participant ---- */

/* Exponentially distributed with mean 1 / ln m, capped. */
static int
draw_level(HnswParticipant *participant)
{
	int			highest = HNSW_MAX_LAYER - (int) participant->graph->bottom;
	uint64_t	random = participant->random;
	double		uniform;
	int			level;

	/* xorshift64* (Vigna, 2016) */
	random ^= random >> 12;
	random ^= random << 25;
	random ^= random >> 27;
	participant->random = random;
	uniform = ((double) (random * UINT64_C(2685821657736338717) >> 11) + 1) / 9007199254740993.0;
	level = (int) (-log(uniform) / log(participant->graph->m));
	return level < highest ? level : highest;
}

/* A node's list on a layer it has. */
static inline HnswList *
list_of(const HnswGraph *graph, int layer, uint32_t nid)
{
	HnswList   *list = vdb_hnsw_graph_list(graph, nid);

	while (layer-- > 0)
		list = vdb_hnsw_graph_upper(graph, list->up);
	return list;
}

/* Notes that the present search has seen a node; false when it had. */
static inline bool
mark_seen(HnswParticipant *participant, uint32_t nid)
{
	if (participant->marks[nid] == participant->mark)
		return false;
	participant->marks[nid] = participant->mark;
	return true;
}

/* Starts a search: what the pool holds counts as seen, and is to be expanded. */
static void
begin_search(HnswParticipant *participant, HnswPool *pool)
{
	if (++participant->mark == 0)
	{
		memset(participant->marks, 0, participant->graph->capacity * sizeof(uint16_t));
		participant->mark = 1;
	}
	for (uint32_t i = 0; i < pool->size; i++)
	{
		pool->items[i].expanded = 0;
		mark_seen(participant, pool->items[i].nid);
	}
	pool->next = 0;
}

/*
 * A list that is being rewritten shows some neighbours it had and some it will
 * have, all of them nodes of this layer, which is as good.
 */
void
vdb_hnsw_graph_search(HnswParticipant *participant, int layer, uint32_t target, HnswPool *pool)
{
	const HnswGraph *graph = participant->graph;
	uint32_t   *fresh = participant->fresh;
	HnswCandidate *best;
	HnswCandidate evicted;

	begin_search(participant, pool);
	while ((best = hnsw_pool_peek(pool)) != NULL)
	{
		const HnswList *list = list_of(graph, layer, best->nid);
		const uint32_t *nbr = vdb_hnsw_list_nbr(list);
		uint32_t	size = __atomic_load_n(&list->count, __ATOMIC_ACQUIRE);
		uint32_t	count = 0;

		best->expanded = 1;
		for (uint32_t i = 0; i < size; i++)
		{
			uint32_t	nid = __atomic_load_n(&nbr[i], __ATOMIC_ACQUIRE);

			if (mark_seen(participant, nid))
			{
				fresh[count++] = nid;
				vdb_hnsw_graph_expect_code(graph, nid);
			}
		}
		for (uint32_t i = 0; i < count; i++)
		{
			HnswCandidate item = {.score = vdb_hnsw_graph_score(graph, target, fresh[i]),.nid = fresh[i]};

			if (hnsw_pool_admits(pool, item.score))
				hnsw_pool_insert(pool, item, &evicted);
		}
	}
}

static inline void
append_edge(HnswListCopy *list, uint32_t nid, float score)
{
	list->nbr[list->count] = nid;
	list->score[list->count] = score;
	list->count++;
}

/*
 * Is a candidate nearer to the base than to any node of the list?  Of equal
 * vectors only the first is, so they cannot fill a list.
 */
static inline bool
is_diverse(const HnswGraph *graph, const HnswListCopy *list, const HnswCandidate *c)
{
	for (uint32_t i = 0; i < list->count; i++)
	{
		if (vdb_hnsw_graph_score(graph, c->nid, list->nbr[i]) <= c->score)
			return false;
	}
	return true;
}

void
vdb_hnsw_graph_choose(const HnswGraph *graph, const HnswPool *pool, HnswListCopy *list)
{
	uint32_t	diverse;

	list->count = 0;
	for (uint32_t i = 0; i < pool->size && list->count < graph->m; i++)
	{
		if (is_diverse(graph, list, &pool->items[i]))
			append_edge(list, pool->items[i].nid, pool->items[i].score);
	}
	diverse = list->count;
	for (uint32_t i = 0, next = 0; i < pool->size && list->count < graph->m; i++)
	{
		/* the diverse ones stand in the order of the pool */
		if (next < diverse && list->nbr[next] == pool->items[i].nid)
			next++;
		else
			append_edge(list, pool->items[i].nid, pool->items[i].score);
	}
}

/*
 * Adds an edge to the copy of node base's list, which is full, and prunes it:
 * it keeps the tree's edges on layer 0, in a batch also those between nodes of
 * layer 1, which lead out of clusters, and of the others those that the heuristic
 * keeps.
 */
static void
prune_list(HnswParticipant *participant, int layer, uint32_t base, uint32_t from, float score,
		   bool batch, HnswListCopy *list)
{
	const HnswGraph *graph = participant->graph;
	bool		above = batch && graph->levels[base] > 0;
	uint32_t	max = list->count;
	uint32_t	reserved = 0;
	uint32_t	leading_out = 0;
	HnswPool	all;
	HnswCandidate evicted;

	hnsw_pool_init(&all, participant->sorted, max + 1);
	for (uint32_t i = 0; i < max; i++)
	{
		HnswCandidate item = {.score = list->score[i],.nid = list->nbr[i]};

		vdb_hnsw_graph_expect_code(graph, item.nid);
		hnsw_pool_insert(&all, item, &evicted);
	}
	hnsw_pool_insert(&all, (HnswCandidate) {.score = score,.nid = from}, &evicted);
	for (uint32_t i = 0; i < all.size && layer == 0; i++)
	{
		HnswCandidate *c = &all.items[i];

		/* the mark of a candidate on layer 0 is free */
		c->ref = vdb_hnsw_graph_is_tree_edge(graph, base, c->nid) ||
			(above && graph->levels[c->nid] > 0 && leading_out++ < graph->m);
		reserved += c->ref;
	}
	list->count = 0;
	for (uint32_t i = 0; i < all.size; i++)
	{
		HnswCandidate *c = &all.items[i];
		bool		keep;

		if (layer == 0 && c->ref)
		{
			keep = true;
			reserved--;
		}
		else
			keep = list->count + reserved < max && is_diverse(graph, list, c);
		if (keep)
			append_edge(list, c->nid, c->score);
	}
}

/*
 * Appends an edge to a list of a version that has room.  False when it is of
 * another version by now.
 */
static bool
append_to_list(HnswList *list, uint32_t max, uint32_t version, uint32_t nid, float score)
{
	uint32_t	count;

	if (!__atomic_compare_exchange_n(&list->version, &version, version + 1, false,
									 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	count = list->count;
	__atomic_store_n(&vdb_hnsw_list_nbr(list)[count], nid, __ATOMIC_RELEASE);
	__atomic_store(&vdb_hnsw_list_score(list, max)[count], &score, __ATOMIC_RELEASE);
	__atomic_store_n(&list->count, count + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&list->version, version + 2, __ATOMIC_RELEASE);
	return true;
}

/*
 * Adds `from` to a list of node `base`.  batch: all nodes are linked at once, so
 * the edge may be there.
 */
static void
add_reverse_edge(HnswParticipant *participant, int layer, uint32_t base, uint32_t from, float score,
				 bool batch)
{
	HnswList   *list = list_of(participant->graph, layer, base);
	HnswListCopy *copy = &participant->other;
	uint32_t	max = vdb_hnsw_list_max(participant->graph, layer);
	uint32_t	version;
	uint32_t	first;

	do
	{
		version = copy_list(list, max, copy);
		if (batch && vdb_hnsw_list_has(copy, from))
			return;
		if (copy->count < max)
		{
			first = copy->count;
			append_edge(copy, from, score);
		}
		else
		{
			first = 0;
			prune_list(participant, layer, base, from, score, batch, copy);
		}
	} while (!replace_list(list, max, version, copy, first));
}

/*
 * Finds a descendant that may have one more child, or the node itself, and
 * takes on a child for it.  `path`: a number that says which way to go down, so
 * that the tree grows evenly.
 */
static uint32_t
find_descendant(HnswParticipant *participant, uint32_t nid, uint32_t path)
{
	const HnswGraph *graph = participant->graph;
	HnswListCopy *list = &participant->other;
	uint32_t	tries = 0;

	while (!adopt_child(graph, nid))
	{
		uint32_t	children = 0;

		copy_list(vdb_hnsw_graph_list(graph, nid), 2 * graph->m, list);
		for (uint32_t i = 0; i < list->count; i++)
		{
			if (graph->parents[list->nbr[i]] == nid)
				list->nbr[children++] = list->nbr[i];
		}
		if (children > 0)
		{
			nid = list->nbr[path % children];
			path /= children;
			tries = 0;
		}
		else
			back_off(tries++);	/* others have yet to link those it took on */
	}
	return nid;
}

/*
 * Gives a new node its parent: its nearest neighbour that may have one more
 * child.  Among very many equal vectors none may; then one of their descendants
 * becomes a neighbour too.  From here to the edge from the parent is a short
 * way, which others may be waiting for.
 */
static void
choose_parent(HnswParticipant *participant, uint32_t nid, HnswListCopy *list)
{
	const HnswGraph *graph = participant->graph;
	uint32_t	at = 0;

	while (at < list->count && !adopt_child(graph, list->nbr[at]))
		at++;
	if (at == list->count)
	{
		uint32_t	parent = find_descendant(participant, list->nbr[0], nid);

		append_edge(list, parent, vdb_hnsw_graph_score(graph, nid, parent));
	}
	graph->parents[nid] = list->nbr[at];
}

/* Room for a new node's lists above layer 0; returns the level it gets. */
static int
allocate_lists(const HnswGraph *graph, uint32_t nid, int level)
{
	HnswList   *list = vdb_hnsw_graph_list(graph, nid);
	int			layer = 0;

	for (;;)
	{
		uint32_t	number = HNSW_NO_NODE;

		list->version = 0;
		list->count = 0;
		if (layer < level)
			number = take_number(&graph->header->upper_count, graph->upper_capacity);
		list->up = number;
		if (number == HNSW_NO_NODE)
			return layer;
		graph->upper_node[number] = nid;
		list = vdb_hnsw_graph_upper(graph, number);
		layer++;
	}
}

/*
 * Gives those that a new node has in its list on a layer edges to it, its
 * parent first.
 */
static void
link_node(HnswParticipant *participant, int layer, uint32_t nid)
{
	const HnswGraph *graph = participant->graph;
	HnswListCopy *own = &participant->own;
	uint32_t	first = 0;

	/* as soon as one has an edge, others may change the list itself */
	copy_list(list_of(graph, layer, nid), vdb_hnsw_list_max(graph, layer), own);
	for (uint32_t i = 0; i < own->count && layer == 0; i++)
	{
		if (own->nbr[i] == graph->parents[nid])
			first = i;
	}
	for (uint32_t i = 0; i < own->count; i++)
	{
		/* it changes places with the first */
		uint32_t	at = i == 0 ? first : i == first ? 0 : i;

		add_reverse_edge(participant, layer, own->nbr[at], nid, own->score[at], false);
	}
}

/*
 * Finds a node's neighbours on all layers it has, from `top` down to `bottom`,
 * and then links it.  pool: with the start.  alone: it gets no parent.
 */
static void
link_layers(HnswParticipant *participant, uint32_t nid, int level, HnswPool *pool, int top,
			int bottom, bool alone)
{
	const HnswGraph *graph = participant->graph;

	for (int layer = top; layer >= bottom; layer--)
	{
		if (layer <= level)
			pool->capacity = graph->ef_construction;
		vdb_hnsw_graph_search(participant, layer, nid, pool);
		if (layer <= level)
		{
			vdb_hnsw_graph_choose(graph, pool, &participant->own);
			if (layer == 0 && graph->bottom == 0 && !alone)
				choose_parent(participant, nid, &participant->own);
			store_list(list_of(graph, layer, nid), vdb_hnsw_list_max(graph, layer),
					   &participant->own);
		}
	}
	for (int layer = bottom; layer <= level; layer++)
		link_node(participant, layer, nid);
}

uint32_t
vdb_hnsw_graph_encode(const HnswGraph *graph, const void *x, float norm)
{
	uint32_t	nid = take_number(&graph->header->count, graph->capacity);

	if (nid != HNSW_NO_NODE)
		graph->factors[nid] = vdb_encode_node(graph->codec, x, norm,
											  graph->hi + graph->hi_stride * nid,
											  graph->lo + (size_t) graph->codec->lo_bytes * nid);
	return nid;
}

uint32_t
vdb_hnsw_graph_put(const HnswGraph *graph, VdbNodeFactors factors, const uint8_t *hi)
{
	uint32_t	nid = take_number(&graph->header->count, graph->capacity);

	if (nid == HNSW_NO_NODE)
		return nid;
	graph->factors[nid] = factors;
	memcpy(graph->hi + graph->hi_stride * nid, hi, graph->codec->hi_bytes);
	return nid;
}

void
vdb_hnsw_graph_link(HnswParticipant *participant, uint32_t nid, bool guest)
{
	const HnswGraph *graph = participant->graph;
	int			level = allocate_lists(graph, nid, draw_level(participant));
	uint32_t	entry = HNSW_NO_NODE;
	HnswPool	pool;

	graph->levels[nid] = (uint8_t) level;
	graph->parents[nid] = HNSW_NO_NODE;
	graph->children[nid] = guest ? NO_CHILDREN : 0;
	if (__atomic_compare_exchange_n(&graph->header->entry, &entry, nid, false, __ATOMIC_RELEASE,
									__ATOMIC_ACQUIRE))
		return;

	hnsw_pool_init(&pool, participant->pool, 1);
	pool.items[0] = (HnswCandidate) {.score = vdb_hnsw_graph_score(graph, nid, entry),.nid = entry};
	pool.size = 1;
	link_layers(participant, nid, level, &pool, graph->levels[entry], 0, guest);
	raise_entry(graph, nid);
}

/* ---- parts of a batch, see hnsw_batch.c ---- */

void
vdb_hnsw_graph_prepare(HnswParticipant *participant, uint32_t nid, bool guest)
{
	const HnswGraph *graph = participant->graph;

	graph->levels[nid] = (uint8_t) allocate_lists(graph, nid, guest ? 0 : draw_level(participant));
	graph->parents[nid] = HNSW_NO_NODE;
	graph->children[nid] = guest ? NO_CHILDREN : 0;
}

const HnswListCopy *
vdb_hnsw_graph_look(HnswParticipant *participant, uint32_t nid, uint32_t *version)
{
	const HnswGraph *graph = participant->graph;

	*version = copy_list(vdb_hnsw_graph_list(graph, nid), vdb_hnsw_list_max(graph, 0),
						 &participant->other);
	return &participant->other;
}

void
vdb_hnsw_graph_merge(HnswParticipant *participant, uint32_t nid, uint32_t version,
					 const HnswCandidate *found, uint32_t count)
{
	HnswList   *list = vdb_hnsw_graph_list(participant->graph, nid);
	const HnswListCopy *old = &participant->other;
	HnswListCopy *merged = &participant->own;
	uint32_t	max = vdb_hnsw_list_max(participant->graph, 0);

	for (;;)
	{
		uint32_t	at = 0;

		merged->count = 0;
		for (uint32_t i = 0; i < count && merged->count < max; i++)
		{
			while (at < old->count && old->score[at] <= found[i].score && merged->count < max)
			{
				append_edge(merged, old->nbr[at], old->score[at]);
				at++;
			}
			if (merged->count < max && !vdb_hnsw_list_has(old, found[i].nid))
				append_edge(merged, found[i].nid, found[i].score);
		}
		for (; at < old->count && merged->count < max; at++)
			append_edge(merged, old->nbr[at], old->score[at]);
		if (replace_list(list, max, version, merged, 0))
			return;
		vdb_hnsw_graph_look(participant, nid, &version);
	}
}

/*
 * Adds edges to a new list that lead out of the cluster in which all candidates
 * may be.  A node on layer 1 takes all that it has there, so that layer 0
 * contains layer 1; these are few, and a search may pass between them, so some
 * others take a few of the nearest such node's.
 */
static void
lead_out(const HnswGraph *graph, uint32_t nid, const HnswList *candidates, HnswListCopy *own)
{
	uint32_t	max = vdb_hnsw_list_max(graph, 0);
	uint32_t	most = graph->m;
	uint32_t	guide = nid;
	const HnswList *above;

	if (graph->levels[nid] == 0)
	{
		uint32_t	at = 0;

		while (at < candidates->count && graph->levels[vdb_hnsw_list_nbr(candidates)[at]] == 0)
			at++;
		if (nid % LEADING_OUT_OF != 0 || at == candidates->count)
			return;
		guide = vdb_hnsw_list_nbr(candidates)[at];
		most = LEADING_OUT_EDGES;
	}
	above = list_of(graph, 1, guide);
	for (uint32_t i = 0; i < above->count && most > 0 && own->count < max; i++)
	{
		/* others than their neighbours take */
		uint32_t	at = guide == nid ? i : (i + nid / LEADING_OUT_OF) % above->count;
		uint32_t	nbr = vdb_hnsw_list_nbr(above)[at];

		if (nbr == nid || vdb_hnsw_list_has(own, nbr))
			continue;
		append_edge(own, nbr, vdb_hnsw_graph_score(graph, nid, nbr));
		most--;
	}
}

void
vdb_hnsw_graph_prune(HnswParticipant *participant, uint32_t nid)
{
	const HnswGraph *graph = participant->graph;
	HnswList   *list = vdb_hnsw_graph_list(graph, nid);
	HnswListCopy *own = &participant->own;
	uint32_t	max = vdb_hnsw_list_max(graph, 0);
	HnswPool	pool;

	hnsw_pool_init(&pool, participant->sorted, max + 1);
	for (uint32_t i = 0; i < list->count; i++)
	{
		vdb_hnsw_graph_expect_code(graph, vdb_hnsw_list_nbr(list)[i]);
		pool.items[pool.size++] = (HnswCandidate) {.score = vdb_hnsw_list_score(list, max)[i],
			.nid = vdb_hnsw_list_nbr(list)[i]};
	}
	vdb_hnsw_graph_choose(graph, &pool, own);

	lead_out(graph, nid, list, own);
	store_list(list, max, own);
}

/*
 * Adds `from` to the list of node `base` on layer 0, unless it is there.  Most
 * lists have room, and are not copied to find that out.
 */
static void
return_edge(HnswParticipant *participant, uint32_t base, uint32_t from, float score)
{
	const HnswGraph *graph = participant->graph;
	HnswList   *list = vdb_hnsw_graph_list(graph, base);
	const uint32_t *nbr = vdb_hnsw_list_nbr(list);
	uint32_t	max = vdb_hnsw_list_max(graph, 0);
	uint32_t	version = __atomic_load_n(&list->version, __ATOMIC_ACQUIRE);
	uint32_t	count = __atomic_load_n(&list->count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
	{
		if (__atomic_load_n(&nbr[i], __ATOMIC_RELAXED) == from)
			return;
	}
	if (version % 2 == 1 || count == max || !append_to_list(list, max, version, from, score))
		add_reverse_edge(participant, 0, base, from, score, true);
}

void
vdb_hnsw_graph_reciprocate(HnswParticipant *participant, uint32_t nid)
{
	const HnswGraph *graph = participant->graph;
	HnswListCopy *own = &participant->own;

	copy_list(vdb_hnsw_graph_list(graph, nid), vdb_hnsw_list_max(graph, 0), own);
	for (uint32_t i = 0; i < own->count; i++)
	{
		if (i + HNSW_LISTS_AHEAD < own->count)
			vdb_hnsw_graph_expect_list(graph, own->nbr[i + HNSW_LISTS_AHEAD]);
		return_edge(participant, own->nbr[i], nid, own->score[i]);
	}
}

void
vdb_hnsw_graph_link_above(HnswParticipant *participant, uint32_t nid)
{
	const HnswGraph *graph = participant->graph;
	uint32_t	entry = graph->header->entry;
	int			level = graph->levels[nid];
	HnswPool	pool;

	if (nid == entry || level == 0)
		return;
	hnsw_pool_init(&pool, participant->pool, 1);
	pool.items[0] = (HnswCandidate) {.score = vdb_hnsw_graph_score(graph, nid, entry),.nid = entry};
	pool.size = 1;
	link_layers(participant, nid, level, &pool, graph->levels[entry], 1, true);
}
