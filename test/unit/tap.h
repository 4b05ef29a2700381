/*
 * tap.h
 *	  What unit programs share: reporting in TAP, a generator of random numbers
 *	  that is the same everywhere, and how many cases are looked at.
 *
 * A program takes one argument, the share of its cases that it looks at: less
 * than 1, the default, where a processor is emulated.
 */
#ifndef VDB_TEST_TAP_H
#define VDB_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int	tests_run = 0;
static int	tests_failed = 0;

static void
report(bool passed, const char *format,...)
{
	va_list		args;

	tests_run++;
	if (!passed)
		tests_failed++;
	printf("%sok %d - ", passed ? "" : "not ", tests_run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* Says what went wrong, as a TAP comment; returns false for the caller. */
static inline bool
failure(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	return false;
}

static uint64_t random_state = 88172645463325252u;

static inline uint32_t
random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t) (random_state >> 16);
}

static double share = 1;

static inline void
read_share(int argc, char **argv)
{
	if (argc > 1)
		share = atof(argv[1]);
}

/* How many cases are looked at where there are so many. */
static inline long
share_of(long cases)
{
	return (long) (share * (double) cases);
}

/* Is a case one of those not looked at?  They are chosen at random. */
static inline bool
is_left_out(void)
{
	return share < 1 && random_u32() >= share * 4294967296.0;
}

#endif							/* VDB_TEST_TAP_H */
