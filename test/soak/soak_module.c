/*
 * soak_module.c
 *	  Functions for the soak programs alone: damage to pages, hostile inputs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/reloptions.h"
#include "access/amapi.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"

PG_MODULE_MAGIC;

/* --- damage ---------------------------------------------------------------- */

/* The page that was flipped last, as it was. */
static PGAlignedBlock original;
static BlockNumber original_block = InvalidBlockNumber;

/*
 * Changes 1 to 8 bytes of one page past its header: soak_flip(index, seed).
 * Says which.
 */
PG_FUNCTION_INFO_V1(soak_flip);
Datum
soak_flip(PG_FUNCTION_ARGS)
{
	Relation	index = index_open(PG_GETARG_OID(0), RowExclusiveLock);
	pg_prng_state random;
	Buffer		buffer;
	char	   *page;
	int			count;
	StringInfoData said;

	pg_prng_seed(&random, (uint64) PG_GETARG_INT64(1));
	initStringInfo(&said);
	original_block = pg_prng_uint64_range(&random, 0, RelationGetNumberOfBlocks(index) - 1);
	count = (int) pg_prng_uint64_range(&random, 1, 8);
	buffer = ReadBuffer(index, original_block);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	memcpy(original.data, page, BLCKSZ);
	appendStringInfo(&said, "block %u:", original_block);
	for (int i = 0; i < count; i++)
	{
		int			at = (int) pg_prng_uint64_range(&random, SizeOfPageHeaderData, BLCKSZ - 1);

		/* more often where there are headers and counts */
		if (pg_prng_bool(&random))
			at = SizeOfPageHeaderData + at % 128;
		page[at] ^= (char) pg_prng_uint64_range(&random, 1, 255);
		appendStringInfo(&said, " %d", at);
	}
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	index_close(index, RowExclusiveLock);
	PG_RETURN_TEXT_P(cstring_to_text(said.data));
}

/* Undoes the last soak_flip(). */
PG_FUNCTION_INFO_V1(soak_restore);
Datum
soak_restore(PG_FUNCTION_ARGS)
{
	Relation	index = index_open(PG_GETARG_OID(0), RowExclusiveLock);
	Buffer		buffer;

	if (original_block < RelationGetNumberOfBlocks(index))
	{
		buffer = ReadBuffer(index, original_block);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		memcpy(BufferGetPage(buffer), original.data, BLCKSZ);
		MarkBufferDirty(buffer);
		UnlockReleaseBuffer(buffer);
	}
	index_close(index, RowExclusiveLock);
	PG_RETURN_VOID();
}

/* --- hostile inputs ---------------------------------------------------------- */

/* Good ones to start from, and pieces to put into them. */
static const char *const dense_texts[] = {
	"[1,2,3]", "[0]", "[-1.5e-3,2E2,3.25]", " [ 1 , 2 ] ", "[1e-45,3.4028235e38,65504]",
	"[0.1,0.12345678901234567890,123456789012345678901234567890]",
};
static const char *const sparse_texts[] = {
	"{1:1,3:2}/5", "{}/3", "{1000000000:-1.5e3}/1000000000", " { 1 : 2 , 2 : 0 } / 2 ",
	"{1:1e-45,2:3.4028235e38}/16000",
};
static const char *const pieces[] = {
	",", ":", "/", "[", "]", "{", "}", "e", "-", "+", ".", " ", "\t", "NaN", "inf", "Infinity", "0x1p-3",
	"1e999", "-1e-999", "2147483647", "2147483648", "-1", "0", "1000000001", "16001", ",,", "99999999999999999999",
	"\xff", "\x80", "1_000", "\"", "\\",
};
static const char *const option_names[] = {
	"m", "ef_construction", "M", "lists", "fillfactor", "ef construction", "", "m=2", "pages_per_range",
};
static const char *const option_values[] = {
	"16", "64", "0", "-1", "1", "2", "100", "101", "1000", "1001", "2147483648", "1e2", "16.5", "", " 16", "16 ", "on",
	"0x10", "99999999999999999999", "\xff", "NaN",
};

#define PICK(random, list) (list)[pg_prng_uint64_range(random, 0, lengthof(list) - 1)]

/* Changes a few places of a text or message. */
static void
mutate(pg_prng_state *random, StringInfo s, bool text)
{
	int			changes = (int) pg_prng_uint64_range(random, 0, 4);

	while (changes-- > 0)
	{
		int			at = s->len > 0 ? (int) pg_prng_uint64_range(random, 0, s->len - 1) : 0;
		int			length = (int) pg_prng_uint64_range(random, 0, Min(s->len - at, 16));

		switch (pg_prng_uint64_range(random, 0, 4))
		{
			case 0:				/* another byte */
				if (s->len > 0)
					s->data[at] = (char) pg_prng_uint64_range(random, text ? 1 : 0, 255);
				break;
			case 1:				/* less */
				memmove(s->data + at, s->data + at + length, s->len - at - length);
				s->len -= length;
				break;
			case 2:				/* a part again, sometimes very often */
				{
					int			times = pg_prng_uint64_range(random, 0, 999) == 0 ? 2000 : 1;
					char		part[16];

					memcpy(part, s->data + at, length);
					while (times-- > 0)
						appendBinaryStringInfo(s, part, length);
					break;
				}
			case 3:				/* a piece in the middle */
				{
					const char *piece = PICK(random, pieces);
					int			rest_length = s->len - at;
					char	   *rest = palloc(rest_length + 1);

					memcpy(rest, s->data + at, rest_length);
					s->len = at;
					appendStringInfoString(s, piece);
					appendBinaryStringInfo(s, rest, rest_length);
					break;
				}
			default:			/* an end */
				s->len = at;
		}
		s->data[s->len] = '\0';
	}
}

