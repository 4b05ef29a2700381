/*
 * distance_sparse_private.h
 *	  The merge of two sparse vectors on registers of 256 bits.  Included by the
 *	  files of the levels that have them, after TARGET is defined and the
 *	  intrinsics are declared.
 *
 * Both vectors are taken in blocks of eight.  Each index of the one block is
 * compared with each of the other; then the block whose last index is less is
 * done with, as what follows in the other vector is greater still, or both are.
 * Which of them it is cannot be foreseen, so nothing branches on it.
 */
#ifndef VDB_DISTANCE_SPARSE_PRIVATE_H
#define VDB_DISTANCE_SPARSE_PRIVATE_H

#include "distance_private.h"

#define SPARSE_BLOCK 8

/*
 * When one vector has this many times the elements of the other, its indices
 * are searched, which the scalar kernels do, instead of read.
 */
#define SPARSE_BLOCK_GALLOP_RATIO 32

/* A last block of less than eight, moved to the end, after fillers. */
typedef struct SparseLastBlock
{
	int32_t		indices[SPARSE_BLOCK];
	float		values[SPARSE_BLOCK];
} SparseLastBlock;

/* Indices that match nothing, not even each other. */
#define SPARSE_FILLER_A (-1)
#define SPARSE_FILLER_B (-2)

static inline void
fill_last_block(SparseLastBlock *block, size_t n, const int32_t *indices,
				const float *values, int32_t filler)
{
	size_t		missing = SPARSE_BLOCK - n;
	size_t		k;

	for (k = 0; k < missing; k++)
	{
		block->indices[k] = filler;
		block->values[k] = 0;
	}
	for (k = 0; k < n; k++)
	{
		block->indices[missing + k] = (int32_t) vdb_distance_load_u32(indices + k);
		block->values[missing + k] = vdb_distance_load_f32(values + k);
	}
}

/* Where block has the index p[k]: k, and the sign bit. */
TARGET static inline __m256i
match_index(__m256i block, const int32_t *p, int k)
{
	__m256i		index = _mm256_set1_epi32((int32_t) vdb_distance_load_u32(p + k));

	return _mm256_and_si256(_mm256_cmpeq_epi32(block, index),
							_mm256_set1_epi32(INT32_MIN | k));
}

/*
 * Which of the eight indices at p each index of block equals, with the sign bit;
 * zero if none.
 */
TARGET static inline __m256i
match_indices(__m256i block, const int32_t *p)
{
	__m256i		m0 = _mm256_or_si256(match_index(block, p, 0), match_index(block, p, 1));
	__m256i		m1 = _mm256_or_si256(match_index(block, p, 2), match_index(block, p, 3));
	__m256i		m2 = _mm256_or_si256(match_index(block, p, 4), match_index(block, p, 5));
	__m256i		m3 = _mm256_or_si256(match_index(block, p, 6), match_index(block, p, 7));

	return _mm256_or_si256(_mm256_or_si256(m0, m1), _mm256_or_si256(m2, m3));
}

/* All bits where the sign bit is set. */
TARGET static inline __m256
sign_mask(__m256i x)
{
	return _mm256_castsi256_ps(_mm256_srai_epi32(x, 31));
}

TARGET static inline __m256d
add_term(SparseMetric metric, __m256d sums, __m256d a, __m256d b)
{
	__m256d		d;

	if (metric == SPARSE_IP)
		return _mm256_fmadd_pd(a, b, sums);
	d = _mm256_sub_pd(a, b);
	if (metric == SPARSE_L2)
		return _mm256_fmadd_pd(d, d, sums);
	return _mm256_add_pd(sums, _mm256_andnot_pd(_mm256_set1_pd(-0.0), d));
}

/* Adds the terms of eight elements, four to each of the sums. */
TARGET static inline void
add_terms(SparseMetric metric, __m256d sums[2], __m256 a, __m256 b)
{
	sums[0] = add_term(metric, sums[0],
					   _mm256_cvtps_pd(_mm256_castps256_ps128(a)),
					   _mm256_cvtps_pd(_mm256_castps256_ps128(b)));
	sums[1] = add_term(metric, sums[1],
					   _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)),
					   _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1)));
}

/*
 * Adds the terms of what is left of one vector when the other has ended.  Of its
 * first block, if that is whole, some elements have been matched: `matched` says
 * what to subtract from them.
 */
TARGET static inline void
add_rest(SparseMetric metric, __m256d sums[2], size_t n, const float *values,
		 __m256 matched)
{
	for (; n >= SPARSE_BLOCK; n -= SPARSE_BLOCK, values += SPARSE_BLOCK)
	{
		add_terms(metric, sums, _mm256_loadu_ps(values), matched);
		matched = _mm256_setzero_ps();
	}
	if (n > 0)
	{
		float		last[SPARSE_BLOCK] = {0};
		size_t		k;

		for (k = 0; k < n; k++)
			last[k] = vdb_distance_load_f32(values + k);
		add_terms(metric, sums, _mm256_loadu_ps(last), _mm256_setzero_ps());
	}
}

/*
 * The sum of the terms, by a constant metric.
 *
 * For the inner product, matches count when they are found.  For the others an
 * element counts when its block is done with, less what it was matched with: so
 * a match counts with a, and in b its value is subtracted from itself.
 */
