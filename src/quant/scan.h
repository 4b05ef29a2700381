/*
 * scan.h
 *	  Codes that are scanned: of few bits a dimension, the rows of a list 32 at a time.
 *
 * A row of a list is what its list's centroid and a residual add up to.  A scan code is
 * of the residual, and estimates the score between a query and the row; see README.md.
 * Vectors are dense ones in code space, of P dimensions; the metric is L2, inner
 * product or cosine.  Memory is the caller's, as in codec.h.
 */
#ifndef VDB_SCAN_H
#define VDB_SCAN_H

#include "quant/codebook.h"
#include "quant/codec.h"

/* What codes are made of. */
typedef enum VdbScanKind
{
	VDB_SCAN_GRID,				/* a level of each dimension, from the lowest bits on */
	VDB_SCAN_PRODUCT,			/* a centroid of each part, likewise */
	VDB_SCAN_NOTHING			/* they are empty; all rows of a list look alike */
} VdbScanKind;

typedef struct VdbScanCodec
{
	const VdbCodec *codec;		/* of the vectors */
	VdbScanKind kind;
	uint32_t	dims;			/* coded: the first so many of P, a multiple of 8 */
	uint32_t	bits;			/* of a level: 1 or 2 */
	VdbCodebook codebook;		/* of a product */
	float		along;			/* what its error along the row itself weighs besides */
	uint32_t	bytes;			/* of a code */
} VdbScanCodec;

/* What accompanies a scan code: its score is the list's, plus add - scale * product. */
typedef struct VdbScanFactors
{
	float		add;
	float		scale;
} VdbScanFactors;

/* The codec must outlive it.  dims: at most the codec's P, a multiple of 8. */
extern void vdb_scan_init(VdbScanCodec *scan, const VdbCodec *codec, uint32_t dims, uint32_t bits);

/* The same of products, of all P dimensions; the codebook's values must outlive it. */
extern void vdb_scan_init_product(VdbScanCodec *scan, const VdbCodec *codec,
								  const VdbCodebook *codebook);

/*
 * Has products be chosen such that of their error the part along the row itself, measured from
 * the origin, weighs more, as for queries whose inner product with the row is `threshold` of the
 * greatest there can be, of 0 .. 1 (Guo et al., 2020).  0: it does not.
 */
extern void vdb_scan_set_anisotropic(VdbScanCodec *scan, float threshold);

/* The same of empty codes. */
extern void vdb_scan_init_nothing(VdbScanCodec *scan, const VdbCodec *codec);

/*
 * The code, scan->bytes, of a vector in the list of a centroid, both P floats.
 * scratch: 2 * P floats.  Factors are finite, and so is each score of a table's query.
 */
extern VdbScanFactors vdb_scan_encode(const VdbScanCodec *scan, const float *x,
									  const float *centroid, float *scratch, uint8_t *code);

/*
 * What a code stands for, but for its length: scan->dims floats.  Of a grid these are odd
 * numbers.
 */
extern void vdb_scan_levels(const VdbScanCodec *scan, const uint8_t *code, float *out);

/*
 * Fills a table for the scan_below kernel, 32 * scan->bytes, of a query.  Returns how
 * sums of its entries become products; the bound is infinite.
 */
extern VdbScanScale vdb_scan_table(const VdbScanCodec *scan, const VdbQuery *query,
								   uint8_t *table);

/* What the scores of a list have in common, given its centroid. */
extern float vdb_scan_list_score(const VdbScanCodec *scan, const VdbQuery *query,
								 const float *centroid);

/* Writes the code of one lane of a group, or reads it. */
static inline void
vdb_scan_put(const VdbScanCodec *scan, uint8_t *group, uint32_t lane, const uint8_t *code)
{
	for (uint32_t b = 0; b < scan->bytes; b++)
		group[vdb_distance_scan_place(scan->bytes, lane, b)] = code[b];
}

static inline void
vdb_scan_get(const VdbScanCodec *scan, const uint8_t *group, uint32_t lane, uint8_t *code)
{
	for (uint32_t b = 0; b < scan->bytes; b++)
		code[b] = group[vdb_distance_scan_place(scan->bytes, lane, b)];
}

#endif							/* VDB_SCAN_H */
