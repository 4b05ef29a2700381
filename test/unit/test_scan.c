/*
 * test_scan.c
 *	  Unit test of scan codes: what a table and a group of codes add up to, how good
 *	  the estimates are, and that every row has a score.  Prints TAP.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "block_fixture.h"
#include "quant/scan.h"
#include "tap.h"

#define SEED UINT64_C(0x123456789abcdef)
#define LANES VDB_SCAN_LANES

/* Of codes: on a grid, the dimensions that are coded, and the bits of each; or in parts. */
typedef struct Shape
{
	uint32_t	dims;
	uint32_t	coded;
	uint32_t	bits;
	uint32_t	parts;			/* 0: on a grid */
	float		anisotropic;	/* of parts: the loss's threshold */
} Shape;

static const char *const metric_names[] = {"l2", "ip", "cosine"};

static double
dot(size_t n, const float *a, const float *b)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) a[i] * b[i];
	return sum;
}

#define WIDEST 8
#define TRAINED 2048

/* The centroids of a part of so many dimensions, of normally distributed vectors. */
static const float *
trained_part(uint32_t width)
{
	static float *known[WIDEST + 1];

	if (known[width] == NULL)
	{
		float	   *values = new_floats(vdb_codebook_values(width));
		float	   *sums = new_floats(vdb_codebook_values(width));
		float	   *vectors = new_floats(TRAINED * width);
		VdbCodebook book = {.dims = width, .parts = 1, .values = values};

		vdb_codebook_normal(TRAINED * width, vectors);
		vdb_codebook_train(&book, 0, TRAINED, vectors, width, sums, values);
		known[width] = values;
		free(sums);
		free(vectors);
	}
	return known[width];
}

/* A codebook for vectors of P dimensions. */
static VdbCodebook
make_codebook(uint32_t P, uint32_t parts, float *values)
{
	VdbCodebook book = {.dims = P, .parts = parts, .values = values};

	for (uint32_t part = 0; part < parts; part++)
	{
		uint32_t	width = vdb_codebook_width(&book, part);

		memcpy(values + vdb_codebook_values(vdb_codebook_first(&book, part)), trained_part(width),
			   vdb_codebook_values(width) * sizeof(float));
	}
	return book;
}

/* A codec, a centroid, a group of rows around it, and a query. */
typedef struct Setting
{
	VdbCodec	codec;
	VdbScanCodec scan;
	VdbQuery	query;
	VdbScanScale table_scale;
	float	   *center;
	float	   *centroid;
	float	   *rows;			/* LANES * P */
	float	   *vector;			/* the query's */
	float	   *scratch;
	float	   *values;			/* of the codebook */
	float	   *add;			/* of each lane */
	float	   *scale;
	float	   *scores;
	uint8_t    *code;
	uint8_t    *group;
	uint8_t    *table;
} Setting;

static void
setting_init(Setting *s, VdbMetric metric, Shape shape)
{
	uint32_t	P = vdb_codec_padded(shape.dims);
	VdbCodebook book;

	memset(s, 0, sizeof(*s));
	s->center = new_floats(P);
	s->centroid = new_floats(P);
	s->rows = new_floats((size_t) LANES * P);
	s->vector = new_floats(P);
	s->scratch = new_floats(2 * P);
	s->values = new_floats(vdb_codebook_values(P));
	s->add = new_floats(LANES);
	s->scale = new_floats(LANES);
	s->scores = new_floats(LANES);
	for (uint32_t i = 0; i < P; i++)
		s->center[i] = 0.5f * rough_normal();
	vdb_codec_init(&s->codec, metric, shape.dims, SEED, s->center);
	if (shape.parts == 0)
		vdb_scan_init(&s->scan, &s->codec, shape.coded, shape.bits);
	else
	{
		book = make_codebook(P, shape.parts, s->values);
		vdb_scan_init_product(&s->scan, &s->codec, &book);
		vdb_scan_set_anisotropic(&s->scan, shape.anisotropic);
	}
	s->code = new_block(s->scan.bytes);
	s->group = new_block((size_t) LANES * s->scan.bytes);
	s->table = new_block((size_t) LANES * s->scan.bytes);
}

