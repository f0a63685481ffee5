// One kernel that runs any program: tables say what is multiplied, summed and put where.
//
// A block works on a tile of samples. The numbers of a sample stand in the tile's memory (shared memory; for large plans
// a slab of the work buffer), number by number and within a number sample by sample, so that threads that differ in the
// sample read neighbours. Inputs are loaded row by row into the tile, operations follow each other with a barrier in
// between, and the results are stored row by row. Every number is written by one thread and sums have a fixed order, so
// results do not depend on chance; there are no atomics.
//
// The layout of the tables is that of tables.py. Where UNROLLED is defined, the terms of a small plan stand before this
// source as code, in add_terms, and not in the tables.

constexpr int THREADS = 256;
// On a multiprocessor, at least: so many that they leave enough registers for none to be spilled.
#ifdef UNROLLED
constexpr int BLOCKS = 2, FLOAT_BLOCKS = 3;
#else
constexpr int BLOCKS = 2, FLOAT_BLOCKS = 2;
#endif
constexpr int INPUTS = 3;

// The header, and the records of chunks and operations: names of their places.
enum { SHIFT, PITCH, WIDTH, SIZES, CHUNKS_BEGIN = SIZES + INPUTS };
enum { OPS, OPS_END, SLOTS, N_SLOTS, COLUMNS, ZERO, LOADS, CHUNK_SIZE = LOADS + INPUTS };
enum { KIND, ADD, TO_SLOTS, COEFFICIENTS, FACTOR, BODY, OP_SIZE = 20 };
enum { N_TASKS = BODY, TASKS, ROWS, PARTS, POINTERS, COMBINATIONS, TERMS };
enum { ALONG = 1, TOGETHER = 2, IS_WIDE = 4, TURNED = 8 };  // ways to share a matrix product
enum { LINEAR, PRODUCT, MATRIX };
enum { NO_FACTOR = -2, FROM_TILE = -1 };  // from 0 on: from this input, where it stands in global memory

// The samples that a block works on at a time.
template <typename T>
struct Tile {
    T* at;
    int shift;         // log2 of their number
    int valid;         // those that there are
    const T* direct;   // the operand that is not in the tile: its first row, and the step between rows
    long long stride;
};

// As many coefficients as one thread has sums, read at once.
template <typename T, int R>
struct alignas(sizeof(T) * R < 16 ? sizeof(T) * R : 16) Pack {
    T of[R];
};

// R results at a time, each a sum of terms x (or x y), over channels and parts, times a factor.
template <typename T, int R, bool IS_PRODUCT>
__device__ __forceinline__ void run_rows(const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    constexpr int RECORD = 3 + 2 * R;
    const int tasks = op[N_TASKS] << tile.shift;
    const int factor = op[FACTOR];
    const int* rows = table + op[ROWS];
    const int* parts = table + op[PARTS];
    const int* pointers = table + op[POINTERS];
    const int* combinations = table + op[COMBINATIONS];
    const int2* terms = reinterpret_cast<const int2*>(table + op[TERMS]);
    const Pack<T, R>* packs = reinterpret_cast<const Pack<T, R>*>(coefficients + op[COEFFICIENTS]);
    for (int task = threadIdx.x; task < tasks; task += THREADS) {
        const int sample = task & ((1 << tile.shift) - 1);
        if (sample >= tile.valid) continue;
        const int place = task >> tile.shift;
        const int* row = rows + table[op[TASKS] + place] * RECORD;
        const int channel = place - row[0];
        T total[R];
#pragma unroll
        for (int r = 0; r < R; ++r) total[r] = T(0);
        for (int p = row[1]; p < row[2]; ++p) {
            const int* part = parts + p * RECORD;
            const int last = pointers[part[0] + channel + 1];
            for (int c = pointers[part[0] + channel]; c < last; ++c) {
                const int* combination = combinations + 3 * c;
                const T* x = tile.at + combination[0] + sample;
                const T* y = tile.at + combination[1] + sample;
                T sum[R];
#pragma unroll
                for (int r = 0; r < R; ++r) sum[r] = T(0);
#ifdef UNROLLED
                add_terms<IS_PRODUCT>(part[1], x, y, sum);
#else
#pragma unroll 2
                for (int t = part[1]; t < part[2]; ++t) {
                    const int2 term = terms[t];
                    const Pack<T, R> pack = packs[t];
                    T value = x[term.x];
                    if (IS_PRODUCT) value *= y[term.y];
#pragma unroll
                    for (int r = 0; r < R; ++r) sum[r] += pack.of[r] * value;
                }
#endif
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    T by = T(1);
                    if (factor != NO_FACTOR && part[3 + 2 * r] >= 0) {
                        const int at = part[3 + 2 * r] + combination[2] * part[4 + 2 * r];
                        by = factor == FROM_TILE ? tile.at[at + sample] : tile.direct[sample * tile.stride + at];
                    }
                    total[r] += by * sum[r];
                }
            }
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
            if (row[3 + 2 * r] < 0) continue;
            T* to = tile.at + row[3 + 2 * r] + channel * row[4 + 2 * r] + sample;
            *to = add ? *to + total[r] : total[r];
        }
    }
}

