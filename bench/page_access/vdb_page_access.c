/*-------------------------------------------------------------------------
 *
 * vdb_page_access.c
 *	  Measures the cost of reading a few bytes of a page in shared buffers.
 *
 * A graph search visits a node, takes its unvisited neighbours (about 16) and
 * reads a short slot of each, every slot on another page.  The accesses of one
 * such hop do not depend on each other.  page_access() repeats exactly this:
 * it draws a batch of 16 random (block, slot) pairs, then reads every slot by
 * one of several methods, and reports the mean time of one access.
 *
 * Methods are compiled from one inlined loop, specialised by constant flags,
 * so that they differ in nothing but the step that is measured.  Drawing the
 * addresses and summing up the bytes read is part of every figure; method N
 * draws the addresses and does nothing else.
 *
 * The relation must fit in shared buffers.  The first call for a relation in
 * a session reads all of it, which fills the hint array and establishes this
 * process's page-table entries; neither is timed.
 *
 * IDENTIFICATION
 *	  bench/page_access/vdb_page_access.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "vdb_page_access needs PostgreSQL 15 or later"
#endif

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(page_access);
PG_FUNCTION_INFO_V1(page_access_usage);
PG_FUNCTION_INFO_V1(page_access_verify);

/* Accesses of one hop; they are independent of each other. */
#define BATCH			16

/* Interrupts are checked once in this many batches. */
#define BATCHES_PER_CHECK	1024

#define CACHE_LINE		64

/* A buffer used less than this is pinned by ReadBuffer() under ACC_USAGE. */
#define USAGE_FLOOR		2

/* One in this many accesses uses ReadBuffer() under ACC_SAMPLE. */
#define SAMPLE_RATE		32

/* The bytes that page_access_verify() reads of every page. */
#define VERIFY_OFFSET	(BLCKSZ / 2)
#define VERIFY_BYTES	192

/* What a method does; constant where run() is expanded. */
#define ACC_NONE		0x001	/* draw addresses only */
#define ACC_RAW			0x002	/* read a private copy */
#define ACC_HINT		0x004	/* ReadRecentBuffer() first */
#define ACC_LOCK		0x008	/* hold the content lock while reading */
#define ACC_PREFETCH	0x010	/* prefetch the batch beforehand */
#define ACC_PREFETCHW	0x020	/* fetch the descriptor line for writing */
#define ACC_UNPINNED	0x040	/* no pin; verify the tag on both sides */
#define ACC_USAGE		0x080	/* ReadBuffer() when usage_count is low */
#define ACC_SAMPLE		0x100	/* ReadBuffer() now and then */

#if PG_VERSION_NUM >= 160000
#define RelationLocator(rel)		((rel)->rd_locator)
#define TagInit(tag, rel, blkno) \
	InitBufferTag(tag, &(rel)->rd_locator, MAIN_FORKNUM, blkno)
#define TagsEqual(a, b)				BufferTagsEqual(a, b)
#else
#define RelationLocator(rel)		((rel)->rd_node)
#define TagInit(tag, rel, blkno) \
	INIT_BUFFERTAG(*(tag), (rel)->rd_node, MAIN_FORKNUM, blkno)
#define TagsEqual(a, b)				BUFFERTAGS_EQUAL(*(a), *(b))
#endif

#if defined(__x86_64__)
#define prefetch_for_write(p)	__asm__ volatile("prefetchw %0" : : "m" (*(const char *) (p)))
#else
#define prefetch_for_write(p)	__builtin_prefetch((p), 1)
#endif

/* The relation measured last in this session, and what we know about it. */
typedef struct Target
{
	Oid			relid;
	BlockNumber nblocks;
	Buffer	   *hint;			/* buffer that held each block when last seen */
	char	   *copy;			/* all blocks, for ACC_RAW; NULL until needed */
} Target;

/* The random walk over the relation. */
typedef struct Walk
{
	uint64		state;
	uint32		nblocks;
	uint32		nslots;			/* slots per page */
	uint32		stride;			/* bytes from slot to slot */
	uint32		hot_pages;
	uint32		hot_stride;		/* blocks from hot page to hot page */
	uint32		hot_below;		/* a draw below this goes to a hot page */
} Walk;

typedef struct Access
{
	BlockNumber blkno;
	uint32		offset;
	Buffer		buf;
} Access;

