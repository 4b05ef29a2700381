/*
 * hnsw_check_heap.c
 *	  vdb.check_index(): an index against its table.
 *
 * Rows of live nodes, and those in postings, are sorted by identifier, then
 * compared with each other, and with what a snapshot sees of the table in the
 * order of its blocks.
 *
 * VACUUM may move a row from postings to its node meanwhile, so that we have come
 * to neither while it was there.  It does so once in a row's life: what we lack is
 * looked for once more, in all slots, and cannot be missed again.  That such a row
 * is there is all that is checked of it.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/genam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hnsw/hnsw_check.h"
#include "testpoint.h"

/* Rows that are looked for at a time. */
#define MOST_MISSING 65536

static int64
tid_key(const ItemPointerData *tid)
{
	return (int64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

/* The rows in a slot, *count of them, be that of a live node or of postings. */
static const ItemPointerData *
slot_rows(HnswCheck *check, HnswNode *node, uint32 *count)
{
	HnswPostings *postings = (HnswPostings *) node;

	if (node->state == HNSW_POSTINGS)
	{
		*count = Min((uint32) postings->rows, vdb_hnsw_postings_room(&check->index->geometry));
		return vdb_hnsw_postings_tids(postings);
	}
	*count = node->state == HNSW_LIVE ? 1 : 0;
	return &node->tid;
}

static bool
slot_has_row(HnswCheck *check, HnswNode *node, int64 tid)
{
	uint32		count;
	const ItemPointerData *rows = slot_rows(check, node, &count);

	for (uint32 i = 0; i < count; i++)
	{
		if (tid_key(&rows[i]) == tid)
			return true;
	}
	return false;
}

/* Is a row in a slot now?  *generation: the slot's. */
static bool
has_row(HnswCheck *check, uint32 nid, int64 tid, uint32 *generation)
{
	HnswAddress a = vdb_hnsw_node_address(&check->index->geometry, nid);
	Page		page = palloc(BLCKSZ);
	HnswNode   *node = vdb_hnsw_page_node(page, a);
	bool		has;

	vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_NODE, a.extent, page);
	*generation = node->generation;
	has = slot_has_row(check, node, tid);
	pfree(page);
	return has;
}

/* I5: a row is one of the table. */
static void
check_tid(HnswCheck *check, uint32 nid, BlockNumber block, const ItemPointerData *tid)
{
	uint32		generation;

	if (!ItemPointerIsValid(tid) ||
		(ItemPointerGetBlockNumberNoCheck(tid) >= RelationGetNumberOfBlocks(check->heap) &&
		 has_row(check, nid, tid_key(tid), &generation)))
		corrupted(check, block, psprintf("Slot %u is of row (%u,%u), which cannot exist.", nid,
										 ItemPointerGetBlockNumberNoCheck(tid),
										 ItemPointerGetOffsetNumberNoCheck(tid)));
}

void
vdb_hnsw_check_put_row(HnswCheck *check, uint32 nid, BlockNumber block, const ItemPointerData *tid)
{
	TupleTableSlot *slot = check->put_slot;

	check_tid(check, nid, block, tid);
	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum(tid_key(tid));
	slot->tts_values[1] = Int64GetDatum((int64) nid);
	slot->tts_isnull[0] = slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(check->sort, slot);
}

void
vdb_hnsw_check_begin_rows(HnswCheck *check)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	AttrNumber	attribute = 1;
	Oid			operator = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(desc, 1, "tid", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "nid", INT8OID, -1, 0);
	check->sort = tuplesort_begin_heap(desc, 1, &attribute, &operator, &collation, &nulls_first,
									   work_mem, NULL, TUPLESORT_NONE);
	check->put_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	check->get_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	check->heap_block = InvalidBlockNumber;
}

void
vdb_hnsw_check_end_rows(HnswCheck *check)
{
	ExecDropSingleTupleTableSlot(check->get_slot);
	ExecDropSingleTupleTableSlot(check->put_slot);
	tuplesort_end(check->sort);
}

