"""The network of scalars: gradients as adjoints, blocks of rows, memory, and the spline that may stand for it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from strategies import memory_beyond_results, require_writable, tolerance

from tpnumba import nn
from tpnumba.backends import cpu, registry
from tpnumba.nn import spline
from tpnumba.nn.rows import BLOCK_ROWS

SILU = nn.Activation.normalized("silu")
NETWORKS = [
    nn.MLP([8, 16, 12, 30], SILU),
    nn.MLP([5, 7], SILU),
    nn.MLP([5, 6, 7], None, biases=True, normalization="none"),
    nn.MLP([4, 8, 8, 3], nn.Activation("tanh", 1.5), biases=True, layer_norm=True, eps=1e-3),
]


def arguments(mlp, rows, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((*rows, mlp.widths[0]), (*rows, mlp.widths[-1]), mlp.weight_numel)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("mlp", NETWORKS, ids=repr)
@pytest.mark.parametrize("rows", [(3,), (2, 3), (BLOCK_ROWS + 5,), (0,), ()])
def test_gradients_are_those_of_differences(xp, mlp, rows):
    x, g, w = arguments(mlp, rows)
    t, _, tw = arguments(mlp, rows, seed=1)
    on, h = xp.asarray, 1e-5

    def at(x, w):
        return xp.to_numpy(mlp(on(x), on(w)))

    gx, gw = (xp.to_numpy(part) for part in mlp.vjp(on(x), on(g), weights=on(w)))
    wanted = np.sum(g * (at(x + h * t, w + h * tw) - at(x - h * t, w - h * tw)) / (2 * h))
    np.testing.assert_allclose(np.sum(gx * t) + np.sum(gw * tw), wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(xp.to_numpy(mlp.vjp_input(on(x), on(g), weights=on(w))), gx)
    if not mlp.layer_norm:
        forward = xp.to_numpy(mlp.jvp(on(x), on(t), weights=on(w)))
        np.testing.assert_allclose(np.sum(forward * g), np.sum(gx * t), rtol=1e-10, atol=1e-10)


def test_by_hand():
    mlp = nn.MLP([3, 4, 2], SILU)
    x, _, w = arguments(mlp, (5,))
    hidden = x @ w[:12].reshape(3, 4) / np.sqrt(3)
    wanted = SILU(hidden) @ w[12:].reshape(4, 2) / 2
    np.testing.assert_allclose(mlp(x, w), wanted, rtol=1e-13)
    with_bias = nn.MLP([3, 4, 2], SILU, biases=True, normalization="none")
    w = np.random.default_rng(1).standard_normal(with_bias.weight_numel)
    wanted = SILU(x @ w[:12].reshape(3, 4) + w[12:16]) @ w[16:24].reshape(4, 2) + w[24:]
    np.testing.assert_allclose(with_bias(x, w), wanted, rtol=1e-12)


@pytest.mark.parametrize("mlp", NETWORKS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_of_the_rows_give_the_same_bits(mlp, dtype):
    rows = 2 * BLOCK_ROWS + 77
    x, g, w = arguments(mlp, (rows,), dtype)
    folded = mlp.fold(w)
    whole, gradient = mlp(x, w), mlp.vjp_input(x, g, weights=w)
    out = np.full((rows, mlp.widths[-1]), np.nan, dtype)
    found = np.empty_like(x)
    for part in (slice(0, BLOCK_ROWS), slice(BLOCK_ROWS, 2 * BLOCK_ROWS), slice(2 * BLOCK_ROWS, rows)):
        assert mlp(x[part], folded, out=out[part]).dtype == dtype
        found[part] = mlp.vjp_input(x[part], g[part], weights=folded)
    np.testing.assert_array_equal(out, whole)
    np.testing.assert_array_equal(found, gradient)
    strided = np.full((rows, 2 * mlp.widths[-1]), np.nan, dtype)
    mlp(x[::-1][::-1], w, out=strided[:, ::2])
    np.testing.assert_array_equal(strided[:, ::2], whole)


@pytest.mark.parametrize("mlp", NETWORKS, ids=repr)
def test_threads_give_the_same_bits(mlp):
    x, g, w = arguments(mlp, (18 * BLOCK_ROWS + 77,), "float32")
    one = mlp(x, w, num_threads=1), *mlp.vjp(x, g, weights=w, num_threads=1)
    many = mlp(x, w, num_threads=4), *mlp.vjp(x, g, weights=w, num_threads=4)
    for few, several in zip(one, many, strict=True):
        np.testing.assert_array_equal(few, several)
    np.testing.assert_array_equal(mlp.vjp_input(x, g, weights=w, num_threads=3), one[1])


@pytest.mark.parametrize("mlp", NETWORKS, ids=repr)
def test_weights_may_stand_anywhere_in_memory(mlp):
    x, g, w = arguments(mlp, (5,))
    apart = np.full(2 * w.size, np.nan)
    apart[::2] = w
    unaligned = np.empty(w.nbytes + 1, np.uint8)[1:].view(w.dtype)
    unaligned[:] = w
    wanted = mlp(x, w), *mlp.vjp(x, g, weights=w)
    for weights in (apart[::2], w[::-1].copy()[::-1], unaligned):
        for found, exact in zip((mlp(x, weights), *mlp.vjp(x, g, weights=weights)), wanted, strict=True):
            np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("mlp", NETWORKS, ids=repr)
def test_folded_weights_do_not_change_with_the_weights(xp, mlp):
    require_writable(xp)
    x, _, w = arguments(mlp, (5,))
    on, weights = xp.asarray, xp.asarray(w)
    folded = mlp.fold(weights)
    before = xp.to_numpy(mlp(on(x), folded))
    weights[...] = 0
    np.testing.assert_array_equal(xp.to_numpy(mlp(on(x), folded)), before)


def test_float32_errs_by_rounding():
    mlp = nn.MLP([8, 64, 64, 100], SILU)
    x, _, w = arguments(mlp, (300,), "float32")
    exact = mlp(x.astype("float64"), w.astype("float64"))
    np.testing.assert_allclose(mlp(x, w), exact, rtol=0, atol=np.abs(exact).max() * tolerance("float32", 0, 64))


def test_memory_does_not_grow_with_the_rows():
    mlp = nn.MLP([8, 64, 64, 200], SILU)
    taken = []
    for blocks in (20, 80):
        x, g, w = arguments(mlp, (blocks * BLOCK_ROWS,), "float32")
        folded = mlp.fold(w)
        mlp.vjp(x[:1], g[:1], weights=folded)
        taken.append(
            (
                memory_beyond_results(lambda x=x, folded=folded: mlp(x, folded, num_threads=1)),
                memory_beyond_results(lambda x=x, g=g, folded=folded: mlp.vjp(x, g, weights=folded, num_threads=1)),
            )
        )
    for few, many in zip(*taken, strict=True):
        assert many < few + 20_000
        assert many < 2**22


def test_nan_stays_in_its_row():
    mlp = NETWORKS[0]
    x, g, w = arguments(mlp, (BLOCK_ROWS + 3,))
    x[7, 2] = np.nan
    for found in (mlp(x, w), mlp.vjp_input(x, g, weights=w)):
        assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [7]


RADIAL = nn.RadialEmbedding(nn.BesselBasis(8, 5.0), nn.PolynomialEnvelope(5.0))
NETWORK = nn.MLP([8, 16, 16, 6], SILU)
WEIGHTS = np.random.default_rng(0).standard_normal(NETWORK.weight_numel)


def radial(r):
    return NETWORK(RADIAL(r), WEIGHTS)


@pytest.mark.parametrize("tolerated", [1e-3, 1e-6, 1e-8])
def test_spline_keeps_its_tolerance(tolerated):
    table = nn.SplineTable(radial, 5.0, tolerance=tolerated, start=0.5)
    r = np.random.default_rng(1).uniform(0.5, 5.0, 5000)
    exact = radial(r)
    error = np.abs(table(r) - exact).max() / np.abs(exact).max()
    assert table.error <= tolerated
    assert error < 1.5 * tolerated  # it was measured at points, not everywhere
    half = nn.SplineTable(radial, 5.0, tolerance=1.0, start=0.5)
    assert half.num_intervals <= table.num_intervals
    assert np.abs(table(r.astype("float32")) - exact).max() < (1.5 * tolerated + 1e-6) * np.abs(exact).max()


def test_spline_is_differentiated_as_it_is():
    table = nn.SplineTable(radial, 5.0, tolerance=1e-5, start=0.5)
    r, h = np.random.default_rng(1).uniform(0.6, 4.9, (20, 30)), 1e-6
    derivative = table.derivative(r)
    np.testing.assert_allclose(derivative, (table(r + h) - table(r - h)) / (2 * h), rtol=0, atol=1e-6)
    g = np.random.default_rng(2).standard_normal(derivative.shape)
    np.testing.assert_allclose(table.vjp(r, g), np.sum(g * derivative, axis=-1), rtol=1e-10, atol=1e-12)
    values, slopes = RADIAL.value_and_derivative(r.reshape(-1))
    exact = NETWORK.jvp(values, slopes, weights=WEIGHTS)
    assert np.abs(derivative.reshape(exact.shape) - exact).max() < 1e-2 * np.abs(exact).max()


def kinked(r):
    """With second derivatives that jump at 1.1 and 4.3."""
    return np.stack([np.cos(3 * r) + 5 * np.abs(r - 1.1) ** 2 * (r > 1.1), np.abs(r - 4.3) * (r - 4.3)], axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spline_in_parts(dtype):
    table = nn.SplineTable(kinked, 5.0, tolerance=1e-6, breaks=(1.1, 4.3))
    assert table.error < 1e-6
    assert 4 * table.num_intervals <= nn.SplineTable(kinked, 5.0, tolerance=1e-6).num_intervals
    r = np.sort(np.append(np.random.default_rng(1).uniform(0, 5, 3000), [1.1, 4.3, np.nextafter(1.1, 0)])).astype(dtype)
    exact = kinked(r.astype("float64"))
    limit = (1.5e-6 + tolerance(dtype, 0, 10)) * np.abs(exact).max()
    np.testing.assert_allclose(table(r), exact, rtol=0, atol=limit)
    g = np.random.default_rng(2).standard_normal(exact.shape).astype(dtype)
    slopes = np.stack([-3 * np.sin(3 * r) + 10 * (r - 1.1) * (r > 1.1), 2 * np.abs(r - 4.3)], axis=1)
    np.testing.assert_allclose(table.vjp(r, g), np.sum(g * slopes, axis=1), rtol=0, atol=1e-3 * np.abs(slopes).max())
    np.testing.assert_allclose(table.derivative(r), slopes, rtol=0, atol=2e-4 * np.abs(slopes).max())
    one = nn.SplineTable(kinked, 1.1, tolerance=1e-6)  # the first part by itself
    first = r[r < 1.1]
    np.testing.assert_array_equal(table(first), one(first))
    assert table != nn.SplineTable(kinked, 5.0, tolerance=1e-6, breaks=(1.1, 4.2))
    assert pickle.loads(pickle.dumps(table)) == table


def test_spline_beyond_its_ends():
    table = nn.SplineTable(radial, 5.0, tolerance=1e-3, start=0.5)
    found = table(np.array([5.0, 7.0, np.inf, np.nan, 0.5]))
    assert not found[:3].any()
    assert np.isnan(found[3]).all()
    np.testing.assert_allclose(found[4], radial(np.array([0.5]))[0], rtol=1e-12)
    assert not table.derivative(np.array([5.0, 7.0])).any()
    with pytest.raises(ValueError, match=r"r must not be below 0.5, got 0.25 at number 1"):
        table(np.array([0.7, 0.25]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 6, 64, 150])
def test_kernels_of_the_spline_agree_with_numpy(dtype, size, monkeypatch):
    w = np.random.default_rng(0).standard_normal((1, size))
    table = nn.SplineTable(lambda r: np.sin(r[:, None] * w), 5.0, tolerance=1e-4)
    r = np.random.default_rng(1).uniform(0, 5.5, (3, 900)).astype(dtype)
    r[1, :2] = np.nan, 5.0
    g = np.random.default_rng(2).standard_normal((*r.shape, size)).astype(dtype)
    found = table(r), table.vjp(r, g)
    for threads in (1, 3):
        np.testing.assert_array_equal(table(r, num_threads=threads), found[0])
        np.testing.assert_array_equal(table.vjp(r, g, num_threads=threads), found[1])
    out = np.empty_like(found[0])
    assert table(r, out=out) is out
    np.testing.assert_array_equal(out, found[0])
    monkeypatch.setattr(spline, "kernels_of", lambda _: None)
    limit = tolerance(dtype, 0, 10) * float(np.abs(table.derivative(r)[0]).max())
    np.testing.assert_allclose(found[0], table(r), rtol=0, atol=limit)
    np.testing.assert_allclose(found[1], table.vjp(r, g), rtol=0, atol=limit * 4 * size)


def test_spline_says_that_it_does_without_kernels(monkeypatch):
    table = nn.SplineTable(radial, 5.0, tolerance=1e-3)
    monkeypatch.setattr(cpu, "missing", lambda: RuntimeError("switched off"))
    registry.warn_of_missing.cache_clear()
    with pytest.warns(RuntimeWarning, match="backend 'auto' does without 'cpu'"):
        found = table(np.ones(3))
    registry.warn_of_missing.cache_clear()
    monkeypatch.undo()
    np.testing.assert_allclose(found, table(np.ones(3)), rtol=1e-14)


def test_spline_is_frozen_comparable_and_picklable():
    table = nn.SplineTable(radial, 5.0, tolerance=1e-3)
    copy = pickle.loads(pickle.dumps(table))
    assert copy == table
    assert hash(copy) == hash(table)
    assert table != nn.SplineTable(radial, 5.0, tolerance=1e-6)
    assert "6 functions on 0.0 to 5.0" in repr(table)
    np.testing.assert_array_equal(copy(R := np.linspace(0, 5, 9)), table(R))
    with pytest.raises(AttributeError):
        table.error = 0.0
