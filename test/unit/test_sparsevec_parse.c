/*
 * test_sparsevec_parse.c
 *	  Claim: sparse vectors are read from text as their definition says, and no
 *	  text makes the parser read outside it.
 *
 * Meant to be run under -fsanitize=address,undefined: each text ends where an
 * allocation ends.
 */
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "types/sparsevec_parse.h"

#define MAX_NNZ 4

static const char *const status_names[] = {
	"OK", "NO_BRACE", "SYNTAX", "NO_DIM", "JUNK", "TOO_MANY", "RANGE", "NAN", "INFINITE"
};

typedef struct Outcome
{
	VdbSparsevecParseStatus status;
	VdbSparsevecParse parse;
	int32_t		indices[MAX_NNZ];
	float		values[MAX_NNZ];
	char		bad[32];
} Outcome;

/* Parses the size bytes at text, moved to the end of a block of their own. */
static Outcome
parse_copy(const char *text, size_t size)
{
	Outcome		outcome;
	char	   *copy = malloc(size + 1);

	if (copy == NULL)
		exit(1);
	memset(&outcome, 0, sizeof(outcome));
	memcpy(copy, text, size);
	copy[size] = '\0';
	outcome.status = vdb_sparsevec_parse(copy, size, outcome.indices, outcome.values,
										 MAX_NNZ, &outcome.parse);
	if (outcome.status == VDB_SPARSEVEC_PARSE_RANGE &&
		outcome.parse.bad_len < sizeof(outcome.bad))
		memcpy(outcome.bad, outcome.parse.bad, outcome.parse.bad_len);
	free(copy);
	return outcome;
}

static void
check_status(const char *text, VdbSparsevecParseStatus expected)
{
	Outcome		outcome = parse_copy(text, strlen(text));

	report(outcome.status == expected, "\"%s\" is %s", text, status_names[outcome.status]);
}

/* The elements as "index:value index:value ..." in the parser's order. */
static void
check_value(const char *text, const char *elements, int32_t dim, bool ascending)
{
	Outcome		outcome = parse_copy(text, strlen(text));
	char		got[200] = "";

	for (int i = 0; i < outcome.parse.nnz; i++)
		sprintf(got + strlen(got), "%s%d:%.9g", i > 0 ? " " : "",
				outcome.indices[i], outcome.values[i]);
	report(outcome.status == VDB_SPARSEVEC_PARSE_OK && strcmp(got, elements) == 0 &&
		   outcome.parse.dim == dim && outcome.parse.ascending == ascending,
		   "read as {%s} of %d, %s", got, outcome.parse.dim,
		   outcome.parse.ascending ? "ascending" : "in disorder");
}

static void
check_bad_number(const char *text, const char *bad)
{
	Outcome		outcome = parse_copy(text, strlen(text));

	report(outcome.status == VDB_SPARSEVEC_PARSE_RANGE && strcmp(outcome.bad, bad) == 0,
		   "\"%s\": \"%s\" is out of range", text, outcome.bad);
}

static void
check_values(void)
{
	check_value("{}/1", "", 1, true);
	check_value("{1:1.5,3:-2}/5", "0:1.5 2:-2", 5, true);
	check_value(" {\t1 :\n1 , +2\v:\f+.5 } / +7 \r", "0:1 1:0.5", 7, true);
	check_value("{0001:1}/00009", "0:1", 9, true);
	check_value("{1:0x1p-3,2:1e1}/2", "0:0.125 1:10", 2, true);

	/* zeros are left out, wherever and however often they stand */
	check_value("{1:0,2:-0,3:0.000e5,4:0x0p3,5:.0,7:1,7:0}/9", "6:1", 9, true);
	check_value("{1:1,2:0,3:0,4:0,5:0,6:0}/9", "0:1", 9, true);

	/* order is the caller's matter */
	check_value("{3:1,2:2}/3", "2:1 1:2", 3, false);
	check_value("{2:1,2:2}/3", "1:1 1:2", 3, false);
	check_value("{3:1,2:0,4:2}/3", "2:1 3:2", 3, true);

	/* and so is range, as far as an int32 can show it */
	check_value("{0:1,-5:1}/-3", "-1:1 -6:1", -3, false);
	check_value("{2147483647:1,2147483648:1}/2147483648", "2147483646:1 2147483646:1",
				INT32_MAX, false);
	check_value("{-2147483648:1,-2147483649:1}/-2147483649", "-2147483648:1 -2147483648:1",
				INT32_MIN, false);
	check_value("{99999999999999999999999:1}/-99999999999999999999999", "2147483646:1",
				INT32_MIN, true);
	check_value("{-2147483647:1,-2147483646:1}/1", "-2147483648:1 -2147483647:1", 1, true);
}

