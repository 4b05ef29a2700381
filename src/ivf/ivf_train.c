/*
 * ivf_train.c
 *	  From a sample of the table to lists.
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "index/index_sample.h"
#include "ivf/ivf_private.h"
#include "quant/cluster.h"

/* Rows of the sample that the center is the mean of. */
#define CENTER_ROWS 5000

/* Rows of the sample for each list, and how often all centroids are moved. */
#define LIST_ROWS 64
#define ROUNDS 10

/* Lists of a table of n rows where the user does not say: so many times the root of n, */
#define LISTS_FACTOR 2.0

/* and no more than leave each list so many rows. */
#define FEWEST_ROWS 64

typedef struct Sample
{
	const VdbSupport *support;
	const VdbCodec *codec;

	/* the center */
	double	   *sum;
	float	   *scratch;
	uint32		rows;

	/* k-means */
	const VdbCodec *l2;			/* of the same vectors */
	VdbNodeFactors *factors;
	uint8	   *codes;			/* hi_bytes + lo_bytes each */
	uint32		room;
} Sample;

static inline Size
code_bytes(const VdbCodec *l2)
{
	return l2->hi_bytes + l2->lo_bytes;
}

/* Adds a row to the sum of which the center is made. */
static void
add_row(Datum value, void *state)
{
	Sample	   *sample = state;
	vdb_codec_accumulate(sample->codec, vdb_ivf_elements(sample->support, sample->codec->dims, value),
						 sample->scratch, sample->sum);
	sample->rows++;
}

/* Keeps a row's code. */
static void
keep_row(Datum value, void *state)
{
	Sample	   *sample = state;
	float		norm;
	float	   *x = vdb_ivf_transform(sample->support, sample->codec, value, &norm);
	uint8	   *code = sample->codes + sample->rows * code_bytes(sample->l2);

	if (x == NULL || sample->rows == sample->room)
		return;
	sample->factors[sample->rows++] = vdb_encode_node(sample->l2, x, norm, code,
													  code + sample->l2->hi_bytes);
}

/* Makes codes relative to the mean of some rows; returns how many rows there are. */
static double
find_center(Sample *sample, VdbCodec *codec, Relation heap, Relation rel, IndexInfo *info)
{
	float	   *center = palloc0(codec->vector_bytes);
	VdbRowEstimate rows;

	sample->scratch = palloc(codec->vector_bytes);
	sample->sum = palloc0(codec->P * sizeof(double));
	rows = vdb_index_sample(heap, rel, info, CENTER_ROWS, VDB_SAMPLE_BLOCKS, add_row, sample);
	for (uint32 i = 0; i < codec->P && sample->rows >= VDB_SAMPLE_MIN_ROWS; i++)
	{
		double		mean = sample->sum[i] / sample->rows;

		center[i] = isfinite((float) mean) ? (float) mean : 0;
	}
	vdb_codec_init(codec, codec->metric, codec->dims, codec->seed, center);
	sample->rows = 0;
	return rows.expected;
}

/* Bytes that k-means takes for so many lists, its sample included. */
static double
cluster_bytes(const VdbCodec *l2, uint32 lists)
{
	return (double) vdb_cluster_bytes(l2, lists) +
		(double) lists * LIST_ROWS * (code_bytes(l2) + sizeof(VdbNodeFactors) + sizeof(uint32));
}

/* How many lists there shall be. */
static uint32
choose_lists(const VdbCodec *l2, double rows, uint32 wanted)
{
	double		memory = maintenance_work_mem * 1024.0;
	uint32		lists = (uint32) Min((double) wanted, Max(rows, 1));

	if (wanted == 0)
	{
		lists = (uint32) Min(LISTS_FACTOR * sqrt(rows), rows / FEWEST_ROWS);
		lists = Min(Max(lists, 1), IVF_MAX_LISTS);
		while (lists > 1 && cluster_bytes(l2, lists) > memory)
			lists -= (lists + 7) / 8;
	}
	else if (lists > 1 && cluster_bytes(l2, lists) > memory)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required is %d MB, maintenance_work_mem is %d MB",
						(int) (cluster_bytes(l2, lists) / (1024 * 1024)) + 1, maintenance_work_mem / 1024),
				 errhint("Raise maintenance_work_mem, or use fewer lists.")));
	return lists;
}

/* Makes rows of the sample that are far apart in it the first centroids. */
static void
seed_clusters(const Sample *sample, VdbClusters *clusters)
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

static void
run_rounds(const Sample *sample, VdbClusters *clusters)
{
	Size		stride = code_bytes(sample->l2);
	uint32	   *nearest = palloc0(sample->rows * sizeof(uint32));

	for (int round = 0; round < ROUNDS; round++)
	{
		for (uint32 i = 0; i < sample->rows; i += VDB_CLUSTER_BLOCK)
		{
			uint32		n = Min(VDB_CLUSTER_BLOCK, sample->rows - i);
			const uint8 *codes = sample->codes + i * stride;

			CHECK_FOR_INTERRUPTS();
			vdb_cluster_assign(clusters, n, sample->factors + i, codes, stride, nearest + i);
			vdb_cluster_gather(clusters, n, sample->factors + i, codes, stride, nearest + i);
		}
		vdb_cluster_next(clusters);
	}
	pfree(nearest);
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

static void
find_centroids(IvfTraining *training, Sample *sample, Relation heap, Relation rel, IndexInfo *info,
			   uint32 lists)
{
	const VdbCodec *l2 = sample->l2;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivf k-means",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	VdbClusters clusters;
	char	   *memory;

	sample->room = (uint32) Min((double) lists * LIST_ROWS, Max(2 * training->rows, VDB_SAMPLE_MIN_ROWS));
	sample->factors = MemoryContextAllocHuge(context, sample->room * sizeof(VdbNodeFactors));
	sample->codes = MemoryContextAllocHuge(context, sample->room * code_bytes(l2));
	vdb_index_sample(heap, rel, info, sample->room, sample->room, keep_row, sample);
	if (sample->rows > 0)
	{
		lists = Min(lists, sample->rows);
		memory = MemoryContextAllocHuge(context, vdb_cluster_bytes(l2, lists) + 64);
		vdb_cluster_init(&clusters, l2, lists, (char *) TYPEALIGN(64, memory));
		seed_clusters(sample, &clusters);
		run_rounds(sample, &clusters);
		MemoryContextSwitchTo(old);
		keep_centroids(training, &clusters);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
vdb_ivf_train(IvfTraining *training, VdbCodec *codec, const VdbSupport *support, Relation heap,
			  Relation rel, IndexInfo *info, uint32 lists)
{
	Sample		sample = {.support = support, .codec = codec};
	VdbCodec	l2;

	training->rows = find_center(&sample, codec, heap, rel, info);
	vdb_codec_init(&l2, VDB_METRIC_L2, codec->dims, codec->seed, codec->center);
	sample.l2 = &l2;
	lists = choose_lists(&l2, training->rows, lists);
	training->count = 0;
	if (lists > 1)
		find_centroids(training, &sample, heap, rel, info, lists);

	/* a list that takes everything, of rows of which nothing is known */
	if (training->count == 0)
	{
		training->centroids = palloc0(codec->vector_bytes);
		training->count = 1;
	}
}
