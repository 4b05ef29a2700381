/*
 * hnsw_equal.c
 *	  Equal rows of a build share a node: which are equal, and where the others'
 *	  identifiers go.
 *
 * When all rows of a graph in memory have their codes and before they are linked,
 * the first of each group of equal ones stays a node.  Nodes move up, so that their
 * numbers stay dense, and the rows that are none follow behind them, each with the
 * number of its node where its hash was.  When all nodes are linked, each is told
 * where its postings will be: in the slots after the last node, in the order in
 * which their nodes were loaded.  So no page is written twice.
 *
 * Where the graph is built in partitions, each row of one is looked for among those
 * before it; see hnsw_merge.c.
 *
 * All this takes no memory of its own.  A hash table, and later links and the rows
 * in the order of their nodes, lie where a batch divides the nodes while they are
 * linked: two numbers for each row.  The leader does it alone, while the others
 * wait; it takes a small part of the time that linking does.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_place.h"
#include "pace.h"

#define ROWS_PER_LOOK 1024

static inline uint8 *
attributes_of(const HnswBuilder *builder, uint32 row)
{
	return builder->attributes + (Size) row * builder->index->geometry.attr_bytes;
}

/* Are two rows equal in all that the index has of them? */
static bool
are_equal(const HnswBuilder *builder, uint32 a, uint32 b)
{
	const HnswGraph *graph = &builder->graph;
	const VdbCodec *codec = graph->codec;

	return builder->hashes[a] == builder->hashes[b] &&
		memcmp(&graph->factors[a], &graph->factors[b], sizeof(VdbNodeFactors)) == 0 &&
		memcmp(vdb_hnsw_graph_hi(graph, a), vdb_hnsw_graph_hi(graph, b), codec->hi_bytes) == 0 &&
		memcmp(vdb_hnsw_graph_lo(graph, a), vdb_hnsw_graph_lo(graph, b), codec->lo_bytes) == 0 &&
		memcmp(attributes_of(builder, a), attributes_of(builder, b),
			   builder->index->geometry.attr_bytes) == 0;
}

uint32
vdb_hnsw_hash_row(const HnswIndex *index, uint32 hash, const uint8 *attributes)
{
	uint32		attr_bytes = index->geometry.attr_bytes;

	return attr_bytes == 0 ? hash : hash_combine(hash, hash_bytes(attributes, attr_bytes));
}

/* Does an index's code tell all of a vector, but for rounding? */
static bool
is_told(const HnswIndex *index, const void *vector)
{
	const VdbCodec *codec = &index->codec;

	if (codec->kind == VDB_CODEC_SPARSE)
		return ((const VdbSparse *) vector)->count <= codec->P;
	return vdb_codec_hot_is_whole(codec) || index->geometry.node_bits != 0;
}

uint32
vdb_hnsw_hash_value(const HnswIndex *index, const void *vector, Datum value)
{
	struct varlena *bytes = (struct varlena *) DatumGetPointer(value);
	uint64		hash;

	if (!is_told(index, vector))
		return 0;
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(bytes),
							   VARSIZE_ANY_EXHDR(bytes), index->incarnation);
	return Max((uint32) (hash ^ hash >> 32), 1);
}

/* Numbers in the table: twice as many as there may be nodes, so half of it is empty. */
static inline Size
table_size(const HnswBuilder *builder)
{
	return 2 * (Size) builder->graph.capacity;
}

void
vdb_hnsw_forget_rows(HnswBuilder *builder)
{
	memset(builder->batch.members, 0xFF, table_size(builder) * sizeof(uint32));
}

/* The entry of the table where a row's node is, or is to be put. */
static uint32 *
find_entry(const HnswBuilder *builder, uint32 row)
{
	uint32		hash = vdb_hnsw_hash_row(builder->index, builder->hashes[row], attributes_of(builder, row));
	uint32	   *table = builder->batch.members;
	Size		size = table_size(builder);
	Size		at;

	for (at = hash % size; table[at] != HNSW_NO_NODE; at = at + 1 < size ? at + 1 : 0)
	{
		if (are_equal(builder, table[at], row))
			break;
	}
	return &table[at];
}

