/*
 * hnsw_merge.c
 *	  A graph larger than memory: partitions one after the other, their lists
 *	  joined on the way to the pages.
 *
 * All rows are in temporary files as codes.  The leader reads them and writes
 * them, in order, to wherever the next step wants them; what takes time is to
 * link nodes, and that all participants do:
 *
 *	 rows --assign--> members, sorted by partition
 *		  --a partition at a time, in memory, linked by all-->
 *		  lists, sorted by node; rows in the order of nodes
 *		  --join--> pages
 *
 * A row is the host of one partition and mostly the guest of another, see
 * hnsw_partition.h.  Hosts are numbered one partition after the other: so a node
 * and most of its neighbours lie near each other on disk.  A node's list is made
 * of its lists in both partitions.
 *
 * The tree that keeps layer 0 connected is one tree for each partition, of its
 * hosts alone (see hnsw_graph.c), and an edge from each of these trees to the
 * next.  It leads from a leaf to a leaf, so no node has more edges of the tree
 * than it may.
 *
 * Hosts of a partition that are equal share the node of the first (hnsw_equal.c); the
 * others are not linked, and their identifiers go among the lists of that node.  Of equal
 * guests from the same partition, the first alone is linked: as all went the same way,
 * that is the node.  A full partition may have broken that; then an edge to a row that is
 * no node is left out.  When lists are joined, it is known which rows are nodes, and these
 * are numbered anew, without gaps; postings come after them.
 *
 * Layers above 0 are a graph of their own, of rows drawn at random.  It is built
 * in one piece, in the same memory when the partitions are done; if it would not
 * fit, fewer rows are drawn.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_partition.h"
#include "pace.h"
#include "testpoint.h"

/* Of a partition's room, how much is planned to be used. */
#define PLANNED_SHARE 0.85

/* Sample rows from which the weight of each pivot is found, and in how many rounds. */
#define SAMPLE_PER_PIVOT 32
#define BALANCE_ROUNDS 24

/*
 * A row as a member of a partition; of a guest without what follows its hi_bytes, and
 * with the hash of the row in place of that of the value.
 */
typedef struct Member
{
	uint32		partition;		/* whose host it is, */
	uint32		position;		/* there */
	HnswRow		row;
} Member;

/* Order of members: hosts of a partition, then its guests. */
#define MEMBER_KEY(partition, guest, position) \
	((uint64) (partition) << 33 | (uint64) (guest) << 32 | (position))
#define MEMBER_PARTITION(key) ((uint32) ((key) >> 33))
#define MEMBER_IS_GUEST(key) (((key) >> 32 & 1) != 0)

/* A list of edges between nodes of the index. */
typedef struct ListHeader
{
	uint16		count;
	uint16		kept;			/* edges of the tree: the first so many */
	/* followed by HnswOutEdge edges[count] */
} ListHeader;

/*
 * Instead of a list, the identifier of a row that shares the node: no list has this
 * length.
 */
#define IS_ATTACHED(size) ((size) == sizeof(ItemPointerData))

/* An edge on the way into a joined list. */
typedef struct JoinedEdge
{
	HnswOutEdge edge;
	bool		kept;
} JoinedEdge;

/* A leaf of a partition's tree, to be connected with the next one's. */
typedef struct Leaf
{
	uint32		nid;			/* of the index; HNSW_NO_NODE: none yet */
	VdbNodeFactors factors;
	uint8	   *hi;
} Leaf;

typedef struct HnswMerge
{
	HnswBuilder *builder;
	HnswIndex  *index;
	const VdbCodec *codec;
	int			sort_memory;	/* kB, of each of two sorters */

	uint64		rows;
	uint32		partitions;
	HnswPivots	pivots;
	uint32	   *base;			/* number of each partition's first host */
	HnswBits	attached;		/* rows that share a node, by that number */
	uint32		attached_count;
	uint32	   *attached_before;	/* each word of these bits, NULL: there are none */
	HnswSorter *members;

	HnswRowFile uppers;			/* rows that are on layers above 0 */
	uint32	   *upper_partition;
	uint32	   *upper_nids;		/* position in the partition, then number of the
								 * node */
	uint32		upper_count;

	HnswRowFile ordered;		/* rows that are nodes, in order */
	HnswRowFile followers;		/* those that share a node, in the same order: in
								 * place of a hash, the number of that */
	HnswSorter *lists;
	uint32	   *nids;			/* of the partition's members, hosts first */
	Leaf		last;			/* leaf of the partitions so far */
	bytea	   *buffer;			/* an item on its way into a sorter */
} HnswMerge;

