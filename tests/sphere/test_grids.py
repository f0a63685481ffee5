"""Synthesis and analysis are what their sums say, inverse and adjoint to each other, on every backend."""

from __future__ import annotations

import pickle
import tracemalloc
from math import prod, sqrt

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import require_chunks, tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.backends import batching, evaluate, registry
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import common_context
from tpnumba.plans.methods import Methods
from tpnumba.plans.synthesis import Synthesis
from tpnumba.tables.couplings import NORMALIZATIONS, harmonic_scale

DTYPES = ["float32", "float64"]

grids = st.builds(tp.Grid, st.integers(1, 9), st.integers(1, 17))


def coefficients(shape, lmax, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal((*shape, (lmax + 1) ** 2)).astype(dtype)


def size_of(lmax, normalization="integral"):
    """How large a function with coefficients of unit size may get at a point: |Y| |x|."""
    return (lmax + 1) ** 2 * sqrt({"integral": 1 / (4 * np.pi), "component": 1.0, "norm": 1.0}[normalization])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(7, 13), (1, 1), (2, 3), (9, 5)])
def test_synthesis_is_the_sum_over_harmonics(xp, dtype, normalization, shape):
    lmax, grid = 6, tp.Grid(*shape)
    x = coefficients((3, 2), lmax, dtype)
    found = xp.to_numpy(tp.to_grid(xp.asarray(x), lmax, grid, normalization=normalization))
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization)(grid.points())
    expected = np.einsum("bam,ijm->ijba", harmonics, x.astype(float))
    assert found.dtype == dtype
    limit = tolerance(dtype, lmax, (lmax + 1) ** 2) * size_of(lmax, normalization)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("lmax", [0, 1, 2, 5, 32])
def test_analysis_inverts_synthesis(xp, dtype, normalization, lmax):
    grid = tp.Grid.exact(2 * lmax)
    x = coefficients((4,), lmax, dtype)
    f = tp.to_grid(xp.asarray(x), lmax, grid, normalization=normalization)
    found = xp.to_numpy(tp.from_grid(f, lmax, grid, normalization=normalization))
    assert found.dtype == dtype
    # the largest coefficient in units of the orthonormal ones bounds what is lost
    spread = sqrt(2 * lmax + 1) if normalization == "norm" else 1.0
    np.testing.assert_allclose(found, x, rtol=0, atol=spread * np.max(np.abs(x)) * tolerance(dtype, lmax, grid.n_alpha))


@given(grids, st.integers(0, 8), st.data())
def test_analysis_is_exact_as_far_as_the_grid(grid, degree, data):
    lmax = data.draw(st.integers(0, grid.exactness // 2))
    degree = min(degree, grid.exactness - lmax)
    x = coefficients((), degree)
    found = tp.from_grid(tp.to_grid(x, degree, grid), lmax, grid)
    expected = np.zeros((lmax + 1) ** 2)
    shared = min(expected.size, x.size)
    expected[:shared] = x[:shared]
    limit = size_of(degree) * tolerance("float64", max(degree, lmax), grid.n_beta * grid.n_alpha)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def test_one_degree_beyond_the_grid_leaks():
    grid = tp.Grid.exact(6)
    assert grid.exactness == 7
    x = np.zeros(36)
    x[25:] = 1.0
    assert np.max(np.abs(tp.from_grid(tp.to_grid(x, 5, grid), 3, grid))) > 0.1


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_transpose_of_synthesis_is_analysis_without_weights(xp, dtype, normalization):
    lmax, grid = 5, tp.Grid(8, 12)
    x = coefficients((), lmax, dtype)
    g = np.random.default_rng(1).standard_normal(grid.shape).astype(dtype)
    inner = np.sum(g * xp.to_numpy(tp.to_grid(xp.asarray(x), lmax, grid, normalization=normalization)), dtype=float)
    unweighted = (g / grid.weights).astype(dtype)
    transposed = xp.to_numpy(tp.from_grid(xp.asarray(unweighted, core=2), lmax, grid)).astype(float)
    # from_grid divides by the length s of the harmonics, the transpose multiplies by it
    degrees = np.arange(lmax + 1)
    scale = np.repeat([harmonic_scale(normalization, degree) for degree in degrees], 2 * degrees + 1)
    limit = size_of(lmax, normalization) * np.sum(np.abs(g)) * tolerance(dtype, lmax, g.size)
    assert abs(inner - np.sum(transposed * scale * x)) <= limit


@given(st.integers(0, 6), st.integers(0, 3))
def test_parseval(lmax, extra):
    grid = tp.Grid.exact(2 * lmax + extra)
    x = coefficients((), lmax)
    f = tp.to_grid(x, lmax, grid)
    np.testing.assert_allclose(np.sum(grid.weights * f**2), np.sum(x**2), rtol=tolerance("float64", lmax, f.size))


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 8))
def test_multiplying_on_the_grid_is_the_gaunt_product(l1, l2, l3):
    grid = tp.Grid.exact(max(l1 + l2 + l3, 2 * l3))
    x, y = coefficients((3,), l1), coefficients((3,), l2, seed=1)
    product = tp.to_grid(x, l1, grid) * tp.to_grid(y, l2, grid)
    expected = tp.GauntTensorProduct(l1, l2, l3, method="direct")(x, y)
    limit = size_of(l1) * size_of(l2) * tolerance("float64", l3, grid.n_beta * grid.n_alpha)
    np.testing.assert_allclose(tp.from_grid(product, l3, grid), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (4,), (2, 0), (2, 1, 3)])
