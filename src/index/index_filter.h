/*
 * index_filter.h
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
#ifndef VDB_INDEX_FILTER_H
#define VDB_INDEX_FILTER_H

#include "access/skey.h"
#include "fmgr.h"
#include "utils/relcache.h"

/* Support function of an operator class of attributes: () -> internal, a VdbAttributeType */
#define VDB_ATTRIBUTE_PROC 2

/* Operators of such a class; any but the distance's are of this kind. */
#define VDB_LESS_STRATEGY 11
#define VDB_LESS_EQUAL_STRATEGY 12
#define VDB_EQUAL_STRATEGY 13
#define VDB_GREATER_EQUAL_STRATEGY 14
#define VDB_GREATER_STRATEGY 15
#define VDB_OVERLAPS_STRATEGY 16
#define VDB_CONTAINS_STRATEGY 17
#define VDB_CONTAINED_STRATEGY 18

/* What an operator class says about how its values are kept. */
typedef struct VdbAttributeType
{
	uint8		width;			/* bytes: 1, 2, 4 or 8 */
	bool		exact;			/* different values have different numbers */
	bool		signature;		/* of an array */
	uint64		base;			/* the smallest number, which is kept as 0 */

	/* the number of a value; type: of the value, which need not be the column's */
	uint64		(*number) (Datum value, Oid type, Oid collation);
} VdbAttributeType;

/* One further column of an index. */
typedef struct VdbAttribute
{
	const VdbAttributeType *type;
	Oid			value_type;		/* of the column, no domain */
	Oid			collation;
	uint16		offset;			/* of the number */
} VdbAttribute;

typedef struct VdbAttributes
{
	int			count;
	uint32		bytes;			/* of a node; 0 where there are none */
	VdbAttribute columns[FLEXIBLE_ARRAY_MEMBER];
} VdbAttributes;

/*
 * The further columns of an index, in memory of a context.  Raises when a column
 * has an operator class that is not for its place.
 */
extern VdbAttributes *vdb_index_attributes(Relation index, MemoryContext context);

/*
 * Fills out[bytes] with the attributes of a row; values and nulls are those of all
 * columns of the index, the vector first.  Uses memory of the current context.
 */
extern void vdb_index_form_attributes(const VdbAttributes *attributes, const Datum *values,
									 const bool *isnull, uint8 *out);

/* What is demanded of one attribute. */
typedef enum VdbConditionKind
{
	VDB_IS_NULL,
	VDB_IS_NOT_NULL,
	VDB_IN_RANGE,				/* low <= number <= high */
	VDB_IN_SET,				/* one of numbers[count], ascending */
	VDB_HAS_ANY,				/* all bits of one of numbers[count] */
	VDB_HAS_ALL,				/* all bits of low */
	VDB_HAS_ONLY				/* no bits but those of low */
} VdbConditionKind;

typedef struct VdbCondition
{
	VdbConditionKind kind;
	uint8		width;
	uint8		null_bit;
	uint16		null_byte;
	uint16		offset;
	uint64		low;
	uint64		high;
	uint64	   *numbers;
	uint32		count;
} VdbCondition;

typedef struct VdbFilter
{
	int			count;
	bool		never;			/* nothing passes */
	VdbCondition conditions[FLEXIBLE_ARRAY_MEMBER];
} VdbFilter;

/*
 * What a scan's keys demand of attributes, in the current context; NULL when
 * that is nothing.
 */
extern VdbFilter *vdb_index_form_filter(const VdbAttributes *attributes, const ScanKeyData *keys,
										int count);

static inline uint64
vdb_index_attribute_load(const uint8 *attributes, uint32 offset, uint8 width)
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
vdb_index_set_has(const VdbCondition *condition, uint64 number)
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
vdb_index_condition_holds(const VdbCondition *condition, const uint8 *attributes)
{
	bool		null = (attributes[condition->null_byte] >> condition->null_bit & 1) != 0;
	uint64		number;

	if (null || condition->kind <= VDB_IS_NOT_NULL)
		return null == (condition->kind == VDB_IS_NULL);
	number = vdb_index_attribute_load(attributes, condition->offset, condition->width);
	switch (condition->kind)
	{
		case VDB_IN_SET:
			return vdb_index_set_has(condition, number);
		case VDB_HAS_ANY:
			for (uint32 i = 0; i < condition->count; i++)
			{
				if ((number & condition->numbers[i]) == condition->numbers[i])
					return true;
			}
			return false;
		case VDB_HAS_ALL:
			return (number & condition->low) == condition->low;
		case VDB_HAS_ONLY:
			return (number & ~condition->low) == 0;
		default:
			return condition->low <= number && number <= condition->high;
	}
}

/* Does a filter let a node with these attributes pass? */
static inline bool
vdb_filter_passes(const VdbFilter *filter, const uint8 *attributes)
{
	for (int i = 0; i < filter->count; i++)
	{
		if (!vdb_index_condition_holds(&filter->conditions[i], attributes))
			return false;
	}
	return true;
}

#endif							/* VDB_INDEX_FILTER_H */
