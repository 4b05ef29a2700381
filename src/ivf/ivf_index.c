/*
 * ivf_index.c
 *	  The index as a whole: metapage, extents, and pages of its shelves.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "compat.h"
#include "index/index_known.h"
#include "ivf/ivf_private.h"
#include "quant/rotate.h"
#include "testpoint.h"

/* The metapage, pinned and locked, with everything a reader relies on checked. */
static Buffer
lock_meta(Relation rel, int lock)
{
	Buffer		buffer = ReadBuffer(rel, IVF_META_BLOCK);
	IvfMeta    *meta;

	LockBuffer(buffer, lock);
	vdb_page_check(rel, IVF_META_BLOCK, BufferGetPage(buffer), VDB_PAGE_META, IVF_NO_EXTENT);
	meta = vdb_ivf_page_meta(BufferGetPage(buffer));
	if (meta->magic != IVF_MAGIC)
		vdb_page_corrupted(rel, IVF_META_BLOCK, "The metapage is not an inverted file's.");
	if (meta->version != IVF_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has format version %u, this library reads version %u",
						RelationGetRelationName(rel), meta->version, IVF_VERSION),
				 errhint("Install the version of vdb that wrote it, or REINDEX it.")));
	return buffer;
}

static void
read_changing_fields(IvfIndex *index, const IvfMeta *meta)
{
	index->extents = meta->extents;
	memcpy(index->open_extent, meta->open_extent, sizeof(index->open_extent));
	index->root = meta->root;
	index->lists = meta->lists;
	index->epoch = meta->epoch;
	index->free_group = meta->free_group;
	index->calibration = meta->calibration;
}

/* Reads floats from pages of their own, the center's or the codebook's, which are numbered. */
static float *
read_floats(Relation rel, BlockNumber block, VdbPageKind kind, uint32 values, MemoryContext context)
{
	float	   *out = MemoryContextAlloc(context, values * sizeof(float));

	for (uint32 first = 0; first < values; first += IVF_FLOATS_PER_PAGE, block++)
	{
		Buffer		buffer = ReadBuffer(rel, block);
		uint32		count = Min((uint32) IVF_FLOATS_PER_PAGE, values - first);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		vdb_page_check(rel, block, BufferGetPage(buffer), kind, first / IVF_FLOATS_PER_PAGE);
		memcpy(out + first, (char *) BufferGetPage(buffer) + IVF_FLOATS_FIRST, count * sizeof(float));
		UnlockReleaseBuffer(buffer);
	}
	return out;
}

/* Reads the codebook of products, and the rotation behind it. */
static VdbCodebook
load_codebook(IvfIndex *index, Relation rel, const IvfCoding *coding, MemoryContext context)
{
	const IvfGeometry *g = &index->geometry;
	BlockNumber block = 1 + g->center_pages;
	VdbCodebook book = {.dims = index->codec.P, .parts = coding->scan_parts};

	book.values = read_floats(rel, block, VDB_PAGE_IVF_CODEBOOK, g->codebook_values, context);
	if (!vdb_codebook_is_sound(&book))
		vdb_page_corrupted(rel, block, "The codebook has values that no centroid has.");
	if (coding->rotated)
	{
		index->rotation = book.values + vdb_codebook_values(book.dims);
		if (!vdb_rotate_is_sound(book.dims, index->rotation))
			vdb_page_corrupted(rel, block, "The codebook has a rotation that changes lengths.");
	}
	return book;
}

/*
 * Prepares the coding of rows' scan codes.  Those after a rotation are of vectors whose center is
 * where that takes it.
 */
static void
load_scan(IvfIndex *index, Relation rel, const IvfCoding *coding, MemoryContext context)
{
	const VdbCodec *codec = &index->codec;
	VdbCodebook book;
	float	   *center;

	index->turned = *codec;
	switch (coding->scan_kind)
	{
		case VDB_SCAN_GRID:
			vdb_scan_init(&index->scan, &index->turned, coding->scan_dims, coding->scan_bits);
			return;
		case VDB_SCAN_PRODUCT:
			book = load_codebook(index, rel, coding, context);
			if (index->rotation != NULL)
			{
				center = MemoryContextAlloc(context, codec->vector_bytes);
				vdb_rotate_by(codec->P, index->rotation, 1, codec->center, center);
				vdb_codec_init(&index->turned, codec->metric, codec->dims, codec->seed, center);
			}
			vdb_scan_init_product(&index->scan, &index->turned, &book);
			vdb_scan_set_anisotropic(&index->scan, coding->anisotropic);
			return;
		case VDB_SCAN_NOTHING:
			vdb_scan_init_nothing(&index->scan, &index->turned);
	}
}

