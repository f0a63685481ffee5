// One kernel that runs any program: tables say what is multiplied, summed and put where.
//
// A block works on a tile of samples. The numbers of a sample stand in the tile's memory (shared memory; for large
// plans a slab of the work buffer), number by number and within a number sample by sample, so that threads that differ
// in the sample read neighbours. Inputs are loaded row by row into the tile, operations follow each other with a
// barrier in between, and the results are stored row by row. Every number is written by one thread and sums have a
// fixed order, so results do not depend on chance; there are no atomics.
//
// The tables are written by tile/tables.py; constants and the columns of records come from layout.py and stand before
// this text. Where UNROLLED is defined, the terms of a small plan stand there as code, in add_terms, and not in the
// tables.

#ifdef UNROLLED
constexpr int LEAST_FLOAT_BLOCKS = UNROLLED_FLOAT_BLOCKS;
#else
constexpr int LEAST_FLOAT_BLOCKS = FLOAT_BLOCKS;
#endif

// The samples that a block works on at a time.
template <typename T>
struct Tile {
    T* at;
    int shift;         // log2 of their number
    int valid;         // those that there are
    const T* direct;   // the operand that is not in the tile: its first row, and the step between rows
    long long stride;
};

// As many coefficients as one thread has sums, read at once; and places with their steps.
template <typename T, int R>
struct alignas(sizeof(T) * R < 16 ? sizeof(T) * R : 16) Pack {
    T of[R];
};

// Terms that are read at once: in shared memory the two places of one have 16 bits each, else 32.
template <bool IN_SHARED>
struct Terms {
    static constexpr int COUNT = IN_SHARED ? SHARED_TERMS : GLOBAL_TERMS;
    int4 words;
    __device__ __forceinline__ int word(int i) const {
        return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
    }
    __device__ __forceinline__ int x(int i) const {
        return IN_SHARED ? word(i) & ((1 << PLACE_BITS) - 1) : word(2 * i);
    }
    __device__ __forceinline__ int y(int i) const {
        return IN_SHARED ? static_cast<int>(static_cast<unsigned>(word(i)) >> PLACE_BITS) : word(2 * i + 1);
    }
};

// Add the terms of a part, for one pair of channels, to R sums: those of the tables, or code of the plan's own.
template <typename T, int R, bool IN_SHARED, bool IS_PRODUCT>
__device__ __forceinline__ void sum_terms(
    const int4& part, const int4* terms, const Pack<T, R>* packs, const T* x, const T* y, T (&sum)[R]) {
#ifdef UNROLLED
    add_terms<IS_PRODUCT>(part.y, x, y, sum);
#else
    constexpr int COUNT = Terms<IN_SHARED>::COUNT;
    for (int t = part.y; t < part.z; t += COUNT) {
        const Terms<IN_SHARED> some = {terms[t / COUNT]};
#pragma unroll(sizeof(T) * R > 32 ? COUNT / 2 : COUNT)
        for (int q = 0; q < COUNT; ++q) {
            if (t + q >= part.z) break;
            const Pack<T, R> pack = packs[t + q];
            T value = x[some.x(q)];
            if (IS_PRODUCT) value *= y[some.y(q)];
#pragma unroll
            for (int r = 0; r < R; ++r) sum[r] += pack.of[r] * value;
        }
    }
#endif
}

