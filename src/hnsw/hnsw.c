/*
 * hnsw.c
 *	  The access method as the server sees it: handler, options, settings and
 *	  the names of build phases.
 */
#include "postgres.h"

#include <limits.h>

#include "access/amapi.h"
#include "access/reloptions.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/rel.h"

#include "compat.h"
#include "hnsw/hnsw_module.h"
#include "hnsw/hnsw_private.h"

int			hnsw_ef_search;
double		hnsw_target_recall;
int			hnsw_iterative_scan;
int			hnsw_max_scan_tuples;
double		hnsw_scan_mem_multiplier;

/* What hnsw.ef_search is, or what hnsw.target_recall makes of it. */
static VdbEffort
first_effort(Relation index)
{
	HnswCalibration calibration;
	uint32		extents = vdb_hnsw_load_calibration(index, &calibration);
	float		stretch;

	return (VdbEffort) {.ef_search = vdb_hnsw_first_effort(&calibration, extents, &stretch)};
}

const VdbAccessMethod vdb_hnsw_method = {
	.name = "hnsw",
	.costestimate = vdb_hnsw_costestimate,
	.check = vdb_hnsw_check,
	.first_effort = first_effort,
	.calibrate = vdb_hnsw_calibrate,
	.calibration = vdb_hnsw_calibration,
	.page_layout = vdb_hnsw_page_layout,
	.upkeep = vdb_hnsw_upkeep,
	.clean_up = vdb_hnsw_clean_up,
};

static relopt_kind hnsw_relopt_kind;

static const struct config_enum_entry iterative_scan_options[] = {
	{"off", HNSW_ITERATIVE_OFF, false},
	{"relaxed_order", HNSW_ITERATIVE_RELAXED, false},
	{"strict_order", HNSW_ITERATIVE_STRICT, false},
	{NULL, 0, false}
};

/*
 * Settings bear pgvector's names.  A session that has loaded pgvector's
 * library cannot load this one as well: say so before the server does in
 * terms nobody understands.
 */
static void
check_setting_is_free(const char *name)
{
	int			flags = GUC_CUSTOM_PLACEHOLDER;

	if (GetConfigOption(name, true, false) != NULL)
		flags = GetConfigOptionFlags(name, true);
	if (!(flags & GUC_CUSTOM_PLACEHOLDER))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("vdb cannot be loaded into a session that has loaded pgvector"),
				 errdetail("Both define the setting \"%s\".", name),
				 errhint("Use one of them in a session; a library in shared_preload_libraries is in every session.")));
}