@pytest.mark.parametrize("lmax", [0, 3])
def test_shapes(xp, shape, lmax):
    grid = tp.Grid(lmax + 2, 2 * lmax + 2)
    x = coefficients(shape, lmax)
    f = tp.to_grid(xp.asarray(x), lmax, grid)
    back = tp.from_grid(f, lmax, grid)
    assert tuple(f.shape) == (*shape, *grid.shape)
    assert tuple(back.shape) == x.shape
    for index in np.ndindex(shape):
        limit = size_of(lmax) * tolerance("float64", lmax)
        np.testing.assert_allclose(xp.to_numpy(f)[index], tp.to_grid(x[index], lmax, grid), rtol=0, atol=limit)
        np.testing.assert_allclose(xp.to_numpy(back)[index], x[index], rtol=0, atol=limit)


def test_nan_stays_in_its_sample(xp):
    lmax, grid = 4, tp.Grid.exact(8)
    x = coefficients((5,), lmax)
    f = tp.to_grid(x, lmax, grid)
    spoilt_x, spoilt_f = x.copy(), f.copy()
    spoilt_x[2, 7], spoilt_f[3, 1, 2] = np.nan, np.nan
    for function, spoilt, clean, bad in ((tp.to_grid, spoilt_x, x, 2), (tp.from_grid, spoilt_f, f, 3)):
        found = xp.to_numpy(function(xp.asarray(spoilt, core=2), lmax, grid))
        expected = xp.to_numpy(function(xp.asarray(clean, core=2), lmax, grid))
        keep = [i for i in range(5) if i != bad]
        limit = size_of(lmax) * tolerance("float64", lmax)
        np.testing.assert_allclose(found[keep], expected[keep], rtol=0, atol=limit)
        assert np.any(np.isnan(found[bad]))


def test_batches_beyond_one_chunk(xp, monkeypatch):
    require_chunks(xp)
    lmax, grid = 6, tp.Grid.exact(12)
    x = coefficients((3, 50), lmax)
    f = tp.to_grid(x, lmax, grid)
    monkeypatch.setattr(batching, "PORTION_BYTES", 2**15)
    limit = size_of(lmax) * tolerance("float64", lmax)
    np.testing.assert_allclose(xp.to_numpy(tp.to_grid(xp.asarray(x), lmax, grid)), f, rtol=0, atol=limit)
    np.testing.assert_allclose(xp.to_numpy(tp.from_grid(xp.asarray(f, core=2), lmax, grid)), x, rtol=0, atol=limit)


