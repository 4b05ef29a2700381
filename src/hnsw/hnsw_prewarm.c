/*
 * hnsw_prewarm.c
 *	  vdb.prewarm(): reads an index into shared buffers, what searches need most
 *	  first.
 *
 * For each node that a search expands it weighs some twenty neighbours by their
 * hot slots, which are a small part of the index.  So their pages come first, then
 * those of layers above 0, where all searches begin, and then, as far as there is
 * room, those of nodes.  What a cold start is like is in docs/operations.md.
 *
 * While a page is read, the next ones are on their way.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#include "hnsw/hnsw_private.h"

/* Of the buffers there are, what is left to others: one in so many. */
#define SPARED_SHARE 8

typedef enum PageGroup
{
	GROUP_HOT,					/* and whatever else comes first in an extent */
	GROUP_UPPER,
	GROUP_NODE
} PageGroup;

#define GROUPS (GROUP_NODE + 1)

static const char *const group_names[GROUPS] = {"hot", "upper", "node"};

typedef struct Prewarm
{
	HnswIndex  *index;
	uint32		extents;		/* there were when we started */
	HnswBits	upper;			/* extents of upper records, as far as known */
	int			ahead;			/* pages asked for before they are read */
	int64		room;			/* pages that may still be read */
	int64		pages[GROUPS];
} Prewarm;

/* A place among the pages of a group: extents in order, and each one's pages. */
typedef struct Place
{
	uint32		extent;
	uint32		page;
} Place;

static inline uint32
first_page(PageGroup group)
{
	return group == GROUP_HOT ? 0 : 1;
}

/* Goes to the place itself if it is in the group, else to the next that is. */
static bool
settle(const Prewarm *prewarm, PageGroup group, Place *place)
{
	uint32		end = group == GROUP_HOT ? 1 : prewarm->index->geometry.extent_pages;

	for (; place->extent < prewarm->extents; place->extent++, place->page = first_page(group))
	{
		if (group != GROUP_HOT &&
			hnsw_bits_has(&prewarm->upper, place->extent) != (group == GROUP_UPPER))
			continue;
		if (place->page < end)
			return true;
	}
	return false;
}

static inline BlockNumber
block_of(const Prewarm *prewarm, Place place)
{
	return vdb_hnsw_extent_block(&prewarm->index->geometry, place.extent) + place.page;
}

/* Reads one page, and notes of what kind it is. */
static void
read_page(Prewarm *prewarm, PageGroup group, Place place)
{
	if (group == GROUP_HOT && vdb_hnsw_is_upper(prewarm->index, place.extent, NULL))
	{
		hnsw_bits_add(&prewarm->upper, place.extent);
		prewarm->pages[GROUP_UPPER]++;
	}
	else
	{
		if (group != GROUP_HOT)
			ReleaseBuffer(ReadBuffer(prewarm->index->rel, block_of(prewarm, place)));
		prewarm->pages[group]++;
	}
	prewarm->room--;
}

/* Reads the pages of a group, as long as there is room. */
static void
read_group(Prewarm *prewarm, PageGroup group)
{
	Place		read = {0, first_page(group)};
	Place		asked = read;
	int			waiting = 0;

	while (prewarm->room > 0 && settle(prewarm, group, &read))
	{
		CHECK_FOR_INTERRUPTS();
		for (; waiting < Min(prewarm->ahead, prewarm->room) && settle(prewarm, group, &asked); waiting++)
		{
			(void) PrefetchBuffer(prewarm->index->rel, MAIN_FORKNUM, block_of(prewarm, asked));
			asked.page++;
		}
		read_page(prewarm, group, read);
		read.page++;
		if (waiting > 0)
			waiting--;
		else
			asked = read;
	}
}

/* kind, pages, bytes: one row for each kind of page */
static void
form_result(FunctionCallInfo fcinfo, const Prewarm *prewarm)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int group = 0; group < GROUPS; group++)
	{
		Datum		values[3];
		bool		isnull[3] = {0};

		values[0] = CStringGetTextDatum(group_names[group]);
		values[1] = Int64GetDatum(prewarm->pages[group]);
		values[2] = Int64GetDatum(prewarm->pages[group] * BLCKSZ);
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
}

PG_FUNCTION_INFO_V1(vdb_hnsw_prewarm);
Datum
vdb_hnsw_prewarm(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	rel = vdb_index_open_named(&vdb_hnsw_method, PG_GETARG_OID(0), AccessShareLock, &heap);
	AclResult	acl = pg_class_aclcheck(RelationGetRelid(heap), GetUserId(), ACL_SELECT);
	int			buffers = RelationUsesLocalBuffers(rel) ? num_temp_buffers : NBuffers;
	Prewarm		prewarm = {0};

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(heap));
	prewarm.index = vdb_hnsw_open(rel);
	prewarm.extents = prewarm.index->extents;
	prewarm.upper.words = MemoryContextAllocExtended(CurrentMemoryContext,
													 hnsw_bits_bytes(prewarm.extents),
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	prewarm.upper.count = prewarm.extents;
	prewarm.ahead = get_tablespace_maintenance_io_concurrency(rel->rd_rel->reltablespace);
	prewarm.room = buffers - buffers / SPARED_SHARE;
	for (int group = 0; group < GROUPS; group++)
		read_group(&prewarm, group);
	form_result(fcinfo, &prewarm);
	index_close(rel, AccessShareLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}
