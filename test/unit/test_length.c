/*
 * test_length.c
 *	  Unit test of the lengths of a list's edges, a byte each, and of the bounds
 *	  that a bfloat16 is.  Prints TAP.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "hnsw/hnsw_length.h"
#include "tap.h"

#define MOST 32

typedef enum Range
{
	RANGE_SCORES,				/* as they come */
	RANGE_NEGATIVE,				/* inner products */
	RANGE_NARROW,				/* far from 0, next to each other */
	RANGE_EQUAL,
	RANGE_TINY,
	RANGE_HUGE,					/* beyond what bounds can say */
	RANGES
} Range;

static const char *const range_names[] = {"scores", "negative", "narrow", "equal", "tiny", "huge"};

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
			return (float) (u * 1e-41);
		default:
			return u < 0.2 ? INFINITY : u < 0.4 ? -INFINITY : (float) ((2 * u - 1) * FLT_MAX);
	}
}

/* Is each length within half a step of what it was, and in the same order? */
static bool
check_stored(const HnswLengths *lengths, const float *scores, uint32_t count, double steps)
{
	double		least = vdb_bfloat_load(lengths->least);
	double		greatest = vdb_bfloat_load(lengths->greatest);
	double		step = (greatest - least) / HNSW_LENGTH_TOP;

	if (!isfinite(least) || !isfinite(greatest) || least > greatest)
		return failure("bounds %g and %g", least, greatest);
	for (uint32_t i = 0; i < count; i++)
	{
		double		loaded = vdb_hnsw_length_load(lengths, lengths->codes[i]);
		double		score = fmin(fmax(scores[i], least), greatest);

		if (!(fabs(loaded - score) <= steps * step + 1e-6 * fabs(score)))
			return failure("%g is %g, by steps of %g", score, loaded, step);
		for (uint32_t j = 0; j < i; j++)
		{
			if (steps <= 0.5 && scores[i] < scores[j] && lengths->codes[i] > lengths->codes[j])
				return failure("%g has a greater code than %g", scores[i], scores[j]);
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
		passed = check_stored(lengths, scores, count, 0.5);
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

		/* those that were there may have been stored anew with each */
		passed = check_stored(lengths, scores, count, 4);
	}
	report(passed, "%s: stored one by one", range_names[range]);
	free(lengths);
}

/* Does a longer edge stay longer when one is put that widens the range by far? */
static void
test_widened(void)
{
	HnswLengths *lengths = new_lengths();
	const float scores[] = {0.1f, 0.2f, 0.9f, 1.0f};
	bool		passed;

	vdb_hnsw_lengths_store(lengths, scores, 4, MOST);
	vdb_hnsw_length_put(lengths, 4, 5, 100);
	passed = lengths->codes[0] == lengths->codes[1] && lengths->codes[1] < lengths->codes[2] &&
		lengths->codes[2] <= lengths->codes[3] && lengths->codes[4] == HNSW_LENGTH_TOP;
	report(passed, "a long edge leaves the others their order");
	free(lengths);
}

static void
test_bfloat(void)
{
	bool		passed = true;

	for (uint32_t i = 0; i < 100000 && passed; i++)
	{
		uint32_t	bits = random_u32();
		float		number;
		float		lower;
		float		upper;

		memcpy(&number, &bits, sizeof(number));
		if (isnan(number))
			continue;
		lower = vdb_bfloat_load(vdb_bfloat_bound(number, false));
		upper = vdb_bfloat_load(vdb_bfloat_bound(number, true));
		if (!(lower <= number && number <= upper))
			passed = failure("%g is not from %g to %g", number, lower, upper);
		else if (isnormal(number) && isfinite(lower) && isfinite(upper) && upper - lower > fabsf(number) / 128)
			passed = failure("%g is from %g to %g", number, lower, upper);
	}
	passed &= vdb_bfloat_load(vdb_bfloat_bound(0, true)) == 0 && vdb_bfloat_load(vdb_bfloat_bound(1.5f, true)) == 1.5f &&
		isinf(vdb_bfloat_load(vdb_bfloat_bound(FLT_MAX, true))) &&
		isinf(vdb_bfloat_load(vdb_bfloat_bound(INFINITY, true)));
	report(passed, "bfloat16 as a bound");
}

int
main(void)
{
	for (Range range = 0; range < RANGES; range++)
	{
		test_store(range);
		test_put(range);
	}
	test_widened();
	test_bfloat();
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
