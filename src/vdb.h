/*
 * vdb.h
 *	  The few names that every module of the extension shares.
 */
#ifndef VDB_H
#define VDB_H

/* Version of the library; the same as default_version in vdb.control. */
#define VDB_VERSION "0.1.0"

#endif							/* VDB_H */
