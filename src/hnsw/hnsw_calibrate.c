/*
 * hnsw_calibrate.c
 *	  What recall does a search of which size have?  Measured at the end of a
 *	  build, and by vdb.calibrate() (index_calibrate.c).
 *
 * Some questions are answered twice.  Exactly, by scoring the codes of all live
 * nodes, page by page.  And by searches, each of which tells of every node it
 * came to how large the pool had to be for that, and how much stretch it took
 * (HnswReach): one with less takes the same steps, but for the last ones.  So one
 * large search tells what all smaller ones would have found.
 *
 * Where a user asks nothing, questions are rows of the index, and each search is
 * made to pass its row by, as if it were not indexed: a row is easily found by way
 * of itself, and its neighbours are in its list.
 *
 * What is kept is what may be promised: the mean less some standard errors of it.
 * For each size of a search there is a stretch, chosen so that the search stops
 * early where that adds a certain share to what it misses.
 *
 * No row of the table is read, and no row's place depends on details that codes
 * cannot tell apart: a node is right if it is as near as the last of the right
 * ones, whichever of several equal ones it is.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "hnsw/hnsw_private.h"
#include "pace.h"
#include "quant/panel.h"

/* Questions that are answered at a time. */
#define BATCH_QUESTIONS 256

/*
 * Nodes whose codes are nearest: the right ones are chosen among them by fuller
 * codes.
 */
#define NEAREST 120

/*
 * A search stops early where that adds this share to what a search of its size
 * misses.  More would take a larger one to make up for.
 */
#define EARLY_SHARE 0.5

typedef struct Question
{
	void	   *vector;			/* in code space */
	float		norm;
	uint32		nid;			/* whose vector it is, or HNSW_NO_NODE */
	bool		many;			/* recall among many rows is measured as well */
	VdbQuery	query;			/* where hot codes are scored */
	uint32		count;
	HnswCandidate *nearest;		/* [NEAREST]; a heap, farthest on top */
} Question;

/* What it takes to find each of a question's nearest few rows. */
typedef struct FewAnswer
{
	uint32		wanted;
	uint32		found;
	HnswReach	reach[HNSW_STRETCH_ROWS];	/* of those found */
} FewAnswer;

typedef struct Calibration
{
	HnswIndex  *index;
	MemoryContext context;		/* of a batch */
	uint32		extents;		/* there were when we started */
	Question   *questions;		/* of a batch */
	uint32		count;

	/* to answer exactly */
	BufferAccessStrategy strategy;
	VdbPanel	panel;			/* of questions, where there are node codes */
	float	   *scores;
	float	   *limits;			/* of each question: score of its farthest */
	VdbNodeFactors *factors;	/* of a page's nodes */
	bool	   *live;			/* of an extent's slots, or a page's */
	char	   *page;

	/* over all questions */
	MemoryContext result_context;
	uint32		asked;
	uint32		few_count;
	uint32		few_size;
	FewAnswer  *few;			/* of each question */
	uint32		many_count;
	double		many_sum[HNSW_CALIBRATED_LEVELS];	/* of recall among many rows, */
	double		many_sum2[HNSW_CALIBRATED_LEVELS];	/* and of its squares */
} Calibration;

/* --- exact answers -------------------------------------------------------- */

/* Offers a node to each question; scores: by question. */
static void
offer_node(Calibration *c, uint32 nid, const float *scores)
{
	for (uint32 i = 0; i < c->count; i++)
	{
		Question   *question = &c->questions[i];

		if (scores[i] >= c->limits[i] || question->nid == nid)
			continue;
		hnsw_heap_keep(question->nearest, &question->count, NEAREST,
					   (HnswCandidate) {.score = scores[i],.nid = nid});
		if (question->count == NEAREST)
			c->limits[i] = question->nearest[0].score;
	}
}

/* Copies a page of an extent; returns how many of its slots are used. */
static uint32
copy_page(Calibration *c, uint32 extent, uint32 number)
{
	HnswIndex  *index = c->index;
	const HnswGeometry *g = &index->geometry;
	BlockNumber block = vdb_hnsw_extent_block(g, extent) + number;
	uint32		slots = number == 0 ? g->extent_slots :
		Min(g->nodes_per_page, g->extent_slots - (number - 1) * g->nodes_per_page);
	Buffer		buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, c->strategy);
	uint32		used;

	vdb_pace();
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	vdb_page_check(index->rel, block, BufferGetPage(buffer),
				   number == 0 ? VDB_PAGE_HNSW_HOT : VDB_PAGE_HNSW_NODE, extent);
	memcpy(c->page, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
	used = vdb_page_special(c->page)->used;
	if (used > slots)
		vdb_page_corrupted(index->rel, block, "More slots are used than there are.");
	return used;
}

