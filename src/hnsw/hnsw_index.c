/*
 * hnsw_index.c
 *	  The index as a whole: metapage, extents, and what a backend remembers.
 *
 * A backend keeps one HnswIndex for each index it uses.  What is in it is
 * either constant as long as the incarnation number in the metapage is the
 * same, or a hint, or read anew by every open.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hnsw/hnsw_module.h"
#include "hnsw/hnsw_private.h"
#include "index/index_known.h"
#include "testpoint.h"

/* Extents looked at for one with free records. */
#define RECORD_PROBES 256

/* The metapage, pinned and locked, with everything a reader relies on checked. */
static Buffer
lock_meta(Relation rel, int lock)
{
	Buffer		buffer = ReadBuffer(rel, HNSW_META_BLOCK);
	HnswMeta   *meta;

	LockBuffer(buffer, lock);
	vdb_page_check(rel, HNSW_META_BLOCK, BufferGetPage(buffer), VDB_PAGE_META, HNSW_NO_EXTENT);
	meta = vdb_hnsw_page_meta(BufferGetPage(buffer));
	if (meta->magic != HNSW_MAGIC)
		vdb_page_corrupted(rel, HNSW_META_BLOCK, "The metapage is not an hnsw index's.");
	if (meta->version != HNSW_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has format version %u, this library reads version %u",
						RelationGetRelationName(rel), meta->version, HNSW_VERSION),
				 errhint("Install the version of vdb that wrote it, or REINDEX it.")));
	return buffer;
}

/* The range of extents that may have pending nodes; raises where there cannot be one. */
static HnswPending
load_pending(Relation rel, const HnswMeta *meta)
{
	bool		empty = meta->pending_head == 0 && meta->pending_tail == 0;

	if (!empty && (meta->pending_head == 0 || meta->pending_head > meta->pending_tail ||
				   meta->pending_tail > meta->extents))
		vdb_page_corrupted(rel, HNSW_META_BLOCK, "The range of pending nodes is none.");
	return (HnswPending) {empty ? 0 : meta->pending_head - 1, meta->pending_tail};
}

static void
read_changing_fields(HnswIndex *index, const HnswMeta *meta)
{
	if (meta->entry_layer < 0 || meta->entry_layer > HNSW_MAX_LAYER)
		vdb_page_corrupted(index->rel, HNSW_META_BLOCK, "The entry point's layer is out of range.");
	index->pending = load_pending(index->rel, meta);
	index->extents = meta->extents;
	index->open_extent = meta->open_extent;
	index->open_upper = meta->open_upper;
	index->entry_nid = meta->entry_nid;
	index->entry_ref = meta->entry_ref;
	index->entry_layer = meta->entry_layer;
	index->calibration = meta->calibration;
}

/* Reads the center from its pages into out[center_values]. */
static void
read_center(Relation rel, const HnswGeometry *g, float *out)
{
	for (uint32 i = 0; i < g->center_pages; i++)
	{
		Buffer		buffer = ReadBuffer(rel, 1 + i);
		uint32		first = i * HNSW_CENTER_PER_PAGE;
		uint32		count = Min((uint32) HNSW_CENTER_PER_PAGE, g->center_values - first);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		vdb_page_check(rel, 1 + i, BufferGetPage(buffer), VDB_PAGE_CENTER, i);
		memcpy(out + first, (char *) BufferGetPage(buffer) + HNSW_CENTER_FIRST, count * sizeof(float));
		UnlockReleaseBuffer(buffer);
	}
}

/*
 * Can a build have made a codec as coarse as this?  The length of its slots tells how
 * coarse, but for vectors of few dimensions.
 */
static bool
is_coarse(const VdbCodec *codec)
{
	return codec->kind == VDB_CODEC_DENSE && codec->P >= VDB_NODE_STEP &&
		codec->node_coarse <= codec->P &&
		(codec->P - codec->node_coarse) % VDB_NODE_STEP == 0;
}

