/*
 * ivf_load.c
 *	  Many rows on their way into lists.
 *
 * Each row gets its codes as soon as its list is known: what is sorted are codes.  They
 * are sorted by list, in files where memory does not suffice, and written list by list.
 * Where rows are in two lists, a row gets its codes twice.
 */
#include "postgres.h"

#include <math.h>

#include "access/tupdesc.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "ivf/ivf_private.h"
#include "pace.h"

struct IvfLoader
{
	IvfIndex   *index;
	IvfLoad		how;
	const float *centroids;		/* (count + others) * P */
	const float *turned_centroids;	/* the same as scan codes have them: count * P */
	const uint32 *lists;		/* numbers of those that take rows */
	bool		written;		/* rows go to their lists one by one */
	IvfCoder	coder;
	VdbCodec	l2;
	VdbClusters clusters;
	IvfSpill	spill;

	/* rows that wait to be assigned */
	uint32		waiting;
	IvfRow		rows[VDB_CLUSTER_BLOCK];
	float	   *vectors;		/* VDB_CLUSTER_BLOCK * P */
	float	   *turned;			/* the same, where scan codes have others */
	VdbNodeFactors *factors;
	uint8	   *codes;
	uint8	   *payloads;

	Tuplesortstate *sort;
	TupleTableSlot *unsorted;	/* list, and bytes: factors, payload, scan code, record */
	TupleTableSlot *sorted;
};

/* Has the panel of k-means hold the lists' centroids. */
static void
init_clusters(IvfLoader *loader, uint32 count)
{
	const VdbCodec *l2 = &loader->l2;
	Size		stride = l2->hi_bytes + l2->lo_bytes;
	uint8	   *code = palloc(stride);
	char	   *memory = MemoryContextAllocHuge(CurrentMemoryContext, vdb_cluster_bytes(l2, count) + 64);

	vdb_cluster_init(&loader->clusters, l2, count, (char *) TYPEALIGN(64, memory));
	for (uint32 i = 0; i < count; i++)
	{
		VdbNodeFactors f = vdb_encode_node(l2, loader->centroids + (Size) i * l2->P, 0, code,
										   code + l2->hi_bytes);

		vdb_cluster_seed(&loader->clusters, i, f, code, code + l2->hi_bytes);
	}
	if (loader->how.others == 0)
		vdb_ivf_use_finder(&loader->clusters, loader->index->spill ? IVF_SPILL_LISTS : 1);
	vdb_cluster_next(&loader->clusters);
	loader->vectors = palloc((Size) VDB_CLUSTER_BLOCK * l2->vector_bytes);
	loader->factors = palloc(VDB_CLUSTER_BLOCK * sizeof(VdbNodeFactors));
	loader->codes = palloc(VDB_CLUSTER_BLOCK * stride);
	loader->payloads = palloc(VDB_CLUSTER_BLOCK * vdb_ivf_shelf(loader->index, IVF_ROWS)->payload_bytes);
	pfree(code);
}

/* Brings the centroids of lists that take rows to where scan codes are made. */
static void
turn_centroids(IvfLoader *loader)
{
	IvfIndex   *index = loader->index;
	Size		P = loader->l2.P;
	uint32		count = loader->how.count;
	float	   *out;

	loader->turned_centroids = loader->centroids;
	if (index->rotation == NULL)
		return;
	loader->turned = palloc(VDB_CLUSTER_BLOCK * loader->l2.vector_bytes);
	out = palloc_extended(count * loader->l2.vector_bytes, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < count; i += VDB_CLUSTER_BLOCK)
	{
		vdb_pace();
		vdb_ivf_turn(index, Min(VDB_CLUSTER_BLOCK, count - i), loader->centroids + i * P, out + i * P);
	}
	loader->turned_centroids = out;
}

/*
 * Kilobytes that the sort of one of so many processes may take: what the centroids leave, and
 * a part in any case.
 */
static int
sort_memory(const IvfLoader *loader, int processes)
{
	uint32		count = loader->clusters.count;
	Size		vectors = loader->turned_centroids == loader->centroids ? count : 2 * count;
	Size		taken = vdb_cluster_bytes(&loader->l2, count) + vectors * loader->l2.vector_bytes;
	double		memory = vdb_index_maintenance_memory() / 1024.0 / processes;

	return (int) Max(memory - (double) taken / 1024, memory / 4.0);
}

static void
begin_sort(IvfLoader *loader, SortCoordinate coordinate, int processes)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	AttrNumber	column = 1;
	Oid			operator = Int4LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(desc, 1, "list", INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, "row", BYTEAOID, -1, 0);
	loader->sort = tuplesort_begin_heap(desc, 1, &column, &operator, &collation, &nulls_first,
										sort_memory(loader, processes), coordinate, false);
	loader->unsorted = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	loader->sorted = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
}

