// What a CUDA C++ source needs to be compiled by a C++20 compiler and run on the processor, for tests without a GPU.
//
// One fiber for every CUDA thread of a block, block after block: each runs until its next barrier or its end, in an
// order that the test chooses, since results must not depend on it. With -DCUDA_HOST_THREADS one thread of the
// operating system for every CUDA thread: slow, and what the sanitizers understand. With -DCUDA_HOST_TRACE what fibers
// read and write is noted by trace.cpp.
//
// Not here, as no kernel uses it: warp intrinsics, atomics, static shared memory, half precision.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <typeinfo>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n)

// As on a device, where four numbers are read at once; a vector of the compiler's, so that this is one access here, too.
struct alignas(16) int4 {
    union {
        int __attribute__((vector_size(16))) all;
        struct {
            int x, y, z, w;
        };
    };
    int4(const int4& other) : all(other.all) {}
};
struct uint3 {
    unsigned x, y, z;
};
using dim3 = uint3;

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

#ifdef CUDA_HOST_TRACE
extern "C" void trace_shared(const void* memory, size_t bytes);
extern "C" void trace_thread(int place, const void* stack, size_t bytes);
extern "C" void trace_block();
#else
inline void trace_shared(const void*, size_t) {}
inline void trace_thread(int, const void*, size_t) {}
inline void trace_block() {}
#endif

namespace cuda_host {

inline std::string error;
inline int order = 0;  // of threads and blocks: 0 forward, 1 backward, from 2 on shuffled anew after every barrier

// Exactly as long as asked for, so that a sanitizer sees what is written beside it; all bits set is NaN, so that results
// show what was read before it was written.
struct Shared {
    std::unique_ptr<unsigned char, void (*)(void*)> memory{nullptr, std::free};
    explicit Shared(size_t bytes) {
        memory.reset(static_cast<unsigned char*>(std::aligned_alloc(16, (bytes + 15) / 16 * 16)));
        std::memset(memory.get(), 0xFF, (bytes + 15) / 16 * 16);
    }
};
inline thread_local unsigned char* shared = nullptr;

inline std::vector<unsigned> places(unsigned count, uint64_t round) {
    std::vector<unsigned> chosen(count);
    for (unsigned i = 0; i < count; ++i) chosen[i] = i;
    if (order == 1) std::reverse(chosen.begin(), chosen.end());
    uint64_t state = 0x9E3779B97F4A7C15ull * (order + round + 1);
    if (order > 1)
        for (unsigned i = count; i > 1; --i) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            std::swap(chosen[i - 1], chosen[state % i]);
        }
    return chosen;
}

#ifndef CUDA_HOST_THREADS

struct Fiber {
    ucontext_t start;
    jmp_buf resume;
    bool started = false, done = false;
    int line = 0;  // of the barrier it waits at
};
struct Block {
    std::vector<Fiber> fibers;
    std::vector<char> stacks;
    jmp_buf back;
    unsigned current = 0;
    void (*call)(void*);
    void* arguments;
};
inline Block* block = nullptr;
constexpr size_t STACK = 64 * 1024;

inline void enter() {
    block->call(block->arguments);
    block->fibers[block->current].done = true;
    _longjmp(block->back, 1);
}

inline void barrier(int line) {
    Fiber& fiber = block->fibers[block->current];
    fiber.line = line;
    if (!_setjmp(fiber.resume)) _longjmp(block->back, 1);
}

// Let a thread run to its next barrier or its end.
__attribute__((noinline)) inline void resume(unsigned i) {
    Fiber& fiber = block->fibers[i];
    block->current = i;
    threadIdx = {i, 0, 0};
    if (_setjmp(block->back)) {
        trace_thread(-1, nullptr, 0);
        return;
    }
    trace_thread(static_cast<int>(i), block->stacks.data() + i * STACK, STACK);
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = block->stacks.data() + i * STACK;
    fiber.start.uc_stack.ss_size = STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
    setcontext(&fiber.start);
}

