/*
 * ivf_code.c
 *	  From vectors to lanes and records.
 */
#include "postgres.h"

#include <math.h>

#include "ivf/ivf_private.h"

void
vdb_ivf_coder_init(IvfCoder *coder, IvfIndex *index)
{
	Size		vector = index->codec.vector_bytes;
	Size		record = Max(vdb_ivf_shelf(index, IVF_ROWS)->record_stride,
							 vdb_ivf_shelf(index, IVF_LISTS)->record_stride);
	Size		payload = Max(vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes,
							  vdb_ivf_shelf(index, IVF_LISTS)->payload_bytes);

	coder->index = index;
	coder->residual = palloc(vector);
	coder->decoded = palloc(vector);
	coder->scratch = palloc(2 * vector);
	coder->code = palloc(Max(index->scan.bytes, index->list_scan.bytes));
	coder->payload = palloc0(payload);
	coder->record = palloc0(record);
}

/* A number that is no less, as records have it. */
static inline uint16
round_up(double number)
{
	return vdb_bfloat_above(isnan(number) ? INFINITY : (float) (number * 1.0001));
}

/*
 * Fills the coder's record with the code of a residual, and decodes it to where the
 * residual was.  bits: of the record.
 */
static void
code_residual(IvfCoder *coder, const VdbCodec *codec, uint32 bits, float *residual)
{
	IvfRecord  *record = coder->record;
	uint8	   *code = vdb_ivf_record_code(record);

	if (bits == IVF_REFINE_12)
	{
		VdbNodeFactors f = vdb_encode_node(codec, residual, 0, code, code + codec->hi_bytes);

		record->scale = f.scale;
		vdb_decode_node(codec, f, code, code + codec->hi_bytes, residual);
	}
	else
	{
		VdbHotFactors f = vdb_encode_hot(codec, residual, code);

		record->scale = f.rescale;
		vdb_decode_hot(codec, f, code, residual);
	}
}

/* Fills the coder's record with what is to be known of a row. */
static void
make_record(IvfCoder *coder, const IvfRow *row, const float *centroid)
{
	const VdbCodec *codec = &coder->index->refine;
	const float *x = row->vector;
	uint32		P = codec->P;
	double		error2 = 0;
	double		length2 = 0;
	double		size2 = 0;
	double		cdot = 0;

	for (uint32 i = 0; i < P; i++)
		coder->residual[i] = x[i] - centroid[i];
	code_residual(coder, codec, vdb_ivf_shelf(coder->index, IVF_ROWS)->record_bits, coder->residual);
	for (uint32 i = 0; i < P; i++)
	{
		float		decoded = centroid[i] + coder->residual[i];
		double		error = (double) x[i] - ((double) centroid[i] + coder->residual[i]);

		error2 += error * error;
		length2 += (double) coder->residual[i] * coder->residual[i];
		size2 += (double) decoded * decoded;
		cdot += (double) decoded * codec->center[i];
	}

	/* in double: whoever reads it knows no more than its own level's rounding */
	coder->record->add = (float) (codec->metric == VDB_METRIC_IP ? -cdot : size2);
	coder->record->residual = round_up(sqrt(error2) + row->unsure +
									   vdb_codec_transform_error(codec, row->norm,
																 sqrt(size2) + sqrt(error2)));
	coder->record->length = round_up(sqrt(length2));
}

IvfLane
vdb_ivf_code_row(IvfCoder *coder, const IvfRow *row, const float *centroid, const float *turned)
{
	IvfIndex   *index = coder->index;
	IvfLane		lane = {.payload = row->payload, .code = coder->code};

	lane.factors = vdb_scan_encode(&index->scan, row->turned, turned, coder->scratch, coder->code);
	if (vdb_ivf_shelf(index, IVF_ROWS)->record_bits > 0)
	{
		make_record(coder, row, centroid);
		lane.record = coder->record;
	}
	return lane;
}

IvfLane
vdb_ivf_code_centroid(IvfCoder *coder, const float *centroid, uint32 born)
{
	const IvfList empty = {
		.head = IVF_NO_GROUP,
		.roomy = IVF_NO_LINK,
		.born = born,
		.died = IVF_NEVER
	};
	IvfIndex   *index = coder->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfLane		lane = {.payload = coder->payload, .code = coder->code, .record = coder->record};

	memcpy(coder->payload, &empty, sizeof(empty));
	memcpy(coder->residual, centroid, index->codec.vector_bytes);
	code_residual(coder, &index->codec, shelf->record_bits, coder->residual);
	coder->record->add = vdb_codec_score_add(&index->codec, coder->residual);
	coder->record->residual = 0;
	coder->record->length = round_up(sqrt(vdb_kernels->inner_product(index->codec.P, coder->residual,
																	 coder->residual)));

	/* centroids are in a list whose own centroid is the center */
	memset(coder->decoded, 0, index->codec.vector_bytes);
	lane.factors = vdb_scan_encode(&index->list_scan, coder->residual, coder->decoded, coder->scratch,
								   coder->code);
	return lane;
}

void
vdb_ivf_decode_centroid(const IvfIndex *index, const IvfRecord *record, float *out)
{
	VdbHotFactors f = {.add = record->add, .rescale = record->scale};

	vdb_decode_hot(&index->codec, f, vdb_ivf_record_code((IvfRecord *) record), out);
}

uint32
vdb_ivf_load_centroids(IvfIndex *index, float **centroids, uint32 **lists)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	IvfGroup   *copy = palloc(shelf->group_stride);
	uint32		count = 0;
	uint64		groups = 0;

	*centroids = palloc_extended(Max(index->lists, 1) * index->codec.vector_bytes, MCXT_ALLOC_HUGE);
	*lists = palloc_extended(Max(index->lists, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	for (uint32 number = index->root;
		 vdb_ivf_copy_group(index, IVF_LISTS, IVF_ROOT, number, &groups, copy); number = copy->next)
	{
		for (uint32 lanes = copy->used; lanes != 0; lanes &= lanes - 1)
		{
			int			lane = __builtin_ctz(lanes);
			IvfList		list;

			memcpy(&list, vdb_ivf_group_payload(shelf, copy, lane), sizeof(list));
			if (!vdb_ivf_in_force(&list, index->epoch))
				continue;
			if (count == index->lists)
				vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are more lists than it says.");
			(*lists)[count] = vdb_ivf_lane_number(number, lane);
			vdb_ivf_load_centroid(index, (*lists)[count], *centroids + (Size) count * index->codec.P);
			count++;
		}
	}
	pfree(copy);
	return count;
}

void
vdb_ivf_decode_row(const IvfIndex *index, const IvfRecord *record, const float *centroid, float *out)
{
	const VdbCodec *codec = &index->refine;
	const uint8 *code = vdb_ivf_record_code((IvfRecord *) record);

	if (vdb_ivf_shelf(index, IVF_ROWS)->record_bits == IVF_REFINE_12)
		vdb_decode_node(codec, (VdbNodeFactors) {.scale = record->scale}, code, code + codec->hi_bytes, out);
	else
		vdb_decode_hot(codec, (VdbHotFactors) {.rescale = record->scale}, code, out);
	for (uint32 i = 0; i < codec->P; i++)
		out[i] += centroid[i];
}
