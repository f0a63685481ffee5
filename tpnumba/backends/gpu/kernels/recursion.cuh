// Points in the tile, and the recursions of harmonics by degree: one order of a point, and its negative, a thread.

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

    __device__ __forceinline__ Climb(const W* point, int pitch, bool is_unit)
        : y(point[Y * pitch]), square(point[SQUARE * pitch]), unit(is_unit) {}

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
    __device__ __forceinline__ void save(W* to, int step) const {
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
