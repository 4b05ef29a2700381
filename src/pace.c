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

#include "commands/vacuum.h"
#include "miscadmin.h"

#include "clock.h"
#include "compat.h"
#include "pace.h"

/* So many microseconds cost as much as a page that is in memory, by default. */
#define UNIT 10

/* More than any limit there is. */
#define MOST_UNITS 10000

bool		vdb_is_in_no_hurry = false;

void
vdb_pace(void)
{
	static VdbMoment charged = 0;	/* until when */

	if (vdb_is_in_no_hurry && VacuumCostActive)
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
