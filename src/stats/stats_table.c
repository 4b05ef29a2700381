/*
 * stats_table.c
 *	  The table in shared memory: an index's counters, found by database and index.
 *
 * An index gets its place when something is counted of it for the first time.  When there is no
 * room, the places of this database's indexes that are gone, and of databases that are gone, are
 * given up; if there are none, what could not be counted is counted itself, and nothing fails.
 * Nobody asks for the others before: views go by the catalog.  To look is a matter of the catalog,
 * so it is done when a scan begins, not when it ends, which may be where an error is cleaned up.
 *
 * The lock is shared by whoever counts, in atomic counters, and held exclusively to give places
 * and take them.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "shmem.h"
#include "stats/stats_private.h"

/* A place's key: a database and an index of it.  There is no database 0. */
typedef uint64 StatsKey;
#define FREE_PLACE 0			/* and nobody's was beyond it */
#define GIVEN_UP 1

/* The same as VdbStats, to be counted in. */
typedef struct StatsEntry
{
	pg_atomic_uint64 values[VDB_STAT_COUNT];
	pg_atomic_uint64 buckets[VDB_BUCKETS];
	pg_atomic_uint64 nanoseconds;
} StatsEntry;

typedef struct StatsTable
{
	LWLock		lock;			/* on all that follows, but for counters */
	uint32		room;
	uint32		used;
	pg_atomic_uint64 not_counted;
	StatsKey	keys[FLEXIBLE_ARRAY_MEMBER];	/* then as many entries */
} StatsTable;

/* A session looks for what is gone at most so often, in microseconds. */
#define SWEEP_INTERVAL (60 * USECS_PER_SEC)

const double vdb_stats_bounds[VDB_BUCKETS] = {
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .07, .1, .15, .25, .5, 1, 2.5, 5, 10,
	INFINITY
};

static StatsTable *table;
static int	stat_indexes = 1000;

static Size
entries_offset(uint32 room)
{
	return MAXALIGN(offsetof(StatsTable, keys) + room * sizeof(StatsKey));
}

static Size
table_bytes(void)
{
	return entries_offset(stat_indexes) + stat_indexes * sizeof(StatsEntry);
}

static void
init_table(void *memory)
{
	StatsTable *fresh = memory;
	int			tranche = LWLockNewTrancheId();

	/* processes have the name from the one that starts them */
	LWLockRegisterTranche(tranche, "vdb_stats");
	LWLockInitialize(&fresh->lock, tranche);
	fresh->room = stat_indexes;
	fresh->used = 0;
	pg_atomic_init_u64(&fresh->not_counted, 0);
	memset(fresh->keys, 0, stat_indexes * sizeof(StatsKey));
}

void
vdb_stats_init(void)
{
	static const VdbSharedPart part = {
		.name = "vdb stats",
		.size = table_bytes,
		.init = init_table,
		.memory = (void **) &table
	};

	vdb_stats_init_scans();
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("vdb.stat_indexes",
							"Sets how many indexes statistics are kept of.",
							NULL,
							&stat_indexes,
							1000,
							1,
							100000,
							PGC_POSTMASTER,
							0,
							NULL,
							NULL,
							NULL);
	vdb_shmem_add(&part);
}

bool
vdb_stats_are_kept(void)
{
	return table != NULL;
}

static inline StatsKey
key_of(Oid index)
{
	return (StatsKey) MyDatabaseId << 32 | index;
}

static inline StatsEntry *
entry_at(uint32 place)
{
	return (StatsEntry *) ((char *) table + entries_offset(table->room)) + place;
}

/*
 * The place of a key; if it has none, *vacant is one that it may get.  Either is table->room
 * where there is none.  The lock is held.
 */
static uint32
find_place(StatsKey key, uint32 *vacant)
{
	uint32		room = table->room;
	uint32		place = murmurhash32((uint32) key ^ (uint32) (key >> 32)) % room;

	*vacant = room;
	for (uint32 i = 0; i < room; i++, place = place + 1 == room ? 0 : place + 1)
	{
		StatsKey	found = table->keys[place];

		if (found == key)
			return place;
		if (found <= GIVEN_UP && *vacant == room)
			*vacant = place;
		if (found == FREE_PLACE)
			break;
	}
	return room;
}

