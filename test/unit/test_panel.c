/*
 * test_panel.c
 *	  Scores by a panel are those of vdb_pair_score(), to the last bit: all kinds
 *	  of codecs, metrics and levels, any number of codes on either side.
 *
 * Codes are any bytes, as scores may be of any.  All memory is in blocks of exactly
 * the size that the contract names.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/finder.h"
#include "quant/panel.h"
#include "tap.h"

static const uint32_t counts[] = {0, 1, 2, 3, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 300, 513};

/* What malloc() gives. */
#define UNALIGNED sizeof(void *)

#define NUM_COUNTS (sizeof(counts) / sizeof(counts[0]))

/* Usual factors, and now and then those of which no score can be made. */
static float
random_factor(void)
{
	static const float special[] = {0, -0.0f, 1e-42f, 3e38f, INFINITY, -INFINITY, NAN};

	if (random_u32() % 16 == 0)
		return special[random_u32() % (sizeof(special) / sizeof(special[0]))];
	return (float) (int32_t) random_u32() / 2147483648.0f;
}

static void *
allocate(size_t size, size_t align)
{
	void	   *p = NULL;

	if (posix_memalign(&p, align, size) != 0)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	return p;
}

/* Codes of a codec and their factors.  Sparse codes have indices in order. */
typedef struct Codes
{
	uint32_t	count;
	size_t		stride;
	uint8_t    *hi;				/* the last ends with the block */
	VdbNodeFactors *factors;
} Codes;

static Codes
random_codes(const VdbCodec *codec, uint32_t count, size_t gap)
{
	Codes		codes = {count, codec->hi_bytes + gap, NULL, NULL};
	size_t		size = count > 0 ? (count - 1) * codes.stride + codec->hi_bytes : 0;
	bool		extreme = random_u32() % 4 == 0;

	codes.hi = allocate(size, UNALIGNED);
	codes.factors = allocate(count * sizeof(VdbNodeFactors), UNALIGNED);
	for (size_t i = 0; i < size; i++)
		codes.hi[i] = extreme ? (random_u32() % 2 == 0 ? 0x80 : 0x7f) : (uint8_t) random_u32();
	for (uint32_t i = 0; i < count; i++)
	{
		codes.factors[i].scale = random_factor();
		codes.factors[i].add = random_factor();
		codes.factors[i].residual = random_factor();
		if (codec->kind == VDB_CODEC_SPARSE)
		{
			uint16_t	index = 0;

			for (uint32_t k = 0; k < codec->P; k++)
			{
				index += 1 + random_u32() % 3;
				memcpy(codes.hi + i * codes.stride + k * sizeof(index), &index, sizeof(index));
			}
		}
	}
	return codes;
}

static void
free_codes(Codes codes)
{
	free(codes.hi);
	free(codes.factors);
}

/* Scores with the codes from one on are those of all, and nothing else is written. */
static bool
check_from(const VdbPanel *panel, uint32_t from, uint32_t n, const Codes *plain, const float *all)
{
	static const float untouched = -77;
	size_t		scores = (size_t) n * panel->count;
	float	   *out = allocate(scores * sizeof(float), UNALIGNED);
	bool		passed = true;

	for (size_t i = 0; i < scores; i++)
		memcpy(&out[i], &untouched, sizeof(float));
	vdb_panel_scores_from(panel, from, n, plain->factors, plain->hi, plain->stride, out);
	for (size_t i = 0; i < scores && passed; i++)
	{
		const float *expected = i % panel->count < from ? &untouched : &all[i];

		if (memcmp(&out[i], expected, sizeof(float)) != 0)
			passed = failure("P %u, from code %u of %u: score %zu is %.9g, not %.9g",
							 panel->codec->P, from, panel->count, i, out[i], *expected);
	}
	free(out);
	return passed;
}