static void
setting_free(Setting *s)
{
	free(s->center);
	free(s->centroid);
	free(s->rows);
	free(s->vector);
	free(s->scratch);
	free(s->values);
	free(s->add);
	free(s->scale);
	free(s->scores);
	free(s->code);
	free(s->group);
	free(s->table);
}

/* A centroid of length `far` a dimension, rows and a query at length 1 from it. */
static void
fill(Setting *s, float far)
{
	uint32_t	P = s->codec.P;

	for (uint32_t i = 0; i < P; i++)
	{
		s->centroid[i] = far * rough_normal();
		s->vector[i] = s->centroid[i] + rough_normal();
	}
	for (uint32_t i = 0; i < LANES * P; i++)
		s->rows[i] = s->centroid[i % P] + rough_normal();
}

/* Encodes all rows, and makes the query's table. */
static void
prepare(Setting *s)
{
	uint32_t	P = s->codec.P;

	for (uint32_t lane = 0; lane < LANES; lane++)
	{
		VdbScanFactors f = vdb_scan_encode(&s->scan, s->rows + lane * P, s->centroid, s->scratch,
										   s->code);

		s->add[lane] = f.add;
		s->scale[lane] = f.scale;
		vdb_scan_put(&s->scan, s->group, lane, s->code);
	}
	s->query.codec = &s->codec;
	s->query.vector = s->vector;
	s->query.add = s->codec.metric == VDB_METRIC_IP ?
		(float) -dot(P, s->vector, s->center) : (float) dot(P, s->vector, s->vector);
	s->table_scale = vdb_scan_table(&s->scan, &s->query, s->table);
}

static uint32_t
scan(Setting *s)
{
	return vdb_kernels->scan_below(s->scan.bytes, s->table, s->group, s->add, s->scale,
								   s->table_scale, s->scores);
}

/* Does a table give the product with the levels, but for the rounding of entries? */
static bool
check_table(VdbMetric metric, Shape shape)
{
	Setting		s;
	bool		passed = true;

	setting_init(&s, metric, shape);
	for (int round = 0; round < 5 && passed; round++)
	{
		fill(&s, 1);
		prepare(&s);
		if (scan(&s) != UINT32_MAX)
			passed = failure("not all lanes are below infinity");
		for (uint32_t lane = 0; lane < LANES && passed; lane++)
		{
			double		product;
			double		error;

			vdb_scan_get(&s.scan, s.group, lane, s.code);
			vdb_scan_levels(&s.scan, s.code, s.scratch);
			product = dot(s.scan.dims, s.vector, s.scratch);
			error = fabs((s.add[lane] - s.scores[lane]) / s.scale[lane] - product);

			/* half a unit of each half byte, and float sums */
			if (!(error <= s.scan.bytes * (double) s.table_scale.unit + 1e-3 * fabs(product) + 1e-2))
				passed = failure("lane %u: product %g is off by %g, unit %g", lane, product, error,
								 s.table_scale.unit);
		}
	}
	setting_free(&s);
	return passed;
}

/* The squared distance of normally distributed vectors to what codes say, by the dimension. */
static double
measure_distortion(Shape shape)
{
	const int	rounds = 2000;
	uint32_t	width = vdb_codec_padded(shape.dims) / shape.parts;
	VdbCodebook book = {.dims = width, .parts = 1, .values = trained_part(width)};
	double		sum = 0;

	for (int i = 0; i < rounds; i++)
	{
		float		x[WIDEST];
		int			nearest;

		for (uint32_t d = 0; d < width; d++)
			x[d] = rough_normal();
		nearest = vdb_codebook_nearest(&book, 0, x, 1);
		for (uint32_t d = 0; d < width; d++)
			sum += pow((double) x[d] - book.values[VDB_CODEBOOK_SIZE * d + nearest], 2);
	}
	return sum / rounds / width;
}

