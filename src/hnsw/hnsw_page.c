/*
 * hnsw_page.c
 *	  From node numbers and references to pages: geometry, bounds, reads.
 *
 * Everything that follows a number found on a page goes through here, so that
 * a damaged page raises an error and never an address out of bounds.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/heaptoast.h"

#include "hnsw/hnsw_private.h"

/* Bits a dimension of the code in a node slot, but for those that are coarse. */
#define NODE_BITS 12

/* More node pages than this would only make small indexes large. */
#define MAX_NODE_PAGES 15

/* Offset of the hot slots behind the attributes of so many nodes. */
static inline uint32
hot_first(uint32 attr_bytes, uint32 slots)
{
	return TYPEALIGN(64, HNSW_HOT_FIRST + attr_bytes * slots);
}

/* Bytes of a node slot without its code: what comes before that. */
static inline uint32
node_bytes(uint32 m)
{
	return sizeof(HnswNode) + 2 * m * sizeof(uint32) + vdb_hnsw_lengths_bytes(2 * m);
}

bool
vdb_hnsw_geometry(HnswGeometry *g, const VdbCodec *codec, int m, int ef_construction,
				  uint32 attr_bytes)
{
	uint32		slot = node_bytes(m);
	uint32		hot_bytes = TYPEALIGN(4, sizeof(HnswHot) + codec->hot_bytes);
	uint32		code_bytes = codec->hi_bytes + codec->lo_bytes;
	uint32		hot_slots;
	double		best = 0;

	memset(g, 0, sizeof(*g));
	g->m = m;
	g->ef_construction = ef_construction;
	g->hot_bits = codec->hot_bits;
	g->hot_bytes = codec->hot_bytes;
	g->attr_bytes = attr_bytes;

	/*
	 * A node slot has no code where the hot code tells all.  Where the fuller
	 * code does not fit, rows are ordered by the heap alone.
	 */
	if (!vdb_codec_hot_is_whole(codec) &&
		HNSW_NODE_FIRST + slot + code_bytes <= VDB_PAGE_END)
	{
		g->node_bits = NODE_BITS;
		g->node_coarse = codec->node_coarse;
		g->hi_bytes = codec->hi_bytes;
		g->lo_bytes = codec->lo_bytes;
		slot += code_bytes;
	}
	slot = TYPEALIGN(4, slot);
	if (hot_first(attr_bytes, 1) + hot_bytes > VDB_PAGE_END ||
		HNSW_NODE_FIRST + slot > VDB_PAGE_END)
		return false;
	g->hot_stride = hot_bytes;
	g->node_stride = slot;
	g->upper_stride = sizeof(HnswUpper) + m * sizeof(HnswUpperEdge);
	g->nodes_per_page = (VDB_PAGE_END - HNSW_NODE_FIRST) / slot;
	g->uppers_per_page = (VDB_PAGE_END - HNSW_UPPER_FIRST) / g->upper_stride;
	hot_slots = (VDB_PAGE_END - HNSW_HOT_FIRST) / (hot_bytes + attr_bytes);
	while (hot_first(attr_bytes, hot_slots) + hot_slots * hot_bytes > VDB_PAGE_END)
		hot_slots--;

	/* as many node pages as waste least of the extent */
	for (int pages = 1; pages <= MAX_NODE_PAGES; pages++)
	{
		uint32		slots = Min(hot_slots, (uint32) pages * g->nodes_per_page);
		double		density = (double) slots / (1 + pages);

		if (density > best)
		{
			best = density;
			g->extent_slots = slots;
			g->node_pages = pages;
		}
	}
	g->hot_first = hot_first(attr_bytes, g->extent_slots);
	g->extent_pages = 1 + g->node_pages;
	g->extent_inverse = PG_UINT64_MAX / g->extent_slots;
	g->upper_slots = (uint32) g->uppers_per_page * g->extent_pages;
	g->center_values = codec->kind == VDB_CODEC_DENSE ? codec->P : 0;
	g->center_pages = (g->center_values + HNSW_CENTER_PER_PAGE - 1) / HNSW_CENTER_PER_PAGE;
	g->max_extents = Min((PG_UINT32_MAX - 1) / Max(g->extent_slots, g->upper_slots),
						 (MaxBlockNumber - 1 - g->center_pages) / g->extent_pages);
	return true;
}

