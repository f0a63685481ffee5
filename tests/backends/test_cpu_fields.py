"""The kernels of products on the sphere and of matrices: parity reduction, rings at a time, every plan's adjoints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tolerance

import tpnumba as tp
from tpnumba.backends.cpu.layout import ADDRESS, MOST_BYTES, OUTPUT, STREAM
from tpnumba.backends.cpu.transform.lower import FEW_RINGS, count_rings, lower_transform, plan_transform
from tpnumba.backends.lowering.parity import ParityReduction
from tpnumba.tables.quadrature import Grid, Torus

PRODUCTS = {
    "gaunt": lambda L, top: tp.GauntTensorProduct(L, L - 1, top, method="grid"),
    "fourier": lambda L, top: tp.GauntTensorProduct(L, L - 1, top, method="fourier"),
    "bracket": lambda L, top: tp.BracketTensorProduct(L, L - 1, top, method="grid", normalization="component"),
    "both": lambda L, top: tp.GauntBracketTensorProduct(L - 1, L, top, method="grid"),
    "matrix": lambda L, top: tp.MatrixTensorProduct(L, L - 1, top, method="matrix"),
    "split": lambda L, top: tp.MatrixTensorProduct(L, L - 1, top, method="matrix", split=True),
    "cross": lambda L, top: tp.VectorSphericalTensorProduct(L, L - 1, top, method="grid"),
    "dot": lambda L, top: tp.VectorSphericalTensorProduct(L, L - 1, top, method="grid", kind="dot"),
}


@given(n_beta=st.integers(1, 9), n_alpha=st.integers(1, 13), torus=st.booleans())
def test_every_point_is_in_one_orbit(n_beta, n_alpha, torus):
    reduction = ParityReduction.of(Torus(n_beta, n_alpha) if torus else Grid(n_beta, n_alpha))
    count = np.zeros((n_beta, n_alpha))
    for rings, share in zip(reduction.rings, reduction.ring_shares, strict=True):
        for longitudes, part in zip(reduction.longitudes, reduction.longitude_shares, strict=True):
            np.add.at(count, np.ix_(rings, longitudes), share * part)
    np.testing.assert_allclose(count, 1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("L", [1, 3, 11])
@pytest.mark.parametrize("name", PRODUCTS)
def test_results_and_gradients_are_those_of_the_reference(name, L, dtype):
    p = PRODUCTS[name](L, None if L < 11 else 9)
    rng = np.random.default_rng(0)
    x, y, g = (
        rng.standard_normal((19, irreps.dim)).astype(dtype) for irreps in (p.irreps_in1, p.irreps_in2, p.irreps_out)
    )
    found, expected = (
        [p(x, y, backend=b), *p.vjp(x, y, g, backend=b), *p.vjp(x, y[0], g, backend=b), p.jvp(x, y, x, y, backend=b)]
        for b in ("cpu", "generic")
    )
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == two.dtype
        size = 1e-30 + np.max(np.abs(two))
        np.testing.assert_allclose(one, two, rtol=0, atol=size * tolerance(dtype, L, 19 * p.irreps_out.dim))


@pytest.mark.parametrize("name", ["gaunt", "bracket", "cross"])
def test_a_few_rings_at_a_time_give_the_same(name):
    p = PRODUCTS[name](13, 13)
    for output in range(3):
        plan = p.plan.adjoint(output)
        rings = count_rings(plan)
        assert rings > FEW_RINGS
        rng = np.random.default_rng(0)
        results = []
        for most in (rings, FEW_RINGS, 3):
            program = plan_transform(plan, "float64", 1, most)
            arrays = [rng.standard_normal((8, size)) for size in plan.sizes]
            rng = np.random.default_rng(0)
            table = program.new_table()
            for i, array in enumerate(arrays):
                table[i, ADDRESS:STREAM] = array.ctypes.data, array.shape[1], 1
            table[output, OUTPUT] = 1
            program.call(_aligned(program.tile_size), table, 0, 8)
            results.append(arrays[output])
        for result in results[1:]:
            size = np.max(np.abs(results[0]))
            np.testing.assert_allclose(result, results[0], rtol=0, atol=size * tolerance("float64", terms=rings))


def _aligned(size: int) -> np.ndarray:
    raw = np.full(8 * size + 64, 255, dtype=np.uint8)  # NaN where nothing was written
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + 8 * size].view(np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("grid", [Grid.exact(8), Grid(5, 9), Grid(6, 11), Grid(7, 10), Grid(30, 64)], ids=str)
def test_synthesis_and_analysis_on_any_grid(grid, dtype):
    x = np.random.default_rng(0).standard_normal((21, 25)).astype(dtype)
    for normalization in ("integral", "norm"):
        fields = [tp.to_grid(x, 4, grid, normalization=normalization, backend=b) for b in ("cpu", "generic")]
        np.testing.assert_allclose(*fields, rtol=0, atol=np.max(np.abs(fields[1])) * tolerance(dtype, 4, 25))
        back = [tp.from_grid(fields[1], 4, grid, normalization=normalization, backend=b) for b in ("cpu", "generic")]
        np.testing.assert_allclose(*back, rtol=0, atol=tolerance(dtype, 4, fields[1][0].size) * np.max(np.abs(x)))
        np.testing.assert_allclose(back[0], x, rtol=0, atol=tolerance(dtype, 4, fields[1][0].size) * np.max(np.abs(x)))


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_nan_stays_in_its_sample(name):
    p = PRODUCTS[name](2, None)
    x, y = (np.ones((150, irreps.dim)) for irreps in (p.irreps_in1, p.irreps_in2))
    clean = p(x, y, backend="cpu")
    x[70, 1], y[141, 0] = np.nan, np.inf
    found = p(x, y, backend="cpu")
    untouched = np.setdiff1d(np.arange(150), [70, 141])
    np.testing.assert_array_equal(found[untouched], clean[untouched])
    assert np.isnan(found[70]).any()
    assert not np.isfinite(found[141]).all()


def test_large_fields_are_refused_or_fit():
    for grid, L in ((Grid.exact(120), 60), (Grid(600, 1200), 40)):
        x = np.ones((1, (L + 1) ** 2), dtype=np.float32)
        found = tp.to_grid(x, L, grid)
        expected = tp.to_grid(x, L, grid, backend="generic")
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float32", L, x.size))
    program = lower_transform(tp.GauntTensorProduct(48, 48, 48, method="grid").plan, "float64", None)
    assert program is not None
    assert program.tile_size * 8 <= MOST_BYTES


def test_a_term_that_is_subtracted_first():
    """The bracket's adjoints have components whose only term has a minus sign."""
    p = tp.BracketTensorProduct(2, 2, method="grid")
    direct = tp.BracketTensorProduct(2, 2, method="direct")
    rng = np.random.default_rng(0)
    g, y = rng.standard_normal((3, p.irreps_out.dim)), rng.standard_normal((3, 9))
    found, expected = (one.adjoint(0)(g, y, backend="cpu") for one in (p, direct))
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", 2, p.irreps_out.dim))
