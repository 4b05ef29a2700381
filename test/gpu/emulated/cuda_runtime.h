/*
 * cuda_runtime.h
 *	  So much of CUDA as gpu/vdb_gpu.cu uses, on a processor: blocks one after the other, a block's threads as contexts
 *	  that switch where they wait for each other.
 *
 * A thread that ends, or waits elsewhere, while others wait for it is an error, as it is on a device.
 */
#ifndef EMULATED_CUDA_RUNTIME_H
#define EMULATED_CUDA_RUNTIME_H

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __align__(n) __attribute__((aligned(n)))

struct uint4
{
	uint32_t	x, y, z, w;
};

struct EmulatedDim
{
	uint32_t	x;
};

/* --- threads of a block --------------------------------------------------------------- */

#define EMULATED_THREADS 1024
#define EMULATED_STACK (48 * 1024)

static EmulatedDim threadIdx;
static EmulatedDim blockIdx;
static EmulatedDim gridDim;
static uint4 emulated_dynamic[48 * 1024 / sizeof(uint4)];	/* shared memory of a size that is known late */

/* Contexts are switched by setjmp, which makes no system call, once they have begun. */
struct EmulatedThread
{
	ucontext_t	beginning;
	jmp_buf		place;
	bool		begun;
	bool		ended;
};

/* Those who wait for each other: how many have come, and how often all had. */
struct EmulatedBarrier
{
	uint32_t	arrived;
	uint32_t	rounds;
};

static EmulatedThread emulated_threads[EMULATED_THREADS];
static EmulatedBarrier emulated_block;
static EmulatedBarrier emulated_warps[EMULATED_THREADS / 32];
static char emulated_stacks[EMULATED_THREADS][EMULATED_STACK] __attribute__((aligned(16)));
static jmp_buf emulated_main;
static uint32_t emulated_count;
static bool emulated_moved;		/* since the threads were last gone through */
static void (*emulated_body) (void *);
static void *emulated_argument;

static void
emulated_fail(const char *what)
{
	fprintf(stderr, "emulation: %s\n", what);
	abort();
}

static void
emulated_wait(EmulatedBarrier *barrier, uint32_t count)
{
	uint32_t	round = barrier->rounds;
	uint32_t	own = threadIdx.x;

	if (++barrier->arrived == count)
	{
		barrier->arrived = 0;
		barrier->rounds++;
		emulated_moved = true;
	}
	while (barrier->rounds == round)
	{
		if (_setjmp(emulated_threads[own].place) == 0)
			_longjmp(emulated_main, 1);
	}
}

static inline void
__syncthreads(void)
{
	emulated_wait(&emulated_block, emulated_count);
}

static inline void
emulated_wait_for_warp(void)
{
	emulated_wait(&emulated_warps[threadIdx.x / 32], 32);
}

static void
emulated_run_thread(void)
{
	emulated_body(emulated_argument);
	emulated_threads[threadIdx.x].ended = true;
	_longjmp(emulated_main, 1);
}

/* Goes on with a thread until it waits or ends. */
static void
emulated_go_on(uint32_t number)
{
	EmulatedThread *thread = &emulated_threads[number];

	threadIdx.x = number;
	if (_setjmp(emulated_main) != 0)
		return;
	if (thread->begun)
		_longjmp(thread->place, 1);
	thread->begun = true;
	setcontext(&thread->beginning);
}

static void
emulated_run_block(uint32_t threads)
{
	uint32_t	left = threads;

	emulated_count = threads;
	emulated_block.arrived = 0;
	for (uint32_t i = 0; i < threads; i++)
	{
		EmulatedThread *thread = &emulated_threads[i];

		thread->begun = false;
		thread->ended = false;
		emulated_warps[i / 32].arrived = 0;
		getcontext(&thread->beginning);
		thread->beginning.uc_stack.ss_sp = emulated_stacks[i];
		thread->beginning.uc_stack.ss_size = EMULATED_STACK;
		thread->beginning.uc_link = NULL;
		makecontext(&thread->beginning, emulated_run_thread, 0);
	}
	while (left > 0)
	{
		emulated_moved = false;
		for (uint32_t i = 0; i < threads; i++)
		{
			if (emulated_threads[i].ended)
				continue;
			emulated_go_on(i);
			left -= emulated_threads[i].ended;
			emulated_moved |= emulated_threads[i].ended;
		}
		if (!emulated_moved)
			emulated_fail("threads wait for others that do not come");
	}
}

/* kernel<<<blocks, threads, bytes, stream>>>(...) */
template <typename Body>
static void
emulated_launch(uint32_t blocks, uint32_t threads, size_t bytes, Body body)
{
	if (threads > EMULATED_THREADS || threads % 32 != 0 || bytes > sizeof(emulated_dynamic) || blocks == 0)
		emulated_fail("a launch that is not possible");
	emulated_body = [](void *argument) { (*(Body *) argument)(); };
	emulated_argument = &body;
	gridDim.x = blocks;
	for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
		emulated_run_block(threads);
	emulated_argument = NULL;
}