/* Recomputes the geometry and compares it with what the metapage says. */
bool
vdb_hnsw_load_geometry(const HnswMeta *meta, const VdbSupport *support, uint32 attr_bytes,
					   VdbCodec *codec, HnswGeometry *g)
{
	if (meta->metric != support->metric || meta->dims < 1 ||
		meta->dims > (uint32) support->max_dims ||
		(meta->entries != 0) != (support->kind == VDB_CODEC_SPARSE) ||
		(meta->entries != 0 && meta->entries < VDB_SPARSE_MIN_ENTRIES) || meta->entries > BLCKSZ ||
		meta->m < HNSW_MIN_M || meta->m > HNSW_MAX_M ||
		meta->ef_construction < HNSW_MIN_EF_CONSTRUCTION ||
		meta->ef_construction > HNSW_MAX_EF_CONSTRUCTION)
		return false;
	vdb_index_init_codec(codec, support, meta->dims, meta->entries, meta->node_coarse,
						meta->rotation_seed, NULL);
	if (meta->node_coarse != 0 && !is_coarse(codec))
		return false;
	return vdb_hnsw_geometry(g, codec, meta->m, meta->ef_construction, attr_bytes) &&
		meta->hot_bits == g->hot_bits && meta->node_bits == g->node_bits &&
		meta->node_coarse == g->node_coarse &&
		meta->attr_bytes == g->attr_bytes && meta->hot_stride == g->hot_stride &&
		meta->node_stride == g->node_stride && meta->upper_stride == g->upper_stride &&
		meta->extent_slots == g->extent_slots && meta->node_pages == g->node_pages &&
		meta->center_pages == g->center_pages && meta->extents <= g->max_extents;
}

/* What there is to know of an index, given its metapage. */
static void
load_index(VdbKnown *known, Relation rel, const HnswMeta *meta)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw index",
												  ALLOCSET_SMALL_SIZES);
	HnswIndex  *index = MemoryContextAllocZero(context, sizeof(HnswIndex));
	float	   *center;

	index->support = vdb_index_support(rel);
	index->attributes = vdb_index_attributes(rel, context);
	index->incarnation = meta->incarnation;
	if (!vdb_hnsw_load_geometry(meta, index->support, index->attributes->bytes, &index->codec,
								&index->geometry))
		vdb_page_corrupted(rel, HNSW_META_BLOCK,
						   "The metapage contradicts itself or the operator classes.");
	center = MemoryContextAlloc(context, index->geometry.center_values * sizeof(float));
	read_center(rel, &index->geometry, center);
	vdb_index_init_codec(&index->codec, index->support, meta->dims, meta->entries,
						 meta->node_coarse, meta->rotation_seed, center);
	vdb_hints_init(&index->hints, rel, context);
	vdb_known_keep(known, rel, meta->incarnation, index, context);
}

/*
 * Opens an index for use until the current memory context is reset.  The
 * caller holds the relation open, with a lock on it, for as long.
 */
HnswIndex *
vdb_hnsw_open(Relation rel)
{
	VdbKnown   *known = vdb_known_find(rel);
	HnswIndex  *index = known->index;
	HnswMeta	meta;
	Buffer		buffer;

	if (index != NULL)
		buffer = vdb_hints_read(&index->hints, rel, HNSW_META_BLOCK);
	else
		buffer = ReadBuffer(rel, HNSW_META_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(&meta, vdb_hnsw_page_meta(BufferGetPage(buffer)), sizeof(meta));
	UnlockReleaseBuffer(buffer);

	if (index == NULL || known->incarnation != meta.incarnation)
	{
		UnlockReleaseBuffer(lock_meta(rel, BUFFER_LOCK_SHARE));
		load_index(known, rel, &meta);
		index = known->index;
	}
	vdb_known_use(known);
	index->rel = rel;
	read_changing_fields(index, &meta);
	return index;
}

/* Reads what may have changed since the index was opened. */
void
vdb_hnsw_refresh(HnswIndex *index)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_SHARE);

	read_changing_fields(index, vdb_hnsw_page_meta(BufferGetPage(buffer)));
	UnlockReleaseBuffer(buffer);
}

