/*
 * compute_private.h
 *	  What the files of this folder know of each other.
 */
#ifndef VDB_COMPUTE_PRIVATE_H
#define VDB_COMPUTE_PRIVATE_H

#include "compute/compute.h"

/* compute_fault.c: defines its setting. */
extern void vdb_compute_init_fault(void);

#endif							/* VDB_COMPUTE_PRIVATE_H */
