/*
 * hnsw_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_HNSW_MODULE_H
#define VDB_HNSW_MODULE_H

/* Defines settings and reloptions; from _PG_init. */
extern void vdb_hnsw_init(void);

/*
 * Has the planner ask us about conditions on distances.  The last steps of
 * _PG_init: if one after them failed, the next try would hook us to ourselves.
 */
extern void vdb_hnsw_hook_planner(void);

/* Has finished plans leave out distances that nobody reads.  The same holds. */
extern void vdb_hnsw_hook_plans(void);

#endif							/* VDB_HNSW_MODULE_H */
