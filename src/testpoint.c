/*
 * testpoint.c
 *	  The setting vdb.stop_at and what happens at the point that it names.
 *
 * A test that wants to see two backends meet in the middle of an operation
 * names the place:
 *
 *	  SET vdb.stop_at = 'hnsw-insert-after-node'			waits there
 *	  SET vdb.stop_at = 'hnsw-insert-after-node=error'		raises an error
 *	  SET vdb.stop_at = 'hnsw-insert-after-node=crash'		kills the backend
 *
 * Several may be named, with commas between.
 *
 * To wait is to ask for a shared advisory lock whose key is the hash of the
 * name, and to give it back at once.  A second session that holds
 *
 *	  SELECT pg_advisory_lock(hashtext('hnsw-insert-after-node'))
 *
 * keeps the first one there until it unlocks.  The wait is an ordinary wait for
 * a lock: it shows in pg_locks, isolationtester recognizes it, the deadlock
 * detector knows it, and a cancel request ends it.  Nothing is needed in shared
 * memory, so the library need not be preloaded.
 *
 * The server's own injection points exist from 17 on and only in builds that
 * were configured for them.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "testpoint.h"

typedef enum TestpointAction
{
	TESTPOINT_WAIT,
	TESTPOINT_ERROR,
	TESTPOINT_CRASH
} TestpointAction;

/* The longest name of a point, with the zero that ends it. */
#define TESTPOINT_NAME_SIZE 64

static const struct
{
	const char *word;
	TestpointAction action;
}			actions[] = {
	{"", TESTPOINT_WAIT},
	{"=error", TESTPOINT_ERROR},
	{"=crash", TESTPOINT_CRASH}
};

/* A point that the setting names. */
typedef struct Testpoint
{
	char		name[TESTPOINT_NAME_SIZE];
	TestpointAction action;
} Testpoint;

/* So many at most. */
#define TESTPOINTS 4

int			vdb_testpoint_count = 0;

static char *stop_at_setting;

/* The setting taken apart. */
static Testpoint points[TESTPOINTS];

static bool check_stop_at(char **newval, void **extra, GucSource source);
static void assign_stop_at(const char *newval, void *extra);
static int	parse_stop_at(const char *setting, Testpoint *parsed);
static bool parse_point(const char *text, size_t length, Testpoint *point);
static void wait_for_release(const char *name);

void
vdb_testpoint_init(void)
{
	DefineCustomStringVariable("vdb.stop_at",
							   "Names points in the code where this session waits, fails or crashes.",
							   "For tests of the extension.",
							   &stop_at_setting,
							   "",
							   PGC_SUSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   check_stop_at,
							   assign_stop_at,
							   NULL);
}

static bool
check_stop_at(char **newval, void **extra, GucSource source)
{
	Testpoint	parsed[TESTPOINTS];

	if (**newval == '\0' || parse_stop_at(*newval, parsed) > 0)
		return true;
	GUC_check_errdetail("A stop point is written name, name=error or name=crash.");
	return false;
}

static void
assign_stop_at(const char *newval, void *extra)
{
	vdb_testpoint_count = parse_stop_at(newval, points);
}

/* Returns how many points there are; 0: none, or it is not written right. */
static int
parse_stop_at(const char *setting, Testpoint *parsed)
{
	int			count = 0;

	while (count < TESTPOINTS)
	{
		size_t		length = strcspn(setting, ",");

		if (!parse_point(setting, length, &parsed[count++]))
			return 0;
		if (setting[length] == '\0')
			return count;
		setting += length + 1;
	}
	return 0;
}

static bool
parse_point(const char *text, size_t length, Testpoint *point)
{
	size_t		name = Min(strcspn(text, "="), length);

	if (name == 0 || name >= TESTPOINT_NAME_SIZE)
		return false;
	memcpy(point->name, text, name);
	point->name[name] = '\0';
	for (int i = 0; i < lengthof(actions); i++)
	{
		if (strlen(actions[i].word) == length - name &&
			strncmp(text + name, actions[i].word, length - name) == 0)
		{
			point->action = actions[i].action;
			return true;
		}
	}
	return false;
}

static const Testpoint *
find_point(const char *name)
{
	for (int i = 0; i < vdb_testpoint_count; i++)
	{
		if (strcmp(name, points[i].name) == 0)
			return &points[i];
	}
	return NULL;
}

bool
vdb_testpoint_is_set(const char *name)
{
	return find_point(name) != NULL;
}

void
vdb_testpoint_reach(const char *name)
{
	const Testpoint *point = find_point(name);

	if (point == NULL)
		return;

	/* An LWLock holds interrupts off, and a wait must be interruptible. */
	if (InterruptHoldoffCount != 0 || CritSectionCount != 0)
		elog(ERROR, "stop point \"%s\" was reached with a lock held", name);

	switch (point->action)
	{
		case TESTPOINT_WAIT:
			wait_for_release(name);
			break;
		case TESTPOINT_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("stopped at \"%s\"", name),
					 errdetail("The setting vdb.stop_at names this point.")));
			break;
		case TESTPOINT_CRASH:
			/* as if the machine had lost power: nothing gets to clean up */
			kill(MyProcPid, SIGKILL);
			for (;;)
				pg_usleep(1000000L);
	}
}

/* Waits as long as another session holds the advisory lock of that name. */
static void
wait_for_release(const char *name)
{
	int32		hash = DatumGetInt32(DirectFunctionCall1Coll(hashtext, C_COLLATION_OID,
															 CStringGetTextDatum(name)));
	int64		key = hash;
	LOCKTAG		tag;

	/* the tag that pg_advisory_lock(bigint) makes of a key */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
	(void) LockAcquire(&tag, ShareLock, false, false);
	(void) LockRelease(&tag, ShareLock, false);
}
