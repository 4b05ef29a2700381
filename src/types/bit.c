/*
 * bit.c
 *	  Distances of the server's own type bit: what the operators compute, shared
 *	  with the indexes, and the SQL functions.
 *
 * The bits past the end of the last byte are zero, as the server's functions on
 * bit leave them, so whole bytes are counted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/varbit.h"

#include "compat.h"
#include "distance/distance.h"
#include "types/bit.h"

/* In how many bits a and b differ. */
double
vdb_bit_distance_hamming(VarBit *a, VarBit *b)
{
	return (double) vdb_kernels->bit_hamming(VARBITBYTES(a), VARBITS(a), VARBITS(b));
}

/*
 * The share of the bits set in either that are not set in both; 1 when no bit is
 * set in both, even if none is set at all.
 */
double
vdb_bit_distance_jaccard(VarBit *a, VarBit *b)
{
	VdbJaccardParts parts = vdb_kernels->bit_jaccard(VARBITBYTES(a), VARBITS(a), VARBITS(b));

	if (parts.both == 0)
		return 1;
	return 1 - (double) parts.both / (double) parts.either;
}

/*
 * The bits of a datum, detoasted if need be.  Raises unless they are as many as
 * their number says, so that nobody reads past their end.
 */
VarBit *
vdb_bit_detoast(Datum datum)
{
	VarBit	   *bits = DatumGetVarBitP(datum);

	if (VARSIZE(bits) < VARBITTOTALLEN(0) || VARBITLEN(bits) < 0 ||
		VARBITLEN(bits) > VARBITMAXLEN || VARSIZE(bits) != VARBITTOTALLEN(VARBITLEN(bits)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged value of type %s", "bit")));
	return bits;
}

void
vdb_bit_check_same_length(VarBit *a, VarBit *b)
{
	if (VARBITLEN(a) != VARBITLEN(b))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %u and %u",
						VARBITLEN(a), VARBITLEN(b))));
}

PG_FUNCTION_INFO_V1(vdb_bit_hamming_distance);
Datum
vdb_bit_hamming_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = vdb_bit_detoast(PG_GETARG_DATUM(0));
	VarBit	   *b = vdb_bit_detoast(PG_GETARG_DATUM(1));

	vdb_bit_check_same_length(a, b);
	PG_RETURN_FLOAT8(vdb_bit_distance_hamming(a, b));
}

PG_FUNCTION_INFO_V1(vdb_bit_jaccard_distance);
Datum
vdb_bit_jaccard_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = vdb_bit_detoast(PG_GETARG_DATUM(0));
	VarBit	   *b = vdb_bit_detoast(PG_GETARG_DATUM(1));

	vdb_bit_check_same_length(a, b);
	PG_RETURN_FLOAT8(vdb_bit_distance_jaccard(a, b));
}
