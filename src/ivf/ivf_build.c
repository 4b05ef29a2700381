/*
 * ivf_build.c
 *	  CREATE INDEX: lists from a sample, then each row to its list.
 *
 * The table is read once; how its rows get into lists is in ivf_load.c.  At the end the
 * whole fork is logged.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "index/index_parallel.h"
#include "ivf/ivf_private.h"
#include "mirror/mirror.h"
#include "pace.h"
#include "stats/stats.h"
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
	uint64		rows;			/* that this process has taken */
} Builder;

/* What all processes add up. */
typedef struct BuildCounts
{
	VdbParallelScan scan;
	pg_atomic_uint64 rows;
} BuildCounts;

/* What the processes of a parallel build share.  Followed by their sort. */
typedef struct BuildShared
{
	BuildCounts counts;
	int			processes;		/* asked for, the leader among them */
} BuildShared;

StaticAssertDecl(sizeof(BuildShared) % MAXIMUM_ALIGNOF == 0, "what follows it is aligned");

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
	coding.spill = options.spill != 0;
	coding.scan_bits = codec->P <= FEW_DIMS ? FEW_DIMS_BITS : MANY_DIMS_BITS;
	coding.scan_dims = Min(codec->P, vdb_ivf_max_code_bytes(&coding) * 8 / coding.scan_bits / 8 * 8);
	vdb_ivf_choose_scan(&coding, rel, codec->P);
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

/* Writes the lists, empty ones. */
static void
write_lists(IvfIndex *index, const IvfTraining *training)
{
	IvfCoder	coder;
	IvfWriter	writer;

	vdb_ivf_coder_init(&coder, index);
	vdb_ivf_writer_init(&writer, index, IVF_LISTS, true);
	for (uint32 i = 0; i < training->count; i++)
	{
		IvfLane		lane = vdb_ivf_code_centroid(&coder, training->centroids + (Size) i * index->codec.P, 0);

		CHECK_FOR_INTERRUPTS();
		vdb_ivf_write_lane(&writer, &lane);
	}
	vdb_ivf_writer_end(&writer);
	vdb_ivf_set_lists(index, writer.first, training->count);
}

/* A callback of the table's scan. */
static void
load_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Builder    *builder = state;
	IvfIndex   *index = builder->index;
	MemoryContext old;
	IvfRow		row = {.payload = builder->payload};

	/* an automatic rebuild reads no faster than it may */
	vdb_pace();
	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(builder->row_context);
	row.vector = vdb_ivf_transform(index->support, &index->codec, values[0], &row.norm);
	if (row.vector != NULL)
	{
		/* of a lane that is the row's first, if it has two */
		memcpy(builder->payload, tid, sizeof(ItemPointerData));
		vdb_index_form_attributes(index->attributes, values, isnull,
								  builder->payload + sizeof(ItemPointerData));
		vdb_ivf_load_row(builder->loader, &row);
		builder->rows++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->row_context);
}

/* Gets ready to take rows: centroids are what their records say, for all processes alike. */
static void
begin_loading(Builder *builder, const IvfSharedSort *shared)
{
	float	   *centroids;
	uint32	   *lists;
	uint32		count = vdb_ivf_load_centroids(builder->index, &centroids, &lists);

	builder->row_context = AllocSetContextCreate(CurrentMemoryContext, "ivf build row",
												 ALLOCSET_DEFAULT_SIZES);
	builder->payload = palloc0(vdb_ivf_shelf(builder->index, IVF_ROWS)->payload_bytes);
	builder->loader = vdb_ivf_loader_begin(builder->index, centroids, lists,
											&(IvfLoad) {.count = count, .building = true, .shared = shared});
}

/* Takes all rows of a scan (NULL: of the table), and adds up what it sees. */
static void
load_rows(Builder *builder, Relation heap, IndexInfo *info, TableScanDesc scan, BuildCounts *counts)
{
	double		rows = table_index_build_scan(heap, builder->index->rel, info, true,
											  !IsParallelWorker(), load_row, builder, scan);

	vdb_parallel_note_scan(&counts->scan, info, rows);
	pg_atomic_fetch_add_u64(&counts->rows, builder->rows);
}

static void
init_counts(BuildCounts *counts)
{
	memset(counts, 0, sizeof(*counts));
	SpinLockInit(&counts->scan.mutex);
	pg_atomic_init_u64(&counts->rows, 0);
}

/* Begins a build by several processes; NULL when there is none but this. */
static VdbParallel *
begin_parallel(Builder *builder, Relation heap, IndexInfo *info, double rows)
{
	IvfIndex   *index = builder->index;
	int			workers = vdb_parallel_plan(heap, info, rows * index->lists * index->codec.hi_bytes);
	VdbParallel *parallel;
	BuildShared *shared;
	int			launched;

	if (workers == 0)
		return NULL;
	parallel = vdb_parallel_begin(heap, index->rel, info, "vdb_ivf_build_worker", workers,
								  sizeof(BuildShared) + tuplesort_estimate_shared(workers + 1));
	if (parallel == NULL)
		return NULL;
	shared = parallel->own;
	init_counts(&shared->counts);
	shared->processes = workers + 1;
	tuplesort_initialize_shared((Sharedsort *) (shared + 1), workers + 1, parallel->segment);
	launched = vdb_parallel_launch(parallel);
	if (launched == 0)
		return NULL;
	ereport(DEBUG1,
			(errmsg_internal("building index \"%s\" with %d parallel workers",
							 RelationGetRelationName(index->rel), launched)));
	return parallel;
}

