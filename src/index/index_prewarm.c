/*
 * index_prewarm.c
 *	  vdb.prewarm(): reads an index into shared buffers, what searches need most
 *	  first.
 *
 * Which pages these are, the access method says.  What an extent has is told by its first
 * page, so with the pages that are needed most come the first ones of all extents.  What a
 * cold start is like is in docs/operations.md.
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
#include "utils/rel.h"
#include "utils/spccache.h"

#include "index/index.h"
#include "storage/storage_page.h"

/* Of the buffers there are, what is left to others: one in so many. */
#define SPARED_SHARE 8

typedef struct Prewarm
{
	Relation	rel;
	VdbPageLayout layout;
	uint32		extents;		/* that are looked at */
	bool	   *of_rows;		/* [extents], once that was done */
	int			ahead;			/* pages asked for before they are read */
	int64		room;			/* pages that may still be read */
	int64		pages[VDB_PREWARM_KINDS];
} Prewarm;

/* The same pages of many extents. */
typedef struct Pass
{
	int			kind;			/* that they are of, or ANY_KIND */
	uint32		first;			/* of an extent */
	uint32		end;
} Pass;

#define ANY_KIND (-1)

/* A place among the pages of a pass: extents in order, and each one's pages. */
typedef struct Place
{
	uint32		extent;
	uint32		page;
} Place;

/* Goes to the place itself if it is of the pass, else to the next that is. */
static bool
settle(const Prewarm *prewarm, const Pass *pass, Place *place)
{
	for (; place->extent < prewarm->extents; place->extent++, place->page = pass->first)
	{
		if (pass->kind != ANY_KIND &&
			prewarm->of_rows[place->extent] != prewarm->layout.kinds[pass->kind].of_rows)
			continue;
		if (place->page < pass->end)
			return true;
	}
	return false;
}

static inline BlockNumber
block_of(const Prewarm *prewarm, Place place)
{
	return prewarm->layout.first + place.extent * prewarm->layout.extent_pages + place.page;
}

static void
read_page(Prewarm *prewarm, int kind, Place place)
{
	ReleaseBuffer(ReadBuffer(prewarm->rel, block_of(prewarm, place)));
	prewarm->pages[kind]++;
	prewarm->room--;
}

/*
 * Notes what an extent has, which its first page says, and reads that page; and where it is
 * of the kind that is needed most, the others of this kind as well.
 */
static void
look_at(Prewarm *prewarm, uint32 extent)
{
	const VdbPageLayout *layout = &prewarm->layout;
	bool		of_rows = layout->has_rows(layout->index, extent);
	int			kind = 0;
	uint32		end;

	prewarm->of_rows[extent] = of_rows;
	while (layout->kinds[kind].of_rows != of_rows || layout->kinds[kind].first != 0)
		kind++;
	end = kind == 0 ? layout->kinds[kind].end : 1;
	for (uint32 page = 0; page < end && prewarm->room > 0; page++)
		read_page(prewarm, kind, (Place) {extent, page});
}

/* Reads the pages of a pass, as long as there is room. */
static void
read_pass(Prewarm *prewarm, const Pass *pass)
{
	Place		read = {0, pass->first};
	Place		asked = read;
	int			waiting = 0;

	while (prewarm->room > 0 && settle(prewarm, pass, &read))
	{
		CHECK_FOR_INTERRUPTS();
		for (; waiting < Min(prewarm->ahead, prewarm->room) && settle(prewarm, pass, &asked); waiting++)
		{
			(void) PrefetchBuffer(prewarm->rel, MAIN_FORKNUM, block_of(prewarm, asked));
			asked.page++;
		}
		if (pass->kind == ANY_KIND)
			look_at(prewarm, read.extent);
		else
			read_page(prewarm, pass->kind, read);
		read.page++;
		if (waiting > 0)
			waiting--;
		else
			asked = read;
	}
}

static void
read_index(Prewarm *prewarm)
{
	read_pass(prewarm, &(Pass) {ANY_KIND, 0, 1});
	for (int kind = 1; kind < VDB_PREWARM_KINDS; kind++)
	{
		const VdbPrewarmKind *pages = &prewarm->layout.kinds[kind];

		read_pass(prewarm, &(Pass) {kind, Max(pages->first, 1), pages->end});
	}
}

/* Raises unless the file is as long as the metapage, block 0, has it. */
static void
check_extents_exist(Relation rel, const VdbPageLayout *layout)
{
	uint64		needed = layout->first + (uint64) layout->extents * layout->extent_pages;
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	if (needed > blocks)
		vdb_page_corrupted(rel, 0, psprintf("%u extents need %llu blocks, but there are %u.",
											layout->extents, (unsigned long long) needed, blocks));
}

static void
init_prewarm(Prewarm *prewarm, Relation rel)
{
	const VdbAccessMethod *method = vdb_index_method(rel->rd_indam->amcostestimate);
	int			buffers = RelationUsesLocalBuffers(rel) ? num_temp_buffers : NBuffers;

	memset(prewarm, 0, sizeof(*prewarm));
	prewarm->rel = rel;
	prewarm->layout = method->page_layout(rel);
	check_extents_exist(rel, &prewarm->layout);
	prewarm->ahead = get_tablespace_maintenance_io_concurrency(rel->rd_rel->reltablespace);
	prewarm->room = buffers - buffers / SPARED_SHARE;
	prewarm->extents = Min(prewarm->layout.extents, prewarm->room);
	prewarm->of_rows = palloc(prewarm->extents * sizeof(bool));
}

/* kind, pages, bytes: one row for each kind of page */
static void
form_result(FunctionCallInfo fcinfo, const Prewarm *prewarm)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int kind = 0; kind < VDB_PREWARM_KINDS; kind++)
	{
		Datum		values[3];
		bool		isnull[3] = {0};

		values[0] = CStringGetTextDatum(prewarm->layout.kinds[kind].name);
		values[1] = Int64GetDatum(prewarm->pages[kind]);
		values[2] = Int64GetDatum(prewarm->pages[kind] * BLCKSZ);
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
}

/* vdb.prewarm(index regclass) */
PG_FUNCTION_INFO_V1(vdb_index_prewarm);
Datum
vdb_index_prewarm(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	rel = vdb_index_open_named(NULL, PG_GETARG_OID(0), AccessShareLock, &heap);
	AclResult	acl = pg_class_aclcheck(RelationGetRelid(heap), GetUserId(), ACL_SELECT);
	Prewarm		prewarm;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(heap));
	init_prewarm(&prewarm, rel);
	read_index(&prewarm);
	form_result(fcinfo, &prewarm);
	index_close(rel, AccessShareLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}
