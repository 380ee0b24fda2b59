/* A CUDA runtime without a GPU.
 *
 * Device memory is host memory and kernels do nothing. torch then sees a device, and everything that torch itself does
 * is real: checks of devices, its allocator, streams and events in order, detection of host syncs. Numbers mean
 * nothing. Preloaded before the real libraries; `build.py` adds an empty function for every other symbol torch asks for.
 *
 * Environment:
 *   CUDA_STUB_MEMORY_MB  size of the device's memory (default 80000): beyond it cudaMalloc fails as a full card does.
 *   CUDA_STUB_STICKY     a file: the first kernel launched while it exists removes it and breaks the process for good,
 *                        as an illegal memory access does; a new process works.
 */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#undef cudaGetDeviceProperties

/* What tests read, through stub_counts(). */
enum { LAUNCHES, SYNCS, TO_DEVICE, TO_HOST, WITHIN_DEVICE, MALLOCS, STREAMS, EVENTS, COUNTERS };
static volatile long counts[COUNTERS];
long *stub_counts(void) { return (long *)counts; }

/* A handle of a library or driver object: memory that torch may look into and finds zero. */
static void *handle(void) { return calloc(1, 256); }

/* ---- Errors. One that is sticky stays until the process ends. */
static int broken;
static cudaError_t state(void) { return broken ? cudaErrorIllegalAddress : cudaSuccess; }
static cudaError_t launch(void) {
    const char *file = getenv("CUDA_STUB_STICKY");
    if (file && !unlink(file)) broken = 1;
    counts[LAUNCHES]++;
    return state();
}
cudaError_t cudaGetLastError(void) { return state(); }
cudaError_t cudaPeekAtLastError(void) { return state(); }
const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    default: return "cudaErrorIllegalAddress";
    }
}
const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "an illegal memory access was encountered";
    }
}

/* ---- Memory. Fresh pages are zero and cost nothing until they are touched. */
typedef struct { char *start; size_t size; } Block;
static Block blocks[1 << 16];
static int block_count;
static size_t used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t capacity(void) {
    static size_t bytes;
    if (!bytes) {
        const char *megabytes = getenv("CUDA_STUB_MEMORY_MB");
        bytes = (size_t)(megabytes ? atol(megabytes) : 80000) << 20;
    }
    return bytes;
}

cudaError_t cudaMalloc(void **pointer, size_t size) {
    cudaError_t result = cudaErrorMemoryAllocation;
    *pointer = NULL;
    size = size ? size : 1;
    pthread_mutex_lock(&lock);
    if (used + size <= capacity() && block_count < (int)(sizeof blocks / sizeof *blocks)) {
        void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start != MAP_FAILED) {
            blocks[block_count++] = (Block){start, size};
            used += size;
            counts[MALLOCS]++;
            *pointer = start;
            result = cudaSuccess;
        }
    }
    pthread_mutex_unlock(&lock);
    return broken ? state() : result;
}

cudaError_t cudaFree(void *pointer) {
    pthread_mutex_lock(&lock);
    for (int i = block_count - 1; i >= 0; i--)
        if (blocks[i].start == pointer) {
            munmap(pointer, blocks[i].size);
            used -= blocks[i].size;
            blocks[i] = blocks[--block_count];
            break;
        }
    pthread_mutex_unlock(&lock);
    return cudaSuccess; /* in a broken process too: torch, which caches, rarely comes here on a GPU */
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = capacity();
    *free_bytes = capacity() - used;
    return state();
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer) {
    const char *p = pointer;
    memset(attributes, 0, sizeof *attributes);
    attributes->devicePointer = attributes->hostPointer = (void *)pointer;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < block_count; i++)
        if (p >= blocks[i].start && p < blocks[i].start + blocks[i].size) attributes->type = cudaMemoryTypeDevice;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

/* Pinned memory: torch takes it and gives it back by itself. */
cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned flags) {
    *pointer = calloc(1, size + 64);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *pointer) {
    free(pointer);
    return cudaSuccess;
}

/* Copies are done at once. One byte on its way to the host is the answer to a question (`bool(tensor)`), and no kernel
 * has written it: it becomes true, so that "all values are finite" holds. */