def test_without_writing_into_arrays(xp, monkeypatch):
    lmax, grid = 3, tp.Grid.exact(6)
    x = coefficients((2, 5), lmax)
    f = tp.to_grid(x, lmax, grid)
    monkeypatch.setattr(batching, "is_eager", lambda *_: False)
    monkeypatch.setattr(registry, "is_eager", lambda *_: False)
    limit = size_of(lmax) * tolerance("float64", lmax)
    np.testing.assert_allclose(xp.to_numpy(tp.to_grid(xp.asarray(x), lmax, grid)), f, rtol=0, atol=limit)
    np.testing.assert_allclose(xp.to_numpy(tp.from_grid(xp.asarray(f, core=2), lmax, grid)), x, rtol=0, atol=limit)


def test_any_memory_order_is_read():
    lmax, grid = 4, tp.Grid.exact(8)
    x = coefficients((3, 4), lmax)
    f = tp.to_grid(x, lmax, grid)
    for function, array in ((tp.to_grid, x), (tp.from_grid, f)):
        wide = np.zeros((6, 4, *(2 * n for n in array.shape[2:])))
        strided = wide[(slice(None, None, 2), slice(None), *(slice(None, None, 2) for _ in array.shape[2:]))]
        strided[...] = array
        frozen = array.copy()
        frozen.flags.writeable = False
        for view in (np.asfortranarray(array), strided, array[::-1].copy()[::-1], frozen):
            np.testing.assert_array_equal(function(view, lmax, grid), function(array, lmax, grid))


@pytest.mark.parametrize("order", ["C", "F"])
def test_temporaries_stay_small(order):
    lmax, grid = 16, tp.Grid.exact(32)
    x = np.zeros((16_000, 289), order=order)
    result_bytes = 8 * len(x) * prod(grid.shape)
    f = np.zeros((len(x), *grid.shape), order=order)
    for run, n_bytes in (
        (lambda: tp.to_grid(x, lmax, grid), result_bytes),
        (lambda: tp.from_grid(f, lmax, grid), x.nbytes),
    ):
        run()  # makes the tables, which stay in memory
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_bytes <= peak < n_bytes + 2**26


@pytest.mark.parametrize("dtype", ["int64", "complex128", "float16", "bool", "object"])
def test_other_dtypes_are_refused(dtype):
    grid = tp.Grid.exact(2)
    with pytest.raises(TypeError, match=f"x must have dtype float32 or float64, got {dtype}"):
        tp.to_grid(np.zeros(4, dtype=dtype), 1, grid)
    with pytest.raises(TypeError, match=f"f must have dtype float32 or float64, got {dtype}"):
        tp.from_grid(np.zeros(grid.shape, dtype=dtype), 1, grid)


def test_arguments_that_do_not_fit_are_refused(xp):
    grid = tp.Grid.exact(4)
    x, f = xp.asarray(np.zeros((5, 9))), xp.asarray(np.zeros((5, 3, 5)), core=2)
    for wrong in ((9, 5), (), (5, 8)):
        with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 9\), \(lmax \+ 1\)\*\*2 for lmax = 2, got"):
            tp.to_grid(xp.asarray(np.zeros(wrong), core=3), 2, grid)
    for wrong in ((5, 3), (), (3,), (5, 15), (3, 5, 1)):
        with pytest.raises(
            ValueError, match=r"f must have shape \(\.\.\., 3, 5\) for Grid\(n_beta=3, n_alpha=5\), got"
        ):
            tp.from_grid(xp.asarray(np.zeros(wrong), core=3), 2, grid)
    for function, array, name in ((tp.to_grid, x, "x"), (tp.from_grid, f, "f")):
        for wrong in ([0.0] * 9, None, 1.0, np.float64(1)):
            with pytest.raises(TypeError, match=f"{name} must be an array"):
                function(wrong, 2, grid)
        for wrong in (2.0, True, "2", None):
            with pytest.raises(TypeError, match="lmax must be a non-negative integer"):
                function(array, wrong, grid)
        with pytest.raises(ValueError, match="lmax must be a non-negative integer, got -1"):
            function(array, -1, grid)
        for wrong in ((3, 5), 4, None, tp.Grid):
            with pytest.raises(TypeError, match=r"grid must be a tpnumba\.Grid, got"):
                function(array, 2, wrong)
        with pytest.raises(ValueError, match="normalization must be one of integral, component, norm, got 'ortho'"):
            function(array, 2, grid, normalization="ortho")
        with pytest.raises(ValueError, match="backend must be one of"):
            function(array, 2, grid, backend="fast")
        if not xp.is_dask:  # whose blocks may be CuPy's, which is seen when they are computed
            with pytest.raises((TypeError, ImportError, RuntimeError), match="backend 'gpu'"):
                function(array, 2, grid, backend="gpu")
        with pytest.raises(ValueError, match="num_threads"):
            function(array, 2, grid, num_threads=0)


