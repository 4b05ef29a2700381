/*
 * worker_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_WORKER_MODULE_H
#define VDB_WORKER_MODULE_H

/* Defines settings; where the library is preloaded, asks for a launcher.  From _PG_init. */
extern void vdb_worker_init(void);

#endif							/* VDB_WORKER_MODULE_H */
