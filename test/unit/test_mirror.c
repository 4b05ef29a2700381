/*
 * test_mirror.c
 *	  No row's distance, as the operator computes it, is below its lower bound; no row whose bound is low enough is
 *	  left out, whatever the limit; bounds are narrow enough to be of use; and a device's are those of the first product.
 */
#include <stdlib.h>

#include "../../gpu/vdb_gpu.h"
#include "mirror/mirror_code.h"
#include "tap.h"
#include "vector_fixture.h"

#define ROWS VDB_MIRROR_BLOCK

/* A mirror of rows, and a question. */
typedef struct Case
{
	VdbCodec	codec;
	float	   *center;
	float	   *rows;			/* the user's */
	float	   *query;
	float		add[ROWS];
	float		rescale[ROWS];
	float		residual[ROWS];
	float		length[ROWS];
	uint8_t    *codes;
	VdbMirrorRows columns;
	float	   *asked;			/* in code space */
	void	   *memory;
	VdbMirrorQuestion question;
} Case;

static void
make_case(Case *c, Kind kind, VdbMetric metric, uint32_t dims)
{
	uint32_t	P = vdb_codec_padded(dims);
	float	   *x = malloc(P * sizeof(float));
	float	   *scratch = malloc(P * sizeof(float));
	float		norm;

	c->center = calloc(P, sizeof(float));
	vdb_mirror_codec_init(&c->codec, metric, dims, random_u32() | 1, c->center);
	c->rows = malloc(ROWS * dims * sizeof(float));
	c->query = malloc(dims * sizeof(float));
	c->codes = malloc(ROWS * c->codec.hot_bytes);
	fill_vector(kind, dims, c->query);

	/* as a mirror's, of rows that are like these; or none */
	if (random_u32() % 2 == 0)
	{
		double	   *sum = calloc(P, sizeof(double));

		for (int i = 0; i < 50; i++)
		{
			fill_vector(kind, dims, c->rows);
			vdb_codec_accumulate(&c->codec, c->rows, scratch, sum);
		}
		for (uint32_t i = 0; i < P; i++)
			c->center[i] = isfinite(sum[i] / 50) && fabs(sum[i]) < 1e20 ? (float) (sum[i] / 50) : 0;
		vdb_mirror_codec_init(&c->codec, metric, dims, c->codec.seed, c->center);
		free(sum);
	}
	for (int j = 0; j < ROWS; j++)
	{
		float	   *row = c->rows + j * dims;
		VdbMirrorFactors f;

		fill_vector(kind, dims, row);
		if (random_u32() % 50 == 0)
			memcpy(row, c->query, dims * sizeof(float));
		norm = vdb_codec_transform(&c->codec, row, x);
		f = metric == VDB_METRIC_COSINE && !(norm > 0) ? vdb_mirror_last() :
			vdb_mirror_encode(&c->codec, x, norm, scratch, c->codes + j * c->codec.hot_bytes);
		c->add[j] = f.add;
		c->rescale[j] = f.rescale;
		c->residual[j] = f.residual;
		c->length[j] = f.length;
	}
	c->columns = (VdbMirrorRows) {c->add, c->rescale, c->residual, c->length, c->codes};
	c->asked = malloc(P * sizeof(float));
	c->memory = malloc(vdb_mirror_question_bytes(&c->codec));
	norm = vdb_codec_transform(&c->codec, c->query, c->asked);
	vdb_mirror_ask(&c->question, &c->codec, c->asked, norm, c->memory);
	free(x);
	free(scratch);
}

static void
free_case(Case *c)
{
	free(c->center);
	free(c->rows);
	free(c->query);
	free(c->codes);
	free(c->asked);
	free(c->memory);
}

