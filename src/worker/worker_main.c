/*
 * worker_main.c
 *	  The process that looks over one database, once.
 *
 * What is done of an index is done in steps of a transaction each, or more.  An error in one
 * of them, a cancellation among others, ends that kind of work of this index, and gives it a rest.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "pace.h"
#include "testpoint.h"
#include "worker/worker_private.h"

/* The longest rest of an index that raises errors, s. */
#define LONGEST_REST 86400

PGDLLEXPORT void vdb_database_worker(Datum arg);

/* Is an access method one of this library's, under whatever name the extension is? */
static bool
is_our_handler(Oid function)
{
	static const char *const handlers[] = {"vdb_hnsw_handler", "vdb_ivfflat_handler", "vdb_ivfpq_handler"};
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		ours = false;
	Datum		source;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	for (int i = 0; i < lengthof(handlers) && !isnull; i++)
		ours = ours || strcmp(TextDatumGetCString(source), handlers[i]) == 0;
	ReleaseSysCache(tuple);
	return ours;
}

static List *
find_access_methods(void)
{
	Relation	rel = table_open(AccessMethodRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	List	   *found = NIL;
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_am	form = (Form_pg_am) GETSTRUCT(tuple);

		if (form->amtype == AMTYPE_INDEX && is_our_handler(form->amhandler))
			found = lappend_oid(found, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Indexes of these access methods, but those of other sessions alone. */
static List *
find_indexes(const List *methods)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	List	   *found = NIL;
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relkind == RELKIND_INDEX && form->relpersistence != RELPERSISTENCE_TEMP &&
			list_member_oid(methods, form->relam))
			found = lappend_oid(found, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The indexes that there are to look after; NULL where vdb is not in use. */
static List *
list_indexes(MemoryContext memory)
{
	List	   *methods;
	List	   *found = NIL;
	MemoryContext old;

	vdb_worker_begin_transaction();
	(void) GetTransactionSnapshot();
	old = MemoryContextSwitchTo(memory);
	methods = find_access_methods();
	if (methods != NIL)
		found = find_indexes(methods);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return found;
}

/* Was anything done in this round? */
static bool done_any = false;

static void
count_done(VdbWork work)
{
	vdb_worker_count(work);
	done_any = true;
}

/* The step of a transaction with an index that it has open. */
typedef void (*Step) (VdbPatient *patient);

/*
 * Takes a step in a transaction of its own, with an index that it opens with this lock, and
 * its table with that one.  False, without waiting, where somebody has one in the way, or the
 * index is gone or not valid.  Memory of the current context is the patient's.
 */
static bool
take_step(VdbPatient *patient, Oid indexoid, LOCKMODE heap_lock, LOCKMODE index_lock, Step step)
{
	MemoryContext memory = CurrentMemoryContext;
	Oid			heapoid;
	bool		taken;

	vdb_worker_begin_transaction();
	MemoryContextSwitchTo(memory);
	PushActiveSnapshot(GetTransactionSnapshot());
	heapoid = IndexGetRelation(indexoid, true);
	taken = OidIsValid(heapoid) && ConditionalLockRelationOid(heapoid, heap_lock) &&
		ConditionalLockRelationOid(indexoid, index_lock) &&
		IndexGetRelation(indexoid, true) == heapoid;
	if (taken)
	{
		patient->heap = table_open(heapoid, NoLock);
		patient->index = index_open(indexoid, NoLock);
		taken = patient->index->rd_index->indisvalid &&
			vdb_index_method(patient->index->rd_indam->amcostestimate) != NULL;
		if (taken)
			step(patient);
		index_close(patient->index, NoLock);
		table_close(patient->heap, NoLock);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return taken;
}

static void
step_vacuumed(VdbPatient *patient)
{
	vdb_worker_examine(patient);
	vdb_worker_note_vacuumed(patient);
}

static void
treat_if_due(VdbPatient *patient, VdbWork work)
{
	vdb_worker_examine(patient);
	if (patient->due[work] == NULL)
		return;
	vdb_worker_treat(patient, work);
	count_done(work);
}

static void
step_clean_up(VdbPatient *patient)
{
	treat_if_due(patient, VDB_WORK_CLEAN_UP);
}

static void
step_calibrate(VdbPatient *patient)
{
	treat_if_due(patient, VDB_WORK_CALIBRATE);
}

static void
step_recall(VdbPatient *patient)
{
	treat_if_due(patient, VDB_WORK_RECALL);
}

static void
step_mirror(VdbPatient *patient)
{
	treat_if_due(patient, VDB_WORK_MIRROR);
}

static void
step_rebuilt(VdbPatient *patient)
{
	vdb_worker_examine(patient);
	vdb_worker_note_rebuilt(patient);
}

static const struct
{
	VdbWork		work;
	LOCKMODE	heap_lock;
	LOCKMODE	index_lock;
	Step		step;
}			steps[] = {
	{VDB_WORK_CLEAN_UP, ShareUpdateExclusiveLock, RowExclusiveLock, step_clean_up},
	{VDB_WORK_CALIBRATE, AccessShareLock, RowExclusiveLock, step_calibrate},
	{VDB_WORK_MIRROR, ShareUpdateExclusiveLock, AccessShareLock, step_mirror},
	{VDB_WORK_RECALL, AccessShareLock, AccessShareLock, step_recall},
};

/* An index's turn. */
typedef struct Turn
{
	Oid			index;
	Oid			heap;
	char	   *name;
	bool		leftover;		/* it is what a rebuild left */
	VdbPatient	patient;
} Turn;

static void
vacuum(Turn *turn)
{
	if (!vdb_worker_vacuum(turn->heap))
		return;
	count_done(VDB_WORK_VACUUM);
	(void) take_step(&turn->patient, turn->index, AccessShareLock, AccessShareLock, step_vacuumed);
}

/* Rebuilds an index, and looks at the one that has taken its place. */
static void
reindex(Turn *turn)
{
	VdbPatient	patient = {0};
	Oid			new_index = InvalidOid;
	volatile bool done = false;

	if (!turn->patient.has_room)
		ereport(ERROR,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("there is not enough room on disc to rebuild index %s", turn->name),
				 errhint("Make room, or set vdb.maintenance_reindex to off, or the index's option maintenance.")));
	PG_TRY();
	{
		done = vdb_worker_reindex(turn->heap, turn->index, &new_index);
	}
	PG_FINALLY();
	{
		/* it may have taken the other's place before an error came */
		if (OidIsValid(new_index))
			patient.remembered = vdb_worker_remember(new_index);
		if (patient.remembered != NULL)
			vdb_worker_expect_rebuilt(&turn->patient, patient.remembered);
	}
	PG_END_TRY();
	if (!done)
		return;
	count_done(VDB_WORK_REINDEX);
	(void) take_step(&patient, new_index, AccessShareLock, AccessShareLock, step_rebuilt);
}

static void
drop_leftover(Turn *turn)
{
	if (vdb_worker_drop_leftover(turn->heap, turn->index))
		count_done(VDB_WORK_DROP);
}

/* What an index is called, and whether it is what a rebuild left; false if it is gone. */
static bool
identify(Turn *turn)
{
	MemoryContext memory = CurrentMemoryContext;
	char	   *relname;

	vdb_worker_begin_transaction();
	MemoryContextSwitchTo(memory);
	turn->heap = IndexGetRelation(turn->index, true);
	relname = get_rel_name(turn->index);
	if (OidIsValid(turn->heap) && relname != NULL)
	{
		turn->name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(turn->index)), relname);
		turn->leftover = vdb_worker_is_leftover(turn->index);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return turn->name != NULL;
}

/* Finds out what is due of an index. */
static void
examine(Turn *turn)
{
	VdbPatient *patient = &turn->patient;

	if (!identify(turn))
		return;
	if (turn->leftover)
		patient->due[VDB_WORK_DROP] = "a rebuild left it";
	else if (!take_step(patient, turn->index, AccessShareLock, AccessShareLock, vdb_worker_examine) ||
			 !patient->state.wanted)
		memset(patient->due, 0, sizeof(patient->due));
}

static void
do_work(Turn *turn, VdbWork work)
{
	switch (work)
	{
		case VDB_WORK_NONE:
			examine(turn);
			break;
		case VDB_WORK_DROP:
			drop_leftover(turn);
			break;
		case VDB_WORK_VACUUM:
			vacuum(turn);
			break;
		case VDB_WORK_REINDEX:
			reindex(turn);
			break;
		default:
			VDB_TESTPOINT("worker-before-step");
			for (int i = 0; i < lengthof(steps); i++)
			{
				if (steps[i].work == work)
					(void) take_step(&turn->patient, turn->index, steps[i].heap_lock, steps[i].index_lock,
									 steps[i].step);
			}
	}
}

/* Each failure in a row doubles the rest. */
static void
give_rest(VdbRest *rest)
{
	double		wait;

	rest->failures = Min(rest->failures + 1, 20);
	wait = Min(ldexp(vdb_maintenance_naptime, rest->failures), LONGEST_REST);
	rest->until = vdb_clock_read() + (VdbMoment) (wait * USECS_PER_SEC);
}

/* Cleans up after an error, and says what it was. */
static void
recover(MemoryContext memory)
{
	ErrorData  *error;

	MemoryContextSwitchTo(memory);
	error = CopyErrorData();
	HOLD_INTERRUPTS();
	QueryCancelPending = false;
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(memory);
	VacuumCostActive = false;
	vdb_worker_count_failure(error->message);
}

static void
take_interrupts(void)
{
	/* who waited for a lock that is released by now, and had this cancelled, has it */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		vdb_worker_override_settings();
	}
}

/* One kind of work of an index; false where an error ended it. */
static bool
try_work(Turn *turn, VdbWork work, MemoryContext memory)
{
	volatile bool done = false;

	PG_TRY();
	{
		do_work(turn, work);
		done = true;
	}
	PG_CATCH();
	{
		recover(memory);
	}
	PG_END_TRY();
	return done;
}

/* The same, unless it rests: an error gives it a rest, while others go on. */
static bool
do_safely(Turn *turn, VdbWork work, MemoryContext memory)
{
	VdbRemembered *remembered = turn->patient.remembered;
	VdbRest	   *rest = remembered != NULL ? &remembered->rests[work] : NULL;
	bool		done;

	if (rest != NULL && vdb_clock_read() < rest->until)
		return false;
	take_interrupts();
	if (work != VDB_WORK_NONE)
		vdb_worker_say(work, turn->index, turn->name);
	done = try_work(turn, work, memory);
	if (rest != NULL && done)
		rest->failures = 0;
	else if (rest != NULL)
		give_rest(rest);
	return done;
}

/* An index's turn. */
static void
attend(Oid index, MemoryContext memory)
{
	static const VdbWork works[] = {
		VDB_WORK_DROP, VDB_WORK_VACUUM, VDB_WORK_CLEAN_UP, VDB_WORK_CALIBRATE, VDB_WORK_MIRROR,
		VDB_WORK_RECALL, VDB_WORK_REINDEX
	};
	Turn		turn = {.index = index, .patient.remembered = vdb_worker_remember(index)};

	if (!do_safely(&turn, VDB_WORK_NONE, memory))
		return;
	for (int i = 0; i < lengthof(works); i++)
	{
		if (turn.patient.due[works[i]] != NULL && (works[i] != VDB_WORK_REINDEX || vdb_maintenance_reindex))
			(void) do_safely(&turn, works[i], memory);
	}
	vdb_worker_say(VDB_WORK_NONE, InvalidOid, "");
}

/* Looks over all indexes; returns whether there were any, and anything to do. */
static VdbOutcome
look_over(void)
{
	MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "vdb indexes", ALLOCSET_DEFAULT_SIZES);
	MemoryContext turn = AllocSetContextCreate(memory, "vdb index", ALLOCSET_DEFAULT_SIZES);
	List	   *indexes = list_indexes(memory);
	ListCell   *cell;

	vdb_worker_forget(MyDatabaseId, indexes);
	foreach(cell, indexes)
	{
		take_interrupts();
		if (!vdb_maintenance)
			break;
		MemoryContextSwitchTo(turn);
		attend(lfirst_oid(cell), turn);
		MemoryContextSwitchTo(memory);
		MemoryContextReset(turn);
	}
	if (indexes == NIL)
		return VDB_OUTCOME_NOTHING;
	return done_any ? VDB_OUTCOME_DONE : VDB_OUTCOME_IDLE;
}

void
vdb_database_worker(Datum arg)
{
	VdbOutcome	outcome = VDB_OUTCOME_NOTHING;

	if (!vdb_worker_begin("vdb maintenance"))
		return;
	vdb_be_in_no_hurry();

	/* a database may have it off */
	if (vdb_maintenance)
		outcome = look_over();
	vdb_worker_set_outcome(outcome);
}