/*
 * I12: a row is in one slot.  We saw it in two at two times; if it is in one
 * before and after we look at the other, it was in both at that moment.  (Unless
 * two VACUUMs removed it in between, and two inserts brought another one.)
 */
static void
check_twins(HnswCheck *check, const HnswNodeTid *a, const HnswNodeTid *b)
{
	uint32		before;
	uint32		after;
	uint32		other;

	/* of one slot both were read at once */
	if (a->nid == b->nid ||
		(has_row(check, a->nid, a->tid, &before) && has_row(check, b->nid, b->tid, &other) &&
		 has_row(check, a->nid, a->tid, &after) && before == after))
		corrupted(check, vdb_hnsw_node_address(&check->index->geometry, b->nid).block,
				  psprintf("Slots %u and %u are both of row (%u,%u).", a->nid, b->nid,
						   (uint32) (a->tid >> 16), (uint32) (a->tid & 0xFFFF)));
}

/* Takes the next row. */
static HnswNodeTid
take_tid(HnswCheck *check)
{
	HnswNodeTid taken = check->next;

	CHECK_FOR_INTERRUPTS();
	if (tuplesort_gettupleslot(check->sort, true, false, check->get_slot, NULL))
	{
		slot_getallattrs(check->get_slot);
		check->next.tid = DatumGetInt64(check->get_slot->tts_values[0]);
		check->next.nid = (uint32) DatumGetInt64(check->get_slot->tts_values[1]);
		if (check->next.tid == taken.tid)
			check_twins(check, &taken, &check->next);
	}
	else
		check->next.tid = -1;
	return taken;
}

/* Takes the rows up to a block of the heap, and keeps those of it. */
static void
load_heap_block(HnswCheck *check, BlockNumber block)
{
	if (block == check->heap_block)
		return;
	if (check->heap_block != InvalidBlockNumber && block < check->heap_block)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" cannot be compared with its index",
						RelationGetRelationName(check->heap)),
				 errdetail("Its access method does not scan it in the order of its blocks.")));
	check->heap_block = block;
	check->block_count = 0;
	while (check->next.tid >= 0 && check->next.tid >> 16 <= block)
	{
		HnswNodeTid taken = take_tid(check);

		if (taken.tid >> 16 != block)
			continue;
		if (check->block_count == check->block_size)
		{
			check->block_size = check->block_size * 2 + 256;
			check->block_nodes = check->block_nodes == NULL ?
				MemoryContextAlloc(MemoryContextGetParent(check->context), check->block_size * sizeof(HnswNodeTid)) :
				repalloc(check->block_nodes, check->block_size * sizeof(HnswNodeTid));
		}
		check->block_nodes[check->block_count++] = taken;
	}
}

/* How far a node's vector is from x, in the norm of the residual. */
static double
node_error(HnswCheck *check, uint32 nid, const void *x, HnswNode *node)
{
	const HnswGeometry *g = &check->index->geometry;
	const VdbCodec *codec = &check->index->codec;
	void	   *decoded = palloc(codec->vector_bytes);

	if (g->node_bits != 0)
		vdb_decode_node(codec, vdb_hnsw_node_factors(node), vdb_hnsw_node_hi(g, node),
						vdb_hnsw_node_lo(g, node), decoded);
	else
	{
		uint8	   *code = palloc(g->hot_bytes);
		VdbHotFactors f;

		/* the node cannot go, nor the code change, while its row is visible to us */
		(void) vdb_hnsw_read_whole(check->index, nid, node->generation, &f, code);
		vdb_decode_hot(codec, f, code, decoded);
	}
	return vdb_vector_error(codec, x, decoded);
}

static int
compare_missing(const void *a, const void *b)
{
	int64		x = ((const HnswMissing *) a)->tid;
	int64		y = ((const HnswMissing *) b)->tid;

	return x < y ? -1 : x > y;
}

