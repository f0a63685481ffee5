// Spherical harmonics of points and their derivatives: recursions by degree in x, y, z, gradients by the ladder.
//
// A block works on a tile of points, in shared memory number by number and within a number point by point, so that
// threads that differ in the point read neighbours. First a thread makes an order of a point, and its negative: their
// recursion in the degree stays in registers. Then, after a barrier, threads go along the rows of the result, each with
// columns of its own, so that what it needs of the tables is read once for all points. Where the harmonics of a point
// take too much memory degrees are made in chunks, and the recursions' last two steps are kept in between.
//
// Every number is written by one thread and sums have a fixed order, so results depend neither on chance nor on how
// points are shared out; there are no atomics. The tables are written by harmonics/lower.py;
// constants and the columns of records come from layout.py and stand before this text.

// S_l = a y S_{l-1} - b |r|^2 S_{l-2} of one order; of the degree that is the order, S = a (z + i x)^m.
template <typename W>
struct alignas(2 * sizeof(W)) Step {
    W RECURSION_FIELDS;
};
// Weights of the harmonics of the degree below: of the same order, of that nearer to zero, of that further from it.
template <typename W>
struct alignas(16) Ladder {
    W LADDER_FIELDS;
};

// The points that a block works on.
template <typename W>
struct Points {
    W* at;
    int shift;  // log2 of their number
    int pitch;  // from one number of a point to the next
    int valid;  // those that there are
};

// How threads go along rows: each has every `columns`-th column of every `rows`-th row, from its own on.
struct Walk {
    int column, columns, row, rows;
    __device__ explicit Walk(int width) {
        const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
        if (width >= threads) {
            column = thread, columns = threads, row = 0, rows = 1;
        } else {
            rows = threads / width, row = thread / width;
            column = row < rows ? thread - row * width : width, columns = width;
        }
    }
};

// Rows of three numbers into the tile.
template <typename T, typename W>
__device__ __forceinline__ void load_vectors(const T* rows, long long stride, W* to, Points<W> points) {
    for (int p = threadIdx.x; p < points.valid; p += blockDim.x)
        for (int axis = 0; axis < 3; ++axis) to[axis * points.pitch + p] = W(rows[p * stride + axis]);
}

// The thread's points: made directions, if `unit`, zero at zero; then what else is known of a point.
//
// Scaled by the largest component first, so that no square overflows. The second factor of 1 / |r| is 1, but for points
// so near or far that 1 / |r| may be beyond all numbers: then half of its exponent is in each. A NaN or an infinity in
// any component makes the whole direction NaN.
template <typename W>
__device__ __forceinline__ void measure(Points<W> points, bool unit) {
    constexpr W FAR = W(sizeof(W) == 4 ? 1e30 : 1e300);
    for (int p = threadIdx.x; p < points.valid; p += blockDim.x) {
        W* at = points.at + p;
        W x = at[X * points.pitch], y = at[Y * points.pitch], z = at[Z * points.pitch];
        if (!unit) {
            at[SQUARE * points.pitch] = x * x + y * y + z * z;
            at[OVER * points.pitch] = at[OVER_TOO * points.pitch] = W(1);
            continue;
        }
        W over = W(0), over_too = W(0);
        if (x != W(0) || y != W(0) || z != W(0)) {
            W largest = fabs(x);
            if (fabs(y) > largest) largest = fabs(y);
            if (fabs(z) > largest) largest = fabs(z);
            x /= largest, y /= largest, z /= largest;
            const W length = sqrt(x * x + y * y + z * z);
            x /= length, y /= length, z /= length;
            const bool usual = largest < FAR && largest > W(1) / FAR;
            over = (usual ? W(1) / largest : W(1) / sqrt(largest)) / length;
            over_too = usual ? W(1) : W(1) / sqrt(largest);
        }
        at[X * points.pitch] = x, at[Y * points.pitch] = y, at[Z * points.pitch] = z;
        // In a form that does not cancel near the polar axis, where harmonics feel every change of |r|^2.
        at[SQUARE * points.pitch] = x * x + (y - W(1)) * (y + W(1)) + z * z;
        at[OVER * points.pitch] = over, at[OVER_TOO * points.pitch] = over_too;
    }
}

