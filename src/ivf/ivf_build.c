/*
 * ivf_build.c
 *	  CREATE INDEX: lists from a sample, then each row to its list.
 *
 * The table is read once.  Each row gets its codes as soon as its list is known; codes
 * are sorted by list, in files where memory does not suffice, and written list by
 * list.  At the end the whole fork is logged.
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "ivf/ivf_private.h"
#include "quant/cluster.h"
#include "testpoint.h"

/* Bits of a dimension of a scan code: where there are few dimensions, they tell little. */
#define FEW_DIMS 256
#define FEW_DIMS_BITS 2
#define MANY_DIMS_BITS 1

/* A centroid of more would not fit a page. */
#define MAX_DIMS 16000

typedef struct Builder
{
	Relation	heap;
	IvfIndex   *index;
	IvfTraining *training;
	MemoryContext row_context;	/* reset after each block of rows */
	float	   *centroids;		/* as their records say: count * P */
	uint32	   *lists;			/* numbers of the lists */
	IvfCoder	coder;

	/* rows that wait to be assigned, of equal length */
	VdbClusters clusters;
	uint32		waiting;
	float	   *vectors;		/* VDB_CLUSTER_BLOCK * P */
	float	   *norms;
	VdbNodeFactors *factors;
	uint8	   *codes;
	uint8	   *payloads;

	Tuplesortstate *sort;
	TupleTableSlot *unsorted;	/* list, and bytes: factors, payload, scan code, record */
	TupleTableSlot *sorted;
	double		rows;
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

/* Writes the lists, empty ones, and keeps what their centroids are from now on. */
static void
write_lists(Builder *builder)
{
	IvfIndex   *index = builder->index;
	uint32		P = index->codec.P;
	uint32		count = builder->training->count;
	IvfList		empty = {.head = IVF_NO_GROUP, .roomy = IVF_NO_LINK};
	IvfWriter	writer;

	builder->lists = MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(uint32));
	vdb_ivf_writer_init(&writer, index, IVF_LISTS);
	for (uint32 i = 0; i < count; i++)
	{
		float	   *centroid = builder->training->centroids + (Size) i * P;
		IvfLane		lane = vdb_ivf_code_centroid(&builder->coder, centroid);

		CHECK_FOR_INTERRUPTS();
		memcpy(builder->coder.payload, &empty, sizeof(empty));
		builder->lists[i] = vdb_ivf_write_lane(&writer, &lane);
		vdb_ivf_decode_centroid(index, lane.record, centroid);
	}
	vdb_ivf_set_lists(index, writer.first, count);
}

/* Has the panel of k-means hold the lists' centroids. */
static void
init_clusters(Builder *builder, const VdbCodec *l2)
{
	uint32		count = builder->training->count;
	Size		stride = l2->hi_bytes + l2->lo_bytes;
	uint8	   *code = palloc(stride);
	char	   *memory = MemoryContextAllocHuge(CurrentMemoryContext, vdb_cluster_bytes(l2, count) + 64);

	vdb_cluster_init(&builder->clusters, l2, count, (char *) TYPEALIGN(64, memory));
	for (uint32 i = 0; i < count; i++)
	{
		VdbNodeFactors f = vdb_encode_node(l2, builder->training->centroids + (Size) i * l2->P, 0, code,
										   code + l2->hi_bytes);

		vdb_cluster_seed(&builder->clusters, i, f, code, code + l2->hi_bytes);
	}
	vdb_cluster_next(&builder->clusters);
	builder->vectors = palloc((Size) VDB_CLUSTER_BLOCK * l2->vector_bytes);
	builder->norms = palloc(VDB_CLUSTER_BLOCK * sizeof(float));
	builder->factors = palloc(VDB_CLUSTER_BLOCK * sizeof(VdbNodeFactors));
	builder->codes = palloc(VDB_CLUSTER_BLOCK * stride);
	builder->payloads = palloc(VDB_CLUSTER_BLOCK * vdb_ivf_shelf(builder->index, IVF_ROWS)->payload_bytes);
	pfree(code);
}

