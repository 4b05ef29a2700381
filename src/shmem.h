/*
 * shmem.h
 *	  Shared memory of the server's that modules have where the library is preloaded.
 */
#ifndef VDB_SHMEM_H
#define VDB_SHMEM_H

/* What a module wants, and where it is told that it has it. */
typedef struct VdbSharedPart
{
	const char *name;			/* of the server's segment, unique */

	/* bytes; asked when the number of backends is known */
	Size		(*size) (void);

	/* Fills it, when the server starts and again after a crash; nobody else is there yet. */
	void		(*init) (void *memory);

	void	  **memory;			/* NULL stays there where the library is not preloaded */
} VdbSharedPart;

/*
 * Asks for a part, which stays where it is; from _PG_init, while the server reads
 * shared_preload_libraries.  At other times it is too late, and nothing happens.
 */
extern void vdb_shmem_add(const VdbSharedPart *part);

/* Installs the hooks, if there are parts; the last one of those who do so in _PG_init. */
extern void vdb_shmem_hook(void);

#endif							/* VDB_SHMEM_H */