static Target target;

/* Accesses of the latest run that found their hint useless. */
static int64 hint_misses;

/*
 * Two words at a time; slots are MAXALIGNed, not more.
 */
typedef uint64 Word2 __attribute__((vector_size(16), aligned(8)));

static pg_attribute_always_inline uint64
sum_bytes(const char *p, int bytes)
{
	Word2		a = {0, 0};
	Word2		b = {0, 0};
	Word2		c = {0, 0};
	Word2		d = {0, 0};
	uint64		tail = 0;

	for (; bytes >= 64; bytes -= 64, p += 64)
	{
		const Word2 *w = (const Word2 *) p;

		a += w[0];
		b += w[1];
		c += w[2];
		d += w[3];
	}
	for (; bytes > 0; bytes -= 8, p += 8)
		tail += *(const uint64 *) p;

	a += b;
	c += d;
	a += c;
	return a[0] + a[1] + tail;
}

/* xorshift64* */
static pg_attribute_always_inline uint64
walk_random(Walk *w)
{
	w->state ^= w->state >> 12;
	w->state ^= w->state << 25;
	w->state ^= w->state >> 27;
	return w->state * UINT64CONST(0x2545F4914F6CDD1D);
}

static pg_attribute_always_inline void
walk_draw(Walk *w, Access *acc)
{
	uint64		r = walk_random(w);
	uint32		high = (uint32) (r >> 32);
	uint32		low = (uint32) r;

	if (w->hot_below > 0 && (low & 0xFFFF) < w->hot_below)
		acc->blkno = (BlockNumber) (((uint64) high * w->hot_pages) >> 32) * w->hot_stride;
	else
		acc->blkno = (BlockNumber) (((uint64) high * w->nblocks) >> 32);

	acc->offset = MAXALIGN(SizeOfPageHeaderData) +
		(((low >> 16) * w->nslots) >> 16) * w->stride;
}

static pg_attribute_always_inline void
prefetch_lines(const char *p, int bytes)
{
	const char *line = (const char *) TYPEALIGN_DOWN(CACHE_LINE, p);

	for (; line < p + bytes; line += CACHE_LINE)
		__builtin_prefetch(line);
}

/*
 * Pin a block through the buffer table and remember where it was.
 */
static Buffer
read_and_remember(Relation rel, BlockNumber blkno)
{
	Buffer		buf = ReadBuffer(rel, blkno);

	if (target.hint[blkno] != buf)
	{
		target.hint[blkno] = buf;
		hint_misses++;
	}
	return buf;
}

/*
 * Does this descriptor name the wanted block, with valid content, right now?
 *
 * Whoever renames a buffer first sets BM_LOCKED, then changes the tag, then
 * publishes a state without BM_VALID, and only then reads the new page in.
 * Reading the tag first and the state second therefore rejects a tag that is
 * just being written.
 */
static pg_attribute_always_inline bool
holds_block(BufferDesc *hdr, const BufferTag *want)
{
	bool		same;
	uint32		state;

	same = TagsEqual(&hdr->tag, want);
	pg_read_barrier();
	state = pg_atomic_read_u32(&hdr->state);
	return same && (state & (BM_VALID | BM_LOCKED)) == BM_VALID;
}

/*
 * Read a slot without a pin.  Returns false when the buffer did not hold the
 * block before and after; *sum is then meaningless.
 */
static pg_attribute_always_inline bool
read_unpinned(Relation rel, const Access *acc, int bytes, uint64 *sum)
{
	BufferDesc *hdr = GetBufferDescriptor(acc->buf - 1);
	BufferTag	want;

	TagInit(&want, rel, acc->blkno);
	if (!holds_block(hdr, &want))
		return false;
	pg_read_barrier();
	*sum = sum_bytes((const char *) BufferGetBlock(acc->buf) + acc->offset, bytes);
	pg_read_barrier();
	return holds_block(hdr, &want);
}

/*
 * Return the block of this access, pinned.
 */
