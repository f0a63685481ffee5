// Store R results of C columns, or add them: every update of the operation, from `out` on.
template <typename T, int R, int C>
__device__ __forceinline__ void update_tile(
    const int* op, const int* table, const T* coefficients, T* out, const int (&item)[ITEM_SIZE], const T (&sum)[R][C],
    bool add) {
    using Quad = Pack<int, QUAD>;
    Quad targets[R / QUAD];
#pragma unroll
    for (int q = 0; q < R / QUAD; ++q) targets[q] = reinterpret_cast<const Quad*>(table + item[TARGETS])[q];
    for (int u = 0; u < op[N_UPDATES]; ++u) {
        const Quad update = reinterpret_cast<const Quad*>(table + op[UPDATES])[u];
        const T factor = coefficients[update.of[UPDATE_FACTOR]];
        const int times = update.of[TIMES] - update.of[TO];
        const bool more = add || update.of[UPDATE_ADD];
        T* to = out + update.of[TO];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int target = targets[r / QUAD].of[r % QUAD];
            if (target < 0) continue;
            T* own = to + target;
#pragma unroll
            for (int c = 0; c < C; ++c) {
                if (c >= item[N_COLUMNS]) break;
                T value = factor * sum[r][c];
                if (update.of[TIMES] >= 0) value *= own[c * item[STEP_OUT] + times];
                own[c * item[STEP_OUT]] = more ? own[c * item[STEP_OUT]] + value : value;
            }
        }
    }
}

// Products with dense matrices, R results of C columns at a time:
// out[to[m] + c step] = sum over k of A[m, k] in[from[k] + c step]. A pack of coefficients serves C columns, and a
// number of the tile R results. What mirrors itself is made as sums and differences, of sums or of what is summed, see
// tile/dense.py.
template <typename T, int R, int C>
__device__ __forceinline__ void evaluate_dense(
    const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    constexpr int WIDE = 16 / sizeof(T);  // coefficients that are read at once
    // Places of what is summed that are read at once; there are no registers for more.
    constexpr int AHEAD = sizeof(T) == 4 && R * C < 32 ? 4 : 2;
    using Quad = Pack<int, QUAD>;
    const int tasks = op[N_ITEMS] << tile.shift;
    for (int task = threadIdx.x; task < tasks; task += THREADS) {
        const int sample = task & ((1 << tile.shift) - 1);
        if (sample >= tile.valid) continue;
        const int place = (task >> tile.shift) * (ITEM_SIZE / QUAD);
        const Quad* quads = reinterpret_cast<const Quad*>(table + op[ITEMS]) + place;
        int item[ITEM_SIZE];
#pragma unroll
        for (int i = 0; i < ITEM_SIZE / QUAD; ++i) {
            const Quad quad = quads[i];
#pragma unroll
            for (int q = 0; q < QUAD; ++q) item[i * QUAD + q] = quad.of[q];
        }
        const Pack<T, WIDE>* packs = reinterpret_cast<const Pack<T, WIDE>*>(coefficients + item[PACK]);
        const int* sources = table + item[SOURCES];
        const T* in[C];
        T sum[R][C];
#pragma unroll
        for (int c = 0; c < C; ++c) {
            in[c] = tile.at + item[IN] + (c < item[N_COLUMNS] ? c : 0) * item[STEP_IN] + sample;
#pragma unroll
            for (int r = 0; r < R; ++r) sum[r][c] = T(0);
        }
        // The first half of the results is made from the left, the other from the right.
        const auto term = [&](int left, int right, bool plain) {
            Pack<T, WIDE> a[R / WIDE];
#pragma unroll
            for (int i = 0; i < R / WIDE; ++i) a[i] = packs[i];
            packs += item[PACKS];
#pragma unroll
            for (int c = 0; c < C; ++c) {
                T x = in[c][left], y = x;
                if (!plain) {
                    y = in[c][right];
                    if (item[MODE] == BEFORE) {
                        const T difference = x - y;
                        x += y;
                        y = difference;
                    }
                }
#pragma unroll
                for (int r = 0; r < R; ++r) sum[r][c] += a[r / WIDE].of[r % WIDE] * (r < R / 2 ? x : y);
            }
        };
        int k = 0;
        if (item[MODE] == PLAIN) {
#pragma unroll 1
            for (; k + AHEAD <= item[DEPTH]; k += AHEAD) {
                const Pack<int, AHEAD> own = *reinterpret_cast<const Pack<int, AHEAD>*>(sources + k);
#pragma unroll
                for (int q = 0; q < AHEAD; ++q) term(own.of[q], 0, true);
            }
#pragma unroll 1
            for (; k < item[DEPTH]; ++k) term(sources[k], 0, true);
        } else {
#pragma unroll 1
            for (; 2 * k + AHEAD <= 2 * item[DEPTH]; k += AHEAD / 2) {
                const Pack<int, AHEAD> own = *reinterpret_cast<const Pack<int, AHEAD>*>(sources + 2 * k);
#pragma unroll
                for (int q = 0; q < AHEAD; q += 2) term(own.of[q], own.of[q + 1], false);
            }
#pragma unroll 1
            for (; k < item[DEPTH]; ++k) term(sources[2 * k], sources[2 * k + 1], false);
        }
        if (item[MODE] == AFTER) {
#pragma unroll
            for (int r = 0; r < R / 2; ++r)
#pragma unroll
                for (int c = 0; c < C; ++c) {
                    const T difference = sum[r][c] - sum[r + R / 2][c];
                    sum[r][c] += sum[r + R / 2][c];
                    sum[r + R / 2][c] = difference;
                }
        }
        update_tile<T, R, C>(op, table, coefficients, tile.at + item[OUT] + sample, item, sum, add);
    }
}

// By the number of the shape; every shape is a case.
template <typename T>
__device__ __forceinline__ void evaluate_shape(
    const int* op, const int* table, const T* coefficients, Tile<T> tile, bool add) {
    switch (op[SHAPE]) {
#define CASE(NUMBER, R, C) \
    case NUMBER: return evaluate_dense<T, R, C>(op, table, coefficients, tile, add);
        SHAPES(CASE)
#undef CASE
    }
    if constexpr (sizeof(T) == 4) {
#define CASE(NUMBER, R, C) \
    if (op[SHAPE] == NUMBER) return evaluate_dense<T, R, C>(op, table, coefficients, tile, add);
        FLOAT_SHAPES(CASE)
#undef CASE
    }
}