/* Finds a row, if it is one of the missing. */
static void
find_missing(HnswCheck *check, const ItemPointerData *tid)
{
	HnswMissing key = {.tid = tid_key(tid)};
	HnswMissing *missing = bsearch(&key, check->missing, check->missing_count, sizeof(key), compare_missing);

	if (missing != NULL)
		missing->found = true;
}

/* Looks at all slots of an extent for the missing rows. */
static void
search_extent(HnswCheck *check, uint32 extent)
{
	const HnswGeometry *g = &check->index->geometry;
	Page		page = check->copies[0];
	BlockNumber copied = InvalidBlockNumber;

	for (uint32 nid = extent * g->extent_slots; nid < (extent + 1) * g->extent_slots; nid++)
	{
		HnswAddress a = vdb_hnsw_node_address(g, nid);
		const ItemPointerData *rows;
		uint32		count;

		if (a.block != copied)
			vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_NODE, extent, page);
		copied = a.block;
		rows = slot_rows(check, vdb_hnsw_page_node(page, a), &count);
		for (uint32 i = 0; i < count; i++)
			find_missing(check, &rows[i]);
	}
}

/* I13: the missing rows are somewhere. */
static void
search_missing(HnswCheck *check)
{
	if (check->missing_count == 0)
		return;
	qsort(check->missing, check->missing_count, sizeof(HnswMissing), compare_missing);
	for (uint32 extent = 0; extent < check->extents; extent++)
	{
		if (!hnsw_bits_has(&check->upper, extent))
			search_extent(check, extent);
	}
	for (uint32 i = 0; i < check->missing_count; i++)
	{
		int64		tid = check->missing[i].tid;

		if (!check->missing[i].found)
			ereport(ERROR,
					(errcode(ERRCODE_INDEX_CORRUPTED),
					 errmsg("index \"%s\" lacks row (%u,%u) of table \"%s\"",
							RelationGetRelationName(check->index->rel), (uint32) (tid >> 16),
							(uint32) (tid & 0xFFFF), RelationGetRelationName(check->heap)),
					 errhint("Please REINDEX it.")));
	}
	check->missing_count = 0;
}

static void
note_missing(HnswCheck *check, int64 tid)
{
	if (check->missing == NULL)
		check->missing = MemoryContextAlloc(MemoryContextGetParent(check->context),
											MOST_MISSING * sizeof(HnswMissing));
	check->missing[check->missing_count++] = (HnswMissing) {.tid = tid};
	if (check->missing_count == MOST_MISSING)
		search_missing(check);
}

/*
 * Copies the node of a visible row, and returns its number.  It cannot have gone
 * since: our snapshot still sees the row.  HNSW_NO_NODE if that has left its slot.
 */
static uint32
copy_row_node(HnswCheck *check, uint32 nid, int64 tid, HnswNode **node)
{
	const HnswGeometry *g = &check->index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Page		page = check->copies[0];

	vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_NODE, a.extent, page);
	*node = vdb_hnsw_page_node(page, a);
	if (!slot_has_row(check, *node, tid))
		return HNSW_NO_NODE;
	if ((*node)->state == HNSW_POSTINGS)
	{
		HnswPostings postings = *vdb_hnsw_page_postings(page, a);

		nid = postings.owner;
		if (!vdb_hnsw_check_number(check, nid))
			corrupted(check, a.block, psprintf("Postings are of node %u, which cannot exist.", nid));
		a = vdb_hnsw_node_address(g, nid);
		vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_NODE, a.extent, page);
		*node = vdb_hnsw_page_node(page, a);
		if ((*node)->state != HNSW_LIVE || (*node)->generation != postings.owner_generation)
			corrupted(check, a.block, psprintf("Node %u of visible row (%u,%u) has gone.", nid,
											   (uint32) (tid >> 16), (uint32) (tid & 0xFFFF)));
	}
	return nid;
}