static pg_attribute_always_inline Buffer
pin_block(Relation rel, const Access *acc, int flags, uint32 serial)
{
	if ((flags & ACC_HINT) == 0)
		return ReadBuffer(rel, acc->blkno);

	if ((flags & ACC_SAMPLE) && serial % SAMPLE_RATE == 0)
		return read_and_remember(rel, acc->blkno);

	if (flags & ACC_USAGE)
	{
		BufferDesc *hdr = GetBufferDescriptor(acc->buf - 1);
		uint32		state = pg_atomic_read_u32(&hdr->state);

		if (BUF_STATE_GET_USAGECOUNT(state) < USAGE_FLOOR)
			return read_and_remember(rel, acc->blkno);
	}

	if (ReadRecentBuffer(RelationLocator(rel), MAIN_FORKNUM, acc->blkno, acc->buf))
	{
		/* ReadRecentBuffer() leaves the relation's statistics to us. */
		pgstat_count_buffer_read(rel);
		pgstat_count_buffer_hit(rel);
		return acc->buf;
	}
	return read_and_remember(rel, acc->blkno);
}

/*
 * Read one slot by the method that flags describe.
 */
static pg_attribute_always_inline uint64
read_slot(Relation rel, const Access *acc, int bytes, int flags, uint32 serial)
{
	Buffer		buf;
	uint64		sum;

	if (flags & ACC_NONE)
		return acc->blkno + acc->offset;

	if (flags & ACC_RAW)
		return sum_bytes(target.copy + (Size) acc->blkno * BLCKSZ + acc->offset, bytes);

	if ((flags & ACC_UNPINNED) && read_unpinned(rel, acc, bytes, &sum))
	{
		pgstat_count_buffer_read(rel);
		pgstat_count_buffer_hit(rel);
		return sum;
	}

	buf = pin_block(rel, acc, flags, serial);
	if (flags & ACC_LOCK)
		LockBuffer(buf, BUFFER_LOCK_SHARE);
	sum = sum_bytes((const char *) BufferGetPage(buf) + acc->offset, bytes);
	if (flags & ACC_LOCK)
		UnlockReleaseBuffer(buf);
	else
		ReleaseBuffer(buf);
	return sum;
}

/*
 * Start fetching what the access will touch.  The hint may be out of date;
 * a prefetch of the wrong line does no harm.
 */
static pg_attribute_always_inline void
prefetch_slot(const Access *acc, int bytes, int flags)
{
	if (flags & ACC_RAW)
	{
		prefetch_lines(target.copy + (Size) acc->blkno * BLCKSZ + acc->offset, bytes);
		return;
	}
	if (flags & ACC_PREFETCHW)
		prefetch_for_write(GetBufferDescriptor(acc->buf - 1));
	else
		__builtin_prefetch(GetBufferDescriptor(acc->buf - 1));
	prefetch_lines((const char *) BufferGetBlock(acc->buf) + acc->offset, bytes);
}

/*
 * Make "batches" batches of accesses; returns the sum of all bytes read.
 */
static pg_attribute_always_inline uint64
run(Relation rel, Walk *w, int bytes, uint32 batches, int flags)
{
	Access		acc[BATCH];
	uint64		sum = 0;

	for (uint32 batch = 0; batch < batches; batch++)
	{
		if (batch % BATCHES_PER_CHECK == 0)
			CHECK_FOR_INTERRUPTS();

		for (int i = 0; i < BATCH; i++)
		{
			walk_draw(w, &acc[i]);
			if (flags & (ACC_HINT | ACC_UNPINNED))
				acc[i].buf = target.hint[acc[i].blkno];
		}
		if (flags & (ACC_PREFETCH | ACC_PREFETCHW))
		{
			for (int i = 0; i < BATCH; i++)
				prefetch_slot(&acc[i], bytes, flags);
		}
		for (int i = 0; i < BATCH; i++)
			sum += read_slot(rel, &acc[i], bytes, flags, batch * BATCH + i);
	}
	return sum;
}

/*
 * Expand run() for a method.  Each case must pass a constant.
 */
static uint64
run_method(Relation rel, char method, Walk *w, int bytes, uint32 batches)
{
	switch (method)
	{
		case 'N':
			return run(rel, w, bytes, batches, ACC_NONE);
		case 'A':
			return run(rel, w, bytes, batches, ACC_LOCK);
		case 'B':
			return run(rel, w, bytes, batches, 0);
		case 'C':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_LOCK);
		case 'D':
			return run(rel, w, bytes, batches, ACC_HINT);
		case 'E':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_PREFETCH);
		case 'F':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_PREFETCH | ACC_LOCK);
		case 'G':
			return run(rel, w, bytes, batches, ACC_RAW | ACC_PREFETCH);
		case 'H':
			return run(rel, w, bytes, batches, ACC_UNPINNED | ACC_HINT | ACC_PREFETCH);
		case 'S':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_PREFETCH | ACC_SAMPLE);
		case 'U':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_PREFETCH | ACC_USAGE);
		case 'W':
			return run(rel, w, bytes, batches, ACC_HINT | ACC_PREFETCHW);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown method \"%c\"", method),
					 errhint("Methods are A to H, N, S, U and W.")));
	}
	return 0;					/* not reached */
}