/* Is what the metapage says of the lanes of rows possible, and of their scan codes? */
static bool
has_sound_lanes(const IvfMeta *meta)
{
	uint32		padded = vdb_codec_padded(meta->dims);

	if (meta->spill > 1 || meta->rotated > 1 || !(meta->anisotropic >= 0 && meta->anisotropic < 1) ||
		meta->scan_bits < 1 || meta->scan_bits > 2 || meta->scan_dims < 8 ||
		meta->scan_dims % 8 != 0 || meta->scan_dims > padded)
		return false;
	if (meta->rotated && (meta->scan_kind != VDB_SCAN_PRODUCT || padded > VDB_ROTATE_MAX_DIMS))
		return false;
	if (meta->scan_kind == VDB_SCAN_PRODUCT)
		return meta->scan_parts >= 2 && meta->scan_parts % 2 == 0 && meta->scan_parts <= padded;
	return meta->scan_kind == VDB_SCAN_GRID ||
		(meta->scan_kind == VDB_SCAN_NOTHING && meta->refine_bits != IVF_REFINE_HEAP);
}

/* Recomputes the geometry and compares it with what the metapage says. */
static bool
load_geometry(IvfIndex *index, const IvfMeta *meta, IvfCoding *coding)
{
	IvfGeometry *g = &index->geometry;

	if (!vdb_ivf_serves(index->support) || meta->metric != vdb_ivf_metric(index->support) || meta->dims < 1 ||
		meta->dims > (uint32) index->support->max_dims || !has_sound_lanes(meta) ||
		meta->attr_bytes != index->attributes->bytes ||
		(meta->refine_bits != IVF_REFINE_HEAP && meta->refine_bits != IVF_REFINE_4 &&
		 meta->refine_bits != IVF_REFINE_8 && meta->refine_bits != IVF_REFINE_12))
		return false;
	*coding = (IvfCoding) {
		.scan_dims = meta->scan_dims,
		.scan_bits = meta->scan_bits,
		.scan_kind = meta->scan_kind,
		.scan_parts = meta->scan_parts,
		.rotated = meta->rotated != 0,
		.anisotropic = meta->anisotropic,
		.refine_bits = meta->refine_bits,
		.attr_bytes = meta->attr_bytes,
		.spill = meta->spill != 0
	};
	vdb_codec_init(&index->codec, meta->metric, meta->dims, meta->rotation_seed, NULL);
	return vdb_ivf_geometry(g, &index->codec, coding) && meta->extent_pages == g->extent_pages &&
		meta->center_pages == g->center_pages && meta->codebook_pages == g->codebook_pages &&
		meta->extents <= g->max_extents &&
		meta->extent_groups[IVF_ROWS] == g->shelves[IVF_ROWS].extent_groups &&
		meta->extent_groups[IVF_LISTS] == g->shelves[IVF_LISTS].extent_groups;
}

