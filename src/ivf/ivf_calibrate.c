/*
 * ivf_calibrate.c
 *	  What recall has a scan that looks at how many lists, and refines how many rows?
 *	  Measured at the end of a build, after VACUUM has made all lists anew, and by
 *	  vdb.calibrate() (index_calibrate.c).
 *
 * A question is answered by a scan of all lists.  Its nearest rows by estimate are refined,
 * and the nearest of these are right: the scan that finds all is the one to compare with,
 * since no row of the table is nearer to what a scan can tell.  Where rows have no records,
 * the table's values decide.
 *
 * A right row is found by each scan that looks at its list and refines it, and one that is in
 * two lists by each that does so with one of them.  Its list's place
 * among the lists and its own among the rows of the lists before, by estimate, are known: so
 * one scan tells of all smaller ones what they would have found.  Questions are answered many
 * at a time, list by list, so that each group of rows is read once for all of them.
 *
 * For each number of lists there is a factor by which rows are refined: the least by which
 * hardly more is missed than with the greatest.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "commands/progress.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ivf/ivf_private.h"
#include "pace.h"

/* Questions that are answered at a time, where there is memory for so many. */
#define BATCH_QUESTIONS 64

/*
 * Rows nearest by estimate, among which the right ones are chosen: many times as many as a
 * scan refines for them.  Lanes are as many times as many as rows have.
 */
static const uint32 nearest_rows[VDB_CALIBRATED_ROWS] = {500, 2000};

/* The greatest factor that is chosen.  What takes more, more lists make up for. */
#define MOST_FACTOR 40

/*
 * A factor is large enough where it adds this share to what is missed with the greatest one:
 * to look at more lists takes longer.
 */
#define FACTOR_SHARE 0.1

/* Shares of the right rows that were found, over all questions. */
typedef struct Tally
{
	uint32		rows;			/* that are right */
	uint32		questions;
	double		sum[IVF_CALIBRATED_LEVELS][MOST_FACTOR + 1];
	double		sum2[IVF_CALIBRATED_LEVELS][MOST_FACTOR + 1];	/* of squares */
} Tally;

typedef struct Question Question;

typedef struct Calibration
{
	IvfIndex   *index;
	Relation	heap;
	VdbExact	exact;
	MemoryContext context;		/* of a batch */
	Question   *questions;		/* of it */
	uint32		count;
	uint32		room;
	uint32		asked;			/* before */
	uint64		lanes;			/* of all lists, counted with the first batch */
	Tally	   *tallies;		/* of few rows, and of many */
} Calibration;

/* A row near to a question, by estimate, and what its record or its value says. */
typedef struct NearRow
{
	IvfCandidate candidate;
	float		score;
	uint32		other;			/* the same row's other lane, if that is among them; or this one */
} NearRow;

/* A list's place among all, the nearest first. */
typedef struct ListPlace
{
	uint32		list;
	uint32		place;
} ListPlace;

struct Question
{
	float	   *vector;			/* in code space */
	float		norm;
	ItemPointerData tid;		/* of the row whose vector it is; invalid: of none */
	bool		many;			/* recall among many rows is measured as well */
	IvfRanking	ranking;
	IvfProbe   *probes;			/* all lists, the nearest first */
	ListPlace  *places;			/* of each in that, by its number */
	uint32		lists;
	IvfRefineQuery refine;		/* where rows have records */
	IvfNearest	nearest;
	NearRow    *rows;			/* by estimate */
	uint32		count;			/* of these; a row may have two lanes among them */
};

/* --- answers -------------------------------------------------------------- */

/* All rows are wanted but the question itself. */
static bool
is_wanted(void *state, const IvfCandidate *candidate, const uint8 *payload)
{
	return memcmp(payload, &((const Question *) state)->tid, sizeof(ItemPointerData)) != 0;
}

