/*
 * ingest_embed.c
 *	  The built-in embedder: feature hashing of the words of a text, for tests and demos.
 *
 * Each word, each pair of neighbouring words and each three neighbouring characters of a word is
 * hashed; the hash says which dimension the feature is counted in, and with which sign, so that
 * features that meet by chance cancel as often as they add up (Weinberger et al. 2009, "Feature
 * Hashing for Large Scale Multitask Learning").  The counts, as a vector of length 1, are the
 * embedding.  It knows nothing of meaning: texts are near each other that share words or parts of
 * words.
 *
 * The same text gives the same bytes on every machine, under every locale and in every encoding of
 * the database: hashes are integer arithmetic on the text in UTF-8, counts are whole numbers, and
 * square root and division are rounded as IEEE 754 says.  Who stored embeddings expects them to
 * stay, so what is below must not change.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "types/vector.h"

/* What a feature counts: the more of a text it stands for, the more. */
#define WORD_WEIGHT 4
#define PAIR_WEIGHT 2
#define TRIGRAM_WEIGHT 1

/* Keep features of different kinds apart that hash alike. */
#define WORD_SEED UINT64CONST(0x9e3779b97f4a7c15)
#define PAIR_SEED UINT64CONST(0xc2b2ae3d27d4eb4f)
#define TRIGRAM_SEED UINT64CONST(0x165667b19e3779f9)
#define NOTHING_SEED UINT64CONST(0x27d4eb2f165667c5)

/* What stands before and after a word in its trigrams; no word has this character. */
#define BOUNDARY ' '

/* A word while it is read. */
typedef struct Word
{
	uint64		hash;
	uint32		before_last;	/* its last two characters */
	uint32		last;
} Word;

/* Makes every bit of the result depend on every bit of h (the last steps of MurmurHash3). */
static inline uint64
mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

static inline void
count_feature(double *counts, int dims, uint64 feature, double weight)
{
	uint64		h = mix(feature);
	int			dim = (int) (((h >> 32) * (uint64) dims) >> 32);

	counts[dim] += (h & 1) ? weight : -weight;
}

/*
 * Words are made of ASCII letters, which lose their case, ASCII digits and whatever is not ASCII,
 * as it is: no locale has a say.
 */
static inline bool
is_in_word(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static inline unsigned char
fold_case(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/*
 * Reads the character at p, lower-cased, and sets its code: the bytes of its UTF-8, which is one
 * byte that is no continuation and those that follow.  Invalid text does no harm.
 */
static inline const unsigned char *
read_character(const unsigned char *p, const unsigned char *end, uint32 *code)
{
	*code = fold_case(*p++);
	if (*code >= 0x80)
	{
		while (p < end && (*p & 0xc0) == 0x80)
			*code = (*code << 8) | *p++;
	}
	return p;
}

static inline void
count_trigram(double *counts, int dims, const Word *word, uint32 next)
{
	uint64		pair = ((uint64) word->before_last << 32) | word->last;

	count_feature(counts, dims, mix(pair ^ TRIGRAM_SEED) ^ next, TRIGRAM_WEIGHT);
}

/* Reads the word at p, counts its trigrams, and sets its hash; returns where it ends. */
static const unsigned char *
count_word(double *counts, int dims, const unsigned char *p, const unsigned char *end, uint64 *hash)
{
	Word		word = {WORD_SEED, 0, BOUNDARY};
	bool		is_first = true;

	while (p < end && is_in_word(*p))
	{
		uint32		code;

		CHECK_FOR_INTERRUPTS();
		p = read_character(p, end, &code);
		word.hash = mix(word.hash ^ code);
		if (!is_first)
			count_trigram(counts, dims, &word, code);
		is_first = false;
		word.before_last = word.last;
		word.last = code;
	}
	count_trigram(counts, dims, &word, BOUNDARY);
	count_feature(counts, dims, word.hash, WORD_WEIGHT);
	*hash = word.hash;
	return p;
}

static void
count_text(double *counts, int dims, const unsigned char *p, const unsigned char *end)
{
	uint64		previous = 0;
	uint64		hash;

	while (p < end)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_in_word(*p))
		{
			p++;
			continue;
		}
		p = count_word(counts, dims, p, end, &hash);
		if (previous != 0)
			count_feature(counts, dims, mix(previous ^ PAIR_SEED) ^ hash, PAIR_WEIGHT);
		previous = hash;
	}
}

/* The sum of squares. */
static double
sum_squares(const double *counts, int dims)
{
	double		sum = 0;

	for (int i = 0; i < dims; i++)
		sum += counts[i] * counts[i];
	return sum;
}

/*
 * The embedding, in the current memory context.  Raises unless dims is a possible number of
 * dimensions.
 *
 * A text without words has one all the same, and so has one whose features cancel: that of a
 * feature of its own.  A zero vector has no direction, and an index by the cosine distance does not hold it.
 */
static VdbVector *
embed_text(const text *content, int dims)
{
	char	   *start = VARDATA_ANY(content);
	int			length = VARSIZE_ANY_EXHDR(content);
	char	   *converted = start;
	double	   *counts;
	double		norm;
	VdbVector  *result;

	vdb_dense_check_dim(&vdb_vector_type, dims);
	/* of SQL_ASCII nobody knows the encoding */
	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		converted = pg_server_to_any(start, length, PG_UTF8);
	if (converted != start)
		length = strlen(converted);

	counts = palloc0(sizeof(double) * (Size) dims);
	count_text(counts, dims, (const unsigned char *) converted, (const unsigned char *) converted + length);
	norm = sqrt(sum_squares(counts, dims));
	if (norm == 0)
	{
		count_feature(counts, dims, NOTHING_SEED, 1);
		norm = 1;
	}

	result = (VdbVector *) vdb_dense_create(&vdb_vector_type, dims);
	for (int i = 0; i < dims; i++)
		result->x[i] = (float4) (counts[i] / norm);
	pfree(counts);
	if (converted != start)
		pfree(converted);
	return result;
}

PG_FUNCTION_INFO_V1(vdb_ingest_hash_embed);
Datum
vdb_ingest_hash_embed(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(embed_text(PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(1)));
}

/* The same for each element of an array; the result has its shape, and its nulls. */
PG_FUNCTION_INFO_V1(vdb_ingest_hash_embed_array);
Datum
vdb_ingest_hash_embed_array(PG_FUNCTION_ARGS)
{
	ArrayType  *contents = PG_GETARG_ARRAYTYPE_P(0);
	int			dims = PG_GETARG_INT32(1);
	Oid			vector_type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int16		length;
	bool		by_value;
	char		align;

	vdb_dense_check_dim(&vdb_vector_type, dims);
	deconstruct_array(contents, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);

	/* the array says no too, but when all are in memory */
	if ((Size) count > MaxAllocSize / sizeof(float4) / (Size) dims)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("array size exceeds the maximum allowed (%zu bytes)", (Size) MaxAllocSize)));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i])
			elements[i] = PointerGetDatum(embed_text(DatumGetTextPP(elements[i]), dims));
	}
	get_typlenbyvalalign(vector_type, &length, &by_value, &align);
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elements, nulls, ARR_NDIM(contents), ARR_DIMS(contents),
											 ARR_LBOUND(contents), vector_type, length, by_value, align));
}
