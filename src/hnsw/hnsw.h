/*
 * hnsw.h
 *	  The bytes of an hnsw index on disk, and how a node number becomes an
 *	  address.  What a dump tool would need, and nothing else.
 *
 * The fork is: block 0 the metapage, then the center pages, then extents of
 * equal size.  A node extent is one hot page and node_pages node pages, an
 * upper extent holds records of the layers above 0 on every page.  See
 * README.md for the invariants and docs/on-disk-format.md for offsets.
 */
#ifndef VDB_HNSW_H
#define VDB_HNSW_H

#include "hnsw/hnsw_length.h"
#include "hnsw/hnsw_pool.h"
#include "quant/codec.h"
#include "storage/itemptr.h"
#include "storage/storage_page.h"

#define HNSW_MAGIC 0x57534E48		/* "HNSW", little-endian */
#define HNSW_VERSION 3

#define HNSW_MIN_M 2
#define HNSW_MAX_M 100
#define HNSW_DEFAULT_M 16
#define HNSW_MIN_EF_CONSTRUCTION 4
#define HNSW_MAX_EF_CONSTRUCTION 1000
#define HNSW_DEFAULT_EF_CONSTRUCTION 64
#define HNSW_MIN_PENDING_LIMIT 64
#define HNSW_MAX_PENDING_LIMIT 65536
#define HNSW_DEFAULT_PENDING_LIMIT 2048

#define HNSW_META_BLOCK 0
#define HNSW_NO_REF PG_UINT32_MAX
#define HNSW_NO_EXTENT PG_UINT32_MAX

/*
 * What was measured of an index: recall among the first rows of a scan, for
 * sizes of its search.
 */
#define HNSW_CALIBRATED_LEVELS 20
#define HNSW_CALIBRATED_ROWS 2
#define HNSW_STRETCH_UNIT 1024

typedef struct HnswCalibration
{
	uint32		extents;		/* there were when it was measured */
	uint16		queries;		/* it was measured with; 0: it was not */
	uint16		reserved;		/* 0 */

	/* of 65535, by vdb_hnsw_calibrated_rows and vdb_hnsw_calibrated_ef */
	uint16		recall[HNSW_CALIBRATED_ROWS][HNSW_CALIBRATED_LEVELS];

	/* where a search for the fewer rows stops, see HnswSearch: in units of
	 * 1 / HNSW_STRETCH_UNIT */
	uint16		stretch[HNSW_CALIBRATED_LEVELS];
} HnswCalibration;

StaticAssertDecl(sizeof(HnswCalibration) == 128, "HnswCalibration is 128 bytes on disk");

/* The metapage's content, right after the page header. */
typedef struct HnswMeta
{
	uint32		magic;
	uint16		version;
	uint16		metric;			/* VdbMetric */
	uint64		incarnation;	/* random; another build, another number */
	uint64		rotation_seed;	/* 0: codes are not rotated */
	uint32		dims;
	uint16		m;
	uint16		ef_construction;

	/* geometry: what HnswGeometry must come out as, checked on open */
	uint16		hot_bits;
	uint16		node_bits;
	uint16		attr_bytes;		/* of a node's attributes on its hot page; 0: the
								 * index has one column */
	uint16		hot_stride;
	uint16		node_stride;
	uint16		upper_stride;
	uint16		extent_slots;
	uint16		node_pages;
	uint32		center_pages;

	/* what changes */
	uint32		extents;		/* extents that exist; others do not, whatever the
								 * length of the fork */
	uint32		open_extent;	/* node extent that takes new nodes, or
								 * HNSW_NO_EXTENT */
	uint32		open_upper;		/* upper extent that takes new records, or
								 * HNSW_NO_EXTENT */
	uint32		entry_nid;		/* HNSW_NO_NODE: no entry point */
	uint32		entry_ref;		/* its record on its top layer, or HNSW_NO_REF */
	int32		entry_layer;

	/* extents in which there may be nodes that nobody has linked yet */
	uint32		pending_head;	/* the first + 1; 0: there are none */
	uint32		pending_tail;	/* the one after the last, or 0 */

	BlockNumber posting_tail;	/* reserved, 0 */
	uint32		entries;		/* of a code of sparse vectors, else 0 */

	HnswCalibration calibration;
	uint16		node_coarse;	/* dimensions of a node code with fewer bits, see
								 * VdbCodec */
	uint8		reserved[258];
} HnswMeta;