uint32
vdb_hnsw_load_calibration(Relation rel, HnswCalibration *calibration)
{
	Buffer		buffer = lock_meta(rel, BUFFER_LOCK_SHARE);
	const HnswMeta *meta = vdb_hnsw_page_meta(BufferGetPage(buffer));
	uint32		extents = meta->extents;

	*calibration = meta->calibration;
	UnlockReleaseBuffer(buffer);
	return extents;
}

void
vdb_hnsw_set_calibration(HnswIndex *index, const HnswCalibration *calibration, bool building)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_EXCLUSIVE);
	VdbChange	change;

	vdb_change_begin(&change, index->rel, building);
	vdb_hnsw_page_meta(vdb_change_page(&change, buffer, false))->calibration = *calibration;
	vdb_change_finish(&change);
	index->calibration = *calibration;
	UnlockReleaseBuffer(buffer);
}

/* Adds one block to a fork of a new relation, locked. */
static Buffer
add_first_block(Relation rel, ForkNumber fork)
{
	Buffer		buffer = ReadBufferExtended(rel, fork, P_NEW, RBM_NORMAL, NULL);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	return buffer;
}

/* Marks a formatted buffer dirty, logs it when asked to, and lets go of it. */
static void
finish_first_block(Buffer buffer, bool log)
{
	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (log)
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/*
 * Writes the metapage and the codec's center (NULL for zero) of a new index
 * into an empty fork.  An init fork is logged here; the main fork when the build
 * is over.  The caller has exclusive use of the relation.
 */
void
vdb_hnsw_create_meta(Relation rel, ForkNumber fork, const HnswGeometry *g, const VdbCodec *codec)
{
	bool		log = fork == INIT_FORKNUM;
	Buffer		buffer = add_first_block(rel, fork);
	Page		page = BufferGetPage(buffer);
	HnswMeta   *meta;

	vdb_page_init(page, VDB_PAGE_META, HNSW_NO_EXTENT, MAXALIGN(SizeOfPageHeaderData) + sizeof(HnswMeta));
	meta = vdb_hnsw_page_meta(page);
	memset(meta, 0, sizeof(*meta));
	meta->magic = HNSW_MAGIC;
	meta->version = HNSW_VERSION;
	meta->metric = codec->metric;
	if (!pg_strong_random(&meta->incarnation, sizeof(meta->incarnation)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number for the index")));
	meta->rotation_seed = codec->seed;
	meta->dims = codec->dims;
	meta->m = g->m;
	meta->ef_construction = g->ef_construction;
	meta->hot_bits = g->hot_bits;
	meta->node_bits = g->node_bits;
	meta->node_coarse = g->node_coarse;
	meta->attr_bytes = g->attr_bytes;
	meta->hot_stride = g->hot_stride;
	meta->node_stride = g->node_stride;
	meta->upper_stride = g->upper_stride;
	meta->extent_slots = g->extent_slots;
	meta->node_pages = g->node_pages;
	meta->center_pages = g->center_pages;
	meta->open_extent = HNSW_NO_EXTENT;
	meta->open_upper = HNSW_NO_EXTENT;
	meta->entry_nid = HNSW_NO_NODE;
	meta->entry_ref = HNSW_NO_REF;
	meta->entries = codec->kind == VDB_CODEC_SPARSE ? codec->P : 0;
	finish_first_block(buffer, log);

	for (uint32 i = 0; i < g->center_pages; i++)
	{
		uint32		first = i * HNSW_CENTER_PER_PAGE;
		uint32		count = Min((uint32) HNSW_CENTER_PER_PAGE, g->center_values - first);

		buffer = add_first_block(rel, fork);
		page = BufferGetPage(buffer);
		vdb_page_init(page, VDB_PAGE_CENTER, i, HNSW_CENTER_FIRST + count * sizeof(float));
		if (codec->center != NULL)
			memcpy((char *) page + HNSW_CENTER_FIRST, codec->center + first, count * sizeof(float));
		finish_first_block(buffer, log);
	}
}

/* Writes a new entry point into the locked metapage. */
static void
write_entry(HnswIndex *index, Buffer buffer, uint32 nid, uint32 ref, int layer, bool building)
{
	VdbChange	change;
	HnswMeta   *meta;

	vdb_change_begin(&change, index->rel, building);
	meta = vdb_hnsw_page_meta(vdb_change_page(&change, buffer, false));
	meta->entry_nid = nid;
	meta->entry_ref = ref;
	meta->entry_layer = layer;
	vdb_change_finish(&change);
	read_changing_fields(index, vdb_hnsw_page_meta(BufferGetPage(buffer)));
}

void
vdb_hnsw_set_entry(HnswIndex *index, uint32 nid, uint32 ref, int layer, bool building)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_EXCLUSIVE);
	HnswMeta   *meta = vdb_hnsw_page_meta(BufferGetPage(buffer));

	if (meta->entry_nid == HNSW_NO_NODE || layer > meta->entry_layer)
		write_entry(index, buffer, nid, ref, layer, building);
	UnlockReleaseBuffer(buffer);
}

bool
vdb_hnsw_replace_entry(HnswIndex *index, uint32 old, uint32 nid, uint32 ref, int layer)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_EXCLUSIVE);
	bool		same = vdb_hnsw_page_meta(BufferGetPage(buffer))->entry_nid == old;

	if (same)
		write_entry(index, buffer, nid, ref, layer, false);
	UnlockReleaseBuffer(buffer);
	return same;
}

