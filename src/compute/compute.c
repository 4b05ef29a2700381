/*
 * compute.c
 *	  Which provider computes, and what happens when it cannot.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "compute/compute_private.h"
#include "quant/panel.h"

/* Values of vdb.provider: of a provider, its place in the table. */
enum
{
	PROVIDER_CPU,
	PROVIDER_BLAS,
	PROVIDER_CUDA,
	PROVIDER_FAULT,
	PROVIDER_AUTO
};

/* Where no device is hooked, that of one is NULL. */
static const VdbProvider *providers[] = {
	[PROVIDER_CPU] = &vdb_compute_cpu,
	[PROVIDER_BLAS] = &vdb_compute_blas,
	[PROVIDER_CUDA] = NULL,
	[PROVIDER_FAULT] = &vdb_compute_fault
};

static const struct config_enum_entry provider_options[] = {
	{"auto", PROVIDER_AUTO, false},
	{"cpu", PROVIDER_CPU, false},
	{"blas", PROVIDER_BLAS, false},
	{"cuda", PROVIDER_CUDA, false},
	{"fault", PROVIDER_FAULT, true},
	{NULL, 0, false}
};

static int	provider_setting = PROVIDER_AUTO;

/* Queries from which on a product of matrices is faster than one of vectors at a time. */
#define BLAS_QUERIES 8

/* In this session it was said that a provider failed. */
static bool reported[lengthof(providers)];

void
vdb_compute_report(const VdbProvider *provider, const char *why)
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

	if (provider_setting != PROVIDER_AUTO && provider_setting != PROVIDER_CUDA)
		provider = providers[provider_setting];
	else
		provider = nq >= BLAS_QUERIES ? &vdb_compute_blas : &vdb_compute_cpu;
	if (provider->is_available(&why_not))
		return provider;
	vdb_compute_report(provider, why_not);
	return &vdb_compute_cpu;
}

void
vdb_compute_inner_products(const VdbProvider **provider, size_t dims, size_t nq, const float *queries,
						   size_t n, const float *rows, float *out)
{
	const char *failure = (*provider)->inner_products(dims, nq, queries, n, rows, out);

	if (failure == NULL)
		return;
	vdb_compute_report(*provider, failure);
	*provider = &vdb_compute_cpu;
	(void) vdb_compute_cpu.inner_products(dims, nq, queries, n, rows, out);
}

void
vdb_compute_hook_device(const VdbProvider *device)
{
	providers[PROVIDER_CUDA] = device;
}

VdbFinder *
vdb_compute_make_finder(const VdbCodec *codec, uint32_t room)
{
	const VdbProvider *provider = providers[provider_setting == PROVIDER_AUTO ? PROVIDER_CUDA : provider_setting];
	const char *why_not;

	if (provider == NULL || provider->make_finder == NULL || !vdb_panel_multiplies(codec))
		return NULL;
	if (provider->is_available(&why_not))
		return provider->make_finder(codec, room);

	/* mostly there is no device, and nobody has asked for one */
	if (provider_setting != PROVIDER_AUTO)
		vdb_compute_report(provider, why_not);
	return NULL;
}

void
vdb_compute_init(void)
{
	DefineCustomEnumVariable("vdb.provider",
							 "Sets what computes the inner products of a batch of queries, and finds neighbors for builds.",
							 "With \"auto\" a device finds neighbors, where there is one.",
							 &provider_setting,
							 PROVIDER_AUTO,
							 provider_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	vdb_compute_init_fault();
}
