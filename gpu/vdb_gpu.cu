/*
 * vdb_gpu.cu
 *	  Codes of vectors on a CUDA device, and searches of them.
 *
 * A search goes over the rows in slabs.  A scan of a slab computes bounds and keeps, for each question, the rows that are not
 * behind its limit; a selection reduces these and what was kept before to m, and sets the limit of the next slab.  What is
 * kept is a key of 64 bits, the bound and the row, so that all keys differ and order is one comparison.  The first slab is
 * small, since it has no limit; later ones keep few.  There is room for all rows of a slab, so nothing can overflow.
 *
 * One to four questions are scanned by four products at a time (dp4a), at the speed of memory; more are, by tensor cores (mma).
 */
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdb_gpu.h"
#include "vdb_gpu_ptx.cuh"

namespace
{

constexpr uint32_t TILE = 128;			/* rows that a block multiplies with all questions */
constexpr uint32_t STEP = 64;			/* bytes of a row at a time; rows are padded to this */
constexpr uint32_t PITCH = STEP + 16;	/* of these in shared memory: no two lanes meet in a bank */
constexpr uint32_t THREADS = 256;		/* of a scan */
constexpr uint32_t SELECT_THREADS = 1024;
constexpr uint32_t FEW = 4;				/* questions that are not worth tensor cores */
constexpr uint32_t LANES = 8;			/* that share a row where questions are few */
constexpr uint32_t FIRST_SLAB = 8192;	/* rows, at least */
constexpr uint64_t KEPT = 16 << 20;		/* keys of a slab, of all questions */
constexpr uint64_t SEGMENT_BYTES = 64 << 20;
constexpr uint32_t SEGMENTS = 8192;		/* of a mirror, at most */
constexpr uint32_t FACTORS = 4;
constexpr uint32_t MOST_ROWS = UINT32_MAX - (1 << 24);	/* what is added to a row number stays in range */
constexpr uint64_t NO_LIMIT = UINT64_MAX;

/* What kernels know of a mirror: segments of 1 << shift rows, each four columns of factors, then codes of `stride` bytes. */
struct Table
{
	uint8_t	  **segments;
	uint32_t	shift;
	uint32_t	stride;
};

struct Slab
{
	uint32_t	first;			/* row, a multiple of TILE */
	uint32_t	end;
	uint32_t	is_first;		/* all rows are kept, each at its place */
};

/* What is kept of the rows looked at. */
struct Kept
{
	uint64_t   *keys;			/* of a slab, `room` for each question */
	uint32_t   *counts;
	uint32_t	room;
	uint64_t   *best;			/* so far, VDB_GPU_MAX_FOUND for each */
	uint32_t   *best_counts;
	uint64_t   *limits;			/* no key above is wanted */
};

/* --- device ------------------------------------------------------------------ */

__device__ __forceinline__ const float *
factors_at(const Table &table, uint32_t row)
{
	return (const float *) table.segments[row >> table.shift] + (row & ((1u << table.shift) - 1));
}

__device__ __forceinline__ const uint8_t *
code_at(const Table &table, uint32_t row)
{
	return table.segments[row >> table.shift] + ((uint64_t) FACTORS * sizeof(float) << table.shift) +
		(uint64_t) (row & ((1u << table.shift) - 1)) * table.stride;
}

/* Keys are in the order of bounds, then of rows. */
__device__ __forceinline__ uint64_t
key_of(float bound, uint32_t row)
{
	uint32_t	bits = __float_as_uint(bound);

	bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
	return (uint64_t) bits << 32 | row;
}

__device__ __forceinline__ float
bound_of(uint64_t key)
{
	uint32_t	bits = (uint32_t) (key >> 32);

	return __uint_as_float(bits ^ (bits >> 31 ? 0x80000000u : 0xffffffffu));
}

__device__ __forceinline__ void
keep(const Kept &kept, const Slab &slab, uint32_t question, uint32_t row, float bound)
{
	uint64_t	key = key_of(bound, row);
	uint64_t   *keys = kept.keys + (uint64_t) question * kept.room;

	if (slab.is_first)
		keys[row - slab.first] = key;
	else if (key <= kept.limits[question])
		keys[atomicAdd(&kept.counts[question], 1u)] = key;
}

/* Of few questions, whose bytes, table.stride each, are in shared memory: a row has LANES lanes. */
template <uint32_t NQ>
__global__ void __launch_bounds__(THREADS)
scan_few(Table table, Slab slab, const uint8_t *questions, const VdbGpuConstants *constants, uint32_t nq, Kept kept)
{
	extern __shared__ uint4 vectors[];
	uint32_t	pieces = table.stride / sizeof(uint4);
	uint32_t	lane = threadIdx.x % LANES;
	uint32_t	step = gridDim.x * (THREADS / LANES);

	for (uint32_t i = threadIdx.x; i < NQ * pieces; i += THREADS)
		vectors[i] = ((const uint4 *) questions)[i];
	__syncthreads();

	/* lanes of a warp go round together: rows behind the end are computed, and not kept */
	for (uint32_t start = slab.first + blockIdx.x * (THREADS / LANES); start < slab.end; start += step)
	{
		uint32_t	wanted = start + threadIdx.x / LANES;
		uint32_t	row = min(wanted, slab.end - 1);
		const uint4 *code = (const uint4 *) code_at(table, row);
		int32_t		sums[NQ] = {};

#pragma unroll 4
		for (uint32_t i = lane; i < pieces; i += LANES)
		{
			uint4		u = __ldg(code + i);

#pragma unroll
			for (uint32_t j = 0; j < NQ; j++)
			{
				uint4		q = vectors[j * pieces + i];

				add_products(sums[j], u.x, q.x);
				add_products(sums[j], u.y, q.y);
				add_products(sums[j], u.z, q.z);
				add_products(sums[j], u.w, q.w);
			}
		}
#pragma unroll
		for (uint32_t j = 0; j < NQ; j++)
		{
#pragma unroll
			for (uint32_t distance = LANES / 2; distance > 0; distance /= 2)
				sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], distance);

			/* each question has another lane of those */
			if (lane == j && j < nq && wanted < slab.end)
			{
				const float *f = factors_at(table, row);
				uint32_t	column = 1u << table.shift;

				keep(kept, slab, j, row,
					 vdb_gpu_bound(&constants[j], sums[j], f[0], f[column], f[2 * column], f[3 * column]));
			}
		}
	}
}

