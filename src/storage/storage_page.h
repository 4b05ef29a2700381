/*
 * storage_page.h
 *	  What every page of a vdb index has in common.
 */
#ifndef VDB_STORAGE_PAGE_H
#define VDB_STORAGE_PAGE_H

#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/relcache.h"

/* Page kinds. Numbers are on disk: never reuse one. */
typedef enum VdbPageKind
{
	VDB_PAGE_META = 1,
	VDB_PAGE_CENTER = 2,
	VDB_PAGE_HNSW_HOT = 3,
	VDB_PAGE_HNSW_NODE = 4,
	VDB_PAGE_HNSW_UPPER = 5,
	VDB_PAGE_IVF_ROWS = 6,
	VDB_PAGE_IVF_ROW_RECORDS = 7,
	VDB_PAGE_IVF_LISTS = 8,
	VDB_PAGE_IVF_LIST_RECORDS = 9,
	VDB_PAGE_IVF_CODEBOOK = 10
} VdbPageKind;

/* The special area of every page. */
typedef struct VdbPageSpecial
{
	uint32		extent;			/* number of the extent the page belongs to */
	uint16		kind;			/* VdbPageKind */
	uint16		used;			/* slots ever used on the page */
	uint16		free;			/* of these, slots that may be used again */
	uint16		flags;			/* 0 */
	uint16		reserved;		/* 0 */
	uint16		page_id;		/* VDB_PAGE_ID, for tools that look at pages */
} VdbPageSpecial;

#define VDB_PAGE_ID 0x5DB1

StaticAssertDecl(sizeof(VdbPageSpecial) == 16, "VdbPageSpecial is 16 bytes on disk");

/* Where the special area starts, and so where slots end at the latest. */
#define VDB_PAGE_END (BLCKSZ - (int) sizeof(VdbPageSpecial))

static inline VdbPageSpecial *
vdb_page_special(Page page)
{
	return (VdbPageSpecial *) ((char *) page + VDB_PAGE_END);
}

/*
 * Formats a page.  `content` is the offset just past the bytes that hold data:
 * it becomes pd_lower, and WAL leaves out what lies past it.
 */
extern void vdb_page_init(Page page, VdbPageKind kind, uint32 extent, int content);

/*
 * Says that bytes up to the offset `end` now hold data.  Call it in the change
 * that puts them there: replay clears what lies past pd_lower.
 */
static inline void
vdb_page_cover(Page page, int end)
{
	PageHeader	header = (PageHeader) page;

	if (header->pd_lower < end)
		header->pd_lower = end;
}

/*
 * Raises ERRCODE_INDEX_CORRUPTED unless the page is one of ours, of this kind
 * and extent.  The caller holds a pin.
 */
extern void vdb_page_check(Relation index, BlockNumber block, Page page, VdbPageKind kind,
						   uint32 extent);

/* Raises ERRCODE_INDEX_CORRUPTED with the index's name and block. */
extern void vdb_page_corrupted(Relation index, BlockNumber block, const char *what)
			__attribute__((noreturn));

#endif							/* VDB_STORAGE_PAGE_H */
