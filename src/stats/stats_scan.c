/*
 * stats_scan.c
 *	  What a scan has counted, when it ends: added up, and logged.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "stats/stats_private.h"

static bool log_scan;

void
vdb_stats_init_scans(void)
{
	DefineCustomBoolVariable("vdb.log_scan",
							 "Logs how far each scan of an index looked.",
							 NULL,
							 &log_scan,
							 false,
							 PGC_SUSET,
							 0,
							 NULL,
							 NULL,
							 NULL);
}

/* The statement is not logged again: most of it would be a vector. */
static void
log_counts(const VdbStatsScan *scan)
{
	/* where a context is deleted nobody may be interrupted */
	HOLD_INTERRUPTS();
	ereport(LOG,
			(errmsg("scan of index \"%s\": %s %u, rows %llu, candidates %llu, distances %llu, exact distances %llu, rounds %llu, pages hit %llu, pages read %llu, time %.3f ms",
					scan->index_name, scan->effort_name, scan->effort,
					(unsigned long long) scan->now.rows, (unsigned long long) scan->now.candidates,
					(unsigned long long) scan->now.distances, (unsigned long long) scan->now.exact,
					(unsigned long long) scan->now.rounds, (unsigned long long) scan->now.pages_hit,
					(unsigned long long) scan->now.pages_read, scan->seconds * 1e3),
			 errhidestmt(true)));
	RESUME_INTERRUPTS();
}

static void
add_counts(VdbScanCounts *sum, const VdbScanCounts *counts)
{
	sum->rows += counts->rows;
	sum->candidates += counts->candidates;
	sum->distances += counts->distances;
	sum->exact += counts->exact;
	sum->rounds += counts->rounds;
	sum->pages_hit += counts->pages_hit;
	sum->pages_read += counts->pages_read;
}

/*
 * The end of a scan, or of one of its rescans.  If an error is the reason, the access method did not
 * return, and relations are closed.
 */
static void
end_scan(void *arg)
{
	VdbStatsScan *scan = arg;

	if (scan->inside)
		vdb_stats_leave(scan, false);
	scan->collect(scan);
	if (scan->timed)
		vdb_stats_add_scan(scan->index, &scan->now, (uint64) (scan->seconds * 1e9));
	if (scan->index_name[0] != '\0')
		log_counts(scan);
	add_counts(&scan->before, &scan->now);
	scan->scans++;
	memset(&scan->now, 0, sizeof(scan->now));
	scan->collect = NULL;
}

void
vdb_stats_begin_scan(VdbStatsScan *scan, Relation index, MemoryContext context,
					 void (*collect) (VdbStatsScan *scan), const char *effort_name)
{
	memset(&scan->now, 0, sizeof(scan->now));
	scan->seconds = 0;
	scan->collect = collect;
	scan->effort_name = effort_name;
	scan->index = RelationGetRelid(index);
	scan->index_name[0] = '\0';
	if (unlikely(log_scan))
		strlcpy(scan->index_name, RelationGetRelationName(index), NAMEDATALEN);
	scan->timed = vdb_stats_are_kept() || log_scan;
	vdb_stats_make_room(scan->index);
	scan->end.func = end_scan;
	scan->end.arg = scan;
	MemoryContextRegisterResetCallback(context, &scan->end);
}

uint64
vdb_stats_sum_scan(VdbStatsScan *scan, VdbScanCounts *sum)
{
	*sum = scan->before;
	if (scan->collect == NULL)
		return scan->scans;
	scan->collect(scan);
	add_counts(sum, &scan->now);
	return scan->scans + 1;
}