__device__ __forceinline__ uint32_t
word_at(const uint8_t *bytes)
{
	return *(const uint32_t *) bytes;
}

/* Copies STEP bytes of so many rows to shared memory, without waiting. */
__device__ __forceinline__ void
fetch(uint8_t *to, const uint8_t *from, uint32_t rows, uint32_t stride)
{
	constexpr uint32_t PIECES = STEP / 16;

	for (uint32_t i = threadIdx.x; i < rows * PIECES; i += THREADS)
		__pipeline_memcpy_async(to + i / PIECES * PITCH + i % PIECES * 16,
								from + (uint64_t) (i / PIECES) * stride + i % PIECES * 16, 16);
}

/*
 * Of NQ questions at most, WARPS of the block's warps along the rows and the others along the questions.  A block has a tile
 * of rows, which is in one segment; those behind the slab's end are there, and not kept.
 */
template <uint32_t NQ, uint32_t WARPS>
__global__ void __launch_bounds__(THREADS)
scan_many(Table table, Slab slab, const uint8_t *questions, const VdbGpuConstants *constants, uint32_t nq, Kept kept)
{
	constexpr uint32_t ACROSS = THREADS / 32 / WARPS;
	constexpr uint32_t HIGH = TILE / WARPS / 16;	/* products of 16 x 8 that a warp has, one below the other */
	constexpr uint32_t WIDE = NQ / ACROSS / 8;	/* and side by side */
	__shared__ __align__(16) uint8_t rows[2][TILE * PITCH];
	__shared__ __align__(16) uint8_t vectors[2][NQ * PITCH];
	__shared__ VdbGpuConstants shared_constants[NQ];
	uint32_t	start = slab.first + blockIdx.x * TILE;
	uint32_t	warp = threadIdx.x / 32;
	uint32_t	group = threadIdx.x % 32 / 4;
	uint32_t	member = threadIdx.x % 4;
	uint32_t	top = warp / ACROSS * (TILE / WARPS);
	uint32_t	left = warp % ACROSS * (NQ / ACROSS);
	uint32_t	steps = table.stride / STEP;
	const uint8_t *codes = code_at(table, start);
	int32_t		sums[HIGH][WIDE][4] = {};

	for (uint32_t i = threadIdx.x; i < nq; i += THREADS)
		shared_constants[i] = constants[i];
	fetch(rows[0], codes, TILE, table.stride);
	fetch(vectors[0], questions, NQ, table.stride);
	__pipeline_commit();
	for (uint32_t step = 0; step < steps; step++)
	{
		uint32_t	side = step % 2;

		if (step + 1 < steps)
		{
			fetch(rows[1 - side], codes + (step + 1) * STEP, TILE, table.stride);
			fetch(vectors[1 - side], questions + (step + 1) * STEP, NQ, table.stride);
		}
		__pipeline_commit();
		__pipeline_wait_prior(1);
		__syncthreads();
#pragma unroll
		for (uint32_t k = 0; k < STEP; k += 32)
		{
			uint32_t	a[HIGH][4];
			uint32_t	b[WIDE][2];

#pragma unroll
			for (uint32_t i = 0; i < HIGH; i++)
			{
				const uint8_t *at = rows[side] + (top + i * 16 + group) * PITCH + k + member * 4;

				a[i][0] = word_at(at);
				a[i][1] = word_at(at + 8 * PITCH);
				a[i][2] = word_at(at + 16);
				a[i][3] = word_at(at + 8 * PITCH + 16);
			}
#pragma unroll
			for (uint32_t j = 0; j < WIDE; j++)
			{
				const uint8_t *at = vectors[side] + (left + j * 8 + group) * PITCH + k + member * 4;

				b[j][0] = word_at(at);
				b[j][1] = word_at(at + 16);
			}
#pragma unroll
			for (uint32_t i = 0; i < HIGH; i++)
#pragma unroll
				for (uint32_t j = 0; j < WIDE; j++)
					multiply(sums[i][j], a[i], b[j]);
		}
		__syncthreads();
	}

	/* a lane has, of each product, two questions of one row, and of the row 8 below */
#pragma unroll
	for (uint32_t i = 0; i < 2 * HIGH; i++)
	{
		uint32_t	row = start + top + i * 8 + group;
		const float *f = factors_at(table, row);
		uint32_t	column = 1u << table.shift;
		float		add = f[0];
		float		rescale = f[column];
		float		residual = f[2 * column];
		float		length = f[3 * column];

		if (row >= slab.end)
			continue;
#pragma unroll
		for (uint32_t j = 0; j < 2 * WIDE; j++)
		{
			uint32_t	question = left + j / 2 * 8 + member * 2 + j % 2;

			if (question < nq)
				keep(kept, slab, question, row,
					 vdb_gpu_bound(&shared_constants[question], sums[i / 2][j / 2][i % 2 * 2 + j % 2], add, rescale,
								   residual, length));
		}
	}
}