IvfLoader *
vdb_ivf_loader_begin(IvfIndex *index, const float *centroids, const uint32 *lists, const IvfLoad *load)
{
	IvfLoader  *loader = palloc0(sizeof(IvfLoader));
	const IvfSharedSort *shared = load->shared;

	loader->index = index;
	loader->centroids = centroids;
	loader->lists = lists;
	loader->how = *load;
	vdb_codec_init(&loader->l2, VDB_METRIC_L2, index->codec.dims, index->codec.seed,
				   index->codec.center);
	vdb_ivf_coder_init(&loader->coder, index);
	init_clusters(loader, load->count + load->others);
	turn_centroids(loader);
	if (index->spill)
		vdb_ivf_spill_init(&loader->spill, index);
	if (shared != NULL)
	{
		SortCoordinate part = palloc0(sizeof(SortCoordinateData));

		part->isWorker = true;
		part->nParticipants = -1;
		part->sharedsort = shared->sort;
		begin_sort(loader, part, shared->processes);
	}
	else
		begin_sort(loader, NULL, 1);
	return loader;
}

/* Bytes of a row in the sort. */
static Size
sorted_bytes(const IvfIndex *index)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);

	return VARHDRSZ + sizeof(VdbScanFactors) + shelf->payload_bytes + shelf->code_bytes + shelf->record_stride;
}

/* Gives a row with its codes to the sort. */
static void
sort_row(IvfLoader *loader, uint32 list, const IvfLane *lane)
{
	const IvfShelf *shelf = vdb_ivf_shelf(loader->index, IVF_ROWS);
	Size		bytes = sorted_bytes(loader->index);
	struct varlena *value = palloc(bytes);
	char	   *at = VARDATA(value);

	SET_VARSIZE(value, bytes);
	memcpy(at, &lane->factors, sizeof(VdbScanFactors));
	at += sizeof(VdbScanFactors);
	memcpy(at, lane->payload, shelf->payload_bytes);
	at += shelf->payload_bytes;
	memcpy(at, lane->code, shelf->code_bytes);
	if (lane->record != NULL)
		memcpy(at + shelf->code_bytes, lane->record, shelf->record_stride);
	ExecClearTuple(loader->unsorted);
	loader->unsorted->tts_values[0] = Int32GetDatum((int32) list);
	loader->unsorted->tts_values[1] = PointerGetDatum(value);
	memset(loader->unsorted->tts_isnull, 0, 2 * sizeof(bool));
	ExecStoreVirtualTuple(loader->unsorted);
	tuplesort_puttupleslot(loader->sort, loader->unsorted);
	pfree(value);
}

/* Codes a row that waits relative to a list's centroid, and has it put there. */
static void
put_row(IvfLoader *loader, uint32 row, uint32 list)
{
	Size		at = (Size) list * loader->l2.P;
	IvfLane		lane = vdb_ivf_code_row(&loader->coder, &loader->rows[row], loader->centroids + at,
										loader->turned_centroids + at);

	if (loader->written)
		vdb_ivf_put_in_list(loader->index, loader->lists[list], &lane);
	else
		sort_row(loader, list, &lane);
}

/* The list for a row's first lane: of those that take rows.  nearest: of all. */
static uint32
first_list(const IvfLoader *loader, uint32 row, uint32 nearest)
{
	if (nearest >= loader->how.count)
		(void) vdb_cluster_nearest(&loader->clusters, row, loader->how.count, 1, &nearest);
	return nearest;
}

/* The list for a row's second lane; that of the first if there is no other. */
static uint32
second_list(IvfLoader *loader, uint32 row, uint32 nearest)
{
	uint32		P = loader->l2.P;
	uint32		lists[IVF_SPILL_LISTS];
	uint32		count = vdb_cluster_nearest(&loader->clusters, row, loader->how.count, IVF_SPILL_LISTS, lists);
	uint32		best = lists[0];
	float		least = INFINITY;

	vdb_ivf_spill_begin(&loader->spill, loader->rows[row].vector, loader->centroids + (Size) nearest * P);
	for (uint32 i = 0; i < count; i++)
	{
		float		loss;

		if (lists[i] == nearest)
			continue;
		loss = vdb_ivf_spill_loss(&loader->spill, loader->centroids + (Size) lists[i] * P);
		if (loss < least)
		{
			least = loss;
			best = lists[i];
		}
	}
	return best;
}

/* Puts a row into its two lists, or one lane of it where it belongs. */
static void
put_lanes(IvfLoader *loader, uint32 row, uint32 nearest)
{
	IvfIndex   *index = loader->index;
	uint8	   *payload = loader->payloads + row * vdb_ivf_shelf(index, IVF_ROWS)->payload_bytes;
	bool		second = vdb_ivf_is_second(index, payload);

	if (!second)
		put_row(loader, row, first_list(loader, row, nearest));
	if (second || (!loader->how.by_lane && loader->how.count > 1))
	{
		vdb_ivf_set_which(index, payload, IVF_SECOND_LANE);
		put_row(loader, row, second_list(loader, row, nearest));
	}
}

