/*
 * gpu_check.c
 *	  vdb.check_gpu(): does the device find what the processor finds?
 *
 * Others may change the mirror meanwhile.  What is compared is the rows of chunks that were the same before and after both searches.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "gpu/gpu_private.h"
#include "index/index.h"

/* A row, by the number of its chunk in the mirror's order. */
typedef struct Place
{
	float		lower;
	uint32		number;
	uint32		row;
} Place;

typedef struct Check
{
	VdbMirror  *mirror;
	uint64		generation;
	uint32		nq;
	uint32		m;
	VdbCodec	codec;
	uint32		chunk_count;	/* before */
	uint32	   *chunks;
	uint64	   *before;			/* versions */
	uint64	   *after;
	const VdbMirrorQuestion **questions;

	VdbMirrorFound *found;
	uint32	   *counts;

	/* what comes out */
	bool		served;
	int64		rows;			/* that were compared */
	int64		differences;
	double		device_ms;
	double		processor_ms;
} Check;

static int
compare_places(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;

	if (x->lower != y->lower)
		return x->lower < y->lower ? -1 : 1;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static void
list_chunks(Check *check)
{
	uint32		count = vdb_mirror_read_versions(check->mirror, NULL, 0);
	uint32		chunk = vdb_mirror_first_chunk(check->mirror);

	check->chunks = palloc(count * sizeof(uint32));
	check->before = palloc(count * sizeof(uint64));
	check->after = palloc(count * sizeof(uint64));
	(void) vdb_mirror_read_versions(check->mirror, check->before, count);
	for (check->chunk_count = 0; check->chunk_count < count; chunk = vdb_mirror_next_chunk(chunk))
		check->chunks[check->chunk_count++] = chunk;
}

/* A question near some row of the mirror, if there is one where it looks. */
static VdbMirrorQuestion *
make_question(const Check *check)
{
	uint32		P = check->codec.P;
	uint32		room = vdb_mirror_chunk_rows(check->mirror);
	uint32		chunk = check->chunks[pg_prng_uint64_range(&pg_global_prng_state, 0, check->chunk_count - 1)];
	uint32		row = (uint32) pg_prng_uint64_range(&pg_global_prng_state, 0, room - 1);
	VdbMirrorRows rows = vdb_mirror_read_chunk(check->mirror, chunk, palloc(room * sizeof(float)));
	VdbHotFactors factors = {.add = rows.add[row], .rescale = rows.rescale[row]};
	VdbMirrorQuestion *question = palloc(sizeof(VdbMirrorQuestion));
	float	   *vector = palloc(P * sizeof(float));
	double		norm2 = 0;
	double		noise;

	if (isfinite(factors.add) && isfinite(factors.rescale))
		vdb_decode_hot(&check->codec, factors, rows.codes + (Size) row * P, vector);
	else
		memset(vector, 0, P * sizeof(float));
	noise = sqrt(vdb_kernels->inner_product(P, vector, vector) / P) * .1 + 1e-3;
	for (uint32 i = 0; i < P; i++)
	{
		double		value;

		vector[i] += (float) (noise * (pg_prng_double(&pg_global_prng_state) - .5));
		value = (double) vector[i] + check->codec.center[i];
		norm2 += value * value;
	}
	vdb_mirror_ask(question, &check->codec, vector, (float) sqrt(norm2), palloc(vdb_mirror_question_bytes(&check->codec)));
	return question;
}

/* All rows of a chunk, but those that come after all others. */
static uint32
bound_chunk(const Check *check, const VdbMirrorQuestion *question, uint32 number, Place *places)
{
	uint32		room = vdb_mirror_chunk_rows(check->mirror);
	float	   *add = palloc(room * sizeof(float));
	VdbMirrorRows all = vdb_mirror_read_chunk(check->mirror, check->chunks[number], add);
	uint32		count = 0;

	for (uint32 first = 0; first < room; first += VDB_MIRROR_BLOCK)
	{
		uint32		n = Min(room - first, VDB_MIRROR_BLOCK);
		float		bounds[VDB_MIRROR_BLOCK];
		VdbMirrorRows rows = {
			.add = all.add + first, .rescale = all.rescale + first, .residual = all.residual + first,
			.length = all.length + first, .codes = all.codes + (Size) first * check->codec.hot_bytes
		};

		vdb_mirror_bound_roughly(question, &rows, n, NULL, bounds);
		for (uint32 i = 0; i < n; i++)
		{
			if (rows.add[i] < INFINITY)
				places[count++] = (Place) {bounds[i], number, first + i};
		}
	}
	pfree(add);
	return count;
}

static bool
is_stable(const Check *check, uint32 number)
{
	return number < check->chunk_count && check->before[number] == check->after[number];
}

/* The number of a chunk, or chunk_count where it is a new one. */
static uint32
number_of(const Check *check, uint32 chunk)
{
	uint32		number = 0;

	while (number < check->chunk_count && check->chunks[number] != chunk)
		number++;
	return number;
}

/*
 * Compares what was found for a question with all rows, which are put in order.  Where found rows are fewer than were asked for,
 * nothing may be missing; else nothing before the last of them.
 */
static void
compare(Check *check, uint32 q, Place *all, uint32 count)
{
	const VdbMirrorFound *found = check->found + (Size) q * check->m;
	uint32		stable = 0;
	uint32		next = 0;
	Place		last = {-INFINITY, 0, 0};

	for (uint32 i = 0; i < count; i++)
	{
		if (is_stable(check, all[i].number))
			all[stable++] = all[i];
	}
	qsort(all, stable, sizeof(Place), compare_places);
	for (uint32 i = 0; i < check->counts[q]; i++)
	{
		Place		place = {found[i].lower, number_of(check, found[i].chunk), found[i].row};

		if (i > 0 && compare_places(&last, &place) >= 0)
			check->differences++;
		last = place;
		if (!is_stable(check, place.number))
			continue;
		check->rows++;
		if (next == stable || compare_places(&all[next], &place) != 0)
			check->differences++;
		else
			next++;
	}
	if (next < stable && (check->counts[q] < check->m || compare_places(&all[next], &last) < 0))
		check->differences++;
}

static double
ms_since(VdbMoment begun)
{
	return (double) (vdb_clock_read() - begun) / 1000;
}

static void
run_check(Check *check)
{
	Size		room = vdb_mirror_chunk_rows(check->mirror);
	VdbMoment	begun;
	Place	  **all = palloc(check->nq * sizeof(Place *));
	uint32	   *counts = palloc0(check->nq * sizeof(uint32));

	vdb_mirror_get_codec(check->mirror, &check->codec);
	list_chunks(check);
	check->questions = palloc(check->nq * sizeof(VdbMirrorQuestion *));
	for (uint32 q = 0; q < check->nq; q++)
		check->questions[q] = make_question(check);
	check->found = palloc_extended((Size) check->nq * check->m * sizeof(VdbMirrorFound), MCXT_ALLOC_HUGE);
	check->counts = palloc(check->nq * sizeof(uint32));
	begun = vdb_clock_read();
	check->served = vdb_gpu_search(check->generation, check->nq, check->questions, check->m, check->found, check->counts);
	check->device_ms = ms_since(begun);
	if (!check->served)
		return;
	begun = vdb_clock_read();
	for (uint32 q = 0; q < check->nq; q++)
	{
		all[q] = palloc_extended(check->chunk_count * room * sizeof(Place), MCXT_ALLOC_HUGE);
		for (uint32 number = 0; number < check->chunk_count; number++)
		{
			CHECK_FOR_INTERRUPTS();
			counts[q] += bound_chunk(check, check->questions[q], number, all[q] + counts[q]);
		}
	}
	check->processor_ms = ms_since(begun);
	(void) vdb_mirror_read_versions(check->mirror, check->after, check->chunk_count);
	for (uint32 q = 0; q < check->nq; q++)
		compare(check, q, all[q], counts[q]);
}

static void
pin_mirror(Check *check, Oid indexoid)
{
	Relation	heap;
	Relation	index = vdb_index_open_named(NULL, indexoid, AccessShareLock, &heap);

	if (!vdb_may_maintain(indexoid, RelationGetRelid(heap), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	check->generation = vdb_mirror_generation(index);
	if (check->generation != 0)
		check->mirror = vdb_mirror_pin(check->generation);
	if (check->mirror == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" has no mirror", RelationGetRelationName(index)),
				 errhint("Call vdb.load_mirror() first.")));
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
}

/* vdb.check_gpu(index regclass, questions int, m int, OUT served, OUT rows, OUT differences, OUT device_ms, OUT processor_ms) */
PG_FUNCTION_INFO_V1(vdb_gpu_check);
Datum
vdb_gpu_check(PG_FUNCTION_ARGS)
{
	Check		check = {.nq = (uint32) PG_GETARG_INT32(1), .m = (uint32) PG_GETARG_INT32(2)};
	TupleDesc	desc;
	Datum		values[5];
	bool		isnull[5] = {0};

	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("questions must be between 1 and 1000")));
	if (PG_GETARG_INT32(2) < 1 || PG_GETARG_INT32(2) > VDB_GPU_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("m must be between 1 and %d", VDB_GPU_ROWS)));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pin_mirror(&check, PG_GETARG_OID(0));
	PG_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(check.mirror));
	{
		run_check(&check);
	}
	PG_END_ENSURE_ERROR_CLEANUP(vdb_mirror_unpin_datum, PointerGetDatum(check.mirror));
	vdb_mirror_unpin(check.mirror);
	values[0] = BoolGetDatum(check.served);
	values[1] = Int64GetDatum(check.rows);
	values[2] = Int64GetDatum(check.differences);
	values[3] = Float8GetDatum(check.device_ms);
	values[4] = Float8GetDatum(check.processor_ms);
	isnull[1] = isnull[2] = isnull[3] = isnull[4] = !check.served;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
