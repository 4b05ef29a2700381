/*
 * test_cluster.c
 *	  Unit test of k-means: that rows go to the nearest centroid, that rounds make
 *	  clusters tighter, and that no cluster stays empty where rows differ.  Prints TAP.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "finder_fixture.h"
#include "quant/cluster.h"
#include "tap.h"

#define SEED UINT64_C(0x123456789abcdef)

/* Rows as node codes, their parts side by side. */
typedef struct Sample
{
	VdbCodec	codec;
	uint32_t	count;
	size_t		stride;
	float	   *center;
	float	   *vectors;		/* count * P */
	VdbNodeFactors *factors;
	uint8_t    *codes;
	uint32_t   *nearest;
	VdbClusters clusters;
	char	   *memory;
	TestFinder	finder;
	VdbNeighbor *found;
} Sample;

/* Who assigns codes: 0, the panel; -1, a finder; else one that fails at this call. */
static int	finds = 0;

/* Centroids that it is asked for. */
#define WANTED 8

static void *
new_block(size_t size)
{
	void	   *block = NULL;

	if (posix_memalign(&block, 64, size) != 0)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	memset(block, 0xA5, size);
	return block;
}

static float
random_float(void)
{
	return (float) (int32_t) random_u32() / 2147483648.0f;
}

static void
sample_init(Sample *s, uint32_t count, uint32_t dims, uint32_t clusters)
{
	uint32_t	P = vdb_codec_padded(dims);

	s->center = new_block(P * sizeof(float));
	memset(s->center, 0, P * sizeof(float));
	vdb_codec_init(&s->codec, VDB_METRIC_L2, dims, SEED, s->center);
	s->count = count;
	s->stride = s->codec.hi_bytes + s->codec.lo_bytes;
	s->vectors = new_block((size_t) count * P * sizeof(float));
	s->factors = new_block(count * sizeof(VdbNodeFactors));
	s->codes = new_block(count * s->stride);
	s->nearest = new_block(count * sizeof(uint32_t));
	memset(s->nearest, 0, count * sizeof(uint32_t));
	s->memory = new_block(vdb_cluster_bytes(&s->codec, clusters));
	vdb_cluster_init(&s->clusters, &s->codec, clusters, s->memory);
	s->found = new_block(VDB_CLUSTER_BLOCK * WANTED * sizeof(VdbNeighbor));
	test_finder_init(&s->finder, &s->codec, clusters, finds);
	if (finds != 0)
		vdb_cluster_use_finder(&s->clusters, &s->finder.finder, WANTED, s->found);
}

static void
sample_free(Sample *s)
{
	free(s->center);
	free(s->vectors);
	free(s->factors);
	free(s->codes);
	free(s->nearest);
	free(s->memory);
	free(s->found);
	free(s->finder.memory);
	if (finds != 0 && (s->finder.asked == 0 || s->finder.misused || (s->finder.failed && s->clusters.finder != NULL)))
	{
		printf("Bail out! a finder was asked %d times, failed or not\n", s->finder.asked);
		exit(1);
	}
}

static void
encode(Sample *s)
{
	for (uint32_t i = 0; i < s->count; i++)
	{
		uint8_t    *code = s->codes + i * s->stride;

		s->factors[i] = vdb_encode_node(&s->codec, s->vectors + (size_t) i * s->codec.P, 0, code,
										code + s->codec.hi_bytes);
	}
}

/* Rows around `blobs` places that are far from each other; row i is at i % blobs. */
static void
fill_blobs(Sample *s, uint32_t blobs)
{
	uint32_t	P = s->codec.P;
	float	   *places = new_block((size_t) blobs * P * sizeof(float));

	for (uint32_t i = 0; i < blobs * P; i++)
		places[i] = 10 * random_float();
	for (uint32_t i = 0; i < s->count; i++)
		for (uint32_t d = 0; d < P; d++)
			s->vectors[(size_t) i * P + d] = places[i % blobs * P + d] + random_float();
	free(places);
	encode(s);
}

