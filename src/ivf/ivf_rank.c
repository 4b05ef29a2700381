/*
 * ivf_rank.c
 *	  Which lists are nearest to a query.
 *
 * The lists are a list themselves: their centroids have scan codes, which are all looked
 * at, and records, by which the nearest are put in their order.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

#include "ivf/ivf_private.h"

#define SELECT_NAME select_probes
#define SELECT_TYPE IvfProbe
#define SELECT_LESS(a, b) ((a)->score < (b)->score)
#include "quant/select.h"

#define PREFETCH_AHEAD 4

/* Lists that are looked at more closely, for each that is taken, and beyond. */
#define CLOSER_FACTOR 2
#define CLOSER_MORE 8

/*
 * Prepares what lists are estimated by: the table of rows, where that is of a grid, as
 * codes of lists are.  The factors of lists are those of L2: |c|^2 - 2 <q, c>.  Under inner
 * product the query is q + center, by which <q + center, c> ranks; the first term does
 * not count, and the second half.
 */
static IvfListTable
make_table(const IvfRanking *ranking)
{
	static const float nothing[IVF_LANES] = {0};
	IvfIndex   *index = ranking->index;
	uint32		P = index->codec.P;
	VdbQuery	query = {.codec = &index->nearest, .vector = ranking->query.vector};
	IvfListTable	table = {.entries = ranking->table, .scale = ranking->scale};

	if (!ranking->by_product)
	{
		/* so that those looked at more closely compare with others */
		float		norm2 = vdb_kernels->inner_product(P, query.vector, query.vector);

		table.base = isfinite(norm2) ? norm2 : 0;
		if (index->scan.kind == VDB_SCAN_GRID)
			return table;
	}
	else
	{
		float	   *moved = palloc(index->codec.vector_bytes);

		for (uint32 i = 0; i < P; i++)
			moved[i] = ((float *) ranking->query.vector)[i] + index->codec.center[i];
		query.vector = moved;
		table.add = nothing;
	}
	table.entries = palloc(2 * 16 * index->list_scan.bytes);
	table.scale = vdb_scan_table(&index->list_scan, &query, table.entries);
	if (ranking->by_product)
	{
		table.scale.unit /= 2;
		table.scale.low /= 2;
	}
	return table;
}

/* Estimates the lists of a group, whose page is locked. */
static void
estimate_group(IvfRanking *ranking, uint32 number, IvfGroup *group)
{
	const IvfListTable *table = &ranking->list_table;
	IvfIndex   *index = ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	float		scores[IVF_LANES];
	uint32		lanes;

	vdb_kernels->scan_below(shelf->code_bytes, table->entries, vdb_ivf_group_codes(group),
							table->add != NULL ? table->add : vdb_ivf_group_add(group),
							vdb_ivf_group_scale(group), table->scale, scores);
	for (lanes = group->used; lanes != 0; lanes &= lanes - 1)
	{
		int			lane = __builtin_ctz(lanes);
		IvfList		list;
		IvfProbe   *probe;

		memcpy(&list, vdb_ivf_group_payload(shelf, group, lane), sizeof(list));
		if (!vdb_ivf_in_force(&list, ranking->epoch))
			continue;
		if (ranking->count == ranking->lists)
			vdb_page_corrupted(index->rel, IVF_META_BLOCK, "There are more lists than it says.");
		probe = &ranking->probes[ranking->count++];
		probe->score = scores[lane] + table->base;
		probe->list = vdb_ivf_lane_number(number, lane);
		probe->head = list.head;
	}
}

/* Estimates all lists that are in force. */
static void
estimate_lists(IvfRanking *ranking)
{
	IvfIndex   *index = ranking->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_LISTS);
	uint32		number = index->root;
	uint64		groups = 0;

	while (number != IVF_NO_GROUP)
	{
		IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
		BlockNumber block = a.block;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_ivf_group_exists(index, IVF_LISTS, number))
			vdb_page_corrupted(index->rel, IVF_META_BLOCK, "The lists lead beyond the index.");
		if (!vdb_ivf_may_have(index, IVF_LISTS, ++groups))
			vdb_page_corrupted(index->rel, block, "More groups are led to than there are.");
		buffer = vdb_ivf_read_scan_page(index, IVF_LISTS, a, BUFFER_LOCK_SHARE);
		for (uint32 i = 0; i < shelf->page_groups && number != IVF_NO_GROUP && a.block == block; i++)
		{
			IvfGroup   *group = vdb_ivf_load_group(index, buffer, a, IVF_ROOT);

			estimate_group(ranking, number, group);
			number = group->next;
			if (number != IVF_NO_GROUP)
				a = vdb_ivf_group_address(&index->geometry, shelf, number);
		}
		UnlockReleaseBuffer(buffer);
	}
}

void
vdb_ivf_rank_again(IvfRanking *ranking)
{
	IvfIndex   *index = ranking->index;

	if (ranking->probes != NULL)
	{
		pfree(ranking->probes);
		vdb_ivf_refresh(index);
	}
	ranking->epoch = index->epoch;
	ranking->lists = index->lists;
	ranking->probes = palloc_extended(Max(ranking->lists, 1) * sizeof(IvfProbe), MCXT_ALLOC_HUGE);
	ranking->count = 0;
	estimate_lists(ranking);
}

