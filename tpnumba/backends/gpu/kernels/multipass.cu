// Kernels for transforms and syntheses whose grid values do not fit into shared memory: one for each kind of operation,
// launched one after the other.
//
// What is worked on stands in arrays [number][sample], the sample fastest, so that threads that differ in the sample
// read and write neighbours. Every number is written by one thread and sums have a fixed order, so results depend
// neither on chance nor on how samples are shared out; there are no atomics. The tables are written by
// transform/multipass.py; constants and the columns of records come from layout.py and stand before this text. Nothing
// is compiled for one plan. All arrays of the samples that are worked at a time have less than 2^31 numbers together;
// rows of operands and of the result may be further apart.

// As many numbers as a thread makes rows, read at once.
template <typename T, int R>
struct alignas(sizeof(T) * R < 16 ? sizeof(T) * R : 16) Pack {
    T of[R];
};

// Transpose a part of a matrix, at most EDGE rows and columns of it, through shared memory: read(row, column), then
// write(row, column, number) of the transpose. Threads of a warp differ in the column of both.
template <typename T, typename Read, typename Write>
__device__ __forceinline__ void transpose(int rows, int columns, Read read, Write write) {
    extern __shared__ __align__(16) unsigned char shared[];
    T* tile = reinterpret_cast<T*>(shared);
    const int lane = threadIdx.x % EDGE;
    for (int i = threadIdx.x / EDGE; i < EDGE; i += THREADS / EDGE)
        if (lane < columns && i < rows) tile[i * (EDGE + 1) + lane] = read(i, lane);
    __syncthreads();
    for (int i = threadIdx.x / EDGE; i < EDGE; i += THREADS / EDGE)
        if (i < columns && lane < rows) write(i, lane, tile[lane * (EDGE + 1) + i]);
}

// Rows of a matrix, `stride` numbers apart, into an array [column][sample].
template <typename T>
__global__ void __launch_bounds__(THREADS) take_rows(
    const T* __restrict__ rows, long long start, long long stride, T* __restrict__ to, int width, int samples) {
    const int across = (width + EDGE - 1) / EDGE, block = static_cast<int>(blockIdx.x);
    const int column = block % across * EDGE, sample = block / across * EDGE;
    transpose<T>(
        samples - sample, width - column,
        [&](int i, int lane) { return rows[start + (sample + i) * stride + column + lane]; },
        [&](int i, int lane, T number) { to[(column + i) * samples + sample + lane] = number; });
}

// The other way, into rows `width` numbers apart.
template <typename T>
__global__ void __launch_bounds__(THREADS) put_rows(
    const T* __restrict__ from, T* __restrict__ rows, long long start, int width, int samples) {
    const int across = (width + EDGE - 1) / EDGE, block = static_cast<int>(blockIdx.x);
    const int column = block % across * EDGE, sample = block / across * EDGE;
    transpose<T>(
        width - column, samples - sample,
        [&](int i, int lane) { return from[(column + i) * samples + sample + lane]; },
        [&](int i, int lane, T number) {
            rows[start + static_cast<long long>(sample + i) * width + column + lane] = number;
        });
}