// A small matrix product for every sample, c[i, k] = sum over j of a[i, j] b[j, k]: extents; places, with their steps; and
// how threads share it, see matrices.py.
struct alignas(16) Product {
    int n_i, n_j, n_k, slices, a, a_i, a_j, groups_i, b, b_j, b_k, groups_k, c, c_i, c_k, way;
};

// Up to I rows and K columns of the result a thread; IS_ALONG: four j at a time. Sums may be cut into slices, which
// threads of their own make (their number is such that each has one task at most), and which are added in their order.
template <typename T, int I, int K, bool IS_ALONG>
__device__ __forceinline__ void multiply(const Product& m, const T* a, long long a_sample, Tile<T> tile, T scale, bool add) {
    constexpr int WIDE = 4;
    using Wide = Pack<T, WIDE>;
    const int tasks = (m.groups_i * m.groups_k) << tile.shift;
    const int threads = THREADS / m.slices, slice = threadIdx.x / threads;
    const int length = IS_ALONG ? (m.n_j + WIDE - 1) / WIDE : m.n_j;
    const bool together = m.way & TOGETHER;
    int task = threadIdx.x - slice * threads;
    do {
        const int sample = task & ((1 << tile.shift) - 1), place = task >> tile.shift;
        const int k = place / m.groups_i, group = place - k * m.groups_i;
        const int i = together ? group * WIDE : group, next_i = together ? 1 : m.groups_i;
        const bool works = task < tasks && sample < tile.valid;
        T sum[I][K];
#pragma unroll
        for (int q = 0; q < I; ++q)
#pragma unroll
            for (int r = 0; r < K; ++r) sum[q][r] = T(0);
        if (works) {
            const T* left = a + sample * a_sample + i * m.a_i;
            const T* right = tile.at + m.b + k * m.b_k + sample;
            const bool wide = (m.way & IS_WIDE) && reinterpret_cast<size_t>(left) % alignof(Wide) == 0;
            int at = (slice + (m.way & TURNED ? group : 0)) % length;
#pragma unroll 2
            for (int step = slice; step < length; step += m.slices) {
                if (IS_ALONG) {
                    const int j = at * WIDE;
                    T x[I][WIDE];
#pragma unroll
                    for (int q = 0; q < I; ++q) {
                        const T* from = left + q * next_i * m.a_i + j * m.a_j;
                        if (wide && i + q * next_i < m.n_i) {
                            const Wide four = *reinterpret_cast<const Wide*>(from);
#pragma unroll
                            for (int p = 0; p < WIDE; ++p) x[q][p] = four.of[p];
                        } else {
#pragma unroll
                            for (int p = 0; p < WIDE; ++p)
                                x[q][p] = i + q * next_i < m.n_i && j + p < m.n_j ? from[p * m.a_j] : T(0);
                        }
                    }
#pragma unroll
                    for (int p = 0; p < WIDE; ++p) {
                        if (j + p >= m.n_j) break;
#pragma unroll
                        for (int r = 0; r < K; ++r) {
                            if (k + r * m.groups_k >= m.n_k) break;
                            const T y = right[(j + p) * m.b_j + r * m.groups_k * m.b_k];
#pragma unroll
                            for (int q = 0; q < I; ++q) sum[q][r] += x[q][p] * y;
                        }
                    }
                } else {
                    const T* from = left + at * m.a_j;
                    T x[I];
                    if (together && wide) {
                        const Wide four = *reinterpret_cast<const Wide*>(from);
#pragma unroll
                        for (int q = 0; q < I; ++q) x[q] = four.of[q];
                    } else {
#pragma unroll
                        for (int q = 0; q < I; ++q) x[q] = i + q * next_i < m.n_i ? from[q * next_i * m.a_i] : T(0);
                    }
#pragma unroll
                    for (int r = 0; r < K; ++r) {
                        if (k + r * m.groups_k >= m.n_k) break;
                        const T y = right[at * m.b_j + r * m.groups_k * m.b_k];
#pragma unroll
                        for (int q = 0; q < I; ++q) sum[q][r] += x[q] * y;
                    }
                }
                at += m.slices;
                if (at >= length) at -= length;
            }
        }
        for (int turn = 0; turn < m.slices; ++turn) {
            if (turn > 0) __syncthreads();
            if (!works || turn != slice) continue;
            T* to = tile.at + m.c + i * m.c_i + k * m.c_k + sample;
#pragma unroll
            for (int q = 0; q < I; ++q)
#pragma unroll
                for (int r = 0; r < K; ++r) {
                    if (i + q * next_i >= m.n_i || k + r * m.groups_k >= m.n_k) continue;
                    T* own = to + q * next_i * m.c_i + r * m.groups_k * m.c_k;
                    *own = add || turn > 0 ? *own + scale * sum[q][r] : scale * sum[q][r];
                }
        }
        task += threads;
    } while (task < tasks);
}