/*
 * By so much more nodes a page must a coarser code pay for the rows it has measured: a
 * sixth more where those are stored out of line and take microseconds, next to nothing
 * where they lie beside their row.  (Halves are taken for as long as floats.)
 */
static inline double
coarse_gain(const VdbCodec *codec)
{
	return codec->vector_bytes > TOAST_TUPLE_THRESHOLD ? 7.0 / 6 : 33.0 / 32;
}

static inline double
density(const HnswGeometry *g)
{
	return (double) g->extent_slots / g->extent_pages;
}

/* Has the code only as coarse as one node more on a page wants it; false if that does not do. */
static bool
make_room(const HnswGeometry *g, VdbCodec *codec)
{
	uint32		nodes = g->node_bits == 0 ? 1 : g->nodes_per_page + 1;
	uint32		room = TYPEALIGN_DOWN(4, (VDB_PAGE_END - HNSW_NODE_FIRST) / nodes);
	uint32		coarsest = node_bytes(g->m) + codec->hi_bytes + codec->P / 4;

	/* so few dimensions are not told apart by the length of a slot */
	if (codec->P < VDB_NODE_STEP || coarsest > room)
		return false;
	vdb_codec_set_node_coarse(codec, codec->P - (room - coarsest) * 4 / VDB_NODE_STEP * VDB_NODE_STEP);
	return true;
}

bool
vdb_hnsw_choose_geometry(HnswGeometry *g, VdbCodec *codec, int m, int ef_construction,
						 uint32 attr_bytes)
{
	HnswGeometry more;

	if (!vdb_hnsw_geometry(g, codec, m, ef_construction, attr_bytes))
		return false;
	if (vdb_codec_hot_is_whole(codec) || !make_room(g, codec))
		return true;
	if (vdb_hnsw_geometry(&more, codec, m, ef_construction, attr_bytes) &&
		(g->node_bits == 0 || density(&more) >= coarse_gain(codec) * density(g)))
		*g = more;
	else
		vdb_codec_set_node_coarse(codec, 0);
	return true;
}

/*
 * Does a node number found on a page lie in an extent that exists?  May read
 * the metapage: extents are added while we look.
 */
bool
vdb_hnsw_nid_exists(HnswIndex *index, uint32 nid)
{
	uint32		extent = vdb_hnsw_extent_of(&index->geometry, nid);

	if (likely(extent < index->extents))
		return true;
	vdb_hnsw_refresh(index);
	return extent < index->extents;
}

/* The same for a reference to a record of an upper layer. */
bool
vdb_hnsw_ref_exists(HnswIndex *index, uint32 ref)
{
	uint32		extent = ref / index->geometry.upper_slots;

	if (likely(extent < index->extents))
		return true;
	vdb_hnsw_refresh(index);
	return extent < index->extents;
}

static void
check_extent(HnswIndex *index, HnswAddress a)
{
	if (unlikely(a.extent >= index->extents))
	{
		vdb_hnsw_refresh(index);
		if (a.extent >= index->extents)
			vdb_page_corrupted(index->rel, HNSW_META_BLOCK,
							   psprintf("Extent %u is referred to, but only %u exist.",
										a.extent, index->extents));
	}
}

/*
 * Cheap form of vdb_page_check for pages read over and over: a kind and an
 * extent that are right leave nothing to be checked.
 */
static inline void
check_page(HnswIndex *index, Buffer buffer, HnswAddress a, VdbPageKind kind)
{
	Page		page = BufferGetPage(buffer);
	VdbPageSpecial *special = vdb_page_special(page);

	if (unlikely(special->kind != kind || special->extent != a.extent ||
				 special->page_id != VDB_PAGE_ID))
		vdb_page_check(index->rel, a.block, page, kind, a.extent);
}