/* The lock is held exclusively. */
static void
give_up(uint32 place)
{
	uint32		room = table->room;

	table->keys[place] = GIVEN_UP;
	table->used--;

	/* nobody's place is beyond those at the end of a run */
	if (table->keys[place + 1 == room ? 0 : place + 1] != FREE_PLACE)
		return;
	while (table->keys[place] == GIVEN_UP)
	{
		table->keys[place] = FREE_PLACE;
		place = place == 0 ? room - 1 : place - 1;
	}
}

/* Is what a key stands for gone, as far as this transaction sees?  Of other databases' indexes nobody knows. */
static bool
is_gone(StatsKey key)
{
	Oid			database = (Oid) (key >> 32);

	if (database == MyDatabaseId)
		return !SearchSysCacheExists1(RELOID, ObjectIdGetDatum((Oid) key));
	return !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
}

/* Gives up the places of what is gone.  No lock is held, since the catalog is read. */
static void
sweep(void)
{
	StatsKey   *gone;
	uint32		count = 0;
	uint32		vacant;

	gone = palloc(table->room * sizeof(StatsKey));
	LWLockAcquire(&table->lock, LW_SHARED);
	memcpy(gone, table->keys, table->room * sizeof(StatsKey));
	LWLockRelease(&table->lock);
	for (uint32 i = 0; i < table->room; i++)
	{
		if (gone[i] > GIVEN_UP && is_gone(gone[i]))
			gone[count++] = gone[i];
	}
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (uint32 i = 0; i < count; i++)
	{
		uint32		place = find_place(gone[i], &vacant);

		if (place < table->room)
			give_up(place);
	}
	LWLockRelease(&table->lock);
	pfree(gone);
}

/* Is it time to sweep?  From now on it is not. */
static bool
is_sweep_due(void)
{
	static VdbMoment last_sweep = 0;
	VdbMoment	now = vdb_clock_read();
	bool		due = last_sweep == 0 || now >= last_sweep + SWEEP_INTERVAL;

	if (due)
		last_sweep = now;
	return due;
}

/* Does the table look full?  Without the lock: it is known when a place is wanted. */
static inline bool
is_full(void)
{
	return table->used >= table->room;
}

/* Gives a key a place, unless it has one or there is no room. */
static bool
add_place(StatsKey key)
{
	uint32		vacant;
	bool		has_room = true;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	if (find_place(key, &vacant) == table->room)
	{
		has_room = vacant < table->room;
		if (has_room)
		{
			StatsEntry *entry = entry_at(vacant);

			table->keys[vacant] = key;
			table->used++;
			for (int i = 0; i < VDB_STAT_COUNT; i++)
				pg_atomic_init_u64(&entry->values[i], 0);
			for (int i = 0; i < VDB_BUCKETS; i++)
				pg_atomic_init_u64(&entry->buckets[i], 0);
			pg_atomic_init_u64(&entry->nanoseconds, 0);
			pg_atomic_write_u64(&entry->values[VDB_STAT_SINCE], GetCurrentTimestamp());
		}
	}
	LWLockRelease(&table->lock);
	return has_room;
}

/* The entry of an index of this database, with the lock held; or NULL, and it is not. */
static StatsEntry *
find_entry(Oid index)
{
	uint32		vacant;
	uint32		place;

	if (table == NULL)
		return NULL;
	LWLockAcquire(&table->lock, LW_SHARED);
	place = find_place(key_of(index), &vacant);
	if (place < table->room)
		return entry_at(place);
	LWLockRelease(&table->lock);
	return NULL;
}

/*
 * The same, which is made if it is not there.  NULL: nothing is kept of the index.  Where the table
 * is full, that is known without the exclusive lock.
 */
static StatsEntry *
get_entry(Oid index)
{
	StatsEntry *entry = find_entry(index);

	if (entry != NULL || table == NULL)
		return entry;
	if (!is_full() && add_place(key_of(index)))
		entry = find_entry(index);
	if (entry == NULL)
		pg_atomic_fetch_add_u64(&table->not_counted, 1);
	return entry;
}