/* Assigns the rows that wait, and codes them. */
static void
assign_rows(IvfLoader *loader)
{
	const VdbCodec *l2 = &loader->l2;
	uint32		nearest[VDB_CLUSTER_BLOCK] = {0};
	const float *turned;

	if (loader->waiting == 0)
		return;
	turned = vdb_ivf_turn(loader->index, loader->waiting, loader->vectors, loader->turned);
	vdb_cluster_assign(&loader->clusters, loader->waiting, loader->factors, loader->codes,
					   l2->hi_bytes + l2->lo_bytes, nearest);
	for (uint32 i = 0; i < loader->waiting; i++)
	{
		loader->rows[i].turned = turned + (Size) i * l2->P;
		if (loader->index->spill)
			put_lanes(loader, i, nearest[i]);
		else
			put_row(loader, i, nearest[i]);
	}
	loader->waiting = 0;
}

void
vdb_ivf_load_row(IvfLoader *loader, const IvfRow *row)
{
	const VdbCodec *l2 = &loader->l2;
	Size		payload_bytes = vdb_ivf_shelf(loader->index, IVF_ROWS)->payload_bytes;
	uint32		i = loader->waiting;
	float	   *vector = loader->vectors + (Size) i * l2->P;
	uint8	   *payload = loader->payloads + i * payload_bytes;
	uint8	   *code = loader->codes + i * (l2->hi_bytes + l2->lo_bytes);

	memcpy(vector, row->vector, l2->vector_bytes);
	memcpy(payload, row->payload, payload_bytes);
	loader->rows[i] = *row;
	loader->rows[i].vector = vector;
	loader->rows[i].payload = payload;
	loader->factors[i] = vdb_encode_node(l2, vector, row->norm, code, code + l2->hi_bytes);
	if (++loader->waiting == VDB_CLUSTER_BLOCK)
		assign_rows(loader);
}

static void
end_sort(IvfLoader *loader)
{
	tuplesort_end(loader->sort);
	ExecDropSingleTupleTableSlot(loader->unsorted);
	ExecDropSingleTupleTableSlot(loader->sorted);
}

void
vdb_ivf_loader_share(IvfLoader *loader)
{
	assign_rows(loader);
	tuplesort_performsort(loader->sort);
	end_sort(loader);
}

void
vdb_ivf_loader_merge(IvfLoader *loader, const IvfSharedSort *shared)
{
	SortCoordinate all = palloc0(sizeof(SortCoordinateData));

	all->isWorker = false;
	all->nParticipants = shared->processes;
	all->sharedsort = shared->sort;
	begin_sort(loader, all, 1);
}

/* A row as it was given to the sort; its record is the coder's. */
static IvfLane
sorted_lane(IvfLoader *loader, const char *at)
{
	const IvfShelf *shelf = vdb_ivf_shelf(loader->index, IVF_ROWS);
	IvfLane		lane = {0};

	memcpy(&lane.factors, at, sizeof(VdbScanFactors));
	at += sizeof(VdbScanFactors);
	lane.payload = (const uint8 *) at;
	lane.code = (const uint8 *) at + shelf->payload_bytes;
	if (shelf->record_bits > 0)
	{
		memcpy(loader->coder.record, at + shelf->payload_bytes + shelf->code_bytes, shelf->record_stride);
		lane.record = loader->coder.record;
	}
	return lane;
}

uint64
vdb_ivf_loader_write(IvfLoader *loader)
{
	bool		building = loader->how.building;
	uint32		list = 0;
	uint32		lanes = 0;		/* of this list */
	uint64		written = 0;	/* of all */
	uint64		rows = 0;
	IvfWriter	writer;

	assign_rows(loader);
	tuplesort_performsort(loader->sort);
	vdb_ivf_writer_init(&writer, loader->index, IVF_ROWS, building);
	vdb_ivf_writer_begin(&writer, loader->lists[0]);
	while (tuplesort_gettupleslot(loader->sort, true, false, loader->sorted, NULL))
	{
		bool		isnull;
		uint32		next = (uint32) DatumGetInt32(slot_getattr(loader->sorted, 1, &isnull));
		IvfLane		lane = sorted_lane(loader, VARDATA_ANY(DatumGetByteaPP(slot_getattr(loader->sorted, 2, &isnull))));

		vdb_pace();
		if (next != list)
		{
			vdb_ivf_writer_end_list(&writer, lanes);
			list = next;
			lanes = 0;
			vdb_ivf_writer_begin(&writer, loader->lists[list]);
		}
		vdb_ivf_write_lane(&writer, &lane);
		lanes++;
		rows += !vdb_ivf_is_second(loader->index, lane.payload);
		if (++written % 1024 == 0 && building)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) rows);
	}
	vdb_ivf_writer_end_list(&writer, lanes);
	vdb_ivf_writer_end(&writer);
	if (building)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) rows);
	end_sort(loader);
	loader->written = true;
	return rows;
}

void
vdb_ivf_loader_alone(IvfLoader *loader)
{
	loader->clusters.finder = NULL;
}

void
vdb_ivf_loader_end(IvfLoader *loader)
{
	assign_rows(loader);
}