/*
 * Pages keep their kind as long as the index has the same incarnation.  The lock is
 * for replay, which may be about to fill the page.
 */
bool
vdb_hnsw_is_upper(HnswIndex *index, uint32 extent, BufferAccessStrategy strategy)
{
	BlockNumber block = vdb_hnsw_extent_block(&index->geometry, extent);
	Buffer		buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
	Page		page = BufferGetPage(buffer);
	bool		upper;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	upper = vdb_page_special(page)->kind == VDB_PAGE_HNSW_UPPER;
	vdb_page_check(index->rel, block, page, upper ? VDB_PAGE_HNSW_UPPER : VDB_PAGE_HNSW_HOT,
				   extent);
	UnlockReleaseBuffer(buffer);
	return upper;
}

/*
 * Pins a hot page.  It is not locked: a hot slot is a hint, and a torn read
 * costs quality, not correctness.  Writers lock it as usual.
 */
Buffer
vdb_hnsw_read_hot(HnswIndex *index, HnswAddress a)
{
	Buffer		buffer;

	check_extent(index, a);
	buffer = vdb_hints_read(&index->hints, index->rel, a.block);
	if (unlikely(vdb_page_special(BufferGetPage(buffer))->kind != VDB_PAGE_HNSW_HOT))
	{
		/* replay may be about to fill the page, under its lock */
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	check_page(index, buffer, a, VDB_PAGE_HNSW_HOT);
	return buffer;
}

/* Pins a node page. */
Buffer
vdb_hnsw_pin_node(HnswIndex *index, HnswAddress a)
{
	Buffer		buffer;

	check_extent(index, a);
	buffer = vdb_hints_read(&index->hints, index->rel, a.block);
	check_page(index, buffer, a, VDB_PAGE_HNSW_NODE);
	return buffer;
}

/* Pins and locks a node page. */
Buffer
vdb_hnsw_read_node(HnswIndex *index, HnswAddress a, int lock)
{
	Buffer		buffer;

	check_extent(index, a);
	buffer = vdb_hints_read(&index->hints, index->rel, a.block);
	LockBuffer(buffer, lock);
	check_page(index, buffer, a, VDB_PAGE_HNSW_NODE);
	return buffer;
}

/* Pins and locks a page of upper records. */
Buffer
vdb_hnsw_read_upper(HnswIndex *index, HnswAddress a, int lock)
{
	Buffer		buffer;

	check_extent(index, a);
	buffer = vdb_hints_read(&index->hints, index->rel, a.block);
	LockBuffer(buffer, lock);
	check_page(index, buffer, a, VDB_PAGE_HNSW_UPPER);
	return buffer;
}

void
vdb_hnsw_read_slot(HnswIndex *index, uint32 nid, HnswNode *node)
{
	HnswAddress a = vdb_hnsw_node_address(&index->geometry, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);

	memcpy(node, vdb_hnsw_page_node(BufferGetPage(buffer), a), sizeof(HnswNode));
	UnlockReleaseBuffer(buffer);
}

VdbNodeFactors
vdb_hnsw_node_factors(const HnswNode *node)
{
	VdbNodeFactors f = {node->scale, node->add, vdb_bfloat_load(node->residual)};

	return f;
}

/* The score of a hot slot; HNSW_NO_SCORE if no node is there. */
static inline float
score_slot(const VdbQuery *query, HnswHot *hot)
{
	VdbHotFactors f = {hot->add, hot->rescale};

	if (unlikely(!vdb_hnsw_hot_is_node(hot)))
		return HNSW_NO_SCORE;
	return vdb_hot_score(query, f, vdb_hnsw_hot_code(hot));
}

/*
 * An estimate decides nothing but the way a search takes, so in the usual case
 * the page is not even pinned.
 */
bool
vdb_hnsw_peek_hot(HnswIndex *index, const VdbQuery *query, uint32 nid, float *score, uint32 *generation)
{
	HnswAddress a = vdb_hnsw_hot_address(&index->geometry, nid);
	Buffer		buffer;
	Page		page = vdb_hints_peek(&index->hints, a.block, &buffer);
	HnswHot    *hot;

	if (unlikely(page == NULL))
		return false;
	hot = vdb_hnsw_page_hot(page, a);
	*generation = hot->generation;
	*score = score_slot(query, hot);
	pg_read_barrier();
	return vdb_hints_hold(&index->hints, a.block, buffer);
}

float
vdb_hnsw_estimate(HnswIndex *index, const VdbQuery *query, uint32 nid, uint32 *generation)
{
	HnswAddress a;
	Buffer		buffer;
	HnswHot    *hot;
	float		score;

	if (likely(vdb_hnsw_peek_hot(index, query, nid, &score, generation)))
		return score;
	a = vdb_hnsw_hot_address(&index->geometry, nid);
	buffer = vdb_hnsw_read_hot(index, a);
	hot = vdb_hnsw_page_hot(BufferGetPage(buffer), a);
	*generation = hot->generation;
	score = score_slot(query, hot);
	ReleaseBuffer(buffer);
	return score;
}

float
vdb_hnsw_score_hot(HnswIndex *index, const VdbQuery *query, uint32 nid)
{
	uint32		generation;
	float		score = vdb_hnsw_estimate(index, query, nid, &generation);

	return isnan(score) ? FLT_MAX : score;
}

float
vdb_hnsw_weigh(HnswIndex *index, const VdbQuery *query, const VdbFilter *filter, uint32 nid,
			   uint32 *generation, bool *passes)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_hot_address(g, nid);
	Buffer		buffer;
	Page		page = vdb_hints_peek(&index->hints, a.block, &buffer);
	HnswHot    *hot;
	float		score;

	if (likely(page != NULL))
	{
		hot = vdb_hnsw_page_hot(page, a);

		/*
		 * Replay may be about to fill the page, from its start on: no row has a
		 * slot like this, and where the slot is there, so are the attributes.
		 */
		*generation = *(volatile uint32 *) &hot->generation;
		if (likely(*generation != 0))
		{
			pg_read_barrier();
			*passes = vdb_filter_passes(filter, vdb_hnsw_page_attributes(g, page, a));
			score = score_slot(query, hot);
			pg_read_barrier();
			if (likely(vdb_hints_hold(&index->hints, a.block, buffer)))
				return score;
		}
	}
	buffer = vdb_hnsw_read_hot(index, a);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	*passes = vdb_filter_passes(filter, vdb_hnsw_page_attributes(g, page, a));
	hot = vdb_hnsw_page_hot(page, a);
	*generation = hot->generation;
	score = score_slot(query, hot);
	UnlockReleaseBuffer(buffer);
	return score;
}

