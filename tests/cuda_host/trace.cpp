// What the threads of each warp read and write at the same time, and how many steps of the memory that takes.
//
// The kernel is compiled with the hooks of the thread sanitizer, and these are what it calls in place of the
// sanitizer's. Threads of a warp are taken to be at the same access when they are there for the same time: the n-th
// execution of one instruction. That is so unless branches diverge.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace {

constexpr uint64_t WARP = 32, SECTOR = 32, WORD = 4, BANKS = 32;

struct Access {
    uint64_t site, time, address;
    uint32_t warp, size;
};
struct Total {  // of one instruction, in one kind of memory
    uint64_t requests, bytes, steps, least;
};

int thread = -1;  // none runs
uint64_t shared_begin, shared_end, stack_begin, stack_end;
std::vector<Access> accesses;
std::vector<std::unordered_map<uint64_t, uint64_t>> times(1024);  // of each thread, by instruction
std::map<std::pair<uint64_t, bool>, Total> totals;  // by instruction, and whether the memory is shared

void note(const void* pointer, uint32_t size, uint64_t site) {
    const uint64_t address = reinterpret_cast<uint64_t>(pointer);
    if (thread < 0 || (address >= stack_begin && address < stack_end)) return;
    accesses.push_back({site, times[thread][site]++, address, static_cast<uint32_t>(thread / WARP), size});
}

// Distinct units of memory that a request touches.
template <typename Map>
size_t distinct(const Access* begin, const Access* end, uint64_t unit, Map&& visit) {
    std::vector<uint64_t> found;
    for (const Access* a = begin; a != end; ++a)
        for (uint64_t at = a->address / unit; at <= (a->address + a->size - 1) / unit; ++at) found.push_back(at);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    for (uint64_t at : found) visit(at);
    return found.size();
}

void count(const Access* begin, const Access* end) {
    const bool shared = begin->address >= shared_begin && begin->address < shared_end;
    Total& total = totals[{begin->site, shared}];
    ++total.requests;
    uint64_t bytes = WORD * distinct(begin, end, WORD, [](uint64_t) {});
    total.bytes += bytes;
    if (shared) {
        // The banks serve a word each at a time; requests of 8 and 16 bytes are served by halves and quarters of a warp.
        const size_t lanes = WARP * WORD / std::max<uint64_t>(WORD, begin->size);
        for (const Access* part = begin; part < end; part += lanes) {
            uint64_t in_bank[BANKS] = {};
            const Access* last = std::min(end, part + lanes);
            distinct(part, last, WORD, [&](uint64_t word) { ++in_bank[word % BANKS]; });
            total.steps += *std::max_element(in_bank, in_bank + BANKS);
            ++total.least;
        }
    } else {
        total.steps += distinct(begin, end, SECTOR, [](uint64_t) {});
        total.least += (bytes + SECTOR - 1) / SECTOR;
    }
}

}  // namespace

extern "C" {

void trace_shared(const void* memory, size_t bytes) {
    shared_begin = reinterpret_cast<uint64_t>(memory), shared_end = shared_begin + bytes;
}

// A thread runs on, or none does. Its stack is where what it keeps in registers stands.
void trace_thread(int place, const void* stack, size_t bytes) {
    thread = place;
    stack_begin = reinterpret_cast<uint64_t>(stack), stack_end = stack_begin + bytes;
}

// A block is done.
void trace_block() {
    std::stable_sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) {
        return std::tie(a.site, a.warp, a.time) < std::tie(b.site, b.warp, b.time);
    });
    for (size_t begin = 0, end; begin < accesses.size(); begin = end) {
        const Access& first = accesses[begin];
        for (end = begin; end < accesses.size() && accesses[end].site == first.site && accesses[end].warp == first.warp &&
                          accesses[end].time == first.time;)
            ++end;
        count(accesses.data() + begin, accesses.data() + end);
    }
    accesses.clear();
    for (auto& own : times) own.clear();
}

// The totals, six numbers each: the place in the library, whether shared, requests, bytes, steps, least steps; forgotten when read.
size_t trace_totals(uint64_t* to, size_t room) {
    size_t number = 0;
    Dl_info own;
    dladdr(reinterpret_cast<void*>(&trace_block), &own);
    for (const auto& [key, total] : totals) {
        if (number == room) break;
        const uint64_t row[] = {key.first - reinterpret_cast<uint64_t>(own.dli_fbase), key.second, total.requests, total.bytes, total.steps, total.least};
        std::memcpy(to + 6 * number++, row, sizeof row);
    }
    const size_t found = totals.size();
    if (to) totals.clear();
    return found;
}

#define HOOK(name, size) \
    void __tsan_##name(void* at) { note(at, size, reinterpret_cast<uint64_t>(__builtin_return_address(0))); }
HOOK(read1, 1) HOOK(read2, 2) HOOK(read4, 4) HOOK(read8, 8) HOOK(read16, 16)
HOOK(write1, 1) HOOK(write2, 2) HOOK(write4, 4) HOOK(write8, 8) HOOK(write16, 16)
HOOK(unaligned_read2, 2) HOOK(unaligned_read4, 4) HOOK(unaligned_read8, 8) HOOK(unaligned_read16, 16)
HOOK(unaligned_write2, 2) HOOK(unaligned_write4, 4) HOOK(unaligned_write8, 8) HOOK(unaligned_write16, 16)
void __tsan_read_range(void* at, size_t size) { note(at, size, reinterpret_cast<uint64_t>(__builtin_return_address(0))); }
void __tsan_write_range(void* at, size_t size) { note(at, size, reinterpret_cast<uint64_t>(__builtin_return_address(0))); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