/* ---- which rows go where ---- */

/* Opens what each participant wrote; returns how many rows they are. */
static uint64
open_rows(HnswBuilder *builder, HnswRowFile *files)
{
	uint64		count = builder->rows.count;

	files[0] = builder->rows;
	for (int i = 0; i < builder->workers; i++)
	{
		char		name[MAXPGPATH];

		vdb_hnsw_name_rows(name, i);
		vdb_hnsw_rows_open(&files[i + 1], vdb_hnsw_build_row_bytes(builder->index), builder->files,
						   name);
		count += files[i + 1].count;
	}
	return count;
}

/*
 * Reads a row for a sample: number `number` of `count`, which are spread evenly
 * over all rows.
 */
static HnswRow *
draw_row(HnswMerge *merge, HnswRowFile *files, uint32 number, uint32 count)
{
	double		at = (number + pg_prng_double(&pg_global_prng_state)) * merge->rows / count;
	uint64		row = Min((uint64) at, merge->rows - 1);

	vdb_pace();
	while (row >= files->count)
		row -= (files++)->count;
	vdb_hnsw_rows_read(files, row);
	return files->row;
}

/* Scores of a row with each pivot. */
static void
score_row(HnswMerge *merge, HnswRow *row, float *scores)
{
	vdb_panel_scores(&merge->pivots.panel, 1, &row->factors, vdb_hnsw_row_hi(row), 0, scores);
}

/* Decides how many partitions there are, and what goes into each. */
static void
choose_partitions(HnswMerge *merge, HnswRowFile *files)
{
	uint32		capacity = merge->builder->graph.capacity;
	double		fitting = (double) merge->sort_memory * 1024 / sizeof(float);
	uint32		partitions;
	uint32		sample;
	Size		bytes;
	float	   *scores;

	/* the sample counted rows, but none had a vector that is indexed */
	partitions = merge->rows > 0;
	if (merge->rows > capacity)
		partitions = (uint32) (2.0 * merge->rows / (PLANNED_SHARE * capacity)) + 1;
	merge->partitions = partitions;
	ereport(DEBUG1,
			(errmsg_internal("building index \"%s\" of " UINT64_FORMAT " rows in %u partitions, each of at most %u nodes",
							 RelationGetRelationName(merge->index->rel), merge->rows, partitions,
							 capacity)));
	if (partitions == 0)
		return;
	bytes = vdb_hnsw_pivots_bytes(merge->codec, partitions);
	vdb_hnsw_pivots_init(&merge->pivots, merge->codec, partitions, 2, capacity,
						 (char *) TYPEALIGN(64, MemoryContextAllocHuge(CurrentMemoryContext, bytes + 64)));
	for (uint32 i = 0; i < partitions; i++)
	{
		HnswRow    *row = draw_row(merge, files, i, partitions);

		vdb_panel_put(&merge->pivots.panel, i, row->factors, vdb_hnsw_row_hi(row));
	}
	sample = (uint32) Min((double) partitions * SAMPLE_PER_PIVOT, Max(1, fitting / partitions));
	scores = MemoryContextAllocHuge(CurrentMemoryContext, (Size) sample * partitions * sizeof(float));
	for (uint32 i = 0; i < sample; i++)
		score_row(merge, draw_row(merge, files, i, sample), scores + (Size) i * partitions);
	vdb_hnsw_pivots_balance(&merge->pivots, scores, sample, BALANCE_ROUNDS);
	pfree(scores);
}

/* Puts a row among the members of a partition. */
static void
put_member(HnswMerge *merge, HnswRow *row, uint64 key, uint32 host, uint32 position, bool guest)
{
	Member	   *member = (Member *) VARDATA(merge->buffer);
	Size		row_bytes = guest ? sizeof(HnswRow) + merge->codec->hi_bytes :
	vdb_hnsw_build_row_bytes(merge->index);

	member->partition = host;
	member->position = position;
	memcpy(&member->row, row, row_bytes);
	if (guest)
		member->row.hash = vdb_hnsw_hash_row(merge->index, row->hash,
											 vdb_hnsw_row_attributes(merge->codec, row));
	SET_VARSIZE(merge->buffer, VARHDRSZ + offsetof(Member, row) + row_bytes);
	vdb_hnsw_sorter_put(merge->members, key, merge->buffer);
}

