/*
 * panel.h
 *	  Codes prepared for being compared with many others, by the block.
 *
 * Scores are those of vdb_pair_score(), to the last bit.  Memory is the
 * caller's, as in codec.h.
 */
#ifndef VDB_PANEL_H
#define VDB_PANEL_H

#include "quant/codec.h"

typedef struct VdbPanel
{
	const VdbCodec *codec;
	uint32_t	count;
	VdbNodeFactors *factors;	/* of each code */
	void	   *codes;
	float	   *scale;			/* NULL where pairs are scored one by one; else the */
	float	   *add;			/* factors again, each in an array of its own, */
	const VdbKernels *kernels;	/* and the level that codes are laid out for */
} VdbPanel;

/* Are these codes multiplied by kernels, and not scored pair by pair? */
extern bool vdb_panel_multiplies(const VdbCodec *codec);

/*
 * A codec whose plain codes are what those of this one begin with: half of the
 * dimensions, or VDB_HALF_LEAST if that is more; all of them, where there are no
 * more, or the first ones do not stand for the others.  They do after a rotation,
 * for distances: the squared one in half of the dimensions is half of that in all,
 * with a standard deviation of sqrt(2 / P) of it.
 */
#define VDB_HALF_LEAST 256
extern VdbCodec vdb_panel_half(const VdbCodec *codec);

/*
 * Factors of what a code begins with.  half: what vdb_panel_half() has made of the
 * code's codec, with fewer dimensions; factors, hi: of the whole code.
 */
extern VdbNodeFactors vdb_panel_half_factors(const VdbCodec *half, VdbNodeFactors factors, const uint8_t *hi);

/* Bytes of a panel of `count` codes. */
extern size_t vdb_panel_bytes(const VdbCodec *codec, uint32_t count);

/*
 * An empty panel.  memory: vdb_panel_bytes(), aligned to 64; it and the codec
 * must outlive the panel.
 */
extern void vdb_panel_init(VdbPanel *panel, const VdbCodec *codec, uint32_t count, char *memory);

/*
 * Puts code i of the panel, 0 <= i < count; each once, in any order, before the
 * first scores.  The code is copied and needs no alignment.
 */
extern void vdb_panel_put(VdbPanel *panel, uint32_t i, VdbNodeFactors factors, const uint8_t *hi);

/*
 * out[i * panel->count + j] = vdb_pair_score() of plain code i (factors[i],
 * hi + i * stride) and code j of the panel, to the last bit.
 */
extern void vdb_panel_scores(const VdbPanel *panel, uint32_t n, const VdbNodeFactors *factors,
							 const uint8_t *hi, size_t stride, float *out);

/* The same for from <= j only, where `from` is a multiple of VDB_PANEL_ROWS; what is for other j stays as it is. */
extern void vdb_panel_scores_from(const VdbPanel *panel, uint32_t from, uint32_t n, const VdbNodeFactors *factors,
								  const uint8_t *hi, size_t stride, float *out);

/*
 * What scores of a plain code are made of, where kernels multiply: rounded as it is written here,
 * constant + add - factor * scale * product, with the other code's factors; FLT_MAX if that is no
 * number.
 */
extern float vdb_panel_constant(const VdbCodec *codec, VdbNodeFactors factors);
extern float vdb_panel_factor(const VdbCodec *codec, VdbNodeFactors factors);

#endif							/* VDB_PANEL_H */
