/*
 * testpoint.h
 *	  Named places in the code where a test can hold a backend, fail or crash.
 *
 * A point costs one test of a number that is 0 unless a superuser has set
 * vdb.stop_at, so points are compiled into every build: what is tested is what
 * is shipped.  Place a point only where no LWLock, buffer content lock or
 * critical section is held; pins and heavyweight locks may be.
 */
#ifndef VDB_TESTPOINT_H
#define VDB_TESTPOINT_H

/* How many points vdb.stop_at names. */
extern int	vdb_testpoint_count;

/*
 * Does what vdb.stop_at asks for when it names this point, else nothing.  May
 * wait, raise an error or not return at all.
 */
#define VDB_TESTPOINT(name) \
	do { \
		if (unlikely(vdb_testpoint_count > 0)) \
			vdb_testpoint_reach(name); \
	} while (0)

/*
 * Does vdb.stop_at name this point?  For one at which an operation goes the way
 * that it takes where memory is short, which a test's few rows would not have it
 * do.
 */
#define VDB_TESTPOINT_IS(name) \
	(unlikely(vdb_testpoint_count > 0) && vdb_testpoint_is_set(name))

extern void vdb_testpoint_init(void);
extern bool vdb_testpoint_is_set(const char *name);
extern void vdb_testpoint_reach(const char *name);

#endif							/* VDB_TESTPOINT_H */