// A vector, three numbers at `at`, without its part along the direction if `unit`, and over |r|.
template <typename W>
__device__ __forceinline__ void project(const W* point, int pitch, bool unit, W (&vector)[3]) {
    W radial = W(0);
    for (int axis = 0; axis < 3; ++axis) radial += vector[axis] * point[axis * pitch];
    if (!unit) return;
    for (int axis = 0; axis < 3; ++axis)
        vector[axis] = (vector[axis] - radial * point[axis * pitch]) * point[OVER * pitch] * point[OVER_TOO * pitch];
}

// The recursion of one order of a point, and of its negative.
template <typename W>
struct Climb {
    W cosine, sine, cosine_below, sine_below, y, square;
    bool unit;

    __device__ __forceinline__ Climb(const W* point, int pitch, bool is_unit) : y(point[Y * pitch]), square(point[SQUARE * pitch]), unit(is_unit) {}

    // The degree that is the order, from (z + i x)^m: nothing is divided by the distance from the polar axis, and near
    // the axis harmonics of high order become zero.
    __device__ __forceinline__ void start(const W* point, int pitch, int m, W factor) {
        W real = point[Z * pitch], imaginary = point[X * pitch];
        cosine = W(1), sine = W(0);
        for (; m; m >>= 1) {
            if (m & 1) {
                const W next = cosine * real - sine * imaginary;
                sine = cosine * imaginary + sine * real;
                cosine = next;
            }
            const W next = real * real - imaginary * imaginary;
            imaginary = W(2) * real * imaginary;
            real = next;
        }
        cosine *= factor, sine *= factor;
        cosine_below = sine_below = W(0);
    }
    __device__ __forceinline__ W raised(W current, W& below, Step<W> step) {
        const W over = square * below + (unit ? below : W(0));
        below = current;
        return step.a * (y * current) - step.b * over;
    }
    __device__ __forceinline__ void raise(Step<W> step) {
        cosine = raised(cosine, cosine_below, step);
        sine = raised(sine, sine_below, step);
    }
    __device__ __forceinline__ void keep(W* to, int step) const {
        to[COSINE * step] = cosine, to[SINE * step] = sine;
        to[COSINE_BELOW * step] = cosine_below, to[SINE_BELOW * step] = sine_below;
    }
    __device__ __forceinline__ void resume(const W* from, int step) {
        cosine = from[COSINE * step], sine = from[SINE * step];
        cosine_below = from[COSINE_BELOW * step], sine_below = from[SINE_BELOW * step];
    }
};

// Where an order of a degree stands in the tables, which have no negative orders.
__device__ __forceinline__ int entry(int degree, int order) { return degree * (degree + 1) / 2 + order; }

// Solid harmonics of the degrees from `begin` to `end` into the tile. Those below `known` have been made before; where
// the last of them is asked for again, it is what was kept.
template <typename W>
__device__ __forceinline__ void climb(
    const Step<W>* steps, int orders, int known, int begin, int end, bool unit, Points<W> points, W* tile, W* kept) {
    const int pitch = points.pitch, step = orders * pitch;
    for (int task = threadIdx.x; task < end << points.shift; task += blockDim.x) {
        const int p = task & ((1 << points.shift) - 1), m = task >> points.shift;
        if (p >= points.valid) continue;
        const W* point = points.at + p;
        Climb<W> at(point, pitch, unit);
        int degree = m;
        if (m < known) {
            degree = known - 1;
            at.resume(kept + m * pitch + p, step);
        } else {
            at.start(point, pitch, m, steps[entry(m, m)].a);
        }
        const Step<W>* next = steps + entry(degree, m);
        W* to = tile + (degree * (degree + 1) - begin * begin) * pitch + p;
        while (true) {
            if (degree >= begin) {
                to[m * pitch] = at.cosine;
                if (m) to[-m * pitch] = at.sine;
            }
            if (++degree >= end) break;
            next += degree;
            to += 2 * degree * pitch;
            at.raise(*next);
        }
        if (end < orders) at.keep(kept + m * pitch + p, step);
    }
}

