/*
 * shmem.c
 *	  Shared memory that modules asked for, given to them when the server starts.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "shmem.h"

#define MAX_PARTS 5

static const VdbSharedPart *parts[MAX_PARTS];
static int	part_count;

static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;

void
vdb_shmem_add(const VdbSharedPart *part)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	if (part_count == MAX_PARTS)
		elog(ERROR, "more than %d parts of shared memory", MAX_PARTS);
	parts[part_count++] = part;
}

static void
request(void)
{
	if (next_request != NULL)
		next_request();
	for (int i = 0; i < part_count; i++)
		RequestAddinShmemSpace(MAXALIGN(parts[i]->size()));
}

static void
startup(void)
{
	if (next_startup != NULL)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < part_count; i++)
	{
		bool		found;

		*parts[i]->memory = ShmemInitStruct(parts[i]->name, parts[i]->size(), &found);
		if (!found)
			parts[i]->init(*parts[i]->memory);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
vdb_shmem_hook(void)
{
	if (part_count == 0)
		return;
	next_request = shmem_request_hook;
	shmem_request_hook = request;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