/* Notes a row for the layers above 0. */
static void
put_upper(HnswMerge *merge, HnswRow *row, uint32 host, uint32 position)
{
	memcpy(merge->uppers.row, row, merge->uppers.row_bytes);
	vdb_hnsw_rows_write(&merge->uppers);
	merge->upper_partition[merge->upper_count] = host;
	merge->upper_nids[merge->upper_count] = position;
	merge->upper_count++;
}

/* Assigns all rows of a file. */
static void
assign_rows(HnswMerge *merge, HnswRowFile *file, uint32 *hosts, uint32 *guests)
{
	uint32		capacity = merge->builder->graph.capacity;
	double		share = Min(1.0 / merge->index->geometry.m, 0.9 * capacity / merge->rows);
	float	   *scores = palloc(merge->partitions * sizeof(float));

	for (uint64 i = 0; i < file->count; i++)
	{
		uint32		chosen[2];
		uint32		count;
		uint32		host;
		uint32		position;

		vdb_pace();
		if (i == 0)
			vdb_hnsw_rows_read(file, 0);
		else
			vdb_hnsw_rows_next(file);
		score_row(merge, file->row, scores);
		count = vdb_hnsw_pivots_assign(&merge->pivots, scores, chosen);
		host = chosen[0];
		position = hosts[host]++;
		put_member(merge, file->row, MEMBER_KEY(host, 0, position), host, position, false);
		if (count > 1)
			put_member(merge, file->row, MEMBER_KEY(chosen[1], 1, guests[chosen[1]]++), host, position,
					   true);

		/* there is an entry point in any case */
		if (merge->upper_count == 0 ||
			(merge->upper_count < capacity && pg_prng_double(&pg_global_prng_state) < share))
			put_upper(merge, file->row, host, position);
	}
}

/* Gives every row its partitions and the number of its node. */
static void
assign_all_rows(HnswMerge *merge, HnswRowFile *files)
{
	uint32		capacity = merge->builder->graph.capacity;
	uint32		most = (uint32) Min(capacity, merge->rows);
	Size		counts = merge->partitions * sizeof(uint32);
	uint32	   *hosts = palloc0(counts);
	uint32	   *guests = palloc0(counts);

	merge->members = vdb_hnsw_sorter_create(merge->sort_memory);
	vdb_hnsw_rows_create(&merge->uppers, vdb_hnsw_build_row_bytes(merge->index));
	merge->upper_partition = MemoryContextAllocHuge(CurrentMemoryContext, most * sizeof(uint32));
	merge->upper_nids = MemoryContextAllocHuge(CurrentMemoryContext, most * sizeof(uint32));
	for (int i = 0; i <= merge->builder->workers; i++)
	{
		assign_rows(merge, &files[i], hosts, guests);
		vdb_hnsw_rows_close(&files[i]);
	}
	merge->base = palloc(counts);
	for (uint32 i = 0, base = 0; i < merge->partitions; i++)
	{
		merge->base[i] = base;
		base += hosts[i];
	}
	for (uint32 i = 0; i < merge->upper_count; i++)
		merge->upper_nids[i] += merge->base[merge->upper_partition[i]];
	pfree(merge->upper_partition);
	pfree(hosts);
	pfree(guests);
	vdb_hnsw_sorter_start(merge->members);
}

/* ---- a partition in memory ---- */

/*
 * What a member's equality is judged by, beside its code's hi part.  Guests have no more
 * than a hash, and can only be equal if they come from the same partition.
 */
static void
describe_member(HnswMerge *merge, uint32 nid, const Member *member, const char *row, bool guest)
{
	HnswBuilder *builder = merge->builder;
	Size		lo_bytes = merge->codec->lo_bytes;
	Size		attr_bytes = merge->index->geometry.attr_bytes;
	uint8	   *lo = builder->graph.lo + nid * lo_bytes;
	uint8	   *attributes = builder->attributes + nid * attr_bytes;
	const char *more = row + sizeof(HnswRow) + merge->codec->hi_bytes;

	if (guest)
	{
		builder->hashes[nid] = hash_combine(member->row.hash, member->partition);
		memset(lo, 0, lo_bytes);
		memset(attributes, 0, attr_bytes);
	}
	else
	{
		builder->hashes[nid] = member->row.hash;
		memcpy(lo, more, lo_bytes);
		memcpy(attributes, more + lo_bytes, attr_bytes);
	}
}

