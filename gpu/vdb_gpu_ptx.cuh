/*
 * vdb_gpu_ptx.cuh
 *	  The two instructions that multiply unsigned bytes with signed ones.
 */
#ifndef VDB_GPU_PTX_CUH
#define VDB_GPU_PTX_CUH

/* sum += the products of four unsigned bytes with four signed ones */
__device__ __forceinline__ void
add_products(int32_t &sum, uint32_t u, uint32_t q)
{
	asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(u), "r"(q));
}

/* c += a * b, 16 rows by 8 questions, of 32 bytes each, the former unsigned; a warp's lanes together */
__device__ __forceinline__ void
multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
				 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif							/* VDB_GPU_PTX_CUH */
