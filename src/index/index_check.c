/*
 * index_check.c
 *	  vdb.check_index(): who may check an index, as whom, and with which snapshot.
 *
 * What an index promises is its access method's affair.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index/index.h"

/* The snapshot must be older than anything we are going to read. */
static Snapshot
register_snapshot(Relation index)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());

	/* such an index lacks versions of rows that an old snapshot may see */
	if (IsolationUsesXactSnapshot() && index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), snapshot->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index \"%s\" cannot be verified using transaction snapshot",
						RelationGetRelationName(index))));
	return snapshot;
}

/*
 * Opens an index of ours that the user may check.  *heap is its
 * table; both are locked.
 */
static Relation
open_index(Oid oid, Relation *heap)
{
	Relation	index = vdb_index_open_named(NULL, oid, AccessShareLock, heap);

	if (!vdb_owns_relation(oid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	if (RecoveryInProgress() && index->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" has no content during recovery", RelationGetRelationName(index))));
	return index;
}

void
vdb_index_scan_rows(Relation heap, Relation index, Snapshot snapshot, IndexBuildCallback callback,
					void *state)
{
	IndexInfo  *info = BuildIndexInfo(index);
	TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, false);

	info->ii_Concurrent = true;
	info->ii_Unique = false;
	/* ends the scan; "sync" is what the interface demands of a scan given */
	table_index_build_scan(heap, index, info, true, false, callback, state, scan);
}

static Datum
form_counts(FunctionCallInfo fcinfo, const VdbCheckCounts *counts)
{
	TupleDesc	desc;
	Datum		values[10];
	bool		isnull[10] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 10)
		elog(ERROR, "return type must be a row type of 10 columns");
	values[0] = Int64GetDatum(counts->live + counts->dead);
	values[1] = Int64GetDatum(counts->live);
	values[2] = Int64GetDatum(counts->dead);
	values[3] = Int64GetDatum(counts->free);
	values[4] = Int64GetDatum(counts->upper_records);
	values[5] = Int64GetDatum(counts->edges);
	values[6] = Int64GetDatum(counts->dangling_edges);
	values[7] = Int64GetDatum(counts->unreachable);
	values[8] = Int64GetDatum(counts->attached);
	values[9] = Int64GetDatum(counts->pending);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/* vdb.check_index(index regclass, heap_all_indexed boolean) */
PG_FUNCTION_INFO_V1(vdb_check_index);
Datum
vdb_check_index(PG_FUNCTION_ARGS)
{
	bool		with_heap = PG_GETARG_BOOL(1);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdb check",
												  ALLOCSET_DEFAULT_SIZES);
	Snapshot	snapshot = NULL;
	Relation	heap;
	Relation	index = open_index(PG_GETARG_OID(0), &heap);
	const VdbAccessMethod *method = vdb_index_method(index->rd_indam->amcostestimate);
	VdbCheckCounts counts = {0};
	MemoryContext old;
	VdbFormerUser former;

	vdb_index_become_owner(heap, &former);
	if (with_heap)
		snapshot = register_snapshot(index);
	old = MemoryContextSwitchTo(context);
	method->check(index, heap, snapshot, &counts);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (with_heap)
		UnregisterSnapshot(snapshot);

	vdb_index_come_back(&former);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return form_counts(fcinfo, &counts);
}