/* One panel of `count` codes against n plain ones. */
static bool
check_case(const VdbCodec *codec, uint32_t count, uint32_t n, size_t gap)
{
	Codes		ours = random_codes(codec, count, gap);
	Codes		plain = random_codes(codec, n, gap);
	size_t		bytes = vdb_panel_bytes(codec, count);
	char	   *memory = allocate(bytes, 64);
	float	   *out = allocate((size_t) n * count * sizeof(float), UNALIGNED);
	VdbPanel	panel;
	bool		passed = true;

	memset(memory, 0x5a, bytes);
	vdb_panel_init(&panel, codec, count, memory);
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	at = count - 1 - (i + count / 3) % count;

		vdb_panel_put(&panel, at, ours.factors[at], ours.hi + at * ours.stride);
	}
	vdb_panel_scores(&panel, n, plain.factors, plain.hi, plain.stride, out);

	if (panel.codec != codec || panel.count != count ||
		(count > 0 && memcmp(panel.factors, ours.factors, count * sizeof(VdbNodeFactors)) != 0))
		passed = failure("%u codes: the panel has other ones", count);
	for (uint32_t i = 0; i < n && passed; i++)
	{
		for (uint32_t j = 0; j < count && passed; j++)
		{
			float		expected = vdb_pair_score(codec, plain.factors[i],
												  plain.hi + i * plain.stride, ours.factors[j],
												  ours.hi + j * ours.stride);
			const float *got = out + (size_t) i * count + j;

			if (memcmp(got, &expected, sizeof(expected)) != 0)
				passed = failure("P %u, plain code %u of %u, code %u of %u: got %.9g, expected %.9g",
								 codec->P, i, n, j, count, *got, expected);
		}
	}
	if (count > VDB_PANEL_ROWS)
		passed = passed && check_from(&panel, VDB_PANEL_ROWS, n, &plain, out) &&
			check_from(&panel, count / VDB_PANEL_ROWS * VDB_PANEL_ROWS, n, &plain, out);
	free_codes(ours);
	free_codes(plain);
	free(memory);
	free(out);
	return passed;
}

/* many: also counts that take long */
static bool
check_codec(const VdbCodec *codec, bool many)
{
	static const uint32_t plain[] = {0, 1, 2, 4, 5, 11, 12, 13, 25, 30};

	for (size_t c = 0; c < NUM_COUNTS; c++)
	{
		for (size_t p = 0; p < sizeof(plain) / sizeof(plain[0]); p++)
		{
			if (is_left_out() || (!many && counts[c] > 40 && p % 4 != c % 4))
				continue;
			if (!check_case(codec, counts[c], plain[p], random_u32() % 4))
				return false;
		}
	}
	return true;
}

static bool
check_dense(VdbMetric metric)
{
	static const uint32_t dims[] = {1, 8, 13, 24, 100, 104, 128, 384, 515, 1100};

	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
	{
		uint32_t	P = vdb_codec_padded(dims[d]);
		float	   *center = allocate(P * sizeof(float), UNALIGNED);
		VdbCodec	codec;
		bool		passed;

		for (uint32_t i = 0; i < P; i++)
			center[i] = (float) (int32_t) random_u32() / 2147483648.0f;
		vdb_codec_init(&codec, metric, dims[d], 1, center);
		passed = check_codec(&codec, dims[d] < 20);
		free(center);
		if (!passed)
			return false;
	}
	return true;
}

static bool
check_binary(VdbMetric metric)
{
	static const uint32_t dims[] = {1, 8, 77, 300};

	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
	{
		VdbCodec	codec;

		vdb_codec_init_binary(&codec, metric, dims[d]);
		if (!check_codec(&codec, false))
			return false;
	}
	return true;
}

static bool
check_sparse(VdbMetric metric)
{
	VdbCodec	codec;

	vdb_codec_init_sparse(&codec, metric, 1000, 10);
	return check_codec(&codec, false);
}