// R results at a time, each a sum of terms x (or x y), over channels and parts, times a factor.
//
// A row is [its first task, its parts, their end, -, (place, step from channel to channel) R times]; a part [list,
// terms, their end, -, the same of factors]. A list says where x, y and the factor stand for the c-th pair of channels:
// start + channel * step + c * another, with the number of pairs; or, if that is negative, in a table.
template <typename T, int R, bool IN_SHARED, bool IS_PRODUCT>
__device__ __forceinline__ void evaluate_sums(
    const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    constexpr int RECORD = (HEAD + 2 * R + QUAD - 1) / QUAD * QUAD;
    const int tasks = op[N_TASKS] << tile.shift;
    const int factor = op[FACTOR];
    const int* rows = table + op[ROWS];
    const int* parts = table + op[PARTS];
    const int4* lists = reinterpret_cast<const int4*>(table + op[LISTS]);
    const int4* terms = reinterpret_cast<const int4*>(table + op[TERMS]);
    const Pack<T, R>* packs = reinterpret_cast<const Pack<T, R>*>(coefficients + op[COEFFICIENTS]);
    for (int task = threadIdx.x; task < tasks; task += THREADS) {
        const int sample = task & ((1 << tile.shift) - 1);
        if (sample >= tile.valid) continue;
        const int place = task >> tile.shift;
        const int* row = rows + table[op[TASKS] + place] * RECORD;
        const int4 head = *reinterpret_cast<const int4*>(row);
        const int channel = place - head.x;
        T total[R];
#pragma unroll
        for (int r = 0; r < R; ++r) total[r] = T(0);
        for (int p = head.y; p < head.z; ++p) {
            const int4 part = *reinterpret_cast<const int4*>(parts + p * RECORD);
            const int4 at_x = lists[LIST_QUADS * part.x], at_y = lists[LIST_QUADS * part.x + 1];
            const bool listed = at_x.w < 0;
            const int last = listed ? table[at_y.w + channel + 1] : at_x.w;
            for (int c = listed ? table[at_y.w + channel] : 0; c < last; ++c) {
                int from_x = at_x.x + channel * at_x.y + c * at_x.z, from_y = at_y.x + channel * at_y.y + c * at_y.z;
                int from_factor = 0;
                if (listed || factor != NO_FACTOR) {
                    const int4 at_f = lists[LIST_QUADS * part.x + 2];
                    from_factor = at_f.x + channel * at_f.y + c * at_f.z;
                    if (listed) {
                        const int4 pair = *reinterpret_cast<const int4*>(table + at_f.w + QUAD * c);
                        from_x = pair.x, from_y = pair.y, from_factor = pair.z;
                    }
                }
                const T* x = tile.at + from_x + sample;
                const T* y = tile.at + from_y + sample;
                T sum[R];
#pragma unroll
                for (int r = 0; r < R; ++r) sum[r] = T(0);
                sum_terms<T, R, IN_SHARED, IS_PRODUCT>(part, terms, packs, x, y, sum);
                if (factor == NO_FACTOR) {
#pragma unroll
                    for (int r = 0; r < R; ++r) total[r] += sum[r];
                    continue;
                }
                const Pack<int, 2 * R> factors = *reinterpret_cast<const Pack<int, 2 * R>*>(parts + p * RECORD + HEAD);
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    T by = T(1);
                    if (factors.of[2 * r] >= 0) {
                        const int at = factors.of[2 * r] + from_factor * factors.of[2 * r + 1];
                        by = factor == FROM_TILE ? tile.at[at + sample] : tile.direct[sample * tile.stride + at];
                    }
                    total[r] += by * sum[r];
                }
            }
        }
        const Pack<int, 2 * R> places = *reinterpret_cast<const Pack<int, 2 * R>*>(row + HEAD);
#pragma unroll
        for (int r = 0; r < R; ++r) {
            if (places.of[2 * r] < 0) continue;
            T* to = tile.at + places.of[2 * r] + channel * places.of[2 * r + 1] + sample;
            *to = add ? *to + total[r] : total[r];
        }
    }
}

#include "matrix_products.cuh"

#include "dense.cuh"

// Calls visit(sample, column) for all numbers of a tile, a warp for LOAD_SAMPLES samples of LOAD_COLUMNS columns at a
// time: whole sectors of the device's memory, and few conflicts of banks where the samples of a tile follow each other
// without padding.
template <typename Visit>
__device__ __forceinline__ void in_blocks(int width, int valid, Visit visit) {
    constexpr int BLOCK = LOAD_SAMPLES * LOAD_COLUMNS;
    const int across = (width + LOAD_COLUMNS - 1) / LOAD_COLUMNS, down = (valid + LOAD_SAMPLES - 1) / LOAD_SAMPLES;
#pragma unroll 1
    for (int i = threadIdx.x; i < across * down * BLOCK; i += THREADS) {
        const int block = i / BLOCK, place = i % BLOCK;
        const int sample = block / across * LOAD_SAMPLES + place / LOAD_COLUMNS;
        const int column = block % across * LOAD_COLUMNS + place % LOAD_COLUMNS;
        if (sample < valid && column < width) visit(sample, column);
    }
}

// The same along rows, one after the other.
template <typename Visit>
__device__ __forceinline__ void along_rows(int width, int valid, Visit visit) {
    const int whole = THREADS / width, rest = THREADS - whole * width;
    int sample = threadIdx.x / width, column = threadIdx.x - sample * width;
    while (sample < valid) {
        visit(sample, column);
        sample += whole;
        column += rest;
        if (column >= width) {
            column -= width;
            ++sample;
        }
    }
}

// The same by the way that is better for the tile.
template <typename T, typename Visit>
__device__ __forceinline__ void for_numbers(int width, int pitch, const Tile<T>& tile, Visit visit) {
    if (width == 0) return;
    if (pitch == 1 << tile.shift && pitch >= LOAD_SAMPLES)
        in_blocks(width, tile.valid, visit);
    else
        along_rows(width, tile.valid, visit);
}

// Rows of a matrix, all columns or some, into the tile.
template <typename T>
__device__ __forceinline__ void load(
    const T* rows, long long stride, const int* columns, int width, T* at, int pitch, const Tile<T>& tile) {
    for_numbers(width, pitch, tile, [=](int sample, int column) {
        at[column * pitch + sample] = rows[sample * stride + (columns ? columns[column] : column)];
    });
}

// The other way, into the columns of the result that the tile has.
template <typename T>
__device__ __forceinline__ void store(
    T* rows, int stride, const int* columns, int width, const T* at, int pitch, const Tile<T>& tile) {
    for_numbers(width, pitch, tile, [=](int sample, int column) {
        rows[static_cast<long long>(sample) * stride + columns[column]] = at[column * pitch + sample];
    });
}