/* Scores the nodes of a node page by their node codes. */
static void
score_node_page(Calibration *c, uint32 extent, uint32 number)
{
	const HnswGeometry *g = &c->index->geometry;
	uint32		used = copy_page(c, extent, number);
	uint32		first = extent * g->extent_slots + (number - 1) * g->nodes_per_page;
	HnswNode   *node = (HnswNode *) (c->page + HNSW_NODE_FIRST);
	bool		any = false;

	for (uint32 i = 0; i < used; i++)
	{
		HnswNode   *slot = (HnswNode *) ((char *) node + i * g->node_stride);

		/* postings have no factors there */
		c->live[i] = slot->state == HNSW_LIVE;
		c->factors[i] = c->live[i] ? vdb_hnsw_node_factors(slot) : (VdbNodeFactors) {0};
		any |= c->live[i];
	}
	if (!any)
		return;
	vdb_panel_scores(&c->panel, used, c->factors, vdb_hnsw_node_hi(g, node), g->node_stride,
					 c->scores);
	for (uint32 i = 0; i < used; i++)
	{
		if (c->live[i])
			offer_node(c, first + i, c->scores + (Size) i * c->count);
	}
}

/* Notes which nodes of a node page are live. */
static void
note_live(Calibration *c, uint32 extent, uint32 number)
{
	const HnswGeometry *g = &c->index->geometry;
	uint32		used = copy_page(c, extent, number);

	for (uint32 i = 0; i < used; i++)
		c->live[(number - 1) * g->nodes_per_page + i] =
			((HnswNode *) (c->page + HNSW_NODE_FIRST + i * g->node_stride))->state == HNSW_LIVE;
}

/* Scores the live nodes of an extent by their hot codes. */
static void
score_hot_page(Calibration *c, uint32 extent)
{
	const HnswGeometry *g = &c->index->geometry;
	uint32		used;

	memset(c->live, 0, g->extent_slots * sizeof(bool));
	for (uint32 number = 1; number <= g->node_pages; number++)
		note_live(c, extent, number);
	used = copy_page(c, extent, 0);
	for (uint32 slot = 0; slot < used; slot++)
	{
		HnswHot    *hot = (HnswHot *) (c->page + g->hot_first + slot * g->hot_stride);
		VdbHotFactors f = {hot->add, hot->rescale};

		if (!c->live[slot])
			continue;
		vdb_pace();
		for (uint32 i = 0; i < c->count; i++)
			c->scores[i] = vdb_hot_score(&c->questions[i].query, f, vdb_hnsw_hot_code(hot));
		offer_node(c, extent * g->extent_slots + slot, c->scores);
	}
}

/* Prepares the questions to be compared with codes. */
static void
prepare_questions(Calibration *c)
{
	const HnswGeometry *g = &c->index->geometry;
	const VdbCodec *codec = &c->index->codec;
	uint32		rows = g->node_bits != 0 ? g->nodes_per_page : 1;
	uint8	   *hi = palloc(Max(1, codec->hi_bytes));
	uint8	   *lo = palloc(Max(1, codec->lo_bytes));

	c->page = palloc(BLCKSZ);
	c->live = palloc(g->extent_slots * sizeof(bool));
	c->factors = palloc(rows * sizeof(VdbNodeFactors));
	c->scores = palloc((Size) rows * c->count * sizeof(float));
	c->limits = palloc(c->count * sizeof(float));
	if (g->node_bits != 0)
	{
		char	   *memory = palloc(vdb_panel_bytes(codec, c->count) + 64);

		vdb_panel_init(&c->panel, codec, c->count, (char *) TYPEALIGN(64, memory));
	}
	for (uint32 i = 0; i < c->count; i++)
	{
		Question   *question = &c->questions[i];

		c->limits[i] = FLT_MAX;
		question->nearest = palloc(NEAREST * sizeof(HnswCandidate));
		if (g->node_bits != 0)
			vdb_panel_put(&c->panel, i, vdb_encode_node(codec, question->vector, question->norm, hi, lo),
						  hi);
		else
		{
			question->query.vector = question->vector;
			question->query.hot = palloc(vdb_query_bytes(codec, question->vector));
			vdb_query_prepare(&question->query, codec, question->norm);
		}
	}
}

