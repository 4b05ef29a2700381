/*
 * test_length.c
 *	  Unit test of the lengths of a list's edges, a byte each, and of the bound
 *	  that a bfloat16 is.  Prints TAP.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "hnsw/hnsw_length.h"
#include "quant/bfloat.h"
#include "tap.h"

#define MOST 32

typedef enum Range
{
	RANGE_SCORES,				/* as they come */
	RANGE_NEGATIVE,				/* inner products */
	RANGE_NARROW,				/* far from 0, next to each other */
	RANGE_EQUAL,
	RANGE_TINY,
	RANGE_FAR,					/* some a million times as long */
	RANGE_HUGE,					/* and infinite */
	RANGES
} Range;

static const char *const range_names[] = {"scores", "negative", "narrow", "equal", "tiny", "far", "huge"};

/* A length is right to such a part of itself, or to the second of the longest. */
static const double precision[] = {1.0 / 16, 1.0 / 8, 1.0 / 128, 1.0 / 128, 1.0 / 16, 1.0 / 16, 1.0 / 8};
#define NOTHING 4.7e-10			/* 2 ** -31 */

static float
random_score(Range range)
{
	double		u = random_u32() / 4294967296.0;

	switch (range)
	{
		case RANGE_SCORES:
			return (float) (u * 3);
		case RANGE_NEGATIVE:
			return (float) (u * 20 - 15);
		case RANGE_NARROW:
			return (float) (1000 + u);
		case RANGE_EQUAL:
			return 0.3f;
		case RANGE_TINY:
			return (float) (u * 1e-35);
		case RANGE_FAR:
			return (float) (random_u32() % 4 == 0 ? 1e6 * u : u);
		default:
			return u < 0.2 ? INFINITY : u < 0.4 ? -INFINITY : (float) ((2 * u - 1) * FLT_MAX);
	}
}

/* Is each length what it was, `times` its precision, and in the same order? */
static bool
check_stored(const HnswLengths *lengths, const float *scores, uint32_t count, Range range, double times)
{
	double		longest = 0;

	for (uint32_t i = 0; i < count; i++)
		longest = fmax(longest, fabs(fmax(fmin(scores[i], FLT_MAX), -FLT_MAX)));
	for (uint32_t i = 0; i < count; i++)
	{
		double		score = fmax(fmin(scores[i], FLT_MAX), -FLT_MAX);
		double		loaded = vdb_hnsw_length_load(lengths, i);

		if (!(fabs(loaded - score) <= times * (precision[range] + 1.0 / 128) * fabs(score) + NOTHING * longest))
			return failure("%g is %g", score, loaded);
		for (uint32_t j = 0; j < i && times == 1; j++)
		{
			if (scores[i] < scores[j] && loaded > vdb_hnsw_length_load(lengths, j))
				return failure("%g is longer than %g", scores[i], scores[j]);
		}
	}
	for (uint32_t i = count; i < MOST; i++)
	{
		if (lengths->codes[i] != 0)
			return failure("a code of no edge");
	}
	return true;
}

static HnswLengths *
new_lengths(void)
{
	HnswLengths *lengths = malloc(vdb_hnsw_lengths_bytes(MOST));

	if (lengths == NULL)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	memset(lengths, 0xA5, vdb_hnsw_lengths_bytes(MOST));
	return lengths;
}

static void
test_store(Range range)
{
	HnswLengths *lengths = new_lengths();
	bool		passed = true;

	for (uint32_t count = 0; count <= MOST && passed; count++)
	{
		float		scores[MOST];

		for (uint32_t i = 0; i < count; i++)
			scores[i] = random_score(range);
		vdb_hnsw_lengths_store(lengths, scores, count, MOST);
		passed = check_stored(lengths, scores, count, range, 1);
	}
	report(passed, "%s: stored at once", range_names[range]);
	free(lengths);
}

/* A list that grows, each edge outside of what it had or not, and then changes. */
static void
test_put(Range range)
{
	HnswLengths *lengths = new_lengths();
	float		scores[MOST];
	bool		passed = true;

	vdb_hnsw_lengths_store(lengths, scores, 0, MOST);
	for (uint32_t i = 0; i < 2 * MOST && passed; i++)
	{
		uint32_t	at = i < MOST ? i : random_u32() % MOST;
		uint32_t	count = i < MOST ? i + 1 : MOST;

		scores[at] = random_score(range);
		vdb_hnsw_length_put(lengths, at, count, scores[at]);

		/* those that were there may have been stored anew a few times */
		passed = check_stored(lengths, scores, count, range, 4);
	}
	report(passed, "%s: stored one by one", range_names[range]);
	free(lengths);
}

