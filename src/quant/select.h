/*
 * select.h
 *	  A function that moves the least elements to the front of an array, in no order
 *	  (Hoare's quickselect).
 *
 * Include it with these defined; it undefines them:
 *	 SELECT_NAME	of the function
 *	 SELECT_TYPE	of the array's elements
 *	 SELECT_LESS	(a, b), pointers to elements: does a come before b?
 */
static void
SELECT_NAME(SELECT_TYPE *elements, size_t count, size_t keep)
{
	int64_t		low = 0;
	int64_t		high = (int64_t) count - 1;
	int64_t		last = (int64_t) keep - 1;

	while (low < high)
	{
		SELECT_TYPE pivot = elements[low + (high - low) / 2];
		int64_t		i = low;
		int64_t		j = high;

		while (i <= j)
		{
			SELECT_TYPE moved;

			while (SELECT_LESS(&elements[i], &pivot))
				i++;
			while (SELECT_LESS(&pivot, &elements[j]))
				j--;
			if (i > j)
				break;
			moved = elements[i];
			elements[i++] = elements[j];
			elements[j--] = moved;
		}
		if (last <= j)
			high = j;
		else if (last >= i)
			low = i;
		else
			break;
	}
}

#undef SELECT_NAME
#undef SELECT_TYPE
#undef SELECT_LESS