/* The score of a row by its record. */
static float
refine_row(const Calibration *c, const Question *question, const IvfCandidate *candidate)
{
	IvfIndex   *index = c->index;
	const IvfRecord *record;
	Buffer		buffer = vdb_ivf_lock_record(index, IVF_ROWS, candidate->lane, &record);
	float		score = vdb_ivf_refine_score(&question->refine, index, &question->probes[candidate->probe],
											 record);

	UnlockReleaseBuffer(buffer);
	return score;
}

/* The same by its value; of one that nobody can see, the estimate. */
static float
measure_row(Calibration *c, const Question *question, Snapshot snapshot, const IvfCandidate *candidate)
{
	float		score = candidate->score;
	float		norm;
	float	   *vector = vdb_ivf_fetch_vector(c->index, &c->exact, c->heap, snapshot, candidate->tid, &norm);

	if (vector != NULL)
	{
		score = vdb_vector_score(&c->index->codec, question->vector, vector);
		pfree(vector);
	}
	return score;
}

static int
compare_estimates(const void *a, const void *b)
{
	float		x = ((const NearRow *) a)->candidate.score;
	float		y = ((const NearRow *) b)->candidate.score;

	return x < y ? -1 : x > y;
}

static int
compare_scores(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

static int
compare_tids(const void *a, const void *b, void *arg)
{
	const NearRow *rows = arg;
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return memcmp(&rows[x].candidate.tid, &rows[y].candidate.tid, sizeof(ItemPointerData));
}

/* Finds out which of the rows nearest by estimate are the same.  What it takes goes with the batch. */
static void
pair_rows(const Question *question)
{
	uint32	   *order = palloc(Max(question->count, 1) * sizeof(uint32));

	for (uint32 i = 0; i < question->count; i++)
		order[i] = question->rows[i].other = i;
	if (!question->ranking.index->spill)
		return;
	qsort_arg(order, question->count, sizeof(uint32), compare_tids, question->rows);
	for (uint32 i = 1; i < question->count; i++)
	{
		if (compare_tids(&order[i - 1], &order[i], question->rows) != 0)
			continue;
		question->rows[order[i - 1]].other = order[i];
		question->rows[order[i]].other = order[i - 1];
	}
}

/* Brings the rows nearest by estimate in that order, and looks closer at them. */
static void
refine_rows(Calibration *c, Question *question)
{
	bool		recorded = vdb_ivf_shelf(c->index, IVF_ROWS)->record_bits > 0;
	SnapshotData snapshot;

	if (!recorded)
		vdb_ivf_init_snapshot(&snapshot, c->heap);
	question->count = question->nearest.count;
	question->rows = palloc(Max(question->count, 1) * sizeof(NearRow));
	for (uint32 i = 0; i < question->count; i++)
		question->rows[i].candidate = question->nearest.rows[i];
	qsort(question->rows, question->count, sizeof(NearRow), compare_estimates);
	pair_rows(question);
	for (uint32 i = 0; i < question->count; i++)
	{
		NearRow    *row = &question->rows[i];

		vdb_pace();
		if (row->other < i)
		{
			row->score = question->rows[row->other].score;
			continue;
		}
		row->score = recorded ? refine_row(c, question, &row->candidate) :
			measure_row(c, question, &snapshot, &row->candidate);
		if (isnan(row->score))
			row->score = FLT_MAX;
	}
}

static int
compare_lists(const void *a, const void *b)
{
	uint32		x = ((const ListPlace *) a)->list;
	uint32		y = ((const ListPlace *) b)->list;

	return x < y ? -1 : x > y;
}

/* Ranks the lists for a question. */
static void
rank_lists(Calibration *c, Question *question)
{
	uint32		lists;

	vdb_ivf_rank(&question->ranking, c->index, question->vector, question->norm, false);
	lists = question->ranking.count;
	question->probes = palloc_extended(Max(lists, 1) * sizeof(IvfProbe), MCXT_ALLOC_HUGE);
	question->places = palloc_extended(Max(lists, 1) * sizeof(ListPlace), MCXT_ALLOC_HUGE);
	question->lists = vdb_ivf_take_probes(&question->ranking, question->probes, lists);
	pfree(question->ranking.probes);
	for (uint32 i = 0; i < lists; i++)
		question->places[i] = (ListPlace) {question->probes[i].list, i};
	qsort(question->places, lists, sizeof(ListPlace), compare_lists);
	if (vdb_ivf_shelf(c->index, IVF_ROWS)->record_bits > 0)
		vdb_ivf_refine_prepare(&question->refine, c->index, question->vector, question->norm);
	vdb_ivf_nearest_init(&question->nearest, &question->ranking,
						 c->index->scan.kind == VDB_SCAN_NOTHING ? &question->refine : NULL,
						 is_wanted, question);
	vdb_ivf_nearest_begin(&question->nearest, nearest_rows[question->many] << c->index->spill);
}

/* Has the questions look at the rows of a list, whose number is the same for all. */
static void
scan_list(Calibration *c, uint32 number, IvfGroup *copy)
{
	const Question *first = &c->questions[0];
	uint32		list = first->places[number].list;
	uint32		group = first->probes[first->places[number].place].head;
	uint64		groups = 0;

	for (; vdb_ivf_copy_group(c->index, IVF_ROWS, list, group, &groups, copy); group = copy->next)
	{
		if (c->tallies[0].questions == 0)
			c->lanes += __builtin_popcount(copy->used);
		for (uint32 i = 0; i < c->count; i++)
		{
			Question   *question = &c->questions[i];

			vdb_ivf_nearest_look(&question->nearest, question->probes, question->places[number].place,
								 group, copy);
		}
	}
}

/* Finds the rows nearest to the questions by estimate. */
static void
scan_lists(Calibration *c)
{
	IvfGroup   *copy = palloc(vdb_ivf_shelf(c->index, IVF_ROWS)->group_stride);
	uint32		lists = PG_UINT32_MAX;

	for (uint32 i = 0; i < c->count; i++)
	{
		rank_lists(c, &c->questions[i]);

		/* an insert may give the first list to an index that had none */
		lists = Min(lists, c->questions[i].lists);
	}
	for (uint32 number = 0; number < lists; number++)
		scan_list(c, number, copy);
	for (uint32 i = 0; i < c->count; i++)
		vdb_ivf_nearest_cut(&c->questions[i].nearest);
}

/* The scores of a question's rows, each once, in order; *count: how many. */
static float *
sort_scores(const Question *question, uint32 *count)
{
	float	   *scores = palloc(question->count * sizeof(float));

	*count = 0;
	for (uint32 i = 0; i < question->count; i++)
	{
		if (question->rows[i].other >= i)
			scores[(*count)++] = question->rows[i].score;
	}
	qsort(scores, *count, sizeof(float), compare_scores);
	return scores;
}

/* How many lanes a scan has refined when it comes to return the row before which there are so many. */
static uint64
lanes_refined(const IvfIndex *index, uint32 rank, uint32 factor)
{
	uint64		refined = 0;
	uint32		returned = 0;

	for (uint32 rows = VDB_FEW_ROWS; returned <= rank; rows *= 2)
	{
		refined += vdb_ivf_lanes_refined(index, rows, factor);
		returned += rows;
	}
	return refined;
}

/*
 * The least factor by which a right row is refined in time, that so many other lanes come
 * before by estimate; or one too great.
 */
static uint32
needed_factor(const IvfIndex *index, const float *scores, uint32 wanted, float score, uint32 before)
{
	uint32		factor = 1;
	uint32		rank = 0;

	while (rank < wanted - 1 && scores[rank] < score)
		rank++;
	while (factor <= MOST_FACTOR && lanes_refined(index, rank, factor) <= before)
		factor++;
	return factor;
}

/* Adds what scans of so many lists find of the right rows; scores: of the nearest, in order. */
static void
add_level(Tally *tally, const Question *question, int level, uint32 lists, const float *scores,
		  uint32 wanted)
{
	uint32		needs[MOST_FACTOR + 2] = {0};
	uint32		before = 0;
	uint32		found = 0;

	for (uint32 i = 0; i < question->count; i++)
	{
		const NearRow *row = &question->rows[i];

		if (row->candidate.probe >= lists)
			continue;

		/* a row as near as the last right one is right too; once, by the lane that comes first */
		if (row->score <= scores[wanted - 1] &&
			(row->other >= i || question->rows[row->other].candidate.probe >= lists))
			needs[needed_factor(question->ranking.index, scores, wanted, row->score, before)]++;
		before++;
	}
	for (uint32 factor = 1; factor <= MOST_FACTOR; factor++)
	{
		double		share;

		found += needs[factor];
		share = (double) Min(found, wanted) / wanted;
		tally->sum[level][factor] += share;
		tally->sum2[level][factor] += share * share;
	}
}

static void
tally_question(Tally *tally, const Question *question)
{
	uint32		rows;
	float	   *scores = sort_scores(question, &rows);
	uint32		wanted = Min(tally->rows, rows);

	tally->questions++;
	for (int level = 0; level < IVF_CALIBRATED_LEVELS; level++)
		add_level(tally, question, level, vdb_ivf_level_probes(question->ranking.lists, level),
				  scores, wanted);
	pfree(scores);
}

/* Answers the questions of a batch, and forgets them. */
static void
answer_batch(Calibration *c)
{
	MemoryContext old = MemoryContextSwitchTo(c->context);

	if (c->count > 0)
		scan_lists(c);
	for (uint32 i = 0; i < c->count; i++)
	{
		Question   *question = &c->questions[i];

		refine_rows(c, question);
		if (question->count == 0)
			continue;
		tally_question(&c->tallies[0], question);
		if (question->many)
			tally_question(&c->tallies[1], question);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(c->context);
	c->count = 0;
}

/* --- questions ------------------------------------------------------------ */

/* Bytes of a question, the greatest. */
static double
question_bytes(const IvfIndex *index)
{
	return 4.0 * index->codec.vector_bytes + 64.0 * index->scan.bytes +
		index->lists * (2.0 * sizeof(IvfProbe) + sizeof(ListPlace)) +
		(nearest_rows[0] + (double) nearest_rows[1] / VDB_MANY_EVERY) *
		(8.0 * sizeof(IvfCandidate) + sizeof(NearRow) + sizeof(uint32)) * (1 + index->spill);
}

static void
begin_calibration(Calibration *c, IvfIndex *index, Relation heap)
{
	memset(c, 0, sizeof(*c));
	c->index = index;
	c->heap = heap;
	c->exact.memory = CurrentMemoryContext;
	c->context = AllocSetContextCreate(CurrentMemoryContext, "ivf calibration", ALLOCSET_DEFAULT_SIZES);
	c->tallies = palloc0(VDB_CALIBRATED_ROWS * sizeof(Tally));
	c->tallies[0].rows = VDB_FEW_ROWS;
	c->tallies[1].rows = VDB_MANY_ROWS;
	vdb_ivf_refresh(index);
	c->room = (uint32) Min(Max(vdb_index_maintenance_memory() / question_bytes(index), 1), BATCH_QUESTIONS);
	c->questions = palloc(c->room * sizeof(Question));
}

/* Adds a question, whose vector is in the batch's context.  tid: of its row, if it is one. */
static void
add_question(Calibration *c, float *vector, float norm, ItemPointerData tid)
{
	c->questions[c->count] = (Question) {
		.vector = vector,
		.norm = norm,
		.tid = tid,
		.many = c->asked++ % VDB_MANY_EVERY == 0
	};
	if (++c->count == c->room)
		answer_batch(c);
}

/*
 * Which list a lane has a row of, that is in force, and which row that is; false when it has
 * none, or a row's second lane: each row is as likely as another.
 */
static bool
find_row(IvfIndex *index, uint32 lane, uint32 *list, ItemPointerData *tid)
{
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	uint32		number = lane / IVF_LANES;
	IvfAddress	a = vdb_ivf_group_address(&index->geometry, shelf, number);
	Buffer		buffer;
	IvfGroup   *group;
	IvfList		entry;
	bool		found;

	if (!vdb_ivf_has_rows(index, a.extent, NULL))
		return false;
	buffer = vdb_ivf_read_scan_page(index, IVF_ROWS, a, BUFFER_LOCK_SHARE);
	group = vdb_ivf_page_group(BufferGetPage(buffer), a);
	*list = group->list;
	found = a.slot < vdb_page_special(BufferGetPage(buffer))->used &&
		(group->used >> lane % IVF_LANES & 1) != 0 && *list != IVF_NO_LIST;
	if (found)
	{
		const uint8 *payload = vdb_ivf_group_payload(shelf, group, lane % IVF_LANES);

		memcpy(tid, payload, sizeof(*tid));
		found = !vdb_ivf_is_second(index, payload);
	}
	UnlockReleaseBuffer(buffer);
	if (!found)
		return false;
	if (!vdb_ivf_group_exists(index, IVF_LISTS, *list / IVF_LANES))
		vdb_page_corrupted(index->rel, a.block, psprintf("A group is of list %u, which cannot exist.", *list));
	UnlockReleaseBuffer(vdb_ivf_lock_list(index, *list, BUFFER_LOCK_SHARE, &a, &entry));
	return vdb_ivf_in_force(&entry, index->epoch);
}

/* The vector of a row, in the current context, as its record says or its value; or NULL. */
static float *
load_row(Calibration *c, uint32 lane, uint32 list, ItemPointerData tid, float *norm)
{
	IvfIndex   *index = c->index;
	const IvfShelf *shelf = vdb_ivf_shelf(index, IVF_ROWS);
	float	   *centroid;
	IvfRow		row;

	if (shelf->record_bits == 0)
	{
		SnapshotData snapshot;

		vdb_ivf_init_snapshot(&snapshot, c->heap);
		return vdb_ivf_fetch_vector(index, &c->exact, c->heap, &snapshot, tid, norm);
	}
	centroid = palloc(index->codec.vector_bytes);
	row.vector = palloc(index->codec.vector_bytes);
	vdb_ivf_load_centroid(index, list, centroid);
	vdb_ivf_load_row_record(index, lane, centroid, &row);
	*norm = sqrtf(vdb_kernels->inner_product(index->codec.P, row.vector, row.vector));
	return row.vector;
}

/* Makes the row of a lane a question, if there is one. */
static bool
ask_row(void *state, uint64 slot, bool only_try)
{
	Calibration *c = state;
	uint32		lane = (uint32) slot;
	ItemPointerData tid;
	uint32		list;
	float	   *vector;
	float		norm;
	MemoryContext old;

	if (!find_row(c->index, lane, &list, &tid))
		return false;
	if (only_try)
		return true;
	old = MemoryContextSwitchTo(c->context);
	vector = load_row(c, lane, list, tid, &norm);
	MemoryContextSwitchTo(old);
	if (vector != NULL)
		add_question(c, vector, norm, tid);
	return vector != NULL;
}

static uint64
count_lanes(const IvfIndex *index)
{
	return (uint64) index->extents * vdb_ivf_shelf(index, IVF_ROWS)->extent_groups * IVF_LANES;
}

static void
ask_rows(Calibration *c, uint32 wanted)
{
	vdb_calibrate_draw(count_lanes(c->index), wanted, c->index->codec.seed, ask_row, c);
	answer_batch(c);
}

/* Takes a user's vectors for questions. */
static void
ask_values(Calibration *c, const Datum *values, int count)
{
	ItemPointerData none;

	ItemPointerSetInvalid(&none);
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(c->context);
		float		norm;
		float	   *vector;

		CHECK_FOR_INTERRUPTS();
		vector = vdb_ivf_transform(c->index->support, &c->index->codec, values[i], &norm);
		MemoryContextSwitchTo(old);
		if (vector != NULL)
			add_question(c, vector, norm, none);
	}
	answer_batch(c);
}

/* --- what is kept --------------------------------------------------------- */

/* The least factor with which scans of a level miss hardly more than with the greatest. */
static uint8
choose_factor(const Tally *tally, int level)
{
	double		missed = tally->questions - tally->sum[level][MOST_FACTOR];
	uint8		factor = 1;

	while (factor < MOST_FACTOR &&
		   tally->questions - tally->sum[level][factor] > missed * (1 + FACTOR_SHARE) + FLT_EPSILON)
		factor++;
	return factor;
}

/* What scans go by from now on; it says so itself if that is too little. */
static void
form_calibration(const Calibration *c, IvfCalibration *out)
{
	uint32		asked = c->tallies[0].questions;

	memset(out, 0, sizeof(*out));
	if (asked < VDB_MIN_QUESTIONS)
		return;
	out->lists = c->index->lists;
	out->queries = asked;
	out->rows = vdb_bfloat_above((float) (c->lanes >> c->index->spill));
	for (int level = 0; level < IVF_CALIBRATED_LEVELS; level++)
	{
		int			before = Max(0, level - 1);

		for (int r = 0; r < IVF_CALIBRATED_ROWS; r++)
		{
			const Tally *tally = &c->tallies[r];
			uint8		factor = Max(out->factor[r][before], choose_factor(tally, level));

			/* who looks at more lists finds no less */
			out->factor[r][level] = factor;
			out->recall[r][level] = Max(out->recall[r][before],
										vdb_calibrate_promise(tally->sum[level][factor],
															  tally->sum2[level][factor],
															  tally->questions, asked));
		}
	}
}

static void
end_calibration(Calibration *c, IvfCalibration *out)
{
	form_calibration(c, out);
	vdb_exact_end(&c->exact);
	MemoryContextDelete(c->context);
}

void
vdb_ivf_calibrate_lists(IvfIndex *index, Relation heap, bool building)
{
	Calibration c;
	IvfCalibration calibration;

	if (vdb_ivf_is_flat(index->rel))
		return;
	if (building)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, IVF_PHASE_CALIBRATE);
	begin_calibration(&c, index, heap);
	ask_rows(&c, vdb_calibrate_build_questions(count_lanes(index)));
	end_calibration(&c, &calibration);
	vdb_ivf_set_calibration(index, &calibration, building);
}

