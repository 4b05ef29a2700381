/*
 * test_partition.c
 *	  Unit test of dividing vectors among partitions.  Prints TAP.
 *
 * A partition that is too large would end a build, so the limit must hold
 * whatever the data; and where data has any structure, partitions must be even
 * without it, or the last rows would go where they do not belong.
 */
#include "graph_fixture.h"

#include "hnsw/hnsw_partition.h"

typedef struct Codes
{
	float	   *center;
	VdbCodec	codec;
	HnswCodeSample sample;		/* of all vectors */
} Codes;

static void
no_interrupt(void)
{
}

static void
make_codes(Codes *codes, VdbMetric metric, Kind kind, uint32_t dims, uint32_t count)
{
	uint32_t	P = vdb_codec_padded(dims);
	float	   *raw = new_block(dims * sizeof(float), 0);
	float	   *coded = new_block(P * sizeof(float), 0);
	uint8_t    *lo;

	random_state = 88172645463325252u;
	codes->center = new_block(P * sizeof(float), 0);
	vdb_codec_init(&codes->codec, metric, dims, 99, codes->center);
	lo = new_block(codes->codec.lo_bytes, 0);
	codes->sample.codec = &codes->codec;
	codes->sample.count = count;
	codes->sample.factors = new_block(count * sizeof(VdbNodeFactors), 0xFF);
	codes->sample.hi = new_block((size_t) count * codes->codec.hi_bytes, 0xFF);
	for (uint32_t i = 0; i < count; i++)
	{
		float		norm;

		fill_vector(kind, i, dims, raw);
		norm = vdb_codec_transform(&codes->codec, raw, coded);
		codes->sample.factors[i] = vdb_encode_node(&codes->codec, coded, norm,
												   codes->sample.hi + (size_t) codes->codec.hi_bytes * i, lo);
	}
	free(lo);
	free(coded);
	free(raw);
}

static void
free_codes(Codes *codes)
{
	free(codes->center);
	free(codes->sample.factors);
	free(codes->sample.hi);
}

static const uint8_t *
hi_of(const Codes *codes, uint32_t i)
{
	return codes->sample.hi + (size_t) codes->codec.hi_bytes * i;
}

/* Divides all vectors; `room`: of all partitions together, for each member. */
static bool
check_division(VdbMetric metric, Kind kind, uint32_t count, uint32_t partitions, double room,
			   double most_uneven)
{
	uint32_t	members = partitions > 1 ? 2 * count : count;
	uint32_t	limit = (uint32_t) ceil(room * members / partitions);
	float	   *weights = new_block(partitions * sizeof(float), 0xFF);
	uint32_t   *sizes = new_block(partitions * sizeof(uint32_t), 0xFF);
	uint32_t   *counted = new_block(partitions * sizeof(uint32_t), 0);
	uint32_t	without_guest = 0;
	HnswPivots	pivots;
	Codes		codes;
	bool		passed = true;

	make_codes(&codes, metric, kind, 16, count);
	codes.sample.count = count < partitions * HNSW_SAMPLE_PER_PIVOT ? count :
		partitions * HNSW_SAMPLE_PER_PIVOT;
	vdb_hnsw_pivots_init(&pivots, &codes.sample, partitions, weights, sizes, limit, no_interrupt);
	for (uint32_t i = 0; i < count && passed; i++)
	{
		uint32_t	host = UINT32_MAX;
		uint32_t	guest = UINT32_MAX;

		vdb_hnsw_pivots_assign(&pivots, codes.sample.factors[i], hi_of(&codes, i), &host, &guest);
		if (host >= partitions || guest >= partitions)
			passed = failure("vector %u goes to partitions %u and %u", i, host, guest);
		else
		{
			counted[host]++;
			counted[guest] += guest != host;
			without_guest += guest == host;
		}
	}
	for (uint32_t i = 0; i < partitions && passed; i++)
	{
		if (counted[i] != sizes[i] || sizes[i] > limit)
			passed = failure("partition %u has %u of at most %u members, counted as %u", i,
							 counted[i], limit, sizes[i]);
		else if (sizes[i] > most_uneven * members / partitions)
			passed = failure("partition %u has %u members, with %u on average", i, sizes[i],
							 members / partitions);
	}

	/* where every place is needed, the last ones may be two in one partition */
	if (passed && partitions > 1 && room > 1 && without_guest > 0)
		passed = failure("%u of %u vectors are nobody's guest", without_guest, count);
	free(weights);
	free(sizes);
	free(counted);
	free_codes(&codes);
	return passed;
}

/* Near vectors are in the same partition: nearly all share one with the nearest. */
static bool
check_locality(VdbMetric metric, double floor)
{
	const uint32_t count = (uint32_t) share_of(3000);
	const uint32_t partitions = 8;
	float		weights[8];
	uint32_t	sizes[8];
	uint32_t (*of)[2] = new_block(count * sizeof(*of), 0);
	uint32_t	together = 0;
	HnswPivots	pivots;
	Codes		codes;

	make_codes(&codes, metric, KIND_CLUSTERED, 16, count);
	codes.sample.count = partitions * HNSW_SAMPLE_PER_PIVOT;
	vdb_hnsw_pivots_init(&pivots, &codes.sample, partitions, weights, sizes, count, no_interrupt);
	for (uint32_t i = 0; i < count; i++)
		vdb_hnsw_pivots_assign(&pivots, codes.sample.factors[i], hi_of(&codes, i), &of[i][0], &of[i][1]);
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	nearest = i == 0;
		float		best = INFINITY;

		for (uint32_t j = 0; j < count; j++)
		{
			float		score = vdb_pair_score(&codes.codec, codes.sample.factors[i], hi_of(&codes, i),
											   codes.sample.factors[j], hi_of(&codes, j));

			if (j != i && score < best)
			{
				best = score;
				nearest = j;
			}
		}
		together += of[i][0] == of[nearest][0] || of[i][0] == of[nearest][1] ||
			of[i][1] == of[nearest][0] || of[i][1] == of[nearest][1];
	}
	free(of);
	free_codes(&codes);
	if (together < floor * count)
		return failure("only %u of %u are with their nearest neighbour", together, count);
	return true;
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	vdb_distance_init();
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		VdbMetric	me = (VdbMetric) metric;

		report(check_division(me, KIND_CLUSTERED, (uint32_t) share_of(6000), 10, 1.2, 1.6) &&
			   check_division(me, KIND_NORMAL, (uint32_t) share_of(6000), 10, 1.2, 1.6),
			   "even partitions, %s", metric_names[metric]);
		report(check_division(me, KIND_IDENTICAL, 1000, 10, 1.0, 2) &&
			   check_division(me, KIND_HALF_IDENTICAL, 1000, 7, 1.0, 2) &&
			   check_division(me, KIND_OVERFLOW, 1000, 7, 1.0, 2),
			   "none above the limit, and no room to spare, %s", metric_names[metric]);
		report(check_division(me, KIND_CLUSTERED, 500, 1, 1.0, 1) &&
			   check_division(me, KIND_CLUSTERED, 500, 2, 1.0, 1) &&
			   check_division(me, KIND_CLUSTERED, 500, 3, 1.0, 2) &&
			   check_division(me, KIND_CLUSTERED, 64, 64, 1.0, 2),
			   "one, two, three, as many as vectors, %s", metric_names[metric]);
		report(check_locality(me, metric == VDB_METRIC_IP ? 0.6 : 0.9), "neighbours are together, %s",
			   metric_names[metric]);
	}
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
