r"""
Products inside your own CUDA kernels
=====================================

For people who write kernels with ``cupy.RawModule``: a product and spherical harmonics as the text of functions of the
device, to be put in front of a kernel of one's own. Here that kernel is the loop of :doc:`fused_loop`, a thread an
atom. On these pages there is no GPU; where there is a C++ compiler, the text is compiled for the processor and run, as
it contains nothing but arithmetic.
"""

# %%
# The functions
# -------------
#
# One for the harmonics of a point, one for the product of a sample. Both are C++ without any header.

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import tpnumba as tp

L_MAX = 2
harmonics = tp.SphericalHarmonics(L_MAX)
product = tp.GauntTensorProduct(L_MAX, L_MAX)
functions = harmonics.cuda_source("float32", name="Y") + product.cuda_source("float32", name="multiply")
lines = functions.splitlines()
print(*lines[:6], "    ...", *lines[-4:], sep="\n")
print(len(lines), "lines")

# %%
# A kernel
# --------
#
# The density of an atom's neighbours, and its product with itself. Numbers of a sample follow each other; the small
# arrays of a thread stay in registers, as the functions are put in its place and read them at constant places.

KERNEL = """
extern "C" __global__ void features(const float* vectors, const int* first, int atoms, float* out) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < atoms; i += blockDim.x * gridDim.x) {
        float density[9] = {0}, of_pair[9], squared[25];
        for (int pair = first[i]; pair < first[i + 1]; ++pair) {
            const float* r = vectors + 3 * pair;
            const float weight = expf(-(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]));
            Y(of_pair, r);
            for (int k = 0; k < 9; ++k) density[k] += weight * of_pair[k];
        }
        multiply(squared, density, density);
        for (int k = 0; k < 25; ++k) out[25 * i + k] = squared[k];
    }
}
"""
source = functions + KERNEL

# %%
# With CuPy and a GPU, that is all:
#
# .. code-block:: python
#
#    kernel = cupy.RawModule(code=source).get_function("features")
#    kernel((blocks,), (128,), (vectors, first, numpy.int32(atoms), out))
#
# The processor
# -------------
#
# The words of CUDA are given a meaning in C++, one thread does all atoms, and the numbers are those of arrays.

ON_THE_PROCESSOR = """
#include <math.h>
#define __device__ static
#define __global__
#define __forceinline__ inline
struct { int x; } constexpr blockIdx = {0}, threadIdx = {0}, blockDim = {1}, gridDim = {1};
"""


def compiled(source):
    """The function ``features`` of a shared library."""
    with tempfile.TemporaryDirectory() as folder:
        text, library = Path(folder) / "source.cpp", Path(folder) / "library.so"
        text.write_text(ON_THE_PROCESSOR + source, encoding="utf-8")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", text, "-o", library], check=True)
        return ctypes.CDLL(str(library)).features


rng = np.random.default_rng(0)
counts = rng.integers(5, 20, 100)
first = np.concatenate([[0], np.cumsum(counts)]).astype("int32")
vectors = rng.standard_normal((first[-1], 3)).astype("float32")

weights = np.exp(-np.sum(vectors**2, axis=-1, keepdims=True))
density = np.add.reduceat(weights * harmonics(vectors), first[:-1])
expected = product(density, density)

compiler = shutil.which("g++") or shutil.which("clang++")
if compiler is None:
    print("there is no C++ compiler here, so that nothing was run")
else:
    out = np.full((100, 25), np.nan, dtype="float32")
    addresses = (ctypes.c_void_p(array.ctypes.data) for array in (vectors, first, out))
    at_vectors, at_first, at_out = addresses
    compiled(source)(at_vectors, at_first, ctypes.c_int(100), at_out)
    deviation = np.max(np.abs(out - expected)) / np.max(np.abs(expected))
    print(f"greatest deviation from arrays: {deviation:.1e}")
    assert deviation < 1e-6
