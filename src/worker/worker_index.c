/*
 * worker_index.c
 *	  What an index needs, by what is measured of it; and doing that, as far as it can
 *	  be done in anybody's transaction.
 */
#include "postgres.h"

#include <math.h>
#include <sys/statvfs.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "commands/vacuum.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index/index_calibrate.h"
#include "mirror/mirror.h"
#include "testpoint.h"
#include "worker/worker_private.h"

/* Dead rows of a table until it is vacuumed: so many, and such a share of all. */
#define DEAD_ROWS 50
#define DEAD_SHARE 0.05

/* Where these cannot be removed yet, VACUUM is tried again after so many rounds. */
#define STUCK_ROUNDS 10

/* Of its room, what an index fills at least. */
#define FILLED_SHARE 0.4

/* Smaller indexes, pages, are not rebuilt for their size, nor because they are outdated. */
#define FEWEST_PAGES 128

/* A rebuild that gave no more than this share more is not tried again. */
#define REBUILT_BETTER 1.25
#define REBUILT_RECALL 0.02

/* Room on disc that a rebuild needs, in sizes of the index: its pages, and as much WAL. */
#define REBUILD_ROOM 2

/* Recall is measured with so many questions and rows, */
#define RECALL_QUERIES 20
#define RECALL_K 10

/* when such a share of the rows has changed, and for so small a part of the time. */
#define RECALL_CHANGED 0.1
#define RECALL_TIME_SHARE 100

static int64
read_counter(PGFunction counter, Relation heap)
{
	return DatumGetInt64(DirectFunctionCall1(counter, ObjectIdGetDatum(RelationGetRelid(heap))));
}

/*
 * Rows of a table: what was counted, or else what the planner takes it to have; but that takes
 * a small new one to have ten pages.
 */
static double
count_rows(Relation heap)
{
	double		rows = read_counter(pg_stat_get_live_tuples, heap);
	BlockNumber pages = 0;
	double		visible;

	if (rows <= 0)
	{
		table_relation_estimate_size(heap, NULL, &pages, &rows, &visible);
		rows *= (double) Min(pages, RelationGetNumberOfBlocks(heap)) / Max(pages, 1);
	}
	return Max(rows, 0);
}

/* Rows that came, went or changed since the table's statistics began. */
static int64
count_changes(Relation heap)
{
	return read_counter(pg_stat_get_tuples_inserted, heap) +
		read_counter(pg_stat_get_tuples_updated, heap) +
		read_counter(pg_stat_get_tuples_deleted, heap);
}

/* Measuring anew says something new only when the table has changed. */
static bool
is_recall_due(const VdbPatient *patient)
{
	const VdbRemembered *remembered = patient->remembered;

	if (vdb_maintenance_recall_floor <= 0 || patient->rows < RECALL_QUERIES)
		return false;
	if (remembered == NULL || remembered->recall_after == 0)
		return true;
	return vdb_clock_read() >= remembered->recall_after &&
		fabs((double) count_changes(patient->heap) - remembered->changes) >= RECALL_CHANGED * patient->rows;
}

/* Is it due to be rebuilt, for what is known of it? */
static void
ask_rebuild(VdbPatient *patient)
{
	const VdbRemembered *remembered = patient->remembered;
	double		filled = patient->state.filled;
	double		recall = remembered != NULL ? remembered->recall : get_float8_nan();
	bool		rebuilt = remembered != NULL && remembered->rebuilt;

	/* a comparison with what is not a number is false */
	if (recall < vdb_maintenance_recall_floor &&
		!(rebuilt && recall > remembered->rebuilt_recall - REBUILT_RECALL))
		patient->due[VDB_WORK_REINDEX] = psprintf("recall is %.3f", recall);
	else if (RelationGetNumberOfBlocks(patient->index) < FEWEST_PAGES)
		return;
	else if (filled < FILLED_SHARE && !(rebuilt && filled * REBUILT_BETTER > remembered->rebuilt_filled))
		patient->due[VDB_WORK_REINDEX] = psprintf("%.0f %% of its room is filled", 100 * filled);
	else if (patient->state.outdated)
		patient->due[VDB_WORK_REINDEX] = "it was made of other rows";
}

/* Is there room on disc for a rebuild?  Where nobody can tell, we do not stand in the way. */
static bool
has_room(Relation index)
{
	Oid			tablespace = index->rd_rel->reltablespace;
	char	   *path = GetDatabasePath(MyDatabaseId, OidIsValid(tablespace) ? tablespace : MyDatabaseTableSpace);
	double		needed = (double) REBUILD_ROOM * RelationGetNumberOfBlocks(index) * BLCKSZ;
	struct statvfs disc;

	if (VDB_TESTPOINT_IS("worker-no-room"))
		return false;
	return statvfs(path, &disc) != 0 || (double) disc.f_bavail * disc.f_frsize >= needed;
}

