/*
 * ivf.h
 *	  The bytes of an inverted file on disk, and how the number of a group becomes an
 *	  address.
 *
 * The fork is: block 0 the metapage, then the center pages, then those of a codebook and its
 * rotation, if rows are coded by one, then extents of equal size.  An extent belongs to one of two
 * shelves, that of rows or that of lists.  It has scan pages, with groups of 32 lanes, and
 * behind them record pages, with a record for each lane at a computed place.  A lane of
 * the shelf of lists is a list: its code and its record are those of its centroid.  See
 * README.md for the invariants and docs/on-disk-format.md for offsets.
 */
#ifndef VDB_IVF_H
#define VDB_IVF_H

#include "quant/scan.h"
#include "storage/itemptr.h"
#include "storage/storage_page.h"

#define IVF_MAGIC 0x00465649	/* "IVF", little-endian */
#define IVF_VERSION 2

#define IVF_META_BLOCK 0
#define IVF_NO_EXTENT PG_UINT32_MAX
#define IVF_NO_GROUP PG_UINT32_MAX

#define IVF_LANES VDB_SCAN_LANES

/* Whose groups the lists' own are, and those that no list has. */
#define IVF_ROOT PG_UINT32_MAX
#define IVF_NO_LIST (PG_UINT32_MAX - 1)

typedef enum IvfShelfKind
{
	IVF_ROWS,
	IVF_LISTS
} IvfShelfKind;

#define IVF_SHELVES 2

/*
 * What was measured of an index: recall among the first rows of a scan, for numbers of lists
 * that it looks at, from one list to all (vdb_ivf_level_probes).
 */
#define IVF_CALIBRATED_LEVELS 20
#define IVF_CALIBRATED_ROWS 2

typedef struct IvfCalibration
{
	uint32		lists;			/* there were when it was measured */
	uint16		queries;		/* it was measured with; 0: it was not */
	uint16		rows;			/* bfloat16: so many there were then; 0: that is not known */

	/* among the first 10 rows and the first 100, of 65535 */
	uint16		recall[IVF_CALIBRATED_ROWS][IVF_CALIBRATED_LEVELS];

	/* rows refined for each that is returned, likewise */
	uint8		factor[IVF_CALIBRATED_ROWS][IVF_CALIBRATED_LEVELS];
} IvfCalibration;

StaticAssertDecl(sizeof(IvfCalibration) == 128, "IvfCalibration is 128 bytes on disk");

/* The metapage's content, right after the page header. */
typedef struct IvfMeta
{
	uint32		magic;
	uint16		version;
	uint16		metric;			/* VdbMetric */
	uint64		incarnation;	/* random; another build, another number */
	uint64		rotation_seed;
	uint32		dims;

	/* how rows are coded */
	uint16		scan_bits;		/* of a dimension of a scan code on a grid, as lists have */
	uint16		refine_bits;	/* of a dimension of a record; 0: rows have none */
	uint32		scan_dims;		/* that such a code has */
	uint16		attr_bytes;		/* of a row's attributes */

	/* geometry: what IvfGeometry must come out as, checked on open */
	uint16		extent_pages;
	uint32		center_pages;
	uint32		extent_groups[IVF_SHELVES];

	/* what changes */
	uint32		extents;		/* that exist; others do not, whatever the length of
								 * the fork */
	uint32		open_extent[IVF_SHELVES];	/* that takes new groups, or IVF_NO_EXTENT */
	uint32		root;			/* the first group of lists */
	uint32		lists;			/* how many are in force */

	/* lists that change, see README.md */
	uint32		epoch;			/* says which lists are in force */
	uint32		free_group;		/* of no list, which leads to the next; or IVF_NO_GROUP */
	uint64		trained_rows;	/* that all lists were made of, and that are left */
	uint64		counted_rows;	/* the table had when rows were last counted, list by list */
	uint64		removed_rows;	/* since then, by VACUUM */
	IvfCalibration calibration;
	uint64		lists_rows;		/* lists had when they were last counted; 0: it is not known */
	uint8		reserved[16];	/* 0 */

	/* the scan codes of rows */
	uint32		scan_kind;		/* VdbScanKind */
	uint32		scan_parts;		/* of a product */
	uint32		codebook_pages;

	uint8		spill;			/* 1: rows are in two lists, and a payload says which of both it is */
	uint8		rotated;		/* 1: the codebook has a rotation, behind centroids */
	uint8		padding[2];		/* 0 */
	float		anisotropic;	/* see vdb_scan_set_anisotropic; 0: off */
	uint8		reserved_too[204];	/* 0 */
} IvfMeta;

