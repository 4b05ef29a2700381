/*
 * ivf_module.h
 *	  What the rest of the extension calls in this folder.
 */
#ifndef VDB_IVF_MODULE_H
#define VDB_IVF_MODULE_H

/* Defines settings and reloptions; from _PG_init. */
extern void vdb_ivf_init(void);

#endif							/* VDB_IVF_MODULE_H */