/* Has a row share the node of a number. */
static void
attach_row(HnswMerge *merge, const Member *member, uint32 owner)
{
	memcpy(VARDATA(merge->buffer), &member->row.tid, sizeof(ItemPointerData));
	SET_VARSIZE(merge->buffer, VARHDRSZ + sizeof(ItemPointerData));
	vdb_hnsw_sorter_put(merge->lists, owner, merge->buffer);
	hnsw_bits_add(&merge->attached, merge->base[member->partition] + member->position);
	merge->attached_count++;
}

/*
 * Puts the hosts or the guests of a partition into the graph, of equal ones the first;
 * hosts also to the file of rows in order.
 */
static void
load_members(HnswMerge *merge, uint32 partition, bool guests)
{
	HnswSorter *members = merge->members;
	HnswBuilder *builder = merge->builder;
	HnswGraph  *graph = &builder->graph;

	vdb_hnsw_forget_rows(builder);
	while (!members->ended && MEMBER_PARTITION(members->key) == partition &&
		   MEMBER_IS_GUEST(members->key) == guests)
	{
		const char *row = members->bytes + offsetof(Member, row);
		Member		member;
		uint32		nid;
		uint32		node;

		vdb_pace();
		memcpy(&member, members->bytes, sizeof(Member));
		nid = vdb_hnsw_graph_put(graph, member.row.factors, (const uint8 *) row + sizeof(HnswRow));
		if (nid == HNSW_NO_NODE)
			elog(ERROR, "partition %u of index \"%s\" is too large", partition,
				 RelationGetRelationName(merge->index->rel));
		merge->nids[nid] = merge->base[member.partition] + member.position;
		describe_member(merge, nid, &member, row, guests);
		node = vdb_hnsw_find_equal(builder, nid);
		if (node != nid)
		{
			/* the number goes to the next */
			graph->header->count--;
			builder->linked++;
		}
		if (node != nid && !guests)
			attach_row(merge, &member, merge->nids[node]);
		else if (!guests)
		{
			memcpy(merge->ordered.row, row, merge->ordered.row_bytes);
			vdb_hnsw_rows_write(&merge->ordered);
		}
		vdb_hnsw_sorter_next(members);
	}
}

/* Puts edges of a node of the index among the lists. */
static void
put_list(HnswMerge *merge, uint32 nid, const HnswOutEdge *edges, uint16 count, uint16 kept)
{
	ListHeader *header = (ListHeader *) VARDATA(merge->buffer);

	header->count = count;
	header->kept = kept;
	memcpy(header + 1, edges, count * sizeof(HnswOutEdge));
	SET_VARSIZE(merge->buffer, VARHDRSZ + sizeof(ListHeader) + count * sizeof(HnswOutEdge));
	vdb_hnsw_sorter_put(merge->lists, nid, merge->buffer);
}

/* Keeps a node of the graph as a leaf. */
static void
keep_leaf(HnswMerge *merge, uint32 node, Leaf *leaf)
{
	const HnswGraph *graph = &merge->builder->graph;

	leaf->nid = merge->nids[node];
	leaf->factors = graph->factors[node];
	memcpy(leaf->hi, vdb_hnsw_graph_hi(graph, node), merge->codec->hi_bytes);
}

/*
 * Connects the tree of the partition in memory, which has so many hosts, with
 * the one before.
 */
static void
connect_tree(HnswMerge *merge, uint32 hosts)
{
	const HnswGraph *graph = &merge->builder->graph;
	uint32		leaves[2] = {0, 0};
	uint32		count = 0;

	/* a tree has two leaves, unless it is a single node, which serves as both */
	for (uint32 i = 0; i < hosts && count < 2; i++)
	{
		if (graph->children[i] + (graph->parents[i] != HNSW_NO_NODE) <= 1)
			leaves[count++] = i;
	}
	if (count == 1)
		leaves[1] = leaves[0];
	if (merge->last.nid != HNSW_NO_NODE)
	{
		HnswOutEdge edge = {.nid = merge->nids[leaves[0]]};
		HnswOutEdge back = {.nid = merge->last.nid};

		edge.score = back.score = vdb_pair_score(merge->codec, merge->last.factors, merge->last.hi,
												 graph->factors[leaves[0]],
												 vdb_hnsw_graph_hi(graph, leaves[0]));
		put_list(merge, merge->last.nid, &edge, 1, 1);
		put_list(merge, edge.nid, &back, 1, 1);
	}
	keep_leaf(merge, leaves[1], &merge->last);
}

