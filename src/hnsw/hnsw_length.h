/*
 * hnsw_length.h
 *	  The lengths of a list's edges, as a node slot has them: the scores of the
 *	  neighbours, seen from the list's owner, a byte each.
 *
 * They decide which edges a list gives up, so what counts is their order, and how
 * they compare with a new edge's.  Lists may hold edges a million times as long as
 * others, so it is ranks that are stored, those of a bfloat16 among all of them,
 * 128 to each power of two.  A code is a rank between those of the least
 * and the greatest length of the list, in equal steps.  Where these are within two
 * powers of two nothing is lost; at thirty-two, beyond which lengths count as 0, one is
 * right to a sixteenth, or to an eighth in a list of both signs.
 */
#ifndef VDB_HNSW_LENGTH_H
#define VDB_HNSW_LENGTH_H

#include <stddef.h>
#include <stdint.h>

typedef struct HnswLengths
{
	uint16_t	least;			/* bfloat16, finite */
	uint16_t	greatest;		/* not less than it */
	uint8_t		codes[];		/* 2 m; 0 behind those of the list's edges */
} HnswLengths;

/* Bytes of the lengths of so many edges. */
static inline uint32_t
vdb_hnsw_lengths_bytes(uint32_t edges)
{
	return (uint32_t) offsetof(HnswLengths, codes) + edges;
}

/* That of the edge at an index.  Finite, whatever is on the page. */
extern float vdb_hnsw_length_load(const HnswLengths *lengths, uint32_t at);

/*
 * Stores the lengths of a list of `count` edges, at most UINT8_MAX, that has room for
 * `most`.  Infinities become the largest numbers.
 */
extern void vdb_hnsw_lengths_store(HnswLengths *lengths, const float *scores, uint32_t count,
								   uint32_t most);

/*
 * Stores that of the edge at index `at` of a list of `count`.  The others may change by
 * half a step, where the least or the greatest becomes another.
 */
extern void vdb_hnsw_length_put(HnswLengths *lengths, uint32_t at, uint32_t count, float score);

#endif							/* VDB_HNSW_LENGTH_H */
