/*
 * clock.h
 *	  A clock that all processes share and nobody sets, for what is waited for.
 *
 * The time of day is what users are shown; it may be set back, and then a wait that goes
 * by it is as long as that.
 */
#ifndef VDB_CLOCK_H
#define VDB_CLOCK_H

#include "portability/instr_time.h"

/* Microseconds since some time before; more than 0. */
typedef int64 VdbMoment;

#define VDB_NEVER PG_INT64_MAX

static inline VdbMoment
vdb_clock_read(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (VdbMoment) INSTR_TIME_GET_MICROSEC(now);
}

#endif							/* VDB_CLOCK_H */
