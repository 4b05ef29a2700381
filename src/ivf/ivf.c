/*
 * ivf.c
 *	  The two access methods as the server sees them: handlers, options, settings
 *	  and the names of build phases.
 *
 * ivfflat promises what pgvector's does: all rows of the lists that are probed, in exact
 * order.  ivfpq returns the nearest by estimate of many more lists.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "compat.h"
#include "ivf/ivf_module.h"
#include "ivf/ivf_private.h"

#define DEFAULT_FLAT_LISTS 100
#define MAX_FLAT_LISTS 32768
#define MAX_FLAT_PROBES MAX_FLAT_LISTS
#define MAX_PQ_PROBES IVF_MAX_LISTS
#define MAX_PQ_PARTS 16000

/* A greater threshold would have nothing but the error along the row count. */
#define MAX_ANISOTROPIC 0.99

static IvfSettings flat;
static IvfSettings pq;

static relopt_kind flat_relopt_kind;
static relopt_kind pq_relopt_kind;

static void cost_flat(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					  Cost *total, Selectivity *selectivity, double *correlation, double *pages);
static void cost_pq(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					Cost *total, Selectivity *selectivity, double *correlation, double *pages);

/* What the settings say or the target makes of them, or the lists there are. */
static VdbEffort
first_effort(Relation index)
{
	IvfSummary	summary;
	IvfEffort	effort;

	vdb_ivf_load_summary(index, &summary);
	effort = vdb_ivf_effort(vdb_ivf_settings(index), &summary.calibration, summary.lists, VDB_FEW_ROWS);
	return (VdbEffort) {.probes = Min(effort.probes, summary.lists), .refine_factor = effort.refine_factor};
}

const VdbAccessMethod vdb_ivfflat_method = {
	.name = "ivfflat",
	.costestimate = cost_flat,
	.check = vdb_ivf_check,
	.first_effort = first_effort,
	.page_layout = vdb_ivf_page_layout,
	.upkeep = vdb_ivf_upkeep,
	.clean_up = vdb_ivf_fit_lists,
};
const VdbAccessMethod vdb_ivfpq_method = {
	.name = "ivfpq",
	.costestimate = cost_pq,
	.check = vdb_ivf_check,
	.first_effort = first_effort,
	.calibrate = vdb_ivf_calibrate,
	.calibration = vdb_ivf_calibration,
	.page_layout = vdb_ivf_page_layout,
	.upkeep = vdb_ivf_upkeep,
	.clean_up = vdb_ivf_fit_lists,
};

static const struct config_enum_entry flat_iterative_options[] = {
	{"off", IVF_ITERATIVE_OFF, false},
	{"relaxed_order", IVF_ITERATIVE_RELAXED, false},
	{NULL, 0, false}
};

static const struct config_enum_entry pq_iterative_options[] = {
	{"off", IVF_ITERATIVE_OFF, false},
	{"relaxed_order", IVF_ITERATIVE_RELAXED, false},
	{"strict_order", IVF_ITERATIVE_STRICT, false},
	{NULL, 0, false}
};

static relopt_enum_elt_def refine_options[] = {
	{"heap", IVF_REFINE_HEAP},
	{"4", IVF_REFINE_4},
	{"8", IVF_REFINE_8},
	{"12", IVF_REFINE_12},
	{NULL}
};

static relopt_enum_elt_def quantizer_options[] = {
	{"rabitq", IVF_RABITQ},
	{"pq", IVF_PQ},
	{"opq", IVF_OPQ},
	{"sq8", IVF_SQ8},
	{"none", IVF_NONE},
	{NULL}
};