// Every thread up to its next barrier, until all are done; all that are not must wait at the same one.
inline void run_block(unsigned count, size_t bytes, void (*call)(void*), void* arguments) {
    static Block kept;
    block = &kept;
    Shared memory(bytes);
    shared = memory.memory.get();
    kept.fibers.assign(count, Fiber{});
    kept.stacks.resize(count * STACK);
    kept.call = call;
    kept.arguments = arguments;
    trace_shared(shared, bytes);
    for (uint64_t round = 0;; ++round) {
        int line = 0;
        for (unsigned i : places(count, round)) {
            if (kept.fibers[i].done) continue;
            resume(i);
            if (kept.fibers[i].done) continue;
            const int at = kept.fibers[i].line;
            if (line && at != line)
                error = "threads wait at different barriers: lines " + std::to_string(line) + " and " + std::to_string(at);
            line = at;
        }
        if (!error.empty() || !line) break;
    }
    trace_block();
}

#else

struct Barrier {
    std::mutex mutex;
    std::condition_variable changed;
    unsigned count, arrived = 0;
    unsigned long generation = 0;
    explicit Barrier(unsigned n) : count(n) {}
    void release() {
        if (count && arrived == count) arrived = 0, ++generation, changed.notify_all();
    }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        const unsigned long mine = generation;
        ++arrived;
        release();
        changed.wait(lock, [&] { return generation != mine; });
    }
    void leave() {
        std::unique_lock<std::mutex> lock(mutex);
        --count;
        release();
    }
};
inline Barrier* current = nullptr;
inline void barrier(int) { current->wait(); }

inline void run_block(unsigned count, size_t bytes, void (*call)(void*), void* arguments) {
    Barrier own(count);
    current = &own;
    Shared memory(bytes);
    const uint3 place = blockIdx, threads = blockDim, blocks = gridDim;
    std::vector<std::thread> running;
    for (unsigned i : places(count, 0))
        running.emplace_back([&, i] {
            threadIdx = {i, 0, 0}, blockIdx = place, blockDim = threads, gridDim = blocks;
            shared = memory.memory.get();
            call(arguments);
            own.leave();
        });
    for (auto& thread : running) thread.join();
}

#endif

template <class... A, size_t... I>
void call_kernel(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A>*>(arguments[I])...);
}

// Run a grid; returns what went wrong, or nothing.
template <class... A>
const char* launch(void (*kernel)(A...), const unsigned* grid, const unsigned* threads, size_t bytes, void** arguments) {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    } call{kernel, arguments};
    auto run = [](void* pointer) {
        Call* own = static_cast<Call*>(pointer);
        call_kernel(own->kernel, own->arguments, std::index_sequence_for<A...>{});
    };
    error.clear();
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {threads[0], threads[1], threads[2]};
    const size_t count = size_t(threads[0]) * threads[1] * threads[2];
    if (count == 0 || count > 1024 || threads[1] * threads[2] != 1) return "blocks must have 1 to 1024 threads along x";
    if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) return "invalid grid";
    if (bytes > 227 * 1024) return "more shared memory than any device has";
    for (unsigned i : places(grid[0] * grid[1] * grid[2], 0)) {
        blockIdx = {i % grid[0], i / grid[0] % grid[1], i / (grid[0] * grid[1])};
        run_block(static_cast<unsigned>(count), bytes, run, &call);
        if (!error.empty()) return error.c_str();
    }
    return nullptr;
}

// The types of a kernel's arguments, such as "PKf:8,i:4," (the compiler's name and the size).
template <class... A>
const char* signature(void (*)(A...)) {
    static std::string text;
    text.clear();
    ((text += std::string(typeid(A).name()) + ":" + std::to_string(sizeof(A)) + ","), ...);
    return text.c_str();
}

}  // namespace cuda_host

#define __syncthreads() cuda_host::barrier(__LINE__)
