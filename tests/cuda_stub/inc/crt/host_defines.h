/* Words that NVIDIA's headers use; the file of this name comes with NVIDIA's compiler alone. */
#ifndef HOST_DEFINES_H
#define HOST_DEFINES_H
#define __CUDACC_VER_MAJOR__ 13
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define __host__
#define __device__
#define __global__
#define __cdecl
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __device_builtin__
#define __cudart_builtin__
#endif
