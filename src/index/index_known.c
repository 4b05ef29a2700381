/*
 * index_known.c
 *	  A few entries, each for an index that this backend has opened.
 *
 * An index is known by the identity of its files and by an incarnation, the random
 * number that each build draws: whatever else is said of the same files is another
 * index's.  What is known of an index that was dropped or built anew, which may be megabytes, goes
 * when the next one is opened.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "index/index_known.h"

/* Indexes a backend remembers; beyond it, the least recently used is forgotten. */
#define MAX_KNOWN 64

static VdbKnown *entries;		/* MAX_KNOWN */
static uint64 use_clock;

static void
forget(VdbKnown *known)
{
	if (known->context != NULL)
		MemoryContextDelete(known->context);
	memset(known, 0, sizeof(*known));
}

/* Was an index dropped, or has it other files now? */
static bool
is_gone(const VdbKnown *known)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(known->relid));
	bool		gone;

	if (!HeapTupleIsValid(tuple))
		return true;
	gone = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode != vdb_locator_number(known->locator);
	ReleaseSysCache(tuple);
	return gone;
}

static void
forget_gone(void)
{
	for (int i = 0; i < MAX_KNOWN; i++)
	{
		VdbKnown   *known = &entries[i];

		if (!known->changed || known->users > 0)
			continue;
		known->changed = false;
		if (is_gone(known))
			forget(known);
	}
}

/* Called for each relation that is changed, dropped too; InvalidOid stands for all. */
static void
note_change(Datum arg, Oid relid)
{
	for (int i = 0; i < MAX_KNOWN; i++)
	{
		if (entries[i].context != NULL && (entries[i].relid == relid || !OidIsValid(relid)))
			entries[i].changed = true;
	}
}

VdbKnown *
vdb_known_find(Relation rel)
{
	VdbLocator	locator = vdb_relation_locator(rel);
	VdbKnown   *oldest = NULL;

	if (entries == NULL)
	{
		entries = MemoryContextAllocZero(CacheMemoryContext, MAX_KNOWN * sizeof(VdbKnown));
		CacheRegisterRelcacheCallback(note_change, (Datum) 0);
	}
	for (int i = 0; i < MAX_KNOWN; i++)
	{
		VdbKnown   *known = &entries[i];

		if (known->context != NULL && memcmp(&known->locator, &locator, sizeof(locator)) == 0 &&
			known->temporary == RelationUsesLocalBuffers(rel))
			return known;
		if (known->users == 0 && (oldest == NULL || known->last_use < oldest->last_use))
			oldest = known;
	}

	/* all in use at once: this one is forgotten with its user */
	if (oldest == NULL)
		return MemoryContextAllocZero(CurrentMemoryContext, sizeof(VdbKnown));
	forget(oldest);
	forget_gone();
	return oldest;
}

void
vdb_known_keep(VdbKnown *known, Relation rel, uint64 incarnation, void *index,
			   MemoryContext context)
{
	if (known->users > 0)
		elog(ERROR, "index \"%s\" was rebuilt while it is in use", RelationGetRelationName(rel));
	forget(known);
	if (known >= entries && known < entries + MAX_KNOWN)
		MemoryContextSetParent(context, CacheMemoryContext);
	known->index = index;
	known->incarnation = incarnation;
	known->context = context;
	known->relid = RelationGetRelid(rel);
	known->locator = vdb_relation_locator(rel);
	known->temporary = RelationUsesLocalBuffers(rel);
}

static void
release_index(void *arg)
{
	((VdbKnown *) arg)->users--;
}

void
vdb_known_use(VdbKnown *known)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = release_index;
	callback->arg = known;
	known->users++;
	known->last_use = ++use_clock;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
}