// A matrix product by the way that its record names.
template <typename T>
__device__ __forceinline__ void run_matrix(const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    const Product m = *reinterpret_cast<const Product*>(table + op[BODY]);
    const T scale = coefficients[op[COEFFICIENTS]];
    const bool in_tile = op[FACTOR] == FROM_TILE;
    const T* a = (in_tile ? tile.at : tile.direct) + m.a;
    const long long a_sample = in_tile ? 1 : tile.stride;
    if (m.way & ALONG)
        multiply<T, 2, 8, true>(m, a, a_sample, tile, scale, add);
    else
        multiply<T, 4, 4, false>(m, a, a_sample, tile, scale, add);
}

// Rows of a matrix (samples, width) into the tile, lane after lane along a row.
template <typename T>
__device__ __forceinline__ void load(const T* rows, long long stride, int width, T* at, int pitch, int valid) {
    if (width == 0) return;
    const int whole = THREADS / width, rest = THREADS - whole * width;
    int sample = threadIdx.x / width, column = threadIdx.x - sample * width;
    while (sample < valid) {
        at[column * pitch + sample] = rows[sample * stride + column];
        sample += whole;
        column += rest;
        if (column >= width) {
            column -= width;
            ++sample;
        }
    }
}

// The other way, into the columns of the result that the tile has.
template <typename T>
__device__ __forceinline__ void store(T* rows, int stride, const int* columns, int width, const T* at, int pitch, int valid) {
    if (width == 0) return;
    const int whole = THREADS / width, rest = THREADS - whole * width;
    int sample = threadIdx.x / width, column = threadIdx.x - sample * width;
    while (sample < valid) {
        rows[static_cast<long long>(sample) * stride + columns[column]] = at[column * pitch + sample];
        sample += whole;
        column += rest;
        if (column >= width) {
            column -= width;
            ++sample;
        }
    }
}

