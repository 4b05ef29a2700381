/*
 * compute.h
 *	  What is computed of many vectors at once, by whoever computes it fastest here: inner
 *	  products for searches, and what builds of indexes take most of their time for.
 *
 * Pure C: no server header.  Inner products are not exact, and not the same with each provider:
 * callers find candidates by them, and have the operator's own code measure these.  What is
 * found for builds is the same whoever finds it.
 */
#ifndef VDB_COMPUTE_H
#define VDB_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "quant/finder.h"

/* Whoever computes: a table of functions. */
typedef struct VdbProvider
{
	const char *name;

	/*
	 * Can it be used in this process?  If not, *why_not says why; the text stays.  May load a
	 * library, so it is asked in backends alone, when its work is wanted.
	 */
	bool		(*is_available) (const char **why_not);

	/*
	 * out[i * n + j] = the inner product of query i of nq and row j of n, all of dims finite
	 * elements, one vector behind the other; dims, nq, n >= 1, and below 2^31.  NULL, or what
	 * went wrong, a text that stays: then anything may be in `out`.
	 */
	const char *(*inner_products) (size_t dims, size_t nq, const float *queries, size_t n,
								   const float *rows, float *out);

	/*
	 * A finder for sets of up to `room` codes of a dense codec that panels multiply, which must
	 * outlive it; NULL where there is none, or a panel is as fast.  It is of the current memory
	 * context, and gives back what it has elsewhere when that is reset.  When it fails it says so
	 * by vdb_compute_report().
	 */
	VdbFinder  *(*make_finder) (const VdbCodec *codec, uint32_t room);
} VdbProvider;

/*
 * A product is this far from the true one at most, of vectors of these lengths (Euclidean; not
 * smaller than they are).  That is twice what float32 may err by in any order of the sum, and
 * numbers too small for it may count as zero.
 */
static inline double
vdb_compute_error(size_t dims, double a, double b)
{
	return (dims + 2) * (0x1p-23 * a * b + 0x1p-126);
}

/* Where the lengths' product is greater, a sum may be out of range, and the product is any number, or none. */
#define VDB_COMPUTE_MOST 0x1p126

/* compute_cpu.c, compute_blas.c, compute_fault.c */
extern const VdbProvider vdb_compute_cpu;
extern const VdbProvider vdb_compute_blas;
extern const VdbProvider vdb_compute_fault;

/* compute.c */

/* Defines settings; from _PG_init. */
extern void vdb_compute_init(void);

/* Has builds use a device.  It says itself whether it is there, and has no inner products. */
extern void vdb_compute_hook_device(const VdbProvider *device);

/* Logs, once in a session, that a provider has failed. */
extern void vdb_compute_report(const VdbProvider *provider, const char *why);

/*
 * A finder for sets of up to `room` codes, as the settings say; NULL where a panel is as good, as it
 * is without a device.  See VdbProvider.
 */
extern VdbFinder *vdb_compute_make_finder(const VdbCodec *codec, uint32_t room);

/* The provider for a batch of so many queries, as the settings say; one that is available. */
extern const VdbProvider *vdb_compute_choose(size_t nq);

/*
 * What a provider's function does.  Where that fails, "cpu" does it, now and the next time:
 * *provider becomes that.  What went wrong is logged once in a session.
 */
extern void vdb_compute_inner_products(const VdbProvider **provider, size_t dims, size_t nq,
									   const float *queries, size_t n, const float *rows, float *out);

#endif							/* VDB_COMPUTE_H */
