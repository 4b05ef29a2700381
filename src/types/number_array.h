/*
 * number_array.h
 *	  Arrays of numbers, as every type casts to and from them.
 */
#ifndef VDB_NUMBER_ARRAY_H
#define VDB_NUMBER_ARRAY_H

#include "utils/array.h"

extern int	vdb_array_count_numbers(ArrayType *array);
extern void vdb_array_read_numbers(ArrayType *array, int count, float4 *x);
extern ArrayType *vdb_array_create_floats(int count, Oid element_type);

#endif							/* VDB_NUMBER_ARRAY_H */
