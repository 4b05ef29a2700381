/*
 * distance.h
 *	  The dispatch table of distance kernels: the only header of this folder
 *	  that others include.
 *
 * Pure C: no server header.  A kernel never allocates, never fails and reads
 * exactly the bytes its contract names, so callers may point it straight at a
 * page.  Pointers need no alignment.  Lengths may be zero.
 *
 * Vocabulary (layouts are argued in quant/README.md)
 *	 hot code	B bits a dimension (2, 4 or 8), unsigned, "plane-strided": with
 *				C = dims * B / 8 bytes, byte j holds dimensions j, C + j,
 *				2C + j ... from its lowest bits upward.  (B = 8: plain bytes.)
 *	 hot query	int8 values in the order the hot kernels want, see
 *				VDB_HOT_BLOCK below.
 *	 half		IEEE 754 binary16, held as its bits in an uint16_t.
 *	 node code	12 bits a dimension, signed: v = 16 * hi + lo - 8 where hi is a
 *				plane of dims int8 and lo a plane of dims / 2 bytes, byte j
 *				holding dimension 2j in its low and 2j + 1 in its high nibble.
 *				Or 10 bits: of multiples of 4, whose lo ends in two zeros that the
 *				plane leaves out.  It has dims / 4 bytes, byte j holding dimensions
 *				4j .. 4j + 3 from its lowest bits upward.
 *	 panel		hi planes in an order of which only the kernels of one level know,
 *				see VDB_PANEL_ROWS below.
 *	 scan group	codes of VDB_SCAN_LANES rows, of which each half byte is the
 *				number of one of 16 entries of a table, see VDB_SCAN_LANES below.
 */
#ifndef VDB_DISTANCE_H
#define VDB_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Of each architecture the better level is the greater number. */
typedef enum VdbSimdLevel
{
	VDB_SIMD_SCALAR,
	VDB_SIMD_AVX2,				/* x86-64: AVX2 + FMA + F16C */
	VDB_SIMD_AVX512,			/* x86-64: AVX-512 F, BW, VL, DQ, VNNI */
	VDB_SIMD_NEON,				/* AArch64: all processors */
	VDB_SIMD_NEON_DOTPROD		/* AArch64: ARMv8.2 dot product */
} VdbSimdLevel;

#define VDB_SIMD_LEVELS 5

/*
 * Hot queries are laid out in blocks of this many code bytes.  For a code of C
 * bytes and P = 8 / B planes there are T = ceil(C / 32) blocks; the query is P
 * arrays of T * 32 int8, plane after plane.  Entry (p, t, i) multiplies plane
 * p of code byte start(t) + i, where start(t) = 32 t for full blocks and, for
 * a last partial block, C - 32 when C >= 32 (entries already counted by the
 * block before are zero) and 0 when C < 32 (entries past C are zero).  So no
 * kernel ever reads outside the C bytes of the code.
 */
#define VDB_HOT_BLOCK 32

/*
 * A panel holds `rows` hi planes, for products with many others at once.  It
 * takes the memory of dims rounded up to 4 times rows rounded up to
 * VDB_PANEL_ROWS, at every level; but the level that reads it must be the one
 * that wrote it.
 */
#define VDB_PANEL_ROWS 16

static inline size_t
vdb_distance_panel_bytes(size_t dims, size_t rows)
{
	return (dims + 3) / 4 * 4 * ((rows + VDB_PANEL_ROWS - 1) / VDB_PANEL_ROWS * VDB_PANEL_ROWS);
}

/*
 * A scan group holds the codes of 32 rows, its lanes, of `bytes` bytes each: byte b
 * of lane l is at (l / 16 * bytes + b) * 16 + l % 16.  A scan table says what half
 * bytes stand for: table[16 * b + h] what the lower half h of byte b does, and
 * table[16 * (bytes + b) + h] the upper.  No entry is greater than VDB_SCAN_MOST, so
 * that two of them fit a byte.
 */
#define VDB_SCAN_LANES 32
#define VDB_SCAN_MOST 127

static inline size_t
vdb_distance_scan_place(size_t bytes, size_t lane, size_t byte)
{
	return (lane / 16 * bytes + byte) * 16 + lane % 16;
}

/* How a sum of entries of a scan table becomes a score. */
typedef struct VdbScanScale
{
	float		unit;			/* score = add - scale * (unit * sum + low) */
	float		low;
	float		bound;			/* above all scores that are wanted */
} VdbScanScale;

/* Sums of one pass over two float arrays, for cosine distance. */
typedef struct VdbCosineParts
{
	float		ip;				/* sum a[i] * b[i] */
	float		aa;				/* sum a[i] * a[i] */
	float		bb;				/* sum b[i] * b[i] */
} VdbCosineParts;