/*
 * Make "rel" the target: read all of it and note which buffer holds what.
 */
static void
target_load(Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	volatile char touched;

	if (target.relid == RelationGetRelid(rel) && target.nblocks == nblocks)
		return;

	if (nblocks == 0 || nblocks > (BlockNumber) NBuffers)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("relation \"%s\" is empty or larger than shared buffers",
						RelationGetRelationName(rel))));

	target.relid = InvalidOid;
	if (target.hint)
		pfree(target.hint);
	target.hint = NULL;
	if (target.copy)
		pfree(target.copy);
	target.copy = NULL;

	target.hint = MemoryContextAllocHuge(TopMemoryContext, nblocks * sizeof(Buffer));
	for (BlockNumber blkno = 0; blkno < nblocks; blkno++)
	{
		Buffer		buf;

		CHECK_FOR_INTERRUPTS();
		buf = ReadBuffer(rel, blkno);
		for (int i = 0; i < BLCKSZ; i += 4096)
			touched = ((const char *) BufferGetPage(buf))[i];
		ReleaseBuffer(buf);
		target.hint[blkno] = buf;
	}
	(void) touched;

	target.relid = RelationGetRelid(rel);
	target.nblocks = nblocks;
}

/*
 * Make the private copy that method G reads.
 */
static void
target_copy(Relation rel)
{
	if (target.copy)
		return;

	target.copy = MemoryContextAllocHuge(TopMemoryContext,
										 (Size) target.nblocks * BLCKSZ);
	for (BlockNumber blkno = 0; blkno < target.nblocks; blkno++)
	{
		Buffer		buf;

		CHECK_FOR_INTERRUPTS();
		buf = read_and_remember(rel, blkno);
		memcpy(target.copy + (Size) blkno * BLCKSZ, BufferGetPage(buf), BLCKSZ);
		ReleaseBuffer(buf);
	}
}

static void
walk_init(Walk *w, int bytes, int hot_pages, int hot_percent)
{
	static uint64 seed = 0;

	if (seed == 0)
		seed = UINT64CONST(0x9E3779B97F4A7C15) * (uint64) MyProcPid;
	seed += UINT64CONST(0x9E3779B97F4A7C15);

	w->state = seed | 1;
	w->nblocks = target.nblocks;
	w->stride = bytes;
	w->nslots = (BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) / bytes;
	w->hot_pages = Min(hot_pages, (int) target.nblocks);
	w->hot_stride = hot_pages > 0 ? target.nblocks / w->hot_pages : 0;
	w->hot_below = hot_pages > 0 ? 0x10000 / 100 * hot_percent : 0;
}

/*
 * page_access(rel, method, bytes, accesses, hot_pages, hot_percent)
 */
Datum
page_access(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char		method = PG_GETARG_CHAR(1);
	int			bytes = PG_GETARG_INT32(2);
	int			accesses = PG_GETARG_INT32(3);
	int			hot_pages = PG_GETARG_INT32(4);
	int			hot_percent = PG_GETARG_INT32(5);
	Relation	rel;
	Walk		walk;
	instr_time	start;
	instr_time	duration;
	volatile uint64 sink;
	uint32		batches;

	if (bytes < 8 || bytes % 8 != 0 || bytes > BLCKSZ / 2 ||
		accesses < BATCH || hot_pages < 0 || hot_percent < 0 || hot_percent > 100)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter out of range"),
				 errdetail("\"bytes\" must be a multiple of 8 of at most %d and \"accesses\" at least %d.",
						   BLCKSZ / 2, BATCH)));

	rel = relation_open(relid, AccessShareLock);
	if (!RELKIND_HAS_STORAGE(rel->rd_rel->relkind) || RelationUsesLocalBuffers(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" has no pages in shared buffers",
						RelationGetRelationName(rel))));

	target_load(rel);
	if (method == 'G')
		target_copy(rel);
	walk_init(&walk, bytes, hot_pages, hot_percent);
	hint_misses = 0;
	batches = accesses / BATCH;

	INSTR_TIME_SET_CURRENT(start);
	sink = run_method(rel, method, &walk, bytes, batches);
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	(void) sink;

	relation_close(rel, AccessShareLock);

	if (hint_misses > 0)
		ereport(NOTICE,
				(errmsg("%lld of %d hints were out of date",
						(long long) hint_misses, accesses)));

	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(duration) * 1e9 / ((double) batches * BATCH));
}

