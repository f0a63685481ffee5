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
from tpnumba.backends.gpu import dense
from tpnumba.backends.gpu.chains import links
from tpnumba.backends.gpu.dense import AFTER, BEFORE, PLAIN, ways
from tpnumba.backends.gpu.program import DENSE, INPUTS, OP_SIZE, Group

#: Numbers of a table before the records of chunks: log2 of the samples, pitch, width, and the inputs' sizes.
HEADER = 3 + INPUTS

compiled = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")


@st.composite
def mirrored(draw):
    """A matrix whose rows are even or odd under one of the two mirrors."""
    k, n = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    mirror = draw(st.sampled_from([np.arange(n)[::-1], -np.arange(n) % n]))
    signs = np.array(draw(st.lists(st.sampled_from([1, -1]), min_size=k, max_size=k)))[:, None]
    values = np.random.default_rng(draw(st.integers(0, 100))).standard_normal((k, n))
    return values + signs * values[:, mirror]


def done(sums, x):
    """What the kernel makes of the numbers that a group reads."""
    y = np.full(sums.group.to.max() + 1, np.nan)
    sides = [x[places] for places in sums.sources.T]
    if sums.mode == BEFORE:
        sides = [sides[0] + sides[1], sides[0] - sides[1]]
    made = [side @ values for side, values in zip(sides, sums.values, strict=True)]
    if sums.mode == AFTER:
        made = [made[0] + made[1], made[0] - made[1]]
    for targets, values in zip(sums.targets, made, strict=True):
        y[targets[targets >= 0]] = values[targets >= 0]
    return y


@given(matrix=mirrored(), transposed=st.booleans())
def test_ways_of_mirrored_matrices(matrix, transposed):
    matrix = matrix.T if transposed else matrix
    k, m = matrix.shape
    rng = np.random.default_rng(0)
    group = Group(matrix, rng.permutation(m), rng.permutation(k), 1, 0, 0)
    x = rng.standard_normal(k)
    found = list(ways(group))
    assert {PLAIN, BEFORE if transposed else AFTER} <= {sums.mode for sums in found}
    expected = np.empty(m)
    expected[group.to] = x[group.source] @ matrix
    for sums in found:
        np.testing.assert_allclose(done(sums, x), expected, rtol=0, atol=1e-13 * (1 + np.abs(matrix).sum()))


def test_cosines_and_legendre_functions_are_mirrored():
    """All of more than one degree; a matrix of chance is not."""
    p = tp.GauntTensorProduct(6, 5, method="grid")
    for i in range(3):
        for link in links(p.plan.maps[i][0], p.plan.sizes[i]):
            assert all(len(list(ways(group))) > 1 for group in link.matrix if len(group.source) > 1)
    chance = np.random.default_rng(0).standard_normal((4, 5))
    assert [sums.mode for sums in ways(Group(chance, np.arange(5), np.arange(4), 1, 0, 0))] == [PLAIN]


@compiled
@pytest.mark.parametrize("mode", [PLAIN, AFTER, BEFORE])
@pytest.mark.parametrize("shape", dense.SHAPES, ids=str)
def test_every_shape_in_every_mode(shape, mode, monkeypatch):
    """With fields that are met twice, and degrees that meet nothing; ``mode`` wherever it is possible."""

    def forced(operation, samples, itemsize):
        found = [list(ways(group)) for group in operation.groups]
        return shape, [max(own, key=lambda sums: sums.mode == mode) for own in found]

    monkeypatch.setattr(dense, "_cheapest", forced)
    for dtype in ("float32", "float64") if shape in dense.DOUBLE_SHAPES else ("float32",):
        p = tp.VectorSphericalTensorProduct(2, 1, 1, method="grid")
        check(p, random_arguments(p, (9,), (9,), dtype=dtype), dtype, {"order": 2})


def test_what_is_dense():
    """Not small plans, which are code, and not what is sparse."""
    small, large = (tp.GauntTensorProduct(L, L, method="grid") for L in (2, 6))
    for p in (small, large):
        program = gpu.program_of(p.plan, "float32")
        kinds = program.table[kinds_of(program)]
        assert (kinds == DENSE).all() if p is large else (kinds != DENSE).all()
        assert bool(program.unrolled) == (p is small)
    with numpy_on_gpu():
        program = gpu.program_of(tp.VectorSphericalTensorProduct(3, 3, method="grid").plan, "float32")
    kinds = program.table[kinds_of(program)]
    assert 0 < (kinds == DENSE).sum() < len(kinds)


def kinds_of(program):
    """Where the kinds of the operations of the only chunk stand."""
    phases = program.table[HEADER]  # the first number of the chunk's record
    return np.arange(*program.table[phases : phases + 2], OP_SIZE)