/* Finds the nearest nodes of each question, nearly. */
static void
answer_exactly(Calibration *c)
{
	const HnswGeometry *g = &c->index->geometry;

	prepare_questions(c);
	for (uint32 extent = 0; extent < c->extents; extent++)
	{
		if (vdb_hnsw_is_upper(c->index, extent, NULL))
			continue;
		if (g->node_bits == 0)
			score_hot_page(c, extent);
		else
		{
			for (uint32 number = 1; number <= g->node_pages; number++)
				score_node_page(c, extent, number);
		}
	}
}

/* --- searches ------------------------------------------------------------- */

/* The score that a search gives a node which it expands. */
static float
score_node(HnswSearch *search, uint32 nid)
{
	HnswIndex  *index = search->index;
	const HnswGeometry *g = &index->geometry;
	HnswAddress a = vdb_hnsw_node_address(g, nid);
	Buffer		buffer;
	HnswNode   *node;
	VdbNodeFactors f;
	float		score = 0;

	buffer = vdb_hnsw_read_node(index, a, BUFFER_LOCK_SHARE);
	node = vdb_hnsw_page_node(BufferGetPage(buffer), a);
	f = vdb_hnsw_node_factors(node);
	if (g->node_bits != 0)
		score = vdb_node_score(&search->query, f, vdb_hnsw_node_hi(g, node), vdb_hnsw_node_lo(g, node));
	UnlockReleaseBuffer(buffer);
	if (vdb_codec_hot_is_whole(&index->codec))
	{
		uint8	   *code = palloc(g->hot_bytes);
		VdbHotFactors hot;

		/* of another life by now: a score like another */
		(void) vdb_hnsw_read_whole(index, nid, 0, &hot, code);
		score = vdb_node_score(&search->query, (VdbNodeFactors) {hot.rescale, hot.add, f.residual},
							   code, NULL);
		pfree(code);
	}
	else if (g->node_bits == 0)
		score = vdb_hnsw_score_hot(index, &search->query, nid);
	return score;
}

static int
compare_near(const void *a, const void *b)
{
	float		x = ((const HnswCandidate *) a)->score;
	float		y = ((const HnswCandidate *) b)->score;

	return x < y ? -1 : x > y;
}

/* How many rows are to be found of the first so many, and how far they are. */
static uint32
wanted_rows(const Question *question, uint32 first, float *farthest)
{
	uint32		wanted = Min(question->count, first);

	*farthest = question->nearest[wanted - 1].score;
	return wanted;
}

/* Did a search find all that is right? */
static bool
has_all(const Question *question, const HnswSearch *search)
{
	float		farthest;
	uint32		wanted = wanted_rows(question, vdb_hnsw_calibrated_rows[question->many], &farthest);
	uint32		found = 0;

	for (uint32 i = 0; i < search->found_count; i++)
		found += search->found[i].score <= farthest;
	return found >= wanted;
}

/* Notes what it takes to find the first few rows. */
static void
note_few(Calibration *c, const Question *question, const HnswSearch *search)
{
	FewAnswer  *answer;
	float		farthest;

	if (c->few_count == c->few_size)
	{
		MemoryContext old = MemoryContextSwitchTo(c->result_context);

		c->few_size = Max(BATCH_QUESTIONS, 2 * c->few_size);
		if (c->few == NULL)
			c->few = palloc(c->few_size * sizeof(FewAnswer));
		else
			c->few = repalloc(c->few, c->few_size * sizeof(FewAnswer));
		MemoryContextSwitchTo(old);
	}
	answer = &c->few[c->few_count++];
	answer->wanted = wanted_rows(question, HNSW_STRETCH_ROWS, &farthest);
	answer->found = 0;
	for (uint32 i = 0; i < search->found_count && answer->found < answer->wanted; i++)
	{
		if (search->found[i].score <= farthest)
			answer->reach[answer->found++] = search->reaches[i];
	}
}

static inline bool
is_within(HnswReach reach, int level, float stretch)
{
	return reach.pool <= vdb_hnsw_calibrated_ef[level] + HNSW_POOL_SLACK &&
		reach.stretch <= stretch;
}

/* Adds up what share of the first many rows searches of each size find. */
static void
add_many(Calibration *c, const Question *question, const HnswSearch *search)
{
	float		farthest;
	uint32		wanted = wanted_rows(question, vdb_hnsw_calibrated_rows[1], &farthest);

	for (int level = 0; level < HNSW_CALIBRATED_LEVELS; level++)
	{
		uint32		found = 0;
		double		share;

		for (uint32 i = 0; i < search->found_count; i++)
			found += search->found[i].score <= farthest &&
				is_within(search->reaches[i], level, get_float4_infinity());
		share = Min(1.0, (double) found / wanted);
		c->many_sum[level] += share;
		c->many_sum2[level] += share * share;
	}
	c->many_count++;
}

