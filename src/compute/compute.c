/*
 * compute.c
 *	  Which provider computes, and what happens when it cannot.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "compute/compute_private.h"

/* Values of vdb.provider: of a provider, its place in the table. */
enum
{
	PROVIDER_CPU,
	PROVIDER_BLAS,
	PROVIDER_FAULT,
	PROVIDER_AUTO
};

static const VdbProvider *const providers[] = {
	[PROVIDER_CPU] = &vdb_compute_cpu,
	[PROVIDER_BLAS] = &vdb_compute_blas,
	[PROVIDER_FAULT] = &vdb_compute_fault
};

static const struct config_enum_entry provider_options[] = {
	{"auto", PROVIDER_AUTO, false},
	{"cpu", PROVIDER_CPU, false},
	{"blas", PROVIDER_BLAS, false},
	{"fault", PROVIDER_FAULT, true},
	{NULL, 0, false}
};

static int	provider_setting = PROVIDER_AUTO;

/* Queries from which on a product of matrices is faster than one of vectors at a time. */
#define BLAS_QUERIES 8

/* In this session it was said that a provider failed. */
static bool reported[lengthof(providers)];

static void
report_failure(const VdbProvider *provider, const char *why)
{
	for (int i = 0; i < lengthof(providers); i++)
	{
		if (providers[i] != provider || reported[i])
			continue;
		reported[i] = true;
		ereport(LOG,
				(errmsg("provider \"%s\" failed: %s", provider->name, why),
				 errdetail("What it was to compute, \"%s\" computes.  Further failures in this session are not logged.",
						   vdb_compute_cpu.name)));
	}
}

const VdbProvider *
vdb_compute_choose(size_t nq)
{
	const VdbProvider *provider;
	const char *why_not;

	if (provider_setting != PROVIDER_AUTO)
		provider = providers[provider_setting];
	else
		provider = nq >= BLAS_QUERIES ? &vdb_compute_blas : &vdb_compute_cpu;
	if (provider->is_available(&why_not))
		return provider;
	report_failure(provider, why_not);
	return &vdb_compute_cpu;
}

void
vdb_compute_inner_products(const VdbProvider **provider, size_t dims, size_t nq, const float *queries,
						   size_t n, const float *rows, float *out)
{
	const char *failure = (*provider)->inner_products(dims, nq, queries, n, rows, out);

	if (failure == NULL)
		return;
	report_failure(*provider, failure);
	*provider = &vdb_compute_cpu;
	(void) vdb_compute_cpu.inner_products(dims, nq, queries, n, rows, out);
}

void
vdb_compute_init(void)
{
	DefineCustomEnumVariable("vdb.provider",
							 "Sets what computes the inner products of a batch of queries.",
							 NULL,
							 &provider_setting,
							 PROVIDER_AUTO,
							 provider_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	vdb_compute_init_fault();
}