static cudaError_t copy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    memmove(to, from, size);
    if (kind == cudaMemcpyDeviceToHost && size == 1) *(char *)to = 1;
    counts[kind == cudaMemcpyHostToDevice ? TO_DEVICE : kind == cudaMemcpyDeviceToHost ? TO_HOST : WITHIN_DEVICE]++;
    return state();
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    counts[SYNCS]++;
    return copy(to, from, size, kind);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
    return copy(to, from, size, kind);
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream) {
    for (size_t row = 0; row < height; row++)
        memmove((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
    return copy(to, to, 0, kind);
}
cudaError_t cudaMemset(void *to, int value, size_t size) {
    memset(to, value, size);
    return state();
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream) {
    return cudaMemset(to, value, size);
}
static char symbol[1 << 16];
cudaError_t cudaGetSymbolAddress(void **pointer, const void *name) {
    *pointer = symbol;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
    *pool = (cudaMemPool_t)symbol;
    return cudaSuccess;
}

/* ---- The device: as much of an H100 as torch asks for. */
cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device ? cudaErrorInvalidDevice : cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Stub H100");
    p->totalGlobalMem = capacity();
    p->major = 9;
    p->multiProcessorCount = 132;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 232448;
    p->sharedMemPerMultiprocessor = 233472;
    p->l2CacheSize = 50 << 20;
    p->textureAlignment = 512;
    p->memPitch = 2147483647;
    p->unifiedAddressing = p->concurrentKernels = 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    struct cudaDeviceProp p;
    cudaGetDeviceProperties(&p, device);
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = p.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = p.sharedMemPerMultiprocessor; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[1]; break;
    default: *value = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device) {
    snprintf(text, size, "0000:01:00.0");
    return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = 0;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

/* Functions of the driver that torch looks up by name: all do nothing, but a context is there. */
static int nothing(void) { return 0; }
static int context_state(int device, unsigned *flags, int *active) {
    if (flags) *flags = 0;
    if (active) *active = 1;
    return 0;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                             unsigned long long flags, enum cudaDriverEntryPointQueryResult *result) {
    *function = strstr(name, "PrimaryCtxGetState") ? (void *)context_state : (void *)nothing;
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

/* ---- Streams and events. Work is done as soon as it is queued; an event is the time at which it was recorded. */
static cudaError_t make_stream(cudaStream_t *stream) {
    *stream = handle();
    counts[STREAMS]++;
    return state();
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) { return make_stream(stream); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) { return make_stream(stream); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    return make_stream(stream);
}
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    *priority = 0;
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return state(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) { return state(); }

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    *event = handle();
    counts[EVENTS]++;
    return state();
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    *(double *)event = milliseconds();
    return state();
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    return cudaEventRecord(event, stream);
}
cudaError_t cudaEventElapsedTime(float *elapsed, cudaEvent_t from, cudaEvent_t to) {
    *elapsed = *(double *)to - *(double *)from;
    return state();
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return state(); }

/* ---- Graphs: a capture is on or off. While it is on, waiting for the device is an error, as on a GPU. */
static cudaStream_t captured;
static int capturing;
static cudaError_t wait_for_device(void) {
    counts[SYNCS]++;
    return capturing ? cudaErrorStreamCaptureUnsupported : state();
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for_device(); }
cudaError_t cudaDeviceSynchronize(void) { return wait_for_device(); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return wait_for_device(); }
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    captured = stream;
    capturing = 1;
    return state();
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    capturing = 0;
    *graph = handle();
    return state();
}
static enum cudaStreamCaptureStatus capture_status(cudaStream_t stream) {
    return capturing && stream == captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    *status = capture_status(stream);
    return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **nodes, const cudaGraphEdgeData **edges,
                                     size_t *count) {
    *status = capture_status(stream);
    if (id) *id = capturing;
    if (count) *count = 0;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags) {
    *executable = handle();
    return state();
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    *count = 1; /* torch warns of an empty graph */
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) { return launch(); }

/* ---- Kernels. gcc's output for `kernel<<<...>>>()` pushes the call's shape, pops it in a wrapper, and launches. */
cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
    return launch();
}
cudaError_t __cudaLaunchKernel(void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
    return launch();
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *kernel, void **arguments) {
    return launch();
}
cudaError_t __cudaGetKernel(void **kernel, const void *function) {
    *kernel = (void *)function;
    return cudaSuccess;
}
typedef struct { dim3 grid, block; size_t shared; void *stream; } Shape;
static __thread Shape shapes[16];
static __thread int depth;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    if (depth < 16) shapes[depth++] = (Shape){grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    if (depth > 0) {
        Shape shape = shapes[--depth];
        *grid = shape.grid;
        *block = shape.block;
        *shared = shape.shared;
        *(void **)stream = shape.stream;
    }
    return cudaSuccess;
}
static void *binary[4];
void **__cudaRegisterFatBinary(void *image) { return binary; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *function) {
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    attributes->numRegs = 32;
    attributes->maxDynamicSharedSizeBytes = 49152;
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int size,
                                                                   size_t shared, unsigned flags) {
    *blocks = 2;
    return cudaSuccess;
}

/* ---- Libraries. Their handles are made; the work is done by no one. */
#define CREATES(name) \
    int name(void **object) { \
        *object = handle(); \
        return 0; \
    }
CREATES(cublasCreate_v2)
CREATES(cublasLtCreate)
CREATES(cublasLtMatmulDescCreate)
CREATES(cublasLtMatmulPreferenceCreate)
CREATES(cublasLtMatrixLayoutCreate)
CREATES(cusolverDnCreate)
CREATES(cusolverDnCreateParams)
CREATES(cusparseCreate)
int cublasGetPointerMode_v2(void *library, int *mode) { return *mode = 0; }
int cublasGetMathMode(void *library, int *mode) { return *mode = 0; }
size_t cublasLtGetVersion(void) { return 130100; }
int cublasLtMatmulAlgoGetHeuristic(void *library, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                   int requested, void *results, int *returned) {
    memset(results, 0, 64);
    *returned = 1;
    return 0;
}
/* Without it torch allocates as much work space as the uninitialised number says. */
#define NEEDS_WORK_SPACE(name) \
    int name(void *library, int rows, int columns, void *matrix, int leading, int *size) { \
        *size = 16; \
        return 0; \
    }
NEEDS_WORK_SPACE(cusolverDnSgetrf_bufferSize)
NEEDS_WORK_SPACE(cusolverDnDgetrf_bufferSize)
