/*
 * ingest_statement.c
 *	  SQL statements of this folder, that are kept prepared.
 *
 * A claim and its end are a dozen statements, which it takes longer to parse than to run.  They are found by
 * their text, so that one of a pipeline whose columns have changed is another one.  Each time
 * they are planned anew: the queue is empty now and has a million rows a minute later, and a plan for
 * the one would be kept for the other.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "ingest/ingest_private.h"

/* So many statements are kept, and those that are being run. */
#define KEPT_STATEMENTS 128

typedef struct KeptStatement
{
	dlist_node	node;
	uint64		hash;			/* of the text */
	char	   *sql;
	int			count;
	Oid			types[VDB_STATEMENT_ARGS];
	SPIPlanPtr	plan;
	int			running;		/* a function that a statement calls may get here again */
} KeptStatement;

/* The one that was used last comes first. */
static dlist_head kept = DLIST_STATIC_INIT(kept);
static int	kept_count;

static KeptStatement *
find_statement(const char *sql, uint64 hash, int count, const Oid *types)
{
	dlist_iter	iter;

	dlist_foreach(iter, &kept)
	{
		KeptStatement *entry = dlist_container(KeptStatement, node, iter.cur);

		if (entry->hash == hash && entry->count == count && strcmp(entry->sql, sql) == 0 &&
			memcmp(entry->types, types, count * sizeof(Oid)) == 0)
			return entry;
	}
	return NULL;
}

/* Makes room for one more, if it can. */
static void
drop_oldest(void)
{
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &kept)
	{
		KeptStatement *entry = dlist_container(KeptStatement, node, iter.cur);

		if (entry->running > 0)
			continue;
		dlist_delete(&entry->node);
		kept_count--;
		SPI_freeplan(entry->plan);
		pfree(entry->sql);
		pfree(entry);
		return;
	}
}

static SPIPlanPtr
prepare(const char *sql, int count, const Oid *types)
{
	bool		alone = !ActiveSnapshotSet();
	SPIPlanPtr	plan;

	/* a background process has no snapshot of a query that calls it */
	if (alone)
		PushActiveSnapshot(GetTransactionSnapshot());
	plan = SPI_prepare_cursor(sql, count, unconstify(Oid *, types), CURSOR_OPT_CUSTOM_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	if (alone)
		PopActiveSnapshot();
	return plan;
}

static KeptStatement *
keep(const char *sql, uint64 hash, int count, const Oid *types)
{
	SPIPlanPtr	plan = prepare(sql, count, types);
	KeptStatement *entry;

	if (kept_count >= KEPT_STATEMENTS)
		drop_oldest();
	entry = MemoryContextAllocZero(TopMemoryContext, sizeof(KeptStatement));
	entry->sql = MemoryContextStrdup(TopMemoryContext, sql);
	entry->hash = hash;
	entry->count = count;
	memcpy(entry->types, types, count * sizeof(Oid));
	entry->plan = plan;
	dlist_push_head(&kept, &entry->node);
	kept_count++;
	return entry;
}

uint64
vdb_ingest_run(const char *sql, int count, const Oid *types, const Datum *values, const char *nulls)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) sql, strlen(sql), 0);
	MemoryContext memory = CurrentMemoryContext;
	KeptStatement *entry;
	int			result = 0;

	Assert(count <= VDB_STATEMENT_ARGS);
	entry = find_statement(sql, hash, count, types);
	if (entry == NULL)
		entry = keep(sql, hash, count, types);
	dlist_move_head(&kept, &entry->node);
	entry->running++;
	PG_TRY();
	{
		result = SPI_execute_plan(entry->plan, unconstify(Datum *, values), nulls, false, 0);
	}
	PG_FINALLY();
	{
		entry->running--;
	}
	PG_END_TRY();

	/* SPI leaves its own */
	MemoryContextSwitchTo(memory);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}
