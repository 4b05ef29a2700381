/*
 * block_fixture.h
 *	  Heap blocks of exactly the size that is asked for, and numbers to fill them with.
 */
#ifndef VDB_TEST_BLOCK_FIXTURE_H
#define VDB_TEST_BLOCK_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* Full of garbage. */
static inline void *
new_block(size_t size)
{
	void	   *block = malloc(size);

	if (block == NULL && size > 0)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	memset(block, 0xA5, size);
	return block;
}

static inline float *
new_floats(size_t n)
{
	return new_block(n * sizeof(float));
}

/* Roughly normal, of variance 1, and the same everywhere. */
static inline float
rough_normal(void)
{
	int64_t		sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (int32_t) random_u32();
	return (float) ((double) sum / 4294967296.0);
}

#endif
