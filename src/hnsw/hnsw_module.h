/*
 * hnsw_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_HNSW_MODULE_H
#define VDB_HNSW_MODULE_H

/* Defines settings and reloptions; from _PG_init. */
extern void vdb_hnsw_init(void);

#endif							/* VDB_HNSW_MODULE_H */
