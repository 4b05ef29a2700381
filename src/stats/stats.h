/*
 * stats.h
 *	  What is counted of indexes, where the library is preloaded.
 *
 * Whoever works on an index says what was done, after it was done, in one call: vdb_stats_add()
 * for what adds up, vdb_stats_set() for what replaces the value before.  Scans count in fields
 * of their own meanwhile (VdbStatsScan).  All of it costs nothing, but for that, where the
 * library is not preloaded.
 */
#ifndef VDB_STATS_H
#define VDB_STATS_H

#include "access/relscan.h"
#include "executor/instrument.h"
#include "portability/instr_time.h"
#include "utils/relcache.h"

/*
 * A value kept of an index.  They are shown in this order (stats_show.c), so a new one needs a
 * line there and a column in the script.
 */
typedef enum VdbStat
{
	/* these add up */
	VDB_STAT_SCANS,
	VDB_STAT_ROWS,				/* returned */
	VDB_STAT_CANDIDATES,		/* rows whose fuller code was looked at */
	VDB_STAT_DISTANCES,			/* estimated, by short codes */
	VDB_STAT_EXACT_DISTANCES,	/* of rows that were fetched to be measured */
	VDB_STAT_ROUNDS,			/* in which scans went on, after the first */
	VDB_STAT_PAGES_HIT,
	VDB_STAT_PAGES_READ,
	VDB_STAT_INSERTS,
	VDB_STAT_MERGED,			/* of these, rows that waited and were linked later */
	VDB_STAT_REPAIRS,			/* lists of neighbours, or lists of rows, that VACUUM made anew */

	/* these are the last */
	VDB_STAT_DEAD,				/* rows that the last VACUUM took out */
	VDB_STAT_LAST_VACUUM,		/* a TimestampTz, as all that begin with LAST */
	VDB_STAT_RECALL,			/* a share, see vdb_stats_set_share */
	VDB_STAT_RECALL_K,
	VDB_STAT_LAST_RECALL,
	VDB_STAT_LAST_CALIBRATION,
	VDB_STAT_BUILD_TIME,		/* nanoseconds */
	VDB_STAT_LAST_BUILD,

	VDB_STAT_SINCE,				/* when counting began; not set by anyone else */
	VDB_STAT_COUNT
} VdbStat;

/* stats_table.c */

/* Defines settings, and asks for shared memory; from _PG_init. */
extern void vdb_stats_init(void);

/* Is anything counted? */
extern bool vdb_stats_are_kept(void);

/*
 * Adds to a value, or replaces it, of an index of this database.  May take an LWLock for as long
 * as it takes to find the index; where the table is full the catalog may be read, so call it in a
 * transaction, and with no lock held on a page.  Raises nothing where none is kept.
 */
extern void vdb_stats_add(Oid index, VdbStat what, uint64 count);
extern void vdb_stats_set(Oid index, VdbStat what, uint64 value);
extern void vdb_stats_set_share(Oid index, VdbStat what, double share);

/* Replaces a value, and the time at which that was done. */
extern void vdb_stats_note(Oid index, VdbStat what, uint64 value, VdbStat when);

/* The same of a build that began then. */
extern void vdb_stats_note_build(Oid index, instr_time begun);

/* stats_show.c */

/* May the user know what is done with an index?  Who may read its table, or all statistics, may. */
extern bool vdb_stats_may_see(Oid index);

/*
 * The value that a share of those in a histogram did not exceed, as if those of a bucket were spread evenly
 * over it; beyond the last bound nothing is known, and that one is returned, as Prometheus does.
 * bounds: upper ends of "count" buckets, the last one infinite; cumulative: how many are below each, not all 0.
 */
extern double vdb_stats_quantile(const double *bounds, const uint64 *cumulative, int count, double share);

/* stats_scan.c */

/* What one scan counts. */
typedef struct VdbScanCounts
{
	uint64		rows;
	uint64		candidates;
	uint64		distances;
	uint64		exact;
	uint64		rounds;
	uint64		pages_hit;
	uint64		pages_read;
} VdbScanCounts;

/*
 * The first field of an access method's scan (IndexScanDesc.opaque), so that others find it
 * there.  What lies beyond it belongs to the access method, who says how much it has looked at
 * when it is asked.
 */
typedef struct VdbStatsScan VdbStatsScan;
struct VdbStatsScan
{
	VdbScanCounts now;			/* since the scan began or began anew */
	VdbScanCounts before;		/* until then, of the same scan */
	uint64		scans;			/* that have ended, of the same scan */

	/* fills in candidates and distances of `now`, and the effort; without memory or errors */
	void		(*collect) (VdbStatsScan *scan);
	const char *effort_name;	/* the setting that says how far it looks, */
	uint32		effort;			/* and how far it did */

	Oid			index;
	char		index_name[NAMEDATALEN];	/* where it is to be logged */
	bool		timed;
	bool		inside;			/* the access method is at work */
	int			weight;			/* times that the clock counts then; 0: it stands */
	instr_time	begun;
	double		seconds;
	int64		hit;			/* the backend's counts when the access method was entered */
	int64		read;
	MemoryContextCallback end;
};

/*
 * Each of the first so many rows of a scan is timed; then one of several, which stands for them.
 * Reading the clock takes a few per cent of the time of a row of which the place is known.
 */
#define VDB_STATS_TIMED_ROWS 4
#define VDB_STATS_TIMED_EVERY 4

/*
 * Begins to count, when the first row is asked for.  The scan ends, and its counts are added to
 * its index's, when the context is reset or deleted: also that of a query that was cancelled.
 */
extern void vdb_stats_begin_scan(VdbStatsScan *scan, Relation index, MemoryContext context,
								 void (*collect) (VdbStatsScan *scan), const char *effort_name);

/* The sum of what a scan has counted, from its first row on; how many scans that were. */
extern uint64 vdb_stats_sum_scan(VdbStatsScan *scan, VdbScanCounts *sum);

/* When a scan is asked for a row, */
static inline void
vdb_stats_enter(VdbStatsScan *scan)
{
	scan->inside = true;
	if (!scan->timed)
		scan->weight = 0;
	else if (scan->now.rows < VDB_STATS_TIMED_ROWS)
		scan->weight = 1;
	else
		scan->weight = scan->now.rows % VDB_STATS_TIMED_EVERY == 0 ? VDB_STATS_TIMED_EVERY : 0;
	if (scan->weight > 0)
		INSTR_TIME_SET_CURRENT(scan->begun);
	scan->hit = pgBufferUsage.shared_blks_hit + pgBufferUsage.local_blks_hit;
	scan->read = pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read;
}

/* when it searches further for it, which takes longer, and stands for itself, */
static inline void
vdb_stats_begin_round(VdbStatsScan *scan)
{
	if (!scan->timed || scan->weight == 1)
		return;
	scan->weight = 1;
	INSTR_TIME_SET_CURRENT(scan->begun);
}

/* and when it returns one, or says that there is none. */
static inline void
vdb_stats_leave(VdbStatsScan *scan, bool row)
{
	scan->now.rows += row;
	scan->now.pages_hit += pgBufferUsage.shared_blks_hit + pgBufferUsage.local_blks_hit - scan->hit;
	scan->now.pages_read += pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read - scan->read;
	if (scan->weight > 0)
	{
		instr_time	now;

		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, scan->begun);
		scan->seconds += scan->weight * INSTR_TIME_GET_DOUBLE(now);
	}
	scan->inside = false;
}

#endif							/* VDB_STATS_H */