void
vdb_hnsw_init(void)
{
	check_setting_is_free("hnsw.ef_search");

	/* releases that know no graph have this one */
	check_setting_is_free("ivfflat.probes");
	vdb_index_register(&vdb_hnsw_method);
	hnsw_relopt_kind = add_reloption_kind();
	add_int_reloption(hnsw_relopt_kind, "m", "Max number of connections",
					  HNSW_DEFAULT_M, HNSW_MIN_M, HNSW_MAX_M, AccessExclusiveLock);
	add_int_reloption(hnsw_relopt_kind, "ef_construction",
					  "Size of the dynamic candidate list for construction",
					  HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MIN_EF_CONSTRUCTION,
					  HNSW_MAX_EF_CONSTRUCTION, AccessExclusiveLock);
	add_bool_reloption(hnsw_relopt_kind, "maintenance", VDB_MAINTENANCE_OPTION, true,
					   ShareUpdateExclusiveLock);
	add_bool_reloption(hnsw_relopt_kind, "mirror", VDB_MIRROR_OPTION, false, ShareUpdateExclusiveLock);
	add_bool_reloption(hnsw_relopt_kind, "fastupdate",
					   "Has inserts leave rows to be linked later, by VACUUM or vdb.merge_pending()",
					   false, AccessExclusiveLock);
	add_int_reloption(hnsw_relopt_kind, "pending_limit",
					  "Slots in which rows may wait to be linked, with fastupdate",
					  HNSW_DEFAULT_PENDING_LIMIT, HNSW_MIN_PENDING_LIMIT, HNSW_MAX_PENDING_LIMIT,
					  ShareUpdateExclusiveLock);

	DefineCustomIntVariable("hnsw.ef_search",
							"Sets the size of the dynamic candidate list for search.",
							"Larger values find more of the true neighbors and take longer.",
							&hnsw_ef_search, 40, 1, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("hnsw.target_recall",
							 "Sets the share of the true nearest rows that a scan is to find.",
							 "Of an index that is calibrated this decides in place of hnsw.ef_search; 0 leaves it to that.",
							 &hnsw_target_recall, 0, 0, 1, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("hnsw.iterative_scan",
							 "Sets whether a scan goes on when more rows are asked for than hnsw.ef_search.",
							 NULL,
							 &hnsw_iterative_scan, HNSW_ITERATIVE_STRICT, iterative_scan_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("hnsw.max_scan_tuples",
							"Sets the max number of tuples to visit for iterative scans.",
							NULL,
							&hnsw_max_scan_tuples, 20000, 1, INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("hnsw.scan_mem_multiplier",
							 "Sets the multiple of work_mem to use for iterative scans.",
							 NULL,
							 &hnsw_scan_mem_multiplier, 1, 1, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("hnsw");
}

static bytea *
parse_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{.optname = "m", .opttype = RELOPT_TYPE_INT, .offset = offsetof(HnswOptions, m)},
		{.optname = "ef_construction", .opttype = RELOPT_TYPE_INT,
		.offset = offsetof(HnswOptions, ef_construction)},
		{.optname = "maintenance", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(HnswOptions, maintenance)},
		{.optname = "mirror", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(HnswOptions, mirror)},
		{.optname = "fastupdate", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(HnswOptions, fastupdate)},
		{.optname = "pending_limit", .opttype = RELOPT_TYPE_INT,
		.offset = offsetof(HnswOptions, pending_limit)},
	};

	return (bytea *) build_reloptions(reloptions, validate, hnsw_relopt_kind, sizeof(HnswOptions),
									  table, lengthof(table));
}

/* An index's options, or the defaults; lives as long as the relcache entry. */
const HnswOptions *
vdb_hnsw_options(Relation index)
{
	static const HnswOptions defaults = {
		.m = HNSW_DEFAULT_M,
		.ef_construction = HNSW_DEFAULT_EF_CONSTRUCTION,
		.pending_limit = HNSW_DEFAULT_PENDING_LIMIT,
		.maintenance = true
	};

	return index->rd_options ? (const HnswOptions *) index->rd_options : &defaults;
}

static char *
phase_name(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case HNSW_PHASE_LOAD:
			return "loading tuples";
		case HNSW_PHASE_MERGE:
			return "building partitions";
		case HNSW_PHASE_LINK:
			return "linking nodes";
		case HNSW_PHASE_WRITE:
			return "writing pages";
		case HNSW_PHASE_CALIBRATE:
			return "measuring recall";
		default:
			return NULL;
	}
}

PG_FUNCTION_INFO_V1(vdb_hnsw_handler);
Datum
vdb_hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = VDB_NUM_STRATEGIES;
	am->amsupport = VDB_NUM_PROCS;
	am->amcanorderbyop = true;
	am->amcanmulticol = true;
	am->amoptionalkey = true;
	am->amsearcharray = true;
	am->amsearchnulls = true;
	am->amusemaintenanceworkmem = true;
	vdb_am_set_canbuildparallel(am);
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	am->amkeytype = InvalidOid;

	am->ambuild = vdb_hnsw_build;
	am->ambuildempty = vdb_hnsw_buildempty;
	am->aminsert = vdb_hnsw_insert;
	am->ambulkdelete = vdb_hnsw_bulkdelete;
	am->amvacuumcleanup = vdb_hnsw_vacuumcleanup;
	am->amcostestimate = vdb_hnsw_costestimate;
	am->amoptions = parse_options;
	am->ambuildphasename = phase_name;
	am->amvalidate = vdb_index_validate;
	am->ambeginscan = vdb_hnsw_beginscan;
	am->amrescan = vdb_hnsw_rescan;
	am->amgettuple = vdb_hnsw_gettuple;
	am->amendscan = vdb_hnsw_endscan;
	PG_RETURN_POINTER(am);
}