/* What there is to know of an index, given its metapage. */
static void
load_index(VdbKnown *known, Relation rel, const IvfMeta *meta)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf index",
												  ALLOCSET_SMALL_SIZES);
	IvfIndex   *index = MemoryContextAllocZero(context, sizeof(IvfIndex));
	IvfCoding	coding;
	float	   *center;

	index->support = vdb_index_support(rel);
	index->attributes = vdb_index_attributes(rel, context);
	if (!load_geometry(index, meta, &coding))
		vdb_page_corrupted(rel, IVF_META_BLOCK,
						   "The metapage contradicts itself or the operator classes.");
	center = read_floats(rel, 1, VDB_PAGE_CENTER, index->geometry.center_values, context);
	vdb_codec_init(&index->codec, meta->metric, meta->dims, meta->rotation_seed, center);
	index->refine = index->codec;
	vdb_codec_set_hot_bits(&index->codec, index->geometry.shelves[IVF_LISTS].record_bits);
	if (coding.refine_bits == IVF_REFINE_4 || coding.refine_bits == IVF_REFINE_8)
		vdb_codec_set_hot_bits(&index->refine, coding.refine_bits);
	vdb_codec_init(&index->nearest, VDB_METRIC_L2, meta->dims, meta->rotation_seed, center);
	index->spill = coding.spill;
	load_scan(index, rel, &coding, context);
	vdb_scan_init(&index->list_scan, &index->nearest, coding.scan_dims, coding.scan_bits);
	vdb_hints_init(&index->hints, rel, context);
	vdb_known_keep(known, rel, meta->incarnation, index, context);
}

const float *
vdb_ivf_turn(const IvfIndex *index, uint32 n, const float *x, float *out)
{
	if (index->rotation == NULL)
		return x;
	vdb_rotate_by(index->codec.P, index->rotation, n, x, out);
	return out;
}