/* What a part's centroids leave of normally distributed vectors is what is known of such. */
static bool
check_distortion(uint32_t dims, uint32_t parts, double expected)
{
	double		distortion = measure_distortion((Shape) {.dims = dims, .parts = parts});

	return fabs(distortion - expected) < 0.05 * expected ||
		failure("%u dimensions a part: %g, expected %g", dims / parts, distortion, expected);
}

/*
 * Errors of estimated products, relative to the lengths of residual and query, which
 * is measured from the centroid: their mean is 0, and their deviation what the
 * distortion D of the levels leads to (see README.md), with no more than a tenth for
 * tables.  Where part of the dimensions is coded, the others' share adds to D.
 */
static bool
check_quality(VdbMetric metric, Shape shape, float far)
{
	uint32_t	dims = shape.dims;
	double		distortion = shape.parts > 0 ? measure_distortion(shape) : shape.bits == 1 ? 0.3634 : 0.1188;
	double		share = shape.parts > 0 ? 1 : (double) shape.coded / dims;
	double		kept = (1 - distortion) * share;
	double		expected = sqrt((1 - kept) / kept / dims);
	double		weight = metric == VDB_METRIC_IP ? 1 : 2;
	double		sum = 0;
	double		squares = 0;
	int			count = 0;
	Setting		s;
	double		mean;
	double		deviation;

	setting_init(&s, metric, shape);
	for (int round = 0; round < 60; round++)
	{
		float		base;

		fill(&s, far);
		prepare(&s);
		scan(&s);
		base = vdb_scan_list_score(&s.scan, &s.query, s.centroid);
		for (uint32_t lane = 0; lane < LANES; lane++)
		{
			const float *row = s.rows + lane * s.codec.P;
			double		exact = 0;
			double		length2 = 0;
			double		query2 = 0;

			for (uint32_t i = 0; i < dims; i++)
			{
				double		r = (double) row[i] - s.centroid[i];
				double		q = (double) s.vector[i] - s.centroid[i];

				exact += metric == VDB_METRIC_IP ?
					-((double) row[i] + s.center[i]) * ((double) s.vector[i] + s.center[i]) :
					((double) row[i] - s.vector[i]) * ((double) row[i] - s.vector[i]);
				length2 += r * r;
				query2 += q * q;
			}
			exact = (base + (double) s.scores[lane] - exact) / weight / sqrt(length2 * query2);
			sum += exact;
			squares += exact * exact;
			count++;
		}
	}
	setting_free(&s);
	mean = sum / count;
	deviation = sqrt(squares / count);
	if (fabs(mean) > 4 * expected / sqrt(count) + 1e-3)
		return failure("bias %g, deviation %g", mean, deviation);
	if (deviation > 1.1 * expected || deviation < 0.8 * expected)
		return failure("deviation %g, expected %g", deviation, expected);
	return true;
}

/*
 * Of a code of a row: what of the residual its rescaled form misses, squared, and the part of that
 * along the row itself.
 */
static void
measure_error(Setting *s, uint32_t lane, double *all, double *along)
{
	uint32_t	P = s->codec.P;
	const float *row = s->rows + (size_t) lane * P;
	double		scale;
	double		norm2 = 0;
	double		product = 0;
	double		ray2 = 0;

	vdb_scan_encode(&s->scan, row, s->centroid, s->scratch, s->code);
	vdb_scan_levels(&s->scan, s->code, s->scratch);
	for (uint32_t i = 0; i < P; i++)
	{
		double		x = (double) row[i] - s->centroid[i];

		norm2 += x * x;
		product += x * s->scratch[i];
	}
	scale = norm2 / product;
	*all = *along = 0;
	for (uint32_t i = 0; i < P; i++)
	{
		double		error = (double) row[i] - s->centroid[i] - scale * s->scratch[i];
		double		ray = (double) row[i] + s->center[i];

		*all += error * error;
		*along += error * ray;
		ray2 += ray * ray;
	}
	*along *= *along / ray2;
}

