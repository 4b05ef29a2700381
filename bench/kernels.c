/*
 * kernels.c
 *	  Times the distance kernels: prints nanoseconds a call of each kernel at
 *	  each level this machine has, for some dimensions, with all operands in
 *	  the first-level cache; and nanoseconds a pair where all codes of two blocks
 *	  are compared, pair by pair and by a panel, as products and as scores.
 *	  Correctness is the matter of test/unit.
 *
 *	  make bench-programs && bench/build/kernels
 *	  bench/build/kernels blocks		only the latter
 */
#include "../src/distance/distance.h"
#include "../src/quant/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const size_t dimensions[] = {104, 128, 384, 784, 1536};

#define NUM_DIMENSIONS (sizeof(dimensions) / sizeof(dimensions[0]))
#define MAX_DIMS 2048

/* Time of one measurement, and how many of them the best is taken of. */
#define MEASURE_NS 100000.0
#define ROUNDS 25

/*
 * Codes of a block, and how many of the plain ones are timed at once: a
 * measurement that is over soon is more often left alone by other programs.
 */
#define BLOCK 256
#define SLICE 64

/* Operands; the hot query has room for the padding of its last block. */
static float float_a[MAX_DIMS];
static float float_b[MAX_DIMS];
static float float_c[VDB_SCAN_LANES];
static uint16_t half_a[MAX_DIMS];
static uint16_t half_b[MAX_DIMS];
static uint8_t code[MAX_DIMS];
static uint8_t bits[MAX_DIMS];
static int32_t indices_a[MAX_DIMS];
static int32_t indices_b[MAX_DIMS];
static int8_t query[MAX_DIMS + 8 * VDB_HOT_BLOCK];
static int8_t int8_a[MAX_DIMS];
static int8_t int8_b[MAX_DIMS];
static uint8_t scan_table[32 * MAX_DIMS / 4];
static uint8_t scan_group[32 * MAX_DIMS / 4];

/* Results go here, so that no call can be left out. */
static volatile float float_sink;
static volatile int32_t int_sink;

typedef enum KernelId
{
	K_L2_SQUARED,
	K_INNER_PRODUCT,
	K_L1,
	K_COSINE,
	K_HALF_L2_SQUARED,
	K_HALF_INNER_PRODUCT,
	K_HALF_L1,
	K_HALF_COSINE,
	K_HALF_TO_FLOAT,
	K_FLOAT_TO_HALF,
	K_BIT_HAMMING,
	K_BIT_JACCARD,
	K_SPARSE_L2_SQUARED,
	K_SPARSE_IP,
	K_SPARSE_L1,
	K_HOT2_IP,
	K_HOT4_IP,
	K_HOT8_IP,
	K_HOT4_L1,
	K_HOT8_L1,
	K_HOT_FIT,
	K_NODE12_IP,
	K_NODE10_IP,
	K_NODE12_L1,
	K_NODE10_L1,
	K_NODE12_DECODE,
	K_NODE10_DECODE,
	K_I8_IP,
	K_I8_L1,
	K_SELECT_BELOW,
	K_SCAN_BELOW,
	K_FHT,
	NUM_KERNELS
} KernelId;

static const char *const kernel_names[NUM_KERNELS] = {
	"l2_squared", "inner_product", "l1", "cosine", "half_l2_squared",
	"half_inner_product", "half_l1", "half_cosine", "half_to_float",
	"float_to_half", "bit_hamming", "bit_jaccard", "sparse_l2_squared",
	"sparse_ip", "sparse_l1", "hot2_ip", "hot4_ip", "hot8_ip", "hot4_l1",
	"hot8_l1", "hot_fit", "node12_ip", "node10_ip", "node12_l1", "node10_l1",
	"node12_decode", "node10_decode", "i8_ip", "i8_l1", "select_below",
	"scan_below", "fht"
};

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

/* The Walsh-Hadamard transform takes the next power of two. */
static size_t
next_power(size_t n)
{
	size_t		power = 1;

	while (power < n)
		power *= 2;
	return power;
}

#define REPEAT(statement) \
	do { \
		for (i = 0; i < calls; i++) \
			statement; \
	} while (0)

