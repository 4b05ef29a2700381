/*
 * hnsw_filter.h
 *	  Attributes: the values of an index's further columns as a hot page has
 *	  them, and conditions on them.
 *
 * An attribute is a number that stands for a value: in the order of the values
 * (integers, times, floats), or a hash (anything with equality), or the signature of
 * an array.  All attributes of a node are a string of bytes of constant length:
 * a bit for each column that says whether it is null, then the numbers, the null ones 0.
 *
 * A filter is what a scan's keys demand of this string.  It lets everything pass
 * that satisfies the keys, and may let pass what does not (a hash that is equal
 * by chance); the executor looks at the row itself.
 */
#ifndef VDB_HNSW_FILTER_H
#define VDB_HNSW_FILTER_H

#include "access/skey.h"
#include "fmgr.h"
#include "utils/relcache.h"

/* Support function of an operator class of attributes: () -> internal, a HnswAttributeType */
#define HNSW_ATTRIBUTE_PROC 2

/* Operators of such a class; any but the distance's are of this kind. */
#define HNSW_LESS_STRATEGY 11
#define HNSW_LESS_EQUAL_STRATEGY 12
#define HNSW_EQUAL_STRATEGY 13
#define HNSW_GREATER_EQUAL_STRATEGY 14
#define HNSW_GREATER_STRATEGY 15
#define HNSW_OVERLAPS_STRATEGY 16
#define HNSW_CONTAINS_STRATEGY 17
#define HNSW_CONTAINED_STRATEGY 18

/* What an operator class says about how its values are kept. */
typedef struct HnswAttributeType
{
	uint8		width;			/* bytes: 1, 2, 4 or 8 */
	bool		exact;			/* different values have different numbers */
	bool		signature;		/* of an array */
	uint64		base;			/* the smallest number, which is kept as 0 */

	/* the number of a value; type: of the value, which need not be the column's */
	uint64		(*number) (Datum value, Oid type, Oid collation);
} HnswAttributeType;

/* One further column of an index. */
typedef struct HnswAttribute
{
	const HnswAttributeType *type;
	Oid			value_type;		/* of the column, no domain */
	Oid			collation;
	uint16		offset;			/* of the number */
} HnswAttribute;

typedef struct HnswAttributes
{
	int			count;
	uint32		bytes;			/* of a node; 0 where there are none */
	HnswAttribute columns[FLEXIBLE_ARRAY_MEMBER];
} HnswAttributes;

/*
 * The further columns of an index, in memory of a context.  Raises when a column
 * has an operator class that is not for its place.
 */
extern HnswAttributes *vdb_hnsw_attributes(Relation index, MemoryContext context);

/*
 * Fills out[bytes] with the attributes of a row; values and nulls are those of all
 * columns of the index, the vector first.  Uses memory of the current context.
 */
extern void vdb_hnsw_form_attributes(const HnswAttributes *attributes, const Datum *values,
									 const bool *isnull, uint8 *out);

/* What is demanded of one attribute. */
typedef enum HnswConditionKind
{
	HNSW_IS_NULL,
	HNSW_IS_NOT_NULL,
	HNSW_IN_RANGE,				/* low <= number <= high */
	HNSW_IN_SET,				/* one of numbers[count], ascending */
	HNSW_HAS_ANY,				/* all bits of one of numbers[count] */
	HNSW_HAS_ALL,				/* all bits of low */
	HNSW_HAS_ONLY				/* no bits but those of low */
} HnswConditionKind;

typedef struct HnswCondition
{
	HnswConditionKind kind;
	uint8		width;
	uint8		null_bit;
	uint16		null_byte;
	uint16		offset;
	uint64		low;
	uint64		high;
	uint64	   *numbers;
	uint32		count;
} HnswCondition;

typedef struct HnswFilter
{
	int			count;
	bool		never;			/* nothing passes */
	HnswCondition conditions[FLEXIBLE_ARRAY_MEMBER];
} HnswFilter;

/*
 * What a scan's keys demand of attributes, in the current context; NULL when
 * that is nothing.
 */
extern HnswFilter *vdb_hnsw_form_filter(const HnswAttributes *attributes, const ScanKeyData *keys,
										int count);

static inline uint64
vdb_hnsw_attribute_load(const uint8 *attributes, uint32 offset, uint8 width)
{
	uint16		two;
	uint32		four;
	uint64		eight;

	switch (width)
	{
		case 1:
			return attributes[offset];
		case 2:
			memcpy(&two, attributes + offset, sizeof(two));
			return two;
		case 4:
			memcpy(&four, attributes + offset, sizeof(four));
			return four;
		default:
			memcpy(&eight, attributes + offset, sizeof(eight));
			return eight;
	}
}

/* Is a number one of a set? */
static inline bool
vdb_hnsw_set_has(const HnswCondition *condition, uint64 number)
{
	uint32		low = 0;
	uint32		high = condition->count;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (condition->numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < condition->count && condition->numbers[low] == number;
}

static inline bool
vdb_hnsw_condition_holds(const HnswCondition *condition, const uint8 *attributes)
{
	bool		null = (attributes[condition->null_byte] >> condition->null_bit & 1) != 0;
	uint64		number;

	if (null || condition->kind <= HNSW_IS_NOT_NULL)
		return null == (condition->kind == HNSW_IS_NULL);
	number = vdb_hnsw_attribute_load(attributes, condition->offset, condition->width);
	switch (condition->kind)
	{
		case HNSW_IN_SET:
			return vdb_hnsw_set_has(condition, number);
		case HNSW_HAS_ANY:
			for (uint32 i = 0; i < condition->count; i++)
			{
				if ((number & condition->numbers[i]) == condition->numbers[i])
					return true;
			}
			return false;
		case HNSW_HAS_ALL:
			return (number & condition->low) == condition->low;
		case HNSW_HAS_ONLY:
			return (number & ~condition->low) == 0;
		default:
			return condition->low <= number && number <= condition->high;
	}
}

/* Does a filter let a node with these attributes pass? */
static inline bool
vdb_hnsw_passes(const HnswFilter *filter, const uint8 *attributes)
{
	for (int i = 0; i < filter->count; i++)
	{
		if (!vdb_hnsw_condition_holds(&filter->conditions[i], attributes))
			return false;
	}
	return true;
}

#endif							/* VDB_HNSW_FILTER_H */