Buffer
vdb_hnsw_pin_meta(HnswIndex *index)
{
	return vdb_hints_read(&index->hints, index->rel, HNSW_META_BLOCK);
}

HnswPending
vdb_hnsw_read_pending(HnswIndex *index, Buffer meta)
{
	HnswPending pending;

	LockBuffer(meta, BUFFER_LOCK_SHARE);
	pending = load_pending(index->rel, vdb_hnsw_page_meta(BufferGetPage(meta)));
	LockBuffer(meta, BUFFER_LOCK_UNLOCK);
	return pending;
}

/* Writes the range of pending nodes into the metapage, which is exclusively locked. */
static void
write_pending(HnswIndex *index, Buffer meta, HnswPending pending)
{
	bool		empty = pending.first >= pending.end;
	uint32		fields[2] = {empty ? 0 : pending.first + 1, empty ? 0 : pending.end};
	int			offset = (char *) vdb_hnsw_page_meta(BufferGetPage(meta)) - (char *) BufferGetPage(meta);
	VdbPatch	patch;

	StaticAssertStmt(offsetof(HnswMeta, pending_tail) == offsetof(HnswMeta, pending_head) + sizeof(uint32),
					 "head and tail are written at once");
	vdb_patch_begin(&patch, index->rel);
	vdb_patch_write(&patch, meta, offset + offsetof(HnswMeta, pending_head), fields, sizeof(fields));
	vdb_patch_finish(&patch);
}

/* A range made as long as to have an extent. */
static HnswPending
with_extent(HnswPending pending, uint32 extent)
{
	if (pending.first == pending.end)
		return (HnswPending) {extent, extent + 1};
	return (HnswPending) {Min(pending.first, extent), Max(pending.end, extent + 1)};
}

