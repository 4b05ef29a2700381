/*
 * ivf_codebook.c
 *	  What the scan codes of rows are made of: the quantiser that the user wants, and the
 *	  codebook of products with its rotation.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "compute/compute.h"
#include "ivf/ivf_private.h"
#include "pace.h"
#include "quant/opq.h"
#include "quant/rotate.h"

/* Residuals that a codebook is made of: the most, and the fewest that say anything. */
#define MOST_RESIDUALS 4096
#define FEWEST_RESIDUALS 256

/* The same of a rotation, for each dimension; or as many as of a codebook, if these are more. */
#define MOST_FOR_ROTATION 16
#define FEWEST_FOR_ROTATION 4

/* Multiplications that are done before anybody looks for interrupts. */
#define MULTIPLIED_AT_ONCE (100 * 1000 * 1000)

/* Vectors that stand for residuals where nothing is known of them. */
#define NORMAL_VECTORS 2048

/*
 * Sub-quantisers that take half the bits of a code on the grid, where they fit a page: an
 * even number, two a byte.
 */
static uint32
default_parts(const IvfCoding *coding)
{
	uint32		parts = (coding->scan_dims * coding->scan_bits / 8 + 1) / 2 * 2;

	return Max(parts, 2);
}

/* As many as the user says, and one more to fill a byte. */
static uint32
wanted_parts(Relation rel, const IvfCoding *coding, uint32 P, uint32 wanted)
{
	uint32		parts = (wanted + 1) / 2 * 2;
	uint32		most = Min(P, 2 * vdb_ivf_max_code_bytes(coding));

	if (parts > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pq_m of index \"%s\" is too large", RelationGetRelationName(rel)),
				 errdetail("It is %u, and a code of its dimensions has at most %u parts.", wanted, most),
				 errhint("Leave pq_m out, or choose a smaller one.")));
	return parts;
}

/* Memory that a residual takes, with the code in the sample that it is of. */
static Size
residual_bytes(uint32 P)
{
	return P * (sizeof(float) + 2);
}

uint32
vdb_ivf_rotation_rows(uint32 P)
{
	return Max(FEWEST_RESIDUALS, FEWEST_FOR_ROTATION * P);
}

/* Memory that learning a rotation takes, besides them. */
static Size
rotation_bytes(uint32 P)
{
	return (vdb_opq_scratch(P) + (Size) P * P) * sizeof(float);
}

/* Raises where a rotation would take too long for every query. */
static void
check_rotation(Relation rel, uint32 P)
{
	if (P > VDB_ROTATE_MAX_DIMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for quantizer = opq", VDB_ROTATE_MAX_DIMS),
				 errdetail("Index \"%s\" would multiply each query by a matrix of their square.",
						   RelationGetRelationName(rel)),
				 errhint("Use quantizer = pq.")));
}

/*
 * Raises where the training of a rotation would take too much memory.  Of a table that is too small
 * none is learned: it is emptied, and its index made, with whatever memory there is.
 */
static void
check_rotation_memory(Relation heap, Relation rel, uint32 P)
{
	uint32		rows = vdb_ivf_rotation_rows(P);
	Size		memory = rotation_bytes(P) + rows * residual_bytes(P);
	double		most_rows = (double) RelationGetNumberOfBlocks(heap) * MaxHeapTuplesPerPage;

	if (most_rows >= rows && memory > vdb_index_maintenance_memory())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required is %d MB, maintenance_work_mem is %d MB",
						(int) (memory / (1024 * 1024)) + 1, (int) (vdb_index_maintenance_memory() / (1024 * 1024))),
				 errdetail("Index \"%s\" is to learn a rotation of %u dimensions.", RelationGetRelationName(rel), P),
				 errhint("Raise maintenance_work_mem, or use quantizer = pq.")));
}

/* Raises where a loss that weighs what is along the row has no meaning. */
static void
check_anisotropic(Relation rel)
{
	VdbMetric	metric = vdb_index_support(rel)->metric;

	if (metric != VDB_METRIC_IP && metric != VDB_METRIC_COSINE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("anisotropic is for inner product and cosine distance"),
				 errdetail("Index \"%s\" is of another distance.", RelationGetRelationName(rel)),
				 errhint("Leave anisotropic out, or use another operator class.")));
}

void
vdb_ivf_choose_scan(IvfCoding *coding, Relation rel, uint32 P)
{
	IvfOptions	options = vdb_ivf_options(rel);

	coding->scan_parts = 0;
	coding->rotated = options.quantizer == IVF_OPQ;
	coding->anisotropic = (float) options.anisotropic;
	if (coding->rotated)
		check_rotation(rel, P);
	if (coding->anisotropic > 0)
		check_anisotropic(rel);
	switch ((IvfQuantizer) options.quantizer)
	{
		case IVF_RABITQ:
			coding->scan_kind = VDB_SCAN_GRID;
			break;
		case IVF_PQ:
		case IVF_OPQ:
			coding->scan_kind = VDB_SCAN_PRODUCT;
			coding->scan_parts = options.parts == 0 ? default_parts(coding) :
				wanted_parts(rel, coding, P, options.parts);
			break;
		case IVF_SQ8:
		case IVF_NONE:
			coding->scan_kind = VDB_SCAN_NOTHING;
	}
}