// An input's rows from `first` on: into the tile where the phase has a place for them, or left where they stand.
template <typename T>
__device__ __forceinline__ void take(
    const T* rows, long long stride, int i, int direct, const int* table, const int* phase, long long first,
    Tile<T>& tile) {
    rows += first * stride;
    if (direct == i) {
        tile.direct = rows;
        tile.stride = stride;
    }
    if (phase[LOADS + i] < 0) return;
    const int* columns = phase[PICKED + i] < 0 ? nullptr : table + phase[PICKED + i];
    load(rows, stride, columns, phase[WIDTHS + i], tile.at + phase[LOADS + i], table[PITCH], tile);
}

// Evaluate a program on n samples.
//
// in0, in1, in2: the rows of the inputs; stride: numbers from one row to the next, 0 where all samples share a row.
// direct: the input that is read where it stands, or -1. out: the rows of the result; if summed, a row for each block
// along x, the sum of its samples. work: for each block `slab` numbers, where the tile does not fit into shared memory.
// gridDim.y is the number of sections: each makes some columns of the result. R: results that a thread makes at a time.
// KINDS: a bit for each kind of operation that the program has.
template <typename T, int R, bool IN_SHARED, int KINDS>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 4 ? LEAST_FLOAT_BLOCKS : BLOCKS) evaluate(
    const T* __restrict__ in0, const T* __restrict__ in1, const T* __restrict__ in2,
    long long stride0, long long stride1, long long stride2, int direct,
    T* __restrict__ out, const int* __restrict__ table, const T* __restrict__ coefficients,
    T* work, long long slab, long long n, int summed) {
    extern __shared__ __align__(16) unsigned char shared[];
    Tile<T> tile = {};
    tile.at = IN_SHARED ? reinterpret_cast<T*>(shared)
                        : work + (blockIdx.y * static_cast<long long>(gridDim.x) + blockIdx.x) * slab;
    tile.shift = table[SHIFT];
    const int samples = 1 << tile.shift;
    const int* section = table + SECTIONS_BEGIN + blockIdx.y * SECTION_SIZE;
    const int* columns = table + section[COLUMNS];
    T* outputs = tile.at + section[OUTPUT];
    bool zero = summed || section[ZERO];
    for (long long first = static_cast<long long>(blockIdx.x) << tile.shift; first < n;
         first += static_cast<long long>(gridDim.x) << tile.shift) {
        tile.valid = n - first < samples ? static_cast<int>(n - first) : samples;
        if (zero)
            for (int k = threadIdx.x; k < section[N_OUTPUTS] * table[PITCH]; k += THREADS) outputs[k] = T(0);
        if (summed) zero = false;
        for (const int* phase = table + section[PHASES]; phase < table + section[PHASES_END]; phase += PHASE_SIZE) {
            take(in0, stride0, 0, direct, table, phase, first, tile);
            take(in1, stride1, 1, direct, table, phase, first, tile);
            take(in2, stride2, 2, direct, table, phase, first, tile);
            __syncthreads();
            for (int place = phase[OPS]; place < phase[OPS_END]; place += OP_SIZE) {
                const int* op = table + place;
                const bool add = op[ADD] || (summed && op[TO_OUTPUT]);
                if ((KINDS & 1 << LINEAR) && op[KIND] == LINEAR)
                    evaluate_sums<T, R, IN_SHARED, false>(op, table, coefficients, tile, add);
                if ((KINDS & 1 << PRODUCT) && op[KIND] == PRODUCT)
                    evaluate_sums<T, R, IN_SHARED, true>(op, table, coefficients, tile, add);
                if ((KINDS & 1 << MATRIX) && op[KIND] == MATRIX) evaluate_matrix(op, table, coefficients, tile, add);
                if ((KINDS & 1 << DENSE) && op[KIND] == DENSE) evaluate_shape(op, table, coefficients, tile, add);
                __syncthreads();
            }
        }
        if (!summed) {
            store(
                out + first * table[WIDTH], table[WIDTH], columns, section[N_OUTPUTS], outputs, table[PITCH], tile);
            __syncthreads();
        }
    }
    if (summed)
        for (int k = threadIdx.x; k < section[N_OUTPUTS]; k += THREADS) {
            T sum = T(0);
            for (int sample = 0; sample < samples; ++sample) sum += outputs[k * table[PITCH] + sample];
            out[static_cast<long long>(blockIdx.x) * table[WIDTH] + columns[k]] = sum;
        }
}

// The sum of the rows of a matrix (count, width), in their order.
template <typename T>
__global__ void __launch_bounds__(THREADS) add_rows(
    const T* __restrict__ rows, T* __restrict__ out, int count, int width) {
    const int column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= width) return;
    T sum = T(0);
    for (int row = 0; row < count; ++row) sum += rows[static_cast<long long>(row) * width + column];
    out[column] = sum;
}
