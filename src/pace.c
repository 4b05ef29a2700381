/*
 * pace.c
 *	  Cost-based delays, by pages and by time.
 *
 * The server reckons what is read and written.  That is nearly all of what VACUUM does, but a
 * build computes for most of its time, on a processor that others may want.  So a background
 * worker is charged for its time too: for as long as it has worked it sleeps, with the delay and
 * the limit that are the default.  It is the time of day, not of the processor: where it
 * does not get the processor at once, others want it.
 */
#include "postgres.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "commands/vacuum.h"
#include "miscadmin.h"

#include "clock.h"
#include "compat.h"
#include "pace.h"

/* So many microseconds cost as much as a page that is in memory, by default. */
#define UNIT 10

/* More than any limit there is. */
#define MOST_UNITS 10000

static bool in_no_hurry = false;

#ifdef SYS_sched_setattr

/* The longest slice of time that Linux gives, nanoseconds. */
#define LONGEST_SLICE 100000000

/* The kernel's struct sched_attr, in its first version: where headers have it depends on libraries. */
typedef struct SchedulerAttributes
{
	uint32		size;
	uint32		policy;
	uint64		flags;
	int32		nice;
	uint32		priority;
	uint64		slice;
	uint64		deadline;
	uint64		period;
} SchedulerAttributes;

/*
 * Asks for long slices.  A process has its fair share of time with any; but who wakes while another
 * is in a slice that is longer than his own need not wait for its end (Linux 6.12, EEVDF).
 * Without that a query waits on for a millisecond or two beside a rebuild.  Older kernels
 * pay no heed; and where one refuses, all goes on as it would.
 */
static void
let_others_in(void)
{
	SchedulerAttributes attributes;

	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0 ||
		(attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH))
		return;
	attributes.size = sizeof(attributes);
	attributes.slice = LONGEST_SLICE;
	(void) syscall(SYS_sched_setattr, 0, &attributes, 0);
}
#else
static void
let_others_in(void)
{
}
#endif

void
vdb_be_in_no_hurry(void)
{
	in_no_hurry = true;
	let_others_in();
}

void
vdb_pace(void)
{
	static VdbMoment charged = 0;	/* until when */

	if (in_no_hurry && VacuumCostActive)
	{
		int64		units = (vdb_clock_read() - charged) / UNIT;

		if (units > 0)
		{
			VacuumCostBalance += (int) Min(units, MOST_UNITS);
			charged += units * UNIT;
		}
		vdb_vacuum_delay_point();

		/* the sleep is free */
		if (VacuumCostBalance == 0)
			charged = vdb_clock_read();
	}
	else
		vdb_vacuum_delay_point();
}
