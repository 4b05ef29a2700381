/*
 * distance_dispatch.c
 *	  Chooses the table of distance kernels: asks the processor and the
 *	  operating system what they support, and keeps the table in use.  The
 *	  kernels themselves are in distance_scalar.c and the files named after
 *	  instruction sets.
 */
#include "distance_private.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(VDB_HAVE_ARM_KERNELS) && defined(__linux__)
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

/* Never NULL, not even before vdb_distance_init(). */
const VdbKernels *vdb_kernels = &vdb_kernels_scalar;

#if defined(__x86_64__)

/* CPUID leaf 1, ecx */
#define LEAF1_ECX_FMA		(1u << 12)
#define LEAF1_ECX_OSXSAVE	(1u << 27)
#define LEAF1_ECX_AVX		(1u << 28)
#define LEAF1_ECX_F16C		(1u << 29)

/* CPUID leaf 7, ebx and ecx */
#define LEAF7_EBX_AVX2		(1u << 5)
#define LEAF7_EBX_AVX512F	(1u << 16)
#define LEAF7_EBX_AVX512DQ	(1u << 17)
#define LEAF7_EBX_AVX512BW	(1u << 30)
#define LEAF7_EBX_AVX512VL	(1u << 31)
#define LEAF7_ECX_VNNI		(1u << 11)

/* XCR0: register state the operating system saves and restores */
#define XCR0_YMM			0x06u	/* xmm, upper halves of ymm */
#define XCR0_ZMM			0xe6u	/* those, opmask, both parts of zmm */

/*
 * Reads XCR0.  Only to be called once CPUID says OSXSAVE, as the instruction
 * faults otherwise.
 */
static uint32_t
read_xcr0(void)
{
	uint32_t	eax;
	uint32_t	edx;

	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return eax;
}

/*
 * The best level of this processor.  An instruction set counts only when the
 * operating system also keeps its registers across context switches.
 */
static VdbSimdLevel
detect_level(void)
{
	const uint32_t leaf1_need = LEAF1_ECX_FMA | LEAF1_ECX_OSXSAVE |
		LEAF1_ECX_AVX | LEAF1_ECX_F16C;
	const uint32_t avx512_need = LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ |
		LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL;
	uint32_t	eax;
	uint32_t	ebx;
	uint32_t	ecx;
	uint32_t	edx;
	uint32_t	xcr0;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) ||
		(ecx & leaf1_need) != leaf1_need)
		return VDB_SIMD_SCALAR;

	xcr0 = read_xcr0();
	if ((xcr0 & XCR0_YMM) != XCR0_YMM ||
		!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ||
		(ebx & LEAF7_EBX_AVX2) == 0)
		return VDB_SIMD_SCALAR;

	if ((xcr0 & XCR0_ZMM) != XCR0_ZMM ||
		(ebx & avx512_need) != avx512_need ||
		(ecx & LEAF7_ECX_VNNI) == 0)
		return VDB_SIMD_AVX2;

	return VDB_SIMD_AVX512;
}

#elif defined(VDB_HAVE_ARM_KERNELS)

/*
 * The best level of this processor.  Programs cannot ask it themselves: Linux
 * says what there is, and elsewhere only what the compiler may rely on counts.
 */
static VdbSimdLevel
detect_level(void)
{
#if defined(__ARM_FEATURE_DOTPROD)
	return VDB_SIMD_NEON_DOTPROD;
#elif defined(__linux__)
	return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 ? VDB_SIMD_NEON_DOTPROD :
		VDB_SIMD_NEON;
#else
	return VDB_SIMD_NEON;
#endif
}

#else

static VdbSimdLevel
detect_level(void)
{
	return VDB_SIMD_SCALAR;
}

#endif

/*
 * The best level supported here.  CPUID traps in virtual machines and is slow
 * there, so it is asked once.
 */
VdbSimdLevel
vdb_distance_best(void)
{
	static bool detected = false;
	static VdbSimdLevel best = VDB_SIMD_SCALAR;

	if (!detected)
	{
		best = detect_level();
		detected = true;
	}
	return best;
}

/* The table of one level, NULL when the CPU or the build lacks it. */
const VdbKernels *
vdb_distance_table(VdbSimdLevel level)
{
	if (level > vdb_distance_best())
		return NULL;

	switch (level)
	{
		case VDB_SIMD_SCALAR:
			return &vdb_kernels_scalar;
#ifdef VDB_HAVE_X86_KERNELS
		case VDB_SIMD_AVX2:
			return &vdb_kernels_avx2;
		case VDB_SIMD_AVX512:
			return &vdb_kernels_avx512;
#endif
#ifdef VDB_HAVE_ARM_KERNELS
		case VDB_SIMD_NEON:
			return &vdb_kernels_neon;
		case VDB_SIMD_NEON_DOTPROD:
			return &vdb_kernels_neon_dotprod;
#endif
		default:
			return NULL;
	}
}

/*
 * Puts the best table in use.  May be called again, and then undoes an earlier
 * vdb_distance_force().
 */
void
vdb_distance_init(void)
{
	vdb_kernels = vdb_distance_table(vdb_distance_best());
}

/* Puts the table of one level in use; false, and no change, without it. */
bool
vdb_distance_force(VdbSimdLevel level)
{
	const VdbKernels *table = vdb_distance_table(level);

	if (table == NULL)
		return false;

	vdb_kernels = table;
	return true;
}

/* The level's name, for settings and reports; "unknown" for other values. */
const char *
vdb_distance_level_name(VdbSimdLevel level)
{
	switch (level)
	{
		case VDB_SIMD_SCALAR:
			return "scalar";
		case VDB_SIMD_AVX2:
			return "avx2";
		case VDB_SIMD_AVX512:
			return "avx512";
		case VDB_SIMD_NEON:
			return "neon";
		case VDB_SIMD_NEON_DOTPROD:
			return "neon_dotprod";
	}
	return "unknown";
}
