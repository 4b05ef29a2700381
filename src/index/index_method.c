/*
 * index_method.c
 *	  Which access methods are ours.
 */
#include "postgres.h"

#include "clock.h"
#include "index/index.h"

#define MAX_METHODS 4

static const VdbAccessMethod *methods[MAX_METHODS];
static int	method_count;

void
vdb_index_register(const VdbAccessMethod *method)
{
	/* a session whose first try to load the library failed tries again */
	if (vdb_index_method(method->costestimate) != NULL)
		return;
	Assert(method_count < MAX_METHODS);
	methods[method_count++] = method;
}

const VdbAccessMethod *
vdb_index_method(amcostestimate_function costestimate)
{
	for (int i = 0; i < method_count; i++)
	{
		if (methods[i]->costestimate == costestimate)
			return methods[i];
	}
	return NULL;
}

static void (*ask_upkeep) (void);

void
vdb_index_hook_upkeep(void (*ask) (void))
{
	ask_upkeep = ask;
}

void
vdb_index_ask_upkeep(void)
{
	static VdbMoment asked;
	VdbMoment	now;

	if (ask_upkeep == NULL)
		return;
	now = vdb_clock_read();
	if (asked != 0 && now < asked + USECS_PER_SEC)
		return;
	asked = now;
	ask_upkeep();
}