/* Builds the graph of a partition and puts its lists among all of them. */
static void
build_partition(HnswMerge *merge, uint32 partition)
{
	HnswBuilder *builder = merge->builder;
	const HnswGeometry *g = &merge->index->geometry;
	HnswGraph  *graph = &builder->graph;
	HnswOutEdge *edges;
	uint32		hosts;
	uint32		count;

	vdb_hnsw_graph_init(graph, merge->codec, g->m, g->ef_construction, graph->capacity,
						builder->memory);
	load_members(merge, partition, false);
	hosts = graph->header->count;
	load_members(merge, partition, true);
	count = graph->header->count;
	if (hosts == 0)
		return;
	vdb_hnsw_link_all(builder, hosts);
	edges = palloc(2 * g->m * sizeof(HnswOutEdge));
	for (uint32 i = 0; i < count; i++)
	{
		uint32		kept;
		uint32		length = vdb_hnsw_copy_list(graph, i, edges, &kept);

		vdb_pace();
		for (uint32 e = 0; e < length; e++)
			edges[e].nid = merge->nids[edges[e].nid];
		put_list(merge, merge->nids[i], edges, length, kept);
	}
	connect_tree(merge, hosts);
	pfree(edges);
}

/* ---- the layers above, and the pages ---- */

/* Prepares for number_of(), when it is known which rows share a node. */
static void
count_attached(HnswMerge *merge)
{
	Size		words = hnsw_bits_bytes(merge->attached.count) / sizeof(uint64);
	uint32		count = 0;

	if (merge->attached_count == 0)
		return;
	merge->attached_before = MemoryContextAllocHuge(CurrentMemoryContext, words * sizeof(uint32));
	for (Size i = 0; i < words; i++)
	{
		merge->attached_before[i] = count;
		count += pg_popcount64(merge->attached.words[i]);
	}
}

/* The number of a row's node, if it is one, among those that are. */
static uint32
number_of(const HnswMerge *merge, uint32 nid)
{
	uint64		before = (UINT64CONST(1) << nid % 64) - 1;

	if (merge->attached_before == NULL)
		return nid;
	return nid - merge->attached_before[nid / 64] - pg_popcount64(merge->attached.words[nid / 64] & before);
}

/* Builds the graph of the layers above 0. */
static void
build_uppers(HnswMerge *merge)
{
	HnswBuilder *builder = merge->builder;
	const HnswGeometry *g = &merge->index->geometry;
	HnswGraph  *graph = &builder->graph;

	vdb_hnsw_upper_graph_init(graph, merge->codec, g->m, g->ef_construction, graph->capacity,
							  builder->memory);
	for (uint32 i = 0; i < merge->upper_count; i++)
	{
		uint32		at;

		vdb_pace();
		if (i == 0)
			vdb_hnsw_rows_read(&merge->uppers, 0);
		else
			vdb_hnsw_rows_next(&merge->uppers);
		if (hnsw_bits_has(&merge->attached, merge->upper_nids[i]))
			continue;
		at = vdb_hnsw_graph_put(graph, merge->uppers.row->factors, vdb_hnsw_row_hi(merge->uppers.row));
		merge->upper_nids[at] = number_of(merge, merge->upper_nids[i]);
	}
	vdb_hnsw_rows_close(&merge->uppers);
	builder->linked += merge->upper_count - graph->header->count;
	merge->upper_count = graph->header->count;
	vdb_hnsw_link_all(builder, merge->upper_count);
}

/* By number of the node. */
static int
compare_uppers(const void *a, const void *b, void *nids)
{
	uint32		x = ((const uint32 *) nids)[*(const uint32 *) a];
	uint32		y = ((const uint32 *) nids)[*(const uint32 *) b];

	return x < y ? -1 : x > y;
}

/* Edges of the tree first, then the shortest; of one node's the tree's. */
static int
compare_joined(const void *a, const void *b)
{
	const JoinedEdge *x = a;
	const JoinedEdge *y = b;

	if (x->kept != y->kept)
		return x->kept ? -1 : 1;
	if (x->edge.score != y->edge.score)
		return x->edge.score < y->edge.score ? -1 : 1;
	return x->edge.nid < y->edge.nid ? -1 : x->edge.nid > y->edge.nid;
}

