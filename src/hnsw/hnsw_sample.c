/*
 * hnsw_sample.c
 *	  How an index is to code its vectors, and how many there are, from a
 *	  sample of the table.
 *
 * Dense vectors: relative to their mean.  Sparse vectors: with room for the
 * values of almost all.  Of binary vectors nothing is asked but their number.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/tableam.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

#include "hnsw/hnsw_private.h"

/* Rows that determine how vectors are coded, and how many blocks they come from. */
#define SAMPLE_ROWS 5000
#define SAMPLE_BLOCKS 300

/*
 * Blocks of a kind that a sample has none of are hardly ever more than this many
 * in each SAMPLE_BLOCKS: with five the odds against such a sample are e^5 to 1.
 */
#define UNSEEN_BLOCKS 5

/* Fewer rows than this say little about those to come. */
#define SAMPLE_MIN_ROWS 64

/*
 * Sparse vectors: the share of rows whose values all find a place in a code (the
 * others lose their smallest, and are measured more often; a greater share makes
 * every slot larger), how many places there are as long as nothing is known, and
 * the most.
 */
#define ENTRIES_SHARE 0.8
#define DEFAULT_ENTRIES 128
#define MAX_ENTRIES 1024

typedef struct HnswSample
{
	Relation	heap;
	Relation	rel;
	IndexInfo  *info;
	const HnswSupport *support;
	VdbCodec   *codec;
	MemoryContext row_context;	/* reset after each row */
	double	   *sum;			/* dense: of transformed vectors */
	float	   *scratch;		/* dense: a vector */
	uint32	   *counts;			/* sparse: values of each */
	int			rows;			/* read */
	int			block_rows;		/* read from this block */
	int			block_limit;
	int			block_tuples;	/* that are to be indexed, read or not */
} HnswSample;

/* Of the rotation; 0 for none. */
static uint64
random_seed(const HnswSupport *support)
{
	uint64		seed = 0;

	/* city-block distance does not survive a rotation, nor do zeros and ones */
	while (seed == 0 && support->kind == VDB_CODEC_DENSE && support->metric != VDB_METRIC_L1)
		seed = pg_prng_uint64(&pg_global_prng_state);
	return seed;
}

/* Places of a sparse code for vectors of so many values: a size that a page has room for. */
static uint32
sparse_entries(uint32 values, uint32 dims)
{
	uint32		entries = Min(values, Min(dims, MAX_ENTRIES));

	return TYPEALIGN(2, Max(entries, VDB_SPARSE_MIN_ENTRIES));
}

static void
sample_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	HnswSample *sample = state;
	HnswValue	value;
	MemoryContext old;

	if (isnull[0])
		return;
	sample->block_tuples++;

	/* a dead row's out-of-line value may be gone */
	if (!alive || sample->block_rows >= sample->block_limit ||
		sample->rows >= SAMPLE_ROWS + SAMPLE_BLOCKS)
		return;
	old = MemoryContextSwitchTo(sample->row_context);
	value = vdb_hnsw_read_value(sample->support, sample->codec->dims, values[0]);
	if (sample->sum != NULL)
		vdb_codec_accumulate(sample->codec, value.elements, sample->scratch, sample->sum);
	else
		sample->counts[sample->rows] = value.count;
	sample->rows++;
	sample->block_rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sample->row_context);
}

