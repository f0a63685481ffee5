// A small matrix product for every sample, c[i, k] = sum over j of a[i, j] b[j, k]: extents; places, with their steps;
// and how threads share it, see tile/matrix_products.py.
struct alignas(16) Product {
    int PRODUCT_FIELDS;
};

// Store what a thread has made, or add it to what is there: I rows, `next_i` apart, and K columns.
template <typename T, int I, int K>
__device__ __forceinline__ void put_products(
    const Product& m, T* to, int i, int next_i, int k, T scale, const T (&sum)[I][K], bool add) {
#pragma unroll
    for (int q = 0; q < I; ++q)
#pragma unroll
        for (int r = 0; r < K; ++r) {
            if (i + q * next_i >= m.n_i || k + r * m.groups_k >= m.n_k) continue;
            T* own = to + q * next_i * m.c_i + r * m.groups_k * m.c_k;
            *own = add ? *own + scale * sum[q][r] : scale * sum[q][r];
        }
}

// Longer than our functions should be: with its sums in functions of their own, compilers unroll them differently.
//
// Up to I rows and K columns of the result a thread; IS_ALONG: four j at a time. Sums may be cut into splits, which
// threads of their own make (their number is such that each has one task at most), and which are added in their order.
template <typename T, int I, int K, bool IS_ALONG>
__device__ __forceinline__ void multiply(
    const Product& m, const T* a, long long a_sample, Tile<T> tile, T scale, bool add) {
    constexpr int WIDE = MATRIX_WIDE;
    using Wide = Pack<T, WIDE>;
    const int tasks = (m.groups_i * m.groups_k) << tile.shift;
    const int threads = THREADS / m.splits, split = threadIdx.x / threads;
    const int length = IS_ALONG ? (m.n_j + WIDE - 1) / WIDE : m.n_j;
    const bool together = m.sharing & TOGETHER;
    int task = threadIdx.x - split * threads;
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
            const bool wide = (m.sharing & IS_WIDE) && reinterpret_cast<size_t>(left) % alignof(Wide) == 0;
            int at = (split + (m.sharing & TURNED ? group : 0)) % length;
#pragma unroll 2
            for (int step = split; step < length; step += m.splits) {
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
                at += m.splits;
                if (at >= length) at -= length;
            }
        }
        for (int turn = 0; turn < m.splits; ++turn) {
            if (turn > 0) __syncthreads();
            if (!works || turn != split) continue;
            T* to = tile.at + m.c + i * m.c_i + k * m.c_k + sample;
            put_products<T, I, K>(m, to, i, next_i, k, scale, sum, add || turn > 0);
        }
        task += threads;
    } while (task < tasks);
}

// A matrix product by the way that its record names.
template <typename T>
__device__ __forceinline__ void evaluate_matrix(
    const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    const Product m = *reinterpret_cast<const Product*>(table + op[BODY]);
    const T scale = coefficients[op[COEFFICIENTS]];
    const bool in_tile = op[FACTOR] == FROM_TILE;
    const T* a = (in_tile ? tile.at : tile.direct) + m.a;
    const long long a_sample = in_tile ? 1 : tile.stride;
    if (m.sharing & ALONG)
        multiply<T, ROWS_ALONG, COLUMNS_ALONG, true>(m, a, a_sample, tile, scale, add);
    else
        multiply<T, ROWS_APART, COLUMNS_APART, false>(m, a, a_sample, tile, scale, add);
}