static void
define_settings(void)
{
	DefineCustomIntVariable("ivfflat.probes", "Sets the number of probes",
							"Valid range is 1..lists.",
							&flat.probes, 1, 1, MAX_FLAT_PROBES, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("ivfflat.iterative_scan", "Sets the mode for iterative scans", NULL,
							 &flat.iterative_scan, IVF_ITERATIVE_OFF, flat_iterative_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ivfflat.max_probes", "Sets the max number of probes for iterative scans",
							NULL,
							&flat.max_probes, MAX_FLAT_PROBES, 1, MAX_FLAT_PROBES, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("ivfflat");

	DefineCustomIntVariable("ivfpq.probes", "Sets how many lists a scan looks at.",
							"Larger values find more of the true neighbors and take longer. 0 means what finds 0.95 of them.",
							&pq.probes, 0, 0, MAX_PQ_PROBES, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ivfpq.refine_factor",
							"Sets how many rows are refined for each that is returned.",
							"Larger values find more of the true neighbors and take longer. 0 means what the number of lists takes.",
							&pq.refine_factor, 0, 0, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("ivfpq.iterative_scan",
							 "Sets whether a scan goes on to more lists when more rows are asked for.",
							 NULL,
							 &pq.iterative_scan, IVF_ITERATIVE_STRICT, pq_iterative_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ivfpq.max_probes", "Sets the max number of lists that a scan looks at.",
							NULL,
							&pq.max_probes, MAX_PQ_PROBES, 1, MAX_PQ_PROBES, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("ivfpq.target_recall",
							 "Sets the share of the true nearest rows that a scan is to find.",
							 "Of an index that is calibrated this decides in place of ivfpq.probes and ivfpq.refine_factor; 0 leaves it to these.",
							 &pq.target_recall, 0, 0, 1, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("ivfpq");
}

void
vdb_ivf_init(void)
{
	vdb_index_register(&vdb_ivfflat_method);
	vdb_index_register(&vdb_ivfpq_method);
	flat_relopt_kind = add_reloption_kind();
	add_int_reloption(flat_relopt_kind, "lists", "Number of inverted lists", DEFAULT_FLAT_LISTS,
					  IVF_MIN_LISTS, MAX_FLAT_LISTS, AccessExclusiveLock);
	pq_relopt_kind = add_reloption_kind();
	add_int_reloption(pq_relopt_kind, "lists", "Number of lists, 0 to have it follow from that of rows",
					  0, 0, IVF_MAX_LISTS, AccessExclusiveLock);
	add_enum_reloption(pq_relopt_kind, "refine", "How the rows nearest by estimate are looked at again",
					   refine_options, IVF_REFINE_UNSET,
					   "Valid values are \"heap\", \"4\", \"8\" and \"12\".", AccessExclusiveLock);
	add_enum_reloption(pq_relopt_kind, "quantizer", "What all rows of the lists probed are looked at by",
					   quantizer_options, IVF_RABITQ,
					   "Valid values are \"rabitq\", \"pq\", \"opq\", \"sq8\" and \"none\".", AccessExclusiveLock);
	add_int_reloption(pq_relopt_kind, "pq_m",
					  "Sub-quantizers of pq and opq, 0 to have it follow from the number of dimensions",
					  0, 0, MAX_PQ_PARTS, AccessExclusiveLock);
	add_real_reloption(pq_relopt_kind, "anisotropic",
					   "Threshold of the loss by which codes of pq and opq are chosen, 0 to have them near their rows",
					   0, 0, MAX_ANISOTROPIC, AccessExclusiveLock);
	add_int_reloption(pq_relopt_kind, "spill", "Further lists that a row is put into",
					  0, 0, 1, AccessExclusiveLock);
	add_bool_reloption(flat_relopt_kind, "maintenance", VDB_MAINTENANCE_OPTION, true,
					   ShareUpdateExclusiveLock);
	add_bool_reloption(pq_relopt_kind, "maintenance", VDB_MAINTENANCE_OPTION, true,
					   ShareUpdateExclusiveLock);
	add_bool_reloption(flat_relopt_kind, "mirror", VDB_MIRROR_OPTION, false, ShareUpdateExclusiveLock);
	add_bool_reloption(pq_relopt_kind, "mirror", VDB_MIRROR_OPTION, false, ShareUpdateExclusiveLock);
	define_settings();
}

static bytea *
parse_flat_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{.optname = "lists", .opttype = RELOPT_TYPE_INT, .offset = offsetof(IvfOptions, lists)},
		{.optname = "maintenance", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(IvfOptions, maintenance)},
		{.optname = "mirror", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(IvfOptions, mirror)},
	};

	return (bytea *) build_reloptions(reloptions, validate, flat_relopt_kind, sizeof(IvfOptions),
									  table, lengthof(table));
}

/* Bits of a record by which a quantizer has all rows looked at, or IVF_REFINE_UNSET. */
static int
quantizer_bits(int quantizer)
{
	switch (quantizer)
	{
		case IVF_SQ8:
			return IVF_REFINE_8;
		case IVF_NONE:
			return IVF_REFINE_12;
		default:
			return IVF_REFINE_UNSET;
	}
}

/* Raises when options contradict each other. */
static void
check_pq_options(const IvfOptions *options)
{
	int			bits = quantizer_bits(options->quantizer);
	bool		products = options->quantizer == IVF_PQ || options->quantizer == IVF_OPQ;

	if (options->parts != 0 && !products)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pq_m is for quantizer = pq and opq"),
				 errdetail("It is how many parts a code of these quantizers has."),
				 errhint("Add quantizer = pq, or leave pq_m out.")));
	if (options->anisotropic != 0 && !products)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("anisotropic is for quantizer = pq and opq"),
				 errdetail("It says how codes of these quantizers are chosen."),
				 errhint("Add quantizer = pq, or leave anisotropic out.")));
	if (bits != IVF_REFINE_UNSET && options->refine != IVF_REFINE_UNSET && options->refine != bits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("quantizer = %s and refine contradict each other",
						quantizer_options[options->quantizer].string_val),
				 errdetail("This quantizer looks at all rows by codes of %d bits a dimension, so refine is %d.",
						   bits, bits),
				 errhint("Leave refine out, or choose quantizer = rabitq or pq.")));
}

