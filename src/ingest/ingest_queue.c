/*
 * ingest_queue.c
 *	  The queue of keys: what is put in, claimed, finished and given back.
 *
 * docs/design/020-ingest.md says why it loses nothing.  The functions that programs outside call are in
 * ingest_lease.c.
 *
 * Locks are taken in this order: the pipeline's row, entries in the order of keys, rows of the target.  Who has
 * entries, and would write into the pipeline's row what is not worth waiting for, leaves it where that is
 * locked; and who claims, and would share that row, leaves the entries.
 *
 * A transaction that sees one snapshot throughout may use them, too.  It sees an entry only if it also sees
 * the row as the entry's change left it; and an entry that was moved since, or a pipeline that was changed, raises an error of
 * serialization when it is locked, so that the transaction is begun anew.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "ingest/ingest_private.h"
#include "types/vector.h"

/* A row that has failed is tried again after 1 s, 2 s, 4 s ... */
#define FIRST_RETRY "1 s"
#define LAST_RETRY "1 min"

/* Tells texts apart; the same in the table's column source_hash. */
#define HASH_OF(text) "left(encode(sha256(convert_to(" text ", 'UTF8')), 'hex'), 32)"

/* What becomes of a row that is claimed. */
typedef enum Verdict
{
	TO_EMBED,
	UNCHANGED,
	GONE,
	FAILED
} Verdict;

typedef struct Row
{
	char	   *key;
	char	   *content;
	char	   *hash;
	Verdict		verdict;
	char	   *error;
} Row;

/* Some of the rows of a claim, and what is to be done with them. */
typedef struct Step
{
	void		(*take) (void *step);
	const VdbPipeline *pipeline;
	const VdbPipelineTypes *types;
	Row		   *rows;
	int			count;
} Step;

/* --- values -------------------------------------------------------------------- */

static Datum
form_texts(char **texts, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
form_vectors(Datum *vectors, int count, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(vectors, count, type, length, by_value, align));
}

static Datum
read_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* In memory that was current before SPI's; NULL where there is none. */
static char *
read_text(uint64 row, int column, MemoryContext memory)
{
	bool		isnull;
	Datum		value = read_value(row, column, &isnull);
	MemoryContext old = MemoryContextSwitchTo(memory);
	char	   *result = isnull ? NULL : TextDatumGetCString(value);

	MemoryContextSwitchTo(old);
	return result;
}