/*
 * Codes that are chosen by a loss lose no more by it than the nearest do, those of half the rows or more less,
 * and in all much less along the rows.
 */
static bool
check_anisotropic(VdbMetric metric, Shape shape)
{
	double		weight = (shape.dims - 1) * pow(shape.anisotropic, 2) / (1 - pow(shape.anisotropic, 2));
	double		sums[2] = {0};
	int			better = 0;
	int			rows = 0;
	bool		passed = true;
	Setting		s;

	setting_init(&s, metric, shape);
	for (int round = 0; round < 10 && passed; round++)
	{
		fill(&s, 1);
		for (uint32_t lane = 0; lane < LANES && passed; lane++, rows++)
		{
			double		all[2];
			double		along[2];
			double		loss[2];

			for (int chosen = 0; chosen < 2; chosen++)
			{
				vdb_scan_set_anisotropic(&s.scan, chosen ? shape.anisotropic : 0);
				measure_error(&s, lane, &all[chosen], &along[chosen]);
				loss[chosen] = all[chosen] + (weight - 1) * along[chosen];
				sums[chosen] += along[chosen];
			}
			better += loss[1] < loss[0];
			if (!(loss[1] <= loss[0] * (1 + 1e-5)))
				passed = failure("%u parts, row %d: loss %g, of the nearest %g", shape.parts, rows, loss[1], loss[0]);
		}
	}
	setting_free(&s);
	if (passed && (better < rows / 2 || sums[1] > sums[0] / 2))
		passed = failure("%u parts: %d of %d are better, errors along rows %g of %g", shape.parts, better, rows,
						 sums[1], sums[0]);
	return passed;
}

/* Whatever rows and queries are, a row has a score; a lane of infinite `add` has none. */
static bool
check_all_have_scores(VdbMetric metric, Shape shape)
{
	static const float sizes[] = {0, 1e-44f, 1e-30f, 1e-10f, 1, 1e10f, 1e17f, 1e19f, 3e38f};
	const uint32_t dims = shape.dims;
	const int	count = sizeof(sizes) / sizeof(sizes[0]);
	bool		passed = true;
	Setting		s;

	setting_init(&s, metric, shape);
	for (int q = 0; q < count && passed; q++)
	{
		for (int c = 0; c < count && passed; c++)
		{
			float		base;

			/* one row of equal entries, one of a single entry, one at the centroid */
			for (uint32_t i = 0; i < dims; i++)
			{
				s.vector[i] = sizes[q] * (i % 3 == 0 ? 1 : -0.5f);
				s.centroid[i] = sizes[c < 6 ? c : 5] * (i % 2 == 0 ? 1 : -1);
			}
			for (uint32_t lane = 0; lane < LANES; lane++)
				for (uint32_t i = 0; i < dims; i++)
					s.rows[lane * dims + i] = lane == 0 ? s.centroid[i] :
						lane % 2 == 0 || i == lane ? sizes[lane % count] : 0;
			prepare(&s);
			base = vdb_scan_list_score(&s.scan, &s.query, s.centroid);
			if (scan(&s) != UINT32_MAX || !isfinite(base))
				passed = failure("query of %g, centroid of %g: not all have scores", sizes[q], sizes[c]);
			for (uint32_t lane = 0; lane < LANES && passed; lane++)
			{
				if (!isfinite(s.scores[lane]))
					passed = failure("query of %g, row of %g: score %g", sizes[q],
									 sizes[lane % count], s.scores[lane]);
			}
			s.add[7] = INFINITY;
			if (scan(&s) != (UINT32_MAX & ~(1u << 7)))
				passed = failure("a free lane has a score");
		}
	}
	setting_free(&s);
	return passed;
}

