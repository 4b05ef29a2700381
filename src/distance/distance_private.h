/*
 * distance_private.h
 *	  What the files of this folder share among themselves: the names of the
 *	  kernel tables and the few scalar helpers that the vector files need for
 *	  the ends of their loops.  Nobody outside includes it.
 */
#ifndef VDB_DISTANCE_PRIVATE_H
#define VDB_DISTANCE_PRIVATE_H

#include "distance.h"

#include <string.h>

extern const VdbKernels vdb_kernels_scalar;

/*
 * VDB_SIMDE is set only by the unit test that runs the AVX-512 kernels through
 * an emulation; see README.md.
 */
#if defined(__x86_64__) || defined(VDB_SIMDE)
#define VDB_HAVE_X86_KERNELS
extern const VdbKernels vdb_kernels_avx2;
extern const VdbKernels vdb_kernels_avx512;
#endif

#if defined(__aarch64__) && !defined(__AARCH64EB__) && !defined(VDB_SIMDE)
#define VDB_HAVE_ARM_KERNELS
extern const VdbKernels vdb_kernels_neon;
extern const VdbKernels vdb_kernels_neon_dotprod;
#endif

/*
 * Access without an alignment promise.  Compiles to the plain load or store
 * wherever the machine allows one.
 */
static inline float
vdb_distance_load_f32(const float *p)
{
	float		f;

	memcpy(&f, p, sizeof(f));
	return f;
}

