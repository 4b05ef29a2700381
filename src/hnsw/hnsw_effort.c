/*
 * hnsw_effort.c
 *	  How far a scan searches for the rows it is asked for, where the user says
 *	  what share of the true ones it is to find (hnsw.target_recall).
 *
 * The index's calibration (hnsw_calibrate.c) says what recall among the first
 * rows was measured for which size of a search.  Between two sizes, and between
 * two numbers of rows, recall is taken to be what lies on the line.
 *
 * A scan does not know how many rows will be asked for.  It begins with what the
 * first few need, and goes on as more are taken.
 */
#include "postgres.h"

#include <math.h>

#include "utils/float.h"

#include "hnsw/hnsw_private.h"

/* What an index may grow by before its calibration is no longer believed. */
#define MAX_GROWTH 2

/* Each a quarter more than the one before. */
const uint16 vdb_hnsw_calibrated_ef[HNSW_CALIBRATED_LEVELS] = {
	10, 13, 16, 21, 26, 34, 43, 55, 70, 89, 113, 144, 183, 234, 298, 379, 483, 616, 785, 1000
};

const uint16 vdb_hnsw_calibrated_rows[HNSW_CALIBRATED_ROWS] = {HNSW_STRETCH_ROWS, VDB_MANY_ROWS};

bool
vdb_hnsw_is_calibrated(const HnswCalibration *calibration, uint32 extents)
{
	return calibration->queries > 0 &&
		extents <= (uint64) calibration->extents * MAX_GROWTH + 1;
}

/* What lies at a level between two of these. */
static double
interpolate(const uint16 *values, double level)
{
	int			before = (int) level;
	int			after = Min(before + 1, HNSW_CALIBRATED_LEVELS - 1);

	return values[before] + (level - before) * (values[after] - values[before]);
}

static double
effort_for(const uint16 *recall, double target)
{
	return interpolate(vdb_hnsw_calibrated_ef,
					   vdb_calibrate_find_level(recall, HNSW_CALIBRATED_LEVELS, target));
}

double
vdb_hnsw_effort(const HnswCalibration *calibration, uint32 extents, double target, double rows)
{
	double		few = vdb_hnsw_calibrated_rows[0];
	double		many = vdb_hnsw_calibrated_rows[1];
	double		effort;

	if (target <= 0 || !vdb_hnsw_is_calibrated(calibration, extents))
		return 0;
	effort = effort_for(calibration->recall[0], target);
	if (rows > few)
	{
		double		more = effort_for(calibration->recall[1], target) - effort;

		effort += Max(0, more) * (rows - few) / (many - few);
	}

	/* only the nearer half of what was found has found its place */
	return ceil(Max(effort, 2 * rows - HNSW_POOL_SLACK));
}

uint32
vdb_hnsw_first_effort(const HnswCalibration *calibration, uint32 extents, float *stretch)
{
	const uint16 *recall = calibration->recall[0];
	double		effort = vdb_hnsw_effort(calibration, extents, hnsw_target_recall, HNSW_STRETCH_ROWS);

	*stretch = get_float4_infinity();
	if (effort == 0)
		return hnsw_ef_search;
	if (hnsw_iterative_scan == HNSW_ITERATIVE_OFF)
		effort = Max(effort, hnsw_ef_search);
	else if (recall[HNSW_CALIBRATED_LEVELS - 1] >= hnsw_target_recall * PG_UINT16_MAX)
		*stretch = interpolate(calibration->stretch,
							   vdb_calibrate_find_level(recall, HNSW_CALIBRATED_LEVELS, hnsw_target_recall)) /
			HNSW_STRETCH_UNIT;
	return (uint32) effort;
}