static void
check_errors(void)
{
	check_status("", VDB_SPARSEVEC_PARSE_NO_BRACE);
	check_status("  ", VDB_SPARSEVEC_PARSE_NO_BRACE);
	check_status("[1,2]", VDB_SPARSEVEC_PARSE_NO_BRACE);
	check_status("1:1}/1", VDB_SPARSEVEC_PARSE_NO_BRACE);

	check_status("{", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{ ", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{:", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{,}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{:1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1,}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1, }/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1,,2:1}/2", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1 2:1}/2", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1:1}/2", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1a:1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1.5:1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{0x1:1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{- 1:1}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:a}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1a}/1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{1:1", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{}/", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{}/a", VDB_SPARSEVEC_PARSE_SYNTAX);
	check_status("{}/+", VDB_SPARSEVEC_PARSE_SYNTAX);

	check_status("{}", VDB_SPARSEVEC_PARSE_NO_DIM);
	check_status("{1:1} ", VDB_SPARSEVEC_PARSE_NO_DIM);
	check_status("{}5", VDB_SPARSEVEC_PARSE_NO_DIM);
	check_status("{}}/5", VDB_SPARSEVEC_PARSE_NO_DIM);

	check_status("{}/1a", VDB_SPARSEVEC_PARSE_JUNK);
	check_status("{}/1.0", VDB_SPARSEVEC_PARSE_JUNK);
	check_status("{}/1 1", VDB_SPARSEVEC_PARSE_JUNK);

	check_status("{1:1,2:1,3:1,4:1}/9", VDB_SPARSEVEC_PARSE_OK);
	check_status("{1:1,2:1,3:1,4:1,5:1}/9", VDB_SPARSEVEC_PARSE_TOO_MANY);
	check_status("{1:1,2:1,3:1,4:1,5:0}/9", VDB_SPARSEVEC_PARSE_OK);

	check_status("{1:NaN}/1", VDB_SPARSEVEC_PARSE_NAN);
	check_status("{1:-inf}/1", VDB_SPARSEVEC_PARSE_INFINITE);
	check_status("{1:Infinity}/1", VDB_SPARSEVEC_PARSE_INFINITE);

	check_bad_number("{1:1,2: 4e38 }/2", "4e38");
	check_bad_number("{1:-1e-46,2:1}/2", "-1e-46");
	check_bad_number("{1:0.00000000000000000000000000000000000000000000000001}/2", "");
	check_bad_number("{1:0x1p-200}/2", "0x1p-200");
	check_bad_number("{1:0x.eP-200}/2", "0x.eP-200");
	check_bad_number("{1:1e-400}/2", "1e-400");
	check_status("{1:1e-45}/2", VDB_SPARSEVEC_PARSE_OK);
}

/* A text cut anywhere, with one byte replaced, and with several. */
static void
check_mutations(void)
{
	static const char text[] = " {1:1.5e0, 22 : -0x2p1 ,\t333:.25}/ 4444 ";
	static const char bytes[] = "{}/:,+-.0e9x \n\377";
	size_t		size = sizeof(text) - 1;
	char		copy[sizeof(text)];
	long		accepted = 0;
	long		total = 0;

	for (size_t n = 0; n < size; n++)
		(void) parse_copy(text, n);
	for (size_t i = 0; i < size; i++)
	{
		for (size_t j = 0; j < sizeof(bytes); j++)	/* the NUL is one of them */
		{
			memcpy(copy, text, sizeof(text));
			copy[i] = bytes[j];
			accepted += parse_copy(copy, size).status == VDB_SPARSEVEC_PARSE_OK;
			total++;
		}
	}
	for (int round = 0; round < share_of(200000); round++)
	{
		size_t		length = 1 + random_u32() % size;

		memcpy(copy, text, sizeof(text));
		for (uint32_t changes = random_u32() % 4; changes > 0; changes--)
			copy[random_u32() % length] = bytes[random_u32() % sizeof(bytes)];
		accepted += parse_copy(copy, length).status == VDB_SPARSEVEC_PARSE_OK;
		total++;
	}
	report(accepted > 0 && accepted < total, "%ld of %ld damaged texts still are vectors",
		   accepted, total);
}

int
main(int argc, char **argv)
{
	read_share(argc, argv);
	check_values();
	check_errors();
	check_mutations();
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}
