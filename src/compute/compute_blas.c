/*
 * compute_blas.c
 *	  The provider that has OpenBLAS multiply matrices.
 *
 * The library is opened in the backend that first asks for it.  It may start threads when it is
 * opened, one for each processor, which no process of the server should have, least of all one
 * that forks.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include "compute/compute.h"
#include "testpoint.h"

#define LIBRARY "libopenblas.so.0"
#define THREADS "OPENBLAS_NUM_THREADS"

/*
 * What the library takes until it has multiplied for the first time, 300 MB in the release that takes
 * most of those that were looked at, and half of that again.
 */
#define RESERVED_BYTES ((size_t) 450 * 1024 * 1024)

/* Of cblas.h, which need not be there. */
enum
{
	ROW_MAJOR = 101,
	NOT_TRANSPOSED = 111,
	TRANSPOSED = 112
};

/* c = alpha * a * b + beta * c, m x k by k x n */
typedef void (*Sgemm) (int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
					   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*SetThreads) (int threads);

static bool tried;
static Sgemm sgemm;				/* NULL: not to be had */
static char why_not_text[256];

/* Opens the library so that it starts no thread; NULL where it cannot be opened. */
static void *
open_library(void)
{
	const char *name = VDB_TESTPOINT_IS("compute-no-library") ? "no-" LIBRARY : LIBRARY;
	const char *set = getenv(THREADS);
	char	   *before = set == NULL ? NULL : pstrdup(set);
	void	   *library;

	setenv(THREADS, "1", 1);
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (before == NULL)
		unsetenv(THREADS);
	else
	{
		setenv(THREADS, before, 1);
		pfree(before);
	}
	return library;
}

/* Where there is no memory, the library tries again for ever, or ends the process. */
static bool
can_reserve(size_t bytes)
{
	void	   *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory != MAP_FAILED && munmap(memory, bytes) == 0;
}

/* Does it multiply?  These products are exact. */
static bool
multiplies(Sgemm function)
{
	const float a[] = {1, 2, 3, 4, 5, 6};
	const float b[] = {7, 8, 9, 10, 11, 12};
	float		c[4] = {0};

	function(ROW_MAJOR, NOT_TRANSPOSED, TRANSPOSED, 2, 2, 3, 1, a, 3, b, 3, 0, c, 2);
	return c[0] == 50 && c[1] == 68 && c[2] == 122 && c[3] == 167;
}

static void
load(void)
{
	void	   *library;
	Sgemm		function;
	SetThreads	set_threads;

	if (!can_reserve(RESERVED_BYTES))
	{
		snprintf(why_not_text, sizeof(why_not_text), "out of memory");
		return;
	}
	library = open_library();
	if (library == NULL)
	{
		snprintf(why_not_text, sizeof(why_not_text), "%s", dlerror());
		return;
	}
	function = (Sgemm) dlsym(library, "cblas_sgemm");
	set_threads = (SetThreads) dlsym(library, "openblas_set_num_threads");
	if (function == NULL || set_threads == NULL)
	{
		snprintf(why_not_text, sizeof(why_not_text), "%s", LIBRARY " lacks functions");
		dlclose(library);
		return;
	}
	set_threads(1);
	if (multiplies(function))
		sgemm = function;
	else
		snprintf(why_not_text, sizeof(why_not_text), "%s", LIBRARY " computes wrong products");
}

static bool
is_available(const char **why_not)
{
	if (!tried)
		load();
	tried = true;
	*why_not = why_not_text;
	return sgemm != NULL;
}

static const char *
inner_products(size_t dims, size_t nq, const float *queries, size_t n, const float *rows, float *out)
{
	sgemm(ROW_MAJOR, NOT_TRANSPOSED, TRANSPOSED, (int) nq, (int) n, (int) dims, 1, queries, (int) dims,
		  rows, (int) dims, 0, out, (int) n);
	return NULL;
}

const VdbProvider vdb_compute_blas = {
	.name = "blas",
	.is_available = is_available,
	.inner_products = inner_products
};
