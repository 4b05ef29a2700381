/*
 * index_opclass.c
 *	  What access methods must know of each operator class: how its type's
 *	  values are taken apart, and what its operator computes.
 *
 * The functions below are given values that are not toasted.  What tells the
 * dimensions raises for a value that is not as long as they say, so nothing after
 * it reads past an end.
 */
#include "postgres.h"

#include "fmgr.h"

#include "index/index.h"
#include "types/bit.h"
#include "types/halfvec.h"
#include "types/sparsevec.h"
#include "types/vector.h"

/* Defines the support function, () -> internal, of one operator class. */
#define OPCLASS(class, type, codec_kind, class_metric, most_dims, distance_function) \
	PG_FUNCTION_INFO_V1(vdb_index_##class##_support); \
	Datum \
	vdb_index_##class##_support(PG_FUNCTION_ARGS) \
	{ \
		static const VdbSupport support = { \
			.type_name = #type, \
			.kind = codec_kind, \
			.metric = class_metric, \
			.max_dims = most_dims, \
			.dims = type##_dims, \
			.read = type##_read, \
			.distance = distance_function, \
		}; \
		PG_RETURN_POINTER(&support); \
	} \
	extern int	no_such_variable

/* Defines an operator's distance of two values of a dense type. */
#define DENSE_DISTANCE(type, type_struct, name) \
	static double \
	type##_##name(Datum a, Datum b) \
	{ \
		type_struct *x = (type_struct *) DatumGetPointer(a); \
		type_struct *y = (type_struct *) DatumGetPointer(b); \
		return vdb_##type##_distance_##name(x->dim, x->x, y->x); \
	} \
	extern int	no_such_variable

/* --- vector --- */

static uint32
vector_dims(Datum value)
{
	return DatumGetVdbVectorP(value)->dim;
}

static VdbValue
vector_read(Datum value)
{
	VdbVector  *vector = (VdbVector *) DatumGetPointer(value);

	return (VdbValue) {.count = vector->dim, .elements = vector->x};
}

DENSE_DISTANCE(vector, VdbVector, l2);
DENSE_DISTANCE(vector, VdbVector, ip);
DENSE_DISTANCE(vector, VdbVector, cosine);
DENSE_DISTANCE(vector, VdbVector, l1);

OPCLASS(vector_l2, vector, VDB_CODEC_DENSE, VDB_METRIC_L2, VDB_VECTOR_MAX_DIM, vector_l2);
OPCLASS(vector_ip, vector, VDB_CODEC_DENSE, VDB_METRIC_IP, VDB_VECTOR_MAX_DIM, vector_ip);
OPCLASS(vector_cosine, vector, VDB_CODEC_DENSE, VDB_METRIC_COSINE, VDB_VECTOR_MAX_DIM,
			 vector_cosine);
OPCLASS(vector_l1, vector, VDB_CODEC_DENSE, VDB_METRIC_L1, VDB_VECTOR_MAX_DIM, vector_l1);

/* --- halfvec --- */

static uint32
halfvec_dims(Datum value)
{
	return DatumGetVdbHalfvecP(value)->dim;
}

static VdbValue
halfvec_read(Datum value)
{
	VdbHalfvec *vector = (VdbHalfvec *) DatumGetPointer(value);
	float	   *elements = palloc(vector->dim * sizeof(float));

	vdb_kernels->half_to_float(vector->dim, vector->x, elements);
	return (VdbValue) {.count = vector->dim, .elements = elements};
}

DENSE_DISTANCE(halfvec, VdbHalfvec, l2);
DENSE_DISTANCE(halfvec, VdbHalfvec, ip);
DENSE_DISTANCE(halfvec, VdbHalfvec, cosine);
DENSE_DISTANCE(halfvec, VdbHalfvec, l1);

OPCLASS(halfvec_l2, halfvec, VDB_CODEC_DENSE, VDB_METRIC_L2, VDB_HALFVEC_MAX_DIM, halfvec_l2);
OPCLASS(halfvec_ip, halfvec, VDB_CODEC_DENSE, VDB_METRIC_IP, VDB_HALFVEC_MAX_DIM, halfvec_ip);
OPCLASS(halfvec_cosine, halfvec, VDB_CODEC_DENSE, VDB_METRIC_COSINE, VDB_HALFVEC_MAX_DIM,
			 halfvec_cosine);
OPCLASS(halfvec_l1, halfvec, VDB_CODEC_DENSE, VDB_METRIC_L1, VDB_HALFVEC_MAX_DIM, halfvec_l1);

/* --- bit --- */

/* A hot slot with more bits would not fit a page of 8 kB. */
#define BIT_MAX_DIMS 64000

static uint32
bit_dims(Datum value)
{
	return VARBITLEN(vdb_bit_detoast(value));
}

static VdbValue
bit_read(Datum value)
{
	VarBit	   *bits = DatumGetVarBitP(value);

	return (VdbValue) {.count = VARBITLEN(bits), .bits = VARBITS(bits)};
}

static double
bit_hamming(Datum a, Datum b)
{
	return vdb_bit_distance_hamming(DatumGetVarBitP(a), DatumGetVarBitP(b));
}

static double
bit_jaccard(Datum a, Datum b)
{
	return vdb_bit_distance_jaccard(DatumGetVarBitP(a), DatumGetVarBitP(b));
}

OPCLASS(bit_hamming, bit, VDB_CODEC_BINARY, VDB_METRIC_HAMMING, BIT_MAX_DIMS, bit_hamming);
OPCLASS(bit_jaccard, bit, VDB_CODEC_BINARY, VDB_METRIC_JACCARD, BIT_MAX_DIMS, bit_jaccard);

/* --- sparsevec --- */

static uint32
sparsevec_dims(Datum value)
{
	return DatumGetVdbSparsevecP(value)->dim;
}

static VdbValue
sparsevec_read(Datum value)
{
	VdbSparsevec *vector = DatumGetVdbSparsevecP(value);

	return (VdbValue) {
		.count = vector->nnz,
		.index = (const uint32 *) vector->indices,
		.elements = vdb_sparsevec_values(vector),
	};
}

#define SPARSEVEC_DISTANCE(name) \
	static double \
	sparsevec_##name(Datum a, Datum b) \
	{ \
		return vdb_sparsevec_distance_##name(DatumGetVdbSparsevecP(a), DatumGetVdbSparsevecP(b)); \
	} \
	extern int	no_such_variable

SPARSEVEC_DISTANCE(l2);
SPARSEVEC_DISTANCE(ip);
SPARSEVEC_DISTANCE(cosine);
SPARSEVEC_DISTANCE(l1);

OPCLASS(sparsevec_l2, sparsevec, VDB_CODEC_SPARSE, VDB_METRIC_L2, VDB_SPARSEVEC_MAX_DIM,
			 sparsevec_l2);
OPCLASS(sparsevec_ip, sparsevec, VDB_CODEC_SPARSE, VDB_METRIC_IP, VDB_SPARSEVEC_MAX_DIM,
			 sparsevec_ip);
OPCLASS(sparsevec_cosine, sparsevec, VDB_CODEC_SPARSE, VDB_METRIC_COSINE,
			 VDB_SPARSEVEC_MAX_DIM, sparsevec_cosine);
OPCLASS(sparsevec_l1, sparsevec, VDB_CODEC_SPARSE, VDB_METRIC_L1, VDB_SPARSEVEC_MAX_DIM,
			 sparsevec_l1);
