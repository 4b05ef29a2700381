/*
 * cuda_pipeline.h
 *	  Copies to shared memory that are waited for: each is made as late as it may be, when its thread waits for it.
 */
#ifndef EMULATED_CUDA_PIPELINE_H
#define EMULATED_CUDA_PIPELINE_H

#include "cuda_runtime.h"

#define EMULATED_COPIES 64

struct EmulatedCopy
{
	void	   *to;
	const void *from;
	size_t		bytes;
	uint32_t	commit;			/* by how many commits it was preceded */
};

static EmulatedCopy emulated_copies[EMULATED_THREADS][EMULATED_COPIES];
static uint32_t emulated_copy_counts[EMULATED_THREADS];
static uint32_t emulated_commits[EMULATED_THREADS];

static inline void
__pipeline_memcpy_async(void *to, const void *from, size_t bytes)
{
	uint32_t	i = emulated_copy_counts[threadIdx.x]++;

	if (i == EMULATED_COPIES || (uintptr_t) to % bytes != 0 || (uintptr_t) from % bytes != 0)
		emulated_fail("a copy that is not possible");
	emulated_copies[threadIdx.x][i] = EmulatedCopy{to, from, bytes, emulated_commits[threadIdx.x]};
}

static inline void
__pipeline_commit(void)
{
	emulated_commits[threadIdx.x]++;
}

static inline void
__pipeline_wait_prior(uint32_t but)
{
	EmulatedCopy *copies = emulated_copies[threadIdx.x];
	uint32_t	left = 0;

	for (uint32_t i = 0; i < emulated_copy_counts[threadIdx.x]; i++)
	{
		if (copies[i].commit + but < emulated_commits[threadIdx.x])
			memcpy(copies[i].to, copies[i].from, copies[i].bytes);
		else
			copies[left++] = copies[i];
	}
	emulated_copy_counts[threadIdx.x] = left;
}

#endif							/* EMULATED_CUDA_PIPELINE_H */
