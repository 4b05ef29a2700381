/*
 * vdb.c
 *	  Entry point of the library: calls the initialiser of each module, in
 *	  order, and owns the one setting that belongs to a module without a
 *	  server in it, vdb.simd.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "compat.h"
#include "compute/compute.h"
#include "distance/distance.h"
#include "exec/exec_module.h"
#include "gpu/gpu.h"
#include "hnsw/hnsw_module.h"
#include "index/index.h"
#include "ingest/ingest_module.h"
#include "ivf/ivf_module.h"
#include "mirror/mirror.h"
#include "shmem.h"
#include "stats/stats.h"
#include "testpoint.h"
#include "vdb.h"
#include "worker/worker_module.h"

VDB_MODULE_MAGIC(VDB_VERSION);

/* One past the levels of VdbSimdLevel: the best this machine has. */
#define SIMD_AUTO VDB_SIMD_LEVELS

static const struct config_enum_entry simd_options[] = {
	{"auto", SIMD_AUTO, false},
	{"scalar", VDB_SIMD_SCALAR, false},
	{"avx2", VDB_SIMD_AVX2, false},
	{"avx512", VDB_SIMD_AVX512, false},
	{"neon", VDB_SIMD_NEON, false},
	{"neon_dotprod", VDB_SIMD_NEON_DOTPROD, false},
	{NULL, 0, false}
};

static int	simd_setting = SIMD_AUTO;

PGDLLEXPORT void _PG_init(void);

static void init_simd_setting(void);
static bool check_simd(int *newval, void **extra, GucSource source);
static void assign_simd(int newval, void *extra);

void
_PG_init(void)
{
	/* the first one may refuse, and must not leave settings behind */
	vdb_hnsw_init();
	vdb_ivf_init();
	vdb_distance_init();
	init_simd_setting();
	vdb_testpoint_init();
	vdb_stats_init();
	vdb_worker_init();
	vdb_ingest_init();
	vdb_mirror_init();
	vdb_gpu_init();
	vdb_compute_init();
	vdb_exec_init();
	MarkGUCPrefixReserved("vdb");
	vdb_index_hook_planner();
	vdb_exec_hook_planner();
	vdb_index_hook_plans();
	vdb_index_hook_explain();
	vdb_shmem_hook();
}

/* The kernels must have been initialised: the check hook asks for them. */
static void
init_simd_setting(void)
{
	DefineCustomEnumVariable("vdb.simd",
							 "Sets the instruction set used to compute distances.",
							 "Results of different settings may differ by rounding.",
							 &simd_setting,
							 SIMD_AUTO,
							 simd_options,
							 PGC_USERSET,
							 0,
							 check_simd,
							 assign_simd,
							 NULL);
}

static bool
check_simd(int *newval, void **extra, GucSource source)
{
	const char *best = vdb_distance_level_name(vdb_distance_best());

	if (*newval == SIMD_AUTO || vdb_distance_table(*newval) != NULL)
		return true;

	GUC_check_errcode(ERRCODE_FEATURE_NOT_SUPPORTED);
	GUC_check_errmsg("instruction set \"%s\" is not available",
					 vdb_distance_level_name(*newval));
	GUC_check_errdetail("The best one that this CPU and this build of vdb support is \"%s\".",
						best);
	GUC_check_errhint("Set vdb.simd to \"auto\", \"scalar\" or \"%s\".", best);
	return false;
}

static void
assign_simd(int newval, void *extra)
{
	if (newval == SIMD_AUTO)
		newval = vdb_distance_best();
	(void) vdb_distance_force(newval);
}