/* --- of a warp ----------------------------------------------------------------------------- */

/* What lanes show each other; two sides, so that the next time may begin while some still look. */
static uint32_t emulated_shown[EMULATED_THREADS][2][6];

static inline uint32_t (*
emulated_show(void))[6]
{
	return &emulated_shown[threadIdx.x][emulated_warps[threadIdx.x / 32].rounds % 2];
}

static inline const uint32_t *
emulated_seen(uint32_t lane)
{
	return emulated_shown[threadIdx.x / 32 * 32 + lane][(emulated_warps[threadIdx.x / 32].rounds + 1) % 2];
}

template <typename Value>
static inline Value
emulated_shuffle(uint32_t mask, Value value, uint32_t from)
{
	if (mask != 0xffffffffu)
		emulated_fail("a shuffle of part of a warp");
	(*emulated_show())[0] = (uint32_t) value;
	emulated_wait_for_warp();
	return (Value) emulated_seen(from)[0];
}

template <typename Value>
static inline Value
__shfl_xor_sync(uint32_t mask, Value value, uint32_t distance)
{
	return emulated_shuffle(mask, value, threadIdx.x % 32 ^ distance);
}

template <typename Value>
static inline Value
__shfl_up_sync(uint32_t mask, Value value, uint32_t distance)
{
	uint32_t	lane = threadIdx.x % 32;

	return emulated_shuffle(mask, value, lane >= distance ? lane - distance : lane);
}

/* --- of a thread ------------------------------------------------------------------------------ */

template <typename Value>
static inline Value
__ldg(const Value *from)
{
	return *from;
}

static inline uint32_t
atomicAdd(uint32_t *to, uint32_t what)
{
	uint32_t	before = *to;

	*to += what;
	return before;
}

static inline uint32_t
__float_as_uint(float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline float
__uint_as_float(uint32_t bits)
{
	float		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint32_t
min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* --- the host's part: memory of the device is memory, and all is done at once -------------------- */

typedef int cudaError_t;
typedef void *cudaStream_t;
enum
{
	cudaSuccess,
	cudaErrorMemoryAllocation,
	cudaErrorNoDevice
};
enum
{
	cudaMemcpyHostToDevice,
	cudaMemcpyDeviceToHost,
	cudaStreamNonBlocking
};
struct cudaDeviceProp
{
	char		name[256];
	int			multiProcessorCount;
};
struct cudaFuncAttributes
{
	int			unused;
};

static inline const char *
cudaGetErrorString(cudaError_t error)
{
	return error == cudaErrorMemoryAllocation ? "out of memory" : "no error";
}

static inline cudaError_t
cudaGetLastError(void)
{
	return cudaSuccess;
}

static inline cudaError_t
cudaGetDeviceCount(int *count)
{
	*count = 1;
	return cudaSuccess;
}

static inline cudaError_t
cudaSetDevice(int device)
{
	return cudaSuccess;
}

static inline cudaError_t
cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
	snprintf(properties->name, sizeof(properties->name), "emulated device");
	properties->multiProcessorCount = 2;
	return cudaSuccess;
}

template <typename Function>
static inline cudaError_t
cudaFuncGetAttributes(cudaFuncAttributes *attributes, Function function)
{
	return cudaSuccess;
}

static inline cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, int flags)
{
	static int	one;

	*stream = &one;
	return cudaSuccess;
}

static inline cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
	return cudaSuccess;
}

static inline cudaError_t
cudaMemGetInfo(size_t *unused, size_t *all)
{
	*unused = *all = (size_t) 1 << 30;
	return cudaSuccess;
}

template <typename Element>
static inline cudaError_t
cudaMalloc(Element **memory, size_t bytes)
{
	*memory = (Element *) aligned_alloc(256, (bytes + 255) / 256 * 256);
	if (*memory == NULL)
		return cudaErrorMemoryAllocation;

	/* nobody may rely on what is there */
	memset(*memory, 0xa5, bytes);
	return cudaSuccess;
}

static inline cudaError_t
cudaFree(void *memory)
{
	free(memory);
	return cudaSuccess;
}

static inline cudaError_t
cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
	memset(to, value, bytes);
	return cudaSuccess;
}

static inline cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, cudaStream_t stream)
{
	memcpy(to, from, bytes);
	return cudaSuccess;
}

static inline cudaError_t
cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind,
				  cudaStream_t stream)
{
	for (size_t i = 0; i < height; i++)
		memcpy((char *) to + i * to_pitch, (const char *) from + i * from_pitch, width);
	return cudaSuccess;
}

#endif							/* EMULATED_CUDA_RUNTIME_H */