/* Ones in two bit strings, for Jaccard distance. */
typedef struct VdbJaccardParts
{
	uint64_t	both;			/* in a and b */
	uint64_t	either;			/* in a or b */
} VdbJaccardParts;

typedef struct VdbKernels
{
	VdbSimdLevel level;

	/* float32 against float32, n elements */
	float		(*l2_squared) (size_t n, const float *a, const float *b);
	float		(*inner_product) (size_t n, const float *a, const float *b);
	float		(*l1) (size_t n, const float *a, const float *b);
	VdbCosineParts (*cosine) (size_t n, const float *a, const float *b);

	/* half against half, n elements, summed in float32 */
	float		(*half_l2_squared) (size_t n, const uint16_t *a, const uint16_t *b);
	float		(*half_inner_product) (size_t n, const uint16_t *a, const uint16_t *b);
	float		(*half_l1) (size_t n, const uint16_t *a, const uint16_t *b);
	VdbCosineParts (*half_cosine) (size_t n, const uint16_t *a, const uint16_t *b);

	/*
	 * Conversions of n elements, in and out not overlapping.  To float32 every
	 * half is exact.  To half a number goes to the nearest, ties to even, and
	 * from 65520 on to infinity.  Either way a NaN becomes quiet and keeps its
	 * sign and the upper bits of its payload.
	 */
	void		(*half_to_float) (size_t n, const uint16_t *in, float *out);
	void		(*float_to_half) (size_t n, const float *in, uint16_t *out);

	/* bit strings of n bytes: in how many bits they differ; what they share */
	uint64_t	(*bit_hamming) (size_t n, const uint8_t *a, const uint8_t *b);
	VdbJaccardParts (*bit_jaccard) (size_t n, const uint8_t *a, const uint8_t *b);

	/*
	 * Sparse vectors: the indices of the elements that are not zero, ascending,
	 * at least 0 and without duplicates, and their values, which are finite.
	 * Each term and the sum are computed in double.
	 */
	double		(*sparse_l2_squared) (size_t na, const int32_t *ai, const float *av,
									  size_t nb, const int32_t *bi, const float *bv);
	double		(*sparse_ip) (size_t na, const int32_t *ai, const float *av,
							  size_t nb, const int32_t *bi, const float *bv);
	double		(*sparse_l1) (size_t na, const int32_t *ai, const float *av,
							  size_t nb, const int32_t *bi, const float *bv);

	/*
	 * Hot code against hot query: sum over dimensions of q8[d] * u[d], exact
	 * in int32 (q8 in -127..127, dims <= 65536).  cbytes is C above.
	 */
	int32_t		(*hot2_ip) (size_t cbytes, const int8_t *query, const uint8_t *code);
	int32_t		(*hot4_ip) (size_t cbytes, const int8_t *query, const uint8_t *code);
	int32_t		(*hot8_ip) (size_t cbytes, const int8_t *query, const uint8_t *code);

	/*
	 * Hot code against a float query in plain dimension order, city-block:
	 * sum |q[d] - scale * (2 * u[d] - (2^B - 1))|.  B = 4 and 8.
	 */
	float		(*hot4_l1) (size_t dims, const float *q, float scale, const uint8_t *code);
	float		(*hot8_l1) (size_t dims, const float *q, float scale, const uint8_t *code);

	/*
	 * How x would fit a hot code of step 1 / inverse: eight sums each of x[d] * v[d]
	 * and v[d] * v[d], that of d in [d % 8], in the order of d, of what the code would
	 * stand for in steps, v = 2 * vdb_hot_level(x[d], inverse, top) - top.  dims is
	 * a multiple of 8.  The same to the last bit everywhere: codes depend on it.
	 */
	void		(*hot_fit) (size_t dims, const float *x, float inverse, int32_t top,
							double *dots, int32_t *squares);

	/*
	 * Node code of 12 bits, or of 10, against a float query: sum q[d] * v[d].
	 * dims is a multiple of 2, or of 4.
	 */
	float		(*node12_ip) (size_t dims, const float *q, const int8_t *hi, const uint8_t *lo);
	float		(*node10_ip) (size_t dims, const float *q, const int8_t *hi, const uint8_t *lo);
	/* sum |q[d] - scale * v[d]| */
	float		(*node12_l1) (size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo);
	float		(*node10_l1) (size_t dims, const float *q, float scale, const int8_t *hi, const uint8_t *lo);
	/* node code to floats: out[d] = scale * v[d] */
	void		(*node12_decode) (size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out);
	void		(*node10_decode) (size_t dims, float scale, const int8_t *hi, const uint8_t *lo, float *out);

	/* hi planes of two node codes, for building: sum a[d] * b[d], exact */
	int32_t		(*i8_ip) (size_t dims, const int8_t *a, const int8_t *b);
	/* sum |sa * a[d] - sb * b[d]| */
	float		(*i8_l1) (size_t dims, float sa, const int8_t *a, float sb, const int8_t *b);

	/* Writes one row of a panel, 0 <= row < its rows, and no byte of others. */
	void		(*panel_put) (size_t dims, uint8_t *panel, size_t row, const int8_t *a);

	/*
	 * out[i * rows + j] = i8_ip of plane i of n, at a + i * stride, and row j
	 * of a panel, all of whose rows have been put.  What the panel's memory has
	 * beyond them is read, but may be anything.
	 */
	void		(*panel_ip) (size_t dims, size_t rows, const uint8_t *panel, size_t n,
							 const int8_t *a, size_t stride, int32_t *out);

	/*
	 * The numbers i < n with scores[i] < bound, ascending, to out, which has room
	 * for n; returns how many.  A NaN is never below, and nothing is below one.
	 */
	size_t		(*select_below) (size_t n, const float *scores, float bound, uint32_t *out);

	/*
	 * Which of 16 vectors is nearest to factor * x, the first of several: the least sum of squares of
	 * differences, in the order of dimensions; 0 where these are no numbers.  values: for each dimension
	 * those of the 16.  The same everywhere: codes depend on it.
	 */
	uint32_t	(*nearest_of_16) (size_t dims, const float *x, float factor, const float *values);

	/*
	 * Products of x with each of four rows, one behind the other, to out: of dims, a multiple of 8, sums in
	 * eight lanes, that of d in [d % 8], in the order of d, then of the lanes.  The same everywhere, likewise.
	 */
	void		(*rows4_ip) (size_t dims, const float *rows, const float *x, float *out);

	/*
	 * Scores of a scan group: each lane's sum of table entries, of less than 2^24,
	 * becomes add[lane] - scale[lane] * (s.unit * sum + s.low).  Bit l of the
	 * result says whether the score of lane l is below s.bound; a NaN never is.
	 */
	uint32_t	(*scan_below) (size_t bytes, const uint8_t *table, const uint8_t *group,
							   const float *add, const float *scale, VdbScanScale s,
							   float *scores);

	/*
	 * In-place Walsh-Hadamard transform of n = 2^k floats, k >= 0, without the
	 * 1/sqrt(n) factor.
	 */
	void		(*fht) (size_t n, float *x);
} VdbKernels;