static void
seed(Sample *s, uint32_t i, uint32_t row)
{
	const uint8_t *code = s->codes + row * s->stride;

	vdb_cluster_seed(&s->clusters, i, s->factors[row], code, code + s->codec.hi_bytes);
}

/* One round over all blocks; returns how many clusters had members. */
static uint32_t
run_round(Sample *s)
{
	for (uint32_t i = 0; i < s->count; i += VDB_CLUSTER_BLOCK)
	{
		uint32_t	n = s->count - i < VDB_CLUSTER_BLOCK ? s->count - i : VDB_CLUSTER_BLOCK;
		const uint8_t *codes = s->codes + i * s->stride;

		vdb_cluster_assign(&s->clusters, n, s->factors + i, codes, s->stride, s->nearest + i);
		vdb_cluster_gather(&s->clusters, n, s->factors + i, codes, s->stride, s->nearest + i);
	}
	return vdb_cluster_next(&s->clusters);
}

/* Mean square of the distance of rows to the centroid that they are assigned to. */
static double
spread(const Sample *s)
{
	uint32_t	P = s->codec.P;
	double		sum = 0;

	for (uint32_t i = 0; i < s->count; i++)
		sum += vdb_vector_score(&s->codec, s->vectors + (size_t) i * P,
								s->clusters.centroids + (size_t) s->nearest[i] * P);
	return sum / s->count;
}

/* Does each blob become a cluster, from seeds of which each is of another? */
static bool
check_blobs(uint32_t dims, uint32_t blobs, uint32_t count)
{
	Sample		s;
	bool		passed = true;

	sample_init(&s, count, dims, blobs);
	fill_blobs(&s, blobs);
	for (uint32_t i = 0; i < blobs; i++)
		seed(&s, i, i);
	if (vdb_cluster_next(&s.clusters) != blobs)
		passed = failure("not all seeds were taken");
	for (int round = 0; round < 4; round++)
		run_round(&s);
	for (uint32_t i = 0; i < count && passed; i++)
	{
		if (s.nearest[i] != i % blobs)
			passed = failure("row %u of blob %u is in cluster %u", i, i % blobs, s.nearest[i]);
	}
	for (uint32_t i = 0; i < blobs && passed; i++)
	{
		uint32_t	members = count / blobs + (i < count % blobs);

		if (s.clusters.members[i] != members)
			passed = failure("cluster %u has %u members, not %u", i, s.clusters.members[i], members);
		for (uint32_t d = 0; d < s.codec.P && passed; d++)
		{
			double		mean = 0;

			for (uint32_t row = i; row < count; row += blobs)
				mean += s.vectors[(size_t) row * s.codec.P + d] / members;
			if (fabs(mean - s.clusters.centroids[(size_t) i * s.codec.P + d]) > 0.06)
				passed = failure("centroid %u is off in dimension %u", i, d);
		}
	}
	sample_free(&s);
	return passed;
}

/* Is what a code is assigned to the nearest, by the scores of pairs, whatever was guessed? */
static bool
check_nearest(uint32_t dims, uint32_t clusters)
{
	Sample		s;
	bool		passed = true;
	uint8_t    *code;

	sample_init(&s, 300, dims, clusters);
	fill_blobs(&s, 300);
	code = new_block(s.stride);
	for (uint32_t i = 0; i < clusters; i++)
		seed(&s, i, i % 300);
	vdb_cluster_next(&s.clusters);
	for (uint32_t i = 0; i < s.count; i++)
		s.nearest[i] = random_u32() % clusters;
	vdb_cluster_assign(&s.clusters, VDB_CLUSTER_BLOCK, s.factors, s.codes, s.stride, s.nearest);
	vdb_cluster_assign(&s.clusters, 300 - VDB_CLUSTER_BLOCK, s.factors + VDB_CLUSTER_BLOCK,
					   s.codes + VDB_CLUSTER_BLOCK * s.stride, s.stride,
					   s.nearest + VDB_CLUSTER_BLOCK);
	for (uint32_t i = 0; i < s.count && passed; i++)
	{
		float		least = INFINITY;
		float		got = 0;

		for (uint32_t j = 0; j < clusters; j++)
		{
			VdbNodeFactors f = vdb_encode_node(&s.codec, s.clusters.centroids + (size_t) j * s.codec.P,
											   0, code, code + s.codec.hi_bytes);
			float		score = vdb_pair_score(&s.codec, s.factors[i], s.codes + i * s.stride, f, code);

			least = score < least ? score : least;
			if (j == s.nearest[i])
				got = score;
		}
		if (got != least)
			passed = failure("row %u: %g is not the least, %g", i, got, least);
	}
	free(code);
	sample_free(&s);
	return passed;
}

