/*
 * cluster.c
 *	  k-means over node codes.
 */
#include <math.h>

#include "quant/cluster.h"
#include "quant/codec_private.h"

#define CLUSTER_ALIGN 64

/* Scores looked at one by one, before others are compared with the least of them. */
#define FIRST_SCORES 32

/*
 * Clusters without members that get others' in one round: of rows that are all alike
 * nearly all have none, and none that they could be given.
 */
#define MOST_DIVIDED 256

/* How far the halves of a divided cluster are apart, relative to each coordinate. */
#define APART (1.0f / 1024)

static inline size_t
align_up(size_t bytes)
{
	return (bytes + CLUSTER_ALIGN - 1) / CLUSTER_ALIGN * CLUSTER_ALIGN;
}

/* Bytes of floats of all centroids. */
static inline size_t
vectors_bytes(const VdbCodec *codec, uint32_t count)
{
	return align_up((size_t) count * codec->P * sizeof(float));
}

/* Bytes of a number for each centroid. */
static inline size_t
numbers_bytes(uint32_t count)
{
	return align_up((size_t) count * sizeof(uint32_t));
}

static inline size_t
scores_bytes(uint32_t count)
{
	return align_up((size_t) VDB_CLUSTER_BLOCK * count * sizeof(float));
}

static inline size_t
codes_bytes(const VdbCodec *codec)
{
	return align_up((size_t) VDB_CLUSTER_BLOCK * (codec->hi_bytes + codec->lo_bytes));
}

size_t
vdb_cluster_bytes(const VdbCodec *codec, uint32_t count)
{
	return 2 * vectors_bytes(codec, count) + 3 * numbers_bytes(count) + scores_bytes(count) +
		align_up(vdb_panel_bytes(codec, count)) + codes_bytes(codec) + VDB_CLUSTER_BLOCK * sizeof(VdbNodeFactors);
}

void
vdb_cluster_init(VdbClusters *clusters, const VdbCodec *codec, uint32_t count, char *memory)
{
	clusters->codec = codec;
	clusters->count = count;
	clusters->on_sphere = false;
	clusters->centroids = (float *) memory;
	memory += vectors_bytes(codec, count);
	clusters->sums = (float *) memory;
	memory += vectors_bytes(codec, count);
	clusters->sizes = (uint32_t *) memory;
	memory += numbers_bytes(count);
	clusters->members = (uint32_t *) memory;
	memory += numbers_bytes(count);
	clusters->below = (uint32_t *) memory;
	memory += numbers_bytes(count);
	clusters->scores = (float *) memory;
	memory += scores_bytes(count);
	clusters->panel_memory = memory;
	memory += align_up(vdb_panel_bytes(codec, count));
	clusters->codes = (uint8_t *) memory;
	memory += codes_bytes(codec);
	clusters->factors = (VdbNodeFactors *) memory;
	clusters->finder = NULL;
	clusters->is_found = false;
	memset(clusters->centroids, 0, 2 * vectors_bytes(codec, count));
	memset(clusters->sizes, 0, numbers_bytes(count));
}

void
vdb_cluster_use_finder(VdbClusters *clusters, VdbFinder *finder, uint32_t wanted, VdbNeighbor *found)
{
	clusters->finder = finder;
	clusters->wanted = wanted < clusters->count ? wanted : clusters->count;
	clusters->found = found;
}

void
vdb_cluster_seed(VdbClusters *clusters, uint32_t i, VdbNodeFactors factors, const uint8_t *hi,
				 const uint8_t *lo)
{
	const VdbCodec *codec = clusters->codec;

	/* as the only member of its cluster, whose mean it will be */
	vdb_decode_node(codec, factors, hi, lo, clusters->sums + (size_t) i * codec->P);
	clusters->sizes[i] = 1;
}

/* The number of the least of `count` scores, a good guess being `guess`. */
static uint32_t
find_least(const float *scores, uint32_t count, uint32_t guess, uint32_t *below)
{
	uint32_t	best = guess;
	uint32_t	first = count < FIRST_SCORES ? count : FIRST_SCORES;
	size_t		some;

	for (uint32_t i = 0; i < first; i++)
	{
		if (scores[i] < scores[best])
			best = i;
	}
	some = vdb_kernels->select_below(count, scores, scores[best], below);
	for (size_t i = 0; i < some; i++)
	{
		if (scores[below[i]] < scores[best])
			best = below[i];
	}
	return best;
}

/* Has the finder assign codes, if there is one; one that fails is used no more. */
static bool
find_nearest(VdbClusters *clusters, uint32_t n, VdbCodes codes, uint32_t *nearest)
{
	VdbFinder  *finder = clusters->finder;

	clusters->is_found = finder != NULL && finder->find(finder, n, codes, clusters->wanted, clusters->found);
	if (!clusters->is_found)
		clusters->finder = NULL;
	for (uint32_t i = 0; i < n && clusters->is_found; i++)
		nearest[i] = clusters->found[(size_t) i * clusters->wanted].number;
	return clusters->is_found;
}

void
vdb_cluster_assign(VdbClusters *clusters, uint32_t n, const VdbNodeFactors *factors,
				   const uint8_t *hi, size_t stride, uint32_t *nearest)
{
	if (find_nearest(clusters, n, (VdbCodes) {factors, hi, stride}, nearest))
		return;
	vdb_panel_scores(&clusters->panel, n, factors, hi, stride, clusters->scores);
	for (uint32_t i = 0; i < n; i++)
		nearest[i] = find_least(clusters->scores + (size_t) i * clusters->count, clusters->count,
								nearest[i], clusters->below);
}