/* The same for 32 and 64 bits of anything. */
static inline uint32_t
vdb_distance_load_u32(const void *p)
{
	uint32_t	v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t
vdb_distance_load_u64(const void *p)
{
	uint64_t	v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The r bytes at p, 1 <= r <= 8, zero-extended. */
static inline uint64_t
vdb_distance_load_upto8(const void *p, size_t r)
{
	const uint8_t *b = p;

	if (r >= 4)
		return vdb_distance_load_u32(b) |
			(uint64_t) vdb_distance_load_u32(b + r - 4) << (8 * (r - 4));
	return b[0] | (uint64_t) b[r / 2] << (8 * (r / 2)) |
		(uint64_t) b[r - 1] << (8 * (r - 1));
}

static inline void
vdb_distance_store_f32(float *p, float f)
{
	memcpy(p, &f, sizeof(f));
}

static inline uint16_t
vdb_distance_load_u16(const uint16_t *p)
{
	uint16_t	u;

	memcpy(&u, p, sizeof(u));
	return u;
}

static inline void
vdb_distance_store_u16(uint16_t *p, uint16_t u)
{
	memcpy(p, &u, sizeof(u));
}

/*
 * The float that a half stands for.  With its fields at the places of a float's
 * it is too small by a factor of 2^(127 - 15); the product is exact, whether the
 * half is normal or not.  What comes out above all finite halfs was infinity or a
 * NaN, and gets a float's largest exponent; a NaN becomes quiet.
 */
static inline float
vdb_distance_half_to_float(uint16_t half)
{
	uint32_t	sign = (uint32_t) (half & 0x8000) << 16;
	int32_t		bits = (half & 0x7fff) << 13;
	float		f;

	memcpy(&f, &bits, sizeof(f));
	f *= 0x1p112f;
	memcpy(&bits, &f, sizeof(f));
	bits += bits >= 143 << 23 ? 112 << 23 : 0;
	bits |= bits > 255 << 23 ? 1 << 22 : 0;
	bits |= (int32_t) sign;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/*
 * The half nearest to a float, ties to even.  Adding half a unit of its last
 * place, less one if it is even, carries into the exponent where it must, up to
 * infinity.  The places of a subnormal half are those that a float of exponent
 * -1 has, so adding 0.5 makes the processor round to them.
 */
static inline uint16_t
vdb_distance_float_to_half(float f)
{
	uint32_t	bits;
	uint32_t	sign;

	memcpy(&bits, &f, sizeof(f));
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;

	if (bits - (113u << 23) < 30u << 23)
		bits = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
	else if (bits < 113u << 23)
	{
		memcpy(&f, &bits, sizeof(f));
		f += 0.5f;
		memcpy(&bits, &f, sizeof(f));
		bits -= 126u << 23;
	}
	else if (bits <= 255u << 23)
		bits = 0x7c00;
	else
		bits = 0x7e00 | (bits >> 13 & 0x3ff);
	return (uint16_t) (sign | bits);
}

/*
 * The distances of sparse vectors are one algorithm with another term.  It is
 * compiled for each of them, by inlining it with a constant metric.
 */
typedef enum SparseMetric
{
	SPARSE_L2,
	SPARSE_IP,
	SPARSE_L1
} SparseMetric;

#define ALWAYS_INLINE inline __attribute__((always_inline))

/*
 * The kernels for node codes of 12 and of 10 bits are one body each, inlined with
 * constant `bits`.  This is how far into a lo plane dimension d begins.
 */
static ALWAYS_INLINE size_t
vdb_distance_lo_bytes(int bits, size_t d)
{
	return d * (size_t) (bits - 8) / 8;
}

/* The value v of dimension d of a node code. */
static ALWAYS_INLINE int32_t
vdb_distance_node_value(int bits, const int8_t *hi, const uint8_t *lo, size_t d)
{
	int32_t		nibble = bits == 12 ? lo[d / 2] >> (d % 2 * 4) & 15 :
		(lo[d / 4] >> (d % 4 * 2) & 3) << 2;

	return 16 * hi[d] + nibble - 8;
}

/*
 * The lo plane of 8 dimensions as 12 bits have it.  Of 10 bits, bytes, nibbles and
 * pairs of bits are moved apart by turns.
 */
static ALWAYS_INLINE uint32_t
vdb_distance_load_lo8(int bits, const uint8_t *lo)
{
	uint32_t	l;

	if (bits == 12)
		return vdb_distance_load_u32(lo);
	l = lo[0] | (uint32_t) lo[1] << 16;
	l = (l | l << 4) & 0x0f0f0f0f;
	l = (l | l << 2) & 0x33333333;
	return l << 2;
}

/*
 * The kernels of a table for node codes of so many bits, from node_ip, node_l1 and
 * node_decode of its file.  target: what its functions are marked with.
 */
#define NODE_KERNELS(level, target, bits) \
	target static float \
	level##_node##bits##_ip(size_t dims, const float *q, const int8_t *hi, const uint8_t *lo) \
	{ \
		return node_ip(bits, dims, q, hi, lo); \
	} \
	target static float \
	level##_node##bits##_l1(size_t dims, const float *q, float scale, const int8_t *hi, \
							const uint8_t *lo) \
	{ \
		return node_l1(bits, dims, q, scale, hi, lo); \
	} \
	target static void \
	level##_node##bits##_decode(size_t dims, float scale, const int8_t *hi, const uint8_t *lo, \
								float *out) \
	{ \
		node_decode(bits, dims, scale, hi, lo, out); \
	} \
	extern int	no_such_variable

/*
 * panel_put of the levels that interleave the rows of a block of VDB_PANEL_ROWS:
 * `together` dimensions, 2 or 4, of the first, as many of the second, and so on,
 * then the next dimensions.  All bits in `flip` are inverted.
 */
static ALWAYS_INLINE void
vdb_distance_panel_put(size_t dims, uint8_t *panel, size_t row, const int8_t *a,
					   size_t together, uint32_t flip)
{
	uint8_t    *out = panel + vdb_distance_panel_bytes(dims, row - row % VDB_PANEL_ROWS) +
		row % VDB_PANEL_ROWS * together;
	size_t		d = 0;
	uint32_t	v;

	for (; d + 4 <= dims; d += 4, out += 4 * VDB_PANEL_ROWS)
	{
		v = vdb_distance_load_u32(a + d) ^ flip;
		for (size_t i = 0; i < 4; i += together)
			memcpy(out + i * VDB_PANEL_ROWS, (uint8_t *) &v + i, together);
	}
	if (d < dims)
	{
		v = (uint32_t) vdb_distance_load_upto8(a + d, dims - d) ^ flip;
		for (size_t i = 0; i < 4; i += together)
			memcpy(out + i * VDB_PANEL_ROWS, (uint8_t *) &v + i, together);
	}
}

/* panel_put of the levels that have the rows of a panel follow each other. */
static inline void
vdb_distance_plain_panel_put(size_t dims, uint8_t *panel, size_t row, const int8_t *a)
{
	memcpy(panel + row * dims, a, dims);
}

/* hot_fit, nearest_of_16, rows4_ip and select_below in plain C. */
static inline void
vdb_distance_plain_hot_fit(size_t dims, const float *x, float inverse, int32_t top, double *dots,
						   int32_t *squares)
{
	/* of its own, to be kept in registers */
	double		ds[8] = {0};
	int32_t		ss[8] = {0};

	for (size_t d = 0; d < dims; d += 8)
	{
		for (size_t l = 0; l < 8; l++)
		{
			float		value = vdb_distance_load_f32(x + d + l);
			int32_t		v = 2 * vdb_hot_level(value, inverse, top) - top;

			ds[l] += (double) value * v;
			ss[l] += v * v;
		}
	}
	memcpy(dots, ds, sizeof(ds));
	memcpy(squares, ss, sizeof(ss));
}

static inline uint32_t
vdb_distance_plain_nearest_of_16(size_t dims, const float *x, float factor, const float *values)
{
	float		distances[16] = {0};
	uint32_t	best = 0;

	for (size_t d = 0; d < dims; d++)
	{
		float		value = vdb_distance_load_f32(x + d) * factor;

		for (int k = 0; k < 16; k++)
		{
			float		apart = value - vdb_distance_load_f32(values + 16 * d + k);

			distances[k] += apart * apart;
		}
	}
	for (uint32_t k = 1; k < 16; k++)
		best = distances[k] < distances[best] ? k : best;
	return best;
}

static inline void
vdb_distance_plain_rows4_ip(size_t dims, const float *rows, const float *x, float *out)
{
	for (size_t r = 0; r < 4; r++)
	{
		float		s[8] = {0};

		for (size_t d = 0; d < dims; d += 8)
		{
			for (size_t l = 0; l < 8; l++)
				s[l] += vdb_distance_load_f32(rows + r * dims + d + l) * vdb_distance_load_f32(x + d + l);
		}
		out[r] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
	}
}

static inline size_t
vdb_distance_plain_select_below(size_t n, const float *scores, float bound, uint32_t *out)
{
	size_t		count = 0;

	/* without branches: nobody could foretell them */
	for (size_t i = 0; i < n; i++)
	{
		out[count] = (uint32_t) i;
		count += vdb_distance_load_f32(scores + i) < bound;
	}
	return count;
}

#endif							/* VDB_DISTANCE_PRIVATE_H */
