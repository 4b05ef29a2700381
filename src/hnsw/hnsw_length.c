/*
 * hnsw_length.c
 *	  The lengths of a list's edges, a byte each.
 */
#include <stdlib.h>
#include <string.h>

#include "hnsw/hnsw_length.h"

#define TOP UINT8_MAX

/* The rank of the largest number, and the ranks of so many powers of two. */
#define LAST_RANK 0x7F7F
#define SPAN (32 * 128)

/* A bfloat16's rank, 0 at 0.  What is no number is far away. */
static inline int32_t
rank_of(uint16_t stored)
{
	int32_t		size = stored & 0x7FFF;

	if (size > LAST_RANK)
		size = LAST_RANK;
	return stored >> 15 != 0 ? -size : size;
}

static inline uint16_t
stored_of(int32_t rank)
{
	return (uint16_t) (rank < 0 ? 0x8000 | -rank : rank);
}

static inline int32_t
score_rank(float score)
{
	uint32_t	bits;

	memcpy(&bits, &score, sizeof(bits));
	return rank_of((uint16_t) (bits >> 16));
}

/*
 * The scale of a list: ranks up to `hole` are one, 0, since next to the longest edge
 * all of them are nothing; those beyond it begin at 1.
 */
typedef struct Scale
{
	int32_t		hole;
	int32_t		least;			/* on the scale */
	int32_t		range;			/* to the greatest */
} Scale;

static inline int32_t
to_scale(int32_t hole, int32_t rank)
{
	if (rank > hole)
		return rank - hole;
	return rank < -hole ? rank + hole : 0;
}

static inline int32_t
from_scale(int32_t hole, int32_t at)
{
	if (at > 0)
		return at + hole;
	return at < 0 ? at - hole : 0;
}

static inline Scale
scale_of(int32_t least, int32_t greatest)
{
	int32_t		largest = abs(least) > abs(greatest) ? abs(least) : abs(greatest);
	Scale		scale = {.hole = largest > SPAN ? largest - SPAN : 0};

	scale.least = to_scale(scale.hole, least);
	scale.range = to_scale(scale.hole, greatest) - scale.least;
	return scale;
}

/* Stores ranks where there is room for `most`. */
static void
store_ranks(HnswLengths *lengths, const int32_t *ranks, uint32_t count, uint32_t most)
{
	int32_t		least = count > 0 ? ranks[0] : 0;
	int32_t		greatest = least;
	Scale		scale;

	for (uint32_t i = 1; i < count; i++)
	{
		least = ranks[i] < least ? ranks[i] : least;
		greatest = ranks[i] > greatest ? ranks[i] : greatest;
	}
	scale = scale_of(least, greatest);
	lengths->least = stored_of(least);
	lengths->greatest = stored_of(greatest);
	for (uint32_t i = 0; i < count; i++)
	{
		int32_t		at = to_scale(scale.hole, ranks[i]) - scale.least;

		lengths->codes[i] = (uint8_t) (scale.range > 0 ? (at * TOP + scale.range / 2) / scale.range : 0);
	}
	memset(lengths->codes + count, 0, most - count);
}

static inline int32_t
load_rank(const HnswLengths *lengths, const Scale *scale, uint32_t at)
{
	/* on a damaged page the range may be negative */
	return from_scale(scale->hole, scale->least + (lengths->codes[at] * scale->range + TOP / 2) / TOP);
}

float
vdb_hnsw_length_load(const HnswLengths *lengths, uint32_t at)
{
	Scale		scale = scale_of(rank_of(lengths->least), rank_of(lengths->greatest));
	uint32_t	bits = (uint32_t) stored_of(load_rank(lengths, &scale, at)) << 16;
	float		score;

	memcpy(&score, &bits, sizeof(score));
	return score;
}

void
vdb_hnsw_lengths_store(HnswLengths *lengths, const float *scores, uint32_t count, uint32_t most)
{
	int32_t		ranks[UINT8_MAX];

	for (uint32_t i = 0; i < count; i++)
		ranks[i] = score_rank(scores[i]);
	store_ranks(lengths, ranks, count, most);
}

void
vdb_hnsw_length_put(HnswLengths *lengths, uint32_t at, uint32_t count, float score)
{
	int32_t		ranks[UINT8_MAX];
	Scale		scale = scale_of(rank_of(lengths->least), rank_of(lengths->greatest));

	for (uint32_t i = 0; i < count; i++)
		ranks[i] = i == at ? score_rank(score) : load_rank(lengths, &scale, i);
	store_ranks(lengths, ranks, count, count);
}
