/*
 * ivf_train.c
 *	  From a sample of rows to lists.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

#include "compute/compute.h"
#include "index/index_sample.h"
#include "ivf/ivf_private.h"
#include "pace.h"

/* Rows of the sample that the center is the mean of. */
#define CENTER_ROWS 5000

/* Rows of the sample for each list, and how often all centroids are moved. */
#define LIST_ROWS 64
#define ROUNDS 10

/* The same where centroids are directions, which take longer to settle. */
#define SPHERE_ROUNDS 25

/* Lists of a table of n rows where the user does not say: so many times the root of n, */
#define LISTS_FACTOR 2.0

/* and no more than leave each list so many rows. */
#define FEWEST_ROWS 64

/* What a pass over the table adds up, or takes a sample for. */
typedef struct Pass
{
	const VdbSupport *support;
	const VdbCodec *codec;

	/* the center */
	double	   *sum;
	float	   *scratch;
	uint32		rows;

	IvfSample  *sample;
} Pass;

static inline Size
code_bytes(const VdbCodec *l2)
{
	return l2->hi_bytes + l2->lo_bytes;
}

void
vdb_ivf_sample_init(IvfSample *sample, const VdbCodec *l2, uint32 room)
{
	sample->l2 = l2;
	sample->rows = 0;
	sample->room = room;
	sample->factors = palloc_extended(room * sizeof(VdbNodeFactors), MCXT_ALLOC_HUGE);
	sample->codes = palloc_extended(room * code_bytes(l2), MCXT_ALLOC_HUGE);
}

void
vdb_ivf_sample_add(IvfSample *sample, const float *vector, float norm)
{
	uint8	   *code = sample->codes + sample->rows * code_bytes(sample->l2);

	if (sample->rows == sample->room)
		return;
	sample->factors[sample->rows++] = vdb_encode_node(sample->l2, vector, norm, code,
													  code + sample->l2->hi_bytes);
}

/* Adds a row to the sum of which the center is made. */
static void
add_row(Datum value, void *state)
{
	Pass	   *pass = state;

	vdb_codec_accumulate(pass->codec, vdb_ivf_elements(pass->support, pass->codec->dims, value),
						 pass->scratch, pass->sum);
	pass->rows++;
}

/* Takes a row to the sample. */
static void
keep_row(Datum value, void *state)
{
	Pass	   *pass = state;
	float		norm;
	float	   *x = vdb_ivf_transform(pass->support, pass->codec, value, &norm);

	if (x != NULL)
		vdb_ivf_sample_add(pass->sample, x, norm);
}

/* Makes codes relative to the mean of some rows; returns how many rows there are. */
static double
find_center(Pass *pass, VdbCodec *codec, Relation heap, Relation rel, IndexInfo *info)
{
	float	   *center = palloc0(codec->vector_bytes);
	VdbRowEstimate rows;

	pass->scratch = palloc(codec->vector_bytes);
	pass->sum = palloc0(codec->P * sizeof(double));
	rows = vdb_index_sample(heap, rel, info, CENTER_ROWS, VDB_SAMPLE_BLOCKS, add_row, pass);
	for (uint32 i = 0; i < codec->P && pass->rows >= VDB_SAMPLE_MIN_ROWS; i++)
	{
		double		mean = pass->sum[i] / pass->rows;

		center[i] = isfinite((float) mean) ? (float) mean : 0;
	}
	vdb_codec_init(codec, codec->metric, codec->dims, codec->seed, center);
	return rows.expected;
}

/* Bytes that k-means takes for so many lists, its sample included. */
static double
cluster_bytes(const VdbCodec *l2, uint32 lists)
{
	return (double) vdb_cluster_bytes(l2, lists) +
		(double) lists * LIST_ROWS * (code_bytes(l2) + sizeof(VdbNodeFactors) + sizeof(uint32));
}

uint32
vdb_ivf_ideal_lists(double rows, uint32 wanted)
{
	double		lists = Min(wanted > 0 ? wanted : LISTS_FACTOR * sqrt(rows), rows / FEWEST_ROWS);

	return (uint32) Min(Max(lists, 1), IVF_MAX_LISTS);
}

