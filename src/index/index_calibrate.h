/*
 * index_calibrate.h
 *	  What access methods share that measure the recall of their scans.
 */
#ifndef VDB_INDEX_CALIBRATE_H
#define VDB_INDEX_CALIBRATE_H

#include "index/index.h"

/* Fewer questions than this say too little. */
#define VDB_MIN_QUESTIONS 20

/* Questions that a user who names none takes time for. */
#define VDB_DRAWN_QUESTIONS 1000

/* Rows among which recall is measured: those that a scan begins with, and many. */
#define VDB_CALIBRATED_ROWS 2
#define VDB_FEW_ROWS 10
#define VDB_MANY_ROWS 100

/*
 * Recall among many rows varies less from question to question, and takes longer to
 * measure: that is done with one question in so many.
 */
#define VDB_MANY_EVERY 8

#define VDB_MAX_LEVELS 24

/* What a user is shown: for sizes of a scan, ascending, the recall that it promises. */
struct VdbCalibrated
{
	uint32		questions;		/* that there were to measure with */
	int			count;			/* 0: nothing is known */
	VdbEffort	efforts[VDB_MAX_LEVELS];
	double		recall[VDB_CALIBRATED_ROWS][VDB_MAX_LEVELS];
};

/* How many questions the build of an index with room for so many rows takes time for. */
extern uint32 vdb_calibrate_build_questions(uint64 slots);

/*
 * Draws about so many rows for questions, at most one from each part of an index's slots.
 * ask: makes the row of a slot a question; with `only_try` does nothing.  False when the
 * slot has none.  seed: of the index, so that the same one is asked the same.
 */
extern void vdb_calibrate_draw(uint64 slots, uint32 wanted, uint64 seed,
							   bool (*ask) (void *state, uint64 slot, bool only_try),
							   void *state);

/*
 * What may be promised of shares that were measured, given the sums of them and of their
 * squares: of 65535.  asked: questions in all.
 */
extern uint16 vdb_calibrate_promise(double sum, double sum2, uint32 count, uint32 asked);

/*
 * The level at which a target is reached, or the last, given what is promised at each.  Its
 * part after the point says how far it is from the level before the point to the next.
 */
extern double vdb_calibrate_find_level(const uint16 *recall, int levels, double target);

#endif							/* VDB_INDEX_CALIBRATE_H */