/*
 * The bin of 256 in which the need-th smallest is, how many are needed of it, and whether that is all of it.  By the first
 * warp.
 */
struct Bin
{
	uint32_t	number;
	uint32_t	need;
	uint32_t	is_whole;
};

__device__ void
find_bin(const uint32_t *bins, uint32_t need, Bin *bin)
{
	uint32_t	lane = threadIdx.x;
	uint32_t	own = 0;
	uint32_t	upto;

	for (uint32_t i = 0; i < 8; i++)
		own += bins[lane * 8 + i];
	upto = own;
	for (uint32_t distance = 1; distance < 32; distance *= 2)
	{
		uint32_t	before = __shfl_up_sync(0xffffffffu, upto, distance);

		if (lane >= distance)
			upto += before;
	}
	if (upto < need || upto - own >= need)
		return;
	need -= upto - own;
	for (uint32_t i = lane * 8;; i++)
	{
		if (bins[i] >= need)
		{
			*bin = Bin{i, need, bins[i] == need};
			return;
		}
		need -= bins[i];
	}
}

/* A block for each question: of its best so far and of what the slab has kept, the m smallest; their limit. */
__global__ void __launch_bounds__(SELECT_THREADS)
select_best(Kept kept, Slab slab, uint32_t m)
{
	__shared__ uint32_t bins[256];
	__shared__ uint64_t chosen[VDB_GPU_MAX_FOUND];
	__shared__ uint32_t chosen_count;
	__shared__ Bin bin;
	uint32_t	question = blockIdx.x;
	const uint64_t *keys = kept.keys + (uint64_t) question * kept.room;
	uint64_t   *best = kept.best + (uint64_t) question * VDB_GPU_MAX_FOUND;
	uint32_t	count = slab.is_first ? slab.end - slab.first : kept.counts[question];
	uint32_t	old = slab.is_first ? 0 : kept.best_counts[question];
	uint64_t	prefix = 0;
	uint64_t	mask = 0;
	uint32_t	need = m;

	if (count == 0)
		return;
	if (threadIdx.x == 0)
		chosen_count = 0;
	for (int shift = 56; count + old > m && shift >= 0; shift -= 8)
	{
		for (uint32_t i = threadIdx.x; i < 256; i += SELECT_THREADS)
			bins[i] = 0;
		__syncthreads();
		for (uint32_t i = threadIdx.x; i < count + old; i += SELECT_THREADS)
		{
			uint64_t	key = i < count ? keys[i] : best[i - count];

			if ((key & mask) == prefix)
				atomicAdd(&bins[key >> shift & 255], 1u);
		}
		__syncthreads();
		if (threadIdx.x < 32)
			find_bin(bins, need, &bin);
		__syncthreads();
		prefix |= (uint64_t) bin.number << shift;
		mask |= (uint64_t) 255 << shift;
		need = bin.need;
		if (bin.is_whole)
			break;
		__syncthreads();
	}
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < count + old; i += SELECT_THREADS)
	{
		uint64_t	key = i < count ? keys[i] : best[i - count];

		if (key <= (prefix | ~mask))
			chosen[atomicAdd(&chosen_count, 1u)] = key;
	}
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < chosen_count; i += SELECT_THREADS)
		best[i] = chosen[i];
	if (threadIdx.x == 0)
	{
		kept.best_counts[question] = chosen_count;
		kept.counts[question] = 0;
		kept.limits[question] = prefix | ~mask;
	}
}