/* Keeps the identifier at which the sorter stands for the postings of a node. */
static void
put_follower(HnswMerge *merge, uint32 number)
{
	HnswRow    *row = merge->followers.row;

	memcpy(&row->tid, merge->lists->bytes, sizeof(ItemPointerData));
	row->hash = number;
	vdb_hnsw_rows_write(&merge->followers);
}

/*
 * Joins the lists of a row, at which the sorter stands: all edges of the tree,
 * and of the others the shortest.  Each list has been pruned for itself; an edge
 * may be in several.  number: of its node.  edges: room for 2 m.  Returns how many
 * rows share the node.
 */
static uint32
join_lists(HnswMerge *merge, uint32 nid, uint32 number, JoinedEdge *all, HnswNewNode *node,
		   HnswOutEdge *edges)
{
	uint32		attached = 0;
	HnswSorter *lists = merge->lists;
	uint32		max = 2 * merge->index->geometry.m;
	uint32		count = 0;

	for (; !lists->ended && lists->key == nid; vdb_hnsw_sorter_next(lists))
	{
		ListHeader	header;

		if (IS_ATTACHED(lists->size))
		{
			vdb_pace();
			put_follower(merge, number);
			attached++;
			continue;
		}
		memcpy(&header, lists->bytes, sizeof(header));
		for (uint32 i = 0; i < header.count; i++)
		{
			JoinedEdge *joined = &all[count];

			memcpy(&joined->edge, lists->bytes + sizeof(header) + i * sizeof(HnswOutEdge),
				   sizeof(HnswOutEdge));
			if (hnsw_bits_has(&merge->attached, joined->edge.nid))
				continue;
			joined->edge.nid = number_of(merge, joined->edge.nid);
			joined->kept = i < header.kept;
			count++;
		}
	}
	qsort(all, count, sizeof(JoinedEdge), compare_joined);
	node->edges = edges;
	node->count = node->kept = 0;
	for (uint32 i = 0; i < count && node->count < max; i++)
	{
		uint32		at = 0;

		while (at < node->count && edges[at].nid != all[i].edge.nid)
			at++;
		if (at < node->count)
			continue;
		edges[node->count++] = all[i].edge;
		node->kept += all[i].kept;
	}
	return attached;
}

/* Writes the nodes of all partitions, and notes which rows share them. */
static void
write_nodes(HnswMerge *merge, HnswWriter *writer)
{
	const HnswGraph *uppers = &merge->builder->graph;
	uint32		m = merge->index->geometry.m;
	HnswRow    *row = merge->ordered.row;
	HnswOutEdge *edges = palloc(2 * m * sizeof(HnswOutEdge));
	uint32	   *by_nid = MemoryContextAllocHuge(CurrentMemoryContext,
												merge->upper_count * sizeof(uint32));
	uint32		upper = 0;
	uint32		slots = (uint32) merge->rows - merge->attached_count;

	/* two partitions, and edges to the trees before and after */
	JoinedEdge *all = palloc((4 * m + 2) * sizeof(JoinedEdge));

	for (uint32 i = 0; i < merge->upper_count; i++)
		by_nid[i] = i;
	qsort_arg(by_nid, merge->upper_count, sizeof(uint32), compare_uppers, merge->upper_nids);
	for (uint32 nid = 0; nid < merge->rows; nid++)
	{
		HnswNewNode node = {.layer = 0};
		uint32		number = writer->slots;
		uint32		attached;

		if (hnsw_bits_has(&merge->attached, nid))
		{
			/* a guest's, if any, where partitions do not agree who the node is */
			while (!merge->lists->ended && merge->lists->key == nid)
				vdb_hnsw_sorter_next(merge->lists);
			continue;
		}
		if (number == 0)
			vdb_hnsw_rows_read(&merge->ordered, 0);
		else
			vdb_hnsw_rows_next(&merge->ordered);
		if (upper < merge->upper_count && merge->upper_nids[by_nid[upper]] == number)
			node.layer = uppers->levels[by_nid[upper++]] + 1;
		node.tid = row->tid;
		node.hash = row->hash;
		node.factors = row->factors;
		node.hi = vdb_hnsw_row_hi(row);
		node.lo = vdb_hnsw_row_lo(merge->codec, row);
		node.attributes = vdb_hnsw_row_attributes(merge->codec, row);
		attached = join_lists(merge, nid, number, all, &node, edges);
		slots += vdb_hnsw_postings_slots(&merge->index->geometry, attached);
		if (attached > 0)
			node.duplicates = slots;	/* + 1: the last of its slots */
		vdb_hnsw_write_node(writer, &node);
		if (number % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, number);
	}
	pfree(all);
	pfree(by_nid);
	pfree(edges);
}