/* Are so many of the first centroids the nearest of these to a code, in order, and different ones? */
static bool
check_several(uint32_t clusters, uint32_t first, uint32_t most)
{
	Sample		s;
	bool		passed = true;
	uint32_t	expected = first < most ? first : most;
	uint32_t   *found = malloc(most * sizeof(uint32_t));

	sample_init(&s, 100, 40, clusters);
	fill_blobs(&s, 100);
	for (uint32_t i = 0; i < clusters; i++)
		seed(&s, i, i % 100);
	vdb_cluster_next(&s.clusters);
	memset(s.nearest, 0, 100 * sizeof(uint32_t));
	vdb_cluster_assign(&s.clusters, 100, s.factors, s.codes, s.stride, s.nearest);
	vdb_panel_scores(&s.clusters.panel, 100, s.factors, s.codes, s.stride, s.clusters.scores);
	for (uint32_t i = 0; i < s.count && passed; i++)
	{
		const float *scores = s.clusters.scores + (size_t) i * clusters;
		uint32_t	count = vdb_cluster_nearest(&s.clusters, i, first, most, found);
		uint32_t	nearer = 0;

		for (uint32_t k = 1; k < count; k++)
			passed &= found[k] != found[k - 1] && scores[found[k - 1]] <= scores[found[k]];
		for (uint32_t c = 0; c < first && count > 0; c++)
			nearer += scores[c] < scores[found[count - 1]];
		if (!passed || count != expected || nearer >= expected || found[count - 1] >= first)
			passed = failure("row %u: %u of %u, %u nearer than the last", i, count, expected, nearer);
		if (first == clusters && scores[found[0]] != scores[s.nearest[i]])
			passed = failure("row %u: the first is not the nearest", i);
	}
	free(found);
	sample_free(&s);
	return passed;
}

/* Do rounds make clusters tighter, and leave none empty, from seeds that are all alike? */
static bool
check_empty(uint32_t clusters)
{
	Sample		s;
	double		before = INFINITY;
	uint32_t	full = 0;
	bool		passed = true;

	sample_init(&s, 2000, 24, clusters);
	fill_blobs(&s, 2000);
	for (uint32_t i = 0; i < clusters; i++)
		seed(&s, i, 0);
	vdb_cluster_next(&s.clusters);
	for (int round = 0; round < 30; round++)
	{
		full = run_round(&s);
		if (round == 5)
			before = spread(&s);
	}
	if (full != clusters)
		passed = failure("%u of %u clusters have members", full, clusters);
	if (!(spread(&s) < before))
		passed = failure("spread %g, before %g", spread(&s), before);
	sample_free(&s);
	return passed;
}

/* Rows that are all alike have one cluster, and the others a place that is a number. */
static bool
check_alike(float value)
{
	Sample		s;
	uint32_t	full = 0;
	bool		passed = true;

	sample_init(&s, 1000, 16, 400);
	for (uint32_t i = 0; i < 1000 * s.codec.P; i++)
		s.vectors[i] = value;
	encode(&s);
	for (uint32_t i = 0; i < 400; i++)
		seed(&s, i, i);
	vdb_cluster_next(&s.clusters);
	for (int round = 0; round < 5; round++)
		full = run_round(&s);
	if (full < 1 || s.clusters.members[s.nearest[0]] == 0)
		passed = failure("no cluster has members");
	for (uint32_t i = 0; i < 400 * s.codec.P; i++)
	{
		if (!isfinite(s.clusters.centroids[i]))
			passed = failure("a centroid is %g", s.clusters.centroids[i]);
	}
	sample_free(&s);
	return passed;
}

