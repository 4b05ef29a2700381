/*
 * gate_e1.c
 *	  How many bits must steer a graph walk?
 *
 * Builds the graph in memory over a real data set and walks it with node
 * codes, and with hot codes of 2, 4 and 8 bits, over plain memory.  Prints
 * recall, expansions and evaluations a query, and how many candidates need an
 * exact distance before ten rows can be returned in order.
 *
 *	 gate_e1 DIR l2|ip|cosine|l1 [rows] [m] [ef_construction] [coarse]
 *
 * DIR holds train.npy, test.npy and gt.npy (float32, float32, int32).
 */
#include <math.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hnsw/hnsw_graph.h"

typedef struct Array
{
	size_t		rows;
	size_t		columns;
	void	   *data;
} Array;

static Array
load_npy(const char *dir, const char *name)
{
	char		path[1024];
	char		header[4096];
	unsigned char start[10];
	FILE	   *file;
	Array		a;
	size_t		length;
	char	   *shape;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "rb");
	if (file == NULL || fread(start, 1, 10, file) != 10)
	{
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	length = start[8] | (size_t) start[9] << 8;
	if (length >= sizeof(header) || fread(header, 1, length, file) != length)
		exit(1);
	header[length] = 0;
	shape = strstr(header, "'shape': (");
	if (shape == NULL || sscanf(shape, "'shape': (%zu, %zu)", &a.rows, &a.columns) != 2)
		exit(1);
	a.data = malloc(a.rows * a.columns * 4);
	if (fread(a.data, 4, a.rows * a.columns, file) != a.rows * a.columns)
		exit(1);
	fclose(file);
	return a;
}