bool
vdb_hnsw_widen_pending(HnswIndex *index, Buffer meta, uint32 extent, uint32 most)
{
	HnswPending pending = vdb_hnsw_read_pending(index, meta);
	HnswPending wide = with_extent(pending, extent);

	/* mostly it has the extent, or is full: neither takes an exclusive lock */
	if (wide.end - wide.first <= most && (wide.first < pending.first || wide.end > pending.end))
	{
		LockBuffer(meta, BUFFER_LOCK_EXCLUSIVE);
		wide = with_extent(load_pending(index->rel, vdb_hnsw_page_meta(BufferGetPage(meta))), extent);
		if (wide.end - wide.first <= most)
			write_pending(index, meta, wide);
		LockBuffer(meta, BUFFER_LOCK_UNLOCK);
	}
	return wide.end - wide.first <= most;
}

void
vdb_hnsw_narrow_pending(HnswIndex *index, Buffer meta, uint32 extent)
{
	HnswPending pending;

	LockBuffer(meta, BUFFER_LOCK_EXCLUSIVE);
	pending = load_pending(index->rel, vdb_hnsw_page_meta(BufferGetPage(meta)));
	if (pending.first == extent && pending.first < pending.end)
	{
		pending.first++;
		write_pending(index, meta, pending);
	}
	LockBuffer(meta, BUFFER_LOCK_UNLOCK);
}

uint64
vdb_hnsw_pending(Relation rel)
{
	Buffer		buffer = lock_meta(rel, BUFFER_LOCK_SHARE);
	const HnswMeta *meta = vdb_hnsw_page_meta(BufferGetPage(buffer));
	HnswPending pending = load_pending(rel, meta);
	uint64		slots = meta->extent_slots;

	UnlockReleaseBuffer(buffer);
	return (pending.end - pending.first) * slots;
}

/*
 * Is an extent of the kind wanted, with a slot that may be taken?
 */
static bool
extent_has_room(HnswIndex *index, uint32 extent, bool upper)
{
	const HnswGeometry *g = &index->geometry;
	BlockNumber first = vdb_hnsw_extent_block(g, extent);
	bool		room = false;

	bool		kind = true;

	for (int i = 0; i < (upper ? g->extent_pages : 1) && kind && !room; i++)
	{
		Buffer		buffer = ReadBuffer(index->rel, first + i);
		VdbPageSpecial *special = vdb_page_special(BufferGetPage(buffer));

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		kind = special->kind == (upper ? VDB_PAGE_HNSW_UPPER : VDB_PAGE_HNSW_HOT);
		room = kind && (special->free > 0 ||
						special->used < (upper ? g->uppers_per_page : g->extent_slots));
		UnlockReleaseBuffer(buffer);
	}
	return room;
}

/*
 * A node extent in which vacuum freed slots, according to the free space map,
 * or HNSW_NO_EXTENT.  The map is a hint that survives no crash: look, then
 * trust.
 */
static uint32
find_freed_nodes(HnswIndex *index)
{
	const HnswGeometry *g = &index->geometry;
	BlockNumber block;

	while ((block = GetFreeIndexPage(index->rel)) != InvalidBlockNumber)
	{
		uint32		extent;

		CHECK_FOR_INTERRUPTS();
		if (block < 1 + g->center_pages)
			continue;
		extent = (block - 1 - g->center_pages) / g->extent_pages;
		if (extent < index->extents && extent_has_room(index, extent, false))
			return extent;
	}
	return HNSW_NO_EXTENT;
}

/*
 * An upper extent in which vacuum freed records, or HNSW_NO_EXTENT.  They are
 * few among the extents but have room for thousands of rows each, so we look
 * at some at random.  To miss those that are there makes more of them, until
 * they are missed no longer.
 */
static uint32
find_freed_records(HnswIndex *index)
{
	uint32		extents = index->extents;
	uint32		probes = Min(extents, RECORD_PROBES);
	uint32		extent = 0;

	for (uint32 i = 0; i < probes; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i == 0 || extents > RECORD_PROBES)
			extent = (uint32) pg_prng_uint64_range(&pg_global_prng_state, 0, extents - 1);
		else
			extent = (extent + 1) % extents;
		if (extent_has_room(index, extent, true))
			return extent;
	}
	return HNSW_NO_EXTENT;
}

