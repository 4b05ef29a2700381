/*
 * ingest_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_INGEST_MODULE_H
#define VDB_INGEST_MODULE_H

/* Defines settings; where the library is preloaded, asks for memory and processes.  From _PG_init. */
extern void vdb_ingest_init(void);

#endif							/* VDB_INGEST_MODULE_H */
