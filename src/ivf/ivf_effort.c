/*
 * ivf_effort.c
 *	  How many lists a scan looks at, and how many rows it refines: what settings say, or
 *	  what it takes to find a share of the true nearest rows: ivfpq.target_recall, or the usual one
 *	  where nothing is set.
 *
 * The index's calibration (ivf_calibrate.c) says what recall is promised for which number of
 * lists, at levels from one list to all there were, each so many times as many as the one
 * before.  What lies between two levels is taken to be on the line, and between two numbers
 * of rows on the line by their logarithms.
 *
 * A scan does not know how many rows will be asked for.  It begins with what the first few
 * need, and goes on as more are taken.
 */
#include "postgres.h"

#include <math.h>

#include "ivf/ivf_private.h"

/* Where the user leaves the probes to us: how much is to be found, */
#define USUAL_RECALL 0.95

/* and how far a scan looks of an index of which nothing was measured. */
#define USUAL_PROBES 20
#define USUAL_FACTOR 8

/* So many times as many lists, or as few, and a calibration is no longer believed. */
#define MAX_GROWTH 2

bool
vdb_ivf_is_calibrated(const IvfCalibration *calibration, uint32 lists)
{
	return calibration->queries > 0 && calibration->lists > 0 &&
		lists <= (uint64) calibration->lists * MAX_GROWTH + 1 &&
		calibration->lists <= (uint64) lists * MAX_GROWTH + 1;
}

uint32
vdb_ivf_level_probes(uint32 lists, double level)
{
	return (uint32) Min(ceil(pow(lists, level / (IVF_CALIBRATED_LEVELS - 1))), lists);
}

/*
 * Lists that reach the target.  Where there are more lists now than there were, or fewer,
 * the rows in them are taken to be the same share.
 */
static double
probes_for(const IvfCalibration *calibration, uint32 lists, double level)
{
	return (double) vdb_ivf_level_probes(calibration->lists, level) * lists / calibration->lists;
}

/* The greater factor of the two levels that the target is between, and of few rows and many. */
static uint32
factor_for(const IvfCalibration *calibration, double level, double rows)
{
	int			above = (int) ceil(level);
	uint32		factor = Max(calibration->factor[0][above], 1);

	return rows > VDB_FEW_ROWS ? Max(factor, calibration->factor[1][above]) : factor;
}

/* The level that has so many lists, of so many that there are. */
static double
level_of(const IvfCalibration *calibration, uint32 lists, uint32 probes)
{
	double		then = Max((double) probes * calibration->lists / Max(lists, 1), 1);

	if (calibration->lists <= 1)
		return 0;
	return Min(log(then) / log(calibration->lists), 1) * (IVF_CALIBRATED_LEVELS - 1);
}

/* The level at which a target is reached among so many rows. */
static double
find_level(const IvfCalibration *calibration, double target, double rows)
{
	double		few = vdb_calibrate_find_level(calibration->recall[0], IVF_CALIBRATED_LEVELS, target);
	double		many = vdb_calibrate_find_level(calibration->recall[1], IVF_CALIBRATED_LEVELS, target);
	double		between = log(Max(rows, VDB_FEW_ROWS) / VDB_FEW_ROWS) / log((double) VDB_MANY_ROWS / VDB_FEW_ROWS);

	return Min(few + Max(0, many - few) * between, IVF_CALIBRATED_LEVELS - 1);
}

/* The lists of a level, as far as there are so many. */
static uint32
lists_of(const IvfSettings *settings, const IvfCalibration *calibration, uint32 lists, double level)
{
	double		probes = probes_for(calibration, lists, level);

	/* what a scan returns that may not go on, is what these lists have */
	if (settings->iterative_scan == IVF_ITERATIVE_OFF)
		probes = Max(probes, settings->probes);
	return (uint32) Min(Max(ceil(probes), 1), Max(lists, 1));
}

IvfEffort
vdb_ivf_effort(const IvfSettings *settings, const IvfCalibration *calibration, uint32 lists, double rows)
{
	IvfEffort	effort = {.probes = settings->probes, .refine_factor = settings->refine_factor};
	double		target = settings->target_recall;
	double		level;

	if (!vdb_ivf_is_calibrated(calibration, lists))
	{
		if (effort.probes == 0)
			effort.probes = USUAL_PROBES;
		if (effort.refine_factor == 0)
			effort.refine_factor = USUAL_FACTOR;
		return effort;
	}
	if (target <= 0 && effort.probes == 0)
		target = USUAL_RECALL;
	if (target > 0)
	{
		level = find_level(calibration, target, rows);
		effort.probes = lists_of(settings, calibration, lists, level);
	}
	else
		level = level_of(calibration, lists, effort.probes);
	if (settings->target_recall > 0 || effort.refine_factor == 0)
		effort.refine_factor = factor_for(calibration, level, rows);
	return effort;
}
