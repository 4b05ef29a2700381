/*
 * exec_bitmap.c
 *	  Pages that a bitmap scan will come to, on their way into the CPU's cache.
 *
 * A bitmap scan of few rows of many goes from page to page, and waits for memory at each: for where its
 * buffer is, for its header, its line pointers, its row.  Where it will go is in the bitmap.  A second iterator
 * runs ahead of it, and asks for all of that before it is needed; half as far ahead for rows, since the line
 * pointers that say where they are must have come by then.
 *
 * No page is pinned or locked here, and what is read of one may be torn, or another page's: it is good
 * for no more than to be asked for.  Where several pages in turn are in no buffer it ends: reading is the server's affair, which waits
 * for much longer.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#include "exec/exec_bitmap.h"
#include "storage/storage_hints.h"

/* Of a row so many bytes are asked for: what follows, the CPU does by itself. */
#define MOST_BYTES 1024

/* Pages in turn that are in no buffer. */
#define MOST_MISSING 4

void
vdb_bitmap_ahead_begin(VdbBitmapAhead *ahead, PlanState *node)
{
	memset(ahead, 0, offsetof(VdbBitmapAhead, pages));
	ahead->current = InvalidBlockNumber;
	if (IsA(node, BitmapHeapScanState))
	{
		BitmapHeapScanState *scan = (BitmapHeapScanState *) node;
		Relation	rel = scan->ss.ss_currentRelation;

		if (scan->pstate == NULL && get_tablespace_io_concurrency(rel->rd_rel->reltablespace) > 0 &&
			rel->rd_tableam == GetHeapamTableAmRoutine() && !RelationUsesLocalBuffers(rel))
			ahead->scan = scan;
	}
}

void
vdb_bitmap_ahead_end(VdbBitmapAhead *ahead)
{
	if (ahead->iterator != NULL)
		vdb_bitmap_end(ahead->iterator);
	ahead->iterator = NULL;
	ahead->scan = NULL;
}

/* Asks for where a page says what it has. */
static void
ask_for_page(VdbBitmapAhead *ahead, VdbBitmapPage *page)
{
	PrefetchBufferResult result = PrefetchBuffer(ahead->scan->ss.ss_currentRelation, MAIN_FORKNUM, page->block);
	const char *start;

	page->buffer = result.recent_buffer;
	if (!BufferIsValid(page->buffer))
	{
		ahead->ended = ++ahead->missing == MOST_MISSING;
		return;
	}
	ahead->missing = 0;
	__builtin_prefetch(GetBufferDescriptor(page->buffer - 1));
	start = BufferGetPage(page->buffer);
	__builtin_prefetch(start);
	for (int i = 0; i < page->count; i++)
		__builtin_prefetch(start + SizeOfPageHeaderData + page->rows[i] * sizeof(ItemIdData));
}

/* Asks for the rows of a page whose line pointers should have come. */
static void
ask_for_rows(const VdbBitmapPage *page)
{
	const char *start;

	if (!BufferIsValid(page->buffer))
		return;
	start = BufferGetPage(page->buffer);
	for (int i = 0; i < page->count; i++)
	{
		ItemIdData	item;
		uint32		bytes;

		if (page->rows[i] == InvalidOffsetNumber || page->rows[i] > MaxHeapTuplesPerPage)
			continue;
		item = *PageGetItemId((Page) start, page->rows[i]);
		if (!ItemIdIsNormal(&item) || ItemIdGetOffset(&item) >= BLCKSZ)
			continue;
		bytes = Min(Min(ItemIdGetLength(&item), MOST_BYTES), BLCKSZ - ItemIdGetOffset(&item));
		vdb_prefetch(start + ItemIdGetOffset(&item), bytes);
	}
}

/* The scan has come to another page. */
void
vdb_bitmap_ahead_move(VdbBitmapAhead *ahead, BlockNumber block)
{
	ahead->current = block;
	if (ahead->iterator == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(ahead->scan->ss.ps.state->es_query_cxt);

		ahead->iterator = vdb_bitmap_begin(ahead->scan->tbm);
		MemoryContextSwitchTo(old);
	}

	/* pages come in their order, whether rows are returned of them or not */
	while (ahead->passed < ahead->found && ahead->pages[ahead->passed % VDB_BITMAP_PAGES].block <= block)
		ahead->passed++;
	ahead->opened = Max(ahead->opened, ahead->passed);
	while (!ahead->ended && ahead->found < ahead->passed + VDB_BITMAP_PAGES)
	{
		VdbBitmapPage *page = &ahead->pages[ahead->found % VDB_BITMAP_PAGES];

		if (!vdb_bitmap_next(ahead->iterator, &page->block, page->rows, VDB_BITMAP_ROWS, &page->count))
			ahead->ended = true;
		else if (page->block > block)
		{
			ask_for_page(ahead, page);
			ahead->found++;
		}
	}
	for (; ahead->opened < Min(ahead->found, ahead->passed + VDB_BITMAP_PAGES / 2); ahead->opened++)
		ask_for_rows(&ahead->pages[ahead->opened % VDB_BITMAP_PAGES]);
}