// An input's rows from `first` on: into the tile where the chunk has a place for them, or left where they stand.
template <typename T>
__device__ __forceinline__ void take(
    const T* rows, long long stride, int i, int direct, const int* table, const int* chunk, long long first, Tile<T>& tile) {
    rows += first * stride;
    if (direct == i) {
        tile.direct = rows;
        tile.stride = stride;
    }
    if (chunk[LOADS + i] >= 0)
        load(rows, stride, table[SIZES + i], tile.at + chunk[LOADS + i], table[PITCH], tile.valid);
}

// Evaluate a program on n samples.
//
// in0, in1, in2: the rows of the inputs; stride: numbers from one row to the next, 0 where all samples share a row.
// direct: the input that is read where it stands, or -1. out: the rows of the result; if summed, a row for each block
// along x, the sum of its samples. work: for each block `slab` numbers, where the tile does not fit into shared memory.
// gridDim.y is the number of chunks: each makes some columns of the result. R: results that a thread makes at a time.
template <typename T, int R, bool IN_SHARED>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 4 ? FLOAT_BLOCKS : BLOCKS) evaluate(
    const T* __restrict__ in0, const T* __restrict__ in1, const T* __restrict__ in2,
    long long stride0, long long stride1, long long stride2, int direct,
    T* __restrict__ out, const int* __restrict__ table, const T* __restrict__ coefficients,
    T* work, long long slab, long long n, int summed) {
    extern __shared__ __align__(16) unsigned char shared[];
    Tile<T> tile = {};
    tile.at = IN_SHARED ? reinterpret_cast<T*>(shared) : work + (blockIdx.y * static_cast<long long>(gridDim.x) + blockIdx.x) * slab;
    tile.shift = table[SHIFT];
    const int samples = 1 << tile.shift;
    const int* chunk = table + CHUNKS_BEGIN + blockIdx.y * CHUNK_SIZE;
    const int* columns = table + chunk[COLUMNS];
    T* slots = tile.at + chunk[SLOTS];
    bool zero = summed || chunk[ZERO];
    for (long long first = static_cast<long long>(blockIdx.x) << tile.shift; first < n;
         first += static_cast<long long>(gridDim.x) << tile.shift) {
        tile.valid = n - first < samples ? static_cast<int>(n - first) : samples;
        take(in0, stride0, 0, direct, table, chunk, first, tile);
        take(in1, stride1, 1, direct, table, chunk, first, tile);
        take(in2, stride2, 2, direct, table, chunk, first, tile);
        if (zero)
            for (int k = threadIdx.x; k < chunk[N_SLOTS] * table[PITCH]; k += THREADS) slots[k] = T(0);
        if (summed) zero = false;
        __syncthreads();
        for (int place = chunk[OPS]; place < chunk[OPS_END]; place += OP_SIZE) {
            const int* op = table + place;
            const bool add = op[ADD] || (summed && op[TO_SLOTS]);
            if (op[KIND] == MATRIX)
                run_matrix(op, table, coefficients, tile, add);
            else if (op[KIND] == PRODUCT)
                run_rows<T, R, true>(op, table, coefficients, tile, add);
            else
                run_rows<T, R, false>(op, table, coefficients, tile, add);
            __syncthreads();
        }
        if (!summed) {
            store(out + first * table[WIDTH], table[WIDTH], columns, chunk[N_SLOTS], slots, table[PITCH], tile.valid);
            __syncthreads();
        }
    }
    if (summed)
        for (int slot = threadIdx.x; slot < chunk[N_SLOTS]; slot += THREADS) {
            T sum = T(0);
            for (int sample = 0; sample < samples; ++sample) sum += slots[slot * table[PITCH] + sample];
            out[static_cast<long long>(blockIdx.x) * table[WIDTH] + columns[slot]] = sum;
        }
}

// The sum of the rows of a matrix (count, width), in their order.
template <typename T>
__global__ void __launch_bounds__(THREADS) add_rows(const T* __restrict__ rows, T* __restrict__ out, int count, int width) {
    const int column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= width) return;
    T sum = T(0);
    for (int row = 0; row < count; ++row) sum += rows[static_cast<long long>(row) * width + column];
    out[column] = sum;
}
