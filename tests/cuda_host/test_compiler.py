"""What the tests on the processor would catch, on small kernels with each fault."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host.compiler import COMPILER, HostModule, is_there

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")

SOURCE = """
template <typename T, bool WAIT>
__global__ void reverse(const T* x, T* y, int n) {
    extern __shared__ __align__(16) unsigned char shared[];
    T* tile = reinterpret_cast<T*>(shared);
    const int i = threadIdx.x;
    tile[i] = x[blockIdx.x * n + i];
    if (WAIT) __syncthreads();
    y[blockIdx.x * n + i] = tile[n - 1 - i];
}
__global__ void diverge(float* y) {
    if (threadIdx.x < 7) __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1.0f;
}
__global__ void leave(float* y, int n) {
    if (int(threadIdx.x) >= n) return;
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}
"""
NAMES = ("reverse<float, true>", "reverse<float, false>", "reverse<double, true>", "diverge", "leave")


def functions(order=0):
    module = HostModule(SOURCE, name_expressions=NAMES, order=order)
    return {name: module.get_function(name) for name in NAMES}


@pytest.mark.parametrize("order", [0, 1, 2])
def test_barriers(order):
    x = np.arange(96, dtype="float32")
    expected = x.reshape(3, 32)[:, ::-1].ravel()
    y = np.zeros_like(x)
    own = functions(order)
    own["reverse<float, true>"]((3,), (32,), (x, y, np.int32(32)), shared_mem=128)
    assert np.array_equal(y, expected)
    own["reverse<float, false>"]((3,), (32,), (x, y, np.int32(32)), shared_mem=128)
    assert np.isnan(y).any()  # shared memory starts as NaN, and is read before it is written


def test_threads_that_part_at_a_barrier_and_those_that_leave():
    y = np.zeros(32, dtype="float32")
    with pytest.raises(RuntimeError, match="diverge: threads wait at different barriers"):
        functions()["diverge"]((1,), (32,), (y,))
    functions()["leave"]((1,), (32,), (y, np.int32(20)))
    assert y.sum() == 20


def test_types_of_arguments():
    run = functions()["reverse<float, true>"]
    x = np.zeros(32, dtype="float32")
    frozen = x.copy()
    frozen.flags.writeable = False
    wrong = {
        "takes 3 arguments, got 2": (x, x),
        "argument 2: a plain int": (x, x, 32),
        "argument 2: int64": (x, x, np.int64(32)),
        "argument 2: float32": (x, x, np.float32(32)),
        "argument 0: an array of float64": (x.astype("float64"), x, np.int32(32)),
    }
    for message, arguments in wrong.items():
        with pytest.raises(TypeError, match=message):
            run((1,), (32,), arguments, shared_mem=128)
    with pytest.raises(ValueError, match="argument 1: read-only"):
        run((1,), (32,), (x, frozen, np.int32(32)), shared_mem=128)
    run((1,), (32,), (frozen, x, np.int32(32)), shared_mem=128)


def test_shapes_of_launches():
    run = functions()["reverse<float, true>"]
    arguments = np.zeros(32, dtype="float32"), np.zeros(32, dtype="float32"), np.int32(32)
    for grid, threads in (((0,), (32,)), ((1, 70000), (32,)), ((1,), (2048,)), ((1,), (0,))):
        with pytest.raises(RuntimeError, match=r"invalid grid|blocks must have"):
            run(grid, threads, arguments, shared_mem=128)
    with pytest.raises(RuntimeError, match="were not asked for"):
        run((1,), (32,), arguments, shared_mem=64 * 2**10)
