/*
 * parse.c
 *	  How long reading a vector of 1,536 numbers takes, against strtof().
 *
 *		make bench-programs && bench/build/parse
 *
 * Prints the least of 300 short rounds, in microseconds a vector, for texts of usual
 * shapes.
 */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "types/vector_parse.h"

#define DIM 1536
#define VECTORS 20				/* different ones, so that no branch is learnt */
#define ROUNDS 300

typedef struct Shape
{
	const char *name;
	void		(*print) (char *text, size_t size);
} Shape;

static char *texts[VECTORS];
static uint64_t random_state;
static float sink;

static double
random_unit(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (double) (random_state >> 11) / 9007199254740992.0;
}

/* About the spread of an element of an embedding. */
static double
random_element(void)
{
	return (random_unit() + random_unit() + random_unit() - 1.5) * 0.06;
}

static void
print_float(char *text, size_t size)
{
	snprintf(text, size, "%.9g", (float) random_element());
}

static void
print_double(char *text, size_t size)
{
	snprintf(text, size, "%.17g", random_element());
}

static void
print_fixed(char *text, size_t size)
{
	snprintf(text, size, "%.6f", random_element());
}

static void
print_exponent(char *text, size_t size)
{
	snprintf(text, size, "%.7e", random_element() / 1000);
}

static void
print_short(char *text, size_t size)
{
	snprintf(text, size, "%.2f", random_unit());
}

static void
print_integer(char *text, size_t size)
{
	snprintf(text, size, "%d", (int) (random_unit() * 256));
}

static const Shape shapes[] = {
	{"%.9g", print_float},
	{"%.17g", print_double},
	{"%.6f", print_fixed},
	{"%.7e", print_exponent},
	{"%.2f", print_short},
	{"integer", print_integer}
};

static char *
form_text(const Shape *shape)
{
	char	   *text = malloc(DIM * 32);
	char	   *p = text;

	if (text == NULL)
		exit(1);
	for (int i = 0; i < DIM; i++)
	{
		*p++ = i == 0 ? '[' : ',';
		shape->print(p, 32);
		p += strlen(p);
	}
	strcpy(p, "]");
	return text;
}

static void
parse_with_vdb(const char *text)
{
	float		out[DIM];
	VdbVectorParse result;

	if (vdb_vector_parse(text, strlen(text), out, DIM, INFINITY, &result) != VDB_VECTOR_PARSE_OK)
		exit(1);
	sink += out[DIM - 1];
}

static void
parse_with_strtof(const char *text)
{
	float		out[DIM];
	char	   *p = (char *) text + 1;

	for (int i = 0; i < DIM; i++)
		out[i] = strtof(p, &p), p++;
	sink += out[DIM - 1];
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static double
measure(void (*parse) (const char *text))
{
	double		best = 1e9;

	for (int round = 0; round < ROUNDS; round++)
	{
		double		start = now();
		double		each;

		for (int i = 0; i < VECTORS; i++)
			parse(texts[i]);
		each = (now() - start) / VECTORS;
		if (each < best)
			best = each;
	}
	return best;
}

int
main(void)
{
	printf("%-10s %10s %10s %8s\n", "shape", "vdb us", "strtof us", "ratio");
	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
	{
		double		vdb;
		double		libc;

		random_state = 42;
		for (int i = 0; i < VECTORS; i++)
			texts[i] = form_text(&shapes[s]);
		vdb = measure(parse_with_vdb);
		libc = measure(parse_with_strtof);
		printf("%-10s %10.1f %10.1f %8.1f\n", shapes[s].name, vdb, libc, libc / vdb);
		for (int i = 0; i < VECTORS; i++)
			free(texts[i]);
	}
	return sink == 0.5f;
}
