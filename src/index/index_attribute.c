/*
 * index_attribute.c
 *	  From the values of an index's further columns to attributes.
 *
 * What each operator class of such columns keeps of its type, and where.  How
 * attributes are compared is the affair of index_filter.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "index/index.h"

/*
 * Bits of a signature that an element sets.  An array of n elements sets up to 3 n of
 * 64, so one with 8 elements has a certain other one by a chance of 1 in 25.
 */
#define ELEMENT_BITS 3

/* Defines the support function, () -> internal, of operator classes. */
#define ATTRIBUTE_TYPE(name, ...) \
	PG_FUNCTION_INFO_V1(vdb_index_##name##_attribute); \
	Datum \
	vdb_index_##name##_attribute(PG_FUNCTION_ARGS) \
	{ \
		static const VdbAttributeType type = {__VA_ARGS__}; \
		PG_RETURN_POINTER(&type); \
	} \
	extern int	no_such_variable

/* Signed numbers in the order of unsigned ones. */
static inline uint64
from_signed(int64 value)
{
	return (uint64) value ^ UINT64CONST(1) << 63;
}

#define SMALLEST(bits) ((UINT64CONST(1) << 63) - (UINT64CONST(1) << ((bits) - 1)))

static uint64
integer_number(Datum value, Oid type, Oid collation)
{
	switch (type)
	{
		case INT2OID:
			return from_signed(DatumGetInt16(value));
		case INT4OID:
			return from_signed(DatumGetInt32(value));
		case INT8OID:
			return from_signed(DatumGetInt64(value));
		default:
			elog(ERROR, "type %u is no integer", type);
	}
}

ATTRIBUTE_TYPE(int2,.width = 2,.exact = true,.base = SMALLEST(16),.number = integer_number);
ATTRIBUTE_TYPE(int4,.width = 4,.exact = true,.base = SMALLEST(32),.number = integer_number);
ATTRIBUTE_TYPE(int8,.width = 8,.exact = true,.number = integer_number);

static uint64
bool_number(Datum value, Oid type, Oid collation)
{
	return DatumGetBool(value);
}

ATTRIBUTE_TYPE(bool,.width = 1,.exact = true,.number = bool_number);

static uint64
oid_number(Datum value, Oid type, Oid collation)
{
	return DatumGetObjectId(value);
}

ATTRIBUTE_TYPE(oid,.width = 4,.exact = true,.number = oid_number);

static uint64
date_number(Datum value, Oid type, Oid collation)
{
	return from_signed(DatumGetDateADT(value));
}

ATTRIBUTE_TYPE(date,.width = 4,.exact = true,.base = SMALLEST(32),.number = date_number);

static uint64
timestamp_number(Datum value, Oid type, Oid collation)
{
	return from_signed(DatumGetTimestamp(value));
}

ATTRIBUTE_TYPE(timestamp,.width = 8,.exact = true,.number = timestamp_number);

/* Zero is neither positive nor negative, and NaN is greater than all. */
static uint64
float_order(double value)
{
	uint64		bits;

	if (isnan(value))
		return PG_UINT64_MAX;
	if (value == 0)
		value = 0;
	memcpy(&bits, &value, sizeof(bits));
	return (bits >> 63) != 0 ? ~bits : bits | UINT64CONST(1) << 63;
}

static uint64
float_number(Datum value, Oid type, Oid collation)
{
	return float_order(type == FLOAT4OID ? (double) DatumGetFloat4(value) : DatumGetFloat8(value));
}

ATTRIBUTE_TYPE(float,.width = 8,.exact = true,.number = float_number);

/* The nearest float8: in the same order, but some fall together. */
static uint64
numeric_number(Datum value, Oid type, Oid collation)
{
	return float_order(DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value)));
}

ATTRIBUTE_TYPE(numeric,.width = 8,.number = numeric_number);

