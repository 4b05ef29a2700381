/*
 * ivf_value.c
 *	  From the values of an indexed column to vectors of floats.
 *
 * Bits are the floats 0 and 1: the squared Euclidean distance of these is the Hamming
 * distance.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

#include "ivf/ivf_private.h"

bool
vdb_ivf_serves(const VdbSupport *support)
{
	return support->metric == VDB_METRIC_HAMMING ||
		(support->kind == VDB_CODEC_DENSE && support->metric != VDB_METRIC_L1);
}

VdbMetric
vdb_ivf_metric(const VdbSupport *support)
{
	return support->metric == VDB_METRIC_HAMMING ? VDB_METRIC_L2 : support->metric;
}

uint64
vdb_ivf_random_seed(void)
{
	uint64		seed;

	do
		seed = pg_prng_uint64(&pg_global_prng_state);
	while (seed == 0);
	return seed;
}

const float *
vdb_ivf_elements(const VdbSupport *support, uint32 dims, Datum value)
{
	VdbValue	v = vdb_index_read_value(support, dims, value);
	float	   *elements;

	if (support->kind == VDB_CODEC_DENSE)
		return v.elements;
	elements = palloc(dims * sizeof(float));
	for (uint32 i = 0; i < dims; i++)
		elements[i] = (float) (v.bits[i / BITS_PER_BYTE] >> (BITS_PER_BYTE - 1 - i % BITS_PER_BYTE) & 1);
	return elements;
}

/* Brings a value to code space, to out; false for one that is not indexed. */
static bool
transform(const VdbSupport *support, const VdbCodec *codec, Datum value, float *out, float *norm)
{
	*norm = vdb_codec_transform(codec, vdb_ivf_elements(support, codec->dims, value), out);

	/* no angle to anything: not indexed, as in a sequential scan's last place */
	return codec->metric != VDB_METRIC_COSINE || *norm > 0;
}

float *
vdb_ivf_transform(const VdbSupport *support, const VdbCodec *codec, Datum value, float *norm)
{
	float	   *out = palloc(codec->vector_bytes);

	if (transform(support, codec, value, out, norm))
		return out;
	pfree(out);
	return NULL;
}

void
vdb_ivf_init_snapshot(Snapshot snapshot, Relation heap)
{
	/* makes what the snapshot knows of others' the latest */
	(void) GetOldestNonRemovableTransactionId(heap);
	InitNonVacuumableSnapshot(*snapshot, GlobalVisTestFor(heap));
}

float *
vdb_ivf_fetch_vector(const IvfIndex *index, VdbExact *exact, Relation heap, Snapshot snapshot,
					 ItemPointerData tid, float *norm)
{
	float	   *vector = NULL;
	Datum		value;

	if (!vdb_exact_fetch(exact, heap, index->rel, snapshot, tid, &value))
		return NULL;
	if (index->support->dims(value) == index->codec.dims)
	{
		MemoryContext old;
		bool		indexed;

		/* what its elements take goes with the row */
		vector = palloc(index->codec.vector_bytes);
		old = MemoryContextSwitchTo(exact->context);
		indexed = transform(index->support, &index->codec, value, vector, norm);
		MemoryContextSwitchTo(old);
		if (!indexed)
		{
			pfree(vector);
			vector = NULL;
		}
	}
	vdb_exact_release(exact);
	return vector;
}
