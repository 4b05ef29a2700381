/*
 * worker_maintain.c
 *	  vdb.maintain(): one index's round, by hand, and vdb_stat_worker.
 *
 * VACUUM and REINDEX CONCURRENTLY cannot be part of a transaction, and a function is part of
 * one.  Where they are due, the function says so.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker/worker_private.h"

static void
put_row(FunctionCallInfo fcinfo, VdbWork work, bool done, const char *why)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[3];
	bool		isnull[3] = {0};

	values[0] = CStringGetTextDatum(vdb_work_name(work));
	values[1] = BoolGetDatum(done);
	values[2] = CStringGetTextDatum(why);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* Opens the index and its table as the work on them needs it. */
static void
open_patient(Oid indexoid, VdbPatient *patient)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Indexes are looked after on the primary; a standby has the result.")));
	patient->index = vdb_index_open_named(NULL, indexoid, RowExclusiveLock, &patient->heap);
	if (!vdb_may_maintain(indexoid, RelationGetRelid(patient->heap), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(patient->index));
	vdb_index_lock_for_upkeep(patient->index, patient->heap);
}

/* vdb.maintain(index regclass): work, done, reason; one row for each work that is due */
PG_FUNCTION_INFO_V1(vdb_worker_maintain);
Datum
vdb_worker_maintain(PG_FUNCTION_ARGS)
{
	static const VdbWork works[] = {VDB_WORK_CLEAN_UP, VDB_WORK_CALIBRATE, VDB_WORK_MIRROR, VDB_WORK_RECALL};
	VdbPatient	patient = {.by_hand = true};

	InitMaterializedSRF(fcinfo, 0);
	open_patient(PG_GETARG_OID(0), &patient);
	vdb_worker_examine(&patient);
	if (patient.due[VDB_WORK_VACUUM] != NULL)
		put_row(fcinfo, VDB_WORK_VACUUM, false, patient.due[VDB_WORK_VACUUM]);
	for (int i = 0; i < lengthof(works); i++)
	{
		const char *why = patient.due[works[i]];

		if (why == NULL)
			continue;
		vdb_worker_treat(&patient, works[i]);
		put_row(fcinfo, works[i], true, why);

		/* to clean up may have calibrated as well; to measure is what the rest depends on */
		if (works[i] != VDB_WORK_RECALL)
			vdb_worker_examine(&patient);
	}
	if (patient.due[VDB_WORK_REINDEX] != NULL)
		put_row(fcinfo, VDB_WORK_REINDEX, false, patient.due[VDB_WORK_REINDEX]);

	/* the table's lock stays until the transaction ends, as its writing is not over before */
	index_close(patient.index, NoLock);
	table_close(patient.heap, NoLock);
	return (Datum) 0;
}

/* A text, or null where there is none, or where the caller may not see it. */
static Datum
form_text(const char *text, bool allowed, bool *isnull)
{
	*isnull = !allowed || text == NULL || text[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

#define STAT_COLUMNS 19

static void
put_place(FunctionCallInfo fcinfo, const VdbPlace *place, int kind, bool allowed)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[STAT_COLUMNS];
	bool		isnull[STAT_COLUMNS] = {0};
	bool		at_work = place->pid != 0;
	bool		launcher = kind < 0;
	int			i = 0;

	values[i++] = CStringGetTextDatum(launcher ? "launcher" : vdb_worker_kinds[kind].is->label);
	isnull[i] = !at_work;
	values[i++] = Int32GetDatum(place->pid);
	isnull[i] = !at_work || launcher;
	values[i++] = ObjectIdGetDatum(place->database);
	values[i] = form_text(at_work && !launcher ? get_database_name(place->database) : NULL, true, &isnull[i]);
	i++;
	values[i] = form_text(vdb_work_name(place->work), true, &isnull[i]);
	i++;
	isnull[i] = !OidIsValid(place->index);
	values[i++] = ObjectIdGetDatum(place->index);
	values[i] = form_text(OidIsValid(place->index) ? place->index_name : NULL, allowed, &isnull[i]);
	i++;
	isnull[i] = place->since == 0;
	values[i++] = TimestampTzGetDatum(place->since);
	values[i++] = Int64GetDatum(place->rounds);
	for (int work = VDB_WORK_VACUUM; work <= VDB_WORK_DROP; work++)
		values[i++] = Int64GetDatum(place->done[work]);
	values[i++] = Int64GetDatum(place->failures);
	values[i] = form_text(place->error, allowed, &isnull[i]);
	i++;
	isnull[i] = place->error_at == 0;
	values[i++] = TimestampTzGetDatum(place->error_at);
	Assert(i == STAT_COLUMNS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* The launcher, and the places of workers that have been taken before. */
PG_FUNCTION_INFO_V1(vdb_worker_stat);
Datum
vdb_worker_stat(PG_FUNCTION_ARGS)
{
	bool		allowed = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; vdb_worker_shared != NULL && i < VDB_PLACES; i++)
	{
		VdbPlace	place;

		LWLockAcquire(&vdb_worker_shared->lock, LW_SHARED);
		place = vdb_worker_shared->places[i];
		LWLockRelease(&vdb_worker_shared->lock);
		if (place.generation > 0)
			put_place(fcinfo, &place, vdb_worker_kind_of(i), allowed);
	}
	return (Datum) 0;
}
