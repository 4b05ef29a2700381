/*
 * bfloat.h
 *	  The upper half of a float, as a bound of it.
 */
#ifndef VDB_BFLOAT_H
#define VDB_BFLOAT_H

#include <stdbool.h>
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

/*
 * The nearest that is not less than a number, with `upper`, or not greater.  That may
 * be an infinity; the number is not NaN.
 */
static inline uint16_t
vdb_bfloat_bound(float number, bool upper)
{
	uint32_t	bits;

	memcpy(&bits, &number, sizeof(bits));
	/* cutting off makes a positive number less, and a negative one greater */
	if ((bits & 0xFFFF) != 0 && upper == (bits >> 31 == 0))
		bits += 0x10000;
	return (uint16_t) (bits >> 16);
}

#endif							/* VDB_BFLOAT_H */