/* Adds to how many rows were selected by the distance of the tenth, and how many had to be. */
static bool
is_sound(Case *c, double *selected, double *needed)
{
	VdbMetric	metric = c->codec.metric;
	double		distances[ROWS];
	double		all[ROWS];
	double		lower[ROWS];
	uint32_t	numbers[ROWS];

	int8_t	   *levels = malloc(c->codec.P);
	uint8_t    *panel = malloc(vdb_mirror_panel_bytes(&c->codec));
	int32_t		products[ROWS];

	if (vdb_mirror_select(&c->question, &c->columns, ROWS, NULL, INFINITY, numbers, all) != ROWS)
		return false;
	vdb_query_levels(&c->question.query, levels);
	vdb_mirror_products(&c->codec, &c->columns, ROWS, 1, levels, panel, products);
	free(levels);
	free(panel);
	for (int j = 0; j < ROWS; j++)
	{
		distances[j] = operator_distance(metric, c->codec.dims, c->rows + j * c->codec.dims, c->query);
		if (distances[j] < all[j])
			return failure("distance %.17g is below its bound %.17g", distances[j], all[j]);
	}
	for (int k = 0; k < ROWS; k += 7)
	{
		double		most = k % 2 == 0 ? all[k] : distances[k];
		size_t		next = 0;
		size_t		count;

		if (isnan(most))
			continue;
		count = vdb_mirror_select(&c->question, &c->columns, ROWS, k % 3 == 0 ? products : NULL, most, numbers, lower);
		for (int j = 0; j < ROWS; j++)
		{
			bool		is_selected = next < count && numbers[next] == (uint32_t) j;

			if (is_selected != (all[j] <= most) || (is_selected && lower[next] != all[j]))
				return failure("bound %.17g, limit %.17g: the row is %s", all[j], most, is_selected ? "selected" : "left out");
			next += is_selected;
			*needed += distances[j] <= distances[k];
			*selected += all[j] <= distances[k];
		}
	}
	return true;
}

/* Is what a device computes from integers the rough bound, to the last bit, and not above the bound? */
static bool
is_the_same_on_a_device(Case *c)
{
	uint32_t	P = c->codec.P;
	int8_t	   *vector = malloc(P);
	float		rough[ROWS];
	double		all[ROWS];
	uint32_t	numbers[ROWS];
	VdbGpuConstants constants;
	bool		same = true;

	vdb_query_levels(&c->question.query, vector);
	memcpy(&constants, &c->question.rough, sizeof(constants));
	vdb_mirror_bound_roughly(&c->question, &c->columns, ROWS, NULL, rough);
	(void) vdb_mirror_select(&c->question, &c->columns, ROWS, NULL, INFINITY, numbers, all);
	for (int j = 0; j < ROWS && same; j++)
	{
		int32_t		product = 0;
		float		bound;

		for (uint32_t i = 0; i < P; i++)
			product += c->codes[j * P + i] * vector[i];
		bound = vdb_gpu_bound(&constants, product, c->add[j], c->rescale[j], c->residual[j], c->length[j]);
		same = c->add[j] == INFINITY ? bound == INFINITY : bound == rough[j];
		if (!same)
			failure("bound %.9g on a device, not %.9g", bound, rough[j]);
		if (same && bound > vdb_mirror_rough_limit(&c->question, all[j]))
			same = failure("rough bound %.9g is above that of %.17g", bound, all[j]);
	}
	free(vector);
	return same;
}

int
main(int argc, char **argv)
{
	static const uint32_t sizes[] = {1, 3, 8, 31, 100, 784, 2000};

	read_share(argc, argv);
	vdb_distance_init();
	for (int level = 0; level < VDB_SIMD_LEVELS; level++)
	{
		if (!vdb_distance_force((VdbSimdLevel) level))
			continue;
		for (int metric = 0; metric < 3; metric++)
		{
			for (int kind = 0; kind < KINDS; kind++)
			{
				bool		sound = true;
				double		selected = 0;
				double		needed = 0;

				for (int s = 0; s < 7 && sound; s++)
				{
					long		rounds = share_of(sizes[s] > 500 ? 2 : 9);

					for (int round = 0; round < rounds + (sizes[s] < 500) && sound; round++)
					{
						Case		c;

						make_case(&c, (Kind) kind, (VdbMetric) metric, sizes[s]);
						sound = is_sound(&c, &selected, &needed) && is_the_same_on_a_device(&c);
						free_case(&c);
					}
				}
				report(sound, "%s: bounds of %s, %s", vdb_distance_level_name((VdbSimdLevel) level), metric_names[metric],
				   kind_names[kind]);
				if (kind == KIND_NORMAL)
					report(selected <= 1.15 * needed, "and are narrow: %.0f rows for %.0f", selected, needed);
			}
		}
	}
	return tests_failed > 0;
}
