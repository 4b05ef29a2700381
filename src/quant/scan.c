/*
 * scan.c
 *	  Codes that are scanned: encoding, tables, and what turns sums into scores.
 *
 * The estimator is RaBitQ's (Gao and Long, 2024); looking codes up in tables of 16
 * entries held in a register is PQ Fast Scan (Andre, Kermarrec and Le Scouarnec,
 * 2015).
 */
#include "quant/codec_private.h"
#include "quant/scan.h"

/*
 * Of a vector whose squares have a greater sum nothing is estimated: products of two
 * such vectors might not be numbers, and what has no score is never found.
 */
#define LARGEST_NORM2 1e36
#define LARGEST_RESCALE 1e16f

void
vdb_scan_init(VdbScanCodec *scan, const VdbCodec *codec, uint32_t dims, uint32_t bits)
{
	memset(scan, 0, sizeof(*scan));
	scan->codec = codec;
	scan->kind = VDB_SCAN_GRID;
	scan->dims = dims;
	scan->bits = bits;
	scan->bytes = dims * bits / 8;
}

void
vdb_scan_init_product(VdbScanCodec *scan, const VdbCodec *codec, const VdbCodebook *codebook)
{
	memset(scan, 0, sizeof(*scan));
	scan->codec = codec;
	scan->kind = VDB_SCAN_PRODUCT;
	scan->dims = codec->P;
	scan->codebook = *codebook;
	scan->bytes = codebook->parts / 2;
}

void
vdb_scan_init_nothing(VdbScanCodec *scan, const VdbCodec *codec)
{
	memset(scan, 0, sizeof(*scan));
	scan->codec = codec;
	scan->kind = VDB_SCAN_NOTHING;
}

static inline int
scan_top(const VdbScanCodec *scan)
{
	return (1 << scan->bits) - 1;
}

/* Writes the levels of 8 / bits dimensions to each byte of a code. */
static void
write_levels(const VdbScanCodec *scan, const float *x, float inverse, uint8_t *code)
{
	uint32_t	each = 8 / scan->bits;
	int			top = scan_top(scan);

	for (uint32_t b = 0; b < scan->bytes; b++)
	{
		int			byte = 0;

		for (uint32_t i = 0; i < each; i++)
			byte |= vdb_hot_level(x[b * each + i], inverse, top) << i * scan->bits;
		code[b] = (uint8_t) byte;
	}
}

/* The same of signs, which have no step.  Returns the product with what they stand for. */
static double
write_signs(const VdbScanCodec *scan, const float *x, uint8_t *code)
{
	double		sums[8] = {0};

	for (uint32_t b = 0; b < scan->bytes; b++)
	{
		int			byte = 0;

		for (int i = 0; i < 8; i++)
		{
			float		value = x[8 * b + i];

			byte |= (value > 0) << i;
			sums[i] += fabs(value);
		}
		code[b] = (uint8_t) byte;
	}
	return vdb_codec_sum_lanes(sums);
}

/*
 * Writes levels on the grid that a vector fits best.  Returns the product of what they
 * stand for with it.
 */
static double
write_grid(const VdbScanCodec *scan, const float *x, uint8_t *code)
{
	double		dot;
	float		step;

	if (scan->bits == 1)
		return write_signs(scan, x, code);
	step = vdb_codec_fit_step(scan->dims, x, scan->bits, vdb_codec_norm2(scan->dims, x), &dot);
	write_levels(scan, x, step > 0 ? 1 / step : 0, code);
	return dot;
}

/* The same of the nearest centroids of a vector's parts, brought to the codebook's length. */
static double
write_parts(const VdbScanCodec *scan, const float *x, double norm2, uint8_t *code)
{
	const VdbCodebook *book = &scan->codebook;
	float		factor = norm2 > FLT_MIN ? (float) sqrt(book->dims / norm2) : 0;
	double		dot = 0;

	for (uint32_t part = 0; part < book->parts; part++)
	{
		uint32_t	first = vdb_codebook_first(book, part);
		uint32_t	end = vdb_codebook_first(book, part + 1);
		int			nearest = vdb_codebook_nearest(book, part, x + first, factor);

		code[part / 2] |= (uint8_t) (nearest << part % 2 * 4);
		for (uint32_t i = first; i < end; i++)
			dot += (double) x[i] * book->values[VDB_CODEBOOK_SIZE * i + nearest];
	}
	return dot;
}

