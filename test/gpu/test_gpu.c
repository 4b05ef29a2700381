/*
 * test_gpu.c
 *	  A library of gpu/vdb_gpu.h's functions that has no device, computes by itself, and fails as it is told.
 *
 * The file that VDB_GPU_FAULT names has a function and a fault, as "search slow"; without it, all is well.  It is read
 * at each call, so that tests change it while the server runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/vdb_gpu.h"

#define FACTORS 4

struct VdbGpuMirror
{
	uint32_t	dims;
	uint32_t	rows;
	float	   *factors[FACTORS];
	uint8_t    *codes;
};

static char error_text[64] = "";

/* Fails if this function is to; "slow" only takes its time, and "hang" very much of it. */
static VdbGpuStatus
meet_fault(const char *function)
{
	const char *path = getenv("VDB_GPU_FAULT");
	FILE	   *file = path == NULL ? NULL : fopen(path, "r");
	char		where[32] = "";
	char		fault[32] = "";
	VdbGpuStatus status = VDB_GPU_OK;

	if (file != NULL)
	{
		if (fscanf(file, "%31s %31s", where, fault) == 2 && strcmp(where, function) == 0)
		{
			if (strcmp(fault, "out_of_memory") == 0)
				status = VDB_GPU_OUT_OF_MEMORY;
			else if (strcmp(fault, "failed") == 0)
				status = VDB_GPU_FAILED;
			else if (strcmp(fault, "lost") == 0)
				status = VDB_GPU_LOST;
			else if (strcmp(fault, "hang") == 0)
				sleep(1000);
			else if (strcmp(fault, "slow") == 0)
				usleep(20000);
		}
		fclose(file);
	}
	if (status != VDB_GPU_OK)
		snprintf(error_text, sizeof(error_text), "test of %s: %s", function, fault);
	return status;
}

static VdbGpuStatus
probe(VdbGpuDevice *device)
{
	*device = (VdbGpuDevice) {.name = "test device", .memory = 1 << 30, .unused = 1 << 30};
	return meet_fault("probe");
}

static VdbGpuStatus
create(uint32_t dims, uint32_t rows, VdbGpuMirror **mirror)
{
	VdbGpuStatus status = meet_fault("create");

	if (status != VDB_GPU_OK)
		return status;
	*mirror = calloc(1, sizeof(VdbGpuMirror));
	(*mirror)->dims = dims;
	return VDB_GPU_OK;
}

static void
free_mirror(VdbGpuMirror *mirror)
{
	for (int i = 0; i < FACTORS; i++)
		free(mirror->factors[i]);
	free(mirror->codes);
	free(mirror);
}

static uint64_t
count_bytes(const VdbGpuMirror *mirror)
{
	return (uint64_t) mirror->rows * (mirror->dims + FACTORS * sizeof(float));
}

static VdbGpuStatus
write_rows(VdbGpuMirror *mirror, uint32_t first, uint32_t n, const VdbGpuRows *rows)
{
	const float *columns[FACTORS] = {rows->add, rows->rescale, rows->residual, rows->length};
	VdbGpuStatus status = meet_fault("write");

	if (status != VDB_GPU_OK)
		return status;
	if (first + n > mirror->rows)
	{
		for (int i = 0; i < FACTORS; i++)
			mirror->factors[i] = realloc(mirror->factors[i], (first + n) * sizeof(float));
		mirror->codes = realloc(mirror->codes, (size_t) (first + n) * mirror->dims);
		for (uint32_t i = mirror->rows; i < first; i++)
			mirror->factors[0][i] = INFINITY;
		mirror->rows = first + n;
	}
	for (int i = 0; i < FACTORS; i++)
		memcpy(mirror->factors[i] + first, columns[i], n * sizeof(float));
	memcpy(mirror->codes + (size_t) first * mirror->dims, rows->codes, (size_t) n * mirror->dims);
	return VDB_GPU_OK;
}

static int32_t
product_of(const VdbGpuMirror *mirror, const int8_t *q, uint32_t row)
{
	const uint8_t *u = mirror->codes + (size_t) row * mirror->dims;
	int32_t		product = 0;

	for (uint32_t i = 0; i < mirror->dims; i++)
		product += u[i] * q[i];
	return product;
}

/* Keeps the m first of all, in order; rows come by number. */
static uint32_t
search_one(const VdbGpuMirror *mirror, uint32_t rows, const VdbGpuQuestion *question, uint32_t m, VdbGpuFound *found)
{
	uint32_t	count = 0;

	for (uint32_t row = 0; row < rows; row++)
	{
		float		lower = vdb_gpu_bound(&question->constants, product_of(mirror, question->vector, row),
										  mirror->factors[0][row], mirror->factors[1][row], mirror->factors[2][row],
										  mirror->factors[3][row]);
		uint32_t	at = count < m ? count++ : m;

		for (; at > 0 && found[at - 1].lower > lower; at--)
		{
			if (at < m)
				found[at] = found[at - 1];
		}
		if (at < m)
			found[at] = (VdbGpuFound) {row, lower};
	}
	return count;
}

static VdbGpuStatus
search(VdbGpuMirror *mirror, uint32_t rows, uint32_t nq, const VdbGpuQuestion *questions, uint32_t m, VdbGpuFound *found,
	   uint32_t *counts)
{
	VdbGpuStatus status = meet_fault("search");

	for (uint32_t i = 0; i < nq && status == VDB_GPU_OK; i++)
		counts[i] = search_one(mirror, rows, &questions[i], m, found + (size_t) i * m);
	return status;
}

static const char *
last_error(void)
{
	return error_text;
}

const VdbGpuFunctions *
vdb_gpu_functions(uint32_t abi)
{
	static const VdbGpuFunctions functions = {
		VDB_GPU_ABI, probe, create, free_mirror, count_bytes, write_rows, search, last_error
	};

	return abi == VDB_GPU_ABI ? &functions : NULL;
}