/*
 * A visible row has a live node, whose code stands for its vector.  I17: and whose
 * hash is that of its value, if the index has hashes.
 */
static void
check_row_node(HnswCheck *check, uint32 nid, HnswNode *node, int64 tid, Datum value, const void *x,
			   float norm)
{
	BlockNumber block = vdb_hnsw_node_address(&check->index->geometry, nid).block;
	uint32		hash = vdb_hnsw_hash_value(check->index, x, PointerGetDatum(PG_DETOAST_DATUM_PACKED(value)));

	if (node->hash != 0 && node->hash != hash)
		corrupted(check, block, psprintf("Node %u is of another value than its row (%u,%u).", nid,
										 (uint32) (tid >> 16), (uint32) (tid & 0xFFFF)));
	if (check->index->geometry.node_bits != 0 || vdb_codec_hot_is_whole(&check->index->codec))
	{
		double		error = node_error(check, nid, x, node);
		double		allowed = 1.001 * (double) vdb_bfloat_load(node->residual) + 1e-5 * (double) norm + FLT_MIN;

		if (error > allowed && isfinite(error))
			corrupted(check, block, psprintf("Node %u is %g away from its row (%u,%u), more than %g.",
											 nid, error, (uint32) (tid >> 16),
											 (uint32) (tid & 0xFFFF), allowed));
	}
}

/* I14, second half: a visible row's attributes are those of its node. */
static void
check_row_attributes(HnswCheck *check, uint32 nid, int64 tid, const Datum *values, const bool *isnull)
{
	const VdbAttributes *known = check->index->attributes;
	const HnswGeometry *g = &check->index->geometry;
	HnswAddress a = vdb_hnsw_hot_address(g, nid);
	uint8	   *expected = palloc(known->bytes);

	if (known->bytes == 0)
		return;
	vdb_index_form_attributes(known, values, isnull, expected);
	vdb_hnsw_check_copy(check, a.block, VDB_PAGE_HNSW_HOT, a.extent, check->copies[0]);
	if (memcmp(expected, vdb_hnsw_page_attributes(g, check->copies[0], a), known->bytes) != 0)
		corrupted(check, a.block, psprintf("Node %u does not have the attributes of its row (%u,%u).",
										   nid, (uint32) (tid >> 16), (uint32) (tid & 0xFFFF)));
}

/* A row that our snapshot sees: a callback of the heap's scan. */
static void
check_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	HnswCheck  *check = state;
	MemoryContext old = MemoryContextSwitchTo(check->context);
	void	   *x = NULL;
	float		norm;

	if (!isnull[0])
		x = vdb_index_transform(check->index->support, &check->index->codec, values[0], &norm);
	if (x != NULL)
	{
		int64		key = tid_key(tid);
		uint32		i = 0;
		uint32		nid = HNSW_NO_NODE;
		HnswNode   *node = NULL;

		load_heap_block(check, ItemPointerGetBlockNumber(tid));
		while (i < check->block_count && check->block_nodes[i].tid != key)
			i++;
		if (i < check->block_count)
			nid = copy_row_node(check, check->block_nodes[i].nid, key, &node);
		if (nid != HNSW_NO_NODE)
		{
			check_row_node(check, nid, node, key, values[0], x, norm);
			check_row_attributes(check, nid, key, values, isnull);
		}
		else
			note_missing(check, key);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->context);
}

void
vdb_hnsw_check_rows(HnswCheck *check, Snapshot snapshot)
{
	tuplesort_performsort(check->sort);
	check->next.tid = -1;
	(void) take_tid(check);
	VDB_TESTPOINT("hnsw-check-before-rows");
	if (snapshot != NULL)
	{
		vdb_index_scan_rows(check->heap, check->index->rel, snapshot, check_row, check);
		search_missing(check);
	}
	while (check->next.tid >= 0)
		(void) take_tid(check);
}