static void
run(const VdbKernels *k, KernelId kernel, size_t n, size_t calls)
{
	size_t		i;

	switch (kernel)
	{
		case K_L2_SQUARED:
			REPEAT(float_sink = k->l2_squared(n, float_a, float_b));
			break;
		case K_INNER_PRODUCT:
			REPEAT(float_sink = k->inner_product(n, float_a, float_b));
			break;
		case K_L1:
			REPEAT(float_sink = k->l1(n, float_a, float_b));
			break;
		case K_COSINE:
			REPEAT(float_sink = k->cosine(n, float_a, float_b).ip);
			break;
		case K_HALF_L2_SQUARED:
			REPEAT(float_sink = k->half_l2_squared(n, half_a, half_b));
			break;
		case K_HALF_INNER_PRODUCT:
			REPEAT(float_sink = k->half_inner_product(n, half_a, half_b));
			break;
		case K_HALF_L1:
			REPEAT(float_sink = k->half_l1(n, half_a, half_b));
			break;
		case K_HALF_COSINE:
			REPEAT(float_sink = k->half_cosine(n, half_a, half_b).ip);
			break;
		case K_HALF_TO_FLOAT:
			REPEAT(k->half_to_float(n, half_a, float_b));
			break;
		case K_FLOAT_TO_HALF:
			REPEAT(k->float_to_half(n, float_a, half_b));
			break;
		case K_BIT_HAMMING:
			REPEAT(int_sink = (int32_t) k->bit_hamming(n / 8, code, bits));
			break;
		case K_BIT_JACCARD:
			REPEAT(int_sink = (int32_t) k->bit_jaccard(n / 8, code, bits).both);
			break;
		case K_SPARSE_L2_SQUARED:
			REPEAT(float_sink = (float) k->sparse_l2_squared(n, indices_a, float_a,
															 n, indices_b, float_b));
			break;
		case K_SPARSE_IP:
			REPEAT(float_sink = (float) k->sparse_ip(n, indices_a, float_a,
													 n, indices_b, float_b));
			break;
		case K_SPARSE_L1:
			REPEAT(float_sink = (float) k->sparse_l1(n, indices_a, float_a,
													 n, indices_b, float_b));
			break;
		case K_HOT2_IP:
			REPEAT(int_sink = k->hot2_ip(n / 4, query, code));
			break;
		case K_HOT4_IP:
			REPEAT(int_sink = k->hot4_ip(n / 2, query, code));
			break;
		case K_HOT8_IP:
			REPEAT(int_sink = k->hot8_ip(n, query, code));
			break;
		case K_HOT4_L1:
			REPEAT(float_sink = k->hot4_l1(n, float_a, 0.1f, code));
			break;
		case K_HOT8_L1:
			REPEAT(float_sink = k->hot8_l1(n, float_a, 0.1f, code));
			break;
		case K_HOT_FIT:
			{
				double		dots[8];
				int32_t		squares[8];

				REPEAT(k->hot_fit(n, float_a, 5.0f, 3, dots, squares));
				float_sink = (float) dots[0];
				int_sink = squares[0];
				break;
			}
		case K_NODE12_IP:
			REPEAT(float_sink = k->node12_ip(n, float_a, int8_a, code));
			break;
		case K_NODE10_IP:
			REPEAT(float_sink = k->node10_ip(n, float_a, int8_a, code));
			break;
		case K_NODE12_L1:
			REPEAT(float_sink = k->node12_l1(n, float_a, 0.1f, int8_a, code));
			break;
		case K_NODE10_L1:
			REPEAT(float_sink = k->node10_l1(n, float_a, 0.1f, int8_a, code));
			break;
		case K_NODE12_DECODE:
			REPEAT(k->node12_decode(n, 0.1f, int8_a, code, float_b));
			break;
		case K_NODE10_DECODE:
			REPEAT(k->node10_decode(n, 0.1f, int8_a, code, float_b));
			break;
		case K_I8_IP:
			REPEAT(int_sink = k->i8_ip(n, int8_a, int8_b));
			break;
		case K_I8_L1:
			REPEAT(float_sink = k->i8_l1(n, 0.1f, int8_a, 0.2f, int8_b));
			break;
		case K_SELECT_BELOW:
			/* a tenth of them, as in a leaf of a build */
			REPEAT(int_sink = (int32_t) k->select_below(n, float_a, -0.4f, (uint32_t *) float_b));
			break;
		case K_SCAN_BELOW:
			{
				VdbScanScale s = {0.1f, 0.0f, 0.0f};

				/* 32 rows, of 2 bits a dimension */
				REPEAT(int_sink = (int32_t) k->scan_below(n / 4, scan_table, scan_group, float_a,
														  float_b, s, float_c));
				break;
			}
		case K_FHT:
			/* on zeros, which repeated transforms do not let grow */
			memset(float_b, 0, sizeof(float_b));
			REPEAT(k->fht(next_power(n), float_b));
			break;
		case NUM_KERNELS:
			break;
	}
}

