/*
 * hnsw_length.c
 *	  The lengths of a list's edges, a byte each.
 */
#include "hnsw/hnsw_length.h"

/* Bounds and their differences stay finite: what is longer is taken for this long. */
#define LARGEST_LENGTH 1.5e38f

static inline float
clamp(float score)
{
	if (score > LARGEST_LENGTH)
		return LARGEST_LENGTH;
	return score < -LARGEST_LENGTH ? -LARGEST_LENGTH : score;
}

/* Widens the bounds for a length; those of none are the wrong way round. */
static inline void
include(float bounds[2], float score)
{
	score = clamp(score);
	if (score < bounds[0])
		bounds[0] = score;
	if (score > bounds[1])
		bounds[1] = score;
}

static inline void
store_bounds(HnswLengths *lengths, const float bounds[2])
{
	lengths->least = vdb_bfloat_bound(bounds[0], false);
	lengths->greatest = vdb_bfloat_bound(bounds[1], true);
}

/* The code nearest to a length. */
static inline uint8_t
length_code(const HnswLengths *lengths, float score)
{
	double		least = vdb_bfloat_load(lengths->least);
	double		greatest = vdb_bfloat_load(lengths->greatest);
	double		at = (score - least) / (greatest - least);

	/* 0 as well when all are equal, and on a damaged page */
	if (!(at > 0))
		return 0;
	return at < 1 ? (uint8_t) (at * HNSW_LENGTH_TOP + 0.5) : HNSW_LENGTH_TOP;
}

void
vdb_hnsw_lengths_store(HnswLengths *lengths, const float *scores, uint32_t count, uint32_t most)
{
	float		bounds[2] = {LARGEST_LENGTH, -LARGEST_LENGTH};

	for (uint32_t i = 0; i < count; i++)
		include(bounds, scores[i]);
	if (count == 0)
		bounds[0] = bounds[1] = 0;
	store_bounds(lengths, bounds);
	for (uint32_t i = 0; i < count; i++)
		lengths->codes[i] = length_code(lengths, scores[i]);
	memset(lengths->codes + count, 0, most - count);
}

void
vdb_hnsw_length_put(HnswLengths *lengths, uint32_t at, uint32_t count, float score)
{
	HnswLengths before = *lengths;
	float		bounds[2] = {LARGEST_LENGTH, -LARGEST_LENGTH};

	if (count == 1 || score < vdb_bfloat_load(before.least) || score > vdb_bfloat_load(before.greatest))
	{
		for (uint32_t i = 0; i < count; i++)
			include(bounds, i == at ? score : vdb_hnsw_length_load(&before, lengths->codes[i]));
		store_bounds(lengths, bounds);
		for (uint32_t i = 0; i < count; i++)
			lengths->codes[i] = length_code(lengths, vdb_hnsw_length_load(&before, lengths->codes[i]));
	}
	lengths->codes[at] = length_code(lengths, score);
}