static bytea *
parse_pq_options(Datum reloptions, bool validate)
{
	bytea	   *options;
	static const relopt_parse_elt table[] = {
		{.optname = "lists", .opttype = RELOPT_TYPE_INT, .offset = offsetof(IvfOptions, lists)},
		{.optname = "maintenance", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(IvfOptions, maintenance)},
		{.optname = "mirror", .opttype = RELOPT_TYPE_BOOL, .offset = offsetof(IvfOptions, mirror)},
		{.optname = "refine", .opttype = RELOPT_TYPE_ENUM, .offset = offsetof(IvfOptions, refine)},
		{.optname = "quantizer", .opttype = RELOPT_TYPE_ENUM, .offset = offsetof(IvfOptions, quantizer)},
		{.optname = "pq_m", .opttype = RELOPT_TYPE_INT, .offset = offsetof(IvfOptions, parts)},
		{.optname = "anisotropic", .opttype = RELOPT_TYPE_REAL, .offset = offsetof(IvfOptions, anisotropic)},
		{.optname = "spill", .opttype = RELOPT_TYPE_INT, .offset = offsetof(IvfOptions, spill)},
	};

	options = (bytea *) build_reloptions(reloptions, validate, pq_relopt_kind, sizeof(IvfOptions),
										 table, lengthof(table));
	if (validate && options != NULL)
		check_pq_options((const IvfOptions *) options);
	return options;
}

bool
vdb_ivf_is_flat(Relation index)
{
	return index->rd_indam->amcostestimate == cost_flat;
}

IvfOptions
vdb_ivf_options(Relation index)
{
	IvfOptions	options = {.lists = 0, .refine = IVF_REFINE_UNSET, .quantizer = IVF_RABITQ, .maintenance = true};

	if (vdb_ivf_is_flat(index))
		options.lists = DEFAULT_FLAT_LISTS;
	if (index->rd_options != NULL)
		options = *(IvfOptions *) index->rd_options;
	if (vdb_ivf_is_flat(index))
		options.quantizer = IVF_NONE;
	if (quantizer_bits(options.quantizer) != IVF_REFINE_UNSET)
		options.refine = quantizer_bits(options.quantizer);
	else if (options.refine == IVF_REFINE_UNSET)
		options.refine = IVF_REFINE_8;
	return options;
}

const IvfSettings *
vdb_ivf_settings(Relation index)
{
	return vdb_ivf_is_flat(index) ? &flat : &pq;
}

static void
cost_flat(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		  Selectivity *selectivity, double *correlation, double *pages)
{
	vdb_ivf_costestimate(&flat, root, path, startup, total, selectivity, correlation, pages);
}

static void
cost_pq(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		Selectivity *selectivity, double *correlation, double *pages)
{
	vdb_ivf_costestimate(&pq, root, path, startup, total, selectivity, correlation, pages);
}

static char *
phase_name(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case IVF_PHASE_KMEANS:
			return "performing k-means";
		case IVF_PHASE_ASSIGN:
			return "assigning tuples";
		case IVF_PHASE_LOAD:
			return "loading tuples";
		case IVF_PHASE_CALIBRATE:
			return "measuring recall";
		default:
			return NULL;
	}
}

/* What the two have in common. */
static IndexAmRoutine *
make_routine(void)
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

	am->ambuild = vdb_ivf_build;
	am->ambuildempty = vdb_ivf_buildempty;
	am->aminsert = vdb_ivf_insert;
	am->ambulkdelete = vdb_ivf_bulkdelete;
	am->amvacuumcleanup = vdb_ivf_vacuumcleanup;
	am->ambuildphasename = phase_name;
	am->amvalidate = vdb_index_validate;
	am->ambeginscan = vdb_ivf_beginscan;
	am->amrescan = vdb_ivf_rescan;
	am->amgettuple = vdb_ivf_gettuple;
	am->amendscan = vdb_ivf_endscan;
	return am;
}

PG_FUNCTION_INFO_V1(vdb_ivfflat_handler);
Datum
vdb_ivfflat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = make_routine();

	am->amcostestimate = cost_flat;
	am->amoptions = parse_flat_options;
	PG_RETURN_POINTER(am);
}

PG_FUNCTION_INFO_V1(vdb_ivfpq_handler);
Datum
vdb_ivfpq_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = make_routine();

	am->amcostestimate = cost_pq;
	am->amoptions = parse_pq_options;
	PG_RETURN_POINTER(am);
}
