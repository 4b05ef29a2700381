/*
 * panel.c
 *	  Scores of many pairs of codes at once.
 */
#include <string.h>

#include "quant/panel.h"

#define PANEL_ALIGN 64

static inline size_t
align_up(size_t bytes)
{
	return (bytes + PANEL_ALIGN - 1) / PANEL_ALIGN * PANEL_ALIGN;
}

/* Plain codes may be read as wider numbers, which are aligned. */
static inline size_t
code_stride(const VdbCodec *codec)
{
	return ((size_t) codec->hi_bytes + 7) / 8 * 8;
}

size_t
vdb_panel_bytes(const VdbCodec *codec, uint32_t count)
{
	return align_up(count * sizeof(VdbNodeFactors)) + count * code_stride(codec);
}

void
vdb_panel_init(VdbPanel *panel, const VdbCodec *codec, uint32_t count, char *memory)
{
	panel->codec = codec;
	panel->count = count;
	panel->factors = (VdbNodeFactors *) memory;
	panel->codes = memory + align_up(count * sizeof(VdbNodeFactors));
	panel->code_stride = code_stride(codec);
}

void
vdb_panel_put(VdbPanel *panel, uint32_t i, VdbNodeFactors factors, const uint8_t *hi)
{
	panel->factors[i] = factors;
	memcpy((uint8_t *) panel->codes + i * panel->code_stride, hi, panel->codec->hi_bytes);
}

void
vdb_panel_scores(const VdbPanel *panel, uint32_t n, const VdbNodeFactors *factors,
				 const uint8_t *hi, size_t stride, float *out)
{
	const uint8_t *codes = panel->codes;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < panel->count; j++)
			out[(size_t) i * panel->count + j] =
				vdb_pair_score(panel->codec, factors[i], hi + i * stride, panel->factors[j],
							   codes + j * panel->code_stride);
}