/*
 * Next to 1.5 * 2^23 the floats are the integers and their bits count on: adding it
 * rounds to the nearest integer, ties to even.
 */
#define VDB_ROUNDER 12582912.0f
#define VDB_ROUNDER_BITS 0x4B400000

/*
 * x to the nearest integer, ties to even, within low .. high; one of these if it
 * is no number.  The addition rounds; a call of lrintf would cost more than all the
 * rest, and comparing floats, which may raise exceptions, is not vectorised.
 */
static inline int32_t
vdb_round_within(float x, int32_t low, int32_t high)
{
	const int32_t zero = VDB_ROUNDER_BITS;
	float		shifted = x + VDB_ROUNDER;
	int32_t		bits;

	memcpy(&bits, &shifted, sizeof(bits));
	bits = bits > zero + low ? bits : zero + low;
	bits = bits < zero + high ? bits : zero + high;
	return bits - zero;
}

/* The place of a value among the levels of a hot code of step 1 / inverse, 0 .. top. */
static inline int32_t
vdb_hot_level(float x, float inverse, int32_t top)
{
	return vdb_round_within((x * inverse + (float) top) * 0.5f, 0, top);
}

/* The table in use; never NULL after vdb_distance_init(). */
extern const VdbKernels *vdb_kernels;

/* Picks the best level this CPU and operating system support. Idempotent. */
extern void vdb_distance_init(void);

/* The best level supported here. */
extern VdbSimdLevel vdb_distance_best(void);

/*
 * Makes vdb_kernels the table of `level`; false, and no change, when the CPU
 * or the build lacks it.
 */
extern bool vdb_distance_force(VdbSimdLevel level);

/* The table of one level, NULL when the CPU or the build lacks it. */
extern const VdbKernels *vdb_distance_table(VdbSimdLevel level);

/* "scalar", "avx2", "avx512", "neon", "neon_dotprod" */
extern const char *vdb_distance_level_name(VdbSimdLevel level);

#endif							/* VDB_DISTANCE_H */
