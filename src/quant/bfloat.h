/*
 * bfloat.h
 *	  The upper half of a float.
 */
#ifndef VDB_BFLOAT_H
#define VDB_BFLOAT_H

#include <stdint.h>
#include <string.h>

static inline float
vdb_bfloat_load(uint16_t stored)
{
	uint32_t	bits = (uint32_t) stored << 16;
	float		number;

	memcpy(&number, &bits, sizeof(number));
	return number;
}

/* The least that is not less than a number, which is not negative: maybe infinity. */
static inline uint16_t
vdb_bfloat_above(float number)
{
	uint32_t	bits;

	memcpy(&bits, &number, sizeof(bits));
	return (uint16_t) ((bits + 0xFFFF) >> 16);
}

#endif							/* VDB_BFLOAT_H */