uint32
vdb_ivf_affordable_lists(const VdbCodec *l2, uint32 lists)
{
	while (lists > 1 && cluster_bytes(l2, lists) > (double) vdb_index_maintenance_memory())
		lists -= (lists + 7) / 8;
	return lists;
}

/* As many lists as the user says, if there are rows for them. */
static uint32
wanted_lists(const VdbCodec *l2, double rows, uint32 wanted)
{
	uint32		lists = (uint32) Min((double) wanted, Max(rows, 1));

	if (lists > 1 && cluster_bytes(l2, lists) > maintenance_work_mem * 1024.0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required is %d MB, maintenance_work_mem is %d MB",
						(int) (cluster_bytes(l2, lists) / (1024 * 1024)) + 1, maintenance_work_mem / 1024),
				 errhint("Raise maintenance_work_mem, or use fewer lists.")));
	return lists;
}

/* Makes rows of the sample that are far apart in it the first centroids. */
static void
seed_clusters(const IvfSample *sample, VdbClusters *clusters)
{
	for (uint32 i = 0; i < clusters->count; i++)
	{
		uint32		first = (uint32) ((uint64) i * sample->rows / clusters->count);
		uint32		end = (uint32) ((uint64) (i + 1) * sample->rows / clusters->count);
		uint32		row = (uint32) pg_prng_uint64_range(&pg_global_prng_state, first,
														Max(end, first + 1) - 1);
		const uint8 *code = sample->codes + row * code_bytes(sample->l2);

		vdb_cluster_seed(clusters, i, sample->factors[row], code, code + sample->l2->hi_bytes);
	}
	vdb_cluster_next(clusters);
}

/* nearest: of each row its cluster, 0 to begin with. */
static void
run_rounds(const IvfSample *sample, VdbClusters *clusters, uint32 *nearest)
{
	Size		stride = code_bytes(sample->l2);
	int			rounds = clusters->on_sphere ? SPHERE_ROUNDS : ROUNDS;

	for (int round = 0; round < rounds; round++)
	{
		for (uint32 i = 0; i < sample->rows; i += VDB_CLUSTER_BLOCK)
		{
			uint32		n = Min(VDB_CLUSTER_BLOCK, sample->rows - i);
			const uint8 *codes = sample->codes + i * stride;

			vdb_pace();
			vdb_cluster_assign(clusters, n, sample->factors + i, codes, stride, nearest + i);
			vdb_cluster_gather(clusters, n, sample->factors + i, codes, stride, nearest + i);
		}
		vdb_cluster_next(clusters);
	}
}

/*
 * Keeps as many residuals as are wanted, of rows that are far apart in the sample, each
 * brought to the length that a codebook is for.
 */
static void
keep_residuals(IvfTraining *training, const IvfSample *sample, const VdbClusters *clusters,
			   const uint32 *nearest)
{
	uint32		P = sample->l2->P;
	uint32		count = Min(training->wanted_residuals, sample->rows);

	training->residuals = MemoryContextAllocHuge(CurrentMemoryContext,
												 (Size) count * sample->l2->vector_bytes);
	for (uint32 i = 0; i < count; i++)
	{
		uint32		row = (uint32) ((uint64) i * sample->rows / count);
		const uint8 *code = sample->codes + row * code_bytes(sample->l2);
		const float *centroid = clusters->centroids + (Size) nearest[row] * P;
		float	   *out = training->residuals + (Size) training->residual_count * P;
		double		norm2 = 0;
		float		factor;

		vdb_decode_node(sample->l2, sample->factors[row], code, code + sample->l2->hi_bytes, out);
		for (uint32 d = 0; d < P; d++)
		{
			out[d] -= centroid[d];
			norm2 += (double) out[d] * out[d];
		}

		/* of a row that is its list's centroid nothing is left */
		if (!(norm2 > FLT_MIN && norm2 < FLT_MAX))
			continue;
		factor = (float) sqrt(P / norm2);
		for (uint32 d = 0; d < P; d++)
			out[d] *= factor;
		training->residual_count++;
	}
}

