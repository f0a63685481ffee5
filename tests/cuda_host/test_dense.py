"""Dense matrix products in one kernel: whatever way they are done, they do the same."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import numpy_on_gpu
from cuda_host.test_agrees import check
from hypothesis import given
from hypothesis import strategies as st
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends import gpu
from tpnumba.backends.gpu import layout
from tpnumba.backends.gpu.layout import Kind, Mode
from tpnumba.backends.gpu.tile import dense
from tpnumba.backends.gpu.tile.dense import schemes
from tpnumba.backends.lowering.linear_maps import passes_of
from tpnumba.backends.lowering.matrices import ConstantMatrix

compiled = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")


@st.composite
def mirrored(draw):
    """A matrix whose rows are even or odd under one of the two mirrors."""
    k, n = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    mirror = draw(st.sampled_from([np.arange(n)[::-1], -np.arange(n) % n]))
    signs = np.array(draw(st.lists(st.sampled_from([1, -1]), min_size=k, max_size=k)))[:, None]
    values = np.random.default_rng(draw(st.integers(0, 100))).standard_normal((k, n))
    return values + signs * values[:, mirror]


def done(scheme, x):
    """What the kernel makes of the numbers that a matrix reads."""
    y = np.full(scheme.matrix.to.max() + 1, np.nan)
    halves = [x[places] for places in scheme.sources.T]
    if scheme.mode == Mode.BEFORE:
        halves = [halves[0] + halves[1], halves[0] - halves[1]]
    made = [half @ values for half, values in zip(halves, scheme.values, strict=True)]
    if scheme.mode == Mode.AFTER:
        made = [made[0] + made[1], made[0] - made[1]]
    for targets, values in zip(scheme.targets, made, strict=True):
        y[targets[targets >= 0]] = values[targets >= 0]
    return y


@given(matrix=mirrored(), transposed=st.booleans())
def test_schemes_of_mirrored_matrices(matrix, transposed):
    matrix = matrix.T if transposed else matrix
    k, m = matrix.shape
    rng = np.random.default_rng(0)
    own = ConstantMatrix(matrix, rng.permutation(m), rng.permutation(k), 1, 0, 0)
    x = rng.standard_normal(k)
    found = list(schemes(own))
    assert {Mode.PLAIN, Mode.BEFORE if transposed else Mode.AFTER} <= {scheme.mode for scheme in found}
    expected = np.empty(m)
    expected[own.to] = x[own.source] @ matrix
    for scheme in found:
        np.testing.assert_allclose(done(scheme, x), expected, rtol=0, atol=1e-13 * (1 + np.abs(matrix).sum()))


def test_cosines_and_legendre_functions_are_mirrored():
    """All of more than one degree; a matrix of chance is not."""
    p = tp.GauntTensorProduct(6, 5, method="grid")
    for i in range(3):
        for one in passes_of(p.plan.maps[i][0], p.plan.sizes[i]):
            assert all(len(list(schemes(matrix))) > 1 for matrix in one.matrices if len(matrix.source) > 1)
    chance = np.random.default_rng(0).standard_normal((4, 5))
    own = ConstantMatrix(chance, np.arange(5), np.arange(4), 1, 0, 0)
    assert [scheme.mode for scheme in schemes(own)] == [Mode.PLAIN]


@compiled
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("shape", layout.DENSE_SHAPES, ids=str)
def test_every_shape_in_every_mode(shape, mode, monkeypatch):
    """With grid values that two terms read, and degrees that none reads; ``mode`` wherever it is possible."""

    def forced(operation, samples, itemsize):
        found = [list(schemes(matrix)) for matrix in operation.matrices]
        return shape, [max(own, key=lambda scheme: scheme.mode == mode) for own in found]

    monkeypatch.setattr(dense, "_cheapest", forced)
    for dtype in ("float32", "float64") if shape in layout.DENSE_SHAPES[: layout.N_DOUBLE_SHAPES] else ("float32",):
        p = tp.VectorSphericalTensorProduct(2, 1, 1, method="grid")
        check(p, random_arguments(p, (9,), (9,), dtype=dtype), dtype, {"order": 2})


def test_what_is_dense():
    """Not small plans, which are code, and not what is sparse."""
    small, large = (tp.GauntTensorProduct(L, L, method="grid") for L in (2, 6))
    for p in (small, large):
        program = gpu.program_of(p.plan, "float32")
        kinds = program.table[kinds_of(program)]
        assert (kinds == Kind.DENSE).all() if p is large else (kinds != Kind.DENSE).all()
        assert bool(program.terms) == (p is small)
    with numpy_on_gpu():
        program = gpu.program_of(tp.VectorSphericalTensorProduct(3, 3, method="grid").plan, "float32")
    kinds = program.table[kinds_of(program)]
    assert 0 < (kinds == Kind.DENSE).sum() < len(kinds)


def kinds_of(program):
    """Where the kinds of the operations of the only phase of the only section stand."""
    section = layout.HeaderRecord.SECTIONS_BEGIN
    phase = program.table[section + layout.SectionRecord.PHASES]
    begin, end = program.table[[phase + layout.PhaseRecord.OPS, phase + layout.PhaseRecord.OPS_END]]
    return np.arange(begin, end, layout.OperationRecord.OP_SIZE) + layout.OperationRecord.KIND
