"""Functions of the device for kernels of users: compiled for the processor and run there; compiled for devices."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from cuda_host import targets
from cuda_host.compiler import COMPILER, HostModule, is_there
from inline.inline_cases import PRODUCTS, assert_same, of_samples
from strategies import harmonic_tolerance

import tpnumba as tp
from tpnumba.backends.gpu.sources import C_TYPES

on_processor = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")
DTYPES = ("float32", "float64")


def kernel_of(source, dtype, name, sizes, run="run"):
    """A thread a sample: ``sizes`` of the arguments, the result first."""
    names = [f"a{i}" for i in range(len(sizes))]
    kind = C_TYPES[dtype]
    given = ", ".join(f"{'const ' if i else ''}{kind}* {own}" for i, own in enumerate(names))
    passed = ", ".join(f"{own} + {size}LL * i" for own, size in zip(names, sizes, strict=True))
    return f"""{source}
__global__ void {run}({given}, int count) {{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += blockDim.x * gridDim.x) {name}({passed});
}}
"""


def sizes_of(operator):
    """Of the arguments, the result first."""
    if isinstance(operator, tp.SphericalHarmonics):
        return operator.irreps.dim, 3
    sizes = operator.irreps_out.dim, operator.irreps_in1.dim, operator.irreps_in2.dim, operator.weight_numel
    return sizes if operator.weight_numel else sizes[:3]


HARMONICS = {
    f"harmonics {lmax}{' of directions' * normalize}": tp.SphericalHarmonics(
        lmax, normalization="component", normalize=normalize
    )
    for lmax in (0, 1, 4, 12)
    for normalize in (True, False)
}
OPERATORS = {name: p for name, p in {**PRODUCTS, **HARMONICS}.items() if sizes_of(p)[0]}


@lru_cache
def module(dtype):
    """One source with the functions of all operators, and a kernel for each."""
    parts = [
        kernel_of(p.cuda_source(dtype, name=f"f{number}"), dtype, f"f{number}", sizes_of(p), f"run{number}")
        for number, p in enumerate(OPERATORS.values())
    ]
    return HostModule("".join(parts), name_expressions=tuple(f"run{number}" for number in range(len(parts))))


def evaluated(name, dtype, arguments):
    count = len(arguments[0])
    out = np.full((count, sizes_of(OPERATORS[name])[0]), np.nan, dtype)
    run = module(dtype).get_function(f"run{list(OPERATORS).index(name)}")
    run((1,), (32,), (out, *arguments, np.int32(count)))
    return out


@on_processor
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in OPERATORS if name in PRODUCTS])
def test_every_product(name, dtype):
    p = PRODUCTS[name]
    arguments = of_samples(p, 2, dtype)
    assert_same(evaluated(name, dtype, arguments), p, arguments)


@on_processor
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HARMONICS)
def test_harmonics(name, dtype):
    harmonics = HARMONICS[name]
    points = np.random.default_rng(0).standard_normal((9, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    points[0] = 0
    points[1:3] *= np.array([[1e-25], [1e25]]) if harmonics.normalize else 1
    own = points.astype(dtype)
    found, expected = evaluated(name, dtype, [own]), harmonics(own, backend="generic")
    np.testing.assert_allclose(found, expected, rtol=0, atol=harmonic_tolerance(dtype, harmonics.lmax))


def test_names():
    for operator in (tp.GauntTensorProduct(1, 1), tp.SphericalHarmonics(1)):
        assert "void mine(\n    float* " in operator.cuda_source(name="mine")
        for name in ("", "a b", "1a", 3):
            with pytest.raises(ValueError, match="name must be an identifier of C"):
                operator.cuda_source(name=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["gaunt 3", "gaunt 6", "channelwise", "modes", "low rank", "harmonics 4 of directions"]
)
def test_machine_code_for_devices(name, dtype):
    pytest.importorskip("cuda.core", reason="needs cuda-core and nvidia-cuda-nvrtc")
    source = kernel_of(OPERATORS[name].cuda_source(dtype, name="f"), dtype, "f", sizes_of(OPERATORS[name]))
    for architecture in targets.ARCHITECTURES:
        assert targets.compiled("run", architecture, source).size > 1000
