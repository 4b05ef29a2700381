/*
 * storage_patch.c
 *	  Changes of known bytes, as generic WAL records written by hand.
 *
 * What generic_redo() reads of a page is a chunk of fragments: offset, length,
 * bytes.  It copies them to the page and clears what lies between pd_lower and
 * pd_upper.  Here the same chunk is made of what the caller writes, and applied
 * to the page as replay will apply it.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/storage_page.h"
#include "storage/storage_patch.h"
#include "utils/rel.h"

#include "compat.h"

/* Offset and length of a fragment, each an OffsetNumber in the server's code. */
typedef struct Fragment
{
	uint16		offset;
	uint16		length;
} Fragment;

StaticAssertDecl(sizeof(Fragment) == 2 * sizeof(OffsetNumber), "fragments start as the server's");
StaticAssertDecl(BLCKSZ <= PG_UINT16_MAX, "offsets fit a fragment");

void
vdb_patch_begin(VdbPatch *patch, Relation index)
{
	patch->index = index;
	patch->count = 0;
}

/* The entry of a page, made when there is none. */
static VdbPatchPage *
find_page(VdbPatch *patch, Buffer buffer)
{
	VdbPatchPage *entry;
	PageHeader	header = (PageHeader) BufferGetPage(buffer);

	for (int i = 0; i < patch->count; i++)
	{
		if (patch->pages[i].buffer == buffer)
			return &patch->pages[i];
	}
	if (patch->count == VDB_PATCH_PAGES)
		elog(ERROR, "too many pages in one patch");

	/* what lies between is cleared, here and in replay */
	if (header->pd_upper != VDB_PAGE_END || header->pd_lower > header->pd_upper ||
		header->pd_lower < SizeOfPageHeaderData)
		vdb_page_corrupted(patch->index, BufferGetBlockNumber(buffer),
						   "The page's header is damaged.");
	entry = &patch->pages[patch->count++];
	entry->buffer = buffer;
	entry->lower = header->pd_lower;
	initStringInfo(&entry->delta);
	return entry;
}

static void
append_fragment(StringInfo delta, int offset, const char *bytes, int length)
{
	Fragment	fragment = {offset, length};

	appendBinaryStringInfo(delta, (const char *) &fragment, sizeof(fragment));
	appendBinaryStringInfo(delta, bytes, length);
}

/* The byte of a page as all copies of it have it: what is past pd_lower is 0. */
static inline char
byte_now(Page page, int offset)
{
	bool		hole = offset >= ((PageHeader) page)->pd_lower && offset < VDB_PAGE_END;

	return hole ? 0 : page[offset];
}

void
vdb_patch_write(VdbPatch *patch, Buffer buffer, int offset, const void *bytes, int length)
{
	VdbPatchPage *entry = find_page(patch, buffer);
	Page		page = BufferGetPage(buffer);
	const char *to = bytes;
	int			at = 0;

	if (offset < (int) SizeOfPageHeaderData || offset + length > BLCKSZ ||
		(offset < VDB_PAGE_END && offset + length > VDB_PAGE_END))
		elog(ERROR, "a patch leaves its part of the page");

	/* slots are taken in order: a gap would be cleared, and with it what is there */
	if (offset < VDB_PAGE_END && offset > entry->lower)
		vdb_page_corrupted(patch->index, BufferGetBlockNumber(buffer),
						   "Its header says that less is written than there is.");

	/*
	 * Only what differs is logged.  Equal bytes between are logged as well
	 * where they are no more than the start of another fragment.
	 */
	while (at < length)
	{
		int			end = at + 1;

		if (to[at] != byte_now(page, offset + at))
		{
			for (int i = end; i < length && i - end <= (int) sizeof(Fragment); i++)
			{
				if (to[i] != byte_now(page, offset + i))
					end = i + 1;
			}
			append_fragment(&entry->delta, offset + at, to + at, end - at);
		}
		at = end;
	}
	if (offset < VDB_PAGE_END)
		entry->lower = Max(entry->lower, offset + length);
}

void
vdb_patch_cover(VdbPatch *patch, Buffer buffer, int end)
{
	VdbPatchPage *entry = find_page(patch, buffer);

	if (end > VDB_PAGE_END)
		elog(ERROR, "a patch leaves its part of the page");
	entry->lower = Max(entry->lower, end);
}

/* Has pd_lower move to where the writes end, if it is not there. */
static void
append_lower(VdbPatchPage *entry)
{
	LocationIndex lower = entry->lower;

	if (lower != ((PageHeader) BufferGetPage(entry->buffer))->pd_lower)
		append_fragment(&entry->delta, offsetof(PageHeaderData, pd_lower), (char *) &lower,
						sizeof(lower));
}

/* Does to a page what replay will do with its chunk. */
static void
apply_delta(Page page, const VdbPatchPage *entry)
{
	const char *at = entry->delta.data;
	const char *end = at + entry->delta.len;
	int			lower = ((PageHeader) page)->pd_lower;

	memset(page + lower, 0, entry->lower - lower);
	while (at < end)
	{
		Fragment	fragment;

		memcpy(&fragment, at, sizeof(fragment));
		at += sizeof(fragment);
		memcpy(page + fragment.offset, at, fragment.length);
		at += fragment.length;
	}
}

#ifdef VDB_GENERIC_REDO_IS_KNOWN
/* Changes the pages and logs the chunks. */
static void
write_record(VdbPatch *patch)
{
	bool		logged = RelationNeedsWAL(patch->index);
	XLogRecPtr	lsn;

	if (logged)
		XLogBeginInsert();
	START_CRIT_SECTION();
	for (int i = 0; i < patch->count; i++)
	{
		VdbPatchPage *entry = &patch->pages[i];

		apply_delta(BufferGetPage(entry->buffer), entry);
		MarkBufferDirty(entry->buffer);
		if (logged)
		{
			XLogRegisterBuffer(i, entry->buffer, REGBUF_STANDARD);
			XLogRegisterBufData(i, entry->delta.data, entry->delta.len);
		}
	}
	if (logged)
	{
		lsn = XLogInsert(RM_GENERIC_ID, 0);
		for (int i = 0; i < patch->count; i++)
			PageSetLSN(BufferGetPage(patch->pages[i].buffer), lsn);
	}
	END_CRIT_SECTION();
}
#else
/* Leaves it to the server, whose format may be another by now. */
static void
write_record(VdbPatch *patch)
{
	GenericXLogState *state = GenericXLogStart(patch->index);

	for (int i = 0; i < patch->count; i++)
		apply_delta(GenericXLogRegisterBuffer(state, patch->pages[i].buffer, 0), &patch->pages[i]);
	GenericXLogFinish(state);
}
#endif

void
vdb_patch_finish(VdbPatch *patch)
{
	if (patch->count == 0)
		return;
	for (int i = 0; i < patch->count; i++)
		append_lower(&patch->pages[i]);
	write_record(patch);
	for (int i = 0; i < patch->count; i++)
		pfree(patch->pages[i].delta.data);
	patch->count = 0;
}