/* Of the nearest nodes, brings those in order that a search would find so. */
static void
sort_nearest(HnswSearch *search, Question *question)
{
	for (uint32 i = 0; i < question->count; i++)
		question->nearest[i].score = score_node(search, question->nearest[i].nid);
	qsort(question->nearest, question->count, sizeof(HnswCandidate), compare_near);
}

/*
 * Searches for a question's answers, with a pool that is large only if it has to
 * be.
 */
static void
search_answers(Calibration *c, Question *question)
{
	static const uint16 sizes[] = {60, 240, 1000};
	MemoryContext context = AllocSetContextCreate(c->context, "hnsw calibration search",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		all = question->count == 0;

	for (int i = 0; i < lengthof(sizes) && !all; i++)
	{
		HnswSearch	search;

		vdb_hnsw_search_begin(&search, c->index, question->vector, question->norm);
		search.absent = question->nid;
		search.pending = c->index->pending;
		search.reaches = MemoryContextAlloc(search.context, 0);
		vdb_hnsw_search_nearest(&search, sizes[i]);
		if (i == 0)
			sort_nearest(&search, question);
		all = has_all(question, &search);
		if (all || i == lengthof(sizes) - 1)
		{
			note_few(c, question, &search);
			if (question->many)
				add_many(c, question, &search);
		}
		vdb_hnsw_search_end(&search);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Answers the questions of a batch, and forgets them. */
static void
answer_batch(Calibration *c)
{
	MemoryContext old = MemoryContextSwitchTo(c->context);

	if (c->count > 0)
	{
		answer_exactly(c);
		for (uint32 i = 0; i < c->count; i++)
			search_answers(c, &c->questions[i]);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(c->context);
	c->count = 0;
}

static void
begin_calibration(Calibration *c, HnswIndex *index)
{
	memset(c, 0, sizeof(*c));
	c->index = index;
	c->result_context = CurrentMemoryContext;
	c->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw calibration",
									   ALLOCSET_DEFAULT_SIZES);
	c->strategy = GetAccessStrategy(BAS_BULKREAD);
	c->questions = palloc0(BATCH_QUESTIONS * sizeof(Question));
	vdb_hnsw_refresh(index);
	c->extents = index->extents;
}

/* Adds a question, whose vector is in the batch's context. */
static void
add_question(Calibration *c, void *vector, float norm, uint32 nid)
{
	c->questions[c->count] = (Question) {
		.vector = vector,
		.norm = norm,
		.nid = nid,
		.many = c->asked++ % VDB_MANY_EVERY == 0
	};
	if (++c->count == BATCH_QUESTIONS)
		answer_batch(c);
}

/*
 * Makes the node of a slot a question, if it is a live one.  Nor is the entry point one:
 * every search begins there.
 */
static bool
ask_node(void *state, uint64 slot, bool only_try)
{
	Calibration *c = state;
	const HnswGeometry *g = &c->index->geometry;
	uint32		nid = (uint32) slot;
	MemoryContext old = MemoryContextSwitchTo(c->context);
	void	   *vector = palloc(c->index->codec.vector_bytes);
	bool		found = !vdb_hnsw_is_upper(c->index, vdb_hnsw_extent_of(g, nid), NULL) &&
		nid != c->index->entry_nid && vdb_hnsw_load_vector(c->index, nid, vector);

	MemoryContextSwitchTo(old);
	if (found && !only_try)
		add_question(c, vector, 0, nid);
	else
		pfree(vector);
	return found;
}

/* Takes about so many live nodes for questions. */
static void
ask_nodes(Calibration *c, uint32 wanted)
{
	vdb_calibrate_draw((uint64) c->extents * c->index->geometry.extent_slots, wanted,
					   c->index->incarnation, ask_node, c);
	answer_batch(c);
}

static int
compare_descending(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x > y ? -1 : x < y;
}

/*
 * The least stretch with which searches of a level miss hardly more than without;
 * stretches: scratch for one of each right row.
 */
static uint16
choose_stretch(const Calibration *c, int level, float *stretches)
{
	uint32		missed = 0;
	uint32		count = 0;
	uint32		more;
	double		units;

	for (uint32 i = 0; i < c->few_count; i++)
	{
		const FewAnswer *answer = &c->few[i];

		missed += answer->wanted;
		for (uint32 j = 0; j < answer->found; j++)
		{
			if (is_within(answer->reach[j], level, get_float4_infinity()))
			{
				stretches[count++] = answer->reach[j].stretch;
				missed--;
			}
		}
	}
	more = (uint32) (missed * EARLY_SHARE);
	if (count <= more)
		return PG_UINT16_MAX;
	qsort(stretches, count, sizeof(float), compare_descending);
	units = ceil((double) stretches[more] * HNSW_STRETCH_UNIT);
	return (uint16) Min(units, PG_UINT16_MAX);
}

/* The recall that is promised among the first few rows, at a level. */
static uint16
promise_few(const Calibration *c, int level, uint16 stretch)
{
	double		sum = 0;
	double		sum2 = 0;

	for (uint32 i = 0; i < c->few_count; i++)
	{
		const FewAnswer *answer = &c->few[i];
		uint32		found = 0;
		double		share;

		for (uint32 j = 0; j < answer->found; j++)
			found += is_within(answer->reach[j], level, (float) stretch / HNSW_STRETCH_UNIT);
		share = (double) found / answer->wanted;
		sum += share;
		sum2 += share * share;
	}
	return vdb_calibrate_promise(sum, sum2, c->few_count, c->few_count);
}

/* What scans go by from now on; it says so itself if that is too little. */
static void
form_calibration(const Calibration *c, HnswCalibration *out)
{
	float	   *stretches;

	memset(out, 0, sizeof(*out));
	if (c->few_count < VDB_MIN_QUESTIONS)
		return;
	stretches = palloc((Size) c->few_count * HNSW_STRETCH_ROWS * sizeof(float));
	out->extents = c->extents;
	out->queries = c->few_count;
	for (int level = 0; level < HNSW_CALIBRATED_LEVELS; level++)
	{
		int			before = Max(0, level - 1);

		out->stretch[level] = Max(out->stretch[before], choose_stretch(c, level, stretches));

		/* a larger search finds no less */
		out->recall[0][level] = Max(out->recall[0][before],
									promise_few(c, level, out->stretch[level]));
		out->recall[1][level] = Max(out->recall[1][before],
									vdb_calibrate_promise(c->many_sum[level], c->many_sum2[level],
														  c->many_count, c->few_count));
	}
	pfree(stretches);
}

void
vdb_hnsw_calibrate_build(HnswIndex *index)
{
	Calibration c;
	HnswCalibration result;

	begin_calibration(&c, index);
	ask_nodes(&c, vdb_calibrate_build_questions((uint64) c.extents * index->geometry.extent_slots));
	form_calibration(&c, &result);
	vdb_hnsw_set_calibration(index, &result, true);
}

/* Takes a user's vectors for questions. */
static void
ask_values(Calibration *c, const Datum *values, int count)
{
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(c->context);
		float		norm;
		void	   *vector;

		CHECK_FOR_INTERRUPTS();
		vector = vdb_index_transform(c->index->support, &c->index->codec, values[i], &norm);
		MemoryContextSwitchTo(old);
		if (vector != NULL)
			add_question(c, vector, norm, HNSW_NO_NODE);
	}
	answer_batch(c);
}

/* Says what is known to whoever asks. */
static void
show_calibration(const HnswCalibration *calibration, VdbCalibrated *result)
{
	result->questions = calibration->queries;
	result->count = HNSW_CALIBRATED_LEVELS;
	for (int level = 0; level < HNSW_CALIBRATED_LEVELS; level++)
	{
		result->efforts[level] = (VdbEffort) {.ef_search = vdb_hnsw_calibrated_ef[level]};
		for (int r = 0; r < HNSW_CALIBRATED_ROWS; r++)
			result->recall[r][level] = (double) calibration->recall[r][level] / PG_UINT16_MAX;
	}
}

bool
vdb_hnsw_calibrate(Relation index, Relation heap, const Datum *queries, int count, bool wait,
				   VdbCalibrated *result)
{
	Calibration c;
	HnswCalibration calibration;

	begin_calibration(&c, vdb_hnsw_open(index));
	if (queries != NULL)
		ask_values(&c, queries, count);
	else
		ask_nodes(&c, VDB_DRAWN_QUESTIONS);
	form_calibration(&c, &calibration);
	result->questions = c.few_count;
	if (calibration.queries > 0)
	{
		vdb_hnsw_set_calibration(c.index, &calibration, false);
		show_calibration(&calibration, result);
	}
	return true;
}

void
vdb_hnsw_calibration(Relation index, VdbCalibrated *result)
{
	HnswCalibration calibration;
	uint32		extents = vdb_hnsw_load_calibration(index, &calibration);

	if (vdb_hnsw_is_calibrated(&calibration, extents))
		show_calibration(&calibration, result);
}