/* Makes a row the node of a number, which a row that is none leaves to it. */
static void
move_up(HnswBuilder *builder, uint32 row, uint32 nid)
{
	HnswGraph  *graph = &builder->graph;
	Size		lo_bytes = graph->codec->lo_bytes;
	ItemPointerData tid = builder->tids[nid];
	uint32		owner = builder->hashes[nid];

	memcpy(graph->hi + nid * graph->hi_stride, graph->hi + row * graph->hi_stride,
		   graph->codec->hi_bytes);
	memcpy(graph->lo + nid * lo_bytes, graph->lo + row * lo_bytes, lo_bytes);
	graph->factors[nid] = graph->factors[row];
	memcpy(attributes_of(builder, nid), attributes_of(builder, row),
		   builder->index->geometry.attr_bytes);
	builder->tids[nid] = builder->tids[row];
	builder->hashes[nid] = builder->hashes[row];
	builder->tids[row] = tid;
	builder->hashes[row] = owner;
}

uint32
vdb_hnsw_find_equal(HnswBuilder *builder, uint32 row)
{
	uint32	   *entry;

	if (builder->hashes[row] == 0)
		return row;
	entry = find_entry(builder, row);
	if (*entry == HNSW_NO_NODE)
		*entry = row;
	return *entry;
}

void
vdb_hnsw_share_nodes(HnswBuilder *builder)
{
	HnswGraphHeader *header = builder->graph.header;
	uint32		nodes = 0;

	vdb_hnsw_forget_rows(builder);
	for (uint32 row = 0; row < header->count; row++)
	{
		uint32	   *entry = builder->hashes[row] != 0 ? find_entry(builder, row) : NULL;

		if (row % ROWS_PER_LOOK == 0)
			vdb_pace();
		if (entry != NULL && *entry != HNSW_NO_NODE)
		{
			builder->hashes[row] = *entry;
			continue;
		}
		if (nodes < row)
			move_up(builder, row, nodes);
		if (entry != NULL)
			*entry = nodes;
		nodes++;
	}
	builder->state->attached = header->count - nodes;
	header->count = nodes;
}

void
vdb_hnsw_place_postings(HnswBuilder *builder)
{
	uint32		nodes = builder->graph.header->count;
	uint32		end = nodes + builder->state->attached;
	const uint32 *owners = builder->hashes;
	uint32	   *links = builder->batch.members;
	uint32	   *order = links + nodes;
	uint32		first = 0;
	uint32		slot = nodes;

	if (builder->state->attached == 0)
		return;

	/* how many rows each node has, then where they begin, and when sorted end */
	memset(links, 0, nodes * sizeof(uint32));
	for (uint32 row = nodes; row < end; row++)
		links[owners[row]]++;
	for (uint32 nid = 0; nid < nodes; nid++)
	{
		uint32		rows = links[nid];

		links[nid] = first;
		first += rows;
	}
	for (uint32 row = nodes; row < end; row++)
		order[links[owners[row]]++] = row;

	first = 0;
	for (uint32 nid = 0; nid < nodes; nid++)
	{
		uint32		rows = links[nid] - first;

		first = links[nid];
		slot += vdb_hnsw_postings_slots(&builder->index->geometry, rows);
		links[nid] = rows > 0 ? slot : HNSW_NO_POSTINGS;	/* + 1: the last of them */
	}
}

const uint32 *
vdb_hnsw_postings_links(const HnswBuilder *builder)
{
	return builder->state->attached > 0 ? builder->batch.members : NULL;
}

void
vdb_hnsw_write_all_attached(HnswWriter *writer, const HnswBuilder *builder)
{
	const uint32 *order = builder->batch.members + builder->graph.header->count;

	for (uint32 i = 0; i < builder->state->attached; i++)
		vdb_hnsw_write_attached(writer, vdb_hnsw_place_of(&builder->graph, builder->hashes[order[i]]),
								&builder->tids[order[i]]);
	vdb_hnsw_write_attached_end(writer);
}