/* Says what is known to whoever asks: each number of lists once. */
static void
show_calibration(const IvfCalibration *calibration, VdbCalibrated *result)
{
	result->questions = calibration->queries;
	for (int level = 0; level < IVF_CALIBRATED_LEVELS; level++)
	{
		uint32		probes = vdb_ivf_level_probes(calibration->lists, level);

		if (result->count > 0 && result->efforts[result->count - 1].probes == (int) probes)
			result->count--;
		result->efforts[result->count] = (VdbEffort) {
			.probes = (int) probes,
			.refine_factor = calibration->factor[0][level]
		};
		for (int r = 0; r < IVF_CALIBRATED_ROWS; r++)
			result->recall[r][result->count] = (double) calibration->recall[r][level] / PG_UINT16_MAX;
		result->count++;
	}
}

/* Lists stay what they are meanwhile, and VACUUM is in time if it changes them later. */
bool
vdb_ivf_calibrate(Relation rel, Relation heap, const Datum *queries, int count, bool wait, VdbCalibrated *result)
{
	Calibration c;
	IvfCalibration calibration;

	if (!vdb_ivf_lock_lists(rel, IVF_LISTS_CHECK, wait))
		return false;
	begin_calibration(&c, vdb_ivf_open(rel), heap);
	if (queries != NULL)
		ask_values(&c, queries, count);
	else
		ask_rows(&c, VDB_DRAWN_QUESTIONS);
	end_calibration(&c, &calibration);
	result->questions = c.tallies[0].questions;
	if (calibration.queries > 0)
	{
		vdb_ivf_set_calibration(c.index, &calibration, false);
		show_calibration(&calibration, result);
	}
	vdb_ivf_unlock_lists(rel, IVF_LISTS_CHECK);
	return true;
}

void
vdb_ivf_calibration(Relation rel, VdbCalibrated *result)
{
	IvfSummary	summary;

	vdb_ivf_load_summary(rel, &summary);
	if (vdb_ivf_is_calibrated(&summary.calibration, summary.lists))
		show_calibration(&summary.calibration, result);
}
