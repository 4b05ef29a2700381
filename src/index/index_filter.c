/*
 * index_filter.c
 *	  From the keys of a scan to what they demand of attributes.
 *
 * Comparisons become ranges of numbers.  Where numbers fall together that stand
 * for different values, a range includes its ends: a filter may let too much
 * pass, never too little.
 */
#include "postgres.h"

#include "utils/float.h"

#include "index/index.h"

/* The largest number that an attribute can be. */
static inline uint64
greatest(const VdbAttributeType *type)
{
	return type->width == 8 ? PG_UINT64_MAX : (UINT64CONST(1) << 8 * type->width) - 1;
}

/*
 * Makes a range of numbers, base included, one of numbers as they are kept.
 * False when no attribute is in it: another type of integer has more values.
 */
static bool
clip_range(const VdbAttributeType *type, uint64 *low, uint64 *high)
{
	if (*low > *high || *high < type->base)
		return false;
	*low = *low < type->base ? 0 : *low - type->base;
	*high = Min(*high - type->base, greatest(type));
	return *low <= *high;
}

/* The range of an ordering operator's numbers; false when it is empty. */
static bool
form_range(const VdbAttributeType *type, StrategyNumber strategy, uint64 number, uint64 *low,
		   uint64 *high)
{
	*low = 0;
	*high = PG_UINT64_MAX;
	switch (strategy)
	{
		case VDB_LESS_STRATEGY:
			if (type->exact && number == 0)
				return false;
			*high = number - type->exact;
			break;
		case VDB_LESS_EQUAL_STRATEGY:
			*high = number;
			break;
		case VDB_EQUAL_STRATEGY:
			*low = *high = number;
			break;
		case VDB_GREATER_EQUAL_STRATEGY:
			*low = number;
			break;
		case VDB_GREATER_STRATEGY:
			if (type->exact && number == PG_UINT64_MAX)
				return false;
			*low = number + type->exact;
			break;
		default:
			elog(ERROR, "index scanned with strategy %d", strategy);
	}
	return clip_range(type, low, high);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * The type to take a key's argument for.  Numbers may be compared with numbers of
 * another type; what is hashed has the type of the column, whatever the operator
 * calls it.
 */
static inline Oid
argument_type(const VdbAttribute *column, Oid type)
{
	return column->type->exact ? type : column->value_type;
}

/*
 * "column operator ANY (array)": for equality a set, for an order the widest of
 * the ranges.  False when nothing can satisfy it.
 */
static bool
form_any(const VdbAttribute *column, const ScanKeyData *key, VdbCondition *condition)
{
	Oid			type;
	Datum	   *elements;
	bool	   *nulls;
	int			size = vdb_index_take_apart(key->sk_argument, &type, &elements, &nulls);

	condition->numbers = palloc(Max(size, 1) * sizeof(uint64));
	condition->low = PG_UINT64_MAX;
	condition->high = 0;
	for (int i = 0; i < size; i++)
	{
		uint64		low;
		uint64		high;

		if (nulls[i] ||
			!form_range(column->type, key->sk_strategy,
						column->type->number(elements[i], argument_type(column, type),
											 column->collation), &low, &high))
			continue;
		condition->numbers[condition->count++] = low;
		condition->low = Min(condition->low, low);
		condition->high = Max(condition->high, high);
	}
	if (key->sk_strategy == VDB_EQUAL_STRATEGY)
	{
		condition->kind = VDB_IN_SET;
		qsort(condition->numbers, condition->count, sizeof(uint64), compare_numbers);
	}
	return condition->count > 0;
}

/* What an operator demands of a signature. */
static void
form_signature(const VdbAttribute *column, const ScanKeyData *key, VdbCondition *condition)
{
	uint64		signature = column->type->number(key->sk_argument, InvalidOid, column->collation);

	condition->low = condition->high = signature;
	switch (key->sk_strategy)
	{
		case VDB_EQUAL_STRATEGY:
			break;
		case VDB_OVERLAPS_STRATEGY:
			condition->kind = VDB_HAS_ANY;
			condition->numbers = vdb_index_signatures(key->sk_argument, column->collation,
													 &condition->count);
			break;
		case VDB_CONTAINS_STRATEGY:
			condition->kind = VDB_HAS_ALL;
			break;
		case VDB_CONTAINED_STRATEGY:
			condition->kind = VDB_HAS_ONLY;
			break;
		default:
			elog(ERROR, "index scanned with strategy %d", key->sk_strategy);
	}
}

/* What one key demands; false when nothing can satisfy it. */
static bool
form_condition(const VdbAttributes *attributes, const ScanKeyData *key, VdbCondition *condition)
{
	int			number = key->sk_attno - 2;
	const VdbAttribute *column = &attributes->columns[number];

	memset(condition, 0, sizeof(*condition));
	condition->kind = VDB_IN_RANGE;
	condition->width = column->type->width;
	condition->offset = column->offset;
	condition->null_byte = number / BITS_PER_BYTE;
	condition->null_bit = number % BITS_PER_BYTE;
	if ((key->sk_flags & SK_SEARCHNULL) != 0)
		condition->kind = VDB_IS_NULL;
	else if ((key->sk_flags & SK_SEARCHNOTNULL) != 0)
		condition->kind = VDB_IS_NOT_NULL;
	else if ((key->sk_flags & SK_ISNULL) != 0)
		return false;
	else if (column->type->signature && (key->sk_flags & SK_SEARCHARRAY) != 0)
		condition->kind = VDB_IS_NOT_NULL;	/* arrays of a domain over arrays */
	else if (column->type->signature)
		form_signature(column, key, condition);
	else if ((key->sk_flags & SK_SEARCHARRAY) != 0)
		return form_any(column, key, condition);
	else
		return form_range(column->type, key->sk_strategy,
						  column->type->number(key->sk_argument,
											   argument_type(column, key->sk_subtype),
											   column->collation),
						  &condition->low, &condition->high);
	return true;
}

VdbFilter *
vdb_index_form_filter(const VdbAttributes *attributes, const ScanKeyData *keys, int count)
{
	VdbFilter *filter = palloc(offsetof(VdbFilter, conditions) + count * sizeof(VdbCondition));

	filter->count = 0;
	filter->never = false;
	for (int i = 0; i < count; i++)
	{
		if (keys[i].sk_attno == 1)
			continue;
		if (!form_condition(attributes, &keys[i], &filter->conditions[filter->count++]))
			filter->never = true;
	}
	return filter->count > 0 ? filter : NULL;
}

double
vdb_index_load_radius(const ScanKeyData *keys, int count, bool null_query, bool *empty, bool *recheck)
{
	double		radius = get_float8_infinity();

	for (int i = 0; i < count; i++)
	{
		const ScanKeyData *key = &keys[i];

		if (key->sk_attno != 1)
			continue;

		/* rows without a vector are not indexed */
		if ((key->sk_flags & SK_SEARCHNULL) != 0)
			*empty = true;
		if ((key->sk_flags & (SK_SEARCHNULL | SK_SEARCHNOTNULL)) != 0)
			continue;
		if (key->sk_strategy != VDB_RADIUS_STRATEGY)
			elog(ERROR, "index scanned with strategy %d", key->sk_strategy);
		if ((key->sk_flags & SK_SEARCHARRAY) != 0)
		{
			*recheck = true;
			continue;
		}

		/* nothing compares with what is not known */
		if ((key->sk_flags & SK_ISNULL) != 0 || null_query)
			*empty = true;
		else if (DatumGetFloat8(key->sk_argument) < radius)
			radius = DatumGetFloat8(key->sk_argument);
	}
	return radius;
}