/* Writes the rows that share nodes. */
static void
write_followers(HnswMerge *merge, HnswWriter *writer)
{
	HnswRowFile *followers = &merge->followers;

	for (uint64 i = 0; i < followers->count; i++)
	{
		vdb_pace();
		if (i == 0)
			vdb_hnsw_rows_read(followers, 0);
		else
			vdb_hnsw_rows_next(followers);
		vdb_hnsw_write_attached(writer, followers->row->hash, &followers->row->tid);
	}
	vdb_hnsw_write_attached_end(writer);
	vdb_hnsw_rows_close(followers);
}

static void
write_pages(HnswMerge *merge)
{
	HnswWriter	writer;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_WRITE);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) merge->rows);
	vdb_hnsw_writer_init(&writer, merge->index);
	vdb_hnsw_sorter_start(merge->lists);
	vdb_hnsw_rows_create(&merge->followers, sizeof(HnswRow));
	write_nodes(merge, &writer);
	write_followers(merge, &writer);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) merge->rows);
	vdb_hnsw_write_uppers(&writer, &merge->builder->graph, merge->upper_nids);
	vdb_hnsw_sorter_free(merge->lists);
	vdb_hnsw_rows_close(&merge->ordered);
}

/* Raises when there are more rows than numbers of nodes. */
static void
check_row_count(HnswMerge *merge)
{
	const HnswGeometry *g = &merge->index->geometry;
	double		most = (double) g->max_extents * g->extent_slots;

	if (merge->rows >= most)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot index " UINT64_FORMAT " rows in one hnsw index", merge->rows),
				 errdetail("This index can have at most %.0f.", most),
				 errhint("Partition the table.")));
}

void
vdb_hnsw_build_merged(HnswBuilder *builder)
{
	HnswMerge	merge = {
		.builder = builder,
		.index = builder->index,
		.codec = &builder->index->codec,
		.sort_memory = (int) (maintenance_work_mem * HNSW_SORT_SHARE / 2)
	};
	HnswRowFile *files = palloc((builder->workers + 1) * sizeof(HnswRowFile));
	Size		item = offsetof(Member, row) + vdb_hnsw_build_row_bytes(merge.index);
	Size		list = sizeof(ListHeader) + 2 * merge.index->geometry.m * sizeof(HnswOutEdge);
	bool		alone;

	VDB_TESTPOINT("hnsw-build-before-merge");
	merge.rows = open_rows(builder, files);
	check_row_count(&merge);
	alone = vdb_hnsw_builder_enlarge(builder, merge.rows);
	if (alone)
		vdb_hnsw_link_end(builder);
	merge.buffer = palloc(VARHDRSZ + Max(item, list));
	merge.nids = MemoryContextAllocHuge(CurrentMemoryContext,
										builder->graph.capacity * sizeof(uint32));
	merge.last.nid = HNSW_NO_NODE;
	merge.last.hi = palloc(merge.codec->hi_bytes);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PHASE_MERGE);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
	choose_partitions(&merge, files);
	assign_all_rows(&merge, files);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL,
								 (int64) merge.rows * (merge.partitions > 1 ? 2 : 1) + merge.upper_count);
	vdb_hnsw_rows_create(&merge.ordered, vdb_hnsw_build_row_bytes(merge.index));
	merge.lists = vdb_hnsw_sorter_create(merge.sort_memory);
	merge.attached.count = (uint32) merge.rows;
	merge.attached.words = MemoryContextAllocExtended(CurrentMemoryContext,
													  hnsw_bits_bytes(merge.attached.count),
													  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < merge.partitions; i++)
		build_partition(&merge, i);
	vdb_hnsw_sorter_free(merge.members);
	count_attached(&merge);
	build_uppers(&merge);
	if (!alone)
		vdb_hnsw_link_end(builder);
	VDB_TESTPOINT("hnsw-build-before-write");
	write_pages(&merge);
}
