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


#include "hnsw/hnsw_private.h"

/* Rows that determine how vectors are coded. */
#define SAMPLE_ROWS 5000

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
	const VdbSupport *support;
	VdbCodec   *codec;
	double	   *sum;			/* dense: of transformed vectors */
	float	   *scratch;		/* dense: a vector */
	uint32	   *counts;			/* sparse: values of each */
	int			rows;			/* read */
} HnswSample;

/* Places of a sparse code for vectors of so many values: a size that a page has room for. */
static uint32
sparse_entries(uint32 values, uint32 dims)
{
	uint32		entries = Min(values, Min(dims, MAX_ENTRIES));

	return TYPEALIGN(2, Max(entries, VDB_SPARSE_MIN_ENTRIES));
}

static void
sample_row(Datum row, void *state)
{
	HnswSample *sample = state;
	VdbValue	value = vdb_index_read_value(sample->support, sample->codec->dims, row);

	if (sample->sum != NULL)
		vdb_codec_accumulate(sample->codec, value.elements, sample->scratch, sample->sum);
	else if (sample->counts != NULL)
		sample->counts[sample->rows] = value.count;
	sample->rows++;
}

/* Dense vectors: codes are relative to the mean of a sample. */
static float *
find_center(const HnswSample *sample)
{
	uint32		P = sample->codec->P;
	float	   *center = palloc0(P * sizeof(float));

	for (uint32 i = 0; i < P && sample->rows >= VDB_SAMPLE_MIN_ROWS; i++)
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
find_entries(const HnswSample *sample)
{
	uint32		entries = 0;

	if (sample->rows > 0)
	{
		qsort(sample->counts, sample->rows, sizeof(uint32), compare_counts);
		entries = sample->counts[(int) ((sample->rows - 1) * ENTRIES_SHARE)];
	}
	if (sample->rows < VDB_SAMPLE_MIN_ROWS)
		entries = Max(entries, DEFAULT_ENTRIES);
	return sparse_entries(entries, sample->codec->dims);
}

void
vdb_hnsw_default_codec(VdbCodec *codec, const VdbSupport *support, uint32 dims)
{
	vdb_index_init_codec(codec, support, dims, sparse_entries(DEFAULT_ENTRIES, dims), 0,
						vdb_index_random_seed(support), NULL);
}

VdbRowEstimate
vdb_hnsw_choose_codec(VdbCodec *codec, const VdbSupport *support, uint32 dims, Relation heap,
					  Relation rel, IndexInfo *info)
{
	HnswSample	sample = {.support = support, .codec = codec};
	VdbRowEstimate rows;
	float	   *center = NULL;
	uint32		entries = 0;
	uint64		seed;

	vdb_hnsw_default_codec(codec, support, dims);
	seed = codec->seed;
	switch (support->kind)
	{
		case VDB_CODEC_DENSE:
			sample.scratch = palloc(codec->vector_bytes);
			sample.sum = palloc0(codec->P * sizeof(double));
			break;
		case VDB_CODEC_BINARY:
			break;
		case VDB_CODEC_SPARSE:
			sample.counts = palloc((SAMPLE_ROWS + VDB_SAMPLE_BLOCKS) * sizeof(uint32));
			break;
	}
	rows = vdb_index_sample(heap, rel, info, support->kind == VDB_CODEC_BINARY ? 0 : SAMPLE_ROWS,
							VDB_SAMPLE_BLOCKS, sample_row, &sample);
	if (support->kind == VDB_CODEC_DENSE)
		center = find_center(&sample);
	else if (support->kind == VDB_CODEC_SPARSE)
		entries = find_entries(&sample);
	vdb_index_init_codec(codec, support, dims, entries, 0, seed, center);
	return rows;
}