/* Prepares what rows are estimated by; who looks for a row's own list estimates lists alone. */
static void
make_rows_table(IvfRanking *ranking)
{
	IvfIndex   *index = ranking->index;
	VdbQuery	query = ranking->query;

	if (ranking->by_distance && index->scan.kind != VDB_SCAN_GRID)
		return;
	query.vector = (void *) vdb_ivf_turn(index, 1, query.vector, palloc(index->codec.vector_bytes));
	ranking->table = palloc(2 * 16 * index->scan.bytes);
	ranking->scale = vdb_scan_table(&index->scan, &query, ranking->table);
}

void
vdb_ivf_rank(IvfRanking *ranking, IvfIndex *index, void *vector, float norm, bool by_distance)
{
	ranking->index = index;
	ranking->table = NULL;
	ranking->by_distance = by_distance;
	ranking->by_product = !by_distance && index->codec.metric == VDB_METRIC_IP;
	ranking->query.vector = vector;
	ranking->query.hot = palloc(vdb_query_bytes(&index->codec, vector));
	vdb_query_prepare(&ranking->query, &index->codec, norm);
	make_rows_table(ranking);
	ranking->centroid = palloc(index->codec.vector_bytes);
	ranking->list_table = make_table(ranking);
	ranking->probes = NULL;
	do
		vdb_ivf_rank_again(ranking);
	while (vdb_ivf_is_stale(index, ranking->epoch));
}

/* Estimates a list anew, by its record. */
static void
look_closer(IvfRanking *ranking, IvfProbe *probe)
{
	IvfIndex   *index = ranking->index;
	const IvfRecord *record;
	Buffer		buffer = vdb_ivf_lock_record(index, IVF_LISTS, probe->list, &record);
	double		product = vdb_query_product(&ranking->query, record->scale,
											vdb_ivf_record_code((IvfRecord *) record));

	probe->score = (float) (ranking->list_table.base + (double) record->add - product);
	UnlockReleaseBuffer(buffer);
	if (isnan(probe->score))
		probe->score = FLT_MAX;
}

/* Looks at a list's centroid itself. */
static void
look_at_centroid(IvfRanking *ranking, IvfProbe *probe)
{
	IvfIndex   *index = ranking->index;
	const IvfRecord *record;
	Buffer		buffer = vdb_ivf_lock_record(index, IVF_LISTS, probe->list, &record);
	float		product;

	vdb_ivf_decode_centroid(index, record, ranking->centroid);
	probe->size = vdb_bfloat_load(record->length);
	UnlockReleaseBuffer(buffer);

	/* the base is what all scores of its rows have in common */
	product = vdb_kernels->inner_product(index->codec.P, ranking->query.vector, ranking->centroid);
	probe->base = index->codec.base + ranking->query.add - vdb_codec_ip_weight(&index->codec) * product;
	if (ranking->by_distance)
		probe->score = vdb_kernels->l2_squared(index->codec.P, ranking->query.vector, ranking->centroid);
	if (isnan(probe->score))
		probe->score = FLT_MAX;
}

static int
compare_probes(const void *a, const void *b)
{
	float		x = ((const IvfProbe *) a)->score;
	float		y = ((const IvfProbe *) b)->score;

	return x < y ? -1 : x > y;
}

uint32
vdb_ivf_take_probes(IvfRanking *ranking, IvfProbe *probes, uint32 count)
{
	IvfProbe   *closer = ranking->probes;
	uint32		most = Min(ranking->count, CLOSER_FACTOR * count + CLOSER_MORE);
	uint32		moved;

	count = Min(count, ranking->count);
	select_probes(closer, ranking->count, most);
	if (most > 0 && !vdb_ivf_record_is_resident(ranking->index, IVF_LISTS, closer[0].list))
	{
		for (uint32 i = 0; i < most; i++)
			vdb_ivf_request_record(ranking->index, IVF_LISTS, closer[i].list);
	}
	for (uint32 i = 0; i < most; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i + PREFETCH_AHEAD < most)
			vdb_ivf_prefetch_record(ranking->index, IVF_LISTS, closer[i + PREFETCH_AHEAD].list);
		/* a row's list is that which a build would choose: by all that is known */
		if (ranking->by_distance)
			look_at_centroid(ranking, &closer[i]);
		else
			look_closer(ranking, &closer[i]);
	}
	qsort(closer, most, sizeof(IvfProbe), compare_probes);
	for (uint32 i = 0; i < count && !ranking->by_distance; i++)
		look_at_centroid(ranking, &closer[i]);
	memcpy(probes, closer, count * sizeof(IvfProbe));

	/* others take their places */
	moved = Min(count, ranking->count - count);
	memmove(closer, closer + ranking->count - moved, moved * sizeof(IvfProbe));
	ranking->count -= count;
	return count;
}