/* Does a finder find what all scores say: the least, of equal ones the first? */
static bool
check_finder(VdbMetric metric, uint32_t count, uint32_t n, uint32_t m)
{
	VdbCodec	codec;
	Codes		set;
	Codes		plain;
	char	   *memory;
	VdbFinder  *finder;
	VdbNeighbor *out = allocate((size_t) n * m * sizeof(VdbNeighbor), UNALIGNED);
	bool		passed = true;

	vdb_codec_init(&codec, metric, 50, 1, NULL);
	set = random_codes(&codec, count, 3);
	plain = random_codes(&codec, n, 0);

	/* equal ones */
	for (uint32_t i = 0; i < count / 4; i++)
	{
		set.factors[count - 1 - i] = set.factors[i];
		memcpy(set.hi + (count - 1 - i) * set.stride, set.hi + i * set.stride, codec.hi_bytes);
	}
	memory = allocate(vdb_finder_bytes(&codec, count), 64);
	finder = vdb_finder_init(&codec, count, memory);
	for (uint32_t first = 0; first < count; first += 100)
	{
		uint32_t	part = count - first < 100 ? count - first : 100;

		finder->put(finder, count, first, part,
					(VdbCodes) {set.factors + first, set.hi + first * set.stride, set.stride});
	}
	finder->find(finder, n, (VdbCodes) {plain.factors, plain.hi, plain.stride}, m, out);
	for (uint32_t i = 0; i < n && passed; i++)
	{
		const VdbNeighbor *got = out + (size_t) i * m;
		uint32_t	before = 0;

		for (uint32_t k = 0; k < m && passed; k++)
		{
			float		score = vdb_pair_score(&codec, plain.factors[i], plain.hi + i * plain.stride,
											   set.factors[got[k].number], set.hi + got[k].number * set.stride);

			passed = score == got[k].score && (k == 0 || got[k - 1].score < score ||
											   (got[k - 1].score == score && got[k - 1].number < got[k].number));
		}
		for (uint32_t j = 0; j < count; j++)
		{
			float		score = vdb_pair_score(&codec, plain.factors[i], plain.hi + i * plain.stride,
											   set.factors[j], set.hi + j * set.stride);

			before += score < got[m - 1].score || (score == got[m - 1].score && j < got[m - 1].number);
		}
		if (!passed || before != m - 1)
			passed = failure("code %u: %u of %u are before the last of %u", i, before, count, m);
	}
	free_codes(set);
	free_codes(plain);
	free(memory);
	free(out);
	return passed;
}

/* A panel keeps the level that it was made at. */
static bool
check_level_kept(void)
{
	VdbCodec	codec;
	Codes		codes;
	char	   *memory;
	float		out[20 * 20];
	bool		passed = true;

	vdb_codec_init(&codec, VDB_METRIC_L2, 50, 1, NULL);
	codes = random_codes(&codec, 20, 0);
	memory = allocate(vdb_panel_bytes(&codec, 20), 64);
	for (int from = 0; from < VDB_SIMD_LEVELS; from++)
	{
		VdbPanel	panel;

		if (!vdb_distance_force((VdbSimdLevel) from))
			continue;
		vdb_panel_init(&panel, &codec, 20, memory);
		for (uint32_t i = 0; i < 20; i++)
		{
			vdb_distance_force((VdbSimdLevel) (i % VDB_SIMD_LEVELS));
			vdb_panel_put(&panel, i, codes.factors[i], codes.hi + i * codes.stride);
		}
		vdb_panel_scores(&panel, 20, codes.factors, codes.hi, codes.stride, out);
		for (uint32_t i = 0; i < 20 * 20; i++)
		{
			float		expected = vdb_pair_score(&codec, codes.factors[i / 20],
												  codes.hi + i / 20 * codes.stride,
												  codes.factors[i % 20],
												  codes.hi + i % 20 * codes.stride);

			passed = passed && memcmp(&out[i], &expected, sizeof(expected)) == 0;
		}
	}
	free_codes(codes);
	free(memory);
	return passed;
}

/*
 * Half of the dimensions are so many, and scores by fewer than all of them squared
 * distances in these.
 */