@pytest.mark.parametrize("grid", [tp.Grid(3, 5), tp.Grid(4, 6), tp.Grid(10, 6)])
def test_a_grid_too_coarse_for_the_analysis_is_refused(grid):
    message = (
        r"grid must integrate harmonics up to degree 2 lmax = 6 without error, as Grid\(n_beta=4, n_alpha=8\) does;"
        rf" got Grid\(n_beta={grid.n_beta}, n_alpha={grid.n_alpha}\), exact up to degree {grid.exactness}"
    )
    with pytest.raises(ValueError, match=message):
        tp.from_grid(np.zeros(grid.shape), 3, grid)
    assert tp.to_grid(np.zeros(16), 3, grid).shape == grid.shape


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    grid = tp.Grid.exact(30)
    with pytest.raises(MemoryError, match=r"a result of shape \(100000, 16, 32\) would take 390.6 MiB"):
        tp.to_grid(np.zeros((10**5, 4)), 1, grid)
    with pytest.raises(MemoryError, match=r"the Legendre functions up to degree 1 on 100000 rings would take .* GiB"):
        tp.to_grid(np.zeros(4), 1, tp.Grid(10**5, 1))
    assert tp.to_grid(np.zeros((0, 4)), 1, tp.Grid(10**5, 1)).shape == (0, 10**5, 1)


def test_arrays_know_their_namespace():
    x = array_api_strict.zeros((2, 4))
    f = tp.to_grid(x, 1, tp.Grid.exact(2))
    assert f.__array_namespace__() is tp.from_grid(f, 1, tp.Grid.exact(2)).__array_namespace__()


def test_the_plan_is_a_value():
    grid = tp.Grid.exact(6)
    forward = Synthesis.between(3, grid, "norm", analysis=False)
    back = Synthesis.between(3, grid, "norm", analysis=True)
    assert repr(forward) == "Synthesis(coefficients: 16 batch -> field: 32 batch | 4 x 8 grid)"
    assert repr(back) == "Synthesis(field: 32 batch -> coefficients: 16 batch | 4 x 8 grid, weighted)"
    assert pickle.loads(pickle.dumps(forward)) == forward
    assert len({forward, back, Synthesis.between(3, grid, "norm", analysis=False)}) == 2
    assert forward.adjoint(0).adjoint(1) == forward
    # Legendre: 2 operations for each component and ring; Fourier: 7 orders; scaling: one a component
    assert forward.cost().flops == 2 * 16 * 4 + 2 * 7 * 32 + 16
    assert back.cost().flops == forward.cost().flops + 32


@pytest.mark.parametrize("analysis", [False, True])
def test_the_adjoint_of_the_plan_is_its_transpose(analysis):
    grid = tp.Grid(3, 8)
    plan = Synthesis.between(2, grid, "component", analysis=analysis)
    context = common_context({"eye": np.eye(1)})
    results = []
    for i, size in enumerate(plan.sizes):
        call = Call(Methods((("grid", plan.adjoint(1 - i)),)), (i,), (size,), (size,), context, "generic")
        results += evaluate(call, (np.eye(size),))
    forward, backward = results
    np.testing.assert_allclose(forward, backward.T, rtol=0, atol=tolerance("float64", 2))
