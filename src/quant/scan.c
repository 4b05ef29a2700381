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

/* How often all parts of a code are chosen anew. */
#define WEIGH_ROUNDS 4

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
vdb_scan_set_anisotropic(VdbScanCodec *scan, float threshold)
{
	float		square = threshold * threshold;

	/* the error along the row weighs (dims - 1) T^2 / (1 - T^2) times what it does across */
	scan->along = fmaxf((float) (scan->codec->dims - 1) * square / (1 - square) - 1, 0);
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

static inline int
get_part(const uint8_t *code, uint32_t part)
{
	return code[part / 2] >> part % 2 * 4 & 15;
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

/* Products of what a code stands for, or a part of it. */
typedef struct PartSums
{
	double		x;				/* with the vector that is coded, */
	double		ray;			/* with the row, */
	double		own;			/* and with itself */
} PartSums;

/* What a code's loss is made of. */
typedef struct Loss
{
	double		norm2;			/* of the vector */
	double		product;		/* of vector and row, */
	double		weight;			/* and what the square of the error's weighs */
} Loss;

/*
 * The loss of a code v of the vector x, of a row z: with s = |x|^2 / <x, v>, so that the error
 * e = x - s v is orthogonal to x, |e|^2 + along <e, z>^2 / |z|^2.
 */
static inline double
loss_of(const Loss *loss, PartSums sums)
{
	double		s = loss->norm2 / sums.x;
	double		error = loss->product - s * sums.ray;

	/* of a code that points away from the vector nothing can be made */
	return sums.x > 0 ? s * s * sums.own - loss->norm2 + loss->weight * error * error : DBL_MAX;
}

/* Products with all centroids of a part. */
static void
part_sums(const VdbCodebook *book, uint32_t part, const float *x, const float *ray, PartSums *sums)
{
	uint32_t	first = vdb_codebook_first(book, part);
	const float *values = book->values + vdb_codebook_values(first);
	float		with_x[VDB_CODEBOOK_SIZE];
	float		with_ray[VDB_CODEBOOK_SIZE];
	float		own[VDB_CODEBOOK_SIZE] = {0};

	vdb_codebook_products(book, part, x + first, with_x);
	vdb_codebook_products(book, part, ray + first, with_ray);
	for (uint32_t i = 0; i < vdb_codebook_width(book, part); i++)
	{
		for (int k = 0; k < VDB_CODEBOOK_SIZE; k++)
			own[k] += values[i * VDB_CODEBOOK_SIZE + k] * values[i * VDB_CODEBOOK_SIZE + k];
	}
	for (int k = 0; k < VDB_CODEBOOK_SIZE; k++)
		sums[k] = (PartSums) {with_x[k], with_ray[k], own[k]};
}

/* Chooses the centroid of a part by the loss of the whole code, given the others'. */
static bool
choose_part(const VdbCodebook *book, uint32_t part, const float *x, const float *ray, const Loss *loss,
			PartSums *all, uint8_t *code)
{
	PartSums	sums[VDB_CODEBOOK_SIZE];
	int			before = get_part(code, part);
	int			best = before;
	double		least = loss_of(loss, *all);
	PartSums	others;

	part_sums(book, part, x, ray, sums);
	others = (PartSums) {all->x - sums[before].x, all->ray - sums[before].ray, all->own - sums[before].own};
	for (int k = 0; k < VDB_CODEBOOK_SIZE; k++)
	{
		PartSums	with = {others.x + sums[k].x, others.ray + sums[k].ray, others.own + sums[k].own};
		double		found = loss_of(loss, with);

		if (k != before && found < least)
		{
			least = found;
			best = k;
			*all = with;
		}
	}
	code[part / 2] ^= (uint8_t) ((before ^ best) << part % 2 * 4);
	return best != before;
}

/*
 * Has a product's code, which is of the nearest centroids, lose less where that counts.  centroid: of
 * the list, with which the vector adds up to the row.  Returns what write_code does.
 */
static double
weigh_parts(const VdbScanCodec *scan, const float *x, const float *centroid, double norm2, float *ray,
			uint8_t *code)
{
	const VdbCodebook *book = &scan->codebook;
	PartSums	all = {0};
	Loss		loss = {.norm2 = norm2};
	double		ray2 = 0;
	bool		changed = true;

	for (uint32_t i = 0; i < book->dims; i++)
	{
		ray[i] = x[i] + centroid[i] + scan->codec->center[i];
		loss.product += (double) x[i] * ray[i];
		ray2 += (double) ray[i] * ray[i];
	}
	loss.weight = ray2 > FLT_MIN ? scan->along / ray2 : 0;
	for (uint32_t part = 0; part < book->parts; part++)
	{
		PartSums	sums[VDB_CODEBOOK_SIZE];
		int			k = get_part(code, part);

		part_sums(book, part, x, ray, sums);
		all.x += sums[k].x;
		all.ray += sums[k].ray;
		all.own += sums[k].own;
	}
	for (int round = 0; changed && round < WEIGH_ROUNDS; round++)
	{
		changed = false;
		for (uint32_t part = 0; part < book->parts; part++)
			changed = choose_part(book, part, x, ray, &loss, &all, code) || changed;
	}
	return all.x;
}

/*
 * Writes a code over zeros, of a vector that with a list's centroid adds up to a row; returns the
 * product of what it stands for with the vector.  scratch: P floats.
 */
static double
write_code(const VdbScanCodec *scan, const float *x, const float *centroid, double norm2, float *scratch,
		   uint8_t *code)
{
	double		dot;

	switch (scan->kind)
	{
		case VDB_SCAN_GRID:
			return write_grid(scan, x, code);
		case VDB_SCAN_PRODUCT:
			dot = write_parts(scan, x, norm2, code);
			if (scan->along > 0 && dot > 0)
				dot = weigh_parts(scan, x, centroid, norm2, scratch, code);
			return dot;
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
	dot = write_code(scan, scratch, centroid, norm2, scratch + codec->P, code);
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
		int			nearest = get_part(code, part);

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