static bool
check_half(VdbMetric metric, uint32_t dims, uint64_t seed, uint32_t expected)
{
	VdbCodec	codec;
	VdbCodec	half;
	float	   *center = allocate(vdb_codec_padded(dims) * sizeof(float), UNALIGNED);
	Codes		codes;
	VdbPanel	panel;
	char	   *memory;
	bool		passed;

	memset(center, 0, vdb_codec_padded(dims) * sizeof(float));
	vdb_codec_init(&codec, metric, dims, seed, center);
	half = vdb_panel_half(&codec);
	passed = half.P == expected && half.hi_bytes == expected;
	if (!passed)
		failure("%u dimensions are %u, not %u", dims, half.P, expected);
	codes = random_codes(&codec, 40, 5);
	memory = allocate(vdb_panel_bytes(&half, 40), 64);
	vdb_panel_init(&panel, &half, 40, memory);
	for (uint32_t i = 0; i < 40; i++)
	{
		codes.factors[i].scale = 0.5f + (float) i / 40;
		if (half.P < codec.P)
			codes.factors[i] = vdb_panel_half_factors(&half, codes.factors[i], codes.hi + i * codes.stride);
		vdb_panel_put(&panel, i, codes.factors[i], codes.hi + i * codes.stride);
	}
	for (uint32_t i = 0; i < 40 && passed && half.P < codec.P; i++)
	{
		const int8_t *a = (const int8_t *) codes.hi + i * codes.stride;
		float		scores[40];

		vdb_panel_scores(&panel, 1, codes.factors + i, (const uint8_t *) a, codes.stride, scores);
		for (uint32_t j = 0; j < 40 && passed; j++)
		{
			const int8_t *b = (const int8_t *) codes.hi + j * codes.stride;
			double		distance = 0;

			for (uint32_t d = 0; d < half.P; d++)
			{
				double		difference = 16.0 * codes.factors[i].scale * a[d] - 16.0 * codes.factors[j].scale * b[d];

				distance += difference * difference;
			}
			if (!(fabs(scores[j] - distance) <= 1e-5 * (codes.factors[i].add + codes.factors[j].add)))
				passed = failure("codes %u and %u of %u dimensions: score %g, distance %g", i, j, half.P, scores[j],
								 distance);
		}
	}
	free(center);
	free(memory);
	free_codes(codes);
	return passed;
}

int
main(int argc, char **argv)
{
	static const char *const names[] = {"l2", "ip", "cosine", "l1", "hamming", "jaccard"};

	read_share(argc, argv);
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		const char *name = vdb_distance_level_name((VdbSimdLevel) level);

		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
		{
			report(check_dense((VdbMetric) metric), "dense codes, %s, %s", names[metric], name);
			report(check_sparse((VdbMetric) metric), "sparse codes, %s, %s", names[metric], name);
		}
		report(check_binary(VDB_METRIC_HAMMING), "binary codes, hamming, %s", name);
		report(check_binary(VDB_METRIC_JACCARD), "binary codes, jaccard, %s", name);
	}
	report(check_half(VDB_METRIC_L2, 784, 7, 392) && check_half(VDB_METRIC_COSINE, 1530, 7, 768) &&
		   check_half(VDB_METRIC_COSINE, 300, 7, 256), "half of many dimensions");
	report(check_half(VDB_METRIC_L2, 256, 7, 256) && check_half(VDB_METRIC_L2, 784, 0, 784) &&
		   check_half(VDB_METRIC_IP, 784, 7, 784) && check_half(VDB_METRIC_L1, 784, 7, 784),
		   "all dimensions where half do not stand for the others");
	report(check_level_kept(), "a panel keeps its level");
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
		report(check_finder((VdbMetric) metric, 300, 40, 33) && check_finder((VdbMetric) metric, 33, 13, 33) &&
			   check_finder((VdbMetric) metric, 100, 1, 1), "a finder finds the nearest, %s", names[metric]);
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