uint32
vdb_ivf_codebook_sample(const IvfCoding *coding, Relation heap, Relation rel, uint32 P)
{
	Size		memory = vdb_index_maintenance_memory();
	Size		most = MOST_RESIDUALS;

	if (coding->scan_kind != VDB_SCAN_PRODUCT)
		return 0;
	if (coding->rotated)
	{
		check_rotation_memory(heap, rel, P);
		memory -= Min(memory, rotation_bytes(P));
		most = Max(most, MOST_FOR_ROTATION * P);
	}
	return (uint32) Min(most, memory / residual_bytes(P));
}

/* What a VdbOpqHost multiplies by: a product of matrices, some rows at a time. */
static void
multiply(void *state, size_t dims, size_t m, const float *a, size_t n, const float *b, float *out)
{
	size_t		rows = Max(MULTIPLIED_AT_ONCE / (dims * n), 1);

	for (size_t first = 0; first < m; first += rows)
	{
		vdb_pace();
		vdb_compute_inner_products(state, dims, Min(rows, m - first), a + first * dims, n, b, out + first * n);
	}
}

/* Learns a rotation from residuals, and rotates these. */
static void
learn_rotation(const VdbCodebook *book, IvfTraining *training, float *rotation)
{
	const VdbProvider *provider = vdb_compute_choose(book->dims);
	VdbOpqHost	host = {.multiply = multiply, .pause = vdb_pace, .state = &provider};
	uint32		P = book->dims;
	float	   *scratch = palloc_extended(vdb_opq_scratch(P) * sizeof(float), MCXT_ALLOC_HUGE);

	vdb_opq_learn(book, training->residual_count, training->residuals, &host, scratch, rotation);
	for (uint32 first = 0; first < training->residual_count; first += P)
	{
		uint32		count = Min(P, training->residual_count - first);
		float	   *residuals = training->residuals + (Size) first * P;

		multiply(&provider, P, count, residuals, P, rotation, scratch);
		memcpy(residuals, scratch, (Size) count * P * sizeof(float));
	}
	pfree(scratch);
}

static void
train_parts(const VdbCodebook *book, const IvfTraining *training, float *sums, float *values)
{
	for (uint32 part = 0; part < book->parts; part++)
	{
		vdb_pace();
		vdb_codebook_train(book, part, training->residual_count,
						   training->residuals + vdb_codebook_first(book, part), book->dims, sums, values);
	}
}

/* Makes all parts of one length, of which there are two, alike. */
static void
train_normal(const VdbCodebook *book, float *sums, float *values)
{
	uint32		widest = (book->dims + book->parts - 1) / book->parts;
	float	   *vectors = palloc_extended((Size) NORMAL_VECTORS * widest * sizeof(float), MCXT_ALLOC_HUGE);
	const float *known[2] = {NULL, NULL};

	vdb_codebook_normal((size_t) NORMAL_VECTORS * widest, vectors);
	for (uint32 part = 0; part < book->parts; part++)
	{
		uint32		width = vdb_codebook_width(book, part);
		float	   *own = values + vdb_codebook_values(vdb_codebook_first(book, part));
		const float **same = &known[widest - width];

		vdb_pace();
		if (*same != NULL)
			memcpy(own, *same, vdb_codebook_values(width) * sizeof(float));
		else
			vdb_codebook_train(book, part, NORMAL_VECTORS, vectors, widest, sums, values);
		*same = own;
	}
	pfree(vectors);
}

float *
vdb_ivf_make_codebook(IvfCoding *coding, uint32 P, IvfTraining *training)
{
	VdbCodebook book = {.dims = P, .parts = coding->scan_parts};
	Size		bytes = vdb_codebook_values(P) * sizeof(float);
	float	   *values;
	float	   *sums;

	if (coding->scan_kind != VDB_SCAN_PRODUCT)
		return NULL;
	if (training->residual_count < vdb_ivf_rotation_rows(P))
		coding->rotated = false;
	values = palloc0(bytes + (coding->rotated ? (Size) P * P * sizeof(float) : 0));
	sums = palloc(bytes);
	book.values = values;
	if (coding->rotated)
		learn_rotation(&book, training, values + vdb_codebook_values(P));
	if (training->residual_count >= FEWEST_RESIDUALS)
		train_parts(&book, training, sums, values);
	else
		train_normal(&book, sums, values);
	pfree(sums);
	return values;
}
