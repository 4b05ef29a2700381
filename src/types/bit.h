/*
 * bit.h
 *	  Distances of the server's type bit, as other modules see them.
 */
#ifndef VDB_BIT_H
#define VDB_BIT_H

#include "utils/varbit.h"

/* Both must have the same number of bits. */
extern double vdb_bit_distance_hamming(VarBit *a, VarBit *b);
extern double vdb_bit_distance_jaccard(VarBit *a, VarBit *b);

extern VarBit *vdb_bit_detoast(Datum datum);
extern void vdb_bit_check_same_length(VarBit *a, VarBit *b);

#endif							/* VDB_BIT_H */