// Products with dense matrices: out[to[m] + c step_to] = sum over k of A[m, k] in[from[k] + c step_from],
// for all columns c and samples, which together are the columns of a tile. A thread makes R rows of WIDE columns; its
// columns lie WARP apart, so that the threads of a warp read and write neighbours.
template <typename T, int R>
__global__ void __launch_bounds__(THREADS, BLOCKS) multiply(
    const T* __restrict__ in, T* __restrict__ out, const int* __restrict__ table, const T* __restrict__ coefficients,
    int tasks, int n_tasks, int samples, int add) {
    extern __shared__ __align__(16) unsigned char shared[];
    constexpr int TALL = HIGH * R;
    T* left = reinterpret_cast<T*>(shared);
    T* right = left + DEPTH_AT_ONCE * TALL;
    const int block = static_cast<int>(blockIdx.x);
    const int* task = table + tasks + block % n_tasks * TASK_SIZE;
    const int first = block / n_tasks * TILE_COLUMNS;
    const int columns = task[N_COLUMNS] * samples;
    if (first >= columns) return;
    const int lane = threadIdx.x % WARP, group = threadIdx.x / WARP;
    const int rows = task[ROWS], depth = task[DEPTH], first_row = task[FIRST];
    const T* matrix = coefficients + task[MATRIX];
    int source[WIDE];
    T sum[R][WIDE];
#pragma unroll
    for (int q = 0; q < WIDE; ++q) {
        const int own = first + lane + q * WARP;
        const int column = (own < columns ? own : columns - 1) / samples;
        source[q] = column * task[STEP_FROM] * samples + own - column * samples;
#pragma unroll
        for (int r = 0; r < R; ++r) sum[r][q] = T(0);
    }
    for (int begin = 0; begin < depth; begin += DEPTH_AT_ONCE) {
        for (int i = threadIdx.x; i < DEPTH_AT_ONCE * TALL; i += THREADS) {
            const int row = first_row + i % TALL, k = begin + i / TALL;
            left[i] = row < rows && k < depth ? matrix[k * rows + row] : T(0);
        }
        for (int i = group; i < DEPTH_AT_ONCE; i += HIGH) {
            const bool there = begin + i < depth;
            const int place = there ? table[task[FROM] + begin + i] * samples : 0;
#pragma unroll
            for (int q = 0; q < WIDE; ++q) {
                const bool is_column = there && first + lane + q * WARP < columns;
                right[i * TILE_COLUMNS + lane + q * WARP] = is_column ? in[source[q] + place] : T(0);
            }
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < DEPTH_AT_ONCE; ++k) {
            const Pack<T, R> a = reinterpret_cast<const Pack<T, R>*>(left + k * TALL)[group];
#pragma unroll
            for (int q = 0; q < WIDE; ++q) {
                const T b = right[k * TILE_COLUMNS + lane + q * WARP];
#pragma unroll
                for (int r = 0; r < R; ++r) sum[r][q] += a.of[r] * b;
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int q = 0; q < WIDE; ++q) {
        const int own = first + lane + q * WARP;
        if (own >= columns) continue;
        const int column = own / samples;
        const int to = column * task[STEP_TO] * samples + own - column * samples;
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int row = first_row + group * R + r;
            if (row >= rows) continue;
            const int place = to + table[task[TO] + row] * samples;
            out[place] = add ? out[place] + sum[r][q] : sum[r][q];
        }
    }
}

// A product with a sparse matrix: of row r the terms from begin[r] to begin[r + 1]. A thread makes WIDE samples of it.
template <typename T>
__global__ void __launch_bounds__(THREADS) gather(
    const T* __restrict__ in, T* __restrict__ out, const int* __restrict__ table, const T* __restrict__ coefficients,
    int begin, int places, int values, int rows, int samples, int add) {
    const unsigned across = (samples + WIDE - 1) / WIDE;
    const unsigned task = blockIdx.x * THREADS + threadIdx.x;
    if (task >= rows * across) return;
    const int row = static_cast<int>(task / across), sample = static_cast<int>(task % across);
    T sum[WIDE];
    int own[WIDE];
#pragma unroll
    for (int q = 0; q < WIDE; ++q) {
        sum[q] = T(0);
        own[q] = sample + q * static_cast<int>(across);
    }
    const int last = table[begin + row + 1];
    for (int t = table[begin + row]; t < last; ++t) {
        const T* from = in + table[places + t] * samples;
        const T value = coefficients[values + t];
#pragma unroll
        for (int q = 0; q < WIDE; ++q) sum[q] += value * from[own[q] < samples ? own[q] : sample];
    }
    T* to = out + row * samples;
#pragma unroll
    for (int q = 0; q < WIDE; ++q)
        if (own[q] < samples) to[own[q]] = add ? to[own[q]] + sum[q] : sum[q];
}

// The product of grid values at each point, summed over terms, times the weight of the point's ring. Of an operand that
// is one for all samples (alone) there is one number a point.
template <typename T>
__global__ void __launch_bounds__(THREADS) multiply_pointwise(
    const T* __restrict__ a, int a_alone, const T* __restrict__ b, int b_alone, T* __restrict__ out,
    const int* __restrict__ table, const T* __restrict__ coefficients,
    int terms, int factors, int n_terms, int weights, int rings, int points, int samples) {
    const unsigned task = blockIdx.x * THREADS + threadIdx.x;
    if (task >= static_cast<unsigned>(points) * samples) return;
    const int point = static_cast<int>(task / samples), sample = static_cast<int>(task % samples);
    const int a_pitch = a_alone ? 1 : samples, b_pitch = b_alone ? 1 : samples;
    const T* x = a + point * a_pitch + (a_alone ? 0 : sample);
    const T* y = b + point * b_pitch + (b_alone ? 0 : sample);
    T sum = T(0);
    for (int t = 0; t < n_terms; ++t)
        sum += coefficients[factors + t] * x[table[terms + 2 * t] * a_pitch] * y[table[terms + 2 * t + 1] * b_pitch];
    out[task] = coefficients[weights + point % rings] * sum;
}

// A matrix product for every sample, c[i, k] = scale * sum over j of a[i, j] b[j, k], of n x n matrices; a thread makes
// SQUARE x SQUARE numbers of a sample. Steps are those of rows and columns; c is stored row by row.
template <typename T>
__global__ void __launch_bounds__(THREADS, BLOCKS) multiply_matrices(
    const T* __restrict__ a, int a_alone, int a_i, int a_j, const T* __restrict__ b, int b_alone, int b_j, int b_k,
    T* __restrict__ c, int n, int samples, T scale, int add) {
    const unsigned tiles = (n + SQUARE - 1) / SQUARE;
    const unsigned task = blockIdx.x * THREADS + threadIdx.x;
    if (task >= tiles * tiles * samples) return;
    const int sample = static_cast<int>(task % samples);
    const int i = static_cast<int>(task / samples / tiles) * SQUARE;
    const int k = static_cast<int>(task / samples % tiles) * SQUARE;
    const int a_pitch = a_alone ? 1 : samples, b_pitch = b_alone ? 1 : samples;
    const T* x[SQUARE];
    const T* y[SQUARE];
    T sum[SQUARE][SQUARE];
#pragma unroll
    for (int q = 0; q < SQUARE; ++q) {
        x[q] = a + (i + q < n ? i + q : n - 1) * a_i * a_pitch + (a_alone ? 0 : sample);
        y[q] = b + (k + q < n ? k + q : n - 1) * b_k * b_pitch + (b_alone ? 0 : sample);
#pragma unroll
        for (int r = 0; r < SQUARE; ++r) sum[q][r] = T(0);
    }
    for (int j = 0; j < n; ++j) {
        T right[SQUARE];
#pragma unroll
        for (int r = 0; r < SQUARE; ++r) right[r] = y[r][j * b_j * b_pitch];
#pragma unroll
        for (int q = 0; q < SQUARE; ++q) {
            const T left = x[q][j * a_j * a_pitch];
#pragma unroll
            for (int r = 0; r < SQUARE; ++r) sum[q][r] += left * right[r];
        }
    }
#pragma unroll
    for (int q = 0; q < SQUARE; ++q)
#pragma unroll
        for (int r = 0; r < SQUARE; ++r) {
            if (i + q >= n || k + r >= n) continue;
            T* to = c + ((i + q) * n + k + r) * samples + sample;
            *to = add ? *to + scale * sum[q][r] : scale * sum[q][r];
        }
}

// Add to each number its sum over the samples: WARP threads, each over every WARP-th, then pairs.
template <typename T>
__global__ void __launch_bounds__(THREADS) sum_samples(
    const T* __restrict__ in, T* __restrict__ out, int numbers, int samples) {
    extern __shared__ __align__(16) unsigned char shared[];
    T* sums = reinterpret_cast<T*>(shared);
    const int lane = threadIdx.x % WARP, number = blockIdx.x * HIGH + threadIdx.x / WARP;
    T sum = T(0);
    if (number < numbers)
        for (int sample = lane; sample < samples; sample += WARP) sum += in[number * samples + sample];
    sums[threadIdx.x] = sum;
    for (int half = WARP / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (lane == 0 && number < numbers) out[number] += sums[threadIdx.x];
}
