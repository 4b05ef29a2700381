/*
 * hnsw_partition.c
 *	  Which vectors go together: pivots and their weights.
 */
#include <float.h>
#include <string.h>

#include "hnsw/hnsw_partition.h"

#define ALIGN64(n) (((n) + 63) / 64 * 64)

size_t
vdb_hnsw_pivots_bytes(const VdbCodec *codec, uint32_t count)
{
	return ALIGN64(vdb_panel_bytes(codec, count)) + 2 * ALIGN64(count * sizeof(float));
}

void
vdb_hnsw_pivots_init(HnswPivots *pivots, const VdbCodec *codec, uint32_t count, uint32_t fanout,
					 uint32_t limit, char *memory)
{
	pivots->count = count;
	pivots->fanout = fanout < count ? fanout : count;
	pivots->limit = limit;
	vdb_panel_init(&pivots->panel, codec, count, memory);
	memory += ALIGN64(vdb_panel_bytes(codec, count));
	pivots->weights = (float *) memory;
	pivots->sizes = (uint32_t *) (memory + ALIGN64(count * sizeof(float)));
	memset(pivots->weights, 0, count * sizeof(float));
	memset(pivots->sizes, 0, count * sizeof(uint32_t));
}

/*
 * A score with the weight of its pivot, smaller is nearer.  Scores without an
 * end compare like the largest ones, so that weights still count.
 */
static inline float
weighted(const HnswPivots *pivots, const float *scores, uint32_t pivot)
{
	float		score = scores[pivot];

	if (!(score < FLT_MAX / 4))
		score = FLT_MAX / 4;
	else if (score < -FLT_MAX / 4)
		score = -FLT_MAX / 4;
	return score + pivots->weights[pivot];
}

/*
 * The nearest pivots that have room, and their weighted scores; returns how
 * many there are.
 */
static uint32_t
find_nearest(const HnswPivots *pivots, const float *scores, uint32_t *nearest, float *distance)
{
	uint32_t	found = 0;

	for (uint32_t i = 0; i < pivots->count; i++)
	{
		float		score = weighted(pivots, scores, i);
		uint32_t	at;

		if (found == pivots->fanout && score >= distance[found - 1])
			continue;
		if (pivots->sizes[i] >= pivots->limit)
			continue;
		if (found < pivots->fanout)
			found++;
		for (at = found - 1; at > 0 && distance[at - 1] > score; at--)
		{
			distance[at] = distance[at - 1];
			nearest[at] = nearest[at - 1];
		}
		distance[at] = score;
		nearest[at] = i;
	}
	return found;
}

void
vdb_hnsw_pivots_balance(HnswPivots *pivots, const float *scores, uint32_t sample, int rounds)
{
	uint32_t	limit = pivots->limit;
	double		even = (double) pivots->fanout * sample / pivots->count;
	double		unit = 0;

	/* with so few, each vector goes into all */
	if (pivots->count <= pivots->fanout || sample == 0)
		return;
	pivots->limit = UINT32_MAX;

	/*
	 * The distance between a vector's pivots is the unit in which a change of
	 * weight moves vectors.  Steps become smaller, or the last ones would only
	 * shift vectors back and forth.
	 */
	for (int round = 0; round < rounds; round++)
	{
		double		gap = 0;

		for (uint32_t i = 0; i < sample; i++)
		{
			uint32_t	nearest[HNSW_MAX_FANOUT];
			float		distance[HNSW_MAX_FANOUT];
			uint32_t	found = find_nearest(pivots, scores + (size_t) i * pivots->count, nearest, distance);

			for (uint32_t f = 0; f < found; f++)
				pivots->sizes[nearest[f]]++;
			gap += (double) distance[found - 1] - distance[0];
		}
		if (round == 0)
			unit = gap / sample / (pivots->fanout > 1 ? pivots->fanout - 1 : 1);
		for (uint32_t i = 0; i < pivots->count; i++)
		{
			double		excess = pivots->sizes[i] / even - 1;

			pivots->weights[i] += (float) (unit * (excess < 1 ? excess : 1) * 4 / (4 + round));
		}
		memset(pivots->sizes, 0, pivots->count * sizeof(uint32_t));
	}
	pivots->limit = limit;
}

uint32_t
vdb_hnsw_pivots_assign(HnswPivots *pivots, const float *scores, uint32_t *chosen)
{
	float		distance[HNSW_MAX_FANOUT];
	uint32_t	found = find_nearest(pivots, scores, chosen, distance);

	for (uint32_t i = 0; i < found; i++)
		pivots->sizes[chosen[i]]++;
	return found;
}
