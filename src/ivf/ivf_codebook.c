/*
 * ivf_codebook.c
 *	  What the scan codes of rows are made of: the quantiser that the user wants, and the
 *	  codebook of products.
 */
#include "postgres.h"

#include "utils/rel.h"

#include "ivf/ivf_private.h"
#include "pace.h"

/* Residuals that a codebook is made of: the most, and the fewest that say anything. */
#define MOST_RESIDUALS 4096
#define FEWEST_RESIDUALS 256

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

void
vdb_ivf_choose_scan(IvfCoding *coding, Relation rel, uint32 P)
{
	IvfOptions	options = vdb_ivf_options(rel);

	coding->scan_parts = 0;
	switch ((IvfQuantizer) options.quantizer)
	{
		case IVF_RABITQ:
			coding->scan_kind = VDB_SCAN_GRID;
			break;
		case IVF_PQ:
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
vdb_ivf_codebook_sample(const IvfCoding *coding, uint32 P)
{
	Size		memory = vdb_index_maintenance_memory() / (P * sizeof(float));

	return coding->scan_kind == VDB_SCAN_PRODUCT ? (uint32) Min(MOST_RESIDUALS, memory) : 0;
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
vdb_ivf_make_codebook(const IvfCoding *coding, uint32 P, const IvfTraining *training)
{
	VdbCodebook book = {.dims = P, .parts = coding->scan_parts};
	Size		bytes = vdb_codebook_values(P) * sizeof(float);
	float	   *values;
	float	   *sums;

	if (coding->scan_kind != VDB_SCAN_PRODUCT)
		return NULL;
	values = palloc0(bytes);
	sums = palloc(bytes);
	book.values = values;
	if (training->residual_count >= FEWEST_RESIDUALS)
		train_parts(&book, training, sums, values);
	else
		train_normal(&book, sums, values);
	pfree(sums);
	return values;
}
