/*
 * stats_show.c
 *	  Statistics as users see them: the functions under the views, and what forgets them.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/index.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "stats/stats_private.h"

/* What a value is shown as. */
typedef enum ValueKind
{
	KIND_COUNT,
	KIND_SHARE,					/* null before it was measured, as is what follows */
	KIND_NUMBER,
	KIND_MILLISECONDS,
	KIND_TIME
} ValueKind;

/* In the order of VdbStat; what is not here is a count. */
static const ValueKind kinds[VDB_STAT_COUNT] = {
	[VDB_STAT_LAST_VACUUM] = KIND_TIME,
	[VDB_STAT_RECALL] = KIND_SHARE,
	[VDB_STAT_RECALL_K] = KIND_NUMBER,
	[VDB_STAT_LAST_RECALL] = KIND_TIME,
	[VDB_STAT_LAST_CALIBRATION] = KIND_TIME,
	[VDB_STAT_BUILD_TIME] = KIND_MILLISECONDS,
	[VDB_STAT_LAST_BUILD] = KIND_TIME,
	[VDB_STAT_SINCE] = KIND_TIME
};

bool
vdb_stats_may_see(Oid index)
{
	Oid			heap = IndexGetRelation(index, true);
	bool		missing = false;

	return OidIsValid(heap) &&
		(has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		 pg_class_aclcheck_ext(heap, GetUserId(), ACL_SELECT, &missing) == ACLCHECK_OK);
}

/* What is known of an index that the user may know of; false: nothing. */
static bool
find_stats(Oid index, VdbStats *stats)
{
	return vdb_stats_are_kept() && vdb_stats_may_see(index) && vdb_stats_read(index, stats);
}

static Datum
form_value(VdbStat what, uint64 value, bool *isnull)
{
	double		share;

	/* a share of 0 was measured if there is something else to say of it */
	*isnull = kinds[what] != KIND_COUNT && kinds[what] != KIND_SHARE && value == 0;
	switch (kinds[what])
	{
		case KIND_SHARE:
			memcpy(&share, &value, sizeof(share));
			return Float8GetDatum(share);
		case KIND_NUMBER:
			return Int32GetDatum((int32) value);
		case KIND_MILLISECONDS:
			return Float8GetDatum(value / 1e6);
		case KIND_TIME:
			return TimestampTzGetDatum((TimestampTz) value);
		default:
			return Int64GetDatum((int64) value);
	}
}

/* vdb.stat_index(index oid): one row, or none */
PG_FUNCTION_INFO_V1(vdb_stats_index);
Datum
vdb_stats_index(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbStats	stats;
	Datum		values[VDB_STAT_COUNT];
	bool		isnull[VDB_STAT_COUNT];

	InitMaterializedSRF(fcinfo, 0);
	if (!find_stats(PG_GETARG_OID(0), &stats))
		return (Datum) 0;
	for (int i = 0; i < VDB_STAT_COUNT; i++)
		values[i] = form_value(i, stats.values[i], &isnull[i]);
	isnull[VDB_STAT_RECALL] = isnull[VDB_STAT_LAST_RECALL];
	isnull[VDB_STAT_DEAD] = isnull[VDB_STAT_LAST_VACUUM];
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	return (Datum) 0;
}

double
vdb_stats_quantile(const double *bounds, const uint64 *cumulative, int count, double share)
{
	double		rank = share * cumulative[count - 1];
	int			at = 0;
	double		lower;
	double		below;

	while (at < count - 1 && cumulative[at] < rank)
		at++;
	if (at == count - 1)
		return bounds[at - 1];
	lower = at == 0 ? 0 : bounds[at - 1];
	below = at == 0 ? 0 : cumulative[at - 1];
	return lower + (bounds[at] - lower) * (rank - below) / (cumulative[at] - below);
}

/* vdb.stat_query(index oid): one row, or none */
PG_FUNCTION_INFO_V1(vdb_stats_query);
Datum
vdb_stats_query(PG_FUNCTION_ARGS)
{
	static const double shares[] = {0.5, 0.95, 0.99};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbStats	stats;
	Datum		bounds[VDB_BUCKETS];
	Datum		buckets[VDB_BUCKETS];
	Datum		values[4 + lengthof(shares)];
	bool		isnull[lengthof(values)] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (!find_stats(PG_GETARG_OID(0), &stats))
		return (Datum) 0;
	for (int i = 0; i < VDB_BUCKETS; i++)
	{
		if (i > 0)
			stats.buckets[i] += stats.buckets[i - 1];
		bounds[i] = Float8GetDatum(vdb_stats_bounds[i]);
		buckets[i] = Int64GetDatum((int64) stats.buckets[i]);
	}
	values[0] = PointerGetDatum(construct_array(bounds, VDB_BUCKETS, FLOAT8OID, sizeof(float8),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(buckets, VDB_BUCKETS, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[2] = buckets[VDB_BUCKETS - 1];
	values[3] = Float8GetDatum(stats.nanoseconds / 1e9);
	for (int i = 0; i < lengthof(shares); i++)
	{
		isnull[4 + i] = stats.buckets[VDB_BUCKETS - 1] == 0;
		values[4 + i] = Float8GetDatum(isnull[4 + i] ? 0 : vdb_stats_quantile(vdb_stats_bounds, stats.buckets, VDB_BUCKETS, shares[i]));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	return (Datum) 0;
}

/* vdb_stat_table(): one row, or none */
PG_FUNCTION_INFO_V1(vdb_stats_table);
Datum
vdb_stats_table(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	VdbStatsRoom room;
	Datum		values[3];
	bool		isnull[3] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (!vdb_stats_are_kept())
		return (Datum) 0;
	room = vdb_stats_room();
	values[0] = Int32GetDatum((int32) room.room);
	values[1] = Int32GetDatum((int32) room.used);
	values[2] = Int64GetDatum((int64) room.not_counted);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	return (Datum) 0;
}

/* vdb_stat_reset(), vdb_stat_reset(index regclass): who may is for the script to say */
PG_FUNCTION_INFO_V1(vdb_stats_reset);
Datum
vdb_stats_reset(PG_FUNCTION_ARGS)
{
	if (!vdb_stats_are_kept())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no statistics to reset"),
				 errdetail("They are kept where the library is loaded when the server starts."),
				 errhint("Add vdb to shared_preload_libraries, and restart the server.")));
	vdb_stats_forget(PG_NARGS() == 0 ? InvalidOid : PG_GETARG_OID(0));
	PG_RETURN_VOID();
}
