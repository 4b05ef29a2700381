/*
 * mirror_search.c
 *	  Searches of a mirror: which snapshots it is good for, and passes over its rows.
 *
 * A pass holds no lock.  What it reads stays where it is: the mirror is pinned, and rows are not moved.
 */
#include "postgres.h"

#include <math.h>

#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "mirror/mirror_private.h"
#include "testpoint.h"

struct VdbMirrorSearch
{
	uint64		generation;
	const VdbKernels *kernels;	/* that bounds are computed with */
	VdbCodec	codec;
	VdbMirrorQuestion question;
};

/* Searches whose products with a block are computed at a time; from how many on that pays. */
#define TILE 128
#define FEWEST 4

/* Products of blocks of rows with many questions. */
typedef struct Products
{
	int8_t	   *levels;			/* of all questions, one behind the other */
	uint8_t    *panel;
	int32_t    *products;		/* of a tile and a block */
} Products;

typedef struct Pass
{
	VdbMirror  *mirror;			/* pinned */
	VdbMirrorWanted *wanted;
	int			count;
	Products   *many;			/* NULL: one after the other */
} Pass;

bool
vdb_mirror_is_any(void)
{
	return vdb_mirror_shared != NULL && pg_atomic_read_u32(&vdb_mirror_shared->count) > 0;
}

bool
vdb_mirror_find(Relation index, double *rows, uint32 *dims)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirror  *mirror;
	bool		found;

	if (!vdb_mirror_is_any())
		return false;
	LWLockAcquire(&shared->lock, LW_SHARED);
	mirror = vdb_mirror_lookup(index);
	found = mirror != NULL && mirror->state == VDB_MIRROR_READY;
	if (found)
	{
		*rows = (double) pg_atomic_read_u64(&mirror->rows);
		*dims = mirror->dims;
	}
	LWLockRelease(&shared->lock);
	return found;
}

/*
 * Does the mirror have all rows that the snapshot sees?  It lacks rows that had been deleted when it was made.  Who
 * deleted them had ended by then, so a snapshot for which all of that time are in the past does not see them either.
 */
static bool
has_all(const VdbMirror *mirror, Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (!IsMVCCSnapshot(snapshot) || snapshot->takenDuringRecovery)
		return false;
	if (snapshot->xmin > XidFromFullTransactionId(next))
		epoch--;
	return FullTransactionIdFollowsOrEquals(FullTransactionIdFromEpochAndXid(epoch, snapshot->xmin), mirror->horizon);
}

/* Codes the question; false where there is no order by it. */
static bool
ask(VdbMirrorSearch *search, const VdbSupport *support, Datum value)
{
	float		norm;
	float	   *vector;

	if (support->dims(value) != search->codec.dims)
		return false;			/* the operator says what there is to say */
	vector = vdb_index_transform(support, &search->codec, value, &norm);
	if (vector == NULL)
		return false;
	vdb_mirror_ask(&search->question, &search->codec, vector, norm, palloc(vdb_mirror_question_bytes(&search->codec)));
	return true;
}

VdbMirrorSearch *
vdb_mirror_begin(Relation index, Snapshot snapshot, Datum question)
{
	VdbMirrorShared *shared = vdb_mirror_shared;
	VdbMirrorSearch *search = NULL;
	VdbMirror  *mirror;

	if (shared == NULL || RecoveryInProgress())
		return NULL;
	LWLockAcquire(&shared->lock, LW_SHARED);
	mirror = vdb_mirror_lookup(index);
	if (mirror != NULL && mirror->state == VDB_MIRROR_READY && has_all(mirror, snapshot))
	{
		search = palloc0(sizeof(VdbMirrorSearch));
		search->generation = mirror->generation;
		search->kernels = vdb_kernels;
		vdb_mirror_get_codec(mirror, &search->codec);
		pg_atomic_write_u64(&mirror->used, pg_atomic_add_fetch_u64(&shared->uses, 1));
		pg_atomic_fetch_add_u64(&mirror->searches, 1);
	}
	LWLockRelease(&shared->lock);
	if (search != NULL && !ask(search, vdb_index_support(index), question))
		return NULL;
	return search;
}

