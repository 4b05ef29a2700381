/*
 * vdb_gpu.h
 *	  What a library offers that keeps codes of vectors on a device and searches them there.
 *
 * Plain C, of no server.  A library exports one function, vdb_gpu_functions, which returns a table.  All functions of the
 * table are called by one thread of one process, none before probe.  None of them throws, ends the process or writes
 * anywhere but through its arguments.
 *
 * A mirror on the device has rows, each a code of so many bytes, u, and four factors.  A question is as many signed bytes, q,
 * and constants; the lower bound of a row is computed from the exact integer sum of u q, by vdb_gpu_bound().
 *
 * For builds of indexes a mirror has other rows, signed codes v as u = v + 128 with `add` and `rescale`, and the bound is the
 * score of two codes.
 */
#ifndef VDB_GPU_ABI_H
#define VDB_GPU_ABI_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

#define VDB_GPU_ABI 2			/* changes with whatever is in this file */
#define VDB_GPU_SYMBOL "vdb_gpu_functions"

#define VDB_GPU_MAX_QUESTIONS 128	/* of a search */
#define VDB_GPU_MAX_FOUND 2048	/* rows, of a question */
#define VDB_GPU_MAX_DIMS 16384

typedef enum VdbGpuStatus
{
	VDB_GPU_OK,
	VDB_GPU_NO_DEVICE,			/* there is none that the library can use */
	VDB_GPU_OUT_OF_MEMORY,		/* of the device; all is as it was */
	VDB_GPU_FAILED,				/* this call; others may do better */
	VDB_GPU_LOST				/* nothing can be done in this process any more */
} VdbGpuStatus;

typedef struct VdbGpuDevice
{
	char		name[256];
	uint64_t	memory;			/* bytes */
	uint64_t	unused;			/* of these */
} VdbGpuDevice;

/* Columns, one element a row; codes one behind the other. */
typedef struct VdbGpuRows
{
	const float *add;			/* infinity: the row comes after all others */
	const float *rescale;
	const float *residual;
	const float *length;
	const uint8_t *codes;
} VdbGpuRows;

/* What a bound is of. */
typedef enum VdbGpuBound
{
	VDB_GPU_LENGTH,
	VDB_GPU_PRODUCT,			/* an inner product */
	VDB_GPU_PAIR				/* no bound: the score of two codes, constant + add - mult rescale (v q) */
} VdbGpuBound;

typedef struct VdbGpuConstants
{
	float		constant;
	float		mult;
	float		unsure;
	float		size;
	float		relative;
	float		residual_weight;
	float		error;
	float		center;
	int32_t		total;			/* 255 times the sum of q; of pairs, 128 times */
	int32_t		kind;			/* a VdbGpuBound; the same for all questions of a search */
} VdbGpuConstants;

typedef struct VdbGpuQuestion
{
	const int8_t *vector;		/* as many as a code has bytes */
	VdbGpuConstants constants;
} VdbGpuQuestion;

typedef struct VdbGpuFound
{
	uint32_t	row;
	float		lower;
} VdbGpuFound;

typedef struct VdbGpuMirror VdbGpuMirror;

typedef struct VdbGpuFunctions
{
	uint32_t	abi;			/* VDB_GPU_ABI */

	/* Finds a device and gets ready to use it. */
	VdbGpuStatus (*probe) (VdbGpuDevice *device);

	/* Makes a mirror without rows; rows: how many it may get, about.  dims: bytes of a code, a multiple of 8. */
	VdbGpuStatus (*create) (uint32_t dims, uint32_t rows, VdbGpuMirror **mirror);
	void		(*free) (VdbGpuMirror *mirror);

	/* of the device's memory */
	uint64_t	(*bytes) (const VdbGpuMirror *mirror);

	/*
	 * Writes n rows from the first one on; the mirror grows by what it has not.  A row that was never written comes after
	 * all others.  What the rows point to may change meanwhile, and then anything may be written; it is not read later.
	 */
	VdbGpuStatus (*write) (VdbGpuMirror *mirror, uint32_t first, uint32_t n, const VdbGpuRows *rows);

	/*
	 * Finds for each question those of the first `rows` rows, which must have been written, with the smallest bounds: m,
	 * or all where these are fewer.  By bound, then by number.  found: m for each question; counts: how many.
	 */
	VdbGpuStatus (*search) (VdbGpuMirror *mirror, uint32_t rows, uint32_t nq, const VdbGpuQuestion *questions,
							uint32_t m, VdbGpuFound *found, uint32_t *counts);

	/* What went wrong last, in words. */
	const char *(*last_error) (void);
} VdbGpuFunctions;

/* NULL where the library has another table than this. */
extern const VdbGpuFunctions *vdb_gpu_functions(uint32_t abi);
typedef const VdbGpuFunctions *(*VdbGpuGetFunctions) (uint32_t abi);

/*
 * The bound of a row, in floats, each operation rounded as it is written: the same on every processor.  product: the sum
 * of u q.  A bound that is no number says nothing, so it is as low as can be; such a score is as high.
 */
#ifdef __CUDACC__
__host__ __device__
#endif
static inline float
vdb_gpu_bound(const VdbGpuConstants *q, int32_t product, float add, float rescale, float residual, float length)
{
	float		score = q->constant + add - rescale * (q->mult * (float) (2 * product - q->total));
	float		off = q->unsure * length + q->size + q->relative * fabsf(add);
	float		bound;

	if (q->kind == VDB_GPU_PAIR)
	{
		score = q->constant + add - q->mult * rescale * (float) (product - q->total);
		return score == score ? score + 0.0f : FLT_MAX;
	}
	if (!(add < INFINITY))
		return INFINITY;
	if (q->kind == VDB_GPU_PRODUCT)
		bound = (score - off) - (q->residual_weight * residual + q->error * (q->center + length + residual) * 1.0001f);
	else
	{
		float		square = score - off;

		bound = sqrtf(square > 0 ? square : 0) - q->residual_weight * residual - q->error - 1e-18f;
	}

	/* zeros have one sign */
	return bound == bound ? bound + 0.0f : -INFINITY;
}

#ifdef __cplusplus
}
#endif

#endif							/* VDB_GPU_ABI_H */