/* A block for each question: its best in order, by a bitonic sort. */
__global__ void __launch_bounds__(SELECT_THREADS)
sort_best(Kept kept, uint32_t m, VdbGpuFound *found)
{
	__shared__ uint64_t keys[VDB_GPU_MAX_FOUND];
	uint32_t	count = kept.best_counts[blockIdx.x];
	const uint64_t *best = kept.best + (uint64_t) blockIdx.x * VDB_GPU_MAX_FOUND;

	for (uint32_t i = threadIdx.x; i < VDB_GPU_MAX_FOUND; i += SELECT_THREADS)
		keys[i] = i < count ? best[i] : NO_LIMIT;
	__syncthreads();
	for (uint32_t size = 2; size < 2 * count; size *= 2)
	{
		for (uint32_t distance = size / 2; distance > 0; distance /= 2)
		{
			for (uint32_t i = threadIdx.x; i < VDB_GPU_MAX_FOUND; i += SELECT_THREADS)
			{
				uint32_t	other = i ^ distance;

				if (other > i && (keys[i] > keys[other]) == ((i & size) == 0))
				{
					uint64_t	key = keys[i];

					keys[i] = keys[other];
					keys[other] = key;
				}
			}
			__syncthreads();
		}
	}
	for (uint32_t i = threadIdx.x; i < count; i += SELECT_THREADS)
		found[(uint64_t) blockIdx.x * m + i] = VdbGpuFound{(uint32_t) keys[i], bound_of(keys[i])};
}

/* --- host ---------------------------------------------------------------------- */