/* Reads so many rows, from blocks drawn at random, and estimates how many there are. */
static HnswRowEstimate
sample_table(HnswSample *sample, int rows)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(sample->heap);
	int			target = Min(blocks, SAMPLE_BLOCKS);
	double		sum = 0;
	double		sum2 = 0;
	double		densest = 0;	/* most rows of a block, to be indexed or not */
	double		mean;
	double		error;
	double		unseen;
	BlockSamplerData sampler;

	if (blocks == 0)
		return (HnswRowEstimate) {0, 0};
	sample->block_limit = (rows + target - 1) / target;
	BlockSampler_Init(&sampler, blocks, target, pg_prng_uint32(&pg_global_prng_state));
	while (BlockSampler_HasMore(&sampler))
	{
		double		all;

		sample->block_rows = 0;
		sample->block_tuples = 0;
		all = table_index_build_range_scan(sample->heap, sample->rel, sample->info, false,
										   !sample->info->ii_Concurrent, false,
										   BlockSampler_Next(&sampler), 1, sample_row, sample, NULL);
		densest = Max(densest, all);
		sum += sample->block_tuples;
		sum2 += (double) sample->block_tuples * sample->block_tuples;
	}
	mean = sum / target;
	error = sqrt(Max(0, sum2 / target - mean * mean) / target * (1 - (double) target / blocks));

	/* a partial index is often of few blocks, all of whose rows it takes */
	if (densest == 0)
		densest = MaxHeapTuplesPerPage;
	unseen = (double) UNSEEN_BLOCKS / target * (blocks - target) * densest;

	/* four standard errors, those, and what may be added meanwhile */
	return (HnswRowEstimate) {
		.expected = mean * blocks,
		.most = ((mean + 4 * error) * blocks + unseen) * 1.02 + 100
	};
}

/* Dense vectors: codes are relative to the mean of a sample. */
static float *
find_center(HnswSample *sample, HnswRowEstimate *rows)
{
	uint32		P = sample->codec->P;
	float	   *center = palloc0(P * sizeof(float));

	sample->scratch = palloc(sample->codec->vector_bytes);
	sample->sum = palloc0(P * sizeof(double));
	*rows = sample_table(sample, SAMPLE_ROWS);
	for (uint32 i = 0; i < P && sample->rows >= SAMPLE_MIN_ROWS; i++)
	{
		double		mean = sample->sum[i] / sample->rows;

		center[i] = isfinite((float) mean) ? (float) mean : 0;
	}
	return center;
}

static int
compare_counts(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Sparse vectors: codes have room for the values of almost all. */
static uint32
find_entries(HnswSample *sample, HnswRowEstimate *rows)
{
	uint32		entries = 0;

	sample->counts = palloc((SAMPLE_ROWS + SAMPLE_BLOCKS) * sizeof(uint32));
	*rows = sample_table(sample, SAMPLE_ROWS);
	if (sample->rows > 0)
	{
		qsort(sample->counts, sample->rows, sizeof(uint32), compare_counts);
		entries = sample->counts[(int) ((sample->rows - 1) * ENTRIES_SHARE)];
	}
	if (sample->rows < SAMPLE_MIN_ROWS)
		entries = Max(entries, DEFAULT_ENTRIES);
	return sparse_entries(entries, sample->codec->dims);
}

void
vdb_hnsw_default_codec(VdbCodec *codec, const HnswSupport *support, uint32 dims)
{
	vdb_hnsw_init_codec(codec, support, dims, sparse_entries(DEFAULT_ENTRIES, dims), 0,
						random_seed(support), NULL);
}

HnswRowEstimate
vdb_hnsw_choose_codec(VdbCodec *codec, const HnswSupport *support, uint32 dims, Relation heap,
					  Relation rel, IndexInfo *info)
{
	HnswSample	sample = {.heap = heap, .rel = rel, .info = info, .support = support, .codec = codec};
	MemoryContext context = CurrentMemoryContext;
	HnswRowEstimate rows = {0, 0};
	float	   *center = NULL;
	uint32		entries = 0;
	uint64		seed;

	vdb_hnsw_default_codec(codec, support, dims);
	seed = codec->seed;
	sample.row_context = AllocSetContextCreate(context, "hnsw sample row", ALLOCSET_DEFAULT_SIZES);
	switch (support->kind)
	{
		case VDB_CODEC_DENSE:
			center = find_center(&sample, &rows);
			break;
		case VDB_CODEC_BINARY:
			rows = sample_table(&sample, 0);
			break;
		case VDB_CODEC_SPARSE:
			entries = find_entries(&sample, &rows);
			break;
	}
	MemoryContextDelete(sample.row_context);
	vdb_hnsw_init_codec(codec, support, dims, entries, 0, seed, center);
	return rows;
}