// Two harmonics of the degree below and their weights: a derivative of a harmonic by x, y or z.
template <typename W>
struct Slope {
    int inner, outer;  // places in the tile
    W inner_weight, outer_weight;

    // `below`: the place of order zero in the degree below. A place that does not exist has the weight zero.
    __device__ __forceinline__ Slope(const Ladder<W>* ladder, int degree, int m, int axis, int below) {
        const bool is_sine = m < 0;
        const int order = is_sine ? -m : m;
        const Ladder<W> weights = ladder[entry(degree, order)];
        if (axis == 1) {
            inner = below + m, inner_weight = weights.along;
            outer = 0, outer_weight = W(0);
        } else {
            // The derivative by z keeps the kind, cosine or sine, that by x exchanges it.
            const int kind = (axis == 0) != is_sine ? -1 : 1;
            const W sign = axis == 0 ? W(kind) : W(1);
            inner = below + kind * (order - 1);
            inner_weight = order == 1 && kind < 0 ? W(0) : sign * weights.inner;
            outer = below + kind * (order + 1);
            outer_weight = axis == 0 ? sign * weights.outer : -weights.outer;
        }
        if (inner_weight == W(0)) inner = 0;
        if (outer_weight == W(0)) outer = 0;
    }
    __device__ __forceinline__ W of(const W* tile, int pitch) const {
        return inner_weight * tile[inner * pitch] + outer_weight * tile[outer * pitch];
    }
};

// The degree of the k-th harmonic.
__device__ __forceinline__ int degree_of(int k) {
    int degree = static_cast<int>(sqrt(static_cast<float>(k)));
    while (degree * degree > k) --degree;
    while ((degree + 1) * (degree + 1) <= k) ++degree;
    return degree;
}