/* One search looks at a block of rows.  products: with its question, or NULL. */
static void
look_at_block(VdbMirrorWanted *wanted, const VdbMirrorRows *rows, uint32 count, pg_atomic_uint64 *places,
			  const int32_t *products)
{
	uint32		numbers[VDB_MIRROR_BLOCK];
	double		lower[VDB_MIRROR_BLOCK];
	size_t		near = vdb_mirror_select(&wanted->search->question, rows, count, products, wanted->limit, numbers, lower);

	for (size_t i = 0; i < near; i++)
	{
		ItemPointerData tid;

		if (lower[i] <= wanted->limit && vdb_mirror_read_place(&places[numbers[i]], &tid))
			wanted->limit = wanted->take(&tid, lower[i], wanted->state);
	}
}

/* The same of all, a tile of them at a time. */
static void
show_block(const Pass *pass, const VdbMirrorRows *rows, uint32 count, pg_atomic_uint64 *places)
{
	const VdbCodec *codec = &pass->wanted[0].search->codec;

	for (int first = 0; first < pass->count; first += TILE)
	{
		int			tile = Min(pass->count - first, TILE);

		if (pass->many != NULL)
			vdb_mirror_products(codec, rows, count, tile, pass->many->levels + (Size) first * codec->P, pass->many->panel,
								pass->many->products);
		for (int i = 0; i < tile; i++)
			look_at_block(&pass->wanted[first + i], rows, count, places,
						  pass->many == NULL ? NULL : pass->many->products + (Size) i * count);
	}
}

static void
pass_over_chunk(const Pass *pass, uint32 chunk)
{
	VdbMirror  *mirror = pass->mirror;
	pg_atomic_uint64 *places = vdb_mirror_places(mirror, chunk);
	uint32		count = vdb_mirror_count_rows(mirror, chunk);

	for (uint32 first = 0; first < count; first += VDB_MIRROR_BLOCK)
	{
		VdbMirrorRows rows = vdb_mirror_rows(mirror, chunk, first);

		CHECK_FOR_INTERRUPTS();
		show_block(pass, &rows, Min(count - first, VDB_MIRROR_BLOCK), places + first);
	}
}

static void
pass_over_all(const Pass *pass)
{
	for (uint32 chunk = pass->mirror->first; chunk != VDB_NO_CHUNK; chunk = vdb_mirror_next_chunk(chunk))
		pass_over_chunk(pass, chunk);
}

/* Memory for products, in the current context. */
static Products *
prepare_products(const Pass *pass)
{
	const VdbCodec *codec = &pass->wanted[0].search->codec;
	Products   *many = palloc(sizeof(Products));

	many->levels = MemoryContextAllocHuge(CurrentMemoryContext, (Size) pass->count * codec->P);
	many->panel = palloc(vdb_mirror_panel_bytes(codec));
	many->products = palloc(TILE * VDB_MIRROR_BLOCK * sizeof(int32_t));
	for (int i = 0; i < pass->count; i++)
		vdb_query_levels(&pass->wanted[i].search->question.query, many->levels + (Size) i * codec->P);
	return many;
}

static void
free_products(Products *many)
{
	pfree(many->levels);
	pfree(many->panel);
	pfree(many->products);
	pfree(many);
}

/* --- by a device ------------------------------------------------------------------------------ */

static const VdbMirrorDevice *device;

void
vdb_mirror_hook_device(const VdbMirrorDevice *hooked)
{
	device = hooked;
}

/*
 * What a device found for one search: bounds of the first rows, of which no others are nearer; returns how many these are.
 * Others have a rough bound that is not below the last row's, so a row whose bound cannot have as high a rough bound was found.
 * Rows of which nothing is known come before all, and a rough bound says nothing of them: none where there is one.
 */