TARGET static ALWAYS_INLINE double
merge_sparse_blocks(SparseMetric metric,
					size_t na, const int32_t *ai, const float *av,
					size_t nb, const int32_t *bi, const float *bv)
{
	SparseLastBlock last_a;
	SparseLastBlock last_b;
	__m256		a_matched = _mm256_setzero_ps();
	__m256		b_matched = _mm256_setzero_ps();
	__m256d		sums[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
	__m256d		total;
	__m128d		half;

	while (na > 0 && nb > 0)
	{
		__m256i		a_indices;
		__m256i		b_indices;
		__m256i		found;
		__m256		a_values;
		__m256		b_values;
		int32_t		a_end;
		int32_t		b_end;
		size_t		a_step;
		size_t		b_step;

		if (na < SPARSE_BLOCK)
		{
			fill_last_block(&last_a, na, ai, av, SPARSE_FILLER_A);
			ai = last_a.indices;
			av = last_a.values;
			na = SPARSE_BLOCK;
		}
		if (nb < SPARSE_BLOCK)
		{
			fill_last_block(&last_b, nb, bi, bv, SPARSE_FILLER_B);
			bi = last_b.indices;
			bv = last_b.values;
			nb = SPARSE_BLOCK;
		}

		a_indices = _mm256_loadu_si256((const __m256i *) ai);
		a_values = _mm256_loadu_ps(av);
		b_values = _mm256_loadu_ps(bv);
		a_end = (int32_t) vdb_distance_load_u32(ai + SPARSE_BLOCK - 1);
		b_end = (int32_t) vdb_distance_load_u32(bi + SPARSE_BLOCK - 1);

		found = match_indices(a_indices, bi);
		a_matched = _mm256_or_ps(a_matched,
								 _mm256_and_ps(sign_mask(found),
											   _mm256_permutevar8x32_ps(b_values, found)));
		if (metric == SPARSE_IP)
		{
			add_terms(metric, sums, a_values, a_matched);
			a_matched = _mm256_setzero_ps();
		}
		else
		{
			__m256		a_done = _mm256_castsi256_ps(_mm256_set1_epi32(-(a_end <= b_end)));
			__m256		b_done = _mm256_castsi256_ps(_mm256_set1_epi32(-(b_end <= a_end)));

			b_indices = _mm256_loadu_si256((const __m256i *) bi);
			b_matched = _mm256_or_ps(b_matched,
									 _mm256_and_ps(sign_mask(match_indices(b_indices, ai)),
												   b_values));
			add_terms(metric, sums, _mm256_and_ps(a_values, a_done),
					  _mm256_and_ps(a_matched, a_done));
			add_terms(metric, sums, _mm256_and_ps(b_values, b_done),
					  _mm256_and_ps(b_matched, b_done));
			a_matched = _mm256_andnot_ps(a_done, a_matched);
			b_matched = _mm256_andnot_ps(b_done, b_matched);
		}

		a_step = (size_t) (a_end <= b_end) * SPARSE_BLOCK;
		b_step = (size_t) (b_end <= a_end) * SPARSE_BLOCK;
		ai += a_step;
		av += a_step;
		na -= a_step;
		bi += b_step;
		bv += b_step;
		nb -= b_step;
	}

	if (metric != SPARSE_IP)
	{
		add_rest(metric, sums, na, av, a_matched);
		add_rest(metric, sums, nb, bv, b_matched);
	}
	total = _mm256_add_pd(sums[0], sums[1]);
	half = _mm_add_pd(_mm256_castpd256_pd128(total), _mm256_extractf128_pd(total, 1));
	return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

/* Is one vector so much longer that searching it pays?  Not if the other is zero. */
static inline bool
is_worth_galloping(size_t na, size_t nb)
{
	return (na / SPARSE_BLOCK_GALLOP_RATIO >= nb && nb > 0) ||
		(nb / SPARSE_BLOCK_GALLOP_RATIO >= na && na > 0);
}

TARGET static double
block_sparse_l2_squared(size_t na, const int32_t *ai, const float *av,
						size_t nb, const int32_t *bi, const float *bv)
{
	if (is_worth_galloping(na, nb))
		return vdb_kernels_scalar.sparse_l2_squared(na, ai, av, nb, bi, bv);
	return merge_sparse_blocks(SPARSE_L2, na, ai, av, nb, bi, bv);
}

TARGET static double
block_sparse_ip(size_t na, const int32_t *ai, const float *av,
				size_t nb, const int32_t *bi, const float *bv)
{
	if (is_worth_galloping(na, nb))
		return vdb_kernels_scalar.sparse_ip(na, ai, av, nb, bi, bv);
	return merge_sparse_blocks(SPARSE_IP, na, ai, av, nb, bi, bv);
}

TARGET static double
block_sparse_l1(size_t na, const int32_t *ai, const float *av,
				size_t nb, const int32_t *bi, const float *bv)
{
	if (is_worth_galloping(na, nb))
		return vdb_kernels_scalar.sparse_l1(na, ai, av, nb, bi, bv);
	return merge_sparse_blocks(SPARSE_L1, na, ai, av, nb, bi, bv);
}

#endif							/* VDB_DISTANCE_SPARSE_PRIVATE_H */
