// Spherical harmonics of points and their derivatives: recursions by degree in x, y, z, gradients by the ladder.
//
// A block works on a tile of points, in shared memory number by number and within a number point by point, so that
// threads that differ in the point read neighbours. First a thread makes an order of a point, and its negative: their
// recursion in the degree stays in registers. Then, after a barrier, threads go along the rows of the result, each with
// columns of its own, so that what it needs of the tables is read once for all points. Where the harmonics of a point
// take too much memory ranges of degrees follow each other, and the last two degrees of the recursions are saved in
// between.
//
// Every number is written by one thread and sums have a fixed order, so results depend neither on chance nor on how
// points are shared out; there are no atomics. The tables are written by harmonics/lower.py; constants and the columns
// of records come from layout.py and stand before this text.

#include "recursion.cuh"

// Solid harmonics of the degrees from `begin` to `end` into the tile. Those below `known` have been made before; where
// the last of them is asked for again, it is what was saved.
template <typename W>
__device__ __forceinline__ void climb(
    const Step<W>* steps, int orders, int known, int begin, int end, bool unit, Points<W> points, W* tile, W* saved) {
    const int pitch = points.pitch, step = orders * pitch;
    for (int task = threadIdx.x; task < end << points.shift; task += blockDim.x) {
        const int p = task & ((1 << points.shift) - 1), m = task >> points.shift;
        if (p >= points.valid) continue;
        const W* point = points.at + p;
        Climb<W> at(point, pitch, unit);
        int degree = m;
        if (m < known) {
            degree = known - 1;
            at.resume(saved + m * pitch + p, step);
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
        if (end < orders) at.save(saved + m * pitch + p, step);
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
            // The derivative by z leaves the kind, cosine or sine, that by x exchanges it.
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

// The rows of harmonics from the degree `known` to before `end`; the tile has those from `begin` on.
template <typename T, typename W>
__device__ __forceinline__ void write_values(
    T* values, long long size, const W* tile, int known, int begin, int end, Points<W> points) {
    const int start = known * known, width = end * end - start, pitch = points.pitch;
    const Walk walk(width);
    T* rows = values + start;
    const W* from = tile + (start - begin * begin) * pitch;
    for (int k = walk.column; k < width; k += walk.columns)
        for (int p = walk.row; p < points.valid; p += walk.rows) rows[p * size + k] = T(from[k * pitch + p]);
}

// Their derivatives by x, y and z.
template <typename T, typename W>
__device__ __forceinline__ void write_jacobian(
    T* derivatives, long long size, const Ladder<W>* ladder, const W* tile, int known, int begin, int end, bool unit,
    Points<W> points) {
    const int start = 3 * known * known, width = 3 * end * end - start, pitch = points.pitch;
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
            derivatives[3 * p * size + start + j] = T(value);
        }
    }
}

// Derivatives along tangents: of the degrees from one above those in the tile; and of degree zero, which is zero.
template <typename T, typename W>
__device__ __forceinline__ void write_tangent(
    T* derivatives, long long size, const Ladder<W>* ladder, const W* tile, int begin, int end, int lmax,
    Points<W> points) {
    const int start = begin ? (begin + 1) * (begin + 1) : 0, pitch = points.pitch;
    const int last = end < lmax ? end : lmax, width = (last + 1) * (last + 1) - start;
    const Walk walk(width);
    T* rows = derivatives + start;
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

// Harmonics of n points up to the degree `lmax`, and their derivatives.
//
// KIND: VALUES; these and the JACOBIAN; or derivatives along a TANGENT. xyz, tangents: rows of three, with the numbers
// from one row to the next. values, derivatives: rows of results, where there are any. tables: of recursions, and from
// `ladder_at` on ladders. bounds: for each range of degrees its first and the one after its last. unit: of the
// direction of a point. T: the numbers of points and results; W: those that are worked with.
template <typename T, typename W, int KIND>
__global__ void __launch_bounds__(THREADS, sizeof(W) == 4 ? FLOAT_BLOCKS : BLOCKS) harmonics(
    const T* __restrict__ xyz, long long xyz_stride, const T* __restrict__ tangents, long long tangent_stride,
    T* __restrict__ values, T* __restrict__ derivatives, const W* __restrict__ tables, int ladder_at,
    const int* __restrict__ bounds, int ranges, int lmax, int unit, int shift, int pitch, long long n) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Step<W>* steps = reinterpret_cast<const Step<W>*>(tables);
    const Ladder<W>* ladder = reinterpret_cast<const Ladder<W>*>(tables + ladder_at);
    const int orders = bounds[2 * ranges - 1];
    const long long size = static_cast<long long>(lmax + 1) * (lmax + 1);
    Points<W> points = {reinterpret_cast<W*>(shared), shift, pitch, 0};
    W* tile = points.at + (KIND == TANGENT ? POINT : TANGENTS) * pitch;
    W* saved = tile + bounds[2 * ranges] * pitch;
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
        for (int range = 0; range < ranges; ++range) {
            const int begin = bounds[2 * range], end = bounds[2 * range + 1];
            climb(steps, orders, known, begin, end, unit, points, tile, saved);
            __syncthreads();
            if (KIND != TANGENT)
                write_values(values + first * size, size, tile, known, begin, end, points);
            if (KIND == JACOBIAN)
                write_jacobian(derivatives + 3 * first * size, size, ladder, tile, known, begin, end, unit, points);
            if (KIND == TANGENT)
                write_tangent(derivatives + first * size, size, ladder, tile, begin, end, lmax, points);
            known = end;
            __syncthreads();
        }
    }
}

// The gradient of the sum over harmonics of cotangent times harmonic, at n points: rows of three. For the other
// arguments see above; here bounds are of the degrees of cotangents, from 1 on, which are in the tile. By harmonics of
// the degree below: a thread has an order of these and its negative, and the cotangents that it is multiplied with.
template <typename T, typename W>
__global__ void __launch_bounds__(THREADS, sizeof(W) == 4 ? FLOAT_BLOCKS : BLOCKS) pull_back(
    const T* __restrict__ xyz, long long xyz_stride, const T* __restrict__ cotangents, long long cotangent_stride,
    T* __restrict__ gradients, const W* __restrict__ tables, int ladder_at, const int* __restrict__ bounds, int ranges,
    int lmax, int unit, int shift, int pitch, long long n) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Step<W>* steps = reinterpret_cast<const Step<W>*>(tables);
    const Ladder<W>* ladder = reinterpret_cast<const Ladder<W>*>(tables + ladder_at);
    const int orders = lmax, step = orders * pitch;
    Points<W> points = {reinterpret_cast<W*>(shared), shift, pitch, 0};
    W* tile = points.at + TANGENTS * pitch;
    W* sums = tile + bounds[2 * ranges] * pitch;
    W* saved = sums + 3 * step;
    for (long long first = static_cast<long long>(blockIdx.x) << shift; first < n;
         first += static_cast<long long>(gridDim.x) << shift) {
        points.valid = n - first < (1 << shift) ? static_cast<int>(n - first) : 1 << shift;
        load_vectors(xyz + first * xyz_stride, xyz_stride, points.at, points);
        measure(points, unit);
        for (int range = 0; range < ranges; ++range) {
            const int begin = bounds[2 * range], end = bounds[2 * range + 1];
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
                    at.resume(saved + m * pitch + p, step);
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
                if (end <= lmax) at.save(saved + m * pitch + p, step);
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
