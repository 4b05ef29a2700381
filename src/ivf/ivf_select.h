/*
 * ivf_select.h
 *	  A function that moves those of the least scores to the front of an array, in no order
 *	  (Hoare's quickselect).
 *
 * Include it with these defined; it undefines them:
 *	 SELECT_NAME	of the function
 *	 SELECT_TYPE	of the array's elements, which have a score, no NaN
 */
static void
SELECT_NAME(SELECT_TYPE *elements, uint32 count, uint32 keep)
{
	int64		low = 0;
	int64		high = (int64) count - 1;
	int64		last = (int64) keep - 1;

	while (low < high)
	{
		float		pivot = elements[low + (high - low) / 2].score;
		int64		i = low;
		int64		j = high;

		while (i <= j)
		{
			SELECT_TYPE moved;

			while (elements[i].score < pivot)
				i++;
			while (pivot < elements[j].score)
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