// Harmonics of n points up to the degree `lmax`, and their derivatives.
//
// KIND: VALUES; these and the JACOBIAN; or derivatives along a TANGENT. xyz, tangents: rows of three, with the numbers
// from one row to the next. values, derivatives: rows of results, where there are any. tables: steps, and from
// `ladder_at` on ladders. bounds: for each chunk the degrees in the tile, from the first to before the last. unit: of
// the direction of a point. T: the numbers of points and results; W: those that are worked with.
template <typename T, typename W, int KIND>
__global__ void __launch_bounds__(THREADS, sizeof(W) == 4 ? FLOAT_BLOCKS : BLOCKS) harmonics(
    const T* __restrict__ xyz, long long xyz_stride, const T* __restrict__ tangents, long long tangent_stride,
    T* __restrict__ values, T* __restrict__ derivatives, const W* __restrict__ tables, int ladder_at,
    const int* __restrict__ bounds, int chunks, int lmax, int unit, int shift, int pitch, long long n) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Step<W>* steps = reinterpret_cast<const Step<W>*>(tables);
    const Ladder<W>* ladder = reinterpret_cast<const Ladder<W>*>(tables + ladder_at);
    const int orders = bounds[2 * chunks - 1];
    const long long size = static_cast<long long>(lmax + 1) * (lmax + 1);
    Points<W> points = {reinterpret_cast<W*>(shared), shift, pitch, 0};
    W* tile = points.at + (KIND == TANGENT ? POINT : TANGENTS) * pitch;
    W* kept = tile + bounds[2 * chunks] * pitch;
    for (long long first = static_cast<long long>(blockIdx.x) << shift; first < n;
         first += static_cast<long long>(gridDim.x) << shift) {
        points.valid = n - first < (1 << shift) ? static_cast<int>(n - first) : 1 << shift;
        load_vectors(xyz + first * xyz_stride, xyz_stride, points.at, points);
        measure(points, unit);
        if (KIND == TANGENT) {
            load_vectors(tangents + first * tangent_stride, tangent_stride, points.at + TANGENTS * pitch, points);
            for (int p = threadIdx.x; p < points.valid; p += blockDim.x) {
                W vector[3];
                for (int axis = 0; axis < 3; ++axis) vector[axis] = points.at[(TANGENTS + axis) * pitch + p];
                project(points.at + p, pitch, unit, vector);
                for (int axis = 0; axis < 3; ++axis) points.at[(TANGENTS + axis) * pitch + p] = vector[axis];
            }
        }
        __syncthreads();
        int known = 0;
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const int begin = bounds[2 * chunk], end = bounds[2 * chunk + 1];
            climb(steps, orders, known, begin, end, unit, points, tile, kept);
            __syncthreads();
            if (KIND != TANGENT) {
                const int start = known * known, width = end * end - start;
                const Walk walk(width);
                T* rows = values + first * size + start;
                const W* from = tile + (start - begin * begin) * pitch;
                for (int k = walk.column; k < width; k += walk.columns)
                    for (int p = walk.row; p < points.valid; p += walk.rows) rows[p * size + k] = T(from[k * pitch + p]);
            }
            if (KIND == JACOBIAN) {
                const int start = 3 * known * known, width = 3 * end * end - start;
                const Walk walk(width);
                for (int j = walk.column; j < width; j += walk.columns) {
                    const int k = (start + j) / 3, axis = start + j - 3 * k, degree = degree_of(k);
                    const int below = degree * (degree - 1) - begin * begin;
                    const Slope<W> slope(ladder, degree, k - degree * (degree + 1), axis, below);
                    const W radial = unit ? W(degree) : W(0);  // the part along the point, by Euler's theorem
                    const W* own = tile + (k - begin * begin) * pitch;
                    for (int p = walk.row; p < points.valid; p += walk.rows) {
                        const W* point = points.at + p;
                        W value = slope.of(tile + p, pitch);
                        if (unit) value -= radial * own[p] * point[axis * pitch];
                        value = value * point[OVER * pitch] * point[OVER_TOO * pitch];
                        derivatives[3 * (first + p) * size + start + j] = T(value);
                    }
                }
            }
            if (KIND == TANGENT) {
                // Of the degrees from one above those in the tile; and of degree zero, which is zero.
                const int start = begin ? (begin + 1) * (begin + 1) : 0;
                const int last = end < lmax ? end : lmax, width = (last + 1) * (last + 1) - start;
                const Walk walk(width);
                T* rows = derivatives + first * size + start;
                for (int j = walk.column; j < width; j += walk.columns) {
                    const int k = start + j, degree = degree_of(k), m = k - degree * (degree + 1);
                    const int below = degree * (degree - 1) - begin * begin;
                    const Slope<W> by_x(ladder, degree, m, 0, below), by_y(ladder, degree, m, 1, below);
                    const Slope<W> by_z(ladder, degree, m, 2, below);
                    for (int p = walk.row; p < points.valid; p += walk.rows) {
                        const W* tangent = points.at + TANGENTS * pitch + p;
                        W value = by_x.of(tile + p, pitch) * tangent[0];
                        value += by_y.inner_weight * tile[by_y.inner * pitch + p] * tangent[pitch];
                        value += by_z.of(tile + p, pitch) * tangent[2 * pitch];
                        rows[p * size + j] = T(value);
                    }
                }
            }
            known = end;
            __syncthreads();
        }
    }
}

