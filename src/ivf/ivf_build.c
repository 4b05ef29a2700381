/*
 * ivf_build.c
 *	  CREATE INDEX: lists from a sample, then each row to its list.
 *
 * The table is read once; how its rows get into lists is in ivf_load.c.  At the end the
 * whole fork is logged.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "ivf/ivf_private.h"
#include "testpoint.h"

/* Bits of a dimension of a scan code: where there are few dimensions, they tell little. */
#define FEW_DIMS 256
#define FEW_DIMS_BITS 2
#define MANY_DIMS_BITS 1

/* A centroid of more would not fit a page. */
#define MAX_DIMS 16000

typedef struct Builder
{
	IvfIndex   *index;
	IvfLoader  *loader;
	MemoryContext row_context;	/* reset after each row */
	uint8	   *payload;
	uint64		rows;
} Builder;

/* A codec without a center for the indexed column. */
static void
init_codec(Relation rel, const VdbSupport *support, VdbCodec *codec)
{
	const char *method = vdb_ivf_is_flat(rel) ? vdb_ivfflat_method.name : vdb_ivfpq_method.name;
	int			dims;

	/* an operator class of somebody's own may have any distance of ours */
	if (!vdb_ivf_serves(support))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("distance not supported for %s index", method),
				 errhint("Index it USING hnsw.")));
	dims = vdb_index_column_dims(rel, support);
	if (dims > MAX_DIMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for %s index", MAX_DIMS, method),
				 errhint("Index it USING hnsw.")));
	vdb_codec_init(codec, vdb_ivf_metric(support), dims, vdb_ivf_random_seed(), NULL);
}

/* How rows are to be coded, and what geometry follows. */
static IvfCoding
choose_coding(Relation rel, const VdbCodec *codec, IvfGeometry *g)
{
	IvfOptions	options = vdb_ivf_options(rel);
	IvfCoding	coding;

	coding.attr_bytes = vdb_index_attributes(rel, CurrentMemoryContext)->bytes;
	coding.scan_bits = codec->P <= FEW_DIMS ? FEW_DIMS_BITS : MANY_DIMS_BITS;
	coding.scan_dims = Min(codec->P, vdb_ivf_max_scan_dims(coding.scan_bits, coding.attr_bytes));
	for (coding.refine_bits = options.refine;; coding.refine_bits -= 4)
	{
		if (coding.scan_dims >= 8 && vdb_ivf_geometry(g, codec, &coding))
			return coding;
		if (coding.refine_bits == IVF_REFINE_HEAP)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("rows of index \"%s\" do not fit a page", RelationGetRelationName(rel)),
					 errdetail("Further columns take %u bytes.", coding.attr_bytes),
					 errhint("Use fewer of them.")));
	}
}

/*
 * Writes the lists, empty ones, and makes the centroids what they are from now on.
 * Returns the lists' numbers; the first group of them goes to *root.
 */
static uint32 *
write_lists(IvfIndex *index, IvfTraining *training, uint32 *root)
{
	const IvfList empty = {.head = IVF_NO_GROUP, .roomy = IVF_NO_LINK, .died = IVF_NEVER};
	uint32	   *lists = MemoryContextAllocHuge(CurrentMemoryContext, training->count * sizeof(uint32));
	IvfCoder	coder;
	IvfWriter	writer;

	vdb_ivf_coder_init(&coder, index);
	vdb_ivf_writer_init(&writer, index, IVF_LISTS, true);
	for (uint32 i = 0; i < training->count; i++)
	{
		float	   *centroid = training->centroids + (Size) i * index->codec.P;
		IvfLane		lane = vdb_ivf_code_centroid(&coder, centroid);

		CHECK_FOR_INTERRUPTS();
		memcpy(coder.payload, &empty, sizeof(empty));
		lists[i] = vdb_ivf_write_lane(&writer, &lane);
		vdb_ivf_decode_centroid(index, lane.record, centroid);
	}
	vdb_ivf_writer_end(&writer);
	*root = writer.first;
	return lists;
}

/* A callback of the table's scan. */
static void
load_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Builder    *builder = state;
	IvfIndex   *index = builder->index;
	MemoryContext old;
	IvfRow		row = {.payload = builder->payload};

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(builder->row_context);
	row.vector = vdb_ivf_transform(index->support, &index->codec, values[0], &row.norm);
	if (row.vector != NULL)
	{
		memcpy(builder->payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull,
								  builder->payload + sizeof(ItemPointerData));
		vdb_ivf_load_row(builder->loader, &row);
		builder->rows++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->row_context);
}

IndexBuildResult *
vdb_ivf_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const VdbSupport *support = vdb_index_support(rel);
	Builder		builder = {0};
	IvfTraining training = {0};
	uint32	   *lists;
	uint32		root;
	IvfGeometry geometry;
	IvfCoding	coding;
	VdbCodec	codec;

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	init_codec(rel, support, &codec);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_KMEANS);
	vdb_ivf_train(&training, &codec, support, heap, rel, info, vdb_ivf_options(rel).lists);
	if (vdb_ivf_is_flat(rel) && training.rows < (double) vdb_ivf_options(rel).lists)
		ereport(NOTICE,
				(errmsg("ivfflat index created with little data"),
				 errdetail("This will cause low recall."),
				 errhint("Drop the index until the table has more data.")));
	coding = choose_coding(rel, &codec, &geometry);
	vdb_ivf_create_meta(rel, MAIN_FORKNUM, &geometry, &codec, &coding);

	builder.index = vdb_ivf_open(rel);
	builder.row_context = AllocSetContextCreate(context, "ivf build row", ALLOCSET_DEFAULT_SIZES);
	builder.payload = palloc(vdb_ivf_shelf(builder.index, IVF_ROWS)->payload_bytes);
	lists = write_lists(builder.index, &training, &root);
	builder.loader = vdb_ivf_loader_begin(builder.index, training.centroids, lists, training.count, true);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_ASSIGN);
	result->heap_tuples = table_index_build_scan(heap, rel, info, true, true, load_row, &builder, NULL);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_LOAD);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) builder.rows);
	vdb_ivf_loader_write(builder.loader);
	vdb_ivf_set_lists(builder.index, root, training.count, builder.rows);
	VDB_TESTPOINT("ivf-build-after-write");
	if (RelationNeedsWAL(rel))
		log_newpage_range(rel, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(rel), true);
	result->index_tuples = (double) builder.rows;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

void
vdb_ivf_buildempty(Relation rel)
{
	const VdbSupport *support = vdb_index_support(rel);
	IvfGeometry geometry;
	IvfCoding	coding;
	VdbCodec	codec;

	init_codec(rel, support, &codec);
	coding = choose_coding(rel, &codec, &geometry);
	vdb_ivf_create_meta(rel, INIT_FORKNUM, &geometry, &codec, &coding);
}