/* A row at the centroid, and one that coded dimensions know nothing of. */
static bool
check_nothing_to_code(uint32_t bits)
{
	Setting		s;
	bool		passed = true;

	setting_init(&s, VDB_METRIC_L2, (Shape) {.dims = 104, .coded = 64, .bits = bits});
	fill(&s, 1);
	memcpy(s.rows, s.centroid, 104 * sizeof(float));
	memcpy(s.rows + 104, s.centroid, 64 * sizeof(float));
	prepare(&s);
	scan(&s);
	for (uint32_t lane = 0; lane < 2; lane++)
	{
		double		score = (double) vdb_scan_list_score(&s.scan, &s.query, s.centroid) + s.scores[lane];
		double		distance2 = 0;

		for (uint32_t i = 0; i < 64; i++)
			distance2 += pow((double) s.vector[i] - s.rows[lane * 104 + i], 2);
		for (uint32_t i = 64; i < 104 && lane == 0; i++)
			distance2 += pow((double) s.vector[i] - s.rows[i], 2);
		if (s.scale[lane] != 0)
			passed = failure("lane %u has the scale %g", lane, s.scale[lane]);
		if (lane == 0 && fabs(score - distance2) > 1e-3 * distance2)
			passed = failure("score %g, distance squared %g", score, distance2);
	}
	setting_free(&s);
	return passed;
}

/* Of a group's bytes each belongs to one lane. */
static bool
check_places(uint32_t bytes)
{
	uint8_t    *seen = new_block((size_t) LANES * bytes);
	bool		passed = true;

	memset(seen, 0, (size_t) LANES * bytes);
	for (uint32_t lane = 0; lane < LANES; lane++)
	{
		for (uint32_t b = 0; b < bytes; b++)
		{
			size_t		place = vdb_distance_scan_place(bytes, lane, b);

			if (place >= (size_t) LANES * bytes || seen[place]++ != 0)
				passed = failure("byte %u of lane %u", b, lane);
		}
	}
	free(seen);
	return passed;
}

/* A hash (FNV-1a) of codes, which are to be the same on every machine. */
static uint64_t
hash_codes(Shape shape)
{
	uint64_t	hash = UINT64_C(0xcbf29ce484222325);
	uint64_t	saved = random_state;
	Setting		s;

	random_state = SEED;
	setting_init(&s, VDB_METRIC_L2, shape);
	fill(&s, 1);
	for (uint32_t lane = 0; lane < LANES; lane++)
	{
		vdb_scan_encode(&s.scan, s.rows + lane * s.codec.P, s.centroid, s.scratch, s.code);
		for (uint32_t b = 0; b < s.scan.bytes; b++)
			hash = (hash ^ s.code[b]) * UINT64_C(0x100000001b3);
	}
	setting_free(&s);
	random_state = saved;
	return hash;
}

static const struct
{
	Shape		shape;
	uint64_t	hash;
}			hashes[] =
{
	{{.dims = 100, .coded = 104, .bits = 1}, UINT64_C(0x5d675d93884d5b26)},
	{{.dims = 100, .coded = 104, .bits = 2}, UINT64_C(0xb4a3214edb84e216)},
	{{.dims = 784, .coded = 784, .bits = 1}, UINT64_C(0x19578196729ebdc5)},
	{{.dims = 784, .coded = 784, .bits = 2}, UINT64_C(0x9b2134c659fd76ab)},
	{{.dims = 100, .parts = 26}, UINT64_C(0xdcc83185fca9d78d)},
	{{.dims = 784, .parts = 98}, UINT64_C(0x98ae0d320693de89)},
	{{.dims = 100, .parts = 26, .anisotropic = 0.3f}, UINT64_C(0xbd3b46c3b9b5e36b)},
	{{.dims = 784, .parts = 98, .anisotropic = 0.1f}, UINT64_C(0x214999d9c3821e12)},
};

