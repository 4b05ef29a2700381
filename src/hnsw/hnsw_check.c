/*
 * hnsw_check.c
 *	  vdb.check_index(): does an index keep its promises?
 *
 * Verifies the invariants of README.md, numbered I1 to I17 there and here, and
 * raises ERRCODE_INDEX_CORRUPTED for the first that is violated.  What an
 * index may contain although nobody wants it (edges to free slots, nodes that
 * nothing leads to) is counted, and so are nodes that wait to be linked.
 *
 * Like amcheck, it takes no lock that stands in the way of reads or writes, so
 * what belongs together may be read at two times.  Where two readings
 * contradict each other, we first make sure that the one that the other was
 * held against is still true; the order in which VACUUM and inserts write
 * makes that a proof.
 *
 * Nothing here shares code with those who write pages, except for the
 * arithmetic of addresses and codes.  What concerns rows that share a node is in
 * hnsw_check_postings.c; the comparison of rows, with each other and with the
 * table's, in hnsw_check_heap.c.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "hnsw/hnsw_check.h"

static void begin_check(HnswCheck *check, Relation index, Relation heap);
static void check_meta(HnswCheck *check);
static void check_centers(HnswCheck *check);
static void find_upper_extents(HnswCheck *check);
static void check_node_extent(HnswCheck *check, uint32 extent);
static void check_upper_extent(HnswCheck *check, uint32 extent);
static void check_entry(HnswCheck *check);
static void follow_edges(HnswCheck *check);

/* The whole index, and the heap when there is a snapshot to see it with. */
static void
check_index(HnswCheck *check, Snapshot snapshot)
{
	vdb_hnsw_check_begin_rows(check);
	check_meta(check);
	check_centers(check);
	find_upper_extents(check);
	for (uint32 extent = 0; extent < check->extents; extent++)
	{
		if (hnsw_bits_has(&check->upper, extent))
			check_upper_extent(check, extent);
		else
			check_node_extent(check, extent);
	}
	vdb_hnsw_check_chains(check);
	check_entry(check);
	vdb_hnsw_check_rows(check, snapshot);
	vdb_hnsw_check_end_rows(check);
	follow_edges(check);
}

void
vdb_hnsw_check(Relation index, Relation heap, Snapshot snapshot, VdbCheckCounts *counts)
{
	HnswCheck	check;

	begin_check(&check, index, heap);
	check_index(&check, snapshot);
	ReleaseBuffer(check.meta);
	*counts = check.counts;
}