/* Writes a code over zeros; returns the product of what it stands for with the vector. */
static double
write_code(const VdbScanCodec *scan, const float *x, double norm2, uint8_t *code)
{
	switch (scan->kind)
	{
		case VDB_SCAN_GRID:
			return write_grid(scan, x, code);
		case VDB_SCAN_PRODUCT:
			return write_parts(scan, x, norm2, code);
		default:
			return 0;
	}
}

static float
float_product(uint32_t n, const float *a, const float *b)
{
	return vdb_kernels->inner_product(n, a, b);
}

VdbScanFactors
vdb_scan_encode(const VdbScanCodec *scan, const float *x, const float *centroid, float *scratch,
				uint8_t *code)
{
	const VdbCodec *codec = scan->codec;
	float		weight = vdb_codec_ip_weight(codec);
	double		norm2;
	double		dot;
	float		rescale;
	float		known;
	VdbScanFactors f = {.add = (float) LARGEST_NORM2};

	memset(code, 0, scan->bytes);
	if (!(vdb_codec_norm2(codec->P, x) <= LARGEST_NORM2))
		return f;

	for (uint32_t i = 0; i < codec->P; i++)
		scratch[i] = x[i] - centroid[i];
	norm2 = vdb_codec_norm2(codec->P, scratch);
	dot = write_code(scan, scratch, norm2, code);
	rescale = dot > 0 ? (float) (norm2 / dot) : 0;
	if (!(rescale <= LARGEST_RESCALE))
		rescale = 0;

	/* the centroid's part of the product is known, and not estimated */
	known = float_product(codec->P, centroid, scratch);
	vdb_scan_levels(scan, code, scratch);
	known -= rescale * float_product(scan->dims, centroid, scratch);
	known = vdb_codec_score_add(codec, x) - weight * known;

	/* of a centroid so far away that its products are none, neither */
	if (fabsf(known) <= (float) LARGEST_NORM2)
	{
		f.add = known;
		f.scale = weight * rescale;
	}
	return f;
}

static void
grid_levels(const VdbScanCodec *scan, const uint8_t *code, float *out)
{
	uint32_t	each = 8 / scan->bits;
	int			top = scan_top(scan);

	for (uint32_t i = 0; i < scan->dims; i++)
		out[i] = (float) (2 * (code[i / each] >> i % each * scan->bits & top) - top);
}

static void
product_levels(const VdbScanCodec *scan, const uint8_t *code, float *out)
{
	const VdbCodebook *book = &scan->codebook;

	for (uint32_t part = 0; part < book->parts; part++)
	{
		uint32_t	end = vdb_codebook_first(book, part + 1);
		int			nearest = code[part / 2] >> part % 2 * 4 & 15;

		for (uint32_t i = vdb_codebook_first(book, part); i < end; i++)
			out[i] = book->values[VDB_CODEBOOK_SIZE * i + nearest];
	}
}

void
vdb_scan_levels(const VdbScanCodec *scan, const uint8_t *code, float *out)
{
	if (scan->kind == VDB_SCAN_GRID)
		grid_levels(scan, code, out);
	else if (scan->kind == VDB_SCAN_PRODUCT)
		product_levels(scan, code, out);
}

/*
 * What the 16 values of a half byte of levels come to, the least of them being 0: of a
 * dimension its level, or where the query is negative its distance from the top one.
 */
static void
fill_entries(const VdbScanCodec *scan, const float *q, float inverse, uint8_t *entries)
{
	uint32_t	levels = 1 << scan->bits;
	float		values[16] = {0};

	for (uint32_t i = 0, count = 1; count < 16; i++, count *= levels)
	{
		float		each = fabsf(q[i]) * inverse;

		for (uint32_t level = levels; level-- > 0;)
		{
			float		value = each * (float) (q[i] < 0 ? levels - 1 - level : level);

			for (uint32_t k = 0; k < count; k++)
				values[level * count + k] = values[k] + value;
		}
	}
	for (int k = 0; k < 16; k++)
		entries[k] = (uint8_t) vdb_round_within(values[k], 0, VDB_SCAN_MOST);
}

