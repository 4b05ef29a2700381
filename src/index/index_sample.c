/*
 * index_sample.c
 *	  Rows of blocks drawn at random.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/tableam.h"
#include "common/pg_prng.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

#include "index/index_sample.h"

/*
 * Blocks of a kind that a sample has none of are hardly ever more than this many
 * in each so many as were drawn: with five the odds against such a sample are e^5 to 1.
 */
#define UNSEEN_BLOCKS 5

typedef struct Sample
{
	void		(*take) (Datum value, void *state);
	void	   *state;
	MemoryContext row_context;	/* reset after each row */
	uint64		rows;			/* taken */
	uint64		most;
	uint32		block_rows;		/* taken from this block */
	uint32		block_limit;
	int			block_tuples;	/* that are to be indexed, taken or not */
} Sample;

static void
sample_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Sample	   *sample = state;
	MemoryContext old;

	if (isnull[0])
		return;
	sample->block_tuples++;

	/* a dead row's out-of-line value may be gone */
	if (!alive || sample->block_rows >= sample->block_limit || sample->rows >= sample->most)
		return;
	old = MemoryContextSwitchTo(sample->row_context);
	sample->take(values[0], sample->state);
	sample->rows++;
	sample->block_rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sample->row_context);
}

VdbRowEstimate
vdb_index_sample(Relation heap, Relation rel, IndexInfo *info, uint32 rows, uint32 most_blocks,
				 void (*take) (Datum value, void *state), void *state)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(heap);
	int			target = (int) Min(blocks, most_blocks);
	double		sum = 0;
	double		sum2 = 0;
	double		densest = 0;	/* most rows of a block, to be indexed or not */
	double		mean;
	double		error;
	double		unseen;
	Sample		sample = {.take = take, .state = state, .most = (uint64) rows + most_blocks};
	BlockSamplerData sampler;

	if (blocks == 0)
		return (VdbRowEstimate) {0, 0};
	sample.row_context = AllocSetContextCreate(CurrentMemoryContext, "vdb sample row",
											   ALLOCSET_DEFAULT_SIZES);
	sample.block_limit = (rows + target - 1) / target;
	BlockSampler_Init(&sampler, blocks, target, pg_prng_uint32(&pg_global_prng_state));
	while (BlockSampler_HasMore(&sampler))
	{
		double		all;

		sample.block_rows = 0;
		sample.block_tuples = 0;
		all = table_index_build_range_scan(heap, rel, info, false, !info->ii_Concurrent, false,
										   BlockSampler_Next(&sampler), 1, sample_row, &sample, NULL);
		densest = Max(densest, all);
		sum += sample.block_tuples;
		sum2 += (double) sample.block_tuples * sample.block_tuples;
	}
	MemoryContextDelete(sample.row_context);
	mean = sum / target;
	error = sqrt(Max(0, sum2 / target - mean * mean) / target * (1 - (double) target / blocks));

	/* a partial index is often of few blocks, all of whose rows it takes */
	if (densest == 0)
		densest = MaxHeapTuplesPerPage;
	unseen = (double) UNSEEN_BLOCKS / target * (blocks - target) * densest;

	/* four standard errors, those, and what may be added meanwhile */
	return (VdbRowEstimate) {
		.expected = mean * blocks,
		.most = ((mean + 4 * error) * blocks + unseen) * 1.02 + 100
	};
}
