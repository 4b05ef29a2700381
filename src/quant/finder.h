/*
 * finder.h
 *	  Whoever finds, for many codes, the nearest of a set: a device, say.
 *
 * This is what graphs of nearest neighbours (the set's own codes are asked for) and k-means
 * (the set is the centroids) have in common.  Scores are those of vdb_pair_score(), to the last
 * bit, so it does not matter who finds, and one may go on where another has failed.
 */
#ifndef VDB_FINDER_H
#define VDB_FINDER_H

#include <stdbool.h>

#include "quant/codec.h"

typedef struct VdbNeighbor
{
	uint32_t	number;			/* in the set */
	float		score;
} VdbNeighbor;

/* Codes, `stride` bytes apart; only their upper planes count. */
typedef struct VdbCodes
{
	const VdbNodeFactors *factors;
	const uint8_t *hi;
	size_t		stride;
} VdbCodes;

typedef struct VdbFinder VdbFinder;

/* Functions return false where it cannot be done any more; then the finder is of no use. */
struct VdbFinder
{
	uint32_t	most;			/* neighbours of a code */

	/*
	 * Makes n codes those of the set from number `first` on.  A set of `count` codes is put from
	 * its first to its last, in parts, before anything is found; the next one replaces it.
	 */
	bool		(*put) (VdbFinder *finder, uint32_t count, uint32_t first, uint32_t n, VdbCodes codes);

	/*
	 * out[i * m + j] = of the set, the code j-nearest to code i of n; of equally near ones that
	 * which comes first.  m is at most `most`, and the set's count.
	 */
	bool		(*find) (VdbFinder *finder, uint32_t n, VdbCodes codes, uint32_t m, VdbNeighbor *out);
};

/* Bytes of a finder that compares all with a panel, for sets of up to `room` codes. */
extern size_t vdb_finder_bytes(const VdbCodec *codec, uint32_t room);

/* Makes one.  memory: vdb_finder_bytes(), aligned to 64; it and the codec must outlive the finder, which never fails. */
extern VdbFinder *vdb_finder_init(const VdbCodec *codec, uint32_t room, char *memory);

#endif							/* VDB_FINDER_H */