IvfIndex *
vdb_ivf_open(Relation rel)
{
	VdbKnown   *known = vdb_known_find(rel);
	IvfIndex   *index = known->index;
	IvfMeta		meta;
	Buffer		buffer;

	if (index != NULL)
		buffer = vdb_hints_read(&index->hints, rel, IVF_META_BLOCK);
	else
		buffer = ReadBuffer(rel, IVF_META_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(&meta, vdb_ivf_page_meta(BufferGetPage(buffer)), sizeof(meta));
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

void
vdb_ivf_refresh(IvfIndex *index)
{
	Buffer		buffer = lock_meta(index->rel, BUFFER_LOCK_SHARE);

	read_changing_fields(index, vdb_ivf_page_meta(BufferGetPage(buffer)));
	UnlockReleaseBuffer(buffer);
}

Buffer
vdb_ivf_lock_meta(IvfIndex *index, int lock)
{
	Buffer		buffer = lock_meta(index->rel, lock);

	read_changing_fields(index, vdb_ivf_page_meta(BufferGetPage(buffer)));
	return buffer;
}

void
vdb_ivf_write_meta(IvfIndex *index, Buffer buffer, const IvfMeta *meta, bool building)
{
	VdbChange	change;

	vdb_change_begin(&change, index->rel, building);
	*vdb_ivf_page_meta(vdb_change_page(&change, buffer, false)) = *meta;
	vdb_change_finish(&change);
	read_changing_fields(index, meta);
	UnlockReleaseBuffer(buffer);
}

void
vdb_ivf_patch_meta(VdbPatch *patch, Buffer buffer, const IvfMeta *meta)
{
	vdb_patch_write(patch, buffer, MAXALIGN(SizeOfPageHeaderData), meta, sizeof(*meta));
}

bool
vdb_ivf_is_stale(IvfIndex *index, uint32 epoch)
{
	Buffer		buffer = vdb_hints_read(&index->hints, index->rel, IVF_META_BLOCK);
	bool		stale;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	stale = vdb_ivf_page_meta(BufferGetPage(buffer))->epoch != epoch;
	UnlockReleaseBuffer(buffer);
	return stale;
}

bool
vdb_ivf_lock_lists(Relation rel, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, RelationGetRelid(rel), 1);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
vdb_ivf_unlock_lists(Relation rel, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, RelationGetRelid(rel), 1);
	LockRelease(&tag, mode, false);
}

void
vdb_ivf_load_summary(Relation rel, IvfSummary *summary)
{
	Buffer		buffer = lock_meta(rel, BUFFER_LOCK_SHARE);
	const IvfMeta *meta = vdb_ivf_page_meta(BufferGetPage(buffer));

	summary->lists = meta->lists;
	summary->scan_codes = meta->scan_kind != VDB_SCAN_NOTHING;
	summary->spilled = meta->spill != 0;
	summary->calibration = meta->calibration;
	UnlockReleaseBuffer(buffer);
}

void
vdb_ivf_set_calibration(IvfIndex *index, const IvfCalibration *calibration, bool building)
{
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.calibration = *calibration;
	vdb_ivf_write_meta(index, buffer, &meta, building);
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

/* Writes floats to pages of their own, zeros where there are none (NULL). */
static void
write_floats(Relation rel, ForkNumber fork, VdbPageKind kind, const float *floats, uint32 values)
{
	for (uint32 first = 0; first < values; first += IVF_FLOATS_PER_PAGE)
	{
		uint32		count = Min((uint32) IVF_FLOATS_PER_PAGE, values - first);
		Buffer		buffer = add_first_block(rel, fork);
		Page		page = BufferGetPage(buffer);

		vdb_page_init(page, kind, first / IVF_FLOATS_PER_PAGE, IVF_FLOATS_FIRST + count * sizeof(float));
		if (floats != NULL)
			memcpy((char *) page + IVF_FLOATS_FIRST, floats + first, count * sizeof(float));
		finish_first_block(buffer, fork == INIT_FORKNUM);
	}
}

void
vdb_ivf_create_meta(Relation rel, ForkNumber fork, const IvfGeometry *g, const VdbCodec *codec,
					const IvfCoding *coding, const float *codebook)
{
	Buffer		buffer = add_first_block(rel, fork);
	Page		page = BufferGetPage(buffer);
	IvfMeta    *meta;

	vdb_page_init(page, VDB_PAGE_META, IVF_NO_EXTENT, MAXALIGN(SizeOfPageHeaderData) + sizeof(IvfMeta));
	meta = vdb_ivf_page_meta(page);
	memset(meta, 0, sizeof(*meta));
	meta->magic = IVF_MAGIC;
	meta->version = IVF_VERSION;
	meta->metric = codec->metric;
	if (!pg_strong_random(&meta->incarnation, sizeof(meta->incarnation)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number for the index")));
	meta->rotation_seed = codec->seed;
	meta->dims = codec->dims;
	meta->scan_bits = coding->scan_bits;
	meta->scan_dims = coding->scan_dims;
	meta->refine_bits = coding->refine_bits;
	meta->attr_bytes = coding->attr_bytes;
	meta->extent_pages = g->extent_pages;
	meta->center_pages = g->center_pages;
	for (int i = 0; i < IVF_SHELVES; i++)
	{
		meta->extent_groups[i] = g->shelves[i].extent_groups;
		meta->open_extent[i] = IVF_NO_EXTENT;
	}
	meta->root = IVF_NO_GROUP;
	meta->epoch = IVF_FIRST_EPOCH;
	meta->free_group = IVF_NO_GROUP;
	meta->scan_kind = coding->scan_kind;
	meta->scan_parts = coding->scan_parts;
	meta->codebook_pages = g->codebook_pages;
	meta->spill = coding->spill;
	meta->rotated = coding->rotated;
	meta->anisotropic = coding->anisotropic;
	finish_first_block(buffer, fork == INIT_FORKNUM);
	write_floats(rel, fork, VDB_PAGE_CENTER, codec->center, g->center_values);
	write_floats(rel, fork, VDB_PAGE_IVF_CODEBOOK, codebook, g->codebook_values);
}

void
vdb_ivf_set_lists(IvfIndex *index, uint32 root, uint32 lists)
{
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.root = root;
	meta.lists = lists;
	vdb_ivf_write_meta(index, buffer, &meta, true);
}

void
vdb_ivf_set_trained(IvfIndex *index, uint64 rows, uint64 table_rows)
{
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.trained_rows = rows;
	meta.lists_rows = rows;
	meta.counted_rows = table_rows;
	vdb_ivf_write_meta(index, buffer, &meta, true);
}

/* Formats the pages of an extent that is about to exist, logging each. */
static void
format_extent(IvfIndex *index, IvfShelfKind kind, uint32 extent, bool building)
{
	const IvfGeometry *g = &index->geometry;
	const IvfShelf *shelf = vdb_ivf_shelf(index, kind);
	BlockNumber first = vdb_ivf_extent_block(g, extent);
	BlockNumber blocks = RelationGetNumberOfBlocks(index->rel);

	for (uint32 i = 0; i < g->extent_pages; i++)
	{
		BlockNumber block = first + i;
		Buffer		buffer;
		VdbChange	change;

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
		vdb_page_init(vdb_change_page(&change, buffer, true),
					  i < shelf->scan_pages ? shelf->scan_kind : shelf->record_kind, extent,
					  IVF_PAGE_FIRST);
		vdb_change_finish(&change);
		UnlockReleaseBuffer(buffer);
	}
}

/* Has the metapage say that an extent exists and takes new groups. */
static void
open_extent(IvfIndex *index, IvfShelfKind kind, uint32 extent, bool building)
{
	Buffer		buffer = vdb_ivf_lock_meta(index, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(buffer));

	meta.extents = Max(meta.extents, extent + 1);
	meta.open_extent[kind] = extent;
	vdb_ivf_write_meta(index, buffer, &meta, building);
}

/* Adds an extent.  The caller has locked the relation for extension. */
static uint32
add_extent(IvfIndex *index, IvfShelfKind kind, bool building)
{
	uint32		extent = index->extents;

	if (extent >= index->geometry.max_extents)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" is full", RelationGetRelationName(index->rel)),
				 errdetail("It has %u extents.", extent),
				 errhint("Partition the table.")));
	format_extent(index, kind, extent, building);
	VDB_TESTPOINT("ivf-extend-after-pages");
	open_extent(index, kind, extent, building);
	return extent;
}

uint32
vdb_ivf_extend(IvfIndex *index, IvfShelfKind kind, uint32 full, bool building)
{
	uint32		extent;

	LockRelationForExtension(index->rel, ExclusiveLock);
	vdb_ivf_refresh(index);
	extent = index->open_extent[kind];
	if (extent == full)
		extent = add_extent(index, kind, building);
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	return extent;
}

/* The next slot of the open extent of lists; of a new extent, if that is full. */
static uint32
next_lists_group(IvfIndex *index)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	uint32		extent = index->open_extent[IVF_LISTS];

	for (uint32 page = 0; extent != IVF_NO_EXTENT && page < shelf->scan_pages; page++)
	{
		uint32		first = extent * shelf->extent_groups + page * shelf->page_groups;
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, first);
		Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, a, BUFFER_LOCK_SHARE);
		uint32		used = vdb_page_special(BufferGetPage(buffer))->used;

		UnlockReleaseBuffer(buffer);
		if (used < shelf->page_groups && page * shelf->page_groups + used < shelf->extent_groups)
			return first + used;
	}
	return add_extent(index, IVF_LISTS, false) * shelf->extent_groups;
}