/* Kilobytes that the sort may take: what the centroids leave, and a part in any case. */
static int
sort_memory(const Builder *builder)
{
	const VdbCodec *l2 = builder->clusters.codec;
	Size		taken = vdb_cluster_bytes(l2, builder->training->count) +
		builder->training->count * l2->vector_bytes;

	return (int) Max(maintenance_work_mem - (double) taken / 1024, maintenance_work_mem / 4.0);
}

static void
begin_sort(Builder *builder)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	AttrNumber	column = 1;
	Oid			operator = Int4LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(desc, 1, "list", INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, "row", BYTEAOID, -1, 0);
	builder->sort = tuplesort_begin_heap(desc, 1, &column, &operator, &collation, &nulls_first,
										 sort_memory(builder), NULL, false);
	builder->unsorted = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	builder->sorted = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
}

/* Bytes of a row in the sort. */
static Size
sorted_bytes(const IvfIndex *index)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	return VARHDRSZ + sizeof(VdbScanFactors) + shelf->payload_bytes + shelf->code_bytes + shelf->record_stride;
}

/* Gives a row with its codes to the sort. */
static void
sort_row(Builder *builder, uint32 list, const IvfLane *lane)
{
	const IvfShelf *shelf = vdb_ivf_shelf(builder->index, IVF_ROWS);
	Size		bytes = sorted_bytes(builder->index);
	struct varlena *value = palloc(bytes);
	char	   *at = VARDATA(value);

	SET_VARSIZE(value, bytes);
	memcpy(at, &lane->factors, sizeof(VdbScanFactors));
	at += sizeof(VdbScanFactors);
	memcpy(at, lane->payload, shelf->payload_bytes);
	at += shelf->payload_bytes;
	memcpy(at, lane->code, shelf->code_bytes);
	if (lane->record != NULL)
		memcpy(at + shelf->code_bytes, lane->record, shelf->record_stride);
	ExecClearTuple(builder->unsorted);
	builder->unsorted->tts_values[0] = Int32GetDatum((int32) list);
	builder->unsorted->tts_values[1] = PointerGetDatum(value);
	memset(builder->unsorted->tts_isnull, 0, 2 * sizeof(bool));
	ExecStoreVirtualTuple(builder->unsorted);
	tuplesort_puttupleslot(builder->sort, builder->unsorted);
	pfree(value);
}

/* Assigns the rows that wait, and codes them. */
static void
assign_rows(Builder *builder)
{
	const VdbCodec *l2 = builder->clusters.codec;
	const IvfShelf *shelf = vdb_ivf_shelf(builder->index, IVF_ROWS);
	uint32		nearest[VDB_CLUSTER_BLOCK] = {0};

	if (builder->waiting == 0)
		return;
	vdb_cluster_assign(&builder->clusters, builder->waiting, builder->factors, builder->codes,
					   l2->hi_bytes + l2->lo_bytes, nearest);
	for (uint32 i = 0; i < builder->waiting; i++)
	{
		IvfLane		lane = vdb_ivf_code_row(&builder->coder, builder->vectors + (Size) i * l2->P,
											builder->norms[i],
											builder->training->centroids + (Size) nearest[i] * l2->P);

		lane.payload = builder->payloads + i * shelf->payload_bytes;
		sort_row(builder, nearest[i], &lane);
	}
	builder->waiting = 0;
}

/* A callback of the table's scan. */
static void
load_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Builder    *builder = state;
	IvfIndex   *index = builder->index;
	const VdbCodec *l2 = builder->clusters.codec;
	uint32		i = builder->waiting;
	uint8	   *code = builder->codes + i * (l2->hi_bytes + l2->lo_bytes);
	uint8	   *payload = builder->payloads + i * vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes;
	MemoryContext old;
	float	   *x;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(builder->row_context);
	x = vdb_ivf_transform(index->support, &index->codec, values[0], &builder->norms[i]);
	if (x != NULL)
	{
		memcpy(builder->vectors + (Size) i * l2->P, x, l2->vector_bytes);
		builder->factors[i] = vdb_encode_node(l2, x, builder->norms[i], code, code + l2->hi_bytes);
		memcpy(payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull, payload + sizeof(ItemPointerData));
		builder->rows++;
		if (++builder->waiting == VDB_CLUSTER_BLOCK)
			assign_rows(builder);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->row_context);
}

