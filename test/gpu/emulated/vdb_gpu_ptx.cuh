/*
 * vdb_gpu_ptx.cuh
 *	  The two instructions, as NVIDIA's description of PTX says which lane has what.
 */
#ifndef VDB_GPU_PTX_CUH
#define VDB_GPU_PTX_CUH

static inline void
add_products(int32_t &sum, uint32_t u, uint32_t q)
{
	for (int i = 0; i < 32; i += 8)
		sum += (int32_t) (uint8_t) (u >> i) * (int8_t) (q >> i);
}

/* Byte i of registers that a lane shows. */
static inline uint8_t
emulated_byte(uint32_t lane, uint32_t first, uint32_t i)
{
	return (uint8_t) (emulated_seen(lane)[first + i / 4] >> i % 4 * 8);
}

/* "Matrix Fragments for mma.m16n8k32", 8 bits: where an element of A, B and C is. */
static inline void
multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	uint32_t	lane = threadIdx.x % 32;

	memcpy(*emulated_show(), a, sizeof(a));
	memcpy(*emulated_show() + 4, b, sizeof(b));
	emulated_wait_for_warp();
	for (uint32_t i = 0; i < 4; i++)
	{
		uint32_t	row = i < 2 ? lane / 4 : lane / 4 + 8;
		uint32_t	column = lane % 4 * 2 + i % 2;

		for (uint32_t k = 0; k < 32; k++)
		{
			uint32_t	of_a = (k < 16 ? 0 : 8) + (row < 8 ? 0 : 4) + k % 4;
			uint32_t	of_b = (k < 16 ? 0 : 4) + k % 4;

			c[i] += emulated_byte(row % 8 * 4 + k % 16 / 4, 0, of_a) *
				(int8_t) emulated_byte(column * 4 + k % 16 / 4, 4, of_b);
		}
	}
}

#endif							/* VDB_GPU_PTX_CUH */