static bool
read_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = read_value(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* --- putting in ---------------------------------------------------------------- */

int64
vdb_ingest_enqueue(int pipeline, char **keys, int count, XLogRecPtr lsn, TimestampTz changed_at, bool backfill)
{
	/*
	 * Whoever works on a key goes on, and sees at the end that its LSN has moved.  One that has failed is
	 * as good as new.
	 *
	 * A row that had been there was locked before it was updated, which its xmax still says.
	 */
	static const char *const sql =
		"WITH entries AS ("
		"INSERT INTO vdb.ingest_queue AS q (pipeline, key, lsn, changed_at, backfill, due) "
		"SELECT $1, key, $3, $4, $5, $4 FROM unnest($2) key "
		"ON CONFLICT (pipeline, key) DO UPDATE SET lsn = greatest(q.lsn, excluded.lsn), "
		"backfill = q.backfill AND excluded.backfill, attempts = 0, "
		"changed_at = CASE WHEN q.backfill THEN excluded.changed_at ELSE q.changed_at END, "
		"due = CASE WHEN q.lease IS NOT NULL AND q.due > $6 THEN q.due "
		"WHEN q.backfill OR q.attempts > 0 THEN excluded.due ELSE least(q.due, excluded.due) END "
		"WHERE q.lsn < excluded.lsn OR (q.backfill AND NOT excluded.backfill) "
		"RETURNING q.xmax = '0' AS is_new) "
		"SELECT count(*) FILTER (WHERE is_new) FROM entries";
	static const Oid types[] = {INT4OID, TEXTARRAYOID, PG_LSNOID, TIMESTAMPTZOID, BOOLOID, TIMESTAMPTZOID};
	Datum		values[lengthof(types)];
	bool		isnull;
	int64		added;

	if (count == 0)
		return 0;

	/* everybody locks entries in this order */
	qsort(keys, count, sizeof(char *), compare_texts);
	values[0] = Int32GetDatum(pipeline);
	values[1] = form_texts(keys, count);
	values[2] = LSNGetDatum(lsn);
	values[3] = TimestampTzGetDatum(changed_at);
	values[4] = BoolGetDatum(backfill);
	values[5] = TimestampTzGetDatum(GetCurrentTimestamp());
	(void) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
	added = DatumGetInt64(read_value(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	pfree(DatumGetPointer(values[1]));
	return added;
}

bool
vdb_ingest_may_embed(const VdbPipeline *pipeline)
{
	return (pipeline->state == VDB_STATE_RUNNING || pipeline->state == VDB_STATE_OVERFLOW) &&
		pipeline->wait_until <= GetCurrentTimestamp();
}

/* --- claiming ------------------------------------------------------------------ */

/*
 * Locks entries that are due, and that nobody else has locked, and makes rows of them; returns how many.
 */
static int
lock_due(const VdbPipeline *pipeline, bool backfill, TimestampTz now, Row *rows, int count, MemoryContext memory)
{
	static const char *const sql =
		"SELECT key FROM vdb.ingest_queue WHERE pipeline = $1 AND backfill = $2 AND due <= $3 "
		"ORDER BY due LIMIT $4 FOR UPDATE SKIP LOCKED";
	static const Oid types[] = {INT4OID, BOOLOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {
		Int32GetDatum(pipeline->id), BoolGetDatum(backfill), TimestampTzGetDatum(now), Int32GetDatum(count)
	};
	int			found;

	found = (int) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
	for (int i = 0; i < found; i++)
		rows[i] = (Row) {.key = read_text(i, 1, memory)};
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* Keys of the rows with such a verdict; returns how many. */
static int
pick_keys(const Row *rows, int count, Verdict verdict, char **keys)
{
	int			found = 0;

	for (int i = 0; i < count; i++)
	{
		if (rows[i].verdict == verdict)
			keys[found++] = rows[i].key;
	}
	return found;
}

/* What reads rows by keys: number, content, hash, and whether it is what the target has. */
static char *
form_read(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	const char *target = types->same_table ? "s" : "t";
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT k.number::int, s.%s::text, h.hash, ", quote_identifier(pipeline->content));
	if (types->has_source_hash)
		appendStringInfo(&sql, "%s.source_hash = h.hash AND %s.%s IS NOT NULL", target, target,
						 quote_identifier(pipeline->embedding));
	else
		appendStringInfoString(&sql, "false");
	if (types->has_model_version)
		appendStringInfo(&sql, " AND %s.model_version IS NOT DISTINCT FROM $2", target);
	appendStringInfo(&sql,
					 " FROM unnest($1) WITH ORDINALITY k(key, number) "
					 "LEFT JOIN %s s ON s.%s %s k.key::%s ",
					 types->source, quote_identifier(pipeline->key), types->key_equals, types->key_type);
	if (!types->same_table)
		appendStringInfo(&sql,
						 "LEFT JOIN %s t ON t.%s %s k.key::%s ",
						 types->target, quote_identifier(pipeline->target_key), types->target_key_equals,
						 types->target_key_type);

	/* without OFFSET it would be computed each time that it is used */
	appendStringInfo(&sql,
					 "LEFT JOIN LATERAL (SELECT " HASH_OF("s.%s::text") " AS hash OFFSET 0) h ON true",
					 quote_identifier(pipeline->content));
	return sql.data;
}

/* Reads rows, under a snapshot that is younger than the locks on their entries. */
static void
read_rows(void *arg)
{
	static const Oid types[] = {TEXTARRAYOID, TEXTOID};
	Step	   *step = arg;
	MemoryContext memory = CurrentMemoryContext;
	const char *version = step->pipeline->model_version;
	char	  **keys = palloc(sizeof(char *) * step->count);
	char		nulls[] = {' ', version == NULL ? 'n' : ' '};
	Datum		values[lengthof(types)];
	VdbIdentity before;
	uint64		found;

	for (int i = 0; i < step->count; i++)
		keys[i] = step->rows[i].key;
	values[0] = form_texts(keys, step->count);
	values[1] = version == NULL ? (Datum) 0 : CStringGetTextDatum(version);
	vdb_ingest_become_owner(step->pipeline, &before);
	found = vdb_ingest_run(form_read(step->pipeline, step->types), lengthof(types), types, values, nulls);
	vdb_ingest_come_back(&before);
	for (uint64 i = 0; i < found; i++)
	{
		bool		isnull;
		int			number = DatumGetInt32(read_value(i, 1, &isnull));
		Row		   *row = &step->rows[number - 1];

		row->hash = read_text(i, 3, memory);
		row->verdict = row->hash == NULL ? GONE : read_bool(i, 4) ? UNCHANGED : TO_EMBED;
		row->content = row->verdict == TO_EMBED ? read_text(i, 2, memory) : NULL;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Does away with the embeddings of those that have gone, or have nothing to embed. */
static void
delete_embeddings(void *arg)
{
	static const Oid types[] = {TEXTARRAYOID};
	Step	   *step = arg;
	const VdbPipeline *pipeline = step->pipeline;
	char	  **keys = palloc(sizeof(char *) * step->count);
	int			count = pick_keys(step->rows, step->count, GONE, keys);
	const char *key = quote_identifier(pipeline->target_key);
	const char *embedding = quote_identifier(pipeline->embedding);
	StringInfoData sql;
	VdbIdentity before;
	Datum		value;

	if (count == 0)
		return;
	initStringInfo(&sql);
	if (step->types->same_table)
		appendStringInfo(&sql, "UPDATE %s t SET %s = NULL%s FROM unnest($1) k(key) "
						 "WHERE t.%s %s k.key::%s AND t.%s IS NOT NULL",
						 step->types->target, embedding,
						 step->types->has_source_hash ? ", source_hash = NULL" : "",
						 key, step->types->target_key_equals, step->types->target_key_type, embedding);
	else
		appendStringInfo(&sql, "DELETE FROM %s t USING unnest($1) k(key) WHERE t.%s %s k.key::%s",
						 step->types->target, key, step->types->target_key_equals, step->types->target_key_type);
	value = form_texts(keys, count);
	vdb_ingest_become_owner(pipeline, &before);
	vdb_ingest_count(pipeline->id, VDB_INGEST_DELETED,
					 vdb_ingest_run(sql.data, lengthof(types), types, &value, NULL));
	vdb_ingest_come_back(&before);
}

/*
 * Takes a step; if it fails, each half of it, and each half of that, until those are found whose
 * fault it is.
 */
static void
take_step(Step step)
{
	char	   *error = vdb_ingest_try(step.take, &step);
	Step		half = step;

	if (error == NULL)
		return;
	CHECK_FOR_INTERRUPTS();
	if (step.count == 1)
	{
		step.rows[0].verdict = FAILED;
		step.rows[0].error = error;
		return;
	}
	half.count = step.count / 2;
	take_step(half);
	half.rows = step.rows + half.count;
	half.count = step.count - half.count;
	take_step(half);
}

static int64
create_lease(const VdbPipeline *pipeline)
{
	static const char *const sql = "SELECT nextval('vdb.ingest_lease')";
	bool		isnull;
	int64		number;

	(void) vdb_ingest_run(sql, 0, NULL, NULL, NULL);
	number = DatumGetInt64(read_value(0, 1, &isnull));
	return ((int64) pipeline->id << VDB_LEASE_BITS) | (number & ((INT64CONST(1) << VDB_LEASE_BITS) - 1));
}

static void
write_lease(const VdbPipeline *pipeline, int64 lease, TimestampTz now, int lease_ms, const Row *rows, int count)
{
	static const char *const sql =
		"UPDATE vdb.ingest_queue q SET lease = $4, leased_at = $5, leased_lsn = q.lsn, leased_hash = r.hash, "
		"due = $6 FROM unnest($2, $3) r(key, hash) WHERE q.pipeline = $1 AND q.key = r.key";
	static const Oid types[] = {INT4OID, TEXTARRAYOID, TEXTARRAYOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	char	  **keys = palloc(sizeof(char *) * count);
	char	  **hashes = palloc(sizeof(char *) * count);
	int			found = 0;
	Datum		values[lengthof(types)];

	for (int i = 0; i < count; i++)
	{
		if (rows[i].verdict != TO_EMBED)
			continue;
		keys[found] = rows[i].key;
		hashes[found++] = rows[i].hash;
	}
	if (found == 0)
		return;
	values[0] = Int32GetDatum(pipeline->id);
	values[1] = form_texts(keys, found);
	values[2] = form_texts(hashes, found);
	values[3] = Int64GetDatum(lease);
	values[4] = TimestampTzGetDatum(now);
	values[5] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) lease_ms));
	(void) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
}

/* Runs a statement on keys of a pipeline. */
static uint64
run_on_keys(const char *sql, const VdbPipeline *pipeline, char **keys, int count)
{
	static const Oid types[] = {INT4OID, TEXTARRAYOID};
	Datum		values[lengthof(types)];

	if (count == 0)
		return 0;
	values[0] = Int32GetDatum(pipeline->id);
	values[1] = form_texts(keys, count);
	return vdb_ingest_run(sql, lengthof(types), types, values, NULL);
}

#define DELETE_ENTRIES "DELETE FROM vdb.ingest_queue WHERE pipeline = $1 AND key = ANY ($2)"

/*
 * Counts a failure of each of these entries, which are locked.  What has changed since it was
 * claimed has not failed.
 */
static void
count_failures(const VdbPipeline *pipeline, char **keys, int count, const char *error)
{
	static const char *const bury =
		"WITH given_up AS (DELETE FROM vdb.ingest_queue WHERE pipeline = $1 AND key = ANY ($2) "
		"AND attempts + 1 >= $5 AND lsn <= coalesce(leased_lsn, lsn) "
		"RETURNING key, attempts + 1 AS attempts, changed_at) "
		"INSERT INTO vdb.ingest_dead AS d (pipeline, key, error, attempts, changed_at, died_at) "
		"SELECT $1, key, $3, attempts, changed_at, $4 FROM given_up "
		"ON CONFLICT (pipeline, key) DO UPDATE SET error = excluded.error, attempts = excluded.attempts, "
		"changed_at = excluded.changed_at, died_at = excluded.died_at";
	static const char *const give_back =
		"UPDATE vdb.ingest_queue SET lease = NULL, leased_at = NULL, leased_lsn = NULL, leased_hash = NULL, "
		"attempts = CASE WHEN lsn > leased_lsn THEN 0 ELSE attempts + 1 END, "
		"changed_at = CASE WHEN lsn > leased_lsn THEN leased_at ELSE changed_at END, "
		"due = CASE WHEN lsn > leased_lsn THEN $4 ELSE "
		"$4 + least('" FIRST_RETRY "'::interval * power(2, least(attempts, 20)), '" LAST_RETRY "') END "
		"WHERE pipeline = $1 AND key = ANY ($2)";
	static const Oid types[] = {INT4OID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[lengthof(types)];

	if (count == 0)
		return;
	values[0] = Int32GetDatum(pipeline->id);
	values[1] = form_texts(keys, count);
	values[2] = CStringGetTextDatum(error);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[4] = Int32GetDatum(pipeline->max_attempts);
	vdb_ingest_count(pipeline->id, VDB_INGEST_FAILED, count);
	vdb_ingest_count(pipeline->id, VDB_INGEST_DEAD,
					 vdb_ingest_run(bury, lengthof(types), types, values, NULL));
	vdb_ingest_count(pipeline->id, VDB_INGEST_RETRIES,
					 vdb_ingest_run(give_back, lengthof(types), types, values, NULL));
}

/* A pipeline's row, unless somebody has it locked. */
#define IF_UNLOCKED "id IN (SELECT id FROM vdb.pipeline WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED)"

void
vdb_ingest_note_error(const VdbPipeline *pipeline, const char *error, bool late)
{
	static const Oid types[] = {INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {
		Int32GetDatum(pipeline->id), CStringGetTextDatum(error), TimestampTzGetDatum(GetCurrentTimestamp())
	};

	(void) vdb_ingest_run(late ? "UPDATE vdb.pipeline SET last_error = $2, last_error_at = $3 WHERE " IF_UNLOCKED :
						  "UPDATE vdb.pipeline SET last_error = $2, last_error_at = $3 WHERE id = $1",
						  lengthof(types), types, values, NULL);
}

/* Those that are not to be embedded leave the queue, or come again. */
static void
settle_rows(const VdbPipeline *pipeline, Row *rows, int count)
{
	char	  **keys = palloc(sizeof(char *) * count);
	int			unchanged = pick_keys(rows, count, UNCHANGED, keys);
	int			settled = unchanged + pick_keys(rows, count, GONE, keys + unchanged);

	(void) run_on_keys(DELETE_ENTRIES, pipeline, keys, settled);
	vdb_ingest_count(pipeline->id, VDB_INGEST_SKIPPED, unchanged);
	for (int i = 0; i < count; i++)
	{
		if (rows[i].verdict != FAILED)
			continue;
		count_failures(pipeline, &rows[i].key, 1, rows[i].error);
		vdb_ingest_note_error(pipeline, rows[i].error, true);
	}
}

/*
 * Rows that were given up have another try.  Their entries are locked by then, but not changed: vdb.retry() has dead
 * letters first and passes over entries that are there, but waits for those that are being changed.
 */
static void
forget_deaths(const VdbPipeline *pipeline, Row *rows, int count)
{
	char	  **keys = palloc(sizeof(char *) * count);

	for (int i = 0; i < count; i++)
		keys[i] = rows[i].key;
	(void) run_on_keys("DELETE FROM vdb.ingest_dead WHERE pipeline = $1 AND key = ANY ($2)", pipeline, keys, count);
}

VdbClaimed *
vdb_ingest_claim_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types, int count, int lease_ms,
					  int64 *lease, int *claimed, int *seen)
{
	MemoryContext memory = CurrentMemoryContext;
	TimestampTz now = GetCurrentTimestamp();
	Row		   *rows;
	Step		step = {.pipeline = pipeline, .types = types};
	VdbClaimed *result;
	VdbIdentity before;
	int			found;

	*claimed = *seen = 0;
	*lease = 0;
	if (!vdb_ingest_may_embed(pipeline))
		return NULL;
	rows = palloc(sizeof(Row) * count);
	vdb_ingest_become_keeper(&before);
	found = lock_due(pipeline, false, now, rows, count, memory);
	if (found < count)
		found += lock_due(pipeline, true, now, rows + found, count - found, memory);
	vdb_ingest_come_back(&before);
	if (found == 0 || !vdb_ingest_share_as_read(pipeline))
		return NULL;
	*seen = found;
	vdb_ingest_become_keeper(&before);
	forget_deaths(pipeline, rows, found);
	vdb_ingest_come_back(&before);
	step.rows = rows;
	step.count = found;
	step.take = read_rows;
	take_step(step);
	step.take = delete_embeddings;
	take_step(step);
	vdb_ingest_become_keeper(&before);
	*lease = create_lease(pipeline);
	write_lease(pipeline, *lease, now, lease_ms, rows, found);
	settle_rows(pipeline, rows, found);
	vdb_ingest_come_back(&before);
	result = palloc(sizeof(VdbClaimed) * found);
	for (int i = 0; i < found; i++)
	{
		if (rows[i].verdict == TO_EMBED)
			result[(*claimed)++] = (VdbClaimed) {rows[i].key, rows[i].content};
	}
	return result;
}

/* --- finishing ----------------------------------------------------------------- */

/* An entry that is locked and has the lease. */
typedef struct Held
{
	char	   *key;
	char	   *hash;			/* of what was claimed */
	bool		moved;			/* it has changed since */
	bool		backfill;
	TimestampTz changed_at;
	Datum		embedding;
} Held;

/* Locks those of these keys that have the lease, in their order, and returns how many. */
static int
lock_held(const VdbPipeline *pipeline, int64 lease, char **keys, int count, Held *held, MemoryContext memory)
{
	static const char *const sql =
		"SELECT key, leased_hash, lsn > leased_lsn, backfill, changed_at FROM vdb.ingest_queue "
		"WHERE pipeline = $1 AND key = ANY ($2) AND lease = $3 ORDER BY key FOR UPDATE";
	static const Oid types[] = {INT4OID, TEXTARRAYOID, INT8OID};
	Datum		values[lengthof(types)];
	bool		isnull;
	int			found;

	values[0] = Int32GetDatum(pipeline->id);
	values[1] = form_texts(keys, count);
	values[2] = Int64GetDatum(lease);
	found = (int) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
	for (int i = 0; i < found; i++)
	{
		held[i].key = read_text(i, 1, memory);
		held[i].hash = read_text(i, 2, memory);
		held[i].moved = read_bool(i, 3);
		held[i].backfill = read_bool(i, 4);
		held[i].changed_at = DatumGetTimestampTz(read_value(i, 5, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

typedef struct Given
{
	char	   *key;
	Datum		embedding;
} Given;

static int
compare_given(const void *a, const void *b)
{
	return strcmp(((const Given *) a)->key, ((const Given *) b)->key);
}

static void
check_dimensions(const VdbPipeline *pipeline, const VdbPipelineTypes *types, const char *key, Datum embedding)
{
	int			dimensions = DatumGetVdbVectorP(embedding)->dim;

	if (types->embedding_typmod > 0 && dimensions != types->embedding_typmod)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", types->embedding_typmod, dimensions),
				 errdetail("Column \"%s\" of the target of pipeline \"%s\" has so many; "
						   "the embedding is that of key \"%s\".",
						   pipeline->embedding, pipeline->name, key)));
}

/* Gives each entry its embedding.  Both are in the order of keys. */
static void
match(const VdbPipeline *pipeline, const VdbPipelineTypes *types, char **keys, Datum *embeddings, int count,
	  Held *held, int found)
{
	Given	   *given = palloc(sizeof(Given) * count);
	int			j = 0;

	for (int i = 0; i < count; i++)
	{
		check_dimensions(pipeline, types, keys[i], embeddings[i]);
		given[i] = (Given) {keys[i], embeddings[i]};
	}
	qsort(given, count, sizeof(Given), compare_given);
	for (int i = 0; i < count; i++)
	{
		if (i > 0 && strcmp(given[i].key, given[i - 1].key) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("key \"%s\" comes twice", given[i].key),
					 errhint("Give one embedding for each key.")));
		if (j < found && strcmp(given[i].key, held[j].key) == 0)
			held[j++].embedding = given[i].embedding;
	}
}

/* ", a = source_hash" and the like for each column of provenance that there is. */
static void
append_provenance(StringInfo sql, const VdbPipelineTypes *types, const char *hash, const char *version,
				  const char *at)
{
	if (types->has_source_hash)
		appendStringInfoString(sql, hash);
	if (types->has_model_version)
		appendStringInfoString(sql, version);
	if (types->has_embedded_at)
		appendStringInfoString(sql, at);
}

/* What stores embeddings: keys, embeddings, hashes, the version, the time. */
static char *
form_store(const VdbPipeline *pipeline, const VdbPipelineTypes *types)
{
	const char *key = quote_identifier(pipeline->target_key);
	const char *embedding = quote_identifier(pipeline->embedding);
	StringInfoData sql;

	initStringInfo(&sql);
	if (types->same_table)
	{
		appendStringInfo(&sql, "UPDATE %s t SET %s = e.embedding", types->target, embedding);
		append_provenance(&sql, types, ", source_hash = e.hash", ", model_version = $4", ", embedded_at = $5");
		appendStringInfo(&sql, " FROM unnest($1, $2, $3) e(key, embedding, hash) WHERE t.%s %s e.key::%s",
						 key, types->target_key_equals, types->target_key_type);
		return sql.data;
	}
	appendStringInfo(&sql, "INSERT INTO %s AS t (%s, %s", types->target, key, embedding);
	append_provenance(&sql, types, ", source_hash", ", model_version", ", embedded_at");

	/* keys may be equal whose texts are not */
	appendStringInfoString(&sql, ") SELECT DISTINCT ON (k) k, e.embedding");
	append_provenance(&sql, types, ", e.hash", ", $4", ", $5");
	appendStringInfo(&sql, " FROM (SELECT key::%s AS k, embedding, hash "
					 "FROM unnest($1, $2, $3) u(key, embedding, hash)) e "
					 "ON CONFLICT (%s) DO UPDATE SET %s = excluded.%s",
					 types->target_key_type, key, embedding, embedding);
	append_provenance(&sql, types, ", source_hash = excluded.source_hash",
					  ", model_version = excluded.model_version", ", embedded_at = excluded.embedded_at");
	return sql.data;
}

static void
store(const VdbPipeline *pipeline, const VdbPipelineTypes *types, Held *held, int count, TimestampTz now)
{
	const Oid	type[] = {TEXTARRAYOID, get_array_type(types->vector_type), TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID};
	const char *version = pipeline->model_version;
	char	  **keys = palloc(sizeof(char *) * count);
	char	  **hashes = palloc(sizeof(char *) * count);
	Datum	   *embeddings = palloc(sizeof(Datum) * count);
	char		nulls[] = {' ', ' ', ' ', version == NULL ? 'n' : ' ', ' '};
	Datum		values[lengthof(type)];
	VdbIdentity before;

	for (int i = 0; i < count; i++)
	{
		keys[i] = held[i].key;
		hashes[i] = held[i].hash;
		embeddings[i] = held[i].embedding;
	}
	values[0] = form_texts(keys, count);
	values[1] = form_vectors(embeddings, count, types->vector_type);
	values[2] = form_texts(hashes, count);
	values[3] = version == NULL ? (Datum) 0 : CStringGetTextDatum(version);
	values[4] = TimestampTzGetDatum(now);
	vdb_ingest_become_owner(pipeline, &before);
	(void) vdb_ingest_run(form_store(pipeline, types), lengthof(type), type, values, nulls);
	vdb_ingest_come_back(&before);
}

/* Entries leave the queue, but for those that have changed, which are due at once. */
static void
finish(const VdbPipeline *pipeline, Held *held, int count, TimestampTz now)
{
	static const char *const again =
		"UPDATE vdb.ingest_queue SET lease = NULL, leased_at = NULL, leased_lsn = NULL, leased_hash = NULL, "
		"attempts = 0, changed_at = leased_at, due = leased_at WHERE pipeline = $1 AND key = ANY ($2)";
	static const char *const recovered = "UPDATE vdb.pipeline SET failures = 0 WHERE " IF_UNLOCKED;
	static const Oid types[] = {INT4OID};
	char	  **keys = palloc(sizeof(char *) * count);
	int			done = 0;
	int			moved = 0;
	Datum		value = Int32GetDatum(pipeline->id);

	for (int i = 0; i < count; i++)
	{
		/* those that are done from the front, the others from the back */
		keys[held[i].moved ? count - ++moved : done++] = held[i].key;
		if (!held[i].backfill)
			vdb_ingest_count_freshness(pipeline->id, held[i].changed_at, now);
	}
	(void) run_on_keys(DELETE_ENTRIES, pipeline, keys, done);
	(void) run_on_keys(again, pipeline, keys + done, moved);
	if (pipeline->failures > 0)
		(void) vdb_ingest_run(recovered, lengthof(types), types, &value, NULL);
}

int
vdb_ingest_complete_rows(const VdbPipeline *pipeline, const VdbPipelineTypes *types, int64 lease, char **keys,
						 Datum *embeddings, int count)
{
	MemoryContext memory = CurrentMemoryContext;
	TimestampTz now = GetCurrentTimestamp();
	Held	   *held;
	VdbIdentity before;
	int			found;

	if (count == 0)
		return 0;
	held = palloc(sizeof(Held) * count);
	vdb_ingest_become_keeper(&before);
	found = lock_held(pipeline, lease, keys, count, held, memory);
	vdb_ingest_come_back(&before);
	match(pipeline, types, keys, embeddings, count, held, found);
	if (found == 0)
		return 0;
	store(pipeline, types, held, found, now);
	vdb_ingest_become_keeper(&before);
	finish(pipeline, held, found, now);
	vdb_ingest_come_back(&before);
	vdb_ingest_count(pipeline->id, VDB_INGEST_EMBEDDED, found);
	vdb_ingest_count(pipeline->id, VDB_INGEST_BATCHES, 1);
	return found;
}

/* --- giving back --------------------------------------------------------------- */

/* Has a pipeline wait so long (ms), for a reason, or NULL. */
static void
have_wait(const VdbPipeline *pipeline, const char *error, int wait)
{
	static const char *const sql =
		"UPDATE vdb.pipeline SET last_error = coalesce($2, last_error), "
		"last_error_at = CASE WHEN $2 IS NULL THEN last_error_at ELSE $3 END, "
		"wait_until = greatest(wait_until, $4) WHERE id = $1";
	static const Oid types[] = {INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	TimestampTz now = GetCurrentTimestamp();
	char		nulls[] = {' ', error == NULL ? 'n' : ' ', ' ', ' '};
	Datum		values[lengthof(types)];

	values[0] = Int32GetDatum(pipeline->id);
	values[1] = error == NULL ? (Datum) 0 : CStringGetTextDatum(error);
	values[2] = TimestampTzGetDatum(now);
	values[3] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(now, (int64) wait));
	(void) vdb_ingest_run(sql, lengthof(types), types, values, nulls);
}

int
vdb_ingest_fail_rows(const VdbPipeline *pipeline, int64 lease, char **keys, int count, const char *error,
					 int retry_after)
{
	/* nobody has failed: they are due as they were */
	static const char *const give_back =
		"UPDATE vdb.ingest_queue SET lease = NULL, leased_at = NULL, leased_lsn = NULL, leased_hash = NULL, "
		"due = changed_at WHERE pipeline = $1 AND key = ANY ($2)";
	MemoryContext memory = CurrentMemoryContext;
	Held	   *held = palloc(sizeof(Held) * Max(count, 1));
	char	  **found_keys = palloc(sizeof(char *) * Max(count, 1));
	VdbIdentity before;
	int			found;

	vdb_ingest_become_keeper(&before);
	if (retry_after >= 0)
		have_wait(pipeline, error, retry_after);
	else
		vdb_ingest_note_error(pipeline, error, false);
	found = lock_held(pipeline, lease, keys, count, held, memory);
	for (int i = 0; i < found; i++)
		found_keys[i] = held[i].key;
	if (retry_after >= 0)
		vdb_ingest_count(pipeline->id, VDB_INGEST_RETRIES, run_on_keys(give_back, pipeline, found_keys, found));
	else
		count_failures(pipeline, found_keys, found, error);
	vdb_ingest_come_back(&before);
	return found;
}

void
vdb_ingest_extend_lease(const VdbPipeline *pipeline, int64 lease, char **keys, int count, int lease_ms)
{
	static const char *const sql =
		"UPDATE vdb.ingest_queue SET due = $4 WHERE pipeline = $1 AND key = ANY ($2) AND lease = $3";
	static const Oid types[] = {INT4OID, TEXTARRAYOID, INT8OID, TIMESTAMPTZOID};
	Held	   *held = palloc(sizeof(Held) * Max(count, 1));
	VdbIdentity before;
	Datum		values[lengthof(types)];

	values[0] = Int32GetDatum(pipeline->id);
	values[1] = form_texts(keys, count);
	values[2] = Int64GetDatum(lease);
	values[3] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) lease_ms));
	vdb_ingest_become_keeper(&before);

	/* in the order of keys, as everybody */
	if (lock_held(pipeline, lease, keys, count, held, CurrentMemoryContext) > 0)
		(void) vdb_ingest_run(sql, lengthof(types), types, values, NULL);
	vdb_ingest_come_back(&before);
}

void
vdb_ingest_release_leases(void)
{
	/* in the order of keys, as everybody locks them */
	static const char *const sql =
		"UPDATE vdb.ingest_queue q SET lease = NULL, leased_at = NULL, leased_lsn = NULL, leased_hash = NULL, due = $1 "
		"FROM (SELECT e.pipeline, e.key FROM vdb.ingest_queue e JOIN vdb.pipeline p ON p.id = e.pipeline "
		"WHERE p.mode = 'function' AND e.lease IS NOT NULL ORDER BY e.pipeline, e.key FOR UPDATE OF e) k "
		"WHERE q.pipeline = k.pipeline AND q.key = k.key";
	static const Oid types[] = {TIMESTAMPTZOID};
	Datum		value = TimestampTzGetDatum(GetCurrentTimestamp());

	(void) vdb_ingest_run(sql, lengthof(types), types, &value, NULL);
}