void
vdb_worker_examine(VdbPatient *patient)
{
	const VdbRemembered *remembered = patient->remembered;
	VdbUpkeep  *state = &patient->state;
	bool		known = remembered != NULL;

	patient->method = vdb_index_method(patient->index->rd_indam->amcostestimate);
	patient->rows = count_rows(patient->heap);
	patient->dead = read_counter(pg_stat_get_dead_tuples, patient->heap);
	patient->method->upkeep(patient->index, patient->rows, state);
	patient->has_room = has_room(patient->index);
	memset(patient->due, 0, sizeof(patient->due));

	if (state->unclean)
		patient->due[VDB_WORK_CLEAN_UP] = "rows came or went since the last one";

	/* what may be in vain is not tried each round */
	if (!known && !patient->by_hand)
		return;
	if (patient->dead >= DEAD_ROWS + DEAD_SHARE * patient->rows &&
		(!known || vdb_clock_read() >= remembered->vacuum_after))
		patient->due[VDB_WORK_VACUUM] = psprintf("%.0f rows are dead", patient->dead);
	if (!state->calibrated && patient->rows >= VDB_MIN_QUESTIONS &&
		(!known || patient->rows > 2 * remembered->uncalibrated))
		patient->due[VDB_WORK_CALIBRATE] = "what was measured does not hold any more";
	if (is_recall_due(patient))
		patient->due[VDB_WORK_RECALL] = "a floor of recall is set";
	if (state->mirror && vdb_mirror_may_be_made(patient->index))
		patient->due[VDB_WORK_MIRROR] = "it has none";
	ask_rebuild(patient);
}

/* As the table's owner: it evaluates the index's expressions. */
static void
clean_up(VdbPatient *patient)
{
	VdbFormerUser former;

	vdb_index_become_owner(patient->heap, &former);
	patient->method->clean_up(patient->index, patient->rows);
	vdb_index_come_back(&former);
}

static void
calibrate(VdbPatient *patient)
{
	VdbCalibrated result = {0};

	/* who waits for VACUUM, which may be changing lists, cancels it */
	if (vdb_index_run_calibration(patient->index, patient->heap, NULL, 0, false, &result) &&
		patient->remembered != NULL)
		patient->remembered->uncalibrated = result.count == 0 ? patient->rows : 0;
}

static void
measure_recall(VdbPatient *patient)
{
	VdbMoment	begin = vdb_clock_read();
	int64		changes = count_changes(patient->heap);
	double		recall = vdb_index_measure_recall(patient->index, patient->heap, RECALL_K, RECALL_QUERIES);
	VdbMoment	end = vdb_clock_read();
	VdbRemembered *remembered = patient->remembered;

	if (remembered != NULL)
	{
		remembered->recall = recall;
		remembered->changes = changes;
		remembered->recall_after = end + RECALL_TIME_SHARE * (end - begin);
		ask_rebuild(patient);
	}
	else if (recall < vdb_maintenance_recall_floor)
		patient->due[VDB_WORK_REINDEX] = psprintf("recall is %.3f", recall);
}

void
vdb_worker_treat(VdbPatient *patient, VdbWork work)
{
	vdb_begin_vacuum_costs();
	PG_TRY();
	{
		switch (work)
		{
			case VDB_WORK_CLEAN_UP:
				clean_up(patient);
				break;
			case VDB_WORK_CALIBRATE:
				calibrate(patient);
				break;
			case VDB_WORK_RECALL:
				measure_recall(patient);
				break;
			case VDB_WORK_MIRROR:
				vdb_mirror_load(patient->heap, patient->index, false);
				break;
			default:
				elog(ERROR, "%s is no work of a transaction's", vdb_work_name(work));
		}
	}
	PG_FINALLY();
	{
		VacuumCostActive = false;
	}
	PG_END_TRY();
}

void
vdb_worker_expect_rebuilt(const VdbPatient *former, VdbRemembered *remembered)
{
	remembered->rebuilt = true;
	remembered->rebuilt_filled = former->state.filled;
	if (former->remembered != NULL)
		remembered->rebuilt_recall = former->remembered->recall;
}

void
vdb_worker_note_rebuilt(VdbPatient *patient)
{
	VdbRemembered *remembered = patient->remembered;

	if (remembered == NULL)
		return;
	if (vdb_maintenance_recall_floor > 0)
		vdb_worker_treat(patient, VDB_WORK_RECALL);
	remembered->rebuilt = true;
	remembered->rebuilt_filled = patient->state.filled;
	remembered->rebuilt_recall = remembered->recall;
}

void
vdb_worker_note_vacuumed(VdbPatient *patient)
{
	if (patient->remembered != NULL && patient->due[VDB_WORK_VACUUM] != NULL)
		patient->remembered->vacuum_after = vdb_clock_read() +
			(VdbMoment) STUCK_ROUNDS * vdb_maintenance_naptime * USECS_PER_SEC;
}