StaticAssertDecl(offsetof(IvfMeta, calibration) == 104, "what is at offset 104 stays there");
StaticAssertDecl(sizeof(IvfMeta) == 480, "IvfMeta is 480 bytes on disk");
StaticAssertDecl(offsetof(IvfMeta, scan_kind) == 256, "IvfMeta has no gaps");

/*
 * What a group begins with.  Followed by float add[32], float scale[32] (VdbScanFactors;
 * a lane that is free has an infinite add), the codes of 32 lanes as the scan_below kernel
 * reads them, and their payloads, which are read of few.
 */
typedef struct IvfGroup
{
	uint32		list;			/* whose rows these are, IVF_ROOT or IVF_NO_LIST */
	uint32		next;			/* group of the same list, or IVF_NO_GROUP */
	uint32		used;			/* lane l is taken: bit l */
	uint32		roomy;			/* link to the next group of the list that has room,
								 * IVF_LAST_LINK, or IVF_NO_LINK: this is none */
} IvfGroup;

StaticAssertDecl(sizeof(IvfGroup) == 16, "IvfGroup is 16 bytes on disk");

/* What the last byte of a row's payload says where rows are in two lists. */
#define IVF_FIRST_LANE 0
#define IVF_SECOND_LANE 1

/* The payload of a row is its ItemPointerData, its attributes, and that; the one of a list: */
typedef struct IvfList
{
	uint32		head;			/* its first group, or IVF_NO_GROUP: where a row is put */
	uint32		rows;			/* lanes of rows when it was made */
	uint32		roomy;			/* link to a group that has room: of a build's, or by VACUUM */
	uint32		born;			/* the first epoch in which it is in force, */
	uint32		died;			/* and the first in which it no longer is, or IVF_NEVER */
} IvfList;

StaticAssertDecl(sizeof(IvfList) == 20, "IvfList is 20 bytes on disk");

#define IVF_NEVER PG_UINT32_MAX

/* The epoch of an index that was just built. */
#define IVF_FIRST_EPOCH 1

static inline bool
vdb_ivf_in_force(const IvfList *list, uint32 epoch)
{
	return list->born <= epoch && epoch < list->died;
}

/* A link to a group of rows: its number + 1, or one of these. */
#define IVF_NO_LINK 0
#define IVF_LAST_LINK PG_UINT32_MAX

/*
 * A record: the fuller code of a lane's vector, refine_bits a dimension of a row's
 * residual, IVF_CENTROID_BITS or fewer of a centroid.  Codes of 12 bits are node codes,
 * hi plane first, others are hot codes.
 */
typedef struct IvfRecord
{
	float		add;			/* of the vector that the code stands for, like
								 * VdbNodeFactors.add */
	float		scale;			/* VdbNodeFactors.scale, or VdbHotFactors.rescale */
	uint16		residual;		/* bfloat16: how far that is from the row's */
	uint16		length;			/* bfloat16: how far that is from the centroid */
} IvfRecord;

StaticAssertDecl(sizeof(IvfRecord) == 12, "IvfRecord is 12 bytes on disk");

/* Where groups and records start on their pages. */
#define IVF_PAGE_FIRST 64

/* The constants of a shelf from which addresses are computed. */
typedef struct IvfShelf
{
	uint16		scan_kind;		/* VdbPageKind */
	uint16		record_kind;
	uint32		code_bytes;		/* of a scan code */
	uint32		payload_bytes;	/* of a lane */
	uint32		record_bits;	/* a dimension; 0: no records */
	uint32		group_stride;
	uint32		page_groups;	/* groups of a scan page */
	uint32		record_stride;
	uint32		page_records;
	uint32		scan_pages;		/* of an extent; the rest are record pages */
	uint32		extent_groups;
} IvfShelf;

typedef struct IvfGeometry
{
	IvfShelf	shelves[IVF_SHELVES];
	uint32		extent_pages;
	uint32		center_pages;
	uint32		center_values;	/* floats of the center */
	uint32		codebook_pages;
	uint32		codebook_values;	/* floats of the codebook, and of its rotation */
	uint32		max_extents;	/* keeps numbers of groups and lanes in 32 bits */
} IvfGeometry;

