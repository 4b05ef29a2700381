/*
 * hnsw_bits.h
 *	  A set of numbers from a range, one bit each: which nodes are dead, which
 *	  were reached.
 *
 * Pure C and inline; the words are the owner's.  A number outside of the range
 * is never in the set, and adding it does nothing, so that what concurrent
 * inserts append to an index needs no care.
 */
#ifndef VDB_HNSW_BITS_H
#define VDB_HNSW_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HnswBits
{
	uint64_t   *words;			/* hnsw_bits_bytes() of them, zero: empty */
	uint32_t	first;
	uint32_t	count;			/* numbers in the range */
} HnswBits;

#define HNSW_BITS_NONE UINT32_MAX

static inline size_t
hnsw_bits_bytes(uint32_t count)
{
	return ((size_t) count + 63) / 64 * sizeof(uint64_t);
}

static inline bool
hnsw_bits_has(const HnswBits *bits, uint32_t number)
{
	uint32_t	at = number - bits->first;

	return at < bits->count && (bits->words[at / 64] >> (at % 64) & 1);
}

static inline void
hnsw_bits_add(HnswBits *bits, uint32_t number)
{
	uint32_t	at = number - bits->first;

	if (at < bits->count)
		bits->words[at / 64] |= UINT64_C(1) << (at % 64);
}

static inline void
hnsw_bits_remove(HnswBits *bits, uint32_t number)
{
	uint32_t	at = number - bits->first;

	if (at < bits->count)
		bits->words[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

/*
 * The first number at or after `from` that is in `bits` but not in `except`
 * (of the same range), HNSW_BITS_NONE when there is none.  except may be NULL.
 */
static inline uint32_t
hnsw_bits_next(const HnswBits *bits, const HnswBits *except, uint32_t from)
{
	uint32_t	at = from > bits->first ? from - bits->first : 0;
	size_t		words = hnsw_bits_bytes(bits->count) / sizeof(uint64_t);

	for (size_t i = at / 64; i < words; i++)
	{
		uint64_t	word = bits->words[i];

		if (except != NULL)
			word &= ~except->words[i];
		if (i == at / 64)
			word &= ~UINT64_C(0) << (at % 64);
		if (word != 0)
			return bits->first + (uint32_t) (i * 64) + (uint32_t) __builtin_ctzll(word);
	}
	return HNSW_BITS_NONE;
}

#endif							/* VDB_HNSW_BITS_H */
