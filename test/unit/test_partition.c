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

#define SAMPLE_PER_PIVOT 32
#define ROUNDS 24

typedef struct Codes
{
	float	   *center;
	VdbCodec	codec;
	VdbNodeFactors *factors;
	uint8_t    *hi;
} Codes;

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
	codes->factors = new_block(count * sizeof(VdbNodeFactors), 0xFF);
	codes->hi = new_block((size_t) count * codes->codec.hi_bytes, 0xFF);
	for (uint32_t i = 0; i < count; i++)
	{
		float		norm;

		fill_vector(kind, i, dims, raw);
		norm = vdb_codec_transform(&codes->codec, raw, coded);
		codes->factors[i] = vdb_encode_node(&codes->codec, coded, norm,
												   codes->hi + (size_t) codes->codec.hi_bytes * i, lo);
	}
	free(lo);
	free(coded);
	free(raw);
}

static void
free_codes(Codes *codes)
{
	free(codes->center);
	free(codes->factors);
	free(codes->hi);
}

static const uint8_t *
hi_of(const Codes *codes, uint32_t i)
{
	return codes->hi + (size_t) codes->codec.hi_bytes * i;
}

/* Pivots of the first vectors, with weights found on more of them. */
static char *
make_pivots(HnswPivots *pivots, const Codes *codes, uint32_t count, uint32_t partitions,
			uint32_t fanout, uint32_t limit)
{
	uint32_t	sample = count < partitions * SAMPLE_PER_PIVOT ? count : partitions * SAMPLE_PER_PIVOT;
	char	   *memory = new_block(vdb_hnsw_pivots_bytes(&codes->codec, partitions), 0xFF);
	float	   *scores = new_block((size_t) sample * partitions * sizeof(float), 0xFF);

	vdb_hnsw_pivots_init(pivots, &codes->codec, partitions, fanout, limit, memory);
	for (uint32_t i = 0; i < partitions; i++)
		vdb_panel_put(&pivots->panel, i, codes->factors[i], hi_of(codes, i));
	vdb_panel_scores(&pivots->panel, sample, codes->factors, codes->hi, codes->codec.hi_bytes, scores);
	vdb_hnsw_pivots_balance(pivots, scores, sample, ROUNDS);
	free(scores);
	return memory;
}

/* Divides all vectors; `room`: of all partitions together, for each member. */
static bool
check_division(VdbMetric metric, Kind kind, uint32_t count, uint32_t partitions, uint32_t fanout,
			   double room, double most_uneven)
{
	uint32_t	members = (partitions < fanout ? partitions : fanout) * count;
	uint32_t	limit = (uint32_t) ceil(room * members / partitions);
	uint32_t   *counted = new_block(partitions * sizeof(uint32_t), 0);
	float	   *scores = new_block(partitions * sizeof(float), 0);
	uint32_t	missing = members;
	HnswPivots	pivots;
	Codes		codes;
	char	   *memory;
	bool		passed = true;

	make_codes(&codes, metric, kind, 16, count);
	memory = make_pivots(&pivots, &codes, count, partitions, fanout, limit);
	for (uint32_t i = 0; i < count && passed; i++)
	{
		uint32_t	chosen[HNSW_MAX_FANOUT];
		uint32_t	found;

		vdb_panel_scores(&pivots.panel, 1, &codes.factors[i], hi_of(&codes, i), 0, scores);
		found = vdb_hnsw_pivots_assign(&pivots, scores, chosen);
		missing -= found;
		if (found == 0 || found > fanout)
			passed = failure("vector %u goes to %u partitions", i, found);
		for (uint32_t f = 0; f < found && passed; f++)
		{
			if (chosen[f] >= partitions)
				passed = failure("vector %u goes to partition %u", i, chosen[f]);
			else
				counted[chosen[f]]++;
			for (uint32_t g = 0; g < f; g++)
			{
				if (chosen[f] == chosen[g])
					passed = failure("vector %u is in partition %u twice", i, chosen[f]);
			}
		}
	}
	for (uint32_t i = 0; i < partitions && passed; i++)
	{
		if (counted[i] != pivots.sizes[i] || counted[i] > limit)
			passed = failure("partition %u has %u of at most %u members, counted as %u", i,
							 counted[i], limit, pivots.sizes[i]);
		else if (counted[i] > most_uneven * members / partitions)
			passed = failure("partition %u has %u members, with %u on average", i, counted[i],
							 members / partitions);
	}

	/* where every place is needed, the last ones may be several in one partition */
	if (passed && room > 1 && missing > 0)
		passed = failure("%u of %u places are not taken", missing, members);
	free(memory);
	free(scores);
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
	float		scores[8];
	uint32_t (*of)[2] = new_block(count * sizeof(*of), 0);
	uint32_t	together = 0;
	HnswPivots	pivots;
	Codes		codes;
	char	   *memory;

	make_codes(&codes, metric, KIND_CLUSTERED, 16, count);
	memory = make_pivots(&pivots, &codes, count, partitions, 2, count);
	for (uint32_t i = 0; i < count; i++)
	{
		vdb_panel_scores(&pivots.panel, 1, &codes.factors[i], hi_of(&codes, i), 0, scores);
		vdb_hnsw_pivots_assign(&pivots, scores, of[i]);
	}
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	nearest = i == 0;
		float		best = INFINITY;

		for (uint32_t j = 0; j < count; j++)
		{
			float		score = vdb_pair_score(&codes.codec, codes.factors[i], hi_of(&codes, i),
											   codes.factors[j], hi_of(&codes, j));

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
	free(memory);
	free_codes(&codes);
	if (together < floor * count)
		return failure("only %u of %u are with their nearest neighbour", together, count);
	return true;
}

int
main(int argc, char **argv)
{
	uint32_t	many;

	read_share(argc, argv);
	many = (uint32_t) share_of(6000);
	vdb_distance_init();
	for (int metric = 0; metric < VDB_DENSE_METRICS; metric++)
	{
		VdbMetric	me = (VdbMetric) metric;

		report(check_division(me, KIND_CLUSTERED, many, 10, 2, 1.2, 1.6) &&
			   check_division(me, KIND_NORMAL, many, 10, 2, 1.2, 1.6) &&
			   check_division(me, KIND_CLUSTERED, many, 40, 6, 1.2, 1.6),
			   "even partitions, %s", metric_names[metric]);
		report(check_division(me, KIND_IDENTICAL, 1000, 10, 2, 1.0, 2) &&
			   check_division(me, KIND_HALF_IDENTICAL, 1000, 7, 2, 1.0, 2) &&
			   check_division(me, KIND_OVERFLOW, 1000, 20, 5, 1.0, 2),
			   "none above the limit, and no room to spare, %s", metric_names[metric]);
		report(check_division(me, KIND_CLUSTERED, 500, 1, 2, 1.0, 1) &&
			   check_division(me, KIND_CLUSTERED, 500, 2, 2, 1.0, 1) &&
			   check_division(me, KIND_CLUSTERED, 500, 3, HNSW_MAX_FANOUT, 1.0, 1) &&
			   check_division(me, KIND_CLUSTERED, 500, 3, 1, 1.0, 2) &&
			   check_division(me, KIND_CLUSTERED, 64, 64, 2, 1.0, 2),
			   "one, two, three, as many as vectors, %s", metric_names[metric]);
		report(check_locality(me, metric == VDB_METRIC_IP ? 0.6 : 0.9), "neighbours are together, %s",
			   metric_names[metric]);
	}
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