/*
 * Writes a group of lists with one lane in front of the others, and says so in the
 * metapage.  first: it is the only list, and in force.
 */
static void
write_lists_group(IvfIndex *index, uint32 group, const IvfLane *lane, bool first)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, group);
	IvfAddress	r = vdb_ivf_record_address(&index->geometry, shelf, group, 0);
	Buffer		meta_buffer = lock_meta(index->rel, BUFFER_LOCK_EXCLUSIVE);
	Buffer		buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, a, BUFFER_LOCK_EXCLUSIVE);
	Buffer		record = vdb_ivf_read_record_page(index, IVF_LISTS, r, BUFFER_LOCK_EXCLUSIVE);
	IvfMeta		meta = *vdb_ivf_page_meta(BufferGetPage(meta_buffer));
	VdbPatch	patch;

	vdb_patch_begin(&patch, index->rel);
	vdb_ivf_patch_group(&patch, shelf, buffer, a, IVF_ROOT, meta.root, lane);
	vdb_ivf_patch_record(&patch, shelf, record, r, lane->record);
	meta.root = group;
	if (first)
		meta.lists = 1;
	vdb_ivf_patch_meta(&patch, meta_buffer, &meta);
	vdb_patch_finish(&patch);
	read_changing_fields(index, vdb_ivf_page_meta(BufferGetPage(meta_buffer)));
	UnlockReleaseBuffer(record);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(meta_buffer);
}

void
vdb_ivf_add_first_list(IvfIndex *index, const IvfLane *lane)
{
	LockRelationForExtension(index->rel, ExclusiveLock);
	vdb_ivf_refresh(index);
	if (index->lists == 0)
		write_lists_group(index, next_lists_group(index), lane, true);
	UnlockRelationForExtension(index->rel, ExclusiveLock);
}

