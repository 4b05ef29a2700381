/*
 * exec_module.h
 *	  What the library's entry point calls.
 */
#ifndef VDB_EXEC_MODULE_H
#define VDB_EXEC_MODULE_H

/* Defines settings, and makes the node known; from _PG_init. */
extern void vdb_exec_init(void);

/*
 * Has the planner ask us about exact searches.  One of the last steps of _PG_init: if one after
 * it failed, the next try would hook us to ourselves.
 */
extern void vdb_exec_hook_planner(void);

#endif							/* VDB_EXEC_MODULE_H */
