/*
 * check_gpu.c
 *	  Does a library find what integers and doubles say, on fresh random data?  And how fast?
 *
 *	check_gpu LIBRARY [measure | few] [seed N]
 *
 * Rows that are found, and their order, are compared with all bounds by vdb_gpu_bound() from products in 64 bits; bounds with
 * the same in doubles.  Exits with 1 where something differs, and with 3 where there is no device.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vdb_gpu.h"

static const VdbGpuFunctions *gpu;
static uint64_t random_state;
static int	failures;

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* splitmix64 (Steele and others, 2014) */
static uint64_t
random_u64(void)
{
	uint64_t	z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t
random_below(uint32_t n)
{
	return (uint32_t) (random_u64() % n);
}

static float
random_float(void)
{
	return (float) (random_u64() >> 40) / (1 << 24);
}

static void *
allocate(size_t bytes)
{
	void	   *memory = malloc(bytes);

	if (memory == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	return memory;
}

static void
expect(VdbGpuStatus status, const char *what)
{
	if (status == VDB_GPU_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, gpu->last_error());
	exit(2);
}

/* --- data ------------------------------------------------------------------------ */

typedef enum Kind
{
	PLAIN,
	TIED,						/* many rows are alike */
	FALLING,					/* each row is nearer than those before, so all are kept */
	EXTREME,					/* largest products, rows of which nothing is known, rows that come last */
	KINDS
} Kind;

static const char *const kind_names[] = {"plain", "tied", "falling", "extreme"};

typedef struct Data
{
	uint32_t	dims;
	uint32_t	rows;
	float	   *add;
	float	   *rescale;
	float	   *residual;
	float	   *length;
	uint8_t    *codes;
} Data;

static void
make_row(Data *data, Kind kind, uint32_t i)
{
	uint8_t    *code = data->codes + (size_t) i * data->dims;

	for (uint32_t j = 0; j < data->dims; j += 8)
	{
		uint64_t	bytes = random_u64();

		memcpy(code + j, &bytes, 8);
	}
	data->add[i] = 1 + random_float();
	data->rescale[i] = 1e-4f * (1 + random_float());
	data->residual[i] = .01f * random_float();
	data->length[i] = 1 + .1f * random_float();
	if (kind == FALLING)
		data->add[i] = 1e3f - (float) i * (1e3f / (float) data->rows);
	if (kind == TIED && i > 0)
	{
		uint32_t	like = random_below(i < 20 ? i : 20);

		memcpy(code, data->codes + (size_t) like * data->dims, data->dims);
		data->add[i] = data->add[like];
		data->rescale[i] = data->rescale[like];
		data->residual[i] = data->residual[like];
		data->length[i] = data->length[like];
	}
	if (kind == EXTREME)
	{
		memset(code, random_below(3) == 0 ? 255 : code[0], data->dims);
		if (random_below(50) == 0)
			data->residual[i] = INFINITY;
		if (random_below(10) == 0)
			data->add[i] = INFINITY;
	}
}

static Data
make_data(uint32_t dims, uint32_t rows, Kind kind)
{
	Data		data = {.dims = dims, .rows = rows};

	data.add = allocate(rows * sizeof(float));
	data.rescale = allocate(rows * sizeof(float));
	data.residual = allocate(rows * sizeof(float));
	data.length = allocate(rows * sizeof(float));
	data.codes = allocate((size_t) rows * dims);
	for (uint32_t i = 0; i < rows; i++)
		make_row(&data, kind, i);
	return data;
}

static void
free_data(Data *data)
{
	free(data->add);
	free(data->rescale);
	free(data->residual);
	free(data->length);
	free(data->codes);
}

static void
make_question(const Data *data, Kind kind, VdbGpuBound bound, int8_t *vector, VdbGpuQuestion *question)
{
	int32_t		sum = 0;

	for (uint32_t j = 0; j < data->dims; j++)
	{
		vector[j] = kind == EXTREME ? (random_below(20) == 0 ? 127 : -127) : (int8_t) ((int) random_below(255) - 127);
		sum += vector[j];
	}
	*question = (VdbGpuQuestion) {
		.vector = vector,
		.constants = {
			.constant = 2 + random_float(), .mult = 1e-3f * (1 + random_float()), .unsure = 1e-3f, .size = 1e-4f,
			.relative = 1e-6f, .residual_weight = 1.000001f, .error = 1e-3f, .center = .5f,
			.total = (bound == VDB_GPU_PAIR ? 128 : 255) * sum, .kind = bound
		}
	};
}

static VdbGpuQuestion *
make_questions(const Data *data, Kind kind, uint32_t nq)
{
	int8_t	   *vectors = allocate((size_t) nq * data->dims);
	VdbGpuQuestion *questions = allocate(nq * sizeof(VdbGpuQuestion));
	VdbGpuBound bound = (VdbGpuBound) random_below(3);

	for (uint32_t i = 0; i < nq; i++)
		make_question(data, kind, bound, vectors + (size_t) i * data->dims, &questions[i]);
	return questions;
}

static void
free_questions(VdbGpuQuestion *questions)
{
	free((void *) questions[0].vector);
	free(questions);
}

/* --- what it should be --------------------------------------------------------------- */

static int64_t
product_of(const Data *data, uint32_t row, const int8_t *vector)
{
	const uint8_t *code = data->codes + (size_t) row * data->dims;
	int64_t		product = 0;

	/* a part at a time is in range of 32 bits, and fast */
	for (uint32_t first = 0; first < data->dims; first += 4096)
	{
		uint32_t	end = first + 4096 < data->dims ? first + 4096 : data->dims;
		int32_t		part = 0;

		for (uint32_t j = first; j < end; j++)
			part += code[j] * vector[j];
		product += part;
	}
	return product;
}

/* The bound in doubles, and what floats may be off by. */
static double
bound_in_doubles(const VdbGpuConstants *q, int64_t product, const Data *data, uint32_t i, double *off_by)
{
	double		code = (double) data->rescale[i] * q->mult * (double) (2 * product - q->total);
	double		off = (double) q->unsure * data->length[i] + q->size + (double) q->relative * fabs((double) data->add[i]);
	double		score = (double) q->constant + data->add[i] - code - off;
	double		largest = fabs((double) q->constant) + fabs((double) data->add[i]) + fabs(code) + off;

	if (q->kind == VDB_GPU_PAIR)
	{
		double		factor = (double) q->mult * data->rescale[i] * (double) (product - q->total);

		*off_by = 1e-6 * (fabs((double) q->constant) + fabs((double) data->add[i]) + fabs(factor));
		return (double) q->constant + data->add[i] - factor;
	}
	*off_by = 1e-6 * (largest + 1);
	if (q->kind == VDB_GPU_PRODUCT)
		return score - (double) q->residual_weight * data->residual[i] -
			(double) q->error * ((double) q->center + data->length[i] + data->residual[i]) * 1.0001;

	/* near 0 a root is off by more than what is under it */
	*off_by = sqrt(*off_by) < sqrt(fmax(score, 0)) ? *off_by / sqrt(score) + 1e-6 : sqrt(*off_by) + 1e-6;
	return sqrt(fmax(score, 0)) - (double) q->residual_weight * data->residual[i] - q->error;
}

static int
compare_found(const void *a, const void *b)
{
	const VdbGpuFound *x = a;
	const VdbGpuFound *y = b;

	if (x->lower != y->lower)
		return x->lower < y->lower ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* NULL, or what is wrong with what was found for a question. */
static const char *
judge(const Data *data, const VdbGpuQuestion *question, uint32_t m, const VdbGpuFound *found, uint32_t count, VdbGpuFound *all)
{
	for (uint32_t i = 0; i < data->rows; i++)
	{
		int64_t		product = product_of(data, i, question->vector);

		if (product != (int32_t) product)
			return "a product that is out of range";
		all[i].row = i;
		all[i].lower = vdb_gpu_bound(&question->constants, (int32_t) product, data->add[i], data->rescale[i],
									 data->residual[i], data->length[i]);
	}
	qsort(all, data->rows, sizeof(VdbGpuFound), compare_found);
	if (count != (m < data->rows ? m : data->rows))
		return "so many rows are not right";
	for (uint32_t i = 0; i < count; i++)
	{
		double		off_by;
		double		bound;

		if (found[i].row != all[i].row)
			return "another row is due";
		if (found[i].lower != all[i].lower)
			return "another bound is due";
		if (!isfinite(data->add[found[i].row]) || !isfinite(data->residual[found[i].row]))
			continue;
		bound = bound_in_doubles(&question->constants, product_of(data, found[i].row, question->vector), data,
								 found[i].row, &off_by);
		if (!(fabs(bound - found[i].lower) <= off_by))
			return "the bound is not that of doubles";
	}
	return NULL;
}

/* --- cases ------------------------------------------------------------------------------ */

static VdbGpuRows
rows_from(const Data *data, uint32_t first)
{
	return (VdbGpuRows) {
		data->add + first, data->rescale + first, data->residual + first, data->length + first,
		data->codes + (size_t) first * data->dims
	};
}

/* In pieces, some of them twice, with something else first. */
static VdbGpuMirror *
load_in_pieces(const Data *data)
{
	VdbGpuMirror *mirror;

	expect(gpu->create(data->dims, random_below(2) == 0 ? data->rows : 1, &mirror), "create");
	for (uint32_t first = 0; first < data->rows;)
	{
		uint32_t	n = 1 + random_below(data->rows / 3 + 1);
		VdbGpuRows	rows;

		n = n < data->rows - first ? n : data->rows - first;
		if (random_below(3) == 0)
		{
			rows = rows_from(data, 0);
			expect(gpu->write(mirror, first, n, &rows), "write");
		}
		rows = rows_from(data, first);
		expect(gpu->write(mirror, first, n, &rows), "write");
		first += n;
	}
	return mirror;
}

static void
check_case(uint32_t dims, uint32_t rows, uint32_t nq, uint32_t m, Kind kind)
{
	Data		data = make_data(dims, rows, kind);
	VdbGpuMirror *mirror = load_in_pieces(&data);
	VdbGpuQuestion *questions = make_questions(&data, kind, nq);
	VdbGpuFound *found = allocate((size_t) nq * m * sizeof(VdbGpuFound));
	VdbGpuFound *all = allocate(rows * sizeof(VdbGpuFound));
	uint32_t   *counts = allocate(nq * sizeof(uint32_t));
	const char *wrong = NULL;

	expect(gpu->search(mirror, rows, nq, questions, m, found, counts), "search");
	for (uint32_t i = 0; i < nq && wrong == NULL; i++)
		wrong = judge(&data, &questions[i], m, found + (size_t) i * m, counts[i], all);
	if (wrong != NULL)
		failures++;
	printf("%s - %u x %u, %s: %u rows for each of %u questions%s%s\n", wrong == NULL ? "ok" : "not ok", rows, dims,
		   kind_names[kind], m, nq, wrong == NULL ? "" : ": ", wrong == NULL ? "" : wrong);
	fflush(stdout);
	gpu->free(mirror);
	free_questions(questions);
	free(found);
	free(all);
	free(counts);
	free_data(&data);
}

/* Each kernel, each edge of its tiles, and slabs that are more than one; few: for those who take long. */
static void
check_all(int few)
{
	static const uint32_t questions[] = {1, 2, 4, 5, 8, 31, 32, 33, 64, 127, 128};

	for (int i = 0; i < 11; i++)
	{
		check_case(8 * (1 + random_below(40)), 1 + random_below(300), questions[i], 1 + random_below(400), (Kind) random_below(KINDS));
		check_case(8 * (1 + random_below(8)), 8192 + random_below(500), questions[i], 1 + random_below(100), (Kind) random_below(KINDS));
		if (few)
			continue;
		check_case(8 * (1 + random_below(20)), 1 + random_below(300), questions[i], 1 + random_below(400), PLAIN);
		check_case(8 * (1 + random_below(150)), 8000 + random_below(4000), questions[i], 1 + random_below(100), PLAIN);
		check_case(64, 20000, questions[i], 100, TIED);
		check_case(72, 12000, questions[i], 2048, EXTREME);
		check_case(24, 30000, questions[i], 10, FALLING);
	}
	check_case(768, 128, 128, 128, PLAIN);
	check_case(8, 8300, 40, 2048, FALLING);
	if (few)
		return;
	check_case(768, 8192, 128, 2048, PLAIN);
	check_case(768, 8193, 3, 2048, PLAIN);
	check_case(16000, 700, 1, 10, EXTREME);
	check_case(16000, 700, 4, 10, EXTREME);
	check_case(16000, 700, 40, 10, EXTREME);
	check_case(8, 1, 1, 1, PLAIN);
	check_case(8, 300000, 128, 10, FALLING);
	check_case(8, 300000, 128, 2048, PLAIN);
	check_case(16, 300000, 1, 2048, FALLING);
}

/* --- how fast -------------------------------------------------------------------------- */

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

#define ROUNDS 31

/* aim: ms, 0 where there is none */
static void
measure_search(VdbGpuMirror *mirror, const Data *data, uint32_t nq, uint32_t m, double aim)
{
	VdbGpuQuestion *questions = make_questions(data, PLAIN, nq);
	VdbGpuFound *found = allocate((size_t) nq * m * sizeof(VdbGpuFound));
	uint32_t	counts[VDB_GPU_MAX_QUESTIONS];
	double		times[ROUNDS];
	double		ms;

	for (int i = -3; i < ROUNDS; i++)
	{
		double		begun = now_ms();

		expect(gpu->search(mirror, data->rows, nq, questions, m, found, counts), "search");
		times[i < 0 ? 0 : i] = now_ms() - begun;
	}
	qsort(times, ROUNDS, sizeof(double), compare_doubles);
	ms = times[ROUNDS / 2];
	printf("| %u | %u | %.3f | %.3f | %.2f | %.0f | %.0f |", nq, m, times[0], ms,
		   (double) data->rows * data->dims / times[0] / 1e9, 2.0 * nq * data->rows * data->dims / times[0] / 1e9,
		   nq / ms * 1e3);
	if (aim > 0)
		printf(" %.2f |\n", aim);
	else
		printf(" |\n");
	free_questions(questions);
	free(found);
}

static void
measure_all(uint32_t dims, uint32_t rows)
{
	Data		data = make_data(dims, rows, PLAIN);
	VdbGpuRows	all = rows_from(&data, 0);
	VdbGpuMirror *mirror;
	double		begun = now_ms();

	expect(gpu->create(dims, rows, &mirror), "create");
	expect(gpu->write(mirror, 0, rows, &all), "write");
	printf("\n%u x %u in 8 bits, loaded in %.0f ms, %.0f MB\n\n", rows, dims, now_ms() - begun, (double) gpu->bytes(mirror) / 1e6);
	printf("| questions | rows | least ms | median ms | TB/s | TOP/s | questions/s | aim ms |\n");
	printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
	measure_search(mirror, &data, 1, 10, .25);
	measure_search(mirror, &data, 1, 100, .25);
	measure_search(mirror, &data, 1, 2048, 0);
	measure_search(mirror, &data, 4, 100, 0);
	measure_search(mirror, &data, 16, 100, 0);
	measure_search(mirror, &data, 32, 100, 0);
	measure_search(mirror, &data, 128, 10, .8);
	measure_search(mirror, &data, 128, 100, .8);
	measure_search(mirror, &data, 128, 2048, 0);
	gpu->free(mirror);
	free_data(&data);
}

/* The neighbors of all rows of a group, as a build of a graph asks for them. */
static void
measure_graph(uint32_t dims, uint32_t rows, uint32_t m)
{
	Data		data = make_data(dims, rows, PLAIN);
	VdbGpuRows	all = rows_from(&data, 0);
	VdbGpuQuestion *questions = make_questions(&data, PLAIN, VDB_GPU_MAX_QUESTIONS);
	VdbGpuFound *found = allocate((size_t) VDB_GPU_MAX_QUESTIONS * m * sizeof(VdbGpuFound));
	uint32_t	counts[VDB_GPU_MAX_QUESTIONS];
	VdbGpuMirror *mirror;
	double		begun = now_ms();
	double		ms;

	expect(gpu->create(dims, rows, &mirror), "create");
	expect(gpu->write(mirror, 0, rows, &all), "write");
	for (uint32_t first = 0; first < rows; first += VDB_GPU_MAX_QUESTIONS)
		expect(gpu->search(mirror, rows, VDB_GPU_MAX_QUESTIONS, questions, m, found, counts), "search");
	ms = now_ms() - begun;
	printf("\n%u neighbors of each of %u x %u: %.0f ms, %.0f TOP/s\n", m, rows, dims, ms, 2.0 * rows * rows * dims / ms / 1e9);
	gpu->free(mirror);
	free_questions(questions);
	free(found);
	free_data(&data);
}

int
main(int argc, char **argv)
{
	int			measure = 0;
	int			few = 0;
	VdbGpuDevice device;
	VdbGpuGetFunctions get_functions;
	void	   *library;

	random_state = (uint64_t) time(NULL);
	for (int i = 2; i < argc; i++)
	{
		if (strcmp(argv[i], "measure") == 0)
			measure = 1;
		else if (strcmp(argv[i], "few") == 0)
			few = 1;
		else if (strcmp(argv[i], "seed") == 0 && i + 1 < argc)
			random_state = strtoull(argv[++i], NULL, 10);
	}
	library = argc < 2 ? NULL : dlopen(argv[1], RTLD_NOW);
	get_functions = library == NULL ? NULL : (VdbGpuGetFunctions) dlsym(library, VDB_GPU_SYMBOL);
	gpu = get_functions == NULL ? NULL : get_functions(VDB_GPU_ABI);
	if (gpu == NULL)
	{
		fprintf(stderr, "usage: check_gpu LIBRARY [measure | few] [seed N]; %s\n", library == NULL && argc > 1 ? dlerror() : "");
		return 2;
	}
	if (gpu->probe(&device) != VDB_GPU_OK)
	{
		printf("%s\n", gpu->last_error());
		return 3;
	}
	printf("%s, %.1f GB, seed %llu\n", device.name, (double) device.memory / 1e9, (unsigned long long) random_state);
	if (measure)
	{
		measure_all(768, 1000000);
		measure_graph(768, 27000, 33);
	}
	else
		check_all(few);
	return failures > 0;
}