static VdbScanScale
grid_table(const VdbScanCodec *scan, const float *q, uint8_t *table)
{
	uint32_t	each = 4 / scan->bits;
	int			top = scan_top(scan);
	float		widest = 0;
	float		unit;
	float		inverse;
	double		sum = 0;

	for (uint32_t i = 0; i < scan->dims; i += each)
	{
		float		width = 0;

		for (uint32_t k = 0; k < each; k++)
			width += fabsf(q[i + k]);
		sum += width;
		widest = width > widest ? width : widest;
	}

	/* a step of one level is two, in what levels stand for */
	unit = 2 * widest * (float) top / VDB_SCAN_MOST;
	inverse = unit > FLT_MIN ? 2 / unit : 0;
	for (uint32_t b = 0; b < scan->bytes; b++)
	{
		fill_entries(scan, q + 2 * b * each, inverse, table + 16 * b);
		fill_entries(scan, q + (2 * b + 1) * each, inverse, table + 16 * (scan->bytes + b));
	}
	return (VdbScanScale) {.unit = unit, .low = (float) (-top * sum), .bound = INFINITY};
}

/* Products of a part of a query with its centroids.  Returns the least; *width: to the greatest. */
static float
part_products(const VdbCodebook *book, uint32_t part, const float *q, float *products, float *width)
{
	float		least;
	float		most;

	vdb_codebook_products(book, part, q + vdb_codebook_first(book, part), products);
	least = most = products[0];
	for (int k = 1; k < VDB_CODEBOOK_SIZE; k++)
	{
		least = products[k] < least ? products[k] : least;
		most = products[k] > most ? products[k] : most;
	}
	*width = most - least;
	return least;
}

static VdbScanScale
product_table(const VdbScanCodec *scan, const float *q, uint8_t *table)
{
	const VdbCodebook *book = &scan->codebook;
	float		products[VDB_CODEBOOK_SIZE];
	float		widest = 0;
	float		width;
	float		unit;
	float		inverse;
	double		low = 0;

	for (uint32_t part = 0; part < book->parts; part++)
	{
		low += part_products(book, part, q, products, &width);
		widest = width > widest ? width : widest;
	}
	unit = widest / VDB_SCAN_MOST;
	inverse = unit > FLT_MIN ? 1 / unit : 0;
	for (uint32_t part = 0; part < book->parts; part++)
	{
		float		least = part_products(book, part, q, products, &width);
		uint8_t    *entries = table + 16 * (part % 2 * scan->bytes + part / 2);

		for (int k = 0; k < VDB_CODEBOOK_SIZE; k++)
			entries[k] = (uint8_t) vdb_round_within((products[k] - least) * inverse, 0, VDB_SCAN_MOST);
	}
	return (VdbScanScale) {.unit = unit, .low = (float) low, .bound = INFINITY};
}

VdbScanScale
vdb_scan_table(const VdbScanCodec *scan, const VdbQuery *query, uint8_t *table)
{
	if (scan->kind == VDB_SCAN_NOTHING ||
		!(vdb_codec_norm2(scan->codec->P, query->vector) <= LARGEST_NORM2))
	{
		memset(table, 0, 32 * scan->bytes);
		return (VdbScanScale) {.bound = INFINITY};
	}
	if (scan->kind == VDB_SCAN_PRODUCT)
		return product_table(scan, query->vector, table);
	return grid_table(scan, query->vector, table);
}

float
vdb_scan_list_score(const VdbScanCodec *scan, const VdbQuery *query, const float *centroid)
{
	const VdbCodec *codec = scan->codec;
	float		score = codec->base + query->add -
		vdb_codec_ip_weight(codec) * float_product(codec->P, query->vector, centroid);

	return isfinite(score) ? score : 0;
}