/* A type's functions, and what is to be put into them. */
typedef struct Target
{
	bool		sparse;
	FmgrInfo	input;
	FmgrInfo	output;
	FmgrInfo	receive;
	FmgrInfo	send;
	Oid			io_param;
	amoptions_function options;
} Target;

static Datum
read_text(Target *target, char *text, int32 typmod)
{
	return InputFunctionCall(&target->input, text, target->io_param, typmod);
}

/* What was taken must be written, and read as the same again. */
static void
check_taken(Target *target, Datum value)
{
	char	   *text = OutputFunctionCall(&target->output, value);
	bytea	   *sent = SendFunctionCall(&target->send, value);
	Datum		again = read_text(target, text, -1);
	StringInfoData message;
	Datum		received;

	initStringInfo(&message);
	appendBinaryStringInfo(&message, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
	received = ReceiveFunctionCall(&target->receive, &message, target->io_param, -1);
	if (strcmp(text, OutputFunctionCall(&target->output, again)) != 0 ||
		strcmp(text, OutputFunctionCall(&target->output, received)) != 0)
		elog(PANIC, "\"%s\" does not read back as itself", text);
}

static void
try_text(Target *target, pg_prng_state *random)
{
	StringInfoData s;
	static const int32 typmods[] = {-1, -1, -1, 1, 3, 16000, 0, PG_INT32_MAX, PG_INT32_MIN};

	initStringInfo(&s);
	appendStringInfoString(&s, target->sparse ? PICK(random, sparse_texts) : PICK(random, dense_texts));
	mutate(random, &s, true);
	check_taken(target, read_text(target, s.data, PICK(random, typmods)));
}

static void
try_binary(Target *target, pg_prng_state *random)
{
	StringInfoData s;
	const char *text = target->sparse ? "{1:1,3:2,900:-4}/1000" : "[1,2,-3,4.5]";
	bytea	   *sent = SendFunctionCall(&target->send, read_text(target, pstrdup(text), -1));

	initStringInfo(&s);
	appendBinaryStringInfo(&s, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
	mutate(random, &s, false);
	check_taken(target, ReceiveFunctionCall(&target->receive, &s, target->io_param, -1));
	if (s.cursor != s.len)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("bytes are left")));
}

static void
try_options(Target *target, pg_prng_state *random)
{
	Datum		words[4];
	int			count = (int) pg_prng_uint64_range(random, 0, lengthof(words));

	for (int i = 0; i < count; i++)
	{
		StringInfoData s;

		initStringInfo(&s);
		appendStringInfo(&s, "%s=%s", PICK(random, option_names), PICK(random, option_values));
		if (pg_prng_uint64_range(random, 0, 9) == 0)
			mutate(random, &s, true);
		/* the parser of statements leaves no option without its sign */
		if (strchr(s.data, '=') == NULL)
			appendStringInfoChar(&s, '=');
		words[i] = PointerGetDatum(cstring_to_text(s.data));
	}
	index_reloptions(target->options,
					 PointerGetDatum(construct_array(words, count, TEXTOID, -1, false, TYPALIGN_INT)),
					 pg_prng_bool(random));
}

static void
find_target(Target *target, const char *what, const char *form)
{
	Oid			type;
	Oid			function;
	bool		varlena;

	if (strcmp(form, "options") == 0)
	{
		target->options = GetIndexAmRoutineByAmId(get_index_am_oid(what, false), false)->amoptions;
		return;
	}
	type = DatumGetObjectId(DirectFunctionCall1(regtypein, CStringGetDatum(what)));
	target->sparse = strcmp(what, "sparsevec") == 0;
	getTypeInputInfo(type, &function, &target->io_param);
	fmgr_info(function, &target->input);
	getTypeOutputInfo(type, &function, &varlena);
	fmgr_info(function, &target->output);
	getTypeBinaryInputInfo(type, &function, &target->io_param);
	fmgr_info(function, &target->receive);
	getTypeBinaryOutputInfo(type, &function, &varlena);
	fmgr_info(function, &target->send);
}

/*
 * soak_inputs(type or access method, 'text' or 'binary' or 'options', rounds,
 * seed): how many inputs were taken, how many refused.  An input may be refused
 * with any error but an internal one.
 */
PG_FUNCTION_INFO_V1(soak_inputs);
Datum
soak_inputs(PG_FUNCTION_ARGS)
{
	char	   *form = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		rounds = PG_GETARG_INT64(2);
	pg_prng_state random;
	Target		target = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "soak", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	volatile int64 taken = 0;
	volatile int64 refused = 0;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	find_target(&target, text_to_cstring(PG_GETARG_TEXT_PP(0)), form);
	pg_prng_seed(&random, (uint64) PG_GETARG_INT64(3));
	for (int64 i = 0; i < rounds; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);

		/* what is called holds nothing but memory, so no subtransaction is needed */
		PG_TRY();
		{
			if (target.options != NULL)
				try_options(&target, &random);
			else if (strcmp(form, "text") == 0)
				try_text(&target, &random);
			else
				try_binary(&target, &random);
			taken++;
		}
		PG_CATCH();
		{
			ErrorData  *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR || error->sqlerrcode == ERRCODE_QUERY_CANCELED)
				PG_RE_THROW();
			FlushErrorState();
			refused++;
		}
		PG_END_TRY();
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	get_call_result_type(fcinfo, NULL, &desc);
	values[0] = Int64GetDatum(taken);
	values[1] = Int64GetDatum(refused);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