static void
init_set(HnswBits *set, uint32 count)
{
	set->first = 0;
	set->count = count;
	set->words = MemoryContextAllocExtended(CurrentMemoryContext, hnsw_bits_bytes(count),
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
begin_check(HnswCheck *check, Relation index, Relation heap)
{
	memset(check, 0, sizeof(*check));
	check->index = vdb_hnsw_open(index);
	check->meta = vdb_hnsw_pin_meta(check->index);
	check->heap = heap;
	check->strategy = GetAccessStrategy(BAS_BULKREAD);
	check->extents = check->index->extents;
	check->nodes = check->extents * check->index->geometry.extent_slots;
	check->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw check page",
										   ALLOCSET_DEFAULT_SIZES);
	init_set(&check->upper, check->extents);
	init_set(&check->live, check->nodes);
	init_set(&check->occupied, check->nodes);
	init_set(&check->postings, check->nodes);
	init_set(&check->led, check->nodes);
	init_set(&check->waiting, check->nodes);
	init_set(&check->reached, check->nodes);
	init_set(&check->expanded, check->nodes);
	check->copies = palloc(check->index->geometry.extent_pages * sizeof(Page));
	for (int i = 0; i < check->index->geometry.extent_pages; i++)
		check->copies[i] = palloc(BLCKSZ);
}

/* A page, pinned and share-locked. */
static Buffer
get_page(HnswCheck *check, BlockNumber block, VdbPageKind kind, uint32 extent)
{
	Buffer		buffer = ReadBufferExtended(check->index->rel, MAIN_FORKNUM, block, RBM_NORMAL,
											check->strategy);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	vdb_page_check(check->index->rel, block, BufferGetPage(buffer), kind, extent);
	return buffer;
}

void
vdb_hnsw_check_copy(HnswCheck *check, BlockNumber block, VdbPageKind kind, uint32 extent, Page copy)
{
	Buffer		buffer = get_page(check, block, kind, extent);

	memcpy(copy, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
	CHECK_FOR_INTERRUPTS();
}

static HnswMeta
read_meta(HnswCheck *check)
{
	Buffer		buffer = get_page(check, HNSW_META_BLOCK, VDB_PAGE_META, HNSW_NO_EXTENT);
	HnswMeta	meta = *vdb_hnsw_page_meta(BufferGetPage(buffer));

	UnlockReleaseBuffer(buffer);
	return meta;
}

/* I1: the metapage agrees with itself, with the codec and with the file. */
static void
check_meta(HnswCheck *check)
{
	HnswMeta	meta = read_meta(check);
	const HnswGeometry *known = &check->index->geometry;
	HnswGeometry g;
	VdbCodec	codec;
	BlockNumber blocks;

	if (meta.magic != HNSW_MAGIC || meta.version != HNSW_VERSION)
		corrupted(check, HNSW_META_BLOCK, "The metapage is not one of this version.");
	if (!vdb_hnsw_load_geometry(&meta, check->index->support, known->attr_bytes, &codec, &g) ||
		meta.dims != check->index->codec.dims || g.m != known->m ||
		g.ef_construction != known->ef_construction || g.hot_stride != known->hot_stride)
		corrupted(check, HNSW_META_BLOCK, "The geometry is not that of an index like this.");
	if (meta.extents < check->extents || meta.extents > g.max_extents)
		corrupted(check, HNSW_META_BLOCK, psprintf("There cannot be %u extents.", meta.extents));
	if ((meta.open_extent != HNSW_NO_EXTENT && meta.open_extent >= meta.extents) ||
		(meta.open_upper != HNSW_NO_EXTENT && meta.open_upper >= meta.extents))
		corrupted(check, HNSW_META_BLOCK, "An open extent does not exist.");
	if ((meta.pending_head == 0) != (meta.pending_tail == 0) || meta.pending_head > meta.pending_tail ||
		meta.pending_tail > meta.extents)
		corrupted(check, HNSW_META_BLOCK, "The range of nodes that wait to be linked is none.");
	blocks = RelationGetNumberOfBlocks(check->index->rel);
	if (vdb_hnsw_extent_block(&g, meta.extents) > blocks)
		corrupted(check, HNSW_META_BLOCK,
				  psprintf("%u extents need %u blocks, but there are %u.", meta.extents,
						   vdb_hnsw_extent_block(&g, meta.extents), blocks));
}

/* I2: the center is there and consists of numbers. */
static void
check_centers(HnswCheck *check)
{
	const HnswGeometry *g = &check->index->geometry;

	for (uint32 i = 0; i < g->center_pages; i++)
	{
		uint32		count = Min((uint32) HNSW_CENTER_PER_PAGE, g->center_values - i * HNSW_CENTER_PER_PAGE);
		const float *center = (const float *) ((char *) check->copies[0] + HNSW_CENTER_FIRST);

		vdb_hnsw_check_copy(check, 1 + i, VDB_PAGE_CENTER, i, check->copies[0]);
		for (uint32 j = 0; j < count; j++)
		{
			if (!isfinite(center[j]))
				corrupted(check, 1 + i, psprintf("Value %u of the center is no finite number.", j));
		}
	}
}

/* I3, first half: every extent says what it holds. */
static void
find_upper_extents(HnswCheck *check)
{
	for (uint32 extent = 0; extent < check->extents; extent++)
	{
		BlockNumber block = vdb_hnsw_extent_block(&check->index->geometry, extent);
		Buffer		buffer = ReadBufferExtended(check->index->rel, MAIN_FORKNUM, block, RBM_NORMAL,
												check->strategy);
		Page		page = BufferGetPage(buffer);
		bool		upper;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		upper = vdb_page_special(page)->kind == VDB_PAGE_HNSW_UPPER;
		vdb_page_check(check->index->rel, block, page,
					   upper ? VDB_PAGE_HNSW_UPPER : VDB_PAGE_HNSW_HOT, extent);
		if (upper)
			hnsw_bits_add(&check->upper, extent);
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
vdb_hnsw_check_number(HnswCheck *check, uint32 nid)
{
	uint32		extent = nid / check->index->geometry.extent_slots;

	if (extent < check->extents)
		return !hnsw_bits_has(&check->upper, extent);
	return vdb_hnsw_nid_exists(check->index, nid);
}

/* Can a reference be one to an upper record? */
static bool
is_upper_reference(HnswCheck *check, uint32 ref)
{
	uint32		extent = ref / check->index->geometry.upper_slots;

	if (extent < check->extents)
		return hnsw_bits_has(&check->upper, extent);
	return vdb_hnsw_ref_exists(check->index, ref);
}

HnswNode
vdb_hnsw_check_read(HnswCheck *check, uint32 nid)
{
	HnswAddress a = vdb_hnsw_node_address(&check->index->geometry, nid);
	Buffer		buffer = get_page(check, a.block, VDB_PAGE_HNSW_NODE, a.extent);
	HnswNode	node = *vdb_hnsw_page_node(BufferGetPage(buffer), a);

	UnlockReleaseBuffer(buffer);
	return node;
}

static HnswUpper
read_record(HnswCheck *check, uint32 ref)
{
	HnswAddress a = vdb_hnsw_upper_address(&check->index->geometry, ref);
	Buffer		buffer = get_page(check, a.block, VDB_PAGE_HNSW_UPPER, a.extent);
	HnswUpper	upper = *vdb_hnsw_page_upper(BufferGetPage(buffer), a);

	UnlockReleaseBuffer(buffer);
	return upper;
}

/* Is the node that we read still the same, and live? */
static bool
is_still_live(HnswCheck *check, uint32 nid, uint32 generation)
{
	HnswNode	node = vdb_hnsw_check_read(check, nid);

	return node.state == HNSW_LIVE && node.generation == generation;
}

/* Is the record that we read still that of the same node? */
static bool
is_still_record(HnswCheck *check, uint32 ref, const HnswUpper *upper)
{
	HnswUpper	now = read_record(check, ref);

	return now.nid == upper->nid && now.generation == upper->generation &&
		now.layer == upper->layer && now.down == upper->down;
}

/* I3, second half: a page's counters and bounds.  `slots` fit on it. */
static void
check_counters(HnswCheck *check, BlockNumber block, Page page, uint32 slots, int first, int stride)
{
	VdbPageSpecial *special = vdb_page_special(page);
	PageHeader	header = (PageHeader) page;

	if (special->flags != 0 || special->reserved != 0)
		corrupted(check, block, "Reserved fields of the page are in use.");
	if (special->used > slots || special->free > special->used)
		corrupted(check, block, psprintf("%u slots are used and %u of these free, but there are %u.",
										 special->used, special->free, slots));
	if (header->pd_lower < first + special->used * stride || header->pd_lower > header->pd_upper ||
		header->pd_upper > VDB_PAGE_END)
		corrupted(check, block, "WAL would not keep all slots of the page.");
}

/* Bits by which a hot code differs from what it should be, in dimensions. */
static uint32
count_differences(const VdbCodec *codec, const uint8 *a, const uint8 *b)
{
	uint32		C = codec->hot_bytes;
	uint32		mask = (1 << codec->hot_bits) - 1;
	uint32		count = 0;

	for (uint32 i = 0; i < codec->P; i++)
	{
		uint32		shift = i / C * codec->hot_bits;

		count += ((a[i % C] ^ b[i % C]) >> shift & mask) != 0;
	}
	return count;
}

/* What VdbNodeFactors.add is of a decoded vector. */
static double
expected_add(const VdbCodec *codec, const float *x)
{
	double		sum = 0;

	for (uint32 i = 0; i < codec->P; i++)
	{
		if (codec->metric == VDB_METRIC_IP)
			sum -= (double) x[i] * codec->center[i];
		else if (codec->metric != VDB_METRIC_L1)
			sum += (double) x[i] * x[i];
	}
	return sum;
}

/*
 * I7: the factors are those of the node code.  I8: the hot slot is made from
 * the node code alone.  Kernels sum differently, so factors may be off by
 * little; and few dimensions, should a build contract products and sums.
 * Where a vector was too large for arithmetic in floats, nothing is claimed of
 * it (the row itself is measured by every scan that meets it), so there is
 * nothing to be held against it.
 */
static void
check_codes(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot, HnswNode *node)
{
	const HnswGeometry *g = &check->index->geometry;
	const VdbCodec *codec = &check->index->codec;
	float	   *decoded = palloc(codec->vector_bytes);
	uint8	   *code = palloc(codec->hot_bytes);
	VdbHotFactors f;
	double		size = 0;
	double		tolerance;

	vdb_decode_node(codec, vdb_hnsw_node_factors(node), vdb_hnsw_node_hi(g, node),
					vdb_hnsw_node_lo(g, node), decoded);
	for (uint32 i = 0; i < codec->P; i++)
		size += (double) decoded[i] * decoded[i] + fabs((double) decoded[i] * codec->center[i]);
	if (!isfinite(vdb_bfloat_load(node->residual)) || !isfinite(size) || size > FLT_MAX / 2)
		return;
	tolerance = 1e-4 * size + FLT_MIN;
	if (!(fabs(expected_add(codec, decoded) - node->add) <= tolerance))
		corrupted(check, block, psprintf("The factors of node %u are not those of its vector.", nid));
	f = vdb_encode_hot(codec, decoded, code);
	if (count_differences(codec, code, vdb_hnsw_hot_code(hot)) > 1 + codec->P / 64)
		corrupted(check, block, psprintf("The hot code of node %u is not that of its vector.", nid));
	if (!(fabs((double) hot->add - f.add) <= tolerance) ||
		!(fabs((double) hot->rescale - f.rescale) <= 1e-2 * fabs(f.rescale) + FLT_MIN))
		corrupted(check, block, psprintf("The hot factors of node %u are not those of its vector.", nid));
}

/*
 * I7 and I8 where the hot slot holds the whole code: it is what the vector that
 * it stands for is coded as, unless a sum overflows, and both slots have the same
 * factors.
 */
static void
check_whole_code(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot, HnswNode *node)
{
	const VdbCodec *codec = &check->index->codec;
	void	   *decoded = palloc(codec->vector_bytes);
	uint8	   *code = palloc(codec->hi_bytes);
	VdbNodeFactors f;

	vdb_decode_hot(codec, (VdbHotFactors) {hot->add, hot->rescale}, vdb_hnsw_hot_code(hot), decoded);
	f = vdb_encode_node(codec, decoded, 1, code, NULL);
	if (hot->add != node->add || hot->rescale != node->scale)
		corrupted(check, block, psprintf("The factors of node %u are not those of its vector.", nid));
	if (isinf(hot->add) || isinf(f.add))
		return;
	if (!(fabs((double) f.add - hot->add) <= 1e-4 * f.add + FLT_MIN))
		corrupted(check, block, psprintf("The factors of node %u are not those of its vector.", nid));
	if (memcmp(code, vdb_hnsw_hot_code(hot), codec->hot_bytes) != 0)
		corrupted(check, block, psprintf("The code of node %u is not that of a vector.", nid));
}

/* I6: edges lead to other nodes, once to each. */
static void
check_node_edges(HnswCheck *check, uint32 nid, BlockNumber block, HnswNode *node)
{
	const HnswGeometry *g = &check->index->geometry;
	uint32	   *nbr = vdb_hnsw_node_nbr(node);
	HnswLengths *lengths = vdb_hnsw_node_lengths(g, node);
	float		least = vdb_bfloat_load(lengths->least);
	float		greatest = vdb_bfloat_load(lengths->greatest);

	if (!isfinite(least) || !isfinite(greatest) || least > greatest)
		corrupted(check, block, psprintf("Node %u has impossible lengths of edges.", nid));
	if (node->count > 2 * g->m)
		corrupted(check, block, psprintf("Node %u has %u neighbours, more than %d.", nid, node->count, 2 * g->m));
	for (uint32 i = 0; i < node->count; i++)
	{
		if (nbr[i] == nid || !vdb_hnsw_check_number(check, nbr[i]))
			corrupted(check, block, psprintf("Node %u cannot have the neighbour %u.", nid, nbr[i]));
		for (uint32 j = 0; j < i; j++)
		{
			if (nbr[i] == nbr[j])
				corrupted(check, block, psprintf("Node %u has the neighbour %u twice.", nid, nbr[i]));
		}
	}
	check->counts.edges += node->count;
}

/*
 * I5: a live node has a row, or leads to others; then the place of its own may be
 * empty.
 */
static void
check_node_rows(HnswCheck *check, uint32 nid, BlockNumber block, HnswNode *node)
{
	const ItemPointerData none = {0};

	if (memcmp(&node->tid, &none, sizeof(none)) != 0)
		vdb_hnsw_check_put_row(check, nid, block, &node->tid);
	else if (node->duplicates == HNSW_NO_POSTINGS)
		corrupted(check, block, psprintf("Node %u has no row.", nid));
	vdb_hnsw_check_first(check, nid, node);
}

/*
 * Does a live node wait to be linked?  It is where scans look for such nodes, and has no
 * edge of the tree; nor has the entry point, if there is no other.
 */
static bool
waits(HnswCheck *check, uint32 nid, const HnswNode *node)
{
	uint32		extent = vdb_hnsw_extent_of(&check->index->geometry, nid);

	return node->kept == 0 && extent >= check->pending.first && extent < check->pending.end &&
		nid != read_meta(check).entry_nid;
}

/* A node that is live or dead. */
static void
check_node(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot, HnswNode *node)
{
	if (node->layer > HNSW_MAX_LAYER)
		corrupted(check, block, psprintf("Node %u is on layer %u.", nid, node->layer));
	if (node->kept > node->count)
		corrupted(check, block, psprintf("Node %u has reserved fields in use.", nid));
	if (isnan(node->scale) || node->scale < 0 || !(vdb_bfloat_load(node->residual) >= 0))
		corrupted(check, block, psprintf("Node %u has impossible factors.", nid));
	check_node_edges(check, nid, block, node);
	if (check->index->geometry.node_bits != 0)
		check_codes(check, nid, block, hot, node);
	else if (vdb_codec_hot_is_whole(&check->index->codec))
		check_whole_code(check, nid, block, hot, node);
	hnsw_bits_add(&check->occupied, nid);
	if (node->state == HNSW_DEAD)
	{
		if (node->duplicates != HNSW_NO_POSTINGS)
			corrupted(check, block, psprintf("Node %u is dead and leads to postings.", nid));
		check->counts.dead++;
	}
	else
	{
		check_node_rows(check, nid, block, node);
		hnsw_bits_add(&check->live, nid);
		check->counts.live++;
		if (waits(check, nid, node))
		{
			hnsw_bits_add(&check->waiting, nid);
			check->counts.pending++;
		}
	}
}

/*
 * I14, first half: what is null has no number, and bits of no column are 0; a slot
 * that is not of a node has no attributes.
 */
static void
check_attributes(HnswCheck *check, uint32 nid, BlockNumber block, const uint8 *attributes, bool occupied)
{
	const VdbAttributes *known = check->index->attributes;

	for (uint32 i = 0; i < known->bytes && !occupied; i++)
	{
		if (attributes[i] != 0)
			corrupted(check, block, psprintf("Slot %u, which is not of a node, has attributes.", nid));
	}
	for (int i = 0; known->count > 0 && i < known->columns[0].offset * BITS_PER_BYTE; i++)
	{
		bool		null = (attributes[i / BITS_PER_BYTE] >> i % BITS_PER_BYTE & 1) != 0;

		if (null && (i >= known->count ||
					 vdb_index_attribute_load(attributes, known->columns[i].offset,
											 known->columns[i].type->width) != 0))
			corrupted(check, block, psprintf("Attribute %d of node %u cannot be null.", i + 1, nid));
	}
}

/* I4: both slots of a node are of the same generation, which tells its state. */
static void
check_slot(HnswCheck *check, uint32 nid, BlockNumber block, HnswHot *hot, HnswNode *node, bool used)
{
	bool		is_free = node->state == HNSW_FREE;

	if (node->state > HNSW_POSTINGS)
		corrupted(check, block, psprintf("Node %u is in state %u.", nid, node->state));
	if (hot->generation != node->generation)
		corrupted(check, block, psprintf("Node %u is of generation %u, its hot slot of generation %u.",
										 nid, node->generation, hot->generation));
	if (!used)
	{
		if (!is_free || node->generation != 0)
			corrupted(check, block, psprintf("Node %u is in a slot that was never used.", nid));
		return;
	}
	if (is_free != (node->generation % 2 == 1))
		corrupted(check, block, psprintf("Node %u of generation %u is in state %u.", nid,
										 node->generation, node->state));
	if (is_free)
	{
		if (node->count != 0 || node->duplicates != HNSW_NO_POSTINGS)
			corrupted(check, block, psprintf("The free slot of node %u has neighbours.", nid));
		check->counts.free++;
	}
	else if (node->state == HNSW_POSTINGS)
		vdb_hnsw_check_postings(check, nid, block, hot, (HnswPostings *) node);
	else
		check_node(check, nid, block, hot, node);
}

/*
 * Copies an extent while its hot page is locked, so that the copies agree, and with what
 * the metapage says of it.
 */
static void
copy_node_extent(HnswCheck *check, uint32 extent)
{
	const HnswGeometry *g = &check->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);
	Buffer		hot = get_page(check, block, VDB_PAGE_HNSW_HOT, extent);

	memcpy(check->copies[0], BufferGetPage(hot), BLCKSZ);
	check->pending = vdb_hnsw_read_pending(check->index, check->meta);
	for (int i = 1; i < g->extent_pages; i++)
	{
		Buffer		buffer = get_page(check, block + i, VDB_PAGE_HNSW_NODE, extent);

		memcpy(check->copies[i], BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
	}
	UnlockReleaseBuffer(hot);
	CHECK_FOR_INTERRUPTS();
}

static void
check_node_extent(HnswCheck *check, uint32 extent)
{
	const HnswGeometry *g = &check->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);
	uint32		first = extent * g->extent_slots;
	int64		free_before = check->counts.free;
	MemoryContext old = MemoryContextSwitchTo(check->context);
	uint32		used;

	copy_node_extent(check, extent);
	check_counters(check, block, check->copies[0], g->extent_slots, g->hot_first, g->hot_stride);
	used = vdb_page_special(check->copies[0])->used;
	for (int i = 1; i < g->extent_pages; i++)
	{
		uint32		before = (uint32) (i - 1) * g->nodes_per_page;
		uint32		here = used > before ? Min(used - before, g->nodes_per_page) : 0;

		check_counters(check, block + i, check->copies[i], g->nodes_per_page, HNSW_NODE_FIRST,
					   g->node_stride);
		if (vdb_page_special(check->copies[i])->free != 0)
			corrupted(check, block + i, "The page counts free slots, which is its hot page's affair.");
		if (vdb_page_special(check->copies[i])->used != here)
			corrupted(check, block + i, psprintf("The page counts %u used slots, its hot page %u.",
												 vdb_page_special(check->copies[i])->used, here));
	}
	for (uint32 s = 0; s < g->extent_slots; s++)
	{
		HnswAddress hot = vdb_hnsw_hot_address(g, first + s);
		HnswAddress node = vdb_hnsw_node_address(g, first + s);

		check_slot(check, first + s, node.block, vdb_hnsw_page_hot(check->copies[0], hot),
				   vdb_hnsw_page_node(check->copies[node.block - block], node), s < used);
		check_attributes(check, first + s, block, vdb_hnsw_page_attributes(g, check->copies[0], hot),
						 hnsw_bits_has(&check->occupied, first + s));
		MemoryContextReset(check->context);
	}
	if (check->counts.free - free_before != vdb_page_special(check->copies[0])->free)
		corrupted(check, block, psprintf("The page counts %u free slots, but there are %u.",
										 vdb_page_special(check->copies[0])->free,
										 (uint32) (check->counts.free - free_before)));
	MemoryContextSwitchTo(old);
}

/* I10: a record is of a node that exists; and what it stands on is there. */
static void
check_record_node(HnswCheck *check, uint32 ref, BlockNumber block, const HnswUpper *upper)
{
	HnswNode	node;
	HnswUpper	down;
	bool		fits;

	if (!vdb_hnsw_check_number(check, upper->nid))
		corrupted(check, block, psprintf("Record %u is of node %u, which cannot exist.", ref, upper->nid));
	node = vdb_hnsw_check_read(check, upper->nid);
	fits = vdb_hnsw_is_node(&node) && node.generation == upper->generation && upper->layer <= node.layer;
	if (!fits && is_still_record(check, ref, upper))
		corrupted(check, block, psprintf("Record %u on layer %u is of node %u, generation %u, which is of generation %u and layer %u.",
										 ref, upper->layer, upper->nid, upper->generation,
										 node.generation, node.layer));
	if (upper->layer == 1 ? upper->down != HNSW_NO_REF : !is_upper_reference(check, upper->down))
		corrupted(check, block, psprintf("Record %u on layer %u cannot stand on %u.", ref, upper->layer, upper->down));
	if (upper->layer == 1)
		return;

	/* an interrupted VACUUM may have freed some records of a dead node */
	down = read_record(check, upper->down);
	fits = down.nid == upper->nid && down.layer == upper->layer - 1;
	if (!fits && is_still_record(check, ref, upper) && is_still_live(check, upper->nid, upper->generation))
		corrupted(check, block, psprintf("Record %u of node %u stands on a record of node %u.", ref,
										 upper->nid, down.nid));
}

/* I9: edges of a record lead to other nodes, once to each. */
static void
check_record_edges(HnswCheck *check, uint32 ref, BlockNumber block, HnswUpper *upper)
{
	const HnswGeometry *g = &check->index->geometry;
	HnswUpperEdge *nbr = vdb_hnsw_upper_nbr(upper);

	if (upper->count > g->m)
		corrupted(check, block, psprintf("Record %u has %u neighbours, more than %d.", ref, upper->count, g->m));
	for (uint32 i = 0; i < upper->count; i++)
	{
		if (nbr[i].nid == upper->nid || !vdb_hnsw_check_number(check, nbr[i].nid) ||
			(nbr[i].ref != HNSW_NO_REF && !is_upper_reference(check, nbr[i].ref)))
			corrupted(check, block, psprintf("Record %u cannot have the neighbour %u at %u.", ref,
											 nbr[i].nid, nbr[i].ref));
		for (uint32 j = 0; j < i; j++)
		{
			if (nbr[i].nid == nbr[j].nid)
				corrupted(check, block, psprintf("Record %u has the neighbour %u twice.", ref, nbr[i].nid));
		}
	}
}

static void
check_upper_page(HnswCheck *check, uint32 extent, BlockNumber block, uint32 first)
{
	const HnswGeometry *g = &check->index->geometry;
	Page		page = check->copies[0];
	uint32		unused = 0;

	vdb_hnsw_check_copy(check, block, VDB_PAGE_HNSW_UPPER, extent, page);
	check_counters(check, block, page, g->uppers_per_page, HNSW_UPPER_FIRST, g->upper_stride);
	for (uint32 s = 0; s < vdb_page_special(page)->used; s++)
	{
		HnswUpper  *upper = vdb_hnsw_page_upper(page, vdb_hnsw_upper_address(g, first + s));

		if (upper->nid == HNSW_NO_NODE)
		{
			unused++;
			continue;
		}
		if (upper->layer < 1 || upper->layer > HNSW_MAX_LAYER)
			corrupted(check, block, psprintf("Record %u is on layer %u.", first + s, upper->layer));
		check_record_edges(check, first + s, block, upper);
		check_record_node(check, first + s, block, upper);
		check->counts.upper_records++;
	}
	if (unused != vdb_page_special(page)->free)
		corrupted(check, block, psprintf("The page counts %u free records, but there are %u.",
										 vdb_page_special(page)->free, unused));
}

static void
check_upper_extent(HnswCheck *check, uint32 extent)
{
	const HnswGeometry *g = &check->index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent);

	for (int i = 0; i < g->extent_pages; i++)
		check_upper_page(check, extent, block + i,
						 extent * g->upper_slots + (uint32) i * g->uppers_per_page);
}

/* Is the entry point a node, on the layer that the metapage says? */
static bool
entry_is_valid(HnswCheck *check, const HnswMeta *meta)
{
	HnswNode	node;
	HnswUpper	upper;

	if (!vdb_hnsw_check_number(check, meta->entry_nid))
		return false;
	node = vdb_hnsw_check_read(check, meta->entry_nid);
	if (!vdb_hnsw_is_node(&node))
		return false;
	if (meta->entry_layer == 0)
		return meta->entry_ref == HNSW_NO_REF;
	if (!is_upper_reference(check, meta->entry_ref))
		return false;
	upper = read_record(check, meta->entry_ref);
	return upper.nid == meta->entry_nid && upper.layer == meta->entry_layer;
}

/* I11: there is an entry point to a graph that is not empty, and it is valid. */
static void
check_entry(HnswCheck *check)
{
	HnswMeta	meta = read_meta(check);

	for (;;)
	{
		HnswMeta	now;

		if (meta.entry_nid == HNSW_NO_NODE)
		{
			if (meta.entry_ref != HNSW_NO_REF)
				corrupted(check, HNSW_META_BLOCK, "There is a record of an entry point but no entry point.");
			break;
		}
		if (entry_is_valid(check, &meta))
		{
			hnsw_bits_add(&check->reached, meta.entry_nid);
			break;
		}
		now = read_meta(check);
		if (now.entry_nid == meta.entry_nid && now.entry_ref == meta.entry_ref &&
			now.entry_layer == meta.entry_layer)
			corrupted(check, HNSW_META_BLOCK,
					  psprintf("Node %u cannot be the entry point on layer %d at %u.", meta.entry_nid,
							   meta.entry_layer, meta.entry_ref));
		meta = now;
	}
}

/* Is a slot, as it is now, that of a node? */
static bool
is_node(HnswCheck *check, uint32 nid)
{
	HnswNode	node = vdb_hnsw_check_read(check, nid);

	return vdb_hnsw_is_node(&node);
}

/* Counts a node's edges to slots without one, which may have been taken since. */
static void
count_dangling(HnswCheck *check, HnswNode *node)
{
	uint32		count = vdb_hnsw_is_node(node) ? Min(node->count, 2 * check->index->geometry.m) : 0;

	for (uint32 i = 0; i < count; i++)
	{
		uint32		nbr = vdb_hnsw_node_nbr(node)[i];

		if (nbr < check->nodes && !hnsw_bits_has(&check->occupied, nbr) &&
			vdb_hnsw_check_number(check, nbr) && !is_node(check, nbr))
			check->counts.dangling_edges++;
	}
}

/* Takes what a node that was reached leads to for reached. */
static void
expand_node(HnswCheck *check, HnswNode *node)
{
	uint32		count = vdb_hnsw_is_node(node) ? Min(node->count, 2 * check->index->geometry.m) : 0;

	for (uint32 i = 0; i < count; i++)
	{
		uint32		nbr = vdb_hnsw_node_nbr(node)[i];

		if (hnsw_bits_has(&check->occupied, nbr))
			hnsw_bits_add(&check->reached, nbr);
	}
}

/*
 * Reads the lists of the nodes on one node page that were reached and not
 * expanded yet; with `count` also those of the others, for what dangles.
 */
static void
expand_page(HnswCheck *check, uint32 nid, bool count)
{
	const HnswGeometry *g = &check->index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	uint32		first = nid - a.slot;
	uint32		end = Min(first + g->nodes_per_page, (a.extent + 1) * g->extent_slots);
	Page		page = check->copies[0];

	vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_NODE, a.extent, page);
	for (nid = first; count && nid < end; nid++)
		count_dangling(check, vdb_hnsw_page_node(page, vdb_hnsw_node_address(g, nid)));
	while ((nid = hnsw_bits_next(&check->reached, &check->expanded, first)) < end)
	{
		hnsw_bits_add(&check->expanded, nid);
		expand_node(check, vdb_hnsw_page_node(page, vdb_hnsw_node_address(g, nid)));
	}
}

/*
 * Counts what is allowed: edges to free slots, and live nodes that the entry
 * point does not lead to on layer 0.  One sweep over all node pages, then as
 * many over those with something new.
 */
static void
follow_edges(HnswCheck *check)
{
	const HnswGeometry *g = &check->index->geometry;
	uint32		nid = 0;

	for (uint32 extent = 0; extent < check->extents; extent++)
	{
		if (hnsw_bits_has(&check->upper, extent))
			continue;
		for (uint32 s = 0; s < g->extent_slots; s += g->nodes_per_page)
			expand_page(check, extent * g->extent_slots + s, true);
	}
	while ((nid = hnsw_bits_next(&check->reached, &check->expanded, 0)) != HNSW_BITS_NONE)
	{
		for (; nid != HNSW_BITS_NONE;
			 nid = hnsw_bits_next(&check->reached, &check->expanded, nid + 1))
			expand_page(check, nid, false);
	}
	nid = hnsw_bits_next(&check->live, &check->reached, 0);
	for (; nid != HNSW_BITS_NONE; nid = hnsw_bits_next(&check->live, &check->reached, nid + 1))
		check->counts.unreachable += !hnsw_bits_has(&check->waiting, nid);
}