StaticAssertDecl(sizeof(HnswMeta) == 480, "HnswMeta is 480 bytes on disk");

/*
 * A hot slot: what a search reads of every neighbour it weighs.  The code of
 * hot_bits a dimension follows.
 */
typedef struct HnswHot
{
	uint32		generation;		/* same as the node slot's; odd: slot is free */
	float		add;			/* VdbHotFactors */
	float		rescale;
} HnswHot;

StaticAssertDecl(sizeof(HnswHot) == 12, "HnswHot is 12 bytes on disk");

/*
 * Where a hot page's content starts, on a cache line: attributes of all nodes of
 * the extent, attr_bytes each, and then, on a cache line again, its hot slots.
 */
#define HNSW_HOT_FIRST 64

typedef enum HnswState
{
	HNSW_FREE = 0,				/* no node */
	HNSW_LIVE = 1,
	HNSW_DEAD = 2,				/* its row is gone; still a stepping stone */
	HNSW_POSTINGS = 3			/* no node: further rows of one, see HnswPostings */
} HnswState;

/*
 * A node slot: what a search reads of every node it expands.  Followed by
 * uint32 nbr[2m], HnswLengths of 2m edges, the hi
 * plane (P bytes) and the lo plane (at most P / 2 bytes) of the node code; the planes
 * are missing where node_bits is 0: where the hot code is all there is to know
 * of a vector, or where they do not fit a page.
 */
typedef struct HnswNode
{
	ItemPointerData tid;		/* of the heap row; zeros: that is gone, but rows
								 * with the same value are left */
	uint8		state;			/* HnswState */
	uint8		layer;			/* topmost */
	uint32		generation;
	uint32		duplicates;		/* rows with the same value: a link to postings */
	uint32		hash;			/* of the value; 0: no row is equal to it */
	float		scale;			/* VdbNodeFactors */
	float		add;
	uint16		residual;		/* bfloat16 */
	uint8		count;			/* neighbours */
	uint8		kept;			/* of these, the first so many are never given up:
								 * the tree that keeps the graph connected */
} HnswNode;

StaticAssertDecl(sizeof(HnswNode) == 32, "HnswNode is 32 bytes on disk");
StaticAssertDecl(2 * HNSW_MAX_M <= UINT8_MAX, "a list's length fits a byte");

#define HNSW_NODE_FIRST 32

/*
 * Postings, in place of a node: rows whose value and attributes are those of a
 * node's row.  They form a chain, newest first, that begins in the node.  Read
 * as a node it has no neighbours.  Followed by ItemPointerData tids[], as many as
 * the slot has room for.
 */
typedef struct HnswPostings
{
	uint8		reserved[6];	/* 0 */
	uint8		state;			/* HNSW_POSTINGS */
	uint8		layer;			/* 0 */
	uint32		generation;
	uint32		next;			/* link to older ones */
	uint32		owner;			/* the node */
	uint32		owner_generation;
	uint32		rank;			/* greater than that of the next; never 0 */
	uint16		rows;
	uint16		neighbours;		/* 0: HnswNode.count and kept */
} HnswPostings;

StaticAssertDecl(sizeof(HnswPostings) == sizeof(HnswNode), "HnswPostings is as long as HnswNode");
StaticAssertDecl(offsetof(HnswPostings, state) == offsetof(HnswNode, state) &&
				 offsetof(HnswPostings, generation) == offsetof(HnswNode, generation) &&
				 offsetof(HnswPostings, next) == offsetof(HnswNode, duplicates) &&
				 offsetof(HnswPostings, neighbours) == offsetof(HnswNode, count),
				 "HnswPostings begins like HnswNode");

/* A link to postings: their node number + 1, or this. */
#define HNSW_NO_POSTINGS 0

/*
 * Both factors in the hot slot of postings, as bits: a NaN that no arithmetic
 * makes.  So they are farther away than any node, and can be told from one.
 */
#define HNSW_HOT_POSTINGS PG_UINT32_MAX

/*
 * Edges of the tree a node may have before newcomers look for another parent.
 * Less than half of a list for the usual m, and never all of it.
 */
#define HNSW_MAX_KEPT(m) ((m) / 4 + 3)

typedef struct HnswUpperEdge
{
	uint32		nid;
	uint32		ref;			/* of the neighbour's record on the same layer */
} HnswUpperEdge;

