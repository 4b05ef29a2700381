/*
 * stats_private.h
 *	  Shared inside this folder: what the table has of an index.
 */
#ifndef VDB_STATS_PRIVATE_H
#define VDB_STATS_PRIVATE_H

#include "port/atomics.h"

#include "stats/stats.h"

/* Upper bounds of the histogram of latencies, in seconds; the last is infinity. */
#define VDB_BUCKETS 19
extern const double vdb_stats_bounds[VDB_BUCKETS];

/* What is kept of an index. */
typedef struct VdbStats
{
	uint64		values[VDB_STAT_COUNT];
	uint64		buckets[VDB_BUCKETS];	/* scans that took no longer than this bound, but than
										 * the one before */
	uint64		nanoseconds;	/* of all of them */
} VdbStats;

/* How the table is filled. */
typedef struct VdbStatsRoom
{
	uint32		room;			/* indexes */
	uint32		used;
	uint64		not_counted;	/* calls that found no room */
} VdbStatsRoom;

/* stats_scan.c */

/* Defines its setting; from vdb_stats_init(). */
extern void vdb_stats_init_scans(void);

/* stats_table.c */

/*
 * Where no place is left for an index, looks for some of what is gone, once in a while.  Reads
 * the catalog: in a transaction, and where errors may be raised.
 */
extern void vdb_stats_make_room(Oid index);

/* Adds a whole scan.  Neither allocates memory nor raises errors. */
extern void vdb_stats_add_scan(Oid index, const VdbScanCounts *counts, uint64 nanoseconds);

/* Copies what is known of an index of this database; false: nothing. */
extern bool vdb_stats_read(Oid index, VdbStats *stats);
extern VdbStatsRoom vdb_stats_room(void);

/* Forgets an index of this database, or (InvalidOid) all of them. */
extern void vdb_stats_forget(Oid index);

#endif							/* VDB_STATS_PRIVATE_H */