/* Keeps the centroids of clusters that have members. */
static void
keep_centroids(IvfTraining *training, const VdbClusters *clusters)
{
	Size		bytes = clusters->codec->vector_bytes;

	training->centroids = MemoryContextAllocHuge(CurrentMemoryContext, clusters->count * bytes);
	training->count = 0;
	for (uint32 i = 0; i < clusters->count; i++)
	{
		if (clusters->members[i] > 0)
			memcpy((char *) training->centroids + training->count++ * bytes,
				   (const char *) clusters->centroids + i * bytes, bytes);
	}
}

void
vdb_ivf_use_finder(VdbClusters *clusters, uint32 wanted)
{
	VdbFinder  *finder = vdb_compute_make_finder(clusters->codec, clusters->count);

	if (finder != NULL)
		vdb_cluster_use_finder(clusters, finder, wanted,
							   palloc((Size) VDB_CLUSTER_BLOCK * wanted * sizeof(VdbNeighbor)));
}

void
vdb_ivf_cluster(IvfTraining *training, const IvfSample *sample, uint32 lists, bool on_sphere)
{
	MemoryContext context;
	MemoryContext old;
	VdbClusters clusters;
	uint32	   *nearest;
	char	   *memory;

	training->count = 0;
	if (sample->rows == 0)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "ivf k-means", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	lists = Min(lists, sample->rows);
	memory = palloc_extended(vdb_cluster_bytes(sample->l2, lists) + 64, MCXT_ALLOC_HUGE);
	vdb_cluster_init(&clusters, sample->l2, lists, (char *) TYPEALIGN(64, memory));
	clusters.on_sphere = on_sphere;
	vdb_ivf_use_finder(&clusters, 1);
	nearest = palloc0(sample->rows * sizeof(uint32));
	seed_clusters(sample, &clusters);
	run_rounds(sample, &clusters, nearest);
	MemoryContextSwitchTo(old);
	keep_centroids(training, &clusters);
	if (training->wanted_residuals > 0)
		keep_residuals(training, sample, &clusters, nearest);
	MemoryContextDelete(context);
}

bool
vdb_ivf_on_sphere(Relation rel, VdbMetric metric)
{
	return vdb_ivf_is_flat(rel) && metric == VDB_METRIC_COSINE;
}

uint32
vdb_ivf_sample_rows(uint32 lists)
{
	return lists * LIST_ROWS;
}

/*
 * Blocks to take so many rows of, of a table that is expected to have some: more of them, where not each
 * has one.
 */
static uint32
sample_blocks(Relation heap, double expected, uint32 rows)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(heap);

	return (uint32) Min(rows * Max((double) blocks / expected, 1), (double) blocks);
}

/* Lists for a new index, from a sample of its table. */
static void
find_centroids(IvfTraining *training, Pass *pass, const VdbCodec *l2, Relation heap, Relation rel,
			   IndexInfo *info, uint32 lists)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	double		most = Max(2 * training->rows, VDB_SAMPLE_MIN_ROWS);
	IvfSample	sample;

	vdb_ivf_sample_init(&sample, l2, (uint32) Min(Max(vdb_ivf_sample_rows(lists), training->wanted_residuals), most));
	pass->sample = &sample;
	vdb_index_sample(heap, rel, info, sample.room, sample_blocks(heap, training->rows, sample.room), keep_row, pass);
	MemoryContextSwitchTo(old);
	vdb_ivf_cluster(training, &sample, lists, vdb_ivf_on_sphere(rel, pass->codec->metric));
	MemoryContextDelete(context);
}

void
vdb_ivf_train(IvfTraining *training, VdbCodec *codec, const VdbSupport *support, Relation heap,
			  Relation rel, IndexInfo *info, uint32 lists)
{
	Pass		pass = {.support = support, .codec = codec};
	VdbCodec	l2;

	training->rows = find_center(&pass, codec, heap, rel, info);
	vdb_codec_init(&l2, VDB_METRIC_L2, codec->dims, codec->seed, codec->center);
	if (lists > 0)
		lists = wanted_lists(&l2, training->rows, lists);
	else
		lists = vdb_ivf_affordable_lists(&l2, vdb_ivf_ideal_lists(training->rows, 0));
	training->count = 0;
	if (lists > 1)
		find_centroids(training, &pass, &l2, heap, rel, info, lists);

	/* a list that takes everything, of rows of which nothing is known */
	if (training->count == 0)
	{
		training->centroids = palloc0(codec->vector_bytes);
		training->count = 1;
	}
}
