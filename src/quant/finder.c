/*
 * finder.c
 *	  The finder that is always there: a panel of the set, which all codes are compared with.
 */
#include "quant/finder.h"
#include "quant/panel.h"

#define FINDER_ALIGN 64

/* Codes that are compared with the panel at once. */
#define BLOCK 12

typedef struct PanelFinder
{
	VdbFinder	finder;
	const VdbCodec *codec;
	VdbPanel	panel;
	char	   *memory;			/* of the panel */
	float	   *scores;			/* BLOCK * room */
} PanelFinder;

static inline size_t
align_up(size_t bytes)
{
	return (bytes + FINDER_ALIGN - 1) / FINDER_ALIGN * FINDER_ALIGN;
}

static bool
put(VdbFinder *base, uint32_t count, uint32_t first, uint32_t n, VdbCodes codes)
{
	PanelFinder *finder = (PanelFinder *) base;

	if (first == 0)
		vdb_panel_init(&finder->panel, finder->codec, count, finder->memory);
	for (uint32_t i = 0; i < n; i++)
		vdb_panel_put(&finder->panel, first + i, codes.factors[i], codes.hi + i * codes.stride);
	return true;
}

/* The m least of `count` scores, in order. */
static void
keep_least(const float *scores, uint32_t count, uint32_t m, VdbNeighbor *out)
{
	uint32_t	kept = 0;

	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	at;

		if (kept == m && !(scores[i] < out[m - 1].score))
			continue;
		at = kept < m ? kept++ : m - 1;
		for (; at > 0 && scores[i] < out[at - 1].score; at--)
			out[at] = out[at - 1];
		out[at] = (VdbNeighbor) {i, scores[i]};
	}
}

static bool
find(VdbFinder *base, uint32_t n, VdbCodes codes, uint32_t m, VdbNeighbor *out)
{
	PanelFinder *finder = (PanelFinder *) base;
	uint32_t	count = finder->panel.count;

	for (uint32_t first = 0; first < n; first += BLOCK)
	{
		uint32_t	some = n - first < BLOCK ? n - first : BLOCK;

		vdb_panel_scores(&finder->panel, some, codes.factors + first, codes.hi + first * codes.stride, codes.stride,
						 finder->scores);
		for (uint32_t i = 0; i < some; i++)
			keep_least(finder->scores + (size_t) i * count, count, m, out + (size_t) (first + i) * m);
	}
	return true;
}

size_t
vdb_finder_bytes(const VdbCodec *codec, uint32_t room)
{
	return align_up(sizeof(PanelFinder)) + align_up((size_t) BLOCK * room * sizeof(float)) + vdb_panel_bytes(codec, room);
}

VdbFinder *
vdb_finder_init(const VdbCodec *codec, uint32_t room, char *memory)
{
	PanelFinder *finder = (PanelFinder *) memory;

	finder->finder = (VdbFinder) {.most = UINT32_MAX, .put = put, .find = find};
	finder->codec = codec;
	finder->scores = (float *) (memory + align_up(sizeof(PanelFinder)));
	finder->memory = (char *) finder->scores + align_up((size_t) BLOCK * room * sizeof(float));
	return &finder->finder;
}
