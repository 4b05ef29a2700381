/*
 * compute_fault.c
 *	  The provider that fails, for tests: in the way that vdb.provider_fault says.
 */
#include "postgres.h"

#include <float.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "compute/compute_private.h"

typedef enum Fault
{
	FAULT_OUT_OF_MEMORY,		/* each time */
	FAULT_TIMEOUT,				/* each time, after a while */
	FAULT_DEVICE_LOST,			/* the second time of two, in the middle */
	FAULT_SLOW					/* not at all, but it takes its time */
} Fault;

static const struct config_enum_entry faults[] = {
	{"out_of_memory", FAULT_OUT_OF_MEMORY, false},
	{"timeout", FAULT_TIMEOUT, false},
	{"device_lost", FAULT_DEVICE_LOST, false},
	{"slow", FAULT_SLOW, false},
	{NULL, 0, false}
};

static int	fault = FAULT_OUT_OF_MEMORY;

/* Microseconds. */
#define A_WHILE 10000

static bool
is_available(const char **why_not)
{
	return true;
}

/* Whoever believed such products would find no row. */
static void
spoil(float *out, size_t count)
{
	for (size_t i = 0; i < count; i++)
		out[i] = -FLT_MAX;
}

static const char *
inner_products(size_t dims, size_t nq, const float *queries, size_t n, const float *rows, float *out)
{
	static bool lost = true;

	switch ((Fault) fault)
	{
		case FAULT_OUT_OF_MEMORY:
			return "out of memory";
		case FAULT_TIMEOUT:
			pg_usleep(A_WHILE);
			spoil(out, nq * n);
			return "timeout";
		case FAULT_DEVICE_LOST:
			(void) vdb_compute_cpu.inner_products(dims, nq, queries, n, rows, out);
			lost = !lost;
			if (!lost)
				return NULL;
			spoil(out, nq * n / 2);
			return "device lost";
		case FAULT_SLOW:
			CHECK_FOR_INTERRUPTS();
			pg_usleep(A_WHILE);
	}
	return vdb_compute_cpu.inner_products(dims, nq, queries, n, rows, out);
}

/* Finds by a panel, where it finds. */
typedef struct FaultFinder
{
	VdbFinder	finder;
	VdbFinder  *panel;
	bool		lost;			/* the next time */
} FaultFinder;

static bool
fail(const char *why)
{
	vdb_compute_report(&vdb_compute_fault, why);
	return false;
}

static bool
put(VdbFinder *base, uint32_t count, uint32_t first, uint32_t n, VdbCodes codes)
{
	FaultFinder *finder = (FaultFinder *) base;

	if (fault == FAULT_OUT_OF_MEMORY)
		return fail("out of memory");
	return finder->panel->put(finder->panel, count, first, n, codes);
}

static bool
find(VdbFinder *base, uint32_t n, VdbCodes codes, uint32_t m, VdbNeighbor *out)
{
	FaultFinder *finder = (FaultFinder *) base;

	if (fault == FAULT_SLOW || fault == FAULT_TIMEOUT)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(A_WHILE);
	}
	if (!finder->panel->find(finder->panel, n, codes, m, out))
		return false;
	if (fault == FAULT_SLOW)
		return true;

	/* whoever believed this would take the first of the set for the nearest */
	for (size_t i = 0; i < (size_t) n * m && (fault == FAULT_TIMEOUT || finder->lost); i++)
		out[i] = (VdbNeighbor) {.score = -FLT_MAX};
	if (fault == FAULT_TIMEOUT)
		return fail("timeout");
	finder->lost = !finder->lost;
	return finder->lost || fail("device lost");
}

static VdbFinder *
make_finder(const VdbCodec *codec, uint32_t room)
{
	FaultFinder *finder = palloc0(sizeof(FaultFinder));
	char	   *memory = palloc_extended(vdb_finder_bytes(codec, room) + 64, MCXT_ALLOC_HUGE);

	finder->panel = vdb_finder_init(codec, room, (char *) TYPEALIGN(64, memory));
	finder->finder = (VdbFinder) {.most = finder->panel->most, .put = put, .find = find};
	return &finder->finder;
}

const VdbProvider vdb_compute_fault = {
	.name = "fault",
	.is_available = is_available,
	.inner_products = inner_products,
	.make_finder = make_finder
};

void
vdb_compute_init_fault(void)
{
	DefineCustomEnumVariable("vdb.provider_fault",
							 "Sets how the provider \"fault\" fails.",
							 "For tests of the extension.",
							 &fault,
							 FAULT_OUT_OF_MEMORY,
							 faults,
							 PGC_USERSET,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
}