/* All that is claimed of codes of any metric; name: what they are. */
static void
check_kind(const char *name, const char *level, const Shape *tables, int table_count,
		   const Shape *qualities, int quality_count, Shape scores)
{
	for (int metric = 0; metric < 3; metric++)
	{
		bool		passed = true;

		for (int i = 0; i < table_count; i++)
			passed = check_table((VdbMetric) metric, tables[i]) && passed;
		report(passed, "tables give products, %s, %s, %s", metric_names[metric], name, level);
		passed = check_quality((VdbMetric) metric, qualities[0], 0) &&
			check_quality((VdbMetric) metric, qualities[0], 2);
		for (int i = 1; i < quality_count && passed; i++)
			passed = is_left_out() || check_quality((VdbMetric) metric, qualities[i], 1);
		report(passed, "estimates are as good as theory, %s, %s, %s", metric_names[metric], name, level);
		report(check_all_have_scores((VdbMetric) metric, scores), "every row has a score, %s, %s, %s",
			   metric_names[metric], name, level);
	}
}

/* Codes on a grid of so many bits. */
static void
check_grid(uint32_t bits, const char *level)
{
	const Shape tables[] = {
		{8, 8, bits, 0, 0}, {24, 24, bits, 0, 0}, {104, 104, bits, 0, 0},
		{104, 64, bits, 0, 0}, {784, 784, bits, 0, 0}, {4096, 2056, bits, 0, 0}
	};
	const Shape qualities[] = {{104, 104, bits, 0, 0}, {768, 768, bits, 0, 0}, {768, 384, bits, 0, 0}};
	char		name[16];

	snprintf(name, sizeof(name), "%u bits", bits);
	check_kind(name, level, tables, 6, qualities, 3, qualities[0]);
	report(check_nothing_to_code(bits), "rows without a residual, %u bits, %s", bits, level);
}

/* Codes that are products, of parts of one length, and of two. */
static void
check_product(const char *level)
{
	static const Shape tables[] = {
		{.dims = 8, .parts = 2}, {.dims = 8, .parts = 8}, {.dims = 104, .parts = 26},
		{.dims = 104, .parts = 14}, {.dims = 784, .parts = 98}
	};
	static const Shape qualities[] = {{.dims = 104, .parts = 26}, {.dims = 104, .parts = 52}, {.dims = 768, .parts = 96}};

	check_kind("products", level, tables, 5, qualities, 3, qualities[0]);
	for (int metric = VDB_METRIC_IP; metric <= VDB_METRIC_COSINE; metric++)
		report(check_anisotropic((VdbMetric) metric, (Shape) {.dims = 104, .parts = 26, .anisotropic = 0.3f}) &&
			   check_anisotropic((VdbMetric) metric, (Shape) {.dims = 104, .parts = 52, .anisotropic = 0.2f}) &&
			   check_anisotropic((VdbMetric) metric, (Shape) {.dims = 768, .parts = 96, .anisotropic = 0.2f}) &&
			   check_all_have_scores((VdbMetric) metric, (Shape) {.dims = 104, .parts = 26, .anisotropic = 0.3f}),
			   "anisotropic codes lose less where it counts, %s, %s", metric_names[metric], level);
}

static void
check_level(const char *level)
{
	check_grid(1, level);
	check_grid(2, level);
	check_product(level);
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
	{
		uint64_t	hash = hash_codes(hashes[i].shape);

		report(hash == hashes[i].hash || failure("0x%016llx", (unsigned long long) hash),
			   "codes of %u dimensions are those of every machine, %u bits, %u parts, threshold %g, %s",
			   hashes[i].shape.dims, hashes[i].shape.bits, hashes[i].shape.parts, hashes[i].shape.anisotropic, level);
	}
}

int
main(int argc, char **argv)
{
	VdbSimdLevel best;

	read_share(argc, argv);
	vdb_distance_init();
	best = vdb_kernels->level;
	report(check_distortion(8, 4, 0.112) && check_distortion(8, 2, 0.352) &&
		   check_distortion(16, 2, 0.616),
		   "codebooks are as good as k-means makes them");
	report(check_places(1) && check_places(25) && check_places(98), "places of bytes");
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		if (vdb_distance_force((VdbSimdLevel) level))
			check_level(vdb_distance_level_name((VdbSimdLevel) level));
	}
	vdb_distance_force(best);
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