/* Nanoseconds a call: the best of several measurements. */
static double
measure(const VdbKernels *k, KernelId kernel, size_t n)
{
	size_t		calls = 16;
	double		best = 0.0;
	int			round;

	for (round = 0; round < ROUNDS;)
	{
		double		start = now_ns();
		double		elapsed;

		run(k, kernel, n, calls);
		elapsed = now_ns() - start;
		if (elapsed < MEASURE_NS)
		{
			calls *= 2;
			continue;
		}
		if (round == 0 || elapsed / (double) calls < best)
			best = elapsed / (double) calls;
		round++;
	}
	return best;
}

/* Two blocks of codes, and their products or scores. */
static int8_t block_a[BLOCK * MAX_DIMS];
static int8_t block_b[BLOCK * MAX_DIMS];
static VdbNodeFactors factors[BLOCK];
static uint8_t panel[BLOCK * MAX_DIMS] __attribute__((aligned(64)));
static int32_t products[BLOCK * BLOCK];
static float scores[BLOCK * BLOCK];

typedef enum BlockWay
{
	BY_PAIR,
	BY_PANEL,
	PACKING,					/* of a panel, to be divided by how often it is used */
	SCORES_BY_PAIR,
	SCORES_BY_PANEL,
	NUM_WAYS
} BlockWay;

static const char *const way_names[NUM_WAYS] = {
	"i8_ip", "panel_ip", "panel_put", "vdb_pair_score", "vdb_panel_scores"
};

/* Plain codes from..from + SLICE - 1 against the other block. */
static void
run_slice(const VdbKernels *k, BlockWay way, size_t n, const VdbCodec *codec,
		  const VdbPanel *prepared, size_t from)
{
	const uint8_t *a = (const uint8_t *) block_a;
	const uint8_t *b = (const uint8_t *) block_b;
	size_t		end = from + SLICE;
	size_t		i;
	size_t		j;

	switch (way)
	{
		case BY_PAIR:
			for (i = from; i < end; i++)
				for (j = 0; j < BLOCK; j++)
					products[i * BLOCK + j] = k->i8_ip(n, block_a + i * n, block_b + j * n);
			break;
		case BY_PANEL:
			k->panel_ip(n, BLOCK, panel, SLICE, block_a + from * n, n, products + from * BLOCK);
			break;
		case PACKING:
			for (j = from; j < end; j++)
				k->panel_put(n, panel, j, block_b + j * n);
			break;
		case SCORES_BY_PAIR:
			for (i = from; i < end; i++)
				for (j = 0; j < BLOCK; j++)
					scores[i * BLOCK + j] = vdb_pair_score(codec, factors[i], a + i * n,
														   factors[j], b + j * n);
			break;
		case SCORES_BY_PANEL:
			vdb_panel_scores(prepared, SLICE, factors + from, a + from * n, n,
							 scores + from * BLOCK);
			break;
		case NUM_WAYS:
			break;
	}
}

/* Nanoseconds a pair of each way: the best of several rounds, in turn. */
static void
measure_block(const VdbKernels *k, size_t n, double *best)
{
	VdbCodec	codec;
	VdbPanel	prepared;
	void	   *memory;
	int			round;
	int			way;
	size_t		from;

	vdb_distance_force(k->level);
	vdb_codec_init(&codec, VDB_METRIC_L2, (uint32_t) n, 1, NULL);
	memory = aligned_alloc(64, (vdb_panel_bytes(&codec, BLOCK) + 63) / 64 * 64);
	if (memory == NULL)
		abort();
	vdb_panel_init(&prepared, &codec, BLOCK, memory);
	for (uint32_t i = 0; i < BLOCK; i++)
		vdb_panel_put(&prepared, i, factors[i], (const uint8_t *) block_b + i * n);
	for (from = 0; from < BLOCK; from += SLICE)
		run_slice(k, PACKING, n, &codec, &prepared, from);
	for (round = 0; round < ROUNDS; round++)
	{
		for (way = 0; way < NUM_WAYS; way++)
		{
			for (from = 0; from < BLOCK; from += SLICE)
			{
				double		start = now_ns();
				double		pair;

				run_slice(k, (BlockWay) way, n, &codec, &prepared, from);
				pair = (now_ns() - start) / (SLICE * BLOCK);
				if ((round == 0 && from == 0) || pair < best[way])
					best[way] = pair;
			}
		}
	}
	free(memory);
}

