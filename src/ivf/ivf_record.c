/*
 * ivf_record.c
 *	  What records say: a list's centroid, a row's score.
 */
#include "postgres.h"

#include <math.h>

#include "ivf/ivf_private.h"

void
vdb_ivf_load_centroid(IvfIndex *index, uint32 list, float *out)
{
	IvfAddress	a = vdb_ivf_record_address(&index->geometry, vdb_ivf_shelf(index, IVF_LISTS),
										   list / IVF_LANES, list % IVF_LANES);
	Buffer		buffer = vdb_ivf_read_record_page(index, IVF_LISTS, a, BUFFER_LOCK_SHARE);

	vdb_ivf_decode_centroid(index, vdb_ivf_page_record(BufferGetPage(buffer), a), out);
	UnlockReleaseBuffer(buffer);
}

void
vdb_ivf_refine_prepare(IvfRefineQuery *refine, const IvfIndex *index, void *vector, float norm)
{
	const VdbCodec *codec = &index->refine;

	refine->query.vector = vector;
	refine->query.hot = palloc(vdb_query_bytes(codec, vector));
	vdb_query_prepare(&refine->query, codec, norm);

	/* hot scores round each coordinate of the query to a multiple of this, twice */
	refine->rounding = 0;
	if (vdb_ivf_shelf(index, IVF_ROWS)->record_bits != IVF_REFINE_12)
		refine->rounding = 0.5 * refine->query.hot_mult * sqrt(codec->P) / 2;
}

float
vdb_ivf_refine_score(const IvfRefineQuery *refine, const IvfIndex *index, const IvfProbe *probe,
					 const IvfRecord *record)
{
	const VdbCodec *codec = &index->refine;
	const uint8 *code = vdb_ivf_record_code((IvfRecord *) record);

	if (vdb_ivf_shelf(index, IVF_ROWS)->record_bits == IVF_REFINE_12)
		return probe->base + record->add - vdb_codec_ip_weight(codec) * record->scale *
			vdb_kernels->node12_ip(codec->P, refine->query.vector, (const int8 *) code,
								   code + codec->hi_bytes);
	return probe->base + record->add + vdb_hot_score(&refine->query, (VdbHotFactors)
													  {.rescale = record->scale}, code) -
		refine->query.hot_const;
}

void
vdb_ivf_load_row_record(IvfIndex *index, uint32 lane, const float *centroid, IvfRow *row)
{
	IvfAddress	a = vdb_ivf_record_address(&index->geometry, vdb_ivf_shelf(index, IVF_ROWS),
										   lane / IVF_LANES, lane % IVF_LANES);
	Buffer		buffer = vdb_ivf_read_record_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
	const IvfRecord *record = vdb_ivf_page_record(BufferGetPage(buffer), a);

	vdb_ivf_decode_row(index, record, centroid, row->vector);
	row->unsure = vdb_bfloat_load(record->residual);
	UnlockReleaseBuffer(buffer);
}