/* Is each length longer than the one before? */
static bool
ascends(const HnswLengths *lengths, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
	{
		if (vdb_hnsw_length_load(lengths, i) <= vdb_hnsw_length_load(lengths, i - 1))
			return failure("edge %u is no longer than the one before", i);
	}
	return true;
}

/* One edge that is much longer comes and goes; what is left is known as well as before. */
static void
test_one_long(float longest)
{
	HnswLengths *lengths = new_lengths();
	const float scores[] = {0.1f, 0.2f, 0.45f, 0.9f, 1.1f};
	bool		passed;

	vdb_hnsw_lengths_store(lengths, scores, 5, MOST);
	vdb_hnsw_length_put(lengths, 5, 6, longest);
	passed = ascends(lengths, 6) && fabs(vdb_hnsw_length_load(lengths, 5) / longest - 1) < 0.01;
	vdb_hnsw_length_put(lengths, 5, 6, 1.3f);
	passed = passed && ascends(lengths, 6) && fabs(vdb_hnsw_length_load(lengths, 5) - 1.3) < 0.01;
	vdb_hnsw_length_put(lengths, 2, 6, 0.5f);
	passed = passed && ascends(lengths, 6) && fabs(vdb_hnsw_length_load(lengths, 2) - 0.5) < 0.01;
	report(passed, "an edge of length %g comes and goes", longest);
	free(lengths);
}

/* What is stored again as it was loaded stays what it is. */
static void
test_again(Range range)
{
	HnswLengths *lengths = new_lengths();
	float		scores[MOST];
	uint8_t		codes[MOST];

	for (uint32_t i = 0; i < MOST; i++)
		scores[i] = random_score(range);
	vdb_hnsw_lengths_store(lengths, scores, MOST, MOST);
	memcpy(codes, lengths->codes, MOST);
	for (uint32_t i = 0; i < 1000; i++)
		vdb_hnsw_length_put(lengths, i % MOST, MOST, vdb_hnsw_length_load(lengths, i % MOST));
	report(memcmp(codes, lengths->codes, MOST) == 0, "%s: stored again", range_names[range]);
	free(lengths);
}

/* Whatever is on a damaged page, a length is a number. */
static void
test_damaged(void)
{
	HnswLengths *lengths = new_lengths();
	bool		passed = true;

	for (uint32_t i = 0; i < 100000 && passed; i++)
	{
		lengths->least = (uint16_t) random_u32();
		lengths->greatest = (uint16_t) random_u32();
		lengths->codes[0] = (uint8_t) random_u32();
		if (!isfinite(vdb_hnsw_length_load(lengths, 0)))
			passed = failure("from %x to %x: code %u", lengths->least, lengths->greatest, lengths->codes[0]);
		vdb_hnsw_length_put(lengths, 1, 2, 1);
	}
	report(passed, "damaged lists");
	free(lengths);
}

static void
test_bfloat(void)
{
	bool		passed = vdb_bfloat_load(vdb_bfloat_above(0)) == 0 && vdb_bfloat_load(vdb_bfloat_above(1.5f)) == 1.5f &&
		isinf(vdb_bfloat_load(vdb_bfloat_above(FLT_MAX))) && isinf(vdb_bfloat_load(vdb_bfloat_above(INFINITY)));

	for (uint32_t i = 0; i < 100000 && passed; i++)
	{
		uint32_t	bits = random_u32() & 0x7FFFFFFF;
		float		number;
		float		above;

		memcpy(&number, &bits, sizeof(number));
		if (isnan(number))
			continue;
		above = vdb_bfloat_load(vdb_bfloat_above(number));
		if (!(above >= number) || (isnormal(number) && isfinite(above) && above - number > number / 128))
			passed = failure("%g is bounded by %g", number, above);
		passed &= vdb_bfloat_above(above) == vdb_bfloat_above(number);
	}
	report(passed, "bfloat16 as a bound");
}

int
main(void)
{
	for (Range range = 0; range < RANGES; range++)
	{
		test_store(range);
		test_put(range);
		test_again(range);
	}
	test_one_long(100);
	test_one_long(1e6f);
	test_one_long(1e8f);
	test_damaged();
	test_bfloat();
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
