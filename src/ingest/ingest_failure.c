/*
 * ingest_failure.c
 *	  Whose fault an error is, and steps that may fail.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "ingest/ingest_private.h"

/* What a function raises when a model says 429 or 503. */
#define ERRCODE_TOO_MANY_REQUESTS MAKE_SQLSTATE('V', 'D', '4', '2', '9')
#define ERRCODE_MODEL_UNAVAILABLE MAKE_SQLSTATE('V', 'D', '5', '0', '3')

VdbBlame
vdb_ingest_blame(int sqlerrcode)
{
	if (sqlerrcode == ERRCODE_TOO_MANY_REQUESTS)
		return VDB_BLAME_LIMIT;
	if (sqlerrcode == ERRCODE_MODEL_UNAVAILABLE)
		return VDB_BLAME_AWAY;

	/* of its class the only one that waiting does not mend: a variable that a function has not set, say */
	if (sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		return VDB_BLAME_ROWS;
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):	/* connections */
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'):	/* a transaction that may not write */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* deadlocks, serialization */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* memory, disc */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):	/* locks, what is in use */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* timeouts, shutdowns */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* input and output */
			return VDB_BLAME_AWAY;
		case MAKE_SQLSTATE('4', '2', '0', '0', '0'):	/* names, types, privileges */
			return VDB_BLAME_DEFINITION;
		default:
			return VDB_BLAME_ROWS;
	}
}

ErrorData *
vdb_ingest_attempt(void (*step) (void *arg), void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	return error;
}

char *
vdb_ingest_try(void (*step) (void *arg), void *arg)
{
	ErrorData  *error = vdb_ingest_attempt(step, arg);

	if (error == NULL)
		return NULL;
	if (vdb_ingest_blame(error->sqlerrcode) != VDB_BLAME_ROWS)
		ReThrowError(error);
	return error->message;
}