uint32
vdb_ivf_add_lists_group(IvfIndex *index, const IvfLane *lane)
{
	uint32		group;

	LockRelationForExtension(index->rel, ExclusiveLock);
	vdb_ivf_refresh(index);
	group = next_lists_group(index);
	write_lists_group(index, group, lane, false);
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	return group;
}

bool
vdb_ivf_group_exists(IvfIndex *index, IvfShelfKind kind, uint32 group)
{
	uint32		extent = group / vdb_ivf_shelf(index, kind)->extent_groups;

	if (extent >= index->extents)
		vdb_ivf_refresh(index);
	return extent < index->extents;
}

bool
vdb_ivf_has_rows(IvfIndex *index, uint32 extent, BufferAccessStrategy strategy)
{
	BlockNumber block = vdb_ivf_extent_block(&index->geometry, extent);
	Buffer		buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
	bool		lists;

	/* replay may be about to fill the page */
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lists = vdb_page_special(BufferGetPage(buffer))->kind == VDB_PAGE_IVF_LISTS;
	vdb_page_check(index->rel, block, BufferGetPage(buffer),
				   lists ? VDB_PAGE_IVF_LISTS : VDB_PAGE_IVF_ROWS, extent);
	UnlockReleaseBuffer(buffer);
	return !lists;
}

bool
vdb_ivf_may_have(IvfIndex *index, IvfShelfKind kind, uint64 groups)
{
	uint64		each = vdb_ivf_shelf(index, kind)->extent_groups;

	if (groups > index->extents * each)
		vdb_ivf_refresh(index);
	return groups <= index->extents * each;
}

static Buffer
read_page(IvfIndex *index, IvfAddress a, VdbPageKind kind, int lock)
{
	Buffer		buffer = vdb_hints_read(&index->hints, index->rel, a.block);

	LockBuffer(buffer, lock);
	vdb_page_check(index->rel, a.block, BufferGetPage(buffer), kind, a.extent);
	return buffer;
}

Buffer
vdb_ivf_read_scan_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock)
{
	return read_page(index, a, vdb_ivf_shelf(index, kind)->scan_kind, lock);
}

Buffer
vdb_ivf_read_record_page(IvfIndex *index, IvfShelfKind kind, IvfAddress a, int lock)
{
	return read_page(index, a, vdb_ivf_shelf(index, kind)->record_kind, lock);
}

Buffer
vdb_ivf_lock_record(IvfIndex *index, IvfShelfKind kind, uint32 lane, const IvfRecord **record)
{
	IvfAddress	a = vdb_ivf_lane_record(index, kind, lane);
	Buffer		buffer = vdb_ivf_read_record_page(index, kind, a, BUFFER_LOCK_SHARE);

	*record = vdb_ivf_page_record(BufferGetPage(buffer), a);
	return buffer;
}

void
vdb_ivf_request_record(IvfIndex *index, IvfShelfKind kind, uint32 lane)
{
	vdb_hints_request(&index->hints, index->rel, vdb_ivf_lane_record(index, kind, lane).block);
}

bool
vdb_ivf_record_is_resident(const IvfIndex *index, IvfShelfKind kind, uint32 lane)
{
	return vdb_hints_is_resident(&index->hints, vdb_ivf_lane_record(index, kind, lane).block);
}

IvfGroup *
vdb_ivf_find_group(Buffer buffer, IvfAddress a, uint32 list)
{
	Page		page = BufferGetPage(buffer);
	IvfGroup   *group = vdb_ivf_page_group(page, a);

	return a.slot < vdb_page_special(page)->used && group->list == list ? group : NULL;
}

IvfGroup *
vdb_ivf_load_group(IvfIndex *index, Buffer buffer, IvfAddress a, uint32 list)
{
	IvfGroup   *group = vdb_ivf_find_group(buffer, a, list);

	if (group == NULL)
		vdb_page_corrupted(index->rel, a.block, psprintf("List %u leads to a group that is not its own.", list));
	return group;
}