/* By the hash function of the type, which knows what is equal under a collation. */
static uint32
hash_value(Datum value, Oid type, Oid collation)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_HASH_PROC_FINFO);

	if (!OidIsValid(entry->hash_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify a hash function for type %s", format_type_be(type))));
	return DatumGetUInt32(FunctionCall1Coll(&entry->hash_proc_finfo, collation, value));
}

static uint64
hash_number(Datum value, Oid type, Oid collation)
{
	return hash_value(value, type, collation);
}

ATTRIBUTE_TYPE(hash,.width = 4,.number = hash_number);

static uint64
array_number(Datum value, Oid type, Oid collation)
{
	uint64		signature = 0;
	uint32		count;
	uint64	   *elements = vdb_index_signatures(value, collation, &count);

	for (uint32 i = 0; i < count; i++)
		signature |= elements[i];
	pfree(elements);
	return signature;
}

ATTRIBUTE_TYPE(array,.width = 8,.signature = true,.number = array_number);

int
vdb_index_take_apart(Datum value, Oid *type, Datum **elements, bool **nulls)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int16		length;
	bool		by_value;
	char		align;
	int			size;

	*type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(*type, &length, &by_value, &align);
	deconstruct_array(array, *type, length, by_value, align, elements, nulls, &size);
	return size;
}

uint64 *
vdb_index_signatures(Datum array, Oid collation, uint32 *count)
{
	Oid			type;
	Datum	   *elements;
	bool	   *nulls;
	int			size = vdb_index_take_apart(array, &type, &elements, &nulls);
	uint64	   *signatures = palloc(Max(size, 1) * sizeof(uint64));

	*count = 0;
	for (int i = 0; i < size; i++)
	{
		uint32		hash;
		uint64		bits = 0;

		/* a null is equal to nothing */
		if (nulls[i])
			continue;
		hash = murmurhash32(hash_value(elements[i], type, collation));
		for (int bit = 0; bit < ELEMENT_BITS; bit++)
			bits |= UINT64CONST(1) << (hash >> (6 * bit) & 63);
		signatures[(*count)++] = bits;
	}
	pfree(elements);
	pfree(nulls);
	return signatures;
}

/* What the operator class of a further column, counted from 1, keeps of its type. */
static const VdbAttributeType *
attribute_type(Relation index, int column)
{
	const VdbAttributeType *type = vdb_index_call_support(index, column, VDB_ATTRIBUTE_PROC);

	if (type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column %d of %s index \"%s\" cannot be of an operator class with a distance",
						column, get_am_name(index->rd_rel->relam), RelationGetRelationName(index)),
				 errdetail("The first column is searched by distance, further ones are for conditions."),
				 errhint("Create an index for each vector.")));
	return type;
}

VdbAttributes *
vdb_index_attributes(Relation index, MemoryContext context)
{
	int			count = IndexRelationGetNumberOfKeyAttributes(index) - 1;
	VdbAttributes *attributes = MemoryContextAllocZero(context, offsetof(VdbAttributes, columns) +
														count * sizeof(VdbAttribute));

	attributes->count = count;
	attributes->bytes = (count + BITS_PER_BYTE - 1) / BITS_PER_BYTE;
	for (int i = 0; i < count; i++)
	{
		VdbAttribute *column = &attributes->columns[i];

		column->type = attribute_type(index, i + 2);
		column->value_type = index->rd_opcintype[i + 1];
		if (IsPolymorphicType(column->value_type))
			column->value_type = getBaseType(TupleDescAttr(index->rd_att, i + 1)->atttypid);
		column->collation = index->rd_indcollation[i + 1];
		column->offset = attributes->bytes;
		attributes->bytes += column->type->width;
	}
	return attributes;
}

static void
store_number(uint8 *out, uint8 width, uint64 number)
{
	uint16		two = (uint16) number;
	uint32		four = (uint32) number;

	switch (width)
	{
		case 1:
			*out = (uint8) number;
			break;
		case 2:
			memcpy(out, &two, sizeof(two));
			break;
		case 4:
			memcpy(out, &four, sizeof(four));
			break;
		default:
			memcpy(out, &number, sizeof(number));
	}
}

void
vdb_index_form_attributes(const VdbAttributes *attributes, const Datum *values,
						 const bool *isnull, uint8 *out)
{
	memset(out, 0, attributes->bytes);
	for (int i = 0; i < attributes->count; i++)
	{
		const VdbAttribute *column = &attributes->columns[i];

		if (isnull[i + 1])
			out[i / BITS_PER_BYTE] |= 1 << i % BITS_PER_BYTE;
		else
			store_number(out + column->offset, column->type->width,
						 column->type->number(values[i + 1], column->value_type, column->collation) -
						 column->type->base);
	}
}
