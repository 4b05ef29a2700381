/*
 * hnsw_length.h
 *	  The lengths of a list's edges, as a node slot has them: the scores of the
 *	  neighbours, seen from the list's owner, a byte each.
 *
 * They decide which edges a list gives up, so what counts is their order, and how
 * they compare with a new edge's.  A code stands for a place between the least and
 * the greatest length of the list, in equal steps.
 */
#ifndef VDB_HNSW_LENGTH_H
#define VDB_HNSW_LENGTH_H

#include <stddef.h>
#include <stdint.h>

#include "quant/bfloat.h"

typedef struct HnswLengths
{
	uint16_t	least;			/* bfloat16, not greater than any */
	uint16_t	greatest;		/* not less */
	uint8_t		codes[];		/* 2 m; 0 behind those of the list's edges */
} HnswLengths;

#define HNSW_LENGTH_TOP 255

/* Bytes of the lengths of so many edges. */
static inline uint32_t
vdb_hnsw_lengths_bytes(uint32_t edges)
{
	return (uint32_t) offsetof(HnswLengths, codes) + edges;
}

/* What a code stands for. */
static inline float
vdb_hnsw_length_load(const HnswLengths *lengths, uint8_t code)
{
	double		least = vdb_bfloat_load(lengths->least);
	double		greatest = vdb_bfloat_load(lengths->greatest);

	return (float) (least + (greatest - least) * code / HNSW_LENGTH_TOP);
}

/* Stores the lengths of a list of `count` edges that has room for `most`. */
extern void vdb_hnsw_lengths_store(HnswLengths *lengths, const float *scores, uint32_t count,
								   uint32_t most);

/*
 * Stores that of the edge at index `at` of a list of `count`.  Where it is outside of
 * what the list has, all are stored anew, by which each may change by half a step.
 */
extern void vdb_hnsw_length_put(HnswLengths *lengths, uint32_t at, uint32_t count, float score);

#endif							/* VDB_HNSW_LENGTH_H */