/* Writes the rows, which are sorted, list by list. */
static void
write_rows(Builder *builder)
{
	IvfIndex   *index = builder->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	IvfWriter	writer;
	IvfList		entry = {.head = IVF_NO_GROUP};
	uint32		list = 0;
	double		done = 0;

	vdb_ivf_writer_init(&writer, index, IVF_ROWS);
	vdb_ivf_writer_begin(&writer, builder->lists[0]);
	while (tuplesort_gettupleslot(builder->sort, true, false, builder->sorted, NULL))
	{
		bool		isnull;
		uint32		next = (uint32) DatumGetInt32(slot_getattr(builder->sorted, 1, &isnull));
		char	   *at = VARDATA_ANY(DatumGetByteaPP(slot_getattr(builder->sorted, 2, &isnull)));
		IvfLane		lane;

		CHECK_FOR_INTERRUPTS();
		if (next != list)
		{
			entry.head = writer.first;
			vdb_ivf_write_list(index, builder->lists[list], &entry);
			list = next;
			vdb_ivf_writer_begin(&writer, builder->lists[list]);
			entry.rows = 0;
		}
		memcpy(&lane.factors, at, sizeof(VdbScanFactors));
		at += sizeof(VdbScanFactors);
		lane.payload = (uint8 *) at;
		lane.code = (uint8 *) at + shelf->payload_bytes;
		lane.record = NULL;
		if (shelf->record_bits > 0)
		{
			memcpy(builder->coder.record, at + shelf->payload_bytes + shelf->code_bytes,
				   shelf->record_stride);
			lane.record = builder->coder.record;
		}
		vdb_ivf_write_lane(&writer, &lane);
		entry.rows++;
		done++;
		if ((uint64) done % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) done);
	}
	if (entry.rows > 0)
	{
		entry.head = writer.first;
		vdb_ivf_write_list(index, builder->lists[list], &entry);
	}
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) done);
}

IndexBuildResult *
vdb_ivf_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const VdbSupport *support = vdb_index_support(rel);
	Builder    *builder = palloc0(sizeof(Builder));
	IvfTraining training = {0};
	IvfGeometry geometry;
	IvfCoding	coding;
	VdbCodec	codec;
	VdbCodec	l2;

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

	builder->heap = heap;
	builder->index = vdb_ivf_open(rel);
	builder->training = &training;
	builder->row_context = AllocSetContextCreate(context, "ivf build rows", ALLOCSET_DEFAULT_SIZES);
	vdb_ivf_coder_init(&builder->coder, builder->index);
	write_lists(builder);
	vdb_codec_init(&l2, VDB_METRIC_L2, codec.dims, codec.seed, codec.center);
	init_clusters(builder, &l2);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_ASSIGN);
	begin_sort(builder);
	result->heap_tuples = table_index_build_scan(heap, rel, info, true, true, load_row, builder, NULL);
	MemoryContextSwitchTo(builder->row_context);
	assign_rows(builder);
	MemoryContextSwitchTo(context);
	tuplesort_performsort(builder->sort);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_LOAD);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) builder->rows);
	write_rows(builder);
	tuplesort_end(builder->sort);
	ExecDropSingleTupleTableSlot(builder->unsorted);
	ExecDropSingleTupleTableSlot(builder->sorted);
	VDB_TESTPOINT("ivf-build-after-write");
	if (RelationNeedsWAL(rel))
		log_newpage_range(rel, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(rel), true);
	result->index_tuples = builder->rows;
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