bool
vdb_hnsw_read_whole(HnswIndex *index, uint32 nid, uint32 generation, VdbHotFactors *f, uint8 *code)
{
	HnswAddress a = vdb_hnsw_hot_address(&index->geometry, nid);
	Buffer		buffer = vdb_hnsw_read_hot(index, a);
	HnswHot    *hot = vdb_hnsw_page_hot(BufferGetPage(buffer), a);
	bool		same;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	same = hot->generation == generation;
	*f = (VdbHotFactors) {hot->add, hot->rescale};
	memcpy(code, vdb_hnsw_hot_code(hot), index->geometry.hot_bytes);
	UnlockReleaseBuffer(buffer);
	return same;
}

bool
vdb_hnsw_load_vector(HnswIndex *index, uint32 nid, void *out)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	bool		live = node->state == HNSW_LIVE;
	uint32		generation = node->generation;

	if (live && g->node_bits != 0)
		vdb_decode_node(&index->codec, vdb_hnsw_node_factors(node), vdb_hnsw_node_hi(g, node),
						vdb_hnsw_node_lo(g, node), out);
	UnlockReleaseBuffer(buffer);
	if (live && g->node_bits == 0)
	{
		uint8	   *code = palloc(g->hot_bytes);
		VdbHotFactors f;

		live = vdb_hnsw_read_whole(index, nid, generation, &f, code);
		if (live)
			vdb_decode_hot(&index->codec, f, code, out);
		pfree(code);
	}
	return live;
}