uint32_t
vdb_cluster_nearest(const VdbClusters *clusters, uint32_t i, uint32_t count, uint32_t most,
					uint32_t *out)
{
	const float *scores = clusters->scores + (size_t) i * clusters->count;
	uint32_t	found = 0;

	for (; clusters->is_found && found < most && found < clusters->wanted; found++)
		out[found] = clusters->found[(size_t) i * clusters->wanted + found].number;
	for (uint32_t c = 0; c < count && !clusters->is_found; c++)
	{
		uint32_t	at;

		if (found == most && !(scores[c] < scores[out[most - 1]]))
			continue;
		at = found < most ? found++ : most - 1;
		for (; at > 0 && scores[c] < scores[out[at - 1]]; at--)
			out[at] = out[at - 1];
		out[at] = c;
	}
	return found;
}

static inline __attribute__((always_inline)) void
add_scaled(uint32_t P, const int8_t *restrict hi, float scale, float *restrict sum)
{
	for (uint32_t i = 0; i < P; i++)
		sum[i] += scale * (float) hi[i];
}

void
vdb_cluster_gather(VdbClusters *clusters, uint32_t n, const VdbNodeFactors *factors,
				   const uint8_t *hi, size_t stride, const uint32_t *nearest)
{
	uint32_t	P = clusters->codec->P;

	for (uint32_t i = 0; i < n; i++)
	{
		add_scaled(P, (const int8_t *) hi + i * stride, 16 * factors[i].scale,
				   clusters->sums + (size_t) nearest[i] * P);
		clusters->sizes[nearest[i]]++;
	}
}

/* The cluster that has the most members, by what is left of it. */
static uint32_t
find_largest(const VdbClusters *clusters)
{
	uint32_t	largest = 0;

	for (uint32_t i = 1; i < clusters->count; i++)
	{
		if (clusters->sizes[i] > clusters->sizes[largest])
			largest = i;
	}
	return largest;
}

/* Moves one centroid a little one way, and another one to the other side. */
static void
divide(VdbClusters *clusters, uint32_t from, uint32_t to)
{
	uint32_t	P = clusters->codec->P;
	float	   *a = clusters->centroids + (size_t) from * P;
	float	   *b = clusters->centroids + (size_t) to * P;

	for (uint32_t i = 0; i < P; i++)
	{
		float		step = a[i] * (i % 2 == 0 ? APART : -APART);

		b[i] = a[i] - step;
		a[i] += step;
	}
	clusters->sizes[to] = clusters->sizes[from] / 2;
	clusters->sizes[from] -= clusters->sizes[to];
}

/* Makes a centroid as long as a unit vector, seen from the origin. */
static void
put_on_sphere(const VdbCodec *codec, float *centroid)
{
	double		norm2 = 0;

	for (uint32_t d = 0; d < codec->P; d++)
		norm2 += ((double) centroid[d] + codec->center[d]) * ((double) centroid[d] + codec->center[d]);
	if (!(norm2 > 0))
		return;
	for (uint32_t d = 0; d < codec->P; d++)
		centroid[d] = (float) (((double) centroid[d] + codec->center[d]) / sqrt(norm2) - codec->center[d]);
}

/* Has the centroids be what codes are compared with. */
static void
put_centroids(VdbClusters *clusters)
{
	const VdbCodec *codec = clusters->codec;
	size_t		stride = codec->hi_bytes + codec->lo_bytes;
	VdbFinder  *finder = clusters->finder;
	VdbCodes	codes = {clusters->factors, clusters->codes, stride};

	vdb_panel_init(&clusters->panel, codec, clusters->count, clusters->panel_memory);
	for (uint32_t first = 0; first < clusters->count; first += VDB_CLUSTER_BLOCK)
	{
		uint32_t	n = clusters->count - first < VDB_CLUSTER_BLOCK ? clusters->count - first : VDB_CLUSTER_BLOCK;

		for (uint32_t i = 0; i < n; i++)
		{
			uint8_t    *code = clusters->codes + i * stride;

			clusters->factors[i] = vdb_encode_node(codec, clusters->centroids + (size_t) (first + i) * codec->P, 0, code,
												   code + codec->hi_bytes);
			vdb_panel_put(&clusters->panel, first + i, clusters->factors[i], code);
		}
		if (finder != NULL && !finder->put(finder, clusters->count, first, n, codes))
			finder = NULL;
	}
	clusters->finder = finder;
}

uint32_t
vdb_cluster_next(VdbClusters *clusters)
{
	const VdbCodec *codec = clusters->codec;
	uint32_t	P = codec->P;
	uint32_t	empty = 0;

	memcpy(clusters->members, clusters->sizes, clusters->count * sizeof(uint32_t));
	for (uint32_t i = 0; i < clusters->count; i++)
	{
		for (uint32_t d = 0; d < P && clusters->sizes[i] > 0; d++)
			clusters->centroids[(size_t) i * P + d] =
				clusters->sums[(size_t) i * P + d] / (float) clusters->sizes[i];
		if (clusters->on_sphere && clusters->sizes[i] > 0)
			put_on_sphere(codec, clusters->centroids + (size_t) i * P);
	}
	for (uint32_t i = 0; i < clusters->count; i++)
	{
		if (clusters->members[i] == 0 && empty++ < MOST_DIVIDED)
			divide(clusters, find_largest(clusters), i);
	}
	put_centroids(clusters);
	memset(clusters->sums, 0, (size_t) clusters->count * P * sizeof(float));
	memset(clusters->sizes, 0, clusters->count * sizeof(uint32_t));
	return clusters->count - empty;
}
