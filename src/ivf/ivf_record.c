/*
 * ivf_record.c
 *	  What records say: a list's centroid, a row's score.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "ivf/ivf_private.h"

void
vdb_ivf_load_centroid(IvfIndex *index, uint32 list, float *out)
{
	const IvfRecord *record;
	Buffer		buffer = vdb_ivf_lock_record(index, IVF_LISTS, list, &record);

	vdb_ivf_decode_centroid(index, record, out);
	UnlockReleaseBuffer(buffer);
}

/* Are records node codes, which are compared with the query itself? */
static inline bool
are_node_codes(const IvfIndex *index)
{
	return vdb_ivf_shelf(index, IVF_ROWS)->record_bits == IVF_REFINE_12;
}

static void
prepare_query(VdbQuery *query, const VdbCodec *codec, void *vector, float norm)
{
	query->vector = vector;
	query->hot = palloc(vdb_query_bytes(codec, vector));
	vdb_query_prepare(query, codec, norm);
}

void
vdb_ivf_refine_prepare(IvfRefineQuery *refine, const IvfIndex *index, void *vector, float norm)
{
	const VdbCodec *codec = &index->refine;

	prepare_query(&refine->query, codec, vector, norm);
	refine->rounding = 0;
	refine->coarse_rounding = 0;
	if (!are_node_codes(index))
	{
		/* the narrower bounds are, the fewer rows have to be measured to be put in order */
		float	   *rest = palloc(codec->vector_bytes);

		vdb_query_rest(&refine->query, rest);
		prepare_query(&refine->rest, codec, rest, norm);
		refine->rounding = vdb_query_rounding(&refine->rest);
		refine->coarse_rounding = vdb_query_rounding(&refine->query);
	}
}

/* The score, given the product of the query and the code. */
static inline float
score_of(const IvfProbe *probe, const IvfRecord *record, double product)
{
	float		score = (float) ((double) probe->base + record->add - product);

	return isnan(score) ? FLT_MAX : score;
}

float
vdb_ivf_coarse_score(const IvfRefineQuery *refine, const IvfIndex *index, const IvfProbe *probe,
					 const IvfRecord *record)
{
	const VdbCodec *codec = &index->refine;
	const uint8 *code = vdb_ivf_record_code((IvfRecord *) record);

	if (are_node_codes(index))
		return score_of(probe, record, (double) vdb_codec_ip_weight(codec) * record->scale *
						vdb_kernels->node12_ip(codec->P, refine->query.vector, (const int8 *) code,
											   code + codec->hi_bytes));
	return score_of(probe, record, vdb_query_product(&refine->query, record->scale, code));
}

float
vdb_ivf_refine_score(const IvfRefineQuery *refine, const IvfIndex *index, const IvfProbe *probe,
					 const IvfRecord *record)
{
	const uint8 *code = vdb_ivf_record_code((IvfRecord *) record);

	if (are_node_codes(index))
		return vdb_ivf_coarse_score(refine, index, probe, record);
	return score_of(probe, record, vdb_query_product(&refine->query, record->scale, code) +
					vdb_query_product(&refine->rest, record->scale, code));
}

void
vdb_ivf_load_row_record(IvfIndex *index, uint32 lane, const float *centroid, IvfRow *row)
{
	const IvfRecord *record;
	Buffer		buffer = vdb_ivf_lock_record(index, IVF_ROWS, lane, &record);

	vdb_ivf_decode_row(index, record, centroid, row->vector);
	row->unsure = vdb_bfloat_load(record->residual);
	UnlockReleaseBuffer(buffer);
}
