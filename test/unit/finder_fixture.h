/*
 * finder_fixture.h
 *	  A finder that finds by a panel, and fails at a given call.
 */
#ifndef VDB_FINDER_FIXTURE_H
#define VDB_FINDER_FIXTURE_H

#include <stdlib.h>

#include "quant/finder.h"

typedef struct TestFinder
{
	VdbFinder	finder;
	VdbFinder  *panel;
	char	   *memory;
	int			calls;			/* that are left before it fails; -1: it never does */
	int			asked;			/* calls so far */
	bool		failed;
	bool		misused;		/* asked again after that */
} TestFinder;

static inline bool
pass_finder(TestFinder *finder)
{
	finder->asked++;
	finder->misused |= finder->failed;
	finder->failed |= finder->calls == 0;
	finder->calls -= finder->calls > 0;
	return !finder->failed;
}

static bool
put_by_panel(VdbFinder *base, uint32_t count, uint32_t first, uint32_t n, VdbCodes codes)
{
	TestFinder *finder = (TestFinder *) base;

	return pass_finder(finder) && finder->panel->put(finder->panel, count, first, n, codes);
}

static bool
find_by_panel(VdbFinder *base, uint32_t n, VdbCodes codes, uint32_t m, VdbNeighbor *out)
{
	TestFinder *finder = (TestFinder *) base;

	if (pass_finder(finder))
		return finder->panel->find(finder->panel, n, codes, m, out);

	/* what is not to be believed */
	for (size_t i = 0; i < (size_t) n * m; i++)
		out[i] = (VdbNeighbor) {.number = 0,.score = -1e30f};
	return false;
}

static inline void
test_finder_init(TestFinder *finder, const VdbCodec *codec, uint32_t room, int calls)
{
	void	   *memory = NULL;

	if (posix_memalign(&memory, 64, vdb_finder_bytes(codec, room)) != 0)
		abort();
	finder->memory = memory;
	finder->panel = vdb_finder_init(codec, room, finder->memory);
	finder->finder = (VdbFinder) {.most = finder->panel->most,.put = put_by_panel,.find = find_by_panel};
	finder->calls = calls;
	finder->asked = 0;
	finder->failed = false;
	finder->misused = false;
}

#endif							/* VDB_FINDER_FIXTURE_H */