// The gradient of the sum over harmonics of cotangent times harmonic, at n points: rows of three. For the other
// arguments see above; here bounds are of the degrees of cotangents, from 1 on, which are in the tile. By harmonics of
// the degree below: a thread has an order of these and its negative, and the cotangents that meet them.
template <typename T, typename W>
__global__ void __launch_bounds__(THREADS, sizeof(W) == 4 ? FLOAT_BLOCKS : BLOCKS) pull_back(
    const T* __restrict__ xyz, long long xyz_stride, const T* __restrict__ cotangents, long long cotangent_stride,
    T* __restrict__ gradients, const W* __restrict__ tables, int ladder_at, const int* __restrict__ bounds, int chunks,
    int lmax, int unit, int shift, int pitch, long long n) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Step<W>* steps = reinterpret_cast<const Step<W>*>(tables);
    const Ladder<W>* ladder = reinterpret_cast<const Ladder<W>*>(tables + ladder_at);
    const int orders = lmax, step = orders * pitch;
    Points<W> points = {reinterpret_cast<W*>(shared), shift, pitch, 0};
    W* tile = points.at + TANGENTS * pitch;
    W* sums = tile + bounds[2 * chunks] * pitch;
    W* kept = sums + 3 * step;
    for (long long first = static_cast<long long>(blockIdx.x) << shift; first < n;
         first += static_cast<long long>(gridDim.x) << shift) {
        points.valid = n - first < (1 << shift) ? static_cast<int>(n - first) : 1 << shift;
        load_vectors(xyz + first * xyz_stride, xyz_stride, points.at, points);
        measure(points, unit);
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const int begin = bounds[2 * chunk], end = bounds[2 * chunk + 1];
            const int start = begin * begin, width = end * end - start;
            const Walk walk(width);
            const T* rows = cotangents + first * cotangent_stride + start;
            for (int k = walk.column; k < width; k += walk.columns)
                for (int p = walk.row; p < points.valid; p += walk.rows)
                    tile[k * pitch + p] = W(rows[p * cotangent_stride + k]);
            __syncthreads();
            for (int task = threadIdx.x; task < (end - 1) << shift; task += blockDim.x) {
                const int p = task & ((1 << shift) - 1), m = task >> shift;
                if (p >= points.valid) continue;
                const W* point = points.at + p;
                W* own = sums + m * pitch + p;
                Climb<W> at(point, pitch, unit);
                W x = W(0), y = W(0), z = W(0);
                int degree = m + 1;  // of the cotangents; the harmonics are of one below
                if (degree < begin) {
                    degree = begin;
                    at.resume(kept + m * pitch + p, step);
                    x = own[0], y = own[step], z = own[2 * step];
                } else {
                    at.start(point, pitch, m, steps[entry(m, m)].a);
                }
                for (; degree < end; ++degree) {
                    const Ladder<W> weights = ladder[entry(degree, m)];
                    const W* middle = tile + (degree * (degree + 1) - start) * pitch + p;
                    const W inner_cosine = weights.inner * middle[(m + 1) * pitch];
                    const W inner_sine = weights.inner * middle[-(m + 1) * pitch];
                    const W outer_cosine = m > 0 ? weights.outer * middle[(m - 1) * pitch] : W(0);
                    const W outer_sine = m > 1 ? weights.outer * middle[-(m - 1) * pitch] : W(0);
                    const W same_sine = m > 0 ? middle[-m * pitch] : W(0);
                    x += at.cosine * (inner_sine + outer_sine) - at.sine * (inner_cosine + outer_cosine);
                    y += weights.along * (at.cosine * middle[m * pitch] + at.sine * same_sine);
                    z += at.cosine * (inner_cosine - outer_cosine) + at.sine * (inner_sine - outer_sine);
                    at.raise(steps[entry(degree, m)]);
                }
                if (end <= lmax) at.keep(kept + m * pitch + p, step);
                own[0] = x, own[step] = y, own[2 * step] = z;
            }
            __syncthreads();
        }
        for (int p = threadIdx.x; p < points.valid; p += blockDim.x) {
            W vector[3];
            for (int axis = 0; axis < 3; ++axis) {
                vector[axis] = W(0);
                for (int m = 0; m < orders; ++m) vector[axis] += sums[axis * step + m * pitch + p];
            }
            project(points.at + p, pitch, unit, vector);
            for (int axis = 0; axis < 3; ++axis) gradients[3 * (first + p) + axis] = T(vector[axis]);
        }
        __syncthreads();
    }
}
