/*
 * hnsw_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_HNSW_MODULE_H
#define VDB_HNSW_MODULE_H

#include "utils/relcache.h"

/* Defines settings and reloptions; from _PG_init. */
extern void vdb_hnsw_init(void);

/*
 * Links the rows of an hnsw index that wait for it, those that do when it is called,
 * and returns how many they were.  The caller holds ShareUpdateExclusiveLock on the
 * table, throughout, so there is neither a VACUUM nor another merge, and RowExclusiveLock
 * on the index; it is not in recovery.  Obeys the cost-based delay of VACUUM where that is
 * active.  May be interrupted, and leaves an index that is complete whatever is raised.
 */
extern uint64 vdb_hnsw_merge_pending(Relation index);

/* At least as many slots as there are rows that wait, from the metapage; none: 0. */
extern uint64 vdb_hnsw_pending(Relation index);

#endif							/* VDB_HNSW_MODULE_H */