void
vdb_stats_make_room(Oid index)
{
	if (table == NULL || !is_full())
		return;
	if (find_entry(index) != NULL)
		LWLockRelease(&table->lock);
	else if (is_sweep_due())
		sweep();
}

void
vdb_stats_add(Oid index, VdbStat what, uint64 count)
{
	StatsEntry *entry;

	vdb_stats_make_room(index);
	entry = get_entry(index);
	if (entry == NULL)
		return;
	pg_atomic_fetch_add_u64(&entry->values[what], count);
	LWLockRelease(&table->lock);
}

void
vdb_stats_set(Oid index, VdbStat what, uint64 value)
{
	StatsEntry *entry;

	vdb_stats_make_room(index);
	entry = get_entry(index);
	if (entry == NULL)
		return;
	pg_atomic_write_u64(&entry->values[what], value);
	LWLockRelease(&table->lock);
}

void
vdb_stats_set_share(Oid index, VdbStat what, double share)
{
	uint64		bits;

	memcpy(&bits, &share, sizeof(bits));
	vdb_stats_set(index, what, bits);
}

void
vdb_stats_note(Oid index, VdbStat what, uint64 value, VdbStat when)
{
	vdb_stats_set(index, what, value);
	vdb_stats_set(index, when, GetCurrentTimestamp());
}

void
vdb_stats_note_build(Oid index, instr_time begun)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, begun);
	vdb_stats_note(index, VDB_STAT_BUILD_TIME, (uint64) (INSTR_TIME_GET_DOUBLE(now) * 1e9),
				   VDB_STAT_LAST_BUILD);
}

/* The bucket of a scan that took so long. */
static int
find_bucket(uint64 nanoseconds)
{
	int			bucket = 0;

	while (nanoseconds > vdb_stats_bounds[bucket] * 1e9)
		bucket++;
	return bucket;
}

void
vdb_stats_add_scan(Oid index, const VdbScanCounts *counts, uint64 nanoseconds)
{
	StatsEntry *entry = get_entry(index);

	if (entry == NULL)
		return;
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_SCANS], 1);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_ROWS], counts->rows);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_CANDIDATES], counts->candidates);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_DISTANCES], counts->distances);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_EXACT_DISTANCES], counts->exact);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_ROUNDS], counts->rounds);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_PAGES_HIT], counts->pages_hit);
	pg_atomic_fetch_add_u64(&entry->values[VDB_STAT_PAGES_READ], counts->pages_read);
	pg_atomic_fetch_add_u64(&entry->buckets[find_bucket(nanoseconds)], 1);
	pg_atomic_fetch_add_u64(&entry->nanoseconds, nanoseconds);
	LWLockRelease(&table->lock);
}

bool
vdb_stats_read(Oid index, VdbStats *stats)
{
	StatsEntry *entry = find_entry(index);

	if (entry == NULL)
		return false;
	for (int i = 0; i < VDB_STAT_COUNT; i++)
		stats->values[i] = pg_atomic_read_u64(&entry->values[i]);
	for (int i = 0; i < VDB_BUCKETS; i++)
		stats->buckets[i] = pg_atomic_read_u64(&entry->buckets[i]);
	stats->nanoseconds = pg_atomic_read_u64(&entry->nanoseconds);
	LWLockRelease(&table->lock);
	return true;
}

VdbStatsRoom
vdb_stats_room(void)
{
	VdbStatsRoom room;

	LWLockAcquire(&table->lock, LW_SHARED);
	room.room = table->room;
	room.used = table->used;
	room.not_counted = pg_atomic_read_u64(&table->not_counted);
	LWLockRelease(&table->lock);
	return room;
}

void
vdb_stats_forget(Oid index)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (uint32 place = 0; place < table->room; place++)
	{
		StatsKey	key = table->keys[place];

		if (key >> 32 == MyDatabaseId && (!OidIsValid(index) || key == key_of(index)))
			give_up(place);
	}
	LWLockRelease(&table->lock);
}