/* Memory that starts on a cache line. */
static char *
allocate(size_t bytes)
{
	return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

typedef struct Stats
{
	double		hops;
	double		evals;
	double		hits;
	double		rechecks;
	double		time;
} Stats;

static Array train, test, truth;
static VdbCodec codec;
static HnswGraph graph;
static uint8_t *hot_codes;
static VdbHotFactors *hot_factors;
static size_t hot_stride;
static int	steer;				/* 0: node codes, 1: hot codes */
static int	correct;			/* re-place a candidate when it is expanded */
static size_t evals, hops;

static float
estimate(const VdbQuery *q, uint32_t nid)
{
	evals++;
	if (steer)
		return vdb_hot_score(q, hot_factors[nid], hot_codes + hot_stride * nid);
	return vdb_node_score(q, graph.factors[nid], vdb_hnsw_graph_hi(&graph, nid), vdb_hnsw_graph_lo(&graph, nid));
}

static double
operator_distance(const float *a, const float *b)
{
	size_t		n = codec.dims;

	switch (codec.metric)
	{
		case VDB_METRIC_L2:
			return sqrt(vdb_kernels->l2_squared(n, a, b));
		case VDB_METRIC_IP:
			return -vdb_kernels->inner_product(n, a, b);
		case VDB_METRIC_COSINE:
			{
				VdbCosineParts p = vdb_kernels->cosine(n, a, b);

				return 1 - p.ip / sqrt((double) p.aa * p.bb);
			}
		default:
			return vdb_kernels->l1(n, a, b);
	}
}

typedef struct Result
{
	double		lower, upper;
	uint32_t	nid;
	int			exact;
} Result;

static int
by_lower(const void *a, const void *b)
{
	const Result *x = a, *y = b;

	return x->lower < y->lower ? -1 : x->lower > y->lower;
}

static void
search(const VdbQuery *q, const float *raw, uint32_t ef, int k, const int32_t *gt, Stats *stats)
{
	static HnswCandidate items[4096];
	static Result results[200000];
	static uint32_t slots[1 << 18];
	HnswVisited visited = {slots, (1 << 18) - 1, 0};
	HnswCandidate evicted;
	HnswPool	pool;
	size_t		found = 0;
	uint32_t	at = graph.header->entry;
	float		best = estimate(q, at);

	for (int layer = graph.levels[at]; layer > 0; layer--)
	{
		int			moved = 1;

		while (moved)
		{
			uint32_t	ref = vdb_hnsw_graph_list(&graph, at)->up;
			HnswList   *list;

			for (int l = 1; l < layer; l++)
				ref = vdb_hnsw_graph_upper(&graph, ref)->up;
			list = vdb_hnsw_graph_upper(&graph, ref);
			moved = 0;
			for (uint32_t i = 0; i < list->count; i++)
			{
				uint32_t	nid = vdb_hnsw_list_nbr(list)[i];
				float		s = estimate(q, nid);

				if (s < best)
				{
					best = s;
					at = nid;
					moved = 1;
				}
			}
		}
	}
	/* sized like a query's own: clearing costs what it costs there */
	visited.mask = 4095;
	while (visited.mask < ef * 128)
		visited.mask = visited.mask * 2 + 1;
	memset(slots, 0, (visited.mask + 1) * sizeof(uint32_t));
	hnsw_pool_init(&pool, items, ef);
	pool.items[0] = (HnswCandidate) {.score = best,.nid = at};
	pool.size = 1;
	hnsw_visited_add(&visited, at);
	for (HnswCandidate *c; (c = hnsw_pool_peek(&pool)) != NULL;)
	{
		uint32_t	nid = c->nid;
		HnswList   *list = vdb_hnsw_graph_list(&graph, nid);
		float		score = steer ? vdb_node_score(q, graph.factors[nid], vdb_hnsw_graph_hi(&graph, nid), vdb_hnsw_graph_lo(&graph, nid)) : c->score;
		VdbBounds	b = vdb_node_bounds(q, graph.factors[nid], vdb_hnsw_graph_hi(&graph, nid), score);
		uint32_t	fresh[512];
		uint32_t	count = 0;

		hops++;
		results[found++] = (Result) {b.lower, b.upper, nid, 0};
		if (correct)
			hnsw_pool_expand(&pool, c - pool.items, score);
		else
			c->expanded = 1;
		for (uint32_t i = 0; i < list->count; i++)
		{
			uint32_t	n = vdb_hnsw_list_nbr(list)[i];

			if (hnsw_visited_add(&visited, n))
			{
				fresh[count++] = n;
				if (steer)
				{
					const uint8_t *code = hot_codes + hot_stride * n;
					__builtin_prefetch(&hot_factors[n]);
					for (size_t o = 0; o < codec.hot_bytes; o += 64)
						__builtin_prefetch(code + o);
				}
			}
		}
		for (uint32_t i = 0; i < count; i++)
		{
			HnswCandidate item = {estimate(q, fresh[i]), fresh[i], 0, 0};

			if (hnsw_pool_admits(&pool, item.score))
				hnsw_pool_insert(&pool, item, &evicted);
		}
	}
	/* the ten nearest in exact order, as the scan will do it */
	{
		int			emitted = 0;

		qsort(results, found, sizeof(Result), by_lower);
		while (emitted < k && found > 0)
		{
			Result		r = results[0];

			if (!r.exact && found > 1 && r.upper > results[1].lower)
			{
				size_t		i = 0;
				double		d = operator_distance(raw, (float *) train.data + train.columns * r.nid);

				stats->rechecks++;
				r.lower = r.upper = d;
				r.exact = 1;
				while (i + 1 < found && results[i + 1].lower < d)
				{
					results[i] = results[i + 1];
					i++;
				}
				results[i] = r;
				continue;
			}
			for (int i = 0; i < k; i++)
				stats->hits += gt[i] == (int32_t) r.nid;
			emitted++;
			memmove(results, results + 1, --found * sizeof(Result));
		}
	}
}

static void
run(const char *label)
{
	const uint32_t efs[] = {8, 10, 12, 15, 18, 20, 25, 30, 35, 40, 80, 120, 200, 400, 800};
	size_t		queries = test.rows;
	float	   *vectors = calloc(queries * codec.P, sizeof(float));
	int8_t	   *hot = malloc(vdb_query_bytes(&codec, vectors));

	printf("%-18s %6s %8s %8s %9s %9s %9s\n", label, "ef", "recall", "hops", "evals", "rechecks", "us/query");
	for (size_t e = 0; e < sizeof(efs) / sizeof(efs[0]); e++)
	{
		Stats		stats = {0};
		double		start = seconds();

		evals = hops = 0;
		for (size_t i = 0; i < queries; i++)
		{
			const float *raw = (float *) test.data + i * test.columns;
			VdbQuery	q;
			float		norm = vdb_codec_transform(&codec, raw, vectors);

			q.vector = vectors;
			q.hot = hot;
			vdb_query_prepare(&q, &codec, norm);
			search(&q, raw, efs[e], 10, (int32_t *) truth.data + i * truth.columns, &stats);
		}
		printf("%-18s %6u %8.4f %8.1f %9.1f %9.2f %9.1f\n", "", efs[e], stats.hits / (queries * 10),
			   (double) hops / queries, (double) evals / queries, stats.rechecks / queries,
			   (seconds() - start) / queries * 1e6);
		fflush(stdout);
	}
	free(vectors);
	free(hot);
}

int
main(int argc, char **argv)
{
	const char *names[] = {"l2", "ip", "cosine", "l1"};
	int			metric = -1;
	size_t		rows;
	uint32_t	m = argc > 4 ? atoi(argv[4]) : 16;
	uint32_t	efc = argc > 5 ? atoi(argv[5]) : 64;
	uint32_t	coarse = argc > 6 ? atoi(argv[6]) : 0;
	float	   *center;
	double	   *sum;
	float	   *x;
	double		start;
	size_t		links = 0;
	HnswParticipant participant;

	for (int i = 0; argc > 2 && i < 4; i++)
		if (strcmp(argv[2], names[i]) == 0)
			metric = i;
	if (metric < 0)
	{
		fprintf(stderr, "usage: gate_e1 DIR l2|ip|cosine|l1 [rows] [m] [ef_construction] [coarse]\n");
		return 2;
	}
	vdb_distance_init();
	train = load_npy(argv[1], "train.npy");
	test = load_npy(argv[1], "test.npy");
	truth = load_npy(argv[1], "gt.npy");
	rows = argc > 3 && atol(argv[3]) > 0 ? (size_t) atol(argv[3]) : train.rows;

	center = calloc(train.columns + 8, sizeof(float));
	sum = calloc(train.columns + 8, sizeof(double));
	x = malloc((train.columns + 8) * sizeof(float));
	vdb_codec_init(&codec, metric, train.columns, 42, center);
	for (size_t i = 0; i < 5000; i++)
		vdb_codec_accumulate(&codec, (float *) train.data + i * (rows / 5000) * train.columns, x, sum);
	for (size_t i = 0; i < codec.P; i++)
		center[i] = sum[i] / 5000;
	vdb_codec_init(&codec, metric, train.columns, 42, center);
	vdb_codec_set_node_coarse(&codec, codec.P - (codec.P - (coarse < codec.P ? coarse : codec.P)) /
							  VDB_NODE_STEP * VDB_NODE_STEP);

	start = seconds();
	vdb_hnsw_graph_init(&graph, &codec, m, efc, rows,
						allocate(vdb_hnsw_graph_bytes(&codec, m, rows)));
	vdb_hnsw_participant_init(&participant, &graph, 1,
							  allocate(vdb_hnsw_participant_bytes(m, efc, rows)));
	for (size_t i = 0; i < rows; i++)
	{
		float		norm = vdb_codec_transform(&codec, (float *) train.data + i * train.columns, x);

		vdb_hnsw_graph_link(&participant, vdb_hnsw_graph_encode(&graph, x, norm), false);
	}
	for (size_t i = 0; i < rows; i++)
		links += vdb_hnsw_graph_list(&graph, i)->count;
	printf("%s kernels, %zu rows, built in %.1f s, %.1f neighbours a node\n",
		   vdb_distance_level_name(vdb_kernels->level), rows, seconds() - start, (double) links / rows);
	fflush(stdout);

	run("node codes");
	for (int bits = 2; bits <= 8; bits *= 2)
	{
		steer = 1;
		codec.hot_bits = bits;
		codec.hot_bytes = codec.P * bits / 8;
		hot_stride = (codec.hot_bytes + 63) / 64 * 64;
		hot_codes = aligned_alloc(64, hot_stride * rows);
		hot_factors = malloc(rows * sizeof(VdbHotFactors));
		start = seconds();
		for (size_t i = 0; i < rows; i++)
		{
			vdb_decode_node(&codec, graph.factors[i], vdb_hnsw_graph_hi(&graph, i), vdb_hnsw_graph_lo(&graph, i), x);
			hot_factors[i] = vdb_encode_hot(&codec, x, hot_codes + hot_stride * i);
		}
		printf("encoded hot codes in %.1f s\n", seconds() - start);
		for (correct = 0; correct < 2; correct++)
		{
			char		label[64];

			snprintf(label, sizeof(label), "%d bits%s", bits, correct ? ", corrected" : "");
			run(label);
		}
		free(hot_codes);
		free(hot_factors);
	}
	return 0;
}