/* A node on one layer above 0, followed by HnswUpperEdge nbr[m]. */
typedef struct HnswUpper
{
	uint32		nid;			/* HNSW_NO_NODE: record is free */
	uint32		generation;		/* of the node */
	uint32		down;			/* record one layer below, HNSW_NO_REF on layer 1 */
	uint8		layer;
	uint8		reserved;		/* 0 */
	uint16		count;
} HnswUpper;

StaticAssertDecl(sizeof(HnswUpper) == 16, "HnswUpper is 16 bytes on disk");

#define HNSW_UPPER_FIRST 32

/* The constants of an index from which addresses are computed. */
typedef struct HnswGeometry
{
	uint32		hi_bytes;		/* of a node code's parts in a node slot */
	uint32		lo_bytes;
	uint32		hot_bytes;		/* of a hot code */
	uint32		center_values;	/* floats of the center */
	uint16		m;
	uint16		ef_construction;
	uint16		hot_bits;
	uint16		node_bits;		/* 12, or 0: no code in node slots */
	uint16		node_coarse;	/* of the codec */
	uint16		attr_bytes;
	uint16		hot_first;		/* offset of the first hot slot */
	uint16		hot_stride;
	uint16		node_stride;
	uint16		upper_stride;
	uint16		nodes_per_page;
	uint16		uppers_per_page;
	uint16		extent_slots;	/* nodes of a node extent */
	uint16		node_pages;		/* node pages of a node extent */
	uint16		extent_pages;	/* 1 + node_pages */
	uint32		upper_slots;	/* records of an upper extent */
	uint32		center_pages;
	uint32		max_extents;	/* keeps node numbers and references in 32 bits */
	uint64		extent_inverse; /* UINT64_MAX / extent_slots */
} HnswGeometry;

/*
 * Computes the geometry; false when not even one node fits a page.
 */
extern bool vdb_hnsw_geometry(HnswGeometry *geometry, const VdbCodec *codec, int m,
							  int ef_construction, uint32 attr_bytes);

/*
 * The geometry of a new index: the same, but for the codec's node_coarse, which it
 * chooses (docs/design/014-coarse-dimensions.md) and sets.
 */
extern bool vdb_hnsw_choose_geometry(HnswGeometry *geometry, VdbCodec *codec, int m,
									 int ef_construction, uint32 attr_bytes);

/* Center values a center page holds. */
#define HNSW_CENTER_FIRST 32
#define HNSW_CENTER_PER_PAGE ((VDB_PAGE_END - HNSW_CENTER_FIRST) / (int) sizeof(float))

static inline BlockNumber
vdb_hnsw_extent_block(const HnswGeometry *g, uint32 extent)
{
	return 1 + g->center_pages + (BlockNumber) extent * g->extent_pages;
}

/* Where something lies: a block and an offset in it. */
typedef struct HnswAddress
{
	uint32		extent;
	BlockNumber block;
	uint32		slot;			/* on its page */
	uint32		offset;
} HnswAddress;

/*
 * nid / extent_slots, for a search does little else as often.  With d the
 * divisor, the inverse is (2^64 - 1 - r) / d where r < d.  Its product with
 * nid + 1, divided by 2^64, is smaller than (nid + 1) / d, by less than
 * (nid + 1) / 2^64, which is less than 1 / d: so rounded down it is the quotient.
 * The product is made of halves, neither of which overflows.
 */
static inline uint32
vdb_hnsw_extent_of(const HnswGeometry *g, uint32 nid)
{
	uint64		n = (uint64) nid + 1;

	return (uint32) (((g->extent_inverse >> 32) * n + ((uint32) g->extent_inverse * n >> 32)) >> 32);
}

static inline HnswAddress
vdb_hnsw_hot_address(const HnswGeometry *g, uint32 nid)
{
	HnswAddress a;

	a.extent = vdb_hnsw_extent_of(g, nid);
	a.slot = nid - a.extent * g->extent_slots;
	a.block = vdb_hnsw_extent_block(g, a.extent);
	a.offset = g->hot_first + a.slot * g->hot_stride;
	return a;
}

static inline HnswAddress
vdb_hnsw_node_address(const HnswGeometry *g, uint32 nid)
{
	HnswAddress a;
	uint32		s;

	a.extent = vdb_hnsw_extent_of(g, nid);
	s = nid - a.extent * g->extent_slots;
	a.slot = s % g->nodes_per_page;
	a.block = vdb_hnsw_extent_block(g, a.extent) + 1 + s / g->nodes_per_page;
	a.offset = HNSW_NODE_FIRST + a.slot * g->node_stride;
	return a;
}