/* Is each centroid on the sphere, in the direction of its members' sum, seen from the origin? */
static bool
check_sphere(uint32_t dims, uint32_t clusters)
{
	Sample		s;
	uint32_t	P;
	bool		passed = true;

	sample_init(&s, 1000, dims, clusters);
	P = s.codec.P;
	fill_blobs(&s, clusters);
	for (uint32_t d = 0; d < P; d++)
		s.center[d] = 0.3f * random_float();
	for (uint32_t i = 0; i < s.count; i++)
	{
		float	   *x = s.vectors + (size_t) i * P;
		double		norm2 = 0;

		for (uint32_t d = 0; d < P; d++)
			norm2 += (double) x[d] * x[d];
		for (uint32_t d = 0; d < P; d++)
			x[d] = (float) (x[d] / sqrt(norm2)) - s.center[d];
	}
	encode(&s);
	s.clusters.on_sphere = true;
	for (uint32_t i = 0; i < clusters; i++)
		seed(&s, i, i);
	vdb_cluster_next(&s.clusters);
	for (int round = 0; round < 3; round++)
		run_round(&s);
	for (uint32_t i = 0; i < clusters && passed; i++)
	{
		double		norm2 = 0;
		double		product = 0;
		double		sum2 = 0;

		for (uint32_t d = 0; d < P; d++)
		{
			double		c = (double) s.clusters.centroids[(size_t) i * P + d] + s.center[d];
			double		sum = 0;

			for (uint32_t row = i; row < s.count; row += clusters)
				sum += (double) s.vectors[(size_t) row * P + d] + s.center[d];
			norm2 += c * c;
			product += c * sum;
			sum2 += sum * sum;
		}
		if (fabs(norm2 - 1) > 1e-4)
			passed = failure("centroid %u is %g long", i, sqrt(norm2));
		if (product < 0.999 * sqrt(norm2 * sum2))
			passed = failure("centroid %u is %g from where its members are", i, product / sqrt(norm2 * sum2));
	}
	sample_free(&s);
	return passed;
}

int
main(int argc, char **argv)
{
	VdbSimdLevel best;

	read_share(argc, argv);
	vdb_distance_init();
	best = vdb_kernels->level;
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		const char *name = vdb_distance_level_name((VdbSimdLevel) level);

		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		report(check_blobs(24, 7, 1000) && check_blobs(100, 40, 700), "a cluster for each blob, %s", name);
		report(check_nearest(20, 1) && check_nearest(104, 31) && check_nearest(100, 290),
			   "codes go to the nearest centroid, %s", name);
		report(check_several(90, 90, 8) && check_several(90, 40, 1) && check_several(5, 5, 8) && check_several(1, 1, 8),
			   "the nearest centroids are found in order, %s", name);
	}
	vdb_distance_force(best);
	for (finds = -1; finds < 6; finds++)
	{
		if (finds == 0)
			continue;
		report(check_blobs(24, 7, 1000) && check_blobs(100, 40, 700) && check_nearest(20, 1) && check_nearest(100, 290) &&
			   check_empty(300) && check_several(90, 90, WANTED) && check_several(5, 5, WANTED), "a finder that %s, at call %d",
			   finds < 0 ? "never fails" : "fails", finds);
	}
	finds = 0;
	report(check_empty(2) && check_empty(64) && check_empty(300), "no cluster stays empty");
	report(check_sphere(24, 7) && check_sphere(100, 40), "centroids that are directions");
	report(check_alike(0) && check_alike(1) && check_alike(1e15f), "rows that are all alike");
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