void
vdb_hnsw_copy_node_code(const HnswGeometry *g, HnswNode *node, VdbNodeFactors *f, uint8 *hi)
{
	*f = vdb_hnsw_node_factors(node);
	memcpy(hi, vdb_hnsw_node_hi(g, node), g->hi_bytes);
}

void
vdb_hnsw_copy_hot_code(const HnswGeometry *g, HnswHot *hot, VdbNodeFactors *f, uint8 *hi)
{
	*f = (VdbNodeFactors) {hot->rescale, hot->add, 0};
	memcpy(hi, vdb_hnsw_hot_code(hot), g->hot_bytes);
}

bool
vdb_hnsw_load_code(HnswIndex *index, uint32 nid, VdbNodeFactors *f, uint8 *hi)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	HnswNode   *node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	bool		live = node->state == HNSW_LIVE;
	uint32		generation = node->generation;

	if (live && g->node_bits != 0)
		vdb_hnsw_copy_node_code(g, node, f, hi);
	UnlockReleaseBuffer(buffer);
	if (live && vdb_codec_hot_is_whole(&index->codec))
	{
		VdbHotFactors hot;

		live = vdb_hnsw_read_whole(index, nid, generation, &hot, hi);
		*f = (VdbNodeFactors) {hot.rescale, hot.add, 0};
	}
	else if (live && g->node_bits == 0)
	{
		/* the slot has no room for the code of what the hot code stands for */
		void	   *vector = palloc(index->codec.vector_bytes);
		uint8	   *lo = palloc(index->codec.lo_bytes);

		live = vdb_hnsw_load_vector(index, nid, vector);
		if (live)
			*f = vdb_encode_node(&index->codec, vector, 0, hi, lo);
		pfree(lo);
		pfree(vector);
	}
	return live;
}

/* The slot that a node's code is in. */
static inline HnswAddress
code_address(HnswIndex *index, uint32 nid)
{
	return index->geometry.node_bits != 0 ? vdb_hnsw_node_address(&index->geometry, nid) :
		vdb_hnsw_hot_address(&index->geometry, nid);
}

void
vdb_hnsw_prefetch_hot(HnswIndex *index, uint32 nid)
{
	HnswAddress a = vdb_hnsw_hot_address(&index->geometry, nid);

	vdb_hints_prefetch(&index->hints, a.block, a.offset, index->geometry.hot_stride);
}

void
vdb_hnsw_prefetch_code(HnswIndex *index, uint32 nid)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);

	if (g->node_bits == 0)
	{
		vdb_hnsw_prefetch_hot(index, nid);
		return;
	}
	/* the list between factors and code is not looked at */
	vdb_hints_prefetch(&index->hints, a.block, a.offset, sizeof(HnswNode));
	vdb_hints_prefetch(&index->hints, a.block, a.offset + node_bytes(g->m), g->hi_bytes);
}

bool
vdb_hnsw_peek_code(HnswIndex *index, uint32 nid, VdbNodeFactors *f, uint8 *hi)
{
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = code_address(index, nid);
	Buffer		buffer;
	Page		page = vdb_hints_peek(&index->hints, a.block, &buffer);

	if (page == NULL || (g->node_bits == 0 && !vdb_codec_hot_is_whole(&index->codec)))
		return false;
	if (g->node_bits != 0)
		vdb_hnsw_copy_node_code(g, vdb_hnsw_page_node(page, a), f, hi);
	else
		vdb_hnsw_copy_hot_code(g, vdb_hnsw_page_hot(page, a), f, hi);
	pg_read_barrier();
	return vdb_hints_hold(&index->hints, a.block, buffer);
}