char		error_text[256] = "";

/* Of the device, made by probe and never freed: the process has one. */
cudaStream_t stream = NULL;
uint32_t	processors = 0;

/* What a search works with, for the largest so far. */
struct Work
{
	uint8_t    *questions;
	VdbGpuConstants *constants;
	VdbGpuFound *found;
	Kept		kept;
	uint64_t	question_bytes;
	uint64_t	key_bytes;
};
Work		work = {};

VdbGpuStatus
fail(VdbGpuStatus status, const char *what, const char *why)
{
	snprintf(error_text, sizeof(error_text), "%s: %s", what, why);
	return status;
}

/* After any error but want of memory, nothing that the device holds can be relied on. */
VdbGpuStatus
check(cudaError_t result, const char *what)
{
	if (result == cudaSuccess)
		return VDB_GPU_OK;
	(void) cudaGetLastError();
	return fail(result == cudaErrorMemoryAllocation ? VDB_GPU_OUT_OF_MEMORY : VDB_GPU_LOST, what, cudaGetErrorString(result));
}

#define TRY(call) \
	do { \
		VdbGpuStatus status_ = check(call, #call); \
		if (status_ != VDB_GPU_OK) \
			return status_; \
	} while (0)

/* The kernels of this library for this device: its code must be there. */
VdbGpuStatus
probe(VdbGpuDevice *device)
{
	int			count = 0;
	cudaDeviceProp properties;
	cudaFuncAttributes attributes;
	size_t		unused = 0;
	size_t		all = 0;
	cudaError_t result = cudaGetDeviceCount(&count);

	if (result == cudaSuccess && count == 0)
		result = cudaErrorNoDevice;
	if (result == cudaSuccess)
		result = cudaSetDevice(0);
	if (result == cudaSuccess)
		result = cudaGetDeviceProperties(&properties, 0);
	if (result == cudaSuccess)
		result = cudaFuncGetAttributes(&attributes, select_best);
	if (result == cudaSuccess && stream == NULL)
		result = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	if (result == cudaSuccess)
		result = cudaMemGetInfo(&unused, &all);
	if (result != cudaSuccess)
	{
		(void) cudaGetLastError();
		return fail(VDB_GPU_NO_DEVICE, "no device", cudaGetErrorString(result));
	}
	processors = (uint32_t) properties.multiProcessorCount;
	snprintf(device->name, sizeof(device->name), "%s", properties.name);
	device->memory = all;
	device->unused = unused;
	return VDB_GPU_OK;
}

}								/* namespace */

struct VdbGpuMirror
{
	uint32_t	dims;
	Table		table;
	uint8_t   **segments;		/* a copy here of the table's, which is on the device */
	uint32_t	count;			/* of segments */
};

