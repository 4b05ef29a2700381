/*
 * pace.h
 *	  How long work leaves others room.
 */
#ifndef VDB_PACE_H
#define VDB_PACE_H

/*
 * Nobody waits for what this process does, from here on: its time costs as well as its reading and
 * writing, and who wakes has the processor before it.  Otherwise it is paced as VACUUM is.
 */
extern void vdb_be_in_no_hurry(void);

/*
 * To be called in every long loop of builds and VACUUM, with no lock held on a page: sleeps where
 * costs have added up (vacuum_cost_delay), and looks for interrupts.
 */
extern void vdb_pace(void);

#endif							/* VDB_PACE_H */
