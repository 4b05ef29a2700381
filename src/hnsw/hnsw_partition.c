/*
 * hnsw_partition.c
 *	  Which vectors of a large table go into the same graph: pivots and their
 *	  weights.
 */
#include <float.h>
#include <string.h>

#include "hnsw/hnsw_partition.h"

/* Rounds in which weights are found; they settle within about ten. */
#define ROUNDS 24

/* No pivot. */
#define NONE UINT32_MAX

/*
 * Of a vector and a pivot, smaller is nearer.  Scores that are no number or have
 * no end compare like the largest ones, so that weights still count.
 */
static inline float
weighted_score(const HnswPivots *pivots, VdbNodeFactors factors, const uint8_t *hi, uint32_t pivot)
{
	const HnswCodeSample *codes = &pivots->codes;
	float		score = vdb_pair_score(codes->codec, factors, hi, codes->factors[pivot],
									   codes->hi + (size_t) codes->codec->hi_bytes * pivot);

	if (!(score < FLT_MAX / 4))
		score = FLT_MAX / 4;
	else if (score < -FLT_MAX / 4)
		score = -FLT_MAX / 4;
	return score + pivots->weights[pivot];
}

/* The two nearest pivots that have room, with their scores; NONE where there is none. */
static void
find_nearest(const HnswPivots *pivots, VdbNodeFactors factors, const uint8_t *hi,
			 uint32_t nearest[2], float scores[2])
{
	nearest[0] = nearest[1] = NONE;
	scores[0] = scores[1] = FLT_MAX;
	for (uint32_t i = 0; i < pivots->codes.count; i++)
	{
		float		score;

		if (pivots->sizes[i] >= pivots->limit)
			continue;
		score = weighted_score(pivots, factors, hi, i);
		if (score < scores[0] || nearest[0] == NONE)
		{
			nearest[1] = nearest[0];
			scores[1] = scores[0];
			nearest[0] = i;
			scores[0] = score;
		}
		else if (score < scores[1] || nearest[1] == NONE)
		{
			nearest[1] = i;
			scores[1] = score;
		}
	}
}

/*
 * Counts the sample in each partition, as hosts and guests; returns how far
 * apart the scores of a vector's two pivots are on average.
 */
static double
count_sample(HnswPivots *pivots, const HnswCodeSample *sample, void (*interrupt) (void))
{
	double		gap = 0;

	memset(pivots->sizes, 0, pivots->codes.count * sizeof(uint32_t));
	for (uint32_t i = 0; i < sample->count; i++)
	{
		uint32_t	nearest[2];
		float		scores[2];

		if (i % 64 == 0)
			interrupt();
		find_nearest(pivots, sample->factors[i], sample->hi + (size_t) sample->codec->hi_bytes * i,
					 nearest, scores);
		pivots->sizes[nearest[0]]++;
		pivots->sizes[nearest[1]]++;
		gap += (double) scores[1] - scores[0];
	}
	return gap / sample->count;
}

void
vdb_hnsw_pivots_init(HnswPivots *pivots, const HnswCodeSample *sample, uint32_t count,
					 float *weights, uint32_t *sizes, uint32_t limit, void (*interrupt) (void))
{
	double		even = 2.0 * sample->count / count;
	double		unit = 0;

	pivots->codes = *sample;
	pivots->codes.count = count;
	pivots->weights = weights;
	pivots->sizes = sizes;
	pivots->limit = UINT32_MAX;
	memset(weights, 0, count * sizeof(float));

	/*
	 * The distance between a vector's two pivots is the unit in which a change
	 * of weight moves vectors.  Steps become smaller, or the last ones would
	 * only shift vectors back and forth.
	 */
	for (int round = 0; round < ROUNDS && count > 2; round++)
	{
		double		gap = count_sample(pivots, sample, interrupt);

		if (round == 0)
			unit = gap;
		for (uint32_t i = 0; i < count; i++)
		{
			double		excess = sizes[i] / even - 1;

			weights[i] += (float) (unit * (excess < 1 ? excess : 1) * 4 / (4 + round));
		}
	}
	memset(sizes, 0, count * sizeof(uint32_t));
	pivots->limit = limit;
}

void
vdb_hnsw_pivots_assign(HnswPivots *pivots, VdbNodeFactors factors, const uint8_t *hi,
					   uint32_t *host, uint32_t *guest)
{
	uint32_t	nearest[2];
	float		scores[2];

	find_nearest(pivots, factors, hi, nearest, scores);
	*host = nearest[0];
	pivots->sizes[*host]++;
	*guest = *host;
	if (nearest[1] != NONE)
	{
		*guest = nearest[1];
		pivots->sizes[*guest]++;
	}
}