namespace
{

uint64_t
segment_bytes(const VdbGpuMirror *mirror)
{
	return ((uint64_t) FACTORS * sizeof(float) + mirror->table.stride) << mirror->table.shift;
}

uint32_t
segment_rows(const VdbGpuMirror *mirror)
{
	return 1u << mirror->table.shift;
}

void
free_mirror(VdbGpuMirror *mirror)
{
	for (uint32_t i = 0; i < mirror->count; i++)
		(void) cudaFree(mirror->segments[i]);
	(void) cudaFree(mirror->table.segments);
	free(mirror->segments);
	free(mirror);
}

VdbGpuStatus
create(uint32_t dims, uint32_t rows, VdbGpuMirror **result)
{
	VdbGpuMirror *mirror;
	VdbGpuStatus status;

	if (dims == 0 || dims % 8 != 0 || dims > VDB_GPU_MAX_DIMS)
		return fail(VDB_GPU_FAILED, "create", "so many dimensions are not possible");
	mirror = (VdbGpuMirror *) calloc(1, sizeof(VdbGpuMirror));
	if (mirror != NULL)
		mirror->segments = (uint8_t **) calloc(SEGMENTS, sizeof(uint8_t *));
	if (mirror == NULL || mirror->segments == NULL)
	{
		free(mirror);
		return fail(VDB_GPU_OUT_OF_MEMORY, "create", "out of memory of the process");
	}
	mirror->dims = dims;
	mirror->table.stride = (dims + STEP - 1) / STEP * STEP;

	/* as large as it gets, but not beyond what is worth having at once */
	mirror->table.shift = 7;
	while (segment_rows(mirror) < rows && 2 * segment_bytes(mirror) <= SEGMENT_BYTES)
		mirror->table.shift++;
	status = check(cudaMalloc(&mirror->table.segments, SEGMENTS * sizeof(uint8_t *)), "cudaMalloc");
	if (status != VDB_GPU_OK)
	{
		free_mirror(mirror);
		return status;
	}
	*result = mirror;
	return VDB_GPU_OK;
}

uint64_t
count_bytes(const VdbGpuMirror *mirror)
{
	return mirror->count * segment_bytes(mirror) + SEGMENTS * sizeof(uint8_t *);
}

/* Rows of a new segment come after all others: their first column is infinite. */
VdbGpuStatus
add_segment(VdbGpuMirror *mirror)
{
	uint32_t	rows = segment_rows(mirror);
	uint8_t    *memory;
	float	   *infinite;
	VdbGpuStatus status;

	if (mirror->count == SEGMENTS)
		return fail(VDB_GPU_OUT_OF_MEMORY, "write", "the mirror is too large");
	TRY(cudaMalloc(&memory, segment_bytes(mirror)));
	infinite = (float *) malloc(rows * sizeof(float));
	if (infinite == NULL)
		status = fail(VDB_GPU_OUT_OF_MEMORY, "write", "out of memory of the process");
	else
	{
		for (uint32_t i = 0; i < rows; i++)
			infinite[i] = INFINITY;
		status = check(cudaMemsetAsync(memory, 0, segment_bytes(mirror), stream), "cudaMemsetAsync");
		if (status == VDB_GPU_OK)
			status = check(cudaMemcpyAsync(memory, infinite, rows * sizeof(float), cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
		mirror->segments[mirror->count] = memory;
		if (status == VDB_GPU_OK)
			status = check(cudaMemcpyAsync(mirror->table.segments + mirror->count, mirror->segments + mirror->count,
										   sizeof(uint8_t *), cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
		if (status == VDB_GPU_OK)
			status = check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
		free(infinite);
	}
	if (status == VDB_GPU_OK)
		mirror->count++;
	else
		(void) cudaFree(memory);
	return status;
}

/* Rows of one segment. */
VdbGpuStatus
write_part(VdbGpuMirror *mirror, uint32_t first, uint32_t n, const VdbGpuRows *rows, uint32_t from)
{
	uint32_t	at = first & (segment_rows(mirror) - 1);
	float	   *factors = (float *) mirror->segments[first >> mirror->table.shift];
	uint8_t    *codes = (uint8_t *) (factors + FACTORS * (uint64_t) segment_rows(mirror));
	const float *columns[FACTORS] = {rows->add, rows->rescale, rows->residual, rows->length};

	for (uint32_t i = 0; i < FACTORS; i++)
		TRY(cudaMemcpyAsync(factors + (uint64_t) i * segment_rows(mirror) + at, columns[i] + from, n * sizeof(float),
							cudaMemcpyHostToDevice, stream));
	TRY(cudaMemcpy2DAsync(codes + (uint64_t) at * mirror->table.stride, mirror->table.stride,
						  rows->codes + (uint64_t) from * mirror->dims, mirror->dims, mirror->dims, n,
						  cudaMemcpyHostToDevice, stream));
	return VDB_GPU_OK;
}

VdbGpuStatus
write(VdbGpuMirror *mirror, uint32_t first, uint32_t n, const VdbGpuRows *rows)
{
	uint64_t	end = (uint64_t) first + n;
	VdbGpuStatus status;

	if (end > MOST_ROWS)
		return fail(VDB_GPU_FAILED, "write", "too many rows");
	while ((uint64_t) mirror->count * segment_rows(mirror) < end)
	{
		status = add_segment(mirror);
		if (status != VDB_GPU_OK)
			return status;
	}
	for (uint32_t done = 0; done < n;)
	{
		uint32_t	at = first + done;
		uint32_t	left = segment_rows(mirror) - (at & (segment_rows(mirror) - 1));
		uint32_t	part = n - done < left ? n - done : left;

		status = write_part(mirror, at, part, rows, done);
		if (status != VDB_GPU_OK)
			return status;
		done += part;
	}

	/* the caller's memory is not read later */
	return check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

/* Memory of the device for so many bytes at least; what was there goes. */
template <typename Element>
VdbGpuStatus
provide(Element **memory, uint64_t *have, uint64_t bytes)
{
	if (*have >= bytes)
		return VDB_GPU_OK;
	(void) cudaFree(*memory);
	*memory = NULL;
	*have = 0;
	TRY(cudaMalloc(memory, bytes));
	*have = bytes;
	return VDB_GPU_OK;
}

/* What does not depend on the size of a search. */
VdbGpuStatus
provide_fixed()
{
	constexpr uint64_t ALL = (uint64_t) VDB_GPU_MAX_QUESTIONS * VDB_GPU_MAX_FOUND;

	if (work.constants == NULL)
		TRY(cudaMalloc(&work.constants, VDB_GPU_MAX_QUESTIONS * sizeof(VdbGpuConstants)));
	if (work.found == NULL)
		TRY(cudaMalloc(&work.found, ALL * sizeof(VdbGpuFound)));
	if (work.kept.best == NULL)
		TRY(cudaMalloc(&work.kept.best, ALL * sizeof(uint64_t)));
	if (work.kept.counts == NULL)
		TRY(cudaMalloc(&work.kept.counts, VDB_GPU_MAX_QUESTIONS * sizeof(uint32_t)));
	if (work.kept.best_counts == NULL)
		TRY(cudaMalloc(&work.kept.best_counts, VDB_GPU_MAX_QUESTIONS * sizeof(uint32_t)));
	if (work.kept.limits == NULL)
		TRY(cudaMalloc(&work.kept.limits, VDB_GPU_MAX_QUESTIONS * sizeof(uint64_t)));
	return VDB_GPU_OK;
}

/* Bytes and constants to the device; bytes that a question has not, and questions that a block would have, are zero. */
VdbGpuStatus
send_questions(const VdbGpuMirror *mirror, uint32_t nq, const VdbGpuQuestion *questions)
{
	uint32_t	stride = mirror->table.stride;
	uint64_t	bytes = (uint64_t) VDB_GPU_MAX_QUESTIONS * stride;
	uint8_t    *vectors;
	VdbGpuConstants constants[VDB_GPU_MAX_QUESTIONS];
	VdbGpuStatus status = provide(&work.questions, &work.question_bytes, bytes);

	if (status != VDB_GPU_OK)
		return status;
	vectors = (uint8_t *) calloc(1, bytes);
	if (vectors == NULL)
		return fail(VDB_GPU_OUT_OF_MEMORY, "search", "out of memory of the process");
	for (uint32_t i = 0; i < nq; i++)
	{
		memcpy(vectors + (uint64_t) i * stride, questions[i].vector, mirror->dims);
		constants[i] = questions[i].constants;
	}
	status = check(cudaMemcpyAsync(work.questions, vectors, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
	if (status == VDB_GPU_OK)
		status = check(cudaMemcpyAsync(work.constants, constants, nq * sizeof(VdbGpuConstants), cudaMemcpyHostToDevice,
									   stream), "cudaMemcpyAsync");
	if (status == VDB_GPU_OK)
		status = check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
	free(vectors);
	return status;
}

VdbGpuStatus
scan(const VdbGpuMirror *mirror, const Slab &slab, uint32_t nq)
{
	const Table &table = mirror->table;
	uint32_t	rows = slab.end - slab.first;
	uint32_t	tiles = (rows + TILE - 1) / TILE;
	uint32_t	blocks = (rows + THREADS / LANES - 1) / (THREADS / LANES);

	if (blocks > processors * 16)
		blocks = processors * 16;
	if (nq == 1)
		scan_few<1><<<blocks, THREADS, table.stride, stream>>>(table, slab, work.questions, work.constants, nq, work.kept);
	else if (nq <= FEW && FEW * table.stride <= 48 * 1024)
		scan_few<FEW><<<blocks, THREADS, FEW * table.stride, stream>>>(table, slab, work.questions, work.constants, nq, work.kept);
	else if (nq <= 32)
		scan_many<32, 8><<<tiles, THREADS, 0, stream>>>(table, slab, work.questions, work.constants, nq, work.kept);
	else
		scan_many<128, 4><<<tiles, THREADS, 0, stream>>>(table, slab, work.questions, work.constants, nq, work.kept);
	return check(cudaGetLastError(), "scan");
}

VdbGpuStatus
search_slabs(const VdbGpuMirror *mirror, uint32_t rows, uint32_t nq, uint32_t m)
{
	uint32_t	most = (uint32_t) (KEPT / nq / TILE * TILE);
	uint32_t	first = FIRST_SLAB;
	VdbGpuStatus status;

	while (first < 4 * m && 2 * first <= most)
		first *= 2;
	work.kept.room = rows < most ? (rows + TILE - 1) / TILE * TILE : most;
	status = provide(&work.kept.keys, &work.key_bytes, (uint64_t) nq * work.kept.room * sizeof(uint64_t));
	if (status != VDB_GPU_OK)
		return status;
	TRY(cudaMemsetAsync(work.found, 0, (uint64_t) nq * m * sizeof(VdbGpuFound), stream));
	TRY(cudaMemsetAsync(work.kept.counts, 0, nq * sizeof(uint32_t), stream));
	TRY(cudaMemsetAsync(work.kept.best_counts, 0, nq * sizeof(uint32_t), stream));
	for (uint32_t start = 0; start < rows;)
	{
		uint32_t	wanted = start == 0 ? first : most;
		Slab		slab = {start, rows - start < wanted ? rows : start + wanted, start == 0};

		status = scan(mirror, slab, nq);
		if (status != VDB_GPU_OK)
			return status;
		select_best<<<nq, SELECT_THREADS, 0, stream>>>(work.kept, slab, m);
		TRY(cudaGetLastError());
		start = slab.end;
	}
	sort_best<<<nq, SELECT_THREADS, 0, stream>>>(work.kept, m, work.found);
	TRY(cudaGetLastError());
	return VDB_GPU_OK;
}

VdbGpuStatus
search(VdbGpuMirror *mirror, uint32_t rows, uint32_t nq, const VdbGpuQuestion *questions, uint32_t m, VdbGpuFound *found,
	   uint32_t *counts)
{
	VdbGpuStatus status;

	if (nq == 0 || nq > VDB_GPU_MAX_QUESTIONS || m == 0 || m > VDB_GPU_MAX_FOUND)
		return fail(VDB_GPU_FAILED, "search", "so many questions or rows are not possible");
	if ((uint64_t) mirror->count * segment_rows(mirror) < rows)
		return fail(VDB_GPU_FAILED, "search", "rows that were not written");
	status = provide_fixed();
	if (status == VDB_GPU_OK)
		status = send_questions(mirror, nq, questions);
	if (status == VDB_GPU_OK)
		status = search_slabs(mirror, rows, nq, m);
	if (status != VDB_GPU_OK)
		return status;
	TRY(cudaMemcpyAsync(found, work.found, (uint64_t) nq * m * sizeof(VdbGpuFound), cudaMemcpyDeviceToHost, stream));
	TRY(cudaMemcpyAsync(counts, work.kept.best_counts, nq * sizeof(uint32_t), cudaMemcpyDeviceToHost, stream));
	TRY(cudaStreamSynchronize(stream));
	return VDB_GPU_OK;
}

const char *
last_error()
{
	return error_text;
}

const VdbGpuFunctions functions = {VDB_GPU_ABI, probe, create, free_mirror, count_bytes, write, search, last_error};

}								/* namespace */

extern "C" __attribute__((visibility("default"))) const VdbGpuFunctions *
vdb_gpu_functions(uint32_t abi)
{
	return abi == VDB_GPU_ABI ? &functions : NULL;
}