static inline HnswAddress
vdb_hnsw_upper_address(const HnswGeometry *g, uint32 ref)
{
	HnswAddress a;
	uint32		s = ref % g->upper_slots;

	a.extent = ref / g->upper_slots;
	a.slot = s % g->uppers_per_page;
	a.block = vdb_hnsw_extent_block(g, a.extent) + s / g->uppers_per_page;
	a.offset = HNSW_UPPER_FIRST + a.slot * g->upper_stride;
	return a;
}

static inline HnswMeta *
vdb_hnsw_page_meta(Page page)
{
	return (HnswMeta *) PageGetContents(page);
}

static inline HnswHot *
vdb_hnsw_page_hot(Page page, HnswAddress a)
{
	return (HnswHot *) ((char *) page + a.offset);
}

/* The attributes of a node; a: of its hot slot. */
static inline uint32
vdb_hnsw_attributes_offset(const HnswGeometry *g, HnswAddress a)
{
	return HNSW_HOT_FIRST + a.slot * g->attr_bytes;
}

static inline uint8 *
vdb_hnsw_page_attributes(const HnswGeometry *g, Page page, HnswAddress a)
{
	return (uint8 *) page + vdb_hnsw_attributes_offset(g, a);
}

static inline HnswNode *
vdb_hnsw_page_node(Page page, HnswAddress a)
{
	return (HnswNode *) ((char *) page + a.offset);
}

/* Is a slot that of a node? */
static inline bool
vdb_hnsw_is_node(const HnswNode *node)
{
	return node->state == HNSW_LIVE || node->state == HNSW_DEAD;
}

/* Has the row of a live node gone, so that it stands for others alone? */
static inline bool
vdb_hnsw_is_vacated(const HnswNode *node)
{
	return !ItemPointerIsValid(&node->tid);
}

static inline HnswPostings *
vdb_hnsw_page_postings(Page page, HnswAddress a)
{
	return (HnswPostings *) ((char *) page + a.offset);
}

static inline HnswUpper *
vdb_hnsw_page_upper(Page page, HnswAddress a)
{
	return (HnswUpper *) ((char *) page + a.offset);
}

static inline uint8 *
vdb_hnsw_hot_code(HnswHot *hot)
{
	return (uint8 *) (hot + 1);
}

static inline uint32 *
vdb_hnsw_node_nbr(HnswNode *node)
{
	return (uint32 *) (node + 1);
}

static inline HnswLengths *
vdb_hnsw_node_lengths(const HnswGeometry *g, HnswNode *node)
{
	return (HnswLengths *) (vdb_hnsw_node_nbr(node) + 2 * g->m);
}

static inline uint8 *
vdb_hnsw_node_hi(const HnswGeometry *g, HnswNode *node)
{
	return (uint8 *) vdb_hnsw_node_lengths(g, node) + vdb_hnsw_lengths_bytes(2 * g->m);
}

static inline uint8 *
vdb_hnsw_node_lo(const HnswGeometry *g, HnswNode *node)
{
	return vdb_hnsw_node_hi(g, node) + g->hi_bytes;
}

/* Rows that one slot of postings holds at most. */
static inline uint32
vdb_hnsw_postings_room(const HnswGeometry *g)
{
	return (g->node_stride - sizeof(HnswPostings)) / sizeof(ItemPointerData);
}

static inline ItemPointerData *
vdb_hnsw_postings_tids(HnswPostings *postings)
{
	return (ItemPointerData *) (postings + 1);
}

/* Makes a hot slot one of postings. */
static inline void
vdb_hnsw_mark_postings(HnswHot *hot)
{
	uint32		mark = HNSW_HOT_POSTINGS;

	memcpy(&hot->add, &mark, sizeof(mark));
	memcpy(&hot->rescale, &mark, sizeof(mark));
}

/* Is a hot slot one of a node: neither free nor of postings? */
static inline bool
vdb_hnsw_hot_is_node(const HnswHot *hot)
{
	uint32		add;

	memcpy(&add, &hot->add, sizeof(add));
	return hot->generation % 2 == 0 && add != HNSW_HOT_POSTINGS;
}

static inline HnswUpperEdge *
vdb_hnsw_upper_nbr(HnswUpper *upper)
{
	return (HnswUpperEdge *) (upper + 1);
}

#endif							/* VDB_HNSW_H */