/*
 * page_access_usage(rel, block)
 *
 * Looks through all descriptors rather than in the buffer table, because a
 * look-up that pins would change the answer.
 */
Datum
page_access_usage(PG_FUNCTION_ARGS)
{
	Relation	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	BufferTag	want;
	int			usage = -1;

	TagInit(&want, rel, (BlockNumber) PG_GETARG_INT32(1));
	for (int i = 0; i < NBuffers && usage < 0; i++)
	{
		BufferDesc *hdr = GetBufferDescriptor(i);

		if (holds_block(hdr, &want))
			usage = BUF_STATE_GET_USAGECOUNT(pg_atomic_read_u32(&hdr->state));
	}
	relation_close(rel, AccessShareLock);

	if (usage < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(usage);
}

/*
 * page_access_verify(rel, accesses, delay)
 *
 * Reads random pages without a pin, as method H does but with a pause in the
 * middle of every read, and compares each accepted answer with what a pinned
 * read had found.  Run it where shared buffers are much smaller than the
 * relation and nothing writes to it: pages are then replaced during the pause
 * all the time.
 */
Datum
page_access_verify(PG_FUNCTION_ARGS)
{
	Relation	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	int			accesses = PG_GETARG_INT32(1);
	int			delay = PG_GETARG_INT32(2);
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	uint64	   *expected = MemoryContextAllocHuge(CurrentMemoryContext,
												  (nblocks + 1) * sizeof(uint64));
	Buffer	   *hint = MemoryContextAllocHuge(CurrentMemoryContext,
											  (nblocks + 1) * sizeof(Buffer));
	Walk		walk = {.state = (uint64) MyProcPid * 2 + 1};
	TupleDesc	tupdesc;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};
	int64		accepted = 0;
	int64		stale = 0;
	int64		replaced = 0;
	int64		wrong = 0;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	for (BlockNumber blkno = 0; blkno < nblocks; blkno++)
	{
		Buffer		buf = ReadBuffer(rel, blkno);

		CHECK_FOR_INTERRUPTS();
		expected[blkno] = sum_bytes((const char *) BufferGetPage(buf) + VERIFY_OFFSET,
									VERIFY_BYTES);
		hint[blkno] = buf;
		ReleaseBuffer(buf);
	}

	for (int i = 0; i < accesses && nblocks > 0; i++)
	{
		BlockNumber blkno = (BlockNumber) (((walk_random(&walk) >> 32) * nblocks) >> 32);
		BufferDesc *hdr = GetBufferDescriptor(hint[blkno] - 1);
		const char *p = (const char *) BufferGetBlock(hint[blkno]) + VERIFY_OFFSET;
		BufferTag	want;
		uint64		sum;

		CHECK_FOR_INTERRUPTS();
		TagInit(&want, rel, blkno);
		if (!holds_block(hdr, &want))
		{
			Buffer		buf = ReadBuffer(rel, blkno);

			hint[blkno] = buf;
			ReleaseBuffer(buf);
			stale++;
			continue;
		}

		pg_read_barrier();
		sum = sum_bytes(p, VERIFY_BYTES / 2);
		if (delay > 0)
			pg_usleep(delay);
		pg_read_barrier();
		sum += sum_bytes(p + VERIFY_BYTES / 2, VERIFY_BYTES / 2);
		pg_read_barrier();

		if (!holds_block(hdr, &want))
			replaced++;
		else if (sum != expected[blkno])
			wrong++;
		else
			accepted++;
	}
	relation_close(rel, AccessShareLock);

	values[0] = Int64GetDatum(accepted);
	values[1] = Int64GetDatum(stale);
	values[2] = Int64GetDatum(replaced);
	values[3] = Int64GetDatum(wrong);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}
