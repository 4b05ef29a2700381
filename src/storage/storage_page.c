/*
 * storage_page.c
 *	  Formatting pages and refusing those that are not what they should be.
 */
#include "postgres.h"

#include "storage/storage_page.h"
#include "utils/rel.h"

void
vdb_page_init(Page page, VdbPageKind kind, uint32 extent, int content)
{
	VdbPageSpecial *special;

	PageInit(page, BLCKSZ, sizeof(VdbPageSpecial));
	((PageHeader) page)->pd_lower = content;
	special = vdb_page_special(page);
	memset(special, 0, sizeof(*special));
	special->extent = extent;
	special->kind = kind;
	special->page_id = VDB_PAGE_ID;
}

void
vdb_page_corrupted(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" is corrupted at block %u",
					RelationGetRelationName(index), block),
			 errdetail("%s", what),
			 errhint("Please REINDEX it.")));
}

void
vdb_page_check(Relation index, BlockNumber block, Page page, VdbPageKind kind, uint32 extent)
{
	VdbPageSpecial *special = vdb_page_special(page);

	if (PageIsNew(page) || PageGetSpecialSize(page) != sizeof(VdbPageSpecial) ||
		special->page_id != VDB_PAGE_ID)
		vdb_page_corrupted(index, block, "The page was not written by this access method.");
	if (special->kind != kind)
		vdb_page_corrupted(index, block, psprintf("The page is of kind %u where kind %u is expected.",
												  special->kind, kind));
	if (special->extent != extent)
		vdb_page_corrupted(index, block, psprintf("The page belongs to extent %u, not to extent %u.",
												  special->extent, extent));
}