/* Formats the pages of an extent that is about to exist, logging each. */
static void
format_extent(HnswIndex *index, uint32 extent, bool upper, bool building)
{
	const HnswGeometry *g = &index->geometry;
	BlockNumber first = vdb_hnsw_extent_block(g, extent);
	BlockNumber blocks = RelationGetNumberOfBlocks(index->rel);

	for (int i = 0; i < g->extent_pages; i++)
	{
		BlockNumber block = first + i;
		Buffer		buffer;
		VdbChange	change;
		Page		page;

		/* a crash may have left blocks that no metapage counts: use them */
		if (block < blocks)
			buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, NULL);
		else
		{
			buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, P_NEW, RBM_NORMAL, NULL);
			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			if (BufferGetBlockNumber(buffer) != block)
				elog(ERROR, "unexpected block %u in index \"%s\", expected %u",
					 BufferGetBlockNumber(buffer), RelationGetRelationName(index->rel), block);
		}
		vdb_change_begin(&change, index->rel, building);
		page = vdb_change_page(&change, buffer, true);
		if (upper)
			vdb_page_init(page, VDB_PAGE_HNSW_UPPER, extent, HNSW_UPPER_FIRST);
		else if (i == 0)
			vdb_page_init(page, VDB_PAGE_HNSW_HOT, extent, g->hot_first);
		else
			vdb_page_init(page, VDB_PAGE_HNSW_NODE, extent, HNSW_NODE_FIRST);
		vdb_change_finish(&change);
		UnlockReleaseBuffer(buffer);
	}
}

/* Formats the next extent.  The caller has locked the relation for extension. */
static uint32
add_extent(HnswIndex *index, bool upper, bool building)
{
	uint32		extent = index->extents;

	if (extent >= index->geometry.max_extents)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" is full", RelationGetRelationName(index->rel)),
				 errdetail("It has %u extents.", extent),
				 errhint("Partition the table.")));
	format_extent(index, extent, upper, building);
	VDB_TESTPOINT("hnsw-extend-after-pages");
	return extent;
}

/* Has the metapage say that an extent exists and takes new nodes or records. */
static void
open_extent(HnswIndex *index, uint32 extent, bool upper, bool building)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_EXCLUSIVE);
	VdbChange	change;
	HnswMeta   *meta;

	vdb_change_begin(&change, index->rel, building);
	meta = vdb_hnsw_page_meta(vdb_change_page(&change, buffer, false));
	meta->extents = Max(meta->extents, extent + 1);
	if (upper)
		meta->open_upper = extent;
	else
		meta->open_extent = extent;
	vdb_change_finish(&change);
	read_changing_fields(index, vdb_hnsw_page_meta(BufferGetPage(buffer)));
	UnlockReleaseBuffer(buffer);
}

/*
 * Makes sure that there is an extent that takes new nodes, or upper records,
 * and returns its number.  full: the one that was found full, which vacuum may
 * have made room in since.  The caller holds no content lock.
 */
uint32
vdb_hnsw_extend(HnswIndex *index, bool upper, uint32 full)
{
	uint32		extent;

	LockRelationForExtension(index->rel, ExclusiveLock);
	vdb_hnsw_refresh(index);
	extent = upper ? index->open_upper : index->open_extent;
	if (extent == full)
	{
		extent = upper ? find_freed_records(index) : find_freed_nodes(index);
		if (extent == HNSW_NO_EXTENT)
			extent = add_extent(index, upper, false);
		open_extent(index, extent, upper, false);
	}
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	return extent;
}

uint32
vdb_hnsw_append_extent(HnswIndex *index, bool upper, uint32 most)
{
	uint32		extent = HNSW_NO_EXTENT;

	LockRelationForExtension(index->rel, ExclusiveLock);
	vdb_hnsw_refresh(index);
	if (index->extents < most)
	{
		extent = add_extent(index, upper, true);
		open_extent(index, extent, upper, true);
	}
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	return extent;
}