/* How rows are coded: what a build chooses, and the rest follows from. */
typedef struct IvfCoding
{
	uint32		scan_dims;		/* on a grid: of lists, and of rows where they have that kind */
	uint32		scan_bits;
	VdbScanKind scan_kind;		/* of rows */
	uint32		scan_parts;		/* of a product */
	bool		rotated;		/* products are of vectors after a rotation that was learned */
	float		anisotropic;	/* products are chosen by a loss of this threshold; 0: they are not */
	uint32		refine_bits;
	uint32		attr_bytes;
	bool		spill;			/* rows are in two lists */
} IvfCoding;

/* Bits of a dimension of a centroid's record: this, or 4 where it would not fit a page. */
#define IVF_CENTROID_BITS 8

/*
 * Computes the geometry; false when a group or a record does not fit a page.
 */
extern bool vdb_ivf_geometry(IvfGeometry *geometry, const VdbCodec *codec, const IvfCoding *coding);

/* The most bytes that a scan code may have, beside what else is in a payload. */
extern uint32 vdb_ivf_max_code_bytes(const IvfCoding *coding);

/* Bytes of a record's code. */
extern uint32 vdb_ivf_record_code_bytes(const VdbCodec *codec, uint32 bits);

/* Floats that a page of the center or the codebook holds. */
#define IVF_FLOATS_FIRST 32
#define IVF_FLOATS_PER_PAGE ((VDB_PAGE_END - IVF_FLOATS_FIRST) / (int) sizeof(float))

static inline BlockNumber
vdb_ivf_extent_block(const IvfGeometry *g, uint32 extent)
{
	return 1 + g->center_pages + g->codebook_pages + (BlockNumber) extent * g->extent_pages;
}

/* Where something lies: a block and an offset in it. */
typedef struct IvfAddress
{
	uint32		extent;
	BlockNumber block;
	uint32		slot;			/* on its page */
	uint32		offset;
} IvfAddress;

static inline IvfAddress
vdb_ivf_group_address(const IvfGeometry *g, const IvfShelf *shelf, uint32 group)
{
	IvfAddress	a;
	uint32		at;

	a.extent = group / shelf->extent_groups;
	at = group % shelf->extent_groups;
	a.block = vdb_ivf_extent_block(g, a.extent) + at / shelf->page_groups;
	a.slot = at % shelf->page_groups;
	a.offset = IVF_PAGE_FIRST + a.slot * shelf->group_stride;
	return a;
}

static inline IvfAddress
vdb_ivf_record_address(const IvfGeometry *g, const IvfShelf *shelf, uint32 group, uint32 lane)
{
	IvfAddress	a;
	uint32		at = group % shelf->extent_groups * IVF_LANES + lane;

	a.extent = group / shelf->extent_groups;
	a.block = vdb_ivf_extent_block(g, a.extent) + shelf->scan_pages + at / shelf->page_records;
	a.slot = at % shelf->page_records;
	a.offset = IVF_PAGE_FIRST + a.slot * shelf->record_stride;
	return a;
}

static inline IvfMeta *
vdb_ivf_page_meta(Page page)
{
	return (IvfMeta *) PageGetContents(page);
}

static inline IvfGroup *
vdb_ivf_page_group(Page page, IvfAddress a)
{
	return (IvfGroup *) ((char *) page + a.offset);
}

static inline IvfRecord *
vdb_ivf_page_record(Page page, IvfAddress a)
{
	return (IvfRecord *) ((char *) page + a.offset);
}

/* The parts of a group. */
static inline float *
vdb_ivf_group_add(IvfGroup *group)
{
	return (float *) (group + 1);
}

static inline float *
vdb_ivf_group_scale(IvfGroup *group)
{
	return vdb_ivf_group_add(group) + IVF_LANES;
}

static inline uint8 *
vdb_ivf_group_codes(IvfGroup *group)
{
	return (uint8 *) (vdb_ivf_group_scale(group) + IVF_LANES);
}

static inline uint8 *
vdb_ivf_group_payload(const IvfShelf *shelf, IvfGroup *group, uint32 lane)
{
	return vdb_ivf_group_codes(group) + IVF_LANES * shelf->code_bytes + lane * shelf->payload_bytes;
}

static inline uint8 *
vdb_ivf_record_code(IvfRecord *record)
{
	return (uint8 *) (record + 1);
}

/* Number of a lane among all of its shelf, which is that of a list. */
static inline uint32
vdb_ivf_lane_number(uint32 group, uint32 lane)
{
	return group * IVF_LANES + lane;
}

#endif							/* VDB_IVF_H */
