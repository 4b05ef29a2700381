/*
 * index_known.h
 *	  What a backend remembers of an index from one statement to the next.
 */
#ifndef VDB_INDEX_KNOWN_H
#define VDB_INDEX_KNOWN_H

#include "utils/relcache.h"

#include "compat.h"

/* An index that is, or was, open. */
typedef struct VdbKnown
{
	void	   *index;			/* the access method's, in the context */
	uint64		incarnation;	/* another one: what is known is of an index that is gone */
	MemoryContext context;		/* NULL: nothing is known */
	Oid			relid;
	VdbLocator	locator;
	bool		temporary;		/* there may be another of the same locator */
	bool		changed;		/* may be gone: the server said that something of it changed */
	int			users;			/* open until their memory context is reset */
	uint64		last_use;
} VdbKnown;

/* The entry of a relation, or one without a context to use for it. */
extern VdbKnown *vdb_known_find(Relation rel);

/*
 * Fills an entry.  What was known before is forgotten; that raises where it is in use.
 * context: a child of the current one, which lives on.
 */
extern void vdb_known_keep(VdbKnown *known, Relation rel, uint64 incarnation, void *index,
						   MemoryContext context);

/* Says that it is open until the current memory context is reset. */
extern void vdb_known_use(VdbKnown *known);

#endif							/* VDB_INDEX_KNOWN_H */