/* One of several processes: takes its part of the rows. */
static void
share_rows(Builder *builder, VdbParallel *parallel)
{
	BuildShared *shared = parallel->own;
	IvfSharedSort sort = {.sort = (Sharedsort *) (shared + 1), .processes = shared->processes};

	begin_loading(builder, &sort);
	load_rows(builder, parallel->heap, parallel->info, vdb_parallel_join_scan(parallel), &shared->counts);
	vdb_ivf_loader_share(builder->loader);
}

void
vdb_ivf_build_worker(dsm_segment *segment, shm_toc *toc)
{
	VdbParallel *parallel = vdb_parallel_worker_begin(segment, toc);
	BuildShared *shared = parallel->own;
	Builder		builder = {.index = vdb_ivf_open(parallel->index)};

	tuplesort_attach_shared((Sharedsort *) (shared + 1), segment);
	VDB_TESTPOINT("ivf-build-worker");
	share_rows(&builder, parallel);
	vdb_parallel_worker_end(parallel);
}

static void
write_rows(Builder *builder, uint64 rows)
{
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_LOAD);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) rows);
	vdb_ivf_loader_write(builder->loader);
}

/* Indexes the rows of the table, alone or with workers.  expected: so many. */
static void
index_rows(Builder *builder, Relation heap, IndexInfo *info, double expected, BuildCounts *counts)
{
	VdbParallel *parallel;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_ASSIGN);
	parallel = begin_parallel(builder, heap, info, expected);
	if (parallel != NULL)
	{
		BuildShared *shared = parallel->own;
		IvfSharedSort sort = {.sort = (Sharedsort *) (shared + 1)};

		share_rows(builder, parallel);
		WaitForParallelWorkersToFinish(parallel->context);
		sort.processes = parallel->context->nworkers_launched + 1;
		*counts = shared->counts;
		vdb_ivf_loader_merge(builder->loader, &sort);
		write_rows(builder, pg_atomic_read_u64(&counts->rows));
		vdb_parallel_end(parallel);
	}
	else
	{
		init_counts(counts);
		begin_loading(builder, NULL);
		load_rows(builder, heap, info, NULL, counts);
		write_rows(builder, builder->rows);
	}
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
	BuildCounts counts;
	IvfGeometry geometry;
	IvfCoding	coding;
	VdbCodec	codec;
	instr_time	begun;
	bool		wants_rotation;
	float	   *codebook;

	INSTR_TIME_SET_CURRENT(begun);
	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	vdb_mirror_forget(rel);
	init_codec(rel, support, &codec);
	coding = choose_coding(rel, &codec, &geometry);
	wants_rotation = coding.rotated;
	training.wanted_residuals = vdb_ivf_codebook_sample(&coding, heap, rel, codec.P);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_KMEANS);
	vdb_ivf_train(&training, &codec, support, heap, rel, info, vdb_ivf_options(rel).lists);
	if (vdb_ivf_is_flat(rel) && training.rows < (double) vdb_ivf_options(rel).lists)
		ereport(NOTICE,
				(errmsg("ivfflat index created with little data"),
				 errdetail("This will cause low recall."),
				 errhint("Drop the index until the table has more data.")));
	codebook = vdb_ivf_make_codebook(&coding, codec.P, &training);
	if (training.residuals != NULL)
		pfree(training.residuals);

	/* whether there is a rotation is known only now */
	if (wants_rotation && !coding.rotated)
		ereport(NOTICE,
				(errmsg("index \"%s\" has no rotation", RelationGetRelationName(rel)),
				 errdetail("To learn one takes several lists and %u rows; its codes are those of quantizer = pq.",
						   vdb_ivf_rotation_rows(codec.P)),
				 errhint("REINDEX it when the table has more data.")));
	(void) vdb_ivf_geometry(&geometry, &codec, &coding);
	vdb_ivf_create_meta(rel, MAIN_FORKNUM, &geometry, &codec, &coding, codebook);

	builder.index = vdb_ivf_open(rel);
	write_lists(builder.index, &training);
	pfree(training.centroids);
	index_rows(&builder, heap, info, training.rows, &counts);
	vdb_ivf_set_trained(builder.index, pg_atomic_read_u64(&counts.rows), (uint64) counts.scan.heap_tuples);
	vdb_ivf_calibrate_lists(builder.index, heap, true);
	VDB_TESTPOINT("ivf-build-after-write");
	vdb_log_new_index(rel);
	info->ii_BrokenHotChain = counts.scan.broken_hot_chain;
	result->heap_tuples = counts.scan.heap_tuples;
	result->index_tuples = (double) pg_atomic_read_u64(&counts.rows);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vdb_stats_note_build(RelationGetRelid(rel), begun);
	return result;
}

void
vdb_ivf_buildempty(Relation rel)
{
	const VdbSupport *support = vdb_index_support(rel);
	IvfGeometry geometry;
	IvfCoding	coding;
	VdbCodec	codec;
	float	   *codebook;

	init_codec(rel, support, &codec);
	coding = choose_coding(rel, &codec, &geometry);
	codebook = vdb_ivf_make_codebook(&coding, codec.P, &(IvfTraining) {0});
	(void) vdb_ivf_geometry(&geometry, &codec, &coding);
	vdb_ivf_create_meta(rel, INIT_FORKNUM, &geometry, &codec, &coding, codebook);
}