static uint32
bound_found(const Pass *pass, const VdbMirrorWanted *wanted, const VdbMirrorFound *rows, uint32 count, double *lower)
{
	const VdbMirrorQuestion *question = &wanted->search->question;
	uint32		near = 0;

	for (uint32 i = 0; i < count; i++)
	{
		VdbMirrorRows columns;
		uint32		number;

		lower[i] = INFINITY;
		if (rows[i].chunk >= vdb_mirror_shared->total || rows[i].row >= pass->mirror->room)
			return 0;			/* it is not in its right mind */
		columns = vdb_mirror_rows(pass->mirror, rows[i].chunk, rows[i].row);
		(void) vdb_mirror_select(question, &columns, 1, NULL, INFINITY, &number, &lower[i]);
		if (lower[i] == -INFINITY)
			return 0;
		if (vdb_mirror_rough_limit(question, lower[i]) < rows[count - 1].lower)
			near++;
		else
			lower[i] = INFINITY;
	}
	return near;
}

static void
hand_out_found(const Pass *pass, VdbMirrorWanted *wanted, const VdbMirrorFound *rows, uint32 count, const double *lower)
{
	for (uint32 i = 0; i < count; i++)
	{
		ItemPointerData tid;

		if (lower[i] < INFINITY &&
			vdb_mirror_read_place(&vdb_mirror_places(pass->mirror, rows[i].chunk)[rows[i].row], &tid))
			(void) wanted->take(&tid, lower[i], wanted->state);
	}
	wanted->cut = true;
}

/* The most rows that one of the searches would do with; 0 where one of them wants all. */
static uint32
count_few(const Pass *pass)
{
	uint32		few = 0;

	for (int i = 0; i < pass->count; i++)
	{
		const VdbMirrorWanted *wanted = &pass->wanted[i];

		if (wanted->few == 0 || wanted->few > device->most || wanted->limit < INFINITY)
			return 0;
		few = Max(few, wanted->few);
	}
	return few;
}

/* Asks the device; false where the pass is still to be done, and nothing was handed out. */
static bool
pass_by_device(const Pass *pass)
{
	uint32		few = device != NULL && device->serves() ? count_few(pass) : 0;
	Size		room = (Size) pass->count * few;
	const VdbMirrorQuestion **questions;
	VdbMirrorFound *rows;
	uint32	   *counts;
	double	   *lower;
	bool		found;

	if (few == 0)
		return false;
	questions = palloc(pass->count * sizeof(*questions));
	counts = palloc(pass->count * sizeof(uint32));
	rows = MemoryContextAllocHuge(CurrentMemoryContext, room * sizeof(VdbMirrorFound));
	lower = MemoryContextAllocHuge(CurrentMemoryContext, room * sizeof(double));
	for (int i = 0; i < pass->count; i++)
		questions[i] = &pass->wanted[i].search->question;
	found = device->search(pass->wanted[0].search->generation, pass->count, questions, few, rows, counts);
	for (int i = 0; i < pass->count && found; i++)
		found = counts[i] <= few &&
			bound_found(pass, &pass->wanted[i], rows + (Size) i * few, counts[i], lower + (Size) i * few) > 0;
	VDB_TESTPOINT("mirror-found");
	for (int i = 0; i < pass->count && found; i++)
		hand_out_found(pass, &pass->wanted[i], rows + (Size) i * few, counts[i], lower + (Size) i * few);
	pfree(questions);
	pfree(counts);
	pfree(rows);
	pfree(lower);
	return found;
}

/* Not a part of who catches errors, whose variables these would be. */
static pg_noinline void
pass_somehow(Pass *pass)
{
	if (!pass_by_device(pass))
	{
		if (pass->count >= FEWEST)
			pass->many = prepare_products(pass);
		pass_over_all(pass);
		if (pass->many != NULL)
			free_products(pass->many);
	}
	VDB_TESTPOINT("mirror-passed");
}

bool
vdb_mirror_pass(VdbMirrorWanted *wanted, int count)
{
	Pass		pass = {.wanted = wanted, .count = count};

	/* bounds of two levels of kernels are not the same */
	for (int i = 0; i < count; i++)
	{
		if (wanted[i].search->kernels != vdb_kernels || wanted[i].search->generation != wanted[0].search->generation)
			return false;
	}
	pass.mirror = vdb_mirror_pin(wanted[0].search->generation);
	if (pass.mirror != NULL)
	{
		PG_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(pass.mirror));
		{
			pass_somehow(&pass);
		}
		PG_END_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(pass.mirror));
		vdb_mirror_unpin(pass.mirror);
	}
	return pass.mirror != NULL;
}