static void
measure_blocks(void)
{
	double		best[NUM_DIMENSIONS][NUM_WAYS];
	int			level;
	int			way;
	size_t		d;

	printf("\nns a pair, all pairs of two blocks of %d codes, best of %d\n\n", BLOCK,
		   ROUNDS * BLOCK / SLICE);
	for (level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		const VdbKernels *k = vdb_distance_table((VdbSimdLevel) level);

		if (k == NULL)
			continue;
		for (d = 0; d < NUM_DIMENSIONS; d++)
			measure_block(k, dimensions[d], best[d]);
		for (way = 0; way < NUM_WAYS; way++)
		{
			printf("%-18s %-7s", way_names[way], vdb_distance_level_name((VdbSimdLevel) level));
			for (d = 0; d < NUM_DIMENSIONS; d++)
				printf(" %8.2f", best[d][way]);
			printf("\n");
		}
	}
}

static void
fill_operands(void)
{
	size_t		i;

	srand(1);
	for (i = 0; i < MAX_DIMS; i++)
	{
		float_a[i] = (float) rand() / (float) RAND_MAX - 0.5f;
		float_b[i] = (float) rand() / (float) RAND_MAX - 0.5f;
		code[i] = (uint8_t) rand();
		bits[i] = (uint8_t) rand();
		/* every tenth index, on average: a tenth of them are in both */
		indices_a[i] = (i > 0 ? indices_a[i - 1] : 0) + 1 + rand() % 19;
		indices_b[i] = (i > 0 ? indices_b[i - 1] : 0) + 1 + rand() % 19;
		int8_a[i] = (int8_t) (rand() % 255 - 127);
		int8_b[i] = (int8_t) (rand() % 255 - 127);
	}
	vdb_kernels->float_to_half(MAX_DIMS, float_a, half_a);
	vdb_kernels->float_to_half(MAX_DIMS, float_b, half_b);
	for (i = 0; i < sizeof(query); i++)
		query[i] = (int8_t) (rand() % 255 - 127);
	for (i = 0; i < sizeof(block_a); i++)
	{
		block_a[i] = (int8_t) (rand() % 255 - 127);
		block_b[i] = (int8_t) (rand() % 255 - 127);
	}
	for (i = 0; i < BLOCK; i++)
		factors[i] = (VdbNodeFactors) {0.01f, (float) i, 0.1f};
}

int
main(int argc, char **argv)
{
	int			kernel;
	int			level;
	size_t		d;

	vdb_distance_init();
	fill_operands();
	if (argc > 1 && strcmp(argv[1], "blocks") == 0)
	{
		measure_blocks();
		return 0;
	}

	printf("ns a call, best of %d\n\n%-18s %-7s", ROUNDS, "kernel", "level");
	for (d = 0; d < NUM_DIMENSIONS; d++)
		printf(" %8zu", dimensions[d]);
	printf("\n");

	for (kernel = 0; kernel < NUM_KERNELS; kernel++)
	{
		for (level = 0; level < VDB_SIMD_LEVELS; level++)
		{
			const VdbKernels *k = vdb_distance_table((VdbSimdLevel) level);

			if (k == NULL)
				continue;
			fill_operands();
			printf("%-18s %-7s", kernel_names[kernel],
				   vdb_distance_level_name((VdbSimdLevel) level));
			for (d = 0; d < NUM_DIMENSIONS; d++)
				printf(" %8.1f", measure(k, (KernelId) kernel, dimensions[d]));
			printf("\n");
		}
	}
	measure_blocks();
	return 0;
}
