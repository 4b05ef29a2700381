/*
 * ivf_spill.c
 *	  Rows in two lists: which is the second one.
 *
 * A row is missed where a query does not come to its list: where the residual to that
 * list's centroid points the way the query does, so that the list seems to be farther away
 * than the row is.  A second list helps if its own residual points elsewhere.  So among
 * the nearest it is the one that makes |r'|^2 + (r'.r / |r|)^2 least, r being the residual
 * to the first centroid and r' that to its own (SOAR, Sun et al., 2023; with lambda 1).
 */
#include "postgres.h"

#include "ivf/ivf_private.h"

void
vdb_ivf_spill_init(IvfSpill *spill, const IvfIndex *index)
{
	spill->P = index->codec.P;
	spill->residual = palloc(index->codec.vector_bytes);
	spill->other = palloc(index->codec.vector_bytes);
}

void
vdb_ivf_spill_begin(IvfSpill *spill, const float *vector, const float *first)
{
	spill->vector = vector;
	for (uint32 i = 0; i < spill->P; i++)
		spill->residual[i] = vector[i] - first[i];
	spill->norm2 = vdb_kernels->inner_product(spill->P, spill->residual, spill->residual);
}

float
vdb_ivf_spill_loss(IvfSpill *spill, const float *centroid)
{
	float		norm2;
	float		product;

	for (uint32 i = 0; i < spill->P; i++)
		spill->other[i] = spill->vector[i] - centroid[i];
	norm2 = vdb_kernels->inner_product(spill->P, spill->other, spill->other);
	product = vdb_kernels->inner_product(spill->P, spill->other, spill->residual);

	/* of a row that is the first centroid nothing is missed */
	return spill->norm2 > 0 ? norm2 + product * (product / spill->norm2) : norm2;
}
