/*
 * kernels.c
 *	  Times the distance kernels: prints nanoseconds a call of each kernel at
 *	  each level this machine has, for some dimensions, with all operands in
 *	  the first-level cache.  Correctness is test/unit/test_distance.c's matter.
 *
 *	  make bench-programs && bench/build/kernels
 */
#include "../src/distance/distance.h"

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

/* Operands; the hot query has room for the padding of its last block. */
static float float_a[MAX_DIMS];
static float float_b[MAX_DIMS];
static uint16_t half_a[MAX_DIMS];
static uint16_t half_b[MAX_DIMS];
static uint8_t code[MAX_DIMS];
static uint8_t bits[MAX_DIMS];
static int32_t indices_a[MAX_DIMS];
static int32_t indices_b[MAX_DIMS];
static int8_t query[MAX_DIMS + 8 * VDB_HOT_BLOCK];
static int8_t int8_a[MAX_DIMS];
static int8_t int8_b[MAX_DIMS];

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
	K_NODE_IP,
	K_NODE_L1,
	K_NODE_DECODE,
	K_I8_IP,
	K_I8_L1,
	K_FHT,
	NUM_KERNELS
} KernelId;

static const char *const kernel_names[NUM_KERNELS] = {
	"l2_squared", "inner_product", "l1", "cosine", "half_l2_squared",
	"half_inner_product", "half_l1", "half_cosine", "half_to_float",
	"float_to_half", "bit_hamming", "bit_jaccard", "sparse_l2_squared",
	"sparse_ip", "sparse_l1", "hot2_ip", "hot4_ip", "hot8_ip", "hot4_l1",
	"hot8_l1", "node_ip", "node_l1", "node_decode", "i8_ip", "i8_l1", "fht"
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
		case K_NODE_IP:
			REPEAT(float_sink = k->node_ip(n, float_a, int8_a, code));
			break;
		case K_NODE_L1:
			REPEAT(float_sink = k->node_l1(n, float_a, 0.1f, int8_a, code));
			break;
		case K_NODE_DECODE:
			REPEAT(k->node_decode(n, 0.1f, int8_a, code, float_b));
			break;
		case K_I8_IP:
			REPEAT(int_sink = k->i8_ip(n, int8_a, int8_b));
			break;
		case K_I8_L1:
			REPEAT(float_sink = k->i8_l1(n, 0.1f, int8_a, 0.2f, int8_b));
			break;
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
}

int
main(void)
{
	int			kernel;
	int			level;
	size_t		d;

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
	return 0;
}
